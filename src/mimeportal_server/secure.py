"""Secure messages as their people find them: folders, what the account offers, and the operations of the noun."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, select

from mimeportal import limits
from mimeportal.secure import contract
from mimeportal_server import listing, searching, secure_monitoring, secure_reading, secure_sender, secure_sending
from mimeportal_server import secure_access as access
from mimeportal_server.asked import date_given, not_allowed
from mimeportal_server.clock import DAY, milliseconds
from mimeportal_server.portal import Answer, Call, Portal
from mimeportal_server.store.schema import secure_copies, secure_messages, words
from mimeportal_server.tokens import InvalidToken
from mimeportal_server.tracking import address_condition


def list_messages(portal: Portal, call: Call) -> Answer:
    """One folder of one mailbox, newest first; the Inbox as far back as the account shows it."""
    access.require_on(portal)
    item = contract.ListItem.model_validate(call.items[0])
    if item.folder not in contract.FOLDERS:
        raise not_allowed(f"There is no folder {item.folder!r}.", "folder")
    if item.ids is not None:
        return _named(portal, call, item.ids)
    if "ignore_filters" in call.faults:
        item = contract.ListItem(folder=item.folder, mailbox=item.mailbox)
    with portal.database.read() as tx:
        person_id, _ = access.owner(tx, call.caller, item.mailbox)
        query: Select[Any] = select(secure_copies.c.id, secure_copies.c.secure_id).where(
            secure_copies.c.person_id == person_id, ~secure_copies.c.withdrawn
        )
        query = _narrowed(portal, query, item)
        rows, block = listing.Keyset(portal, call, "secure.list", secure_copies.c.id).fetch(tx, query)
        found = access.load(portal, tx, call.caller, [row.secure_id for row in rows])
        kept = [access.of(found[row.secure_id], row.id) for row in rows if row.secure_id in found]
    return Answer([access.row(portal, call.caller, one).to_json() for one in kept], page=block)


def _named(portal: Portal, call: Call, ids: list[str]) -> Answer:
    """Messages by their ids, in any folder or none. What is not the caller's to see is not among them."""
    if len(ids) > limits.LOCAL_BATCH:
        raise not_allowed(f"`ids` holds at most {limits.LOCAL_BATCH}.", "ids")
    numbers = []
    for id in ids:
        with suppress(InvalidToken):
            numbers.append(portal.sealer.number("secure", id))
    with portal.database.read() as tx:
        found = access.load(portal, tx, call.caller, numbers)
    seen = [one for one in found.values() if access.judge(portal, call.caller, "see", one) is None]
    return Answer([access.row(portal, call.caller, one).to_json() for one in seen])


def _narrowed(portal: Portal, query: Select[Any], item: contract.ListItem) -> Select[Any]:
    query = query.where(secure_copies.c.folder == item.folder, secure_copies.c.sent > access.edge(portal))
    if item.start is not None:
        query = query.where(secure_copies.c.sent >= milliseconds(date_given(item.start, "start")))
    elif item.folder == "inbox" and item.search is None and item.end is None:
        since = portal.clock.steady() - portal.settings.secure.inbox_days * DAY
        query = query.where(secure_copies.c.sent >= since)
    if item.end is not None:
        query = query.where(secure_copies.c.sent < milliseconds(date_given(item.end, "end")))
    if item.unread is not None:
        query = query.where(secure_copies.c.unread == item.unread)
    about: list[ColumnElement[bool]] = []
    if item.from_:
        about.append(address_condition(item.from_, [secure_messages.c.sender], "from"))
    if item.to:
        about.append(_addressed(item.to))
    if item.subject:
        about.append(listing.may_match(_pattern(item.subject, "subject"), secure_messages.c.folded, folded=True))
    if item.search:
        matching = searching.matching(searching.terms(item.search, "search"))
        about.append(secure_messages.c.message_id.in_(select(words.c.rowid).where(matching)))
    if item.attachments is not None:
        about.append(secure_messages.c.has_attachments == item.attachments)
    if about:
        query = query.join(secure_messages, secure_messages.c.id == secure_copies.c.secure_id).where(*about)
    return query


def _addressed(text: str) -> ColumnElement[bool]:
    other = secure_copies.alias("other")
    named = address_condition(text, [other.c.address], "to")
    return exists().where(other.c.secure_id == secure_messages.c.id, other.c.part != "sender", named)


def _pattern(text: str, field: str) -> str:
    if len(text) > limits.PATTERN:
        raise not_allowed(f"A text condition has at most {limits.PATTERN} characters.", field)
    return text


def definitions(portal: Portal, call: Call) -> Answer:
    """The definitions that a sender may choose from, in their fixed order; the default first (portal-rules F.10)."""
    access.require_on(portal)
    item = contract.DefinitionsItem.model_validate(call.items[0] if call.items else {})
    secure = portal.settings.secure
    with portal.database.read() as tx:
        _, address = access.owner(tx, call.caller, item.mailbox)
    return Answer(
        [
            contract.DefinitionRow(
                name=definition.name,
                folder=definition.folder,
                default=definition == secure.definitions[0],
                print=definition.print,
                reply=definition.reply,
                reply_all=definition.reply_all,
                expire_days=definition.expire_days or None,
                read_receipt=definition.read_receipt,
            ).to_json()
            for definition in secure.offered(address)
        ]
    )


def settings(portal: Portal, call: Call) -> Answer:
    """What the account offers the caller, so that nothing is offered that would be refused."""
    secure = portal.settings.secure
    off = secure.switched_off()
    on = secure.mode != "off"
    compose = on and secure.may_compose(call.caller.address)
    row = contract.SettingsRow(
        mode=secure.mode,
        compose=compose,
        reply=on and "reply" not in off,
        print=on and "print" not in off,
        delete=on and "delete" not in off,
        options=list(contract.OPTIONS) if compose else [],
        inbox_days=secure.inbox_days,
        retention_days=secure.retention_days,
    )
    return Answer([row.to_json()])


OPERATIONS = {
    "secure.list": list_messages,
    "secure.definitions": definitions,
    "secure.settings": settings,
    "secure.send": secure_sending.send,
    "secure.reply": secure_sending.reply,
    **secure_reading.OPERATIONS,
    **secure_sender.OPERATIONS,
    **secure_monitoring.OPERATIONS,
}
