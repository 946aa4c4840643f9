"""One large file back: in pieces, taken up where it stopped, and compared with its SHA-256 before it gets its name."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mimeportal import limits
from mimeportal.errors import ApiError, RateLimitedError, UnavailableError, UsageError
from mimeportal.largefiles import contract
from mimeportal.largefiles.contract import OctetsItem
from mimeportal.largefiles.largefile import SentFile
from mimeportal.largefiles.uploading import PATIENCE, Meter, OnProgress
from mimeportal.transport import Session

_WAIT = 0.5


def download(
    session: Session,
    file: SentFile,
    target: Path,
    *,
    on_progress: OnProgress | None = None,
    patience: float = PATIENCE,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Write a file to `target`, which appears whole or not at all; a part that is there already is gone on with.

    Raises `UsageError` where it cannot be written, `ApiError` where the octets are not those that were sent, and what
    the portal raises.
    """
    part = target.with_name(f".{target.name}.{file.sha256[:16]}.part")
    meter = Meter(file.size, on_progress)
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as fault:
        raise UsageError(f"{target} cannot be written: {fault.strerror}.", remedy="Name another file.") from None
    with open(descriptor, "r+b", buffering=0) as out:
        digest, there = _digest_of(out, file.size)
        meter.add(file.name, there, sent=False)
        begun = time.monotonic()
        while there < file.size:
            try:
                for piece in session.stream(
                    contract.OCTETS, OctetsItem(file=file.id), start=there, most=limits.LARGE_FILE
                ):
                    view = memoryview(piece)
                    while view:
                        view = view[out.write(view) :]
                    digest.update(piece)
                    there += len(piece)
                    meter.add(file.name, len(piece))
            except RateLimitedError:
                raise
            except UnavailableError as fault:
                if time.monotonic() > max(meter.moved, begun) + patience:
                    fault.remedy = "Run the same command again: it goes on where it stopped."
                    raise
                sleep(_WAIT)
        if digest.hexdigest() != file.sha256:
            with suppress(OSError):
                part.unlink()
            raise ApiError(
                f"What came of {file.name} is not what was sent.",
                code="err_largefile_damaged",
                why="Its SHA-256 differs; what was there of it was deleted.",
                remedy="Run the same command again.",
            )
        os.fsync(out.fileno())
    os.replace(part, target)


def _digest_of(part: Any, most: int) -> tuple[Any, int]:
    """The SHA-256 of what is there of a file, and how much that is; what is too long begins anew."""
    digest = hashlib.sha256()
    there = 0
    while piece := part.read(limits.FILE_PIECE):
        digest.update(piece)
        there += len(piece)
    if there > most:
        part.truncate(0)
        part.seek(0)
        return hashlib.sha256(), 0
    return digest, there
