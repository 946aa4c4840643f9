"""Sender lists at the portal's door: what may stand on them, what moves, what is refused whole, what a check tells."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from asking import ADD, BULK_DELETE, CHECK, IMPORT, PERMIT_OR_BLOCK, REMOVE, SENDERS, Asking, asking
from conftest import ADMIN, ANN, BOB, Lab
from mimeportal import limits
from mimeportal_server.store.schema import audit, delegates, people, senders


@pytest.fixture
def ask(lab: Lab) -> Iterator[Asking]:
    with asking(lab) as ask:
        yield ask


def add(ask: Asking, list: str, *entries: str, by: str = ANN, **more: Any) -> str:
    """The code of its failure; "" where all were added."""
    return ask(ADD, *({"entry": entry, "list": list, **more} for entry in entries), by=by).code


def stand(ask: Asking, mailbox: str = ANN) -> list[tuple[str, str]]:
    return [(row["entry"], row["list"]) for row in ask(SENDERS, {"mailbox": mailbox}, size=500).rows]


class TestAdding:
    BAD = {
        "a wildcard": "*",
        "a wildcard in an address": "*@spam.example",
        "a leading @": "@spam.example",
        "two @": "a@b@c.example",
        "no dot": "spam",
        "300 characters": "a" * 300 + "@spam.example",
        "a domain of 300 characters": ".".join(["a" * 49] * 6),
        "nothing": "",
        "blanks": "   ",
        "NUL": "a\x00b@spam.example",
        "a line end": "a@spam.example\nb@spam.example",
        "a display name": "Eve <eve@spam.example>",
        "a label of 64": "a" * 64 + ".example",
        "two dots": "a@spam..example",
        "no mail domain": "a@localhost",
    }

    @pytest.mark.parametrize("entry", BAD.values(), ids=BAD)
    @pytest.mark.parametrize("list", ["blocked", "permitted"])
    def test_one_bad_entry_refuses_all(self, ask: Asking, list: str, entry: str) -> None:
        assert add(ask, list, "good.example", entry, "b@good.example") == "err_validation_invalid_sender_entry"
        assert stand(ask) == []
        assert ask.count(audit) == 0

    @pytest.mark.parametrize("sender", ["*@spam.example", "spam.example", "@spam.example", "a@b@c.example", ""])
    def test_what_mimecast_s_own_operation_takes_no_more_than_others(self, ask: Asking, sender: str) -> None:
        told = ask(PERMIT_OR_BLOCK, {"sender": sender, "to": ANN, "action": "block"}, by=ANN)
        assert told.code == "err_validation_invalid_email_address"
        assert stand(ask) == []

    @pytest.mark.parametrize("entry", ["example.com", "ann@example.com", "boss@EXAMPLE.com"])
    def test_the_account_s_own_domains(self, ask: Asking, entry: str) -> None:
        assert add(ask, "permitted", "good.example", entry) == "own_domain"
        assert stand(ask) == []

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("b\u00fccher.example", "xn--bcher-kva.example"),
            ("a@B\u00dcCHER.example", "A@xn--bcher-kva.example"),
            ("Spam.Example.", "spam.example"),
            ('"eve"@spam.example', "EVE@spam.example"),
        ],
    )
    def test_twins_are_one_entry(self, ask: Asking, one: str, other: str) -> None:
        told = ask(ADD, {"entry": one, "list": "blocked"}, {"entry": other, "list": "blocked"}, by=ANN)
        assert [row["outcome"] for row in told.rows] == ["done", "already"]
        assert len(stand(ask)) == 1

    def test_one_sender_stands_on_one_list(self, ask: Asking) -> None:
        add(ask, "blocked", "spam.example")
        told = ask(ADD, {"entry": "spam.example", "list": "permitted"}, by=ANN)
        assert (told.row["outcome"], told.row["movedFrom"]) == ("done", "blocked")
        assert stand(ask) == [("spam.example", "permitted")]

    def test_trusted_is_apart(self, ask: Asking) -> None:
        add(ask, "permitted", "a@b.example")
        add(ask, "trusted", "a@b.example")
        assert stand(ask) == [("a@b.example", "permitted"), ("a@b.example", "trusted")]
        add(ask, "blocked", "a@b.example")
        assert stand(ask) == [("a@b.example", "blocked"), ("a@b.example", "trusted")]

    def test_trusted_takes_one_address(self, ask: Asking) -> None:
        assert add(ask, "trusted", "a@b.example", "c@b.example") == "err_validation_value_not_allowed"
        assert add(ask, "trusted", "b.example") == "err_validation_invalid_sender_entry"
        assert stand(ask) == []

    @pytest.mark.parametrize("list", ["auto-permitted", "junk", ""])
    def test_lists_that_take_nothing(self, ask: Asking, list: str) -> None:
        assert add(ask, list, "a@b.example") == "err_validation_value_not_allowed"

    def test_more_than_one_call_takes(self, ask: Asking) -> None:
        entries = [f"s{number}.example" for number in range(limits.SENDERS_ADDED + 1)]
        assert add(ask, "blocked", *entries) == "err_validation_count"
        assert add(ask, "blocked", *entries[1:]) == ""
        assert ask.count(senders) == limits.SENDERS_ADDED

    def test_a_delegate_acts_as_the_owner(self, lab: Lab, ask: Asking) -> None:
        assert add(ask, "blocked", "a@b.example", by=BOB, mailbox=ANN) == "err_xdk_operation_forbidden_for_address"
        with lab.server.write() as tx:
            numbers = {row.address: row.id for row in tx.execute(people.select())}
            tx.execute(delegates.insert(), {"owner_id": numbers[ANN], "delegate_id": numbers[BOB], "added": 0})
        assert add(ask, "blocked", "a@b.example", by=BOB, mailbox="Ann@Example.com") == ""
        assert (stand(ask), stand(ask, BOB)) == ([("a@b.example", "blocked")], [])
        told = ask(SENDERS, {"mailbox": ANN}, by=BOB).row
        assert (told["mailbox"], told["source"]) == (ANN, "manual")

    def test_clients_that_block_and_permit_at_once(self, lab: Lab) -> None:
        """One of them is last: its list is where the sender stands, and nowhere else; both are answered."""
        for _ in range(5):
            outcomes: list[str] = []
            ready = threading.Barrier(4)

            def act(list: str, ready: threading.Barrier = ready, outcomes: Any = outcomes) -> None:
                with asking(lab) as own:
                    ready.wait()
                    outcomes.append(own(ADD, {"entry": "spam.example", "list": list}, by=ANN).row["outcome"])

            threads = [threading.Thread(target=act, args=[name]) for name in ("blocked", "permitted") * 2]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            with asking(lab) as ask:
                ((entry, where),) = stand(ask)
                assert (entry, where in ("blocked", "permitted"), len(outcomes)) == ("spam.example", True, 4)
                assert set(outcomes) <= {"done", "already"}


class TestRemoving:
    @pytest.fixture(autouse=True)
    def entries(self, ask: Asking) -> None:
        add(ask, "blocked", "a@b.example", "c.example")
        add(ask, "trusted", "a@b.example")

    def test_from_one_list(self, ask: Asking) -> None:
        told = ask(
            REMOVE, {"entry": "A@b.example", "list": "trusted"}, {"entry": "c.example", "list": "permitted"}, by=ANN
        )
        assert [row["outcome"] for row in told.rows] == ["done", "already"]
        assert stand(ask) == [("a@b.example", "blocked"), ("c.example", "blocked")]

    def test_from_whichever_list(self, ask: Asking) -> None:
        told = ask(REMOVE, {"entry": "a@b.example"}, {"entry": "d.example"}, by=ANN)
        assert [(row.get("list"), row["outcome"]) for row in told.rows] == [
            ("blocked and trusted", "done"),
            (None, "already"),
        ]
        assert stand(ask) == [("c.example", "blocked")]

    def test_of_somebody_else(self, ask: Asking) -> None:
        told = ask(REMOVE, {"entry": "a@b.example", "mailbox": ANN}, by=BOB)
        assert told.code == "err_xdk_operation_forbidden_for_address"
        assert len(stand(ask)) == 3

    def test_every_act_is_recorded_with_its_list(self, ask: Asking) -> None:
        ask(REMOVE, {"entry": "a@b.example"}, by=ANN)
        assert ask.count(audit, audit.c.action == "remove blocked") == 1
        assert ask.count(audit, audit.c.action == "remove trusted") == 1


class TestEverybody:
    """Mimecast's bulk delete (mimecast-api-portal 1.3)."""

    @pytest.fixture(autouse=True)
    def entries(self, ask: Asking) -> None:
        add(ask, "blocked", "spam.example", "other.example")
        add(ask, "permitted", "spam.example", by=BOB)
        add(ask, "trusted", "eve@spam.example", by=BOB)

    def delete(self, ask: Asking, *ids: str, by: str = ADMIN, **filters: Any) -> Any:
        return json.loads(ask.send(BULK_DELETE, {"ids": [*ids], **filters}, by=by).octets)

    @pytest.mark.parametrize(
        ("filters", "count"),
        [
            ({}, 2),
            ({"action": "block"}, 1),
            ({"action": "permit"}, 1),
            ({"type": "manual"}, 2),
            ({"type": "auto"}, 0),
            ({"trusted": True}, 0),
            ({"trusted": False, "type": "manual"}, 2),
        ],
    )
    def test_filters(self, ask: Asking, filters: dict[str, Any], count: int) -> None:
        assert self.delete(ask, "spam.example", **filters) == {"deletedCount": count}
        assert len(stand(ask)) + len(stand(ask, BOB)) == 4 - count
        assert ask.count(audit, audit.c.action.like("remove %")) == count

    def test_trusted(self, ask: Asking) -> None:
        assert self.delete(ask, "eve@spam.example", "<>", trusted=True) == {"deletedCount": 1}
        assert stand(ask, BOB) == [("spam.example", "permitted")]

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"ids": []},
            {"ids": ["a.example", "a.example"]},
            {"ids": ["*"]},
            {"ids": [f"s{number}.example" for number in range(limits.SENDERS_DELETED + 1)]},
            {"ids": ["spam.example"], "type": "auto", "action": "block"},
            {"ids": ["spam.example"], "type": "any"},
            {"ids": ["spam.example"], "action": "remove"},
            {"data": [{"ids": ["spam.example"]}]},
        ],
    )
    def test_bad_bodies_delete_nothing(self, ask: Asking, body: dict[str, Any]) -> None:
        assert ask.send(BULK_DELETE, body).code.startswith("err_")
        assert len(stand(ask)) + len(stand(ask, BOB)) == 4

    def test_administrators_alone(self, ask: Asking) -> None:
        told = ask.send(BULK_DELETE, {"ids": ["spam.example"]}, by=ANN)
        assert (told.status, told.code) == (403, "err_xdk_operation_forbidden_for_address")


