"""Mimecast's wire, word for word: requests and answers typed by hand from the reference, never from our models.

Each file of `literals/` names the section it was typed from. The client must send the request and read the
answer; the server must take the request and answer in the same keys and types.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from asking import Asking
from conftest import ADMIN, ANN, Lab, mail_of
from mimeportal import errors
from mimeportal.holds import Hold, contract
from mimeportal.portal import Portal
from mimeportal.wire import Request, Response
from wire.literal import Recorded, assert_same_shape, literal

# -- the client ------------------------------------------------------------------------------------------


ID = "eNpVj81ugzAQhN9lr0QYDLF"
MAILBOX = {"emailAddress": "billing@sender.example", "displayableName": "Billing"}


def held() -> Hold:
    return Hold(
        id=ID,
        queue="admin",
        level=None,
        reason="Message Hold Applied - Spam Signature policy",
        reason_code="message_hold_applied_spam_signature_policy",
        policy="Relaxed Spam Detection",
        from_address="bounce-17@lists.sender.example",
        from_header="billing@sender.example",
        to_address="ann@example.com",
        subject="Your invoice of July",
        route="inbound",
        size=7543,
        has_attachments=True,
        date_received=datetime(2022, 8, 1, 13, 10, 54, tzinfo=UTC),
        expires=None,
        sender_blocked=None,
    )


class TestClient:
    """What the SDK sends to Mimecast's API, and what it makes of the answers."""

    def test_hold_list(self) -> None:
        transport = Recorded("get-hold-message-list")
        holds = Portal(transport).holds.list(
            subject="invoice",
            since=datetime(2022, 7, 1, tzinfo=UTC),
            until=datetime(2099, 1, 1, tzinfo=UTC),
            page_size=25,
        )
        found = list(holds)
        transport.asked("get-hold-message-list")
        expected = literal("get-hold-message-list")["answer"]["data"][0]["id"]
        assert found == [Hold(**{**_fields(held()), "id": expected})]

    def test_hold_summary(self) -> None:
        transport = Recorded("get-hold-summary-list")
        rows = Portal(transport).holds.summary()
        transport.asked("get-hold-summary-list")
        assert [(row.policy_info, row.number_of_items) for row in rows] == [("Relaxed Spam Detection", 1473)]

    def test_release(self) -> None:
        transport = Recorded("hold-release", "get-account", ID=ID)
        outcomes: list[Any] = []
        result = Portal(transport).holds.release([held()], on_outcomes=outcomes.extend)
        transport.asked("hold-release", ID=ID)
        assert [(o.id, o.outcome, o.verdict.request_id) for o in outcomes] == [(ID, "done", "r-1")]
        assert result.clean

    def test_reject(self) -> None:
        transport = Recorded("hold-reject", "get-account", ID=ID)
        outcomes: list[Any] = []
        Portal(transport).holds.reject(
            [held()],
            notify=True,
            message="Please send it as a PDF.",
            reason_type="message contains undesirable content",
            on_outcomes=outcomes.extend,
        )
        transport.asked("hold-reject", ID=ID)
        assert [(o.id, o.outcome) for o in outcomes] == [(ID, "done")]

    def test_permit_comes_before_the_release(self) -> None:
        transport = Recorded("permit-or-block-sender", "hold-release", "get-account", ID=ID)
        Portal(transport).holds.release([held()], permit="address")
        transport.asked("permit-or-block-sender")
        transport.asked("hold-release", ID=ID)
        acts = [path for _, path, _ in transport.sent if "get-account" not in path]
        assert acts == ["/api/managedsender/permit-or-block-sender", "/api/gateway/hold-release"]

    def test_message_detail(self) -> None:
        transport = Recorded("get-message-detail", "get-hold-message-list", ID=ID)
        message = Portal(transport).holds.get(ID)
        transport.asked("get-message-detail", ID=ID)
        assert message.headers == (
            ("Subject", "Your invoice of July"),
            ("Received", "from a.example by b.example"),
            ("Received", "from c.example by a.example"),
        )
        (attachment,) = message.attachments
        assert (attachment.name, attachment.content_type, attachment.size) == ("invoice.txt", "text/plain", 12)
        assert attachment.id == "eNqrVipOTS5KLVGyUjI0MjYxNTO3AAIAM0kFDg"
        assert attachment.sha256 == "b1946ac92492d2347c6235b4d2611184" * 2
        assert (message.text, message.html, message.notes) == (None, None, ())

    def test_every_field_of_a_message_detail(self) -> None:
        transport = Recorded("get-message-detail", ID=ID)
        session = Portal(transport).session
        row = session.one(contract.DETAIL, contract.MessageDetailItem(id=ID, context="RECEIVED"))
        assert row.to_json() == {**literal("get-message-detail", ID=ID)["answer"]["data"][0], "notes": []}
        assert row.from_.displayable_name == "Billing"
        assert row.reply_to is not None
        assert row.reply_to.email_address == "help@sender.example"
        assert [address.email_address for address in row.to] == ["ann@example.com"]

    def test_file(self) -> None:
        transport = Recorded("get-file", api="api1", ID=ID)
        assert b"".join(Portal(transport).holds.download(ID)) == b"Invoice 4711"
        transport.asked("get-file", ID=ID)

    def test_file_whose_octets_lie_elsewhere(self) -> None:
        transport = Recorded("get-file-by-url", ID=ID)
        portal = Portal(transport)
        (row,) = portal.session.call(contract.FILE, [contract.FileItem(id=ID)]).rows
        transport.asked("get-file-by-url", ID=ID)
        assert row.urls[0].startswith("https://us-a1.download.api.services.mimecast.com/api/gateway/")
        with pytest.raises(errors.MimeportalError):
            portal.holds.download(ID)

    def test_release_log(self) -> None:
        transport = Recorded("get-held-release-logs")
        log = Portal(transport).holds.log(
            since=datetime(2015, 11, 1, tzinfo=UTC),
            until=datetime(2099, 1, 1, tzinfo=UTC),
            status="released",
            search="invoice",
            page_size=25,
        )
        (row,) = log
        transport.asked("get-held-release-logs")
        assert (row.status, row.route) == ("released", "inbound")
        assert row.released == datetime(2015, 11, 25, 14, 49, 18, tzinfo=UTC)
        assert (row.operator, row.subject, row.size, row.has_attachments) == (ADMIN, "Your invoice of July", 7543, True)
        assert (row.from_address, row.from_header) == ("bounce-17@lists.sender.example", "billing@sender.example")
        assert row.to_addresses == (ANN,)
        assert (row.held_reason, row.held_group) == ("High-Confidence Impersonation Protection", "user")
        assert (row.policy, row.info, row.reject_reason) == ("Default Impersonation Definition", "", "")
        assert (row.spam_score, row.detection_level) == (12, "relaxed")

    def test_permit_or_block(self) -> None:
        transport = Recorded("permit-or-block-sender")
        (change,) = Portal(transport).senders.add(["Billing@Sender.example"], "permitted", mailbox=ANN)
        transport.asked("permit-or-block-sender")
        assert (change.entry, change.list, change.mailbox, change.outcome) == (
            "billing@sender.example",
            "permitted",
            ANN,
            "done",
        )

    def test_permit_or_block_refused(self) -> None:
        transport = Recorded("permit-or-block-sender-refused")
        with pytest.raises(errors.ApiError) as refused:
            Portal(transport).senders.add(["someone@sender.example"], "blocked", mailbox=ANN)
        assert refused.value.code == "err_validation_invalid_email_address"
        assert "Email address is not valid" in refused.value.what

    def test_senders_bulk_delete(self) -> None:
        transport = Recorded("senders-bulk-delete")
        gone = Portal(transport).senders.remove_everywhere(["Billing@Sender.example", "spam.example"], "blocked")
        transport.asked("senders-bulk-delete")
        assert gone == 2

    @pytest.mark.parametrize(
        ("list", "filters"),
        [
            (None, {}),
            ("permitted", {"action": "permit"}),
            ("auto-permitted", {"type": "auto"}),
            ("trusted", {"trusted": True}),
        ],
    )
    def test_senders_bulk_delete_of_one_list(self, list: str | None, filters: dict[str, Any]) -> None:
        transport = Recorded("senders-bulk-delete")
        Portal(transport).senders.remove_everywhere(["spam.example"], list)
        assert transport.sent == [
            ("POST", literal("senders-bulk-delete")["path"], {"ids": ["spam.example"], **filters})
        ]

    @pytest.mark.parametrize("answer", [{}, {"status": "ok"}])
    def test_senders_bulk_delete_that_tells_no_count(self, answer: dict[str, Any]) -> None:
        transport = Recorded("senders-bulk-delete")
        transport.answers[literal("senders-bulk-delete")["path"]]["answer"] = answer
        assert Portal(transport).senders.remove_everywhere(["spam.example"]) is None

    def test_one_mailbox_is_never_asked_for(self) -> None:
        """The form for one recipient has an unknown body: it is not sent (promises B.6)."""
        transport = Recorded("senders-bulk-delete", "get-account")
        for removing in (
            lambda: Portal(transport).senders.remove(["spam.example"], "blocked"),
            lambda: Portal(transport).senders.plan("remove", ["spam.example"], mailbox=ANN),
        ):
            with pytest.raises(errors.NotOfferedError):
                removing()
        assert transport.sent == []

    def test_account(self) -> None:
        transport = Recorded("get-account")
        row = Portal(transport).account.show()
        transport.asked("get-account")
        assert (row.account_code, row.account_name, row.domain) == ("CUSA1A1", "Example Ltd", "example.com")
        assert (row.region, row.user_count) == ("us", 4)
        assert row.to_json() == literal("get-account")["answer"]["data"][0], "a recorded answer loses no field"


