"""The `mimeportal-server` command, as whoever runs a portal types it."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from conftest import ANN, SPAM, Lab
from mimeportal_server import outsiders, people
from mimeportal_server.store.blobs import name_of
from mimeportal_server.store.schema import audit_details

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*arguments: str, home: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        named = {"MIMEPORTAL_HOME": str(home)} if home else {}
        return subprocess.run(
            [sys.executable, "-m", "mimeportal_server", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **named, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return run


def test_init_people_import_status(run: Run, tmp_path: Path, mail: Callable[..., bytes]) -> None:
    home = tmp_path / "home"
    done = run("init", "home", "--domain", "example.com")
    assert (done.returncode, done.stdout) == (0, "")
    assert "Made a portal home for example.com" in done.stderr
    assert home.stat().st_mode & 0o077 == 0
    assert run("people", "add", ANN, home=home).returncode == 0
    assert run("people", "add", "mod@example.com", "--moderates", "example.com", home=home).returncode == 0
    listed = run("people", "list", "-o", "json", home=home)
    assert json.loads(listed.stdout) == [
        {"address": ANN, "role": "user", "moderates": "", "content_view": False, "login": "cloud", "disabled": False},
        {
            "address": "mod@example.com",
            "role": "user",
            "moderates": "example.com",
            "content_view": False,
            "login": "cloud",
            "disabled": False,
        },
    ]
    (tmp_path / "a.eml").write_bytes(mail())
    imported = run("import", "a.eml", "--recipient", ANN, "--hold", SPAM, home=home)
    assert imported.returncode == 0
    assert imported.stdout.split("\t")[:4] == ["a.eml", "0", ANN, "held"]
    assert imported.stderr == "Imported: 1 held.\n"
    assert "already" in run("import", "a.eml", "--recipient", ANN, "--hold", SPAM, home=home).stdout
    facts = dict(line.split("\t") for line in run("status", home=home).stdout.splitlines())
    assert (facts["held"], facts["people"], facts["clock"]) == ("1", "2", "believed")


def test_of_somebody_who_is_there_only_what_is_named_changes(run: Run, lab: Lab) -> None:
    carla = "carla@example.com"

    def add(*options: str) -> dict[str, object]:
        done = run("people", "add", carla, *options, home=lab.path)
        assert done.returncode == 0, done.stderr
        told.append(done.stderr)
        rows = json.loads(run("people", "list", "-o", "json", home=lab.path).stdout)
        return next({name: row[name] for name in is_now} for row in rows if row["address"] == carla)

    told: list[str] = []
    is_now: dict[str, object] = {"role": "administrator", "moderates": ANN, "content_view": False, "login": "cloud"}
    assert add("--role", "administrator", "--no-content-view", "--moderates", ANN) == is_now
    assert told == [f"Added {carla}: administrator, without content view, moderates {ANN}.\n"]
    assert add("--login", "sso") == is_now | {"login": "sso"}
    assert told[-1] == f"Changed {carla}: administrator, without content view, moderates {ANN}.\n"
    assert add("--moderates", "example.com") == is_now | {"login": "sso", "moderates": "example.com"}
    assert add("--no-moderates") == is_now | {"login": "sso", "moderates": ""}
    assert add("--role", "user") == is_now | {"login": "sso", "moderates": "", "role": "user"}
    assert add("--role", "administrator") == is_now | {"login": "sso", "moderates": "", "content_view": True}
    assert "exclude each other" in three_lines(
        run("people", "add", carla, "--moderates", ANN, "--no-moderates", home=lab.path), 2
    )


def test_the_audit_names_the_account_of_the_machine_not_the_environment(run: Run, lab: Lab) -> None:
    run("people", "disable", ANN, home=lab.path, USER="somebody-else")
    with lab.server.database.read() as tx:
        details = [json.loads(detail) for detail in tx.scalars(select(audit_details.c.detail))]
    assert {"address": ANN, "os_user": pwd.getpwuid(os.getuid()).pw_name} in details


def test_screened_mail_is_delivered_at_once(run: Run, tmp_path: Path, lab: Lab, mail: Callable[..., bytes]) -> None:
    (tmp_path / "clean.eml").write_bytes(mail())
    (tmp_path / "spam.eml").write_bytes(mail(subject="buy", extra="X-Spam-Flag: YES\n"))
    done = run("import", "clean.eml", "spam.eml", "--recipient", ANN, home=lab.path)
    assert [line.split("\t")[3] for line in done.stdout.splitlines()] == ["delivered", "held"]
    assert done.stderr == "Imported: 1 held, 1 let through, 1 delivered.\n"
    assert [path.read_bytes() for path in lab.outgoing()] == [mail()]
    (row,) = [
        json.loads(line) for line in run("status", "--deliveries", "-o", "jsonl", home=lab.path).stdout.splitlines()
    ]
    assert (row["file"], row["sender"], row["recipient"], row["state"]) == (
        lab.outgoing()[0].name,
        "eve@elsewhere.example",
        ANN,
        "delivered",
    )


def test_what_is_held_and_over_its_time_at_once_is_said(
    run: Run, tmp_path: Path, lab: Lab, mail: Callable[..., bytes]
) -> None:
    (tmp_path / "old.eml").write_bytes(mail())
    done = run("import", "old.eml", "--recipient", ANN, "--hold", SPAM, "--received", "2020-01-01", home=lab.path)
    note = "received so long ago that it has left the queue already"
    assert done.stdout.split("\t")[3:] == ["held", SPAM, f"{note}\n"]
    assert done.stderr == f"Imported: 1 held.\n1 of those held were {note} (keeping.hold_days).\n"


def test_what_the_relay_did_not_take_is_said_to_be_queued(
    run: Run, tmp_path: Path, lab: Lab, mail: Callable[..., bytes]
) -> None:
    config = lab.path / "portal.toml"
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    config.write_text(config.read_text().replace('to = "maildir"', f'to = "smtp"\nrelay = "127.0.0.1:{port}"'))
    (tmp_path / "clean.eml").write_bytes(mail())
    done = run("import", "clean.eml", "--recipient", ANN, home=lab.path)
    assert done.returncode == 0
    first, second = done.stderr.splitlines()
    assert first == "Imported: 1 let through."
    assert "1 still queued for delivery" in second


def test_one_time_password_is_shown_once_and_stored_as_a_hash(run: Run, lab: Lab) -> None:
    done = run("people", "reset", ANN, home=lab.path)
    secret = done.stdout.strip()
    assert len(secret) == 43
    assert secret not in done.stderr
    for file in lab.path.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes()


def test_people_outside_are_reset_and_disabled_too(run: Run, lab: Lab) -> None:
    client = "client@elsewhere.example"
    with lab.server.write() as tx:
        outsiders.invite(tx, lab.server, client)
    assert len(run("people", "reset", client, home=lab.path).stdout.strip()) == 43
    assert run("people", "disable", client, home=lab.path).returncode == 0
    with lab.server.database.read() as tx:
        assert people.caller_of(tx, client, "test") is None


def test_disable_and_enable(run: Run, lab: Lab) -> None:
    assert run("people", "disable", ANN, home=lab.path).returncode == 0
    assert '"disabled":true' in run("people", "list", "-o", "jsonl", home=lab.path).stdout.replace(" ", "")
    assert run("people", "enable", ANN, home=lab.path).returncode == 0
    lab.client().close()


def test_backup_and_restore(run: Run, lab: Lab, tmp_path: Path, mail: Callable[..., bytes]) -> None:
    lab.receive(mail())
    assert "1 messages" in run("backup", "b", home=lab.path).stderr
    restored = run("restore", "b", home=tmp_path / "restored")
    assert restored.returncode == 0, restored.stderr
    facts = dict(line.split("\t") for line in run("status", home=tmp_path / "restored").stdout.splitlines())
    assert facts["held"] == "1"


def test_a_backup_of_a_home_that_lost_octets_ends_with_3(
    run: Run, lab: Lab, tmp_path: Path, mail: Callable[..., bytes]
) -> None:
    lab.receive(mail())
    lab.server.home.blobs.path(name_of(mail())).unlink()
    done = run("backup", "b", home=lab.path)
    assert (done.returncode, done.stderr.splitlines()[:2]) == (
        3,
        [
            "Wrote b: the database and 0 messages. Keep it as safe as the home.",
            "1 messages or large files are not in it.",
        ],
    )
    assert f"blobs/{name_of(mail())}" in done.stderr


def test_a_remedy_names_only_options_that_there_are(run: Run, lab: Lab) -> None:
    told = three_lines(run("people", "erase", ANN, home=lab.path), 2)
    assert told.splitlines()[2] == "Add --yes."


def test_what_is_no_backup_is_told_without_numbers_of_errors(run: Run, tmp_path: Path) -> None:
    told = three_lines(run("restore", "nothing", home=tmp_path / "restored"), 2)
    assert told.startswith("nothing cannot be restored: No such file or directory.\n")


def test_sweep_says_what_it_did(run: Run, lab: Lab, mail: Callable[..., bytes]) -> None:
    assert run("sweep", home=lab.path).stderr == "Swept: nothing to do.\n"
    lab.receive(mail())
    lab.advance(days=15)
    assert run("sweep", home=lab.path).stderr == "Swept: 1 expired.\n"


def three_lines(done: subprocess.CompletedProcess[str], code: int) -> str:
    """An error: three lines on stderr, nothing on stdout, no traceback."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 3, done.stderr
    return done.stderr


