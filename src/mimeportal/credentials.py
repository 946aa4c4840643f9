"""What a caller logs in with, and where it is kept: the keyring, else the environment or a file of mode 0600.

A profile's secrets are one JSON text, bound to the URL they were made for: under another URL they are not there.
They lie in the keyring, or, where none works, in `secrets/NAME.json` beside the profiles; never in both. This is
the only module that knows of the keyring, and it is asked only when a profile says that it has a secret.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mimeportal import limits
from mimeportal.errors import AuthenticationError, ConfigurationError
from mimeportal.profiles import config_folder, from_home, mixed, open_to_others, write_private
from mimeportal.urls import LOCAL

if TYPE_CHECKING:
    from mimeportal.profiles import Target

Login = Literal["app2", "app1", "person"]

_FOLDER = "secrets"
SERVICE = "mimeportal"  # of the keyring's entries; the user name of each is the profile's
KEYRING = "the keyring"
# What each kind of log-in needs. A person's app is the portal's own where none is named.
NEEDS: dict[Login, tuple[str, ...]] = {
    "app2": ("client_id", "client_secret"),
    "app1": ("app_id", "app_key", "access_key", "secret_key"),
    "person": ("password",),
}
_APP = ("app_id", "app_key")
_SECRET = ("client_secret", "app_key", "access_key", "secret_key", "password")
_T = TypeVar("_T")
_seen: set[str] = set()


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """The secrets of one log-in. Never printed: the representation shows its kind alone.

    login   `app2`: an application of API 2.0 (`client_id`, `client_secret`); `app1`: one of API 1.0 with the keys
            of a binding (`app_id`, `app_key`, `access_key`, `secret_key`); `person`: the same keys, of a person
            who logged in with a password, which renews the binding when it has expired if it is at hand
    ends    when the binding expires (ISO 8601), where the portal told it
    """

    login: Login
    client_id: str = ""
    client_secret: str = ""
    app_id: str = ""
    app_key: str = ""
    access_key: str = ""
    secret_key: str = ""
    password: str = ""
    ends: str = ""

    def __post_init__(self) -> None:
        # Shorter ones are no secrets that a portal gives out, and taking them away would garble every text.
        _seen.update(secret for name in _SECRET if len(secret := getattr(self, name)) >= limits.PASSWORD_SHORTEST)

    def __repr__(self) -> str:
        return f"Credentials({self.login!r})"


def redacted(text: str) -> str:
    """A text without any secret that this process has held, for what a failure shows of itself."""
    for secret in sorted(_seen, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def load(target: Target, environ: Mapping[str, str] | None = None) -> Credentials | None:
    """The credentials that go with a target, from the one source of its URL; None when there are none.

    A portal inside this process (`local:DIR`) needs none. Raises `ConfigurationError` for half a set, for two
    kinds at once, and for a file that others can read; `AuthenticationError` when the keyring is locked.
    """
    return lookup(target, environ)[0]


def lookup(target: Target, environ: Mapping[str, str] | None = None) -> tuple[Credentials | None, str]:
    """As `load`, together with where the secret lies: variables, a file, the keyring; "" for nowhere."""
    given = os.environ if environ is None else environ
    if target.url.startswith(LOCAL):
        return None, ""
    if target.profile:
        if not target.login:
            return None, ""
        kept, where = stored(target.profile, target.url)
        return _beside(kept, target, given), where
    if target.source != "MIMEPORTAL_URL":
        return None, ""  # a URL that stands alone
    found = from_environment(given, target.user)
    return found, ", ".join(_named(given).values()) if found else ""


def _beside(kept: Credentials | None, target: Target, given: Mapping[str, str]) -> Credentials | None:
    """A profile's credentials, where the environment still has what it logged in with, or nothing, beside them.

    The password of a person renews an expired binding. Raises `UsageError` for credentials of somebody else.
    """
    if given.get("MIMEPORTAL_URL"):
        return kept  # the environment means another portal; the command line chose this one
    named = _named(given)
    values = read_environment(given) if named else {}
    password = values.pop("password", "") if target.login == "person" else ""
    others = [named[name] for name, value in values.items() if kept is None or getattr(kept, name) != value]
    if others:
        raise mixed(f"the profile {target.profile!r}", ", ".join(others))
    return replace(kept, password=password) if kept and password else kept


# -- the environment -------------------------------------------------------------------------------------------


def variable(name: str) -> str:
    """The environment variable of one value: `client_id` is `MIMEPORTAL_CLIENT_ID`."""
    return f"MIMEPORTAL_{name.upper()}" + ("_FILE" if name == "password" else "")


def from_environment(given: Mapping[str, str], user: str | None) -> Credentials | None:
    """The credentials that the environment has; None when it has none.

    Raises `ConfigurationError` naming the variables of half a set, and of two kinds at once.
    """
    named = _named(given)
    kinds: list[Login] = [kind for kind, needed in NEEDS.items() if _of_kind(kind, named) & set(needed)]
    if not kinds:
        return None
    if len(kinds) > 1:
        raise ConfigurationError(
            f"The environment has credentials of two kinds at once: {', '.join(named.values())}.",
            why="One of them would be left out, and nothing says which.",
            remedy="Unset those of one kind.",
        )
    (kind,) = kinds
    needed = NEEDS[kind] + (_APP if kind == "person" and set(_APP) & set(named) else ())
    missing = [variable(name) for name in needed if name not in named]
    if kind == "person" and not user:
        missing.append("MIMEPORTAL_USER")
    if missing:
        raise ConfigurationError(
            f"The environment has half a log-in: {', '.join(named.values())} without {', '.join(missing)}.",
            why="A variable may name a file in its place: MIMEPORTAL_SECRET_KEY_FILE for MIMEPORTAL_SECRET_KEY.",
            remedy="Set the rest, or unset all of them.",
        )
    values = read_environment(given)
    return Credentials(kind, **{name: values[name] for name in needed})


def read_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Every value of a log-in that the environment has, by name, those of files read."""
    return {
        name: read_secret(from_home(given[variable]), variable) if variable.endswith("_FILE") else given[variable]
        for name, variable in _named(given).items()
    }


