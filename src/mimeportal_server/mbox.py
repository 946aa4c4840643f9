"""The messages of an mbox file, read one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mimeportal import limits

_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_TIME = rb"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?"
_SEPARATOR = re.compile(
    rb"From (?:.*[ \t])?" + _DAY + rb",?[ \t]+"
    rb"(?:" + _MONTH + rb"[ \t]+[0-9]{1,2}[ \t]+" + _TIME + rb"[ \t].*[0-9]{4}"
    rb"|[0-9]{1,2}[ \t]+" + _MONTH + rb"[ \t]+[0-9]{4}[ \t]+" + _TIME + rb")"
)
_SEPARATOR_OCTETS = 1_000
_LINE = 64 * limits.KIB


def split_mbox(path: str | Path) -> Iterator[tuple[int, bytes | None]]:
    """The messages of an mbox, one in memory at a time: `(offset of its separator, octets)`.

    A separator is a `From ` line with a date, at the start of the file or after a blank line (promises C.1).
    The octets hold neither the separator nor the one blank line that mbox puts after each message, also after
    the last; `>From ` stays as it is. They are None for a message over `limits.MESSAGE`. What stands
    before the first separator is a message too, unless it is blank. Raises `OSError`.
    """
    box = _Mbox()
    with Path(path).open("rb") as stream:
        offset = 0
        at_line = after_blank = True
        while line := stream.readline(_LINE):
            if at_line and after_blank and line.startswith(b"From ") and _is_separator(line):
                yield from box.take()
                box = _Mbox(offset)
                after_blank = False
            else:
                box.add(line)
                after_blank = at_line and line in (b"\n", b"\r\n")
            at_line = line.endswith(b"\n")
            offset += len(line)
    yield from box.take()


def _is_separator(line: bytes) -> bool:
    return len(line) <= _SEPARATOR_OCTETS and _SEPARATOR.match(line) is not None


class _Mbox:
    """One message of an mbox while it is read; without an offset, what stands before the first separator."""

    def __init__(self, offset: int | None = None) -> None:
        self.offset = offset
        self.lines: list[bytes] = []
        self.size = 0

    def add(self, line: bytes) -> None:
        self.size += len(line)
        # A blank line more than a message may have is still the separator's.
        if self.size <= limits.MESSAGE + 2:
            self.lines.append(line)
        else:
            self.lines.clear()

    def take(self) -> Iterator[tuple[int, bytes | None]]:
        if self.offset is None and not any(line.strip() for line in self.lines) and self.size <= limits.MESSAGE:
            return
        if self.lines and self.lines[-1] in (b"\n", b"\r\n"):
            self.size -= len(self.lines.pop())
        yield self.offset or 0, b"".join(self.lines) if self.size <= limits.MESSAGE else None
