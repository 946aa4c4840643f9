"""Mimecast's archive functions, word for word: literals typed by hand, for client and server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from asking import Asking
from conftest import ADMIN, ANN, Lab, mail_of
from mimeportal.errors import NotOfferedError, UsageError
from mimeportal.messages import Correspondent, MailboxMessage
from mimeportal.portal import Portal
from mimeportal.wire import Response
from wire.literal import Recorded, assert_same_shape, literal, without

ID = "eNpVj81ugzAQhN9lr0QYDLF"
SINCE, UNTIL = datetime(2022, 7, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
ARRIVED = datetime(2022, 8, 1, 13, 10, 54, tzinfo=UTC)
LISTED = MailboxMessage(
    id="eNpVj81ugzAQhN9lr0QYDLF_bgTaKmqrSC2Hiost1sQKsS1jUqVR372m6aXX0cx8s9_g9eR6BRz2x6Z-gQ30Vg12VMAh6FFtQFvVnQ34HZPL8IuyJE7TJEtJSfdQ",
    folder="inbox",
    mailbox=None,
    status="archived",
    from_address=None,
    from_header="billing@sender.example",
    from_name="Billing",
    to_addresses=(ANN,),
    subject="Your invoice of July",
    route=None,
    size=7543,
    attachment_count=1,
    has_attachments=True,
    received=ARRIVED,
    read=False,
    ccm=False,
    recalled=False,
    expired=False,
)


class TestClient:
    def test_list(self) -> None:
        transport = Recorded("get-message-list")
        found = list(Portal(transport).messages.list(mailbox=ANN, since=SINCE, until=UNTIL))
        transport.asked("get-message-list")
        assert found == [LISTED]

    def test_a_list_that_names_several_recipients(self) -> None:
        transport = Recorded("get-message-list")
        (row,) = transport.answers["/api/archive/get-message-list"]["answer"]["data"]
        row["to"] = [row["to"], {"emailAddress": "bob@example.com"}]
        (found,) = Portal(transport).messages.list(mailbox=ANN, since=SINCE, until=UNTIL)
        assert found.to_addresses == (ANN, "bob@example.com")

    def test_search(self) -> None:
        transport = Recorded("archive-search")
        (found,) = Portal(transport).messages.search(
            "invoice july", mailbox=ANN, from_="sender.example", since=SINCE, until=UNTIL
        )
        transport.asked("archive-search")
        assert found.id == LISTED.id
        assert (found.from_header, found.from_name, found.to_addresses) == ("billing@sender.example", "Billing", (ANN,))
        assert (found.size, found.attachment_count, found.received) == (7543, 1, ARRIVED)
        assert (found.folder, found.read, found.expired) == (None, None, None)

    def test_rows_of_a_search_as_the_documents_have_them(self) -> None:
        """Documents: `data` is the list of messages; recorded answers put them into `data[0].items` (2.5)."""
        transport = Recorded("archive-search")
        answer = transport.answers["/api/archive/search"]["answer"]
        answer["data"] = answer["data"][0]["items"]
        assert [found.id for found in Portal(transport).messages.search("invoice july", mailbox=ANN)] == [LISTED.id]

    def test_what_a_row_cannot_be_is_left_out(self) -> None:
        """Mimecast's search narrows: `sender.example` may bring what is below it."""
        transport = Recorded("archive-search")
        (row,) = transport.answers["/api/archive/search"]["answer"]["data"][0]["items"]
        row["displayfromaddress"] = "x@below.sender.example"
        assert list(Portal(transport).messages.search("invoice", mailbox=ANN, from_="sender.example")) == []

    def test_detail_and_the_bodies_that_it_does_not_tell(self) -> None:
        transport = Recorded("archive-get-message-detail", "get-message-part", ID=ID)
        message = Portal(transport).messages.get(ID)
        transport.asked("archive-get-message-detail", ID=ID)
        parts = [body["data"][0] for _, path, body in transport.sent if path.endswith("part")]
        assert parts == [
            {"id": ID, "type": "PLAIN", "context": "DELIVERED"},
            {"id": ID, "type": "HTML", "context": "DELIVERED"},
        ]
        assert (message.id, message.message_id, message.text) == (ID, "<invoice-7@sender.example>", "See there.\n")
        assert message.reply_to == Correspondent("help@sender.example", "Help")
        assert (message.to, message.cc) == ((Correspondent(ANN, "Ann"),), (Correspondent("bob@example.com"),))
        assert message.header("received") == "from a.example by b.example"
        assert message.date == datetime(2022, 8, 1, 13, 10, 50, tzinfo=UTC)
        (attachment,) = message.attachments
        assert (attachment.name, attachment.size, attachment.content_type) == ("invoice.txt", 12, "text/plain")

    def test_octets(self) -> None:
        transport = Recorded("archive-get-file", ID=ID, api="api1")
        assert b"".join(Portal(transport).messages.download(ID)) == b"Invoice 4711"
        transport.asked("archive-get-file", ID=ID)

    def test_a_whole_message_of_api_1_is_a_part(self) -> None:
        transport = Recorded("get-message-part", ID=ID, api="api1")
        assert b"".join(Portal(transport).messages.raw(ID)) == b"See there.\n"
        ((_, _, body),) = transport.sent
        assert body["data"] == [{"id": ID, "type": "RFC822", "context": "DELIVERED"}]

    def test_a_whole_message_of_api_2_is_fetched_without_the_token(self) -> None:
        transport = Fetching("archive-get-file-by-url", ID=ID)
        assert b"".join(Portal(transport).messages.raw(ID)) == b"octets"
        transport.asked("archive-get-file-by-url", ID=ID)
        assert transport.fetched == [
            "https://eu-a1.download.api.services.mimecast.com/archive?expires=20260803T120500Z&context=eNpVj8"
        ]

    def test_what_mimecast_has_not(self) -> None:
        messages = Portal(Recorded()).messages
        with pytest.raises(NotOfferedError):
            messages.list("junk", mailbox=ANN)
        with pytest.raises(NotOfferedError):
            messages.search("x", folder="inbox", mailbox=ANN)

    def test_an_app_without_a_mailbox(self) -> None:
        transport = Recorded()
        transport.user = None
        for ask in (Portal(transport).messages.list, lambda: Portal(transport).messages.search("x")):
            with pytest.raises(UsageError, match="Whose mailbox"):
                ask()

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            ("invoice july", "invoice july"),
            ("Zürich 日本", "Zürich 日本"),
            ('"two words" more', '"two words" more'),
            ("this or that", 'this "or" that'),
            ("subject:x (body: y)", "subject x body y"),
            ("</text><text>", "/text text"),
            ("a & b <!DOCTYPE>", "a b DOCTYPE"),
            ("nul\x00 bell\x07", "nul bell"),
            ("ann@example.com", "ann@example.com"),
        ],
    )
    def test_nothing_in_words_is_more_than_text(self, words: str, text: str) -> None:
        from xml.etree import ElementTree

        transport = Recorded("archive-search")
        list(Portal(transport).messages.search(words, mailbox=ANN))
        (_, _, body), *_ = transport.sent
        told = ElementTree.fromstring(body["data"][0]["query"]).findall("muse/text")
        assert [entry.text for entry in told] == [text]


