"""How a portal is: counts of what it holds, what is on its way out, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from mimeportal_server import bounces
from mimeportal_server.clock import iso
from mimeportal_server.deciding import HELD
from mimeportal_server.delivery import file_name
from mimeportal_server.hold_conditions import still_held
from mimeportal_server.portal import Portal
from mimeportal_server.store.schema import deliveries, holds, messages, people, secure_messages


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of `status`."""

    name: str
    value: str


def facts(portal: Portal) -> list[Fact]:
    """Counts and the state of the clock."""
    with portal.database.read() as tx:

        def count(*conditions: Any) -> int:
            return int(tx.scalar(select(func.count()).where(*conditions)) or 0)

        held = count(still_held(portal))
        unmarked = count(HELD) - held
        rows = tx.execute(select(deliveries.c.state, func.count().label("count")).group_by(deliveries.c.state))
        by_state = {row.state: row.count for row in rows}
        told = [
            Fact("home", str(portal.home.path)),
            Fact("domains", " ".join(portal.settings.domains)),
            Fact("people", str(count(people.c.kind == "person"))),
            Fact("people outside", str(count(people.c.kind == "outside"))),
            Fact("secure messages", str(count(secure_messages.c.id > 0))),
            Fact("messages", str(count(messages.c.id > 0))),
            Fact("held", str(held)),
            Fact("expired, not swept", str(unmarked)),
            Fact("released", str(count(holds.c.state == "released"))),
            Fact("rejected", str(count(holds.c.state == "rejected"))),
            Fact("expired", str(count(holds.c.state == "expired"))),
        ]
        told += [Fact(f"deliveries {state}", str(number)) for state, number in sorted(by_state.items())]
        told.append(Fact("maybe delivered twice", str(count(deliveries.c.maybe_twice))))
    told.append(Fact("time", iso(portal.clock.now())))
    told.append(Fact("clock", portal.clock.fault() or "believed"))
    return told


def delivery_rows(portal: Portal) -> Iterator[dict[str, Any]]:
    """Every delivery, oldest first: which file in outgoing/ is from whom to whom."""
    last = 0
    while True:
        with portal.database.read() as tx:
            rows = tx.execute(
                select(deliveries).where(deliveries.c.id > last).order_by(deliveries.c.id).limit(500)
            ).all()
        if not rows:
            return
        for row in rows:
            last = row.id
            yield {
                "id": row.id,
                "file": file_name(row) if row.way == "maildir" else "",
                "kind": row.kind,
                "sender": bounces.shown(portal, row.sender),
                "recipient": row.recipient,
                "state": row.state,
                "maybe_twice": row.maybe_twice,
                "attempts": row.attempts,
                "error": row.error,
                "queued": iso(row.queued),
                "finished": iso(row.finished) if row.finished else None,
            }
