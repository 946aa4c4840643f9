"""What a caller does to write mail: send, reply, forward, keep drafts, and see what became of what was sent."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Unpack

from mimeportal import limits
from mimeportal.errors import LostAnswerError, UsageError
from mimeportal.holds.hold import checked_id
from mimeportal.messages.asking import Asking
from mimeportal.messages.composing import (
    Attachable,
    FileContent,
    MessageFields,
    NewFile,
    NewMessage,
    Recipient,
    SentMessage,
    addresses,
)
from mimeportal.messages.contract import writing as contract
from mimeportal.messages.tracked import date_of
from mimeportal.paging import PageOf, Pages, page_size_of
from mimeportal.transport import no_such, not_offered
from mimeportal.wire import Address, Content, told_date


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a sent message for one recipient: `delivered`, `pending`, `bounced`, `held` or `rejected`.

    `kind` is where the recipient was named: `to`, `cc` or `bcc`; `info` why, where there is a reason.
    """

    address: str
    kind: str
    status: str
    info: str
    changed: datetime | None


DELIVERY_FIELDS = tuple(entry.name for entry in fields(Delivery))


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that its writer has not sent yet; `attached` is the number of octets of its attachments."""

    id: str
    changed: datetime
    message: NewMessage
    attached: int

    @property
    def to(self) -> tuple[str, ...]:
        """The addresses of its To."""
        return tuple(entry.address for entry in self.message.to)

    @property
    def cc(self) -> tuple[str, ...]:
        """The addresses of its Cc."""
        return tuple(entry.address for entry in self.message.cc)

    @property
    def bcc(self) -> tuple[str, ...]:
        """The addresses of its Bcc."""
        return tuple(entry.address for entry in self.message.bcc)

    @property
    def subject(self) -> str:
        """Its subject."""
        return self.message.subject

    @property
    def attachments(self) -> tuple[str, ...]:
        """The names of its attachments."""
        return tuple(file.name for file in self.message.attachments)


class Writing(Asking):
    """The part of `portal.messages` that writes."""

    def upload(self, file: Attachable) -> NewFile:
        """Upload one file, given as a path or as `(name, octets)`; it can be attached for a day.

        Raises `UsageError` for a file that cannot be read, changes meanwhile, or is too large.
        """
        new = NewFile.of(file)
        if new.content is None:
            return new
        if len(new.content) > limits.UPLOAD:
            raise UsageError(
                f"{new.name} has {len(new.content) / limits.MIB:,.1f} MiB, more than {limits.UPLOAD // limits.MIB}.",
                why="Nothing was sent: no mail server takes a message of that size.",
                remedy="Send it as a large file.",
            )
        return replace(new, upload_id=self._uploaded(new.content), content=None)

    def _uploaded(self, content: Content) -> str:
        if isinstance(content, FileContent):
            sha256 = content.hashed().sha256
        else:
            sha256 = hashlib.sha256(b"".join(content)).hexdigest()
        item = contract.UploadItem(sha256=sha256, file_size=len(content))
        return self._session.one(contract.UPLOAD, item, content=content).id

    def send(
        self, message: NewMessage | None = None, *, request_id: str | None = None, **given: Unpack[MessageFields]
    ) -> SentMessage:
        """Send a message: a `NewMessage`, or the fields of one: `to`, `cc`, `bcc`, `subject`, `body`, `html`,
        `attachments` (paths, or names with octets), `headers`, `mailbox`, `signature`, ...

        `request_id` names the act for 7 days: sent again under it, nothing is sent twice. On Mimecast there is no
        such thing: there a lost answer leaves unknown what became of the message, and nothing is sent again. Raises
        `UsageError` naming what is wrong, `ForbiddenError` for a mailbox that is not the caller's, `NotOfferedError`,
        `LostAnswerError`.
        """
        new = _new(message, given)
        new.check()
        if self._session.offers(contract.SUBMIT):
            name = request_id or str(uuid.uuid4())
            item = contract.SubmitItem(request_id=name, **self._fields(new))
            return self._submitted(item)
        return self._sent_by_mimecast(new, request_id)

    def _submitted(self, item: contract.SubmitItem) -> SentMessage:
        try:
            row = self._session.one(contract.SUBMIT, item)
        except LostAnswerError as fault:
            fault.remedy = f"Send it again with --request-id {item.request_id}: it is never sent twice."
            raise
        return _sent(row, row.id, row.recipients, tuple(row.inline_left_out))

    def _sent_by_mimecast(self, new: NewMessage, request_id: str | None) -> SentMessage:
        api = self._session.api
        self._session.require(contract.SEND_EMAIL, "sending mail")
        if new.mailbox is not None and api == "api2":
            raise not_offered("sending as somebody else: the sender is always the application", api)
        for given, what in (
            (request_id, "a request id for what is sent"),
            (new.signature, "signatures"),
            (new.inline_as_attachments, "attaching the images inside a text"),
        ):
            if given:
                raise not_offered(what, api)
        body = "\n\n".join(filter(None, ((new.body or "").rstrip("\n") if new.quoted else new.body, new.quoted)))
        threading = [] if api == "api2" else [("In-Reply-To", new.in_reply_to)]
        headers = [*new.headers, *threading, ("References", new.references)]
        item = contract.SendEmailItem(
            to=addresses(new.to),
            cc=addresses(new.cc),
            bcc=addresses(new.bcc),
            from_=Address(email_address=new.mailbox) if new.mailbox else None,
            subject=new.subject,
            html_body=self._body(new.html),
            plain_body=self._body(body if body or new.html is None else None),
            attachments=self._attached(new),
            extra_headers=[contract.HeaderField(name=name, value=value) for name, value in headers if value],
            in_reply_to=(new.in_reply_to or None) if api == "api2" else None,
        )
        try:
            row = self._session.one(contract.SEND_EMAIL, item)
        except LostAnswerError as fault:
            raise LostAnswerError(
                f"Whether the message was sent is unknown: {fault.what}",
                code=fault.code,
                status=fault.status,
                request_id=fault.request_id,
                why=fault.why,
                remedy=f"Look before sending it again: {self._look(new)}",
            ) from None
        return _sent(row, "", len(new.everyone))

    def _look(self, new: NewMessage) -> str:
        import shlex

        if self._portal.is_person:
            return "`mimeportal messages list --folder sent --since 1h`."
        return f"`mimeportal messages track --to {shlex.quote(new.everyone[0].address)} --since 1h`."

    def _fields(self, new: NewMessage) -> dict[str, Any]:
        """A message as it travels to a local portal; what is large is uploaded first."""
        return {
            "to": addresses(new.to),
            "cc": addresses(new.cc),
            "bcc": addresses(new.bcc),
            "subject": new.subject,
            "html_body": self._body(new.html),
            "plain_body": self._body(new.body),
            "quoted_body": self._body(new.quoted),
            "attachments": self._attached(new),
            "extra_headers": [contract.HeaderField(name=name, value=value) for name, value in new.headers],
            "in_reply_to": new.in_reply_to or None,
            "references": new.references or None,
            "mailbox": new.mailbox,
            "signature": new.signature,
            "inline_as_attachments": new.inline_as_attachments or None,
        }

    def _body(self, text: str | None) -> contract.BodyItem | None:
        if text is None:
            return None
        octets = text.encode()
        if len(octets) <= limits.INLINE_BODY:
            return contract.BodyItem(content=text)
        return contract.BodyItem(id=self.upload(("text", octets)).upload_id)

    def _attached(self, new: NewMessage) -> list[contract.AttachmentItem]:
        uploaded = [self.upload(file) for file in new.attachments]
        return [
            contract.AttachmentItem(
                id=file.upload_id,
                filename=file.name,
                size=file.size,
                content_type=file.content_type or None,
                content_id=file.content_id or None,
            )
            for file in uploaded
        ]

    # -- answering ---------------------------------------------------------------------------------------------

    def reply(
        self, id: str, *, all: bool = False, request_id: str | None = None, **given: Unpack[MessageFields]
    ) -> SentMessage:
        """Answer a message: to its Reply-To, else its From; with `all` also to its other recipients, without
        oneself. Its text is quoted. Fields are those of `send()`; recipients named here come on top. Raises
        `NotFoundError`, and as `send()`.
        """
        return self.send(self.compose_reply(id, all=all, **given), request_id=request_id)

    def compose_reply(self, id: str, *, all: bool = False, **given: Unpack[MessageFields]) -> NewMessage:
        """What `reply()` would send. Raises `NotFoundError`, `UsageError`."""
        from mimeportal.messages import answering

        return answering.reply(self._portal, checked_id(id), all=all, given=given)

    def forward(
        self, id: str, *, whole: bool = False, request_id: str | None = None, **given: Unpack[MessageFields]
    ) -> SentMessage:
        """Pass a message on: its text quoted under its headers, its attachments attached again; `whole` attaches the
        original in its own octets instead. Fields are those of `send()`, `to` among them. Raises `NotFoundError`, and
        as `send()`.
        """
        return self.send(self.compose_forward(id, whole=whole, **given), request_id=request_id)

    def compose_forward(self, id: str, *, whole: bool = False, **given: Unpack[MessageFields]) -> NewMessage:
        """What `forward()` would send. Raises `NotFoundError`, `UsageError`."""
        from mimeportal.messages import answering

        return answering.forward(self._portal, checked_id(id), whole=whole, given=given)

    # -- drafts ------------------------------------------------------------------------------------------------

    def drafts(self, *, page_size: int | None = None) -> Pages[Draft]:
        """The caller's own drafts, newest first. Nobody else sees them. Raises `NotOfferedError` on Mimecast."""
        self._session.require(contract.DRAFTS, "drafts")
        size = page_size_of(page_size)

        def fetch(token: str | None) -> PageOf[Draft]:
            answer = self._session.call(contract.DRAFTS, [contract.DraftsItem()], page_size=size, page_token=token)
            page = answer.page
            rows = [_draft(row) for row in answer.rows]
            return PageOf(rows, page.total_count if page else None, page.next if page else None)

        return Pages(fetch)

    def draft(self, id: str) -> Draft:
        """One draft. Raises `NotFoundError`, `NotOfferedError` on Mimecast."""
        self._session.require(contract.DRAFT, "drafts")
        with no_such("draft"):
            return _draft(self._session.one(contract.DRAFT, contract.DraftItem(id=checked_id(id))))

    def save_draft(
        self,
        message: NewMessage | None = None,
        *,
        id: str | None = None,
        request_id: str | None = None,
        **given: Unpack[MessageFields],
    ) -> Draft:
        """Keep a message as a draft, in the place of draft `id` where one is named; fields are those of `send()`.

        It need not be complete. Raises `UsageError`, `NotFoundError`, `NotOfferedError` on Mimecast.
        """
        self._session.require(contract.SAVE_DRAFT, "drafts")
        item = contract.SaveDraftItem(
            request_id=request_id or str(uuid.uuid4()), id=id, **self._fields(_new(message, given))
        )
        with no_such("draft"):
            return _draft(self._session.one(contract.SAVE_DRAFT, item))

    def send_draft(self, id: str, *, request_id: str | None = None) -> SentMessage:
        """Send a draft, which is then no longer one. Raises as `send()`, and `NotFoundError`."""
        self._session.require(contract.SUBMIT, "drafts")
        item = contract.SubmitItem(request_id=request_id or str(uuid.uuid4()), draft=checked_id(id))
        with no_such("draft"):
            return self._submitted(item)

    def remove_draft(self, id: str) -> bool:
        """Throw a draft away; whether it was there. Raises `NotFoundError`, `NotOfferedError` on Mimecast."""
        self._session.require(contract.REMOVE_DRAFT, "drafts")
        with no_such("draft"):
            row = self._session.one(contract.REMOVE_DRAFT, contract.DraftItem(id=checked_id(id)))
        return row.outcome == "done"

    # -- what became of it -------------------------------------------------------------------------------------

    def recipients(self, id: str) -> list[Delivery]:
        """What became of a sent message for each of its recipients, Bcc among them.

        Raises `NotFoundError` for what is not the caller's, `NotOfferedError` on Mimecast.
        """
        self._session.require(contract.RECIPIENTS, "telling what became of a sent message")
        with no_such("sent message"):
            answer = self._session.call(contract.RECIPIENTS, [contract.RecipientsItem(id=checked_id(id))])
        return [Delivery(row.address, row.kind, row.status, row.info, date_of(row.changed)) for row in answer.rows]


