"""The states of a send of large files: every cell of the table, and what time alone makes of them (portal-rules E)."""

from __future__ import annotations

from datetime import timedelta
from typing import get_args

import pytest

from mimeportal_server import largefile_states as states
from mimeportal_server.clock import DAY
from mimeportal_server.largefile_states import Event, Facts, Status, after, status

NOW = 1_800_000_000_000
MINUTE = 60_000

# Typed by hand from the rules. With a scan `finish` leads to scanning.
CELLS = {
    "uploading": {"upload": "uploading", "pause": "paused", "finish": "active", "cancel": "cancelled"},
    "paused": {"upload": "uploading", "pause": "already", "finish": "active", "cancel": "cancelled"},
    "scanning": {"finish": "already", "clean": "active", "infected": "failed"},
    "active": {"finish": "already", "expire": "expired", "extend": "active", "share": "active"},
    "expired": {"finish": "already", "expire": "already", "extend": "active", "share": "active"},
    "failed": {"restart": "uploading"},
    "cancelled": {"cancel": "already"},
}


@pytest.mark.parametrize("event", get_args(Event))
@pytest.mark.parametrize("current", get_args(Status))
def test_every_event_in_every_status(current: Status, event: Event) -> None:
    assert after(current, event) == CELLS[current].get(event)


@pytest.mark.parametrize("current", ["uploading", "paused"])
def test_finishing_waits_for_a_scan(current: Status) -> None:
    assert after(current, "finish", scanned=True) == "scanning"


def test_the_docstring_has_the_same_table() -> None:
    lines = [line.split("  ") for line in (states.__doc__ or "").splitlines() if line.startswith("    ")]
    head, *rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert head[1:] == list(get_args(Event))
    for row in rows:
        for event, cell in zip(head[1:], row[1:], strict=True):
            told = CELLS[row[0]].get(event, "-")
            assert cell == ("scanning, active" if (event, told) == ("finish", "active") else told), (row[0], event)
    assert [row[0] for row in rows] == list(get_args(Status))


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (Facts("uploading", NOW), "uploading"),
        (Facts("uploading", NOW - 2 * MINUTE + 1), "uploading"),
        (Facts("uploading", NOW - 2 * MINUTE), "paused"),
        (Facts("uploading", NOW - 7 * DAY + 1), "paused"),
        (Facts("uploading", NOW - 7 * DAY), "failed"),
        (Facts("paused", NOW), "paused"),
        (Facts("paused", NOW - 7 * DAY), "failed"),
        (Facts("scanning", NOW - 30 * DAY), "scanning"),
        (Facts("active", 0, sent=NOW - DAY, expires=NOW + 1), "active"),
        (Facts("active", 0, sent=NOW - DAY, expires=NOW), "expired"),
        (Facts("failed", 0), "failed"),
        (Facts("cancelled", 0), "cancelled"),
    ],
)
def test_what_time_makes_of_it(facts: Facts, told: str) -> None:
    assert status(facts, NOW) == told


def test_how_long_it_is_kept() -> None:
    sent = Facts("active", 0, sent=NOW, expires=NOW + DAY)
    kept = int(timedelta(days=90).total_seconds() * 1000)
    assert states.kept_until(sent) == NOW + kept
    assert not states.gone(sent, NOW + kept - 1)
    assert states.gone(sent, NOW + kept)
    assert states.kept_until(Facts("uploading", NOW)) is None
    assert not states.gone(Facts("uploading", NOW), NOW + kept)
