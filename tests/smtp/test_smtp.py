"""Mail in by SMTP: what is taken is stored octet by octet before it is acknowledged; what is refused says why."""

from __future__ import annotations

import base64
import re
import smtplib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which
from types import SimpleNamespace

import pytest
from talking import EVE, Talk, door_of, rows, stored, stuffed

from conftest import ANN, BOB, Lab, absent, mail_of
from http_peer import make_certificate
from mimeportal import limits
from mimeportal.errors import UnavailableError
from mimeportal_server import people
from mimeportal_server.smtp import SmtpDoor
from mimeportal_server.store.database import StoreError
from mimeportal_server.store.schema import audit, copies, deliveries, holds, messages, rejections

SPAM_FLAG = "X-Spam-Flag: YES\n"
PASSWORD = "Correct-Horse-7"


@pytest.fixture
def door(lab: Lab) -> Iterator[SmtpDoor]:
    with door_of(lab) as door:
        yield door


def plain(address: str, password: str) -> str:
    return base64.b64encode(f"\0{address}\0{password}".encode()).decode()


def configure(lab: Lab, **settings: str) -> None:
    """Set lines of portal.toml, before a door opens."""
    from mimeportal_server.settings import load

    text = lab.server.home.config.read_text()
    for name, value in settings.items():
        text, count = re.subn(rf"(?m)^(# )?{name} = .*$", f"{name} = {value}", text)
        assert count == 1
    lab.server.home.config.write_text(text)
    lab.server.settings = load(lab.server.home.config)


def lower(lab: Lab, **values: int) -> None:
    """Limits in portal.toml."""
    from mimeportal_server.settings import load

    config = lab.server.home.config
    config.write_text(config.read_text() + "\n[limits]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()))
    lab.server.settings = load(config)


# -- mail that is taken -----------------------------------------------------------------------------------------


def test_a_message_is_held_with_its_envelope(lab: Lab, door: SmtpDoor) -> None:
    octets = mail_of(sender="Zoe <zoe@shop.example>", subject="Offer", extra=SPAM_FLAG).replace(b"\n", b"\r\n")
    with smtplib.SMTP(*door.address, local_hostname="mx.elsewhere.example") as client:
        assert client.sendmail(EVE, [ANN, BOB], octets, ["BODY=8BITMIME"]) == {}
    (hold,) = lab.client().holds.list()
    assert (hold.subject, hold.from_address, hold.from_header, hold.route) == (
        "Offer",
        EVE,
        "zoe@shop.example",
        "inbound",
    )
    (message,) = rows(lab, messages)
    assert (message.remote_ip, message.remote_host, message.encrypted) == ("127.0.0.1", "mx.elsewhere.example", False)
    assert {row.recipient for row in rows(lab, holds)} == {ANN, BOB}
    assert stored(lab) == [octets]


def test_what_is_not_held_is_queued_and_the_deliverer_is_woken(lab: Lab) -> None:
    woken = threading.Event()
    with door_of(lab, on_accepted=woken.set) as door, Talk(door) as talk:
        assert talk.mail(b"Subject: x\r\n\r\n").startswith("250 2.0.0")
        assert woken.wait(10)
    (delivery,) = rows(lab, deliveries)
    assert (delivery.kind, delivery.sender, delivery.recipient, delivery.state) == ("screened", EVE, ANN, "queued")


def test_what_the_door_announces(door: SmtpDoor) -> None:
    with smtplib.SMTP(*door.address) as client:
        client.ehlo()
        assert set(client.esmtp_features) == {
            "pipelining", "size", "8bitmime", "smtputf8", "auth", "enhancedstatuscodes",
        }  # fmt: skip
        assert client.esmtp_features["size"] == str(limits.MESSAGE)
        assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]


OCTETS = {
    "empty": b"",
    "no header": b"\r\n",
    "only dots": b".\r\n..\r\n...\r\n",
    "a line that starts with a dot": b"Subject: x\r\n\r\n.hidden\r\n..twice\r\n",
    "8-bit and every other octet": b"X: " + bytes(set(range(256)) - {10, 13}) + b"\r\n\r\n\xff\xfe\x00\r\n",
    "NUL": b"Subject: x\x00y\r\n\r\n\x00\x00\r\n",
    "bare CR": b"a\rb\r\r\n\r\r.\r\r\n\r.\r.\r\n",
    "bare LF": b"a\nb\n\n.\nc\r\n",
    "LF dot LF": b"Subject: x\r\n\r\none\n.\ntwo\r\n",
    "LF dot CRLF": b"Subject: x\r\n\r\none\n.\r\ntwo\r\n",
    "CR dot CRLF": b"Subject: x\r\n\r\none\r.\r\ntwo\r\n",
    "CRLF dot LF": b"Subject: x\r\n\r\none\r\n.\ntwo\r\n",
    "CRLF dot CR": b"Subject: x\r\n\r\none\r\n.\rtwo\r\n",
    "ends in CR CRLF": b"Subject: x\r\n\r\none\r\r\n",
    "a line of a megabyte": b"Subject: x\r\n\r\n" + b"y" * 1_000_000 + b"\r\n",
    "a header of a megabyte": b"Subject: " + b"y" * 1_000_000 + b"\r\n\r\n",
    "many dots at line ends": b"x.\r\n" * 50_000,
    "the end across the reader's chunk": b"z" * (limits.SMTP_CHUNK - 2)
    + b"\r\n.."
    + b"z" * limits.SMTP_CHUNK
    + b".\r\n",
}


