"""Logging in: tokens, discovery, bindings, passwords and what guards them (promises E.3, portal-rules A and I)."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import insert, select

from conftest import ANN, BOB, Lab
from logging_in import (
    APP,
    DISCOVER,
    ELSEWHERE,
    HERE,
    LOGIN,
    LOGOUT,
    PASSWORD,
    RIGHT,
    TOKEN,
    WHOAMI,
    Stranger,
    Told,
    flat,
    stranger_at,
)
from mimeportal import limits
from mimeportal.errors import ApiError, ForbiddenError
from mimeportal_server import passwords, people
from mimeportal_server.portal import Refused
from mimeportal_server.store.schema import audit, audit_details, login_failures

WRONG = "Invalid username, password or permissions. Please check you are using the correct URL."
REFUSED = (401, [("err_xdk_invalid_credentials", WRONG)])
MINUTE = 60


@pytest.fixture
def stranger(lab: Lab) -> Iterator[Stranger]:
    with stranger_at(lab) as stranger:
        yield stranger


def refused(told: Told) -> bool:
    return (told.status, told.errors) == REFUSED


def audited(stranger: Stranger, *actions: str) -> list[tuple[str, str, str]]:
    """Action, outcome and reason of what the audit holds of these actions."""
    with stranger.portal.database.read() as tx:
        rows = tx.execute(
            select(audit.c.action, audit.c.outcome, audit_details.c.detail)
            .join(audit_details, audit_details.c.audit_id == audit.c.id)
            .where(audit.c.action.in_(actions))
            .order_by(audit.c.id)
        )
        return [(row.action, row.outcome, json.loads(row.detail).get("reason", "")) for row in rows]


class TestToken:
    def test_for_a_client_id_and_secret(self, stranger: Stranger) -> None:
        app = stranger.app()
        told = stranger.token(app.client_id, app.client_secret)
        document = json.loads(told.octets)
        assert told.status == 200
        assert len(document.pop("access_token")) >= 43
        assert document == {"token_type": "Bearer", "expires_in": 1799, "scope": ""}

    def test_by_basic(self, stranger: Stranger) -> None:
        app = stranger.app()
        encoded = base64.b64encode(f"{app.client_id}:{app.client_secret}".encode()).decode()
        headers = {"authorization": f"Basic {encoded}"}
        told = stranger.send(TOKEN, body=b"grant_type=client_credentials", headers=headers)
        assert "access_token" in json.loads(told.octets)
        headers = {"authorization": f"Basic-Cloud {encoded}"}
        assert stranger.send(TOKEN, body=b"grant_type=client_credentials", headers=headers).status == 401

    def test_wrong_credentials(self, stranger: Stranger) -> None:
        app, other = stranger.app(), stranger.app("other")
        for client_id, client_secret in (
            (app.client_id, other.client_secret),
            (app.client_id, ""),
            ("", app.client_secret),
            ("unknown", app.client_secret),
            ("", ""),
            (app.app_id, app.app_key),
        ):
            told = stranger.token(client_id, client_secret)
            assert flat(told) == (401, "InvalidClientIdentifier")
            assert json.loads(told.octets)["fail"][0]["message"] == "Client credentials are invalid"

    def test_another_grant(self, stranger: Stranger) -> None:
        app = stranger.app()
        told = stranger.token(app.client_id, app.client_secret, grant_type="password")
        assert flat(told) == (400, "unsupported_grant_type")

    def test_a_disabled_app(self, stranger: Stranger) -> None:
        app = stranger.app()
        stranger.disable("app:works")
        assert flat(stranger.token(app.client_id, app.client_secret)) == (401, "InvalidClientIdentifier")

    def test_where_others_can_read_it(self, stranger: Stranger) -> None:
        app = stranger.app()
        body = f"client_id={app.client_id}&client_secret={app.client_secret}".encode()
        assert flat(stranger.send(TOKEN, body=body, secure=False)) == (403, "err_tls_required")


class TestDiscovery:
    def discover(self, stranger: Stranger, address: str) -> Told:
        headers = {"x-mc-app-id": stranger.built_in()[0]}
        return stranger.send(DISCOVER, {"emailAddress": address}, headers=headers)

    @pytest.mark.parametrize(
        ("login", "ways"),
        [("cloud", ["Basic-Cloud"]), ("domain", ["Basic-AD"]), ("sso", ["SAML"]), ("two-step", ["Basic-Cloud"])],
    )
    def test_how_an_address_logs_in(self, stranger: Stranger, login: str, ways: list[str]) -> None:
        stranger.person(login=login)
        row = self.discover(stranger, ANN).row
        assert row.pop("emailToken")
        assert row == {
            "emailAddress": ANN,
            "authenticate": ways,
            "region": {"code": "local", "api": "http://127.0.0.1:8025"},
        }

    def test_an_unknown_address_looks_like_any(self, stranger: Stranger) -> None:
        """portal-rules A.8"""
        rows = []
        for address in (ANN, "absent@example.com", "absent@elsewhere.example"):
            row = self.discover(stranger, address).row
            rows.append((row["authenticate"], row["region"], len(row["emailToken"]), sorted(row)))
        assert rows[0] == rows[1] == rows[2]

    def test_no_address(self, stranger: Stranger) -> None:
        assert self.discover(stranger, "ann").code == "err_validation_invalid_email_address"

    def test_by_a_known_application_alone(self, stranger: Stranger) -> None:
        for headers in ({}, {"x-mc-app-id": "INVALID"}):
            told = stranger.send(DISCOVER, {"emailAddress": ANN}, headers=headers)
            assert (told.status, told.code) == (200, "err_developer_key")


class TestLogin:
    def test_a_binding(self, stranger: Stranger) -> None:
        stranger.person()
        row = stranger.log_in().row
        assert len(row.pop("accessKey")) == 150
        assert len(base64.b64decode(row.pop("secretKey"))) == 64
        assert row == {
            "duration": 43_200_000,
            "bindingType": "one_step",
            "extendOnValidate": False,
            "lastUserToken": "",
            "username": ANN,
        }

    def test_both_spellings_of_its_field(self, stranger: Stranger) -> None:
        stranger.person()
        headers = {
            "authorization": f"basic-cloud {base64.b64encode(f'ANN@Example.com:{RIGHT}'.encode()).decode()}",
            "x-mc-app-id": stranger.built_in()[0],
        }
        for field in ("username", "userName"):
            assert stranger.send(LOGIN, {field: ANN}, headers=headers).row["username"] == ANN

    def test_each_log_in_has_keys_of_its_own(self, stranger: Stranger) -> None:
        stranger.person()
        rows = [stranger.log_in().row for _ in range(3)]
        assert len({row["accessKey"] for row in rows}) == len({row["secretKey"] for row in rows}) == 3

    def test_every_failure_answers_alike(self, stranger: Stranger) -> None:
        """To the last octet, but for the name: portal-rules A.28."""
        stranger.person()
        stranger.person("off@example.com")
        stranger.disable("off@example.com")
        told = [
            stranger.log_in(ANN, "wrong"),
            stranger.log_in(ANN, ""),
            stranger.log_in("off@example.com", RIGHT),
            stranger.log_in(BOB, RIGHT),  # has no password
            stranger.log_in("absent@example.com", RIGHT),
            stranger.log_in("absent@elsewhere.example", RIGHT),
        ]
        names = [ANN, ANN, "off@example.com", BOB, "absent@example.com", "absent@elsewhere.example"]
        assert all(map(refused, told))
        assert len({answer.octets.replace(name.encode(), b"") for answer, name in zip(told, names, strict=True)}) == 1
        assert told[0].json["fail"][0]["key"] == {"username": ANN}
        reasons = ["wrong password"] * 2 + ["disabled", "no password", "unknown", "unknown"]
        assert audited(stranger, "log in") == [("log in", "failed", reason) for reason in reasons]

    def test_everybody_costs_one_run_of_argon2(self, stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
        """Right, wrong, locked, disabled, without a password, unknown, with a one-time password: promises E.3."""
        stranger.person()
        stranger.person("off@example.com")
        stranger.disable("off@example.com")
        one_time = stranger.reset("mod@example.com")
        runs: list[str] = []

        class Counted:
            def verify(self, stored: str, password: str) -> bool:
                runs.append(stored.rpartition("$")[0].rpartition("$")[0])
                return hasher.verify(stored, password)

        hasher = passwords._HASHER
        monkeypatch.setattr(passwords, "_HASHER", Counted())
        tries = [(ANN, RIGHT), *[(ANN, "wrong")] * 5, (ANN, RIGHT)]
        tries += [
            ("off@example.com", RIGHT),
            (BOB, RIGHT),
            ("absent@example.com", RIGHT),
            ("mod@example.com", one_time),
        ]
        told = [stranger.log_in(*tried).status for tried in tries]
        assert told == [200, *[401] * 9, 200]
        assert runs == ["$argon2id$v=19$m=19456,t=2,p=1"] * len(tries)

    @pytest.mark.parametrize(
        ("login", "scheme", "password", "code"),
        [
            ("cloud", "Basic-AD", RIGHT, "err_xdk_authentication_type"),
            ("domain", "Basic-AD", RIGHT, "err_xdk_authentication_type"),
            ("domain", "Basic-Cloud", RIGHT, "err_xdk_authentication_type"),
            ("sso", "Basic-Cloud", RIGHT, "err_xdk_authentication_type"),
            ("two-step", "Basic-Cloud", RIGHT, "err_xdk_two_step_required"),
            ("two-step", "Basic-Cloud", "wrong", "err_xdk_invalid_credentials"),
        ],
    )
    def test_what_is_not_checked_here(
        self, stranger: Stranger, login: str, scheme: str, password: str, code: str
    ) -> None:
        stranger.person(login=login)
        told = stranger.log_in(ANN, password, scheme=scheme)
        assert (told.status, told.code) == (401, code)
        if code == "err_xdk_authentication_type":
            assert told.errors[0][1].startswith("0001 ")
        assert b"accessKey" not in told.octets

    def test_somebody_else_s_name(self, stranger: Stranger) -> None:
        stranger.person()
        told = stranger.log_in(username=BOB)
        assert (told.status, told.code) == (400, "err_xdk_missing_credentials")

    @pytest.mark.parametrize("authorization", ["", "Basic-Cloud", "Basic-Cloud !!!", "Basic-Cloud YW5u", "Bearer x"])
    def test_no_credentials(self, stranger: Stranger, authorization: str) -> None:
        headers = {"authorization": authorization, "x-mc-app-id": stranger.built_in()[0]}
        told = stranger.send(LOGIN, {"username": ANN}, headers=headers)
        assert (told.status, told.code) == (400, "err_xdk_missing_credentials")

    def test_an_unknown_application(self, stranger: Stranger) -> None:
        stranger.person()
        assert stranger.log_in(app_id="INVALID").code == "err_developer_key"

    def test_where_others_can_read_it(self, stranger: Stranger) -> None:
        stranger.person()
        told = stranger.log_in(secure=False)
        assert (told.status, told.code) == (403, "err_tls_required")

    def test_the_built_in_application_grants_nothing(self, stranger: Stranger) -> None:
        app_id, app_key = stranger.built_in()
        assert stranger.send(APP).row == {"appId": app_id, "appKey": app_key}
        with stranger_at(stranger.lab) as other:
            assert other.built_in() == (app_id, app_key)
        assert flat(stranger.token(app_id, app_key)) == (401, "InvalidClientIdentifier")

    def test_nothing_of_it_is_stored_in_clear(self, stranger: Stranger) -> None:
        stranger.person()
        keys, app = stranger.bound(), stranger.app()
        token = stranger.bearer(app)["authorization"].split()[1]
        one_time = stranger.reset(BOB)
        secrets = [RIGHT, keys.access_key, keys.secret_key, app.client_secret, app.app_key, app.secret_key, token]
        for file in stranger.lab.path.rglob("*"):
            octets = file.read_bytes() if file.is_file() else b""
            assert not [secret for secret in (*secrets, one_time) if secret.encode() in octets], file


class TestRefresh:
    def test_the_same_keys_live_on(self, stranger: Stranger, lab: Lab) -> None:
        stranger.person()
        keys = stranger.bound()
        lab.time += 13 * 3600
        assert stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI)).status == 418
        rows = [stranger.log_in(accessKey=keys.access_key).row for _ in range(2)]
        assert rows[0] == rows[1]
        assert (rows[0]["accessKey"], rows[0]["secretKey"]) == (keys.access_key, keys.secret_key)
        lab.time += 12 * 3600 - 1
        assert stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI)).row["emailAddress"] == ANN

    def test_not_without_the_password(self, stranger: Stranger, lab: Lab) -> None:
        stranger.person()
        keys = stranger.bound()
        lab.time += 13 * 3600
        assert refused(stranger.log_in(ANN, "wrong", accessKey=keys.access_key))
        assert stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI)).status == 418

    def test_what_is_no_binding_of_theirs_becomes_a_new_one(self, stranger: Stranger) -> None:
        stranger.person()
        stranger.person(BOB)
        other = stranger.bound(BOB).access_key
        ended = stranger.bound().access_key
        of_an_app = stranger.app()
        elsewhere = stranger.log_in(app_id=of_an_app.app_id).row["accessKey"]
        for access_key in (other, elsewhere, of_an_app.access_key, "x"):
            row = stranger.log_in(accessKey=access_key).row
            assert row["accessKey"] != access_key
            assert row["username"] == ANN
        stranger.reset()
        stranger.person()
        for access_key in (other, ended):
            row = stranger.log_in(accessKey=access_key).row
            assert row["accessKey"] != access_key
            assert row["username"] == ANN
            passwords.forget_tries(stranger.portal)

    def test_logging_out(self, stranger: Stranger) -> None:
        stranger.person()
        keys, other = stranger.bound(), stranger.bound()
        headers = stranger.signed(keys, LOGOUT)
        assert stranger.send(LOGOUT, {"accessKey": keys.access_key}, headers=headers).status == 200
        assert stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI)).status == 401
        told = stranger.send(LOGOUT, {"accessKey": keys.access_key}, headers=stranger.signed(other, LOGOUT))
        assert (told.status, told.code) == (404, "not_found")
        assert stranger.send(WHOAMI, headers=stranger.signed(other, WHOAMI)).status == 200


class TestOneTime:
    def test_it_is_spent_by_the_log_in(self, stranger: Stranger) -> None:
        secret = stranger.reset()
        assert stranger.log_in(ANN, secret).row["passwordIsOneTime"] is True
        assert refused(stranger.log_in(ANN, secret))

    def test_it_replaces_the_password_until_another_is_set(self, stranger: Stranger) -> None:
        stranger.person()
        secret = stranger.reset()
        assert refused(stranger.log_in())
        keys = stranger.bound(ANN, secret)
        item = {"newPassword": "Another-one-8"}
        assert stranger.send(PASSWORD, item, headers=stranger.signed(keys, PASSWORD)).status == 200
        assert "passwordIsOneTime" not in stranger.log_in(ANN, "Another-one-8").row

    def test_for_one_day_and_one_person(self, stranger: Stranger, lab: Lab) -> None:
        secret = stranger.reset()
        assert refused(stranger.log_in(BOB, secret))
        lab.time += 86400
        assert refused(stranger.log_in(ANN, secret))

    def test_it_works_through_a_lock(self, stranger: Stranger) -> None:
        secret = stranger.reset()
        for _ in range(6):
            assert refused(stranger.log_in(ANN, "wrong"))
        assert stranger.log_in(ANN, secret).status == 200

    def test_it_lets_nobody_in_who_is_disabled(self, stranger: Stranger) -> None:
        stranger.disable()
        secret = stranger.reset()
        assert refused(stranger.log_in(ANN, secret))
        stranger.disable(disabled=False)
        assert refused(stranger.log_in(ANN, secret))  # enabling ends what was handed out before

    def test_doors_that_keep_passwords_do_not_take_it(self, stranger: Stranger) -> None:
        secret = stranger.reset()
        with pytest.raises(Refused):
            passwords.check(stranger.portal, ANN, secret, HERE, door="smtp")
        assert stranger.log_in(ANN, secret).status == 200


class TestCheck:
    """What SMTP submission asks."""

    def test_the_right_password(self, stranger: Stranger) -> None:
        stranger.person()
        with stranger.portal.database.read() as tx:
            number = stranger.number(tx, ANN)
        assert passwords.check(stranger.portal, "Ann@example.com", RIGHT, HERE, door="smtp").person_id == number

    @pytest.mark.parametrize("login", ["domain", "sso", "two-step"])
    def test_what_a_password_is_not_enough_for(self, stranger: Stranger, login: str) -> None:
        stranger.person(login=login)
        with pytest.raises(Refused) as refusal:
            passwords.check(stranger.portal, ANN, RIGHT, HERE, door="smtp")
        assert refusal.value.status == 401


class TestLock:
    """promises E.3: five failures lock the account for that network, fifty for all but bindings that were known."""

    def fail(self, stranger: Stranger, times: int, *, address: str = ANN, peer: str = HERE) -> None:
        for _ in range(times):
            assert refused(stranger.log_in(address, "wrong", peer=peer))

    def test_five_failures_lock_one_network(self, stranger: Stranger) -> None:
        stranger.person()
        self.fail(stranger, 5)
        assert refused(stranger.log_in())
        assert stranger.log_in(peer=ELSEWHERE).status == 200
        reasons = ["wrong password"] * 5 + ["locked for this network"]
        assert [reason for _, outcome, reason in audited(stranger, "log in") if outcome == "failed"] == reasons
        assert audited(stranger, "lock") == [("lock", "done", "locked for this network")]

    def test_four_do_not_and_a_log_in_starts_anew(self, stranger: Stranger) -> None:
        stranger.person()
        for _ in range(2):
            self.fail(stranger, 4)
            assert stranger.log_in().status == 200
            passwords.forget_tries(stranger.portal)

    def test_a_network_is_a_64(self, stranger: Stranger) -> None:
        stranger.person()
        for number in range(5):
            self.fail(stranger, 1, peer=f"2001:db8::{number}")
        assert refused(stranger.log_in(peer="2001:db8::ffff:0:0:1"))
        assert stranger.log_in(peer="2001:db8:0:1::1").status == 200

    def test_it_ends_a_quarter_of_an_hour_after_the_fifth(self, stranger: Stranger, lab: Lab) -> None:
        stranger.person()
        for _ in range(5):
            lab.time += 3 * MINUTE
            self.fail(stranger, 1)
        lab.time += 15 * MINUTE - 1
        assert refused(stranger.log_in())
        lab.time += 1
        assert stranger.log_in().status == 200

    def test_who_is_locked_uses_up_no_tries_of_others(self, stranger: Stranger) -> None:
        stranger.person()
        self.fail(stranger, 20)
        assert stranger.log_in(peer=ELSEWHERE).status == 200

    def test_a_clock_that_was_ahead_locks_nobody(self, stranger: Stranger, lab: Lab) -> None:
        stranger.person()
        lab.time += 300 * 24 * 60 * MINUTE
        self.fail(stranger, 5)
        lab.time -= 300 * 24 * 60 * MINUTE
        passwords.forget_tries(stranger.portal)
        assert stranger.log_in().status == 200

    def test_what_is_tried_meanwhile_does_not_prolong_it(self, stranger: Stranger, lab: Lab) -> None:
        stranger.person()
        self.fail(stranger, 5)
        lab.time += 14 * MINUTE
        self.fail(stranger, 4)
        lab.time += MINUTE
        assert stranger.log_in().status == 200

    def test_failures_far_apart_lock_nothing(self, stranger: Stranger, lab: Lab) -> None:
        stranger.person()
        for _ in range(6):
            lab.time += 4 * MINUTE
            self.fail(stranger, 1)
        assert stranger.log_in().status == 200

    @pytest.mark.parametrize("way", ["unlock", "reset"])
    def test_whoever_runs_the_portal_ends_it(self, stranger: Stranger, way: str) -> None:
        stranger.person()
        self.fail(stranger, 5)
        password = RIGHT
        if way == "reset":
            password = stranger.reset()
            assert stranger.log_in(ANN, password).status == 200
            stranger.person()
        else:
            with stranger.portal.write() as tx:
                people.unlock(tx, stranger.number(tx, ANN))
        assert stranger.log_in().status == 200

    def test_unknown_addresses_are_locked_alike(self, stranger: Stranger) -> None:
        address = "absent@example.com"
        self.fail(stranger, 6, address=address)
        assert audited(stranger, "lock") == [("lock", "done", "locked for this network")]
        assert [reason for *_, reason in audited(stranger, "log in")][-1] == "locked for this network"

    def test_fifty_from_anywhere(self, stranger: Stranger, lab: Lab) -> None:
        stranger.person()
        ended = stranger.bound()
        stranger.reset()
        stranger.person()
        keys = stranger.bound()
        with stranger.portal.write() as tx:
            at = stranger.portal.clock.machine()
            rows = [{"address": ANN, "network": f"203.0.113.{number}", "at": at} for number in range(49)]
            tx.execute(insert(login_failures), rows)
        assert stranger.log_in().status == 200
        self.fail(stranger, 1, peer=ELSEWHERE)
        assert refused(stranger.log_in())
        assert audited(stranger, "lock") == [("lock", "done", "locked")]
        assert stranger.log_in(accessKey=keys.access_key).status == 200
        for access_key in ("x", ended.access_key):
            assert refused(stranger.log_in(accessKey=access_key))
        lab.time += 86400
        assert stranger.log_in().status == 200

    def test_several_at_once_have_no_tries_more(self, stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each was checked before any of the others failed; none but the fifth failure's forerunners counts."""
        stranger.person()
        self.fail(stranger, 4)
        together = threading.Barrier(2, timeout=30)
        matches = passwords._matches

        def wait(stored: str, password: str) -> bool:
            right = matches(stored, password)
            if password == RIGHT:
                together.wait()  # until the fifth failure is recorded
            return right

        monkeypatch.setattr(passwords, "_matches", wait)
        told: list[Told] = []
        thread = threading.Thread(target=lambda: told.append(stranger.log_in()))
        thread.start()
        self.fail(stranger, 1)
        together.wait()
        thread.join()
        assert refused(told[0])


