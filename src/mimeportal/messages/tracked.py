"""Mail on its way, as a caller sees it: tracked, waiting, rejected, and how long the queues were."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from mimeportal.errors import UsageError
from mimeportal.messages.contract.finder import InfoRow, ProcessingRow, RejectionRow, TrackedRow
from mimeportal.wire import Address, parse_date

_DIGITS = re.compile(r"[0-9]{1,18}")
_TAG = re.compile(r"<[^<>]*>")
_HEADER = re.compile(r"([!-9;-~]+):[ \t]?(.*)")


@dataclass(frozen=True, slots=True)
class TrackedMessage:
    """One message for one recipient, as the finder tells of it (mimecast-api-core 7.1).

    `id` is a tracking id: what releases a held message is `portal.messages.hold_ids()`. `from_address` is the
    envelope sender, `from_header` the address of the From header. What a portal does not tell is None.
    """

    id: str
    status: str
    info: str
    from_address: str
    from_header: str
    to_addresses: tuple[str, ...]
    subject: str
    route: str
    sender_ip: str
    has_attachments: bool | None
    received: datetime | None
    sent: datetime | None
    spam_score: float | None
    detection_level: str
    message_id: str | None

    @classmethod
    def from_row(cls, row: TrackedRow) -> TrackedMessage:
        """Read a row of the wire."""
        return cls(
            id=row.id,
            status=row.status.lower(),
            info=row.info,
            from_address=address_of(row.from_env),
            from_header=address_of(row.from_hdr),
            to_addresses=tuple(address_of(to) for to in row.to),
            subject=row.subject,
            route=row.route.lower(),
            sender_ip=row.sender_ip,
            has_attachments=row.attachments,
            received=date_of(row.received),
            sent=date_of(row.sent),
            spam_score=row.spam_score,
            detection_level=row.detection_level,
            message_id=row.message_id,
        )


TRACKED_FIELDS = tuple(entry.name for entry in fields(TrackedMessage))


@dataclass(frozen=True, slots=True)
class MessageInfo:
    """All that a portal tells of one tracked message (mimecast-api-core 7.2).

    `hold_id` releases or rejects it where it is held, else None; `queue` is a hold's reason, level and more as the
    portal wrote it. `deliveries` are by recipient, `headers` as received. `text`, `html` and `attachments` are None
    unless the content was asked for. `document` is the whole answer. All of it is the sender's words: `html` belongs
    through `mimeportal.untrusted_html.safe_html`.
    """

    id: str
    status: str
    hold_id: str | None
    reason: str
    level: str
    from_address: str
    from_header: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    subject: str
    route: str
    sent: datetime | None
    processed: datetime | None
    size: int | None
    remote_ip: str
    remote_host: str
    deliveries: dict[str, str] = field(hash=False)
    policies: tuple[str, ...]
    headers: tuple[tuple[str, str], ...]
    text: str | None = None
    html: str | None = None
    attachments: tuple[dict[str, Any], ...] | None = field(default=None, hash=False)
    queue: dict[str, Any] = field(default_factory=dict, hash=False)
    document: dict[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def from_row(cls, row: InfoRow) -> MessageInfo:
        """Read a row of the wire, whichever of the two layouts it has."""
        said, queued = row.recipient_info.message_info, row.queue_info
        way = row.recipient_info.recipient_meta_info or row.recipient_info.tx_info or {}
        delivered = [(to, told) for to, told in (row.delivered_message or {}).items() if isinstance(told, dict)]
        return cls(
            id=row.id,
            status=row.status.lower(),
            hold_id=(queued.id or None) if queued and row.status.lower() == "held" else None,
            reason=(queued.reason or queued.info or "") if queued else "",
            level=(queued.held_group or "") if queued else "",
            from_address=bare(said.from_envelope),
            from_header=bare(said.from_header),
            to=tuple(said.to),
            cc=tuple(said.cc),
            subject=said.subject or "",
            route=(said.route or (queued.route if queued else "") or "").lower(),
            sent=date_of(said.sent),
            processed=date_of(said.processed),
            size=_number((queued.size if queued else None) or way.get("transmissionSize")),
            remote_ip=str(way.get("remoteIp") or ""),
            remote_host=str(way.get("remoteHost") or way.get("remoteServer") or ""),
            deliveries={to: _event(told) for to, told in delivered},
            policies=tuple(dict.fromkeys(policy for _, told in delivered for policy in _policies(told))),
            headers=tuple(_headers(said.transmission_info or "")),
            text=said.text_body,
            html=said.html_body,
            attachments=None if said.attachments is None else tuple(said.attachments),
            queue=queued.to_json() if queued else {},
            document=row.to_json(),
        )

    def header(self, name: str) -> str | None:
        """The first value of a header; None where the portal shows none of that name."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class ProcessingMessage:
    """One message on its way to one recipient; `size` in octets, `attempts` those that failed."""

    id: str
    from_address: str
    from_header: str
    to_address: str
    subject: str
    route: str
    size: int
    has_attachments: bool
    remote_ip: str
    attempts: int
    next_attempt: datetime | None
    created: datetime | None
    info: str
    priority: str

    @classmethod
    def from_row(cls, row: ProcessingRow) -> ProcessingMessage:
        """Read a row of the wire."""
        return cls(
            id=row.id,
            from_address=address_of(row.from_env),
            from_header=address_of(row.from_header),
            to_address=address_of(row.to),
            subject=row.subject,
            route=row.routing.lower(),
            size=row.size,
            has_attachments=row.attachment,
            remote_ip=row.remote_ip,
            attempts=row.attempts,
            next_attempt=date_of(row.next_attempt),
            created=date_of(row.created),
            info=row.info,
            priority=row.priority,
        )


