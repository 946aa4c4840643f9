"""The account, and who is asking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimeportal.account.client import AccountClient

__all__ = ["AccountClient"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from mimeportal.account import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
