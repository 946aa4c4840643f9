"""The client over real sockets: what is repeated and what is lost, and where secrets never go (promises E.5)."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from http_peer import Peer, Reply, Seen, make_certificate, peer, refusal, rows
from mimeportal import limits
from mimeportal.account import contract as account
from mimeportal.credentials import Credentials
from mimeportal.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    ForbiddenError,
    LostAnswerError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
    UsageError,
)
from mimeportal.holds import contract as holds
from mimeportal.portal import Portal
from mimeportal.retry import Policy
from mimeportal.transport_http import HttpTransport
from mimeportal.wire import REQUEST_ID

KEYS = Credentials("app1", app_id="app", app_key="key", access_key="access", secret_key="c2VjcmV0")
APP = Credentials("app2", client_id="client", client_secret="sesame")
TOKEN = {"access_token": "token-1", "token_type": "Bearer", "expires_in": 1799, "scope": ""}
ACCOUNT = {"accountCode": "CUSA1A1", "accountName": "Example"}
RELEASE = holds.ReleaseItem(id="an-id")


class Opener:
    """Portals that wait for nothing, closed at the end; `slept` has what they would have waited."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._open: list[Portal] = []

    def __call__(self, url: str, credentials: Credentials | None = KEYS, **options: Any) -> Portal:
        policy = Policy(chance=lambda: 1.0, sleep=self.slept.append)
        transport = HttpTransport(url, credentials=credentials, **{"policy": policy, **options})
        self._open.append(Portal(transport))
        return self._open[-1]

    def close(self) -> None:
        for portal in self._open:
            portal.close()


@pytest.fixture(autouse=True)
def no_certificates_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def opened() -> Iterator[Opener]:
    opener = Opener()
    yield opener
    opener.close()


def in_turn(*replies: Reply) -> Callable[[Seen], Reply]:
    """One after the other, the last one again and again."""
    left = list(replies)
    return lambda _seen: left.pop(0) if len(left) > 1 else left[0]


RESET, CUT = Reply(reset=True), Reply(body=rows(ACCOUNT).body, headers={"content-type": "application/json"}, cut=9)
BUSY = refusal("quota", 429, X_RateLimit_Reset="1")
BROKEN = Reply(body=b'{"meta":', headers={"content-type": "application/json"})
PAGE = Reply(body=b"<html>Please log in</html>", headers={"content-type": "text/html"})


# -- repeating -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [RESET, CUT, BROKEN, PAGE, BUSY, *(refusal("gone", status) for status in (500, 502, 503, 504))],
    ids=["reset", "cut", "broken", "page", "429", "500", "502", "503", "504"],
)
def test_what_only_reads_is_repeated(bad: Reply, opened: Opener) -> None:
    with peer(in_turn(bad, bad, rows(ACCOUNT))) as portal:
        assert opened(portal.url, api="api1").account.show().account_code == "CUSA1A1"
    ids = [seen.headers[REQUEST_ID] for seen in portal.seen]
    assert len(ids) == len(set(ids)) == 3, "a signed request is taken once"
    assert all(seen.headers["authorization"].startswith("MC access:") for seen in portal.seen)
    assert len({seen.headers["authorization"] for seen in portal.seen}) == 3


@pytest.mark.parametrize(
    "bad", [RESET, CUT, BROKEN, PAGE, *(refusal("gone", status) for status in (500, 502, 503, 504))]
)
def test_what_acts_is_not(bad: Reply, opened: Opener) -> None:
    with peer(in_turn(bad, rows({"id": "an-id", "release": True}))) as portal:
        session = opened(portal.url, api="api1").session
        with pytest.raises(LostAnswerError) as told:
            session.call(holds.RELEASE, [RELEASE])
    (seen,) = portal.seen
    assert told.value.request_id == seen.headers[REQUEST_ID]
    assert "Look before acting again" in told.value.remedy


