"""The tables, by noun. Times are milliseconds since 1970 (UTC); order comes from ids, never from time (F.2)."""

from __future__ import annotations

from mimeportal_server.store.tables.account import contacts, delegates, moderates, people, preferences
from mimeportal_server.store.tables.auth import apps, bindings, login_failures, signed_requests, tokens
from mimeportal_server.store.tables.columns import metadata
from mimeportal_server.store.tables.holds import digests, holds
from mimeportal_server.store.tables.largefiles import (
    largefile_downloads,
    largefile_files,
    largefile_recipients,
    largefiles,
)
from mimeportal_server.store.tables.messages import (
    WORD_COLUMNS,
    WORDS,
    copies,
    deliveries,
    draft_files,
    drafts,
    imports,
    mailbox,
    messages,
    rejections,
    searches,
    uploads,
    words,
)
from mimeportal_server.store.tables.records import audit, audit_details, day_counts, facts, requested
from mimeportal_server.store.tables.secure import secure_copies, secure_messages
from mimeportal_server.store.tables.senders import senders

# Another number in a home's database is another release's: it is refused, never guessed at.
SCHEMA = 4

__all__ = [
    "SCHEMA",
    "WORDS",
    "WORD_COLUMNS",
    "apps",
    "audit",
    "audit_details",
    "bindings",
    "contacts",
    "copies",
    "day_counts",
    "delegates",
    "deliveries",
    "digests",
    "draft_files",
    "drafts",
    "facts",
    "holds",
    "imports",
    "largefile_downloads",
    "largefile_files",
    "largefile_recipients",
    "largefiles",
    "login_failures",
    "mailbox",
    "messages",
    "metadata",
    "moderates",
    "people",
    "preferences",
    "rejections",
    "requested",
    "searches",
    "secure_copies",
    "secure_messages",
    "senders",
    "signed_requests",
    "tokens",
    "uploads",
    "words",
]
