"""One SMTP connection: how it begins and ends, its greetings, TLS, and who logs in.

aiosmtpd reads the commands and speaks TLS.
"""

# ruff: noqa: N802 - aiosmtpd finds a command's method by its name in capitals

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, TLSSetupException

from mimeportal import limits
from mimeportal.untrusted import clean
from mimeportal_server import smtp_policy
from mimeportal_server.door import network_of
from mimeportal_server.people import Caller
from mimeportal_server.smtp_policy import LogIn, Refusal

if TYPE_CHECKING:
    from mimeportal_server.smtp import SmtpDoor

_log = logging.getLogger("mimeportal.smtp")

_LAST_WORD_SECONDS = 10.0  # for a peer to read why the connection ends
_HOST_NAME = 255  # characters kept of what a server calls itself

Result = TypeVar("Result")


class Transaction(Envelope):
    """One message as far as its envelope is known."""

    def __init__(self) -> None:
        super().__init__()
        self.sender: str | None = None
        self.size = 0  # as declared
        self.utf8 = False
        self.counted = 0  # octets of it that are in flight
        self.inside: dict[str, int] = {}  # address -> person
        self.outside: dict[str, None] = {}
        self.bounces: dict[str, int | None] = {}  # tokens of the return paths it goes to, and whose they are

    @property
    def recipients(self) -> int:
        return len(self.inside) + len(self.outside) + sum(person is None for person in self.bounces.values())


