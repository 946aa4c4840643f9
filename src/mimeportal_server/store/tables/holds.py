"""Held messages."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ForeignKey, Index, Integer, Table, text

from mimeportal_server.store.tables.columns import flag, id_, metadata, number, text_, to

# For SQLite alone: an argument for another engine would import its whole dialect at every start.
_HELD: dict[str, Any] = {"sqlite_where": text("state = 'held'")}

# One message held for one recipient. What lists show and filter by is kept here once more, so that no list
# joins; subject_folded is the subject as caseless matching sees it.
holds = Table(
    "holds",
    metadata,
    id_(),
    to("message_id", "messages.id"),
    to("person_id", "people.id"),
    text_("recipient"),
    text_("state"),  # held | released | rejected | expired
    text_("level"),  # user | moderator | administrator
    text_("kind"),  # spam | attachment | content | impersonation | other
    text_("reason"),
    text_("reason_code"),
    text_("policy"),
    text_("route"),
    text_("from_address"),
    text_("from_header"),
    text_("from_name"),
    text_("subject"),
    text_("subject_folded"),
    number("size"),
    flag("has_attachments"),
    number("received"),
    Column("decided", Integer),
    to("decided_by", "people.id", nullable=True),
    text_("request_id"),
    text_("reject_reason"),
)
Index("holds_message", holds.c.message_id)
# With what every list of one mailbox also asks for, so that counting it reads nothing else.
Index("held_recipient", holds.c.recipient, holds.c.id, holds.c.level, holds.c.received, **_HELD)
Index("held_level", holds.c.level, holds.c.id, **_HELD)
Index("held_from", holds.c.from_address, holds.c.id, **_HELD)
Index("held_from_header", holds.c.from_header, holds.c.id, **_HELD)
Index("held_received", holds.c.received, **_HELD)
Index("holds_decided", holds.c.decided)

# Up to which hold somebody's digests told of them (portal-rules B.40).
digests = Table(
    "digests",
    metadata,
    Column("person_id", Integer, ForeignKey("people.id"), primary_key=True),
    number("last_hold"),
)
