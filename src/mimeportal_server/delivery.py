"""The outbox: what is queued leaves to the Maildir exactly once, or to an SMTP relay at least once.

Maildir, in batches (promises C.2): N files into spool/, one sync, one commit that says `spooled`, N renames
into outgoing/new/, one sync, one commit that says `delivered`. A spooled row whose file is gone was renamed.

What is wrong with one message, such as octets that are missing, ends that delivery, never the outbox.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select, update

from mimeportal_server import audit, bounces, counting
from mimeportal_server.portal import Portal
from mimeportal_server.steps import reached
from mimeportal_server.store import disk
from mimeportal_server.store.schema import deliveries, holds, mailbox, messages, people

MISSING = "octets missing"

_BATCH = 250
_LOCK_SECONDS = 5.0
_OPEN = deliveries.c.finished.is_(None)


def deliver(portal: Portal, *, wait: float = _LOCK_SECONDS, until: Callable[[], bool] = lambda: False) -> Counter[str]:
    """Deliver what is due, one process per home at a time; counts of `delivered`, `failed` and `queued`.

    When another process delivers, waits up to `wait` seconds for it. Between two batches it ends early when
    `until` says so. `maybe_twice` counts what an end between an SMTP relay's final dot and its reply left in
    doubt. Raises `StoreError` and `OSError` of the home.
    """
    counts: Counter[str] = Counter()
    if not pending(portal):
        return counts
    with disk.only_one(portal.home.delivery_lock, wait) as ours:
        if ours:
            counts["maybe_twice"] += _doubt_interrupted(portal)
            last = 0
            while not counts["unreachable"] and not until() and (batch := _due(portal, last)):
                last = batch[-1].id
                # What is spooled was promised to the Maildir, whatever the settings say now.
                by_smtp = portal.settings.deliver_to == "smtp"
                relayed = [row for row in batch if by_smtp and row.state != "spooled"]
                counts += _maildir(portal, [row for row in batch if not by_smtp or row.state == "spooled"])
                if relayed:
                    counts += _relay()(portal, relayed)
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


# -- what is remembered of a delivery ---------------------------------------------------------------------


def _doubt_interrupted(portal: Portal) -> int:
    """Queue again what an earlier run left between its final dot and the commit of the reply; how many."""
    # Only who holds the lock sends, so whoever was sending these is gone.
    with portal.database.read() as tx:
        rows = tx.execute(select(deliveries).where(_OPEN, deliveries.c.state == "sending")).all()
    if rows:
        with portal.write() as tx:
            _set(tx, rows, state="queued")
            doubt(portal, tx, rows)
        reached("delivery.doubted")
    return len(rows)


def doubt(portal: Portal, tx: Connection, rows: Sequence[Row[Any]]) -> None:
    """Mark deliveries that may arrive twice (promises C.3)."""
    _set(tx, rows, maybe_twice=True)
    _record(portal, tx, "maybe_twice", [(row, {}) for row in rows])


def finish(portal: Portal, tx: Connection, rows: Sequence[Row[Any]], way: str) -> None:
    """Note the good end of deliveries, by `maildir` or `smtp`."""
    now = portal.clock.now()
    _set(tx, rows, state="delivered", way=way, error="", finished=now)
    counting.count_finished(portal, tx, [row.id for row in rows], "delivered", now)
    _record(portal, tx, "done", [(row, {}) for row in rows])


def fail(portal: Portal, tx: Connection, failed: Sequence[tuple[Row[Any], str]]) -> None:
    """End deliveries for good, each with its reason.

    Who released a message is told, its sender never is; of mail that one of the portal's people sent they are told.
    """
    told: list[tuple[Row[Any], dict[str, str]]] = []
    now = portal.clock.now()
    for row, error in failed:
        _set(tx, [row], state="failed", error=error, finished=now)
        detail = {"error": error}
        if row.kind == "released":
            detail["notice"] = _report(portal, tx, row, error)
        elif row.message_id is not None:
            detail["notice"] = _tell_sender(portal, tx, row, error)
        told.append((row, detail))
    counting.count_finished(portal, tx, [row.id for row, _ in failed], "bounced", now)
    _record(portal, tx, "failed", told)


def _report(portal: Portal, tx: Connection, row: Row[Any], error: str) -> str:
    """Tell whoever released a message that it could not be delivered; says what became of the notice."""
    found = tx.execute(
        select(people.c.address, messages.c.subject, holds.c.decided.label("at"), deliveries.c.maybe_twice)
        .select_from(deliveries)
        .join(holds, holds.c.id == deliveries.c.hold_id)
        .join(people, people.c.id == holds.c.decided_by)
        .join(messages, messages.c.id == holds.c.message_id)
        .where(deliveries.c.id == row.id)
    ).first()
    return _notice(portal, tx, row, error, found, "released") if found else "left out: nobody released it"


def _tell_sender(portal: Portal, tx: Connection, row: Row[Any], error: str) -> str:
    """Tell whoever of the portal's people sent a message that it could not be delivered (portal-rules C.10)."""
    found = tx.execute(
        select(people.c.address, messages.c.subject, messages.c.received.label("at"), deliveries.c.maybe_twice)
        .select_from(deliveries)
        .join(messages, messages.c.id == deliveries.c.message_id)
        .join(mailbox, and_(mailbox.c.message_id == messages.c.id, mailbox.c.folder == "sent"))
        .join(people, people.c.id == mailbox.c.person_id)
        .where(deliveries.c.id == row.id, people.c.kind == "person", people.c.disabled.is_(False))
    ).first()
    return _notice(portal, tx, row, error, found, "sent") if found else "left out: no person of this portal sent it"


