"""What the numbers of reports count, each thing by itself: from here every number is followed to its rows.

`counting` has the sources of what is counted with the act; here are those of what is too little for that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, and_, case, literal, literal_column, null, select

from mimeportal_server import counting, deciding
from mimeportal_server.clock import DAY
from mimeportal_server.deciding import HELD
from mimeportal_server.portal import Portal
from mimeportal_server.report_pages import LogSource, Place, PlacedIn, PlacedRows, Values, Window, instant, merged
from mimeportal_server.store.schema import (
    audit,
    holds,
    largefile_downloads,
    largefile_files,
    largefile_recipients,
    largefiles,
    people,
    secure_copies,
    secure_messages,
)

# -- secure messages ---------------------------------------------------------------------------------------------------

_SENT = (secure_messages.c.sender, secure_messages.c.sender)
_COPIED = secure_copies.join(secure_messages, secure_messages.c.id == secure_copies.c.secure_id)
_FOR_OTHERS = secure_copies.c.part != "sender"
SECURE = (
    counting.Source(
        "secure-messages",
        secure_messages.c.sent,
        secure_messages.c.id,
        secure_messages.c.direction,
        literal("processed"),
        secure_messages,
        literal_column("1") == 1,
        (*_SENT, literal(""), secure_messages.c.subject, null()),
    ),
    counting.Source(
        "secure-messages",
        secure_copies.c.sent,
        secure_copies.c.id,
        secure_messages.c.direction,
        literal("delivered"),
        _COPIED,
        _FOR_OTHERS,
        (*_SENT, secure_copies.c.address, secure_messages.c.subject, null()),
    ),
    counting.Source(
        "secure-messages",
        secure_copies.c.opened,
        secure_copies.c.id,
        secure_messages.c.direction,
        literal("read"),
        _COPIED,
        and_(_FOR_OTHERS, secure_copies.c.opened.is_not(None)),
        (*_SENT, secure_copies.c.address, secure_messages.c.subject, secure_copies.c.address),
    ),
    counting.Source(
        "secure-messages",
        secure_messages.c.recalled,
        secure_messages.c.id,
        secure_messages.c.direction,
        literal("recalled"),
        secure_messages.outerjoin(people, people.c.id == secure_messages.c.recalled_by),
        secure_messages.c.recalled.is_not(None),
        (*_SENT, literal(""), secure_messages.c.subject, people.c.address),
    ),
)

# -- large files -------------------------------------------------------------------------------------------------------

_FETCHED = (
    largefile_downloads.join(largefile_files, largefile_files.c.id == largefile_downloads.c.file_id)
    .join(largefiles, largefiles.c.id == largefile_files.c.largefile_id)
    .join(largefile_recipients, largefile_recipients.c.id == largefile_downloads.c.recipient_id)
)
LARGE = (
    counting.Source(
        "largefiles",
        largefiles.c.sent,
        largefiles.c.id,
        literal(""),
        literal("sent"),
        largefiles,
        largefiles.c.sent.is_not(None),
        (largefiles.c.sender, literal(""), literal(""), largefiles.c.subject, null()),
    ),
    counting.Source(
        "largefiles",
        largefile_downloads.c.completed,
        largefile_downloads.c.id,
        literal(""),
        literal("downloaded"),
        _FETCHED,
        largefile_downloads.c.completed.is_not(None),
        (
            largefiles.c.sender,
            literal(""),
            largefile_recipients.c.address,
            largefile_files.c.name,
            largefile_recipients.c.address,
        ),
    ),
    counting.Source(
        "largefiles",
        largefiles.c.expires,
        largefiles.c.id,
        literal(""),
        literal("expiring"),
        largefiles,
        and_(largefiles.c.sent.is_not(None), largefiles.c.expires.is_not(None)),
        (largefiles.c.sender, literal(""), literal(""), largefiles.c.subject, null()),
    ),
)

# -- log-ins -----------------------------------------------------------------------------------------------------------

LOG_INS = (
    counting.Source(
        "logins",
        audit.c.at,
        audit.c.id,
        audit.c.door,
        case((audit.c.outcome == "done", literal("succeeded")), else_=literal("failed")),
        audit.outerjoin(people, people.c.id == audit.c.object_id),
        audit.c.action == literal_column("'log in'"),  # written out, so that its partial index is used
        (*[literal("")] * 4, people.c.address),
    ),
)


# -- counted and told --------------------------------------------------------------------------------------------------


def by_day(tx: Connection, window: Window, sources: Iterable[counting.Source]) -> Counter[tuple[str, str, str]]:
    """(day, part, event) -> how many, from the rows themselves: for what is too little to be counted with the act."""
    found: Counter[tuple[str, str, str]] = Counter()
    for source in sources:
        for row in tx.execute(source.sums().where(source.at >= window.since, source.at < window.until)):
            day = counting.day_of(window.portal.settings.time_zone, row.quarter * counting.QUARTER)
            found[day, row.part, row.event] += row.number
    return found


def counted(report: str) -> PlacedRows:
    """What a report of `counting` counts, each thing by itself."""

    def rows(tx: Connection, window: Window, after: Place) -> PlacedIn:
        sources = [
            LogSource(source.each(), source.at, source.number, _told)
            for source in (*counting.SOURCES, *SECURE, *LARGE, *LOG_INS)
            if source.report == report
        ]
        if report == "held":
            sources.append(_over_log(window.portal))
        return merged(sources, tx, window, after)

    return rows


def over(tx: Connection, window: Window) -> Iterator[tuple[int, Values]]:
    """What left the queue in these days although no sweep has marked it yet: when, and its row."""
    for (at, _, _), values in _over_log(window.portal).rows(tx, window, 0, (window.since, -1, 0)):
        yield at, values


def _over_log(portal: Portal) -> LogSource:
    keep = portal.settings.hold_days * DAY
    query = select(
        (holds.c.received + keep).label("when"),
        literal("expired"),
        holds.c.reason,
        holds.c.from_address,
        holds.c.from_header,
        holds.c.recipient,
        holds.c.subject,
        null(),
        null(),
    ).where(HELD, holds.c.received <= deciding.expiry_edge(portal))
    return LogSource(query, holds.c.received, holds.c.id, _told, ahead=keep)


def _told(row: Any) -> Values:
    when, event, part, *shown, actor, seconds = row[:9]
    return [instant(when), event, part, *shown, actor or "", seconds]
