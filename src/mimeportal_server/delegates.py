"""Who may act as the owner of a mailbox: told, granted and ended (portal-rules C.8, H.6; mimecast-api-portal 5.5)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from mimeportal import limits
from mimeportal.account import contract
from mimeportal.addresses import parse_address
from mimeportal.errors import UsageError
from mimeportal_server import audit, people
from mimeportal_server.asked import forbidden
from mimeportal_server.listing import Keyset
from mimeportal_server.people import Caller
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.schema import delegates
from mimeportal_server.store.schema import people as persons

_KIND = "delegate"


def _own(tx: Connection, caller: Caller, mailbox: str | None) -> Row[Any]:
    """The person whose delegates the caller may see and change: themselves, or anybody's for administrators.

    A delegate may not: there is no delegation of a delegation. Raises `Refused`.
    """
    owner = people.owner_of(tx, caller, mailbox)
    if owner is None or (owner.address != caller.address and not caller.administrator):
        raise forbidden()
    return owner


def find(portal: Portal, call: Call) -> Answer:
    """find-delegate-users: the delegates of a mailbox, by when they were added."""
    item = contract.FindDelegatesItem.model_validate(call.items[0])
    keyset = Keyset(portal, call, "account.find_delegates", delegates.c.id, descending=False)
    with portal.database.read() as tx:
        owner = _own(tx, call.caller, item.primary_address)
        query = (
            select(delegates.c.id, persons.c.address)
            .join(persons, persons.c.id == delegates.c.delegate_id)
            .where(delegates.c.owner_id == owner.id)
        )
        rows, block = keyset.fetch(tx, query)
    seal = portal.sealer.id
    return Answer(
        [
            contract.DelegateRow(
                id=seal(_KIND, row.id), primary_address=owner.address, delegate_address=row.address
            ).to_json()
            for row in rows
        ],
        page=block,
    )


def add(portal: Portal, call: Call) -> Answer:
    """add-delegate-user: one of the portal's people may act as the owner from now on.

    A delegate reads what the owner reads: so administrators who may not view content do not name themselves.
    """
    item = contract.AddDelegateItem.model_validate(call.items[0])
    try:
        address = parse_address(item.delegate_address)
    except UsageError as fault:
        raise Refused("err_validation_invalid_email_address", fault.what, field="delegateAddress") from None
    with portal.write(call.caller) as tx:
        owner = _own(tx, call.caller, item.primary_address)
        person = people.find(tx, address)
        if person is None or person.kind != "person":
            message = f"{address} is none of the portal's people."
            raise Refused("err_validation_value_not_allowed", message, field="delegateAddress")
        if person.id == owner.id:
            message = f"{address} is the owner of this mailbox already."
            raise Refused("err_validation_value_not_allowed", message, field="delegateAddress")
        if person.id == call.caller.person_id and not people.may_read(call.caller, owner.address):
            raise forbidden()
        whose = delegates.c.owner_id == owner.id
        known = tx.scalar(select(delegates.c.id).where(whose, delegates.c.delegate_id == person.id))
        if known is None:
            if (tx.scalar(select(func.count()).select_from(delegates).where(whose)) or 0) >= limits.DELEGATES:
                message = f"A mailbox has at most {limits.DELEGATES} delegates."
                raise Refused("err_validation_count", message, field="delegateAddress")
            values = {"owner_id": owner.id, "delegate_id": person.id, "added": portal.clock.now()}
            created = tx.execute(insert(delegates), values)
            assert created.inserted_primary_key is not None
            number = int(created.inserted_primary_key[0])
        outcome = "done" if known is None else "already"
        _record(portal, tx, call, "add delegate", outcome, number if known is None else known, owner.address, address)
    number = number if known is None else known
    row = contract.DelegateChangeRow(id=portal.sealer.id(_KIND, number), success=True, outcome=outcome)
    return Answer([row.to_json()])


def remove(portal: Portal, call: Call) -> Answer:
    """remove-delegate-user: the delegation ends at once, whatever is under way."""
    item = contract.RemoveDelegateItem.model_validate(call.items[0])
    number = portal.sealer.number(_KIND, item.id)
    owners = persons.alias("owners")
    with portal.write(call.caller) as tx:
        found = tx.execute(
            select(owners.c.address.label("owner"), persons.c.address.label("delegate"))
            .select_from(delegates)
            .join(owners, owners.c.id == delegates.c.owner_id)
            .join(persons, persons.c.id == delegates.c.delegate_id)
            .where(delegates.c.id == number)
        ).first()
        if found is None or (found.owner != call.caller.address and not call.caller.administrator):
            raise Refused("not_found", "There is no such delegation for this caller.", status=404)
        tx.execute(delete(delegates).where(delegates.c.id == number))
        _record(portal, tx, call, "remove delegate", "done", number, found.owner, found.delegate)
    return Answer([contract.DelegateChangeRow(id=item.id, success=True).to_json()])


def _record(
    portal: Portal, tx: Connection, call: Call, action: str, outcome: str, number: int, owner: str, delegate: str
) -> None:
    act = audit.Act(action, outcome, "delegate", number, {"mailbox": owner, "delegate": delegate})
    audit.record(tx, [act], at=portal.clock.now(), caller=call.caller, request_id=call.request_id)


def access(portal: Portal, call: Call) -> Answer:
    """get-delegated-access: the caller's own account, and each mailbox in it as whose owner they may act.

    Mimecast tells of accounts; that a row names a mailbox is ours (mimecast-api-portal 5.3).
    """
    here = {"account_code": portal.account_code, "region_code": "local", "adcon_url": portal.settings.public_url}
    row = contract.DelegatedAccessRow(
        local_account=contract.AccessRow(**here, role_name=call.caller.role),
        delegate_access=[
            contract.AccessRow(**here, role_name="delegate", email_address=address)
            for address in sorted(call.caller.delegated)
        ],
    )
    return Answer([row.to_json()])
