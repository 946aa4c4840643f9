"""`mimeportal reports export`: one file per report and day, for cron. Exit 6: try again; 3: a part is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.options import Command, option, settings
from mimeportal_cli.reporting_days import TZ, calendar_of

if TYPE_CHECKING:
    from datetime import date

    from mimeportal.reports.client import Calendar
    from mimeportal.reports.exporting import Exported

# As in mimeportal.reports.exporting; a test compares them.
FORMATS = ("csv", "jsonl", "json", "xlsx", "parquet")


@click.command(cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@option("--dir", "folder", metavar="DIR", required=True, type=click.Path(), help="Where the files are.")
@option(
    "--since",
    metavar="last|TIME",
    required=True,
    help="The first day: 7d, 2026-11-03; last: whatever no earlier run has done (at first 7 days).",
)
@option("--until", metavar="TIME", help="The day after the last one. Default: the first day that is not closed.")
@option("--format", "form", type=click.Choice(FORMATS), default="csv", show_default=True, help="Of the files.")
@option("--include-today", is_flag=True, help="Days that are not closed too; they are fetched again once they are.")
@option("--refresh", is_flag=True, help="Fetch again what an earlier run wrote.")
@TZ
def export(
    names: Sequence[str],
    folder: str,
    since: str,
    until: str | None,
    form: str,
    include_today: bool,
    refresh: bool,
    tz: str | None,
) -> None:
    """Export reports to files, one for each day: DIR/REPORT/2026-11-03.csv, beside a manifest of what is there.

    A file appears whole or not at all. A day closes two hours after its end; what is in the manifest is not fetched
    again. With a profile the files lie in DIR/PROFILE.

    \b
      mimeportal reports export held releases --dir reports --since last
    """
    from mimeportal.reports.exporting import LAST, Export
    from mimeportal_cli.opening import opened

    for name in names:
        _check(name)
    if not folder:
        from mimeportal.errors import UsageError

        raise UsageError("--dir names no folder.", remedy="Name one; . is the one that you are in.")
    with opened() as portal:
        today = calendar_of(portal, tz)
        plan = Export(
            since=LAST if since == LAST else _day(since, today, after=False),
            until=None if until is None else _day(until, today, after=True),
            format=form,
            include_today=include_today,
            refresh=refresh,
            profile=portal.profile,
            zone=today.zone_name,
        )
        done = portal.reports.export(names, Path(folder), plan, on_file=_tell)
    code = _end(done, names)
    if code:
        click.get_current_context().exit(code)


def _check(name: str) -> None:
    from mimeportal.reports.client import ReportsClient

    ReportsClient.of(name)


def _day(text: str, today: Calendar, *, after: bool) -> date:
    """The day of a time; `after`: the first day that begins no earlier than it."""
    from datetime import timedelta

    from mimeportal import days
    from mimeportal_cli.times import past_time

    moment = past_time(text, today.zone, today.now)
    day = days.day_of(moment, today.zone)
    return day + timedelta(1) if after and days.begin(day, today.zone) < moment else day


def _tell(what: Exported) -> None:
    """A line for each file that was written: its path on stdout, what is missing on stderr."""
    from mimeportal.untrusted import visible
    from mimeportal_cli.exits import tell

    console = settings().console
    if what.outcome == "written":
        console.write(f"{visible(str(what.path))}\n")
    elif what.outcome == "absent":
        console.warn(f"{what.report} {what.day}: absent. {what.why}")
    elif what.error is not None:
        console.warn(f"{what.report}: not exported, or not to its end.")
        tell(what.error, settings())


def _end(done: Sequence[Exported], names: Sequence[str]) -> int:
    """The totals on stderr, and the exit code."""
    from mimeportal.errors import UnavailableError
    from mimeportal_cli.exits import ExitCode, exit_code

    counts = Counter(what.outcome for what in done)
    rows = sum(what.rows for what in done if what.outcome == "written")
    open_days = sum(what.open for what in done)
    parts = [f"{counts['written']} files written ({rows:,} rows)", f"{counts['kept']} were there"]
    parts += [f"{open_days} of days that are not closed"] if open_days else []
    parts += [f"{counts[name]} {name}" for name in ("absent", "failed") if counts[name]]
    settings().console.note(", ".join(parts) + ".")
    errors = [what.error for what in done if what.error is not None]
    if any(isinstance(error, UnavailableError) for error in errors):
        return ExitCode.UNAVAILABLE
    if errors and len(errors) == len(set(names)):
        codes = {exit_code(error) for error in errors}
        return codes.pop() if len(codes) == 1 else ExitCode.SOME_FAILED
    return ExitCode.SOME_FAILED if errors or counts["absent"] else ExitCode.DONE


COMMANDS: tuple[Any, ...] = (export,)
