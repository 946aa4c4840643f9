"""mimeportal: Mimecast's portals from Python. Start at `Portal.open()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimeportal._version import __version__

if TYPE_CHECKING:
    from mimeportal.bulk import BulkResult
    from mimeportal.errors import (
        ApiError,
        AuthenticationError,
        ChangedFileError,
        ConfigurationError,
        DeclinedError,
        ForbiddenError,
        LostAnswerError,
        MimeportalError,
        NotFoundError,
        NotOfferedError,
        RateLimitedError,
        UnavailableError,
        UsageError,
    )
    from mimeportal.holds import Hold, HoldFilter
    from mimeportal.paging import Pages
    from mimeportal.portal import Portal
    from mimeportal.report import Outcome, Report
    from mimeportal.senders import SenderEntry

# Loaded at first use (PEP 562), so that `import mimeportal` costs nothing.
_HOMES = {
    "Portal": "mimeportal.portal",
    "Pages": "mimeportal.paging",
    "BulkResult": "mimeportal.bulk",
    "Outcome": "mimeportal.report",
    "Report": "mimeportal.report",
    "Hold": "mimeportal.holds",
    "HoldFilter": "mimeportal.holds",
    "SenderEntry": "mimeportal.senders",
    **dict.fromkeys(
        (
            "ApiError",
            "AuthenticationError",
            "ChangedFileError",
            "ConfigurationError",
            "DeclinedError",
            "ForbiddenError",
            "LostAnswerError",
            "MimeportalError",
            "NotFoundError",
            "NotOfferedError",
            "RateLimitedError",
            "UnavailableError",
            "UsageError",
        ),
        "mimeportal.errors",
    ),
}

__all__ = [
    "ApiError",
    "AuthenticationError",
    "BulkResult",
    "ChangedFileError",
    "ConfigurationError",
    "DeclinedError",
    "ForbiddenError",
    "Hold",
    "HoldFilter",
    "LostAnswerError",
    "MimeportalError",
    "NotFoundError",
    "NotOfferedError",
    "Outcome",
    "Pages",
    "Portal",
    "RateLimitedError",
    "Report",
    "SenderEntry",
    "UnavailableError",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mimeportal' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
