"""Compose: a message that a person writes, from its parts to octets that any next hop takes (promises C.6).

The email package encodes words, but folds no header here: in some releases it encodes the commas of a long list of
recipients along with a name. Bcc has no field, so that it can reach no octet.
"""

from __future__ import annotations

import binascii
import re
from base64 import encodebytes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from email.header import Header
from email.utils import encode_rfc2231, format_datetime
from html import escape
from mimetypes import MimeTypes

from mimeportal import limits
from mimeportal.errors import UsageError
from mimeportal.messages.contract import writing as contract
from mimeportal.untrusted import clean, header_value, safe_name
from mimeportal.untrusted_html import html_to_text, image_tags, image_type
from mimeportal_server.clock import moment

_LINE = 76
_REFERENCES = 50  # Message-IDs of a conversation: the first, and the last ones
_NAME = re.compile(r"[!-9;-~]{1,70}")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,900}>")
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")  # words that travel as they are
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,60}/[a-z0-9][a-z0-9!#$&^_.+-]{0,60}")
_DATA_IMAGE = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)
_LONG_LINE = re.compile(rb"[^\r\n]{999}|\x00")  # what 7bit may not hold
_LINE_END = re.compile(r"\r\n|\r|\n")
_TYPES = MimeTypes(())  # Python's own table: what a file is taken for depends on no machine


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address as `parse_address` gives it, and the name that is shown with it."""

    address: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """A file that is attached; with a `content_id` the HTML text may show it."""

    name: str
    octets: bytes
    content_type: str = ""
    content_id: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a message is made of. `date` is in milliseconds, `in_reply_to` a Message-ID, `references` several.

    `enclosed` are whole messages, by the names of their files: their octets stay as they are.
    """

    sender: Mailbox
    to: Sequence[Mailbox] = ()
    cc: Sequence[Mailbox] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    files: Sequence[File] = ()
    enclosed: Sequence[tuple[str, bytes]] = ()
    headers: Sequence[tuple[str, str]] = ()
    in_reply_to: str = ""
    references: str = ""
    message_id: str = ""
    date: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """The octets of a message; for recipients outside those without its inline images, whose names are `left_out`."""

    octets: bytes
    outside: bytes | None = None
    left_out: tuple[str, ...] = ()


@dataclass(slots=True)
class Part:
    """One part on its way to octets: its header lines, its encoded content."""

    headers: list[str]
    content: bytes
    eight_bit: bool = False


def write(parts: Parts, *, new_id: Callable[[], str], outside: bool, keep_inline: bool) -> Written:
    """The octets of a message, with a second form for recipients `outside` where inline images make one needed.

    Inline images are not shown outside (portal-rules C.6): there they are left out, or attached with `keep_inline`.
    `new_id` makes what no other text holds. Raises `UsageError` naming what cannot be written.
    """
    shown, hidden, inline = _split(parts, new_id)
    count = len(shown.files) + len(shown.enclosed) + len(inline)
    if count > limits.ATTACHMENTS:
        raise UsageError(
            f"{count} attachments and images inside the text are more than the {limits.ATTACHMENTS} of one message.",
            remedy="Put the files into an archive, or send fewer images.",
        )
    inside = _octets(shown, inline, new_id)
    if not inline or not outside:
        return Written(inside)
    if keep_inline:
        attached = [replace(image, content_id="") for image in inline]
        return Written(inside, _octets(replace(hidden, files=[*hidden.files, *attached]), (), new_id))
    return Written(inside, _octets(hidden, (), new_id), tuple(image.name for image in inline))


def _split(parts: Parts, new_id: Callable[[], str]) -> tuple[Parts, Parts, list[File]]:
    """The message with its inline images referred to, the same without them, and the images."""
    if parts.html is None:
        return parts, parts, []
    named = {name: file for file in parts.files for name in (file.name, file.content_id) if name}
    inline: dict[str, File] = {}  # by what the text calls them
    shown, hidden, position = [], [], 0
    for tag in image_tags(parts.html):
        image = inline.get(tag.source) or _inline_image(tag.source, named, len(inline), new_id)
        if image is None:
            continue
        inline[tag.source] = image
        written = parts.html[tag.start : tag.end]
        between = parts.html[position : tag.start]
        reference = f"cid:{image.content_id}"
        cited = f'<img src="{escape(reference)}" alt="{escape(tag.alt)}">'
        shown += [between, written.replace(tag.source, reference, 1) if tag.source in written else cited]
        hidden += [between, escape(tag.alt)]
        position = tag.end
    if not inline:
        return parts, parts, []
    rest = parts.html[position:]
    used = {id(named.get(source[4:])) for source in inline}
    bare = replace(parts, files=[file for file in parts.files if id(file) not in used])
    return replace(bare, html="".join([*shown, rest])), replace(bare, html="".join([*hidden, rest])), [*inline.values()]


