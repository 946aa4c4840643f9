"""Who sends a request: bearer tokens and signatures, as others write them (mimecast-api-core 2, 3, 11)."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest

from asking import ADD, FIND, LIST, RELEASE, STATES, Told, asking
from conftest import ADMIN, ANN, BOB, Lab, mail_of
from logging_in import ELSEWHERE, LOGOUT, WHOAMI, Stranger, flat, stranger_at
from mimeportal.auth import flows
from mimeportal.wire import Endpoint, format_date
from mimeportal_server import backup, keeping, people
from mimeportal_server.apps import revoke
from mimeportal_server.door import NOUNS
from mimeportal_server.store.schema import bindings, signed_requests, tokens
from sending import Sending, begin, described, sha256

SIGNATURE = [("err_xdk_invalid_signature", "0004 Invalid Signature")]


@pytest.fixture
def stranger(lab: Lab) -> Iterator[Stranger]:
    with stranger_at(lab) as stranger:
        yield stranger


def test_the_public_vector() -> None:
    """mimecast-api-core, at its end."""
    signature = flows.signature(
        date="Sun, 21 Aug 2022 13:49:40 UTC",
        request_id="3d796b76-4180-40e5-8f7c-6e0fd643b1a9",
        path="/api/test/some-url",
        app_key="ApplicationKey",
        secret_key="U2VjcmV0S2V5",
    )
    assert signature == "WOywLsnZlsE+D6bp/ug6uch5kxc="


class TestTokens:
    def test_an_app_is_known_by_its_token(self, stranger: Stranger) -> None:
        row = stranger.send(WHOAMI, headers=stranger.bearer(stranger.app())).row
        assert (row["emailAddress"], row["role"]) == ("app:works", "administrator")

    def test_the_scheme_is_caseless_and_no_tls_is_asked_for(self, stranger: Stranger) -> None:
        headers = stranger.bearer(stranger.app())
        headers["authorization"] = headers["authorization"].replace("Bearer ", "bearer  ")
        assert stranger.send(WHOAMI, headers=headers, secure=False).status == 200

    @pytest.mark.parametrize("token", ["", "x", "A" * 43, "\xe9" * 43])
    def test_unknown(self, stranger: Stranger, token: str) -> None:
        told = stranger.send(WHOAMI, headers={"authorization": f"Bearer {token}"})
        assert flat(told) == (401, "token_verification_failed")

    def test_it_expires_by_the_machine_s_clock(self, stranger: Stranger, lab: Lab) -> None:
        headers = stranger.bearer(stranger.app())
        stranger.portal.clock.offset += 10**9
        lab.time += 1798
        assert stranger.send(WHOAMI, headers=headers).status == 200
        lab.time += 1
        assert flat(stranger.send(WHOAMI, headers=headers)) == (401, "token_expired")

    def test_a_revoked_app_s_token_is_none(self, stranger: Stranger) -> None:
        headers = stranger.bearer(stranger.app())
        with stranger.portal.write() as tx:
            revoke(tx, "works")
        assert flat(stranger.send(WHOAMI, headers=headers)) == (401, "token_verification_failed")

    def test_another_purpose_s_secret_is_no_token(self, stranger: Stranger) -> None:
        told = stranger.send(WHOAMI, headers={"authorization": f"Bearer {stranger.reset()}"})
        assert flat(told) == (401, "token_verification_failed")

    def test_a_path_that_is_none_is_told_to_nobody_else(self, stranger: Stranger) -> None:
        headers = stranger.bearer(stranger.app())
        assert flat(stranger.send("/api/gateway/none", headers=headers)) == (403, "app_forbidden")
        assert flat(stranger.send("/api/gateway/none")) == (401, "token_verification_failed")


class TestNoCredentials:
    def test_nothing_at_all(self, stranger: Stranger) -> None:
        assert flat(stranger.send(WHOAMI)) == (401, "token_verification_failed")

    def test_headers_of_the_first_api(self, stranger: Stranger) -> None:
        told = stranger.send(WHOAMI, headers={"x-mc-app-id": stranger.built_in()[0]})
        assert (told.status, told.errors) == (401, SIGNATURE)

    @pytest.mark.parametrize("scheme", ["Basic", "Basic-Cloud", "Digest", "MCX", "MC"])
    def test_another_scheme(self, stranger: Stranger, scheme: str) -> None:
        stranger.person()
        told = stranger.send(WHOAMI, headers={"authorization": f"{scheme} YW5uQGV4YW1wbGUuY29tOng="})
        assert (told.status, told.errors) == (401, SIGNATURE)


class TestSignatures:
    def test_a_person_and_an_app(self, stranger: Stranger) -> None:
        stranger.person()
        for keys, address in ((stranger.bound(), ANN), (stranger.app(), "app:works")):
            assert stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI)).row["emailAddress"] == address

    @pytest.mark.parametrize("form", ["MC {}:{}", "MC {}: {}", "mc {}:{}", "MC  {}:{} "])
    def test_forms_that_are_in_use(self, stranger: Stranger, form: str) -> None:
        assert stranger.send(WHOAMI, headers=stranger.signed(stranger.app(), WHOAMI, form=form)).status == 200

    @pytest.mark.parametrize(
        "written",
        [
            lambda date: date,
            lambda date: date.replace("UTC", "GMT"),
            lambda date: date.replace("UTC", "+0000"),
            lambda date: date.partition(", ")[2],
        ],
    )
    def test_dates_are_signed_as_they_were_sent(self, stranger: Stranger, written: Callable[[str], str]) -> None:
        headers = stranger.signed(stranger.app(), WHOAMI, date=written(stranger.date()))
        assert stranger.send(WHOAMI, headers=headers).status == 200

    def test_the_query_is_not_signed(self, stranger: Stranger) -> None:
        assert stranger.send(WHOAMI, headers=stranger.signed(stranger.app(), WHOAMI), query="a=b").status == 200

    @pytest.mark.parametrize("changed", ["app_key", "access_key", "secret_key", "path", "date", "request_id", "app"])
    def test_anything_else_than_was_signed(self, stranger: Stranger, changed: str) -> None:
        keys = stranger.app()
        path = FIND if changed == "path" else WHOAMI
        if changed == "app":  # another app's id and key, with this one's binding
            other = stranger.app("other")
            keys = dataclasses.replace(keys, app_id=other.app_id, app_key=other.app_key)
        elif changed in ("app_key", "access_key", "secret_key"):
            keys = dataclasses.replace(keys, **{changed: "A" * 88})
        headers = stranger.signed(keys, path)
        if changed == "date":
            headers["x-mc-date"] = stranger.date(1)
        if changed == "request_id":
            headers["x-mc-req-id"] = headers["x-mc-req-id"].upper() + "0"
        told = stranger.send(WHOAMI, headers=headers)
        assert (told.status, told.errors) == (401, SIGNATURE)

    @pytest.mark.parametrize("name", ["x-mc-date", "x-mc-req-id", "x-mc-app-id"])
    def test_a_header_is_missing(self, stranger: Stranger, name: str) -> None:
        headers = stranger.signed(stranger.app(), WHOAMI)
        del headers[name]
        told = stranger.send(WHOAMI, headers=headers)
        assert (told.status, told.errors) == (401, SIGNATURE)

    @pytest.mark.parametrize("authorization", ["MC", "MC :", "MC key", "MC {}", "MC :{}"])
    def test_half_a_signature(self, stranger: Stranger, authorization: str) -> None:
        headers = stranger.signed(stranger.app(), WHOAMI)
        _, _, signature = headers["authorization"].partition(":")
        told = stranger.send(WHOAMI, headers={**headers, "authorization": authorization.format(signature)})
        assert (told.status, told.errors) == (401, SIGNATURE)

    @pytest.mark.parametrize("request_id", ["x" * 101, "two words", "é"])
    def test_a_request_id_that_is_none(self, stranger: Stranger, request_id: str) -> None:
        told = stranger.send(WHOAMI, headers=stranger.signed(stranger.app(), WHOAMI, request_id=request_id))
        assert (told.status, told.errors) == (401, SIGNATURE)

    def test_an_unknown_application_is_told_with_status_200(self, stranger: Stranger) -> None:
        """As recorded: mimecast-api-core 5.3."""
        keys = dataclasses.replace(stranger.app(), app_id="INVALID")
        told = stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI))
        error = {"code": "err_developer_key", "message": "App ID is invalid: INVALID", "retryable": False}
        assert json.loads(told.octets) == {"meta": {"status": 200}, "data": [], "fail": [{"errors": [error]}]}

    def test_a_revoked_application_is_unknown_to_people_too(self, stranger: Stranger) -> None:
        app = stranger.app()
        stranger.person()
        row = stranger.log_in(app_id=app.app_id).row
        person = dataclasses.replace(app, access_key=row["accessKey"], secret_key=row["secretKey"])
        assert stranger.send(WHOAMI, headers=stranger.signed(person, WHOAMI)).row["emailAddress"] == ANN
        with stranger.portal.write() as tx:
            revoke(tx, "works")
        for keys in (app, person):
            assert stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI)).code == "err_developer_key"

    @pytest.mark.parametrize("minutes", [-14.9, 14.9])
    def test_clocks_may_differ(self, stranger: Stranger, minutes: float) -> None:
        headers = stranger.signed(stranger.app(), WHOAMI, date=stranger.date(minutes))
        assert stranger.send(WHOAMI, headers=headers).status == 200

    @pytest.mark.parametrize(("minutes", "words"), [(-16, "16 minutes behind"), (22, "22 minutes ahead of")])
    def test_but_not_by_a_quarter_of_an_hour(self, stranger: Stranger, minutes: float, words: str) -> None:
        told = stranger.send(WHOAMI, headers=stranger.signed(stranger.app(), WHOAMI, date=stranger.date(minutes)))
        ((code, message),) = told.errors
        assert (told.status, code) == (401, "err_xdk_invalid_signature")
        assert message.startswith("0004 Invalid Signature")
        assert words in message

    def test_a_wrong_clock_is_told_to_nobody_without_the_keys(self, stranger: Stranger) -> None:
        keys = dataclasses.replace(stranger.app(), secret_key="A" * 88)
        told = stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI, date=stranger.date(60)))
        assert told.errors == SIGNATURE

    @pytest.mark.parametrize("date", ["", "now", "Tue, 99 Nov 2015 12:50:11 UTC", "2015-11-24T12:50:11Z"])
    def test_no_date(self, stranger: Stranger, date: str) -> None:
        told = stranger.send(WHOAMI, headers=stranger.signed(stranger.app(), WHOAMI, date=date))
        assert (told.status, told.code) == (401, "err_xdk_invalid_signature")

    def test_where_others_can_read_it(self, stranger: Stranger) -> None:
        told = stranger.send(WHOAMI, headers=stranger.signed(stranger.app(), WHOAMI), secure=False)
        assert (told.status, told.code) == (403, "err_tls_required")


class TestBindings:
    def expired(self, told: Told) -> bool:
        return (told.status, told.code) == (418, "err_xdk_binding_expired")

    def test_a_person_s_binding_expires_and_an_app_s_never(self, stranger: Stranger, lab: Lab) -> None:
        stranger.person()
        person, app = stranger.bound(), stranger.app()
        stranger.portal.clock.offset += 10**9
        lab.time += 12 * 3600 - 1
        assert stranger.send(WHOAMI, headers=stranger.signed(person, WHOAMI)).status == 200
        lab.time += 1
        assert self.expired(stranger.send(WHOAMI, headers=stranger.signed(person, WHOAMI)))
        lab.time += 10 * 365 * 86400
        assert stranger.send(WHOAMI, headers=stranger.signed(app, WHOAMI)).status == 200

    def test_a_raised_epoch_ends_it(self, stranger: Stranger) -> None:
        stranger.person()
        keys = stranger.bound()
        stranger.reset()
        assert self.expired(stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI)))

    def test_a_disabled_person_is_unknown(self, stranger: Stranger) -> None:
        stranger.person()
        keys = stranger.bound()
        stranger.disable()
        told = stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI))
        assert (told.status, told.errors) == (401, SIGNATURE)

    def test_a_restored_portal_knows_no_earlier_log_in(self, stranger: Stranger, lab: Lab, tmp_path: Any) -> None:
        stranger.person()
        keys, app = stranger.bound(), stranger.app()
        bearer = stranger.bearer(app)
        backup.backup(stranger.portal, tmp_path / "file")
        backup.restore(tmp_path / "file", tmp_path / "restored").close()
        lab.path = tmp_path / "restored"
        with stranger_at(lab) as restored:
            for known in (keys, app):
                assert self.expired(restored.send(WHOAMI, headers=restored.signed(known, WHOAMI)))
            assert flat(restored.send(WHOAMI, headers=bearer)) == (401, "token_verification_failed")
            assert restored.token(app.client_id, app.client_secret).status == 200
            assert restored.log_in().status == 200


ENDPOINTS: list[Endpoint[Any, Any]] = [
    row for noun in NOUNS for row in import_module(f"mimeportal.{noun}.contract").ENDPOINTS
]
# operation that is not safe to repeat -> an item of it that is done
ITEMS: dict[str, Callable[[str, Stranger], Any]] = {
    "holds.release": lambda hold, _: {"id": hold},
    "holds.reject": lambda hold, _: {"ids": [hold]},
    "holds.decide": lambda hold, _: {"id": hold, "decision": "release"},
    "senders.permit_or_block": lambda *_: {"sender": "a@b.example", "to": ANN, "action": "permit"},
    "senders.add": lambda *_: {"entry": "a@b.example", "list": "blocked"},
    "senders.remove": lambda *_: {"entry": "a@b.example", "list": "blocked"},
    "senders.import": lambda *_: {"entries": ["a@b.example"], "list": "blocked"},
    "senders.bulk_delete": lambda *_: {"ids": ["a@b.example"]},
    "account.password": lambda *_: {"password": "Correct-horse-7", "newPassword": "Another-one-8"},
    "account.set_preferences": lambda *_: {"preferences": {"time_zone": "Europe/Berlin"}},
    "account.add_delegate": lambda *_: {"primaryAddress": ANN, "delegateAddress": BOB},
    "account.remove_delegate": lambda _, stranger: {
        "id": did(stranger, "account.add_delegate", {"primaryAddress": ANN, "delegateAddress": BOB})["id"]
    },
    "auth.logout": lambda _, stranger: {"accessKey": stranger.bound().access_key},
    "messages.send_email": lambda *_: {"to": [{"emailAddress": BOB}], "plainBody": {"content": "Hello"}},
    "messages.upload": lambda *_: {"sha256": sha256(UPLOADED), "fileSize": len(UPLOADED)},
    "messages.submit": lambda *_: {**NEW, "requestId": "r-1"},
    "messages.save_draft": lambda *_: {**NEW, "requestId": "r-1"},
    "messages.remove_draft": lambda _, stranger: {
        "id": did(stranger, "messages.save_draft", {**NEW, "requestId": "r-1"})["id"]
    },
    "messages.block": lambda _, stranger: {"id": got(stranger)},
    "messages.report": lambda _, stranger: {"id": got(stranger), "type": "spam", "requestId": "r-1"},
    "largefiles.create": lambda *_: described({"plan.pdf": UPLOADED}),
    "largefiles.chunk": lambda _, stranger: {"file": large(stranger).file(), "index": 0, "crc32": zlib.crc32(UPLOADED)},
    "largefiles.check": lambda _, stranger: {"file": large(stranger, chunks=True).file(), "sha256": sha256(UPLOADED)},
    "largefiles.finish": lambda _, stranger: {"id": large(stranger, checked=True).id},
    "largefiles.pause": lambda _, stranger: {"id": large(stranger).id},
    "largefiles.cancel": lambda _, stranger: {"id": large(stranger).id},
    "largefiles.extend": lambda _, stranger: {"id": large(stranger, sent=True).id, "until": soon(stranger)},
    "largefiles.expire": lambda _, stranger: {"id": large(stranger, sent=True).id},
    "largefiles.resubmit": lambda _, stranger: {
        "id": large(stranger, sent=True).id,
        "requestId": "r-1",
        "to": ["another@elsewhere.example"],
    },
    "secure.send": lambda *_: secret(),
    "secure.reply": lambda _, stranger: {"id": secret_from_bob(stranger), "requestId": "r-2", "text": "Thanks"},
    "secure.mark": lambda _, stranger: {"id": secret_from_bob(stranger), "read": True},
    "secure.delete": lambda _, stranger: {"id": did(stranger, "secure.send", secret())["id"]},
    "secure.restore": lambda _, stranger: {"id": deleted(stranger)},
    "secure.recall": lambda _, stranger: {"id": did(stranger, "secure.send", secret())["id"]},
    "secure.extend": lambda _, stranger: {
        "id": did(stranger, "secure.send", secret(option="expire-1d"))["id"],
        "until": soon(stranger),
    },
    "secure.expire": lambda _, stranger: {"id": did(stranger, "secure.send", secret())["id"]},
    "secure.notify": lambda _, stranger: {"id": did(stranger, "secure.send", secret())["id"]},
}
# Octets of a file that is known by its SHA-256: what comes again puts down the same, or is found out by the check.
SAME_AGAIN = {"largefiles.chunk", "largefiles.check"}
NEW = {"to": [{"emailAddress": BOB}], "subject": "Hello"}
UPLOADED = b"%PDF-1.4"


def did(stranger: Stranger, operation: str, item: Any) -> Any:
    """What an operation answers to the person, asked for the first time."""
    (path,) = (row.path for row in ENDPOINTS if row.name == operation)
    return stranger.send(path, item, headers=stranger.signed(stranger.bound(), path)).row


def soon(stranger: Stranger) -> str:
    return format_date(datetime.fromtimestamp(stranger.lab.time, UTC) + timedelta(days=3))


def large(stranger: Stranger, *, chunks: bool = False, checked: bool = False, sent: bool = False) -> Sending:
    """A large file of the person's, sent as far as is asked for."""
    with asking(stranger.lab) as ask:
        sending = begin(ask, {"plan.pdf": UPLOADED})
        if chunks:
            assert sending.chunk(sending.file(), 0, UPLOADED).rows
        if checked or sent:
            sending.upload()
        if sent:
            assert sending.do("finish").rows
    return sending


