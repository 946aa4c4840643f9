"""Large File Send: sending, resuming, managing, fetching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimeportal.largefiles.client import LargefilesClient
    from mimeportal.largefiles.largefile import LargeFile, LargeFilePreferences, SentFile, SentTo
    from mimeportal.largefiles.uploading import Progress, Upload

__all__ = ["LargeFile", "LargeFilePreferences", "LargefilesClient", "Progress", "SentFile", "SentTo", "Upload"]


def __getattr__(name: str) -> Any:
    if name == "LargefilesClient":
        from mimeportal.largefiles import client

        return client.LargefilesClient
    if name in ("Upload", "Progress"):
        from mimeportal.largefiles import uploading

        return getattr(uploading, name)
    if name in __all__:
        from mimeportal.largefiles import largefile

        return getattr(largefile, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
