"""`mimeportal auth`: three ways to log in, what is kept of them and where, what ends them, and what is refused."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pexpect
import pytest
from sqlalchemy import func, select, update

from cli.conftest import PASSWORD, Done, Run, Served
from conftest import ANN
from mimeportal import regions, retry
from mimeportal.profiles import Store
from mimeportal_cli.main import cli
from mimeportal_server import people
from mimeportal_server.store.schema import bindings

PERSON = ("--person", ANN)


@pytest.fixture
def password(served: Served, monkeypatch: pytest.MonkeyPatch) -> str:
    """Ann's password lies in the file that the environment names."""
    path = served.password_file()
    monkeypatch.setenv("MIMEPORTAL_PASSWORD_FILE", path)
    return path


@pytest.fixture
def ann(run: Run, served: Served, password: str, monkeypatch: pytest.MonkeyPatch) -> Served:
    """Ann is logged in, by the profile `default`, and the environment is empty again."""
    done = run("auth", "login", "--url", served.url, *PERSON)
    assert done.code == 0, done.err
    monkeypatch.delenv("MIMEPORTAL_PASSWORD_FILE")
    return served


def app_login(run: Run, served: Served, kind: str, monkeypatch: pytest.MonkeyPatch, *more: str) -> Done:
    with monkeypatch.context() as patch:
        for name, value in getattr(served, kind).items():
            patch.setenv(name, value)
        return run("auth", "login", "--url", served.url, f"--{kind}", *more)


def status(run: Run, *more: str) -> dict[str, object]:
    shown: dict[str, object] = json.loads(run("auth", "status", "-o", "json", *more).out)
    return shown


def bound(served: Served) -> int:
    """How many bindings ann has."""
    with served.portal.database.read() as tx:
        person = people.find(tx, ANN)
        assert person is not None
        return int(tx.scalar(select(func.count()).select_from(bindings).where(bindings.c.person_id == person.id)) or 0)


def secrets_folder() -> Path:
    return Path(os.environ["MIMEPORTAL_CONFIG_DIR"]) / "secrets"


