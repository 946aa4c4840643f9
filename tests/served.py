"""A portal served over HTTP in a thread, and a stranger's client of it: plain HTTP, no model or transport of ours."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from asking import Told
from conftest import Lab
from mimeportal.auth import flows
from mimeportal_server import apps
from mimeportal_server.portal import set_fact
from mimeportal_server.serving import Server

Headers = dict[str, str]


class Served:
    """A lab's home behind a running server, with an administrator's application to log in by."""

    def __init__(self, lab: Lab, *, faults: bool = False, **options: Any) -> None:
        self.lab = lab
        self.lines: list[str] = []
        self.logged = threading.Condition()
        if faults:
            self.lab_token = secrets.token_urlsafe(32)
            (lab.path / "lab.token").write_text(self.lab_token)
            (lab.path / "lab.token").chmod(0o600)
            with lab.server.database.write() as tx:
                set_fact(tx, "lab", "1")
        with lab.server.database.write() as tx:
            _, self.app = apps.add(lab.server, tx, "robot", role="administrator", scopes=(), content_view=True)
        http = None if "smtp" in options else ("127.0.0.1", 0)
        options = {"http": http, "lab": faults, "log": self._log, "wall": lambda: lab.time, **options}
        self.server = Server(lab.path, **options)

    def _log(self, line: str) -> None:
        with self.logged:
            self.lines.append(line)
            self.logged.notify_all()

    def log_lines(self, count: int) -> list[dict[str, Any]]:
        """The log, once it has so many lines."""
        with self.logged:
            assert self.logged.wait_for(lambda: len(self.lines) >= count, 10)
            return [json.loads(line) for line in self.lines]

    # -- asking ------------------------------------------------------------------------------------------------

    def address(self) -> tuple[str, int]:
        url = urlsplit(self.server.http_url)
        return str(url.hostname), int(url.port or 0)

    def connect(self, *, tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        host, port = self.address()
        if tls is not None:
            return http.client.HTTPSConnection(host, port, timeout=20, context=tls)
        return http.client.HTTPConnection(host, port, timeout=20)

    def ask(
        self,
        path: str,
        body: Any = None,
        headers: Headers | None = None,
        *,
        method: str = "POST",
        over: http.client.HTTPConnection | None = None,
    ) -> Told:
        """One request: octets as they are, anything else as JSON."""
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = over or self.connect()
        try:
            connection.request(method, path, raw, headers or {})
            answer = connection.getresponse()
            octets = answer.read()
            return Told(answer.status, {name.lower(): value for name, value in answer.getheaders()}, octets)
        finally:
            if over is None:
                connection.close()

    def raw(self, octets: bytes) -> bytes:
        """What comes back for some octets, until the server ends the connection."""
        with closing(socket.create_connection(self.address(), timeout=20)) as connection:
            connection.sendall(octets)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            return answer

    # -- as whom -----------------------------------------------------------------------------------------------

    def token(self) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.app.client_id,
            "client_secret": self.app.client_secret,
        }
        told = self.ask("/oauth/token", urlencode(form).encode(), {"Content-Type": "application/x-www-form-urlencoded"})
        return str(json.loads(told.octets)["access_token"])

    def bearer(self) -> Headers:
        """The headers of API 2.0."""
        return {"Authorization": f"Bearer {self.token()}", "Content-Type": "application/json"}

    def signed(self, path: str, **changed: str) -> Headers:
        """The headers of API 1.0, for one path."""
        app = self.app
        known = {
            "request_id": str(uuid.uuid4()),
            "path": path,
            "app_id": app.app_id,
            "app_key": app.app_key,
            "access_key": app.access_key,
            "secret_key": app.secret_key,
        }
        moment = datetime.fromtimestamp(self.lab.time, UTC)
        return flows.signed_headers(moment=moment, **{**known, **changed})

    # -- the lab -----------------------------------------------------------------------------------------------

    def spoil(self, *faults: dict[str, Any]) -> None:
        told = self.ask("/lab/faults", {"faults": list(faults)}, {"x-lab-token": self.lab_token}, method="PUT")
        assert told.status == 200, told.octets

    def script(self) -> list[dict[str, Any]]:
        """What is left of it."""
        told = self.ask("/lab/faults", None, {"x-lab-token": self.lab_token}, method="GET")
        return list(json.loads(told.octets)["faults"])

    def seen(self, operation: str) -> list[dict[str, Any]]:
        """What the lab's log says of one operation."""
        told = self.ask("/lab/requests", None, {"x-lab-token": self.lab_token}, method="GET")
        return [entry for entry in json.loads(told.octets)["requests"] if entry["operation"] == operation]


@contextmanager
def serving(path: Path, *, settings: str = "", section: str = "", **options: Any) -> Iterator[Served]:
    """A home of its own, served; `settings` are more lines of its portal.toml, or of a section it has."""
    lab = Lab(path)
    try:
        lab.configure(settings, section=section)
        served = Served(lab, **options)
        with served.server:
            yield served
    finally:
        lab.server.close()
