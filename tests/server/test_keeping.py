"""What time brings: expiry, what is let go of, the clock that is not believed, backup and restore."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from conftest import ADMIN, ANN, BOB, Lab
from mimeportal.errors import AuthenticationError, ConfigurationError, UnavailableError, UsageError
from mimeportal.local import open_transport
from mimeportal.portal import Portal as Client
from mimeportal_server import backup, keeping, people, tokens
from mimeportal_server.clock import DAY, iso, moment
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal
from mimeportal_server.store import database
from mimeportal_server.store.blobs import name_of
from mimeportal_server.store.schema import audit, deliveries, messages, rejections

Mail = Callable[..., bytes]


def settings_of(lab: Lab, old: str, new: str) -> None:
    """Change portal.toml, and open the home again."""
    config = lab.path / "portal.toml"
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    lab.server.close()
    lab.server = Portal(Home.open(lab.path), wall=lambda: lab.time)


class TestSweep:
    def test_a_hold_expires_once_and_is_logged(self, lab: Lab, mail: Mail) -> None:
        lab.receive(mail())
        lab.advance(days=13.9)
        assert keeping.sweep(lab.server)["expired"] == 0
        lab.advance(days=0.2)
        assert keeping.sweep(lab.server)["expired"] == 1
        assert keeping.sweep(lab.server)["expired"] == 0
        with lab.client(ADMIN) as portal:
            (row,) = portal.holds.log()
        assert (row.status, row.info) == ("expired", "Expired in queue - rejected by housekeeping")

    def test_what_was_refused_is_kept_and_listed_for_a_week(self, lab: Lab) -> None:
        """portal-rules C.12 for the list; reports have every day (promises G)."""
        now = lab.server.clock.now()
        with lab.server.write() as tx:
            for days in (6.9, 7.1, 400):
                tx.execute(insert(rejections), {"at": now - int(days * DAY), "sender": f"{days}@elsewhere.example"})
        keeping.sweep(lab.server)
        since = datetime.fromtimestamp(lab.time, UTC) - timedelta(days=402)
        with lab.client(ADMIN) as portal:
            told = portal.messages.rejected(since=since)
            assert [row.from_address for row in told] == ["6.9@elsewhere.example"]
            reported = [row.from_address for row in portal.reports.rejections(since=since)]
        assert reported == ["400@elsewhere.example", "7.1@elsewhere.example", "6.9@elsewhere.example"]

    def test_what_is_over_its_time_is_logged_without_a_sweep(self, lab: Lab, mail: Mail) -> None:
        lab.receive(mail())
        with lab.client(ADMIN) as portal:
            assert list(portal.holds.log()) == []
        lab.advance(days=15)
        with lab.client(ADMIN) as portal:
            derived = portal.holds.log().first(2)
            assert [(row.status, row.operator) for row in derived] == [("expired", "")]
            assert [row.status for row in portal.holds.log(status="expired")] == ["expired"]
            assert list(portal.holds.log(status="released")) == []
        keeping.sweep(lab.server)
        with lab.client(ADMIN) as portal:
            assert portal.holds.log().first(2) == derived

    def test_an_archive_copy_of_what_expired_stays(self, lab: Lab, mail: Mail) -> None:
        lab.receive(mail())
        lab.advance(days=15)
        keeping.sweep(lab.server)
        lab.advance(days=2)
        assert keeping.sweep(lab.server)["purged"] == 0
        assert len(list(lab.server.home.blobs.names())) == 1

    def test_without_archiving_it_goes_a_day_after_it_was_marked(self, lab: Lab, mail: Mail) -> None:
        settings_of(lab, "archiving = true ", "archiving = false")
        lab.receive(mail())
        lab.advance(days=15)
        assert keeping.sweep(lab.server)["marked"] == 1
        assert len(list(lab.server.home.blobs.names())) == 1
        lab.advance(hours=23)
        assert keeping.sweep(lab.server)["purged"] == 0
        lab.advance(hours=2)
        assert keeping.sweep(lab.server)["purged"] == 1
        assert not list(lab.server.home.blobs.names())
        with lab.server.database.read() as tx:
            assert tx.scalar(select(messages.c.purged)) is not None

    def test_of_a_rejected_message_the_facts_stay_and_the_octets_go(self, lab: Lab, mail: Mail) -> None:
        lab.receive(mail())
        with lab.client() as portal:
            portal.holds.reject(portal.holds.list())
        keeping.sweep(lab.server)
        lab.advance(days=1.1)
        assert keeping.sweep(lab.server)["purged"] == 1
        with lab.client() as portal:
            assert [row.status for row in portal.holds.log()] == ["rejected"]

    def test_octets_that_another_message_keeps_stay(self, lab: Lab, mail: Mail) -> None:
        octets = mail()
        lab.receive(octets)
        lab.receive(octets, to=BOB)
        with lab.client() as portal:
            portal.holds.reject(portal.holds.list())
        keeping.sweep(lab.server)
        lab.advance(days=1.1)
        assert keeping.sweep(lab.server)["purged"] == 0
        with lab.client(BOB) as portal:
            assert portal.holds.release(portal.holds.list()).totals == {"done": 1}
        assert [path.read_bytes() for path in lab.outgoing()] == [octets]


class TestQuota:
    def test_mail_over_the_quota_is_refused_and_room_comes_back(self, lab: Lab, mail: Mail) -> None:
        octets = mail()
        settings_of(lab, "[policies]", f"[limits]\nperson_octets = {len(octets) + 10}\n\n[policies]")
        assert [result.outcome for result in lab.receive(octets)] == ["held"]
        (refused,) = lab.receive(octets)
        assert (refused.outcome, refused.reason) == ("refused", "the mailbox is full")
        assert [result.outcome for result in lab.receive(octets, to=BOB)] == ["held"]
        with lab.client() as portal:
            portal.holds.reject(portal.holds.list())
        keeping.sweep(lab.server)
        lab.advance(days=1.1)
        keeping.sweep(lab.server)
        assert [result.outcome for result in lab.receive(octets)] == ["held"]


class TestClock:
    @pytest.mark.parametrize("milliseconds", [-(10**18), -62_135_596_800_001, 253_402_300_800_000, 10**18])
    def test_no_time_is_beyond_the_calendar(self, milliseconds: int) -> None:
        assert moment(milliseconds).year in (1, 9999)
        assert iso(milliseconds).startswith(("0001-", "9999-"))

    def test_a_clock_set_back_expires_nothing_and_brings_nothing_back(self, lab: Lab, mail: Mail) -> None:
        lab.receive(mail(subject="old"))
        lab.advance(days=15)
        lab.receive(mail(subject="new"))
        lab.step(days=-3)
        settings_of(lab, "hold_days", "hold_days")
        assert "set back" in (lab.server.clock.fault() or "")
        assert keeping.sweep(lab.server)["expired"] == 0
        with lab.client() as portal:
            assert [hold.subject for hold in portal.holds.list()] == ["new"]

    def test_a_jump_forward_while_open_is_not_believed(self, lab: Lab, mail: Mail) -> None:
        lab.receive(mail())
        portal = Portal(Home.open(lab.path), wall=lambda: lab.time)
        lab.step(days=20)
        assert "jumped forward" in (portal.clock.fault() or "")
        assert keeping.sweep(portal)["expired"] == 0
        portal.close()

    def test_accepting_the_clock_ends_it(self, lab: Lab, mail: Mail) -> None:
        lab.advance(days=15)
        lab.receive(mail())
        lab.step(days=-3)
        settings_of(lab, "hold_days", "hold_days")
        assert lab.server.clock.fault()
        lab.server.accept_clock()
        assert lab.server.clock.fault() is None


class TestBackup:
    def test_a_home_comes_back_with_ids_octets_and_lists(self, lab: Lab, mail: Mail, tmp_path: Path) -> None:
        octets = mail()
        lab.receive(octets)
        with lab.client() as portal:
            portal.senders.add(["spam.example"], "blocked")
            (hold,) = portal.holds.list()
        assert backup.backup(lab.server, tmp_path / "b") == backup.Written(1, ())
        assert (tmp_path / "b").stat().st_mode & 0o077 == 0
        backup.restore(tmp_path / "b", tmp_path / "restored").close()
        with Client(open_transport(f"local:{tmp_path / 'restored'}", ANN)) as portal:
            assert [h.id for h in portal.holds.list()] == [hold.id]
            assert b"".join(portal.holds.download(hold.id)) == octets
            assert [entry.entry for entry in portal.senders.list("blocked")] == ["spam.example"]

    def test_what_was_on_its_way_is_frozen_and_marked_until_thawed(
        self, lab: Lab, mail: Mail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from mimeportal_server import delivery

        lab.receive(mail())
        monkeypatch.setattr(delivery, "STAGES", (delivery.spool, delivery.say_spooled))
        with lab.client() as portal:
            portal.holds.release(portal.holds.list())
        backup.backup(lab.server, tmp_path / "b")
        monkeypatch.undo()
        restored = Portal(backup.restore(tmp_path / "b", tmp_path / "restored"))
        assert delivery.deliver(restored)["delivered"] == 0
        with restored.database.read() as tx:
            row = tx.execute(select(deliveries)).one()
        assert (row.state, row.maybe_twice) == ("frozen", True)
        assert backup.thaw(restored) == 1
        assert delivery.deliver(restored)["delivered"] == 1
        restored.close()

    def test_everything_handed_out_before_ends(self, lab: Lab, tmp_path: Path) -> None:
        with lab.server.write() as tx:
            person = people.find(tx, ANN)
            assert person is not None
            secret = people.reset(tx, int(person.id), lab.server.clock.machine())
        now = lab.server.clock.machine()
        with lab.server.database.read() as tx:
            assert tokens.valid(tx, secret, "one-time password", now=now) == person.id
        backup.backup(lab.server, tmp_path / "b")
        restored = Portal(backup.restore(tmp_path / "b", tmp_path / "restored"))
        with restored.database.read() as tx:
            assert tokens.valid(tx, secret, "one-time password", now=now) is None
        restored.close()

    @pytest.mark.parametrize("damage", ["gone", "damaged"])
    def test_octets_that_the_home_lost_are_told_and_the_rest_can_be_restored(
        self, lab: Lab, mail: Mail, tmp_path: Path, damage: str
    ) -> None:
        octets = mail(subject="lost"), mail(subject="kept")
        for each in octets:
            lab.receive(each)
        lost = lab.server.home.blobs.path(name_of(octets[0]))
        lost.unlink()
        if damage == "damaged":
            lost.write_bytes(octets[0][:-1])
        written = backup.backup(lab.server, tmp_path / "b")
        assert written == backup.Written(1, (f"blobs/{lost.name}",))
        backup.restore(tmp_path / "b", tmp_path / "restored").close()
        with Client(open_transport(f"local:{tmp_path / 'restored'}", ANN)) as portal:
            (kept,) = portal.holds.list(subject="kept")
            assert b"".join(portal.holds.download(kept.id)) == octets[1]

    def test_what_was_purged_meanwhile_is_not_missed(
        self, lab: Lab, mail: Mail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lab.receive(mail())
        named = backup._octets

        def meanwhile(home: Home, database: Path) -> dict[str, Path]:
            found = named(home, database)
            if database != home.database.path:
                lab.advance(days=15)
                keeping.sweep(lab.server)
                lab.advance(days=2)
                assert keeping.sweep(lab.server)["purged"] == 1
            return found

        settings_of(lab, "archiving = true", "archiving = false")
        monkeypatch.setattr(backup, "_octets", meanwhile)
        assert backup.backup(lab.server, tmp_path / "b") == backup.Written(0, ())

    def test_a_disk_that_is_full_is_no_fault_of_the_program(
        self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Full(sqlite3.Connection):
            def backup(self, *_: object, **__: object) -> None:
                raise sqlite3.OperationalError("database or disk is full")

        connect = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda path: connect(path, factory=Full))
        with pytest.raises(UnavailableError, match="cannot be copied: database or disk is full"):
            backup.backup(lab.server, tmp_path / "b")
        assert [path.name for path in tmp_path.iterdir()] == ["home"]

    def test_nothing_is_overwritten(self, lab: Lab, tmp_path: Path) -> None:
        (tmp_path / "b").write_text("mine")
        with pytest.raises(UsageError, match="exists already"):
            backup.backup(lab.server, tmp_path / "b")
        with pytest.raises(UsageError, match="not empty"):
            backup.restore(tmp_path / "b", lab.path)

    @pytest.mark.parametrize("octets", [b"", b"no archive", b"\x1f\x8b" + bytes(100)])
    def test_a_file_that_is_no_backup_is_refused(self, tmp_path: Path, octets: bytes) -> None:
        (tmp_path / "b").write_bytes(octets)
        with pytest.raises(UsageError):
            backup.restore(tmp_path / "b", tmp_path / "restored")
        assert [path.name for path in tmp_path.iterdir()] == ["b"]

    def test_a_backup_that_is_not_there_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="cannot be restored"):
            backup.restore(tmp_path / "b", tmp_path / "deep" / "restored")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.99])
    def test_a_cut_backup_leaves_nothing(self, lab: Lab, mail: Mail, tmp_path: Path, kept: float) -> None:
        lab.receive(mail())
        backup.backup(lab.server, tmp_path / "b")
        octets = (tmp_path / "b").read_bytes()
        (tmp_path / "b").write_bytes(octets[: int(len(octets) * kept)])
        with pytest.raises(UsageError, match="cannot be restored"):
            backup.restore(tmp_path / "b", tmp_path / "restored")
        assert {path.name for path in tmp_path.iterdir()} == {"b", "home"}

    def test_until_it_is_frozen_it_has_no_name(self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        backup.backup(lab.server, tmp_path / "b")
        target = tmp_path / "restored"
        target.mkdir(mode=0o755)

        def interrupted(home: Home) -> None:
            assert home.path.parent == tmp_path
            assert home.path.name.startswith(".")
            assert home.path.stat().st_mode & 0o077 == 0
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(backup, "_after_restore", interrupted)
            with pytest.raises(KeyboardInterrupt):
                backup.restore(tmp_path / "b", target)
        assert {path.name for path in tmp_path.iterdir()} == {"b", "home", "restored"}
        assert list(target.iterdir()) == []
        backup.restore(tmp_path / "b", target).close()
        assert target.stat().st_mode & 0o077 == 0

    def test_what_another_process_wrote_meanwhile_stays(
        self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = backup._blob_names

        def meanwhile(copy: Path) -> list[str]:
            (tmp_path / "b").write_text("theirs")
            (tmp_path / "b.part").write_text("theirs")
            return names(copy)

        monkeypatch.setattr(backup, "_blob_names", meanwhile)
        with pytest.raises(UsageError, match="exists already"):
            backup.backup(lab.server, tmp_path / "b")
        assert {path.name for path in tmp_path.iterdir()} == {"b", "b.part", "home"}
        assert (tmp_path / "b").read_text() == (tmp_path / "b.part").read_text() == "theirs"


class TestDatabase:
    def test_locked_by_another_program(self, lab: Lab, mail: Mail) -> None:
        lab.receive(mail())
        with Client(open_transport(lab.url, ANN, timeout=0.2)) as portal:
            (hold,) = portal.holds.list()
            other = sqlite3.connect(lab.path / "portal.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            result = portal.holds.plan("release", ids=[hold]).run()
            assert isinstance(result.stopped, UnavailableError)
            assert "in use by another program" in result.stopped.what
            assert result.not_attempted == 1
            other.execute("ROLLBACK")
            other.close()
            assert portal.holds.release([hold]).totals == {"done": 1}

    def test_read_only(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        configure = database._configure

        def read_only(connection: sqlite3.Connection, record: object) -> None:
            configure(connection, record)
            connection.execute("PRAGMA query_only = ON")

        monkeypatch.setattr(database, "_configure", read_only)
        with lab.client() as portal, pytest.raises(UnavailableError, match="read-only"):
            portal.senders.add(["spam.example"], "blocked")


class TestHome:
    def test_any_name_of_a_folder_will_do(self, tmp_path: Path) -> None:
        path = tmp_path / "what?mode=memory#x %41"
        Home.create(path, "example.com").close()
        Home.open(path).close()
        assert (path / "portal.db").is_file()

    @pytest.mark.parametrize("size", [0, 31, 33])
    def test_a_key_of_another_length(self, lab: Lab, size: int) -> None:
        (lab.path / "secret.key").write_bytes(bytes(size))
        with pytest.raises(ConfigurationError, match=rf"secret\.key has {size} octets, not 32") as error:
            Home.open(lab.path)
        assert "backup" in error.value.remedy

    @pytest.mark.parametrize("name", ["secret.key", "portal.toml", "portal.db"])
    def test_a_file_that_is_missing_is_named(self, lab: Lab, name: str) -> None:
        (lab.path / name).unlink()
        with pytest.raises(ConfigurationError, match=rf"{name} is not there") as error:
            Home.open(lab.path)
        assert "backup" in error.value.remedy  # and not `init`, which would refuse the folder

    def test_a_home_of_somebody_else_is_refused_even_for_root(
        self, lab: Lab, mail: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        owner = lab.path.stat().st_uid
        monkeypatch.setattr("os.geteuid", lambda: owner + 1)
        with pytest.raises(ConfigurationError, match=r"belongs to .*, and this runs as") as error:
            Home.open(lab.path)
        assert "sudo -u" in error.value.remedy

    def test_a_database_in_use_may_be_tried_again(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        def locked(_: object) -> int:
            raise database.StoreError("It is in use.", passing=True)

        monkeypatch.setattr(database.Database, "schema_number", locked)
        with pytest.raises(UnavailableError, match="in use"):
            Home.open(lab.path)

    def test_a_damaged_database_is_named(self, lab: Lab) -> None:
        lab.server.close()
        (lab.path / "portal.db").write_bytes(b"not a database" * 1000)
        with pytest.raises(ConfigurationError, match=r"portal\.db: .* damaged"):
            Home.open(lab.path)

    def test_a_folder_that_is_no_home(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="no portal home") as error:
            Home.open(tmp_path)
        assert "mimeportal-server init" in error.value.remedy

    @pytest.mark.parametrize("name", [".", "secret.key"])
    def test_readable_by_others_is_refused_with_the_remedy(self, lab: Lab, name: str) -> None:
        (lab.path / name).chmod(0o755)
        with pytest.raises(ConfigurationError, match="can be read by others") as error:
            Home.open(lab.path)
        assert "chmod go=" in error.value.remedy

    def test_another_schema_is_refused(self, lab: Lab) -> None:
        lab.server.close()
        database = sqlite3.connect(lab.path / "portal.db")
        database.execute("UPDATE facts SET value = '99' WHERE name = 'schema'")
        database.commit()
        database.close()
        with pytest.raises(ConfigurationError, match="another release"):
            Home.open(lab.path)

    @pytest.mark.parametrize("there", [False, True])
    def test_a_home_that_cannot_be_made_leaves_nothing(
        self, tmp_path: Path, there: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise database.StoreError("The disk of the portal is full.", passing=True)

        path = tmp_path / "home"
        if there:
            path.mkdir()
        monkeypatch.setattr(database.Database, "create", full)
        with pytest.raises(UsageError, match="cannot be made: The disk of the portal is full"):
            Home.create(path, "example.com")
        assert list(tmp_path.rglob("*")) == ([path] if there else [])
        monkeypatch.undo()
        Home.create(path, "example.com").close()

    def test_a_folder_that_is_not_empty_is_not_made_a_home(self, tmp_path: Path) -> None:
        (tmp_path / "mine").write_text("x")
        with pytest.raises(UsageError, match="not empty"):
            Home.create(tmp_path, "example.com")

    def test_unknown_and_disabled_people_are_refused(self, lab: Lab) -> None:
        with pytest.raises(AuthenticationError, match=r"nobody@example.com is none of this portal's people"):
            lab.client("nobody@example.com")
        with lab.server.write() as tx:
            person = people.find(tx, ANN)
            assert person is not None
            people.disable(tx, int(person.id), True)
        with pytest.raises(AuthenticationError):
            lab.client(ANN)

    def test_every_act_leaves_an_audit_row(self, lab: Lab, mail: Mail) -> None:
        lab.receive(mail(subject="a"))
        lab.receive(mail(subject="b"))
        with lab.client() as portal:
            first, second = portal.holds.list()
            portal.holds.get(first.id)
            portal.holds.release([first], permit="address")
            portal.holds.reject([second], block="address")
            portal.senders.remove(["eve@elsewhere.example"], "blocked")
        with lab.server.database.read() as tx:
            actions = list(tx.scalars(select(audit.c.action).order_by(audit.c.id)))
        assert actions == ["arrive", "arrive", "view", "release", "reject", "remove blocked", "deliver"]
