"""`mimeportal secure`: secure messages. Here what only looks at them; sending and acting have files of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from mimeportal_cli import reading, saving
from mimeportal_cli.choosing import window, window_options
from mimeportal_cli.commands import secure_act, secure_write
from mimeportal_cli.commands.secure_act import FILTERS, conditions
from mimeportal_cli.options import Group, option, settings
from mimeportal_cli.output import Output, Shape, output_options
from mimeportal_cli.references import RememberedSecure, reference, resolved
from mimeportal_cli.tables import joined, print_rows, with_times

if TYPE_CHECKING:
    from mimeportal.portal import Portal
    from mimeportal.secure.contract import Direction, Status
    from mimeportal.secure.message import SecureContent

STATUSES = ("sent", "read", "recalled", "extended")
DIRECTIONS = ("outbound", "inbound", "internal")
_ON_PAPER = ("Date", "Expires", "Expired")  # of what is told beside the headers
_HOURS = 48  # that `secure monitor` shows unless --since is given (portal-rules F.33)

# As the field tuples of mimeportal.secure.message; a test compares them.
SECURE = Shape(
    (
        "id",
        "folder",
        "direction",
        "from_address",
        "from_name",
        "to",
        "cc",
        "subject",
        "date",
        "size",
        "has_attachments",
        "unread",
        "status",
        "definition",
        "option",
        "expires",
        "expired",
        "may",
    ),
    empty="No secure messages match.",
)
_SENT = ("id", "date", "to", "status", "expires", "subject")
_RECEIVED = ("id", "date", "unread", "from_address", "expires", "subject")
DEFINITIONS = Shape(
    ("name", "folder", "default", "print", "reply", "reply_all", "expire_days", "read_receipt"),
    empty="No definitions.",
)
SETTINGS = Shape(
    (
        "mode",
        "compose",
        "reply",
        "print",
        "delete",
        "options",
        "inbox_days",
        "attachment_octets",
        "retention_days",
    )
)
MONITOR = Shape(
    (
        "id",
        "direction",
        "from_address",
        "to",
        "subject",
        "status",
        "expires",
        "expired",
        "date",
        "definition",
        "policy",
    ),
    table=("id", "date", "direction", "from_address", "to", "status", "expires", "definition", "subject"),
    empty="No secure messages match.",
)
LOG = Shape(
    ("time", "event", "outcome", "actor", "recipient", "detail"),
    table=("time", "event", "actor", "recipient", "detail"),
    empty="Nothing happened to it.",
)


@click.group(cls=Group)
def secure() -> None:
    """Secure messages: send, read, answer, recall, monitor."""


@secure.command("list")
@FILTERS
@window_options
@output_options(SECURE)
def list_(since: str | None, until: str | None, tz: str | None, output: Output, **given: Any) -> None:
    """List the secure messages of a folder, newest first.

    The folder is `sent` for the account's people and `inbox` for people outside, unless --folder names one. The inbox
    shows the days that the account sets; --search and --since reach further back.
    """
    from mimeportal_cli.opening import opened

    with opened() as portal:
        wanted = conditions(portal, since, until, tz, given)
        found = portal.secure.list(wanted)
        if output.format == "table" and output.columns is None:
            received = wanted.folder == "inbox" or (wanted.folder is None and _is_outside(portal))
            output.shape = Shape(SECURE.names, table=_RECEIVED if received else _SENT, empty=SECURE.empty)
        cells = {"to": joined, "cc": joined, "may": joined, "unread": _yes}
        print_rows(portal, output, tz, found, RememberedSecure, "date", "expires", **cells)


def _is_outside(portal: Portal) -> bool:
    from mimeportal.account import contract

    return portal.session.offers(contract.WHOAMI) and portal.account.whoami().role == "outside"


def _yes(value: Any, _record: Any, _columns: Any) -> str:
    return "unread" if value else ""


@secure.command()
@click.argument("id")
@reading.show_options
def show(id: str, page: str | None, remote_images: bool, tz: str | None, form: str | None, write: str | None) -> None:
    """Open a secure message: its text, its attachments, and to its sender who has read it.

    To a recipient it is read from now on, and its sender is told if they asked for that. Nothing is loaded from the
    net. ID is an id, or a reference from a table.
    """
    from mimeportal_cli.opening import opened

    if remote_images:
        reading.warn_of_images(page)
    with opened() as portal:
        (full,) = resolved(portal, [id], RememberedSecure(portal))
        shown = _shown(portal, portal.secure.get(full), tz)
        reading.show(shown, page=page, remote_images=remote_images, form=form, write=write)


@secure.command("print")
@click.argument("id")
@reading.print_options
def print_(id: str, tz: str | None, write: str | None) -> None:
    """Write a secure message as a page to print, where its sender allows that.

    The page needs nothing else, and loads nothing. Open it in a browser, and print it there.
    """
    from dataclasses import replace

    from mimeportal_cli.opening import opened
    from mimeportal_cli.printing import STYLE, printed

    reading.require_page(write)
    with opened() as portal:
        (full,) = resolved(portal, [id], RememberedSecure(portal))
        content = portal.secure.print(full)
        shown = _shown(portal, content, tz)
        on_paper = [fact for fact in shown.facts if fact[0] in _ON_PAPER]
        page = printed(replace(shown, facts=on_paper))
        reading.write_page(write or "-", page, title=content.message.subject, style=STYLE)


@secure.command()
@click.argument("id")
@option("-w", "--write", metavar="FILE", type=click.Path(), help="Write the one attachment to FILE; - is stdout.")
@option("--dir", "folder", metavar="DIR", type=click.Path(), help="Each to a file of its own in DIR.")
def download(id: str, write: str | None, folder: str | None) -> None:
    """Save the attachments of a secure message. Their names are made safe; no file is overwritten."""
    from mimeportal.untrusted import safe_name
    from mimeportal_cli.opening import opened

    saving.check_places(1, write, folder)
    with opened() as portal:
        (full,) = resolved(portal, [id], RememberedSecure(portal))
        objects = [(entry.id, safe_name(entry.name)) for entry in portal.secure.get(full).attachments]
        if folder is None:
            saving.save_one(objects, portal.secure.download, write)
        else:
            saving.save_all([full], lambda _: objects, portal.secure.download, Path(folder))


def _shown(portal: Portal, content: SecureContent, tz: str | None) -> reading.Shown:
    from dataclasses import asdict

    recipients = [asdict(one) for one in content.recipients] if content.recipients is not None else None
    record = {**asdict(content.message), "recipients": recipients, "policy": content.policy}
    return reading.Shown(content, record, [*_facts(portal, content, tz)], portal.secure.download)


def _facts(portal: Portal, content: SecureContent, tz: str | None) -> Iterator[tuple[str, str]]:
    from mimeportal_cli.opening import zone_of
    from mimeportal_cli.times import told

    zone = zone_of(portal, tz)
    message = content.message
    yield "Date", told(message.date, zone)
    if message.status:
        yield "Status", message.status + (", expired" if message.expired else "")
        yield "Sent by", message.option or message.definition or ""
    if content.policy:
        yield "Policy", content.policy
    if message.expires:
        yield ("Expired" if message.expired else "Expires"), told(message.expires, zone)
    for one in content.recipients or ():
        read = f"read {told(one.read, zone)}" if one.read else "by mail" if one.way == "mail" else one.status or ""
        yield "Recipient", f"{content.called(one.address)}, {read}"
    yield "You may", ", ".join(message.may) or "nothing"
    yield "Reference", reference(message.id)


@secure.command()
@option("--mailbox", metavar="ADDRESS", help="Whose. Default: your own.")
@output_options(DEFINITIONS, limit=False)
def definitions(mailbox: str | None, output: Output) -> None:
    """List the definitions you may send by, in their fixed order; the default is the first."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        output.rows(portal.secure.definitions(mailbox=mailbox))


