"""Measuring by turns (A B A B), medians, and the table of what came out."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# One measurement: prepares what it needs, and returns only what counts, mostly seconds.
Act = Callable[[], float]

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `met` says whether the goal is met, None where there is none."""

    what: str
    ours: str
    floor: str = ""
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None


def at_most(what: str, ours: float, floor: float, most: float) -> Row:
    """A row of two times: ours may take `most` times as long."""
    ratio = ours / floor
    return Row(what, seconds(ours), seconds(floor), ratio, f"at most {most:.2f}", ratio <= most)


def at_least(what: str, count: int, ours: float, floor: float, least: float) -> Row:
    """A row of two speeds over `count` things: ours must be at least `least` of the floor's."""
    ratio = floor / ours
    return Row(what, speed(count, ours), speed(count, floor), ratio, f"at least {least:.2f}", ratio >= least)


def seconds(value: float) -> str:
    return f"{value * 1000:,.1f} ms" if value < 1 else f"{value:,.2f} s"


def speed(count: int, value: float) -> str:
    return f"{count / value:,.0f} /s"


def by_turns(rounds: int, *acts: Act, warm: int = 1) -> list[float]:
    """The median of each act, measured one after the other, round by round."""
    for _ in range(warm):
        for act in acts:
            act()
    taken: list[list[float]] = [[] for _ in acts]
    for _ in range(rounds):
        for act, figures in zip(acts, taken, strict=True):
            figures.append(act())
    return [statistics.median(figures) for figures in taken]


def environment(**more: str) -> dict[str, str]:
    """The environment of a measured process: no setting of ours but `more`; our packages wherever it runs."""
    without = ("MIMEPORTAL_", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    paths = [os.path.abspath(path) for path in kept.get("PYTHONPATH", "").split(os.pathsep) if path]
    return {**kept, **({"PYTHONPATH": os.pathsep.join(paths)} if paths else {}), **more}


def process(script: Path, *arguments: str, env: Mapping[str, str]) -> float:
    """How long a script takes as a process of its own, its output going to a pipe."""
    return _run([str(script), *arguments], env)[0]


def program(name: str, *arguments: str, env: Mapping[str, str]) -> dict[str, Any]:
    """What a program of this package (see `programs`) measured of itself; `process` is how long it took in all."""
    taken, output = _run(["-m", "benchmarks.programs", name, *arguments], env)
    return {**json.loads(output), "process": taken}


def _run(arguments: Sequence[str], env: Mapping[str, str]) -> tuple[float, bytes]:
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=env, cwd=_ROOT, capture_output=True, check=False)
    taken = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr.decode()}")
    return taken, done.stdout


def table(rows: Sequence[Row]) -> list[str]:
    """The rows, aligned."""
    lines = [("what", "ours", "floor", "ratio", "goal")]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append((row.what, row.ours, row.floor, ratio, row.goal))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    shown = []
    for what, ours, floor, ratio, goal in lines:
        cells = (what.ljust(widths[0]), ours.rjust(widths[1]), floor.rjust(widths[2]), ratio.rjust(widths[3]), goal)
        shown.append("  ".join(cells).rstrip())
    return shown
