"""What a caller does with held mail: list, read, summarise, download, and decide in bulk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimeportal import limits
from mimeportal.addresses import address_filter, address_filter_kind, normalise
from mimeportal.errors import UsageError
from mimeportal.holds import contract
from mimeportal.holds.contract import (
    FindHoldsItem,
    HoldRow,
    ListHoldsItem,
    ReleaseLogRow,
    SearchBy,
    StateRow,
    SummaryRow,
)
from mimeportal.paging import PageOf, Pages
from mimeportal.patterns import TextPattern, fold
from mimeportal.transport import Session, not_offered
from mimeportal.wire import format_date, parse_date

if TYPE_CHECKING:
    from mimeportal.bulk import BulkResult, Outcome, Plan, Report
    from mimeportal.portal import Portal

_WINDOW = timedelta(days=60)  # sent to Mimecast where no --since is given: its own default is unknown


@dataclass(frozen=True, slots=True)
class Hold:
    """One message held for one recipient.

    `size` is in octets. `from_address` is the envelope sender, `from_header` the address of the From header
    (what the person saw; "" where there is none or several). `level`, `expires` and `sender_blocked` are
    None where the portal does not tell them, as on Mimecast.
    """

    id: str
    queue: str
    level: str | None
    reason: str
    reason_code: str
    policy: str
    from_address: str
    from_header: str
    to_address: str
    subject: str
    route: str
    size: int
    has_attachments: bool
    date_received: datetime
    expires: datetime | None
    sender_blocked: bool | None

    @classmethod
    def from_row(cls, row: HoldRow, queue: str) -> Hold:
        """Read a row of the wire."""
        return cls(
            id=row.id,
            queue=queue,
            level=row.level,
            reason=row.reason,
            reason_code=row.reason_code,
            policy=row.policy_info,
            from_address=row.from_.email_address,
            from_header=row.from_header.email_address,
            to_address=row.to.email_address,
            subject=row.subject,
            route=row.route.lower(),
            size=row.size,
            has_attachments=row.has_attachments,
            date_received=parse_date(row.date_received),
            expires=parse_date(row.expires) if row.expires else None,
            sender_blocked=row.sender_blocked,
        )


HOLD_FIELDS = tuple(entry.name for entry in fields(Hold))


@dataclass(frozen=True)
class HoldFilter:
    """Which held messages are meant: all conditions that are set must hold.

    `queue` is `personal`, `moderated` or `admin`; None is personal for a person, admin for an app.
    `mailboxes` are recipients' addresses, any of them. `from_` and `to` read as promises B.2 says.
    `subject`, `search` and `policy` are substrings, or globs with `*`, whatever the case. `reason` is a
    code or id, or part of the text. `since` is included, `until` is not; `larger_than` is in octets.
    """

    queue: str | None = None
    mailboxes: tuple[str, ...] = ()
    from_: str | None = None
    to: str | None = None
    subject: str | None = None
    search: str | None = None
    reason: str | None = None
    policy: str | None = None
    route: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    has_attachments: bool | None = None
    larger_than: int | None = None

    @property
    def narrows(self) -> bool:
        """Whether any condition but the queue is set."""
        return any(getattr(self, entry.name) not in (None, ()) for entry in fields(self) if entry.name != "queue")

    @cached_property
    def _tests(self) -> Sequence[Callable[[Hold], bool]]:
        tests: list[Callable[[Hold], bool]] = []
        if self.mailboxes:
            mailboxes = frozenset(normalise(mailbox) for mailbox in self.mailboxes)
            tests.append(lambda hold: normalise(hold.to_address) in mailboxes)
        if self.from_ is not None:
            sent = address_filter(self.from_)
            tests.append(lambda hold: sent((hold.from_address, hold.from_header)))
        if self.to is not None:
            received = address_filter(self.to)
            tests.append(lambda hold: received((hold.to_address,)))
        if self.subject is not None:
            subject = TextPattern.parse(self.subject)
            tests.append(lambda hold: subject.matches(hold.subject))
        if self.search is not None:
            search = TextPattern.parse(self.search)
            tests.append(
                lambda hold: any(
                    search.matches(text)
                    for text in (hold.subject, hold.from_address, hold.from_header, hold.to_address, hold.reason)
                )
            )
        if self.reason is not None:
            reason, code = TextPattern.parse(self.reason), fold(self.reason)
            tests.append(lambda hold: fold(hold.reason_code) == code or reason.matches(hold.reason))
        if self.policy is not None:
            policy = TextPattern.parse(self.policy)
            tests.append(lambda hold: policy.matches(hold.policy))
        if self.route is not None:
            route = fold(self.route)
            tests.append(lambda hold: fold(hold.route) == route)
        since, until, larger, attached = self.since, self.until, self.larger_than, self.has_attachments
        if since is not None:
            tests.append(lambda hold: hold.date_received >= since)
        if until is not None:
            tests.append(lambda hold: hold.date_received < until)
        if larger is not None:
            tests.append(lambda hold: hold.size > larger)
        if attached is not None:
            tests.append(lambda hold: hold.has_attachments == attached)
        return tests

    def check(self) -> None:
        """Raise `UsageError` when a condition cannot be read."""
        _ = self._tests

    def matches(self, hold: Hold) -> bool:
        """Whether a row is meant. Applied to every row, whatever the portal filtered (promises A.2)."""
        return all(test(hold) for test in self._tests)


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attachment of a held message; `size` in octets, `content_id` what HTML names an inline image by."""

    id: str
    name: str
    content_type: str
    size: int
    sha256: str
    content_id: str = ""


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """What may be seen of a held message before deciding: headers, texts, list of attachments.

    `html` is as it arrived: pass it through `mimeportal.untrusted_html.safe_html` before showing it.
    """

    hold: Hold | None
    headers: list[tuple[str, str]]
    text: str | None
    html: str | None
    attachments: list[Attachment]
    notes: list[str]