def _inline_image(source: str, named: dict[str, File], number: int, new_id: Callable[[], str]) -> File | None:
    """The image that an HTML text shows from inside its message, if it is one."""
    if source[:4].lower() == "cid:":
        file = named.get(source[4:])
        if file is None:
            return None
        return file if file.content_id else replace(file, content_id=f"{new_id()}@inline")
    if not (head := _DATA_IMAGE.match(source)):
        return None
    try:
        octets = binascii.a2b_base64(source[head.end() :])
    except ValueError:
        return None
    kind = image_type(octets)
    if kind is None:
        return None
    return File(f"image{number + 1}.{kind}", octets, f"image/{kind}", f"{new_id()}@inline")


# -- headers ---------------------------------------------------------------------------------------------------


def _octets(parts: Parts, inline: Sequence[File], new_id: Callable[[], str]) -> bytes:
    body = _body(parts, inline, new_id)
    head = [
        _addresses("From", [parts.sender]),
        _addresses("To", parts.to) or ("" if parts.cc else "To: undisclosed-recipients:;"),
        _addresses("Cc", parts.cc),
        unstructured("Subject", parts.subject) if parts.subject else "",
        f"Date: {format_datetime(moment(parts.date))}",
        f"Message-ID: {parts.message_id}",
        f"In-Reply-To: {parts.in_reply_to}" if parts.in_reply_to else "",
        _references(parts.references, parts.in_reply_to),
        *(extra_header(name, value) for name, value in parts.headers),
        "MIME-Version: 1.0",
    ]
    return "\r\n".join([*filter(None, head), *body.headers, "", ""]).encode("ascii") + body.content


def message_ids(text: str, *, name: str) -> list[str]:
    """The Message-IDs in a text, each with its `<>`. Raises `UsageError` where there is none."""
    given = header_value(text, name=name)
    found = _MESSAGE_ID.findall(given) or _MESSAGE_ID.findall(f"<{given}>")
    if given and not found:
        raise UsageError(f"{name} is no Message-ID: {given[:60]!r}.", remedy="Write it as <id@example.com>.")
    return found


def _references(given: str, in_reply_to: str) -> str:
    """The conversation so far, ended by what is answered (RFC 5322 3.6.4); a long one loses its middle."""
    known = list(dict.fromkeys(_MESSAGE_ID.findall(given)))
    if in_reply_to:
        known = [*(id for id in known if id != in_reply_to), in_reply_to]
    if len(known) > _REFERENCES:
        known = [known[0], *known[1 - _REFERENCES :]]
    return "References: " + "\r\n ".join(known) if known else ""


