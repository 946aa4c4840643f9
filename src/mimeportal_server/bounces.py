"""Mail of ours that comes back: at which address a report of it counts, and what it changes (promises C.6).

A message that one of the portal's people composed leaves with the return path `bounce+TOKEN@DOMAIN`. A report counts
at the token of its own message alone, for a recipient of that message, and only where it says `failed`. Whatever else
arrives there is mail to the sender, and changes nothing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select, update

from mimeportal import limits
from mimeportal.addresses import normalise
from mimeportal.untrusted import visible
from mimeportal_server import audit, counting, tokens
from mimeportal_server.clock import DAY
from mimeportal_server.portal import Portal
from mimeportal_server.store.schema import deliveries

PURPOSE = "bounce"  # of the tokens; their object is the number of the message

_PREFIX = "bounce+"
_ERROR = 500  # characters kept of what a report says


def return_path(portal: Portal, tx: Connection, person_id: int, message_id: int) -> str:
    """A return path of a message that somebody composed here: at this address alone a bounce of it counts.

    Every recipient may bounce, and some do so weeks later: also after a new password of the sender's, who is not let
    in by it.
    """
    expires = portal.clock.machine() + limits.BOUNCE_DAYS * DAY
    object = str(message_id)
    token = tokens.issue(tx, PURPOSE, person_id, object=object, expires=expires, uses=limits.BOUNCES, lasting=True)
    return f"{_PREFIX}{token}@{portal.settings.domains[0]}"


def token_of(portal: Portal, address: str) -> str | None:
    """The token in an address as it was written: normalised it would be another. None for any other address."""
    local, _, domain = address.strip().rpartition("@")
    if local[: len(_PREFIX)].lower() != _PREFIX or normalise(f"x@{domain}") != f"x@{portal.settings.domains[0]}":
        return None
    return local[len(_PREFIX) :]


def shown(portal: Portal, address: str) -> str:
    """An address for records that others read: without the token of a return path."""
    return address if token_of(portal, address) is None else f"{_PREFIX}...@{portal.settings.domains[0]}"


def sender_of(portal: Portal, tx: Connection, token: str) -> Row[Any, Any, Any] | None:
    """Who sent the message of a token, as `tokens.granted` tells; None for one that is none, or is over."""
    return tokens.granted(tx, token, PURPOSE, now=portal.clock.machine())


def take(portal: Portal, tx: Connection, token: str, octets: bytes) -> None:
    """Mark as bounced what a report that came to this token's address says was not delivered; it is used once more."""
    from mimeportal_server import mail  # whoever delivers needs no parser

    granted = sender_of(portal, tx, token)
    reports = mail.delivery_reports(octets) if granted is not None else ()
    if granted is None or not reports:
        return
    tokens.spend(tx, token, PURPOSE, now=portal.clock.machine())
    acts: list[audit.Act] = []
    for report in reports:
        if report.action != "failed":
            continue
        # What is still under way is not over: its own end will tell.
        delivered = (deliveries.c.message_id == int(granted.object), deliveries.c.state == "delivered")
        found = select(deliveries).where(*delivered, deliveries.c.recipient.in_(report.recipients))
        error = visible(" ".join(filter(None, (report.status, report.diagnostic))))[:_ERROR] or "bounced"
        for row in tx.execute(found).all():
            now = portal.clock.now()
            values = {"state": "failed", "error": error, "finished": now, "delivered": row.finished}
            tx.execute(update(deliveries).where(deliveries.c.id == row.id).values(**values))
            counting.count_finished(portal, tx, [row.id], "bounced", now)
            detail = {"from": granted.address, "to": row.recipient, "error": error}
            acts.append(audit.Act("deliver", "bounced", "delivery", row.id, detail))
    audit.record(tx, acts, at=portal.clock.now(), caller=None, door="smtp")
