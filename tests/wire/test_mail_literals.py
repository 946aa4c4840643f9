"""Mimecast's message finder, queues and logs, word for word: literals typed by hand, for client and server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from asking import Asking
from conftest import ADMIN, ANN, Lab, mail_of
from mimeportal.messages import TrackedMessage
from mimeportal.portal import Portal
from mimeportal.wire import format_date
from mimeportal_server import delivery
from wire.literal import Recorded, assert_same_shape, literal, without

ID = "eNpVj81ugzAQhN9lr0QYDLF"
SINCE, UNTIL = datetime(2022, 7, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
WINDOW = {"START": "2022-07-01T00:00:00+0000", "END": "2099-01-01T00:00:00+0000"}
ARRIVED = datetime(2022, 8, 1, 13, 10, 54, tzinfo=UTC)


class TestClient:
    def test_search(self) -> None:
        transport = Recorded("message-finder-search", "get-message-info-held", ID=ID, **WINDOW)
        found = list(
            Portal(transport).messages.track(
                message_id="<invoice-7@sender.example>",
                from_="billing@sender.example",
                to=ANN,
                subject="invoice",
                route="inbound",
                status="held",
                has_attachments=True,
                search_reason="looking for an invoice",
                since=SINCE,
                until=UNTIL,
            )
        )
        transport.asked("message-finder-search", **WINDOW)
        assert found == [
            TrackedMessage(
                id="eNrrVipOTS4tSs1MUbJSMvMsLvUusCiMSEl",
                status="held",
                info="Message Hold Applied - Spam Signature policy",
                from_address="bounce-17@lists.sender.example",
                from_header="billing@sender.example",
                to_addresses=(ANN,),
                subject="Your invoice of July",
                route="inbound",
                sender_ip="192.0.2.7",
                has_attachments=True,
                received=ARRIVED,
                sent=ARRIVED,
                spam_score=12.0,
                detection_level="relaxed",
                message_id=None,
            )
        ]

    @pytest.mark.parametrize("sender", ["", {}, None], ids=repr)
    def test_a_rejected_row_has_no_header_from(self, sender: Any) -> None:
        """`fromHdr` is a text there, and `attachments` are absent (7.1)."""
        transport = Recorded("message-finder-search", **WINDOW)
        (row,) = transport.answers["/api/message-finder/search"]["answer"]["data"][0]["trackedEmails"]
        row.update(status="rejected", info="Envelope Rejected", fromHdr=sender)
        del row["attachments"]
        (found,) = Portal(transport).messages.track(to=ANN, since=SINCE, until=UNTIL)
        assert (found.status, found.from_header, found.has_attachments) == ("rejected", "", None)

    def test_info_of_what_is_held(self) -> None:
        transport = Recorded("get-message-info-held", ID=ID)
        info = Portal(transport).messages.info(ID, content=True)
        transport.asked("get-message-info-held", ID=ID)
        assert (info.id, info.status) == (ID, "held")
        assert info.hold_id == "eNpVj81ugzAQhN9lr0QYDLF_bgTaKmqrSC2Hiost1sQKsS1j"
        assert (info.reason, info.level) == ("Message Hold Applied - Spam Signature policy", "User")
        assert (info.from_address, info.from_header) == ("bounce-17@lists.sender.example", "billing@sender.example")
        assert (info.to, info.cc) == ((ANN,), ("bob@example.com",))
        assert (info.subject, info.route, info.size) == ("Your invoice of July", "inbound", 7543)
        assert (info.sent, info.processed) == (ARRIVED - timedelta(seconds=4), ARRIVED)
        assert (info.remote_ip, info.remote_host) == ("192.0.2.7", "mx.sender.example")
        assert info.deliveries == {ANN: "Message Hold Applied - Spam Signature policy"}
        assert info.policies == ("Message Hold: Relaxed Spam Detection",)
        assert info.headers == (
            ("Subject", "Your invoice of July"),
            ("Message-ID", "<invoice-7@sender.example>"),
            ("X-Folded", "one two"),
        )
        assert (info.text, info.html) == ("See there.", "")
        assert info.attachments is not None
        assert info.attachments[0]["filename"] == "invoice.txt"
        assert info.document == literal("get-message-info-held", ID=ID)["answer"]["data"][0], "no field is lost"

    def test_info_of_what_is_archived(self) -> None:
        transport = Recorded("get-message-info-archived", ID=ID)
        info = Portal(transport).messages.info(ID)
        transport.asked("get-message-info-archived", ID=ID)
        assert (info.status, info.hold_id, info.reason) == ("archived", None, "")
        assert (info.from_address, info.size, info.remote_host) == ("", 7543, "mx.sender.example")
        assert info.deliveries == {ANN: "Delivered"}
        assert (info.text, info.html, info.attachments) == (None, None, None)
        assert info.document == literal("get-message-info-archived", ID=ID)["answer"]["data"][0], "no field is lost"

    def test_processing(self) -> None:
        transport = Recorded("find-processing-messages", **WINDOW)
        (row,) = Portal(transport).messages.processing(search="invoice", since=SINCE, until=UNTIL)
        transport.asked("find-processing-messages", **WINDOW)
        assert (row.from_address, row.to_address) == ("bounce-17@lists.sender.example", ANN)
        assert (row.attempts, row.info, row.has_attachments) == (2, "connection refused", True)
        assert row.next_attempt == datetime(2022, 7, 28, 10, 46, 54, tzinfo=UTC)

    def test_queues(self) -> None:
        transport = Recorded("get-email-queues", **WINDOW)
        lengths = Portal(transport).messages.queues(since=SINCE, until=UNTIL)
        transport.asked("get-email-queues", **WINDOW)
        moment = datetime(2022, 8, 1, 13, tzinfo=UTC)
        assert [(entry.direction, entry.date, entry.count) for entry in lengths] == [
            ("inbound", moment, 3),
            ("outbound", moment, 0),
        ]

    def test_rejections(self) -> None:
        transport = Recorded("get-rejections", **WINDOW)
        (row,) = Portal(transport).messages.rejected(mailbox=ANN, search="blocked", since=SINCE, until=UNTIL)
        transport.asked("get-rejections", **WINDOW)
        assert (row.from_address, row.to_address, row.type) == ("x@blocked.example", ANN, "sender_blocked")
        assert (row.remote_ip, row.remote_host, row.created) == ("192.0.2.7", "mx.blocked.example", ARRIVED)

    def test_the_operator_of_a_release_log_may_be_an_object(self) -> None:
        """One copy of the documents has `{email}` in place of a text (6.8): the end of a doubt reads both."""
        transport = Recorded("get-held-release-logs")
        (row,) = transport.answers["/api/gateway/get-held-release-logs"]["answer"]["data"][0]["heldReleaseLogs"]
        row["operator"] = {"email": ADMIN}
        (told,) = Portal(transport).holds.log(since=SINCE, until=UNTIL)
        assert told.operator == ADMIN


INVOICE = mail_of(
    "Billing <billing@sender.example>",
    "Your invoice of July",
    extra='Cc: bob@example.com\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n',
    body='--b\nContent-Type: text/plain\n\nSee there.\n--b\nContent-Type: text/plain; name="invoice.txt"\n'
    'Content-Disposition: attachment; filename="invoice.txt"\n\nInvoice 4711\n--b--\n',
)
INVOICE = b"".join(
    b"Message-ID: <invoice-7@sender.example>\n" if line.startswith(b"Message-ID") else line
    for line in INVOICE.splitlines(keepends=True)
)
OURS = {"message-finder-search": ("messageId",)}
# What the portal leaves out: it reckons no spam score, and its archive copies have no end.
LEFT_OUT = ("spamScore", "messageExpiresIn", "currentPurgeDate", "originalPurgeDate")


@pytest.fixture
def wire(lab: Lab) -> Iterator[Asking]:
    lab.receive(INVOICE, envelope_from="bounce-17@lists.sender.example")
    wire = Asking(lab)
    yield wire
    wire.close()


class TestServer:
    @pytest.mark.parametrize(
        "name",
        [
            "message-finder-search",
            "get-message-info-held",
            "get-message-info-archived",
            "find-processing-messages",
            "get-email-queues",
            "get-rejections",
        ],
    )
    def test_the_literal_request_brings_the_literal_shape(self, lab: Lab, wire: Asking, name: str) -> None:
        if name in ("get-message-info-archived", "find-processing-messages"):
            wire.decide(wire.one())
        if name == "get-message-info-archived":
            delivery.deliver(lab.server)
        if name == "get-rejections":
            wire("/api/portal/senders/add", {"entry": "blocked.example", "list": "blocked", "mailbox": ANN})
            lab.receive(mail_of("x@blocked.example"), reason=None)
        now = datetime.now(UTC)
        window = {
            "START": format_date(now - timedelta(hours=1)),
            "END": format_date(now + timedelta(hours=1)),
            "ID": _tracking_id(wire),
        }
        document = literal(name, **window)
        answer = wire.send(document["path"], document["request"]).json
        ours, theirs = without(answer, OURS.get(name, ())), without(document["answer"], LEFT_OUT)
        assert_same_shape(ours, theirs)

    def test_values_that_every_client_reads(self, wire: Asking) -> None:
        document = literal("message-finder-search", START="2026-11-22T00:00:00Z", END="2099-01-01T00:00:00Z")
        del document["request"]["data"][0]["start"]
        (row,) = wire.send(document["path"], document["request"]).row["trackedEmails"]
        wanted = document["answer"]["data"][0]["trackedEmails"][0]
        for key in ("status", "info", "fromEnv", "fromHdr", "to", "subject", "attachments", "route"):
            assert row[key] == wanted[key], key

    @pytest.mark.parametrize(
        "body", [b"", b"{}", {"data": []}, {"data": [{}]}, {"meta": {"pagination": {"pageSize": 25}}}], ids=str
    )
    @pytest.mark.parametrize(
        "path",
        ["/api/message-finder/search", "/api/gateway/find-processing-messages", "/api/gateway/get-rejections"],
    )
    def test_bodies_that_ask_for_nothing(self, wire: Asking, body: Any, path: str) -> None:
        assert wire.send(path, body).json["fail"] == []


def _tracking_id(wire: Asking) -> str:
    (row,) = wire("/api/message-finder/search", {}).row["trackedEmails"][-1:]
    return str(row["id"])