def _fields(hold: Hold) -> dict[str, Any]:
    return {name: getattr(hold, name) for name in hold.__slots__}


class Answering:
    """A transport that answers every call with one given document."""

    api: Any = "api2"
    url = "https://api.services.mimecast.com"
    user: str | None = None
    parallel = 1

    def __init__(self, document: Any, status: int = 200) -> None:
        self.body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.status = status

    def send(self, request: Request) -> Response:
        return Response(self.status, {"content-type": "application/json"}, iter([self.body]))

    def close(self) -> None:
        pass


class TestWhatTheClientForgives:
    """Answers that differ from the documented envelope (mimecast-api-core 1.4, 5.3, 5.4, 11)."""

    @pytest.mark.parametrize(
        ("status", "fail"),
        [
            (401, [{"errors": [{"code": "token_expired", "message": "Sorry", "retryable": False}]}]),
            (401, [{"code": "token_expired", "message": "Sorry"}]),
            (401, {"code": "token_expired", "message": "Sorry"}),
            (401, {"errors": {"code": "token_expired", "message": "Sorry"}}),
            (401, {"errors": [{"code": "token_expired", "message": "Sorry"}]}),
        ],
        ids=["nested", "flat", "object", "object with one error", "object with a list"],
    )
    def test_every_shape_of_fail_is_read(self, status: int, fail: Any) -> None:
        portal = Portal(Answering({"fail": fail}, status))
        with pytest.raises(errors.AuthenticationError) as refused:
            portal.holds.summary()
        assert refused.value.code == "token_expired"
        assert "Sorry" in refused.value.what

    @pytest.mark.parametrize("fail", ["Not today", ["Not today"], [{"errors": ["Not today"]}]])
    def test_a_failure_that_is_a_text(self, fail: Any) -> None:
        with pytest.raises(errors.ApiError) as refused:
            Portal(Answering({"meta": {"status": 200}, "data": [], "fail": fail})).holds.summary()
        assert "Not today" in refused.value.what

    def test_a_failure_with_http_200(self) -> None:
        """`{"code": "err_developer_key"}` comes with HTTP 200 (mimecast-api-core 5.3)."""
        error = {"code": "err_developer_key", "message": "App ID is invalid: INVALID", "retryable": False}
        document = {"meta": {"status": 200}, "data": [], "fail": [{"errors": [error]}]}
        with pytest.raises(errors.ApiError) as refused:
            Portal(Answering(document)).holds.summary()
        assert refused.value.code == "err_developer_key"

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, errors.ApiError),
            (403, errors.ForbiddenError),
            (404, errors.NotFoundError),
            (418, errors.AuthenticationError),
            (429, errors.RateLimitedError),
            (500, errors.UnavailableError),
        ],
    )
    @pytest.mark.parametrize("body", [b"", b"<html>oops</html>", b"[]", b'{"meta": [], "fail": 7}'])
    def test_a_status_without_an_envelope(self, status: int, kind: type[errors.MimeportalError], body: bytes) -> None:
        with pytest.raises(kind):
            Portal(Answering(body, status)).holds.summary()

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b'{"data": [{"policyInfo": 1}]}',
            b'{"meta": {"status": "fine"}, "data": []}',
            b"[" * 5000,
            b"\xff\xfe\x00",
        ],
    )
    def test_an_answer_that_cannot_be_read_is_a_lost_one(self, body: bytes) -> None:
        with pytest.raises(errors.LostAnswerError):
            Portal(Answering(body)).holds.summary()

    def test_nulls_in_rows_mean_nothing(self) -> None:
        row = {
            "id": "eN1",
            "from": None,
            "fromHeader": {"emailAddress": None, "displayableName": None},
            "to": {"emailAddress": "ann@example.com"},
            "subject": None,
            "dateReceived": "2022-08-01T13:10:54+0000",
            "policyInfo": None,
            "unheardOf": None,
        }
        portal = Portal(Answering({"meta": {"status": 200}, "data": [row], "fail": []}))
        (hold,) = portal.holds.list(since=datetime(2022, 1, 1, tzinfo=UTC))
        assert (hold.from_address, hold.from_header, hold.subject, hold.policy) == ("", "", "", "")
        assert hold.to_address == "ann@example.com"

    @pytest.mark.parametrize("end", [{}, {"next": None}, {"next": ""}])
    def test_no_next_page(self, end: dict[str, Any]) -> None:
        """`pageSize` is no row count: it may be 0 beside rows (mimecast-api-core 1.5)."""
        document = {
            "meta": {"status": 200, "pagination": {"pageSize": 0, **end}},
            "data": [{"id": "eN1", "dateReceived": "2022-08-01T13:10:54Z"}],
            "fail": [],
        }
        holds = Portal(Answering(document)).holds.list(since=datetime(2022, 1, 1, tzinfo=UTC))
        assert [hold.id for hold in holds] == ["eN1"]

    def test_a_list_without_end_is_ended(self) -> None:
        document = {"meta": {"pagination": {"pageSize": 0, "next": "eNagain"}}, "data": [], "fail": []}
        with pytest.raises(errors.ApiError) as refused:
            list(Portal(Answering(document)).holds.list())
        assert refused.value.code == "err_page_token_repeated"

    @pytest.mark.parametrize("text", ["+0000", "+00:00", "Z", ""])
    def test_every_form_of_date(self, text: str) -> None:
        row = {"id": "eN1", "dateReceived": f"2022-08-01T13:10:54{text}"}
        portal = Portal(Answering({"data": [row], "fail": []}))
        (hold,) = portal.holds.list(since=datetime(2022, 1, 1, tzinfo=UTC))
        assert hold.date_received == datetime(2022, 8, 1, 13, 10, 54, tzinfo=UTC)


