"""Portals that answer wrong on purpose, or what stands before them: told in words, not believed, not waited for."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from http_peer import Peer, Reply, Seen, peer, refusal, rows
from mimeportal import limits
from mimeportal.credentials import Credentials
from mimeportal.errors import ApiError, AuthenticationError, ConfigurationError, LostAnswerError, UnavailableError
from mimeportal.portal import Portal
from mimeportal.retry import Policy
from mimeportal.transport_http import HttpTransport

KEYS = Credentials("app1", app_id="app", app_key="key", access_key="access", secret_key="c2VjcmV0")
APP = Credentials("app2", client_id="client", client_secret="sesame")
JSON = {"content-type": "application/json"}
HOLD = {"id": "an-id", "dateReceived": "2026-11-22T10:00:00+0000", "to": {"emailAddress": "ann@example.com"}}


@contextmanager
def opened(
    url: str, credentials: Credentials = KEYS, slept: list[float] | None = None, **more: Any
) -> Iterator[Portal]:
    policy = Policy(chance=lambda: 1.0, sleep=(slept if slept is not None else []).append)
    with Portal(HttpTransport(url, credentials=credentials, policy=policy, **more)) as portal:
        yield portal


def listed(reply: Reply | Callable[[Seen], Reply], **more: Any) -> list[Any]:
    answer = reply if callable(reply) else lambda _seen: reply
    with peer(answer) as there, opened(there.url, **more) as portal:
        return list(portal.holds.list(queue="admin"))


# -- what is no list is not an empty one -----------------------------------------------------------------------------


def test_a_failure_that_names_its_item_is_the_list_s_own() -> None:
    echoed = {"key": {"admin": True}, "errors": [{"code": "err_validation_x", "message": "no such filter"}]}
    with pytest.raises(ApiError, match="no such filter"):
        listed(rows(fail=[echoed]))


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"result": "log in first"}',
        b'{"meta": {"status": 200}, "data": {"id": "x"}}',
        b'{"meta": {"status": 200}, "data": ["x", 5]}',
        b'{"meta": {"status": 1e999}, "data": []}',
        b'{"meta": {"pagination": {"next": {"a": 1}}}, "data": []}',
        b'{"data": [{"id": "x", "size": "many", "deep": ' + b"[" * 900 + b"]" * 900 + b"}]}",
    ],
)
def test_what_cannot_be_read_is_not_an_empty_list(body: bytes) -> None:
    with pytest.raises(LostAnswerError, match="could not be read") as told:
        listed(Reply(body=body, headers=JSON))
    assert "nothing was changed" in told.value.remedy or "what stands before it" in told.value.remedy


def test_a_date_that_is_none_is_the_portal_s_fault() -> None:
    with pytest.raises(ApiError, match="no date"):
        listed(rows({**HOLD, "dateReceived": "soon"}))


def test_letters_that_are_none_are_replaced() -> None:
    (hold,) = listed(
        Reply(body=json.dumps({"data": [{**HOLD, "subject": "a\ud800b\U0001f600"}]}).encode(), headers=JSON)
    )
    assert hold.subject == "a\ufffdb\U0001f600"


@pytest.mark.parametrize("tokens", [["a"], ["a", "b"], ["a", "b", "c", "d", "e"]])
def test_pages_that_go_round_end(tokens: list[str]) -> None:
    asked: list[Any] = []

    def answer(seen: Seen) -> Reply:
        asked.append(seen.json)
        page = {"meta": {"pagination": {"next": tokens[len(asked) % len(tokens)]}}, "data": [HOLD]}
        return Reply(body=json.dumps(page).encode(), headers=JSON)

    with pytest.raises(ApiError) as told:
        listed(answer)
    assert told.value.code == "err_page_token_repeated"
    asked.clear()
    with peer(answer) as there, opened(there.url) as portal, pytest.raises(ApiError, match="no end"):
        list(portal.pages("/api/gateway/get-hold-message-list", {"admin": True}))


# -- what is broken, long, or slow -------------------------------------------------------------------------------------


@contextmanager
def raw(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A peer that writes octets of its own choice to every connection."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.recv(65_536)
                answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    "octets",
    [
        HEAD + b"transfer-encoding: chunked\r\n\r\n-5\r\n{}",
        HEAD + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
        HEAD + b"content-encoding: gzip\r\n\r\nno gzip",
        b"SSH-2.0\r\n",
    ],
)
def test_broken_answers_are_lost_ones(octets: bytes) -> None:
    with (
        raw(lambda connection: connection.sendall(octets)) as url,
        opened(url) as portal,
        pytest.raises(LostAnswerError),
    ):
        portal.account.show()


def test_what_does_not_speak_tls_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    with (
        raw(lambda connection: connection.sendall(HEAD)) as url,
        opened(url.replace("http:", "https:")) as portal,
        pytest.raises(LostAnswerError) as told,
    ):
        portal.account.show()
    assert "does not speak TLS" in told.value.why


@pytest.mark.parametrize("begun", [HEAD[:20], HEAD, HEAD + b"\r\n"], ids=["head", "headers", "body"])
def test_an_answer_that_trickles_ends(begun: bytes) -> None:
    ended = threading.Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(begun)
        while not ended.wait(0.01):
            connection.sendall(b"a")

    with raw(trickle) as url, opened(url, timeout=0.1) as portal:
        with pytest.raises(LostAnswerError, match=r"No answer came|broke off") as told:
            portal.account.show()
        ended.set()
    assert "timed out" in told.value.why


@pytest.mark.parametrize("status", [429, 503])
def test_nobody_waits_for_years(status: int) -> None:
    slept: list[float] = []
    busy = refusal("busy", status, retryable=True, Retry_After="99999999")
    with peer(lambda _seen: busy) as there, opened(there.url, APP, slept) as portal:
        with pytest.raises(UnavailableError):
            portal.account.show()
        assert len(there.seen) == 1
    assert slept == []


# -- log-ins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["a\r\nx-evil: 1", "t\u00e9", "a b"])
def test_a_token_that_no_request_can_hold(token: str) -> None:
    given = {"access_token": token, "expires_in": 1799}
    with peer(lambda _seen: Reply(body=json.dumps(given).encode(), headers=JSON)) as there:
        with opened(there.url, APP) as portal, pytest.raises(AuthenticationError, match="no request can hold"):
            portal.account.show()
        assert there.paths() == ["/oauth/token"]


@pytest.mark.parametrize("seconds", [-5, 0, 10**400])
def test_a_token_s_life_of_any_length(seconds: int) -> None:
    def answer(seen: Seen) -> Reply:
        if seen.path == "/oauth/token":
            return Reply(body=json.dumps({"access_token": "t", "expires_in": seconds}).encode(), headers=JSON)
        return rows({"accountCode": "C1"})

    with peer(answer) as there, opened(there.url, APP) as portal:
        assert portal.account.show().account_code == "C1"


@pytest.mark.parametrize("secret", ["not base64", "\u4e2d", ""])
def test_keys_that_sign_nothing(secret: str) -> None:
    def answer(seen: Seen) -> Reply:
        if seen.path.endswith("/auth/app"):
            return rows({"appId": "app", "appKey": "key"})
        return rows({"accessKey": "access key" if not secret else "access", "secretKey": secret, "duration": 5})

    person = Credentials("person", password="correct horse")
    with (
        peer(answer) as there,
        opened(there.url, person, user="ann@example.com") as portal,
        pytest.raises(ConfigurationError, match="_key holds"),
    ):
        portal.account.show()


# -- octets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", ["\t/x", "\\@evil.example/x"])
def test_octets_are_fetched_by_no_url_that_is_none(tail: str) -> None:
    with peer(lambda seen: rows({"urls": [there_url + tail]})) as there:
        there_url = there.url
        with opened(there.url) as portal, pytest.raises(ApiError):
            list(portal.holds.download("an-id"))
        assert len(there.seen) == 1


def test_octets_without_end_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FILE", 1_000)
    body = Reply(body=b"x" * 200_000, headers={"content-type": "message/rfc822"})
    with peer(lambda _seen: body) as there, opened(there.url) as portal, pytest.raises(LostAnswerError, match="longer"):
        list(portal.holds.download("an-id"))


# -- decisions ---------------------------------------------------------------------------------------------------------


def decisions(answer: Callable[[list[str]], Reply], api: str) -> tuple[Any, Peer]:
    """Release two messages at a portal that goes on holding them, whatever it says."""
    ids = ["one", "two"]

    def there(seen: Seen) -> Reply:
        if seen.path.endswith(("/decide", "/hold-release")):
            return answer([item["id"] for item in seen.json["data"]])
        if seen.path.endswith("/states"):
            return rows(*({"id": id, "state": "held"} for id in ids))
        if seen.path.endswith(("/find", "/get-hold-message-list")):
            return rows(*({**HOLD, "id": id} for id in ids))
        if seen.path.endswith("get-held-release-logs"):
            return rows({"heldReleaseLogs": []})
        if seen.path.endswith("/whoami"):
            return rows({"emailAddress": "ann@example.com", "role": "administrator", "timeZone": "UTC"})
        return rows({"accountCode": "C1"})

    with peer(there) as portal_peer, opened(portal_peer.url, api=api) as portal:
        return portal.holds.release(ids), portal_peer


@pytest.mark.parametrize("api", ["local", "api1"])
def test_what_is_told_both_ways_is_not_done(api: str) -> None:
    def both(ids: list[str]) -> Reply:
        done = [{"id": id, "outcome": "done", "release": True} for id in ids]
        return rows(*done, fail=[{"key": {"id": id}, "errors": [{"code": "no", "message": "no"}]} for id in ids])

    result, _ = decisions(both, api)
    assert result.totals == {"unknown": 2}


@pytest.mark.parametrize("api", ["local", "api1"])
@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b'{"meta": {"status": 1e999}, "data": []}', headers=JSON),
        Reply(body=b'{"data": ' + b"[" * 50_000, headers=JSON),
        Reply(body=b"{}", headers={**JSON, "content-encoding": "gzip"}),
        Reply(204),
    ],
    ids=["status", "depth", "gzip", "empty"],
)
def test_an_answer_that_cannot_be_read_is_never_done(api: str, reply: Reply) -> None:
    result, _ = decisions(lambda _ids: reply, api)
    assert result.totals == {"unknown": 2}


@pytest.mark.parametrize("policies", [True, 5, "x", {"a": 1}, [None]])
@pytest.mark.parametrize("size", ["Infinity", "1e999", '"' + "9" * 5_000 + '"', '"\u00b2"'])
def test_what_is_told_of_a_message_may_be_of_any_kind(policies: Any, size: str) -> None:
    told = {
        "id": "an-id",
        "status": "held",
        "deliveredMessage": {"ann@example.com": {"policyInfo": policies}},
        "recipientInfo": {"messageInfo": {}, "recipientMetaInfo": {"transmissionSize": "SIZE"}},
    }
    body = json.dumps({"data": [told]}).replace('"SIZE"', size).encode()
    with peer(lambda _seen: Reply(body=body, headers=JSON)) as there, opened(there.url) as portal:
        info = portal.messages.info("an-id")
    assert (info.size, info.policies) == (None, ())


def test_a_queue_of_any_length() -> None:
    row = rows({"inboundEmailQueue": "9" * 5_000, "outboundEmailQueue": [{"date": 5, "count": "\u00b2"}]})
    with peer(lambda _seen: row) as there, opened(there.url) as portal:
        assert portal.messages.queues(until=datetime.now(UTC)) == []
