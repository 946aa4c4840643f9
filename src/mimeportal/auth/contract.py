"""What travels to log in: OAuth 2.0 of API 2.0, bindings of API 1.0 (mimecast-api-core 2 and 3)."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, Field

from mimeportal.wire import Endpoint, Item, Offer, Row

# What discover-authentication names, and what can be done with it here.
CLOUD_PASSWORD = "Basic-Cloud"  # noqa: S105
DOMAIN_PASSWORD = "Basic-AD"  # noqa: S105
SINGLE_SIGN_ON = "SAML"
TWO_STEP = "two_step"  # the binding type of a log-in that wants a second factor


class TokenItem(Item):
    """The form of /oauth/token (mimecast-api-core 3.1)."""

    grant_type: str = Field(default="client_credentials", alias="grant_type")
    client_id: str = Field(default="", alias="client_id")
    client_secret: str = Field(default="", alias="client_secret", repr=False)


class TokenRow(Row):
    """A bearer token; `expires_in` is in seconds."""

    access_token: str = Field(alias="access_token", repr=False)
    token_type: str = Field(default="Bearer", alias="token_type")
    expires_in: int = Field(default=1799, alias="expires_in")
    scope: str = ""


class DiscoverItem(Item):
    """Whose log-in is asked about (mimecast-api-core 2.2)."""

    email_address: str


class Region(Row):
    """Where an account is served: a code such as `eu`, and the URL of its API."""

    code: str = ""
    api: str = ""


class DiscoverRow(Row):
    """The region of an address, and the ways it may log in: `Basic-Cloud`, `Basic-AD`, ..."""

    email_address: str = ""
    email_token: str = ""
    region: Region = Field(default_factory=Region)
    authenticate: list[str] = []


class LoginItem(Item):
    """Whose binding; `access_key` refreshes an expired one (mimecast-api-core 2.3)."""

    username: str = Field(validation_alias=AliasChoices("username", "userName"))
    access_key: str | None = Field(default=None, repr=False)


class LoginRow(Row):
    """A binding; `duration` is its life in milliseconds."""

    access_key: str = Field(repr=False)
    secret_key: str = Field(repr=False)
    duration: int = 0
    binding_type: str = ""
    extend_on_validate: bool = False
    last_user_token: str = Field(default="", repr=False)
    username: str = ""
    password_is_one_time: bool | None = None  # ours: another password should be set now


class LogoutItem(Item):
    """The binding that ends."""

    access_key: str


class LogoutRow(Row):
    """Nothing is known of it."""


class AppItem(Item):
    """No argument."""


class AppRow(Row):
    """The built-in application of a local portal, for people who log in with a password: it grants nothing."""

    app_id: str
    app_key: str = Field(repr=False)


_MIMECAST_1: dict[Any, Offer] = {"api1": Offer("none"), "local": Offer()}

TOKEN = Endpoint(
    "auth.token",
    "/oauth/token",
    TokenItem,
    TokenRow,
    {"api2": Offer("none"), "local": Offer()},
    authorised=False,
    form="form",
    answer="object",
)
DISCOVER = Endpoint(
    "auth.discover",
    "/api/login/discover-authentication",
    DiscoverItem,
    DiscoverRow,
    _MIMECAST_1,
    host="global",
    authorised=False,
)
LOGIN = Endpoint("auth.login", "/api/login/login", LoginItem, LoginRow, _MIMECAST_1, authorised=False, repeat="never")
LOGOUT = Endpoint(
    "auth.logout", "/api/login/logout", LogoutItem, LogoutRow, _MIMECAST_1, repeat="keyed", outsiders=True
)
APP = Endpoint("auth.app", "/api/portal/auth/app", AppItem, AppRow, {"local": Offer()}, authorised=False, count=(0, 1))

ENDPOINTS = (TOKEN, DISCOVER, LOGIN, LOGOUT, APP)
