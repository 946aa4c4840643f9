"""The portal's time, and whether the machine's clock may be believed (promises F.2)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

HOUR = 3_600_000
DAY = 24 * HOUR

# A day inside of what a datetime can be, so that every time zone can show them.
_FIRST = int(datetime(1, 1, 2, tzinfo=UTC).timestamp()) * 1000
_LAST = int(datetime(9999, 12, 30, tzinfo=UTC).timestamp()) * 1000


class Clock:
    """Milliseconds since 1970. `now()` is the portal's time: the clock plus the offset of the lab.

    A step of more than an hour back behind what was `seen` before, or of more than a day forward against
    the monotonic clock, is not believed: then `steady()` stays where it was, so that nothing expires.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        *,
        offset: int = 0,
        seen: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._started = (self.machine(), int(monotonic() * 1000))
        self.offset = offset
        self.seen = seen  # the latest time that was recorded, by the machine's clock

    def machine(self) -> int:
        """The machine's clock alone: signatures and tokens go by it."""
        return int(self._wall() * 1000)

    def now(self) -> int:
        return self.machine() + self.offset

    def fault(self) -> str | None:
        """Why the clock is not believed, in a sentence; None when it is."""
        machine = self.machine()
        if machine < self.seen - HOUR:
            return f"The clock was set back: it shows {iso(machine)}, and {iso(self.seen)} was seen before."
        started, running = self._started
        if machine > started + (int(self._monotonic() * 1000) - running) + DAY:
            return f"The clock jumped forward by more than a day, to {iso(machine)}."
        return None

    def steady(self) -> int:
        """The portal's time as far as it is believed: what expires, expires by this."""
        if self.fault() is None:
            return self.now()
        started, running = self._started
        believed = started + (int(self._monotonic() * 1000) - running)
        return max(self.seen, min(believed, self.machine())) + self.offset


def iso(milliseconds: int) -> str:
    """A time of the store as people and JSON read it: ISO 8601, UTC."""
    return moment(milliseconds).isoformat(timespec="seconds")


def moment(milliseconds: int) -> datetime:
    """A time of the store. Never raises: what lies beyond the calendar is its first or last day."""
    return datetime.fromtimestamp(min(max(milliseconds, _FIRST), _LAST) / 1000, UTC)


def in_calendar(milliseconds: int) -> bool:
    """Whether a time has a date that can be shown in every time zone."""
    return _FIRST <= milliseconds <= _LAST


def milliseconds(when: datetime) -> int:
    return int(when.timestamp() * 1000)
