"""Acting in bulk: what is chosen, what becomes of every item, and what the report keeps (promises A)."""

from __future__ import annotations

import gc
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from conftest import ADMIN, ANN, BOB, MOD, Lab, mail_of
from mimeportal import bulk
from mimeportal.bulk import BulkResult, Plan
from mimeportal.errors import (
    AuthenticationError,
    DeclinedError,
    LostAnswerError,
    NotOfferedError,
    UnavailableError,
    UsageError,
)
from mimeportal.holds import Hold, HoldFilter
from mimeportal.portal import Portal
from mimeportal.report import REPORT_FIELDS, Context, Outcome, Report, Verdict, read_lines, retry_selection
from mimeportal.selection import Item, collect
from mimeportal.wire import Failure, Request, Response, encode_answer

LIST, FIND = "/api/gateway/get-hold-message-list", "/api/portal/holds/find"
RELEASE, REJECT = "/api/gateway/hold-release", "/api/gateway/hold-reject"
DECIDE, STATES = "/api/portal/holds/decide", "/api/portal/holds/states"
PERMIT_OR_BLOCK, LOG = "/api/managedsender/permit-or-block-sender", "/api/gateway/get-held-release-logs"
ACTS = {RELEASE, REJECT, DECIDE}
APIS = pytest.mark.parametrize("api", ["local", "api2"])

Forward = Callable[..., Response]
Hook = Callable[[str, Any, Forward], Response]


class Around:
    """A transport around a real one: a hook sees each request before it goes on, and may do otherwise."""

    def __init__(self, portal: Portal, hook: Hook) -> None:
        self._inner = portal._transport
        self._hook = hook
        self.api, self.url, self.user = self._inner.api, self._inner.url, self._inner.user
        self.parallel = self._inner.parallel
        self.sent: list[tuple[str, Any]] = []

    def send(self, request: Request) -> Response:
        document = json.loads(b"".join(request.body))
        self.sent.append((request.path, document))

        def forward(other: Any = None) -> Response:
            body = json.dumps(document if other is None else other).encode()
            return self._inner.send(Request(request.method, request.path, request.headers, [body]))

        return self._hook(request.path, document, forward)

    def close(self) -> str | None:
        return self._inner.close()

    def acts(self) -> list[Any]:
        return [document for path, document in self.sent if path in ACTS]


