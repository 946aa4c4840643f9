"""Held mail: lists, states and the log; which are meant, and how they are decided on, have files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, literal, or_, select

from mimeportal import limits
from mimeportal.holds import contract
from mimeportal.patterns import fold
from mimeportal.wire import JsonObject, format_date
from mimeportal_server import deciding, sender_lists
from mimeportal_server.asked import date_given, first_search, not_allowed
from mimeportal_server.clock import DAY, iso, milliseconds, moment
from mimeportal_server.deciding import HELD
from mimeportal_server.hold_conditions import (
    LOG_FIELDS,
    SEARCH_FIELDS,
    address,
    contains,
    dates,
    in_queue,
    searched,
    still_held,
    visible,
)
from mimeportal_server.listing import Keyset
from mimeportal_server.people import Caller
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.schema import holds, people

_SHOWN = [
    holds.c[name]
    for name in (
        "id",
        "person_id",
        "recipient",
        "level",
        "reason",
        "reason_code",
        "policy",
        "route",
        "from_address",
        "from_header",
        "from_name",
        "subject",
        "size",
        "has_attachments",
        "received",
    )
]


# -- lists ---------------------------------------------------------------------------------------------


def find(portal: Portal, call: Call) -> Answer:
    """Our own list: any queue, every filter at once. Narrows as far as the database can; the client filters."""
    item = contract.FindHoldsItem.model_validate(call.items[0])
    if item.ids is not None:
        return _find_ids(portal, call, item.ids)
    if _ignores_filters(call):
        item = contract.FindHoldsItem(queue=item.queue)
    conditions = [
        still_held(portal),
        in_queue(call.caller, item.queue or "personal", item.mailboxes),
        *dates(item.start, item.end),
    ]
    if item.from_ is not None:
        conditions.append(address(item.from_, (holds.c.from_address, holds.c.from_header), "from"))
    if item.to is not None:
        conditions.append(address(item.to, (holds.c.recipient,), "to"))
    if item.subject is not None:
        conditions.append(contains(item.subject, (holds.c.subject_folded,), "subject"))
    if item.policy is not None:
        conditions.append(contains(item.policy, (func.lower(holds.c.policy),), "policy"))
    if item.search is not None:
        conditions.append(contains(item.search, searched(), "search"))
    if item.reason is not None:
        found = contains(item.reason, (func.lower(holds.c.reason),), "reason")
        conditions.append(or_(holds.c.reason_code == fold(item.reason), found))
    if item.route is not None:
        conditions.append(func.lower(holds.c.route) == fold(item.route))
    if item.attachments is not None:
        conditions.append(holds.c.has_attachments == item.attachments)
    if item.larger_than is not None:
        conditions.append(holds.c.size > max(-1, min(item.larger_than, limits.MESSAGE)))
    return _page(portal, call, "holds.find", conditions, item.queue or "personal")


def list_holds(portal: Portal, call: Call) -> Answer:
    """Mimecast's list: one's own, or with `admin` all recipients', one search field (mimecast-api-core 6.1)."""
    item = contract.ListHoldsItem.model_validate(first_search(call.items[0]))
    if _ignores_filters(call):
        item = contract.ListHoldsItem(admin=item.admin)
    queue = "admin" if item.admin else "personal"
    conditions = [
        still_held(portal),
        in_queue(call.caller, queue, None),
        *dates(item.start, item.end),
    ]
    if item.search_by is not None and item.search_by.value:
        columns = SEARCH_FIELDS.get(fold(item.search_by.field_name))
        if columns is None:
            raise not_allowed("Field must be one of [all,subject,sender,recipient,reasonCode]", "searchBy.fieldName")
        conditions.append(contains(item.search_by.value, columns(), "searchBy.value"))
    return _page(portal, call, "holds.list", conditions, queue)


def _ignores_filters(call: Call) -> bool:
    """A fault of the lab: other portals ignore filters that they do not know (promises A.2)."""
    return "ignore_filters" in call.faults


