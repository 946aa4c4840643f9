"""Digests: mail that tells people what is newly held for them, with links to decide on it (portal-rules B.38 to B.42).

They are sent at the hours of portal.toml, in the account's zone. The first lists everything held for a person, later
ones only what is new; without anything new there is no mail. Each link opens a page with one button, and is good for
as long as the hold is undecided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, func, select
from sqlalchemy.dialects.sqlite import insert as upsert

from mimeportal import limits
from mimeportal.untrusted import visible
from mimeportal_server import compose, tokens
from mimeportal_server.clock import DAY, milliseconds, moment
from mimeportal_server.hold_conditions import still_held
from mimeportal_server.portal import Portal, set_fact
from mimeportal_server.store.schema import digests, facts, holds, people

PURPOSE = "digest"  # of the tokens in links; their object is a verb and the numbers of holds
PATH = "/digest"
# What a link does: the decision and its option, and what stands before the link.
VERBS = {"release": "Release", "permit": "Permit", "block": "Block"}
_SLOT = "digest_slot"


def send_due(portal: Portal) -> Counter[str]:
    """Write the digests of the last hour that has come, once; counts `digests` that were queued."""
    counts: Counter[str] = Counter()
    slot = _last_slot(portal)
    if slot is None:
        return counts
    with portal.database.read() as tx:
        done = tx.scalar(select(facts.c.value).where(facts.c.name == _SLOT))
        if int(done or 0) >= slot:
            return counts
        waiting = _with_news(portal, tx)
    for person in waiting:
        with portal.write() as tx:
            counts["digests"] += _write(portal, tx, person)
    with portal.write() as tx:
        set_fact(tx, _SLOT, str(slot))
    return counts


def _last_slot(portal: Portal) -> int | None:
    """The latest moment at which digests were due; None without any, or while the clock is not believed."""
    hours = portal.settings.digest_hours
    if not hours or portal.clock.fault() is not None:
        return None
    now = moment(portal.clock.now()).astimezone(ZoneInfo(portal.settings.time_zone))
    days = (now, now - timedelta(days=1))
    slots = [day.replace(hour=hour, minute=0, second=0, microsecond=0) for day in days for hour in hours]
    return max(milliseconds(slot) for slot in slots if slot <= now)


def _news(portal: Portal) -> Any:
    """Holds that digests tell of and have not told of yet, joined to whose they are."""
    return (
        select(holds, people.c.address)
        .join(people, people.c.id == holds.c.person_id)
        .outerjoin(digests, digests.c.person_id == holds.c.person_id)
        .where(
            still_held(portal),
            holds.c.level == "user",
            holds.c.kind.in_(portal.settings.digest_kinds),
            holds.c.id > func.coalesce(digests.c.last_hold, 0),
            people.c.disabled.is_(False),
        )
    )


def _with_news(portal: Portal, tx: Connection) -> Sequence[int]:
    return tx.scalars(_news(portal).with_only_columns(holds.c.person_id).distinct()).all()


def _write(portal: Portal, tx: Connection, person_id: int) -> int:
    query = _news(portal).where(holds.c.person_id == person_id).order_by(holds.c.id)
    rows = tx.execute(query.limit(limits.DIGEST_ITEMS + 1)).all()
    if not rows:
        return 0
    listed, more = rows[: limits.DIGEST_ITEMS], len(rows) > limits.DIGEST_ITEMS
    count = len(listed)
    lines = [f"{count} new {'message is' if count == 1 else 'messages are'} held for {listed[0].address}."]
    lines += ["", "Each link opens a page with one button; nothing is decided before that is pressed."]
    for row in listed:
        lines += _item(portal, tx, row)
    if count > 1:
        lines += ["", "All of these at once", *_links(portal, tx, listed)]
    if more:
        lines += ["", "There are more; the next digest goes on with them."]
    lines += ["", "Whoever has this mail can decide on these messages: do not pass it on."]
    subject = f"Held messages: {count} new"
    told = compose.queue_written(
        portal, tx, "digest", to=listed[0].address, subject=subject, lines=lines, automatic="auto-generated"
    )
    if told != "queued":
        return 0
    statement: Any = upsert(digests).values(person_id=person_id, last_hold=listed[-1].id)
    tx.execute(
        statement.on_conflict_do_update(index_elements=["person_id"], set_={"last_hold": statement.excluded.last_hold})
    )
    return 1


def _item(portal: Portal, tx: Connection, row: Row[Any]) -> list[str]:
    zone = ZoneInfo(portal.settings.time_zone)
    return [
        "",
        f"From:     {visible(row.from_header or row.from_address or '<>')}",
        f"Subject:  {visible(row.subject) or '(none)'}",
        f"Reason:   {visible(row.reason)}",
        f"Received: {moment(row.received).astimezone(zone):%Y-%m-%d %H:%M %Z}",
        *_links(portal, tx, [row]),
    ]


def _links(portal: Portal, tx: Connection, rows: Sequence[Row[Any]]) -> list[str]:
    """A link per verb. Without exactly one sender in From there is nobody to permit or block."""
    verbs = VERBS if all(row.from_header for row in rows) else {"release": VERBS["release"]}
    numbers = " ".join(str(row.id) for row in rows)
    expires = portal.clock.machine() + portal.settings.hold_days * DAY
    lines = []
    for verb, label in verbs.items():
        secret = tokens.issue(tx, PURPOSE, rows[0].person_id, object=f"{verb} {numbers}", expires=expires)
        lines.append(f"{label + ':':<9} {portal.settings.public_url}{PATH}/{secret}")
    return lines
