"""What travels about messages: a file for the finder and its logs, for the mailbox, and for writing mail."""

from __future__ import annotations

from mimeportal.messages.contract import finder, mailbox, undelivered, writing

ENDPOINTS = (*finder.ENDPOINTS, *undelivered.ENDPOINTS, *mailbox.ENDPOINTS, *writing.ENDPOINTS)
