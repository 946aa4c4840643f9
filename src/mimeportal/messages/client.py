"""What a caller asks about messages: where they are on their way, and what lies in a mailbox."""

from __future__ import annotations

from mimeportal.messages.finder import Finder
from mimeportal.messages.mailbox import Mailbox


class MessagesClient(Finder, Mailbox):
    """`portal.messages`."""
