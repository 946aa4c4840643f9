"""`mimeportal messages send|reply|forward|drafts|sent`: writing mail, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.completing import addresses
from mimeportal_cli.options import Command, Group, bundle, option, settings
from mimeportal_cli.output import Output, Shape, output_options
from mimeportal_cli.references import RememberedDrafts, RememberedMail, resolved
from mimeportal_cli.tables import joined, print_rows, with_times

if TYPE_CHECKING:
    from mimeportal.messages import NewMessage, SentMessage
    from mimeportal.portal import Portal

_SECTION = "Message"

# As `SENT_FIELDS`, `DELIVERY_FIELDS` and the facts of a `Draft` of the SDK; a test compares them.
SENT = Shape(("message_id", "date", "id", "recipients", "left_out"))
RECIPIENTS = Shape(("address", "kind", "status", "info", "changed"), empty="The message went to nobody.")
DRAFTS = Shape(
    ("id", "changed", "to", "cc", "bcc", "subject", "attachments", "attached"),
    table=("id", "changed", "to", "subject", "attachments"),
    cells={"to": joined, "cc": joined, "bcc": joined, "attachments": joined},
    empty="There are no drafts.",
)
WRITTEN = Shape(
    ("to", "cc", "bcc", "subject", "body", "html", "attachments", "headers", "mailbox", "in_reply_to", "references"),
)
REMOVED = Shape(("id", "outcome"), empty="")

_OUTSIDE = (
    "Left out for recipients outside: {names}. Images inside a text show in the portal, and would not display "
    "there. To attach them: --inline-as-attachments."
)


class Letter:
    """The message of a command line."""

    def __init__(self, **given: Any) -> None:
        self._given = given
        self.dry_run = bool(given["dry_run"])
        self.request_id: str | None = given["request_id"]

    def fields(self) -> dict[str, Any]:
        """The fields of a `NewMessage`, files read. Raises `UsageError`."""
        from mimeportal.errors import UsageError
        from mimeportal_cli.texts import file_text, typed_text

        given = self._given
        if given["body"] is not None and given["body_file"] is not None:
            raise UsageError("--body and --body-file exclude each other.", remedy="Leave one of them out.")
        if self.request_id == "":
            raise UsageError("--request-id is empty.", remedy="Name the act, or leave it out.")
        body = typed_text(given["body"]) if given["body"] is not None else None
        if given["body_file"] is not None:
            body = file_text(given["body_file"])
        return {
            **{name: given[name] for name in ("to", "cc", "bcc", "mailbox", "signature")},
            "subject": given["subject"] or "",
            "body": body,
            "html": file_text(given["page"]) if given["page"] is not None else None,
            "attachments": list(given["attach"]),
            "headers": [_header(text) for text in given["header"]],
            "inline_as_attachments": given["inline_as_attachments"],
        }


def _header(text: str) -> tuple[str, str]:
    from mimeportal.errors import UsageError

    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError(f"Not a header: {text!r}.", remedy="Write it as --header 'X-Name: value'.")
    return name.strip(" "), value


def _who(name: str, help: str) -> Callable[[Any], Any]:
    return option(f"--{name}", multiple=True, metavar="ADDRESS", shell_complete=addresses, section=_SECTION, help=help)


def _part(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    return option(*names, section=_SECTION, **attributes)


_OPTIONS = {
    "to": _who("to", "A recipient, as ann@example.com or 'Ann <ann@example.com>'; repeatable."),
    "cc": _who("cc", "A recipient of a copy."),
    "bcc": _who("bcc", "A recipient whom the others do not see."),
    "subject": _part("--subject", metavar="TEXT", help="The subject."),
    "body": _part("--body", metavar="TEXT", help="The text; @FILE reads it, @@ begins it with an @."),
    "body_file": _part("--body-file", metavar="FILE", help="The text, from a file; - is stdin."),
    "page": _part("--html", "page", metavar="FILE", help="The text as HTML; without --body a plain one is made of it."),
    "attach": _part("--attach", metavar="FILE", multiple=True, help="Attach a file; repeatable."),
    "header": _part("--header", metavar="NAME:VALUE", multiple=True, help="One more header; repeatable."),
    "signature": _part(
        "--signature/--no-signature",
        default=None,
        help="With one's signature, or without. Default: if there is one.",
    ),
    "mailbox": _part("--mailbox", metavar="ADDRESS", help="Write as the owner of this mailbox, who delegated it."),
    "inline_as_attachments": _part(
        "--inline-as-attachments", is_flag=True, help="Attach images inside the text for recipients outside."
    ),
    "dry_run": _part("--dry-run", is_flag=True, help="Show what would be sent; send nothing."),
    "request_id": _part(
        "--request-id", metavar="ID", help="Names the act: sent again under it, nothing is sent twice (7 days)."
    ),
}


def _letter_options(*without: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds the options of a message, and passes a `Letter` as `letter`."""
    chosen = {name: decorate for name, decorate in _OPTIONS.items() if name not in without}

    def make(**given: Any) -> Letter:
        return Letter(**{**dict.fromkeys(without), **given})

    return bundle("letter", make, list(chosen.values()), list(chosen))


