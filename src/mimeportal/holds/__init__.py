"""Held mail: list, read, release, reject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimeportal.holds.client import HoldsClient
    from mimeportal.holds.hold import HeldMessage, Hold, HoldFilter

__all__ = ["HeldMessage", "Hold", "HoldFilter", "HoldsClient"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from mimeportal.holds import client, hold

        return getattr(client if name == "HoldsClient" else hold, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
