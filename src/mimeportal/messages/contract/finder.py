"""What travels about mail on its way: Mimecast's message finder, its queues and its rejection log.

Finder: mimecast-api-core 7.1, 7.2; processing 6.6; queues 6.7; rejections 6.11. Names in answers that no source
shows are our choice, and stand in docs/choices.md.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field

from mimeportal.wire import Address, Endpoint, Item, Offer, Row

# What became of a message (7.1).
Status = Literal[
    "processing",
    "delivery",
    "system",
    "held",
    "accepted",
    "bulk_processing",
    "bulk_delivery",
    "bounced",
    "deferred",
    "rejected",
    "archived",
]
STATUSES: tuple[Status, ...] = get_args(Status)


class AdvancedOptions(Item):
    """`advancedTrackAndTraceOptions`: address or domain of sender and recipient, subject, the sender's address."""

    from_: str | None = Field(default=None, alias="from")
    to: str | None = None
    subject: str | None = None
    sender_ip: str | None = Field(default=None, alias="senderIP")
    url: str | None = None
    route: list[str] | str | None = None  # where the documents' own sample puts it


class SearchItem(Item):
    """Item of message-finder/search (7.1); `status` and `attachments` are of API 2.0."""

    start: str | None = None
    end: str | None = None
    search_reason: str | None = None
    message_id: str | None = None
    advanced_track_and_trace_options: AdvancedOptions | None = None
    route: list[str] | str | None = None
    status: list[str] | str | None = None
    attachments: bool | None = None


class TrackedRow(Row):
    """One message for one recipient. `id` is a tracking id, no hold's; `messageId` is ours, absent on Mimecast."""

    id: str
    status: str = ""
    info: str = ""
    from_env: Address | str = ""
    from_hdr: Address | str = ""
    to: list[Address | str] = []
    received: str = ""
    sent: str = ""
    subject: str = ""
    sender_ip: str = Field(default="", alias="senderIP")
    attachments: bool | None = None
    route: str = ""
    spam_score: float | None = None
    detection_level: str = ""
    message_id: str | None = None


class InfoItem(Item):
    """Item of get-message-info (7.2). `load_content` is the text `true`: with it the bodies come too."""

    id: str
    load_content: str | None = None


class MessagePart(Row):
    """`messageInfo`: what the message says of itself. `transmission_info` is HTML: `<pre>` around its headers."""

    from_header: str | None = None
    from_envelope: str | None = None
    to: list[str] = []
    cc: list[str] = []
    subject: str | None = None
    sent: str | None = None
    processed: str | None = None
    transmission_info: str | None = None
    route: str | None = None
    text_body: str | None = None
    html_body: str | None = None
    attachments: list[dict[str, Any]] | None = None


class RecipientPart(Row):
    """`recipientInfo`: `recipientMetaInfo` of archived messages, `txInfo` of those in a queue."""

    message_info: MessagePart = Field(default_factory=MessagePart)
    recipient_meta_info: dict[str, Any] | None = None
    tx_info: dict[str, Any] | None = None


class QueuePart(Row):
    """`queueInfo` of a message that is not archived. Of a held one `id` is the id that releases it."""

    id: str | None = None
    held_group: str | None = None
    info: str | None = None
    create_time: str | None = None
    to: Any = None
    from_header: Any = None
    from_envelope: Any = None
    subject: str | None = None
    route: str | None = None
    attachments: bool | None = None
    reason: str | None = None
    size: int | None = None
    manage_recipient: bool | None = None


class InfoRow(Row):
    """One tracked message, in one of two layouts: of the archive, or of a queue (7.2)."""

    id: str = ""
    status: str = ""
    recipient_info: RecipientPart = Field(default_factory=RecipientPart)
    delivered_message: dict[str, Any] | None = None
    queue_info: QueuePart | None = None
    retention_info: dict[str, Any] = {}
    spam_info: dict[str, Any] = {}


class SearchBy(Item):
    """A contains-match on one field."""

    field_name: str = "all"
    value: str = ""


class ProcessingItem(Item):
    """Item of find-processing-messages (6.6): at least one field must be there."""

    start: str | None = None
    end: str | None = None
    sort_by: str | None = None
    sort_order: str | None = None
    type: str | None = None
    search_by: SearchBy | None = None
    filter_by: list[dict[str, Any]] | None = None


class ProcessingRow(Row):
    """One message that is on its way for one recipient."""

    id: str = ""
    from_env: Address | str = ""
    from_header: Address | str = ""
    to: Address | str = ""
    subject: str = ""
    attachment: bool = False
    routing: str = ""
    size: int = 0
    remote_ip: str = ""
    attempts: int = 0
    next_attempt: str = ""
    created: str = ""
    info: str = ""
    priority: str = ""


class QueuesItem(Item):
    """Item of get-email-queues (6.7): both are required."""

    start: str
    end: str


class QueuesRow(Row):
    """Lengths over time, lists of `{date, count}`. The documents show one number each: the client takes both."""

    inbound_email_queue: Any = None
    outbound_email_queue: Any = None


class RejectionsItem(Item):
    """Item of get-rejections (6.11); without `admin` one's own mail alone."""

    admin: bool | None = None
    mailbox: str | None = None
    start: str | None = None
    end: str | None = None
    search_by: SearchBy | None = None


class RejectionRow(Row):
    """One message that was refused. No source shows these rows: the names are those that `searchBy` takes."""

    id: str = ""
    created: str = ""
    from_: Address | str = Field(default="", alias="from")
    to: Address | str = ""
    type: str = ""
    info: str = ""
    remote_ip: str = ""
    remote_host: str = ""


def _offered(permission: str) -> dict[Any, Offer]:
    return {"api1": Offer(permission), "api2": Offer(permission), "local": Offer()}


SEARCH = Endpoint(
    "messages.search",
    "/api/message-finder/search",
    SearchItem,
    TrackedRow,
    _offered("Gateway | Tracking | Read"),
    rows_at="trackedEmails",
    paging="token",
)
INFO = Endpoint(
    "messages.info",
    "/api/message-finder/get-message-info",
    InfoItem,
    InfoRow,
    _offered("Gateway | Tracking | Read"),
)
PROCESSING = Endpoint(
    "messages.processing",
    "/api/gateway/find-processing-messages",
    ProcessingItem,
    ProcessingRow,
    _offered("Monitoring | Processing | Read"),
    rows_at="messages",
    paging="token",
)
QUEUES = Endpoint(
    "messages.queues",
    "/api/email/get-email-queues",
    QueuesItem,
    QueuesRow,
    _offered("Account | Dashboard | Read"),
)
REJECTIONS = Endpoint(
    "messages.rejections",
    "/api/gateway/get-rejections",
    RejectionsItem,
    RejectionRow,
    _offered("Monitoring | Rejections | Read"),
    rows_at="rejectionLogs",
    paging="token",
)

ENDPOINTS = (SEARCH, INFO, PROCESSING, QUEUES, REJECTIONS)
