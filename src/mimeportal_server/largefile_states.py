"""How a send of large files changes state: a pure table, and what time alone makes of it.

    status      upload     pause    finish            clean    infected  cancel     expire   extend   share    restart
    uploading   uploading  paused   scanning, active  -        -         cancelled  -        -        -        -
    paused      uploading  already  scanning, active  -        -         cancelled  -        -        -        -
    scanning    -          -        already           active   failed    -          -        -        -        -
    active      -          -        already           -        -         -          expired  active   active   -
    expired     -          -        already           -        -         -          already  active   active   -
    failed      -          -        -                 -        -         -          -        -        -        uploading
    cancelled   -          -        -                 -        -         already    -        -        -        -

`upload` is a chunk, `share` a send to more recipients. `finish` leads to `scanning` where files are scanned, else to
`active`. Three statuses come by time, so they are derived when a send is looked at (portal-rules E.17, E.19): `active`
is `expired` from its expiry on, `uploading` is `paused` after two minutes without a chunk, and either of these is
`failed` after seven days. Nothing is open for longer than it is kept: 90 days from when it was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mimeportal import limits
from mimeportal_server.clock import DAY

Status = Literal["uploading", "paused", "scanning", "active", "expired", "failed", "cancelled"]
Event = Literal["upload", "pause", "finish", "clean", "infected", "cancel", "expire", "extend", "share", "restart"]

IDLE = limits.UPLOAD_IDLE_SECONDS * 1000
GIVEN_UP = limits.UPLOAD_DAYS * DAY
KEPT = limits.LARGE_FILE_DAYS * DAY

ALREADY = "already"
# status -> event -> what follows. A tuple: with a scan, without one.
TABLE: dict[Status, dict[Event, str | tuple[str, str]]] = {
    "uploading": {
        "upload": "uploading", "pause": "paused", "finish": ("scanning", "active"), "cancel": "cancelled",
    },
    "paused": {
        "upload": "uploading", "pause": ALREADY, "finish": ("scanning", "active"), "cancel": "cancelled",
    },
    "scanning": {"finish": ALREADY, "clean": "active", "infected": "failed"},
    "active": {"finish": ALREADY, "expire": "expired", "extend": "active", "share": "active"},
    "expired": {"finish": ALREADY, "expire": ALREADY, "extend": "active", "share": "active"},
    "failed": {"restart": "uploading"},
    "cancelled": {"cancel": ALREADY},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What a store remembers of a send: times in milliseconds, `expires` and `sent` None until it was sent."""

    state: str
    touched: int
    sent: int | None = None
    expires: int | None = None


def status(facts: Facts, now: int) -> Status:
    """What a send is at a time."""
    state: Status = facts.state  # type: ignore[assignment]  # the store holds no other
    if state == "active":
        return "expired" if facts.expires is not None and facts.expires <= now else "active"
    if state in ("uploading", "paused"):
        if facts.touched <= now - GIVEN_UP:
            return "failed"
        return "paused" if facts.touched <= now - IDLE else state
    return state


def after(status: Status, event: Event, *, scanned: bool = False) -> str | None:
    """The status that an event leads to, `already` where it stands so, None where it cannot happen."""
    following = TABLE[status].get(event)
    return following[0 if scanned else 1] if isinstance(following, tuple) else following


def kept_until(facts: Facts) -> int | None:
    """Until when a send is kept, and may be open at the latest; None before it was sent."""
    return None if facts.sent is None else facts.sent + KEPT


def gone(facts: Facts, now: int) -> bool:
    """Whether its time is over for good: then nothing opens it again."""
    return facts.sent is not None and facts.sent + KEPT <= now
