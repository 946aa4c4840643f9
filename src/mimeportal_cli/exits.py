"""How a command ends: its exit code, and the three lines that tell an error.

The codes are part of the command's contract: `TEXTS` is what `help exit-codes` shows.
"""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import TYPE_CHECKING

import click

from mimeportal_cli.options import ClosedPipe, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mimeportal.errors import MimeportalError


class ExitCode(IntEnum):
    """What a script can tell from the exit code."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    SOME_FAILED = 3
    NOT_ALLOWED = 4
    NOT_FOUND = 5
    UNAVAILABLE = 6
    DECLINED = 7
    NOT_OFFERED = 8
    INTERRUPTED = 130


TEXTS = {
    ExitCode.DONE: "done (also: nothing matched, already so)",
    ExitCode.FAILED: "failed",
    ExitCode.USAGE: "usage: the command line, a file it names, or a setting is wrong",
    ExitCode.SOME_FAILED: "some items failed",
    ExitCode.NOT_ALLOWED: "not logged in, or not allowed",
    ExitCode.NOT_FOUND: "not found",
    ExitCode.UNAVAILABLE: "temporarily unavailable or rate-limited after all retries: try again later",
    ExitCode.DECLINED: "declined, or more items than --max",
    ExitCode.NOT_OFFERED: "this portal does not offer the operation",
    ExitCode.INTERRUPTED: "interrupted",
}

# The second and third line of an error that brings none of its own.
_WHY = {
    ExitCode.FAILED: "The portal gave no reason.",
    ExitCode.USAGE: "The command line, or something it names, is wrong; nothing was changed.",
    ExitCode.NOT_ALLOWED: "The portal gave no reason.",
    ExitCode.NOT_FOUND: "There is no such object, or it is not yours to see.",
    ExitCode.UNAVAILABLE: "The portal cannot answer now.",
    ExitCode.DECLINED: "Nothing has been sent.",
    ExitCode.NOT_OFFERED: "Nothing was sent.",
}
_NEXT = {
    ExitCode.FAILED: "Run it again with --debug to see more.",
    ExitCode.USAGE: "See `{command} --help`.",
    ExitCode.NOT_ALLOWED: "See whose portal is asked: `mimeportal profiles show`.",
    ExitCode.NOT_FOUND: "List again, and take an id from there.",
    ExitCode.UNAVAILABLE: "Try again later.",
    ExitCode.DECLINED: "Look at what would be done with --dry-run.",
    ExitCode.NOT_OFFERED: "See what each portal offers: `mimeportal account capabilities`.",
}


def exit_code(error: MimeportalError) -> ExitCode:
    """The exit code of an error."""
    from mimeportal import errors

    for kinds, code in (
        ((errors.UsageError,), ExitCode.USAGE),
        ((errors.NotOfferedError,), ExitCode.NOT_OFFERED),
        ((errors.DeclinedError,), ExitCode.DECLINED),
        ((errors.AuthenticationError, errors.ForbiddenError), ExitCode.NOT_ALLOWED),
        ((errors.NotFoundError,), ExitCode.NOT_FOUND),
        ((errors.UnavailableError,), ExitCode.UNAVAILABLE),
    ):
        if isinstance(error, kinds):
            return code
    return ExitCode.FAILED


def tell(error: MimeportalError, settings: Settings) -> ExitCode:
    """Print an error as three lines: what happened, why, what to type next. Returns its exit code."""
    code = exit_code(error)
    command = settings.command or "mimeportal"
    settings.console.error(error.what, error.why or _WHY[code], error.remedy or _NEXT[code].format(command=command))
    return code


def run_program(program: click.Command, name: str, args: Sequence[str] | None = None) -> int:
    """Run a command to its end and return the exit code. Never raises, never shows a traceback unasked."""
    settings = Settings()
    try:
        try:
            code = program.main(args, prog_name=name, obj=settings, standalone_mode=False)
            settings.console.flush()
        except (BrokenPipeError, ClosedPipe):
            raise
        except BaseException as fault:
            code = _end(fault, settings)
            settings.console.flush()
    except (BrokenPipeError, ClosedPipe):
        # Whoever reads our output has seen enough, as `head` does. That is no failure.
        from mimeportal_cli.console import silence

        silence(sys.stdout)
        silence(sys.stderr)
        return ExitCode.DONE
    return code if isinstance(code, int) else ExitCode.DONE


def _end(fault: BaseException, settings: Settings) -> int:
    from mimeportal.errors import MimeportalError

    if settings.debug and not isinstance(fault, click.ClickException | click.Abort | KeyboardInterrupt):
        settings.console.traceback(fault)
    if isinstance(fault, MimeportalError):
        return tell(fault, settings)
    if isinstance(fault, click.exceptions.NoArgsIsHelpError):
        fault.show()
        return ExitCode.USAGE
    if isinstance(fault, click.ClickException):
        return _tell_click(fault, settings)
    if isinstance(fault, click.Abort | KeyboardInterrupt):
        settings.console.error("Interrupted.")
        return ExitCode.INTERRUPTED
    if isinstance(fault, SystemExit):
        return fault.code if isinstance(fault.code, int) else ExitCode.FAILED
    if isinstance(fault, OSError) and fault.strerror:
        where = f"{fault.filename}: " if fault.filename else ""
        settings.console.error(
            f"{where}{fault.strerror}.", "The system refused it.", "Look at the file, the folder or the disk it names."
        )
        return ExitCode.FAILED
    settings.console.error(
        f"The command ended by a fault of its own ({type(fault).__name__}).",
        "This is a defect of mimeportal, not of what you typed.",
        "Run it again with --debug, and report what it shows.",
    )
    return ExitCode.FAILED


def _tell_click(fault: click.ClickException, settings: Settings) -> int:
    context = getattr(fault, "ctx", None)
    command = context.command_path if context else "mimeportal"
    usage = context.get_usage().replace("\n", " ") if context else _WHY[ExitCode.USAGE]
    settings.console.error(fault.format_message(), " ".join(usage.split()), f"See `{command} --help`.")
    return fault.exit_code if isinstance(fault, click.UsageError) else ExitCode.FAILED
