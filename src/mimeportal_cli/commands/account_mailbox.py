"""`mimeportal account preferences|contacts|delegates`: what belongs to one mailbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.options import Command, Group, option, settings
from mimeportal_cli.output import Output, Shape, output_options

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# As `PreferencesRow` of the contract, and as mimeportal.account.persons; a test compares them.
NAMES = (
    "language",
    "time_zone",
    "date_format",
    "time_format",
    "first_day_of_week",
    "home_page",
    "signature",
)
PREFERENCES = Shape(("email_address", *NAMES, "chosen"))
CONTACTS = Shape(("address", "name", "uses", "last_used"), empty="No contacts match.")
DELEGATES = Shape(("mailbox", "address", "id"), table=("mailbox", "address"), empty="Nobody.")
DELEGATE_CHANGES = Shape(("mailbox", "address", "outcome"), empty="")
ACCESS = Shape(("mailbox", "account_code", "region", "role", "url"), empty="No other mailbox, and no other account.")

_MAILBOX = option("--mailbox", metavar="ADDRESS", help="Whose mailbox, where you may act as its owner.")
_OWNER = option("--mailbox", metavar="OWNER", help="Whose mailbox. Default: your own.")


def _names(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in NAMES if name.startswith(incomplete)]


@click.command(cls=Command)
@option(
    "--set",
    "given",
    metavar="NAME=VALUE",
    multiple=True,
    help="Prefer this from now on; repeatable. VALUE of the signature may be @FILE, @@ begins it with an @.",
)
@option("--unset", metavar="NAME", multiple=True, shell_complete=_names, help="Give a preference up; repeatable.")
@_MAILBOX
@output_options(PREFERENCES, limit=False)
def preferences(given: Sequence[str], unset: Sequence[str], mailbox: str | None, output: Output) -> None:
    """Show or set what a mailbox prefers.

    language (a tag as en; texts here are English), time_zone (as Europe/London), date_format (yyyy-MM-dd, dd/MM/yyyy,
    MM/dd/yyyy, dd.MM.yyyy, dd MMM yyyy), time_format (24h, 12h), first_day_of_week (monday, ...), home_page (where
    pages open), signature. Times in tables follow them, and `--since week` begins with the first day. What is not set
    is the account's.
    """
    from mimeportal_cli.opening import opened

    wanted = _wanted(given)
    with opened() as portal:
        if wanted or unset:
            row = portal.account.set_preferences(unset=unset, mailbox=mailbox, **wanted)
        else:
            row = portal.account.preferences(mailbox=mailbox)
        output.one(row.model_dump())


def _wanted(given: Sequence[str]) -> dict[str, Any]:
    """Name to value, as typed. Raises `UsageError` for what is no NAME=VALUE, or names no preference."""
    from mimeportal.account.preferences import checked
    from mimeportal.errors import UsageError
    from mimeportal_cli.texts import typed_text

    wanted: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"Not a preference: {text!r}.", remedy="Write --set NAME=VALUE, as --set time_format=12h.")
        name = name.strip().replace("-", "_")
        if name in wanted:
            raise UsageError(f"{name} is set twice.", remedy="Set it once.")
        wanted[name] = checked(name, typed_text(value) if name == "signature" else value.strip())
    return wanted


@click.command(cls=Command)
@option("--search", metavar="TEXT", help="In the address or the name; with * a glob.")
@option("--global", "everyone", is_flag=True, help="Everybody who has a mailbox here, by address.")
@_MAILBOX
@option("--tz", metavar="ZONE", help="Show times in this zone. Default: yours, or the account's.")
@output_options(CONTACTS)
def contacts(search: str | None, everyone: bool, mailbox: str | None, tz: str | None, output: Output) -> None:
    """List those whom you wrote to, the most used first; or everybody's address with --global."""
    from mimeportal_cli.opening import opened, zone_of
    from mimeportal_cli.times import short

    with opened() as portal:
        if output.format == "table":
            zone = zone_of(portal, tz)
            cells = {"last_used": lambda value, _, __: short(value, zone) if value else ""}
            output.shape = Shape(CONTACTS.names, table=CONTACTS.table, empty=CONTACTS.empty, cells=cells)
        output.rows(portal.account.contacts(search, everyone=everyone, mailbox=mailbox))


@click.group(cls=Group)
def delegates() -> None:
    """Who may act as the owner of a mailbox."""


@delegates.command("list")
@_OWNER
@output_options(DELEGATES)
def list_(mailbox: str | None, output: Output) -> None:
    """List who may act as the owner of a mailbox."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        output.rows(portal.account.delegates(mailbox=mailbox))


@delegates.command()
@click.argument("address", metavar="ADDRESS")
@_OWNER
@output_options(DELEGATE_CHANGES, limit=False)
def add(address: str, mailbox: str | None, output: Output) -> None:
    """Let somebody act as the owner of a mailbox, in all things but naming delegates.

    They then add --mailbox OWNER to what they do. What is audited names them, not the owner.
    """
    from mimeportal_cli.opening import opened

    with opened() as portal:
        _show(
            output,
            portal.account.add_delegate(address, mailbox=mailbox),
            "{0} may act as {1}",
            "{0} may act as {1} already",
        )


@delegates.command()
@click.argument("address", metavar="ADDRESS")
@_OWNER
@output_options(DELEGATE_CHANGES, limit=False)
def remove(address: str, mailbox: str | None, output: Output) -> None:
    """End a delegation, at once."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        change = portal.account.remove_delegate(address, mailbox=mailbox)
        _show(output, change, "{0} may no longer act as {1}", "{0} is no delegate of {1}")


def _show(output: Output, change: Any, done: str, already: str) -> None:
    if output.asked or not output.on_terminal:
        output.rows([change])
    sentence = done if change.outcome == "done" else already
    settings().console.note(sentence.format(change.address, change.mailbox) + ".")


@delegates.command()
@output_options(ACCESS, limit=False)
def access(output: Output) -> None:
    """List the mailboxes as whose owner you may act; on Mimecast's API 1.0 the accounts that you reach."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        output.rows(portal.account.delegated_access())


COMMANDS: tuple[Any, ...] = (preferences, contacts, delegates)
