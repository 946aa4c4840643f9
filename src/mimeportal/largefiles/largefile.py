"""Large files as a caller sees them: a send, its files, its recipients, the administrator's preferences."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime

from mimeportal.largefiles.contract import LargeFileRow, PreferencesRow
from mimeportal.wire import told_date


@dataclass(frozen=True, slots=True)
class SentFile:
    """One file of a send: its size in octets, its SHA-256 in hex once all of it has arrived ("" until then)."""

    id: str
    name: str
    size: int
    sha256: str
    downloads: int


@dataclass(frozen=True, slots=True)
class SentTo:
    """One recipient: what became of their notification (`queued`, or why it was left out), and their downloads.

    `downloads` is how often each file, by its id, was downloaded to its end; `last` when that was last, of any file.
    """

    address: str
    notified: str
    downloads: dict[str, int] = field(hash=False)
    last: datetime | None


@dataclass(frozen=True, slots=True)
class LargeFile:
    """One send. `files` are names, `size` is of all of them in octets, `downloads` of all of them by everybody.

    `status` is `uploading`, `paused`, `scanning`, `active`, `expired`, `failed` or `cancelled`. `sent`, `expires` and
    `kept_until` are None until it was sent. `reason` tells why it failed. `arrived` is how much of it the portal has.
    `body`, `attachments` and `recipients` are filled by `get()` alone.
    """

    id: str
    status: str
    files: tuple[str, ...]
    size: int
    to: tuple[str, ...]
    sent: datetime | None
    expires: datetime | None
    downloads: int
    subject: str
    sender: str
    created: datetime | None
    kept_until: datetime | None
    arrived: int
    access_key: bool
    notify_on_download: bool
    expire_access_after_days: int
    reason: str | None
    body: str | None = None
    attachments: tuple[SentFile, ...] = ()
    recipients: tuple[SentTo, ...] = ()


# What a list shows; the others are told by `get()`.
LARGE_FILE_FIELDS = ("id", "status", "files", "size", "to", "sent", "expires", "downloads", "subject")
LARGE_FILE_DETAILS = tuple(entry.name for entry in fields(LargeFile))


def from_row(row: LargeFileRow) -> LargeFile:
    """A send as its row tells it."""
    return LargeFile(
        id=row.id,
        status=row.status,
        files=tuple(file.name for file in row.files),
        size=row.size,
        to=tuple(row.to),
        sent=_date(row.sent),
        expires=_date(row.expires),
        downloads=row.downloads,
        subject=row.subject,
        sender=row.sender,
        created=_date(row.created),
        kept_until=_date(row.kept_until),
        arrived=row.arrived,
        access_key=row.access_key,
        notify_on_download=row.notify_on_download,
        expire_access_after_days=row.expire_access_after_days,
        reason=row.reason,
        body=row.body,
        attachments=tuple(SentFile(file.id, file.name, file.size, file.sha256, file.downloads) for file in row.files),
        recipients=tuple(
            SentTo(
                recipient.address,
                recipient.notified,
                {entry.file: entry.downloads for entry in recipient.downloads},
                max((told_date(entry.last) for entry in recipient.downloads if entry.last), default=None),
            )
            for recipient in row.recipients or ()
        ),
    )


def _date(text: str | None) -> datetime | None:
    return told_date(text) if text else None


@dataclass(frozen=True, slots=True)
class LargeFilePreferences:
    """What holds for a send unless its sender chooses otherwise; `enforced` names what nobody may change.

    `most_octets` is the size of one file, `chunk` that of a piece of an upload.
    """

    expire_access_after_days: int
    access_key: bool
    notify_on_download: bool
    enforced: tuple[str, ...]
    most_days: int
    most_files: int
    most_octets: int
    most_recipients: int
    chunk: int


PREFERENCE_FIELDS = tuple(entry.name for entry in fields(LargeFilePreferences))


def preferences_of(row: PreferencesRow) -> LargeFilePreferences:
    told = row.model_dump(include=set(PREFERENCE_FIELDS))
    return LargeFilePreferences(**{**told, "enforced": tuple(row.enforced)})
