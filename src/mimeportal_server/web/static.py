"""What pages are made of besides their text: style and script, under the hash of their octets, to be kept for good."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mimeportal.wire import Response
from mimeportal_server.portal import Refused
from mimeportal_server.web.route import Route

if TYPE_CHECKING:
    from mimeportal_server.web.visit import Visit

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@cache
def _files() -> dict[str, tuple[str, bytes]]:
    """Name to hash and octets."""
    found = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}
    return {name: (hashlib.sha256(octets).hexdigest()[:16], octets) for name, octets in found.items()}


def url(name: str) -> str:
    """Where a file is; another content is another URL."""
    return f"/static/{_files()[name][0]}/{name}"


def _file(visit: Visit) -> Response:
    name = visit.parameters["name"]
    known, octets = _files().get(name, ("", b""))
    if not known or known != visit.parameters["hash"]:
        raise Refused("not_found", "There is no such page.", status=404)
    headers = {"cache-control": "public, max-age=31536000, immutable", "content-length": str(len(octets))}
    return visit.reply(200, {"content-type": _TYPES[Path(name).suffix], **headers}, octets)


ROUTES = [Route("GET", "/static/{hash}/{name}", _file)]
