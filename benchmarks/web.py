"""The pages in a browser: a full Inbox, how many log-ins Argon2 permits, and a reader while passwords are guessed."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count as counting
from pathlib import Path

import requests
from argon2 import PasswordHasher

from benchmarks.lab import Lab
from benchmarks.measure import Row, at_most, by_turns, seconds, speed
from benchmarks.secure import OUTSIDE, home_of
from mimeportal_server import passwords
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal

_PASSWORD = "Correct-horse-7"
_MOST = 2  # times as long as a page of a small Inbox
_GUESSES = 200  # a second
_READER = "192.0.2.1"
_networks = counting()


def run(lab: Lab) -> list[Row]:
    sizes = (lab.size(50_000, 400), lab.size(500, 40))
    homes = [home_of(lab, size) for size in sizes]
    rounds = lab.size(31, 1)
    with _served(lab, homes[0]) as full, _served(lab, homes[1]) as small:
        ours, floor = by_turns(rounds, full.page, small.page)
        named = f"Inbox page over HTTP, {sizes[0]:,} secure messages and {sizes[1]:,}"
        return [at_most(named, ours, floor, _MOST), _log_ins(lab, full), *_guessed(lab, full)]


def _log_ins(lab: Lab, portal: _Portal) -> Row:
    """As many at once as the portal checks: each from a network of its own, of an address that nobody has."""
    wanted = lab.size(200, 6)
    start = time.perf_counter()
    with ThreadPoolExecutor(8) as threads:
        done = sum(threads.map(lambda _: portal.guess() == 401, range(wanted)))
    ours = (time.perf_counter() - start) / max(done, 1)
    hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
    start = time.perf_counter()
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(hasher.hash, ["x"] * wanted))
    floor = (time.perf_counter() - start) / wanted
    return Row("log-ins that are checked, beside Argon2 alone", speed(1, ours), speed(1, floor), ours / floor)


def _guessed(lab: Lab, portal: _Portal) -> list[Row]:
    """A reader's page while somebody guesses from as many networks as there are guesses."""
    pages = lab.size(100, 2)
    quiet = statistics.median(portal.page() for _ in range(pages))
    with portal.attacked(_GUESSES):
        time.sleep(lab.size(2, 1) / 4)
        taken = sorted(portal.page() for _ in range(pages))
    named = f"Inbox page under {_GUESSES} guesses a second, beside none"
    rows = []
    for what, ours in (("", statistics.median(taken)), (", 95 % of the pages", taken[int(len(taken) * 0.95)])):
        rows.append(Row(named + what, seconds(ours), seconds(quiet), ours / quiet))
    return rows


@dataclass(frozen=True, slots=True)
class _Visitor:
    """A browser, and what its forms carry."""

    browser: requests.Session
    csrf: str


class _Portal:
    """A portal that runs behind a proxy, which says from which network somebody asks; and its reader."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._reader = self._visitor()
        if self._log_in(self._reader, OUTSIDE, _PASSWORD, _READER) != 303:
            raise SystemExit("the reader was not let in")
        self._guessing = threading.local()

    def page(self) -> float:
        start = time.perf_counter()
        answer = self._reader.browser.get(f"{self._url}/secure/inbox", headers=_from(_READER), timeout=30)
        taken = time.perf_counter() - start
        if "/secure/messages/" not in answer.text:
            raise SystemExit("an empty page is not what this measures")
        return taken

    def guess(self) -> int:
        """One try, from a network of its own."""
        if not hasattr(self._guessing, "visitor"):
            self._guessing.visitor = self._visitor()
        number = next(_networks)
        network = f"198.{18 + number // 65536 % 2}.{number // 256 % 256}.{number % 256}"
        return self._log_in(self._guessing.visitor, f"nobody{number}@elsewhere.example", "wrong", network)

    @contextmanager
    def attacked(self, rate: int) -> Iterator[None]:
        """Guess so often in a second, however the portal answers."""
        ended = threading.Event()

        def attack(worker: int, workers: int) -> None:
            due = time.perf_counter() + worker / rate
            while not ended.wait(max(0.0, due - time.perf_counter())):
                self.guess()
                due += workers / rate

        with ThreadPoolExecutor(16) as threads:
            attackers = [threads.submit(attack, worker, 16) for worker in range(16)]
            try:
                yield
            finally:
                ended.set()
        for attacker in attackers:
            attacker.result()

    def _visitor(self) -> _Visitor:
        browser = requests.Session()
        browser.trust_env = False
        page = browser.get(f"{self._url}/log-in", headers=_from(_READER), timeout=30)
        return _Visitor(browser, re.findall(r'name="csrf" value="([^"]*)"', page.text)[0])

    def _log_in(self, visitor: _Visitor, address: str, password: str, network: str) -> int:
        form = {"csrf": visitor.csrf, "step": "password", "address": address, "password": password}
        answer = visitor.browser.post(
            f"{self._url}/log-in", form, headers=_from(network), allow_redirects=False, timeout=30
        )
        return answer.status_code


def _from(network: str) -> dict[str, str]:
    return {"X-Forwarded-For": network, "X-Forwarded-Proto": "https"}


@contextmanager
def _served(lab: Lab, home: Path) -> Iterator[_Portal]:
    portal = Portal(Home.open(home))
    passwords.replace(portal, OUTSIDE, _PASSWORD, lambda _tx, _person: True, peer="", door="benchmark", request_id="")
    portal.close()
    command = [sys.executable, str(lab.server_command), "serve", "--home", str(home), "--http", "127.0.0.1:0"]
    with (
        open(lab.new("served"), "wb") as log,
        subprocess.Popen(
            [*command, "--behind-proxy"], env=lab.env(), stdout=subprocess.PIPE, stderr=log, text=True
        ) as serving,
    ):
        assert serving.stdout is not None
        words = serving.stdout.readline().split()
        try:
            yield _Portal(words[words.index("--url") + 1])
        finally:
            serving.terminate()
