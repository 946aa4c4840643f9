"""The pages of large files: what a recipient's link opens, and what it does not tell anybody else (portal-rules E)."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from asking import Asking
from browsing import Shown, Visitor, chromium
from conftest import ANN, absent
from mimeportal import limits
from mimeportal_server import delivery, people
from mimeportal_server.store.schema import audit, largefile_downloads, login_failures, tokens
from sending import OUT, Sending, begin, links, mails, sent
from served import Served, serving

FILE = bytes(range(256)) * 5000
KEY = "correct horse battery"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "home", faults=True) as served:
        yield served


@pytest.fixture
def ask(served: Served) -> Iterator[Asking]:
    asking = Asking(served.lab)
    yield asking
    asking.close()


def link_of(served: Served) -> str:
    """The path of the newest link."""
    delivery.deliver(served.lab.server)
    return links(served.lab)[-1]


def opened(visitor: Visitor, path: str) -> tuple[str, Shown]:
    """Where a link leads, and the page there."""
    first = visitor.ask(path)
    assert first.status == 303, first.text
    clean = first.header("location")
    return clean, visitor.ask(clean)


def button(visitor: Visitor, clean: str, page: Shown, number: int = 1) -> str:
    """Where the button of a file leads."""
    shown = visitor.submit(page, f"{clean}/fetch", file=str(number))
    assert shown.status == 303, shown.text
    return shown.header("location")


def url_of(served: Served) -> str:
    """The URL of the newest send's first file."""
    visitor = Visitor(served)
    clean, page = opened(visitor, link_of(served))
    return button(visitor, clean, page)


def downloads(sending: Sending) -> list[int]:
    """How often each file was downloaded."""
    return [file["downloads"] for file in sending.shown()["files"]]


def close_of(shown: Shown) -> tuple[int, str]:
    """A page without what is different in every answer."""
    return shown.status, re.sub(r"[0-9a-f-]{36}", "", shown.text)


