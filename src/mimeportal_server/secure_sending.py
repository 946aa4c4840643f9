"""How a secure message comes to be: who sends or answers what to whom, on which terms; then it is laid.

One message reaches its recipients in three ways (portal-rules F.1, F.4, F.13):

    who                                    sent by a definition    sent with an option, or in Lite by All
    outside                                portal                  portal
    one of the account's people            mail, with a banner     link

`portal` waits in the secure portal and is in the Inbox there; `link` waits there too, in no list, and is opened by
its own URL (A.19): only so the portal can hold its readers to what the option says. Answers go as mail, except to
whom the answered message came by a link.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, func, select

from mimeportal import limits
from mimeportal.addresses import domain_of, parse_address
from mimeportal.errors import UsageError
from mimeportal.patterns import fold
from mimeportal.secure import contract
from mimeportal_server import (
    arrival,
    audit,
    compose_message,
    incoming,
    mail,
    outsiders,
    people,
    preferences,
    requested,
    uploads,
)
from mimeportal_server import secure_access as access
from mimeportal_server.clock import HOUR, moment
from mimeportal_server.compose_message import File, Mailbox
from mimeportal_server.people import Caller
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.secure_laying import Recipient, Terms, lay
from mimeportal_server.settings_secure import ALL, DEFAULT, Definition
from mimeportal_server.store.schema import messages, secure_messages

# What each of the six options lets recipients do (portal-rules F.6).
_OPTIONS = {
    "read-receipt": replace(DEFAULT, read_receipt=True),
    "no-print-no-reply": replace(DEFAULT, print=False, reply=False, reply_all=False),
    "no-print": replace(DEFAULT, print=False),
    "expire-1d": replace(DEFAULT, expire_days=1),
    "expire-7d": replace(DEFAULT, expire_days=7),
    "expire-30d": replace(DEFAULT, expire_days=30),
}


def send(portal: Portal, call: Call) -> Answer:
    """A new secure message, by a definition or with one of the options of the secure portal."""
    access.require_on(portal)
    item = contract.SendItem.model_validate(call.items[0])
    if (earlier := requested.before(portal, call.caller, item.request_id, call.items[0])) is not None:
        return Answer([earlier])
    with portal.database.read() as tx:
        writer = _writer(tx, call.caller, item.mailbox)
        terms = _terms(portal, writer, item)
        recipients = _addressed(portal, tx, writer, item, terms)
        files = _files(portal, tx, call.caller, item.attachments)
        text = _signed(tx, writer, item.text, item.signature)
    written = compose_message.Parts(
        sender=Mailbox(writer.address),
        to=[one.mailbox for one in recipients if one.part == "to"],
        cc=[one.mailbox for one in recipients if one.part == "cc"],
        subject=item.subject,
        text=text,
        html=item.html,
        files=files,
    )
    sending = _Sending(portal, call, writer, terms, item.request_id)
    return sending.send(written, recipients, keep_inline=item.inline_as_attachments)


def reply(portal: Portal, call: Call) -> Answer:
    """An answer: its recipients are those of the message, and it is restricted, and expires, as what it quotes."""
    item = contract.ReplyItem.model_validate(call.items[0])
    if (earlier := requested.before(portal, call.caller, item.request_id, call.items[0])) is not None:
        return Answer([earlier])
    with portal.database.read() as tx:
        answers = (item.id, "reply_all" if item.all else "reply")
        found = access.one(portal, tx, call, *answers)
        assert found.own is not None  # only recipients may answer
        writer = _writer(tx, call.caller, None if found.own.address == call.caller.address else found.own.address)
        recipients = _answered(portal, tx, found, found.own.address, all=item.all)
        blob = _blob(tx, found.message.message_id)
        files = _files(portal, tx, call.caller, item.attachments)
        text = _signed(tx, writer, item.text, item.signature)
    message = found.message
    definition = Definition(message.definition, print=message.print, reply=message.reply, reply_all=message.reply_all)
    terms = Terms(definition, message.option, "", message.expires, message.id)
    original, preview = mail.summary_and_preview(portal.home.blobs.read(blob))
    written = compose_message.Parts(
        sender=Mailbox(writer.address),
        to=[one.mailbox for one in recipients if one.part == "to"],
        cc=[one.mailbox for one in recipients if one.part == "cc"],
        subject=message.subject if fold(message.subject).startswith("re:") else f"Re: {message.subject}",
        text=f"{text}\n\n{_quoted(message, preview.text)}",
        files=files,
        in_reply_to=original.message_id,
        references=" ".join(original.header("references")),
    )
    return _Sending(portal, call, writer, terms, item.request_id, answers).send(written, recipients)


class _Sending:
    """One message on its way: composed, stored, laid, announced."""

    def __init__(
        self,
        portal: Portal,
        call: Call,
        writer: Caller,
        terms: Terms,
        request_id: str,
        answers: tuple[str, str] | None = None,
    ) -> None:
        self._answers = answers  # the id of what it answers, and by which act
        self._portal = portal
        self._call = call
        self._writer = writer
        self._terms = terms
        self._request_id = request_id
        self._now = portal.clock.now()

    def send(
        self, parts: compose_message.Parts, recipients: Sequence[Recipient], *, keep_inline: bool = False
    ) -> Answer:
        portal, caller = self._portal, self._call.caller
        octets, left_out = self._octets(parts, keep_inline)
        entry = incoming.parse(
            octets,
            self._writer.address,
            recipients=(),
            received=self._now,
            by=self._writer,
            actor=caller,
            secure=[one.address for one in recipients if one.way != "mail"],
            whole=True,
        )
        blobs = arrival.store(portal, [entry])
        with portal.write(caller) as tx:
            earlier = requested.earlier(tx, caller, self._request_id, self._call.items[0])
            if earlier is not None:
                return Answer([earlier])
            self._refuse_too_many(tx)
            (told,) = arrival.accept_within(portal, tx, [entry], blobs, door=caller.door)
            if any(result.reason == incoming.FULL for result in told):
                raise Refused("mailbox_full", "There is no room left for what this sender keeps here.")
            who = [replace(one, person_id=_number(portal, tx, one)) for one in recipients]
            request = self._call.request_id
            if self._answers is not None:  # recalled, or expired, at this very moment
                answered = access.one(portal, tx, self._call, *self._answers)
                facts = {"subject": answered.message.subject}
                act = audit.Act("secure reply", "done", "secure", answered.message.id, facts)
                audit.record(tx, [act], at=self._now, caller=caller, request_id=request)
            row = lay(portal, tx, entry, self._writer, who, self._terms, caller=caller, request_id=request)
            row["inlineLeftOut"] = left_out
            requested.remember(tx, caller, self._request_id, self._call.items[0], row, now=self._now)
        return Answer([row])

    def _octets(self, parts: compose_message.Parts, keep_inline: bool) -> tuple[bytes, list[str]]:
        """The octets of the message, and the images inside its text that they are without."""
        domain = self._portal.settings.domains[0]
        complete = replace(parts, date=self._now, message_id=f"<{self._portal.new_id()}@{domain}>")
        try:
            written = compose_message.write(complete, new_id=self._portal.new_id, outside=True, keep_inline=keep_inline)
        except UsageError as fault:
            raise Refused("err_validation_value_not_allowed", f"{fault.what} {fault.remedy}".strip()) from None
        return written.outside or written.octets, list(written.left_out)

    def _refuse_too_many(self, tx: Connection) -> None:
        if not self._writer.outside:
            return
        lately = tx.scalar(
            select(func.count())
            .select_from(secure_messages)
            .where(
                secure_messages.c.person_id == self._writer.person_id,
                secure_messages.c.sent > self._portal.clock.now() - HOUR,
            )
        )
        if int(lately or 0) >= limits.SECURE_PER_HOUR:
            sentence = f"People outside send at most {limits.SECURE_PER_HOUR} messages in an hour."
            raise Refused("err_quota_exceeded", sentence, status=429, retryable=True)


# -- who writes, to whom, on which terms ---------------------------------------------------------------------------


def _writer(tx: Connection, caller: Caller, mailbox: str | None) -> Caller:
    """Whose message it is: the caller's, or that of an owner who made them a delegate (promises C.6)."""
    address = access.owner(tx, caller, mailbox)[1]
    if not caller.acts_for(address):  # an administrator sees others' mail, and writes none for them
        raise Refused("forbidden", f"This caller does not write as {address}.", status=403)
    if address == caller.address:
        return caller
    writer = people.caller_of(tx, address, caller.door)
    if writer is None:
        raise Refused("forbidden", f"This caller does not write as {address}.", status=403)
    return writer


