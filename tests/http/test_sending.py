"""Writing mail over a real network: files streamed, what is lost on the way, Mimecast's API with nothing to lean on."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from http_peer import Peer, peer, rows
from mimeportal import limits
from mimeportal.credentials import Credentials
from mimeportal.errors import ApiError, LostAnswerError, UsageError
from mimeportal.messages.composing import FileContent
from mimeportal.portal import Portal
from mimeportal.retry import Policy
from mimeportal.testing import ANN, APP, BOB, PortalFaults, PortalServer, mail
from mimeportal.transport_http import HttpTransport

OUT = "pal@outside.example"


def client(server: PortalServer, who: str = ANN, **options: Any) -> Portal:
    portal = server.client(who, **options)
    portal.session.transport.policy.sleep = lambda _: None  # type: ignore[attr-defined]
    return portal


def sent(server: PortalServer) -> int:
    return sum(request.operation == "messages.submit" for request in server.requests)


class TestOurOwnOperation:
    @pytest.mark.parametrize("kind", ["reset_after", "cut", "bad_json"])
    def test_a_lost_answer_is_asked_for_again(
        self, portal_server: PortalServer, portal_faults: PortalFaults, kind: str, tmp_path: Path
    ) -> None:
        """promises C.7: one message, whatever was lost."""
        (tmp_path / "a.bin").write_bytes(bytes(range(256)) * 1000)
        portal = client(portal_server)
        portal_faults.add("messages.upload", kind)
        portal_faults.add("messages.submit", kind)
        message = portal.messages.send(to=[OUT, BOB], body="Hello", attachments=[tmp_path / "a.bin"])
        assert sent(portal_server) == 2
        (row,) = portal.messages.list("sent")
        assert row.id == message.id
        (found,) = client(portal_server, BOB).messages.list()
        (file,) = client(portal_server, BOB).messages.get(found.id).attachments
        octets = b"".join(client(portal_server, BOB).messages.download(file.id))
        assert octets == bytes(range(256)) * 1000

    def test_answers_lost_again_and_again(self, portal_server: PortalServer, portal_faults: PortalFaults) -> None:
        portal = client(portal_server)
        portal_faults.add("messages.submit", "reset_after", times=limits.ATTEMPTS)
        with pytest.raises(LostAnswerError) as caught:
            portal.messages.send(to=OUT, body="Hello", request_id="mine")
        assert "--request-id mine" in caught.value.remedy
        portal.messages.send(to=OUT, body="Hello", request_id="mine")
        assert len(list(portal.messages.list("sent"))) == 1

    def test_a_report_is_passed_on_once(self, portal_server: PortalServer, portal_faults: PortalFaults) -> None:
        portal_server.deliver(mail("win"))
        portal = client(portal_server)
        (row,) = portal.messages.list()
        portal_faults.add("messages.report", "reset_after")
        assert portal.messages.report(row.id, "spam").outcome == "done"
        assert [message.id for message in portal.messages.list("junk")] == [row.id]
        kinds = [delivered.kind for delivered in portal_server.home.delivered()]
        assert kinds.count("written") == 1


class TestAsMimecast:
    """The portal restricted to what each API of Mimecast offers: a lost answer is never answered by sending again."""

    @pytest.mark.parametrize(("api", "who"), [("api2", APP), ("api1", ANN)])
    def test_whether_it_went_is_unknown(
        self, portal_server: PortalServer, portal_faults: PortalFaults, api: Any, who: str
    ) -> None:
        portal = client(portal_server, who, api=api)
        portal_faults.add("messages.send_email", "reset_after")
        with pytest.raises(LostAnswerError) as caught:
            portal.messages.send(to=BOB, subject="once", body="Hello")
        assert "unknown" in caught.value.what
        look = f"messages track --to {BOB}" if api == "api2" else "messages list --folder sent"
        assert look in caught.value.remedy
        (row,) = client(portal_server, BOB).messages.list()
        assert row.subject == "once"

    @pytest.mark.parametrize(("api", "who"), [("api2", APP), ("api1", ANN)])
    def test_a_reply_with_a_file(self, portal_server: PortalServer, api: Any, who: str) -> None:
        portal = client(portal_server, who, api=api)
        portal.messages.send(
            to=BOB,
            body="Hello",
            attachments=[("a.txt", b"octets")],
            in_reply_to="<one@x.example>",
            references="<one@x.example>",
        )
        bob = client(portal_server, BOB)
        (row,) = bob.messages.list()
        message = bob.messages.get(row.id)
        assert (message.header("In-Reply-To"), message.header("References")) == ("<one@x.example>", "<one@x.example>")
        assert [file.name for file in message.attachments] == ["a.txt"]


# -- files -----------------------------------------------------------------------------------------------------


KEYS = Credentials("app1", app_id="app", app_key="key", access_key="access", secret_key="c2VjcmV0")


@pytest.fixture
def listening() -> Iterator[Peer]:
    with peer(lambda _: rows({"id": "an-id"})) as found:
        yield found


def test_a_file_is_read_as_it_is_sent(portal_server: PortalServer, tmp_path: Path) -> None:
    """Never the whole of it in the client's memory."""
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(limits.UPLOAD)
    portal = client(portal_server)
    content = FileContent(path).hashed()
    tracemalloc.start()
    piece = sum(len(piece) for piece in content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert piece == limits.UPLOAD
    assert peak < limits.MIB
    assert portal.messages.upload(path).size == limits.UPLOAD


def test_a_file_that_is_too_large_is_refused_by_both(portal_server: PortalServer, tmp_path: Path) -> None:
    from mimeportal.messages.contract import writing as contract

    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(limits.UPLOAD + 1)
    portal = client(portal_server)
    with pytest.raises(UsageError, match="more than 51"):
        portal.messages.upload(path)
    item = contract.UploadItem(sha256="", file_size=limits.UPLOAD + 1)
    with pytest.raises(ApiError) as caught:
        portal.session.one(contract.UPLOAD, item, content=FileContent(path).hashed())
    assert caught.value.status == 413


def test_a_file_that_changes_on_its_way(portal_server: PortalServer, tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"x" * 2_000_000)
    content = FileContent(path).hashed()
    with path.open("r+b") as file:
        file.write(b"y")
    os.utime(path, ns=(content._facts[3], content._facts[3]))
    from mimeportal.messages.contract import writing as contract

    item = contract.UploadItem(sha256=content.sha256, file_size=len(content))
    with pytest.raises(UsageError, match="changed while it was read"):
        client(portal_server).session.one(contract.UPLOAD, item, content=content)


def test_a_body_has_its_length_and_its_argument(listening: Peer, tmp_path: Path) -> None:
    """As a proxy sees it: one body, of one length, not in chunks."""
    (tmp_path / "a").write_bytes(b"octets")
    portal = Portal(HttpTransport(listening.url, credentials=KEYS, policy=Policy(attempts=1)))
    assert portal.messages.upload(tmp_path / "a").upload_id == "an-id"
    (seen,) = listening.seen
    assert seen.body == b"octets"
    assert seen.headers["content-length"] == "6"
    assert "transfer-encoding" not in seen.headers
    assert json.loads(seen.headers["x-mc-arg"])["data"][0]["fileSize"] == 6
