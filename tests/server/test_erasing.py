"""Erasing a person: nothing names them any more, and every count is what it was (promises F.3)."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from asking import asking
from conftest import ADMIN, ANN, BOB, Lab, mail_of
from mimeportal.errors import NotFoundError, UsageError
from mimeportal_server import backup, counting, delivery, erasing, people
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal, set_fact
from mimeportal_server.store.schema import day_counts, facts, rejections

WORDS = ("Aardvark", "zebrafish")  # in subject and body of ann's mail alone
REPORTS = ("traffic", "held", "logins")


def days(lab: Lab, back: int = 2) -> dict[str, str]:
    today = datetime.fromtimestamp(lab.server.clock.now() / 1000, UTC).date()
    return {"start": (today - timedelta(back)).isoformat(), "end": (today + timedelta(1)).isoformat()}


@pytest.fixture
def story(lab: Lab) -> Lab:
    """Mail of ann's of every fate, some of bob's, and one message that both have."""
    for number in range(3):
        lab.receive(mail_of(f"s{number}@private.example", f"{WORDS[0]} {number}", f"{WORDS[1]}\n"))
    lab.receive(mail_of("friend@private.example", f"{WORDS[0]} hello", f"{WORDS[1]}\n"), reason=None)
    lab.receive(mail_of("other@bobs.example", "for bob", to=BOB), to=BOB)
    with asking(lab) as ask:
        ask.decide(ask.one(subject=f"{WORDS[0]} 0"), "release", by=ANN)
        ask.decide(ask.one(subject=f"{WORDS[0]} 1"), "reject", block="address", by=ADMIN)
    lab.refuse("gone@private.example", ANN)
    lab.refuse("other@bobs.example", BOB)
    both(lab)
    large(lab)
    delivery.deliver(lab.server)
    return lab


def large(lab: Lab) -> None:
    """Ann sends a large file to somebody outside."""
    path = lab.path.parent / "zebrafish.bin"
    path.write_bytes(b"private.example" * 1000)
    portal = lab.client(ANN)
    portal.largefiles.send([path], to=["out@elsewhere.example"], subject=f"{WORDS[0]} plans")
    portal.close()


def both(lab: Lab) -> None:
    from mimeportal_server.arrival import accept
    from mimeportal_server.incoming import parse

    with lab.server.database.read() as tx:
        persons = [people.find(tx, address) for address in (ANN, BOB)]
    recipients = [(int(person.id), str(person.address)) for person in persons if person]
    octets = mail_of("round@bobs.example", "to both", to="everybody")
    accept(lab.server, [parse(octets, None, recipients=recipients, received=lab.server.clock.now())], door="test")


def told(lab: Lab, back: int = 2) -> dict[str, Any]:
    with asking(lab) as ask:
        ask.portal.clock.offset = lab.server.clock.offset
        return {name: ask(f"/api/portal/reports/{name}", days(lab, back)).row["rows"] for name in REPORTS}


def sums(lab: Lab) -> tuple[dict[Any, int], dict[Any, int]]:
    with lab.server.database.read() as tx:
        kept = {tuple(row[:4]): row[4] for row in tx.execute(select(day_counts))}
        return kept, {key: number for key, number in counting.scan(lab.server, tx).items() if number}


def acts(lab: Lab) -> Counter[tuple[str, str]]:
    database = sqlite3.connect(lab.path / "portal.db")
    rows = database.execute("SELECT action, outcome FROM audit").fetchall()
    database.close()
    return Counter(rows)


def everything(path: Path) -> bytes:
    """Every octet of the home that could name somebody; what was delivered is no longer the portal's."""
    names = [file for file in path.rglob("*") if file.is_file() and "outgoing" not in file.parts]
    return b"".join(file.read_bytes() for file in names)


def named(path: Path) -> list[str]:
    octets = everything(path).lower()
    return [text for text in (ANN, *WORDS, "private.example") if text.lower().encode() in octets]