def _terms(portal: Portal, writer: Caller, item: contract.SendItem) -> Terms:
    settings = portal.settings.secure
    if item.definition is not None and item.option is not None:
        raise Refused(
            "err_validation_value_not_allowed", "A definition and an option exclude each other.", field="option"
        )
    if (writer.outside or item.option is not None) and not settings.may_compose(writer.address):
        raise Refused("forbidden", "This account does not let this caller compose in the secure portal.", status=403)
    if item.option is not None:
        if item.option not in _OPTIONS:
            raise Refused("err_validation_value_not_allowed", f"There is no option {item.option!r}.", field="option")
        return Terms(_OPTIONS[item.option], item.option)
    if item.definition is None:
        return Terms(settings.definitions[0])
    offered = () if writer.outside else settings.offered(writer.address)
    for definition in offered:
        if definition.name == item.definition:
            return Terms(definition)
    raise Refused(
        "err_validation_value_not_allowed",
        f"There is no definition {item.definition!r} for this sender.",
        field="definition",
    )


def _addressed(
    portal: Portal, tx: Connection, writer: Caller, item: contract.SendItem, terms: Terms
) -> list[Recipient]:
    """Every recipient once, where they were named first. Raises `Refused` naming the wrong one."""
    named: dict[str, tuple[str, str]] = {}
    for part, given in (("to", item.to), ("cc", item.cc)):
        for entry in given:
            try:
                named.setdefault(parse_address(entry.email_address), (entry.displayable_name, part))
            except UsageError as fault:
                raise Refused("err_validation_invalid_email_address", fault.what, field=part) from None
    if not named:
        raise Refused("err_validation_null", "The message has no recipient.", field="to")
    if len(named) > limits.SECURE_RECIPIENTS:
        raise Refused(
            "err_validation_count", f"A message has at most {limits.SECURE_RECIPIENTS} recipients.", field="to"
        )
    inside = "link" if terms.option or terms.definition == ALL else "mail"
    found = [
        Recipient(address, name, part, _way(portal, tx, address, part, inside))
        for address, (name, part) in named.items()
    ]
    outside = [one for one in found if one.way == "portal"]
    if writer.outside and outside:
        sentence = f"People outside write to the account's own people, and {outside[0].address} is none."
        raise Refused("forbidden", sentence, status=403, field=outside[0].part)
    if not writer.outside and not terms.option and not outside:
        raise Refused(
            "err_validation_internal_only",
            "All recipients are inside, where no definition applies. Send ordinary mail, or choose an option.",
            field="to",
        )
    return found


