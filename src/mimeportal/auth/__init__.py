"""Logging in: tokens of API 2.0, bindings of API 1.0, and what an address may log in with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimeportal.lazy import exported

if TYPE_CHECKING:
    from mimeportal.auth.client import AuthClient
    from mimeportal.auth.contract import AppRow, DiscoverRow, LoginRow, TokenRow

_HOMES = {
    "AppRow": "contract",
    "AuthClient": "client",
    "DiscoverRow": "contract",
    "LoginRow": "contract",
    "TokenRow": "contract",
}

__all__ = [
    "AppRow",
    "AuthClient",
    "DiscoverRow",
    "LoginRow",
    "TokenRow",
]


def __getattr__(name: str) -> Any:
    return exported(__name__, _HOMES, name)


def __dir__() -> list[str]:
    return __all__
