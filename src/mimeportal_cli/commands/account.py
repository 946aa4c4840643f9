"""`mimeportal account`: the account, and who is asking."""

from __future__ import annotations

import click

from mimeportal_cli.options import Group
from mimeportal_cli.output import Output, Shape, output_options

# The fields of the SDK's AccountRow and WhoAmIRow; a test compares them.
ACCOUNT = Shape(
    (
        "account_code",
        "account_name",
        "domain",
        "domains",
        "region",
        "user_count",
        "email_address",
        "role",
        "moderates",
        "time_zone",
    )
)


@click.group(cls=Group)
def account() -> None:
    """The account, and who is asking."""


@account.command()
@output_options(ACCOUNT, limit=False)
def show(output: Output) -> None:
    """Show the account, and who the portal thinks is asking."""
    from mimeportal.account import contract
    from mimeportal_cli.opening import opened

    with opened() as portal:
        facts = portal.account.show().model_dump()
        if portal.session.offers(contract.WHOAMI):
            facts |= portal.account.whoami().model_dump()
        output.one(facts)
