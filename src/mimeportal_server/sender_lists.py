"""The entries of sender lists as they are stored: put there, looked up, and what counts of them at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from mimeportal.addresses import domain_of
from mimeportal_server.store.prepared import Prepared
from mimeportal_server.store.schema import senders

AUTO, TRUSTED = "auto-permitted", "trusted"

_MANY = 500  # keys that are asked about at once
_READ = 2_000  # entries that are read at once; of a person with more, only those that are asked about
_OWN = select(senders.c.person_id, senders.c.entry, senders.c.list).where(
    senders.c.person_id.in_(bindparam("people", expanding=True)), senders.c.list.in_(("blocked", "permitted"))
)
_FIRST = _OWN.order_by(senders.c.person_id).limit(bindparam("most"))
# Asked for every message and recipient: what lapsed or is disabled is left out, trusted says nothing about spam.
_COUNTING = select(senders.c.entry, senders.c.list).where(
    senders.c.person_id == bindparam("person"),
    senders.c.key.in_(bindparam("keys", expanding=True)),
    senders.c.list != TRUSTED,
    or_(senders.c.expires.is_(None), senders.c.expires > bindparam("at")),
    senders.c.disabled.is_(False),
)
_STANDING = select(senders.c.id, senders.c.key, senders.c.list, senders.c.expires).where(
    senders.c.person_id == bindparam("person"), senders.c.key.in_(bindparam("keys", expanding=True))
)
_ADD = Prepared(insert(senders))
_MOVE = Prepared(
    update(senders)
    .where(senders.c.id == bindparam("number"))
    .values(
        list=bindparam("to_list"),
        source=bindparam("how"),
        added=bindparam("at"),
        expires=bindparam("until"),
        disabled=bindparam("off"),
    )
)


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one entry; `moved_from` is the list it stood on before."""

    outcome: str  # done | already
    moved_from: str | None = None


def key_of(entry: str, list: str | None) -> str:
    """Under which an entry stands once: blocked, permitted and auto-permitted exclude each other, trusted none."""
    return f"{entry} {TRUSTED}" if list == TRUSTED else entry


def put(tx: Connection, person_id: int, entry: str, type: str, list: str, *, source: str, now: int) -> Change:
    """Put an entry on a list, taking it off the other one: one sender, one list (portal-rules D.14)."""
    return put_all(tx, person_id, [(entry, type)], list, source=source, now=now)[0]


def put_all(
    tx: Connection,
    person_id: int,
    entries: Sequence[tuple[str, str]],
    list: str,
    *,
    source: str,
    now: int,
    dry_run: bool = False,
) -> Sequence[Change]:
    """Put many entries, as (entry, type), on one list; what became of each, in order. A `dry_run` changes nothing."""
    standing = {}
    for keys in _some(sorted({key_of(entry, list) for entry, _ in entries})):
        standing.update({row.key: row for row in tx.execute(_STANDING, {"person": person_id, "keys": keys})})
    changes, added, moved = [], {}, {}
    for entry, type in entries:
        key = key_of(entry, list)
        found = standing.get(key)
        if key in added or key in moved or (found and found.list == list):
            changes.append(Change("already"))
        elif found:
            moved[key] = {
                "number": found.id, "to_list": list, "how": source, "at": now, "until": None, "off": False
            }  # fmt: skip
            lapsed = found.expires is not None and found.expires <= now
            changes.append(Change("done", None if lapsed else found.list))
        else:
            added[key] = {
                "person_id": person_id, "key": key, "entry": entry, "type": type, "list": list, "source": source,
                "added": now,
            }  # fmt: skip
            changes.append(Change("done"))
    if dry_run:
        return changes
    _ADD.run(tx, [*added.values()])
    _MOVE.run(tx, [*moved.values()])
    return changes


def lists_of(tx: Connection, person_id: int, wanted: Collection[str], at: int) -> dict[str, str]:
    """Of the entries asked about, on which list each stands that counts at a time; nothing else is read."""
    found = {}
    for keys in _some(sorted(wanted)):
        rows = tx.execute(_COUNTING, {"person": person_id, "keys": keys, "at": at})
        found.update({row.entry: row.list for row in rows})
    return found


def is_trusted(tx: Connection, person_id: int, address: str) -> bool:
    """Whether an address is on somebody's trusted list, which says nothing about spam (portal-rules D.5)."""
    return bool(tx.execute(_STANDING, {"person": person_id, "keys": [key_of(address, TRUSTED)]}).first())


def blocked(tx: Connection, holds: Collection[tuple[int, str, str]]) -> set[tuple[int, str, str]]:
    """Of (person, envelope sender, header sender): those whose sender the person blocks, and does not permit."""
    lists: dict[tuple[int, str], str] = {}
    people = sorted({person_id for person_id, *_ in holds})
    while people:
        # Mostly they have few entries or none: asking for each sender, or each person, would take far longer.
        rows = tx.execute(_FIRST, {"people": people, "most": _READ + 1}).all()
        lists.update({(row.person_id, row.entry): row.list for row in rows})
        if len(rows) <= _READ:
            break
        person_id = rows[-1].person_id  # has more than was read
        own = {a for person, *addresses in holds if person == person_id for a in addresses}
        for keys in _some(sorted({entry for a in own for entry in (a, domain_of(a)) if entry})):
            rows = tx.execute(_OWN.where(senders.c.key.in_(keys)), {"people": [person_id]}).all()
            lists.update({(row.person_id, row.entry): row.list for row in rows})
        people = [person for person in people if person > person_id]
    return {hold for hold in holds if lists and _is_blocked(hold, lists)}


def _is_blocked(hold: tuple[int, str, str], lists: Mapping[tuple[int, str], str]) -> bool:
    person_id, *addresses = hold
    found = {lists.get((person_id, entry)) for a in addresses if a for entry in (a, domain_of(a))}
    return "blocked" in found and "permitted" not in found


def _some(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[start : start + _MANY] for start in range(0, len(values), _MANY))