PROCESSING_FIELDS = tuple(entry.name for entry in fields(ProcessingMessage))


@dataclass(frozen=True, slots=True)
class Rejection:
    """One message that was refused: when, whose, and why. `type` is a word for the reason, `info` the reply."""

    id: str
    created: datetime | None
    type: str
    from_address: str
    to_address: str
    info: str
    remote_ip: str
    remote_host: str

    @classmethod
    def from_row(cls, row: RejectionRow) -> Rejection:
        """Read a row of the wire."""
        return cls(
            id=row.id,
            created=date_of(row.created),
            type=row.type,
            from_address=address_of(row.from_),
            to_address=address_of(row.to),
            info=row.info,
            remote_ip=row.remote_ip,
            remote_host=row.remote_host,
        )


REJECTION_FIELDS = tuple(entry.name for entry in fields(Rejection))


@dataclass(frozen=True, slots=True)
class QueueLength:
    """How many messages waited in one direction, `inbound` or `outbound`, from `date` on."""

    direction: str
    date: datetime
    count: int


QUEUE_FIELDS = tuple(entry.name for entry in fields(QueueLength))


def address_of(value: Any) -> str:
    """The address, written as an object or as a text."""
    if isinstance(value, Address):
        return value.email_address
    return str(value.get("emailAddress") or "") if isinstance(value, dict) else bare(value)


def bare(value: Any) -> str:
    """An address without its brackets; `<>` of a bounce is ""."""
    text = str(value or "").strip()
    return text[1:-1] if text.startswith("<") and text.endswith(">") else text


def date_of(text: str | None) -> datetime | None:
    """A date of the wire; None for what is none, and for the first second of 1970, which means not yet (1.6)."""
    try:
        moment = parse_date(text or "")
    except UsageError:
        return None
    return moment if moment.timestamp() else None


def _number(value: Any) -> int | None:
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, int) or (isinstance(value, str) and _DIGITS.fullmatch(value)) else None


def _event(told: dict[str, Any]) -> str:
    """What became of the message for one recipient."""
    way = told.get("deliveryMetaInfo") or told.get("recipientMetaInfo") or told.get("txInfo") or {}
    return str(way.get("deliveryEvent") or way.get("txEvent") or "") if isinstance(way, dict) else ""


def _policies(told: dict[str, Any]) -> Iterator[str]:
    policies = told.get("policyInfo")
    for policy in policies if isinstance(policies, list) else ():
        if isinstance(policy, dict):
            yield ": ".join(str(policy[key]) for key in ("policyType", "policyName") if policy.get(key))


def _headers(transmission: str) -> Iterator[tuple[str, str]]:
    """The headers in `<pre>`: tags taken off, entities read, folded lines joined."""
    last: tuple[str, str] | None = None
    for line in html.unescape(_TAG.sub("", transmission)).splitlines():
        match = _HEADER.fullmatch(line)
        if match:
            if last:
                yield last
            last = (match[1], match[2])
        elif last and line[:1] in (" ", "\t"):
            last = (last[0], f"{last[1]} {line.strip()}")
    if last:
        yield last
