"""Hostile HTML made safe, for a page of ours or for a terminal.

    safe_html       HTML of a stranger inside a page of ours            promises D.2
    html_page       a page of its own around it
    html_to_text    HTML mail in a terminal

Nothing raises on hostile input, and the time everything takes is linear in its length: tags are read by `html_tags.py`.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from html import escape
from typing import NamedTuple
from urllib.parse import quote, unquote

from mimeportal import limits
from mimeportal.html_tags import VOID, Tag, attribute_of, deeper_than_allowed, names, tags, unescaped
from mimeportal.untrusted import HIDDEN, clean, visible

_TAGS = names(
    "a abbr address b big blockquote br caption center cite code col colgroup dd del dfn div dl dt em"
    " figcaption figure h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strike strong"
    " sub sup table tbody td tfoot th thead tr tt u ul var wbr"
)
# Their text is no text for people, or belongs to something that is not shown.
_TAGS_WITH_CONTENT_REMOVED = names(
    "applet audio canvas datalist embed iframe math noembed noframes object option script select style svg"
    " template textarea title video xmp"
)
_ATTRIBUTES = {
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start"},
    "table": {"align", "border", "cellpadding", "cellspacing"},
    "td": {"align", "colspan", "rowspan", "valign"},
    "th": {"align", "colspan", "rowspan", "valign"},
    "tr": {"align", "valign"},
}
_PLAIN_ATTRIBUTE = re.compile(r"[a-z]{1,10}|[0-9]{1,4}%?", re.IGNORECASE)
_IMAGE_TYPES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
)


def safe_html(html: str, *, cid_images: Mapping[str, bytes] | None = None, remote_images: bool = False) -> str | None:
    """A fragment of HTML that can stand in a page of ours (promises D.2); None: show the text part instead.

    cid_images      Content-ID, without its angle brackets, to the octets of the image
    remote_images   leave http and https images to the reader's browser; otherwise only their `alt` stays

    None means: over `limits.HTML` octets, or over `limits.HTML_DEPTH` levels of nested tags.
    """
    import nh3  # html_to_text can do without it

    html = clean(html)
    if len(html.encode()) > limits.HTML or deeper_than_allowed(html):
        return None
    images = _Images(cid_images or {}, remote_images)

    def attribute(_tag: str, name: str, value: str) -> str | None:
        if name == "href":
            link = _link(value)
            return link.url if link else None
        if name == "src":
            return images.source(value)
        if name in ("alt", "rel"):
            return value
        return value if _PLAIN_ATTRIBUTE.fullmatch(value) else None

    cleaned = nh3.clean(
        html,
        tags=set(_TAGS),
        clean_content_tags=set(_TAGS_WITH_CONTENT_REMOVED),
        attributes=_ATTRIBUTES,
        attribute_filter=attribute,
        url_schemes={"http", "https", "mailto", "cid"},
        strip_comments=True,
        link_rel="noopener noreferrer nofollow",
    )
    return _with_hosts(cleaned)


class _Images:
    """Where the images of one page come from, within what one page may hold."""

    def __init__(self, by_id: Mapping[str, bytes], remote: bool) -> None:
        self.by_id = by_id
        self.remote = remote
        self.room = limits.INLINE_IMAGES

    def source(self, value: str) -> str | None:
        if value[:4].lower() == "cid:":
            return self._inline(value[4:])
        link = _link(value) if self.remote else None
        return link.url if link and not link.url.startswith("mailto:") else None

    def _inline(self, content_id: str) -> str | None:
        octets = self.by_id.get(content_id) or self.by_id.get(unquote(content_id)) or b""
        kind = image_type(octets)
        # One image named a thousand times would otherwise make a page of a thousand images.
        if kind is None or len(octets) > min(limits.INLINE_IMAGE, self.room):
            return None
        self.room -= len(octets)
        return f"data:image/{kind};base64,{b64encode(octets).decode()}"


def image_type(octets: bytes) -> str | None:
    """png, jpeg, gif or webp as the content says, whatever it is called; None for anything else."""
    for start, kind in _IMAGE_TYPES:
        if octets.startswith(start):
            return kind
    return "webp" if octets[:4] == b"RIFF" and octets[8:12] == b"WEBP" else None


class ImageTag(NamedTuple):
    """An image in a document: where its tag stands, what it shows, and the words for it."""

    start: int
    end: int
    source: str
    alt: str


def image_tags(html: str) -> Iterator[ImageTag]:
    """The images of a document, in order, in time linear in its length."""
    for tag in tags(html):
        if tag.name == "img" and not tag.closing:
            source = attribute_of(tag.attributes, "src").strip("\t\n\f\r ")
            yield ImageTag(tag.start, tag.end, source, attribute_of(tag.attributes, "alt"))


def html_page(body: str, *, title: str, csp_images: bool = False, style: str = "") -> str:
    """A page that needs nothing else, around HTML which `safe_html` made (or which was escaped).

    Its own policy forbids it to load or run anything; `csp_images` lets the browser fetch images. `style` is CSS of
    our own, the only one that the policy lets apply.
    """
    sources = "data: https: http:" if csp_images else "data:"
    policy = f"default-src 'none'; img-src {sources}"
    if style:
        policy += f"; style-src 'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(visible(title))}</title>\n"
        + (f"<style>{style}</style>\n" if style else "")
        + f'</head>\n<body>\n<main dir="auto">\n{body}\n</main>\n</body>\n</html>\n'
    )


_BREAKS = names("br div dd dt li tr option center address caption form fieldset legend")
_PARAGRAPHS = names("p h1 h2 h3 h4 h5 h6 blockquote table ul ol dl pre hr article section header footer")
_IN_HEADS = names("head title meta link base basefont bgsound style script noscript template !")
_SILENT = names("script style title head template noframes noembed iframe object svg math xmp")


def html_to_text(html: str) -> str:
    """What an HTML mail says, as plain lines: each link with where it really leads, each image as its `alt`.

    Only the first `limits.HTML` characters are read. For a terminal it still goes through `visible_lines`.
    """
    return _TextOfHtml().read(clean(html[: limits.HTML]))


class _TextOfHtml:
    """Writes down, tag by tag, what a reader would see."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.fresh = True  # at the start of a line, where blanks say nothing
        self.silent = ""  # the tag whose content is passed over
        self.verbatim = 0
        self.link: tuple[str, int] | None = None  # where it leads, and where its text starts in `out`

    def read(self, html: str) -> str:
        position = 0
        for tag in tags(html):
            self._text(html[position : tag.start])
            position = tag.end
            self._tag(tag)
        self._text(html[position:])
        self._end_link()
        lines = "".join(self.out).split("\n")
        text = "\n".join(line.rstrip() for line in lines)
        return re.sub(r"\n{3,}", "\n\n", text).strip("\n")

    def _write(self, text: str) -> None:
        if text:
            self.out.append(text)
            self.fresh = text.endswith("\n")

    def _text(self, raw: str) -> None:
        if not raw or self.silent:
            return
        text = unescaped(raw).replace("\xa0", " ")
        if not self.verbatim:
            text = re.sub(r"[ \t\r\n\f]+", " ", text)
            text = text.lstrip(" ") if self.fresh else text
        self._write(text)

    def _tag(self, tag: Tag) -> None:
        name = tag.name
        if self.silent:
            # As browsers do, leave a head that is never closed at the first tag that cannot be in one.
            lost_head = self.silent == "head" and name not in _IN_HEADS
            if not lost_head and not (tag.closing and name == self.silent):
                return
            self.silent = ""
        if name in _SILENT and not tag.closing:
            self.silent = name
        elif name == "a":
            self._end_link()
            if not tag.closing:
                link = _link(attribute_of(tag.attributes, "href"))
                self.link = (link.url, len(self.out)) if link else None
        elif name == "img" and not tag.closing:
            alt = " ".join(attribute_of(tag.attributes, "alt").split())
            self._write(f"[{alt}]" if alt else "")
        elif name in ("td", "th") and not tag.closing:
            self._write("" if self.fresh else "  ")
        elif name in _BREAKS or name in _PARAGRAPHS:
            self._break(tag)

    def _break(self, tag: Tag) -> None:
        if tag.name == "pre":
            self.verbatim = max(0, self.verbatim + (-1 if tag.closing else 1))
        if tag.name == "br" or not self.fresh:
            self._write("\n")
        if tag.name in _PARAGRAPHS:
            self._write("\n")
        if tag.name == "li" and not tag.closing:
            self._write("- ")
            self.fresh = True
        elif tag.name == "hr":
            self._write("-" * 20 + "\n\n")

    def _end_link(self) -> None:
        if self.link is None:
            return
        (url, start), self.link = self.link, None
        said = "".join(self.out[start:]).strip()
        if said.rstrip("/") not in (url.rstrip("/"), url.removeprefix("mailto:")):
            self._write(f" <{url}>" if said else f"<{url}>")


