"""Header blocks and what their values say: encoded words, charsets, addresses, parameters.

Python's `email` parsers are used for dates only. Its newer policy takes seconds for one hostile Subject, its
address parser recurses and answers differently from one patch release to the next, and its MIME parser has no
limits. Here everything is read by possessive regular expressions, which never try a place twice. Of ordinary
mail they make what `email` (compat32) makes of it: a test compares the two over real mail.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from encodings.aliases import aliases as _python_charsets
from functools import lru_cache
from itertools import islice
from urllib.parse import unquote_to_bytes

from mimeportal import limits
from mimeportal.untrusted import clean

Mailbox = tuple[str, str]  # address as written, display name decoded

# --- The header block -------------------------------------------------------------------------------------

# One pass over the block: an mbox line that was left in front, then lines that are a header or continue one.
# The first line that is neither begins the body, as with `email`. A blank before the colon is legal.
_BLOCK = re.compile(
    rb"(?:>?From [^\r\n]*+(?>\r\n|\r|\n|\Z))?+"
    rb"(?:(?:[!-9;-~]++[ \t]*+:|[ \t])[^\r\n]*+(?>\r\n|\r|\n|\Z))*+"
)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_FOLD = re.compile(rb"\n(?=[ \t])")
_FIELD = re.compile(rb"^([!-9;-~]++)[ \t]*+:[ \t]*+([^\n]*+)", re.MULTILINE)


# Hold rules and sender lists go by these: what is cut off them could be what they look for.
_DECIDING = {"from", "content-type", "content-disposition", "content-transfer-encoding"}


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers of a message or part, values unfolded but not decoded.

    fields  name as written and value, in their order
    by_name lower-case name to values
    body    where the body starts
    """

    fields: tuple[tuple[str, bytes], ...] = ()
    by_name: Mapping[str, list[bytes]] = field(default_factory=dict)
    body: int = 0
    notes: tuple[str, ...] = ()
    suspicious: str | None = None

    def raw(self, name: str) -> list[bytes]:
        return self.by_name.get(name.lower(), [])

    def first(self, name: str) -> str:
        """The first value as text, its encoded words as they are; "" when there is none."""
        return _readable(self.raw(name)[0]) if self.raw(name) else ""

    def texts(self, name: str) -> list[str]:
        """Every value, decoded and clean."""
        return [decoded(value) for value in self.raw(name)]

    def text(self, name: str) -> str:
        """The first value, decoded and clean; "" when there is none."""
        return decoded(self.raw(name)[0]) if self.raw(name) else ""

    def mailboxes(self, name: str) -> tuple[Mailbox, ...]:
        """What `addresses` finds in every value."""
        return tuple(mailbox for value in self.raw(name) for mailbox in addresses(_readable(value)))


def read_headers(octets: bytes, start: int = 0, end: int | None = None, *, most: int | None = None) -> Headers:
    """The header block at `start`, of which no more than `most` octets (`limits.HEADERS`) are read.

    A value longer than `limits.HEADER` is cut.
    """
    end = len(octets) if end is None else end
    stop = min(end, start + (limits.HEADERS if most is None else most))
    match = _BLOCK.match(octets, start, stop)
    body = match.end() if match else start
    block = octets[start:body]
    notes: list[str] = []
    suspicious = None
    blank_line = _LINE_END.match(octets, body, end)
    if body == stop < end and not (blank_line and block.endswith((b"\n", b"\r"))):
        suspicious = f"the headers are longer than {stop - start} octets"
        notes.append(f"{suspicious}: the rest of them was not read")
        body = _after_blank_line(octets, body, end)
    elif blank_line:
        body = blank_line.end()
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    fields: list[tuple[str, bytes]] = []
    by_name: dict[str, list[bytes]] = {}
    for written, value in _FIELD.findall(_FOLD.sub(b"", block)):
        name = written.decode("ascii")
        if len(value) > limits.HEADER:
            notes.append(f"the header {name[:60]} was cut at {limits.HEADER} octets")
            value = value[: limits.HEADER]
            if name.lower() in _DECIDING:
                suspicious = suspicious or notes[-1]
        value = value.rstrip()
        fields.append((name, value))
        by_name.setdefault(name.lower(), []).append(value)
    return Headers(tuple(fields), by_name, body, tuple(notes), suspicious)


def _after_blank_line(octets: bytes, start: int, end: int) -> int:
    found = [
        at + len(blank) for blank in (b"\n\n", b"\n\r\n") if (at := octets.find(blank, max(0, start - 2), end)) >= 0
    ]
    return min(found, default=end)


