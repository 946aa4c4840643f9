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

CAPABILITIES = Shape(
    ("operation", "api2", "api1", "local", "offered"),
    cells=dict.fromkeys(("api2", "api1", "local", "offered"), lambda value, _, __: "yes" if value else "-"),
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


@account.command()
@output_options(CAPABILITIES)
def capabilities(output: Output) -> None:
    """Show which operations Mimecast's API 2.0 and 1.0 offer, which a local portal does, and which this one.

    Nothing is sent.
    """
    from mimeportal_cli.opening import opened

    with opened() as portal:
        output.rows(portal.account.capabilities())


@account.command()
def password() -> None:
    """Set a password of your own. Every log-in of yours ends with it, this one too.

    The current and the new one are asked for on a terminal; elsewhere they come from the files that
    MIMEPORTAL_PASSWORD_FILE and MIMEPORTAL_NEW_PASSWORD_FILE name.
    """
    from mimeportal.account import contract
    from mimeportal_cli.opening import opened

    console = settings().console
    with opened() as portal:
        portal.session.require(contract.PASSWORD, "setting a password")
        current = _secret("MIMEPORTAL_PASSWORD_FILE", "Current password (empty where none was set)", may_lack=True)
        new = _secret("MIMEPORTAL_NEW_PASSWORD_FILE", "New password")
        if console.interactive and "MIMEPORTAL_NEW_PASSWORD_FILE" not in os.environ:
            if new != console.ask_secret("The new password again"):
                raise click.UsageError("The two are not the same; nothing was changed.")
        portal.account.set_password(new, current or None)
        console.note("The password is set, and every log-in has ended: log in again with `mimeportal auth login`.")