def secret(*, option: str | None = None) -> Any:
    """A secure message to somebody outside."""
    item = {"requestId": "r-1", "to": [{"emailAddress": "carl@elsewhere.example"}], "subject": "Plans", "text": "Hello"}
    return {**item, "option": option} if option else item


def secret_from_bob(stranger: Stranger) -> str:
    """A secure message that waits in the portal for the person."""
    with stranger.lab.client(BOB) as bob:
        return bob.secure.send(to=ANN, subject="Plans", body="Hello", option="no-print").id


def deleted(stranger: Stranger) -> str:
    id = str(did(stranger, "secure.send", secret())["id"])
    did(stranger, "secure.delete", {"id": id})
    return id


def got(stranger: Stranger) -> str:
    """The id of a message in the person's Inbox."""
    stranger.lab.receive(mail_of(), reason=None)
    return str(did(stranger, "messages.browse", {"folder": "inbox"})["id"])


class TestReplay:
    """A signed request that acted acts once (promises E.4)."""

    @pytest.mark.parametrize(
        "endpoint",
        [row for row in ENDPOINTS if row.authorised and row.repeat != "safe"],
        ids=lambda endpoint: endpoint.name,
    )
    def test_every_operation_that_acts(self, stranger: Stranger, lab: Lab, endpoint: Endpoint[Any, Any]) -> None:
        stranger.person()
        keys = stranger.bound()
        lab.receive(mail_of())
        (row,) = stranger.send(FIND, {}, headers=stranger.signed(keys, FIND)).rows
        item = ITEMS[endpoint.name](row["id"], stranger)
        keys = stranger.app() if endpoint.name == "senders.bulk_delete" else keys  # for administrators alone
        headers = stranger.signed(keys, endpoint.path)
        body = json.dumps(item).encode() if endpoint.form == "json" else None
        if endpoint.form == "bytes":
            headers["x-mc-arg"], body = json.dumps({"data": [item]}), UPLOADED
        told = stranger.send(endpoint.path, item, headers=headers, body=body)
        assert told.status == 200
        assert endpoint.answer == "object" or told.code == ""
        again = stranger.send(endpoint.path, item, headers=headers, body=body, peer=ELSEWHERE)
        if endpoint.name in SAME_AGAIN:
            assert (again.status, again.octets) == (200, told.octets)
            return
        ended = endpoint.name == "account.password"  # with the password the binding ended
        assert (again.status, again.code) == (
            (418, "err_xdk_binding_expired") if ended else (401, "err_xdk_replayed_request")
        )

    def test_with_another_body(self, stranger: Stranger) -> None:
        """The body is not signed: a request that was overheard does nothing else either."""
        keys = stranger.app()
        headers = stranger.signed(keys, ADD)
        item = {"entry": "a@b.example", "list": "blocked", "mailbox": ANN}
        assert stranger.send(ADD, item, headers=headers).status == 200
        for changed in (headers, {**headers, "x-mc-req-id": headers["x-mc-req-id"].upper()}):
            assert stranger.send(ADD, {**item, "mailbox": BOB}, headers=changed).status == 401

    def test_by_request_ids_in_other_letters(self, stranger: Stranger) -> None:
        keys = stranger.app()
        item = {"entry": "a@b.example", "list": "blocked", "mailbox": ANN}
        name = "3d796b76-4180-40e5-8f7c-6e0fd643b1a9"
        assert stranger.send(ADD, item, headers=stranger.signed(keys, ADD, request_id=name)).status == 200
        told = stranger.send(ADD, item, headers=stranger.signed(keys, ADD, request_id=name.upper()))
        assert told.code == "err_xdk_replayed_request"
        other = stranger.app("other")
        assert stranger.send(ADD, item, headers=stranger.signed(other, ADD, request_id=name)).status == 200

    @pytest.mark.parametrize("path", [LIST, FIND, STATES, WHOAMI])
    def test_reading_is_repeated(self, stranger: Stranger, lab: Lab, path: str) -> None:
        keys = stranger.app()
        headers = stranger.signed(keys, path)
        item = {"ids": [stranger.portal.sealer.id("hold", 1)]} if path == STATES else {}
        octets = [stranger.send(path, item, headers=headers).octets for _ in range(2)]
        assert octets[0] == octets[1]
        assert b'"fail":[]' in octets[0]

    def test_what_was_refused_did_nothing_and_is_not_recorded(self, stranger: Stranger) -> None:
        keys = stranger.app()
        headers = stranger.signed(keys, ADD)
        assert stranger.send(ADD, {"entry": "*", "list": "blocked", "mailbox": ANN}, headers=headers).code
        assert stranger.send(ADD, {"entry": "a@b.example", "list": "blocked", "mailbox": ANN}, headers=headers).rows

    def test_a_token_s_requests_are_not_signed(self, stranger: Stranger) -> None:
        headers = stranger.bearer(stranger.app())
        item = {"entry": "a@b.example", "list": "blocked", "mailbox": ANN}
        assert [stranger.send(ADD, item, headers=headers).row["outcome"] for _ in range(2)] == ["done", "already"]


