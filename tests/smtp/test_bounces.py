"""A report of a bounce counts at the address of its own message alone; forged ones change nothing (promises C.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select, update
from talking import EVE, Talk, door_of, rows

from conftest import ADMIN, ANN, BOB, MOD, Lab, mail_of
from mimeportal.errors import ForbiddenError
from mimeportal_server import apps, arrival, delivery, incoming, people, tokens
from mimeportal_server.clock import DAY
from mimeportal_server.smtp import SmtpDoor
from mimeportal_server.store.schema import audit, deliveries, mailbox, messages, rejections
from mimeportal_server.store.schema import people as persons

OUT, TWO = "out@elsewhere.example", "two@elsewhere.example"


def report(
    recipient: str = OUT,
    *,
    action: str = "failed",
    field: str = "Final-Recipient",
    diagnostic: str = "550 5.1.1 No such user",
    kind: str = "multipart/report; report-type=delivery-status",
    more: str = "",
) -> bytes:
    """A delivery status notification (RFC 3464) with CRLF."""
    text = f"""From: MAILER-DAEMON@mx.elsewhere.example
To: {ANN}
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: {kind}; boundary="b"

--b
Content-Type: text/plain

It could not be delivered.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.elsewhere.example

{field}: rfc822; {recipient}
Action: {action}
Status: 5.1.1
Diagnostic-Code: smtp; {diagnostic}
{more}
--b
Content-Type: text/rfc822-headers

Subject: Offer
--b--
"""
    return text.replace("\n", "\r\n").encode()


@dataclass
class Sent:
    """A message of ann's to two people outside, delivered; `path` is where a report of it counts."""

    lab: Lab
    door: SmtpDoor
    token: str
    number: int

    @property
    def path(self) -> str:
        return f"bounce+{self.token}@example.com"

    def comes_back(self, octets: bytes, *, to: str | None = None, sender: str = "") -> str:
        """What the door says to the last of the commands."""
        with Talk(self.door) as talk:
            *_, told = talk.envelope(to or self.path, sender=sender)
            return talk.data(octets) if told.startswith("250") else told

    def states(self) -> dict[str, tuple[str, str]]:
        with self.lab.server.database.read() as tx:
            found = tx.execute(select(deliveries).where(deliveries.c.message_id == self.number)).all()
        return {row.recipient: (row.state, row.error) for row in found}


def send(lab: Lab, by: str = ANN, *outside: str, octets: bytes | None = None, **envelope: Any) -> int:
    """Somebody who logged in writes to people outside; the number of the message."""
    with lab.server.database.read() as tx:
        caller = people.caller_of(tx, by, "test")
    octets = octets or mail_of(by, "Offer", to=OUT)
    at = lab.server.clock.now()
    envelope = {"recipients": (), "received": at, "outside": outside or (OUT, TWO), **envelope}
    message = incoming.parse(octets, by, by=caller, **envelope)
    arrival.accept(lab.server, [message], door="test")
    return max(row.id for row in rows(lab, messages))


@pytest.fixture
def sent(lab: Lab) -> Iterator[Sent]:
    number = send(lab)
    delivery.deliver(lab.server)
    with lab.server.write() as tx:
        ann = people.find(tx, ANN)
        assert ann is not None
        expires = lab.server.clock.machine() + 30 * DAY
        token = tokens.issue(tx, "bounce", int(ann.id), object=str(number), expires=expires, uses=5)
    with door_of(lab) as door:
        yield Sent(lab, door, token, number)


DELIVERED = {OUT: ("delivered", ""), TWO: ("delivered", "")}


@pytest.mark.parametrize("sender", ["", EVE])
@pytest.mark.parametrize("field", ["Final-Recipient", "Original-Recipient"])
def test_a_report_marks_exactly_its_recipient(lab: Lab, sent: Sent, sender: str, field: str) -> None:
    assert sent.comes_back(report(OUT.upper(), field=field), sender=sender).startswith("250")
    assert sent.states() == {OUT: ("failed", "5.1.1 550 5.1.1 No such user"), TWO: ("delivered", "")}
    (row,) = lab.client(ANN).messages.bounced()
    assert (row.to_addresses, row.info, row.status) == ((OUT,), "5.1.1 550 5.1.1 No such user", "bounced")
    # The report lies in the sender's Inbox, as it came.
    (laid,) = [row for row in rows(lab, mailbox) if row.folder == "inbox"]
    (came,) = [row for row in rows(lab, messages) if row.id == laid.message_id]
    assert laid.recipient == ANN
    assert lab.server.home.blobs.read(came.blob) == report(OUT.upper(), field=field)
    acts = [(act.outcome, act.actor) for act in rows(lab, audit) if act.action == "deliver" and act.door == "smtp"]
    assert acts == [("bounced", None)]


