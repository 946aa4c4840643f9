"""An export is killed at each of its steps: never is there a part of a file under a day's name, and a run completes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import ADMIN, Lab, mail_of
from mimeportal.reports import exporting, files, placing
from mimeportal.reports.exporting import Export

STEPS = ("begun", "written", "synced", "placed", "noted", "advanced")
FORMS = ("csv", "xlsx")
DAYS = 3


def killed_at(step: str, occurrence: int, act: Callable[[], Any]) -> bool:
    """Do something in a fork that dies at a step; whether it did."""
    child = os.fork()
    if child == 0:
        try:
            _mark(step, occurrence)
            act()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _mark(step: str, occurrence: int) -> None:
    left = [occurrence]

    def die(name: str) -> None:
        if name == step:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(owner: Any, name: str, before: str = "", after: str = "") -> None:
        original = getattr(owner, name)

        def marked(*given: Any, **named: Any) -> Any:
            die(before)
            result = original(*given, **named)
            die(after)
            return result

        setattr(owner, name, marked)

    exporter = exporting._Exporting
    for form in FORMS:
        files.FORMS[form] = _cut(files.FORMS[form], die)
    around(exporter, "_write", after="written")
    around(placing, "sync", after="synced")
    around(placing, "put", after="placed")
    around(exporter, "_note", after="noted")
    around(exporter, "_advance", after="advanced")


def _cut(form: Callable[..., int], die: Callable[[str], None]) -> Callable[..., int]:
    """A format that dies once its file has begun: between two batches of rows."""

    def cut(path: Path, row: Any, title: str, batches: Any) -> int:
        def some() -> Iterator[Any]:
            for batch in batches:
                yield batch
                die("begun")

        return form(path, row, title, some())

    return cut


class World:
    """A home with something on each of some days, and exports of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lab = Lab(folder / "home")
        start = self.lab.server.clock.offset
        for back in range(DAYS, 0, -1):
            self.lab.server.clock.offset = start - back * 86_400_000
            for number in range(5):
                self.lab.receive(mail_of(subject=f"{back} {number}"))
        self.lab.server.clock.offset = start
        self.lab.server.close()
        # The lab's time stands still: each `last` into an empty folder takes the same seven days.
        self.until = datetime.fromtimestamp(self.lab.time, UTC).date() - timedelta(1)
        self._count = 0

    def export(self, folder: Path, form: str) -> None:
        portal = self.lab.client(ADMIN)
        plan = Export(until=self.until, format=form)
        done = portal.reports.export(["held", "audit"], folder, plan)
        portal.close()
        assert not [what for what in done if what.outcome == "failed"], done

    def wanted(self, form: str) -> dict[str, bytes]:
        folder = self.folder / f"wanted-{form}"
        self.export(folder, form)
        return contents(folder)

    def die_and_complete(self, step: str, occurrence: int, form: str, wanted: dict[str, bytes]) -> bool:
        """Die at a step, see what is there, then run to the end; whether the step was reached."""
        self._count += 1
        folder = self.folder / f"killed-{self._count}"
        hit = killed_at(step, occurrence, lambda: self.export(folder, form))
        check(folder, wanted)
        self.export(folder, form)
        assert contents(folder) == wanted
        return hit


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check(folder: Path, wanted: dict[str, bytes]) -> None:
    """What has a day's name is that day whole; what the manifest notes is there, and its digest is right."""
    for name, octets in contents(folder).items():
        if "/" in name and is_day(Path(name).stem):
            assert octets == wanted[name], name
        if name.endswith("manifest.json") and not Path(name).name.startswith("."):
            noted = [entry for days in json.loads(octets)["days"].values() for entry in days.values()]
            for entry in noted:
                path = folder / Path(name).parent / entry["file"]
                assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
        if name.endswith("watermark.json") and not Path(name).name.startswith("."):
            manifest = json.loads((folder / Path(name).parent / "manifest.json").read_text())
            for form, mark in json.loads(octets).items():
                assert (date.fromisoformat(mark) - timedelta(1)).isoformat() in manifest["days"][form]


def is_day(stem: str) -> bool:
    try:
        return bool(date.fromisoformat(stem))
    except ValueError:
        return False


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("exports"))


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_a_step(world: World, step: str) -> None:
    form = FORMS[STEPS.index(step) % len(FORMS)]
    assert world.die_and_complete(step, 2, form, world.wanted(form)), "it was reached"


def test_without_a_kill_no_step_dies(world: World) -> None:
    assert not world.die_and_complete("placed", 1_000, "csv", world.wanted("csv"))
