"""Mail that bounced or was refused, told to whoever sent it or would have got it (portal-rules C.10 to C.13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Column, ColumnElement, exists, func, literal, or_, select, union_all

from mimeportal import limits
from mimeportal.addresses import normalise
from mimeportal.messages.contract import finder, undelivered
from mimeportal.patterns import fold
from mimeportal.wire import JsonObject, format_date
from mimeportal_server import people, tracking
from mimeportal_server.asked import date_given, first_search, forbidden
from mimeportal_server.clock import DAY, milliseconds, moment
from mimeportal_server.listing import Keyset, may_match
from mimeportal_server.people import Caller
from mimeportal_server.portal import Answer, Call, Portal
from mimeportal_server.store.schema import copies, deliveries, mailbox, messages, rejections
from mimeportal_server.store.schema import people as persons
from mimeportal_server.tokens import InvalidToken
from mimeportal_server.tracking import TRACKED, address_condition, checked_text, search_condition

_FAILED = copies.c.message_id.in_(select(deliveries.c.message_id).where(deliveries.c.state == "failed"))


def _of(*addresses: str) -> ColumnElement[bool]:
    """Of the mail in some mailboxes: sent by or to their owners."""
    owners = select(persons.c.id).where(persons.c.address.in_(addresses))
    sent = exists().where(
        mailbox.c.message_id == copies.c.message_id, mailbox.c.folder == "sent", mailbox.c.person_id.in_(owners)
    )
    return or_(copies.c.person_id.in_(owners), sent)


def bounced(portal: Portal, call: Call) -> Answer:
    """What was accepted and could not be delivered, of the last 30 days: one's own, or all of it for administrators."""
    item = undelivered.BouncedItem.model_validate(call.items[0])
    status = tracking.status(portal)
    conditions = [
        messages.c.received >= tracking.searched_from(portal, item.start),
        *tracking.searched_until(item.end),
        _FAILED,
        status == "bounced",
    ]
    if item.from_ is not None:
        conditions.append(address_condition(item.from_, (messages.c.envelope_from, messages.c.from_header), "from"))
    if item.to is not None:
        conditions.append(address_condition(item.to, (copies.c.recipient,), "to"))
    if item.subject is not None:
        conditions.append(may_match(checked_text(item.subject, "subject"), func.lower(messages.c.subject)))
    keyset = Keyset(portal, call, "messages.bounced", copies.c.id)
    with portal.database.read() as tx:
        if item.mailbox is not None or not call.caller.administrator:
            owner = people.owner_of(tx, call.caller, item.mailbox)
            if owner is None:
                raise forbidden()
            conditions.append(_of(owner.address))
        rows, block = keyset.fetch(tx, TRACKED.add_columns(status.label("status")).where(*conditions))
    return Answer([tracking.row_of(portal, row) for row in rows], page=block)


def require_own_bounced(portal: Portal, call: Call, item: finder.InfoItem) -> None:
    """Raise `Refused` unless the properties of this tracked message are the caller's to see: it is theirs, and bounced.

    Its content is not shown (portal-rules C.11). Whatever else is asked is answered alike.
    """
    try:
        number = portal.sealer.number("track", item.id)
    except InvalidToken:
        raise forbidden() from None
    own = (copies.c.id == number, _FAILED, tracking.status(portal) == "bounced", _of(*_mailboxes(call.caller)))
    with portal.database.read() as tx:
        theirs = tx.execute(TRACKED.where(*own)).first() is not None
    if not theirs or fold(item.load_content or "") == "true":
        raise forbidden()


def _mailboxes(caller: Caller) -> Sequence[str]:
    return (caller.address, *sorted(caller.delegated))


# -- what was refused ------------------------------------------------------------------------------------------


def refused(portal: Portal, call: Call) -> Answer:
    """get-rejections (6.11): refused at the SMTP door, or dropped for a recipient who blocks the sender; of today.

    With `admin` everybody's, for administrators; else what was meant for the caller, or for a mailbox that they may
    use. Told for 7 days (portal-rules C.12).
    """
    item = finder.RejectionsItem.model_validate(first_search(call.items[0]))
    if item.admin and not call.caller.administrator:
        raise forbidden()
    now = portal.clock.now()
    start = milliseconds(date_given(item.start, "start")) if item.start else now - now % DAY
    start = max(start, now - limits.REJECTION_DAYS * DAY)
    end = milliseconds(date_given(item.end, "end")) if item.end else now + 1
    both = union_all(
        select(
            _place(rejections.c.at, rejections.c.id, 0),
            rejections.c.id,
            literal("rejection").label("source"),
            *(rejections.c[name] for name in ("at", "sender", "recipient", "type", "info", "remote_ip", "remote_host")),
        ).where(rejections.c.at >= start, rejections.c.at < end),
        select(
            _place(messages.c.received, copies.c.id, 1),
            copies.c.id,
            literal("blocked").label("source"),
            messages.c.received.label("at"),
            messages.c.envelope_from.label("sender"),
            copies.c.recipient,
            literal("sender_blocked").label("type"),
            copies.c.decided_by.label("info"),
            messages.c.remote_ip,
            messages.c.remote_host,
        )
        .join(messages, messages.c.id == copies.c.message_id)
        .where(copies.c.outcome == "blocked", messages.c.received >= start, messages.c.received < end),
    ).subquery()
    conditions: list[ColumnElement[bool]] = []
    if "ignore_filters" not in call.faults:
        columns = {name: [both.c[column] for column in names] for name, names in _REJECTION_FIELDS.items()}
        conditions += search_condition(item.search_by, columns)
    keyset = Keyset(portal, call, "messages.rejections", cast("Column[Any]", both.c.place))
    with portal.database.read() as tx:
        if item.admin:
            conditions += [both.c.recipient == normalise(item.mailbox)] if item.mailbox else []
        else:
            owner = people.owner_of(tx, call.caller, item.mailbox)
            if owner is None:
                raise forbidden()
            conditions.append(both.c.recipient == owner.address)
        rows, block = keyset.fetch(tx, select(both).where(*conditions))
    return Answer([_rejection(portal, row) for row in rows], page=block)


_REJECTION_FIELDS = {
    "from": ("sender",),
    "to": ("recipient",),
    "type": ("type",),
    "info": ("info",),
    "remoteip": ("remote_ip",),
}


def _place(at: ColumnElement[int], number: ColumnElement[int], source: int) -> Any:
    """Where a row stands in a log of two sources: by its time, then by its number, and never twice."""
    return (at * 1_000_000 + number % 500_000 * 2 + source).label("place")


def _rejection(portal: Portal, row: Any) -> JsonObject:
    return {
        "id": portal.sealer.id(row.source, row.id),
        "created": format_date(moment(row.at)),
        "from": {"emailAddress": row.sender},
        "to": {"emailAddress": row.recipient},
        "type": row.type,
        "info": row.info,
        "remoteIp": row.remote_ip,
        "remoteHost": row.remote_host,
    }
