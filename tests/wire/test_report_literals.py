"""Mimecast's audit events and SIEM files, word for word: literals typed by hand, for client and server."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from asking import Asking
from conftest import ADMIN, ANN, SPAM, Lab, mail_of
from mimeportal.errors import ApiError, LostAnswerError, MimeportalError
from mimeportal.portal import Portal
from mimeportal.reports import siem
from mimeportal.wire import Request, Response
from mimeportal_server import audit, people
from wire.literal import Recorded, assert_same_shape, literal

SINCE, UNTIL = datetime(2022, 8, 1, tzinfo=UTC), datetime(2022, 8, 2, tzinfo=UTC)
WINDOW = {"START": "2022-08-01T00:00:00+0000", "END": "2022-08-02T00:00:00+0000"}
ARRIVED = datetime(2022, 8, 1, 13, 10, 54, tzinfo=UTC)


class TestClient:
    def test_audit_events(self) -> None:
        transport = Recorded("get-audit-events", **WINDOW)
        (event,) = Portal(transport).reports.audit_events(
            since=SINCE, until=UNTIL, query="ann", categories=["authentication_logs"]
        )
        transport.asked("get-audit-events", **WINDOW)
        assert event.to_json() == literal("get-audit-events")["answer"]["data"][0]

    def test_the_report_of_the_audit(self) -> None:
        transport = Recorded("get-audit-events", **WINDOW)
        (row,) = Portal(transport).reports.audit(since=SINCE.date(), until=UNTIL.date())
        assert (row.time, row.user, row.action, row.category) == (ARRIVED, ANN, "User Logged On", "authentication_logs")
        assert row.info.startswith("Successful authentication for")
        assert (row.outcome, row.door, row.object) == ("", "", "")

    def test_log_ins(self) -> None:
        transport = Recorded("get-audit-events", **WINDOW)
        (row,) = Portal(transport).reports.logins(since=SINCE.date(), until=UNTIL.date())
        assert (row.day, row.door, row.succeeded, row.failed) == (SINCE.date(), "Web", 1, 0)

    def test_categories(self) -> None:
        transport = Recorded("get-categories")
        (row,) = Portal(transport).reports.audit_categories()
        transport.asked("get-categories")
        assert (row.code, row.name) == ("authentication_logs", "Authentication")


class Siem:
    """Mimecast as far as SIEM goes: one page with one file, then an end; and log files by token."""

    url = "https://api.services.mimecast.com"
    user: str | None = ADMIN
    parallel = 1

    def __init__(self, api: str = "api2", files: dict[str, bytes] | None = None) -> None:
        self.api: Any = api
        self.files = files or {}
        self.asked: list[tuple[str, str, Any]] = []
        if api == "api2":
            from mimeportal.retry import ONCE

            self.policy = ONCE

    def send(self, request: Request) -> Response:
        query = dict(parse_qsl(request.query))
        body = b"".join(request.body)
        self.asked.append((request.method, request.path, json.loads(body) if body else query))
        if request.path.endswith("get-siem-logs"):
            return self._log(json.loads(body)["data"][0])
        told = literal("siem-batch-events")["answer"]
        if "nextPage" in query or query["type"] != "process":
            told = {"value": [], "isCaughtUp": True}
        return answer(told)

    def _log(self, item: dict[str, Any]) -> Response:
        found = literal("get-siem-logs")
        if "token" in item:
            return answer(found["last"])
        headers = {"content-type": "application/octet-stream", **found["headers"]}
        return Response(200, headers, iter([found["answer_octets"].encode()]))

    def fetch(self, url: str) -> Response:
        octets = self.files[url]
        return Response(200, {"content-type": "application/octet-stream"}, iter([octets[:7], octets[7:]]))

    def renew(self, *_: object) -> bool:
        return False

    def suspicion(self, *_: object) -> str:
        return ""

    def close(self) -> None:
        pass


def answer(document: Any) -> Response:
    return Response(200, {"content-type": "application/json"}, iter([json.dumps(document).encode()]))


FILE = literal("siem-batch-events")
URL = FILE["answer"]["value"][0]["url"]
LINES = b"".join(json.dumps(event).encode() + b"\n" for event in FILE["events"])


class TestSiem:
    def events(self, octets: bytes) -> list[siem.Batch]:
        return list(Portal(Siem(files={URL: octets})).reports.siem_events("process", since=SINCE, until=UNTIL))

    def test_batch_files(self) -> None:
        transport = Siem(files={URL: gzip.compress(LINES)})
        batches = list(Portal(transport).reports.siem_events("process", since=SINCE, until=UNTIL))
        assert [batch.events for batch in batches] == [FILE["events"]]
        assert transport.asked == [
            ("GET", FILE["path"], FILE["query"] | {"dateRangeEndsAt": "2022-08-02"}),
            (
                "GET",
                FILE["path"],
                FILE["query"] | {"dateRangeEndsAt": "2022-08-02", "nextPage": "eNqrVipOTS4tSs1MUbJS"},
            ),
        ]

    def test_it_goes_on_where_it_was(self) -> None:
        transport = Siem()
        resume = FILE["answer"]["@nextPage"]
        assert list(Portal(transport).reports.siem_events("process", since=SINCE, until=UNTIL, resume=resume)) == []
        assert [query.get("nextPage") for _, _, query in transport.asked] == [resume]

    def test_traffic(self) -> None:
        transport = Siem(files={URL: gzip.compress(LINES * 3)})
        rows = list(Portal(transport).reports.traffic(since=date(2022, 8, 1), until=date(2022, 8, 3)))
        told = {(row.day.day, row.direction): (row.processed, row.held, row.blocked) for row in rows}
        assert len(told) == 6
        assert told[1, "inbound"] == (3, 3, None)
        assert sum(row.processed or 0 for row in rows) == 3
        assert {query["type"] for _, _, query in transport.asked} == {"receipt", "process", "delivery"}

    def test_files_in_several_parts_and_without_a_last_line_end(self) -> None:
        octets = gzip.compress(LINES * 2) + gzip.compress(LINES.rstrip())
        assert sum(len(batch.events) for batch in self.events(octets)) == 3

    def test_a_long_file_comes_bit_by_bit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(siem, "_LINES", len(LINES) * 2)
        assert [len(batch.events) for batch in self.events(gzip.compress(LINES * 7))] == [2, 2, 2, 1]

    def test_an_empty_file(self) -> None:
        assert self.events(gzip.compress(b"")) == []

    def test_a_file_that_is_cut(self) -> None:
        with pytest.raises(LostAnswerError):
            self.events(gzip.compress(LINES * 50)[:-20])

    @pytest.mark.parametrize("text", ["{", "1\n", "{},{}\n"])
    def test_lines_that_are_no_objects(self, text: str) -> None:
        with pytest.raises(ApiError):
            self.events(gzip.compress(text.encode()))

    def test_a_file_that_is_no_gzip(self) -> None:
        with pytest.raises(ApiError):
            self.events(b"no gzip at all")

    def test_an_address_that_is_not_mimecast_s(self) -> None:
        class Elsewhere(Siem):
            def send(self, request: Request) -> Response:
                return answer({"value": [{"url": "https://evil.example/x"}], "isCaughtUp": True})

        with pytest.raises(MimeportalError) as refused:
            list(Portal(Elsewhere()).reports.siem_events("process", since=SINCE, until=UNTIL))
        assert "evil.example" in refused.value.what

    def test_log_files_of_api_1(self) -> None:
        transport = Siem("api1")
        (batch,) = Portal(transport).reports.siem_events("receipt", since=SINCE, until=UNTIL)
        request = literal("get-siem-logs")["request"]
        token = {"token": "eNqrVipOTS4tSs1MUbJS"}
        assert [body for _, _, body in transport.asked] == [request, {"data": [{**request["data"][0], **token}]}]
        (event,) = batch.events
        assert event["timestamp"] == int(ARRIVED.timestamp() * 1000)
        assert (event["direction"], event["action"], event["recipients"]) == ("Inbound", "Rej", ANN)
        rows = list(Portal(Siem("api1")).reports.traffic(since=date(2022, 8, 1), until=date(2022, 8, 2)))
        assert [(row.direction, row.rejected) for row in rows] == [("inbound", 1), ("outbound", 0), ("internal", 0)]


@pytest.fixture
def wire(lab: Lab) -> Iterator[Asking]:
    lab.receive(mail_of("Billing <billing@sender.example>", "Your invoice of July"), reason=SPAM)
    with lab.server.write() as tx:
        found = people.find(tx, ANN)
        assert found is not None
        act = audit.Act("log in", "done", "person", int(found.id), {"address": ANN})
        caller = people.caller_of(tx, ANN, "http")
        audit.record(tx, [act], at=lab.server.clock.now(), caller=caller)
    ask = Asking(lab)
    yield ask
    ask.close()


class TestServer:
    @pytest.mark.parametrize("name", ["get-audit-events", "get-categories"])
    def test_the_literal_request_brings_the_literal_shape(self, wire: Asking, name: str) -> None:
        now = datetime.now(UTC)
        start, end = (f"{now + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S+0000}" for hours in (-1, 1))
        document = literal(name, START=start, END=end)
        answer = wire.send(document["path"], document["request"]).json
        assert_same_shape(answer, document["answer"])

    def test_batch_files(self, wire: Asking) -> None:
        now = datetime.now(UTC)
        days = {"dateRangeStartsAt": f"{now:%Y-%m-%d}", "dateRangeEndsAt": f"{now:%Y-%m-%d}"}
        told = json.loads(wire.get(FILE["path"], {**FILE["query"], **days}).octets)
        wanted = {name: value for name, value in FILE["answer"].items() if name != "@nextPage"}
        assert_same_shape(told, wanted)
        parts = urlsplit(told["value"][0]["url"])
        octets = wire.get(parts.path, dict(parse_qsl(parts.query))).octets
        assert len(octets) == told["value"][0]["size"]
        (event,) = (json.loads(line) for line in gzip.decompress(octets).splitlines())
        assert_same_shape(event, FILE["events"][0])

    def test_log_files(self, wire: Asking) -> None:
        document = literal("get-siem-logs")
        told = wire.send(document["path"], document["request"])
        assert told.headers.keys() >= document["headers"].keys()
        theirs, ours = (text.split("|") for text in (document["answer_octets"], told.octets.decode()))
        names = {pair.partition("=")[0] for pair in ours}
        assert names <= {pair.partition("=")[0] for pair in theirs}
        for _ in range(3):
            told = wire(
                document["path"], {**document["request"]["data"][0], "token": told.headers.get("mc-siem-token", "")}
            )
            if told.headers["content-type"] == "application/json":
                assert_same_shape(told.json, document["last"])
                return
        pytest.fail("the log has no end")
