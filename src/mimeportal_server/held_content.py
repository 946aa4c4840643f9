"""What may be seen of a held message before it is decided: its headers, texts and attachments."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from mimeportal import limits
from mimeportal.holds import contract
from mimeportal.wire import DetailRow
from mimeportal_server import content
from mimeportal_server.hold_conditions import still_held
from mimeportal_server.people import Caller, allow
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.schema import holds, messages
from mimeportal_server.tokens import InvalidToken


def detail(portal: Portal, call: Call) -> Answer:
    """message/get-message-detail (mimecast-api-core 6.9), with the texts beside it."""
    item = contract.MessageDetailItem.model_validate(call.items[0])
    row = _held(portal, call.caller, content.number(portal, "hold", item.id))
    told = DetailRow(id=item.id, status="ACTIVE", **content.detail(portal, row, "part"))
    content.record(portal, call, "view", "hold", row)
    return Answer([told.to_json()])


def file(portal: Portal, call: Call) -> Answer:
    """message/get-file: the octets of one attachment, or of the message itself by the hold's id.

    API 2.0 is answered with a URL to fetch them from (mimecast-api-core 6.10); this is what the audit tells of.
    """
    item = contract.FileItem.model_validate(call.items[0])
    try:
        kind, number = "part", portal.sealer.number("part", item.id)
    except InvalidToken:
        kind, number = "hold", content.number(portal, "hold", item.id)
    row, answer = _octets(portal, call.caller, kind, number)
    content.record(portal, call, "download", "hold", row)
    return content.handed_over(portal, call, answer, f"{kind}:{number}", contract.FETCH)


def fetch(portal: Portal, call: Call) -> Answer:
    """What a URL of `file` leads to, for whoever has it, as long as its caller may still see the content."""
    item = contract.FetchItem.model_validate(call.items[0])

    def octets(caller: Caller, kind: str, number: int) -> Answer:
        return _octets(portal, caller, kind, number)[1]

    return content.fetched(portal, call, item.context, contract.FETCH, octets)


def _octets(portal: Portal, caller: Caller, kind: str, number: int) -> tuple[Row[Any], Answer]:
    """The octets of a message (`hold`) or of one attachment (`part`), with the hold. Raises `Refused`."""
    if kind == "hold":
        row = _held(portal, caller, number)
        return row, content.whole(portal, row)
    hold, index = divmod(number, limits.PARTS_LISTED)
    row = _held(portal, caller, hold)
    return row, content.attachment(portal, row, index)


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
