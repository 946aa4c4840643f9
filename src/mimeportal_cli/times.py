"""Times and sizes as people type them: `7d`, `yesterday`, `2026-11-03`, `10k`."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import click

from mimeportal.account.formats import DATES, TIMES, WEEKDAYS
from mimeportal.errors import UsageError
from mimeportal_cli.options import Settings

_AGO = re.compile(r"([0-9]{1,9})\s*([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# 03/11/2026 is two days, depending on who reads it.
_AMBIGUOUS = re.compile(r"[0-9]{1,2}[/.-][0-9]{1,2}([/.-][0-9]+)?(\s.*)?")
_SIZE = re.compile(r"([0-9]{1,15})\s*([kmg]?)(?:i?b)?", re.IGNORECASE)
_FORMS = "Write 7d, 24h, 30m, today, yesterday, week, 2026-11-03, 2026-11-03T09:30 or 09:30."


def past_time(text: str, zone: tzinfo, now: datetime) -> datetime:
    """The instant that a filter names. Raises `UsageError` for what is no time, and for `+7d`, which lies ahead."""
    wanted = text.strip()
    if wanted.startswith("+"):
        raise UsageError(
            f"A filter looks back, and {text!r} lies ahead.", remedy=f"Write {wanted[1:]} for that long ago."
        )
    return _instant(text, wanted, zone, now, -1)


def coming_time(text: str, zone: tzinfo, now: datetime) -> datetime:
    """The instant until which something lasts: `7d`, or `+7d`, is that long from now. Raises `UsageError`."""
    return _instant(text, text.strip().removeprefix("+"), zone, now, 1)


def _instant(text: str, wanted: str, zone: tzinfo, now: datetime, direction: int) -> datetime:
    span = _AGO.fullmatch(wanted.lower())
    try:
        if span:
            length = timedelta(**{_UNITS[span[2]]: int(span[1])})
            moment = (now + direction * length).astimezone(zone).replace(microsecond=0)
        else:
            moment = _named(wanted, zone, now.astimezone(zone))
        for day in (-1, 1):  # the first and last days there are do not exist in every zone
            _ = moment.astimezone(UTC) + timedelta(days=day)
        return moment
    except (OverflowError, ValueError):
        raise UsageError(f"Not a time: {text!r}.", remedy=_FORMS) from None


def _named(wanted: str, zone: tzinfo, now: datetime) -> datetime:
    midnight = datetime.combine(now.date(), time(), zone)
    word = wanted.lower()
    if word == "now":
        return now
    if word == "today":
        return midnight
    if word == "yesterday":
        return datetime.combine(now.date() - timedelta(days=1), time(), zone)
    if word == "week":
        return datetime.combine(now.date() - timedelta(days=_into_week(now)), time(), zone)
    try:
        return datetime.combine(date.fromisoformat(wanted), time(), zone)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(wanted)
    except ValueError:
        moment = _spoken(wanted, midnight)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _spoken(wanted: str, midnight: datetime) -> datetime:
    """`3 Nov 2026`, `Nov 3 9:30`, `09:30`."""
    if _AMBIGUOUS.fullmatch(wanted):
        raise UsageError(f"Which day is {wanted!r}?", remedy="Write it as 2026-11-03.")
    # A lone number would be taken for a day of this month.
    if not re.search(r"[0-9]", wanted) or wanted.isdigit() or not re.search(r"[a-z:]", wanted, re.IGNORECASE):
        raise ValueError(wanted)
    import warnings

    from dateutil import parser

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an unknown name of a zone would be dropped in silence
        try:
            return parser.parse(wanted, default=midnight)
        except (Warning, TypeError):
            raise ValueError(wanted) from None


def told(moment: datetime, zone: tzinfo) -> str:
    """An instant as a person checks it: with its offset and the name of its zone."""
    name = "UTC" if zone is UTC else str(zone)
    return f"{moment.astimezone(zone).isoformat(' ', 'seconds')} ({name})"


def short(moment: datetime, zone: tzinfo) -> str:
    """An instant in a table, to the minute, in the formats that whoever looks at it prefers."""
    local = moment.astimezone(zone)
    who = _settings().preferred
    if who is None:
        return local.strftime("%Y-%m-%d %H:%M")
    date_form, time_form = DATES.get(who.date_format), TIMES.get(who.time_format)
    return local.strftime(f"{date_form or DATES['yyyy-MM-dd']} {time_form or TIMES['24h']}")


def _into_week(now: datetime) -> int:
    """How many days ago this week began, as whoever asks reckons weeks: with Monday unless they prefer another day."""
    who = _settings().preferred
    first = WEEKDAYS.index(who.first_day_of_week) if who and who.first_day_of_week in WEEKDAYS else 0
    return (now.weekday() - first) % 7


def _settings() -> Settings:
    context = click.get_current_context(silent=True)
    return context.ensure_object(Settings) if context else Settings()


def size(text: str) -> int:
    """Octets: `10k` is 10 * 1024. Raises `UsageError` for what is no size."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"Not a size: {text!r}.", remedy="Write octets, or 10k, 5M, 1G.")
    octets: int = int(match[1]) * 1024 ** " kmg".index(match[2].lower() or " ")
    return octets
