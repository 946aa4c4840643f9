"""The Maildir: the stored octets, each message once, whatever they are and however many processes deliver."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from mimeportal_server import delivery, importing
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal
from mimeportal_server.store import disk
from mimeportal_server.store.blobs import name_of
from mimeportal_server.store.schema import audit, deliveries, messages

ANN, BOB = "ann@example.com", "bob@example.com"
HEAD = b"From: eve@elsewhere.example\nTo: ann@example.com\nSubject: odd\n"
ODD = [
    HEAD + b"\nno final newline",
    HEAD + b"\nbare\rCR\r\rhere\r",
    HEAD + b"\nNUL \0 and \0\0\n",
    HEAD + b"\n" + b"x" * 998 + b"\n" + b"y" * 100_000 + b"\n",
    HEAD.replace(b"\n", b"\r\n") + b"\r\nCRLF\r\n",
    HEAD + b"\n.\n..\n.\r\n.",
    HEAD + "\nGrüße\n".encode("latin-1") + bytes(range(256)),
    HEAD + b"From mallory@x.example Fri Jan 15 08:00:00 2027\n\nFrom here on\n>From there\n",
    HEAD + b"\n\x1a\xef\xbb\xbf\n",
    HEAD,
]


def _queue(portal: Portal, octets: list[bytes], **values: Any) -> list[int]:
    """Rows in the outbox, as a release would queue them; their numbers."""
    portal.home.blobs.add({name_of(one): one for one in octets})
    row = {"kind": "screened", "sender": "eve@elsewhere.example", "recipient": ANN, "state": "queued", **values}
    with portal.write() as tx:
        last = int(tx.scalar(select(func.max(deliveries.c.id))) or 0)
        rows = [
            {"id": number, "blob": name_of(one), "queued": portal.clock.now(), **row}
            for number, one in enumerate(octets, last + 1)
        ]
        tx.execute(insert(deliveries), rows)
    return [row["id"] for row in rows]


def _contents(lab: Any) -> Counter[bytes]:
    return Counter(file.read_bytes() for file in lab.outgoing())


def _row(portal: Portal, number: int) -> Any:
    with portal.database.read() as tx:
        return tx.execute(select(deliveries).where(deliveries.c.id == number)).one()


def test_odd_octets_arrive_as_they_came(lab: Any, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    for number, octets in enumerate(ODD):
        (folder / f"{number}.eml").write_bytes(octets)
    lines = list(importing.run(lab.server, [folder], importing.Options(recipient=ANN)))
    assert [line.outcome for line in lines] == ["delivered"] * len(ODD)
    assert delivery.deliver(lab.server)["delivered"] == len(ODD)
    assert _contents(lab) == Counter(ODD)


@pytest.mark.corpus
def test_real_mail_arrives_as_it_came_none_twice_none_missing(lab: Any, corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    for name in ("spam-1", "ham-1"):
        for file in sorted((corpus / name).iterdir())[:200]:
            (folder / f"{name}-{file.name}").symlink_to(file)
    copied = tmp_path / "copied"
    copied.mkdir()
    for link in folder.iterdir():
        (copied / link.name).write_bytes(link.read_bytes())
    options = importing.Options(recipient=ANN, hold="Message Hold Applied - Spam Signature policy")
    lines = Counter(line.outcome for line in importing.run(lab.server, [copied], options))
    assert set(lines) == {"held"}
    with lab.client() as client:
        wanted = list(client.holds.list())
        assert len(wanted) == lines["held"]
        assert set(client.holds.release(wanted).totals) == {"done"}
    assert _contents(lab) == Counter(file.read_bytes() for file in copied.iterdir())
    assert not list(lab.server.home.spool.iterdir())


def test_equal_octets_for_two_people_are_two_files(lab: Any, mail: Callable[..., bytes]) -> None:
    octets = mail()
    for to in (ANN, BOB):
        lab.receive(octets, to=to, reason=None)
    delivery.deliver(lab.server)
    assert _contents(lab) == {octets: 2}


def test_the_folder_holds_messages_only_and_for_its_owner_alone(lab: Any, mail: Callable[..., bytes]) -> None:
    lab.receive(mail(), reason=None)
    delivery.deliver(lab.server)
    (file,) = lab.outgoing()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path for path in (lab.path / "outgoing").rglob("*") if path.is_file()] == [file]


def test_again_delivers_nothing(lab: Any, mail: Callable[..., bytes]) -> None:
    lab.receive(mail(), reason=None)
    assert delivery.deliver(lab.server)["delivered"] == 1
    assert not +delivery.deliver(lab.server)
    assert len(lab.outgoing()) == 1


def test_frozen_rows_are_not_delivered(lab: Any) -> None:
    frozen, free = _queue(lab.server, [ODD[0], ODD[1]])
    with lab.server.write() as tx:
        tx.execute(update(deliveries).where(deliveries.c.id == frozen).values(state="frozen"))
    assert +delivery.deliver(lab.server) == {"delivered": 1}
    assert _contents(lab) == {ODD[1]: 1}
    assert (_row(lab.server, frozen).state, _row(lab.server, free).state) == ("frozen", "delivered")


def test_rows_wait_for_their_time(lab: Any) -> None:
    (number,) = _queue(lab.server, [ODD[0]], not_before=lab.server.clock.machine() + 60_000)
    assert +delivery.deliver(lab.server) == {"queued": 1}
    lab.time += 3600
    assert +delivery.deliver(lab.server) == {"delivered": 1}
    assert _row(lab.server, number).state == "delivered"


def test_missing_octets_fail_one_delivery_and_stop_no_other(lab: Any) -> None:
    numbers = _queue(lab.server, ODD[:3])
    lab.server.home.blobs.delete(name_of(ODD[1]))
    assert +delivery.deliver(lab.server) == {"delivered": 2, "failed": 1}
    row = _row(lab.server, numbers[1])
    assert (row.state, row.error) == ("failed", "octets missing")
    assert row.finished
    assert _contents(lab) == {ODD[0]: 1, ODD[2]: 1}
    with lab.server.database.read() as tx:
        failed = select(audit.c.object_id).where(audit.c.action == "deliver", audit.c.outcome == "failed")
        assert tx.scalars(failed).all() == [numbers[1]]


def test_a_release_whose_octets_are_missing_is_reported_to_whoever_released_it(
    lab: Any, mail: Callable[..., bytes]
) -> None:
    lab.receive(mail(subject="Lost"))
    with lab.client() as client:
        client.holds.release(list(client.holds.list()))
        with lab.server.database.read() as tx:
            lab.server.home.blobs.delete(tx.scalar(select(messages.c.blob)))
    delivery.deliver(lab.server)
    (file,) = lab.outgoing()
    notice = file.read_text()
    assert f"To: {ANN}" in notice
    assert "Subject: Lost" in notice
    assert "octets missing" in notice


def test_without_the_folder_of_octets_nothing_fails_for_good(lab: Any) -> None:
    (number,) = _queue(lab.server, [ODD[0]])
    folder = lab.server.home.blobs.folder
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(OSError):
        delivery.deliver(lab.server)
    folder.with_name("elsewhere").rename(folder)
    assert +delivery.deliver(lab.server) == {"delivered": 1}
    assert _row(lab.server, number).state == "delivered"


def test_a_spooled_row_whose_target_folder_is_missing_was_not_delivered(lab: Any) -> None:
    (number,) = _queue(lab.server, [ODD[0]], state="spooled")
    (lab.server.home.spool / delivery.file_name(_row(lab.server, number))).write_bytes(ODD[0])
    new = lab.path / "outgoing" / "new"
    new.rmdir()
    with pytest.raises(OSError):
        delivery.deliver(lab.server)
    new.mkdir()
    assert +delivery.deliver(lab.server) == {"delivered": 1}
    assert _contents(lab) == {ODD[0]: 1}


def test_a_spooled_row_whose_file_is_gone_was_delivered(lab: Any) -> None:
    (number,) = _queue(lab.server, [ODD[0]], state="spooled")
    assert +delivery.deliver(lab.server) == {"delivered": 1}
    assert not lab.outgoing()
    assert _row(lab.server, number).state == "delivered"


def test_what_a_relay_left_in_doubt_is_delivered_and_marked(lab: Any) -> None:
    (number,) = _queue(lab.server, [ODD[0]], state="sending")
    assert +delivery.deliver(lab.server) == {"delivered": 1, "maybe_twice": 1}
    assert _contents(lab) == {ODD[0]: 1}
    assert _row(lab.server, number).maybe_twice


# -- several at once ------------------------------------------------------------------------------------------

_DELIVER = """
import sys
from pathlib import Path
from mimeportal_server import delivery
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal
portal = Portal(Home.open(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
print(delivery.deliver(portal, wait=30)["delivered"], flush=True)
"""


def test_processes_that_deliver_at_once_deliver_each_message_once(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    octets = [HEAD + b"\nnumber %d\n" % number for number in range(260)]
    _queue(lab.server, octets)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _DELIVER, str(lab.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    delivered = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(delivered) == len(octets)
    assert _contents(lab) == Counter(octets)


def test_who_finds_another_delivering_says_what_is_queued(lab: Any) -> None:
    _queue(lab.server, [ODD[0]])
    with disk.only_one(lab.server.home.delivery_lock, 0) as ours:
        assert ours
        other = Portal(Home.open(lab.path))
        assert +delivery.deliver(other, wait=0.1) == {"queued": 1}
        assert not lab.outgoing()
        other.close()
    assert +delivery.deliver(lab.server) == {"delivered": 1}


def test_equal_octets_that_come_in_twice_at_once_are_kept_whole(lab: Any) -> None:
    octets = HEAD + b"\n" + hashlib.sha256(b"seed").digest() * 100_000
    faults: list[BaseException] = []

    def add() -> None:
        try:
            portal = Portal(Home.open(lab.path))
            portal.home.blobs.add({name_of(octets): octets})
            assert portal.home.blobs.read(name_of(octets)) == octets
            portal.close()
        except BaseException as fault:
            faults.append(fault)

    for _ in range(3):
        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults
        assert name_of(lab.server.home.blobs.read(name_of(octets))) == name_of(octets)
        lab.server.home.blobs.delete(name_of(octets))
    assert not list((lab.path / "blobs" / "incoming").iterdir())
