"""`mimeportal messages block|report`: what is done about the sender of a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli import acting as act
from mimeportal_cli.acting import Acting, acting_options
from mimeportal_cli.choosing import named_ids
from mimeportal_cli.commands.messages_read import FOLDERS, conditions, filter_options
from mimeportal_cli.options import Command, option, settings
from mimeportal_cli.output import Output, Shape, output_options
from mimeportal_cli.references import RememberedMail, as_reference, reference, resolved
from mimeportal_cli.telling import Ending, Verb, both_senders, place

if TYPE_CHECKING:
    from mimeportal.addresses import EntryType, SenderPart
    from mimeportal.bulk import Plan
    from mimeportal.messages.contract.writing import ReportType
    from mimeportal.portal import Portal

BLOCK = Verb("block", "Block the senders of", "Would block the senders of", "Blocked the senders of", "Blocking",
             noun="messages", one="message", several="messages")  # fmt: skip
OUTCOMES = Shape(
    act.REPORT_FIELDS,
    table=("id", "action", "outcome", "code", "error", "entry", "subject"),
    cells={"id": as_reference},
    empty="",
)
PLANNED = Shape(
    act.REPORT_FIELDS,
    table=("id", "from_header", "to_address", "entry", "subject"),
    cells={"id": as_reference, "from_header": both_senders},
    empty="No messages match.",
)
# As `REPORTED_FIELDS` of mimeportal.messages.reporting; a test compares them.
REPORTED = Shape(("id", "outcome", "entry", "not_blocked"))
_SHOWN = 5
_FORM = option("--sender", "form", flag_value="address", default=None, help="Block the address.")


@click.command(cls=Command)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@option("--ids-from", metavar="FILE", help="Ids one a line, or jsonl with `id`; - is stdin.")
@_FORM
@option("--domain", "form", flag_value="domain", help="Block the whole domain.")
@option(
    "--sender-part",
    type=click.Choice(["header", "envelope"]),
    default="header",
    help="Whose entry: the From header's (default), or the envelope's.",
)
@option("--folder", type=click.Choice(FOLDERS), help="Of the messages in this folder; default: inbox.")
@filter_options
@option("--all", "all_", is_flag=True, help="Every message of the folder.")
@option("--limit", metavar="N", type=click.IntRange(min=1), help="Only the N oldest of them.")
@acting_options
@output_options(OUTCOMES, limit=False)
def block(
    ids: Sequence[str],
    ids_from: str | None,
    form: EntryType | None,
    sender_part: SenderPart,
    limit: int | None,
    acting: Acting,
    output: Output,
    **chosen: Any,
) -> int:
    """Block the senders of messages: --sender their addresses, --domain all of their domains.

    For whoever has the message. Up to 10 ids that are typed are acted on at once; everything else is shown and asked
    for first. The senders learn nothing.
    """
    from mimeportal_cli.opening import opened

    by_id = bool(ids) or ids_from is not None
    _check(by_id, form, acting, limit, chosen)
    asks = ids_from is not None or not ids or len(ids) > act.UNASKED
    acting.check(asks=asks)
    with opened() as portal, _plan(portal, ids, ids_from, form, sender_part, limit, acting, chosen) as plan:
        where = place(portal, mailbox=chosen["mailbox"] or portal.user or "of the account")
        ending = Ending(BLOCK, where, len(plan), one_typed=len(ids) == 1 and ids_from is None)
        act.carry_out(portal, plan, acting, output, ending, planned=PLANNED, ask=_ask if asks else None)
    return ending.conclude()


def _check(by_id: bool, form: str | None, acting: Acting, limit: int | None, chosen: Mapping[str, Any]) -> None:
    from mimeportal.errors import UsageError

    filters = [name for name, value in chosen.items() if value not in (None, (), False) and name != "tz"]
    if acting.retry_from is not None:
        if by_id or form or filters or limit:
            raise UsageError(
                "Nothing that chooses can stand beside --retry-from.",
                why="A report is taken up with the messages and the options that it records.",
                remedy=f"Run `mimeportal messages block --retry-from {acting.retry_from}` by itself.",
            )
        return
    if form is None:
        raise UsageError("What shall be blocked?", remedy="Add --sender for the address, --domain for all of it.")
    if by_id and filters:
        typed = filters[0].rstrip("_").replace("_", "-")
        raise UsageError(f"Ids and --{typed} exclude each other.", remedy="Leave out the ids, or the filters.")
    if not by_id and not [name for name in filters if name not in ("folder", "mailbox")]:
        raise UsageError(
            "Of which messages shall the senders be blocked?",
            why="Neither an id nor a filter was given.",
            remedy="Name ids or a filter, or all of a folder with --all.",
        )


def _plan(
    portal: Portal,
    ids: Sequence[str],
    ids_from: str | None,
    form: EntryType | None,
    sender_part: SenderPart,
    limit: int | None,
    acting: Acting,
    chosen: dict[str, Any],
) -> Plan:
    with settings().console.waiting("Reading the selection"):
        if acting.retry_from is not None:
            return portal.messages.plan_block(retry_from=acting.retry_from)
        form = form or "address"
        if ids or ids_from is not None:
            named = named_ids(portal, ids, ids_from, RememberedMail(portal))
            return portal.messages.plan_block(named, form, sender_part=sender_part, limit=limit)
        filters = {name: value for name, value in chosen.items() if name not in ("folder", "mailbox", "all_")}
        wanted = conditions(portal, filters.pop("since"), filters.pop("until"), filters.pop("tz"), filters)
        found = portal.messages.list(chosen["folder"] or "inbox", mailbox=chosen["mailbox"], **wanted)
        return portal.messages.plan_block(found, form, sender_part=sender_part, limit=limit)


def _ask(plan: Plan, ending: Ending) -> None:
    console = settings().console
    for item in islice(plan.selection, _SHOWN):
        console.warn(f"  {reference(item.id)} {_line(item.described)}")
    if len(plan) > _SHOWN:
        console.warn(f"  and {len(plan) - _SHOWN:,} more")
    count, entries = plan.selection.entries()
    for entry in entries:
        console.warn(f"  block {entry}")
    if count > len(entries):
        console.warn(f"  and {count - len(entries):,} more")
    console.confirm(f"{BLOCK.asks} {BLOCK.count(len(plan))} ({ending.where})?")


@click.command(cls=Command)
@click.argument("id")
@option("--spam", "type_", flag_value="spam", default=None, help="It is spam.")
@option("--phishing", "type_", flag_value="phishing", help="It is after passwords or money.")
@option("--dry-run", is_flag=True, help="Show what would be done; do nothing.")
@option("--yes", is_flag=True, help="Do not ask.")
@output_options(REPORTED, limit=False)
def report(id: str, type_: ReportType | None, dry_run: bool, yes: bool, output: Output) -> None:
    """Report one message: it moves to Junk, its sender is blocked, the original goes to the security team.

    It is shown and asked for first. The sender learns nothing. ID is an id, or a reference from a table.
    """
    from mimeportal.errors import UsageError
    from mimeportal.messages.contract import writing as contract
    from mimeportal_cli.opening import opened

    if type_ is None:
        raise UsageError("What shall it be reported as?", remedy="Add --spam or --phishing.")
    console = settings().console
    if not yes and not dry_run:
        console.require_interactive()
    with opened() as portal:
        portal.session.require(contract.REPORT, "reporting a message")
        (full,) = resolved(portal, [id], RememberedMail(portal))
        where = place(portal, mailbox=_describe(portal, full) or portal.user or "of the account")
        if dry_run:
            console.note(f"Would report it as {type_} ({where}).")
            return
        if not yes:
            console.confirm(f"Report it as {type_} ({where})?")
        told = portal.messages.report(full, type_)
        if output.asked or not output.on_terminal:
            output.one({name: getattr(told, name) for name in REPORTED.names})
    if told.outcome == "already":
        console.note(f"Reported before ({where}).")
        return
    blocked = f"{told.entry} is blocked" if told.entry else f"its sender is not blocked: {told.not_blocked}"
    console.note(f"Reported {reference(full)} as {type_}; {blocked.rstrip('.')} ({where}).")


def _describe(portal: Portal, id: str) -> str | None:
    """Show which message is meant; whose it is."""
    for message in portal.messages.lookup([id]):
        facts = {"from_header": message.from_header, "subject": message.subject}
        settings().console.warn(f"  {reference(id)} {_line(facts)}")
        return message.mailbox
    return None


def _line(facts: Mapping[str, Any]) -> str:
    """One message on a line: its sender, its subject."""
    return f"from {facts.get('from_header') or '(none)'}: {facts.get('subject') or ''}"


COMMANDS: tuple[Any, ...] = (block, report)
