"""What arrived, parsed once and within limits: the only reader of the inside of a message.

The octets of a message are never changed (promises C.1); what is read out of them is for lists, rules and
previews. Reading never fails and never hangs (promises D.4, F.1): limits are applied before anything is
decoded, the time is linear in the size of the message, and what could not be read is said in `notes`.

Python's `email` parsers are used for dates only. Its newer policy takes seconds for one hostile Subject, its
address parser recurses and answers differently from one patch release to the next, and its MIME parser has no
limits. Here the header block, addresses, parameters and the MIME structure are read by possessive regular
expressions, which never try a place twice. Of ordinary mail they make what `email` (compat32) makes of it: a
test compares the two over real mail.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from encodings.aliases import aliases as _python_charsets
from functools import lru_cache
from itertools import islice
from pathlib import Path
from urllib.parse import unquote_to_bytes

from mimeportal import limits
from mimeportal.addresses import normalise
from mimeportal.untrusted import clean, html_to_text

Mailbox = tuple[str, str]  # address as written, display name decoded


@dataclass(frozen=True, slots=True)
class AttachmentInfo:
    """One part of a message that is a file.

    index         its number among the attachments of the message, from 0: the handle of `attachment()`
    filename      decoded and clean, but still the sender's words: `safe_name` it before a file is written
    extension     what follows the last dot of the file name, in lower case, without the dot
    size          octets; in a `Summary` reckoned from the encoded length, in a `Preview` counted
    inline        an image that the HTML part shows, rather than a file that was attached
    sha256        of the decoded octets; "" in a `Summary`
    """

    index: int
    filename: str
    content_type: str
    size: int
    extension: str
    content_id: str
    inline: bool = False
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """What lists, rules and screening know of a message. Text is decoded and clean, but not yet `visible`.

    from_address           the one address of the one From header, normalised; None with no or several of them
    from_name              its display name
    from_display           the whole From text
    header_from            every address found in From headers
    return_path            of a single Return-Path header; "" for `<>`; None when there is none or several
    recipients_in_headers  normalised: Delivered-To, or else To and Cc
    auto_submitted         made by a program: Auto-Submitted, Precedence, or a mailing list's headers
    is_list                went through a mailing list
    authentication_results the headers of that name, topmost first
    notes                  what was cut, and what could not be read
    suspicious             why the message is held as Suspicious Message Structure (promises F.1), else None
    """

    from_address: str | None = None
    from_name: str = ""
    from_display: str = ""
    header_from: tuple[Mailbox, ...] = ()
    subject: str = ""
    message_id: str = ""
    to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    date: datetime | None = None
    return_path: str | None = None
    recipients_in_headers: tuple[str, ...] = ()
    attachments: tuple[AttachmentInfo, ...] = ()
    auto_submitted: bool = False
    is_list: bool = False
    authentication_results: tuple[str, ...] = ()
    received_count: int = 0
    notes: tuple[str, ...] = ()
    suspicious: str | None = None
    headers: Headers = field(default_factory=lambda: Headers(), repr=False)

    @property
    def has_attachments(self) -> bool:
        """Whether there is a file, not counting images that the HTML part shows."""
        return any(not attachment.inline for attachment in self.attachments)

    def header(self, name: str) -> list[str]:
        """Every value of a header, decoded and clean, topmost first: what hold rules look at."""
        return self.headers.texts(name)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a person sees of a message. All text is decoded and clean, but not yet `visible`.

    headers     name and value, in their order
    text        the text parts; of mail that has only HTML, what the HTML says
    html        the HTML parts, for `safe_html`; None when there is none or it is too large to show
    images      Content-ID to octets, for `safe_html`
    """

    headers: tuple[tuple[str, str], ...]
    text: str
    html: str | None
    attachments: tuple[AttachmentInfo, ...]
    images: dict[str, bytes]
    notes: tuple[str, ...]


def summarise(octets: bytes | memoryview) -> Summary:
    """What is known of a message from its headers and its structure. Never raises."""
    try:
        return _summarise(_octets(octets))
    except Exception as error:  # whatever a stranger's octets bring about, the message is kept and held
        reason = f"the message could not be parsed ({type(error).__name__})"
        return Summary(notes=(reason,), suspicious=reason)


