"""What one message of a mailbox says: facts, texts, octets, attachments (mimecast-api-portal 2.2 to 2.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from sqlalchemy import Row

from mimeportal.messages.contract import mailbox as contract
from mimeportal.untrusted import visible_lines
from mimeportal_server import content, mail
from mimeportal_server.asked import not_allowed
from mimeportal_server.mailbox import MAIL, smash
from mimeportal_server.people import Caller, may_read
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.schema import mailbox

_PREVIEW = 100  # characters (mimecast-api-portal 2.2)


def detail(portal: Portal, call: Call) -> Answer:
    """archive/get-message-detail (2.2), with the texts beside it; what was delivered is what was received."""
    item = contract.MailDetailItem.model_validate(call.items[0])
    _check_context(item.context)
    row = _message(portal, call.caller, content.number(portal, "mailbox", item.id))
    facts = content.detail(portal, row, "mailfile")
    told = contract.MailDetailRow(
        id=item.id,
        status="ARCHIVED",
        message_body_preview=" ".join((facts["text_body"] or "").split())[:_PREVIEW],
        **{**facts, "smash": smash(row)},
    )
    content.record(portal, call, "view", "mailbox", row)
    return Answer([told.to_json()])


def part(portal: Portal, call: Call) -> Answer:
    """archive/get-message-part (2.3): one body, the whole message, or all behind its headers, as octets."""
    item = contract.PartItem.model_validate(call.items[0])
    kind = item.type.upper()
    if kind not in contract.PARTS:
        raise not_allowed(f"Field must be one of [{','.join(contract.PARTS)}]", "type")
    _check_context(item.context)
    _check_flags(item, kind)
    row = _message(portal, call.caller, content.number(portal, "mailbox", item.id))
    octets = portal.home.blobs.read(row.blob)
    if kind == "RFC822":
        answer = content.whole(portal, row)
    elif kind == "TRANSMISSION_MESSAGE_BODY":
        answer = Answer(body=iter([mail.body(octets)]), filename="body")
    else:
        text = _page(item, mail.preview(octets)) if kind == "HTML" else _plain(item, mail.preview(octets))
        if text is None:
            raise Refused("not_found", "The message has no such part.", status=404)
        answer = Answer(body=iter([text.encode()]), filename="body.html" if kind == "HTML" else "body.txt")
    content.record(portal, call, "view", "mailbox", row)
    return answer


def _check_context(context: str | None) -> None:
    if context is not None and context not in contract.CONTEXTS:
        raise not_allowed(f"Field must be one of [{','.join(contract.CONTEXTS)}]", "context")


def _check_flags(item: contract.PartItem, kind: str) -> None:
    """Raise `Refused` for a flag that could do nothing."""
    flags = {
        "extractFromHtml": (item.extract_from_html, kind == "PLAIN"),
        "stripDangerous": (item.strip_dangerous, kind == "HTML"),
        "stripImg": (item.strip_img, kind == "HTML" and item.strip_dangerous),
        "stripStyles": (item.strip_styles, kind == "HTML" and item.strip_dangerous),
        "transposeInlineCID": (item.transpose_inline_cid, kind == "HTML" and item.strip_dangerous),
    }
    for name, (given, fitting) in flags.items():
        if given and not fitting:
            needs = "PLAIN" if name == "extractFromHtml" else "HTML"
            more = "" if name in ("extractFromHtml", "stripDangerous") else ", together with stripDangerous"
            raise not_allowed(f"{name} goes with the type {needs}{more}.", name)


def _page(item: contract.PartItem, preview: mail.Preview) -> str | None:
    """The HTML as it came; or made safe, which takes styles away too, with its text where it is too large for that."""
    if preview.html is None or not item.strip_dangerous:
        return preview.html
    from mimeportal.untrusted_html import safe_html

    images = preview.images if item.transpose_inline_cid and not item.strip_img else {}
    safe = safe_html(preview.html, cid_images=images, remote_images=not item.strip_img)
    return safe if safe is not None else f"<pre>{escape(visible_lines(preview.text))}</pre>"


def _plain(item: contract.PartItem, preview: mail.Preview) -> str | None:
    """The text; with `extractFromHtml` what the HTML says, where there is HTML."""
    if item.extract_from_html and preview.html is not None:
        from mimeportal.untrusted_html import html_to_text

        return html_to_text(preview.html)
    return None if preview.text_of_html else preview.text or None


def file(portal: Portal, call: Call) -> Answer:
    """archive/get-file (2.4): one attachment, or by a message's id all of it."""
    return _FILES.hand_over(portal, call, contract.MailFileItem.model_validate(call.items[0]).id)


def fetch(portal: Portal, call: Call) -> Answer:
    """What a URL of `file` leads to."""
    return _FILES.fetched(portal, call, contract.MailFetchItem.model_validate(call.items[0]).context)


def _message(portal: Portal, caller: Caller, number: int) -> Row[Any]:
    """A message in a mailbox, where it is kept and the caller may see what it says. Raises `Refused`."""
    with portal.database.read() as tx:
        row = tx.execute(MAIL.where(mailbox.c.id == number)).first()
    if row is None or not (caller.acts_for(row.owner) or caller.administrator):
        raise Refused("not_found", "There is no such message for this caller.", status=404)
    if not may_read(caller, row.owner):
        raise Refused("forbidden", "This caller may not see the content of this message.", status=403)
    return row


_FILES = content.Files("mailbox", "mailfile", contract.FETCH, _message)

OPERATIONS: Mapping[str, Callable[[Portal, Call], Answer]] = {
    "messages.detail": detail,
    "messages.part": part,
    "messages.file": file,
    "messages.fetch": fetch,
}
