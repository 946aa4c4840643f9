"""`portal.reports`: numbers per day and logs, from a local portal or as far as Mimecast's API tells them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from mimeportal import days as calendar
from mimeportal import limits
from mimeportal.errors import ApiError, UsageError
from mimeportal.holds.hold import check_moment
from mimeportal.paging import PageOf, Pages
from mimeportal.reports import contract
from mimeportal.wire import Row

if TYPE_CHECKING:
    from mimeportal.portal import Portal
    from mimeportal.reports import siem
    from mimeportal.reports.exporting import Export, Exported

RowT = TypeVar("RowT", bound=Row)
Values = list[Any]
T = TypeVar("T")
Fetch = Callable[[str | None], PageOf[T]]

DEFAULT_DAYS = 7  # before today, where nothing says since when


@dataclass(frozen=True, slots=True)
class Days:
    """Days from `start` on, without `end`, in a zone."""

    start: date
    end: date
    zone: tzinfo

    def __iter__(self) -> Iterator[date]:
        return calendar.each(self.start, self.end)

    @property
    def told(self) -> str:
        """The days as a person reads them."""
        last = self.end - timedelta(1)
        return f"day {self.start}" if last == self.start else f"days {self.start} to {last}"

    @property
    def since(self) -> datetime:
        """The moment at which the first day begins."""
        return calendar.begin(self.start, self.zone)

    @property
    def until(self) -> datetime:
        """The moment at which the last day ends."""
        return calendar.begin(self.end, self.zone)


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days of a portal: `now` and `today` in its zone, and the first day that is not `closed_until`.

    `clock` says why its clock is not believed; then no day closes (promises F.2).
    """

    zone: tzinfo
    zone_name: str
    now: datetime
    today: date
    closed_until: date
    clock: str = ""

    def days(self, since: date | datetime | None, until: date | datetime | None) -> Days:
        """The days of a time: that of `since`, and those that begin before `until`. Raises `UsageError`."""
        for name, moment in (("since", since), ("until", until)):
            if moment is not None and not isinstance(moment, date):
                raise UsageError(f"{name} takes a date or a datetime, not {moment!r}.")
            if isinstance(moment, datetime) and moment.tzinfo is None:
                raise UsageError(f"{name} has no time zone: {moment}.", remedy="Give one, such as datetime.UTC.")
            if moment is not None:
                check_day(moment)
        start = self._day(since, self.today - timedelta(DEFAULT_DAYS))
        end = self._day(until, self.today + timedelta(1))
        if isinstance(until, datetime) and calendar.begin(end, self.zone) < until:
            end += timedelta(1)
        if start >= end:
            raise UsageError(
                "The end of the time lies before its start, or on the same day.",
                why=f"The days are {start} to before {end}, in {self.zone_name}.",
                remedy="Give a `since` before `until`; the day of `until` itself is not included.",
            )
        for day in (start, end):  # in this zone a moment may be of another day
            check_day(day)
        if (end - start).days > limits.REPORT_DAYS:
            raise UsageError(
                f"A report has at most {limits.REPORT_DAYS:,} days.",
                why=f"These are {(end - start).days:,}: {start} to before {end}.",
                remedy="Give a later `since`.",
            )
        return Days(start, end, self.zone)

    def _day(self, moment: date | datetime | None, default: date) -> date:
        if moment is None:
            return default
        return calendar.day_of(moment, self.zone) if isinstance(moment, datetime) else moment


def check_day(moment: date) -> None:
    """Raise `UsageError` for what lies beyond the days that there are reports of."""
    day = moment.date() if isinstance(moment, datetime) else moment
    if not calendar.FIRST <= day <= calendar.LAST + timedelta(1):
        raise UsageError(
            f"There are no reports of {day}.",
            why=f"Their days are {calendar.FIRST} to {calendar.LAST}.",
            remedy="Give a day such as 2026-11-03.",
        )


