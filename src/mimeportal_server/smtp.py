"""The SMTP door: a socket, its connections, and the thread they live in."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from aiosmtpd.smtp import TLSSetupException
from aiosmtpd.smtp import log as aiosmtpd_log

from mimeportal import limits
from mimeportal_server.portal import Portal
from mimeportal_server.quota import InFlight, Quota
from mimeportal_server.smtp_connection import Connection
from mimeportal_server.smtp_session import Session
from mimeportal_server.smtp_writer import Writer

_log = logging.getLogger("mimeportal.smtp")
# aiosmtpd logs commands, with people's addresses in them and whatever else a stranger types.
aiosmtpd_log.addHandler(logging.NullHandler())
aiosmtpd_log.propagate = False


class SmtpDoor:
    """Listens in a thread of its own from `start()` to `stop()`. With `tls` it offers STARTTLS.

    `on_accepted` is called, in another thread, whenever mail was taken.
    """

    def __init__(
        self,
        portal: Portal,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        on_accepted: Callable[[], None] = lambda: None,
    ) -> None:
        self.portal = portal
        self.tls = tls
        self.name = urlsplit(portal.settings.public_url).hostname or "localhost"
        self.writer = Writer(portal, on_accepted)
        self.sessions: set[Connection] = set()
        self.peers: Counter[str] = Counter()  # connections of each network
        self.recorded = Quota(seconds=60)  # refusals of each network, and under "" of all
        self.in_flight = InFlight()  # messages that are not stored yet
        self._where = (host, port)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_told)
        self._thread = threading.Thread(target=self._loop.run_forever, name="smtp", daemon=True)
        self._server: asyncio.Server | None = None

    def start(self) -> None:
        """Listen. Raises `OSError` when the address cannot be had."""
        host, port = self._where
        try:
            self._server = self._loop.run_until_complete(
                self._loop.create_server(self._session, host, port, start_serving=False)
            )
        except OSError:
            self._loop.close()
            raise
        self.writer.start()
        self._thread.start()
        self._on_loop(self._server.start_serving())

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    def stop(self) -> None:
        """Take no more; what was sent whole is stored and answered; then hang up."""
        if self._server is None:
            return  # it could not listen
        self._loop.call_soon_threadsafe(self._server.close)
        self.writer.close()
        self._on_loop(self._hang_up())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _session(self) -> asyncio.Protocol:
        return Full() if len(self.sessions) >= limits.SMTP_CONNECTIONS else Session(self, self._loop)

    def _on_loop(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _hang_up(self) -> None:
        for session in list(self.sessions):
            session.hang_up("421 4.3.2 The portal is closing")
        await self._loop.shutdown_default_executor()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for session in list(self.sessions):
            session.abort()
        while self.sessions:
            await asyncio.sleep(0)  # connections are lost some turns later


def _told(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A peer that goes is no error."""
    fault = context.get("exception")
    if not isinstance(fault, (OSError, TLSSetupException)):
        _log.error("The SMTP door: %s", context["message"], exc_info=fault)


class Full(asyncio.Protocol):
    """What a connection above the limit meets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"421 4.3.2 Too many connections, try again later\r\n")
        transport.close()
