"""Drafts: messages that their writer has not sent yet, and that nobody else sees; counted as their mail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from mimeportal import limits
from mimeportal.messages.contract import writing as contract
from mimeportal.wire import JsonObject, format_date
from mimeportal_server import audit, requested, room, uploads
from mimeportal_server.clock import moment
from mimeportal_server.listing import Keyset
from mimeportal_server.people import Caller
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.schema import draft_files, drafts

_KIND = "draft"
_OWN = ("requestId", "id")  # of the request, rather than of the message
_BODIES = ("htmlBody", "plainBody", "quotedBody")


def listed(portal: Portal, call: Call) -> Answer:
    """The caller's drafts, newest first."""
    query = select(drafts).where(drafts.c.person_id == call.caller.person_id)
    with portal.database.read() as tx:
        rows, block = Keyset(portal, call, "messages.drafts", drafts.c.id).fetch(tx, query)
    return Answer([_row(portal, row) for row in rows], page=block)


def one(portal: Portal, call: Call) -> Answer:
    """One draft."""
    item = contract.DraftItem.model_validate(call.items[0])
    with portal.database.read() as tx:
        return Answer([_row(portal, owned(portal, tx, call.caller, item.id))])


def save(portal: Portal, call: Call) -> Answer:
    """Keep a message as a draft, in the place of an earlier one where an id is given."""
    raw = call.items[0]
    item = contract.SaveDraftItem.model_validate(raw)
    message = {key: value for key, value in raw.items() if key not in _OWN}
    content = json.dumps(message)  # ASCII: as many octets as characters
    person, now = call.caller.person_id, portal.clock.now()
    with portal.write(call.caller) as tx:
        known = requested.earlier(tx, call.caller, item.request_id, raw)
        if known is not None:
            return Answer([known])
        files = {uploads.find(portal, tx, call.caller, id, field).id for id, field in _uploads(message)}
        if item.id is not None:
            earlier = owned(portal, tx, call.caller, item.id)
            number = int(earlier.id)
            room.take(portal, tx, person, len(content) - len(earlier.content))
            tx.execute(delete(draft_files).where(draft_files.c.draft_id == number))
            tx.execute(update(drafts).where(drafts.c.id == number).values(content=content, changed=now))
        else:
            _refuse_above(tx, person)
            room.take(portal, tx, person, len(content))
            made = tx.execute(insert(drafts), {"person_id": person, "content": content, "changed": now})
            assert made.inserted_primary_key is not None
            number = int(made.inserted_primary_key[0])
        if files:
            tx.execute(insert(draft_files), [{"draft_id": number, "upload_id": file} for file in sorted(files)])
        act = audit.Act("save draft", "done", "draft", number, {"subject": item.subject})
        audit.record(tx, [act], at=now, caller=call.caller, request_id=call.request_id)
        row = _row(portal, owned(portal, tx, call.caller, portal.sealer.id(_KIND, number)))
        requested.remember(tx, call.caller, item.request_id, raw, row, now=now)
    return Answer([row])


def remove(portal: Portal, call: Call) -> Answer:
    """Throw a draft away."""
    item = contract.DraftItem.model_validate(call.items[0])
    number = portal.sealer.number(_KIND, item.id)
    with portal.write(call.caller) as tx:
        row = _find(tx, call.caller, number)
        if row is not None:
            take(tx, row)
            act = audit.Act("remove draft", "done", "draft", number)
            audit.record(tx, [act], at=portal.clock.now(), caller=call.caller, request_id=call.request_id)
    return Answer([{"id": item.id, "outcome": "done" if row is not None else "already"}])


def owned(portal: Portal, tx: Connection, caller: Caller, id: str) -> Row[Any]:
    """A draft of the caller's. Raises `Refused` for what is another's or not there, alike; `InvalidToken`."""
    row = _find(tx, caller, portal.sealer.number(_KIND, id))
    if row is None:
        raise Refused("not_found", "There is no such draft of this caller's.", status=404)
    return row


def take(tx: Connection, draft: Row[Any]) -> None:
    """Remove a draft as it was read. Raises `Refused` when it changed since."""
    tx.execute(delete(draft_files).where(draft_files.c.draft_id == draft.id))
    unchanged = (drafts.c.id == draft.id, drafts.c.content == draft.content)
    if not tx.execute(delete(drafts).where(*unchanged)).rowcount:
        raise Refused("draft_changed", "The draft was changed or sent meanwhile: look at it again.")
    room.give_back(tx, draft.person_id, len(draft.content))


def _find(tx: Connection, caller: Caller, number: int) -> Row[Any] | None:
    return tx.execute(select(drafts).where(drafts.c.id == number, drafts.c.person_id == caller.person_id)).first()


def _refuse_above(tx: Connection, person: int) -> None:
    count = tx.scalar(select(func.count()).select_from(drafts).where(drafts.c.person_id == person)) or 0
    if count >= limits.DRAFTS:
        raise Refused("err_validation_count", f"There are {limits.DRAFTS} drafts already: send or remove some.")


def _uploads(message: JsonObject) -> Iterator[tuple[str, str]]:
    """What a message names of its writer's uploads: the id, and the field that names it."""
    bodies = [(message[field]["id"], field) for field in _BODIES if (message.get(field) or {}).get("id")]
    yield from bodies
    yield from ((entry["id"], "attachments") for entry in message.get("attachments") or ())


def _row(portal: Portal, row: Row[Any]) -> JsonObject:
    message: JsonObject = json.loads(row.content)
    size = sum(int(entry.get("size") or 0) for entry in message.get("attachments") or ())
    return {
        "id": portal.sealer.id(_KIND, row.id),
        "changed": format_date(moment(row.changed)),
        "message": message,
        "size": size,
    }


OPERATIONS: Mapping[str, Callable[[Portal, Call], Answer]] = {
    "messages.drafts": listed,
    "messages.draft": one,
    "messages.save_draft": save,
    "messages.remove_draft": remove,
}
