"""How much is kept for one person: what is taken against their quota, and what is given back."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from mimeportal_server.portal import Portal, Refused
from mimeportal_server.store.schema import people


def take(portal: Portal, tx: Connection, person_id: int, octets: int) -> None:
    """Count octets that are kept for somebody from now on. Raises `Refused` where their mailbox has no room."""
    kept = tx.scalar(select(people.c.octets).where(people.c.id == person_id)) or 0
    if octets > 0 and kept + octets > portal.settings.limits["person_octets"]:
        raise Refused("mailbox_full", f"The mailbox is full: it has no room for {octets:,} octets more.")
    give_back(tx, person_id, -octets)


def give_back(tx: Connection, person_id: int, octets: int) -> None:
    """Octets are kept for them no more."""
    tx.execute(update(people).where(people.c.id == person_id).values(octets=people.c.octets - octets))