# --- Links ------------------------------------------------------------------------------------------------


class _Link(NamedTuple):
    url: str
    shown: str  # the host, or for mailto the address


_WEB_LINK = re.compile(r"(https?):[/\\]*+([^/\\?#]*+)(.*+)", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"[a-z0-9._~-]+|\[[0-9a-f:.]+\]")


def _link(value: str) -> _Link | None:
    """Where a link leads, written so that every browser goes to the host that is shown; None: nowhere.

    As browsers read it: backslashes are slashes, line ends are nothing, what stands before `@` is no host.
    """
    text = re.sub(r"[\t\r\n]", "", value).strip("".join(map(chr, range(0x21))))
    if text[:7].lower() == "mailto:":
        # Without what follows the address: a stranger's subject, text and further recipients.
        address = unquote(text[7:].partition("?")[0]).strip()
        return _Link("mailto:" + quote(address, safe="@,.+-_=!~*'"), visible(address)) if "@" in address else None
    web = _WEB_LINK.fullmatch(text)
    if web is None:
        return None
    scheme, authority, rest = web.groups()
    host, port = _host(authority.rpartition("@")[2])
    if not host:
        return None
    rest = HIDDEN.sub("", rest.replace("\\", "/")).replace(" ", "%20")
    if not rest.startswith("/"):
        rest = "/" + rest
    return _Link(f"{scheme.lower()}://{host}{port}{rest}", host + port)


