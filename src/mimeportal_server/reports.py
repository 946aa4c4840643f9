"""Reports of the local portal, for administrators: each computed in one place, and told in pages of many rows.

Numbers per day come from `counting`; logs from their own tables, oldest first, so that what comes meanwhile shifts
no page. Days are those of the account's zone, each of them told, days without anything too.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    case,
    func,
    literal,
    literal_column,
    null,
    select,
)

from mimeportal import limits
from mimeportal.reports import contract
from mimeportal.reports.contract import days
from mimeportal_server import counting, deciding
from mimeportal_server.asked import administrators_only, not_allowed
from mimeportal_server.clock import DAY, iso, milliseconds, moment
from mimeportal_server.deciding import HELD
from mimeportal_server.portal import Answer, Call, Portal
from mimeportal_server.store.schema import (
    audit,
    copies,
    holds,
    largefile_downloads,
    largefile_files,
    largefile_recipients,
    largefiles,
    messages,
    people,
    rejections,
    secure_copies,
    secure_messages,
    senders,
)

Values = list[Any]
# Where a row stands: when, which of several sources, and its number there.
Place = tuple[int, int, int]

ROUTES = ("inbound", "outbound", "internal")


@dataclass(frozen=True, slots=True)
class Window:
    """The days that are asked for, and the instants at which they begin and end, in milliseconds."""

    portal: Portal
    start: date
    end: date

    @property
    def since(self) -> int:
        return milliseconds(days.begin(self.start, self.portal.settings.zone))

    @property
    def until(self) -> int:
        return milliseconds(days.begin(self.end, self.portal.settings.zone))

    def days(self) -> Iterator[str]:
        return (day.isoformat() for day in days.each(self.start, self.end))


def _window(portal: Portal, item: contract.ReportItem) -> Window:
    found = []
    for name, text in (("start", item.start), ("end", item.end)):
        try:
            found.append(date.fromisoformat(text))
        except ValueError:
            raise not_allowed(f"{name} is a day, such as 2026-11-03.", name) from None
    window = Window(portal, *found)
    if not timedelta() < window.end - window.start <= timedelta(limits.REPORT_DAYS):
        raise not_allowed(f"The end lies after the start, and at most {limits.REPORT_DAYS} days after it.", "end")
    if window.start.year < 2 or window.end.year > 9998:
        raise not_allowed("A day is in one of the years 2 to 9998.", "start")
    return window


def list_days(portal: Portal, call: Call) -> Answer:
    """Today, and the first day that is not closed: while the clock is not believed, none closes (promises F.2)."""
    administrators_only(call)
    settings = portal.settings
    now = moment(portal.clock.steady())
    row = contract.DaysRow(
        time_zone=settings.time_zone,
        now=now,
        today=days.day_of(now, settings.zone),
        closed_until=days.closed_until(settings.zone, now, settings.report_closes_after_hours),
        clock=portal.clock.fault(),
    )
    return Answer([row.to_json()])


# -- pages -------------------------------------------------------------------------------------------------------

Rows = Callable[[Connection, Window], Iterable[Values]]
PlacedRows = Callable[[Connection, Window, Place], Iterable[tuple[Place, Values]]]


def _page(columns: Sequence[str], rows: list[Values], token: str | None = None) -> Answer:
    return Answer([{"columns": list(columns), "rows": rows, **({"next": token} if token else {})}])


def _sums(report: contract.Report, rows: Rows, counted: PlacedRows | None = None) -> Callable[[Portal, Call], Answer]:
    """The operation of a report of numbers: all of them at once, or what they count, in pages."""

    def operation(portal: Portal, call: Call) -> Answer:
        administrators_only(call)
        item = contract.ReportItem.model_validate(call.items[0])
        if item.rows and counted is not None:
            return _paged(portal, call, item, tuple(contract.CountedRow.model_fields), counted)
        window = _window(portal, item)
        counting.ensure(portal)
        with portal.database.read() as tx:
            return _page(report.columns, list(rows(tx, window)))

    return operation


def _log(report: contract.Report, rows: PlacedRows) -> Callable[[Portal, Call], Answer]:
    """The operation of a report that is a log, in pages."""

    def operation(portal: Portal, call: Call) -> Answer:
        administrators_only(call)
        item = contract.ReportItem.model_validate(call.items[0])
        return _paged(portal, call, item, report.columns, rows)

    return operation


def _paged(portal: Portal, call: Call, item: contract.ReportItem, columns: Sequence[str], rows: PlacedRows) -> Answer:
    window = _window(portal, item)
    caller = str(call.caller.person_id)
    query = json.dumps([call.request.path, item.start, item.end, bool(item.rows)])
    after: Place = (window.since, -1, 0)
    if item.after is not None:
        start, _ = portal.sealer.start(caller, query, item.after)
        after = tuple(start["after"])
    with portal.database.read() as tx:
        found = list(islice(rows(tx, window, after), limits.REPORT_ROWS))
    token = None
    if len(found) == limits.REPORT_ROWS:
        token = portal.sealer.page(caller, query, {"after": found[-1][0]}, limits.REPORT_ROWS, previous=False)
    return _page(columns, [values for _, values in found], token)


@lru_cache(4_096)
def _second(seconds: int) -> str:
    return iso(seconds * 1000)


def _time(at: int | None) -> str | None:
    return None if at is None else _second(at // 1000)


@dataclass(frozen=True, slots=True)
class _Log:
    """One source of a log: a query between two moments, and how its rows are told."""

    query: Select[Any]
    at: ColumnElement[int]
    number: ColumnElement[int]
    told: Callable[[Any], Values]
    ahead: int = 0  # milliseconds by which the moments of the log lie behind those of `at`

    def rows(self, tx: Connection, window: Window, place: int, after: Place) -> Iterator[tuple[Place, Values]]:
        start, end = max(window.since, after[0]) - self.ahead, window.until - self.ahead
        query = self.query.add_columns(self.at.label("at"), self.number.label("number"))
        found = tx.execute(query.where(self.at >= start, self.at < end).order_by(self.at, self.number))
        told, ahead = self.told, self.ahead
        for row in found:
            placed = (row[-2] + ahead, place, row[-1])
            if placed > after:
                yield placed, told(row)


def _merged(sources: Sequence[_Log], tx: Connection, window: Window, after: Place) -> Iterable[tuple[Place, Values]]:
    if len(sources) == 1:
        return sources[0].rows(tx, window, 0, after)
    return heapq.merge(
        *(source.rows(tx, window, place, after) for place, source in enumerate(sources)), key=itemgetter(0)
    )


# -- traffic and held ------------------------------------------------------------------------------------------------


def _traffic(tx: Connection, window: Window) -> Iterator[Values]:
    found = counting.sums(tx, "traffic", window.start, window.end)
    parts = [*ROUTES, *sorted({part for _, part, _ in found} - set(ROUTES))]
    for day in window.days():
        for part in parts:
            count = {event: found[day, part, event] for event in ("passed", "held", "blocked")}
            others = [found[day, part, event] for event in ("rejected", "delivered", "bounced")]
            yield [day, part, sum(count.values()), count["held"], count["blocked"], *others]


def _held(tx: Connection, window: Window) -> Iterator[Values]:
    found = counting.sums(tx, "held", window.start, window.end)
    for day, reason, number in _over(tx, window):
        found[day, reason, "expired"] += number
    reasons: dict[str, set[str]] = {}
    for day, reason, _ in found:
        reasons.setdefault(day, set()).add(reason)
    for day in window.days():
        for reason in sorted(reasons.get(day, {""})):
            counts = [found[day, reason, event] for event in _HELD_EVENTS]
            decided = counts[1] + counts[2]
            yield [day, reason, *counts, found[day, reason, "seconds"] // decided if decided else None]


_HELD_EVENTS = ("held", "released", "rejected", "expired", "by_recipient", "by_others")


def _over(tx: Connection, window: Window) -> Iterator[tuple[str, str, int]]:
    """What left the queue in these days although no sweep has marked it yet: (day, reason, number)."""
    portal = window.portal
    keep = portal.settings.hold_days * DAY
    for row in tx.execute(
        select(holds.c.reason, holds.c.received).where(
            HELD,
            holds.c.received >= window.since - keep,
            holds.c.received < min(window.until - keep, deciding.expiry_edge(portal) + 1),
        )
    ):
        yield counting.day_of(portal.settings.time_zone, row.received + keep), row.reason, 1


def _counted(report: str) -> PlacedRows:
    """What a report of `counting` counts, each thing by itself."""

    def rows(tx: Connection, window: Window, after: Place) -> Iterable[tuple[Place, Values]]:
        sources = [
            _Log(source.each(), source.at, source.number, _told)
            for source in (*counting.SOURCES, *_SECURE, *_LARGE, *_LOG_INS)
            if source.report == report
        ]
        if report == "held":
            sources.append(_over_log(window.portal))
        return _merged(sources, tx, window, after)

    return rows


def _over_log(portal: Portal) -> _Log:
    keep = portal.settings.hold_days * DAY
    query = select(
        (holds.c.received + keep).label("when"),
        literal("expired"),
        holds.c.reason,
        holds.c.from_address,
        holds.c.from_header,
        holds.c.recipient,
        holds.c.subject,
        null(),
        null(),
    ).where(HELD, holds.c.received <= deciding.expiry_edge(portal))
    return _Log(query, holds.c.received, holds.c.id, _told, ahead=keep)


def _told(row: Any) -> Values:
    when, event, part, *shown, actor, seconds = row[:9]
    return [_time(when), event, part, *shown, actor or "", seconds]


# -- secure messages -----------------------------------------------------------------------------------------------

_SENT = (secure_messages.c.sender, secure_messages.c.sender)
_COPIED = secure_copies.join(secure_messages, secure_messages.c.id == secure_copies.c.secure_id)
_FOR_OTHERS = secure_copies.c.part != "sender"
_SECURE = (
    counting.Source(
        "secure-messages",
        secure_messages.c.sent,
        secure_messages.c.id,
        secure_messages.c.direction,
        literal("processed"),
        secure_messages,
        literal_column("1") == 1,
        (*_SENT, literal(""), secure_messages.c.subject, null()),
    ),
    counting.Source(
        "secure-messages",
        secure_copies.c.sent,
        secure_copies.c.id,
        secure_messages.c.direction,
        literal("delivered"),
        _COPIED,
        _FOR_OTHERS,
        (*_SENT, secure_copies.c.address, secure_messages.c.subject, null()),
    ),
    counting.Source(
        "secure-messages",
        secure_copies.c.opened,
        secure_copies.c.id,
        secure_messages.c.direction,
        literal("read"),
        _COPIED,
        and_(_FOR_OTHERS, secure_copies.c.opened.is_not(None)),
        (*_SENT, secure_copies.c.address, secure_messages.c.subject, secure_copies.c.address),
    ),
    counting.Source(
        "secure-messages",
        secure_messages.c.recalled,
        secure_messages.c.id,
        secure_messages.c.direction,
        literal("recalled"),
        secure_messages.outerjoin(people, people.c.id == secure_messages.c.recalled_by),
        secure_messages.c.recalled.is_not(None),
        (*_SENT, literal(""), secure_messages.c.subject, people.c.address),
    ),
)


def _secure_messages(tx: Connection, window: Window) -> Iterator[Values]:
    found = _by_day(tx, window, _SECURE)
    for day in window.days():
        for part in ROUTES:
            yield [day, part, *(found[day, part, event] for event in ("processed", "delivered", "read", "recalled"))]


# -- large files -----------------------------------------------------------------------------------------------------

_FETCHED = (
    largefile_downloads.join(largefile_files, largefile_files.c.id == largefile_downloads.c.file_id)
    .join(largefiles, largefiles.c.id == largefile_files.c.largefile_id)
    .join(largefile_recipients, largefile_recipients.c.id == largefile_downloads.c.recipient_id)
)
_LARGE = (
    counting.Source(
        "largefiles",
        largefiles.c.sent,
        largefiles.c.id,
        literal(""),
        literal("sent"),
        largefiles,
        largefiles.c.sent.is_not(None),
        (largefiles.c.sender, literal(""), literal(""), largefiles.c.subject, null()),
    ),
    counting.Source(
        "largefiles",
        largefile_downloads.c.completed,
        largefile_downloads.c.id,
        literal(""),
        literal("downloaded"),
        _FETCHED,
        largefile_downloads.c.completed.is_not(None),
        (
            largefiles.c.sender,
            literal(""),
            largefile_recipients.c.address,
            largefile_files.c.name,
            largefile_recipients.c.address,
        ),
    ),
    counting.Source(
        "largefiles",
        largefiles.c.expires,
        largefiles.c.id,
        literal(""),
        literal("expiring"),
        largefiles,
        and_(largefiles.c.sent.is_not(None), largefiles.c.expires.is_not(None)),
        (largefiles.c.sender, literal(""), literal(""), largefiles.c.subject, null()),
    ),
)


def _largefiles(tx: Connection, window: Window) -> Iterator[Values]:
    found = _by_day(tx, window, _LARGE)
    octets: Counter[str] = Counter()
    for row in tx.execute(
        select(largefiles.c.sent, largefiles.c.size).where(
            largefiles.c.sent >= window.since, largefiles.c.sent < window.until
        )
    ):
        octets[counting.day_of(window.portal.settings.time_zone, row.sent)] += row.size
    for day in window.days():
        yield [day, found[day, "", "sent"], octets[day], found[day, "", "downloaded"], found[day, "", "expiring"]]


def _by_day(tx: Connection, window: Window, sources: Iterable[counting.Source]) -> Counter[tuple[str, str, str]]:
    """(day, part, event) -> how many, from the rows themselves: for what is too little to be counted with the act."""
    found: Counter[tuple[str, str, str]] = Counter()
    for source in sources:
        for row in tx.execute(source.sums().where(source.at >= window.since, source.at < window.until)):
            day = counting.day_of(window.portal.settings.time_zone, row.quarter * counting.QUARTER)
            found[day, row.part, row.event] += row.number
    return found


# -- the logs --------------------------------------------------------------------------------------------------------

_RELEASED = (
    people.c.address,
    holds.c.from_address,
    holds.c.from_header,
    holds.c.recipient,
    holds.c.subject,
    holds.c.route,
    holds.c.size,
    holds.c.has_attachments,
    holds.c.reason,
    holds.c.policy,
    holds.c.reject_reason,
    holds.c.received,
)


def _releases(tx: Connection, window: Window, after: Place) -> Iterable[tuple[Place, Values]]:
    portal = window.portal
    keep = portal.settings.hold_days * DAY
    logs = [_Log(_DECIDED, holds.c.decided, holds.c.id, _released)]
    edge = deciding.expiry_edge(portal)
    # What is over its time has left the queue, whether or not a sweep has marked it.
    over = select((holds.c.received + keep).label("when"), literal("expired"), *_RELEASED).where(
        HELD, holds.c.received <= edge
    )
    over = over.select_from(_BY)
    first = select(holds.c.id).where(HELD, holds.c.received <= edge, holds.c.received < window.until - keep).limit(1)
    if tx.scalar(first) is not None:
        logs.append(_Log(over, holds.c.received, holds.c.id, _released, ahead=keep))
    return _merged(logs, tx, window, after)


_BY: FromClause = holds.outerjoin(people, people.c.id == holds.c.decided_by)
_DECIDED = select(holds.c.decided.label("when"), holds.c.state, *_RELEASED).select_from(_BY)


def _released(row: Any) -> Values:
    when, status, operator, sender, header, to, subject, route, size, attached, reason, policy, why, received, *_ = row
    return [
        _second(when // 1000),
        status,
        operator or "",
        sender,
        header,
        to,
        subject,
        route,
        size,
        attached,
        reason,
        policy,
        why,
        _second(received // 1000),
    ]


def _rejections(tx: Connection, window: Window, after: Place) -> Iterable[tuple[Place, Values]]:
    refused = select(
        rejections.c.at.label("when"),
        rejections.c.type,
        rejections.c.sender,
        rejections.c.recipient,
        rejections.c.info,
        rejections.c.remote_ip,
        rejections.c.remote_host,
    )
    blocked = (
        select(
            messages.c.received.label("when"),
            literal("sender_blocked"),
            messages.c.envelope_from,
            copies.c.recipient,
            copies.c.decided_by,
            messages.c.remote_ip,
            messages.c.remote_host,
        )
        .join(copies, copies.c.message_id == messages.c.id)
        .where(copies.c.outcome == "blocked")
    )
    logs = (
        _Log(refused, rejections.c.at, rejections.c.id, _rejected),
        _Log(blocked, messages.c.received, copies.c.id, _rejected),
    )
    return _merged(logs, tx, window, after)


def _rejected(row: Any) -> Values:
    return [_time(row[0]), *row[1:7]]


# -- senders ---------------------------------------------------------------------------------------------------------


def _senders(tx: Connection, window: Window) -> Iterator[Values]:
    """Whose mail was held in these days, most first; by the From header, else by the envelope."""
    found: dict[str, Values] = {}
    for source in counting.SOURCES:
        if source.report != "held":
            continue
        sender = case((holds.c.from_header != "", holds.c.from_header), else_=holds.c.from_address).label("sender")
        numbers = (
            select(sender, source.event.label("event"), func.count().label("number"))
            .select_from(source.tables)
            .where(source.where, source.at >= window.since, source.at < window.until)
            .group_by(sender, source.event)
        )
        for row in tx.execute(numbers):
            _at(found, row.sender)[_SENDER_EVENTS.index(row.event)] += row.number
    for _, values in _over_log(window.portal).rows(tx, window, 0, (window.since, -1, 0)):
        _at(found, values[4] or values[3])[_SENDER_EVENTS.index("expired")] += 1
    lists = (
        select(senders.c.entry, senders.c.list, func.count().label("number"))
        .where(senders.c.list.in_(("blocked", "permitted")))
        .where(senders.c.added >= window.since, senders.c.added < window.until)
        .group_by(senders.c.entry, senders.c.list)
    )
    for row in tx.execute(lists):
        _at(found, row.entry)[_SENDER_EVENTS.index(row.list)] += row.number
    for address, counts in sorted(found.items(), key=lambda entry: ([-count for count in entry[1]], entry[0])):
        yield [address, *counts]


_SENDER_EVENTS = ("held", "released", "rejected", "expired", "blocked", "permitted")


def _at(found: dict[str, Values], sender: str) -> Values:
    return found.setdefault(sender, [0] * len(_SENDER_EVENTS))


# -- log-ins and audit -----------------------------------------------------------------------------------------------

_LOG_INS = (
    counting.Source(
        "logins",
        audit.c.at,
        audit.c.id,
        audit.c.door,
        case((audit.c.outcome == "done", literal("succeeded")), else_=literal("failed")),
        audit.outerjoin(people, people.c.id == audit.c.object_id),
        audit.c.action == literal_column("'log in'"),  # written out, so that its partial index is used
        (*[literal("")] * 4, people.c.address),
    ),
)


def _logins(tx: Connection, window: Window) -> Iterator[Values]:
    found = _by_day(tx, window, _LOG_INS)
    doors: dict[str, set[str]] = {}
    for day, door, _ in found:
        doors.setdefault(day, set()).add(door)
    for day in window.days():
        for door in sorted(doors.get(day, {""})):
            yield [day, door, found[day, door, "succeeded"], found[day, door, "failed"]]


def _audit(tx: Connection, window: Window, after: Place) -> Iterable[tuple[Place, Values]]:
    from mimeportal_server import audit_events

    return _merged([_Log(audit_events.ACTS, audit.c.at, audit.c.id, audit_events.values)], tx, window, after)


# -- the operations --------------------------------------------------------------------------------------------------


def audit_list(portal: Portal, call: Call) -> Answer:
    """Mimecast's get-audit-events."""
    from mimeportal_server import audit_events

    return audit_events.find(portal, call)


