"""What the tests of the SMTP door share: a door on a free port, a raw connection to it, and what is stored."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from sqlalchemy import Table, select

from conftest import ANN, Lab
from mimeportal_server.smtp import SmtpDoor
from mimeportal_server.store.schema import messages

EVE = "eve@elsewhere.example"


@contextmanager
def door_of(lab: Lab, **options: Any) -> Iterator[SmtpDoor]:
    door = SmtpDoor(lab.server, "127.0.0.1", 0, **options)
    door.start()
    try:
        yield door
    finally:
        door.stop()


class Listening(Protocol):
    @property
    def address(self) -> tuple[str, int]: ...


class Talk:
    """A connection that sends what it is told, octet by octet, and reads whole replies."""

    def __init__(self, door: Listening, *, greet: bool = True) -> None:
        self._socket = socket.create_connection(door.address, timeout=30)
        self._file = self._socket.makefile("rb")
        if greet:
            assert self.reply().startswith("220 ")
            assert self("EHLO sender.example").startswith("250")

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def reply(self) -> str:
        """One reply, its lines joined; "" when the connection has ended."""
        lines = []
        while True:
            try:
                line = self._file.readline().decode()
            except ConnectionError:
                line = ""
            lines.append(line)
            if line[3:4] != "-":
                return "".join(lines).replace("\r\n", "\n").rstrip("\n")

    def __call__(self, command: str | bytes) -> str:
        self.send((command if isinstance(command, bytes) else command.encode()) + b"\r\n")
        return self.reply()

    def envelope(self, *recipients: str, sender: str = EVE) -> list[str]:
        """MAIL, then RCPT for each; the replies."""
        told = [self(f"MAIL FROM:<{sender}>")]
        return told + [self(f"RCPT TO:<{recipient}>") for recipient in recipients or (ANN,)]

    def data(self, octets: bytes) -> str:
        """DATA, stuffed as it must be; the octets end in CRLF."""
        assert self("DATA").startswith("354")
        self.send(stuffed(octets) + b".\r\n")
        return self.reply()

    def mail(self, octets: bytes, *recipients: str, sender: str = EVE) -> str:
        """A whole message; the last reply."""
        for reply in self.envelope(*recipients, sender=sender):
            assert reply.startswith("250"), reply
        return self.data(octets)

    def over_tls(self, context: ssl.SSLContext) -> None:
        self._file.close()
        self._socket = context.wrap_socket(self._socket, server_hostname="localhost")
        self._file = self._socket.makefile("rb")


def stuffed(octets: bytes) -> bytes:
    """Every line that starts with a dot gets another one: lines end in CRLF and in nothing else."""
    return re.sub(rb"(\A|\r\n)\.", rb"\1..", octets)


def rows(lab: Lab, table: Table) -> Sequence[Any]:
    with lab.server.database.read() as tx:
        return tx.execute(select(table).order_by(table.c.id)).all()


def stored(lab: Lab) -> list[bytes]:
    """The octets of every message, in the order of their arrival."""
    return [lab.server.home.blobs.read(row.blob) for row in rows(lab, messages)]
