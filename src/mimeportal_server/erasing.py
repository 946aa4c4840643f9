"""Erasing a person: what names them goes, rows stay without it, so that counts stay true for ever (promises F.3).

A message that is theirs alone loses its octets, its words and its addresses; one that others have too stays theirs.
Each erasure is noted in `erased.jsonl` of the home, by a number and a mark that names nobody: a backup from before
brings the person back, and a restore that is given the file erases them again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from sqlalchemy import Connection, Table, Text, and_, cast, delete, func, literal, or_, select, union, update

from mimeportal.errors import NotFoundError, UsageError
from mimeportal_server import audit, counting, deciding, keeping, largefile_keeping, largefile_upload, people
from mimeportal_server.clock import DAY
from mimeportal_server.portal import Portal, set_fact
from mimeportal_server.steps import reached
from mimeportal_server.store import disk, schema
from mimeportal_server.store.schema import (
    audit_details,
    copies,
    deliveries,
    holds,
    mailbox,
    messages,
    rejections,
    secure_copies,
    secure_messages,
)

_FILE = "erased.jsonl"
_BEGUN = "erasing "  # and a person's number: a fact until everything that follows its transaction was done
_MANY = 500

# What is a person's own and counts for nothing: it goes whole.
_OWN: tuple[tuple[Table, str], ...] = (
    (schema.preferences, "person_id"),
    (schema.contacts, "person_id"),
    (schema.delegates, "owner_id"),
    (schema.delegates, "delegate_id"),
    (schema.moderates, "person_id"),
    (schema.tokens, "person_id"),
    (schema.bindings, "person_id"),
    (schema.requested, "person_id"),
    (schema.searches, "person_id"),
    (schema.digests, "person_id"),
    (schema.senders, "person_id"),
    (schema.mailbox, "person_id"),
)


def erase(portal: Portal, address: str, *, by: str = "") -> int:
    """Erase one of the portal's people; how many messages went with them.

    Raises `NotFoundError` for somebody who is none of them, `UsageError` while mail of theirs is on its way.
    """
    with portal.database.read() as tx:
        person = people.find(tx, address)
    if person is None or person.kind == "app":
        raise NotFoundError(f"{address} is none of the portal's people.", why=f"In {portal.home.path}.")
    count, names = _erase(portal, int(person.id), str(person.address), by)
    keeping.let_go(portal, names)
    finish(portal, wait=math.inf)
    return count


def finish(portal: Portal, *, wait: float = 0.0) -> int:
    """Do what follows the transactions of erasures, also of those that were cut off behind it; how many there were.

    Another process that does it is waited for so many seconds, then it is left to that one: to write the database
    anew twice would keep writers waiting twice.
    """
    with disk.only_one(portal.home.erasing_lock, wait) as ours:
        return _finish(portal) if ours else 0


def _finish(portal: Portal) -> int:
    begun = schema.facts.c.name.startswith(_BEGUN)
    with portal.database.read() as tx:
        found = tx.execute(select(schema.facts).where(begun)).all()
    if not found:
        return 0
    for row in found:
        _note(portal, int(row.name.removeprefix(_BEGUN)), row.value)
    largefile_keeping.remove_strays(portal)
    _forget_pages(portal)
    with portal.database.write() as tx:
        tx.execute(delete(schema.facts).where(schema.facts.c.name.in_([row.name for row in found])))
    return len(found)


def replay(portal: Portal, source: Path) -> int:
    """Erase again whom a file of erasures marks, after a restore; how many. Raises `UsageError` for no such file."""
    count = 0
    for number, mark in _noted(source):
        with portal.database.read() as tx:
            address = tx.scalar(select(schema.people.c.address).where(schema.people.c.id == number))
        if address is not None and hmac.compare_digest(_mark(portal, address), mark):
            _, names = _erase(portal, number, address, "", cancel=True)
            keeping.let_go(portal, names)
            count += 1
        _note(portal, number, mark)
    finish(portal)
    return count


def _erase(portal: Portal, person: int, address: str, by: str, *, cancel: bool = False) -> tuple[int, set[str]]:
    """All of it in one transaction; how many messages lost what they were, and the octets that may go.

    `cancel` ends the deliveries that a restore froze.
    """
    now = portal.clock.now()
    with portal.write() as tx:
        tx.exec_driver_sql("PRAGMA secure_delete = ON")  # what is deleted is written over
        own = _messages_of(tx, person)
        alone = _alone(tx, person, own)
        under_way = _under_way(tx, address, alone)
        if cancel:
            tx.execute(
                update(deliveries)
                .where(deliveries.c.id.in_(under_way))
                .values(state="failed", error="erased", finished=now)
            )
            counting.count_finished(portal, tx, under_way, "bounced", now)
        elif under_way:
            raise _busy(address, len(under_way))
        held = tx.execute(select(holds).where(holds.c.person_id == person, deciding.HELD)).all()
        keep = portal.settings.hold_days * DAY
        # What was over its time already stays counted on the day on which it was.
        over = deciding.expiry_edge(portal)
        deciding.expire(
            portal, tx, held, {row.id: row.received + keep if row.received <= over else now for row in held}
        )
        names = _blobs(tx, person, alone)
        for some in _some(alone):
            _empty_messages(tx, some, now)
        _empty_rows(tx, person, address)
        _empty_large(portal, tx, person, address)
        for table, column in _OWN:
            tx.execute(delete(table).where(table.c[column] == person))
        _delete_drafts(tx, person)
        _delete_by_address(tx, address)
        _delete_details(tx, person, address)
        tx.execute(
            update(schema.people)
            .where(schema.people.c.id == person)
            .values(
                address=f"erased-{person}",
                password="",
                role="user",
                content_view=False,
                disabled=True,
                epoch=schema.people.c.epoch + 1,
                octets=0,
            )
        )
        act = audit.Act("erase person", "done", "person", person, {"os_user": by} if by else {})
        audit.record(tx, [act], at=now, caller=None, door="command")
        set_fact(tx, f"{_BEGUN}{person}", _mark(portal, address))
        reached("erasing.written")
    reached("erasing.committed")
    return len(alone), names


# -- which messages --------------------------------------------------------------------------------------------------


def _messages_of(tx: Connection, person: int) -> list[int]:
    found = union(
        select(copies.c.message_id).where(copies.c.person_id == person),
        select(mailbox.c.message_id).where(mailbox.c.person_id == person),
        select(secure_messages.c.message_id).where(secure_messages.c.person_id == person),
        select(secure_messages.c.message_id)
        .join(secure_copies, secure_copies.c.secure_id == secure_messages.c.id)
        .where(secure_copies.c.person_id == person),
    )
    return sorted(tx.scalars(found))


def _alone(tx: Connection, person: int, own: list[int]) -> list[int]:
    """The messages that nobody else has."""
    shared: set[int] = set()
    for some in _some(own):
        for table in (copies, mailbox):
            others = select(table.c.message_id).where(table.c.message_id.in_(some), table.c.person_id != person)
            shared |= set(tx.scalars(others))
        shared |= set(
            tx.scalars(
                select(secure_messages.c.message_id)
                .join(secure_copies, secure_copies.c.secure_id == secure_messages.c.id)
                .where(secure_messages.c.message_id.in_(some), secure_copies.c.person_id != person)
            )
        )
    return [number for number in own if number not in shared]


def _under_way(tx: Connection, address: str, alone: list[int]) -> list[int]:
    """The deliveries to them, or of what is theirs alone, that have not ended."""
    open = select(deliveries.c.id).where(deliveries.c.finished.is_(None))
    found = set(tx.scalars(open.where(deliveries.c.recipient == address)))
    for some in _some(alone):
        found |= set(tx.scalars(open.where(deliveries.c.message_id.in_(some))))
    return sorted(found)


def _busy(address: str, count: int) -> UsageError:
    return UsageError(
        f"{count} deliveries of {address}'s mail have not ended; nothing was erased.",
        why="Whoever waits for it would get nothing, or what was to be gone.",
        remedy="Deliver first: `mimeportal-server sweep`; see `mimeportal-server status --deliveries`.",
    )


def _blobs(tx: Connection, person: int, alone: list[int]) -> set[str]:
    names = set(tx.scalars(select(schema.uploads.c.blob).where(schema.uploads.c.person_id == person)))
    # What the portal wrote about them, such as notices, is a stray once it was delivered, and would go in a day.
    written = select(deliveries.c.blob).where(deliveries.c.kind == "written", deliveries.c.finished.is_not(None))
    names |= set(tx.scalars(written))
    for some in _some(alone):
        names |= set(tx.scalars(select(messages.c.blob).where(messages.c.id.in_(some))))
    return names


# -- what becomes of them --------------------------------------------------------------------------------------------


def _empty_messages(tx: Connection, numbers: list[int], now: int) -> None:
    gone = dict.fromkeys(("envelope_from", "from_header", "from_name", "subject", "mime_message_id"), "")
    gone |= {"remote_ip": "", "remote_host": ""}
    here = messages.c.id.in_(numbers)
    tx.execute(
        update(messages).where(here).values(**gone, purge_marked=now, purged=func.coalesce(messages.c.purged, now))
    )
    tx.execute(delete(schema.words).where(schema.words.c.rowid.in_(numbers)))
    tx.execute(delete(schema.imports).where(schema.imports.c.message_id.in_(numbers)))
    tx.execute(
        update(secure_messages)
        .where(secure_messages.c.message_id.in_(numbers))
        .values(sender="", sender_name="", subject="", folded="")
    )
    tx.execute(
        update(deliveries).where(deliveries.c.message_id.in_(numbers)).values(sender="", recipient="", error="erased")
    )


def _empty_rows(tx: Connection, person: int, address: str) -> None:
    """What counts stays, without what it names."""
    hold = dict.fromkeys(("recipient", "from_address", "from_header", "from_name", "subject", "subject_folded"), "")
    tx.execute(update(holds).where(holds.c.person_id == person).values(**hold))
    tx.execute(update(copies).where(copies.c.person_id == person).values(recipient="", decided_by="", named=""))
    tx.execute(update(secure_copies).where(secure_copies.c.person_id == person).values(address="", name="", folder=""))
    tx.execute(update(deliveries).where(deliveries.c.recipient == address).values(sender="", recipient="", error=""))
    refused = or_(rejections.c.recipient == address, rejections.c.sender == address)
    tx.execute(update(rejections).where(refused).values(sender="", recipient="", remote_ip="", remote_host=""))


def _empty_large(portal: Portal, tx: Connection, person: int, address: str) -> None:
    """Large files that they sent lose octets, names and recipients; of others' they are no recipient any more."""
    large, files, recipients = schema.largefiles, schema.largefile_files, schema.largefile_recipients
    rows = tx.execute(select(large).where(large.c.person_id == person)).all()
    for row in rows:
        if row.purged is None:
            largefile_upload.let_go(portal, tx, row, "cancelled" if row.sent is None else row.state, "")
    own = select(large.c.id).where(large.c.person_id == person)
    tx.execute(
        update(large)
        .where(large.c.person_id == person)
        .values(sender="", subject="", body="", searched="", reason="", access_key="")
    )
    tx.execute(update(files).where(files.c.largefile_id.in_(own)).values(name=""))
    theirs = or_(recipients.c.largefile_id.in_(own), recipients.c.address == address)
    nobody = literal("erased-").concat(cast(recipients.c.id, Text))
    tx.execute(update(recipients).where(theirs).values(address=nobody, notified=""))
    named = func.replace(large.c.searched, address, "")
    tx.execute(update(large).where(func.instr(large.c.searched, address) > 0).values(searched=named))


