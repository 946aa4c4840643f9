"""Days are whole spans of time that follow each other, whatever clocks are set to."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from mimeportal import days

QUARTER = timedelta(minutes=15)
# Clocks set at one, at midnight, over midnight back into the evening before; a day left out, a zone of quarters.
SPANS = [
    ("Europe/London", date(2026, 3, 28), (24, 23, 24)),
    ("Europe/London", date(2026, 10, 24), (24, 25, 24)),
    ("America/Sao_Paulo", date(2018, 11, 3), (24, 23, 24)),
    ("America/Sao_Paulo", date(2018, 2, 17), (25, 24, 24)),
    ("America/Havana", date(2026, 10, 31), (24, 25, 24)),
    ("America/St_Johns", date(2006, 10, 28), (24, 25, 24)),
    ("Pacific/Apia", date(2011, 12, 29), (24, 0, 24)),
    ("Pacific/Chatham", date(2026, 4, 4), (24, 25, 24)),
]


@pytest.mark.parametrize(("name", "start", "hours"), SPANS, ids=[f"{name} {start}" for name, start, _ in SPANS])
def test_every_moment_lies_in_the_day_that_began_last(name: str, start: date, hours: tuple[int, ...]) -> None:
    zone = ZoneInfo(name)
    first = days.begin(start, zone)
    spans = dict.fromkeys((start + timedelta(number) for number in range(len(hours))), timedelta())
    moment = first
    while moment < days.begin(start + timedelta(len(hours)), zone):
        day = days.day_of(moment, zone)
        assert days.begin(day, zone) <= moment < days.begin(day + timedelta(1), zone)
        spans[day] += QUARTER
        moment += QUARTER
    assert tuple(span / timedelta(hours=1) for span in spans.values()) == hours


@pytest.mark.parametrize("name", ["America/St_Johns", "Pacific/Apia", "America/Sao_Paulo"])
def test_a_day_closes_two_hours_after_its_end(name: str) -> None:
    zone = ZoneInfo(name)
    for day in days.each(date(2006, 10, 27), date(2012, 1, 2)):
        end = days.begin(day + timedelta(1), zone)
        if end > days.begin(day, zone):  # one that is left out closes with the day before it
            closes = end + timedelta(hours=2)
            assert days.closed_until(zone, closes - QUARTER) <= day < days.closed_until(zone, closes)


def test_the_first_and_the_last_day_begin_in_every_zone() -> None:
    for name in ("Pacific/Kiritimati", "Etc/GMT+12"):
        for day in (days.FIRST, days.LAST, days.LAST + timedelta(1)):
            assert days.day_of(days.begin(day, ZoneInfo(name)), ZoneInfo(name)) == day
    assert days.begin(days.FIRST, UTC) == datetime(2, 1, 1, tzinfo=UTC)