# -- sending ---------------------------------------------------------------------------------------------------


@click.command(cls=Command)
@_letter_options()
@output_options(SENT, limit=False)
def send(letter: Letter, output: Output) -> None:
    """Send a message. Prints its Message-ID.

    \b
      mimeportal messages send --to bob@example.com --subject Minutes --body @minutes.txt --attach minutes.pdf

    Nobody is asked. A file that cannot be read, an address that is none: nothing is sent.
    """
    from mimeportal.messages import NewMessage
    from mimeportal_cli.opening import opened

    message = NewMessage.of(**letter.fields())
    message.check()
    with opened() as portal:
        _send(portal, message, letter, output)


@click.command(cls=Command)
@click.argument("id")
@option("--all", "everybody", is_flag=True, help="Answer its other recipients too.")
@_letter_options()
@output_options(SENT, limit=False)
def reply(id: str, everybody: bool, letter: Letter, output: Output) -> None:
    """Answer a message: where it asks for answers, else its sender. Its text is quoted.

    Recipients named with --to, --cc and --bcc come on top. ID is an id, or a reference from a table.
    """
    from mimeportal_cli.opening import opened

    fields = letter.fields()
    with opened() as portal:
        (full,) = resolved(portal, [id], RememberedMail(portal))
        _send(portal, portal.messages.compose_reply(full, all=everybody, **fields), letter, output)


@click.command(cls=Command)
@click.argument("id")
@option("--as-attachment", is_flag=True, help="Attach the message itself, octet for octet, in place of quoting it.")
@_letter_options()
@output_options(SENT, limit=False)
def forward(id: str, as_attachment: bool, letter: Letter, output: Output) -> None:
    """Pass a message on: its text quoted, its attachments attached again. ID is an id, or a reference from a table."""
    from mimeportal_cli.opening import opened

    fields = letter.fields()
    with opened() as portal:
        (full,) = resolved(portal, [id], RememberedMail(portal))
        _send(portal, portal.messages.compose_forward(full, whole=as_attachment, **fields), letter, output)


def _send(portal: Portal, message: NewMessage, letter: Letter, output: Output) -> None:
    message.check()
    if letter.dry_run:
        _show(message, output)
        settings().console.note(f"Would send to {_people(len(message.everyone))} ({_place(portal, message)}).")
        return
    with settings().console.waiting("Sending"):
        sent = portal.messages.send(message, request_id=letter.request_id)
    _tell(portal, message.mailbox, sent, output)


def _tell(portal: Portal, mailbox: str | None, sent: SentMessage, output: Output) -> None:
    from mimeportal_cli.telling import place

    if output.asked:
        output.one({name: getattr(sent, name) for name in SENT.names} | {"left_out": list(sent.left_out)})
    else:
        settings().console.write(f"{_visible(sent.message_id)}\n")
    if sent.left_out:
        settings().console.warn(_OUTSIDE.format(names=", ".join(sent.left_out)))
    where = place(portal, mailbox=mailbox or portal.user or "of the application")
    settings().console.note(f"Sent to {_people(sent.recipients)} ({where}).")


def _visible(text: str) -> str:
    from mimeportal.untrusted import visible

    return visible(text)


def _people(count: int) -> str:
    return f"{count:,} recipient" + ("" if count == 1 else "s")


def _place(portal: Portal, message: NewMessage) -> str:
    from mimeportal_cli.telling import place

    return place(portal, mailbox=message.mailbox or portal.user or "of the application")


def _show(message: NewMessage, output: Output) -> None:
    output.shape = WRITTEN
    output.one(_record(message))


