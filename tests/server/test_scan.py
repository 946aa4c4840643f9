"""Large files and a scanner: clamd's own, with a signature of ours, and a peer that answers as clamd may."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from asking import Asking
from conftest import ANN, Lab, absent
from mimeportal_server import clamd, delivery, keeping, largefile_scan
from mimeportal_server.serving import Server
from sending import OUT, Sending, begin, mails, sha256

CANARY = b"a canary that our own signature names"
CLEAN = bytes(range(256)) * 8000  # two megabytes: more than one piece


class Peer:
    """Answers INSTREAM with what it is told to, and keeps what came."""

    def __init__(self, answer: bytes, *, reads: int | None = None) -> None:
        self._answer = answer
        self._reads = reads  # octets, after which it answers and hangs up
        self.got: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.where = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                assert stream.read(10) == b"zINSTREAM\0"
                octets = b""
                while length := struct.unpack("!L", stream.read(4))[0]:
                    octets += stream.read(length)
                    if self._reads is not None and len(octets) >= self._reads:
                        break
                self.got.append(octets)
                connection.sendall(self._answer)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(answer: bytes, **more: int) -> Peer:
        made.append(Peer(answer, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@contextmanager
def real_clamd(folder: Path) -> Iterator[str]:
    """clamd with one signature, of our own making; the path of its socket."""
    if shutil.which("clamd") is None:
        absent("clamd")
    (folder / "signatures").mkdir(parents=True)
    (folder / "signatures" / "own.ndb").write_text(f"Canary.Test:0:*:{CANARY.hex()}\n")
    (folder / "conf").write_text(
        f"LocalSocket {folder}/socket\nDatabaseDirectory {folder}/signatures\nForeground yes\n"
        f"TemporaryDirectory {folder}\nStreamMaxLength 3M\nUser root\n"
    )
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(["clamd", "-c", folder / "conf"], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while not (folder / "socket").exists():
            assert running.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        yield str(folder / "socket")
    finally:
        running.terminate()
        running.wait()


class TestTheProtocol:
    @pytest.mark.parametrize(
        ("answer", "verdict"),
        [
            (b"stream: OK\0", clamd.Verdict()),
            (b"stream: Win.Test.EICAR_HDB-1 FOUND\0", clamd.Verdict(found="Win.Test.EICAR_HDB-1")),
            (b"stream: No memory ERROR\0", clamd.Verdict(refused="The scanner could not look at it: No memory.")),
        ],
    )
    def test_what_it_says(self, peer: Callable[..., Peer], answer: bytes, verdict: clamd.Verdict) -> None:
        one = peer(answer)
        assert clamd.scan(one.where, [CLEAN, b"", b"end"]) == verdict
        assert one.got == [CLEAN + b"end"]

    def test_too_large_for_it(self, peer: Callable[..., Peer]) -> None:
        """It says so in the middle of what it is sent, and hangs up."""
        one = peer(b"INSTREAM size limit exceeded. ERROR\0", reads=1_000_000)
        verdict = clamd.scan(one.where, [CLEAN] * 10)
        assert "StreamMaxLength" in verdict.refused

    @pytest.mark.parametrize("answer", [b"", b"stream: O", b"PONG\0"])
    def test_no_answer_is_no_verdict(self, peer: Callable[..., Peer], answer: bytes) -> None:
        with pytest.raises(clamd.Unreachable):
            clamd.scan(peer(answer).where, [b"x"])

    @pytest.mark.parametrize("where", ["127.0.0.1:1", "/no/such/socket"])
    def test_nobody_there(self, where: str) -> None:
        with pytest.raises(clamd.Unreachable):
            clamd.scan(where, [b"x"])


@pytest.fixture
def ask(lab: Lab) -> Asking:
    asking = Asking(lab)
    asking.portal.close()
    asking.portal = asking.door.portal = lab.server
    return asking


def scanned_by(lab: Lab, where: str) -> None:
    lab.server.settings = replace(lab.server.settings, scan=where)


def finished(ask: Asking, octets: bytes = CLEAN) -> Sending:
    sending = begin(ask, {"a.bin": octets, "b.bin": b"b"})
    sending.upload()
    assert sending.do("finish").row["status"] == "scanning"
    return sending


class TestScanning:
    def test_nothing_is_offered_before_it_was_scanned(self, lab: Lab, ask: Asking, peer: Callable[..., Peer]) -> None:
        one = peer(b"stream: OK\0")
        scanned_by(lab, one.where)
        sending = finished(ask)
        delivery.deliver(lab.server)
        assert mails(lab) == []
        assert sending.do("finish").row["outcome"] == "already"
        assert largefile_scan.run(lab.server) == {"scanned": 1}
        delivery.deliver(lab.server)
        assert [mail["To"] for mail in mails(lab)] == [OUT]
        row = sending.shown()
        assert (row["status"], row["expires"] > row["sent"]) == ("active", True)
        assert [sha256(octets) for octets in one.got] == [sha256(CLEAN), sha256(b"b")]
        assert largefile_scan.run(lab.server) == {}

    def test_what_is_found_is_deleted_and_told(self, lab: Lab, ask: Asking, peer: Callable[..., Peer]) -> None:
        scanned_by(lab, peer(b"stream: Canary.Test FOUND\0").where)
        sending = finished(ask)
        assert keeping.sweep(lab.server)["infected"] == 1
        row = sending.shown()
        assert (row["status"], row["reason"]) == ("failed", "a.bin: Canary.Test was found in it.")
        assert list(lab.server.home.large_files.numbers()) == []
        (mail,) = mails(lab)
        assert (mail["To"], mail["Subject"]) == (ANN, "Large files not sent")
        assert "Canary.Test was found in it." in mail.get_content()

    def test_too_large_to_scan_is_not_offered(self, lab: Lab, ask: Asking, peer: Callable[..., Peer]) -> None:
        scanned_by(lab, peer(b"INSTREAM size limit exceeded. ERROR\0").where)
        sending = finished(ask)
        largefile_scan.run(lab.server)
        assert "StreamMaxLength" in sending.shown()["reason"]

    def test_a_scanner_that_is_away_is_waited_for(self, lab: Lab, ask: Asking, peer: Callable[..., Peer]) -> None:
        scanned_by(lab, "127.0.0.1:1")
        sending = finished(ask)
        assert largefile_scan.run(lab.server) == {"not scanned": 1}
        assert sending.shown()["status"] == "scanning"
        scanned_by(lab, peer(b"stream: OK\0").where)
        largefile_scan.run(lab.server)
        assert sending.shown()["status"] == "active"

    def test_what_waits_when_scanning_ends_is_offered(self, lab: Lab, ask: Asking) -> None:
        scanned_by(lab, "127.0.0.1:1")
        sending = finished(ask)
        scanned_by(lab, "")
        largefile_scan.run(lab.server)
        assert sending.shown()["status"] == "active"

    def test_two_that_scan_at_once_mail_once(self, lab: Lab, ask: Asking, peer: Callable[..., Peer]) -> None:
        scanned_by(lab, peer(b"stream: OK\0").where)
        finished(ask)
        threads = [threading.Thread(target=largefile_scan.run, args=(lab.server,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        delivery.deliver(lab.server)
        assert len(mails(lab)) == 1


def test_by_clamd_itself(lab: Lab, ask: Asking, tmp_path: Path) -> None:
    with real_clamd(tmp_path / "clamd") as where:
        scanned_by(lab, where)
        clean, infected, large = finished(ask), finished(ask, b"...." + CANARY), finished(ask, bytes(4_000_000))
        assert largefile_scan.run(lab.server) == {"scanned": 1, "infected": 2}
    assert clean.shown()["status"] == "active"
    assert infected.shown()["reason"] == "a.bin: Canary.Test.UNOFFICIAL was found in it."
    assert "StreamMaxLength" in large.shown()["reason"]


def test_a_server_scans_by_itself(tmp_path: Path, peer: Callable[..., Peer]) -> None:
    lab = Lab(tmp_path / "home")
    config = lab.path / "portal.toml"
    config.write_text(config.read_text() + f'\n[scan]\nclamd = "{peer(b"stream: OK" + bytes(1)).where}"\n')
    with Server(lab.path, http=("127.0.0.1", 0)) as server:
        ask = Asking(lab)
        sending = finished(ask)
        server._acted()  # as every request over HTTP does
        until = time.monotonic() + 10
        while sending.shown()["status"] != "active":
            assert time.monotonic() < until
            time.sleep(0.05)
        ask.close()
    lab.server.close()


def test_a_command_scans_what_it_sent(tmp_path: Path, peer: Callable[..., Peer]) -> None:
    """With `local:DIR` nobody else may be there to do it."""
    lab = Lab(tmp_path / "home")
    config = lab.path / "portal.toml"
    config.write_text(config.read_text() + f'\n[scan]\nclamd = "{peer(b"stream: OK" + bytes(1)).where}"\n')
    (tmp_path / "a.bin").write_bytes(b"a")
    with lab.client() as portal:
        sent = portal.largefiles.send([tmp_path / "a.bin"], to=[OUT], subject="Plans")
        assert sent.status == "scanning"
    with lab.client() as portal:
        assert portal.largefiles.get(sent.id).status == "active"
    assert [mail["To"] for mail in mails(lab)] == [OUT]
    lab.server.close()
