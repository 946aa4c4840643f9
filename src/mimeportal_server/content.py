"""What may be seen of a message, held or in a mailbox: its detail, its files, and the URLs they are fetched from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mimeportal import limits
from mimeportal.untrusted import safe_name
from mimeportal.wire import Address, AttachmentRow, Endpoint, HeaderRow, format_date
from mimeportal_server import audit, mail, people, tokens
from mimeportal_server.clock import moment
from mimeportal_server.people import Caller
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.tokens import InvalidToken


class Facts(Protocol):
    """What is known of a message before it is parsed; `id` is the number of the hold or of the mailbox row."""

    @property
    def id(self) -> int: ...
    @property
    def blob(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def received(self) -> int: ...
    @property
    def from_address(self) -> str: ...
    @property
    def from_header(self) -> str: ...
    @property
    def from_name(self) -> str: ...
    @property
    def recipient(self) -> str: ...
    @property
    def subject(self) -> str: ...


def detail(portal: Portal, row: Facts, part_kind: str) -> dict[str, Any]:
    """The fields that every detail row has (`DetailRow`), but for its id and status."""
    summary, preview = mail.summary_and_preview(portal.home.blobs.read(row.blob))
    headers: dict[str, tuple[str, list[str]]] = {}
    for name, value in preview.headers:
        headers.setdefault(name.lower(), (name, []))[1].append(value)
    received = format_date(moment(row.received))
    return {
        "smash": row.blob,
        "mime_message_id": summary.message_id,
        "subject": summary.subject,
        "size": row.size,
        "received": received,
        "processed": received,
        "header_date": format_date(summary.date) if summary.date else "",
        "has_html_body": bool(preview.html),
        "has_text_body": bool(preview.text) and not preview.text_of_html,
        "envelope_from": Address(email_address=row.from_address),
        "from_": Address(email_address=row.from_header, displayable_name=row.from_name),
        "reply_to": next(map(_address, summary.headers.mailboxes("reply-to")), None),
        "to": [_address(mailbox) for mailbox in summary.to],
        "cc": [_address(mailbox) for mailbox in summary.cc],
        "headers": [HeaderRow(name=name, values=values) for name, values in headers.values()],
        "attachments": [_attachment(portal, row.id, part, part_kind) for part in preview.attachments],
        "text_body": preview.text or None,
        "html_body": preview.html,
        "notes": list(preview.notes),
    }


def _attachment(portal: Portal, number: int, part: mail.AttachmentInfo, kind: str) -> AttachmentRow:
    return AttachmentRow(
        id=portal.sealer.id(kind, number * limits.PARTS_LISTED + part.index),
        filename=part.filename,
        size=part.size,
        extension=part.extension,
        content_type=part.content_type,
        content_id=part.content_id,
        sha256=part.sha256,
        body_type=5,
    )


def _address(mailbox: tuple[str, str]) -> Address:
    return Address(email_address=mailbox[0], displayable_name=mailbox[1])


def whole(portal: Portal, row: Facts) -> Answer:
    """The octets of a message."""
    return Answer(body=portal.home.blobs.pieces(row.blob), filename="message.eml")


def attachment(portal: Portal, row: Facts, index: int) -> Answer:
    """The octets of one of its attachments. Raises `Refused`."""
    try:
        name, content = mail.named_attachment(portal.home.blobs.read(row.blob), index)
    except IndexError:
        raise Refused("not_found", "There is no such attachment.", status=404) from None
    return Answer(body=iter([content]), filename=safe_name(name))


def number(portal: Portal, kind: str, id: str) -> int:
    """What an id of this kind names. Raises `Refused`."""
    try:
        return portal.sealer.number(kind, id)
    except InvalidToken:
        raise Refused("xdk_failure", "0007 Invalid token") from None


def record(portal: Portal, call: Call, action: str, kind: str, row: Facts) -> None:
    """Who saw or fetched what, in the audit."""
    facts = {"from": row.from_address, "to": row.recipient, "subject": row.subject}
    with portal.write() as tx:
        audit.record(
            tx,
            [audit.Act(action, "done", kind, row.id, facts)],
            at=portal.clock.now(),
            caller=call.caller,
            request_id=call.request_id,
        )


# -- files, and the two answers to a download -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Files:
    """The octets of messages of one kind, and of their attachments.

    whole   the kind of the ids of messages, as the audit names it too; part: that of the ids of attachments
    fetch   where a URL for them leads
    find    the message with a number, where a caller may see what it says; else it raises `Refused`
    """

    whole: str
    part: str
    fetch: Endpoint[Any, Any]
    find: Callable[[Portal, Caller, int], Facts]

    def hand_over(self, portal: Portal, call: Call, id: str) -> Answer:
        """The octets of an id, or for API 2.0 a URL to fetch them from; this is what the audit tells of.

        As mimecast-api-core 6.10 and mimecast-api-portal 2.4 have it. Raises `Refused`.
        """
        try:
            kind, named = self.part, portal.sealer.number(self.part, id)
        except InvalidToken:
            kind, named = self.whole, number(portal, self.whole, id)
        row, answer = self._octets(portal, call.caller, kind, named)
        record(portal, call, "download", self.whole, row)
        if call.caller.api != "api2":
            return answer
        expires = portal.clock.machine() + limits.DOWNLOAD_SECONDS * 1000
        object = f"{kind}:{named}"
        with portal.write() as tx:
            secret = tokens.issue(tx, self._purpose, call.caller.person_id, object=object, expires=expires)
        query = f"method=GET&expires={moment(expires):%Y%m%dT%H%M%SZ}&context={secret}"
        return Answer([{"urls": [f"{portal.settings.public_url}{self.fetch.path}?{query}"]}])

    def fetched(self, portal: Portal, call: Call, context: str) -> Answer:
        """What such a URL leads to, for whoever has it, as long as its caller may still see the content.

        Raises `Refused`.
        """
        with portal.database.read() as tx:
            granted = tokens.granted(tx, context, self._purpose, now=portal.clock.machine())
            caller = people.caller_of(tx, granted.address, call.caller.door) if granted else None
        if granted is None or caller is None:
            raise Refused("err_download_link", "This link is wrong, or its time is over.", status=403)
        kind, _, named = granted.object.partition(":")
        return self._octets(portal, caller, kind, int(named))[1]

    def _octets(self, portal: Portal, caller: Caller, kind: str, named: int) -> tuple[Facts, Answer]:
        if kind == self.whole:
            row = self.find(portal, caller, named)
            return row, whole(portal, row)
        of, index = divmod(named, limits.PARTS_LISTED)
        row = self.find(portal, caller, of)
        return row, attachment(portal, row, index)

    @property
    def _purpose(self) -> str:
        return f"download {self.fetch.name}"
