"""What a caller asks about mail on its way: track it, see what waits, what was rejected, what bounced."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mimeportal import limits
from mimeportal.account import contract as account
from mimeportal.addresses import address_filter, normalise, parse_address
from mimeportal.errors import ApiError, NotFoundError, UsageError
from mimeportal.holds.hold import check_moment, checked_id, checked_ids, checked_text
from mimeportal.messages.asking import Asking, Test, narrowing, whole
from mimeportal.messages.contract import finder as contract
from mimeportal.messages.contract import undelivered
from mimeportal.messages.tracked import (
    MessageInfo,
    ProcessingMessage,
    QueueLength,
    Rejection,
    TrackedMessage,
    date_of,
)
from mimeportal.paging import Pages
from mimeportal.patterns import TextPattern, fold
from mimeportal.transport import no_such, not_offered
from mimeportal.wire import ROUTES, Route, format_date

_WINDOW = timedelta(days=30) - timedelta(hours=1)  # the finder takes what is younger than 30 days (7.1)
_AHEAD = timedelta(minutes=5)  # another machine's clock may be ahead of ours


class Finder(Asking):
    """The part of `portal.messages` that is about mail on its way."""

    # -- the finder --------------------------------------------------------------------------------------

    def track(
        self,
        *,
        message_id: str | None = None,
        from_: str | None = None,
        to: str | None = None,
        subject: str | None = None,
        sender_ip: str | None = None,
        status: contract.Status | Sequence[contract.Status] | None = None,
        route: Route | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        has_attachments: bool | None = None,
        search_reason: str | None = None,
        page_size: int | None = None,
    ) -> Pages[TrackedMessage]:
        """Messages that came or left, newest first as far as the portal sorts them, lazily.

        `message_id` is the Message-ID with its `<>`; `from_` and `to` read as promises B.2 says; `subject` is a
        substring, or a glob with `*`. The last 30 days unless `since` says otherwise; `since` is included, `until`
        is not. `search_reason` is what some accounts want for their audit. Every filter is applied again to every
        row; a row that does not tell its Message-ID is looked at. Mimecast wants `message_id`, `from_`, `to`,
        `subject` or `sender_ip`. Raises `UsageError`, `ForbiddenError` where the caller is no administrator.
        """
        statuses = _checked_statuses(status)
        for name, text in (
            ("message_id", message_id),
            ("from_", from_),
            ("to", to),
            ("subject", subject),
            ("sender_ip", sender_ip),
            ("route", route),
            ("search_reason", search_reason),
        ):
            if text is not None:
                checked_text(name, text)
        if route is not None and fold(route) not in ROUTES:
            raise UsageError(f"There is no route {route!r}.", remedy=f"Use one of: {', '.join(ROUTES)}.")
        if has_attachments is not None and not isinstance(has_attachments, bool):
            raise UsageError(f"has_attachments takes True or False, not {has_attachments!r}.")
        tests = _tests(from_, to, subject, sender_ip, statuses, route, since, until, has_attachments)
        options = contract.AdvancedOptions(
            from_=narrowing(from_), to=narrowing(to), subject=_subject(subject), sender_ip=sender_ip or None
        )
        local = self._session.api == "local"
        if not local and not message_id and not options.to_json():
            raise UsageError(
                "Mimecast's message finder wants to know what to look for.",
                why="A status, a route or a time alone is not enough for it.",
                remedy="Name a message id, an address or domain of sender or recipient, a subject, or a sender's IP.",
            )
        asked = contract.SearchItem(
            message_id=message_id or None,
            advanced_track_and_trace_options=options if options.to_json() else None,
            route=[fold(route)] if route else None,
            status=list(statuses) or None if self._session.api != "api1" else None,
            attachments=has_attachments if self._session.api != "api1" else None,
            search_reason=search_reason,
            **_window(since, until, None if local else _WINDOW),
        )

        def wanted(message: TrackedMessage) -> bool:
            return all(test(message) for test in tests) and (not message_id or self._has_id(message, message_id))

        return self._pages(contract.SEARCH, asked, TrackedMessage.from_row, wanted, page_size)

    def bounced(
        self,
        *,
        mailbox: str | None = None,
        from_: str | None = None,
        to: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        page_size: int | None = None,
    ) -> Pages[TrackedMessage]:
        """Messages that were accepted and could not be delivered, newest first (portal-rules C.10).

        Those that the caller sent or would have got, or the owner of `mailbox`; administrators without one see all.
        The last 30 days unless `since`. On Mimecast `track(status="bounced", ...)`, which takes no mailbox. `info()`
        brings the properties of one; content is not shown. Raises `UsageError`, `ForbiddenError` for a mailbox that is
        not the caller's.
        """
        if not self._session.offers(undelivered.BOUNCED):
            if mailbox is not None:
                raise not_offered("bounced mail by mailbox: name it as sender or recipient", self._session.api)
            return self.track(
                from_=from_, to=to, subject=subject, status="bounced", since=since, until=until, page_size=page_size
            )
        for name, text in (("from_", from_), ("to", to), ("subject", subject)):
            if text is not None:
                checked_text(name, text)
        tests = _tests(from_, to, subject, None, ("bounced",), None, since, until, None)
        asked = undelivered.BouncedItem(
            mailbox=parse_address(mailbox) if mailbox is not None else None,
            from_=from_,
            to=to,
            subject=subject,
            **_window(since, until, None),
        )

        def wanted(row: TrackedMessage) -> bool:
            return all(test(row) for test in tests)

        return self._pages(undelivered.BOUNCED, asked, TrackedMessage.from_row, wanted, page_size)

    def info(self, id: str, *, content: bool = False) -> MessageInfo:
        """All that the portal tells of one tracked message; with `content` its texts and attachments too.

        Raises `NotFoundError` for an id that is none, `ForbiddenError` for content without the permission to view.
        """
        item = contract.InfoItem(id=checked_id(id), load_content="true" if content else None)
        with no_such("tracked message", remedy="Track it again: an id of the hold list is no tracking id."):
            return MessageInfo.from_row(self._session.one(contract.INFO, item))

    def hold_ids(self, tracked: Iterable[TrackedMessage | str]) -> Iterator[str]:
        """The ids that release or reject those of these messages which are held now; one request each.

        Takes what `track()` gives, or tracking ids. What is not held is left out. Raises as `info`.
        """
        for message in checked_ids(tracked):
            if isinstance(message, TrackedMessage) and message.status != "held":
                continue
            hold_id = self.info(message.id if isinstance(message, TrackedMessage) else message).hold_id
            if hold_id is not None:
                yield hold_id

    def _has_id(self, message: TrackedMessage, message_id: str) -> bool:
        """Whether a row is the message asked for. Where nothing shows it, only what can't be acted on is kept."""
        told = message.message_id
        if told is None:
            told = self.info(message.id).header("Message-ID")
        if told is None:
            return message.status != "held"
        return told.strip("<> \t") == message_id.strip("<> \t")

    # -- queues and logs ---------------------------------------------------------------------------------

    def processing(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        search: str | None = None,
        page_size: int | None = None,
    ) -> Pages[ProcessingMessage]:
        """Messages that are on their way and not yet delivered, newest first; of the last 7 days unless `since`.

        `search` is part of an address, the subject, the status text or the sender's IP; with `*` a glob. Raises
        `UsageError`, `ForbiddenError` where the caller is no administrator.
        """
        for name, moment in (("since", since), ("until", until)):
            check_moment(name, moment)
        pattern = _pattern("search", search)
        asked = contract.ProcessingItem(
            sort_by="createTime", sort_order="desc", search_by=_search_by("ALL", search), **_window(since, until, None)
        )

        def wanted(row: ProcessingMessage) -> bool:
            texts = (row.from_address, row.from_header, row.to_address, row.subject, row.info, row.remote_ip)
            return _within(row.created, since, until) and (pattern is None or any(map(pattern.matches, texts)))

        return self._pages(contract.PROCESSING, asked, ProcessingMessage.from_row, wanted, page_size)

    def queues(self, *, since: datetime | None = None, until: datetime | None = None) -> Sequence[QueueLength]:
        """How many messages waited to be delivered, inbound and outbound, over time; the last 24 hours by default.

        Raises `UsageError`, `ForbiddenError` where the caller is no administrator.
        """
        for name, moment in (("since", since), ("until", until)):
            check_moment(name, moment)
        until = whole(until or self._now())
        since = since or until - timedelta(days=1)
        if since >= until:
            raise UsageError("The end of the time lies before its start.", remedy="Give a `since` before `until`.")
        item = contract.QueuesItem(start=format_date(since), end=format_date(until))
        row = self._session.one(contract.QUEUES, item)
        return [
            *_lengths("inbound", row.inbound_email_queue, since),
            *_lengths("outbound", row.outbound_email_queue, since),
        ]

    def rejected(
        self,
        *,
        mailbox: str | None = None,
        search: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        page_size: int | None = None,
    ) -> Pages[Rejection]:
        """Messages that were refused, newest first; of today (UTC) unless `since`, and of the last 7 days at the most.

        Those to the caller, or to `mailbox`; administrators and apps without one see all (portal-rules C.12). `search`
        is part of an address, the type, the text of the refusal or the sender's IP; with `*` a glob. Raises
        `UsageError`, `ForbiddenError` for a mailbox that is not the caller's.
        """
        for name, moment in (("since", since), ("until", until)):
            check_moment(name, moment)
        if mailbox is not None:
            checked_text("mailbox", mailbox)
        pattern = _pattern("search", search)
        whose = normalise(mailbox) if mailbox else None
        asked = contract.RejectionsItem(
            admin=self._sees_all(),
            mailbox=whose,
            search_by=_search_by("all", search),
            **_window(since, until, None),
        )

        def wanted(row: Rejection) -> bool:
            texts = (row.from_address, row.to_address, row.type, row.info, row.remote_ip)
            return (
                (whose is None or normalise(row.to_address) == whose)
                and _within(row.created, since, until)
                and (pattern is None or any(map(pattern.matches, texts)))
            )

        return self._pages(contract.REJECTIONS, asked, _rejection, wanted, page_size)

    def rejection(self, id: str, *, mailbox: str | None = None) -> Rejection:
        """The properties of one message that was refused: it is looked for in the list of the last 7 days.

        Raises `NotFoundError` for an id that is not in it.
        """
        checked_id(id)
        since = self._now() - timedelta(days=limits.REJECTION_DAYS)
        for found in self.rejected(mailbox=mailbox, since=since):
            if found.id == id:
                return found
        raise NotFoundError(
            "No such rejected message.",
            why="It is not in the list of the last 7 days.",
            remedy="List again: mimeportal messages rejected --since 7d",
        )

    def _now(self) -> datetime:
        """What time it is at the portal, if it tells."""
        told = self._portal.account.whoami().now if self._session.offers(account.WHOAMI) else None
        return told or datetime.now(UTC)

    def _sees_all(self) -> bool:
        """Whether whoever asks sees everybody's mail: an administrator, or an app on Mimecast."""
        if self._session.offers(account.WHOAMI):
            return self._portal.account.whoami().role == "administrator"
        return not self._portal.is_person


