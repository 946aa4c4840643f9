"""What travels about managed senders: Mimecast's one operation, and the lists that it has no API for."""

from __future__ import annotations

from mimeportal import limits
from mimeportal.wire import Endpoint, Item, Offer, Row

# The lists of the portal (portal-rules D.1). Which of them take entries by hand: `WRITABLE`.
LISTS = ("blocked", "permitted")
WRITABLE = ("blocked", "permitted")


class PermitOrBlockItem(Item):
    """Item of permit-or-block-sender (mimecast-api-core 6.12): `action` is `permit` or `block`."""

    sender: str
    to: str
    action: str = ""


class PermitOrBlockRow(Row):
    """The entry that stands now; `type` is `Permit` or `Block`, capitalised."""

    id: str = ""
    sender: str = ""
    to: str = ""
    type: str = ""


class ListSendersItem(Item):
    """Which list (`blocked`, `permitted`; none: both), whose (none: the caller's), and a word to search for."""

    list: str | None = None
    mailbox: str | None = None
    search: str | None = None
    entry_type: str | None = None


class SenderRow(Row):
    """One entry of one person's list. `type` is `address` or `domain`."""

    entry: str
    list: str
    type: str
    mailbox: str
    added: str
    source: str = ""


class ChangeSenderItem(Item):
    """One entry to add to, or take off, one list of one mailbox (none: the caller's)."""

    entry: str
    list: str
    mailbox: str | None = None


class ChangeSenderRow(Row):
    """`outcome` is `done`, or `already` when it stood so before; `moved_from` is the list it left."""

    entry: str
    list: str
    mailbox: str
    outcome: str
    moved_from: str | None = None


PERMIT_OR_BLOCK = Endpoint(
    "senders.permit_or_block",
    "/api/managedsender/permit-or-block-sender",
    PermitOrBlockItem,
    PermitOrBlockRow,
    {
        "api1": Offer("Gateway | Managed Senders | Edit"),
        "api2": Offer("Gateway | Managed Senders | Edit"),
        "local": Offer(),
    },
    count=(1, 100),
    repeat="keyed",  # the same entry twice is one entry
)
LIST = Endpoint(
    "senders.list",
    "/api/portal/senders/list",
    ListSendersItem,
    SenderRow,
    {"local": Offer()},
    paging="token",
)
ADD = Endpoint(
    "senders.add",
    "/api/portal/senders/add",
    ChangeSenderItem,
    ChangeSenderRow,
    {"local": Offer()},
    count=(1, limits.SENDERS_ADDED),
    repeat="keyed",
)
REMOVE = Endpoint(
    "senders.remove",
    "/api/portal/senders/remove",
    ChangeSenderItem,
    ChangeSenderRow,
    {"local": Offer()},
    count=(1, limits.SENDERS_ADDED),
    repeat="keyed",
)

ENDPOINTS = (PERMIT_OR_BLOCK, LIST, ADD, REMOVE)
