"""What the sender of a secure message does with it afterwards: recall, extend, expire, notify again."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from mimeportal.addresses import normalise
from mimeportal.secure import contract
from mimeportal.wire import JsonObject
from mimeportal_server import secure_access as access
from mimeportal_server import secure_states
from mimeportal_server.asked import date_given
from mimeportal_server.clock import DAY, iso, milliseconds
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.secure_access import Found
from mimeportal_server.secure_notices import notify
from mimeportal_server.secure_reading import each, record
from mimeportal_server.store.schema import people, secure_copies, secure_messages


def recall(portal: Portal, call: Call) -> Answer:
    """Take messages back from all of their recipients; answers to them stay (portal-rules F.28 to F.30)."""

    def change(tx: Connection, found: Found, _: JsonObject) -> JsonObject:
        message, now = found.message, portal.clock.now()
        if message.recalled is not None:
            by = tx.scalar(select(people.c.address).where(people.c.id == message.recalled_by))
            return {"outcome": "already", "by": by, "when": iso(message.recalled)}
        values = {"recalled": now, "recalled_by": call.caller.person_id}
        tx.execute(update(secure_messages).where(secure_messages.c.id == message.id).values(**values))
        theirs = (secure_copies.c.secure_id == message.id) & (secure_copies.c.part != "sender")
        tx.execute(update(secure_copies).where(theirs).values(withdrawn=True))
        record(portal, tx, call, "recall", found)
        return {"outcome": "done"}

    return each(portal, call, "recall", change)


def extend(portal: Portal, call: Call) -> Answer:
    """Move the expiry of a message that has not expired to a later time (portal-rules F.27)."""
    item = contract.ExtendItem.model_validate(call.items[0])
    until = milliseconds(date_given(item.until, "until"))
    with portal.write(call.caller) as tx:
        found = access.one(portal, tx, call, item.id, "extend")
        message, now = found.message, portal.clock.steady()
        if until == message.expires and message.extended is not None:
            return Answer([{"id": item.id, "expires": access.date(until)}])  # the same request again
        latest = message.sent + portal.settings.secure.retention_days * DAY
        refusal = secure_states.extending(found.facts, until, now, latest=latest)
        if refusal is not None:
            sentence = refusal.sentence
            if until > latest:
                sentence = f"{sentence} It ends on {iso(latest)}."
            raise Refused(refusal.code, sentence, field="until")
        values = {"expires": until, "extended": portal.clock.now()}
        tx.execute(update(secure_messages).where(secure_messages.c.id == message.id).values(**values))
        record(portal, tx, call, "extend", found, until=iso(until))
    return Answer([{"id": item.id, "expires": access.date(until)}])


def expire(portal: Portal, call: Call) -> Answer:
    """Let messages expire now (portal-rules F.36)."""

    def change(tx: Connection, found: Found, _: JsonObject) -> JsonObject:
        now = portal.clock.steady()
        if secure_states.expired(found.facts, now):
            return {"outcome": "already", "when": iso(found.message.expires)}
        tx.execute(update(secure_messages).where(secure_messages.c.id == found.message.id).values(expires=now))
        record(portal, tx, call, "expire", found)
        return {"outcome": "done"}

    return each(portal, call, "expire", change)


def notify_again(portal: Portal, call: Call) -> Answer:
    """Write the notification of a message again."""
    item = contract.NotifyItem.model_validate(call.items[0])
    with portal.write(call.caller) as tx:
        found = access.one(portal, tx, call, item.id, "notify")
        copies = [copy for copy in found.recipients if access.waits(copy)]
        if item.to is not None:
            copies = [copy for copy in copies if copy.address == normalise(item.to)]
            if not copies:
                raise Refused("not_found", f"The message waits for nobody at {item.to}.", status=404, field="to")
        told = notify(portal, tx, found, copies, caller=call.caller, request_id=call.request_id)
    rows = [access.recipient(found, copy, told.get(copy.id)) for copy in copies]
    return Answer([contract.NotifyRow(id=item.id, recipients=rows).to_json()])


OPERATIONS = {
    "secure.recall": recall,
    "secure.extend": extend,
    "secure.expire": expire,
    "secure.notify": notify_again,
}
