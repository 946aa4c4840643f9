"""A portal that runs: its doors to the network, and what it does by itself, delivering and sweeping."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvicorn

from mimeportal.errors import ConfigurationError, MimeportalError, UnavailableError, UsageError
from mimeportal_server import delivery, erasing, keeping, largefile_scan
from mimeportal_server.clock import iso
from mimeportal_server.door import Door
from mimeportal_server.exchange import Protocol
from mimeportal_server.home import Home
from mimeportal_server.http import HttpDoor
from mimeportal_server.listener import Listener
from mimeportal_server.portal import Portal
from mimeportal_server.quota import Quota
from mimeportal_server.store.database import StoreError

if TYPE_CHECKING:
    from mimeportal_server.lab import Lab
    from mimeportal_server.smtp import SmtpDoor

_QUIET = 0.3  # seconds without an act, before what was released is delivered
_PATIENCE = 5.0  # seconds after which it is delivered whatever goes on
_SWEEP_EVERY = 60.0
_GRACE = 5  # seconds for requests under way, and for deliveries, when the portal stops

Listen = tuple[str, int]


class Server:
    """A portal home, served over HTTP, SMTP or both, from threads of this process; a context manager.

    http, smtp   (host, port) to listen on; port 0 takes a free one
    lab          serve `/lab/` too; the home must have been made for it
    tls_cert     the certificate, a PEM file; `tls_key` its key where that lies in another file
    behind_proxy a proxy in front ends TLS, and says by X-Forwarded-For and -Proto who asks and how
    log          takes one line of JSON for each request and each failure of the portal's own work
    wall         the machine's clock, in seconds

    Raises `ConfigurationError` naming what cannot be served, and `UsageError` when it is nothing.
    """

    def __init__(
        self,
        home: Path,
        *,
        http: Listen | None = None,
        smtp: Listen | None = None,
        lab: bool = False,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        behind_proxy: bool = False,
        log: Callable[[str], None] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        if http is None and smtp is None:
            raise UsageError("Neither HTTP nor SMTP is to be served.", remedy="Name an address for one of them.")
        self._http, self._smtp = http, smtp
        self._behind_proxy = behind_proxy
        self._log = log
        self._tls = _tls(tls_cert, tls_key)
        self._door: HttpDoor | None = None
        self._uvicorn: _Uvicorn | None = None
        self._mail: SmtpDoor | None = None
        self._keeping = threading.Thread(target=self._keep, name="mimeportal-keeping", daemon=True)
        self._scanning = threading.Thread(target=self._scan, name="mimeportal-scanning", daemon=True)
        self._unscanned = threading.Event()
        self._scans = False
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self.http_url = ""
        self.smtp_address: Listen = ("", 0)
        self.lab: Lab | None = None
        self.portal = Portal(Home.open(home), wall=wall)
        self._scans = bool(self.portal.settings.scan)
        try:
            self._refuse_unsafe()
            quota = Quota(self.portal.settings.limits["quota"])
            if lab:
                from mimeportal_server.lab import Lab

                _only_loopback(http, smtp)
                self.lab = Lab.of(self.portal, quota=quota)
            self._quota = quota
        except BaseException:
            self.portal.close()
            raise

    # -- starting and stopping --------------------------------------------------------------------------------

    def start(self) -> Server:
        """Listen, and return once every door is open. Raises `ConfigurationError` when one cannot be opened."""
        try:
            if self._http is not None:
                self._open_http(self._http)
            if self._smtp is not None:
                self._open_smtp(self._smtp)
        except BaseException:
            self.stop()
            raise
        self._wake.set()  # what an earlier end left queued
        self._keeping.start()
        if self._scans:
            self._unscanned.set()
            self._scanning.start()
        return self

    def stop(self) -> None:
        """Let requests under way finish, deliver what is queued for a few seconds, and close everything."""
        if self._stopping.is_set():
            return
        if self._mail is not None:
            self._mail.stop()
        if self._uvicorn is not None:
            self._uvicorn.end()
            self._serving.join()
        if self._door is not None:
            self._door.close()
        self._stopping.set()
        self._acted()
        if self._keeping.ident is not None:
            self._keeping.join(4 * _GRACE)
        if self._scanning.ident is not None:
            self._scanning.join(_GRACE)
        if not self._keeping.is_alive() and not self._scanning.is_alive():  # a relay that hangs is left behind
            self.portal.close()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _open_http(self, address: Listen) -> None:
        listening = _listen(address)
        port = listening.getsockname()[1]
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        self.http_url = f"{'https' if self._tls else 'http'}://{host}:{port}"
        self._fit_public_url()
        self._door = HttpDoor(
            Door(self.portal, quota=self._quota),
            behind_proxy=self._behind_proxy,
            lab=self.lab,
            on_act=self._acted,
            log=self._log,
        )
        config = uvicorn.Config(
            self._door,
            http=Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE,
        )
        config.load()
        config.ssl = self._tls
        self._uvicorn = _Uvicorn(config, lambda fault: self._failed("http", fault))
        self._serving = threading.Thread(target=self._uvicorn.run, args=([listening],), name="mimeportal-http")
        self._serving.start()
        while not self._uvicorn.open.wait(0.1):
            if not self._serving.is_alive():
                raise UnavailableError(f"HTTP on {_shown(address)} did not start.", remedy="Look at what was printed.")

    def _open_smtp(self, address: Listen) -> None:
        from mimeportal_server.smtp import SmtpDoor

        self._mail = SmtpDoor(self.portal, *address, tls=self._tls, on_accepted=self._wake.set)
        try:
            self._mail.start()
        except OSError as fault:
            raise _cannot_listen(address, fault) from None
        self.smtp_address = self._mail.address

    # -- what is refused, and what fits -----------------------------------------------------------------------

    def _refuse_unsafe(self) -> None:
        """What people log in with must not be readable on the way (promises E.4)."""
        if self._http is None or _is_loopback(self._http[0]) or self._behind_proxy:
            return
        public_url = self.portal.settings.public_url
        if self._tls is None or not public_url.startswith("https://"):
            missing = "has no TLS" if self._tls is None else f"public_url is {public_url!r}"
            raise ConfigurationError(
                f"{_shown(self._http)} can be reached from other machines, and {missing}.",
                why="Passwords and held mail would cross the network for anyone to read.",
                remedy="Give --tls-cert and an https public_url in portal.toml, or --behind-proxy if one has TLS.",
            )

    def _fit_public_url(self) -> None:
        """Links lead here even where portal.toml names another port of this machine, as tests on a free one need."""
        settings = self.portal.settings
        named = urlsplit(settings.public_url)
        if not named.hostname or (_is_loopback(named.hostname) and settings.public_url != self.http_url):
            self.portal.settings = replace(settings, public_url=self.http_url)

    # -- the portal's own work --------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Deliver soon after every act, sweep now and then; once more deliver when the portal stops."""
        swept = 0.0
        while not self._stopping.is_set():
            due = swept + _SWEEP_EVERY - time.monotonic() if swept else 0.0
            if due <= 0:
                self._try("erase", lambda: erasing.finish(self.portal))
                self._try("sweep", lambda: keeping.sweep(self.portal, scan=not self._scans))
                swept = time.monotonic()
            elif self._wake.wait(due):
                self._await_quiet()
                self._try("deliver", lambda: delivery.deliver(self.portal, until=self._stopping.is_set))
        until = time.monotonic() + _GRACE
        self._try("deliver", lambda: delivery.deliver(self.portal, until=lambda: time.monotonic() > until))

    def _acted(self) -> None:
        """Something may have changed: there may be mail to deliver, and files to scan."""
        self._wake.set()
        self._unscanned.set()

    def _scan(self) -> None:
        """Scan large files as they come, beside all else: one may take minutes."""
        while not self._stopping.is_set():
            self._unscanned.wait(_SWEEP_EVERY)
            self._unscanned.clear()
            self._try("scan", self._scan_once)
            self._stopping.wait(_QUIET)  # every chunk of an upload is an act, too

    def _scan_once(self) -> None:
        if largefile_scan.run(self.portal).total():
            self._wake.set()

    def _await_quiet(self) -> None:
        """Deciding and delivering take turns at one database: a bulk release goes first, for a while."""
        until = time.monotonic() + _PATIENCE
        while self._wake.is_set() and time.monotonic() < until and not self._stopping.is_set():
            self._wake.clear()
            self._stopping.wait(_QUIET)
        self._wake.clear()

    def _try(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except (StoreError, MimeportalError, OSError) as fault:
            self._failed(name, fault)  # the next act or sweep tries again

    def _failed(self, name: str, fault: object) -> None:
        """What is wrong is told without what it was about."""
        if self._log is not None:
            line = {"time": iso(self.portal.clock.machine()), "work": name, "failed": type(fault).__name__}
            self._log(json.dumps(line))


class _Uvicorn(uvicorn.Server):
    """uvicorn, started and ended from another thread without polling."""

    def __init__(self, config: uvicorn.Config, failed: Callable[[object], None]) -> None:
        super().__init__(config)
        self._failed = failed  # is told of faults that no connection has to do with
        self.open = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        # asyncio's own words have addresses in them.
        self._loop.set_exception_handler(lambda _, context: self._failed(context.get("exception")))
        await super().startup(sockets)
        self.open.set()

    async def main_loop(self) -> None:
        assert self._ended is not None
        while not self._ended.is_set():
            await self.on_tick(0)  # the Date of the answers
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    def end(self) -> None:
        if self._loop is not None and self._ended is not None:  # it did start
            self._loop.call_soon_threadsafe(self._ended.set)


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None:
        if key is not None:
            raise UsageError("A key without a certificate.", remedy="Name the certificate with --tls-cert.")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key, password="")  # nobody is asked for one
    except (OSError, ssl.SSLError) as fault:
        files = f"{cert} and {key}" if key else str(cert)
        raise ConfigurationError(
            f"The certificate cannot be used: {files}.",
            why=f"{fault.strerror or fault}.",
            remedy="Name PEM files: the certificate with --tls-cert, its key with --tls-key.",
        ) from None
    return context


def _listen(address: Listen) -> socket.socket:
    host, port = address
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return Listener(socket.create_server((host, port), family=family, backlog=256))
    except (OSError, OverflowError) as fault:
        raise _cannot_listen(address, fault) from None


def _cannot_listen(address: Listen, fault: OSError | OverflowError) -> ConfigurationError:
    return ConfigurationError(
        f"Nothing can listen on {_shown(address)}.",
        why=f"{getattr(fault, 'strerror', None) or fault}.",
        remedy="End what uses it, or name another port.",
    )


def _shown(address: Listen) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _only_loopback(*addresses: Listen | None) -> None:
    for address in addresses:
        if address is not None and not _is_loopback(address[0]):
            raise ConfigurationError(
                f"A lab is not served on {_shown(address)}.",
                why="Who reaches it can empty the portal and set its clock.",
                remedy="Name an address of this machine alone, such as 127.0.0.1:8025.",
            )
