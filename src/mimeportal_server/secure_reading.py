"""What readers do with a secure message: open, print, fetch its files, mark, delete, restore."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, select, update

from mimeportal import limits
from mimeportal.secure import contract
from mimeportal.untrusted import safe_name
from mimeportal.wire import Failure, JsonObject
from mimeportal_server import audit, mail
from mimeportal_server import secure_access as access
from mimeportal_server.clock import iso
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.secure_access import Found
from mimeportal_server.secure_notices import receipt
from mimeportal_server.secure_states import Refusal
from mimeportal_server.store.schema import audit as acts
from mimeportal_server.store.schema import messages, secure_copies, secure_messages
from mimeportal_server.tokens import InvalidToken

_ONE_PAGE = 60_000  # ms within which a page has asked for all that it shows


def show(portal: Portal, call: Call) -> Answer:
    """A message with its content. What a recipient opens is read from now on, and its sender told if they asked."""
    item = contract.MessageItem.model_validate(call.items[0])
    with portal.write(call.caller) as tx:
        found = access.one(portal, tx, call, item.id, "read")
        blob = _blob(tx, found)
        opened(portal, tx, call, found)
        found = access.load(portal, tx, call.caller, [found.message.id])[found.message.id]
    return Answer([content(portal, call, found, portal.home.blobs.read(blob))])


def print_(portal: Portal, call: Call) -> Answer:
    """The content again, to be printed: refused where its sender does not allow it, and recorded."""
    item = contract.MessageItem.model_validate(call.items[0])
    with portal.write(call.caller) as tx:
        found = access.one(portal, tx, call, item.id, "print")
        blob = _blob(tx, found)
        if found.own is not None and found.own.part != "sender" and found.own.opened is None:
            opened(portal, tx, call, found)
        record(portal, tx, call, "print", found)
        found = access.load(portal, tx, call.caller, [found.message.id])[found.message.id]
    return Answer([content(portal, call, found, portal.home.blobs.read(blob))])


def file(portal: Portal, call: Call) -> Answer:
    """The octets of one attachment, for whoever may read the message."""
    item = contract.FileItem.model_validate(call.items[0])
    try:
        secure_id, index = divmod(portal.sealer.number("securefile", item.id), limits.PARTS_LISTED)
    except InvalidToken:
        raise Refused("xdk_failure", "0007 Invalid token") from None
    id = portal.sealer.id("secure", secure_id)
    with portal.database.read() as tx:
        blob = _blob(tx, access.one(portal, tx, call, id, "read"))
    try:
        name, attached = mail.named_attachment(portal.home.blobs.read(blob), index)
    except IndexError:
        raise Refused("not_found", "There is no such attachment.", status=404) from None
    with portal.write(call.caller) as tx:
        record(portal, tx, call, "download", access.one(portal, tx, call, id, "read"), file=name)
    return Answer(body=iter([attached]), filename=safe_name(name))


def opened(portal: Portal, tx: Connection, call: Call, found: Found) -> None:
    """Note that a message is opened; the first time by a recipient is the reading that its sender learns of."""
    own, now = found.own, portal.clock.now()
    action = "view" if own is None or own.part == "sender" else "open"
    if _same_act(tx, call, action, found, now):
        return
    if own is None or own.part == "sender":
        record(portal, tx, call, "view", found)
        return
    record(portal, tx, call, "open", found, recipient=own.address)
    if own.unread:
        tx.execute(update(secure_copies).where(secure_copies.c.id == own.id).values(unread=False))
    if own.opened is None:
        tx.execute(update(secure_copies).where(secure_copies.c.id == own.id).values(opened=now))
        first = (secure_messages.c.id == found.message.id) & secure_messages.c.opened.is_(None)
        tx.execute(update(secure_messages).where(first).values(opened=now))
        if found.message.read_receipt:
            receipt(portal, tx, found, own, caller=call.caller, request_id=call.request_id)


def _same_act(tx: Connection, call: Call, action: str, found: Found, now: int) -> bool:
    """Whether this is the other half of an opening moments ago: a page asks once for itself and once for its frame."""
    same = (
        (acts.c.object_kind == "secure")
        & (acts.c.object_id == found.message.id)
        & (acts.c.action == f"secure {action}")
        & (acts.c.actor == call.caller.person_id)
        & (acts.c.request_id == call.request_id)
        & (acts.c.at > now - _ONE_PAGE)
    )
    return tx.scalar(select(acts.c.id).where(same).limit(1)) is not None


def record(portal: Portal, tx: Connection, call: Call, action: str, found: Found, **facts: str) -> None:
    """Record an act with a message: this is its log."""
    detail = {"subject": found.message.subject, **facts}
    act = audit.Act(f"secure {action}", "done", "secure", found.message.id, detail)
    audit.record(tx, [act], at=portal.clock.now(), caller=call.caller, request_id=call.request_id)


def content(portal: Portal, call: Call, found: Found, octets: bytes) -> JsonObject:
    """The row of a message with its texts and attachments; to its sender also who read it."""
    preview = mail.preview(octets)
    row: contract.MessageRow = access.row(portal, call.caller, found, contract.MessageRow)
    told = row.status is not None
    return row.model_copy(
        update={
            "text_body": preview.text or None,
            "html_body": preview.html,
            "attachments": [_attachment(portal, found, part) for part in preview.attachments],
            "recipients": [access.recipient(found, copy) for copy in found.recipients] if told else None,
            "policy": found.message.policy or None if told else None,
            "notes": list(preview.notes),
        }
    ).to_json()


def _attachment(portal: Portal, found: Found, part: mail.AttachmentInfo) -> contract.AttachmentRow:
    return contract.AttachmentRow(
        id=portal.sealer.id("securefile", found.message.id * limits.PARTS_LISTED + part.index),
        filename=part.filename,
        size=part.size,
        content_type=part.content_type,
        content_id=part.content_id,
        sha256=part.sha256,
        inline=part.inline,
    )


def _blob(tx: Connection, found: Found) -> str:
    """The name of a message's octets, which are read without keeping others from writing."""
    row: Row[Any] | None = tx.execute(
        select(messages.c.blob).where(messages.c.id == found.message.message_id, messages.c.purged.is_(None))
    ).first()
    if row is None:
        raise Refused("not_found", "There is no such secure message for this caller.", status=404)
    return str(row.blob)


