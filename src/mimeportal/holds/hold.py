"""A held message as a caller sees it, and the filter that says which ones are meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, TypedDict, TypeVar

from mimeportal.addresses import address_filter, normalise
from mimeportal.errors import UsageError
from mimeportal.holds.contract import HoldRow, Queue
from mimeportal.patterns import TextPattern, fold
from mimeportal.wire import ROUTES, AttachmentRow, Route, told_date


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
            date_received=told_date(row.date_received),
            expires=told_date(row.expires) if row.expires else None,
            sender_blocked=row.sender_blocked,
        )


HOLD_FIELDS = tuple(entry.name for entry in fields(Hold))


def checked_id(id: object) -> str:
    """An id as it was given. Raises `UsageError` for what cannot be one."""
    if not isinstance(id, str):
        remedy = "Give its `id`." if isinstance(id, Hold | Mapping) else "Take an id from a list."
        raise UsageError(f"An id is text, not {type(id).__name__}.", remedy=remedy)
    if not id:
        raise UsageError("An id is empty.", remedy="Take an id from a list.")
    checked_text("id", id)
    return id


def checked_ids(ids: Any) -> Iterator[Any]:
    """An iterator over several ids. Raises `UsageError` for one by itself, which is text to iterate over too."""
    if isinstance(ids, str | bytes | Hold | Mapping) or not isinstance(ids, Iterable):
        raise UsageError(f"ids takes several of them, not one {type(ids).__name__}.", remedy="Put it in a list: [id].")
    return iter(ids)


def checked_text(name: str, value: object) -> None:
    """Raise `UsageError` for what is no text, or has octets in it that are not UTF-8."""
    if not isinstance(value, str):
        raise UsageError(f"{name} takes text, not {value!r}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} is not UTF-8: {value!r}.", remedy="Type it in UTF-8.") from None


class Conditions:
    """What every filter is: frozen conditions, of which some tests are made once."""

    def __getstate__(self) -> dict[str, Any]:
        # Tests are functions, which do not travel between processes: they are made anew there.
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}  # type: ignore[arg-type]


class HoldConditions(TypedDict, total=False):
    """The fields of a `HoldFilter`, by name."""

    queue: Queue | None
    mailboxes: tuple[str, ...]
    from_: str | None
    to: str | None
    subject: str | None
    search: str | None
    reason: str | None
    policy: str | None
    route: Route | None
    since: datetime | None
    until: datetime | None
    has_attachments: bool | None
    larger_than: int | None


@dataclass(frozen=True)
class HoldFilter(Conditions):
    """Which held messages are meant: all conditions that are set must hold.

    `queue` is `personal`, `moderated` or `admin`; None is personal for a person, admin for an app.
    `mailboxes` are recipients' addresses, any of them. `from_` and `to` read as promises B.2 says.
    `subject`, `search` and `policy` are substrings, or globs with `*`, whatever the case. `reason` is a
    code or id, or part of the text. `since` is included, `until` is not; `larger_than` is in octets.
    """

    queue: Queue | None = None
    mailboxes: tuple[str, ...] = ()
    from_: str | None = None
    to: str | None = None
    subject: str | None = None
    search: str | None = None
    reason: str | None = None
    policy: str | None = None
    route: Route | None = None
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
        self._check_kinds()
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
            if route not in ROUTES:
                raise UsageError(f"There is no route {self.route!r}.", remedy=f"Use one of: {', '.join(ROUTES)}.")
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

    def _check_kinds(self) -> None:
        check_conditions(self, ("queue", "from_", "to", "subject", "search", "reason", "policy", "route"))
        if not isinstance(self.mailboxes, tuple | list):
            raise UsageError(f"mailboxes takes a tuple of addresses, not {self.mailboxes!r}.")
        for mailbox in self.mailboxes:
            checked_text("mailboxes", mailbox)

    def matches(self, hold: Hold) -> bool:
        """Whether a row is meant. Applied to every row, whatever the portal filtered (promises A.2)."""
        return all(test(hold) for test in self._tests)


FilterT = TypeVar("FilterT")


def narrowed(kind: type[FilterT], filter: FilterT | None, conditions: Mapping[str, Any]) -> FilterT:
    """A filter of some kind, given as such, by the names of its fields, or both. Raises `UsageError`, also for what it
    cannot read.
    """
    if filter is not None and not isinstance(filter, kind):
        raise UsageError(f"filter takes a {kind.__name__}, not {filter!r}.")
    known = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    for name in conditions:
        if name not in known:
            raise UsageError(f"There is no condition {name!r}.", remedy=f"Use one of: {', '.join(known)}.")
    return replace(filter or kind(), **conditions)  # type: ignore[type-var]


def check_conditions(filter: Any, texts: Iterable[str]) -> None:
    """Raise `UsageError` where one of these texts of a filter is none, or another of its conditions cannot be read."""
    for name in texts:
        if getattr(filter, name) is not None:
            checked_text(name, getattr(filter, name))
    for name in ("since", "until"):
        check_moment(name, getattr(filter, name))
    attached, larger = filter.has_attachments, filter.larger_than
    if attached is not None and not isinstance(attached, bool):
        raise UsageError(f"has_attachments takes True or False, not {attached!r}.")
    if larger is not None and (not isinstance(larger, int) or isinstance(larger, bool)):
        raise UsageError(f"larger_than takes a number of octets, not {larger!r}.")


def check_moment(name: str, moment: object) -> None:
    """Raise `UsageError` for what is no instant: without a zone, or before or after the days there are."""
    if moment is None:
        return
    if not isinstance(moment, datetime):
        raise UsageError(f"{name} takes a datetime, not {moment!r}.")
    if moment.tzinfo is None:
        raise UsageError(f"{name} has no time zone: {moment}.", remedy="Give one, such as datetime.UTC.")
    try:
        for day in (-1, 1):
            _ = moment.astimezone(UTC) + timedelta(days=day)
    except OverflowError:
        raise UsageError(f"{name} is too far away: {moment}.") from None


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attachment of a message; `size` in octets, `content_id` what HTML names an inline image by."""

    id: str
    name: str
    content_type: str
    size: int
    sha256: str
    content_id: str = ""

    @classmethod
    def from_row(cls, row: AttachmentRow) -> Attachment:
        """Read a row of the wire."""
        return cls(row.id, row.filename, row.content_type, row.size, row.sha256, row.content_id)


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """What may be seen of a held message before deciding: headers, texts, list of attachments.

    `html` is as it arrived: pass it through `mimeportal.untrusted_html.safe_html` before showing it.
    """

    hold: Hold | None
    headers: tuple[tuple[str, str], ...]
    text: str | None
    html: str | None
    attachments: tuple[Attachment, ...]
    notes: tuple[str, ...]


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