class TestBudgets:
    def too_many(self, told: Told) -> bool:
        ((code, _),) = told.errors
        return (told.status, code, told.json["fail"][0]["errors"][0]["retryable"]) == (429, "err_quota_exceeded", True)

    @pytest.mark.parametrize("address", [ANN, "absent@example.com"])
    def test_of_an_address(self, stranger: Stranger, address: str) -> None:
        for number in range(limits.LOGINS_PER_ADDRESS):
            assert refused(stranger.log_in(address, "wrong", peer=f"203.0.113.{number}"))
        assert self.too_many(stranger.log_in(address, "wrong"))

    def test_strangers_use_up_nothing_of_a_known_binding_s(self, stranger: Stranger) -> None:
        stranger.person()
        keys = stranger.bound()
        for number in range(limits.LOGINS_PER_ADDRESS):
            stranger.log_in(ANN, "wrong", peer=f"203.0.113.{number // 4}")
        assert self.too_many(stranger.log_in())
        assert stranger.log_in(accessKey=keys.access_key).status == 200

    def test_of_a_network(self, stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "LOGINS_PER_NETWORK", 3)
        for number in range(3):
            assert refused(stranger.log_in(f"p{number}@example.com"))
        assert self.too_many(stranger.log_in("p4@example.com"))
        assert refused(stranger.log_in("p4@example.com", peer=ELSEWHERE))

    def test_of_checks_at_once(self, stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
        """One is kept for bindings that logged in before; who finds no room is told so at once."""
        stranger.person()
        keys = stranger.bound()
        inside, go = threading.Semaphore(0), threading.Event()
        matches = passwords._matches

        def wait(stored: str, password: str) -> bool:
            if password == "slow":
                inside.release()
                assert go.wait(30)
            return matches(stored, password)

        monkeypatch.setattr(passwords, "_matches", wait)
        threads = [
            threading.Thread(target=stranger.log_in, args=(f"p{number}@example.com", "slow"))
            for number in range(limits.PASSWORD_CHECKS - 1)
        ]
        try:
            for thread in threads:
                thread.start()
                assert inside.acquire(timeout=30)
            assert self.too_many(stranger.log_in())
            assert stranger.log_in(accessKey=keys.access_key).status == 200
        finally:
            go.set()
            for thread in threads:
                thread.join()
        assert stranger.log_in().status == 200


class TestSettingAPassword:
    def set(self, stranger: Stranger, keys: Any, item: dict[str, str]) -> Told:
        return stranger.send(PASSWORD, item, headers=stranger.signed(keys, PASSWORD))

    def test_it_ends_every_log_in(self, stranger: Stranger) -> None:
        stranger.person()
        keys, other = stranger.bound(), stranger.bound()
        told = self.set(stranger, keys, {"password": RIGHT, "newPassword": "Another-one-8"})
        assert told.row == {"emailAddress": ANN}
        for known in (keys, other):
            assert stranger.send(WHOAMI, headers=stranger.signed(known, WHOAMI)).status == 418
        assert refused(stranger.log_in())
        assert stranger.log_in(ANN, "Another-one-8").status == 200
        assert [action for action, *_ in audited(stranger, "set password")] == ["set password"] * 2

    def test_the_current_one_must_be_right(self, stranger: Stranger) -> None:
        stranger.person()
        keys = stranger.bound()
        told = self.set(stranger, keys, {"password": "wrong", "newPassword": "Another-one-8"})
        assert (told.status, told.code) == (403, "err_xdk_wrong_password")
        assert self.set(stranger, keys, {"newPassword": "Another-one-8"}).code == "err_validation_null"
        assert stranger.log_in().status == 200

    def test_it_cannot_be_guessed_by_a_stolen_binding(self, stranger: Stranger) -> None:
        stranger.person()
        keys = stranger.bound()
        for _ in range(5):
            self.set(stranger, keys, {"password": "wrong", "newPassword": "Another-one-8"})
        told = self.set(stranger, keys, {"password": RIGHT, "newPassword": "Another-one-8"})
        assert (told.status, told.code) == (403, "err_xdk_wrong_password")

    def test_a_second_factor_is_not_asked_for(self, stranger: Stranger, lab: Lab) -> None:
        stranger.person(login="two-step")
        with lab.client() as portal:
            portal.account.set_password("Another-one-8", RIGHT)

    @pytest.mark.parametrize("login", ["domain", "sso"])
    def test_where_it_is_set_elsewhere(self, stranger: Stranger, lab: Lab, login: str) -> None:
        stranger.person(login=login)
        with lab.client() as portal, pytest.raises(ForbiddenError):
            portal.account.set_password("Another-one-8", RIGHT)

    def test_by_an_app(self, stranger: Stranger) -> None:
        told = self.set(stranger, stranger.app(), {"newPassword": "Another-one-8"})
        assert (told.status, told.code) == (403, "forbidden")

    @pytest.mark.parametrize(
        ("password", "accepted"),
        [
            ("Abcdef1", False),  # too short
            ("Abcdefg1", True),
            ("abcdefg1", False),  # two classes
            ("abcdefg-", False),
            ("ABCDEFG1", False),
            ("abcdef-1", True),
            ("ABCDEF-1", True),
            ("Abcdefg-", True),
            ("Äöüäöü 1", True),
            ("Aa1" + "x" * 125, True),
            ("Aa1" + "x" * 126, False),  # too long
            ("", False),
        ],
    )
    def test_how_simple_it_may_be(self, stranger: Stranger, lab: Lab, password: str, accepted: bool) -> None:
        """portal-rules I.9"""
        with lab.client() as portal:
            if accepted:
                portal.account.set_password(password)
                assert stranger.log_in(ANN, password).status == 200
            else:
                with pytest.raises(ApiError, match="A password has") as refusal:
                    portal.account.set_password(password)
                assert refusal.value.code == "err_validation_password"
                assert refusal.value.field == "newPassword"
