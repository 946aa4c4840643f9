"""One secure message and whoever asks about it: found or not there, and what may be done with it now.

Who may do what by who they are is in `people.allow_secure`, what the state of the message leaves in
`secure_states`. Here both are asked about a message as it lies in the database, for every operation alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, select

from mimeportal.secure import contract
from mimeportal.wire import Address, format_date
from mimeportal_server import people, secure_states
from mimeportal_server.asked import forbidden
from mimeportal_server.clock import DAY, moment
from mimeportal_server.people import Caller, allow_secure
from mimeportal_server.portal import Call, Portal, Refused
from mimeportal_server.secure_states import Facts, Refusal, Restrictions
from mimeportal_server.store.schema import secure_copies, secure_messages
from mimeportal_server.tokens import InvalidToken

_NOT_FOUND = Refusal("not_found", "There is no such secure message for this caller.")
_OFF = "Secure Messaging is switched off in this account."
_FORBIDDEN = Refusal("forbidden", "This caller may not do that with this message.")
_SENDERS = ("recall", "extend", "expire", "notify")


@dataclass(frozen=True, slots=True)
class Found:
    """A secure message with the copies of its people, and the caller's own among them, if there is one."""

    message: Row[Any]
    copies: Sequence[Row[Any]]
    own: Row[Any] | None

    @property
    def recipients(self) -> list[Row[Any]]:
        return [copy for copy in self.copies if copy.part != "sender"]

    @property
    def facts(self) -> Facts:
        message = self.message
        return Facts(message.expires, message.extended, message.recalled, message.opened)


def require_on(portal: Portal) -> None:
    """Raise `Refused` where the account has no Secure Messaging."""
    if portal.settings.secure.mode == "off":
        raise Refused("forbidden", _OFF, status=403)


def edge(portal: Portal) -> int:
    """What was sent up to this time is no longer kept."""
    return portal.clock.steady() - portal.settings.secure.retention_days * DAY


def number(portal: Portal, id: str) -> int:
    """The number that an id stands for. Raises `Refused`."""
    try:
        return portal.sealer.number("secure", id)
    except InvalidToken:
        raise Refused("xdk_failure", "0007 Invalid token") from None


def load(portal: Portal, tx: Connection, caller: Caller, numbers: Iterable[int]) -> dict[int, Found]:
    """Secure messages that are still kept, by number, whoever's they are."""
    wanted = list(numbers)
    rows = tx.execute(
        select(secure_messages).where(secure_messages.c.id.in_(wanted), secure_messages.c.sent > edge(portal))
    ).all()
    copies: dict[int, list[Row[Any]]] = defaultdict(list)
    for copy in tx.execute(
        select(secure_copies).where(secure_copies.c.secure_id.in_(wanted)).order_by(secure_copies.c.id)
    ):
        copies[copy.secure_id].append(copy)
    return {row.id: Found(row, copies[row.id], _own(caller, copies[row.id])) for row in rows}


def _own(caller: Caller, copies: Sequence[Row[Any]]) -> Row[Any] | None:
    """The caller's copy: their own before that of whoever delegated to them, a recipient's before the sender's."""
    theirs = [copy for copy in copies if caller.acts_for(copy.address)]
    theirs.sort(key=lambda copy: (copy.address != caller.address, copy.part == "sender"))
    return theirs[0] if theirs else None


def of(found: Found, copy_id: int) -> Found:
    """The message as one of its copies shows it: a list may be somebody else's."""
    return replace(found, own=next(copy for copy in found.copies if copy.id == copy_id))


def one(portal: Portal, tx: Connection, call: Call, id: str, act: str) -> Found:
    """The message an id names, where its caller may do this with it now. Raises `Refused`."""
    require_on(portal)
    wanted = number(portal, id)
    found = load(portal, tx, call.caller, [wanted]).get(wanted)
    refusal = judge(portal, call.caller, act, found)
    if refusal is not None or found is None:
        refusal = refusal or _NOT_FOUND
        status = {"not_found": 404, "forbidden": 403}.get(refusal.code, 200)
        raise Refused(refusal.code, refusal.sentence, status=status)
    return found


