"""What a held message says, by way of the message finder: for apps that may not read held messages (promises H)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mimeportal.addresses import normalise
from mimeportal.errors import ApiError, NotFoundError, NotOfferedError
from mimeportal.holds.hold import Attachment, HeldMessage, Hold
from mimeportal.messages.client import MessagesClient
from mimeportal.messages.tracked import MessageInfo, address_of

if TYPE_CHECKING:
    from mimeportal.portal import Portal

_NEAR = timedelta(hours=1)  # of when it was received: two lists of one portal tell it alike, or nearly


def read(portal: Portal, id: str) -> HeldMessage:
    """The content of one held message, where exactly one tracked message is that hold.

    Raises `NotFoundError` for an id that is not held, `NotOfferedError` when none or several fit.
    """
    hold = next(iter(portal.holds.lookup([id])), None)
    if hold is None:
        raise NotFoundError(
            "No such held message.", code="not_found", remedy="List again: it may have been decided or have expired."
        )
    finder = MessagesClient(portal)
    matching = _matching(finder, hold)
    if len(matching) != 1:
        raise NotOfferedError(
            "This portal does not offer the content of this held message.",
            why="The app may not read held messages, and the message finder "
            + ("knows several that look like it." if matching else "does not know it."),
            remedy="Read it in the portal itself, or give the app a product that may read held messages.",
        )
    told = finder.info(matching[0].id, content=True)
    return HeldMessage(
        hold=hold,
        headers=told.headers,
        text=told.text or None,
        html=told.html or None,
        attachments=tuple(_attachment(entry) for entry in told.attachments or ()),
        notes=("Told by the message finder, for this app may not read held messages.",),
    )


def _matching(finder: MessagesClient, hold: Hold) -> list[MessageInfo]:
    """The tracked messages that are this hold: by its id, or else by all that both lists tell."""
    since, until = hold.date_received - _NEAR, hold.date_received + _NEAR
    try:
        tracked = list(finder.track(to=hold.to_address, status="held", since=since, until=until))
    except ApiError as fault:
        if fault.code == "err_track_and_trace_invalid_start_date":  # the finder does not look back that far
            return []
        raise
    told = [finder.info(row.id) for row in tracked if row.subject == hold.subject]
    return [info for info in told if info.hold_id == hold.id] or [info for info in told if _same(info, hold)]


def _same(info: MessageInfo, hold: Hold) -> bool:
    queue = info.queue
    return (
        info.hold_id is not None
        and normalise(address_of(queue.get("to"))) == normalise(hold.to_address)
        and normalise(address_of(queue.get("fromEnvelope"))) == normalise(hold.from_address)
        and queue.get("subject") == hold.subject
        and queue.get("size") in (None, hold.size)
    )


def _attachment(entry: dict[str, Any]) -> Attachment:
    size = entry.get("size")
    texts = {name: str(entry.get(name) or "") for name in ("id", "filename", "contentType", "sha256", "contentId")}
    return Attachment(
        id=texts["id"],
        name=texts["filename"],
        content_type=texts["contentType"],
        size=size if isinstance(size, int) else 0,
        sha256=texts["sha256"],
        content_id=texts["contentId"],
    )
