"""`mimeportal.testing`, the pytest plugin: fixtures, documentation and example, as other people's tests use it."""

from __future__ import annotations

import os
import re
import shutil
import smtplib
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path

import pytest

from mimeportal.errors import RateLimitedError, UsageError
from mimeportal.portal import Portal
from mimeportal.testing import (
    ADMINISTRATOR,
    ANN,
    BOB,
    MODERATOR,
    SPAM,
    PortalFaults,
    PortalHome,
    PortalServer,
    mail,
)

ROOT = Path(__file__).parents[2]


class TestMail:
    def test_it_is_what_it_says(self) -> None:
        octets = mail(
            "Grüße",
            "Hällo\n",
            sender="Jürgen <j@elsewhere.example>",
            headers={"X-Spam-Flag": "YES", "Message-ID": "<mine@here.example>"},
            attachments={"a b.pdf": b"%PDF", "notes.txt": b"\xff\r\n."},
            html="<p>Hällo</p>",
        )
        assert b"\n" not in octets.replace(b"\r\n", b"")
        message = message_from_bytes(octets)
        assert message.get_all("Message-ID") == ["<mine@here.example>"]
        assert message["X-Spam-Flag"] == "YES"
        parts = {part.get_content_type(): part.get_payload(decode=True) for part in message.walk()}
        assert parts["text/html"] == "<p>Hällo</p>\r\n".encode()
        assert parts["application/pdf"] == b"%PDF"
        files = {part.get_filename(): part.get_payload(decode=True) for part in message.walk() if part.get_filename()}
        assert files == {"a b.pdf": b"%PDF", "notes.txt": b"\xff\r\n."}

    def test_no_two_are_the_same(self) -> None:
        assert mail() != mail()


class TestHome:
    def test_mail_comes_in_is_held_and_leaves(self, portal_home: PortalHome) -> None:
        plain, flagged = mail("plain"), mail("flagged", headers={"X-Spam-Flag": "YES"})
        assert portal_home.deliver(plain) == "delivered"
        assert portal_home.deliver(flagged) == "held"
        assert portal_home.deliver(mail(to=BOB), to=BOB, hold=SPAM) == "held"
        portal = portal_home.client(ANN)
        assert [hold.subject for hold in portal.holds.list()] == ["flagged"]
        portal.holds.release(portal.holds.list(), permit="address")
        told = [(gone.kind, gone.recipient, gone.octets) for gone in portal_home.delivered()]
        assert told == [("screened", ANN, plain), ("released", ANN, flagged)]

    def test_blocked_senders_are_dropped(self, portal_home: PortalHome) -> None:
        portal_home.client(ANN).senders.add(["eve@elsewhere.example"], list="blocked")
        assert portal_home.deliver(mail()) == "blocked"
        assert portal_home.deliver(mail(), sender="other@third.example", to=BOB) == "delivered"
        (gone,) = portal_home.delivered()
        assert (gone.sender, gone.recipient) == ("other@third.example", BOB)

    def test_nothing_of_the_tests_before_is_left(self, portal_home: PortalHome) -> None:
        """Run twice: whichever comes second finds what the first found."""
        self.leave_something(portal_home)

    def test_nothing_of_the_tests_before_is_left_either(self, portal_home: PortalHome) -> None:
        self.leave_something(portal_home)

    def leave_something(self, portal_home: PortalHome) -> None:
        assert abs(portal_home.clock.now - datetime.now(UTC)) < timedelta(hours=1)
        portal = portal_home.client(ANN)
        assert list(portal.holds.list()) == []
        assert list(portal.senders.list("blocked")) == []
        assert portal_home.delivered() == []
        portal_home.deliver(mail(), hold=SPAM)
        portal_home.deliver(mail())
        portal.senders.add(["eve@elsewhere.example"], list="blocked")
        portal_home.clock.advance(days=1)

    def test_the_clock_is_moved_for_who_has_it_open(self, portal_home: PortalHome) -> None:
        portal_home.deliver(mail(), hold=SPAM)
        portal = portal_home.client(ANN)
        assert len(list(portal.holds.list())) == 1
        portal_home.clock.advance(days=13, hours=23)
        assert len(list(portal.holds.list())) == 1
        portal_home.clock.advance(hours=2)
        assert list(portal.holds.list()) == []
        portal_home.clock.set(datetime(2027, 3, 4, 5, 6))  # noqa: DTZ001  (naive is UTC)
        assert abs(portal_home.clock.now - datetime(2027, 3, 4, 5, 6, tzinfo=UTC)) < timedelta(hours=1)

    def test_people_are_added(self, portal_home: PortalHome) -> None:
        with pytest.raises(UsageError, match="none of the portal's people"):
            portal_home.deliver(mail(), to="carla@example.com")
        portal_home.add_person("Carla@example.com", role="administrator", moderates=[BOB])
        assert portal_home.deliver(mail(), to="carla@example.com") == "delivered"
        assert portal_home.client("carla@example.com").account.whoami().role == "administrator"
        with pytest.raises(UsageError, match="outside of the portal's domains"):
            portal_home.add_person("dora@elsewhere.example")

    def test_it_can_be_restricted_to_mimecast_s_api(self, portal_home: PortalHome) -> None:
        from mimeportal.errors import NotOfferedError

        with pytest.raises(NotOfferedError):
            portal_home.client(ADMINISTRATOR, api="api2").senders.list("blocked").first(1)


