"""Reports as pictures: bars per day, the total on top and the numbers along the bottom, as the guide describes.

png and svg are drawn with matplotlib; a page of HTML holds several charts and their tables and needs nothing else.
Bars are told apart by colour and by hatching, and every chart says in words what it shows.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from html import escape
from typing import Any

from mimeportal.errors import ConfigurationError, UsageError
from mimeportal.reports import contract
from mimeportal.reports.client import Calendar
from mimeportal.untrusted import visible
from mimeportal.wire import Row

KINDS = ("png", "svg", "html")

_DAILY = 35  # days that have bars of their own; more are drawn week by week
_LARGEST = 15  # senders, where bars are no days
# Colours that stay apart for every kind of colour blindness (Okabe and Ito), and hatches for print without any.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
_HATCHES = ("", "///", "---", "xxx")


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn: one bar for each of `labels` in each of `series`.

    `numbers` stand along the bottom, one with each label, and are of the column `below`; `total` is the sum of the
    column `counted`, on top. `rows` and `columns` are the table below, and `caption` says what those rows are: the
    picture may show weeks of them, or the largest.
    """

    title: str
    subtitle: str
    total: int
    counted: str
    labels: tuple[str, ...]
    below: str
    numbers: tuple[int, ...]
    series: dict[str, tuple[int, ...]]
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    caption: str

    @property
    def summary(self) -> str:
        """The chart in words."""
        sums = ", ".join(f"{sum(values):,} {name}" for name, values in self.series.items())
        return f"{self.title}, {self.subtitle}: {self.total:,} {self.counted} in all; {sums}."


def check(report: contract.Report) -> None:
    """Raise `UsageError` for a report without numbers to draw."""
    if not report.chart:
        charted = [name for name, known in contract.REPORTS.items() if known.chart]
        raise UsageError(
            f"The report {report.name} has no numbers to draw.",
            why=f"These have: {', '.join(charted)}.",
            remedy="Show it as a table, or export it.",
        )


def chart(name: str, rows: Sequence[Row], today: Calendar) -> Chart:
    """The chart of a report's rows. Raises `UsageError` for a report without numbers to draw."""
    report = contract.REPORTS[name]
    check(report)
    zone = today.zone_name
    columns = report.columns
    table = tuple(tuple(getattr(row, column) for column in columns) for row in rows)
    if "day" in columns:
        labels, sums, weekly = _by_day(report, rows)
        caption = _span(rows, zone)
        subtitle = f"{caption}, each bar a week from Monday on" if weekly else caption
    else:
        most = [(_text(getattr(row, columns[0])), row) for row in rows[:_LARGEST]]
        labels = [label for label, _ in most]
        sums = {column: [getattr(row, column) or 0 for _, row in most] for column in report.chart}
        caption = f"{len(rows)} in all"
        subtitle = f"the {len(labels)} with most of {len(rows)}" if len(rows) > _LARGEST else caption
    series = {column: tuple(values) for column, values in sums.items()}
    total = sum(getattr(row, report.total) or 0 for row in rows)
    below = report.chart[0]
    return Chart(
        title=report.title,
        subtitle=subtitle,
        total=total,
        counted=report.total,
        labels=tuple(labels),
        below=below,
        numbers=series[below],
        series=series,
        columns=columns,
        rows=table,
        caption=caption,
    )


def _by_day(report: contract.Report, rows: Sequence[Any]) -> tuple[list[str], dict[str, list[int]], bool]:
    """Labels and sums, for each day or, where there are too many, each week from its Monday on; whether it is weeks."""
    days = sorted({row.day for row in rows})
    weekly = len(days) > _DAILY
    bars = sorted({_monday(day) for day in days}) if weekly else days
    place = {bar: number for number, bar in enumerate(bars)}
    sums = {column: [0] * len(bars) for column in report.chart}
    for row in rows:
        for column in report.chart:
            sums[column][place[_monday(row.day) if weekly else row.day]] += getattr(row, column) or 0
    return [bar.isoformat() for bar in bars], sums, weekly


def _span(rows: Sequence[Any], zone: str) -> str:
    return f"{rows[0].day} to {rows[-1].day} ({zone})" if rows else zone


def _monday(day: date) -> date:
    return day - timedelta(day.weekday())


def drawn(chart: Chart, path: str) -> bytes:
    """The chart in the format that a file's name ends with. Raises `UsageError` for another."""
    kind = os.path.splitext(path)[1].lstrip(".").lower()
    if kind not in KINDS:
        raise UsageError(f"{path} names no format of a chart.", remedy="Let it end with .png, .svg or .html.")
    return page([chart]) if kind == "html" else picture(chart, kind)


