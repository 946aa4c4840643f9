"""Where benchmarks happen: a temporary folder with portal homes, the mail in them, and scripts to run."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from benchmarks.measure import environment
from mimeportal.patterns import fold
from mimeportal_server import people
from mimeportal_server.arrival import reason_code
from mimeportal_server.home import Home
from mimeportal_server.store import schema
from mimeportal_server.store.blobs import name_of

DOMAIN = "example.com"
ADMIN, ANN = f"admin@{DOMAIN}", f"ann@{DOMAIN}"
MAILBOXES = 400
SPAM = "Message Hold Applied - Spam Signature policy"

# A sender with the same number of holds in every home, and a mailbox whose holds are always few enough to be counted.
RARE = "claims@insurer.example"
RARE_HOLDS = 200
COUNTED_HOLDS = 9_600

DAY = 24 * 3_600_000


class Lab:
    """A temporary folder, and what is made in it once. `quick`: everything tiny."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self._homes: dict[int, Path] = {}
        self._made = 0

    def __enter__(self) -> Lab:
        self._temporary = tempfile.TemporaryDirectory(prefix="mimeportal-benchmarks-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()

    def tell(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def new(self, name: str) -> Path:
        """A path in the lab that is not there yet."""
        self._made += 1
        return self.folder / f"{name}-{self._made}"

    def script(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.py"
        path.write_text(text, "utf-8")
        return path

    @cached_property
    def command(self) -> Path:
        """The `mimeportal` command, as an installer writes it."""
        return self.script("mimeportal_command", "import sys\nfrom mimeportal_cli.main import run\nsys.exit(run())\n")

    @cached_property
    def server_command(self) -> Path:
        return self.script("server_command", "import sys\nfrom mimeportal_server.cli import run\nsys.exit(run())\n")

    def env(self, home: Path | None = None, user: str = ADMIN) -> dict[str, str]:
        # Installed programs are compiled: so are ours, after the first run, and into no folder but the lab's.
        named = {
            "MIMEPORTAL_CONFIG_DIR": str(self.folder / "config"),
            "PYTHONPYCACHEPREFIX": str(self.folder / "compiled"),
        }
        if home is not None:
            named |= {"MIMEPORTAL_URL": f"local:{home}", "MIMEPORTAL_USER": user}
        return environment(**named)

    # -- homes -------------------------------------------------------------------------------------------

    def empty_home(self) -> Path:
        """A home with its people and no mail."""
        path = self.new("home")
        home = Home.create(path, DOMAIN, lab=True)
        with home.database.write() as tx:
            for address, role in (
                (ADMIN, "administrator"),
                (ANN, "user"),
                *((_mailbox(n), "user") for n in range(MAILBOXES)),
            ):
                people.add(tx, address, role=role, domains=(DOMAIN,), now=0)
        home.close()
        return path

    def listed_home(self, count: int) -> Path:
        """A home with so many varied holds, of the last 13 days, made once; their octets are absent."""
        if count not in self._homes:
            self.tell(f"  seeding {count:,} holds")
            path = self.empty_home()
            seed(path, _varied(count))
            self._homes[count] = path
        return self._homes[count]

    def mail_home(self, count: int) -> Path:
        """A home with so many holds of ann's, seeded with octets of their own each."""
        self.tell(f"  seeding {count:,} held messages")
        path = self.empty_home()
        seed(path, _with_octets(path / "blobs", count))
        return path

    def copy(self, home: Path) -> Path:
        """The same home once more; octets, which never change, are linked."""
        path = self.new("copy")
        shutil.copytree(home, path, copy_function=_link_octets)
        return path

    # -- mail --------------------------------------------------------------------------------------------

    @cached_property
    def mail(self) -> tuple[Path, str]:
        """A folder of mail, and a word for where it comes from."""
        found = self._corpus()
        folder = self.folder / "mail"
        folder.mkdir()
        if found is None:
            for number in range(self.size(3_000, 40)):
                (folder / f"{number:05}.eml").write_bytes(message(number, long=number % 3 == 0))
            return folder, "generated"
        for number, path in enumerate(sorted(path for path in found.rglob("*") if path.is_file())):
            if number == self.size(3_000, 40):
                break
            shutil.copyfile(path, folder / f"{number:05}.eml")
        return folder, "real"

    def _corpus(self) -> Path | None:
        named = os.environ.get("MIMEPORTAL_CORPUS")
        source = Path(named) if named else Path(__file__).parents[2] / "shared" / "corpus"
        archives = sorted(source.glob("*.tar.gz"))
        if not archives:
            return source if any(source.rglob("*.eml")) else None
        target = self.folder / "corpus"
        for archive in archives:
            with tarfile.open(archive) as tar:
                tar.extractall(target, filter="data")
        return target


def _link_octets(source: str, target: str) -> None:
    if Path(source).parent.parent.name == "blobs":
        os.link(source, target)
    else:
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


# -- seeding ---------------------------------------------------------------------------------------------


def seed(home: Path, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Put rows of (blob, hold) straight into the tables: a message and a hold each, as an import leaves them."""
    database = sqlite3.connect(home / "portal.db", isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -65536"):
        database.execute(f"PRAGMA {pragma}")
    persons = dict(database.execute("SELECT address, id FROM people"))
    indexes = database.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in indexes:
        database.execute(f"DROP INDEX {name}")
    messages, holds = Inserting(schema.messages), Inserting(schema.holds)

    def both() -> Iterator[tuple[list[Any], list[Any]]]:
        for number, (blob, hold) in enumerate(rows, 1):
            message = {**hold, "id": number, "blob": blob, "envelope_from": hold["from_address"]}
            own = {**hold, "id": number, "message_id": number, "person_id": persons[hold["recipient"]]}
            yield messages.values(message), holds.values(own)

    database.execute("BEGIN")
    pending = both()
    while chunk := [pair for _, pair in zip(range(5_000), pending, strict=False)]:
        database.executemany(messages.statement, (message for message, _ in chunk))
        database.executemany(holds.statement, (hold for _, hold in chunk))
    database.execute("COMMIT")
    for _, sql in indexes:
        database.execute(sql)
    database.execute("PRAGMA journal_mode = WAL")
    database.close()
    os.sync()


class Inserting:
    """The statement and the values that put a row into a table, with its defaults."""

    def __init__(self, table: Table) -> None:
        self._columns = [(column.name, getattr(column.default, "arg", None)) for column in table.columns]
        names = ", ".join(name for name, _ in self._columns)
        self.statement = f"INSERT INTO {table.name} ({names}) VALUES ({', '.join('?' * len(self._columns))})"

    def values(self, row: Mapping[str, Any]) -> list[Any]:
        return [row.get(name, default) for name, default in self._columns]


def _mailbox(number: int) -> str:
    return f"person{number:03}@{DOMAIN}"


_REASONS = (
    (SPAM, "Spam Scanning", "spam"),
    ("Message Hold Applied - Attachment Type policy", "Attachment Management", "attachment"),
    ("Message Hold Applied - Content Examination policy", "Content Examination", "content"),
    ("Message Hold Applied - Impersonation Protect policy", "Impersonation Protection", "impersonation"),
    ("Message Hold Applied - URL Protect policy", "URL Protection", "content"),
)
_WORDS = [
    "account",
    "offer",
    "invoice",
    "meeting",
    "weekly",
    "report",
    "your",
    "order",
    "delivery",
    "update",
    "notice",
    "payment",
    "summer",
    "Zürich",
    "résumé",
    "newsletter",
    "reminder",
    "project",
    "budget",
    "review",
    "free",
    "shipping",
    "limited",
    "statement",
    "contract",
    "draft",
    "results",
    "holiday",
]


def one_hold(chance: random.Random, received: int, recipient: str) -> dict[str, Any]:
    reason, policy, kind = _REASONS[min(chance.randrange(12), 11) % len(_REASONS)]
    # A few senders write much, most write little.
    number = int(20_000 * chance.random() ** 3)
    address = f"sender{number}@site{number % 3_000}.example"
    subject = " ".join(chance.choices(_WORDS, k=chance.randint(2, 8))) + f" {chance.randrange(10_000)}"
    return {
        "recipient": recipient,
        "state": "held",
        "level": chance.choices(("user", "moderator", "administrator"), (90, 5, 5))[0],
        "kind": kind,
        "reason": reason,
        "reason_code": reason_code(reason),
        "policy": policy,
        "route": "inbound",
        "from_address": address if number % 2 else f"bounce-{number}@mailer{number % 50}.example",
        "from_header": address,
        "from_name": f"Sender {number}",
        "subject": subject,
        "subject_folded": fold(subject),
        "size": int(chance.lognormvariate(9, 1)),
        "has_attachments": chance.random() < 0.2,
        "received": received,
    }


def _varied(count: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    chance = random.Random(count)
    now = int(time.time() * 1000)
    rare = max(count // min(RARE_HOLDS, count // 2), 1)
    counted = min(count * 6 // 10, COUNTED_HOLDS)
    for number in range(count):
        ours = number * counted // count != (number + 1) * counted // count
        recipient = ANN if ours else _mailbox(int(MAILBOXES * chance.random() ** 2))
        received = now - 13 * DAY + number * (13 * DAY - 60_000) // count
        hold = one_hold(chance, received, recipient)
        if ours:
            hold["level"] = "user"
        if number % rare == 0:
            hold["from_address"] = hold["from_header"] = RARE
        yield f"{number:064x}", hold


def _with_octets(blobs: Path, count: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    chance = random.Random(count)
    now = int(time.time() * 1000)
    for number in range(256):
        (blobs / f"{number:02x}").mkdir(mode=0o700, exist_ok=True)
    for number in range(count):
        octets = message(number)
        name = name_of(octets)
        (blobs / name[:2] / name).write_bytes(octets)
        hold = one_hold(chance, now - 10 * DAY + number * 5_000, ANN)
        yield name, hold | {"level": "user", "size": len(octets)}


def message(number: int, *, long: bool = False) -> bytes:
    """One message of some 2 KiB, or 20 when it is long; each is another."""
    chance = random.Random(number)
    subject = " ".join(chance.choices(_WORDS[:10], k=5))
    lines = [" ".join(chance.choices(_WORDS[:10], k=10)) for _ in range(300 if long else 22)]
    head = (
        f"Received: from relay{number % 50}.example by mx.{DOMAIN}; Fri, 15 Jan 2027 08:00:00 +0000\n"
        f"From: Sender {number} <sender{number}@site{number % 300}.example>\nTo: {ANN}\nSubject: {subject}\n"
        f"Message-ID: <{number}@site.example>\nDate: Fri, 15 Jan 2027 08:00:00 +0000\n"
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n"
    )
    return (head + "\n".join(lines) + "\n").encode()