def audit_categories(portal: Portal, call: Call) -> Answer:
    """Mimecast's get-categories."""
    from mimeportal_server import audit_events

    return audit_events.categories(portal, call)


def siem_batch(portal: Portal, call: Call) -> Answer:
    """Files of SIEM events, by URL."""
    from mimeportal_server import siem

    return siem.batch(portal, call)


def siem_file(portal: Portal, call: Call) -> Answer:
    """One of these files."""
    from mimeportal_server import siem

    return siem.file(portal, call)


def siem_logs(portal: Portal, call: Call) -> Answer:
    """SIEM events as API 1.0 gives them."""
    from mimeportal_server import siem

    return siem.logs(portal, call)


_REPORTS = contract.REPORTS
OPERATIONS: dict[str, Callable[[Portal, Call], Answer]] = {
    "reports.days": list_days,
    "reports.secure_messages": _sums(_REPORTS["secure-messages"], _secure_messages, _counted("secure-messages")),
    "reports.traffic": _sums(_REPORTS["traffic"], _traffic, _counted("traffic")),
    "reports.held": _sums(_REPORTS["held"], _held, _counted("held")),
    "reports.releases": _log(_REPORTS["releases"], _releases),
    "reports.rejections": _log(_REPORTS["rejections"], _rejections),
    "reports.senders": _sums(_REPORTS["senders"], _senders, _counted("held")),
    "reports.largefiles": _sums(_REPORTS["largefiles"], _largefiles, _counted("largefiles")),
    "reports.logins": _sums(_REPORTS["logins"], _logins, _counted("logins")),
    "reports.audit": _log(_REPORTS["audit"], _audit),
    "reports.audit_events": audit_list,
    "reports.audit_categories": audit_categories,
    "reports.siem_batch": siem_batch,
    "reports.siem_file": siem_file,
    "reports.siem_logs": siem_logs,
}
