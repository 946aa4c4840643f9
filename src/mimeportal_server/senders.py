"""Managed senders: what one person's lists hold, and how an entry gets on and off them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, or_, select

from mimeportal import limits
from mimeportal.addresses import domain_of, parse_address, parse_entry
from mimeportal.errors import UsageError
from mimeportal.senders import contract
from mimeportal.wire import Failure, JsonObject, format_date
from mimeportal_server import audit, listing, people, sender_check
from mimeportal_server.asked import not_allowed
from mimeportal_server.clock import moment
from mimeportal_server.people import Caller
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.sender_lists import AUTO, TRUSTED, Change, is_trusted, key_of, lists_of, put, put_all
from mimeportal_server.store.schema import people as persons
from mimeportal_server.store.schema import senders

_TYPES = {"permit": "Permit", "block": "Block"}
_LISTS = {"permit": "permitted", "block": "blocked"}
_BAD_ADDRESS = "err_validation_invalid_email_address"
_BAD_ENTRY = "err_validation_invalid_sender_entry"
_FORBIDDEN = "err_xdk_operation_forbidden_for_address"
_FORBIDDEN_SENTENCE = "0003 Forbidden To Perform Operation For Address"


def permit_or_block(portal: Portal, call: Call) -> Answer:
    """Mimecast's operation: each item on its own, failures beside it (mimecast-api-core 6.12)."""
    answer = Answer()
    now = portal.clock.now()
    acts: list[audit.Act] = []
    with portal.write(call.caller) as tx:
        for item in call.items:
            problem = _problem(item)
            if problem is not None:
                answer.failures.append(problem)
                continue
            sender, to, action = parse_address(item["sender"]), parse_address(item["to"]), item["action"]
            owner = people.owner_of(tx, call.caller, to)
            if owner is None or domain_of(sender) in portal.settings.domains:
                answer.failures.append(Failure(_FORBIDDEN, _FORBIDDEN_SENTENCE, key=item))
                continue
            person = int(owner.id)
            put(tx, person, sender, "address", _LISTS[action], source="api", now=now)
            acts.append(_act(action, person, sender, to, "done"))
            answer.rows.append(
                {"id": _id(portal, tx, person, sender), "sender": sender, "to": to, "type": _TYPES[action]}
            )
        audit.record(tx, acts, at=now, caller=call.caller, request_id=call.request_id)
    return answer


# type, action and trusted of the entries on each list, as bulk-delete filters them (mimecast-api-portal 1.3).
_KINDS = {
    "blocked": ("manual", "block", False),
    "permitted": ("manual", "permit", False),
    "auto-permitted": ("auto", "permit", False),
    "trusted": ("manual", None, True),
}


def bulk_delete(portal: Portal, call: Call) -> Answer:
    """Mimecast's operation: senders off the lists of everybody in the account, for administrators alone."""
    item = contract.BulkDeleteItem.model_validate(call.items[0])
    if not call.caller.administrator:
        raise Refused(_FORBIDDEN, _FORBIDDEN_SENTENCE, status=403)
    if item.type is not None and item.action is not None:
        raise not_allowed("type and action exclude each other", "type")
    for field, value, known in (("type", item.type, ("auto", "manual")), ("action", item.action, tuple(_LISTS))):
        if value is not None and value not in known:
            raise not_allowed(f"Field must be one of [{','.join(known)}]", field)
    if len(set(item.ids)) < len(item.ids):
        raise not_allowed("ids are unique", "ids")
    entries = [_entry(id, "ids")[0] for id in item.ids if id != "<>"]  # no list of ours has the null sender
    wanted = [
        list
        for list, (type, action, trusted) in _KINDS.items()
        if item.type in (None, type) and item.action in (None, action) and item.trusted in (None, trusted)
    ]
    now = portal.clock.now()
    with portal.write(call.caller) as tx:
        found = [
            row
            for start in range(0, len(entries), 500)
            for row in tx.execute(
                select(senders, persons.c.address)
                .join(persons, persons.c.id == senders.c.person_id)
                .where(senders.c.entry.in_(entries[start : start + 500]), senders.c.list.in_(wanted))
            )
        ]
        for start in range(0, len(found), 500):
            tx.execute(delete(senders).where(senders.c.id.in_([row.id for row in found[start : start + 500]])))
        acts = [_act(f"remove {row.list}", row.person_id, row.entry, row.address, "done") for row in found]
        audit.record(tx, acts, at=now, caller=call.caller, request_id=call.request_id)
    return Answer(object=contract.BulkDeleteRow(deleted_count=len(found)).to_json())


