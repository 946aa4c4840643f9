"""The account, and who is asking; each mailbox's preferences, contacts and delegates lie in files of their own."""

from __future__ import annotations

from sqlalchemy import func, select

from mimeportal.account import contract
from mimeportal_server import contacts, delegates, preferences
from mimeportal_server.clock import moment
from mimeportal_server.portal import Answer, Call, Portal
from mimeportal_server.store.schema import people


def show(portal: Portal, _call: Call) -> Answer:
    """The account's code, name, domain and number of people (mimecast-api-portal 5.6)."""
    with portal.database.read() as tx:
        count = tx.scalar(select(func.count()).where(people.c.kind == "person"))
    settings = portal.settings
    row = contract.AccountRow(
        account_code=portal.account_code,
        account_name=settings.domains[0],
        domain=settings.domains[0],
        region="local",
        user_count=count,
    )
    told = {"archive": settings.archiving, "adminEmail": settings.mail_from, "contactEmail": settings.mail_from}
    return Answer([{**_MIMECAST, **row.to_json(), **told}])


# What Mimecast tells beside it, and what is so here: clients index these fields.
_MIMECAST = {
    "gateway": True,
    "passphrase": "",
    "supportCode": "",
    "maxRetention": 0,
    "maxRetentionConfirmed": False,
    "minRetentionEnabled": False,
    "automatedSegmentPurge": False,
    "type": "full",
    "policyInheritance": False,
    "databaseCode": "",
    "searchReason": False,
    "contentAdministratorDefaultView": "Metadata",
    "adminSessionTimeout": 0,
    "exportApi": False,
    "exgestAllowQuery": False,
    "mimecastId": "",
    "contactName": "",
    "telephone": "",
    "packages": ["mimeportal (Local) [0]"],
}


def whoami(portal: Portal, call: Call) -> Answer:
    """The caller's address and role, whose mail they decide on, and how they want times shown."""
    with portal.database.read() as tx:
        preferred = preferences.of(portal, tx, call.caller.person_id, call.caller.address)
    row = contract.WhoAmIRow(
        email_address=call.caller.address,
        role=call.caller.role,
        moderates=sorted(call.caller.scopes),
        delegated=sorted(call.caller.delegated),
        time_zone=preferred.time_zone,
        date_format=preferred.date_format,
        time_format=preferred.time_format,
        first_day_of_week=preferred.first_day_of_week,
        account_code=portal.account_code,
        domains=list(portal.settings.domains),
        now=moment(portal.clock.steady()),
    )
    return Answer([row.to_json()])


def password(portal: Portal, call: Call) -> Answer:
    """Set the caller's own password, and end all their log-ins (portal-rules A.32, I.9)."""
    from mimeportal_server import passwords  # it brings Argon2

    item = contract.PasswordItem.model_validate(call.items[0])
    passwords.change(
        portal, call.caller, item.password, item.new_password, peer=call.request.peer, request_id=call.request_id
    )
    return Answer([contract.PasswordRow(email_address=call.caller.address).to_json()])


OPERATIONS = {
    "account.show": show,
    "account.whoami": whoami,
    "account.password": password,
    "account.preferences": preferences.show,
    "account.set_preferences": preferences.change,
    "account.most_used_contacts": contacts.most_used,
    "account.find_contacts": contacts.find,
    "account.find_delegates": delegates.find,
    "account.add_delegate": delegates.add,
    "account.remove_delegate": delegates.remove,
    "account.delegated_access": delegates.access,
}
