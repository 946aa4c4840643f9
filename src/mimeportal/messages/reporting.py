"""What a caller does about the sender of a message: block, in bulk, and report."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimeportal import limits
from mimeportal.addresses import ENTRY_TYPES, SENDER_PARTS, EntryType, SenderPart, domain_of, normalise
from mimeportal.bulk import BulkResult, Keyed, Plan, Worker
from mimeportal.errors import ApiError, LostAnswerError, UsageError
from mimeportal.holds.hold import checked_id, checked_ids
from mimeportal.messages.asking import Asking
from mimeportal.messages.contract import writing as contract
from mimeportal.messages.message import MailboxMessage, Message
from mimeportal.report import DESCRIBED, Context, OnOutcomes, Report, Verdict, retry_selection
from mimeportal.selection import Item, Selection, collect
from mimeportal.senders import contract as senders
from mimeportal.transport import Session, no_such, not_offered

if TYPE_CHECKING:
    from mimeportal.portal import Portal

_VERB = "block"


@dataclass(frozen=True, slots=True)
class ReportedMessage:
    """What a report did: `done`, or `already` when the message was reported before.

    `entry` blocks its sender from now on; where none could be added, `not_blocked` says why.
    """

    id: str
    outcome: str
    entry: str | None
    not_blocked: str | None


REPORTED_FIELDS = ("id", "outcome", "entry", "not_blocked")


class Reporting(Asking):
    """The part of `portal.messages` that is about unwanted senders."""

    def block(
        self,
        messages: Iterable[str | MailboxMessage | Mapping[str, Any]],
        form: EntryType = "address",
        *,
        sender_part: SenderPart = "header",
        report: Report | None = None,
        on_outcomes: OnOutcomes | None = None,
    ) -> BulkResult:
        """Block the senders of messages: the `address`, or the whole `domain`, for whoever has the message.

        Takes what `list()` and `search()` give, or ids. The From header is what the person saw; `sender_part` takes
        `envelope` too. Every message has an outcome of its own; `report` keeps it, `on_outcomes` is called after each
        batch. The senders learn nothing. On Mimecast addresses alone. Raises only what stops everything: `UsageError`,
        `AuthenticationError`, `UnavailableError`, `NotOfferedError`.
        """
        plan = self.plan_block(messages, form, sender_part=sender_part)
        return plan.carry_out(self._session.transport.parallel, report=report, on_outcomes=on_outcomes)

    def plan_block(
        self,
        messages: Iterable[str | MailboxMessage | Mapping[str, Any]] | None = None,
        form: EntryType = "address",
        *,
        sender_part: SenderPart = "header",
        limit: int | None = None,
        retry_from: Path | None = None,
    ) -> Plan:
        """What `block()` would do, frozen: `run()` does it. `limit` keeps the oldest; `retry_from` takes up a report.

        Raises `UsageError`, `NotOfferedError`. The plan must be closed, or used in a `with` statement.
        """
        context = Context(self._portal.profile, self._portal.account.code, self._portal.user or "app")
        local = self._session.offers(contract.BLOCK)
        worker: Worker = BlockWorker(self._session) if local else MimecastBlockWorker(self._portal)
        if retry_from is not None:
            undone = retry_selection(retry_from, actions=frozenset({_VERB}), context=context, entry_of=_entry)
            return Plan(undone, worker, context)
        if messages is None:
            raise UsageError("Whose sender shall be blocked?", remedy="Name messages, or a report to take up.")
        options = self._options(form, sender_part)
        selection: Selection = collect(self._items(checked_ids(messages), options))
        if limit is not None:
            selection.keep_oldest(limit)
        return Plan(selection, worker, context)

    def _options(self, form: EntryType, sender_part: SenderPart) -> dict[str, Any]:
        if form not in ENTRY_TYPES:
            raise UsageError(f"form takes address or domain, not {form!r}.")
        if sender_part not in SENDER_PARTS:
            raise UsageError(f"sender_part takes header or envelope, not {sender_part!r}.")
        if form == "domain" and not self._session.offers(contract.BLOCK):
            raise not_offered("blocking a whole domain", self._session.api)
        return {"block": form, **({"sender_part": sender_part} if sender_part != "header" else {})}

    def _items(self, wanted: Iterator[Any], options: Mapping[str, Any]) -> Iterator[Item]:
        while chunk := list(islice(wanted, limits.LOCAL_BATCH)):
            bare = [checked_id(entry) for entry in chunk if isinstance(entry, str)]
            found = dict(self._described(bare))
            for entry in chunk:
                if isinstance(entry, MailboxMessage):
                    yield _item(entry.id, options, _facts(entry))
                elif isinstance(entry, str):
                    yield _item(entry, options, found.get(entry, {}))
                else:
                    yield _recorded(entry, options)

    def _described(self, ids: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """What is known of messages, without their content where the portal tells them apart."""
        if self._session.offers(contract.BLOCK):
            yield from ((row.id, _facts(row)) for row in self._portal.messages.lookup(ids))
            return
        for id in ids:
            try:
                message = self._portal.messages.get(id)
            except ApiError:
                continue  # its verdict is that of the act
            yield id, _facts_of(message)

    def report(self, id: str, type: contract.ReportType, *, request_id: str | None = None) -> ReportedMessage:
        """Report one message as `spam` or `phishing`: it moves to Junk, its sender is blocked, and the original goes
        to the security team. The sender learns nothing (portal-rules C.15 to C.18).

        Raises `NotFoundError`, `NotOfferedError` on Mimecast, which has no such function for programs.
        """
        if type not in contract.REPORT_TYPES:
            raise UsageError(f"A message is reported as spam or phishing, not {type!r}.")
        self._session.require(contract.REPORT, "reporting a message")
        name = request_id or str(uuid.uuid4())
        item = contract.ReportItem(id=checked_id(id), type=type, request_id=name)
        try:
            with no_such("message"):
                row = self._session.one(contract.REPORT, item)
        except LostAnswerError as fault:
            fault.remedy = "Report it again: it is never passed on twice."
            raise
        return ReportedMessage(row.id, row.outcome, row.entry, row.not_blocked)


# -- what is planned -------------------------------------------------------------------------------------------


def _facts(row: MailboxMessage) -> dict[str, Any]:
    return {
        "from_address": row.from_address,
        "from_header": row.from_header,
        "to_address": row.mailbox,
        "subject": row.subject,
        "date_received": row.received.isoformat(),
    }


def _facts_of(message: Message) -> dict[str, Any]:
    return {
        "from_address": message.envelope_from,
        "from_header": message.from_.address,
        "subject": message.subject,
        "date_received": message.received.isoformat() if message.received else None,
    }


def _item(id: str, options: Mapping[str, Any], facts: Mapping[str, Any]) -> Item:
    return Item(id, _VERB, options, dict(facts), _entry(facts, options))


def _entry(facts: Mapping[str, Any], options: Mapping[str, Any]) -> str | None:
    part = "from_address" if options.get("sender_part") == "envelope" else "from_header"
    address = normalise(str(facts.get(part) or ""))
    if "@" not in address:
        return None
    return domain_of(address) if options.get("block") == "domain" else address


def _recorded(entry: object, options: Mapping[str, Any]) -> Item:
    """A line of a list, or of a plan or report, whose options must be those that are given."""
    if not isinstance(entry, Mapping):
        raise UsageError(f"Neither an id nor a message: {entry!r}.", remedy="Take ids or messages from a list.")
    id = checked_id(entry.get("id"))
    if entry.get("action") not in (None, _VERB):
        raise UsageError(f"The plan says {entry['action']}, this is {_VERB}.", remedy="Plan this one.")
    recorded = entry.get("options")
    if entry.get("action") is not None and recorded != options:
        raise UsageError(
            f"The plan has options of its own ({recorded}), and these differ ({dict(options)}).",
            remedy="Give the same ones, or make another plan.",
        )
    facts = {name: entry.get(name) for name in DESCRIBED}
    facts["to_address"] = facts["to_address"] or entry.get("mailbox")
    facts["date_received"] = facts["date_received"] or entry.get("received")
    return _item(id, options, facts)


# -- how it is sent --------------------------------------------------------------------------------------------


class BlockWorker(Keyed):
    """Blocks through a local portal's own operation, which knows whose message it is."""

    batch_size = limits.LOCAL_BATCH

    def __init__(self, session: Session) -> None:
        self._session = session

    def act(self, items: Sequence[Item]) -> list[Verdict | None]:
        asked = [
            contract.BlockItem(
                id=item.id, form=item.options["block"], sender_part=item.options.get("sender_part", "header")
            )
            for item in items
        ]
        answer = self._session.call(contract.BLOCK, asked)
        verdicts: dict[str, Verdict] = {}
        for failure in answer.failures:
            if isinstance(failure.key, dict):
                refused = Verdict("failed", failure.code, failure.message, answer.request_id)
                verdicts[str(failure.key.get("id"))] = refused
        for row in answer.rows:
            if row.outcome == "already":
                verdicts[row.id] = Verdict("already", request_id=answer.request_id)
            elif row.outcome == "done":
                was = f"It stood on the {row.moved_from} list." if row.moved_from else None
                code = "moved" if row.moved_from else None
                verdicts[row.id] = Verdict("done", code, was, answer.request_id, row.entry)
        return [verdicts.get(item.id) for item in items]


class MimecastBlockWorker(Keyed):
    """Blocks through Mimecast's permit-or-block-sender, which wants the address and whose list."""

    batch_size = 1

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def act(self, items: Sequence[Item]) -> list[Verdict | None]:
        (item,) = items
        whose = item.described.get("to_address") or self._portal.user
        if not item.entry or not whose:
            return [Verdict("failed", "no_sender", "Its sender, or whose list is meant, is not known.")]
        asked = senders.PermitOrBlockItem(sender=item.entry, to=str(whose), action="block")
        self._portal.session.one(senders.PERMIT_OR_BLOCK, asked)
        return [Verdict("done", entry=item.entry)]
