"""`mimeportal messages list|search|show|print|attachments|download`: what lies in a mailbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli import reading, saving
from mimeportal_cli.choosing import window, window_options
from mimeportal_cli.options import Command, option, settings
from mimeportal_cli.output import Output, Shape, output_options
from mimeportal_cli.references import RememberedMail, reference, resolved
from mimeportal_cli.tables import joined, print_rows
from mimeportal_cli.telling import both_senders

if TYPE_CHECKING:
    from mimeportal.messages import Delivery, Message
    from mimeportal.messages.contract.mailbox import Folder
    from mimeportal.portal import Portal

FOLDERS = ("inbox", "sent", "junk")

# As `MAIL_FIELDS` of mimeportal.messages.message; a test compares them.
MAIL = Shape(
    (
        "id",
        "folder",
        "mailbox",
        "status",
        "from_address",
        "from_header",
        "from_name",
        "to_addresses",
        "subject",
        "route",
        "size",
        "attachment_count",
        "has_attachments",
        "received",
        "read",
        "ccm",
        "recalled",
        "expired",
    ),
    table=("id", "received", "from_header", "to_addresses", "subject"),
    empty="No messages match.",
)
ATTACHMENTS = Shape(
    ("id", "name", "content_type", "size", "sha256", "content_id"),
    table=("name", "content_type", "size", "sha256"),
    empty="The message has no attachments.",
)

_MAILBOX = option("--mailbox", metavar="ADDRESS", help="Whose mail. Default: one's own; for an app MIMEPORTAL_USER.")
_FILTERS = (
    option("--from", "from_", metavar="WHO", help="Sender: an address, a domain, a glob with *, or a word."),
    option("--to", metavar="WHO", help="Recipient, likewise."),
    option("--subject", metavar="TEXT", help="In the subject; with * a glob over all of it."),
    option("--has-attachments/--no-attachments", default=None, help="With attachments, or without."),
    option("--larger-than", metavar="SIZE", help="Larger than 10k, 5M, ... (k is 1,024)."),
)


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that choose messages of a mailbox."""
    for decorate in reversed(_FILTERS):
        function = decorate(function)
    return _MAILBOX(window_options(function))


