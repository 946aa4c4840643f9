"""The outbox: what is queued leaves to the Maildir exactly once, or to an SMTP relay at least once.

Maildir, in batches (promises C.2): N files into spool/, one sync, one commit that says `spooled`, N renames
into outgoing/new/, one sync, one commit that says `delivered`. A spooled row whose file is gone was renamed.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, update

from mimeportal_server import audit
from mimeportal_server.portal import Portal
from mimeportal_server.steps import reached
from mimeportal_server.store import disk
from mimeportal_server.store.schema import deliveries

_BATCH = 250
_LOCK_SECONDS = 5.0
_OPEN = deliveries.c.finished.is_(None)


def deliver(portal: Portal, *, wait: float = _LOCK_SECONDS) -> Counter[str]:
    """Deliver what is due, one process per home at a time; counts of `delivered`, `failed` and `queued`.

    When another process delivers, waits up to `wait` seconds for it.
    """
    counts: Counter[str] = Counter()
    if not pending(portal):
        return counts
    with _only_one(portal.home.delivery_lock, wait) as ours:
        if ours:
            way = _maildir if portal.settings.deliver_to == "maildir" else _relay()
            last = 0
            while batch := _due(portal, last):
                last = batch[-1].id
                counts += way(portal, batch)
    counts["queued"] = pending(portal)
    return counts


def pending(portal: Portal) -> int:
    """How many deliveries are still under way."""
    with portal.database.read() as tx:
        return int(
            tx.scalar(select(func.count()).select_from(deliveries).where(_OPEN, deliveries.c.state != "frozen")) or 0
        )


def _due(portal: Portal, after: int) -> list[Row[Any]]:
    with portal.database.read() as tx:
        return list(
            tx.execute(
                select(deliveries)
                .where(
                    _OPEN,
                    deliveries.c.id > after,
                    deliveries.c.state != "frozen",
                    deliveries.c.not_before <= portal.clock.machine(),
                )
                .order_by(deliveries.c.id)
                .limit(_BATCH)
            )
        )


@contextmanager
def _only_one(lock: Path, wait: float) -> Iterator[bool]:
    """Hold the file lock of the home; false when another process has it all the time."""
    with lock.open("ab") as file:
        until = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    yield False
                    return
                time.sleep(0.05)
        yield True


# -- Maildir --------------------------------------------------------------------------------------------


def file_name(row: Row[Any]) -> str:
    """The name of a delivery's file in the Maildir, the same at every try."""
    return f"{row.queued // 1000}.D{row.id}.mimeportal"


def _maildir(portal: Portal, batch: Sequence[Row[Any]]) -> Counter[str]:
    for stage in STAGES:
        stage(portal, batch)
    return Counter(delivered=len(batch))


def spool(portal: Portal, batch: Sequence[Row[Any]]) -> None:
    """Copies of the octets in spool/, durable. The stored octets, nothing added."""
    for row in batch:
        if row.state == "queued":
            disk.write(portal.home.spool / file_name(row), portal.home.blobs.pieces(row.blob))
    reached("delivery.written")
    disk.sync(portal.home.spool)
    reached("delivery.synced")


def say_spooled(portal: Portal, batch: Sequence[Row[Any]]) -> None:
    """Commit that the files lie in spool/: from here on a missing file means that it was delivered."""
    with portal.database.write() as tx:
        _set(tx, [row for row in batch if row.state == "queued"], state="spooled")
    reached("delivery.spooled")


def rename(portal: Portal, batch: Sequence[Row[Any]]) -> None:
    """Move the files into outgoing/new/, where mail programs see them; durable."""
    for row in batch:
        try:
            os.rename(portal.home.spool / file_name(row), portal.home.outgoing / "new" / file_name(row))
        except FileNotFoundError:
            if row.state == "queued":  # we wrote it a moment ago: this is no earlier delivery
                raise
        reached("delivery.renamed one")
    disk.sync_folder(portal.home.outgoing / "new")
    disk.sync_folder(portal.home.spool)
    reached("delivery.renamed")


def say_delivered(portal: Portal, batch: Sequence[Row[Any]]) -> None:
    """Commit the end of these deliveries."""
    with portal.database.write() as tx:
        _set(tx, batch, state="delivered", finished=portal.clock.now())
        audit.record(
            tx,
            [
                audit.Act("deliver", "done", "delivery", row.id, {"from": row.sender, "to": row.recipient})
                for row in batch
            ],
            at=portal.clock.now(),
            caller=None,
            door="delivery",
        )
    reached("delivery.delivered")


Stage = Callable[[Portal, Sequence[Row[Any]]], None]

# The order is the promise: each stage is durable before the next begins.
STAGES: tuple[Stage, ...] = (spool, say_spooled, rename, say_delivered)


def _set(tx: Connection, batch: Sequence[Row[Any]], **values: Any) -> None:
    if batch:
        statement = update(deliveries).where(deliveries.c.id == bindparam("delivery")).values(**values)
        tx.execute(statement, [{"delivery": row.id} for row in batch])


def _relay() -> Callable[[Portal, Sequence[Row[Any]]], Counter[str]]:
    from mimeportal_server.relay import deliver_batch

    return deliver_batch
