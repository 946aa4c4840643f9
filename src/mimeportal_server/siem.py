"""SIEM events of the local portal: batch files by pre-signed URLs, and the log files of API 1.0 (api-portal 6.3).

One event for one recipient. Receipt: a message was accepted, or refused. Process: screening let it pass or held it.
Delivery: it was delivered, or bounced. Nearly every value is text, as Mimecast's recordings have it.
"""

from __future__ import annotations

import gzip
import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Select, case, literal, select

from mimeportal import limits
from mimeportal.reports import contract
from mimeportal.wire import JsonObject
from mimeportal_server.asked import administrators_only, not_allowed
from mimeportal_server.clock import DAY, milliseconds, moment
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.schema import copies, deliveries, holds, messages, rejections
from mimeportal_server.tokens import InvalidToken

KINDS = ("receipt", "process", "delivery")

_KEPT = 7 * DAY
_FILE_EVENTS = 5_000
_FILES = 10  # listed at once, at the most: the size of each is told, so each is written for that
_FIRST = [0, -1, 0]  # before every event

_PASSED = case((copies.c.outcome == "held", literal("Hld")), else_=literal("Acc"))
_RECEIVED = case((copies.c.outcome == "blocked", literal("Rej")), else_=literal("Acc"))
_OF_MESSAGE = (
    messages.c.envelope_from,
    messages.c.from_header,
    messages.c.subject,
    messages.c.mime_message_id,
    messages.c.route,
    messages.c.size,
    messages.c.remote_ip,
    messages.c.id.label("message"),
)
_NOTHING = tuple(literal(value) for value in ("", "", ""))


def _arrived(action: ColumnElement[str], *more: ColumnElement[bool]) -> Select[Any]:
    reason = case((copies.c.outcome == "held", holds.c.reason), else_=literal(""))
    return (
        select(messages.c.received.label("at"), copies.c.id.label("number"), action.label("action"), copies.c.recipient)
        .add_columns(reason.label("info"), *_OF_MESSAGE)
        .select_from(messages)
        .join(copies, copies.c.message_id == messages.c.id)
        .outerjoin(holds, (holds.c.message_id == messages.c.id) & (holds.c.recipient == copies.c.recipient))
        .where(*more)
    )


_REFUSED = select(
    rejections.c.at.label("at"),
    rejections.c.id.label("number"),
    literal("Rej").label("action"),
    rejections.c.recipient,
    rejections.c.info.label("info"),
    rejections.c.sender.label("envelope_from"),
    literal("").label("from_header"),
    literal("").label("subject"),
    literal("").label("mime_message_id"),
    rejections.c.route,
    literal(0).label("size"),
    rejections.c.remote_ip,
    literal(0).label("message"),
)
_DELIVERED = (
    select(
        deliveries.c.finished.label("at"),
        deliveries.c.id.label("number"),
        deliveries.c.state.label("action"),
        deliveries.c.recipient,
        deliveries.c.error.label("info"),
        *_OF_MESSAGE,
    )
    .select_from(deliveries)
    .join(messages, messages.c.id == deliveries.c.message_id)
    .where(deliveries.c.finished.is_not(None), deliveries.c.kind != "written")
)
# kind -> its sources: a query, and the column of its time
_SOURCES: dict[str, tuple[tuple[Select[Any], Any, Any], ...]] = {
    "receipt": (
        (_arrived(_RECEIVED), messages.c.received, copies.c.id),
        (_REFUSED, rejections.c.at, rejections.c.id),
    ),
    "process": ((_arrived(_PASSED, copies.c.outcome != "blocked"), messages.c.received, copies.c.id),),
    "delivery": ((_DELIVERED, deliveries.c.finished, deliveries.c.id),),
}


Placed = tuple[list[int], JsonObject]  # an event, and where it stands


def _events(portal: Portal, kind: str, since: int, until: int, after: Sequence[int]) -> Iterator[Placed]:
    """The events of a time behind a place, oldest first, each with its own place."""
    with portal.database.read() as tx:

        def rows(source: int, query: Select[Any], at: Any, number: Any) -> Iterator[tuple[list[int], Any]]:
            start = max(since, after[0])
            for row in tx.execute(query.where(at >= start, at < until).order_by(at, number)):
                place = [row.at, source, row.number]
                if place > list(after):
                    yield place, row

        sources = [rows(number, *source) for number, source in enumerate(_SOURCES[kind])]
        for place, row in heapq.merge(*sources, key=lambda found: found[0]):
            yield place, _event(portal, kind, place, row)