def _tests(
    from_: str | None,
    to: str | None,
    subject: str | None,
    sender_ip: str | None,
    statuses: Sequence[str],
    route: str | None,
    since: datetime | None,
    until: datetime | None,
    attachments: bool | None,
) -> list[Test[TrackedMessage]]:
    """The filters as the client applies them to every row, whatever the portal did (promises A.2)."""
    for name, moment in (("since", since), ("until", until)):
        check_moment(name, moment)
    tests: list[Test[TrackedMessage]] = [lambda row: _within(row.received, since, until)]
    if from_ is not None:
        sent = address_filter(from_)
        tests.append(lambda row: sent((row.from_address, row.from_header)))
    if to is not None:
        addressed = address_filter(to)
        tests.append(lambda row: addressed(row.to_addresses))
    if subject is not None:
        pattern = TextPattern.parse(subject)
        tests.append(lambda row: pattern.matches(row.subject))
    if sender_ip is not None:
        tests.append(lambda row: row.sender_ip == sender_ip)
    if statuses:
        tests.append(lambda row: row.status in statuses)
    if route is not None:
        tests.append(lambda row: row.route == fold(route))
    if attachments is not None:
        tests.append(lambda row: row.has_attachments == attachments)
    return tests


def _checked_statuses(status: object) -> tuple[str, ...]:
    named = () if status is None else (status,) if isinstance(status, str) else status
    if not isinstance(named, tuple | list):
        raise UsageError(f"status takes a text or several, not {status!r}.")
    for name in named:
        if not isinstance(name, str) or fold(name) not in contract.STATUSES:
            raise UsageError(f"There is no status {name!r}.", remedy=f"Use one of: {', '.join(contract.STATUSES)}.")
    return tuple(fold(name) for name in named)


