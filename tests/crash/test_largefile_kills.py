"""kill -9 in the middle of sending large files, of either side: the same command goes on, and all of it is there once.

`python -m tests.soak --large` kills command and portal 20 times each.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from killing import Mortal, prepare, quick_folder
from large import STEPS, LargeScene, Pair, fill, steps_reached


@pytest.fixture(scope="module")
def quick() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def mortal(quick: Path) -> Iterator[Mortal]:
    mortal = Mortal(quick)
    yield mortal
    mortal.close()


@pytest.fixture(scope="module")
def prepared(quick: Path) -> Path:
    folder = quick / "prepared"
    (folder / "box").mkdir(parents=True)
    fill(folder / "box", chunks=3)
    (folder / "box" / "small.txt").write_bytes(b"small")
    prepare(folder / "home")
    return folder


@pytest.fixture
def scene(mortal: Mortal, prepared: Path, quick: Path) -> Iterator[Callable[[], LargeScene]]:
    folder = quick / "scene"

    def make() -> LargeScene:
        scene = LargeScene.of(mortal, prepared / "home", folder, prepared / "box")
        assert isinstance(scene, LargeScene)
        return scene

    yield make
    shutil.rmtree(folder)


def test_it_ends_well_and_names_every_step(scene: Callable[[], LargeScene]) -> None:
    played = scene()
    assert {step for step in played.play() if step.startswith("largefile.")} == set(STEPS)
    played.check_the_end()
    played.play()
    played.check_the_end()


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_each_step(scene: Callable[[], LargeScene], step: str) -> None:
    played = scene()
    played.die_and_complete([(step, 1)])
    assert played.hit == [step]


def test_a_kill_in_the_run_that_goes_on(scene: Callable[[], LargeScene]) -> None:
    scene().die_and_complete([("largefile.chunk noted", 2), ("largefile.hashed", 1), ("largefile.checked", 1)])


def test_what_had_arrived_is_not_written_again(scene: Callable[[], LargeScene]) -> None:
    played = scene()
    first = played.play(("largefile.chunk noted", 2))
    second = played.play()
    assert first.count("largefile.chunk noted") == 2
    assert second.count("largefile.chunk noted") == 2, "one is left of the large file, and the small one"


def test_the_portal_dies_and_the_command_waits_for_it(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.kill_the_portal(fill(tmp_path), ("largefile.chunk noted", 3))
    noted = steps_reached(pair.home).count("largefile.chunk noted")
    assert 5 <= noted <= 8, "only what was on its way at that moment came twice"


def test_the_command_dies_and_is_typed_again(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    assert pair.kill_the_command(fill(tmp_path, chunks=20), 2) >= 1