class TestServer:
    def test_mail_comes_in_over_smtp(self, portal_server: PortalServer, portal_home: PortalHome) -> None:
        octets = mail("over SMTP", "One line.\n.\nand after a lone dot.\n")
        portal_server.deliver(octets)
        (gone,) = portal_home.delivered()
        assert gone.octets == octets
        assert (gone.kind, gone.sender, gone.recipient) == ("screened", "eve@elsewhere.example", ANN)
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            portal_server.deliver(octets, to="nobody@example.com")

    @pytest.mark.parametrize("who", [ANN, MODERATOR, ADMINISTRATOR])
    def test_people_log_in(self, portal_server: PortalServer, who: str) -> None:
        portal = portal_server.client(who)
        assert portal.account.whoami().email_address == who
        assert portal.user == who

    @pytest.mark.parametrize("who", ["app", ANN])
    def test_programs_find_what_they_need_in_the_environment(
        self, portal_server: PortalServer, monkeypatch: pytest.MonkeyPatch, who: str
    ) -> None:
        monkeypatch.setenv("MIMEPORTAL_SECRET_KEY", "of another portal")
        portal_server.deliver(mail(), hold=SPAM)
        for name, value in portal_server.environment(who).items():
            monkeypatch.setenv(name, value)
        with Portal.open() as portal:
            assert portal.url == portal_server.url
            assert len(list(portal.holds.list())) == 1
            assert portal.user == (who if who != "app" else None)

    @pytest.mark.parametrize("api", [None, "api1", "api2"])
    def test_apps_log_in(self, portal_server: PortalServer, portal_home: PortalHome, api: str | None) -> None:
        portal_home.deliver(mail(), hold=SPAM)
        portal = portal_server.client(api=api)  # type: ignore[arg-type]
        assert [hold.to_address for hold in portal.holds.list()] == [ANN]

    def test_each_sees_what_is_theirs(self, portal_server: PortalServer, portal_home: PortalHome) -> None:
        portal_home.deliver(mail(to=BOB), to=BOB, hold=SPAM)
        assert len(list(portal_server.client(BOB).holds.list())) == 1
        assert list(portal_server.client(ANN).holds.list()) == []

    def test_its_clock_holds_for_smtp_too(self, portal_server: PortalServer, portal_client: Portal) -> None:
        portal_server.clock.set(datetime(2027, 3, 4, 5, 6, tzinfo=UTC))
        portal_server.deliver(mail(headers={"X-Spam-Flag": "YES"}))
        (hold,) = portal_client.holds.list()
        assert hold.date_received is not None
        assert abs(hold.date_received - datetime(2027, 3, 4, 5, 6, tzinfo=UTC)) < timedelta(hours=1)

    def test_requests_are_seen(self, portal_server: PortalServer, portal_client: Portal) -> None:
        portal_server.deliver(mail(), hold=SPAM)
        assert portal_server.requests == []
        result = portal_client.holds.release(portal_client.holds.list())
        assert result.totals == {"done": 1}
        seen = {request.operation: request for request in portal_server.requests}
        assert {"auth.token", "holds.find", "holds.decide"} <= set(seen)
        decided = seen["holds.decide"]
        assert (decided.status, decided.items, decided.fault) == (200, 1, "")
        assert decided.request_id
        assert decided.caller > 0

    def test_the_quota_is_set(self, portal_server: PortalServer, portal_client: Portal) -> None:
        portal_server.set_quota(2, 80_000)
        portal_client.account.whoami()
        portal_client.account.whoami()
        with pytest.raises(RateLimitedError):
            portal_client.account.whoami()

    def test_another_server_has_no_lab_for_who_guesses(self, portal_server: PortalServer) -> None:
        with pytest.raises(UsageError, match="only: reset, clock, faults, requests, quota"):
            portal_server.lab("GET", "nothing")


