"""Mail on one SMTP connection: to the portal's people, and from them. 250 means that it is durable (promises C.4).

What is stored is what followed DATA, dots unstuffed, octet by octet (promises C.1): long lines, 8-bit, NUL, bare CR
and bare LF as they come, no Received line added. Data ends with CRLF.CRLF and with nothing else: a server that also
takes LF.LF or LF.CRLF for the end reads a second message out of the first one's body ("SMTP smuggling").

The commands that carry mail are ours: aiosmtpd reads data line by line, and refuses lines that real mail has.
"""

# ruff: noqa: N802 - aiosmtpd finds a command's method by its name in capitals

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from mimeportal import limits
from mimeportal.addresses import normalise
from mimeportal.errors import UnavailableError
from mimeportal.untrusted import clean
from mimeportal_server import bounces, smtp_policy
from mimeportal_server.incoming import Origin
from mimeportal_server.smtp_connection import Connection, Transaction
from mimeportal_server.smtp_policy import Refusal
from mimeportal_server.smtp_writer import Message, Outcome, Rejection

if TYPE_CHECKING:
    from mimeportal_server.smtp import SmtpDoor

_log = logging.getLogger("mimeportal.smtp")

_END = b"\r\n.\r\n"


def _nothing() -> None:
    """Nothing has to be done."""


class Session(Connection):
    """One connection, and the mail on it."""

    def __init__(self, door: SmtpDoor, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(door, loop)
        self._unknown = 0

    # -- a message --------------------------------------------------------------------------------------

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
