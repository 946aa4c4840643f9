"""Reports as files that cron can trust: one per report and day, written whole or not at all (promises G).

    DIR/[PROFILE/]export.lock                  held while an export runs
    DIR/[PROFILE/]REPORT/2026-11-03.csv        one closed day
    DIR/[PROFILE/]REPORT/manifest.json         per format and day: file, rows, SHA-256; or why a day is absent
    DIR/[PROFILE/]REPORT/watermark.json        per format: the first day that `--since last` takes up

A day's file is written beside its place, synced, put in its place, and only then noted in the manifest; the watermark
moves last. Whatever a kill cuts off, no name of a day ever shows a part of it, and the next run completes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimeportal.errors import ForbiddenError, MimeportalError, NotOfferedError, UnavailableError, UsageError
from mimeportal.reports import contract, placing
from mimeportal.reports.client import Calendar, Days, ReportsClient, check_day
from mimeportal.untrusted import safe_name

if TYPE_CHECKING:
    from mimeportal.portal import Portal

FORMATS = ("csv", "jsonl", "json", "xlsx", "parquet")
LAST = "last"

_FIRST_DAYS = 7  # of the first `last`


@dataclass(frozen=True, slots=True)
class Export:
    """What is exported: the days from `since` on, without `until`, in a format.

    `since` is a day or `last`: what no earlier run has done. `until` is by default the first day that is not closed.
    `include_today` exports days that are not closed too, which are fetched again once they are; `refresh` fetches
    what is there already. `profile` names a folder between `DIR` and the reports.
    """

    since: date | str = LAST
    until: date | None = None
    format: str = "csv"
    include_today: bool = False
    refresh: bool = False
    profile: str = ""
    zone: str | None = None

    def check(self) -> None:
        """Raise `UsageError` for what cannot be exported."""
        if self.format not in FORMATS:
            raise UsageError(f"There is no format {self.format!r}.", remedy=f"Use one of: {', '.join(FORMATS)}.")
        if self.since != LAST and type(self.since) is not date:
            raise UsageError(f"since takes a day or 'last', not {self.since!r}.")
        if self.until is not None and type(self.until) is not date:
            raise UsageError(f"until takes a day, not {self.until!r}.")
        for day in (self.since, self.until):
            if isinstance(day, date):
                check_day(day)
        if isinstance(self.since, date) and self.until is not None and self.until <= self.since:
            raise UsageError(
                f"The end, {self.until}, lies before the start, {self.since}, or on the same day.",
                remedy="Give an `until` after `since`; the day of `until` itself is not included.",
            )


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of one day of one report, or of a report as a whole (then without a `day`).

    `outcome` is `written`, `kept` (an earlier run wrote it), `absent` (the portal does not keep it: `why`), or
    `failed`, with the `error`.
    """

    report: str
    day: date | None
    outcome: str
    path: Path | None = None
    rows: int = 0
    open: bool = False
    why: str = ""
    error: MimeportalError | None = field(default=None, repr=False)


def run(
    portal: Portal, reports: Sequence[str], folder: Path, plan: Export, on_file: Callable[[Exported], None]
) -> list[Exported]:
    """Export reports, one after the other; what fails in one does not touch the others."""
    plan.check()
    for name in reports:
        ReportsClient.of(name)
    place = folder / safe_name(plan.profile) if plan.profile else folder
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UsageError(f"{place} cannot be made: {fault.strerror}.", remedy="Name another folder.") from None
    done: list[Exported] = []

    def tell(what: Exported) -> None:
        done.append(what)
        on_file(what)

    with placing.only_one(place):
        today = portal.reports.calendar(plan.zone)
        for name in dict.fromkeys(reports):
            try:
                _Exporting(portal, contract.REPORTS[name], place / name, plan, today).run(tell)
            except UnavailableError as fault:
                # Who is not there for one report is not there for the next.
                tell(Exported(name, None, "failed", error=fault))
                break
            except MimeportalError as fault:
                tell(Exported(name, None, "failed", error=fault))
            except OSError as fault:
                tell(Exported(name, None, "failed", error=_refused(fault, place / name)))
    return done


def _refused(fault: OSError, folder: Path) -> MimeportalError:
    """What the system says of a full disk, or of a name that something else has."""
    return MimeportalError(
        f"{folder} cannot be written to: {fault.strerror or fault}.",
        why="The system refused it; what is there already is whole.",
        remedy="Look at the folder and the disk, and run this again.",
    )


