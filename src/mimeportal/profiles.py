"""Where to go: profiles kept in a file, and the one rule that chooses among them, the environment and the command line.

First match wins: what the caller names, the environment, the current profile. A URL and the credentials for it
always come from one source; a mix is refused, but for what a profile itself logged in with. `MIMEPORTAL_USER` (whose
portal) is no credential and goes with any.
The secrets themselves are the business of `credentials.py`.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import tzinfo
from pathlib import Path
from typing import Any

from mimeportal.errors import ConfigurationError, UsageError
from mimeportal.urls import LOCAL, check_proxy, portal_url

FORMATS = ("table", "json", "jsonl", "csv", "tsv")
LOGINS = ("app2", "app1", "person")
APIS = ("api1", "api2", "local")
_CREDENTIALS = (
    "MIMEPORTAL_CLIENT_ID",
    "MIMEPORTAL_CLIENT_SECRET",
    "MIMEPORTAL_APP_ID",
    "MIMEPORTAL_APP_KEY",
    "MIMEPORTAL_ACCESS_KEY",
    "MIMEPORTAL_SECRET_KEY",
)
CREDENTIALS = (*_CREDENTIALS, *(f"{name}_FILE" for name in _CREDENTIALS), "MIMEPORTAL_PASSWORD_FILE")


@dataclass(frozen=True, slots=True)
class Profile:
    """One named portal: where it is and how it is reached. No secret is ever in it.

    url      `https://HOST`, `http://` to this machine, or `local:DIR`
    user     whose portal: an address
    output   the output format preferred with it; `tz` the time zone
    login    what its stored secret is: `app2`, `app1` or `person`; "" without one
    api      `api1`, `api2` or `local`, where that does not follow from URL and login
    ca_file  certificates that are trusted in place of the usual ones
    proxy    the URL of a proxy, in place of the environment's
    """

    name: str
    url: str
    user: str = ""
    output: str = ""
    tz: str = ""
    login: str = ""
    api: str = ""
    ca_file: str = ""
    proxy: str = ""


PROFILE_FIELDS = (*(entry.name for entry in fields(Profile)), "current")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call goes: the values of a `Profile`, None where there is none.

    `profile` is "" when no profile was used; `sources` tells where each value came from.
    """

    url: str
    user: str | None
    profile: str
    source: str
    output: str | None
    tz: str | None
    login: str | None = None
    api: str | None = None
    ca_file: str | None = None
    proxy: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)


