"""Acting as the owner of a mailbox: all that the owner can do, told apart in the audit, over at once (C.8, H.6)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from asking import ADD, DETAIL, FIND, LOG, PERMIT_OR_BLOCK, SENDERS, STATES, SUMMARY, Asking
from conftest import ADMIN, ANN, BOB, MOD, Lab, mail_of
from mimeportal import limits
from mimeportal.errors import ForbiddenError
from mimeportal_server import people
from mimeportal_server.store.schema import audit, audit_details
from mimeportal_server.store.schema import people as persons

APPOINT, DISMISS, DELEGATES = (
    f"/api/user/{name}" for name in ("add-delegate-user", "remove-delegate-user", "find-delegate-users")
)
PREFERENCES, PREFER = "/api/portal/account/preferences", "/api/portal/account/set-preferences"
FORBIDDEN = "err_xdk_operation_forbidden_for_address"


@pytest.fixture
def ask(lab: Lab) -> Iterator[Asking]:
    ask = Asking(lab)
    ask(APPOINT, {"primaryAddress": ANN, "delegateAddress": BOB}, by=ANN)
    yield ask
    ask.close()


def held(lab: Lab, ask: Asking, subject: str = "For ann") -> str:
    lab.receive(mail_of(subject=subject))
    return ask.one(subject=subject)


def test_held_mail(lab: Lab, ask: Asking) -> None:
    one, other = held(lab, ask), held(lab, ask, "Another")
    lab.receive(mail_of(subject="Not hers to see"), level="administrator")
    mine = {"queue": "personal", "mailboxes": [ANN]}
    assert [row["id"] for row in ask(FIND, mine, by=BOB).rows] == [other, one]
    assert {row["queue"] for row in ask(FIND, {"ids": [one, other]}, by=BOB).rows} == {"personal"}
    assert ask(FIND, {"queue": "personal"}, by=BOB).rows == []  # his own
    assert ask(DETAIL, {"id": one}, by=BOB).row["subject"] == "For ann"
    assert ask(STATES, {"ids": [one]}, by=BOB).row["state"] == "held"
    assert ask(SUMMARY, by=BOB).row["numberOfItems"] == 2
    assert ask.decide(one, "release", by=BOB, permit="address").row["outcome"] == "done"
    assert ask.decide(other, "reject", by=BOB, block="domain").row["outcome"] == "done"
    assert ask.lists(ANN) == {"elsewhere.example": "blocked", "eve@elsewhere.example": "permitted"}
    rows = ask(LOG, {}, by=BOB).json["data"][0]["heldReleaseLogs"]
    assert {row["operator"] for row in rows} == {BOB}


def test_the_command_s_way_to_held_mail(lab: Lab, ask: Asking) -> None:
    held(lab, ask)
    with lab.client(BOB) as portal:
        (hold,) = portal.holds.list(mailboxes=(ANN,))
        assert portal.holds.release([hold]).clean
    with pytest.raises(ForbiddenError):
        list(lab.client(MOD).holds.list(mailboxes=(ANN,)))


def test_several_mailboxes_at_once_but_no_other(lab: Lab, ask: Asking) -> None:
    held(lab, ask)
    lab.receive(mail_of(subject="For bob", to=BOB), to=BOB)
    both = ask(FIND, {"queue": "personal", "mailboxes": [ANN, BOB]}, by=BOB).rows
    assert {row["subject"] for row in both} == {"For ann", "For bob"}
    assert ask(FIND, {"queue": "personal", "mailboxes": [ANN, MOD]}, by=BOB).code == FORBIDDEN


def test_senders_and_preferences(ask: Asking) -> None:
    item = {"entry": "x@sender.example", "list": "blocked", "mailbox": ANN}
    assert ask(ADD, item, by=BOB).row["outcome"] == "done"
    assert ask(PERMIT_OR_BLOCK, {"sender": "y@sender.example", "to": ANN, "action": "permit"}, by=BOB).rows
    assert len(ask(SENDERS, {"mailbox": ANN}, by=BOB).rows) == 2
    assert ask(PREFER, {"mailbox": ANN, "preferences": {"time_format": "12h"}}, by=BOB).rows
    assert ask(PREFERENCES, {}, by=ANN).row["timeFormat"] == "12h"
    assert ask(PREFERENCES, {}, by=BOB).row["timeFormat"] == "24h"


def test_the_mailbox(lab: Lab, ask: Asking) -> None:
    lab.receive(mail_of(subject="In her Inbox"), reason=None)
    with lab.client(BOB) as portal:
        (message,) = portal.messages.list("inbox", mailbox=ANN)
        assert portal.messages.get(message.id).subject == "In her Inbox"
        assert list(portal.messages.list("inbox")) == []
    with pytest.raises(ForbiddenError):
        list(lab.client(MOD).messages.list("inbox", mailbox=ANN))


def test_the_audit_names_who_really_acted(lab: Lab, ask: Asking) -> None:
    ask.decide(held(lab, ask), by=BOB)
    query = select(persons.c.address, audit_details.c.detail).join(audit, audit.c.actor == persons.c.id)
    with lab.server.database.read() as tx:
        rows = tx.execute(query.join(audit_details).where(audit.c.action == "release")).all()
    assert [(row.address, json.loads(row.detail)["to"]) for row in rows] == [(BOB, ANN)]


def test_the_end_of_a_delegation_ends_access_at_once(lab: Lab, ask: Asking) -> None:
    one = held(lab, ask)
    with lab.client(BOB) as portal:  # open all the while
        assert len(list(portal.holds.list(mailboxes=(ANN,)))) == 1
        lab.client(ANN).account.remove_delegate(BOB)
        with pytest.raises(ForbiddenError):
            list(portal.holds.list(mailboxes=(ANN,)))
        assert list(portal.holds.lookup([one])) == []
    assert ask.decide(one, by=BOB).code == "not_found"
    assert ask(SENDERS, {"mailbox": ANN}, by=BOB).code == FORBIDDEN


def test_the_mailbox_of_a_disabled_owner_is_closed(lab: Lab, ask: Asking) -> None:
    one = held(lab, ask)
    with lab.server.write() as tx:
        ann = people.find(tx, ANN)
        assert ann is not None
        people.disable(tx, int(ann.id), True)
    assert ask.decide(one, by=BOB).code == "not_found"
    assert ask(FIND, {"queue": "personal", "mailboxes": [ANN]}, by=BOB).code == FORBIDDEN
    assert lab.client(BOB).account.delegated_access() == []


def test_no_delegation_of_a_delegation(ask: Asking) -> None:
    """A delegate names no others, and sees none; and whose delegate's delegate one is gives nothing."""
    for path, item in ((APPOINT, {"delegateAddress": MOD}), (DELEGATES, {})):
        assert ask(path, {"primaryAddress": ANN, **item}, by=BOB).code == FORBIDDEN
    id = ask(DELEGATES, {"primaryAddress": ANN}, by=ANN).row["id"]
    assert ask(DISMISS, {"id": id}, by=BOB).code == "not_found"
    ask(APPOINT, {"primaryAddress": BOB, "delegateAddress": MOD}, by=BOB)
    assert ask(SENDERS, {"mailbox": BOB}, by=MOD).rows == []
    assert ask(SENDERS, {"mailbox": ANN}, by=MOD).code == FORBIDDEN


