"""A stand-in for portals and proxies: real sockets on this machine, whose every answer a test decides."""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What to answer: `cut` sends so many octets of the body and ends the connection, `reset` nothing at all."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    reset: bool = False
    wait: threading.Event | None = None  # before anything is answered


def rows(*data: Any, fail: Any = (), status: int = 200, **headers: str) -> Reply:
    """An envelope."""
    body = json.dumps({"meta": {"status": status}, "data": list(data), "fail": list(fail)}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, body, {"content-type": "application/json", **named})


def refusal(code: str, status: int, *, retryable: bool = False, **headers: str) -> Reply:
    """A request that failed whole."""
    error = {"code": code, "message": f"no: {code}", "retryable": retryable}
    return rows(fail=[{"errors": [error]}], status=status, **headers)


Answer = Callable[[Seen], Reply]


class Peer:
    """Answers each request as a function says; `seen` has them all."""

    def __init__(self, answer: Answer, certificate: Path | None = None) -> None:
        self.answer = answer
        self.seen: list[Seen] = []
        self.tunnels: list[str] = []  # hosts that were asked for by CONNECT
        self.tunnel_to: Peer | None = None
        self.now: float | None = None  # by its own clock, which stands still; None: the machine's
        self.connections: list[socket.socket] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        self._server.block_on_close = True
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self.scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                peer.connections.append(self.connection)

            def handle(self) -> None:
                # A client may end a connection as it likes, in the middle of a handshake too.
                with suppress(OSError):
                    super().handle()

            def finish(self) -> None:
                with suppress(OSError, ValueError):
                    super().finish()

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen = Seen(self.command, self.path, headers, self.rfile.read(length))
                peer.seen.append(seen)
                self._send(peer.answer(seen))

            do_GET = do_POST
            do_DELETE = do_POST

            def _send(self, reply: Reply) -> None:
                if reply.wait:
                    reply.wait.wait(30)
                if reply.reset:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if "transfer-encoding" not in reply.headers:
                    self.send_header("content-length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body if reply.cut is None else reply.body[: reply.cut])
                if reply.cut is not None:
                    self.close_connection = True

            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string(peer.now)

            def do_CONNECT(self) -> None:
                peer.tunnels.append(self.path)
                self.close_connection = True
                if peer.tunnel_to is None:
                    self.send_error(407)
                    return
                self.send_response(200)
                self.end_headers()
                self.wfile.flush()
                with socket.create_connection(("127.0.0.1", peer.tunnel_to.port)) as there:
                    _join(self.connection, there)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def _join(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while True:
            readable, _, _ = select.select([one, other], [], [], 30)
            if not readable:
                return
            for here in readable:
                octets = here.recv(65_536)
                if not octets:
                    return
                (other if here is one else one).sendall(octets)


@contextmanager
def peer(answer: Answer, certificate: Path | None = None) -> Iterator[Peer]:
    one = Peer(answer, certificate)
    try:
        yield one
    finally:
        one.close()


def make_certificate(folder: Path, *names: str) -> Path:
    """A certificate of its own authority for some names, with its key, in one PEM file."""
    key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=test"]
    files = ["-keyout", str(key), "-out", str(certificate), "-addext", f"subjectAltName={','.join(names)}"]
    subprocess.run(["openssl", "req", *kind, *files], check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    return both
