"""Secure messages: send, read, answer, recall, and see what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimeportal.lazy import exported

if TYPE_CHECKING:
    from mimeportal.holds.hold import Attachment
    from mimeportal.messages.composing import Attachable, Recipients
    from mimeportal.secure.acting import Verb
    from mimeportal.secure.client import SecureClient
    from mimeportal.secure.contract import DefinitionRow, Direction, Folder, Option, SettingsRow, Status
    from mimeportal.secure.message import (
        MonitoredMessage,
        Recipient,
        SecureConditions,
        SecureContent,
        SecureEvent,
        SecureFilter,
        SecureMessage,
        SentSecure,
    )

_HOMES = {
    "Attachable": "mimeportal.messages.composing",
    "Attachment": "mimeportal.holds.hold",
    "DefinitionRow": "contract",
    "Direction": "contract",
    "Folder": "contract",
    "MonitoredMessage": "message",
    "Option": "contract",
    "Recipient": "message",
    "Recipients": "mimeportal.messages.composing",
    "SecureClient": "client",
    "SecureConditions": "message",
    "SecureContent": "message",
    "SecureEvent": "message",
    "SecureFilter": "message",
    "SecureMessage": "message",
    "SentSecure": "message",
    "SettingsRow": "contract",
    "Status": "contract",
    "Verb": "acting",
}

__all__ = [
    "Attachable",
    "Attachment",
    "DefinitionRow",
    "Direction",
    "Folder",
    "MonitoredMessage",
    "Option",
    "Recipient",
    "Recipients",
    "SecureClient",
    "SecureConditions",
    "SecureContent",
    "SecureEvent",
    "SecureFilter",
    "SecureMessage",
    "SentSecure",
    "SettingsRow",
    "Status",
    "Verb",
]


def __getattr__(name: str) -> Any:
    return exported(__name__, _HOMES, name)


def __dir__() -> list[str]:
    return __all__
