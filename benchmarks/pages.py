"""The first page of a list must not depend on how much is held: 1,000,000 holds beside 1,000."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.lab import ADMIN, ANN, COUNTED_HOLDS, RARE, Lab
from benchmarks.measure import Act, Row, at_most, by_turns, process, seconds
from mimeportal.portal import Portal

_NOWHERE = "no subject has these words"
_MOST = 1.5


def run(lab: Lab) -> list[Row]:
    sizes = (lab.size(1_000_000, 400), lab.size(1_000, 40))
    homes = [lab.listed_home(size) for size in sizes]
    week = datetime.now(UTC) - timedelta(days=7)
    rounds = lab.size(15, 1)
    named = f"first page, {sizes[0]:,} holds and {sizes[1]:,}: "
    rows = []
    portals = [[Portal.open(f"local:{home}", user=user) for user in (ADMIN, ANN)] for home in homes]
    for what, queue, conditions in (
        ("bare", "admin", {}),
        ("--from ADDRESS", "admin", {"from_": RARE}),
        ("--since 7d", "admin", {"since": week}),
        (f"totalCount (up to {COUNTED_HOLDS:,})", "personal", {}),
    ):
        ours, floor = by_turns(rounds, *(_page(pair[queue == "personal"], queue, **conditions) for pair in portals))
        rows.append(at_most(named + what, ours, floor, _MOST))
    nothing = by_turns(lab.size(5, 1), _page(portals[0][0], "admin", subject=_NOWHERE))[0]
    rows.append(_within(f"a filter that hits nothing, {sizes[0]:,} holds", nothing))
    for pair in portals:
        for portal in pair:
            portal.close()

    envs = [lab.env(home) for home in homes]
    list_ = ("holds", "list", "--queue", "admin", "--limit", "100")
    for what, more in (("bare", ()), ("--from ADDRESS", ("--from", RARE)), ("--since 7d", ("--since", "7d"))):
        ours, floor = by_turns(
            lab.size(7, 1),
            *(lambda env=env, more=more: process(lab.command, *list_, *more, env=env) for env in envs),
        )
        rows.append(at_most(f"{named}{what}, whole process", ours, floor, _MOST))
    searching = ("holds", "list", "--queue", "admin", "--subject", _NOWHERE)
    nothing = by_turns(lab.size(3, 1), lambda: process(lab.command, *searching, env=envs[0]))[0]
    rows.append(_within(f"a filter that hits nothing, {sizes[0]:,} holds, whole process", nothing))
    return rows


def _page(portal: Portal, queue: str, **conditions: Any) -> Act:
    def act() -> float:
        start = time.perf_counter()
        page = next(portal.holds.list(queue=queue, **conditions).pages())
        taken = time.perf_counter() - start
        if bool(page.rows) == ("subject" in conditions):
            raise SystemExit(f"{len(page.rows)} rows are not what this measures: {queue} {conditions}")
        return taken

    return act


def _within(what: str, taken: float) -> Row:
    return Row(what, seconds(taken), goal=f"at most {_MOST} s", met=taken <= _MOST)
