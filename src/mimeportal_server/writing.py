"""Sending what people write: from the items of a request to a message that lies in Sent and is on its way."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import format_datetime
from html import escape

from pydantic import ValidationError
from sqlalchemy import Connection, select

from mimeportal import limits
from mimeportal.addresses import domain_of, parse_address
from mimeportal.errors import UnavailableError, UsageError
from mimeportal.messages.contract import writing as contract
from mimeportal.wire import Address, Failure, JsonObject
from mimeportal_server import arrival, audit, compose_message, drafts, incoming, people, preferences, requested, uploads
from mimeportal_server.asked import forbidden, not_allowed
from mimeportal_server.clock import moment
from mimeportal_server.compose_message import File, Mailbox, Parts
from mimeportal_server.incoming import Incoming
from mimeportal_server.people import Caller
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.database import StoreError
from mimeportal_server.store.schema import mailbox

_BAD_ADDRESS = "err_validation_invalid_email_address"
_THREADING = {"in-reply-to": "inReplyTo", "references": "references"}
_KINDS = ("to", "cc", "bcc")
_GROUP = 100  # messages of one send-email that share a commit
_GROUP_OCTETS = 64 * limits.MIB
_NAMED = 5  # full mailboxes that an error names


@dataclass(slots=True)
class Composed:
    """A message that is ready to go: its envelope, what the answer tells, the images left out outside."""

    entry: Incoming
    message_id: str
    date: str
    left_out: tuple[str, ...]

    @property
    def row(self) -> JsonObject:
        return {"messageId": self.message_id, "messageDateHeader": self.date}


# -- operations ------------------------------------------------------------------------------------------------


def send_email(portal: Portal, call: Call) -> Answer:
    """Mimecast's send-email (mimecast-api-portal 3.1): each message by itself, failures beside those that went."""
    answer = Answer()
    group: list[tuple[JsonObject, Composed]] = []
    for raw in call.items:
        try:
            item = contract.ComposeItem.model_validate({**_threaded(raw), "signature": False, "mailbox": None})
            with portal.database.read() as tx:
                group.append((raw, compose(portal, tx, call.caller, item)))
        except ValidationError as fault:
            problem = fault.errors(include_url=False, include_context=False, include_input=False)[0]
            field = ".".join(str(part) for part in problem["loc"])
            answer.failures.append(Failure("err_validation_value_not_allowed", problem["msg"], field, key=raw))
        except Refused as refusal:
            failure = refusal.failure
            answer.failures.append(Failure(failure.code, failure.message, failure.field, key=raw))
        if len(group) == _GROUP or sum(len(composed.entry.octets) for _, composed in group) > _GROUP_OCTETS:
            _send_group(portal, call, group, answer)
            group = []
    _send_group(portal, call, group, answer)
    return answer


def _threaded(raw: JsonObject) -> JsonObject:
    """An item whose conversation, told in headers where there is no field for it, is told in fields."""
    item = contract.SendEmailItem.model_validate(raw)
    told = {header.name.lower(): header.value for header in item.extra_headers}
    left = [header.to_json() for header in item.extra_headers if header.name.lower() not in _THREADING]
    fields = {field: told[name] for name, field in _THREADING.items() if name in told}
    return {**item.to_json(), "references": None, **fields, "extraHeaders": left}


def _send_group(portal: Portal, call: Call, group: Sequence[tuple[JsonObject, Composed]], answer: Answer) -> None:
    """Send some of a request's messages in one transaction. Once any of them went, what fails later fails alone."""
    if not group:
        return
    batch = [composed.entry for _, composed in group]
    try:
        blobs = arrival.store(portal, batch)
        # Whoever signed a request has acted on it with the first of its messages.
        with portal.write(None if answer.rows else call.caller) as tx:
            results = arrival.accept_within(portal, tx, batch, blobs, door=call.caller.door)
            gone = [composed for (_, composed), told in zip(group, results, strict=True) if not _is_full(told)]
            _record(portal, tx, call, gone)
    except (StoreError, UnavailableError, OSError) as fault:
        if not answer.rows:
            raise
        answer.failures += [
            Failure("err_portal_store", f"It was not sent: {fault}", retryable=True, key=raw) for raw, _ in group
        ]
        return
    for (raw, composed), told in zip(group, results, strict=True):
        if _is_full(told):
            answer.failures.append(Failure("mailbox_full", _full(composed.entry, told), key=raw))
        else:
            answer.rows.append(composed.row)


