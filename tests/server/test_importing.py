"""Mail from files, as promises C.1 says, and every bad input that a folder of real mail may hold."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from conftest import ADMIN, ANN, BOB, SPAM, Lab
from mimeportal import limits
from mimeportal.errors import UnavailableError, UsageError
from mimeportal_server import importing
from mimeportal_server.home import Home
from mimeportal_server.importing import Line, Options
from mimeportal_server.mail_headers import Headers
from mimeportal_server.mime import Structure, read_structure
from mimeportal_server.portal import Portal
from mimeportal_server.store import disk


def run(lab: Lab, *paths: Path, **options: object) -> list[Line]:
    chosen = {"recipient": ANN, "hold": SPAM, **options}
    return list(importing.run(lab.server, paths, Options(**chosen)))  # type: ignore[arg-type]


def outcomes(lines: list[Line]) -> Counter[str]:
    return Counter(line.outcome for line in lines)


@pytest.fixture
def folder(tmp_path: Path, mail: Callable[..., bytes]) -> Path:
    folder = tmp_path / "mail"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.eml").write_bytes(mail(subject=f"number {number}"))
    return folder


class TestOnce:
    def test_the_same_import_again_adds_nothing(self, lab: Lab, folder: Path) -> None:
        assert outcomes(run(lab, folder)) == {"held": 3}
        assert outcomes(run(lab, folder)) == {"already": 3}
        with lab.client() as portal:
            assert len(list(portal.holds.list())) == 3

    def test_again_imports_anew(self, lab: Lab, folder: Path) -> None:
        run(lab, folder)
        assert outcomes(run(lab, folder, again=True)) == {"held": 3}
        with lab.client() as portal:
            assert len(list(portal.holds.list())) == 6

    def test_equal_octets_at_another_path_are_another_message(self, lab: Lab, folder: Path) -> None:
        (folder / "copy.eml").write_bytes((folder / "0.eml").read_bytes())
        assert outcomes(run(lab, folder)) == {"held": 4}

    def test_another_recipient_is_another_item(self, lab: Lab, folder: Path) -> None:
        run(lab, folder)
        assert outcomes(run(lab, folder, recipient=BOB)) == {"held": 3}

    def test_another_way_to_write_the_path_is_the_same_item(self, lab: Lab, folder: Path) -> None:
        run(lab, folder)
        assert outcomes(run(lab, folder / ".." / folder.name)) == {"already": 3}

    def test_a_maildir_file_that_was_read_meanwhile_is_the_same_item(
        self, lab: Lab, tmp_path: Path, mail: Callable[..., bytes]
    ) -> None:
        maildir = tmp_path / "Maildir"
        for name in ("cur", "new", "tmp"):
            (maildir / name).mkdir(parents=True)
        (maildir / "new" / "1.a.host").write_bytes(mail())
        assert outcomes(run(lab, maildir)) == {"held": 1}
        (maildir / "new" / "1.a.host").rename(maildir / "cur" / "1.a.host:2,S")
        assert outcomes(run(lab, maildir)) == {"already": 1}


class TestEnvelope:
    def test_return_path_is_the_envelope_sender(self, lab: Lab, tmp_path: Path) -> None:
        file = tmp_path / "a.eml"
        file.write_bytes(b"Return-Path: <bounce@list.example>\nFrom: eve@elsewhere.example\n\nHello\n")
        run(lab, file)
        with lab.client() as portal:
            (hold,) = portal.holds.list()
        assert (hold.from_address, hold.from_header) == ("bounce@list.example", "eve@elsewhere.example")

    def test_recipients_come_from_the_headers(self, lab: Lab, tmp_path: Path) -> None:
        file = tmp_path / "a.eml"
        file.write_bytes(f"From: eve@elsewhere.example\nTo: {ANN}, stranger@else.example\nCc: {BOB}\n\nHi\n".encode())
        lines = run(lab, file, recipient=None)
        assert [line.recipient for line in lines] == [ANN, BOB]

    def test_nobody_of_ours_is_an_error_line_and_stores_nothing(self, lab: Lab, tmp_path: Path) -> None:
        file = tmp_path / "a.eml"
        file.write_bytes(b"From: eve@elsewhere.example\nTo: stranger@else.example\n\nHi\n")
        (line,) = run(lab, file, recipient=None)
        assert line.outcome == "error"
        assert "--recipient" in line.reason
        assert not list(lab.server.home.blobs.names())

    def test_unknown_recipient_is_refused_before_anything_is_stored(self, lab: Lab, folder: Path) -> None:
        with pytest.raises(UsageError, match=r"nobody@example\.com is none of the portal's people"):
            run(lab, folder, recipient="nobody@example.com")

    def test_administrators_reasons_are_held_for_administrators(self, lab: Lab, folder: Path) -> None:
        run(lab, folder, hold="ADMIN_MESSAGE_HOLD_APPLIED_SPAM_SIGNATURE_POLICY")
        with lab.client() as portal:
            assert not list(portal.holds.list())
        with lab.client(ADMIN) as portal:
            assert {hold.level for hold in portal.holds.list(queue="admin")} == {"administrator"}


class TestMbox:
    def test_from_lines_in_bodies_do_not_split(self, lab: Lab, tmp_path: Path) -> None:
        file = tmp_path / "box"
        first = b"From: a@elsewhere.example\nSubject: one\n\nHello\nFrom here it goes on.\n\nFrom me to you, no date.\n"
        second = b"From: b@elsewhere.example\nSubject: two\n\nBye\n"
        separator = b"From a@elsewhere.example Fri Jan 15 08:00:00 2027\n"
        file.write_bytes(separator + first + b"\n" + separator + second)
        assert outcomes(run(lab, file)) == {"held": 2}
        with lab.client() as portal:
            holds = {hold.subject: hold.id for hold in portal.holds.list()}
            assert b"".join(portal.holds.download(holds["one"])) == first
            assert b"".join(portal.holds.download(holds["two"])) == second

    def test_a_file_named_eml_is_one_message_whatever_its_first_line(self, lab: Lab, tmp_path: Path) -> None:
        file = tmp_path / "a.eml"
        file.write_bytes(b"From a@b Fri Jan 15 08:00:00 2027\nFrom: a@elsewhere.example\n\nHello\n")
        assert outcomes(run(lab, file)) == {"held": 1}


HOSTILE = {
    "empty": b"",
    "no headers": b"\nonly a body\n",
    "only NULs": bytes(5000),
    "NULs in headers": b"From: a\x00b@elsewhere.example\nSubject: x\x00y\n\nbody\x00\n",
    "8-bit headers": b"From: M\xfcller <m@elsewhere.example>\nSubject: \xc4\xd6\xdc\xff\n\nbody\n",
    "unknown charset": b"From: a@elsewhere.example\nSubject: =?x-nonsense?Q?=FF=FE?=\n"
    b"Content-Type: text/plain; charset=martian\n\n\xff\xfe\n",
    "20,000 encoded words": b"From: a@elsewhere.example\nSubject: " + b"=?utf-8?Q?x?= " * 20_000 + b"\n\nbody\n",
    "100,000 parts": b"From: a@elsewhere.example\nContent-Type: multipart/mixed; boundary=x\n\n"
    + b"--x\n\na\n" * 100_000,
    "deep multiparts": b"From: a@elsewhere.example\n"
    + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(5_000)),
    "50,000 nested tags": b"From: a@elsewhere.example\nContent-Type: text/html\n\n" + b"<div>" * 50_000,
    "header of 1 MB": b"From: a@elsewhere.example\nX-Long: " + b"a" * 1_000_000 + b"\n\nbody\n",
    "lone surrogates": b"From: a@elsewhere.example\nSubject: =?utf-8?Q?=ED=A0=80?=\n\nbody\n",
    "hostile subject": b"From: a@elsewhere.example\nSubject: \x1b[2J\x1b]0;x\x07\n\nbody\n",
    "no final newline": b"From: a@elsewhere.example\n\nbody",
    "bare CR": b"From: a@elsewhere.example\rSubject: x\r\rbody\r",
    "comments without end": b"From: " + b"(" * 8_000 + b"a@elsewhere.example\n\nbody\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mail_is_stored_listed_shown_and_released_whole(lab: Lab, tmp_path: Path, name: str) -> None:
    octets = HOSTILE[name]
    file = tmp_path / "hostile.eml"
    file.write_bytes(octets)
    (line,) = run(lab, file)
    assert line.outcome == "held"
    with lab.client() as portal:
        (hold,) = portal.holds.list()
        shown = portal.holds.get(hold.id)
        assert len(shown.attachments) <= limits.PARTS_LISTED
        assert b"".join(portal.holds.download(hold.id)) == octets
        assert portal.holds.release([hold]).totals == {"done": 1}
    (delivered,) = lab.outgoing()
    assert delivered.read_bytes() == octets


def test_a_cut_structure_is_said_and_without_a_hold_is_held_for_administrators(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "parts.eml"
    file.write_bytes(HOSTILE["100,000 parts"])
    (named,) = run(lab, file)
    assert named.reason == SPAM
    assert named.notes
    (screened,) = run(lab, file, hold=None, again=True)
    assert screened.reason == "Message Hold Applied - Suspicious Message Structure"
    with lab.client(ADMIN) as portal:
        assert {hold.level for hold in portal.holds.list(queue="admin")} == {"user", "administrator"}


def test_a_message_over_the_limit_is_an_error_line(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "huge.eml"
    with file.open("wb") as out:
        out.write(b"From: a@elsewhere.example\n\n")
        out.truncate(limits.MESSAGE + 1)
    (line,) = run(lab, file)
    assert line.outcome == "error"
    assert "72 MiB" in line.reason


def test_a_lower_limit_of_the_home_counts(lab: Lab, folder: Path) -> None:
    config = lab.path / "portal.toml"
    config.write_text(config.read_text() + "\n[limits]\nmessage = 50\n")
    portal = Portal(Home.open(lab.path))
    lines = list(importing.run(portal, [folder], Options(recipient=ANN, hold=SPAM)))
    portal.close()
    assert {line.reason for line in lines} == {"larger than 50 octets, not stored"}


def test_a_message_of_60_mb_is_taken(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "large.eml"
    file.write_bytes(b"From: a@elsewhere.example\n\n" + b"line\n" * 12_000_000)
    assert outcomes(run(lab, file)) == {"held": 1}


def test_duplicate_message_ids_are_two_messages(lab: Lab, tmp_path: Path) -> None:
    for name in ("a.eml", "b.eml"):
        text = f"From: a@elsewhere.example\nMessage-ID: <same@elsewhere.example>\nSubject: {name}\n\nx\n"
        (tmp_path / name).write_text(text)
    assert outcomes(run(lab, tmp_path / "a.eml", tmp_path / "b.eml")) == {"held": 2}


def test_links_out_of_the_folder_and_irregular_files_are_not_read(lab: Lab, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("From: a@elsewhere.example\n\nsecret\n")
    (folder / "link.eml").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe.eml")
    lines = run(lab, folder)
    assert outcomes(lines) == {"held": 3, "error": 2}
    assert {line.reason for line in lines if line.outcome == "error"} == {
        "a link out of the folder, not followed",
        "no regular file, not read",
    }


@pytest.mark.parametrize("name", ["pipe", "pipe.eml"])
def test_a_pipe_that_is_named_itself_is_not_read(lab: Lab, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    (line,) = run(lab, tmp_path / name)
    assert (line.outcome, line.reason) == ("error", "no regular file, not read")


def test_names_that_are_no_utf_8_are_written_out(lab: Lab, folder: Path, mail: Callable[..., bytes]) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.eml")).write_bytes(mail(subject="odd"))
    lines = run(lab, folder)
    assert outcomes(lines) == {"held": 4}
    assert [line.file for line in lines if "xff" in line.file] == [f"{folder}/\\xff.eml"]
    assert outcomes(run(lab, folder)) == {"already": 4}


def test_mail_is_not_received_later_than_now(lab: Lab, folder: Path) -> None:
    with pytest.raises(UsageError, match="later than now: 9999-12-31"):
        run(lab, folder, received=datetime(9999, 12, 31, 23, tzinfo=UTC))
    with lab.client() as portal:
        assert not list(portal.holds.list())
    assert outcomes(run(lab, folder, received=datetime(2020, 1, 1, tzinfo=UTC))) == {"held": 3}


def test_a_message_is_read_once_however_many_attachments(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = b"--x\nContent-Disposition: attachment; filename=a%d\n\ncontent %d\n"
    head = b"From: a@elsewhere.example\nContent-Type: multipart/mixed; boundary=x\n\n"
    (tmp_path / "a.eml").write_bytes(head + b"".join(part % (n, n) for n in range(20)) + b"--x--\n")
    run(lab, tmp_path / "a.eml")
    counted: list[int] = []

    def counting(octets: bytes, headers: Headers) -> Structure:
        counted.append(1)
        return read_structure(octets, headers)

    with lab.client() as portal:
        (hold,) = portal.holds.list()
        monkeypatch.setattr("mimeportal_server.mail.read_structure", counting)
        attachments = portal.holds.get(hold.id).attachments
        assert (len(attachments), len(counted)) == (20, 1)
        assert attachments[7].sha256 == hashlib.sha256(b"content 7").hexdigest()
        assert b"".join(portal.holds.download(attachments[7].id)) == b"content 7"
        assert len(counted) == 2


def test_a_path_that_is_not_there(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no"):
        run(lab, tmp_path / "nothing")


class TestFullDisk:
    def test_nearly_full_is_refused_before_anything_is_stored(
        self, lab: Lab, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = type("Usage", (), {"total": 1000, "free": 49, "used": 951})
        monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
        with pytest.raises(UnavailableError, match="5%"):
            run(lab, folder)
        assert not list(lab.server.home.blobs.names())

    def test_a_write_that_fails_leaves_nothing_half_done(
        self, lab: Lab, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = disk.write

        def full(path: Path, pieces: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(disk, "write", full)
        with pytest.raises(OSError, match="No space left"):
            run(lab, folder)
        with lab.client() as portal:
            assert not list(portal.holds.list())
        monkeypatch.setattr(disk, "write", whole)
        assert outcomes(run(lab, folder)) == {"held": 3}

    def test_the_command_says_so_without_a_traceback(self, lab: Lab, tmp_path: Path) -> None:
        (tmp_path / "big.eml").write_bytes(b"From: a@elsewhere.example\n\n" + b"x" * 400_000)

        def small_files() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

        done = subprocess.run(
            [sys.executable, "-m", "mimeportal_server", "import", "big.eml", "--recipient", ANN, "--hold", SPAM],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            preexec_fn=small_files,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MIMEPORTAL_HOME": str(lab.path)},
        )
        assert done.returncode in (1, 6), done.stderr
        assert "Traceback" not in done.stderr
        assert "File too large" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 3
        with lab.client() as portal:
            assert not list(portal.holds.list())


@pytest.mark.corpus
def test_all_real_mail_is_stored_octet_for_octet(lab: Lab, corpus: Path) -> None:
    lines = run(lab, corpus / "spam-1")
    assert outcomes(lines) == {"held": 500}
    with lab.client() as portal:
        result = portal.holds.release(portal.holds.list())
    assert result.totals == {"done": 500}
    originals = Counter(path.read_bytes() for path in (corpus / "spam-1").iterdir())
    assert Counter(path.read_bytes() for path in lab.outgoing()) == originals