def _readable(value: bytes) -> str:
    """A raw header value as text: 8-bit octets are UTF-8 or else Windows-1252, whatever the standard says."""
    return value.decode("ascii") if value.isascii() else decode(value, "")


_WORD = re.compile(r"=\?([^?\s]{1,80})\?([bBqQ])\?")


def decoded(value: bytes) -> str:
    """A header value for people: encoded words (RFC 2047) decoded, and clean."""
    return clean(decode_words(_readable(value)).strip())


def decode_words(text: str) -> str:
    """Decode the encoded words of a text. Blanks between two of them are none; what cannot be read stays."""
    if "=?" not in text:
        return text
    out: list[str] = []
    run: list[bytes] = []  # words in one charset, next to each other: a character may be split over two
    run_charset, position = "", 0
    for start, end, charset, content in _words(text):
        between = text[position:start]
        adjacent = position > 0 and not between.strip()
        if not adjacent or charset != run_charset:
            out.append(decode(b"".join(run), run_charset))
            out.append("" if adjacent else between)
            run = []
        run.append(content)
        run_charset, position = charset, end
    return "".join((*out, decode(b"".join(run), run_charset), text[position:]))


def _words(text: str) -> Iterator[tuple[int, int, str, bytes]]:
    """Each encoded word: where it starts and ends, its charset, its octets."""
    position = text.find("=?")
    while position >= 0:
        follows = position + 2
        word = _WORD.match(text, position)
        if word:
            end = text.find("?=", word.end())
            if end < 0:
                return
            content = text[word.end() : end]
            if content.isascii():
                follows = end + 2
                octets = content.encode("ascii")
                octets = binascii.a2b_qp(octets, header=True) if word[2] in "qQ" else decode_base64(octets)
                yield position, follows, word[1].partition("*")[0].lower(), octets
        position = text.find("=?", follows)


# --- Charsets ---------------------------------------------------------------------------------------------

# Only charsets that Python lists by name: nothing a stranger writes is ever imported, or remembered. What it lists
# that is no charset of text, `bytes.decode` refuses. ASCII is left out: 8-bit octets in it can be anything.
_KNOWN_CHARSETS = {*_python_charsets.values()} - {"ascii"}
# As browsers read them: the label is often that of a smaller set than was used, or one that Python does not list.
_READ_AS = {
    "latin_1": "cp1252",
    "iso8859_9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "iso_8859_8_i": "iso8859_8",
    "unicode_1_1_utf_7": "utf_7",
    "cp_850": "cp850",
    "koi8_u": "koi8_u",
    "windows_874": "cp874",
}


@lru_cache(maxsize=256)
def _codec(charset: str) -> str | None:
    """Python's codec for a charset label; None when there is none to go by."""
    name = re.sub(r"[^a-z0-9]+", "_", charset.strip().lower()[:60]).strip("_")
    name = _python_charsets.get(name, name)
    return _READ_AS.get(name) or (name if name in _KNOWN_CHARSETS else None)


def decode(octets: bytes, charset: str) -> str:
    """Text in a charset, or if that is unknown or wrong in UTF-8, or else in Windows-1252. Never raises."""
    codec = _codec(charset)
    if codec is not None:
        try:
            return octets.decode(codec, "replace")
        except Exception:
            pass
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        whole = octets[: error.start]
        if error.reason == "unexpected end of data" and not whole.isascii():
            return whole.decode("utf-8")  # it is UTF-8, of which a limit cut the last character
    return octets.decode("cp1252", "replace")


def decode_base64(octets: bytes) -> bytes:
    """What base64 decodes to, leaving out what is none. Never raises."""
    try:
        return binascii.a2b_base64(octets + b"==")
    except binascii.Error:  # one digit is left over, which is no whole octet
        return binascii.a2b_base64(octets + b"A==")[:-1]


# --- Addresses --------------------------------------------------------------------------------------------