def _event(portal: Portal, kind: str, place: Sequence[int], row: Any) -> JsonObject:
    told: JsonObject = {
        "processingId": f"{place[1]}-{row.number}",
        "aggregateId": f"M{row.message}",
        "accountId": portal.account_code,
        "timestamp": row.at,
        "type": kind,
        "subtype": row.action if kind != "delivery" else str(row.action == "delivered").lower(),
        "senderEnvelope": row.envelope_from,
        "senderHeader": row.from_header,
        "recipients": row.recipient,
        "subject": row.subject,
        "messageId": row.mime_message_id,
        "direction": row.route.capitalize(),
        "emailSize": str(row.size),
        "senderIp": row.remote_ip,
        "_offset": row.number,
        "_partition": place[1],
    }
    if kind == "delivery":
        delivered = row.action == "delivered"
        told |= {"delivered": str(delivered).lower(), "rejectionInfo": "" if delivered else row.info}
    else:
        told["action"] = row.action
        if row.action == "Hld":
            told["holdReason"] = row.info
        elif row.action == "Rej":
            told |= {"rejectionType": "Recipient Rejected", "rejectionInfo": row.info}
    return told


# -- API 2.0 ---------------------------------------------------------------------------------------------------------


def batch(portal: Portal, call: Call) -> Answer:
    """Files of one kind of events, of whole UTC days, at most 7 days back; both ends are included."""
    administrators_only(call)
    try:
        item = contract.SiemBatchItem.model_validate(_with_page(call.items[0]))
    except ValidationError as fault:
        field = str(fault.errors()[0]["loc"][-1])
        raise Refused("err_validation_null", "Mandatory field is missing or wrong", status=400, field=field) from None
    if item.type not in KINDS:
        raise not_allowed(f"Field must be one of [{','.join(KINDS)}]", "type")
    if item.page_size is not None and item.page_size < 1:
        raise not_allowed("pageSize is at least 1.", "pageSize")
    since, until = _days(portal, item)
    query = json.dumps([item.type, item.date_range_starts_at, item.date_range_ends_at])
    caller = str(call.caller.person_id)
    place = list(_FIRST)
    if item.next_page:
        place = portal.sealer.start(caller, query, item.next_page)[0]["after"]
    files = []
    for _ in range(min(item.page_size or _FILES, _FILES)):
        octets, last = _file(portal, item.type, since, until, place)
        if last is None:
            break
        expires = portal.clock.machine() + limits.DOWNLOAD_SECONDS * 1000
        files.append({"url": _url(portal, [item.type, since, until, place, expires]), "size": len(octets)})
        files[-1]["expiry"] = f"{moment(expires):%Y-%m-%dT%H:%M:%SZ}"
        place = last
    _, more = _file(portal, item.type, since, until, place)
    told: JsonObject = {"value": files, "isCaughtUp": more is None}
    if more is not None:
        told["@nextPage"] = portal.sealer.page(caller, query, {"after": place}, _FILES, previous=False)
    return Answer(object=told)


def _with_page(query: JsonObject) -> JsonObject:
    """Some clients name the page as the answer does."""
    return {"nextPage": query.get("@nextPage"), **query}


def _days(portal: Portal, item: contract.SiemBatchItem) -> tuple[int, int]:
    found = []
    for name, text in (("dateRangeStartsAt", item.date_range_starts_at), ("dateRangeEndsAt", item.date_range_ends_at)):
        try:
            day = date.fromisoformat(text[:10])
            found.append(datetime.combine(day, datetime.min.time(), UTC))
            _ = found[-1] + timedelta(1)  # the last day of the calendar has no end
        except (ValueError, OverflowError):
            raise not_allowed(f"{name} is a day, such as 2026-11-03.", name) from None
    since, until = milliseconds(found[0]), milliseconds(found[1] + timedelta(1))
    if since >= until:
        raise not_allowed("The end lies before the start.", "dateRangeEndsAt")
    if until <= portal.clock.now() - _KEPT - DAY:
        raise not_allowed("Events are kept for 7 days.", "dateRangeEndsAt")
    return max(since, portal.clock.now() - _KEPT), until


