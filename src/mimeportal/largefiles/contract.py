"""What travels about Large File Send. Mimecast publishes no API for it: every operation is ours.

One send is a message with its files and recipients. It is created, its files are uploaded chunk by chunk, each is
checked whole, and the send is finished: then its recipients are mailed their links (portal-rules E).
"""

from __future__ import annotations

from typing import Literal, get_args

from mimeportal import limits
from mimeportal.wire import Api, Endpoint, Item, Offer, Row

Status = Literal["uploading", "paused", "scanning", "active", "expired", "failed", "cancelled"]
STATUSES: tuple[Status, ...] = get_args(Status)


class PreferencesItem(Item):
    """No argument."""


class PreferencesRow(Row):
    """What the administrator set: the defaults, which of them are `enforced`, and the limits of a send.

    `enforced` holds names of this row's first three fields as portal.toml writes them.
    """

    expire_access_after_days: int
    access_key: bool
    notify_on_download: bool
    enforced: list[str] = []
    most_days: int
    most_files: int
    most_octets: int
    most_recipients: int
    chunk: int


class FileItem(Item):
    """One file that will be uploaded: its name, without a folder, and its size in octets."""

    name: str
    size: int


class CreateItem(Item):
    """A send that begins. What is left out of the preferences is as the administrator set it.

    `request_id` is made by the client: the same one again gets the first answer (promises C.7). `mailbox` is whose
    send it is, the caller's own by default. `access_key` is stored as a hash alone, so it is the client that makes it.
    """

    request_id: str
    mailbox: str | None = None
    to: list[str]
    subject: str
    body: str = ""
    files: list[FileItem]
    expire_access_after_days: int | None = None
    access_key: str | None = None
    notify_on_download: bool | None = None


class FileRow(Row):
    """One file of a send. `sha256` is told once all of it has arrived and was checked; `downloads` were completed."""

    id: str
    name: str
    size: int
    sha256: str = ""
    downloads: int = 0


class DownloadRow(Row):
    """How often a recipient has downloaded one file to its end, and when last."""

    file: str
    downloads: int = 0
    last: str | None = None


class RecipientRow(Row):
    """One recipient: whether their notification was `queued`, or why it was left out, and what they downloaded."""

    address: str
    notified: str = ""
    downloads: list[DownloadRow] = []


class LargeFileRow(Row):
    """One send. `expires` and `kept_until` are absent until it was sent; `reason` says why it failed.

    `recipients` is told by largefiles.show alone; `to` by every operation.
    """

    id: str
    status: str
    sender: str
    to: list[str]
    subject: str = ""
    body: str | None = None
    files: list[FileRow]
    size: int = 0
    arrived: int = 0
    created: str = ""
    sent: str | None = None
    expires: str | None = None
    kept_until: str | None = None
    downloads: int = 0
    access_key: bool = False
    notify_on_download: bool = False
    expire_access_after_days: int = 0
    reason: str | None = None
    recipients: list[RecipientRow] | None = None


class ChunkItem(Item):
    """One chunk of a file, counted from 0; all but the last have the size that largefiles.preferences tells.

    `crc32` finds what was damaged on its way; the whole is compared by its SHA-256 (see `CheckItem`).
    """

    file: str
    index: int
    crc32: int


class ChunkRow(Row):
    """A chunk that has arrived and is what its CRC-32 says."""

    file: str
    index: int


class UploadItem(Item):
    """The file whose upload is asked about."""

    file: str


class MissingRow(Row):
    """Which chunks have not arrived: `[first, last]` of each gap, in order."""

    file: str
    missing: list[list[int]]
    checked: bool = False


class CheckItem(Item):
    """The SHA-256 of a whole file, hex: what arrived is compared with it."""

    file: str
    sha256: str


class LargeFileItem(Item):
    """One send."""

    id: str


class FindItem(Item):
    """Which sends are listed: of whose mailbox, in which status, with which text in subject, a name or a recipient."""

    mailbox: str | None = None
    status: str | None = None
    search: str | None = None


class ExtendItem(Item):
    """A new end of access, ISO 8601; no later than `kept_until`."""

    id: str
    until: str


class ResubmitItem(Item):
    """A send that failed, to upload it anew; or, with `to`, one that was sent, for these recipients too."""

    id: str
    request_id: str
    to: list[str] | None = None


class ChangeRow(LargeFileRow):
    """A send after an act; `outcome` is `done`, or `already` where it stood so before."""

    outcome: str = "done"


class OctetsItem(Item):
    """One file by its id; with the header Range a part of it."""

    file: str


class OctetsRow(Row):
    """No row: the answer is the octets."""


_LOCAL: dict[Api, Offer] = {"local": Offer()}
_PATH = "/api/portal/largefiles"

PREFERENCES = Endpoint(
    "largefiles.preferences", f"{_PATH}/preferences", PreferencesItem, PreferencesRow, _LOCAL, count=(0, 1)
)
CREATE = Endpoint("largefiles.create", f"{_PATH}/create", CreateItem, LargeFileRow, _LOCAL, repeat="keyed")
CHUNK = Endpoint(
    "largefiles.chunk",
    f"{_PATH}/chunk",
    ChunkItem,
    ChunkRow,
    _LOCAL,
    form="bytes",
    repeat="look",
    look="largefiles.missing",
    bytes_in=limits.CHUNK,
)
MISSING = Endpoint("largefiles.missing", f"{_PATH}/missing", UploadItem, MissingRow, _LOCAL)
CHECK = Endpoint("largefiles.check", f"{_PATH}/check", CheckItem, FileRow, _LOCAL, repeat="keyed")
FINISH = Endpoint("largefiles.finish", f"{_PATH}/finish", LargeFileItem, ChangeRow, _LOCAL, repeat="keyed")
PAUSE = Endpoint("largefiles.pause", f"{_PATH}/pause", LargeFileItem, ChangeRow, _LOCAL, repeat="keyed")
CANCEL = Endpoint("largefiles.cancel", f"{_PATH}/cancel", LargeFileItem, ChangeRow, _LOCAL, repeat="keyed")
FIND = Endpoint("largefiles.list", f"{_PATH}/list", FindItem, LargeFileRow, _LOCAL, count=(0, 1), paging="token")
SHOW = Endpoint("largefiles.show", f"{_PATH}/show", LargeFileItem, LargeFileRow, _LOCAL)
EXTEND = Endpoint("largefiles.extend", f"{_PATH}/extend", ExtendItem, ChangeRow, _LOCAL, repeat="keyed")
EXPIRE = Endpoint("largefiles.expire", f"{_PATH}/expire", LargeFileItem, ChangeRow, _LOCAL, repeat="keyed")
RESUBMIT = Endpoint("largefiles.resubmit", f"{_PATH}/resubmit", ResubmitItem, ChangeRow, _LOCAL, repeat="keyed")
OCTETS = Endpoint("largefiles.octets", f"{_PATH}/octets", OctetsItem, OctetsRow, _LOCAL, answer="bytes")

ENDPOINTS = (
    PREFERENCES, CREATE, CHUNK, MISSING, CHECK, FINISH, PAUSE, CANCEL, FIND, SHOW, EXTEND, EXPIRE, RESUBMIT, OCTETS,
)  # fmt: skip
