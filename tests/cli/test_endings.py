"""How commands end: exit codes, three lines, closed pipes, colours, questions; never a traceback unasked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pexpect
import pytest

from cli.conftest import Run
from mimeportal import errors
from mimeportal_cli import exits
from mimeportal_cli.console import Console
from mimeportal_cli.exits import ExitCode, exit_code, run_program, tell
from mimeportal_cli.options import Command, Settings


class TestCodes:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (errors.UsageError("x"), 2),
            (errors.ConfigurationError("x"), 2),
            (errors.NotOfferedError("x"), 8),
            (errors.DeclinedError("x"), 7),
            (errors.AuthenticationError("x"), 4),
            (errors.ForbiddenError("x"), 4),
            (errors.NotFoundError("x"), 5),
            (errors.UnavailableError("x"), 6),
            (errors.RateLimitedError("x"), 6),
            (errors.LostAnswerError("x"), 6),
            (errors.ApiError("x"), 1),
            (errors.MimeportalError("x"), 1),
        ],
    )
    def test_each_error_has_its_own(
        self, error: errors.MimeportalError, code: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert exit_code(error) == code
        assert tell(error, Settings()) == code
        assert len(capsys.readouterr().err.splitlines()) == 3

    def test_help_tells_each(self, run: Run) -> None:
        shown = run("help", "exit-codes").out
        for code in ExitCode:
            assert f"{code.value:>3}  {exits.TEXTS[code]}" in shown

    @pytest.mark.parametrize("topic", ["environment", "output", "filters", "exit-codes", "profiles"])
    def test_topics(self, run: Run, topic: str) -> None:
        done = run("help", topic)
        assert (done.code, done.err) == (0, "")
        assert all(len(line) <= 120 for line in done.lines)


def ending(fault: BaseException, *arguments: str) -> int:
    @click.command(cls=Command)
    def failing() -> None:
        raise fault

    return run_program(failing, "failing", list(arguments))


class TestFaults:
    def test_no_traceback_and_no_text_of_python(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert ending(KeyError("secret")) == 1
        shown = capsys.readouterr().err
        assert "Traceback" not in shown
        assert "secret" not in shown
        assert len(shown.splitlines()) == 3

    def test_traceback_when_asked_for(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert ending(KeyError("\x1b[2J"), "--debug") == 1
        shown = capsys.readouterr().err
        assert "Traceback" in shown
        assert "\x1b" not in shown

    def test_what_the_system_refuses(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert ending(PermissionError(13, "Permission denied", "some/file")) == 1
        assert capsys.readouterr().err.startswith("some/file: Permission denied.\n")

    @pytest.mark.parametrize("fault", [KeyboardInterrupt(), click.Abort()])
    def test_interrupted(self, fault: BaseException) -> None:
        assert ending(fault) == 130

    def test_hostile_text_in_errors(self, capsys: pytest.CaptureFixture[str]) -> None:
        ending(errors.ApiError("No:\n\x1b[2J\u202e", code="c\r"))
        shown = capsys.readouterr().err
        assert len(shown.splitlines()) == 3
        assert not set(shown) & {"\x1b", "\u202e", "\r"}

    @pytest.mark.parametrize("arguments", [("--help",), ("help", "filters"), ("holds", "list", "-o", "json")])
    def test_closed_pipe_is_quiet(self, home: Path, arguments: tuple[str, ...]) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "mimeportal_cli", *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (0, "")

    def test_bare_group_shows_its_help(self, run: Run) -> None:
        done = run("holds")
        assert done.code == 2
        assert "release" in done.err + done.out


class TestConsole:
    @pytest.mark.parametrize(
        ("environment", "no_color", "terminal", "colours"),
        [
            ({}, False, True, True),
            ({}, False, False, False),
            ({}, True, True, False),
            ({"NO_COLOR": "1"}, False, True, False),
            ({"NO_COLOR": ""}, False, True, True),
            ({"TERM": "dumb"}, False, True, False),
            ({"FORCE_COLOR": "1"}, False, False, True),
            ({"FORCE_COLOR": "0"}, False, False, False),
            ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, True, False),
        ],
    )
    def test_colours(
        self,
        monkeypatch: pytest.MonkeyPatch,
        environment: dict[str, str],
        no_color: bool,
        terminal: bool,
        colours: bool,
    ) -> None:
        monkeypatch.setenv("TERM", "xterm")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings = Settings()
        settings.no_color = no_color
        console = Console(settings)
        console.stdout_is_terminal = terminal
        assert console.colours is colours

    def test_utf_8_on_pipes_whatever_the_locale(self, home: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "mimeportal_cli", "holds", "list", "--columns", "subject"],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "latin-1"},
        )
        assert "日本語" in done.stdout.decode()


class TestRealTerminal:
    """The program itself, as a person starts it."""

    @pytest.fixture
    def child(self, home: Path) -> pexpect.spawn[str]:
        return pexpect.spawn(
            sys.executable,
            ["-m", "mimeportal_cli", "holds", "reject", "--all"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm"},
            dimensions=(30, 100),
            encoding="utf-8",
            timeout=30,
        )

    def test_question_and_answer(self, child: pexpect.spawn[str], run: Run) -> None:
        child.expect(r"Reject 6 held messages \(profile none, .*\[y/N\] ")
        child.sendline("y")
        child.expect(r"Rejected 6 \(profile none, ")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
        assert run("holds", "list").out == ""

    def test_interrupt_at_the_question(self, child: pexpect.spawn[str], run: Run) -> None:
        child.expect(r"\[y/N\] ")
        child.sendintr()
        child.expect("Interrupted")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 130
        assert len(run("holds", "list").lines) == 6

    def test_end_of_input_is_no(self, child: pexpect.spawn[str]) -> None:
        child.expect(r"\[y/N\] ")
        child.sendeof()
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 7
