"""What travels about a mailbox: Mimecast's archive functions, and our list with every filter and a ranked search.

Mimecast's: mimecast-api-portal 2.1 to 2.5. Ours, under `/api/portal/messages/`: junk, filters, and words that are
ranked.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field

from mimeportal.wire import Address, DetailRow, Endpoint, Item, Offer, Row

Folder = Literal["inbox", "sent", "junk"]
FOLDERS: tuple[Folder, ...] = get_args(Folder)
VIEWS = ("INBOX", "SENT")
CONTEXTS = ("DELIVERED", "RECEIVED")
Part = Literal["HTML", "PLAIN", "RFC822", "TRANSMISSION_MESSAGE_BODY"]
PARTS: tuple[Part, ...] = get_args(Part)
RETURN_FIELDS = (
    "attachmentcount",
    "status",
    "subject",
    "size",
    "receiveddate",
    "displayfrom",
    "displayfromaddress",
    "id",
    "displayto",
    "displaytoaddresslist",
    "smash",
)


class ListMailItem(Item):
    """Item of get-message-list (2.1). Without a mailbox: one's own."""

    view: str | None = None
    mailbox: str | None = None
    start: str | None = None
    end: str | None = None
    include_delegates: bool | None = None
    include_aliases: bool | None = None


class MailRow(Row):
    """One message in a mailbox (2.1). What follows `expired` is ours: on Mimecast it is absent."""

    id: str
    status: str = ""
    received: str = ""
    from_: Address | None = Field(default=None, alias="from")
    to: Address | list[Address] | None = None
    subject: str = ""
    size: int = 0
    attachment_count: int = 0
    smash: str = ""
    read: bool | None = None
    ccm: bool | None = None
    recalled: bool | None = None
    expired: bool | None = None
    envelope_from: str | None = None
    has_attachments: bool | None = None
    folder: str | None = None
    mailbox: str | None = None
    route: str | None = None


class BrowseItem(Item):
    """Item of messages.browse: whose mail, and every filter at once; all of them must match.

    `folder` is one of `FOLDERS`; without it everything that is kept. `words` makes it a search, best first;
    `everyone` is the whole archive. With `ids` those messages alone, whosever of them the caller may see.
    """

    ids: list[str] | None = None
    folder: str | None = None
    mailbox: str | None = None
    everyone: bool | None = None
    words: str | None = None
    from_: str | None = Field(default=None, alias="from")
    to: str | None = None
    subject: str | None = None
    start: str | None = None
    end: str | None = None
    attachments: bool | None = None
    larger_than: int | None = None


class MailDetailItem(Item):
    """Item of archive/get-message-detail (2.2); `context` is one of `CONTEXTS`."""

    id: str
    context: str | None = None
    admin: bool | None = None


class MailDetailRow(DetailRow):
    """Headers, addresses and attachments of one message; the preview has at most 100 characters."""

    message_body_preview: str = ""


class PartItem(Item):
    """Item of get-message-part (2.3): one of `PARTS`. The flags are API 2.0's."""

    id: str
    type: str
    context: str | None = None
    mailbox: str | None = None
    extract_from_html: bool | None = None
    strip_dangerous: bool | None = None
    strip_img: bool | None = None
    strip_styles: bool | None = None
    transpose_inline_cid: bool | None = Field(default=None, alias="transposeInlineCID")


class MailFileItem(Item):
    """An attachment's id; on API 2.0 and local portals also a message's, for all of it (2.4)."""

    id: str
    admin: bool | None = None


class MailFileRow(Row):
    """API 2.0 answers with short-lived URLs; API 1.0 and the local portal with the octets."""

    urls: list[str] = []


class MailFetchItem(Item):
    """The query of a URL that messages.file answered with. `context` alone decides."""

    method: str = "GET"
    expires: str = ""
    context: str = ""


class FindMailItem(Item):
    """Item of archive/search (2.5): a query in XML. Without `admin` an app finds nothing."""

    query: str
    admin: bool | None = None


class FoundRow(Row):
    """One message that was found (2.5), with the fields that were asked for."""

    id: str = ""
    status: str = ""
    smash: str = ""
    subject: str = ""
    size: int = 0
    attachmentcount: int = 0
    receiveddate: str = ""
    displayfrom: str = ""
    displayfromaddress: str = ""
    displayto: str = ""
    displaytoaddresslist: list[Address] = []


def _mimecast(permission: str, permission2: str | None = None) -> dict[Any, Offer]:
    return {
        "api1": Offer(permission),
        "api2": Offer(permission if permission2 is None else permission2),
        "local": Offer(),
    }


LIST = Endpoint(
    "messages.list",
    "/api/archive/get-message-list",
    ListMailItem,
    MailRow,
    _mimecast("Archive | Search | Read"),
    paging="token",
)
BROWSE = Endpoint(
    "messages.browse", "/api/portal/messages/browse", BrowseItem, MailRow, {"local": Offer()}, paging="token"
)
DETAIL = Endpoint(
    "messages.detail",
    "/api/archive/get-message-detail",
    MailDetailItem,
    MailDetailRow,
    _mimecast("Archive | Search Content View"),
)
PART = Endpoint(
    "messages.part",
    "/api/archive/get-message-part",
    PartItem,
    MailFileRow,
    _mimecast("Archive | Search Content View", "Archive | Read"),
    answer="bytes",
)
FILE = Endpoint(
    "messages.file",
    "/api/archive/get-file",
    MailFileItem,
    MailFileRow,
    _mimecast("Archive | Search Content View", "Archive | Read"),
    answer="bytes",
)
# Where the URLs of a local portal lead; Mimecast's lead to hosts of their own.
FETCH = Endpoint(
    "messages.fetch",
    "/api/archive/get-file",
    MailFetchItem,
    MailFileRow,
    {"api2": Offer("none"), "local": Offer()},
    method="GET",
    authorised=False,
    form="query",
    answer="bytes",
)
FIND = Endpoint(
    "messages.find",
    "/api/archive/search",
    FindMailItem,
    FoundRow,
    _mimecast("Archive | Search | Read"),
    rows_at="items",
    paging="token",
)

ENDPOINTS = (LIST, BROWSE, DETAIL, PART, FILE, FETCH, FIND)
