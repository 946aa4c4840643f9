"""Managed senders: what one person's lists hold, and how an entry gets on and off them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from mimeportal import limits
from mimeportal.addresses import domain_of, parse_address, parse_entry
from mimeportal.errors import UsageError
from mimeportal.senders import contract
from mimeportal.wire import Failure, JsonObject, format_date
from mimeportal_server import audit, listing, people
from mimeportal_server.clock import moment
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.schema import senders

_TYPES = {"permit": "Permit", "block": "Block"}
_LISTS = {"permit": "permitted", "block": "blocked"}
_BAD_ADDRESS = "err_validation_invalid_email_address"
_BAD_ENTRY = "err_validation_invalid_sender_entry"
_MANY = 500  # entries of one person: with more, only those that are asked about are read
_ENTRIES = select(senders.c.entry, senders.c.list).where(senders.c.person_id == bindparam("person"))
_FORBIDDEN = "err_xdk_operation_forbidden_for_address"


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one entry; `moved_from` is the other list it stood on before."""

    outcome: str  # done | already
    moved_from: str | None = None


def put(tx: Connection, person_id: int, entry: str, type: str, list: str, *, source: str, now: int) -> Change:
    """Put an entry on a list, taking it off the other one: one sender, one list (portal-rules D.14)."""
    found = tx.execute(
        select(senders.c.id, senders.c.list).where(senders.c.person_id == person_id, senders.c.entry == entry)
    ).first()
    if found is None:
        values = {"person_id": person_id, "entry": entry, "type": type, "list": list, "source": source}
        tx.execute(insert(senders), {**values, "added": now})
        return Change("done")
    if found.list == list:
        return Change("already")
    tx.execute(update(senders).where(senders.c.id == found.id).values(list=list, source=source, added=now))
    return Change("done", found.list)


def blocked(tx: Connection, holds: Collection[tuple[int, str, str]]) -> set[tuple[int, str, str]]:
    """Of (person, envelope sender, header sender): those whose sender the person blocks, and does not permit."""
    lists: dict[tuple[int, str], str] = {}
    for person_id in {person_id for person_id, *_ in holds}:
        # Mostly these are a few people's, with few entries or none: asking for each sender would take far longer.
        rows = tx.execute(_ENTRIES.limit(_MANY + 1), {"person": person_id}).all()
        if len(rows) > _MANY:
            own = {a for person, *addresses in holds if person == person_id for a in addresses}
            wanted = sorted({entry for a in own for entry in (a, domain_of(a)) if entry})
            rows = [
                row
                for start in range(0, len(wanted), _MANY)
                for row in tx.execute(
                    _ENTRIES.where(senders.c.entry.in_(wanted[start : start + _MANY])), {"person": person_id}
                )
            ]
        lists.update({(person_id, row.entry): row.list for row in rows})
    return {hold for hold in holds if lists and _is_blocked(hold, lists)}


def _is_blocked(hold: tuple[int, str, str], lists: Mapping[tuple[int, str], str]) -> bool:
    person_id, *addresses = hold
    found = {lists.get((person_id, entry)) for a in addresses if a for entry in (a, domain_of(a))}
    return "blocked" in found and "permitted" not in found


def permit_or_block(portal: Portal, call: Call) -> Answer:
    """Mimecast's operation: each item on its own, failures beside it (mimecast-api-core 6.12)."""
    answer = Answer()
    now = portal.clock.now()
    acts: list[audit.Act] = []
    with portal.write(call.caller) as tx:
        for item in call.items:
            problem = _problem(item)
            if problem is not None:
                answer.failures.append(problem)
                continue
            sender, to, action = parse_address(item["sender"]), parse_address(item["to"]), item["action"]
            owner = people.owner_of(tx, call.caller, to)
            if owner is None or domain_of(sender) in portal.settings.domains:
                message = "0003 Forbidden To Perform Operation For Address"
                answer.failures.append(Failure(_FORBIDDEN, message, key=item))
                continue
            person = int(owner.id)
            put(tx, person, sender, "address", _LISTS[action], source="api", now=now)
            acts.append(_act(action, person, sender, to, "done"))
            answer.rows.append(
                {"id": _id(portal, tx, person, sender), "sender": sender, "to": to, "type": _TYPES[action]}
            )
        audit.record(tx, acts, at=now, caller=call.caller, request_id=call.request_id)
    return answer


