"""Faults that the lab asks for, as they look from the other end of the connection."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from asking import LIST, LOG, RELEASE
from conftest import mail_of
from mimeportal_server.store.schema import holds
from served import Served, serving

ALL = {"data": [{"admin": True}]}
NOTHING_CAME = (http.client.RemoteDisconnected, ConnectionResetError)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "home", faults=True) as served:
        for number in range(3):
            served.lab.receive(mail_of(subject=f"Hello {number}"))
        yield served


def released(served: Served) -> int:
    with served.server.portal.database.read() as tx:
        return len(tx.execute(select(holds.c.id).where(holds.c.state == "released")).all())


def release(served: Served) -> Any:
    bearer = served.bearer()
    id = served.ask(LIST, ALL, bearer).rows[0]["id"]
    return lambda: served.ask(RELEASE, {"data": [{"id": id}]}, bearer)


def test_a_status(served: Served) -> None:
    act = release(served)
    served.spoil({"operation": "holds.release", "kind": "status", "status": 503, "code": "err_x", "retryable": True})
    told = act()
    assert (told.status, told.code) == (503, "err_x")
    assert json.loads(told.octets)["fail"][0]["errors"][0]["retryable"] is True
    assert released(served) == 0
    assert act().row["release"] is True
    first, second = served.seen("holds.release")
    assert (first["status"], first["fault"], first["items"]) == (503, "status", 0)
    assert (second["status"], second["fault"], second["items"]) == (200, "", 1)
    assert second["caller"] > 0


def test_a_quota(served: Served) -> None:
    act = release(served)
    served.spoil({"operation": "holds.release", "kind": "quota", "milliseconds": 2_500})
    told = act()
    assert told.status == 429
    assert (told.headers["x-ratelimit-remaining"], told.headers["x-ratelimit-reset"]) == ("0", "2500")
    assert told.headers["retry-after"] == "3"
    assert json.loads(told.octets)["fail"][0]["code"] == "err_quota_exceeded"
    assert released(served) == 0


@pytest.mark.parametrize(("kind", "done"), [("reset_before", 0), ("stall", 0), ("reset_after", 1)])
def test_no_answer(served: Served, kind: str, done: int) -> None:
    act = release(served)
    served.spoil({"operation": "holds.release", "kind": kind, "milliseconds": 10})
    with pytest.raises(NOTHING_CAME):
        act()
    assert released(served) == done
    (noted,) = served.seen("holds.release")
    assert (noted["status"], noted["fault"], noted["items"]) == (0, kind, done)


def test_half_an_answer(served: Served) -> None:
    act = release(served)
    served.spoil({"operation": "holds.release", "kind": "cut"})
    with pytest.raises(http.client.IncompleteRead) as cut:
        act()
    assert cut.value.expected is not None
    assert abs(len(cut.value.partial) - cut.value.expected) <= 1
    assert released(served) == 1


def test_broken_json(served: Served) -> None:
    act = release(served)
    served.spoil({"operation": "holds.release", "kind": "bad_json"})
    told = act()
    assert told.status == 200
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|delimiter|control"):
        json.loads(told.octets)
    assert released(served) == 1


def test_a_delay(served: Served) -> None:
    act = release(served)
    served.spoil({"operation": "holds.release", "kind": "delay", "milliseconds": 10})
    assert act().row["release"] is True


def test_filters_that_are_ignored(served: Served) -> None:
    bearer = served.bearer()
    search = {"searchBy": {"fieldName": "subject", "value": "hello 1"}}
    assert len(served.ask(LIST, {"data": [{"admin": True, **search}]}, bearer).rows) == 1
    served.spoil({"operation": "*", "kind": "ignore_filters", "times": None})
    assert len(served.ask(LIST, {"data": [{"admin": True, **search}]}, bearer).rows) == 3
    released = {"filterBy": [{"fieldName": "status", "value": "rejected"}]}
    ids = [{"id": row["id"]} for row in served.ask(LIST, ALL, bearer).rows]
    served.ask(RELEASE, {"data": ids}, bearer)
    assert len(served.ask(LOG, {"data": [released]}, bearer).rows[0]["heldReleaseLogs"]) == 3


def test_pages_that_shift(served: Served) -> None:
    """After a row of the first page went, the second page leaves one out."""
    bearer = served.bearer()
    served.spoil({"operation": "holds.list", "kind": "row_offset_tokens", "times": None})
    page: dict[str, Any] = {"meta": {"pagination": {"pageSize": 1}}, **ALL}
    first = served.ask(LIST, page, bearer)
    served.ask(RELEASE, {"data": [{"id": first.row["id"]}]}, bearer)
    page["meta"]["pagination"]["pageToken"] = first.page["next"]
    second = served.ask(LIST, page, bearer)
    assert [first.row["subject"], second.row["subject"]] == ["Hello 2", "Hello 0"]
    assert "next" not in second.page


def test_the_lab_needs_its_token(served: Served) -> None:
    for headers in ({}, {"x-lab-token": "wrong"}):
        assert served.ask("/lab/faults", None, headers, method="GET").status == 403


def test_a_quota_that_is_used_up(served: Served) -> None:
    bearer = served.bearer()
    told = served.ask("/lab/quota", {"calls": 2, "seconds": 3_600}, {"x-lab-token": served.lab_token}, method="PUT")
    assert told.status == 200
    answers = [served.ask(LIST, ALL, bearer) for _ in range(4)]
    assert [told.status for told in answers] == [200, 200, 429, 429]
    assert [told.headers["x-ratelimit-remaining"] for told in answers] == ["1", "0", "0", "0"]
    assert int(answers[3].headers["retry-after"]) > 3_500