@secure.command("settings")
@output_options(SETTINGS, limit=False)
def settings_(output: Output) -> None:
    """Show what Secure Messaging offers you: composing, answering, printing, deleting, and its limits."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        told = portal.secure.settings()
        output.one({name: getattr(told, name) for name in SETTINGS.names})


@secure.command()
@option("--status", metavar="A,B", help=f"Any of {', '.join(STATUSES)}.")
@option("--direction", type=click.Choice(DIRECTIONS), help="Which way they went.")
@option("--expired/--not-expired", default=None, help="Expired, or not.")
@option("--search", metavar="TEXT", help="In the subject or an address.")
@window_options
@output_options(MONITOR)
def monitor(
    status: str | None,
    direction: Direction | None,
    expired: bool | None,
    search: str | None,
    since: str | None,
    until: str | None,
    tz: str | None,
    output: Output,
) -> None:
    """List the secure messages of the account, sent and received, newest first. For administrators.

    Of the last 48 hours unless --since is given.
    """
    from mimeportal_cli.opening import opened

    words = [word.strip() for word in status.split(",") if word.strip()] if status is not None else None
    statuses = cast("list[Status] | None", words)  # which are none is said before anything is sent
    with opened() as portal:
        start, end = window(portal, since, until, tz)
        found = portal.secure.monitor(
            statuses=statuses, direction=direction, expired=expired, search=search, since=start, until=end
        )
        print_rows(portal, output, tz, found, RememberedSecure, "date", "expires", to=_first_and_others)
    if since is None:
        settings().console.note(f"Of the last {_HOURS} hours; --since reaches further back.")


def _first_and_others(value: Sequence[str], _record: Any, _columns: Any) -> str:
    """As the console shows it: `user@domain.com and 2 other(s)` (portal-rules F.32)."""
    return value[0] + (f" and {len(value) - 1} other(s)" if len(value) > 1 else "") if value else ""


@secure.command()
@click.argument("id")
@option("--tz", metavar="ZONE", help="Show times in this zone. Default: the account's.")
@output_options(LOG, limit=False)
def log(id: str, tz: str | None, output: Output) -> None:
    """List what was done with one secure message: when, by whom, to whom. For administrators."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        (full,) = resolved(portal, [id], RememberedSecure(portal))
        with_times(portal, output, tz, "time", detail=_detail)
        output.rows(portal.secure.log(full))


def _detail(value: Any, _record: Any, _columns: Any) -> str:
    return ", ".join(f"{name} {entry}" for name, entry in value.items())


for _command in (*secure_write.COMMANDS, *secure_act.COMMANDS):
    secure.add_command(_command)