def _page(portal: Portal, call: Call, name: str, conditions: Sequence[ColumnElement[bool]], queue: str) -> Answer:
    keyset = Keyset(portal, call, name, holds.c.id)
    with portal.database.read() as tx:
        rows, block = keyset.fetch(tx, select(*_SHOWN).where(*conditions))
        shown = _rows(portal, tx, rows, queue)
    return Answer(shown, page=block)


def _find_ids(portal: Portal, call: Call, ids: Sequence[str]) -> Answer:
    if not 1 <= len(ids) <= limits.LOCAL_BATCH:
        message = f"`ids` holds 1 to {limits.LOCAL_BATCH}, not {len(ids)}."
        raise Refused("err_validation_count", message, field="ids")
    numbers = deciding.numbers(portal, ids)
    with portal.database.read() as tx:
        found = tx.execute(
            select(*_SHOWN).where(holds.c.id.in_(numbers.values()), still_held(portal), visible(call.caller))
        ).all()
        return Answer(_rows(portal, tx, found, None, call.caller))


def _rows(
    portal: Portal,
    tx: Connection,
    rows: Sequence[Row[Any]],
    queue: str | None,
    caller: Caller | None = None,
) -> list[JsonObject]:
    blocked = sender_lists.blocked(tx, {(row.person_id, row.from_address, row.from_header) for row in rows})
    keep = portal.settings.hold_days * DAY
    seal = portal.sealer.id
    shown = []
    for row in rows:
        shown.append(
            {
                "id": seal("hold", row.id),
                "reason": row.reason,
                "reasonId": row.reason_code.upper(),
                "reasonCode": row.reason_code,
                "from": {"emailAddress": row.from_address, "displayableName": ""},
                "fromHeader": {"emailAddress": row.from_header, "displayableName": row.from_name},
                "to": {"emailAddress": row.recipient, "displayableName": ""},
                "subject": row.subject,
                "route": row.route.upper(),
                "hasAttachments": row.has_attachments,
                "size": row.size,
                "dateReceived": _date(row.received),
                "policyInfo": row.policy,
                "level": row.level,
                "expires": _date(row.received + keep),
                "senderBlocked": (row.person_id, row.from_address, row.from_header) in blocked,
                "queue": queue or (_queue_of(row, caller) if caller else "personal"),
            }
        )
    return shown


def _queue_of(row: Row[Any], caller: Caller) -> str:
    if caller.acts_for(row.recipient) and row.level == "user":
        return "personal"
    return "moderated" if row.level == "moderator" and caller.covers(row.recipient) else "admin"


