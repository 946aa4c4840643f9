"""What became of held mail, as a caller sees it: an entry of the release log, and the state of one hold."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from mimeportal.holds.contract import ReleaseLogRow, StateRow
from mimeportal.wire import told_date


@dataclass(frozen=True, slots=True)
class ReleaseLogEntry:
    """One message that left the hold queue (mimecast-api-core 6.8).

    `status` is `released`, `rejected` or `expired`, `released` when that was, `operator` who did it ("" for the portal
    itself), `info` what the portal says of it. `size` is in octets. `from_address` is the envelope sender,
    `from_header` the address of the From header. `held_group` is the level: `user`, `moderator` or `administrator`.
    What the portal does not tell is "" or None.
    """

    id: str
    status: str
    released: datetime | None
    operator: str
    from_address: str
    from_header: str
    to_addresses: tuple[str, ...]
    subject: str
    route: str
    size: int
    has_attachments: bool
    held_reason: str
    held_group: str
    policy: str
    info: str
    reject_reason: str
    spam_score: int | None
    detection_level: str

    @classmethod
    def from_row(cls, row: ReleaseLogRow) -> ReleaseLogEntry:
        """Read a row of the wire."""
        return cls(
            id=row.id,
            status=row.status,
            released=told_date(row.released) if row.released else None,
            operator=_operator(row.operator),
            from_address=row.from_env.email_address,
            from_header=row.from_hdr.email_address,
            to_addresses=tuple(address.email_address for address in row.to),
            subject=row.subject,
            route=row.route.lower(),
            size=row.size,
            has_attachments=row.attachments,
            held_reason=row.held_reason,
            held_group=row.held_group,
            policy=row.policy,
            info=row.message_info,
            reject_reason=row.reject_reason,
            spam_score=row.spam_score,
            detection_level=row.detection_level,
        )

    @property
    def searched(self) -> tuple[str, ...]:
        """What a search of the log looks at."""
        return (self.subject, self.held_reason, self.operator, self.from_address, self.from_header, *self.to_addresses)


LOG_FIELDS = tuple(entry.name for entry in fields(ReleaseLogEntry))


@dataclass(frozen=True, slots=True)
class HoldState:
    """The state of one hold: `held`, `released`, `rejected` or `expired`; by whom, when, and in which request."""

    id: str
    state: str
    by: str | None
    when: datetime | None
    request_id: str | None

    @classmethod
    def from_row(cls, row: StateRow) -> HoldState:
        """Read a row of the wire."""
        return cls(row.id, row.state, row.by, told_date(row.when) if row.when else None, row.request_id)


def _operator(told: Any) -> str:
    """A text in recordings, an object in one copy of the documents (mimecast-api-core 6.8)."""
    return str((told.get("email") if isinstance(told, dict) else told) or "")
