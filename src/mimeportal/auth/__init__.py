"""Logging in: tokens of API 2.0, bindings of API 1.0, and what an address may log in with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimeportal.auth.client import AuthClient

__all__ = ["AuthClient"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from mimeportal.auth import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
