"""Held mail in the portal: queues, filters, paging, time, and decisions that are taken once."""

from __future__ import annotations

import email
import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from asking import DECIDE, DETAIL, FIND, LIST, LOG, REJECT, RELEASE, STATES, SUMMARY, Asking, asking
from conftest import ADMIN, ANN, BOB, MOD, Lab, mail_of
from mimeportal import limits
from mimeportal.holds import HoldFilter
from mimeportal.portal import Portal
from mimeportal_server import arrival, incoming, people
from mimeportal_server.settings import HoldRule
from mimeportal_server.store.schema import audit, deliveries


@pytest.fixture
def ask(lab: Lab) -> Iterator[Asking]:
    with asking(lab) as ask:
        yield ask


def configure(lab: Lab, old: str, new: str) -> None:
    """Change portal.toml; whoever opens the portal from now on reads it so."""
    path = lab.path / "portal.toml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def error(told: Any) -> str:
    return str(told.code)


# -- who sees which -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def queues(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """Six messages, which nothing here decides; whoever changes people takes a person of their own."""
    lab = Lab(tmp_path_factory.mktemp("queues") / "home")
    for to in (ANN, BOB):
        for level in ("user", "moderator", "administrator"):
            lab.receive(mail_of(subject=f"{to[:3]} {level}", to=to), to=to, level=level)
    with asking(lab) as ask:
        yield ask
    lab.server.close()


class TestQueues:
    @pytest.fixture
    def ask(self, queues: Asking) -> Asking:
        return queues

    def person(self, ask: Asking, address: str, *scopes: str) -> str:
        with ask.portal.write() as tx:
            people.add(tx, address, scopes=scopes, domains=("example.com",), now=0)
        return address

    @pytest.mark.parametrize(
        ("by", "queue", "subjects"),
        [
            (ANN, "personal", ["ann user"]),
            (BOB, "personal", ["bob user"]),
            (MOD, "personal", []),
            (ADMIN, "personal", []),
            (ANN, "moderated", []),
            (MOD, "moderated", ["bob moderator"]),
            (ADMIN, "moderated", []),
            (
                ADMIN,
                "admin",
                [f"{who} {level}" for who in ("ann", "bob") for level in ("administrator", "moderator", "user")],
            ),
        ],
    )
    def test_what_is_in_which(self, ask: Asking, by: str, queue: str, subjects: list[str]) -> None:
        rows = ask.held(by=by, queue=queue)
        assert sorted(row["subject"] for row in rows) == subjects
        assert {row["queue"] for row in rows} <= {queue}

    @pytest.mark.parametrize("by", [ANN, MOD])
    def test_the_admin_queue_is_for_administrators(self, ask: Asking, by: str) -> None:
        for path, item in ((FIND, {"queue": "admin"}), (LIST, {"admin": True})):
            told = ask(path, item, by=by)
            assert (told.status, told.code) == (403, "err_xdk_operation_forbidden_for_address")

    def test_a_queue_that_does_not_exist(self, ask: Asking) -> None:
        assert ask(FIND, {"queue": "everything"}).code == "err_validation_value_not_allowed"

    def test_somebody_else_s_mailbox(self, ask: Asking) -> None:
        assert ask(FIND, {"queue": "personal", "mailboxes": [BOB]}, by=ANN).status == 403
        assert ask(FIND, {"queue": "personal", "mailboxes": [ANN, BOB]}, by=ANN).status == 403
        assert len(ask(FIND, {"queue": "personal", "mailboxes": [ANN.upper()]}, by=ANN).rows) == 1
        assert ask(FIND, {"queue": "moderated", "mailboxes": [ANN]}, by=MOD).rows == []
        assert len(ask(FIND, {"queue": "moderated", "mailboxes": [BOB]}, by=MOD).rows) == 1

    def test_moderation_must_be_enabled_and_may_cover_a_domain(self, ask: Asking) -> None:
        """Until then the list is empty, which is no error (portal-rules B.26)."""
        overseer = self.person(ask, "overseer@example.com")
        assert ask.held(by=overseer, queue="moderated") == []
        self.person(ask, overseer, "example.com")
        subjects = [row["subject"] for row in ask.held(by=overseer, queue="moderated")]
        assert sorted(subjects) == ["ann moderator", "bob moderator"]

    def test_a_scope_is_a_whole_domain(self, ask: Asking) -> None:
        other = self.person(ask, "other@example.com", "ample.com", "b@example.com")
        assert ask.held(by=other, queue="moderated") == []

    def test_by_id_the_queue_is_told(self, ask: Asking) -> None:
        ids = [row["id"] for row in ask.held()]
        assert {row["subject"]: row["queue"] for row in ask(FIND, {"ids": ids}, by=MOD).rows} == {
            "bob moderator": "moderated"
        }
        assert {row["subject"]: row["queue"] for row in ask(FIND, {"ids": ids}, by=ANN).rows} == {
            "ann user": "personal"
        }

    def test_summary_counts_what_the_caller_sees(self, ask: Asking) -> None:
        assert ask(SUMMARY, by=ADMIN).rows == [{"policyInfo": "Import", "numberOfItems": 6}]
        assert ask(SUMMARY, by=ANN).rows == [{"policyInfo": "Import", "numberOfItems": 1}]
        assert ask(SUMMARY, by=self.person(ask, "empty@example.com")).rows == []

    def test_ids_are_counted(self, ask: Asking) -> None:
        for count in (0, 101):
            assert ask(FIND, {"ids": ["eN"] * count}).code == "err_validation_count"
        for count in (0, 501):
            assert ask(STATES, {"ids": ["eN"] * count}).code == "err_validation_count"
        assert ask(STATES, {"ids": ["eN"] * 500}).rows == []


