"""The tags of a hostile document: read in one pass, in time linear in its length, as the HTML standard reads them.

Python's `html.parser` is not used: in the releases we run on, its time grows with the square of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

from mimeportal import limits
from mimeportal.untrusted import clean


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Tag(NamedTuple):
    start: int
    end: int
    closing: bool
    name: str  # lower case; "!" for a comment and for what browsers throw away
    attributes: str


# A tag as the HTML standard reads it (13.2.5). Everything is possessive: no place is ever tried twice.
_WHITE = r"\t\n\f\r "
_VALUE = rf"\"[^\"]*+\"|'[^']*+'|[^{_WHITE}>\"'][^{_WHITE}>]*+"
_NAME_AND_VALUE = rf"[^{_WHITE}/>][^{_WHITE}/>=]*+(?:[{_WHITE}]*+=[{_WHITE}]*+(?:{_VALUE})?+)?+"
_TAG = re.compile(rf"<(/?)([a-zA-Z][^{_WHITE}/>]*+)((?:[{_WHITE}/]++|{_NAME_AND_VALUE})*+)>")
_ATTRIBUTE = re.compile(rf"([^{_WHITE}/>][^{_WHITE}/>=]*+)(?:[{_WHITE}]*+=[{_WHITE}]*+({_VALUE})?+)?+")
_TAG_START = re.compile(r"</?[a-zA-Z]")
_NO_TEXT = re.compile(r"<[!?/a-zA-Z]")
_COMMENT_END = re.compile(r"<!---?>|<!--.*?--!?>", re.DOTALL)
_RAW_END = {
    name: re.compile(rf"</{name}(?=[{_WHITE}/>])", re.IGNORECASE)
    for name in names("script style textarea title xmp iframe noembed noframes")
}


def tags(html: str) -> Iterator[Tag]:
    """The tags and comments of a document, in order, in time linear in its length."""
    position = html.find("<")
    while position >= 0:
        tag = _TAG.match(html, position)
        if tag is not None:
            name, position = tag[2].lower(), tag.end()
            yield Tag(tag.start(), position, bool(tag[1]), name, tag[3])
            if not tag[1] and name in _RAW_END:
                raw = _RAW_END[name].search(html, position)
                if raw is None:
                    return
                position = raw.start()
            elif name == "plaintext":
                return
        elif _NO_TEXT.match(html, position):
            end = _end_of_comment(html, position)
            yield Tag(position, end, False, "!", "")
            position = end
        else:
            position += 1  # a "<" that is only text
        position = html.find("<", position)


def _end_of_comment(html: str, start: int) -> int:
    """Where that ends which starts like a comment, or like a tag that has no end."""
    if html.startswith("<!--", start):
        end = _COMMENT_END.match(html, start)
        return end.end() if end else len(html)
    if _TAG_START.match(html, start):
        return len(html)  # browsers drop the rest of the document
    return html.find(">", start) + 1 or len(html)


def attribute_of(attributes: str, wanted: str) -> str:
    """The first value of an attribute, its references resolved; "" when there is none."""
    for name, value in _ATTRIBUTE.findall(attributes):
        if name.lower() == wanted:
            return unescaped(value[1:-1] if value[:1] in ("'", '"') else value)
    return ""


VOID = names("area base br col embed hr img input link meta param source track wbr !")
# They end by themselves when the next begins, or with what holds them: unclosed they are no nesting.
_SELF_ENDING = names("p li dt dd option optgroup colgroup caption rp rt")
_TABLE_PARTS = names("tr tbody thead tfoot td th")


def deeper_than_allowed(html: str) -> bool:
    """Whether tags are nested deeper than `limits.HTML_DEPTH`, as a browser would nest them.

    Never fooled by end tags that a browser ignores: one inside a table cell ends nothing outside of it.
    """
    frames: list[list[str]] = [[]]  # the tags open at each level of table cell
    depth = 0
    for tag in tags(html):
        name = tag.name
        if name in VOID or name in _SELF_ENDING:
            continue
        if name in _TABLE_PARTS:
            if len(frames) > 1:
                depth -= len(frames[-1]) - 1
                del frames[-1][1:]
        elif tag.closing:
            frame = frames[-1]
            if name == "table":
                if len(frames) > 1:
                    depth -= len(frames.pop())
            elif name in frame:
                while frame and frame[-1] != name:
                    frame.pop()
                    depth -= 1
                frame.pop()
                depth -= 1
        else:
            if name == "table":
                frames.append([])
            frames[-1].append(name)
            depth += 1
            if depth > limits.HTML_DEPTH:
                return True
    return False


# Python refuses to make a number of so many digits, and no character has one.
_LONG_NUMBER = re.compile(r"&#[0-9]{20,}+;?")


def unescaped(text: str) -> str:
    return clean(unescape(_LONG_NUMBER.sub("\ufffd", text))) if "&" in text else text