@pytest.mark.parametrize("octets", OCTETS.values(), ids=OCTETS)
def test_octets_are_stored_as_they_came(lab: Lab, door: SmtpDoor, octets: bytes) -> None:
    with Talk(door) as talk:
        assert talk.mail(octets).startswith("250")
        assert talk.mail(b"Subject: next\r\n\r\n").startswith("250"), "the next message was not read from its start"
    assert stored(lab) == [octets, b"Subject: next\r\n\r\n"]


def test_octets_may_come_one_by_one(lab: Lab, door: SmtpDoor) -> None:
    octets = b"Subject: x\r\n\r\n.\r\n\r\n.\r.\r\n"
    with Talk(door) as talk:
        talk.envelope()
        talk("DATA")
        for number in stuffed(octets) + b".\r\n":
            talk.send(bytes([number]))
        assert talk.reply().startswith("250")
    assert stored(lab) == [octets]


def test_ten_megabytes_in_one_line(lab: Lab, door: SmtpDoor) -> None:
    octets = b"Subject: x\r\n\r\n" + b"." * 10 * limits.MIB + b"\r\n"
    with Talk(door) as talk:
        assert talk.mail(octets).startswith("250")
    assert stored(lab) == [octets]


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n\n.\r\n"])
def test_nothing_is_smuggled_behind_another_end_of_data(lab: Lab, door: SmtpDoor, end: bytes) -> None:
    second = b"MAIL FROM:<ceo@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nSubject: pay\r\n\r\n"
    with Talk(door) as talk:
        talk.envelope()
        talk("DATA")
        talk.send(b"Subject: x\r\n\r\none" + end + second + b".\r\n")
        assert talk.reply().startswith("250")
        assert talk("NOOP").startswith("250")
    (message,) = rows(lab, messages)
    assert message.envelope_from == EVE
    assert [copy.recipient for copy in rows(lab, copies)] == [ANN]


def test_commands_may_be_sent_ahead(lab: Lab, door: SmtpDoor) -> None:
    one = f"MAIL FROM:<{EVE}>\r\nRCPT TO:<{ANN}>\r\nRCPT TO:<nobody@example.com>\r\nDATA\r\n".encode()
    with Talk(door) as talk:
        talk.send(one + b"Subject: 1\r\n\r\n.\r\n" + one + b"Subject: 2\r\n\r\n.\r\nNOOP\r\n")
        assert [talk.reply()[:3] for _ in range(11)] == ["250", "250", "550", "354", "250"] * 2 + ["250"]
    assert stored(lab) == [b"Subject: 1\r\n\r\n", b"Subject: 2\r\n\r\n"]


def test_addresses_in_utf8(lab: Lab, door: SmtpDoor) -> None:
    with Talk(door) as talk:
        assert talk("MAIL FROM:<jürgen@müller.example>").startswith("553 5.6.7")
        assert talk("MAIL FROM:<jürgen@müller.example> SMTPUTF8 BODY=8BITMIME").startswith("250")
        assert talk(f"RCPT TO:<{ANN}>").startswith("250")
        assert talk.data("Subject: Grüße\r\n\r\n".encode()).startswith("250")
    (message,) = rows(lab, messages)
    assert (message.envelope_from, message.subject) == ("jürgen@xn--mller-kva.example", "Grüße")


@pytest.mark.parametrize(
    ("command", "sender"),
    [
        ("MAIL FROM:<>", ""),
        ("mail from: <Eve@Elsewhere.EXAMPLE> SIZE=10", EVE),
        ("MAIL FROM:eve@elsewhere.example", EVE),
        ("MAIL FROM:<@a.example,@b.example:eve@elsewhere.example>", EVE),
        ('MAIL FROM:<"a>b c"@elsewhere.example>', '"a>b c"@elsewhere.example'),
        ("MAIL FROM:<eve@elsewhere.example> AUTH=<>", EVE),
        ("MAIL FROM:<eve@elsewhere.example> AUTH=eve", EVE),
        ("MAIL FROM:<root>", "root"),
        ("MAIL FROM:<root@localhost>", "root@localhost"),
        ("MAIL FROM:<root@[192.0.2.1]>", "root@[192.0.2.1]"),
        ('MAIL FROM:<"eve"@elsewhere.example>', EVE),
        ('MAIL FROM:<"e\\ve"@elsewhere.example>', EVE),
        ("MAIL FROM:<e\\ve@elsewhere.example>", EVE),
        ('MAIL FROM:<"eve."@elsewhere.example>', '"eve."@elsewhere.example'),
    ],
)
def test_forms_of_senders(lab: Lab, door: SmtpDoor, command: str, sender: str) -> None:
    with Talk(door) as talk:
        assert talk(command).startswith("250")
        talk(f"RCPT TO: <{ANN.upper()}>")
        assert talk.data(b"\r\n").startswith("250")
    assert rows(lab, messages)[0].envelope_from == sender