# -- the server -------------------------------------------------------------------------------------------

INVOICE = mail_of(
    "Billing <billing@sender.example>",
    "Your invoice of July",
    to="Ann <ann@example.com>",
    extra="Cc: bob@example.com\nReply-To: Help <help@sender.example>\nMIME-Version: 1.0\n"
    'Content-Type: multipart/mixed; boundary="b"\n',
    body='--b\nContent-Type: text/plain\n\nSee there.\n--b\nContent-Type: text/plain; name="invoice.txt"\n'
    'Content-Disposition: attachment; filename="invoice.txt"\n\nInvoice 4711\n--b--\n',
)


class Wire(Asking):
    """The door of a portal, as a stranger's client sees it: JSON in, JSON out."""

    def post(self, path: str, body: Any = b"", *, by: str = ADMIN) -> Any:
        return self.send(path, body, by=by).json

    def list(self, *, by: str = ADMIN, meta: Any = None, **item: Any) -> Any:
        body: dict[str, Any] = {"data": [item]}
        return self.post(HOLD_LIST, body if meta is None else {"meta": meta, **body}, by=by)


HOLD_LIST = "/api/gateway/get-hold-message-list"


@pytest.fixture
def wire(lab: Lab) -> Iterator[Wire]:
    """A portal that holds one invoice for ann."""
    wire = _with_invoice(lab)
    yield wire
    wire.close()


