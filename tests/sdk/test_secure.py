"""Secure messages through the SDK: sent, opened, answered, restricted, recalled, extended, watched over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from conftest import ANN, Lab
from mimeportal.portal import Portal
from mimeportal_server import delivery

CARL, DORA = "carl@elsewhere.example", "dora@other.example"
DEFINITION = "Allow Print, 7 Day Exp"


class People:
    """The lab's people, inside and outside, each with a client of their own."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._open: dict[str, Portal] = {}

    def __call__(self, address: str) -> Any:
        if address not in self._open:
            self._open[address] = self.lab.client(address)
        return self._open[address].secure

    def close(self) -> None:
        for portal in self._open.values():
            portal.close()

    def mail(self, to: str) -> list[str]:
        """Everything that was delivered to an address, first first."""
        delivery.deliver(self.lab.server)
        texts = [path.read_bytes().decode() for path in self.lab.outgoing()]
        return [text for text in texts if re.search(rf"^To:.*{re.escape(to)}", text, re.M)]


@pytest.fixture
def people(lab: Lab) -> Iterator[People]:
    people = People(lab)
    yield people
    people.close()


def test_from_sent_to_answered(people: People) -> None:
    sent = people(ANN).send([CARL], "The contract", "Please sign.", cc=[DORA], definition=DEFINITION)
    assert [(one.address, one.part, one.way, one.notice, one.status) for one in sent.recipients] == [
        (CARL, "to", "portal", "queued", "sent"),
        (DORA, "cc", "portal", "queued", "sent"),
    ]
    (notice,) = people.mail(CARL)
    assert "The contract" not in notice
    assert "/s/" in notice
    assert ANN in notice

    (row,) = people(CARL).list()
    assert (row.folder, row.subject, row.unread, row.status) == ("inbox", "The contract", True, None)
    assert row.may == ("read", "print", "reply", "reply_all", "mark", "delete")
    content = people(CARL).get(row.id)
    assert content.text == "Please sign.\n"
    assert content.recipients is None
    assert not content.message.unread

    seen = people(ANN).get(sent.id)
    assert seen.message.status == "read"
    assert [(one.address, one.status) for one in seen.recipients] == [(CARL, "read"), (DORA, "sent")]

    answer = people(CARL).reply(row.id, "Signed.", all=True)
    assert [(one.address, one.way) for one in answer.recipients] == [(ANN, "mail"), (DORA, "portal")]
    (mail,) = people.mail(ANN)
    assert "Subject: Re: The contract" in mail
    assert "X-Secure-Message: " in mail
    assert "> Please sign." in mail
    assert [message.subject for message in people(DORA).list()] == ["Re: The contract", "The contract"]
