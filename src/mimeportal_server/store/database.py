"""The database of a home. Two verbs: `read()` and `write()` (promises A.6)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, select
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import QueuePool

from mimeportal_server.store import schema

BUSY_SECONDS = 10.0
_EMPTIED_SECONDS = 120.0  # for others to let the log be emptied; what they have under way may be a large copy
_WRITE = "mimeportal_write"


class StoreError(Exception):
    """The database cannot be used now: locked, read-only, full or broken. `sentence` says which."""

    def __init__(self, sentence: str, *, passing: bool) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.passing = passing  # the same call may work later


class Database:
    """SQLite in WAL mode with synchronous=FULL; what is committed survives a power cut.

    `busy` is how many seconds another program's write is waited for.
    """

    def __init__(self, path: Path, *, busy: float = BUSY_SECONDS) -> None:
        self.path = path
        self._lock = threading.RLock()  # queues this process's writers, which SQLite would only poll for
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)),
            poolclass=QueuePool,
            connect_args={"check_same_thread": False, "timeout": busy},
        )
        event.listen(self._engine, "connect", _configure)
        event.listen(self._engine, "begin", _begin)

    def create(self, facts: Mapping[str, str]) -> None:
        """Make the tables; note the schema number, and what else is to be known of the home."""
        with self.write() as tx:
            schema.metadata.create_all(tx)
            noted = {"schema": str(schema.SCHEMA), **facts}
            tx.execute(schema.facts.insert(), [{"name": name, "value": value} for name, value in noted.items()])

    def schema_number(self) -> int:
        with self.read() as tx:
            return int(tx.scalar(select(schema.facts.c.value).where(schema.facts.c.name == "schema")) or 0)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view. Raises `StoreError`."""
        with _explained(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that holds the write lock from its start; committed and synced at its end.

        Raises `StoreError`; whatever is raised inside rolls it back.
        """
        with _explained(), self._lock, self._engine.connect() as connection:
            connection = connection.execution_options(**{_WRITE: True})
            with connection.begin():
                yield connection

    def checkpoint(self) -> None:
        """Put what was committed into the file itself, and empty its log.

        Whoever reads the file as it was before, or does the same at this moment, is waited for. Raises `StoreError`.
        """
        until = time.monotonic() + _EMPTIED_SECONDS
        while True:
            with _explained(), self._lock, self._engine.connect() as connection:
                connection.exec_driver_sql("ROLLBACK")  # no transaction may be open meanwhile
                hindered = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar()
                connection.exec_driver_sql("BEGIN")
            if not hindered:
                return
            if time.monotonic() > until:
                raise StoreError("The portal's database is in use by another program.", passing=True)
            time.sleep(0.05)

    def rewrite(self) -> None:
        """Write the whole file anew, so that what was changed or deleted is in no spare room of its pages any more.

        Takes as much room again for as long, and keeps writers waiting, those who only read not. When this returns,
        the old pages are gone.
        """
        with _explained(), self._lock, self._engine.connect() as connection:
            connection.exec_driver_sql("ROLLBACK")  # it is a transaction of its own
            connection.exec_driver_sql("PRAGMA temp_store = FILE")  # a whole copy is too much for memory
            try:
                connection.exec_driver_sql("VACUUM")
            finally:
                connection.exec_driver_sql("PRAGMA temp_store = MEMORY")
                connection.exec_driver_sql("BEGIN")
        self.checkpoint()

    def close(self) -> None:
        self._engine.dispose()


def _configure(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's `begin` event writes BEGIN, not the driver
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "cache_size = -16384",
        "temp_store = MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OperationalError as fault:
        text = str(fault.orig)
        if "locked" in text or "busy" in text:
            raise StoreError("The portal's database is in use by another program.", passing=True) from fault
        if "readonly" in text or "read-only" in text:
            raise StoreError("The portal's database is read-only.", passing=False) from fault
        if "full" in text:
            raise StoreError("The disk of the portal is full.", passing=True) from fault
        raise StoreError(f"The portal's database cannot be used: {text}.", passing=False) from fault
    except DatabaseError as fault:
        if "malformed" in str(fault.orig) or "not a database" in str(fault.orig):
            raise StoreError("The portal's database is damaged.", passing=False) from fault
        raise
