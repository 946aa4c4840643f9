"""`mimeportal senders`: whom a mailbox blocks, permits and trusts. Changing the lists has a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.commands import senders_change
from mimeportal_cli.commands.senders_change import LIST, LISTS, MAILBOX, POLICY_TYPE, SEARCH, TYPES
from mimeportal_cli.options import Group, option
from mimeportal_cli.output import Output, Shape, output_options

if TYPE_CHECKING:
    from mimeportal.senders.contract import SenderList

__all__ = ["CHECK", "ENTRIES", "LISTS", "senders"]

# As `SENDER_FIELDS` of mimeportal.senders.entry, and the row of `senders.check`; a test compares them.
ENTRIES = Shape(
    ("entry", "list", "type", "mailbox", "added", "source", "policy_type", "expires"),
    table=("entry", "list", "policy_type", "source", "added", "expires"),
    empty="No entries match.",
)
CHECK = Shape(
    (
        "sender",
        "envelope",
        "mailbox",
        "outcome",
        "decided_by",
        "entry",
        "part",
        "skipped",
        "may_hold",
        "trusted",
        "why",
    )
)


@click.group(cls=Group)
def senders() -> None:
    """Whom a mailbox blocks, permits and trusts."""


@senders.command("list")
@LIST
@MAILBOX
@SEARCH
@TYPES
@POLICY_TYPE
@option("--tz", metavar="ZONE", help="Show times in this zone. Default: yours, or the account's.")
@output_options(ENTRIES)
def list_(list_: SenderList | None, tz: str | None, output: Output, **filters: Any) -> None:
    """List the entries of the blocked, permitted, auto-permitted and trusted lists."""
    from mimeportal_cli.opening import opened, zone_of
    from mimeportal_cli.times import short

    with opened() as portal:
        found = portal.senders.list(list_, **filters)
        if output.format == "table":
            zone = zone_of(portal, tz)

            def time(value: Any, _record: Any, _columns: Any) -> str:
                return short(value, zone) if value else ""

            cells: dict[str, Callable[..., str]] = {"added": time, "expires": time}
            output.shape = Shape(ENTRIES.names, table=ENTRIES.table, empty=ENTRIES.empty, cells=cells)
        output.rows(found)


@senders.command()
@click.argument("address")
@option("--envelope", metavar="ADDRESS", help="The envelope sender, <> for none. Default: the same address.")
@MAILBOX
@output_options(CHECK, limit=False)
def check(address: str, envelope: str | None, mailbox: str | None, output: Output) -> None:
    """Tell what would happen to mail from ADDRESS, and which entry or policy decides.

    \b
      refused     in the protocol, at RCPT: its sender is never told why
      dropped     once it is here, and recorded
      permitted   spam holds are skipped; attachments and the like are still held
      held        by a rule that asks for the sender alone
      undecided   no list and no policy names the sender: the hold rules decide
    """
    from mimeportal_cli.opening import opened

    with opened() as portal:
        told = portal.senders.check(address, envelope=envelope, mailbox=mailbox)
        output.one({name: getattr(told, name) for name in CHECK.names})


@senders.command()
@LIST
@MAILBOX
@option("-w", "--write", metavar="FILE", type=click.Path(), help="Write to FILE, which appears whole or not at all.")
def export(list_: SenderList | None, mailbox: str | None, write: str | None) -> None:
    """Write the entries as CSV with every column, which `senders import` takes again."""
    from mimeportal_cli.opening import opened

    output = Output(ENTRIES, output_format="csv", write=write)
    with opened() as portal:
        count = output.rows(portal.senders.list(list_, mailbox=mailbox))
        where = senders_change.place_of(portal, list_, mailbox)
    output.console.note(f"Exported {senders_change.entries(count)} ({where}).")


for _command in senders_change.COMMANDS:
    senders.add_command(_command)
