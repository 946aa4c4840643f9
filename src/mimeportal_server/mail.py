"""What arrived, parsed once and within limits: the only reader of the inside of a message.

The octets of a message are never changed (promises C.1); what is read out of them is for lists, rules and
previews. Reading never fails and never hangs (promises D.4, F.1): limits are applied before anything is
decoded, the time is linear in the size of the message, and what could not be read is said in `notes`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from mimeportal import limits
from mimeportal.addresses import normalise
from mimeportal.untrusted import clean
from mimeportal.untrusted_html import html_to_text
from mimeportal_server.mail_headers import (
    Headers,
    Mailbox,
    decode,
    decoded,
    parameter,
    parameters,
    read_headers,
)
from mimeportal_server.mime import Part, Structure, read_structure


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
    headers: Headers = field(default_factory=Headers, repr=False)

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
    text_of_html    there is no text part, and `text` is what the HTML says
    """

    headers: tuple[tuple[str, str], ...]
    text: str
    html: str | None
    attachments: tuple[AttachmentInfo, ...]
    images: dict[str, bytes]
    notes: tuple[str, ...]
    text_of_html: bool = False


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What a delivery status notification says of one recipient (RFC 3464). Text is clean, but not yet `visible`.

    recipients  normalised: whom it was meant for, and whom it went on to
    action      in small letters: `failed`, `delayed`, `delivered`, `relayed`, `expanded`
    status      as `5.1.1`; `diagnostic` what the other server said
    """

    recipients: tuple[str, ...]
    action: str
    status: str
    diagnostic: str


def summarise(octets: bytes | memoryview) -> Summary:
    """What is known of a message from its headers and its structure. Never raises."""
    try:
        return _summarise(*_read(bytes(octets)))
    except Exception as error:  # whatever a stranger's octets bring about, the message is kept and held
        reason = f"the message could not be parsed ({type(error).__name__})"
        return Summary(notes=(reason,), suspicious=reason)


def preview(octets: bytes | memoryview) -> Preview:
    """What a person sees of a message. Never raises."""
    try:
        return _preview(*_read(bytes(octets)))
    except Exception as error:
        return Preview((), "", None, (), {}, (f"the message could not be parsed ({type(error).__name__})",))


def summary_and_preview(octets: bytes | memoryview) -> tuple[Summary, Preview]:
    """Both, for one pass over the message. Never raises."""
    try:
        read = _read(bytes(octets))
        return _summarise(*read), _preview(*read)
    except Exception:
        return summarise(octets), preview(octets)


def summary_and_words(octets: bytes | memoryview) -> tuple[Summary, str]:
    """What is known of a message, and the text by which search finds it: of its body, as far as it is kept.

    Never raises.
    """
    try:
        read = _read(bytes(octets))
        return _summarise(*read), _searched(*read)
    except Exception:
        return summarise(octets), ""


def attachment(octets: bytes | memoryview, index: int) -> bytes:
    """The decoded octets of one of the attachments that `summarise` and `preview` list.

    Raises `IndexError` when there is none of that number.
    """
    return named_attachment(octets, index)[1]


def named_attachment(octets: bytes | memoryview, index: int) -> tuple[str, bytes]:
    """The file name, still the sender's words, and the octets of an attachment. Raises as `attachment`."""
    message, _, structure = _read(bytes(octets))
    files = structure.files
    if not 0 <= index < len(files):
        raise IndexError(index)
    return files[index].filename, files[index].decoded(message)


def delivery_reports(octets: bytes) -> tuple[DeliveryReport, ...]:
    """What a delivery status notification says, by recipient; nothing for any other message. Never raises."""
    try:
        message, headers, structure = _read(octets)
        content_type, found = parameters(headers.first("content-type"))
        if content_type != "multipart/report" or parameter(found, "report-type").lower() != "delivery-status":
            return ()
        parts = [part for part in structure.leaves if not part.embedded]
        status = next((part for part in parts if part.content_type == "message/delivery-status"), None)
        return tuple(_delivery_reports(status.decoded(message, limits.HEADERS))) if status else ()
    except Exception:  # a stranger's octets: what cannot be read reports nothing
        return ()


