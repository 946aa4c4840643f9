"""How pages show what is kept: times as their reader prefers them, and the body of a message made safe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Protocol
from zoneinfo import ZoneInfo

from mimeportal.account import contract, formats
from mimeportal.untrusted import visible_lines
from mimeportal.untrusted_html import image_tags, safe_html
from mimeportal.wire import parse_date
from mimeportal_server.clock import moment
from mimeportal_server.web.visit import Visit


@dataclass(frozen=True, slots=True)
class Times:
    """Somebody's way to write times, and what day it is for them."""

    preferred: contract.PreferencesRow
    now: datetime

    def local(self, text: str) -> datetime:
        """A time of the wire, in the reader's zone."""
        return parse_date(text).astimezone(self.now.tzinfo)

    def full(self, text: str) -> str:
        """Date and time."""
        return f"{self.day(text)} {self.hour(text)}"

    def day(self, text: str) -> str:
        return self.local(text).strftime(formats.DATES[self.preferred.date_format])

    def hour(self, text: str) -> str:
        return self.local(text).strftime(formats.TIMES[self.preferred.time_format])

    def short(self, text: str) -> str:
        """The hour of today's, the day of what is older."""
        return self.hour(text) if self.local(text).date() == self.now.date() else self.day(text)

    def group(self, text: str) -> str:
        """Under which heading a list shows it; weeks begin on the day that the reader prefers."""
        day, today = self.local(text).date(), self.now.date()
        first = formats.WEEKDAYS.index(self.preferred.first_day_of_week)
        week = today - timedelta(days=(today.weekday() - first) % 7)
        if day >= today:
            return "Today"
        if day == today - timedelta(days=1):
            return "Yesterday"
        if day >= week:
            return "This week"
        return "Last week" if day >= week - timedelta(days=7) else "Earlier"


def times(visit: Visit) -> Times:
    """As whoever is logged in prefers them."""
    preferred = visit.ask(contract.PREFERENCES, contract.MailboxItem()).row
    zone = ZoneInfo(preferred.time_zone)
    return Times(preferred, moment(visit.portal.clock.now()).astimezone(zone))


class Content(Protocol):
    """What is shown of a message."""

    @property
    def text_body(self) -> str | None: ...
    @property
    def html_body(self) -> str | None: ...


def body(content: Content, *, remote_images: bool) -> str:
    """The body of a message as HTML that can do nothing (promises D.2)."""
    if content.html_body:
        safe = safe_html(content.html_body, remote_images=remote_images)
        if safe is not None:
            return safe
    lines = visible_lines(content.text_body or "").split("\n")
    return "<br>\n".join(_line(line) for line in lines)


# A word, a URL say, that is wider than a phone: it may be broken, so that nothing scrolls sideways.
_UNBROKEN = re.compile(r"(\S{20})(?=\S)")


def _line(text: str) -> str:
    """A line of a text as HTML: escaped, its blanks kept."""
    return "<wbr>".join(escape(part) for part in _UNBROKEN.split(text) if part).replace("  ", "&nbsp; ")


def asks_for_images(content: Content) -> bool:
    """Whether a body refers to images that others keep, and would learn of if they were loaded."""
    sources = (tag.source.lower() for tag in image_tags(content.html_body or ""))
    return any(source.startswith(("http:", "https:")) for source in sources)


# Of the frame of a body, in CSS pixels.
_LINE, _MARGINS, _SHORT, _TALL, _HTML = 20, 56, 120, 1_600, 800


def height(content: Content) -> int:
    """How tall the frame of a body is made, in pixels: it cannot grow by itself, and scrolls what is left."""
    text = sum(1 + len(line) // 80 for line in (content.text_body or "").splitlines()) * _LINE
    markup = min(len(content.html_body or "") // 200 * _LINE, _HTML)  # more or less: what of it is text, nobody knows
    return min(max(text + _MARGINS, markup, _SHORT), _HTML if content.html_body else _TALL)