class TestTheLink:
    def test_it_shows_what_was_sent(self, served: Served, ask: Asking) -> None:
        sent(ask, {"plan & <b>.pdf": FILE, "empty": b""}, subject="<i>Summer</i>", body="Dear all,\n<script>")
        _, page = opened(Visitor(served), link_of(served))
        assert page.status == 200
        for text in (
            "&lt;i&gt;Summer&lt;/i&gt;",
            "ann@example.com",
            "plan &amp; _b_.pdf",
            "1.2 MB",
            "0 bytes",
            "&lt;script&gt;",
        ):
            assert text in page.text, text
        assert "You can download them until" in page.text

    def test_its_secret_stands_in_no_address_line(self, served: Served, ask: Asking) -> None:
        sent(ask, {"a": b"a"})
        path = link_of(served)
        secret = path.rpartition("/")[2]
        clean, page = opened(Visitor(served), path)
        assert secret not in clean + page.text
        assert Visitor(served).ask(clean).status == 410, "without the cookie the clean path opens nothing"

    def test_opening_it_changes_nothing(self, served: Served, ask: Asking) -> None:
        """Scanners that open every link of every mail: nothing is spent, and nothing counts."""
        sending = sent(ask, {"a": b"a"})
        path = link_of(served)
        for _ in range(10):
            for method in ("GET", "HEAD"):
                visitor = Visitor(served)
                assert visitor.ask(path, method=method).status == 303
                opened(visitor, path)
        assert downloads(sending) == [0]
        assert ask.count(largefile_downloads) == 0
        assert button(*_page_of(served, path))

    def test_two_links_in_one_browser(self, served: Served, ask: Asking) -> None:
        visitor = Visitor(served)
        sent(ask, {"first": b"a"})
        one, _ = opened(visitor, link_of(served))
        sent(ask, {"second": b"b"})
        delivery.deliver(served.lab.server)
        other, page = opened(visitor, [link for link in links(served.lab) if "first" not in link][-1])
        assert "second" in page.text
        assert "first" in visitor.ask(one).text
        assert one != other

    def test_whatever_is_not_open_looks_the_same(self, served: Served, ask: Asking) -> None:
        """Expired, cancelled, purged and unknown: one polite page, that tells a stranger nothing."""
        sending = sent(ask, {"canary.pdf": b"a"}, subject="Canary")
        path = link_of(served)
        visitor = Visitor(served)
        clean, _ = opened(visitor, path)
        shown = {close_of(visitor.ask("/largefiles/link/" + "A" * 43))}
        shown.add(close_of(visitor.ask("/largefiles/of/0123456789abcdef")))
        shown.add(close_of(visitor.ask("/largefiles/fetch/" + "A" * 43 + "/canary.pdf")))
        sending.do("expire")
        shown.add(close_of(visitor.ask(clean)))
        assert len(shown) == 1
        ((status, text),) = shown
        assert status == 410
        assert "the link is wrong, or the time to use it is over" in text
        assert "anary" not in text
        assert ANN not in text

    def test_extended_it_opens_again(self, served: Served, ask: Asking) -> None:
        sending = sent(ask, {"a": b"a"}, expireAccessAfterDays=1)
        visitor = Visitor(served)
        clean, _ = opened(visitor, link_of(served))
        served.lab.advance(days=1.1)
        assert visitor.ask(clean).status == 410
        until = sending.shown()["keptUntil"]
        assert sending.do("extend", until=until).rows
        assert visitor.ask(clean).status == 200

    def test_it_outlives_a_password_and_ends_with_the_person(self, served: Served, ask: Asking) -> None:
        sent(ask, {"a": b"a"})
        visitor = Visitor(served)
        clean, _ = opened(visitor, link_of(served))
        with served.lab.server.write() as tx:
            row: Any = people.find(tx, ANN)
            people.reset(tx, row.id, 0)
        assert visitor.ask(clean).status == 200
        with served.lab.server.write() as tx:
            people.disable(tx, row.id, True)
        assert visitor.ask(clean).status == 410

    def test_an_upload_is_not_shown(self, served: Served, ask: Asking) -> None:
        begin(ask, {"a": b"a"})
        delivery.deliver(served.lab.server)
        assert links(served.lab) == []

    def test_the_log_has_no_secret(self, served: Served, ask: Asking) -> None:
        sent(ask, {"canary": b"a"})
        path = link_of(served)
        visitor = Visitor(served)
        clean, page = opened(visitor, path)
        url = button(visitor, clean, page)
        visitor.ask(url)
        routes = [line["route"] for line in served.log_lines(4)]
        assert routes == [
            "/largefiles/link/{secret}",
            "/largefiles/of/{name}",
            "/largefiles/of/{name}/fetch",
            "/largefiles/fetch/{secret}/{file}",
        ]
        for secret in (path.rpartition("/")[2], url.split("/")[3], "canary"):
            assert secret not in "".join(served.lines)


def _page_of(served: Served, path: str) -> tuple[Visitor, str, Shown]:
    visitor = Visitor(served)
    clean, page = opened(visitor, path)
    return visitor, clean, page


