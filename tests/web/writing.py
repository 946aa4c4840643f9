"""Secure messages for tests: sent by the portal's people, by the operations alone, and looked at on their pages."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from asking import Told
from browsing import Shown, Visitor, links_in, set_password, written_to
from conftest import ANN
from mimeportal.wire import ARGUMENT, Request
from mimeportal_server import people as persons
from mimeportal_server.door import Door
from mimeportal_server.store.schema import deliveries
from served import Served

CLIENT, OTHER = "client@elsewhere.example", "other@elsewhere.example"
PASSWORD = "Correct-horse-7"
SEND, LIST, RECALL = "/api/portal/secure/send", "/api/portal/secure/list", "/api/portal/secure/recall"
LOG, EXPIRE = "/api/portal/secure/log", "/api/portal/secure/expire"


@dataclass
class Office:
    """The account's people at work, beside the browsers of those outside."""

    served: Served

    def __post_init__(self) -> None:
        self.door = Door(self.served.lab.server)

    def ask(self, path: str, *items: Any, by: str = ANN, octets: bytes | None = None) -> Told:
        with self.served.lab.server.database.read() as tx:
            caller = persons.caller_of(tx, by, "test")
        document = json.dumps({"data": list(items)})
        headers = {} if octets is None else {ARGUMENT: document}
        body = document.encode() if octets is None else octets
        response = self.door.handle(Request("POST", path, headers, [body]), caller)
        return Told(response.status, response.headers, b"".join(response.body))

    def send(self, to: str = CLIENT, subject: str = "Your contract", text: str = "Please sign.\n", **more: Any) -> str:
        """The id of a message that is sent to some addresses."""
        files = more.pop("files", {})
        by = more.pop("by", ANN)
        attachments = [{"id": self.upload(octets, by=by), "filename": name} for name, octets in files.items()]
        item = {
            "requestId": str(uuid.uuid4()),
            "to": [{"emailAddress": address} for address in to.split()],
            "subject": subject,
            "text": text,
            **more,
        }
        return str(self.ask(SEND, {**item, "attachments": attachments}, by=by).row["id"])

    def upload(self, octets: bytes, *, by: str = ANN) -> str:
        item = {"sha256": hashlib.sha256(octets).hexdigest(), "fileSize": len(octets)}
        return str(self.ask("/api/file/file-upload", item, by=by, octets=octets).row["id"])

    def link(self, address: str = CLIENT) -> str:
        """The path of the link in the last notification to somebody."""
        return links_in(written_to(self.served.lab, address)[-1])[0]

    def visitor(self, address: str = CLIENT) -> Visitor:
        """Somebody outside who made their password by the link in their mail, and is logged in."""
        visitor = Visitor(self.served)
        page = visitor.follow(self.link(address))
        (action,) = page.actions()
        assert visitor.new_password(page, action, PASSWORD).status == 200
        assert visitor.log_in(address, PASSWORD).status == 303
        return visitor


# One pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


# -- pages ---------------------------------------------------------------------------------------------------------


def heading(shown: Shown) -> str:
    match = re.search(r"<h1[^>]*>(.*?)</h1>", shown.text, re.DOTALL)
    assert match is not None
    return match[1].strip()


def alert(shown: Shown) -> str:
    match = re.search(r'role="alert"[^>]*>([^<]*)<', shown.text)
    return match[1].strip() if match else ""


def page_id(page: Shown) -> str:
    """The id of the message that a page shows."""
    return re.findall(r'action="/secure/messages/([^/]+)/mark"', page.text)[0]


def page_of(id: str, act: str = "") -> str:
    return f"/secure/messages/{id}{act}"


def body_of(visitor: Visitor, page: Shown) -> Shown:
    """The frame of a message."""
    (source,) = re.findall(r'<iframe[^>]*src="([^"]*)"', page.text, re.DOTALL)
    return visitor.ask(source.replace("&amp;", "&"))


def multipart(fields: dict[str, str], files: dict[str, bytes]) -> tuple[bytes, dict[str, str]]:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, octets in files.items():
        head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        parts += [head.encode(), b"Content-Type: application/octet-stream\r\n\r\n", octets, b"\r\n"]
    return b"".join([*parts, b"--x--\r\n"]), {"Content-Type": "multipart/form-data; boundary=x"}


def inside(office: Office, address: str = ANN) -> Visitor:
    """One of the account's people, logged in."""
    set_password(office.served.lab, address, PASSWORD)
    visitor = Visitor(office.served)
    assert visitor.log_in(address, PASSWORD).status == 303
    return visitor


def compose(visitor: Visitor, page: Shown, **fields: str) -> Shown:
    return visitor.submit(page, "/secure/compose", **{"step": "options", "cc": "", **fields})


def undelivered(office: Office) -> bool:
    with office.served.lab.server.database.read() as tx:
        return tx.scalar(select(deliveries.c.id).where(deliveries.c.finished.is_(None)).limit(1)) is not None
