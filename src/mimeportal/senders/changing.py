"""How lists are changed in bulk: what is chosen, frozen before anything is done, and the workers that carry it out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from mimeportal import limits
from mimeportal.bulk import Keyed, Plan, Worker
from mimeportal.errors import UsageError
from mimeportal.report import Context, Verdict, retry_selection
from mimeportal.selection import Item, Selection, collect
from mimeportal.senders import contract
from mimeportal.senders.entry import SenderEntry, check_list, parsed, to_add
from mimeportal.transport import Answer, Session, not_offered

if TYPE_CHECKING:
    from mimeportal.portal import Portal

Verb = Literal["add", "remove"]
VERBS: tuple[Verb, ...] = get_args(Verb)
_TRUSTED = " trusted"  # an address may be trusted and stand on another list too


def plan_add(portal: Portal, entries: Iterable[str], list: str, mailbox: str | None) -> Plan:
    """Freeze an add; see `SendersClient.plan`."""
    found = to_add(entries, list)
    if not portal.session.offers(contract.ADD):
        _check_mimecast(portal, list, [type for _, type in found])
        if (mailbox or portal.user) is None:
            raise UsageError("Whose list? An app has none of its own.", remedy="Name it with --mailbox ADDRESS.")
    options = _options(list, mailbox)
    return _finished(portal, collect(_item(entry, "add", options, portal) for entry, _ in found))


def plan_remove(
    portal: Portal,
    entries: Iterable[str] | None,
    list: str | None,
    mailbox: str | None,
    found: Iterable[SenderEntry],
    limit: int | None,
) -> Plan:
    """Freeze a removal of entries, or of what a filter `found`; see `SendersClient.plan`."""
    portal.session.require(contract.REMOVE, "removing one mailbox's sender entry")
    if list is not None:
        check_list(list)
    if entries is not None:
        options = _options(list, mailbox)
        selection = collect(_item(entry, "remove", options, portal) for entry, _ in parsed(entries))
    else:
        selection = collect(
            _item(row.entry, "remove", _options(row.list, mailbox), portal, added=row.added.isoformat())
            for row in found
        )
    if limit is not None:
        selection.keep_oldest(limit)
    return _finished(portal, selection)


def plan_everywhere(portal: Portal, entries: Iterable[str], list: str | None) -> Plan:
    """Freeze a removal from the lists of everybody in the account."""
    portal.session.require(contract.BULK_DELETE, "removing a sender from the lists of everybody")
    if list is not None:
        check_list(list)
    options = {"every_mailbox": True, **_options(list, None)}
    return _finished(portal, collect(Item(entry, "remove", options, {}, entry) for entry, _ in parsed(entries)))


def retry(portal: Portal, verb: str, report: Path) -> Plan:
    """Take up what a report left undone."""
    return _finished(portal, retry_selection(report, actions=frozenset({verb}), context=_context(portal)))


def _finished(portal: Portal, selection: Selection) -> Plan:
    first = next(iter(selection), None)
    worker: Worker
    if first is not None and first.options.get("every_mailbox"):
        worker = EverywhereWorker(portal.session)
    elif portal.session.offers(contract.ADD):
        worker = ListWorker(portal.session)
    else:
        worker = PermitOrBlockWorker(portal)
    return Plan(selection, worker, _context(portal))


def _context(portal: Portal) -> Context:
    return Context(profile=portal.profile, account=portal.account.code, actor=portal.user or "app")


def _options(list: str | None, mailbox: str | None) -> dict[str, Any]:
    return {name: value for name, value in (("list", list), ("mailbox", mailbox)) if value is not None}


def _item(entry: str, action: str, options: Mapping[str, Any], portal: Portal, *, added: str | None = None) -> Item:
    id = entry + (_TRUSTED if options.get("list") == "trusted" else "")
    described = {"to_address": options.get("mailbox") or portal.user, "date_received": added}
    return Item(id, action, options, described, entry)


def _entry_of(item: Item) -> str:
    """The entry of an item; a report line of a failure names it by its id alone."""
    return item.entry or item.id.removesuffix(_TRUSTED)


def _check_mimecast(portal: Portal, list: str, types: Sequence[str]) -> None:
    if list not in contract.SEVERAL:
        raise not_offered(f"adding to the list {list!r}", portal.session.api)
    if "domain" in types:
        raise not_offered("permitting or blocking a whole domain", portal.session.api)


class ListWorker(Keyed):
    """Changes lists through a local portal's own operations; one bad entry refuses a whole add (portal-rules D.10)."""

    batch_size = limits.SENDERS_ADDED

    def __init__(self, session: Session) -> None:
        self._session = session

    def act(self, items: Sequence[Item]) -> list[Verdict | None]:
        adds = items[0].action == "add"
        answer: Answer[contract.ChangeSenderRow]
        if adds:
            answer = self._session.call(
                contract.ADD, [contract.AddSenderItem(entry=_entry_of(i), **i.options) for i in items]
            )
        else:
            answer = self._session.call(
                contract.REMOVE, [contract.RemoveSenderItem(entry=_entry_of(i), **i.options) for i in items]
            )
        if answer.failures:
            return _refused(items, answer)
        return [self._told(row, answer.request_id) for row in answer.rows]

    def _told(self, row: contract.ChangeSenderRow, request_id: str) -> Verdict:
        if row.outcome == "already":
            return Verdict("already", request_id=request_id)
        if row.moved_from:
            was = f"It stood on the {row.moved_from} list."
            return Verdict("done", "moved", was, request_id=request_id, entry=row.entry)
        return Verdict("done", request_id=request_id, entry=row.entry)