@pytest.mark.parametrize("address", ["nobody@example.com", "x@elsewhere.example", ANN, "no address", "app:works"])
def test_who_can_be_none(ask: Asking, address: str) -> None:
    told = ask(APPOINT, {"primaryAddress": ANN, "delegateAddress": address}, by=ANN)
    assert told.code in ("err_validation_value_not_allowed", "err_validation_invalid_email_address")
    assert len(ask(DELEGATES, {"primaryAddress": ANN}, by=ANN).rows) == 1


def test_twice_is_once(ask: Asking) -> None:
    told = ask(APPOINT, {"primaryAddress": ANN, "delegateAddress": BOB.upper()}, by=ADMIN)
    assert (told.row["success"], told.row["outcome"]) == (True, "already")
    assert len(ask(DELEGATES, {"primaryAddress": ANN}, by=ANN).rows) == 1
    (id,) = (row["id"] for row in ask(DELEGATES, {"primaryAddress": ANN}, by=ANN).rows)
    assert ask(DISMISS, {"id": id}, by=ANN).row["success"]
    assert ask(DISMISS, {"id": id}, by=ANN).code == "not_found"
    assert ask(DISMISS, {"id": "eNmade-up"}, by=ANN).code == "xdk_failure"


def test_how_many_there_may_be(lab: Lab, ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DELEGATES", 2)
    codes = [ask(APPOINT, {"primaryAddress": ANN, "delegateAddress": who}, by=ANN).code for who in (BOB, MOD, ADMIN)]
    assert codes == ["", "", "err_validation_count"]


def test_a_list_of_many_comes_in_pages(ask: Asking) -> None:
    for who in (MOD, ADMIN):
        ask(APPOINT, {"primaryAddress": ANN, "delegateAddress": who}, by=ANN)
    first = ask(DELEGATES, {"primaryAddress": ANN}, by=ANN, size=2)
    rest = ask(DELEGATES, {"primaryAddress": ANN}, by=ANN, token=first.page["next"])
    assert [row["delegateAddress"] for row in first.rows + rest.rows] == [BOB, MOD, ADMIN]


def test_the_id_of_a_delegation_that_is_over_is_no_other_s(lab: Lab, ask: Asking) -> None:
    (first,) = ask(DELEGATES, {"primaryAddress": ANN}, by=ANN).rows
    ask(DISMISS, {"id": first["id"]}, by=ANN)
    ask(APPOINT, {"primaryAddress": ANN, "delegateAddress": MOD}, by=ANN)
    assert ask(DISMISS, {"id": first["id"]}, by=ANN).status == 404
    assert [row["delegateAddress"] for row in ask(DELEGATES, {"primaryAddress": ANN}, by=ANN).rows] == [MOD]


def test_an_administrator_who_may_not_view_content_does_not_name_themselves(lab: Lab, ask: Asking) -> None:
    """A delegate reads what the owner reads: that would be the permission that they were not given."""
    blind = "blind@example.com"
    with lab.server.write() as tx:
        people.add(tx, blind, role="administrator", content_view=False, domains=("example.com",), now=0)
    assert ask(APPOINT, {"primaryAddress": ANN, "delegateAddress": blind}, by=blind).code == FORBIDDEN
    assert blind not in {row["delegateAddress"] for row in ask(DELEGATES, {"primaryAddress": ANN}, by=ANN).rows}
    assert ask(DETAIL, {"id": held(lab, ask)}, by=blind).code == "forbidden"
    assert ask(APPOINT, {"primaryAddress": ANN, "delegateAddress": MOD}, by=blind).row["success"] is True
    assert ask(APPOINT, {"primaryAddress": ANN, "delegateAddress": ADMIN}, by=ADMIN).row["success"] is True
    # Whom the owner names is named, whatever else they are.
    assert ask(APPOINT, {"primaryAddress": ANN, "delegateAddress": blind}, by=ANN).row["success"] is True
    assert ask(APPOINT, {"primaryAddress": ANN, "delegateAddress": blind}, by=blind).row["outcome"] == "already"
