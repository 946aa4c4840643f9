"""How files reach the disk: written, synced in one go per batch, and only then renamed into place; and locks."""

from __future__ import annotations

import ctypes
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CHUNK = 1024 * 1024

try:
    _syncfs: Any = ctypes.CDLL(None, use_errno=True).syncfs
except (AttributeError, OSError, TypeError):
    _syncfs = None


@contextmanager
def only_one(lock: Path, wait: float) -> Iterator[bool]:
    """Hold a lock that is a file; false when another process has it all the time."""
    with lock.open("ab") as file:
        until = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    yield False
                    return
                time.sleep(0.05)
        yield True


def sync(folder: Path) -> None:
    """Everything written so far on the filesystem of `folder` is on the disk when this returns.

    One call for a whole batch costs a fifth of a call per file. Raises `OSError` when the disk failed.
    """
    if _syncfs is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if _syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), "syncfs failed", str(folder))
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Names made or removed in `folder` are on the disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file for its owner alone, replacing what was there. Not synced."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def write_synced(path: Path, octets: bytes) -> None:
    """Replace a small file whole or not at all."""
    part = path.with_name(path.name + ".part")
    write(part, [octets])
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
    sync_folder(path.parent)


def pieces(path: Path) -> Iterator[bytes]:
    """The octets of a file, a mebibyte at a time."""
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_CHUNK):
            yield piece