def judge(portal: Portal, caller: Caller, act: str, found: Found | None) -> Refusal | None:
    """Why this caller may not do this with a message now; None where they may."""
    if found is None:
        return _NOT_FOUND
    message, settings = found.message, portal.settings.secure
    recipients = [copy.address for copy in found.recipients]
    if not allow_secure(caller, "see", message.sender, recipients):
        return _NOT_FOUND
    if not allow_secure(caller, act, message.sender, recipients):
        return _FORBIDDEN
    sends = caller.acts_for(message.sender)
    if act in _SENDERS:
        if not sends and act == "recall" and settings.mode == "lite":  # portal-rules F.14
            return Refusal("forbidden", "In Secure Messaging Lite only its sender recalls a message.")
        return _of_sender(portal, act, found)
    if sends and act not in ("reply", "reply_all", "mark"):
        return Refusal("forbidden", "This account does not offer that.") if act in settings.switched_off() else None
    if act in ("see", "monitor") or found.own is None:  # administrators, who are neither
        return None
    return secure_states.refused(
        act,
        found.facts,
        Restrictions(message.print, message.reply, message.reply_all),
        portal.clock.steady(),
        expired_blocks_read=settings.expired_blocks_read,
        switched_off=settings.switched_off(),
    )


def _of_sender(portal: Portal, act: str, found: Found) -> Refusal | None:
    """What the state of a message leaves to its sender; how far it is extended is asked when that is known."""
    facts, now = found.facts, portal.clock.steady()
    if act == "recall":
        return secure_states.recalling(facts, only_if_unread=portal.settings.secure.recall_only_if_unread)
    if act == "extend":
        later = (facts.expires or 0) + 1
        return secure_states.extending(facts, later, now, latest=later)
    refusal = secure_states.expiring(facts)
    if refusal is None and act == "notify" and not any(waits(copy) for copy in found.recipients):
        return Refusal("nobody_waits", "It waits for nobody: it went to its recipients as mail.")
    return refusal


def waits(copy: Row[Any]) -> bool:
    """Whether the message waits in the secure portal for this recipient, who is notified of it."""
    return bool(copy.part != "sender" and copy.way != "mail")


_ACTS = ("read", "print", "reply", "reply_all", "mark", "delete", "restore", *_SENDERS)


def may(portal: Portal, caller: Caller, found: Found) -> contract.MayRow:
    """What the caller may do with a message now, act by act; exactly what each operation would say."""
    answers = {act: judge(portal, caller, act, found) is None for act in _ACTS}
    folder = found.own.folder if found.own else ""
    answers["delete"] = answers["delete"] and folder in ("inbox", "sent")
    answers["restore"] = answers["restore"] and folder == "deleted"
    if found.message.recalled is not None:
        answers["recall"] = False
    return contract.MayRow(**answers)


def row(portal: Portal, caller: Caller, found: Found, kind: type[contract.SecureRow] = contract.SecureRow) -> Any:
    """A message as a list shows it to this caller. What became of it is told to its sender and administrators."""
    message, own = found.message, found.own
    told = caller.acts_for(message.sender) or caller.administrator
    parts: dict[str, list[Address]] = {"to": [], "cc": []}
    for copy in found.recipients:
        parts[copy.part].append(Address(email_address=copy.address, displayable_name=copy.name))
    return kind(
        id=portal.sealer.id("secure", message.id),
        folder=own.folder if own else "",
        direction=message.direction,
        from_=Address(email_address=message.sender, displayable_name=message.sender_name),
        to=parts["to"],
        cc=parts["cc"],
        subject=message.subject,
        date=format_date(moment(message.sent)),
        size=message.size,
        has_attachments=message.has_attachments,
        unread=bool(own and own.unread),
        status=secure_states.status(found.facts) if told else None,
        definition=message.definition if told else None,
        option=message.option or None if told else None,
        expires=date(message.expires),
        expired=secure_states.expired(found.facts, portal.clock.steady()),
        may=may(portal, caller, found),
    )


def recipient(found: Found, copy: Row[Any], notice: str | None = None) -> contract.RecipientRow:
    """One recipient as the sender sees them: whether they read it, and how it reached them."""
    message = found.message
    facts = Facts(message.expires, message.extended, message.recalled, copy.opened)
    return contract.RecipientRow(
        address=copy.address,
        name=copy.name,
        part=copy.part,
        way=copy.way,
        notice=notice,
        status=secure_states.status(facts),
        read=date(copy.opened),
    )


def date(at: int | None) -> str | None:
    return None if at is None else format_date(moment(at))


def owner(tx: Connection, caller: Caller, mailbox: str | None) -> tuple[int, str]:
    """Whose secure messages are asked about: number and address. Raises `Refused`."""
    person = people.owner_of(tx, caller, mailbox)
    if person is None:
        raise forbidden()
    return int(person.id), str(person.address)
