"""Large files through the door: what is taken, what is refused, and what a repeat or a race leaves (portal-rules E)."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from asking import Asking
from conftest import ANN, BOB, Lab
from mimeportal import limits
from mimeportal.wire import format_date
from mimeportal_server import delivery, ranges
from mimeportal_server.clock import moment
from mimeportal_server.largefile_rows import has_status, status_of
from mimeportal_server.portal import Refused
from mimeportal_server.settings import LargeFiles
from mimeportal_server.store.chunked import Chunked
from mimeportal_server.store.schema import audit, largefile_files, largefiles, people
from sending import CHUNK, OUT, PATH, Sending, begin, described, links, mails, sent, sha256

BIG = bytes(range(256)) * (CHUNK // 256) * 2 + b"the end"  # two chunks and some octets


@pytest.fixture
def ask(lab: Lab) -> Iterator[Asking]:
    asking = Asking(lab)
    yield asking
    asking.close()


def octets_of(ask: Asking) -> int:
    with ask.portal.database.read() as tx:
        return int(tx.scalar(select(people.c.octets).where(people.c.address == ANN)) or 0)


def in_days(ask: Asking, days: float) -> str:
    return format_date(moment(ask.portal.clock.now()) + timedelta(days=days))


def alike(octets: bytes) -> bytes:
    """Other octets of the same CRC-32: a multiple of its polynomial, bits the other way round, is added to them."""
    pattern = (0xEDB88320 << 1 | 1).to_bytes(5, "little")
    other = bytes(one ^ two for one, two in zip(octets, pattern, strict=False)) + octets[5:]
    assert zlib.crc32(other) == zlib.crc32(octets)
    return other


class TestSending:
    def test_a_send_from_its_beginning_to_its_mails(self, lab: Lab, ask: Asking) -> None:
        sending = begin(ask, {"a.bin": BIG, "empty": b""}, expireAccessAfterDays=7)
        assert (sending.row["status"], sending.row["arrived"], sending.row["size"]) == ("uploading", 0, len(BIG))
        assert sending.do("missing", file=sending.file()).row["missing"] == [[0, 2]]
        sending.upload()
        done = sending.do("finish").row
        assert (done["status"], done["outcome"], done["to"]) == ("active", "done", [OUT])
        assert done["expires"] == in_days(ask, 7)
        assert done["keptUntil"] == in_days(ask, 90)
        assert [file["sha256"] for file in done["files"]] == [sha256(BIG), sha256(b"")]
        delivery.deliver(lab.server)
        (mail,) = mails(lab)
        assert (mail["To"], mail["From"], mail["Auto-Submitted"]) == (OUT, "no-reply@example.com", "auto-generated")
        text = mail.get_content()
        assert "ann@example.com has sent you 2 files: Plans" in text
        assert "Here they are." in text
        assert "a.bin  (8.0 MB)" in text
        assert len(links(lab)) == 1

    def test_every_recipient_has_a_link_of_their_own(self, lab: Lab, ask: Asking) -> None:
        sent(ask, {"a": b"a"}, to=[OUT, "other@elsewhere.example", OUT.upper()])
        delivery.deliver(lab.server)
        assert len(set(links(lab))) == len(mails(lab)) == 2

    def test_chunks_come_in_any_order_and_more_than_once(self, ask: Asking) -> None:
        sending = begin(ask, {"a.bin": BIG})
        for index in (2, 0, 0, 1, 2):
            assert sending.chunk(sending.file(), index, BIG[index * CHUNK : (index + 1) * CHUNK]).rows
        assert sending.do("missing", file=sending.file()).row["missing"] == []
        assert sending.do("check", file=sending.file(), sha256=sha256(BIG)).row["sha256"] == sha256(BIG)

    def test_what_has_arrived_is_told(self, ask: Asking) -> None:
        sending = begin(ask, {"a.bin": BIG})
        sending.chunk(sending.file(), 1, BIG[CHUNK : 2 * CHUNK])
        assert sending.do("missing", file=sending.file()).row["missing"] == [[0, 0], [2, 2]]
        assert sending.shown()["arrived"] == CHUNK

    def test_octets_are_taken_whatever_hash_is_known(self, ask: Asking) -> None:
        """Knowing the SHA-256 of somebody's file does not give the file: it has to be sent."""
        sent(ask, {"a.bin": BIG})
        again = begin(ask, {"a.bin": BIG}, by=BOB)
        assert again.do("missing", file=again.file()).row["missing"] == [[0, 2]]
        told = again.do("check", file=again.file(), sha256=sha256(BIG))
        assert told.code == "err_largefile_incomplete"

    def test_the_same_request_id_is_one_send(self, ask: Asking) -> None:
        item = described({"a": b"a"})
        one, other = (ask(f"{PATH}/create", item, by=ANN).row for _ in range(2))
        assert one["id"] == other["id"]
        assert octets_of(ask) == 1
        assert ask(f"{PATH}/create", {**item, "subject": "Other"}, by=ANN).code == "err_request_id_reused"
        assert ask(f"{PATH}/create", item, by=BOB).row["id"] != one["id"]

    def test_finishing_twice_mails_once(self, lab: Lab, ask: Asking) -> None:
        sending = sent(ask, {"a": b"a"})
        assert sending.do("finish").row["outcome"] == "already"
        delivery.deliver(lab.server)
        assert len(mails(lab)) == 1

    def test_two_who_finish_at_once(self, lab: Lab, ask: Asking) -> None:
        sending = begin(ask, {"a": b"a"})
        sending.upload()
        threads = [threading.Thread(target=sending.do, args=("finish",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        delivery.deliver(lab.server)
        assert len(mails(lab)) == 1

    def test_notifications_over_their_rate_are_told_as_left_out(self, ask: Asking) -> None:
        for _ in range(limits.WRITTEN_PER_HOUR):
            sent(ask, {"a": b"a"})
        (recipient,) = sent(ask, {"a": b"a"}).shown()["recipients"]
        assert recipient["notified"].startswith("left out")

    def test_every_act_is_recorded(self, ask: Asking) -> None:
        sending = sent(ask, {"a": b"a"})
        sending.do("expire")
        with ask.portal.database.read() as tx:
            acts = [
                row.action
                for row in tx.execute(select(audit).where(audit.c.object_kind == "largefile").order_by(audit.c.id))
            ]
        assert acts == ["begin large files", "finish large files", "expire large files"]

    def test_hostile_names_are_made_safe(self, ask: Asking) -> None:
        sending = begin(ask, {"../../etc/pass\x1b[31mwd": b"a", "CON": b"b"})
        assert [file["name"] for file in sending.row["files"]] == ["pass_[31mwd", "_CON"]


class TestRefusedChunks:
    @pytest.fixture
    def sending(self, ask: Asking) -> Sending:
        return begin(ask, {"a.bin": BIG})

    @pytest.mark.parametrize("crc32", [0, 7, -1, 1 << 40])
    def test_another_crc32(self, sending: Sending, crc32: int) -> None:
        told = sending.chunk(sending.file(), 0, BIG[:CHUNK], crc32=crc32)
        assert told.code == "err_largefile_chunk"
        assert told.json["fail"][0]["errors"][0]["retryable"] is True
        assert sending.do("missing", file=sending.file()).row["missing"] == [[0, 2]]

    @pytest.mark.parametrize(
        ("index", "octets"),
        [(0, BIG[: CHUNK - 1]), (2, BIG[:CHUNK]), (3, b""), (-1, b"x"), (2, b"the en")],
        ids=["too short", "too long", "behind the end", "before the beginning", "a short tail"],
    )
    def test_another_place_or_length(self, sending: Sending, index: int, octets: bytes) -> None:
        assert sending.chunk(sending.file(), index, octets).code == "err_validation_value_not_allowed"
        assert sending.shown()["arrived"] == 0

    def test_over_the_limit(self, sending: Sending) -> None:
        told = sending.chunk(sending.file(), 0, bytes(limits.CHUNK + 1))
        assert (told.status, told.code) == (413, "err_request_too_large")

    def test_after_the_file_was_checked(self, sending: Sending) -> None:
        sending.upload()
        assert sending.chunk(sending.file(), 0, BIG[:CHUNK]).code == "err_largefile_status"
        assert sending.do("missing", file=sending.file()).row == {
            "file": sending.file(), "missing": [], "checked": True,
        }  # fmt: skip

    def test_after_it_was_cancelled(self, sending: Sending) -> None:
        sending.do("cancel")
        assert sending.chunk(sending.file(), 0, BIG[:CHUNK]).code == "err_largefile_cancelled"
        assert sending.do("missing", file=sending.file()).code == "err_largefile_cancelled"
        assert sending.do("check", file=sending.file(), sha256=sha256(BIG)).code == "err_largefile_cancelled"

    def test_while_the_file_is_checked(self, ask: Asking, sending: Sending) -> None:
        """What is checked cannot be changed meanwhile, and who tries is told to come again."""
        with ask.portal.home.large_files.checking(1, len(BIG)):
            told = sending.chunk(sending.file(), 0, BIG[:CHUNK])
            assert (told.status, told.code) == (503, "err_portal_busy")
            assert told.json["fail"][0]["errors"][0]["retryable"] is True
            assert sending.chunk(sending.file(), 0, BIG[:CHUNK], by=BOB).code == "not_found"
        assert sending.chunk(sending.file(), 0, BIG[:CHUNK]).rows


class TestChecking:
    def test_a_file_that_is_not_what_the_sender_has(self, ask: Asking) -> None:
        sending = begin(ask, {"a.bin": BIG})
        for index in range(3):
            sending.chunk(sending.file(), index, BIG[index * CHUNK : (index + 1) * CHUNK])
        told = sending.do("check", file=sending.file(), sha256=sha256(b"other"))
        assert told.code == "err_largefile_changed"
        assert sending.do("finish").code == "err_largefile_incomplete"

    def test_a_chunk_that_was_damaged_on_the_disk_is_asked_for_again(self, ask: Asking) -> None:
        """As after a power cut, when a chunk was noted and its octets were lost: the portal that checks is another."""
        sending = begin(ask, {"a.bin": BIG})
        for index in range(3):
            sending.chunk(sending.file(), index, BIG[index * CHUNK : (index + 1) * CHUNK])
        with ask.portal.home.large_files.path(1).open("r+b") as file:
            file.seek(CHUNK + 5)
            file.write(b"XXXX")
        ask.portal.home.large_files = Chunked(ask.portal.home.large_files.folder)
        told = sending.do("check", file=sending.file(), sha256=sha256(BIG))
        assert told.code == "err_largefile_incomplete"
        assert sending.do("missing", file=sending.file()).row["missing"] == [[1, 1]]
        assert sending.chunk(sending.file(), 1, BIG[CHUNK : 2 * CHUNK]).rows
        assert sending.do("check", file=sending.file(), sha256=sha256(BIG)).rows

    def test_a_chunk_that_came_again_as_another(self, ask: Asking) -> None:
        """Its octets differ and its CRC-32 does not, so that the note of it tells nothing: the whole is read anew."""
        sending = begin(ask, {"a.bin": BIG})
        for index in range(3):
            sending.chunk(sending.file(), index, BIG[index * CHUNK : (index + 1) * CHUNK])
        other = alike(BIG[CHUNK : 2 * CHUNK])
        assert sending.chunk(sending.file(), 1, other).rows
        assert sending.do("check", file=sending.file(), sha256=sha256(BIG)).code == "err_largefile_changed"
        told = sending.do("check", file=sending.file(), sha256=sha256(BIG[:CHUNK] + other + BIG[2 * CHUNK :]))
        assert told.rows

    def test_more_files_than_are_hashed_while_they_arrive(self, ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "FILES_HASHED", 2)
        sending = begin(ask, {"a.bin": BIG, "b": b"b", "c": b"c", "d": b""})
        sending.upload()
        assert sending.do("finish").row["status"] == "active"

    def test_again_it_says_the_same(self, ask: Asking) -> None:
        sending = sent(ask, {"a.bin": BIG})
        assert sending.do("check", file=sending.file(), sha256=sha256(BIG)).rows
        assert sending.do("check", file=sending.file(), sha256=sha256(b"x")).code == "err_largefile_changed"

    def test_not_all_of_it(self, ask: Asking) -> None:
        sending = begin(ask, {"a.bin": BIG})
        assert sending.do("check", file=sending.file(), sha256=sha256(BIG)).code == "err_largefile_incomplete"


class TestRefusedSends:
    @pytest.mark.parametrize(
        ("more", "code", "field"),
        [
            ({"to": []}, "err_validation_count", "to"),
            ({"to": [f"a{n}@elsewhere.example" for n in range(101)]}, "err_validation_count", "to"),
            ({"to": ["nobody"]}, "err_validation_invalid_email_address", "to"),
            ({"files": []}, "err_validation_count", "files"),
            ({"files": [{"name": "a", "size": 1}] * 101}, "err_validation_count", "files"),
            ({"files": [{"name": "a", "size": 2 * 1024**3 + 1}]}, "err_largefile_too_large", "files"),
            ({"files": [{"name": "a", "size": -1}]}, "err_largefile_too_large", "files"),
            ({"files": [{"name": "", "size": 1}]}, "err_validation_value_not_allowed", "files"),
            ({"files": [{"name": "a" * 256, "size": 1}]}, "err_validation_value_not_allowed", "files"),
            ({"subject": " "}, "err_validation_value_not_allowed", "subject"),
            ({"subject": "a\nBcc: x@y.example"}, "err_validation_value_not_allowed", "subject"),
            ({"subject": "a" * (limits.SUBJECT + 1)}, "err_validation_value_not_allowed", "subject"),
            ({"body": "a" * (limits.LARGE_FILE_TEXT + 1)}, "err_validation_value_not_allowed", "body"),
            ({"accessKey": "short77"}, "err_validation_value_not_allowed", "accessKey"),
            ({"accessKey": "a" * 129}, "err_validation_value_not_allowed", "accessKey"),
            ({"expireAccessAfterDays": 0}, "err_validation_value_not_allowed", "expireAccessAfterDays"),
            ({"expireAccessAfterDays": 91}, "err_validation_value_not_allowed", "expireAccessAfterDays"),
            ({"requestId": ""}, "err_validation_value_not_allowed", "requestId"),
        ],
    )
    def test_what_cannot_be(self, ask: Asking, more: dict[str, Any], code: str, field: str) -> None:
        told = ask(f"{PATH}/create", described({"a": b"a"}, **more), by=ANN)
        (failure,) = told.json["fail"]
        assert (failure["errors"][0]["code"], failure["errors"][0]["field"]) == (code, field)
        assert ask.count(largefiles) == 0
        assert octets_of(ask) == 0
        assert list(ask.portal.home.large_files.numbers()) == []

    def test_two_gibibytes_and_a_hundred_files_are_taken(self, ask: Asking) -> None:
        files = [{"name": f"a{n}", "size": 1} for n in range(99)]
        item = described({}, files=[{"name": "a", "size": 2 * 1024**3}, *files])
        assert len(ask(f"{PATH}/create", item, by=ANN).row["files"]) == 100

    @pytest.mark.parametrize(
        ("setting", "given"),
        [
            ("expire_access_after_days", {"expireAccessAfterDays": 31}),
            ("access_key", {"accessKey": "long enough"}),
            ("notify_on_download", {"notifyOnDownload": True}),
        ],
    )
    def test_an_enforced_setting_is_named(self, ask: Asking, setting: str, given: dict[str, Any]) -> None:
        chosen = LargeFiles(enforced=(setting,))
        ask.portal.settings = replace(ask.portal.settings, large_files=chosen)
        told = ask(f"{PATH}/create", described({"a": b"a"}, **given), by=ANN)
        assert told.code == "err_largefile_enforced"
        assert f"largefiles.{setting} of this portal is enforced" in told.errors[0][1]
        assert ask(f"{PATH}/create", described({"a": b"a"}, expireAccessAfterDays=30), by=ANN).rows

    def test_a_key_that_is_enforced_has_to_be_there(self, ask: Asking) -> None:
        chosen = LargeFiles(access_key=True, enforced=("access_key",))
        ask.portal.settings = replace(ask.portal.settings, large_files=chosen)
        assert ask(f"{PATH}/create", described({"a": b"a"}), by=ANN).code == "err_largefile_enforced"
        assert ask(f"{PATH}/create", described({"a": b"a"}, accessKey="long enough"), by=ANN).row["accessKey"] is True

    def test_defaults_hold_where_nothing_is_chosen(self, ask: Asking) -> None:
        ask.portal.settings = replace(ask.portal.settings, large_files=LargeFiles(3, False, True))
        row = begin(ask, {"a": b"a"}).row
        assert (row["expireAccessAfterDays"], row["notifyOnDownload"]) == (3, True)
        told = ask(f"{PATH}/preferences", by=ANN).row
        assert (told["expireAccessAfterDays"], told["enforced"], told["mostOctets"]) == (3, [], 2 * 1024**3)

    def test_the_access_key_is_kept_as_a_hash_alone(self, ask: Asking) -> None:
        begin(ask, {"a": b"a"}, accessKey="canary-of-a-key")
        with ask.portal.database.read() as tx:
            stored = tx.scalar(select(largefiles.c.access_key))
        assert str(stored).startswith("$argon2id$")
        for path in ask.portal.home.path.rglob("portal.db*"):
            assert b"canary-of-a-key" not in path.read_bytes()

    def test_over_the_quota(self, ask: Asking) -> None:
        with ask.portal.database.write() as tx:
            tx.execute(update(people).where(people.c.address == ANN).values(octets=limits.PERSON_OCTETS - 5))
        assert ask(f"{PATH}/create", described({"a": b"123456"}), by=ANN).code == "mailbox_full"
        assert ask(f"{PATH}/create", described({"a": b"12345"}), by=ANN).rows

    def test_a_lowered_limit_holds(self, ask: Asking) -> None:
        lowered = {**ask.portal.settings.limits, "large_file": 5}
        ask.portal.settings = replace(ask.portal.settings, limits=lowered)
        assert ask(f"{PATH}/create", described({"a": b"123456"}), by=ANN).code == "err_largefile_too_large"

    def test_a_disk_that_would_be_full(self, ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
        """What other uploads have yet to bring counts as taken."""
        from mimeportal_server import home

        usage = type("Usage", (), {"total": 1000 * CHUNK, "free": 54 * CHUNK, "used": 0})
        monkeypatch.setattr(home.shutil, "disk_usage", lambda _: usage)
        two = described({}, files=[{"name": "a", "size": 2 * CHUNK}])
        three = described({}, files=[{"name": "a", "size": 3 * CHUNK}])
        assert ask(f"{PATH}/create", two, by=ANN).rows
        told = ask(f"{PATH}/create", three, by=ANN)
        assert (told.status, told.code) == (503, "err_portal_full")
        assert octets_of(ask) == 2 * CHUNK


class TestManaging:
    def test_pausing_and_going_on(self, ask: Asking) -> None:
        sending = begin(ask, {"a.bin": BIG})
        assert sending.do("pause").row["status"] == "paused"
        assert sending.do("pause").row["outcome"] == "already"
        sending.upload()
        assert sending.shown()["status"] == "uploading"

    def test_cancelling_gives_back_room(self, ask: Asking) -> None:
        sending = begin(ask, {"a.bin": BIG})
        assert octets_of(ask) == len(BIG)
        assert sending.do("cancel").row["status"] == "cancelled"
        assert octets_of(ask) == 0
        assert list(ask.portal.home.large_files.numbers()) == []
        assert sending.do("cancel").row["outcome"] == "already"
        assert octets_of(ask) == 0

    def test_only_an_upload_can_be_cancelled(self, ask: Asking) -> None:
        told = sent(ask, {"a": b"a"}).do("cancel")
        assert told.code == "err_largefile_status"
        assert "only an upload that is not complete" in told.errors[0][1]

    def test_expiring_and_extending(self, ask: Asking) -> None:
        sending = sent(ask, {"a": b"a"})
        assert sending.do("expire").row["status"] == "expired"
        assert sending.do("expire").row["outcome"] == "already"
        assert sending.do("extend", until=in_days(ask, 80)).row["status"] == "active"
        assert sending.do("extend", until=in_days(ask, 80)).row["outcome"] == "already"

    def test_the_latest_allowed_date_is_named(self, ask: Asking) -> None:
        sending = sent(ask, {"a": b"a"})
        told = sending.do("extend", until=in_days(ask, 90.01))
        assert told.code == "err_largefile_too_late"
        assert sending.shown()["keptUntil"] in told.errors[0][1]
        assert sending.do("extend", until=sending.shown()["keptUntil"]).rows

    def test_the_past_is_no_end(self, ask: Asking) -> None:
        told = sent(ask, {"a": b"a"}).do("extend", until=in_days(ask, -1))
        assert told.code == "err_validation_value_not_allowed"

    @pytest.mark.parametrize("act", ["expire", "extend"])
    def test_what_was_not_sent_has_no_access(self, ask: Asking, act: str) -> None:
        assert begin(ask, {"a": b"a"}).do(act, until=in_days(ask, 5)).code == "err_largefile_status"

    def test_sending_it_on(self, lab: Lab, ask: Asking) -> None:
        sending = sent(ask, {"a": b"a"})
        item = {"to": ["new@elsewhere.example", OUT], "requestId": "one"}
        assert sending.do("resubmit", **item).row["to"] == [OUT, "new@elsewhere.example"]
        assert sending.do("resubmit", **item).row["outcome"] == "already"
        delivery.deliver(lab.server)
        assert sorted(mail["To"] for mail in mails(lab)) == ["new@elsewhere.example", OUT, OUT]
        found = ask(f"{PATH}/list", {"search": "new@else"}, by=ANN).rows
        assert [row["id"] for row in found] == [sending.id]

    def test_sending_on_what_expired_opens_it_again(self, ask: Asking) -> None:
        sending = sent(ask, {"a": b"a"}, expireAccessAfterDays=5)
        sending.do("expire")
        row = sending.do("resubmit", to=[BOB], requestId="one").row
        assert (row["status"], row["expires"]) == ("active", in_days(ask, 5))

    def test_sending_it_on_to_too_many(self, ask: Asking) -> None:
        sending = sent(ask, {"a": b"a"})
        to = [f"a{number}@elsewhere.example" for number in range(limits.LARGE_FILE_RECIPIENTS)]
        assert sending.do("resubmit", to=to, requestId="one").code == "err_validation_count"

    def test_to_nobody_else_there_is_nothing_to_send(self, ask: Asking) -> None:
        assert sent(ask, {"a": b"a"}).do("resubmit", requestId="one").code == "err_validation_null"

    def test_listing(self, ask: Asking) -> None:
        files = {"Straße.pdf": b"a"}
        active, waiting = sent(ask, files, subject="Summer plans"), begin(ask, {"b": b"b"})
        assert [row["id"] for row in ask(f"{PATH}/list", {}, by=ANN).rows] == [waiting.id, active.id]
        for item, found in (
            ({"status": "active"}, [active.id]),
            ({"status": "uploading"}, [waiting.id]),
            ({"status": "failed"}, []),
            ({"search": "SUMMER"}, [active.id]),
            ({"search": "strasse"}, [active.id]),
            ({"search": "out@"}, [waiting.id, active.id]),
            ({"search": "winter"}, []),
        ):
            assert [row["id"] for row in ask(f"{PATH}/list", item, by=ANN).rows] == found, item
        assert ask(f"{PATH}/list", {"status": "lost"}, by=ANN).code == "err_validation_value_not_allowed"
        assert ask(f"{PATH}/list", {"search": "a" * 1001}, by=ANN).code == "err_validation_value_not_allowed"

    def test_pages(self, ask: Asking) -> None:
        for _ in range(3):
            begin(ask, {"a": b"a"})
        first = ask(f"{PATH}/list", {}, by=ANN, size=2)
        second = ask(f"{PATH}/list", {}, by=ANN, size=2, token=first.page["next"])
        assert len({row["id"] for row in first.rows + second.rows}) == 3

    def test_the_condition_of_each_status_is_its_status(self, ask: Asking) -> None:
        minute, day = 60_000, 86_400_000
        now = ask.portal.clock.now()
        number = int(ask.portal.sealer.number("largefile", begin(ask, {"a": b"a"}).id))
        for state in ("uploading", "paused", "scanning", "active", "failed", "cancelled"):
            for touched in (now, now - 3 * minute, now - 8 * day):
                for expires in (now - 1000, now + 60_000):
                    with ask.portal.database.write() as tx:
                        values = {"state": state, "touched": touched, "expires": expires, "sent": now - day}
                        tx.execute(update(largefiles).where(largefiles.c.id == number).values(values))
                    with ask.portal.database.read() as tx:
                        row = tx.execute(select(largefiles)).one()
                        fits = [
                            status
                            for status in (
                                "uploading",
                                "paused",
                                "scanning",
                                "active",
                                "expired",
                                "failed",
                                "cancelled",
                            )
                            if tx.scalar(select(largefiles.c.id).where(has_status(ask.portal, status)))  # type: ignore[arg-type]
                        ]
                    assert fits == [status_of(ask.portal, row)]


class TestFetchingOnesOwn:
    def test_whole_and_in_parts(self, ask: Asking) -> None:
        sending = sent(ask, {"a.bin": BIG})
        whole = sending.do("octets", file=sending.file())
        assert (whole.octets, whole.headers["accept-ranges"]) == (BIG, "bytes")
        assert whole.headers["content-disposition"] == 'attachment; filename="a.bin"'

    def test_not_before_it_is_whole(self, ask: Asking) -> None:
        sending = begin(ask, {"a.bin": BIG})
        assert sending.do("octets", file=sending.file()).code == "err_largefile_status"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", (0, 10, 200)),
        ("bytes=0-", (0, 10, 206)),
        ("bytes=3-5", (3, 6, 206)),
        ("bytes=9-9", (9, 10, 206)),
        ("bytes=5-99", (5, 10, 206)),
        ("bytes=-4", (6, 10, 206)),
        ("bytes=-40", (0, 10, 206)),
        ("bytes=5-4", (0, 10, 200)),
        ("bytes=0-1,3-4", (0, 10, 200)),
        ("bytes=-", (0, 10, 200)),
        ("octets=0-1", (0, 10, 200)),
        ("bytes=a-b", (0, 10, 200)),
        ("bytes=" + "9" * 30 + "-", (0, 10, 200)),
        ("bytes=10-", None),
        ("bytes=-0", None),
    ],
)
def test_ranges(header: str, found: tuple[int, int, int] | None) -> None:
    if found is None:
        with pytest.raises(Refused) as refused:
            ranges.asked({"range": header}, 10, "aa")
        assert refused.value.status == 416
        return
    part = ranges.asked({"range": header} if header else {}, 10, "aa")
    assert (part.start, part.end, part.status) == found
    assert part.headers["content-length"] == str(part.end - part.start)
    assert part.headers["etag"] == '"aa"'
    assert ("content-range" in part.headers) == (part.status == 206)


def test_a_range_of_what_is_another_file_by_now() -> None:
    headers = {"range": "bytes=3-", "if-range": '"bb"'}
    assert ranges.asked(headers, 10, "aa").status == 200
    assert ranges.asked({**headers, "if-range": '"aa"'}, 10, "aa").status == 206


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a b.pdf", 'attachment; filename="a b.pdf"'),
        ("Straße.pdf", "attachment; filename=\"Stra_e.pdf\"; filename*=UTF-8''Stra%C3%9Fe.pdf"),
        ('a"b\\c', "attachment; filename=\"a_b_c\"; filename*=UTF-8''a%22b%5Cc"),
        ("50%41.txt", "attachment; filename=\"50_41.txt\"; filename*=UTF-8''50%2541.txt"),
        ("日本.txt", "attachment; filename=\"__.txt\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.txt"),
    ],
)
def test_names_that_every_browser_reads(name: str, header: str) -> None:
    assert ranges.attachment(name) == header


def test_numbers_of_files_are_never_used_again(ask: Asking) -> None:
    begin(ask, {"a": b"a"}).do("cancel")
    begin(ask, {"a": b"a"})
    with ask.portal.database.read() as tx:
        assert list(tx.scalars(select(largefile_files.c.id).order_by(largefile_files.c.id))) == [1, 2]
