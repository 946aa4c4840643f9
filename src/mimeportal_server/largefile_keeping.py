"""What time brings for large files: uploads given up, sends whose 90 days are over, files that nothing names."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import Connection, Row, select, update

from mimeportal_server import audit
from mimeportal_server.clock import DAY
from mimeportal_server.largefile_rows import has_status
from mimeportal_server.largefile_states import KEPT
from mimeportal_server.largefile_upload import let_go
from mimeportal_server.portal import Portal
from mimeportal_server.steps import reached
from mimeportal_server.store.schema import largefile_files, largefiles

GIVEN_UP = "The upload was paused for seven days."
RESTORED = "The portal was restored from a backup while it was uploaded."


def sweep(portal: Portal) -> Counter[str]:
    """Counts of `uploads given up` and of `large files purged`."""
    counts: Counter[str] = Counter()
    counts["uploads given up"] = _give_up(portal)
    _mark(portal)
    counts["large files purged"] = _purge(portal)
    remove_strays(portal)
    return counts


def _give_up(portal: Portal) -> int:
    with portal.write() as tx:
        over = largefiles.c.state.in_(("uploading", "paused")) & has_status(portal, "failed")
        rows = tx.execute(select(largefiles).where(over)).all()
        for row in rows:
            _end(portal, tx, row, "failed", GIVEN_UP, "give up large files")
    return len(rows)


def _mark(portal: Portal) -> None:
    """Mark sends whose time is over; their octets stay for another day of running time (promises F.2)."""
    with portal.write() as tx:
        over = (largefiles.c.state == "active") & (largefiles.c.sent <= portal.clock.steady() - KEPT)
        unmarked = over & largefiles.c.purge_marked.is_(None) & largefiles.c.purged.is_(None)
        tx.execute(update(largefiles).where(unmarked).values(purge_marked=portal.clock.now()))


def _purge(portal: Portal) -> int:
    with portal.write() as tx:
        marked = largefiles.c.purged.is_(None) & (largefiles.c.purge_marked <= portal.clock.now() - DAY)
        rows = tx.execute(select(largefiles).where(marked)).all()
        for row in rows:
            _end(portal, tx, row, row.state, "", "purge large files")
    # Octets go only after the commit that says so; what a kill leaves between is a stray.
    reached("largefile.purged")
    return len(rows)


def _end(portal: Portal, tx: Connection, row: Row[tuple[object, ...]], state: str, reason: str, action: str) -> None:
    let_go(portal, tx, row, state, reason)
    act = audit.Act(action, "done", "largefile", row.id)
    audit.record(tx, [act], at=portal.clock.now(), caller=None, door="sweep")


def remove_strays(portal: Portal) -> None:
    """Files of sends whose octets went, and of none: they are made under the write lock, so none is on its way."""
    large = portal.home.large_files
    with portal.write() as tx:
        kept = set(
            tx.scalars(
                select(largefile_files.c.id)
                .join(largefiles, largefiles.c.id == largefile_files.c.largefile_id)
                .where(largefiles.c.purged.is_(None))
            )
        )
        for number in large.numbers():
            if number not in kept:
                large.delete(number)


def after_restore(portal: Portal, tx: Connection) -> None:
    """What was being uploaded is not in a backup: such sends have failed, and can be uploaded anew."""
    unfinished = largefiles.c.state.in_(("uploading", "paused"))
    for row in tx.execute(select(largefiles).where(unfinished)).all():
        let_go(portal, tx, row, "failed", RESTORED)
