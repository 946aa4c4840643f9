"""Sender lists as mail meets them: refused in protocol, dropped, let through, and permitted by whom one writes to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from talking import Talk, door_of, rows
from test_smtp import plain

from conftest import ANN, Lab, mail_of
from mimeportal_server import passwords, people
from mimeportal_server.smtp import SmtpDoor
from mimeportal_server.store.schema import copies, deliveries, rejections

HAS_EXE = 'MIME-Version: 1.0\nContent-Disposition: attachment; filename="tool.exe"\n'
IS_SPAM = "X-Spam-Flag: YES\n"
PASSWORD = "Correct-Horse-7"


@pytest.fixture
def door(lab: Lab) -> Iterator[SmtpDoor]:
    with door_of(lab) as door:
        yield door


def octets(sender: str, *, extra: str = "", to: str = ANN) -> bytes:
    return mail_of(sender, extra=extra, to=to).replace(b"\n", b"\r\n")


def deliver(door: SmtpDoor, sender: str, *, envelope: str | None = None, extra: str = "") -> str:
    """A message by SMTP; the first reply that refuses, else the last."""
    with Talk(door) as talk:
        told = talk.envelope(sender=envelope or sender)
        return told[-1] if not told[-1].startswith("250") else talk.data(octets(sender, extra=extra))


def outcomes(lab: Lab) -> list[tuple[str, str]]:
    return [(row.outcome, row.decided_by) for row in rows(lab, copies)]


def test_a_domain_is_blocked_and_two_of_its_users_are_not(lab: Lab, door: SmtpDoor) -> None:
    """The guide's own example (portal-rules D.11), and what `senders check` says of each."""
    client = lab.client()
    client.senders.add(["domain.com"], "blocked")
    client.senders.add(["user1@domain.com", "user2@domain.com"], "permitted")

    for number in (1, 2):
        assert deliver(door, f"user{number}@domain.com", extra=IS_SPAM).startswith("250")
        told = client.senders.check(f"user{number}@domain.com")
        assert (told.outcome, told.decided_by) == ("permitted", f"permitted sender user{number}@domain.com")
    assert deliver(door, "user3@domain.com").startswith("550 5.7.1")
    told = client.senders.check("user3@domain.com")
    assert (told.outcome, told.decided_by) == ("refused", "blocked sender domain.com")
    assert deliver(door, "user1@domain.com", extra=HAS_EXE).startswith("250")
    told = client.senders.check("user1@domain.com")
    assert "Default Attachment Management Definition - Block Dangerous File Types" in told.may_hold

    assert [row.recipient for row in rows(lab, deliveries)] == [ANN, ANN]
    assert [row.type for row in rows(lab, rejections)] == ["sender_blocked"]
    (hold,) = client.holds.list()
    assert (hold.from_header, hold.reason_code) == ("user1@domain.com", "message_hold_applied_attachment_type_policy")


def test_a_blocked_header_is_dropped_and_the_check_says_so(lab: Lab, door: SmtpDoor) -> None:
    client = lab.client()
    client.senders.add(["domain.com"], "blocked")
    assert deliver(door, "user3@domain.com", envelope="bounce@lists.example").startswith("250")
    assert outcomes(lab) == [("blocked", "blocked sender domain.com")]
    told = client.senders.check("user3@domain.com", envelope="bounce@lists.example")
    assert (told.outcome, told.part) == ("dropped", "header")


def test_trusted_says_nothing_about_spam(lab: Lab, door: SmtpDoor) -> None:
    client = lab.client()
    client.senders.add(["user1@domain.com"], "trusted")
    assert deliver(door, "user1@domain.com", extra=IS_SPAM).startswith("250")
    assert outcomes(lab) == [("held", "Spam Scanning")]
    told = client.senders.check("user1@domain.com")
    assert (told.outcome, told.trusted) == ("undecided", True)


@pytest.mark.parametrize(("extra", "arises"), [("", True), ("Auto-Submitted: auto-replied\n", False)])
def test_whom_one_writes_to_is_let_through(lab: Lab, door: SmtpDoor, extra: str, arises: bool) -> None:
    with lab.server.database.read() as tx:
        caller = people.caller_of(tx, ANN, "test")
    assert caller is not None
    passwords.change(lab.server, caller, None, PASSWORD, peer="", request_id="")
    with Talk(door) as talk:
        assert talk(f"AUTH PLAIN {plain(ANN, PASSWORD)}").startswith("235")
        assert talk.mail(octets(ANN, extra=extra), "Friend@Outside.example", "bob@example.com", sender=ANN).startswith(
            "250"
        )
    entries = [(entry.entry, entry.policy_type) for entry in lab.client().senders.list("auto-permitted")]
    assert entries == ([("friend@outside.example", "auto")] if arises else [])
    assert deliver(door, "friend@outside.example", extra=IS_SPAM).startswith("250")
    decided = ("delivered", "auto-permitted sender friend@outside.example") if arises else ("held", "Spam Scanning")
    assert outcomes(lab)[-1] == decided


def test_blocked_beats_auto_permitted_at_rcpt(lab: Lab, door: SmtpDoor) -> None:
    from mimeportal_server import auto_permit

    with lab.server.write() as tx:
        person = people.find(tx, ANN)
        assert person is not None
        auto_permit.sent(tx, lab.server.settings, int(person.id), ["friend@outside.example"], lab.server.clock.now())
    lab.client().senders.add(["outside.example"], "blocked")
    assert deliver(door, "friend@outside.example").startswith("550")