class TestListing:
    def test_pages_hold_each_entry_once(self, ask: Asking) -> None:
        add(ask, "blocked", *(f"a{number:03}@b.example" for number in range(30)))
        for number in range(0, 30, 3):
            add(ask, "trusted", f"a{number:03}@b.example")
        seen, token = [], ""
        while True:
            told = ask(SENDERS, {}, by=ANN, size=7, token=token)
            seen += [(row["entry"], row["list"]) for row in told.rows]
            assert told.page["totalCount"] == 40
            token = told.page.get("next", "")
            if not token:
                break
        assert len(seen) == len(set(seen)) == 40
        assert [entry for entry, _ in seen] == sorted(entry for entry, _ in seen)

    @pytest.mark.parametrize("item", [{"list": "junk"}, {"policyType": "any"}, {"search": "x" * 2000}])
    def test_what_is_no_filter(self, ask: Asking, item: dict[str, Any]) -> None:
        assert ask(SENDERS, item, by=ANN).code == "err_validation_value_not_allowed"


class TestImport:
    def test_good_ones_are_stored_and_bad_ones_told(self, ask: Asking) -> None:
        add(ask, "permitted", "moved.example", "stays.example")
        add(ask, "blocked", "there.example")
        entries = ["a@b.example", "*", "moved.example", "there.example", "A@b.example", "example.com", "\x00"]
        told = ask(IMPORT, {"entries": entries, "list": "blocked"}, by=ANN).json
        assert told["data"] == [{"list": "blocked", "mailbox": ANN, "added": 2, "moved": 1, "already": 2}]
        assert [failure["key"]["entry"] for failure in told["fail"]] == ["*", "example.com", "\x00"]
        assert dict(stand(ask)) == {
            "a@b.example": "blocked",
            "moved.example": "blocked",
            "there.example": "blocked",
            "stays.example": "permitted",
        }
        assert ask.count(senders, senders.c.source == "import") == 2

    def test_trusted_takes_many_addresses_of_a_file(self, ask: Asking) -> None:
        told = ask(IMPORT, {"entries": ["a@b.example", "b.example", "c@b.example"], "list": "trusted"}, by=ANN).json
        assert (told["data"][0]["added"], len(told["fail"])) == (2, 1)

    @pytest.mark.parametrize("count", [0, limits.SENDERS_IMPORTED + 1])
    def test_how_many_at_once(self, ask: Asking, count: int) -> None:
        entries = [f"s{number}.example" for number in range(count)]
        assert ask(IMPORT, {"entries": entries, "list": "blocked"}, by=ANN).code == "err_validation_count"

    def test_auto_permitted_takes_none(self, ask: Asking) -> None:
        assert ask(IMPORT, {"entries": ["a@b.example"], "list": "auto-permitted"}, by=ANN).code
        assert stand(ask) == []


