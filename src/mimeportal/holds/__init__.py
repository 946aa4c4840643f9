"""Held mail: list, read, release, reject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimeportal.lazy import exported

if TYPE_CHECKING:
    from mimeportal.holds.client import HoldsClient
    from mimeportal.holds.contract import LogStatus, Queue, SummaryRow
    from mimeportal.holds.deciding import Decision, DecisionOptions
    from mimeportal.holds.hold import Attachment, HeldMessage, Hold, HoldConditions, HoldFilter
    from mimeportal.holds.log import HoldState, ReleaseLogEntry

_HOMES = {
    "Attachment": "hold",
    "Decision": "deciding",
    "DecisionOptions": "deciding",
    "HeldMessage": "hold",
    "Hold": "hold",
    "HoldConditions": "hold",
    "HoldFilter": "hold",
    "HoldState": "log",
    "HoldsClient": "client",
    "LogStatus": "contract",
    "Queue": "contract",
    "ReleaseLogEntry": "log",
    "SummaryRow": "contract",
}

__all__ = [
    "Attachment",
    "Decision",
    "DecisionOptions",
    "HeldMessage",
    "Hold",
    "HoldConditions",
    "HoldFilter",
    "HoldState",
    "HoldsClient",
    "LogStatus",
    "Queue",
    "ReleaseLogEntry",
    "SummaryRow",
]


def __getattr__(name: str) -> Any:
    return exported(__name__, _HOMES, name)


def __dir__() -> list[str]:
    return __all__
