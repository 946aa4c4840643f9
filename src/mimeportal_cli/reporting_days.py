"""The options that say which days of reports are meant, and in which zone; read by the portal's own time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from mimeportal_cli.options import bundle, option, settings

if TYPE_CHECKING:
    from mimeportal.portal import Portal
    from mimeportal.reports.client import Calendar, Days

TZ = option(
    "--tz", metavar="ZONE", section="Days", help="Days in this zone, where the portal has none of its own [UTC]."
)
_OPTIONS = [
    option("--since", metavar="TIME", section="Days", help="The first day: 7d, yesterday, 2026-11-03 [7d]."),
    option("--until", metavar="TIME", section="Days", help="The day after the last one [tomorrow]."),
    option("--day", metavar="DAY", section="Days", help="One day alone."),
    TZ,
]


class Window:
    """The days that options name, in the zone of the portal's days."""

    def __init__(self, *, since: str | None, until: str | None, day: str | None, tz: str | None) -> None:
        if day is not None and (since is not None or until is not None):
            from mimeportal.errors import UsageError

            raise UsageError("--day names one day, --since and --until several.", remedy="Use --day alone.")
        self.since = day or since
        self.until = until
        self.one_day = day is not None
        self.tz = tz

    def of(self, portal: Portal) -> tuple[Calendar, Days]:
        """The portal's today, and the days that are meant; which, is said on stderr."""
        from mimeportal_cli.times import past_time

        today = calendar_of(portal, self.tz)
        since, until = (text and past_time(text, today.zone, today.now) for text in (self.since, self.until))
        if self.one_day and isinstance(since, datetime):
            day = since.astimezone(today.zone).date()
            days = today.days(day, day + timedelta(1))
        else:
            days = today.days(since or None, until or None)
        settings().console.note(f"{days.told} ({today.zone_name})")
        return today, days


def window_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --since, --until, --day and --tz, and passes a `Window` as `window`."""
    return bundle("window", Window, _OPTIONS, ["since", "until", "day", "tz"])(function)


def calendar_of(portal: Portal, tz: str | None) -> Calendar:
    """Today and the closed days. A local portal has a zone of its own; elsewhere it is --tz, else the profile's."""
    today = portal.reports.calendar(tz or (settings().tz if portal.session.api != "local" else None))
    if today.clock:
        settings().console.warn(f"{today.clock} No day closes until it is right, or accepted.")
    return today
