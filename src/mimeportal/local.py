"""The only module that knows of the server: open a local portal inside this process, serve one, or create one."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from mimeportal.errors import ConfigurationError
from mimeportal.urls import LOCAL

if TYPE_CHECKING:
    from mimeportal.transport import Transport
    from mimeportal.wire import Api
    from mimeportal_server.bench import Bench as Bench
    from mimeportal_server.bench import Delivered as Delivered
    from mimeportal_server.serving import Server as Server


def open_transport(url: str, user: str | None, *, api: Api = "local", timeout: float | None = None) -> Transport:
    """The transport for `local:DIR`. `timeout` is how many seconds a portal in use is waited for.

    `api` restricts a local portal to what one Mimecast API offers, for tests.

    Raises `ConfigurationError` when the folder is no portal home, or no person is named.
    """
    if not user:
        raise ConfigurationError(
            "Whose portal? No person is named.",
            remedy="Set MIMEPORTAL_USER to the address of one of the portal's people.",
        )
    from mimeportal.profiles import from_home

    home = from_home(url.removeprefix(LOCAL))
    return cast("Transport", _server("embedded").EmbeddedTransport(home, user, api=api, timeout=timeout))


def serve(
    home: Path, *, http: tuple[str, int] | None = None, smtp: tuple[str, int] | None = None, lab: bool = False
) -> Server:
    """A server of a portal home, run in threads of this process by a `with` statement; port 0 takes a free one.

    `lab` also serves `/lab/`, in a home that was made for it. Raises `ConfigurationError` for what cannot be served.
    """
    return cast("Server", _server("serving").Server(home, http=http, smtp=smtp, lab=lab))


def make_demo(home: Path) -> int:
    """Make a portal home with people and mail of our own writing; how many messages are held in it.

    Raises `UsageError` when the folder is not empty.
    """
    return cast("int", _server("samples").make_home(home))


def make_bench(home: Path, domain: str) -> Bench:
    """Make a portal home for tests, and open it to set it up from inside this process."""
    return cast("Bench", _server("bench").Bench(home, domain))


def _server(name: str) -> ModuleType:
    try:
        return import_module(f"mimeportal_server.{name}")
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("mimeportal"):
            raise
        raise ConfigurationError(
            f"A local portal needs the package {missing.name}, which is not installed.",
            remedy="Install it with: pip install 'mimeportal[server]'",
        ) from None
