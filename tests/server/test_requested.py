"""A request that creates something is carried out once, whatever its client repeats (promises C.7)."""

from __future__ import annotations

import pytest

from conftest import ANN, BOB, Lab
from mimeportal_server import keeping, people, requested
from mimeportal_server.people import Caller
from mimeportal_server.portal import Refused


def caller(lab: Lab, address: str) -> Caller:
    with lab.server.database.read() as tx:
        found = people.caller_of(tx, address, "test")
    assert found is not None
    return found


def remembered(lab: Lab, who: str, id: str, content: object) -> object:
    with lab.server.database.read() as tx:
        return requested.earlier(tx, caller(lab, who), id, content)


@pytest.fixture
def first(lab: Lab) -> Lab:
    with lab.server.write() as tx:
        ann = caller(lab, ANN)
        assert requested.earlier(tx, ann, "r-1", {"to": ["x"]}) is None
        requested.remember(tx, ann, "r-1", {"to": ["x"]}, {"id": "7"}, now=lab.server.clock.now())
    return lab


def test_a_repeat_gets_the_first_answer(first: Lab) -> None:
    assert remembered(first, ANN, "r-1", {"to": ["x"]}) == {"id": "7"}


def test_other_content_under_the_same_id_is_refused(first: Lab) -> None:
    with pytest.raises(Refused) as refused:
        remembered(first, ANN, "r-1", {"to": ["y"]})
    assert refused.value.failure.code == "err_request_id_reused"


def test_ids_are_each_person_s_own(first: Lab) -> None:
    assert remembered(first, BOB, "r-1", {"to": ["y"]}) is None


@pytest.mark.parametrize("id", ["", "r" * 65])
def test_an_id_has_a_length(first: Lab, id: str) -> None:
    with pytest.raises(Refused) as refused:
        remembered(first, ANN, id, {})
    assert refused.value.failure.field == "requestId"


def test_it_is_forgotten_after_a_week(first: Lab) -> None:
    first.advance(days=6)
    keeping.sweep(first.server)
    assert remembered(first, ANN, "r-1", {"to": ["x"]}) == {"id": "7"}
    first.advance(days=1, hours=1)
    keeping.sweep(first.server)
    assert remembered(first, ANN, "r-1", {"to": ["x"]}) is None
