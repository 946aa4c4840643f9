"""Mail that a rule of portal.toml sends securely, by whatever way its sender sends it; and what stays as it was."""

from __future__ import annotations

import smtplib

import pytest
from talking import door_of, rows

from conftest import ADMIN, ANN, BOB, mail_of
from mimeportal import limits
from mimeportal.errors import ForbiddenError
from mimeportal_server import outsiders
from mimeportal_server import people as persons
from mimeportal_server.mail import preview
from mimeportal_server.store.schema import copies, deliveries, messages, secure_messages
from mimeportal_server.store.schema import people as persons_table
from secure_people import CARL, DEFINITION, DORA, People, people

__all__ = ["people"]

PASSWORD = "Correct-Horse-7"
TRIGGER = f"""\
mode = "full"

[[secure.trigger]]
policy = "Confidential"
definition = "{DEFINITION}"
subject = "*confidential*"

[[secure.trigger]]
policy = "Clients of ours"
definition = "Default Secure Messaging Definition"
recipient = "other.example"
"""


def submit(people: People, subject: str, *to: str) -> None:
    people.configure(TRIGGER)
    people.client(ANN).account.set_password(PASSWORD)
    people.close()
    octets = mail_of(sender=ANN, to=", ".join(to), subject=subject, body="The text.\r\n").replace(b"\n", b"\r\n")
    with door_of(people.lab) as door, smtplib.SMTP(*door.address) as client:
        client.login(ANN, PASSWORD)
        assert client.sendmail(ANN, list(to), octets.replace(b"\r\r", b"\r")) == {}


def test_what_a_rule_fits_goes_securely(people: People) -> None:
    submit(people, "Confidential: the offer", CARL, BOB)
    (row,) = people(CARL).list()
    assert (row.subject, row.from_address, row.expires is not None) == ("Confidential: the offer", ANN, True)
    assert people(CARL).get(row.id).text.splitlines() == ["The text."]
    (monitored,) = people(ADMIN).monitor()
    assert (monitored.policy, monitored.definition, monitored.to) == ("Confidential", DEFINITION, (CARL, BOB))
    assert people(ANN).get(row.id).policy == "Confidential"
    (notice,) = people.mail(CARL)
    assert "The text." not in notice
    (inside,) = people.mail(BOB)
    assert inside.index("[Secure Messaging]") < inside.index("The text.")
    assert {(copy.recipient, copy.outcome) for copy in rows(people.lab, copies)} == {
        (CARL, "secure"),
        (BOB, "delivered"),
    }
    sent = people.client(ANN).messages.list("sent").first(1)[0]
    assert (sent.subject, sent.ccm) == ("Confidential: the offer", True)
    assert [one.status for one in people.client(ANN).messages.recipients(sent.id)] == ["delivered"]


def test_of_several_outside_all_get_it_securely(people: People) -> None:
    submit(people, "Offer", CARL, DORA)
    assert [message.subject for message in people(CARL).list()] == ["Offer"]
    assert [message.definition for message in people(ADMIN).monitor()] == ["Default Secure Messaging Definition"]


def test_room_for_the_message_is_room_for_its_banner(people: People) -> None:
    subject = "Confidential: the offer"
    octets = mail_of(sender=ANN, to=f"{CARL}, {BOB}", subject=subject, body="The text.\r\n").replace(b"\n", b"\r\n")
    nearly = limits.PERSON_OCTETS - len(octets) - 50  # with room for it as it comes, and not for the banner
    with people.lab.server.write() as tx:
        tx.execute(persons_table.update().where(persons_table.c.address == BOB).values(octets=nearly))
    submit(people, subject, CARL, BOB)
    assert [message.subject for message in people(CARL).list()] == [subject]
    assert len(people.mail(BOB)) == 1, "what was taken in is not lost"
    with people.lab.server.database.read() as tx:
        assert persons.find(tx, BOB).octets > limits.PERSON_OCTETS  # type: ignore[union-attr]


