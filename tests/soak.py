"""The long runs: `python -m tests.soak` kills 200 times, at every named step, and sees the same end each time.

Every step is hit at each of its occurrences in the story, into a Maildir and over a relay; what is left of the
200 are kills in the very run that takes up a killed one. Prints how often each step was hit; exit code 1 when
any end differs, or when fewer kills were made.

`python -m tests.soak --large` kills a command that sends a large file over HTTP, and then the portal it sends to, in
the middle of the upload, 20 times each; prints where each died.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "crash")]

from killing import RELAY_STEPS, STEPS, Kill, Mortal, Scene, fill, prepare, quick_folder  # noqa: E402
from large import STEPS as LARGE_STEPS  # noqa: E402
from large import Pair  # noqa: E402
from large import fill as fill_large  # noqa: E402
from test_exports import FORMS, World  # noqa: E402
from test_exports import STEPS as EXPORT_STEPS  # noqa: E402

from smtp_peer import Peer  # noqa: E402

KILLS = 200
LARGE_KILLS = 20
LARGE_CHUNKS = 12
EXPORT_KILLS = 50


def exports(folder: Path, kills: int) -> int:
    """Kill exports of reports at each of their steps, again and again; 0 when every one was completed."""
    folder.mkdir()
    world = World(folder)
    wanted = {form: world.wanted(form) for form in FORMS}
    hit: Counter[str] = Counter()
    failed = 0
    for number in range(10 * kills):
        if hit.total() >= kills:
            break
        step, form = EXPORT_STEPS[number % len(EXPORT_STEPS)], FORMS[number // len(EXPORT_STEPS) % len(FORMS)]
        try:
            if world.die_and_complete(step, 1 + number // (len(EXPORT_STEPS) * len(FORMS)), form, wanted[form]):
                hit[step] += 1
        except AssertionError as fault:
            failed += 1
            print(f"killed after {step}: {fault}")
    for step in sorted(hit):
        print(f"{hit[step]:5} export {step}")
    print(f"{hit.total()} kills of exports at {len(hit)} steps, {failed} ends that differ")
    return 1 if failed or set(EXPORT_STEPS) - set(hit) or hit.total() < kills else 0


def main(arguments: list[str] | None = None) -> int:
    """Run the kills; 0 when every end was the same."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=KILLS, help="how many kills at the least")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of double kills")
    parser.add_argument("--large", type=int, nargs="?", const=LARGE_KILLS, help="kills of each side of an upload")
    parser.add_argument("--exports", type=int, nargs="?", const=EXPORT_KILLS, help="kills of exports of reports")
    wanted = parser.parse_args(arguments)
    with quick_folder() as folder:
        if wanted.large:
            return _large(folder, wanted.large, random.Random(wanted.seed))
        if wanted.exports:
            return exports(folder / "exports", wanted.exports)
        return _Soak(folder, wanted.kills, random.Random(wanted.seed)).run()


def _large(folder: Path, kills: int, chance: random.Random) -> int:
    """Kill the command, then the portal, in the middle of uploads; 0 when every end was the same."""
    file = fill_large(folder, LARGE_CHUNKS)
    failed = 0
    for number in range(1, 2 * kills + 1):
        pair = Pair(folder / f"pair-{number}")
        try:
            if number <= kills:
                arrived = pair.kill_the_command(file, chance.randint(1, LARGE_CHUNKS - 3))
                told = f"command, {arrived} of {LARGE_CHUNKS} chunks had arrived"
            else:
                step = LARGE_STEPS[number % len(LARGE_STEPS)]
                kill = (step, chance.randint(1, LARGE_CHUNKS) if ".chunk" in step else 1)
                pair.kill_the_portal(file, kill)
                told = f"portal, at {step}, number {kill[1]}"
            print(f"{number:3} {told}: the recipient has the file", flush=True)
        except AssertionError as fault:
            failed += 1
            print(f"{number:3} {fault}", file=sys.stderr)
        shutil.rmtree(pair.folder)
    print(f"{2 * kills} kills, {failed} ends that differ")
    return 1 if failed else 0


class _Soak:
    def __init__(self, folder: Path, kills: int, chance: random.Random) -> None:
        self.folder = folder
        self.kills = kills
        self.chance = chance
        self.hit: Counter[str] = Counter()
        self.failed = 0
        self.mortal = Mortal(folder)
        (folder / "box").mkdir()
        fill(folder / "box")
        prepare(folder / "prepared")

    def run(self) -> int:
        for relay, kills in self._plan():
            self._scene(relay, kills)
        self.mortal.close()
        for step in sorted(self.hit):
            print(f"{self.hit[step]:5} {step}")
        missed = {*STEPS, *RELAY_STEPS} - set(self.hit)
        print(f"{self.hit.total()} kills at {len(self.hit)} steps, {self.failed} ends that differ")
        if missed:
            print(f"never hit: {', '.join(sorted(missed))}")
        return 1 if self.failed or missed or self.hit.total() < self.kills else 0

    def _plan(self) -> Iterator[tuple[bool, list[Kill]]]:
        """Whether over a relay, and the kills of one scene: first every single one, then pairs."""
        for relay in (False, True):
            for step, count in sorted(self._counted(relay).items()):
                if not relay or step in RELAY_STEPS:
                    yield from ((relay, [(step, number)]) for number in range(1, count + 1))
        while self.hit.total() < self.kills and not self.failed:
            # Late first, early second: what is not there any more in the second run cannot be hit.
            first = self.chance.choice(["decision.committed", "report.added", "delivery.spooled", "import.written"])
            second = self.chance.choice(["decision.written", "delivery.written", "delivery.renamed one"])
            yield False, [(first, self.chance.randint(1, 2)), (second, 1)]

    def _counted(self, relay: bool) -> Counter[str]:
        with Peer() if relay else nullcontext() as peer:
            return Counter(self._set(peer).play())

    def _set(self, peer: Peer | None) -> Scene:
        target = self.folder / "scene"
        shutil.rmtree(target, ignore_errors=True)
        return Scene.of(self.mortal, self.folder / "prepared", target, self.folder / "box", peer=peer)

    def _scene(self, relay: bool, kills: list[Kill]) -> None:
        with Peer() if relay else nullcontext() as peer:
            scene = self._set(peer)
            try:
                scene.die_and_complete(kills)
            except AssertionError as fault:
                self.failed += 1
                print(f"{kills}: {fault}", file=sys.stderr)
            self.hit.update(scene.hit)


if __name__ == "__main__":
    sys.exit(main())
