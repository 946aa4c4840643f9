"""Reports that are logs, each from its own tables: what left the hold queue, what was refused, who did what."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, FromClause, literal, select

from mimeportal_server import deciding
from mimeportal_server.clock import DAY
from mimeportal_server.deciding import HELD
from mimeportal_server.report_pages import LogSource, Place, PlacedIn, Values, Window, instant, merged, second
from mimeportal_server.store import schema
from mimeportal_server.store.schema import copies, holds, messages, people

_RELEASED = (
    people.c.address,
    holds.c.from_address,
    holds.c.from_header,
    holds.c.recipient,
    holds.c.subject,
    holds.c.route,
    holds.c.size,
    holds.c.has_attachments,
    holds.c.reason,
    holds.c.policy,
    holds.c.reject_reason,
    holds.c.received,
)


def releases(tx: Connection, window: Window, after: Place) -> PlacedIn:
    portal = window.portal
    keep = portal.settings.hold_days * DAY
    logs = [LogSource(_DECIDED, holds.c.decided, holds.c.id, _released)]
    edge = deciding.expiry_edge(portal)
    # What is over its time has left the queue, whether or not a sweep has marked it.
    over = select((holds.c.received + keep).label("when"), literal("expired"), *_RELEASED).where(
        HELD, holds.c.received <= edge
    )
    over = over.select_from(_BY)
    first = select(holds.c.id).where(HELD, holds.c.received <= edge, holds.c.received < window.until - keep).limit(1)
    if tx.scalar(first) is not None:
        logs.append(LogSource(over, holds.c.received, holds.c.id, _released, ahead=keep))
    return merged(logs, tx, window, after)


_BY: FromClause = holds.outerjoin(people, people.c.id == holds.c.decided_by)
_DECIDED = select(holds.c.decided.label("when"), holds.c.state, *_RELEASED).select_from(_BY)


def _released(row: Any) -> Values:
    when, status, operator, sender, header, to, subject, route, size, attached, reason, policy, why, received, *_ = row
    return [
        second(when // 1000),
        status,
        operator or "",
        sender,
        header,
        to,
        subject,
        route,
        size,
        attached,
        reason,
        policy,
        why,
        second(received // 1000),
    ]


def rejections(tx: Connection, window: Window, after: Place) -> PlacedIn:
    refused = select(
        schema.rejections.c.at.label("when"),
        schema.rejections.c.type,
        schema.rejections.c.sender,
        schema.rejections.c.recipient,
        schema.rejections.c.info,
        schema.rejections.c.remote_ip,
        schema.rejections.c.remote_host,
    )
    blocked = (
        select(
            messages.c.received.label("when"),
            literal("sender_blocked"),
            messages.c.envelope_from,
            copies.c.recipient,
            copies.c.decided_by,
            messages.c.remote_ip,
            messages.c.remote_host,
        )
        .join(copies, copies.c.message_id == messages.c.id)
        .where(copies.c.outcome == "blocked")
    )
    logs = (
        LogSource(refused, schema.rejections.c.at, schema.rejections.c.id, _rejected),
        LogSource(blocked, messages.c.received, copies.c.id, _rejected),
    )
    return merged(logs, tx, window, after)


def _rejected(row: Any) -> Values:
    return [instant(row[0]), *row[1:7]]


def audit(tx: Connection, window: Window, after: Place) -> PlacedIn:
    from mimeportal_server import audit_events

    acts = LogSource(audit_events.ACTS, schema.audit.c.at, schema.audit.c.id, audit_events.values)
    return merged([acts], tx, window, after)
