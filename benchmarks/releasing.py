"""Release in bulk: decided, beside a loop by hand with the same rows and commits; delivered; and its memory."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.lab import ANN, Lab
from benchmarks.measure import Row, at_least, program, speed


def run(lab: Lab) -> list[Row]:
    rows = []
    peaks = []
    for count, rounds in ((lab.size(10_000, 40), lab.size(3, 1)), (lab.size(100_000, 120), 1)):
        home = lab.mail_home(count)
        taken = [(_in_copy(lab, home, "release"), _in_copy(lab, home, "loop")) for _ in range(rounds)]
        decided, delivered, peak = (
            median(ours[name] for ours, _ in taken) for name in ("decided", "delivered", "peak")
        )
        floor = median(loop["decided"] for _, loop in taken)
        rows += [
            at_least(f"release of {count:,}: decided (seeded)", count, decided, floor, 0.5),
            Row(
                f"release of {count:,}: decided and delivered, synced",
                speed(count, delivered),
                goal="at least 1,500 /s",
                met=count / delivered >= 1_500,
            ),
        ]
        peaks.append(peak)
    ratio = peaks[1] / peaks[0]
    what = f"peak memory of {count:,} beside the smaller release"
    memory = (f"{peak / 1024:,.1f} MiB" for peak in reversed(peaks))
    return [*rows, Row(what, *memory, ratio, "at most 1.20", ratio <= 1.2)]


def _in_copy(lab: Lab, home: Path, name: str) -> dict[str, Any]:
    # Nothing is removed meanwhile: file systems are slow to give out what was freed a moment ago.
    return program(name, str(lab.copy(home)), ANN, env=lab.env())
