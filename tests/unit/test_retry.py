"""When a call is repeated, and how the calls that a portal still takes are shared out."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from mimeportal.errors import RateLimitedError
from mimeportal.retry import Budget, Policy, Tried, backoff, may_repeat, retry_after
from mimeportal_server.quota import Quota

UNSENT, HOPELESS, LOST = Tried(sent=False, retryable=True), Tried(sent=False), Tried()


@pytest.mark.parametrize(
    ("tried", "reads", "acts", "doubt"),
    [
        (UNSENT, True, True, False),
        (HOPELESS, False, False, False),  # a certificate that is not trusted stays so
        (LOST, True, False, True),
        (Tried(status=200), False, False, False),
        (Tried(status=200, retryable=True), True, False, False),
        (Tried(status=400), False, False, False),
        (Tried(status=401), False, False, False),
        (Tried(status=403), False, False, False),
        (Tried(status=404), False, False, False),
        (Tried(status=409), False, False, False),
        (Tried(status=418), False, False, False),
        (Tried(status=429), True, True, False),
        (Tried(status=500), True, False, True),
        (Tried(status=500, retryable=True), True, False, True),
        (Tried(status=501), False, False, False),
        (Tried(status=502), True, False, True),
        (Tried(status=503), True, False, True),
        (Tried(status=503, retryable=True), True, True, False),
        (Tried(status=504), True, False, True),
    ],
)
def test_what_is_repeated(tried: Tried, reads: bool, acts: bool, doubt: bool) -> None:
    assert [may_repeat(repeat, tried) for repeat in ("safe", "keyed")] == [reads, reads]
    assert [may_repeat(repeat, tried) for repeat in ("look", "never")] == [acts, acts]
    assert tried.in_doubt is doubt


def test_waits_double_up_to_a_bound_and_are_jittered() -> None:
    assert [backoff(attempt, 1.0) for attempt in (1, 2, 3, 4, 5, 20)] == [0.5, 1, 2, 4, 8, 20]
    assert backoff(4, 0.25) == 1
    assert backoff(9, 0.0) == 0


NOW = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("Tue, 03 Nov 2026 09:31:30 GMT", 90),
        ("Tue, 03 Nov 2026 09:00:00 GMT", 0),
        ("soon", None),
        ("-3", None),
        ("9" * 400, None),
        ("\u0663", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text} if text else {}, NOW) == seconds


def test_a_pause_is_what_was_asked_for_else_a_jittered_one() -> None:
    slept: list[float] = []
    policy = Policy(chance=lambda: 0.5, sleep=slept.append)
    policy.pause(3, None)
    policy.pause(3, 4.0)
    assert slept == [1, 4]


def test_one_budget_for_all_functions_unless_each_is_counted_for_itself() -> None:
    one, each = Policy(), Policy(per_function=True)
    assert one.budget("/a") is one.budget("/b")
    assert each.budget("/a") is not each.budget("/b")
    assert each.budget("/a") is each.budget("/a")


# -- the budget -------------------------------------------------------------------------------------------------


@dataclass
class World:
    """Callers of a portal that counts calls, in a time of its own: nothing here waits."""

    calls: int
    seconds: float
    latency: Any
    concurrency: int = 8
    now: float = 1_000.0
    refused: int = 0
    granted: int = 0
    told: bool = True
    flying: list[tuple[float, float, int, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.quota = Quota(self.calls, self.seconds, monotonic=lambda: self.now)
        self.budget = Budget(monotonic=lambda: self.now, wait=self.wait)

    def wait(self, _changed: threading.Condition, seconds: float) -> None:
        until = self.now + seconds
        if self.flying and min(self.flying)[0] <= until:
            self.land()
        else:
            self.now = until

    def land(self) -> None:
        """Let the next answer arrive."""
        self.flying.sort(key=lambda flight: flight[0])
        arrives, begun, status, headers = self.flying.pop(0)
        self.now = max(self.now, arrives)
        self.budget.landed(begun, status, headers)

    def send(self) -> None:
        """One call: it is counted half way, and answered at its end."""
        if len(self.flying) >= self.concurrency:
            self.land()
        begun = self.budget.acquire()
        there, back = self.latency(), self.latency()
        before = self.now
        self.now += there
        allowance = self.quota.take("app")
        self.now = before
        self.refused += not allowance.granted
        self.granted += allowance.granted
        self.flying.append((before + there + back, begun, 200 if allowance.granted else 429, allowance.headers()))

    def finish(self) -> None:
        while self.flying:
            self.land()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("calls", "seconds"), [(100, 10.0), (9, 1.0), (1, 2.0)])
def test_no_call_is_wasted(calls: int, seconds: float, seed: int) -> None:
    """8 at once against a quota: whatever the latencies, only what was sent before anything was told is refused."""
    chance = Random(seed)
    world = World(calls, seconds, latency=lambda: chance.uniform(0.001, 0.2))
    while world.granted < 4 * calls:
        world.send()
    world.finish()
    assert world.refused <= max(0, 8 - calls)
    assert world.now < 1_000 + 6 * (seconds + 0.5), "nor is time"


def test_a_window_that_others_have_used_up_costs_one_call() -> None:
    world = World(5, 60.0, latency=lambda: 0.1)
    for _ in range(5):
        world.quota.take("app")
    world.send()
    world.finish()
    assert world.refused == 1
    for _ in range(5):
        world.send()
    world.finish()
    assert (world.refused, world.granted) == (1, 5)
    assert world.now >= 1_060


def test_without_headers_nothing_is_held_back() -> None:
    world = World(5, 60.0, latency=lambda: 0.1)
    begun = [world.budget.acquire() for _ in range(500)]
    for one in begun:
        world.budget.landed(one, 200, {})
    for _ in range(500):
        world.budget.acquire()
    assert world.now == 1_000


@pytest.mark.parametrize(
    ("headers", "waited"), [({}, 1.0), ({"retry-after": "30"}, 30.0), ({"x-ratelimit-reset": "2500"}, 2.5)]
)
def test_a_429_holds_everybody_back_for_as_long_as_it_says(headers: dict[str, str], waited: float) -> None:
    world = World(5, 60.0, latency=lambda: 0.1)
    world.budget.landed(world.budget.acquire(), 429, headers)
    world.budget.acquire()
    assert world.now == pytest.approx(1_000 + waited, abs=0.02)


def test_a_refused_log_in_tells_nothing_of_the_quota() -> None:
    """Those answers count for whoever could not be named (mimecast-api-core 5.2)."""
    world = World(5, 60.0, latency=lambda: 0.1)
    headers = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "60000"}
    for status in (401, 418):
        world.budget.landed(world.budget.acquire(), status, headers)
    world.budget.acquire()
    assert world.now == 1_000


def test_a_wait_that_is_too_long_is_told() -> None:
    world = World(5, 60.0, latency=lambda: 0.1)
    headers = {"x-ratelimit-limit": "300", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "3600000"}
    world.budget.landed(world.budget.acquire(), 200, headers)
    with pytest.raises(RateLimitedError, match="no more calls") as told:
        world.budget.acquire()
    assert told.value.retry_after == pytest.approx(3_600, abs=0.1)
    assert world.now == 1_000


def test_a_lost_call_counts_as_one() -> None:
    world = World(5, 60.0, latency=lambda: 0.1)
    world.budget.landed(world.budget.acquire(), 200, told(5, 2, 7_000))
    for _ in range(2):
        world.budget.landed(world.budget.acquire())
    assert world.now == 1_000
    world.budget.acquire()
    assert world.now == pytest.approx(1_007, abs=0.02)


def told(limit: int, remaining: int, reset: int) -> dict[str, str]:
    named = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"x-ratelimit-{name}": str(value) for name, value in named.items()}


def test_a_portal_that_changes_its_quota_is_believed() -> None:
    world = World(5, 60.0, latency=lambda: 0.1)
    world.budget.landed(world.budget.acquire(), 200, told(800, 790, 60_000))
    world.budget.landed(world.budget.acquire(), 200, told(5, 0, 2_000))
    world.budget.acquire()
    assert world.now == pytest.approx(1_002, abs=0.02)


def test_a_429_is_believed_whatever_was_told_before() -> None:
    world = World(5, 60.0, latency=lambda: 0.1)
    world.budget.landed(world.budget.acquire(), 200, told(800, 790, 60_000))
    world.budget.landed(world.budget.acquire(), 429, told(800, 0, 2_000))
    world.budget.acquire()
    assert world.now == pytest.approx(1_002, abs=0.02)


def test_an_answer_that_was_long_on_its_way_tells_of_another_time() -> None:
    world = World(5, 60.0, latency=lambda: 0.1)
    late = world.budget.acquire()
    world.now += 30
    world.budget.landed(world.budget.acquire(), 200, told(5, 4, 60_000))
    world.budget.landed(late, 200, told(5, 0, 20_000))
    for _ in range(4):
        world.budget.acquire()
    assert world.now == 1_030


def test_a_waiting_thread_goes_on_when_a_call_comes_back() -> None:
    """8 threads, real ones: what is on its way counts as used until it is back."""
    budget = Budget()
    headers = {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "1", "x-ratelimit-reset": "200000"}
    budget.landed(budget.acquire(), 200, headers)
    first = budget.acquire()
    passed = threading.Event()

    def second() -> None:
        budget.acquire()
        passed.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not passed.is_set()
    later = {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "99", "x-ratelimit-reset": "900000"}
    budget.landed(first, 200, later)
    assert passed.wait(30)
    thread.join()
