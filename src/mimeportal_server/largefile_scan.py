"""Large files are scanned before anything of them is offered, where portal.toml names a scanner (`[scan]`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from mimeportal.untrusted import visible
from mimeportal_server import audit, clamd, compose, largefile_access
from mimeportal_server.largefile_rows import files_of
from mimeportal_server.largefile_upload import let_go
from mimeportal_server.portal import Portal
from mimeportal_server.store import disk
from mimeportal_server.store.schema import largefiles


def run(portal: Portal) -> Counter[str]:
    """Scan what waits: counts of `scanned`, `infected` and `not scanned`, the last for a scanner that is away.

    What waits where no scanner is set any more is offered as it is: nothing else would ever end its waiting.
    """
    counts: Counter[str] = Counter()
    with portal.database.read() as tx:
        waiting = [
            (int(row.id), files_of(tx, row.id))
            for row in tx.execute(select(largefiles).where(largefiles.c.state == "scanning"))
        ]
    for number, files in waiting:
        try:
            name, verdict = _scanned(portal, files) if portal.settings.scan else ("", clamd.Verdict())
        except (clamd.Unreachable, FileNotFoundError):
            counts["not scanned"] += 1
            continue
        if _settle(portal, number, name, verdict):
            counts["scanned" if verdict.clean else "infected"] += 1
    return counts


def _scanned(portal: Portal, files: Sequence[Row[Any]]) -> tuple[str, clamd.Verdict]:
    """The first file that is not clean, and what was said of it."""
    for file in files:
        verdict = clamd.scan(portal.settings.scan, disk.pieces(portal.home.large_files.path(file.id)))
        if not verdict.clean:
            return file.name, verdict
    return "", clamd.Verdict()


def _settle(portal: Portal, number: int, name: str, verdict: clamd.Verdict) -> bool:
    """Open the send, or let it fail; False when somebody else has settled it meanwhile."""
    with portal.write() as tx:
        row = tx.execute(select(largefiles).where(largefiles.c.id == number, largefiles.c.state == "scanning")).first()
        if row is None:
            return False
        gone: list[int] = []
        if verdict.clean:
            largefile_access.open_up(portal, tx, row)
        else:
            why = f"{verdict.found} was found in it." if verdict.found else verdict.refused
            reason = f"{visible(name)}: {visible(why)}"
            gone = let_go(portal, tx, row, "failed", reason)
            _tell_sender(portal, tx, row, reason)
        outcome = "clean" if verdict.clean else "infected" if verdict.found else "refused"
        act = audit.Act("scan large files", outcome, "largefile", number, {"file": name, "found": verdict.found})
        audit.record(tx, [act], at=portal.clock.now(), caller=None, door="scan")
    for file in gone:
        portal.home.large_files.delete(file)
    return True


def _tell_sender(portal: Portal, tx: Connection, row: Row[Any], reason: str) -> None:
    lines = [
        "Files that you sent were scanned, and are not offered to anybody.",
        "",
        f"Subject: {visible(row.subject)}",
        f"Reason: {reason}",
        "",
        "They were deleted. This message was written automatically; replies to it are not read.",
    ]
    compose.queue_written(
        portal, tx, "scan", to=row.sender, subject="Large files not sent", lines=lines, automatic="auto-generated"
    )
