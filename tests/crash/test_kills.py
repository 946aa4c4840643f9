"""kill -9 at every named step of import, decision, report and delivery; then again: the same end.

These are a kill at each step; `python -m tests.soak` makes 200.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from killing import MISDELIVERED, RELAY_STEPS, STEPS, Mortal, Scene, fill, prepare, quick_folder

from smtp_peer import Peer


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
    fill(folder / "box")
    prepare(folder / "home")
    return folder


@pytest.fixture
def scene(mortal: Mortal, prepared: Path, quick: Path) -> Iterator[Callable[..., Scene]]:
    folder = quick / "scene"

    def make(**more: Any) -> Scene:
        return Scene.of(mortal, prepared / "home", folder, prepared / "box", **more)

    yield make
    shutil.rmtree(folder)


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


def test_the_story_ends_well_and_names_every_step(scene: Callable[..., Scene]) -> None:
    played = scene()
    assert set(played.play()) == set(STEPS)
    played.check_the_end()
    played.play()
    played.check_the_end()


def test_the_story_ends_well_over_a_relay(scene: Callable[..., Scene], peer: Peer) -> None:
    played = scene(peer=peer)
    assert set(played.play()) == {step for step in STEPS if not step.startswith("delivery.")} | set(RELAY_STEPS)
    played.check_the_end()


# Not the first time, where there is another: then some of the work is done and some is not.
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_leaves_nothing_lost_and_nothing_twice(scene: Callable[..., Scene], step: str) -> None:
    played = scene()
    played.die_and_complete([(step, 2)])
    assert played.hit == [step]


@pytest.mark.parametrize("step", RELAY_STEPS)
def test_a_kill_leaves_a_relay_at_least_one_of_each(scene: Callable[..., Scene], peer: Peer, step: str) -> None:
    played = scene(peer=peer)
    played.die_and_complete([(step, 3)])
    assert played.hit == [step]


def test_a_second_kill_while_the_doubt_is_written_down(scene: Callable[..., Scene], peer: Peer) -> None:
    scene(peer=peer).die_and_complete([("relay.after dot", 2), ("delivery.doubted", 1)])


@pytest.mark.parametrize(
    "kills",
    [
        [("report.added", 1), ("report.line", 1)],
        [("report.planned", 1), ("report.line", 3), ("report.answered", 1)],
        [("delivery.renamed one", 2), ("delivery.renamed one", 1)],
    ],
)
def test_a_kill_in_the_run_that_takes_up_a_killed_one(
    scene: Callable[..., Scene], kills: list[tuple[str, int]]
) -> None:
    scene().die_and_complete(kills)


# The proof that these tests can see: with the order of the commits swapped they must not pass.
@pytest.mark.parametrize(
    ("stages", "kill"),
    [
        (("spool", "say_spooled", "say_delivered", "rename"), ("delivery.delivered", 1)),
        (("say_spooled", "spool", "rename", "say_delivered"), ("delivery.spooled", 1)),
    ],
    ids=["delivered before renamed", "spooled before written"],
)
def test_swapped_commits_are_seen(scene: Callable[..., Scene], stages: tuple[str, ...], kill: tuple[str, int]) -> None:
    played = scene(stages=stages)
    played.play(kill)
    played.play()
    with pytest.raises(AssertionError, match=MISDELIVERED):
        played.check_the_end()