@pytest.mark.corpus
def test_real_mail_arrives_as_it_is(lab: Lab, corpus: Path) -> None:
    """Every message of the folder: its lines end in LF there; sent so, and with CRLF, octet by octet."""
    files = sorted(path for path in corpus.rglob("*") if path.is_file() and path.suffix != ".gz")
    assert len(files) >= 3_000
    sent = [file.read_bytes().replace(b"\n", b"\r\n") for file in files]
    sent = [octets if octets.endswith(b"\r\n") else octets + b"\r\n" for octets in sent]
    with door_of(lab) as door:

        def send(share: list[bytes]) -> None:
            with Talk(door) as talk:
                for octets in share:
                    assert talk.mail(octets).startswith("250")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(send, [sent[number::4] for number in range(4)]))
    assert sorted(stored(lab)) == sorted(sent)


# -- mail that is refused ---------------------------------------------------------------------------------------


def test_only_the_portals_people(lab: Lab, door: SmtpDoor) -> None:
    with lab.server.database.write() as tx:
        bob = people.find(tx, BOB)
        assert bob is not None
        people.disable(tx, int(bob.id), True)
    with Talk(door) as talk:
        replies = talk.envelope("nobody@example.com", BOB, "x@outside.example", "@", ANN)
    assert [reply[:9] for reply in replies] == [
        "250 2.1.0", "550 5.1.1", "550 5.1.1", "550 5.7.1", "553 5.1.3", "250 2.1.5",
    ]  # fmt: skip
    refused = rows(lab, rejections)
    assert [(row.recipient, row.type) for row in refused] == [
        ("nobody@example.com", "unknown_recipient"),
        (BOB, "unknown_recipient"),
        ("x@outside.example", "relaying_denied"),
        ("@", "bad_address"),
    ]
    assert [row.info for row in refused] == replies[1:5]
    assert {(row.sender, row.remote_ip, row.remote_host) for row in refused} == {(EVE, "127.0.0.1", "sender.example")}


def test_a_refusal_is_found_however_its_addresses_were_written(lab: Lab, door: SmtpDoor) -> None:
    client = lab.client()
    client.senders.add([EVE], list="blocked")
    with Talk(door) as talk:
        assert talk(f"MAIL FROM:<{EVE.upper()}>").startswith("250")
        for written in (ANN.upper(), ANN.replace("ann", '"ann"')):
            assert talk(f"RCPT TO:<{written}>").startswith("550 5.7.1")
        assert talk("RSET").startswith("250")
        assert talk(f"MAIL FROM:<{EVE.upper()}> SIZE={limits.MESSAGE + 1}").startswith("552")
    assert [(row.from_address, row.to_address) for row in client.messages.rejected()] == [(EVE, ANN)] * 2
    assert {row.sender for row in rows(lab, rejections)} == {EVE}


def test_the_fifth_unknown_recipient_ends_the_connection(lab: Lab, door: SmtpDoor) -> None:
    with Talk(door) as talk:
        replies = talk.envelope(*(f"nobody{number}@example.com" for number in range(4)))
        assert {reply[:3] for reply in replies[1:]} == {"550"}
        # What was sent ahead is not read.
        talk.send(b"RCPT TO:<nobody@example.com>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\n\r\n.\r\n")
        assert talk.reply().startswith("421")
        assert talk.reply() == ""
    assert stored(lab) == []
    assert len(rows(lab, rejections)) == limits.SMTP_UNKNOWN


@pytest.mark.parametrize(
    ("blocked", "permitted", "account", "told"),
    [
        ((EVE,), (), {}, "550 5.7.1"),
        (("elsewhere.example",), (), {}, "550 5.7.1"),
        (("elsewhere.example",), (EVE,), {}, "250"),
        ((EVE,), (), {"permitted_senders": f'["{EVE}"]'}, "250"),
        ((), (EVE,), {"blocked_senders": '["elsewhere.example"]'}, "550 5.7.1"),
        (("other.example",), (), {}, "250"),
    ],
)
def test_a_blocked_envelope_sender_is_refused_at_rcpt(
    lab: Lab, blocked: tuple[str, ...], permitted: tuple[str, ...], account: dict[str, str], told: str
) -> None:
    client = lab.client()
    for entry in blocked:
        client.senders.add([entry], list="blocked")
    for entry in permitted:
        client.senders.add([entry], list="permitted")
    configure(lab, **account)
    with door_of(lab) as door, Talk(door) as talk:
        assert talk.envelope()[1].startswith(told)
    assert [row.type for row in rows(lab, rejections)] == (["sender_blocked"] if told[0] == "5" else [])


@pytest.mark.parametrize(
    "domain", ["elsewhere.example(c)", "(c)elsewhere.example", "elsewhere.example,", "else where.example", "a..example"]
)
def test_a_sender_of_what_is_no_domain_is_refused(door: SmtpDoor, domain: str) -> None:
    """Whatever reads the domain in its own way, a list of senders would not."""
    with Talk(door) as talk:
        assert talk(f"MAIL FROM:<eve@{domain}>").startswith("553 5.1.7")