def preview(octets: bytes | memoryview) -> Preview:
    """What a person sees of a message. Never raises."""
    try:
        return _preview(_octets(octets))
    except Exception as error:
        return Preview((), "", None, (), {}, (f"the message could not be parsed ({type(error).__name__})",))


def attachment(octets: bytes | memoryview, index: int) -> bytes:
    """The decoded octets of one of the attachments that `summarise` and `preview` list.

    Raises `IndexError` when there is none of that number.
    """
    message = _octets(octets)
    found = [part for part in _structure(message, read_headers(message)).leaves if part.is_attachment]
    if not 0 <= index < len(found):
        raise IndexError(index)
    return found[index].decoded(message)


def _octets(octets: bytes | memoryview) -> bytes:
    return octets if isinstance(octets, bytes) else bytes(octets)


def _summarise(octets: bytes) -> Summary:
    headers = read_headers(octets)
    structure = _structure(octets, headers)
    senders = tuple(mailbox for value in headers.raw("from") for mailbox in addresses(_readable(value)))
    named = [mailbox for mailbox in senders if "@" in mailbox[0]]
    single = named[0] if len(named) == 1 and len(headers.raw("from")) == 1 else None
    to, cc = _mailboxes(headers, "to"), _mailboxes(headers, "cc")
    delivered_to = _mailboxes(headers, "delivered-to")
    return_paths = headers.raw("return-path")
    is_list = any(headers.raw(name) for name in ("list-id", "list-unsubscribe", "list-post"))
    return Summary(
        from_address=normalise(single[0]) if single else None,
        from_name=single[1] if single else "",
        from_display=", ".join(headers.texts("from")),
        header_from=senders,
        subject=headers.text("subject"),
        message_id=headers.text("message-id"),
        to=to,
        cc=cc,
        date=_date(headers.text("date")),
        return_path=_return_path(return_paths[0]) if len(return_paths) == 1 else None,
        recipients_in_headers=tuple(
            dict.fromkeys(normalise(address) for address, _ in delivered_to or to + cc if "@" in address)
        ),
        attachments=tuple(_infos(octets, structure)),
        auto_submitted=is_list or _is_automatic(headers),
        is_list=is_list or headers.text("precedence").lower() == "list",
        authentication_results=tuple(headers.texts("authentication-results")),
        received_count=len(headers.raw("received")),
        notes=(*headers.notes, *structure.notes),
        suspicious=headers.suspicious or structure.suspicious,
        headers=headers,
    )


def _mailboxes(headers: Headers, name: str) -> tuple[Mailbox, ...]:
    return tuple(mailbox for value in headers.raw(name) for mailbox in addresses(_readable(value)))


def _return_path(value: bytes) -> str | None:
    """ "" for `<>`; None when it is not one address."""
    text = _readable(value).strip()
    if text == "<>":
        return ""
    found = [address for address, _ in addresses(text) if "@" in address]
    return normalise(found[0]) if len(found) == 1 else None


def _is_automatic(headers: Headers) -> bool:
    submitted = headers.text("auto-submitted").partition(";")[0].strip().lower()
    return submitted not in ("", "no") or headers.text("precedence").lower() in ("bulk", "list", "junk")


def _date(text: str) -> datetime | None:
    """The moment in UTC; a date without a zone is taken as UTC. None when it cannot be read."""
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text[:100])
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except Exception:  # ValueError, OverflowError, TypeError, IndexError: by release
        return None


# --- Headers ----------------------------------------------------------------------------------------------

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
        values = self.by_name.get(name)
        return _readable(values[0]) if values else ""

    def texts(self, name: str) -> list[str]:
        """Every value, decoded and clean."""
        return [decoded(value) for value in self.raw(name)]

    def text(self, name: str) -> str:
        """The first value, decoded and clean; "" when there is none."""
        values = self.by_name.get(name)
        return decoded(values[0]) if values else ""


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
            content = _word_content(word[2], text[word.end() : end])
            if content is not None:
                follows = end + 2
                yield position, follows, word[1].partition("*")[0].lower(), content
        position = text.find("=?", follows)


def _word_content(encoding: str, content: str) -> bytes | None:
    try:
        octets = content.encode("ascii")
    except UnicodeEncodeError:
        return None
    if encoding in "qQ":
        return binascii.a2b_qp(octets.replace(b" ", b"_"), header=True)
    return decode_base64(octets)


# --- Charsets ---------------------------------------------------------------------------------------------