def _record(message: NewMessage) -> dict[str, Any]:
    return {
        **{name: [str(entry) for entry in getattr(message, name)] for name in ("to", "cc", "bcc")},
        "subject": message.subject,
        "body": "\n\n".join(filter(None, (message.body, message.quoted))),
        "html": message.html,
        "attachments": [f"{file.name} ({file.size:,} octets)" for file in message.attachments],
        "headers": [f"{name}: {value}" for name, value in message.headers],
        "mailbox": message.mailbox,
        "in_reply_to": message.in_reply_to,
        "references": message.references,
    }


# -- what became of it -----------------------------------------------------------------------------------------


@click.command(cls=Command)
@click.argument("id")
@option("--tz", metavar="ZONE", help="Show times in this zone. Default: the account's.")
@output_options(RECIPIENTS)
def sent(id: str, tz: str | None, output: Output) -> None:
    """Show what became of a sent message for each of its recipients, Bcc among them.

    `delivered`, `pending`, `bounced`, `held` or `rejected`. ID is an id, or a reference from a table.
    """
    from mimeportal_cli.opening import opened

    with opened() as portal:
        (full,) = resolved(portal, [id], RememberedMail(portal))
        with_times(portal, output, tz, "changed")
        output.rows(portal.messages.recipients(full))


# -- drafts ----------------------------------------------------------------------------------------------------


@click.group(cls=Group)
def drafts() -> None:
    """Messages that are not sent yet. Nobody else sees them."""


@drafts.command("list")
@option("--tz", metavar="ZONE", help="Show times in this zone. Default: the account's.")
@output_options(DRAFTS)
def list_(tz: str | None, output: Output) -> None:
    """List one's drafts, newest first."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        print_rows(portal, output, tz, portal.messages.drafts(), RememberedDrafts, "changed", **DRAFTS.cells)


@drafts.command()
@click.argument("id")
@output_options(WRITTEN, limit=False)
def show(id: str, output: Output) -> None:
    """Show one draft."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        (full,) = resolved(portal, [id], RememberedDrafts(portal))
        _show(portal.messages.draft(full).message, output)


@drafts.command()
@click.argument("id", required=False)
@_letter_options("dry_run")
@output_options(DRAFTS, limit=False)
def save(id: str | None, letter: Letter, output: Output) -> None:
    """Keep a message as a draft; with an ID in the place of that one. It need not be complete."""
    from mimeportal.messages import NewMessage
    from mimeportal_cli.opening import opened

    message = NewMessage.of(**letter.fields())
    with opened() as portal:
        full = next(resolved(portal, [id], RememberedDrafts(portal))) if id is not None else None
        kept = portal.messages.save_draft(message, id=full, request_id=letter.request_id)
        if output.asked:
            output.one({name: getattr(kept, name) for name in DRAFTS.names})
        else:
            settings().console.write(f"{kept.id}\n")
            RememberedDrafts(portal).keep([kept.id])


@drafts.command("send")
@click.argument("id")
@option("--request-id", metavar="ID", help="Names the act: sent again under it, nothing is sent twice (7 days).")
@output_options(SENT, limit=False)
def send_draft(id: str, request_id: str | None, output: Output) -> None:
    """Send a draft, which is then no longer one. Prints its Message-ID."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        (full,) = resolved(portal, [id], RememberedDrafts(portal))
        _tell(portal, None, portal.messages.send_draft(full, request_id=request_id), output)


@drafts.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@option("--yes", is_flag=True, help="Do not ask.")
@output_options(REMOVED, limit=False)
def remove(ids: Sequence[str], yes: bool, output: Output) -> None:
    """Throw drafts away."""
    from mimeportal_cli.opening import opened

    console = settings().console
    if not yes:
        console.require_interactive()
    with opened() as portal:
        full = list(dict.fromkeys(resolved(portal, ids, RememberedDrafts(portal))))
        if not yes:
            console.confirm(f"Throw away {len(full):,} draft{'' if len(full) == 1 else 's'}?")
        gone = [{"id": id, "outcome": "done" if portal.messages.remove_draft(id) else "already"} for id in full]
        if output.asked or not output.on_terminal:
            output.rows(gone)
    console.note(f"Threw away {sum(entry['outcome'] == 'done' for entry in gone):,}.")


COMMANDS: tuple[Any, ...] = (send, reply, forward, sent, drafts)
