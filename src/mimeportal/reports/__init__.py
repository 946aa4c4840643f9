"""Reports: numbers per day, logs, and their export to files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimeportal.lazy import exported

if TYPE_CHECKING:
    from mimeportal.reports.client import Calendar, Days, ReportsClient
    from mimeportal.reports.contract import (
        AuditEventRow,
        AuditRow,
        CategoryRow,
        CountedRow,
        HeldRow,
        LargeFilesRow,
        LoginRow,
        QueueRow,
        RejectionRow,
        ReleaseRow,
        SecureMessagesRow,
        SenderRow,
        TrafficRow,
    )
    from mimeportal.reports.exporting import Export, Exported
    from mimeportal.reports.siem import Batch

_HOMES = {
    "AuditEventRow": "contract",
    "AuditRow": "contract",
    "Batch": "siem",
    "Calendar": "client",
    "CategoryRow": "contract",
    "CountedRow": "contract",
    "Days": "client",
    "Export": "exporting",
    "Exported": "exporting",
    "HeldRow": "contract",
    "LargeFilesRow": "contract",
    "LoginRow": "contract",
    "QueueRow": "contract",
    "RejectionRow": "contract",
    "ReleaseRow": "contract",
    "ReportsClient": "client",
    "SecureMessagesRow": "contract",
    "SenderRow": "contract",
    "TrafficRow": "contract",
}

__all__ = [
    "AuditEventRow",
    "AuditRow",
    "Batch",
    "Calendar",
    "CategoryRow",
    "CountedRow",
    "Days",
    "Export",
    "Exported",
    "HeldRow",
    "LargeFilesRow",
    "LoginRow",
    "QueueRow",
    "RejectionRow",
    "ReleaseRow",
    "ReportsClient",
    "SecureMessagesRow",
    "SenderRow",
    "TrafficRow",
]


def __getattr__(name: str) -> Any:
    return exported(__name__, _HOMES, name)


def __dir__() -> list[str]:
    return __all__