_ADDRESS_TOKEN = re.compile(r'[^",<>():;]++|"(?:[^"\\]|\\.)*+"?+|<([^<>]*+)(>?)|.', re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"?+', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_COMMENT_TOKEN = re.compile(r"[^()\\]++|\\.|.", re.DOTALL)


def addresses(text: str) -> list[Mailbox]:
    """The mailboxes of an address header: `(address, display name)`, the name decoded and clean.

    Groups give their members. The address is as written, "" where there is only a name. Read before encoded
    words are decoded: what they contain is never an address.
    """
    found: list[Mailbox] = []
    entry = _Entry()
    position = 0
    while position < len(text):
        token = _ADDRESS_TOKEN.match(text, position)
        assert token is not None
        position = token.end()
        first = text[token.start()]
        if first == "<":
            content = token[1]
            if not token[2]:  # it never closes: it ends where the next mailbox starts
                content = content.partition(",")[0]
                position = token.start() + 1 + len(content)
            if entry.angle is not None:
                found += entry.close()
                entry = _Entry()
            entry.angle = content
        elif first == "(":
            comment, position = _comment(text, position)
            entry.comments.append(comment)
        elif first in ",;":
            found += entry.close()
            entry = _Entry()
        elif first == ":" and entry.angle is None:
            entry = _Entry()  # what stood before was the name of a group
        elif first not in ">):":
            entry.words.append(token[0])
    return found + entry.close()


class _Entry:
    """One mailbox while it is read."""

    __slots__ = ("angle", "comments", "words")

    def __init__(self) -> None:
        self.words: list[str] = []  # quoted strings still in their quotes
        self.comments: list[str] = []
        self.angle: str | None = None

    def close(self) -> list[Mailbox]:
        text = "".join(self.words).strip()
        if self.angle is not None:
            # An obsolete route, `<@relay:user@example.com>`, is not part of the address.
            address = self.angle.rpartition(":")[2] if self.angle.startswith("@") else self.angle
            name = self._name(text)
            return [mailbox for mailbox in ((found, name) for found in _compact(address)) if any(mailbox)]
        if "@" in (_QUOTED.sub("", text) if '"' in text else text):
            return [(found, self._name("")) for found in _compact(text)]
        if not text and not self.comments:
            return []
        return [("", self._name(text))]

    def _name(self, text: str) -> str:
        name = _unquoted(text) if '"' in text else text
        return clean(decode_words(" ".join((name or " ".join(self.comments)).split())))


def _compact(address: str) -> list[str]:
    """An address without the blanks that the standard allows in it, but for those in quotes.

    Where blanks stand between several addresses, as no standard allows, each of them: never one made of two.
    """
    address = clean(address.strip())
    if '"' in address:
        return [address]
    words = address.split()
    if len(words) > 1 and address.count("@") > 1:
        return [word for word in words if "@" in word]
    return ["".join(words)]


def _unquoted(text: str) -> str:
    return _QUOTED.sub(lambda quoted: _QUOTED_PAIR.sub(r"\1", quoted[1]), text)


def _comment(text: str, position: int) -> tuple[str, int]:
    """The comment that was opened just before `position`, and where it ends. It may hold others."""
    depth = 1
    start = position
    for token in _COMMENT_TOKEN.finditer(text, position):
        if token[0] == "(":
            depth += 1
        elif token[0] == ")":
            depth -= 1
            if not depth:
                return text[start : token.start()], token.end()
    return text[start:], len(text)


# --- Parameters -------------------------------------------------------------------------------------------

_PARAMETER = re.compile(r';\s*+([^=;\s"]++)\s*+=\s*+("(?:[^"\\]|\\.)*+"?+|[^;]*+)', re.DOTALL)
PARAMETERS = 100  # of one header; more are not read


def parameters(value: str) -> tuple[str, dict[str, str]]:
    """A header such as Content-Type: its value in lower case, its parameters neither joined nor decoded."""
    start = value.find(";")
    if start < 0:
        return _first_word(value), {}
    found: dict[str, str] = {}
    for parameter in islice(_PARAMETER.finditer(value, start), PARAMETERS):
        text = parameter[2].strip()
        if text[:1] == '"':
            text = _unquoted(text)
        found.setdefault(parameter[1].lower(), text)
    return _first_word(value[:start]), found


def _first_word(text: str) -> str:
    return (text.split(None, 1) or [""])[0].lower()


def parameter(found: dict[str, str], name: str) -> str:
    """One parameter, decoded and clean: plain, or with encoded words, or as in RFC 2231; "" when absent."""
    whole = found.get(f"{name}*")
    if whole is not None:
        found = {f"{name}*0*": whole}
    charset, octets = "", b""
    for number in range(PARAMETERS):
        plain, encoded = found.get(f"{name}*{number}"), found.get(f"{name}*{number}*")
        if encoded is not None:
            if number == 0 and encoded.count("'") >= 2:
                charset, _, encoded = encoded.split("'", 2)
            octets += unquote_to_bytes(encoded)
        elif plain is not None:
            octets += plain.encode("utf-8", "replace")
        elif number:
            break
        else:
            return clean(decode_words(found.get(name, "")))
    return clean(decode(octets, charset))
