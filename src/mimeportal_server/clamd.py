"""A virus scanner at the other end of a socket: clamd's INSTREAM, to which octets are streamed."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

_SECONDS = 120.0  # for each step: clamd thinks about a large archive for a while
_PIECE = 1024 * 1024


class Unreachable(Exception):
    """No scanner answers, or not to the end: the same may work later."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a scanner says of a file: `clean`; `found`, the name of what it found; or `refused`, why it did not look."""

    found: str = ""
    refused: str = ""

    @property
    def clean(self) -> bool:
        return not self.found and not self.refused


def scan(where: str, octets: Iterable[bytes]) -> Verdict:
    """Scan octets. `where` is the path of clamd's socket, or its host:port. Raises `Unreachable`."""
    try:
        with _connected(where) as connection:
            connection.sendall(b"zINSTREAM\0")
            with suppress(BrokenPipeError, ConnectionResetError):  # it has heard enough; what it says comes below
                for piece in octets:
                    view = memoryview(piece)
                    for start in range(0, len(view), _PIECE):
                        part = view[start : start + _PIECE]
                        connection.sendall(struct.pack("!L", len(part)))
                        connection.sendall(part)
                connection.sendall(struct.pack("!L", 0))
            answer = b""
            while not answer.endswith(b"\0"):
                more = connection.recv(4096)
                if not more:
                    break
                answer += more
    except OSError as fault:
        raise Unreachable(fault.strerror or type(fault).__name__) from None
    return _read(answer.rstrip(b"\0").decode("utf-8", "replace"))


def _connected(where: str) -> socket.socket:
    if where.startswith("/"):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_SECONDS)
        try:
            connection.connect(where)
        except BaseException:
            connection.close()
            raise
        return connection
    host, _, port = where.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS)


def _read(answer: str) -> Verdict:
    said = answer.removeprefix("stream: ")
    if said == "OK":
        return Verdict()
    if said.endswith(" FOUND"):
        return Verdict(found=said.removesuffix(" FOUND"))
    if "size limit exceeded" in said:
        return Verdict(refused="It is larger than the scanner takes (StreamMaxLength of clamd).")
    if said.endswith("ERROR"):
        return Verdict(refused=f"The scanner could not look at it: {said.removesuffix('ERROR').strip(' .')}.")
    raise Unreachable("it did not answer to the end")