def _way(portal: Portal, tx: Connection, address: str, part: str, inside: str) -> str:
    person = people.find(tx, address)
    if domain_of(address) not in portal.settings.domains:
        if person is not None and person.disabled:
            raise Refused("err_validation_recipient_disabled", f"{address} is locked out of this portal.", field=part)
        return "portal"
    if person is None or person.kind != "person" or person.disabled:
        raise _nobody(address, part)
    return inside


def _nobody(address: str, field: str) -> Refused:
    return Refused("err_validation_unknown_recipient", f"{address} is none of the portal's people.", field=field)


def _answered(portal: Portal, tx: Connection, found: access.Found, own: str, *, all: bool) -> list[Recipient]:
    """Who gets an answer: the sender, or everybody else; who left meanwhile gets none, unless it is the sender."""
    ways = {copy.address: "link" if copy.way == "link" else "mail" for copy in found.recipients}
    inside = "link" if found.message.definition == ALL.name else "mail"
    sender = found.message.sender
    told = [Recipient(sender, found.message.sender_name, "to", _way(portal, tx, sender, "to", inside))]
    for copy in found.recipients if all else ():
        if copy.address in (own, found.message.sender):
            continue
        try:
            way = _way(portal, tx, copy.address, copy.part, ways[copy.address])
        except Refused:
            continue
        told.append(Recipient(copy.address, copy.name, copy.part, way))
    return told


def _number(portal: Portal, tx: Connection, recipient: Recipient) -> int:
    """The number of a recipient; whoever is outside gets one with their first message."""
    if recipient.way == "portal":
        return outsiders.invite(tx, portal, recipient.address)
    person = people.find(tx, recipient.address)
    if person is None:
        raise Refused(
            "err_validation_unknown_recipient", f"{recipient.address} is none of the portal's people.", field="to"
        )
    return int(person.id)


# -- what is written ----------------------------------------------------------------------------------------------


def _signed(tx: Connection, writer: Caller, text: str, wanted: bool) -> str:
    """The text with its writer's signature (portal-rules F.21)."""
    signature = preferences.chosen(tx, writer.person_id).get("signature", "") if wanted else ""
    return f"{text.rstrip()}\n\n-- \n{signature}" if signature else text


def _quoted(message: Row[Any], text: str) -> str:
    lines = text.rstrip("\n").split("\n")
    head = f"On {moment(message.sent):%Y-%m-%d at %H:%M} UTC, {message.sender} wrote:"
    return "\n".join([head, *(f"> {line}".rstrip() for line in lines)])


def _blob(tx: Connection, message_id: int) -> str:
    row = tx.execute(select(messages.c.blob, messages.c.purged).where(messages.c.id == message_id)).one()
    if row.purged:
        raise Refused("not_found", "There is no such secure message for this caller.", status=404)
    return str(row.blob)


def _files(
    portal: Portal, tx: Connection, caller: Caller, attachments: Sequence[contract.AttachmentItem]
) -> list[File]:
    """The uploaded files of a message. Raises `Refused` for one that is not there, and above the limit in all."""
    if len(attachments) > limits.ATTACHMENTS:
        sentence = f"A message has at most {limits.ATTACHMENTS} attachments."
        raise Refused("err_validation_count", sentence, field="attachments")
    rows = [(item, uploads.find(portal, tx, caller, item.id, "attachments")) for item in attachments]
    if sum(row.size for _, row in rows) > limits.SECURE_ATTACHMENTS:
        raise Refused("err_validation_attachments_too_large", contract.TOO_LARGE, field="attachments")
    return [File(item.filename or "attachment", uploads.read(portal, row)) for item, row in rows]
