"""Mimecast's file-upload and send-email, word for word: literals typed by hand, for client and server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from asking import Asking
from conftest import ADMIN, ANN, BOB, Lab
from mimeportal.errors import NotOfferedError
from mimeportal.messages import SentMessage
from mimeportal.portal import Portal
from mimeportal.wire import Request
from wire.literal import Recorded, assert_same_shape, literal

UPLOAD = "eNpVj81ugzAQhN9lr0QYDLF"
ANSWERED = SentMessage(
    message_id="<Mimecast.1533.1800763b993@us-sl-69.us.Mimecast.lan>",
    date=datetime(2022, 4, 8, 4, 16, 57, tzinfo=UTC),
    id="",
    recipients=4,
)


class TestClient:
    def test_file_upload(self) -> None:
        transport = Recorded("file-upload")
        file = Portal(transport).messages.upload(("notes.txt", b"hello\n"))
        transport.asked("file-upload")
        assert (file.upload_id, file.name, file.size) == (UPLOAD, "notes.txt", 6)

    def test_send_email_of_api_2(self) -> None:
        transport = Recorded("file-upload", "send-email-api2", UPLOAD=UPLOAD)
        sent = Portal(transport).messages.send(
            to=f"Bob <{BOB}>, pal@outside.example",
            cc=ANN,
            bcc="mod@example.com",
            subject="Minutes",
            body="Hello.\n",
            html="<p>Hello.</p>",
            attachments=[("notes.txt", b"hello\n")],
            headers={"X-Project": "garden"},
            in_reply_to="<two@outside.example>",
            references="<one@outside.example> <two@outside.example>",
        )
        transport.asked("send-email-api2", UPLOAD=UPLOAD)
        assert sent == ANSWERED

    def test_send_email_of_api_1(self) -> None:
        transport = Recorded("send-email-api1", api="api1")
        sent = Portal(transport).messages.send(
            to="pal@outside.example",
            subject="Minutes",
            body="Hello.\n",
            mailbox=ANN,
            in_reply_to="<two@outside.example>",
        )
        transport.asked("send-email-api1")
        assert sent.message_id == ANSWERED.message_id

    @pytest.mark.parametrize(
        "more",
        [{"mailbox": BOB}, {"signature": True}, {"inline_as_attachments": True}, {"request_id": "one"}],
        ids=lambda more: next(iter(more)),
    )
    def test_what_api_2_has_not_is_refused_before_anything_is_sent(self, more: Any) -> None:
        """The sender is always the application (mimecast-api-portal 3.1)."""
        transport = Recorded("file-upload", "send-email-api2", UPLOAD=UPLOAD)
        with pytest.raises(NotOfferedError):
            Portal(transport).messages.send(to=ANN, body="Hello.", attachments=[("a", b"a")], **more)
        assert transport.sent == []


@pytest.fixture
def ask(lab: Lab) -> Iterator[Asking]:
    ask = Asking(lab)
    yield ask
    ask.close()


class TestServer:
    @pytest.mark.parametrize("quotes", ['"', "'"])
    def test_file_upload(self, ask: Asking, quotes: str) -> None:
        """Clients print the argument with single quotes or double ones (3.2)."""
        wanted = literal("file-upload")
        argument = json.dumps(wanted["request"]["argument"]).replace('"', quotes)
        request = Request("POST", wanted["path"], {"x-mc-arg": argument}, [wanted["request"]["octets"].encode()])
        response = ask.door.handle(request, ask.caller(ANN))
        assert_same_shape(json.loads(b"".join(response.body)), wanted["answer"])

    def test_send_email(self, ask: Asking, lab: Lab) -> None:
        with lab.client() as portal:
            upload = portal.messages.upload(("notes.txt", b"hello\n")).upload_id
        for name, by in (("send-email-api2", ANN), ("send-email-api1", ANN)):
            wanted = literal(name, UPLOAD=upload)
            told = ask.send(wanted["path"], wanted["request"], by=by)
            assert_same_shape(told.json, wanted["answer"])
        with lab.client(BOB) as portal:
            (row,) = portal.messages.list()
            message = portal.messages.get(row.id)
        assert message.message_id == ask_message_id(lab)
        assert message.header("References") == "<one@outside.example> <two@outside.example>"
        assert message.header("In-Reply-To") == "<two@outside.example>"
        assert message.header("X-Project") == "garden"
        assert message.header("Bcc") is None
        assert (message.text, [file.name for file in message.attachments]) == ("Hello.\n", ["notes.txt"])

    def test_an_app_sends_as_itself_whatever_from_says(self, ask: Asking, lab: Lab) -> None:
        from mimeportal_server import apps

        with lab.server.write() as tx:
            apps.add(lab.server, tx, "robot", role="user", scopes=(), content_view=False)
        item = {"to": [{"emailAddress": BOB}], "from": {"emailAddress": ADMIN}, "subject": "Hello"}
        assert ask("/api/email/send-email", item, by="app:robot").code == ""
        with lab.client(BOB) as portal:
            (row,) = portal.messages.list()
        assert (row.from_header, row.from_name) == ("no-reply@example.com", "robot")


def ask_message_id(lab: Lab) -> str:
    """The Message-ID of the first message that ann sent."""
    with lab.client() as portal:
        *_, first = portal.messages.list("sent")
        return portal.messages.get(first.id).message_id
