"""Auto-permitted senders: they arise from mail sent outside, lapse, and are disabled (portal-rules D.16 to D.20)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from asking import ADD, PERMIT_OR_BLOCK, SENDERS, Asking, asking
from conftest import ANN, BOB, Lab, mail_of
from mimeportal_server import arrival, incoming, keeping, people
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal, set_fact
from mimeportal_server.store.schema import audit, senders

FRIEND = "friend@outside.example"
IS_SPAM = "X-Spam-Flag: YES\n"
HAS_EXE = 'MIME-Version: 1.0\nContent-Disposition: attachment; filename="a.exe"\n'


def settings(lab: Lab, line: str) -> None:
    """Change a line of portal.toml, and open the portal anew."""
    path = lab.path / "portal.toml"
    name = line.partition(" ")[0]
    lines = [line if old.startswith(f"{name} =") else old for old in path.read_text().splitlines()]
    assert line in lines
    path.write_text("\n".join(lines) + "\n")
    lab.server.close()
    lab.server = Portal(Home.open(lab.path), wall=lambda: lab.time, chance=lambda: 0.5)


def send(lab: Lab, *to: str, by: str = ANN, extra: str = "") -> None:
    """One of the portal's people sends a message to addresses outside."""
    octets = mail_of(by, "To you", to=", ".join(to), extra=extra)
    with lab.server.database.read() as tx:
        caller = people.caller_of(tx, by, "smtp")
    message = incoming.parse(
        octets, by, recipients=[], outside=list(to), by=caller, received=lab.server.clock.now(), whole=True
    )
    arrival.accept(lab.server, [message], door="smtp")


@pytest.fixture
def ask(lab: Lab) -> Iterator[Asking]:
    with asking(lab) as ask:
        yield ask


def follow(ask: Asking) -> None:
    """To the lab's time: this portal was opened before it was moved."""
    ask.portal.clock.offset = ask.lab.server.clock.offset


def listed(ask: Asking, mailbox: str = ANN) -> dict[str, tuple[str, str]]:
    follow(ask)
    rows = ask(SENDERS, {"mailbox": mailbox}, size=500).rows
    return {row["entry"]: (row["list"], row["policyType"]) for row in rows}


def rows(lab: Lab) -> list[Any]:
    with lab.server.database.read() as tx:
        return list(tx.execute(audit.select().order_by(audit.c.id)))


def receive(lab: Lab, sender: str = FRIEND, extra: str = IS_SPAM, to: str = ANN) -> str:
    return lab.receive(mail_of(sender, extra=extra), reason=None, to=to)[0].outcome


