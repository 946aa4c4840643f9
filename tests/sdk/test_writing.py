"""Mail that people write, through the SDK: what leaves, what stays, whose it is, and what is refused whole."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from asking import asking
from conftest import ADMIN, ANN, BOB, MOD, Lab, mail_of
from mimeportal import limits
from mimeportal.errors import ApiError, ForbiddenError, NotFoundError, NotOfferedError, UsageError
from mimeportal.messages import NewMessage, SentMessage
from mimeportal.messages.composing import FileContent, recipients
from mimeportal.portal import Portal
from mimeportal_server import delivery, keeping, people, tokens
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal as ServerPortal
from mimeportal_server.status import delivery_rows
from mimeportal_server.store.schema import audit, audit_details, delegates, deliveries, messages, uploads
from mimeportal_server.store.schema import people as people_table

OUT = "pal@outside.example"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(60))


@pytest.fixture
def ann(lab: Lab) -> Iterator[Portal]:
    with lab.client() as portal:
        yield portal


@pytest.fixture
def bob(lab: Lab) -> Iterator[Portal]:
    with lab.client(BOB) as portal:
        yield portal


def left(lab: Lab, to: str) -> list[bytes]:
    """The octets that were handed on to one recipient."""
    with lab.client():
        pass  # whoever closes a portal delivers first
    with lab.server.database.read() as tx:
        rows = tx.execute(select(deliveries).where(deliveries.c.recipient == to).order_by(deliveries.c.id)).all()
    files = {path.name.split(".")[1]: path.read_bytes() for path in lab.outgoing()}
    return [files[f"D{row.id}"] for row in rows]


def read(octets: bytes) -> EmailMessage:
    """As another program reads it."""
    message = message_from_bytes(octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def shown(part: Any) -> str:
    return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""


def acts(lab: Lab, action: str) -> list[Any]:
    with lab.server.database.read() as tx:
        return list(
            tx.execute(
                select(audit.c.actor, audit.c.outcome, audit_details.c.detail)
                .join(audit_details, audit_details.c.audit_id == audit.c.id)
                .where(audit.c.action == action)
            )
        )


def count(lab: Lab) -> int:
    with lab.server.database.read() as tx:
        return len(tx.execute(select(messages.c.id)).all())


# -- what leaves -----------------------------------------------------------------------------------------------


def test_a_message_as_others_read_it(lab: Lab, ann: Portal) -> None:
    names = [f"Zoë, the {number}th" for number in range(60)]
    sent = ann.messages.send(
        to=[f'"{name}" <zoe{number}@outside.example>' for number, name in enumerate(names)],
        cc=[f"Bob <{BOB}>"],
        bcc=[OUT, ADMIN],
        subject="Grüße, a subject so long that it has to be folded somewhere, though nowhere within a word",
        body="Viele Grüße\n" + "a long line " * 30 + "\nFrom here\n.\n",
        attachments=[("Übersicht 2027.pdf", b"%PDF" * 100), ("plain.bin", bytes(range(256)))],
        headers=[("X-Project", "Gärten"), ("Reply-To", BOB)],
    )
    (octets,) = left(lab, OUT)
    assert octets.isascii()
    assert b"\r\n" in octets
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert OUT.encode() not in octets
    assert ADMIN.encode() not in octets
    message = read(octets)
    assert [str(address) for address in message["From"].addresses] == [ANN]
    assert len(message.get_all("From", [])) == 1
    assert [address.display_name for address in message["To"].addresses] == names
    assert [address.addr_spec for address in message["Cc"].addresses] == [BOB]
    assert message["Subject"].startswith("Grüße, a subject so long")
    assert message["Message-ID"] == sent.message_id
    assert sent.date
    assert parsedate_to_datetime(message["Date"]) == sent.date
    assert (message["X-Project"], message["Reply-To"]) == ("Gärten", BOB)
    body = shown(message.get_body())
    assert body == "Viele Grüße\n" + "a long line " * 30 + "\nFrom here\n.\n"
    files = {part.get_filename(): part.get_content() for part in message.iter_attachments()}
    assert files == {"Übersicht 2027.pdf": b"%PDF" * 100, "plain.bin": bytes(range(256))}


def test_the_return_path_is_a_token_of_the_message(lab: Lab, ann: Portal) -> None:
    ann.messages.send(to=[OUT, BOB], body="Hello")
    with lab.server.database.read() as tx:
        (sender,) = {row.sender for row in tx.execute(select(deliveries))}
        number = tx.scalar(select(messages.c.id))
        address, _, domain = sender.partition("@")
        granted = tokens.granted(tx, address.removeprefix("bounce+"), "bounce", now=lab.server.clock.machine())
    assert (domain, address[:7]) == ("example.com", "bounce+")
    assert granted is not None
    assert (granted.address, granted.object) == (ANN, str(number))


def test_nobody_is_shown_the_return_path(lab: Lab, ann: Portal) -> None:
    """Who knows it can pretend that the message bounced: it lies in the outbox alone."""
    ann.messages.send(to=[OUT, BOB], body="Hello")
    with lab.server.database.read() as tx:
        token = tx.scalars(select(deliveries.c.sender)).first().partition("@")[0].removeprefix("bounce+")
    with lab.client(BOB) as bob, lab.client(ADMIN) as admin:
        (got,) = bob.messages.list()
        shown = [got, bob.messages.get(got.id), *ann.messages.list(folder="sent"), *admin.messages.track()]
        shown += [*admin.messages.processing(), *delivery_rows(lab.server)]
        delivery.deliver(lab.server)
        today = datetime.fromtimestamp(lab.time, UTC).date()
        counted = list(admin.reports.rows("traffic", since=today, until=today + timedelta(days=1)))
        shown += counted
    assert counted
    assert got.from_address == ANN
    assert token not in repr(shown)


def test_what_is_on_its_way_is_found_by_its_writer_and_not_by_the_return_path(lab: Lab, ann: Portal) -> None:
    ann.messages.send(to=OUT, body="Hello")
    ann.secure.send(to=[OUT], subject="s", body="t")
    with lab.server.database.read() as tx:
        token = tx.scalars(select(deliveries.c.sender)).first().partition("@")[0].removeprefix("bounce+")

    def found(text: str) -> list[str]:
        search = {"searchBy": {"fieldName": "fromAddress", "value": text}}
        with asking(lab) as door:
            rows = door("/api/gateway/find-processing-messages", search, by=ADMIN).row["messages"]
        return [row["fromEnv"]["emailAddress"] for row in rows]

    assert found(ANN) == [ANN]
    assert found("no-reply@example.com") == [""], "what the portal wrote has a null return path"
    assert found(token[:20]) == found("bounce+") == []


def test_html_alone_gets_a_text(lab: Lab, ann: Portal) -> None:
    ann.messages.send(to=OUT, html="<html><body><p>Hello</p><p>Zoë</p></body></html>")
    (octets,) = left(lab, OUT)
    message = read(octets)
    assert message.get_content_type() == "multipart/alternative"
    assert shown(message.get_body(("plain",))) == "Hello\n\nZoë\n"
    assert "<p>Zoë</p>" in shown(message.get_body(("html",)))


def test_a_large_text_is_uploaded_first(lab: Lab, ann: Portal) -> None:
    text = "Zoë " * limits.INLINE_BODY
    ann.messages.send(to=OUT, body=text)
    assert shown(read(left(lab, OUT)[0]).get_body()) == text + "\n"


@pytest.mark.parametrize(
    "subject", ["=?utf-8?q?a=0D=0ABcc:_x?=", "two  blanks", "x" * 900, "tab\tinside", "\U0001f33b" * 999]
)
def test_subjects_come_back_as_they_were(lab: Lab, ann: Portal, bob: Portal, subject: str) -> None:
    ann.messages.send(to=[OUT, BOB], subject=subject, body="Hello")
    assert read(left(lab, OUT)[0])["Subject"] == subject
    (row,) = bob.messages.list()
    assert row.subject == subject.replace("\t", " ") or row.subject == subject


def test_nobody_named_in_the_open(lab: Lab, ann: Portal) -> None:
    ann.messages.send(bcc=OUT, body="Hello")
    message = read(left(lab, OUT)[0])
    assert (message["To"].addresses, message["Cc"], message["Bcc"]) == ((), None, None)


def test_an_attached_message_is_a_message(lab: Lab, ann: Portal) -> None:
    original = mail_of(subject="inside")
    ann.messages.send(to=OUT, body="see", attachments=[("inside.eml", original), ("odd.eml", b"x" * 2000)])
    inside, odd = read(left(lab, OUT)[0]).iter_attachments()
    assert inside.get_content()["Subject"] == "inside"
    assert (odd.get_content_type(), odd.get_content()) == ("application/octet-stream", b"x" * 2000)


# -- images inside a text --------------------------------------------------------------------------------------


DATA = "data:image/png;base64,iVBORw0KGgoAAAA="
PAGE = f'<p>Look: <img src="cid:logo.png" alt="our logo" width="9"> <img src=\'{DATA}\'> <IMG src="cid:none"></p>'


def inline(octets: bytes) -> tuple[list[str], str, list[str]]:
    """Files shown inside the text, the HTML, files attached."""
    message = read(octets)
    html = message.get_body(("html",))
    files = [part.get_filename() for part in message.walk() if part.get_content_disposition() == "inline"]
    return files, shown(html), [str(part.get_filename()) for part in message.iter_attachments()]


@pytest.mark.parametrize("keep", [False, True])
def test_images_inside_a_text_stay_inside_and_are_lost_outside(lab: Lab, ann: Portal, bob: Portal, keep: bool) -> None:
    """guide-lines 135, 136; portal-rules C.6."""
    files = [("logo.png", PNG), ("notes.txt", b"notes")]
    sent = ann.messages.send(to=[OUT, BOB], html=PAGE, attachments=files, inline_as_attachments=keep)
    assert sent.left_out == (() if keep else ("logo.png", "image2.png"))
    names, html, attached = inline(left(lab, BOB)[0])
    assert (names, attached) == (["logo.png", "image2.png"], ["notes.txt"])
    assert html.count("cid:") == 3
    assert 'width="9"' in html
    names, html, attached = inline(left(lab, OUT)[0])
    assert names == []
    assert attached == (["notes.txt", "logo.png", "image2.png"] if keep else ["notes.txt"])
    assert "our logo" in html
    assert html.count("<img") + html.count("<IMG") == 1  # what shows nothing from inside is left alone
    (row,) = bob.messages.list()
    (own,) = ann.messages.list("sent")
    assert bob.messages.get(row.id).message_id == ann.messages.get(own.id).message_id == sent.message_id
    assert "cid:" in str(ann.messages.get(own.id).html)


def test_inside_alone_nothing_is_left_out(ann: Portal) -> None:
    assert ann.messages.send(to=BOB, html=PAGE, attachments=[("logo.png", PNG)]).left_out == ()


# -- what stays ------------------------------------------------------------------------------------------------


def test_what_became_of_it_for_each(lab: Lab, ann: Portal) -> None:
    config = lab.path / "portal.toml"
    rule = (
        '\n[[hold]]\npolicy = "p"\nkind = "content"\nreason = "Held"\nlevel = "user"\nrecipient = ["bob@example.com"]\n'
    )
    config.write_text(config.read_text() + rule)
    with lab.client() as portal:
        sent = portal.messages.send(to=[BOB, OUT], cc=MOD, bcc=["gone@outside.example", ADMIN], body="Hello")
        told = {entry.address: entry for entry in portal.messages.recipients(sent.id)}
        assert {entry.status for entry in told.values()} == {"held", "pending"}
        with lab.server.write() as tx:
            row = tx.execute(select(deliveries).where(deliveries.c.recipient == "gone@outside.example")).one()
            from mimeportal_server import delivery

            delivery.fail(lab.server, tx, [(row, "550 5.1.1 nobody of that name")])
    told = {entry.address: entry for entry in ann.messages.recipients(sent.id)}
    assert {address: (entry.kind, entry.status) for address, entry in told.items()} == {
        BOB: ("to", "held"),
        OUT: ("to", "delivered"),
        MOD: ("cc", "delivered"),
        "gone@outside.example": ("bcc", "bounced"),
        ADMIN: ("bcc", "delivered"),
    }
    assert told["gone@outside.example"].info == "550 5.1.1 nobody of that name"
    with lab.client(ADMIN) as portal:
        portal.holds.reject([hold.id for hold in portal.holds.list(queue="admin")])
    assert {entry.status for entry in ann.messages.recipients(sent.id) if entry.address == BOB} == {"rejected"}


def test_recipients_of_what_was_received_are_nobody_s_to_know(ann: Portal, bob: Portal) -> None:
    ann.messages.send(to=BOB, bcc=OUT, body="Hello")
    (row,) = bob.messages.list()
    with pytest.raises(ApiError) as caught:
        bob.messages.recipients(row.id)
    assert caught.value.code == "not_sent"


def test_sent_mail_is_found_and_read_by_its_sender(ann: Portal) -> None:
    sent = ann.messages.send(to=OUT, subject="Quarterly", body="figures inside")
    (row,) = ann.messages.search("figures", folder="sent")
    assert (row.id, row.to_addresses) == (sent.id, (OUT,))
    assert ann.messages.get(sent.id).text == "figures inside\n"


# -- answers ---------------------------------------------------------------------------------------------------


def received(lab: Lab, portal: Portal, octets: bytes) -> str:
    lab.receive(octets, reason=None)
    return next(iter(portal.messages.list())).id


def test_a_reply(lab: Lab, ann: Portal) -> None:
    extra = (
        "Reply-To: Desk <desk@elsewhere.example>\n"
        f"Cc: Bob <{BOB}>, Ann <{ANN}>, third@elsewhere.example, eve@elsewhere.example\n"
        "References: <one@x.example> <two@x.example>\n"
    )
    id = received(lab, ann, mail_of(subject="Meeting", body="First\n> older\n", extra=extra))
    ann.messages.reply(id, body="Yes.")
    message = read(left(lab, "desk@elsewhere.example")[0])
    own = f"<{abs(hash('Meeting'))}@elsewhere.example>"
    assert (message["Subject"], message["In-Reply-To"]) == ("Re: Meeting", own)
    assert message["References"] == f"<one@x.example> <two@x.example> {own}"
    assert (message["To"], message["Cc"]) == ("Desk <desk@elsewhere.example>", None)
    text = shown(message.get_body())
    assert text == "Yes.\n\nOn Fri, 15 Jan 2027 08:00:00 +0000, Eve wrote:\n> First\n>> older\n"
    draft = ann.messages.compose_reply(id, all=True, cc=OUT)
    assert [entry.address for entry in draft.to] == ["desk@elsewhere.example"]
    assert [entry.address for entry in draft.cc] == [BOB, "third@elsewhere.example", "eve@elsewhere.example", OUT]


@pytest.mark.parametrize("subject", ["Re: Meeting", "RE: Meeting", "AW: Meeting", "Re[2]: Meeting"])
def test_prefixes_are_not_doubled(lab: Lab, ann: Portal, subject: str) -> None:
    id = received(lab, ann, mail_of(subject=subject))
    assert ann.messages.compose_reply(id).subject == subject
    assert ann.messages.compose_forward(id, to=OUT).subject == f"Fwd: {subject}"


def test_a_reply_to_what_one_sent_goes_to_whom_it_went(lab: Lab, ann: Portal) -> None:
    sent = ann.messages.send(to=OUT, subject="Hello", body="Hello")
    assert [entry.address for entry in ann.messages.compose_reply(sent.id).to] == [OUT]


def test_nobody_to_answer(lab: Lab, ann: Portal) -> None:
    id = received(lab, ann, mail_of("nobody here", extra="Message-ID: not an id\n"))
    with pytest.raises(UsageError, match=r"no address to answer\.$"):
        ann.messages.reply(id, body="?")


def test_hostile_subjects_and_names_are_answered_on_one_line(lab: Lab, ann: Portal) -> None:
    subject = "=?utf-8?q?a=0D=0ABcc:_victim@x.example?="
    id = received(lab, ann, mail_of('"a=?utf-8?q?=0ABcc:_x?=" <eve@elsewhere.example>', subject))
    ann.messages.reply(id, body="no")
    message = read(left(lab, "eve@elsewhere.example")[0])
    assert message["Subject"] == "Re: a Bcc: victim@x.example"
    assert message["Bcc"] is None


@pytest.mark.parametrize("whole", [False, True])
def test_a_forward(lab: Lab, ann: Portal, whole: bool) -> None:
    body = (
        "--b\nContent-Type: text/plain\n\nthe text\n--b\nContent-Type: application/pdf\n"
        "Content-Disposition: attachment; filename=a.pdf\nContent-Transfer-Encoding: base64\n\nJVBERg==\n--b--\n"
    )
    original = mail_of(
        subject="Plan", body=body, extra='MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n'
    )
    id = received(lab, ann, original)
    ann.messages.forward(id, to=OUT, body="fyi", whole=whole)
    (octets,) = left(lab, OUT)
    message = read(octets)
    assert message["Subject"] == "Fwd: Plan"
    text = shown(message.get_body())
    (attached,) = message.iter_attachments()
    if whole:
        assert text == "fyi\n"
        assert original in octets
        assert attached.get_content()["Subject"] == "Plan"
    else:
        assert text.startswith("fyi\n\n---------- Forwarded message ----------\nFrom: Eve <eve@elsewhere.example>\n")
        assert text.endswith("\n\nthe text\n")
        assert (attached.get_filename(), attached.get_content()) == ("a.pdf", b"%PDF")


def test_the_signature_stands_before_what_is_quoted(lab: Lab, ann: Portal) -> None:
    id = received(lab, ann, mail_of(body="quoted"))
    with pytest.raises(ApiError, match="no signature"):
        ann.messages.reply(id, body="Yes.", signature=True)
    ann.account.set_preferences(signature="Ann\nHead of <things>")
    ann.messages.reply(id, body="Yes.", html="<body><p>Yes.</p></body>")
    ann.messages.send(to=OUT, body="Bare.", signature=False)
    message = read(left(lab, "eve@elsewhere.example")[0])
    text, html = shown(message.get_body(("plain",))), shown(message.get_body(("html",)))
    assert text.startswith("Yes.\n\n-- \nAnn\nHead of <things>\n\nOn Fri")
    assert "<p>Yes.</p><p>-- <br>Ann<br>\nHead of &lt;things&gt;</p><blockquote>On Fri" in html
    assert html.endswith("</blockquote></body>\n")
    assert shown(read(left(lab, OUT)[0]).get_body()) == "Bare.\n"


# -- as whom ---------------------------------------------------------------------------------------------------


def test_a_delegate_writes_as_the_owner_and_the_audit_tells_who_did(lab: Lab, ann: Portal, bob: Portal) -> None:
    with lab.server.write() as tx:
        owner, delegate = people.find(tx, ANN), people.find(tx, BOB)
        assert owner is not None
        assert delegate is not None
        tx.execute(delegates.insert(), {"owner_id": owner.id, "delegate_id": delegate.id, "added": 0})
    sent = bob.messages.send(to=OUT, body="For Ann", mailbox=ANN)
    message = read(left(lab, OUT)[0])
    assert [address.addr_spec for address in message["From"].addresses] == [ANN]
    assert b"bob@" not in left(lab, OUT)[0]
    assert [row.id for row in ann.messages.list("sent")] == [sent.id]
    assert list(bob.messages.list("sent")) == []
    assert [(row.actor, row.outcome) for row in acts(lab, "send")] == [(delegate.id, "done")]
    assert {row.actor for row in acts(lab, "arrive")} == {delegate.id}


@pytest.mark.parametrize("by", [BOB, ADMIN])
def test_nobody_else_writes_as_somebody(lab: Lab, by: str) -> None:
    """Not even an administrator (promises C.6)."""
    with lab.client(by) as portal, pytest.raises(ForbiddenError):
        portal.messages.send(to=OUT, body="x", mailbox=ANN)
    assert count(lab) == 0


# -- once, or not at all ---------------------------------------------------------------------------------------


def test_a_repeat_sends_nothing_and_gets_the_first_answer(lab: Lab, ann: Portal) -> None:
    first = ann.messages.send(to=OUT, body="Hello", request_id="one", attachments=[("a", b"a")])
    lab.advance(days=2)
    keeping.sweep(lab.server)  # the upload is gone by now, the memory of the act is not
    with lab.client() as later:
        later.messages.upload(("b", b"something else"))
        again = later.messages.send(to=OUT, body="Hello", request_id="one", attachments=[("a", b"a")])
    assert again == first
    assert count(lab) == 1
    with pytest.raises(ApiError) as caught:
        ann.messages.send(to=OUT, body="Goodbye", request_id="one")
    assert caught.value.code == "err_request_id_reused"


def test_two_at_once_under_one_request_id_send_one(lab: Lab) -> None:
    barrier, told = threading.Barrier(2), list[SentMessage]()

    def send() -> None:
        with lab.client() as portal:
            barrier.wait()
            told.append(portal.messages.send(to=OUT, body="Hello", request_id="one"))

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told[0] == told[1]
    assert count(lab) == 1


BAD: list[tuple[str, dict[str, Any]]] = [
    ("no recipient", {"to": []}),
    ("no recipient", {}),
    ("line end", {"subject": "a\r\nBcc: x@y.example"}),
    ("line end", {"subject": "a\nb"}),
    ("line end", {"subject": "nul \x00"}),
    ("line end", {"to": "Eve\r\nBcc: x@y.example <eve@elsewhere.example>"}),
    ("line end", {"headers": {"X-A": "a\nBcc: x@y.example"}}),
    ("line end", {"attachments": [("a\nb.pdf", b"")]}),
    ("name of a header", {"headers": {"X A": "a"}}),
    ("name of a header", {"headers": {"X-A\nBcc": "a"}}),
    ("portal alone", {"headers": {"From": "x@y.example"}}),
    ("portal alone", {"headers": {"DKIM-Signature": "x"}}),
    ("portal alone", {"headers": {"return-path": "<x@y.example>"}}),
    ("portal alone", {"headers": {"Content-Type": "x"}}),
    ("Not an e-mail address", {"to": "a@b@c"}),
    ("Not an e-mail address", {"to": "*"}),
    ("Not an e-mail address", {"to": "@domain.example"}),
    ("Not an e-mail address", {"cc": "Eve <eve>"}),
    ("Not an e-mail address", {"to": "eve@elsewhere.example <"}),
    ("Not an e-mail address", {"to": f"{'x' * 300}@outside.example"}),
    ("more than the 250", {"to": [f"a{number}@outside.example" for number in range(251)]}),
    ("more than the 200", {"attachments": [("a", b"")] * 201}),
    ("more than 51", {"attachments": [("a", b"x" * limits.UPLOAD), ("b", b"x")]}),
    ("more than 1,000", {"subject": "x" * 1_001}),
    ("has no 'subjct'", {"subjct": "x"}),
    ("UTF-8", {"body": "\ud800"}),
]  # fmt: skip


@pytest.mark.parametrize(("words", "given"), BAD, ids=[f"{number}-{words}" for number, (words, _) in enumerate(BAD)])
def test_what_is_wrong_is_named_and_nothing_is_sent(lab: Lab, ann: Portal, words: str, given: dict[str, Any]) -> None:
    more = {} if {"to", "cc"} & set(given) or words == "no recipient" else {"to": OUT}
    with pytest.raises(UsageError, match=words):
        ann.messages.send(**{"body": "x", **more, **given})
    assert count(lab) == 0


def ask(portal: Portal, **fields: Any) -> None:
    """As a client that checks nothing."""
    item = {"requestId": "one", "to": [{"emailAddress": OUT}], "subject": "x", **fields}
    portal.call("/api/portal/messages/submit", item)


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "a\r\nBcc: x@y.example"},
        {"to": [{"emailAddress": OUT, "displayableName": "a\nBcc: x@y.example"}]},
        {"extraHeaders": [{"name": "X-A", "value": "a\rb"}]},
        {"extraHeaders": [{"name": "From", "value": "x@y.example"}]},
        {"extraHeaders": [{"name": "X", "value": ""}] * 51},
        {"inReplyTo": "<a@b>\r\nBcc: x@y.example"},
        {"references": "<a@b>\x00"},
        {"to": []},
        {"to": [{"emailAddress": "a@b@c"}]},
        {"to": [{"emailAddress": "jürgen@outside.example"}]},
        {"to": [{"emailAddress": "nobody@example.com"}]},
        {"to": [{"emailAddress": "app:robot"}]},
        {"to": [{"emailAddress": f"a{number}@outside.example"} for number in range(251)]},
        {"attachments": [{"id": "none", "filename": "a"}]},
        {"plainBody": {"id": "none"}},
        {"requestId": ""},
        {"to": "text"},
    ],
    ids=lambda fields: "-".join(fields),
)
def test_the_portal_refuses_it_too(lab: Lab, ann: Portal, fields: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        ask(ann, **fields)
    assert caught.value.code != "err_internal"
    assert count(lab) == 0


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\u202egpj.exe", "x" * 300 + ".pdf", "con", ""])
def test_file_names_are_made_safe_for_whoever_gets_them(lab: Lab, ann: Portal, name: str) -> None:
    upload = ann.messages.upload(("a", b"octets")).upload_id
    ask(ann, attachments=[{"id": upload, "filename": name}])
    (file,) = read(left(lab, OUT)[0]).iter_attachments()
    given = str(file.get_filename())
    assert given
    assert "/" not in given
    assert "\u202e" not in given
    assert len(given.encode()) <= 200


def test_whose_copies_outside_have_no_room_is_told(lab: Lab, ann: Portal) -> None:
    with lab.server.write() as tx:
        tx.execute(people_table.update().where(people_table.c.address == ANN).values(octets=limits.PERSON_OCTETS))
    with pytest.raises(ApiError, match="no room in the mailbox of its sender") as caught:
        ann.messages.send(to=[OUT, BOB], body="x")
    assert BOB not in caught.value.what


def test_images_inside_the_text_count_as_attachments(lab: Lab, ann: Portal) -> None:
    images = [b64encode(PNG + str(number).encode()).decode() for number in range(limits.ATTACHMENTS)]
    page = "".join(f'<img src="data:image/png;base64,{image}">' for image in images)
    ann.messages.send(to=BOB, html=page)
    assert count(lab) == 1
    with pytest.raises(ApiError, match="201 attachments and images"):
        ann.messages.send(to=BOB, html=page, attachments=[("a", b"a")])
    assert count(lab) == 1


def test_a_full_mailbox_refuses_the_whole(lab: Lab, ann: Portal) -> None:
    with lab.server.write() as tx:
        tx.execute(people_table.update().where(people_table.c.address == BOB).values(octets=limits.PERSON_OCTETS))
    with pytest.raises(ApiError) as caught:
        ann.messages.send(to=[ADMIN, BOB, OUT], body="x", request_id="one")
    assert caught.value.code == "mailbox_full"
    assert caught.value.what.endswith(f"no room in the mailbox of {BOB}.")
    assert "Leave out whoever is full" in str(caught.value.remedy)
    assert count(lab) == 0
    with lab.server.write() as tx:
        tx.execute(people_table.update().where(people_table.c.address == BOB).values(octets=0))
    ann.messages.send(to=[BOB, OUT], body="x", request_id="one")
    assert count(lab) == 1


def test_many_through_send_email_each_by_itself(lab: Lab) -> None:
    items = [{"to": [{"emailAddress": OUT if number != 7 else "a@b@c"}]} for number in range(250)]
    document = send_email(lab, items)
    assert (len(document["data"]), len(document["fail"])) == (249, 1)
    assert document["fail"][0]["key"] == items[7]
    assert count(lab) == 249


def send_email(lab: Lab, items: Sequence[dict[str, Any]]) -> Any:
    with asking(lab) as door:
        return door("/api/email/send-email", *items, by=ANN).json


# -- files -----------------------------------------------------------------------------------------------------


def test_a_file_that_is_missing_or_no_file(tmp_path: Path, lab: Lab, ann: Portal) -> None:
    for path in (tmp_path / "none.pdf", tmp_path, Path("a\0b"), Path("/dev/null")):
        with pytest.raises(UsageError):
            ann.messages.send(to=OUT, attachments=[path])
    assert count(lab) == 0


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, lab: Lab, ann: Portal) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"x" * 200_000)
    message = NewMessage.of(to=OUT, attachments=[path])
    path.write_bytes(b"y" * 200_001)
    with pytest.raises(UsageError, match="changed while it was read"):
        ann.messages.send(message)
    content = FileContent(path).hashed()
    pieces = iter(content)
    next(pieces)
    with path.open("r+b") as file:
        file.seek(150_000)
        file.write(b"z")
    with pytest.raises(UsageError, match="changed while it was read"):
        list(pieces)
    assert count(lab) == 0


def test_an_upload_lapses_after_a_day_unless_a_draft_names_it(lab: Lab, ann: Portal) -> None:
    kept, lapsed = (ann.messages.upload((name, name.encode() * 1000)) for name in ("kept", "lapsed"))
    draft = ann.messages.save_draft(to=OUT, attachments=[kept])
    own = octets_of(lab) - 4000 - 6000
    assert 0 < own < 1000, "the draft itself counts too"
    lab.advance(days=2)
    with lab.client() as later, pytest.raises(ApiError) as caught:
        later.messages.send(to=OUT, attachments=[lapsed])
    assert caught.value.code == "upload_not_found"
    keeping.sweep(lab.server)
    assert octets_of(lab) == 4000 + own
    with lab.client() as later:
        later.messages.send_draft(draft.id)
    files = [part.get_content() for part in read(left(lab, OUT)[0]).iter_attachments()]
    assert files == [b"kept" * 1000]
    lab.advance(days=2)
    keeping.sweep(lab.server)
    with lab.server.database.read() as tx:
        assert tx.execute(select(uploads)).all() == []


def octets_of(lab: Lab) -> int:
    with lab.server.database.read() as tx:
        return int(tx.scalar(select(people_table.c.octets).where(people_table.c.address == ANN)) or 0)


def test_the_same_file_twice_is_one_upload(lab: Lab, ann: Portal, bob: Portal) -> None:
    ids = {ann.messages.upload(("a", b"octets")).upload_id for _ in range(2)}
    assert len(ids) == 1
    assert octets_of(lab) == 6
    (id,) = ids
    with pytest.raises(ApiError) as caught:
        ask(bob, attachments=[{"id": id}])
    assert caught.value.code == "upload_not_found"


def test_the_id_of_an_upload_that_lapsed_is_no_other_s(lab: Lab, ann: Portal) -> None:
    lapsed = ann.messages.upload(("a", b"octets"))
    lab.advance(days=2)
    keeping.sweep(lab.server)
    with lab.client() as later:
        assert later.messages.upload(("b", b"others")).upload_id != lapsed.upload_id
        with pytest.raises(ApiError) as caught:
            later.messages.send(to=OUT, attachments=[lapsed])
        assert caught.value.code == "upload_not_found"
        assert later.messages.upload(("a", b"octets")).upload_id == lapsed.upload_id


def test_an_upload_must_be_what_its_argument_says(ann: Portal) -> None:
    from hashlib import sha256

    from mimeportal.messages.contract import writing as contract
    from mimeportal.wire import Content

    for digest, size in ((sha256(b"other").hexdigest(), 6), (sha256(b"octets").hexdigest(), 5), ("", 6)):
        item = contract.UploadItem(sha256=digest, file_size=size)
        with pytest.raises(ApiError) as caught:
            ann.session.one(contract.UPLOAD, item, content=Content(b"octets"))
        assert caught.value.code == "err_validation_value_not_allowed"


# -- drafts ----------------------------------------------------------------------------------------------------


def test_drafts(lab: Lab, ann: Portal, bob: Portal) -> None:
    first = ann.messages.save_draft(subject="not yet", body="Dear", request_id="one")
    assert ann.messages.save_draft(subject="not yet", body="Dear", request_id="one") == first
    changed = ann.messages.save_draft(
        id=first.id,
        to=f"Pal <{OUT}>",
        bcc=BOB,
        subject="ready",
        body="Dear Pal",
        attachments=[("a.txt", b"octets")],
        headers={"X-A": "b"},
    )
    (listed,) = ann.messages.drafts()
    assert listed == changed == ann.messages.draft(first.id)
    assert (listed.to, listed.bcc, listed.attachments, listed.attached) == ((OUT,), (BOB,), ("a.txt",), 6)
    assert list(bob.messages.drafts()) == []
    for act in (bob.messages.draft, bob.messages.send_draft):
        with pytest.raises(NotFoundError):
            act(first.id)
    assert bob.messages.remove_draft(first.id) is False
    sent = ann.messages.send_draft(first.id)
    assert list(ann.messages.drafts()) == []
    assert {entry.address for entry in ann.messages.recipients(sent.id)} == {OUT, BOB}
    with pytest.raises(NotFoundError):
        ann.messages.send_draft(first.id)


def test_the_id_of_a_draft_that_is_gone_is_no_other_s(ann: Portal) -> None:
    gone = ann.messages.save_draft(to=OUT, subject="thrown away")
    ann.messages.remove_draft(gone.id)
    other = ann.messages.save_draft(to=BOB, subject="another")
    with pytest.raises(NotFoundError):
        ann.messages.send_draft(gone.id)
    assert ann.messages.remove_draft(gone.id) is False
    assert [draft.id for draft in ann.messages.drafts()] == [other.id]


def test_a_draft_that_cannot_be_sent_stays(ann: Portal) -> None:
    draft = ann.messages.save_draft(subject="to nobody")
    with pytest.raises(ApiError, match="no recipient"):
        ann.messages.send_draft(draft.id)
    assert [entry.id for entry in ann.messages.drafts()] == [draft.id]
    assert ann.messages.remove_draft(draft.id) is True


def test_there_is_an_end_to_drafts(ann: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DRAFTS", 2)
    for _ in range(2):
        ann.messages.save_draft(subject="one")
    with pytest.raises(ApiError, match="2 drafts"):
        ann.messages.save_draft(subject="too many")


def test_drafts_count_as_mail_of_their_writer(lab: Lab, ann: Portal) -> None:
    def kept(octets: int | None = None) -> int:
        with lab.server.write() as tx:
            mine = people_table.c.address == ANN
            if octets is not None:
                tx.execute(people_table.update().where(mine).values(octets=octets))
            return int(tx.scalar(select(people_table.c.octets).where(mine)) or 0)

    text = "x" * 10_000
    draft = ann.messages.save_draft(to=BOB, body=text)
    assert 10_000 < kept() < 11_000
    ann.messages.save_draft(to=BOB, body=text * 2, id=draft.id)
    assert 20_000 < kept() < 21_000
    ann.messages.save_draft(to=BOB, body="short", id=draft.id)
    assert kept() < 1_000
    ann.messages.remove_draft(draft.id)
    assert kept() == 0

    draft = ann.messages.save_draft(to=BOB, body=text)
    before = kept(limits.PERSON_OCTETS - 5_000)
    for refused in ({"id": None}, {"id": draft.id, "subject": text[:900]}):
        with pytest.raises(ApiError, match="The mailbox is full: it has no room for ") as caught:
            ann.messages.save_draft(to=BOB, body=text * 2, **refused)
        assert caught.value.code == "mailbox_full"
        assert "let go of drafts" in caught.value.remedy
    assert kept() == before
    assert [one.message.body for one in ann.messages.drafts()] == [text], "the one before is as it was"
    ann.messages.send_draft(draft.id)
    assert kept() < before


def test_a_backup_has_what_drafts_name(lab: Lab, ann: Portal, tmp_path: Path) -> None:
    from mimeportal_server import backup

    ann.messages.save_draft(to=OUT, attachments=[("a", b"octets")])
    backup.backup(lab.server, tmp_path / "backup")
    backup.restore(tmp_path / "backup", tmp_path / "restored").close()
    portal = ServerPortal(Home.open(tmp_path / "restored"))
    with portal.database.read() as tx:
        (name,) = tx.scalars(select(uploads.c.blob))
    assert portal.home.blobs.read(name) == b"octets"
    portal.close()


# -- elsewhere -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["api1", "api2"])
def test_what_mimecast_has_not_is_refused_before_anything_is_sent(lab: Lab, api: str) -> None:
    with lab.client(api=api) as portal:
        acts: list[Any] = [
            portal.messages.drafts,
            lambda: portal.messages.save_draft(subject="x"),
            lambda: portal.messages.draft("x"),
            lambda: portal.messages.remove_draft("x"),
            lambda: portal.messages.send_draft("x"),
            lambda: portal.messages.recipients("x"),
            lambda: portal.messages.report("x", "spam"),
            lambda: portal.messages.plan_block(["x"], "domain"),
        ]
        for act in acts:
            with pytest.raises(NotOfferedError):
                act()


def test_recipients_as_people_write_them() -> None:
    found = recipients(f'Ann <{ANN}>, "Müller, Jo" <JO@Outside.example>;bare@outside.example, ')
    assert [(entry.name, entry.address) for entry in found] == [
        ("Ann", ANN),
        ("Müller, Jo", "jo@outside.example"),
        ("", "bare@outside.example"),
    ]
    assert recipients(["a@b.example", recipients("c@d.example")[0]])[1].address == "c@d.example"
    for wrong in (7, b"a@b.example", [["a@b"]]):
        with pytest.raises(UsageError):
            recipients(wrong)