class Fetching(Recorded):
    """As API 2.0: a file lies at another address."""

    def __init__(self, *names: str, **placeholders: str) -> None:
        super().__init__(*names, **placeholders)
        from mimeportal.retry import ONCE

        self.policy = ONCE
        self.fetched: list[str] = []

    def renew(self, *_: Any) -> bool:
        return False

    def suspicion(self, *_: Any) -> str:
        return ""

    def fetch(self, url: str) -> Response:
        self.fetched.append(url)
        return Response(200, {"content-type": "application/octet-stream"}, iter([b"oct", b"ets"]))


INVOICE = mail_of(
    "Billing <billing@sender.example>",
    "Your invoice of July",
    extra="Cc: bob@example.com\nReply-To: Help <help@sender.example>\nMIME-Version: 1.0\n"
    'Content-Type: multipart/mixed; boundary="b"\n',
    body='--b\nContent-Type: multipart/alternative; boundary="c"\n\n--c\nContent-Type: text/plain\n\nSee there.\n\n'
    "--c\nContent-Type: text/html\n\n<p>See there.</p>\n--c--\n"
    '--b\nContent-Type: text/plain; name="invoice.txt"\n'
    'Content-Disposition: attachment; filename="invoice.txt"\n\nInvoice 4711\n--b--\n',
)
OURS = ("textBody", "htmlBody")


@pytest.fixture
def wire(lab: Lab) -> Iterator[Asking]:
    lab.receive(INVOICE, envelope_from="bounce-17@lists.sender.example", reason=None)
    wire = Asking(lab)
    yield wire
    wire.close()


def lying(wire: Asking) -> str:
    (row,) = wire("/api/archive/get-message-list", {"mailbox": ANN}).rows
    return str(row["id"])


class TestServer:
    @pytest.mark.parametrize("name", ["get-message-list", "archive-get-message-detail", "archive-search"])
    def test_the_literal_request_brings_the_literal_shape(self, wire: Asking, name: str) -> None:
        document = literal(name, ID=lying(wire))
        answer = wire.send(document["path"], document["request"], by=ADMIN).json
        told = without(answer, (*OURS, "notes"))
        assert_same_shape(told, document["answer"])

    @pytest.mark.parametrize("name", ["get-message-part", "archive-get-file"])
    def test_octets(self, wire: Asking, name: str) -> None:
        id = lying(wire)
        if name == "archive-get-file":
            (part,) = wire("/api/archive/get-message-detail", {"id": id}).row["attachments"]
            id = part["id"]
        document = literal(name, ID=id)
        told = wire.send(document["path"], document["request"])
        assert told.octets.strip() == document["answer_octets"].strip().encode()

    def test_values_that_every_client_reads(self, wire: Asking) -> None:
        document = literal("archive-search")
        answer = wire.send(document["path"], document["request"]).json
        (row,) = answer["data"][0]["items"]
        (wanted,) = document["answer"]["data"][0]["items"]
        for key in ("status", "subject", "attachmentcount", "displayfrom", "displayfromaddress", "displayto"):
            assert row[key] == wanted[key], key
        assert json.dumps(row["displaytoaddresslist"]) == json.dumps([{"emailAddress": ANN, "displayableName": ""}])

    @pytest.mark.parametrize("body", [b"", b"{}", {"data": []}, {"data": [{}]}], ids=str)
    def test_bodies_that_ask_for_nothing(self, wire: Asking, body: Any) -> None:
        told = wire.send("/api/archive/get-message-list", body, by=ANN)
        assert [row["subject"] for row in told.rows] == ["Your invoice of July"]
