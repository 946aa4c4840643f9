"""Sizes and times as people read them, in pages and in the mail that the portal writes."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from mimeportal_server.clock import moment

_UNITS = ("KB", "MB", "GB")


def size(octets: int) -> str:
    """A size: 1 MB is 1024 KB, as Mimecast's limits count."""
    if octets < 1024:
        return "1 byte" if octets == 1 else f"{octets} bytes"
    amount, unit = octets / 1024, 0
    while amount >= 1023.95 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


def day(milliseconds: int, zone: str) -> str:
    """A time of the store with its day and its zone: `3 November 2026, 09:30 (Europe/London)`."""
    when = moment(milliseconds).astimezone(ZoneInfo(zone))
    return f"{when:%d %B %Y, %H:%M} ({zone})".lstrip("0")
