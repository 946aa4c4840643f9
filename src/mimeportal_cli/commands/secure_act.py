"""`mimeportal secure mark|delete|restore|recall|expire|extend|notify`: acting on secure messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import click

from mimeportal_cli import acting as act
from mimeportal_cli.acting import Acting, acting_options
from mimeportal_cli.choosing import named_ids, window, window_options
from mimeportal_cli.commands.secure_write import RECIPIENTS
from mimeportal_cli.options import Command, option, settings
from mimeportal_cli.output import Output, Shape, output_options
from mimeportal_cli.references import RememberedSecure, as_reference, resolved
from mimeportal_cli.telling import Ending, Verb, place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mimeportal.portal import Portal
    from mimeportal.secure import SecureFilter
    from mimeportal.secure.acting import Verb as Act

FOLDERS = ("inbox", "sent", "deleted")
_WORDS = {"noun": "secure", "one": "secure message", "several": "secure messages"}
MARK = Verb("mark", "Mark", "Would mark", "Marked", "Marking", **_WORDS)
DELETE = Verb("delete", "Delete", "Would delete", "Deleted", "Deleting", **_WORDS)
RESTORE = Verb("restore", "Restore", "Would restore", "Restored", "Restoring", **_WORDS)
RECALL = Verb("recall", "Recall", "Would recall", "Recalled", "Recalling", **_WORDS)
EXPIRE = Verb("expire", "Let expire", "Would let expire", "Expired", "Letting expire", **_WORDS)

_CHANGES = Shape(
    act.REPORT_FIELDS,
    table=("id", "action", "outcome", "code", "error", "to_address", "subject"),
    cells={"id": as_reference},
    empty="",
)
_PLANNED = Shape(
    act.REPORT_FIELDS,
    table=("id", "action", "date_received", "from_address", "to_address", "subject"),
    cells={"id": as_reference},
    empty="No secure messages match.",
)
EXPIRY = Shape(("id", "expires"), cells={"id": as_reference})

_FILTER_OPTIONS = (
    option("--folder", type=click.Choice(FOLDERS), help="Default: sent; for people outside inbox."),
    option("--mailbox", metavar="ADDRESS", help="Whose. Default: your own."),
    option("--from", "from_", metavar="WHO", help="Sender: an address, a domain, a glob with *, or a word."),
    option("--to", metavar="WHO", help="Recipient, likewise."),
    option("--subject", metavar="TEXT", help="In the subject; with * a glob over all of it."),
    option("--search", metavar="TEXT", help="In the whole message, and as far back as messages are kept."),
    option("--unread/--read", "unread", default=None, help="Unread, or read."),
    option("--has-attachments/--no-attachments", default=None, help="With attachments, or without."),
)


def FILTERS(function: Any) -> Any:  # noqa: N802 - used as the options beside it
    """Adds the options that choose secure messages of a folder."""
    for decorate in reversed(_FILTER_OPTIONS):
        function = decorate(function)
    return function


def conditions(
    portal: Portal, since: str | None, until: str | None, tz: str | None, given: Mapping[str, Any]
) -> SecureFilter:
    """The filter that the options make."""
    from mimeportal.secure import SecureFilter

    start, end = window(portal, since, until, tz)
    wanted = SecureFilter(since=start, until=end, **given)
    wanted.check()
    return wanted


def _choosing(function: Any) -> Any:
    """Adds ids, files of ids and filters to a verb that acts on several."""
    decorators = (
        click.argument("ids", nargs=-1, metavar="[ID]..."),
        option("--ids-from", metavar="FILE", help="Ids one a line, or jsonl with `id`; - is stdin."),
        FILTERS,
        window_options,
        option("--all", "all_", is_flag=True, help="Everything in the folder."),
        option("--limit", metavar="N", type=click.IntRange(min=1), help="Only the N oldest of them."),
        acting_options,
        output_options(_CHANGES, limit=False),
    )
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


@click.command(cls=Command)
@option("--as-read/--as-unread", "read", default=None, help="As read, or as unread.")
@_choosing
def mark(read: bool | None, **given: Any) -> int:
    """Mark secure messages as read or as unread. Their senders do not learn of it.

    Up to 10 ids that are typed are marked at once; everything else is shown and asked for first.
    """
    from mimeportal.errors import UsageError

    if (read is None) == (given["acting"].retry_from is None):
        raise UsageError(
            "How shall they be marked?" if read is None else "--as-read cannot stand beside --retry-from.",
            remedy="Add --as-read or --as-unread." if read is None else "A report is taken up as it was.",
        )
    return _act(MARK, read=read, **given)


@click.command(cls=Command)
@_choosing
def delete(**given: Any) -> int:
    """Move secure messages to Deleted Items. They are shown and asked for first."""
    return _act(DELETE, **given)


@click.command(cls=Command)
@_choosing
def restore(**given: Any) -> int:
    """Move secure messages from Deleted Items to where they were.

    Up to 10 ids that are typed are restored at once; everything else is shown and asked for first.
    """
    return _act(RESTORE, default_folder="deleted", **given)


@click.command(cls=Command)
@_choosing
def recall(**given: Any) -> int:
    """Take secure messages back from all of their recipients. They are shown and asked for first.

    Open pages lose them too. Answers that quote them stay.
    """
    return _act(RECALL, default_folder="sent", **given)


@click.command(cls=Command)
@_choosing
def expire(**given: Any) -> int:
    """Let secure messages expire now: nobody answers them any more. They are shown and asked for first."""
    return _act(EXPIRE, default_folder="sent", **given)


def _act(
    verb: Verb,
    *,
    ids: Sequence[str],
    ids_from: str | None,
    all_: bool,
    limit: int | None,
    acting: Acting,
    output: Output,
    since: str | None,
    until: str | None,
    tz: str | None,
    read: bool | None = None,
    default_folder: str | None = None,
    **filters: Any,
) -> int:
    from mimeportal_cli.opening import opened

    given = [name for name, value in (*filters.items(), ("since", since), ("until", until)) if value is not None]
    _check(verb, bool(ids) or ids_from is not None, given, all_, limit, acting)
    # What can be undone is done at once for a few that are typed.
    asks = verb not in (MARK, RESTORE) or not ids or len(ids) > act.UNASKED or ids_from is not None
    acting.check(asks=asks)
    with opened() as portal:
        chosen: dict[str, Any]
        if acting.retry_from is not None:
            chosen = {"retry_from": acting.retry_from}
        elif ids or ids_from is not None:
            chosen = {"ids": named_ids(portal, ids, ids_from, RememberedSecure(portal))}
        else:
            filters["folder"] = filters["folder"] or default_folder
            chosen = {"filter": conditions(portal, since, until, tz, filters)}
        with portal.secure.plan(cast("Act", verb.name), limit=limit, read=read, **chosen) as plan:
            mailbox = filters["mailbox"] or portal.user or "of the account"
            where = place(portal, mailbox=mailbox)
            one = len(ids) == 1 and ids_from is None
            ending = Ending(verb, where, len(plan), one_typed=one)
            ask = act.ask_by_subject if asks else None
            act.carry_out(portal, plan, acting, output, ending, planned=_PLANNED, ask=ask)
    return ending.conclude()


def _check(verb: Verb, by_id: bool, given: list[str], all_: bool, limit: int | None, acting: Acting) -> None:
    """Raise `UsageError` unless it is plain which messages are meant."""
    from mimeportal.errors import UsageError

    filters = [f"--{name.rstrip('_').replace('_', '-')}" for name in given] + (["--all"] if all_ else [])
    if acting.retry_from is not None:
        if by_id or filters or limit is not None:
            raise UsageError(
                "Ids and filters cannot stand beside --retry-from.",
                why="A report is taken up with the messages that it records.",
                remedy=f"Run `mimeportal secure {verb.name} --retry-from {acting.retry_from}` by itself.",
            )
    elif by_id and filters:
        raise UsageError(
            f"Ids and {filters[0]} exclude each other.",
            why="An id names its message already; a filter would choose among others.",
            remedy=f"Leave out the ids, or {filters[0]}.",
        )
    elif not by_id and set(filters) <= {"--folder", "--mailbox"}:
        raise UsageError(
            f"Which secure messages shall be {verb.done.lower()}?",
            why="Neither an id nor a filter was given.",
            remedy="Name ids or a filter, or all of a folder with --all.",
        )


# -- what its sender does ------------------------------------------------------------------------------------


@click.command(cls=Command)
@click.argument("id")
@option("--until", metavar="WHEN", help="The new expiry: 7d (from now), a date, a time.")
@option("--days", metavar="N", type=click.IntRange(1, 3_650), help="So many days later than it expires now.")
@option("--tz", metavar="ZONE", help="Read and show times in this zone. Default: the account's.")
@output_options(EXPIRY, limit=False)
def extend(id: str, until: str | None, days: int | None, tz: str | None, output: Output) -> None:
    """Let a secure message expire later, before it has expired."""
    from datetime import timedelta

    from mimeportal.errors import UsageError
    from mimeportal_cli.opening import now_of, opened, zone_of
    from mimeportal_cli.times import coming_time, told

    if (until is None) == (days is None):
        raise UsageError("Until when?", remedy="Give --until WHEN or --days N: exactly one of them.")
    with opened() as portal:
        (full,) = resolved(portal, [id], RememberedSecure(portal))
        zone = zone_of(portal, tz)
        if until is not None:
            wanted = coming_time(until, zone, now_of(portal))
        else:
            # Whose it is not, and what never expires, the portal refuses whatever the date.
            found = next(portal.secure.lookup([full]), None)
            begin = found.expires if found is not None and found.expires is not None else now_of(portal)
            wanted = begin + timedelta(days=days or 0)
        expires = portal.secure.extend(full, until=wanted)
        if output.asked or not output.on_terminal:
            output.one({"id": full, "expires": expires})
    settings().console.note(f"Expires {told(expires, zone)}.")


@click.command(cls=Command)
@click.argument("id")
@option("--to", metavar="ADDRESS", help="Only this recipient.")
@output_options(RECIPIENTS, limit=False)
def notify(id: str, to: str | None, output: Output) -> None:
    """Write the notification of a secure message again, to all for whom it waits or to one of them."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        (full,) = resolved(portal, [id], RememberedSecure(portal))
        told = portal.secure.notify(full, to=to)
        output.rows(told)
    queued = sum(one.notice == "queued" for one in told)
    settings().console.note(f"Notified {queued:,} of {len(told):,}.")


COMMANDS = (mark, delete, restore, recall, expire, extend, notify)
