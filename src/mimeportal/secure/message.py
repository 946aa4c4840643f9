"""A secure message as a caller sees it, and the filter that says which ones are meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property
from typing import Any, TypedDict

from mimeportal.addresses import address_filter
from mimeportal.errors import UsageError
from mimeportal.holds.hold import Attachment, Conditions, check_moment, checked_text
from mimeportal.messages.message import MailboxMessage
from mimeportal.patterns import TextPattern
from mimeportal.secure import contract
from mimeportal.secure.contract import FOLDERS, LogRow, MayRow, MessageRow, MonitorRow, RecipientRow, SecureRow, SentRow
from mimeportal.wire import Address, told_date


@dataclass(frozen=True, slots=True)
class SecureMessage:
    """One secure message as it lies in a folder of somebody's.

    `may` are the acts that the caller may do with it now: of `read, print, reply, reply_all, mark, delete, restore,
    recall, extend, expire, notify`. `status` (`sent, read, recalled, extended`), `definition` and `option` are told
    to its sender and to administrators, and None to others. On Mimecast nothing is told of `direction`, `unread`,
    `definition`, `option`, `expires`, and who may do what. `expired` stands beside the status (portal-rules F.34).
    """

    id: str
    folder: str
    direction: str | None
    from_address: str
    from_name: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    subject: str
    date: datetime
    size: int
    has_attachments: bool
    unread: bool | None
    status: str | None
    definition: str | None
    option: str | None
    expires: datetime | None
    expired: bool
    may: tuple[str, ...]

    @classmethod
    def from_row(cls, row: SecureRow) -> SecureMessage:
        """Read a row of the wire."""
        return cls(
            id=row.id,
            folder=row.folder,
            direction=row.direction,
            from_address=row.from_.email_address,
            from_name=row.from_.displayable_name,
            to=_addresses(row.to),
            cc=_addresses(row.cc),
            subject=row.subject,
            date=told_date(row.date),
            size=row.size,
            has_attachments=row.has_attachments,
            unread=row.unread,
            status=row.status,
            definition=row.definition,
            option=row.option,
            expires=_date(row.expires),
            expired=row.expired,
            may=may(row.may),
        )

    @classmethod
    def from_mail(cls, mail: MailboxMessage) -> SecureMessage:
        """Read the flags of a message list, which is all that Mimecast tells of a secure message."""
        state = "recalled" if mail.recalled else "read" if mail.read else "sent"
        return cls(
            id=mail.id,
            folder=mail.folder or "",
            direction=None,
            from_address=mail.from_header,
            from_name=mail.from_name,
            to=mail.to_addresses,
            cc=(),
            subject=mail.subject,
            date=mail.received,
            size=mail.size,
            has_attachments=mail.has_attachments,
            unread=None,
            status=state if mail.folder == "sent" else None,
            definition=None,
            option=None,
            expires=None,
            expired=bool(mail.expired),
            may=(),
        )


SECURE_FIELDS = tuple(entry.name for entry in fields(SecureMessage))


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient of a secure message.

    `part` is `to` or `cc`. `way` says how it reaches them: it waits in the secure portal (`portal`), it does so under
    a URL of its own (`link`), or it went to them as mail with a banner (`mail`). `notice` tells of the notification
    that was just asked for: `queued`, or why none was written. `read` is when they opened it first.
    """

    address: str
    name: str
    part: str
    way: str
    notice: str | None
    status: str | None
    read: datetime | None

    @classmethod
    def from_row(cls, row: RecipientRow) -> Recipient:
        """Read a row of the wire."""
        return cls(row.address, row.name, row.part, row.way, row.notice, row.status, _date(row.read))


RECIPIENT_FIELDS = tuple(entry.name for entry in fields(Recipient))


