"""What may be seen of a held message before it is decided: its headers, texts and attachments."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from mimeportal import limits
from mimeportal.holds import contract
from mimeportal.untrusted import safe_name
from mimeportal.wire import Address, format_date
from mimeportal_server import audit, mail, people, tokens
from mimeportal_server.clock import moment
from mimeportal_server.holds import still_held
from mimeportal_server.people import Caller, allow
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.schema import holds, messages
from mimeportal_server.tokens import InvalidToken

_DOWNLOAD = "download"  # the purpose of the tokens in URLs


def detail(portal: Portal, call: Call) -> Answer:
    """message/get-message-detail (mimecast-api-core 6.9), with the texts beside it."""
    item = contract.MessageDetailItem.model_validate(call.items[0])
    row = _held(portal, call.caller, _number(portal, "hold", item.id))
    octets = portal.home.blobs.read(row.blob)
    _record(portal, call, "view", row)
    summary, preview = mail.summary_and_preview(octets)
    headers: dict[str, tuple[str, list[str]]] = {}
    for name, value in preview.headers:
        headers.setdefault(name.lower(), (name, []))[1].append(value)
    received = format_date(moment(row.received))
    told = contract.MessageDetailRow(
        id=item.id,
        status="ACTIVE",
        smash=row.blob,
        mime_message_id=summary.message_id,
        subject=summary.subject,
        size=row.size,
        received=received,
        processed=received,
        header_date=format_date(summary.date) if summary.date else "",
        has_html_body=bool(preview.html),
        has_text_body=bool(preview.text),
        envelope_from=Address(email_address=row.from_address),
        from_=Address(email_address=row.from_header, displayable_name=row.from_name),
        reply_to=next(map(_address, summary.headers.mailboxes("reply-to")), None),
        to=[_address(mailbox) for mailbox in summary.to],
        cc=[_address(mailbox) for mailbox in summary.cc],
        headers=[contract.HeaderRow(name=name, values=values) for name, values in headers.values()],
        attachments=[_attachment(portal, row, part) for part in preview.attachments],
        text_body=preview.text or None,
        html_body=preview.html,
        notes=list(preview.notes),
    )
    return Answer([told.to_json()])


def file(portal: Portal, call: Call) -> Answer:
    """message/get-file: the octets of one attachment, or of the message itself by the hold's id.

    API 2.0 is answered with a URL to fetch them from (mimecast-api-core 6.10); this is what the audit tells of.
    """
    item = contract.FileItem.model_validate(call.items[0])
    try:
        kind, number = "part", portal.sealer.number("part", item.id)
    except InvalidToken:
        kind, number = "hold", _number(portal, "hold", item.id)
    row, answer = _octets(portal, call.caller, kind, number)
    _record(portal, call, "download", row)
    return Answer([{"urls": [_url(portal, call.caller, f"{kind}:{number}")]}]) if call.caller.api == "api2" else answer


def fetch(portal: Portal, call: Call) -> Answer:
    """What a URL of `file` leads to, for whoever has it, as long as its caller may still see the content."""
    item = contract.FetchItem.model_validate(call.items[0])
    with portal.database.read() as tx:
        granted = tokens.granted(tx, item.context, _DOWNLOAD, now=portal.clock.machine())
        caller = people.caller_of(tx, granted.address, call.caller.door) if granted else None
    if granted is None or caller is None:
        raise Refused("err_download_link", "This link is wrong, or its time is over.", status=403)
    kind, _, number = granted.object.partition(":")
    return _octets(portal, caller, kind, int(number))[1]


def _url(portal: Portal, caller: Caller, object: str) -> str:
    expires = portal.clock.machine() + limits.DOWNLOAD_SECONDS * 1000
    with portal.write() as tx:
        secret = tokens.issue(tx, _DOWNLOAD, caller.person_id, object=object, expires=expires)
    until = f"{moment(expires):%Y%m%dT%H%M%SZ}"
    return f"{portal.settings.public_url}{contract.FETCH.path}?method=GET&expires={until}&context={secret}"


def _octets(portal: Portal, caller: Caller, kind: str, number: int) -> tuple[Row[Any], Answer]:
    """The octets of a message (`hold`) or of one attachment (`part`), with the hold. Raises `Refused`."""
    if kind == "hold":
        row = _held(portal, caller, number)
        return row, Answer(body=portal.home.blobs.pieces(row.blob), filename="message.eml")
    hold, index = divmod(number, limits.PARTS_LISTED)
    row = _held(portal, caller, hold)
    try:
        name, content = mail.named_attachment(portal.home.blobs.read(row.blob), index)
    except IndexError:
        raise Refused("not_found", "There is no such attachment.", status=404) from None
    return row, Answer(body=iter([content]), filename=safe_name(name))


def _held(portal: Portal, caller: Caller, number: int) -> Row[Any]:
    """The hold, where it is still held and the caller may see its content. Raises `Refused`."""
    with portal.database.read() as tx:
        row = tx.execute(
            select(holds, messages.c.blob, messages.c.purged)
            .join(messages, messages.c.id == holds.c.message_id)
            .where(holds.c.id == number, still_held(portal))
        ).first()
    if row is None or row.purged or not allow(caller, "see", row):
        raise Refused("not_found", "There is no such held message for this caller.", status=404)
    if not allow(caller, "content", row):
        raise Refused("forbidden", "This caller may not see the content of this message.", status=403)
    return row


def _number(portal: Portal, kind: str, id: str) -> int:
    try:
        return portal.sealer.number(kind, id)
    except InvalidToken:
        raise Refused("xdk_failure", "0007 Invalid token") from None


def _record(portal: Portal, call: Call, action: str, row: Row[Any]) -> None:
    facts = {"from": row.from_address, "to": row.recipient, "subject": row.subject}
    with portal.write() as tx:
        audit.record(
            tx,
            [audit.Act(action, "done", "hold", row.id, facts)],
            at=portal.clock.now(),
            caller=call.caller,
            request_id=call.request_id,
        )


def _attachment(portal: Portal, row: Row[Any], part: mail.AttachmentInfo) -> contract.AttachmentRow:
    return contract.AttachmentRow(
        id=portal.sealer.id("part", row.id * limits.PARTS_LISTED + part.index),
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
