"""Where secrets come from and where they lie: the environment, the keyring, a file; and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring.core
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null
from keyring.errors import KeyringLocked

from mimeportal import credentials, limits
from mimeportal.credentials import KEYRING, Credentials, forget, load, lookup, save
from mimeportal.errors import AuthenticationError, ConfigurationError
from mimeportal.profiles import Profile, Store, Target, bare, resolve

URL = "https://portal.example"
APP2 = {"MIMEPORTAL_CLIENT_ID": "id-of-client", "MIMEPORTAL_CLIENT_SECRET": "canary-client"}
APP1 = {
    "MIMEPORTAL_APP_ID": "id-of-app",
    "MIMEPORTAL_APP_KEY": "canary-app",
    "MIMEPORTAL_ACCESS_KEY": "canary-access",
    "MIMEPORTAL_SECRET_KEY": "canary-secret",
}
BOUND = Credentials("person", app_id="id", app_key="key", access_key="access", secret_key="secret", ends="2027-01-15")


class Memory(KeyringBackend):
    """A keyring that works."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


class Failing(Memory):
    """A keyring that fails with what it is given."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self.fault = fault

    def get_password(self, service: str, username: str) -> str | None:
        raise self.fault

    def set_password(self, service: str, username: str, password: str) -> None:
        raise self.fault


class Silent(Memory):
    """A keyring that waits for somebody, until the test ends."""

    def __init__(self) -> None:
        super().__init__()
        self.end = threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        self.end.wait()
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        self.end.wait()


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    backend = Memory()
    monkeypatch.setattr(keyring.core, "_keyring_backend", backend)
    return backend


def profile(url: str = URL) -> Target:
    """The profile `work`, which says that it has a secret."""
    Store.open().put("work", url=url, login="person", user="ann@example.com")
    return resolve(profile="work")


def from_environment(values: dict[str, str]) -> Credentials | None:
    given = {"MIMEPORTAL_URL": URL, **values}
    return load(resolve(environ=given), given)


class TestEnvironment:
    def test_none(self) -> None:
        assert from_environment({}) is None
        assert from_environment({"MIMEPORTAL_USER": "ann@example.com"}) is None

    def test_whole_sets(self) -> None:
        assert from_environment(APP2) == Credentials("app2", client_id="id-of-client", client_secret="canary-client")
        assert from_environment(APP1) == Credentials(
            "app1", app_id="id-of-app", app_key="canary-app", access_key="canary-access", secret_key="canary-secret"
        )

    @pytest.mark.parametrize("app", [{}, {"MIMEPORTAL_APP_ID": "i", "MIMEPORTAL_APP_KEY": "k"}])
    def test_a_person(self, secret_file: Any, app: dict[str, str]) -> None:
        given = {"MIMEPORTAL_PASSWORD_FILE": secret_file("pass word"), "MIMEPORTAL_USER": "ann@example.com", **app}
        found = from_environment(given)
        app_id, app_key = ("i", "k") if app else ("", "")
        assert found == Credentials("person", app_id=app_id, app_key=app_key, password="pass word")
        assert resolve(environ={"MIMEPORTAL_URL": URL, **given}).login == "person"

    @pytest.mark.parametrize("values", [APP2, APP1], ids=["app2", "app1"])
    def test_any_of_them_from_a_file(self, secret_file: Any, values: dict[str, str]) -> None:
        for name, value in values.items():
            twin = {key: text for key, text in values.items() if key != name}
            twin[f"{name}_FILE"] = secret_file(value, end="\n")
            assert from_environment(twin) == from_environment(values)
            assert f"{name}_FILE" in lookup(resolve(environ={"MIMEPORTAL_URL": URL, **twin}), twin)[1]

    @pytest.mark.parametrize("values", [APP2, APP1], ids=["app2", "app1"])
    def test_half_a_set(self, values: dict[str, str]) -> None:
        for name in values:
            half = {key: text for key, text in values.items() if key != name}
            with pytest.raises(ConfigurationError) as refused:
                from_environment(half)
            assert f"without {name}." in refused.value.what
            assert all(key in refused.value.what for key in half)

    def test_half_a_person(self, secret_file: Any) -> None:
        given = {"MIMEPORTAL_PASSWORD_FILE": secret_file("x")}
        with pytest.raises(ConfigurationError, match=r"without MIMEPORTAL_USER\.$"):
            from_environment(given)
        given["MIMEPORTAL_USER"] = "ann@example.com"
        with pytest.raises(ConfigurationError, match="without MIMEPORTAL_APP_KEY"):
            from_environment({**given, "MIMEPORTAL_APP_ID": "i"})

    def test_two_kinds(self, secret_file: Any) -> None:
        person = {"MIMEPORTAL_PASSWORD_FILE": secret_file("x"), "MIMEPORTAL_USER": "ann@example.com"}
        for values in (APP2 | APP1, APP2 | person, APP1 | person, {**APP2, "MIMEPORTAL_APP_ID": "i"}):
            with pytest.raises(ConfigurationError, match="two kinds at once") as refused:
                from_environment(values)
            assert all(name in refused.value.what for name in values if name != "MIMEPORTAL_USER")

    def test_a_value_and_its_file(self, secret_file: Any) -> None:
        with pytest.raises(ConfigurationError, match="MIMEPORTAL_CLIENT_SECRET and MIMEPORTAL_CLIENT_SECRET_FILE"):
            from_environment({**APP2, "MIMEPORTAL_CLIENT_SECRET_FILE": secret_file("x")})

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
    def test_a_file_open_to_others(self, secret_file: Any, mode: int) -> None:
        path = secret_file("canary")
        Path(path).chmod(mode)
        with pytest.raises(ConfigurationError, match="open to others") as refused:
            from_environment({"MIMEPORTAL_CLIENT_ID": "i", "MIMEPORTAL_CLIENT_SECRET_FILE": path})
        assert "canary" not in f"{refused.value.what}{refused.value.why}"
        assert refused.value.remedy == f"Run: chmod 600 {path}"

    @pytest.mark.parametrize("text", ["", "\n", "two\nlines\n", "x" * (limits.SECRET_FILE + 1), "\udcff"])
    def test_a_file_without_a_secret(self, secret_file: Any, text: str) -> None:
        with pytest.raises(ConfigurationError, match="MIMEPORTAL_CLIENT_SECRET_FILE"):
            from_environment({"MIMEPORTAL_CLIENT_ID": "i", "MIMEPORTAL_CLIENT_SECRET_FILE": secret_file(text)})

    def test_no_file(self, tmp_path: Path) -> None:
        for name in (tmp_path / "none", tmp_path):
            with pytest.raises(ConfigurationError, match="MIMEPORTAL_CLIENT_SECRET_FILE"):
                from_environment({"MIMEPORTAL_CLIENT_ID": "i", "MIMEPORTAL_CLIENT_SECRET_FILE": str(name)})

    def test_a_portal_in_this_process_needs_none(self) -> None:
        given = {"MIMEPORTAL_URL": "local:home", "MIMEPORTAL_CLIENT_ID": "i"}
        assert load(resolve(environ=given), given) is None


@pytest.fixture
def secret_file(tmp_path: Path) -> Any:
    """`secret_file("text")`: the path of a file of one's own alone that holds it."""

    def make(text: str, *, end: str = "") -> str:
        path = tmp_path / f"secret-{len(list(tmp_path.iterdir()))}"
        path.touch(0o600)
        path.write_text(text + end, errors="surrogateescape")
        return str(path)

    return make


