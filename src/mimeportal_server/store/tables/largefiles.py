"""Large files."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, UniqueConstraint, text

from mimeportal_server.store.tables.columns import flag, id_, metadata, number, text_, to

# Large File Send: one message with its files, their octets in largefiles/ (portal-rules E). It reads as expired,
# paused or failed by time alone; how, largefile_states.py says.
largefiles = Table(
    "largefiles",
    metadata,
    id_(),
    to("person_id", "people.id"),  # whose it is
    text_("sender"),
    text_("subject"),
    text_("body"),
    text_("searched"),  # subject, names and recipients, folded as caseless matching does
    text_("state"),  # uploading | paused | scanning | active | failed | cancelled
    text_("reason"),  # why it failed
    number("days"),  # of access, from when it is sent
    flag("notify"),  # tell the sender of each completed download
    text_("access_key"),  # its Argon2 hash; "" where there is none
    number("size"),  # of all files
    number("created"),
    number("touched"),  # when a chunk came last, to some seconds
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
    id_(),
    to("largefile_id", "largefiles.id"),
    number("position"),
    text_("name"),
    number("size"),
    text_("sha256"),  # hex, once all of it has arrived and was checked
    UniqueConstraint("largefile_id", "position"),
)

largefile_recipients = Table(
    "largefile_recipients",
    metadata,
    id_(),
    to("largefile_id", "largefiles.id"),
    text_("address"),
    text_("notified"),  # queued, or why the notification was left out
    UniqueConstraint("largefile_id", "address"),
)

# A recipient who fetches a file: one row for each time they asked for its URL.
largefile_downloads = Table(
    "largefile_downloads",
    metadata,
    id_(),
    to("file_id", "largefile_files.id"),
    to("recipient_id", "largefile_recipients.id"),
    number("begun"),
    text_("covered"),  # which octets have gone out, JSON: [[from, to], ...]
    Column("completed", Integer),
)
Index("largefile_downloads_file", largefile_downloads.c.file_id)