def submit(portal: Portal, call: Call) -> Answer:
    """Our own operation: one message, once for each request id, with all that Mimecast has no field for."""
    raw = call.items[0]
    item = contract.SubmitItem.model_validate(raw)
    if (known := requested.before(portal, call.caller, item.request_id, raw)) is not None:
        return Answer([known])
    with portal.database.read() as tx:
        draft = drafts.owned(portal, tx, call.caller, item.draft) if item.draft else None
        given = {key: value for key, value in raw.items() if value or value is False}
        message = {**json.loads(draft.content), **given} if draft else raw
        composed = compose(portal, tx, call.caller, contract.ComposeItem.model_validate(message))
    blobs = arrival.store(portal, [composed.entry])
    with portal.write(call.caller) as tx:
        known = requested.earlier(tx, call.caller, item.request_id, raw)
        if known is not None:
            return Answer([known])
        if draft is not None:
            drafts.take(tx, draft)
        (told,) = arrival.accept_within(portal, tx, [composed.entry], blobs, door=call.caller.door)
        if _is_full(told):
            raise Refused("mailbox_full", _full(composed.entry, told))
        _record(portal, tx, call, [composed])
        row = {
            "id": portal.sealer.id("mailbox", _sent(tx, composed.entry)),
            **composed.row,
            "recipients": len(told),
            "inlineLeftOut": list(composed.left_out),
        }
        requested.remember(tx, call.caller, item.request_id, raw, row, now=portal.clock.now())
    return Answer([row])


def _full(entry: Incoming, results: Sequence[incoming.Result]) -> str:
    """The sentence that says whose mailboxes are full."""
    full = [result.recipient for result in results if result.reason == incoming.FULL]
    inside = {address for _, address in entry.recipients}
    whose = [address for address in full if address in inside][:_NAMED]
    if not inside.issuperset(full):
        whose.append("its sender, where copies for recipients outside are kept")
    return f"It was not sent: no room in the mailbox of {', of '.join(whose)}."


def _is_full(results: Sequence[incoming.Result]) -> bool:
    return any(result.outcome == "refused" for result in results)


def _sent(tx: Connection, entry: Incoming) -> int:
    """Where a message lies among those its sender sent."""
    assert entry.by is not None
    lying = (mailbox.c.message_id == entry.number, mailbox.c.folder == "sent")
    number = tx.scalar(select(mailbox.c.id).where(*lying, mailbox.c.person_id == entry.by.person_id))
    return int(number or 0)


def _record(portal: Portal, tx: Connection, call: Call, gone: Sequence[Composed]) -> None:
    acts = [
        audit.Act(
            "send",
            "done",
            "message",
            composed.entry.number,
            {
                "from": composed.entry.summary.from_address or "",
                "to": [*composed.entry.named],
                "subject": composed.entry.summary.subject,
            },
        )
        for composed in gone
    ]
    audit.record(tx, acts, at=portal.clock.now(), caller=call.caller, request_id=call.request_id)


# -- from an item to a message ---------------------------------------------------------------------------------