# Only charsets that Python knows by name: nothing a stranger writes is ever imported, or remembered. Some of
# its codecs are no charsets of text, and the time of punycode and idna grows with the square of the length.
_NO_CHARSETS = {"punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"}
_KNOWN_CHARSETS = {*_python_charsets, *_python_charsets.values()} - _NO_CHARSETS
# As browsers read them: the label is often that of a smaller set than was used.
_WIDER = {
    "ascii": "cp1252",
    "us_ascii": "cp1252",
    "iso_8859_1": "cp1252",
    "iso8859_1": "cp1252",
    "latin_1": "cp1252",
    "latin1": "cp1252",
    "iso_8859_9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601_1987": "cp949",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "iso_8859_8_i": "iso8859_8",
    "unicode_1_1_utf_7": "utf_7",
    "cp_850": "cp850",
}
_ASCII_NAMES = {"", "ascii", "us_ascii"}


@lru_cache(maxsize=256)
def _codec(charset: str) -> str | None:
    """Python's codec for a charset label; None when unknown, and for ASCII: 8-bit in it can be anything."""
    name = re.sub(r"[^a-z0-9]+", "_", charset.strip().lower()[:60]).strip("_")
    if name in _ASCII_NAMES:
        return None
    name = _WIDER.get(name, name)
    return name if name in _KNOWN_CHARSETS else None


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


_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))


def decode_base64(octets: bytes) -> bytes:
    """What base64 decodes to, leaving out what is none. Never raises."""
    digits = octets.translate(None, _NOT_BASE64)
    end = digits.find(b"=")
    digits = digits if end < 0 else digits[:end]
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


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
            mailbox = _compact(address), self._name(text)
            return [mailbox] if any(mailbox) else []
        if "@" in (_QUOTED.sub("", text) if '"' in text else text):
            return [(_compact(text), self._name(""))]
        if not text and not self.comments:
            return []
        return [("", self._name(text))]

    def _name(self, text: str) -> str:
        name = _unquoted(text) if '"' in text else text
        return clean(decode_words(" ".join((name or " ".join(self.comments)).split())))


def _compact(address: str) -> str:
    """An address without the blanks that the standard allows in it, but for those in quotes."""
    address = clean(address.strip())
    return address if '"' in address else "".join(address.split())


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
_PARAMETERS = 100  # of one header; more are not read


def parameters(value: str) -> tuple[str, dict[str, str]]:
    """A header such as Content-Type: its value in lower case, its parameters neither joined nor decoded."""
    start = value.find(";")
    if start < 0:
        return _first_word(value), {}
    found: dict[str, str] = {}
    for parameter in islice(_PARAMETER.finditer(value, start), _PARAMETERS):
        text = parameter[2].strip()
        if text[:1] == '"':
            text = _unquoted(text)
        found.setdefault(parameter[1].lower(), text)
    return _first_word(value[:start]), found


def _first_word(text: str) -> str:
    return (text.split(None, 1) or [""])[0].lower()


def parameter(found: dict[str, str], name: str) -> str:
    """One parameter, decoded and clean: plain, or with encoded words, or as in RFC 2231; "" when absent."""
    if f"{name}*" in found:
        return clean(_extended(found[f"{name}*"]))
    if f"{name}*0" in found or f"{name}*0*" in found:
        return clean(_joined(found, name))
    return clean(decode_words(found.get(name, "")))


def _joined(found: dict[str, str], name: str) -> str:
    charset, octets = "", b""
    for number in range(_PARAMETERS):
        plain, encoded = found.get(f"{name}*{number}"), found.get(f"{name}*{number}*")
        if encoded is not None:
            if number == 0 and encoded.count("'") >= 2:
                charset, _, encoded = encoded.split("'", 2)
            octets += unquote_to_bytes(encoded)
        elif plain is not None:
            octets += plain.encode("utf-8", "replace")
        else:
            break
    return decode(octets, charset)


def _extended(value: str) -> str:
    if value.count("'") < 2:
        return decode(unquote_to_bytes(value), "")
    charset, _, text = value.split("'", 2)
    return decode(unquote_to_bytes(text), charset)


# --- Structure --------------------------------------------------------------------------------------------

_PART_HEADERS = 4 * limits.HEADER
_FALSE_DELIMITERS = 10_000
_DELIMITER_TAIL = re.compile(rb"(--)?+[ \t]*+(?>\r\n|\r|\n|\Z)")
_REPORT_TYPES = {"message/delivery-status", "message/disposition-notification", "message/feedback-report"}


