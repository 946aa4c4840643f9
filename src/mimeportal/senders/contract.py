"""What travels about managed senders: Mimecast's two operations, and the lists that it has no API for."""

from __future__ import annotations

from typing import Any, Literal, get_args

from mimeportal import limits
from mimeportal.wire import Endpoint, Item, Offer, Row

# The lists of the portal (portal-rules D.1); those that take entries by hand, and several of them at once.
SenderList = Literal["blocked", "permitted", "auto-permitted", "trusted"]
LISTS: tuple[SenderList, ...] = get_args(SenderList)
WritableList = Literal["blocked", "permitted", "trusted"]
WRITABLE: tuple[WritableList, ...] = get_args(WritableList)
SEVERAL = ("blocked", "permitted")
# What an administrator's view tells of an entry beside its list (portal-rules D.22).
PolicyType = Literal["manual", "auto", "disabled", "trusted"]
POLICY_TYPES: tuple[PolicyType, ...] = get_args(PolicyType)
# What would become of mail from a sender.
OUTCOMES = ("refused", "dropped", "permitted", "held", "undecided")


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


class BulkDeleteItem(Item):
    """Body of senders/bulk-delete: senders off the lists of everybody (mimecast-api-portal 1.3).

    `type` is `auto` or `manual`, `action` is `permit` or `block`, one of them at the most; `trusted` filters likewise.
    """

    ids: list[str]
    type: str | None = None
    action: str | None = None
    trusted: bool | None = None


class BulkDeleteRow(Row):
    """How many entries went; what Mimecast answers is not documented, so it may tell nothing."""

    deleted_count: int | None = None


class ListSendersItem(Item):
    """Which list (none: all), whose (none: the caller's), a word to search for, `entry_type` and `policy_type`."""

    list: str | None = None
    mailbox: str | None = None
    search: str | None = None
    entry_type: str | None = None
    policy_type: str | None = None


class SenderRow(Row):
    """One entry of one person's list. `type` is `address` or `domain`; `expires` is told of auto-permitted ones."""

    entry: str
    list: str
    type: str
    mailbox: str
    added: str
    source: str = ""
    policy_type: str = "manual"
    expires: str | None = None


class AddSenderItem(Item):
    """One entry to add to one list of one mailbox (none: the caller's)."""

    entry: str
    list: str
    mailbox: str | None = None


class RemoveSenderItem(Item):
    """One entry to take off one list (none: whichever it is on) of one mailbox (none: the caller's)."""

    entry: str
    list: str | None = None
    mailbox: str | None = None


class ChangeSenderRow(Row):
    """`outcome` is `done`, or `already` when it stood so before; `moved_from` is the list it left.

    `list` is none for an entry that was to be taken off whichever list it is on, and was on none.
    """

    entry: str
    list: str | None = None
    mailbox: str
    outcome: str
    moved_from: str | None = None


class ImportSendersItem(Item):
    """Many entries for one list of one mailbox (none: the caller's): each by itself, the bad ones are failures.

    A `dry_run` is answered alike, and changes nothing.
    """

    entries: list[str]
    list: str
    mailbox: str | None = None
    dry_run: bool | None = None


class ImportSendersRow(Row):
    """How many entries were added, of them moved from another list, and how many stood so before."""

    list: str
    mailbox: str
    added: int
    moved: int
    already: int


class CheckSenderItem(Item):
    """Whose mail: the From header's address, and the envelope's (none: the same; "": the null sender); to whom."""

    sender: str
    envelope: str | None = None
    mailbox: str | None = None


class CheckSenderRow(Row):
    """What would happen to mail from a sender to a mailbox, and what decides it.

    outcome     `refused` in the protocol, `dropped` once it is here, `permitted`, `held` whatever it is, `undecided`
    decided_by  the entry, policy or rule that decides; `entry` and `part` (`header`, `envelope`) what it names
    skipped     hold rules that a permit skips
    may_hold    hold rules that could hold it, by what they say of the sender and the recipient
    trusted     whether the address is on the trusted list
    why         the same in a sentence
    """

    sender: str
    envelope: str
    mailbox: str
    outcome: str
    decided_by: str = ""
    entry: str = ""
    part: str = ""
    skipped: list[str] = []
    may_hold: list[str] = []
    trusted: bool = False
    why: str = ""


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
BULK_DELETE = Endpoint(
    "senders.bulk_delete",
    "/email/cloud-gateway/v1/managed-senders/senders/bulk-delete",
    BulkDeleteItem,
    BulkDeleteRow,
    {"api2": Offer("Gateway | Managed Senders | Edit"), "local": Offer()},
    form="json",
    answer="object",
    count=(1, limits.SENDERS_DELETED),
    counted="ids",
    repeat="keyed",
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
    AddSenderItem,
    ChangeSenderRow,
    {"local": Offer()},
    count=(1, limits.SENDERS_ADDED),
    repeat="keyed",
)
REMOVE = Endpoint(
    "senders.remove",
    "/api/portal/senders/remove",
    RemoveSenderItem,
    ChangeSenderRow,
    {"local": Offer()},
    count=(1, limits.SENDERS_ADDED),
    repeat="keyed",
)
IMPORT = Endpoint(
    "senders.import",
    "/api/portal/senders/import",
    ImportSendersItem,
    ImportSendersRow,
    {"local": Offer()},
    count=(1, limits.SENDERS_IMPORTED),
    counted="entries",
    repeat="keyed",
)
CHECK = Endpoint(
    "senders.check",
    "/api/portal/senders/check",
    CheckSenderItem,
    CheckSenderRow,
    {"local": Offer()},
)

ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (PERMIT_OR_BLOCK, BULK_DELETE, LIST, ADD, REMOVE, IMPORT, CHECK)
