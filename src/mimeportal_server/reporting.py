"""What people do about a message they got or sent: block its sender, report it, see what became of it.

A report is one transaction (portal-rules C.16): the message moves to Junk, its sender joins the blocked list, and
the original goes to the security address, in its own octets. Neither tells the sender anything (C.17).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Row, Select, select, update

from mimeportal import limits
from mimeportal.addresses import ENTRY_TYPES, SENDER_PARTS, normalise
from mimeportal.messages.contract import writing as contract
from mimeportal.wire import Failure, JsonObject, format_date
from mimeportal_server import audit, compose, mail, requested, sender_lists, tracking
from mimeportal_server.asked import not_allowed
from mimeportal_server.clock import moment
from mimeportal_server.deciding import Refusal, entry_for
from mimeportal_server.people import Caller
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.schema import copies, mailbox, messages, people
from mimeportal_server.tokens import InvalidToken

_NOT_FOUND = Refusal("not_found", "There is no such message for this caller.")
_LYING: Select[Any] = (
    select(
        mailbox.c.id,
        mailbox.c.folder,
        mailbox.c.person_id,
        mailbox.c.recipient,
        people.c.address.label("owner"),
        messages.c.id.label("message_id"),
        messages.c.blob,
        messages.c.purged,
        messages.c.envelope_from,
        messages.c.from_header,
        messages.c.subject,
    )
    .join(messages, messages.c.id == mailbox.c.message_id)
    .join(people, people.c.id == mailbox.c.person_id)
)
# What a status of the finder is called for a sent message (portal-rules C.4).
_STATUSES = {
    "archived": "delivered",
    "accepted": "delivered",
    "delivery": "pending",
    "deferred": "pending",
    "held": "held",
    "rejected": "rejected",
    "bounced": "bounced",
}


def _lying(portal: Portal, tx: Connection, caller: Caller, id: str) -> Row[Any] | Refusal:
    """A message in the mailbox of the caller, of somebody who delegated it, or of anybody for an administrator."""
    try:
        number = portal.sealer.number("mailbox", id)
    except InvalidToken:
        return Refusal("xdk_failure", "0007 Invalid token")
    row = tx.execute(_LYING.where(mailbox.c.id == number)).first()
    if row is None or not (caller.acts_for(row.owner) or caller.administrator):
        return _NOT_FOUND
    return row


# -- block -----------------------------------------------------------------------------------------------------


def block(portal: Portal, call: Call) -> Answer:
    """Put the senders of messages on the blocked list of whoever has them; each item by itself (promises B.3)."""
    answer = Answer()
    acts: list[audit.Act] = []
    now = portal.clock.now()
    with portal.write(call.caller) as tx:
        for raw in call.items:
            item = contract.BlockItem.model_validate(raw)
            row = _lying(portal, tx, call.caller, item.id)
            entry = row if isinstance(row, Refusal) else _entry(portal, row, item.form, item.sender_part)
            if isinstance(row, Refusal) or isinstance(entry, Refusal):
                refusal = row if isinstance(row, Refusal) else entry
                assert isinstance(refusal, Refusal)
                answer.failures.append(Failure(refusal.code, refusal.sentence, key=raw))
                continue
            change = sender_lists.put(tx, row.person_id, *entry, "blocked", source="message block", now=now)
            detail = {"from_header": row.from_header, "mailbox": row.owner, "entry": entry[0]}
            acts.append(audit.Act("block", change.outcome, "message", row.message_id, detail))
            told = contract.BlockRow(id=item.id, outcome=change.outcome, entry=entry[0], moved_from=change.moved_from)
            answer.rows.append(told.to_json())
        audit.record(tx, acts, at=now, caller=call.caller, request_id=call.request_id)
    return answer


def _entry(portal: Portal, row: Row[Any], form: str, part: str) -> tuple[str, str] | Refusal:
    if row.folder == "sent":
        return Refusal("own_message", "It was sent from here: there is nobody to block or report.")
    if form not in ENTRY_TYPES or part not in SENDER_PARTS:
        return Refusal("err_validation_value_not_allowed", "form is address or domain, senderPart header or envelope.")
    return entry_for(portal, form, part, row.from_header, row.envelope_from)


# -- report ----------------------------------------------------------------------------------------------------


def report(portal: Portal, call: Call) -> Answer:
    """Report one message as spam or phishing, with all that follows from it; `already` when it is in Junk."""
    raw = call.items[0]
    item = contract.ReportItem.model_validate(raw)
    if item.type not in contract.REPORT_TYPES:
        raise not_allowed(f"Field must be one of [{','.join(contract.REPORT_TYPES)}]", "type")
    with portal.write(call.caller) as tx:
        known = requested.earlier(tx, call.caller, item.request_id, raw)
        if known is not None:
            return Answer([known])
        row = _lying(portal, tx, call.caller, item.id)
        if isinstance(row, Refusal):
            raise Refused(row.code, row.sentence, status=404 if row is _NOT_FOUND else 200)
        told = _reported(portal, tx, call, item, row)
        requested.remember(tx, call.caller, item.request_id, raw, told, now=portal.clock.now())
    return Answer([told])


def _reported(portal: Portal, tx: Connection, call: Call, item: contract.ReportItem, row: Row[Any]) -> JsonObject:
    if row.folder == "junk":
        return {"id": item.id, "outcome": "already"}
    entry = _entry(portal, row, "address", "header")
    if isinstance(entry, Refusal) and entry.code == "own_message":
        raise Refused(entry.code, entry.sentence)
    now = portal.clock.now()
    told: JsonObject = {"id": item.id, "outcome": "done"}
    if isinstance(entry, Refusal):
        # It is reported all the same: a forged sender is among the things that are reported.
        told["notBlocked"] = entry.sentence.partition(";")[0].rstrip(".") + "."
    else:
        sender_lists.put(tx, row.person_id, *entry, "blocked", source="message report", now=now)
        told["entry"] = entry[0]
    tx.execute(update(mailbox).where(mailbox.c.id == row.id).values(folder="junk"))
    try:
        octets = portal.home.blobs.read(row.blob)
    except FileNotFoundError:
        raise Refused("octets_missing", "The message is no longer kept: there is nothing to pass on.") from None
    to = compose.queue_report(
        portal,
        tx,
        type=item.type,
        by=call.caller.address,
        mailbox=row.owner,
        recipient=row.recipient,
        sender=row.from_header or row.envelope_from,
        subject=row.subject,
        octets=octets,
    )
    detail = {"from": row.envelope_from, "from_header": row.from_header, "mailbox": row.owner, "to": to}
    detail |= {"subject": row.subject, "entry": told.get("entry", "")}
    act = audit.Act(f"report {item.type}", "done", "message", row.message_id, detail)
    audit.record(tx, [act], at=now, caller=call.caller, request_id=call.request_id)
    return told


# -- what became of it -----------------------------------------------------------------------------------------


def recipients(portal: Portal, call: Call) -> Answer:
    """Every recipient of a sent message, and what became of it for them (portal-rules C.4); Bcc among them."""
    item = contract.RecipientsItem.model_validate(call.items[0])
    with portal.database.read() as tx:
        row = _lying(portal, tx, call.caller, item.id)
        if isinstance(row, Refusal):
            raise Refused(row.code, row.sentence, status=404 if row is _NOT_FOUND else 200)
        if row.folder != "sent":
            raise Refused("not_sent", "It was not sent from here: its sender alone knows its other recipients.")
        query = tracking.TRACKED.add_columns(tracking.status(portal).label("status"), copies.c.named)
        found = tx.execute(query.where(copies.c.message_id == row.message_id).order_by(copies.c.id)).all()
    named = {} if all(one.named for one in found) else _in_headers(portal, row)
    return Answer([_recipient(one, named) for one in found[: limits.TOTAL_COUNTED]])


def _in_headers(portal: Portal, row: Row[Any]) -> dict[str, str]:
    """Where a message that came by SMTP names its recipients; who is named nowhere got it as Bcc."""
    if row.purged:
        return {}
    summary = mail.summarise(portal.home.blobs.read(row.blob))
    shown = [(address, "cc") for address, _ in summary.cc] + [(address, "to") for address, _ in summary.to]
    return {normalise(address): kind for address, kind in shown}


def _recipient(one: Row[Any], named: Mapping[str, str]) -> JsonObject:
    finished = one.finished if one.finished is not None else one.received
    return contract.RecipientRow(
        address=one.recipient,
        kind=one.named or named.get(one.recipient, "bcc"),
        status=_STATUSES.get(one.status, "pending"),
        info=one.error or (one.reason if one.hold_id is not None else one.decided_by) or "",
        changed=format_date(moment(finished)),
    ).to_json()


OPERATIONS: Mapping[str, Callable[[Portal, Call], Answer]] = {
    "messages.recipients": recipients,
    "messages.block": block,
    "messages.report": report,
}
