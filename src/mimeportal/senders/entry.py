"""An entry of a sender list, what became of a change to one, and the checks that client and importer share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from mimeportal.addresses import parse_entry
from mimeportal.errors import UsageError
from mimeportal.holds.hold import checked_text
from mimeportal.senders import contract
from mimeportal.senders.contract import ChangeSenderRow, SenderRow
from mimeportal.wire import told_date


@dataclass(frozen=True, slots=True)
class SenderEntry:
    """One entry of one mailbox's list. `type` is `address` or `domain`; `source` tells how it came about.

    `policy_type` is what administrators see beside the list (portal-rules D.22): `manual`, `auto`, `disabled` or
    `trusted`. `expires` is when an auto-permitted entry lapses, None for others.
    """

    entry: str
    list: str
    type: str
    mailbox: str
    added: datetime
    source: str
    policy_type: str
    expires: datetime | None

    @classmethod
    def of(cls, row: SenderRow) -> SenderEntry:
        """Read a row of the wire."""
        expires = told_date(row.expires) if row.expires else None
        return cls(
            row.entry, row.list, row.type, row.mailbox, told_date(row.added), row.source, row.policy_type, expires
        )


SENDER_FIELDS = tuple(entry.name for entry in fields(SenderEntry))


@dataclass(frozen=True, slots=True)
class SenderChange:
    """What became of one entry: `done`, or `already` when it stood so before; `moved_from` the list it left."""

    entry: str
    list: str | None
    mailbox: str
    outcome: str
    moved_from: str | None

    @classmethod
    def of(cls, row: ChangeSenderRow) -> SenderChange:
        """Read a row of the wire."""
        return cls(row.entry, row.list, row.mailbox, row.outcome, row.moved_from)


def check_list(name: str, known: Sequence[str] = contract.LISTS) -> None:
    """Raise `UsageError` unless it is one of the lists."""
    if name in known:
        return
    if name in contract.LISTS:
        raise UsageError(
            f"Nothing is added by hand to the list {name!r}.",
            why="Its entries arise from mail that is sent; they can only be removed.",
            remedy=f"Use one of: {', '.join(known)}.",
        )
    raise UsageError(f"There is no list {name!r}.", remedy=f"Use one of: {', '.join(known)}.")


def parsed(entries: Any) -> list[tuple[str, str]]:
    """Several entries as (entry, type), each once. Raises `UsageError` naming the bad one."""
    if isinstance(entries, str) or not isinstance(entries, Iterable):
        raise UsageError(f"entries takes several of them, not {entries!r}.", remedy="Put it in a list: [entry].")
    named = [*entries]
    for entry in named:
        checked_text("An entry", entry)
    return list(dict.fromkeys(parse_entry(entry) for entry in named))


def to_add(entries: Any, list: str) -> Sequence[tuple[str, str]]:
    """Entries that may be added to a list together (portal-rules D.5, D.7). Raises `UsageError`."""
    check_list(list, contract.WRITABLE)
    found = parsed(entries)
    if not found:
        raise UsageError("No entry to add.", remedy="Name addresses or domains.")
    if list == "trusted":
        if len(found) > 1:
            raise UsageError(
                "The trusted list takes one entry at a time.", remedy="Add them one by one, or import a file of them."
            )
        check_trusted(*found[0])
    return found


def check_trusted(entry: str, type: str) -> None:
    """Raise `UsageError` for a domain: only individuals are trusted (portal-rules D.5)."""
    if type == "domain":
        raise UsageError(f"The trusted list takes addresses, not domains: {entry!r}.", remedy="Write user@example.com.")