def resolve(
    url: str | None = None,
    user: str | None = None,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Target:
    """Where to go, by the rule in the first lines of this module.

    Raises `UsageError` for a mix, naming both sources; `ConfigurationError` when nothing says where to go, or a
    profile that is named does not exist.
    """
    given = os.environ if environ is None else environ
    if url and profile:
        raise _mixed(f"--url {url}", f"--profile {profile}", "Each of them says which portal.")
    if url:
        if not url.startswith(LOCAL):
            credentials = next((name for name in CREDENTIALS if given.get(name)), "the environment or a profile")
            raise _mixed(
                f"the URL from --url {url}", f"credentials from {credentials}", "--url stands alone only for local:DIR."
            )
        return _target(Profile("", url), "the command line", given, user)
    if profile:
        chosen = Store.open(given).get(profile)
        if not given.get("MIMEPORTAL_URL"):
            _refuse_mix(chosen, f"the profile {profile!r} of the command line", given)
        return _target(chosen, "the command line", given, user)
    named, addressed = given.get("MIMEPORTAL_PROFILE"), given.get("MIMEPORTAL_URL")
    if named and addressed:
        raise _mixed(f"MIMEPORTAL_PROFILE={named}", f"MIMEPORTAL_URL={addressed}", "Each of them says which portal.")
    if addressed:
        return _target(Profile("", portal_url(addressed), login=_login_in(given)), "MIMEPORTAL_URL", given, user)
    if named:
        chosen = Store.open(given).get(named)
        _refuse_mix(chosen, f"the profile {named!r} of MIMEPORTAL_PROFILE", given)
        return _target(chosen, "MIMEPORTAL_PROFILE", given, user)
    return _current(given, user)


def bare(profile: Profile) -> Target:
    """A portal without credentials of any source: to log in, or to ask how an address may. Raises `UsageError`."""
    return Target(
        url=portal_url(profile.url),
        user=profile.user or None,
        profile="",
        source="the command line",
        output=None,
        tz=None,
        api=profile.api or None,
        ca_file=profile.ca_file or None,
        proxy=profile.proxy or None,
    )


def _current(given: Mapping[str, str], user: str | None) -> Target:
    current = Store.open(given).current()
    if current is None:
        raise ConfigurationError(
            "Nothing says which portal to use.",
            why="No --profile, no --url, no MIMEPORTAL_URL, and no current profile.",
            remedy="Run `mimeportal auth login`, or set MIMEPORTAL_URL=local:DIR for a portal in a folder.",
        )
    _refuse_mix(current, f"the current profile {current.name!r}", given)
    return _target(current, "the current profile", given, user)


def _refuse_mix(chosen: Profile, told: str, given: Mapping[str, str]) -> None:
    """Credentials beside a profile that has none of its own. Those of a log-in are compared in `credentials.py`."""
    credentials = next((name for name in CREDENTIALS if given.get(name)), None)
    if credentials and not chosen.login:
        raise mixed(told, credentials)


def mixed(profile: str, variables: str) -> UsageError:
    """The refusal of credentials of the environment beside a profile's URL."""
    return _mixed(
        f"the URL of {profile}",
        f"credentials from {variables}",
        "A URL and its credentials come from one source: the profile keeps what it logged in with.",
    )


def _login_in(given: Mapping[str, str]) -> str:
    """What kind of credentials an environment has, whole or not; `credentials.py` looks closer."""
    if given.get("MIMEPORTAL_PASSWORD_FILE"):
        return "person"
    named = [name for name in CREDENTIALS if given.get(name)]
    return "" if not named else "app2" if "CLIENT" in named[0] else "app1"


def _target(chosen: Profile, source: str, given: Mapping[str, str], user: str | None) -> Target:
    profile = f"profile {chosen.name}"
    values: dict[str, str | None] = {}
    sources = {"url": f"{profile}, from {source}" if chosen.name else source}
    if chosen.name:
        sources["profile"] = source
    for name, asked, variable, kept in (
        ("user", user, "MIMEPORTAL_USER", chosen.user),
        ("output", None, "MIMEPORTAL_OUTPUT", chosen.output),
        ("tz", None, "", chosen.tz),
        ("login", None, "", chosen.login),
        ("api", None, "MIMEPORTAL_API", chosen.api),
        ("ca_file", None, "", chosen.ca_file),
        ("proxy", None, "", chosen.proxy),
    ):
        named = given.get(variable) if variable else None
        values[name] = asked or named or kept or None
        if values[name]:
            sources[name] = "the command line" if asked else variable if named else profile if chosen.name else source
    if values["api"] and values["api"] not in APIS:
        raise ConfigurationError(
            f"There is no API {values['api']!r}, named by {sources['api']}.", remedy=f"Use one of: {', '.join(APIS)}."
        )
    if chosen.name and chosen.login == "person" and str(values["user"]).casefold() != chosen.user.casefold():
        raise _mixed(
            f"the log-in of {chosen.user} in {profile}",
            f"{values['user']} from {sources['user']}",
            "Whoever logged in with a password asks for themselves alone.",
        )
    return Target(url=chosen.url, profile=chosen.name, source=source, sources=sources, **values)


def _mixed(first: str, second: str, why: str) -> UsageError:
    return UsageError(
        f"Two sources at once: {first}, and {second}.", why=why, remedy="Leave one of them out, or make a profile."
    )


def config_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The folder of settings: `MIMEPORTAL_CONFIG_DIR`, else the one this system has for it."""
    named = (os.environ if environ is None else environ).get("MIMEPORTAL_CONFIG_DIR")
    if named:
        return from_home(named)
    from platformdirs import user_config_dir

    return Path(user_config_dir("mimeportal"))


def from_home(path: str) -> Path:
    """A path in which `~` stands for somebody's home. Raises `ConfigurationError` where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigurationError(f"Nobody's home is known for {path!r}.", remedy="Write the whole path.") from None


class Store:
    """The profiles in `profiles.json`: a file of mode 0600 in a folder of mode 0700, replaced whole."""

    def __init__(self, path: Path, profiles: dict[str, Profile], current: str | None) -> None:
        self.path = path
        self._profiles = profiles
        self._current = current

    @classmethod
    def open(cls, environ: Mapping[str, str] | None = None) -> Store:
        """Read the file; none is no profiles. Raises `ConfigurationError` when it is broken or open to others."""
        path = config_folder(environ) / "profiles.json"
        return cls(path, *_load(path))

    def all(self) -> Iterator[Profile]:
        """Every profile, by name."""
        return iter(sorted(self._profiles.values(), key=lambda profile: profile.name))

    def get(self, name: str) -> Profile:
        """A profile by name. Raises `ConfigurationError` listing the names there are."""
        if name not in self._profiles:
            known = ", ".join(profile.name for profile in self.all())
            raise ConfigurationError(
                f"There is no profile {name!r}.",
                why=f"The profiles are {known}." if known else f"There are no profiles in {self.path}.",
                remedy=f"Make it with `mimeportal auth login -P {name}`, or with `mimeportal profiles set {name}`.",
            )
        return self._profiles[name]

    def current(self) -> Profile | None:
        return self._profiles.get(self._current or "")

    def is_current(self, name: str) -> bool:
        return name == self._current

    def put(self, name: str, **changes: str | None) -> Profile:
        """Make or change a profile; what is None stays as it is. The first profile becomes the current one."""
        if not name or not name.isprintable() or name != name.strip() or "/" in name or len(name) > 64:
            raise UsageError(f"Not a name for a profile: {name!r}.", remedy="Use letters, digits and hyphens.")
        with self._changing():
            before = self._profiles.get(name, Profile(name, ""))
            after = replace(before, **{key: value for key, value in changes.items() if value is not None})
            _check(after)
            # A profile is used from any folder.
            url, file = portal_url(after.url), after.ca_file
            if url.startswith(LOCAL):
                url = f"{LOCAL}{os.path.abspath(os.path.expanduser(url.removeprefix(LOCAL)))}"
            after = replace(after, url=url, ca_file=file and os.path.abspath(os.path.expanduser(file)))
            self._profiles[name] = after
            if self.current() is None:
                self._current = name
        return after

    def use(self, name: str) -> Profile:
        """Make a profile the current one. Raises `ConfigurationError` when there is none of the name."""
        with self._changing():
            profile = self.get(name)
            self._current = name
        return profile

    def remove(self, name: str) -> None:
        """Forget a profile. Raises `ConfigurationError` when there is none of the name."""
        with self._changing():
            self.get(name)
            del self._profiles[name]
            if self._current == name:
                self._current = None

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Read the file again, let it be changed, and save it, while nobody else does."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.path.with_name("profiles.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as fault:
            raise ConfigurationError(f"The profiles {self.path} cannot be written: {fault.strerror}.") from None
        try:
            _lock(lock)
            self._profiles, self._current = _load(self.path)
            yield
            self._save()
        finally:
            os.close(lock)

    def _save(self) -> None:
        entries = {
            profile.name: {key: value for key, value in asdict(profile).items() if key != "name" and value}
            for profile in self.all()
        }
        text = json.dumps({"current": self._current, "profiles": entries}, indent=2) + "\n"
        try:
            write_private(self.path, text.encode())
        except OSError as fault:
            raise ConfigurationError(f"The profiles {self.path} cannot be written: {fault.strerror}.") from None


def _load(path: Path) -> tuple[dict[str, Profile], str | None]:
    try:
        with path.open("rb") as file:
            others = open_to_others(file.fileno())
            octets = file.read()
    except FileNotFoundError:
        return {}, None
    except OSError as fault:
        raise ConfigurationError(f"The profiles {path} cannot be read: {fault.strerror}.") from None
    if others:
        raise ConfigurationError(
            f"The profiles {path} are open to others.",
            why=f"Their mode grants {others:03o} beyond the owner.",
            remedy=f"Run: chmod 600 {path}",
        )
    try:
        document = json.loads(octets)
        profiles = {name: _read(name, entry) for name, entry in document["profiles"].items()}
        current = document.get("current")
        chosen = current if current in profiles else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ConfigurationError(
            f"The profiles {path} are broken: this is not what mimeportal writes.",
            remedy="Mend the file, or remove it and make the profiles anew with `mimeportal profiles set`.",
        ) from None
    return profiles, chosen


def _lock(descriptor: int) -> None:
    """Wait until nobody else holds the lock; it ends with the descriptor. Not every system has such locks."""
    try:
        import fcntl
    except ImportError:
        return
    with suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _read(name: str, entry: Mapping[str, Any]) -> Profile:
    profile = Profile(name, **entry)
    if not all(isinstance(value, str) for value in asdict(profile).values()) or not profile.url:
        raise TypeError
    return profile


def _check(profile: Profile) -> None:
    if not profile.url:
        raise UsageError(
            f"The profile {profile.name!r} has no URL.", remedy="Name it with --url https://HOST, or --url local:DIR."
        )
    portal_url(profile.url)
    for what, value, known in (
        ("output", profile.output, FORMATS),
        ("log-in", profile.login, LOGINS),
        ("API", profile.api, APIS),
    ):
        if value and value not in known:
            raise UsageError(f"There is no {what} {value!r}.", remedy=f"Use one of: {', '.join(known)}.")
    if profile.ca_file and not os.path.isfile(os.path.expanduser(profile.ca_file)):
        raise UsageError(f"There is no file {profile.ca_file}.", remedy="Name a file of certificates in PEM form.")
    if profile.proxy:
        check_proxy(profile.proxy)
    if profile.user:
        from mimeportal.addresses import parse_address

        parse_address(profile.user)
    if profile.tz:
        time_zone(profile.tz)


def time_zone(name: str) -> tzinfo:
    """A time zone by its name. Raises `UsageError` when there is none."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UsageError(
            f"There is no time zone {name!r}.", remedy="Name it as Europe/London, America/New_York or UTC."
        ) from None


def open_to_others(descriptor: int) -> int:
    """What the mode of a file grants beyond its owner; nothing where modes say nothing."""
    return 0 if os.name == "nt" else stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077


def write_private(path: Path, octets: bytes) -> None:
    """Replace a file whole: mode 0600, in a folder that is made with mode 0700."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with suppress(FileNotFoundError):
        part.unlink()
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
