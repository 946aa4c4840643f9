"""Large files and kills: one process that does all of it, or a command and a portal that die one by one."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from email import message_from_bytes, policy
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from killing import ANN, Kill, Scene, prepare
from sqlalchemy import select

from mimeportal import limits
from mimeportal_server import apps
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal
from mimeportal_server.store.schema import audit, largefile_files, largefile_recipients, largefiles, people

# Every named step of a send with one recipient; a chunk comes several times.
STEPS = (
    "largefile.begun",
    "largefile.begun, committed",
    "largefile.chunk written",
    "largefile.chunk noted",
    "largefile.hashed",
    "largefile.checked",
    "largefile.notified",
    "largefile.finished",
    "largefile.finished, committed",
)
CHUNKS = 5  # of the file that is sent
_TESTS = Path(__file__).parents[1]


def fill(box: Path, chunks: int = CHUNKS) -> Path:
    """One file of so many chunks, the last of them short."""
    path = box / "large.bin"
    path.write_bytes(os.urandom((chunks - 1) * limits.CHUNK + 1000))
    return path


class LargeScene(Scene):
    """A home of its own, in which files are sent by one process that dies."""

    story = "large files"

    def check_at_any_time(self) -> None:
        check(self.home, sorted(self.box.iterdir()), complete=False)

    def check_the_end(self) -> None:
        check(self.home, sorted(self.box.iterdir()), complete=True)


def check(home: Path, files: list[Path], *, complete: bool) -> None:
    """What no moment may show otherwise; and, once it is complete, that all of it is there once."""
    portal = Portal(Home.open(home))
    try:
        with portal.database.read() as tx:
            sends = tx.execute(select(largefiles)).all()
            rows = tx.execute(select(largefile_files).order_by(largefile_files.c.position)).all()
            notified = list(tx.scalars(select(largefile_recipients.c.notified)))
            acts = Counter(tx.scalars(select(audit.c.action)))
            (octets,) = tx.scalars(select(people.c.octets).where(people.c.address == ANN))
        assert len(sends) <= 1, "there are two sends"
        assert octets == sum(send.size for send in sends)
        assert acts["finish large files"] == sum(send.state == "active" for send in sends)
        digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
        for row, digest in zip(rows, digests, strict=False):
            assert row.sha256 in ("", digest)
            if row.sha256:
                stored = portal.home.large_files.path(row.id).read_bytes()
                assert hashlib.sha256(stored).hexdigest() == digest
        if complete:
            assert [send.state for send in sends] == ["active"]
            assert [row.sha256 for row in rows] == digests
            assert notified == ["queued"]
            assert len(notifications(home)) == 1, "the recipient was mailed twice, or not at all"
    finally:
        portal.close()


def notifications(home: Path) -> list[str]:
    """The texts of what was delivered."""
    found = (home / "outgoing" / "new").iterdir()
    return [str(message_from_bytes(path.read_bytes(), policy=policy.default).get_content()) for path in found]


# -- two processes, over HTTP ---------------------------------------------------------------------------------


class Pair:
    """A portal that is served, and a command that sends to it; either may be killed at any moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        prepare(self.home)
        portal = Portal(Home.open(self.home))
        with portal.write() as tx:
            _, app = apps.add(portal, tx, "robot", role="administrator", scopes=(), content_view=True)
        portal.close()
        shown: dict[str, Any] = asdict(app)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "MIMEPORTAL_URL": f"http://127.0.0.1:{self.port}",
            "MIMEPORTAL_USER": ANN,
            "MIMEPORTAL_CLIENT_ID": shown["client_id"],
            "MIMEPORTAL_CLIENT_SECRET": shown["client_secret"],
            "MIMEPORTAL_CONFIG_DIR": str(folder / "config"),
        }

    @contextmanager
    def served(self, kill: Kill | None = None) -> Iterator[subprocess.Popen[str]]:
        """The portal in a process of its own, which dies at a step."""
        step, number = kill or ("", 0)
        serving = subprocess.Popen(
            [sys.executable, str(_TESTS / "crash" / "large_server.py"), self.home, str(self.port), step, str(number)],
            env={**self._environment, "PYTHONPATH": os.pathsep.join([*sys.path, str(_TESTS)])},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert serving.stdout is not None
            assert serving.stdout.readline() == "ready\n"
            yield serving
        finally:
            serving.terminate()
            serving.communicate(timeout=60)

    def sending(self, path: Path) -> subprocess.Popen[str]:
        """The command, on its way."""
        words = ("largefiles", "send", path, "--to", "out@elsewhere.example", "--subject", "Plans")
        return subprocess.Popen(
            [sys.executable, "-m", "mimeportal_cli", *words],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def noted(self) -> int:
        """How many chunks have arrived of the first file."""
        try:
            sums = (self.home / "largefiles" / "1.sums").read_bytes()
        except FileNotFoundError:
            return 0
        return sum(sums[start : start + 8] != bytes(8) for start in range(0, len(sums), 8))

    def kill_the_portal(self, path: Path, kill: Kill) -> None:
        """Die in the middle; the command waits for the portal, and goes on by itself."""
        with self.served(kill) as serving:
            sending = self.sending(path)
            assert serving.wait(timeout=60) == -signal.SIGKILL
        with self.served():
            _, said = sending.communicate(timeout=90)
            assert sending.returncode == 0, said
            self.check(path)

    def kill_the_command(self, path: Path, chunks: int) -> int:
        """Die once so many chunks have arrived; the same command goes on. How many had arrived."""
        with self.served():
            sending = self.sending(path)
            until = time.monotonic() + 60
            while self.noted() < chunks:
                assert time.monotonic() < until
                assert sending.poll() is None
                time.sleep(0.002)
            sending.kill()
            sending.communicate()
            arrived = self.noted()
            again = self.sending(path)
            _, said = again.communicate(timeout=90)
            assert again.returncode == 0, said
            self.check(path)
        return arrived

    def check(self, path: Path) -> None:
        """One send, one notification, and at the recipient's end the file."""
        until = time.monotonic() + 20
        while not notifications(self.home) and time.monotonic() < until:
            time.sleep(0.05)
        check(self.home, [path], complete=True)
        assert self.fetched() == hashlib.sha256(path.read_bytes()).hexdigest()

    def fetched(self) -> str:
        """The SHA-256 of what the link in the notification leads to, by its page and its button."""
        link = re.search(r"https?://\S+(/largefiles/link/\S+)", notifications(self.home)[0])
        assert link is not None
        _, headers, _ = self._ask("GET", link[1])
        clean, cookie = headers["location"], headers["set-cookie"].partition(";")[0]
        _, headers, page = self._ask("GET", clean, cookie)
        cookie += "; " + headers["set-cookie"].partition(";")[0]
        token = re.search(rb'name="csrf" value="([^"]+)"', page)
        assert token is not None
        form = urlencode({"csrf": unescape(token[1].decode()), "file": "1"})
        _, headers, _ = self._ask("POST", f"{clean}/fetch", cookie, form)
        status, _, octets = self._ask("GET", urlsplit(headers["location"]).path)
        assert status == 200
        return hashlib.sha256(octets).hexdigest()

    def _ask(self, method: str, path: str, cookie: str = "", form: str = "") -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"cookie": cookie, "content-type": "application/x-www-form-urlencoded"}
            connection.request(method, path, form or None, headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()


def steps_reached(home: Path) -> list[str]:
    """What a portal that was killed had reached, in order."""
    return [json.loads(line) for line in (home.parent / "steps").read_text().splitlines()]
