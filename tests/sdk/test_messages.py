"""`portal.messages`, and held mail as an app asks for it: filters applied twice, content by way of the finder."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conftest import ADMIN, ANN, BOB, SPAM, Lab, mail_of
from mimeportal.errors import ApiError, ForbiddenError, NotFoundError, NotOfferedError, UsageError
from mimeportal.messages import TrackedMessage
from mimeportal.portal import Portal
from mimeportal.wire import Failure, Request, Response, encode_answer, encode_flat

APIS = pytest.mark.parametrize("api", ["local", "api2", "api1"])
DETAIL, INFO = "/api/gateway/message/get-message-detail", "/api/message-finder/get-message-info"
SEARCH, REJECTIONS = "/api/message-finder/search", "/api/gateway/get-rejections"
QUEUES = "/api/email/get-email-queues"

NAIVE = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)

Hook = Callable[[str, Any, Callable[[], Response]], Response]


class Between:
    """A transport around a real one: a hook sees each request, and may answer in its place; an app's own."""

    is_person = False

    def __init__(self, portal: Portal, hook: Hook) -> None:
        self._inner = portal._transport
        self._hook = hook
        self.api, self.url, self.parallel = self._inner.api, self._inner.url, 1
        self.user: str | None = None
        self.sent: list[tuple[str, Any]] = []

    def send(self, request: Request) -> Response:
        body = b"".join(request.body)
        document = json.loads(body) if body else {}
        self.sent.append((request.path, document))
        whole = Request(request.method, request.path, request.headers, [body])
        return self._hook(request.path, document, lambda: self._inner.send(whole))

    def close(self) -> str | None:
        return self._inner.close()

    def asked(self, path: str) -> list[Any]:
        return [document["data"][0] for sent, document in self.sent if sent == path]


def between(lab: Lab, api: str, hook: Hook = lambda path, document, forward: forward()) -> tuple[Portal, Between]:
    around = Between(lab.client(ADMIN, api=api), hook)
    return Portal(around), around


def read(response: Response) -> Any:
    return json.loads(b"".join(response.body))


def answered(document: Any, status: int = 200) -> Response:
    return Response(status, {"content-type": "application/json"}, iter([json.dumps(document).encode()]))


def everything(lab: Lab) -> Any:
    """What the finder answers whom it asks nothing."""
    portal = lab.client(ADMIN)
    try:
        return read(portal._transport.send(Request("POST", SEARCH, {}, [b""])))
    finally:
        portal._transport._portal.close()  # type: ignore[attr-defined]  # without delivering


@pytest.fixture
def mailed(lab: Lab) -> Lab:
    lab.receive(mail_of(subject="one"))
    lab.receive(mail_of("Shop <offers@shop.example>", "two"), envelope_from="bounce@mailer.example", to=BOB)
    lab.receive(mail_of(subject="three"), reason=None, to=BOB)
    return lab


def subjects(messages: Any) -> list[str]:
    return [message.subject for message in messages]