def test_a_forged_sender_of_ours_is_not_permitted(lab: Lab) -> None:
    """promises B.4: a permit does not count for the account's own domains on mail of nobody who logged in."""
    configure(lab, permitted_senders=f'["{BOB}"]', blocked_senders='["example.org"]')
    lab.client().senders.add(["example.org"], list="blocked")
    with door_of(lab) as door, Talk(door) as talk:
        assert talk.mail(mail_of(sender=BOB, extra=SPAM_FLAG).replace(b"\n", b"\r\n"), sender=BOB).startswith("250")
    assert [row.outcome for row in rows(lab, copies)] == ["held"]


def test_a_blocked_header_sender_is_dropped_for_its_recipient_alone(lab: Lab, door: SmtpDoor) -> None:
    lab.client().senders.add(["zoe@shop.example"], list="blocked")
    with Talk(door) as talk:
        octets = mail_of(sender="zoe@shop.example").replace(b"\n", b"\r\n")
        assert talk.mail(octets, ANN, BOB).startswith("250")
    assert {row.recipient: row.outcome for row in rows(lab, copies)} == {ANN: "blocked", BOB: "delivered"}


def test_a_full_mailbox(lab: Lab) -> None:
    lower(lab, person_octets=1_000)
    with door_of(lab) as door, Talk(door) as talk:
        assert talk.mail(b"x" * 598 + b"\r\n").startswith("250")
        # Known too late for RCPT: for all or for none, as there is one reply.
        assert [reply[:3] for reply in talk.envelope(ANN, BOB)] == ["250", "250", "250"]
        assert talk.data(b"x" * 598 + b"\r\n").startswith("452 4.2.2")
        assert talk("MAIL FROM:<> SIZE=600").startswith("250")
        assert talk(f"RCPT TO:<{ANN}>").startswith("452 4.2.2")
        assert talk(f"RCPT TO:<{BOB}>").startswith("250")
    assert [row.recipient for row in rows(lab, copies)] == [ANN]
    assert [(row.type, row.recipient) for row in rows(lab, rejections)] == [
        ("mailbox_full", ANN), ("mailbox_full", BOB), ("mailbox_full", ANN),
    ]  # fmt: skip


def test_a_message_over_the_limit(lab: Lab) -> None:
    lower(lab, message=10_000)
    with door_of(lab) as door, Talk(door) as talk:
        assert talk("EHLO x").count("SIZE 10000") == 1
        assert talk("MAIL FROM:<> SIZE=10001").startswith("552 5.3.4")
        assert talk.mail(b"y" * 9_998 + b"\r\n").startswith("250")
        # Dots that are put in front for the way are not counted.
        assert talk.mail(b".\r\n" * 3_333).startswith("250")
        for size in (9_999, 200_000, 10 * limits.MIB):
            talk.envelope()
            assert talk.data(b"y" * size + b"\r\n").startswith("552 5.3.4")
        assert talk.mail(b"\r\n").startswith("250")
    assert [len(octets) for octets in stored(lab)] == [10_000, 9_999, 2]
    assert {row.type for row in rows(lab, rejections)} == {"message_too_large"}


