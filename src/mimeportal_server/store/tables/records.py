"""What was done, asked for and counted; and the home's own facts."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, PrimaryKeyConstraint, Table, Text, text

from mimeportal_server.store.tables.columns import id_, metadata, number, text_, to

facts = Table("facts", metadata, Column("name", Text, primary_key=True), text_("value"))

# Requests that created something, by the id that their client gave them (promises C.7).
requested = Table(
    "requested",
    metadata,
    to("person_id", "people.id"),
    Column("request_id", Text, nullable=False),
    text_("content"),  # SHA-256 of what was asked, hex
    text_("answer"),  # JSON
    Column("at", Integer, nullable=False, index=True),
    PrimaryKeyConstraint("person_id", "request_id"),
)

# Every act (promises F.3): surrogate ids here, addresses and subjects in the detail row that erasure deletes.
audit = Table(
    "audit",
    metadata,
    id_(),
    number("at"),
    text_("door"),
    to("actor", "people.id", nullable=True),
    text_("action"),
    text_("outcome"),
    text_("object_kind"),
    Column("object_id", Integer),
    text_("request_id"),
)
Index("audit_at", audit.c.at)
Index("audit_log_ins", audit.c.at, sqlite_where=text("action = 'log in'"))
# The log of a secure message is what was done with it; no other object's acts are looked up.
Index(
    "audit_secure",
    audit.c.object_id,
    audit.c.id,
    sqlite_where=text("object_kind = 'secure'"),
)
audit_details = Table(
    "audit_details",
    metadata,
    Column("audit_id", Integer, ForeignKey("audit.id"), primary_key=True),
    text_("detail"),  # JSON
)

# What reports count, day by day in the account's zone: written in the transaction of the act, and never less true
# than the rows themselves, of which `counting.recount` makes it anew.
day_counts = Table(
    "day_counts",
    metadata,
    Column("report", Text, nullable=False),  # traffic | held
    Column("day", Text, nullable=False),  # 2026-11-03
    Column("part", Text, nullable=False),  # a route, or the reason of a hold
    Column("event", Text, nullable=False),  # passed, held, ...; or seconds, of which `number` is the sum
    number("number"),
    PrimaryKeyConstraint("report", "day", "part", "event"),
)
