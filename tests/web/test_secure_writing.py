"""The pages that write secure messages: replies, new ones with their options, and files that come along."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from writing import CLIENT, OTHER, PASSWORD, RECALL, Office, alert, compose, heading, inside, multipart, page_of

from browsing import Shown, Visitor, chromium, links_in, written_to
from conftest import ANN, BOB
from mimeportal_server.store.schema import secure_copies, uploads
from served import serving

MIB = 1024 * 1024


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with serving(tmp_path / "home") as served:
        yield Office(served)


class TestWriting:
    def test_a_reply_reaches_the_sender_as_mail(self, office: Office) -> None:
        id = office.send()
        visitor = office.visitor()
        page = visitor.ask(page_of(id, "/reply"))
        shown = visitor.submit(page, page_of(id, "/reply"), step="send", text="Signed.")
        assert shown.header("location") == "/secure/sent?done=sent"
        until = time.monotonic() + 20
        while not self.left(office, b"Signed."):
            assert time.monotonic() < until
            time.sleep(0.05)

    def left(self, office: Office, text: bytes) -> bool:
        """Whether mail with a text in it has left the portal."""
        return any(text in path.read_bytes() for path in office.served.lab.outgoing())

    def test_a_reply_to_all(self, office: Office) -> None:
        id = office.send(to=f"{CLIENT} {OTHER}", cc=[{"emailAddress": BOB}])
        visitor = office.visitor()
        before = len(written_to(office.served.lab, OTHER))
        page = visitor.ask(page_of(id, "/reply?all=1"))
        assert "Your answer goes to everybody" in page.text
        visitor.submit(page, page_of(id, "/reply"), step="send", text="Signed by all.")
        assert len(written_to(office.served.lab, OTHER)) == before + 1
        sent = visitor.follow("/secure/sent")
        (path,) = re.findall(r'<a href="(/secure/messages/[^"]*)"', sent.text)
        shown = visitor.ask(path).text
        assert all(address in shown for address in (ANN, OTHER, BOB))

    def test_sent_twice_is_sent_once(self, office: Office) -> None:
        id = office.send()
        visitor = office.visitor()
        page = visitor.ask(page_of(id, "/reply"))
        for _ in range(3):
            assert visitor.submit(page, page_of(id, "/reply"), step="send", text="Signed.").status == 303
        assert visitor.ask("/secure/sent").text.count('<a href="/secure/messages/') == 1

    def test_exactly_one_of_six_options(self, office: Office) -> None:
        office.send()
        visitor = office.visitor()
        options = compose(visitor, visitor.ask("/secure/compose"), to=ANN, subject="Hello", text="Hi")
        assert options.text.count('type="radio"') == 6
        assert "checked" not in options.text
        again = visitor.submit(options, "/secure/compose", step="send")
        assert alert(again) == "Choose one of these options."
        assert visitor.submit(again, "/secure/compose", step="send", option="none").status == 422
        assert visitor.submit(again, "/secure/compose", step="send", option="expire-7d").status == 303

    def test_what_is_wrong_with_a_message_keeps_what_was_written(self, office: Office) -> None:
        office.send()
        visitor = office.visitor()
        page = visitor.ask("/secure/compose")
        shown = compose(visitor, page, to=" ", subject="A ❤️ subject", text="\nA long letter")
        assert alert(shown) == "Name at least one recipient."
        assert 'value="A ❤️ subject"' in shown.text
        assert ">\n\nA long letter</textarea>" in shown.text
        options = compose(visitor, shown, to="stranger@nowhere.example", subject="S", text="Letter")
        failed = visitor.submit(options, "/secure/compose", step="send", option="no-print", text="Letter")
        assert failed.status == 422
        assert alert(failed)
        assert "Letter</textarea>" in failed.text

    def test_what_was_written_is_given_back_when_the_session_has_ended(self, office: Office) -> None:
        id = office.send()
        visitor = office.visitor()
        action = page_of(id, "/reply")
        fields = {**visitor.ask(action).fields(action), "step": "send", "text": "A long <letter>"}
        office.served.lab.time += 9 * 3600
        body, headers = multipart(fields, {"a.bin": b"a" * (2 * MIB)})
        shown = visitor.ask(action, body, headers=headers)
        assert shown.status == 401
        assert "nothing was sent" in alert(shown)
        assert "A long &lt;letter&gt;</textarea>" in shown.text

    def test_what_was_written_is_given_back_when_another_tab_logged_in_anew(self, office: Office) -> None:
        id = office.send()
        visitor = office.visitor()
        action = page_of(id, "/reply")
        page = visitor.ask(action)
        visitor.submit(visitor.ask("/secure/inbox"), "/log-out")
        visitor.log_in(CLIENT, PASSWORD)
        body, headers = multipart({**page.fields(action), "step": "send", "text": "A long <letter>"}, {"a.txt": b"a"})
        shown = visitor.ask(action, body, headers=headers)
        assert shown.status == 403
        assert "nothing was sent" in alert(shown)
        assert "A long &lt;letter&gt;</textarea>" in shown.text
        assert visitor.ask("/secure/sent").text.count('<a href="/secure/messages/') == 0

    def test_what_was_written_is_given_back_when_the_message_was_recalled_meanwhile(self, office: Office) -> None:
        id = office.send()
        visitor = office.visitor()
        action = page_of(id, "/reply")
        page = visitor.ask(action)
        office.ask(RECALL, {"id": id})
        shown = visitor.submit(page, action, step="send", text="A long <letter>")
        assert (shown.status, heading(shown)) == (410, "Nothing was sent")
        assert "recalled" in alert(shown)
        assert "A long &lt;letter&gt;</textarea>" in shown.text

    def test_people_outside_write_to_the_account_s_people_alone(self, office: Office) -> None:
        office.send()
        visitor = office.visitor()
        options = compose(visitor, visitor.ask("/secure/compose"), to=OTHER, subject="S", text="x")
        assert visitor.submit(options, "/secure/compose", step="send", option="no-print").status == 422
        assert not written_to(office.served.lab, OTHER)

    def test_recipients_as_address_books_write_them(self, office: Office) -> None:
        office.send()
        visitor = office.visitor()
        to = f'"Adams, Ann; the first" <{ANN}>, Bob <{BOB}>'
        options = compose(visitor, visitor.ask("/secure/compose"), to=to, subject="S", text="x")
        assert visitor.submit(options, "/secure/compose", step="send", option="no-print").status == 303
        for address in (ANN, BOB):
            assert links_in(written_to(office.served.lab, address)[-1])

    @pytest.mark.parametrize("file", ['{"id": "1", "filename": "a", "size": 1e999}', "[" * 100_000, "{}", "1"])
    def test_a_file_that_no_form_of_ours_names(self, office: Office, file: str) -> None:
        office.send()
        visitor = office.visitor()
        shown = compose(visitor, visitor.ask("/secure/compose"), to=ANN, subject="S", text="x", file=file)
        assert shown.status == 400
        assert "The form cannot be read." in shown.text

    def test_however_long_recipients_are_they_are_read_at_once(self, office: Office) -> None:
        office.send()
        visitor = office.visitor()
        for to in ("a" + " " * 500_000 + "b", '"' * 500_000, "a<" * 250_000):
            page = visitor.ask("/secure/compose")
            fields = {**page.fields("/secure/compose"), "step": "send", "option": "no-print", "to": to}
            began = time.monotonic()
            shown = visitor.ask("/secure/compose", fields)
            assert shown.status == 422
            assert len(alert(shown)) < 1_000
            assert time.monotonic() - began < 10

    def test_published_contacts_are_all_that_people_outside_see(self, tmp_path: Path) -> None:
        settings = f'published_contacts = ["{BOB}"]'
        with serving(tmp_path / "home", settings=settings, section="secure") as served:
            office = Office(served)
            office.send()
            visitor = office.visitor()
            shown = visitor.submit(visitor.ask("/secure/compose"), "/secure/compose", step="contacts", which="global")
            assert set(re.findall(r'name="pick_to" value="([^"]*)"', shown.text)) == {BOB}

    def test_contacts_that_are_ticked(self, office: Office) -> None:
        ann = inside(office)
        shown = ann.submit(ann.ask("/secure/compose"), "/secure/compose", step="contacts", which="global", pick_to=BOB)
        assert f'name="to" value="{BOB}"' in shown.text


class TestAttachments:
    def reply(self, visitor: Visitor, id: str, files: dict[str, bytes], **fields: str) -> Shown:
        page = visitor.ask(page_of(id, "/reply"))
        action = page_of(id, "/reply")
        body, headers = multipart({**page.fields(action), "step": "send", "text": "Signed.", **fields}, files)
        return visitor.ask(action, body, headers=headers)

    def test_up_to_fifty_megabytes(self, office: Office) -> None:
        id = office.send()
        visitor = office.visitor()
        shown = self.reply(visitor, id, {"a.bin": b"a" * (25 * MIB), "b.bin": b"b" * (25 * MIB)})
        assert shown.header("location") == "/secure/sent?done=sent"

    def test_one_octet_more(self, office: Office) -> None:
        id = office.send()
        visitor = office.visitor()
        shown = self.reply(visitor, id, {"a.bin": b"a" * (25 * MIB), "b.bin": b"b" * (25 * MIB + 1)})
        assert shown.status == 422
        assert alert(shown) == "The total attachment size exceeds the 50 MB limit."
        assert "Signed.</textarea>" in shown.text
        self.nothing_sent(office)

    def test_sixty_megabytes(self, office: Office) -> None:
        id = office.send()
        visitor = office.visitor()
        shown = self.reply(visitor, id, {"a.bin": b"a" * (60 * MIB)})
        assert shown.status == 413
        assert heading(shown) == "Too large"
        assert alert(shown) == "The total attachment size exceeds the 50 MB limit."
        assert "Signed.</textarea>" in shown.text, "what was written is given back"
        self.nothing_sent(office)

    def test_a_hundred_files_and_no_more(self, office: Office) -> None:
        id = office.send()
        visitor = office.visitor()
        shown = self.reply(visitor, id, {f"{number}.txt": b"x" for number in range(101)})
        assert shown.status == 400
        self.nothing_sent(office)

    def nothing_sent(self, office: Office) -> None:
        with office.served.lab.server.database.read() as tx:
            assert len(tx.execute(select(secure_copies.c.id).where(secure_copies.c.part == "sender")).all()) == 1
            assert tx.execute(select(uploads.c.id)).all() == []

    def test_the_script_refuses_before_anything_is_sent(self, office: Office, tmp_path: Path) -> None:
        id = office.send()
        visitor = office.visitor()
        large = tmp_path / "large.bin"
        with open(large, "wb") as file:
            file.truncate(51 * MIB)
        with chromium() as browser:
            context = browser.new_context()
            url = office.served.server.http_url
            context.add_cookies([{"name": name, "value": value, "url": url} for name, value in visitor.cookies.items()])
            page = context.new_page()
            page.goto(url + page_of(id, "/reply"))
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.method))
            page.get_by_label("Attach files").set_input_files(large)
            assert page.locator("#files-error").is_visible()
            page.get_by_role("button", name="Send").click()
            page.wait_for_timeout(300)
            assert "POST" not in asked
            assert page.url.endswith("/reply")

    def test_what_was_attached_stays_through_the_steps(self, office: Office) -> None:
        office.send()
        visitor = office.visitor()
        page = visitor.ask("/secure/compose")
        fields = {**page.fields("/secure/compose"), "step": "options", "to": ANN, "subject": "S", "text": "x"}
        body, headers = multipart(fields, {"../a b.txt": b"one", "two.txt": b"two"})
        options = visitor.ask("/secure/compose", body, headers=headers)
        kept = re.findall(r'<input type="hidden" name="file" value="([^"]*)"', options.text)
        assert len(kept) == 2
        back = visitor.resubmit(options, "/secure/compose", step="edit")
        assert "a b.txt" in back.text
        (first, _) = re.findall(r'name="remove" value="([^"]*)"', back.text)
        left = visitor.resubmit(back, "/secure/compose", remove=first, to=ANN, subject="S", text="x")
        assert "a b.txt" not in left.text
        options = visitor.resubmit(left, "/secure/compose", step="options", to=ANN, subject="S", text="x")
        assert visitor.resubmit(options, "/secure/compose", step="send", option="no-print").status == 303
        sent = visitor.follow("/secure/sent")
        (path,) = re.findall(r'<a href="(/secure/messages/[^"]*)"', sent.text)
        assert re.findall(r'download><bdi dir="ltr">([^<]*)<', visitor.ask(path).text) == ["two.txt"]

    def test_another_s_upload_is_not_attached(self, office: Office) -> None:
        id = office.send()
        visitor = office.visitor()
        theirs = office.upload(b"secret of ann's")
        file = f'{{"id": "{theirs}", "filename": "x", "size": 1}}'
        shown = self.reply(visitor, id, {}, file=file)
        assert shown.status == 422
        self_made = self.reply(visitor, id, {}, file="nonsense")
        assert self_made.status == 400
