"""Links to secure messages in mail that the portal writes: they say where to go, and let nobody in."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

from mimeportal_server import tokens
from mimeportal_server.clock import DAY
from mimeportal_server.portal import Portal

# Purpose of the tokens. Whoever follows a link must log in; a link that outlives a change of password is no harm,
# and a reader with two notifications needs both after they made their password by the first.
PURPOSE = "secure message"
_USES = 1_000_000


def link(portal: Portal, tx: Connection, person_id: int, secure_id: int) -> str:
    """The link for one person to one secure message, good for as long as messages are kept."""
    expires = portal.clock.machine() + portal.settings.secure.retention_days * DAY
    secret = tokens.issue(tx, PURPOSE, person_id, object=str(secure_id), expires=expires, uses=_USES)
    return f"{portal.settings.public_url}/s/{secret}"


def page(portal: Portal, secure_id: int) -> str:
    """The page of a secure message, for whoever may open it: the same for everybody, and without a log-in nothing."""
    return f"{portal.settings.public_url}/secure/messages/{portal.sealer.id('secure', secure_id)}"


class Followed(NamedTuple):
    """Where a link leads: to whom it was written, and to which secure message."""

    person_id: int
    address: str
    secure_id: int


def followed(portal: Portal, tx: Connection, secret: str) -> Followed | None:
    """What a link stands for; None when it is wrong, or its message is no longer kept. Nothing is spent."""
    found = tokens.granted(tx, secret, PURPOSE, now=portal.clock.machine(), any_epoch=True)
    return Followed(found.person_id, found.address, int(found.object)) if found else None