def _host(text: str) -> tuple[str, str]:
    """Host in ASCII and `:port`; ("", "") when it cannot be a host. An IDN is shown as it is looked up."""
    host, port = text, ""
    numbered = re.fullmatch(r"(.*):([0-9]{0,5})", text, re.DOTALL)
    if numbered:
        host, port = numbered[1], ":" + numbered[2] if numbered[2] else ""
    host = unicodedata.normalize("NFKC", unquote(host).lower()).lower().replace("\u3002", ".")
    if len(host) > limits.ADDRESS_CHARACTERS:
        return "", ""
    if not host.isascii():
        host = ".".join(
            label if label.isascii() else "xn--" + label.encode("punycode", "replace").decode("ascii")
            for label in host.split(".")
        )
    return (host, port) if _HOST.fullmatch(host) else ("", "")


def _with_hosts(cleaned: str) -> str | None:
    """Sanitised HTML with the real host after every link; None when it is nested too deep after all.

    What nh3 writes is well-formed: each tag that opens closes, so here depth is counted exactly.
    """
    out: list[str] = []
    hosts: list[str] = []
    depth = position = 0
    for tag in tags(cleaned):
        if tag.closing:
            depth -= 1
        elif tag.name not in VOID:
            depth += 1
            if depth > limits.HTML_DEPTH:
                return None
        if tag.name == "a":
            out.append(cleaned[position : tag.end])
            position = tag.end
            if tag.closing:
                host = hosts.pop() if hosts else ""
                out.append(f" [{escape(host)}]" if host else "")
            else:
                link = _link(attribute_of(tag.attributes, "href"))
                hosts.append(link.shown if link else "")
    out.append(cleaned[position:])
    return "".join(out)
