"""How people come to a password of their own: criteria, reset mails, temporary passwords, expiry, locks as set."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from browsing import Shown, Visitor, chromium, links_in, set_password, written_to
from conftest import ANN, BOB
from mimeportal import limits
from mimeportal.errors import AuthenticationError
from mimeportal.portal import Portal
from mimeportal.transport_http import HttpTransport
from mimeportal_server import outsiders, people
from mimeportal_server.store.schema import audit
from mimeportal_server.store.schema import people as persons
from served import Served, serving

CLIENT = "client@elsewhere.example"
GOOD, BETTER, WEAK = "Correct-horse-7", "Another-horse-8", "short"
OVER = "This link is wrong, was used before, or its time is over."


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "home") as served:
        with served.lab.server.write() as tx:
            outsiders.invite(tx, served.lab.server, CLIENT)
        yield served


def ask_reset(served: Served, address: str) -> Shown:
    visitor = Visitor(served)
    return visitor.submit(visitor.ask("/password/forgotten"), "/password/forgotten", address=address)


def mails(served: Served, address: str, count: int) -> list[str]:
    """The paths of the reset links that were mailed, once there are so many."""
    until = time.monotonic() + 10
    while len(written := written_to(served.lab, address)) < count and time.monotonic() < until:
        time.sleep(0.02)
    assert len(written) == count
    return [link for message in written for link in links_in(message)]


def reset_link(served: Served, address: str = CLIENT) -> str:
    ask_reset(served, address)
    return mails(served, address, 1)[0]


def opened(visitor: Visitor, link: str) -> Shown:
    """Open a link, and follow it to its clean path."""
    shown = visitor.ask(link)
    assert shown.status == 303, shown.text
    return visitor.ask(shown.header("location"))


def criteria(page: Shown) -> dict[str, str]:
    """Criterion to how it is marked, as the page shows it."""
    found = re.findall(r'<li id="criterion-(\w+)" class="([^"]*)"', page.text)
    return {name: marks.replace("inner ", "").strip() for name, marks in found}


class TestCriteria:
    def test_they_stand_below_the_fields(self, served: Served) -> None:
        page = opened(Visitor(served), reset_link(served))
        assert set(criteria(page)) == {"length", "classes", "capital", "small", "digit", "other"}
        assert set(criteria(page).values()) == {""}, "nothing was typed yet"
        assert page.text.index('id="again"') < page.text.index('id="criteria"')

    def test_each_is_ticked_or_crossed_without_script(self, served: Served) -> None:
        visitor = Visitor(served)
        page = opened(visitor, reset_link(served))
        shown = visitor.new_password(page, "/password/reset", "abcdefgh1")
        assert shown.status == 422
        assert criteria(shown) == {
            "length": "met", "classes": "unmet", "capital": "unmet", "small": "met", "digit": "met", "other": "unmet",
        }  # fmt: skip
        assert "abcdefgh1" not in shown.text

    def test_the_portal_tells_them(self, served: Served) -> None:
        visitor = Visitor(served)
        csrf = visitor.ask("/password/forgotten").fields("/password/forgotten")
        told = json.loads(visitor.ask("/password/check", {**csrf, "password": GOOD}).octets)
        assert all(entry["satisfied"] for entry in told)
        assert set(told[0]) == {"id", "text", "satisfied"}
        assert visitor.ask("/password/check", {"password": GOOD}).status == 403

    def test_they_are_the_account_s(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home", settings="[passwords]\nshortest = 12\nclasses = 4") as served:
            visitor = Visitor(served)
            csrf = visitor.ask("/password/forgotten").fields("/password/forgotten")
            told = json.loads(visitor.ask("/password/check", {**csrf, "password": "Correct-hors"}).octets)
            assert [(entry["text"], entry["satisfied"]) for entry in told][:2] == [
                ("12 to 128 characters", True),
                ("all of these kinds:", False),
            ]
            with pytest.raises(Exception, match="A password has all of these kinds: a capital letter, a small letter"):
                set_password(served.lab, ANN, "Correct-hors")

    def test_the_two_fields_must_be_equal(self, served: Served) -> None:
        visitor = Visitor(served)
        page = opened(visitor, reset_link(served))
        shown = visitor.new_password(page, "/password/reset", GOOD, again=BETTER)
        assert "The two passwords differ." in shown.text
        assert visitor.new_password(shown, "/password/reset", GOOD).status == 200


class TestReset:
    def test_by_mail(self, served: Served) -> None:
        visitor = Visitor(served)
        page = opened(visitor, reset_link(served))
        assert CLIENT in page.text
        done = visitor.new_password(page, "/password/reset", GOOD)
        assert "Log in again" in done.text
        assert not visitor.session(), "they log in with it themselves"
        assert visitor.log_in(CLIENT, GOOD).status == 303
        told = written_to(served.lab, CLIENT)[-1]
        assert told["Subject"] == "Your password was reset"

    def test_no_other_mail_uses_up_its_limit(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        most = limits.RESETS_PER_HOUR
        monkeypatch.setattr(limits, "WRITTEN_PER_HOUR", most)
        with served.lab.client(ANN) as ann:
            sent = ann.secure.send(to=[CLIENT], subject="s", body="t")
            told = [ann.secure.notify(sent.id)[0].notice for _ in range(most)]
            assert told == ["queued"] * (most - 1) + ["left out: too many notices to this address"]
        for _ in range(most + 1):
            ask_reset(served, CLIENT)
        mails(served, CLIENT, 2 * most)
        written = [message["Subject"] for message in written_to(served.lab, CLIENT)]
        assert written.count("Set a new password") == most

    def test_the_mail(self, served: Served) -> None:
        link = reset_link(served)
        (message,) = written_to(served.lab, CLIENT)
        assert message["From"] == "no-reply@example.com"
        assert message["Auto-Submitted"] == "auto-generated"
        assert "24 hours" in message.get_content()
        assert "personal" in message.get_content()
        assert link.startswith("/r/")

    def test_it_is_good_once(self, served: Served) -> None:
        link = reset_link(served)
        first, second = Visitor(served), Visitor(served)
        pages = [opened(visitor, link) for visitor in (first, second)]
        assert first.new_password(pages[0], "/password/reset", GOOD).status == 200
        assert OVER in second.new_password(pages[1], "/password/reset", BETTER).text
        assert Visitor(served).ask(link).status == 410
        assert Visitor(served).log_in(CLIENT, BETTER).status == 401

    def test_it_is_good_for_a_day(self, served: Served) -> None:
        link = reset_link(served)
        visitor = Visitor(served)
        page = opened(visitor, link)
        served.lab.time += 24 * 3600 + 1
        assert OVER in visitor.new_password(page, "/password/reset", GOOD).text
        assert "No longer available" in Visitor(served).ask(link).text

    def test_a_weak_password_spends_nothing(self, served: Served) -> None:
        visitor = Visitor(served)
        page = opened(visitor, reset_link(served))
        for _ in range(3):
            page = visitor.new_password(page, "/password/reset", WEAK)
            assert page.status == 422
        assert visitor.new_password(page, "/password/reset", GOOD).status == 200

    def test_fetching_it_changes_nothing(self, served: Served) -> None:
        link = reset_link(served)
        for method in ("GET", "HEAD") * 10:
            assert Visitor(served).ask(link, method=method).status == 303
        visitor = Visitor(served)
        assert visitor.new_password(opened(visitor, link), "/password/reset", GOOD).status == 200

    def test_the_link_leaves_the_address_line(self, served: Served) -> None:
        shown = Visitor(served).ask(reset_link(served))
        assert shown.header("location") == "/password/reset"

    def test_three_an_hour(self, served: Served) -> None:
        for _ in range(5):
            ask_reset(served, CLIENT)
        wait_for_acts(served, 5)
        assert len(written_to(served.lab, CLIENT)) == 3
        served.lab.time += 3601
        ask_reset(served, CLIENT)
        mails(served, CLIENT, 4)

    def test_one_answer_for_every_address(self, served: Served) -> None:
        said = set()
        for address in (CLIENT, "nobody@elsewhere.example", "no address"):
            shown = ask_reset(served, address)
            main = shown.text.partition("<h1>")[2].partition("</main>")[0]
            said.add((shown.status, main.replace(address, "ADDRESS")))
        assert len(said) == 1
        wait_for_acts(served, 3)
        assert not written_to(served.lab, "nobody@elsewhere.example")

    def test_a_network_asks_so_often_in_a_minute(self, served: Served) -> None:
        statuses = [ask_reset(served, "nobody@elsewhere.example").status for _ in range(61)]
        assert statuses == [200] * 60 + [429]

    def test_it_works_through_a_lock(self, served: Served) -> None:
        set_password(served.lab, ANN, GOOD)
        visitor = Visitor(served)
        for _ in range(5):
            visitor.log_in(ANN, "wrong")
        assert visitor.log_in(ANN, GOOD).status == 401
        page = opened(visitor, reset_link(served, ANN))
        assert visitor.new_password(page, "/password/reset", BETTER).status == 200
        assert visitor.log_in(ANN, BETTER).status == 303

    def test_the_account_may_forbid_it_for_its_own(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home", settings="[passwords]\nreset_by_mail = false") as served:
            with served.lab.server.write() as tx:
                outsiders.invite(tx, served.lab.server, CLIENT)
            ask_reset(served, ANN)
            ask_reset(served, CLIENT)
            mails(served, CLIENT, 1)
            assert not written_to(served.lab, ANN)

    def test_who_is_disabled_gets_none(self, served: Served) -> None:
        with served.lab.server.write() as tx:
            tx.execute(update(persons).where(persons.c.address == CLIENT).values(disabled=True))
        ask_reset(served, CLIENT)
        wait_for_acts(served, 1)
        assert not written_to(served.lab, CLIENT)

    def test_sessions_end(self, served: Served) -> None:
        set_password(served.lab, ANN, GOOD)
        inside = Visitor(served)
        inside.log_in(ANN, GOOD)
        assert inside.ask("/secure/inbox").status == 200
        visitor = Visitor(served)
        visitor.new_password(opened(visitor, reset_link(served, ANN)), "/password/reset", BETTER)
        assert inside.ask("/secure/inbox").status == 303


class TestTemporary:
    def one_time(self, served: Served, address: str) -> str:
        with served.lab.server.write() as tx:
            person = people.find(tx, address)
            assert person is not None
            return people.reset(tx, person.id, served.lab.server.clock.machine())

    def test_another_must_be_set_before_anything(self, served: Served) -> None:
        visitor = Visitor(served)
        shown = visitor.log_in(BOB, self.one_time(served, BOB))
        assert shown.header("location") == "/password/new"
        assert not visitor.session()
        assert visitor.ask("/secure/inbox").status == 303
        done = visitor.new_password(visitor.ask("/password/new"), "/password/new", GOOD)
        assert "Log in again" in done.text
        assert visitor.log_in(BOB, GOOD).header("location") == "/secure/inbox"

    def test_it_is_good_once(self, served: Served) -> None:
        once = self.one_time(served, BOB)
        assert Visitor(served).log_in(BOB, once).status == 303
        assert Visitor(served).log_in(BOB, once).status == 401

    def test_the_page_needs_the_log_in(self, served: Served) -> None:
        assert Visitor(served).ask("/password/new").status == 410
        visitor = Visitor(served)
        visitor.log_in(BOB, self.one_time(served, BOB))
        served.lab.time += 16 * 60
        assert visitor.ask("/password/new").status == 410


class TestExpiry:
    def test_an_old_password_must_be_changed(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home", settings="[passwords]\nexpire_days = 30") as served:
            set_password(served.lab, ANN, GOOD)
            visitor = Visitor(served)
            assert visitor.log_in(ANN, GOOD).header("location") == "/secure/inbox"
            with served.lab.server.write() as tx:
                month = 31 * 86_400_000
                tx.execute(update(persons).values(password_set=persons.c.password_set - month))
            with (
                Portal(HttpTransport(served.server.http_url)) as portal,
                pytest.raises(AuthenticationError, match="The password has expired: set another at http"),
            ):
                portal.auth.login(ANN, GOOD)
            other = Visitor(served)
            assert other.log_in(ANN, GOOD).header("location") == "/password/new"
            other.new_password(other.ask("/password/new"), "/password/new", BETTER)
            assert other.log_in(ANN, BETTER).header("location") == "/secure/inbox"


class TestLock:
    def test_as_the_account_sets_it(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home", settings="[passwords]\nlock_failures = 2\nlock_minutes = 60") as served:
            set_password(served.lab, ANN, GOOD)
            visitor = Visitor(served)
            for _ in range(2):
                visitor.log_in(ANN, "wrong")
            served.lab.time += 50 * 60
            assert visitor.log_in(ANN, GOOD).status == 401
            served.lab.time += 20 * 60
            assert visitor.log_in(ANN, GOOD).status == 303


class TestInChromium:
    def test_criteria_as_one_types(self, served: Served) -> None:
        link = reset_link(served)
        with chromium() as browser:
            page = browser.new_page()
            page.goto(served.server.http_url + link)
            assert page.url.endswith("/password/reset")
            field = page.get_by_label("New password", exact=True)
            field.press_sequentially("abc")
            page.locator("#criterion-length.unmet").wait_for()
            page.locator("#criterion-small.met").wait_for()
            field.fill(GOOD)
            page.locator("#criterion-classes.met").wait_for()
            assert page.locator(".unmet").count() == 0
            page.get_by_label("New password, again").fill(GOOD)
            page.get_by_role("button", name="Confirm").click()
            page.get_by_role("button", name="Log in").click()
            assert page.get_by_label("Email address").input_value() == CLIENT
            page.get_by_label("Password").fill(GOOD)
            page.get_by_role("button", name="Log in").click()
            page.wait_for_url("**/secure/inbox")


def wait_for_acts(served: Served, count: int) -> None:
    """Until so many requests for a reset were worked on."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with served.lab.server.database.read() as tx:
            if len(tx.execute(select(audit.c.id).where(audit.c.action == "ask for reset")).all()) >= count:
                return
        time.sleep(0.02)
    raise AssertionError("the requests were not worked on")
