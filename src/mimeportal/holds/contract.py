"""What travels about held mail: Mimecast's own operations, and those that it lacks.

Mimecast's: mimecast-api-core 6.1 to 6.10. Ours, under `/api/portal/holds/`: a list with every filter and
every queue at once, a decision together with its sender list entry, and the state of many ids.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field

from mimeportal import limits
from mimeportal.wire import Address, DetailRow, Endpoint, Item, Offer, Row

# Mimecast's words for why a message was rejected (portal-rules B.20).
REASON_TYPES = (
    "MESSAGE CONTAINS UNDESIRABLE CONTENT",
    "MESSAGE CONTAINS CONFIDENTIAL INFORMATION",
    "REVIEWER DISAPPROVES OF CONTENT",
    "INAPPROPRIATE COMMUNICATION",
    "MESSAGE GOES AGAINST EMAIL POLICIES",
)

Queue = Literal["personal", "moderated", "admin"]
QUEUES: tuple[Queue, ...] = get_args(Queue)
# How a message leaves the hold queue.
LogStatus = Literal["released", "rejected", "expired"]
LEVELS = ("user", "moderator", "administrator")


class SearchBy(Item):
    """A contains-match on one field: `all`, `subject`, `sender`, `recipient`, `reason_code`/`reasonCode`."""

    field_name: str = "all"
    value: str = ""


class ListHoldsItem(Item):
    """Item of get-hold-message-list (mimecast-api-core 6.1)."""

    admin: bool | None = None
    start: str | None = None
    end: str | None = None
    search_by: SearchBy | None = None


class HoldRow(Row):
    """One held message for one recipient. The last four fields are ours; on Mimecast they are absent."""

    id: str
    reason: str = ""
    reason_id: str = ""
    reason_code: str = ""
    from_: Address = Field(default_factory=Address, alias="from")
    from_header: Address = Field(default_factory=Address)
    to: Address = Field(default_factory=Address)
    subject: str = ""
    route: str = ""
    has_attachments: bool = False
    size: int = 0
    date_received: str = ""
    policy_info: str = ""
    level: str | None = None
    expires: str | None = None
    sender_blocked: bool | None = None
    queue: str | None = None


class FindHoldsItem(Item):
    """Item of holds.find: one queue and every filter. All filters must match; `mailboxes` is any of them.

    With `ids` (1 to 100) the queue does not matter: every hold among them that the caller may see.
    """

    queue: str | None = None
    ids: list[str] | None = None
    mailboxes: list[str] | None = None
    from_: str | None = Field(default=None, alias="from")
    to: str | None = None
    subject: str | None = None
    search: str | None = None
    reason: str | None = None
    policy: str | None = None
    route: str | None = None
    start: str | None = None
    end: str | None = None
    attachments: bool | None = None
    larger_than: int | None = None


class SummaryItem(Item):
    """No argument."""


class SummaryRow(Row):
    """How many messages are held under one policy definition (mimecast-api-core 6.3)."""

    policy_info: str
    number_of_items: int


class ReleaseItem(Item):
    """Item of hold-release (mimecast-api-core 6.4)."""

    id: str


class ReleaseRow(Row):
    """`release` is false when the message was not released."""

    id: str
    release: bool = False


class RejectItem(Item):
    """Item of hold-reject (mimecast-api-core 6.5): the ids lie in a list inside the item."""

    ids: list[str]
    message: str | None = None
    reason_type: str | None = None
    notify: bool | None = None


class RejectRow(Row):
    """`reject` is false when the message was not rejected."""

    id: str
    reject: bool = False


class DecideItem(Item):
    """One decision with all that belongs to it, taken in one transaction.

    `decision` is `release` or `reject`; `permit` (with release) and `block` (with reject) are `address` or
    `domain`; `sender_part` says which sender the entry takes: `header` (what the person saw) or `envelope`.
    """

    id: str
    decision: str
    permit: str | None = None
    block: str | None = None
    sender_part: str = "header"
    notify: bool = False
    message: str | None = None
    reason_type: str | None = None


class DecideRow(Row):
    """What became of one decision. `outcome` is `done`, or `already` when the same decision stood before.

    `entry` is the sender list entry that was added. `notice` tells of the notice to the sender: `queued`,
    or why none was written.
    """

    id: str
    outcome: str
    by: str | None = None
    when: str | None = None
    entry: str | None = None
    notice: str | None = None


class StatesItem(Item):
    """Ids whose state is asked, 1 to 500."""

    ids: list[str]


class StateRow(Row):
    """The state of one hold: `held`, `released`, `rejected` or `expired`; by whom, when, in which request."""

    id: str
    state: str
    by: str | None = None
    when: str | None = None
    request_id: str | None = None


class ReleaseLogItem(Item):
    """Item of get-held-release-logs (mimecast-api-core 6.8)."""

    start: str | None = None
    end: str | None = None
    search_by: SearchBy | None = None
    filter_by: list[dict[str, Any]] | None = None


class ReleaseLogRow(Row):
    """One message that left the hold queue: released, rejected or expired."""

    id: str
    route: str = ""
    status: str = ""
    released: str | None = None
    operator: Any = None
    from_env: Address = Field(default_factory=Address)
    from_hdr: Address = Field(default_factory=Address)
    to: list[Address] = []
    subject: str = ""
    size: int = 0
    attachments: bool = False
    held_reason: str = ""
    held_group: str = ""
    policy: str = ""
    message_info: str = ""
    reject_reason: str = ""
    spam_score: int | None = None
    detection_level: str = ""


class MessageDetailItem(Item):
    """Item of message/get-message-detail (mimecast-api-core 6.9)."""

    id: str
    context: str | None = None
    view_type: str | None = None
    mailbox: str | None = None


class FileItem(Item):
    """An attachment's id, or the id of the held message itself for the whole message."""

    id: str