class TestTrack:
    @APIS
    @pytest.mark.parametrize(
        ("filters", "found"),
        [
            ({"from_": "elsewhere.example"}, ["three", "one"]),
            ({"from_": "shop.example"}, ["two"]),
            ({"from_": "bounce@mailer.example"}, ["two"]),
            ({"from_": "elsewhere.example", "to": BOB}, ["three"]),
            ({"to": "example.com", "status": "held"}, ["two", "one"]),
            ({"to": "example.com", "status": ["held", "delivery"]}, ["three", "two", "one"]),
            ({"to": "example.com", "route": "outbound"}, []),
            ({"to": "example.com", "has_attachments": True}, []),
            ({"subject": "t"}, ["three", "two"]),
            ({"subject": "*o"}, ["two"]),
            ({"sender_ip": "192.0.2.1"}, []),
        ],
        ids=str,
    )
    def test_filters(self, mailed: Lab, api: str, filters: dict[str, Any], found: list[str]) -> None:
        if filters.get("subject", "").startswith("*") and api != "local":
            filters = {**filters, "to": "example.com"}
        with mailed.client(ADMIN, api=api) as portal:
            assert subjects(portal.messages.track(**filters)) == found

    @APIS
    def test_filters_are_applied_again(self, mailed: Lab, api: str) -> None:
        """A portal that ignores whatever it is asked narrows nothing, and loses nothing."""

        def ignore(path: str, document: Any, forward: Callable[[], Response]) -> Response:
            return answered(everything(mailed)) if path == SEARCH else forward()

        portal, _ = between(mailed, api, ignore)
        with portal:
            track = portal.messages.track
            assert subjects(track(from_="shop.example")) == ["two"]
            assert subjects(track(to=BOB, from_="eve")) == ["three"]
            assert subjects(track(subject="one")) == ["one"]
            assert subjects(track(to="example.com", status="held")) == ["two", "one"]
            assert subjects(track(to="example.com", since=datetime.now(UTC) + timedelta(hours=1))) == []
            assert subjects(track(sender_ip="192.0.2.1")) == []
            wanted = next(iter(track(subject="two"))).message_id
            assert subjects(track(message_id=wanted)) == ["two"]

    @APIS
    def test_a_message_id_that_rows_do_not_tell_is_looked_at(self, mailed: Lab, api: str) -> None:
        """Mimecast's rows have none: what is passed on to be released must still be the one message."""

        def hide(path: str, document: Any, forward: Callable[[], Response]) -> Response:
            if path == SEARCH:
                told = everything(mailed)
                for row in told["data"][0]["trackedEmails"]:
                    del row["messageId"]
                return answered(told)
            return forward()

        with mailed.client(ADMIN) as plain:
            (wanted,) = plain.messages.track(subject="two")
        portal, around = between(mailed, api, hide)
        with portal:
            found = list(portal.messages.track(message_id=wanted.message_id))
            assert subjects(found) == ["two"]
            assert len(around.asked(INFO)) == 3

    def test_what_shows_no_message_id_is_never_passed_on(self, mailed: Lab) -> None:
        def silent(path: str, document: Any, forward: Callable[[], Response]) -> Response:
            told = everything(mailed) if path == SEARCH else read(forward())
            if path == SEARCH:
                for row in told["data"][0]["trackedEmails"]:
                    del row["messageId"]
            else:
                told["data"][0]["recipientInfo"]["messageInfo"]["transmissionInfo"] = None
            return answered(told)

        portal, _ = between(mailed, "api2", silent)
        with portal:
            found = list(portal.messages.track(message_id="<some@elsewhere.example>"))
            assert [row.status for row in found] == ["delivery"]
            assert list(portal.messages.hold_ids(found)) == []

    def test_what_travels_to_mimecast(self, mailed: Lab) -> None:
        portal, around = between(mailed, "api1")
        with portal:
            list(portal.messages.track(subject="*two*", to=BOB, status="held", has_attachments=False, route="Inbound"))
        (asked,) = around.asked(SEARCH)
        assert asked["advancedTrackAndTraceOptions"] == {"to": BOB}, "a wildcard stands nowhere at the start"
        assert asked["route"] == ["inbound"]
        assert {"status", "attachments"}.isdisjoint(asked), "those are of API 2.0"
        assert {"start", "end"} <= set(asked), "always sent"

    @pytest.mark.parametrize("api", ["api1", "api2"])
    @pytest.mark.parametrize(
        "filters", [{}, {"status": "held"}, {"route": "inbound"}, {"from_": "word"}, {"subject": "*x"}], ids=str
    )
    def test_mimecast_wants_to_know_what_to_look_for(self, lab: Lab, api: str, filters: dict[str, Any]) -> None:
        portal, around = between(lab, api)
        with portal, pytest.raises(UsageError, match="wants to know"):
            portal.messages.track(**filters)
        assert around.sent == []

    def test_a_local_portal_does_not(self, mailed: Lab) -> None:
        with mailed.client(ADMIN) as portal:
            assert len(list(portal.messages.track())) == 3

    @pytest.mark.parametrize(
        "filters",
        [
            {"status": "gone"},
            {"status": 7},
            {"status": ["held", None]},
            {"route": "sideways"},
            {"from_": ""},
            {"to": 5},
            {"subject": "\udcff"},
            {"has_attachments": "yes"},
            {"since": "7d"},
            {"until": NAIVE},
        ],
        ids=str,
    )
    def test_wrong_calls(self, lab: Lab, filters: dict[str, Any]) -> None:
        portal, around = between(lab, "local")
        with portal, pytest.raises(UsageError):
            portal.messages.track(**filters)
        assert around.sent == []

    def test_only_administrators(self, lab: Lab) -> None:
        with lab.client(ANN) as portal, pytest.raises(ForbiddenError):
            list(portal.messages.track())

    def test_too_far_back(self, lab: Lab) -> None:
        with lab.client(ADMIN) as portal, pytest.raises(ApiError) as refused:
            list(portal.messages.track(since=datetime.now(UTC) - timedelta(days=31)))
        assert refused.value.code == "err_track_and_trace_invalid_start_date"


