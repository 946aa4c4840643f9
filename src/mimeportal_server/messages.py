"""Mail on its way, for administrators: the message finder, and what waits. Mailboxes: `mailbox.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, case, false, func, or_, select

from mimeportal import limits
from mimeportal.messages.contract import finder as contract
from mimeportal.patterns import fold
from mimeportal.wire import ROUTES, JsonObject, format_date
from mimeportal_server import audit, mailbox, mailbox_content, reporting, tracked_facts, tracking, undelivered, writing
from mimeportal_server.asked import administrators_only, date_given, first_search, not_allowed
from mimeportal_server.clock import DAY, HOUR, milliseconds, moment
from mimeportal_server.listing import Keyset, may_match
from mimeportal_server.portal import Answer, Call, Portal
from mimeportal_server.store.schema import copies, deliveries, messages
from mimeportal_server.tracking import TRACKED, address_condition, checked_text, search_condition

_POINTS = 400  # of one queue over time, at the most
_NOT_YET = "1970-01-01T00:00:00+0000"


# -- the finder ------------------------------------------------------------------------------------------------


def search(portal: Portal, call: Call) -> Answer:
    """message-finder/search (7.1): one row per message and recipient, newest first; of the last 30 days."""
    administrators_only(call)
    item = contract.SearchItem.model_validate(call.items[0])
    status = tracking.status(portal)
    conditions = [
        messages.c.received >= tracking.searched_from(portal, item.start),
        *tracking.searched_until(item.end),
    ]
    if "ignore_filters" not in call.faults:
        conditions += _filters(item, status)
    if item.search_reason:
        with portal.write(call.caller) as tx:
            act = audit.Act("track", "done", "message", None, {"reason": item.search_reason[: limits.PATTERN]})
            audit.record(tx, [act], at=portal.clock.now(), caller=call.caller, request_id=call.request_id)
    keyset = Keyset(portal, call, "messages.search", copies.c.id)
    with portal.database.read() as tx:
        rows, block = keyset.fetch(tx, TRACKED.add_columns(status.label("status")).where(*conditions))
    if "ignore_filters" not in call.faults:
        rows = [row for row in rows if _has_subject(item, row.subject)]
    return Answer([tracking.row_of(portal, row) for row in rows], page=block)


def _filters(item: contract.SearchItem, status: ColumnElement[str]) -> list[ColumnElement[bool]]:
    """What was asked for, as conditions; in the places and spellings that clients use (7.1)."""
    conditions: list[ColumnElement[bool]] = []
    options = item.advanced_track_and_trace_options or contract.AdvancedOptions()
    if item.message_id:
        bare = item.message_id.strip().removeprefix("<").removesuffix(">")
        conditions.append(messages.c.mime_message_id.in_((bare, f"<{bare}>")))
    if options.from_:
        conditions.append(address_condition(options.from_, (messages.c.envelope_from, messages.c.from_header), "from"))
    if options.to:
        conditions.append(address_condition(options.to, (copies.c.recipient,), "to"))
    if options.subject:
        text = "*".join(_pieces(checked_text(options.subject, "subject")))
        conditions.append(may_match(text, func.lower(messages.c.subject)))
    ip = options.sender_ip or (options.model_extra or {}).get("senderIp")
    if ip:
        conditions.append(messages.c.remote_ip == str(ip))
    if options.url:
        raise not_allowed("This portal does not search for URLs.", "advancedTrackAndTraceOptions.url")
    for routes in (_several(item.route, ROUTES, "route"), _several(options.route, ROUTES, "route")):
        if routes:
            conditions.append(messages.c.route.in_(routes))
    statuses = _several(item.status, contract.STATUSES, "status")
    if statuses:
        conditions.append(status.in_(statuses))
    if item.attachments is not None:
        conditions.append(messages.c.has_attachments == item.attachments)
    return conditions


def _pieces(subject: str) -> list[str]:
    """What stands between the wildcards of a subject, `*` and `?`."""
    return [piece for piece in fold(subject).replace("?", "*").split("*") if piece]


def _has_subject(item: contract.SearchItem, subject: str) -> bool:
    """Whether a subject fits: the database compares ASCII alone."""
    options = item.advanced_track_and_trace_options
    folded = fold(subject)
    return options is None or all(piece in folded for piece in _pieces(options.subject or ""))


def _several(given: list[str] | str | None, known: Sequence[str], field: str) -> list[str]:
    """Words given as a list or as one text; `all` is no condition."""
    words = [fold(word) for word in ([given] if isinstance(given, str) else given or [])]
    for word in words:
        if word not in (*known, "all"):
            raise not_allowed(f"Field must be one of [{','.join(known)}]", field)
    return [] if "all" in words else words


def info(portal: Portal, call: Call) -> Answer:
    """get-message-info (7.2): all that is known of one tracked message, with `loadContent` its texts too.

    For administrators; whoever sent or would have got a message that bounced sees its properties.
    """
    item = contract.InfoItem.model_validate(call.items[0])
    if not call.caller.administrator:
        undelivered.require_own_bounced(portal, call, item)
    return Answer([tracked_facts.info(portal, call, item)])


# -- what waits ------------------------------------------------------------------------------------------------


def processing(portal: Portal, call: Call) -> Answer:
    """find-processing-messages (6.6): every delivery that has not ended, by when it began; of the last 7 days."""
    administrators_only(call)
    item = contract.ProcessingItem.model_validate(first_search(call.items[0]))
    start = milliseconds(date_given(item.start, "start")) if item.start else portal.clock.now() - 7 * DAY
    conditions = [deliveries.c.finished.is_(None), deliveries.c.queued >= start]
    if item.end:
        conditions.append(deliveries.c.queued < milliseconds(date_given(item.end, "end")))
    if "bulk_processing" in _several(item.type, ("processing", "bulk_processing"), "type"):
        conditions.append(false())  # nothing here is processed in bulk
    if "ignore_filters" not in call.faults:
        conditions += search_condition(item.search_by, _processing_fields(portal))
        for entry in item.filter_by or []:
            conditions += _processing_filter(entry)
    orders = _several(item.sort_order, ("asc", "desc", "ascending", "descending"), "sortOrder")
    ascending = any(order.startswith("asc") for order in orders)
    keyset = Keyset(portal, call, "messages.processing", deliveries.c.id, descending=not ascending)
    query = select(
        deliveries,
        messages.c.envelope_from,
        messages.c.from_header,
        messages.c.subject,
        messages.c.has_attachments,
        messages.c.route,
        messages.c.size,
        messages.c.remote_ip,
    ).outerjoin(messages, messages.c.id == deliveries.c.message_id)
    with portal.database.read() as tx:
        rows, block = keyset.fetch(tx, query.where(*conditions))
    return Answer([_processing_row(portal, row) for row in rows], page=block)


def _processing_row(portal: Portal, row: Any) -> JsonObject:
    waits = row.not_before and format_date(moment(row.not_before + portal.clock.offset))
    return {
        "id": portal.sealer.id("delivery", row.id),
        "fromEnv": {"emailAddress": row.envelope_from or ""},  # who wrote it: its return path may be a secret of ours
        "fromHeader": {"emailAddress": portal.settings.mail_from if row.kind == "written" else row.from_header or ""},
        "to": {"emailAddress": row.recipient},
        "subject": row.subject or "",
        "attachment": bool(row.has_attachments),
        "routing": row.route or "outbound",
        "size": row.size or 0,
        "remoteIp": row.remote_ip or "",
        "attempts": row.attempts,
        "nextAttempt": waits or _NOT_YET,
        "created": format_date(moment(row.queued)),
        "info": row.error or ("Waits for review" if row.state == "frozen" else "Queued for delivery"),
        "priority": "normal",
    }


def _processing_filter(entry: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """Both forms that clients send: `{"fieldName", "value"}`, and `{"attachments", "route"}`."""
    named = {str(entry["fieldName"]): entry.get("value")} if "fieldName" in entry else dict(entry)
    conditions: list[ColumnElement[bool]] = []
    if named.get("route") not in (None, ""):
        routes = _several(str(named["route"]), ROUTES, "filterBy.route")
        conditions += [messages.c.route.in_(routes)] if routes else []
    if named.get("attachments") is not None:
        conditions.append(messages.c.has_attachments == (fold(str(named["attachments"])) == "true"))
    return conditions


def queues(portal: Portal, call: Call) -> Answer:
    """get-email-queues (6.7): how many deliveries waited in each hour, or day, of a time, in both directions."""
    administrators_only(call)
    item = contract.QueuesItem.model_validate(call.items[0])
    start, end = (milliseconds(date_given(text, name)) for name, text in (("start", item.start), ("end", item.end)))
    step = HOUR if end - start <= 7 * DAY else DAY
    if not 0 < end - start <= _POINTS * step:
        raise not_allowed(f"The end lies after the start, and at most {_POINTS} days after it.", "end")
    outbound = or_(deliveries.c.kind.in_(("submitted", "written")), messages.c.route == "outbound")
    began = case((deliveries.c.queued < start, 0), else_=(deliveries.c.queued - start) // step).label("began")
    ended = case((deliveries.c.finished < end, (deliveries.c.finished - start) // step)).label("ended")
    way = case((outbound, "outbound"), else_="inbound").label("way")
    with portal.database.read() as tx:
        found = tx.execute(
            select(way, began, ended, func.count().label("number"))
            .outerjoin(messages, messages.c.id == deliveries.c.message_id)
            .where(deliveries.c.queued < end, or_(deliveries.c.finished.is_(None), deliveries.c.finished >= start))
            .group_by(way, began, ended)
        ).all()
    points = -((start - end) // step)
    lengths = {"inbound": [0] * points, "outbound": [0] * points}
    for row in found:
        # Whoever came and went within an hour waited in it too.
        for point in range(row.began, points if row.ended is None else row.ended + 1):
            lengths[row.way][point] += row.number
    told = {
        name: [
            {"date": format_date(moment(start + step * point)), "count": count} for point, count in enumerate(counts)
        ]
        for name, counts in lengths.items()
    }
    return Answer([{"inboundEmailQueue": told["inbound"], "outboundEmailQueue": told["outbound"]}])


# -- conditions ------------------------------------------------------------------------------------------------


def _processing_fields(portal: Portal) -> Mapping[str, Sequence[Any]]:
    """What a search compares with, by the names of fields: what the rows show."""
    written = case((deliveries.c.kind == "written", portal.settings.mail_from), else_=messages.c.from_header)
    return {
        "fromaddress": (messages.c.envelope_from, written),
        "toaddress": (deliveries.c.recipient,),
        "subject": (func.lower(messages.c.subject),),
        "info": (func.lower(deliveries.c.error),),
        "remoteip": (messages.c.remote_ip,),
    }


OPERATIONS: Mapping[str, Callable[[Portal, Call], Answer]] = {
    "messages.search": search,
    "messages.info": info,
    "messages.processing": processing,
    "messages.queues": queues,
    "messages.rejections": undelivered.refused,
    "messages.bounced": undelivered.bounced,
    **mailbox.OPERATIONS,
    **mailbox_content.OPERATIONS,
    **writing.OPERATIONS,
    **reporting.OPERATIONS,
}
