"""A stranger's client that shows who it is: headers written by hand from the reference, by no code of ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

from asking import Told
from conftest import ANN, Lab
from mimeportal.wire import Request
from mimeportal_server import apps, people
from mimeportal_server.door import Door
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal

TOKEN, APP = "/oauth/token", "/api/portal/auth/app"
DISCOVER, LOGIN, LOGOUT = "/api/login/discover-authentication", "/api/login/login", "/api/login/logout"
WHOAMI, PASSWORD = "/api/portal/account/whoami", "/api/portal/account/password"
HERE, ELSEWHERE = "192.0.2.1", "198.51.100.7"
RIGHT = "Correct-horse-7"

Headers = dict[str, str]


class Stranger:
    """Sends requests from a network through the door of one portal, by the lab's clock."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.portal = Portal(Home.open(lab.path), wall=lambda: lab.time)
        self.door = Door(self.portal)

    def send(
        self,
        path: str,
        *items: Any,
        headers: Headers | None = None,
        body: bytes | None = None,
        peer: str = HERE,
        secure: bool = True,
        query: str = "",
    ) -> Told:
        raw = json.dumps({"data": list(items)}).encode() if body is None else body
        request = Request("POST", path, dict(headers or {}), [raw], query=query, peer=peer, secure=secure)
        response = self.door.handle(request)
        return Told(response.status, response.headers, b"".join(response.body))

    # -- API 2.0

    def app(self, name: str = "works", *, role: str = "administrator", scopes: tuple[str, ...] = ()) -> apps.Secrets:
        with self.portal.write() as tx:
            return apps.add(self.portal, tx, name, role=role, scopes=scopes, content_view=True)[1]

    def token(self, client_id: str, client_secret: str, *, headers: Headers | None = None, **more: Any) -> Told:
        fields = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        body = urlencode({**fields, **more}).encode()
        return self.send(TOKEN, body=body, headers=headers)

    def bearer(self, keys: apps.Secrets) -> Headers:
        token = json.loads(self.token(keys.client_id, keys.client_secret).octets)["access_token"]
        return {"authorization": f"Bearer {token}"}

    # -- API 1.0

    def date(self, minutes: float = 0) -> str:
        moment = datetime.fromtimestamp(self.lab.time + minutes * 60, UTC)
        return format_datetime(moment).replace("+0000", "UTC")

    def signed(
        self, keys: Any, path: str, *, date: str | None = None, request_id: str | None = None, form: str = "MC {}:{}"
    ) -> Headers:
        """The four headers of mimecast-api-core 2.1."""
        date = self.date() if date is None else date
        request_id = request_id or str(uuid.uuid4())
        told = f"{date}:{request_id}:{path}:{keys.app_key}".encode()
        signature = base64.b64encode(hmac.new(base64.b64decode(keys.secret_key), told, hashlib.sha1).digest()).decode()
        return {
            "authorization": form.format(keys.access_key, signature),
            "x-mc-app-id": keys.app_id,
            "x-mc-date": date,
            "x-mc-req-id": request_id,
        }

    def built_in(self) -> tuple[str, str]:
        row = self.send(APP).row
        return row["appId"], row["appKey"]

    def log_in(
        self,
        address: str = ANN,
        password: str = RIGHT,
        *,
        scheme: str = "Basic-Cloud",
        app_id: str | None = None,
        peer: str = HERE,
        secure: bool = True,
        username: str | None = None,
        **more: Any,
    ) -> Told:
        encoded = base64.b64encode(f"{address}:{password}".encode()).decode()
        headers = {
            "authorization": f"{scheme} {encoded}",
            "x-mc-app-id": self.built_in()[0] if app_id is None else app_id,
        }
        item = {"username": address if username is None else username, **more}
        return self.send(LOGIN, item, headers=headers, peer=peer, secure=secure)

    def bound(self, address: str = ANN, password: str = RIGHT, **options: Any) -> apps.Secrets:
        """A log-in that must work, as the keys to sign with."""
        row = self.log_in(address, password, **options).row
        return apps.Secrets("", "", *self.built_in(), row["accessKey"], row["secretKey"])

    # -- whoever runs the portal

    def person(self, address: str = ANN, password: str = RIGHT, *, login: str = "cloud") -> None:
        """Somebody with a password, set as they would set it themselves."""
        with self.portal.write() as tx:
            people.add(tx, address, login="cloud", domains=("example.com",), now=0)
            caller = people.caller_of(tx, address, "test")
        body = json.dumps({"data": [{"newPassword": password}]}).encode()
        response = self.door.handle(Request("POST", PASSWORD, {}, [body]), caller)
        assert response.status == 200, b"".join(response.body)
        with self.portal.write() as tx:
            people.add(tx, address, login=login, domains=("example.com",), now=0)

    def reset(self, address: str = ANN) -> str:
        with self.portal.write() as tx:
            return people.reset(tx, self.number(tx, address), self.portal.clock.machine())

    def disable(self, address: str = ANN, *, disabled: bool = True) -> None:
        with self.portal.write() as tx:
            people.disable(tx, self.number(tx, address), disabled)

    def number(self, tx: Any, address: str) -> int:
        person = people.find(tx, address)
        assert person is not None
        return int(person.id)  # type: ignore[call-overload, no-any-return]


@contextmanager
def stranger_at(lab: Lab) -> Iterator[Stranger]:
    stranger = Stranger(lab)
    try:
        yield stranger
    finally:
        stranger.portal.close()


def flat(told: Told) -> tuple[int, str]:
    """Status and code of a refusal as the gateway of API 2.0 tells it: no envelope around it."""
    document = json.loads(told.octets)
    assert list(document) == ["fail"]
    (failure,) = document["fail"]
    assert sorted(failure) == ["code", "message"]
    return told.status, failure["code"]
