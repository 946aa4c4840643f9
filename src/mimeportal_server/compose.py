"""The one place for mail that the portal itself writes (promises C.6)."""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from sqlalchemy import Connection, func, insert, select

from mimeportal import limits
from mimeportal.addresses import domain_of
from mimeportal.untrusted import header_value
from mimeportal_server.clock import HOUR, moment
from mimeportal_server.portal import Portal
from mimeportal_server.store.blobs import name_of
from mimeportal_server.store.schema import deliveries


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
    if _written_lately(portal, tx, to) >= limits.WRITTEN_PER_HOUR:
        return "left out: too many notices to this address"
    lines = [f"Your message to {recipient} of {format_datetime(moment(received))} was rejected."]
    if reason_type:
        lines += ["", f"Reason: {reason_type.capitalize()}."]
    if text:
        lines += ["", text]
    lines += ["", "This message was written automatically; replies to it are not read."]
    message = EmailMessage()
    message["From"] = portal.settings.mail_from
    message["To"] = header_value(to, name="To")
    message["Subject"] = "Message rejected"
    message["Date"] = format_datetime(moment(portal.clock.now()))
    message["Message-ID"] = make_msgid(domain=domain_of(portal.settings.mail_from))
    message["Auto-Submitted"] = "auto-replied"
    if answers.startswith("<") and answers.endswith(">") and len(answers) < 250 and answers.isascii():
        message["In-Reply-To"] = header_value(answers, name="In-Reply-To")
    message.set_content("\n".join(lines) + "\n")
    octets = bytes(message)
    name = name_of(octets)
    portal.home.blobs.add({name: octets})
    tx.execute(
        insert(deliveries),
        {
            "blob": name,
            "kind": "written",
            "sender": "",
            "recipient": to,
            "state": "queued",
            "queued": portal.clock.now(),
        },
    )
    return "queued"


def _written_lately(portal: Portal, tx: Connection, to: str) -> int:
    return int(
        tx.scalar(
            select(func.count())
            .select_from(deliveries)
            .where(
                deliveries.c.kind == "written",
                deliveries.c.recipient == to,
                deliveries.c.queued > portal.clock.now() - HOUR,
            )
        )
        or 0
    )