class TestOneMessage:
    @APIS
    def test_from_tracking_to_release(self, mailed: Lab, api: str) -> None:
        with mailed.client(ADMIN, api=api) as portal:
            tracked = list(portal.messages.track(from_="elsewhere.example"))
            ids = list(portal.messages.hold_ids(tracked))
            assert len(ids) == 1, "only one of both is held"
            assert list(portal.messages.hold_ids([tracked[1].id])) == ids
            assert portal.holds.release(ids).totals["done"] == 1
            assert list(portal.messages.hold_ids([tracked[1]])) == []

    def test_facts(self, mailed: Lab) -> None:
        with mailed.client(ADMIN) as portal:
            (tracked,) = portal.messages.track(subject="two")
            info = portal.messages.info(tracked.id)
            (hold,) = portal.holds.list(queue="admin", subject="two")
        assert isinstance(tracked, TrackedMessage)
        assert (info.status, info.hold_id, info.reason, info.level) == ("held", hold.id, SPAM, "User")
        assert (info.from_address, info.from_header) == ("bounce@mailer.example", "offers@shop.example")
        assert (info.size, info.route, info.policies) == (hold.size, "inbound", ("Message Hold: Import",))
        assert info.deliveries == {BOB: SPAM}
        assert info.header("subject") == "two"
        assert info.header("X-None") is None
        assert (info.text, info.html, info.attachments) == (None, None, None)

    def test_content(self, mailed: Lab) -> None:
        with mailed.client(ADMIN) as portal:
            (tracked,) = portal.messages.track(subject="three")
            info = portal.messages.info(tracked.id, content=True)
        assert (info.text, info.attachments) == ("Hello Ann.\n", ())

    def test_a_hold_s_id_is_none(self, mailed: Lab) -> None:
        with mailed.client(ADMIN) as portal:
            (hold,) = portal.holds.list(queue="admin", subject="two")
            with pytest.raises(NotFoundError, match="No such tracked message"):
                portal.messages.info(hold.id)


class TestQueuesAndLogs:
    @APIS
    def test_processing(self, mailed: Lab, api: str) -> None:
        with mailed.client(ADMIN, api=api) as portal:
            (waiting,) = portal.messages.processing(search="three")
            assert (waiting.to_address, waiting.attempts, waiting.next_attempt) == (BOB, 0, None)
            assert list(portal.messages.processing(search="five")) == []
            assert list(portal.messages.processing(until=datetime.now(UTC) - timedelta(days=1))) == []

    @APIS
    def test_queues(self, mailed: Lab, api: str) -> None:
        with mailed.client(ADMIN, api=api) as portal:
            lengths = portal.messages.queues()
        assert {entry.direction for entry in lengths} == {"inbound", "outbound"}
        assert sum(entry.count for entry in lengths) == 1
        assert len(lengths) in (48, 50)

    @pytest.mark.parametrize("number", [7, "7"])
    def test_queues_as_the_documents_show_them(self, lab: Lab, number: Any) -> None:
        told = {"data": [{"inboundEmailQueue": number, "outboundEmailQueue": [{"date": "x", "count": 2}, 3, {}]}]}
        portal, _ = between(lab, "api2", lambda path, document, forward: answered(told))
        since = datetime(2026, 1, 1, tzinfo=UTC)
        with portal:
            lengths = portal.messages.queues(since=since, until=since + timedelta(days=1))
        assert [(entry.direction, entry.date, entry.count) for entry in lengths] == [
            ("inbound", since, 7),
            ("outbound", since, 2),
        ]

    def test_wrong_times(self, lab: Lab) -> None:
        since = datetime(2026, 1, 1, tzinfo=UTC)
        with lab.client(ADMIN) as portal, pytest.raises(UsageError):
            portal.messages.queues(since=since, until=since)

    @APIS
    def test_rejected(self, lab: Lab, api: str) -> None:
        with lab.client(ADMIN) as portal:
            portal.senders.add(["spam.example"], "blocked", mailbox=ANN)
        lab.receive(mail_of("x@spam.example", "no"), reason=None)
        since = datetime.now(UTC) - timedelta(hours=1)
        with lab.client(ADMIN, api=api) as portal:
            (row,) = portal.messages.rejected(since=since)
            assert (row.from_address, row.to_address, row.type) == ("x@spam.example", ANN, "sender_blocked")
            assert len(list(portal.messages.rejected(since=since, mailbox=ANN.upper(), search="SPAM"))) == 1
            assert list(portal.messages.rejected(since=since, mailbox=BOB)) == []
            assert list(portal.messages.rejected(since=since, search="ham")) == []

    def test_a_rejection_log_of_unknown_form_is_no_empty_one(self, lab: Lab) -> None:
        told = {"data": [{"somethingElse": [{"when": "now"}]}]}
        portal, _ = between(lab, "api2", lambda path, document, forward: answered(told))
        with portal, pytest.raises(ApiError) as unknown:
            list(portal.messages.rejected())
        assert REJECTIONS in unknown.value.remedy

    def test_bounced(self, mailed: Lab) -> None:
        portal, around = between(mailed, "api2")
        with portal:
            assert list(portal.messages.bounced(to="example.com")) == []
        assert around.asked(SEARCH)[0]["status"] == ["bounced"]


