"""What people and programs log in with, and what of it is remembered."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text

from mimeportal_server.store.tables.columns import id_, metadata, number, text_, to

tokens = Table(
    "tokens",
    metadata,
    Column("hash", Text, primary_key=True),
    text_("purpose"),
    to("person_id", "people.id"),
    text_("object"),
    number("epoch"),
    number("expires"),
    number("uses_left"),
)

# Applications. API 2.0: client id and secret; API 1.0: app id, whose key is derived from it and secret.key.
# The built-in one, for people who log in with a password, acts for nobody and has no client id.
apps = Table(
    "apps",
    metadata,
    id_(),
    Column("name", Text, nullable=False, unique=True),
    to("person_id", "people.id", nullable=True),
    Column("client_id", Text, unique=True),
    text_("client_secret"),  # its SHA-256, hex
    Column("app_id", Text, nullable=False, unique=True),
    number("created"),
)

# Bindings of API 1.0: an access key, whose secret key is derived from it and secret.key, for one person in one app.
bindings = Table(
    "bindings",
    metadata,
    id_(),
    Column("access_key", Text, nullable=False, unique=True),  # its SHA-256, hex
    to("app_id", "apps.id"),
    to("person_id", "people.id"),
    number("epoch"),  # of the person when it was made: a higher one ends it
    Column("expires", Integer),  # by the machine's clock; none: never
    number("created"),
)

# Signed requests that were acted on, for as long as their dates would be accepted (promises E.4).
signed_requests = Table(
    "signed_requests",
    metadata,
    Column("request", Text, primary_key=True),  # binding and request id
    Column("at", Integer, nullable=False, index=True),
)

# Log-ins that failed, of known and unknown addresses alike (promises E.3).
login_failures = Table(
    "login_failures",
    metadata,
    id_(),
    text_("address"),
    text_("network"),
    number("at"),
)
Index("login_failures_address", login_failures.c.address, login_failures.c.at)
