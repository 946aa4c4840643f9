"""Programs that are measured in a process of their own; each prints what it measured of itself as JSON.

import   hashes, parses headers, writes, syncs and inserts what an import does, and nothing else: the floor
release  releases all that a person holds through the SDK, and delivers it
loop     decides the same by hand, with the same rows and commits: the floor
send     sends messages through send-email, and delivers them to the Maildir
maildir  writes the same messages into a Maildir, and nothing else: the floor
copy     copies the same octets to where they are delivered, with the same syncs, and nothing else: the floor
entries  imports a file of entries into a sender list through the SDK
executemany  inserts the lines of the same file, with the same commits, and nothing else: the floor
export   exports the release log of some days to csv, through the portal's door
cursor   writes the same rows with Python's csv writer, from a cursor of SQLite: the floor
siem     reads a file of SIEM events as the client does, and counts what each tells of the flow of mail
zcat     reads the lines of that file from zcat, each by json.loads, and nothing else: the floor
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from hashlib import sha256
from pathlib import Path

_BATCH = 100


def import_(folder: str, target: str, way: str) -> dict[str, float]:
    """The floor of an import. `way`: each `file` is synced by itself, or each `batch` at once."""
    root = Path(target)
    root.mkdir()
    database = sqlite3.connect(root / "floor.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(
        "CREATE TABLE message (id INTEGER PRIMARY KEY, blob, size, sender, recipient, subject, message_id)"
    )
    database.execute("CREATE TABLE hold (id INTEGER PRIMARY KEY, message, state, sender, recipient, subject, received)")
    paths = sorted(Path(folder).iterdir())
    for first in range(0, len(paths), _BATCH):
        _store(root, database, paths[first : first + _BATCH], way, first)
    database.close()
    return {}


def _store(root: Path, database: sqlite3.Connection, paths: Sequence[Path], way: str, first: int) -> None:
    messages, holds = [], []
    for number, path in enumerate(paths, first + 1):
        octets = path.read_bytes()
        name = sha256(octets).hexdigest()
        head = BytesHeaderParser().parsebytes(octets)
        sender, recipient, subject = (str(head.get(field, "")) for field in ("From", "To", "Subject"))
        folder = root / name[:2]
        folder.mkdir(exist_ok=True)
        with open(folder / name, "wb") as file:
            file.write(octets)
            if way == "file":
                file.flush()
                os.fsync(file.fileno())
        messages.append((number, name, len(octets), sender, recipient, subject, str(head.get("Message-ID", ""))))
        holds.append((number, number, "held", sender, recipient, subject, time.time()))
    if way == "batch":
        _sync(root)
    database.execute("BEGIN IMMEDIATE")
    database.executemany(f"INSERT INTO message VALUES ({', '.join('?' * 7)})", _clean(messages))
    database.executemany(f"INSERT INTO hold VALUES ({', '.join('?' * 7)})", _clean(holds))
    database.execute("COMMIT")


def _clean(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    """Without lone surrogates, which SQLite does not take."""
    return [
        [value.encode("utf-8", "replace").decode() if isinstance(value, str) else value for value in row]
        for row in rows
    ]


def _sync(folder: Path) -> None:
    syncfs = getattr(ctypes.CDLL(None), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    syncfs(descriptor)
    os.close(descriptor)


def release(home: str, user: str) -> dict[str, float]:
    """Release everything in a person's queue; closing the portal delivers it."""
    from mimeportal.holds import HoldFilter
    from mimeportal.portal import Portal

    start = time.perf_counter()
    portal = Portal.open(f"local:{home}", user=user)
    with portal.holds.plan("release", filter=HoldFilter()) as plan:
        count = len(plan)
        result = plan.run(concurrency=portal.session.transport.parallel)
    decided = time.perf_counter() - start
    portal.close()
    delivered = time.perf_counter() - start
    arrived = sum(1 for _ in os.scandir(Path(home, "outgoing", "new")))
    if not count == result.totals["done"] == arrived:
        raise SystemExit(f"{count} were planned, {result.totals} came of it, {arrived} arrived")
    return {
        "decided": decided,
        "delivered": delivered,
        "peak": _peak(),
    }


