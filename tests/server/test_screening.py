"""What happens to an arriving message: the order of promises B.4, entry by entry and rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from asking import asking
from conftest import ANN, Lab, mail_of
from mimeportal_server import mail
from mimeportal_server.screening import Arrival, Fate, screen
from mimeportal_server.settings import HoldRule, Settings

SENDER = "eve@elsewhere.example"
SPAM = HoldRule("Spam", "spam", "spam", "user", header=("X-Spam-Flag", "YES"))
FILES = HoldRule("Files", "attachment", "file", "user", attachment_name=("*.exe", "*.scr"))
FRAUD = HoldRule("Fraud", "impersonation", "fraud", "administrator", subject=("urgent payment",))
IS_SPAM = "X-Spam-Flag: YES\n"
HAS_EXE = 'Content-Type: application/octet-stream; name="Setup.EXE"\nContent-Disposition: attachment\n'
FAILS_DMARC = "Authentication-Results: mx.example.com; spf=pass; dmarc=fail (p=none)\n"


def fate(
    *,
    sender: str = SENDER,
    envelope: str | None = None,
    subject: str = "Hello",
    extra: str = "",
    lists: dict[str, str] | None = None,
    authenticated: bool = False,
    octets: bytes | None = None,
    rules: tuple[HoldRule, ...] = (SPAM, FILES, FRAUD),
    **settings: Any,
) -> Fate:
    octets = octets or mail_of(sender, subject, extra=extra)
    arrival = Arrival(sender if envelope is None else envelope, ANN, mail.summarise(octets), len(octets), authenticated)
    policies = Settings(("example.com",), "", hold_rules=rules, authserv_id="mx.example.com", **settings)
    return screen(arrival, policies, lists or {})


BLOCK, PERMIT = {"blocked_senders": frozenset({SENDER})}, {"permitted_senders": frozenset({SENDER})}
P, B = "permitted", "blocked"


class TestOrder:
    @pytest.mark.parametrize(
        ("policies", "lists", "extra", "outcome"),
        [
            # account policies, personal list, what the message is, what becomes of it
            ({}, {}, "", "delivered"),
            ({}, {}, IS_SPAM, "held Spam"),
            ({}, {}, HAS_EXE, "held Files"),
            (BLOCK, {}, "", "blocked"),
            ({**BLOCK, **PERMIT}, {}, "", "blocked"),
            (BLOCK, {SENDER: P}, "", "blocked"),
            (PERMIT, {}, IS_SPAM, "delivered"),
            (PERMIT, {SENDER: B}, "", "delivered"),
            (PERMIT, {SENDER: B}, IS_SPAM, "delivered"),
            (PERMIT, {}, HAS_EXE, "held Files"),
            ({}, {SENDER: P}, IS_SPAM, "delivered"),
            ({}, {"elsewhere.example": P}, IS_SPAM, "delivered"),
            ({}, {SENDER: P}, HAS_EXE, "held Files"),
            ({}, {SENDER: P}, IS_SPAM + HAS_EXE, "held Files"),
            ({}, {SENDER: B}, "", "blocked"),
            ({}, {SENDER: B}, HAS_EXE, "blocked"),
            ({}, {"elsewhere.example": B}, "", "blocked"),
            ({}, {SENDER: P, "elsewhere.example": B}, IS_SPAM, "delivered"),
            ({}, {SENDER: B, "elsewhere.example": P}, IS_SPAM, "delivered"),
            ({}, {"sub.elsewhere.example": B}, "", "delivered"),
            ({}, {"here.example": B}, "", "delivered"),
            ({}, {"example": B}, "", "delivered"),
        ],
    )
    def test_first_that_decides(
        self, policies: dict[str, Any], lists: dict[str, str], extra: str, outcome: str
    ) -> None:
        told = fate(lists=lists, extra=extra, **policies)
        assert told.outcome + (f" {told.rule.policy}" if told.rule else "") == outcome

    @pytest.mark.parametrize("name", ["blocked_senders", "permitted_senders"])
    @pytest.mark.parametrize("entry", [SENDER, "elsewhere.example", "bounce@lists.example", "lists.example"])
    def test_entries_match_header_or_envelope(self, name: str, entry: str) -> None:
        told = fate(envelope="bounce@lists.example", extra=IS_SPAM, **{name: frozenset({entry})})
        assert told.outcome == ("blocked" if name == "blocked_senders" else "delivered")
        personal = fate(envelope="bounce@lists.example", extra=IS_SPAM, lists={entry: name.partition("_")[0]})
        assert personal.outcome == told.outcome

    def test_a_permit_by_header_is_no_match_for_a_block_by_envelope_of_the_account(self) -> None:
        told = fate(envelope="b@lists.example", lists={SENDER: P}, blocked_senders=frozenset({"lists.example"}))
        assert told.outcome == "blocked"

    @pytest.mark.parametrize("kind", ["attachment", "content", "impersonation", "other"])
    def test_a_permit_skips_spam_and_nothing_else(self, kind: str) -> None:
        rule = HoldRule("Rule", kind, "reason", "user", subject=("Hello",))
        assert fate(rules=(rule,), lists={SENDER: P}).rule == rule
        spam = HoldRule("Rule", "spam", "reason", "user", subject=("Hello",))
        assert fate(rules=(spam,), lists={SENDER: P}).outcome == "delivered"

    def test_what_decided_is_told(self) -> None:
        assert fate(lists={SENDER: B}).decided_by == f"blocked sender {SENDER}"
        assert fate(lists={"elsewhere.example": P}, extra=IS_SPAM).decided_by == "permitted sender elsewhere.example"
        assert fate(**BLOCK).decided_by == f"account blocked sender {SENDER}"
        assert fate(**PERMIT).decided_by == f"account permitted sender {SENDER}"
        assert fate(extra=IS_SPAM).decided_by == "Spam"

    def test_the_first_rule_that_matches(self) -> None:
        told = fate(extra=IS_SPAM + HAS_EXE, subject="URGENT PAYMENT")
        assert (told.rule, told.outcome) == (SPAM, "held")
        assert fate(extra=HAS_EXE, subject="URGENT PAYMENT").rule == FILES
        assert fate(subject="Your URGENT payment").rule == FRAUD

    def test_a_message_that_cannot_be_read_is_held_for_administrators_whoever_sent_it(self) -> None:
        parts = "".join(f"--b\nContent-Type: text/plain\n\n{number}\n" for number in range(300))
        octets = mail_of(
            extra='MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n', body=parts + "--b--\n"
        )
        told = fate(octets=octets, lists={SENDER: P})
        assert told.rule is not None
        assert (told.outcome, told.rule.policy, told.rule.level) == (
            "held",
            "Suspicious Message Structure",
            "administrator",
        )


class TestForgery:
    """A permit is no pass for whoever claims to be somebody (promises B.4)."""

    @pytest.mark.parametrize(
        ("sender", "envelope"),
        [("boss@example.com", "boss@example.com"), ("boss@example.com", SENDER), (SENDER, "boss@example.com")],
    )
    @pytest.mark.parametrize("entry", ["boss@example.com", "example.com", SENDER])
    def test_own_domains_are_not_permitted_from_outside(self, sender: str, envelope: str, entry: str) -> None:
        for permit in ({"lists": {entry: P}}, {"permitted_senders": frozenset({entry})}):
            arguments: dict[str, Any] = {"sender": sender, "envelope": envelope, "extra": IS_SPAM, **permit}
            assert fate(**arguments).outcome == "held"
            expected = (
                "delivered" if entry in (sender, envelope, *(a.split("@")[1] for a in (sender, envelope))) else "held"
            )
            assert fate(**arguments, authenticated=True).outcome == expected

    @pytest.mark.parametrize(
        ("results", "counts"),
        [
            ("mx.example.com; dmarc=fail", True),
            ("MX.Example.com; DMARC = FAIL", True),
            ("mx.example.com 1; spf=pass; dmarc=fail header.from=elsewhere.example", True),
            ("mx.example.com; dmarc=pass", False),
            ("mx.example.com; dmarc=none", False),
            ("other.example.com; dmarc=fail", False),
            ("mx.example.com.evil.example; dmarc=fail", False),
            ("mx.example.com", False),
            ("", False),
        ],
    )
    def test_dmarc(self, results: str, counts: bool) -> None:
        told = fate(lists={SENDER: P}, extra=f"Authentication-Results: {results}\n{IS_SPAM}")
        assert told.outcome == ("held" if counts else "delivered")

    def test_the_topmost_of_our_own_server_counts(self) -> None:
        forged = "Authentication-Results: mx.example.com; dmarc=pass\n"
        other = "Authentication-Results: elsewhere.example; dmarc=pass\n"
        told = fate(lists={SENDER: P}, extra=other + FAILS_DMARC + forged + IS_SPAM)
        assert told.outcome == "held"
        told = fate(lists={SENDER: P}, extra=forged + FAILS_DMARC + IS_SPAM)
        assert told.outcome == "delivered"

    def test_a_block_counts_all_the_same(self) -> None:
        assert fate(lists={SENDER: B}, extra=FAILS_DMARC).outcome == "blocked"
        assert fate(sender="boss@example.com", lists={"example.com": B}).outcome == "blocked"
        assert fate(lists={SENDER: P, "elsewhere.example": B}, extra=FAILS_DMARC).outcome == "blocked"


class TestRules:
    @pytest.mark.parametrize(
        ("condition", "holds"),
        [
            ({"sender": ("elsewhere.example",)}, True),
            ({"sender": ("@elsewhere.example",)}, True),
            ({"sender": ("EVE@elsewhere.example",)}, True),
            ({"sender": ("*@*.example",)}, True),
            ({"sender": ("where",)}, True),
            ({"sender": ("lists.example",)}, True),
            ({"sender": ("example",)}, True),
            ({"sender": ("other.example", "elsewhere.example")}, True),
            ({"sender": ("other.example",)}, False),
            ({"recipient": (ANN,)}, True),
            ({"recipient": ("bob@example.com",)}, False),
            ({"subject": ("hello",)}, True),
            ({"subject": ("hel*o",)}, True),
            ({"subject": ("ello*",)}, False),
            ({"header": ("x-priority", "1")}, True),
            ({"header": ("X-Priority", "2")}, False),
            ({"header": ("X-Absent", "1")}, False),
            ({"attachment_name": ("*.exe",)}, True),
            ({"attachment_name": ("*.com",)}, False),
            ({"attachment_type": ("octet-stream",)}, True),
            ({"attachment_type": ("image/*",)}, False),
            ({"larger_than": 100}, True),
            ({"larger_than": 100_000}, False),
            ({"larger_than": 100, "subject": ("hello",)}, True),
            ({"larger_than": 100_000, "subject": ("hello",)}, False),
            ({"larger_than": 100, "subject": ("goodbye",)}, False),
        ],
        ids=str,
    )
    def test_conditions(self, condition: dict[str, Any], holds: bool) -> None:
        rule = HoldRule("Rule", "other", "reason", "user", **condition)
        told = fate(envelope="bounce@lists.example", extra="X-Priority: 1\n" + HAS_EXE, rules=(rule,))
        assert told.outcome == ("held" if holds else "delivered")

    def test_larger_means_larger(self) -> None:
        octets = mail_of()
        for size, outcome in ((len(octets), "delivered"), (len(octets) - 1, "held")):
            rule = HoldRule("Rule", "other", "reason", "user", larger_than=size)
            assert fate(octets=octets, rules=(rule,)).outcome == outcome

    def test_a_null_sender_matches_no_entry(self) -> None:
        told = fate(sender="nobody", envelope="", lists={"": B, "elsewhere.example": B})
        assert told.outcome == "delivered"


class TestThroughThePortal:
    """The same, from the octets to what its owner sees."""

    def test_the_template_holds_spam_and_dangerous_files(self, lab: Lab) -> None:
        assert [result.outcome for result in lab.receive(mail_of(), reason=None)] == ["delivered"]
        assert lab.receive(mail_of(extra=IS_SPAM), reason=None)[0].outcome == "held"
        assert lab.receive(mail_of(extra=HAS_EXE), reason=None)[0].outcome == "held"
        with asking(lab) as ask:
            assert [(row["reasonCode"], row["level"]) for row in ask.held()] == [
                ("message_hold_applied_attachment_type_policy", "user"),
                ("message_hold_applied_spam_signature_policy", "user"),
            ]

    def test_what_a_person_permits_or_blocks_counts_for_the_next_message(self, lab: Lab) -> None:
        lab.receive(mail_of(extra=IS_SPAM), reason=None)
        with asking(lab) as ask:
            ask.decide(ask.one(), permit="address", by=ANN)
            assert lab.receive(mail_of(extra=IS_SPAM), reason=None)[0].outcome == "delivered"
            assert lab.receive(mail_of(extra=IS_SPAM), reason=None, to="bob@example.com")[0].outcome == "held"
            assert lab.receive(mail_of(extra=HAS_EXE), reason=None)[0].outcome == "held"
            ask.decide(ask.one(reason="attachment"), "reject", block="domain", by=ANN)
            assert lab.receive(mail_of(), reason=None)[0].outcome == "delivered", "the permitted address goes first"
            assert lab.receive(mail_of("fay@elsewhere.example"), reason=None)[0].outcome == "blocked"

    def test_lists_that_say_nothing_of_a_block_change_nothing_about_it(self, lab: Lab) -> None:
        """Releases by filter leave out what its recipient blocks (promises B.5), whoever is trusted as well."""
        lab.receive(mail_of())
        with asking(lab) as ask:
            for entry, list in (("elsewhere.example", "blocked"), (SENDER, "trusted")):
                ask("/api/portal/senders/add", {"entry": entry, "list": list}, by=ANN)
            assert ask.held()[0]["senderBlocked"] is True
            ask("/api/portal/senders/add", {"entry": SENDER, "list": "permitted"}, by=ANN)
            assert ask.held()[0]["senderBlocked"] is False

    def test_what_is_blocked_is_neither_held_nor_delivered(self, lab: Lab) -> None:
        with asking(lab) as ask:
            ask("/api/portal/senders/add", {"entry": "elsewhere.example", "list": "blocked"}, by=ANN)
            lab.receive(mail_of(extra=IS_SPAM), reason=None)
            assert ask.held() == []
        lab.client(ANN).close()
        assert lab.outgoing() == []
