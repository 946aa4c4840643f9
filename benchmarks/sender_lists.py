"""Long sender lists: an import beside executemany by hand, and what a list of 100,000 entries costs whoever asks it."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.lab import ANN, Lab
from benchmarks.measure import Act, Row, at_most, by_turns, process, program, speed
from mimeportal.portal import Portal
from mimeportal_server import arrival, incoming, people
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal as Server

_MAIL = b"From: Eve <eve@elsewhere.example>\nTo: ann@example.com\nSubject: Hello\n\nHello.\n"
_ASKED = "user7@sender7.example"
_MOST = 1.5


def run(lab: Lab) -> list[Row]:
    count = lab.size(100_000, 400)
    few = count // 2  # more than what fills the database's cache, which is no growth
    rounds = lab.size(5, 1)
    files = [_entries(lab, number) for number in (count, few)]
    peaks: dict[Path, float] = {}

    def imported(file: Path) -> float:
        figures = program("entries", str(lab.empty_home()), ANN, str(file), env=lab.env())
        peaks[file] = figures["peak"]
        return figures["imported"]

    def by_hand() -> float:
        return program("executemany", str(lab.new("floor")), "", str(files[0]), env=lab.env())["imported"]

    ours, floor = by_turns(rounds, lambda: imported(files[0]), by_hand, warm=lab.size(1, 0))
    imported(files[1])
    shown = f"{peaks[files[0]] / 1024:,.1f} MiB", f"{peaks[files[1]] / 1024:,.1f} MiB"
    ratio = peaks[files[0]] / peaks[files[1]]
    rows = [
        Row(
            f"import of {count:,} entries, each audited, beside executemany of the entries",
            speed(count, ours),
            speed(count, floor),
            floor / ours,
        ),
        Row(f"import of {count:,} entries and {few:,}: peak memory", *shown, ratio, "at most 1.20", ratio <= 1.2),
    ]
    homes = [lab.empty_home() for _ in range(2)]
    program("entries", str(homes[0]), ANN, str(files[0]), env=lab.env())
    rounds = lab.size(31, 1)
    named = f"{count:,} entries and none: "
    rows.append(at_most(named + "senders check", *by_turns(rounds, *(_check(home) for home in homes)), _MOST))
    rows.append(at_most(named + "a message arrives", *by_turns(rounds, *(_arrive(home) for home in homes)), _MOST))
    envs = [lab.env(home, ANN) for home in homes]
    acts = (lambda env=env: process(lab.command, "senders", "check", _ASKED, env=env) for env in envs)
    rows.append(at_most(named + "senders check, whole process", *by_turns(lab.size(11, 1), *acts), _MOST))
    return rows


def _entries(lab: Lab, count: int) -> Path:
    """A file of entries with three bad ones among them."""
    path = lab.new("entries")
    lines = [f"user{number}@sender{number % 5_000}.example" for number in range(count)]
    lines[1] = lines[count // 2] = lines[-1] = "*"
    path.write_text("\n".join(lines) + "\n")
    return path


def _check(home: Path) -> Act:
    portal = Portal.open(f"local:{home}", user=ANN)

    def act() -> float:
        start = time.perf_counter()
        portal.senders.check(_ASKED)
        return time.perf_counter() - start

    return act


def _arrive(home: Path) -> Act:
    server = Server(Home.open(home))
    with server.database.read() as tx:
        person = people.find(tx, ANN)
    if person is None:
        raise SystemExit(f"{home} has no {ANN}")

    def act() -> float:
        message = incoming.parse(_MAIL, None, recipients=[(int(person.id), ANN)], received=server.clock.now())
        start = time.perf_counter()
        arrival.accept(server, [message], door="benchmark")
        return time.perf_counter() - start

    return act
