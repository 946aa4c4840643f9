"""The door: whatever comes in, the answer is in the envelope, with its own id, and never a traceback."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asking import ADD, DECIDE, DETAIL, FIND, LIST, LOG, PERMIT_OR_BLOCK, REJECT, RELEASE, SENDERS, STATES, Asking
from conftest import ADMIN, ANN, Lab, mail_of
from mimeportal import limits
from mimeportal.wire import Request
from mimeportal_server import holds
from mimeportal_server.store.database import StoreError


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    lab = Lab(tmp_path_factory.mktemp("door") / "home")
    lab.receive(mail_of())
    ask = Asking(lab)
    yield ask
    ask.close()
    lab.server.close()


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "method", "status", "code"),
        [
            ("/", "POST", 404, "err_not_found"),
            ("", "POST", 404, "err_not_found"),
            ("/api/gateway/find-held-messages", "POST", 404, "err_not_found"),
            (LIST + "/", "POST", 404, "err_not_found"),
            (LIST.upper(), "POST", 404, "err_not_found"),
            ("/api/portal/holds/\x00", "GET", 404, "err_not_found"),
            (LIST, "GET", 405, "err_method"),
            (LIST, "DELETE", 405, "err_method"),
            (LIST, "post", 405, "err_method"),
        ],
    )
    def test_paths_and_methods(self, ask: Asking, path: str, method: str, status: int, code: str) -> None:
        told = ask.send(path, b"{}", method=method)
        assert (told.status, told.code) == (status, code)
        assert told.json["data"] == []

    def test_nobody(self, ask: Asking) -> None:
        for by in ("stranger@example.com", "ann@elsewhere.example"):
            told = ask.send(LIST, b"{}", by=by)
            (failure,) = json.loads(told.octets)["fail"]
            assert (told.status, failure["code"]) == (401, "token_verification_failed")

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"hello",
            b"'{}'",
            b"[]",
            b"null",
            b"5",
            b'"text"',
            b"\xff",
            b'{"data": [5]}',
            b'{"data": ["id"]}',
            b'{"data": [[]]}',
            b'{"data": 5}',
            b"[" * 100_000,
            b'{"data": ' * 20_000,
            b'{"data": [{"subject": "\\ud800"}]}',
            b'{"data": [{"subject": "\\uDFFF"}]}',
            b'{"\\ud800": 1}',
            b'{"data": [{"subject": "\xed\xa0\x80"}]}',
            '{"data": [{"subject": "\ud800"}]}'.encode("utf-16-le", "surrogatepass"),
            b'{"data": [{"size": NaN}]}',
            b'{"data": [{"size": -Infinity}]}',
            b'{"data": [{"size": ' + b"9" * 5000 + b"}]}",
        ],
        ids=lambda body: repr(body[:30]),
    )
    def test_bodies(self, ask: Asking, body: bytes) -> None:
        told = ask.send(FIND, body)
        assert (told.status, told.code) == (400, "err_request_malformed")

    def test_what_python_would_warn_of_is_read_as_it_was_meant(self, ask: Asking) -> None:
        """A warning would be a line in the log for whatever strangers send; here it would be an error."""
        assert ask.send(LIST, b"{'data': [{'note': '\\d'}]}").status == 200

    @pytest.mark.parametrize(("depth", "status"), [(limits.JSON_DEPTH - 1, 200), (limits.JSON_DEPTH, 400), (400, 400)])
    @pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
    def test_depth(self, ask: Asking, depth: int, status: int, pair: tuple[str, str]) -> None:
        # The document itself and its last value are two of the levels.
        opening, closing = pair
        body = '{"deep": ' + opening * (depth - 1) + "1" + closing * (depth - 1) + "}"
        assert ask.send(LIST, body.encode()).status == status

    def test_the_size_of_a_body(self, ask: Asking) -> None:
        filler = b'{"filler": "%s"}'
        exactly = filler % (b"x" * (limits.JSON_BODY - len(filler) + 2))
        assert len(exactly) == limits.JSON_BODY
        assert ask.send(LIST, exactly).status == 200
        told = ask.send(LIST, exactly + b" ")
        assert (told.status, told.code) == (413, "err_request_too_large")

    def test_a_body_without_end_is_not_read_to_its_end(self, ask: Asking) -> None:
        taken = 0

        def endless() -> Iterator[bytes]:
            nonlocal taken
            while True:
                taken += 1
                yield b" " * 65536

        response = ask.door.handle(Request("POST", LIST, {}, endless()), ask.caller(ADMIN))
        assert response.status == 413
        assert taken <= limits.JSON_BODY // 65536 + 1

    def test_a_body_in_pieces(self, ask: Asking) -> None:
        pieces = [b'{"da', b'ta": [{"ad', b"", b'min": true}]}']
        response = ask.door.handle(Request("POST", LIST, {}, iter(pieces)), ask.caller(ADMIN))
        assert len(json.loads(b"".join(response.body))["data"]) == 1


class TestFaults:
    """What goes wrong inside is an answer too."""

    @pytest.mark.parametrize(
        ("fault", "status", "code", "retryable"),
        [
            (StoreError("busy", passing=True), 503, "err_portal_busy", True),
            (StoreError("broken", passing=False), 503, "err_portal_store", False),
            (OSError(5, "Input/output error"), 503, "err_portal_store", False),
            (ZeroDivisionError("secret text"), 500, "err_internal", False),
            (RecursionError(), 500, "err_internal", False),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_they_are_told(
        self,
        ask: Asking,
        monkeypatch: pytest.MonkeyPatch,
        fault: Exception,
        status: int,
        code: str,
        retryable: bool,
    ) -> None:
        def failing(*_: Any) -> Any:
            raise fault

        monkeypatch.setitem(holds.OPERATIONS, "holds.list", failing)
        told = ask.send(LIST, b"{}")
        assert (told.status, told.code) == (status, code)
        assert told.json["fail"][0]["errors"][0]["retryable"] is retryable
        assert b"secret text" not in told.octets


class TestHeaders:
    def test_every_answer_has_an_id_of_its_own(self, ask: Asking) -> None:
        ids = [ask.send(path, b"{}").headers["x-request-id"] for path in (LIST, LIST, "/nowhere")]
        assert len(set(ids)) == 3
        assert all(str(uuid.UUID(id)) == id for id in ids)

    def test_a_client_may_name_its_request(self, ask: Asking) -> None:
        name = str(uuid.uuid4())
        response = ask.door.handle(Request("POST", LIST, {"x-mc-req-id": name}, [b"{}"]), ask.caller(ADMIN))
        assert response.headers["x-request-id"] == name

    @pytest.mark.parametrize("name", ["", "me", "x" * 5000, "a\r\nb: c", "3d796b76-4180-40e5-8f7c-6e0fd643b1a9\n"])
    def test_but_only_by_a_guid(self, ask: Asking, name: str) -> None:
        response = ask.door.handle(Request("POST", LIST, {"x-mc-req-id": name}, [b"{}"]), ask.caller(ADMIN))
        assert str(uuid.UUID(response.headers["x-request-id"])) == response.headers["x-request-id"]

    def test_nothing_is_to_be_stored_on_the_way(self, ask: Asking) -> None:
        for path in (LIST, "/nowhere"):
            assert ask.send(path, b"{}").headers["cache-control"] == "no-store"


PATHS = (LIST, FIND, DETAIL, DECIDE, RELEASE, REJECT, STATES, LOG, SENDERS, ADD, PERMIT_OR_BLOCK)
KEYS = st.sampled_from(
    [
        "id",
        "ids",
        "admin",
        "start",
        "end",
        "searchBy",
        "fieldName",
        "value",
        "filterBy",
        "queue",
        "mailboxes",
        "from",
        "to",
        "subject",
        "search",
        "reason",
        "policy",
        "attachments",
        "largerThan",
        "decision",
        "permit",
        "senderPart",
        "sender",
        "action",
        "entry",
        "list",
        "mailbox",
        "entryType",
        "notify",
        "message",
        "reasonType",
        "context",
        "route",
    ]
)
ODD = (
    *("2027-01-01T00:00:00Z", "0001-01-01", "9999-12-31T23:59:59-12:00", "\x00", "%", "eNpV", "status", 10**40),
    *(ANN, "elsewhere.example", "release", "reject", "address", "permit", "blocked", "admin", "*", "all"),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(PATHS),
    items=st.lists(st.dictionaries(KEYS, VALUES, max_size=6), max_size=3),
    meta=st.none()
    | st.dictionaries(
        st.sampled_from(["pagination"]), st.dictionaries(st.sampled_from(["pageSize", "pageToken"]), VALUES)
    ),
    by=st.sampled_from([ANN, ADMIN]),
)
def test_whatever_is_asked_is_answered(ask: Asking, path: str, items: list[Any], meta: Any, by: str) -> None:
    """No JSON of any shape brings the portal down: it is done, or refused with a code."""
    told = ask.send(path, {"meta": meta, "data": items}, by=by)
    assert told.status in (200, 400, 403, 404)
    document = told.json
    assert all(error["code"] for entry in document["fail"] for error in entry["errors"])
