"""Managed senders: whom one mailbox blocks, permits and trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimeportal.lazy import exported

if TYPE_CHECKING:
    from mimeportal.senders.changing import Verb
    from mimeportal.senders.client import SendersClient
    from mimeportal.senders.contract import CheckSenderRow, PolicyType, SenderList, WritableList
    from mimeportal.senders.entry import SenderChange, SenderEntry
    from mimeportal.senders.importing import BadLine, ImportResult

_HOMES = {
    "BadLine": "importing",
    "CheckSenderRow": "contract",
    "ImportResult": "importing",
    "PolicyType": "contract",
    "SenderChange": "entry",
    "SenderEntry": "entry",
    "SenderList": "contract",
    "SendersClient": "client",
    "Verb": "changing",
    "WritableList": "contract",
}

__all__ = [
    "BadLine",
    "CheckSenderRow",
    "ImportResult",
    "PolicyType",
    "SenderChange",
    "SenderEntry",
    "SenderList",
    "SendersClient",
    "Verb",
    "WritableList",
]


def __getattr__(name: str) -> Any:
    return exported(__name__, _HOMES, name)


def __dir__() -> list[str]:
    return __all__
