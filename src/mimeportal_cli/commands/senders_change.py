"""`mimeportal senders add|remove|import`: changing the lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli import acting as act
from mimeportal_cli.acting import Acting, acting_options
from mimeportal_cli.exits import ExitCode
from mimeportal_cli.options import Command, option, settings
from mimeportal_cli.output import Output, Shape, output_options
from mimeportal_cli.telling import Ending, Verb, place

if TYPE_CHECKING:
    from mimeportal.bulk import Plan
    from mimeportal.portal import Portal
    from mimeportal.senders import BadLine
    from mimeportal.senders.contract import SenderList, WritableList

LISTS = ("blocked", "permitted", "auto-permitted", "trusted")
WRITABLE = ("blocked", "permitted", "trusted")
POLICY_TYPES = ("manual", "auto", "disabled", "trusted")
_UNASKED = 25  # typed entries that are added without a question
_SHOWN = 5
_ENTRY = re.compile(r'"[^"]*"@[^\s,]*|[^\s,]+')  # what stands in quotes may hold blanks and commas


def _list_of(options: Any, _record: Any, _columns: Any) -> str:
    return str(options.get("list") or "whichever it is on")


# An item's id is its entry.
CHANGES = Shape(
    act.REPORT_FIELDS,
    table=("id", "action", "outcome", "code", "error", "options"),
    cells={"options": _list_of},
    empty="",
)
PLANNED = Shape(
    act.REPORT_FIELDS,
    table=("id", "action", "to_address", "options"),
    cells={"options": _list_of},
    empty="No entries match.",
)
# As `BAD_LINE_FIELDS` of mimeportal.senders.importing; a test compares them.
BAD_LINES = Shape(("line", "entry", "code", "reason"), empty="")

_WORDS = {"noun": "senders", "one": "entry", "several": "entries"}
ADD = Verb("add", "Add", "Would add", "Added", "Adding", **_WORDS)
REMOVE = Verb("remove", "Remove", "Would remove", "Removed", "Removing", **_WORDS)

LIST = option("--list", "list_", type=click.Choice(LISTS), help="Which list.")
_INTO = option("--list", "list_", type=click.Choice(WRITABLE), help="Which list; needed unless a report is taken up.")
MAILBOX = option("--mailbox", metavar="ADDRESS", help="Whose lists. Default: your own.")
SEARCH = option("--search", metavar="TEXT", help="Part of the entry; with * a glob over all of it.")
POLICY_TYPE = option(
    "--policy-type", type=click.Choice(POLICY_TYPES), help="How an entry stands there, as administrators see it."
)


def TYPES(function: Any) -> Any:  # noqa: N802 - used as the options beside it
    """Adds --addresses and --domains, passed as `type`."""
    addresses = option("--addresses", "type", flag_value="address", default=None, help="Addresses only.")
    return addresses(option("--domains", "type", flag_value="domain", help="Domains only.")(function))


@click.command(cls=Command)
@click.argument("entries", nargs=-1, metavar="[ENTRY]...")
@_INTO
@MAILBOX
@acting_options
@output_options(CHANGES, limit=False)
def add(entries: Sequence[str], list_: WritableList | None, mailbox: str | None, acting: Acting, output: Output) -> int:
    """Add addresses and domains to a list; an entry leaves the other list.

    Several in one argument, separated by blanks or commas, are split; the trusted list takes one address. One bad
    entry refuses all. Up to 25 typed entries are added at once; more are shown and asked for first.
    """
    from mimeportal.errors import UsageError
    from mimeportal_cli.opening import opened

    named = _named(entries)
    _check_alone(acting, ADD, (*named, list_, mailbox))
    if acting.retry_from is None and not named:
        raise UsageError("No entry was named.", remedy="Name addresses or domains.")
    if acting.retry_from is None and list_ is None:
        raise UsageError("Which list?", remedy=f"Name it with --list: {', '.join(WRITABLE)}.")
    asks = acting.retry_from is not None or len(named) > _UNASKED
    acting.check(asks=asks)
    with (
        opened() as portal,
        portal.senders.plan("add", named or None, list=list_, mailbox=mailbox, retry_from=acting.retry_from) as plan,
    ):
        ending = Ending(ADD, place_of(portal, list_, mailbox), len(plan), one_typed=len(named) == 1)
        act.carry_out(portal, plan, acting, output, ending, planned=PLANNED, ask=_ask if asks else None)
    return ending.conclude()


@click.command(cls=Command)
@click.argument("entries", nargs=-1, metavar="[ENTRY]...")
@LIST
@MAILBOX
@SEARCH
@TYPES
@POLICY_TYPE
@option("--all", "all_", is_flag=True, help="Every entry of every list.")
@option("--limit", metavar="N", type=click.IntRange(min=1), help="Only the N oldest of what the filters choose.")
@option("--every-mailbox", is_flag=True, help="Off the lists of everybody in the account; administrators only.")
@acting_options
@output_options(CHANGES, limit=False)
def remove(
    entries: Sequence[str],
    list_: SenderList | None,
    mailbox: str | None,
    all_: bool,
    limit: int | None,
    every_mailbox: bool,
    acting: Acting,
    output: Output,
    **filters: Any,
) -> int:
    """Take entries off a list; without --list off whichever they are on.

    Without entries, the filters choose what goes. It is shown and asked for first.
    """
    from mimeportal_cli.opening import opened

    named = _named(entries)
    _check_alone(acting, REMOVE, (*named, list_, mailbox, *filters.values(), limit, all_, every_mailbox))
    _check_choice(named, list_, mailbox, acting, {**filters, "all": all_ or None, "limit": limit}, every_mailbox)
    acting.check(asks=True)
    with (
        opened() as portal,
        portal.senders.plan(
            "remove",
            named or None,
            list=list_,
            mailbox=mailbox,
            every_mailbox=every_mailbox,
            retry_from=acting.retry_from,
            limit=limit,
            **filters,
        ) as plan,
    ):
        where = place_of(portal, list_, "everybody's" if every_mailbox else mailbox)
        ending = Ending(REMOVE, where, len(plan), one_typed=len(named) == 1)
        act.carry_out(portal, plan, acting, output, ending, planned=PLANNED, ask=_ask)
    return ending.conclude()


@click.command("import", cls=Command)
@click.argument("file", metavar="FILE")
@option("--list", "list_", type=click.Choice(WRITABLE), help="Which list. Default: the column `list` of an export.")
@MAILBOX
@option("--dry-run", is_flag=True, help="Check every line; change nothing.")
@output_options(BAD_LINES, limit=False)
def import_(file: str, list_: WritableList | None, mailbox: str | None, dry_run: bool, output: Output) -> int:
    """Add the entries of FILE, - for stdin: one a line, or CSV as `senders export` writes it.

    Good lines are stored; each bad one is shown with its number and the reason, and the exit code is 3.
    """
    from mimeportal.errors import UsageError
    from mimeportal_cli.choosing import opened_lines
    from mimeportal_cli.opening import opened

    console = settings().console
    with opened() as portal, opened_lines(file) as lines, output.open() as writer:

        def show(bad: Sequence[BadLine]) -> None:
            writer.add(bad)

        with console.waiting("Importing"):
            told = portal.senders.import_entries(lines, list_, mailbox=mailbox, on_bad=show, dry_run=dry_run)
        where = place_of(portal, list_, mailbox)
    if not (told.added or told.already or told.refused or told.left_out):
        raise UsageError(f"{file} names no entry.", remedy="Write one address or domain a line.")
    parts = [f"{'Would add' if dry_run else 'Imported'} {told.added:,}"]
    parts += [f"already {told.already:,}"] if told.already else []
    parts += [f"moved from another list {told.moved:,}"] if told.moved else []
    parts += [f"left out {told.left_out:,} auto-permitted"] if told.left_out else []
    parts += [f"refused {told.refused:,}"] if told.refused else []
    line = f"{', '.join(parts)} ({where})."
    if not told.refused:
        console.note(line)
        return ExitCode.DONE
    console.warn(line)
    return ExitCode.SOME_FAILED


def place_of(portal: Portal, list_: str | None, mailbox: str | None) -> str:
    """Where lists are changed, for every question, plan and totals line."""
    return place(portal, list=list_ or "any", mailbox=mailbox or portal.user or "of the account")


def entries(count: int) -> str:
    return ADD.count(count)


def _named(entries: Sequence[str]) -> list[str]:
    """The entries as typed, split, normalised and unique. Raises `UsageError` for a bad one."""
    from mimeportal.addresses import parse_entry

    words = [word for entry in entries for word in _ENTRY.findall(entry) or [entry]]
    return list(dict.fromkeys(parse_entry(word)[0] for word in words))


def _check_alone(acting: Acting, verb: Verb, given: Sequence[object]) -> None:
    """Raise `UsageError` when anything stands beside --retry-from that would choose otherwise."""
    from mimeportal.errors import UsageError

    if acting.retry_from is not None and any(given):
        raise UsageError(
            "Entries and filters cannot stand beside --retry-from.",
            why="A report is taken up with the entries and the options that it records.",
            remedy=f"Run `mimeportal senders {verb.name} --retry-from {acting.retry_from}` by itself.",
        )


def _check_choice(
    named: Sequence[str],
    list_: str | None,
    mailbox: str | None,
    acting: Acting,
    filters: dict[str, Any],
    every_mailbox: bool,
) -> None:
    """Raise `UsageError` unless it is plain what shall go."""
    from mimeportal.errors import UsageError

    given = [name for name, value in filters.items() if value is not None]
    typed = {"type": "--addresses, --domains", "policy_type": "--policy-type"}
    option = typed.get(given[0], f"--{given[0]}") if given else ""
    if every_mailbox and mailbox is not None:
        raise UsageError("--every-mailbox and --mailbox exclude each other.", remedy="Leave one of them out.")
    if named and given:
        raise UsageError(
            f"Entries and {option} exclude each other.",
            why="An entry is named already; a filter would choose among others.",
            remedy=f"Leave out the entries, or {option}.",
        )
    if every_mailbox and not named:
        raise UsageError("Which senders shall go off everybody's lists?", remedy="Name addresses or domains.")
    if acting.retry_from is None and not named and list_ is None and set(given) <= {"limit"}:
        raise UsageError(
            "Which entries shall be removed?",
            why="Neither an entry nor a filter was given.",
            remedy="Name entries or a filter, or all of them with --all.",
        )


def _ask(plan: Plan, ending: Ending) -> None:
    from itertools import islice

    from mimeportal.untrusted import visible

    console = settings().console
    for item in islice(plan.selection, _SHOWN):
        on = item.options.get("list")
        console.warn(visible(f"  {item.entry or item.id}" + (f"  ({on})" if on else "")))
    if len(plan) > _SHOWN:
        console.warn(f"  and {len(plan) - _SHOWN:,} more")
    everybody = any(item.options.get("every_mailbox") for item in islice(plan.selection, 1))
    if everybody:
        console.warn("  This takes them off the lists of every mailbox of the account, not of one.")
    console.confirm(f"{ending.verb.asks} {ending.verb.count(len(plan))} ({ending.where})?")


COMMANDS = (add, remove, import_)
