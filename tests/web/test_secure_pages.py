"""The pages of secure messages: who gets in, what a message lets its readers do, and what attackers try."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from writing import (
    CLIENT,
    EXPIRE,
    LIST,
    LOG,
    OTHER,
    PASSWORD,
    RECALL,
    Office,
    alert,
    body_of,
    compose,
    heading,
    inside,
    page_id,
    page_of,
    undelivered,
)

from browsing import Shown, Visitor, links_in, written_to
from conftest import ADMIN, ANN
from mimeportal import limits
from mimeportal_server.store.schema import metadata, people
from served import serving

MIB = 1024 * 1024


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with serving(tmp_path / "home") as served:
        yield Office(served)


class TestTheWayIn:
    def test_the_first_visit(self, office: Office) -> None:
        id = office.send()
        visitor = Visitor(office.served)
        link = office.link()
        assert visitor.ask(link).header("location") == f"/secure/open/{id}"
        page = visitor.follow(link)
        assert heading(page) == "Create a new password"
        done = visitor.new_password(page, f"/secure/open/{id}", PASSWORD)
        assert not visitor.session()
        assert visitor.ask(f"/secure/messages/{id}").status == 303, "they log in first"
        follow = done.fields("/log-in")
        first = visitor.ask(f"/log-in?next={follow['next']}&address={follow['address']}")
        last = visitor.submit(first, "/log-in", address=CLIENT, password=PASSWORD)
        assert last.header("location") == f"/secure/messages/{id}"

    def test_a_second_message_uses_the_same_password(self, office: Office) -> None:
        office.send()
        office.visitor()
        id = office.send(subject="Another")
        other = Visitor(office.served)
        page = other.follow(office.link())
        assert heading(page) == "Log in"
        assert other.submit(page, "/log-in", address=CLIENT, password=PASSWORD).header("location") == page_of(id)

    def test_a_link_creates_no_second_password(self, office: Office) -> None:
        """Two browsers have the form open: the first sets the password."""
        id = office.send()
        first, second = Visitor(office.served), Visitor(office.served)
        pages = [visitor.follow(office.link()) for visitor in (first, second)]
        assert first.new_password(pages[0], f"/secure/open/{id}", PASSWORD).status == 200
        assert second.new_password(pages[1], f"/secure/open/{id}", "Stolen-horse-9").status == 410
        assert Visitor(office.served).log_in(CLIENT, "Stolen-horse-9").status == 401

    def test_after_a_restore_only_a_reset_mail_gets_one_in(self, office: Office) -> None:
        office.send()
        with office.served.lab.server.write() as tx:
            tx.execute(people.update().values(epoch=people.c.epoch + 1))
        assert heading(Visitor(office.served).follow(office.link())) == "Log in"

    def test_two_addresses_in_one_browser(self, office: Office) -> None:
        mine = office.send()
        visitor = office.visitor()
        theirs = office.send(to=OTHER)
        shown = visitor.follow(office.link(OTHER))
        assert shown.status == 403
        assert heading(shown) == "This message is for another address"
        assert visitor.ask(page_of(theirs)).status == 404
        assert visitor.ask(page_of(mine)).status == 200
        visitor.submit(shown, "/log-out")
        assert heading(visitor.follow(office.link(OTHER))) == "Create a new password"

    def test_links_that_were_opened_do_not_pile_up(self, office: Office) -> None:
        """Their cookies travel with every request: a server in front takes only so much of them."""
        visitor = Visitor(office.served)
        for number in range(limits.LINKS_KEPT + 5):
            address = f"client{number}@elsewhere.example"
            office.send(to=address)
            latest = visitor.follow(office.link(address))
            assert heading(latest) == "Create a new password"
        kept = [name for name in visitor.cookies if "-link-" in name]
        assert len(kept) == limits.LINKS_KEPT
        (action,) = latest.actions()
        assert visitor.new_password(latest, action, PASSWORD).status == 200, "the latest is among them"

    def test_a_wrong_link(self, office: Office) -> None:
        assert heading(Visitor(office.served).ask("/s/" + "A" * 43)) == "No longer available"

    def test_without_the_link_its_page_only_asks_to_log_in(self, office: Office) -> None:
        id = office.send()
        shown = Visitor(office.served).ask(f"/secure/open/{id}")
        assert shown.header("location") == f"/log-in?next=/secure/messages/{id}"

    def test_a_temporary_password(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home", settings='first_visit = "temporary-password"', section="secure") as served:
            office = Office(served)
            office.send()
            office.send(subject="Again")
            mails = {str(mail["Subject"]): mail for mail in written_to(served.lab, CLIENT)}
            assert len(written_to(served.lab, CLIENT)) == 3, "the password is mailed once only"
            text = mails["Secure Messaging Password Notification"].get_content()
            (password,) = re.findall(r"^\S{43}$", text, re.MULTILINE)
            visitor = Visitor(served)
            assert heading(visitor.follow(office.link())) == "Log in", "the link alone sets no password"
            assert visitor.log_in(CLIENT, password).header("location") == "/password/new"
            visitor.new_password(visitor.ask("/password/new"), "/password/new", PASSWORD)
            assert visitor.log_in(CLIENT, PASSWORD).header("location") == "/secure/inbox"

    def test_the_mail_says_that_access_is_personal(self, office: Office) -> None:
        office.send()
        (mail,) = written_to(office.served.lab, CLIENT)
        assert "personal" in mail.get_content()


class TestCustomers:
    def test_what_came_in_is_in_no_list_and_opens_by_its_own_url(self, office: Office) -> None:
        office.send()
        client = office.visitor()
        page = client.ask("/secure/compose")
        options = compose(client, page, to=ANN, subject="A question", text="Where?")
        client.submit(options, "/secure/compose", step="send", option="no-print")
        ann = inside(office)
        assert "A question" not in ann.ask("/secure/inbox").text
        shown = ann.follow(office.link(ANN))
        assert heading(shown) == "A question"
        assert "Printing is not available for this message." in shown.text

    def test_a_read_receipt(self, office: Office) -> None:
        office.send()
        client = office.visitor()
        options = compose(client, client.ask("/secure/compose"), to=ANN, subject="A question", text="Where?")
        client.submit(options, "/secure/compose", step="send", option="read-receipt")
        ann, before = inside(office), len(written_to(office.served.lab, CLIENT))
        page = ann.follow(office.link(ANN))
        body_of(ann, page)
        ann.ask("/secure/open/" + page_id(page))
        (receipt,) = written_to(office.served.lab, CLIENT)[before:]
        assert ANN in receipt.get_content()
        until = time.monotonic() + 20
        while undelivered(office):
            assert time.monotonic() < until, "it leaves at once, not with the next sweep"
            time.sleep(0.05)


class TestReading:
    def test_one_opening_is_one_event(self, office: Office) -> None:
        """Though the page asks for itself and for its frame."""
        id = office.send()
        visitor = office.visitor()
        page = visitor.ask(page_of(id))
        assert "Please sign." in body_of(visitor, page).text
        events = [row["event"] for row in office.ask(LOG, {"id": id}, by=ADMIN).rows]
        assert sum("open" in event for event in events) == 1
        visitor.ask(page_of(id))
        events = [row["event"] for row in office.ask(LOG, {"id": id}, by=ADMIN).rows]
        assert sum("open" in event for event in events) == 2

    def test_the_body_can_do_nothing(self, office: Office) -> None:
        html = (
            "<script>parent.document.title='owned'</script><img src=x onerror='alert(1)'>"
            "<a href='javascript:alert(1)'>go</a><form action='/log-out' method=post><input></form>"
            "<style>*{display:none}</style><svg onload=alert(1)></svg><iframe src=/></iframe>"
        )
        id = office.send(html=html, text="x")
        visitor = office.visitor()
        frame = body_of(visitor, visitor.ask(page_of(id)))
        policy = frame.header("content-security-policy")
        assert policy.startswith("default-src 'none'; img-src data:; frame-ancestors 'self'; sandbox")
        assert "allow-scripts" not in policy
        assert "allow-same-origin" not in policy
        for part in ("<script", "onerror", "javascript:", "<form", "<style", "<svg", "<iframe"):
            assert part not in frame.text

    def test_images_of_others_are_asked_for_each_time(self, office: Office) -> None:
        id = office.send(html='<p>Hi</p><img src="https://track.example/1.png">', text="Hi")
        visitor = office.visitor()
        page = visitor.ask(page_of(id))
        assert "Images are not shown." in page.text
        assert "track.example" not in body_of(visitor, page).text
        assert "Images are not shown." in visitor.ask(page_of(id, "?images=1")).text, "no link in a mail loads them"
        (load,) = re.findall(r'href="([^"]*[?]images=[^"]*)"', page.text)
        asked = visitor.ask(load)
        frame = body_of(visitor, asked)
        assert "https://track.example/1.png" in frame.text
        assert "img-src data: http: https:;" in frame.header("content-security-policy")
        assert "track.example" not in body_of(visitor, visitor.ask(page_of(id))).text

    def test_a_text_is_shown_as_it_was_written(self, office: Office) -> None:
        id = office.send(text="<b>1</b>\n  2 & \u202e3\n")
        visitor = office.visitor()
        frame = body_of(visitor, visitor.ask(page_of(id))).text
        assert "&lt;b&gt;1&lt;/b&gt;<br>\n&nbsp; 2 &amp; \\u202e3" in frame

    def test_an_attachment_is_put_down_never_shown(self, office: Office) -> None:
        id = office.send(files={"page.html": b"<script>alert(1)</script>"})
        visitor = office.visitor()
        (path,) = re.findall(r'href="(/secure/files/[^"]+)"', visitor.ask(page_of(id)).text)
        shown = visitor.ask(path)
        assert shown.octets == b"<script>alert(1)</script>"
        assert shown.header("content-type") == "application/octet-stream"
        assert shown.header("content-disposition") == 'attachment; filename="page.html"'
        assert "sandbox" in shown.header("content-security-policy")

    def test_what_a_subject_hides_is_shown(self, office: Office) -> None:
        id = office.send(subject="<i>Invoice</i> \u202egnp.exe ❤️")
        visitor = office.visitor()
        for path in ("/secure/inbox", page_of(id), page_of(id, "/delete"), page_of(id, "/reply")):
            text = visitor.ask(path).text
            assert "&lt;i&gt;Invoice&lt;/i&gt; \\u202egnp.exe ❤️" in text, path

    def test_the_inbox_is_of_sixty_days_and_search_finds_older(self, office: Office) -> None:
        office.send(subject="Old")
        office.served.lab.advance(days=70)
        office.served.server.portal.clock.offset = office.served.lab.server.clock.offset
        office.send(subject="New")
        visitor = office.visitor()
        inbox = visitor.ask("/secure/inbox").text
        assert "New" in inbox
        assert ">Old<" not in inbox
        assert ">Old<" in visitor.ask("/secure/inbox?q=old").text
        assert ">Old<" in visitor.ask("/secure/inbox?since=2000-01-01").text
        assert visitor.ask("/secure/inbox?since=yesterday").status == 400

    @pytest.mark.parametrize("query", ["q=%2A%2A%2A", "q=" + "a+" * 3_000, "since=soon", "until=9999-12-31"])
    def test_a_search_that_cannot_be_made_says_so_where_it_was_typed(self, office: Office, query: str) -> None:
        office.send()
        shown = office.visitor().ask(f"/secure/inbox?{query}")
        assert shown.status == 400
        assert heading(shown) == "Inbox"
        assert alert(shown)
        assert '<input id="q"' in shown.text
        assert "Your contract" not in shown.text
        assert "Nothing was found." not in shown.text

    @pytest.mark.parametrize("path", ["/secure/messages/x", "/secure/messages/..%2f..", "/secure/files/%00"])
    def test_an_id_that_is_none(self, office: Office, path: str) -> None:
        office.send()
        shown = office.visitor().ask(path)
        assert (shown.status, heading(shown), alert(shown)) == (404, "Page not found", "There is no such page.")

    def test_pages_of_a_folder(self, office: Office) -> None:
        for number in range(52):
            office.send(subject=f"Number {number}")
        visitor = office.visitor()
        page = visitor.ask("/secure/inbox")
        assert page.text.count('<a href="/secure/messages/') == 50
        (token,) = re.findall(r'name="page" value="([^"]*)"', page.text)
        following = visitor.ask(f"/secure/inbox?page={token}")
        assert following.text.count('<a href="/secure/messages/') == 2
        assert "Newer" in following.text
        assert visitor.ask("/secure/inbox?page=x").status in (400, 404)


class TestRestrictions:
    """Those of the sender are the server's, whatever form is sent."""

    def forged(self, visitor: Visitor, path: str, **fields: str) -> Shown:
        """A form that no page offered."""
        csrf = visitor.ask("/secure/inbox").fields("/log-out")["csrf"]
        return visitor.ask(path, {"csrf": csrf, **fields})

    def test_no_print_no_reply(self, office: Office) -> None:
        id = office.send(option="no-print-no-reply")
        visitor = office.visitor()
        assert visitor.ask(page_of(id, "/reply")).status == 403
        assert self.forged(visitor, page_of(id, "/print")).status == 403
        assert self.forged(visitor, page_of(id, "/reply"), step="send", text="x", request_id="1").status == 403
        assert office.ask(LIST, {"folder": "inbox"}, by=ANN).rows == []

    def test_recalled(self, office: Office) -> None:
        id = office.send()
        visitor = office.visitor()
        page = visitor.ask(page_of(id))
        office.ask(RECALL, {"id": id})
        assert "recalled" in body_of(visitor, page).text, "the open page loses it"
        assert visitor.ask(page_of(id)).status == 410
        for act in ("/print", "/reply", "/mark", "/delete"):
            assert self.forged(visitor, page_of(id, act), step="send", text="x", request_id="1").status == 410
        assert "Your contract" not in visitor.ask("/secure/inbox").text

    def test_expired(self, office: Office) -> None:
        id = office.send()
        visitor = office.visitor()
        office.ask(EXPIRE, {"id": id})
        page = visitor.ask(page_of(id))
        assert "This message has expired." in page.text
        assert "Please sign." in body_of(visitor, page).text
        assert self.forged(visitor, page_of(id, "/print")).status == 200
        assert visitor.ask(page_of(id, "/reply")).status == 403
        assert self.forged(visitor, page_of(id, "/reply"), step="send", text="x", request_id="1").status == 400
        assert self.forged(visitor, page_of(id, "/delete")).status == 303

    def test_lite_has_no_composing(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home", settings='mode = "lite"', section="secure") as served:
            office = Office(served)
            office.send()
            visitor = office.visitor()
            assert "Compose" not in visitor.ask("/secure/inbox").text
            assert visitor.ask("/secure/compose").status == 403
            assert self.forged(visitor, "/secure/compose", step="send", to=ANN, option="no-print").status >= 400

    def test_switched_off(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home", settings='mode = "off"', section="secure") as served:
            shown = inside(Office(served)).ask("/secure/inbox")
            assert shown.status == 403
            assert "switched off" in alert(shown)

    def test_actions_that_the_account_switches_off(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home", settings="print = false\ndelete = false", section="secure") as served:
            office = Office(served)
            id = office.send()
            visitor = office.visitor()
            page = visitor.ask(page_of(id))
            assert not {"Print", "Delete"} & set(re.findall(r">([A-Z][a-z]+)</(?:a|button)>", page.text))
            assert visitor.ask(page_of(id, "/delete")).status == 404
            assert self.forged(visitor, page_of(id, "/delete")).status == 403


class TestScanners:
    def test_fetching_every_link_of_every_mail_changes_nothing(self, office: Office) -> None:
        office.send()
        office.send(to=f"{OTHER} {CLIENT}", subject="Both")
        visitor = Visitor(office.served)
        visitor.submit(visitor.ask("/password/forgotten"), "/password/forgotten", address=CLIENT)
        until = time.monotonic() + 20
        while (len(written_to(office.served.lab, CLIENT)) < 3 or undelivered(office)) and time.monotonic() < until:
            time.sleep(0.05)
        links = {
            link for address in (CLIENT, OTHER) for mail in written_to(office.served.lab, address)
            for link in links_in(mail)
        }  # fmt: skip
        assert len(links) == 4
        before = everything(office)
        for link in links:
            for method in ("GET", "HEAD") * 10:
                scanner = Visitor(office.served)
                shown = scanner.ask(link, method=method)
                assert shown.status == 303
                assert scanner.follow(shown.header("location")).status == 200
        assert everything(office) == before


def everything(office: Office) -> dict[str, list[Any]]:
    """Every row that there is, but for how late it was noted to be."""
    with office.served.lab.server.database.read() as tx:
        return {
            table.name: [tuple(row) for row in tx.execute(select(table))]
            for table in metadata.sorted_tables
            if table.name != "facts"
        }