def extra_header(name: str, value: str) -> str:
    """A header beside those that we write. Raises `UsageError` for one of ours, and for what is none."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"Not the name of a header: {name[:60]!r}.", remedy="Write it as X-Name: value.")
    if name.lower() in contract.OWN_HEADERS or name.lower().startswith(contract.OWN_HEADER_FAMILIES):
        raise UsageError(f"The header {name} is written by the portal alone.", remedy="Leave it out.")
    return unstructured(name, value)


def unstructured(name: str, value: str) -> str:
    """A header of free text, folded. Raises `UsageError` for line ends and NUL, which could begin another header."""
    text = header_value(value, name=name)
    if len(text) > limits.SUBJECT:
        raise UsageError(f"The {name} has more than {limits.SUBJECT:,} characters.", remedy="Shorten it.")
    # Several blanks in a row could make a line of nothing else, which ends the headers for some who read them.
    words = text.split(" ")
    if not _PLAIN.fullmatch(text) or "=?" in text or any(len(word) > _LINE - 10 for word in words):
        return f"{name}: {_encoded_words(text, len(name) + 2)}" if text else f"{name}:"
    lines = [f"{name}:"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > _LINE and lines[-1] != f"{name}:":
            lines.append("")
        lines[-1] += f" {word}"
    return "\r\n".join(lines)


def _addresses(name: str, mailboxes: Sequence[Mailbox]) -> str:
    return f"{name}: " + ",\r\n ".join(_mailbox(name, mailbox) for mailbox in mailboxes) if mailboxes else ""


def _mailbox(header: str, mailbox: Mailbox) -> str:
    name = header_value(mailbox.name, name=f"name in {header}")
    if len(name) > limits.ADDRESS_CHARACTERS:
        raise UsageError(
            f"The name {name[:40]!r}... has more than {limits.ADDRESS_CHARACTERS} characters.", remedy="Shorten it."
        )
    if not name:
        return mailbox.address
    if "=?" in name or not name.isascii() or not name.isprintable() or len(name) > _LINE - 10:
        shown = _encoded_words(name, len(header) + 2)
    elif _PHRASE.fullmatch(name):
        shown = name
    else:
        shown = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{shown} <{mailbox.address}>"


def _encoded_words(text: str, before: int) -> str:
    header = Header(text, "utf-8", maxlinelen=_LINE, header_name="x" * max(0, before - 2))
    return header.encode(linesep="\r\n")


# -- parts -----------------------------------------------------------------------------------------------------


def _body(parts: Parts, inline: Sequence[File], new_id: Callable[[], str]) -> Part:
    text = parts.text
    if parts.html is not None and text is None:
        text = html_to_text(parts.html)
    shown = _text("plain", text or "")
    if parts.html is not None:
        page = _text("html", parts.html)
        if inline:
            images = [_file(image, "inline") for image in inline]
            page = _multipart("related", [page, *images], new_id, '; type="text/html"')
        shown = _multipart("alternative", [shown, page], new_id)
    attached = [_file(file, "attachment") for file in parts.files]
    attached += [_original(name, octets) for name, octets in parts.enclosed]
    return _multipart("mixed", [shown, *attached], new_id) if attached else shown


def _text(kind: str, text: str) -> Part:
    lines = _LINE_END.sub("\n", clean(text))
    if lines and not lines.endswith("\n"):
        lines += "\n"
    octets = lines.encode()
    if lines.isascii() and all(len(line) <= _LINE for line in lines.split("\n")):
        encoding, content = "7bit", octets
    else:
        encoding, content = "quoted-printable", binascii.b2a_qp(octets, istext=True)
        other = encodebytes(octets)
        if len(other) < len(content):
            encoding, content = "base64", other
    charset = "us-ascii" if octets.isascii() else "utf-8"
    headers = [f'Content-Type: text/{kind}; charset="{charset}"', f"Content-Transfer-Encoding: {encoding}"]
    return Part(headers, content.replace(b"\n", b"\r\n"))


def _file(file: File, disposition: str) -> Part:
    name = safe_name(header_value(file.name, name="file name"))
    given = file.content_type.lower() or _TYPES.guess_type(name)[0] or ""
    if given == "message/rfc822" and file.octets.isascii() and not _LONG_LINE.search(file.octets):
        return _original(name, file.octets)
    # What is base64 may hold no parts, and no message (RFC 2046, 5.2.1).
    known = _TYPE.fullmatch(given) and not given.startswith(("multipart/", "message/"))
    headers = [f"Content-Type: {given if known else 'application/octet-stream'}", "Content-Transfer-Encoding: base64"]
    headers.append(f"Content-Disposition: {disposition};\r\n {_filename(name)}")
    if file.content_id:
        if not _MESSAGE_ID.fullmatch(f"<{file.content_id}>"):
            raise UsageError(f"Not a Content-ID: {file.content_id[:60]!r}.", remedy="Write it as logo@example.com.")
        headers.append(f"Content-ID: <{file.content_id}>")
    return Part(headers, encodebytes(file.octets).replace(b"\n", b"\r\n"))


def _original(name: str, octets: bytes) -> Part:
    """A whole message as a part, its octets as they are."""
    eight_bit = not octets.isascii()
    encoding = "binary" if b"\x00" in octets else "8bit" if eight_bit else "7bit"
    headers = ["Content-Type: message/rfc822", f"Content-Transfer-Encoding: {encoding}"]
    headers.append(f"Content-Disposition: attachment;\r\n {_filename(safe_name(name))}")
    return Part(headers, octets, eight_bit)


def _filename(name: str) -> str:
    return f'filename="{name}"' if name.isascii() else f"filename*={encode_rfc2231(name, 'utf-8')}"


def _multipart(kind: str, parts: Sequence[Part], new_id: Callable[[], str], more: str = "") -> Part:
    boundary = f"=_{new_id()}"  # neither base64 nor quoted-printable can hold it
    eight_bit = any(part.eight_bit for part in parts)
    headers = [f'Content-Type: multipart/{kind}{more};\r\n boundary="{boundary}"']
    headers += ["Content-Transfer-Encoding: 8bit"] if eight_bit else []
    pieces: list[bytes] = []
    for part in parts:
        head = "\r\n".join([f"--{boundary}", *part.headers, "", ""])
        pieces += [head.encode("ascii"), part.content, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode("ascii"))
    return Part(headers, b"".join(pieces), eight_bit)
