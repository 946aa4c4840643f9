"""The only module that knows of the server: open a local portal inside this process, or create one."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from mimeportal.errors import ConfigurationError, NotOfferedError, UsageError

if TYPE_CHECKING:
    from mimeportal.transport import Transport
    from mimeportal.wire import Api
    from mimeportal_server.bench import Bench as Bench
    from mimeportal_server.bench import Delivered as Delivered
    from mimeportal_server.serving import Server as Server

PREFIX = "local:"
_LONGEST_WAIT = 86_400  # seconds


def open_transport(url: str, user: str | None, *, api: Api = "local", timeout: float | None = None) -> Transport:
    """The transport for a URL. `timeout` is how many seconds a portal in use is waited for.

    `api` restricts a local portal to what one Mimecast API offers, for tests.

    Raises `UsageError` for a timeout that is none, `ConfigurationError` when the folder is no portal home, or no
    person is named.
    """
    if not url.startswith(PREFIX):
        raise NotOfferedError(
            f"This version reaches portals inside this process only, not {url!r}.",
            why="A URL of the form local:DIR names the folder of a local portal.",
            remedy="Set MIMEPORTAL_URL=local:DIR, or make a portal with `mimeportal demo`.",
        )
    if not user:
        raise ConfigurationError(
            "Whose portal? No person is named.",
            remedy="Set MIMEPORTAL_USER to the address of one of the portal's people.",
        )
    if timeout is not None and not _is_timeout(timeout):
        raise UsageError(
            f"Not a timeout: {timeout!r}.", remedy=f"Give seconds, more than 0 and at most {_LONGEST_WAIT:,}."
        )
    home = Path(url.removeprefix(PREFIX)).expanduser()
    return cast("Transport", _server("embedded").EmbeddedTransport(home, user, api=api, timeout=timeout))


def _is_timeout(seconds: object) -> bool:
    # What is no number, as nan, compares with nothing.
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds <= _LONGEST_WAIT


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
