"""What travels about mail that is written: uploads, Mimecast's send-email, and what a portal offers beside it."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from mimeportal import limits
from mimeportal.wire import Address, Api, Endpoint, Item, JsonObject, Offer, Row

ReportType = Literal["spam", "phishing"]
REPORT_TYPES: tuple[ReportType, ...] = get_args(ReportType)
# Who wrote a message, to whom and when, what it is made of and which way it came is written by the portal alone.
OWN_HEADERS = frozenset(
    {"from", "sender", "to", "cc", "bcc", "subject", "date", "message-id", "in-reply-to", "references"}
    | {"mime-version", "received", "return-path", "delivered-to", "authentication-results"}
)
OWN_HEADER_FAMILIES = ("content-", "dkim-", "arc-", "resent-", "received-", "domainkey-")
DELIVERY_STATUSES = ("delivered", "pending", "bounced", "held", "rejected")  # portal-rules C.4


class UploadItem(Item):
    """What is about to be uploaded (mimecast-api-portal 3.2): the SHA-256 of its octets, hex, and their number."""

    sha256: str
    file_size: int


class UploadRow(Row):
    """The id under which an uploaded file is attached."""

    id: str


class HeaderField(Item):
    """One header that a message gets beside those that the portal writes."""

    name: str
    value: str = ""


class BodyItem(Item):
    """A text: itself, or the id of an uploaded file (then in `charset`, by default UTF-8).

    How it travels, and as what, is the portal's to choose: the other fields of API 2.0 say what it would choose.
    """

    content: str | None = None
    id: str | None = None
    charset: str | None = None
    content_type: str | None = None
    content_disposition: str | None = None
    content_transfer_encoding: str | None = None
    extra_headers: list[HeaderField] | None = None


class AttachmentItem(Item):
    """An uploaded file that is attached. With a `contentId` the HTML text can show it as `cid:`."""

    id: str
    filename: str = ""
    size: int | None = None
    content_type: str | None = None
    content_id: str | None = None
    content_disposition: str | None = None


class SendEmailItem(Item):
    """One message (mimecast-api-portal 3.1)."""

    to: list[Address] = []
    cc: list[Address] = []
    bcc: list[Address] = []
    from_: Address | None = Field(default=None, alias="from")
    subject: str = ""
    html_body: BodyItem | None = None
    plain_body: BodyItem | None = None
    attachments: list[AttachmentItem] = []
    extra_headers: list[HeaderField] = []
    in_reply_to: str | None = None

    def to_json(self) -> JsonObject:
        """As it travels: of a list without entries nothing."""
        return {name: value for name, value in super().to_json().items() if value != []}


class SendEmailRow(Row):
    """What was sent: its Message-ID with `<>`, and the text of its Date header."""

    message_id: str
    message_date_header: str = ""


class ComposeItem(SendEmailItem):
    """One message as a local portal takes it: whose (none: the caller's), and what Mimecast has no field for.

    `references` are the Message-IDs of the conversation; `quotedBody` follows the signature. `signature` says
    whether the sender's own is added (none: where there is one), `inlineAsAttachments` that images inside the text
    are attached for recipients outside, rather than left out.
    """

    mailbox: str | None = None
    references: str | None = None
    quoted_body: BodyItem | None = None
    signature: bool | None = None
    inline_as_attachments: bool | None = None


class SubmitItem(ComposeItem):
    """A message to be sent, once for each `requestId`. `draft` is the draft that it was, and that is no longer."""

    request_id: str
    draft: str | None = None


class SubmitRow(SendEmailRow):
    """What was sent, and the id it has among the sent messages. `inlineLeftOut` names images left out outside."""

    id: str
    recipients: int = 0
    inline_left_out: list[str] = []


class SaveDraftItem(ComposeItem):
    """A draft to be kept, once for each `requestId`; with an `id` in the place of that one."""

    request_id: str
    id: str | None = None


class DraftItem(Item):
    """One draft of the caller's."""

    id: str


class DraftsItem(Item):
    """All drafts of the caller's."""


class DraftRow(Row):
    """One draft: what it holds, and when it was last changed."""

    id: str
    changed: str = ""
    message: ComposeItem = Field(default_factory=ComposeItem)
    size: int = 0


class RemovedRow(Row):
    """A draft that is gone; `outcome` is `done`, or `already`."""

    id: str
    outcome: str = "done"


class RecipientsItem(Item):
    """A sent message, by its id in the mailbox."""

    id: str


class RecipientRow(Row):
    """One recipient: where they are named (`to`, `cc`, `bcc`), and what became of the message for them."""

    address: str
    kind: str = ""
    status: str = ""
    info: str = ""
    changed: str = ""


class BlockItem(Item):
    """Block the sender of a message of one's own: the address, or the whole domain."""

    id: str
    form: str = "address"
    sender_part: str = "header"


class BlockRow(Row):
    """The entry that stands now; `already` when it stood so before; `movedFrom` is the list it left."""

    id: str
    outcome: str
    entry: str = ""
    moved_from: str | None = None


class ReportItem(Item):
    """Report a message as `spam` or `phishing`, once for each `requestId`."""

    id: str
    type: str
    request_id: str


class ReportRow(Row):
    """What a report did: the entry that blocks the sender; or why there is none, in a sentence."""

    id: str
    outcome: str
    entry: str | None = None
    not_blocked: str | None = None


_ANYWHERE: dict[Api, Offer] = {
    "api1": Offer("none, for every authorised user"),
    "api2": Offer("Account | Dashboard | Read"),
    "local": Offer(),
}

UPLOAD = Endpoint(
    "messages.upload",
    "/api/file/file-upload",
    UploadItem,
    UploadRow,
    _ANYWHERE,
    form="bytes",
    bytes_in=limits.UPLOAD,
    outsiders=True,
    repeat="keyed",  # a local portal knows the same octets again; elsewhere another upload lapses unused
)
SEND_EMAIL = Endpoint(
    "messages.send_email",
    "/api/email/send-email",
    SendEmailItem,
    SendEmailRow,
    _ANYWHERE,
    count=(1, limits.SENT_AT_ONCE),
    repeat="never",
)
SUBMIT = Endpoint(
    "messages.submit",
    "/api/portal/messages/submit",
    SubmitItem,
    SubmitRow,
    {"local": Offer()},
    repeat="keyed",
)
DRAFTS = Endpoint(
    "messages.drafts",
    "/api/portal/messages/drafts",
    DraftsItem,
    DraftRow,
    {"local": Offer()},
    count=(0, 1),
    paging="token",
)
DRAFT = Endpoint("messages.draft", "/api/portal/messages/draft", DraftItem, DraftRow, {"local": Offer()})
SAVE_DRAFT = Endpoint(
    "messages.save_draft",
    "/api/portal/messages/save-draft",
    SaveDraftItem,
    DraftRow,
    {"local": Offer()},
    repeat="keyed",
)
REMOVE_DRAFT = Endpoint(
    "messages.remove_draft",
    "/api/portal/messages/remove-draft",
    DraftItem,
    RemovedRow,
    {"local": Offer()},
    repeat="keyed",
)
RECIPIENTS = Endpoint(
    "messages.recipients",
    "/api/portal/messages/recipients",
    RecipientsItem,
    RecipientRow,
    {"local": Offer()},
)
BLOCK = Endpoint(
    "messages.block",
    "/api/portal/messages/block",
    BlockItem,
    BlockRow,
    {"local": Offer()},
    count=(1, limits.LOCAL_BATCH),
    repeat="keyed",  # the same entry twice is one entry
)
REPORT = Endpoint(
    "messages.report",
    "/api/portal/messages/report",
    ReportItem,
    ReportRow,
    {"local": Offer()},
    repeat="keyed",
)

ENDPOINTS = (
    UPLOAD,
    SEND_EMAIL,
    SUBMIT,
    DRAFTS,
    DRAFT,
    SAVE_DRAFT,
    REMOVE_DRAFT,
    RECIPIENTS,
    BLOCK,
    REPORT,
)
