"""Mailboxes: what lies in a folder, and what is found by words (portal-rules C.1 to C.9, C.20).

A mailbox is a view of the archive: nothing in it is changed by being read. What is no longer kept is in none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, func, or_, select, true

from mimeportal import limits
from mimeportal.addresses import normalise
from mimeportal.messages.contract import mailbox as contract
from mimeportal.patterns import fold
from mimeportal.wire import JsonObject, Page, format_date
from mimeportal_server import archive_query, deciding, ranking, searching
from mimeportal_server.asked import date_given, forbidden, not_allowed
from mimeportal_server.clock import DAY, milliseconds, moment
from mimeportal_server.listing import Keyset, may_match
from mimeportal_server.people import Caller, may_read, owner_of
from mimeportal_server.portal import Answer, Call, Portal
from mimeportal_server.store.schema import copies, holds, mailbox, messages, people, secure_messages, words
from mimeportal_server.tokens import InvalidToken
from mimeportal_server.tracking import address_condition

_SHOWN = 30 * DAY  # of a folder; what is older is found by search (portal-rules C.1)

MAIL: Select[Any] = (
    select(
        mailbox.c.id,
        mailbox.c.message_id,
        mailbox.c.recipient,
        mailbox.c.folder,
        mailbox.c.received,
        people.c.address.label("owner"),
        messages.c.blob,
        messages.c.size,
        messages.c.envelope_from.label("from_address"),
        messages.c.from_header,
        messages.c.from_name,
        messages.c.subject,
        messages.c.has_attachments,
        messages.c.attachment_count,
        messages.c.route,
        secure_messages.c.id.label("secure"),
        secure_messages.c.opened,
        secure_messages.c.recalled,
        secure_messages.c.expires,
    )
    .join(messages, messages.c.id == mailbox.c.message_id)
    .join(people, people.c.id == mailbox.c.person_id)
    .outerjoin(secure_messages, secure_messages.c.message_id == messages.c.id)
    .where(messages.c.purged.is_(None))
)


# -- lists ---------------------------------------------------------------------------------------------------


def list_mail(portal: Portal, call: Call) -> Answer:
    """archive/get-message-list (2.1): the inbox, or what was sent; of the last 30 days unless `start` says otherwise.

    Nobody has aliases here, so `includeAliases` changes nothing.
    """
    item = contract.ListMailItem.model_validate(call.items[0])
    view = (item.view or "INBOX").upper()
    if view not in contract.VIEWS:
        raise not_allowed(f"Field must be one of [{','.join(contract.VIEWS)}]", "view")
    if "ignore_filters" in call.faults:
        item = contract.ListMailItem(mailbox=item.mailbox)
    with portal.database.read() as tx:
        whose = [_owner(tx, call.caller, item.mailbox)]
        if item.include_delegates:
            addresses = call.caller.delegated
            whose += tx.scalars(select(people.c.id).where(people.c.address.in_(addresses))).all() if addresses else []
    conditions = [
        mailbox.c.person_id.in_(whose),
        mailbox.c.folder == view.lower(),
        *_window(portal, item.start, item.end),
    ]
    keyset = Keyset(portal, call, "messages.list", mailbox.c.id)
    with portal.database.read() as tx:
        rows, block = keyset.fetch(tx, MAIL.where(*conditions))
        sent_to = _recipients(tx, rows)
    return Answer([_listed(portal, row, sent_to[row.id][:1]) for row in rows], page=block)


def browse(portal: Portal, call: Call) -> Answer:
    """Our own list: any folder or everything, every filter at once; with words a search, best first."""
    item = contract.BrowseItem.model_validate(call.items[0])
    if item.folder not in (None, *contract.FOLDERS):
        raise not_allowed(f"Field must be one of [{','.join(contract.FOLDERS)}]", "folder")
    if item.ids is not None:
        return _named(portal, call, item.ids)
    if "ignore_filters" in call.faults:
        item = contract.BrowseItem(mailbox=item.mailbox, everyone=item.everyone, words=item.words, folder=item.folder)
    owner = _asked_about(portal, call, item)
    conditions = [] if owner is None else [mailbox.c.person_id == owner]
    if item.folder is not None:
        conditions.append(mailbox.c.folder == item.folder)
    else:
        deciding.settle(portal, true() if owner is None else holds.c.person_id == owner)
    conditions += _window(portal, item.start, item.end, always=item.folder is not None and item.words is None)
    conditions += _filters(item)
    if item.words is None:
        keyset = Keyset(portal, call, "messages.browse", mailbox.c.id)
        with portal.database.read() as tx:
            rows, block = keyset.fetch(tx, MAIL.where(*conditions))
            sent_to = _recipients(tx, rows)
    else:
        conditions.append(searching.matching(searching.terms(item.words, "words")))
        rows, block = ranking.Ranked(portal, call, "messages.browse").fetch(MAIL, conditions)
        with portal.database.read() as tx:
            sent_to = _recipients(tx, rows)
    return Answer([_told(portal, row, sent_to[row.id]) for row in rows], page=block)


def _named(portal: Portal, call: Call, ids: Sequence[str]) -> Answer:
    """Messages by their ids. What is none, or not the caller's to see, is not among them."""
    if len(ids) > limits.LOCAL_BATCH:
        raise not_allowed(f"`ids` holds at most {limits.LOCAL_BATCH}.", "ids")
    numbers = set()
    for id in ids:
        with suppress(InvalidToken):
            numbers.add(portal.sealer.number("mailbox", id))
    caller = call.caller
    with portal.database.read() as tx:
        found = tx.execute(MAIL.where(mailbox.c.id.in_(numbers)).order_by(mailbox.c.id.desc())).all()
        rows = [row for row in found if caller.acts_for(row.owner) or caller.administrator]
        sent_to = _recipients(tx, rows)
    return Answer([_told(portal, row, sent_to[row.id]) for row in rows])


