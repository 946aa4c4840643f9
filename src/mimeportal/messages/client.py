"""What a caller asks about messages: where they are on their way, what lies in a mailbox, mail to write."""

from __future__ import annotations

from mimeportal.messages.finder import Finder
from mimeportal.messages.mailbox import Mailbox
from mimeportal.messages.reporting import Reporting
from mimeportal.messages.writing import Writing


class MessagesClient(Finder, Mailbox, Writing, Reporting):
    """`portal.messages`."""