@pytest.mark.parametrize("bad", [BUSY, refusal("busy", 503, retryable=True)], ids=["429", "busy"])
def test_what_was_not_carried_out_is_sent_again(bad: Reply, opened: Opener) -> None:
    with peer(in_turn(bad, rows({"id": "an-id", "release": True}))) as portal:
        answer = opened(portal.url, api="api1").session.call(holds.RELEASE, [RELEASE])
    assert [row.release for row in answer.rows] == [True]
    assert answer.request_id == portal.seen[1].headers[REQUEST_ID] != portal.seen[0].headers[REQUEST_ID]


def test_it_ends_after_some_attempts(opened: Opener) -> None:
    with peer(in_turn(refusal("gone", 502))) as portal, pytest.raises(UnavailableError, match="no: gone"):
        opened(portal.url, api="api1").account.show()
    assert len(portal.seen) == limits.ATTEMPTS
    assert opened.slept == [0.5, 1, 2, 4]


def test_a_portal_says_how_long_to_wait(opened: Opener) -> None:
    with peer(in_turn(refusal("gone", 503, Retry_After="17"), rows(ACCOUNT))) as portal:
        opened(portal.url, api="api1").account.show()
    assert opened.slept == [17]


def test_a_log_in_that_is_too_frequent_waits_as_long_as_told(opened: Opener) -> None:
    def answer(seen: Seen) -> Reply:
        if seen.path != "/oauth/token":
            return rows(ACCOUNT)
        if len(portal.seen) == 1:
            return refusal("quota", 429, Retry_After="3")
        return Reply(body=json.dumps(TOKEN).encode())

    with peer(answer) as portal:
        opened(portal.url, APP).account.show()
    assert opened.slept == [3]


def test_the_wait_after_a_429_is_told_in_the_end(opened: Opener) -> None:
    with (
        peer(in_turn(refusal("quota", 429, X_RateLimit_Reset="1", Retry_After="4"))) as portal,
        pytest.raises(RateLimitedError) as told,
    ):
        opened(portal.url, api="api1").account.show()
    assert told.value.retry_after == 4
    assert len(portal.seen) == limits.ATTEMPTS


def test_nobody_there(opened: Opener) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    session = opened(f"http://127.0.0.1:{port}").session
    with pytest.raises(UnavailableError, match="cannot be reached") as told:
        session.call(holds.RELEASE, [RELEASE])
    assert not isinstance(told.value, LostAnswerError)
    assert "Nothing was sent: Connection refused" in told.value.why
    assert len(opened.slept) == limits.ATTEMPTS - 1


def test_an_answer_that_does_not_come_in_time(opened: Opener) -> None:
    late = threading.Event()
    with peer(in_turn(Reply(wait=late, reset=True), rows(ACCOUNT))) as portal:
        try:
            with pytest.raises(LostAnswerError, match="No answer came") as told:
                opened(portal.url, timeout=0.1).session.call(holds.RELEASE, [RELEASE])
            assert "timed out" in told.value.why
        finally:
            late.set()


# -- answers that are none -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(400), ApiError, "HTTP 400 without a reason; the request, or an id in it, is malformed"),
        (Reply(403, PAGE.body, PAGE.headers), ForbiddenError, "a web page, which is no answer of a portal"),
        (Reply(404), NotFoundError, "HTTP 404 without a reason"),
        (Reply(400, b'{"errors":[{"code":"bad","message":"not so"}]}'), ApiError, "not so"),
        (Reply(400, b'{"error":"invalid_scope","error_description":"no such"}'), ApiError, "no such"),
        (Reply(403, b'{"fail":[{"code":"app_forbidden","message":"not yours"}]}'), ForbiddenError, "not yours"),
        (Reply(200, b"[]", {"content-type": "application/json"}), LostAnswerError, "it is no answer of a portal"),
        (PAGE, LostAnswerError, "could not be read: it is text/html"),
    ],
)
def test_odd_answers_are_told_in_words(reply: Reply, kind: type[ApiError], words: str, opened: Opener) -> None:
    with peer(in_turn(reply)) as portal, pytest.raises(kind, match=words):
        opened(portal.url, api="api1").account.show()


