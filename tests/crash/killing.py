"""What the kills need: a box of mail, a portal home to copy, the process that dies, and what must be true then."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from mimeportal_server import people
from mimeportal_server.delivery import file_name
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal
from mimeportal_server.store.blobs import name_of
from mimeportal_server.store.schema import audit, copies, deliveries, holds, imports, messages, senders
from smtp_peer import Peer

ANN, ADMIN = "ann@example.com", "admin@example.com"
Kill = tuple[str, int]

# Every named step of the story into a Maildir, and those that only a relay has.
STEPS = (
    "blobs.written",
    "blobs.synced",
    "blobs.renamed",
    "import.blobs",
    "import.written",
    "import.committed",
    "report.opened",
    "report.line",
    "report.planned",
    "decision.checked",
    "decision.written",
    "decision.committed",
    "report.answered",
    "report.added",
    "report.finishing",
    "report.finished",
    "delivery.written",
    "delivery.synced",
    "delivery.spooled",
    "delivery.renamed one",
    "delivery.renamed",
    "delivery.delivered",
)
RELAY_STEPS = ("relay.sending", "relay.before dot", "relay.after dot", "relay.replied", "relay.committed")
# A death here leaves in doubt whether the relay has the one message that was on its way.
DOUBTFUL = ("relay.before dot", "relay.after dot", "relay.replied")

MISDELIVERED = "outgoing/ misses messages, or has some twice or altered"

_EXE = (
    "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nSee the file.\n"
    "--b\nContent-Type: application/octet-stream; name=x.exe\nContent-Disposition: attachment\n\nMZ\n--b--\n"
)


def fill(box: Path) -> None:
    """Mail of every fate: delivered at once, to be released, to be rejected, to be left alone; one of them twice."""
    for number in range(4):
        _put(box, f"Plain {number}", "\nHello.\r\r.\nno final newline")
    for number in range(4):
        _put(box, f"Free {number}", "X-Spam-Flag: YES\n\nHello.\n..\n")
    for number in range(2):
        _put(box, f"Refuse {number}", _EXE)
    _put(box, "Keep", "X-Spam-Flag: YES\n\nHello.\n")
    shutil.copy(box / "Free 1.eml", box / "the same again.eml")


def _put(box: Path, subject: str, rest: str) -> None:
    sender = subject.lower().replace(" ", "-") + "@elsewhere.example"
    head = f"From: {sender}\nTo: {ANN}\nSubject: {subject}\nMessage-ID: <{sender}>\n"
    (box / f"{subject}.eml").write_bytes((head + rest).encode())


def prepare(home: Path) -> None:
    """A portal home with its people, ready to be copied."""
    portal = Portal(Home.create(home, "example.com"))
    with portal.write() as tx:
        people.add(tx, ANN, domains=("example.com",), now=0)
        people.add(tx, ADMIN, role="administrator", domains=("example.com",), now=0)
    portal.close()


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory, where there is one: a killed process loses nothing that it has written anywhere."""
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mimeportal-", dir=parent) as folder:
        yield Path(folder)


