"""The days of a report, and the pages of many rows in which it is told: what every report has alike.

Logs come oldest first, so that what comes meanwhile shifts no page.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select

from mimeportal import days, limits
from mimeportal.reports import contract
from mimeportal_server import counting
from mimeportal_server.asked import administrators_only, not_allowed
from mimeportal_server.clock import iso, milliseconds
from mimeportal_server.portal import Answer, Call, Portal

Values = list[Any]
# Where a row stands: when, which of several sources, and its number there.
Place = tuple[int, int, int]
PlacedIn = Iterable[tuple[Place, Values]]


@dataclass(frozen=True, slots=True)
class Window:
    """The days that are asked for, and the instants at which they begin and end, in milliseconds."""

    portal: Portal
    start: date
    end: date

    @property
    def since(self) -> int:
        return milliseconds(days.begin(self.start, self.portal.settings.zone))

    @property
    def until(self) -> int:
        return milliseconds(days.begin(self.end, self.portal.settings.zone))

    def days(self) -> Iterator[str]:
        return (day.isoformat() for day in days.each(self.start, self.end))


def _window(portal: Portal, item: contract.ReportItem) -> Window:
    found = []
    for name, text in (("start", item.start), ("end", item.end)):
        try:
            found.append(date.fromisoformat(text))
        except ValueError:
            raise not_allowed(f"{name} is a day, such as 2026-11-03.", name) from None
    window = Window(portal, *found)
    if not timedelta() < window.end - window.start <= timedelta(limits.REPORT_DAYS):
        raise not_allowed(f"The end lies after the start, and at most {limits.REPORT_DAYS} days after it.", "end")
    if window.start < days.FIRST or window.end > days.LAST + timedelta(1):
        raise not_allowed(f"A day of reports is one of {days.FIRST} to {days.LAST}.", "start")
    return window


# -- pages ----------------------------------------------------------------------------------------------------------

Rows = Callable[[Connection, Window], Iterable[Values]]
PlacedRows = Callable[[Connection, Window, Place], PlacedIn]


def _page(columns: Sequence[str], rows: list[Values], token: str | None = None) -> Answer:
    return Answer([{"columns": list(columns), "rows": rows, **({"next": token} if token else {})}])


def numbers(report: contract.Report, rows: Rows, counted: PlacedRows | None = None) -> Callable[[Portal, Call], Answer]:
    """The operation of a report of numbers: all of them at once, or what they count, in pages."""

    def operation(portal: Portal, call: Call) -> Answer:
        administrators_only(call)
        item = contract.ReportItem.model_validate(call.items[0])
        if item.rows and counted is not None:
            return _paged(portal, call, item, tuple(contract.CountedRow.model_fields), counted)
        window = _window(portal, item)
        counting.ensure(portal)
        with portal.database.read() as tx:
            return _page(report.columns, list(rows(tx, window)))

    return operation


def log(report: contract.Report, rows: PlacedRows) -> Callable[[Portal, Call], Answer]:
    """The operation of a report that is a log, in pages."""

    def operation(portal: Portal, call: Call) -> Answer:
        administrators_only(call)
        item = contract.ReportItem.model_validate(call.items[0])
        return _paged(portal, call, item, report.columns, rows)

    return operation


def _paged(portal: Portal, call: Call, item: contract.ReportItem, columns: Sequence[str], rows: PlacedRows) -> Answer:
    window = _window(portal, item)
    caller = str(call.caller.person_id)
    query = json.dumps([call.request.path, item.start, item.end, bool(item.rows)])
    after: Place = (window.since, -1, 0)
    if item.after is not None:
        start, _ = portal.sealer.start(caller, query, item.after)
        after = tuple(start["after"])
    with portal.database.read() as tx:
        found = list(islice(rows(tx, window, after), limits.REPORT_ROWS))
    token = None
    if len(found) == limits.REPORT_ROWS:
        token = portal.sealer.page(caller, query, {"after": found[-1][0]}, limits.REPORT_ROWS, previous=False)
    return _page(columns, [values for _, values in found], token)


# -- the sources of logs ----------------------------------------------------------------------------------------------


@lru_cache(4_096)
def second(seconds: int) -> str:
    """A moment as text, from its seconds: many rows share one."""
    return iso(seconds * 1000)


def instant(at: int | None) -> str | None:
    """The same from milliseconds; what is not known stays so."""
    return None if at is None else second(at // 1000)


@dataclass(frozen=True, slots=True)
class LogSource:
    """One source of a log: a query between two moments, and how its rows are told."""

    query: Select[Any]
    at: ColumnElement[int]
    number: ColumnElement[int]
    told: Callable[[Any], Values]
    ahead: int = 0  # milliseconds by which the moments of the log lie behind those of `at`

    def rows(self, tx: Connection, window: Window, place: int, after: Place) -> Iterator[tuple[Place, Values]]:
        start, end = max(window.since, after[0]) - self.ahead, window.until - self.ahead
        query = self.query.add_columns(self.at.label("at"), self.number.label("number"))
        found = tx.execute(query.where(self.at >= start, self.at < end).order_by(self.at, self.number))
        told, ahead = self.told, self.ahead
        for row in found:
            placed = (row[-2] + ahead, place, row[-1])
            if placed > after:
                yield placed, told(row)


def merged(sources: Sequence[LogSource], tx: Connection, window: Window, after: Place) -> PlacedIn:
    """The rows of several sources as one log."""
    if len(sources) == 1:
        return sources[0].rows(tx, window, 0, after)
    return heapq.merge(
        *(source.rows(tx, window, place, after) for place, source in enumerate(sources)), key=itemgetter(0)
    )
