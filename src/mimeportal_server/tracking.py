"""What became of one message for one recipient, as the message finder tells it: its status.

copy        hold, its delivery                    status
blocked     -                                     rejected
held        held                                  held
held        rejected, expired                     rejected
any other   no delivery, or delivered: archived   archived, accepted where there is no archive copy
any other   failed                                bounced
any other   tried before                          deferred
any other   under way                             delivery
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, func, or_, select

from mimeportal import limits
from mimeportal.addresses import address_filter_kind
from mimeportal.errors import UsageError
from mimeportal.messages.contract import finder as contract
from mimeportal.patterns import fold
from mimeportal.wire import JsonObject, format_date
from mimeportal_server import deciding
from mimeportal_server.asked import date_given, not_allowed
from mimeportal_server.clock import DAY, milliseconds, moment
from mimeportal_server.listing import may_match
from mimeportal_server.portal import Portal, Refused
from mimeportal_server.store.schema import copies, deliveries, holds, messages

_SEARCHABLE = 30 * DAY  # exactly so long ago is too long (mimecast-api-core 7.1)

_released, _passed = deliveries.alias("released"), deliveries.alias("passed")


def _way(name: str) -> ColumnElement[Any]:
    """A column of the delivery: of what was released, or of what no rule held."""
    return func.coalesce(_released.c[name], _passed.c[name])


# One row per message and recipient, with its hold and its delivery where it has them.
TRACKED = (
    select(
        copies.c.id,
        copies.c.recipient,
        copies.c.outcome,
        copies.c.decided_by,
        messages.c.blob,
        messages.c.size,
        messages.c.envelope_from,
        messages.c.from_header,
        messages.c.from_name,
        messages.c.subject,
        messages.c.mime_message_id,
        messages.c.route,
        messages.c.remote_ip,
        messages.c.remote_host,
        messages.c.encrypted,
        messages.c.has_attachments,
        messages.c.received,
        messages.c.purged,
        holds.c.id.label("hold_id"),
        holds.c.state.label("hold_state"),
        # Content of what no rule holds is an administrator's to see, with the permission to view.
        func.coalesce(holds.c.level, "administrator").label("level"),
        holds.c.reason,
        holds.c.policy,
        holds.c.reject_reason,
        _way("state").label("way"),
        _way("way").label("by"),
        _way("attempts").label("attempts"),
        _way("error").label("error"),
        _way("finished").label("finished"),
    )
    .join(messages, messages.c.id == copies.c.message_id)
    .outerjoin(
        holds,
        and_(
            copies.c.outcome == "held",
            holds.c.message_id == copies.c.message_id,
            holds.c.person_id == copies.c.person_id,
            holds.c.recipient == copies.c.recipient,
        ),
    )
    .outerjoin(_released, _released.c.hold_id == holds.c.id)
    .outerjoin(
        _passed,
        and_(
            copies.c.outcome != "held",
            _passed.c.message_id == copies.c.message_id,
            _passed.c.recipient == copies.c.recipient,
            _passed.c.hold_id.is_(None),
        ),
    )
)


def status(portal: Portal) -> ColumnElement[str]:
    """The status of a row of `TRACKED`; see the table above."""
    edge = deciding.expiry_edge(portal)
    archived = messages.c.purged.is_(None) if portal.settings.archiving else copies.c.id < 0
    return case(
        (copies.c.outcome == "blocked", "rejected"),
        (and_(holds.c.state == "held", holds.c.received > edge), "held"),
        (holds.c.state.in_(("held", "expired", "rejected")), "rejected"),
        (and_(func.coalesce(_way("state"), "delivered") == "delivered", archived), "archived"),
        (func.coalesce(_way("state"), "delivered") == "delivered", "accepted"),
        (_way("state") == "failed", "bounced"),
        (_way("attempts") > 0, "deferred"),
        else_="delivery",
    )


def address_condition(text: str, columns: Sequence[Any], field: str) -> ColumnElement[bool]:
    """An address, a domain or a part of one, in any of some columns of normalised addresses. Raises `Refused`."""
    try:
        kind, value = address_filter_kind(text)
    except UsageError as fault:
        raise not_allowed(fault.what, field) from None
    if kind == "address":
        return or_(*(column == value for column in columns))
    if kind == "domain":
        return or_(*(func.substr(column, -len(value) - 1) == f"@{value}" for column in columns))
    checked_text(value, field)
    return or_(*(may_match(value, column) for column in columns))


def checked_text(text: str, field: str) -> str:
    """A text condition that is not too long. Raises `Refused`."""
    if len(text) > limits.PATTERN:
        raise not_allowed(f"A text condition has at most {limits.PATTERN} characters.", field)
    return text


def search_condition(
    search: contract.SearchBy | None, fields: Mapping[str, Sequence[Any]]
) -> list[ColumnElement[bool]]:
    """A contains-match on one field, or on all of them. Raises `Refused`."""
    if search is None or not search.value:
        return []
    name = fold(search.field_name)
    if name != "all" and name not in fields:
        raise not_allowed(f"Field must be one of [all,{','.join(fields)}]", "searchBy.fieldName")
    columns = fields[name] if name != "all" else [column for some in fields.values() for column in some]
    text = checked_text(search.value, "searchBy.value")
    return [or_(*(and_(column.is_not(None), may_match(text, func.lower(column))) for column in columns))]


def searched_from(portal: Portal, text: str | None) -> int:
    """Where a search begins: 30 days ago, or later. Raises `Refused` for an earlier `start`."""
    earliest = portal.clock.now() - _SEARCHABLE
    if text is None:
        return earliest
    start = milliseconds(date_given(text, "start"))
    if start <= earliest:
        message = "The start date must be within the last 30 days"
        raise Refused("err_track_and_trace_invalid_start_date", message, field="start")
    return start


def searched_until(text: str | None) -> list[ColumnElement[bool]]:
    """Where it ends, as a condition."""
    # Clients write "now" without its fraction, and mean what has just come: the second of `end` counts.
    return [messages.c.received < (milliseconds(date_given(text, "end")) // 1000 + 1) * 1000] if text else []


def row_of(portal: Portal, row: Row[Any]) -> JsonObject:
    """One row of the finder (mimecast-api-core 7.1); `messageId` is ours."""
    return {
        "id": portal.sealer.id("track", row.id),
        "status": row.status,
        "info": sentence(row),
        "fromEnv": {"emailAddress": row.envelope_from},
        "fromHdr": {"displayableName": row.from_name, "emailAddress": row.from_header},
        "to": [{"displayableName": "", "emailAddress": row.recipient}],
        "received": date_of(row.received),
        "sent": date_of(row.finished or row.received),
        "subject": row.subject,
        "senderIP": row.remote_ip,
        "attachments": row.has_attachments,
        "route": row.route,
        "detectionLevel": "",
        "messageId": row.mime_message_id,
    }


def sentence(row: Row[Any]) -> str:
    """What is told beside the status of a row."""
    if row.status == "held":
        return str(row.reason)
    if row.status == "rejected" and row.hold_id is None:
        return f"Rejected - {row.decided_by}"
    if row.status == "rejected":
        # As the release log says it (mimecast-api-core 6.8).
        return row.reject_reason or (
            "Rejected from the hold queue"
            if row.hold_state == "rejected"
            else "Expired in queue - rejected by housekeeping"
        )
    if row.status in ("bounced", "deferred"):
        return str(row.error)
    return {"archived": "Indexed and archived", "accepted": "Delivered"}.get(row.status, "Delivery in progress")


def date_of(milliseconds: int) -> str:
    """A time as it travels."""
    return format_date(moment(milliseconds))