def list_entries(portal: Portal, call: Call) -> Answer:
    """The entries of one mailbox's lists, by entry; what lapsed is none."""
    item = contract.ListSendersItem.model_validate(call.items[0])
    for field, value, known in (
        ("list", item.list, contract.LISTS),
        ("policyType", item.policy_type, contract.POLICY_TYPES),
    ):
        if value is not None and value not in known:
            raise not_allowed(f"Field must be one of [{','.join(known)}]", field)
    with portal.database.read() as tx:
        owner = _owner(tx, call.caller, item.mailbox)
        query = select(senders).where(
            senders.c.person_id == owner.id,
            or_(senders.c.expires.is_(None), senders.c.expires > portal.clock.steady()),
        )
        if item.list:
            query = query.where(senders.c.list == item.list)
        if item.entry_type:
            query = query.where(senders.c.type == item.entry_type)
        if item.policy_type:
            query = query.where(_of_policy_type(item.policy_type))
        if item.search:
            if len(item.search) > limits.PATTERN:
                raise not_allowed("The text is too long.", "search")
            query = query.where(listing.may_match(item.search, senders.c.entry))
        page = listing.Keyset(portal, call, "senders.list", senders.c.key, descending=False)
        rows, block = page.fetch(tx, query)
    return Answer([_row(row, owner.address) for row in rows], page=block)


def add(portal: Portal, call: Call) -> Answer:
    """Add entries; one bad entry refuses the whole add (portal-rules D.10)."""
    items = [contract.AddSenderItem.model_validate(raw) for raw in call.items]
    if len(items) > 1 and any(item.list not in contract.SEVERAL for item in items):
        raise not_allowed("Only the blocked and the permitted list take several entries at once.", "list")
    now = portal.clock.now()
    answer = Answer()
    acts: list[audit.Act] = []
    with portal.write(call.caller) as tx:
        for item, raw in zip(items, call.items, strict=True):
            entry, type = _entry(item.entry, "entry", raw)
            _check_list(portal, entry, type, item.list, raw)
            owner = _owner(tx, call.caller, item.mailbox)
            change = put(tx, int(owner.id), entry, type, item.list, source="manual", now=now)
            acts.append(_act(f"add {item.list}", owner.id, entry, owner.address, change.outcome))
            answer.rows.append(_changed(entry, item.list, owner.address, change))
        audit.record(tx, acts, at=now, caller=call.caller, request_id=call.request_id)
    return answer


def remove(portal: Portal, call: Call) -> Answer:
    """Take entries off a list, or off whichever list they are on; what is on none stands so already."""
    now = portal.clock.now()
    answer = Answer()
    acts: list[audit.Act] = []
    with portal.write(call.caller) as tx:
        for raw in call.items:
            item = contract.RemoveSenderItem.model_validate(raw)
            entry, _ = _entry(item.entry, "entry", raw)
            if item.list is not None and item.list not in contract.LISTS:
                raise not_allowed(f"There is no list {item.list!r}.", "list")
            owner = _owner(tx, call.caller, item.mailbox)
            keys = [key_of(entry, item.list)] if item.list else [key_of(entry, list) for list in ("", "trusted")]
            standing = (senders.c.person_id == owner.id) & senders.c.key.in_(keys)
            if item.list:
                standing &= senders.c.list == item.list
            lists = [*tx.scalars(select(senders.c.list).where(standing).order_by(senders.c.key))]
            tx.execute(delete(senders).where(standing))
            change = Change("done" if lists else "already")
            for list in lists or [item.list]:
                acts.append(
                    _act(f"remove {list}" if list else "remove", owner.id, entry, owner.address, change.outcome)
                )
            answer.rows.append(_changed(entry, " and ".join(lists) or item.list, owner.address, change))
        audit.record(tx, acts, at=now, caller=call.caller, request_id=call.request_id)
    return answer


def import_entries(portal: Portal, call: Call) -> Answer:
    """Put many entries on one list: the good ones are stored, each bad one is a failure (portal-rules D.10)."""
    item = contract.ImportSendersItem.model_validate(call.items[0])
    if item.list not in contract.WRITABLE:
        raise not_allowed(f"Nothing is added by hand to the list {item.list!r}.", "list")
    answer = Answer()
    parsed: list[tuple[str, str]] = []
    for text in item.entries:
        raw = {"entry": text}
        try:
            entry, type = _entry(text, "entry", raw)
            _check_list(portal, entry, type, item.list, raw)
        except Refused as refused:
            answer.failures.append(refused.failure)
        else:
            parsed.append((entry, type))
    now = portal.clock.now()
    with portal.write(call.caller) as tx:
        owner = _owner(tx, call.caller, item.mailbox)
        changes = put_all(tx, int(owner.id), parsed, item.list, source="import", now=now, dry_run=bool(item.dry_run))
        acts = [
            _act(f"add {item.list}", owner.id, entry, owner.address, change.outcome)
            for (entry, _), change in zip(parsed, changes, strict=True)
        ]
        audit.record(tx, [] if item.dry_run else acts, at=now, caller=call.caller, request_id=call.request_id)
    added = sum(change.outcome == "done" for change in changes)
    row = contract.ImportSendersRow(
        list=item.list,
        mailbox=owner.address,
        added=added,
        moved=sum(change.moved_from is not None for change in changes),
        already=len(changes) - added,
    )
    answer.rows.append(row.to_json())
    return answer