def picture(chart: Chart, kind: str) -> bytes:
    """png or svg; equal charts make equal octets. Raises `ConfigurationError` without matplotlib."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigurationError(
            "Charts need matplotlib, which is not installed.", remedy="Install it: pip install 'mimeportal[charts]'."
        ) from None
    count = max(1, len(chart.labels))
    own: Any = {
        "svg.hashsalt": "mimeportal",
        "svg.fonttype": "none",
        "hatch.linewidth": 0.6,
        "font.family": "DejaVu Sans",
    }
    with mpl.rc_context(own):
        width = min(15.0, max(8.0, 1.5 + count * (0.16 + 0.1 * len(chart.series))))
        figure = Figure(figsize=(width, 5.0), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _bars(axes, chart)
        figure.suptitle(
            f"{_plain(chart.title)}: {chart.total:,} {_plain(chart.counted)} in all", fontsize=14, x=0.01, ha="left"
        )
        # Above the legend: beside it, a long one would run into it.
        axes.set_title(_plain(chart.subtitle), fontsize=10, color="#444444", loc="left", pad=24)
        octets = io.BytesIO()
        figure.savefig(octets, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return octets.getvalue()


def _bars(axes: Any, chart: Chart) -> None:
    from matplotlib.ticker import MaxNLocator

    places = range(len(chart.labels))
    width = 0.84 / max(1, len(chart.series))
    for number, (name, values) in enumerate(chart.series.items()):
        left = [place - 0.42 + width * (number + 0.5) for place in places]
        look = {"color": _COLOURS[number % 4], "hatch": _HATCHES[number % 4], "edgecolor": "white", "linewidth": 0.0}
        axes.bar(left, values, width, label=_plain(name.replace("_", " ")), **look)
    slanted = len(chart.labels) > 10 or any(len(label) > 10 for label in chart.labels)
    between = "   " if slanted else "\n"
    labels = [f"{_plain(_short(label))}{between}{count:,}" for label, count in _pairs(chart)]
    axes.set_xticks(list(places), labels, rotation=90 if slanted else 0, fontsize=9)
    axes.set_xlim(-0.6, max(len(chart.labels), 1) - 0.4)
    axes.set_xlabel(f"below each: {_plain(chart.below)}", fontsize=9, color="#444444")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0, top=None if any(map(any, chart.series.values())) else 1)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(frameon=False, ncols=4, fontsize=9, loc="lower left", bbox_to_anchor=(-0.01, 1.0))


def _pairs(chart: Chart) -> Iterable[tuple[str, int]]:
    return zip(chart.labels, chart.numbers, strict=True)


def _short(label: str) -> str:
    return label if len(label) <= 40 else label[:39] + "…"


def _plain(text: str) -> str:
    """Text that matplotlib takes as it is: `$` would begin a formula."""
    return visible(text).replace("$", r"\$")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


# -- a page ----------------------------------------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto; max-width: 72rem;
  padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; text-wrap: balance; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .25rem; }
figure { margin: .5rem 0; } figure svg { width: 100%; height: auto; min-width: 46rem; }
figcaption { color: #444; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; min-width: 100%; }
caption { text-align: left; color: #444; padding: .25rem 0; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ccc; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th { border-bottom: 2px solid #555; } th, td:first-child { white-space: nowrap; }
@media print { body { max-width: none; padding: 0; font-size: 11px; } section { break-inside: avoid-page; }
  thead { display: table-header-group; } tr { break-inside: avoid; } figure svg { min-width: 0; } }
"""


def page(charts: Sequence[Chart], title: str = "") -> bytes:
    """One page of HTML with every chart and its table; it loads nothing from anywhere."""
    heading = title or (charts[0].title if len(charts) == 1 else "Reports")
    body = "".join(_section(chart, number) for number, chart in enumerate(charts, 1))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(heading)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(heading)}</h1>\n{body}</main>\n</body>\n</html>\n"
    ).encode()


def _section(chart: Chart, number: int) -> str:
    svg = picture(chart, "svg").decode()
    svg = svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-labelledby="c{number}"', 1)
    svg = _apart(svg, number)
    return (
        f"<section>\n<h2>{escape(chart.title)}</h2>\n<figure>\n"
        f'<div class="scroll" tabindex="0" role="region" aria-label="Chart: {escape(chart.title)}">\n{svg}</div>\n'
        f'<figcaption id="c{number}">{escape(visible(chart.summary))}</figcaption>\n</figure>\n'
        f"{_table(chart)}</section>\n"
    )


def _apart(svg: str, number: int) -> str:
    """The names inside one picture differ from those of the next on the page."""
    import re

    return re.sub(r'(\bid="|href="#|url\(#)(?!c\d)', rf"\g<1>p{number}-", svg)


def _table(chart: Chart) -> str:
    numeric = [all(value is None or _is_number(value) for value in column) for column in zip(*chart.rows, strict=True)]
    numeric = numeric or [False] * len(chart.columns)

    def cells(tag: str, values: Iterable[str], scope: str = "") -> str:
        return "".join(
            f"<{tag}{scope}{' class=number' if right else ''}>{escape(value)}</{tag}>"
            for value, right in zip(values, numeric, strict=True)
        )

    head = cells("th", (name.replace("_", " ") for name in chart.columns), ' scope="col"')
    lines = "".join(f"<tr>{cells('td', (visible(_text(value)) for value in row))}</tr>\n" for row in chart.rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(chart.title)}">\n<table>\n'
        f"<caption>{escape(visible(chart.caption))}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{lines}</tbody>\n</table>\n</div>\n"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