class TestChecking:
    """By the screening that mail goes through: refused, dropped, permitted, held, or left to the rules."""

    def check(self, ask: Asking, sender: str, **more: Any) -> Any:
        return ask(CHECK, {"sender": sender, **more}, by=ANN).row

    def test_nothing_decides(self, ask: Asking) -> None:
        told = self.check(ask, "Eve@Spam.example")
        assert (told["outcome"], told["decidedBy"], told["skipped"]) == ("undecided", "", [])
        assert told["mayHold"][0] == "Spam Scanning"
        assert (told["sender"], told["envelope"], told["mailbox"]) == ("eve@spam.example", "eve@spam.example", ANN)

    @pytest.mark.parametrize(
        ("envelope", "outcome", "part"),
        [
            (None, "refused", "envelope"),
            ("bounce@lists.example", "dropped", "header"),
            ("", "dropped", "header"),
        ],
    )
    def test_blocked(self, ask: Asking, envelope: str | None, outcome: str, part: str) -> None:
        add(ask, "blocked", "spam.example")
        told = self.check(ask, "eve@spam.example", **({} if envelope is None else {"envelope": envelope}))
        assert (told["outcome"], told["part"], told["entry"]) == (outcome, part, "spam.example")
        assert told["decidedBy"] == "blocked sender spam.example"
        assert told["mayHold"] == []

    def test_blocked_by_the_envelope_whatever_the_header_says(self, ask: Asking) -> None:
        add(ask, "blocked", "lists.example")
        add(ask, "permitted", "eve@shop.example")
        told = self.check(ask, "eve@shop.example", envelope="bounce@lists.example")
        assert (told["outcome"], told["decidedBy"]) == ("refused", "blocked sender lists.example")

    def test_permitted(self, ask: Asking) -> None:
        add(ask, "permitted", "user1@spam.example")
        add(ask, "blocked", "spam.example")
        add(ask, "trusted", "user1@spam.example")
        told = self.check(ask, "user1@spam.example")
        assert (told["outcome"], told["decidedBy"]) == ("permitted", "permitted sender user1@spam.example")
        assert told["skipped"] == ["Spam Scanning"]
        assert told["mayHold"] == ["Default Attachment Management Definition - Block Dangerous File Types"]
        assert told["trusted"] is True

    @pytest.mark.parametrize(
        ("rule", "outcome", "may_hold"),
        [
            ('sender = "shop.example"', "held", True),
            ('sender = "other.example"', "undecided", False),
            ('recipient = "bob@example.com"\nlarger_than = 1', "undecided", False),
            ('sender = "shop.example"\nsubject = "x"', "undecided", True),
            ("larger_than = 1", "undecided", True),
        ],
    )
    def test_rules_that_ask_for_the_sender(self, lab: Lab, rule: str, outcome: str, may_hold: bool) -> None:
        with open(lab.path / "portal.toml", "a") as file:
            file.write(f'\n[[hold]]\npolicy = "Shops"\nkind = "content"\n{rule}\n')
        with asking(lab) as ask:
            told = self.check(ask, "eve@shop.example")
            assert (told["outcome"], "Shops" in told["mayHold"]) == (outcome, may_hold)
            assert told["decidedBy"] == ("Shops" if outcome == "held" else "")

    def test_policies_of_the_account(self, lab: Lab) -> None:
        path = lab.path / "portal.toml"
        text = path.read_text().replace("blocked_senders = []", 'blocked_senders = ["spam.example"]')
        path.write_text(text.replace("permitted_senders = []", 'permitted_senders = ["partner.example"]'))
        with asking(lab) as ask:
            add(ask, "permitted", "eve@spam.example")
            add(ask, "blocked", "partner.example")
            told = self.check(ask, "eve@spam.example")
            assert (told["outcome"], told["decidedBy"]) == ("refused", "account blocked sender spam.example")
            told = self.check(ask, "joe@partner.example")
            assert (told["outcome"], told["decidedBy"]) == ("permitted", "account permitted sender partner.example")

    def test_a_permit_that_does_not_count_is_said(self, lab: Lab) -> None:
        path = lab.path / "portal.toml"
        path.write_text(path.read_text().replace("permitted_senders = []", 'permitted_senders = ["example.com"]'))
        with asking(lab) as ask:
            told = self.check(ask, "boss@example.com")
            assert told["outcome"] == "undecided"
            assert "own domains" in told["why"]

    @pytest.mark.parametrize("item", [{"sender": "spam.example"}, {"sender": "a@b.example", "envelope": "x"}])
    def test_addresses_alone(self, ask: Asking, item: dict[str, str]) -> None:
        assert ask(CHECK, item, by=ANN).code == "err_validation_invalid_email_address"

    def test_nothing_but_what_is_asked_about_is_read(self, lab: Lab, ask: Asking) -> None:
        """However long a list is: the statements of a check, and of an arrival, name their entries."""
        from sqlalchemy import event

        from conftest import mail_of

        read: list[str] = []
        for portal in (lab.server, ask.portal):
            engine = portal.database._engine

            @event.listens_for(engine, "before_cursor_execute")
            def note(_c: Any, _u: Any, statement: str, *_: Any) -> None:
                if "FROM senders" in statement:
                    read.append(statement)

        self.check(ask, "eve@spam.example")
        lab.receive(mail_of(), reason=None)
        assert len(read) == 3
        assert all('senders."key" IN' in statement for statement in read)
