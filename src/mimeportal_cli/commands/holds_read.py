"""`mimeportal holds show|download`: reading one held message before it is decided, and fetching its octets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.files import whole_file
from mimeportal_cli.options import Command, option, settings
from mimeportal_cli.references import Remembered, reference, resolved

if TYPE_CHECKING:
    from mimeportal.holds import HeldMessage
    from mimeportal.holds.hold import Attachment
    from mimeportal.portal import Portal

_HEADERS = ("from", "to", "cc", "reply-to", "subject", "date")
_IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_RISK = (
    "Remote images: opening the page tells the sender that and when the message was opened, and from which address. "
    "This holds for this one view."
)


@click.command(cls=Command)
@click.argument("id")
@option("--html", "page", metavar="FILE", help="Write the message as a page of its own, for a browser.")
@option("--remote-images", is_flag=True, help="Let the page load images from the net: the sender learns of it.")
@option("--tz", metavar="ZONE", help="Show times in this zone. Default: the account's.")
@option("-o", "--output", "form", type=click.Choice(["text", "json"]), help="Default: text.")
@option("-w", "--write", metavar="FILE", type=click.Path(), help="Write to FILE, which appears whole or not at all.")
def show(id: str, page: str | None, remote_images: bool, tz: str | None, form: str | None, write: str | None) -> None:
    """Read one held message: its headers, its text, its attachments. -v shows every header.

    Nothing is loaded from the net. ID is an id, or a reference from a table.
    """
    from mimeportal_cli.opening import opened

    console = settings().console
    if remote_images:
        console.warn(_RISK)
        if page is None:
            console.note("A terminal shows no images: write a page with --html FILE.")
    with opened() as portal:
        (full,) = resolved(portal, [id], Remembered(portal))
        message = portal.holds.get(full)
        if page is not None:
            _write_page(portal, message, page, remote_images=remote_images)
        preferred = os.environ.get("MIMEPORTAL_OUTPUT") or settings().output or ""
        if form == "json" or (form is None and preferred in ("json", "jsonl")):
            text = _as_json(full, message)
        elif page is not None and form is None and write is None:
            return
        else:
            text = _as_text(portal, full, message, tz)
        if write in (None, "-"):
            console.write(text)
            return
        with whole_file(str(write)) as file:
            file.write(text.encode("utf-8", "backslashreplace"))


def _as_json(id: str, message: HeldMessage) -> str:
    import json
    from dataclasses import asdict

    from mimeportal_cli.formats import plain

    record = {
        "id": id,
        "hold": asdict(message.hold) if message.hold else None,
        "headers": [{"name": name, "value": value} for name, value in message.headers],
        "text": message.text,
        "html": message.html,
        "attachments": [asdict(attachment) for attachment in message.attachments],
        "notes": list(message.notes),
    }
    return json.dumps(record, default=plain, indent=2) + "\n"


def _as_text(portal: Portal, id: str, message: HeldMessage, tz: str | None) -> str:
    from mimeportal.untrusted import visible, visible_lines

    lines = [f"{name + ':':<13} {visible(value)}" for name, value in _facts(portal, id, message, tz)]
    body, made = _body(message)
    lines += [f"{'Note:':<13} {visible(note)}" for note in (*message.notes, *made)]
    lines += ["", visible_lines(body).rstrip("\n")]
    if message.attachments:
        lines += ["", *_attachments(message.attachments)]
    return "\n".join(lines) + "\n"


def _facts(portal: Portal, id: str, message: HeldMessage, tz: str | None) -> Iterator[tuple[str, str]]:
    from mimeportal_cli.opening import zone_of
    from mimeportal_cli.times import told

    zone = zone_of(portal, tz)
    every = settings().verbose
    for name, value in message.headers:
        if every or name.lower() in _HEADERS:
            yield name, " ".join(value.split("\n")) if not every else value
    hold = message.hold
    if hold is not None:
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
    yield "Reference", reference(id)


def _body(message: HeldMessage) -> tuple[str, list[str]]:
    """The text of a message, and how it was come by."""
    if message.text:
        return message.text, []
    if message.html:
        from mimeportal.untrusted_html import html_to_text

        return html_to_text(message.html), ["The text is made from HTML."]
    return "", ["There is no text."]


def _attachments(attachments: Sequence[Attachment]) -> list[str]:
    from tabulate import tabulate

    from mimeportal.untrusted import visible

    rows = [
        [str(number), visible(entry.name), visible(entry.content_type), f"{entry.size:,}", visible(entry.sha256[:16])]
        for number, entry in enumerate(attachments, 1)
    ]
    heading = ["", "ATTACHMENT", "TYPE", "OCTETS", "SHA-256"]
    return [line.rstrip() for line in tabulate([heading, *rows], tablefmt="plain", disable_numparse=True).split("\n")]


def _write_page(portal: Portal, message: HeldMessage, page: str, *, remote_images: bool) -> None:
    """The message as a page that needs nothing else. Images from the net only when asked for."""
    from html import escape

    from mimeportal.untrusted import visible_lines
    from mimeportal.untrusted_html import html_page, safe_html

    body = None
    if message.html:
        images = {
            entry.content_id.strip("<>"): b"".join(portal.holds.download(entry.id))
            for entry in message.attachments
            if entry.content_id and entry.content_type.lower() in _IMAGE_TYPES
        }
        body = safe_html(message.html, cid_images=images, remote_images=remote_images)
        if body is None:
            settings().console.note("Its HTML is too large or too deep to be made safe: the page shows the text.")
    if body is None:
        body = f"<pre>{escape(visible_lines(_body(message)[0]))}</pre>"
    subject = next((value for name, value in message.headers if name.lower() == "subject"), "")
    with whole_file(page) as file:
        text = html_page(body, title=subject or "(no subject)", csp_images=remote_images)
        file.write(text.encode("utf-8", "replace"))
    settings().console.note(f"Written to {page}.")


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
    from mimeportal.errors import UsageError
    from mimeportal_cli.opening import opened

    console = settings().console
    if write is not None and folder is not None:
        raise UsageError("-w FILE takes one object, --dir DIR several.", remedy="Name one of them.")
    if len(ids) > 1 and folder is None:
        raise UsageError(f"{len(ids)} messages do not go into one file.", remedy="Name a folder with --dir DIR.")
    if folder is None and write in (None, "-") and console.stdout_is_terminal:
        raise UsageError(
            "Octets of a message are not written to a terminal.",
            why="They could act upon it.",
            remedy="Name a file with -w FILE, or redirect stdout.",
        )
    with opened() as portal:
        full = list(dict.fromkeys(resolved(portal, ids, Remembered(portal))))
        if folder is not None:
            _save_all(portal, full, Path(folder), attachments=attachments)
            return
        objects = _objects(portal, full[0], attachments=attachments)
        if len(objects) != 1:
            raise UsageError(
                f"The message has {len(objects)} attachments, and one file takes exactly one.",
                remedy="Name a folder with --dir DIR.",
            )
        octets = portal.holds.download(objects[0][0])
        if write in (None, "-"):
            for piece in octets:
                console.write_octets(piece)
            return
        with whole_file(str(write)) as file:
            for piece in octets:
                file.write(piece)


def _objects(portal: Portal, id: str, *, attachments: bool) -> list[tuple[str, str]]:
    """What is fetched for one message, as `(id, file name)`: itself, or its attachments."""
    from mimeportal.untrusted import safe_name

    short = reference(id).lstrip("#")
    if not attachments:
        return [(id, f"{short}.eml")]
    return [(entry.id, f"{short}-{safe_name(entry.name)}") for entry in portal.holds.get(id).attachments]


def _save_all(portal: Portal, ids: Iterable[str], folder: Path, *, attachments: bool) -> None:
    from mimeportal.errors import AuthenticationError, MimeportalError, UnavailableError
    from mimeportal_cli.exits import ExitCode, tell

    console = settings().console
    folder.mkdir(parents=True, exist_ok=True)
    named = failed = 0
    code = ExitCode.DONE
    for id in ids:
        named += 1
        try:
            for object_id, name in _objects(portal, id, attachments=attachments):
                written = _save(folder, name, portal.holds.download(object_id))
                console.write(_shown(written) + "\n")
        except (AuthenticationError, UnavailableError):
            raise
        except MimeportalError as fault:
            failed += 1
            code = tell(fault, settings())
    if failed:
        click.get_current_context().exit(code if named == 1 else ExitCode.SOME_FAILED)


def _save(folder: Path, name: str, octets: Iterable[bytes]) -> Path:
    """Write a file that is there whole or not at all, and takes the place of none."""
    part = folder / f".{name}.{os.getpid()}.part"
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for piece in octets:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        stem, extension = os.path.splitext(name)
        number = 1
        while True:
            target = folder / (name if number == 1 else f"{stem}-{number}{extension}")
            with suppress(FileExistsError):
                os.link(part, target)
                return target
            number += 1
    finally:
        part.unlink(missing_ok=True)


def _shown(path: Path) -> str:
    from mimeportal.untrusted import visible

    return visible(str(path))


COMMANDS: tuple[Any, ...] = (show, download)