def _notice(
    portal: Portal, tx: Connection, row: Row[Any], error: str, found: Row[Any, Any, Any, Any], verb: str
) -> str:
    from mimeportal_server import compose

    return compose.queue_delivery_failure_notice(
        portal,
        tx,
        to=found.address,
        recipient=row.recipient,
        subject=found.subject,
        verb=verb,
        at=found.at,
        error=error,
        delivery=f"D{row.id}",
        maybe_delivered=found.maybe_twice,
    )


def _record(portal: Portal, tx: Connection, outcome: str, told: Sequence[tuple[Row[Any], dict[str, str]]]) -> None:
    audit.record(
        tx,
        [
            audit.Act(
                "deliver",
                outcome,
                "delivery",
                row.id,
                {"from": bounces.shown(portal, row.sender), "to": row.recipient, **detail},
            )
            for row, detail in told
        ],
        at=portal.clock.now(),
        caller=None,
        door="delivery",
    )


def _set(tx: Connection, batch: Sequence[Row[Any]], **values: Any) -> None:
    if batch:
        tx.execute(update(deliveries).where(deliveries.c.id.in_([row.id for row in batch])).values(**values))


# -- Maildir --------------------------------------------------------------------------------------------


def file_name(row: Row[Any]) -> str:
    """The name of a delivery's file in the Maildir, the same at every try."""
    return f"{row.queued // 1000}.D{row.id}.mimeportal"


def _maildir(portal: Portal, batch: Sequence[Row[Any]]) -> Counter[str]:
    lost = [row for row in batch if row.state == "queued" and _is_missing(portal, row)]
    if lost:
        with portal.write() as tx:
            fail(portal, tx, [(row, MISSING) for row in lost])
        reached("delivery.failed")
        batch = [row for row in batch if row not in lost]
    if batch:
        for stage in STAGES:
            stage(portal, batch)
    return Counter(delivered=len(batch), failed=len(lost))


def _is_missing(portal: Portal, row: Row[Any]) -> bool:
    """Whether the octets of one message are gone. Raises `OSError` when all are, or cannot be looked at."""
    try:
        portal.home.blobs.path(row.blob).stat()
    except FileNotFoundError:
        portal.home.blobs.folder.stat()  # without the folder nothing is known of this one
        return True
    return False


def spool(portal: Portal, batch: Sequence[Row[Any]]) -> None:
    """Copies of the octets in spool/, durable. The stored octets, nothing added."""
    folder = portal.home.spool
    for row in batch:
        if row.state == "queued":
            disk.write(folder / file_name(row), portal.home.blobs.pieces(row.blob))
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
    spooled, new = portal.home.spool, portal.home.outgoing / "new"
    for row in batch:
        name = file_name(row)
        try:
            os.rename(f"{spooled}/{name}", f"{new}/{name}")
        except FileNotFoundError:
            # Only a file that an earlier run committed as spooled, and that is gone, was delivered by it.
            # That its target folder is missing looks the same, and is another thing.
            if row.state != "spooled" or (spooled / name).exists():
                raise
        reached("delivery.renamed one")
    disk.sync_folder(new)
    disk.sync_folder(spooled)
    reached("delivery.renamed")


def say_delivered(portal: Portal, batch: Sequence[Row[Any]]) -> None:
    """Commit the end of these deliveries."""
    with portal.database.write() as tx:
        finish(portal, tx, batch, "maildir")
    reached("delivery.delivered")


Stage = Callable[[Portal, Sequence[Row[Any]]], None]

# The order is the promise: each stage is durable before the next begins.
STAGES: tuple[Stage, ...] = (spool, say_spooled, rename, say_delivered)


def _relay() -> Callable[[Portal, Sequence[Row[Any]]], Counter[str]]:
    from mimeportal_server.relay import deliver_batch

    return deliver_batch
