"""Mail on its way: tracked, waiting, rejected, bounced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimeportal.messages.client import MessagesClient
    from mimeportal.messages.tracked import MessageInfo, TrackedMessage

__all__ = ["MessageInfo", "MessagesClient", "TrackedMessage"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from mimeportal.messages import client, tracked

        return getattr(client if name == "MessagesClient" else tracked, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
