"""Literal requests and answers of Mimecast's wire, and a transport that answers with them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from conftest import ADMIN
from mimeportal.wire import Request, Response

LITERALS = Path(__file__).parent / "literals"
MIMECAST_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000")


def literal(name: str, **placeholders: str) -> dict[str, Any]:
    """A literal, with real ids in the places of its placeholders."""
    text = (LITERALS / f"{name}.json").read_text("utf-8")
    for placeholder, value in placeholders.items():
        text = text.replace(f"@{placeholder}@", value)
    document: dict[str, Any] = json.loads(text)
    return document


class Recorded:
    """A transport that answers with literals, and keeps what was sent."""

    url = "https://api.services.mimecast.com"
    user: str | None = ADMIN
    parallel = 1

    def __init__(self, *names: str, api: str = "api2", **placeholders: str) -> None:
        self.api: Any = api
        self.answers = {(found := literal(name, **placeholders))["path"]: found for name in names}
        self.sent: list[tuple[str, str, Any]] = []
        self.headers: dict[str, dict[str, str]] = {}

    def send(self, request: Request) -> Response:
        body = b"".join(request.body)
        kind = request.headers["content-type"]
        if kind == "application/octet-stream":
            document = {"argument": json.loads(request.headers["x-mc-arg"]), "octets": body.decode()}
        else:
            document = dict(parse_qsl(body.decode())) if "form" in kind else json.loads(body)
        self.sent.append((request.method, request.path, document))
        self.headers[request.path] = request.headers
        answer = self.answers[request.path]
        if "answer_octets" in answer:
            octets = answer["answer_octets"].encode()
            return Response(200, {"content-type": "application/octet-stream"}, iter([octets[:5], octets[5:]]))
        body = json.dumps(answer["answer"]).encode()
        return Response(
            answer.get("status", 200), {"content-type": "application/json", "x-request-id": "r-1"}, iter([body])
        )

    def close(self) -> None:
        pass

    def asked(self, name: str, **placeholders: str) -> None:
        """Exactly this literal request was sent, once, to its path."""
        wanted = literal(name, **placeholders)
        found = [(method, body) for method, path, body in self.sent if path == wanted["path"]]
        assert found == [("POST", wanted["request"])]


def without(document: Any, names: tuple[str, ...]) -> Any:
    """JSON without some keys, wherever they stand."""
    if isinstance(document, dict):
        return {key: without(value, names) for key, value in document.items() if key not in names}
    return [without(value, names) for value in document] if isinstance(document, list) else document


def assert_same_shape(answer: Any, wanted: Any, where: str = "answer") -> None:
    """The same keys and JSON types; dates, ids and cases in the form of the literal. Values are the portal's."""
    assert type(answer) is type(wanted), where
    if isinstance(wanted, dict):
        assert answer.keys() == wanted.keys(), where
        for key, value in wanted.items():
            assert_same_shape(answer[key], value, f"{where}.{key}")
    elif isinstance(wanted, list):
        assert bool(answer) == bool(wanted), where
        for entry in answer:
            assert_same_shape(entry, wanted[0], f"{where}[]")
    elif isinstance(wanted, str):
        for form in (MIMECAST_DATE, re.compile(r"eN[\w-]+"), re.compile(r"MTOKEN:eN[\w-]+"), re.compile("[A-Z]+")):
            if form.fullmatch(wanted):
                assert form.fullmatch(answer), (where, answer)
