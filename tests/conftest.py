"""What tests share: portal homes, people, mail of our own writing, the folder of real mail, a clean environment."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import insert

from mimeportal.portal import Portal as Client
from mimeportal_server import arrival, counting, importing, incoming, people, settings
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal, set_fact
from mimeportal_server.settings import HoldRule
from mimeportal_server.store.schema import rejections

ANN, BOB, MOD, ADMIN = "ann@example.com", "bob@example.com", "mod@example.com", "admin@example.com"
SPAM = "Message Hold Applied - Spam Signature policy"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No setting of the machine reaches a test."""
    for name in list(os.environ):
        if name.startswith("MIMEPORTAL_") and name not in ("MIMEPORTAL_CORPUS", "MIMEPORTAL_STRANGERS"):
            monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MIMEPORTAL_CONFIG_DIR", str(tmp_path_factory.mktemp("config")))
    monkeypatch.setenv("TZ", "UTC")
    # Whoever runs the tests keeps their keyring to themselves: without one, secrets lie in files.
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")


def absent(component: str) -> NoReturn:
    """Skip a test whose component this machine lacks; in CI, which installs it, that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{component} is absent, and .ci/run should have installed it")
    pytest.skip(f"{component} is absent")


@cache
def template_home() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mimeportal-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    home = Home.create(folder / "home", "example.com")
    with home.database.write() as tx:
        for address, role, scopes in (
            (ANN, "user", ()),
            (BOB, "user", ()),
            (MOD, "user", (BOB,)),
            (ADMIN, "administrator", ()),
        ):
            people.add(tx, address, role=role, scopes=scopes, domains=("example.com",), now=0)
    home.close()
    return home.path


class Lab:
    """A portal home with ann, bob, mod (moderates bob) and admin, and a clock that tests set. Chance draws 0.5."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.time = time.time()
        # Making a home takes longer than most tests: it is made once, and copied with a key and code of its own.
        shutil.copytree(template_home(), path)
        (path / "secret.key").write_bytes(secrets.token_bytes(32))
        self.server = Portal(Home.open(path), wall=lambda: self.time, chance=lambda: 0.5)
        self.server.account_code = f"LOCAL-{secrets.token_hex(4).upper()}"
        with self.server.database.write() as tx:
            set_fact(tx, "account_code", self.server.account_code)

    @property
    def url(self) -> str:
        return f"local:{self.path}"

    def configure(self, text: str, *, section: str = "") -> None:
        """Add lines to portal.toml, or to a section that it has; there they take the place of those it has."""
        config = self.server.home.config
        lines = config.read_text()
        if section:
            head, line, rest = lines.partition(f"[{section}]\n")
            own, gap, others = rest.partition("\n\n")
            names = {entry.partition(" =")[0] for entry in text.splitlines()}
            kept = [entry for entry in own.splitlines() if entry.partition(" =")[0] not in names]
            lines = head + line + "\n".join([*kept, text]) + gap + others
        else:
            lines = f"{lines}\n{text}\n"
        config.write_text(lines)
        self.server.settings = self.server.home.settings = settings.load(config)

    def advance(self, *, days: float = 0, hours: float = 0) -> None:
        """Move the portal's time, by the offset that is no step of the clock."""
        self.server.clock.offset += int((days * 24 + hours) * 3_600_000)
        with self.server.database.write() as tx:
            set_fact(tx, "clock_offset", str(self.server.clock.offset))

    def step(self, *, days: float) -> None:
        """Set the machine's clock."""
        self.time += days * 86400

    def client(self, address: str = ANN, *, api: str = "local") -> Client:
        """The SDK as one of the people, through the embedded door, by this lab's clock."""
        from mimeportal_server.embedded import EmbeddedTransport

        transport = EmbeddedTransport(self.path, address, api=api, wall=lambda: self.time)  # type: ignore[arg-type]
        return Client(transport)

    def receive(
        self,
        octets: bytes,
        *,
        to: str = ANN,
        envelope_from: str | None = None,
        reason: str | None = SPAM,
        level: str | None = None,
        kind: str | None = None,
    ) -> list[incoming.Result]:
        """One message comes in; held for `reason`, or screened when that is None."""
        hold = importing.hold_of(reason) if reason else None
        if hold and (level or kind):
            hold = HoldRule(hold.policy, kind or hold.kind, hold.reason, level or hold.level)
        with self.server.database.read() as tx:
            person = people.find(tx, to)
        assert person is not None
        message = incoming.parse(
            octets,
            envelope_from,
            recipients=[(int(person.id), to)],
            received=self.server.clock.now(),
            hold=hold,
        )
        return arrival.accept(self.server, [message], door="test")[0]

    def refuse(self, sender: str, recipient: str) -> None:
        """As the SMTP door records that it refused a recipient."""
        now = self.server.clock.now()
        addresses = {"sender": sender, "recipient": recipient, "remote_ip": "192.0.2.7", "remote_host": "mx.example"}
        row = {"at": now, **addresses, "type": "unknown", "info": "550", "route": "inbound"}
        with self.server.write() as tx:
            tx.execute(insert(rejections), row)
            counting.count(self.server, tx, Counter({("traffic", now, "inbound", "rejected"): 1}))

    def outgoing(self) -> list[Path]:
        return sorted((self.path / "outgoing" / "new").iterdir())


def mail_of(
    sender: str = "Eve <eve@elsewhere.example>",
    subject: str = "Hello",
    body: str = "Hello Ann.\n",
    *,
    to: str = ANN,
    extra: str = "",
) -> bytes:
    """A small message of our own writing."""
    head = f"From: {sender}\nTo: {to}\nSubject: {subject}\nMessage-ID: <{abs(hash(subject))}@elsewhere.example>\n"
    return (head + extra + "Date: Fri, 15 Jan 2027 08:00:00 +0000\n\n" + body).encode()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path / "home")
    yield lab
    lab.server.close()


@pytest.fixture
def mail() -> Callable[..., bytes]:
    return mail_of


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of real mail, unpacked; tests that want it are skipped where it is absent."""
    named = os.environ.get("MIMEPORTAL_CORPUS")
    source = Path(named) if named else Path(__file__).parents[2] / "shared" / "corpus"
    if (source / "spam-1").is_dir():
        return source
    archives = sorted(source.glob("*.tar.gz"))
    if not archives:
        pytest.skip("the folder of real mail is absent (MIMEPORTAL_CORPUS)")
    target = tmp_path_factory.mktemp("corpus")
    for archive in archives:
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")
    return target
