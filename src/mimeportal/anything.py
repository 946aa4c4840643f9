"""Functions of the API that no row describes: any path, with our authentication, repeats and pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from mimeportal.codec import Outgoing, outgoing
from mimeportal.errors import UsageError
from mimeportal.paging import Tokens
from mimeportal.transport import Session
from mimeportal.wire import Endpoint, Item, JsonObject, Row, encode_request

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def is_safe(path: str, method: str | None = None) -> bool:
    """Whether a function only reads, by its method or its name (promises H)."""
    name = path.partition("?")[0].rstrip("/").rpartition("/")[2]
    return (method or "").upper() == "GET" or name.startswith(("get-", "find-")) or name == "search"


def method_of(path: str, data: Any = None, method: str | None = None) -> str:
    """The HTTP method of a call: POST under `/api/` and with a body, else GET, unless it is named."""
    return (method or ("POST" if path.startswith("/api/") or data is not None else "GET")).upper()


def call(
    session: Session,
    path: str,
    data: Any = None,
    *,
    method: str | None = None,
    page_size: int | None = None,
    page_token: str | None = None,
) -> JsonObject:
    """See `Portal.call`."""
    if not isinstance(path, str) or not path.startswith("/") or not path.isascii() or not path.isprintable():
        raise UsageError(f"Not a path: {path!r}.", remedy="Begin it with a slash: /api/account/get-account.")
    bare, _, query = path.partition("?")
    classic = bare.startswith("/api/")
    chosen = method_of(bare, data, method)
    if chosen not in METHODS:
        raise UsageError(f"There is no method {method!r}.", remedy=f"Use one of: {', '.join(METHODS)}.")
    body = b""
    if classic and chosen != "GET":
        body = encode_request(_items(data), page_size=page_size, page_token=page_token)
    else:
        asked = {"pageSize": page_size, "pageToken": page_token}
        paging = urlencode({name: value for name, value in asked.items() if value is not None})
        query = "&".join(filter(None, (query, paging)))
        body = json.dumps(data).encode() if data is not None else b""
    function: Endpoint[Item, Row] = Endpoint(
        bare, bare, Item, Row, {}, method=chosen, answer="object", repeat="safe" if is_safe(bare, chosen) else "never"
    )

    def request() -> Outgoing:
        return outgoing(function, body=body, query=query)

    return session.document(function, request)


def pages(
    session: Session, path: str, data: Any = None, *, method: str | None = None, page_size: int | None = None
) -> Iterator[JsonObject]:
    """See `Portal.pages`."""
    token: str | None = None
    tokens = Tokens()
    while True:
        document = call(session, path, data, method=method, page_size=page_size, page_token=token)
        yield document
        meta = document.get("meta")
        block = meta.get("pagination") if isinstance(meta, dict) else None
        following = block.get("next") if isinstance(block, dict) else None
        if not following:
            return
        token = tokens.follow(str(following))


def _items(data: Any) -> list[JsonObject]:
    items = data if isinstance(data, list) else [] if data is None else [data]
    if not all(isinstance(item, dict) for item in items):
        raise UsageError(
            f"Items are JSON objects, not {json.dumps(data, default=str)[:60]}.",
            remedy='Write one as {"admin": true}, or several in a list.',
        )
    return items