@pytest.fixture
def hold_id(wire: Wire) -> str:
    (row,) = wire.list(admin=True)["data"]
    return str(row["id"])


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """The same portal, shared by tests that change nothing."""
    lab = Lab(tmp_path_factory.mktemp("unchanged") / "home")
    wire = _with_invoice(lab)
    yield wire
    wire.close()
    lab.server.close()


def _with_invoice(lab: Lab) -> Wire:
    lab.receive(INVOICE, envelope_from="bounce-17@lists.sender.example", kind="content")
    return Wire(lab)


# What the portal adds to rows of Mimecast's own operations (promises B.5) ...
OURS = {
    "get-hold-message-list": ("level", "expires", "senderBlocked", "queue"),
    "get-message-detail": ("textBody", "notes"),
}
# ... and what it leaves out: it reckons no spam score.
LEFT_OUT = {"get-held-release-logs": ("spamScore",)}


class TestServer:
    """The literal requests, taken by the portal's door."""

    @pytest.mark.parametrize(
        "name",
        [
            "get-hold-message-list",
            "get-hold-summary-list",
            "hold-release",
            "hold-reject",
            "get-message-detail",
            "get-held-release-logs",
            "permit-or-block-sender",
            "permit-or-block-sender-refused",
            "get-account",
        ],
    )
    def test_the_literal_request_brings_the_literal_shape(self, wire: Wire, hold_id: str, name: str) -> None:
        if name == "get-held-release-logs":
            release = literal("hold-release", ID=hold_id)
            wire.post(release["path"], release["request"])
        document = literal(name, ID=hold_id)
        answer, wanted = wire.post(document["path"], document["request"]), document["answer"]
        for rows, left_out in ((answer["data"], OURS.get(name, ())), (wanted["data"], LEFT_OUT.get(name, ()))):
            for row in rows[0]["heldReleaseLogs"] if name == "get-held-release-logs" else rows:
                for key in left_out:
                    del row[key]
        assert_same_shape(answer, wanted)

    def test_values_that_every_client_reads(self, wire: Wire, hold_id: str) -> None:
        document = literal("get-hold-message-list")
        (row,) = wire.post(document["path"], document["request"])["data"]
        wanted = document["answer"]["data"][0]
        for key in ("reason", "reasonId", "reasonCode", "from", "fromHeader", "to", "subject", "route"):
            assert row[key] == wanted[key], key
        assert row["hasAttachments"] is True
        assert row["size"] == len(INVOICE)

    def test_deciding_answers_with_the_id_that_was_sent(self, wire: Wire, hold_id: str) -> None:
        for name, key in (("hold-release", "release"), ("hold-reject", "reject")):
            document = literal(name, ID=hold_id)
            answer = wire.post(document["path"], document["request"])
            if key == "release":
                assert answer == document["answer"]
            else:
                (failure,) = answer["fail"]
                assert failure["key"] == {"ids": [hold_id]}
                assert failure["errors"][0]["code"] == "already_released"

    def test_refused_sender_is_answered_word_for_word(self, wire: Wire) -> None:
        document = literal("permit-or-block-sender-refused")
        assert wire.post(document["path"], document["request"]) == document["answer"]

    def test_senders_bulk_delete(self, wire: Wire) -> None:
        document = literal("senders-bulk-delete")
        for entry in document["request"]["ids"]:
            wire("/api/portal/senders/add", {"entry": entry, "list": "blocked", "mailbox": ANN})
        told = wire.send(document["path"], document["request"])
        assert (told.status, json.loads(told.octets)) == (200, document["answer"])
        assert wire.lists() == {}

    def test_blocked_sender_type(self, wire: Wire) -> None:
        document = literal("permit-or-block-sender")
        document["request"]["data"][0]["action"] = "block"
        (row,) = wire.post(document["path"], document["request"])["data"]
        assert row["type"] == "Block"

    def test_file(self, wire: Wire, hold_id: str) -> None:
        detail = literal("get-message-detail", ID=hold_id)
        (attachment,) = wire.post(detail["path"], detail["request"])["data"][0]["attachments"]
        document = literal("get-file", ID=attachment["id"])
        told = wire.send(document["path"], document["request"])
        assert (told.status, told.octets.decode()) == (200, document["answer_octets"])
        assert told.headers["content-type"] == "application/octet-stream"
        assert told.headers["content-disposition"] == 'attachment; filename="invoice.txt"'

    def test_file_of_the_whole_message(self, wire: Wire, hold_id: str) -> None:
        document = literal("get-file", ID=hold_id)
        assert wire.send(document["path"], document["request"]).octets == INVOICE


