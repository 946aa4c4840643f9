"""Reports where a portal has none of its own: computed from the lists and logs that Mimecast's API offers.

What each column comes from, and what is only approximate, stands in docs/reports.md. Every row is filtered here once
more, whatever the portal did (promises A.2).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from mimeportal import days as calendar
from mimeportal import limits
from mimeportal.holds import contract as holds_contract
from mimeportal.messages.contract import finder
from mimeportal.paging import PageOf, Pages
from mimeportal.reports import contract, siem
from mimeportal.transport import not_offered
from mimeportal.wire import Row, format_date, told_date

if TYPE_CHECKING:
    from mimeportal.holds.log import ReleaseLogEntry
    from mimeportal.portal import Portal
    from mimeportal.reports.client import Calendar, Days

# How far back the source of a report goes, in days, and what it is (promises G).
_KEPT = {
    "traffic": (7, "Mimecast keeps SIEM events for 7 days."),
    "audit": (60, "Mimecast tells audit events of 60 days."),
    "logins": (60, "Mimecast tells audit events of 60 days."),
}
_BATCH = 500


def absent(portal: Portal, report: contract.Report, day: date, today: Calendar) -> str:
    """Why the portal does not keep a day any more; "" where it does: a local portal keeps every one."""
    if portal.session.api == "local" or report.name not in _KEPT:
        return ""
    kept, why = _KEPT[report.name]
    return why if calendar.begin(day, today.zone) < today.now - timedelta(kept) else ""


def pages(portal: Portal, report: contract.Report, window: Days) -> Pages[Any]:
    """The rows of a report, computed when they are iterated. Raises `NotOfferedError`."""
    rows = _rows(portal, report)

    def fetch(_: str | None) -> PageOf[Any]:
        return PageOf(list(rows(portal, window)), None, None)

    return Pages(fetch)


def batches(portal: Portal, report: contract.Report, window: Days) -> Iterator[Sequence[Row]]:
    """The same, some hundreds at a time."""
    found = list(_rows(portal, report)(portal, window))
    for start in range(0, len(found), _BATCH):
        yield found[start : start + _BATCH]


def is_offered(portal: Portal, report: contract.Report) -> bool:
    """Whether a report can be computed from what this portal offers."""
    session = portal.session
    if report.name == "traffic":
        return session.offers(contract.SIEM_BATCH) or session.offers(contract.SIEM_LOGS)
    return report.name in _COMPUTED and all(map(session.offers, _NEEDED.get(report.name, ())))


Rows = Callable[["Portal", "Days"], Iterable[Row]]


def _rows(portal: Portal, report: contract.Report) -> Rows:
    rows = _COMPUTED.get(report.name)
    if rows is None:
        raise not_offered(f"the report {report.name}", portal.session.api)
    for endpoint in _NEEDED.get(report.name, ()):
        portal.session.require(endpoint, f"the report {report.name}")
    return rows


T = TypeVar("T")


def _oldest_first(newest_first: list[T], moment: Callable[[T], datetime | None]) -> list[T]:
    """Logs are told newest first; what is told of one second keeps its order too."""
    oldest_first = newest_first[::-1]
    oldest_first.sort(key=lambda row: moment(row) or datetime.min.replace(tzinfo=UTC))
    return oldest_first


# -- traffic ---------------------------------------------------------------------------------------------------------

_DIRECTIONS = ("inbound", "outbound", "internal")


def _traffic(portal: Portal, window: Days) -> Iterator[Row]:
    """From SIEM events: `receipt` tells what was rejected, `process` what was taken and held, `delivery` the rest."""
    flow: siem.Flow = Counter()
    for kind in siem.KINDS:
        for batch in siem.batches(portal.session, kind, window.since, window.until):
            flow += siem.flow(kind, batch.events, window.since, window.until)
    found: Counter[tuple[date, str, str]] = Counter()
    for (quarter, direction, event), number in flow.items():
        found[siem.day_of(quarter, window.zone), direction.lower(), event] += number
    for day in window:
        for direction in _DIRECTIONS:
            counts = {event: found[day, direction, event] for event in siem.EVENTS}
            yield contract.TrafficRow(day=day, direction=direction, blocked=None, **counts)


# -- the hold queue --------------------------------------------------------------------------------------------------


def _log(portal: Portal, window: Days) -> Iterator[contract.ReleaseRow]:
    found = []
    for entry in portal.holds.log(since=window.since, until=window.until):
        if entry.released is None or window.since <= entry.released < window.until:
            found.append(_release(entry))
    yield from _oldest_first(found, lambda row: row.released)


def _release(entry: ReleaseLogEntry) -> contract.ReleaseRow:
    expired = entry.status != "released" and "xpired" in entry.info
    return contract.ReleaseRow(
        released=entry.released,
        status="expired" if expired else entry.status,
        operator=entry.operator,
        from_address=entry.from_address,
        from_header=entry.from_header,
        to_address=",".join(entry.to_addresses),
        subject=entry.subject,
        route=entry.route,
        size=entry.size,
        has_attachments=entry.has_attachments,
        held_reason=entry.held_reason,
        policy=entry.policy,
        reject_reason=entry.reject_reason,
        received=None,
    )


_ENDINGS = ("released", "rejected", "expired")


def _held(portal: Portal, window: Days) -> Iterator[Row]:
    """Endings from the release log; what came, as far as it is held still."""
    found: dict[date, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for row in _log(portal, window):
        if row.released is not None and row.status in _ENDINGS:
            counted = found[calendar.day_of(row.released, window.zone)][row.held_reason]
            counted[row.status] += 1
            if row.status != "expired":
                counted["by_recipient" if row.operator == row.to_address else "by_others"] += 1
    for hold in portal.holds.list(queue="admin", since=window.since, until=window.until):
        found[calendar.day_of(hold.date_received, window.zone)][hold.reason]["held"] += 1
    for day in window:
        for reason, counts in sorted(found.get(day, {"": Counter[str]()}).items()):
            yield contract.HeldRow(day=day, reason=reason, **counts)


def _senders(portal: Portal, window: Days) -> Iterator[Row]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in _log(portal, window):
        if row.status in _ENDINGS:
            found[row.from_header or row.from_address][row.status] += 1
    for hold in portal.holds.list(queue="admin", since=window.since, until=window.until):
        found[hold.from_header or hold.from_address]["held"] += 1
    rows = [
        contract.SenderRow(sender=sender, blocked=None, permitted=None, **counts) for sender, counts in found.items()
    ]
    yield from sorted(rows, key=lambda row: (-(row.held or 0), -(row.released or 0), -(row.rejected or 0), row.sender))


def _rejections(portal: Portal, window: Days) -> Iterator[Row]:
    found = [
        contract.RejectionRow(**{name: getattr(row, name) for name in contract.RejectionRow.model_fields})
        for row in portal.messages.rejected(since=window.since, until=window.until)
    ]
    yield from _oldest_first(found, lambda row: row.created)


def _queues(portal: Portal, window: Days) -> Iterator[Row]:
    """Day by day, so that every one is told by the hour."""
    for day in window:
        since = calendar.begin(day, window.zone)
        until = calendar.begin(day + timedelta(1), window.zone)
        lengths = [row for row in portal.messages.queues(since=since, until=until) if since <= row.date < until]
        for length in sorted(lengths, key=lambda row: (row.date, row.direction)):
            yield contract.QueueRow(date=length.date, direction=length.direction, count=length.count)


# -- the audit -------------------------------------------------------------------------------------------------------


def audit_events(
    portal: Portal, since: datetime, until: datetime, *, query: str | None = None, categories: Sequence[str] = ()
) -> Pages[contract.AuditEventRow]:
    """Mimecast's audit events of a time, as they are told."""
    item = contract.AuditEventsItem(
        start_date_time=format_date(since),
        end_date_time=format_date(until),
        query=query,
        categories=list(categories) or None,
    )

    def fetch(token: str | None) -> PageOf[contract.AuditEventRow]:
        answer = portal.session.call(contract.AUDIT_EVENTS, [item], page_size=limits.PAGE_SIZE, page_token=token)
        rows = [row for row in answer.rows if since <= told_date(row.event_time) < until]
        return PageOf(rows, None, answer.page.next if answer.page else None)

    portal.session.require(contract.AUDIT_EVENTS)
    return Pages(fetch)


