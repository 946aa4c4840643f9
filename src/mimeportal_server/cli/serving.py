"""`mimeportal-server serve`: the portal over HTTP and SMTP, until it is told to end."""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import click

from mimeportal import limits
from mimeportal_cli.options import option, settings
from mimeportal_server.cli.main import _home, main

_ARENA_MAX = -8  # of glibc's malloc.h
_SWITCH = 0.001  # seconds
_FILES = limits.HTTP_CONNECTIONS + limits.SMTP_CONNECTIONS + 500  # open at once: of connections, and of the home


def _address(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """`HOST:PORT` as a pair; port 0 takes a free one."""
    if value is None:
        return None
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT.", context, parameter)
    return host.strip("[]"), int(port)


def _share_heaps() -> None:
    """Have all threads share two heaps, where the C library is glibc: what one has freed serves the others.

    With a heap each, 50 downloads at once took a fifth more memory, for octets that were in nobody's use.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)


@main.command()
@option("--http", callback=_address, metavar="HOST:PORT", help="Serve HTTP there, Mimecast's API and the portal's own.")
@option("--smtp", callback=_address, metavar="HOST:PORT", help="Take mail there. Neither: both, as in portal.toml.")
@option("--tls-cert", metavar="FILE", help="The certificate for both, PEM.")
@option("--tls-key", metavar="FILE", help="Its key, where that lies in another file.")
@option("--behind-proxy", is_flag=True, help="A proxy in front has TLS, and sends X-Forwarded-For and -Proto.")
@option("--lab", is_flag=True, help="Serve /lab/ too: faults, clock, reset. For a home made with `init --lab`.")
@_home
def serve(
    http: tuple[str, int] | None,
    smtp: tuple[str, int] | None,
    tls_cert: str | None,
    tls_key: str | None,
    behind_proxy: bool,
    lab: bool,
    home: str,
) -> None:
    """Serve a portal until Ctrl-C.

    Prints the command that points `mimeportal` at it. An address that other machines reach needs TLS.

    \b
    Example:
      mimeportal-server serve --home home --http 127.0.0.1:8025 --smtp 127.0.0.1:2525
    """
    from mimeportal_server import apps
    from mimeportal_server.home import Home
    from mimeportal_server.serving import Server

    console = settings().console
    opened = Home.open(Path(home))
    said = opened.settings
    opened.close()
    if http is None and smtp is None:
        http, smtp = said.http, said.smtp
    if tls_cert is None and tls_key is None:
        tls_cert, tls_key = (str(Path(home) / name) if name else None for name in (said.tls_cert, said.tls_key))

    # What waits for the interpreter gets it sooner: the loop of the sockets beside the threads that decide.
    sys.setswitchinterval(_SWITCH)
    # A system's default may be fewer than the connections that are let in: then strangers could shut everybody out.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        most = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    _share_heaps()
    ended = threading.Event()
    with ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: ended.set()))
        server = stack.enter_context(
            Server(
                Path(home),
                http=http,
                smtp=smtp,
                lab=lab,
                tls_cert=Path(tls_cert) if tls_cert else None,
                tls_key=Path(tls_key) if tls_key else None,
                behind_proxy=behind_proxy or said.behind_proxy,
                log=console.note,
            )
        )
        if server.http_url:
            app_id, app_key = apps.built_in(server.portal)
            console.note(f"HTTP on {server.http_url}")
            console.note(f"The app for people's log-ins: id {app_id}, key {app_key} (alone they grant nothing)")
        if smtp is not None:
            host, port = server.smtp_address
            console.note(f"SMTP on {host}:{port}")
        if server.http_url:
            console.write(f"mimeportal auth login --url {server.portal.settings.public_url} --person ADDRESS\n")
            console.flush()
        ended.wait()
        console.note("Ending.")
