"""What travels about secure messages. All of it is ours: Mimecast publishes no API for Secure Messaging.

There, only the flags `ccm, read, recalled, expired` of `messages.list` tell of secure messages.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field

from mimeportal import limits
from mimeportal.wire import Address, Endpoint, Item, Offer, Row

Folder = Literal["inbox", "sent", "deleted"]
FOLDERS: tuple[Folder, ...] = get_args(Folder)
# What one may be in (portal-rules F.34); that a message has expired is a flag beside it.
Status = Literal["sent", "read", "recalled", "extended"]
STATUSES: tuple[Status, ...] = get_args(Status)
Direction = Literal["outbound", "inbound", "internal"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
# The six choices after Send in the secure portal, in its order (portal-rules F.6).
Option = Literal["read-receipt", "no-print-no-reply", "no-print", "expire-1d", "expire-7d", "expire-30d"]
OPTIONS: tuple[Option, ...] = get_args(Option)

# Ours: Mimecast's own words stand in a picture (portal-rules F.19).
TOO_LARGE = "The total attachment size exceeds the 50 MB limit."


class AttachmentItem(Item):
    """A file that was uploaded (`messages.upload`), and the name it goes by."""

    id: str
    filename: str | None = None


class SendItem(Item):
    """A new secure message.

    Images inside `html` are left out, as in all mail that goes outside (portal-rules C.6), or attached.
    `definition` (staff, chosen before sending) or `option` (secure portal, chosen after Send) says what recipients
    may do; neither: the default definition. `html` may stand beside `text`. `mailbox` is whose message it is, for
    delegates. With `signature` false the sender's signature is left off.
    """

    request_id: str
    to: list[Address] = []
    cc: list[Address] = []
    subject: str = ""
    text: str = ""
    html: str | None = None
    attachments: list[AttachmentItem] = []
    definition: str | None = None
    option: str | None = None
    mailbox: str | None = None
    signature: bool = True
    inline_as_attachments: bool = False


class ReplyItem(Item):
    """An answer to a secure message: to its sender, or with `all` to everybody. Its recipients are fixed (F.8)."""

    request_id: str
    id: str
    all: bool = False
    text: str = ""
    attachments: list[AttachmentItem] = []
    signature: bool = True


class RecipientRow(Row):
    """One recipient, and how the message reaches them.

    part    `to` or `cc`
    way     `portal` (outside: it waits in the secure portal), `mail` (inside: with a banner), `link` (inside: it
            waits in the secure portal, under a URL of its own)
    notice  of a message that waits: `queued`, or why no notification was written
    status  `sent`, `read`, `recalled`, `extended`; of what went as mail nothing more is known than `sent`
    read    when it was first opened
    """

    address: str
    name: str = ""
    part: str = "to"
    way: str = "portal"
    notice: str | None = None
    status: str | None = None
    read: str | None = None


class SentRow(Row):
    """A secure message that was sent; `inline_left_out` names images inside its text that were left out."""

    id: str
    definition: str = ""
    option: str | None = None
    expires: str | None = None
    recipients: list[RecipientRow] = []
    inline_left_out: list[str] = []


class MayRow(Row):
    """What the caller may do with a message now: the sender's restrictions, its state and the account's settings."""

    read: bool = False
    print: bool = False
    reply: bool = False
    reply_all: bool = False
    mark: bool = False
    delete: bool = False
    restore: bool = False
    recall: bool = False
    extend: bool = False
    expire: bool = False
    notify: bool = False


class ListItem(Item):
    """Which secure messages of one mailbox (none: the caller's own); all conditions must match.

    Without dates and search the Inbox shows the days that the account sets (portal-rules F.17).
    """

    folder: str = "inbox"
    mailbox: str | None = None
    from_: str | None = Field(default=None, alias="from")
    to: str | None = None
    subject: str | None = None
    search: str | None = None
    start: str | None = None
    end: str | None = None
    unread: bool | None = None
    attachments: bool | None = None
    ids: list[str] | None = None


class SecureRow(Row):
    """One secure message as it lies in a folder of the caller's. `status` is told to its sender alone."""

    id: str
    folder: str = ""
    direction: str = ""
    from_: Address = Field(default_factory=Address, alias="from")
    to: list[Address] = []
    cc: list[Address] = []
    subject: str = ""
    date: str = ""
    size: int = 0
    has_attachments: bool = False
    unread: bool = False
    status: str | None = None
    definition: str | None = None
    option: str | None = None
    expires: str | None = None
    expired: bool = False
    may: MayRow = Field(default_factory=MayRow)


class MessageItem(Item):
    """One secure message."""

    id: str


class AttachmentRow(Row):
    """One attachment; `id` fetches it through secure.file."""

    id: str
    filename: str = ""
    size: int = 0
    content_type: str = ""
    content_id: str = ""
    sha256: str = ""
    inline: bool = False


class MessageRow(SecureRow):
    """A secure message with its content. Who received it, and whether they read it, is told to its sender."""

    text_body: str | None = None
    html_body: str | None = None
    attachments: list[AttachmentRow] = []
    recipients: list[RecipientRow] | None = None
    policy: str | None = None
    notes: list[str] = []


class FileItem(Item):
    """The id of an attachment."""

    id: str


class FileRow(Row):
    """Octets, no rows."""


class MarkItem(Item):
    """Mark a message as read or as unread; its sender does not learn of it."""

    id: str
    read: bool


class ActRow(Row):
    """What became of one message: `done`, or `already` when it stood so before."""

    id: str
    outcome: str
    by: str | None = None
    when: str | None = None


class ExtendItem(Item):
    """Move the expiry of a message to a later time (portal-rules F.27)."""

    id: str
    until: str


class ExtendRow(Row):
    """The expiry that stands now."""

    id: str
    expires: str


class NotifyItem(Item):
    """Write the notification again: to all whom a message waits for, or to one of them."""

    id: str
    to: str | None = None


class NotifyRow(Row):
    """To whom the notification was written, and what became of it."""

    id: str
    recipients: list[RecipientRow] = []


class DefinitionsItem(Item):
    """Whose definitions (none: the caller's own)."""

    mailbox: str | None = None


class DefinitionRow(Row):
    """A definition, in the order of the account; `expire_days` null: it does not expire (portal-rules F.9)."""

    name: str
    folder: str = ""
    default: bool = False
    print: bool = False
    reply: bool = False
    reply_all: bool = False
    expire_days: int | None = None
    read_receipt: bool = False


class SettingsItem(Item):
    """No argument."""


class SettingsRow(Row):
    """What Secure Messaging offers the caller: `mode` is `off`, `lite` or `full`; `options` the choices after Send."""

    mode: str
    compose: bool = False
    reply: bool = False
    print: bool = False
    delete: bool = False
    options: list[str] = []
    inbox_days: int = limits.SECURE_INBOX_DAYS
    attachment_octets: int = limits.SECURE_ATTACHMENTS
    retention_days: int = limits.SECURE_RETENTION_DAYS


class MonitorItem(Item):
    """Which secure messages of the account; without dates the last 48 hours (portal-rules F.33)."""

    statuses: list[str] | None = None
    direction: str | None = None
    expired: bool | None = None
    search: str | None = None
    start: str | None = None
    end: str | None = None


class MonitorRow(Row):
    """One secure message as administrators see it: no content (portal-rules F.32). `to` is everybody, To before Cc."""

    id: str
    direction: str = ""
    from_: Address = Field(default_factory=Address, alias="from")
    to: list[str] = []
    subject: str = ""
    status: str = ""
    expires: str | None = None
    expired: bool = False
    date: str = ""
    definition: str = ""
    policy: str | None = None
    may: MayRow = Field(default_factory=MayRow)


class LogRow(Row):
    """One event of a message: who did what, when; `recipient` where it is about one of them."""

    time: str
    event: str
    outcome: str = ""
    actor: str = ""
    recipient: str = ""
    detail: dict[str, Any] = {}


_LOCAL: dict[Any, Offer] = {"local": Offer()}


def _own(name: str, item: Any, row: Any, **what: Any) -> Endpoint[Any, Any]:
    return Endpoint(f"secure.{name}", f"/api/portal/secure/{name}", item, row, _LOCAL, **what)


SEND = _own("send", SendItem, SentRow, repeat="keyed", outsiders=True)
REPLY = _own("reply", ReplyItem, SentRow, repeat="keyed", outsiders=True)
LIST = _own("list", ListItem, SecureRow, paging="token", outsiders=True)
# Opening marks as read; opened twice it is what it was after the first time.
SHOW = _own("show", MessageItem, MessageRow, outsiders=True)
PRINT = _own("print", MessageItem, MessageRow, outsiders=True)
FILE = _own("file", FileItem, FileRow, answer="bytes", outsiders=True)
MARK = _own("mark", MarkItem, ActRow, count=(1, limits.LOCAL_BATCH), repeat="keyed", outsiders=True)
DELETE = _own("delete", MessageItem, ActRow, count=(1, limits.LOCAL_BATCH), repeat="keyed", outsiders=True)
RESTORE = _own("restore", MessageItem, ActRow, count=(1, limits.LOCAL_BATCH), repeat="keyed", outsiders=True)
RECALL = _own("recall", MessageItem, ActRow, count=(1, limits.LOCAL_BATCH), repeat="keyed")
EXTEND = _own("extend", ExtendItem, ExtendRow, repeat="keyed")
EXPIRE = _own("expire", MessageItem, ActRow, count=(1, limits.LOCAL_BATCH), repeat="keyed")
NOTIFY = _own("notify", NotifyItem, NotifyRow, repeat="never")
DEFINITIONS = _own("definitions", DefinitionsItem, DefinitionRow, count=(0, 1))
SETTINGS = _own("settings", SettingsItem, SettingsRow, count=(0, 1), outsiders=True)
MONITOR = _own("monitor", MonitorItem, MonitorRow, paging="token")
LOG = _own("log", MessageItem, LogRow)

ENDPOINTS = (
    SEND, REPLY, LIST, SHOW, PRINT, FILE, MARK, DELETE, RESTORE, RECALL, EXTEND, EXPIRE, NOTIFY, DEFINITIONS,
    SETTINGS, MONITOR, LOG,
)  # fmt: skip
