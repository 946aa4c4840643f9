"""Files on their way into a message: uploaded by themselves, kept for a day, counted as their uploader's mail."""

from __future__ import annotations

import hashlib

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, insert, select, update

from mimeportal import limits
from mimeportal.messages.contract import writing as contract
from mimeportal_server import audit, room
from mimeportal_server.asked import not_allowed
from mimeportal_server.clock import HOUR
from mimeportal_server.people import Caller
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.blobs import name_of
from mimeportal_server.store.schema import draft_files, uploads
from mimeportal_server.tokens import InvalidToken

_KIND = "upload"


def upload(portal: Portal, call: Call) -> Answer:
    """file-upload (mimecast-api-portal 3.2): the body is the file, the item says its size and SHA-256.

    The same octets again have the same id, and another day: while they are kept, and whenever they come again, so that
    a request which names them stays the same request.
    """
    item = contract.UploadItem.model_validate(call.items[0])
    if item.file_size != len(call.octets):
        raise not_allowed(f"fileSize is {item.file_size}, and {len(call.octets)} octets came.", "fileSize")
    name = name_of(call.octets)
    if item.sha256.strip().lower() != name:
        raise not_allowed(f"sha256 is not that of the {len(call.octets)} octets that came.", "sha256")
    portal.home.refuse_if_full()
    portal.home.blobs.add({name: call.octets})
    person, size, now = call.caller.person_id, len(call.octets), portal.clock.now()
    with portal.write(call.caller) as tx:
        portal.home.blobs.add_missing({name: call.octets})  # no sweep can let go of them from here on
        number = _number(person, name)
        if tx.scalar(select(uploads.c.id).where(uploads.c.id == number)) is None:
            room.take(portal, tx, person, size)
            row = {"id": number, "person_id": person, "blob": name, "size": size, "added": now}
            tx.execute(insert(uploads), row)
            act = audit.Act("upload", "done", "upload", number)
            audit.record(tx, [act], at=now, caller=call.caller, request_id=call.request_id)
        else:
            tx.execute(update(uploads).where(uploads.c.id == number).values(added=now))
    return Answer([{"id": portal.sealer.id(_KIND, number)}])


def _number(person_id: int, blob: str) -> int:
    """The number of an upload, from whose it is and what it is: never another's, and the same at every try."""
    digest = hashlib.sha256(f"{person_id}:{blob}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1  # as much as an id has room for


def find(portal: Portal, tx: Connection, caller: Caller, id: str, field: str) -> Row[tuple[object, ...]]:
    """What a caller uploaded under an id. Raises `Refused` for what is not there, or is another's: alike."""
    try:
        number = portal.sealer.number(_KIND, id)
    except InvalidToken:
        number = 0
    row = tx.execute(
        select(uploads).where(uploads.c.id == number, uploads.c.person_id == caller.person_id, ~_lapsed(portal))
    ).first()
    if row is None:
        sentence = (
            f"No file was uploaded under this id, or it lapsed after {limits.UPLOAD_HOURS} hours: upload it again."
        )
        raise Refused("upload_not_found", sentence, field=field)
    return row


def read(portal: Portal, row: Row[tuple[object, ...]]) -> bytes:
    return portal.home.blobs.read(str(row.blob))


def sweep(portal: Portal) -> None:
    """Let go of what nothing names any more after its day, and give its octets back to whoever uploaded it."""
    with portal.write() as tx:
        for row in tx.execute(select(uploads).where(_lapsed(portal))).all():
            tx.execute(delete(uploads).where(uploads.c.id == row.id))
            room.give_back(tx, row.person_id, row.size)


def _lapsed(portal: Portal) -> ColumnElement[bool]:
    named = exists().where(draft_files.c.upload_id == uploads.c.id)
    return and_(uploads.c.added <= portal.clock.steady() - limits.UPLOAD_HOURS * HOUR, ~named)
