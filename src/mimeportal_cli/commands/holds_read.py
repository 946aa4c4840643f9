"""`mimeportal holds show|download`: reading one held message before it is decided, and fetching its octets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli import reading, saving
from mimeportal_cli.options import Command, option
from mimeportal_cli.references import Remembered, reference, resolved

if TYPE_CHECKING:
    from mimeportal.holds import Hold
    from mimeportal.portal import Portal


@click.command(cls=Command)
@click.argument("id")
@reading.show_options
def show(id: str, page: str | None, remote_images: bool, tz: str | None, form: str | None, write: str | None) -> None:
    """Read one held message: its headers, its text, its attachments. -v shows every header.

    Nothing is loaded from the net. ID is an id, or a reference from a table.
    """
    from mimeportal_cli.opening import opened

    if remote_images:
        reading.warn_of_images(page)
    with opened() as portal:
        (full,) = resolved(portal, [id], Remembered(portal))
        message = portal.holds.get(full)
        shown = reading.Shown(
            message,
            {"id": full, "hold": asdict(message.hold) if message.hold else None},
            [*_facts(portal, message.hold, tz), ("Reference", reference(full))],
            portal.holds.download,
        )
        reading.show(shown, page=page, remote_images=remote_images, form=form, write=write)


def _facts(portal: Portal, hold: Hold | None, tz: str | None) -> Iterator[tuple[str, str]]:
    from mimeportal_cli.opening import zone_of
    from mimeportal_cli.times import told

    if hold is None:
        return
    zone = zone_of(portal, tz)
    yield "Envelope", f"{hold.from_address or '<>'} to {hold.to_address}"
    yield "Received", told(hold.date_received, zone)
    yield "Held", ", ".join(filter(None, (hold.reason, hold.reason_code)))
    yield "Policy", hold.policy
    yield "Queue", ", ".join(filter(None, (hold.queue, f"{hold.level} level" if hold.level else "", hold.route)))
    yield "Size", f"{hold.size:,} octets"
    if hold.expires:
        yield "Expires", told(hold.expires, zone)
    if hold.sender_blocked:
        yield "Sender", "blocked by the recipient"


# -- download ----------------------------------------------------------------------------------------------


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
@option("--attachments", is_flag=True, help="The attachments, in place of the message.")
def download(ids: Sequence[str], write: str | None, folder: str | None, attachments: bool) -> None:
    """Fetch held messages, octet for octet, or their attachments.

    One message goes to stdout, or to -w FILE; several to --dir DIR, each as REFERENCE.eml.
    """
    from mimeportal_cli.opening import opened

    saving.check_places(len(ids), write, folder)
    with opened() as portal:
        full = list(dict.fromkeys(resolved(portal, ids, Remembered(portal))))

        def objects(id: str) -> saving.Objects:
            return _objects(portal, id, attachments=attachments)

        if folder is not None:
            saving.save_all(full, objects, portal.holds.download, Path(folder))
        else:
            saving.save_one(objects(full[0]), portal.holds.download, write)


def _objects(portal: Portal, id: str, *, attachments: bool) -> saving.Objects:
    """What is fetched for one message, as `(id, file name)`: itself, or its attachments."""
    from mimeportal.untrusted import safe_name

    short = reference(id).lstrip("#")
    if not attachments:
        return [(id, f"{short}.eml")]
    return [(entry.id, f"{short}-{safe_name(entry.name)}") for entry in portal.holds.get(id).attachments]


COMMANDS: tuple[Any, ...] = (show, download)
