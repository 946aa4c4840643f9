"""People outside, for whom secure messages wait here."""

from __future__ import annotations

from sqlalchemy import Connection, insert

from mimeportal_server import people
from mimeportal_server.portal import Portal
from mimeportal_server.store.schema import people as persons


def invite(tx: Connection, portal: Portal, address: str) -> int:
    """The number of the person outside with a normalised address, who is made when nobody wrote to them before."""
    person = people.find(tx, address)
    if person is not None:
        return int(person.id)
    values = {"address": address, "kind": "outside", "role": "outside", "created": portal.clock.now()}
    created = tx.execute(insert(persons), values)
    assert created.inserted_primary_key is not None
    return int(created.inserted_primary_key[0])
