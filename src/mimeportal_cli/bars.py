"""A chart on the terminal: one bar for each day or sender, its number beside it, the total on top."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mimeportal.reports.charts import Chart

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_COLOURS = (34, 33, 32, 35)
_SHORTEST = 10  # columns of a bar


def drawn(chart: Chart, width: int, colours: bool) -> str:
    """Lines of at most `width` columns."""
    from mimeportal.untrusted import visible

    names = list(chart.series)
    labels = [visible(label)[: max(10, width // 3)] for label in chart.labels]
    left = max(map(len, labels), default=0)
    most = max((max(values, default=0) for values in chart.series.values()), default=0)
    kinds = max(map(len, names))
    room = max(_SHORTEST, width - left - kinds - len(f"{most:,}") - 4)
    lines = [f"{visible(chart.title)}: {chart.total:,} {chart.counted} in all", visible(chart.subtitle), ""]
    for place, label in enumerate(labels):
        shown = False
        for number, name in enumerate(names):
            value = chart.series[name][place]
            if not value and (number or any(chart.series[other][place] for other in names)):
                continue
            bar = _bar(value, most, room)
            if colours:
                bar = f"\x1b[{_COLOURS[number % 4]}m{bar}\x1b[0m"
            lines.append(f"{'' if shown else label:<{left}} {name:<{kinds}} {bar} {value:,}".rstrip())
            shown = True
    return "\n".join(lines) + "\n"


def _bar(value: int, most: int, room: int) -> str:
    eighths = value * room * 8 // most if most else 0
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
