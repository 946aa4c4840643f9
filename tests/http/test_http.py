"""The HTTP door: connections, bodies, headers, compression, health, TLS, and a log that gives nothing away."""

from __future__ import annotations

import gzip
import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from asking import ACCOUNT, LIST, RELEASE
from conftest import mail_of
from mimeportal import limits
from served import Served, serving

ALL = {"data": [{"admin": True}]}
HEAD = b"POST " + LIST.encode() + b" HTTP/1.1\r\nHost: portal\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One portal for all tests here that change nothing."""
    with serving(tmp_path_factory.mktemp("http") / "home") as served:
        for number in range(40):
            served.lab.receive(mail_of(subject=f"Hello {number}"))
        yield served


def flood(connection: socket.socket, piece: bytes) -> None:
    for _ in range(10_000):
        connection.sendall(piece)


def answers(served: Served) -> bool:
    try:
        return served.ask("/livez", method="GET").status == 200
    except OSError:
        return False


class TestRoutes:
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
    def test_another_method(self, served: Served, method: str) -> None:
        told = served.ask(LIST, None, method=method)
        assert (told.status, told.code) == (405, "err_method")

    def test_head(self, served: Served) -> None:
        told = served.ask(LIST, None, method="HEAD")
        assert (told.status, told.octets) == (405, b"")

    @pytest.mark.parametrize("path", ["/api", "/api/gateway/x", "/oauth/x", f"{LIST}/", f"{LIST}%2e", "/lab/faults"])
    def test_no_such_path(self, served: Served, path: str) -> None:
        """Who shows nothing is told nothing; a signature over the path is told that there is no such function."""
        assert served.ask(path, {}).status == 401
        told = served.ask(path, {}, served.signed(path))
        assert (told.status, told.code) == (404, "err_not_found")

    def test_the_request_id_is_the_client_s(self, served: Served) -> None:
        headers = served.signed(LIST)
        assert served.ask(LIST, ALL, headers).headers["x-request-id"] == headers["x-mc-req-id"]

    def test_the_date_is_there(self, served: Served) -> None:
        assert served.ask(LIST, ALL).headers["date"].endswith(" GMT")

    def test_a_header_twice(self, served: Served) -> None:
        token = served.token()
        head = HEAD + f"Authorization: Bearer {token}\r\nAuthorization: Bearer x\r\n".encode()
        answer = served.raw(head + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"The header authorization stands twice." in answer

    @pytest.mark.parametrize("line", [b"rubbish\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET \xff HTTP/1.1\r\n\r\n"])
    def test_no_http(self, served: Served, line: bytes) -> None:
        assert served.raw(line).startswith(b"HTTP/1.1 400 ")


class TestConnections:
    def test_many_requests_over_one(self, served: Served) -> None:
        bearer = served.bearer()
        with closing(served.connect()) as connection:
            for _ in range(5):
                assert len(served.ask(LIST, ALL, bearer, over=connection).rows) == 40
                kept = connection.sock
                assert kept is not None
            assert connection.sock is kept

    def test_answers_come_in_the_order_of_the_questions(self, served: Served) -> None:
        request = b"GET /livez HTTP/1.1\r\nHost: portal\r\n\r\n"
        last = b"GET /readyz HTTP/1.1\r\nHost: portal\r\nConnection: close\r\n\r\n"
        answer = served.raw(request * 3 + last)
        assert [b"alive" in part for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [True, True, True, False]

    def test_a_slow_client_keeps_nobody_waiting(self, served: Served) -> None:
        """More of them than there are threads: half a head, half a body."""
        bearer = served.bearer()
        slow = [socket.create_connection(served.address(), timeout=20) for _ in range(2 * limits.HTTP_THREADS)]
        try:
            for number, connection in enumerate(slow):
                connection.sendall(HEAD + (b"Content-Length: 10\r\n\r\n12345" if number % 2 else b"X-Some"))
            assert len(served.ask(LIST, ALL, bearer).rows) == 40
            slow[1].sendall(b"67890")
            assert slow[1].recv(100).startswith(b"HTTP/1.1 401 ")
        finally:
            for connection in slow:
                connection.close()

    def test_an_endless_head_is_cut_off(self, served: Served) -> None:
        with closing(socket.create_connection(served.address(), timeout=20)) as connection:
            connection.sendall(HEAD)
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                flood(connection, b"X-Filler: " + b"x" * 1_000 + b"\r\n")

    @pytest.mark.parametrize("trailer", [b"X-Filler: " + b"x" * 1_000 + b"\r\n", b"X-Filler-" + b"x" * 1_000])
    def test_endless_trailers_are_cut_off(self, served: Served, trailer: bytes) -> None:
        """Whole ones, or one of them: nothing of it may be kept in memory."""
        with closing(socket.create_connection(served.address(), timeout=20)) as connection:
            connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                flood(connection, trailer)

    def test_trailers_say_nothing_of_who_asks(self, served: Served) -> None:
        bearer = served.bearer()["Authorization"].encode()
        chunked = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
        assert served.raw(chunked + b"Authorization: " + bearer + b"\r\n\r\n").startswith(b"HTTP/1.1 401 ")

    def test_a_body_that_nobody_asked_for_ends_the_connection(self, served: Served) -> None:
        answer = served.raw(b"GET /livez HTTP/1.1\r\nHost: portal\r\nContent-Length: 1000000\r\n\r\n12345")
        assert b'{"alive":true}' in answer
        assert b"connection: close" in answer

    @pytest.mark.parametrize("name", ["HTTP_CONNECTIONS", "HTTP_CONNECTIONS_FROM_ONE"])
    def test_too_many_connections(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        with serving(tmp_path / "home") as served:
            monkeypatch.setattr(limits, name, 1)
            with closing(served.connect()) as first:
                assert served.ask("/livez", method="GET", over=first).status == 200
                with pytest.raises(OSError):
                    served.ask("/livez", method="GET")
                assert served.ask("/livez", method="GET", over=first).status == 200
            until = time.monotonic() + 20
            while not answers(served):
                assert time.monotonic() < until

    def test_whoever_says_nothing_counts_before_tls_too(
        self, certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cert, key = certificate
        with serving(tmp_path / "home", tls_cert=cert, tls_key=key) as served:
            monkeypatch.setattr(limits, "HTTP_CONNECTIONS", 1)
            trusting = ssl.create_default_context(cafile=str(cert))
            with (
                closing(socket.create_connection(served.address(), timeout=20)),
                closing(served.connect(tls=trusting)) as second,
                pytest.raises(OSError),
            ):
                served.ask("/livez", method="GET", over=second)

    def test_a_client_that_leaves(self, served: Served) -> None:
        before = len(served.log_lines(0))
        with closing(socket.create_connection(served.address(), timeout=20)) as connection:
            connection.sendall(HEAD + b"Content-Length: 10\r\n\r\n12345")
        assert served.log_lines(before + 1)[before]["status"] == 0


class TestBodies:
    def test_as_long_as_they_may_be(self, served: Served) -> None:
        body = json.dumps(ALL).encode().ljust(limits.JSON_BODY)
        assert len(served.ask(LIST, body, served.bearer()).rows) == 40

    def test_one_octet_more(self, served: Served) -> None:
        told = served.ask(LIST, b" " * (limits.JSON_BODY + 1), served.bearer())
        assert (told.status, told.code) == (413, "err_request_too_large")
        assert told.headers["connection"] == "close"

    def test_in_chunks(self, served: Served) -> None:
        pieces = iter([b'{"data":[{"ad', b'min":true}]}'])
        with closing(served.connect()) as connection:
            connection.request("POST", LIST, pieces, served.bearer(), encode_chunked=True)
            answer = connection.getresponse()
            assert len(json.loads(answer.read())["data"]) == 40

    def test_far_too_long_is_refused_before_it_is_sent(self, served: Served) -> None:
        with closing(socket.create_connection(served.address(), timeout=20)) as connection:
            connection.sendall(HEAD + b"Content-Length: 100000000000\r\nExpect: 100-continue\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")

    def test_far_too_long_of_unknown_length_ends(self, served: Served) -> None:
        """It is read on for a moment, so that its sender sees the answer, and then no more."""
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        with closing(socket.create_connection(served.address(), timeout=20)) as connection:
            connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                flood(connection, chunk)

    def test_too_much_at_once(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "HTTP_IN_FLIGHT", 1)
        told = served.ask(LIST, ALL)
        assert (told.status, told.code) == (503, "err_portal_busy")

    def test_one_network_cannot_send_so_much_that_others_cannot(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "HTTP_IN_FLIGHT", 40_000)
        with serving(tmp_path / "home", behind_proxy=True) as served:
            slow = HEAD + b"X-Forwarded-For: 203.0.113.7\r\nContent-Length: 19001\r\n\r\n" + b" " * 19_000
            with closing(socket.create_connection(served.address(), timeout=20)) as connection:
                connection.sendall(slow)
                until = time.monotonic() + 20
                while True:
                    headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
                    told = served.ask(LIST, b" " * 2_000, {**served.signed(LIST), **headers})
                    if told.status == 503:
                        break
                    assert time.monotonic() < until
                headers["X-Forwarded-For"] = "203.0.113.8"
                assert served.ask(LIST, b" " * 2_000, {**served.signed(LIST), **headers}).status == 200


class TestCompression:
    def test_of_what_is_long(self, served: Served) -> None:
        bearer = served.bearer()
        plain = served.ask(LIST, ALL, bearer)
        packed = served.ask(LIST, ALL, {**bearer, "Accept-Encoding": "gzip, deflate"})
        assert packed.headers["content-encoding"] == "gzip"
        assert len(packed.octets) < len(plain.octets) / 2
        assert json.loads(gzip.decompress(packed.octets))["data"] == plain.rows

    def test_of_nothing_short(self, served: Served) -> None:
        told = served.ask(ACCOUNT, {}, {**served.bearer(), "Accept-Encoding": "gzip"})
        assert "content-encoding" not in told.headers


class TestHealth:
    def test_alive(self, served: Served) -> None:
        assert json.loads(served.ask("/livez", method="GET").octets) == {"alive": True}

    def test_ready(self, served: Served) -> None:
        told = served.ask("/readyz", method="GET")
        assert told.status == 200
        assert json.loads(told.octets) == {"ready": True, "database": "ok", "disk": "ok", "clock": "ok"}

    def test_a_clock_that_is_not_believed(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home") as served:
            served.lab.step(days=2)
            told = served.ask("/readyz", method="GET")
            assert (told.status, json.loads(told.octets)["clock"]) == (503, "not believed")

    def test_a_full_disk(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "FREE_DISK_SHARE", 1.1)
        told = served.ask("/readyz", method="GET")
        assert (told.status, json.loads(told.octets)["disk"]) == (503, "full")

    def test_openapi(self, served: Served) -> None:
        document = json.loads(served.ask("/openapi.json", method="GET").octets)
        assert document["paths"][RELEASE]["post"]["operationId"] == "holds.release"

    def test_they_take_no_post(self, served: Served) -> None:
        assert served.ask("/livez", b"").status == 401


FIELDS = ["time", "request", "door", "method", "route", "operation", "status", "ms", "in", "out", "caller"]


def test_the_log_has_the_same_fields_always_and_nothing_of_what_was_said(tmp_path: Path) -> None:
    canary = "canary-4711"
    with serving(tmp_path / "home") as served:
        served.lab.receive(mail_of(f"{canary} <{canary}@elsewhere.example>", subject=canary, body=canary))
        bearer = served.bearer()
        item = {"admin": True, "searchBy": {"fieldName": "subject", "value": canary}}
        assert len(served.ask(LIST, {"data": [item]}, bearer).rows) == 1
        served.ask(f"/api/{canary}?{canary}={canary}", {canary: canary}, {**bearer, "User-Agent": canary})
        served.ask(f"{LIST}?{canary}", canary.encode(), {**bearer, "x-mc-req-id": canary})
        served.ask(LIST, {}, {"Authorization": f"Bearer {canary}"})
        served.ask("/livez", method="GET")
        lines = served.log_lines(6)
        told = "\n".join(served.lines)
    assert [list(line) for line in lines] == [FIELDS] * 6
    assert canary not in told
    assert bearer["Authorization"].removeprefix("Bearer ") not in told
    assert served.app.client_secret not in told
    assert not re.search(r"@|127\.0\.0\.1", told)
    listed = lines[1]
    assert (listed["route"], listed["operation"], listed["status"]) == (LIST, "holds.list", 200)
    assert listed["caller"] > 0
    assert listed["in"] > 0 < listed["out"]
    assert [line["status"] for line in lines[2:]] == [403, 400, 401, 200]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=portal"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )
    return cert, key


class TestTls:
    def test_served(self, certificate: tuple[Path, Path], tmp_path: Path) -> None:
        cert, key = certificate
        with serving(tmp_path / "home", tls_cert=cert, tls_key=key) as served:
            assert served.server.http_url.startswith("https://127.0.0.1:")
            assert served.server.portal.settings.public_url == served.server.http_url
            trusting = ssl.create_default_context(cafile=str(cert))
            with closing(served.connect(tls=trusting)) as connection:
                assert served.ask(LIST, ALL, served.signed(LIST), over=connection).rows == []

    def test_nobody_behind_a_proxy_signs_in_the_clear(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home", behind_proxy=True) as served:
            for proto, status in (("https", 200), ("http", 403)):
                headers = {"X-Forwarded-For": "192.0.2.1, 198.51.100.7", "X-Forwarded-Proto": proto}
                assert served.ask(LIST, ALL, {**served.signed(LIST), **headers}).status == status

    @pytest.mark.parametrize("forwarded", ["203.0.113.7:{}", "[2001:db8::{}]:443", "hidden-{}"])
    def test_who_is_behind_a_proxy_has_one_budget(self, tmp_path: Path, forwarded: str) -> None:
        """Whatever the proxy writes beside the address, and whatever of a network the address is."""
        with serving(tmp_path / "home", behind_proxy=True) as served:
            left = []
            for number in range(1, 4):
                headers = {"X-Forwarded-For": forwarded.format(number), "X-Forwarded-Proto": "https"}
                left.append(int(served.ask(LIST, ALL, headers).headers["x-ratelimit-remaining"]))
            assert left == [left[0], left[0] - 1, left[0] - 2]

    def test_a_proxy_that_names_nobody_is_believed_on_how_they_ask(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home", behind_proxy=True) as served:
            for proto, status in (("https", 200), ("http", 403)):
                headers = {"X-Forwarded-Proto": proto}
                assert served.ask(LIST, ALL, {**served.signed(LIST), **headers}).status == status

    def test_forwarded_headers_of_strangers_mean_nothing(self, served: Served) -> None:
        headers = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "http"}
        assert served.ask(LIST, ALL, {**served.signed(LIST), **headers}).status == 200


def test_requests_at_once(served: Served) -> None:
    """Each gets its own answer."""
    bearer = served.bearer()
    found: dict[int, Any] = {}

    def ask(number: int) -> None:
        item = {"admin": True, "searchBy": {"fieldName": "subject", "value": f"Hello {number}"}}
        found[number] = [row["subject"] for row in served.ask(LIST, {"data": [item]}, bearer).rows]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(10, 34)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [f"Hello {number}"] for number in range(10, 34)}
