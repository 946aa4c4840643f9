"""Reports: numbers per day, logs, and their export to files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimeportal.reports.client import ReportsClient
    from mimeportal.reports.exporting import Export, Exported

__all__ = ["Export", "Exported", "ReportsClient"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from mimeportal.reports import client, exporting

        return getattr(client if name == "ReportsClient" else exporting, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
