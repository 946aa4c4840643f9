"""What a sweep does: mark what is over its time, let go of octets that nothing keeps, deliver what is queued."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select, true, update

from mimeportal.auth import flows
from mimeportal_server import (
    audit,
    auto_permit,
    deciding,
    delivery,
    digests,
    largefile_keeping,
    largefile_scan,
    ranking,
    requested,
    room,
    searching,
    secure_access,
)
from mimeportal_server import uploads as uploading
from mimeportal_server.clock import DAY, HOUR
from mimeportal_server.portal import Portal
from mimeportal_server.steps import reached
from mimeportal_server.store.schema import (
    bindings,
    copies,
    deliveries,
    holds,
    login_failures,
    mailbox,
    messages,
    secure_messages,
    signed_requests,
    tokens,
    uploads,
)

_BATCH = 500
_REFRESHED = 30  # days for which an expired binding can be refreshed; later a log-in makes another


def sweep(portal: Portal, *, scan: bool = True) -> Counter[str]:
    """Everything that time brings; counts of `expired`, `marked`, `purged`, `digests`, `delivered`, `failed`,
    `queued`.

    Also what `largefile_keeping` and, unless somebody else scans, `largefile_scan` count.

    While the clock is not believed nothing expires and nothing is let go (promises F.2).
    """
    counts: Counter[str] = Counter()
    portal.follow_lab()
    if portal.clock.fault() is None:
        counts["expired"] = deciding.expire_overdue(portal, true())
        _lapse(portal)
        counts["marked"] = _mark(portal)
        counts["purged"] = _purge(portal)
        uploading.sweep(portal)
        _remove_strays(portal)
        _forget_log_ins(portal)
        with portal.write() as tx:
            requested.forget(tx, now=portal.clock.now())
            ranking.forget(tx, now=portal.clock.now())
        counts += digests.send_due(portal)
        counts += largefile_keeping.sweep(portal)
    if scan:
        counts += largefile_scan.run(portal)
    counts += delivery.deliver(portal)
    return counts


def _lapse(portal: Portal) -> None:
    """Let go of auto-permitted senders that were not written to for their time (portal-rules D.18)."""
    more = True
    while more:
        with portal.write() as tx:
            more = bool(auto_permit.lapse(tx, portal.clock.steady(), portal.clock.now()))


def _mark(portal: Portal) -> int:
    """Mark messages that nothing keeps any more; their octets stay for another day."""
    now = portal.clock.now()
    with portal.write() as tx:
        unmarked = and_(messages.c.purge_marked.is_(None), ~_kept(portal))
        marked = tx.execute(update(messages).where(unmarked).values(purge_marked=now))
        tx.execute(
            update(messages)
            .where(messages.c.purge_marked.is_not(None), messages.c.purged.is_(None), _kept(portal))
            .values(purge_marked=None)
        )
    return int(marked.rowcount)


def _kept(portal: Portal) -> ColumnElement[bool]:
    """Whether anything keeps a message: it is held, on its way or refused there, or archived (portal-rules B.4, B.22).

    A secure message is kept for as long as the account sets.

    Of a rejected message only the metadata is kept; of what lies in a mailbox, the archive copy.
    """
    hold = holds.c.message_id == messages.c.id
    reasons = [
        exists().where(hold, holds.c.state == "held"),
        exists().where(
            deliveries.c.message_id == messages.c.id,
            # What the next hop would not take is kept (promises C.3): it exists nowhere else.
            or_(deliveries.c.finished.is_(None), deliveries.c.state == "failed"),
        ),
    ]
    secure = secure_messages.c.message_id == messages.c.id
    reasons.append(exists().where(secure, secure_messages.c.sent > secure_access.edge(portal)))
    if portal.settings.archiving:
        reasons.append(exists().where(mailbox.c.message_id == messages.c.id))
    return or_(*reasons)


def _purge(portal: Portal) -> int:
    """Delete the octets of messages that were marked a day ago or earlier."""
    total = 0
    for batch in _marked(portal):
        with portal.write() as tx:
            names = {row.blob for row in batch}
            tx.execute(
                update(messages)
                .where(messages.c.id.in_([row.id for row in batch]), ~_kept(portal))
                .values(purged=portal.clock.now())
            )
            still = set(
                tx.scalars(select(messages.c.blob).where(messages.c.blob.in_(names), messages.c.purged.is_(None)))
            ) | _outgoing(tx, names)
            _give_back(tx, [row.id for row in batch])
            searching.forget(tx, [row.id for row in batch])
            acts = [audit.Act("purge", "done", "message", row.id) for row in batch if row.blob not in still]
            audit.record(tx, acts, at=portal.clock.now(), caller=None, door="sweep")
        # Octets go only after the commit that says so: a kill in between leaves a stray file, never a gap.
        reached("sweep.purged")
        total += let_go(portal, names - still)
    return total


def let_go(portal: Portal, names: Iterable[str]) -> int:
    """Delete octets that no row names; how many. The write lock keeps out arrivals that count on them."""
    deleted = 0
    with portal.write() as tx:
        for name in names:
            if not _named(tx, name):
                portal.home.blobs.delete(name)
                deleted += 1
    return deleted


def _give_back(tx: Connection, message_ids: Sequence[int]) -> None:
    """Take purged messages off what is counted against their people's quota."""
    kept = tx.execute(
        select(copies.c.person_id, func.sum(messages.c.size).label("octets"))
        .join(messages, messages.c.id == copies.c.message_id)
        .where(messages.c.id.in_(message_ids), messages.c.purged.is_not(None))
        .group_by(copies.c.person_id)
    ).all()
    for row in kept:
        room.give_back(tx, row.person_id, row.octets)


