"""1,000 messages through send-email, composed, kept, and handed on to a Maildir, beside the same files written there.

The floor is what any program must do: write each message, sync it, rename it into `new`, sync the folder; for every
message, or for a batch of 100 at once. Ours also composes, keeps a copy among the sent messages, indexes its words and
records who did it: in batches, where little is left of the syncs, that is nearly all there is, and no goal is set.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.lab import ANN, Lab
from benchmarks.measure import Act, Row, at_least, by_turns, program, speed

_WAYS = {"one": 1, "batch": 100}  # messages in one call


def run(lab: Lab) -> list[Row]:
    count = lab.size(1_000, 40)
    rows = []
    for way, size in _WAYS.items():
        octets = lab.new("octets")
        taken, floor = by_turns(
            lab.size(5, 1), _ours(lab, octets, count, size), _floor(lab, octets, way), warm=lab.size(1, 1)
        )
        what = f"{count:,} messages through send-email, {size} a call, floor syncs each {way}"
        if way == "one":
            rows.append(at_least(what, count, taken, floor, 0.25))
        else:
            rows.append(Row(what, speed(count, taken), speed(count, floor), floor / taken))
    return rows


def _ours(lab: Lab, octets: Path, count: int, size: int) -> Act:
    def act() -> float:
        home = lab.empty_home()
        told = program("send", str(home), ANN, str(count), str(size), env=lab.env())
        if not octets.exists():  # what the floor writes: the same messages
            (home / "outgoing" / "new").rename(octets)
        return float(told["seconds"])

    return act


def _floor(lab: Lab, octets: Path, way: str) -> Act:
    def act() -> float:
        return float(program("maildir", str(octets), str(lab.new("floor")), way, env=lab.env())["seconds"])

    return act
