"""`mimeportal-server apps` and `people`, as whoever runs a portal types them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from conftest import ADMIN, ANN, BOB, Lab
from logging_in import LOGIN, PASSWORD, WHOAMI, stranger_at
from mimeportal.errors import MimeportalError
from mimeportal_server.apps import Secrets
from mimeportal_server.cli import main
from mimeportal_server.people import find
from mimeportal_server.store.schema import audit, audit_details

KEYS = ["client_id", "client_secret", "app_id", "app_key", "access_key", "secret_key"]


class Command:
    """Runs the command in this process, on one home."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments, "--home", str(self.lab.path)], catch_exceptions=True)

    def done(self, *arguments: str) -> Result:
        result = self(*arguments)
        assert not result.exception, result.exception
        return result

    def refused(self, *arguments: str) -> str:
        """What a refusal says; it changes nothing on stdout."""
        result = self(*arguments)
        assert isinstance(result.exception, MimeportalError)
        assert result.stdout == ""
        return str(result.exception)

    def app(self, *arguments: str) -> Secrets:
        document = json.loads(self.done("apps", "add", *arguments, "-o", "json").stdout)
        assert list(document) == KEYS
        return Secrets(**document)

    def listed(self, group: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.done(group, "list", "-o", "json").stdout)
        return rows

    def acts(self) -> list[tuple[str, dict[str, Any]]]:
        with self.lab.server.database.read() as tx:
            joined = select(audit.c.action, audit_details.c.detail).join(
                audit_details, audit_details.c.audit_id == audit.c.id
            )
            return [(row.action, json.loads(row.detail)) for row in tx.execute(joined.order_by(audit.c.id))]


@pytest.fixture
def command(lab: Lab) -> Command:
    return Command(lab)


class TestApps:
    def test_both_apis_take_what_is_printed(self, command: Command, lab: Lab) -> None:
        keys = command.app("triage")
        with stranger_at(lab) as stranger:
            for headers in (stranger.bearer(keys), stranger.signed(keys, WHOAMI)):
                row = stranger.send(WHOAMI, headers=headers).row
                assert (row["emailAddress"], row["role"]) == ("app:triage", "administrator")

    def test_lines_to_read(self, command: Command) -> None:
        done = command.done("apps", "add", "triage")
        names = [line.partition(": ")[0] for line in done.stdout.splitlines()]
        assert names == KEYS
        assert all(line.partition(": ")[2] for line in done.stdout.splitlines())
        secrets = [line.partition(": ")[2] for line in done.stdout.splitlines()]
        assert not [secret for secret in secrets if secret in done.stderr]

    def test_its_role(self, command: Command, lab: Lab) -> None:
        keys = command.app("helper", "--role", "user", "--moderates", BOB, "--moderates", "Example.com")
        with stranger_at(lab) as stranger:
            row = stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI)).row
        assert (row["role"], row["moderates"]) == ("user", [BOB, "example.com"])
        assert "Not an address" in command.refused("apps", "add", "other", "--moderates", "x y")

    def test_listed_without_secrets(self, command: Command) -> None:
        keys = command.app("triage")
        command.app("Backup Job", "--role", "user")
        rows = command.listed("apps")
        assert [row["name"] for row in rows] == ["Backup Job", "triage"]
        assert list(rows[1]) == ["name", "client_id", "app_id", "role", "created", "revoked"]
        assert (rows[1]["client_id"], rows[1]["app_id"]) == (keys.client_id, keys.app_id)
        assert (rows[0]["role"], rows[1]["role"], rows[1]["revoked"]) == ("user", "administrator", False)
        told = json.dumps(rows)
        for secret in (keys.client_secret, keys.app_key, keys.access_key, keys.secret_key):
            assert secret not in told

    def test_the_built_in_one_is_none_of_them(self, command: Command, lab: Lab) -> None:
        with stranger_at(lab) as stranger:
            stranger.built_in()
        assert command.listed("apps") == []
        assert "There is an application mimeportal already" in command.refused("apps", "add", "mimeportal")
        assert "There is no application mimeportal" in command.refused("apps", "revoke", "mimeportal")

    def test_revoked_and_added_anew(self, command: Command, lab: Lab) -> None:
        keys = command.app("triage")
        with stranger_at(lab) as stranger:
            headers = stranger.bearer(keys)
            command.done("apps", "revoke", "triage")
            assert stranger.send(WHOAMI, headers=headers).status == 401
            assert stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI)).code == "err_developer_key"
            assert stranger.token(keys.client_id, keys.client_secret).status == 401
            assert command.listed("apps")[0]["revoked"] is True
            anew = command.app("triage", "--role", "user")
            assert not set(vars_of(anew)) & set(vars_of(keys))
            assert stranger.token(keys.client_id, keys.client_secret).status == 401
            assert stranger.send(WHOAMI, headers=stranger.signed(anew, WHOAMI)).row["role"] == "user"
        (row,) = command.listed("apps")
        assert (row["revoked"], row["client_id"]) == (False, anew.client_id)

    @pytest.mark.parametrize("name", ["triage", "Triage", "TRIAGE"])
    def test_a_name_that_is_taken(self, command: Command, name: str) -> None:
        command.app("triage")
        assert f"There is an application {name} already" in command.refused("apps", "add", name)

    @pytest.mark.parametrize("name", ["", "a@b.example", "a:b", "x" * 65, ".", "a\nb"])
    def test_no_name(self, command: Command, name: str) -> None:
        assert "Not a name of an application" in command.refused("apps", "add", name)

    def test_an_unknown_one(self, command: Command) -> None:
        assert "There is no application triage" in command.refused("apps", "revoke", "triage")

    def test_it_is_audited_without_its_secrets(self, command: Command) -> None:
        keys = command.app("triage")
        command.done("apps", "revoke", "triage")
        acts = command.acts()
        assert [(action, detail["name"]) for action, detail in acts] == [
            ("add application", "triage"),
            ("revoke application", "triage"),
        ]
        assert not [secret for secret in vars_of(keys) if secret in json.dumps(acts)]

    def test_it_is_nobody_s_mailbox(self, command: Command, lab: Lab) -> None:
        command.app("triage")
        assert len(command.listed("people")) == 4
        for verb in ("disable", "enable", "reset", "unlock"):
            assert "app:triage is none of the portal's people" in command.refused("people", verb, "app:triage")
        assert "Not an e-mail address" in command.refused("people", "add", "app:triage")
        assert "Not an e-mail address" in command.refused("import", ".", "--recipient", "app:triage")
        facts = {row["name"]: row["value"] for row in json.loads(command.done("status", "-o", "json").stdout)}
        assert facts["people"] == "4"
        with lab.server.database.read() as tx:
            assert find(tx, "app:triage") is not None