def test_what_an_app_decides_is_logged_by_its_name(stranger: Stranger, lab: Lab) -> None:
    lab.receive(mail_of())
    keys = stranger.app()
    (row,) = stranger.send(LIST, {"admin": True}, headers=stranger.signed(keys, LIST)).rows
    assert stranger.send(RELEASE, {"id": row["id"]}, headers=stranger.bearer(keys)).row["release"] is True
    with lab.client(ADMIN) as portal:
        assert [str(entry.operator) for entry in portal.holds.log()] == ["app:works"]


def test_apps_are_none_of_the_people(stranger: Stranger, lab: Lab) -> None:
    stranger.app()
    with stranger.portal.database.read() as tx:
        assert "app:works" not in [row.address for row, _ in people.in_order(tx)]
    with lab.client(ADMIN) as portal:
        assert portal.account.show().user_count == 4


def test_a_sweep_forgets_what_no_log_in_can_come_of(stranger: Stranger, lab: Lab) -> None:
    def left() -> list[int]:
        with stranger.portal.database.read() as tx:
            return [len(tx.execute(table.select()).all()) for table in (signed_requests, tokens, bindings)]

    stranger.person()
    person, app = stranger.bound(), stranger.app()
    stranger.bearer(app)
    stranger.send(LOGOUT, {"accessKey": stranger.bound().access_key}, headers=stranger.signed(person, LOGOUT))
    assert left() == [1, 1, 2]
    keeping.sweep(stranger.portal)
    assert left() == [1, 1, 2]
    for hours, kept in ((2, [0, 1, 2]), (25, [0, 0, 2]), (31 * 24, [0, 0, 1])):
        lab.time += hours * 3600
        with stranger_at(lab) as later:  # the clock's step is one of its own day: it was not running
            later.portal.accept_clock()
            keeping.sweep(later.portal)
        assert left() == kept
