"""The pages that write secure messages: reply, reply to all, compose, and the options after Send (portal-rules F.2).

Files are uploaded by the first form that brings them, and named by its successors: no step asks for them again.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from mimeportal.account import contract as account
from mimeportal.messages.contract import writing
from mimeportal.secure import contract
from mimeportal.untrusted import safe_name
from mimeportal.wire import Address, Response
from mimeportal_server.portal import Refused
from mimeportal_server.web import showing
from mimeportal_server.web.forms import Form
from mimeportal_server.web.route import Route
from mimeportal_server.web.visit import Visit

# The six choices after Send, in their order and their words (portal-rules F.6).
OPTIONS = {
    "read-receipt": ("Request Read Receipt", "You get a mail when the recipient has opened the message."),
    "no-print-no-reply": ("Restricted - No Print, No Reply", "The recipient can neither print it nor reply to it."),
    "no-print": ("Restricted - No Print", "The recipient cannot print it."),
    "expire-1d": ("Expire Message in 1 Day", "From then on the recipient cannot respond to it."),
    "expire-7d": ("Expire Message in 7 Days", "From then on the recipient cannot respond to it."),
    "expire-30d": ("Expire Message in 30 Days", "From then on the recipient cannot respond to it."),
}
# One of several recipients. Each sign is looked at once, whatever somebody sends.
_RECIPIENT = re.compile(r'(?:"[^"]*+"|[^,;\n])++')
_CONTACTS_SHOWN = 200
_CONTACTS = {"most-used": "Most used", "global": "Global addresses"}


@dataclass(slots=True)
class _Draft:
    """What a form says of a message that is being written. `files` are uploaded: id, filename, size."""

    request_id: str
    to: str = ""
    cc: str = ""
    subject: str = ""
    text: str = ""
    files: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    wrong: str = ""  # the field that the error is about

    def refuse(self, sentence: str, wrong: str | None) -> None:
        """Something of it is not right: the form comes back, and says so beside the field."""
        self.error, self.wrong = sentence, wrong or ""

    @property
    def size(self) -> int:
        return sum(file["size"] for file in self.files)

    @property
    def attachments(self) -> list[contract.AttachmentItem]:
        return [contract.AttachmentItem(id=file["id"], filename=file["filename"]) for file in self.files]


def _read(visit: Visit, offers: contract.SettingsRow) -> _Draft:
    """The draft that a form carries, its new files uploaded. What is too large is left out, and said."""
    form = visit.form
    picked = {name: ", ".join(form.all(f"pick_{name}")) for name in ("to", "cc")}
    draft = _Draft(
        request_id=form.get("request_id") or secrets.token_urlsafe(16),
        to=", ".join(part for part in (form.get("to").strip(" ,"), picked["to"]) if part),
        cc=", ".join(part for part in (form.get("cc").strip(" ,"), picked["cc"]) if part),
        subject=form.get("subject"),
        text=form.get("text").replace("\r\n", "\n"),
        files=_kept(form),
    )
    if draft.size + sum(sent.size for sent in form.files) > offers.attachment_octets:
        sentence = f"The total attachment size exceeds the {offers.attachment_octets // 1024**2} MB limit."
        draft.refuse(sentence, "attachments")
        return draft
    for sent in form.files:
        octets = sent.file.read()
        item = writing.UploadItem(sha256=hashlib.sha256(octets).hexdigest(), file_size=len(octets))
        row = visit.upload(writing.UPLOAD, item, octets)
        draft.files.append({"id": row.id, "filename": safe_name(sent.name), "size": len(octets)})
    return draft


def _kept(form: Form) -> list[dict[str, Any]]:
    """The uploads that an earlier step made, but for those that were taken out."""
    files = []
    for text in form.all("file"):
        try:
            file = json.loads(text)
            named = {"id": str(file["id"]), "filename": str(file["filename"]), "size": int(file["size"])}
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            raise Refused("err_request_malformed", "The form cannot be read.", status=400) from None
        if named["id"] != form.get("remove"):
            files.append(named)
    return files


def _compose(visit: Visit) -> Response:
    return _composing(visit, _offers_of_composing(visit), _Draft(secrets.token_urlsafe(16)))


def _offers_of_composing(visit: Visit) -> contract.SettingsRow:
    """What the account offers somebody who composes. Raises `Refused` where they may not."""
    offers: contract.SettingsRow = visit.ask(contract.SETTINGS, contract.SettingsItem()).row
    if not offers.compose:
        raise Refused("forbidden", "You cannot compose messages in this portal.", status=403)
    return offers


def _composing(visit: Visit, offers: contract.SettingsRow, draft: _Draft) -> Response:
    which = visit.form.get("which") if visit.form.get("which") in _CONTACTS else "most-used"
    word = visit.form.get("find").strip()
    item = account.FindContactsItem(everyone=True if which == "global" else None, search=word or None)
    return visit.page(
        "secure_compose.html",
        422 if draft.error else 200,
        draft=draft,
        offers=offers,
        contacts=visit.ask(account.FIND_CONTACTS, item, size=_CONTACTS_SHOWN).rows,
        which=which,
        kinds=_CONTACTS,
        word=word,
        picking=visit.form.get("step") == "contacts",
        encode=json.dumps,
    )


def _send(visit: Visit) -> Response:
    """Each step of composing: contacts, files, then the options, then the sending itself."""
    offers = _offers_of_composing(visit)
    draft = _read(visit, offers)
    step = visit.form.get("step")
    if step not in ("options", "send") or draft.error:
        return _composing(visit, offers, draft)
    if not draft.to and not draft.cc:
        draft.refuse("Name at least one recipient.", "to")
        return _composing(visit, offers, draft)
    option = visit.form.get("option")
    if step == "options" or option not in OPTIONS:
        options = {name: OPTIONS[name] for name in offers.options}
        error = "Choose one of these options." if step == "send" else ""
        status = 422 if error else 200
        return visit.page(
            "secure_options.html", status, draft=draft, options=options, error=error, offers=offers, encode=json.dumps
        )
    item = contract.SendItem(
        request_id=draft.request_id,
        to=_addresses(draft.to),
        cc=_addresses(draft.cc),
        subject=draft.subject,
        text=draft.text,
        attachments=draft.attachments,
        option=option,
    )
    try:
        visit.ask(contract.SEND, item)
    except Refused as refusal:
        draft.refuse(str(refusal), refusal.failure.field)
        return _composing(visit, offers, draft)
    return visit.go("/secure/sent?done=sent")


def _addresses(text: str) -> list[Address]:
    """What somebody typed as recipients: with or without names, at commas, semicolons, line ends."""
    parts = [part.strip() for part in _RECIPIENT.findall(text)]
    return [_address(part) for part in parts if part]


def _address(text: str) -> Address:
    """`"Ann, the first" <ann@example.com>` or the address alone; whether it is one, the operation says."""
    name, angle, address = text.removesuffix(">").rpartition("<")
    name = name.strip().removeprefix('"').removesuffix('"')
    if not angle or not text.endswith(">") or any(sign in name for sign in '<>"'):
        return Address(email_address=text)
    return Address(email_address=address.strip(), displayable_name=name.strip())


def _reply(visit: Visit) -> Response:
    return _replying(visit, _Draft(secrets.token_urlsafe(16)), visit.query)


def _replying(visit: Visit, draft: _Draft, asked: Form) -> Response:
    everybody = bool(asked.get("all"))
    rows = visit.ask(contract.LIST, contract.ListItem(ids=[visit.parameters["id"]])).rows
    if not rows:
        raise Refused("not_found", "There is no such message that you could answer.", status=404)
    message = rows[0]
    if not (message.may.reply_all if everybody else message.may.reply):
        raise Refused(
            "forbidden", "This message cannot be answered: it has expired, or its sender forbids it.", status=403
        )
    return visit.page(
        "secure_reply.html",
        422 if draft.error else 200,
        draft=draft,
        message=message,
        everybody=everybody,
        times=showing.times(visit),
        offers=visit.ask(contract.SETTINGS, contract.SettingsItem()).row,
        encode=json.dumps,
    )


def _answer(visit: Visit) -> Response:
    draft = _read(visit, visit.ask(contract.SETTINGS, contract.SettingsItem()).row)
    if visit.form.get("step") != "send" or draft.error:
        return _replying(visit, draft, visit.form)
    item = contract.ReplyItem(
        request_id=draft.request_id,
        id=visit.parameters["id"],
        all=bool(visit.form.get("all")),
        text=draft.text,
        attachments=draft.attachments,
    )
    try:
        visit.ask(contract.REPLY, item)
    except Refused as refusal:
        if refusal.failure.code in ("forbidden", "recalled", "expired", "not_found"):  # no correction helps
            return visit.given_back(refusal.status, "Nothing was sent", str(refusal), "Copy it, if you still need it.")
        draft.refuse(str(refusal), refusal.failure.field)
        return _replying(visit, draft, visit.form)
    return visit.go("/secure/sent?done=sent")


ROUTES = [
    Route("GET", "/secure/compose", _compose, session=True),
    Route("POST", "/secure/compose", _send, session=True, files=True),
    Route("GET", "/secure/messages/{id}/reply", _reply, session=True),
    Route("POST", "/secure/messages/{id}/reply", _answer, session=True, files=True),
]