# -- what is found: the server never loses a row that the client's filter accepts ---------------------------

SENDERS = (
    "Eve <eve@elsewhere.example>",
    "EVE@ELSEWHERE.EXAMPLE",
    "straße@strasse.example",
    "strasse@straße.example",
    '"a%b_c"@odd.example',
    "o'brien@odd.example",
    "back\\slash@odd.example",
    "ünïcode@bücher.example",
    "news@sub.elsewhere.example",
    "a@one.example, b@two.example",
    "",
)
SUBJECTS = (
    "",
    "Straße",
    "STRASSE",
    "ΣΊΣΥΦΟΣ",
    "ﬁne İstanbul",
    "100% _sure_",
    'say "it\'s" \\ fine',
    "a*b",
    "K 5",
    "tab\there",
)
POLICIES = ("Relaxed Spam Detection", "Straße 100%", "ﬁrst")
REASONS = ("Message Hold Applied - Spam Signature policy", "Größe überschritten", "ﬂagged_by 'rule'")
START = datetime(2026, 1, 1, tzinfo=UTC)


class OddMail:
    """Mail with odd characters everywhere, the client of an administrator per API, and all rows."""

    def __init__(self, lab: Lab, clients: dict[str, Portal]) -> None:
        self.lab = lab
        self.clients = clients
        self.rows = list(clients["local"].holds.list(queue="admin"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OddMail]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: START.timestamp() + 90_000)
        lab = Lab(tmp_path_factory.mktemp("odd") / "home")
    with lab.server.database.read() as tx:
        recipients = [(int(person.id), to) for to in (ANN, BOB) if (person := people.find(tx, to)) is not None]
    batch = []
    for number, (sender, subject) in enumerate(itertools.product(SENDERS, SUBJECTS)):
        if number % 3 and number > 40:
            continue
        head = f"From: {sender}\nTo: ann@example.com\nSubject: {subject}\n\n"
        rule = HoldRule(POLICIES[number % 3], "spam", REASONS[number // 3 % 3], "user")
        message = incoming.parse(
            head.encode() + b"x" * (number * 7),
            None if number % 2 else "bounce@lists.example",
            recipients=[recipients[number % 2]],
            received=int(START.timestamp() * 1000) + number * 700,
            hold=rule,
            route=("inbound", "INTERNAL", None)[number % 3],
        )
        batch.append(message)
    arrival.accept(lab.server, batch, door="test")
    clients = {api: lab.client(ADMIN, api=api) for api in ("local", "api2")}
    odd = OddMail(lab, clients)
    assert len(odd.rows) == len(batch) > 60
    yield odd
    for client in clients.values():
        client.close()
    lab.server.close()


PIECES = sorted(
    {
        text[start:end]
        for text in (*SUBJECTS, *POLICIES, *REASONS, *SENDERS, "message_hold_applied_spam_signature_policy")
        for start in (0, 1, 3)
        for end in (2, 4, 9, None)
        if text[start:end].strip()
    }
)
CASES = st.sampled_from([str, str.upper, str.lower, str.swapcase, str.casefold])
WORD = st.builds(lambda piece, case: case(piece), st.sampled_from(PIECES), CASES)
TEXT = st.one_of(
    WORD,
    st.builds(lambda a, b: f"{a}*{b}", WORD, WORD),
    st.builds(lambda a: f"*{a}*", WORD),
    st.sampled_from(["%", "_", "'", '"', "\\", "*", "**", "ß", "ſ", "K", "ss", "fi", "%%", "'; --", "\x00"]),
).filter(lambda text: bool(text.strip()))
ADDRESSES = st.one_of(
    st.sampled_from(
        [
            "eve@elsewhere.example",
            "EVE@elsewhere.EXAMPLE",
            "straße@strasse.example",
            "STRASSE@straße.example",
            "ann@example.com",
            "@elsewhere.example",
            "elsewhere.example",
            "Bücher.example",
            "@xn--bcher-kva.example",
            "example.com",
            "@odd.example",
            '"a%b_c"@odd.example',
            "*@odd.example",
            "*%*",
            "*_*@*",
            "a@",
        ]
    ),
    TEXT,
)
TIMES = st.integers(-2, 80_000).map(lambda milliseconds: START + timedelta(milliseconds=milliseconds))


class TestFilters:
    @settings(max_examples=140, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        api=st.sampled_from(["local", "api2"]),
        conditions=st.dictionaries(
            st.sampled_from(["from_", "to", "subject", "search", "reason", "policy"]), TEXT, max_size=2
        ),
        addresses=st.dictionaries(st.sampled_from(["from_", "to"]), ADDRESSES, max_size=1),
        others=st.fixed_dictionaries(
            {},
            optional={
                "mailboxes": st.sampled_from([(ANN,), (ANN.upper(), BOB), ("x@example.com",), ("<ann@example.com> ",)]),
                "route": st.sampled_from(["inbound", "Internal", "outbound"]),
                "since": TIMES,
                "until": TIMES,
                "has_attachments": st.booleans(),
                "larger_than": st.sampled_from([-1, 0, 100, 10**15]),
            },
        ),
    )
    def test_no_row_is_lost(
        self,
        odd: OddMail,
        api: str,
        conditions: dict[str, str],
        addresses: dict[str, str],
        others: dict[str, Any],
    ) -> None:
        conditions = {**conditions, **addresses}
        assume(all(conditions.get(name, "").strip() != "@" for name in ("from_", "to")))  # refused as a filter
        others = {"since": START - timedelta(days=1), **others}  # Mimecast's list begins 60 days ago unless told
        wanted = HoldFilter(queue="admin", **{**conditions, **others})
        expected = [hold.id for hold in odd.rows if wanted.matches(hold)]
        assert [hold.id for hold in odd.clients[api].holds.list(wanted)] == expected

    @pytest.mark.parametrize(
        ("wanted", "count"),
        [
            ({"subject": "strasse"}, 2),
            ({"subject": "straße"}, 2),
            ({"from_": "strasse"}, 2),
            ({"search": "ΣΊΣΥΦΟς"}, 1),
            ({"from_": "bücher.example"}, 1),
            ({"from_": "ß"}, 6),
            ({"policy": "FIRST"}, 1),
            ({"subject": "*%*"}, 1),
        ],
    )
    def test_letters_that_are_one_to_a_reader(self, odd: OddMail, wanted: dict[str, Any], count: int) -> None:
        found = [hold.id for hold in odd.clients["local"].holds.list(queue="admin", **wanted)]
        assert found == [hold.id for hold in odd.rows if HoldFilter(**wanted).matches(hold)]
        assert len(found) >= count, "the property above is about something"

    @pytest.mark.parametrize(
        ("wanted", "subjects"),
        [
            ({"subject": "%"}, ["100% _sure_"]),
            ({"subject": "_"}, ["100% _sure_"]),
            ({"subject": "\\"}, ['say "it\'s" \\ fine']),
        ],
    )
    def test_signs_of_the_database_s_own_language_mean_themselves(
        self, odd: OddMail, wanted: dict[str, Any], subjects: list[str]
    ) -> None:
        """What the door itself answers, before the client filters again."""
        with asking(odd.lab) as ask:
            assert sorted({row["subject"] for row in ask.held(**wanted)}) == subjects

    @pytest.mark.parametrize(
        ("item", "field"),
        [
            ({"subject": "x" * (limits.PATTERN + 1)}, "subject"),
            ({"from": "x" * (limits.PATTERN + 1)}, "from"),
            ({"to": " "}, "to"),
            ({"from": ""}, "from"),
            ({"start": "soon"}, "start"),
            ({"end": "2027-02-30"}, "end"),
            ({"largerThan": "many"}, "largerThan"),
            ({"mailboxes": "ann@example.com"}, "mailboxes"),
        ],
    )
    def test_conditions_that_cannot_be_read_are_named(self, odd: OddMail, item: dict[str, Any], field: str) -> None:
        with asking(odd.lab) as ask:
            (entry,) = ask(FIND, {"queue": "admin", **item}).json["fail"]
            assert entry["errors"][0]["field"] == field

    @pytest.mark.parametrize(
        "item",
        [
            {"largerThan": 10**30},
            {"largerThan": -(10**30)},
            {"subject": "a*" * (limits.PATTERN // 2)},
            {"search": "a*" * (limits.PATTERN // 2)},
            {"mailboxes": [f"{number}@example.com" for number in range(40_000)]},
            {"from": "@" + "x" * 900},
            {"subject": "\x00"},
            {"start": "0001-01-01T00:00:00Z", "end": "9999-12-31T23:59:59Z"},
        ],
        ids=lambda item: next(iter(item)),
    )
    def test_extreme_conditions_are_answered(self, odd: OddMail, item: dict[str, Any]) -> None:
        with asking(odd.lab) as ask:
            assert ask(FIND, {"queue": "admin", **item}).status == 200


# -- pages ------------------------------------------------------------------------------------------------------


class TestPages:
    @pytest.fixture
    def ask(self, lab: Lab) -> Iterator[Asking]:
        for number in range(7):
            lab.receive(mail_of(subject=str(number)))
        with asking(lab) as ask:
            yield ask

    def page(self, ask: Asking, token: str = "", size: int = 3) -> tuple[list[str], Any]:
        told = ask(LIST, {"admin": True}, size=size, token=token)
        assert told.page["pageSize"] == len(told.rows)
        return [row["subject"] for row in told.rows], told.page

    def test_forth_and_back(self, ask: Asking) -> None:
        first, block = self.page(ask)
        assert (first, block["totalCount"]) == (["6", "5", "4"], 7)
        second, block = self.page(ask, block["next"])
        assert second == ["3", "2", "1"]
        third, last = self.page(ask, block["next"])
        assert third == ["0"]
        assert "next" not in last
        back, block = self.page(ask, last["previous"])
        assert back == second
        back, block = self.page(ask, block["previous"])
        assert back == first
        assert "previous" not in block
        assert self.page(ask, block["next"])[0] == second

    def test_decisions_meanwhile_shift_nothing(self, ask: Asking) -> None:
        ids = {row["subject"]: row["id"] for row in ask.held()}
        _, block = self.page(ask)
        for subject in ("6", "5", "4", "2"):
            assert ask.decide(ids[subject]).code == ""
        assert self.page(ask, block["next"])[0] == ["3", "1", "0"], "nothing skipped, nothing twice"

    def test_arrivals_meanwhile_shift_nothing(self, lab: Lab, ask: Asking) -> None:
        _, block = self.page(ask)
        lab.receive(mail_of(subject="new"))
        second, block = self.page(ask, block["next"])
        assert second == ["3", "2", "1"]
        assert self.page(ask, block["previous"])[0] == ["6", "5", "4"]

    def test_the_rest_was_decided_meanwhile(self, ask: Asking) -> None:
        ids = {row["subject"]: row["id"] for row in ask.held()}
        _, block = self.page(ask)
        for subject in ("3", "2", "1", "0"):
            ask.decide(ids[subject])
        rows, block = self.page(ask, block["next"])
        assert rows == []
        assert "next" not in block

    @pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 8])
    def test_every_row_once_whatever_the_size(self, ask: Asking, size: int) -> None:
        rows, block = self.page(ask, size=size)
        while "next" in block:
            more, block = self.page(ask, block["next"], size)
            rows += more
        assert rows == ["6", "5", "4", "3", "2", "1", "0"]

    @pytest.mark.parametrize("size", [0, -1, 2.5, "many", True, [5], "9" * 20])
    def test_sizes_that_are_none(self, ask: Asking, size: Any) -> None:
        told = ask.send(LIST, {"meta": {"pagination": {"pageSize": size}}, "data": [{"admin": True}]})
        assert told.code == "err_validation_value_not_allowed"

    def test_a_size_above_the_limit_is_cut(self, ask: Asking) -> None:
        assert len(ask(LIST, {"admin": True}, size=100_000).rows) == 7


# -- time --------------------------------------------------------------------------------------------------------


class TestExpiry:
    def test_fourteen_days_without_any_sweep(self, lab: Lab) -> None:
        lab.receive(mail_of())
        with asking(lab) as ask:
            (row,) = ask.held()
            id = row["id"]
            received = datetime.strptime(row["dateReceived"], "%Y-%m-%dT%H:%M:%S%z")
            assert datetime.strptime(row["expires"], "%Y-%m-%dT%H:%M:%S%z") - received == timedelta(days=14)
        lab.advance(days=14, hours=-0.01)
        with asking(lab) as ask:
            assert len(ask.held()) == 1
            assert ask(STATES, {"ids": [id]}).row["state"] == "held"
            assert ask(DETAIL, {"id": id}, by=ANN).status == 200
        lab.advance(hours=0.02)
        with asking(lab) as ask:
            assert ask.held() == []
            assert ask(LIST, {"admin": True}).rows == []
            assert ask(FIND, {"ids": [id]}).rows == []
            assert ask(SUMMARY).rows == []
            assert ask(STATES, {"ids": [id]}).row["state"] == "expired"
            assert ask(DETAIL, {"id": id}, by=ANN).code == "not_found"
            for decision in ("release", "reject"):
                assert ask.decide(id, decision, by=ANN).code == "expired"
            assert ask(RELEASE, {"id": id}).code == "expired"

    def test_fewer_days(self, lab: Lab) -> None:
        lab.receive(mail_of())
        lab.advance(days=4)
        configure(lab, "hold_days = 14", "hold_days = 3")
        with asking(lab) as ask:
            assert ask.held() == []
        configure(lab, "hold_days = 3", "hold_days = 5")
        with asking(lab) as ask:
            (row,) = ask.held()
            assert row["expires"] > row["dateReceived"]

    def test_a_decision_stays_what_it_was(self, lab: Lab) -> None:
        lab.receive(mail_of())
        with asking(lab) as ask:
            id = ask.one()
            ask.decide(id)
        lab.advance(days=20)
        with asking(lab) as ask:
            assert ask(STATES, {"ids": [id]}).row["state"] == "released"
            assert ask.decide(id).row["outcome"] == "already"


# -- decisions ----------------------------------------------------------------------------------------------------


class TestDecisions:
    @pytest.fixture
    def id(self, lab: Lab, ask: Asking) -> str:
        lab.receive(mail_of())
        return ask.one()

    @pytest.mark.parametrize("decision", ["release", "reject"])
    def test_once_and_again(self, lab: Lab, ask: Asking, id: str, decision: str) -> None:
        first = ask.decide(id, decision, by=ANN)
        assert first.row == {"id": id, "outcome": "done"}
        again = ask.decide(id, decision, by=ADMIN).row
        assert (again["outcome"], again["by"]) == ("already", ANN)
        state = ask(STATES, {"ids": [id]}).row
        assert (state["state"], state["by"], state["when"]) == (
            {"release": "released", "reject": "rejected"}[decision],
            ANN,
            again["when"],
        )
        assert state["requestId"] == first.headers["x-request-id"]

    @pytest.mark.parametrize(
        ("first", "second", "code"),
        [("release", "reject", "already_released"), ("reject", "release", "already_rejected")],
    )
    def test_the_other_decision_stands(self, ask: Asking, id: str, first: str, second: str, code: str) -> None:
        ask.decide(id, first)
        assert ask.decide(id, second).code == code
        mimecast = ask(REJECT, {"ids": [id]}) if second == "reject" else ask(RELEASE, {"id": id})
        assert mimecast.code == code

    def test_mimecast_s_operations_fail_where_it_stands_already(self, ask: Asking, id: str) -> None:
        assert ask(RELEASE, {"id": id}).rows == [{"id": id, "release": True}]
        assert ask(RELEASE, {"id": id}).code == "already_released"

    def test_one_call_is_no_all_or_nothing(self, lab: Lab, ask: Asking, id: str) -> None:
        lab.receive(mail_of(subject="second"))
        second = ask.one(subject="second")
        never = ask.portal.sealer.id("hold", 999)
        told = ask(
            DECIDE,
            {"id": never, "decision": "release"},
            {"id": id, "decision": "release"},
            {"id": second, "decision": "release", "permit": "everything"},
            {"id": id, "decision": "release"},
            {"id": id, "decision": "reject"},
        ).json
        assert [(row["id"], row["outcome"]) for row in told["data"]] == [(id, "done"), (id, "already")]
        assert [entry["errors"][0]["code"] for entry in told["fail"]] == [
            "not_found",
            "err_validation_value_not_allowed",
            "already_released",
        ]
        assert [entry["key"]["id"] for entry in told["fail"]] == [never, second, id]

    @pytest.mark.parametrize(
        "options",
        [
            {"decision": "keep"},
            {"decision": "expire"},
            {"decision": "reject", "permit": "address"},
            {"decision": "release", "block": "address"},
            {"decision": "release", "permit": "sender"},
            {"decision": "release", "permit": "address", "senderPart": "body"},
            {"decision": "reject", "reasonType": "BECAUSE"},
        ],
        ids=str,
    )
    def test_decisions_that_are_none(self, ask: Asking, id: str, options: dict[str, str]) -> None:
        assert ask(DECIDE, {"id": id, **options}).code == "err_validation_value_not_allowed"
        assert len(ask.held()) == 1

    def test_what_a_decision_must_have(self, ask: Asking, id: str) -> None:
        assert ask(DECIDE, {"id": id}).code == "err_validation_null"
        assert ask(DECIDE, {"decision": "release"}).code == "err_validation_null"
        assert ask(REJECT, {"ids": [5]}).code == "err_validation_value_not_allowed"

    def test_a_release_is_delivered_once_and_a_reject_never(self, lab: Lab, ask: Asking, id: str) -> None:
        lab.receive(mail_of(subject="rejected"))
        ask.decide(ask.one(subject="rejected"), "reject")
        ask.decide(id)
        ask.decide(id)
        lab.client(ADMIN).close()
        (delivered,) = lab.outgoing()
        assert delivered.read_bytes() == mail_of()

    def test_rejecting_many(self, lab: Lab, ask: Asking, id: str) -> None:
        lab.receive(mail_of(subject="second"))
        ids = [row["id"] for row in ask.held()]
        told = ask(REJECT, {"ids": [*ids, "eNnone"], "reasonType": "inappropriate communication"}).json
        assert told["data"] == [{"id": id, "reject": True} for id in ids]
        (entry,) = told["fail"]
        assert entry["key"] == {"ids": ["eNnone"]}
        (first, _) = ask(LOG, {}).json["data"][0]["heldReleaseLogs"]
        assert first["rejectReason"] == "Inappropriate communication"


class TestRaces:
    def test_two_callers_and_one_message(self, lab: Lab) -> None:
        """Each message has one fate, and the list, the outbox and the audit tell the same one (promises A.6)."""
        count = 12
        for number in range(count):
            lab.receive(mail_of(f"s{number}@sender{number}.example", f"message {number}"))
        with asking(lab) as first, asking(lab) as second:
            rows = first.held()
            together = threading.Barrier(4)
            done: dict[str, list[str]] = {row["id"]: [] for row in rows}

            def act(ask: Asking, decision: str, option: str, order: list[Any]) -> None:
                together.wait()
                for row in order:
                    told = ask.decide(row["id"], decision, **{option: "address"})
                    if told.json["data"] and told.json["data"][0]["outcome"] == "done":
                        done[row["id"]].append(decision)

            threads = [
                threading.Thread(target=act, args=(ask, decision, option, order))
                for ask, decision, option, order in (
                    (first, "release", "permit", rows),
                    (second, "reject", "block", rows),
                    (first, "reject", "block", rows[::-1]),
                    (second, "release", "permit", rows[::-1]),
                )
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert all(len(decisions) == 1 for decisions in done.values())
            released = {row["id"] for row in rows if done[row["id"]] == ["release"]}
            lists = first.lists(ANN)
            assert lists == {
                row["fromHeader"]["emailAddress"]: "permitted" if row["id"] in released else "blocked" for row in rows
            }
            assert first.count(deliveries) == len(released)
            assert first.count(audit, audit.c.action.in_(["release", "reject"])) == count

    def test_a_decision_that_fails_half_way_leaves_nothing(
        self, lab: Lab, ask: Asking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from mimeportal_server import steps

        def fail(step: str) -> None:
            if step == "decision.written":
                raise OSError(28, "No space left on device")

        lab.receive(mail_of())
        id = ask.one()
        monkeypatch.setattr(steps, "hook", fail)
        told = ask.decide(id, permit="address")
        monkeypatch.setattr(steps, "hook", None)
        assert (told.status, told.code) == (503, "err_portal_store")
        assert ask(STATES, {"ids": [id]}).row == {"id": id, "state": "held"}
        assert ask.lists() == {}
        assert ask.count(deliveries) == 0


class TestListEntries:
    """What `permit` and `block` put on the recipient's lists (promises B.3)."""

    MULTIPLE = "a@one.example, b@two.example"

    @pytest.mark.parametrize(
        ("sender", "envelope", "decision", "options", "expected"),
        [
            (
                "Eve <Eve@Elsewhere.example>",
                None,
                "release",
                {"permit": "address"},
                {"eve@elsewhere.example": "permitted"},
            ),
            ("eve@elsewhere.example", None, "release", {"permit": "domain"}, {"elsewhere.example": "permitted"}),
            ("eve@elsewhere.example", None, "reject", {"block": "address"}, {"eve@elsewhere.example": "blocked"}),
            ("eve@elsewhere.example", None, "reject", {"block": "domain"}, {"elsewhere.example": "blocked"}),
            ("eve@a.example", "b@b.example", "release", {"permit": "address"}, {"eve@a.example": "permitted"}),
            (
                "eve@a.example",
                "b@b.example",
                "release",
                {"permit": "address", "senderPart": "envelope"},
                {"b@b.example": "permitted"},
            ),
            (
                MULTIPLE,
                "b@b.example",
                "reject",
                {"block": "domain", "senderPart": "envelope"},
                {"b.example": "blocked"},
            ),
            ("eve@gmail.com", None, "release", {"permit": "address"}, {"eve@gmail.com": "permitted"}),
            ("eve@bücher.example", None, "release", {"permit": "domain"}, {"xn--bcher-kva.example": "permitted"}),
            ('<"a@b"@a.example>', None, "reject", {"block": "domain"}, {"a.example": "blocked"}),
            ("foo..bar@a.example", None, "reject", {"block": "domain"}, {"a.example": "blocked"}),
        ],
    )
    def test_entries(
        self,
        lab: Lab,
        ask: Asking,
        sender: str,
        envelope: str | None,
        decision: str,
        options: dict[str, str],
        expected: dict[str, str],
    ) -> None:
        lab.receive(mail_of(sender), envelope_from=envelope)
        told = ask.decide(ask.one(), decision, **options).row
        assert (told["outcome"], told["entry"]) == ("done", next(iter(expected)))
        assert ask.lists() == expected

    @pytest.mark.parametrize(
        ("sender", "envelope", "options", "code"),
        [
            (MULTIPLE, "b@b.example", {"permit": "address"}, "no_sender"),
            (MULTIPLE, "b@b.example", {"permit": "domain"}, "no_sender"),
            ("nobody", "b@b.example", {"permit": "address"}, "no_sender"),
            ("eve@a.example", "<>", {"permit": "address", "senderPart": "envelope"}, "no_sender"),
            ("bob@example.com", "b@b.example", {"permit": "address"}, "own_domain"),
            ("bob@EXAMPLE.com", "b@b.example", {"permit": "domain"}, "own_domain"),
            ("eve@gmail.com", None, {"permit": "domain"}, "public_provider"),
            ("eve@Outlook.com", None, {"permit": "domain"}, "public_provider"),
            ("foo..bar@a.example", None, {"permit": "address"}, "no_sender"),
            ("root@localhost", None, {"permit": "address"}, "no_sender"),
            ("root@localhost", None, {"permit": "domain"}, "no_sender"),
            ("x@[1.2.3.4]", None, {"permit": "address"}, "no_sender"),
            ("x@[1.2.3.4]", None, {"permit": "domain"}, "no_sender"),
            ('"a b" c@a.example', None, {"permit": "address"}, "no_sender"),
            ("*@a.example", None, {"permit": "address"}, "no_sender"),
            ("<a@b@c.example>", None, {"permit": "address"}, "no_sender"),
            ("<a@b@c.example>", None, {"permit": "domain"}, "no_sender"),
            ("a\x01b@a.example", None, {"permit": "address"}, "no_sender"),
            (f"{'a' * 300}@a.example", None, {"permit": "address"}, "no_sender"),
            ("a@good.example b@evil.example", None, {"permit": "address"}, "no_sender"),
            ("<a@good.example b@evil.example>", None, {"permit": "domain"}, "no_sender"),
        ],
    )
    def test_senders_that_give_no_entry_leave_the_message_held(
        self, lab: Lab, ask: Asking, sender: str, envelope: str | None, options: dict[str, str], code: str
    ) -> None:
        lab.receive(mail_of(sender), envelope_from=envelope)
        id = ask.one()
        assert ask.decide(id, "release", **options).code == code
        block = {"block" if key == "permit" else key: value for key, value in options.items()}
        assert ask.decide(id, "reject", **block).code == code
        assert ask(STATES, {"ids": [id]}).row["state"] == "held"
        assert ask.lists() == {}

    def test_public_providers_are_the_portal_s_to_name(self, lab: Lab) -> None:
        configure(lab, '"gmail.com", ', '"Provider.Example", ')
        lab.receive(mail_of("eve@provider.example"))
        with asking(lab) as ask:
            assert ask.decide(ask.one(), permit="domain").code == "public_provider"

    def test_one_sender_stands_on_one_list(self, lab: Lab, ask: Asking) -> None:
        for _ in range(3):
            lab.receive(mail_of())
        first, second, third = (row["id"] for row in ask.held())
        ask.decide(first, "reject", block="address")
        ask.decide(second, "release", permit="address")
        assert ask.lists() == {"eve@elsewhere.example": "permitted"}
        ask.decide(third, "reject", block="domain")
        assert ask.lists() == {"eve@elsewhere.example": "permitted", "elsewhere.example": "blocked"}

    def test_it_is_the_recipient_s_list_whoever_decides(self, lab: Lab, ask: Asking) -> None:
        lab.receive(mail_of(to=BOB), to=BOB)
        ask.decide(ask.one(), permit="address", by=ADMIN)
        assert (ask.lists(BOB), ask.lists(ADMIN)) == ({"eve@elsewhere.example": "permitted"}, {})

    def test_nothing_is_listed_where_nothing_is_decided(self, lab: Lab, ask: Asking) -> None:
        lab.receive(mail_of())
        id = ask.one()
        ask.decide(id)
        assert ask.decide(id, "release", permit="address").row["outcome"] == "already"
        assert ask.decide(id, "reject", block="address").code == "already_released"
        assert ask.lists() == {}


class TestBlockedSenders:
    """promises B.5"""

    @pytest.fixture
    def id(self, lab: Lab, ask: Asking) -> str:
        lab.receive(
            mail_of("eve@elsewhere.example", to=BOB), to=BOB, envelope_from="b@bounce.example", level="moderator"
        )
        return ask.one()

    def block(self, ask: Asking, entry: str, list: str = "blocked") -> None:
        ask("/api/portal/senders/add", {"entry": entry, "list": list, "mailbox": BOB})

    @pytest.mark.parametrize(
        ("blocked", "permitted", "expected"),
        [
            ((), (), False),
            (("eve@elsewhere.example",), (), True),
            (("elsewhere.example",), (), True),
            (("bounce.example",), (), True),
            (("sub.elsewhere.example", "here.example"), (), False),
            (("elsewhere.example",), ("eve@elsewhere.example",), False),
            (("eve@elsewhere.example",), ("elsewhere.example",), False),
        ],
    )
    def test_rows_tell_it(
        self, ask: Asking, id: str, blocked: tuple[str, ...], permitted: tuple[str, ...], expected: bool
    ) -> None:
        for entry in blocked:
            self.block(ask, entry)
        for entry in permitted:
            self.block(ask, entry, "permitted")
        assert [row["senderBlocked"] for row in ask.held()] == [expected]
        assert [row["senderBlocked"] for row in ask(FIND, {"ids": [id]}, by=MOD).rows] == [expected]

    def test_another_s_list_says_nothing(self, ask: Asking, id: str) -> None:
        ask("/api/portal/senders/add", {"entry": "elsewhere.example", "list": "blocked", "mailbox": ANN})
        assert [row["senderBlocked"] for row in ask.held()] == [False]

    def test_lists_of_any_length(self, lab: Lab, ask: Asking, id: str) -> None:
        """Those of a page's people are read at once, as far as they are short; of a long one what is asked about."""
        for address in (ADMIN, ANN):
            lab.receive(mail_of("eve@elsewhere.example", to=address), to=address)
        self.block(ask, "eve@elsewhere.example")
        long = [f"a{number}.example" for number in range(2_100)]
        for mailbox, entries in ((ADMIN, ["elsewhere.example", *long]), (ANN, long)):
            items = [{"entry": entry, "list": "blocked", "mailbox": mailbox} for entry in entries]
            for start in range(0, len(items), limits.SENDERS_ADDED):
                assert ask("/api/portal/senders/add", *items[start : start + limits.SENDERS_ADDED]).code == ""
        told = {row["to"]["emailAddress"]: row["senderBlocked"] for row in ask.held()}
        assert told == {ADMIN: True, ANN: False, BOB: True}

    def test_moderators_may_not_release_it(self, ask: Asking, id: str) -> None:
        self.block(ask, "elsewhere.example")
        assert ask.decide(id, "release", by=MOD).code == "sender_blocked"
        assert ask(RELEASE, {"id": id}, by=MOD).code == "sender_blocked"
        assert ask.decide(id, "reject", by=MOD).row["outcome"] == "done"

    def test_administrators_may_by_id(self, ask: Asking, id: str) -> None:
        self.block(ask, "elsewhere.example")
        assert ask.decide(id, "release", by=ADMIN).row["outcome"] == "done"


class TestNotices:
    """Mail that tells a sender of a rejection: seldom, and of nothing that a stranger wrote (promises C.6)."""

    def notice(self, ask: Asking, id: str, **options: Any) -> str:
        return str(ask.decide(id, "reject", notify=True, **options).row["notice"])

    def test_what_it_says(self, lab: Lab, ask: Asking) -> None:
        lab.receive(
            mail_of("Eve <eve@elsewhere.example>", "SECRET subject", "SECRET body\n"),
            envelope_from="bounce@elsewhere.example",
            kind="content",
        )
        text = "Please send it as a PDF.\r\nBcc: someone@else.example"
        told = self.notice(ask, ask.one(), message=text, reasonType="MESSAGE CONTAINS UNDESIRABLE CONTENT")
        assert told == "queued"
        lab.client(ADMIN).close()
        (path,) = lab.outgoing()
        message = email.message_from_bytes(path.read_bytes())
        assert message["From"] == "no-reply@example.com"
        assert message["To"] == "bounce@elsewhere.example"
        assert message["Auto-Submitted"] == "auto-replied"
        assert message["Bcc"] is None
        assert "SECRET" not in path.read_text()
        body = message.get_payload()
        assert "Message contains undesirable content" in body
        assert "Please send it as a PDF." in body
        assert ask.count(deliveries, deliveries.c.kind == "written", deliveries.c.sender == "") == 1

    def test_none_unless_asked_for(self, lab: Lab, ask: Asking) -> None:
        lab.receive(mail_of(), kind="content")
        assert "notice" not in ask.decide(ask.one(), "reject").row
        assert ask.count(deliveries) == 0

    @pytest.mark.parametrize(
        ("kind", "envelope", "extra", "why"),
        [
            ("spam", None, "", "spam hold"),
            ("content", "<>", "", "null sender"),
            ("content", None, "List-Id: <news.example>\n", "mailing list"),
            ("content", None, "Auto-Submitted: auto-replied\n", "automatic mail"),
            ("content", None, "Precedence: bulk\n", "automatic mail"),
            ("content", None, "Authentication-Results: mx.example.com; dmarc=fail\n", "sender not authenticated"),
        ],
    )
    def test_left_out(self, lab: Lab, kind: str, envelope: str | None, extra: str, why: str) -> None:
        configure(lab, '# authserv_id = "mx.example.com"', 'authserv_id = "mx.example.com"')
        lab.server = type(lab.server)(lab.server.home.open(lab.path), wall=lambda: lab.time)
        lab.receive(mail_of(extra=extra), envelope_from=envelope, kind=kind)
        with asking(lab) as ask:
            assert self.notice(ask, ask.one()) == f"left out: {why}"
            assert ask.count(deliveries) == 0

    def test_not_too_many_to_one_address(self, lab: Lab, ask: Asking) -> None:
        for number in range(limits.WRITTEN_PER_HOUR + 2):
            lab.receive(mail_of(subject=str(number)), kind="content")
        lab.receive(mail_of("fay@elsewhere.example", "of another"), kind="content")
        ids = {row["subject"]: row["id"] for row in ask.held()}
        other = ids.pop("of another")
        *most, second_to_last, last = ids.values()
        told = [
            entry["notice"]
            for entry in ask(DECIDE, *({"id": id, "decision": "reject", "notify": True} for id in most)).rows
        ]
        assert set(told) == {"queued"}
        assert self.notice(ask, second_to_last) == "left out: too many notices to this address"
        assert self.notice(ask, other) == "queued"
        lab.advance(hours=1.1)
        with asking(lab) as later:
            assert self.notice(later, last) == "queued"

    def test_owners_send_none(self, lab: Lab, ask: Asking) -> None:
        """A notice is for moderators and administrators (portal-rules B.19)."""
        lab.receive(mail_of(), kind="content")
        assert ask.decide(ask.one(), "reject", notify=True, by=ANN).code == "forbidden"
        assert len(ask.held()) == 1


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    lab = Lab(tmp_path_factory.mktemp("log") / "home")
    with asking(lab) as ask:
        for subject, decision in (("kept", ""), ("released", "release"), ("rejected", "reject")):
            lab.receive(mail_of(f"{subject}@elsewhere.example", subject))
            if decision:
                ask.decide(ask.one(subject=subject), decision)
        yield ask
    lab.server.close()


class TestReleaseLog:
    @pytest.fixture
    def ask(self, past: Asking) -> Asking:
        return past

    def subjects(self, ask: Asking, *, by: str = ADMIN, **item: Any) -> list[str]:
        return [row["subject"] for row in ask(LOG, item, by=by).json["data"][0]["heldReleaseLogs"]]

    @pytest.mark.parametrize(
        ("item", "subjects"),
        [
            ({}, ["rejected", "released"]),
            ({"filterBy": [{"fieldName": "status", "value": "released"}]}, ["released"]),
            ({"filterBy": [{"fieldName": "status", "value": "REJECTED"}]}, ["rejected"]),
            ({"filterBy": [{"fieldName": "route", "value": "all"}]}, ["rejected", "released"]),
            ({"filterBy": [{"fieldName": "route", "value": "outbound"}]}, []),
            ({"filterBy": [{"fieldName": "attachments", "value": "false"}]}, ["rejected", "released"]),
            ({"filterBy": [{"fieldName": "attachments", "value": "true"}]}, []),
            ({"searchBy": {"fieldName": "all", "value": "RELEASED"}}, ["released"]),
            ({"searchBy": {"fieldName": "subject", "value": "rej"}}, ["rejected"]),
            ({"searchBy": {"fieldName": "from", "value": "released@"}}, ["released"]),
            ({"searchBy": {"fieldName": "to", "value": "bob"}}, []),
            ({"searchBy": {"fieldName": "operator", "value": "admin@"}}, ["rejected", "released"]),
            ({"searchBy": {"fieldName": "heldReason", "value": "spam signature"}}, ["rejected", "released"]),
            ({"end": "2020-01-01T00:00:00+0000"}, []),
        ],
        ids=str,
    )
    def test_filters(self, ask: Asking, item: dict[str, Any], subjects: list[str]) -> None:
        assert self.subjects(ask, **item) == subjects

    def test_it_begins_a_month_ago(self, lab: Lab, ask: Asking) -> None:
        lab.receive(mail_of(subject="released"))
        with asking(lab) as now:
            now.decide(now.one())
        lab.advance(days=33)
        with asking(lab) as later:
            assert self.subjects(later) == []
            assert self.subjects(later, start="2020-01-01T00:00:00Z") == ["released"]

    def test_everybody_sees_their_own(self, ask: Asking) -> None:
        assert self.subjects(ask, by=ANN) == ["rejected", "released"]
        assert self.subjects(ask, by=BOB) == []

    def test_pages(self, ask: Asking) -> None:
        told = ask(LOG, {}, size=1)
        assert told.page["totalCount"] == 2
        again = ask(LOG, {}, size=1, token=told.page["next"])
        assert again.json["data"][0]["heldReleaseLogs"][0]["subject"] == "released"
        assert "next" not in again.page


def test_home_stays_its_owner_s_alone(lab: Lab) -> None:
    assert Path(lab.path).stat().st_mode & 0o077 == 0
