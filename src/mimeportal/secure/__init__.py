"""Secure messages: send, read, answer, recall, and see what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimeportal.secure.client import SecureClient
    from mimeportal.secure.message import SecureFilter, SecureMessage

__all__ = ["SecureClient", "SecureFilter", "SecureMessage"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from mimeportal.secure import client, message

        return getattr(client if name == "SecureClient" else message, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