def _delivery_reports(content: bytes) -> Iterator[DeliveryReport]:
    """The groups of fields, one for each recipient; the first is of the message."""
    group = read_headers(content)
    for _ in range(limits.SMTP_RECIPIENTS):
        start = group.body
        if start >= len(content):
            return
        group = read_headers(content, start)
        named = (group.text(name).rpartition(";")[2] for name in ("original-recipient", "final-recipient"))
        recipients = tuple(dict.fromkeys(normalise(address) for address in named if "@" in address))
        if recipients:
            yield DeliveryReport(
                recipients,
                group.text("action").strip().lower(),
                group.text("status").strip(),
                group.text("diagnostic-code").partition(";")[2].strip(),
            )
        if group.body <= start:
            return


def body(octets: bytes) -> bytes:
    """All that follows the headers of a message."""
    return octets[read_headers(octets).body :]


def _read(octets: bytes) -> tuple[bytes, Headers, Structure]:
    headers = read_headers(octets)
    return octets, headers, read_structure(octets, headers)


def _summarise(octets: bytes, headers: Headers, structure: Structure) -> Summary:
    senders = headers.mailboxes("from")
    named = [mailbox for mailbox in senders if "@" in mailbox[0]]
    single = named[0] if len(named) == 1 and len(headers.raw("from")) == 1 else None
    to, cc = headers.mailboxes("to"), headers.mailboxes("cc")
    delivered_to = headers.mailboxes("delivered-to")
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
        return_path=_return_path(headers),
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


def _return_path(headers: Headers) -> str | None:
    """ "" for `<>`; None when there is not one header of that name, with one address."""
    if len(headers.raw("return-path")) != 1:
        return None
    if headers.first("return-path") == "<>":
        return ""
    found = [address for address, _ in headers.mailboxes("return-path") if "@" in address]
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


def _infos(octets: bytes, structure: Structure) -> Iterator[AttachmentInfo]:
    for index, part in enumerate(structure.files):
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


def _bodies(structure: Structure) -> tuple[list[Part], list[Part]]:
    """The parts that are the text of the message, and its HTML parts."""
    bodies = [part for part in structure.leaves if not part.is_attachment and not part.embedded]
    others = [part for part in bodies if part.content_type != "text/html"]
    plain = [part for part in others if part.content_type == "text/plain"]
    return plain or others, [part for part in bodies if part.content_type == "text/html"]


def _searched(octets: bytes, _: Headers, structure: Structure) -> str:
    """The text by which a message is found: its text parts, or else what its HTML says."""
    texts, pages = _bodies(structure)
    text, _cut = _joined_text(octets, texts, limits.SEARCHED_TEXT)
    return text if text.strip() else html_to_text(_joined_text(octets, pages, limits.SEARCHED_TEXT)[0])


def _preview(octets: bytes, headers: Headers, structure: Structure) -> Preview:
    notes = [*headers.notes, *structure.notes]
    texts, pages = _bodies(structure)
    html, cut_html = _joined_text(octets, pages, limits.HTML)
    text, cut_text = _joined_text(octets, texts, limits.TEXT_SHOWN)
    if cut_html:
        notes.append(f"the HTML is longer than {limits.HTML} octets and not shown as such")
    text_of_html = not text.strip() and bool(html.strip())
    if text_of_html:
        text = html_to_text(html)
    if cut_text:
        notes.append(f"the text was cut at {limits.TEXT_SHOWN} octets")
    infos: list[AttachmentInfo] = []
    images: dict[str, bytes] = {}
    for info, part in zip(_infos(octets, structure), structure.files, strict=True):
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
        text_of_html=text_of_html,
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
