"""The outbox to an SMTP relay: at least once, one recipient per transaction, the octets as they are stored.

A row on its way (promises C.3):

    queued     not accepted by the relay; due when `not_before` has come
    sending    all but the final dot is sent, or the dot too: found so by a later run, it may arrive twice
    delivered  the relay took it
    failed     the relay refused it for good, or cannot take what it holds; the message is kept

`sending` is committed just before the final dot and the relay's reply just after it, so that between the two
lies the one moment that may double. It is retried with the same delivery id and marked `maybe_twice`.
"""

from __future__ import annotations

import re
import smtplib
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import format_datetime
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Row, update

from mimeportal import limits
from mimeportal.addresses import domain_of
from mimeportal.untrusted import clean
from mimeportal_server import delivery
from mimeportal_server.clock import DAY, moment
from mimeportal_server.mail_headers import read_headers
from mimeportal_server.portal import Portal
from mimeportal_server.steps import reached
from mimeportal_server.store.schema import deliveries

MINUTE = 60_000
BACKOFF = (1 * MINUTE, 5 * MINUTE, 15 * MINUTE, 60 * MINUTE, 240 * MINUTE)  # the last one again and again
GIVE_UP = 5 * DAY  # with every wait of BACKOFF tried

_CONNECT_SECONDS = 30.0
_REPLY_SECONDS = 120.0
_DOT_SECONDS = 600.0  # RFC 5321 4.5.3.2.6: who hangs up sooner makes duplicates
_FAULTS = 3  # connections lost one after the other, until the rest of the outbox waits for another run
_TEXT = 500  # characters kept of what the relay says

_LINE_END = re.compile(rb"\r\n|\r|\n")
_NO_PATH = re.compile(r'[\x00-\x1f\x7f<>\ud800-\udfff]|^[^"]*[ ]')


def deliver_batch(portal: Portal, batch: Sequence[Row[Any]]) -> Counter[str]:
    """Deliver queued rows over one connection; counts of `delivered`, `failed`, `deferred`, `maybe_twice`.

    `unreachable` is counted when the relay is not to be reached: then the rest of the outbox need not try.
    The caller holds the delivery lock. Raises `StoreError` and `OSError` of the home's own files.
    """
    counts: Counter[str] = Counter()
    relay = _Relay(portal)
    try:
        for number, row in enumerate(batch):
            try:
                told = _sent(portal, relay, row)
            except _Unreachable as fault:
                counts["unreachable"] += 1
                # No connection: it was tried for all of them, so all of them wait. Connections that broke off
                # may be the fault of single messages: those wait by now, the rest comes first next time.
                if not relay.broken_off:
                    counts += _settle(portal, batch[number:], _Told("queued", str(fault)))
                break
            counts += _settle(portal, [row], told)
        relay.quit()
    finally:
        relay.drop()
    return counts


@dataclass(frozen=True, slots=True)
class _Told:
    """What became of one delivery: its new state, and why. `doubtful`: whether it was taken is not known."""

    state: str  # delivered | failed | queued
    text: str = ""
    doubtful: bool = False


class _Unreachable(Exception):
    """No connection to the relay, or it is lost again and again; the text says why."""


class _Fault(Exception):
    """A connection that broke off, or speaks no SMTP."""


class _Refusal(Exception):
    """A reply other than the one that lets us go on."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.told = _Told("failed" if 500 <= code < 600 else "queued", text)


# -- one message ------------------------------------------------------------------------------------------


def _sent(portal: Portal, relay: _Relay, row: Row[Any]) -> _Told:
    """Try one row. Raises `_Unreachable`, `StoreError`, `OSError`."""
    try:
        message = _Message.of(portal, row)
    except FileNotFoundError:
        return _Told("failed", delivery.MISSING)
    if message.problem:
        return _Told("failed", message.problem)
    for last_try in (False, True):
        used = relay.open()
        try:
            problem = message.unfit_for(relay)
            if problem:
                return _Told("failed", problem)
            relay.begin(message)
        except _Refusal as refusal:
            return refusal.told
        except _Fault as fault:
            # A connection is often closed after some messages or some time: that is no fault of this one.
            if used and not last_try:
                relay.drop()
                continue
            return relay.lost(_Told("queued", str(fault)))
        return _data(portal, relay, row, message)
    raise AssertionError("the second try ends")


def _data(portal: Portal, relay: _Relay, row: Row[Any], message: _Message) -> _Told:
    """The octets, the commit of `sending`, the dot, and the reply to it."""
    reached("relay.sending")
    try:
        for piece in on_the_wire(chain([message.received], portal.home.blobs.pieces(row.blob))):
            relay.send(piece)
    except _Fault as fault:
        return relay.lost(_Told("queued", str(fault)))
    except BaseException:
        relay.drop()  # never a dot after half a message
        raise
    _say_sending(portal, row)
    reached("relay.before dot")
    try:
        relay.send(b".\r\n")
    except _Fault as fault:  # it did not leave
        return relay.lost(_Told("queued", str(fault)))
    reached("relay.after dot")
    try:
        code, text = relay.reply(_DOT_SECONDS)
    except _Fault as fault:
        return relay.lost(_Told("queued", f"no reply to the final dot: {fault}", doubtful=True))
    reached("relay.replied")
    relay.settled(code)
    if 200 <= code < 300:
        return _Told("delivered", text)
    if code >= 400:
        return _Refusal(code, text).told
    return relay.lost(_Told("queued", f"the final dot was answered by {text}", doubtful=True))


def on_the_wire(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Octets as DATA carries them, without the final dot: line ends as CRLF, dots stuffed, nothing else changed.

    Each CRLF, lone LF and lone CR becomes CRLF (promises C.3); a last line without its end gets one.
    """
    carried = b""  # a CR, whose LF may come with the next piece
    at_line = True
    for piece in pieces:
        octets = carried + piece
        carried = b"\r" if octets.endswith(b"\r") else b""
        octets = octets[: len(octets) - len(carried)]
        if not octets:
            continue
        octets = _LINE_END.sub(b"\r\n", octets).replace(b"\r\n.", b"\r\n..")
        yield b"." + octets if at_line and octets.startswith(b".") else octets
        at_line = octets.endswith(b"\r\n")
    if carried or not at_line:
        yield b"\r\n"


