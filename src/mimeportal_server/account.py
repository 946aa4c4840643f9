"""The account, and who is asking."""

from __future__ import annotations

from sqlalchemy import func, select

from mimeportal.account import contract
from mimeportal_server.portal import Answer, Call, Portal
from mimeportal_server.store.schema import people


def show(portal: Portal, _call: Call) -> Answer:
    """The account's code, name, domain and number of people (mimecast-api-portal 5.6)."""
    with portal.database.read() as tx:
        count = tx.scalar(select(func.count()).select_from(people))
    row = contract.AccountRow(
        account_code=portal.account_code,
        account_name=portal.settings.domains[0],
        domain=portal.settings.domains[0],
        region="local",
        user_count=count,
    )
    return Answer([row.to_json()])


def whoami(portal: Portal, call: Call) -> Answer:
    """The caller's address, role and moderated addresses."""
    row = contract.WhoAmIRow(
        email_address=call.caller.address,
        role=call.caller.role,
        moderates=sorted(call.caller.scopes),
        time_zone=portal.settings.time_zone,
        account_code=portal.account_code,
        domains=list(portal.settings.domains),
    )
    return Answer([row.to_json()])


OPERATIONS = {"account.show": show, "account.whoami": whoami}