@click.command("list", cls=Command)
@option("--folder", type=click.Choice(FOLDERS), default="inbox", help="Default: inbox.")
@filter_options
@output_options(MAIL)
def list_(
    folder: Folder,
    mailbox: str | None,
    since: str | None,
    until: str | None,
    tz: str | None,
    output: Output,
    **filters: Any,
) -> None:
    """List the messages of a folder, newest first; of the last 30 days unless --since is given."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        wanted = conditions(portal, since, until, tz, filters)
        found = portal.messages.list(folder, mailbox=mailbox, **wanted)
        _print_mail(portal, output, tz, found, without="from_header" if folder == "sent" else "to_addresses")


@click.command(cls=Command)
@click.argument("words", nargs=-1, metavar="[WORDS]...")
@option("--folder", type=click.Choice(FOLDERS), help="Only in this folder. Default: everything that is kept.")
@option("--everyone", is_flag=True, help="In everybody's mail: for administrators who may view content.")
@filter_options
@output_options(MAIL)
def search(
    words: Sequence[str],
    folder: Folder | None,
    everyone: bool,
    mailbox: str | None,
    since: str | None,
    until: str | None,
    tz: str | None,
    output: Output,
    **filters: Any,
) -> None:
    """Find messages by words, the best first, in all that is kept.

    All WORDS must be there: in sender, recipients, subject, text or the names of attachments. A phrase is put in double
    quotes. Without WORDS the filters alone choose.
    """
    from mimeportal.errors import UsageError
    from mimeportal_cli.opening import opened

    given = [value for value in (since, until, folder, *filters.values()) if value is not None]
    if not words and not given:
        raise UsageError(
            "What shall be searched for?", remedy="Name words or a filter; `messages list` lists a folder."
        )
    with opened() as portal:
        found = portal.messages.search(
            " ".join(words) if words else None,
            folder=folder,
            mailbox=mailbox,
            everyone=everyone,
            **conditions(portal, since, until, tz, filters),
        )
        _print_mail(portal, output, tz, found)


def conditions(
    portal: Portal, since: str | None, until: str | None, tz: str | None, filters: dict[str, Any]
) -> dict[str, Any]:
    from mimeportal_cli.times import size

    start, end = window(portal, since, until, tz)
    larger = filters.pop("larger_than")
    return {**filters, "since": start, "until": end, "larger_than": size(larger) if larger is not None else None}


def _print_mail(portal: Portal, output: Output, tz: str | None, found: Any, *, without: str = "") -> None:
    """In a folder of one mailbox, whose it is on one side of every message is no news."""
    table = [name for name in MAIL.table if name != without]
    output.shape = Shape(MAIL.names, table=table, empty=MAIL.empty)
    cells = {"from_header": both_senders, "to_addresses": joined}
    print_rows(portal, output, tz, found, RememberedMail, "received", **cells)


# -- one message -------------------------------------------------------------------------------------------


@click.command(cls=Command)
@click.argument("id")
@reading.show_options
def show(id: str, page: str | None, remote_images: bool, tz: str | None, form: str | None, write: str | None) -> None:
    """Read one message: its headers, its text, its attachments. -v shows every header.

    Nothing is loaded from the net. ID is an id, or a reference from a table.
    """
    from mimeportal_cli.opening import opened

    if remote_images:
        reading.warn_of_images(page)
    with opened() as portal:
        shown = _shown(portal, id, tz)
        reading.show(shown, page=page, remote_images=remote_images, form=form, write=write)


def _deliveries(portal: Portal, id: str, message: Message) -> list[Delivery]:
    """What became of a message that was sent from here; nothing for what was received."""
    from mimeportal.addresses import domain_of, normalise
    from mimeportal.errors import ApiError
    from mimeportal.messages.contract import writing as contract

    if not portal.session.offers(contract.RECIPIENTS):
        return []
    if domain_of(normalise(message.from_.address)) != domain_of(portal.user or ""):
        return []  # a received one would only be asked for in vain
    try:
        return portal.messages.recipients(id)
    except ApiError as fault:
        if fault.code != "not_sent":
            raise
        return []


def _delivery(delivery: Delivery) -> str:
    """One recipient on a line: address, where they were named, what became of it."""
    why = f" ({delivery.info})" if delivery.info else ""
    return f"{delivery.address}, {delivery.kind}: {delivery.status}{why}"


def _shown(portal: Portal, id: str, tz: str | None) -> reading.Shown:
    from dataclasses import asdict

    (full,) = resolved(portal, [id], RememberedMail(portal))
    message = portal.messages.get(full)
    deliveries = _deliveries(portal, full, message)
    return reading.Shown(
        message,
        {**_record(message), "recipients": [asdict(delivery) for delivery in deliveries]},
        [
            *_facts(portal, message, tz),
            *(("Recipient", _delivery(delivery)) for delivery in deliveries),
            ("Reference", reference(full)),
        ],
        portal.messages.download,
    )


def _record(message: Message) -> dict[str, Any]:
    from dataclasses import asdict

    names = (
        "id",
        "status",
        "message_id",
        "subject",
        "envelope_from",
        "from_",
        "reply_to",
        "to",
        "cc",
        "date",
        "received",
    )
    record = asdict(message)
    return {**{name.rstrip("_"): record[name] for name in names}, "size": message.size}


def _facts(portal: Portal, message: Message, tz: str | None) -> Iterator[tuple[str, str]]:
    from mimeportal_cli.opening import zone_of
    from mimeportal_cli.times import told

    yield "Envelope", message.envelope_from or "<>"
    if message.received:
        yield "Received", told(message.received, zone_of(portal, tz))
    yield "Size", f"{message.size:,} octets"


@click.command("print", cls=Command)
@click.argument("id")
@reading.print_options
def print_(id: str, tz: str | None, write: str | None) -> None:
    """Write one message as a page to print: its headers, its text, the list of its attachments.

    The page needs nothing else, and loads nothing. Open it in a browser, and print it there.
    """
    from mimeportal_cli.opening import opened
    from mimeportal_cli.printing import STYLE, printed

    reading.require_page(write)
    with opened() as portal:
        shown = _shown(portal, id, tz)
        subject = str(shown.record["subject"])
        reading.write_page(write or "-", printed(shown), title=subject, style=STYLE)


# -- octets ------------------------------------------------------------------------------------------------


@click.command(cls=Command)
@click.argument("id")
@option("--list", "listed", is_flag=True, help="List them; nothing is fetched.")
@option("--dir", "folder", metavar="DIR", type=click.Path(), help="Where to. Default: the folder one is in.")
@output_options(ATTACHMENTS, limit=False)
def attachments(id: str, listed: bool, folder: str | None, output: Output) -> None:
    """Save the attachments of one message, each to a file of its own; none is overwritten.

    Their names are made safe. Each file is there whole or not at all. -w FILE takes the one there is.
    """
    from mimeportal.errors import UsageError
    from mimeportal.untrusted import safe_name
    from mimeportal_cli.opening import opened

    if listed and folder is not None:
        raise UsageError("--list fetches nothing.", remedy="Leave out --list, or --dir.")
    if not listed and (output.columns is not None or output.asked_format):
        raise UsageError("-o and --columns are for a list.", remedy="Add --list, or leave them out.")
    if not listed:
        saving.check_places(1, output.write, folder or (None if output.write else "."))
    with opened() as portal:
        (full,) = resolved(portal, [id], RememberedMail(portal))
        found = portal.messages.get(full).attachments
        if listed:
            output.rows(found)
            return
        objects = [(entry.id, safe_name(entry.name)) for entry in found]
        if output.write:
            saving.save_one(objects, portal.messages.download, output.write)
        elif not objects:
            settings().console.note(ATTACHMENTS.empty)
        else:
            saving.save_all([full], lambda _: objects, portal.messages.download, Path(folder or "."))


@click.command(cls=Command)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@option("-w", "--write", metavar="FILE", type=click.Path(), help="Write the one message to FILE; - is stdout.")
@option(
    "--dir",
    "folder",
    metavar="DIR",
    type=click.Path(),
    help="Write each to a file of its own in DIR; none is overwritten.",
)
def download(ids: Sequence[str], write: str | None, folder: str | None) -> None:
    """Fetch messages, octet for octet as they are kept.

    One message goes to stdout, or to -w FILE; several to --dir DIR, each as REFERENCE.eml.
    """
    from mimeportal_cli.opening import opened

    saving.check_places(len(ids), write, folder)
    with opened() as portal:
        full = list(dict.fromkeys(resolved(portal, ids, RememberedMail(portal))))
        if folder is not None:
            saving.save_all(full, _whole, portal.messages.raw, Path(folder))
        else:
            saving.save_one(_whole(full[0]), portal.messages.raw, write)


def _whole(id: str) -> saving.Objects:
    return [(id, f"{reference(id).lstrip('#')}.eml")]


COMMANDS: tuple[Any, ...] = (list_, search, show, print_, attachments, download)
