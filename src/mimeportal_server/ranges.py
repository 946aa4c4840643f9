"""Which octets of a file a request asks for, by Range and If-Range (RFC 9110, 14), and its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from mimeportal_server.portal import Refused

_ONE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def attachment(name: str) -> str:
    """Content-Disposition for a file that is put down: its name as every browser reads it (RFC 6266)."""
    plain = "".join(sign if sign.isascii() and sign.isprintable() and sign not in '"\\%' else "_" for sign in name)
    if plain == name:
        return f'attachment; filename="{name}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


@dataclass(frozen=True, slots=True)
class Part:
    """From `start` to before `end`, the status and the headers of the answer."""

    start: int
    end: int
    status: int
    headers: dict[str, str]


def asked(headers: Mapping[str, str], size: int, sha256: str) -> Part:
    """The part of a file of `size` octets. Of several ranges at once, and of what is none, the whole.

    Raises `Refused` with 416 for a range that begins behind the end.
    """
    tag = f'"{sha256}"'
    common = {"accept-ranges": "bytes", "etag": tag}
    found = _ONE.fullmatch(headers.get("range", "").replace(" ", ""))
    if found is None or found.group() == "bytes=-" or headers.get("if-range", tag) != tag:
        return Part(0, size, 200, {**common, "content-length": str(size)})
    first, last = found.groups()
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:  # no range at all (RFC 9110, 14.1.1)
            return Part(0, size, 200, {**common, "content-length": str(size)})
    else:
        start, end = max(0, size - int(last)), size
    if start >= size:
        raise Refused("err_range", f"The file has {size} octets, and none there.", status=416)
    length = {"content-length": str(end - start), "content-range": f"bytes {start}-{end - 1}/{size}"}
    return Part(start, end, 206, {**common, **length})