@pytest.mark.parametrize("by", [ANN, BOB])
def test_what_was_composed_here_comes_back_to_its_owner(lab: Lab, sent: Sent, by: str) -> None:
    """The return path is that of the message, whoever wrote it for the owner."""
    lab.client(ANN).account.add_delegate(BOB)
    with lab.client(by) as portal:
        portal.messages.send(to=OUT, subject="Composed", body="Hello.", mailbox=ANN)
    newest = max(rows(lab, deliveries), key=lambda row: row.id)
    assert (newest.recipient, newest.state) == (OUT, "delivered")
    assert sent.comes_back(report(), to=newest.sender).startswith("250")
    assert [row.subject for row in lab.client(ANN).messages.bounced()] == ["Composed"]
    assert [row.folder for row in rows(lab, mailbox) if row.recipient == ANN] == ["inbox"]
    assert sent.states() == DELIVERED
    assert OUT in {contact.address for contact in lab.client(ANN).account.contacts()}


def test_a_new_password_ends_no_return_path(lab: Lab, sent: Sent) -> None:
    with lab.client(ANN) as portal:
        portal.messages.send(to=OUT, subject="Composed", body="Hello.")
    (path,) = [row.sender for row in rows(lab, deliveries) if row.sender.startswith("bounce+")]
    with lab.server.write() as tx:
        tx.execute(update(persons).values(epoch=persons.c.epoch + 1))
    assert sent.comes_back(report(), to=path).startswith("250")
    assert [row.subject for row in lab.client(ANN).messages.bounced()] == ["Composed"]


def test_once_is_enough(sent: Sent) -> None:
    sent.comes_back(report())
    sent.comes_back(report(diagnostic="552 Another"))
    assert sent.states()[OUT] == ("failed", "5.1.1 550 5.1.1 No such user")


def test_several_in_one_report(sent: Sent) -> None:
    more = f"\nFinal-Recipient: rfc822;{TWO}\nAction: failed\nStatus: 5.2.2\n"
    sent.comes_back(report(more=more))
    assert sent.states() == {OUT: ("failed", "5.1.1 550 5.1.1 No such user"), TWO: ("failed", "5.2.2")}


@pytest.mark.parametrize(
    "octets",
    [
        report(action="delayed"),
        report(action="relayed"),
        report(action="delivered"),
        report(action=""),
        report("stranger@elsewhere.example"),
        report(BOB),
        report(kind="multipart/mixed"),
        report(kind="multipart/report; report-type=disposition-notification"),
        mail_of("MAILER-DAEMON <m@elsewhere.example>", f"Undelivered: {OUT}", extra="Action: failed\n").replace(
            b"\n", b"\r\n"
        ),
        report()[:300] + b"\r\n",
        b"\r\n",
        b"Content-Type: message/rfc822\r\n\r\n" + report(),
    ],
    ids=range(12),
)
def test_what_says_nothing_of_this_message_changes_nothing(sent: Sent, octets: bytes) -> None:
    assert sent.comes_back(octets).startswith("250")
    assert sent.states() == DELIVERED
    assert list(sent.lab.client(ANN).messages.bounced()) == []


@pytest.mark.parametrize("to", ["bounce+{}@example.com", "bounce+@example.com", "bounce+x@example.com"])
def test_a_wrong_token_is_no_address(lab: Lab, sent: Sent, to: str) -> None:
    wrong = to.format(sent.token[:-1] + ("A" if sent.token[-1] != "A" else "B"))
    assert sent.comes_back(report(), to=wrong).startswith("550 5.1.1")
    assert sent.states() == DELIVERED
    (refused,) = rows(lab, rejections)
    assert (refused.recipient, refused.type) == ("bounce+...@example.com", "unknown_recipient")


@pytest.mark.parametrize("to", [ANN, ADMIN])
def test_at_another_address_a_report_is_mail_like_any_other(sent: Sent, to: str) -> None:
    assert sent.comes_back(report(), to=to).startswith("250")
    assert sent.states() == DELIVERED


def test_at_the_address_of_another_message(lab: Lab, sent: Sent) -> None:
    other = send(lab)
    delivery.deliver(lab.server)
    sent.comes_back(report())
    assert Sent(lab, sent.door, "", other).states() == DELIVERED


