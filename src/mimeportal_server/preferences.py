"""What each person prefers: kept where they chose, told with the account's defaults for the rest (portal-rules C.9)."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert as upsert

from mimeportal.account import contract
from mimeportal.account.preferences import CHECKS, checked
from mimeportal.errors import UsageError
from mimeportal_server import audit, people
from mimeportal_server.asked import forbidden, not_allowed
from mimeportal_server.portal import Answer, Call, Portal
from mimeportal_server.store.schema import preferences


def chosen(tx: Connection, person_id: int) -> dict[str, str]:
    """What a person chose, by name; no name for what they left to the account."""
    text = tx.scalar(select(preferences.c.chosen).where(preferences.c.person_id == person_id))
    found: dict[str, str] = json.loads(text) if text else {}
    return found


def of(portal: Portal, tx: Connection, person_id: int, address: str) -> contract.PreferencesRow:
    """What holds for a person: their own choice, else the account's."""
    own = chosen(tx, person_id)
    values: dict[str, Any] = {"time_zone": portal.settings.time_zone, **own}
    return contract.PreferencesRow(email_address=address, chosen=list(own), **values)


def show(portal: Portal, call: Call) -> Answer:
    """The preferences of the caller, or of a mailbox that they may use."""
    item = contract.MailboxItem.model_validate(call.items[0])
    with portal.database.read() as tx:
        owner = people.owner_of(tx, call.caller, item.mailbox)
        if owner is None:
            raise forbidden()
        return Answer([of(portal, tx, int(owner.id), owner.address).to_json()])


def change(portal: Portal, call: Call) -> Answer:
    """Set and give up preferences; a wrong one changes none of them."""
    item = contract.SetPreferencesItem.model_validate(call.items[0])
    try:
        wanted = {name: checked(name, value) for name, value in item.preferences.items()}
    except UsageError as fault:
        raise not_allowed(f"{fault.what} {fault.remedy}".strip(), "preferences") from None
    for name in item.unset:
        if name not in CHECKS or name in wanted:
            raise not_allowed(f"There is no preference {name[:40]!r} to give up, or it is set here too.", "unset")
    with portal.write(call.caller) as tx:
        owner = people.owner_of(tx, call.caller, item.mailbox)
        if owner is None:
            raise forbidden()
        person = int(owner.id)
        kept = {name: value for name, value in chosen(tx, person).items() if name not in item.unset} | wanted
        text = json.dumps(kept)
        statement: Any = upsert(preferences).values(person_id=person, chosen=text)
        tx.execute(statement.on_conflict_do_update(index_elements=["person_id"], set_={"chosen": text}))
        detail = {"mailbox": owner.address, "set": sorted(wanted), "unset": sorted(set(item.unset))}
        act = audit.Act("set preferences", "done", "person", person, detail)
        audit.record(tx, [act], at=portal.clock.now(), caller=call.caller, request_id=call.request_id)
        return Answer([of(portal, tx, person, owner.address).to_json()])
