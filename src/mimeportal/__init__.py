"""mimeportal: Mimecast's portals from Python. Start at `Portal.open()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimeportal._version import __version__

if TYPE_CHECKING:
    from mimeportal.addresses import EntryType, SenderPart
    from mimeportal.bulk import BulkResult, Plan
    from mimeportal.credentials import Credentials
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
    from mimeportal.largefiles import LargeFile
    from mimeportal.messages import MailboxMessage, MailFilter, NewMessage
    from mimeportal.paging import Pages
    from mimeportal.portal import Portal
    from mimeportal.report import OnOutcomes, Outcome, Report, Verdict
    from mimeportal.secure import SecureFilter, SecureMessage
    from mimeportal.senders import SenderEntry
    from mimeportal.wire import Api, Route

# Loaded at first use (PEP 562), so that `import mimeportal` costs nothing.
_HOMES = {
    "Portal": "mimeportal.portal",
    "Pages": "mimeportal.paging",
    "BulkResult": "mimeportal.bulk",
    "Plan": "mimeportal.bulk",
    "OnOutcomes": "mimeportal.report",
    "Outcome": "mimeportal.report",
    "Report": "mimeportal.report",
    "Verdict": "mimeportal.report",
    "Credentials": "mimeportal.credentials",
    "EntryType": "mimeportal.addresses",
    "SenderPart": "mimeportal.addresses",
    "Api": "mimeportal.wire",
    "Route": "mimeportal.wire",
    "Hold": "mimeportal.holds",
    "HoldFilter": "mimeportal.holds",
    "LargeFile": "mimeportal.largefiles",
    "MailboxMessage": "mimeportal.messages",
    "MailFilter": "mimeportal.messages",
    "NewMessage": "mimeportal.messages",
    "SecureFilter": "mimeportal.secure",
    "SecureMessage": "mimeportal.secure",
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
    "Api",
    "ApiError",
    "AuthenticationError",
    "BulkResult",
    "ChangedFileError",
    "ConfigurationError",
    "Credentials",
    "DeclinedError",
    "EntryType",
    "ForbiddenError",
    "Hold",
    "HoldFilter",
    "LargeFile",
    "LostAnswerError",
    "MailFilter",
    "MailboxMessage",
    "MimeportalError",
    "NewMessage",
    "NotFoundError",
    "NotOfferedError",
    "OnOutcomes",
    "Outcome",
    "Pages",
    "Plan",
    "Portal",
    "RateLimitedError",
    "Report",
    "Route",
    "SecureFilter",
    "SecureMessage",
    "SenderEntry",
    "SenderPart",
    "UnavailableError",
    "UsageError",
    "Verdict",
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