def test_a_token_that_ended(lab: Lab, sent: Sent) -> None:
    with lab.server.write() as tx:
        expires = lab.server.clock.machine() - 1
        tx.execute(update(tokens.tokens).where(tokens.tokens.c.purpose == "bounce").values(expires=expires))
    assert sent.comes_back(report()).startswith("550 5.1.1")


def test_a_token_is_used_up(sent: Sent) -> None:
    told = [sent.comes_back(report())[:3] for _ in range(6)]
    assert told == ["250"] * 5 + ["550"]


def test_what_an_application_sent_is_marked_and_the_report_not_kept(lab: Lab, sent: Sent) -> None:
    """It has no mailbox to lay the report in."""
    with lab.server.write() as tx:
        apps.add(lab.server, tx, "works", role="administrator", scopes=(), content_view=True)
    number = send(lab, "app:works")
    delivery.deliver(lab.server)
    with lab.server.write() as tx:
        app = people.find(tx, "app:works")
        assert app is not None
        expires = lab.server.clock.machine() + DAY
        token = tokens.issue(tx, "bounce", int(app.id), object=str(number), expires=expires)
    of_app = Sent(lab, sent.door, token, number)
    kept = len(rows(lab, messages))
    assert of_app.comes_back(report()).startswith("250")
    assert of_app.states()[OUT][0] == "failed"
    assert len(rows(lab, messages)) == kept


def test_what_is_still_under_way_is_not_over(lab: Lab, sent: Sent) -> None:
    with lab.server.write() as tx:
        tx.execute(update(deliveries).values(state="queued", finished=None))
    sent.comes_back(report())
    assert sent.states()[OUT][0] == "queued"


def test_hostile_words_of_a_report_are_made_visible(sent: Sent) -> None:
    sent.comes_back(report(diagnostic="550 \x1b[31m\u202egone " + "x" * 2_000))
    state, error = sent.states()[OUT]
    assert state == "failed"
    assert "\x1b" not in error
    assert "\u202e" not in error
    assert len(error) <= 500


def test_a_report_is_screened_as_all_mail_is(lab: Lab, sent: Sent) -> None:
    """At its own address anybody outside may write: a program in it is held, and the bounce counts all the same."""
    program = b'--b\r\nContent-Disposition: attachment; filename="a.exe"\r\n\r\nMZ\r\n--b--\r\n'
    sent.comes_back(report().replace(b"--b--\r\n", program))
    assert sent.states()[OUT][0] == "failed"
    (hold,) = lab.client(ANN).holds.list()
    assert hold.to_address == ANN


def test_a_blocked_sender_of_reports(lab: Lab, sent: Sent) -> None:
    lab.client(ANN).senders.add([EVE], "blocked")
    assert sent.comes_back(report(), sender=EVE).startswith("550 5.7.1")
    assert sent.states() == DELIVERED


# -- who is told, and sees it -----------------------------------------------------------------------------------


def fail(lab: Lab, recipient: str, error: str = "550 5.1.1 No") -> None:
    with lab.server.write() as tx:
        found = tx.execute(
            select(deliveries).where(deliveries.c.recipient == recipient, deliveries.c.kind != "written")
        )
        delivery.fail(lab.server, tx, [(row, error) for row in found.all()])


def notices(lab: Lab) -> dict[str, str]:
    """What the portal wrote, by whom it is to."""
    written = [row for row in rows(lab, deliveries) if row.kind == "written"]
    return {row.recipient: lab.server.home.blobs.read(row.blob).decode() for row in written}


def test_the_sender_is_told_at_once(lab: Lab) -> None:
    send(lab)
    fail(lab, OUT)
    (told,) = notices(lab).items()
    assert told[0] == ANN
    assert f"A message to {OUT} that you sent on" in told[1]
    assert "Reason: 550 5.1.1 No" in told[1]
    assert "Subject: Sent message not delivered" in told[1]


def test_a_sender_inside_is_told_of_a_recipient_inside(lab: Lab) -> None:
    bob = next(row for row in rows(lab, people.people) if row.address == BOB)
    send(lab, octets=mail_of(ANN, "Inside", to=BOB), recipients=[(bob.id, BOB)], outside=())
    fail(lab, BOB)
    assert list(notices(lab)) == [ANN]
    for who in (ANN, BOB):
        assert [row.to_addresses for row in lab.client(who).messages.bounced()] == [(BOB,)]
    assert list(lab.client(MOD).messages.bounced()) == []


def test_a_sender_outside_is_never_written_to(lab: Lab) -> None:
    lab.receive(mail_of(), reason=None)
    fail(lab, ANN)
    assert notices(lab) == {}
    assert len(list(lab.client(ANN).messages.bounced())) == 1


