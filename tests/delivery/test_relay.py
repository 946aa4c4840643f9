"""SMTP relay: at least once, octets as promises C.3 says, what is refused and what is tried again."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from mimeportal import limits
from mimeportal_server import delivery, relay
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal
from mimeportal_server.store.blobs import name_of
from mimeportal_server.store.schema import audit, audit_details, deliveries
from smtp_peer import Peer

ANN, BOB, MOD, EVE = "ann@example.com", "bob@example.com", "mod@example.com", "eve@elsewhere.example"
MINUTE = 60_000
LARGE = (b"x" * 9_999 + b"\n") * 800


class Out:
    """A portal whose outbox goes to a peer."""

    def __init__(self, lab: Any, peer: Peer) -> None:
        self.lab = lab
        self.peer = peer
        config = lab.path / "portal.toml"
        text = config.read_text().replace('to = "maildir"', f'to = "smtp"\nrelay = "127.0.0.1:{peer.port}"')
        config.write_text(text)
        self.portal = Portal(Home.open(lab.path), wall=lambda: lab.time)

    def later(self, hours: float) -> None:
        """As another process, some time later: a clock that jumps within one is not believed."""
        self.lab.time += hours * 3600
        self.portal.close()
        self.portal = Portal(Home.open(self.lab.path), wall=lambda: self.lab.time)

    def queue(self, octets: bytes, *, sender: str = EVE, to: str = ANN, **values: Any) -> int:
        name = name_of(octets)
        self.portal.home.blobs.add({name: octets})
        row = {"blob": name, "kind": "screened", "sender": sender, "recipient": to, "state": "queued"}
        with self.portal.write() as tx:
            queued = tx.execute(insert(deliveries), {**row, "queued": self.portal.clock.now(), **values})
        assert queued.inserted_primary_key
        return int(queued.inserted_primary_key[0])

    def deliver(self) -> dict[str, int]:
        return {name: count for name, count in delivery.deliver(self.portal).items() if count}

    def row(self, number: int) -> Any:
        with self.portal.database.read() as tx:
            return tx.execute(select(deliveries).where(deliveries.c.id == number)).one()

    def acts(self, number: int) -> list[tuple[str, dict[str, Any]]]:
        with self.portal.database.read() as tx:
            rows = tx.execute(
                select(audit.c.outcome, audit_details.c.detail)
                .join(audit_details, audit_details.c.audit_id == audit.c.id)
                .where(audit.c.object_kind == "delivery", audit.c.object_id == number, audit.c.action == "deliver")
                .order_by(audit.c.id)
            )
            return [(row.outcome, json.loads(row.detail)) for row in rows]


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


@pytest.fixture
def out(lab: Any, peer: Peer) -> Iterator[Out]:
    out = Out(lab, peer)
    yield out
    out.portal.close()


def on_the_wire(octets: bytes) -> bytes:
    """The rule of promises C.3, written down a second time."""
    lines = re.sub(rb"\r\n|\n|\r", b"\r\n", octets)
    return lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n"


OCTETS = {
    "LF": b"Subject: a\n\nbody\n",
    "CRLF": b"Subject: a\r\n\r\nbody\r\n",
    "CR": b"Subject: a\r\rbody\rmore\r",
    "mixed": b"Subject: a\n\r\nx\r\r\n\n\ry\n\r\r",
    "no final newline": b"Subject: a\n\nbody",
    "CR at the end": b"Subject: a\n\nbody\r",
    "dots": b".first\n\n.\n..\n.x\r.y\r\n.\r\n",
    "a dot at the end": b"Subject: a\n\n.",
    "8 bit": "Subject: ä\n\nGrüße\xff\n".encode("latin-1"),
    "long lines": b"Subject: " + b"s" * 5000 + b"\n\n" + b"x" * 20_000 + b"\n",
    "no header": b"\n\nbody\n",
    "header untouched": b"Received: from x\n\tby y\nSUBJECT :  a \n folded\nBcc: z@x.example\n\nb\n",
    "empty": b"",
}


def test_octets_arrive_with_their_line_ends_as_crlf_and_nothing_else_changed(out: Out) -> None:
    sent = {out.queue(octets): octets for octets in OCTETS.values()}
    assert out.deliver() == {"delivered": len(OCTETS)}
    assert [taken.delivery for taken in out.peer.taken] == list(sent)
    for taken, octets in zip(out.peer.taken, OCTETS.values(), strict=True):
        assert taken.octets == on_the_wire(octets)
        assert re.fullmatch(rb"Received: by example\.com \(mimeportal\) id D\d+; [ -~]+", taken.line)
        assert (taken.sender, taken.recipients) == (EVE, (ANN,))
        assert ("BODY=8BITMIME" in taken.options) is not octets.isascii()
        assert out.row(taken.delivery).state == "delivered"
        assert [outcome for outcome, _ in out.acts(taken.delivery)] == ["done"]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pieces_of_any_size_make_the_same_octets(size: int) -> None:
    for octets in OCTETS.values():
        pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
        sent = b"".join(relay.on_the_wire(pieces))
        assert re.sub(rb"(?m)^\.", b"", sent) == on_the_wire(octets)
        assert b"\r\n.\r\n" not in b"\r\n" + sent


def test_a_large_message_passes_in_pieces(out: Out) -> None:
    octets = b"Subject: large\n\n" + b"".join(b"%07d\r" % number for number in range(80_000))
    out.queue(octets)
    assert out.deliver() == {"delivered": 1}
    assert out.peer.taken[0].octets == on_the_wire(octets)


@pytest.mark.corpus
def test_real_mail_arrives_once_over_one_connection(out: Out, corpus: Path) -> None:
    files = sorted((corpus / "spam-1").iterdir())[:10] + sorted((corpus / "ham-1").iterdir())[:10]
    sent = {out.queue(file.read_bytes()): file.read_bytes() for file in files}
    nul = {number for number, octets in sent.items() if b"\0" in octets}
    counts = out.deliver()
    assert counts["delivered"] == len(sent) - len(nul)
    assert out.peer.connections == 1
    assert {taken.delivery: taken.octets for taken in out.peer.taken} == {
        number: on_the_wire(octets) for number, octets in sent.items() if number not in nul
    }
    assert set(out.peer.times().values()) == {1}


def test_one_recipient_per_transaction(out: Out) -> None:
    octets = b"Subject: one\n\nfor two\n"
    numbers = [out.queue(octets, to=ANN), out.queue(octets, to=BOB)]
    out.deliver()
    assert [(taken.delivery, taken.recipients) for taken in out.peer.taken] == [
        (numbers[0], (ANN,)),
        (numbers[1], (BOB,)),
    ]


def test_written_mail_has_the_null_return_path(out: Out) -> None:
    out.queue(b"Subject: notice\n\nx\n", sender="no-reply@example.com", kind="written")
    out.queue(b"Subject: bounce\n\nx\n", sender="")
    out.deliver()
    assert [taken.sender for taken in out.peer.taken] == ["", ""]


# -- what cannot be taken -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "values", "without", "code"),
    [
        (b"Subject: a\n\nb\0\n", {}, (), "5.6.1"),
        (b"Subject: \xe4\n\nb\n", {}, ("8BITMIME",), "5.6.3"),
        (b"Subject: a\n\nb\n", {"sender": "jürgen@elsewhere.example"}, ("SMTPUTF8",), "5.6.7"),
        (b"Subject: a\n\nb\n", {"to": "jürgen@example.com"}, ("SMTPUTF8",), "5.6.7"),
        (b"Received: x\n" * 51 + b"\nb\n", {}, (), "5.4.6"),
        (b"Subject: a\n\nb\n", {"sender": "a@b.example> SIZE=1 <c@d.example"}, (), "5.1.7"),
        (b"Subject: a\n\nb\n", {"sender": "a\r\nRCPT TO:<x@y.example>"}, (), "5.1.7"),
        (b"Subject: a\n\nb\n", {"sender": "a b@c.example"}, (), "5.1.7"),
        (b"Subject: a\n\nb\n", {"to": ""}, (), "5.1.3"),
    ],
)
def test_what_the_next_hop_cannot_take_fails_for_good(
    out: Out, octets: bytes, values: dict[str, Any], without: tuple[str, ...], code: str
) -> None:
    out.peer.without = frozenset(without)
    number = out.queue(octets, **values)
    after = out.queue(b"Subject: next\n\nx\n")
    assert out.deliver() == {"failed": 1, "delivered": 1}
    row = out.row(number)
    assert row.state == "failed"
    assert row.finished
    assert row.error.startswith(code + " ")
    assert out.portal.home.blobs.read(row.blob) == octets
    ((outcome, detail),) = out.acts(number)
    assert outcome == "failed"
    assert detail["error"] == row.error
    assert [taken.delivery for taken in out.peer.taken] == [after]


def test_fifty_received_lines_pass(out: Out) -> None:
    out.queue(b"Received: x\n" * 50 + b"\nReceived: not a header\n")
    assert out.deliver() == {"delivered": 1}


def test_addresses_that_are_not_ascii_pass_with_smtputf8(out: Out) -> None:
    out.queue(b"Subject: a\n\nb\n", sender="jürgen@elsewhere.example", to="änn@example.com")
    assert out.deliver() == {"delivered": 1}
    (taken,) = out.peer.taken
    assert (taken.sender, taken.recipients) == ("jürgen@elsewhere.example", ("änn@example.com",))
    assert "SMTPUTF8" in taken.options


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
def test_a_refusal_fails_for_good_and_the_next_message_goes(out: Out, stage: str) -> None:
    out.peer.answer = lambda at, address: (
        "550 5.1.1 No such\u202euser here" if at == stage and address in (BOB, "b@x.example") else None
    )
    number = out.queue(b"Subject: a\n\nb\n", to=BOB, sender="b@x.example")
    after = out.queue(b"Subject: b\n\nb\n")
    assert out.deliver() == {"failed": 1, "delivered": 1}
    assert out.row(number).error.startswith("550 5.1.1 No such")
    assert out.row(after).state == "delivered"
    assert out.deliver() == {}
    assert out.peer.connections == 1


def test_octets_that_are_missing_fail_one_delivery_and_no_other(out: Out) -> None:
    number = out.queue(b"Subject: gone\n\nx\n")
    after = out.queue(b"Subject: here\n\nx\n")
    out.portal.home.blobs.delete(out.row(number).blob)
    assert out.deliver() == {"failed": 1, "delivered": 1}
    assert (out.row(number).state, out.row(number).error) == ("failed", "octets missing")
    assert out.row(after).state == "delivered"


def test_a_message_over_the_announced_size_is_refused_before_it_is_sent(out: Out) -> None:
    out.queue(b"x" * 34_000_000)
    assert out.deliver() == {"failed": 1}
    assert out.row(1).error.startswith("552")


# -- what is tried again ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
def test_a_passing_refusal_waits_longer_each_time(out: Out, stage: str) -> None:
    out.peer.answer = lambda at, address: "451 4.7.1 Later" if at == stage else None
    number = out.queue(b"Subject: a\n\nb\n")
    waits = (1, 5, 15, 60, 240, 240)
    for attempt, minutes in enumerate(waits if stage == "RCPT" else waits[:1], 1):
        assert out.deliver() == {"deferred": 1, "queued": 1}
        row = out.row(number)
        assert (row.state, row.attempts, row.finished) == ("queued", attempt, None)
        assert row.error == "451 4.7.1 Later"
        assert row.not_before == out.portal.clock.machine() + minutes * MINUTE
        assert not row.maybe_twice
        assert out.deliver() == {"queued": 1}, "not yet due"
        out.lab.time += minutes * 60
    out.peer.answer = lambda at, address: None
    assert out.deliver() == {"delivered": 1}
    assert out.row(number).error == ""
    assert set(out.peer.times().values()) == {1}


def test_after_five_days_it_is_given_up(out: Out) -> None:
    out.peer.answer = lambda at, address: "451 4.7.1 Later" if at == "RCPT" else None
    number = out.queue(b"Subject: a\n\nb\n")
    for _ in range(20):
        out.deliver()
        row = out.row(number)
        if row.state == "failed":
            break
        out.later(hours=10)
    assert row.error == "given up: 451 4.7.1 Later"
    assert 5 * 24 <= (row.finished - row.queued) / 3_600_000 <= 5 * 24 + 10


def test_a_clock_that_jumps_gives_nothing_up(out: Out) -> None:
    out.peer.answer = lambda at, address: "451 4.7.1 Later"
    number = out.queue(b"Subject: a\n\nb\n", attempts=30)
    out.lab.time += 30 * 86_400
    assert out.deliver() == {"deferred": 1, "queued": 1}
    assert out.row(number).state == "queued"


def test_five_days_without_a_try_give_nothing_up(out: Out) -> None:
    out.peer.answer = lambda at, address: "451 4.7.1 Later"
    number = out.queue(b"Subject: a\n\nb\n", queued=out.portal.clock.now() - 20 * 86_400_000)
    assert out.deliver() == {"deferred": 1, "queued": 1}
    assert out.row(number).state == "queued"


def test_without_a_relay_all_wait(lab: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
    out = Out(lab, Peer(port=port))
    numbers = [out.queue(b"Subject: %d\n\nb\n" % number) for number in range(5)]
    assert out.deliver() == {"deferred": 5, "queued": 5, "unreachable": 1}
    for number in numbers:
        assert out.row(number).attempts == 1
        assert out.row(number).error.startswith("no connection to the relay")
    out.portal.close()


def test_a_relay_that_refuses_the_connection_fails_nothing_for_good(lab: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        out = Out(lab, Peer(port=listening.getsockname()[1]))
        number = out.queue(b"Subject: a\n\nb\n")
        import threading

        def refuse() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"554 5.7.1 not you\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        assert out.deliver() == {"deferred": 1, "queued": 1, "unreachable": 1}
        thread.join()
        assert "554 5.7.1 not you" in out.row(number).error
        out.portal.close()


@pytest.mark.parametrize("stage", ["mail", "data"])
def test_a_connection_lost_before_the_dot_is_tried_again_and_arrives_once(out: Out, stage: str) -> None:
    out.peer.drop, out.peer.drops = stage, 1
    # Large enough for the loss to show while the octets are on their way.
    numbers = [out.queue(b"Subject: %d\n\n" % number + LARGE) for number in range(3)]
    assert out.deliver() == {"deferred": 1, "delivered": 2, "queued": 1}
    row = out.row(numbers[0])
    assert (row.state, row.attempts, row.maybe_twice) == ("queued", 1, False)
    assert "connection" in row.error
    out.lab.time += 3600
    assert out.deliver() == {"delivered": 1}
    assert out.peer.times() == dict.fromkeys(numbers, 1)


@pytest.mark.parametrize(("stage", "times"), [("dot", 1), ("reply", 2)])
def test_a_lost_reply_to_the_dot_is_tried_again_and_marked(out: Out, stage: str, times: int) -> None:
    out.peer.drop, out.peer.drops = stage, 1
    numbers = [out.queue(b"Subject: %d\n\nb\n" % number) for number in range(3)]
    assert out.deliver() == {"deferred": 1, "delivered": 2, "queued": 1, "maybe_twice": 1}
    row = out.row(numbers[0])
    assert (row.state, row.attempts, row.maybe_twice) == ("queued", 1, True)
    out.lab.time += 3600
    assert out.deliver() == {"delivered": 1}
    assert out.row(numbers[0]).maybe_twice
    assert [outcome for outcome, _ in out.acts(numbers[0])] == ["maybe_twice", "done"]
    assert out.peer.times() == {numbers[0]: times, numbers[1]: 1, numbers[2]: 1}


def test_messages_that_break_every_connection_do_not_keep_back_the_rest(out: Out) -> None:
    out.peer.drop = "data"
    bad = [out.queue(b"Subject: bad %d\n\n" % number + LARGE) for number in range(3)]
    good = [out.queue(b"Subject: good %d\n\nb\n" % number) for number in range(3)]
    assert out.deliver() == {"deferred": 3, "unreachable": 1, "queued": 6}
    assert [out.row(number).attempts for number in bad + good] == [1, 1, 1, 0, 0, 0]
    out.peer.drop = ""
    assert out.deliver() == {"delivered": 3, "queued": 3}


def test_a_relay_that_ends_a_connection_after_some_messages_gets_a_new_one(out: Out) -> None:
    out.peer.per_connection = 2
    numbers = [out.queue(b"Subject: %d\n\nb\n" % number) for number in range(7)]
    assert out.deliver() == {"delivered": 7}
    assert out.peer.times() == dict.fromkeys(numbers, 1)
    assert out.peer.connections == 4


def test_what_was_left_sending_is_sent_again_under_the_same_id_and_marked(out: Out) -> None:
    number = out.queue(b"Subject: a\n\nb\n", state="sending")
    assert out.deliver() == {"delivered": 1, "maybe_twice": 1}
    assert out.row(number).maybe_twice
    assert [outcome for outcome, _ in out.acts(number)] == ["maybe_twice", "done"]
    assert out.peer.times() == {number: 1}


def test_frozen_rows_stay(out: Out) -> None:
    number = out.queue(b"Subject: a\n\nb\n", state="frozen")
    assert out.deliver() == {}
    assert out.row(number).state == "frozen"
    assert not out.peer.taken


def test_what_was_spooled_for_the_maildir_goes_there(out: Out) -> None:
    octets = b"Subject: a\n\nb\n"
    number = out.queue(octets, state="spooled")
    (out.portal.home.spool / delivery.file_name(out.row(number))).write_bytes(octets)
    renamed = out.queue(b"Subject: renamed before\n\nb\n", state="spooled")
    assert out.deliver() == {"delivered": 2}
    assert [file.read_bytes() for file in out.lab.outgoing()] == [octets]
    assert out.row(renamed).state == "delivered"
    assert not out.peer.taken


# -- who is told ------------------------------------------------------------------------------------------


def _released(out: Out, mail: Callable[..., bytes], subject: str, by: str = ANN, to: str = ANN, **more: Any) -> None:
    out.lab.receive(mail(subject=subject), to=to, **more)
    with out.lab.client(by) as client:
        queue = "personal" if by == to else "moderated"
        (hold,) = client.holds.list(subject=subject, queue=queue)
        assert client.holds.release([hold]).totals == {"done": 1}


def test_a_refused_release_is_reported_to_whoever_released_it(out: Out, mail: Callable[..., bytes]) -> None:
    out.peer.answer = lambda at, address: "550 5.7.1 Sp\x07am" if (at, address) == ("RCPT", BOB) else None
    _released(out, mail, "Urgent \u202eoffer", by=MOD, to=BOB, level="moderator")
    with out.portal.database.read() as tx:
        rows = tx.execute(select(deliveries).order_by(deliveries.c.id)).all()
    # The client's own end has delivered: the release failed, the notice waits or went.
    assert [(row.kind, row.recipient) for row in rows] == [("released", BOB), ("written", MOD)]
    assert rows[0].state == "failed"
    out.deliver()
    (taken,) = out.peer.taken
    assert (taken.sender, taken.recipients) == ("", (MOD,))
    assert taken.octets.isascii()
    notice = message_from_bytes(taken.octets)
    assert notice["Auto-Submitted"] == "auto-replied"
    octets: Any = notice.get_payload(decode=True)
    text = octets.decode()
    assert "Subject: Urgent \\u202eoffer" in text
    assert f"Delivery: D{rows[0].id}" in text
    assert "550 5.7.1 Sp" in text
    assert "\x07" not in text
    assert "Hello Ann" not in text
    assert EVE not in text
    ((outcome, detail),) = out.acts(rows[0].id)
    assert (outcome, detail["notice"]) == ("failed", "queued")


def test_a_notice_that_is_refused_too_is_the_end_of_it(out: Out, mail: Callable[..., bytes]) -> None:
    out.peer.answer = lambda at, address: "550 no" if at == "RCPT" else None
    _released(out, mail, "Offer")
    out.deliver()
    with out.portal.database.read() as tx:
        rows = tx.execute(select(deliveries.c.kind, deliveries.c.state).order_by(deliveries.c.id)).all()
    assert rows == [("released", "failed"), ("written", "failed")]


def test_mail_that_nobody_released_brings_no_notice(out: Out) -> None:
    out.peer.answer = lambda at, address: "550 no" if at == "RCPT" else None
    out.queue(b"Subject: a\n\nb\n")
    out.deliver()
    with out.portal.database.read() as tx:
        assert len(tx.execute(select(deliveries)).all()) == 1


def test_notices_are_limited_and_the_last_one_says_so(
    out: Out, mail: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRITTEN_PER_HOUR", 3)
    for number in range(5):
        out.lab.receive(mail(subject=f"Offer {number}"))
    out.peer.answer = lambda at, address: "550 no" if at == "MAIL" and address == EVE else None
    with out.lab.client() as client:
        assert client.holds.release(list(client.holds.list())).totals == {"done": 5}
    out.deliver()
    texts = [message_from_bytes(taken.octets).get_payload() for taken in out.peer.taken]
    assert ["More of these notices" in text for text in texts] == [False, False, True]
    with out.portal.database.read() as tx:
        released = tx.scalars(select(deliveries.c.id).where(deliveries.c.kind == "released")).all()
    assert [out.acts(number)[0][1]["notice"].partition(":")[0] for number in released] == (
        ["queued"] * 3 + ["left out"] * 2
    )


def test_the_notice_says_that_it_may_have_arrived(out: Out, mail: Callable[..., bytes]) -> None:
    out.peer.drop, out.peer.drops = "reply", 1
    _released(out, mail, "Offer")
    refusals = iter(["550 no more"])
    out.peer.answer = lambda at, address: next(refusals, None) if at == "DATA" else None
    out.lab.time += 3600
    assert out.deliver() == {"failed": 1, "delivered": 1}
    assert "may have been delivered" in message_from_bytes(out.peer.taken[-1].octets).get_payload()
