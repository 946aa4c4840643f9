"""Secure messages."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, UniqueConstraint

from mimeportal_server.store.tables.columns import flag, id_, metadata, number, text_, to

# One secure message; its octets are those of a message. What its sender lets recipients do is kept here, as it was
# defined when it was sent.
secure_messages = Table(
    "secure_messages",
    metadata,
    id_(),
    to("message_id", "messages.id"),
    to("person_id", "people.id"),  # its sender
    text_("sender"),
    text_("sender_name"),
    text_("direction"),  # outbound | inbound | internal
    text_("subject"),
    text_("folded"),  # subject and everybody's addresses, as caseless matching sees them
    number("size"),
    flag("has_attachments"),
    number("sent"),
    text_("definition"),
    text_("option"),  # of the six after Send; "" where a definition was chosen
    text_("policy"),  # the rule that sent it securely; "" where its sender did
    flag("print"),
    flag("reply"),
    flag("reply_all"),
    flag("read_receipt"),
    Column("expires", Integer),
    Column("extended", Integer),
    Column("opened", Integer),  # by the first of its recipients
    Column("recalled", Integer),
    to("recalled_by", "people.id", nullable=True),
    to("answers", "secure_messages.id", nullable=True),
)
Index("secure_messages_sent", secure_messages.c.sent)
Index("secure_messages_message", secure_messages.c.message_id)

# A secure message for each of its people: in a folder of theirs, or how else it reaches them.
secure_copies = Table(
    "secure_copies",
    metadata,
    id_(),
    to("secure_id", "secure_messages.id"),
    to("person_id", "people.id"),
    text_("address"),
    text_("name"),
    text_("part"),  # sender | to | cc
    text_("way"),  # portal | link: it waits here, in no list | mail; "" for its sender
    text_("folder"),  # inbox | sent | deleted; "" for what is in no list
    flag("unread"),
    flag("withdrawn"),  # recalled: it is in no list of theirs any more
    number("sent"),
    Column("opened", Integer),
    UniqueConstraint("secure_id", "person_id", "part"),
)
# With what every list of a folder also asks for, so that counting it reads nothing else.
Index(
    "secure_copies_folder",
    secure_copies.c.person_id,
    secure_copies.c.folder,
    secure_copies.c.id,
    secure_copies.c.sent,
    secure_copies.c.withdrawn,
)
