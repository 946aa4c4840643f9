"""Profiles, and the one rule of where a command goes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cli.conftest import Run
from mimeportal import profiles
from mimeportal.errors import ConfigurationError, UsageError
from mimeportal.profiles import Store, resolve


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Two profiles, `work` the current one, and nothing else in the environment."""
    given = {"MIMEPORTAL_CONFIG_DIR": str(tmp_path / "config")}
    Store.open(given).put("work", url="local:/work", user="ann@example.com", output="json", tz="Europe/Berlin")
    Store.open(given).put("home", url="local:/home")
    return given


class TestResolve:
    def test_current_profile(self, environ: dict[str, str]) -> None:
        target = resolve(environ=environ)
        assert (target.url, target.user, target.profile) == ("local:/work", "ann@example.com", "work")
        assert (target.output, target.tz, target.source) == ("json", "Europe/Berlin", "the current profile")

    def test_environment_before_it(self, environ: dict[str, str]) -> None:
        target = resolve(environ={**environ, "MIMEPORTAL_URL": "local:/env"})
        assert (target.url, target.user, target.profile, target.output) == ("local:/env", None, "", None)
        assert resolve(environ={**environ, "MIMEPORTAL_PROFILE": "home"}).url == "local:/home"

    def test_command_line_before_all(self, environ: dict[str, str]) -> None:
        given = {**environ, "MIMEPORTAL_URL": "local:/env"}
        assert resolve(profile="home", environ=given).url == "local:/home"
        assert resolve(url="local:/typed", environ=given).url == "local:/typed"
        assert resolve(url="local:/typed", environ={**environ, "MIMEPORTAL_PROFILE": "home"}).profile == ""

    def test_user_goes_with_any(self, environ: dict[str, str]) -> None:
        given = {**environ, "MIMEPORTAL_USER": "bob@example.com"}
        assert resolve(environ=given).user == "bob@example.com"
        assert resolve(profile="home", environ=given).user == "bob@example.com"
        assert resolve(url="local:/typed", environ=given).user == "bob@example.com"
        assert resolve(user="eve@example.com", environ=given).user == "eve@example.com"

    def test_output_of_the_environment_before_the_profiles(self, environ: dict[str, str]) -> None:
        assert resolve(environ={**environ, "MIMEPORTAL_OUTPUT": "csv"}).output == "csv"

    @pytest.mark.parametrize(
        ("arguments", "more", "named"),
        [
            ({"url": "local:/x", "profile": "work"}, {}, ("--url local:/x", "--profile work")),
            ({}, {"MIMEPORTAL_URL": "local:x", "MIMEPORTAL_PROFILE": "work"}, ("MIMEPORTAL_URL", "MIMEPORTAL_PROFILE")),
            ({}, {"MIMEPORTAL_CLIENT_ID": "id"}, ("profile 'work'", "MIMEPORTAL_CLIENT_ID")),
            ({"profile": "work"}, {"MIMEPORTAL_CLIENT_ID": "id"}, ("profile 'work'", "MIMEPORTAL_CLIENT_ID")),
            (
                {},
                {"MIMEPORTAL_PROFILE": "home", "MIMEPORTAL_PASSWORD_FILE": "f"},
                ("MIMEPORTAL_PROFILE", "MIMEPORTAL_PASSWORD_FILE"),
            ),
            ({}, {"MIMEPORTAL_SECRET_KEY_FILE": "f"}, ("profile 'work'", "MIMEPORTAL_SECRET_KEY_FILE")),
            ({"url": "https://x.example"}, {"MIMEPORTAL_APP_ID": "id"}, ("--url https", "MIMEPORTAL_APP_ID")),
            ({"url": "https://x.example"}, {}, ("--url https://x.example", "environment")),
        ],
    )  # fmt: skip
    def test_mixes_are_refused_naming_both(
        self, environ: dict[str, str], arguments: dict[str, str], more: dict[str, str], named: tuple[str, str]
    ) -> None:
        with pytest.raises(UsageError) as refused:
            resolve(**arguments, environ={**environ, **more})
        assert all(source in refused.value.what for source in named)

    def test_nothing_says_where(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="Nothing says"):
            resolve(environ={"MIMEPORTAL_CONFIG_DIR": str(tmp_path)})

    def test_no_such_profile(self, environ: dict[str, str]) -> None:
        with pytest.raises(ConfigurationError) as refused:
            resolve(profile="none", environ=environ)
        assert "home, work" in refused.value.why


