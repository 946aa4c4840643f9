"""Messages: mail on its way, tracked, waiting, rejected, bounced; and what lies in a mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimeportal.messages.client import MessagesClient
    from mimeportal.messages.message import Correspondent, MailboxMessage, MailFilter, Message
    from mimeportal.messages.tracked import MessageInfo, TrackedMessage

__all__ = [
    "Correspondent",
    "MailFilter",
    "MailboxMessage",
    "Message",
    "MessageInfo",
    "MessagesClient",
    "TrackedMessage",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from mimeportal.messages import client, message, tracked

        where = {"MessagesClient": client, "MessageInfo": tracked, "TrackedMessage": tracked}
        return getattr(where.get(name, message), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