class TestArising:
    def test_whom_one_writes_to_is_permitted(self, lab: Lab, ask: Asking) -> None:
        assert receive(lab) == "held"
        send(lab, FRIEND, "other@outside.example")
        assert listed(ask) == {FRIEND: ("auto-permitted", "auto"), "other@outside.example": ("auto-permitted", "auto")}
        assert receive(lab) == "delivered"
        assert receive(lab, to=BOB) == "held", "it is ann's entry"
        assert receive(lab, "else@outside.example") == "held", "an address, not its domain"

    def test_a_permit_of_this_sort_skips_spam_and_nothing_else(self, lab: Lab) -> None:
        send(lab, FRIEND)
        assert receive(lab, extra=HAS_EXE) == "held"

    @pytest.mark.parametrize("extra", ["Auto-Submitted: auto-replied\n", "Precedence: bulk\n"])
    def test_automatic_mail_makes_none(self, lab: Lab, ask: Asking, extra: str) -> None:
        send(lab, FRIEND, extra=extra)
        assert listed(ask) == {}

    @pytest.mark.parametrize("name", ["In-Reply-To", "References"])
    @pytest.mark.parametrize(
        ("reason", "decision", "arises"), [("spam", "release", False), ("other", "release", True), ("spam", "", True)]
    )
    def test_answers_to_released_spam_make_none(
        self, lab: Lab, ask: Asking, name: str, reason: str, decision: str, arises: bool
    ) -> None:
        lab.receive(
            mail_of(FRIEND, "Offer", extra="Message-ID: <offer@outside.example>\n").replace(b"Message-ID", b"X-Was", 1),
            kind=reason,
        )
        if decision:
            ask.decide(ask.one(), decision, by=ANN)
        send(lab, FRIEND, extra=f"{name}: <first@example.com>\n <offer@outside.example>\n")
        assert (FRIEND in listed(ask)) == arises

    def test_somebody_else_s_released_spam_is_no_matter(self, lab: Lab, ask: Asking) -> None:
        lab.receive(mail_of(FRIEND, extra="").replace(b"@elsewhere.example>", b"@x>"), to=BOB)
        ask.decide(ask.one(), by=BOB)
        send(lab, FRIEND, extra=f"In-Reply-To: <{abs(hash('Hello'))}@x>\n")
        assert FRIEND in listed(ask)

    def test_the_account_s_own_domains_never(self, lab: Lab, ask: Asking) -> None:
        send(lab, "absent@example.com", FRIEND)
        assert list(listed(ask)) == [FRIEND]

    def test_turned_off(self, lab: Lab, ask: Asking) -> None:
        settings(lab, "create = false")
        send(lab, FRIEND)
        assert listed(ask) == {}

    @pytest.mark.parametrize("list", ["blocked", "permitted"])
    def test_an_entry_by_hand_stays(self, lab: Lab, ask: Asking, list: str) -> None:
        ask(ADD, {"entry": FRIEND, "list": list}, by=ANN)
        send(lab, FRIEND)
        assert listed(ask) == {FRIEND: (list, "manual")}

    def test_beside_a_trusted_one(self, lab: Lab, ask: Asking) -> None:
        ask(ADD, {"entry": FRIEND, "list": "trusted"}, by=ANN)
        send(lab, FRIEND)
        rows = ask(SENDERS, {}, by=ANN).rows
        assert [(row["entry"], row["list"]) for row in rows] == [(FRIEND, "auto-permitted"), (FRIEND, "trusted")]

    def test_blocked_beats_auto_permitted(self, lab: Lab, ask: Asking) -> None:
        send(lab, FRIEND)
        ask(ADD, {"entry": "outside.example", "list": "blocked"}, by=ANN)
        assert receive(lab, extra="") == "blocked"

    @pytest.mark.parametrize("by_hand", [True, False])
    def test_permit_and_block_move_it(self, lab: Lab, ask: Asking, by_hand: bool) -> None:
        send(lab, FRIEND)
        if by_hand:
            told = ask(ADD, {"entry": FRIEND, "list": "blocked"}, by=ANN)
            assert told.row["movedFrom"] == "auto-permitted"
        else:
            ask(PERMIT_OR_BLOCK, {"sender": FRIEND, "to": ANN, "action": "block"}, by=ANN)
        assert listed(ask) == {FRIEND: ("blocked", "manual")}
        lab.advance(days=400)
        assert listed(ask) == {FRIEND: ("blocked", "manual")}, "what was put there by hand never lapses"

    def test_entries_follow_the_person(self, lab: Lab, ask: Asking) -> None:
        from sqlalchemy import update

        send(lab, FRIEND)
        with lab.server.write() as tx:
            tx.execute(update(people.people).where(people.people.c.address == ANN).values(address="anne@example.com"))
        assert listed(ask, "anne@example.com") == {FRIEND: ("auto-permitted", "auto")}