def _new(message: NewMessage | None, given: MessageFields) -> NewMessage:
    if message is None:
        return NewMessage.of(**given)
    if not isinstance(message, NewMessage):
        raise UsageError(
            f"send() takes a NewMessage, or its fields by name, not {type(message).__name__}.",
            remedy="Write send(to=..., subject=..., body=...).",
        )
    if given:
        raise UsageError("A whole message and single fields exclude each other.", remedy="Leave one of them out.")
    return message


def _sent(row: contract.SendEmailRow, id: str, recipients: int, left_out: tuple[str, ...] = ()) -> SentMessage:
    try:
        date = parsedate_to_datetime(row.message_date_header)
    except ValueError:
        date = None
    if date is not None:
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    return SentMessage(row.message_id, date, id, recipients, left_out)


def _draft(row: contract.DraftRow) -> Draft:
    told = row.message
    message = NewMessage(
        to=_recipients(told.to),
        cc=_recipients(told.cc),
        bcc=_recipients(told.bcc),
        subject=told.subject,
        body=told.plain_body.content if told.plain_body else None,
        html=told.html_body.content if told.html_body else None,
        attachments=tuple(_file(entry) for entry in told.attachments),
        headers=tuple((header.name, header.value) for header in told.extra_headers),
        mailbox=told.mailbox,
        signature=told.signature,
        inline_as_attachments=bool(told.inline_as_attachments),
        in_reply_to=told.in_reply_to or "",
        references=told.references or "",
        quoted=told.quoted_body.content if told.quoted_body else None,
    )
    return Draft(row.id, told_date(row.changed), message, row.size)


def _recipients(told: Iterable[Address]) -> tuple[Recipient, ...]:
    return tuple(Recipient(address.email_address, address.displayable_name) for address in told)


def _file(entry: contract.AttachmentItem) -> NewFile:
    return NewFile(
        entry.filename,
        size=entry.size or 0,
        upload_id=entry.id,
        content_type=entry.content_type or "",
        content_id=entry.content_id or "",
    )
