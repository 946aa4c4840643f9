"""One request over a socket and its answer: what is read of it, what is sent, how its connection ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mimeportal import limits
from mimeportal.wire import Request, Response
from mimeportal_server.door import is_loopback
from mimeportal_server.portal import Refused

if TYPE_CHECKING:
    from mimeportal_server.lab import Fault

# Headers that decide who asks for what: one that stands twice could be read in two ways.
_ONCE = {"authorization", "x-mc-app-id", "x-mc-date", "x-mc-req-id", "content-type", "x-lab-token"}
_DRAINED = 8 * limits.MIB  # read on after a refused body, so that its sender gets to see the answer
_DRAIN_SECONDS = 2
_TRANSPORT = "mimeportal.transport"
_RESET = struct.pack("ii", 1, 0)

_silent = logging.getLogger("mimeportal_server.http")  # uvicorn's own words, which have addresses in them
_silent.propagate = False
_silent.addHandler(logging.NullHandler())
_silent.setLevel(logging.CRITICAL)


class Gone(Exception):
    """Whoever asked is no longer there."""


class Exchange:
    """One request and its answer, as far as they have come."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, behind_proxy: bool) -> None:
        self.scope = scope
        self.receive = receive
        self._send = send
        self._transport: asyncio.Transport = scope[_TRANSPORT]
        self._more = True  # of the body is to come
        self._twice = ""
        self.request = self._read(behind_proxy)
        self.response: Response | None = None
        self.fault: Fault | None = None
        self.status = 0  # of the answer, once any of it was sent
        self.octets_in = self.octets_out = 0
        self.aborted = False

    def _read(self, behind_proxy: bool) -> Request:
        headers: dict[str, str] = {}
        for raw_name, raw_value in self.scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            if name in headers and name in _ONCE:
                self._twice = name
            between = "; " if name == "cookie" else ", "  # HTTP/2 splits cookies, and not every proxy joins them again
            headers[name] = f"{headers[name]}{between}{value}" if name in headers else value
        peer = self.scope["client"][0] if self.scope["client"] else ""
        secure = self.scope["scheme"] == "https" or is_loopback(peer)
        if behind_proxy and ("x-forwarded-for" in headers or "x-forwarded-proto" in headers):
            # The last entry is the proxy's own; those before it are whatever the client liked to write.
            peer = _address(headers.get("x-forwarded-for", peer).rpartition(",")[2].strip())
            secure = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip() == "https"
        return Request(
            self.scope["method"],
            self.scope["raw_path"].decode("ascii"),
            headers,
            (),
            self.scope["query_string"].decode("latin-1"),
            peer,
            secure,
        )

    def refuse_ambiguous(self) -> None:
        if self._twice:
            raise Refused("err_request_malformed", f"The header {self._twice} stands twice.", status=400)

    def has_body(self) -> bool:
        headers = self.request.headers
        return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `Gone`."""
        while self._more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            piece, self._more = message.get("body", b""), message.get("more_body", False)
            self.octets_in += len(piece)
            yield piece

    async def send(self, message: Message) -> None:
        """To the client. Raises `TimeoutError` when it takes nothing for long."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.octets_out += len(message.get("body", b""))
        async with asyncio.timeout(limits.HTTP_SECONDS):
            await self._send(message)

    async def send_piece(self, octets: bytes) -> None:
        """One piece of a long answer, until it has gone out to the network. Raises `Gone` when nobody takes it."""
        message: Message = {"type": "http.response.body", "body": octets, "more_body": True}
        await self.send(message)
        await self.send({**message, "body": b""})  # waits, while much is still to go
        if self._transport.is_closing():
            raise Gone

    async def drain(self, most: int = _DRAINED, seconds: float = _DRAIN_SECONDS) -> None:
        """Read on for a while: an answer is lost when the connection ends while its request still comes."""
        if self.request.headers.get("expect"):
            return  # it waits to be told before it sends anything
        left = most
        with suppress(TimeoutError, Gone):
            async with asyncio.timeout(seconds):
                async for piece in self.pieces():
                    left -= len(piece)
                    if left < 0:
                        return

    def abort(self) -> None:
        """End the connection at once, with nothing more said."""
        self.aborted = True
        connection = self._transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def end(self) -> None:
        """End the connection once what was sent is gone."""
        self.aborted = True
        self._transport.close()

    async def gone(self) -> None:
        """Wait until the connection has ended."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


class Protocol(HttpToolsProtocol):
    """uvicorn's, with bounds on heads and what is none, and its transport within reach of the application."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.logger = _silent
        self.access_log = False
        self._head: asyncio.TimerHandle | None = None  # while a request's head is being read
        self._overhead = 0  # octets since there was a head, or something of a body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio sets it only on sockets that name their protocol, which those of an own listener do not.
        # Without it each answer waits for the other side's delayed acknowledgement (mimecast-api-core 11.16).
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        self._overhead += len(data)
        super().data_received(data)
        if self._overhead > limits.HTTP_HEAD:
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[_TRANSPORT] = self.transport  # type: ignore[literal-required]
        if self._head is None:
            self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is not None:
            super().on_header(name, value)
        # Else it stands behind a body: what a proxy did not look at says nothing of who asks.

    def on_headers_complete(self) -> None:
        self._overhead = 0
        self._head_done()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        # uvicorn gathers what comes in a bytearray, and hands on a copy of that; what is long is handed on as it is.
        waiting: bytes | bytearray = self.cycle.body
        if not waiting and len(body) > HIGH_WATER_LIMIT:
            waiting, body = body, b""
        elif isinstance(waiting, bytes):
            waiting = bytearray(waiting)
        self.cycle.body = waiting  # type: ignore[assignment]
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._overhead = 0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_done()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head = self.loop.call_later(limits.HTTP_SECONDS, self.transport.abort)

    def _head_done(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


def start(status: int, headers: dict[str, str], cookies: tuple[str, ...] = ()) -> Message:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    raw += [(b"set-cookie", cookie.encode("latin-1")) for cookie in cookies]
    return {"type": "http.response.start", "status": status, "headers": raw}


def _address(forwarded: str) -> str:
    """The address in an entry of X-Forwarded-For, where some proxies write a port behind it."""
    for text in (forwarded, forwarded.rpartition(":")[0].removeprefix("[").removesuffix("]")):
        with suppress(ValueError):
            return str(ip_address(text))
    return "unknown"  # one network, with the budgets of one
