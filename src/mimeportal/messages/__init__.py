"""Messages: what lies in a mailbox, mail to write, and mail on its way: tracked, waiting, rejected, bounced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimeportal.lazy import exported

if TYPE_CHECKING:
    from mimeportal.holds.hold import Attachment
    from mimeportal.messages.client import MessagesClient
    from mimeportal.messages.composing import (
        Attachable,
        MessageFields,
        NewFile,
        NewMessage,
        Recipient,
        Recipients,
        SentMessage,
    )
    from mimeportal.messages.contract.finder import Status
    from mimeportal.messages.contract.mailbox import Folder, Part
    from mimeportal.messages.contract.writing import ReportType
    from mimeportal.messages.message import Correspondent, MailboxMessage, MailConditions, MailFilter, Message
    from mimeportal.messages.reporting import ReportedMessage
    from mimeportal.messages.tracked import MessageInfo, ProcessingMessage, QueueLength, Rejection, TrackedMessage
    from mimeportal.messages.writing import Delivery, Draft

_HOMES = {
    "Attachable": "composing",
    "Attachment": "mimeportal.holds.hold",
    "Correspondent": "message",
    "Delivery": "writing",
    "Draft": "writing",
    "Folder": "contract.mailbox",
    "MailConditions": "message",
    "MailFilter": "message",
    "MailboxMessage": "message",
    "Message": "message",
    "MessageFields": "composing",
    "MessageInfo": "tracked",
    "MessagesClient": "client",
    "NewFile": "composing",
    "NewMessage": "composing",
    "Part": "contract.mailbox",
    "ProcessingMessage": "tracked",
    "QueueLength": "tracked",
    "Recipient": "composing",
    "Recipients": "composing",
    "Rejection": "tracked",
    "ReportType": "contract.writing",
    "ReportedMessage": "reporting",
    "SentMessage": "composing",
    "Status": "contract.finder",
    "TrackedMessage": "tracked",
}

__all__ = [
    "Attachable",
    "Attachment",
    "Correspondent",
    "Delivery",
    "Draft",
    "Folder",
    "MailConditions",
    "MailFilter",
    "MailboxMessage",
    "Message",
    "MessageFields",
    "MessageInfo",
    "MessagesClient",
    "NewFile",
    "NewMessage",
    "Part",
    "ProcessingMessage",
    "QueueLength",
    "Recipient",
    "Recipients",
    "Rejection",
    "ReportType",
    "ReportedMessage",
    "SentMessage",
    "Status",
    "TrackedMessage",
]


def __getattr__(name: str) -> Any:
    return exported(__name__, _HOMES, name)


def __dir__() -> list[str]:
    return __all__