def _audit(portal: Portal, window: Days) -> Iterator[Row]:
    found = [
        contract.AuditRow(
            time=told_date(event.event_time),
            user=event.user,
            action=event.audit_type,
            category=event.category,
            info=event.event_info,
        )
        for event in audit_events(portal, window.since, window.until)
    ]
    yield from _oldest_first(found, lambda row: row.time)


_SUCCESS = re.compile(r"\s*success", re.IGNORECASE)
_FAILURE = re.compile(r"\s*(fail|unsuccess|invalid)", re.IGNORECASE)
_APPLICATION = re.compile(r"\bApplication: ([^,]+)")


def _logins(portal: Portal, window: Days) -> Iterator[Row]:
    """From the words that events of the category authentication_logs begin with."""
    found: dict[date, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for event in audit_events(portal, window.since, window.until, categories=[_AUTHENTICATION]):
        ended = "succeeded" if _SUCCESS.match(event.event_info) else "failed"
        if event.category != _AUTHENTICATION or (ended == "failed" and not _FAILURE.match(event.event_info)):
            continue
        told = _APPLICATION.search(event.event_info)
        day = calendar.day_of(told_date(event.event_time), window.zone)
        found[day][told[1].strip() if told else ""][ended] += 1
    for day in window:
        for door, counts in sorted(found.get(day, {"": Counter[str]()}).items()):
            yield contract.LoginRow(day=day, door=door, **counts)


_AUTHENTICATION = "authentication_logs"

_COMPUTED: dict[str, Rows] = {
    "traffic": _traffic,
    "held": _held,
    "releases": _log,
    "rejections": _rejections,
    "senders": _senders,
    "logins": _logins,
    "audit": _audit,
    "queues": _queues,
}
_NEEDED: dict[str, tuple[Any, ...]] = {
    "held": (holds_contract.LOG, holds_contract.LIST),
    "releases": (holds_contract.LOG,),
    "senders": (holds_contract.LOG, holds_contract.LIST),
    "rejections": (finder.REJECTIONS,),
    "queues": (finder.QUEUES,),
    "audit": (contract.AUDIT_EVENTS,),
    "logins": (contract.AUDIT_EVENTS,),
}
