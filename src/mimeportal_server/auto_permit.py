"""Auto-permitted senders: how such entries arise, lapse, and are disabled (portal-rules D.16 to D.20).

    event                                       entry
    mail is sent to an outside address          added, or kept for another 120 days, or enabled again
    ... that answers a released spam hold       no entry
    ... that a program wrote                    no entry
    nothing was sent there for 120 days         lapsed: it counts for nothing, and a sweep lets go of it
    mail of the sample is suspected spam        disabled
    'Permit' or 'Block'                         moves to that list, where it lapses no more

What stands on the blocked or the permitted list is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from mimeportal.addresses import domain_of
from mimeportal_server import audit
from mimeportal_server.clock import DAY
from mimeportal_server.mail import Summary
from mimeportal_server.people import Caller
from mimeportal_server.sender_lists import AUTO
from mimeportal_server.settings import Settings
from mimeportal_server.store.schema import holds, messages, senders

_MESSAGE_ID = re.compile(r"<[^<>\s]++>")
_ANSWERED = 100  # message ids of References that are looked at, the last first

_OWN = select(senders.c.id, senders.c.list, senders.c.disabled).where(
    senders.c.person_id == bindparam("person"), senders.c.key == bindparam("address")
)


def arises(tx: Connection, settings: Settings, by: Caller, summary: Summary) -> bool:
    """Whether a message that somebody sends makes entries of those outside whom it goes to (portal-rules D.17).

    Applications, and people outside who answer a secure message, have no mailbox here and so no lists.
    """
    if not settings.auto_permit or summary.auto_submitted or by.outside or by.address.startswith("app:"):
        return False
    answered = [
        found
        for name in ("In-Reply-To", "References")
        for text in summary.header(name)
        for found in _MESSAGE_ID.findall(text)
    ]
    if not answered:
        return True
    released_spam = (
        select(holds.c.id)
        .join(messages, messages.c.id == holds.c.message_id)
        .where(
            messages.c.mime_message_id.in_(answered[-_ANSWERED:]),
            holds.c.person_id == by.person_id,
            holds.c.kind == "spam",
            holds.c.state == "released",
        )
    )
    return tx.execute(released_spam.limit(1)).first() is None


def sent(
    tx: Connection, settings: Settings, person_id: int, addresses: Collection[str], now: int
) -> Sequence[audit.Act]:
    """Mail goes to these outside addresses: each is auto-permitted, from now on for as long as the settings say.

    Returns the acts to record: of entries that are new, or enabled again.
    """
    acts = []
    until = {"expires": now + settings.auto_permit_days * DAY, "disabled": False}
    for address in dict.fromkeys(addresses):
        if domain_of(address) in settings.domains:
            continue
        found = tx.execute(_OWN, {"person": person_id, "address": address}).first()
        if found is None:
            row = {"person_id": person_id, "key": address, "entry": address, "type": "address", "list": AUTO}
            tx.execute(insert(senders), {**row, "source": "sent mail", "added": now, **until})
        elif found.list == AUTO:
            tx.execute(update(senders).where(senders.c.id == found.id).values(**until))
        if found is None or found.disabled:
            acts.append(_act(f"add {AUTO}", person_id, address))
    return acts


def disable(tx: Connection, person_id: int, entry: str) -> audit.Act:
    """Mail from there was suspected spam: the entry permits nothing until mail is sent there again."""
    tx.execute(
        update(senders)
        .where(senders.c.person_id == person_id, senders.c.key == entry, senders.c.list == AUTO)
        .values(disabled=True)
    )
    return _act(f"disable {AUTO}", person_id, entry)


def lapse(tx: Connection, at: int, now: int) -> int:
    """Let go of entries that lapsed before a time; how many."""
    lapsed = tx.execute(
        select(senders.c.id, senders.c.person_id, senders.c.entry).where(senders.c.expires <= at).limit(500)
    ).all()
    tx.execute(delete(senders).where(senders.c.id.in_([row.id for row in lapsed])))
    acts = [_act(f"lapse {AUTO}", row.person_id, row.entry) for row in lapsed]
    audit.record(tx, acts, at=now, caller=None, door="sweep")
    return len(lapsed)


def _act(action: str, person_id: int, entry: str) -> audit.Act:
    return audit.Act(action, "done", "sender entry", person_id, {"entry": entry})