def vars_of(keys: Secrets) -> list[str]:
    return [getattr(keys, name) for name in KEYS]


class TestPeople:
    def test_how_they_log_in(self, command: Command) -> None:
        command.done("people", "add", ANN, "--login", "sso")
        command.done("people", "add", "eve@example.com", "--login", "two-step")
        command.done("people", "add", ANN, "--role", "administrator")  # says nothing of how they log in
        logins = {row["address"]: (row["role"], row["login"]) for row in command.listed("people")}
        assert logins[ANN] == ("administrator", "sso")
        assert logins["eve@example.com"] == ("user", "two-step")
        assert logins[BOB] == ("user", "cloud")
        assert logins[ADMIN] == ("administrator", "cloud")

    def test_another_way_to_log_in_ends_what_was_handed_out(self, command: Command, lab: Lab) -> None:
        with stranger_at(lab) as stranger:
            stranger.person()
            keys = stranger.bound()
            command.done("people", "add", ANN, "--login", "cloud")
            assert stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI)).status == 200
            command.done("people", "add", ANN, "--login", "sso")
            assert stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI)).status == 418

    def test_from_a_one_time_password_to_one_s_own(self, command: Command, lab: Lab) -> None:
        secret = command.done("people", "reset", ANN).stdout.strip()
        with stranger_at(lab) as stranger:
            keys = stranger.bound(ANN, secret)
            told = stranger.send(PASSWORD, {"newPassword": "Another-one-8"}, headers=stranger.signed(keys, PASSWORD))
            assert told.status == 200
            assert stranger.log_in(ANN, "Another-one-8").status == 200

    def test_unlock(self, command: Command, lab: Lab) -> None:
        with stranger_at(lab) as stranger:
            stranger.person()
            for _ in range(5):
                stranger.log_in(ANN, "wrong")
            assert stranger.log_in().status == 401
            assert command.done("people", "unlock", ANN).stderr == f"Unlocked {ANN}.\n"
            assert stranger.log_in().status == 200
        assert "unlock person" in [action for action, _ in command.acts()]

    def test_disable_ends_log_ins_and_enable_brings_none_back(self, command: Command, lab: Lab) -> None:
        with stranger_at(lab) as stranger:
            stranger.person()
            keys = stranger.bound()
            command.done("people", "disable", ANN)
            assert stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI)).status == 401
            assert stranger.log_in().status == 401
            command.done("people", "enable", ANN)
            assert stranger.send(WHOAMI, headers=stranger.signed(keys, WHOAMI)).status == 418
            assert stranger.send(LOGIN, {"username": ANN}, headers={}).code == "err_developer_key"
            assert stranger.log_in().status == 200
