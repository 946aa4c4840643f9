"""A stranger's client: JSON in and out through the door of a portal, as any of its people, by no model of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from conftest import ADMIN, ANN, Lab
from mimeportal.wire import Request
from mimeportal_server import people
from mimeportal_server.door import Door
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal

LIST, SUMMARY = "/api/gateway/get-hold-message-list", "/api/gateway/get-hold-summary-list"
RELEASE, REJECT = "/api/gateway/hold-release", "/api/gateway/hold-reject"
LOG = "/api/gateway/get-held-release-logs"
DETAIL, FILE = "/api/gateway/message/get-message-detail", "/api/gateway/message/get-file"
PERMIT_OR_BLOCK = "/api/managedsender/permit-or-block-sender"
ACCOUNT, WHOAMI = "/api/account/get-account", "/api/portal/account/whoami"
FIND, DECIDE, STATES = "/api/portal/holds/find", "/api/portal/holds/decide", "/api/portal/holds/states"
SENDERS, ADD, REMOVE = "/api/portal/senders/list", "/api/portal/senders/add", "/api/portal/senders/remove"
IMPORT, CHECK = "/api/portal/senders/import", "/api/portal/senders/check"
BULK_DELETE = "/email/cloud-gateway/v1/managed-senders/senders/bulk-delete"


@dataclass(frozen=True)
class Told:
    """One answer: status, headers, octets."""

    status: int
    headers: dict[str, str]
    octets: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        document = json.loads(self.octets)
        assert document["meta"]["status"] == self.status
        assert isinstance(document["data"], list)
        assert isinstance(document["fail"], list)
        return document

    @property
    def rows(self) -> list[Any]:
        assert self.json["fail"] == []
        rows: list[Any] = self.json["data"]
        return rows

    @property
    def row(self) -> Any:
        (row,) = self.rows
        return row

    @property
    def page(self) -> Any:
        return self.json["meta"]["pagination"]

    @property
    def errors(self) -> list[tuple[str, str]]:
        """Code and message of every failure."""
        return [(error["code"], error["message"]) for entry in self.json["fail"] for error in entry["errors"]]

    @property
    def code(self) -> str:
        """The code of the one failure; "" where the portal did what was asked."""
        if self.headers["content-type"] != "application/json" or not self.json["fail"]:
            return ""
        ((code, _),) = self.errors
        return code


class Asking:
    """The door of one lab. Its portal was opened at the lab's time: `reopened()` after the clock was set on."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.portal = Portal(Home.open(lab.path), wall=lambda: lab.time)
        self.door = Door(self.portal)
        self._callers: dict[str, people.Caller | None] = {}

    def reopened(self) -> Asking:
        self.close()
        return Asking(self.lab)

    def close(self) -> None:
        self.portal.close()

    def caller(self, by: str) -> people.Caller | None:
        with self.portal.database.read() as tx:
            return people.caller_of(tx, by, "test")

    def send(self, path: str, body: Any = b"", *, by: str = ADMIN, method: str = "POST") -> Told:
        """A whole body: octets, or JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = self.door.handle(Request(method, path, {}, [raw]), self.caller(by))
        return Told(response.status, response.headers, b"".join(response.body))

    def get(self, path: str, query: dict[str, str], *, by: str = ADMIN) -> Told:
        """A function that is asked by a query."""
        response = self.door.handle(Request("GET", path, {}, (), urlencode(query)), self.caller(by))
        return Told(response.status, response.headers, b"".join(response.body))

    def __call__(self, path: str, *items: Any, by: str = ADMIN, size: int | None = None, token: str = "") -> Told:
        """Some items, and a page."""
        block = {"pageSize": size} if size else {}
        meta = {"meta": {"pagination": {**block, "pageToken": token} if token else block}} if block or token else {}
        return self.send(path, {**meta, "data": list(items)}, by=by)

    def held(self, *, by: str = ADMIN, queue: str = "admin", **filters: Any) -> list[Any]:
        return self(FIND, {"queue": queue, **filters}, by=by, size=500).rows

    def one(self, **filters: Any) -> str:
        """The id of the one held message."""
        (row,) = self.held(**filters)
        return str(row["id"])

    def decide(self, id: str, decision: str = "release", *, by: str = ADMIN, **options: Any) -> Told:
        return self(DECIDE, {"id": id, "decision": decision, **options}, by=by)

    def lists(self, mailbox: str = ANN) -> dict[str, str]:
        """The sender lists of one mailbox: entry to list."""
        return {row["entry"]: row["list"] for row in self(SENDERS, {"mailbox": mailbox}, size=500).rows}

    def count(self, table: Any, *conditions: Any) -> int:
        from sqlalchemy import func, select

        with self.portal.database.read() as tx:
            return int(tx.scalar(select(func.count()).select_from(table).where(*conditions)) or 0)


@contextmanager
def asking(lab: Lab) -> Iterator[Asking]:
    ask = Asking(lab)
    try:
        yield ask
    finally:
        ask.close()