def test_the_same_holds_for_mail_sent_from_the_portal(people: People) -> None:
    people.configure(TRIGGER)
    people.client(ANN).messages.send(to=CARL, subject="strictly confidential", body="The text.")
    assert [message.subject for message in people(CARL).list()] == ["strictly confidential"]
    assert [row.kind for row in rows(people.lab, deliveries)] == ["written"]


@pytest.mark.parametrize(("subject", "to"), [("Offer", CARL), ("Confidential", BOB)])
def test_everything_else_goes_as_it_went(people: People, subject: str, to: str) -> None:
    submit(people, subject, to)
    assert rows(people.lab, secure_messages) == []
    (mail,) = people.mail(to)
    assert mail.endswith("The text.\r\n")
    assert "[Secure Messaging]" not in mail


def test_switched_off_no_rule_applies(people: People) -> None:
    people.configure(TRIGGER.replace('"full"', '"off"'))
    people.client(ANN).messages.send(to=CARL, subject="confidential", body="The text.")
    assert rows(people.lab, secure_messages) == []
    assert len(people.mail(CARL)) == 1


def test_whoever_is_outside_gets_no_mail_here_and_sends_none(people: People) -> None:
    """An outsider's row is no mailbox: neither by the address, nor when its domain becomes the account's own."""
    with people.lab.server.write() as tx:
        outsiders.invite(tx, people.lab.server, CARL)
        outsiders.invite(tx, people.lab.server, "dan@example.com")
    with door_of(people.lab) as door, smtplib.SMTP(*door.address) as client:
        client.ehlo()
        for address, reply in ((CARL, 550), ("dan@example.com", 550)):
            client.mail("eve@third.example")
            assert client.rcpt(address)[0] == reply
            client.rset()
    assert rows(people.lab, messages) == []


def test_whoever_was_outside_may_become_one_of_the_account_s_people(people: People) -> None:
    server = people.lab.server
    with server.write() as tx:
        outsiders.invite(tx, server, "dan@example.com")
    with pytest.raises(ForbiddenError):
        list(people.client("dan@example.com").holds.list())
    people.close()
    with server.write() as tx:
        assert persons.add(tx, "dan@example.com", domains=("example.com",), now=0)[1] is False
        dan = persons.find(tx, "dan@example.com")
    assert dan is not None
    assert (dan.kind, dan.role, dan.epoch) == ("person", "user", 1)
    assert list(people.client("dan@example.com").holds.list()) == []


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_banner_changes_no_octet_of_the_body(people: People, end: bytes) -> None:
    from mimeportal_server.secure_notices import with_banner

    lines = [
        b"From: ann@example.com", b"Subject: =?utf-8?q?=C3=A4?=", b"MIME-Version: 1.0",
        b'Content-Type: multipart/mixed;', b' boundary="in"', b"X-Other: a", b" b", b"",
        b"--in", b"Content-Type: text/plain; charset=utf-8", b"", "Grüße".encode(), b"--in--", b"",
    ]  # fmt: skip
    octets = end.join(lines)
    made = with_banner(octets, ["[Secure Messaging] ann"], ["X-Secure-Message: 1"], lambda: "out")
    body = octets.partition(end + end)[2]
    assert body in made
    seen = preview(made)
    assert seen.text.replace("\r\n", "\n").splitlines() == ["[Secure Messaging] ann", "Grüße"]
    assert [value for name, value in seen.headers if name == "X-Other"] == ["a b"]


@pytest.mark.parametrize(
    "octets", [b"", b"\r\n\r\nbody", b"From: a@b.example", b"no header at all\nbody\n", b"\x00\xff"]
)
def test_a_banner_on_what_is_hardly_a_message(octets: bytes) -> None:
    from mimeportal_server.secure_notices import with_banner

    made = with_banner(octets, ["banner"], [], lambda: "out")
    assert preview(made).text.startswith("banner")
