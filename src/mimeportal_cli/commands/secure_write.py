"""`mimeportal secure send|reply`: writing secure messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.options import Command, option, settings
from mimeportal_cli.output import Output, Shape, output_options
from mimeportal_cli.references import RememberedSecure, resolved

if TYPE_CHECKING:
    from mimeportal.portal import Portal
    from mimeportal.secure.contract import Option
    from mimeportal.secure.message import SentSecure

OPTIONS = ("read-receipt", "no-print-no-reply", "no-print", "expire-1d", "expire-7d", "expire-30d")
# What each of them forbids, as the sender is told before anything is sent.
_MEANS = {
    "read-receipt": "you are told when each recipient opens it",
    "no-print-no-reply": "recipients may neither print it nor answer it",
    "no-print": "recipients may not print it",
    "expire-1d": "it cannot be answered any more after 1 day",
    "expire-7d": "it cannot be answered any more after 7 days",
    "expire-30d": "it cannot be answered any more after 30 days",
}

# As `RECIPIENT_FIELDS` of mimeportal.secure.message; a test compares them.
RECIPIENTS = Shape(
    ("address", "name", "part", "way", "notice", "status", "read"),
    table=("address", "part", "way", "notice"),
    empty="",
)

_BODY = (
    option("--body", metavar="TEXT|@FILE", help="The text; of a file with @FILE; @@ begins it with an @."),
    option("--body-file", metavar="FILE", help="The text is in FILE; - is stdin."),
    option("--attach", "files", metavar="FILE", multiple=True, help="Attach a file; may be given more than once."),
    option("--signature/--no-signature", default=True, help="Add your signature, if you have one. Default: yes."),
    option("--request-id", metavar="ID", help="A name for this sending: under it nothing is sent twice."),
)


def _written(function: Any) -> Any:
    for decorate in reversed(_BODY):
        function = decorate(function)
    return function


@click.command(cls=Command)
@option("--to", metavar="ADDRESS", multiple=True, help="A recipient; may be given more than once.")
@option("--cc", metavar="ADDRESS", multiple=True, help="A recipient of a copy; likewise.")
@option("--subject", metavar="TEXT", default="", help="The subject.")
@option("--html", metavar="FILE", help="The text as HTML, beside or in place of --body.")
@option("--definition", metavar="NAME", help="What recipients may do: see `mimeportal secure definitions`.")
@option("--option", "option_", type=click.Choice(OPTIONS), help="The same, by one of the six of the secure portal.")
@option("--inline-as-attachments", is_flag=True, help="Attach the images inside --html, which are left out else.")
@option("--mailbox", metavar="ADDRESS", help="Write as this owner, who made you their delegate.")
@_written
@output_options(RECIPIENTS, limit=False)
def send(
    to: Sequence[str],
    cc: Sequence[str],
    subject: str,
    html: str | None,
    definition: str | None,
    option_: Option | None,
    mailbox: str | None,
    body: str | None,
    body_file: str | None,
    output: Output,
    **given: Any,
) -> None:
    """Send a secure message: people outside read it in the secure portal, which a notification leads them to.

    What recipients may do is said by --definition, by --option, or by the account's default definition.
    """
    from mimeportal.errors import UsageError
    from mimeportal_cli.opening import opened
    from mimeportal_cli.texts import file_text

    if definition is not None and option_ is not None:
        raise UsageError("--definition and --option exclude each other.", remedy="Leave one of them out.")
    if not to and not cc:
        raise UsageError("The message has no recipient.", why="Nothing was sent.", remedy="Name one with --to.")
    page = file_text(html) if html is not None else None
    text = _text(body, body_file, needed=page is None)
    with opened() as portal:
        _tell_terms(portal, definition, option_, mailbox)
        sent = portal.secure.send(
            to=to,
            subject=subject,
            body=text,
            cc=cc,
            html=page,
            definition=definition,
            option=option_,
            mailbox=mailbox,
            attachments=given["files"],
            signature=given["signature"],
            inline_as_attachments=given["inline_as_attachments"],
            request_id=given["request_id"],
        )
        _tell_sent(portal, sent, output)


@click.command(cls=Command)
@click.argument("id")
@option("--all", "all_", is_flag=True, help="To everybody who got the message, not to its sender alone.")
@_written
@output_options(RECIPIENTS, limit=False)
def reply(id: str, all_: bool, body: str | None, body_file: str | None, output: Output, **given: Any) -> None:
    """Answer a secure message, where its sender allows that. The answer quotes it, and is restricted as it is."""
    from mimeportal_cli.opening import opened

    text = _text(body, body_file, needed=True)
    with opened() as portal:
        (full,) = resolved(portal, [id], RememberedSecure(portal))
        sent = portal.secure.reply(
            full,
            body=text,
            all=all_,
            attachments=given["files"],
            signature=given["signature"],
            request_id=given["request_id"],
        )
        _tell_sent(portal, sent, output)


def _text(body: str | None, body_file: str | None, *, needed: bool) -> str:
    from mimeportal.errors import UsageError
    from mimeportal_cli.texts import file_text, typed_text

    if body is not None and body_file is not None:
        raise UsageError("--body and --body-file exclude each other.", remedy="Leave one of them out.")
    if body is None and body_file is None and needed:
        raise UsageError("The message has no text.", why="Nothing was sent.", remedy="Give it with --body.")
    if body_file is not None:
        return file_text(body_file)
    return typed_text(body or "")


def _tell_terms(portal: Portal, definition: str | None, option_: Option | None, mailbox: str | None) -> None:
    """Say before sending what the choice forbids (guide: a notification bar confirms it)."""
    console = settings().console
    if option_ is not None:
        console.note(f"With {option_}: {_MEANS[option_]}.")
        return
    if definition is None and portal.account.whoami().role == "outside":
        return  # whoever is outside has no definitions to choose from
    for row in portal.secure.definitions(mailbox=mailbox):
        if row.name == definition or (definition is None and row.default):
            allowed = [name for name, may in (("print", row.print), ("reply", row.reply)) if may]
            allowed += ["reply to all"] if row.reply_all else []
            days = f"it expires after {row.expire_days} days" if row.expire_days else "it does not expire"
            receipt = ", you are told when it is opened" if row.read_receipt else ""
            console.note(f"By {row.name}: recipients may {', '.join(allowed) or 'only read'}; {days}{receipt}.")


def _tell_sent(portal: Portal, sent: SentSecure, output: Output) -> None:
    from mimeportal_cli.opening import zone_of
    from mimeportal_cli.references import reference
    from mimeportal_cli.times import told

    RememberedSecure(portal).keep([sent.id])
    if output.format == "json":
        from dataclasses import asdict

        output.shape = Shape(("id", "definition", "option", "expires", "recipients", "left_out"))
        output.one(asdict(sent))
    else:
        output.rows(sent.recipients)
    expires = f", expires {told(sent.expires, zone_of(portal, None))}" if sent.expires else ""
    settings().console.note(f"Sent {reference(sent.id)} to {len(sent.recipients):,}{expires}.")
    if sent.left_out:
        names = ", ".join(sent.left_out)
        settings().console.warn(f"Left out, since images inside a text do not show outside: {names}.")
    for one in sent.recipients:
        if one.notice not in (None, "queued"):
            settings().console.warn(f"{one.address} was not notified: {one.notice}.")


COMMANDS = (send, reply)
