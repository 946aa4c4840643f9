"""To whom people wrote, how often and when last; and who else has a mailbox here (guide-lines 58)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from sqlalchemy import Column, Connection, and_, func, or_, select
from sqlalchemy.dialects.sqlite import insert as upsert

from mimeportal import limits
from mimeportal.account import contract
from mimeportal.wire import JsonObject, format_date
from mimeportal_server import people
from mimeportal_server.asked import forbidden, not_allowed
from mimeportal_server.clock import moment
from mimeportal_server.listing import Keyset, may_match
from mimeportal_server.portal import Answer, Call, Portal
from mimeportal_server.store.prepared import Prepared
from mimeportal_server.store.schema import contacts
from mimeportal_server.store.schema import people as persons

_NEW = upsert(contacts)
_COUNT = Prepared(
    _NEW.on_conflict_do_update(
        index_elements=["person_id", "address"],
        set_={
            "uses": contacts.c.uses + 1,
            "last_used": _NEW.excluded.last_used,
            "name": func.coalesce(func.nullif(_NEW.excluded.name, ""), contacts.c.name),
        },
    )
)


def count(tx: Connection, person_id: int, written_to: Iterable[str], names: Mapping[str, str], *, now: int) -> None:
    """Count one message of a person's against everybody it went to; `names` are the display names it gives them."""
    rows = [
        {"person_id": person_id, "address": address, "name": names.get(address, ""), "uses": 1, "last_used": now}
        for address in dict.fromkeys(written_to)
    ]
    _COUNT.run(tx, rows)


_ORDER = (contacts.c.uses.desc(), contacts.c.last_used.desc(), contacts.c.address)


def most_used(portal: Portal, call: Call) -> Answer:
    """get-most-used-contacts: the caller's own, the most used first."""
    with portal.database.read() as tx:
        owner = people.owner_of(tx, call.caller, None)
        if owner is None:
            raise forbidden()
        query = select(contacts).where(contacts.c.person_id == owner.id).order_by(*_ORDER)
        rows = tx.execute(query.limit(limits.PAGE_SIZE)).all()
    return Answer([_row(row) for row in rows])


def find(portal: Portal, call: Call) -> Answer:
    """Contacts of a mailbox, the most used first; or the portal's people, by address.

    Whoever is outside sees only whom the administrator publishes to them (portal-rules F.20).
    """
    item = contract.FindContactsItem.model_validate(call.items[0])
    text = item.search or ""
    if len(text) > limits.PATTERN:
        raise not_allowed(f"A text condition has at most {limits.PATTERN} characters.", "search")
    with portal.database.read() as tx:
        owner = people.owner_of(tx, call.caller, item.mailbox)
        if owner is None:
            raise forbidden()
        whose = contacts.c.person_id == owner.id
        if item.everyone:
            query = (
                select(persons.c.address, contacts.c.name, contacts.c.uses, contacts.c.last_used)
                .outerjoin(contacts, and_(whose, contacts.c.address == persons.c.address))
                .where(persons.c.kind == "person", persons.c.disabled.is_(False))
            )
            searched = [persons.c.address, func.coalesce(contacts.c.name, "")]
            keyset = Keyset(portal, call, "account.find_contacts", persons.c.address, descending=False)
        else:
            number = func.row_number().over(order_by=_ORDER).label("place")
            ranked = select(contacts, number).where(whose).subquery()
            query = select(ranked)
            searched = [ranked.c.address, ranked.c.name]
            place = cast("Column[Any]", ranked.c.place)
            keyset = Keyset(portal, call, "account.find_contacts", place, descending=False)
        if call.caller.outside:
            query = query.where(searched[0].in_(portal.settings.secure.published_contacts))
        if text:
            query = query.where(or_(*(may_match(text, func.lower(column)) for column in searched)))
        rows, block = keyset.fetch(tx, query)
    return Answer([_row(row) for row in rows], page=block)


def _row(row: Any) -> JsonObject:
    return contract.ContactRow(
        email_address=row.address,
        name=row.name or "",
        uses=row.uses or 0,
        last_used=format_date(moment(row.last_used)) if row.last_used else None,
    ).to_json()