def _asked_about(portal: Portal, call: Call, item: contract.BrowseItem) -> int | None:
    """Whose mail: a person's number; None for everybody's. Raises `Refused` for what is not the caller's to see."""
    caller = call.caller
    if item.everyone:
        if item.mailbox is not None or not (caller.administrator and caller.content_view):
            raise forbidden()
        return None
    with portal.database.read() as tx:
        owner = _owner(tx, caller, item.mailbox)
    if item.words is not None and not may_read(caller, normalise(item.mailbox or caller.address)):
        raise forbidden()  # what is found by a word tells that it is in there
    return owner


def _owner(tx: Connection, caller: Caller, address: str | None) -> int:
    person = owner_of(tx, caller, address)
    if person is None:
        raise forbidden()
    return int(person.id)


def _window(portal: Portal, start: str | None, end: str | None, *, always: bool = True) -> list[ColumnElement[bool]]:
    """Between two dates; `always` from 30 days ago where no start is given."""
    conditions: list[ColumnElement[bool]] = []
    if start or always:
        edge = milliseconds(date_given(start, "start")) if start else portal.clock.now() - _SHOWN
        conditions.append(mailbox.c.received >= edge)
    if end:
        # What is told of a time is its second, so the whole second before `end` may be meant.
        conditions.append(mailbox.c.received < -(-milliseconds(date_given(end, "end")) // 1000) * 1000)
    return conditions


def _filters(item: contract.BrowseItem) -> list[ColumnElement[bool]]:
    """Conditions only narrow: never may one refuse what the same filter of the client accepts."""
    conditions: list[ColumnElement[bool]] = []
    if item.from_ is not None:
        conditions.append(address_condition(item.from_, (messages.c.envelope_from, messages.c.from_header), "from"))
    if item.to is not None:
        conditions.append(_addressed(address_condition(item.to, (mailbox.c.recipient,), "to"), item.to))
    if item.subject is not None:
        if len(item.subject) > limits.PATTERN:
            raise not_allowed(f"A text condition has at most {limits.PATTERN} characters.", "subject")
        conditions.append(may_match(item.subject, func.lower(messages.c.subject)))
    if item.attachments is not None:
        conditions.append(messages.c.has_attachments == item.attachments)
    if item.larger_than is not None:
        conditions.append(messages.c.size > max(-1, min(item.larger_than, limits.MESSAGE)))
    return conditions


def _addressed(own: ColumnElement[bool], text: str) -> ColumnElement[bool]:
    """Received at an address, or sent to it."""
    other = address_condition(text, (copies.c.recipient,), "to")
    return or_(
        own, and_(mailbox.c.folder == "sent", exists().where(copies.c.message_id == mailbox.c.message_id, other))
    )


# -- Mimecast's search ---------------------------------------------------------------------------------------


def find(portal: Portal, call: Call) -> Answer:
    """archive/search (2.5): a query in XML, newest first. An app that does not ask with `admin` finds nothing."""
    item = contract.FindMailItem.model_validate(call.items[0])
    began = time.monotonic()
    query = archive_query.read(item.query, moment(portal.clock.now()))
    if query.page_size is not None and call.page_size == limits.DEFAULT_PAGE_SIZE:
        call.page_size = query.page_size
    whose = _searched(portal, call.caller, item, query)
    if whose is None:
        return Answer([], page=Page(0), beside={"queryDuration": 0})
    deciding.settle(portal, holds.c.person_id.in_(whose) if whose else true())
    conditions: list[ColumnElement[bool]] = [mailbox.c.person_id.in_(whose)] if whose else []
    if "ignore_filters" not in call.faults:
        conditions += _asked(query)
    keyset = Keyset(portal, call, "messages.find", mailbox.c.id)
    with portal.database.read() as tx:
        rows, block = keyset.fetch(tx, MAIL.where(*conditions))
        sent_to = _recipients(tx, rows)
    found = [_found(portal, row, sent_to[row.id], query.return_fields) for row in rows]
    return Answer(found, page=block, beside={"queryDuration": int((time.monotonic() - began) * 1000)})


def _searched(
    portal: Portal, caller: Caller, item: contract.FindMailItem, query: archive_query.ArchiveQuery
) -> list[int] | None:
    """Whose mail is searched: numbers of people, none for the whole archive; None where nothing is to be found.

    Raises `Refused` for a mailbox that is not the caller's to search.
    """
    if not item.admin and caller.address.startswith("app:"):
        return None  # as recorded of API 2.0: neither rows nor an error
    if item.admin and not (caller.administrator and caller.content_view):
        raise forbidden()
    if item.admin and not query.mailboxes:
        return []
    with portal.database.read() as tx:
        found = []
        for address in query.mailboxes or [caller.address]:
            if not may_read(caller, normalise(address)):
                raise forbidden()
            found.append(_owner(tx, caller, address))
    return found


def _asked(query: archive_query.ArchiveQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.text:
        conditions.append(_by_words(searching.expression(query.text, "text")))
    if query.docs:
        conditions.append(_by_words(searching.named(query.docs, "docs")))
    if query.route:
        conditions.append(messages.c.route == fold(query.route))
    senders = [_below(text, (messages.c.envelope_from, messages.c.from_header)) for text in query.sent_from]
    targets = [
        or_(
            _below(text, (mailbox.c.recipient,)),
            exists().where(copies.c.message_id == mailbox.c.message_id, _below(text, (copies.c.recipient,))),
        )
        for text in query.sent_to
    ]
    conditions += [or_(*alternatives) for alternatives in (senders, targets) if alternatives]
    if query.since:
        conditions.append(mailbox.c.received >= milliseconds(query.since))
    if query.until:
        conditions.append(mailbox.c.received < (milliseconds(query.until) // 1000 + 1) * 1000)
    return conditions


def _by_words(query: str) -> ColumnElement[bool]:
    return mailbox.c.message_id.in_(select(words.c.rowid).where(searching.matching(query)))


def _below(text: str, columns: Sequence[Any]) -> ColumnElement[bool]:
    """An address, or a domain with all below it (2.5)."""
    value = normalise(text)
    if "@" in value and not value.startswith("@"):
        return or_(*(column == value for column in columns))
    domain = value.lstrip("@")
    endings = [column.endswith(f"{sign}{domain}", autoescape=True) for column in columns for sign in "@."]
    return or_(*endings)


# -- rows ------------------------------------------------------------------------------------------------------


def _recipients(tx: Connection, rows: Sequence[Row[Any]]) -> Mapping[int, list[str]]:
    """To whom each went: the address it came to, or all that it was sent to."""
    sent = {row.message_id for row in rows if not row.recipient}
    by_message: dict[int, list[str]] = {}
    if sent:
        named = select(copies.c.message_id, copies.c.recipient).where(copies.c.message_id.in_(sent))
        for entry in tx.execute(named.order_by(copies.c.id)):
            by_message.setdefault(entry.message_id, []).append(entry.recipient)
    return {row.id: [row.recipient] if row.recipient else by_message.get(row.message_id, []) for row in rows}


def _listed(portal: Portal, row: Row[Any], to: Sequence[str]) -> JsonObject:
    """A row of get-message-list (2.1). The four flags are those of secure messages, and of the archive."""
    return {
        "id": portal.sealer.id("mailbox", row.id),
        "status": "ARCHIVED",
        "received": format_date(moment(row.received)),
        "from": {"emailAddress": row.from_header, "displayableName": row.from_name},
        "to": _address(to[0] if to else ""),
        "subject": row.subject,
        "size": row.size,
        "attachmentCount": row.attachment_count,
        "smash": smash(row),
        "read": row.opened is not None,
        "ccm": row.secure is not None,
        "recalled": row.recalled is not None,
        "expired": row.expires is not None and row.expires <= portal.clock.steady(),
    }


def _told(portal: Portal, row: Row[Any], to: Sequence[str]) -> JsonObject:
    """The same with what Mimecast does not tell."""
    return {
        **_listed(portal, row, to),
        "to": [_address(address) for address in to],
        "envelopeFrom": row.from_address,
        "hasAttachments": row.has_attachments,
        "folder": row.folder,
        "mailbox": row.owner,
        "route": row.route,
    }


def _found(portal: Portal, row: Row[Any], to: Sequence[str], fields: Sequence[str]) -> JsonObject:
    """A row of archive/search, with the fields that were asked for."""
    told: JsonObject = {
        "attachmentcount": row.attachment_count,
        "status": "ARCHIVED",
        "subject": row.subject,
        "size": row.size,
        "receiveddate": format_date(moment(row.received)),
        "displayfrom": row.from_name or row.from_header,
        "displayfromaddress": row.from_header,
        "id": portal.sealer.id("mailbox", row.id),
        "displayto": ", ".join(to),
        "displaytoaddresslist": [_address(address) for address in to],
        "smash": smash(row),
    }
    return {name: told[name] for name in fields}


def _address(address: str) -> JsonObject:
    return {"emailAddress": address, "displayableName": ""}


def smash(row: Row[Any]) -> str:
    return str(row.blob[:40])  # as many digits as Mimecast's


OPERATIONS: Mapping[str, Callable[[Portal, Call], Answer]] = {
    "messages.list": list_mail,
    "messages.browse": browse,
    "messages.find": find,
}