class TestTheAccessKey:
    @pytest.fixture
    def visitor(self, served: Served, ask: Asking) -> Visitor:
        sent(ask, {"canary.pdf": FILE}, accessKey=KEY, subject="Canary")
        return Visitor(served)

    def test_it_is_asked_for_before_anything_is_told(self, served: Served, visitor: Visitor) -> None:
        clean, page = opened(visitor, link_of(served))
        assert "anary" not in page.text
        assert "log-in" not in page.text, "recipients have none"
        wrong = visitor.submit(page, f"{clean}/key", key="wrong horse")
        assert wrong.status == 403
        assert "That is not the access key" in wrong.text
        right = visitor.submit(wrong, f"{clean}/key", key=f" {KEY} ")
        assert (right.status, right.header("location")) == (303, clean)
        files = visitor.ask(clean)
        assert "canary.pdf" in files.text
        assert visitor.ask(button(visitor, clean, files)).octets == FILE

    def test_the_button_does_nothing_without_it(self, served: Served, visitor: Visitor) -> None:
        clean, page = opened(visitor, link_of(served))
        form = {**page.fields(f"{clean}/key"), "file": "1"}
        shown = visitor.ask(f"{clean}/fetch", form)
        assert (shown.status, shown.header("location")) == (303, clean)

    def test_guesses_are_counted_and_slowed(self, served: Served, ask: Asking, visitor: Visitor) -> None:
        clean, page = opened(visitor, link_of(served))
        for number in range(limits.LOCK_FAILURES):
            assert visitor.submit(page, f"{clean}/key", key=f"guess {number}").status == 403
        locked = visitor.submit(page, f"{clean}/key", key=KEY)
        assert locked.status == 429
        assert "Too many wrong keys" in locked.text
        assert ask.count(login_failures) == limits.LOCK_FAILURES
        with ask.portal.database.read() as tx:
            outcomes = list(tx.scalars(select(audit.c.outcome).where(audit.c.action == "try access key")))
        assert outcomes == ["failed"] * limits.LOCK_FAILURES
        served.lab.time += limits.LOCK_MINUTES * 60 + 1
        assert visitor.submit(page, f"{clean}/key", key=KEY).status == 303

    def test_of_guesses_made_at_once_no_more_are_taken(
        self, served: Served, ask: Asking, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All of them were let in before the first was found to be wrong."""
        clean, page = opened(visitor, link_of(served))
        guesses = [f"guess {number}" for number in range(limits.HTTP_THREADS)]
        together = threading.Barrier(len(guesses))

        def is_right(*_: object) -> bool:
            together.wait(20)
            return False

        monkeypatch.setattr("mimeportal_server.passwords.is_right", is_right)
        with ThreadPoolExecutor(len(guesses)) as pool:
            shown = list(pool.map(lambda key: visitor.submit(page, f"{clean}/key", key=key).status, guesses))
        assert sorted(shown) == [403] * limits.LOCK_FAILURES + [429] * (len(guesses) - limits.LOCK_FAILURES)
        assert ask.count(login_failures) == limits.LOCK_FAILURES

    def test_blanks_around_a_key_are_no_part_of_it(self, served: Served, ask: Asking) -> None:
        sent(ask, {"a": b"a"}, accessKey=f"  {KEY}\t")
        visitor, clean, page = _page_of(served, link_of(served))
        assert visitor.submit(page, f"{clean}/key", key=KEY).status == 303

    def test_it_is_believed_for_some_hours(self, served: Served, visitor: Visitor) -> None:
        clean, page = opened(visitor, link_of(served))
        visitor.submit(page, f"{clean}/key", key=KEY)
        served.lab.time += limits.ACCESS_KEY_HOURS * 3600 - 60
        assert "canary.pdf" in visitor.ask(clean).text
        served.lab.time += 120
        assert "canary.pdf" not in visitor.ask(clean).text

    def test_one_recipient_s_key_opens_no_other_send(self, served: Served, ask: Asking, visitor: Visitor) -> None:
        clean, page = opened(visitor, link_of(served))
        visitor.submit(page, f"{clean}/key", key=KEY)
        sent(ask, {"second.pdf": b"b"}, accessKey="another key 1", to=["two@elsewhere.example"])
        _, second = opened(visitor, link_of(served))
        assert "second.pdf" not in second.text


class TestFetching:
    def test_a_file_is_put_down_and_never_shown(self, served: Served, ask: Asking) -> None:
        sent(ask, {"Straße.html": b"<script>alert(1)</script>"})
        shown = Visitor(served).ask(url_of(served))
        assert shown.octets == b"<script>alert(1)</script>"
        for name, value in (
            ("content-type", "application/octet-stream"),
            ("content-disposition", "attachment; filename=\"Stra_e.html\"; filename*=UTF-8''Stra%C3%9Fe.html"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("accept-ranges", "bytes"),
            ("cache-control", "no-store"),
        ):
            assert shown.header(name) == value

    def test_it_counts_once_when_all_of_it_has_gone_out(self, served: Served, ask: Asking) -> None:
        sending = sent(ask, {"a": FILE})
        url, visitor = url_of(served), Visitor(served)
        middle = len(FILE) // 2
        for header, count in ((f"bytes={middle}-", 0), ("bytes=0-99", 0), (f"bytes=50-{middle}", 1), ("bytes=0-", 1)):
            visitor.ask(url, headers={"Range": header})
            assert _eventually(sending, [count]), header
        recipient = sending.shown()["recipients"][0]
        assert [entry["downloads"] for entry in recipient["downloads"]] == [1]
        assert recipient["downloads"][0]["last"]

    def test_parts_far_from_each_other_are_not_remembered_without_end(
        self, served: Served, ask: Asking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "FETCH_PARTS", 2)
        sending = sent(ask, {"a": FILE})
        url, visitor = url_of(served), Visitor(served)
        for start, covered in (
            (0, "[[0, 1]]"),
            (10, "[[0, 1], [10, 11]]"),
            (20, "[[0, 1], [10, 11]]"),
            (11, "[[0, 1], [10, 12]]"),
        ):
            assert visitor.ask(url, headers={"Range": f"bytes={start}-{start}"}).status == 206
            until = time.monotonic() + 5
            while _covered(ask) != covered and time.monotonic() < until:
                time.sleep(0.02)
            assert _covered(ask) == covered
        visitor.ask(url)
        assert _eventually(sending, [1]), "all of it at once is a download all the same"

    def test_each_press_of_the_button_is_a_download_of_its_own(self, served: Served, ask: Asking) -> None:
        sending = sent(ask, {"a": FILE, "b": FILE}, to=[OUT, "two@elsewhere.example"])
        delivery.deliver(served.lab.server)
        for path in links(served.lab):
            visitor = Visitor(served)
            clean, page = opened(visitor, path)
            for number in (1, 1, 2):
                visitor.ask(button(visitor, clean, page, number))
        assert _eventually(sending, [4, 2])
        assert [[entry["downloads"] for entry in to["downloads"]] for to in sending.shown()["recipients"]] == [
            [2, 1],
            [2, 1],
        ]

    def test_an_empty_file_counts(self, served: Served, ask: Asking) -> None:
        sending = sent(ask, {"a": b""})
        url = url_of(served)
        assert Visitor(served).ask(url, method="HEAD").status == 200
        assert downloads(sending) == [0]
        assert Visitor(served).ask(url).octets == b""
        assert _eventually(sending, [1])

    def test_head_counts_nothing(self, served: Served, ask: Asking) -> None:
        sending = sent(ask, {"a": FILE})
        shown = Visitor(served).ask(url_of(served), method="HEAD")
        assert shown.header("content-length") == str(len(FILE))
        assert downloads(sending) == [0]

    def test_a_download_that_was_broken_off_does_not_count(self, served: Served, ask: Asking) -> None:
        big = bytes(30_000_000)  # more than sockets hold
        sending = sent(ask, {"a": big})
        url = url_of(served)
        connection = served.connect()
        connection.request("GET", url)
        answer = connection.getresponse()
        assert answer.read(1000) == big[:1000]
        connection.close()
        lines = served.log_lines(4)
        assert lines[-1]["out"] < len(big)
        assert downloads(sending) == [0]
        assert Visitor(served).ask(url).octets == big
        assert _eventually(sending, [1])

    def test_a_part_that_is_not_there(self, served: Served, ask: Asking) -> None:
        sent(ask, {"a": FILE})
        assert Visitor(served).ask(url_of(served), headers={"Range": "bytes=9999999-"}).status == 416

    def test_the_url_ends(self, served: Served, ask: Asking) -> None:
        sent(ask, {"a": FILE})
        url = url_of(served)
        served.lab.time += limits.FETCH_SECONDS - 60
        assert Visitor(served).ask(url).status == 200
        served.lab.time += 120
        assert Visitor(served).ask(url).status == 410

    def test_the_url_ends_with_the_access(self, served: Served, ask: Asking) -> None:
        sending = sent(ask, {"a": FILE})
        url = url_of(served)
        sending.do("expire")
        assert Visitor(served).ask(url).status == 410

    def test_a_file_of_no_send_of_theirs(self, served: Served, ask: Asking) -> None:
        sent(ask, {"a": FILE})
        visitor = Visitor(served)
        clean, page = opened(visitor, link_of(served))
        for number in ("2", "0", "", "x"):
            assert visitor.submit(page, f"{clean}/fetch", file=number).status == 404

    def test_the_sender_is_told_where_they_want_it(self, served: Served, ask: Asking) -> None:
        sending = sent(ask, {"a": FILE}, notifyOnDownload=True)
        url = url_of(served)
        for _ in range(3):
            Visitor(served).ask(url)
        assert _eventually(sending, [1])
        delivery.deliver(served.lab.server)
        told = [mail for mail in mails(served.lab) if mail["To"] == ANN]
        assert [mail["Subject"] for mail in told] == ["Large file downloaded"]
        assert f"{OUT} has downloaded a file that you sent." in told[0].get_content()

    def test_many_at_once(self, served: Served, ask: Asking) -> None:
        sending = sent(ask, {"a": FILE * 2})
        visitor = Visitor(served)
        clean, page = opened(visitor, link_of(served))
        urls = [button(visitor, clean, page) for _ in range(50)]
        with ThreadPoolExecutor(50) as pool:
            assert all(shown.octets == FILE * 2 for shown in pool.map(lambda url: Visitor(served).ask(url), urls))
        assert _eventually(sending, [50])

    def test_curl_goes_on_where_it_stopped(self, served: Served, ask: Asking, tmp_path: Path) -> None:
        sent(ask, {"a": FILE})
        url = served.server.http_url + url_of(served)
        part = tmp_path / "part"
        part.write_bytes(FILE[:400_000])
        try:
            subprocess.run(["curl", "-sS", "--fail", "-C", "-", "-o", part, url], check=True, timeout=30)
        except FileNotFoundError:
            absent("curl")
        assert part.read_bytes() == FILE


def _covered(ask: Asking) -> str | None:
    with ask.portal.database.read() as tx:
        return tx.scalar(select(largefile_downloads.c.covered))


def _eventually(sending: Sending, counts: list[int]) -> bool:
    """What went out is counted just after it did."""
    until = time.monotonic() + 5
    while downloads(sending) != counts:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_what_links_stand_for_is_stored_as_a_hash(served: Served, ask: Asking) -> None:
    sent(ask, {"a": b"a"})
    path = link_of(served)
    secret = path.rpartition("/")[2]
    with ask.portal.database.read() as tx:
        assert len(list(tx.scalars(select(tokens.c.hash).where(tokens.c.purpose == "large files")))) == 1
    for stored in served.lab.path.glob("portal.db*"):
        assert secret.encode() not in stored.read_bytes()


@pytest.mark.parametrize(("width", "script"), [(1280, True), (375, False)])
def test_in_a_browser(served: Served, ask: Asking, tmp_path: Path, width: int, script: bool) -> None:
    """With an access key, at the width of a desk and of a telephone, and without any script."""
    sending = sent(ask, {"Quarterly figures, final version 3 (really final).xlsx": FILE, "b.bin": b"b"}, accessKey=KEY)
    with chromium() as browser:
        context = browser.new_context(viewport={"width": width, "height": 800}, java_script_enabled=script)
        page = context.new_page()
        page.goto(served.server.http_url + link_of(served))
        page.get_by_label("Access key").fill("wrong horse 12")
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("alert").filter(has_text="That is not the access key").wait_for()
        page.get_by_label("Access key").fill(KEY)
        page.get_by_role("button", name="Continue").click()
        with page.expect_download() as downloading:
            page.get_by_role("button", name="Download Quarterly").click()
        assert downloading.value.suggested_filename == "Quarterly figures, final version 3 (really final).xlsx"
        downloading.value.save_as(tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == FILE
        if script:
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        else:
            box = page.get_by_role("button", name="Download b.bin").bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= width
    assert _eventually(sending, [1, 0])
