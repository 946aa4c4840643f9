"""What independent clients put on the wire, and expect of it: mimecast-api-core 11, line by line, over a socket."""

from __future__ import annotations

import base64
import json
import re
import uuid
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from asking import ACCOUNT, LIST, LOG, PERMIT_OR_BLOCK, REJECT, RELEASE, SUMMARY
from conftest import ANN, mail_of
from mimeportal.auth import flows
from served import Served, serving

HELD = 5


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One portal for all tests here that change nothing."""
    with serving(tmp_path_factory.mktemp("strangers") / "home") as served:
        for number in range(HELD):
            served.lab.receive(mail_of(subject=f"Invoice {number}"))
        yield served


@pytest.fixture(scope="module")
def bearer(served: Served) -> dict[str, str]:
    return served.bearer()


ALL = {"data": [{"admin": True}]}


def dated(served: Served, date: str, **changed: str) -> dict[str, str]:
    """Signed headers over a date as its client writes it."""
    headers = served.signed(LIST)
    signed = flows.signature(
        date=date,
        request_id=headers["x-mc-req-id"],
        path=LIST,
        app_key=served.app.app_key,
        secret_key=served.app.secret_key,
    )
    return {**headers, "x-mc-date": date, "authorization": f"MC {served.app.access_key}:{signed}", **changed}


class TestSignatures:
    """11.1"""

    @pytest.mark.parametrize("zone", ["UTC", "GMT", "+0200"])
    def test_over_the_date_as_it_was_sent(self, served: Served, zone: str) -> None:
        offset = timezone(timedelta(hours=2)) if zone == "+0200" else UTC
        date = datetime.fromtimestamp(served.lab.time, offset).strftime(f"%a, %d %b %Y %H:%M:%S {zone}")
        assert len(served.ask(LIST, ALL, dated(served, date)).rows) == HELD

    def test_over_the_path_alone(self, served: Served) -> None:
        assert len(served.ask(f"{LIST}?page=2", ALL, served.signed(LIST)).rows) == HELD

    def test_a_blank_after_the_colon(self, served: Served) -> None:
        headers = served.signed(LIST)
        headers["authorization"] = headers["authorization"].replace(":", ": ", 1)
        assert len(served.ask(LIST, ALL, headers).rows) == HELD

    def test_request_ids_in_capitals(self, served: Served) -> None:
        headers = served.signed(LIST, request_id=str(uuid.uuid4()).upper())
        assert len(served.ask(LIST, ALL, headers).rows) == HELD


class TestBodies:
    """11.2, 11.3, 11.4, 11.9"""

    @pytest.mark.parametrize(
        "body", [None, b"", b"{}", b'{"data":[]}', b'{"meta":{"pagination":{"pageSize":100}}}', b'{"data":null}']
    )
    def test_nothing_to_say(self, served: Served, bearer: dict[str, str], body: bytes | None) -> None:
        assert served.ask(SUMMARY, body, bearer).row["numberOfItems"] == HELD
        assert served.ask(LIST, body, bearer).rows == []  # an application has no mailbox of its own

    def test_no_content_type(self, served: Served, bearer: dict[str, str]) -> None:
        headers = {"Authorization": bearer["Authorization"]}
        assert len(served.ask(LIST, json.dumps(ALL).encode(), headers).rows) == HELD

    @pytest.mark.parametrize(
        "body",
        [
            str({"data": [{"admin": True}]}),
            str(
                {"meta": {"pagination": {"pageSize": 25, "pageToken": None}}, "data": [{"admin": True, "start": None}]}
            ),
        ],
    )
    def test_pythons_str_of_a_dict(self, served: Served, bearer: dict[str, str], body: str) -> None:
        assert "'" in body
        assert len(served.ask(LIST, body.encode(), bearer).rows) == HELD

    def test_nulls(self, served: Served, bearer: dict[str, str]) -> None:
        body = {"meta": {"pagination": {"pageToken": None}}, "data": [{"admin": True, "start": None, "end": None}]}
        assert len(served.ask(LIST, body, bearer).rows) == HELD

    def test_later_pages_without_a_size(self, served: Served, bearer: dict[str, str]) -> None:
        first = served.ask(LIST, {"meta": {"pagination": {"pageSize": 2}}, **ALL}, bearer)
        block = {"page_size": None, "pageToken": first.page["next"]}
        second = served.ask(LIST, {"meta": {"pagination": block}, **ALL}, bearer)
        assert [len(first.rows), len(second.rows)] == [2, 2]
        assert {row["id"] for row in first.rows}.isdisjoint(row["id"] for row in second.rows)

    def test_unknown_fields(self, served: Served, bearer: dict[str, str]) -> None:
        body = {"data": [{"admin": True, "action": "release", "reason": "x"}], "extra": 1}
        assert len(served.ask(LIST, body, bearer).rows) == HELD


class TestItems:
    """11.5, 11.6, 11.7"""

    @pytest.mark.parametrize(
        "form", ["%Y-%m-%dT%H:%M:%S+0000", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S+00:00", "%Y-%m-%dT%H:%M:%S.%f"]
    )
    def test_dates(self, served: Served, bearer: dict[str, str], form: str) -> None:
        now = datetime.fromtimestamp(served.lab.time, UTC)
        for start, end, found in ((-1, 1, HELD), (-2, -1, 0), (1, 2, 0)):
            item = {
                "admin": True,
                "start": (now + timedelta(hours=start)).strftime(form),
                "end": (now + timedelta(hours=end)).strftime(form),
            }
            assert len(served.ask(LIST, {"data": [item]}, bearer).rows) == found

    @pytest.mark.parametrize("admin", [True, "true", "True"])
    def test_admin(self, served: Served, bearer: dict[str, str], admin: Any) -> None:
        assert len(served.ask(LIST, {"data": [{"admin": admin}]}, bearer).rows) == HELD

    @pytest.mark.parametrize("form", [lambda search: search, lambda search: [search]], ids=["object", "list of one"])
    @pytest.mark.parametrize(
        ("field", "value", "found"),
        [
            ("subject", "invoice 3", 1),
            ("Subject", "invoice 3", 1),
            ("all", "elsewhere", HELD),
            ("recipient", ANN, HELD),
            ("reason_code", "message_hold_applied_spam_signature_policy", HELD),
            ("reasonCode", "message_hold_applied_spam_signature_policy", HELD),
            ("sender", "nobody", 0),
        ],
    )
    def test_search_by(
        self, served: Served, bearer: dict[str, str], form: Any, field: str, value: str, found: int
    ) -> None:
        item = {"admin": True, "searchBy": form({"fieldName": field, "value": value})}
        assert len(served.ask(LIST, {"data": [item]}, bearer).rows) == found


class TestAnswers:
    """11.8, 11.10, 11.11"""

    def test_the_last_page_has_no_next(self, served: Served, bearer: dict[str, str]) -> None:
        token, pages = None, []
        while True:
            block = {"pageSize": 2, **({"pageToken": token} if token else {})}
            told = served.ask(LIST, {"meta": {"pagination": block}, **ALL}, bearer)
            pages.append(told.page)
            assert told.page["pageSize"] == len(told.rows)
            if "next" not in told.page:
                break
            token = told.page["next"]
        assert [page["pageSize"] for page in pages] == [2, 2, 1]
        assert [page["totalCount"] for page in pages] == [HELD] * 3
        assert ["previous" in page for page in pages] == [False, True, True]
        assert all(None not in page.values() for page in pages)

    def test_fail_is_always_there_and_the_type_is_json(self, served: Served, bearer: dict[str, str]) -> None:
        for path in (LIST, SUMMARY, LOG, ACCOUNT):
            told = served.ask(path, {}, bearer)
            assert json.loads(told.octets)["fail"] == []
            assert "json" in told.headers["content-type"]

    def test_failures_have_errors_with_messages(self, served: Served, bearer: dict[str, str]) -> None:
        told = served.ask(RELEASE, {"data": [{"id": "eNpV"}]}, bearer)
        failure = json.loads(told.octets)["fail"][0]
        assert (told.status, failure["key"]) == (200, {"id": "eNpV"})
        assert failure["errors"][0]["message"] == "0007 Invalid token"

    def test_rows(self, served: Served, bearer: dict[str, str]) -> None:
        row = served.ask(LIST, ALL, bearer).rows[0]
        for name in ("from", "fromHeader", "to"):
            assert set(row[name]) >= {"emailAddress", "displayableName"}
        assert datetime.strptime(row["dateReceived"], "%Y-%m-%dT%H:%M:%S%z").tzinfo is not None
        assert row["route"] == "INBOUND"
        assert re.fullmatch(r"eN[opq][\w-]+", row["id"])

    def test_ids_and_page_tokens_are_packed_json(self, served: Served, bearer: dict[str, str]) -> None:
        told = served.ask(LIST, {"meta": {"pagination": {"pageSize": 1}}, **ALL}, bearer)

        def unpacked(token: str) -> set[str]:
            return set(json.loads(zlib.decompress(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))))

        assert unpacked(told.rows[0]["id"]) == {"secureid", "hldqid", "tmnd", "version", "tnde", "queue_id"}
        assert unpacked(told.page["next"]) == {
            "pagesizeid",
            "previousPage",
            "tmtpagetoken",
            "version",
            "recordstartid",
        }

    def test_a_managed_sender(self, served: Served, bearer: dict[str, str]) -> None:
        for action, kind in (("permit", "Permit"), ("block", "Block")):
            item = {"sender": "eve@elsewhere.example", "to": ANN, "action": action}
            row = served.ask(PERMIT_OR_BLOCK, {"data": [item]}, bearer).row
            assert row["id"].startswith("MTOKEN:eN")
            assert row["type"] == kind


class TestErrors:
    """11.12"""

    def test_a_bad_signature(self, served: Served) -> None:
        headers = served.signed(LIST, secret_key=base64.b64encode(b"another").decode())
        told = served.ask(LIST, ALL, headers)
        assert told.json == {
            "meta": {"status": 401},
            "data": [],
            "fail": [
                {
                    "errors": [
                        {"code": "err_xdk_invalid_signature", "message": "0004 Invalid Signature", "retryable": False}
                    ]
                }
            ],
        }

    def test_an_unknown_app_id_is_told_with_200(self, served: Served) -> None:
        told = served.ask(LIST, ALL, served.signed(LIST, app_id="INVALID"))
        assert (told.status, told.errors) == (200, [("err_developer_key", "App ID is invalid: INVALID")])

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
    def test_a_bad_token_is_told_flat(self, served: Served, scheme: str) -> None:
        told = served.ask(LIST, ALL, {"Authorization": f"{scheme} {'x' * 28}"})
        (failure,) = json.loads(told.octets)["fail"]
        assert (told.status, set(failure), failure["code"]) == (401, {"code", "message"}, "token_verification_failed")

    def test_a_token_that_is_over(self, tmp_path: Any) -> None:
        with serving(tmp_path / "home") as served:
            bearer = served.bearer()
            served.lab.time += 1_800
            (failure,) = json.loads(served.ask(LIST, ALL, bearer).octets)["fail"]
            assert failure["code"] == "token_expired"

    def test_bad_client_credentials(self, served: Served) -> None:
        told = served.ask("/oauth/token", b"client_id=a&client_secret=b&grant_type=client_credentials")
        (failure,) = json.loads(told.octets)["fail"]
        assert (told.status, failure["code"]) == (401, "InvalidClientIdentifier")

    def test_a_validation_error_is_told_with_200(self, served: Served, bearer: dict[str, str]) -> None:
        item = {"sender": "no address", "to": ANN, "action": "permit"}
        told = served.ask(PERMIT_OR_BLOCK, {"data": [item]}, bearer)
        (failure,) = told.json["fail"]
        assert (told.status, told.json["meta"]["status"], failure["key"]) == (200, 200, item)
        assert failure["errors"][0]["field"] == "sender"

    def test_an_unknown_path_tells_a_bearer_nothing(self, served: Served, bearer: dict[str, str]) -> None:
        told = served.ask("/api/gateway/no-such-function", {}, bearer)
        sentence = "Resource or method requested does not exist in any product assigned to the application."
        assert told.status == 403
        assert json.loads(told.octets) == {"fail": [{"code": "app_forbidden", "message": sentence}]}

    def test_an_unknown_path_is_not_found_for_a_signature(self, served: Served) -> None:
        path = "/api/gateway/no-such-function"
        told = served.ask(path, {}, served.signed(path))
        assert (told.status, told.code) == (404, "err_not_found")


class TestRates:
    """11.13"""

    def test_milliseconds_that_count_down(self, served: Served) -> None:
        answers = [served.ask(LIST, ALL, served.signed(LIST)) for _ in range(3)]
        left = [int(told.headers["x-ratelimit-remaining"]) for told in answers]
        reset = [int(told.headers["x-ratelimit-reset"]) for told in answers]
        assert {told.headers["x-ratelimit-limit"] for told in answers} == {"800"}
        # A window may have ended between two of them.
        assert any(left[at + 1] == left[at] - 1 and reset[at + 1] <= reset[at] for at in (0, 1))
        assert all(0 < value <= 5_000 for value in reset)

    def test_of_failed_log_ins(self, served: Served) -> None:
        told = served.ask(LIST, ALL, served.signed(LIST, access_key="unknown"))
        assert (told.status, told.headers["x-ratelimit-limit"]) == (401, "5000")


def test_a_token(served: Served) -> None:
    """11.14"""
    form = f"client_id={served.app.client_id}&client_secret={served.app.client_secret}&grant_type=client_credentials"
    document = json.loads(served.ask("/oauth/token", form.encode()).octets)
    assert set(document) == {"access_token", "token_type", "expires_in", "scope"}
    assert (document["token_type"], document["expires_in"], document["scope"]) == ("Bearer", 1799, "")
    assert re.fullmatch(r"[\w-]+", document["access_token"])


@pytest.mark.parametrize(("path", "most"), [(LIST, 1), (RELEASE, 25), (PERMIT_OR_BLOCK, 100)])
def test_how_many_items(served: Served, bearer: dict[str, str], path: str, most: int) -> None:
    """11.15"""
    told = served.ask(path, {"data": [{"id": "x"}] * (most + 1)}, bearer)
    assert (told.status, told.code) == (200, "err_validation_count")


def test_a_partial_reject(served: Served, bearer: dict[str, str]) -> None:
    """11.12: what was not rejected is not told as rejected."""
    told = served.ask(REJECT, {"data": [{"ids": ["eNpV", "eNpW"]}]}, bearer)
    assert [row for row in told.json["data"] if row["reject"]] == []
    assert told.json["fail"]