@dataclass(slots=True)
class Part:
    """One part without parts of its own; its content is `octets[start:end]`."""

    content_type: str
    charset: str
    encoding: str
    filename: str
    content_id: str
    start: int
    end: int
    is_attachment: bool
    inline: bool
    embedded: bool  # inside an attached message

    def decoded(self, octets: bytes, most: int | None = None) -> bytes:
        """The content without its transfer encoding; only about the first `most` octets are decoded."""
        # No encoding makes more than three octets (and a line end) of one.
        stop = self.end if most is None else min(self.end, self.start + 4 * most)
        content = octets[self.start : stop]
        if self.encoding == "base64":
            return decode_base64(content)
        if self.encoding == "quoted-printable":
            return binascii.a2b_qp(content)
        return content

    def size(self, octets: bytes) -> int:
        """How long `decoded` will be, reckoned without decoding: exact where the encoding is flawless."""
        length = self.end - self.start
        if self.encoding == "base64":
            tail = octets[max(self.start, self.end - 8) : self.end]
            line_ends = octets.count(b"\n", self.start, self.end) + octets.count(b"\r", self.start, self.end)
            return max(0, length - line_ends - tail.count(b"=")) * 3 // 4
        if self.encoding == "quoted-printable":
            equals = octets.count(b"=", self.start, self.end)
            return max(0, length - 2 * equals - octets.count(b"=\r\n", self.start, self.end))
        return length


