"""Texts that a command line gives: as typed, or from a file."""

from __future__ import annotations

import sys
from pathlib import Path

from mimeportal.errors import UsageError


def typed_text(value: str) -> str:
    """Text as typed; of a file, without its last line end, for `@FILE`; `@@` begins it with an `@`.

    Raises `UsageError` for a file that cannot be read.
    """
    if value.startswith("@@"):
        return value[1:]
    return file_text(value[1:]).rstrip("\n") if value.startswith("@") else value


def file_text(name: str) -> str:
    """The text of a file, or of stdin for `-`. Raises `UsageError`."""
    if name == "-" and sys.stdin is None:
        raise UsageError("stdin is closed.", remedy="Name a file of text.")
    try:
        octets = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return octets.decode("utf-8-sig")
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or "it is no UTF-8 text"
        raise UsageError(f"{name} cannot be read: {reason}.", remedy="Name a file of text.") from None