class TestHoldsByAnApp:
    """Promises B.1: somebody's personal queue is read off the list of all."""

    @pytest.fixture
    def levels(self, lab: Lab) -> Lab:
        for level in ("user", "moderator", "administrator"):
            lab.receive(mail_of(subject=level), level=level)
        lab.receive(mail_of(subject="bob's"), to=BOB)
        return lab

    @APIS
    def test_personal_is_one_recipient_s_user_level(self, levels: Lab, api: str) -> None:
        portal, around = between(levels, api)
        around.user = ANN
        with portal:
            found = list(portal.holds.list(queue="personal"))
            assert [(hold.subject, hold.queue) for hold in found] == [("user", "personal")]
            assert subjects(portal.holds.list(queue="personal", mailboxes=(BOB,))) == ["bob's"]
            assert len(list(portal.holds.list())) == 4, "an app's default is everybody's"

    @APIS
    def test_nobody_known_is_an_error(self, levels: Lab, api: str) -> None:
        portal, around = between(levels, api)
        with portal, pytest.raises(UsageError, match="Whose personal queue"):
            portal.holds.list(queue="personal")
        assert around.sent == []


def forbid(path: str, document: Any, forward: Callable[[], Response]) -> Response:
    """What API 2.0's gateway answers for functions that an app's products lack (mimecast-api-core 5.4)."""
    if path != DETAIL:
        return forward()
    text = "Resource or method requested does not exist in any product assigned to the application."
    return Response(403, {"content-type": "application/json"}, iter([encode_flat(Failure("app_forbidden", text))]))


class TestContentByTheFinder:
    """Promises H: where an app may not read held messages, exactly one tracked message must be the hold."""

    def test_one_fits(self, mailed: Lab) -> None:
        portal, around = between(mailed, "api2", forbid)
        with portal:
            (hold,) = portal.holds.list(subject="two")
            message = portal.holds.get(hold.id)
        assert message.hold == hold
        assert message.text == "Hello Ann.\n"
        assert ("Subject", "two") in message.headers
        assert "message finder" in message.notes[0]
        assert [asked.get("loadContent") for asked in around.asked(INFO)] == [None, "true"]

    @pytest.mark.parametrize(("copies", "words"), [(1, None), (2, "several")])
    def test_where_ids_differ_the_facts_decide(self, lab: Lab, copies: int, words: str | None) -> None:
        for _ in range(copies):
            lab.receive(mail_of(subject="same"))

        def other_ids(path: str, document: Any, forward: Callable[[], Response]) -> Response:
            if path != INFO:
                return forbid(path, document, forward)
            told = read(forward())
            told["data"][0]["queueInfo"]["id"] = "eNother"
            return answered(told)

        portal, _ = between(lab, "api2", other_ids)
        with portal:
            hold = next(iter(portal.holds.list()))
            if words is None:
                assert portal.holds.get(hold.id).text == "Hello Ann.\n"
                return
            with pytest.raises(NotOfferedError) as refused:
                portal.holds.get(hold.id)
        assert words in refused.value.why

    def test_none_fits(self, mailed: Lab) -> None:
        def blind(path: str, document: Any, forward: Callable[[], Response]) -> Response:
            if path == SEARCH:
                failure = Failure("err_track_and_trace_invalid_start_date", "too long ago")
                return Response(200, {"content-type": "application/json"}, iter([encode_answer([], [failure])]))
            return forbid(path, document, forward)

        portal, _ = between(mailed, "api2", blind)
        with portal:
            hold = next(iter(portal.holds.list()))
            with pytest.raises(NotOfferedError) as refused:
                portal.holds.get(hold.id)
        assert "does not know it" in refused.value.why

    def test_what_is_not_held(self, mailed: Lab) -> None:
        portal, _ = between(mailed, "api2", forbid)
        with portal, pytest.raises(NotFoundError):
            portal.holds.get("eNone")
