"""Whoever can ask, and what belongs to one mailbox."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, Table, Text, UniqueConstraint

from mimeportal_server.store.tables.columns import NEVER_AGAIN, flag, id_, metadata, number, text_, to

# Whoever can ask: people, and apps, which act for the account (`apps` below). An app has no address: `app:NAME`.
people = Table(
    "people",
    metadata,
    id_(),
    Column("address", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False, default="person"),  # person | app | outside: of a secure message, no more
    text_("role"),  # user | administrator | outside
    Column("login", Text, nullable=False, default="cloud"),  # cloud | domain | sso | two-step
    text_("password"),  # its Argon2 hash; "" where none was ever set
    number("password_set"),  # when it was
    flag("content_view"),  # an administrator may see the content of held mail
    flag("disabled"),
    number("epoch"),  # raised by whatever must end the person's tokens
    number("octets"),  # of all mail that is kept for them
    number("created"),
)

moderates = Table(
    "moderates",
    metadata,
    to("person_id", "people.id"),
    Column("scope", Text, nullable=False),  # an address or a domain
    UniqueConstraint("person_id", "scope"),
)

# Who may act as whom: the whole mailbox, as its owner (portal-rules C.8).
delegates = Table(
    "delegates",
    metadata,
    id_(),
    to("owner_id", "people.id"),
    to("delegate_id", "people.id"),
    number("added"),
    UniqueConstraint("delegate_id", "owner_id"),
    **NEVER_AGAIN,
)

# How somebody wants dates, pages and mail; what is not set is the account's (portal-rules C.9, F.21).
preferences = Table(
    "preferences",
    metadata,
    Column("person_id", Integer, ForeignKey("people.id"), primary_key=True),
    text_("chosen"),  # JSON
)

# To whom somebody wrote, how often and when last.
contacts = Table(
    "contacts",
    metadata,
    to("person_id", "people.id"),
    Column("address", Text, nullable=False),
    text_("name"),
    number("uses"),
    number("last_used"),
    UniqueConstraint("person_id", "address"),
)