def test_too_many_recipients(lab: Lab, door: SmtpDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_RECIPIENTS", 1)
    with Talk(door) as talk:
        assert [reply[:9] for reply in talk.envelope(ANN, BOB)] == ["250 2.1.0", "250 2.1.5", "452 4.5.3"]
        assert talk.data(b"\r\n").startswith("250")
    assert [row.type for row in rows(lab, rejections)] == ["too_many_recipients"]


def test_a_full_disk(lab: Lab, door: SmtpDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise UnavailableError("The disk is full.")

    with Talk(door) as talk:
        talk.envelope()
        monkeypatch.setattr(lab.server.home, "refuse_if_full", full)
        assert talk.data(b"\r\n").startswith("452 4.3.1")
        assert talk(f"MAIL FROM:<{EVE}>").startswith("452 4.3.1")
        monkeypatch.undo()
        assert talk.mail(b"\r\n").startswith("250")
    assert [(row.type, row.recipient) for row in rows(lab, rejections)] == [("disk_full", ANN), ("disk_full", "")]


@pytest.mark.parametrize("fault", [OSError(5, "the disk failed"), StoreError("in use", passing=True), KeyError("x")])
def test_what_cannot_be_stored_is_not_acknowledged(
    lab: Lab, door: SmtpDoor, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def broken(*_: object) -> None:
        raise fault

    with Talk(door) as talk:
        monkeypatch.setattr(lab.server.home.blobs, "add_missing", broken)
        talk.envelope()
        assert talk.data(b"\r\n").startswith("451 4.3.0")
        assert stored(lab) == []
        monkeypatch.undo()
        assert talk.mail(b"\r\n").startswith("250")
    assert stored(lab) == [b"\r\n"]


def test_one_message_that_breaks_the_writer_breaks_no_other(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages that wait together share a commit; when one of them fails, the rest is stored all the same."""
    from mimeportal_server import arrival, incoming

    parse, accept = incoming.parse, arrival.accept
    first, together = threading.Event(), threading.Event()
    sizes: list[int] = []

    def parsing(octets: bytes, *given: object, **more: object) -> incoming.Incoming:
        if octets.startswith(b"poison"):
            raise ValueError("no message")
        return parse(octets, *given, **more)  # type: ignore[arg-type]

    def accepting(portal: object, batch: list[incoming.Incoming], **more: object) -> object:
        sizes.append(len(batch))
        if len(sizes) == 1:
            first.set()
            assert together.wait(30)
        return accept(portal, batch, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(incoming, "parse", parsing)
    monkeypatch.setattr(arrival, "accept", accepting)
    with door_of(lab) as door, ThreadPoolExecutor(8) as pool:

        def send(octets: bytes) -> str:
            with Talk(door) as talk:
                return talk.mail(octets)

        alone = pool.submit(send, b"first\r\n")
        assert first.wait(30)
        waiting = [pool.submit(send, octets) for octets in (b"1\r\n", b"2\r\n", b"poison\r\n", b"3\r\n")]
        while door.writer._waiting.qsize() < 4:
            assert not any(future.done() for future in waiting)
        together.set()
        assert [future.result()[:3] for future in (alone, *waiting)] == ["250", "250", "250", "451", "250"]
    assert sorted(stored(lab)) == [b"1\r\n", b"2\r\n", b"3\r\n", b"first\r\n"]
    assert sizes == [1, 1, 1, 1]  # after the poison each by itself


def test_what_waits_together_shares_a_commit(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from mimeportal_server import arrival, incoming

    accept = arrival.accept
    first, together = threading.Event(), threading.Event()
    sizes: list[int] = []

    def accepting(portal: object, batch: list[incoming.Incoming], **more: object) -> object:
        sizes.append(len(batch))
        if len(sizes) == 1:
            first.set()
            assert together.wait(30)
        return accept(portal, batch, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(arrival, "accept", accepting)
    with door_of(lab) as door, ThreadPoolExecutor(8) as pool:

        def send(number: int) -> str:
            with Talk(door) as talk:
                return talk.mail(f"{number}\r\n".encode())

        alone = pool.submit(send, 0)
        assert first.wait(30)
        waiting = [pool.submit(send, number) for number in range(1, 6)]
        while door.writer._waiting.qsize() < 5:
            assert not any(future.done() for future in waiting)
        together.set()
        assert all(future.result().startswith("250") for future in (alone, *waiting))
    assert sizes == [1, 5]


def test_a_peer_that_lost_its_250_makes_a_second_message(lab: Lab) -> None:
    taken = threading.Event()
    with door_of(lab, on_accepted=taken.set) as door:
        with Talk(door) as talk:
            talk.envelope()
            talk("DATA")
            talk.send(b"Subject: x\r\n\r\n.\r\n")
            assert taken.wait(30)  # and it goes without having read the reply
        with Talk(door) as talk:
            assert talk.mail(b"Subject: x\r\n\r\n").startswith("250")
    assert stored(lab) == [b"Subject: x\r\n\r\n"] * 2


def test_half_a_message_is_no_message(lab: Lab, door: SmtpDoor) -> None:
    with Talk(door) as talk:
        talk.envelope()
        talk("DATA")
        talk.send(b"Subject: x\r\n\r\nand then")
    with Talk(door) as talk:
        assert talk.mail(b"whole\r\n").startswith("250")
    assert stored(lab) == [b"whole\r\n"]
    assert door.in_flight.octets == 0


def test_stopping_answers_what_was_sent_whole(lab: Lab) -> None:
    door = SmtpDoor(lab.server, "127.0.0.1", 0)
    door.start()
    with Talk(door) as one, Talk(door) as other:
        one.envelope()
        assert one("DATA").startswith("354")
        other.envelope()
        door.stop()
        assert one.reply().startswith("421")
        assert one.reply() == ""
        assert other.reply().startswith("421")


# -- logging in, and sending --------------------------------------------------------------------------------------


@pytest.fixture
def password(lab: Lab) -> str:
    lab.client().account.set_password(PASSWORD)
    return PASSWORD


def test_somebody_who_logged_in_writes_inside_and_outside(lab: Lab, door: SmtpDoor, password: str) -> None:
    octets = mail_of(sender=ANN, to=BOB, extra=SPAM_FLAG).replace(b"\n", b"\r\n")
    with smtplib.SMTP(*door.address) as client:
        client.login(ANN, password)
        assert client.sendmail(ANN, [BOB, "x@outside.example", "y@outside.example"], octets) == {}
    assert {(row.recipient, row.outcome) for row in rows(lab, copies)} == {
        (BOB, "held"), ("x@outside.example", "sent"), ("y@outside.example", "sent"),
    }  # fmt: skip
    assert [(row.recipient, row.kind, row.sender) for row in rows(lab, deliveries)] == [
        ("x@outside.example", "submitted", ANN),
        ("y@outside.example", "submitted", ANN),
    ]
    (hold,) = rows(lab, holds)
    (message,) = rows(lab, messages)
    assert (hold.route, message.route) == ("internal", "outbound")
    with lab.server.database.read() as tx:
        ann, bob = people.find(tx, ANN), people.find(tx, BOB)
    assert ann is not None
    assert bob is not None
    assert (ann.octets, bob.octets) == (2 * len(octets), len(octets))
    arrived = [row for row in rows(lab, audit) if row.action == "arrive"]
    assert {(row.actor, row.door) for row in arrived} == {(ann.id, "smtp")}


def test_a_permitted_colleague_who_logged_in_is_no_forgery(lab: Lab, password: str) -> None:
    configure(lab, permitted_senders=f'["{ANN}"]')
    with door_of(lab) as door, smtplib.SMTP(*door.address) as client:
        client.login(ANN, password)
        client.sendmail(ANN, [BOB], mail_of(sender=ANN, extra=SPAM_FLAG))
    assert [(row.outcome, row.decided_by) for row in rows(lab, copies)] == [
        ("delivered", f"account permitted sender {ANN}")
    ]
    assert rows(lab, messages)[0].route == "internal"


def test_whoever_logs_in_sends_as_themselves(lab: Lab, door: SmtpDoor, password: str) -> None:
    with Talk(door) as talk:
        assert talk(f"AUTH PLAIN {plain(ANN.upper(), password)}").startswith("235")
        assert talk(f"AUTH PLAIN {plain(ANN, password)}").startswith("503")
        for sender in (BOB, EVE, ""):
            assert talk(f"MAIL FROM:<{sender}>").startswith("553 5.7.1")
        assert talk(f"MAIL FROM:<{ANN}>").startswith("250")
        assert talk("RCPT TO:<nobody@example.com>").startswith("550 5.1.1")
    assert {row.type for row in rows(lab, rejections)} == {"sender_not_own", "unknown_recipient"}


@pytest.mark.parametrize(
    "offered",
    [plain(ANN, "wrong"), plain("nobody@example.com", PASSWORD), plain(BOB, PASSWORD), plain("app:x", ""), "AP/+AHg="],
)
def test_a_wrong_password(lab: Lab, door: SmtpDoor, password: str, offered: str) -> None:
    with Talk(door) as talk:
        assert talk(f"AUTH PLAIN {offered}").startswith("535 5.7.8")
        assert talk(f"MAIL FROM:<{ANN}>").startswith("250")
        assert talk("RCPT TO:<x@outside.example>").startswith("550 5.7.1 Relaying denied")


@pytest.mark.parametrize("disabled", [True, False])
def test_a_log_in_ends_with_what_it_was_made_of(lab: Lab, door: SmtpDoor, password: str, disabled: bool) -> None:
    """promises E.2: who was disabled, or got another password, sends no more over a connection of before."""
    with Talk(door) as talk:
        assert talk(f"AUTH PLAIN {plain(ANN, password)}").startswith("235")
        assert talk.mail(b"Subject: before\r\n\r\n", BOB, sender=ANN).startswith("250")
        assert [reply[:3] for reply in talk.envelope(BOB, sender=ANN)] == ["250", "250"]
        with lab.server.write() as tx:
            ann = people.find(tx, ANN)
            assert ann is not None
            if disabled:
                people.disable(tx, int(ann.id), True)
            else:
                people.reset(tx, int(ann.id), lab.server.clock.machine())
        assert talk("DATA").startswith("421")
        assert talk.reply() == ""
    assert stored(lab) == [b"Subject: before\r\n\r\n"]


def test_guessing_is_locked_out_as_everywhere(
    lab: Lab, door: SmtpDoor, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOGINS_PER_NETWORK", limits.LOCK_FAILURES + 1)
    with Talk(door) as talk:
        for _ in range(limits.LOCK_FAILURES):
            assert talk(f"AUTH PLAIN {plain(ANN, 'wrong')}").startswith("535")
        assert talk(f"AUTH PLAIN {plain(ANN, password)}").startswith("535")
        assert talk(f"AUTH PLAIN {plain(ANN, password)}").startswith("454 4.7.0")


@pytest.mark.parametrize("form", ["LOGIN", "login", "LOGIN with name", "PLAIN alone"])
def test_forms_of_logging_in(lab: Lab, door: SmtpDoor, password: str, form: str) -> None:
    name, secret = (base64.b64encode(text.encode()).decode() for text in (ANN, password))
    with Talk(door) as talk:
        if form == "PLAIN alone":
            assert talk("AUTH PLAIN").startswith("334")
            assert talk(plain(ANN, password)).startswith("235")
            return
        told = talk(f"AUTH {form[:5]} {name}" if form.endswith("name") else f"AUTH {form}")
        assert told.startswith("334")
        if not form.endswith("name"):
            assert talk(name).startswith("334")
        assert talk(secret).startswith("235")


@pytest.mark.parametrize("command", ["AUTH", "AUTH CRAM-MD5", "AUTH PLAIN !!!", "AUTH PLAIN a b", "AUTH PLAIN AAAA"])
def test_bad_log_ins(door: SmtpDoor, command: str) -> None:
    with Talk(door) as talk:
        assert talk(command)[:2] in ("50", "53")
        assert talk("AUTH LOGIN").startswith("334")
        assert talk("*").startswith("501")
        talk.envelope()
        assert talk(f"AUTH PLAIN {plain(ANN, 'x')}").startswith("503")


# -- TLS --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"), "DNS:localhost")


@pytest.fixture
def tls(lab: Lab, certificate: Path) -> Iterator[SmtpDoor]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with door_of(lab, tls=context) as door:
        yield door


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


def test_mail_over_tls(lab: Lab, tls: SmtpDoor, trusting: ssl.SSLContext, password: str) -> None:
    octets = b"Subject: x\r\n\r\n" + b"y" * 3_000_000 + b"\r\n"
    with Talk(tls) as talk:
        assert "STARTTLS" in talk("EHLO x")
        assert talk("STARTTLS").startswith("220")
        talk.over_tls(trusting)
        assert talk(f"MAIL FROM:<{EVE}>").startswith("503"), "what was said before TLS is forgotten"
        assert "STARTTLS" not in talk("EHLO x")
        assert talk("STARTTLS").startswith("503")
        assert talk(f"AUTH PLAIN {plain(ANN, password)}").startswith("235")
        assert talk.mail(octets, BOB, sender=ANN).startswith("250")
    assert [row.encrypted for row in rows(lab, messages)] == [True]
    assert stored(lab) == [octets]


def test_commands_sent_ahead_of_tls_are_forgotten(lab: Lab, tls: SmtpDoor, trusting: ssl.SSLContext) -> None:
    """RFC 3207 6: who sits in between could put commands in front of those that come encrypted."""
    with Talk(tls) as talk:
        talk.envelope()
        talk.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@elsewhere.example>\r\n")
        assert talk.reply().startswith("220")
        talk.over_tls(trusting)
        assert talk("NOOP").startswith("250"), "an answer to a command that came in clear"
        assert talk(f"RCPT TO:<{ANN}>").startswith("503")


def test_no_tls_behind_starttls(lab: Lab, tls: SmtpDoor, trusting: ssl.SSLContext) -> None:
    with Talk(tls) as talk:
        assert talk("STARTTLS").startswith("220")
        talk.send(b"this is no TLS at all\r\n" * 10)
        while talk.reply():
            pass
    with Talk(tls) as talk:
        assert talk.mail(b"\r\n").startswith("250")


@pytest.mark.parametrize("stage", ["after", "amid"])
def test_a_peer_that_stays_does_not_keep_the_door_from_closing(
    lab: Lab, certificate: Path, trusting: ssl.SSLContext, stage: str
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    door = SmtpDoor(lab.server, "127.0.0.1", 0, tls=context)
    door.start()
    with Talk(door) as talk:
        assert talk("STARTTLS").startswith("220")
        if stage == "after":
            talk.over_tls(trusting)
            assert talk("NOOP").startswith("250")
        closing = threading.Thread(target=door.stop, daemon=True)
        closing.start()
        closing.join(10)
        assert not closing.is_alive()


def test_mistakes_over_tls_end_the_connection(
    tls: SmtpDoor, trusting: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    with Talk(tls) as talk:
        assert talk("STARTTLS").startswith("220")
        talk.over_tls(trusting)
        talk.send(b"WHAT\r\n" * 1_000)
        while talk.reply():
            pass
    assert [record for record in caplog.records if record.name == "mimeportal.smtp"] == []


def test_passwords_are_asked_for_over_tls_or_on_loopback_only(
    lab: Lab, tls: SmtpDoor, trusting: ssl.SSLContext, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mimeportal_server import smtp_connection

    def far(_: str) -> SimpleNamespace:
        return SimpleNamespace(is_loopback=False)

    monkeypatch.setattr(smtp_connection.ipaddress, "ip_address", far)
    with Talk(tls) as talk:
        assert "AUTH" not in talk("EHLO x")
        assert talk(f"AUTH PLAIN {plain(ANN, password)}").startswith("538")
        talk("STARTTLS")
        talk.over_tls(trusting)
        assert "AUTH PLAIN LOGIN" in talk("EHLO x")
        assert talk(f"AUTH PLAIN {plain(ANN, password)}").startswith("235")


# -- hostile peers ----------------------------------------------------------------------------------------------


HOSTILE = [
    b"EHLO " + b"x" * 100_000,
    b"EHLO " + b"x" * 5_000,
    b"x" * 1_000_000,
    b"\xff\xfe\x00",
    b"",
    b"GET / HTTP/1.1",
    b"MAIL FROM:<" + b"<" * 1_000,
    b"MAIL FROM:<a\x00b@elsewhere.example>",
    b"MAIL FROM:<\xff\xfe@elsewhere.example> SMTPUTF8",
    b'MAIL FROM:<"' + b"\\a" * 1_000 + b">",
    b"MAIL FROM:<" + b"a" * 300 + b"@elsewhere.example>",
    b"MAIL FROM:<eve@elsewhere.example> SIZE=-1",
    b"MAIL FROM:<eve@elsewhere.example> SIZE=" + b"9" * 4_000,
    b"MAIL FROM:<eve@elsewhere.example> BODY=BINARYMIME",
    b"MAIL FROM:<eve@elsewhere.example> X=1",
    b"MAIL FROM:(((((comment)))))@x",
    b"MAIL TO:<eve@elsewhere.example>",
    b"MAIL",
    b"RCPT TO:<ann@example.com>",
    b"DATA",
    b"DATA now",
    b"VRFY \xff" + b"x" * 100,
    b"EXPN staff",
    b"AUTH PLAIN " + b"A" * 4_000,
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_a_bad_command_gets_a_reply_and_stops_nothing(lab: Lab, door: SmtpDoor, line: bytes) -> None:
    with Talk(door) as talk:
        assert talk(line)[:1] in ("5", "2")
        assert talk("RSET").startswith("250")
        assert talk.mail(b"\r\n").startswith("250")
    assert stored(lab) == [b"\r\n"]


def test_hostile_names_of_servers_are_stored_clean(lab: Lab, door: SmtpDoor) -> None:
    with Talk(door) as talk:
        assert talk(b"EHLO \xff\x00" + b"x" * 1_000).startswith("250")
        assert talk.mail(b"\r\n").startswith("250")
        assert talk("RCPT TO:<x>").startswith("503")
    (message,) = rows(lab, messages)
    assert message.remote_host.startswith("\ufffd\ufffdxxx")
    assert len(message.remote_host) <= 255


def test_an_endless_answer_to_a_challenge(door: SmtpDoor, caplog: pytest.LogCaptureFixture) -> None:
    with Talk(door) as talk:
        assert talk("AUTH LOGIN").startswith("334")
        talk.send(b"A" * (4 * limits.SMTP_CHUNK))
        assert talk.reply().startswith("421")
    assert [record for record in caplog.records if record.name == "mimeportal.smtp"] == []


def test_too_many_mistakes_end_the_connection(door: SmtpDoor) -> None:
    with Talk(door) as talk:
        talk.send(b"\r\n" * 1_000)
        told = []
        while reply := talk.reply():
            told.append(reply)
    assert len(told) == limits.SMTP_MISTAKES + 1
    assert told[-1].startswith("421 4.7.0")


@pytest.mark.parametrize("limit", ["SMTP_REJECTIONS", "SMTP_REJECTIONS_OF_ALL"])
def test_refusals_are_recorded_up_to_a_limit(
    lab: Lab, door: SmtpDoor, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(limits, limit, 10)
    for _ in range(3):
        with Talk(door) as talk:
            for _ in range(10):
                assert talk(f"MAIL FROM:<> SIZE={limits.MESSAGE + 1}").startswith("552")
    assert len(rows(lab, rejections)) == 10


def test_too_many_connections(lab: Lab, door: SmtpDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_CONNECTIONS_FROM_ONE", 2)
    with Talk(door), Talk(door):
        with Talk(door, greet=False) as third:
            assert third.reply().startswith("421 4.7.0")
            assert third.reply() == ""
        monkeypatch.setattr(limits, "SMTP_CONNECTIONS", 2)
        with Talk(door, greet=False) as third:
            assert third.reply().startswith("421 4.3.2")
            assert third.reply() == ""


def test_too_many_octets_on_their_way(lab: Lab, door: SmtpDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_IN_FLIGHT", 2_000_000)  # half of it for one network
    with Talk(door) as one, Talk(door) as other:
        one.envelope()
        one("DATA")
        one.send(b"x" * 900_000)
        while door.in_flight.octets < 800_000:
            assert other("NOOP").startswith("250")
        other.envelope()
        assert other.data(b"y" * 300_000 + b"\r\n").startswith("452 4.3.1")
        one.send(b"\r\n.\r\n")
        assert one.reply().startswith("250")
        assert other.mail(b"y" * 300_000 + b"\r\n").startswith("250")
    assert door.in_flight.octets == 0


@pytest.mark.parametrize("stage", ["command", "data"])
def test_who_is_slow_is_hung_up_on(lab: Lab, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    monkeypatch.setattr(limits, "SMTP_IDLE_SECONDS" if stage == "command" else "SMTP_DATA_SECONDS", 0.2)
    with door_of(lab) as door, Talk(door) as talk:
        if stage == "data":
            talk.envelope()
            talk("DATA")
            talk.send(b"Subject: x\r\n")
        assert talk.reply().startswith("421 4.4.2")
        assert talk.reply() == ""
        assert door.in_flight.octets == 0
    assert stored(lab) == []


# -- as others send ---------------------------------------------------------------------------------------------


def test_swaks(lab: Lab, tls: SmtpDoor, password: str) -> None:
    if which("swaks") is None:
        absent("swaks")
    host, port = tls.address
    command = ["swaks", "--server", f"{host}:{port}", "--from", EVE, "--to", ANN, "--header", "X-Spam-Flag: YES"]
    for more in ([], ["--pipeline"], ["--tls"]):
        done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert [row.state for row in rows(lab, holds)] == ["held"] * 3


def test_it_is_there_again_after_a_stop(lab: Lab) -> None:
    with door_of(lab) as door:
        address = door.address
    again = SmtpDoor(lab.server, *address)
    again.start()
    with Talk(again) as talk:
        assert talk.mail(b"\r\n").startswith("250")
        with pytest.raises(OSError):
            SmtpDoor(lab.server, *address).start()
    again.stop()
