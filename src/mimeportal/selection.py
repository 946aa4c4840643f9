"""What a bulk act is about: items, and a frozen selection of them that may be of any size."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to act on: what is done to it, and what a person needs to recognise it."""

    id: str
    action: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    described: Mapping[str, Any] = field(default_factory=dict, hash=False)
    entry: str | None = None
    rule: str | None = None


class Selection:
    """A frozen selection in a temporary file that only its owner can read: unique ids, any number of them."""

    def __init__(self) -> None:
        handle, name = tempfile.mkstemp(prefix="mimeportal-", suffix=".selection")  # mode 0600
        os.close(handle)
        self._path = Path(name)
        self._database = sqlite3.connect(name, isolation_level=None, check_same_thread=False)
        # The file lives no longer than the process: nothing here needs to survive a crash.
        self._database.executescript(
            """
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -4096;
            CREATE TABLE item (
              position INTEGER PRIMARY KEY, id_hash BLOB UNIQUE, date TEXT, entry TEXT, body TEXT
            );
            """
        )
        with suppress(OSError):  # an open file cannot be unlinked on every system
            self._path.unlink()  # so that not even a kill leaves it behind

    def add(self, items: Iterable[Item]) -> None:
        """Spool items in order; an id that is there already is passed over."""
        statement = "INSERT OR IGNORE INTO item (id_hash, date, entry, body) VALUES (?, ?, ?, ?)"
        rows = iter(items)
        while chunk := list(islice(rows, 500)):
            self._database.execute("BEGIN")
            self._database.executemany(
                statement,
                [
                    (_id_hash(item.id), item.described.get("date_received") or "", item.entry, _dump_item(item))
                    for item in chunk
                ],
            )
            self._database.execute("COMMIT")

    def drop(self, ids: Iterable[str]) -> None:
        self._database.executemany("DELETE FROM item WHERE id_hash = ?", ((_id_hash(id),) for id in ids))

    def keep_oldest(self, count: int) -> int:
        """Keep only the `count` oldest by date received; returns how many were dropped."""
        before = len(self)
        self._database.execute(
            "DELETE FROM item WHERE position NOT IN (SELECT position FROM item ORDER BY date, position DESC LIMIT ?)",
            (count,),
        )
        return before - len(self)

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM item").fetchone()[0])

    def __iter__(self) -> Iterator[Item]:
        position = 0
        while True:
            rows = self._database.execute(
                "SELECT position, body FROM item WHERE position > ? ORDER BY position LIMIT 500", (position,)
            ).fetchall()
            if not rows:
                return
            for position, body in rows:  # noqa: B007
                yield _load_item(json.loads(body))

    def entries(self) -> tuple[int, list[str]]:
        """How many different sender list entries would be added, and the first five of them."""
        count = self._database.execute("SELECT count(DISTINCT entry) FROM item").fetchone()[0]
        first = self._database.execute(
            "SELECT entry FROM item WHERE entry IS NOT NULL GROUP BY entry ORDER BY min(position) LIMIT 5"
        )
        return int(count), [row[0] for row in first]

    def close(self) -> None:
        self._database.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Selection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def collect(items: Iterable[Item]) -> Selection:
    """Freeze items into a selection."""
    selection = Selection()
    try:
        selection.add(items)
    except BaseException:
        selection.close()
        raise
    return selection


def _dump_item(item: Item) -> str:
    return json.dumps([item.id, item.action, dict(item.options), dict(item.described), item.entry, item.rule])


def _load_item(body: list[Any]) -> Item:
    return Item(*body)


def _id_hash(id: str) -> bytes:
    return hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
