"""Import of a folder of mail, beside programs that only hash, parse headers, write, sync and insert."""

from __future__ import annotations

from pathlib import Path

from benchmarks.lab import ANN, SPAM, Lab
from benchmarks.measure import Act, Row, at_least, by_turns, process, program


def run(lab: Lab) -> list[Row]:
    folder, origin = lab.mail
    count = len(list(folder.iterdir()))
    env = lab.env()

    def ours() -> float:
        home = lab.empty_home()
        arguments = ("import", str(folder), "--home", str(home), "--recipient", ANN, "--hold", SPAM)
        return process(lab.server_command, *arguments, env=env)

    taken, *floors = by_turns(
        lab.size(5, 1), ours, *(_floor(lab, folder, way, env) for way in ("file", "batch")), warm=lab.size(1, 0)
    )
    what = f"import of {count:,} messages ({origin} mail), floor syncs each "
    return [
        at_least(what + way, count, taken, floor, 0.5) for way, floor in zip(("file", "batch"), floors, strict=True)
    ]


def _floor(lab: Lab, folder: Path, way: str, env: dict[str, str]) -> Act:
    def act() -> float:
        return float(program("import", str(folder), str(lab.new("floor")), way, env=env)["process"])

    return act