def _of_kind(kind: Login, named: Mapping[str, str]) -> set[str]:
    """What of the values belongs to one kind: an app's id goes with a person's password too."""
    return set(named) - set(_APP) if kind == "app1" and "password" in named else set(named)


def _named(given: Mapping[str, str]) -> dict[str, str]:
    """Which variable has each value. Raises `ConfigurationError` when both it and its file are given."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(name for needed in NEEDS.values() for name in needed):
        plain = variable(name).removesuffix("_FILE")
        here = [one for one in (plain, f"{plain}_FILE") if given.get(one) and one != "MIMEPORTAL_PASSWORD"]
        if len(here) > 1:
            raise ConfigurationError(
                f"{' and '.join(here)} are both set.", why="Each of them has the value.", remedy="Unset one of them."
            )
        if here:
            found[name] = here[0]
    return found


def read_secret(path: Path, named_by: str) -> str:
    """The one line of a secret file that a variable names. Raises `ConfigurationError`: none, or open to others."""
    try:
        text = _private_text(path, f"The file {path} of {named_by}")
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no file {path}, which {named_by} names.", remedy="Name the file that holds the secret."
        ) from None
    line = text.removesuffix("\n").removesuffix("\r")
    if not line or not line.isprintable():
        raise ConfigurationError(
            f"The file {path} of {named_by} does not hold one line of text.",
            remedy="Write the secret into it, and nothing else.",
        )
    return line


def _private_text(path: Path, told: str) -> str:
    """What a file of the owner's alone says. Raises `FileNotFoundError`, `ConfigurationError` for all else."""
    try:
        with path.open("rb") as file:
            others = open_to_others(file.fileno())
            octets = file.read(limits.SECRET_FILE + 1)
        if others:
            raise ConfigurationError(
                f"{told} is open to others.",
                why=f"Its mode grants {others:03o} beyond the owner, and it holds a secret.",
                remedy=f"Run: chmod 600 {path}",
            )
        if len(octets) > limits.SECRET_FILE:
            raise ConfigurationError(f"{told} is longer than any secret.", remedy="Name the file that holds it.")
        return octets.decode()
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise ConfigurationError(f"{told} cannot be read: {fault.strerror}.", remedy="Look at the file.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{told} is no text.", remedy="Name the file that holds the secret.") from None


# -- what a profile has stored ---------------------------------------------------------------------------------


