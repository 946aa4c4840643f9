"""Showing one message, held or in a mailbox: as text, as JSON, as a page of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import click

from mimeportal_cli.files import whole_file
from mimeportal_cli.options import option, settings

if TYPE_CHECKING:
    from mimeportal.holds.hold import Attachment

HEADERS = ("from", "to", "cc", "reply-to", "subject", "date")
_IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_NAME = 60  # characters of an attachment's name, in a table
_RISK = (
    "Remote images: opening the page tells the sender that and when the message was opened, and from which address. "
    "This holds for this one view."
)


class Content(Protocol):
    """What every message has that can be shown."""

    @property
    def headers(self) -> Sequence[tuple[str, str]]: ...
    @property
    def text(self) -> str | None: ...
    @property
    def html(self) -> str | None: ...
    @property
    def attachments(self) -> Sequence[Attachment]: ...
    @property
    def notes(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Shown:
    """One message to show.

    record      what json tells before headers, texts and attachments
    facts       what text tells of it beside its headers, a name and a value each
    download    fetches the octets of an attachment by its id
    """

    message: Content
    record: Mapping[str, Any]
    facts: Sequence[tuple[str, str]]
    download: Callable[[str], Iterable[bytes]]


def show_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of showing one message: --html, --remote-images, --tz, -o, -w."""
    for decorate in reversed(
        (
            option("--html", "page", metavar="FILE", help="Write the message as a page of its own, for a browser."),
            option(
                "--remote-images", is_flag=True, help="Let the page load images from the net: the sender learns of it."
            ),
            option("--tz", metavar="ZONE", help="Show times in this zone. Default: yours, or the account's."),
            option("-o", "--output", "form", type=click.Choice(["text", "json"]), help="Default: text."),
            option(
                "-w",
                "--write",
                metavar="FILE",
                type=click.Path(),
                help="Write to FILE, which appears whole or not at all.",
            ),
        )
    ):
        function = decorate(function)
    return function


def print_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of writing one message as a page to print: --tz, -w."""
    page = option(
        "-w", "--write", metavar="FILE", type=click.Path(), help="The page. Default: stdout, where that is no terminal."
    )
    return option("--tz", metavar="ZONE", help="Show times in this zone. Default: yours, or the account's.")(
        page(function)
    )


def require_page(write: str | None) -> None:
    """Raise `UsageError` where a page would be written to a terminal."""
    from mimeportal.errors import UsageError

    if write in (None, "-") and settings().console.stdout_is_terminal:
        raise UsageError("A page is for a browser, not for a terminal.", remedy="Name a file with -w FILE.")


def warn_of_images(page: str | None) -> None:
    """What whoever asks for remote images must know before they are asked for (portal-rules B.10)."""
    console = settings().console
    console.warn(_RISK)
    if page is None:
        console.note("A terminal shows no images: write a page with --html FILE.")


def show(shown: Shown, *, page: str | None, remote_images: bool, form: str | None, write: str | None) -> None:
    """Write a message to where the options say."""
    if page is not None:
        subject = next((value for name, value in shown.message.headers if name.lower() == "subject"), "")
        write_page(page, body_of_page(shown, remote_images=remote_images), title=subject, remote_images=remote_images)
    preferred = os.environ.get("MIMEPORTAL_OUTPUT") or settings().output or ""
    if form == "json" or (form is None and preferred in ("json", "jsonl")):
        text = _as_json(shown)
    elif page is not None and form is None and write is None:
        return
    else:
        text = _as_text(shown)
    if write in (None, "-"):
        settings().console.write(text)
        return
    with whole_file(str(write)) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def _as_json(shown: Shown) -> str:
    import json
    from dataclasses import asdict

    from mimeportal_cli.formats import plain

    message = shown.message
    record = {
        **shown.record,
        "headers": [{"name": name, "value": value} for name, value in message.headers],
        "text": message.text,
        "html": message.html,
        "attachments": [asdict(attachment) for attachment in message.attachments],
        "notes": list(message.notes),
    }
    return json.dumps(record, default=plain, indent=2) + "\n"


def _as_text(shown: Shown) -> str:
    from mimeportal.untrusted import visible, visible_lines

    message = shown.message
    facts = [*_headers(message), *shown.facts]
    lines = [f"{name + ':':<13} {visible(value)}" for name, value in facts]
    body, made = body_of(message)
    lines += [f"{'Note:':<13} {visible(note)}" for note in (*message.notes, *made)]
    lines += ["", visible_lines(body).rstrip("\n")]
    if message.attachments:
        lines += ["", *attachments_of(message.attachments)]
    return "\n".join(lines) + "\n"


def _headers(message: Content) -> Iterator[tuple[str, str]]:
    every = settings().verbose
    for name, value in message.headers:
        if every or name.lower() in HEADERS:
            yield name, value if every else " ".join(value.split("\n"))


def body_of(message: Content) -> tuple[str, list[str]]:
    """The text of a message, and how it was come by."""
    if message.text:
        return message.text, []
    if message.html:
        from mimeportal.untrusted_html import html_to_text

        return html_to_text(message.html), ["The text is made from HTML."]
    return "", ["There is no text."]


def attachments_of(attachments: Sequence[Attachment]) -> list[str]:
    """A table of them, a line each."""
    from tabulate import tabulate

    from mimeportal.untrusted import visible

    rows = [
        [str(number), _short(entry.name), visible(entry.content_type), f"{entry.size:,}", visible(entry.sha256[:16])]
        for number, entry in enumerate(attachments, 1)
    ]
    heading = ["", "ATTACHMENT", "TYPE", "OCTETS", "SHA-256"]
    return [line.rstrip() for line in tabulate([heading, *rows], tablefmt="plain", disable_numparse=True).split("\n")]


def _short(name: str) -> str:
    """A name that leaves room for the rest of its line, with its extension."""
    from mimeportal.untrusted import visible

    shown = visible(name)
    return shown if len(shown) <= _NAME else f"{shown[: _NAME - 20]}…{shown[-19:]}"


# -- pages -------------------------------------------------------------------------------------------------


def body_of_page(shown: Shown, *, remote_images: bool = False) -> str:
    """The body as HTML that can stand in a page of ours. Images from the net only when asked for."""
    from html import escape

    from mimeportal.untrusted import visible_lines
    from mimeportal.untrusted_html import safe_html

    message = shown.message
    if message.html:
        images = {
            entry.content_id.strip("<>"): b"".join(shown.download(entry.id))
            for entry in message.attachments
            if entry.content_id and entry.content_type.lower() in _IMAGE_TYPES
        }
        body = safe_html(message.html, cid_images=images, remote_images=remote_images)
        if body is not None:
            return body
        settings().console.note("Its HTML is too large or too deep to be made safe: the page shows the text.")
    return f"<pre>{escape(visible_lines(body_of(message)[0]))}</pre>"


# Whatever a page shows, nothing of it is wider than a phone where that can be helped.
_STYLE = (
    "body{font:1rem/1.5 sans-serif;margin:1rem}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;font:.875rem/1.5 monospace}"
    "img{max-width:100%;height:auto}main{overflow-wrap:anywhere}table{overflow-wrap:break-word}"
)


def write_page(path: str, body: str, *, title: str, remote_images: bool = False, style: str = _STYLE) -> None:
    """A page that needs nothing else, whole or not at all; `-` is stdout."""
    from mimeportal.untrusted_html import html_page

    text = html_page(body, title=title or "(no subject)", csp_images=remote_images, style=style)
    if path == "-":
        settings().console.write(text)
        return
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "replace"))
    settings().console.note(f"Written to {path}.")