class ReportsClient:
    """`portal.reports`: each report is a method, whose rows are fetched while they are iterated.

    `since` is a day, or a moment of it; `until` likewise, and its own day is not included. Unless they say
    otherwise, the last seven days and today. Days are those of the account's zone, each is told, those without
    anything too. For administrators. Raises `UsageError`, `ForbiddenError`, and `NotOfferedError` for what
    Mimecast's API does not tell.
    """

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._session = portal.session

    def secure_messages(
        self, *, since: date | None = None, until: date | None = None, zone: str | None = None
    ) -> Pages[contract.SecureMessagesRow]:
        """Number and direction of secure messages per day; of a local portal alone."""
        return self._rows("secure-messages", contract.SecureMessagesRow, since, until, zone)

    def traffic(
        self, *, since: date | None = None, until: date | None = None, zone: str | None = None
    ) -> Pages[contract.TrafficRow]:
        """Messages processed per day, by direction and outcome."""
        return self._rows("traffic", contract.TrafficRow, since, until, zone)

    def held(
        self, *, since: date | None = None, until: date | None = None, zone: str | None = None
    ) -> Pages[contract.HeldRow]:
        """Held, released, rejected and expired messages per day and reason; who decided, and how long it took."""
        return self._rows("held", contract.HeldRow, since, until, zone)

    def releases(
        self, *, since: date | None = None, until: date | None = None, zone: str | None = None
    ) -> Pages[contract.ReleaseRow]:
        """The release log: what left the hold queue, oldest first."""
        return self._rows("releases", contract.ReleaseRow, since, until, zone)

    def rejections(
        self, *, since: date | None = None, until: date | None = None, zone: str | None = None
    ) -> Pages[contract.RejectionRow]:
        """What was refused, oldest first."""
        return self._rows("rejections", contract.RejectionRow, since, until, zone)

    def senders(
        self, *, since: date | None = None, until: date | None = None, zone: str | None = None
    ) -> Pages[contract.SenderRow]:
        """Senders of held mail over all of the days, most held first; and how many people block or permit them."""
        return self._rows("senders", contract.SenderRow, since, until, zone)

    def largefiles(
        self, *, since: date | None = None, until: date | None = None, zone: str | None = None
    ) -> Pages[contract.LargeFilesRow]:
        """Large files sent and downloaded per day, and whose access ends; of a local portal alone."""
        return self._rows("largefiles", contract.LargeFilesRow, since, until, zone)

    def logins(
        self, *, since: date | None = None, until: date | None = None, zone: str | None = None
    ) -> Pages[contract.LoginRow]:
        """Log-ins per day and door, with success and without."""
        return self._rows("logins", contract.LoginRow, since, until, zone)

    def audit(
        self, *, since: date | None = None, until: date | None = None, zone: str | None = None
    ) -> Pages[contract.AuditRow]:
        """Who did what, when, oldest first."""
        return self._rows("audit", contract.AuditRow, since, until, zone)

    def queues(
        self, *, since: date | None = None, until: date | None = None, zone: str | None = None
    ) -> Pages[contract.QueueRow]:
        """How many messages waited to be delivered, hour by hour in both directions."""
        return self._rows("queues", contract.QueueRow, since, until, zone)

    def rows(self, report: str, *, since: date | None = None, until: date | None = None) -> Pages[contract.CountedRow]:
        """What the numbers of a report count, each thing by itself, oldest first. Of a local portal alone."""
        known = self.of(report)
        if not known.counted:
            raise UsageError(f"The report {report} is a log: its rows are what it counts.")
        window = self.calendar().days(since, until)
        return Pages(_typed(contract.CountedRow, self._local(known, window, rows=True)))

    def calendar(self, zone: str | None = None) -> Calendar:
        """Today and the closed days, as the portal's clock says; on Mimecast by this machine's, in `zone`, else UTC."""
        from mimeportal.profiles import time_zone

        if self._session.offers(contract.DAYS):
            told = self._session.one(contract.DAYS, contract.DaysItem())
            if zone is not None and zone != told.time_zone:
                raise UsageError(
                    f"This portal counts days in {told.time_zone}, not in {zone}.",
                    why="A day of a report is one of the account's zone.",
                    remedy="Leave the zone out, or set `time_zone` in portal.toml.",
                )
            here = time_zone(told.time_zone)
            return Calendar(here, told.time_zone, told.now, told.today, told.closed_until, told.clock or "")
        here = time_zone(zone) if zone else UTC
        now = datetime.now(UTC)
        return Calendar(here, zone or "UTC", now, calendar.day_of(now, here), calendar.closed_until(here, now))

    def export(
        self, reports: Sequence[str], folder: Path, plan: Export, *, on_file: Callable[[Exported], None] | None = None
    ) -> list[Exported]:
        """Write reports to files, one for each day, of which none is ever there in part (promises G).

        What is in the manifest of an earlier run is not fetched again. `on_file` is called after each file, and for
        each day that the portal does not keep. Raises `UnavailableError` when another export has the folder.
        """
        from mimeportal.reports import exporting

        return exporting.run(self._portal, reports, folder, plan, on_file or (lambda _: None))

    def offered(self) -> list[str]:
        """The reports that this portal offers, from its own or computed from its lists and logs."""
        from mimeportal.reports import from_portal

        return [
            name
            for name, report in contract.REPORTS.items()
            if (report.endpoint is not None and self._session.offers(report.endpoint))
            or from_portal.is_offered(self._portal, report)
        ]

    @staticmethod
    def of(name: str) -> contract.Report:
        """What is known of a report. Raises `UsageError` naming those that there are."""
        if name not in contract.REPORTS:
            raise UsageError(f"There is no report {name!r}.", remedy=f"Use one of: {', '.join(contract.REPORTS)}.")
        return contract.REPORTS[name]

    def by_name(
        self, report: str, *, since: date | None = None, until: date | None = None, zone: str | None = None
    ) -> Pages[Any]:
        """The rows of a report by its name, such as `secure-messages`: as its own method gives them."""
        return self._rows(report, self.of(report).row, since, until, zone)

    # -- what Mimecast tells -------------------------------------------------------------------------------------

    def audit_events(
        self, *, since: datetime, until: datetime, query: str | None = None, categories: Sequence[str] = ()
    ) -> Pages[contract.AuditEventRow]:
        """Audit events of a time, newest first, as Mimecast and a local portal tell them; at most 60 days back.

        `query` is part of an event, `categories` are codes of `audit_categories()`.
        """
        from mimeportal.reports import from_portal

        check_moment("since", since)
        check_moment("until", until)
        return from_portal.audit_events(self._portal, since, until, query=query, categories=categories)

    def audit_categories(self) -> Sequence[contract.CategoryRow]:
        """The categories of audit events."""
        return self._session.call(contract.AUDIT_CATEGORIES).rows

    def siem_events(self, kind: str, *, since: datetime, until: datetime, resume: str = "") -> Iterator[siem.Batch]:
        """SIEM events of one kind (`receipt`, `process`, `delivery`, ...), many at once; of the last 7 days.

        From batch files of API 2.0, from log files of 1.0. Whoever keeps the `resume` of the batches that are done
        with goes on there later: files since then come again.
        """
        from mimeportal.reports import siem

        check_moment("since", since)
        check_moment("until", until)
        return siem.batches(self._session, kind, since, until, resume=resume)

    # -- how they are fetched ------------------------------------------------------------------------------------

    def batches(self, name: str, window: Days) -> Iterator[list[list[Any]]]:
        """A report's rows as lists in the order of its columns, times as text, many at once: for files."""
        report = self.of(name)
        if report.endpoint is not None and self._session.offers(report.endpoint):
            for page in Pages(self._local(report, window)).pages():
                yield page.rows
            return
        from mimeportal.reports import from_portal

        for rows in from_portal.batches(self._portal, report, window):
            yield [[_plain(getattr(row, column)) for column in report.columns] for row in rows]

    def _rows(
        self, name: str, row: type[RowT], since: date | None, until: date | None, zone: str | None
    ) -> Pages[RowT]:
        report = contract.REPORTS[name]
        window = self.calendar(zone).days(since, until)
        if report.endpoint is not None and self._session.offers(report.endpoint):
            return Pages(_typed(row, self._local(report, window)))
        from mimeportal.reports import from_portal

        return from_portal.pages(self._portal, report, window)

    def _local(self, report: contract.Report, window: Days, *, rows: bool = False) -> Fetch[Values]:
        """How pages of a local portal are fetched, in the order of our columns whatever it tells beside them."""
        endpoint = report.endpoint
        if endpoint is None:
            raise UsageError(f"There are no such rows of {report.name}.")
        self._session.require(endpoint)
        columns = _columns(contract.CountedRow) if rows else report.columns

        def fetch(token: str | None) -> PageOf[Values]:
            item = contract.ReportItem(
                start=window.start.isoformat(), end=window.end.isoformat(), rows=rows or None, after=token
            )
            page = self._session.one(endpoint, item)
            return PageOf(_in_order(page, columns), None, page.next)

        return fetch


def _columns(row: type[Row]) -> tuple[str, ...]:
    return tuple(row.model_fields)


def _in_order(page: contract.PageRow, columns: Sequence[str]) -> list[Values]:
    if tuple(page.columns) == tuple(columns):
        return page.rows
    places = [page.columns.index(name) if name in page.columns else None for name in columns]
    return [[None if place is None else values[place] for place in places] for values in page.rows]


def _typed(row: type[RowT], fetch: Fetch[Values]) -> Fetch[RowT]:
    columns = _columns(row)

    def typed(token: str | None) -> PageOf[RowT]:
        page = fetch(token)
        try:
            rows = [row.model_validate(_told(columns, values)) for values in page.rows]
        except (ValidationError, ValueError):
            raise ApiError(
                "The portal's report has a form that is not known.",
                code="err_answer_unknown",
                remedy="Tell the portal's operator; another release of mimeportal may read it.",
            ) from None
        return PageOf(rows, None, page.next)

    return typed


def _told(columns: Sequence[str], values: Values) -> dict[str, Any]:
    """What a portal tells of a row; a column that it does not know is what its model says."""
    return {name: value for name, value in zip(columns, values, strict=True) if value is not None}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value
