"""What administrators see of secure messages: all of the account, and what was done with one of them."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select

from mimeportal import limits
from mimeportal.secure import contract
from mimeportal.wire import Address
from mimeportal_server import listing, secure_states
from mimeportal_server import secure_access as access
from mimeportal_server.asked import date_given, not_allowed
from mimeportal_server.clock import HOUR, milliseconds
from mimeportal_server.people import Caller
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.secure_access import Found
from mimeportal_server.store.schema import audit, audit_details, people, secure_messages

_HOURS = 48  # that are shown unless dates are given (portal-rules F.33)
_WHO = ("os_user", "subject", "from")


def monitor(portal: Portal, call: Call) -> Answer:
    """Secure messages sent and received, newest first (portal-rules F.31 to F.34)."""
    access.require_on(portal)
    item = contract.MonitorItem.model_validate(call.items[0])
    if not call.caller.administrator:
        raise Refused("forbidden", "Only administrators see the secure messages of the account.", status=403)
    if "ignore_filters" in call.faults:
        item = contract.MonitorItem(start=item.start)
    now = portal.clock.steady()
    query = select(secure_messages.c.id).where(secure_messages.c.sent > access.edge(portal))
    since = milliseconds(date_given(item.start, "start")) if item.start else now - _HOURS * HOUR
    query = query.where(secure_messages.c.sent >= since)
    if item.end:
        query = query.where(secure_messages.c.sent < milliseconds(date_given(item.end, "end")))
    if item.statuses is not None:
        query = query.where(or_(*(_in_status(status) for status in item.statuses)))
    if item.direction is not None:
        if item.direction not in contract.DIRECTIONS:
            raise not_allowed(f"There is no direction {item.direction!r}.", "direction")
        query = query.where(secure_messages.c.direction == item.direction)
    if item.expired is not None:
        over = and_(secure_messages.c.expires.is_not(None), secure_messages.c.expires <= now)
        query = query.where(over if item.expired else ~over)
    if item.search:
        if len(item.search) > limits.PATTERN:
            raise not_allowed(f"A text condition has at most {limits.PATTERN} characters.", "search")
        query = query.where(listing.may_match(item.search, secure_messages.c.folded, folded=True))
    with portal.database.read() as tx:
        rows, block = listing.Keyset(portal, call, "secure.monitor", secure_messages.c.id).fetch(tx, query)
        found = access.load(portal, tx, call.caller, [row.id for row in rows])
    told = [_row(portal, call.caller, found[row.id]).to_json() for row in rows if row.id in found]
    return Answer(told, page=block)


def _in_status(status: str) -> ColumnElement[bool]:
    """The condition that says what `secure_states.status` says."""
    recalled, opened = secure_messages.c.recalled, secure_messages.c.opened
    unread = and_(recalled.is_(None), opened.is_(None))
    conditions = {
        "recalled": recalled.is_not(None),
        "read": and_(recalled.is_(None), opened.is_not(None)),
        "extended": and_(unread, secure_messages.c.extended.is_not(None)),
        "sent": and_(unread, secure_messages.c.extended.is_(None)),
    }
    if status not in conditions:
        raise not_allowed(f"There is no status {status!r}.", "statuses")
    return conditions[status]


def _row(portal: Portal, caller: Caller, found: Found) -> contract.MonitorRow:
    message = found.message
    return contract.MonitorRow(
        id=portal.sealer.id("secure", message.id),
        direction=message.direction,
        from_=Address(email_address=message.sender, displayable_name=message.sender_name),
        to=[copy.address for part in ("to", "cc") for copy in found.recipients if copy.part == part],
        subject=message.subject,
        status=secure_states.status(found.facts),
        expires=access.date(message.expires),
        expired=secure_states.expired(found.facts, portal.clock.steady()),
        date=access.date(message.sent) or "",
        definition=message.option or message.definition,
        policy=message.policy or None,
        may=access.may(portal, caller, found),
    )


def log(portal: Portal, call: Call) -> Answer:
    """Every event of a message in its order, with who did it when (portal-rules F.35)."""
    item = contract.MessageItem.model_validate(call.items[0])
    with portal.database.read() as tx:
        found = access.one(portal, tx, call, item.id, "monitor")
        rows = tx.execute(
            select(audit, people.c.address, audit_details.c.detail)
            .outerjoin(people, people.c.id == audit.c.actor)
            .outerjoin(audit_details, audit_details.c.audit_id == audit.c.id)
            .where(audit.c.object_kind == "secure", audit.c.object_id == found.message.id)
            .order_by(audit.c.id)
        ).all()
    return Answer([_event(row).to_json() for row in rows])


def _event(row: Any) -> contract.LogRow:
    detail = json.loads(row.detail) if row.detail else {}
    recipient = detail.pop("recipient", "")
    return contract.LogRow(
        time=access.date(row.at) or "",
        event=row.action.removeprefix("secure "),
        outcome=row.outcome,
        actor=row.address or "portal",
        recipient=recipient,
        detail={name: value for name, value in detail.items() if name not in _WHO},
    )


OPERATIONS = {"secure.monitor": monitor, "secure.log": log}
