"""A stranger's way of sending large files: JSON and octets through the door of a portal, by no model of ours."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
import zlib
from dataclasses import dataclass
from email import message_from_bytes, policy
from typing import Any

from asking import Asking, Told
from conftest import ANN, Lab
from mimeportal.wire import Request

PATH = "/api/portal/largefiles"
CHUNK = 4 * 1024 * 1024
OUT = "out@elsewhere.example"


def sha256(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


def described(contents: dict[str, bytes], /, **more: Any) -> dict[str, Any]:
    """An item of largefiles.create."""
    named = [{"name": name, "size": len(octets)} for name, octets in contents.items()]
    item = {"requestId": str(uuid.uuid4()), "to": [OUT], "subject": "Plans", "body": "Here they are.", "files": named}
    return {**item, **more}


@dataclass(frozen=True)
class Sending:
    """What somebody sends, as far as they have come."""

    ask: Asking
    by: str
    row: Any
    files: dict[str, bytes]

    @property
    def id(self) -> str:
        return str(self.row["id"])

    def file(self, index: int = 0) -> str:
        return str(self.row["files"][index]["id"])

    def chunk(self, file: str, index: int, octets: bytes, *, crc32: int | None = None, by: str = "") -> Told:
        told = zlib.crc32(octets) if crc32 is None else crc32
        return chunk(self.ask, {"file": file, "index": index, "crc32": told}, octets, by or self.by)

    def upload(self) -> None:
        """Every chunk of every file, and each file checked."""
        for file, octets in zip(self.row["files"], self.files.values(), strict=True):
            for index in range(-(-len(octets) // CHUNK)):
                assert self.chunk(file["id"], index, octets[index * CHUNK : (index + 1) * CHUNK]).rows
            assert self.do("check", file=file["id"], sha256=sha256(octets)).rows

    def do(self, act: str, *, by: str = "", **item: Any) -> Told:
        """An operation on the send, or on the file that is named."""
        named = item if "file" in item else {"id": self.id, **item}
        return self.ask(f"{PATH}/{act}", named, by=by or self.by)

    def shown(self, *, by: str = "") -> Any:
        return self.do("show", by=by).row


def chunk(ask: Asking, item: dict[str, Any], octets: bytes, by: str) -> Told:
    """largefiles.chunk: the item in a header, the octets as the body."""
    headers = {"x-mc-arg": json.dumps({"data": [item]})}
    response = ask.door.handle(Request("POST", f"{PATH}/chunk", headers, [octets]), ask.caller(by))
    return Told(response.status, response.headers, b"".join(response.body))


def begin(ask: Asking, files: dict[str, bytes], *, by: str = ANN, **more: Any) -> Sending:
    row = ask(f"{PATH}/create", described(files, **more), by=by).row
    return Sending(ask, by, row, files)


def sent(ask: Asking, files: dict[str, bytes], *, by: str = ANN, **more: Any) -> Sending:
    """A send that has reached its recipients."""
    sending = begin(ask, files, by=by, **more)
    sending.upload()
    assert sending.do("finish").row["outcome"] == "done"
    return sending


def mails(lab: Lab) -> list[Any]:
    """What was delivered, oldest first."""
    paths = sorted(lab.outgoing(), key=lambda path: path.stat().st_mtime_ns)
    return [message_from_bytes(path.read_bytes(), policy=policy.default) for path in paths]


def links(lab: Lab) -> list[str]:
    """The paths of the links in the notifications, in the order in which they were delivered."""
    found = [re.search(r"https?://[^/\s]+(/largefiles/link/\S+)", mail.get_content()) for mail in mails(lab)]
    return [match[1] for match in found if match]