@dataclass(frozen=True, slots=True)
class SentSecure:
    """A secure message that was sent: how it reaches whom, and until when it can be answered.

    `left_out` names images inside its text that were left out, as in all mail that goes outside.
    """

    id: str
    definition: str
    option: str | None
    expires: datetime | None
    recipients: tuple[Recipient, ...]
    left_out: tuple[str, ...]

    @classmethod
    def from_row(cls, row: SentRow) -> SentSecure:
        """Read a row of the wire."""
        recipients = tuple(Recipient.from_row(one) for one in row.recipients)
        return cls(row.id, row.definition, row.option, _date(row.expires), recipients, tuple(row.inline_left_out))


@dataclass(frozen=True, slots=True)
class SecureContent:
    """A secure message with its texts and attachments; to its sender also who read it, and which rule sent it so.

    `names` are what its writer called its recipients, by their addresses; whoever had no name is not among them.
    `html` is as it was written: pass it through `mimeportal.untrusted_html.safe_html` before showing it.
    """

    message: SecureMessage
    names: dict[str, str] = field(hash=False)
    text: str | None
    html: str | None
    attachments: tuple[Attachment, ...]
    recipients: tuple[Recipient, ...] | None
    policy: str | None
    notes: tuple[str, ...]

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What a reader sees above the text: From, To, Cc, Subject."""
        message = self.message
        shown = [
            ("From", f"{message.from_name} <{message.from_address}>" if message.from_name else message.from_address),
            ("To", self._called(message.to)),
            ("Cc", self._called(message.cc)),
            ("Subject", message.subject),
        ]
        return [(name, value) for name, value in shown if value]

    def called(self, address: str) -> str:
        """A recipient as the message names them: `Carl Client <carl@elsewhere.example>`, or the address alone."""
        name = self.names.get(address)
        return f"{name} <{address}>" if name else address

    def _called(self, addresses: Iterable[str]) -> str:
        return ", ".join(map(self.called, addresses))

    @classmethod
    def from_row(cls, row: MessageRow) -> SecureContent:
        """Read a row of the wire."""
        return cls(
            message=SecureMessage.from_row(row),
            names={one.email_address: one.displayable_name for one in (*row.to, *row.cc) if one.displayable_name},
            text=row.text_body,
            html=row.html_body,
            attachments=tuple(
                Attachment(entry.id, entry.filename, entry.content_type, entry.size, entry.sha256, entry.content_id)
                for entry in row.attachments
            ),
            recipients=tuple(map(Recipient.from_row, row.recipients)) if row.recipients is not None else None,
            policy=row.policy,
            notes=tuple(row.notes),
        )


@dataclass(frozen=True, slots=True)
class MonitoredMessage:
    """One secure message of the account as administrators see it; `to` is everybody, To before Cc."""

    id: str
    direction: str
    from_address: str
    to: tuple[str, ...]
    subject: str
    status: str
    expires: datetime | None
    expired: bool
    date: datetime
    definition: str
    policy: str | None

    @property
    def searched(self) -> tuple[str, ...]:
        """What the search of the monitor looks at: the subject and everybody's address."""
        return (self.subject, self.from_address, *self.to)

    @classmethod
    def from_row(cls, row: MonitorRow) -> MonitoredMessage:
        """Read a row of the wire."""
        return cls(
            id=row.id,
            direction=row.direction,
            from_address=row.from_.email_address,
            to=tuple(row.to),
            subject=row.subject,
            status=row.status,
            expires=_date(row.expires),
            expired=row.expired,
            date=told_date(row.date),
            definition=row.definition,
            policy=row.policy,
        )


MONITOR_FIELDS = tuple(entry.name for entry in fields(MonitoredMessage))


@dataclass(frozen=True, slots=True)
class SecureEvent:
    """One event of a secure message: what was done, when and by whom; `recipient` where it is about one of them."""

    time: datetime
    event: str
    outcome: str
    actor: str
    recipient: str
    detail: Mapping[str, Any] = field(hash=False)

    @classmethod
    def from_row(cls, row: LogRow) -> SecureEvent:
        """Read a row of the wire."""
        return cls(told_date(row.time), row.event, row.outcome, row.actor, row.recipient, row.detail)


