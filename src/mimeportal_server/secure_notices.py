"""The mail that Secure Messaging writes: notifications, read receipts, and the banner of what goes as mail."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import Any

from sqlalchemy import Connection, Row

from mimeportal.untrusted import visible
from mimeportal_server import audit, compose
from mimeportal_server.clock import moment
from mimeportal_server.people import Caller
from mimeportal_server.portal import Portal
from mimeportal_server.secure_access import Found, waits
from mimeportal_server.secure_links import link, page

_NOTIFICATION = "You've been sent a secure message"
_HOW = {
    "portal": "Log in with your e-mail address. If you have no password here yet, you will be asked to make one.",
    "link": "Log in as you always do.",
}
_HEAD = re.compile(rb"\r?\n\r?\n")
_FIELD = re.compile(rb"^[!-9;-~]+[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.MULTILINE)
_OF_CONTENT = (b"content-", b"mime-version")


def notify(
    portal: Portal, tx: Connection, found: Found, copies: Sequence[Row[Any]], *, caller: Caller, request_id: str
) -> dict[int, str]:
    """Tell recipients that a message waits for them; by copy, `queued` or why it was left out.

    It carries neither subject nor text: whoever else reads their mail learns that there is one, and from whom.
    """
    told: dict[int, str] = {}
    acts = []
    for copy in copies:
        if not waits(copy):
            continue
        sender, expires = found.message.sender, found.message.expires
        paragraphs = [
            f"{sender} has sent you a secure message. It waits for you here:",
            link(portal, tx, copy.person_id, found.message.id),
            _HOW[copy.way],
            f"The message is meant for {copy.address} alone. Access is personal: share your log-in with nobody.",
            f"It expires on {moment(expires):%Y-%m-%d at %H:%M} UTC." if expires is not None else "",
            f"If you cannot open it, ask whoever sent it: {sender}.",
        ]
        lines = [line for paragraph in paragraphs if paragraph for line in (*_wrapped(paragraph), "")]
        told[copy.id] = compose.queue_written(
            portal,
            tx,
            "secure message",
            to=copy.address,
            subject=_NOTIFICATION,
            lines=lines,
            automatic="auto-generated",
        )
        facts = {"recipient": copy.address, "notice": told[copy.id]}
        outcome = "done" if told[copy.id] == "queued" else "left out"
        acts.append(audit.Act("notify", outcome, "secure", found.message.id, facts))
    audit.record(tx, acts, at=portal.clock.now(), caller=caller, request_id=request_id)
    return told


def _wrapped(paragraph: str) -> list[str]:
    return wrap(paragraph, 72, break_long_words=False, break_on_hyphens=False)  # a link that is cut leads nowhere


def receipt(portal: Portal, tx: Connection, found: Found, copy: Row[Any], *, caller: Caller, request_id: str) -> None:
    """Tell the sender that a recipient has opened the message for the first time (portal-rules F.23)."""
    message = found.message
    lines = [
        f"{copy.address} opened your secure message on {moment(portal.clock.now()):%Y-%m-%d at %H:%M} UTC.",
        "",
        # To somebody outside it leaves as open mail, which carries nothing of the message: they find it by its page.
        page(portal, message.id) if message.direction == "inbound" else f"Subject: {visible(message.subject)}",
        f"Sent: {moment(message.sent):%Y-%m-%d at %H:%M} UTC",
    ]
    to, subject = message.sender, "Your secure message was opened"
    told = compose.queue_written(
        portal, tx, "read receipt", to=to, subject=subject, lines=lines, automatic="auto-generated"
    )
    facts = {"recipient": copy.address, "notice": told}
    act = audit.Act("receipt", "done" if told == "queued" else "left out", "secure", message.id, facts)
    audit.record(tx, [act], at=portal.clock.now(), caller=caller, request_id=request_id)


def with_banner(octets: bytes, lines: Sequence[str], headers: Sequence[str], new_id: Callable[[], str]) -> bytes:
    """A message with a text before everything else in it: its own body becomes the second part, octet for octet.

    `headers` are added. Whatever signs the body, as S/MIME does, still signs it.
    """
    end = _HEAD.search(octets)
    head, body = (octets[: end.start()], octets[end.end() :]) if end else (octets, b"")
    fields = [field.rstrip(b"\r\n") for field in _FIELD.findall(head + b"\n")]
    if not fields and head:
        body = octets  # it has no headers: all of it is its body
    kept = [field for field in fields if not field.lower().startswith(_OF_CONTENT)]
    content = [field for field in fields if field.lower().startswith(b"content-")]
    boundary = f"=_{new_id()}".encode()
    text = [line.encode("ascii", "backslashreplace") for line in lines]
    ours = [*(header.encode("ascii") for header in headers), b"MIME-Version: 1.0"]
    mixed = b'Content-Type: multipart/mixed; boundary="' + boundary + b'"'
    eight_bit = [] if octets.isascii() else [b"Content-Transfer-Encoding: 8bit"]
    parts = [
        *kept, *ours, mixed, *eight_bit, b"",
        b"--" + boundary, b"Content-Type: text/plain; charset=us-ascii", b"", *text,
        b"--" + boundary, *content, b"", body,
        b"--" + boundary + b"--", b"",
    ]  # fmt: skip
    return b"\r\n".join(parts)