def compose(portal: Portal, tx: Connection, caller: Caller, item: contract.ComposeItem) -> Composed:
    """Make a message of an item. Raises `Refused` naming the field that is wrong: then nothing was sent."""
    sender, by = _sender(portal, tx, caller, item)
    shown = {kind: _mailboxes(getattr(item, kind), kind) for kind in _KINDS}
    named: dict[str, str] = {}
    for kind in _KINDS:
        for mailbox_ in shown[kind]:
            named.setdefault(mailbox_.address, kind)
    if not named:
        raise Refused("err_validation_null", "The message has no recipient", field="to")
    if sum(map(len, shown.values())) > limits.RECIPIENTS:
        raise Refused("err_validation_count", f"A message has at most {limits.RECIPIENTS} recipients.", field="to")
    if len(item.extra_headers) > limits.EXTRA_HEADERS:
        sentence = f"A message has at most {limits.EXTRA_HEADERS} headers of its writer's own."
        raise Refused("err_validation_count", sentence, field="extraHeaders")
    inside, outside = _divided(portal, tx, named)
    text, html = _texts(portal, tx, caller, by, item)
    now = portal.clock.now()
    domain = portal.settings.domains[0] if by is caller and _is_app(caller) else domain_of(sender.address)
    try:
        in_reply_to = "".join(compose_message.message_ids(item.in_reply_to or "", name="inReplyTo")[:1])
        parts = Parts(
            sender=sender,
            to=shown["to"],
            cc=shown["cc"],
            subject=item.subject,
            text=text,
            html=html,
            files=list(_files(portal, tx, caller, item.attachments)),
            headers=[(header.name, header.value) for header in item.extra_headers],
            in_reply_to=in_reply_to,
            references=" ".join(compose_message.message_ids(item.references or "", name="references")),
            message_id=f"<{portal.new_id()}@{domain}>",
            date=now,
        )
        written = compose_message.write(
            parts, new_id=portal.new_id, outside=bool(outside), keep_inline=bool(item.inline_as_attachments)
        )
    except UsageError as fault:
        raise Refused("err_validation_value_not_allowed", fault.what) from None
    most = portal.settings.limits["message"]
    if len(written.octets) > most:
        raise Refused("err_message_too_large", f"A message has at most {most:,} octets, with its attachments encoded.")
    entry = incoming.parse(
        written.octets,
        sender.address,
        recipients=inside,
        received=now,
        route="internal",
        by=by,
        actor=None if by is caller else caller,
        outside=outside,
        whole=True,
        named=named,
        outside_octets=written.outside,
        bounces_to=by,
    )
    return Composed(entry, parts.message_id, format_datetime(moment(now)), written.left_out)


def _is_app(caller: Caller) -> bool:
    return caller.address.startswith("app:")


def _sender(portal: Portal, tx: Connection, caller: Caller, item: contract.ComposeItem) -> tuple[Mailbox, Caller]:
    """Whose message it is, and as whom it is kept: the caller's, or an owner's who delegated (promises C.6).

    An app has no address: it writes from the portal's own, whatever `from` says (mimecast-api-portal 3.1).
    """
    if _is_app(caller):
        if item.mailbox is not None:
            raise forbidden()
        return Mailbox(portal.settings.mail_from, caller.address.partition(":")[2]), caller
    given = item.from_
    named = item.mailbox or (given.email_address if given else "")
    address = _address(named, "mailbox" if item.mailbox else "from") if named else caller.address
    if not caller.acts_for(address):
        raise forbidden()
    sender = Mailbox(address, given.displayable_name if given else "")
    if address == caller.address:
        return sender, caller
    owner = people.find(tx, address)
    if owner is None:
        raise forbidden()
    return sender, people.caller(tx, owner, caller.door)


def _address(text: str, field: str) -> str:
    try:
        address = parse_address(text)
    except UsageError:
        raise Refused(_BAD_ADDRESS, f"Email address is not valid: {text[:80]!r}", field=field) from None
    if not address.isascii():
        raise Refused(_BAD_ADDRESS, f"{text[:80]!r} has letters that not every mail server takes.", field=field)
    return address


def _mailboxes(given: Sequence[Address], field: str) -> list[Mailbox]:
    return [Mailbox(_address(entry.email_address, field), entry.displayable_name) for entry in given]