def _delete_drafts(tx: Connection, person: int) -> None:
    drafts, files, uploads = schema.drafts, schema.draft_files, schema.uploads
    tx.execute(delete(files).where(files.c.draft_id.in_(select(drafts.c.id).where(drafts.c.person_id == person))))
    tx.execute(delete(files).where(files.c.upload_id.in_(select(uploads.c.id).where(uploads.c.person_id == person))))
    for table in (drafts, uploads):
        tx.execute(delete(table).where(table.c.person_id == person))


def _delete_by_address(tx: Connection, address: str) -> None:
    tx.execute(delete(schema.login_failures).where(schema.login_failures.c.address == address))
    tx.execute(delete(schema.moderates).where(schema.moderates.c.scope == address))
    tx.execute(delete(schema.imports).where(schema.imports.c.recipient == address))


def _delete_details(tx: Connection, person: int, address: str) -> None:
    """The details of acts that name the person, were theirs or about them; the acts themselves stay."""
    written = json.dumps(address)[1:-1]
    acts = schema.audit
    about = select(acts.c.id).where(
        or_(acts.c.actor == person, and_(acts.c.object_kind == "person", acts.c.object_id == person))
    )
    named = func.instr(func.lower(audit_details.c.detail), written) > 0
    tx.execute(delete(audit_details).where(or_(named, audit_details.c.audit_id.in_(about))))


