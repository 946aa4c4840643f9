"""Running the command inside the test's process: on pipes, or on a terminal that the test holds the other end of."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from conftest import ANN, BOB, Lab
from mimeportal_cli.exits import run_program
from mimeportal_cli.main import cli
from mimeportal_server import apps, passwords, people
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal as ServerPortal
from mimeportal_server.portal import set_fact
from mimeportal_server.serving import Server

WIDTH = 100


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it wrote. On a terminal both streams meet in `out`."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def last(self) -> str:
        return self.err.splitlines()[-1]


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("holds", "list", stdin=...)`: the command with its streams on pipes."""

    def run(*arguments: str, stdin: str | bytes = "") -> Done:
        octets = stdin if isinstance(stdin, bytes) else stdin.encode()
        streams = [io.TextIOWrapper(io.BytesIO(start), encoding="utf-8") for start in (octets, b"", b"")]
        with monkeypatch.context() as patch:
            for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
                patch.setattr(sys, name, stream)
            code = run_program(cli, "mimeportal", list(arguments))
            for stream in streams[1:]:
                stream.flush()
        out, err = (stream.buffer.getvalue().decode() for stream in streams[1:])  # type: ignore[attr-defined]
        return Done(int(code), out, err)

    return run


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`on_terminal("holds", "list", answer="y")`: the command with all streams on a terminal of 100 columns."""

    def run(*arguments: str, answer: str = "") -> Done:
        master, slave = pty.openpty()
        _no_echo(slave)
        seen: list[bytes] = []
        reader = threading.Thread(target=_read_all, args=(master, seen))
        reader.start()
        if answer:
            os.write(master, answer.encode() + b"\n")
        modes = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
        with monkeypatch.context() as patch:
            patch.setenv("COLUMNS", str(WIDTH))
            patch.setenv("TERM", "xterm")
            streams = [open(os.dup(slave), mode, encoding="utf-8") for _, mode in modes]  # noqa: SIM115
            for (name, _), stream in zip(modes, streams, strict=True):
                patch.setattr(sys, name, stream)
            code = run_program(cli, "mimeportal", list(arguments))
            for stream in streams:
                stream.close()
        os.close(slave)
        reader.join()
        os.close(master)
        return Done(int(code), b"".join(seen).decode().replace("\r\n", "\n"), "")

    return run


def _no_echo(descriptor: int) -> None:
    import termios

    attributes = termios.tcgetattr(descriptor)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)


def _read_all(master: int, seen: list[bytes]) -> None:
    while True:
        select.select([master], [], [])
        try:
            octets = os.read(master, 65536)
        except OSError:  # the other end is closed
            return
        if not octets:
            return
        seen.append(octets)


# -- a home with held mail, made once and copied ---------------------------------------------------------------

HTML_MAIL = (
    b"From: Bank <info@bank.example>\nTo: ann@example.com\nSubject: Statement\nMIME-Version: 1.0\n"
    b'Content-Type: multipart/mixed; boundary="b"\n\n'
    b"--b\nContent-Type: text/html; charset=utf-8\n\n"
    b'<p>See <a href="http://evil.example/login">your bank</a><img src="http://track.example/p.gif"></p>\n'
    b'--b\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename="../../run me.exe"\n\n'
    b"hello\n--b--\n"
)


def message(sender: str, subject: str, *, to: str = ANN) -> bytes:
    """A small message, the same in every run."""
    date = "Fri, 15 Jan 2027 08:00:00 +0000"
    return f"From: {sender}\nTo: {to}\nSubject: {subject}\nDate: {date}\n\nHello.\n".encode()


def fill(lab: Lab) -> None:
    """Two messages of bob's, then ann's six, the oldest first."""
    lab.receive(message("Eve <eve@elsewhere.example>", "For bob", to=BOB), to=BOB)
    lab.receive(message("Eve <eve@elsewhere.example>", "For bob, moderated", to=BOB), to=BOB, level="moderator")
    for number in (1, 2, 3):
        envelope = "bounce@mailer.example" if number == 2 else "offers@shop.example"
        lab.receive(message("Shop <offers@shop.example>", f"Offer {number}"), envelope_from=envelope)
    lab.receive(message("Eve <eve@elsewhere.example>", "\x1b[31m=1+1 \u202egnp.exe 日本語"), envelope_from="")
    lab.receive(HTML_MAIL, envelope_from="info@bank.example")
    lab.receive(message("News <news@press.example>", "Headlines"), envelope_from="news@press.example")


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "home"
    lab = Lab(path)
    fill(lab)
    lab.server.close()
    return path


@pytest.fixture
def home(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return at_home(filled, tmp_path, monkeypatch)


def at_home(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a home, which `MIMEPORTAL_URL` names, for ann. The working folder is the one around it."""
    path = tmp_path / "home"
    shutil.copytree(filled, path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIMEPORTAL_URL", f"local:{path}")
    monkeypatch.setenv("MIMEPORTAL_USER", ANN)
    return path


def advance(home: Path, days: float) -> None:
    """Move the time of a home on; this machine's stays where it is."""
    portal = ServerPortal(Home.open(home))
    with portal.database.write() as tx:
        set_fact(tx, "lab", "1")
        set_fact(tx, "clock_offset", str(int(days * 86_400_000)))
    portal.close()


@pytest.fixture
def ids(run: Run, home: Path) -> list[str]:
    """The ids of ann's messages, newest first."""
    return run("holds", "list", "--columns", "id").lines


@pytest.fixture
def outgoing(home: Path) -> Callable[[], int]:
    """How many messages have been delivered."""
    return lambda: len(list((home / "outgoing" / "new").iterdir()))


ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def plain(text: str) -> str:
    """What a person sees of a terminal's text: without colours, and without what was written over."""
    lines = [line.rpartition("\r\x1b[K")[2].rpartition("\r")[2] for line in text.split("\n")]
    return ESCAPES.sub("", "\n".join(lines))


# -- a portal over HTTP --------------------------------------------------------------------------------------------

PASSWORD = "Canary-Pass-1"


@dataclass(frozen=True)
class Served:
    """The home with ann's mail, served; ann has the password `PASSWORD`, and there is the app `app`."""

    path: Path
    url: str
    portal: ServerPortal
    app: dict[str, str]

    def password_file(self, text: str = PASSWORD) -> str:
        path = self.path.parent / f"password-{len(list(self.path.parent.iterdir()))}"
        path.touch(0o600)
        path.write_text(text)
        return str(path)

    @property
    def app2(self) -> dict[str, str]:
        """The variables of API 2.0."""
        return self._variables("client_id", "client_secret")

    @property
    def app1(self) -> dict[str, str]:
        """The variables of API 1.0."""
        return self._variables("app_id", "app_key", "access_key", "secret_key")

    def _variables(self, *names: str) -> dict[str, str]:
        return {f"MIMEPORTAL_{name.upper()}": self.app[name] for name in names}


@pytest.fixture(scope="session")
def with_logins(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    path = tmp_path_factory.mktemp("logins") / "home"
    shutil.copytree(filled, path)
    portal = ServerPortal(Home.open(path))
    with portal.write() as tx:
        _, shown = apps.add(portal, tx, "app", role="administrator", scopes=(), content_view=True)
        for name, login in (("dom", "domain"), ("sso", "sso"), ("two", "two-step")):
            people.add(tx, f"{name}@example.com", login=login, domains=("example.com",), now=0)
    for name in (ANN, "two@example.com"):
        with portal.database.read() as tx:
            caller = people.caller_of(tx, name, "test")
        assert caller is not None
        passwords.change(portal, caller, None, PASSWORD, peer="", request_id="")
    portal.close()
    return path, asdict(shown)


@pytest.fixture
def served(
    with_logins: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Served]:
    """That home on a port of its own. Nothing in the environment names it."""
    template, app = with_logins
    path = tmp_path / "served"
    shutil.copytree(template, path)
    monkeypatch.chdir(tmp_path)
    with Server(path, http=("127.0.0.1", 0)) as server:
        yield Served(path, server.http_url, server.portal, app)
