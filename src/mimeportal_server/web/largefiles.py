"""The pages of large files: what a recipient's link opens, its access key, and the files themselves."""

from __future__ import annotations

from urllib.parse import quote

from mimeportal.wire import Response
from mimeportal_server import largefile_access, ranges, tokens, told
from mimeportal_server.door import network_of
from mimeportal_server.largefile_access import KEY, LINK, PATH, Opened
from mimeportal_server.portal import Refused
from mimeportal_server.store.chunked import Slice
from mimeportal_server.web.route import Route
from mimeportal_server.web.visit import Visit


def _open(visit: Visit) -> Response:
    """Keep the link in a cookie and go where its secret is not in the path (promises E.2)."""
    secret = visit.parameters["secret"]
    if not _recipient(visit, secret):
        return _closed(visit)
    name = tokens.digest(secret)[:16]
    visit.keep(LINK, secret, name)
    return visit.go(f"{PATH}/of/{name}")


def _files(visit: Visit) -> Response:
    opened = _opened(visit)
    if opened is None:
        return _closed(visit)
    if not _knows_key(visit, opened):
        return visit.page("largefile_key.html", opened=opened, error="")
    return _page(visit, opened)


def _try_key(visit: Visit) -> Response:
    opened = _opened(visit)
    if opened is None:
        return _closed(visit)
    network = network_of(visit.request.peer)
    try:
        secret = largefile_access.try_key(visit.portal, opened, visit.form.get("key"), network)
    except Refused as refusal:
        return visit.page("largefile_key.html", refusal.status, opened=opened, error=str(refusal))
    if secret is None:
        sentence = "That is not the access key. Ask whoever sent you the files for it."
        return visit.page("largefile_key.html", 403, opened=opened, error=sentence)
    visit.keep(KEY, secret, visit.parameters["name"])
    return visit.go(f"{PATH}/of/{visit.parameters['name']}")


def _ask_for(visit: Visit) -> Response:
    """The button of a file: on to a URL that gives it."""
    opened = _opened(visit)
    if opened is None:
        return _closed(visit)
    if not _knows_key(visit, opened):
        return visit.go(f"{PATH}/of/{visit.parameters['name']}")
    number = visit.form.get("file")
    file = next((entry for entry in opened.files if str(entry.position) == number), None)
    if file is None:
        raise Refused("not_found", "There is no such file here.", status=404)
    return visit.go(f"{largefile_access.fetch_path(visit.portal, opened, file)}/{quote(file.name, safe='')}")


def _fetch(visit: Visit) -> Response:
    """The octets of a file, or a part of them: always put down, never shown."""
    found = largefile_access.fetched(visit.portal, visit.parameters["secret"])
    if found is None:
        return _closed(visit)
    file = found.file
    part = ranges.asked(visit.request.headers, file.size, file.sha256)
    headers = {
        **part.headers,
        "content-type": "application/octet-stream",
        "content-disposition": ranges.attachment(file.name),
        "content-security-policy": "default-src 'none'; sandbox",
    }
    if visit.request.method == "HEAD":
        return visit.reply(part.status, headers, Slice(visit.portal.home.large_files.path(file.id), 0, 0))
    return visit.reply(part.status, headers, largefile_access.slice_of(visit.portal, found, part.start, part.end))


# -- what a browser has shown ------------------------------------------------------------------------------


def _recipient(visit: Visit, secret: str) -> str:
    """The number of the recipient that a link is of; "" for what is no link, or not any more."""
    with visit.portal.database.read() as tx:
        granted = tokens.granted(tx, secret, LINK, now=visit.portal.clock.machine())
    return str(granted.object) if granted is not None else ""


def _opened(visit: Visit) -> Opened | None:
    """What the link that this browser keeps under the name in the path leads to."""
    recipient = _recipient(visit, visit.link(LINK, visit.parameters["name"]))
    return largefile_access.opened(visit.portal, recipient) if recipient else None


def _knows_key(visit: Visit, opened: Opened) -> bool:
    if not opened.send.access_key:
        return True
    with visit.portal.database.read() as tx:
        secret = visit.link(KEY, visit.parameters["name"])
        granted = tokens.granted(tx, secret, KEY, now=visit.portal.clock.machine())
    return granted is not None and granted.object == str(opened.recipient.id)


def _page(visit: Visit, opened: Opened) -> Response:
    settings = visit.portal.settings
    return visit.page("largefile.html", opened=opened, until=told.day(opened.send.expires, settings.time_zone))


def _closed(visit: Visit) -> Response:
    """One page for whatever is not open: to a stranger expired, cancelled and unknown are the same."""
    return visit.page("largefile_closed.html", 410)


_NAME = f"{PATH}/of/{{name}}"
ROUTES = [
    Route("GET", f"{PATH}/link/{{secret}}", _open),
    Route("GET", _NAME, _files),
    Route("POST", f"{_NAME}/key", _try_key),
    Route("POST", f"{_NAME}/fetch", _ask_for),
    Route("GET", f"{PATH}/fetch/{{secret}}/{{file}}", _fetch),
]