class TestFaults:
    def test_what_is_unknown_is_named(self, portal_faults: PortalFaults) -> None:
        with pytest.raises(UsageError, match=r"Known: .*holds\.decide"):
            portal_faults.add("holds.liberate", "cut")
        with pytest.raises(UsageError, match="Known: status, quota, delay"):
            portal_faults.add("holds.list", "explode")
        with pytest.raises(UsageError, match="Known: operation, kind, times"):
            portal_faults.add("holds.list", "cut", when="later")
        assert portal_faults.left == []

    def test_they_are_used_up_in_order(self, portal_client: Portal, portal_faults: PortalFaults) -> None:
        portal_faults.add("account.whoami", "status", status=404, code="err_first")
        portal_faults.add("account.whoami", "status", status=404, code="err_second", skip=1)
        assert len(portal_faults.left) == 2
        codes = []
        for _ in range(4):
            try:
                codes.append(portal_client.account.whoami().account_code)
            except Exception as fault:
                codes.append(getattr(fault, "code", ""))
        assert [code for code in codes if code.startswith("err_")] == ["err_first", "err_second"]
        assert codes[1] == codes[3] != codes[2]
        assert portal_faults.left == []

    def test_they_can_be_taken_back(self, portal_client: Portal, portal_faults: PortalFaults) -> None:
        portal_faults.add("*", "status", status=404, times=None)
        portal_faults.clear()
        assert portal_client.account.whoami()


def run_tests(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As somebody else runs tests of their own, in a project of their own."""
    commands = folder / "bin"
    commands.mkdir()
    (commands / "mimeportal").write_text(f'#!/bin/sh\nexec {sys.executable} -m mimeportal_cli "$@"\n')
    (commands / "mimeportal").chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        # A machine that is set up for a portal of its own, which no test may reach.
        "MIMEPORTAL_CONFIG_DIR": str(folder / "config"),
        "MIMEPORTAL_PROFILE": "production",
        "MIMEPORTAL_URL": "https://eu-api.mimecast.com",
        "MIMEPORTAL_APP_ID": "an id",
        "MIMEPORTAL_APP_KEY": "a key",
        "MIMEPORTAL_USER": "somebody@production.example",
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path]),
    }
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "mimeportal.testing", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def passed(done: subprocess.CompletedProcess[str]) -> int:
    assert done.returncode == 0, done.stdout + done.stderr
    (told,) = re.findall(r"(\d+) passed", done.stdout)
    return int(told)


class TestOtherPeoplesProjects:
    def test_the_example(self, tmp_path: Path) -> None:
        for file in (ROOT / "examples" / "testing").glob("*.py"):
            shutil.copy(file, tmp_path)
        assert passed(run_tests(tmp_path)) == 7

    def test_what_the_documentation_shows(self, tmp_path: Path) -> None:
        page = (ROOT / "docs" / "testing.md").read_text("utf-8")
        blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        for number, block in enumerate(blocks):
            (tmp_path / f"test_block_{number}.py").write_text(block)
        assert passed(run_tests(tmp_path)) == page.count("\ndef test_")

    def test_who_does_not_use_it_does_not_pay(self, tmp_path: Path) -> None:
        (tmp_path / "test_nothing.py").write_text(
            "import sys\n"
            "def test_nothing():\n"
            "    ours = {name for name in sys.modules if name.startswith('mimeportal')}\n"
            "    assert ours == {'mimeportal', 'mimeportal._version', 'mimeportal.testing'}\n"
            "    assert not {'pydantic', 'sqlalchemy', 'requests', 'uvicorn'} & set(sys.modules)\n"
        )
        assert passed(run_tests(tmp_path)) == 1

    def test_without_the_server_it_says_what_to_install(self, tmp_path: Path) -> None:
        (tmp_path / "conftest.py").write_text("import sys\nsys.modules['sqlalchemy'] = None\n")
        (tmp_path / "test_one.py").write_text("def test_one(portal_home):\n    pass\n")
        done = run_tests(tmp_path)
        assert done.returncode == 1
        assert "pip install 'mimeportal[server]'" in done.stdout
        assert "Traceback" not in done.stdout

    def test_its_fixtures_are_told_with_a_sentence_each(self, tmp_path: Path) -> None:
        (tmp_path / "test_none.py").write_text("")
        told = run_tests(tmp_path, "--fixtures").stdout
        for name in ("portal_home", "portal_server", "portal_client", "portal_faults"):
            assert re.search(rf"^{name}\b.*\n +\w", told, re.MULTILINE), name


def test_the_kinds_of_faults_are_documented() -> None:
    from mimeportal_server.lab import KINDS

    page = (ROOT / "docs" / "testing.md").read_text("utf-8")
    table = page.partition("| kind |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \| ", table, re.MULTILINE) == list(KINDS)
