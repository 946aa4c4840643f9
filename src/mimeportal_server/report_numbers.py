"""Reports of numbers, each computed once: per day of the account's zone, or per sender over all of the days.

Every day is told, days without anything too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sqlalchemy import Connection, case, func, select

from mimeportal_server import counting
from mimeportal_server.report_counted import LARGE, LOG_INS, SECURE, by_day, over
from mimeportal_server.report_pages import Values, Window
from mimeportal_server.store import schema
from mimeportal_server.store.schema import holds

ROUTES = ("inbound", "outbound", "internal")


def traffic(tx: Connection, window: Window) -> Iterator[Values]:
    found = counting.sums(tx, "traffic", window.start, window.end)
    parts = [*ROUTES, *sorted({part for _, part, _ in found} - set(ROUTES))]
    for day in window.days():
        for part in parts:
            count = {event: found[day, part, event] for event in ("passed", "held", "blocked")}
            others = [found[day, part, event] for event in ("rejected", "delivered", "bounced")]
            yield [day, part, sum(count.values()), count["held"], count["blocked"], *others]


def held(tx: Connection, window: Window) -> Iterator[Values]:
    found = counting.sums(tx, "held", window.start, window.end)
    for at, values in over(tx, window):
        found[counting.day_of(window.portal.settings.time_zone, at), values[2], "expired"] += 1
    reasons: dict[str, set[str]] = {}
    for day, reason, _ in found:
        reasons.setdefault(day, set()).add(reason)
    for day in window.days():
        for reason in sorted(reasons.get(day, {""})):
            counts = [found[day, reason, event] for event in _HELD_EVENTS]
            decided = counts[1] + counts[2]
            yield [day, reason, *counts, found[day, reason, "seconds"] // decided if decided else None]


_HELD_EVENTS = ("held", "released", "rejected", "expired", "by_recipient", "by_others")


def secure_messages(tx: Connection, window: Window) -> Iterator[Values]:
    found = by_day(tx, window, SECURE)
    for day in window.days():
        for part in ROUTES:
            yield [day, part, *(found[day, part, event] for event in ("processed", "delivered", "read", "recalled"))]


def largefiles(tx: Connection, window: Window) -> Iterator[Values]:
    found = by_day(tx, window, LARGE)
    octets: Counter[str] = Counter()
    for row in tx.execute(
        select(schema.largefiles.c.sent, schema.largefiles.c.size).where(
            schema.largefiles.c.sent >= window.since, schema.largefiles.c.sent < window.until
        )
    ):
        octets[counting.day_of(window.portal.settings.time_zone, row.sent)] += row.size
    for day in window.days():
        yield [day, found[day, "", "sent"], octets[day], found[day, "", "downloaded"], found[day, "", "expiring"]]


def logins(tx: Connection, window: Window) -> Iterator[Values]:
    found = by_day(tx, window, LOG_INS)
    doors: dict[str, set[str]] = {}
    for day, door, _ in found:
        doors.setdefault(day, set()).add(door)
    for day in window.days():
        for door in sorted(doors.get(day, {""})):
            yield [day, door, found[day, door, "succeeded"], found[day, door, "failed"]]


def senders(tx: Connection, window: Window) -> Iterator[Values]:
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
    for _, values in over(tx, window):
        _at(found, values[4] or values[3])[_SENDER_EVENTS.index("expired")] += 1
    lists = (
        select(schema.senders.c.entry, schema.senders.c.list, func.count().label("number"))
        .where(schema.senders.c.list.in_(("blocked", "permitted")))
        .where(schema.senders.c.added >= window.since, schema.senders.c.added < window.until)
        .group_by(schema.senders.c.entry, schema.senders.c.list)
    )
    for row in tx.execute(lists):
        _at(found, row.entry)[_SENDER_EVENTS.index(row.list)] += row.number
    for address, counts in sorted(found.items(), key=lambda entry: ([-count for count in entry[1]], entry[0])):
        yield [address, *counts]


_SENDER_EVENTS = ("held", "released", "rejected", "expired", "blocked", "permitted")


def _at(found: dict[str, Values], sender: str) -> Values:
    return found.setdefault(sender, [0] * len(_SENDER_EVENTS))
