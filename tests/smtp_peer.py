"""A real SMTP server on a loopback port, in a thread, that misbehaves as it is told."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True, slots=True)
class Taken:
    """One message that was accepted, with its envelope; `line` is the Received line in front of it."""

    sender: str
    recipients: tuple[str, ...]
    options: tuple[str, ...]
    line: bytes
    octets: bytes

    @property
    def delivery(self) -> int:
        found = re.search(rb" id D(\d+);", self.line)
        assert found, self.line
        return int(found[1])


@dataclass
class Peer:
    """The next hop. `answer` gives a reply for (stage, address), None for the usual one.

    `drop` is `""`, or where the connection is cut, `drops` times: `mail`, `data` (before the dot), `dot` (before
    the message is taken), or `reply` (after it was taken).
    """

    without: frozenset[str] = frozenset()
    answer: Callable[[str, str], str | None] = lambda stage, address: None
    drop: str = ""
    drops: int = 1_000_000
    per_connection: int = 1_000_000
    taken: list[Taken] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    def __enter__(self) -> Peer:
        self._loop = asyncio.new_event_loop()
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]

        def factory() -> SMTP:
            self.connections += 1
            return _Server(self, loop=self._loop)

        self._server = self._loop.run_until_complete(self._loop.create_server(factory, sock=listening))
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def cuts(self, stage: str) -> bool:
        """Whether the connection is cut at this stage now."""
        if self.drop != stage or self.drops <= 0:
            return False
        self.drops -= 1
        return True

    def times(self) -> Counter[int]:
        """How often each delivery was accepted."""
        return Counter(taken.delivery for taken in self.taken)


def _cut(server: SMTP) -> None:
    assert isinstance(server.transport, asyncio.Transport)
    server.transport.abort()


class _Server(SMTP):
    line_length_limit = 1_000_000

    def __init__(self, peer: Peer, **more: Any) -> None:
        super().__init__(_Handler(peer), enable_SMTPUTF8=True, hostname="peer.example", **more)
        self.peer = peer
        self.mails = 0

    async def smtp_MAIL(self, arg: str | None) -> None:
        self.mails += 1
        if self.peer.cuts("mail"):
            _cut(self)
        elif self.mails > self.peer.per_connection:
            await self.push("421 4.7.0 too many messages on this connection")
            self.transport.close()
        else:
            await super().smtp_MAIL(arg)

    async def smtp_DATA(self, arg: str) -> None:
        if self.peer.cuts("data"):
            await self.push("354 go on")
            _cut(self)
        else:
            await super().smtp_DATA(arg)


class _Handler:
    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: Sequence[str]
    ) -> list[str]:
        session.host_name = hostname
        return [line for line in responses if line[4:].split()[0] not in self.peer.without]

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        refused = self.peer.answer("MAIL", address)
        if refused:
            return refused
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        refused = self.peer.answer("RCPT", address)
        if refused:
            return refused
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.peer.cuts("dot"):
            _cut(server)
            return "250 never sent"
        refused = self.peer.answer("DATA", envelope.rcpt_tos[0])
        if refused:
            return refused
        assert envelope.original_content is not None
        line, _, octets = envelope.original_content.partition(b"\r\n")
        self.peer.taken.append(
            Taken(
                (envelope.mail_from or "").replace("<>", ""),
                tuple(envelope.rcpt_tos),
                tuple(envelope.mail_options),
                line,
                octets,
            )
        )
        if self.peer.cuts("reply"):
            _cut(server)
        return "250 taken"
