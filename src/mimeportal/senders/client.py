"""What a caller does with sender lists: list, add, remove."""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mimeportal import limits
from mimeportal.addresses import parse_address, parse_entry
from mimeportal.errors import UsageError, api_error
from mimeportal.holds.hold import checked_text
from mimeportal.paging import PageOf, Pages
from mimeportal.patterns import TextPattern
from mimeportal.senders import contract
from mimeportal.senders.contract import ChangeSenderItem, ChangeSenderRow, ListSendersItem
from mimeportal.transport import not_offered
from mimeportal.wire import Endpoint, told_date

if TYPE_CHECKING:
    from mimeportal.portal import Portal


@dataclass(frozen=True, slots=True)
class SenderEntry:
    """One entry of one mailbox's list. `type` is `address` or `domain`; `source` tells how it came about."""

    entry: str
    list: str
    type: str
    mailbox: str
    added: datetime
    source: str


SENDER_FIELDS = tuple(entry.name for entry in fields(SenderEntry))


@dataclass(frozen=True, slots=True)
class SenderChange:
    """What became of one entry: `done`, or `already` when it stood so before; `moved_from` the list it left."""

    entry: str
    list: str
    mailbox: str
    outcome: str
    moved_from: str | None


CHANGE_FIELDS = tuple(entry.name for entry in fields(SenderChange))


class SendersClient:
    """`portal.senders`."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._session = portal.session

    def list(
        self,
        list: str | None = None,
        *,
        mailbox: str | None = None,
        search: str | None = None,
        type: str | None = None,
    ) -> Pages[SenderEntry]:
        """Entries of the caller's lists (or of `mailbox`, for administrators), in order of entry.

        `search` is a substring or a glob with `*`. Raises `NotOfferedError` on Mimecast.
        """
        if list is not None:
            _check_list(list)
        if type not in (None, "address", "domain"):
            raise UsageError(f"type takes address or domain, not {type!r}.")
        for name, text in (("mailbox", mailbox), ("search", search)):
            if text is not None:
                checked_text(name, text)
        item = ListSendersItem(list=list, mailbox=mailbox, search=search, entry_type=type)
        pattern = TextPattern.parse(search) if search else None

        def fetch(token: str | None) -> PageOf[SenderEntry]:
            answer = self._session.call(contract.LIST, [item], page_size=limits.PAGE_SIZE, page_token=token)
            entries = [
                SenderEntry(row.entry, row.list, row.type, row.mailbox, told_date(row.added), row.source)
                for row in answer.rows
                if pattern is None or pattern.matches(row.entry)
            ]
            page = answer.page
            return PageOf(entries, page.total_count if page else None, page.next if page else None)

        return Pages(fetch)

    def add(self, entries: Sequence[str], list: str, *, mailbox: str | None = None) -> Sequence[SenderChange]:
        """Add addresses and domains to the blocked or permitted list; one bad entry refuses all.

        An entry leaves the other list (portal-rules D.14). On Mimecast addresses only. Raises `UsageError`
        naming the bad entry, `NotOfferedError` for a domain on Mimecast.
        """
        _check_list(list)
        parsed = _parsed(entries)
        if not parsed:
            raise UsageError("No entry to add.", remedy="Name addresses or domains.")
        if self._session.offers(contract.ADD):
            return self._change(contract.ADD, parsed, list, mailbox)
        if any(kind == "domain" for _, kind in parsed):
            raise not_offered("permitting or blocking a whole domain", self._session.api)
        return self._permit_or_block([entry for entry, _ in parsed], list, mailbox)

    def remove(self, entries: Sequence[str], list: str, *, mailbox: str | None = None) -> Sequence[SenderChange]:
        """Take entries off a list; what is not on it is `already`. Raises `NotOfferedError` on Mimecast."""
        _check_list(list)
        self._session.require(contract.REMOVE, "removing one mailbox's sender entry")
        return self._change(contract.REMOVE, _parsed(entries), list, mailbox)

    def _change(
        self,
        endpoint: Endpoint[ChangeSenderItem, ChangeSenderRow],
        parsed: Sequence[tuple[str, str]],
        list: str,
        mailbox: str | None,
    ) -> Sequence[SenderChange]:
        if mailbox is not None:
            checked_text("mailbox", mailbox)
        whose = parse_address(mailbox) if mailbox else None
        changes: MutableSequence[SenderChange] = []
        for start in range(0, len(parsed), limits.SENDERS_ADDED):
            chunk = parsed[start : start + limits.SENDERS_ADDED]
            answer = self._session.call(
                endpoint, [ChangeSenderItem(entry=entry, list=list, mailbox=whose) for entry, _ in chunk]
            )
            for failure in answer.failures:
                raise api_error(failure.code, failure.message, key=failure.key, request_id=answer.request_id)
            changes += [_changed(row) for row in answer.rows]
        return changes

    def _permit_or_block(self, entries: Sequence[str], list: str, mailbox: str | None) -> Sequence[SenderChange]:
        to = mailbox or self._portal.user
        if to is None:
            raise UsageError("Whose list? An app has none of its own.", remedy="Name it with --mailbox ADDRESS.")
        action = "permit" if list == "permitted" else "block"
        changes: MutableSequence[SenderChange] = []
        for start in range(0, len(entries), 100):
            items = [
                contract.PermitOrBlockItem(sender=entry, to=to, action=action) for entry in entries[start : start + 100]
            ]
            answer = self._session.call(contract.PERMIT_OR_BLOCK, items)
            for failure in answer.failures:
                raise api_error(failure.code, failure.message, key=failure.key, request_id=answer.request_id)
            changes += [SenderChange(row.sender, list, row.to, "done", None) for row in answer.rows]
        return changes


def _changed(row: ChangeSenderRow) -> SenderChange:
    return SenderChange(row.entry, row.list, row.mailbox, row.outcome, row.moved_from)


def _parsed(entries: Any) -> Sequence[tuple[str, str]]:
    if isinstance(entries, str) or not isinstance(entries, Iterable):
        raise UsageError(f"entries takes several of them, not {entries!r}.", remedy="Put it in a list: [entry].")
    named = [*entries]
    for entry in named:
        checked_text("An entry", entry)
    return [parse_entry(entry) for entry in dict.fromkeys(named)]


def _check_list(name: str) -> None:
    if name not in contract.LISTS:
        raise UsageError(f"There is no list {name!r}.", remedy=f"Use one of: {', '.join(contract.LISTS)}.")
