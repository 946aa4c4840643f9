"""Times and sizes as people type them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from mimeportal.errors import UsageError
from mimeportal_cli.times import past_time, short, size, told

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 3, 23, 30, tzinfo=UTC)  # already the 4th in Berlin


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("30m", "2026-11-04T00:00:00+01:00"),
        ("24h", "2026-11-03T00:30:00+01:00"),
        ("7d", "2026-10-28T00:30:00+01:00"),
        ("2w", "2026-10-21T01:30:00+02:00"),  # 336 hours ago, before the clocks went back
        ("today", "2026-11-04T00:00:00+01:00"),
        ("Yesterday", "2026-11-03T00:00:00+01:00"),
        ("now", "2026-11-04T00:30:00+01:00"),
        ("2026-07-01", "2026-07-01T00:00:00+02:00"),
        ("2026-07-01T09:30", "2026-07-01T09:30:00+02:00"),
        ("2026-07-01 09:30:15", "2026-07-01T09:30:15+02:00"),
        ("2026-07-01T09:30Z", "2026-07-01T09:30:00+00:00"),
        ("09:30", "2026-11-04T09:30:00+01:00"),
        ("3 Nov 2026", "2026-11-03T00:00:00+01:00"),
        ("Nov 3 9:30", "2026-11-03T09:30:00+01:00"),
    ],
)
def test_instants(text: str, instant: str) -> None:
    assert past_time(text, BERLIN, NOW).isoformat() == instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "7",
        "7x",
        "-7d",
        "+7d",
        "03/11/2026",
        "3.11.2026",
        "2026-13-01",
        "999999999d",
        "25:00",
        "9:30 XYZ",
        "d",
    ],
)
def test_no_instants(text: str) -> None:
    with pytest.raises(UsageError):
        past_time(text, BERLIN, NOW)


def test_shown() -> None:
    assert told(NOW, BERLIN) == "2026-11-04 00:30:00+01:00 (Europe/Berlin)"
    assert told(NOW, UTC) == "2026-11-03 23:30:00+00:00 (UTC)"
    assert short(NOW, BERLIN) == "2026-11-04 00:30"


@pytest.mark.parametrize(
    ("text", "octets"), [("0", 0), ("200", 200), ("10k", 10240), ("5M", 5 * 1024**2), ("1 GiB", 1024**3), ("2kb", 2048)]
)
def test_sizes(text: str, octets: int) -> None:
    assert size(text) == octets


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5M", "10T", "ten"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError):
        size(text)
