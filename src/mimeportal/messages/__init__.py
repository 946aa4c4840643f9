"""Messages: what lies in a mailbox, mail to write, and mail on its way: tracked, waiting, rejected, bounced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimeportal.messages.client import MessagesClient
    from mimeportal.messages.composing import NewFile, NewMessage, Recipient, SentMessage
    from mimeportal.messages.message import Correspondent, MailboxMessage, MailFilter, Message
    from mimeportal.messages.reporting import ReportedMessage
    from mimeportal.messages.tracked import MessageInfo, TrackedMessage
    from mimeportal.messages.writing import Delivery, Draft

_WHERE = {
    "Correspondent": "message",
    "Delivery": "writing",
    "Draft": "writing",
    "MailFilter": "message",
    "MailboxMessage": "message",
    "Message": "message",
    "MessageInfo": "tracked",
    "MessagesClient": "client",
    "NewFile": "composing",
    "NewMessage": "composing",
    "Recipient": "composing",
    "ReportedMessage": "reporting",
    "SentMessage": "composing",
    "TrackedMessage": "tracked",
}

__all__ = [
    "Correspondent",
    "Delivery",
    "Draft",
    "MailFilter",
    "MailboxMessage",
    "Message",
    "MessageInfo",
    "MessagesClient",
    "NewFile",
    "NewMessage",
    "Recipient",
    "ReportedMessage",
    "SentMessage",
    "TrackedMessage",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(f"mimeportal.messages.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