def send(home: str, user: str, count: str, size: str) -> dict[str, float]:
    """So many messages of a few thousand octets to an address outside, `size` of them in a call; closing delivers."""
    from mimeportal.messages.contract import writing
    from mimeportal.portal import Portal
    from mimeportal.wire import Address

    text = "All work and no play makes a dull benchmark.\n" * 50
    items = [
        writing.SendEmailItem(
            to=[Address(email_address=f"pal{number}@outside.example")],
            subject=f"Message {number}",
            plain_body=writing.BodyItem(content=text),
        )
        for number in range(int(count))
    ]
    with Portal.open(f"local:{home}", user=user) as portal:
        portal.account.show()  # whoever measures the messages does not measure the imports
        start = time.perf_counter()
        for first in range(0, len(items), int(size)):
            answer = portal.session.call(writing.SEND_EMAIL, items[first : first + int(size)])
            if answer.failures:
                raise SystemExit(str(answer.failures[0]))
    taken = time.perf_counter() - start
    arrived = sum(1 for _ in os.scandir(Path(home, "outgoing", "new")))
    if arrived != len(items):
        raise SystemExit(f"{len(items)} were sent, {arrived} arrived")
    return {"seconds": taken}


def maildir(folder: str, target: str, way: str) -> dict[str, float]:
    """Each `one` is written, synced and renamed by itself, or each `batch` at once."""
    tmp, new = Path(target, "tmp"), Path(target, "new")
    tmp.mkdir(parents=True)
    new.mkdir()
    paths = sorted(Path(folder).iterdir())
    size = 1 if way == "one" else _BATCH
    start = time.perf_counter()
    for first in range(0, len(paths), size):
        _deliver(paths[first : first + size], tmp, new)
    return {"seconds": time.perf_counter() - start}


def _peak() -> int:
    """The most memory this process ever had, in KiB."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        # Includes what the process was before it became this program.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def copy(home: str, _: str) -> dict[str, float]:
    """The files of a delivery: written, synced, renamed, synced, in batches of 250."""
    blobs, spool, new = (Path(home, *names) for names in (("blobs",), ("spool",), ("outgoing", "new")))
    paths = [path for folder in sorted(blobs.iterdir()) if len(folder.name) == 2 for path in sorted(folder.iterdir())]
    start = time.perf_counter()
    for first in range(0, len(paths), 250):
        _deliver(paths[first : first + 250], spool, new)
    return {"copied": time.perf_counter() - start}


def _deliver(batch: Sequence[Path], spool: Path, new: Path) -> None:
    for path in batch:
        (spool / path.name).write_bytes(path.read_bytes())
    _sync(spool)
    for path in batch:
        os.rename(spool / path.name, new / path.name)
    _sync(new)


def loop(home: str, user: str) -> dict[str, float]:
    """The same decisions, written by hand with SQLAlchemy: 100 a transaction, each table once."""
    from sqlalchemy import bindparam, create_engine, event, func, insert, select, update

    from mimeportal_server.store.schema import audit, audit_details, deliveries, holds, messages, people

    start = time.perf_counter()
    engine = create_engine(f"sqlite:///{home}/portal.db")

    @event.listens_for(engine, "connect")
    def durable(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    now = int(datetime.now(UTC).timestamp() * 1000)
    decide = (
        update(holds)
        .where(holds.c.id == bindparam("hold"), holds.c.state == "held")
        .values(state="released", decided=now, decided_by=bindparam("by"), request_id=bindparam("request"))
    )
    with engine.begin() as tx:
        person = tx.scalar(select(people.c.id).where(people.c.address == user))
        ids = list(tx.scalars(select(holds.c.id).where(holds.c.recipient == user, holds.c.state == "held")))
    for first in range(0, len(ids), _BATCH):
        with engine.begin() as tx:
            rows = tx.execute(
                select(holds, messages.c.blob)
                .join(messages, messages.c.id == holds.c.message_id)
                .where(holds.c.id.in_(ids[first : first + _BATCH]), holds.c.state == "held")
            ).all()
            tx.execute(decide, [{"hold": row.id, "by": person, "request": f"request {first}"} for row in rows])
            tx.execute(
                insert(deliveries),
                [
                    {
                        "message_id": row.message_id,
                        "hold_id": row.id,
                        "blob": row.blob,
                        "kind": "released",
                        "sender": row.from_address,
                        "recipient": row.recipient,
                        "state": "queued",
                        "queued": now,
                    }
                    for row in rows
                ],
            )
            last = tx.scalar(select(func.max(audit.c.id))) or 0
            tx.execute(
                insert(audit),
                [
                    {
                        "id": number,
                        "at": now,
                        "door": "embedded",
                        "actor": person,
                        "action": "release",
                        "outcome": "done",
                        "object_kind": "hold",
                        "object_id": row.id,
                        "request_id": f"request {first}",
                    }
                    for number, row in enumerate(rows, last + 1)
                ],
            )
            details = [
                {"from": row.from_address, "from_header": row.from_header, "to": row.recipient, "subject": row.subject}
                for row in rows
            ]
            tx.execute(
                insert(audit_details),
                [{"audit_id": n, "detail": json.dumps(detail)} for n, detail in enumerate(details, last + 1)],
            )
    engine.dispose()
    return {"decided": time.perf_counter() - start}


def entries(home: str, user: str, file: str) -> dict[str, float]:
    """An import of entries, its time and the most memory it took."""
    from mimeportal.portal import Portal

    with Portal.open(f"local:{home}", user=user) as portal, open(file, "rb") as lines:
        start = time.perf_counter()
        told = portal.senders.import_entries(lines, "blocked")
        taken = time.perf_counter() - start
    if told.refused != 3:
        raise SystemExit(f"{told} is not what this measures")
    return {"imported": taken, "peak": _peak()}


def executemany(path: str, _: str, file: str) -> dict[str, float]:
    """The same entries in one table with the same key, 2,000 a commit."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(
        "CREATE TABLE entry (id INTEGER PRIMARY KEY, person, entry, type, list, added, UNIQUE (person, entry))"
    )
    start = time.perf_counter()
    with open(file) as lines:
        rows = [(1, line.strip(), "address", "blocked", 0) for line in lines if line != "*\n"]
    for first in range(0, len(rows), 2_000):
        database.execute("BEGIN IMMEDIATE")
        database.executemany(
            "INSERT INTO entry (person, entry, type, list, added) VALUES (?, ?, ?, ?, ?)", rows[first : first + 2_000]
        )
        database.execute("COMMIT")
    taken = time.perf_counter() - start
    database.close()
    return {"imported": taken}