@dataclass(frozen=True, slots=True)
class _Message:
    """A row with what its octets ask of the next hop. `problem`: why no next hop can take it."""

    sender: str
    recipient: str
    received: bytes  # our own line
    size: int
    eight_bit: bool
    problem: str

    @classmethod
    def of(cls, portal: Portal, row: Row[Any]) -> _Message:
        """Read the octets once. Raises `FileNotFoundError` when they are missing, `OSError`."""
        size, nul, eight_bit, head = 0, False, False, b""
        for piece in portal.home.blobs.pieces(row.blob):
            head = head or piece  # the first piece holds all headers that are read
            size += len(piece)
            nul = nul or 0 in piece
            eight_bit = eight_bit or not piece.isascii()
        sender = "" if row.kind == "written" else row.sender  # promises C.6: a null return path
        host = domain_of(portal.settings.mail_from)
        date = format_datetime(moment(portal.clock.now()))
        received = f"Received: by {host} (mimeportal) id D{row.id}; {date}\r\n".encode("ascii")
        problem = ""
        if len(read_headers(head).raw("received")) > limits.RECEIVED_LINES:
            problem = f"5.4.6 The message has more than {limits.RECEIVED_LINES} Received lines: it goes in circles."
        elif nul:
            problem = "5.6.1 The message holds NUL octets, which no SMTP carries."
        elif _NO_PATH.search(sender):
            problem = "5.1.7 The sender's address cannot be written in SMTP."
        elif _NO_PATH.search(row.recipient) or not row.recipient:
            problem = "5.1.3 The recipient's address cannot be written in SMTP."
        return cls(sender, row.recipient, received, size + len(received), eight_bit, problem)

    def unfit_for(self, relay: _Relay) -> str:
        """Why this relay cannot take the message; "" when it can."""
        if self.eight_bit and not relay.offers("8bitmime"):
            return "5.6.3 The message holds 8-bit octets, and the relay does not offer 8BITMIME."
        if not self.ascii_addresses and not relay.offers("smtputf8"):
            return "5.6.7 An address is not ASCII, and the relay does not offer SMTPUTF8."
        return ""

    @property
    def ascii_addresses(self) -> bool:
        return self.sender.isascii() and self.recipient.isascii()


# -- what is remembered --------------------------------------------------------------------------------------


def _say_sending(portal: Portal, row: Row[Any]) -> None:
    with portal.write() as tx:
        tx.execute(update(deliveries).where(deliveries.c.id == row.id).values(state="sending"))


def _settle(portal: Portal, rows: Sequence[Row[Any]], told: _Told) -> Counter[str]:
    """Commit what became of rows, with all that belongs to it."""
    counts: Counter[str] = Counter()
    with portal.write() as tx:
        if told.state == "delivered":
            delivery.finish(portal, tx, rows, "smtp")
        elif told.state == "failed":
            delivery.fail(portal, tx, [(row, told.text) for row in rows])
        else:
            if told.doubtful:
                delivery.doubt(portal, tx, rows)
            old = [row for row in rows if _too_old(portal, row)]
            delivery.fail(portal, tx, [(row, f"given up: {told.text}") for row in old])
            rows = [row for row in rows if row not in old]
            _defer(portal, tx, rows, told.text)
            counts["failed"] += len(old)
    reached("relay.committed")
    counts["deferred" if told.state == "queued" else told.state] += len(rows)
    if told.doubtful:
        counts["maybe_twice"] += 1
    return counts


def _defer(portal: Portal, tx: Connection, rows: Sequence[Row[Any]], why: str) -> None:
    """Back to the queue, each to wait longer than the time before."""
    for row in rows:
        wait = BACKOFF[min(row.attempts, len(BACKOFF) - 1)]
        tx.execute(
            update(deliveries)
            .where(deliveries.c.id == row.id)
            .values(state="queued", attempts=row.attempts + 1, error=why, not_before=portal.clock.machine() + wait)
        )


