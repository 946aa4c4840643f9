"""How a secure message is laid where its people find it, and announced, once its octets are taken in.

One transaction with whatever sent it: its rows, the mail that the account's own people get, the notifications, the
record. A message that a rule diverts comes here straight from its arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert

from mimeportal.patterns import fold
from mimeportal.secure import contract
from mimeportal.wire import JsonObject
from mimeportal_server import arrival, audit, contacts, incoming, outsiders
from mimeportal_server import secure_access as access
from mimeportal_server.clock import DAY
from mimeportal_server.compose_message import Mailbox
from mimeportal_server.people import Caller
from mimeportal_server.portal import Portal, Refused
from mimeportal_server.secure_links import page
from mimeportal_server.secure_notices import notify, with_banner
from mimeportal_server.settings_secure import Definition, Trigger
from mimeportal_server.store.schema import secure_copies, secure_messages


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient: how they were named, and the way the message takes to them; `person_id` once they have one."""

    address: str
    name: str
    part: str  # to | cc
    way: str  # portal | link | mail
    person_id: int = 0

    @property
    def mailbox(self) -> Mailbox:
        return Mailbox(self.address, self.name)


@dataclass(frozen=True, slots=True)
class Terms:
    """What recipients may do with a message, until when, and by whose choice."""

    definition: Definition
    option: str = ""
    policy: str = ""
    expires: int | None = None
    answers: int | None = None


def lay(
    portal: Portal,
    tx: Connection,
    entry: incoming.Incoming,
    writer: Caller,
    recipients: Sequence[Recipient],
    terms: Terms,
    *,
    caller: Caller | None,
    request_id: str,
    admitted: bool = False,
) -> JsonObject:
    """Lay a message that was taken in where its people find it, announce it, and record it; its row.

    `admitted`: room in the mailboxes of the account's own people was found before. Else raises `Refused` without it.
    """
    now, definition = portal.clock.now(), terms.definition
    expires = terms.expires
    if expires is None and definition.expire_days:
        expires = now + definition.expire_days * DAY
    outward = any(recipient.way == "portal" for recipient in recipients)
    named = {one.address: one.name for one in recipients}
    addresses = " ".join([writer.address, *named])
    created = tx.execute(
        insert(secure_messages),
        {
            "message_id": entry.number,
            "person_id": writer.person_id,
            "sender": writer.address,
            "sender_name": entry.summary.from_name,
            "direction": "inbound" if writer.outside else "outbound" if outward else "internal",
            "subject": entry.summary.subject,
            "folded": fold(f"{entry.summary.subject}\n{addresses}"),
            "size": len(entry.octets),
            "has_attachments": entry.summary.has_attachments,
            "sent": now,
            "definition": definition.name if not terms.option else "",
            "option": terms.option,
            "policy": terms.policy,
            "print": definition.print,
            "reply": definition.reply,
            "reply_all": definition.reply_all,
            "read_receipt": definition.read_receipt,
            "expires": expires,
            "answers": terms.answers,
        },
    )
    assert created.inserted_primary_key is not None
    secure_id = int(created.inserted_primary_key[0])
    copy = {"secure_id": secure_id, "sent": now}
    own = {**copy, "person_id": writer.person_id, "address": writer.address, "part": "sender", "folder": "sent"}
    tx.execute(insert(secure_copies), {**own, "way": "", "unread": False})
    tx.execute(
        insert(secure_copies),
        [
            {
                **copy,
                "person_id": recipient.person_id,
                "address": recipient.address,
                "name": recipient.name,
                "part": recipient.part,
                "way": recipient.way,
                "folder": "inbox" if recipient.way == "portal" else "",
                "unread": recipient.way != "mail",
            }
            for recipient in recipients
        ],
    )
    facts = {"from": writer.address, "subject": entry.summary.subject, "definition": terms.option or definition.name}
    facts |= {"policy": terms.policy} if terms.policy else {}
    # For whom it waits was counted as it was taken in, unless its sender is outside and has no mailbox.
    counted = [one.address for one in recipients if writer.outside or one.way == "mail"]
    contacts.count(tx, writer.person_id, counted, named, now=now)
    act = audit.Act("secure send", "done", "secure", secure_id, facts)
    audit.record(tx, [act], at=now, caller=caller or writer, request_id=request_id)
    inside = [(recipient.person_id, recipient.address) for recipient in recipients if recipient.way == "mail"]
    if inside:
        _deliver(portal, tx, entry, secure_id, writer, inside, actor=caller, admitted=admitted)
    found = access.load(portal, tx, writer, [secure_id])[secure_id]
    notices = notify(portal, tx, found, found.recipients, caller=caller or writer, request_id=request_id)
    return contract.SentRow(
        id=portal.sealer.id("secure", secure_id),
        definition=definition.name if not terms.option else "",
        option=terms.option or None,
        expires=access.date(expires),
        recipients=[access.recipient(found, one, notices.get(one.id)) for one in found.recipients],
    ).to_json()


def _deliver(
    portal: Portal,
    tx: Connection,
    entry: incoming.Incoming,
    secure_id: int,
    writer: Caller,
    inside: Sequence[tuple[int, str]],
    *,
    actor: Caller | None,
    admitted: bool,
) -> None:
    """What the account's own people get: the message as mail, with a banner; it is screened as any other.

    Raises `Refused` where a mailbox is full, unless room for it was found before.
    """
    whose = f"{writer.address}, outside," if writer.outside else writer.address
    lines = [
        f"[Secure Messaging] {whose} sent this securely.",
        "Answer it as any other mail, or securely here:",
        page(portal, secure_id),
    ]
    headers = [f"X-Secure-Message: {portal.sealer.id('secure', secure_id)}"]
    marked = incoming.parse(
        with_banner(entry.octets, lines, headers, portal.new_id),
        writer.address,
        recipients=inside,
        received=entry.received,
        route="inbound" if writer.outside else "internal",
        vouched=True,
        actor=actor,
        whole=True,
        admitted=admitted,
        bounces_to=writer,
    )
    (results,) = arrival.accept_within(portal, tx, [marked], arrival.store(portal, [marked]), door=writer.door)
    full = [result.recipient for result in results if result.reason == incoming.FULL]
    if full:
        raise Refused("mailbox_full", f"It was not sent: no room in the mailbox of {', of '.join(full)}.")


def divert(
    portal: Portal, tx: Connection, entry: incoming.Incoming, inside: Sequence[tuple[int, str]], trigger: Trigger
) -> None:
    """What a rule sends securely, once it is taken in: recipients outside read it here, the others get the banner."""
    assert entry.by is not None
    definitions = {definition.name: definition for definition in portal.settings.secure.definitions}
    copied = {address for address, _ in entry.summary.cc}
    who = [(outsiders.invite(tx, portal, address), address, "portal") for address in entry.secure]
    who += [(person_id, address, "mail") for person_id, address in inside]
    names = dict((*entry.summary.to, *entry.summary.cc))
    recipients = [
        Recipient(address, names.get(address, ""), "cc" if address in copied else "to", way, person_id)
        for person_id, address, way in who
    ]
    terms = Terms(definitions[trigger.definition], policy=trigger.policy)
    lay(portal, tx, entry, entry.by, recipients, terms, caller=entry.actor, request_id="", admitted=True)
