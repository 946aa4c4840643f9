"""What a caller does with held mail: list, read, summarise, download, and decide in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from mimeportal import limits
from mimeportal.addresses import EntryType, SenderPart
from mimeportal.errors import ForbiddenError, UsageError
from mimeportal.holds import asking, contract
from mimeportal.holds.contract import FindHoldsItem, ListHoldsItem, LogStatus, Queue, SearchBy, SummaryRow
from mimeportal.holds.hold import (
    Attachment,
    HeldMessage,
    Hold,
    HoldConditions,
    HoldFilter,
    check_moment,
    checked_id,
    checked_ids,
    checked_text,
    narrowed,
)
from mimeportal.holds.log import HoldState, ReleaseLogEntry
from mimeportal.paging import PageOf, Pages, page_size_of
from mimeportal.patterns import TextPattern
from mimeportal.transport import Session, no_such, not_offered
from mimeportal.wire import format_date

if TYPE_CHECKING:
    from mimeportal.bulk import BulkResult, Plan
    from mimeportal.holds.deciding import Decision, DecisionOptions
    from mimeportal.portal import Portal
    from mimeportal.report import OnOutcomes, Report

_WINDOW = timedelta(days=60)  # sent to Mimecast where no --since is given: its own default is unknown


class HoldsClient:
    """`portal.holds`."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._session: Session = portal.session

    # -- reading ---------------------------------------------------------------------------------------

    def list(
        self, filter: HoldFilter | None = None, *, page_size: int | None = None, **conditions: Unpack[HoldConditions]
    ) -> Pages[Hold]:
        """Held messages, newest first, lazily, page by page.

        Conditions may be given as a `HoldFilter` or by its field names; `page_size` is how many rows are fetched at
        once, 1 to 500. Raises `UsageError` for unknown names, `ForbiddenError` for a queue or mailbox that is not the
        caller's, `NotOfferedError` for the moderated queue on Mimecast.
        """
        wanted = self._completed(narrowed(HoldFilter, filter, conditions))
        queue = wanted.queue or "personal"
        another = self._of_another(queue)
        size = page_size_of(page_size)

        asked: ListHoldsItem | None = None

        def fetch(token: str | None) -> PageOf[Hold]:
            nonlocal asked
            if self._session.offers(contract.FIND):
                item = asking.find_item(wanted, "admin" if another else queue)
                answer = self._session.call(contract.FIND, [item], page_size=size, page_token=token)
            else:
                if token is None or asked is None:  # a token continues the same question, its dates included
                    admin = queue == "admin" or not self._portal.is_person
                    asked = asking.list_item(wanted, admin=admin)
                answer = self._session.call(contract.LIST, [asked], page_size=size, page_token=token)
            holds = [hold for row in answer.rows if wanted.matches(hold := Hold.from_row(row, queue))]
            if another:  # what is held at another level is in no personal queue, where the portal tells levels
                holds = [hold for hold in holds if hold.level in (None, "user")]
            page = answer.page
            return PageOf(holds, page.total_count if page else None, page.next if page else None)

        return Pages(fetch)

    def lookup(self, ids: Iterable[str], *, queue: Queue | None = None) -> Iterator[Hold]:
        """The holds with these ids that are still held, in any order; others are left out.

        Where the portal finds none by its id, as on Mimecast, all of `queue` is read for them. Raises `UsageError` for
        what is no id.
        """
        return self._found(map(checked_id, checked_ids(ids)), queue)

    def _found(self, wanted: Iterator[str], queue: Queue | None) -> Iterator[Hold]:
        if self._session.offers(contract.FIND):
            while chunk := list(islice(wanted, limits.LOCAL_BATCH)):
                item = FindHoldsItem(ids=chunk)
                answer = self._session.call(contract.FIND, [item], page_size=len(chunk))
                yield from (Hold.from_row(row, queue or row.queue or "personal") for row in answer.rows)
            return
        left = set(wanted)
        for hold in self.list(queue=queue):
            if hold.id in left:
                left.discard(hold.id)
                yield hold
            if not left:
                return

    def get(self, id: str) -> HeldMessage:
        """Headers, texts and attachments of one held message (portal-rules B.10). Raises `NotFoundError`.

        An app of API 2.0 that may not read held messages gets what the message finder tells of it; where that
        is not certain, `NotOfferedError` (promises H).
        """
        item = contract.MessageDetailItem(id=checked_id(id), context="RECEIVED")
        try:
            with no_such("held message"):
                detail = self._session.one(contract.DETAIL, item)
        except ForbiddenError as fault:
            if fault.code != "app_forbidden":
                raise
            from mimeportal.holds import by_finder

            return by_finder.read(self._portal, id)
        hold = next(iter(self.lookup([id])), None)
        return HeldMessage(
            hold=hold,
            headers=tuple((header.name, value) for header in detail.headers for value in header.values),
            text=detail.text_body,
            html=detail.html_body,
            attachments=tuple(map(Attachment.from_row, detail.attachments)),
            notes=tuple(detail.notes),
        )

    def download(self, id: str) -> Iterator[bytes]:
        """The stored octets of a held message, or of one attachment by its id, piece by piece.

        Raises `NotFoundError`, and `LostAnswerError` while it is read where they break off.
        """
        item = contract.FileItem(id=checked_id(id))
        with no_such("held message or attachment"):
            return self._session.stream(contract.FILE, item)

    def summary(self) -> Sequence[SummaryRow]:
        """How many messages are held under each policy definition (portal-rules B.36). Raises `ForbiddenError`."""
        return self._session.call(contract.SUMMARY).rows

    def log(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        status: LogStatus | None = None,
        search: str | None = None,
        page_size: int | None = None,
    ) -> Pages[ReleaseLogEntry]:
        """What left the hold queue: released, rejected, expired; the last month unless `since` is given.

        `since` is included, `until` is not. `search` is part of an address, the subject, the reason or the operator;
        with `*` a glob. Raises `UsageError`, `ForbiddenError` where the caller may not see the log.
        """
        for name, moment in (("since", since), ("until", until)):
            check_moment(name, moment)
        for name, text in (("status", status), ("search", search)):
            if text is not None:
                checked_text(name, text)
        size = page_size_of(page_size)
        item = contract.ReleaseLogItem(
            start=format_date(since) if since else None,
            end=format_date(until) if until else None,
            search_by=SearchBy(field_name="all", value=search) if search else None,
            filter_by=[{"fieldName": "status", "value": status}] if status else None,
        )
        pattern = TextPattern.parse(search) if search else None

        def matches(entry: ReleaseLogEntry) -> bool:
            if status and entry.status != status:
                return False
            return pattern is None or any(map(pattern.matches, entry.searched))

        def fetch(token: str | None) -> PageOf[ReleaseLogEntry]:
            answer = self._session.call(contract.LOG, [item], page_size=size, page_token=token)
            page = answer.page
            rows = [entry for row in answer.rows if matches(entry := ReleaseLogEntry.from_row(row))]
            return PageOf(rows, page.total_count if page else None, page.next if page else None)

        return Pages(fetch)

    def states(self, ids: Iterable[str]) -> Sequence[HoldState]:
        """The states of 1 to 500 holds, decided ones too; what is not there or not the caller's is left out.

        Raises `UsageError` for more at once, `NotOfferedError` on Mimecast.
        """
        item = contract.StatesItem(ids=[checked_id(id) for id in checked_ids(ids)])
        return [HoldState.from_row(row) for row in self._session.call(contract.STATES, [item]).rows]

    # -- deciding --------------------------------------------------------------------------------------

    def release(
        self,
        ids: Iterable[str | Hold],
        *,
        permit: EntryType | None = None,
        sender_part: SenderPart = "header",
        report: Report | None = None,
        on_outcomes: OnOutcomes | None = None,
    ) -> BulkResult:
        """Release these held messages to their recipients; `permit` also permits their senders (portal-rules B.13).

        Permitted is the address or the whole domain of the From header, which is what the person saw, or with
        `sender_part` of the envelope. Acts at once and tells per item in the result what became of it; `report` keeps
        it, `on_outcomes` is called after each batch. Raises only what stops everything: `UsageError`,
        `AuthenticationError`, `UnavailableError`, and `NotOfferedError` for a whole domain on Mimecast.
        """
        plan = self.plan("release", ids=ids, permit=permit, sender_part=_unless_default(sender_part))
        return plan.carry_out(self._session.transport.parallel, report=report, on_outcomes=on_outcomes)

    def reject(
        self,
        ids: Iterable[str | Hold],
        *,
        block: EntryType | None = None,
        sender_part: SenderPart = "header",
        notify: bool = False,
        message: str | None = None,
        reason_type: str | None = None,
        report: Report | None = None,
        on_outcomes: OnOutcomes | None = None,
    ) -> BulkResult:
        """Reject these held messages; `block` also blocks their senders, `notify` tells them (portal-rules B.17, B.19).

        What the notice says is `message`; `reason_type` is one of `mimeportal.holds.contract.REASON_TYPES`. More than
        25 notices want a `plan()` with `notify_many`. Raises as `release`, and `DeclinedError` for more notices.
        """
        plan = self.plan(
            "reject",
            ids=ids,
            block=block,
            sender_part=_unless_default(sender_part),
            notify=notify,
            message=message,
            reason_type=reason_type,
        )
        return plan.carry_out(self._session.transport.parallel, report=report, on_outcomes=on_outcomes)

    def plan(
        self,
        verb: Decision,
        *,
        ids: Iterable[str | Hold | Mapping[str, Any]] | None = None,
        filter: HoldFilter | None = None,
        retry_from: Path | None = None,
        limit: int | None = None,
        **options: Unpack[DecisionOptions],
    ) -> Plan:
        """Freeze a selection for `release` or `reject` without changing anything.

        Exactly one of `ids` (ids, holds, or lines of a list, plan or report), `filter` and `retry_from`
        chooses. `limit` keeps the oldest, and cannot stand beside `retry_from`: it would forget the rest.
        Options are those of `release()` and `reject()`; with `retry_from`, and for lines of a plan or
        report, they are the recorded ones. Raises `UsageError`, also for lines that record another verb or
        other options, and `NotOfferedError` for an option that this portal cannot do. The plan must be
        closed, or used in a `with` statement.
        """
        from mimeportal.holds import deciding

        if sum(choice is not None for choice in (ids, filter, retry_from)) != 1:
            raise UsageError("Name held messages by id, by filter, or by a report to take up: exactly one of them.")
        _check_limit(limit, retry_from)
        return deciding.plan(
            self._portal, verb, ids=ids, filter=filter, retry_from=retry_from, limit=limit, options=options
        )

    def plan_rules(
        self,
        rules: Path | None,
        *,
        filter: HoldFilter | None = None,
        limit: int | None = None,
        retry_from: Path | None = None,
    ) -> Plan:
        """Freeze what the rules of a TOML file decide on the held messages of a queue.

        The first rule that matches decides; messages kept by a rule or matched by none are left out, and
        counted in `left_out`. `retry_from`, in place of rules, takes up the report of an earlier run as it
        was decided. Raises `UsageError` naming the line or key that is wrong.
        """
        from mimeportal.holds import deciding
        from mimeportal.holds import rules as rule_files

        if (rules is None) == (retry_from is None):
            raise UsageError("Name a file of rules, or a report to take up: exactly one of them.")
        _check_limit(limit, retry_from)
        if rules is None:
            if filter is not None:
                raise UsageError("A report is taken up with the messages that it records: leave the filter out.")
            return deciding.retry_rules(self._portal, Path(str(retry_from)))
        return deciding.plan_rules(self._portal, rule_files.load(rules), filter or HoldFilter(), limit)

    # -- how a list is asked for -----------------------------------------------------------------------

    def _completed(self, wanted: HoldFilter) -> HoldFilter:
        wanted.check()
        if wanted.queue not in (None, *contract.QUEUES):
            raise UsageError(
                f"There is no queue {wanted.queue!r}.", remedy=f"Use one of: {', '.join(contract.QUEUES)}."
            )
        queue = wanted.queue or ("personal" if self._portal.is_person else "admin")
        ours = self._session.offers(contract.FIND)
        if queue == "moderated" and not ours:
            raise not_offered("the moderated queue", self._session.api)
        mailboxes = wanted.mailboxes
        if self._of_another(queue) and not mailboxes:
            if self._portal.user is None:
                raise UsageError(
                    "Whose personal queue? An app has none of its own.",
                    remedy="Name the mailbox with --mailbox ADDRESS or MIMEPORTAL_USER.",
                )
            mailboxes = (self._portal.user,)
        since = wanted.since or (None if ours else datetime.now(UTC) - _WINDOW)
        return replace(wanted, queue=queue, mailboxes=mailboxes, since=since)

    def _of_another(self, queue: str) -> bool:
        """Whether an app asks for somebody's personal queue: it is read off the list of all (promises B.1)."""
        return queue == "personal" and not self._portal.is_person


def _unless_default(sender_part: SenderPart) -> SenderPart | None:
    return None if sender_part == "header" else sender_part


def _check_limit(limit: object, retry_from: Path | None) -> None:
    if limit is None:
        return
    if not isinstance(limit, int) or limit < 0:
        raise UsageError(f"limit takes a number of messages, not {limit!r}.")
    if retry_from is not None:
        raise UsageError(
            "A limit cannot stand beside a report to take up.",
            why="What it leaves out would be forgotten: the plan beside the report would no longer name it.",
            remedy="Take the report up whole.",
        )
