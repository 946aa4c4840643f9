"""The folder of exported reports: one export at a time, files that are whole or absent, and how its own are read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

from mimeportal.errors import UnavailableError, UsageError

VERSION = 1  # of a manifest
_LOCK_SECONDS = 5.0


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, or raise `UnavailableError`: two exports would write the same names."""
    try:
        import fcntl
    except ImportError:  # this system has no such locks: whoever runs two exports there sees to it
        yield
        return
    with (folder / "export.lock").open("ab") as file:
        until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise UnavailableError(
                        f"Another export is writing to {folder}.",
                        why="Two at once would write the same files.",
                        remedy="Wait for its end, and run this again.",
                    ) from None
                time.sleep(0.05)
        yield


def read(path: Path, is_ours: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """A file of our own. Raises `UsageError` for one that is none."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as fault:
        raise UsageError(f"{path} cannot be read: {fault}.", remedy="Export into another folder.") from None
    if not isinstance(found, dict) or found.get("version", VERSION) != VERSION:
        raise UsageError(f"{path} is of another release.", remedy="Export into another folder.")
    if not is_ours(found):
        raise UsageError(f"{path} is not what an export writes.", remedy="Export into another folder.")
    return found


def is_manifest(found: dict[str, Any]) -> bool:
    days = found.get("days", {})
    return (
        isinstance(days, dict)
        and all(isinstance(noted, dict) for noted in days.values())
        and all(_is_day(day) and _is_noted(what) for noted in days.values() for day, what in noted.items())
    )


def _is_noted(what: Any) -> bool:
    """Of a day: a file beside the manifest and its rows, or why it is absent."""
    if not isinstance(what, dict):
        return False
    if "absent" in what:
        return isinstance(what["absent"], str)
    file, rows = what.get("file"), what.get("rows")
    return isinstance(file, str) and Path(file).name == file and type(rows) is int


def are_marks(found: dict[str, Any]) -> bool:
    return all(map(_is_day, found.values()))


def _is_day(text: Any) -> bool:
    try:
        return isinstance(text, str) and date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def replace(path: Path, content: dict[str, Any]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with gone_unless_placed(part):
        part.write_text(json.dumps(content, indent=1) + "\n", "ascii")
        sync(part)
        put(part, path)


@contextmanager
def gone_unless_placed(part: Path) -> Iterator[None]:
    """Whatever stops a file on its way leaves nothing of it: a full disk needs the room."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put(part: Path, path: Path) -> None:
    """Give a whole and synced file its name, durably."""
    os.replace(part, path)
    with suppress(OSError):  # not every system lets a folder be opened
        sync(path.parent)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_parts(folder: Path) -> None:
    """What a kill left: only whoever holds the lock writes here, so nobody's part is under way."""
    for part in folder.glob(".*.part"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
