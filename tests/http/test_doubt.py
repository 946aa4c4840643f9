"""Doubt over a real network, as Mimecast's APIs leave it: answers lost, filters ignored, pages shifting (promises A).

The server is ours, restricted to what each API of Mimecast offers: the client has no `holds.find`, no
`holds.decide` and no `holds.states` to lean on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from mimeportal import limits
from mimeportal.bulk import BulkResult, Plan
from mimeportal.holds import HoldFilter
from mimeportal.portal import Portal
from mimeportal.report import Outcome
from mimeportal.testing import ADMINISTRATOR, ANN, APP, BOB, SPAM, PortalFaults, PortalHome, PortalServer, mail

Apis = pytest.mark.parametrize("api", ["api1", "api2"])


@pytest.fixture
def held(portal_home: PortalHome) -> PortalHome:
    """Six messages for ann, of two senders by turns."""
    for number in range(6):
        sender = "Shop <offers@shop.example>" if number % 2 else "Eve <eve@elsewhere.example>"
        portal_home.deliver(mail(f"number {number}", sender=sender), hold=SPAM)
    return portal_home


def client(server: PortalServer, api: Any, who: str = APP) -> Portal:
    portal = server.client(who, api=api)
    portal.session.transport.policy.sleep = lambda _: None  # type: ignore[attr-defined]
    return portal


def run(plan: Plan, **options: Any) -> tuple[BulkResult, dict[str, Outcome]]:
    """Run a plan, one request at a time unless told; its outcomes by subject, each item having exactly one."""
    told: list[Outcome] = []
    with plan:
        result = plan.run(on_outcomes=told.extend, **options)
    assert len({outcome.id for outcome in told}) == len(told)
    return result, {str(outcome.item.described.get("subject") or outcome.id): outcome for outcome in told}


def outcomes(told: dict[str, Outcome]) -> dict[str, tuple[str, str | None]]:
    return {name: (outcome.outcome, outcome.verdict.code) for name, outcome in told.items()}


def left(home: PortalHome) -> list[str]:
    return sorted(hold.subject for hold in home.client(ADMINISTRATOR).holds.list(queue="admin"))


def released(home: PortalHome) -> Counter[str]:
    """How often each message was released and delivered, by its subject."""
    found = [octets for octets in home.delivered() if octets.kind == "released"]
    return Counter(line for one in found for line in one.octets.decode().splitlines() if line.startswith("Subject"))


def numbers(*which: int) -> list[str]:
    return [f"number {number}" for number in which]


@Apis
class TestFilters:
    def test_a_portal_that_ignores_all_filters(self, held: PortalHome, portal_server: PortalServer, api: str) -> None:
        held.deliver(mail("number 7", to=BOB), to=BOB, hold=SPAM)
        portal_server.faults.add("holds.list", "ignore_filters", times=None)
        portal = client(portal_server, api)
        wanted = HoldFilter(queue="personal", mailboxes=(ANN,), from_="shop.example", subject="number")
        result, told = run(portal.holds.plan("release", filter=wanted))
        assert sorted(told) == numbers(1, 3, 5)
        assert result.totals == {"done": 3}
        assert left(held) == numbers(0, 2, 4, 7), "nothing else was touched"

    def test_the_finder_too(self, held: PortalHome, portal_server: PortalServer, api: str) -> None:
        portal_server.faults.add("messages.search", "ignore_filters", times=None)
        portal = client(portal_server, api)
        found = list(portal.messages.track(from_="shop.example", subject="number 3"))
        assert [row.subject for row in found] == ["number 3"]
        result, _ = run(portal.holds.plan("release", ids=portal.messages.hold_ids(found)))
        assert result.totals == {"done": 1}
        assert left(held) == numbers(0, 1, 2, 4, 5)


@Apis
class TestShiftingPages:
    @pytest.fixture(autouse=True)
    def small_pages(self, monkeypatch: pytest.MonkeyPatch, portal_faults: PortalFaults) -> None:
        """Tokens count rows, so that whatever leaves the list moves the rest up."""
        monkeypatch.setattr(limits, "PAGE_SIZE", 2)
        portal_faults.add("holds.list", "row_offset_tokens", times=None)

    def test_the_selection_is_read_before_anything_is_done(
        self, held: PortalHome, portal_server: PortalServer, api: str
    ) -> None:
        portal = client(portal_server, api)
        result, _ = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")), batch_size=1)
        assert result.totals == {"done": 6}
        assert left(held) == []
        assert set(released(held).values()) == {1}

    def test_what_comes_in_meanwhile_is_untouched(
        self, held: PortalHome, portal_server: PortalServer, api: str
    ) -> None:
        """It also moves a row that was read to the next page: that one is taken once."""
        portal = client(portal_server, api)
        pages = portal.holds.list(queue="admin").pages()
        first = next(pages).rows
        held.deliver(mail("late"), hold=SPAM)
        ids = [hold for page in ([first], (page.rows for page in pages)) for rows in page for hold in rows]
        assert len(ids) == 7, "one of them twice"
        result, _ = run(portal.holds.plan("release", ids=ids))
        assert result.totals == {"done": 6}
        assert left(held) == ["late"]

    def test_the_look_after_a_lost_answer(self, held: PortalHome, portal_server: PortalServer, api: str) -> None:
        portal = client(portal_server, api, ADMINISTRATOR)
        portal_server.faults.add("holds.release", "reset_after", times=2)
        result, _ = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")), batch_size=3)
        assert result.totals == {"done": 6}
        assert set(released(held).values()) == {1}


@Apis
class TestABatchRefusedWhole:
    def test_is_halved_until_the_bad_id_stands_alone(
        self, held: PortalHome, portal_server: PortalServer, api: str
    ) -> None:
        """Calls 1, 3 and 4 are those that hold the third of four: they are refused as a whole."""
        portal = client(portal_server, api)
        chosen = list(portal.holds.list(queue="admin"))[:4]
        add = portal_server.faults.add
        add("holds.release", "status", status=400, code="err_bad_id")
        add("holds.release", "status", status=400, code="err_bad_id", skip=1, times=2)
        result, told = run(portal.holds.plan("release", ids=chosen))
        assert outcomes(told) == {
            "number 5": ("done", None),
            "number 4": ("done", None),
            "number 3": ("failed", "err_bad_id"),
            "number 2": ("done", None),
        }
        assert result.stopped is None
        assert left(held) == numbers(0, 1, 3)
        assert portal_server.faults.left == []

    def test_an_id_that_is_none_fails_alone(self, held: PortalHome, portal_server: PortalServer, api: str) -> None:
        portal = client(portal_server, api)
        chosen: list[Any] = ["eNmadeup", *portal.holds.list(queue="admin")]
        result, told = run(portal.holds.plan("reject", ids=chosen))
        assert result.totals == {"done": 6, "failed": 1}
        assert told["eNmadeup"].verdict.code == "xdk_failure"


LOST = ["reset_before", "stall", "reset_after", "cut", "bad_json"]
NOT_DONE = ("reset_before", "stall")


@Apis
class TestALostAnswer:
    @pytest.mark.parametrize("kind", LOST)
    def test_somebody_with_a_name_finds_out(
        self, held: PortalHome, portal_server: PortalServer, api: str, kind: str
    ) -> None:
        """Not done: it is still held, and sent once more. Done: it is gone, with one row of the log under our name."""
        portal = client(portal_server, api, ADMINISTRATOR)
        portal_server.faults.add("holds.release", kind, skip=1, milliseconds=20)
        result, told = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")), batch_size=2)
        assert outcomes(told) == dict.fromkeys(numbers(0, 1, 2, 3, 4, 5), ("done", None))
        assert result.stopped is None
        assert set(released(held).values()) == {1}
        acted = [seen for seen in portal_server.requests if seen.operation == "holds.release" and seen.items]
        assert len(acted) == 3, "what was done is not sent again"

    @pytest.mark.parametrize("kind", LOST)
    def test_an_app_without_a_name_does_not_guess(
        self, held: PortalHome, portal_server: PortalServer, api: str, kind: str
    ) -> None:
        portal = client(portal_server, api)
        portal_server.faults.add("holds.release", kind, milliseconds=20)
        result, told = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")), batch_size=3)
        if kind in NOT_DONE:
            assert result.totals == {"done": 6}
        else:
            assert result.totals == {"done": 3, "unknown": 3}
            assert {o.verdict.code for o in told.values() if o.outcome == "unknown"} == {"answer_lost"}
        assert set(released(held).values()) == {1}

    def test_a_notice_is_never_sent_again(self, portal_home: PortalHome, portal_server: PortalServer, api: str) -> None:
        """The reject is sent once more, without it (promises A.4)."""
        reason = "Message Hold Applied - Content examination policy"
        portal_home.deliver(mail("once"), hold=reason)
        portal = client(portal_server, api, ADMINISTRATOR)
        portal_server.faults.add("holds.reject", "reset_before")
        result, _ = run(portal.holds.plan("reject", filter=HoldFilter(queue="admin"), notify=True, message="no"))
        assert result.totals == {"done": 1}
        assert [gone for gone in portal_home.delivered() if gone.kind == "written"] == []

    def test_many_at_once_each_exactly_once(
        self, portal_home: PortalHome, portal_server: PortalServer, api: str
    ) -> None:
        for number in range(40):
            portal_home.deliver(mail(f"number {number}"), hold=SPAM)
        portal = client(portal_server, api, ADMINISTRATOR)
        for kind in ("reset_after", "status", "quota", "cut", "reset_before", "bad_json"):
            portal_server.faults.add("holds.release", kind, skip=1, status=503, milliseconds=5)
        plan = portal.holds.plan("release", filter=HoldFilter(queue="admin"))
        result, _ = run(plan, batch_size=2, concurrency=8)
        assert result.totals == {"done": 40}
        assert portal_server.faults.left == []
        assert (len(released(portal_home)), set(released(portal_home).values())) == (40, {1})


@Apis
class TestAnotherModerator:
    @pytest.mark.parametrize(
        ("ours", "theirs", "ends"),
        [
            ("release", "release", ("already", None)),
            ("reject", "reject", ("already", None)),
            ("release", "reject", ("failed", "already_rejected")),
            ("reject", "release", ("failed", "already_released")),
        ],
    )
    def test_was_faster(
        self,
        held: PortalHome,
        portal_server: PortalServer,
        api: str,
        ours: str,
        theirs: str,
        ends: tuple[str, str | None],
    ) -> None:
        portal = client(portal_server, api)
        plan = portal.holds.plan(ours, filter=HoldFilter(queue="admin", from_="shop.example"))
        other = held.client(ADMINISTRATOR)
        (taken,) = other.holds.list(queue="admin", subject="number 3")
        decide(other, theirs, [taken.id])
        _, told = run(plan)
        assert outcomes(told) == {"number 1": ("done", None), "number 3": ends, "number 5": ("done", None)}
        assert max(released(held).values(), default=1) == 1

    def test_and_our_answer_was_lost(self, held: PortalHome, portal_server: PortalServer, api: str) -> None:
        """Gone, but the log names somebody else: what became of our request is not known, and not guessed."""
        portal = client(portal_server, api, ADMINISTRATOR)
        plan = portal.holds.plan("release", filter=HoldFilter(queue="admin", subject="number 3"))
        portal_server.faults.add("holds.release", "reset_before")
        (taken,) = held.client(ANN).holds.list(subject="number 3")
        decide(held.client(ANN), "release", [taken.id])
        _, told = run(plan)
        assert outcomes(told) == {"number 3": ("unknown", "answer_lost")}
        assert released(held).total() == 1


def decide(portal: Portal, verb: str, ids: Sequence[str]) -> None:
    act = portal.holds.release if verb == "release" else portal.holds.reject
    assert act(ids).totals == {"done": len(ids)}
