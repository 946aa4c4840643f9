"""Spans such as `7d` are reckoned from the portal's time, whatever the clock of the machine says that asks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.conftest import Run, advance

AHEAD = 40  # days that the portal is ahead of this machine
SEND = ("--to", "out@elsewhere.example", "--subject", "Plans", "-o", "json")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def there(days: float = 0) -> datetime:
    """So many days from now, by the portal's clock."""
    return datetime.now(UTC) + timedelta(days=AHEAD + days)


@pytest.mark.parametrize("span", [("--days", "5"), ("--until", "5d")], ids=str)
def test_an_expired_send_is_open_for_so_long_from_now(home: Path, run: Run, span: tuple[str, str]) -> None:
    (home.parent / "plan.pdf").write_bytes(b"%PDF")
    sent = run("largefiles", "send", "plan.pdf", *SEND, "--expire-after", "30")
    (large,) = json.loads(sent.out)
    advance(home, AHEAD)
    assert run("largefiles", "list", "--columns", "status").out == "expired\n"
    extended = run("largefiles", "extend", large["id"], *span, "-o", "json")
    assert extended.code == 0, extended.err
    (now,) = json.loads(extended.out)
    assert now["status"] == "active"
    assert abs(instant(now["expires"]) - there(5)) < timedelta(minutes=5)


def test_a_secure_message_expires_so_long_from_now(home: Path, run: Run) -> None:
    advance(home, AHEAD)
    sent = run("secure", "send", *SEND, "--body", "Hello", "--option", "expire-1d")
    id = json.loads(sent.out)["id"]
    extended = run("secure", "extend", id, "--until", "5d", "-o", "json")
    assert extended.code == 0, extended.err
    assert abs(instant(json.loads(extended.out)["expires"]) - there(5)) < timedelta(minutes=5)


def test_filters_look_back_from_there(home: Path, run: Run) -> None:
    assert len(run("holds", "list", "--since", "2d").lines) == 6
    advance(home, 5)
    assert run("holds", "list", "--since", "2d").lines == []
    assert len(run("holds", "list", "--since", "6d").lines) == 6


def test_queues_are_those_of_the_last_day_there(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMEPORTAL_USER", "admin@example.com")
    advance(home, AHEAD)
    told = run("messages", "queues", "-o", "json")
    assert told.code == 0, told.err
    times = [instant(row["date"]) for row in json.loads(told.out)]
    assert times
    assert all(abs(time - there(-0.5)) < timedelta(days=1) for time in times)