def _marked(portal: Portal) -> Iterator[list[Any]]:
    last = 0
    while True:
        with portal.database.read() as tx:
            batch = list(
                tx.execute(
                    select(messages.c.id, messages.c.blob)
                    .where(
                        messages.c.id > last,
                        messages.c.purged.is_(None),
                        messages.c.purge_marked <= portal.clock.now() - DAY,
                    )
                    .order_by(messages.c.id)
                    .limit(_BATCH)
                )
            )
        if not batch:
            return
        last = batch[-1].id
        yield batch


def _outgoing(tx: Connection, names: set[str]) -> set[str]:
    return set(
        tx.scalars(select(deliveries.c.blob).where(deliveries.c.blob.in_(names), deliveries.c.finished.is_(None)))
    )


def _forget_log_ins(portal: Portal) -> None:
    """Forget what no log-in can come of any more; all of it goes by the machine's clock."""
    now = portal.clock.machine()
    # A date may be as far ahead as behind; an hour more, for a clock that was set back by less than is noticed.
    dated = now - 2 * flows.SKEW_SECONDS * 1000 - HOUR
    with portal.write() as tx:
        tx.execute(delete(signed_requests).where(signed_requests.c.at < dated))
        tx.execute(delete(login_failures).where(login_failures.c.at < now - DAY))
        tx.execute(delete(tokens).where(tokens.c.expires < now - DAY))  # until then it is told that they expired
        tx.execute(delete(bindings).where(bindings.c.expires < now - _REFRESHED * DAY))


def _remove_strays(portal: Portal) -> None:
    """Files that no message names: what a kill left between the file and the row, once it is a day old."""
    old = time.time() - DAY / 1000
    portal.home.blobs.forget_unfinished(old)
    with portal.database.read() as tx:
        strays = [
            name
            for name in portal.home.blobs.names()
            if portal.home.blobs.path(name).stat().st_mtime < old and not _named(tx, name)
        ]
    if strays:
        let_go(portal, strays)


def _named(tx: Connection, name: str) -> bool:
    message = select(func.count()).select_from(messages).where(messages.c.blob == name)
    if tx.scalar(message.where(messages.c.purged.is_(None))):
        return True
    if tx.scalar(select(func.count()).select_from(uploads).where(uploads.c.blob == name)):
        return True
    return bool(
        tx.scalar(
            select(func.count())
            .select_from(deliveries)
            .where(deliveries.c.blob == name, deliveries.c.finished.is_(None))
        )
    )