def save(name: str, url: str, credentials: Credentials) -> str:
    """Keep the secret of a profile, bound to its URL; returns where: `KEYRING`, or the path of a file.

    The password itself is never kept. Raises `ConfigurationError` when the file cannot be written.
    """
    kept = {key: value for key, value in asdict(credentials).items() if value and key != "password"}
    text = json.dumps({"url": url, **kept})
    path = _file(name)
    try:
        _with_keyring(lambda backend: backend.set_password(SERVICE, name, text))
    except (_NoKeyring, AuthenticationError):
        try:
            write_private(path, text.encode())
        except OSError as fault:
            raise ConfigurationError(f"The secret {path} cannot be written: {fault.strerror}.") from None
        return str(path)
    path.unlink(missing_ok=True)
    return KEYRING


def forget(name: str) -> None:
    """Remove the secret of a profile from wherever it lies. Raises `AuthenticationError` when the keyring is locked."""
    path = _file(name)
    if path.exists():
        path.unlink()
        return

    def remove(backend: Any) -> None:
        if backend.get_password(SERVICE, name) is not None:
            backend.delete_password(SERVICE, name)

    with suppress(_NoKeyring):
        _with_keyring(remove)


def _file(name: str) -> Path:
    from urllib.parse import quote

    return config_folder() / _FOLDER / f"{quote(name, safe='')}.json"


def stored(name: str, url: str) -> tuple[Credentials | None, str]:
    """The secret that a profile has for a URL, and where it lies. Raises as `load` does."""
    path = _file(name)
    text: str | None
    try:
        text, where = _private_text(path, f"The secret {path}"), str(path)
    except FileNotFoundError:
        try:
            text, where = _with_keyring(lambda backend: backend.get_password(SERVICE, name)), KEYRING
        except _NoKeyring:
            text = None
    if text is None:
        return None, ""
    try:
        document = json.loads(text)
        if document.pop("url") != url:
            return None, ""
        return Credentials(**document), where
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ConfigurationError(
            f"The secret of the profile {name!r} in {where} is broken: this is not what mimeportal writes.",
            remedy=f"Log in again: mimeportal auth login -P {name}",
        ) from None


# -- the keyring -----------------------------------------------------------------------------------------------


class _NoKeyring(Exception):
    """This machine has no keyring that works."""


def _with_keyring(act: Callable[[Any], _T]) -> _T:
    """What an act on the keyring brings. At a terminal a person may be asked to unlock it; else nobody is.

    Raises `_NoKeyring`, or `AuthenticationError` when it is locked, broken, or silent for too long.
    """
    if sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty():
        return _on_keyring(act, asking=True)
    brought: list[_T] = []
    faults: list[BaseException] = []

    def work() -> None:
        try:
            brought.append(_on_keyring(act, asking=False))
        except BaseException as fault:
            faults.append(fault)

    # Whatever the keyring waits for, nobody is there to give it: the thread is left behind.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(limits.KEYRING_SECONDS)
    if faults:
        raise faults[0]
    if not brought:
        raise _unusable(f"It did not answer within {limits.KEYRING_SECONDS} seconds.")
    return brought[0]


def _on_keyring(act: Callable[[Any], _T], *, asking: bool) -> _T:
    import keyring
    from keyring.errors import KeyringLocked, NoKeyringError

    try:
        backend = keyring.get_keyring()
        # Those below 1 forget, fail, or keep secrets where others can read them (keyring's own scale).
        if backend.priority < 1:
            raise _NoKeyring
        if not asking and any(map(_would_ask, getattr(backend, "backends", [backend]))):
            raise _unusable("It is locked, and without a terminal nobody is asked to unlock it.")
        return act(backend)
    except (_NoKeyring, NoKeyringError):
        raise _NoKeyring from None
    except AuthenticationError:
        raise
    except KeyringLocked:
        raise _unusable("It is locked.") from None
    except Exception as fault:  # each backend has errors of its own
        raise _unusable(f"It failed ({type(fault).__name__}).") from None


def _would_ask(backend: Any) -> bool:
    """Whether a Secret Service would show a window to unlock itself; other keyrings say so by failing."""
    secretstorage = getattr(sys.modules.get(type(backend).__module__), "secretstorage", None)
    if secretstorage is None:
        return False
    with closing(secretstorage.dbus_init()) as bus:
        try:
            return bool(secretstorage.Collection(bus).is_locked())
        except secretstorage.ItemNotFoundException:
            raise _NoKeyring from None  # none was ever made, and making one asks


def _unusable(why: str) -> AuthenticationError:
    return AuthenticationError(
        "The keyring cannot be used.",
        why=why,
        remedy="Unlock it, or set MIMEPORTAL_URL and credentials in the environment: `mimeportal help environment`.",
    )
