"""The tables. Times are milliseconds since 1970 (UTC); order comes from ids, never from time (F.2)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    column,
    event,
    table,
    text,
)

# Another number in a home's database is another release's: it is refused, never guessed at.
SCHEMA = 4

metadata = MetaData()

# Rows of these tables are deleted, and people hold ids of them: an id must never come to name another row.
_NEVER_AGAIN: dict[str, Any] = {"sqlite_autoincrement": True}


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, default="")


def _number(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, default=0)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, default=False)


def _to(name: str, target: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, Integer, ForeignKey(target), nullable=nullable)


facts = Table("facts", metadata, Column("name", Text, primary_key=True), _text("value"))

# Whoever can ask: people, and apps, which act for the account (`apps` below). An app has no address: `app:NAME`.
people = Table(
    "people",
    metadata,
    _id(),
    Column("address", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False, default="person"),  # person | app | outside: of a secure message, no more
    _text("role"),  # user | administrator | outside
    Column("login", Text, nullable=False, default="cloud"),  # cloud | domain | sso | two-step
    _text("password"),  # its Argon2 hash; "" where none was ever set
    _number("password_set"),  # when it was
    _flag("content_view"),  # an administrator may see the content of held mail
    _flag("disabled"),
    _number("epoch"),  # raised by whatever must end the person's tokens
    _number("octets"),  # of all mail that is kept for them
    _number("created"),
)

moderates = Table(
    "moderates",
    metadata,
    _to("person_id", "people.id"),
    Column("scope", Text, nullable=False),  # an address or a domain
    UniqueConstraint("person_id", "scope"),
)

# Who may act as whom: the whole mailbox, as its owner (portal-rules C.8).
delegates = Table(
    "delegates",
    metadata,
    _id(),
    _to("owner_id", "people.id"),
    _to("delegate_id", "people.id"),
    _number("added"),
    UniqueConstraint("delegate_id", "owner_id"),
    **_NEVER_AGAIN,
)

# How somebody wants dates, pages and mail; what is not set is the account's (portal-rules C.9, F.21).
preferences = Table(
    "preferences",
    metadata,
    Column("person_id", Integer, ForeignKey("people.id"), primary_key=True),
    _text("chosen"),  # JSON
)

# To whom somebody wrote, how often and when last.
contacts = Table(
    "contacts",
    metadata,
    _to("person_id", "people.id"),
    Column("address", Text, nullable=False),
    _text("name"),
    _number("uses"),
    _number("last_used"),
    UniqueConstraint("person_id", "address"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("hash", Text, primary_key=True),
    _text("purpose"),
    _to("person_id", "people.id"),
    _text("object"),
    _number("epoch"),
    _number("expires"),
    _number("uses_left"),
)

# Applications. API 2.0: client id and secret; API 1.0: app id, whose key is derived from it and secret.key.
# The built-in one, for people who log in with a password, acts for nobody and has no client id.
apps = Table(
    "apps",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    _to("person_id", "people.id", nullable=True),
    Column("client_id", Text, unique=True),
    _text("client_secret"),  # its SHA-256, hex
    Column("app_id", Text, nullable=False, unique=True),
    _number("created"),
)

# Bindings of API 1.0: an access key, whose secret key is derived from it and secret.key, for one person in one app.
bindings = Table(
    "bindings",
    metadata,
    _id(),
    Column("access_key", Text, nullable=False, unique=True),  # its SHA-256, hex
    _to("app_id", "apps.id"),
    _to("person_id", "people.id"),
    _number("epoch"),  # of the person when it was made: a higher one ends it
    Column("expires", Integer),  # by the machine's clock; none: never
    _number("created"),
)

# Signed requests that were acted on, for as long as their dates would be accepted (promises E.4).
signed_requests = Table(
    "signed_requests",
    metadata,
    Column("request", Text, primary_key=True),  # binding and request id
    Column("at", Integer, nullable=False, index=True),
)

# Requests that created something, by the id that their client gave them (promises C.7).
requested = Table(
    "requested",
    metadata,
    _to("person_id", "people.id"),
    Column("request_id", Text, nullable=False),
    _text("content"),  # SHA-256 of what was asked, hex
    _text("answer"),  # JSON
    Column("at", Integer, nullable=False, index=True),
    PrimaryKeyConstraint("person_id", "request_id"),
)

# Log-ins that failed, of known and unknown addresses alike (promises E.3).
login_failures = Table(
    "login_failures",
    metadata,
    _id(),
    _text("address"),
    _text("network"),
    _number("at"),
)
Index("login_failures_address", login_failures.c.address, login_failures.c.at)

# One accepted message: its octets lie in blobs/, its envelope and what was parsed of it here.
messages = Table(
    "messages",
    metadata,
    _id(),
    Column("blob", Text, nullable=False, index=True),  # SHA-256, hex
    _number("size"),
    _text("envelope_from"),
    _text("from_header"),  # the one address of From; "" where there is none or several
    _text("from_name"),
    _text("subject"),
    _text("mime_message_id"),
    _text("route"),
    _text("remote_ip"),  # of the server that brought it; "" for what was imported
    _text("remote_host"),  # as it named itself
    _flag("encrypted"),  # it came over TLS
    _flag("has_attachments"),
    _number("attachment_count"),  # without images that the HTML shows
    _text("no_notice"),  # why its sender is never told of a rejection; "" when it may be told
    _number("received"),
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
    _to("message_id", "messages.id"),
    UniqueConstraint("blob", "path", "position", "recipient"),
)

# What screening did with a message for one recipient.
copies = Table(
    "copies",
    metadata,
    _id(),
    _to("message_id", "messages.id"),
    _to("person_id", "people.id"),  # whose it is: the recipient, or who sent it outside
    _text("recipient"),
    _text("outcome"),  # delivered | held | blocked | sent
    _text("decided_by"),  # the entry, policy or rule that decided
    _text("named"),  # to | cc | bcc: where one of our people named the recipient; "" in mail that came otherwise
)
Index("copies_message", copies.c.message_id)

# What lies in somebody's mailbox: a view of the archive, which is never changed but by a report as junk.
mailbox = Table(
    "mailbox",
    metadata,
    _id(),
    _to("message_id", "messages.id"),
    _to("person_id", "people.id"),
    _text("recipient"),  # which of their addresses it came to; "" for what they sent
    _text("folder"),  # inbox | sent | junk | archive: held until its time was over, found by search alone
    _number("received"),  # when it came into the folder's mailbox: delivered, released or sent
)
Index("mailbox_folder", mailbox.c.person_id, mailbox.c.folder, mailbox.c.id)
Index("mailbox_message", mailbox.c.message_id)

# One secure message; its octets are those of a message. What its sender lets recipients do is kept here, as it was
# defined when it was sent.
secure_messages = Table(
    "secure_messages",
    metadata,
    _id(),
    _to("message_id", "messages.id"),
    _to("person_id", "people.id"),  # its sender
    _text("sender"),
    _text("sender_name"),
    _text("direction"),  # outbound | inbound | internal
    _text("subject"),
    _text("folded"),  # subject and everybody's addresses, as caseless matching sees them
    _number("size"),
    _flag("has_attachments"),
    _number("sent"),
    _text("definition"),
    _text("option"),  # of the six after Send; "" where a definition was chosen
    _text("policy"),  # the rule that sent it securely; "" where its sender did
    _flag("print"),
    _flag("reply"),
    _flag("reply_all"),
    _flag("read_receipt"),
    Column("expires", Integer),
    Column("extended", Integer),
    Column("opened", Integer),  # by the first of its recipients
    Column("recalled", Integer),
    _to("recalled_by", "people.id", nullable=True),
    _to("answers", "secure_messages.id", nullable=True),
)
Index("secure_messages_sent", secure_messages.c.sent)
Index("secure_messages_message", secure_messages.c.message_id)

# A secure message for each of its people: in a folder of theirs, or how else it reaches them.
secure_copies = Table(
    "secure_copies",
    metadata,
    _id(),
    _to("secure_id", "secure_messages.id"),
    _to("person_id", "people.id"),
    _text("address"),
    _text("name"),
    _text("part"),  # sender | to | cc
    _text("way"),  # portal | link: it waits here, in no list | mail; "" for its sender
    _text("folder"),  # inbox | sent | deleted; "" for what is in no list
    _flag("unread"),
    _flag("withdrawn"),  # recalled: it is in no list of theirs any more
    _number("sent"),
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
# The words of each message, for search: what `words.kept` made of it, which the engine only matches. `rowid` is the
# message's number. A virtual table, which the engine makes of tables of its own.
WORD_COLUMNS = ("sender", "recipients", "subject", "body", "attachments")
WORDS = f"CREATE VIRTUAL TABLE words USING fts5({', '.join(WORD_COLUMNS)}, tokenize = 'ascii')"
words = table("words", column("rowid", Integer), *(column(name, Text) for name in WORD_COLUMNS))
event.listen(metadata, "after_create", DDL(WORDS))  # type: ignore[no-untyped-call]

# Files on their way into a message, for a day or for as long as a draft names them.
uploads = Table(
    "uploads",
    metadata,
    _id(),
    _to("person_id", "people.id"),
    Column("blob", Text, nullable=False, index=True),  # SHA-256, hex
    _number("size"),
    _number("added"),
    UniqueConstraint("person_id", "blob"),
)

# Messages that their writer has not sent yet.
drafts = Table(
    "drafts",
    metadata,
    _id(),
    _to("person_id", "people.id"),
    _text("content"),  # the message as it was asked for, JSON
    _number("changed"),
    **_NEVER_AGAIN,
)
Index("drafts_person", drafts.c.person_id, drafts.c.id)
draft_files = Table(
    "draft_files",
    metadata,
    _to("draft_id", "drafts.id"),
    _to("upload_id", "uploads.id"),
    UniqueConstraint("draft_id", "upload_id"),
)
Index("draft_files_upload", draft_files.c.upload_id)

# What was refused at the SMTP door, never stored.
rejections = Table(
    "rejections",
    metadata,
    _id(),
    _number("at"),
    _text("sender"),
    _text("recipient"),
    _text("remote_ip"),
    _text("remote_host"),
    _text("type"),  # a word for the reason
    _text("info"),  # the reply that was given
    _text("route"),
    **_NEVER_AGAIN,
)
Index("rejections_at", rejections.c.at)

# For SQLite alone: an argument for another engine would import its whole dialect at every start.
_HELD: dict[str, Any] = {"sqlite_where": text("state = 'held'")}

# One message held for one recipient. What lists show and filter by is kept here once more, so that no list
# joins; subject_folded is the subject as caseless matching sees it.
holds = Table(
    "holds",
    metadata,
    _id(),
    _to("message_id", "messages.id"),
    _to("person_id", "people.id"),
    _text("recipient"),
    _text("state"),  # held | released | rejected | expired
    _text("level"),  # user | moderator | administrator
    _text("kind"),  # spam | attachment | content | impersonation | other
    _text("reason"),
    _text("reason_code"),
    _text("policy"),
    _text("route"),
    _text("from_address"),
    _text("from_header"),
    _text("from_name"),
    _text("subject"),
    _text("subject_folded"),
    _number("size"),
    _flag("has_attachments"),
    _number("received"),
    Column("decided", Integer),
    _to("decided_by", "people.id", nullable=True),
    _text("request_id"),
    _text("reject_reason"),
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
    _number("last_hold"),
)

# Managed senders. One sender stands on one of a person's lists (portal-rules D.14); trusted is a list apart (D.5).
senders = Table(
    "senders",
    metadata,
    _id(),
    _to("person_id", "people.id"),  # entries follow the person, whatever their address (D.20)
    Column("key", Text, nullable=False),  # the entry, of a trusted one marked so: what may stand there once
    Column("entry", Text, nullable=False),
    _text("type"),  # address | domain
    _text("list"),  # blocked | permitted | auto-permitted | trusted
    _text("source"),
    _number("added"),
    Column("expires", Integer),  # auto-permitted: when it lapses, unless mail is sent there again (D.18)
    _flag("disabled"),  # auto-permitted: mail from there was suspected spam (D.19)
    UniqueConstraint("person_id", "key"),
    **_NEVER_AGAIN,
)
Index("senders_expires", senders.c.expires, sqlite_where=text("expires IS NOT NULL"))

# The outbox: one row per message and recipient on its way out.
deliveries = Table(
    "deliveries",
    metadata,
    _id(),
    _to("message_id", "messages.id", nullable=True),
    _to("hold_id", "holds.id", nullable=True),
    Column("blob", Text, nullable=False),
    _text("kind"),  # screened | released | written | submitted
    _text("sender"),
    _text("recipient"),
    _text("state"),  # queued | spooled | sending | delivered | failed | frozen
    _text("way"),  # maildir | smtp: how it was delivered
    _flag("maybe_twice"),
    _number("attempts"),
    _text("error"),
    _number("queued"),
    _number("not_before"),
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
Index("deliveries_message", deliveries.c.message_id)

# Large File Send: one message with its files, their octets in largefiles/ (portal-rules E). It reads as expired,
# paused or failed by time alone; how, largefile_states.py says.
largefiles = Table(
    "largefiles",
    metadata,
    _id(),
    _to("person_id", "people.id"),  # whose it is
    _text("sender"),
    _text("subject"),
    _text("body"),
    _text("searched"),  # subject, names and recipients, folded as caseless matching does
    _text("state"),  # uploading | paused | scanning | active | failed | cancelled
    _text("reason"),  # why it failed
    _number("days"),  # of access, from when it is sent
    _flag("notify"),  # tell the sender of each completed download
    _text("access_key"),  # its Argon2 hash; "" where there is none
    _number("size"),  # of all files
    _number("created"),
    _number("touched"),  # when a chunk came last, to some seconds
    Column("sent", Integer),
    Column("expires", Integer),
    Column("purge_marked", Integer),  # when its 90 days were found to be over
    Column("purged", Integer),  # when its octets were deleted, for whatever reason
)
Index("largefiles_person", largefiles.c.person_id, largefiles.c.id)
Index("largefiles_kept", largefiles.c.id, sqlite_where=text("purged IS NULL"))

largefile_files = Table(
    "largefile_files",
    metadata,
    _id(),
    _to("largefile_id", "largefiles.id"),
    _number("position"),
    _text("name"),
    _number("size"),
    _text("sha256"),  # hex, once all of it has arrived and was checked
    UniqueConstraint("largefile_id", "position"),
)

largefile_recipients = Table(
    "largefile_recipients",
    metadata,
    _id(),
    _to("largefile_id", "largefiles.id"),
    _text("address"),
    _text("notified"),  # queued, or why the notification was left out
    UniqueConstraint("largefile_id", "address"),
)

# A recipient who fetches a file: one row for each time they asked for its URL.
largefile_downloads = Table(
    "largefile_downloads",
    metadata,
    _id(),
    _to("file_id", "largefile_files.id"),
    _to("recipient_id", "largefile_recipients.id"),
    _number("begun"),
    _text("covered"),  # which octets have gone out, JSON: [[from, to], ...]
    Column("completed", Integer),
)
Index("largefile_downloads_file", largefile_downloads.c.file_id)

# Every act (promises F.3): surrogate ids here, addresses and subjects in the detail row that erasure deletes.
audit = Table(
    "audit",
    metadata,
    _id(),
    _number("at"),
    _text("door"),
    _to("actor", "people.id", nullable=True),
    _text("action"),
    _text("outcome"),
    _text("object_kind"),
    Column("object_id", Integer),
    _text("request_id"),
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
    _text("detail"),  # JSON
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
    _number("number"),
    PrimaryKeyConstraint("report", "day", "part", "event"),
)