def _date(milliseconds: int) -> str:
    return _second(milliseconds // 1000)


@lru_cache(4_096)
def _second(seconds: int) -> str:
    # Much comes within the same second, and each row tells two of them.
    return format_date(moment(seconds * 1000))


def summary(portal: Portal, call: Call) -> Answer:
    """Held messages per policy: of all recipients for administrators, else what the caller may see."""
    count = func.count().label("count")
    with portal.database.read() as tx:
        rows = tx.execute(
            select(holds.c.policy, count)
            .where(still_held(portal), visible(call.caller))
            .group_by(holds.c.policy)
            .order_by(count.desc(), holds.c.policy)
        ).all()
    return Answer([{"policyInfo": row.policy, "numberOfItems": row[1]} for row in rows])


def states(portal: Portal, call: Call) -> Answer:
    """What became of each hold. Ids that are not the caller's to see are absent, as if they did not exist."""
    item = contract.StatesItem.model_validate(call.items[0])
    numbers = deciding.numbers(portal, item.ids)
    with portal.database.read() as tx:
        found = tx.execute(
            select(holds, people.c.address)
            .outerjoin(people, people.c.id == holds.c.decided_by)
            .where(holds.c.id.in_(numbers.values()), visible(call.caller))
        ).all()
    by_number = {row.id: row for row in found}
    edge = deciding.expiry_edge(portal)
    rows = []
    for id, number in numbers.items():
        row = by_number.get(number)
        if row is None:
            continue
        state = "expired" if row.state == "held" and row.received <= edge else row.state
        told = contract.StateRow(
            id=id,
            state=state,
            by=row.address,
            when=iso(row.decided) if row.decided else None,
            request_id=row.request_id or None,
        )
        rows.append(told.to_json())
    return Answer(rows)


def log(portal: Portal, call: Call) -> Answer:
    """What left the queue: released, rejected, expired (mimecast-api-core 6.8); the last month by default."""
    item = contract.ReleaseLogItem.model_validate(first_search(call.items[0]) if call.items else {})
    if _ignores_filters(call):
        item = contract.ReleaseLogItem()
    now = portal.clock.now()
    start = milliseconds(date_given(item.start, "start")) if item.start else now - 31 * DAY
    end = milliseconds(date_given(item.end, "end")) if item.end else now + DAY
    keep = portal.settings.hold_days * DAY
    # What is over its time has left the queue, whether or not a sweep has marked it.
    over = and_(HELD, holds.c.received <= deciding.expiry_edge(portal))
    status = case((HELD, literal("expired")), else_=holds.c.state).label("status")
    ended = case((HELD, holds.c.received + keep), else_=holds.c.decided).label("ended")
    conditions = [
        or_(
            and_(holds.c.decided >= start, holds.c.decided < end),
            and_(over, holds.c.received >= start - keep, holds.c.received < end - keep),
        ),
        visible(call.caller),
    ]
    for entry in item.filter_by or []:
        if entry.get("fieldName") == "status" and entry.get("value"):
            conditions.append(status == fold(str(entry["value"])))
        elif entry.get("fieldName") == "route" and fold(str(entry.get("value"))) != "all":
            conditions.append(holds.c.route == fold(str(entry.get("value"))))
        elif entry.get("fieldName") == "attachments":
            conditions.append(holds.c.has_attachments == (fold(str(entry.get("value"))) == "true"))
    if item.search_by is not None and item.search_by.value:
        columns = LOG_FIELDS.get(fold(item.search_by.field_name))
        if columns is None:
            raise not_allowed("Field is not searched", "searchBy.fieldName")
        conditions.append(contains(item.search_by.value, columns(), "searchBy.value"))
    keyset = Keyset(portal, call, "holds.log", holds.c.id)
    query = select(*_SHOWN, status, ended, holds.c.reject_reason, people.c.address).outerjoin(
        people, people.c.id == holds.c.decided_by
    )
    with portal.database.read() as tx:
        rows, block = keyset.fetch(tx, query.where(*conditions))
    return Answer([_log_row(portal, row) for row in rows], page=block)


def _log_row(portal: Portal, row: Row[Any]) -> JsonObject:
    expired = row.status == "expired"
    return {
        "id": portal.sealer.id("log", row.id),
        "route": row.route,
        "status": row.status,
        "released": _date(row.ended),
        "operator": row.address or "",
        "fromEnv": {"emailAddress": row.from_address, "displayableName": ""},
        "fromHdr": {"emailAddress": row.from_header, "displayableName": row.from_name},
        "to": [{"emailAddress": row.recipient, "displayableName": ""}],
        "subject": row.subject,
        "size": row.size,
        "attachments": row.has_attachments,
        "heldReason": row.reason,
        "heldGroup": row.level,
        "policy": row.policy,
        "messageInfo": "Expired in queue - rejected by housekeeping" if expired else "",
        "rejectReason": row.reject_reason,
        "detectionLevel": "",
    }


def detail(portal: Portal, call: Call) -> Answer:
    """Headers, texts and attachments of a held message, for whoever may see its content."""
    from mimeportal_server import held_content

    return held_content.detail(portal, call)


def file(portal: Portal, call: Call) -> Answer:
    """The octets of a held message or of one attachment."""
    from mimeportal_server import held_content

    return held_content.file(portal, call)


def fetch(portal: Portal, call: Call) -> Answer:
    """The same, by the URL that API 2.0 was answered with."""
    from mimeportal_server import held_content

    return held_content.fetch(portal, call)


OPERATIONS = {
    "holds.list": list_holds,
    "holds.find": find,
    "holds.summary": summary,
    "holds.states": states,
    "holds.log": log,
    "holds.detail": detail,
    "holds.file": file,
    "holds.fetch": fetch,
    "holds.decide": deciding.decide,
    "holds.release": deciding.release,
    "holds.reject": deciding.reject,
}
