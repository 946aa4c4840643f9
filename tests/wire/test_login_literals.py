"""Logging in, and every error body of the reference: literals typed by hand, for client and server."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from asking import LIST, RELEASE, Told
from conftest import ANN, BOB, Lab
from logging_in import LOGIN, RIGHT, Stranger, stranger_at
from mimeportal import errors
from mimeportal.portal import Portal
from mimeportal.wire import Request, Response
from wire.literal import LITERALS, Recorded, assert_same_shape, literal

SECRETS = {"CLIENT_ID": "0a1b", "CLIENT_SECRET": "of no worth", "ACCESS_KEY": "mYtXL3veAEwOuZH1b7xvMvAkq5kR"}
APP_ID = "f4c0ffee-0000-4000-8000-000000000000"
PASSWORD = {"authorization": "Basic-Cloud " + base64.b64encode(f"{ANN}:{RIGHT}".encode()).decode()}
ERRORS: list[dict[str, Any]] = json.loads((LITERALS / "errors.json").read_text("utf-8"))


def recorded(name: str) -> Recorded:
    return Recorded(name, api="api2" if name == "oauth-token" else "api1", **SECRETS)


class TestClient:
    def test_token(self) -> None:
        transport = recorded("oauth-token")
        row = Portal(transport).auth.token(SECRETS["CLIENT_ID"], SECRETS["CLIENT_SECRET"])
        transport.asked("oauth-token", **SECRETS)
        assert (row.access_token, row.expires_in) == ("0123456789abcdefghijklmnopqr", 1799)

    def test_discover(self) -> None:
        transport = recorded("discover-authentication")
        row = Portal(transport).auth.discover(ANN, app_id=APP_ID)
        transport.asked("discover-authentication")
        assert transport.headers["/api/login/discover-authentication"]["x-mc-app-id"] == APP_ID
        assert (row.region.code, row.region.api, row.authenticate) == (
            "eu",
            "https://eu-api.mimecast.com",
            ["Basic-Cloud"],
        )

    @pytest.mark.parametrize("name", ["login", "login-refresh"])
    def test_login(self, name: str) -> None:
        transport = recorded(name)
        access_key = SECRETS["ACCESS_KEY"] if name == "login-refresh" else None
        row = Portal(transport).auth.login(ANN, RIGHT, app_id=APP_ID, access_key=access_key)
        transport.asked(name, **SECRETS)
        assert transport.headers[LOGIN]["authorization"] == PASSWORD["authorization"]
        assert (row.access_key, row.duration, row.binding_type) == (SECRETS["ACCESS_KEY"], 43_200_000, "one_step")
        assert len(base64.b64decode(row.secret_key)) > 50

    def test_logout(self) -> None:
        transport = recorded("logout")
        Portal(transport).auth.logout(SECRETS["ACCESS_KEY"])
        transport.asked("logout", **SECRETS)

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: error["reference"])
    def test_errors(self, error: dict[str, Any]) -> None:
        code, message = _told(error["body"])
        with pytest.raises(KINDS[code]) as refused:
            Portal(Answering(error)).holds.summary()
        assert type(refused.value) is KINDS[code]
        assert refused.value.code == code
        assert message in refused.value.what


KINDS: dict[str, type[errors.ApiError]] = {
    "err_xdk_invalid_signature": errors.AuthenticationError,
    "err_developer_key": errors.AuthenticationError,
    "err_xdk_binding_expired": errors.AuthenticationError,
    "xdk_failure": errors.NotFoundError,
    "err_xdk_operation_forbidden_for_address": errors.ForbiddenError,
    "err_validation_null": errors.ApiError,
    "InvalidClientIdentifier": errors.AuthenticationError,
    "token_expired": errors.AuthenticationError,
    "token_verification_failed": errors.AuthenticationError,
    "app_forbidden": errors.ForbiddenError,
}


def _told(body: dict[str, Any]) -> tuple[str, str]:
    """Code and message of either shape of `fail`."""
    (failure,) = body["fail"]
    (error,) = failure.get("errors", [failure])
    return error["code"], error["message"]


class Answering:
    """A transport that answers every call with one error."""

    api: Any = "api2"
    url = "https://api.services.mimecast.com"
    user: str | None = None
    parallel = 1

    def __init__(self, error: dict[str, Any]) -> None:
        self.error = error

    def send(self, request: Request) -> Response:
        body = json.dumps(self.error["body"]).encode()
        return Response(self.error["status"], {"content-type": "application/json"}, iter([body]))

    def close(self) -> None:
        pass


@pytest.fixture
def stranger(lab: Lab) -> Iterator[Stranger]:
    with stranger_at(lab) as stranger:
        stranger.person()
        yield stranger


class TestServer:
    def test_token(self, stranger: Stranger) -> None:
        keys = stranger.app()
        document = literal("oauth-token", CLIENT_ID=keys.client_id, CLIENT_SECRET=keys.client_secret)
        told = stranger.send(document["path"], body=urlencode(document["request"]).encode())
        answer = json.loads(told.octets)
        assert_same_shape(answer, document["answer"])
        assert {**answer, "access_token": ""} == {**document["answer"], "access_token": ""}

    def test_discover(self, stranger: Stranger) -> None:
        document = literal("discover-authentication")
        headers = {"x-mc-app-id": stranger.built_in()[0]}
        told = stranger.send(document["path"], *document["request"]["data"], headers=headers)
        assert_same_shape(told.json, document["answer"])
        assert told.row["authenticate"] == ["Basic-Cloud"]
        assert told.row["emailAddress"] == ANN

    def test_login_and_its_refresh_and_logout(self, stranger: Stranger) -> None:
        headers = {**PASSWORD, "x-mc-app-id": stranger.built_in()[0]}
        first = literal("login")
        told = stranger.send(first["path"], *first["request"]["data"], headers=headers)
        assert_same_shape(told.json, first["answer"])
        for key in ("duration", "bindingType", "username"):
            assert told.row[key] == first["answer"]["data"][0][key]
        again = literal("login-refresh", ACCESS_KEY=told.row["accessKey"])
        refreshed = stranger.send(again["path"], *again["request"]["data"], headers=headers)
        assert refreshed.row == told.row, "the same binding, with the same keys"
        keys = stranger.bound()
        document = literal("logout", ACCESS_KEY=keys.access_key)
        signed = stranger.signed(keys, document["path"])
        ended = stranger.send(document["path"], *document["request"]["data"], headers=signed)
        assert ended.json == document["answer"]

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: error["reference"])
    def test_errors_word_for_word(self, stranger: Stranger, lab: Lab, error: dict[str, Any]) -> None:
        code, message = _told(error["body"])
        told = ASKED[code](stranger, lab)
        assert told.status == error["status"]
        answer = json.loads(told.octets)
        if code in _UNRECORDED:
            assert_same_shape(answer, error["body"])
            assert _told(answer)[0] == code
        else:
            assert answer == {**error["body"], **{key: answer[key] for key in ("meta",) if key in answer}}
            assert _told(answer) == (code, message)


_UNRECORDED = ("err_xdk_binding_expired",)  # nobody recorded its text


def _signature(stranger: Stranger, _lab: Lab) -> Told:
    keys = stranger.app()
    headers = stranger.signed(keys, LIST)
    return stranger.send(LIST, headers={**headers, "x-mc-req-id": "3d796b76-4180-40e5-8f7c-6e0fd643b1a9"})


def _application(stranger: Stranger, _lab: Lab) -> Told:
    keys = stranger.app()
    return stranger.send(LIST, headers={**stranger.signed(keys, LIST), "x-mc-app-id": "INVALID"})


def _expired(stranger: Stranger, lab: Lab) -> Told:
    keys = stranger.bound()
    lab.time += 13 * 3600
    return stranger.send(LIST, headers=stranger.signed(keys, LIST))


def _id(stranger: Stranger, _lab: Lab) -> Told:
    path = "/api/gateway/message/get-message-detail"
    return stranger.send(path, {"id": "smash"}, headers=stranger.signed(stranger.app(), path))


def _another_s(stranger: Stranger, _lab: Lab) -> Told:
    path = "/api/portal/holds/find"
    item = {"queue": "personal", "mailboxes": [BOB]}
    return stranger.send(path, item, headers=stranger.signed(stranger.bound(), path))


def _field(stranger: Stranger, _lab: Lab) -> Told:
    path = "/api/gateway/message/get-message-detail"
    return stranger.send(path, {}, headers=stranger.bearer(stranger.app()))


def _client(stranger: Stranger, _lab: Lab) -> Told:
    return stranger.token("none", "nothing")


def _token_expired(stranger: Stranger, lab: Lab) -> Told:
    headers = stranger.bearer(stranger.app())
    lab.time += 1800
    return stranger.send(RELEASE, {"id": "x"}, headers=headers)


def _token(stranger: Stranger, _lab: Lab) -> Told:
    return stranger.send(LIST, headers={"authorization": "Bearer 0123456789abcdefghijklmnopqr"})


def _path(stranger: Stranger, _lab: Lab) -> Told:
    return stranger.send("/api/gateway/find-held-messages", headers=stranger.bearer(stranger.app()))


ASKED: dict[str, Callable[[Stranger, Lab], Told]] = {
    "err_xdk_invalid_signature": _signature,
    "err_developer_key": _application,
    "err_xdk_binding_expired": _expired,
    "xdk_failure": _id,
    "err_xdk_operation_forbidden_for_address": _another_s,
    "err_validation_null": _field,
    "InvalidClientIdentifier": _client,
    "token_expired": _token_expired,
    "token_verification_failed": _token,
    "app_forbidden": _path,
}
