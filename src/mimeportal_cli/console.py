"""The three streams: whether each is a terminal, colour, width, questions, progress.

stdout is data, stderr is people. Text that may come from outside passes `untrusted.visible` on its way to stderr;
`write` is for `output.py` and for texts of our own, which are safe already.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from mimeportal_cli.options import Settings

NOT_INTERACTIVE = "--yes required when not running interactively"


class Console:
    """What a command sees of the terminal, or of the pipes in its place."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # A stream that was closed before the program began is None: what goes there goes nowhere.
        self._in: TextIO = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115
        self._out: TextIO = sys.stdout or _nowhere()
        self._err: TextIO = sys.stderr or _nowhere()
        self.stdin_is_terminal = _is_terminal(self._in)
        self.stdout_is_terminal = _is_terminal(self._out)
        self.stderr_is_terminal = _is_terminal(self._err)
        for stream, terminal in ((self._out, self.stdout_is_terminal), (self._err, self.stderr_is_terminal)):
            _prepare(stream, terminal)

    # -- what it is like ---------------------------------------------------------------------------------

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        return self.stdin_is_terminal and self.stderr_is_terminal and not self._settings.no_input

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        import shutil

        return max(20, shutil.get_terminal_size().columns)

    def _colours(self, terminal: bool) -> bool:
        if self._settings.no_color or os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
            return True
        return terminal and os.environ.get("TERM") != "dumb"

    @property
    def colours(self) -> bool:
        """Whether stdout is coloured."""
        return self._colours(self.stdout_is_terminal)

    # -- stdout ------------------------------------------------------------------------------------------

    def write(self, text: str) -> None:
        """Data, or a text of our own, to stdout. Text from outside must have been made safe for its format."""
        self._out.write(text)

    def write_octets(self, octets: bytes) -> None:
        """Octets to stdout, exactly."""
        self._out.flush()
        self._out.buffer.write(octets)

    def flush(self) -> None:
        self._out.flush()
        self._err.flush()

    def close_stdout(self) -> None:
        """Send what is written from now on nowhere: whoever read it is gone."""
        silence(self._out)

    # -- stderr ------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """One line for a person, unless they asked for quiet."""
        if not self._settings.quiet:
            self._say(_visible(text))

    def warn(self, text: str) -> None:
        """One line for a person, quiet or not."""
        self._say(_visible(text))

    def error(self, what: str, *more: str) -> None:
        """What happened, in red where there are colours; then why, and what to type next, a line each."""
        lines = [_visible(line) for line in (what, *more) if line]
        if self._colours(self.stderr_is_terminal):
            lines[0] = f"\x1b[31m{lines[0]}\x1b[0m"
        self._say("\n".join(lines))

    def traceback(self, fault: BaseException) -> None:
        """Where an error arose, for --debug; without secrets."""
        import traceback

        from mimeportal.credentials import redacted
        from mimeportal.untrusted import visible_lines

        self._say(visible_lines(redacted("".join(traceback.format_exception(fault)))).rstrip())

    def _say(self, text: str) -> None:
        # Data first: on a terminal both streams meet.
        self._out.flush()
        self._err.write(text + "\n")
        self._err.flush()

    # -- questions and waiting ---------------------------------------------------------------------------

    def require_interactive(self) -> None:
        """Raise `UsageError` when nobody can be asked."""
        if not self.interactive:
            from mimeportal.errors import UsageError

            raise UsageError(
                NOT_INTERACTIVE,
                why="This asks before it acts, and nobody can answer here; nothing was changed.",
                remedy="Add --yes, or look first with --dry-run." if _can_look_first() else "Add --yes.",
            )

    def confirm(self, question: str) -> None:
        """Ask yes or no on stderr. Raises `DeclinedError` on no, `UsageError` when nobody can be asked."""
        self.require_interactive()
        self._out.flush()
        self._err.write(f"{_visible(question)} [y/N] ")
        self._err.flush()
        answer = self._in.readline()
        if not answer.endswith("\n"):
            self._err.write("\n")
        if answer.strip().lower() not in ("y", "yes"):
            from mimeportal.errors import DeclinedError

            raise DeclinedError(
                "Declined; nothing was changed.",
                why="The answer was not yes.",
                remedy="Look at what would be done with --dry-run." if _can_look_first() else "Run it again when sure.",
            )

    def ask(self, prompt: str) -> str:
        """One line typed after a prompt on stderr. Raises `DeclinedError` when there is none."""
        self._out.flush()
        self._err.write(f"{_visible(prompt)}: ")
        self._err.flush()
        return _answered(self._in.readline().strip())

    def ask_secret(self, prompt: str, *, empty: bool = False) -> str:
        """The same, and what is typed is not shown; where it may be `empty`, nothing is an answer too."""
        import getpass

        self._out.flush()
        typed = ""
        with suppress(EOFError):
            typed = getpass.getpass(f"{_visible(prompt)}: ", self._err)
        return typed if empty else _answered(typed)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Say on a terminal what is being waited for, and take it off again."""
        shown = self._animates
        if shown:
            self._err.write(f"{_visible(text)}...")
            self._err.flush()
        try:
            yield
        finally:
            if shown:
                self._err.write("\r\x1b[K")
                self._err.flush()

    @contextmanager
    def progress(self, total: int, label: str, *, hidden: bool = False) -> Iterator[Any]:
        """A bar on stderr, on a terminal only; the object it gives has `update(steps)`."""
        import click

        hide = hidden or not total or not self._animates
        with click.progressbar(length=max(total, 1), label=label, file=self._err, hidden=hide, show_pos=True) as bar:
            yield bar

    @contextmanager
    def transfer(self, total: int, label: str) -> Iterator[Any]:
        """A bar on stderr for octets, on a terminal only; what it gives is called with a `Progress`."""
        import click

        hide = not total or not self._animates
        with click.progressbar(
            length=max(total, 1), label=label, file=self._err, hidden=hide, show_eta=False, item_show_func=_speed
        ) as bar:
            yield lambda progress: bar.update(progress.octets - bar.pos, progress)

    @property
    def _animates(self) -> bool:
        return self.stderr_is_terminal and not self._settings.quiet and os.environ.get("TERM") != "dumb"


def _speed(progress: Any) -> str:
    """Rate and time left, beside the bar of a transfer."""
    if progress is None or not progress.rate:
        return ""
    told = f"{progress.rate / 1e6:,.1f} MB/s"
    if progress.seconds_left is None:
        return told
    minutes, seconds = divmod(round(progress.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    left = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return f"{told}, {left} left"


def _can_look_first() -> bool:
    """Whether the command that runs can show what it would do."""
    import click

    context = click.get_current_context(silent=True)
    return context is not None and any(parameter.name == "dry_run" for parameter in context.command.params)


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def silence(stream: Any) -> None:
    """Lead a stream nowhere, what it still holds included: the interpreter would complain about it at the end."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _answered(text: str) -> str:
    if text:
        return text
    from mimeportal.errors import DeclinedError

    raise DeclinedError(
        "Declined; nothing was changed.", why="Nothing was typed.", remedy="Run it again, and type what is asked for."
    )


def _visible(text: str) -> str:
    from mimeportal.untrusted import visible

    return visible(text)


def _is_terminal(stream: TextIO | None) -> bool:
    with suppress(ValueError, AttributeError):  # closed, or not there at all
        return bool(stream and stream.isatty())
    return False


def _prepare(stream: Any, terminal: bool) -> None:
    """UTF-8 for programs, whatever the locale; for a terminal its own encoding, and nothing it cannot show fails."""
    with suppress(AttributeError, ValueError, OSError):
        if terminal:
            stream.reconfigure(errors="backslashreplace")
        else:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