def check(portal: Portal, call: Call) -> Answer:
    """What would happen to mail from a sender to one mailbox, and which entry or policy decides."""
    item = contract.CheckSenderItem.model_validate(call.items[0])
    sender = _address(item.sender, "sender")
    envelope = sender if item.envelope is None else item.envelope and _address(item.envelope, "envelope")
    wanted = {entry for address in (sender, envelope) for entry in (address, domain_of(address)) if entry}
    with portal.database.read() as tx:
        owner = _owner(tx, call.caller, item.mailbox)
        lists = lists_of(tx, int(owner.id), wanted, portal.clock.steady())
        trusted = is_trusted(tx, int(owner.id), sender)
    told = sender_check.check(portal.settings, sender, envelope, owner.address, lists, trusted=trusted)
    return Answer([told.to_json()])


def _owner(tx: Connection, caller: Caller, mailbox: str | None) -> Row[Any]:
    """Whose lists these are. Not the caller's and nobody's answer alike (promises E.1)."""
    owner = people.owner_of(tx, caller, mailbox)
    if owner is None:
        raise Refused(_FORBIDDEN, _FORBIDDEN_SENTENCE, status=403)
    return owner


def _entry(text: str, field: str, raw: JsonObject | None = None) -> tuple[str, str]:
    try:
        return parse_entry(text)
    except UsageError as fault:
        raise Refused(_BAD_ENTRY, fault.what, field=field, key=raw) from None


def _address(text: str, field: str) -> str:
    try:
        return parse_address(text)
    except UsageError as fault:
        raise Refused(_BAD_ADDRESS, fault.what, field=field) from None


def _check_list(portal: Portal, entry: str, type: str, list: str, raw: JsonObject) -> None:
    """Refuse what may not stand on a list (portal-rules D.5 to D.8, promises B.3)."""
    if list not in contract.WRITABLE:
        message = f"Nothing is added by hand to the list {list!r}."
        raise Refused("err_validation_value_not_allowed", message, field="list", key=raw)
    if list == "trusted" and type == "domain":
        raise Refused(_BAD_ENTRY, f"The trusted list takes addresses, not domains: {entry!r}.", field="entry", key=raw)
    if (entry if type == "domain" else domain_of(entry)) in portal.settings.domains:
        message = f"{entry} belongs to the account's own domains."
        raise Refused("own_domain", message, field="entry", key=raw)


def _problem(item: JsonObject) -> Failure | None:
    """What is wrong with an item of permit-or-block-sender, in Mimecast's words."""
    for field in ("sender", "to", "action"):
        if field not in item:
            return Failure("err_validation_null", "Mandatory field is missing", field, key=item)
    for field in ("sender", "to"):
        try:
            valid = parse_entry(str(item[field]))[1] == "address"  # as every list takes it: no wildcard
        except UsageError:
            valid = False
        if not valid:
            return Failure(_BAD_ADDRESS, "Email address is not valid", field, key=item)
    if not isinstance(item["action"], str) or item["action"] not in _LISTS:
        message = "Field must be one of [permit,block]"
        return Failure("err_validation_value_not_allowed", message, "action", key=item)
    return None


def _id(portal: Portal, tx: Connection, person: int, entry: str) -> str:
    number = tx.scalar(select(senders.c.id).where(senders.c.person_id == person, senders.c.key == entry))
    return "MTOKEN:" + portal.sealer.id("mansend", int(number or 0))


def _of_policy_type(policy_type: str) -> ColumnElement[bool]:
    if policy_type == "trusted":
        return senders.c.list == TRUSTED
    if policy_type == "manual":
        return senders.c.list.in_(contract.SEVERAL)
    return (senders.c.list == AUTO) & (senders.c.disabled.is_(policy_type == "disabled"))


def _policy_type(row: Row[Any]) -> str:
    if row.list == AUTO:
        return "disabled" if row.disabled else "auto"
    return "trusted" if row.list == TRUSTED else "manual"


def _row(row: Row[Any], mailbox: str) -> JsonObject:
    return contract.SenderRow(
        entry=row.entry,
        list=row.list,
        type=row.type,
        mailbox=mailbox,
        added=format_date(moment(row.added)),
        source=row.source,
        policy_type=_policy_type(row),
        expires=format_date(moment(row.expires)) if row.expires is not None else None,
    ).to_json()


def _changed(entry: str, list: str | None, mailbox: str, change: Change) -> JsonObject:
    return contract.ChangeSenderRow(
        entry=entry, list=list, mailbox=mailbox, outcome=change.outcome, moved_from=change.moved_from
    ).to_json()


def _act(action: str, person: int, entry: str, mailbox: str, outcome: str) -> audit.Act:
    return audit.Act(action, outcome, "sender entry", person, {"entry": entry, "mailbox": mailbox})


OPERATIONS = {
    "senders.permit_or_block": permit_or_block,
    "senders.bulk_delete": bulk_delete,
    "senders.list": list_entries,
    "senders.add": add,
    "senders.remove": remove,
    "senders.import": import_entries,
    "senders.check": check,
}