class TestLapsing:
    def test_120_days_after_the_last_mail(self, lab: Lab, ask: Asking) -> None:
        send(lab, FRIEND)
        lab.advance(days=119)
        send(lab, FRIEND)
        lab.advance(days=119.9)
        assert (list(listed(ask)), receive(lab)) == ([FRIEND], "delivered")
        lab.advance(days=0.2)
        assert (listed(ask), receive(lab)) == ({}, "held"), "whether or not a sweep has run"
        assert ask.count(senders) == 1
        keeping.sweep(lab.server)
        assert ask.count(senders) == 0
        assert ask.count(audit, audit.c.action == "lapse auto-permitted") == 1

    def test_mail_brings_a_lapsed_one_back(self, lab: Lab, ask: Asking) -> None:
        send(lab, FRIEND)
        lab.advance(days=130)
        send(lab, FRIEND)
        assert listed(ask) == {FRIEND: ("auto-permitted", "auto")}

    def test_a_lapsed_one_was_on_no_list(self, lab: Lab, ask: Asking) -> None:
        send(lab, FRIEND)
        lab.advance(days=130)
        follow(ask)
        assert "movedFrom" not in ask(ADD, {"entry": FRIEND, "list": "blocked"}, by=ANN).row

    def test_days_are_a_setting(self, lab: Lab, ask: Asking) -> None:
        settings(lab, "days = 10")
        send(lab, FRIEND)
        lab.advance(days=10.1)
        assert listed(ask) == {}

    def test_a_clock_that_is_not_believed_ends_nothing(self, lab: Lab, ask: Asking) -> None:
        send(lab, FRIEND)
        lab.step(days=200)
        assert FRIEND in listed(ask)


class TestSample:
    """Chance is 0.5 here: with a sample of 1 every message is in it, with 0.4 none."""

    def test_suspected_spam_is_held_and_disables_the_entry(self, lab: Lab, ask: Asking) -> None:
        settings(lab, "sample = 1")
        send(lab, FRIEND)
        assert receive(lab, extra="") == "delivered"
        assert receive(lab) == "held"
        assert listed(ask) == {FRIEND: ("auto-permitted", "disabled")}
        settings(lab, "sample = 0")
        assert receive(lab) == "held", "a disabled entry permits nothing"
        send(lab, FRIEND)
        send(lab, FRIEND)
        acts = [row.action for row in rows(lab) if "auto-permitted" in row.action]
        assert acts == ["add auto-permitted", "disable auto-permitted", "add auto-permitted"]
        assert listed(ask) == {FRIEND: ("auto-permitted", "auto")}
        assert receive(lab) == "delivered"

    def test_what_is_not_drawn_is_not_scanned(self, lab: Lab) -> None:
        settings(lab, "sample = 0.4")
        send(lab, FRIEND)
        assert receive(lab) == "delivered"

    def test_a_home_made_for_tests_leaves_nothing_to_chance(self, lab: Lab) -> None:
        with lab.server.write() as tx:
            set_fact(tx, "lab", "1")
        lab.server.close()
        lab.server = Portal(Home.open(lab.path), wall=lambda: lab.time, chance=lambda: 0.0)
        send(lab, FRIEND)
        assert receive(lab) == "delivered"

    def test_entries_by_hand_are_exempt(self, lab: Lab, ask: Asking) -> None:
        settings(lab, "sample = 1")
        ask(ADD, {"entry": FRIEND, "list": "permitted"}, by=ANN)
        assert receive(lab) == "delivered"
        assert listed(ask) == {FRIEND: ("permitted", "manual")}

    def test_held_for_another_reason_disables_nothing(self, lab: Lab, ask: Asking) -> None:
        settings(lab, "sample = 1")
        send(lab, FRIEND)
        assert receive(lab, extra=HAS_EXE) == "held"
        assert listed(ask) == {FRIEND: ("auto-permitted", "auto")}


@pytest.mark.parametrize("policy_type", ["manual", "auto", "disabled", "trusted"])
def test_policy_types(lab: Lab, ask: Asking, policy_type: str) -> None:
    settings(lab, "sample = 1")
    send(lab, FRIEND, "spammer@outside.example")
    receive(lab, "spammer@outside.example")
    ask(ADD, {"entry": "a@b.example", "list": "blocked"}, by=ANN)
    ask(ADD, {"entry": "t@b.example", "list": "trusted"}, by=ANN)
    expected: dict[str, Any] = {
        "manual": ["a@b.example"],
        "auto": [FRIEND],
        "disabled": ["spammer@outside.example"],
        "trusted": ["t@b.example"],
    }
    assert [row["entry"] for row in ask(SENDERS, {"policyType": policy_type}, by=ANN).rows] == expected[policy_type]
