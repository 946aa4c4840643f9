"""When a call is repeated and how long is waited before: rules without I/O, and the budget that all threads share.

what came of sending it once                            safe, keyed      look, never
the connection was never made                           repeated         repeated
429, or 503 whose failure says `retryable`              repeated         repeated: it was not carried out
lost (reset, timeout, cut, unreadable), 500, 502-504    repeated         `LostAnswerError`: it may have been
a failure that says `retryable`                         repeated         raised
any other answer                                        raised           raised
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from mimeportal import limits
from mimeportal.errors import RateLimitedError

Repeat = Literal["safe", "keyed", "look", "never"]

_BROKEN = (500, 502, 503, 504)  # of the portal, or of what stands before it: whether it acted is not known
_FIRST_WAIT = 0.5  # seconds at the most, before the second attempt; doubled for each one after
_LONGEST_WAIT = 20.0
_UNTOLD_WAIT = 1.0  # after a 429 that does not say how long
_MARGIN = 0.01  # seconds: resets travel as whole milliseconds


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of sending a request once.

    sent       octets of it left this machine
    status     the HTTP status; None where no whole answer came
    retryable  what the failure says of itself; of what was not sent: whether another attempt has any sense
    """

    sent: bool = True
    status: int | None = None
    retryable: bool = False

    @property
    def refused(self) -> bool:
        """It certainly was not carried out, for a reason that passes."""
        return not self.sent or self.status == 429 or (self.status == 503 and self.retryable)

    @property
    def in_doubt(self) -> bool:
        """It may have been carried out."""
        return not self.refused and (self.status is None or self.status in _BROKEN)


def may_repeat(repeat: Repeat, tried: Tried) -> bool:
    """Whether a call may be sent once more: the table in the first lines of this module."""
    if tried.refused:
        return tried.sent or tried.retryable
    return repeat in ("safe", "keyed") and (tried.in_doubt or tried.retryable)


def backoff(attempt: int, chance: float) -> float:
    """Seconds to wait after the attempt of that number, 1 being the first; `chance` is between 0 and 1."""
    return chance * float(min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1)))


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that `Retry-After` asks to be waited, written as seconds or as a date; None where it says nothing."""
    text = headers.get("retry-after", "")
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    from email.utils import parsedate_to_datetime  # rarely needed, and slow to load

    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, (moment - now).total_seconds()) if moment.tzinfo else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    return float(text) if text and len(text) < 13 and text.isascii() and text.isdigit() else None


class Budget:
    """The calls that a portal still takes until its next reset, as its answers tell it. For all threads alike.

    Windows are fixed: `remaining` counts down to 0, and at the reset the whole limit is given back. What is on its
    way counts as used: a portal may not have counted it yet. Without such headers nothing is held back, but after
    a 429. `wait` is `Condition.wait`, so that an interrupt ends it.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Condition, float], object] = threading.Condition.wait,
    ) -> None:
        self._monotonic = monotonic
        self._wait = wait
        self._changed = threading.Condition()
        self._flying = 0
        self._limit: int | None = None
        self._remaining: int | None = None
        # The reset is known to lie between these two: when it was told is known as well as an answer is fast.
        self._earliest = self._latest = 0.0

    def acquire(self) -> float:
        """Wait until one more call may be sent; give what it was returns to `landed`.

        Raises `RateLimitedError` where that would take longer than `limits.RATE_WAIT` seconds.
        """
        with self._changed:
            until = self._monotonic() + limits.RATE_WAIT
            while True:
                now = self._monotonic()
                if self._remaining is not None and now >= self._latest:
                    # All is given back; the next answer tells until when.
                    self._remaining, self._earliest, self._latest = self._limit, 0.0, math.inf
                if self._remaining is None or self._remaining > self._flying:
                    self._flying += 1
                    return now
                # What comes back meanwhile wakes us: it may tell of a later count than the one we go by.
                pause = min(self._latest, until) - now
                if pause <= 0 or (self._flying == 0 and self._latest > until):
                    raise _exhausted(self._latest - now)
                self._wait(self._changed, pause)

    def landed(self, sent: float, status: int | None = None, headers: Mapping[str, str] | None = None) -> None:
        """A call came back, or did not. `sent` is what `acquire` returned; 401 and 418 count for somebody else."""
        with self._changed:
            self._flying -= 1
            told = headers is not None and status not in (401, 418) and self._learn(sent, status, headers)
            if not told and self._remaining and self._latest < math.inf:
                self._remaining -= 1
            self._changed.notify_all()

    def _learn(self, sent: float, status: int | None, headers: Mapping[str, str]) -> bool:
        limit, left, reset = (_number(headers.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining", "reset"))
        wait = reset / 1000 if reset is not None else None
        if status == 429:
            left = 0
            wait = wait if wait is not None else retry_after(headers, datetime.now(UTC))
            wait = wait if wait is not None else _UNTOLD_WAIT
        if left is None or wait is None:
            return False
        if limit:
            self._limit = int(limit)
        now = self._monotonic()
        earliest, latest = sent + wait, now + wait + _MARGIN
        known = self._remaining is not None and status != 429
        if known and latest < self._earliest and earliest < now:
            return True  # it was long on its way: of a window that is over
        if known and earliest <= self._latest and latest >= self._earliest:
            self._remaining = min(self._remaining or 0, int(left))
            self._earliest, self._latest = max(self._earliest, earliest), min(self._latest, latest)
        else:
            self._remaining, self._earliest, self._latest = int(left), earliest, latest
        return True


def _exhausted(seconds: float) -> RateLimitedError:
    error = RateLimitedError(
        "The portal takes no more calls for a while.",
        code="err_quota_exceeded",
        why=f"Its quota is used up; the next calls are given back in {seconds:.0f} seconds.",
        remedy="Wait that long and run the same command again.",
    )
    error.retry_after = seconds
    return error


@dataclass(slots=True)
class Policy:
    """How patiently one portal is called. `per_function`: its quota counts each function for itself."""

    attempts: int = limits.ATTEMPTS
    per_function: bool = False
    chance: Callable[[], float] = random.random
    sleep: Callable[[float], object] = time.sleep
    make_budget: Callable[[], Budget] = Budget
    _budgets: dict[str, Budget] = field(default_factory=dict)

    def budget(self, path: str) -> Budget:
        """The budget that a call of this path is counted in."""
        key = path if self.per_function else ""
        # One step, so that two threads cannot make two.
        return self._budgets.get(key) or self._budgets.setdefault(key, self.make_budget())

    def pause(self, attempt: int, wait: float | None) -> None:
        """Wait before the attempt after this one: as long as the portal asked for, else with jitter."""
        self.sleep(backoff(attempt, self.chance()) if wait is None else wait)


ONCE = Policy(attempts=1)  # a portal in this process: what fails there fails again
