"""What travels about the account, and about each mailbox: its preferences, contacts and delegates."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

from pydantic import Field

from mimeportal.wire import Endpoint, Item, Offer, Row

# What a preference may be; the first is the default (portal-rules C.9).
DateFormat = Literal["yyyy-MM-dd", "dd/MM/yyyy", "MM/dd/yyyy", "dd.MM.yyyy", "dd MMM yyyy"]
DATE_FORMATS: tuple[DateFormat, ...] = get_args(DateFormat)
TimeFormat = Literal["24h", "12h"]
TIME_FORMATS: tuple[TimeFormat, ...] = get_args(TimeFormat)
Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
DAYS: tuple[Day, ...] = get_args(Day)
HomePage = Literal["inbox", "sent", "search", "holds", "bounced", "rejected", "senders", "largefiles", "secure"]
HOME_PAGES: tuple[HomePage, ...] = get_args(HomePage)


class AccountItem(Item):
    """No argument: the account of whoever asks."""


class AccountRow(Row):
    """The account, as far as mimeportal reads it; Mimecast sends many more fields, which are kept."""

    account_code: str = ""
    account_name: str = ""
    domain: str = ""
    region: str = ""
    user_count: int | None = None


class WhoAmIItem(Item):
    """No argument."""


class WhoAmIRow(Row):
    """The caller as the portal knows them: address, role, whose held mail they moderate, as whom they may act.

    The time zone, the formats and the first day of the week are those the caller prefers, else the account's. `now` is
    what time it is at the portal, whose clock decides.
    """

    email_address: str
    role: str
    moderates: list[str] = []
    delegated: list[str] = []
    time_zone: str = "UTC"
    date_format: str = DATE_FORMATS[0]
    time_format: str = TIME_FORMATS[0]
    first_day_of_week: str = DAYS[0]
    account_code: str = ""
    domains: list[str] = []
    now: datetime | None = None


class PasswordItem(Item):
    """A new password, and the current one where there is one."""

    password: str | None = Field(default=None, repr=False)
    new_password: str = Field(repr=False)


class PasswordRow(Row):
    """Whose password was set."""

    email_address: str


class MailboxItem(Item):
    """Whose mailbox is meant (none: the caller's)."""

    mailbox: str | None = None


class PreferencesRow(Row):
    """What holds for one mailbox: what its owner chose, else the default. `chosen` names what was chosen.

    `language` is a BCP 47 tag, `time_zone` a name as Europe/London, `signature` text.
    """

    email_address: str
    language: str = "en"
    time_zone: str = "UTC"
    date_format: str = DATE_FORMATS[0]
    time_format: str = TIME_FORMATS[0]
    first_day_of_week: str = DAYS[0]
    home_page: str = HOME_PAGES[0]
    signature: str = ""
    chosen: list[str] = []


class SetPreferencesItem(Item):
    """What a mailbox is to prefer from now on, by the names of `PreferencesRow`; `unset` names what it gives up."""

    mailbox: str | None = None
    preferences: dict[str, str] = {}
    unset: list[str] = []


class MostUsedContactsItem(Item):
    """No argument: of whoever asks (mimecast-api-portal 5.3)."""


class ContactRow(Row):
    """One contact. Mimecast's names are unknown: these are ours, and whatever else comes is kept."""

    email_address: str = ""
    name: str = ""
    uses: int | None = None
    last_used: str | None = None


class FindContactsItem(Item):
    """Contacts of a mailbox, or with `everyone` the portal's people; `search` is part of an address or a name."""

    mailbox: str | None = None
    everyone: bool | None = None
    search: str | None = None


class FindDelegatesItem(Item):
    """Item of find-delegate-users (mimecast-api-portal 5.5): whose delegates."""

    primary_address: str | None = None


class DelegateRow(Row):
    """One delegation. No source shows these rows: the names are those of the request that adds one."""

    id: str = ""
    primary_address: str = ""
    delegate_address: str = ""


class AddDelegateItem(Item):
    """Item of add-delegate-user: `delegate_address` may act as the owner of `primary_address`."""

    primary_address: str
    delegate_address: str


class RemoveDelegateItem(Item):
    """Item of remove-delegate-user: the id that find-delegate-users tells."""

    id: str


class DelegateChangeRow(Row):
    """The delegation that was changed. `outcome` is ours: `already` where it stood so before."""

    id: str = ""
    success: bool = False
    outcome: str = "done"


class DelegatedAccessItem(Item):
    """No argument."""


class AccessRow(Row):
    """One account that the caller reaches; `email_address`, the mailbox in it, is ours."""

    account_code: str = ""
    region_code: str = ""
    adcon_url: str = ""
    role_id: int | None = None
    role_name: str = ""
    email_address: str = ""


class DelegatedAccessRow(Row):
    """Answer of get-delegated-access (mimecast-api-portal 5.3): one's own account, and what else is reached."""

    local_account: AccessRow | None = None
    delegate_access: list[AccessRow] = []


SHOW = Endpoint(
    "account.show",
    "/api/account/get-account",
    AccountItem,
    AccountRow,
    {
        "api1": Offer("Account | Dashboard | Read"),
        "api2": Offer("Account | Dashboard | Read"),
        "local": Offer(),
    },
    count=(0, 1),
)

WHOAMI = Endpoint(
    "account.whoami",
    "/api/portal/account/whoami",
    WhoAmIItem,
    WhoAmIRow,
    {"local": Offer()},
    count=(0, 1),
    outsiders=True,
)

PASSWORD = Endpoint(
    "account.password",
    "/api/portal/account/password",
    PasswordItem,
    PasswordRow,
    {"local": Offer()},
    repeat="never",
    outsiders=True,
)

PREFERENCES = Endpoint(
    "account.preferences",
    "/api/portal/account/preferences",
    MailboxItem,
    PreferencesRow,
    {"local": Offer()},
    outsiders=True,
)
SET_PREFERENCES = Endpoint(
    "account.set_preferences",
    "/api/portal/account/set-preferences",
    SetPreferencesItem,
    PreferencesRow,
    {"local": Offer()},
    repeat="keyed",  # set twice is set once
    outsiders=True,
)

MOST_USED_CONTACTS = Endpoint(
    "account.most_used_contacts",
    "/api/user/get-most-used-contacts",
    MostUsedContactsItem,
    ContactRow,
    {"api1": Offer("none"), "api2": Offer("none"), "local": Offer()},
    count=(0, 1),
)
FIND_CONTACTS = Endpoint(
    "account.find_contacts",
    "/api/portal/account/contacts",
    FindContactsItem,
    ContactRow,
    {"local": Offer()},
    paging="token",
    outsiders=True,
)

_ALTERNATE = "Directories | Internal | Create Alternate Address"
_DELEGATES: dict[Any, Offer] = {"api1": Offer(_ALTERNATE), "api2": Offer(_ALTERNATE), "local": Offer()}
FIND_DELEGATES = Endpoint(
    "account.find_delegates",
    "/api/user/find-delegate-users",
    FindDelegatesItem,
    DelegateRow,
    _DELEGATES,
    paging="token",
)
ADD_DELEGATE = Endpoint(
    "account.add_delegate",
    "/api/user/add-delegate-user",
    AddDelegateItem,
    DelegateChangeRow,
    _DELEGATES,
    repeat="keyed",  # a delegate twice is a delegate once
)
REMOVE_DELEGATE = Endpoint(
    "account.remove_delegate",
    "/api/user/remove-delegate-user",
    RemoveDelegateItem,
    DelegateChangeRow,
    _DELEGATES,
    repeat="keyed",
)
DELEGATED_ACCESS = Endpoint(
    "account.delegated_access",
    "/api/user/get-delegated-access",
    DelegatedAccessItem,
    DelegatedAccessRow,
    {"api1": Offer("all users"), "local": Offer()},
    count=(0, 1),
)

ENDPOINTS = (
    SHOW,
    WHOAMI,
    PASSWORD,
    PREFERENCES,
    SET_PREFERENCES,
    MOST_USED_CONTACTS,
    FIND_CONTACTS,
    FIND_DELEGATES,
    ADD_DELEGATE,
    REMOVE_DELEGATE,
    DELEGATED_ACCESS,
)