def test_bounced_mail_is_its_people_s_and_administrators(lab: Lab) -> None:
    send(lab)
    fail(lab, OUT)
    (row,) = lab.client(ANN).messages.bounced()
    assert [one.id for one in lab.client(ADMIN).messages.bounced()] == [row.id]
    assert [one.id for one in lab.client(ADMIN).messages.bounced(mailbox=ANN)] == [row.id]
    assert list(lab.client(BOB).messages.bounced()) == []
    info = lab.client(ANN).messages.info(row.id)
    assert (info.subject, info.text) == ("Offer", None)
    lab.client(ANN).account.add_delegate(BOB)
    assert [one.id for one in lab.client(BOB).messages.bounced(mailbox=ANN)] == [row.id]
    assert lab.client(BOB).messages.info(row.id).subject == "Offer"
    lab.client(ANN).account.remove_delegate(BOB)
    for call in (
        lambda: list(lab.client(BOB).messages.bounced(mailbox=ANN)),
        lambda: lab.client(BOB).messages.info(row.id),
        lambda: lab.client(ANN).messages.info(row.id, content=True),
    ):
        with pytest.raises(ForbiddenError):
            call()


def test_filters(lab: Lab) -> None:
    send(lab)
    fail(lab, OUT)
    fail(lab, TWO)
    bounced = lab.client(ANN).messages.bounced
    assert {row.to_addresses for row in bounced(to="elsewhere.example")} == {(OUT,), (TWO,)}
    assert [row.to_addresses for row in bounced(to="two*")] == [(TWO,)]
    assert list(bounced(subject="another")) == list(bounced(from_="bob")) == []
    assert len(list(bounced(subject="off", from_=ANN))) == 2


def test_a_month_is_told(lab: Lab) -> None:
    send(lab)
    fail(lab, OUT)
    lab.advance(days=29)
    assert len(list(lab.client(ANN).messages.bounced())) == 1
    lab.advance(days=2)
    assert list(lab.client(ANN).messages.bounced()) == []


# -- contacts ----------------------------------------------------------------------------------------------------


def test_who_is_written_to_becomes_a_contact(lab: Lab) -> None:
    send(lab, ANN, OUT, octets=mail_of(ANN, "one", to=f"Out There <{OUT}>"))
    lab.advance(hours=1)
    send(lab, ANN, OUT, TWO, octets=mail_of(ANN, "two", to=OUT, extra=f"Cc: {TWO}\n"))
    found = list(lab.client(ANN).account.contacts())
    assert [(one.address, one.name, one.uses) for one in found] == [(OUT, "Out There", 2), (TWO, "", 1)]
    assert found[0].last_used == found[1].last_used
    assert list(lab.client(BOB).account.contacts()) == []


def test_recipients_inside_count_and_oneself_does_not(lab: Lab) -> None:
    ids = {row.address: row.id for row in rows(lab, people.people)}
    send(lab, ANN, TWO, recipients=[(ids[BOB], BOB), (ids[ANN], ANN)])
    assert {one.address for one in lab.client(ANN).account.contacts()} == {BOB, TWO}


def test_what_a_program_sent_makes_no_contact(lab: Lab) -> None:
    send(lab, octets=mail_of(ANN, "Out of office", extra="Auto-Submitted: auto-replied\n"))
    assert list(lab.client(ANN).account.contacts()) == []


def test_mail_that_comes_makes_no_contact(lab: Lab) -> None:
    lab.receive(mail_of(), reason=None)
    assert list(lab.client(ANN).account.contacts()) == []


def test_contacts_are_searched_and_paged(lab: Lab) -> None:
    for number in range(3):
        for _ in range(number + 1):
            send(
                lab,
                ANN,
                f"c{number}@elsewhere.example",
                octets=mail_of(ANN, to=f"Übung {number} <c{number}@elsewhere.example>"),
            )
    with lab.client(ANN) as portal:
        assert [one.uses for one in portal.account.contacts()] == [3, 2, 1]
        assert [one.address for one in portal.account.contacts("übung 1")] == ["c1@elsewhere.example"]
        assert [one.uses for one in portal.account.contacts("c*@elsewhere*")] == [3, 2, 1]
        pages = portal.pages("/api/portal/account/contacts", {}, page_size=2)
        assert [[row["uses"] for row in page["data"]] for page in pages] == [[3, 2], [1]]
        everyone = [(one.address, one.uses) for one in portal.account.contacts(everyone=True)]
        assert everyone == [(address, 0) for address in sorted((ADMIN, ANN, BOB, MOD))]
