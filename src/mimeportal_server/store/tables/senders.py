"""Sender lists."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text, UniqueConstraint, text

from mimeportal_server.store.tables.columns import NEVER_AGAIN, flag, id_, metadata, number, text_, to

# Managed senders. One sender stands on one of a person's lists (portal-rules D.14); trusted is a list apart (D.5).
senders = Table(
    "senders",
    metadata,
    id_(),
    to("person_id", "people.id"),  # entries follow the person, whatever their address (D.20)
    Column("key", Text, nullable=False),  # the entry, of a trusted one marked so: what may stand there once
    Column("entry", Text, nullable=False),
    text_("type"),  # address | domain
    text_("list"),  # blocked | permitted | auto-permitted | trusted
    text_("source"),
    number("added"),
    Column("expires", Integer),  # auto-permitted: when it lapses, unless mail is sent there again (D.18)
    flag("disabled"),  # auto-permitted: mail from there was suspected spam (D.19)
    UniqueConstraint("person_id", "key"),
    **NEVER_AGAIN,
)
Index("senders_expires", senders.c.expires, sqlite_where=text("expires IS NOT NULL"))
