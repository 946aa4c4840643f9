"""`mimeportal senders`: whom a mailbox blocks and permits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.options import Group, option, settings
from mimeportal_cli.output import Output, Shape, output_options

if TYPE_CHECKING:
    from mimeportal.portal import Portal

LISTS = ("blocked", "permitted")
_UNASKED = 25  # typed entries that are added without a question
_MAXIMUM = 1_000
_SHOWN = 5

# As `SENDER_FIELDS` and `CHANGE_FIELDS` of mimeportal.senders.client; a test compares them.
ENTRIES = Shape(("entry", "list", "type", "mailbox", "added", "source"), empty="No entries match.")
CHANGES = Shape(("entry", "list", "mailbox", "outcome", "moved_from"), empty="")

_LIST = option("--list", "list_", type=click.Choice(LISTS), help="Which list.")
_MAILBOX = option("--mailbox", metavar="ADDRESS", help="Whose list. Default: your own.")
_MAX = option(
    "--max",
    "maximum",
    metavar="N",
    type=click.IntRange(min=0),
    default=_MAXIMUM,
    show_default=True,
    help="Refuse to change more than N.",
)
_DRY_RUN = option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
_YES = option("--yes", is_flag=True, help="Do not ask.")
_ENTRIES = click.argument("entries", nargs=-1, required=True, metavar="ENTRY...")


@click.group(cls=Group)
def senders() -> None:
    """Whom a mailbox blocks and permits."""


@senders.command("list")
@_LIST
@_MAILBOX
@option("--search", metavar="TEXT", help="Part of the entry; with * a glob over all of it.")
@option("--addresses", "type_", flag_value="address", default=None, help="Addresses only.")
@option("--domains", "type_", flag_value="domain", help="Domains only.")
@output_options(ENTRIES)
def list_(list_: str | None, mailbox: str | None, search: str | None, type_: str | None, output: Output) -> None:
    """List the entries of the blocked and the permitted list."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        output.rows(portal.senders.list(list_, mailbox=mailbox, search=search, type=type_))


@senders.command()
@_ENTRIES
@option("--list", "list_", type=click.Choice(LISTS), required=True, help="Which list.")
@_MAILBOX
@_MAX
@_DRY_RUN
@_YES
@output_options(CHANGES, limit=False)
def add(
    entries: Sequence[str], list_: str, mailbox: str | None, maximum: int, dry_run: bool, yes: bool, output: Output
) -> None:
    """Add addresses and domains to a list; an entry leaves the other list.

    Several in one argument, separated by blanks or commas, are split. One bad entry refuses all.
    """
    from mimeportal_cli.opening import opened

    named = _named(entries, maximum)
    asks = len(named) > _UNASKED and not yes
    if asks and not dry_run:
        settings().console.require_interactive()
    with opened() as portal:
        where = _place(portal, list_, mailbox)
        if dry_run:
            _show_plan(output, named, list_, mailbox or portal.user, f"Would add {_entries(named)} ({where}).")
            return
        if asks:
            _ask(f"Add {_entries(named)} ({where})?", named)
        changes = portal.senders.add(named, list_, mailbox=mailbox)
        _show(output, changes)
    _total("Added", changes, where)


@senders.command()
@_ENTRIES
@_LIST
@_MAILBOX
@_MAX
@_DRY_RUN
@_YES
@output_options(CHANGES, limit=False)
def remove(
    entries: Sequence[str],
    list_: str | None,
    mailbox: str | None,
    maximum: int,
    dry_run: bool,
    yes: bool,
    output: Output,
) -> None:
    """Take entries off a list; without --list off whichever they are on."""
    from mimeportal_cli.opening import opened

    named = _named(entries, maximum)
    if not (yes or dry_run):
        settings().console.require_interactive()
    with opened() as portal:
        where = _place(portal, list_ or "blocked and permitted", mailbox)
        if dry_run:
            _show_plan(output, named, list_, mailbox or portal.user, f"Would remove {_entries(named)} ({where}).")
            return
        if not yes:
            _ask(f"Remove {_entries(named)} ({where})?", named)
        changes = _removed(portal, named, list_, mailbox)
        _show(output, changes)
    _total("Removed", changes, where)


def _removed(portal: Portal, named: Sequence[str], list_: str | None, mailbox: str | None) -> list[Any]:
    if list_ is not None:
        return list(portal.senders.remove(named, list_, mailbox=mailbox))
    # An entry stands on one list at most: taking it off the one tells which are left for the other.
    first = list(portal.senders.remove(named, LISTS[0], mailbox=mailbox))
    left = [change.entry for change in first if change.outcome == "already"]
    second = list(portal.senders.remove(left, LISTS[1], mailbox=mailbox)) if left else []
    return [change for change in first if change.outcome != "already"] + second


def _named(entries: Sequence[str], maximum: int) -> list[str]:
    """The entries as typed, split and unique. Raises `UsageError` for a bad one, `DeclinedError` for too many."""
    from mimeportal.addresses import parse_entry
    from mimeportal.errors import DeclinedError, UsageError

    words = [word for entry in entries for word in entry.replace(",", " ").split()]
    named = list(dict.fromkeys(parse_entry(word)[0] for word in words))
    if not named:
        raise UsageError("No entry was named.", remedy="Name addresses or domains.")
    if len(named) > maximum:
        raise DeclinedError(
            f"{len(named):,} entries are more than the {maximum:,} allowed at once; nothing was changed.",
            remedy=f"Name fewer, or allow it with --max {len(named)}.",
        )
    return named


def _place(portal: Portal, list_: str, mailbox: str | None) -> str:
    from mimeportal_cli.telling import place

    return place(portal, list=list_, mailbox=mailbox or portal.user or "of the account")


def _ask(question: str, named: Sequence[str]) -> None:
    console = settings().console
    for entry in named[:_SHOWN]:
        console.warn(f"  {entry}")
    if len(named) > _SHOWN:
        console.warn(f"  and {len(named) - _SHOWN:,} more")
    console.confirm(question)


def _show_plan(output: Output, named: Sequence[str], list_: str | None, mailbox: str | None, line: str) -> None:
    output.rows({"entry": entry, "list": list_, "mailbox": mailbox} for entry in named)
    settings().console.note(line)


def _show(output: Output, changes: Sequence[Any]) -> None:
    if output.asked or not output.on_terminal:
        output.rows(changes)


def _total(done: str, changes: Sequence[Any], where: str) -> None:
    counted = sum(change.outcome == "done" for change in changes)
    already = len(changes) - counted
    line = f"{done} {counted:,}" + (f", already so {already:,}" if already else "")
    moved = sum(change.moved_from is not None for change in changes)
    settings().console.note(line + (f", moved from the other list {moved:,}" if moved else "") + f" ({where}).")


def _entries(named: Sequence[str]) -> str:
    return f"{len(named):,} " + ("entry" if len(named) == 1 else "entries")
