"""A release log exported to csv, traffic of a year from its sums, and a file of SIEM events, beside their floors."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from benchmarks.lab import ADMIN, Lab, one_hold, seed
from benchmarks.measure import Row, at_least, at_most, by_turns, process, program, seconds
from mimeportal_server import counting
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal
from mimeportal_server.store.schema import day_counts

_DAY = 24 * 3_600_000
_DAYS = 20  # over which the log is spread


def run(lab: Lab) -> list[Row]:
    return [*_exports(lab), *_traffic(lab), *_siem(lab)]


# -- a release log ---------------------------------------------------------------------------------------------------


def _exports(lab: Lab) -> list[Row]:
    rows, peaks = [], []
    for count in (lab.size(500_000, 300), lab.size(5_000_000, 900)):
        lab.tell(f"  seeding a release log of {count:,}")
        home = lab.empty_home()
        today = _midnight()
        seed(home, _decided(count, today))
        since, until = (f"{today - timedelta(back):%Y-%m-%d}" for back in (_DAYS, 0))
        folder, target = lab.new("export"), lab.new("floor.csv")
        ours = program("export", str(home), ADMIN, since, until, str(folder), env=lab.env())
        floor = program("cursor", str(home), since, until, str(target), env=lab.env())
        if ours["rows"] != count:
            raise SystemExit(f"{ours['rows']} rows were exported, and {count} are there")
        rows.append(
            at_least(f"export of {count:,} rows of the release log to csv", count, ours["taken"], floor["taken"], 0.15)
        )
        peaks.append(ours["peak"])
        for path in (home, folder):
            shutil.rmtree(path)
        target.unlink()
    smaller, larger = (f"{peak / 1024:,.1f} MiB" for peak in peaks)
    ratio = peaks[1] / peaks[0]
    rows.append(
        Row(f"{rows[-1].what}: peak memory, beside the smaller", larger, smaller, ratio, "at most 1.20", ratio <= 1.2)
    )
    return rows


def _midnight() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _decided(count: int, today: datetime) -> Iterator[tuple[str, Mapping[str, Any]]]:
    chance = random.Random(count)
    start = int(today.timestamp() * 1000) - _DAYS * _DAY
    for number in range(count):
        decided = start + number * (_DAYS * _DAY - 1) // count
        one = one_hold(chance, decided - chance.randrange(3 * _DAY), ADMIN)
        state = chance.choice(("released", "released", "rejected", "expired"))
        by = None if state == "expired" else 1
        yield f"{number:064x}", one | {"state": state, "decided": decided, "decided_by": by, "request_id": "r"}


# -- traffic of a year -----------------------------------------------------------------------------------------------


def _traffic(lab: Lab) -> list[Row]:
    count, days = lab.size(10_000_000, 400), 365
    lab.tell(f"  seeding {count:,} messages of {days} days")
    home = lab.empty_home()
    _messages(home, count, days)
    lab.tell("  counting them")
    portal = Portal(Home.open(home))
    with portal.write() as tx:
        counting.recount(portal, tx)
    portal.close()
    command = ("reports", "show", "traffic", "--since", f"{days}d", "-o", "csv")
    ours, floor = by_turns(
        lab.size(7, 1),
        lambda: process(lab.command, *command, env=lab.env(home)),
        lambda: process(
            lab.script("imports", "import click, sqlalchemy\nfrom pydantic import BaseModel\n"), env=lab.env()
        ),
    )
    what = f"traffic of {days} days, {count:,} messages: whole process"
    rows = [Row(what, seconds(ours), seconds(floor), ours / floor, "at most 1 s", ours <= 1)]
    portal = Portal(Home.open(home))
    start = time.perf_counter()
    with portal.database.read() as tx:
        scanned = {key: number for key, number in counting.scan(portal, tx).items() if number}
    taken = time.perf_counter() - start
    with portal.database.read() as tx:
        kept = {tuple(row[:4]): row[4] for row in tx.execute(select(day_counts))}
    portal.close()
    rows.append(Row("the same by a scan of the tables", seconds(taken), goal="equal", met=scanned == kept))
    shutil.rmtree(home)
    return rows


def _messages(home: Path, count: int, days: int) -> None:
    """Messages with a copy and a delivery each, as mail that is let through leaves them."""
    database = sqlite3.connect(home / "portal.db", isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -65536"):
        database.execute(f"PRAGMA {pragma}")
    start = int(_midnight().timestamp() * 1000) - (days - 1) * _DAY
    step = (days - 1) * _DAY // count
    routes = "CASE number % 10 WHEN 0 THEN 'outbound' WHEN 1 THEN 'internal' ELSE 'inbound' END"
    numbers = f"WITH RECURSIVE seq(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM seq WHERE number < {count}) "
    defaults = _defaults(database)
    for table, values in (
        (
            "messages",
            {"id": "number", "blob": "'b' || number", "route": routes, "received": f"{start} + number * {step}"},
        ),
        ("copies", {"id": "number", "message_id": "number", "person_id": "1", "outcome": "'delivered'"}),
        (
            "deliveries",
            {
                "id": "number",
                "message_id": "number",
                "blob": "'b'",
                "kind": "'screened'",
                "state": "CASE number % 100 WHEN 0 THEN 'failed' ELSE 'delivered' END",
                "finished": f"{start} + number * {step} + 1000",
            },
        ),
    ):
        row = {**defaults[table], **values}
        names, told = ", ".join(row), ", ".join(row.values())
        database.execute(f"INSERT INTO {table} ({names}) {numbers} SELECT {told} FROM seq")
    database.execute("PRAGMA journal_mode = WAL")
    database.close()


def _defaults(database: sqlite3.Connection) -> dict[str, dict[str, str]]:
    """A value for each column that may not be empty."""
    found = {}
    for table in ("messages", "copies", "deliveries"):
        columns = database.execute(f"PRAGMA table_info({table})").fetchall()
        found[table] = {
            name: "0" if kind in ("INTEGER", "BOOLEAN") else "''" for _, name, kind, needed, *_ in columns if needed
        }
    return found


# -- SIEM events -----------------------------------------------------------------------------------------------------


def _siem(lab: Lab) -> list[Row]:
    count = lab.size(1_000_000, 300)
    lab.tell(f"  writing {count:,} SIEM events")
    path = lab.new("events.json.gz")
    chance = random.Random(count)
    with gzip.open(path, "wt", compresslevel=1) as file:
        for number in range(count):
            file.write(json.dumps(_event(number, chance), separators=(",", ":")) + "\n")
    ours, floor = (program(name, str(path), env=lab.env()) for name in ("siem", "zcat"))
    if ours["events"] < count:
        raise SystemExit(f"{ours['events']} events were counted, and {count} are there")
    path.unlink()
    return [at_most(f"a SIEM batch of {count:,} events, counted", ours["taken"], floor["taken"], 1.5)]


def _event(number: int, chance: random.Random) -> dict[str, Any]:
    held = chance.random() < 0.2
    return {
        "processingId": f"N{number}_1660000000",
        "aggregateId": f"J{number}_1660000000",
        "accountId": "CUSA1A1",
        "timestamp": 1659359454000 + number * 300,
        "type": "process",
        "subtype": "Hld" if held else "Acc",
        "action": "Hld" if held else "Acc",
        "holdReason": "Spm" if held else "",
        "senderEnvelope": f"bounce-{number % 999}@lists.sender.example",
        "senderHeader": f"sender{number % 999}@sender.example",
        "recipients": f"person{number % 400}@example.com",
        "subject": f"Your invoice {chance.randrange(100_000)} of July",
        "messageId": f"<{number}@sender.example>",
        "direction": ("Inbound", "Outbound", "Internal")[number % 3],
        "emailSize": str(chance.randrange(100_000)),
        "_offset": number,
        "_partition": 137,
    }
