"""Mailboxes over HTTP, by both of Mimecast's APIs and as a person: the same mail, whatever the portal filters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from asking import Told
from conftest import mail_of
from mimeportal import limits
from mimeportal.errors import ForbiddenError, NotFoundError
from mimeportal.portal import Portal
from mimeportal.testing import ANN, APP, BOB, PortalServer
from mimeportal_server.store.schema import audit
from served import Served, serving

PART = "--b\nContent-Disposition: attachment; filename=list.bin\n\nOCTETS\n--b--\n"
MESSAGE = mail_of(
    "Shop <offers@shop.example>",
    "with a file",
    extra='MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n',
    body=f"--b\nContent-Type: text/html\n\n<p>Hello <b>Ann</b></p>\n{PART}",
)
WAYS = {"api1": (APP, "api1"), "api2": (APP, "api2"), "an app": (APP, None), "a person": (ANN, None)}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def portal(request: pytest.FixtureRequest, portal_server: PortalServer) -> Portal:
    who, api = request.param
    portal_server.home.deliver(MESSAGE)
    portal_server.home.deliver(mail_of("Pen <pen@pal.example>", "plain words"))
    portal_server.home.deliver(mail_of("Pen <pen@pal.example>", "words for bob", to=BOB), to=BOB)
    return portal_server.client(who, api=api)


def test_the_same_mail_by_every_way(portal: Portal) -> None:
    messages = portal.messages
    assert [row.subject for row in messages.list(mailbox=ANN)] == ["plain words", "with a file"]
    assert [row.subject for row in messages.search("words", mailbox=ANN)] == ["plain words"]
    (row,) = messages.list(mailbox=ANN, from_="shop.example")
    message = messages.get(row.id)
    assert (message.html, message.text) == ("<p>Hello <b>Ann</b></p>", None)
    assert b"".join(messages.raw(row.id)) == MESSAGE
    (attachment,) = message.attachments
    assert b"".join(messages.download(attachment.id)) == b"OCTETS"
    with pytest.raises(NotFoundError, match="No such message"):
        messages.get("eNmade-up")


def test_whose_mail(portal: Portal) -> None:
    if portal.is_person:
        with pytest.raises(ForbiddenError):
            list(portal.messages.list(mailbox=BOB))
        return
    assert [row.subject for row in portal.messages.list(mailbox=BOB)] == ["words for bob"]
    found = {row.subject for row in portal.messages.search("words", everyone=True)}
    assert found == {"plain words", "words for bob"}


def test_a_portal_that_ignores_all_filters(portal: Portal, portal_server: PortalServer) -> None:
    for operation in ("messages.list", "messages.browse", "messages.find"):
        portal_server.faults.add(operation, "ignore_filters", times=None)
    conditions = ({"from_": "pal.example"}, {"subject": "plain*"}, {"has_attachments": False}, {"to": ANN})
    for condition in conditions:
        listed = [row.subject for row in portal.messages.list(mailbox=ANN, **condition)]
        found = [row.subject for row in portal.messages.search("words", mailbox=ANN, **condition)]
        assert "with a file" not in listed or "to" in condition
        assert listed[:1] == ["plain words"]
        assert "with a file" not in found or "to" in condition
        assert "plain words" in found


# -- the URLs of API 2.0 -------------------------------------------------------------------------------------------

LIST, FILE, HELD_FILE = "/api/archive/get-message-list", "/api/archive/get-file", "/api/gateway/message/get-file"


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served") / "home") as served:
        served.lab.receive(MESSAGE, reason=None)
        yield served


def url(served: Served) -> str:
    (row,) = served.ask(LIST, {"data": [{"mailbox": ANN}]}, served.bearer()).rows
    (address,) = served.ask(FILE, {"data": [{"id": row["id"]}]}, served.bearer()).row["urls"]
    return str(address).removeprefix(served.server.http_url)


def fetch(served: Served, path: str) -> Told:
    return served.ask(path, method="GET")


def test_a_url_needs_no_token_and_is_audited_once(served: Served) -> None:
    path = url(served)
    assert path.startswith(FILE)
    assert fetch(served, path).octets == fetch(served, path).octets == MESSAGE
    with served.server.portal.database.read() as tx:
        assert len(tx.execute(select(audit.c.id).where(audit.c.action == "download")).all()) == 1


def test_its_time_is_over(served: Served) -> None:
    path = url(served)
    served.lab.time += limits.DOWNLOAD_SECONDS
    assert (fetch(served, path).status, fetch(served, path).code) == (403, "err_download_link")


def test_it_leads_to_no_held_message(served: Served) -> None:
    """A link is good for the function that gave it, whatever numbers objects have."""
    path = url(served)
    assert fetch(served, path.replace(FILE, HELD_FILE)).status == 403


def test_whoever_asked_may_no_longer_see_it(served: Served) -> None:
    from mimeportal_server import apps

    path = url(served)
    with served.lab.server.database.write() as tx:
        apps.revoke(tx, "robot")
    assert fetch(served, path).status == 403
