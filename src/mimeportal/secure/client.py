"""What a caller does with secure messages: send, read, answer, act on several, and watch over them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from mimeportal import limits
from mimeportal.addresses import normalise
from mimeportal.errors import LostAnswerError, UsageError
from mimeportal.holds.hold import check_moment, checked_id, checked_ids, checked_text, narrowed
from mimeportal.messages.asking import whole
from mimeportal.messages.composing import Attachable, NewFile, Recipients, addresses, recipients
from mimeportal.paging import PageOf, Pages, page_size_of
from mimeportal.patterns import TextPattern
from mimeportal.secure import contract
from mimeportal.secure.contract import DefinitionRow, SettingsRow
from mimeportal.secure.message import (
    MonitoredMessage,
    Recipient,
    SecureConditions,
    SecureContent,
    SecureEvent,
    SecureFilter,
    SecureMessage,
    SentSecure,
)
from mimeportal.transport import Session, not_offered
from mimeportal.untrusted import header_value
from mimeportal.wire import Endpoint, format_date, told_date

if TYPE_CHECKING:
    from mimeportal.bulk import BulkResult, Plan
    from mimeportal.portal import Portal
    from mimeportal.report import OnOutcomes, Report
    from mimeportal.secure import acting


class SecureClient:
    """`portal.secure`. On Mimecast only `list`, by the flags of its message list; the rest is `NotOfferedError`."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._session: Session = portal.session

    # -- sending ---------------------------------------------------------------------------------------

    def send(
        self,
        *,
        to: Recipients,
        subject: str,
        body: str,
        cc: Recipients | None = None,
        attachments: Iterable[Attachable] = (),
        html: str | None = None,
        definition: str | None = None,
        option: contract.Option | None = None,
        mailbox: str | None = None,
        signature: bool = True,
        inline_as_attachments: bool = False,
        request_id: str | None = None,
    ) -> SentSecure:
        """Send a secure message (portal-rules F.1 to F.10).

        What recipients may do is said by a `definition` of the account, or by one of the six options of the secure
        portal (`contract.OPTIONS`); by neither: the default definition. Recipients are written as `carl@b.example` or
        `Carl <carl@b.example>`, attachments are paths, or names with octets: 50 MiB in all. `mailbox` is whose message
        it is, for their delegates. Images inside `html` are left out, and named in the answer, or attached with
        `inline_as_attachments`. A `request_id` of one's own makes the call repeatable for 7 days. Raises
        `UsageError` for what cannot be a message, `ApiError` with `err_validation_internal_only` where a definition has
        nobody outside to apply to, `ForbiddenError` where the account does not let the caller.
        """
        self._session.require(contract.SEND, "sending secure messages")
        whose = self._session.mailbox_of(mailbox)
        item = contract.SendItem(
            request_id=request_id or str(uuid.uuid4()),
            to=addresses(recipients(to, "to")),
            cc=addresses(recipients(cc, "cc")),
            subject=header_value(_text("subject", subject), name="subject"),
            text=_text("body", body),
            attachments=self._uploaded(attachments),
            html=html,
            definition=definition,
            option=option,
            mailbox=whose,
            signature=signature,
            inline_as_attachments=inline_as_attachments,
        )
        return self._sent(contract.SEND, item)

    def reply(
        self,
        id: str,
        *,
        body: str,
        all: bool = False,
        attachments: Iterable[Attachable] = (),
        signature: bool = True,
        request_id: str | None = None,
    ) -> SentSecure:
        """Answer a secure message: its sender, or with `all` everybody (portal-rules F.8).

        The answer is restricted, and expires, as what it quotes. Raises `ForbiddenError` where its sender does not
        let the caller, `ApiError` with `expired` or `recalled` where it is too late.
        """
        self._session.require(contract.REPLY, "answering secure messages")
        item = contract.ReplyItem(
            request_id=request_id or str(uuid.uuid4()),
            id=checked_id(id),
            all=all,
            text=_text("body", body),
            attachments=self._uploaded(attachments),
            signature=signature,
        )
        return self._sent(contract.REPLY, item)

    def _sent(self, endpoint: Endpoint[Any, contract.SentRow], item: Any) -> SentSecure:
        try:
            return SentSecure.from_row(self._session.one(endpoint, item))
        except LostAnswerError as fault:
            fault.remedy = f"Send it again with --request-id {item.request_id}: it is never sent twice."
            raise

    def _uploaded(self, given: Iterable[Attachable]) -> Sequence[contract.AttachmentItem]:
        """Upload the files of a message. Raises `UsageError` before the first, for what is too large in all."""
        if isinstance(given, str | bytes | Path | Mapping) or not isinstance(given, Iterable):
            raise UsageError("attachments takes several files.", remedy="Put it in a list: [path].")
        files = [NewFile.of(entry) for entry in given]
        size = sum(file.size for file in files)
        if size > limits.SECURE_ATTACHMENTS:
            raise UsageError(
                contract.TOO_LARGE,
                why=f"They have {size / limits.MIB:,.1f} MiB together; nothing was sent.",
                remedy="Send fewer or smaller files, or send them as large files.",
            )
        uploaded = [self._portal.messages.upload(file) for file in files]
        return [contract.AttachmentItem(id=file.upload_id, filename=file.name) for file in uploaded]

    def definitions(self, *, mailbox: str | None = None) -> Sequence[DefinitionRow]:
        """The definitions that the caller, or whose `mailbox` it is, may send by; the default first.

        Raises `ForbiddenError` for a mailbox that is not the caller's to use.
        """
        self._session.require(contract.DEFINITIONS, "definitions of secure messages")
        whose = self._session.mailbox_of(mailbox)
        items = [contract.DefinitionsItem(mailbox=whose)] if whose is not None else []
        return self._session.call(contract.DEFINITIONS, items).rows

    def settings(self) -> SettingsRow:
        """What Secure Messaging offers the caller: composing, answering, printing, deleting; its limits.

        Raises `NotOfferedError` on Mimecast.
        """
        self._session.require(contract.SETTINGS, "settings of secure messages")
        row: SettingsRow = self._session.one(contract.SETTINGS, contract.SettingsItem())
        return row

    # -- reading ---------------------------------------------------------------------------------------

    def list(
        self,
        filter: SecureFilter | None = None,
        *,
        page_size: int | None = None,
        **conditions: Unpack[SecureConditions],
    ) -> Pages[SecureMessage]:
        """Secure messages of one folder, newest first, lazily, page by page.

        Conditions may be given as a `SecureFilter` or by its field names. The Inbox shows the days that the account
        sets; `search` and `since` reach further back. Raises `UsageError` for unknown names, `ForbiddenError` for a
        mailbox that is not the caller's.
        """
        wanted = narrowed(SecureFilter, filter, conditions)
        wanted.check()
        size = page_size_of(page_size)
        if not self._session.offers(contract.LIST):
            return self._by_flags(wanted, size)
        folder = wanted.folder or self._folder()
        item = contract.ListItem(
            folder=folder,
            mailbox=self._session.mailbox_of(wanted.mailbox),
            from_=wanted.from_,
            to=wanted.to,
            subject=wanted.subject,
            search=wanted.search,
            start=format_date(wanted.since) if wanted.since else None,
            end=format_date(wanted.until) if wanted.until else None,
            unread=wanted.unread,
            attachments=wanted.has_attachments,
        )

        def fetch(token: str | None) -> PageOf[SecureMessage]:
            answer = self._session.call(contract.LIST, [item], page_size=size, page_token=token)
            found = [m for row in answer.rows if wanted.matches(m := SecureMessage.from_row(row))]
            page = answer.page
            return PageOf(found, page.total_count if page else None, page.next if page else None)

        return Pages(fetch)

    def _by_flags(self, wanted: SecureFilter, page_size: int) -> Pages[SecureMessage]:
        """What Mimecast tells: of what lies in a mailbox, the messages that were sent by Secure Messaging.

        Neither who has read them nor what recipients may do is told there, nor are they searched.
        """
        folder = wanted.folder or "sent"
        if folder == "deleted" or wanted.search is not None:
            doing = "searching secure messages" if wanted.search is not None else "deleted secure messages"
            raise not_offered(doing, self._session.api)
        mail = self._portal.messages.list(
            folder,
            mailbox=wanted.mailbox,
            from_=wanted.from_,
            to=wanted.to,
            subject=wanted.subject,
            since=wanted.since,
            until=wanted.until,
            has_attachments=wanted.has_attachments,
            page_size=page_size,
        )
        return mail.mapped(lambda row: SecureMessage.from_mail(row) if row.ccm else None)

    def _folder(self) -> str:
        """The folder that is meant unless one is named: what one has here is sent, or for people outside received."""
        return "inbox" if self._portal.account.whoami().role == "outside" else "sent"

    def lookup(self, ids: Iterable[str]) -> Iterator[SecureMessage]:
        """The caller's messages with these ids, in any order; others are left out. Raises `UsageError` for no id."""
        wanted = map(checked_id, checked_ids(ids))
        while chunk := list(islice(wanted, limits.LOCAL_BATCH)):
            answer = self._session.call(contract.LIST, [contract.ListItem(ids=chunk)], page_size=len(chunk))
            yield from (SecureMessage.from_row(row) for row in answer.rows)

    def get(self, id: str) -> SecureContent:
        """Open a secure message. To its recipients it is read from now on, and its sender told if they asked for it.

        Raises `NotFoundError` for what is not there or not the caller's, `ApiError` with `recalled`.
        """
        self._session.require(contract.SHOW, "reading secure messages")
        return SecureContent.from_row(self._session.one(contract.SHOW, contract.MessageItem(id=checked_id(id))))

    def print(self, id: str) -> SecureContent:
        """As `get`, in order to print it. Raises `ForbiddenError` where its sender does not allow that (F.12)."""
        self._session.require(contract.PRINT, "printing secure messages")
        return SecureContent.from_row(self._session.one(contract.PRINT, contract.MessageItem(id=checked_id(id))))

    def download(self, attachment: str) -> Iterator[bytes]:
        """The octets of an attachment, by its id, piece by piece. Raises `NotFoundError`."""
        return self._session.stream(contract.FILE, contract.FileItem(id=checked_id(attachment)))

    # -- acting on several -----------------------------------------------------------------------------

    # Each acts at once, and tells per message in the result what became of it. `report` keeps that, `on_outcomes` is
    # called after each batch. Only what stops everything is raised.

    def mark(
        self,
        ids: Iterable[str | SecureMessage],
        *,
        read: bool,
        report: Report | None = None,
        on_outcomes: OnOutcomes | None = None,
    ) -> BulkResult:
        """Mark messages as read or as unread. Raises only what stops everything, `NotOfferedError` on Mimecast."""
        return self._carry_out(self.plan("mark", ids=ids, read=read), report, on_outcomes)

    def delete(
        self,
        ids: Iterable[str | SecureMessage],
        *,
        report: Report | None = None,
        on_outcomes: OnOutcomes | None = None,
    ) -> BulkResult:
        """Move messages to Deleted Items. Raises as `mark` does."""
        return self._carry_out(self.plan("delete", ids=ids), report, on_outcomes)

    def restore(
        self,
        ids: Iterable[str | SecureMessage],
        *,
        report: Report | None = None,
        on_outcomes: OnOutcomes | None = None,
    ) -> BulkResult:
        """Move messages from Deleted Items to where they were. Raises as `mark` does."""
        return self._carry_out(self.plan("restore", ids=ids), report, on_outcomes)

    def recall(
        self,
        ids: Iterable[str | SecureMessage],
        *,
        report: Report | None = None,
        on_outcomes: OnOutcomes | None = None,
    ) -> BulkResult:
        """Take messages back from all of their recipients; answers to them stay (portal-rules F.28 to F.30).

        Raises as `mark` does.
        """
        return self._carry_out(self.plan("recall", ids=ids), report, on_outcomes)

    def expire(
        self,
        ids: Iterable[str | SecureMessage],
        *,
        report: Report | None = None,
        on_outcomes: OnOutcomes | None = None,
    ) -> BulkResult:
        """Let messages expire now. Raises as `mark` does."""
        return self._carry_out(self.plan("expire", ids=ids), report, on_outcomes)

    def plan(
        self,
        verb: acting.Verb,
        *,
        ids: Iterable[str | SecureMessage | Mapping[str, Any]] | None = None,
        filter: SecureFilter | None = None,
        retry_from: Path | None = None,
        limit: int | None = None,
        read: bool | None = None,
    ) -> Plan:
        """Freeze a selection for `mark`, `delete`, `restore`, `recall` or `expire` without changing anything.

        Exactly one of `ids` (ids, messages, or lines of a list, plan or report), `filter` and `retry_from` chooses;
        `limit` keeps the oldest; `read` goes with `mark`. Raises `UsageError`, and `NotOfferedError` on Mimecast. The
        plan must be closed, or used in a `with` statement.
        """
        from mimeportal.secure import acting

        if sum(choice is not None for choice in (ids, filter, retry_from)) != 1:
            raise UsageError("Name secure messages by id, by filter, or by a report to take up: exactly one of them.")
        checked = checked_ids(ids) if ids is not None else None
        options = {"read": read}
        return acting.plan(
            self._portal, verb, ids=checked, filter=filter, retry_from=retry_from, limit=limit, options=options
        )

    def _carry_out(self, plan: Plan, report: Report | None, on_outcomes: OnOutcomes | None) -> BulkResult:
        return plan.carry_out(self._session.transport.parallel, report=report, on_outcomes=on_outcomes)

    # -- what its sender does --------------------------------------------------------------------------

    def extend(self, id: str, *, until: datetime) -> datetime:
        """Move the expiry of a message that has not expired yet to a later time; the expiry that stands now.

        At most to where the account's retention ends (portal-rules F.27). Raises `ApiError` with `no_expiry`,
        `expired` or `recalled`.
        """
        self._session.require(contract.EXTEND, "extending secure messages")
        check_moment("until", until)
        item = contract.ExtendItem(id=checked_id(id), until=format_date(until))
        return told_date(self._session.one(contract.EXTEND, item).expires)

    def notify(self, id: str, *, to: str | None = None) -> Sequence[Recipient]:
        """Write the notification again, to all for whom the message waits or to one of them; each with its `notice`.

        Raises `NotFoundError`, `ForbiddenError` for who did not send it, `ApiError` with `expired` or `recalled`.
        """
        self._session.require(contract.NOTIFY, "notifying of secure messages")
        item = contract.NotifyItem(id=checked_id(id), to=normalise(to) if to else None)
        return [Recipient.from_row(row) for row in self._session.one(contract.NOTIFY, item).recipients]

    # -- watching over them ----------------------------------------------------------------------------

    def monitor(
        self,
        *,
        statuses: Sequence[contract.Status] | None = None,
        direction: contract.Direction | None = None,
        expired: bool | None = None,
        search: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        page_size: int | None = None,
    ) -> Pages[MonitoredMessage]:
        """The secure messages of the account, newest first, for administrators; the last 48 hours without `since`.

        `statuses` are any of `sent, read, recalled, extended` (portal-rules F.34); `search` is part of an address or of
        the subject. Raises `UsageError`, `ForbiddenError`.
        """
        self._session.require(contract.MONITOR, "monitoring secure messages")
        size = page_size_of(page_size)
        for status in statuses or ():
            if status not in contract.STATUSES:
                known = ", ".join(contract.STATUSES)
                raise UsageError(f"There is no status {status!r}.", remedy=f"Use some of: {known}.")
        for name, moment in (("since", since), ("until", until)):
            check_moment(name, moment)
        pattern = TextPattern.parse(search) if search else None

        def matches(message: MonitoredMessage) -> bool:
            return (
                (statuses is None or message.status in statuses)
                and direction in (None, message.direction)
                and expired in (None, message.expired)
                and (since is None or message.date >= since.replace(microsecond=0))
                and (until is None or message.date < whole(until))
                and (pattern is None or any(map(pattern.matches, message.searched)))
            )

        item = contract.MonitorItem(
            statuses=list(statuses) if statuses is not None else None,
            direction=direction,
            expired=expired,
            search=search,
            start=format_date(since) if since else None,
            end=format_date(until) if until else None,
        )

        def fetch(token: str | None) -> PageOf[MonitoredMessage]:
            answer = self._session.call(contract.MONITOR, [item], page_size=size, page_token=token)
            found = [MonitoredMessage.from_row(row) for row in answer.rows]
            kept = [message for message in found if matches(message)]
            page = answer.page
            return PageOf(kept, page.total_count if page else None, page.next if page else None)

        return Pages(fetch)

    def log(self, id: str) -> Sequence[SecureEvent]:
        """Every event of a message in its order: sent, notified, opened, printed, ... For administrators.

        Raises `NotFoundError`, `ForbiddenError`.
        """
        self._session.require(contract.LOG, "the log of secure messages")
        rows = self._session.call(contract.LOG, [contract.MessageItem(id=checked_id(id))]).rows
        return [SecureEvent.from_row(row) for row in rows]


def _text(name: str, given: str) -> str:
    checked_text(name, given)
    return given