EVENT_FIELDS = tuple(entry.name for entry in fields(SecureEvent))


class SecureConditions(TypedDict, total=False):
    """The fields of a `SecureFilter`, by name."""

    folder: contract.Folder | None
    mailbox: str | None
    from_: str | None
    to: str | None
    subject: str | None
    search: str | None
    since: datetime | None
    until: datetime | None
    unread: bool | None
    has_attachments: bool | None


@dataclass(frozen=True)
class SecureFilter(Conditions):
    """Which secure messages are meant: all conditions that are set must hold.

    `folder` is `inbox`, `sent` or `deleted`; None is `sent` for the account's people, `inbox` for people outside.
    `mailbox` is whose, None the caller's own. `from_` and `to` read as promises B.2 says; `subject` is a substring, or
    a glob with `*`; `search` looks for words in the whole message. `since` is included, `until` is not.
    """

    folder: contract.Folder | None = None
    mailbox: str | None = None
    from_: str | None = None
    to: str | None = None
    subject: str | None = None
    search: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    unread: bool | None = None
    has_attachments: bool | None = None

    @cached_property
    def _tests(self) -> Sequence[Callable[[SecureMessage], bool]]:
        self._check_kinds()
        tests: list[Callable[[SecureMessage], bool]] = []
        if self.from_ is not None:
            sent = address_filter(self.from_)
            tests.append(lambda message: sent((message.from_address,)))
        if self.to is not None:
            received = address_filter(self.to)
            tests.append(lambda message: received((*message.to, *message.cc)))
        if self.subject is not None:
            subject = TextPattern.parse(self.subject)
            tests.append(lambda message: subject.matches(message.subject))
        since, until, unread, attached = self.since, self.until, self.unread, self.has_attachments
        if since is not None:
            tests.append(lambda message: message.date >= since)
        if until is not None:
            tests.append(lambda message: message.date < until)
        if unread is not None:
            tests.append(lambda message: message.unread == unread)
        if attached is not None:
            tests.append(lambda message: message.has_attachments == attached)
        return tests

    def check(self) -> None:
        """Raise `UsageError` when a condition cannot be read."""
        _ = self._tests

    def _check_kinds(self) -> None:
        for name in ("folder", "mailbox", "from_", "to", "subject", "search"):
            if getattr(self, name) is not None:
                checked_text(name, getattr(self, name))
        if self.folder not in (None, *FOLDERS):
            raise UsageError(f"There is no folder {self.folder!r}.", remedy=f"Use one of: {', '.join(FOLDERS)}.")
        for name in ("since", "until"):
            check_moment(name, getattr(self, name))
        for name in ("unread", "has_attachments"):
            if getattr(self, name) not in (None, True, False):
                raise UsageError(f"{name} takes True or False, not {getattr(self, name)!r}.")

    def matches(self, message: SecureMessage) -> bool:
        """Whether a row is meant, as far as it shows (promises A.2): the text that `search` looks at is not in it."""
        return all(test(message) for test in self._tests)


def described(message: SecureMessage) -> dict[str, Any]:
    """What a plan and a report tell of a secure message."""
    return {
        "queue": message.folder,
        "from_address": message.from_address,
        "from_header": message.from_address,
        "to_address": ", ".join((*message.to, *message.cc)),
        "subject": message.subject,
        "date_received": message.date.isoformat(),
    }


def may(row: MayRow) -> tuple[str, ...]:
    """The acts that are allowed, in their order."""
    return tuple(name for name in contract.MayRow.model_fields if getattr(row, name))


def _addresses(given: Iterable[Address]) -> tuple[str, ...]:
    return tuple(address.email_address for address in given)


def _date(text: str | None) -> datetime | None:
    return told_date(text) if text else None
