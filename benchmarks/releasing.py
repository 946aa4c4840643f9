"""Release in bulk: decided, beside a loop by hand with the same rows and commits; delivered; and its memory."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks.lab import ANN, Lab
from benchmarks.measure import Row, at_least, program, speed

_PER_SECOND = 1_500


def run(lab: Lab) -> list[Row]:
    rows = []
    peaks = []
    for count, rounds in ((lab.size(10_000, 40), lab.size(3, 1)), (lab.size(100_000, 120), 1)):
        home = lab.mail_home(count)
        taken = [{**_in_copy(lab, home, "release"), **_floors(lab, home)} for _ in range(rounds)]
        figure = {name: median(each[name] for each in taken) for name in taken[0]}
        named = f"release of {count:,} (seeded): "
        both = figure["delivered"]
        delivery, copied = speed(count, both - figure["decided"]), speed(count, figure["copied"])
        rows += [
            at_least(named + "decided", count, figure["decided"], figure["loop"], 0.5),
            Row(
                named + "decided and delivered, synced",
                speed(count, both),
                goal=f"at least {_PER_SECOND:,} /s",
                met=count / both >= _PER_SECOND,
            ),
            Row(
                named + "the delivery alone, beside its files",
                delivery,
                copied,
                figure["copied"] / (both - figure["decided"]),
            ),
        ]
        peaks.append(figure["peak"])
    ratio = peaks[1] / peaks[0]
    what = f"{named}peak memory, beside the smaller"
    smaller, larger = (f"{peak / 1024:,.1f} MiB" for peak in peaks)
    return [*rows, Row(what, larger, smaller, ratio, "at most 1.20", ratio <= 1.2)]


def _floors(lab: Lab, home: Path) -> dict[str, float]:
    return {"loop": _in_copy(lab, home, "loop")["decided"], "copied": _in_copy(lab, home, "copy")["copied"]}


def _in_copy(lab: Lab, home: Path, name: str) -> dict[str, float]:
    # Nothing is removed meanwhile: file systems are slow to give out what was freed a moment ago.
    return program(name, str(lab.copy(home)), ANN, env=lab.env())
