"""A message in a mailbox as a caller sees it, in a list and whole, and the filter that says which ones are meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from typing import TypedDict

from mimeportal.addresses import address_filter
from mimeportal.holds.hold import Attachment, Conditions, check_conditions
from mimeportal.messages.contract.mailbox import FoundRow, MailDetailRow, MailRow
from mimeportal.messages.tracked import date_of
from mimeportal.patterns import TextPattern
from mimeportal.wire import Address, told_date


@dataclass(frozen=True, slots=True)
class MailboxMessage:
    """One message in a mailbox, as lists and searches tell of it (mimecast-api-portal 2.1, 2.5).

    `size` is in octets, `received` when it came into the mailbox. `from_header` is the address of the From header,
    `from_address` the envelope sender. What the portal does not tell is None: on Mimecast the envelope sender, the
    folder of what a search found, whose mailbox it is; `read`, `ccm` (sent by Secure Messaging), `recalled` and
    `expired` are told by lists alone.
    """

    id: str
    folder: str | None
    mailbox: str | None
    status: str
    from_address: str | None
    from_header: str
    from_name: str
    to_addresses: tuple[str, ...]
    subject: str
    route: str | None
    size: int
    attachment_count: int
    has_attachments: bool
    received: datetime
    read: bool | None
    ccm: bool | None
    recalled: bool | None
    expired: bool | None

    @classmethod
    def from_row(cls, row: MailRow, folder: str | None = None) -> MailboxMessage:
        """Read a row of a list; `folder` is the one that was asked for."""
        sender = row.from_ or Address()
        to = row.to if isinstance(row.to, list) else [row.to] if row.to else []
        attached = row.has_attachments if row.has_attachments is not None else row.attachment_count > 0
        return cls(
            id=row.id,
            folder=row.folder or folder,
            mailbox=row.mailbox,
            status=row.status.lower(),
            from_address=row.envelope_from,
            from_header=sender.email_address,
            from_name=sender.displayable_name,
            to_addresses=tuple(address.email_address for address in to if address.email_address),
            subject=row.subject,
            route=row.route.lower() if row.route else None,
            size=row.size,
            attachment_count=row.attachment_count,
            has_attachments=attached,
            received=told_date(row.received),
            read=row.read,
            ccm=row.ccm,
            recalled=row.recalled,
            expired=row.expired,
        )

    @classmethod
    def from_found(cls, row: FoundRow) -> MailboxMessage:
        """Read a row of archive/search."""
        listed = [address.email_address for address in row.displaytoaddresslist if address.email_address]
        return cls(
            id=row.id,
            folder=None,
            mailbox=None,
            status=row.status.lower(),
            from_address=None,
            from_header=row.displayfromaddress,
            from_name=row.displayfrom if row.displayfrom != row.displayfromaddress else "",
            to_addresses=tuple(listed),
            subject=row.subject,
            route=None,
            size=row.size,
            attachment_count=row.attachmentcount,
            has_attachments=row.attachmentcount > 0,
            received=told_date(row.receiveddate),
            read=None,
            ccm=None,
            recalled=None,
            expired=None,
        )


MAIL_FIELDS = tuple(entry.name for entry in fields(MailboxMessage))


@dataclass(frozen=True, slots=True)
class Correspondent:
    """An address with the name beside it, as a header tells them."""

    address: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """All of one message: its headers, its texts, its attachments. All of it is the sender's words.

    `date` is that of the Date header, `received` when it came into the mailbox, `size` in octets. `text` and `html`
    are None where there is none of the kind; `html` belongs through `mimeportal.untrusted_html.safe_html` before it is
    shown. `notes` tell what was cut or made.
    """

    id: str
    status: str
    message_id: str
    subject: str
    envelope_from: str
    from_: Correspondent
    reply_to: Correspondent | None
    to: tuple[Correspondent, ...]
    cc: tuple[Correspondent, ...]
    date: datetime | None
    received: datetime | None
    size: int
    headers: tuple[tuple[str, str], ...]
    text: str | None
    html: str | None
    attachments: tuple[Attachment, ...]
    notes: tuple[str, ...]

    @classmethod
    def from_row(cls, row: MailDetailRow, *, id: str, text: str | None, html: str | None) -> Message:
        """Read a row of the wire, with the bodies that belong to it."""
        return cls(
            id=id,
            status=row.status.lower(),
            message_id=row.mime_message_id,
            subject=row.subject,
            envelope_from=row.envelope_from.email_address,
            from_=_correspondent(row.from_),
            reply_to=_correspondent(row.reply_to) if row.reply_to and row.reply_to.email_address else None,
            to=tuple(map(_correspondent, row.to)),
            cc=tuple(map(_correspondent, row.cc)),
            date=date_of(row.header_date),
            received=date_of(row.received),
            size=row.size,
            headers=tuple((header.name, value) for header in row.headers for value in header.values),
            text=text,
            html=html,
            attachments=tuple(map(Attachment.from_row, row.attachments)),
            notes=tuple(row.notes),
        )

    def header(self, name: str) -> str | None:
        """The first value of a header; None where there is none of that name."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)


def _correspondent(address: Address) -> Correspondent:
    return Correspondent(address.email_address, address.displayable_name)


class MailConditions(TypedDict, total=False):
    """The fields of a `MailFilter`, by name."""

    from_: str | None
    to: str | None
    subject: str | None
    since: datetime | None
    until: datetime | None
    has_attachments: bool | None
    larger_than: int | None


@dataclass(frozen=True)
class MailFilter(Conditions):
    """Which messages of a mailbox are meant: all conditions that are set must hold.

    `from_` and `to` read as promises B.2 says; `subject` is a substring, or a glob with `*`, whatever the case.
    `since` is included, `until` is not; `larger_than` is in octets.
    """

    from_: str | None = None
    to: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    has_attachments: bool | None = None
    larger_than: int | None = None

    @cached_property
    def _tests(self) -> Sequence[Callable[[MailboxMessage], bool]]:
        check_conditions(self, ("from_", "to", "subject"))
        tests: list[Callable[[MailboxMessage], bool]] = []
        if self.from_ is not None:
            sent = address_filter(self.from_)
            tests.append(lambda row: sent(filter(None, (row.from_address, row.from_header))))
        if self.to is not None:
            addressed = address_filter(self.to)
            tests.append(lambda row: addressed(row.to_addresses))
        if self.subject is not None:
            pattern = TextPattern.parse(self.subject)
            tests.append(lambda row: pattern.matches(row.subject))
        since, until, attached, larger = self.since, self.until, self.has_attachments, self.larger_than
        if since is not None:
            tests.append(lambda row: row.received >= since)
        if until is not None:
            tests.append(lambda row: row.received < until)
        if attached is not None:
            tests.append(lambda row: row.has_attachments == attached)
        if larger is not None:
            tests.append(lambda row: row.size > larger)
        return tests

    def check(self) -> None:
        """Raise `UsageError` when a condition cannot be read."""
        _ = self._tests

    def matches(self, message: MailboxMessage) -> bool:
        """Whether a row is meant. Applied to every row, whatever the portal filtered (promises A.2)."""
        return all(test(message) for test in self._tests)
