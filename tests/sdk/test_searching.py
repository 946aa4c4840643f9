"""`portal.messages` on mailboxes: what a caller may write, what is found, and what is refused before it is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from conftest import ADMIN, ANN, BOB, Lab, mail_of
from mimeportal import limits
from mimeportal.errors import ApiError, UsageError
from mimeportal.messages import MailFilter
from mimeportal_server import keeping
from mimeportal_server.store.schema import messages

MULTIPART = 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n'


def found(lab: Lab, words: str, **more: Any) -> list[str]:
    with lab.client() as portal:
        return sorted(row.subject for row in portal.messages.search(words, **more))


class TestSearch:
    @pytest.fixture(autouse=True)
    def mail(self, lab: Lab) -> None:
        for subject, body in (
            ("Zürich", "Grüße aus der Straße, naïve café\n"),
            ("日本の旅", "東京タワーと茶\n"),
            ("Report", "Quarterly figures, user.name@mail.example wrote: AND OR NOT NEAR\n"),
        ):
            lab.receive(mail_of("Pen <pen@pal.example>", subject, body), reason=None)
        part = "--b\nContent-Disposition: attachment; filename=Übersicht-2027.xlsx\n\nx\n--b--\n"
        lab.receive(mail_of(subject="attached", extra=MULTIPART, body=f"--b\n\ntext\n{part}"), reason=None)
        html = "<style>hidden</style><p>Visible <b>text</b></p><script>invisible</script>"
        lab.receive(mail_of(subject="html", extra="Content-Type: text/html\n", body=html), reason=None)

    @pytest.mark.parametrize(
        ("words", "subjects"),
        [
            ("zurich", ["Zürich"]),
            ("GRUSSE strasse", ["Zürich"]),
            ("naive CAFE", ["Zürich"]),
            ("東京", ["日本の旅"]),
            ("タワー", ["日本の旅"]),
            ("茶", ["日本の旅"]),
            ("旅", ["日本の旅"]),
            ("京都", []),
            ("user.name@mail.example", ["Report"]),
            ("name.user@mail.example", []),
            ('"quarterly figures"', ["Report"]),
            ('"figures quarterly"', []),
            ('"quarterly figures', ["Report"]),
            ("and or not near", ["Report"]),
            ("figures OR zurich", []),
            ("fig*", []),
            ("subject:report", []),
            ("pen@pal.example", ["Report", "Zürich", "日本の旅"]),
            ("ubersicht xlsx", ["attached"]),
            ("visible", ["html"]),
            ("hidden", []),
            ("invisible", []),
            ("'; DROP TABLE words; --", []),
            ('a" OR words MATCH "b', []),
            ("{subject} : report", []),
        ],
    )
    def test_words(self, lab: Lab, words: str, subjects: list[str]) -> None:
        assert found(lab, words) == subjects

    def test_the_best_first(self, lab: Lab) -> None:
        lab.receive(mail_of(subject="zebra zebra zebra", body="zebra\n"), reason=None)
        lab.receive(
            mail_of(subject="other", body="a long text with one zebra in it " * 1 + "and more words " * 30), reason=None
        )
        with lab.client() as portal:
            assert [row.subject for row in portal.messages.search("zebra")] == ["zebra zebra zebra", "other"]

    def test_only_the_beginning_of_a_long_text(self, lab: Lab) -> None:
        body = "first " + "filler " * (limits.SEARCHED_TEXT // 7) + " last\n"
        lab.receive(mail_of(subject="long", body=body), reason=None)
        assert found(lab, "first") == ["long"]
        assert found(lab, "last") == []

    def test_without_words_the_newest_first(self, lab: Lab) -> None:
        with lab.client() as portal:
            assert portal.messages.search(has_attachments=True).first(9)[0].subject == "attached"
            assert [row.subject for row in portal.messages.search()][:2] == ["html", "attached"]

    def test_mimecast_s_way_finds_the_same(self, lab: Lab) -> None:
        with lab.client(ADMIN, api="api2") as portal:
            for words in ("zurich", "東京", "user.name@mail.example", '"quarterly figures"', "and or not near"):
                one = sorted(row.subject for row in portal.messages.search(words, mailbox=ANN))
                assert one == found(lab, words), words


class TestPages:
    """A search of several pages is ranked once: here, pages of two."""

    @pytest.fixture(autouse=True)
    def mail(self, lab: Lab) -> None:
        lab.configure("[limits]\npage_size = 2")
        for number in range(3):
            lab.receive(mail_of(subject=f"zebra zebra {number}", body="one lion\n"), reason=None)
            lab.receive(mail_of(subject=f"lion lion {number}", body="one zebra\n"), reason=None)
        for number in range(12):
            body = "only a lion\n" if number < 3 else "neither\n"
            lab.receive(mail_of(subject=f"other {number}", body=body), reason=None)

    def test_what_arrives_moves_none(self, lab: Lab) -> None:
        with lab.client() as portal:
            pages = portal.messages.search("zebra lion").pages()
            seen = [row.subject for row in next(pages).rows]
            assert all(subject.startswith("zebra") for subject in seen), "the rarer word counts for more"
            for number in range(6):  # from now on a lion is the rarer one
                lab.receive(mail_of(subject=f"of bob {number}", body="a zebra\n", to=BOB), to=BOB, reason=None)
            lab.receive(mail_of(subject="zebra lion zebra lion"), reason=None)
            anew = next(portal.messages.search("zebra lion").pages()).rows
            assert not any(row.subject.startswith("zebra zebra") for row in anew)
            seen += [row.subject for page in pages for row in page.rows]
        assert sorted(seen) == [f"{name} {number}" for name in ("lion lion", "zebra zebra") for number in range(3)]

    def test_what_went_is_missing_and_moves_none(self, lab: Lab) -> None:
        with lab.client() as portal:
            pages = portal.messages.search("zebra lion").pages()
            seen = [row.subject for row in next(pages).rows]
            with lab.server.write() as tx:
                gone = messages.c.subject.in_((seen[0], "lion lion 1"))
                tx.execute(messages.update().where(gone).values(purged=lab.server.clock.now()))
            seen += [row.subject for page in pages for row in page.rows]
        assert len(seen) == len(set(seen)) == 5
        assert "lion lion 1" not in seen

    def test_a_page_of_one_s_last_searches(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "SEARCHES_KEPT", 2)
        with lab.client() as portal, lab.client(BOB) as bob:
            first, second, third = (portal.messages.search("zebra").pages() for _ in range(3))
            next(first)
            lab.receive(mail_of(subject="zebra for bob", to=BOB), to=BOB, reason=None)
            next(bob.messages.search("zebra").pages())
            for later in (second, third):
                lab.advance(hours=0.01)
                next(later)
            with pytest.raises(ApiError) as caught:
                next(first)
            assert (caught.value.code, caught.value.remedy) == ("search_over", "Search again.")
            assert len(next(second).rows) == len(next(third).rows) == 2

    def test_for_a_day(self, lab: Lab) -> None:
        with lab.client() as portal:
            pages = portal.messages.search("zebra").pages()
            next(pages)
            lab.advance(hours=limits.SEARCH_HOURS - 0.1)
            keeping.sweep(lab.server)
            next(pages)
            lab.advance(hours=0.2)
            keeping.sweep(lab.server)
            with pytest.raises(ApiError, match="for 24 hours"):
                next(pages)


@pytest.mark.parametrize(
    "arguments",
    [
        {"words": ""},
        {"words": "  "},
        {"words": 7},
        {"words": "x\ud800"},
        {"words": "x", "folder": "drafts"},
        {"words": "x", "mailbox": "nobody"},
        {"words": "x", "mailbox": ANN, "everyone": True},
        {"words": "x", "since": "yesterday"},
        {"words": "x", "since": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"words": "x", "has_attachments": "yes"},
        {"words": "x", "larger_than": True},
        {"words": "x", "colour": "red"},
        {"words": "x", "filter": "red"},
        {"words": "x", "from_": "@"},
    ],
    ids=str,
)
def test_what_is_refused_before_it_is_sent(lab: Lab, arguments: dict[str, Any]) -> None:
    with lab.client() as portal, pytest.raises(UsageError):
        portal.messages.search(**arguments)


@pytest.mark.parametrize(
    "words", ["?!", "word " * 10_000, "x" * 10_000], ids=["signs", "10,000 words", "one long word"]
)
def test_what_the_portal_refuses_by_name(lab: Lab, words: str) -> None:
    with lab.client() as portal, pytest.raises(ApiError) as caught:
        list(portal.messages.search(words))
    assert (caught.value.code, caught.value.field) == ("err_validation_value_not_allowed", "words")


def test_a_filter_and_more_conditions(lab: Lab) -> None:
    for number in range(3):
        lab.receive(mail_of(subject=f"number {number}"), reason=None)
    old = MailFilter(until=datetime(2020, 1, 1, tzinfo=UTC))
    with lab.client() as portal:
        assert list(portal.messages.list(filter=old)) == []
        assert len(list(portal.messages.list(filter=MailFilter(subject="number"), larger_than=10))) == 3
        with pytest.raises(UsageError, match="no folder"):
            portal.messages.list("drafts")
        with pytest.raises(UsageError, match="no part"):
            portal.messages.part("id", "PDF")
        with pytest.raises(UsageError):
            portal.messages.get("")


def test_many_pages(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_SIZE", 2)
    for number in range(5):
        lab.receive(mail_of(subject=f"number {number}"), reason=None)
    with lab.client() as portal:
        assert [row.subject[-1] for row in portal.messages.list()] == [*"43210"]
        assert sorted(row.subject[-1] for row in portal.messages.search("number")) == [*"01234"]
