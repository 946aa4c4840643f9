"""`mimeportal largefiles`: sending, going on, managing, fetching; on pipes and on a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Run, Served, advance, plain
from conftest import ANN
from mimeportal import limits
from mimeportal.largefiles import uploading
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal

SEND = ("--to", "out@elsewhere.example", "--subject", "Plans")


@pytest.fixture
def big(home: Path) -> Path:
    """Two chunks and some octets, in the working folder."""
    path = home.parent / "big.bin"
    path.write_bytes(os.urandom(2 * limits.CHUNK + 5))
    return path


@pytest.fixture
def kept() -> Callable[[], list[str]]:
    """Names of what is kept of uploads."""
    folder = Path(os.environ["MIMEPORTAL_CONFIG_DIR"]) / "cache"
    return lambda: [path.name for path in folder.glob("upload-*")] if folder.is_dir() else []


class TestSend:
    def test_one_line_on_a_pipe(self, run: Run, big: Path, kept: Callable[[], list[str]]) -> None:
        done = run("largefiles", "send", "big.bin", *SEND, "--body", "Here", "--expire-after", "7")
        assert done.code == 0, done.err
        id, status, files, size, to, sent, expires, downloads, subject, key = done.out.rstrip("\n").split("\t")
        assert (status, files, size, to) == ("active", "big.bin", str(big.stat().st_size), "out@elsewhere.example")
        assert (downloads, subject, key) == ("0", "Plans", "")
        assert expires > sent
        assert len(id) > 100
        assert done.last.startswith("Sent #")
        assert kept() == []

    def test_the_key_is_shown_once_on_stdout(self, run: Run, on_terminal: Run, big: Path) -> None:
        done = run("largefiles", "send", "big.bin", *SEND, "--access-key", "-o", "json")
        key = json.loads(done.out)[0]["access_key"]
        assert len(key) == 19
        assert key not in done.err
        shown = plain(on_terminal("largefiles", "send", "big.bin", *SEND, "--access-key").out)
        assert "Access key: " in shown
        assert key not in run("largefiles", "list", "-o", "json").out

    def test_the_key_of_a_file(self, run: Run, big: Path) -> None:
        Path("key").write_text("a key of mine\nsecond line\n")
        done = run("largefiles", "send", "big.bin", *SEND, "--access-key-file", "key", "-o", "jsonl")
        assert json.loads(done.out)["access_key"] == "a key of mine"
        done = run("largefiles", "send", "big.bin", *SEND, "--access-key-file", "key", "--access-key")
        assert (done.code, "Two keys" in done.err) == (2, True)
        Path("key").write_text("  a key of mine \n")
        done = run("largefiles", "send", "big.bin", *SEND, "--access-key-file", "key", "-o", "jsonl")
        assert json.loads(done.out)["access_key"] == "a key of mine", "nobody sees the blanks, and the page takes none"
        Path("key").write_text("")
        assert run("largefiles", "send", "big.bin", *SEND, "--access-key-file", "key").code == 2

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            (("--body", "plain"), "plain"),
            (("--body", "@text"), "from a file"),
            (("--body", "@@text"), "@text"),
            (("--body-file", "text"), "from a file\n"),
            (("--body-file", "-"), "from stdin\n"),
            ((), ""),
        ],
    )
    def test_texts(self, run: Run, big: Path, options: tuple[str, ...], text: str) -> None:
        Path("text").write_text("from a file\n")
        done = run("largefiles", "send", "big.bin", *SEND, *options, "--columns", "id", stdin="from stdin\n")
        shown = json.loads(run("largefiles", "show", done.out.strip(), "-o", "json").out)
        assert (shown["body"] or "") == text

    def test_a_dry_run_sends_nothing(self, run: Run, big: Path) -> None:
        done = run("largefiles", "send", "big.bin", *SEND, "--access-key", "--dry-run", "-o", "json")
        plan = json.loads(done.out)
        assert (plan["files"], plan["access_key"], plan["expire_after"]) == (["big.bin"], True, 30)
        assert done.last.startswith("Would send 1 file (profile none, account LOCAL-")
        assert run("largefiles", "list").out == ""

    def test_what_is_refused_before_anything_is_sent(self, run: Run, big: Path) -> None:
        huge = Path("huge.bin")
        huge.touch()
        os.truncate(huge, limits.LARGE_FILE + 1)
        for options, said in (
            (("huge.bin", *SEND), "huge.bin has 2,147,483,649 octets, more than the 2,147,483,648"),
            ((*["big.bin"] * 101, *SEND), "A send has 1 to 100 files, not 101; nothing was sent."),
            (("absent", *SEND), "absent cannot be read: No such file or directory."),
            (("big.bin", *SEND, "--expire-after", "91"), "Invalid value for '--expire-after'"),
            (("big.bin", *SEND, "--body", "@absent"), "absent cannot be read"),
            (("big.bin", *SEND, "--body", "a", "--body-file", "b"), "--body and --body-file exclude each other."),
        ):
            done = run("largefiles", "send", *options)
            assert done.code == 2, done.err
            assert said in done.err
            assert len(done.err.splitlines()) == 3
        assert run("largefiles", "list").out == ""

    def test_an_enforced_setting_is_named(self, run: Run, home: Path, big: Path) -> None:
        config = home / "portal.toml"
        config.write_text(config.read_text().replace("enforced = []", 'enforced = ["expire_access_after_days"]'))
        done = run("largefiles", "send", "big.bin", *SEND, "--expire-after", "7")
        assert done.code == 2
        assert done.err.splitlines()[0] == (
            "largefiles.expire_access_after_days of this portal is enforced: it is 30, and cannot be 7."
        )
        assert run("largefiles", "send", "big.bin", *SEND).code == 0

    def test_progress_on_a_terminal(self, on_terminal: Run, big: Path) -> None:
        done = on_terminal("largefiles", "send", "big.bin", *SEND)
        assert done.code == 0
        assert "big.bin  [" in done.out
        assert "MB/s" in done.out
        assert "left" in done.out
        assert "Sent #" in plain(done.out)

    def test_mimecast_does_not_offer_it(self, run: Run, big: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_API", "api2")
        for command in (
            ("send", "big.bin", *SEND),
            ("list",),
            ("show", "x" * 200),
            ("extend", "x" * 200, "--days", "1"),
            ("expire", "x" * 200, "--yes"),
            ("resubmit", "x" * 200),
            ("resubmit", "x" * 200, "--to", ANN),
            ("cancel", "x" * 200, "--yes"),
            ("download", "x" * 200, "--dir", "d"),
            ("preferences",),
        ):
            done = run("largefiles", *command)
            assert done.code == 8, (command, done.err)
            assert "This portal does not offer sending and managing large files." in done.err


def interrupted(monkeypatch: pytest.MonkeyPatch, run: Run, *command: str) -> str:
    """A command that is interrupted once a chunk was read; what it says."""
    read, left = uploading._read, [1]

    def reading(*arguments: object) -> bytes:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return read(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(uploading, "_read", reading)
        done = run(*command)
    assert done.code == 130
    return done.err


class TestGoingOn:
    def test_the_same_command_goes_on(
        self, run: Run, big: Path, monkeypatch: pytest.MonkeyPatch, kept: Callable[[], list[str]]
    ) -> None:
        command = ("largefiles", "send", "big.bin", *SEND, "--access-key", "-o", "json")
        assert "largefiles resubmit #" in interrupted(monkeypatch, run, *command)
        (before,) = json.loads(run("largefiles", "list", "-o", "json").out)
        assert before["status"] == "paused"
        (name,) = kept()
        path = Path(os.environ["MIMEPORTAL_CONFIG_DIR"]) / "cache" / name
        assert path.stat().st_mode & 0o777 == 0o600
        key = json.loads(path.read_text())["wanted"]["access_key"]
        done = run(*command)
        (after,) = json.loads(done.out)
        assert (after["id"], after["status"], after["access_key"]) == (before["id"], "active", key)
        assert kept() == []
        assert json.loads(run(*command).out)[0]["id"] != before["id"], "once it is complete, it is another one"

    def test_resubmit_goes_on(
        self, run: Run, on_terminal: Run, big: Path, monkeypatch: pytest.MonkeyPatch, kept: Callable[[], list[str]]
    ) -> None:
        said = interrupted(monkeypatch, run, "largefiles", "send", "big.bin", *SEND)
        reference = said.split("resubmit ")[1].split("`")[0]
        monkeypatch.chdir("/")
        done = run("largefiles", "resubmit", reference, "--columns", "status")
        assert (done.code, done.out) == (0, "active\n")
        assert kept() == []
        again = run("largefiles", "resubmit", reference)
        assert again.code == 2
        assert "is active: there is nothing to go on with" in again.err

    def test_resubmit_where_the_upload_did_not_begin(
        self, run: Run, big: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        interrupted(monkeypatch, run, "largefiles", "send", "big.bin", *SEND)
        monkeypatch.setenv("MIMEPORTAL_CONFIG_DIR", str(tmp_path_factory.mktemp("elsewhere")))
        id = run("largefiles", "list", "--columns", "id").out.strip()
        done = run("largefiles", "resubmit", id)
        assert (done.code, "Where are the files" in done.err) == (2, True)
        assert run("largefiles", "resubmit", id, "big.bin").code == 0

    def test_what_failed_is_uploaded_anew(
        self, run: Run, home: Path, big: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        interrupted(monkeypatch, run, "largefiles", "send", "big.bin", *SEND)
        advance(home, 8)
        id, status = run("largefiles", "list", "--columns", "id,status").out.split()
        assert status == "failed"
        assert run("largefiles", "resubmit", id, "--columns", "status").out == "active\n"

    def test_a_file_that_was_changed_is_sent_from_its_beginning(
        self, run: Run, big: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        interrupted(monkeypatch, run, "largefiles", "send", "big.bin", *SEND)
        big.write_bytes(b"other")
        assert run("largefiles", "send", "big.bin", *SEND, "--columns", "size").out == "5\n"

    def test_a_portal_that_does_not_know_of_it_gets_it_anew(
        self, run: Run, home: Path, big: Path, monkeypatch: pytest.MonkeyPatch, kept: Callable[[], list[str]]
    ) -> None:
        """It was restored from a backup of before, or made anew."""
        interrupted(monkeypatch, run, "largefiles", "send", "big.bin", *SEND)
        (name,) = kept()
        path = Path(os.environ["MIMEPORTAL_CONFIG_DIR"]) / "cache" / name
        handle = json.loads(path.read_text())
        portal = Portal(Home.open(home))
        unknown = portal.sealer.id("largefile", 4711)
        portal.close()
        path.write_text(json.dumps({**handle, "id": unknown}))
        assert run("largefiles", "send", "big.bin", *SEND, "--columns", "status").out == "active\n"
        assert kept() == []

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
    def test_a_pipe_is_no_file(self, run: Run, home: Path) -> None:
        os.mkfifo("pipe")
        for path in ("pipe", os.devnull):
            done = run("largefiles", "send", path, *SEND)
            assert (done.code, "is no regular file" in done.err) == (2, True)

    @pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode here")
    def test_a_name_that_is_no_unicode(self, run: Run, home: Path) -> None:
        path = os.fsdecode(b"caf\xe9.txt")
        Path(path).write_text("x")
        done = run("largefiles", "send", path, *SEND, "--columns", "files")
        assert done.code == 0, done.err
        assert run("largefiles", "list", "-o", "json").code == 0

    def test_cancel(
        self, run: Run, on_terminal: Run, big: Path, monkeypatch: pytest.MonkeyPatch, kept: Callable[[], list[str]]
    ) -> None:
        interrupted(monkeypatch, run, "largefiles", "send", "big.bin", *SEND)
        id = run("largefiles", "list", "--columns", "id").out.strip()
        assert run("largefiles", "cancel", id).code == 2
        no = on_terminal("largefiles", "cancel", id, answer="n")
        assert no.code == 7
        yes = plain(on_terminal("largefiles", "cancel", id, answer="y").out)
        assert "(big.bin), to out@elsewhere.example (profile none, account" in yes
        assert "is cancelled" in yes
        assert kept() == []
        assert run("largefiles", "send", "big.bin", *SEND, "--columns", "status").out == "active\n"

    def test_a_real_ctrl_c(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        """The process is interrupted in the middle of an upload over HTTP, says so, and leaves it paused."""
        for name, value in {**served.app2, "MIMEPORTAL_URL": served.url, "MIMEPORTAL_USER": ANN}.items():
            monkeypatch.setenv(name, value)
        huge = Path("huge.bin")
        huge.touch()
        os.truncate(huge, limits.LARGE_FILE)  # as long as it may be: it must not have been sent before the signal comes
        command = [sys.executable, "-m", "mimeportal_cli", "largefiles"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        sending = subprocess.Popen([*command, "send", "huge.bin", *SEND], stderr=subprocess.PIPE, env=environment)
        until = time.monotonic() + 60
        while not (served.path / "largefiles" / "1.sums").exists() or not any(
            (served.path / "largefiles" / "1.sums").read_bytes()
        ):
            assert time.monotonic() < until
            time.sleep(0.02)
        sending.send_signal(signal.SIGINT)
        _, said = sending.communicate(timeout=60)
        assert sending.returncode == 130, said
        assert said.decode().startswith(
            "Interrupted.\nThe upload is paused. Go on with `mimeportal largefiles resubmit #"
        )
        listed = subprocess.run(
            [*command, "list", "--columns", "status"], env=environment, capture_output=True, text=True
        )
        assert listed.stdout == "paused\n"


class TestManaging:
    @pytest.fixture
    def id(self, run: Run, big: Path) -> str:
        return run("largefiles", "send", "big.bin", *SEND, "--columns", "id").out.strip()

    def test_the_list_on_a_terminal_and_its_references(self, on_terminal: Run, run: Run, id: str) -> None:
        shown = plain(on_terminal("largefiles", "list").out)
        assert shown.splitlines()[0].split() == ["ID", "STATUS", "FILES", "SIZE", "TO", "SENT", "EXPIRES", "DOWNLOADS"]
        reference = shown.splitlines()[1].split()[0]
        assert run("largefiles", "show", reference, "--columns", "id").out.strip() == id
        unknown = run("largefiles", "show", "#aaaaaaaa")
        assert unknown.code == 5
        assert "No send of large files has the reference #aaaaaaaa." in unknown.err

    def test_show_on_a_terminal(self, on_terminal: Run, id: str) -> None:
        shown = plain(on_terminal("largefiles", "show", id).out)
        assert "big.bin (8,388,613 octets, downloaded 0)" in shown
        assert "out@elsewhere.example: big.bin 0" in shown

    def test_filters(self, run: Run, id: str) -> None:
        for options, count in (
            (("--status", "active"), 1),
            (("--status", "expired"), 0),
            (("--search", "PLAN"), 1),
            (("--search", "winter"), 0),
        ):
            assert len(run("largefiles", "list", *options).lines) == count, options
        assert run("largefiles", "list", "--status", "lost").code == 2
        assert run("largefiles", "list", "--mailbox", "bob@example.com").code == 4

    def test_extend(self, run: Run, id: str) -> None:
        assert "is open until " in run("largefiles", "extend", id, "--days", "60").err
        assert run("largefiles", "extend", id, "--until", "80d", "--tz", "Europe/London").code == 0
        late = run("largefiles", "extend", id, "--days", "91")
        assert late.code == 1
        assert "which is the latest allowed date" in late.err
        assert late.err.splitlines()[-1] == "Name that date, or an earlier one."
        for wrong in ((), ("--days", "1", "--until", "2d"), ("--until", "some day")):
            assert run("largefiles", "extend", id, *wrong).code == 2

    def test_expire_asks(self, run: Run, on_terminal: Run, id: str) -> None:
        assert run("largefiles", "expire", id).code == 2
        assert on_terminal("largefiles", "expire", id, answer="n").code == 7
        assert run("largefiles", "expire", id, "--yes", "--columns", "status").out == "expired\n"
        assert run("largefiles", "expire", id, "--yes").code == 0

    def test_to_others(self, run: Run, id: str) -> None:
        done = run("largefiles", "resubmit", id, "--to", "two@elsewhere.example", "--columns", "to")
        assert done.out == "out@elsewhere.example,two@elsewhere.example\n"
        assert run("largefiles", "resubmit", id, "big.bin", "--to", ANN).code == 2

    def test_download(self, run: Run, id: str, big: Path) -> None:
        assert run("largefiles", "download", id, "-w", "back.bin").code == 0
        assert Path("back.bin").read_bytes() == big.read_bytes()
        done = run("largefiles", "download", id, "--dir", "folder")
        assert "Written to folder/big.bin: 8,388,613 octets, SHA-256 " in done.err
        assert Path("folder/big.bin").read_bytes() == big.read_bytes()
        Path("folder/big.bin").write_bytes(bytes(big.stat().st_size))
        for wrong in ((), ("-w", "a", "--dir", "b"), ("--dir", "folder"), ("-w", "folder")):
            assert run("largefiles", "download", id, *wrong).code == 2, wrong
        assert Path("folder/big.bin").read_bytes() == bytes(big.stat().st_size), "it was another file, and still is"
        assert run("largefiles", "download", id, "-w", "x", "--file", "other.bin").code == 5

    def test_several_files_of_one_name(self, run: Run, big: Path) -> None:
        Path("d").mkdir()
        Path("d/big.bin").write_bytes(b"the other")
        id = run("largefiles", "send", "big.bin", "d/big.bin", *SEND, "--columns", "id").out.strip()
        assert run("largefiles", "download", id, "-w", "one").code == 2
        assert run("largefiles", "download", id, "--dir", "folder").code == 0
        assert Path("folder/big-2.bin").read_bytes() == b"the other"

    def test_the_same_download_goes_on_behind_what_is_there(self, run: Run, big: Path) -> None:
        Path("text").write_text("one")
        id = run("largefiles", "send", "text", "big.bin", *SEND, "--columns", "id").out.strip()
        command = ("largefiles", "download", id, "--dir", "folder")
        assert run(*command).code == 0
        Path("folder/big.bin").unlink()
        done = run(*command)
        assert done.code == 0, done.err
        assert "folder/text is there already: 3 octets" in done.err
        assert Path("folder/big.bin").read_bytes() == big.read_bytes()
        Path("folder/big.bin").write_text("another")
        Path("folder/text").unlink()
        assert run(*command).code == 2
        assert not Path("folder/text").exists(), "what cannot be written whole is not begun"

    def test_a_dry_run_changes_nothing(self, run: Run, on_terminal: Run, id: str) -> None:
        done = run("largefiles", "expire", id, "--dry-run", "--columns", "status")
        assert (done.code, done.out) == (0, "active\n")
        assert "Would expire #" in done.last
        assert "it is active (profile none" in done.last
        refused = run("largefiles", "cancel", id, "--dry-run")
        assert "is active: the portal would refuse to cancel it" in refused.err
        assert run("largefiles", "list", "--columns", "status").out == "active\n"
        assert run("largefiles", "expire", id, "--yes").code == 0
        assert "is expired already" in run("largefiles", "expire", id, "--dry-run").err

    def test_not_yours(self, run: Run, id: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_USER", "bob@example.com")
        for command in (("show", id), ("expire", id, "--yes"), ("download", id, "-w", "x")):
            assert run("largefiles", *command).code == 5

    def test_preferences(self, run: Run, home: Path) -> None:
        assert json.loads(run("largefiles", "preferences", "-o", "json").out) == {
            "expire_access_after_days": 30,
            "access_key": False,
            "notify_on_download": False,
            "enforced": [],
            "most_days": 90,
            "most_files": 100,
            "most_octets": 2 * 1024**3,
            "most_recipients": 100,
            "chunk": 4 * 1024 * 1024,
        }


def test_a_notification_that_was_left_out_is_told(run: Run, big: Path) -> None:
    Path("text").write_text("a")
    for _ in range(limits.WRITTEN_PER_HOUR):
        assert run("largefiles", "send", "text", *SEND).code == 0
    done = run("largefiles", "send", "text", *SEND)
    assert done.code == 3
    assert "out@elsewhere.example was not notified: left out: too many notices to this address." in done.err