def list_entries(portal: Portal, call: Call) -> Answer:
    """The entries of one mailbox's lists, by entry."""
    item = contract.ListSendersItem.model_validate(call.items[0])
    with portal.database.read() as tx:
        person = people.owner_of(tx, call.caller, item.mailbox)
        if person is None:
            raise Refused(_FORBIDDEN, "0003 Forbidden To Perform Operation For Address", status=403)
        query = select(senders).where(senders.c.person_id == person.id)
        if item.list:
            query = query.where(senders.c.list == item.list)
        if item.entry_type:
            query = query.where(senders.c.type == item.entry_type)
        if item.search:
            if len(item.search) > limits.PATTERN:
                raise Refused("err_validation_value_not_allowed", "The text is too long.", field="search")
            query = query.where(listing.may_match(item.search, senders.c.entry))
        page = listing.Keyset(portal, call, "senders.list", senders.c.entry, descending=False)
        rows, block = page.fetch(tx, query)
    return Answer([_row(row, person.address) for row in rows], page=block)


def add(portal: Portal, call: Call) -> Answer:
    """Add entries; one bad entry refuses the whole add (portal-rules D.10)."""
    return _change(portal, call, "add")


def remove(portal: Portal, call: Call) -> Answer:
    """Take entries off a list; what is not on it stands so already."""
    return _change(portal, call, "remove")


def _change(portal: Portal, call: Call, verb: str) -> Answer:
    now = portal.clock.now()
    answer = Answer()
    acts: list[audit.Act] = []
    with portal.write(call.caller) as tx:
        parsed = [_parsed(portal, tx, call, item, verb) for item in call.items]
        for item, person, entry, type in parsed:
            mailbox = item.mailbox or call.caller.address
            if verb == "add":
                change = put(tx, person, entry, type, item.list, source="manual", now=now)
            else:
                gone = tx.execute(
                    delete(senders).where(
                        senders.c.person_id == person, senders.c.entry == entry, senders.c.list == item.list
                    )
                )
                change = Change("done" if gone.rowcount else "already")
            acts.append(_act(f"{verb} {item.list}", person, entry, mailbox, change.outcome))
            row = contract.ChangeSenderRow(
                entry=entry,
                list=item.list,
                mailbox=mailbox,
                outcome=change.outcome,
                moved_from=change.moved_from,
            )
            answer.rows.append(row.to_json())
        audit.record(tx, acts, at=now, caller=call.caller, request_id=call.request_id)
    return answer


def _parsed(
    portal: Portal, tx: Connection, call: Call, raw: JsonObject, verb: str
) -> tuple[contract.ChangeSenderItem, int, str, str]:
    item = contract.ChangeSenderItem.model_validate(raw)
    try:
        entry, type = parse_entry(item.entry)
    except UsageError as fault:
        raise Refused(_BAD_ENTRY, fault.what, field="entry") from None
    if item.list not in contract.WRITABLE:
        raise Refused("err_validation_value_not_allowed", f"There is no list {item.list!r} to change.", field="list")
    if verb == "add" and (entry if type == "domain" else domain_of(entry)) in portal.settings.domains:
        raise Refused("own_domain", f"{entry} belongs to the account's own domains.", field="entry")
    owner = people.owner_of(tx, call.caller, item.mailbox)
    if owner is None:
        raise Refused(_FORBIDDEN, "0003 Forbidden To Perform Operation For Address", status=403)
    return item, int(owner.id), entry, type


def _problem(item: JsonObject) -> Failure | None:
    """What is wrong with an item of permit-or-block-sender, in Mimecast's words."""
    for field in ("sender", "to", "action"):
        if field not in item:
            return Failure("err_validation_null", "Mandatory field is missing", field, key=item)
    for field in ("sender", "to"):
        try:
            parse_address(str(item[field]))
        except UsageError:
            return Failure(_BAD_ADDRESS, "Email address is not valid", field, key=item)
    if not isinstance(item["action"], str) or item["action"] not in _LISTS:
        message = "Field must be one of [permit,block]"
        return Failure("err_validation_value_not_allowed", message, "action", key=item)
    return None


def _id(portal: Portal, tx: Connection, person: int, entry: str) -> str:
    number = tx.scalar(select(senders.c.id).where(senders.c.person_id == person, senders.c.entry == entry))
    return "MTOKEN:" + portal.sealer.id("mansend", int(number or 0))


def _row(row: Row[Any], mailbox: str) -> JsonObject:
    return contract.SenderRow(
        entry=row.entry,
        list=row.list,
        type=row.type,
        mailbox=mailbox,
        added=format_date(moment(row.added)),
        source=row.source,
    ).to_json()


def _act(action: str, person: int, entry: str, mailbox: str, outcome: str) -> audit.Act:
    return audit.Act(action, outcome, "sender entry", person, {"entry": entry, "mailbox": mailbox})


OPERATIONS = {
    "senders.permit_or_block": permit_or_block,
    "senders.list": list_entries,
    "senders.add": add,
    "senders.remove": remove,
}