class TestStore:
    def test_private_and_whole(self, environ: dict[str, str], tmp_path: Path) -> None:
        folder = tmp_path / "config"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "profiles.json").stat().st_mode & 0o777 == 0o600
        assert sorted(path.name for path in folder.iterdir()) == ["profiles.json", "profiles.lock"]

    def test_open_to_others(self, environ: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "config" / "profiles.json").chmod(0o640)
        with pytest.raises(ConfigurationError, match="open to others") as refused:
            Store.open(environ)
        assert "chmod 600" in refused.value.remedy

    @pytest.mark.parametrize(
        "text",
        ["", "{", "[]", '{"profiles": 3}', '{"profiles": {"a": {}}}', '{"profiles": {"a": {"url": 3}}}',
         '{"profiles": {"a": {"url": "local:x", "colour": "red"}}}', "\udcff"],
    )  # fmt: skip
    def test_broken(self, environ: dict[str, str], tmp_path: Path, text: str) -> None:
        (tmp_path / "config" / "profiles.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(ConfigurationError, match="broken"):
            Store.open(environ)

    def test_removing_the_current_one(self, environ: dict[str, str]) -> None:
        Store.open(environ).remove("work")
        assert Store.open(environ).current() is None
        assert [profile.name for profile in Store.open(environ).all()] == ["home"]

    @pytest.mark.parametrize("name", ["", " a", "a/b", "a\x1b", "x" * 65])
    def test_names(self, environ: dict[str, str], name: str) -> None:
        with pytest.raises(UsageError):
            Store.open(environ).put(name, url="local:/x")

    @pytest.mark.parametrize(
        "values",
        [
            {"url": ""},
            {"url": "local:"},
            {"url": "ftp://x"},
            {"url": "http://x"},
            {"url": "http://127.0.0.1.x.example"},
            {"url": "https://"},
            {"url": "https://x.example/path"},
            {"url": "https://x.example?q"},
            {"url": "https://me:canary@x.example"},
            {"url": "https://x.example:port"},
            {"url": "https://x.exa mple"},
            {"user": "nobody"},
            {"output": "xml"},
            {"tz": "Mars"},
            {"login": "root"},
            {"api": "api3"},
            {"ca_file": "none.pem"},
            {"proxy": "socks"},
            {"proxy": "http://me:canary@x.example:3128"},
        ],
        ids=str,
    )
    def test_values(self, environ: dict[str, str], values: dict[str, str]) -> None:
        with pytest.raises(UsageError) as refused:
            Store.open(environ).put("work", **values)
        assert "canary" not in f"{refused.value.what}{refused.value.why}{refused.value.remedy}"

    @pytest.mark.parametrize(
        ("typed", "kept"),
        [
            ("https://Portal.Example/", "https://portal.example"),
            ("https://portal.example:8443", "https://portal.example:8443"),
            ("http://localhost:8025", "http://localhost:8025"),
            ("http://127.0.0.1:8025/", "http://127.0.0.1:8025"),
            ("http://[::1]:8025", "http://[::1]:8025"),
        ],
    )
    def test_urls(self, environ: dict[str, str], typed: str, kept: str) -> None:
        assert Store.open(environ).put("work", url=typed).url == kept
        assert resolve(environ={**environ, "MIMEPORTAL_URL": typed}).url == kept

    def test_how_it_is_reached(self, environ: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "ca.pem").touch()
        values = {"login": "app2", "api": "api2", "ca_file": str(tmp_path / "ca.pem"), "proxy": "http://x.example:3128"}
        Store.open(environ).put("work", url="https://portal.example", **values)
        target = resolve(environ=environ)
        assert {name: getattr(target, name) for name in values} == values
        assert {target.sources[name] for name in values} == {"profile work"}
        assert resolve(environ={**environ, "MIMEPORTAL_API": "local"}).sources["api"] == "MIMEPORTAL_API"

    def test_whose_log_in(self, environ: dict[str, str]) -> None:
        Store.open(environ).put("work", url="https://portal.example", login="person")
        assert resolve(user="ann@example.com", environ=environ).user == "ann@example.com"
        with pytest.raises(UsageError, match=r"log-in of ann@example\.com in profile work, and bob@example\.com"):
            resolve(environ={**environ, "MIMEPORTAL_USER": "bob@example.com"})

    def test_platform_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert profiles.config_folder({}).name == "mimeportal"


class TestCommand:
    def test_life_of_a_profile(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MIMEPORTAL_URL")
        monkeypatch.delenv("MIMEPORTAL_USER")
        assert run("profiles", "set", "work", "--url", "local:home", "--user", "ann@example.com").code == 0
        assert run("profiles", "set", "bob", "--url", "local:home", "--user", "bob@example.com").code == 0
        assert json.loads(run("profiles", "list", "-o", "json").out)[1] == {
            "name": "work",
            "url": f"local:{home}",
            "user": "ann@example.com",
            "output": "",
            "tz": "",
            "login": "",
            "api": "",
            "ca_file": "",
            "proxy": "",
            "current": True,
        }
        assert len(run("holds", "list").lines) == 6
        assert len(run("-P", "bob", "holds", "list").lines) == 1
        assert len(run("holds", "list", "--profile", "bob").lines) == 1
        done = run("holds", "release", "--all", "--yes")
        assert done.last.startswith("Released 6 (profile work, account ")
        assert run("profiles", "use", "bob").code == 0
        assert len(run("holds", "list").lines) == 1
        assert run("profiles", "remove", "bob").code == 0
        assert run("holds", "list").code == 2
        assert run("profiles", "remove", "bob").code == 2

    def test_output_and_zone_of_the_profile(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MIMEPORTAL_URL")
        run("profiles", "set", "work", "--url", "local:home", "--output", "jsonl", "--tz", "Asia/Tokyo")
        done = run("holds", "list", "--since", "2026-01-01")
        assert done.out.startswith('{"id"')
        assert done.err == "since 2026-01-01 00:00:00+09:00 (Asia/Tokyo)\n"
        run("profiles", "set", "work", "--output", "", "--tz", "")
        assert not run("holds", "list").out.startswith("{")

    def test_show_names_sources(self, run: Run, home: Path) -> None:
        shown = {line.split("\t")[0]: line.split("\t")[1:] for line in run("profiles", "show").lines}
        assert shown["url"] == [f"local:{home}", "MIMEPORTAL_URL"]
        assert shown["user"] == ["ann@example.com", "MIMEPORTAL_USER"]
        assert shown["file"] == [f"{os.environ['MIMEPORTAL_CONFIG_DIR']}/profiles.json", "MIMEPORTAL_CONFIG_DIR"]

    def test_options_before_and_after_the_command(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MIMEPORTAL_URL")
        assert len(run("--url", f"local:{home}", "holds", "list").lines) == 6
        assert len(run("holds", "--url", f"local:{home}", "list").lines) == 6
        assert len(run("holds", "list", "--url", f"local:{home}").lines) == 6
        assert run("holds", "list", "--url", "local:nowhere").code == 2


@pytest.mark.parametrize("variable", ["MIMEPORTAL_CONFIG_DIR", "MIMEPORTAL_URL", "MIMEPORTAL_CLIENT_SECRET_FILE"])
def test_the_home_of_nobody(run: Run, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv("MIMEPORTAL_URL", "https://portal.example")
    monkeypatch.setenv("MIMEPORTAL_USER", "ann@example.com")
    monkeypatch.setenv("MIMEPORTAL_CLIENT_ID", "id")
    monkeypatch.setenv("MIMEPORTAL_CLIENT_SECRET_FILE", "/nowhere")
    nobody = "~no-such-person/x"
    monkeypatch.setenv(variable, f"local:{nobody}" if variable == "MIMEPORTAL_URL" else nobody)
    done = run("profiles", "list") if variable == "MIMEPORTAL_CONFIG_DIR" else run("holds", "list")
    assert done.code == 2
    assert done.err.startswith("Nobody's home is known for '~no-such-person/x'.")
