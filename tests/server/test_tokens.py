"""Ids and page tokens: opaque, sealed, and refused whole when anything about them is wrong (promises E.2, E.4)."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asking import DECIDE, DETAIL, FILE, FIND, LIST, LOG, RELEASE, STATES, Asking
from conftest import ADMIN, ANN, BOB, Lab, mail_of
from mimeportal import limits
from mimeportal_server import people, tokens
from mimeportal_server.tokens import InvalidToken, Sealer

INVALID = [("xdk_failure", "0007 Invalid token")]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """Five messages for ann and five for bob; these tests change nothing."""
    lab = Lab(tmp_path_factory.mktemp("tokens") / "home")
    for number in range(5):
        for to in (ANN, BOB):
            lab.receive(mail_of(subject=f"message {number}", to=to), to=to)
    ask = Asking(lab)
    yield ask
    ask.close()
    lab.server.close()


def unpacked(token: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(zlib.decompress(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))))
    return content


def packed(content: Any, level: int = 9) -> str:
    octets = content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
    packer = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS, 1)
    return base64.urlsafe_b64encode(packer.compress(octets) + packer.flush()).rstrip(b"=").decode()


def tampered(id: str) -> dict[str, str]:
    """What becomes of an id in wrong hands, by name."""
    content = unpacked(id)
    other = "A" if id[40] != "A" else "B"
    return {
        "empty": "",
        "a word": "id",
        "not base64": "e" + "!" * 50,
        "truncated": id[:-10],
        "truncated by one": id[:-1],
        "prolonged": id + "A",
        "padded": id + "==",
        "one letter": id[:40] + other + id[41:],
        "blank around it": f" {id}",
        "another number": packed({**content, "hldqid": str(int(content["hldqid"]) + 1)}),
        "another kind": packed({**content, "tmnd": "mansend"}),
        "no seal": packed({key: value for key, value in content.items() if key != "secureid"}),
        "a seal of null": packed({**content, "secureid": None}),
        "a seal beyond ASCII": packed({**content, "secureid": "é" * 44}),
        "a number that is none": packed({**content, "hldqid": "٣"}),
        "an infinite number": packed({**content, "hldqid": float("inf")}),
        "more keys": packed({**content, "more": 1}),
        "a list": packed([content]),
        "no JSON": packed(b"{"),
        "no UTF-8": packed(b'{"a": "\xff"}'),
        "deep": packed(b"[" * 4000),
        "a bomb": packed(b"0" * 3_000_000),
        "a bomb with a head": packed(json.dumps(content).encode() + b" " * 2_000_000),
        "long": "A" * (limits.OPAQUE_TOKEN + 1),
        "very long": "A" * 500_000,
    }


NAMES = sorted(tampered(Sealer(b"0" * 32).id("hold", 1)))


class TestIds:
    @pytest.mark.parametrize("path", [DETAIL, FILE])
    @pytest.mark.parametrize("name", NAMES)
    def test_a_wrong_id_is_an_invalid_token(self, ask: Asking, name: str, path: str) -> None:
        wrong = tampered(ask.held()[0]["id"])[name]
        told = ask(path, {"id": wrong})
        assert (told.status, told.errors) == (200, INVALID)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_decision_about_a_wrong_id_finds_nothing(self, ask: Asking, name: str) -> None:
        wrong = tampered(ask.held()[0]["id"])[name]
        assert ask(RELEASE, {"id": wrong}).code == "xdk_failure"
        assert ask(DECIDE, {"id": wrong, "decision": "release"}).code == "xdk_failure"
        assert ask(STATES, {"ids": [wrong]}).rows == []
        assert ask(FIND, {"ids": [wrong]}).rows == []

    @pytest.mark.parametrize("kind", ["part", "log", "mansend"])
    def test_an_id_of_another_kind_of_object(self, ask: Asking, kind: str) -> None:
        other = ask.portal.sealer.id(kind, 1)
        assert ask(DETAIL, {"id": other}).errors == INVALID
        assert ask(RELEASE, {"id": other}).code == "xdk_failure"

    def test_an_id_of_another_portal(self, ask: Asking) -> None:
        assert ask(DETAIL, {"id": Sealer(b"another key" * 3).id("hold", 1)}).errors == INVALID

    @pytest.mark.parametrize("tail", ["A", "AA", "AAA", "AAAA", "B", "_"])
    def test_letters_too_many_are_noticed_whatever_the_length(self, tail: str) -> None:
        sealer = Sealer(b"0" * 32)
        for number in range(1, 300):
            with pytest.raises(InvalidToken):
                sealer.number("hold", sealer.id("hold", number) + tail)

    def test_how_it_is_packed_does_not_matter(self, ask: Asking) -> None:
        """Another zlib packs the same text into other octets; an id kept in a plan still names its hold."""
        id = ask.held()[0]["id"]
        content = json.loads(zlib.decompress(base64.urlsafe_b64decode(id + "=" * (-len(id) % 4))))
        assert ask(DETAIL, {"id": packed(content, level=1)}).rows

    def test_an_id_is_the_same_for_everybody(self, ask: Asking) -> None:
        own = {row["id"] for row in ask.held(by=ANN, queue="personal")}
        assert own == {row["id"] for row in ask.held(mailboxes=[ANN])}

    def test_what_fits_is_read(self, ask: Asking) -> None:
        sealer = ask.portal.sealer
        for number in (1, 7, 10**12):
            assert sealer.number("hold", sealer.id("hold", number)) == number

    @settings(max_examples=150, deadline=None)
    @given(text=st.text(max_size=80) | st.binary(max_size=200).map(lambda octets: packed(octets)))
    def test_nothing_made_up_is_taken(self, text: str) -> None:
        sealer = Sealer(b"0" * 32)
        with pytest.raises(InvalidToken):
            sealer.number("hold", text)
        with pytest.raises(InvalidToken):
            sealer.start("1", "query", text)

    @settings(max_examples=100, deadline=None)
    @given(
        key=st.sampled_from(["pagesizeid", "tmtpagetoken", "recordstartid", "previousPage"]),
        value=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20), st.lists, max_leaves=3
        ),
    )
    def test_a_page_token_with_another_field(self, key: str, value: Any) -> None:
        sealer = Sealer(b"0" * 32)
        content = unpacked(sealer.page("1", "query", {"after": 5}, 100, previous=False))
        if key == "previousPage" or content[key] == value:
            return  # nothing is read off it
        with pytest.raises(InvalidToken):
            sealer.start("1", "query", packed({**content, key: value}))


class TestPageTokens:
    def next_of(self, ask: Asking, *, by: str = ADMIN, path: str = LIST, **item: Any) -> str:
        return str(ask(path, item, by=by, size=2).page["next"])

    @pytest.mark.parametrize("name", [name for name in NAMES if name != "empty"])  # that is the first page
    def test_a_wrong_one(self, ask: Asking, name: str) -> None:
        wrong = tampered(ask.held()[0]["id"])[name]
        assert ask(LIST, {"admin": True}, token=wrong).errors == INVALID

    @pytest.mark.parametrize("wrong", [5, True, ["eN"], {"next": "eN"}])
    def test_one_that_is_no_text(self, ask: Asking, wrong: Any) -> None:
        told = ask.send(LIST, {"meta": {"pagination": {"pageToken": wrong}}, "data": [{"admin": True}]})
        assert told.errors == INVALID

    def test_of_another_query(self, ask: Asking) -> None:
        token = self.next_of(ask, admin=True)
        assert len(ask(LIST, {"admin": True}, token=token).rows) == 2
        for item in ({}, {"admin": False}, {"admin": True, "start": "2020-01-01T00:00:00Z"}):
            assert ask(LIST, item, token=token).errors == INVALID

    def test_of_another_list(self, ask: Asking) -> None:
        token = self.next_of(ask, path=FIND, queue="admin")
        assert ask(LOG, {"queue": "admin"}, token=token).errors == INVALID
        assert ask(LIST, {"queue": "admin"}, token=token).errors == INVALID

    def test_of_another_caller(self, ask: Asking) -> None:
        """The same question by another person: not even in the same words is it the same."""
        token = self.next_of(ask, by=ANN)
        assert len(ask(LIST, {}, by=ANN, token=token).rows) == 2
        assert ask(LIST, {}, by=BOB, token=token).errors == INVALID

    def test_an_id_is_no_page_token(self, ask: Asking) -> None:
        assert ask(LIST, {"admin": True}, token=ask.held()[0]["id"]).errors == INVALID

    def test_a_page_size_that_was_changed(self, ask: Asking) -> None:
        content = unpacked(self.next_of(ask, admin=True))
        for size in (1, 500, -1, "2", None, float("inf"), float("nan"), 10**400):
            assert ask(LIST, {"admin": True}, token=packed({**content, "pagesizeid": size})).errors == INVALID

    def test_nulls_make_no_other_query(self, ask: Asking) -> None:
        token = self.next_of(ask, admin=True)
        assert len(ask(LIST, {"admin": True, "start": None, "searchBy": None}, token=token).rows) == 2


class TestSecrets:
    """One-time secrets: bound to purpose, person, time, uses and epoch."""

    @pytest.fixture
    def person(self, lab: Lab) -> int:
        with lab.server.database.read() as tx:
            found = people.find(tx, ANN)
        assert found is not None
        return int(found.id)

    def test_valid_for_its_purpose_until_it_expires(self, lab: Lab, person: int) -> None:
        with lab.server.write() as tx:
            secret = tokens.issue(tx, "reset", person, expires=1000)
            assert tokens.valid(tx, secret, "reset", now=999) == person
            assert tokens.valid(tx, secret, "reset", now=1000) is None
            assert tokens.valid(tx, secret, "digest", now=0) is None
            assert tokens.valid(tx, secret + "x", "reset", now=0) is None

    def test_used_up(self, lab: Lab, person: int) -> None:
        with lab.server.write() as tx:
            secret = tokens.issue(tx, "reset", person, expires=1000, uses=0)
            assert tokens.valid(tx, secret, "reset", now=0) is None

    @pytest.mark.parametrize("disabled", [True, False])
    def test_disabling_and_enabling_end_what_was_handed_out(self, lab: Lab, person: int, disabled: bool) -> None:
        with lab.server.write() as tx:
            secret = tokens.issue(tx, "reset", person, expires=1000)
            people.disable(tx, person, disabled)
            assert tokens.valid(tx, secret, "reset", now=0) is None

    def test_the_newer_one_time_password_ends_the_older(self, lab: Lab, person: int) -> None:
        with lab.server.write() as tx:
            older = people.reset(tx, person, now=0)
            newer = people.reset(tx, person, now=0)
            assert tokens.valid(tx, older, "one-time password", now=1) is None
            assert tokens.valid(tx, newer, "one-time password", now=1) == person

    def test_it_is_not_stored(self, lab: Lab, person: int) -> None:
        with lab.server.write() as tx:
            secret = tokens.issue(tx, "reset", person, expires=1000)
        for file in lab.path.rglob("portal.db*"):
            assert secret.encode() not in file.read_bytes()

    def test_they_differ(self, lab: Lab, person: int) -> None:
        with lab.server.write() as tx:
            issued = [tokens.issue(tx, "reset", person, expires=1000) for _ in range(20)]
        assert len(set(issued)) == 20
        assert all(len(secret) >= 43 for secret in issued)
