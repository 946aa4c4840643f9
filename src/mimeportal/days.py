"""Days of reports: which day a moment lies in, when a day begins, and when it is over for good; no I/O in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo

CLOSES_AFTER_HOURS = 2  # once a day is over, until its report is final (promises G)
# The days that there are reports of; those before and after begin at no instant that every zone has.
FIRST, LAST = date(2, 1, 1), date(9998, 12, 31)
_ONE = timedelta(days=1)


def day_of(moment: datetime, zone: tzinfo) -> date:
    """The day of a moment in a zone: the last one that has begun by then.

    Where clocks were set back over midnight, as in Newfoundland until 2011, an evening comes twice; what is of its
    second time counts on the day that had begun between, so that days are whole spans of time.
    """
    day = moment.astimezone(zone).date()
    following = day + _ONE
    return following if begin(following, zone) <= moment else day


def begin(day: date, zone: tzinfo) -> datetime:
    """The first instant of a day, UTC. Where midnight is left out of a day, it begins when the clocks are set."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def each(start: date, end: date) -> Iterator[date]:
    """The days from `start` on, without `end`."""
    while start < end:
        yield start
        start += _ONE


def closed_until(zone: tzinfo, now: datetime, hours: int = CLOSES_AFTER_HOURS) -> date:
    """The first day that is not closed: a day is once some hours have passed since its end."""
    return day_of(now - timedelta(hours=hours), zone)