def test_an_answer_without_end_is_not_read(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER", 1_000)
    with (
        peer(in_turn(rows({"accountCode": "x" * 1_000}))) as portal,
        pytest.raises(LostAnswerError, match="longer than 1000 octets"),
    ):
        opened(portal.url, api="api1").account.show()


def test_compressed_answers(opened: Opener) -> None:
    body = gzip.compress(rows(ACCOUNT).body)
    packed = Reply(body=body, headers={"content-type": "application/json", "content-encoding": "gzip"})
    with peer(in_turn(packed)) as portal:
        assert opened(portal.url, api="api1").account.show().account_code == "CUSA1A1"
    assert "gzip" in portal.seen[0].headers["accept-encoding"]
    assert portal.seen[0].headers["user-agent"].startswith("mimeportal/")


def test_redirects_are_not_followed(opened: Opener) -> None:
    with peer(in_turn(rows(ACCOUNT))) as elsewhere:
        there = Reply(302, headers={"location": f"http://localhost:{elsewhere.port}/api"})
        with (
            peer(in_turn(there)) as portal,
            pytest.raises(UnavailableError, match="sends us on to localhost, and redirects are not followed"),
        ):
            opened(portal.url).session.call(holds.RELEASE, [RELEASE])
    assert len(portal.seen) == 1
    assert elsewhere.seen == []


def test_cookies_are_not_kept(opened: Opener) -> None:
    with peer(in_turn(rows(ACCOUNT, set_cookie="crumb=1"))) as portal:
        client = opened(portal.url, api="api1")
        client.account.show()
        client.account.show()
    assert all("cookie" not in seen.headers for seen in portal.seen)


# -- files -----------------------------------------------------------------------------------------------------------


def file_answer(url: Callable[[], str], octets: Reply) -> Callable[[Seen], Reply]:
    return lambda seen: octets if seen.method == "GET" else rows({"urls": [url()]})


def test_octets_come_as_they_are(opened: Opener) -> None:
    octets = bytes(range(256)) * 1_000
    with peer(in_turn(Reply(body=octets, headers={"content-type": "application/octet-stream"}))) as portal:
        assert b"".join(opened(portal.url).holds.download("an-id")) == octets


@pytest.mark.parametrize("octets", [b'{"a": 1}', b"[1, 2]", b'{"a": '])
def test_a_file_that_is_json_itself(octets: bytes, opened: Opener) -> None:
    with peer(in_turn(Reply(body=octets, headers={"content-type": "application/json"}))) as portal:
        assert b"".join(opened(portal.url).holds.download("an-id")) == octets


def test_a_file_that_breaks_off_is_an_error(opened: Opener) -> None:
    octets = Reply(body=b"x" * 200_000, headers={"content-type": "application/octet-stream"}, cut=150_000)
    with peer(in_turn(octets)) as portal, pytest.raises(LostAnswerError, match="broke off"):
        b"".join(opened(portal.url).holds.download("an-id"))


def test_octets_are_fetched_without_credentials(opened: Opener) -> None:
    octets = Reply(body=b"octets", headers={"content-type": "message/rfc822"})
    with peer(file_answer(lambda: f"{portal.url}/file?context=abc", octets)) as portal:
        assert b"".join(opened(portal.url, api="api2").holds.download("an-id")) == b"octets"
    first, second = portal.seen
    assert "authorization" in first.headers
    assert second.path == "/file?context=abc"
    assert {"authorization", "x-mc-app-id", "x-mc-date"}.isdisjoint(second.headers)


def test_a_fetch_that_fails_is_repeated(opened: Opener) -> None:
    fetched = in_turn(RESET, refusal("gone", 503), Reply(body=b"octets"))
    answer = lambda seen: fetched(seen) if seen.method == "GET" else rows({"urls": [f"{portal.url}/file"]})  # noqa: E731
    with peer(answer) as portal:
        assert b"".join(opened(portal.url).holds.download("an-id")) == b"octets"
    assert [seen.method for seen in portal.seen] == ["POST", "GET", "GET", "GET"]


@pytest.mark.parametrize(
    "url", ["http://localhost.example/x", "https://us-a1.download.api.services.mimecast.com/x", "file:///etc", "", "//"]
)
def test_octets_are_fetched_from_nowhere_else(url: str, opened: Opener) -> None:
    with peer(in_turn(rows({"urls": [url]}))) as portal, pytest.raises(ApiError, match=r"not trusted|no octets"):
        opened(portal.url).holds.download("an-id")


# -- the URL, certificates and proxies -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://portal.example",
        "http://192.0.2.1:8025",
        "https://ann:pw@portal.example",
        "ftp://portal.example",
        "https://",
        "https://portal.example/path",
        "https://portal.example?x=1",
        "portal.example",
        "http://127.0.0.1.example",
        "https://a..b",
        "https://.example",
        "https://*.example",
        "https://" + "a" * 80 + ".example",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        Portal.open(url, credentials=KEYS)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("client_secret", "two words", "blanks"),
        ("app_key", "line\n", "line ends"),
        ("access_key", "gr\u00fcn", "beyond ASCII"),
        ("secret_key", "no!base64", "no base64"),
    ],
)
def test_keys_that_are_none(name: str, value: str, words: str) -> None:
    values = {"access_key": "a", "secret_key": "c2VjcmV0", name: value}
    with pytest.raises(ConfigurationError, match=name) as told:
        HttpTransport("https://portal.example", credentials=Credentials("app1", **values))
    assert words in told.value.what
    assert value not in told.value.what + told.value.why


