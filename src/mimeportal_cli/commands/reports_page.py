"""`mimeportal reports page`: charts and tables of several reports on one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from mimeportal_cli.files import whole_file
from mimeportal_cli.options import Command, option, settings
from mimeportal_cli.reporting_days import Window, window_of


@click.command(cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@option("-w", "--write", metavar="FILE", required=True, type=click.Path(), help="The page; - is stdout.")
@option("--title", metavar="TEXT", help="What stands on top. Default: Reports, and the days.")
@window_of
def page(names: Sequence[str], write: str, title: str | None, window: Window) -> None:
    """Write several reports as one page of HTML: a chart and a table each. It can be printed, and read aloud.

    \b
      mimeportal reports page traffic held senders --since 2026-11-01 --until 2026-12-01 -w november.html
    """
    from mimeportal.reports import charts
    from mimeportal.reports.client import ReportsClient
    from mimeportal_cli.opening import opened

    console = settings().console
    for name in names:
        charts.check(ReportsClient.of(name))
    with opened() as portal:
        today, days = window.of(portal)
        found = [
            charts.chart(
                name, list(portal.reports.by_name(name, since=days.start, until=days.end, zone=today.zone_name)), today
            )
            for name in dict.fromkeys(names)
        ]
    octets = charts.page(found, title or f"Reports, {days.told}")
    if write == "-":
        console.write_octets(octets)
        return
    with whole_file(write) as file:
        file.write(octets)
    console.note(f"Written to {write}.")


COMMANDS: tuple[Any, ...] = (page,)
