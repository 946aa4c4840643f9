"""Pages over HTTP: headers, cookies, sessions, forms, errors, and a log that gives nothing away."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert
from writing import Office

from browsing import Shown, Visitor, set_password
from conftest import ANN, BOB
from mimeportal_server import people
from mimeportal_server.portal import Portal
from mimeportal_server.store.schema import login_failures
from mimeportal_server.web.route import Route, is_page
from served import Served, serving

PASSWORD = "Correct-horse-7"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "home") as served:
        set_password(served.lab, ANN, PASSWORD)
        yield served


def logged_in(served: Served, address: str = ANN, password: str = PASSWORD) -> Visitor:
    visitor = Visitor(served)
    shown = visitor.log_in(address, password)
    assert (shown.status, shown.header("location")) == (303, "/secure/inbox"), shown.text
    return visitor


def is_in(visitor: Visitor) -> bool:
    return visitor.ask("/secure/inbox").status == 200


class TestEveryAnswer:
    @pytest.mark.parametrize("path", ["/log-in", "/no/such/page", "/secure/inbox", "/"])
    def test_headers(self, served: Served, path: str) -> None:
        shown = Visitor(served).ask(path)
        policy = shown.header("content-security-policy")
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        for name, value in (
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
        ):
            assert shown.header(name) == value
        assert not shown.header("strict-transport-security"), "this portal is reached without TLS"

    def test_head(self, served: Served) -> None:
        shown = Visitor(served).ask("/log-in", method="HEAD")
        assert (shown.status, shown.octets) == (200, b"")

    def test_paths_of_the_api_stay_in_the_envelope(self, served: Served) -> None:
        for path in ("/api/no/such", "/email/no", "/oauth/no", "/lab/no"):
            told = served.ask(path, {})
            assert told.status == 401
            assert json.loads(told.octets)["fail"]
            assert not is_page(path)

    def test_pages_ignore_authorization_and_the_api_ignores_cookies(self, served: Served) -> None:
        assert Visitor(served).ask("/secure/inbox", headers=served.bearer()).status == 303
        cookies = "; ".join(f"{name}={value}" for name, value in logged_in(served).cookies.items())
        assert served.ask("/api/portal/account/whoami", {}, {"Cookie": cookies}).status == 401

    def test_an_unknown_page(self, served: Served) -> None:
        shown = Visitor(served).ask("/secure/../../etc/passwd")
        assert shown.status == 404
        assert "Page not found" in shown.text

    def test_a_method_that_a_page_does_not_take(self, served: Served) -> None:
        assert Visitor(served).ask("/log-out").status == 405
        assert Visitor(served).ask("/log-in", method="DELETE").status == 405

    def test_what_is_asked_for_is_shown_as_text(self, served: Served) -> None:
        visitor = Visitor(served)
        hostile = "<script>alert(1)</script>\u202e@example.com"
        shown = visitor.submit(visitor.ask("/password/forgotten"), "/password/forgotten", address=hostile)
        assert "<script>alert" not in shown.text
        assert "&lt;script&gt;" in shown.text
        assert "\u202e" not in shown.text


class TestStatic:
    def test_it_is_kept_for_good_under_its_hash(self, served: Served) -> None:
        visitor = Visitor(served)
        urls = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', visitor.ask("/log-in").text))
        assert {url.rpartition(".")[2] for url in urls} == {"css", "js", "svg"}
        for url in urls:
            shown = visitor.ask(url)
            assert shown.status == 200
            assert shown.header("cache-control") == "public, max-age=31536000, immutable"
            assert not shown.set_cookies
            assert visitor.ask(url.replace("/static/", "/static/0")).status == 404


class TestSessions:
    def test_log_in_and_out(self, served: Served) -> None:
        visitor = logged_in(served)
        page = visitor.ask("/secure/inbox")
        assert ANN in page.text
        stolen = dict(visitor.cookies)
        assert visitor.submit(page, "/log-out").status == 200
        assert not visitor.session()
        assert not is_in(Visitor(served, stolen)), "the cookie is worth nothing any more"

    def test_the_cookies(self, served: Served) -> None:
        visitor = Visitor(served)
        first = visitor.ask("/log-in")
        step = visitor.submit(first, "/log-in", address=ANN)
        last = visitor.submit(step, "/log-in", address=ANN, password=PASSWORD)
        cookies = [*first.set_cookies, *last.set_cookies]
        assert len(cookies) == 3
        for cookie in cookies:
            assert "; HttpOnly; SameSite=Lax" in cookie
            assert "Domain" not in cookie
            assert "Secure" not in cookie, "a browser would not send it here"

    def test_a_session_is_always_a_new_one(self, served: Served) -> None:
        """What somebody put into the browser before the log-in is worth nothing after it."""
        visitor = Visitor(served, {"mimeportal-session": "A" * 43})
        visitor.log_in(ANN, PASSWORD)
        first = visitor.session()
        assert first["mimeportal-session"] != "A" * 43
        assert logged_in(served).session() != first
        assert not is_in(Visitor(served, {"mimeportal-session": "A" * 43}))

    def test_guesses_are_worth_nothing(self, served: Served) -> None:
        for guess in ("", "A" * 43, "' or 1=1", "\x00", "x" * 5000):
            assert not is_in(Visitor(served, {"mimeportal-session": guess}))
            broken = {"Cookie": f"mimeportal-session={guess!r}; ;=;"}
            assert Visitor(served).ask("/secure/inbox", headers=broken).status == 303

    @pytest.mark.parametrize("theirs", ['prefs={"a": 1}', "x=a b", "flag", "a=é", "=", 'q="a;b"', "session=x"])
    def test_cookies_of_others_on_this_host_do_no_harm(self, served: Served, theirs: str) -> None:
        """Another program on the host, or a site beside it, sets what it likes: nobody is locked out by it."""
        visitor = logged_in(served)
        own = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        for cookies in (f"{theirs}; {own}", f"{own}; {theirs}"):
            octets = cookies.encode().decode("latin-1")
            assert Visitor(served).ask("/secure/inbox", headers={"Cookie": octets}).status == 200, cookies

    def test_cookies_that_a_proxy_left_in_several_headers(self, served: Served) -> None:
        lines = [f"Cookie: {name}={value}\r\n" for name, value in logged_in(served).cookies.items()]
        assert len(lines) > 1
        for order in (lines, lines[::-1]):
            head = "GET /secure/inbox HTTP/1.1\r\nHost: portal\r\nConnection: close\r\n" + "".join(order)
            assert served.raw(f"{head}\r\n".encode()).startswith(b"HTTP/1.1 200 ")

    def test_it_ends_with_its_hours(self, served: Served) -> None:
        visitor = logged_in(served)
        served.lab.time += 8 * 3600 - 60
        assert is_in(visitor)
        served.lab.time += 120
        assert not is_in(visitor)

    def test_it_ends_with_a_new_password(self, served: Served) -> None:
        visitor = logged_in(served)
        set_password(served.lab, ANN, "Another-horse-8", current=PASSWORD)
        assert not is_in(visitor)

    def test_it_ends_with_the_person(self, served: Served) -> None:
        visitor = logged_in(served)
        person(served.lab.server, ANN, disabled=True)
        assert not is_in(visitor)
        person(served.lab.server, ANN, disabled=False)
        assert not is_in(visitor)

    def test_where_a_log_in_leads(self, served: Served) -> None:
        visitor = Visitor(served)
        asked = visitor.ask("/secure/inbox")
        assert (asked.status, asked.header("location")) == (303, "/log-in?next=/secure/inbox")
        first = visitor.ask("/log-in?next=/secure/inbox")
        assert first.fields("/log-in")["next"] == "/secure/inbox"

    @pytest.mark.parametrize(
        "elsewhere",
        ["https://evil.example/", "//evil.example", "/\\evil.example", "/log-out", "javascript:alert(1)", "/%0d%0aX:1"],
    )
    def test_it_never_leads_elsewhere(self, served: Served, elsewhere: str) -> None:
        visitor = Visitor(served)
        first = visitor.ask(f"/log-in?next={elsewhere}")
        assert first.fields("/log-in")["next"] == ""
        second = visitor.submit(first, "/log-in", address=ANN)
        last = visitor.submit(second, "/log-in", address=ANN, password=PASSWORD, next=elsewhere)
        assert last.header("location") == "/secure/inbox"

    def test_the_host_header_means_nothing(self, served: Served) -> None:
        shown = Visitor(served).ask("/log-in", headers={"Host": "evil.example"})
        assert "evil.example" not in shown.text + str(shown.headers)


class TestLoggingIn:
    def test_one_text_for_every_failure(self, served: Served) -> None:
        set_password(served.lab, BOB, PASSWORD)
        person(served.lab.server, BOB, disabled=True)
        said = set()
        for address, password in ((ANN, "wrong"), ("nobody@example.com", PASSWORD), (BOB, PASSWORD), ("x", "y")):
            shown = Visitor(served).log_in(address, password)
            assert shown.status == 401
            said.add(alert(shown))
        assert said == {"Invalid username, password or permissions. Please check you are using the correct URL."}

    @pytest.mark.parametrize(
        "address",
        [
            "a" + " " * 900_000 + "b",
            "x@" + "".join(map(chr, range(0x4E00, 0x4E00 + 20_000))),
            "a" + "<" * 300_000 + "b",
        ],
        ids=["blanks", "domain", "brackets"],
    )
    def test_no_address_of_a_stranger_keeps_the_portal(self, served: Served, address: str) -> None:
        began = time.monotonic()
        assert Visitor(served).log_in(address, PASSWORD).status == 401
        assert time.monotonic() - began < 10

    def test_domain_passwords_are_not_checked_here(self, served: Served) -> None:
        visitor = Visitor(served)
        page = visitor.submit(visitor.ask("/log-in"), "/log-in", address=ANN)
        assert '<option value="domain">' in page.text
        shown = visitor.submit(page, "/log-in", address=ANN, password=PASSWORD, way="domain")
        assert shown.status == 401
        assert not visitor.session()

    def test_only_customers_choose_how(self, served: Served) -> None:
        visitor = Visitor(served)
        page = visitor.submit(visitor.ask("/log-in"), "/log-in", address="client@elsewhere.example")
        assert "<option" not in page.text

    def test_the_fifth_failure_locks(self, served: Served) -> None:
        visitor = Visitor(served)
        for _ in range(5):
            assert visitor.log_in(ANN, "wrong").status == 401
        shown = visitor.log_in(ANN, PASSWORD)
        assert shown.status == 401
        assert not visitor.session()
        served.lab.time += 16 * 60
        assert visitor.log_in(ANN, PASSWORD).status == 303

    def test_an_address_without_anything(self, served: Served) -> None:
        visitor = Visitor(served)
        shown = visitor.submit(visitor.ask("/log-in"), "/log-in", address=" ")
        assert alert(shown) == "Enter your email address."

    def test_it_says_that_access_is_personal(self, served: Served) -> None:
        assert "sole use of the intended recipient" in Visitor(served).ask("/log-in").text


class TestForms:
    def test_one_that_is_none_of_ours(self, served: Served) -> None:
        visitor = logged_in(served)
        for form in ({}, {"csrf": ""}, {"csrf": "x"}, Visitor(served).ask("/log-in").fields("/log-in")):
            assert visitor.ask("/log-out", form).status == 403
        assert is_in(visitor)

    def test_one_of_another_session(self, served: Served) -> None:
        first, second = logged_in(served), logged_in(served)
        form = first.ask("/secure/inbox").fields("/log-out")
        assert second.ask("/log-out", form).status == 403
        assert is_in(second)

    def test_logging_in_is_no_exception(self, served: Served) -> None:
        """Else another site could log somebody in as itself, and be told what they write."""
        visitor = Visitor(served)
        assert visitor.ask("/log-in", {"address": ANN, "step": "password", "password": PASSWORD}).status == 403

    def test_after_the_session(self, served: Served) -> None:
        visitor = logged_in(served)
        form = visitor.ask("/secure/inbox").fields("/log-out")
        served.lab.time += 9 * 3600
        shown = visitor.ask("/log-out", form)
        assert shown.status == 401
        assert "You are no longer logged in" in shown.text

    @pytest.mark.parametrize("octets", [b"\xff\xfe", b"&".join([b"a=1"] * 1_001)])
    def test_one_that_cannot_be_read(self, served: Served, octets: bytes) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert Visitor(served).ask("/log-in", octets, headers=headers).status == 400

    @pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=x"])
    def test_one_of_parts_that_cannot_be_read(self, served: Served, content_type: str) -> None:
        assert Visitor(served).ask("/log-in", b"--y\r\n", headers={"Content-Type": content_type}).status in (400, 403)

    def test_files_where_none_are_taken(self, served: Served) -> None:
        part = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nA\r\n--x--\r\n'
        shown = Visitor(served).ask("/log-in", part, headers={"Content-Type": "multipart/form-data; boundary=x"})
        assert shown.status == 400

    def test_one_that_is_too_long(self, served: Served) -> None:
        shown = Visitor(served).ask("/log-in", b"a=" + b"x" * (1024 * 1024))
        assert shown.status == 413
        assert "Too large" in shown.text


class TestBehindAProxy:
    def test_without_tls_nothing_is_shown(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home", behind_proxy=True) as served:
            over = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http"}
            shown = Visitor(served).ask("/log-in", headers=over)
            assert shown.status == 403
            assert "<form" not in shown.text
            assert Visitor(served).ask("/log-in", headers={**over, "X-Forwarded-Proto": "https"}).status == 200

    def test_a_browser_that_logged_in_before_is_let_in_though_others_guess(self, tmp_path: Path) -> None:
        """For 180 days; other browsers are shut out after 50 failures from anywhere."""
        with serving(tmp_path / "home", behind_proxy=True) as served:
            set_password(served.lab, ANN, PASSWORD)
            known = logged_in(served)
            day = 86_400
            for days, status in ((0, 303), (181, 401)):
                served.lab.time += days * day
                now = int(served.lab.time * 1000)
                guesses = [{"address": ANN, "network": f"198.51.100.{number}", "at": now} for number in range(50)]
                with served.lab.server.write() as tx:
                    tx.execute(insert(login_failures), guesses)
                known.cookies.pop("mimeportal-session", None)
                assert known.log_in(ANN, PASSWORD).status == status
                assert Visitor(served).log_in(ANN, PASSWORD).status == 401


class TestBudgets:
    def test_a_person_s_pages_count_as_their_calls(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home", settings="[limits]\nquota = 8") as served:
            set_password(served.lab, ANN, PASSWORD)
            visitor = logged_in(served)
            statuses = [visitor.ask("/secure/inbox").status for _ in range(4)]
            assert statuses[0] == 200
            assert statuses[-1] == 429


class TestFaults:
    def test_what_cannot_be_read_is_said_without_a_path(self, served: Served) -> None:
        office = Office(served)
        id = office.send()
        visitor = office.visitor()
        for blob in (served.lab.path / "blobs").rglob("*"):
            if blob.is_file():
                blob.unlink()
        shown = visitor.ask(f"/secure/messages/{id}")
        assert shown.status == 503
        assert "Not available just now" in shown.text
        assert shown.header("x-request-id") in shown.text
        assert str(served.lab.path) not in shown.text


class TestOverTls:
    def test_cookies_and_headers(self, tmp_path: Path) -> None:
        cert = tmp_path / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-keyout", cert, "-out", tmp_path / "own.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        cert.write_bytes(cert.read_bytes() + (tmp_path / "own.pem").read_bytes())
        with serving(tmp_path / "home", tls_cert=cert) as served:
            set_password(served.lab, ANN, PASSWORD)
            context = ssl.create_default_context(cafile=tmp_path / "own.pem")
            context.check_hostname = False
            visitor = Visitor(served, tls=context)
            shown = visitor.log_in(ANN, PASSWORD)
            assert shown.status == 303
            assert shown.header("strict-transport-security")
            assert len(shown.set_cookies) == 2
            for cookie in shown.set_cookies:
                assert cookie.startswith("__Host-mimeportal-")
                assert cookie.partition("; ")[2].startswith("Path=/; HttpOnly; SameSite=Lax; Secure")
            assert is_in(visitor)


class TestLog:
    def test_a_line_has_the_template_alone(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home") as served:
            visitor = Visitor(served)
            visitor.ask("/log-in?next=/secret")
            visitor.ask("/static/abc/secret.css")
            visitor.ask("/secret")
            lines = served.log_lines(3)
            assert [line["route"] for line in lines] == ["/log-in", "/static/{hash}/{name}", "-"]
            assert "secret" not in json.dumps(lines)


def test_names_in_a_path() -> None:
    route = Route("GET", "/a.b/{id}/c/{name}", lambda visit: visit.go("/"))
    assert route.pattern.fullmatch("/a.b/1/c/2")
    for path in ("/axb/1/c/2", "/a.b//c/2", "/a.b/1/2/c/3", "/a.b/1/c/2/"):
        assert not route.pattern.fullmatch(path)


def person(portal: Portal, address: str, *, disabled: bool) -> None:
    with portal.write() as tx:
        row = people.find(tx, address)
        assert row is not None
        people.disable(tx, int(row.id), disabled)  # type: ignore[attr-defined]


def alert(shown: Shown) -> str:
    match = re.search(r'role="alert"[^>]*>([^<]*)<', shown.text)
    assert match is not None
    return match[1]