def _too_old(portal: Portal, row: Row[Any]) -> bool:
    # By the time that is believed: a clock that jumped must not bounce the outbox.
    return bool(row.attempts >= len(BACKOFF) and portal.clock.steady() - row.queued > GIVE_UP)


# -- the connection --------------------------------------------------------------------------------------------


class _Relay:
    """The connection to the relay: opened when it is first needed, and again after a fault."""

    def __init__(self, portal: Portal) -> None:
        self._address = portal.settings.relay
        self._name = domain_of(portal.settings.mail_from)
        self._smtp: smtplib.SMTP | None = None
        self._begun = False  # a transaction is open that the relay must forget first
        self._used = False
        self._faults = 0

    def open(self) -> bool:
        """Connect, if need be; whether the connection served before. Raises `_Unreachable`."""
        if self._smtp is not None:
            return self._used
        if self.broken_off:
            raise _Unreachable("the relay breaks off connection after connection")
        smtp = smtplib.SMTP(local_hostname=self._name, timeout=_CONNECT_SECONDS)
        try:
            code, greeting = smtp.connect(*self._address)
            if code != 220:
                raise _Unreachable(_text(code, greeting))
            if smtp.sock is not None:
                # The dot leaves on its own: unsent until the octets before it are confirmed, it costs 40 ms.
                smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            smtp.ehlo_or_helo_if_needed()
        except smtplib.SMTPResponseException as fault:
            smtp.close()
            raise _Unreachable(_text(fault.smtp_code, fault.smtp_error)) from None
        except (OSError, smtplib.SMTPException) as fault:
            smtp.close()
            raise _Unreachable(f"no connection to the relay: {_reason(fault)}") from None
        except BaseException:
            smtp.close()
            raise
        self._smtp, self._begun, self._used = smtp, False, False
        return False

    @property
    def broken_off(self) -> bool:
        """Whether connection after connection was lost."""
        return self._faults >= _FAULTS

    def offers(self, extension: str) -> bool:
        smtp = self._smtp
        return smtp is not None and bool(smtp.does_esmtp) and smtp.has_extn(extension)

    def begin(self, message: _Message) -> None:
        """MAIL, RCPT and DATA. Raises `_Refusal`, `_Fault`."""
        if self._begun:
            self._command("RSET", 250)
        options = f" SIZE={message.size}" if self.offers("size") else ""
        if message.eight_bit:
            options += " BODY=8BITMIME"
        if not message.ascii_addresses:
            options += " SMTPUTF8"
        self._begun = True
        # Written by hand: smtplib reads the address anew, and makes another one of a strange one.
        self._command(f"MAIL FROM:<{message.sender}>{options}", 250)
        self._used = True
        self._command(f"RCPT TO:<{message.recipient}>", 250, 251, 252)
        self._command("DATA", 354)

    def _command(self, line: str, *wanted: int) -> None:
        self.send(line.encode("utf-8", "replace") + b"\r\n")
        code, text = self.reply(_REPLY_SECONDS)
        if code not in wanted:
            if code == 421 or not 400 <= code < 600:
                raise _Fault(text)
            raise _Refusal(code, text)

    def send(self, octets: bytes) -> None:
        try:
            self._connection().send(octets)
        except (OSError, smtplib.SMTPException) as fault:
            raise _Fault(f"the connection to the relay was lost: {_reason(fault)}") from None

    def reply(self, seconds: float) -> tuple[int, str]:
        smtp = self._connection()
        try:
            if smtp.sock is not None:
                smtp.sock.settimeout(seconds)
            code, text = smtp.getreply()
        except (OSError, smtplib.SMTPException) as fault:
            raise _Fault(f"the connection to the relay was lost: {_reason(fault)}") from None
        if not 200 <= code < 600:
            raise _Fault(f"the relay answered what is no SMTP: {_text(code, text)}")
        return code, _text(code, text)

    def _connection(self) -> smtplib.SMTP:
        if self._smtp is None:
            raise _Fault("the connection to the relay is closed")
        return self._smtp

    def settled(self, code: int) -> None:
        """The dot was answered: the transaction is over, and so is the connection after a 421."""
        self._begun = not 200 <= code < 300
        self._faults = 0
        if code == 421:
            self.drop()

    def lost(self, told: _Told) -> _Told:
        """The connection is of no more use; passes on what that means for the message."""
        self._faults += 1
        self.drop()
        return told

    def quit(self) -> None:
        """Take leave; nothing depends on it."""
        if self._smtp is not None:
            with suppress(OSError, smtplib.SMTPException):
                if self._smtp.sock is not None:
                    self._smtp.sock.settimeout(5)
                self._smtp.quit()

    def drop(self) -> None:
        if self._smtp is not None:
            self._smtp.close()
            self._smtp = None


def _text(code: int, text: bytes | str) -> str:
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return clean(f"{code} {' '.join(said.split())}")[:_TEXT]


def _reason(fault: Exception) -> str:
    return str(getattr(fault, "strerror", None) or fault or type(fault).__name__)[:_TEXT]
