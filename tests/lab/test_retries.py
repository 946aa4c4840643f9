"""The client's retry table (retries.toml), each row against a running server: what is unsafe is sent once."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mimeportal.errors import ApiError
from mimeportal.holds import contract
from mimeportal.portal import Portal
from mimeportal.retry import Policy
from mimeportal.senders import contract as senders
from mimeportal.testing import ANN, APP, SPAM, PortalHome, PortalServer, mail

Row = dict[str, Any]
ROWS: list[Row] = tomllib.loads(Path(__file__).with_name("retries.toml").read_text("utf-8"))["rows"]
HELD = 3
NEW = "new"  # a person without a password


def listed(portal: Portal) -> str:
    return "ok" if len(list(portal.holds.list())) == HELD else "wrong"


def downloaded(portal: Portal) -> str:
    return "ok" if b"".join(portal.holds.download(one(portal))).endswith(b"Hello.\r\n") else "wrong"


def looked(portal: Portal) -> str:
    return "ok" if [state.state for state in portal.holds.states([one(portal)])] == ["held"] else "wrong"


def decided(portal: Portal) -> str:
    """One call as it is, without the bulk engine that looks after it."""
    answer = portal.session.call(contract.DECIDE, [contract.DecideItem(id=one(portal), decision="release")])
    return "ok" if [row.outcome for row in answer.rows] == ["done"] else "wrong"


def released(portal: Portal) -> str:
    result = portal.holds.release(portal.holds.list())
    return " ".join(f"{outcome} {count}" for outcome, count in sorted(result.totals.items()))


def blocked(portal: Portal) -> str:
    portal.senders.add(["eve@elsewhere.example"], list="blocked", mailbox=ANN)
    entries = [entry.entry for entry in portal.senders.list("blocked", mailbox=ANN)]
    return "ok" if entries == ["eve@elsewhere.example"] else "wrong"


def permitted(portal: Portal) -> str:
    item = senders.PermitOrBlockItem(sender="eve@elsewhere.example", to=ANN, action="permit")
    return "ok" if portal.session.one(senders.PERMIT_OR_BLOCK, item).type else "wrong"


def password_set(portal: Portal) -> str:
    portal.account.set_password("Correct-Horse-7")
    return "ok"


def one(portal: Portal) -> str:
    """The id of one held message, found by another operation than those that go wrong."""
    return next(iter(portal.session.call(contract.LIST, [contract.ListHoldsItem(admin=True)]).rows)).id


# call -> what is done, by whom, over which API
ACTIONS: dict[str, tuple[Callable[[Portal], str], str, str | None]] = {
    "list": (listed, APP, None),
    "download": (downloaded, APP, "api1"),
    "states": (looked, APP, None),
    "decide": (decided, APP, None),
    "release": (released, APP, None),
    "release on api2": (released, ANN, "api2"),
    "block": (blocked, APP, None),
    "permit on api2": (permitted, APP, "api2"),
    "set password": (password_set, NEW, None),
}


def fault_of(text: str) -> tuple[str, str, dict[str, Any]]:
    """`OPERATION KIND name=value ...` as the arguments of `faults.add()`."""
    operation, kind, *settings = text.split()
    return operation, kind, {name: read(value) for name, value in (setting.split("=") for setting in settings)}


def read(value: str) -> Any:
    return value == "true" if value in ("true", "false") else int(value) if value.isdigit() else value


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['call']}: {', '.join(row['faults']) or 'nothing'}")
def test_row(row: Row, portal_server: PortalServer, portal_home: PortalHome) -> None:
    act, who, api = ACTIONS[row["call"]]
    if who == NEW:
        who = f"new-{ROWS.index(row)}@example.com"
        portal_home.add_person(who)
    for number in range(HELD):
        portal_home.deliver(mail(f"number {number}"), hold=SPAM)
    portal = portal_server.client(who, api=api)  # type: ignore[arg-type]
    hurry(portal)
    for fault in row["faults"]:
        operation, kind, settings = fault_of(fault)
        portal_server.faults.add(operation, kind, **settings)

    try:
        ends = act(portal)
    except ApiError as fault:
        ends = f"{type(fault).__name__} {fault.code}".strip()

    requests = portal_server.requests
    calls = Counter(request.operation for request in requests)
    acted = Counter(request.operation for request in requests if request.items)
    saw = {name: f"{calls[name]} {acted[name]}" for name in (entry.split()[0] for entry in row["saw"])}
    assert (ends, saw) == (row["ends"], dict(entry.split(" ", 1) for entry in row["saw"]))
    assert len(portal_server.faults.left) == row.get("left", 0)
    assert len([gone for gone in portal_home.delivered() if gone.kind == "released"]) == row.get("released", 0)


def hurry(portal: Portal) -> None:
    """Let a client wait for nothing but its quota."""
    policy: Policy = portal.session.transport.policy  # type: ignore[attr-defined]
    policy.sleep = lambda _: None


def test_every_kind_of_fault_and_of_row_is_in_the_table() -> None:
    from importlib import import_module

    from mimeportal_server.door import NOUNS
    from mimeportal_server.lab import KINDS

    used = {fault_of(fault)[:2] for row in ROWS for fault in row["faults"]}
    assert set(KINDS) - {kind for _, kind in used} == {"ignore_filters", "row_offset_tokens"}
    repeats = {row.name: row.repeat for noun in NOUNS for row in import_module(f"mimeportal.{noun}.contract").ENDPOINTS}
    assert {repeats[operation] for operation, _ in used} == {"safe", "keyed", "look", "never"}
