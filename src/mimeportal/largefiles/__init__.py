"""Large File Send: sending, resuming, managing, fetching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimeportal.lazy import exported

if TYPE_CHECKING:
    from mimeportal.largefiles.client import LargefilesClient, Paths
    from mimeportal.largefiles.contract import Status
    from mimeportal.largefiles.largefile import LargeFile, LargeFilePreferences, SentFile, SentTo
    from mimeportal.largefiles.uploading import OnProgress, Progress, Upload

_HOMES = {
    "LargeFile": "largefile",
    "LargeFilePreferences": "largefile",
    "LargefilesClient": "client",
    "OnProgress": "uploading",
    "Paths": "client",
    "Progress": "uploading",
    "SentFile": "largefile",
    "SentTo": "largefile",
    "Status": "contract",
    "Upload": "uploading",
}

__all__ = [
    "LargeFile",
    "LargeFilePreferences",
    "LargefilesClient",
    "OnProgress",
    "Paths",
    "Progress",
    "SentFile",
    "SentTo",
    "Status",
    "Upload",
]


def __getattr__(name: str) -> Any:
    return exported(__name__, _HOMES, name)


def __dir__() -> list[str]:
    return __all__
