"""Sends of large files as they are found, judged and told: what every operation about them shares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select

from mimeportal.wire import JsonObject, format_date
from mimeportal_server import audit, people
from mimeportal_server.clock import moment
from mimeportal_server.largefile_states import GIVEN_UP, IDLE, Event, Facts, Status, after, kept_until, status
from mimeportal_server.people import Caller
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.schema import (
    largefile_downloads,
    largefile_files,
    largefile_recipients,
    largefiles,
)

KIND, FILE_KIND = "largefile", "largefile-file"  # of ids

_NOT_THERE = "There is no such send of large files for this caller."
_SENTENCES: dict[Event, str] = {
    "upload": "takes no more octets",
    "pause": "cannot be paused",
    "finish": "cannot be finished",
    "cancel": "cannot be cancelled: only an upload that is not complete can",
    "expire": "is not open, so it cannot expire",
    "extend": "was not sent, so its access cannot be extended",
    "share": "was not sent, so it cannot be sent to others",
    "restart": "did not fail, so it cannot be uploaded anew",
}


def facts(row: Row[Any]) -> Facts:
    return Facts(row.state, row.touched, row.sent, row.expires)


def status_of(portal: Portal, row: Row[Any]) -> Status:
    """What a send is now."""
    return status(facts(row), portal.clock.steady())


def has_status(portal: Portal, wanted: Status) -> ColumnElement[bool]:
    """The same as a condition."""
    now = portal.clock.steady()
    c = largefiles.c
    given_up, idle = c.touched <= now - GIVEN_UP, c.touched <= now - IDLE
    if wanted == "active":
        return and_(c.state == "active", c.expires > now)
    if wanted == "expired":
        return and_(c.state == "active", c.expires <= now)
    if wanted == "uploading":
        return and_(c.state == "uploading", ~idle)
    if wanted == "paused":
        return and_(or_(c.state == "paused", and_(c.state == "uploading", idle)), ~given_up)
    if wanted == "failed":
        return or_(c.state == "failed", and_(c.state.in_(("uploading", "paused")), given_up))
    return c.state == wanted


def find(portal: Portal, tx: Connection, caller: Caller, id: str) -> Row[Any]:
    """The send with an id, where the caller may act for its owner. Raises `Refused`, as for one that is not there."""
    row = tx.execute(select(largefiles).where(largefiles.c.id == portal.sealer.number(KIND, id))).first()
    if row is None or people.owner_of(tx, caller, row.sender) is None:
        raise Refused("not_found", _NOT_THERE, status=404)
    return row


def require_content(caller: Caller, row: Row[Any]) -> None:
    """Raise `Refused` unless the caller may have the files of a send: fetch them, or send them to whom they choose."""
    if not people.may_read(caller, row.sender):
        raise Refused("forbidden", "This caller may not see the content of these files.", status=403)


def find_file(portal: Portal, tx: Connection, caller: Caller, id: str) -> tuple[Row[Any], Row[Any]]:
    """A file and its send, likewise."""
    number = portal.sealer.number(FILE_KIND, id)
    file = tx.execute(select(largefile_files).where(largefile_files.c.id == number)).first()
    row = None
    if file is not None:
        row = tx.execute(select(largefiles).where(largefiles.c.id == file.largefile_id)).first()
    if file is None or row is None or people.owner_of(tx, caller, row.sender) is None:
        raise Refused("not_found", "There is no such file for this caller.", status=404)
    return file, row


def following(portal: Portal, row: Row[Any], event: Event) -> str:
    """What an event makes of a send; `already` where it stands so. Raises `Refused` where it cannot happen."""
    current = status_of(portal, row)
    then = after(current, event, scanned=bool(portal.settings.scan))
    if then is None:
        code = {"cancelled": "err_largefile_cancelled", "failed": "err_largefile_failed"}.get(
            current, "err_largefile_status"
        )
        raise Refused(code, f"This send is {current}: it {_SENTENCES[event]}.", field="id")
    return then


def files_of(tx: Connection, number: int) -> Sequence[Row[Any]]:
    return tx.execute(
        select(largefile_files).where(largefile_files.c.largefile_id == number).order_by(largefile_files.c.position)
    ).all()


def told(portal: Portal, tx: Connection, rows: Sequence[Row[Any]], *, whole: bool = False) -> list[JsonObject]:
    """Sends as `LargeFileRow`; `whole` with text and recipients one by one."""
    numbers = [row.id for row in rows]
    files: dict[int, list[Row[Any]]] = defaultdict(list)
    for file in tx.execute(
        select(largefile_files)
        .where(largefile_files.c.largefile_id.in_(numbers))
        .order_by(largefile_files.c.largefile_id, largefile_files.c.position)
    ):
        files[file.largefile_id].append(file)
    recipients: dict[int, list[Row[Any]]] = defaultdict(list)
    for recipient in tx.execute(
        select(largefile_recipients)
        .where(largefile_recipients.c.largefile_id.in_(numbers))
        .order_by(largefile_recipients.c.id)
    ):
        recipients[recipient.largefile_id].append(recipient)
    counts = _downloads(tx, numbers)
    return [_row(portal, row, files[row.id], recipients[row.id], counts, whole=whole) for row in rows]


def changed(portal: Portal, tx: Connection, number: int, outcome: str = "done") -> Answer:
    """A send after an act, as `ChangeRow`."""
    row = tx.execute(select(largefiles).where(largefiles.c.id == number)).one()
    (document,) = told(portal, tx, [row])
    return Answer([{**document, "outcome": outcome}])


def record(portal: Portal, tx: Connection, call: Call, action: str, number: int, **detail: Any) -> None:
    """An act on a send, in the transaction that does it."""
    act = audit.Act(action, "done", "largefile", number, detail)
    audit.record(tx, [act], at=portal.clock.now(), caller=call.caller, request_id=call.request_id)


_Counts = dict[tuple[int, int], tuple[int, int]]  # (file, recipient): how many downloads, and when the last was over


def _downloads(tx: Connection, numbers: Sequence[int]) -> _Counts:
    c = largefile_downloads.c
    query = (
        select(c.file_id, c.recipient_id, func.count().label("times"), func.max(c.completed).label("last"))
        .join(largefile_files, largefile_files.c.id == c.file_id)
        .where(largefile_files.c.largefile_id.in_(numbers), c.completed.is_not(None))
        .group_by(c.file_id, c.recipient_id)
    )
    return {(row.file_id, row.recipient_id): (row.times, row.last) for row in tx.execute(query)}


def _row(
    portal: Portal,
    row: Row[Any],
    files: Sequence[Row[Any]],
    recipients: Sequence[Row[Any]],
    counts: _Counts,
    *,
    whole: bool,
) -> JsonObject:
    large = portal.home.large_files
    now = status_of(portal, row)
    shown = [
        {
            "id": portal.sealer.id(FILE_KIND, file.id),
            "name": file.name,
            "size": file.size,
            "sha256": file.sha256,
            "downloads": sum(times for (number, _), (times, _) in counts.items() if number == file.id),
        }
        for file in files
    ]
    arriving = now in ("uploading", "paused")
    until = kept_until(facts(row))
    document: JsonObject = {
        "id": portal.sealer.id(KIND, row.id),
        "status": now,
        "sender": row.sender,
        "to": [recipient.address for recipient in recipients],
        "subject": row.subject,
        "files": shown,
        "size": row.size,
        "arrived": sum(file.size if file.sha256 else large.arrived(file.id, file.size) for file in files)
        if arriving
        else row.size
        if row.sent is not None or now == "scanning"
        else 0,
        "created": _date(row.created),
        "sent": _date(row.sent),
        "expires": _date(row.expires),
        "keptUntil": _date(until),
        "downloads": sum(entry["downloads"] for entry in shown),
        "accessKey": bool(row.access_key),
        "notifyOnDownload": row.notify,
        "expireAccessAfterDays": row.days,
        "reason": (row.reason or "The upload was paused for seven days.") if now == "failed" else None,
    }
    if whole:
        document["body"] = row.body
        document["recipients"] = [_recipient(portal, entry, files, counts) for entry in recipients]
    return {name: value for name, value in document.items() if value is not None}


def _recipient(portal: Portal, recipient: Row[Any], files: Sequence[Row[Any]], counts: _Counts) -> JsonObject:
    downloads = []
    for file in files:
        times, last = counts.get((file.id, recipient.id), (0, None))
        entry: JsonObject = {"file": portal.sealer.id(FILE_KIND, file.id), "downloads": times}
        downloads.append({**entry, "last": _date(last)} if last else entry)
    return {"address": recipient.address, "notified": recipient.notified, "downloads": downloads}


def _date(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else format_date(moment(milliseconds))
