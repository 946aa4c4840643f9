"""What may be seen of a held message before it is decided: its headers, texts and attachments."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from mimeportal.holds import contract
from mimeportal.wire import DetailRow
from mimeportal_server import content
from mimeportal_server.hold_conditions import still_held
from mimeportal_server.people import Caller, allow
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.schema import holds, messages


def detail(portal: Portal, call: Call) -> Answer:
    """message/get-message-detail (mimecast-api-core 6.9), with the texts beside it."""
    item = contract.MessageDetailItem.model_validate(call.items[0])
    row = _held(portal, call.caller, content.number(portal, "hold", item.id))
    told = DetailRow(id=item.id, status="ACTIVE", **content.detail(portal, row, "part"))
    content.record(portal, call, "view", "hold", row)
    return Answer([told.to_json()])


def file(portal: Portal, call: Call) -> Answer:
    """message/get-file: the octets of one attachment, or of the message itself by the hold's id."""
    return _FILES.hand_over(portal, call, contract.FileItem.model_validate(call.items[0]).id)


def fetch(portal: Portal, call: Call) -> Answer:
    """What a URL of `file` leads to."""
    return _FILES.fetched(portal, call, contract.FetchItem.model_validate(call.items[0]).context)


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


_FILES = content.Files("hold", "part", contract.FETCH, _held)
