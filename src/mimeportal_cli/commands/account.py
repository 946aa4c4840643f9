"""`mimeportal account`: the account, and who is asking; what is a mailbox's own has a file of its own."""

from __future__ import annotations

import click

from mimeportal_cli.commands import account_mailbox
from mimeportal_cli.options import Group, settings
from mimeportal_cli.output import Output, Shape, output_options

# The fields of the SDK's AccountRow and WhoAmIRow, but for the time; a test compares them.
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
        "delegated",
        "time_zone",
        "date_format",
        "time_format",
        "first_day_of_week",
    )
)

CAPABILITIES = Shape(
    ("operation", "api2", "api1", "local", "offered"),
    cells=dict.fromkeys(("api2", "api1", "local", "offered"), lambda value, _, __: "yes" if value else "-"),
)


@click.group(cls=Group)
def account() -> None:
    """The account, preferences, contacts, delegates."""


@account.command()
@output_options(ACCOUNT, limit=False)
def show(output: Output) -> None:
    """Show the account, and who the portal thinks is asking."""
    from mimeportal.account import contract
    from mimeportal_cli.opening import opened

    with opened() as portal:
        facts = portal.account.show().model_dump()
        if portal.session.offers(contract.WHOAMI):
            facts |= portal.account.whoami().model_dump(exclude={"now"})
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

    with opened(asks_password=True) as portal:
        portal.session.require(contract.PASSWORD, "setting a password")
        current = _from_file(_CURRENT) or _typed("Current password (empty where none was set)", empty=True)
        new = _from_file(_NEW) or _new_typed()
        portal.account.set_password(new, current or None)
    settings().console.note(
        "The password is set, and every log-in has ended: log in again with `mimeportal auth login`."
    )


_CURRENT, _NEW = "MIMEPORTAL_PASSWORD_FILE", "MIMEPORTAL_NEW_PASSWORD_FILE"


def _from_file(variable: str) -> str:
    import os

    from mimeportal.credentials import read_secret
    from mimeportal.profiles import from_home

    named = os.environ.get(variable)
    return read_secret(from_home(named), variable) if named else ""


def _typed(prompt: str, *, empty: bool = False) -> str:
    console = settings().console
    return console.ask_secret(prompt, empty=empty) if console.interactive else ""


def _new_typed() -> str:
    from mimeportal.errors import ConfigurationError, UsageError

    new = _typed("New password")
    if not new:
        raise ConfigurationError(
            f"Nobody can be asked here, and {_NEW} names no file with the new password.",
            why="A secret is never an option's value.",
            remedy=f"Set {_NEW}; the current password comes from the file that {_CURRENT} names.",
        )
    if new != _typed("New password, once more"):
        raise UsageError("The two passwords are not the same; nothing was changed.", remedy="Type it again.")
    return new


for _command in account_mailbox.COMMANDS:
    account.add_command(_command)
