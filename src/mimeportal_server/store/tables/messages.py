"""Messages: what arrived, where it lies, the words it is found by, what is being written, what leaves."""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    column,
    event,
    table,
    text,
)

from mimeportal_server.store.tables.columns import NEVER_AGAIN, flag, id_, metadata, number, text_, to

# One accepted message: its octets lie in blobs/, its envelope and what was parsed of it here.
messages = Table(
    "messages",
    metadata,
    id_(),
    Column("blob", Text, nullable=False, index=True),  # SHA-256, hex
    number("size"),
    text_("envelope_from"),
    text_("from_header"),  # the one address of From; "" where there is none or several
    text_("from_name"),
    text_("subject"),
    text_("mime_message_id"),
    text_("route"),
    text_("remote_ip"),  # of the server that brought it; "" for what was imported
    text_("remote_host"),  # as it named itself
    flag("encrypted"),  # it came over TLS
    flag("has_attachments"),
    number("attachment_count"),  # without images that the HTML shows
    text_("no_notice"),  # why its sender is never told of a rejection; "" when it may be told
    # At whose return path of ours a bounce of it counts: whoever composed it; none for mail that came otherwise.
    to("bounces_to", "people.id", nullable=True),
    number("received"),
    Column("purge_marked", Integer),  # when it was found to be no longer kept
    Column("purged", Integer),  # when its octets were deleted
)
Index("messages_mime", messages.c.mime_message_id)

Index("messages_received", messages.c.received)

# One import item, so that the same import again adds nothing (promises C.1).
imports = Table(
    "imports",
    metadata,
    Column("path", Text, nullable=False),
    Column("position", Text, nullable=False),
    Column("blob", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    to("message_id", "messages.id"),
    UniqueConstraint("blob", "path", "position", "recipient"),
)

# What screening did with a message for one recipient.
copies = Table(
    "copies",
    metadata,
    id_(),
    to("message_id", "messages.id"),
    to("person_id", "people.id"),  # whose it is: the recipient, or who sent it outside
    text_("recipient"),
    text_("outcome"),  # delivered | held | blocked | sent
    text_("decided_by"),  # the entry, policy or rule that decided
    text_("named"),  # to | cc | bcc: where one of our people named the recipient; "" in mail that came otherwise
)
Index("copies_message", copies.c.message_id)

# What lies in somebody's mailbox: a view of the archive, which is never changed but by a report as junk.
mailbox = Table(
    "mailbox",
    metadata,
    id_(),
    to("message_id", "messages.id"),
    to("person_id", "people.id"),
    text_("recipient"),  # which of their addresses it came to; "" for what they sent
    text_("folder"),  # inbox | sent | junk | archive: held until its time was over, found by search alone
    number("received"),  # when it came into the folder's mailbox: delivered, released or sent
)
Index("mailbox_folder", mailbox.c.person_id, mailbox.c.folder, mailbox.c.id)
Index("mailbox_message", mailbox.c.message_id)

# The words of each message, for search: what `words.kept` made of it, which the engine only matches. `rowid` is the
# message's number. A virtual table, which the engine makes of tables of its own.
WORD_COLUMNS = ("sender", "recipients", "subject", "body", "attachments")
WORDS = f"CREATE VIRTUAL TABLE words USING fts5({', '.join(WORD_COLUMNS)}, tokenize = 'ascii')"
words = table("words", column("rowid", Integer), *(column(name, Text) for name in WORD_COLUMNS))
event.listen(metadata, "after_create", DDL(WORDS))  # type: ignore[no-untyped-call]

# What the second and later pages of ranked searches show: numbers of rows of `mailbox`, in their order, as JSON.
searches = Table(
    "searches",
    metadata,
    Column("search", Text, nullable=False),
    Column("page", Integer, nullable=False),
    to("person_id", "people.id"),  # who searched
    text_("found"),
    Column("at", Integer, nullable=False, index=True),
    PrimaryKeyConstraint("search", "page"),
)
Index("searches_person", searches.c.person_id, searches.c.page, searches.c.at)

# Files on their way into a message, for a day or for as long as a draft names them.
uploads = Table(
    "uploads",
    metadata,
    id_(),
    to("person_id", "people.id"),
    Column("blob", Text, nullable=False, index=True),  # SHA-256, hex
    number("size"),
    number("added"),
    UniqueConstraint("person_id", "blob"),
)

# Messages that their writer has not sent yet.
drafts = Table(
    "drafts",
    metadata,
    id_(),
    to("person_id", "people.id"),
    text_("content"),  # the message as it was asked for, JSON
    number("changed"),
    **NEVER_AGAIN,
)
Index("drafts_person", drafts.c.person_id, drafts.c.id)
draft_files = Table(
    "draft_files",
    metadata,
    to("draft_id", "drafts.id"),
    to("upload_id", "uploads.id"),
    UniqueConstraint("draft_id", "upload_id"),
)
Index("draft_files_upload", draft_files.c.upload_id)

# What was refused at the SMTP door, never stored.
rejections = Table(
    "rejections",
    metadata,
    id_(),
    number("at"),
    text_("sender"),
    text_("recipient"),
    text_("remote_ip"),
    text_("remote_host"),
    text_("type"),  # a word for the reason
    text_("info"),  # the reply that was given
    text_("route"),
    **NEVER_AGAIN,
)
Index("rejections_at", rejections.c.at)

# The outbox: one row per message and recipient on its way out.
deliveries = Table(
    "deliveries",
    metadata,
    id_(),
    to("message_id", "messages.id", nullable=True),
    to("hold_id", "holds.id", nullable=True),
    Column("blob", Text, nullable=False),
    text_("kind"),  # screened | released | written | submitted
    text_("sort"),  # of what the portal wrote (`compose.Sort`): each has a limit of its own
    text_("sender"),
    text_("recipient"),
    text_("state"),  # queued | spooled | sending | delivered | failed | frozen
    text_("way"),  # maildir | smtp: how it was delivered
    flag("maybe_twice"),
    number("attempts"),
    text_("error"),
    number("queued"),
    number("not_before"),
    Column("finished", Integer),
    Column("delivered", Integer),  # when it was, although a report says later that it bounced
)
Index(
    "deliveries_open",
    deliveries.c.id,
    sqlite_where=text("finished IS NULL"),
)
Index("deliveries_finished", deliveries.c.finished, sqlite_where=text("finished IS NOT NULL"))
Index("deliveries_hold", deliveries.c.hold_id)
Index(
    "deliveries_written",
    deliveries.c.recipient,
    deliveries.c.sort,
    deliveries.c.queued,
    sqlite_where=text("kind = 'written'"),
)
Index("deliveries_message", deliveries.c.message_id)