def _refused(items: Sequence[Item], answer: Answer[Any]) -> list[Verdict | None]:
    """A batch of which one is refused is refused whole: each is told why."""
    named = {
        failure.key["entry"]: failure
        for failure in answer.failures
        if isinstance(failure.key, dict) and isinstance(failure.key.get("entry"), str)
    }
    cause = next(iter(named), "another")
    return [
        Verdict("failed", named[_entry_of(item)].code, named[_entry_of(item)].message, answer.request_id)
        if _entry_of(item) in named
        else Verdict("failed", "not_added", f"Nothing was added, since {cause} was refused.", answer.request_id)
        for item in items
    ]


class PermitOrBlockWorker(Keyed):
    """Adds through Mimecast's own operation, which knows addresses alone."""

    batch_size = 100

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def act(self, items: Sequence[Item]) -> list[Verdict | None]:
        asked = [
            contract.PermitOrBlockItem(
                sender=_entry_of(item),
                to=str(item.options.get("mailbox") or self._portal.user),
                action="permit" if item.options["list"] == "permitted" else "block",
            )
            for item in items
        ]
        answer = self._portal.session.call(contract.PERMIT_OR_BLOCK, asked)
        verdicts = {row.sender.lower(): Verdict("done", request_id=answer.request_id) for row in answer.rows}
        for failure in answer.failures:
            if isinstance(failure.key, dict):
                refused = Verdict("failed", failure.code, failure.message, answer.request_id)
                verdicts[str(failure.key.get("sender")).lower()] = refused
        return [verdicts.get(_entry_of(item)) for item in items]


class EverywhereWorker(Keyed):
    """Takes senders off the lists of everybody in the account (promises B.6)."""

    batch_size = limits.SENDERS_DELETED

    def __init__(self, session: Session) -> None:
        self._session = session

    def act(self, items: Sequence[Item]) -> list[Verdict | None]:
        answer = _deleted(self._session, [_entry_of(item) for item in items], items[0].options.get("list"))
        # The count is all that is told, and only of all of them.
        none = any(row.deleted_count == 0 for row in answer.rows)
        return [Verdict("already" if none else "done", request_id=answer.request_id) for _ in items]


# How bulk-delete names the lists (mimecast-api-portal 1.3).
_FILTERS: Mapping[str | None, Mapping[str, Any]] = {
    None: {},
    "blocked": {"action": "block"},
    "permitted": {"action": "permit"},
    "auto-permitted": {"type": "auto"},
    "trusted": {"trusted": True},
}


def _deleted(session: Session, entries: Sequence[str], list: str | None) -> Answer[contract.BulkDeleteRow]:
    return session.call(contract.BULK_DELETE, [contract.BulkDeleteItem(ids=[*entries], **_FILTERS[list])])


def everywhere(session: Session, entries: Sequence[str], list: str | None) -> Iterator[int | None]:
    """Take senders off the lists of everybody; per call how many entries went, None where that is not told."""
    for start in range(0, len(entries), limits.SENDERS_DELETED):
        answer = _deleted(session, entries[start : start + limits.SENDERS_DELETED], list)
        yield answer.rows[0].deleted_count if answer.rows else None
