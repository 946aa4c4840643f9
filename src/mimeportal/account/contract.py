"""What travels about the account itself."""

from __future__ import annotations

from pydantic import Field

from mimeportal.wire import Endpoint, Item, Offer, Row


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
    """The caller as the portal knows them: address, role, and whose held mail they moderate."""

    email_address: str
    role: str
    moderates: list[str] = []
    time_zone: str = "UTC"
    account_code: str = ""
    domains: list[str] = []


class PasswordItem(Item):
    """A new password, and the current one where there is one."""

    password: str | None = Field(default=None, repr=False)
    new_password: str = Field(repr=False)


class PasswordRow(Row):
    """Whose password was set."""

    email_address: str


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

ENDPOINTS = (SHOW, WHOAMI, PASSWORD)