class TestPagingOnTheWire:
    def test_next_previous_and_the_last_page(self, wire: Wire) -> None:
        for number in range(4):
            wire.lab.receive(mail_of(subject=f"invoice {number}"))
        first = wire.list(admin=True, meta={"pagination": {"pageSize": 2}})
        block = first["meta"]["pagination"]
        assert (block["pageSize"], block["totalCount"]) == (2, 5)
        assert block["next"].startswith("eN")
        assert "previous" not in block
        second = wire.list(admin=True, meta={"pagination": {"pageSize": 2, "pageToken": block["next"]}})
        assert second["meta"]["pagination"]["previous"].startswith("eN")
        last = wire.list(
            admin=True, meta={"pagination": {"pageToken": second["meta"]["pagination"]["next"], "pageSize": 2}}
        )
        assert last["meta"]["pagination"]["pageSize"] == 1
        assert "next" not in last["meta"]["pagination"], "null would send clients round for ever"

    def test_page_size_rides_in_the_token(self, wire: Wire) -> None:
        """Some clients send `page_size: null` and no `pageSize` with a token (mimecast-api-core 11.4)."""
        for number in range(4):
            wire.lab.receive(mail_of(subject=f"invoice {number}"))
        token = wire.list(admin=True, meta={"pagination": {"pageSize": 2}})["meta"]["pagination"]["next"]
        again = wire.list(admin=True, meta={"pagination": {"page_size": None, "pageToken": token}})
        assert len(again["data"]) == 2

    def test_no_rows(self, unchanged: Wire) -> None:
        answer = unchanged.list(admin=True, searchBy={"fieldName": "subject", "value": "nowhere to be found"})
        assert answer == {
            "meta": {"status": 200, "pagination": {"pageSize": 0, "totalCount": 0}},
            "data": [],
            "fail": [],
        }

    @pytest.mark.parametrize("block", [None, {}, {"pageToken": None}, {"pageSize": None}, {"pageSize": "25"}])
    def test_paging_blocks_that_say_little(self, unchanged: Wire, block: Any) -> None:
        assert len(unchanged.list(admin=True, meta={"pagination": block})["data"]) == 1


