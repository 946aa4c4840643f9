"""Saving what was fetched: octets to one file or stdout, or several files in a folder, of which none is overwritten."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import click

from mimeportal_cli.files import whole_file
from mimeportal_cli.options import settings

Objects = Sequence[tuple[str, str]]  # the id and the file name of each


def check_places(count: int, write: str | None, folder: str | None) -> None:
    """Raise `UsageError` where what is fetched has no place, or none that takes octets."""
    from mimeportal.errors import UsageError

    if write is not None and folder is not None:
        raise UsageError("-w FILE takes one object, --dir DIR several.", remedy="Name one of them.")
    if count > 1 and folder is None:
        raise UsageError(f"{count} messages do not go into one file.", remedy="Name a folder with --dir DIR.")
    if folder is None and write in (None, "-") and settings().console.stdout_is_terminal:
        raise UsageError(
            "Octets of a message are not written to a terminal.",
            why="They could act upon it.",
            remedy="Name a file with -w FILE, or redirect stdout.",
        )


def save_one(objects: Objects, download: Callable[[str], Iterable[bytes]], write: str | None) -> None:
    """The one object there is, to a file or stdout. Raises `UsageError` unless there is exactly one."""
    from mimeportal.errors import UsageError

    if len(objects) != 1:
        raise UsageError(
            f"The message has {len(objects)} attachments, and one file takes exactly one.",
            remedy="Name a folder with --dir DIR.",
        )
    octets = download(objects[0][0])
    if write in (None, "-"):
        for piece in octets:
            settings().console.write_octets(piece)
        return
    with whole_file(str(write)) as file:
        for piece in octets:
            file.write(piece)


def save_all(
    ids: Iterable[str],
    objects_of: Callable[[str], Objects],
    download: Callable[[str], Iterable[bytes]],
    folder: Path,
) -> None:
    """Each object of each message to a file of its own, whose name is printed; what fails is told, the rest goes on.

    Ends the command with the code of the one message that failed, or with that of some.
    """
    from mimeportal.errors import AuthenticationError, MimeportalError, UnavailableError, UsageError
    from mimeportal.untrusted import visible
    from mimeportal_cli.exits import ExitCode, tell

    console = settings().console
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UsageError(f"{folder} cannot be made: {fault.strerror}.", remedy="Name another folder.") from None
    named = failed = 0
    code = ExitCode.DONE
    for id in ids:
        named += 1
        try:
            for object_id, name in objects_of(id):
                console.write(visible(str(_save(folder, name, download(object_id)))) + "\n")
        except (AuthenticationError, UnavailableError):
            raise
        except MimeportalError as fault:
            failed += 1
            code = tell(fault, settings())
    if failed:
        click.get_current_context().exit(code if named == 1 else ExitCode.SOME_FAILED)


def _save(folder: Path, name: str, octets: Iterable[bytes]) -> Path:
    """Write a file that is there whole or not at all, and takes the place of none."""
    # Not after its name, which may be as long as a name can be.
    part = folder / f".mimeportal.{os.getpid()}.part"
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for piece in octets:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        stem, extension = os.path.splitext(name)
        number = 1
        while True:
            target = folder / (name if number == 1 else f"{stem}-{number}{extension}")
            with suppress(FileExistsError):
                os.link(part, target)
                return target
            number += 1
    finally:
        part.unlink(missing_ok=True)
