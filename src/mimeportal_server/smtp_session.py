"""One SMTP connection: mail in for the portal's people, and from them. 250 means that it is durable (promises C.4).

What is stored is what followed DATA, dots unstuffed, octet by octet (promises C.1): long lines, 8-bit, NUL, bare CR
and bare LF as they come, no Received line added. Data ends with CRLF.CRLF and with nothing else: a server that also
takes LF.LF or LF.CRLF for the end reads a second message out of the first one's body ("SMTP smuggling").

aiosmtpd reads the commands and speaks TLS. The commands that carry mail are ours: it reads data line by line, and
refuses lines that real mail has.
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
from mimeportal.addresses import normalise
from mimeportal.errors import UnavailableError
from mimeportal.untrusted import clean
from mimeportal_server import bounces, smtp_policy
from mimeportal_server.arrival import Origin
from mimeportal_server.door import network_of
from mimeportal_server.people import Caller
from mimeportal_server.smtp_policy import LogIn, Refusal
from mimeportal_server.smtp_writer import Message, Outcome, Rejection

if TYPE_CHECKING:
    from mimeportal_server.smtp import SmtpDoor

_log = logging.getLogger("mimeportal.smtp")

_END = b"\r\n.\r\n"
_LAST_WORD_SECONDS = 10.0  # for a peer to read why the connection ends
_HOST_NAME = 255  # characters kept of what a server calls itself

Result = TypeVar("Result")


def _nothing() -> None:
    """Nothing has to be done."""


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


class Session(SMTP):
    """One connection."""

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
        self._unknown = 0
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

    # -- a message --------------------------------------------------------------------------------------

    def _create_envelope(self) -> Envelope:
        return Transaction()

    def _mail(self) -> Transaction:
        assert isinstance(self.envelope, Transaction)
        return self.envelope

    async def smtp_MAIL(self, arg: str | None) -> None:
        if await self.check_helo_needed():
            return
        mail = self._mail()
        if mail.sender is not None:
            await self.push("503 5.5.1 There is a sender already")
            return
        path = smtp_policy.parse_path("FROM:", arg or "")
        if path is None:
            await self.push("501 5.5.4 Syntax: MAIL FROM:<address>")
            return
        size, body = path.parameters.get("SIZE", "0"), path.parameters.get("BODY", "7BIT").upper()
        if not (size.isascii() and size.isdigit() and len(size) <= 20) or body not in ("7BIT", "8BITMIME"):
            await self.push("501 5.5.4 A parameter of MAIL is wrong")
            return
        if set(path.parameters) - {"SIZE", "BODY", "SMTPUTF8", "AUTH"}:
            await self.push("555 5.5.4 A parameter of MAIL is not known")
            return
        utf8 = "SMTPUTF8" in path.parameters
        if not utf8 and not path.address.isascii():
            await self.push("553 5.6.7 Such an address needs SMTPUTF8")
            return
        told = smtp_policy.sender(self._portal, path.address, int(size), self._by())
        if isinstance(told, Refusal):
            await self._refuse(told, path.address)
            return
        mail.sender, mail.size, mail.utf8 = told, int(size), utf8
        await self.push("250 2.1.0 OK")

    async def smtp_RCPT(self, arg: str | None) -> None:
        if await self.check_helo_needed():
            return
        mail = self._mail()
        if mail.sender is None:
            await self.push("503 5.5.1 MAIL comes first")
            return
        path = smtp_policy.parse_path("TO:", arg or "")
        if path is None:
            await self.push("501 5.5.4 Syntax: RCPT TO:<address>")
            return
        if path.parameters:
            await self.push("555 5.5.4 A parameter of RCPT is not known")
            return
        if not mail.utf8 and not path.address.isascii():
            await self.push("553 5.6.7 Such an address needs SMTPUTF8")
            return
        if mail.recipients >= limits.SMTP_RECIPIENTS:
            await self._refuse(smtp_policy.TOO_MANY, mail.sender, path.address)
            return
        told = await self._in_thread(
            smtp_policy.recipient, self._portal, path.address, mail.sender, mail.size, self._by()
        )
        if isinstance(told, Refusal):
            await self._refuse(told, mail.sender, bounces.shown(self._portal, path.address))
        else:
            if told.bounce:
                mail.bounces[told.bounce] = told.person_id
            if told.person_id is not None:
                mail.inside[told.address] = told.person_id
            elif not told.bounce:
                mail.outside[told.address] = None
            await self.push("250 2.1.5 OK")

    async def smtp_DATA(self, arg: str | None) -> None:
        if await self.check_helo_needed():
            return
        mail = self._mail()
        if mail.sender is None:
            await self.push("503 5.5.1 MAIL and RCPT come first")
            return
        if arg:
            await self.push("501 5.5.4 Syntax: DATA")
            return
        if not mail.recipients:
            await self.push("554 5.5.1 No valid recipients")
            return
        login = self._login()
        if login is not None and await self._in_thread(smtp_policy.is_over, self._portal, login):
            await self._end("421 4.7.0 Your log-in has ended")
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        self._reset_timeout(limits.SMTP_DATA_SECONDS)
        octets: bytes | Refusal | None = None
        try:
            octets = await self._content(mail)
        finally:
            if not isinstance(octets, bytes):
                self._door.in_flight.remove(self._network, mail.counted)
        self._reset_timeout()
        refused = octets if isinstance(octets, Refusal) else await self._stored(octets, mail)
        self.envelope = Transaction()
        if refused is None:
            await self.push("250 2.0.0 OK")
        else:
            await self._refuse(refused, mail.sender, *mail.inside, *mail.outside)

    async def _content(self, mail: Transaction) -> bytes | Refusal:
        """The octets up to the end of data, unstuffed; what is refused is read to its end all the same."""
        most = self._portal.settings.limits["message"]
        octets, refusal = bytearray(), None
        while octets != b".\r\n" and not octets.endswith(_END):
            try:
                piece = await self._reader.readuntil(b".\r\n")
            except asyncio.LimitOverrunError as fault:
                piece = await self._reader.readexactly(fault.consumed)  # never half of what is looked for
            octets += piece
            if refusal is None:
                mail.counted += len(piece)
                self._door.in_flight.add(self._network, len(piece))
                if len(octets) > most * 4 // 3 + len(_END):  # dots add a third at the most
                    refusal = smtp_policy.TOO_LARGE
                elif self._door.in_flight.is_over(self._network, limits.SMTP_IN_FLIGHT):
                    refusal = smtp_policy.TOO_BUSY
            if refusal is not None:
                del octets[: -len(_END)]
        if refusal is not None:
            return refusal
        del octets[-len(b".\r\n") :]
        if octets.startswith(b"."):
            del octets[:1]
        if b"\r\n." in octets:
            octets = octets.replace(b"\r\n.", b"\r\n")
        return smtp_policy.TOO_LARGE if len(octets) > most else bytes(octets)

    async def _stored(self, octets: bytes, mail: Transaction) -> Refusal | None:
        """Hand the message to the writer, and wait until it is durable; or why it is not."""

        def over() -> None:
            # Counted until now, also when the peer has gone.
            self._door.in_flight.remove(self._network, mail.counted)

        self._portal.follow_lab()
        envelope = {
            "recipients": [(person, address) for address, person in mail.inside.items()],
            "outside": list(mail.outside),
            "by": self._by(),
            "bounce_tokens": tuple(mail.bounces),
            "route": "internal" if self._by() else "inbound",
            "received": self._portal.clock.now(),
            "origin": Origin(self._peer, self._host(), self._encrypted),
            "whole": True,
        }
        told = await self._written(partial(Message, octets, mail.sender or "", envelope), over)
        if isinstance(told, UnavailableError):
            return smtp_policy.DISK_FULL
        if isinstance(told, Exception):
            _log.error("A message was not stored", exc_info=told)
            return smtp_policy.NOT_STORED
        return smtp_policy.MAILBOX_FULL if any(result.outcome == "refused" for result in told) else None

    async def _refuse(self, refusal: Refusal, sender: str, *recipients: str) -> None:
        """Record a refusal for each recipient, then say it; after too many of them hang up."""
        if refusal in (smtp_policy.UNKNOWN, smtp_policy.NO_RELAY):
            self._unknown += 1
            if self._unknown >= limits.SMTP_UNKNOWN:
                refusal = Refusal("421 4.7.1 Too many recipients that are not known here", refusal.type)
        self._portal.follow_lab()
        rows = [
            {
                "at": self._portal.clock.now(),
                # As every other row has addresses: whoever is meant finds it, and erasing them finds it too.
                "sender": normalise(clean(sender))[: limits.ADDRESS_CHARACTERS],
                "recipient": normalise(clean(recipient))[: limits.ADDRESS_CHARACTERS],
                "remote_ip": self._peer,
                "remote_host": self._host(),
                "type": refusal.type,
                "info": refusal.reply,
                "route": "internal" if self._by() else "inbound",
            }
            for recipient in recipients or ("",)
            if self._is_recorded()
        ]
        if rows:
            await self._written(partial(Rejection, rows))
        if refusal.reply.startswith("421"):
            await self._end(refusal.reply)
        else:
            await super().push(refusal.reply)

    def _is_recorded(self) -> bool:
        """Whether one more refusal becomes a row: of one network, and of all of them, only so many do in a minute."""
        recorded = self._door.recorded
        return (
            recorded.take(self._network, calls=limits.SMTP_REJECTIONS).granted
            and recorded.take("", calls=limits.SMTP_REJECTIONS_OF_ALL).granted
        )

    async def _written(self, job: Callable[..., Message | Rejection], over: Callable[[], None] = _nothing) -> Outcome:
        """What the writer says of a job, made with the call that tells."""
        told: asyncio.Future[Outcome] = self.loop.create_future()

        def settle(outcome: Outcome) -> None:
            over()
            if not told.done():
                told.set_result(outcome)

        def done(outcome: Outcome) -> None:
            self.loop.call_soon_threadsafe(settle, outcome)

        self._door.writer.put(job(done))
        return await told

    def _host(self) -> str:
        assert self.session is not None
        return clean(self.session.host_name or "")[:_HOST_NAME]
