"""Mailboxes through the door: folders, what Mimecast's archive functions take and refuse, and its XML queries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest
from sqlalchemy import select

from asking import Asking, Told, asking
from conftest import ADMIN, ANN, BOB, Lab, mail_of
from mimeportal import limits
from mimeportal.portal import Portal
from mimeportal_server import apps, backup, people
from mimeportal_server.arrival import accept
from mimeportal_server.embedded import EmbeddedTransport
from mimeportal_server.incoming import parse
from mimeportal_server.lab import empty
from mimeportal_server.store.schema import audit, audit_details

MESSAGES, BROWSE = "/api/archive/get-message-list", "/api/portal/messages/browse"
DETAIL, PART = "/api/archive/get-message-detail", "/api/archive/get-message-part"
FILE, SEARCH = "/api/archive/get-file", "/api/archive/search"
NOT_ALLOWED = "err_validation_value_not_allowed"
APPOINT = "/api/user/add-delegate-user"


@pytest.fixture
def ask(lab: Lab) -> Iterator[Asking]:
    with asking(lab) as ask:
        yield ask


def deliver(lab: Lab, subject: str = "Hello", *, to: str = ANN, **more: str) -> None:
    sender = more.pop("sender", "pen@pal.example")
    (result,) = lab.receive(mail_of(sender, subject, to=to, **more), to=to, reason=None)
    assert result.outcome == "delivered"


def send(lab: Lab, subject: str, to: str = "out@elsewhere.example") -> None:
    """Ann writes to somebody outside, as through the submission door."""
    with lab.server.database.read() as tx:
        ann = people.caller_of(tx, ANN, "smtp")
    message = parse(
        mail_of(ANN, subject, to=to), ANN, recipients=[], received=lab.server.clock.now(), by=ann, outside=[to]
    )
    accept(lab.server, [message], door="smtp")


def subjects(told: Told) -> list[str]:
    return [row["subject"] for row in told.rows]


def one(ask: Asking) -> str:
    (row,) = ask(MESSAGES, {}, by=ANN).rows
    return str(row["id"])


class TestFolders:
    def test_views_in_any_case(self, lab: Lab, ask: Asking) -> None:
        deliver(lab, "came")
        send(lab, "went")
        for view in ("INBOX", "Inbox", "inbox", None):
            assert subjects(ask(MESSAGES, {"view": view}, by=ANN)) == ["came"]
        (row,) = ask(MESSAGES, {"view": "Sent"}, by=ANN).rows
        assert (row["subject"], row["to"]["emailAddress"]) == ("went", "out@elsewhere.example")
        assert ask(MESSAGES, {"view": "DRAFTS"}, by=ANN).code == NOT_ALLOWED

    def test_the_last_30_days_unless_start_says_otherwise(self, lab: Lab, ask: Asking) -> None:
        deliver(lab, "old")
        lab.advance(days=31)
        deliver(lab, "new")
        with asking(lab) as later:
            assert subjects(later(MESSAGES, {}, by=ANN)) == ["new"]
            assert subjects(later(BROWSE, {"folder": "inbox"}, by=ANN)) == ["new"]
            assert subjects(later(BROWSE, {}, by=ANN)) == ["new", "old"]
            assert subjects(later(MESSAGES, {"start": "2020-01-01T00:00:00+0000"}, by=ANN)) == ["new", "old"]
            assert subjects(later(MESSAGES, {"end": "2020-01-01T00:00:00+0000"}, by=ANN)) == []

    def test_pages(self, lab: Lab, ask: Asking) -> None:
        for number in range(5):
            deliver(lab, str(number))
        for path, item in ((MESSAGES, {}), (BROWSE, {"folder": "inbox"}), (BROWSE, {"words": "pal"})):
            first = ask(path, item, by=ANN, size=2)
            second = ask(path, item, by=ANN, token=first.page["next"])
            last = ask(path, item, by=ANN, token=second.page["next"])
            assert [len(page.rows) for page in (first, second, last)] == [2, 2, 1]
            assert "next" not in last.page
            assert sorted(subjects(first) + subjects(second) + subjects(last)) == [*"01234"]
            assert ask(path, item, by=BOB, token=first.page["next"]).code == "xdk_failure"

    def test_pages_by_rank_are_not_moved_by_what_arrives(self, lab: Lab, ask: Asking) -> None:
        for number in range(4):
            deliver(lab, f"{number} " + "same words here " * (4 - number))
        first = ask(BROWSE, {"words": "same"}, by=ANN, size=2)
        deliver(lab, "same same same same same")
        rest = ask(BROWSE, {"words": "same"}, by=ANN, token=first.page["next"])
        assert sorted(subject[0] for subject in subjects(first) + subjects(rest)) == [*"0123"]

    def test_mail_to_two_of_the_portal_s_people_lies_with_both(self, lab: Lab, ask: Asking) -> None:
        with lab.server.database.read() as tx:
            both = [(int(person.id), address) for address in (ANN, BOB) if (person := people.find(tx, address))]
        accept(lab.server, [parse(mail_of(subject="both"), None, recipients=both, received=1)], door="test")
        listed = [ask(BROWSE, {}, by=who).row for who in (ANN, BOB)]
        assert [row["to"][0]["emailAddress"] for row in listed] == [ANN, BOB]
        assert listed[0]["id"] != listed[1]["id"]

    def test_held_mail_lies_in_none_until_it_is_released(self, lab: Lab, ask: Asking) -> None:
        lab.receive(mail_of(subject="held"))
        assert subjects(ask(BROWSE, {}, by=ANN)) == []
        ask.decide(ask.one(), by=ANN)
        assert subjects(ask(MESSAGES, {}, by=ANN)) == ["held"]

    def test_delegates_have_it_all_and_may_list_both_at_once(self, lab: Lab, ask: Asking) -> None:
        deliver(lab, "ann's")
        deliver(lab, "bob's", to=BOB)
        assert ask(MESSAGES, {"mailbox": ANN}, by=BOB).errors
        ask(APPOINT, {"primaryAddress": ANN, "delegateAddress": BOB}, by=ANN)
        assert subjects(ask(MESSAGES, {"mailbox": ANN}, by=BOB)) == ["ann's"]
        assert subjects(ask(MESSAGES, {}, by=BOB)) == ["bob's"]
        assert subjects(ask(MESSAGES, {"includeDelegates": True}, by=BOB)) == ["bob's", "ann's"]
        assert subjects(ask(BROWSE, {"words": "hello", "mailbox": ANN}, by=BOB)) == ["ann's"]
        assert ask(DETAIL, {"id": one(ask)}, by=BOB).row["subject"] == "ann's"

    @pytest.mark.parametrize(
        ("item", "found"),
        [
            ({"from": "pal.example"}, ["first"]),
            ({"from": "shop"}, ["second"]),
            ({"to": ANN}, ["second", "first"]),
            ({"subject": "IRS"}, ["first"]),
            ({"attachments": True}, []),
            ({"attachments": False}, ["second", "first"]),
            ({"largerThan": 10_000}, []),
            ({"folder": "junk"}, []),
            ({"words": "hello", "from": "shop"}, ["second"]),
        ],
        ids=str,
    )
    def test_filters(self, lab: Lab, ask: Asking, item: dict[str, object], found: list[str]) -> None:
        deliver(lab, "first")
        deliver(lab, "second", sender="offers@shop.example")
        assert subjects(ask(BROWSE, item, by=ANN)) == found

    @pytest.mark.parametrize(
        ("item", "field"),
        [
            ({"folder": "drafts"}, "folder"),
            ({"subject": "x" * (limits.PATTERN + 1)}, "subject"),
            ({"words": "x" * (limits.SEARCH_TEXT + 1)}, "words"),
            ({"words": "x " * (limits.SEARCH_TERMS + 1)}, "words"),
            ({"words": '?!  "..." ()'}, "words"),
            ({"from": "@"}, "from"),
        ],
        ids=lambda value: str(value)[:30],
    )
    def test_what_is_refused_by_name(self, ask: Asking, item: dict[str, str], field: str) -> None:
        (failure,) = ask(BROWSE, item, by=ANN).json["fail"]
        assert [(error["code"], error["field"]) for error in failure["errors"]] == [(NOT_ALLOWED, field)]


class TestContent:
    HTML = (
        '<p onclick="x()">Hello <b style="color:red">Ann</b><img src="cid:pic"><img src="http://track.example/p">'
        "<script>alert(1)</script></p>"
    )
    PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

    def both(self, lab: Lab, ask: Asking) -> str:
        body = (
            "--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\nplain text\n--c\n"
            f"Content-Type: text/html\n\n{self.HTML}\n--c--\n--b\nContent-Type: image/png\nContent-ID: <pic>\n"
            f"Content-Transfer-Encoding: base64\n\n{self.PNG}\n--b--\n"
        )
        deliver(lab, "both", extra="MIME-Version: 1.0\nContent-Type: multipart/related; boundary=b\n", body=body)
        return one(ask)

    def html_only(self, lab: Lab, ask: Asking) -> str:
        deliver(lab, "html", extra="MIME-Version: 1.0\nContent-Type: text/html\n", body="<p>Hello <b>Ann</b></p>\n")
        return one(ask)

    def test_detail(self, lab: Lab, ask: Asking) -> None:
        deliver(lab, body="word " * 100)
        id = one(ask)
        for context in ("DELIVERED", "RECEIVED", None):
            row = ask(DETAIL, {"id": id, "context": context, "admin": True, "wantHeaders": True}, by=ANN).row
            assert row["messageBodyPreview"] == ("word " * 20)[:100]
            assert (row["hasTextBody"], row["hasHtmlBody"]) == (True, False)
        assert ask(DETAIL, {"id": id, "context": "SENT"}, by=ANN).errors == [
            (NOT_ALLOWED, "Field must be one of [DELIVERED,RECEIVED]")
        ]
        assert ask(DETAIL, {"id": row["smash"]}, by=ANN).errors == [("xdk_failure", "0007 Invalid token")]

    def test_an_id_of_another_kind_is_none(self, lab: Lab, ask: Asking) -> None:
        lab.receive(mail_of())
        assert ask(DETAIL, {"id": ask.one()}, by=ANN).code == "xdk_failure"
        assert ask(FILE, {"id": ask.one()}, by=ANN).code == "xdk_failure"

    def test_html_alone_is_no_text_part(self, lab: Lab, ask: Asking) -> None:
        id = self.html_only(lab, ask)
        row = ask(DETAIL, {"id": id}, by=ANN).row
        assert (row["hasTextBody"], row["hasHtmlBody"], row["messageBodyPreview"]) == (False, True, "Hello Ann")
        assert ask(PART, {"id": id, "type": "PLAIN"}, by=ANN).code == "not_found"
        assert ask(PART, {"id": id, "type": "plain", "extractFromHtml": True}, by=ANN).octets == b"Hello Ann"

    def test_parts(self, lab: Lab, ask: Asking) -> None:
        id = self.both(lab, ask)

        def part(kind: str, **more: object) -> bytes:
            return ask(PART, {"id": id, "type": kind, **more}, by=ANN).octets

        whole = part("RFC822")
        assert b"Subject: both" in whole
        assert whole.endswith(part("TRANSMISSION_MESSAGE_BODY"))
        assert part("TRANSMISSION_MESSAGE_BODY").startswith(b"--b\nContent-Type: multipart/alternative")
        assert part("PLAIN", mailbox=ANN, context="RECEIVED") == b"plain text"
        assert part("PLAIN", extractFromHtml=True).startswith(b"Hello Ann")
        assert part("HTML").decode() == self.HTML

    def test_html_made_safe(self, lab: Lab, ask: Asking) -> None:
        id = self.both(lab, ask)

        def safe(**more: bool) -> str:
            item = {"id": id, "type": "HTML", "stripDangerous": True, **more}
            return ask(PART, item, by=ANN).octets.decode()

        for text in (safe(), safe(stripImg=True), safe(stripStyles=True), safe(transposeInlineCID=True)):
            assert not any(word in text for word in ("onclick", "script", "style", "cid:"))
        assert 'src="http://track.example/p"' in safe()
        assert "track.example" not in safe(stripImg=True)
        assert "data:" not in safe()
        assert f"data:image/png;base64,{self.PNG}" in safe(transposeInlineCID=True)
        assert "data:" not in safe(transposeInlineCID=True, stripImg=True)

    def test_html_too_deep_to_be_made_safe_is_its_text(self, lab: Lab, ask: Asking) -> None:
        deep = "<div>" * (limits.HTML_DEPTH + 1) + "<script>alert(1)</script>deep"
        deliver(lab, "deep", extra="Content-Type: text/html\n", body=deep)
        told = ask(PART, {"id": one(ask), "type": "HTML", "stripDangerous": True}, by=ANN)
        assert told.octets == b"<pre>deep</pre>"

    @pytest.mark.parametrize(
        ("kind", "flag"),
        [
            ("PLAIN", "stripDangerous"),
            ("HTML", "extractFromHtml"),
            ("HTML", "stripImg"),
            ("HTML", "stripStyles"),
            ("HTML", "transposeInlineCID"),
            ("RFC822", "stripDangerous"),
        ],
    )
    def test_a_flag_that_could_do_nothing_is_refused_by_name(self, lab: Lab, ask: Asking, kind: str, flag: str) -> None:
        told = ask(PART, {"id": self.both(lab, ask), "type": kind, flag: True}, by=ANN)
        ((code, message),) = told.errors
        assert code == NOT_ALLOWED
        assert message.startswith(f"{flag} goes with")
        assert ask(PART, {"id": one(ask), "type": kind, flag: False}, by=ANN).code == ""

    def test_a_type_that_is_none(self, lab: Lab, ask: Asking) -> None:
        deliver(lab)
        assert ask(PART, {"id": one(ask), "type": "PDF"}, by=ANN).code == NOT_ALLOWED
        assert ask(PART, {"id": one(ask)}, by=ANN).code == "err_validation_null"

    def test_the_audit_tells_who_saw_what(self, lab: Lab, ask: Asking) -> None:
        deliver(lab, "seen")
        id = one(ask)
        for path, more in ((DETAIL, {}), (PART, {"type": "PLAIN"}), (FILE, {})):
            ask(path, {"id": id, **more}, by=ADMIN)
        ask(DETAIL, {"id": id}, by=BOB)  # who may not
        seen = select(audit.c.action, audit.c.object_kind, audit_details.c.detail).join(audit_details)
        with ask.portal.database.read() as tx:
            rows = tx.execute(seen.where(audit.c.action.in_(("view", "download"))).order_by(audit.c.id)).all()
        assert [(row.action, row.object_kind) for row in rows] == [
            ("view", "mailbox"),
            ("view", "mailbox"),
            ("download", "mailbox"),
        ]
        assert {json.loads(row.detail)["subject"] for row in rows} == {"seen"}


class TestQueries:
    """archive/search (mimecast-api-portal 2.5)."""

    @pytest.fixture
    def filled(self, lab: Lab, ask: Asking) -> Asking:
        deliver(lab, "your invoice", sender="billing@sender.example", body="the sum is due\n")
        deliver(lab, "hello again", sender="pal@below.sender.example", body="about that invoice\n")
        deliver(lab, "for bob", to=BOB)
        send(lab, "a reply")
        return ask

    def found(self, ask: Asking, muse: str = "", metadata: str = "", *, by: str = ANN, **more: object) -> list[str]:
        told = ask(SEARCH, {"query": query(muse, metadata), **more}, by=by)
        (row,) = told.rows
        assert isinstance(row["queryDuration"], int)
        return [item["subject"] for item in row["items"]]

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("invoice", {"your invoice", "hello again"}),
            ("INVOICE sum", {"your invoice"}),
            ("subject: your invoice", {"your invoice"}),
            ("subject: invoice your", {"your invoice"}),
            ("(body: invoice)", {"hello again"}),
            ("body:invoice subject:hello", {"hello again"}),
            ("from:billing or from:pal", {"your invoice", "hello again"}),
            ("from:billing@sender.example", {"your invoice"}),
            ("(subject: your) or (body: about that)", {"your invoice", "hello again"}),
            ('"sum is due"', {"your invoice"}),
            ('"due is sum"', set()),
            ("to:elsewhere", {"a reply"}),
            ("to:a@elsewhere.example", set()),
            ("or or invoice ) (", {"your invoice", "hello again"}),
            ("nothing AND NOT NEAR", set()),
        ],
    )
    def test_texts_as_clients_write_them(self, filled: Asking, text: str, found: set[str]) -> None:
        assert set(self.found(filled, f"<text>{escape(text)}</text>")) == found

    def test_newest_first(self, filled: Asking) -> None:
        assert self.found(filled) == ["a reply", "hello again", "your invoice"]

    @pytest.mark.parametrize(
        ("sent", "found"),
        [
            ('<sent select="from">billing@sender.example</sent>', ["your invoice"]),
            ('<sent select="from">sender.example</sent>', ["hello again", "your invoice"]),
            ('<sent select="to">elsewhere.example</sent>', ["a reply"]),
            ('<sent select="from">example.com</sent><sent select="to">out@elsewhere.example</sent>', ["a reply"]),
            ('<sent select="to"></sent>', ["a reply", "hello again", "your invoice"]),
            ('<received select="to">nobody@x.example</received>', ["a reply", "hello again", "your invoice"]),
        ],
    )
    def test_senders_and_recipients(self, filled: Asking, sent: str, found: list[str]) -> None:
        assert self.found(filled, sent) == found

    @pytest.mark.parametrize(
        ("date", "found"),
        [
            ('<date select="between" from="2020-01-01T00:00:00+0000"/>', True),
            ('<date select="between" to="2020-01-01T00:00:00+0000"/>', False),
            ('<date select="between" from="2099-01-01T00:00:00+0000" to="2099-02-01T00:00:00Z"/>', False),
            ('<date select="last_year"/>', True),
            ('<date select="last_month"/>', True),
            ('<date select="last_week"/>', True),
            ('<date select="today"/>', True),
            ('<date select="yesterday"/>', False),
            ("<date/>", True),
        ],
    )
    def test_dates(self, filled: Asking, date: str, found: bool) -> None:
        assert bool(self.found(filled, date)) == found

    def test_names_of_attachments(self, lab: Lab, filled: Asking) -> None:
        body = "--b\nContent-Disposition: attachment; filename=July-2027.pdf\n\nx\n--b--\n"
        deliver(lab, "attached", extra="Content-Type: multipart/mixed; boundary=b\n", body=body)
        assert self.found(filled, '<docs select="optional">july</docs>') == ["attached"]

    def test_the_way_it_travelled(self, filled: Asking) -> None:
        assert self.found(filled, "<route>outbound</route>") == ["a reply"]

    def test_whose(self, lab: Lab, filled: Asking) -> None:
        bobs = "<mailboxes><mailbox include-aliases='true'>bob@example.com</mailbox></mailboxes>"
        assert self.found(filled, by=BOB) == ["for bob"]
        assert self.found(filled, metadata=bobs, by=ADMIN) == ["for bob"]
        assert len(self.found(filled, by=ADMIN, admin=True)) == 4
        assert self.found(filled, by=ADMIN) == []  # her own
        with lab.server.write() as tx:
            apps.add(lab.server, tx, "robot", role="administrator", scopes=(), content_view=True)
        assert self.found(filled, metadata=bobs, by="app:robot") == []  # as recorded: no rows, and no error
        assert self.found(filled, metadata=bobs, by="app:robot", admin=True) == ["for bob"]

    def test_fields_that_were_asked_for_and_pages(self, filled: Asking) -> None:
        fields = "<return-fields><return-field>size</return-field><return-field>id</return-field></return-fields>"
        text = query("", fields).replace("<metadata", '<metadata page-size="2" startrow="0"')
        told = filled(SEARCH, {"query": text}, by=ANN)
        items = told.row["items"]
        assert [sorted(item) for item in items] == [["id", "size"]] * 2
        rest = filled(SEARCH, {"query": text}, by=ANN, token=told.page["next"])
        assert len({item["id"] for item in items + rest.row["items"]}) == 3

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "invoice",
            "<xmlquery>",
            "<other/>",
            '<!DOCTYPE xmlquery SYSTEM "http://evil.example/x.dtd"><xmlquery/>',
            '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><xmlquery><muse><text>&b;</text></muse></xmlquery>',
            "<xmlquery><muse><text>&undefined;</text></muse></xmlquery>",
            "<xmlquery>" * 20 + "</xmlquery>" * 20,
            "<xmlquery><muse><text>\x01</text></muse></xmlquery>",
        ],
    )
    def test_what_is_no_query(self, ask: Asking, text: str) -> None:
        assert ask(SEARCH, {"query": text}, by=ANN).code == "err_invalid_search_xml"

    @pytest.mark.parametrize(
        ("muse", "metadata", "field"),
        [
            ('<date select="some_day"/>', "", "date.select"),
            ('<sent select="cc">x@y.example</sent>', "", "sent.select"),
            ("", "<return-fields><return-field>body</return-field></return-fields>", "return-field"),
            (f"<text>{'(' * 30}x</text>", "", "text"),
            ("<text>?!</text>", "", "text"),
            (f"<text>{'word ' * 101}</text>", "", "text"),
            (f"<text>{'x' * 5000}</text>", "", "text"),
            ("<docs>?!</docs>", "", "docs"),
            (f"<text>{'x' * limits.SEARCH_QUERY}</text>", "", "query"),
            ('<sent select="from">a.example</sent>' * (limits.SEARCH_ADDRESSES + 1), "", "sent"),
            ('<sent select="to">a@a.example</sent>' * 1500, "", "sent"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_what_is_refused_by_name(self, ask: Asking, muse: str, metadata: str, field: str) -> None:
        (failure,) = ask(SEARCH, {"query": query(muse, metadata)}, by=ANN).json["fail"]
        assert [(error["code"], error["field"]) for error in failure["errors"]] == [(NOT_ALLOWED, field)]

    @pytest.mark.parametrize("select", ["from", "to"])
    def test_as_many_addresses_as_a_query_may_name(self, filled: Asking, select: str) -> None:
        text = f'<sent select="{select}">a@a.example</sent>' * limits.SEARCH_ADDRESSES
        assert filled(SEARCH, {"query": query(text)}, by=ANN).row["items"] == []

    @pytest.mark.parametrize("attribute", ["page-size='x'", "page-size='0'", "startrow='25'"])
    def test_rows_that_are_counted(self, ask: Asking, attribute: str) -> None:
        text = query("").replace("<metadata", f"<metadata {attribute}")
        assert ask(SEARCH, {"query": text}, by=ANN).code == NOT_ALLOWED

    def test_a_date_that_is_none(self, ask: Asking) -> None:
        text = query(f'<date select="between" from={quoteattr("<tomorrow>")}/>')
        assert ask(SEARCH, {"query": text}, by=ANN).code == "err_validation_invalid_date"


def query(muse: str, metadata: str = "") -> str:
    return (
        f'<?xml version="1.0"?><xmlquery trace="iql,muse"><metadata query-type="emailarchive" archive="true">{metadata}'
        f"</metadata><muse>{muse}</muse></xmlquery>"
    )


def without_archive(lab: Lab) -> None:
    settings = lab.path / "portal.toml"
    text = settings.read_text()
    assert "archiving = true" in text
    settings.write_text(text.replace("archiving = true", "archiving = false"))


class TestOverdue:
    """A hold that is over its time is found, whether or not a sweep has run (portal-rules B.4)."""

    @pytest.mark.parametrize("archiving", [True, False])
    def test_found_where_there_is_an_archive(self, lab: Lab, archiving: bool) -> None:
        if not archiving:
            without_archive(lab)
        lab.receive(mail_of(subject="undecided"))
        with asking(lab) as ask:
            assert self.all_ways(ask) == [[], [], []]
            assert len(ask.held()) == 1
        lab.advance(days=15)
        with asking(lab) as ask:
            assert self.all_ways(ask) == [["undecided"] * archiving] * 3
            assert ask.held() == []
            assert subjects(ask(MESSAGES, {}, by=ANN)) == []  # found by search alone

    def all_ways(self, ask: Asking) -> list[list[str]]:
        found = ask(SEARCH, {"query": query("<text>undecided</text>")}, by=ANN).row["items"]
        everyone = ask(BROWSE, {"words": "undecided", "everyone": True}, by=ADMIN)
        return [
            [row["subject"] for row in found],
            subjects(ask(BROWSE, {"words": "undecided"}, by=ANN)),
            subjects(everyone),
        ]

    def test_only_once(self, lab: Lab) -> None:
        lab.receive(mail_of(subject="undecided"))
        lab.advance(days=15)
        with asking(lab) as ask:
            self.all_ways(ask)
            self.all_ways(ask)
            from mimeportal_server import keeping

            assert keeping.sweep(ask.portal)["expired"] == 0
            assert self.all_ways(ask) == [["undecided"]] * 3

    def test_while_the_clock_is_not_believed_nothing_expires(self, lab: Lab) -> None:
        lab.receive(mail_of(subject="undecided"))
        with asking(lab) as ask:
            lab.step(days=15)
            assert self.all_ways(ask) == [[], [], []]

    def test_what_is_purged_is_found_no_more(self, lab: Lab) -> None:
        from mimeportal_server import keeping

        without_archive(lab)
        deliver(lab, "gone soon")
        with asking(lab) as ask:
            for _ in range(2):  # it is delivered by the first, and marked by the second
                keeping.sweep(ask.portal)
            id = one(ask)
            assert subjects(ask(BROWSE, {"words": "soon"}, by=ANN)) == ["gone soon"]
        lab.advance(days=1.5)
        with asking(lab) as ask:
            keeping.sweep(ask.portal)
            assert subjects(ask(BROWSE, {"words": "soon"}, by=ANN)) == subjects(ask(BROWSE, {}, by=ANN)) == []
            assert ask(DETAIL, {"id": id}, by=ANN).code == "not_found"
            with ask.portal.database.read() as tx:
                assert tx.exec_driver_sql("SELECT count(*) FROM words WHERE words MATCH 'soon'").scalar() == 0


def test_what_is_restored_is_found_as_before(lab: Lab, ask: Asking, tmp_path: Path) -> None:
    deliver(lab, "kept")
    backup.backup(lab.server, tmp_path / "one.backup")
    home = backup.restore(tmp_path / "one.backup", tmp_path / "restored")
    home.close()
    transport = EmbeddedTransport(home.path, ANN, wall=lambda: lab.time)
    with Portal(transport) as portal:
        (row,) = portal.messages.search("kept")
        assert portal.messages.get(row.id).subject == "kept"


def test_an_emptied_portal_finds_nothing(lab: Lab, ask: Asking) -> None:
    deliver(lab, "gone")
    empty(lab.server)
    assert subjects(ask(BROWSE, {"words": "gone"}, by=ANN)) == []
    deliver(lab, "come")  # whose number is that of the first
    assert subjects(ask(BROWSE, {"words": "gone"}, by=ANN)) == []
    assert subjects(ask(BROWSE, {"words": "come"}, by=ANN)) == ["come"]


def test_the_same_octets_twice_are_found_twice(lab: Lab, ask: Asking) -> None:
    for _ in range(2):
        deliver(lab, "same")
    assert subjects(ask(BROWSE, {"words": "same"}, by=ANN)) == ["same", "same"]
