"""What time brings for large files, and how a home with them is copied, restored and emptied."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from asking import Asking
from conftest import ANN, Lab
from mimeportal.errors import UsageError
from mimeportal_server import backup, delivery, keeping, tokens
from mimeportal_server import lab as server_lab
from mimeportal_server.largefile_access import LINK
from mimeportal_server.portal import Portal, set_fact
from mimeportal_server.store.schema import audit, largefiles, people
from sending import begin, links, sent, sha256

FILE = b"octets" * 1000


@pytest.fixture
def ask(lab: Lab) -> Asking:
    """The same portal as the lab's: its clock is the one that is advanced."""
    asking = Asking(lab)
    asking.portal.close()
    asking.portal = asking.door.portal = lab.server
    return asking


def octets_of(lab: Lab) -> int:
    with lab.server.database.read() as tx:
        return int(tx.scalar(select(people.c.octets).where(people.c.address == ANN)) or 0)


def numbers(lab: Lab) -> list[int]:
    return list(lab.server.home.large_files.numbers())


class TestTime:
    def test_an_upload_reads_as_paused_and_then_as_failed(self, lab: Lab, ask: Asking) -> None:
        sending = begin(ask, {"a": FILE})
        assert sending.shown()["status"] == "uploading"
        lab.advance(hours=1)
        assert sending.shown()["status"] == "paused"
        lab.advance(days=7)
        assert sending.shown()["status"] == "failed"
        assert keeping.sweep(lab.server)["uploads given up"] == 1
        row = sending.shown()
        assert (row["status"], row["reason"]) == ("failed", "The upload was paused for seven days.")
        assert (numbers(lab), octets_of(lab)) == ([], 0)
        assert keeping.sweep(lab.server)["uploads given up"] == 0

    @pytest.mark.parametrize("swept", [True, False])
    def test_what_failed_is_uploaded_anew(self, lab: Lab, ask: Asking, swept: bool) -> None:
        sending = begin(ask, {"a": FILE, "b": b""})
        sending.chunk(sending.file(), 0, FILE)
        lab.advance(days=8)
        if swept:
            keeping.sweep(lab.server)
        assert sending.chunk(sending.file(), 0, FILE).code == "err_largefile_failed"
        row = sending.do("resubmit", requestId="one").row
        assert (row["status"], row["arrived"], row["id"]) == ("uploading", 0, sending.id)
        assert sending.do("resubmit", requestId="one").row["outcome"] == "already"
        assert octets_of(lab) == len(FILE)
        sending.upload()
        assert sending.do("finish").row["status"] == "active"

    def test_a_chunk_now_and_then_keeps_it_going(self, lab: Lab, ask: Asking) -> None:
        sending = begin(ask, {"a": FILE})
        for _ in range(3):
            lab.advance(days=6)
            sending.chunk(sending.file(), 0, FILE)
        assert sending.shown()["status"] == "uploading"

    def test_ninety_days_whatever_the_expiry_and_then_gone(self, lab: Lab, ask: Asking) -> None:
        sending = sent(ask, {"a": FILE}, expireAccessAfterDays=1)
        lab.advance(days=89.9)
        keeping.sweep(lab.server)
        assert sending.shown()["status"] == "expired"
        assert sending.do("octets", file=sending.file()).octets == FILE
        lab.advance(days=0.2)
        keeping.sweep(lab.server)
        told = sending.do("extend", until=sending.shown()["keptUntil"])
        assert told.code == "err_largefile_gone"
        assert sending.do("resubmit", to=["x@elsewhere.example"], requestId="a").code == "err_largefile_gone"
        assert numbers(lab) == [1], "it is marked first, and deleted a day later"
        lab.advance(days=1)
        assert keeping.sweep(lab.server)["large files purged"] == 1
        assert (numbers(lab), octets_of(lab)) == ([], 0)
        assert sending.shown()["status"] == "expired"
        assert sending.do("octets", file=sending.file()).code == "err_largefile_status"

    def test_a_clock_that_is_not_believed_ends_nothing(self, lab: Lab, ask: Asking) -> None:
        sending = sent(ask, {"a": FILE}, expireAccessAfterDays=1)
        lab.step(days=100)
        keeping.sweep(lab.server)
        assert sending.shown()["status"] == "active"
        assert numbers(lab) == [1]

    def test_files_that_nothing_names_are_removed(self, lab: Lab, ask: Asking) -> None:
        sent(ask, {"a": FILE})
        for name in ("77", "77.sums"):
            (lab.server.home.large_files.folder / name).write_bytes(b"left by a kill")
        keeping.sweep(lab.server)
        assert numbers(lab) == [1]

    def test_what_time_did_is_recorded(self, lab: Lab, ask: Asking) -> None:
        begin(ask, {"a": FILE})
        sent(ask, {"a": FILE})
        for _ in range(3):
            lab.advance(days=92)
            keeping.sweep(lab.server)
        with lab.server.database.read() as tx:
            done = list(tx.scalars(select(audit.c.action).where(audit.c.door == "sweep").order_by(audit.c.id)))
        assert done == ["give up large files", "purge large files"]