class HoldsClient:
    """`portal.holds`."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._session: Session = portal.session

    # -- reading ---------------------------------------------------------------------------------------

    def list(self, filter: HoldFilter | None = None, *, page_size: int = 0, **conditions: Any) -> Pages[Hold]:
        """Held messages, newest first, lazily, page by page.

        Conditions may be given as a `HoldFilter` or by its field names. Raises `UsageError` for unknown
        names, `ForbiddenError` for a queue or mailbox that is not the caller's.
        """
        wanted = self._completed(replace(filter or HoldFilter(), **conditions))
        queue = wanted.queue or "personal"
        size = page_size or limits.PAGE_SIZE

        asked: ListHoldsItem | None = None

        def fetch(token: str | None) -> PageOf[Hold]:
            nonlocal asked
            if self._session.offers(contract.FIND):
                answer = self._session.call(contract.FIND, [_find_item(wanted)], page_size=size, page_token=token)
            else:
                if token is None or asked is None:  # a token continues the same question, its dates included
                    asked = self._list_item(wanted)
                answer = self._session.call(contract.LIST, [asked], page_size=size, page_token=token)
            holds = [hold for row in answer.rows if wanted.matches(hold := Hold.from_row(row, queue))]
            page = answer.page
            return PageOf(holds, page.total_count if page else None, page.next if page else None)

        return Pages(fetch)

    def lookup(self, ids: Iterable[str], *, queue: str | None = None) -> Iterator[Hold]:
        """The holds with these ids that are still held, in any order; others are left out."""
        wanted = iter(ids)
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
        """Headers, texts and attachments of one held message (portal-rules B.10). Raises `NotFoundError`."""
        detail = self._session.one(contract.DETAIL, contract.MessageDetailItem(id=id, context="RECEIVED"))
        hold = next(iter(self.lookup([id])), None)
        return HeldMessage(
            hold=hold,
            headers=[(header.name, value) for header in detail.headers for value in header.values],
            text=detail.text_body,
            html=detail.html_body,
            attachments=[
                Attachment(entry.id, entry.filename, entry.content_type, entry.size, entry.sha256, entry.content_id)
                for entry in detail.attachments
            ],
            notes=detail.notes,
        )

    def download(self, id: str) -> Iterator[bytes]:
        """The stored octets of a held message, or of one attachment by its id, piece by piece."""
        return self._session.stream(contract.FILE, contract.FileItem(id=id))

    def summary(self) -> Sequence[SummaryRow]:
        """How many messages are held under each policy definition."""
        return self._session.call(contract.SUMMARY).rows

    def log(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        status: str | None = None,
        search: str | None = None,
        page_size: int = 0,
    ) -> Pages[ReleaseLogRow]:
        """What left the hold queue: released, rejected, expired; the last month unless `since` is given."""
        item = contract.ReleaseLogItem(
            start=format_date(since) if since else None,
            end=format_date(until) if until else None,
            search_by=SearchBy(field_name="all", value=search) if search else None,
            filter_by=[{"fieldName": "status", "value": status}] if status else None,
        )
        pattern = TextPattern.parse(search) if search else None

        def matches(row: ReleaseLogRow) -> bool:
            if status and row.status != status:
                return False
            return pattern is None or any(pattern.matches(text) for text in _log_texts(row))

        def fetch(token: str | None) -> PageOf[ReleaseLogRow]:
            answer = self._session.call(contract.LOG, [item], page_size=page_size or limits.PAGE_SIZE, page_token=token)
            page = answer.page
            rows = [row for row in answer.rows if matches(row)]
            return PageOf(rows, page.total_count if page else None, page.next if page else None)

        return Pages(fetch)

    def states(self, ids: Sequence[str]) -> Sequence[StateRow]:
        """The state of 1 to 500 holds: state, by whom, when, in which request. Not offered on Mimecast."""
        return self._session.call(contract.STATES, [contract.StatesItem(ids=list(ids))]).rows

    # -- deciding --------------------------------------------------------------------------------------

    def release(
        self,
        ids: Iterable[str | Hold],
        *,
        permit: str | None = None,
        sender_part: str = "header",
        report: Report | None = None,
        on_outcomes: Callable[[Sequence[Outcome]], None] | None = None,
    ) -> BulkResult:
        """Release these held messages; `permit` (`address`, `domain`) also permits their senders.

        Acts at once and reports per item in the result; only what stops everything is raised.
        """
        plan = self.plan("release", ids=ids, permit=permit, sender_part=sender_part)
        return self._run(plan, report, on_outcomes)

    def reject(
        self,
        ids: Iterable[str | Hold],
        *,
        block: str | None = None,
        sender_part: str = "header",
        notify: bool = False,
        message: str | None = None,
        reason_type: str | None = None,
        report: Report | None = None,
        on_outcomes: Callable[[Sequence[Outcome]], None] | None = None,
    ) -> BulkResult:
        """Reject these held messages; `block` also blocks their senders; `notify` tells the senders."""
        plan = self.plan(
            "reject",
            ids=ids,
            block=block,
            sender_part=sender_part,
            notify=notify,
            message=message,
            reason_type=reason_type,
        )
        return self._run(plan, report, on_outcomes)

    def plan(
        self,
        verb: str,
        *,
        ids: Iterable[str | Hold | Mapping[str, Any]] | None = None,
        filter: HoldFilter | None = None,
        retry_from: Path | None = None,
        limit: int | None = None,
        **options: Any,
    ) -> Plan:
        """Freeze a selection for `release` or `reject` without changing anything.

        Exactly one of `ids` (ids, holds, or lines of a list, plan or report), `filter` and `retry_from`
        chooses. `limit` keeps the oldest. Options are those of `release()` and `reject()`; with
        `retry_from` they are the recorded ones. Raises `UsageError`, and `NotOfferedError` for an option
        that this portal cannot do. The plan must be closed, or used in a `with` statement.
        """
        from mimeportal.holds import deciding

        if sum(choice is not None for choice in (ids, filter, retry_from)) != 1:
            raise UsageError("Name held messages by id, by filter, or by a report to take up: exactly one of them.")
        return deciding.plan(
            self._portal, verb, ids=ids, filter=filter, retry_from=retry_from, limit=limit, options=options
        )

    def plan_rules(self, rules: Path, *, filter: HoldFilter | None = None, limit: int | None = None) -> Plan:
        """Freeze what the rules of a TOML file decide on the held messages of a queue.

        The first rule that matches decides; messages kept by a rule or matched by none are left out, and
        counted in `left_out`. Raises `UsageError` naming the line or key that is wrong.
        """
        from mimeportal.holds import deciding
        from mimeportal.holds import rules as rule_files

        return deciding.plan_rules(self._portal, rule_files.load(rules), filter or HoldFilter(), limit)

    def _run(
        self, plan: Plan, report: Report | None, on_outcomes: Callable[[Sequence[Outcome]], None] | None
    ) -> BulkResult:
        with plan:
            result = plan.run(report=report, concurrency=self._session.transport.parallel, on_outcomes=on_outcomes)
        if result.interrupted:
            raise KeyboardInterrupt
        if result.stopped:
            raise result.stopped
        return result

    # -- how a list is asked for -----------------------------------------------------------------------

    def _completed(self, wanted: HoldFilter) -> HoldFilter:
        if wanted.queue not in (None, *contract.QUEUES):
            raise UsageError(
                f"There is no queue {wanted.queue!r}.", remedy=f"Use one of: {', '.join(contract.QUEUES)}."
            )
        queue = wanted.queue or ("personal" if self._portal.is_person else "admin")
        if self._session.offers(contract.FIND):
            return replace(wanted, queue=queue)
        if queue == "moderated":
            raise not_offered("the moderated queue", self._session.api)
        mailboxes = wanted.mailboxes
        if queue == "personal" and not mailboxes and not self._portal.is_person:
            if self._portal.user is None:
                raise UsageError(
                    "Whose personal queue? An app has none of its own.",
                    remedy="Name the mailbox with --mailbox ADDRESS or MIMEPORTAL_USER.",
                )
            mailboxes = (self._portal.user,)
        since = wanted.since or datetime.now(UTC) - _WINDOW
        return replace(wanted, queue=queue, mailboxes=mailboxes, since=since)

    def _list_item(self, wanted: HoldFilter) -> ListHoldsItem:
        """Mimecast's list takes one search field: the one that narrows most, the rest is filtered here."""
        until = wanted.until or datetime.now(UTC) + timedelta(minutes=5)
        return ListHoldsItem(
            admin=wanted.queue == "admin" or not self._portal.is_person,
            start=format_date(wanted.since) if wanted.since else None,
            end=format_date(until),
            search_by=_search_by(wanted),
        )