class _Structure:
    """The parts of one message, found without decoding any."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.leaves: list[Part] = []
        self.notes: list[str] = []
        self.suspicious: str | None = None
        self.parts = 0
        self.false_delimiters = 0

    def walk(self, headers: Headers, end: int, *, depth: int = 0, parent: str = "", embedded: bool = False) -> None:
        default = "message/rfc822" if parent == "multipart/digest" else "text/plain"
        content_type, found = self._parameters(headers, "content-type")
        if content_type.count("/") != 1:
            content_type = default
        start = min(headers.body, end)
        if content_type.startswith("multipart/"):
            if depth >= limits.MIME_DEPTH:
                self._suspect(f"parts are nested deeper than {limits.MIME_DEPTH} levels")
                return
            if self._walk_multipart(content_type, found, start, end, depth, embedded):
                return
            content_type = "text/plain"
        disposition = self._parameters(headers, "content-disposition")
        part = _leaf(content_type, found, disposition, headers, start, end, parent, embedded)
        self.leaves.append(part)
        if content_type == "message/rfc822" and part.encoding not in ("base64", "quoted-printable"):
            if depth >= limits.MIME_DEPTH:
                self._suspect(f"parts are nested deeper than {limits.MIME_DEPTH} levels")
            elif self._count():
                inner = self._headers_of_part(start, end)
                self.walk(inner, end, depth=depth + 1, embedded=True)

    def _walk_multipart(
        self, content_type: str, found: dict[str, str], start: int, end: int, depth: int, embedded: bool
    ) -> bool:
        """Walk the parts between the delimiters; False when there are none, and it is text after all."""
        boundary = parameter(found, "boundary").rstrip()
        if not boundary:
            self.notes.append("a multipart names no boundary")
            return False
        any_part = False
        for part_start, part_end in self._delimited(boundary.encode("utf-8", "replace"), start, end):
            any_part = True
            if not self._count():
                break
            inner = self._headers_of_part(part_start, part_end)
            self.walk(inner, part_end, depth=depth + 1, parent=content_type, embedded=embedded)
        if not any_part:
            self.notes.append("the boundary of a multipart does not occur")
        return any_part

    def _delimited(self, boundary: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        octets, needle = self.octets, b"--" + boundary
        part_start = -1
        position = start
        while (found := octets.find(needle, position, end)) >= 0:
            position = found + len(needle)
            at_line = found == start or octets[found - 1] in b"\r\n"
            tail = _DELIMITER_TAIL.match(octets, position, end) if at_line else None
            if tail is None:
                self.false_delimiters += 1
                if self.false_delimiters > _FALSE_DELIMITERS:
                    self._suspect("the boundary of a multipart occurs too often in other lines")
                    break
                continue
            if part_start >= 0:
                yield part_start, max(part_start, found - self._line_end_before(found))
            part_start = -1 if tail[1] else tail.end()
            position = tail.end()
            if tail[1]:
                return
        if part_start >= 0:
            yield part_start, end

    def _line_end_before(self, position: int) -> int:
        return 2 if self.octets[max(0, position - 2) : position] == b"\r\n" else 1

    def _headers_of_part(self, start: int, end: int) -> Headers:
        headers = read_headers(self.octets, start, end, most=_PART_HEADERS)
        self.notes += headers.notes
        self.suspicious = self.suspicious or headers.suspicious
        return headers

    def _parameters(self, headers: Headers, name: str) -> tuple[str, dict[str, str]]:
        """The parameters of a header; more than are read could hide a file name from hold rules."""
        value = headers.first(name)
        if min(value.count(";"), value.count("=")) > _PARAMETERS:
            self._suspect(f"the header {name} has more than {_PARAMETERS} parameters")
        return parameters(value)

    def _count(self) -> bool:
        """Count one more part; False when no more are listed."""
        self.parts += 1
        if self.parts > limits.PARTS_TRUSTED:
            self._suspect(f"the message has more than {limits.PARTS_TRUSTED} parts", note=False)
        if self.parts == limits.PARTS_LISTED + 1:
            self.notes.append(f"only the first {limits.PARTS_LISTED} parts are listed")
        return self.parts <= limits.PARTS_LISTED

    def _suspect(self, reason: str, *, note: bool = True) -> None:
        if note and reason not in self.notes:
            self.notes.append(reason)
        self.suspicious = self.suspicious or reason


def _structure(octets: bytes, headers: Headers) -> _Structure:
    structure = _Structure(octets)
    structure.walk(headers, len(octets))
    return structure


def _leaf(
    content_type: str,
    found: dict[str, str],
    content_disposition: tuple[str, dict[str, str]],
    headers: Headers,
    start: int,
    end: int,
    parent: str,
    embedded: bool,
) -> Part:
    disposition, more = content_disposition
    filename = (parameter(more, "filename") or parameter(found, "name")).strip()
    content_id = headers.first("content-id").strip("<> \t")
    encoding = _first_word(headers.first("content-transfer-encoding"))
    if content_type == "message/rfc822" and not filename:
        filename = "message.eml"
    return Part(
        content_type=clean(content_type),
        charset=found.get("charset", ""),
        encoding=encoding,
        filename=filename,
        content_id=clean(content_id),
        start=start,
        end=end,
        is_attachment=_is_attachment(content_type, disposition, filename, parent),
        inline=content_type.startswith("image/") and bool(content_id) and disposition != "attachment",
        embedded=embedded,
    )


def _is_attachment(content_type: str, disposition: str, filename: str, parent: str) -> bool:
    """Whether a part is a file: what no mail program shows as the text of the message."""
    if disposition == "attachment":
        return True
    if content_type in ("text/plain", "text/html"):
        return bool(filename and parent)  # a message that is nothing but text is shown, whatever its name
    if content_type.startswith("text/") and parent in ("", "multipart/alternative"):
        return bool(filename and parent)
    return bool(filename) or content_type not in _REPORT_TYPES


def _infos(octets: bytes, structure: _Structure) -> Iterator[AttachmentInfo]:
    files = (part for part in structure.leaves if part.is_attachment)
    for index, part in enumerate(files):
        yield AttachmentInfo(
            index=index,
            filename=part.filename,
            content_type=part.content_type,
            size=part.size(octets),
            extension=extension_of(part.filename),
            content_id=part.content_id,
            inline=part.inline,
        )


def extension_of(filename: str) -> str:
    """The extension by which a system would open the file, in lower case, without its dot; "" for none.

    Characters that do not show, and the dots and blanks at the end that Windows drops, hide nothing.
    """
    shown = "".join(character for character in filename if character.isprintable()).rstrip(". ")
    return shown.rpartition(".")[2].lower() if "." in shown else ""


# --- Preview ----------------------------------------------------------------------------------------------


def _preview(octets: bytes) -> Preview:
    headers = read_headers(octets)
    structure = _structure(octets, headers)
    notes = [*headers.notes, *structure.notes]
    bodies = [part for part in structure.leaves if not part.is_attachment and not part.embedded]
    pages = [part for part in bodies if part.content_type == "text/html"]
    plain = [part for part in bodies if part.content_type == "text/plain"]
    html, cut_html = _joined_text(octets, pages, limits.HTML)
    text, cut_text = _joined_text(octets, plain or [part for part in bodies if part not in pages], limits.TEXT_SHOWN)
    if cut_html:
        notes.append(f"the HTML is longer than {limits.HTML} octets and not shown as such")
    if not text.strip() and html.strip():
        text = html_to_text(html)
    if cut_text:
        notes.append(f"the text was cut at {limits.TEXT_SHOWN} octets")
    files = [part for part in structure.leaves if part.is_attachment]
    infos: list[AttachmentInfo] = []
    images: dict[str, bytes] = {}
    for info, part in zip(_infos(octets, structure), files, strict=True):
        content = part.decoded(octets)
        infos.append(replace(info, size=len(content), sha256=hashlib.sha256(content).hexdigest()))
        if part.content_id and len(content) <= limits.INLINE_IMAGE and part.content_type.startswith("image/"):
            images.setdefault(part.content_id, content)
    return Preview(
        headers=tuple((name, decoded(value)) for name, value in headers.fields),
        text=text,
        html=html if pages and not cut_html else None,
        attachments=tuple(infos),
        images=images,
        notes=tuple(notes),
    )


def _joined_text(octets: bytes, parts: Sequence[Part], most: int) -> tuple[str, bool]:
    """The text of some parts, one below the other, and whether it was cut at `most` octets."""
    texts = []
    room = most
    for part in parts:
        content = part.decoded(octets, room + 1)
        texts.append(clean(decode(content[:room], part.charset)).replace("\r\n", "\n").replace("\r", "\n"))
        if len(content) > room:
            return "\n".join(texts), True
        room -= len(content)
    return "\n".join(texts), False


# --- mbox -------------------------------------------------------------------------------------------------

_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_TIME = rb"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?"
_SEPARATOR = re.compile(
    rb"From (?:.*[ \t])?" + _DAY + rb",?[ \t]+"
    rb"(?:" + _MONTH + rb"[ \t]+[0-9]{1,2}[ \t]+" + _TIME + rb"[ \t].*[0-9]{4}"
    rb"|[0-9]{1,2}[ \t]+" + _MONTH + rb"[ \t]+[0-9]{4}[ \t]+" + _TIME + rb")"
)
_SEPARATOR_OCTETS = 1_000
_LINE = 64 * limits.KIB


def split_mbox(path: str | Path) -> Iterator[tuple[int, bytes | None]]:
    """The messages of an mbox, one in memory at a time: `(offset of its separator, octets)`.

    A separator is a `From ` line with a date, at the start of the file or after a blank line (promises C.1).
    The octets hold neither the separator nor the one blank line that mbox puts after each message, also after
    the last; `>From ` stays as it is. They are None for a message over `limits.MESSAGE`. What stands
    before the first separator is a message too, unless it is blank. Raises `OSError`.
    """
    box = _Mbox()
    with Path(path).open("rb") as stream:
        offset = 0
        at_line = after_blank = True
        while line := stream.readline(_LINE):
            if at_line and after_blank and line.startswith(b"From ") and _is_separator(line):
                yield from box.take()
                box = _Mbox(offset)
                after_blank = False
            else:
                box.add(line)
                after_blank = at_line and line in (b"\n", b"\r\n")
            at_line = line.endswith(b"\n")
            offset += len(line)
    yield from box.take()


def _is_separator(line: bytes) -> bool:
    return len(line) <= _SEPARATOR_OCTETS and _SEPARATOR.match(line) is not None


class _Mbox:
    """One message of an mbox while it is read; without an offset, what stands before the first separator."""

    def __init__(self, offset: int | None = None) -> None:
        self.offset = offset
        self.lines: list[bytes] = []
        self.size = 0

    def add(self, line: bytes) -> None:
        self.size += len(line)
        # A blank line more than a message may have is still the separator's.
        if self.size <= limits.MESSAGE + 2:
            self.lines.append(line)
        else:
            self.lines.clear()

    def take(self) -> Iterator[tuple[int, bytes | None]]:
        if self.offset is None and not any(line.strip() for line in self.lines) and self.size <= limits.MESSAGE:
            return
        if self.lines and self.lines[-1] in (b"\n", b"\r\n"):
            self.size -= len(self.lines.pop())
        yield self.offset or 0, b"".join(self.lines) if self.size <= limits.MESSAGE else None
