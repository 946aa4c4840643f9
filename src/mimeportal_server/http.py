"""The HTTP door: what comes through a socket goes to `Door.handle` or to the pages, and its answer back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send

from mimeportal import limits
from mimeportal.wire import Endpoint, Request, Response
from mimeportal_server import health
from mimeportal_server.clock import iso
from mimeportal_server.door import Door, endpoint_at, network_of
from mimeportal_server.exchange import Exchange, Gone, start
from mimeportal_server.portal import Refused
from mimeportal_server.quota import Allowance, InFlight
from mimeportal_server.store.chunked import Slice
from mimeportal_server.store.database import StoreError
from mimeportal_server.web import route
from mimeportal_server.web.forms import Form, read_form, read_text
from mimeportal_server.web.pages import Pages
from mimeportal_server.web.visit import Visit

if TYPE_CHECKING:
    from mimeportal_server.lab import Fault, Lab

_T = TypeVar("_T")

_SMALL_PIECE = 64 * limits.KIB
_COMPRESSED_FROM = 8 * limits.KIB
_IN_ANSWER = frozenset({"ignore_filters", "row_offset_tokens"})  # faults that operations carry out themselves


class HttpDoor:
    """The ASGI application. `on_act` is called after requests that may have changed something.

    `log` takes one line of JSON per request, always with the same fields and with no path, query, body or address.
    """

    def __init__(
        self,
        door: Door,
        *,
        behind_proxy: bool = False,
        lab: Lab | None = None,
        on_act: Callable[[], None] = lambda: None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._door = door
        self._portal = door.portal
        self._behind_proxy = behind_proxy
        self._lab = lab
        self._on_act = on_act
        self._pages = Pages(door, on_act=on_act)
        self._log = log
        self._threads = ThreadPoolExecutor(limits.HTTP_THREADS, "mimeportal-http")
        self._files = ThreadPoolExecutor(limits.FILE_THREADS, "mimeportal-files")
        self._fetched = 0  # how many files are going out
        self._in_flight = InFlight()
        endpoint_at("", "")  # every contract is imported now, not by the first request

    def close(self) -> None:
        self._threads.shutdown()
        self._files.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.perf_counter()
        exchange = Exchange(scope, receive, send, self._behind_proxy)
        try:
            await self._answer(exchange)
        except Gone:
            pass
        except TimeoutError:
            exchange.abort()
        except Exception as fault:
            # What operations raise is answered by the door: this is a defect of this file.
            sentence = f"The portal failed by a defect of its own ({type(fault).__name__})."
            refusal = Refused("err_internal", sentence, status=500)
            if not exchange.status:
                await self._give(exchange, self._door.refused(exchange.request, refusal))
        finally:
            self._note(exchange, time.perf_counter() - begun)
        if exchange.aborted:
            await exchange.gone()

    async def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        own = health.PAGES.get(request.path)
        if own is not None and request.method in ("GET", "HEAD"):
            status, body = await self._in_thread(own, self._portal)
            headers = {"content-type": "application/json", "cache-control": "no-store"}
            await self._give(exchange, Response(status, headers, iter([body])), unread=exchange.has_body())
            return
        if own is None and route.is_page(request.path):
            await self._page(exchange)
            return
        endpoint = endpoint_at(request.method, request.path)
        try:
            exchange.refuse_ambiguous()
            async with self._arriving(exchange, self._door.most_octets(endpoint)) as pieces:
                async with asyncio.timeout(_seconds(endpoint)):
                    request.body = [piece async for piece in pieces]
                if endpoint is not None and self._lab is not None:
                    exchange.fault = self._lab.next_fault(endpoint.name)
                if exchange.fault is None:
                    await self._give(exchange, *await self._in_thread(self._handle, request, endpoint))
                else:
                    await self._spoil(exchange, exchange.fault, endpoint)
        except Refused as refusal:
            await self._give(exchange, self._door.refused(request, refusal), unread=True)

    def _handle(
        self, request: Request, endpoint: Endpoint[Any, Any] | None, faults: frozenset[str] = frozenset()
    ) -> tuple[Response, bytes]:
        """The answer, and the first octets of its body: of JSON all of them. In one of the threads."""
        response = self._lab.answer(request) if self._lab else None
        if response is None:
            response = self._door.handle(request, faults=faults)
        if endpoint is not None and endpoint.repeat != "safe":
            self._on_act()
        try:
            if response.headers["content-type"] == "application/json":
                return response, b"".join(response.body)
            return response, b"" if isinstance(response.body, Slice) else next(response.body, b"")
        except OSError as fault:
            sentence = f"The portal's files cannot be used: {fault.strerror or type(fault).__name__}."
            response = self._door.refused(request, Refused("err_portal_store", sentence, status=503))
            return response, b"".join(response.body)

    async def _in_thread(self, function: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    # -- bodies that come -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def _arriving(
        self, exchange: Exchange, most: int, *, declared: bool = True
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body, piece by piece. Raises `Refused` as soon as it is too long, or with `declared` says that it is."""
        too_large = Refused("err_request_too_large", f"A body has at most {most} octets.", status=413)
        length = exchange.request.headers.get("content-length", "")
        if declared and length.isdecimal() and int(length) > most:
            raise too_large
        arrived, network = 0, network_of(exchange.request.peer)

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal arrived
            async for piece in exchange.pieces():
                arrived += len(piece)
                self._in_flight.add(network, len(piece))
                if arrived > most:
                    raise too_large
                if self._in_flight.is_over(network, limits.HTTP_IN_FLIGHT):
                    sentence = "Too much is being sent to this portal at once."
                    raise Refused("err_portal_busy", sentence, status=503, retryable=True)
                yield piece

        try:
            yield pieces()
        finally:
            self._in_flight.remove(network, arrived)

    # -- pages ----------------------------------------------------------------------------------------------

    async def _page(self, exchange: Exchange) -> None:
        """Answer with a page; a form is read once it is known who sends it, and what its page takes."""
        visit = self._pages.visit(exchange.request)
        response = await self._in_thread(self._pages.admit, visit)
        if response is not None:
            if response.status == 401 and visit.route is not None and visit.route.files:
                response = await self._given_back(exchange, visit, self._pages.over)
            await self._give(exchange, response, unread=exchange.has_body())
            return
        assert visit.route is not None
        files = visit.route.files
        try:
            async with self._arriving(exchange, visit.route.octets) as pieces:
                content_type = exchange.request.headers.get("content-type", "")
                async with asyncio.timeout(limits.PAGE_FILES_SECONDS if files else limits.HTTP_SECONDS):
                    form = await read_form(visit.route, content_type, pieces)
                await self._give(exchange, await self._in_thread(self._pages.answer, visit, form))
            await self._in_thread(self._finish, visit)
        except Refused as refusal:
            # A browser shows no answer that comes while it sends: here it may send to the end.
            drained = limits.PAGE_FILES_DRAINED if files else None
            if refusal.status == 413 and files:
                response = await self._given_back(exchange, visit, self._pages.too_large)
            else:
                response = self._pages.refused(visit, refusal)
            await self._give(exchange, response, unread=True, drained=drained)

    async def _given_back(
        self, exchange: Exchange, visit: Visit, answer: Callable[[Visit, Form], Response]
    ) -> Response:
        """An answer to a form that is not taken, with what was written in it before its first file."""
        content_type = exchange.request.headers.get("content-type", "")
        try:
            # However long it says it is: no more is read than stands before a file.
            async with self._arriving(exchange, limits.PAGE_FORM, declared=False) as pieces:
                async with asyncio.timeout(limits.HTTP_SECONDS):
                    form = await read_text(content_type, pieces)
        except (Refused, TimeoutError):
            form = Form()
        return await self._in_thread(answer, visit, form)

    def _finish(self, visit: Visit) -> None:
        try:
            self._pages.finish(visit)
        except (StoreError, OSError) as fault:
            if self._log is not None:
                line = {"time": iso(self._portal.clock.machine()), "work": "after", "failed": type(fault).__name__}
                self._log(json.dumps(line))

    # -- answers that go ------------------------------------------------------------------------------------

    async def _give(
        self,
        exchange: Exchange,
        response: Response,
        first: bytes | None = None,
        *,
        unread: bool = False,
        drained: int | None = None,
    ) -> None:
        """Send an answer. `unread`: the body of its request was not read to the end, so the connection ends.

        `drained`: how many octets of it are read nevertheless, where that is worth more than usual.
        """
        exchange.response = response
        if isinstance(response.body, Slice):
            await self._give_file(exchange, response, response.body)
            return
        if first is None:
            first = b"".join(response.body)
        headers = dict(response.headers)
        if unread:
            headers["connection"] = "close"
        complete = headers["content-type"] == "application/json"  # else more may come
        if complete:
            headers["content-length"] = str(len(first))
        head = start(response.status, headers, response.cookies)
        if unread:
            await exchange.send(head)
            await exchange.send({"type": "http.response.body", "body": first, "more_body": True})
            await (exchange.drain(drained, limits.PAGE_FILES_SECONDS) if drained else exchange.drain())
            await exchange.send({"type": "http.response.body"})
            return

        async def answer(_: Scope, __: Receive, send: Send) -> None:
            await send(head)
            piece = first
            while True:
                more = bool(piece) and not complete
                following = await self._in_thread(next, response.body, None) if more else None
                await send({"type": "http.response.body", "body": piece, "more_body": following is not None})
                if following is None:
                    return
                piece = following

        if complete and len(first) >= _COMPRESSED_FROM:
            await GZipMiddleware(answer, _COMPRESSED_FROM, compresslevel=1)(
                exchange.scope, exchange.receive, exchange.send
            )
        else:
            await answer(exchange.scope, exchange.receive, exchange.send)

    async def _give_file(self, exchange: Exchange, response: Response, file: Slice) -> None:
        """Send octets of a file: one piece when the one before has gone out, smaller where many are fetched."""
        loop = asyncio.get_running_loop()
        self._fetched += 1
        try:
            await exchange.send(start(response.status, response.headers, response.cookies))
            while True:
                file.piece = min(limits.FILE_PIECE, max(_SMALL_PIECE, limits.FILE_PIECES // self._fetched))
                piece = await loop.run_in_executor(self._files, next, file, None)
                if piece is None:
                    break
                await exchange.send_piece(piece)
            await exchange.send({"type": "http.response.body", "body": b""})
        finally:
            self._fetched -= 1
            # What went out is noted whatever has happened, by whichever thread is free.
            self._files.submit(file.close)

    def _note(self, exchange: Exchange, seconds: float) -> None:
        """One request's line in the log, and in the lab's."""
        request, response = exchange.request, exchange.response
        endpoint = endpoint_at(request.method, request.path)
        request_id = response.headers.get("x-request-id", "") if response else ""
        if self._lab is not None and endpoint is not None:
            self._lab.note(
                endpoint.name,
                request_id=request_id,
                caller=response.caller if response else 0,
                status=exchange.status,
                fault=exchange.fault,
                items=response.items if response else 0,
            )
        if self._log is not None:
            line = {
                "time": iso(self._portal.clock.machine()),
                "request": request_id,
                "door": "http",
                "method": request.method,
                "route": endpoint.path if endpoint else route.template_at(request.method, request.path),
                "operation": endpoint.name if endpoint else "-",
                "status": exchange.status,
                "ms": round(seconds * 1000, 1),
                "in": exchange.octets_in,
                "out": exchange.octets_out,
                "caller": response.caller if response else 0,
            }
            self._log(json.dumps(line))

    # -- faults of the lab ----------------------------------------------------------------------------------

    async def _spoil(self, exchange: Exchange, fault: Fault, endpoint: Endpoint[Any, Any] | None) -> None:
        """Answer as an instruction of the lab says. What needs no socket is handed on to the operation."""
        request = exchange.request
        seconds = fault.milliseconds / 1000
        if fault.kind == "status":
            refusal = Refused(fault.code, "The lab says so.", status=fault.status, retryable=fault.retryable)
            await self._give(exchange, self._door.refused(request, refusal))
            return
        if fault.kind == "quota":
            refusal = Refused("err_quota_exceeded", "Quota Exceeded", status=429, retryable=True, gateway=True)
            response = self._door.refused(request, refusal)
            calls = self._door.quota.calls if self._door.quota else limits.QUOTA
            response.headers.update(Allowance(calls, 0, fault.milliseconds, granted=False).headers())
            await self._give(exchange, response)
            return
        if fault.kind == "stall":
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await exchange.gone()
        if fault.kind in ("stall", "reset_before"):
            exchange.abort()
            return
        if fault.kind == "delay":
            await asyncio.sleep(seconds)
        faults = _IN_ANSWER & {fault.kind}
        response, first = await self._in_thread(partial(self._handle, request, endpoint, faults))
        if fault.kind == "reset_after":
            exchange.response = response
            exchange.abort()
        elif fault.kind == "bad_json":
            first += b"".join(response.body)
            await self._give(exchange, response, first[: len(first) // 2] + b"\x00{")
        elif fault.kind == "cut":
            exchange.response = response
            first += b"".join(response.body)
            await exchange.send(start(response.status, {**response.headers, "content-length": str(len(first))}))
            await exchange.send({"type": "http.response.body", "body": first[: len(first) // 2], "more_body": True})
            exchange.end()
        else:
            await self._give(exchange, response, first)


def _seconds(endpoint: Endpoint[Any, Any] | None) -> float:
    """How long the body of a request may take: octets as long as a slow line needs for so many."""
    octets = endpoint.bytes_in if endpoint is not None and endpoint.form == "bytes" else 0
    return limits.HTTP_SECONDS + octets / limits.CHUNK_SLOWEST
