"""Every exception that mimeportal raises.

    MimeportalError
    ├── UsageError                  the call itself is wrong; nothing was sent
    │   └── ConfigurationError      a profile, an environment variable or a file of settings is wrong
    ├── NotOfferedError             this portal does not offer the operation; nothing was sent
    ├── DeclinedError               a person, or a limit such as `--max`, said no; nothing was changed
    ├── ApiError                    the portal refused the request
    │   ├── AuthenticationError     not logged in, or the log-in is not accepted
    │   ├── ForbiddenError          logged in, but not allowed
    │   └── NotFoundError           no such object, or not this caller's to see
    └── UnavailableError            the portal cannot answer now; the same call may work later
        ├── RateLimitedError        too many calls
        └── LostAnswerError         the request may have been carried out, but its answer did not arrive

Each carries three sentences for a person: `what` happened, `why` (with code and request id where the
portal gave them) and `remedy`, what to do next. `str()` gives the first.
"""

from __future__ import annotations

from typing import Any


class MimeportalError(Exception):
    """The root: whatever mimeportal raises on purpose."""

    def __init__(self, what: str, *, why: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.remedy = remedy


class UsageError(MimeportalError):
    """The call itself is wrong: an argument, an option, a file the caller named."""


class ConfigurationError(UsageError):
    """A profile, an environment variable or a settings file is wrong or missing."""


class NotOfferedError(MimeportalError):
    """This portal does not offer the operation. Raised before anything is sent."""


class DeclinedError(MimeportalError):
    """A person answered no, or the selection is larger than allowed. Nothing was changed."""


class ApiError(MimeportalError):
    """The portal refused the request, or an item of it."""

    def __init__(
        self,
        what: str,
        *,
        code: str = "",
        field: str | None = None,
        status: int = 200,
        request_id: str = "",
        retryable: bool = False,
        key: Any = None,
        why: str = "",
        remedy: str = "",
    ) -> None:
        reason = why or ", ".join(
            part for part in (code and f"code {code}", request_id and f"request {request_id}") if part
        )
        super().__init__(what, why=reason, remedy=remedy)
        self.code = code
        self.field = field
        self.status = status
        self.request_id = request_id
        self.retryable = retryable
        self.key = key


class AuthenticationError(ApiError):
    """Not logged in, or the credentials are not accepted."""


class ForbiddenError(ApiError):
    """Logged in, but not allowed to do this."""


class NotFoundError(ApiError):
    """There is no such object, or it is not this caller's to see: both answer alike."""


class UnavailableError(ApiError):
    """The portal cannot answer now: the same call may work later."""


class RateLimitedError(UnavailableError):
    """Too many calls; `retry_after` is the number of seconds to wait, if the portal told it."""

    retry_after: float | None = None


class LostAnswerError(UnavailableError):
    """The request may have been carried out, but no complete answer arrived."""


UNKNOWN_APP_CODE = "err_developer_key"  # with HTTP 200 (mimecast-api-core 5.3)
FORBIDDEN_CODES = frozenset({"err_xdk_operation_forbidden_for_address", "err_forbidden", "app_forbidden", "forbidden"})
NOT_FOUND_CODES = frozenset({"err_not_found", "not_found", "xdk_failure", "recalled"})

_REMEDIES = {
    "mailbox_full": "Send it without whoever is full, or ask an administrator of this portal for room.",
    "err_request_id_reused": "Name another act by another request id; the same act is repeated with the same content.",
    "upload_not_found": "Upload the file again.",
    "draft_changed": "Look at the drafts again: `mimeportal messages drafts list`.",
    "err_largefile_too_late": "Name that date, or an earlier one.",
    "err_largefile_status": "See the status of each: `mimeportal largefiles list`.",
    "no_expiry": "There is nothing to do: it stays open to its recipients.",
    "octets_missing": "Nothing can be done about it: its octets were let go of.",
}


def api_error(code: str, message: str, *, status: int = 200, **details: Any) -> ApiError:
    """The exception of the tree above that fits a failure code and an HTTP status."""
    kind: type[ApiError]
    remedy = ""
    if status == 429:
        kind, remedy = RateLimitedError, "Wait a little and run the same command again."
    elif status in (401, 418) or code == UNKNOWN_APP_CODE:
        kind, remedy = AuthenticationError, "See whose portal is asked for, and log in again: `mimeportal auth login`."
    elif status == 403 or code in FORBIDDEN_CODES:
        kind, remedy = ForbiddenError, "Ask an administrator of this portal for the permission."
    elif status == 404 or code in NOT_FOUND_CODES:
        kind, remedy = NotFoundError, "List again: it may have been decided, have expired, or belong to another."
    elif status >= 500:
        kind, remedy = UnavailableError, "Try again later; nothing needs to be undone."
    else:
        kind = ApiError
        remedy = _REMEDIES.get(code, "")
        if code.startswith("err_validation"):
            remedy = "Correct what the portal names, and run the command again."
    what = f"The portal answered: {message}" if message else f"The portal answered with code {code}."
    return kind(what, code=code, status=status, remedy=remedy, **details)