def _subject(text: str | None) -> str | None:
    """Wildcards stand anywhere but at the start (7.1)."""
    return text if text and not text.startswith(("*", "?")) else None


def _window(since: datetime | None, until: datetime | None, default: timedelta | None) -> dict[str, Any]:
    """`start` and `end`; with a `default` length both are always sent (promises A.2)."""
    now = datetime.now(UTC)
    if default is not None:
        since, until = since or now - default, until or now + _AHEAD
    return {"start": format_date(since) if since else None, "end": format_date(whole(until)) if until else None}


def _within(moment: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    """Whether a moment lies in a window; one that is not told does unless something was asked."""
    if moment is None:
        return since is None and until is None
    return (since is None or moment >= since) and (until is None or moment < until)


def _pattern(name: str, text: str | None) -> TextPattern | None:
    if text is None:
        return None
    checked_text(name, text)
    return TextPattern.parse(text)


def _search_by(field: str, text: str | None) -> contract.SearchBy | None:
    return contract.SearchBy(field_name=field, value=text) if text and "*" not in text else None


def _rejection(row: contract.RejectionRow) -> Rejection:
    """A row as our portals write it. Raises `ApiError` for one with none of these names: no source shows them."""
    if not (row.created or row.to or row.type):
        raise ApiError(
            "The portal's rejection log has a form that is not known.",
            code="err_answer_unknown",
            remedy=f"See it as it is: mimeportal api {contract.REJECTIONS.path}",
        )
    return Rejection.from_row(row)


def _lengths(direction: str, told: Any, since: datetime) -> Iterator[QueueLength]:
    """A list of `{date, count}`, or the one number that the documents show (6.7)."""
    if isinstance(told, list):
        for entry in told:
            if isinstance(entry, dict):
                yield from _lengths(direction, entry.get("count"), date_of(str(entry.get("date"))) or since)
    elif re.fullmatch(r"[0-9]{1,18}", str(told)):
        yield QueueLength(direction, since, int(told))