class FileRow(Row):
    """API 2.0 answers with short-lived URLs; API 1.0 and the local portal with the octets."""

    urls: list[str] = []


class FetchItem(Item):
    """The query of a URL that holds.file answered with. `context` alone decides."""

    method: str = "GET"
    expires: str = ""
    context: str = ""


def _mimecast(permission: str, permission2: str | None = None) -> dict[Any, Offer]:
    return {
        "api1": Offer(permission),
        "api2": Offer(permission if permission2 is None else permission2),
        "local": Offer(),
    }


_LOCAL: dict[Any, Offer] = {"local": Offer()}

LIST = Endpoint(
    "holds.list",
    "/api/gateway/get-hold-message-list",
    ListHoldsItem,
    HoldRow,
    _mimecast("Account | Dashboard | Read"),
    paging="token",
)
FIND = Endpoint("holds.find", "/api/portal/holds/find", FindHoldsItem, HoldRow, _LOCAL, paging="token")
SUMMARY = Endpoint(
    "holds.summary",
    "/api/gateway/get-hold-summary-list",
    SummaryItem,
    SummaryRow,
    _mimecast("Account | Monitoring | Held Summary | Read"),
    count=(0, 1),
)
RELEASE = Endpoint(
    "holds.release",
    "/api/gateway/hold-release",
    ReleaseItem,
    ReleaseRow,
    _mimecast("Account | Monitoring | Held | Edit"),
    count=(1, limits.MIMECAST_BATCH),
    repeat="look",
    look="holds.list",
)
REJECT = Endpoint(
    "holds.reject",
    "/api/gateway/hold-reject",
    RejectItem,
    RejectRow,
    _mimecast("Account | Monitoring | Held | Edit"),
    count=(1, limits.MIMECAST_BATCH),
    counted="ids",
    repeat="look",
    look="holds.list",
)
DECIDE = Endpoint(
    "holds.decide",
    "/api/portal/holds/decide",
    DecideItem,
    DecideRow,
    _LOCAL,
    count=(1, limits.LOCAL_BATCH),
    repeat="look",
    look="holds.states",
)
STATES = Endpoint(
    "holds.states",
    "/api/portal/holds/states",
    StatesItem,
    StateRow,
    _LOCAL,
    count=(1, limits.STATES_ASKED),
    counted="ids",
)
LOG = Endpoint(
    "holds.log",
    "/api/gateway/get-held-release-logs",
    ReleaseLogItem,
    ReleaseLogRow,
    _mimecast("Monitoring | Held | Read"),
    rows_at="heldReleaseLogs",
    paging="token",
)
DETAIL = Endpoint(
    "holds.detail",
    "/api/gateway/message/get-message-detail",
    MessageDetailItem,
    DetailRow,
    _mimecast("Gateway | Tracking | Read"),
)
FILE = Endpoint(
    "holds.file",
    "/api/gateway/message/get-file",
    FileItem,
    FileRow,
    _mimecast("Gateway | Tracking | Read", "Account | Dashboard | Read"),
    answer="bytes",
)
# Where the URLs of a local portal lead; Mimecast's lead to hosts of their own.
FETCH = Endpoint(
    "holds.fetch",
    "/api/gateway/message/get-file",
    FetchItem,
    FileRow,
    {"api2": Offer("none"), "local": Offer()},
    method="GET",
    authorised=False,
    form="query",
    answer="bytes",
)

ENDPOINTS = (LIST, FIND, SUMMARY, RELEASE, REJECT, DECIDE, STATES, LOG, DETAIL, FILE, FETCH)
