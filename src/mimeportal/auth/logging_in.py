"""Logging in, from what was typed to a portal that accepted it: nothing is kept before the portal did."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from mimeportal import regions
from mimeportal.account import contract as account
from mimeportal.auth import contract
from mimeportal.auth.contract import DiscoverRow
from mimeportal.credentials import Credentials, Login
from mimeportal.errors import AuthenticationError, ConfigurationError, ForbiddenError, MimeportalError, UsageError
from mimeportal.portal import Portal
from mimeportal.profiles import Profile, bare
from mimeportal.urls import LOCAL

_ONE_STEP = "one_step"
_LONGEST = 10 * 365 * 86_400_000  # milliseconds: a binding of a longer life never ends
# How an address logs in that no password of ours can help, and what its owner can do.
_ELSEWHERE = {
    contract.DOMAIN_PASSWORD: "with the password of its organisation's directory",
    contract.SINGLE_SIGN_ON: "by single sign-on",
}
_ANOTHER_WAY = ("err_xdk_two_step_required", "err_xdk_authentication_type")  # failures of a local portal
_REMEDY = "Ask an administrator for a cloud password, or for an API application: `mimeportal auth login --app2`."


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A log-in that the portal accepted. `user` is a person's address, "" for an app."""

    url: str
    credentials: Credentials
    user: str = ""
    one_time: bool = False


def log_in(
    profile: Profile,
    login: Login,
    values: Mapping[str, str],
    timeout: float | None = None,
    before: Credentials | None = None,
) -> LoggedIn:
    """Log in, and make one call to see that the portal accepts it. Nothing is stored.

    `profile` says where: its `url` may be "" for Mimecast, whose region then follows from the address in `user`.
    `values` are those that `credentials.NEEDS` names, for a person also `app_id` and `app_key`, which a local portal
    has of its own. `before` is the person's binding until now, which lives on: their number is limited
    (mimecast-api-core 2.3).

    Raises `ConfigurationError` for what is missing, `AuthenticationError` when the portal does not accept it, or when
    the address logs in by something else than a cloud password.
    """
    if profile.url.startswith(LOCAL):
        raise UsageError(
            f"{profile.url} needs no log-in.",
            why="It is opened inside this process, and whoever may open the folder is trusted with it.",
            remedy="Name a portal with --url https://HOST, and a profile for it with -P NAME.",
        )
    if login == "person":
        return _person(profile, values, timeout, before)
    found = Credentials(login, **values)
    if not profile.url:
        url = regions.GATEWAY if login == "app2" else _region(profile, found, timeout)
        profile = replace(profile, url=url)
    _check(profile, found, timeout)
    return LoggedIn(profile.url, found)


def usable(found: DiscoverRow) -> bool:
    """Whether an address may log in by a password that is checked here."""
    return contract.CLOUD_PASSWORD in found.authenticate


def at_mimecast(url: str) -> bool:
    """Whether a URL is one of Mimecast's own; "" is, too."""
    return not url or regions.global_url(url) == regions.DISCOVERY


def opened(profile: Profile, found: Credentials | None, timeout: float | None) -> Portal:
    """A portal with the credentials given, and none of any other source."""
    return Portal.to(bare(profile), timeout, credentials=found)


def _person(profile: Profile, values: Mapping[str, str], timeout: float | None, before: Credentials | None) -> LoggedIn:
    address, url = profile.user, profile.url
    app = {name: values[name] for name in ("app_id", "app_key") if values.get(name)}
    if len(app) < 2:
        if at_mimecast(url):
            raise ConfigurationError(
                "A person logs in to Mimecast through an application of API 1.0, and its id and key are missing.",
                remedy="Set MIMEPORTAL_APP_ID and MIMEPORTAL_APP_KEY, or their _FILE twins.",
            )
        with opened(profile, None, timeout) as portal:
            own = portal.auth.app()
            app = {"app_id": own.app_id, "app_key": own.app_key}
    named = Credentials("person", **app)
    with opened(replace(profile, url=url or regions.DISCOVERY), named, timeout) as portal:
        found = portal.auth.discover(address)
    _refuse_elsewhere(address, found)
    profile = replace(profile, url=url or _known(found))
    with opened(profile, named, timeout) as portal:
        known = before.access_key if before and before.app_id == named.app_id else None
        try:
            row = portal.auth.login(address, values["password"], access_key=known)
        except AuthenticationError as fault:
            if fault.code in _ANOTHER_WAY:
                fault.remedy = _REMEDY
            raise
        bound = replace(named, access_key=row.access_key, secret_key=row.secret_key, ends=_end(row.duration))
    if row.binding_type not in ("", _ONE_STEP):
        raise AuthenticationError(
            f"{address} logs in with a second factor.",
            why=f"The portal wants another step ({row.binding_type}) that only its web pages have; nothing was stored.",
            remedy=_REMEDY,
        )
    try:
        _check(profile, bound, timeout)
    except MimeportalError:
        if not known:
            end_binding(profile, bound, timeout)
        raise
    return LoggedIn(profile.url, bound, user=address, one_time=bool(row.password_is_one_time))


def _end(milliseconds: int) -> str:
    """When a binding of that life ends; "" where it never does, or is not told."""
    if not 0 < milliseconds < _LONGEST:
        return ""
    return (datetime.now(UTC) + timedelta(milliseconds=milliseconds)).isoformat(timespec="seconds")


def end_binding(profile: Profile, found: Credentials, timeout: float | None) -> None:
    """End a binding that nothing was stored of: nobody else knows its keys, and an address has but so many."""
    with suppress(MimeportalError), opened(profile, found, timeout) as portal:
        portal.auth.logout(found.access_key)


def _region(profile: Profile, found: Credentials, timeout: float | None) -> str:
    """Where Mimecast serves an address."""
    if not profile.user:
        raise ConfigurationError(
            "Which of Mimecast's regions? Neither its URL nor an address is named.",
            why="Each region of API 1.0 has a host of its own.",
            remedy="Add --url https://eu-api.mimecast.com (or us-api, ...), or set MIMEPORTAL_USER.",
        )
    with opened(replace(profile, url=regions.DISCOVERY), found, timeout) as portal:
        return _known(portal.auth.discover(profile.user))


def _known(found: DiscoverRow) -> str:
    """The URL of a region; that it is a known one has been checked when it was asked for."""
    if not found.region.api:
        raise ConfigurationError(
            f"Mimecast does not tell the region of {found.email_address}.",
            remedy="Name its URL: --url https://eu-api.mimecast.com, or us-api, ...",
        )
    return found.region.api


def _refuse_elsewhere(address: str, found: DiscoverRow) -> None:
    if usable(found):
        return
    ways = [_ELSEWHERE.get(way, f"by {way}") for way in found.authenticate] or ["by no way that the portal tells"]
    raise AuthenticationError(
        f"{address} logs in {' or '.join(ways)}.",
        why="mimeportal asks for cloud passwords only (Basic-Cloud); no password was sent, nothing was stored.",
        remedy=_REMEDY,
    )


def _check(profile: Profile, found: Credentials, timeout: float | None) -> None:
    with opened(profile, found, timeout) as portal:
        ask(portal)


def ask(portal: Portal) -> None:
    """One call that any log-in may make. Raises `AuthenticationError` when the portal does not accept it."""
    try:
        if portal.session.offers(account.WHOAMI):
            portal.account.whoami()
        else:
            portal.account.show()
    except ForbiddenError:
        pass  # logged in, and not allowed to see the account