def _find_item(wanted: HoldFilter) -> FindHoldsItem:
    return FindHoldsItem(
        queue=wanted.queue or "personal",
        mailboxes=list(wanted.mailboxes) or None,
        from_=wanted.from_,
        to=wanted.to,
        subject=wanted.subject,
        search=wanted.search,
        reason=wanted.reason,
        policy=wanted.policy,
        route=wanted.route,
        start=wanted.since.isoformat() if wanted.since else None,
        end=wanted.until.isoformat() if wanted.until else None,
        attachments=wanted.has_attachments,
        larger_than=wanted.larger_than,
    )


def _search_by(wanted: HoldFilter) -> SearchBy | None:
    if len(wanted.mailboxes) == 1:
        return SearchBy(field_name="recipient", value=wanted.mailboxes[0])
    for name, text in (("sender", wanted.from_), ("recipient", wanted.to)):
        if text is not None and address_filter_kind(text)[0] in ("address", "domain"):
            return SearchBy(field_name=name, value=address_filter_kind(text)[1])
    if wanted.subject and "*" not in wanted.subject:
        return SearchBy(field_name="subject", value=wanted.subject)
    return None


def _log_texts(row: ReleaseLogRow) -> Iterator[str]:
    yield row.subject
    yield row.from_env.email_address
    yield row.from_hdr.email_address
    yield from (address.email_address for address in row.to)
    yield row.held_reason
    yield str(row.operator or "")


def described(hold: Hold) -> dict[str, Any]:
    """What a plan and a report tell of a hold."""
    return {
        "queue": hold.queue,
        "from_address": hold.from_address,
        "from_header": hold.from_header,
        "to_address": hold.to_address,
        "subject": hold.subject,
        "date_received": hold.date_received.isoformat(),
    }


def left_out_of_release(holds: Iterable[Hold], left_out: Counter[str]) -> Iterator[Hold]:
    """The holds that a release by filter or rule takes: without those whose sender is blocked (promises B.5)."""
    for hold in holds:
        if hold.sender_blocked:
            left_out["sender_blocked"] += 1
        else:
            yield hold