class TestErasing:
    def test_nothing_names_them_any_more(self, story: Lab) -> None:
        assert named(story.path)
        assert erasing.erase(story.server, ANN) == 4
        assert named(story.path) == []

    def test_every_count_is_what_it_was(self, story: Lab) -> None:
        before, acted = told(story), acts(story)
        erasing.erase(story.server, ANN)
        after = told(story)
        # What was undecided left the queue: that is the one act that erasing is.
        ended = [[*row[:5], 0, *row[6:]] for row in after["held"]]
        assert ended == before["held"]
        assert sum(row[5] for row in after["held"]) == 1
        assert (after["traffic"], after["logins"]) == (before["traffic"], before["logins"])
        assert acts(story) - acted == Counter({("expire", "done"): 1, ("erase person", "done"): 1})
        assert not acted - acts(story)
        kept, scanned = sums(story)
        assert kept == scanned

    def test_what_was_over_its_time_stays_on_its_day(self, story: Lab) -> None:
        story.advance(days=20)
        before = told(story, 22)
        erasing.erase(story.server, ANN)
        assert told(story, 22) == before
        assert sum(row[5] for row in before["held"]) == 2
        kept, scanned = sums(story)
        assert kept == scanned

    def test_nothing_is_left_in_spare_room_of_the_database(self, story: Lab) -> None:
        """What was changed or deleted before, as a draft is, left copies in pages that are free now."""
        with story.server.write() as tx:
            set_fact(tx, "draft", f"{WORDS[1]} " * 40_000)
        with story.server.write() as tx:
            tx.exec_driver_sql("PRAGMA secure_delete = OFF")  # as SQLite is built on most systems
            tx.execute(delete(facts).where(facts.c.name == "draft"))
        erasing.erase(story.server, ANN)
        assert named(story.path) == []

    @pytest.mark.parametrize("command", [("people", "erase", ANN, "--yes"), ("sweep",)])
    def test_what_was_cut_off_behind_its_transaction(
        self, story: Lab, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
    ) -> None:
        class Killed(BaseException):
            pass

        def hook(step: str) -> None:
            if step == "erasing.committed":
                raise Killed

        monkeypatch.setattr("mimeportal_server.steps.hook", hook)
        with pytest.raises(Killed):
            erasing.erase(story.server, ANN)
        assert not (story.path / "erased.jsonl").exists()
        TestTheCommand().run(*command, "--home", str(story.path))
        assert len((story.path / "erased.jsonl").read_text().splitlines()) == 1
        assert erasing.finish(story.server) == 0

    def test_refusals_stay_without_what_they_name(self, story: Lab) -> None:
        story.advance(days=400)
        erasing.erase(story.server, ANN)
        with story.server.database.read() as tx:
            told = [tuple(row) for row in tx.execute(select(rejections).order_by(rejections.c.id))]
        assert [row[2:6] for row in told] == [
            ("", "", "", ""),
            ("other@bobs.example", BOB, "192.0.2.7", "mx.example"),
        ]
        assert [row[6:] for row in told] == [("unknown", "550", "inbound")] * 2

    def test_whoever_reads_meanwhile_is_waited_for(self, story: Lab) -> None:
        """Else the old pages would lie in the file until somebody writes much."""
        hasty = Portal(Home.open(story.path, busy=0.01), wall=lambda: story.time)
        reader = sqlite3.connect(story.path / "portal.db", isolation_level=None, check_same_thread=False)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM people").fetchone()
        ends = threading.Timer(0.5, reader.close)
        ends.start()
        erasing.erase(hasty, ANN)
        assert (story.path / "portal.db-wal").stat().st_size < 100_000, "the old log was emptied"
        hasty.close()
        ends.join()
        assert named(story.path) == []

    def test_one_process_at_a_time_writes_the_database_anew(self, story: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        """A portal that runs sees an erasure that a command has under way, and leaves it to the command."""
        rewritten = []
        rewrite = story.server.database.rewrite

        def watched() -> None:
            rewritten.append(erasing.finish(other))
            rewrite()

        other = Portal(Home.open(story.path), wall=lambda: story.time)
        monkeypatch.setattr(story.server.database, "rewrite", watched)
        monkeypatch.setattr(other.database, "rewrite", lambda: pytest.fail("both did"))
        erasing.erase(story.server, ANN)
        assert rewritten == [0]
        other.close()
        assert named(story.path) == []

    def test_what_others_have_stays_theirs(self, story: Lab) -> None:
        erasing.erase(story.server, ANN)
        with asking(story) as ask:
            assert ask.one(subject="for bob")
            tracked = ask("/api/message-finder/search", {"advancedTrackAndTraceOptions": {"to": BOB}})
            assert "to both" in [row["subject"] for row in tracked.json["data"][0]["trackedEmails"]]

    def test_they_are_gone_and_may_come_again(self, story: Lab) -> None:
        erasing.erase(story.server, ANN)
        with story.server.write() as tx:
            assert people.find(tx, ANN) is None
            _, new = people.add(tx, ANN, domains=("example.com",), now=0)
        assert new
        with asking(story) as ask:
            assert ask.held(by=ANN, queue="personal") == []
            assert ask.lists(ANN) == {}

    def test_nobody_is_erased_twice_or_by_mistake(self, story: Lab) -> None:
        for address in ("nobody@example.com", "app:robot"):
            with pytest.raises(NotFoundError):
                erasing.erase(story.server, address)
        erasing.erase(story.server, ANN)
        with pytest.raises(NotFoundError):
            erasing.erase(story.server, ANN)

    def test_not_while_their_mail_is_on_its_way(self, story: Lab) -> None:
        story.receive(mail_of("friend@private.example", "one more"), reason=None)
        with pytest.raises(UsageError, match="1 deliveries"):
            erasing.erase(story.server, ANN)
        assert named(story.path)
        delivery.deliver(story.server)
        erasing.erase(story.server, ANN)
        assert named(story.path) == []


class TestRestoring:
    """A backup from before brings them back; the file of erasures takes them away again."""

    def test_a_restore_replays_erasures(self, story: Lab, tmp_path: Path) -> None:
        story.receive(mail_of("friend@private.example", f"{WORDS[0]} queued"), reason=None)
        backup.backup(story.server, tmp_path / "backup")
        delivery.deliver(story.server)
        erasing.erase(story.server, ANN)
        backup.restore(tmp_path / "backup", tmp_path / "without").close()
        assert named(tmp_path / "without")
        home = backup.restore(tmp_path / "backup", tmp_path / "with", story.path / "erased.jsonl")
        portal = Portal(home)
        with portal.database.read() as tx:
            kept = {tuple(row[:4]): row[4] for row in tx.execute(select(day_counts))}
            scanned = {key: number for key, number in counting.scan(portal, tx).items() if number}
        assert kept == scanned
        portal.close()
        assert named(tmp_path / "with") == []
        assert (tmp_path / "with" / "erased.jsonl").read_bytes() == (story.path / "erased.jsonl").read_bytes()

    def test_the_file_names_nobody(self, story: Lab) -> None:
        erasing.erase(story.server, ANN)
        (line,) = (story.path / "erased.jsonl").read_text().splitlines()
        assert set(json.loads(line)) == {"person", "mark"}

    def test_a_number_that_is_somebody_else_by_now(self, story: Lab, tmp_path: Path) -> None:
        erasing.erase(story.server, ANN)
        with story.server.database.read() as tx:
            bob = people.find(tx, BOB)
        assert bob is not None
        line = json.loads((story.path / "erased.jsonl").read_text())
        other = tmp_path / "erased.jsonl"
        other.write_text(json.dumps({**line, "person": int(bob.id)}) + "\n")
        assert erasing.replay(story.server, other) == 0

    @pytest.mark.parametrize("content", ["{}", "no json", '{"person": "x", "mark": 1}'])
    def test_a_file_that_is_none(self, story: Lab, tmp_path: Path, content: str) -> None:
        file = tmp_path / "some"
        file.write_text(content)
        with pytest.raises(UsageError, match="no file of erasures"):
            erasing.replay(story.server, file)


class TestTheCommand:
    def run(self, *arguments: str, stdin: str = "") -> Any:
        import subprocess
        import sys

        command = [sys.executable, "-m", "mimeportal_server", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True)

    def test_it_asks_and_nobody_can_answer(self, story: Lab) -> None:
        done = self.run("people", "erase", ANN, "--home", str(story.path))
        assert done.returncode == 2
        assert "--yes required" in done.stderr
        assert "Add --yes.\n" in done.stderr, "there is no --dry-run to look first"
        assert named(story.path)

    def test_erase_and_restore(self, story: Lab, tmp_path: Path) -> None:
        home = str(story.path)
        assert self.run("backup", str(tmp_path / "b"), "--home", home).returncode == 0
        done = self.run("people", "erase", ANN.upper(), "--home", home, "--yes")
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == f"Erased {ANN.upper()}, and 4 messages.\n"
        again = self.run("people", "erase", ANN, "--home", home, "--yes")
        assert again.returncode == 5
        restored = tmp_path / "restored"
        file = str(story.path / "erased.jsonl")
        assert self.run("restore", str(tmp_path / "b"), "--erased", file, "--home", str(restored)).returncode == 0
        assert named(restored) == []
