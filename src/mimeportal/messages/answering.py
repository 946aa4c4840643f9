"""Replies and forwards: whom they go to, what they quote, which conversation they belong to (RFC 5322 3.6.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from mimeportal import limits
from mimeportal.addresses import normalise
from mimeportal.errors import UsageError
from mimeportal.messages.composing import NewFile, NewMessage, Recipient, recipients
from mimeportal.wire import Content

if TYPE_CHECKING:
    from mimeportal.messages.message import Correspondent, Message
    from mimeportal.portal import Portal

_REPLIED = re.compile(r"(?:re|aw|antw|sv)\s*(?:\[\d{1,3}\])?:", re.IGNORECASE)
_FORWARDED = re.compile(r"(?:fwd?|wg|vs|tr)\s*:", re.IGNORECASE)
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,900}>")


def reply(portal: Portal, id: str, *, all: bool, given: Mapping[str, Any]) -> NewMessage:
    """A reply to a message of the caller's; see `portal.messages.reply()`."""
    message = portal.messages.get(id)
    own = {normalise(address) for address in (portal.user, given.get("mailbox")) if address}
    to = _answered(message, own)
    more = _more(message, own | {entry.address for entry in to}) if all else ()
    return NewMessage.of(
        **{
            **given,
            "to": [*to, *recipients(given.get("to"))],
            "cc": [*more, *recipients(given.get("cc"), "cc")],
            "subject": given.get("subject") or _prefixed("Re: ", _REPLIED, message.subject),
            "in_reply_to": _own_id(message),
            "references": " ".join(_conversation(message)),
            "quoted": _quoted(message),
        }
    )


def forward(portal: Portal, id: str, *, whole: bool, given: Mapping[str, Any]) -> NewMessage:
    """A message passed on; see `portal.messages.forward()`."""
    message = portal.messages.get(id)
    if whole:
        octets = b"".join(portal.messages.raw(id))
        passed_on = [NewFile("forwarded.eml", Content(octets), len(octets), content_type="message/rfc822")]
    else:
        passed_on = [*_attached(portal, message)]
    return NewMessage.of(
        **{
            **given,
            "subject": given.get("subject") or _prefixed("Fwd: ", _FORWARDED, message.subject),
            "attachments": [*passed_on, *(given.get("attachments") or ())],
            "quoted": None if whole else _enclosed(message),
        }
    )


# -- whom it goes to -------------------------------------------------------------------------------------------


def _answered(message: Message, own: set[str]) -> list[Recipient]:
    """Where an answer goes. Raises `UsageError` where nobody can be answered."""
    asked = message.reply_to or message.from_
    if message.reply_to is None and normalise(message.from_.address) in own:
        return [*_usable(message.to)]  # what one sent oneself goes on to whom it went
    found = [*_usable([asked])]
    if not found:
        told = f": {asked.address[:80]!r}" if asked.address else ""
        raise UsageError(
            f"The message tells no address to answer{told}.",
            why="Nothing was sent.",
            remedy="Send a message of your own, to an address that you know.",
        )
    return found


def _more(message: Message, known: set[str]) -> Iterator[Recipient]:
    """The other recipients, each once."""
    for entry in _usable([*message.to, *message.cc]):
        if entry.address not in known:
            known.add(entry.address)
            yield entry


def _usable(told: Iterable[Correspondent]) -> Iterator[Recipient]:
    """Those of a stranger's addresses that mail can be sent to."""
    for entry in told:
        try:
            (address,) = recipients(f"<{entry.address}>")
        except (UsageError, ValueError):
            continue
        yield Recipient(address.address, _one_line(entry.name)[: limits.ADDRESS_CHARACTERS])


# -- which conversation it belongs to --------------------------------------------------------------------------


def _own_id(message: Message) -> str:
    found = _MESSAGE_ID.fullmatch(message.message_id.strip())
    return found[0] if found else ""


def _conversation(message: Message) -> list[str]:
    """The Message-IDs before an answer: those the message names, then its own."""
    known = _MESSAGE_ID.findall(message.header("References") or "")
    if not known:
        answered = _MESSAGE_ID.findall(message.header("In-Reply-To") or "")
        known = answered if len(answered) == 1 else []
    return [*dict.fromkeys([*known, *filter(None, [_own_id(message)])])]


def _prefixed(prefix: str, known: re.Pattern[str], subject: str) -> str:
    shown = _one_line(subject)[: limits.SUBJECT - len(prefix)]
    return shown if known.match(shown) else f"{prefix}{shown}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


# -- what it quotes --------------------------------------------------------------------------------------------


def _text(message: Message) -> str:
    if message.text is not None or message.html is None:
        return message.text or ""
    from mimeportal.untrusted_html import html_to_text

    return html_to_text(message.html)


def _quoted(message: Message) -> str:
    when = f"On {format_datetime(message.date)}, " if message.date else ""
    lines = _text(message).rstrip().split("\n")
    quoted = "\n".join(f">{line}" if line.startswith(">") else f"> {line}".rstrip() for line in lines)
    return f"{when}{_one_line(message.from_.name) or message.from_.address} wrote:\n{quoted}"


def _enclosed(message: Message) -> str:
    facts = [
        ("From", _shown([message.from_])),
        ("Date", format_datetime(message.date) if message.date else ""),
        ("Subject", _one_line(message.subject)),
        ("To", _shown(message.to)),
        ("Cc", _shown(message.cc)),
    ]
    head = "\n".join(f"{name}: {value}" for name, value in facts if value)
    return f"---------- Forwarded message ----------\n{head}\n\n{_text(message).rstrip()}"


def _shown(told: Iterable[Correspondent]) -> str:
    return ", ".join(_one_line(f"{entry.name} <{entry.address}>" if entry.name else entry.address) for entry in told)


def _attached(portal: Portal, message: Message) -> Iterator[NewFile]:
    for attachment in message.attachments:
        octets = b"".join(portal.messages.download(attachment.id))
        name = _one_line(attachment.name) or "attachment"
        yield NewFile(name, Content(octets), len(octets), content_type=attachment.content_type)