class TestKeyring:
    def test_kept_and_forgotten(self, memory: Memory) -> None:
        assert save("work", URL, BOUND) == KEYRING
        assert list(memory.kept) == [("mimeportal", "work")]
        assert lookup(profile()) == (BOUND, KEYRING)
        assert not credentials._file("work").exists()
        forget("work")
        assert memory.kept == {}
        assert lookup(profile()) == (None, "")
        forget("work")

    def test_bound_to_its_url(self, memory: Memory) -> None:
        save("work", URL, BOUND)
        assert load(profile("https://other.example")) is None
        assert load(profile(f"{URL}:8443")) is None
        assert load(profile()) == BOUND

    def test_a_password_is_not_kept(self, memory: Memory) -> None:
        save("work", URL, Credentials("person", access_key="a", password="canary"))
        assert "canary" not in str(memory.kept)

    def test_not_asked_without_need(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keyring.core, "_keyring_backend", Failing(AssertionError()))
        Store.open().put("plain", url=URL)
        assert load(resolve(profile="plain")) is None
        assert load(bare(Profile("", URL))) is None

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"url": "https://portal.example", "colour": "red"}'])
    def test_broken(self, memory: Memory, text: str) -> None:
        memory.set_password("mimeportal", "work", text)
        with pytest.raises(ConfigurationError, match="broken") as refused:
            load(profile())
        assert refused.value.remedy == "Log in again: mimeportal auth login -P work"

    @pytest.mark.parametrize("fault", [KeyringLocked("x"), RuntimeError("canary")])
    def test_locked_or_failing(self, monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
        monkeypatch.setattr(keyring.core, "_keyring_backend", Failing(fault))
        with pytest.raises(AuthenticationError, match="keyring cannot be used") as refused:
            load(profile())
        assert "canary" not in refused.value.why
        with pytest.raises(AuthenticationError):
            forget("work")
        # What is stored then lies in a file, and is found there although the keyring fails.
        assert save("work", URL, BOUND) == str(credentials._file("work"))
        assert load(profile()) == BOUND

    def test_one_that_waits_for_somebody(self, monkeypatch: pytest.MonkeyPatch, silent: Silent) -> None:
        monkeypatch.setattr(limits, "KEYRING_SECONDS", 0.05)
        with pytest.raises(AuthenticationError, match="keyring cannot be used") as refused:
            load(profile())
        assert "did not answer" in refused.value.why


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    backend = Silent()
    monkeypatch.setattr(keyring.core, "_keyring_backend", backend)
    yield backend
    backend.end.set()


class TestFile:
    @pytest.fixture(autouse=True, params=[null.Keyring, fail.Keyring])
    def none_works(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keyring.core, "_keyring_backend", request.param())

    def test_kept_and_forgotten(self) -> None:
        path = Path(save("work", URL, BOUND))
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert lookup(profile()) == (BOUND, str(path))
        forget("work")
        assert not path.exists()
        assert load(profile()) is None
        forget("work")

    def test_bound_to_its_url(self) -> None:
        save("work", URL, BOUND)
        assert load(profile("https://other.example")) is None

    def test_open_to_others(self) -> None:
        Path(save("work", URL, BOUND)).chmod(0o640)
        with pytest.raises(ConfigurationError, match="open to others"):
            load(profile())

    @pytest.mark.parametrize("name", ["..", "a:b", "c\\d", "%2e", "ü"])
    def test_any_name_is_one_file(self, name: str) -> None:
        path = Path(save(name, URL, BOUND))
        assert path.parent == credentials._file("work").parent
        assert credentials.stored(name, URL)[0] == BOUND

    def test_moves_to_a_keyring_that_works(self, monkeypatch: pytest.MonkeyPatch) -> None:
        path = Path(save("work", URL, BOUND))
        monkeypatch.setattr(keyring.core, "_keyring_backend", Memory())
        assert save("work", URL, BOUND) == KEYRING
        assert not path.exists()

    def test_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "secrets").write_text("in the way")
        monkeypatch.setenv("MIMEPORTAL_CONFIG_DIR", str(tmp_path))
        with pytest.raises(ConfigurationError, match="cannot be written"):
            save("work", URL, BOUND)


def test_nothing_is_shown_of_them() -> None:
    found = Credentials("app1", app_id="i", app_key="canary-1", access_key="canary-2", secret_key="canary-3")
    assert repr(found) == str(found) == "Credentials('app1')"
    assert credentials.redacted("x canary-1 canary-2\ncanary-3 y") == "x *** ***\n*** y"