class Opener:
    """Opens portals of one lab with hooks in the way, and closes them at the end."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._open: list[Portal] = []

    def __call__(self, hook: Hook | None = None, *, by: str = ADMIN, api: str = "local") -> tuple[Portal, Around]:
        around = Around(self.lab.client(by, api=api), hook or (lambda _path, _document, forward: forward()))
        portal = Portal(around, profile="test")
        self._open.append(portal)
        return portal, around

    def close(self) -> None:
        for portal in self._open:
            portal.close()


@pytest.fixture
def opened(lab: Lab) -> Iterator[Opener]:
    opener = Opener(lab)
    yield opener
    opener.close()


def hold_mail(lab: Lab, count: int, *, to: str = ANN, **mail: Any) -> None:
    for number in range(count):
        lab.receive(mail_of(subject=f"message {number}", **mail), to=to)


def held(lab: Lab) -> list[Hold]:
    """What the portal still holds, newest first, as an administrator sees it."""
    portal = lab.client(ADMIN)
    try:
        return list(portal.holds.list(queue="admin"))
    finally:
        portal._transport._portal.close()  # type: ignore[attr-defined]  # without delivering


def subjects(holds: Sequence[Hold]) -> list[str]:
    return sorted(hold.subject for hold in holds)


def run(plan: Plan, **options: Any) -> tuple[BulkResult, dict[str, Outcome]]:
    """Run a plan; its outcomes by subject, each item having exactly one."""
    told: list[Outcome] = []
    with plan:
        result = plan.run(on_outcomes=told.extend, **options)
    names = [str(outcome.item.described.get("subject") or outcome.id) for outcome in told]
    assert len(set(names)) == len(names)
    assert result.totals == Counter(outcome.outcome for outcome in told)
    return result, dict(zip(names, told, strict=True))


def outcomes(told: dict[str, Outcome]) -> dict[str, tuple[str, str | None]]:
    return {name: (outcome.outcome, outcome.verdict.code) for name, outcome in told.items()}


def answered(document: Any, status: int = 200) -> Response:
    return Response(status, {"content-type": "application/json"}, iter([json.dumps(document).encode()]))


def refused(code: str, status: int, message: str = "no") -> Response:
    # A portal that is busy says so: it has not begun.
    body = encode_answer([], [Failure(code, message, retryable=status == 503)], status=status)
    return Response(status, {"content-type": "application/json"}, iter([body]))


def ids_of(document: Any) -> list[str]:
    """The ids that an act names, whichever operation it is."""
    items = document["data"]
    return [id for item in items for id in item.get("ids", [item.get("id")])]


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # the descriptor that listed the folder
        return ""


class TestSelection:
    @APIS
    def test_a_portal_that_ignores_every_filter(self, lab: Lab, opened: Opener, api: str) -> None:
        lab.receive(mail_of("Eve <eve@elsewhere.example>", "invoice of May"))
        lab.receive(mail_of("Eve <eve@elsewhere.example>", "greetings"))
        lab.receive(mail_of("Eve <eve@sub.elsewhere.example>", "invoice of June"))
        lab.receive(mail_of("Eve <eve@elsewhere.example>", "invoice of July", to=BOB), to=BOB)

        def unfiltered(path: str, document: Any, forward: Forward) -> Response:
            if path == FIND:
                document["data"] = [{"queue": "admin"}]
            if path == LIST:
                document["data"] = [{"admin": True}]
            return forward(document)

        portal, _ = opened(unfiltered, api=api)
        wanted = HoldFilter(queue="admin", mailboxes=(ANN,), from_="elsewhere.example", subject="INVOICE")
        result, told = run(portal.holds.plan("release", filter=wanted))
        assert result.clean
        assert list(told) == ["invoice of May"]
        assert subjects(held(lab)) == ["greetings", "invoice of July", "invoice of June"]

    @APIS
    def test_pages_that_shift_while_acting(self, lab: Lab, opened: Opener, api: str) -> None:
        """A page token that counts rows shows other rows once some are gone: nothing is skipped, nothing added."""
        hold_mail(lab, 9)
        path_of_list = LIST if api == "api2" else FIND

        def by_offset(path: str, document: Any, forward: Forward) -> Response:
            if path != path_of_list:
                return forward()
            offset = int(document["meta"]["pagination"].pop("pageToken", "0"))
            rows = json.loads(b"".join(forward(document).body))["data"]
            block = {"pageSize": 2, "totalCount": len(rows)}
            if offset + 2 < len(rows):
                block["next"] = str(offset + 2)  # type: ignore[assignment]
            return answered({"meta": {"pagination": block}, "data": rows[offset : offset + 2], "fail": []})

        portal, around = opened(by_offset, api=api)
        result, _ = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")), batch_size=2)
        assert (result.totals["done"], held(lab)) == (9, [])
        paths = [path for path, _ in around.sent]
        last_list = max(at for at, path in enumerate(paths) if path == path_of_list)
        assert last_list < min(at for at, path in enumerate(paths) if path in ACTS)

    @APIS
    def test_what_arrives_meanwhile_is_untouched(self, lab: Lab, opened: Opener, api: str) -> None:
        hold_mail(lab, 4)

        def receiving(path: str, document: Any, forward: Forward) -> Response:
            if path in ACTS:
                lab.receive(mail_of(subject="late"))
            return forward()

        portal, _ = opened(receiving, api=api)
        result, _ = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")), batch_size=2)
        assert result.totals["done"] == 4
        assert subjects(held(lab)) == ["late", "late"]

    def test_mimecast_is_always_told_a_time(self, lab: Lab, opened: Opener) -> None:
        portal, around = opened(api="api2")
        list(portal.holds.list())
        (item,) = around.sent[0][1]["data"]
        assert item["start"] < item["end"]

    def test_pages_of_a_mimecast_list_continue_the_same_question(
        self, lab: Lab, opened: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hold_mail(lab, 5)
        portal, around = opened(api="api2")

        class Ticking(datetime):
            seconds = 0

            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                cls.seconds += 1
                return datetime.fromtimestamp(lab.time + cls.seconds, tz)

        monkeypatch.setattr("mimeportal.holds.client.datetime", Ticking)
        assert len(list(portal.holds.list(page_size=2))) == 5
        asked = [json.dumps(document["data"]) for path, document in around.sent if path == LIST]
        assert len(asked) == 3
        assert len(set(asked)) == 1

    def test_an_id_named_twice_is_acted_on_once(self, lab: Lab, opened: Opener) -> None:
        hold_mail(lab, 2)
        first, second = (hold.id for hold in held(lab))
        portal, around = opened()
        with portal.holds.plan("release", ids=[first, second, first, first]) as plan:
            assert len(plan) == 2
            plan.run()
        assert sorted(ids_of(around.acts()[0])) == sorted([first, second])

    def test_a_limit_takes_the_oldest(self, lab: Lab, opened: Opener) -> None:
        for number in range(5):
            lab.receive(mail_of(subject=f"message {number}"))
            lab.advance(hours=1)
        portal, _ = opened()
        _, told = run(portal.holds.plan("release", filter=HoldFilter(queue="admin"), limit=2))
        assert sorted(told) == ["message 0", "message 1"]

    def test_more_than_the_maximum_changes_nothing(self, lab: Lab, opened: Opener) -> None:
        hold_mail(lab, 3)
        portal, around = opened()
        with portal.holds.plan("release", filter=HoldFilter(queue="admin")) as plan:
            with pytest.raises(DeclinedError, match="3 items are selected"):
                plan.refuse_above(2)
            plan.refuse_above(3)
        assert around.acts() == []

    def test_the_spooled_selection_is_its_owner_s_alone_and_does_not_stay(
        self, lab: Lab, opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hold_mail(lab, 1)
        spool = tmp_path / "spool"
        spool.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(spool))
        portal, _ = opened()
        with portal.holds.plan("release", filter=HoldFilter(queue="admin")):
            assert list(spool.iterdir()) == [], "without a name not even a kill leaves it behind"
            open_files = [entry for entry in Path("/proc/self/fd").iterdir() if _target(entry).startswith(str(spool))]
            assert {stat.S_IMODE(entry.stat().st_mode) for entry in open_files} == {0o600}

    def test_exactly_one_way_of_choosing(self, opened: Opener) -> None:
        portal, _ = opened()
        with pytest.raises(UsageError):
            portal.holds.plan("release")
        with pytest.raises(UsageError):
            portal.holds.plan("release", ids=["eN1"], filter=HoldFilter())

    @pytest.mark.parametrize(
        ("verb", "options"),
        [
            ("keep", {}),
            ("release", {"block": "address"}),
            ("release", {"notify": True}),
            ("release", {"permit": "everything"}),
            ("release", {"permit": "address", "sender_part": "body"}),
            ("reject", {"permit": "address"}),
            ("reject", {"message": "no"}),
            ("reject", {"reason_type": "BECAUSE"}),
        ],
    )
    def test_options_without_meaning_are_refused_before_anything_is_sent(
        self, opened: Opener, verb: str, options: dict[str, Any]
    ) -> None:
        portal, around = opened()
        with pytest.raises(UsageError):
            portal.holds.plan(verb, ids=["eN1"], **options)
        assert around.sent == []

    @pytest.mark.parametrize(("verb", "option"), [("release", "permit"), ("reject", "block")])
    def test_a_whole_domain_is_not_offered_on_mimecast(self, opened: Opener, verb: str, option: str) -> None:
        portal, around = opened(api="api2")
        with pytest.raises(NotOfferedError):
            portal.holds.plan(verb, ids=["eN1"], **{option: "domain"})
        assert around.sent == []

    def test_blocked_senders_are_left_out_by_filter_and_go_by_id(self, lab: Lab, opened: Opener) -> None:
        """promises B.5"""
        hold_mail(lab, 1)
        lab.receive(mail_of("Mallory <m@blocked.example>", "from a blocked sender"))
        ann = lab.client(ANN)
        ann.senders.add(["blocked.example"], "blocked")
        ann.close()
        portal, _ = opened(by=ANN)
        with portal.holds.plan("release", filter=HoldFilter()) as plan:
            assert [line["subject"] for line in plan.lines()] == ["message 0"]
            assert plan.left_out == {"sender_blocked": 1}
        (blocked,) = portal.holds.list(subject="blocked")
        plan = portal.holds.plan("release", ids=[blocked.id])
        assert [line["code"] for line in plan.lines()] == ["sender_blocked"]
        result, _ = run(plan)
        assert result.clean
        with portal.holds.plan("reject", filter=HoldFilter()) as plan:
            assert plan.left_out == {}

    def test_more_notices_than_expected_need_a_word(self, lab: Lab, opened: Opener) -> None:
        hold_mail(lab, 26)
        portal, around = opened()
        with pytest.raises(DeclinedError, match="26 notices"):
            portal.holds.plan("reject", filter=HoldFilter(queue="admin"), notify=True)
        with portal.holds.plan("reject", filter=HoldFilter(queue="admin"), notify=True, notify_many=True) as plan:
            assert len(plan) == 26
        assert around.acts() == []


class TestOutcomes:
    def test_done_says_in_which_request_and_with_which_entry(self, lab: Lab, opened: Opener) -> None:
        hold_mail(lab, 1)
        portal, _ = opened()
        _, told = run(portal.holds.plan("release", filter=HoldFilter(queue="admin"), permit="domain"))
        verdict = told["message 0"].verdict
        assert verdict.entry == "elsewhere.example"
        (state,) = portal.holds.states([told["message 0"].id])
        assert (state.state, state.by, state.request_id) == ("released", ADMIN, verdict.request_id)

    @APIS
    @pytest.mark.parametrize(("verb", "other"), [("release", "reject"), ("reject", "release")])
    def test_somebody_was_faster(self, lab: Lab, opened: Opener, api: str, verb: str, other: str) -> None:
        hold_mail(lab, 3)
        portal, _ = opened(api=api)
        plan = portal.holds.plan(verb, filter=HoldFilter(queue="admin"))
        ann, _ = opened(by=ANN)
        same, different, _ = sorted(ann.holds.list(), key=lambda hold: hold.subject)
        getattr(ann.holds, verb)([same])
        getattr(ann.holds, other)([different])
        result, told = run(plan)
        past = "rejected" if other == "reject" else "released"
        assert outcomes(told) == {
            "message 0": ("already", None),
            "message 1": ("failed", f"already_{past}"),
            "message 2": ("done", None),
        }
        assert ANN in str(told["message 0"].verdict.error)
        assert not result.clean
        assert result.codes == {f"already_{past}": 1}

    @APIS
    def test_expired_and_never_there(self, lab: Lab, opened: Opener, api: str) -> None:
        hold_mail(lab, 1)
        (old,) = held(lab)
        lab.advance(days=15)
        portal, _ = opened(api=api)
        never = lab.server.sealer.id("hold", 4711)
        _, told = run(portal.holds.plan("release", ids=[old.id, never, "eNfabricated"]))
        assert outcomes(told) == {
            old.id: ("failed", "expired"),
            never: ("failed", "not_found"),
            "eNfabricated": ("failed", "xdk_failure"),
        }

    def test_not_allowed(self, lab: Lab, opened: Opener) -> None:
        lab.receive(mail_of(to=BOB, subject="moderated"), to=BOB, level="moderator")
        portal, _ = opened(by=MOD)
        _, told = run(portal.holds.plan("release", filter=HoldFilter(queue="moderated"), permit="address"))
        assert outcomes(told) == {"moderated": ("failed", "forbidden")}
        assert subjects(held(lab)) == ["moderated"]

    @pytest.mark.parametrize(("verb", "path"), [("release", RELEASE), ("reject", REJECT)])
    def test_an_answer_that_says_false_is_never_done(self, lab: Lab, opened: Opener, verb: str, path: str) -> None:
        hold_mail(lab, 2)
        newest = held(lab)[0]

        def denying(sent_to: str, document: Any, forward: Forward) -> Response:
            if sent_to != path:
                return forward()
            return answered({"data": [{"id": id, verb: id != newest.id} for id in ids_of(document)], "fail": []})

        portal, _ = opened(denying, api="api2")
        _, told = run(portal.holds.plan(verb, filter=HoldFilter()))
        assert outcomes(told) == {"message 0": ("done", None), "message 1": ("failed", "not_done")}

    @APIS
    def test_an_id_that_the_answer_does_not_name_and_that_stays_held_is_unknown(
        self, lab: Lab, opened: Opener, api: str
    ) -> None:
        hold_mail(lab, 3)
        silent = held(lab)[1].id

        def dropping(path: str, document: Any, forward: Forward) -> Response:
            if path in ACTS:
                document["data"] = [item for item in document["data"] if item["id"] != silent]
                if not document["data"]:
                    return answered({"data": [], "fail": []})
            return forward(document)

        portal, around = opened(dropping, api=api)
        result, told = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")))
        assert outcomes(told) == {
            "message 0": ("done", None),
            "message 1": ("unknown", "answer_lost"),
            "message 2": ("done", None),
        }
        assert not result.clean
        assert subjects(held(lab)) == ["message 1"]
        assert len(around.acts()) <= 4, "nobody asks for ever"

    @APIS
    def test_an_id_that_the_answer_does_not_name_but_that_was_released(
        self, lab: Lab, opened: Opener, api: str
    ) -> None:
        hold_mail(lab, 3)
        silent = held(lab)[1].id

        def keeping_silent(path: str, document: Any, forward: Forward) -> Response:
            response = forward()
            if path not in ACTS:
                return response
            answer = json.loads(b"".join(response.body))
            answer["data"] = [row for row in answer["data"] if row["id"] != silent]
            return answered(answer)

        portal, around = opened(keeping_silent, api=api)
        result, _ = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")))
        assert result.totals == {"done": 3}
        assert len(around.acts()) == 1, "what was done is not sent again"

    @APIS
    def test_failures_without_a_key_beside_rows(self, lab: Lab, opened: Opener, api: str) -> None:
        """What was done stays done, though nothing tells whose the failure is."""
        hold_mail(lab, 2)
        newest = held(lab)[0].id

        def half(path: str, document: Any, forward: Forward) -> Response:
            if path not in ACTS or len(document["data"]) == 1:
                return forward()
            document["data"] = [item for item in document["data"] if item["id"] != newest]
            answer = json.loads(b"".join(forward(document).body))
            answer["fail"] = [{"errors": [{"code": "err_other", "message": "no", "retryable": False}]}]
            return answered(answer)

        portal, _ = opened(half, api=api)
        result, _ = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")))
        assert result.totals == {"done": 2}

    @APIS
    def test_a_batch_that_is_refused_whole_is_halved(self, lab: Lab, opened: Opener, api: str) -> None:
        hold_mail(lab, 16)
        bad = held(lab)[5].id

        def refusing(path: str, document: Any, forward: Forward) -> Response:
            if path in ACTS and bad in ids_of(document):
                return refused("err_validation", 400, "One of them is bad")
            return forward()

        portal, around = opened(refusing, api=api)
        result, told = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")))
        assert result.totals == {"done": 15, "failed": 1}
        assert outcomes(told)["message 10"] == ("failed", "err_validation")
        assert [hold.id for hold in held(lab)] == [bad]
        assert len(around.acts()) == 9, "16 is halved four times"

    def test_problems_kept_are_bounded(self) -> None:
        class Failing(Fake):
            def act(self, items: Sequence[Item]) -> list[Verdict | None]:
                return [Verdict("failed", "no") for _ in items]

        result, _ = run(plan_of(250, Failing()))
        assert (result.totals["failed"], result.codes["no"], len(result.problems)) == (250, 250, 100)


class TestLostAnswers:
    @APIS
    @pytest.mark.parametrize("verb", ["release", "reject"])
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_lost_once(self, lab: Lab, opened: Opener, api: str, verb: str, when: str) -> None:
        """Lost before the act it is sent again, lost after it is found to be done: one decision either way."""
        hold_mail(lab, 4)
        lost: list[str] = []

        def losing(path: str, document: Any, forward: Forward) -> Response:
            if path in ACTS and not lost:
                lost.append(path)
                if when == "after":
                    forward()
                raise LostAnswerError("The line is dead.")
            return forward()

        portal, around = opened(losing, api=api)
        result, _ = run(portal.holds.plan(verb, filter=HoldFilter(queue="admin")), batch_size=2)
        assert result.totals == {"done": 4}
        sent = Counter(id for document in around.acts() for id in ids_of(document))
        assert sorted(sent.values()) == ([1, 1, 2, 2] if when == "before" else [1, 1, 1, 1])
        portal.close()
        assert len(lab.outgoing()) == (4 if verb == "release" else 0)

    @APIS
    def test_lost_again_and_again(self, lab: Lab, opened: Opener, api: str) -> None:
        hold_mail(lab, 2)

        def dead(path: str, document: Any, forward: Forward) -> Response:
            if path in ACTS:
                raise LostAnswerError("The line is dead.")
            return forward()

        portal, around = opened(dead, api=api)
        result, _ = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")))
        assert result.totals == {"unknown": 2}
        assert result.codes == {"answer_lost": 2}
        assert len(around.acts()) <= 4

    @APIS
    def test_looking_fails_too(self, lab: Lab, opened: Opener, api: str) -> None:
        hold_mail(lab, 2)
        dead: list[str] = []

        def dying(path: str, document: Any, forward: Forward) -> Response:
            if path in ACTS:
                dead.append(path)
                forward()
            if dead:
                raise LostAnswerError("The line is dead.")
            return forward()

        portal, around = opened(dying, api=api)
        result, _ = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")))
        assert result.totals == {"unknown": 2}
        assert len(around.acts()) == 1

    @APIS
    def test_an_answer_that_cannot_be_read_is_a_lost_one(self, lab: Lab, opened: Opener, api: str) -> None:
        hold_mail(lab, 2)

        def garbled(path: str, document: Any, forward: Forward) -> Response:
            response = forward()
            return Response(200, response.headers, iter([b'{"data": ['])) if path in ACTS else response

        portal, around = opened(garbled, api=api)
        result, _ = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")))
        assert result.totals == {"done": 2}
        assert len(around.acts()) == 1

    @APIS
    def test_lost_while_somebody_else_did_it(self, lab: Lab, opened: Opener, api: str) -> None:
        hold_mail(lab, 1)
        ann, _ = opened(by=ANN)

        def overtaken(path: str, document: Any, forward: Forward) -> Response:
            if path in ACTS:
                ann.holds.release(ids_of(document))
                raise LostAnswerError("The line is dead.")
            return forward()

        portal, _ = opened(overtaken, api=api)
        _, told = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")))
        expected = ("already", None) if api == "local" else ("unknown", "answer_lost")
        assert outcomes(told) == {"message 0": expected}

    def test_messages_alike_prove_nothing_on_mimecast(self, lab: Lab, opened: Opener) -> None:
        """Two log rows for two messages alike: which answer belongs to which cannot be told."""
        for _ in range(2):
            lab.receive(mail_of(subject="the same"))

        def losing(path: str, document: Any, forward: Forward) -> Response:
            response = forward()
            if path in ACTS:
                raise LostAnswerError("The line is dead.")
            return response

        portal, _ = opened(losing, api="api2")
        with portal.holds.plan("release", filter=HoldFilter()) as plan:
            result = plan.run()
        assert result.totals == {"unknown": 2}

    def test_an_app_without_user_claims_nothing(self, lab: Lab, opened: Opener) -> None:
        hold_mail(lab, 1)
        (hold,) = held(lab)

        def losing(path: str, document: Any, forward: Forward) -> Response:
            response = forward()
            if path in ACTS:
                raise LostAnswerError("The line is dead.")
            if path == LOG:
                answer = json.loads(b"".join(response.body))
                for row in answer["data"][0]["heldReleaseLogs"]:
                    del row["operator"]
                return answered(answer)
            return response

        portal, around = opened(losing, api="api2")
        around.user = None
        result, _ = run(portal.holds.plan("release", ids=[hold]))
        assert result.totals == {"unknown": 1}

    def test_mimecast_is_looked_at_once_at_the_end(self, lab: Lab, opened: Opener) -> None:
        hold_mail(lab, 6)

        def losing(path: str, document: Any, forward: Forward) -> Response:
            response = forward()
            if path in ACTS:
                raise LostAnswerError("The line is dead.")
            return response

        portal, around = opened(losing, api="api2")
        result, _ = run(portal.holds.plan("release", filter=HoldFilter()), batch_size=2)
        assert result.totals == {"done": 6}
        paths = [path for path, _ in around.sent]
        assert [paths.count(path) for path in (LIST, LOG, RELEASE)] == [2, 1, 3]

    def test_a_notice_is_never_sent_a_second_time(self, lab: Lab, opened: Opener) -> None:
        """Whether Mimecast told the sender before the answer was lost is not known: the repeat is silent."""
        hold_mail(lab, 2)
        lost: list[str] = []

        def losing(path: str, document: Any, forward: Forward) -> Response:
            if path in ACTS and not lost:
                lost.append(path)
                raise LostAnswerError("The line is dead.")
            return forward()

        portal, around = opened(losing, api="api2")
        plan = portal.holds.plan("reject", filter=HoldFilter(), notify=True, message="No.", reason_type=None)
        result, _ = run(plan)
        assert result.totals == {"done": 2}
        first, second = (document["data"][0] for document in around.acts())
        assert (first["notify"], first["message"]) == (True, "No.")
        assert second == {"ids": first["ids"]}

    def test_here_the_notice_belongs_to_the_decision(self, lab: Lab, opened: Opener) -> None:
        lab.receive(mail_of(), kind="content")
        lost: list[str] = []

        def losing(path: str, document: Any, forward: Forward) -> Response:
            response = forward() if lost else None
            if path in ACTS and not lost:
                lost.append(path)
                raise LostAnswerError("The line is dead.")
            return response or forward()

        portal, _ = opened(losing)
        result, _ = run(portal.holds.plan("reject", filter=HoldFilter(queue="admin"), notify=True))
        assert (result.totals, result.notices) == ({"done": 1}, {"queued": 1})
        portal.close()
        assert len(lab.outgoing()) == 1


class TestListEntriesOnMimecast:
    """Permit or block first, then the message; if the entry fails the message is not touched (promises B.6)."""

    def test_the_order(self, lab: Lab, opened: Opener) -> None:
        hold_mail(lab, 2)
        portal, around = opened(api="api2")
        result, _ = run(portal.holds.plan("reject", filter=HoldFilter(), block="address"))
        assert result.clean
        acts = [path for path, _ in around.sent if path in (PERMIT_OR_BLOCK, REJECT)]
        assert acts == [PERMIT_OR_BLOCK, PERMIT_OR_BLOCK, REJECT]
        entry = {"sender": "eve@elsewhere.example", "to": ANN, "action": "block"}
        assert [document["data"] for path, document in around.sent if path == PERMIT_OR_BLOCK] == [[entry]] * 2

    @pytest.mark.parametrize(
        ("answer", "code"),
        [("refused", "err_validation_invalid_email_address"), ("lost", "answer_lost"), ("whole", "err_whole")],
    )
    def test_an_entry_that_fails(self, lab: Lab, opened: Opener, answer: str, code: str) -> None:
        hold_mail(lab, 1)
        lab.receive(mail_of("Bad <bad@elsewhere.example>", "bad"))

        def failing(path: str, document: Any, forward: Forward) -> Response:
            if path != PERMIT_OR_BLOCK or document["data"][0]["sender"] != "bad@elsewhere.example":
                return forward()
            if answer == "lost":
                raise LostAnswerError("The line is dead.")
            key = document["data"][0] if answer == "refused" else None
            body = encode_answer([], [Failure(code, "Bad sender", key=key)])
            return Response(200, {"content-type": "application/json"}, iter([body]))

        portal, _ = opened(failing, api="api2")
        _, told = run(portal.holds.plan("release", filter=HoldFilter(), permit="address"))
        assert outcomes(told) == {"message 0": ("done", None), "bad": ("failed", code)}
        assert "permit entry" in str(told["bad"].verdict.error)
        assert "not touched" in str(told["bad"].verdict.error)
        assert subjects(held(lab)) == ["bad"]

    def test_no_single_sender(self, lab: Lab, opened: Opener) -> None:
        lab.receive(mail_of("a@one.example, b@two.example", "two senders"))
        portal, around = opened(api="api2")
        _, told = run(portal.holds.plan("release", filter=HoldFilter(), permit="address"))
        assert outcomes(told) == {"two senders": ("failed", "no_sender")}
        assert around.acts() == []

    @pytest.mark.parametrize("status", [401, 503])
    def test_a_portal_that_goes_away_between_the_entries(self, lab: Lab, opened: Opener, status: int) -> None:
        """What was done is told; the run stops instead of trying every other item."""
        hold_mail(lab, 8)
        entries: list[Any] = []

        def going(path: str, document: Any, forward: Forward) -> Response:
            if path == PERMIT_OR_BLOCK:
                entries.append(document)
            return refused("gone", status) if len(entries) > 3 else forward()

        portal, _ = opened(going, api="api2")
        result, _ = run(portal.holds.plan("release", filter=HoldFilter(), permit="address"), batch_size=2)
        assert result.stopped is not None
        assert result.totals == {"done": 2, "failed": 2}
        assert result.not_attempted == 4
        errors = sorted(str(problem.verdict.error) for problem in result.problems)
        assert "The permit entry was added, the message not touched." in errors[0] + errors[1]
        assert all("not touched" in error.lower() for error in errors)
        assert len(held(lab)) == 6


class TestStopping:
    @APIS
    @pytest.mark.parametrize(
        ("status", "kind"), [(503, UnavailableError), (429, UnavailableError), (401, AuthenticationError)]
    )
    def test_a_portal_that_cannot_answer_stops_the_run(
        self, lab: Lab, opened: Opener, api: str, status: int, kind: type[Exception], tmp_path: Path
    ) -> None:
        hold_mail(lab, 12)
        acts: list[Any] = []

        def going(path: str, document: Any, forward: Forward) -> Response:
            if path in ACTS:
                acts.append(document)
            return refused("gone", status) if len(acts) > 1 else forward()

        portal, _ = opened(going, api=api)
        plan = portal.holds.plan("release", filter=HoldFilter(queue="admin"))
        report = Report(tmp_path / "report")
        result, _ = run(plan, batch_size=2, report=report)
        assert isinstance(result.stopped, kind)
        assert (result.totals, result.not_attempted) == ({"done": 2}, 10)
        assert not result.clean
        assert len(acts) <= 4, "batches that were under way, and no more"
        assert report.todo.exists()
        assert len(held(lab)) == 10

    def test_the_short_form_raises_it(self, lab: Lab, opened: Opener) -> None:
        hold_mail(lab, 1)
        portal, _ = opened(lambda path, _, forward: refused("gone", 503) if path in ACTS else forward())
        with pytest.raises(UnavailableError):
            portal.holds.release([hold.id for hold in portal.holds.list(queue="admin")])

    def test_a_refusal_in_one_half_is_no_reason_to_try_the_other(self, lab: Lab, opened: Opener) -> None:
        hold_mail(lab, 4)
        acts: list[int] = []

        def going(path: str, document: Any, forward: Forward) -> Response:
            if path not in ACTS:
                return forward()
            acts.append(len(document["data"]))
            return refused("err_whole", 400) if len(acts) == 1 else refused("gone", 503)

        portal, _ = opened(going)
        result, _ = run(portal.holds.plan("release", filter=HoldFilter(queue="admin")))
        assert acts == [4, 2]
        assert (result.totals, result.not_attempted) == ({}, 4)

    def test_fail_fast(self, lab: Lab, opened: Opener) -> None:
        hold_mail(lab, 10)
        gone = held(lab)[0]
        portal, _ = opened()
        plan = portal.holds.plan("release", filter=HoldFilter(queue="admin"))
        ann, _ = opened(by=ANN)
        ann.holds.reject([gone])
        result, _ = run(plan, batch_size=1, fail_fast=True)
        assert result.totals["failed"] == 1
        assert result.not_attempted >= 7

    @pytest.mark.parametrize("concurrency", [1, 4])
    @pytest.mark.parametrize("again", [False, True], ids=["once", "every time"])
    def test_an_interrupt_ends_what_is_in_flight(
        self, lab: Lab, opened: Opener, concurrency: int, again: bool, tmp_path: Path
    ) -> None:
        hold_mail(lab, 40)
        portal, around = opened()
        told: list[Outcome] = []
        interrupts: list[int] = []

        def interrupting(outcomes: Sequence[Outcome]) -> None:
            told.extend(outcomes)
            if again or not interrupts:
                interrupts.append(1)
                raise KeyboardInterrupt

        report = Report(tmp_path / "report")
        with portal.holds.plan("release", filter=HoldFilter(queue="admin")) as plan:
            result = plan.run(batch_size=2, concurrency=concurrency, on_outcomes=interrupting, report=report)
        assert result.interrupted
        sent = {id for document in around.acts() for id in ids_of(document)}
        assert {outcome.id for outcome in told} == sent, "whatever was sent has its outcome"
        assert result.totals == {"done": len(sent)}
        assert result.not_attempted == 40 - len(sent) > 0
        assert {line["id"] for line in read_lines(report.path)} == sent
        assert report.todo.exists()
        assert {hold.id for hold in held(lab)}.isdisjoint(sent)

    def test_however_often_it_is_interrupted(
        self, lab: Lab, opened: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        hold_mail(lab, 40)
        portal, around = opened()
        interrupts = [KeyboardInterrupt, KeyboardInterrupt, KeyboardInterrupt]
        wait = bulk.wait

        def interrupted(*futures: Any, **how: Any) -> Any:
            if interrupts:
                raise interrupts.pop()
            return wait(*futures, **how)

        monkeypatch.setattr(bulk, "wait", interrupted)
        with portal.holds.plan("release", filter=HoldFilter(queue="admin")) as plan:
            result = plan.run(batch_size=2, concurrency=2, report=Report(tmp_path / "report"))
        sent = {id for document in around.acts() for id in ids_of(document)}
        assert result.interrupted
        assert result.totals == ({"done": len(sent)} if sent else {})
        assert {line["id"] for line in read_lines(tmp_path / "report")} == sent
        assert {hold.id for hold in held(lab)}.isdisjoint(sent)

    def test_what_is_in_doubt_at_an_interrupt_is_unknown(self, lab: Lab, opened: Opener, tmp_path: Path) -> None:
        hold_mail(lab, 4)

        def naming_half(path: str, document: Any, forward: Forward) -> Response:
            response = forward()
            if path not in ACTS:
                return response
            answer = json.loads(b"".join(response.body))
            return answered({"data": answer["data"][1:], "fail": []})

        def interrupting(outcomes: Sequence[Outcome]) -> None:
            raise KeyboardInterrupt

        portal, around = opened(naming_half, api="api2")
        report = Report(tmp_path / "report")
        with portal.holds.plan("release", filter=HoldFilter()) as plan:
            result = plan.run(batch_size=2, on_outcomes=interrupting, report=report)
        assert result.interrupted
        told = Counter(line["outcome"] for line in read_lines(report.path))
        batches = len(around.acts())
        assert result.totals == told == {"done": batches, "unknown": batches}

    def test_an_interrupt_while_the_last_outcomes_are_shown_counts_nothing_twice(
        self, lab: Lab, opened: Opener
    ) -> None:
        hold_mail(lab, 2)

        def losing(path: str, document: Any, forward: Forward) -> Response:
            response = forward()
            if path in ACTS:
                raise LostAnswerError("The line is dead.")
            return response

        def interrupting(outcomes: Sequence[Outcome]) -> None:
            raise KeyboardInterrupt

        portal, _ = opened(losing, api="api2")
        with portal.holds.plan("release", filter=HoldFilter()) as plan:
            result = plan.run(on_outcomes=interrupting)
        assert (result.totals, result.not_attempted) == ({"done": 2}, 0)


class TestReport:
    CONTEXT = Context(profile="test", account="A", actor=ANN)

    def test_it_is_its_owner_s_alone(self, lab: Lab, opened: Opener, tmp_path: Path) -> None:
        hold_mail(lab, 1)
        portal, _ = opened()
        report = Report(tmp_path / "report")
        modes: list[int] = []

        def looking(outcomes: Sequence[Outcome]) -> None:
            modes.extend(stat.S_IMODE(path.stat().st_mode) for path in (report.path, report.todo))

        with portal.holds.plan("release", filter=HoldFilter(queue="admin")) as plan:
            plan.run(report=report, on_outcomes=looking)
        assert modes == [0o600, 0o600]
        assert not report.todo.exists(), "the plan goes once every item has its outcome"

    def test_a_line_tells_everything(self, lab: Lab, opened: Opener, tmp_path: Path) -> None:
        hold_mail(lab, 1)
        portal, _ = opened()
        path = tmp_path / "report"
        plan = portal.holds.plan("release", filter=HoldFilter(queue="admin"), permit="address")
        run(plan, report=Report(path))
        (line,) = read_lines(path)
        assert tuple(line) == REPORT_FIELDS
        assert line["request_id"]
        assert {key: line[key] for key in line if key not in ("id", "request_id", "time", "date_received")} == {
            "action": "release",
            "outcome": "done",
            "code": None,
            "error": None,
            "profile": "test",
            "actor": ADMIN,
            "queue": "admin",
            "from_address": "eve@elsewhere.example",
            "from_header": "eve@elsewhere.example",
            "to_address": ANN,
            "subject": "message 0",
            "entry": "eve@elsewhere.example",
            "rule": None,
            "account": portal.account.code,
            "options": {"permit": "address"},
        }
        assert datetime.fromisoformat(line["time"]).tzinfo is not None

    def test_it_refuses_to_overwrite(self, tmp_path: Path) -> None:
        path = tmp_path / "report"
        path.write_text("mine\n")
        with pytest.raises(UsageError, match="exists already"):
            Report(path)
        with pytest.raises(UsageError, match="exists already"):
            plan_of(1, Fake()).write(path)
        assert path.read_text() == "mine\n"

    def test_it_refuses_to_forget_a_plan_that_did_not_end(self, tmp_path: Path) -> None:
        path = tmp_path / "report"
        path.with_name("report.todo").write_text("")
        with pytest.raises(UsageError, match="did not end"):
            Report(path, append=True)

    def test_a_full_disk_stops_the_run_and_every_outcome_is_counted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "report"
        whole, seen = Report.add, 0

        def filling(report: Report, outcomes: Any, context: Any) -> None:
            nonlocal seen
            seen += 1
            if seen > 1:
                raise OSError(28, "No space left on device")
            whole(report, outcomes, context)

        monkeypatch.setattr(Report, "add", filling)
        with plan_of(250, Fake()) as plan:
            result = plan.run(report=Report(path), batch_size=25)
        assert "No space left" in str(result.stopped)
        assert result.totals.total() + result.not_attempted == 250
        assert result.totals["done"] > len(path.read_bytes().splitlines())
        assert len(list(read_lines(path.with_name("report.todo")))) == 250

    def test_appending_cuts_a_torn_line(self, tmp_path: Path) -> None:
        path = tmp_path / "report"
        path.write_bytes(b'{"id": "a", "outcome": "done"}\n{"id": "b", "outco')
        run(plan_of(1, Fake()), report=Report(path, append=True))
        assert [line["id"] for line in read_lines(path)] == ["a", "id-0"]

    def test_a_torn_first_line_is_cut_too(self, tmp_path: Path) -> None:
        path = tmp_path / "report"
        path.write_bytes(b'{"id": "b", "outco')
        run(plan_of(0, Fake()), report=Report(path, append=True))
        assert path.read_bytes() == b""

    def test_lines_are_there_before_they_are_shown(self, tmp_path: Path) -> None:
        path = tmp_path / "report"
        seen: list[int] = []

        def looking(outcomes: Sequence[Outcome]) -> None:
            seen.append(len(path.read_bytes().splitlines()))

        with plan_of(250, Fake()) as plan:
            plan.run(report=Report(path), on_outcomes=looking)
        assert seen == [100, 200, 250]

    def test_a_plan_is_a_report_whose_outcome_is_open(self, lab: Lab, opened: Opener, tmp_path: Path) -> None:
        """`--dry-run --report PLAN` and `--ids-from PLAN` (promises A.3)."""
        hold_mail(lab, 3)
        portal, _ = opened()
        path = tmp_path / "plan"
        with portal.holds.plan("release", filter=HoldFilter(queue="admin", subject="message 1")) as plan:
            plan.write(path)
        (line,) = read_lines(path)
        assert (tuple(line), line["outcome"], line["time"]) == (REPORT_FIELDS, None, None)
        hold_mail(lab, 2)
        _, told = run(portal.holds.plan("release", ids=read_lines(path)))
        assert list(told) == ["message 1"]

    def test_retry_takes_what_is_neither_done_nor_already(self, lab: Lab, opened: Opener, tmp_path: Path) -> None:
        hold_mail(lab, 6)
        acts: list[Any] = []

        def going(path: str, document: Any, forward: Forward) -> Response:
            if path in ACTS:
                acts.append(document)
                if len(acts) == 2:
                    return refused("err_bad", 400)
                if len(acts) > 3:
                    return refused("gone", 503)
            return forward()

        portal, _ = opened(going)
        path = tmp_path / "report"
        plan = portal.holds.plan("release", filter=HoldFilter(queue="admin"), permit="address", sender_part="envelope")
        result, _ = run(plan, batch_size=1, report=Report(path))
        assert result.totals == {"done": 2, "failed": 1}
        assert result.not_attempted == 3
        again, _ = opened()
        plan = again.holds.plan("release", retry_from=path)
        assert len(plan) == 4
        assert {json.dumps(line["options"]) for line in plan.lines()} == {
            '{"permit": "address", "sender_part": "envelope"}'
        }
        result, _ = run(plan, report=Report(path, append=True, resume=True))
        assert result.totals == {"done": 4}
        assert held(lab) == []
        with again.holds.plan("release", retry_from=path) as nothing:
            assert len(nothing) == 0
        assert not path.with_name("report.todo").exists()

    @pytest.mark.parametrize(
        ("verdict", "left"),
        [
            (Verdict("done"), 0),
            (Verdict("already"), 0),
            (Verdict("failed", "forbidden"), 3),
            (Verdict("unknown", "answer_lost"), 3),
        ],
        ids=lambda value: str(getattr(value, "outcome", "")),
    )
    def test_which_outcomes_are_tried_again(self, tmp_path: Path, verdict: Verdict, left: int) -> None:
        class Telling(Fake):
            def act(self, items: Sequence[Item]) -> list[Verdict | None]:
                return [verdict for _ in items]

        path = tmp_path / "report"
        run(plan_of(3, Telling(), self.CONTEXT), report=Report(path))
        with retry_selection(path, actions=frozenset({"release"}), context=self.CONTEXT) as selection:
            assert len(selection) == left

    @pytest.mark.parametrize(
        ("context", "verb", "problem"),
        [
            (Context("other", "A", ANN), "release", "profile"),
            (Context("test", "B", ANN), "release", "account"),
            (Context("test", "A", ANN), "reject", "verb"),
        ],
    )
    def test_retry_refuses_what_was_recorded_elsewhere(
        self, tmp_path: Path, context: Context, verb: str, problem: str
    ) -> None:
        path = tmp_path / "report"
        run(plan_of(1, Fake(), self.CONTEXT), report=Report(path))
        with pytest.raises(UsageError, match=problem):
            retry_selection(path, actions=frozenset({verb}), context=context)

    @pytest.mark.parametrize("content", ["no json\n", '["list"]\n', '{"id": 5}\n', '{"id": "a"}\n'])
    def test_retry_refuses_what_is_no_report(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "report"
        path.write_text(content)
        with pytest.raises(UsageError):
            retry_selection(path, actions=frozenset({"release"}), context=self.CONTEXT)

    def test_retry_of_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no report"):
            retry_selection(tmp_path / "absent", actions=frozenset({"release"}), context=self.CONTEXT)

    def test_a_killed_run_is_taken_up(self, lab: Lab, opened: Opener, tmp_path: Path) -> None:
        """kill -9 after some batches: what the report has is settled, what only the plan has is tried again."""
        hold_mail(lab, 6)
        path = tmp_path / "report"
        script = (
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "from mimeportal import HoldFilter, Portal, Report\n"
            "portal = Portal.open(sys.argv[1], user=sys.argv[2])\n"
            "plan = portal.holds.plan('release', filter=HoldFilter(queue='admin'))\n"
            "seen = []\n"
            "def kill(outcomes):\n"
            "    seen.extend(outcomes)\n"
            "    if len(seen) >= 4: os.kill(os.getpid(), signal.SIGKILL)\n"
            "plan.run(report=Report(Path(sys.argv[3])), batch_size=2, on_outcomes=kill)\n"
        )
        command = [sys.executable, "-c", script, lab.url, ADMIN, str(path)]
        source = str(Path(bulk.__file__).parents[1])
        died = subprocess.run(command, env={**os.environ, "PYTHONPATH": source}, timeout=60, check=False)
        assert died.returncode == -signal.SIGKILL
        assert [line["outcome"] for line in read_lines(path)] == ["done"] * 4
        with path.open("ab") as file:
            file.write(b'{"id": "torn')
        portal, _ = opened()
        portal.profile = ""
        plan = portal.holds.plan("release", retry_from=path)
        assert len(plan) == 2
        result, _ = run(plan, report=Report(path, append=True, resume=True))
        assert result.totals["done"] + result.totals["already"] == 2
        assert len({line["id"] for line in read_lines(path)}) == 6
        assert held(lab) == []


class Fake:
    """A worker without a portal: everything is done."""

    batch_size = 100
    looks_at_end = False

    def act(self, items: Sequence[Item]) -> list[Verdict | None]:
        return [Verdict("done", request_id="r") for _ in items]

    def look(self, items: Sequence[Item]) -> list[Verdict | None]:
        return [None] * len(items)

    def again(self, item: Item) -> Item:
        return item


def plan_of(count: int, worker: Fake, context: Context | None = None) -> Plan:
    items = (
        Item(f"id-{number}", "release", {}, {"subject": f"message {number}", "date_received": "2027-01-15"})
        for number in range(count)
    )
    return Plan(collect(items), worker, context or Context("test", "A", ANN))


def test_memory_stays_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times as many items need no more memory: selection, run and report together.

    Counted are the blocks in use whenever a batch is acted on, which costs nothing, unlike tracing each of them.
    """
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    peaks = []
    for count in (200, 2_000, 20_000):  # the first pays for what is made once
        worker = Measuring()
        gc.collect()
        before = sys.getallocatedblocks()
        with plan_of(count, worker) as plan:
            result = plan.run(report=Report(tmp_path / str(count)))
        assert result.totals["done"] == count
        peaks.append(max(worker.blocks) - before)
    assert peaks[2] < peaks[1] * 1.3


class Measuring(Fake):
    def __init__(self) -> None:
        self.blocks: list[int] = []

    def act(self, items: Sequence[Item]) -> list[Verdict | None]:
        self.blocks.append(sys.getallocatedblocks())
        return super().act(items)