class Connection(SMTP):
    """One connection, until it carries mail."""

    command_size_limit = limits.SMTP_COMMAND
    command_size_limits = defaultdict(lambda: limits.SMTP_COMMAND)
    line_length_limit = limits.SMTP_CHUNK  # of the reader; lines of a message may be longer

    def __init__(self, door: SmtpDoor, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            None,
            hostname=door.name,
            ident="ESMTP mimeportal",
            data_size_limit=door.portal.settings.limits["message"],
            enable_SMTPUTF8=True,
            tls_context=door.tls,
            timeout=limits.SMTP_IDLE_SECONDS,
            auth_require_tls=False,  # smtp_AUTH below asks for TLS, but on loopback
            authenticator=self._offered,
            loop=loop,
        )
        self._door = door
        self._portal = door.portal
        self._offer: LoginPassword | None = None
        self._mistakes = 0
        self._peer = ""
        self._network = ""

    # -- the connection ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        again = self.transport is not None  # the same connection, now over TLS: aiosmtpd forgets what was said before
        super().connection_made(transport)
        if again:
            return
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else ""
        self._network = network_of(self._peer)
        self._door.sessions.add(self)
        self._door.peers[self._network] += 1
        if self._door.peers[self._network] > limits.SMTP_CONNECTIONS_FROM_ONE:
            self.hang_up("421 4.7.0 Too many connections from your address, try again later")

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if self in self._door.sessions:
            self._door.sessions.remove(self)
            self._door.peers -= Counter([self._network])

    def hang_up(self, reply: str) -> None:
        """Say why, and end: what was sent ahead is not read. A coroutine ends at its next `await`."""
        if not self._is_closing():
            self._writer.write(reply.encode() + b"\r\n")
        assert self._handler_coroutine is not None
        self._handler_coroutine.cancel()
        self._writer.close()
        self.loop.call_later(_LAST_WORD_SECONDS, self.abort)

    def _is_closing(self) -> bool:
        return self.transport is None or self.transport.is_closing()

    def abort(self) -> None:
        """End at once, if it has not ended yet."""
        # Below TLS: above it nothing can be aborted that was closed twice, and its handshake tells nobody of an end.
        transport = self._original_transport or self.transport
        if isinstance(transport, asyncio.Transport):
            transport.abort()
        if self._original_transport is not None and not self._encrypted:
            self.loop.call_soon(self.connection_lost, None)

    def _timeout_cb(self) -> None:
        self.hang_up("421 4.4.2 Too slow")

    async def push(self, status: Any) -> None:
        if self._is_closing():
            raise ConnectionResetError  # aiosmtpd reads on after its last word
        await super().push(status)
        if str(status).startswith(("50", "53")):
            self._mistakes += 1
            if self._mistakes >= limits.SMTP_MISTAKES:
                await self._end("421 4.7.0 Too many mistakes")

    async def _end(self, reply: str) -> None:
        self.hang_up(reply)
        await asyncio.sleep(0)

    async def challenge_auth(self, challenge: Any, *options: Any, **named: Any) -> Any:
        try:
            return await super().challenge_auth(challenge, *options, **named)
        except ValueError:  # a line beyond what the reader keeps
            await self._end("421 4.7.0 Too long")
            raise

    async def handle_exception(self, error: Exception) -> str:
        if not isinstance(error, TLSSetupException):
            _log.error("An SMTP session failed", exc_info=error)
        return "451 4.3.0 Something went wrong here, try again later"

    async def _in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await self.loop.run_in_executor(None, partial(work, *arguments))

    # -- greetings --------------------------------------------------------------------------------------

    async def smtp_EHLO(self, hostname: str) -> None:
        if not hostname:
            await self.push("501 5.5.4 Syntax: EHLO hostname")
            return
        self.envelope = Transaction()
        assert self.session is not None
        self.session.extended_smtp = True
        self.session.host_name = hostname
        told = [self.hostname, "PIPELINING", f"SIZE {self.data_size_limit}", "8BITMIME", "SMTPUTF8"]
        if self._door.tls and not self._encrypted:
            told.append("STARTTLS")
        if self._private:
            told.append("AUTH PLAIN LOGIN")
        told.append("ENHANCEDSTATUSCODES")
        await self.push("\r\n".join([*(f"250-{line}" for line in told[:-1]), f"250 {told[-1]}"]))

    async def smtp_STARTTLS(self, arg: str) -> None:
        if self._encrypted:
            await self.push("503 5.5.1 This connection is encrypted already")
        else:
            await super().smtp_STARTTLS(arg)

    async def smtp_VRFY(self, arg: str) -> None:
        await self.push("252 2.5.2 Send mail to find out")

    @property
    def _encrypted(self) -> bool:
        return self.session is not None and self.session.ssl is not None

    @property
    def _private(self) -> bool:
        """Whether nobody else can read this connection."""
        try:
            return self._encrypted or ipaddress.ip_address(self._peer).is_loopback
        except ValueError:
            return False

    # -- logging in -------------------------------------------------------------------------------------

    async def smtp_AUTH(self, arg: str) -> None:
        if not self._private:
            await self.push("538 5.7.11 Say STARTTLS first")
            return
        if self._mail().sender is not None:
            await self.push("503 5.5.1 Log in before MAIL")
            return
        mechanism, _, first = (arg or "").partition(" ")
        self._offer = None
        await super().smtp_AUTH(f"{mechanism.upper()} {first}".strip())
        if self._offer is None:
            return
        address, password = (octets.decode("utf-8", "replace") for octets in self._offer)
        told = await self._in_thread(smtp_policy.log_in, self._portal, address, password, self._peer)
        if isinstance(told, Refusal):
            await self.push(told.reply)
            return
        assert self.session is not None
        self.session.authenticated = True
        self.session.auth_data = told
        await self.push("235 2.7.0 Logged in")

    def _offered(self, *given: Any) -> AuthResult:
        """Keep what was offered: it is checked in another thread, where the cost of it stops nobody else."""
        self._offer = given[-1]
        return AuthResult(success=False, handled=True)

    def _login(self) -> LogIn | None:
        assert self.session is not None
        return self.session.auth_data if self.session.authenticated else None

    def _by(self) -> Caller | None:
        login = self._login()
        return login.caller if login else None

    # -- what is said on it ------------------------------------------------------------------------------

    def _create_envelope(self) -> Envelope:
        return Transaction()

    def _mail(self) -> Transaction:
        assert isinstance(self.envelope, Transaction)
        return self.envelope

    def _host(self) -> str:
        assert self.session is not None
        return clean(self.session.host_name or "")[:_HOST_NAME]