def _file(portal: Portal, kind: str, since: int, until: int, after: Sequence[int]) -> tuple[bytes, list[int] | None]:
    """The file that begins behind a place, and the place of its last event; None where there is nothing."""
    found = list(islice(_events(portal, kind, since, until, after), _FILE_EVENTS))
    lines = [json.dumps(event, separators=(",", ":")).encode() + b"\n" for _, event in found]
    return gzip.compress(b"".join(lines), 6, mtime=0), found[-1][0] if found else None


def _url(portal: Portal, what: list[Any]) -> str:
    context = portal.sealer.page("", "siem file", {"file": what}, 1, previous=False)
    until = f"{moment(what[-1]):%Y%m%dT%H%M%SZ}"
    return f"{portal.settings.public_url}{contract.SIEM_FILE.path}?method=GET&expires={until}&context={context}"


def file(portal: Portal, call: Call) -> Answer:
    """The octets of a file, for whoever has its URL, as long as that is good."""
    item = contract.SiemFetchItem.model_validate(call.items[0])
    gone = Refused("err_not_found", "This URL is not known, or no longer good.", status=404)
    try:
        kind, since, until, after, expires = portal.sealer.start("", "siem file", item.context)[0]["file"]
    except InvalidToken:
        raise gone from None
    if expires <= portal.clock.machine():
        raise gone
    octets, _ = _file(portal, kind, since, until, after)
    return Answer(body=iter([octets]), filename=f"{kind}.json.gz")


# -- API 1.0 ---------------------------------------------------------------------------------------------------------

_SHORT = {
    "accountId": "acc",
    "aggregateId": "aCode",
    "senderEnvelope": "Sender",
    "senderHeader": "headerFrom",
    "recipients": "Rcpt",
    "subject": "Subject",
    "messageId": "MsgId",
    "direction": "Dir",
    "senderIp": "IP",
    "action": "Act",
    "delivered": "Delivered",
    "holdReason": "Hld",
    "rejectionType": "RejType",
    "rejectionInfo": "RejInfo",
}


def logs(portal: Portal, call: Call) -> Answer:
    """get-siem-logs: one file of one kind, the next one by its token; JSON when nothing is left."""
    administrators_only(call)
    item = contract.SiemLogsItem.model_validate(call.items[0])
    caller = str(call.caller.person_id)
    now = portal.clock.now()
    number, after, until = 0, list(_FIRST), now + 1
    if item.token:
        try:
            number, after, until = portal.sealer.start(caller, "siem logs", item.token)[0]["at"]
        except InvalidToken:
            raise Refused("err_audit_siem_invalid_token", "Invalid token", field="token") from None
    while number < len(KINDS):
        kind = KINDS[number]
        found = list(islice(_events(portal, kind, now - _KEPT, until, after), _FILE_EVENTS))
        if found:
            token = portal.sealer.page(caller, "siem logs", {"at": [number, found[-1][0], until]}, 1, previous=False)
            events = [event for _, event in found]
            octets = _as_json(kind, events) if item.file_format == "json" else _as_pairs(events)
            name = f"{kind}_{moment(found[0][0][0]):%Y%m%d%H%M%S}.log"
            return Answer(body=iter([octets]), filename=name, headers={"mc-siem-token": token})
        number, after = number + 1, list(_FIRST)
    return Answer(object={"meta": {"status": 200, "isLastToken": True}, "data": [], "fail": []})


def _as_json(kind: str, events: Iterable[JsonObject]) -> bytes:
    return json.dumps({"type": kind, "data": list(events)}, separators=(",", ":")).encode()


def _as_pairs(events: Iterable[JsonObject]) -> bytes:
    return b"".join(_line(event) for event in events)


def _line(event: JsonObject) -> bytes:
    when = moment(event["timestamp"]).isoformat(timespec="milliseconds")
    pairs = {"datetime": when, **{short: event[name] for name, short in _SHORT.items() if name in event}}
    # What separates pairs and lines stands in no value.
    told = (f"{name}={' '.join(str(value).replace('|', ' ').split())}" for name, value in pairs.items())
    return "|".join(told).encode("utf-8", "replace") + b"\n"