class TestBackup:
    def test_what_arrived_whole_is_in_it(self, lab: Lab, ask: Asking, tmp_path: Path) -> None:
        sending = sent(ask, {"a": FILE})
        assert backup.backup(lab.server, tmp_path / "b").count >= 2
        restored = Asking(lab)
        restored.portal.close()
        restored.portal = restored.door.portal = Portal(
            backup.restore(tmp_path / "b", tmp_path / "restored"), wall=lambda: lab.time
        )
        there = replace(sending, ask=restored)
        assert there.shown()["status"] == "active"
        assert there.do("octets", file=there.file()).octets == FILE
        restored.close()

    def test_links_end_with_a_restore(self, lab: Lab, ask: Asking, tmp_path: Path) -> None:
        sent(ask, {"a": FILE})
        delivery.deliver(lab.server)
        secret = links(lab)[0].rpartition("/")[2]
        backup.backup(lab.server, tmp_path / "b")
        restored = Portal(backup.restore(tmp_path / "b", tmp_path / "restored"), wall=lambda: lab.time)
        for portal, there in ((lab.server, True), (restored, False)):
            with portal.database.read() as tx:
                assert bool(tokens.granted(tx, secret, LINK, now=portal.clock.machine())) is there
        restored.close()

    def test_an_upload_has_failed_after_a_restore(self, lab: Lab, ask: Asking, tmp_path: Path) -> None:
        sending = begin(ask, {"a": FILE, "b": FILE})
        sending.chunk(sending.file(), 0, FILE)
        sending.do("check", file=sending.file(), sha256=sha256(FILE))
        backup.backup(lab.server, tmp_path / "b")
        restored = Portal(backup.restore(tmp_path / "b", tmp_path / "restored"), wall=lambda: lab.time)
        with restored.database.read() as tx:
            row = tx.execute(select(largefiles)).one()
        assert (row.state, row.reason) == ("failed", "The portal was restored from a backup while it was uploaded.")
        keeping.sweep(restored)
        assert list(restored.home.large_files.numbers()) == []
        restored.close()

    def test_a_damaged_file_is_no_backup(
        self, lab: Lab, ask: Asking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent(ask, {"a": FILE})
        lab.server.home.large_files.path(1).write_bytes(b"other")
        written = backup.backup(lab.server, tmp_path / "told")
        assert written.lost == (f"largefiles/1-{hashlib.sha256(FILE).hexdigest()}",)
        # It is damaged only once it has been read: what is restored is looked at all the same.
        digest = backup._digest
        monkeypatch.setattr(backup, "_digest", lambda _: hashlib.sha256(FILE).hexdigest())
        backup.backup(lab.server, tmp_path / "b")
        monkeypatch.setattr(backup, "_digest", digest)
        with pytest.raises(UsageError, match=r"largefiles/1-.* is damaged"):
            backup.restore(tmp_path / "b", tmp_path / "restored")
        assert not (tmp_path / "restored").exists()


def test_a_reset_of_the_lab_leaves_nothing(lab: Lab, ask: Asking) -> None:
    with lab.server.database.write() as tx:
        set_fact(tx, "lab", "1")
    sent(ask, {"a": FILE})
    delivery.deliver(lab.server)
    secret = links(lab)[0].rpartition("/")[2]
    server_lab.empty(lab.server)
    assert (numbers(lab), octets_of(lab), ask.count(largefiles)) == ([], 0, 0)
    sent(ask, {"b": FILE})
    with lab.server.database.read() as tx:
        assert tokens.granted(tx, secret, LINK, now=lab.server.clock.machine()) is None, "it would lead to another send"
