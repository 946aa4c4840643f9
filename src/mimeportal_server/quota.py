"""How many calls a caller may make in a while, what the rate-limit headers say of it (mimecast-api-core 5.2), and
how much may be on its way in."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from mimeportal import limits

_KEPT = 10_000  # windows remembered; old ones are let go above


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one call was granted: `reset` is the number of milliseconds until calls are given back."""

    limit: int
    remaining: int
    reset: int
    granted: bool

    def headers(self) -> dict[str, str]:
        told = {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(self.remaining),
            "x-ratelimit-reset": str(self.reset),
        }
        if not self.granted:
            told["retry-after"] = str(-(-self.reset // 1000))
        return told


class Quota:
    """Counts calls per caller in windows that begin with a caller's first call. Safe to use from several threads."""

    def __init__(
        self,
        calls: int = limits.QUOTA,
        seconds: float = limits.QUOTA_SECONDS,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.calls = calls
        self.seconds = seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[float, int]] = {}  # caller -> (when it ends, calls made)

    def change(self, calls: int, seconds: float) -> None:
        """Count anew, by other limits."""
        with self._lock:
            self.calls, self.seconds = calls, seconds
            self._windows.clear()

    def take(self, caller: str, *, calls: int | None = None) -> Allowance:
        """Count one call of a caller; `calls` is another limit than the portal's own."""
        most = self.calls if calls is None else calls
        now = self._monotonic()
        with self._lock:
            ends, made = self._windows.get(caller, (0.0, 0))
            if now >= ends:
                ends, made = now + self.seconds, 0
                if len(self._windows) >= _KEPT:
                    self._windows = {name: window for name, window in self._windows.items() if window[0] > now}
            granted = made < most
            made += granted
            self._windows[caller] = (ends, made)
        return Allowance(most, most - made, max(1, round((ends - now) * 1000)), granted)


class InFlight:
    """Octets that are on their way in, of everybody and of each network. For one thread."""

    def __init__(self) -> None:
        self.octets = 0
        self._of: Counter[str] = Counter()

    def add(self, network: str, octets: int) -> None:
        self.octets += octets
        self._of[network] += octets

    def remove(self, network: str, octets: int) -> None:
        self.octets -= octets
        self._of[network] -= octets
        if not self._of[network]:
            del self._of[network]

    def is_over(self, network: str, most: int) -> bool:
        """Whether it is too much. A network has half of all: none can shut out the others by sending slowly."""
        return self.octets > most or self._of[network] > most // 2
