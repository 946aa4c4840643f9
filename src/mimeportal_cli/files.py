"""Files that appear whole under their names, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def whole_file(path: str) -> Iterator[Any]:
    """A binary file that appears whole under its name, or not at all; one that is there is replaced."""
    from mimeportal.errors import UsageError

    if not path:
        raise UsageError("The file to write has no name.", remedy="Name a file, or leave the option out.")
    if os.path.exists(path) and not os.path.isfile(path):
        if os.path.isdir(path):
            raise UsageError(f"{path} is a folder.", remedy="Name a file.")
        with open(path, "wb") as device:  # a pipe or a device cannot be replaced
            yield device
        return
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    part = os.path.join(folder, f".{name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as fault:
        raise UsageError(f"{path} cannot be written: {fault.strerror}.", remedy="Name another file.") from None
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
    with suppress(OSError):  # not every system lets a folder be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