def _forget_pages(portal: Portal) -> None:
    """What was deleted is in no page of the database any more, nor in its log or its index of words.

    Rows that were changed or moved before left copies in the spare room of pages: so the file is written anew.
    """
    with portal.database.write() as tx:
        tx.exec_driver_sql("INSERT INTO words(words) VALUES ('optimize')")
        tx.exec_driver_sql("PRAGMA secure_delete = OFF")
    portal.database.rewrite()


def _some(numbers: list[int]) -> Iterator[list[int]]:
    return (numbers[start : start + _MANY] for start in range(0, len(numbers), _MANY))


# -- the file of erasures --------------------------------------------------------------------------------------------


def _mark(portal: Portal, address: str) -> str:
    """What tells whether a number is still the person that it was; without the home's key it names nobody."""
    return hmac.new(portal.home.key, f"erased {address}".encode(), hashlib.sha256).hexdigest()[:32]


def _note(portal: Portal, person: int, mark: str) -> None:
    path = portal.home.path / _FILE
    if path.exists() and (person, mark) in set(_noted(path)):
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(json.dumps({"person": person, "mark": mark}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    disk.sync_folder(path.parent)


def _noted(path: Path) -> Iterable[tuple[int, str]]:
    try:
        lines = [json.loads(line) for line in path.read_text("ascii").splitlines() if line]
        return [(int(line["person"]), str(line["mark"])) for line in lines]
    except (OSError, ValueError, TypeError, KeyError) as fault:
        raise UsageError(
            f"{path} is no file of erasures: {fault}.", remedy=f"Name the {_FILE} of the home that was backed up."
        ) from None
