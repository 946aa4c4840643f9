"""`mimeportal holds release|reject|apply`: deciding in bulk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from mimeportal_cli import acting as act
from mimeportal_cli.acting import Acting, acting_options
from mimeportal_cli.choosing import Choice, choosing_options
from mimeportal_cli.options import Command, option, settings
from mimeportal_cli.output import Output, output_options
from mimeportal_cli.telling import APPLY, REJECT, RELEASE, Verb

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from mimeportal.bulk import Plan
    from mimeportal.holds.deciding import Decision
    from mimeportal.portal import Portal

_FORMS = click.Choice(["address", "domain"])
_SENDER_PART = option(
    "--sender-part",
    type=click.Choice(["header", "envelope"]),
    help="Whose entry: the From header's (default), or the envelope's.",
)


def _reason_types(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from mimeportal.holds.contract import REASON_TYPES

    return [CompletionItem(text) for text in REASON_TYPES if text.startswith(incomplete.upper())]


@click.command(cls=Command)
@choosing_options()
@option("--permit", type=_FORMS, help="Also permit the sender: the address, or the whole domain.")
@_SENDER_PART
@acting_options
@output_options(act.OUTCOMES, limit=False)
def release(choice: Choice, acting: Acting, output: Output, **options: Any) -> int:
    """Release held messages to their recipients.

    Up to 10 ids that are typed are released at once; everything else is shown and asked for first.
    """
    asks = not (choice.only_typed and len(choice.typed) <= act.UNASKED)
    return _decide(RELEASE, choice, acting, output, asks=asks, **options)


@click.command(cls=Command)
@choosing_options()
@option("--block", type=_FORMS, help="Also block the sender: the address, or the whole domain.")
@_SENDER_PART
@option("--notify", is_flag=True, help="Tell the senders.")
@option("--message", metavar="TEXT", help="What the notice says; with --notify.")
@option("--reason-type", metavar="TYPE", shell_complete=_reason_types, help="Mimecast's word for why.")
@option("--notify-many", is_flag=True, help="Allow more than 25 notices.")
@acting_options
@output_options(act.OUTCOMES, limit=False)
def reject(choice: Choice, acting: Acting, output: Output, **options: Any) -> int:
    """Reject held messages: they are shown and asked for first.

    A rejected message is not delivered, and cannot be released any more.
    """
    return _decide(REJECT, choice, acting, output, asks=True, **options)


@click.command(cls=Command)
@click.argument("rules", metavar="[RULES.toml]", required=False, type=click.Path())
@choosing_options(ids=False)
@acting_options
@output_options(act.OUTCOMES, limit=False)
def apply(rules: str | None, choice: Choice, acting: Acting, output: Output) -> int:
    """Decide held messages by the rules of a file: the first that matches decides.

    \b
      [[rule]]
      name = "partner newsletters"
      from = "partner.example"
      subject = "*newsletter*"
      decide = "release"              # release, reject or keep
      permit = "address"              # and the options of the verb

    With --retry-from REPORT and without rules, what an earlier run left undone is decided as it was then.
    """
    from mimeportal.errors import UsageError
    from mimeportal_cli.opening import opened

    if acting.retry_from is not None:
        _check_alone("RULES.toml" if rules else "", APPLY, choice, acting)
    elif not rules:
        raise UsageError(
            "Which rules shall decide?", remedy="Name their file, or a report to take up with --retry-from."
        )
    acting.check(asks=True)
    with opened() as portal:
        if acting.retry_from is None:
            choice.check_queue(portal, everything=True)
        with settings().console.waiting("Reading the queue"):
            if acting.retry_from is not None:
                frozen = portal.holds.plan_rules(None, retry_from=acting.retry_from)
            else:
                frozen = portal.holds.plan_rules(Path(rules or ""), filter=choice.filter(portal), limit=choice.limit)
        with frozen as plan:
            ending = act.decide(portal, plan, acting, choice, output, APPLY, asks=True)
    return ending.conclude()


def _decide(verb: Verb, choice: Choice, acting: Acting, output: Output, *, asks: bool, **options: Any) -> int:
    from mimeportal_cli.opening import opened

    _check(verb, choice, acting, options)
    acting.check(asks=asks)
    with opened() as portal:
        choice.check_queue(portal)
        with _plan(portal, verb, choice, acting, options) as plan:
            ending = act.decide(portal, plan, acting, choice, output, verb, asks=asks)
    return ending.conclude()


def _check(verb: Verb, choice: Choice, acting: Acting, options: dict[str, Any]) -> None:
    if acting.retry_from is None:
        choice.require(verb.done.lower())
        return
    given = [name for name, value in options.items() if value not in (None, False)]
    _check_alone(f"--{given[0].replace('_', '-')}" if given else "", verb, choice, acting)


def _check_alone(given: str, verb: Verb, choice: Choice, acting: Acting) -> None:
    """Raise `UsageError` when anything stands beside --retry-from that would choose or decide otherwise."""
    from mimeportal.errors import UsageError

    what = given or ("Ids or filters" if choice.any else "--limit" if choice.limit is not None else "")
    if what:
        raise UsageError(
            f"{what} cannot stand beside --retry-from.",
            why="A report is taken up with the messages and the options that it records.",
            remedy=f"Run `mimeportal holds {verb.name} --retry-from {acting.retry_from}` by itself.",
        )


def _plan(portal: Portal, verb: Verb, choice: Choice, acting: Acting, options: dict[str, Any]) -> Plan:
    """Freeze what the command line chose."""
    chosen: dict[str, Any]
    if acting.retry_from is not None:
        chosen, options = {"retry_from": acting.retry_from}, {}
    elif choice.by_id:
        chosen = {"ids": choice.ids(portal, verb.name)}
    else:
        chosen = {"filter": choice.filter(portal)}
    with settings().console.waiting("Reading the selection"):
        return portal.holds.plan(cast("Decision", verb.name), limit=choice.limit, **chosen, **options)


COMMANDS = (release, reject, apply)
