"""What a caller does with sender lists: list, add, remove, import, and ask what they decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableSequence, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mimeportal import limits
from mimeportal.addresses import ENTRY_TYPES, EntryType, parse_address
from mimeportal.errors import UsageError, api_error
from mimeportal.holds.hold import checked_text
from mimeportal.paging import PageOf, Pages, page_size_of
from mimeportal.patterns import TextPattern
from mimeportal.senders import contract
from mimeportal.senders.contract import ChangeSenderRow, CheckSenderItem, CheckSenderRow, ListSendersItem
from mimeportal.senders.entry import SenderChange, SenderEntry, check_list, parsed, to_add
from mimeportal.transport import not_offered
from mimeportal.wire import Endpoint, Item

if TYPE_CHECKING:
    from mimeportal.bulk import Plan
    from mimeportal.portal import Portal
    from mimeportal.senders import changing
    from mimeportal.senders.importing import BadLine, ImportResult

ItemT = TypeVar("ItemT", bound=Item)


class SendersClient:
    """`portal.senders`."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._session = portal.session

    def list(
        self,
        list: contract.SenderList | None = None,
        *,
        mailbox: str | None = None,
        search: str | None = None,
        type: EntryType | None = None,
        policy_type: contract.PolicyType | None = None,
        page_size: int | None = None,
    ) -> Pages[SenderEntry]:
        """Entries of the caller's lists, or of `mailbox`, where the caller may use it; sorted by entry.

        `list` is `blocked`, `permitted`, `auto-permitted` or `trusted`, `type` is `address` or `domain`, `policy_type`
        is `manual`, `auto`, `disabled` or `trusted` (portal-rules D.22). `search` is a substring or a glob with `*`.
        Raises `NotOfferedError` on Mimecast, `ForbiddenError` for a mailbox that is not the caller's to use.
        """
        self._session.require(contract.LIST, "listing managed senders")
        if list is not None:
            check_list(list)
        for name, value, known in (("type", type, ENTRY_TYPES), ("policy_type", policy_type, contract.POLICY_TYPES)):
            if value is not None and value not in known:
                raise UsageError(f"{name} takes {' or '.join(known)}, not {value!r}.")
        if search is not None:
            checked_text("search", search)
        item = ListSendersItem(
            list=list, mailbox=self._mailbox(mailbox), search=search, entry_type=type, policy_type=policy_type
        )
        pattern = TextPattern.parse(search) if search else None
        size = page_size_of(page_size)

        def fetch(token: str | None) -> PageOf[SenderEntry]:
            answer = self._session.call(contract.LIST, [item], page_size=size, page_token=token)
            entries = [SenderEntry.of(row) for row in answer.rows if pattern is None or pattern.matches(row.entry)]
            page = answer.page
            return PageOf(entries, page.total_count if page else None, page.next if page else None)

        return Pages(fetch)

    def add(
        self, entries: Iterable[str], list: contract.WritableList, *, mailbox: str | None = None
    ) -> Sequence[SenderChange]:
        """Add addresses and domains to the blocked or permitted list, or one address to the trusted one.

        One bad entry refuses all. An entry leaves the other list (portal-rules D.14). On Mimecast addresses only, and
        nobody is trusted. Raises `UsageError` naming the bad entry, `NotOfferedError`, `ForbiddenError`.
        """
        found = to_add(entries, list)
        whose = self._mailbox(mailbox)
        if self._session.offers(contract.ADD):
            items = [contract.AddSenderItem(entry=entry, list=list, mailbox=whose) for entry, _ in found]
            return self._changed(contract.ADD, items)
        if list not in contract.SEVERAL:
            raise not_offered(f"adding to the list {list!r}", self._session.api)
        if any(kind == "domain" for _, kind in found):
            raise not_offered("permitting or blocking a whole domain", self._session.api)
        return self._permit_or_block([entry for entry, _ in found], list, whose)

    def remove(
        self, entries: Iterable[str], list: contract.SenderList | None = None, *, mailbox: str | None = None
    ) -> Sequence[SenderChange]:
        """Take entries off a list, or without one off whichever they are on; what is on none is `already`.

        Raises `UsageError` naming a bad entry, `ForbiddenError` for a mailbox that is not the caller's to use,
        `NotOfferedError` on Mimecast, which has only `remove_everywhere`.
        """
        if list is not None:
            check_list(list)
        self._session.require(contract.REMOVE, "removing one mailbox's sender entry")
        whose = self._mailbox(mailbox)
        items = [contract.RemoveSenderItem(entry=entry, list=list, mailbox=whose) for entry, _ in parsed(entries)]
        return self._changed(contract.REMOVE, items)

    def remove_everywhere(self, entries: Iterable[str], list: contract.SenderList | None = None) -> int | None:
        """Take senders off the lists of everybody in the account, or off one kind of list; administrators only.

        `list="permitted"` takes the auto-permitted entries too: they are permits. Returns how many entries went, None
        where the portal does not tell. Raises `UsageError`, `ForbiddenError`, `NotOfferedError` on API 1.0.
        """
        from mimeportal.senders.changing import everywhere

        if list is not None:
            check_list(list)
        self._session.require(contract.BULK_DELETE, "removing a sender from the lists of everybody")
        counts = [*everywhere(self._session, [entry for entry, _ in parsed(entries)], list)]
        told = [count for count in counts if count is not None]
        return sum(told) if len(told) == len(counts) else None

    def plan(
        self,
        verb: changing.Verb,
        entries: Iterable[str] | None = None,
        *,
        list: contract.SenderList | None = None,
        mailbox: str | None = None,
        search: str | None = None,
        type: EntryType | None = None,
        policy_type: contract.PolicyType | None = None,
        every_mailbox: bool = False,
        retry_from: Path | None = None,
        limit: int | None = None,
    ) -> Plan:
        """Freeze what is to be added or removed, for the bulk engine: `add` takes entries, `remove` entries or filters.

        `every_mailbox` removes entries from everybody's lists, `limit` keeps the oldest of what filters choose.
        `retry_from` takes up a report, and stands alone. Nothing is sent before
        the plan is run, but for what a filter reads. Raises as `add`, `remove` and `remove_everywhere` do. The plan
        must be closed, or used in a `with` statement.
        """
        from mimeportal.senders import changing

        if verb not in changing.VERBS:
            raise UsageError(f"There is no verb {verb!r}.", remedy=f"Use one of: {', '.join(changing.VERBS)}.")
        beside = {"search": search, "type": type, "policy_type": policy_type, "limit": limit}
        if retry_from is not None:
            chosen = {"entries": entries, "list": list, "mailbox": mailbox, "every_mailbox": every_mailbox or None}
            _refuse({**chosen, **beside}, "a report to take up")
            return changing.retry(self._portal, verb, retry_from)
        if entries is not None or verb == "add":
            _refuse(beside, "entries that are named")
        if every_mailbox:
            _refuse({**beside, "mailbox": mailbox}, "the lists of everybody")
            if verb == "add":
                raise UsageError("Nothing is added to the lists of everybody.", remedy="Name whose list it is.")
        whose = None if every_mailbox else self._mailbox(mailbox)
        if whose not in (None, self._portal.user) and self._session.offers(contract.LIST):
            self.list(mailbox=whose).first(1)  # whose lists are not the caller's is said before anything is asked
        if verb == "add":
            return changing.plan_add(self._portal, entries if entries is not None else [], list or "", whose)
        if every_mailbox:
            return changing.plan_everywhere(self._portal, entries if entries is not None else [], list)
        found = self.list(list, mailbox=whose, search=search, type=type, policy_type=policy_type)
        return changing.plan_remove(self._portal, entries, list, whose, found, limit)

    def import_entries(
        self,
        lines: Iterable[str | bytes],
        list: contract.WritableList | None = None,
        *,
        mailbox: str | None = None,
        on_bad: Callable[[Sequence[BadLine]], None] = lambda _: None,
        dry_run: bool = False,
    ) -> ImportResult:
        """Add the entries of a file's lines: a plain list, one a line, or the CSV that an export wrote.

        Good lines are stored, some thousand at a time; bad ones are told to `on_bad`, with their numbers. Without
        `list` each goes to the list that its column `list` names. With `dry_run` nothing is changed: a local portal
        tells what it would do, some thousand lines at a time; for Mimecast the lines are checked here. On Mimecast
        addresses only. Raises `UsageError` where no list is named, `ForbiddenError`.
        """
        from mimeportal.senders import importing

        return importing.import_entries(self._portal, lines, list, self._mailbox(mailbox), on_bad, dry_run=dry_run)

    def check(self, sender: str, *, envelope: str | None = None, mailbox: str | None = None) -> CheckSenderRow:
        """What would happen to mail from an address to the caller, or to `mailbox`, and what decides it.

        `envelope` is the envelope sender, "" or `<>` for none; without it the same address. Asks the portal's own
        screening. Raises `UsageError` for what is no address, `NotOfferedError` on Mimecast.
        """
        self._session.require(contract.CHECK, "telling what would happen to mail")
        checked_text("sender", sender)
        bounce = envelope
        if envelope is not None:
            checked_text("envelope", envelope)
            bounce = "" if envelope in ("", "<>") else parse_address(envelope)
        if "*" in sender:
            raise UsageError(f"A check takes one address, no pattern: {sender!r}.", remedy="Write user@example.com.")
        item = CheckSenderItem(sender=parse_address(sender), envelope=bounce, mailbox=self._mailbox(mailbox))
        return self._session.one(contract.CHECK, item)

    def _mailbox(self, named: str | None) -> str | None:
        """Whose lists are meant. Mimecast knows no list by itself, and its own operations say whose they change."""
        if named is None and not self._session.offers(contract.LIST):
            return None
        return self._session.mailbox_of(named)

    def _changed(self, endpoint: Endpoint[ItemT, ChangeSenderRow], items: Sequence[ItemT]) -> Sequence[SenderChange]:
        changes: MutableSequence[SenderChange] = []
        for start in range(0, len(items), limits.SENDERS_ADDED):
            answer = self._session.call(endpoint, items[start : start + limits.SENDERS_ADDED])
            for failure in answer.failures:
                raise api_error(failure.code, failure.message, key=failure.key, request_id=answer.request_id)
            changes += [SenderChange.of(row) for row in answer.rows]
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


def _refuse(given: Mapping[str, object], beside: str) -> None:
    """Raise `UsageError` for what would choose otherwise, and be passed over."""
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"{name} cannot stand beside {beside}.", remedy="Leave one of them out.")
