"""What a portal tells of itself over HTTP, unasked who asks: alive, ready, and its OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Callable

from mimeportal.errors import UnavailableError
from mimeportal_server.portal import Portal
from mimeportal_server.store.database import StoreError


def _alive(_: Portal) -> tuple[int, bytes]:
    return 200, b'{"alive":true}'


def _ready(portal: Portal) -> tuple[int, bytes]:
    """Whether the portal can do its work, in words; 503 when it cannot (promises F.2)."""
    told = {"database": "ok", "disk": "ok", "clock": "ok" if portal.clock.fault() is None else "not believed"}
    try:
        with portal.database.write():
            pass
    except StoreError as fault:
        told["database"] = "in use" if fault.passing else "unusable"
    try:
        portal.home.refuse_if_full()
    except UnavailableError:
        told["disk"] = "full"
    except OSError:
        told["disk"] = "unusable"
    ready = set(told.values()) == {"ok"}
    return 200 if ready else 503, json.dumps({"ready": ready, **told}, separators=(",", ":")).encode()


def _openapi(_: Portal) -> tuple[int, bytes]:
    from mimeportal_server import openapi

    return 200, openapi.encoded()


PAGES: dict[str, Callable[[Portal], tuple[int, bytes]]] = {
    "/livez": _alive,
    "/readyz": _ready,
    "/openapi.json": _openapi,
}