class _Exporting:
    """One report into its folder."""

    def __init__(self, portal: Portal, report: contract.Report, folder: Path, plan: Export, today: Calendar) -> None:
        self._portal = portal
        self._report = report
        self._folder = folder
        self._plan = plan
        self._today = today
        self._manifest = placing.read(folder / "manifest.json", placing.is_manifest)
        self._noted: dict[str, Any] = self._manifest.setdefault("days", {}).setdefault(plan.format, {})
        self._marks = placing.read(folder / "watermark.json", placing.are_marks)

    def run(self, tell: Callable[[Exported], None]) -> None:
        account = _account(self._portal)
        if self._manifest.get("account", account) != account:
            raise UsageError(
                f"{self._folder} has days of the account {self._manifest['account']}, and this one is {account}.",
                why="Whoever reads the files takes them for one account's.",
                remedy="Export into another folder.",
            )
        zone = self._manifest.get("time_zone", self._today.zone_name)
        if zone != self._today.zone_name:
            raise UsageError(
                f"{self._folder} has days of {zone}, and the portal's are of {self._today.zone_name}.",
                why="Days of two zones overlap.",
                remedy="Export into another folder.",
            )
        self._reopen()
        days = self._days()
        if days is None:
            return
        self._folder.mkdir(exist_ok=True)
        placing.remove_parts(self._folder)
        self._manifest |= {
            "version": placing.VERSION,
            "report": self._report.name,
            "account": account,
            "time_zone": zone,
        }
        if self._plan.since == LAST:
            # An explicit range is no promise to take up what follows it: it moves a mark on, and makes none.
            self._marks.setdefault(self._plan.format, days.start.isoformat())
        for day in days:
            noted = self._noted.get(day.isoformat())
            if noted is None or noted.get("open") or self._plan.refresh or not self._is_there(noted):
                self._day(day, tell)
            elif "absent" in noted:
                tell(Exported(self._report.name, day, "absent", why=noted["absent"]))
            else:
                tell(Exported(self._report.name, day, "kept", self._folder / noted["file"], noted["rows"]))
            self._advance(day)

    def _reopen(self) -> None:
        """Take back what is noted of days that are not over: a clock ran ahead when they were exported.

        Of local portals alone, which have every day to be fetched again.
        """
        closed, today = self._today.closed_until.isoformat(), self._today.today.isoformat()
        mark = self._marks.get(self._plan.format, "")
        if self._portal.session.api != "local" or self._today.clock:
            return
        early = [day for day, noted in self._noted.items() if day >= closed and not noted.get("open")]
        if max(early, default="") >= today:
            for day in early:
                self._noted[day]["open"] = True
            self._write_manifest()
        if mark > today:
            self._marks[self._plan.format] = closed
            self._write_marks()

    def _days(self) -> Days | None:
        """The days of this run; None when none of them is closed."""
        closed, today = self._today.closed_until, self._today.today
        end = today + timedelta(1) if self._plan.include_today else closed
        if isinstance(self._plan.since, date):
            start = self._plan.since
        else:
            mark = self._marks.get(self._plan.format)
            start = date.fromisoformat(mark) if mark else closed - timedelta(_FIRST_DAYS)
        end = min(end, self._plan.until) if self._plan.until is not None else end
        return self._today.days(start, end) if start < end else None

    def _is_there(self, noted: dict[str, Any]) -> bool:
        return "absent" in noted or (self._folder / noted["file"]).is_file()

    def _day(self, day: date, tell: Callable[[Exported], None]) -> None:
        window = Days(day, day + timedelta(1), self._today.zone)
        absent = self._absent(day)
        if absent:
            self._note(day, {"absent": absent})
            tell(Exported(self._report.name, day, "absent", why=absent))
            return
        path = self._folder / f"{day.isoformat()}.{self._plan.format}"
        part = self._folder / f".{path.name}.{os.getpid()}.part"
        with placing.gone_unless_placed(part):
            rows = self._write(part, window)
            placing.sync(part)
            digest = placing.digest(part)
            placing.put(part, path)
        noted: dict[str, Any] = {"file": path.name, "rows": rows, "sha256": digest}
        is_open = day >= self._today.closed_until
        self._note(day, {**noted, "open": True} if is_open else noted)
        tell(Exported(self._report.name, day, "written", path, rows, is_open))

    def _absent(self, day: date) -> str:
        from mimeportal.reports import from_portal

        return from_portal.absent(self._portal, self._report, day, self._today)

    def _write(self, path: Path, window: Days) -> int:
        from mimeportal.reports import files

        batches = self._portal.reports.batches(self._report.name, window)
        return files.FORMS[self._plan.format](path, self._report.row, self._report.name, batches)

    def _note(self, day: date, noted: dict[str, Any]) -> None:
        self._noted[day.isoformat()] = noted
        self._write_manifest()

    def _write_manifest(self) -> None:
        ordered = {form: dict(sorted(days.items())) for form, days in sorted(self._manifest["days"].items())}
        placing.replace(self._folder / "manifest.json", {**self._manifest, "days": ordered})

    def _advance(self, day: date) -> None:
        """Move the watermark past a day that is done for good, where it has come to it."""
        form = self._plan.format
        if form not in self._marks:
            return
        mark = date.fromisoformat(self._marks[form])
        noted = self._noted.get(day.isoformat(), {"open": True})
        if day == mark and not noted.get("open"):
            # Days behind it may have been done by an earlier run.
            while (done := self._noted.get(mark.isoformat())) is not None and not done.get("open"):
                mark += timedelta(1)
            self._marks[form] = mark.isoformat()
            self._write_marks()

    def _write_marks(self) -> None:
        placing.replace(self._folder / "watermark.json", dict(sorted(self._marks.items())))


def _account(portal: Portal) -> str:
    """The account's code; "" where this caller may not see it."""
    try:
        return portal.account.code
    except (ForbiddenError, NotOfferedError):
        return ""
