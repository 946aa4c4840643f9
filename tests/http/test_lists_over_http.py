"""Sender lists over HTTP: clients that disagree, and Mimecast's bulk delete as a stranger sends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from asking import ADD, BULK_DELETE, SENDERS
from conftest import ANN
from mimeportal.credentials import Credentials
from mimeportal.errors import NotOfferedError, UsageError
from mimeportal.portal import Portal
from served import Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("senders") / "home") as served:
        yield served


def client(served: Served, api: str = "local", *, user: str = "") -> Portal:
    app = served.app
    credentials = Credentials("app2", client_id=app.client_id, client_secret=app.client_secret)
    return Portal.open(served.server.http_url, user=user, api=api, credentials=credentials)


def stand(served: Served, search: str) -> dict[str, str]:
    rows = served.ask(SENDERS, {"data": [{"mailbox": ANN, "search": search}]}, served.bearer()).rows
    return {row["entry"]: row["list"] for row in rows}


def test_two_clients_that_block_and_permit_the_same_senders(served: Served) -> None:
    """Each sender stands where the last of them put it, and nowhere else; every add is answered for."""
    entries = [f"shop{number}.example" for number in range(40)]

    def add(list: str) -> list[str]:
        with client(served) as portal:
            changes = [portal.senders.add([entry], list, mailbox=ANN)[0] for entry in entries]
            return [change.outcome for change in changes]

    with ThreadPoolExecutor(2) as pool:
        outcomes = [*pool.map(add, ("blocked", "permitted"))]
    # A busy machine may lose an answer: asked again, the entry stands already.
    assert all(set(told) <= {"done", "already"} for told in outcomes)
    assert [len(told) for told in outcomes] == [40, 40]
    found = stand(served, "shop")
    assert sorted(found) == sorted(entries)
    assert set(found.values()) <= {"blocked", "permitted"}


def test_an_app_asks_for_the_mailbox_of_its_user(served: Served) -> None:
    """As it does for held mail and for messages (promises B.1)."""
    with client(served, user=ANN) as portal:
        portal.senders.add(["own.example"], "blocked")
        assert stand(served, "own") == {"own.example": "blocked"}
        assert [entry.mailbox for entry in portal.senders.list(search="own")] == [ANN]
        assert portal.senders.check("eve@own.example").mailbox == ANN
        assert portal.senders.import_entries(["own.example"], "blocked").already == 1
        with portal.senders.plan("remove", ["own.example"]) as plan:
            assert plan.run().totals == {"done": 1}
        assert stand(served, "own") == {}
        assert portal.account.set_preferences(language="de").email_address == ANN
        assert portal.account.preferences(mailbox=ANN).language == portal.account.preferences().language == "de"
        assert portal.account.contacts().first(1) == []


def test_an_app_of_nobody_is_asked_whose(served: Served) -> None:
    with client(served) as portal:
        for asked in (
            portal.senders.list,
            lambda: portal.senders.check("eve@own.example"),
            lambda: portal.senders.add(["own.example"], "blocked"),
            lambda: portal.senders.import_entries(["own.example"], "blocked"),
            portal.account.preferences,
            portal.account.contacts,
        ):
            with pytest.raises(UsageError, match="Whose mailbox"):
                asked()
        assert portal.senders.remove_everywhere(["own.example"]) == 0


@pytest.mark.parametrize("way", ["bearer", "signed"])
def test_bulk_delete_as_strangers_send_it(served: Served, way: str) -> None:
    served.ask(ADD, {"data": [{"entry": "gone.example", "list": "blocked", "mailbox": ANN}]}, served.bearer())
    headers = served.bearer() if way == "bearer" else served.signed(BULK_DELETE)
    told = served.ask(BULK_DELETE, {"ids": ["gone.example"], "action": "block"}, headers)
    assert (told.status, json.loads(told.octets)) == (200, {"deletedCount": 1})
    assert "gone.example" not in stand(served, "gone")


def test_bulk_delete_without_a_log_in(served: Served) -> None:
    assert served.ask(BULK_DELETE, {"ids": ["a.example"]}, {"Content-Type": "application/json"}).status == 401
    assert served.ask(BULK_DELETE, None, served.bearer(), method="GET").status == 405


def test_what_api_2_offers(served: Served, tmp_path: Path) -> None:
    with client(served, "api2") as portal:
        assert [c.outcome for c in portal.senders.add(["a@api2.example"], "blocked", mailbox=ANN)] == ["done"]
        with pytest.raises(NotOfferedError):
            portal.senders.remove(["a@api2.example"], mailbox=ANN)
        assert portal.senders.remove_everywhere(["a@api2.example"], "permitted") == 0
        assert portal.senders.remove_everywhere(["a@api2.example"]) == 1
    with client(served, "api1") as portal, pytest.raises(NotOfferedError):
        portal.senders.remove_everywhere(["a@api2.example"])


def test_an_import_and_its_check(served: Served) -> None:
    lines = [f"user{number}@import.example" for number in range(2_500)]
    lines[3] = "*"
    with client(served) as portal:
        bad: list[int] = []
        told = portal.senders.import_entries(
            lines, "blocked", mailbox=ANN, on_bad=lambda found: bad.extend(line.line for line in found)
        )
        assert (told.added, told.refused, bad) == (2_499, 1, [4])
        assert portal.senders.check("user9@import.example", mailbox=ANN).outcome == "refused"