def test_credentials_come_with_their_url() -> None:
    with pytest.raises(UsageError, match="without their URL"):
        Portal.open(credentials=KEYS)


def test_without_credentials_nothing_is_sent_that_wants_them(opened: Opener) -> None:
    with peer(in_turn(rows({"appId": "id", "appKey": "key"}))) as portal:
        client = opened(portal.url, None)
        with pytest.raises(AuthenticationError, match="Nobody is logged in") as told:
            client.account.show()
        assert portal.seen == []
        assert "mimeportal auth login" in told.value.remedy
        assert client.auth.app().app_id == "id"


def test_a_closed_portal_says_so(opened: Opener) -> None:
    client = opened("http://127.0.0.1:9")
    client.close()
    with pytest.raises(UsageError, match="closed"):
        client.account.show()


def test_no_secret_is_in_what_is_shown(opened: Opener) -> None:
    client = opened("http://127.0.0.1:9", APP)
    shown = " ".join(map(repr, (client, client._transport, client.auth, client.session, APP)))
    assert "sesame" not in shown


def test_netrc_is_not_read(opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password from-netrc\ndefault login eve password from-netrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    with peer(in_turn(rows({"appId": "id", "appKey": "key"}))) as portal:
        opened(portal.url, None).auth.app()
    assert "authorization" not in portal.seen[0].headers


def test_what_stays_on_this_machine_goes_through_no_proxy(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    with peer(in_turn(rows(ACCOUNT))) as proxy, peer(in_turn(rows(ACCOUNT))) as portal:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        opened(portal.url).account.show()
        opened(portal.url, proxy=proxy.url).account.show()
    assert proxy.seen == []
    assert len(portal.seen) == 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ["DNS:portal.example", "DNS:*.mimecast.com", "DNS:*.services.mimecast.com", "IP:127.0.0.1"]
    names.append("DNS:us-a1.download.api.services.mimecast.com")
    return make_certificate(tmp_path_factory.mktemp("tls"), *names)


@pytest.fixture
def proxied(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Peer, Peer]]:
    """A proxy of the environment, behind which every host is one peer with a certificate for it."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with peer(in_turn(rows(ACCOUNT)), certificate) as there, peer(in_turn(Reply(500))) as proxy:
        proxy.tunnel_to = there
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        yield proxy, there


@pytest.mark.parametrize("variable", ["", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_file_of_certificates_can_be_named(
    variable: str, certificate: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv(variable, str(certificate))
    with peer(in_turn(rows(ACCOUNT)), certificate) as portal:
        client = opened(portal.url, ca_file=None if variable else certificate)
        assert client.account.show().account_code == "CUSA1A1"


def test_a_certificate_that_is_not_trusted(certificate: Path, opened: Opener) -> None:
    with (
        peer(in_turn(rows(ACCOUNT)), certificate) as portal,
        pytest.raises(UnavailableError, match="not one that is trusted") as told,
    ):
        opened(portal.url).session.call(holds.RELEASE, [RELEASE])
    assert portal.seen == []
    assert opened.slept == [], "it will not become trusted"
    assert "self-signed" in told.value.why
    assert "--ca-file" in told.value.remedy


def test_a_certificate_for_another_name(certificate: Path, opened: Opener) -> None:
    with (
        peer(in_turn(rows(ACCOUNT)), certificate) as portal,
        pytest.raises(UnavailableError, match="not one that is trusted"),
    ):
        opened(f"https://localhost:{portal.port}", ca_file=certificate).account.show()
    assert portal.seen == []


@pytest.mark.parametrize("content", ["no certificate", None])
def test_a_file_of_certificates_that_cannot_be_used(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"ca\.pem cannot be used"):
        HttpTransport("https://portal.example", ca_file=file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(ConfigurationError, match=r"ca\.pem cannot be used") as told:
        HttpTransport("https://portal.example")
    assert "SSL_CERT_FILE" in told.value.why


def test_a_proxy_of_the_environment(proxied: tuple[Peer, Peer], certificate: Path, opened: Opener) -> None:
    proxy, there = proxied
    opened("https://portal.example", ca_file=certificate).account.show()
    assert proxy.tunnels == ["portal.example:443"]
    assert proxy.seen == [], "it sees no request"
    assert len(there.seen) == 1


def test_a_proxy_of_the_profile(
    proxied: tuple[Peer, Peer], certificate: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, _ = proxied
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    opened("https://portal.example", ca_file=certificate, proxy=proxy.url).account.show()
    assert proxy.tunnels == ["portal.example:443"]


def test_a_proxy_that_refuses(proxied: tuple[Peer, Peer], opened: Opener) -> None:
    proxy, there = proxied
    proxy.tunnel_to = None
    with pytest.raises(UnavailableError, match="The proxy on the way") as told:
        opened("https://portal.example").session.call(holds.RELEASE, [RELEASE])
    assert not isinstance(told.value, LostAnswerError)
    assert there.seen == []


# -- Mimecast's hosts ------------------------------------------------------------------------------------------------


def test_the_region_is_asked_of_the_global_host(proxied: tuple[Peer, Peer], certificate: Path, opened: Opener) -> None:
    proxy, there = proxied
    found = {"emailAddress": "ann@example.com", "authenticate": ["Basic-Cloud"]}
    region = {"region": {"code": "us", "api": "https://us-api.mimecast.com"}}
    there.answer = in_turn(rows({**found, **region}))
    client = opened("https://eu-api.mimecast.com", ca_file=certificate)
    assert client.session.api == "api1"
    assert client.auth.discover("ann@example.com").region.api == "https://us-api.mimecast.com"
    assert proxy.tunnels == ["api.mimecast.com:443"]
    assert there.seen[0].headers["x-mc-app-id"] == "app"
    assert "authorization" not in there.seen[0].headers


@pytest.mark.parametrize("api", ["https://evil.example", "http://us-api.mimecast.com", "https://x.mimecast.com", "??"])
def test_a_region_that_is_not_known_is_refused(
    api: str, proxied: tuple[Peer, Peer], certificate: Path, opened: Opener
) -> None:
    _, there = proxied
    there.answer = in_turn(rows({"region": {"api": api}, "authenticate": ["Basic-Cloud"]}))
    with pytest.raises(ApiError, match="no known one"):
        opened("https://eu-api.mimecast.com", ca_file=certificate).auth.discover("ann@example.com")


def test_octets_of_api_2_come_from_mimecast_s_download_hosts(
    proxied: tuple[Peer, Peer], certificate: Path, opened: Opener
) -> None:
    proxy, there = proxied

    def answer(seen: Seen) -> Reply:
        if seen.path == "/oauth/token":
            return Reply(body=json.dumps(TOKEN).encode())
        if seen.method == "GET":
            return Reply(body=b"octets")
        return rows({"urls": ["https://us-a1.download.api.services.mimecast.com/api/x?context=abc"]})

    there.answer = answer
    client = opened("https://api.services.mimecast.com", APP, ca_file=certificate)
    assert client.session.api == "api2"
    assert b"".join(client.holds.download("an-id")) == b"octets"
    assert proxy.tunnels == ["api.services.mimecast.com:443", "us-a1.download.api.services.mimecast.com:443"]
    assert "authorization" not in there.seen[-1].headers


def test_only_mimecast_s_operations_are_sent_to_mimecast(opened: Opener) -> None:
    from mimeportal.errors import NotOfferedError

    with pytest.raises(NotOfferedError):
        opened("https://in-api.mimecast.com").account.whoami()
    assert not opened("https://in-api.mimecast.com").session.offers(account.WHOAMI)


# -- any function ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "data", "method", "sent"),
    [
        ("/api/account/get-account", None, None, ("POST", {"data": []})),
        ("/api/a/get-b", {"x": 1}, None, ("POST", {"data": [{"x": 1}]})),
        ("/api/a/do-b", [{"x": 1}, {"x": 2}], None, ("POST", {"data": [{"x": 1}, {"x": 2}]})),
        ("/siem/v1/events?type=x", None, None, ("GET", None)),
        ("/policy/v1/things", {"name": "n"}, None, ("POST", {"name": "n"})),
        ("/policy/v1/things/7", None, "delete", ("DELETE", None)),
    ],
)
def test_any_function(path: str, data: Any, method: str | None, sent: tuple[str, Any], opened: Opener) -> None:
    with peer(in_turn(rows({"y": 2}))) as portal:
        assert opened(portal.url).call(path, data, method=method)["data"] == [{"y": 2}]
    (seen,) = portal.seen
    assert (seen.method, seen.json if seen.body else None) == sent
    assert seen.path == path


@pytest.mark.parametrize(
    ("path", "attempts"),
    [
        ("/api/a/get-b", 5),
        ("/api/a/find-b", 5),
        ("/api/message-finder/search", 5),
        ("/siem/v1/events", 5),
        ("/api/a/research", 1),
        ("/api/gateway/hold-release", 1),
        ("/api/get-a/delete", 1),
    ],
)
def test_functions_that_read_by_their_name_are_repeated(path: str, attempts: int, opened: Opener) -> None:
    with peer(in_turn(refusal("gone", 502))) as portal, pytest.raises(UnavailableError):
        opened(portal.url).call(path)
    assert len(portal.seen) == attempts


def test_any_function_by_pages(opened: Opener) -> None:
    def page(number: int, following: str | None) -> Reply:
        block = {"pageSize": 1, **({"next": following} if following else {})}
        document = {"meta": {"status": 200, "pagination": block}, "data": [{"n": number}], "fail": []}
        return Reply(body=json.dumps(document).encode(), headers={"content-type": "application/json"})

    with peer(in_turn(page(1, "t1"), page(2, "t2"), page(3, None))) as portal:
        documents = list(opened(portal.url).pages("/api/a/get-b", {"x": 1}, page_size=1))
    assert [document["data"] for document in documents] == [[{"n": 1}], [{"n": 2}], [{"n": 3}]]
    asked = [seen.json["meta"]["pagination"] for seen in portal.seen]
    assert asked == [{"pageSize": 1}, {"pageSize": 1, "pageToken": "t1"}, {"pageSize": 1, "pageToken": "t2"}]
    with peer(in_turn(page(1, "t1"))) as portal, pytest.raises(ApiError, match="same page token twice"):
        list(opened(portal.url).pages("/siem/v1/events"))
    assert portal.paths() == ["/siem/v1/events", "/siem/v1/events?pageToken=t1"]


@pytest.mark.parametrize("call", [("api/x",), ("/api/x", 5), ("/api/x", [1]), ("/api/\u00e4",), ("/x", None, "BREW")])
def test_calls_that_are_none(call: tuple[Any, ...], opened: Opener) -> None:
    path, data, method = (*call, None, None)[:3]
    with pytest.raises(UsageError):
        opened("http://127.0.0.1:9").call(path, data, method=method)


def test_any_function_fails_as_operations_do(opened: Opener) -> None:
    with peer(in_turn(refusal("err_not_found", 200))) as portal, pytest.raises(NotFoundError):
        opened(portal.url).call("/api/a/get-b")
