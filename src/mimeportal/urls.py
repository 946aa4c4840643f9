"""What the URL of a portal, or of a proxy, may look like: its one form, and no secret on its way in the open."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from mimeportal.errors import UsageError

LOCAL = "local:"


def portal_url(text: str) -> str:
    """The URL of a portal in its one form: `local:DIR`, or scheme, host and port alone.

    Raises `UsageError` for anything else, and for http to another machine: secrets would travel in the open
    (promises E.5).
    """
    if text.startswith(LOCAL) and text != LOCAL:
        return text
    scheme, host, port = _parts(text)
    if not host or scheme not in ("http", "https"):
        # What has a name or a password in it is not shown.
        shown = "one with a name or a password in it" if "@" in text else repr(text)
        raise UsageError(f"Not the URL of a portal: {shown}.", remedy="Write https://HOST, or local:DIR.")
    if scheme == "http" and not is_loopback(host):
        raise UsageError(
            f"Plain http to another machine is refused: {text!r}.",
            why="Secrets and mail would travel in the open; http reaches this machine alone.",
            remedy=f"Write https://{host}.",
        )
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{port}" if port else f"{scheme}://{host}"


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_proxy(text: str) -> None:
    """Raise `UsageError` unless this is the URL of a proxy without a password in it."""
    scheme, host, _ = _parts(text)
    if not host or scheme not in ("http", "https"):
        raise UsageError(
            "Not the URL of a proxy, or one with a password in it.",
            why="A profile holds no secrets.",
            remedy="Write http://HOST:PORT; a proxy with a password goes into HTTPS_PROXY.",
        )


def _parts(text: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL that has nothing else; no host where there is more, or where it is none."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "", "", None
    more = "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment
    host = parts.hostname or ""
    none = more or not text.isprintable() or " " in text or not _is_host(host)
    return parts.scheme, "" if none else host, port


def _is_host(host: str) -> bool:
    """Whether a name or an address can be asked for at all: what no library takes is told before anything is sent."""
    try:
        return bool(ip_address(host))
    except ValueError:
        pass
    try:
        name = host.encode("idna").decode()
    except UnicodeError:  # an empty or too long part
        return False
    return re.fullmatch(r"\w([\w.-]*\w)?\.?", name, re.ASCII) is not None
