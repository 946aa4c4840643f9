"""What the reports `traffic` and `held` count: where each number comes from, and its sum per day.

    traffic   passed, held, blocked      a message for one recipient came, by what screening did     by route
              delivered, bounced         its delivery ended, or a report said later that it bounced; the portal's own
                                         mail is not counted
              rejected                   a recipient was refused at the SMTP door
    held      held                       a message was held for one recipient                        by reason
              released, rejected         it was decided
              expired                    it left the queue undecided, when its time was over
              by_recipient, by_others    who decided it
              seconds                    the sum of the times from arrival to decision

A `Source` is one of these lines as a query; reports follow a number to its rows through the same sources. The sums
lie in `day_counts`, written in the transaction of the act. They are of one time zone: when portal.toml names
another, or there are none yet, they are made anew from the sources.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, cast
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    and_,
    case,
    delete,
    func,
    literal,
    literal_column,
    null,
    select,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from mimeportal import days
from mimeportal_server.clock import HOUR
from mimeportal_server.portal import Portal, set_fact
from mimeportal_server.store.prepared import Prepared
from mimeportal_server.store.schema import copies, day_counts, deliveries, facts, holds, messages, people, rejections

# (report, milliseconds, part, event) -> how many
Counts = Counter[tuple[str, int, str, str]]

QUARTER = HOUR // 4  # every zone is ahead of UTC by some of these
_PER_QUARTER = literal_column(str(QUARTER), Integer)
_FACT = "counted_zone"
_ZONE = select(facts.c.value).where(facts.c.name == _FACT)
_NUMBERS = upsert(day_counts)
_ADD = Prepared(
    _NUMBERS.on_conflict_do_update(
        index_elements=[*day_counts.primary_key], set_={"number": day_counts.c.number + _NUMBERS.excluded.number}
    )
)


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of thing that a report counts: when it happened, its part and event, and whom it was about.

    `shown` are the sender, its From header, the recipient, the subject, and the address of who acted. `by` says who
    decided a hold, and `seconds` how long it took.
    """

    report: str
    at: ColumnElement[int]
    number: ColumnElement[int]
    part: ColumnElement[str]
    event: ColumnElement[str]
    tables: FromClause
    where: ColumnElement[bool]
    shown: tuple[ColumnElement[Any], ...]
    by: ColumnElement[str] | None = None
    seconds: ColumnElement[int] | None = None

    def each(self) -> Select[Any]:
        """Each thing by itself: when, event, part, the columns of `shown`, seconds."""
        seconds = null() if self.seconds is None else self.seconds
        columns = (self.at.label("when"), self.event, self.part, *self.shown, seconds)
        return select(*columns).select_from(self.tables).where(self.where)

    def sums(self) -> Select[Any]:
        """All that ever happened, by quarters of an hour."""
        by = literal("") if self.by is None else self.by
        seconds = literal(0) if self.seconds is None else self.seconds
        quarter = (self.at // _PER_QUARTER).label("quarter")
        summed: Any = (
            select(
                quarter,
                self.part.label("part"),
                self.event.label("event"),
                by.label("by"),
                func.count().label("number"),
                func.sum(seconds).label("seconds"),
            )
            .select_from(self.tables)
            .where(self.where)
            .group_by(quarter, self.part, self.event, by)
        )
        return cast("Select[Any]", summed)


def by_of(decided_by: int | None, recipient: int) -> str:
    """Who decided a hold: the recipient's own log-in, or somebody else's."""
    return "by_recipient" if decided_by == recipient else "by_others"


_OF_HOLD = (holds.c.from_address, holds.c.from_header, holds.c.recipient, holds.c.subject)
_DECIDED = holds.outerjoin(people, people.c.id == holds.c.decided_by)
_TAKEN = (holds.c.decided - holds.c.received) // literal_column("1000", Integer)
_SECONDS = case((holds.c.decided > holds.c.received, _TAKEN), else_=literal_column("0", Integer))

SOURCES = (
    Source(
        "traffic",
        messages.c.received,
        copies.c.id,
        messages.c.route,
        case((copies.c.outcome.in_(("held", "blocked")), copies.c.outcome), else_=literal("passed")),
        messages.join(copies, copies.c.message_id == messages.c.id),
        literal_column("1") == 1,
        (messages.c.envelope_from, messages.c.from_header, copies.c.recipient, messages.c.subject, null()),
    ),
    Source(
        "traffic",
        deliveries.c.finished,
        deliveries.c.id,
        messages.c.route,
        case((deliveries.c.state == "delivered", literal("delivered")), else_=literal("bounced")),
        deliveries.join(messages, messages.c.id == deliveries.c.message_id),
        and_(deliveries.c.finished.is_not(None), deliveries.c.kind != "written"),
        (messages.c.envelope_from, messages.c.from_header, deliveries.c.recipient, messages.c.subject, null()),
    ),
    Source(
        "traffic",
        deliveries.c.delivered,
        deliveries.c.id,
        messages.c.route,
        literal("delivered"),
        deliveries.join(messages, messages.c.id == deliveries.c.message_id),
        and_(deliveries.c.delivered.is_not(None), deliveries.c.kind != "written"),
        (messages.c.envelope_from, messages.c.from_header, deliveries.c.recipient, messages.c.subject, null()),
    ),
    Source(
        "traffic",
        rejections.c.at,
        rejections.c.id,
        rejections.c.route,
        literal("rejected"),
        rejections,
        literal_column("1") == 1,
        (rejections.c.sender, literal(""), rejections.c.recipient, literal(""), null()),
    ),
    Source(
        "held",
        messages.c.received,
        holds.c.id,
        holds.c.reason,
        literal("held"),
        messages.join(holds, holds.c.message_id == messages.c.id),  # by whose time there is an index
        literal_column("1") == 1,
        (*_OF_HOLD, null()),
    ),
    Source(
        "held",
        holds.c.decided,
        holds.c.id,
        holds.c.reason,
        holds.c.state,
        _DECIDED,
        holds.c.state.in_(("released", "rejected")),
        (*_OF_HOLD, people.c.address),
        case((holds.c.decided_by == holds.c.person_id, literal("by_recipient")), else_=literal("by_others")),
        _SECONDS,
    ),
    Source(
        "held",
        holds.c.decided,
        holds.c.id,
        holds.c.reason,
        holds.c.state,
        holds,
        holds.c.state == "expired",
        (*_OF_HOLD, null()),
    ),
)


# -- written with the act ------------------------------------------------------------------------------------


def count(portal: Portal, tx: Connection, counts: Counts) -> None:
    """Count what this transaction has written just now: once for each thing, after its rows were written."""
    if not counts or not _is_current(portal, tx):
        return
    summed: Counter[tuple[str, str, str, str]] = Counter()
    for (report, at, part, event), number in counts.items():
        summed[report, day_of(portal.settings.time_zone, at), part, event] += number
    _add(tx, summed)


def decided(counts: Counts, row: Any, state: str, at: int, by: int | None) -> None:
    """Note the end of one hold."""
    counts["held", at, row.reason, state] += 1
    if state != "expired":
        counts["held", at, row.reason, by_of(by, row.person_id)] += 1
        counts["held", at, row.reason, "seconds"] += max(0, at - row.received) // 1000


def count_finished(portal: Portal, tx: Connection, numbers: list[int], event: str, at: int) -> None:
    """Count deliveries that have just ended."""
    routes = tx.execute(
        select(messages.c.route, func.count().label("number"))
        .join(deliveries, deliveries.c.message_id == messages.c.id)
        .where(deliveries.c.id.in_(numbers), deliveries.c.kind != "written")
        .group_by(messages.c.route)
    )
    count(portal, tx, Counter({("traffic", at, row.route, event): row.number for row in routes}))


def _add(tx: Connection, counts: Counter[tuple[str, str, str, str]]) -> None:
    rows = [
        {"report": report, "day": day, "part": part, "event": event, "number": number}
        for (report, day, part, event), number in counts.items()
        if number
    ]
    _ADD.run(tx, rows)


def day_of(zone: str, at: int) -> str:
    """The day of a moment, as `2026-11-03`."""
    return _day_of_quarter(zone, at // QUARTER)


@lru_cache(4_096)
def _day_of_quarter(zone: str, quarter: int) -> str:
    # Midnights of every zone lie on a quarter of an hour, but for those of long ago.
    moment = datetime.fromtimestamp(quarter * QUARTER / 1000, UTC)
    return days.day_of(moment, ZoneInfo(zone)).isoformat()


# -- made anew, and read ---------------------------------------------------------------------------------------


def scan(portal: Portal, tx: Connection) -> Counter[tuple[str, str, str, str]]:
    """(report, day, part, event) -> how many, counted from the rows themselves."""
    zone = portal.settings.time_zone
    found: Counter[tuple[str, str, str, str]] = Counter()
    for source in SOURCES:
        for row in tx.execute(source.sums()):
            day = _day_of_quarter(zone, row.quarter)
            found[source.report, day, row.part, row.event] += row.number
            if row.by:
                found[source.report, day, row.part, row.by] += row.number
                found[source.report, day, row.part, "seconds"] += row.seconds
    return found


def recount(portal: Portal, tx: Connection) -> None:
    """Make the sums anew, in the account's zone."""
    found = scan(portal, tx)
    tx.execute(delete(day_counts))
    _add(tx, found)
    set_fact(tx, _FACT, portal.settings.time_zone)


def _is_current(portal: Portal, tx: Connection) -> bool:
    """Whether the sums are of the account's zone. If not, they are made anew, with all that was written so far."""
    if tx.scalar(_ZONE) == portal.settings.time_zone:
        return True
    recount(portal, tx)
    return False


def ensure(portal: Portal) -> None:
    """Make the sums, where there are none of the account's zone."""
    with portal.database.read() as tx:
        if tx.scalar(_ZONE) == portal.settings.time_zone:
            return
    with portal.write() as tx:
        _is_current(portal, tx)


def sums(tx: Connection, report: str, start: date, end: date) -> Counter[tuple[str, str, str]]:
    """(day, part, event) -> how many, of the days from `start` on, without `end`."""
    rows = tx.execute(
        select(day_counts.c.day, day_counts.c.part, day_counts.c.event, day_counts.c.number).where(
            day_counts.c.report == report, day_counts.c.day >= start.isoformat(), day_counts.c.day < end.isoformat()
        )
    )
    return Counter({(row.day, row.part, row.event): row.number for row in rows})