class Mortal:
    """The process that plays stories and dies in them."""

    def __init__(self, scratch: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("child.py"))],
            env={**os.environ, "TMPDIR": str(scratch)},  # a killed process leaves its selection there
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def play(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that plays stories has ended by itself: see its stderr"
        told: dict[str, Any] = json.loads(answer)
        return told

    def close(self) -> None:
        self._process.communicate(timeout=30)


@dataclass
class Scene:
    """One home of its own, in which the story is played, cut off, and played again."""

    mortal: Mortal
    folder: Path
    box: Path
    stages: Sequence[str] | None = None
    peer: Peer | None = None
    hit: list[str] = field(default_factory=list)
    story = ""

    @classmethod
    def of(cls, mortal: Mortal, prepared: Path, folder: Path, box: Path, **more: Any) -> Scene:
        folder.mkdir()
        shutil.copytree(prepared, folder / "home")
        scene = cls(mortal, folder, box, **more)
        if scene.peer is not None:
            config = scene.home / "portal.toml"
            smtp = f'to = "smtp"\nrelay = "127.0.0.1:{scene.peer.port}"'
            config.write_text(config.read_text().replace('to = "maildir"', smtp))
        return scene

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def play(self, kill: Kill | None = None) -> list[str]:
        """Play the story, to its end or to the kill; the steps it reached."""
        told = self.mortal.play(
            home=str(self.home),
            box=str(self.box),
            reports=str(self.folder),
            kill=kill,
            stages=self.stages,
            story=self.story,
        )
        assert not told["error"], told["error"]
        assert told["signal"] == (signal.SIGKILL if kill else None), f"{kill} was not hit: {told}"
        if kill:
            assert told["steps"][-1] == kill[0]
            self.hit.append(kill[0])
        reached: list[str] = told["steps"]
        return reached

    def die_and_complete(self, kills: Sequence[Kill]) -> None:
        """Die at each kill in turn, play to the end, and see that nothing shows of it."""
        for kill in kills:
            self.play(kill)
            self.check_at_any_time()
        self.play()
        self.check_the_end()

    # -- what must be true ------------------------------------------------------------------------------

    def check_at_any_time(self) -> None:
        """What no moment may show otherwise: a decision is there with all that belongs to it, or not at all."""
        with _Found(self.home) as found:
            decided = {row.from_header for row in found.holds if row.state in ("released", "rejected")}
            assert {row.entry for row in found.senders} == decided
            released = Counter(row.id for row in found.holds if row.state == "released")
            assert Counter(row.hold_id for row in found.deliveries if row.kind == "released") == released
            rejected = sum(row.state == "rejected" for row in found.holds)
            assert sum(row.kind == "written" for row in found.deliveries) == rejected
            assert found.acts["release", "done"] == released.total()
            assert found.acts["reject", "done"] == rejected
            assert sum(count for (act, _), count in found.acts.items() if act == "arrive") == len(found.copies)
            assert len(found.imports) == len(found.messages) == len(found.copies)
            for row in (*found.messages, *found.deliveries):
                assert name_of(found.portal.home.blobs.read(row.blob)) == row.blob
            names = {file_name(row): row for row in found.deliveries}
            for name, octets in found.outgoing.items():
                assert names[name].state in ("spooled", "delivered")
                assert name_of(octets) == names[name].blob

    def check_the_end(self) -> None:
        """Every message once, every decision once, every delivery once, and a record of all."""
        self.check_at_any_time()
        files = {path: path.read_bytes() for path in sorted(self.box.iterdir())}
        subjects = Counter(_subject(octets) for octets in files.values())
        with _Found(self.home) as found:
            assert Counter(row.path for row in found.imports) == Counter(str(path) for path in files)
            assert Counter(row.blob for row in found.messages) == Counter(map(name_of, files.values()))
            states = Counter(
                {"Free": "released", "Refuse": "rejected", "Keep": "held"}[_kind(row)] for row in found.holds
            )
            assert Counter(row.state for row in found.holds) == states
            assert states == {"released": 5, "rejected": 2, "held": 1}
            assert Counter(row.subject for row in found.holds) == Counter(
                {subject: count for subject, count in subjects.items() if not subject.startswith("Plain")}
            )
            lists = {row.entry: row.list for row in found.senders}
            assert lists == {
                _sender(octets): "permitted" if _subject(octets).startswith("Free") else "blocked"
                for octets in files.values()
                if _subject(octets).startswith(("Free", "Refuse"))
            }
            assert {row.state for row in found.deliveries} == {"delivered"}
            assert Counter(row.kind for row in found.deliveries) == {"screened": 4, "released": 5, "written": 2}
            assert found.acts["deliver", "done"] == len(found.deliveries) == 11
            blobs = found.portal.home.blobs
            wanted = [octets for octets in files.values() if _subject(octets).startswith(("Plain", "Free"))] + [
                blobs.read(row.blob) for row in found.deliveries if row.kind == "written"
            ]
            if self.peer is None:
                assert Counter(found.outgoing.values()) == Counter(wanted), MISDELIVERED
                assert not any(row.maybe_twice for row in found.deliveries)
            else:
                self._check_the_peer(found, self.peer)
            assert not list(found.portal.home.spool.iterdir()), "spool/ is not empty"
            ids = [found.portal.sealer.id("hold", row.id) for row in found.holds if row.state != "held"]
        self._check_the_reports(ids)

    def _check_the_peer(self, found: _Found, peer: Peer) -> None:
        assert not found.outgoing
        doubts = [row.id for row in found.deliveries if row.maybe_twice]
        assert len(doubts) == sum(step in DOUBTFUL for step in self.hit)
        assert found.acts["deliver", "maybe_twice"] == len(doubts)
        twice = sum(step in ("relay.after dot", "relay.replied") for step in self.hit)
        until = time.monotonic() + 5
        while len(peer.taken) < len(found.deliveries) + twice and time.monotonic() < until:
            time.sleep(0.01)  # the dead process's last message may still be on its way
        times = peer.times()
        assert set(times) == {row.id for row in found.deliveries}
        assert times.total() == len(found.deliveries) + twice
        assert all(times[row.id] == 1 for row in found.deliveries if not row.maybe_twice)
        octets = {row.id: found.portal.home.blobs.read(row.blob) for row in found.deliveries}
        for taken in peer.taken:
            sent = re.sub(rb"\r\n|\r|\n", b"\r\n", octets[taken.delivery])
            assert taken.octets == (sent if sent.endswith(b"\r\n") else sent + b"\r\n")

    def _check_the_reports(self, ids: list[str]) -> None:
        reported: Counter[str] = Counter()
        for verb in ("release", "reject"):
            assert not (self.folder / f"{verb}.todo").exists()
            for line in (self.folder / verb).read_text().splitlines():
                told = json.loads(line)
                assert told["action"] == verb
                assert told["outcome"] in ("done", "already")
                reported[told["id"]] += 1
        assert reported == Counter(ids)


class _Found:
    """Everything a home remembers, read once."""

    def __init__(self, home: Path) -> None:
        self.portal = Portal(Home.open(home))
        with self.portal.database.read() as tx:
            self.messages = tx.execute(select(messages)).all()
            self.imports = tx.execute(select(imports)).all()
            self.copies = tx.execute(select(copies)).all()
            self.holds = tx.execute(select(holds)).all()
            self.senders = tx.execute(select(senders)).all()
            self.deliveries = tx.execute(select(deliveries)).all()
            self.acts = Counter((row.action, row.outcome) for row in tx.execute(select(audit)))
        self.outgoing = {file.name: file.read_bytes() for file in (home / "outgoing" / "new").iterdir()}

    def __enter__(self) -> _Found:
        return self

    def __exit__(self, *_: object) -> None:
        self.portal.close()


def _kind(row: Any) -> str:
    return str(row.subject).partition(" ")[0]


def _subject(octets: bytes) -> str:
    return re.findall(rb"Subject: (.*)", octets)[0].decode()  # type: ignore[no-any-return]


def _sender(octets: bytes) -> str:
    return re.findall(rb"From: (.*)", octets)[0].decode()  # type: ignore[no-any-return]