class TestThreeWays:
    def test_a_person(self, run: Run, ann: Served) -> None:
        shown = status(run)
        assert shown.pop("binding_ends") is not None
        assert shown == {
            "profile": "default",
            "url": ann.url,
            "api": "local",
            "login": "person",
            "user": ANN,
            "secret": str(secrets_folder() / "default.json"),
            "accepted": True,
        }
        assert len(run("holds", "list").lines) == 6
        assert run("holds", "release", "--from", "shop.example", "--yes").last.startswith("Released 3 (profile default")
        assert bound(ann) == 1
        assert run("auth", "logout").err == f"Logged out of {ann.url}; the profile default stays.\n"
        assert bound(ann) == 0
        assert not list(secrets_folder().iterdir())
        done = run("holds", "list")
        assert done.code == 4
        assert "mimeportal auth login" in done.last
        assert run("auth", "logout").err == "The profile default is not logged in.\n"

    def test_a_binding_that_cannot_be_kept_is_ended(self, run: Run, served: Served, password: str) -> None:
        secrets_folder().parent.mkdir(exist_ok=True, mode=0o700)
        secrets_folder().write_text("in the way")
        done = run("auth", "login", "--url", served.url, *PERSON)
        assert done.code == 2, done.err
        assert done.err.startswith("The secret ")
        assert bound(served) == 0

    @pytest.mark.parametrize("kind", ["app2", "app1"])
    def test_an_app(self, run: Run, served: Served, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        done = app_login(run, served, kind, monkeypatch, "-P", "work")
        assert done.code == 0, done.err
        assert f"\nLogged in at {served.url}: profile work.\n" in done.err
        shown = status(run)
        assert (shown["login"], shown["accepted"], shown["binding_ends"]) == (kind, True, None)
        assert len(run("holds", "list", "--queue", "admin").lines) == 8
        assert run("auth", "logout").code == 0
        assert run("auth", "status").code == 4
        # The app's own keys are not ended by that: they come from an administrator, and cannot be had again.
        assert app_login(run, served, kind, monkeypatch, "-P", "work").code == 0

    def test_the_secrets_are_kept_and_nothing_else(self, run: Run, ann: Served) -> None:
        kept = json.loads((secrets_folder() / "default.json").read_text())
        assert set(kept) == {"url", "login", "app_id", "app_key", "access_key", "secret_key", "ends"}
        profiles = Path(os.environ["MIMEPORTAL_CONFIG_DIR"], "profiles.json").read_text()
        assert not any(kept[name] in profiles for name in ("app_key", "access_key", "secret_key"))

    def test_where_it_is_kept_is_told(self, run: Run, served: Served, password: str) -> None:
        done = run("auth", "login", "--url", served.url, *PERSON, "-q")
        assert done.err == (
            f"No keyring works here: the secret lies in {secrets_folder()}/default.json, which only you can read.\n"
        )


class TestProfiles:
    def test_the_first_becomes_current(self, run: Run, ann: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        assert Store.open().is_current("default")
        done = app_login(run, ann, "app2", monkeypatch, "-P", "app")
        assert "\nUse it with -P app, or from now on: mimeportal profiles use app\n" in done.err
        assert Store.open().is_current("default")

    def test_named_after_the_host(self, run: Run, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        Store.open().put("default", url="https://elsewhere.example")
        assert app_login(run, served, "app2", monkeypatch).code == 0
        host = served.url.removeprefix("http://")
        assert Store.open().get(host).login == "app2"
        assert app_login(run, served, "app2", monkeypatch).code == 0
        Store.open().put(host, url="https://another.example")
        done = app_login(run, served, "app2", monkeypatch)
        assert (done.code, done.last) == (2, "Name it with -P NAME.")

    def test_once_more(self, run: Run, ann: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither portal nor way need be said again, and the binding lives on."""
        monkeypatch.setenv("MIMEPORTAL_PASSWORD_FILE", ann.password_file())
        done = run("auth", "login")
        assert done.code == 0, done.err
        assert done.last == f"Logged in as {ANN} at {ann.url}: profile default."
        assert bound(ann) == 1

    def test_in_another_way(self, run: Run, ann: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        assert app_login(run, ann, "app2", monkeypatch).code == 0
        assert status(run)["login"] == "app2"
        assert bound(ann) == 0, "what nobody keeps has ended"

    def test_portal_of_the_environment(
        self, run: Run, served: Served, password: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MIMEPORTAL_URL", served.url)
        monkeypatch.setenv("MIMEPORTAL_PROFILE", "env")
        assert run("auth", "login", *PERSON).code == 0
        assert Store.open().get("env").url == served.url

    def test_what_the_profile_says_stays(self, run: Run, ann: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        Store.open().put("work", url=ann.url, output="jsonl", tz="Asia/Tokyo")
        assert app_login(run, ann, "app2", monkeypatch, "-P", "work").code == 0
        Store.open().use("work")
        assert run("holds", "list", "--queue", "admin").out.startswith('{"id"')

    def test_another_url_has_no_secret(self, run: Run, ann: Served) -> None:
        run("profiles", "set", "default", "--url", "http://127.0.0.1:1")
        assert run("holds", "list").code == 4
        run("profiles", "set", "default", "--url", ann.url)
        assert run("holds", "list").code == 0

    def test_removing_one_forgets_its_secret(self, run: Run, ann: Served) -> None:
        assert run("profiles", "remove", "default").code == 0
        assert not list(secrets_folder().iterdir())

    def test_show_says_where_the_secret_lies(self, run: Run, ann: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        def shown(*more: str) -> dict[str, list[str]]:
            return {line.split("\t")[0]: line.split("\t")[1:] for line in run("profiles", "show", *more).lines}

        assert shown()["login"] == ["person", "profile default"]
        assert shown()["secret"] == [str(secrets_folder() / "default.json"), "profile default"]
        monkeypatch.setenv("HTTPS_PROXY", "http://me:canary@proxy.example:3128")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "ca.pem")
        monkeypatch.setenv("MIMEPORTAL_API", "api1")
        assert shown()["proxy"] == ["http://***@proxy.example:3128", "HTTPS_PROXY"]
        assert shown()["ca_file"] == ["ca.pem", "REQUESTS_CA_BUNDLE"]
        assert shown()["api"] == ["api1", "MIMEPORTAL_API"]
        for name, value in {**ann.app2, "MIMEPORTAL_URL": ann.url}.items():
            monkeypatch.setenv(name, value)
        assert shown()["secret"] == ["MIMEPORTAL_CLIENT_ID, MIMEPORTAL_CLIENT_SECRET", "MIMEPORTAL_URL"]
        assert shown()["login"] == ["app2", "MIMEPORTAL_URL"]


class TestEnvironment:
    @pytest.mark.parametrize("kind", ["app2", "app1"])
    def test_an_app(self, run: Run, served: Served, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {**getattr(served, kind), "MIMEPORTAL_URL": served.url}.items():
            monkeypatch.setenv(name, value)
        assert len(run("holds", "list", "--queue", "admin").lines) == 8
        assert status(run)["secret"] == ", ".join(getattr(served, kind))
        done = run("auth", "logout")
        assert done.code == 2
        assert "come from the environment" in done.err

    def test_a_person(self, run: Run, served: Served, password: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_URL", served.url)
        monkeypatch.setenv("MIMEPORTAL_USER", ANN)
        assert len(run("holds", "list").lines) == 6
        assert bound(served) == 0, "a binding that nobody keeps has ended"

    def test_restricted_to_one_api(self, run: Run, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {**served.app2, "MIMEPORTAL_URL": served.url, "MIMEPORTAL_API": "api2"}.items():
            monkeypatch.setenv(name, value)
        assert len(run("holds", "list", "--queue", "admin").lines) == 8
        assert run("senders", "list").code == 8
        monkeypatch.setenv("MIMEPORTAL_API", "api3")
        done = run("holds", "list")
        assert done.code == 2
        assert "named by MIMEPORTAL_API" in done.err

    def test_mixes_are_refused(self, run: Run, ann: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setenv("MIMEPORTAL_CLIENT_ID", "id")
            for arguments in ((), ("-P", "default")):
                done = run("holds", "list", *arguments)
                assert done.code == 2
                assert "profile 'default'" in done.err
                assert "MIMEPORTAL_CLIENT_ID" in done.err
            # A whole source is not mixed with another: -P comes first.
            patch.setenv("MIMEPORTAL_URL", "https://elsewhere.example")
            assert run("holds", "list", "-P", "default").code == 0
        monkeypatch.setenv("MIMEPORTAL_USER", "bob@example.com")
        done = run("holds", "list")
        assert done.code == 2
        assert "bob@example.com from MIMEPORTAL_USER" in done.err

    @pytest.mark.parametrize("kind", ["app2", "app1"])
    def test_what_it_logged_in_with_may_stay_there(
        self, run: Run, served: Served, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = getattr(served, kind)
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        assert run("auth", "login", "--url", served.url, f"--{kind}").code == 0
        assert len(run("holds", "list", "--queue", "admin").lines) == 8
        changed = list(given)[-1]
        monkeypatch.setenv(changed, "another")
        done = run("holds", "list", "--queue", "admin")
        assert done.code == 2
        assert f"credentials from {changed}" in done.err

    def test_the_password_of_a_person_may_stay_there(
        self, run: Run, ann: Served, password: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It renews their binding when that has expired, at the address that the profile names."""
        monkeypatch.setenv("MIMEPORTAL_PASSWORD_FILE", password)
        assert len(run("holds", "list").lines) == 6
        with ann.portal.database.write() as tx:
            tx.execute(update(bindings).where(bindings.c.expires.is_not(None)).values(expires=1))
        assert len(run("holds", "list").lines) == 6
        monkeypatch.delenv("MIMEPORTAL_PASSWORD_FILE")
        with ann.portal.database.write() as tx:
            tx.execute(update(bindings).where(bindings.c.expires.is_not(None)).values(expires=1))
        done = run("holds", "list")
        assert done.code == 4
        assert "mimeportal auth login" in done.err

    def test_half_a_set(self, run: Run, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_URL", served.url)
        monkeypatch.setenv("MIMEPORTAL_CLIENT_ID", "id")
        done = run("holds", "list")
        assert done.code == 2
        assert "without MIMEPORTAL_CLIENT_SECRET" in done.err

    def test_none_at_all(self, run: Run, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_URL", served.url)
        done = run("holds", "list")
        assert done.code == 4
        assert "mimeportal help environment" in done.last


class TestRefused:
    def refused(self, run: Run, served: Served, *arguments: str) -> Done:
        done = run("auth", "login", "--url", served.url, *arguments)
        assert list(Store.open().all()) == []
        assert not secrets_folder().exists()
        with served.portal.database.read() as tx:
            made = tx.scalar(select(func.count()).select_from(bindings))
        assert made == 1, "the app's own, and no other"
        assert len(done.err.splitlines()) == 3
        return done

    def test_wrong_password(self, run: Run, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_PASSWORD_FILE", served.password_file("Wrong-Pass-1"))
        assert self.refused(run, served, *PERSON).code == 4

    @pytest.mark.parametrize("kind", ["app2", "app1"])
    def test_wrong_keys(self, run: Run, served: Served, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        wrong = {name: value[::-1] for name, value in getattr(served, kind).items()}
        for name, value in {**getattr(served, kind), list(wrong)[-1]: "AAAA"}.items():
            monkeypatch.setenv(name, value)
        assert self.refused(run, served, f"--{kind}").code == 4

    @pytest.mark.parametrize(
        ("name", "told"),
        [("dom", "of its organisation's directory"), ("sso", "by single sign-on"), ("two", "second")],
    )
    def test_other_ways_to_log_in(self, run: Run, served: Served, password: str, name: str, told: str) -> None:
        done = self.refused(run, served, "--person", f"{name}@example.com")
        assert done.code == 4
        assert told in done.err
        assert "for an API application: `mimeportal auth login --app2`" in done.last

    @pytest.mark.parametrize(
        ("arguments", "lacking"),
        [
            (("--app2",), "MIMEPORTAL_CLIENT_ID, MIMEPORTAL_CLIENT_SECRET"),
            (
                ("--app1",),
                "MIMEPORTAL_APP_ID, MIMEPORTAL_APP_KEY, MIMEPORTAL_ACCESS_KEY, MIMEPORTAL_SECRET_KEY",
            ),
            (PERSON, "MIMEPORTAL_PASSWORD_FILE"),
        ],
    )
    def test_nobody_can_be_asked(self, run: Run, served: Served, arguments: tuple[str, ...], lacking: str) -> None:
        done = self.refused(run, served, *arguments)
        assert done.code == 2
        assert f"lacks {lacking}." in done.err

    @pytest.mark.parametrize("arguments", [(), ("--app2", "--app1"), ("--app2", *PERSON)])
    def test_one_way_is_needed(self, run: Run, served: Served, arguments: tuple[str, ...]) -> None:
        done = self.refused(run, served, *arguments)
        assert (done.code, done.last) == (2, "Give one of --app2, --app1 and --person ADDRESS.")

    @pytest.mark.parametrize("person", ["", "ann", "ann@"])
    def test_no_address(self, run: Run, served: Served, password: str, person: str) -> None:
        assert self.refused(run, served, "--person", person).code == 2

    @pytest.mark.parametrize(
        "url", ["ftp://x.example", "http://x.example", "https://", "https://u:canary@x.example", "https://x.example/y"]
    )
    def test_no_url(self, run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        done = run("auth", "login", "--app2", "--url", url)
        assert done.code == 2
        assert "canary" not in done.err

    def test_a_portal_in_this_process(self, run: Run, password: str) -> None:
        for arguments in (("--url", "local:home"), ("-P", "here")):
            Store.open().put("here", url="local:home")
            done = run("auth", "login", *PERSON, *arguments)
            assert done.code == 2
            assert "needs no log-in" in done.err

    def test_nobody_is_there(self, run: Run, password: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retry, "backoff", lambda *_: 0)
        done = run("auth", "login", "--url", "http://127.0.0.1:1", *PERSON, "--timeout", "1")
        assert done.code == 6


class TestMimecast:
    """Its hosts are stood in for by the portal, which answers as they do."""

    def test_api2_has_one_host(self, run: Run, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(regions, "GATEWAY", served.url)
        for name, value in served.app2.items():
            monkeypatch.setenv(name, value)
        assert run("auth", "login", "--app2").code == 0
        assert Store.open().get("default").url == served.url

    def test_the_region_of_an_address(self, run: Run, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(regions, "DISCOVERY", served.url)
        for name, value in served.app1.items():
            monkeypatch.setenv(name, value)
        done = run("auth", "login", "--app1")
        assert done.code == 2
        assert "Which of Mimecast's regions?" in done.err
        monkeypatch.setenv("MIMEPORTAL_USER", ANN)
        assert run("auth", "login", "--app1").code == 0
        monkeypatch.setenv("MIMEPORTAL_PASSWORD_FILE", served.password_file())
        assert run("auth", "login", "-P", "ann", *PERSON).code == 0
        assert Store.open().get("ann").url == served.url

    def test_a_person_needs_an_application(self, run: Run, password: str) -> None:
        done = run("auth", "login", *PERSON)
        assert done.code == 2
        assert "MIMEPORTAL_APP_ID, MIMEPORTAL_APP_KEY" in done.err


class TestOneTimePasswords:
    def test_then_one_of_their_own(self, run: Run, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        with served.portal.write() as tx:
            person = people.find(tx, "bob@example.com")
            assert person is not None
            once = people.reset(tx, int(person.id), served.portal.clock.now())
        monkeypatch.setenv("MIMEPORTAL_PASSWORD_FILE", served.password_file(once))
        login = ("auth", "login", "--url", served.url, "--person", "bob@example.com")
        done = run(*login)
        assert "one-time password: set one of your own with `mimeportal account password`." in done.err
        monkeypatch.delenv("MIMEPORTAL_PASSWORD_FILE")
        done = run("account", "password")
        assert done.code == 2
        assert "MIMEPORTAL_NEW_PASSWORD_FILE" in done.err
        monkeypatch.setenv("MIMEPORTAL_NEW_PASSWORD_FILE", served.password_file("simple"))
        assert run("account", "password").code == 1
        monkeypatch.setenv("MIMEPORTAL_NEW_PASSWORD_FILE", served.password_file("Brand-New-2"))
        done = run("account", "password")
        assert (done.code, done.err.splitlines()) == (
            0,
            ["The password is set, and every log-in has ended: log in again with `mimeportal auth login`."],
        )
        assert run("auth", "status").code == 4
        monkeypatch.setenv("MIMEPORTAL_PASSWORD_FILE", served.password_file("Brand-New-2"))
        done = run(*login)
        assert (done.code, "one-time" in done.err) == (0, False)

    def test_the_current_one_is_asked_for(self, run: Run, ann: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_NEW_PASSWORD_FILE", ann.password_file("Brand-New-2"))
        assert run("account", "password").code == 1
        monkeypatch.setenv("MIMEPORTAL_PASSWORD_FILE", ann.password_file("Wrong-Pass-1"))
        assert run("account", "password").code == 4
        monkeypatch.setenv("MIMEPORTAL_PASSWORD_FILE", ann.password_file())
        assert run("account", "password").code == 0

    def test_an_app_has_none(self, run: Run, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        app_login(run, served, "app2", monkeypatch)
        monkeypatch.setenv("MIMEPORTAL_NEW_PASSWORD_FILE", served.password_file("Brand-New-2"))
        assert run("account", "password").code == 4


class TestStatus:
    def test_a_binding_that_ended(self, run: Run, ann: Served) -> None:
        with ann.portal.write() as tx:
            tx.execute(bindings.delete())
        done = run("auth", "status", "-o", "json")
        assert done.code == 4
        assert json.loads(done.out)["accepted"] is False
        assert len(done.err.splitlines()) == 3
        assert run("auth", "logout").code == 0

    def test_nobody_is_there(self, run: Run, ann: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retry, "backoff", lambda *_: 0)
        run("profiles", "set", "default", "--url", "http://127.0.0.1:1")
        secret = secrets_folder() / "default.json"
        secret.write_text(secret.read_text().replace(ann.url, "http://127.0.0.1:1"))
        assert run("auth", "status", "--timeout", "1").code == 6
        done = run("auth", "logout", "--timeout", "1")
        assert done.code == 0
        assert "lives on until its end" in done.err
        assert not secret.exists()

    def test_a_portal_in_this_process(self, run: Run, home: Path) -> None:
        shown = status(run)
        assert (shown["accepted"], shown["secret"], shown["login"]) == (True, "", None)


class TestDiscover:
    @pytest.mark.parametrize(
        ("address", "ways", "usable"),
        [
            (ANN, ["Basic-Cloud"], ["Basic-Cloud"]),
            ("nobody@example.com", ["Basic-Cloud"], ["Basic-Cloud"]),
            ("dom@example.com", ["Basic-AD"], []),
            ("sso@example.com", ["SAML"], []),
        ],
    )
    def test_ways(self, run: Run, served: Served, address: str, ways: list[str], usable: list[str]) -> None:
        done = run("auth", "discover", address, "--url", served.url, "-o", "json")
        assert json.loads(done.out) == {
            "address": address,
            "region": "local",
            "api": served.url,
            "authenticate": ways,
            "usable": usable,
        }

    def test_of_the_current_profile(self, run: Run, ann: Served) -> None:
        assert run("auth", "discover", ANN).code == 0
        assert run("auth", "discover", "nonsense").code == 2

    def test_mimecast_wants_an_application(self, run: Run) -> None:
        done = run("auth", "discover", ANN)
        assert done.code == 2
        assert "MIMEPORTAL_APP_ID" in done.err


class TestTyped:
    """On a terminal: what is secret is asked for, and not shown while it is typed."""

    @pytest.fixture
    def child(self) -> Iterator[list[pexpect.spawn[str]]]:
        children: list[pexpect.spawn[str]] = []
        yield children
        for child in children:
            child.close(force=True)

    def start(self, child: list[pexpect.spawn[str]], *arguments: str) -> pexpect.spawn[str]:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "dumb"}
        child.append(
            pexpect.spawn(
                sys.executable, ["-m", "mimeportal_cli", *arguments], env=environ, encoding="utf-8", timeout=30
            )
        )
        return child[0]

    def test_an_app(self, child: list[pexpect.spawn[str]], served: Served) -> None:
        typed = self.start(child, "auth", "login", "--app2", "--url", served.url)
        typed.expect("Client id: ")
        typed.sendline(served.app["client_id"])
        typed.expect("Client secret: ")
        typed.sendline(served.app["client_secret"])
        typed.expect(pexpect.EOF)
        assert served.app["client_secret"] not in typed.before
        typed.wait()
        assert typed.exitstatus == 0, typed.before

    def test_a_password(self, child: list[pexpect.spawn[str]], ann: Served) -> None:
        typed = self.start(child, "account", "password")
        typed.expect("Current password .*: ")
        typed.sendline(PASSWORD)
        typed.expect("New password: ")
        typed.sendline("Brand-New-2")
        typed.expect("New password, once more: ")
        typed.sendline("Brand-New-3")
        typed.expect(pexpect.EOF)
        assert "not the same; nothing was changed" in typed.before
        assert "Brand-New" not in typed.before
        typed.wait()
        assert typed.exitstatus == 2

    def test_nothing_is_declined(self, child: list[pexpect.spawn[str]], served: Served) -> None:
        typed = self.start(child, "auth", "login", *PERSON, "--url", served.url)
        typed.expect("Password: ")
        typed.sendline("")
        typed.expect(pexpect.EOF)
        typed.wait()
        assert typed.exitstatus == 7


class TestCanary:
    """No secret is printed, in whatever format, nor is any a value of an option."""

    def commands(self, *forms: str) -> Iterator[tuple[str, ...]]:
        for form in forms:
            for line in ("auth status", "profiles show", "profiles list"):
                yield (*line.split(), "-o", form)
        for line in (
            "auth discover ann@example.com -o json",
            "account show -o json",
            "holds list -o json",
            "holds show nonsense",
            "holds list --queue nonsense",
            "api /api/portal/account/whoami",
            "api /api/nonsense --yes",
            "api /api/gateway/hold-release -d {} --yes",
            "auth login",
            "auth logout",
            "auth status",
            "holds list",
        ):
            yield tuple(line.split())

    @pytest.mark.parametrize("kind", ["person", "app2", "app1"])
    def test_nothing_is_shown(
        self, run: Run, served: Served, kind: str, password: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if kind == "person":
            done = run("auth", "login", "--url", served.url, *PERSON, "--debug", "-v")
        else:
            done = app_login(run, served, kind, monkeypatch, "--debug", "-v")
        assert done.code == 0, done.err
        kept = json.loads((secrets_folder() / "default.json").read_text())
        canaries = {PASSWORD, *(kept.get(name) for name in ("client_secret", "app_key", "access_key", "secret_key"))}
        monkeypatch.delenv("MIMEPORTAL_PASSWORD_FILE")
        shown = [done.out, done.err]
        for arguments in self.commands("table", "json", "jsonl", "csv", "tsv"):
            done = run(*arguments, "--debug", "-v")
            shown += [done.out, done.err]
        monkeypatch.setenv("MIMEPORTAL_URL", served.url)
        for variables in (served.app2, served.app1):
            with monkeypatch.context() as patch:
                for name, value in variables.items():
                    patch.setenv(name, f"{value}\n" if name.endswith("ACCESS_KEY") else value)
                for arguments in self.commands("json"):
                    done = run(*arguments, "--debug", "-v")
                    shown += [done.out, done.err]
        canaries |= {served.app[name] for name in ("client_secret", "app_key", "access_key", "secret_key")}
        text = "".join(shown)
        assert "Traceback" in text
        assert [canary for canary in canaries if canary and canary in text] == []

    def test_no_option_takes_a_secret(self) -> None:
        def walk(command: click.Command) -> Iterator[click.Parameter]:
            yield from command.params
            if isinstance(command, click.Group):
                context = click.Context(command)
                for name in command.list_commands(context):
                    child = command.get_command(context, name)
                    assert child is not None
                    yield from walk(child)

        # A flag says nothing, and the name of a file is none.
        valued = [one for one in walk(cli) if not getattr(one, "is_flag", False) and one.metavar != "FILE"]
        named = {name for parameter in valued for name in parameter.opts}
        assert not {name for name in named if any(word in name for word in ("secret", "password", "access", "token"))}
