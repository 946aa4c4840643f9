"""Managed senders: whom one mailbox blocks, permits and trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimeportal.senders.client import SendersClient
    from mimeportal.senders.entry import SenderChange, SenderEntry
    from mimeportal.senders.importing import BadLine, ImportResult

__all__ = ["BadLine", "ImportResult", "SenderChange", "SenderEntry", "SendersClient"]

_HOMES = {"SendersClient": "client", "BadLine": "importing", "ImportResult": "importing"}


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(f"mimeportal.senders.{_HOMES.get(name, 'entry')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