def export(home: str, user: str, since: str, until: str, folder: str) -> dict[str, float]:
    from datetime import date

    from mimeportal.portal import Portal
    from mimeportal.reports import Export

    start = time.perf_counter()
    portal = Portal.open(f"local:{home}", user=user)
    plan = Export(since=date.fromisoformat(since), until=date.fromisoformat(until))
    done = portal.reports.export(["releases"], Path(folder), plan)
    portal.close()
    taken = time.perf_counter() - start
    return {"taken": taken, "rows": sum(what.rows for what in done), "peak": _peak()}


def cursor(home: str, since: str, until: str, target: str) -> dict[str, float]:
    import csv

    start = time.perf_counter()
    first, end = (int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() * 1000) for day in (since, until))
    database = sqlite3.connect(f"file:{home}/portal.db?mode=ro", uri=True)
    rows = database.execute(
        "SELECT decided, state, address, from_address, from_header, recipient, subject, route, size, has_attachments, "
        "reason, policy, reject_reason, received FROM holds LEFT JOIN people ON people.id = decided_by "
        "WHERE decided >= ? AND decided < ? ORDER BY decided, holds.id",
        (first, end),
    )
    with open(target, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return {"taken": time.perf_counter() - start, "peak": _peak()}


def siem(path: str) -> dict[str, float]:
    from collections import Counter

    from mimeportal.reports import siem as events

    start = time.perf_counter()
    counted: events.Flow = Counter()
    span = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    with open(path, "rb") as file:
        for batch in events.read_file(iter(lambda: file.read(1 << 16), b"")):
            counted += events.flow("process", batch, *span)
    return {"taken": time.perf_counter() - start, "events": counted.total(), "peak": _peak()}


def zcat(path: str) -> dict[str, float]:
    import subprocess

    start = time.perf_counter()
    with subprocess.Popen(["zcat", path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        count = sum(1 for line in process.stdout if json.loads(line))
    return {"taken": time.perf_counter() - start, "events": count}


PROGRAMS: dict[str, Callable[..., dict[str, float]]] = {
    "import": import_,
    "release": release,
    "loop": loop,
    "copy": copy,
    "maildir": maildir,
    "send": send,
    "entries": entries,
    "executemany": executemany,
    "export": export,
    "cursor": cursor,
    "siem": siem,
    "zcat": zcat,
}

if __name__ == "__main__":
    print(json.dumps(PROGRAMS[sys.argv[1]](*sys.argv[2:])))