def _divided(portal: Portal, tx: Connection, named: Mapping[str, str]) -> tuple[list[tuple[int, str]], list[str]]:
    """The portal's own people among the recipients, and everybody else. Raises `Refused` for who is nobody here."""
    inside, outside = [], []
    for address, kind in named.items():
        if domain_of(address) not in portal.settings.domains:
            outside.append(address)
            continue
        person = people.find(tx, address)
        if person is None or person.disabled or person.kind != "person":
            raise Refused("err_validation_unknown_recipient", f"There is no such recipient here: {address}", field=kind)
        inside.append((int(person.id), address))
    return inside, outside


def _files(portal: Portal, tx: Connection, caller: Caller, given: Sequence[contract.AttachmentItem]) -> Iterator[File]:
    if len(given) > limits.ATTACHMENTS:
        most = f"A message has at most {limits.ATTACHMENTS} attachments."
        raise Refused("err_validation_count", most, field="attachments")
    rows = [(item, uploads.find(portal, tx, caller, item.id, "attachments")) for item in given]
    if sum(row.size for _, row in rows) > limits.UPLOAD:
        sentence = f"The attachments of a message have at most {limits.UPLOAD // limits.MIB} MiB together."
        raise Refused("err_message_too_large", sentence, field="attachments")
    for item, row in rows:
        if item.size is not None and item.size != row.size:
            sentence = f"The size of {item.filename[:80]!r} is {item.size}, and {row.size} octets were uploaded."
            raise not_allowed(sentence, "attachments")
        content_id = (item.content_id or "").strip("<>")
        yield File(item.filename or "attachment", uploads.read(portal, row), item.content_type or "", content_id)


# -- texts -----------------------------------------------------------------------------------------------------


def _texts(
    portal: Portal, tx: Connection, caller: Caller, by: Caller, item: contract.ComposeItem
) -> tuple[str | None, str | None]:
    """The text and the HTML, each with the signature and what is quoted behind it."""

    def read(body: contract.BodyItem | None, field: str) -> str | None:
        return _text(portal, tx, caller, body, field) if body else None

    text, html = read(item.plain_body, "plainBody"), read(item.html_body, "htmlBody")
    quoted = read(item.quoted_body, "quotedBody")
    signature = _signature(tx, by, item.signature)
    if html is None:
        text = text or ""
    if text is not None:
        behind = [f"-- \n{signature}"] if signature else []
        behind += [quoted] if quoted else []
        text = "\n\n".join([text.rstrip("\n"), *behind]) if behind else text
    if html is not None:
        behind = [f"<p>-- <br>{_lines(signature)}</p>"] if signature else []
        behind += [f"<blockquote>{_lines(quoted)}</blockquote>"] if quoted else []
        html = _appended(html, "".join(behind))
    return text, html


def _text(portal: Portal, tx: Connection, caller: Caller, body: contract.BodyItem, field: str) -> str:
    if body.id is None:
        return body.content or ""
    octets = uploads.read(portal, uploads.find(portal, tx, caller, body.id, field))
    charset = body.charset or "utf-8"
    try:
        return octets.decode(codecs.lookup(charset).name)
    except (LookupError, UnicodeError, ValueError):
        raise not_allowed(f"The uploaded text is not in {charset[:40]!r}.", field) from None


def _signature(tx: Connection, by: Caller, wanted: bool | None) -> str:
    """What the sender's preferences say to put under every message. Raises `Refused` where it is missed."""
    if wanted is False:
        return ""
    signature = preferences.chosen(tx, by.person_id).get("signature", "")
    if wanted and not signature:
        raise not_allowed("The preferences of the sender have no signature.", "signature")
    return signature


def _lines(text: str | None) -> str:
    return "<br>\n".join(escape(line, quote=False) for line in (text or "").splitlines())


def _appended(html: str, more: str) -> str:
    """HTML with something at the end of its body."""
    lowered = html.lower()
    ends = [at for at in (lowered.rfind("</body>"), lowered.rfind("</html>")) if at >= 0]
    end = min(ends, default=len(html))
    return html[:end] + more + html[end:]


OPERATIONS: Mapping[str, Callable[[Portal, Call], Answer]] = {
    "messages.upload": uploads.upload,
    "messages.send_email": send_email,
    "messages.submit": submit,
    **drafts.OPERATIONS,
}
