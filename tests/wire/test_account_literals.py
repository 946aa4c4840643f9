"""Contacts and delegates on Mimecast's wire, word for word: see test_literals."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from asking import Asking
from conftest import ADMIN, ANN, BOB, Lab
from mimeportal.account.persons import Access, Delegate, DelegateChange
from mimeportal.errors import ApiError, NotOfferedError, UsageError
from mimeportal.portal import Portal
from mimeportal_server import contacts, people
from wire.literal import Recorded, assert_same_shape, literal

ID = "eNqrVkouLS7Jz00tSs5PSVWyUkpRqgUAQpsGZQ"


class TestClient:
    """What the SDK sends to Mimecast's API, and what it makes of the answers."""

    def test_delegates(self) -> None:
        transport = Recorded("find-delegate-users")
        assert list(Portal(transport).account.delegates(mailbox=ANN)) == [Delegate(ANN, BOB, ID)]
        transport.asked("find-delegate-users")

    def test_a_delegate_is_added(self) -> None:
        transport = Recorded("add-delegate-user")
        assert Portal(transport).account.add_delegate(BOB, mailbox=ANN) == DelegateChange(ANN, BOB, "done")
        transport.asked("add-delegate-user")

    def test_a_delegate_is_removed_by_the_id_that_the_list_tells(self) -> None:
        transport = Recorded("find-delegate-users", "remove-delegate-user", ID=ID)
        assert Portal(transport).account.remove_delegate(BOB, mailbox=ANN) == DelegateChange(ANN, BOB, "done")
        transport.asked("find-delegate-users")
        transport.asked("remove-delegate-user", ID=ID)

    def test_who_is_no_delegate_is_not_removed(self) -> None:
        transport = Recorded("find-delegate-users", "remove-delegate-user")
        assert Portal(transport).account.remove_delegate(ADMIN, mailbox=ANN).outcome == "already"
        assert [path for _, path, _ in transport.sent] == ["/api/user/find-delegate-users"]

    def test_an_app_names_the_mailbox(self) -> None:
        transport = Recorded("find-delegate-users")
        transport.user = None
        with pytest.raises(UsageError, match="Whose mailbox"):
            list(Portal(transport).account.delegates())

    def test_what_is_reached(self) -> None:
        transport = Recorded("get-delegated-access", api="api1")
        (access,) = Portal(transport).account.delegated_access()
        transport.asked("get-delegated-access")
        assert access == Access("", "CUSA2B2", "us", "Basic Administrator", "https://console-us.mimecast.com")

    def test_contacts(self) -> None:
        transport = Recorded("get-most-used-contacts")
        (contact,) = Portal(transport).account.contacts("car*")
        transport.asked("get-most-used-contacts")
        assert (contact.address, contact.name, contact.uses) == ("carol@elsewhere.example", "Carol", None)

    def test_contacts_are_searched_by_the_client(self) -> None:
        assert list(Portal(Recorded("get-most-used-contacts")).account.contacts("dave")) == []

    @pytest.mark.parametrize("name", ["address", "email"])
    def test_a_contact_in_other_words(self, name: str) -> None:
        """No source shows the fields: what comes is read as far as it can be, and kept."""
        transport = Recorded("get-most-used-contacts")
        row = {name: "carol@elsewhere.example", "displayName": "Carol", "rank": 3}
        transport.answers["/api/user/get-most-used-contacts"]["answer"]["data"] = [row]
        (contact,) = Portal(transport).account.contacts()
        assert (contact.address, contact.name) == ("carol@elsewhere.example", "Carol")
        assert contact.document["rank"] == 3

    def test_a_contact_that_cannot_be_read(self) -> None:
        transport = Recorded("get-most-used-contacts")
        transport.answers["/api/user/get-most-used-contacts"]["answer"]["data"] = [{"who": "carol"}]
        with pytest.raises(ApiError, match="form that is not known") as caught:
            list(Portal(transport).account.contacts())
        assert caught.value.remedy.endswith("/api/user/get-most-used-contacts")

    def test_what_mimecast_does_not_offer(self) -> None:
        account = Portal(transport := Recorded()).account
        for call in (
            account.preferences,
            lambda: account.set_preferences(language="de"),
            lambda: list(account.contacts(everyone=True)),
            lambda: list(account.contacts(mailbox=ANN)),
        ):
            with pytest.raises(NotOfferedError):
                call()
        with pytest.raises(NotOfferedError):
            account.delegated_access()
        assert transport.sent == []


@pytest.fixture
def wire(lab: Lab) -> Iterator[Asking]:
    ask = Asking(lab)
    yield ask
    ask.close()


class TestServer:
    """The literal request brings an answer of the literal's shape."""

    def test_delegates(self, wire: Asking) -> None:
        id = ""
        for name in ("add-delegate-user", "find-delegate-users", "remove-delegate-user"):
            document = literal(name, ID=id)
            answer = wire.send(document["path"], document["request"]).json
            for row in answer["data"] if "success" in json.dumps(answer) else ():
                assert row.pop("outcome") == "done"  # ours
            assert_same_shape(answer, document["answer"])
            id = answer["data"][0]["id"]

    def test_what_is_reached(self, wire: Asking) -> None:
        wire("/api/user/add-delegate-user", {"primaryAddress": ANN, "delegateAddress": BOB})
        document = literal("get-delegated-access")
        (row,) = wire.send(document["path"], document["request"], by=BOB).rows
        (wanted,) = document["answer"]["data"]
        (reached,), (shown,) = row["delegateAccess"], wanted["delegateAccess"]
        for told, shape in ((row["localAccount"], wanted["localAccount"]), (reached, shown)):
            told.pop("emailAddress")  # ours
            del shape["roleId"]  # roles here have no numbers
            assert_same_shape(told, shape)

    def test_contacts(self, lab: Lab, wire: Asking) -> None:
        with lab.server.write() as tx:
            person = people.find(tx, ANN)
            assert person is not None
            contacts.count(tx, int(person.id), ["carol@elsewhere.example"], {}, now=1_000_000)
        document = literal("get-most-used-contacts")
        answer = wire.send(document["path"], document["request"], by=ANN).json
        (row,) = answer["data"]
        assert (row.pop("uses"), row.pop("lastUsed")) == (1, "1970-01-01T00:16:40+0000")  # ours
        assert_same_shape(answer, document["answer"])