# -- acts on several -----------------------------------------------------------------------------------------------


Change = Callable[[Connection, Found, JsonObject], Refusal | JsonObject]


def each(portal: Portal, call: Call, act: str, change: Change) -> Answer:
    """One act on every message of a call, in one transaction; what fails stands beside what was done."""
    access.require_on(portal)
    answer = Answer()
    with portal.write(call.caller) as tx:
        for raw in call.items:
            told: Refusal | JsonObject
            try:
                found = access.one(portal, tx, call, str(raw.get("id", "")), act)
            except Refused as refusal:
                answer.failures.append(Failure(refusal.failure.code, refusal.failure.message, key=raw))
                continue
            told = change(tx, found, raw)
            if isinstance(told, Refusal):
                answer.failures.append(Failure(told.code, told.sentence, key=raw))
            else:
                answer.rows.append({"id": raw["id"], **told})
    return answer


def mark(portal: Portal, call: Call) -> Answer:
    """Mark messages as read or unread; what their senders see is not touched by it."""

    def change(tx: Connection, found: Found, raw: JsonObject) -> JsonObject:
        item = contract.MarkItem.model_validate(raw)
        assert found.own is not None
        if found.own.unread != item.read:
            return {"outcome": "already"}
        tx.execute(update(secure_copies).where(secure_copies.c.id == found.own.id).values(unread=not item.read))
        record(portal, tx, call, "mark read" if item.read else "mark unread", found, recipient=found.own.address)
        return {"outcome": "done"}

    return each(portal, call, "mark", change)


def delete(portal: Portal, call: Call) -> Answer:
    """Move messages to Deleted Items (portal-rules F.18)."""
    return _moved(portal, call, "delete", lambda own: "deleted" if own.folder in ("inbox", "sent") else None)


def restore(portal: Portal, call: Call) -> Answer:
    """Move messages from Deleted Items to where they were, for as long as they are kept."""
    home = {"sender": "sent"}
    return _moved(portal, call, "restore", lambda own: home.get(own.part, "inbox") if own.folder == "deleted" else None)


def _moved(portal: Portal, call: Call, act: str, target: Callable[[Row[Any]], str | None]) -> Answer:
    def change(tx: Connection, found: Found, _: JsonObject) -> Refusal | JsonObject:
        own = found.own
        if own is None or not own.folder:
            return Refusal("forbidden", "It lies in none of this caller's folders.")
        folder = target(own)
        if folder is None:
            return {"outcome": "already", "when": iso(portal.clock.now())}
        tx.execute(update(secure_copies).where(secure_copies.c.id == own.id).values(folder=folder))
        record(portal, tx, call, act, found, recipient=own.address)
        return {"outcome": "done"}

    return each(portal, call, act, change)


OPERATIONS = {
    "secure.show": show,
    "secure.print": print_,
    "secure.file": file,
    "secure.mark": mark,
    "secure.delete": delete,
    "secure.restore": restore,
}
