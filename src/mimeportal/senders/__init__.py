"""Managed senders: whom one mailbox blocks and permits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimeportal.senders.client import SenderEntry, SendersClient

__all__ = ["SenderEntry", "SendersClient"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from mimeportal.senders import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