class TestWhatTheServerForgives:
    """What independent clients put on the wire (mimecast-api-core 11)."""

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"  \n",
            b"{}",
            {"data": []},
            {"data": None},
            {"data": [{}]},
            {"meta": {}},
            {"meta": None},
            {"meta": {"pagination": {"pageSize": 25}}},
            {"meta": {"pagination": {"pageSize": 25}}, "data": []},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("path", [HOLD_LIST, "/api/gateway/get-held-release-logs"])
    def test_bodies_that_ask_for_nothing(self, unchanged: Wire, body: Any, path: str) -> None:
        assert unchanged.post(path, body, by=ANN)["fail"] == []

    @pytest.mark.parametrize("body", [b"", b"{}", {"data": []}, {"data": [{}]}, {"meta": {}}], ids=str)
    @pytest.mark.parametrize("path", ["/api/gateway/get-hold-summary-list", "/api/account/get-account"])
    def test_functions_without_argument(self, unchanged: Wire, body: Any, path: str) -> None:
        assert len(unchanged.post(path, body)["data"]) == 1

    @pytest.mark.parametrize("admin", [True, "true", "True"])
    def test_admin_may_be_a_text(self, unchanged: Wire, admin: Any) -> None:
        assert len(unchanged.list(admin=admin)["data"]) == 1

    @pytest.mark.parametrize("admin", [False, "false", "False", None])
    def test_not_admin_is_one_s_own(self, unchanged: Wire, admin: Any) -> None:
        assert unchanged.list(admin=admin)["data"] == []
        assert len(unchanged.list(admin=admin, by=ANN)["data"]) == 1

    @pytest.mark.parametrize(
        "search",
        [
            {"fieldName": "subject", "value": "INVOICE"},
            {"fieldName": "Subject", "value": "invoice"},
            {"fieldName": "all", "value": "invoice"},
            {"fieldName": "sender", "value": "billing@"},
            {"fieldName": "recipient", "value": "ann@"},
            {"fieldName": "reasonCode", "value": "message_hold_applied_spam_signature_policy"},
            {"fieldName": "reason_code", "value": "message_hold_applied_spam_signature_policy"},
            {"fieldName": "reason_code", "value": "MESSAGE_HOLD_APPLIED_SPAM_SIGNATURE_POLICY"},
            [{"fieldName": "subject", "value": "invoice"}],
            [],
            None,
            {"fieldName": None, "value": None},
            {"fieldName": "subject", "value": ""},
        ],
        ids=str,
    )
    def test_forms_of_search(self, unchanged: Wire, search: Any) -> None:
        assert len(unchanged.list(admin=True, searchBy=search)["data"]) == 1

    @pytest.mark.parametrize("name", ["subject", "sender", "recipient", "reasonCode", "all"])
    def test_a_search_that_finds_nothing(self, unchanged: Wire, name: str) -> None:
        assert unchanged.list(admin=True, searchBy={"fieldName": name, "value": "absent"})["data"] == []

    def test_sender_ip_is_not_known_here(self, unchanged: Wire) -> None:
        (failure,) = unchanged.list(admin=True, searchBy={"fieldName": "colour", "value": "red"})["fail"]
        assert failure["errors"][0]["code"] == "err_validation_value_not_allowed"
        assert failure["errors"][0]["field"] == "searchBy.fieldName"

    @pytest.mark.parametrize(
        "start",
        [
            "2022-07-01T00:00:00+0000",
            "2022-07-01T00:00:00+00:00",
            "2022-07-01T00:00:00Z",
            "2022-07-01T00:00:00",
            "2022-07-01T05:24:32.970521",
            None,
        ],
    )
    def test_forms_of_dates(self, unchanged: Wire, start: str | None) -> None:
        assert len(unchanged.list(admin=True, start=start, end=None)["data"]) == 1

    @pytest.mark.parametrize(
        "date", ["yesterday", "2022-13-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]
    )
    def test_dates_that_are_none(self, unchanged: Wire, date: str) -> None:
        (failure,) = unchanged.list(admin=True, end=date)["fail"]
        assert failure["errors"][0]["code"] == "err_validation_invalid_date"
        assert failure["errors"][0]["field"] == "end"

    def test_unknown_keys_are_ignored(self, wire: Wire, hold_id: str) -> None:
        item = {"id": hold_id, "action": "release", "reason": "because", "notes": None}
        answer = wire.post("/api/gateway/hold-release", {"data": [item], "more": 1})
        assert answer["data"] == [{"id": hold_id, "release": True}]

    def test_reject_with_the_names_of_another_function(self, wire: Wire, hold_id: str) -> None:
        item = {"ids": [hold_id], "notify": "false", "notes": "no", "reason": "against_email_policies"}
        answer = wire.post("/api/gateway/hold-reject", {"data": [item]})
        assert answer["data"] == [{"id": hold_id, "reject": True}]

    def test_failed_items_are_echoed_as_they_were_sent(self, unchanged: Wire) -> None:
        item = {"id": "eNunknown", "action": "release"}
        (failure,) = unchanged.post("/api/gateway/hold-release", {"data": [item]})["fail"]
        assert failure["key"] == item
        assert failure["errors"][0]["code"] == "xdk_failure"

    @pytest.mark.parametrize(
        ("path", "item", "field"),
        [
            ("/api/gateway/hold-release", {}, "id"),
            ("/api/gateway/hold-release", {"id": None}, "id"),
            ("/api/gateway/hold-reject", {}, "ids"),
            ("/api/gateway/message/get-message-detail", {}, "id"),
            ("/api/gateway/message/get-file", {"id": None}, "id"),
            ("/api/managedsender/permit-or-block-sender", {"to": ANN, "action": "block"}, "sender"),
            ("/api/managedsender/permit-or-block-sender", {"sender": "a@b.example", "action": "block"}, "to"),
        ],
    )
    def test_a_missing_field_is_named(self, unchanged: Wire, path: str, item: Any, field: str) -> None:
        answer = unchanged.post(path, {"data": [item]})
        assert answer["data"] == []
        (error,) = answer["fail"][0]["errors"]
        assert (error["code"], error["field"]) == ("err_validation_null", field)
        assert error["retryable"] is False

    def test_more_than_one_list_item_is_refused(self, unchanged: Wire) -> None:
        answer = unchanged.post("/api/gateway/get-hold-message-list", {"data": [{"admin": True}] * 2})
        assert answer["fail"][0]["errors"][0]["code"] == "err_validation_count"

    @pytest.mark.parametrize("count", [25, 26])
    def test_release_takes_twenty_five(self, unchanged: Wire, count: int) -> None:
        answer = unchanged.post("/api/gateway/hold-release", {"data": [{"id": "eNone"}] * count})
        codes = {failure["errors"][0]["code"] for failure in answer["fail"]}
        assert codes == ({"xdk_failure"} if count == 25 else {"err_validation_count"})

    def test_ids_have_the_form_of_mimecast_s(self, wire: Wire, hold_id: str) -> None:
        """base64url without padding of zlib of JSON, with these keys (mimecast-api-core 11.11)."""
        import base64
        import zlib

        content = json.loads(zlib.decompress(base64.urlsafe_b64decode(hold_id + "=" * (-len(hold_id) % 4))))
        assert set(content) == {"secureid", "hldqid", "tmnd", "version", "tnde", "queue_id"}
        assert 130 <= len(hold_id) <= 400