class TestErrors:
    def test_no_home(self, run: Run, tmp_path: Path) -> None:
        assert "is no portal home" in three_lines(run("status", home=tmp_path / "nothing"), 2)

    def test_no_home_named(self, run: Run) -> None:
        assert "--home" in three_lines(run("status"), 2)

    def test_unknown_person(self, run: Run, lab: Lab) -> None:
        assert "is none of the portal's people" in three_lines(
            run("people", "reset", "x@example.com", home=lab.path), 5
        )

    def test_person_of_another_domain(self, run: Run, lab: Lab) -> None:
        assert "outside of the portal's domains" in three_lines(
            run("people", "add", "x@else.example", home=lab.path), 2
        )

    def test_bad_domain(self, run: Run) -> None:
        assert "Not a domain" in three_lines(run("init", "h", "--domain", "no domain"), 2)

    def test_broken_settings_name_the_line(self, run: Run, lab: Lab) -> None:
        config = lab.path / "portal.toml"
        config.write_text(config.read_text() + "\n[keping]\n")
        assert "keping" in three_lines(run("status", home=lab.path), 2)

    def test_unreadable_mbox(self, run: Run, lab: Lab, tmp_path: Path) -> None:
        (tmp_path / "box").mkdir()
        done = run("import", "box", "--recipient", ANN, home=lab.path)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr.endswith("Imported: nothing.\n")

    def test_damaged_database(self, run: Run, lab: Lab) -> None:
        lab.server.close()
        for name in ("portal.db-wal", "portal.db-shm"):
            (lab.path / name).unlink(missing_ok=True)
        (lab.path / "portal.db").write_bytes(b"not a database" * 1000)
        assert "damaged" in three_lines(run("status", home=lab.path), 2)
