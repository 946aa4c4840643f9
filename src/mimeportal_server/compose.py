"""The one place for mail that the portal itself writes (promises C.6)."""

from __future__ import annotations

from contextlib import suppress
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Literal

from sqlalchemy import Connection, func, insert, literal_column, select

from mimeportal import limits
from mimeportal.addresses import domain_of, parse_address
from mimeportal.errors import UsageError
from mimeportal.untrusted import header_value, visible
from mimeportal_server import compose_message
from mimeportal_server.clock import HOUR, moment
from mimeportal_server.portal import Portal
from mimeportal_server.store.blobs import name_of
from mimeportal_server.store.schema import deliveries

# What the portal writes. Each sort has its own limit to one address: none can use up another's, so that whoever gets
# as many notifications as anybody can cause still gets a mail to set a new password.
Sort = Literal[
    "delivery failure",
    "digest",
    "download",
    "large files",
    "new password",
    "password set",
    "read receipt",
    "reject notice",
    "report",
    "scan",
    "secure message",
    "temporary password",
]


def queue_reject_notice(
    portal: Portal,
    tx: Connection,
    *,
    to: str,
    recipient: str,
    received: int,
    reason_type: str | None,
    text: str | None,
    answers: str,
) -> str:
    """Queue the notice that a held message was rejected; says `queued`, or why it was left out.

    It carries nothing of the original but its Message-ID: sent to a forged sender it must be worth nothing.
    """
    if not _usable(to):
        return "left out: its sender's address takes no mail"
    lines = [f"Your message to {recipient} of {format_datetime(moment(received))} was rejected."]
    if reason_type:
        lines += ["", f"Reason: {reason_type.capitalize()}."]
    if text:
        lines += ["", text]
    lines += ["", "This message was written automatically; replies to it are not read."]
    return queue_written(portal, tx, "reject notice", to=to, subject="Message rejected", lines=lines, answers=answers)


def queue_delivery_failure_notice(
    portal: Portal,
    tx: Connection,
    *,
    to: str,
    recipient: str,
    subject: str,
    verb: str,
    at: int,
    error: str,
    delivery: str,
    maybe_delivered: bool,
) -> str:
    """Queue the notice that a message could not be delivered; `queued`, or why it was left out.

    It goes to whoever, of the portal's own people, did the `verb` to it: `released` or `sent`, `at` which time. It
    never goes to a sender outside (promises C.5).
    """
    lines = [
        f"A message to {recipient} that you {verb} on {format_datetime(moment(at))}",
        "could not be delivered.",
        "",
        f"Subject: {visible(subject)}",
        f"Delivery: {delivery}",
        f"Reason: {visible(error)}",
        "",
        "The message is kept by the portal" + ("." if verb == "sent" else "; its sender was not told."),
    ]
    if maybe_delivered:
        lines += ["An earlier try ended without an answer: it may have been delivered then."]
    if _written_lately(portal, tx, "delivery failure", to) == limits.WRITTEN_PER_HOUR - 1:
        lines += ["", "More of these notices within this hour are left out; the portal's status shows all."]
    subject = f"{verb.capitalize()} message not delivered"
    return queue_written(portal, tx, "delivery failure", to=to, subject=subject, lines=lines)


def queue_report(
    portal: Portal,
    tx: Connection,
    *,
    type: str,
    by: str,
    mailbox: str,
    recipient: str,
    sender: str,
    subject: str,
    octets: bytes,
) -> str:
    """Queue a reported message for the security team, the original attached in its own octets; returns their address.

    However many are reported, none is left out: each message is reported once.
    """
    settings = portal.settings
    lines = [
        f"Reported as {type} by {by}.",
        "",
        f"From: {visible(sender)}",
        f"To: {visible(recipient or mailbox)}",
        f"Subject: {visible(subject)}",
        "",
        "The message is attached as it came. Nobody answered its sender.",
    ]
    parts = compose_message.Parts(
        sender=compose_message.Mailbox(settings.mail_from),
        to=[compose_message.Mailbox(settings.security_address)],
        subject=f"Reported {type}",
        text="\n".join(lines),
        enclosed=[("reported.eml", octets)],
        headers=[("Auto-Submitted", "auto-generated")],
        message_id=make_msgid(domain=domain_of(settings.mail_from)),
        date=portal.clock.now(),
    )
    written = compose_message.write(parts, new_id=portal.new_id, outside=False, keep_inline=False)
    _queue(portal, tx, "report", settings.security_address, written.octets)
    return settings.security_address


def queue_written(
    portal: Portal,
    tx: Connection,
    sort: Sort,
    *,
    to: str,
    subject: str,
    lines: list[str],
    answers: str = "",
    automatic: str = "auto-replied",
) -> str:
    """Compose and queue a mail of the portal's own, a line of text each; `queued`, or why it was left out.

    From the one address of portal.toml, with the null return path; at most `limits.WRITTEN_PER_HOUR` of a sort to
    one address. `answers` is the Message-ID it is about, `automatic` what Auto-Submitted says: `auto-generated` for
    what answers no mail. Raises `UsageError` for line ends or NUL in `to` or `subject`.
    """
    if _written_lately(portal, tx, sort, to) >= limits.WRITTEN_PER_HOUR:
        return "left out: too many notices to this address"
    message = EmailMessage()
    message["From"] = portal.settings.mail_from
    message["To"] = header_value(to, name="To")
    message["Subject"] = header_value(subject, name="Subject")
    message["Date"] = format_datetime(moment(portal.clock.now()))
    message["Message-ID"] = make_msgid(domain=domain_of(portal.settings.mail_from))
    message["Auto-Submitted"] = automatic
    if answers.startswith("<") and answers.endswith(">") and len(answers) < 250 and answers.isascii():
        message["In-Reply-To"] = header_value(answers, name="In-Reply-To")
    text = "\n".join(lines) + "\n"
    # Any next hop can take it: what we write ourselves is never 8-bit, nor are its lines too long.
    plain = text.isascii() and all(len(line) <= 76 for line in text.splitlines())
    message.set_content(text, cte="7bit" if plain else "quoted-printable")
    _queue(portal, tx, sort, to, bytes(message))
    return "queued"


def _queue(portal: Portal, tx: Connection, sort: Sort, to: str, octets: bytes) -> None:
    name = name_of(octets)
    portal.home.blobs.add({name: octets})
    tx.execute(
        insert(deliveries),
        {
            "blob": name,
            "kind": "written",
            "sort": sort,
            "sender": "",
            "recipient": to,
            "state": "queued",
            "queued": portal.clock.now(),
        },
    )


def _usable(address: str) -> bool:
    """Whether mail can be addressed to what a stranger's message gave as its sender."""
    # The email package recurses without end, or fails, on addresses that are none.
    with suppress(UsageError):
        return parse_address(address).isascii()
    return False


def _written_lately(portal: Portal, tx: Connection, sort: Sort, to: str) -> int:
    return int(
        tx.scalar(
            select(func.count())
            .select_from(deliveries)
            .where(
                deliveries.c.kind == literal_column("'written'"),  # as the index says it
                deliveries.c.recipient == to,
                deliveries.c.sort == sort,
                deliveries.c.queued > portal.clock.now() - HOUR,
            )
        )
        or 0
    )
