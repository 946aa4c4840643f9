"""Every exception that mimeportal raises on purpose: `except MimeportalError` catches them all.

    MimeportalError
    ├── UsageError                      the call itself is wrong; nothing was sent
    │   ├── ConfigurationError          a profile, an environment variable or a file of settings is wrong
    │   └── ChangedFileError            a file changed while it was sent
    ├── NotOfferedError                 this portal does not offer the operation; nothing was sent
    ├── DeclinedError                   a person, or a limit such as `--max`, said no; nothing was changed
    └── ApiError                        the portal refused the request
        ├── AuthenticationError         not logged in, or the log-in is not accepted
        ├── ForbiddenError              logged in, but not allowed
        ├── NotFoundError               no such object, or not this caller's to see
        └── UnavailableError            the portal cannot answer now; the same call may work later
            ├── RateLimitedError        too many calls
            └── LostAnswerError         the request may have been carried out, but its answer did not arrive

Each carries three sentences for a person: `what` happened, `why` (with code and request id where the
portal gave them) and `remedy`, what to do next. `str()` gives the first. A remedy names options as the command
has them: `--mailbox` is the argument `mailbox`.
"""

from __future__ import annotations

from typing import Any


class MimeportalError(Exception):
    """The root: whatever mimeportal raises on purpose.

    what    what happened: one sentence
    why     the reason, with code and request id where the portal gave them; "" where `what` says it all
    remedy  what to do next; "" where nothing helps
    """

    def __init__(self, what: str, *, why: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.remedy = remedy


class UsageError(MimeportalError):
    """The call itself is wrong: an argument, an option, a file the caller named. Nothing was sent."""


class ConfigurationError(UsageError):
    """A profile, an environment variable or a settings file is wrong or missing."""


class ChangedFileError(UsageError):
    """A file is not what it was when it began to be sent. What had arrived of it was sent to nobody."""


class NotOfferedError(MimeportalError):
    """This portal does not offer the operation. Raised before anything is sent."""


class DeclinedError(MimeportalError):
    """A person said no, or the selection is larger than allowed, as by `Plan.refuse_above()`; nothing was changed."""


class ApiError(MimeportalError):
    """The portal refused the request, or an item of it.

    code        the portal's own code, as `err_validation_blank`; "" where it gave none
    field       the field of the request that is meant, where it named one
    status      the HTTP status; 200 where the refusal came in the envelope of an answer
    request_id  what the portal remembers the request by: for whoever looks into its logs; "" where nothing was sent
    retryable   whether the portal says that the same request may work later
    key         the item of the request that is meant, where it named one
    """

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
    """The portal cannot be reached, or cannot answer now: the same call may work later.

    Raised after the repeats that the call allows. Unless it is a `LostAnswerError`, nothing was carried out.
    """


class RateLimitedError(UnavailableError):
    """Too many calls; `retry_after` is the number of seconds to wait, None where the portal did not tell it."""

    retry_after: float | None = None


class LostAnswerError(UnavailableError):
    """The request may have been carried out, but no complete answer arrived: look before acting again."""


UNKNOWN_APP_CODE = "err_developer_key"  # with HTTP 200 (mimecast-api-core 5.3)
FORBIDDEN_CODES = frozenset({"err_xdk_operation_forbidden_for_address", "err_forbidden", "app_forbidden", "forbidden"})
NOT_FOUND_CODES = frozenset({"err_not_found", "not_found", "xdk_failure", "recalled"})

_REMEDIES = {
    "mailbox_full": "Leave out whoever is full, let go of drafts or large files, or ask an administrator for room.",
    "err_request_id_reused": "Name another act by another request id; the same act is repeated with the same content.",
    "upload_not_found": "Upload the file again.",
    "draft_changed": "Look at the drafts again: `mimeportal messages drafts list`.",
    "octets_missing": "Nothing can be done about it: its octets were let go of.",
    # Large files.
    "err_largefile_cancelled": "Send the files anew: `mimeportal largefiles send`.",
    "err_largefile_changed": "Leave the file as it is while it is sent, and send it anew.",
    "err_largefile_chunk": "Run the same command again: the upload goes on where it stopped.",
    "err_largefile_enforced": "Leave that option out.",
    "err_largefile_failed": "Upload it anew: `mimeportal largefiles resubmit ID`.",
    "err_largefile_gone": "Send the files anew: `mimeportal largefiles send`.",
    "err_largefile_incomplete": "Go on with the upload: `mimeportal largefiles resubmit ID`.",
    "err_largefile_status": "See what it is now, and how far: `mimeportal largefiles show ID`.",
    "err_largefile_too_late": "Name that date, or an earlier one.",
    "err_largefile_too_large": "Split it, or send it another way; limits: `mimeportal largefiles preferences`.",
    "err_range": "Fetch it anew, from its first octet on.",
    # Messages and secure messages.
    "already_read": "Let it expire instead: `mimeportal secure expire ID`.",
    "err_message_too_large": "Send it in parts, or its files by `mimeportal largefiles send`.",
    "err_track_and_trace_invalid_start_date": "Begin within the last 30 days: --since 29d.",
    "expired": "See what became of it: `mimeportal holds log`, or `mimeportal secure log ID`.",
    "no_expiry": "It stays open to its recipients; `mimeportal secure recall ID` closes it.",
    "no_sender": "Name the sender yourself: `mimeportal senders add`.",
    "nobody_waits": "See to whom it went, and how: `mimeportal secure show ID`.",
    "not_sent": "List what was sent from here: `mimeportal messages list --folder sent`.",
    "own_domain": "Name a sender outside.",
    "own_message": "Name a message that somebody else sent.",
    "public_provider": "Name the whole address.",
    "search_over": "Search again.",
    "sender_blocked": "Ask the recipient to take the sender off their blocked list.",
    # The portal itself.
    "err_portal_full": "Ask whoever runs this portal for room on its disk; nothing needs to be undone.",
    "err_portal_store": "Try again later; nothing needs to be undone.",
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
