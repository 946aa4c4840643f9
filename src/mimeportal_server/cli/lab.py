"""`mimeportal-server lab`: the time of a home that was made for tests."""

from __future__ import annotations

import click

from mimeportal_cli.options import settings
from mimeportal_server.cli.main import _home, _portal, main


@main.group()
def lab() -> None:
    """A home made for tests with `init --lab`."""


@lab.group()
def clock() -> None:
    """The portal's time. Signatures and tokens go by the machine's clock alone."""


@clock.command("set")
@click.argument("time", metavar="TIME")
@_home
def clock_set(time: str, home: str) -> None:
    """Make it another time, which then goes on.

    It holds at once for every process that has the home open.

    \b
    Example:
      mimeportal-server lab clock set 2027-01-31T09:00:00Z --home home
    """
    from mimeportal_server import lab

    with _portal(home) as portal:
        lab.set_time(portal, time)
        _tell(portal.clock.now())


@clock.command("advance")
@click.argument("amount", metavar="15d|24h|90m|30s")
@_home
def clock_advance(amount: str, home: str) -> None:
    """Move the time on."""
    from mimeportal_server import lab

    with _portal(home) as portal:
        lab.advance(portal, amount)
        _tell(portal.clock.now())


def _tell(now: int) -> None:
    from mimeportal_server.clock import iso

    settings().console.note(f"At this portal it is {iso(now)}.")
