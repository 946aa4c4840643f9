"""get-file over HTTP: octets for API 1.0, a URL that is good for a while for API 2.0 (mimecast-api-core 6.10)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from asking import DETAIL, FILE, LIST, RELEASE, Told
from conftest import mail_of
from mimeportal import limits
from mimeportal_server.store.schema import audit
from served import Served, serving

ALL = {"data": [{"admin": True}]}
ATTACHED = 'Content-Type: multipart/mixed; boundary="b"\n'
BODY = (
    "--b\nContent-Type: text/plain\n\nHello\n--b\nContent-Type: application/octet-stream\n"
    'Content-Disposition: attachment; filename="list.bin"\n\nOCTETS\n--b--\n'
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "home") as served:
        served.lab.receive(MESSAGE)
        yield served


MESSAGE = mail_of(extra=ATTACHED, body=BODY)


def held(served: Served) -> str:
    return str(served.ask(LIST, ALL, served.bearer()).row["id"])


def url(served: Served, id: str) -> str:
    (address,) = served.ask(FILE, {"data": [{"id": id}]}, served.bearer()).row["urls"]
    assert address.startswith(served.server.http_url + "/")
    return str(address).removeprefix(served.server.http_url)


def fetch(served: Served, path: str) -> Told:
    return served.ask(path, method="GET")


def test_api_1_is_answered_with_the_octets(served: Served) -> None:
    told = served.ask(FILE, {"data": [{"id": held(served)}]}, served.signed(FILE))
    assert told.octets == MESSAGE
    assert told.headers["content-type"] == "application/octet-stream"


def test_api_2_is_answered_with_a_url(served: Served) -> None:
    path = url(served, held(served))
    assert re.fullmatch(re.escape(FILE) + r"\?method=GET&expires=\d{8}T\d{6}Z&context=[\w-]{43}", path)
    for _ in range(2):  # what was cut off can be fetched again
        told = fetch(served, path)
        assert (told.status, told.octets) == (200, MESSAGE)
    assert "attachment" in told.headers["content-disposition"]


def test_one_attachment(served: Served) -> None:
    item = {"id": held(served)}
    (part,) = served.ask(DETAIL, {"data": [item]}, served.bearer()).row["attachments"]
    assert fetch(served, url(served, part["id"])).octets.strip() == b"OCTETS"


def test_the_audit_tells_of_it_once(served: Served) -> None:
    path = url(served, held(served))
    fetch(served, path)
    fetch(served, path)
    with served.server.portal.database.read() as tx:
        assert len(tx.execute(select(audit.c.id).where(audit.c.action == "download")).all()) == 1


def test_its_time_is_over(served: Served) -> None:
    path = url(served, held(served))
    served.lab.time += limits.DOWNLOAD_SECONDS
    told = fetch(served, path)
    assert (told.status, told.code) == (403, "err_download_link")


@pytest.mark.parametrize(
    "query", ["", "?", "?context=", "?method=GET&expires=20990101T000000Z&context=AAAA", "?%ff=%ff"]
)
def test_a_wrong_one(served: Served, query: str) -> None:
    told = fetch(served, FILE + query)
    assert told.status in (400, 403)
    assert told.code in ("err_download_link", "err_request_malformed")


def test_a_bearer_token_is_no_download_token(served: Served) -> None:
    assert fetch(served, f"{FILE}?context={served.token()}").status == 403


def test_who_asked_may_no_longer_see_it(served: Served) -> None:
    from mimeportal_server import apps

    path = url(served, held(served))
    with served.lab.server.database.write() as tx:
        apps.revoke(tx, "robot")
    assert fetch(served, path).status == 403


def test_it_is_no_longer_held(served: Served) -> None:
    id = held(served)
    path = url(served, id)
    served.ask(RELEASE, {"data": [{"id": id}]}, served.bearer())
    told = fetch(served, path)
    assert (told.status, told.code) == (404, "not_found")


def test_nothing_is_handed_out_for_what_may_not_be_seen(served: Served) -> None:
    told = served.ask(FILE, {"data": [{"id": "eNpV"}]}, served.bearer())
    assert told.code == "xdk_failure"
    assert urlsplit(served.server.http_url).port
