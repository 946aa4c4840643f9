"""`mimeportal reports`: numbers per day and logs, shown or drawn; exporting them has a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.commands import reports_export, reports_page
from mimeportal_cli.options import Command, Group, option, settings
from mimeportal_cli.output import Output, Shape, output_options
from mimeportal_cli.reporting_days import Window, window_of

if TYPE_CHECKING:
    from mimeportal.reports.client import Calendar

_NONE = "Nothing of these days."

# report -> its help, and the columns of its rows as in mimeportal.reports.contract; a test compares them.
REPORTS: dict[str, tuple[str, Shape]] = {
    "secure-messages": (
        "Number and direction of secure messages per day.",
        Shape(("day", "direction", "processed", "delivered", "read", "recalled"), empty=_NONE),
    ),
    "traffic": (
        "Messages processed per day, by direction and outcome.",
        Shape(("day", "direction", "processed", "held", "blocked", "rejected", "delivered", "bounced"), empty=_NONE),
    ),
    "held": (
        "Held, released, rejected and expired messages per day and reason; who decided, and how fast.",
        Shape(
            (
                "day",
                "reason",
                "held",
                "released",
                "rejected",
                "expired",
                "by_recipient",
                "by_others",
                "seconds_to_decision",
            ),
            empty=_NONE,
        ),
    ),
    "releases": (
        "The release log: every message that left the hold queue.",
        Shape(
            (
                "released",
                "status",
                "operator",
                "from_address",
                "from_header",
                "to_address",
                "subject",
                "route",
                "size",
                "has_attachments",
                "held_reason",
                "policy",
                "reject_reason",
                "received",
            ),
            table=("released", "status", "operator", "from_header", "to_address", "subject"),
            empty=_NONE,
        ),
    ),
    "rejections": (
        "Every message that was refused.",
        Shape(
            ("created", "type", "from_address", "to_address", "info", "remote_ip", "remote_host"),
            table=("created", "type", "from_address", "to_address", "info"),
            empty=_NONE,
        ),
    ),
    "senders": (
        "Whose mail was held most, and how it ended; how many people block or permit them.",
        Shape(("sender", "held", "released", "rejected", "expired", "blocked", "permitted"), empty=_NONE),
    ),
    "largefiles": (
        "Large files sent and downloaded per day, and whose access ends.",
        Shape(("day", "sent", "bytes", "downloaded", "expiring"), empty=_NONE),
    ),
    "logins": (
        "Log-ins per day, with success and without.",
        Shape(("day", "door", "succeeded", "failed"), empty=_NONE),
    ),
    "audit": (
        "Who did what, and when.",
        Shape(
            ("time", "user", "action", "category", "outcome", "door", "object", "info"),
            table=("time", "user", "action", "outcome", "info"),
            empty=_NONE,
        ),
    ),
    "queues": (
        "How many messages waited to be delivered, hour by hour.",
        Shape(("date", "direction", "count"), empty=_NONE),
    ),
}
# Reports whose numbers can be followed to rows, and those that make a chart; as in the SDK, a test compares them.
COUNTED = ("secure-messages", "traffic", "held", "senders", "largefiles", "logins")
CHARTED = ("secure-messages", "traffic", "held", "senders", "largefiles", "logins")
COUNTED_ROWS = Shape(
    ("at", "event", "part", "from_address", "from_header", "to_address", "subject", "actor", "seconds"),
    table=("at", "event", "part", "from_header", "to_address", "actor", "subject"),
    empty=_NONE,
)
LIST = Shape(("name", "title", "columns", "offered"), table=("name", "title", "offered"))


@click.group(cls=Group)
def reports() -> None:
    """Numbers per day and logs: shown, drawn, exported."""


@reports.command("list")
@output_options(LIST, limit=False)
def list_(output: Output) -> None:
    """List the reports, and which of them this portal offers."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        offered = portal.reports.offered()
        output.rows(
            {"name": name, "title": text, "columns": list(shape.names), "offered": name in offered}
            for name, (text, shape) in REPORTS.items()
        )


_CHART = option(
    "--chart", metavar="FILE", type=click.Path(), help="Draw it: FILE.png, .svg or .html; - draws on the terminal."
)
_ROWS = option("--rows", is_flag=True, help="Not the numbers, but each thing that they count.")


# -- show ------------------------------------------------------------------------------------------------------------


@reports.group(cls=Group)
def show() -> None:
    """Show one report; of the last seven days and today unless told otherwise."""


def _show(name: str, output: Output, window: Window, chart: str | None = None, rows: bool = False) -> None:
    from mimeportal_cli.opening import opened

    output.shape = COUNTED_ROWS if rows else REPORTS[name][1]
    output.columns = output.shape.chosen(",".join(output.columns)) if output.columns else None
    if rows and chart:
        from mimeportal.errors import UsageError

        raise UsageError("--rows are no numbers to draw.", remedy="Leave out --rows, or --chart.")
    with opened() as portal:
        today, days = window.of(portal)
        if rows:
            _with_times(output, today)
            output.rows(portal.reports.rows(name, since=days.start, until=days.end))
            return
        found = portal.reports.by_name(name, since=days.start, until=days.end, zone=today.zone_name)
        if chart is not None:
            _draw(name, list(found), chart, output, today)
            return
        _with_times(output, today)
        output.rows(found)


def _with_times(output: Output, today: Calendar) -> None:
    """Moments of a table in the zone of the days; a sender's two addresses where they differ."""
    if output.format != "table":
        return
    from mimeportal_cli.formats import plain
    from mimeportal_cli.telling import both_senders, short_reason
    from mimeportal_cli.times import short

    def cell(value: Any, _: Any, __: Any) -> str:
        return short(value, today.zone) if isinstance(value, datetime) else plain(value)

    shape = output.shape
    cells: dict[str, Callable[[Any, Any, Sequence[str]], str]] = {
        name: cell for name in ("at", "time", "released", "created", "received", "date") if name in shape.names
    }
    for name in ("reason", "part"):
        if name in shape.names:
            cells[name] = short_reason
    if {"from_header", "from_address"} <= set(shape.names):
        cells["from_header"] = both_senders
    output.shape = Shape(shape.names, table=shape.table, empty=shape.empty, cells=cells)


def _draw(name: str, rows: Sequence[Any], path: str, output: Output, today: Calendar) -> None:
    from mimeportal.reports import charts

    chart = charts.chart(name, rows, today)
    if path == "-":
        from mimeportal_cli import bars

        console = settings().console
        console.write(bars.drawn(chart, console.width if output.on_terminal else 80, console.colours))
        return
    from mimeportal_cli.files import whole_file

    octets = charts.drawn(chart, path)
    with whole_file(path) as file:
        file.write(octets)
    settings().console.note(f"Written to {path}.")


def _command(name: str, text: str, shape: Shape) -> Command:
    """`reports show NAME`, with the options that go with it."""

    def function(**values: Any) -> None:
        _show(name, **values)

    # Which columns there are depends on --rows, and is looked at when that is known.
    either = Shape(tuple(dict.fromkeys((*shape.names, *COUNTED_ROWS.names)))) if name in COUNTED else shape
    decorated: Any = output_options(either)(function)
    decorated = window_of(decorated)
    if name in COUNTED:
        decorated = _ROWS(decorated)
    if name in CHARTED:
        decorated = _CHART(decorated)
    return click.command(name, cls=Command, help=text)(decorated)


for _name, (_text, _shape) in REPORTS.items():
    show.add_command(_command(_name, _text, _shape))
for _added in (*reports_page.COMMANDS, *reports_export.COMMANDS):
    reports.add_command(_added)
