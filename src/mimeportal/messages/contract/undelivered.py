"""What travels about mail that could not be delivered, told to whoever sent it or would have got it (C.10).

Mimecast has its finder for that, for administrators; end users see theirs in the portal alone.
"""

from __future__ import annotations

from pydantic import Field

from mimeportal.messages.contract.finder import TrackedRow
from mimeportal.wire import Endpoint, Item, Offer


class BouncedItem(Item):
    """Whose bounced mail (none: the caller's; all of it for administrators), and of which."""

    mailbox: str | None = None
    from_: str | None = Field(default=None, alias="from")
    to: str | None = None
    subject: str | None = None
    start: str | None = None
    end: str | None = None


BOUNCED = Endpoint(
    "messages.bounced",
    "/api/portal/messages/bounced",
    BouncedItem,
    TrackedRow,
    {"local": Offer()},
    paging="token",
)

ENDPOINTS = (BOUNCED,)
