"""`mimeportal auth`: log in and out, and how an address may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mimeportal_cli.exits import ExitCode, tell
from mimeportal_cli.options import Group, option, settings
from mimeportal_cli.output import Output, Shape, output_options

if TYPE_CHECKING:
    from mimeportal.credentials import Credentials, Login
    from mimeportal.errors import MimeportalError
    from mimeportal.profiles import Profile, Store, Target

STATUS = Shape(("profile", "url", "api", "login", "user", "secret", "accepted", "binding_ends"))
WAYS = Shape(("address", "region", "api", "authenticate", "usable"))
# What is asked for where the environment does not say it: visible, or hidden while it is typed.
_PROMPTS = {
    "client_id": ("Client id", False),
    "client_secret": ("Client secret", True),
    "app_id": ("Application id", False),
    "app_key": ("Application key", True),
    "access_key": ("Access key", True),
    "secret_key": ("Secret key", True),
    "password": ("Password", True),
}


@click.group(cls=Group)
def auth() -> None:
    """Log in and out, and how an address may."""


@auth.command()
@option("--app2", is_flag=True, help="An application of API 2.0: client id and secret.")
@option("--app1", is_flag=True, help="An application of API 1.0: its id and key, access key, secret key.")
@option("--person", metavar="ADDRESS", help="A person, with a cloud password.")
def login(app2: bool, app1: bool, person: str | None) -> None:
    """Log in, and keep the log-in as a profile: its secret in the keyring, or in a file of yours alone.

    Secrets are asked for on a terminal; elsewhere they come from the environment: see
    `mimeportal help environment`. Without --url: the profile's portal, else Mimecast's, whose region follows
    from the address. Without --app2, --app1 and --person: as the profile logged in before.

    \b
    Examples:
      mimeportal auth login --app2
      mimeportal auth login -P work --url https://portal.example --person ann@example.com
    """
    from dataclasses import replace

    from mimeportal import credentials
    from mimeportal.addresses import parse_address
    from mimeportal.auth import logging_in
    from mimeportal.errors import ConfigurationError
    from mimeportal.profiles import Store

    console = settings().console
    store = Store.open()
    profile = _profile(store)
    kind = _kind(profile, app2=app2, app1=app1, person=person)
    address = parse_address(person or profile.user) if kind == "person" else profile.user
    values = _values(kind, profile)
    before = _bound(store, profile.name)
    renewed = before[1] if before and address == before[0].user else None
    with console.waiting("Logging in"):
        done = logging_in.log_in(replace(profile, user=address), kind, values, settings().timeout, renewed)
    try:
        store.put(profile.name, url=done.url, login=kind, user=done.user or None)
        where = credentials.save(profile.name, done.url, done.credentials)
    except ConfigurationError:
        if kind == "person" and not renewed:
            logging_in.end_binding(replace(profile, url=done.url, user=address), done.credentials, settings().timeout)
        raise
    if before and before[1].access_key != done.credentials.access_key:
        _end_binding(*before)
    if where != credentials.KEYRING:
        console.warn(f"No keyring works here: the secret lies in {where}, which only you can read.")
    console.note(f"Logged in{f' as {done.user}' if done.user else ''} at {done.url}: profile {profile.name}.")
    if not store.is_current(profile.name):
        console.note(f"Use it with -P {profile.name}, or from now on: mimeportal profiles use {profile.name}")
    if done.one_time:
        console.warn("That was a one-time password: set one of your own with `mimeportal account password`.")


def _profile(store: Store) -> Profile:
    """The profile that is meant, as it is or new, with the URL that is asked for; "" for Mimecast's."""
    import os
    from dataclasses import replace

    from mimeportal.profiles import Profile
    from mimeportal.urls import portal_url

    chosen = settings()
    known = {profile.name: profile for profile in store.all()}
    asked = chosen.url and portal_url(chosen.url)
    named = chosen.profile or os.environ.get("MIMEPORTAL_PROFILE")
    if named in known:
        return replace(known[named], url=asked or known[named].url)
    url = asked or portal_url(os.environ["MIMEPORTAL_URL"]) if asked or os.environ.get("MIMEPORTAL_URL") else ""
    user = os.environ.get("MIMEPORTAL_USER", "")
    if named:
        return Profile(named, url, user)
    current = store.current()
    if current and url in ("", current.url):
        return current
    for name in ("default", url.rpartition("/")[2] or "mimecast"):
        if name not in known:
            return Profile(name, url, user)
        if known[name].url == url:
            return known[name]
    from mimeportal.errors import UsageError

    raise UsageError("Which profile? None is named, and the obvious names are taken.", remedy="Name it with -P NAME.")


def _kind(profile: Profile, *, app2: bool, app1: bool, person: str | None) -> Login:
    from mimeportal.errors import UsageError

    asked: list[Login] = []
    if app2:
        asked.append("app2")
    if app1:
        asked.append("app1")
    if person is not None:
        asked.append("person")
    if len(asked) == 1:
        return asked[0]
    for kind in ("app2", "app1", "person") if not asked else ():
        if profile.login == kind:
            return kind
    raise UsageError(
        "One way to log in is needed." if not asked else "Two ways to log in at once.",
        why="An application of API 2.0 or 1.0, or a person with a password.",
        remedy="Give one of --app2, --app1 and --person ADDRESS.",
    )


def _values(kind: Login, profile: Profile) -> dict[str, str]:
    """What the log-in takes: from the environment, else asked for."""
    import os

    from mimeportal import credentials
    from mimeportal.auth import logging_in
    from mimeportal.errors import ConfigurationError

    console = settings().console
    given = credentials.read_environment(os.environ)
    app = ("app_id", "app_key")
    needed = credentials.NEEDS[kind]
    if kind == "person" and (set(app) & set(given) or logging_in.at_mimecast(profile.url)):
        needed = (*app, *needed)
    missing = [name for name in needed if name not in given]
    if missing and not console.interactive:
        raise ConfigurationError(
            f"Nobody can be asked here, and the environment lacks {', '.join(map(credentials.variable, missing))}.",
            why="A secret is never an option's value.",
            remedy="Set them; each secret may lie in a file that its _FILE twin names.",
        )
    for name in missing:
        prompt, hidden = _PROMPTS[name]
        given[name] = console.ask_secret(prompt) if hidden else console.ask(prompt)
    return {name: given[name] for name in needed}


def _bound(store: Store, name: str) -> tuple[Target, Credentials] | None:
    """The binding that a person has had until now in the profile of this name."""
    from mimeportal import credentials
    from mimeportal.errors import MimeportalError
    from mimeportal.profiles import bare

    profile = next((known for known in store.all() if known.name == name and known.login == "person"), None)
    if profile is None:
        return None
    try:
        found, _ = credentials.stored(name, profile.url)
    except MimeportalError:
        return None  # broken or locked: what replaces it is new
    return (bare(profile), found) if found else None


def _end_binding(target: Target, found: Credentials) -> None:
    """End a person's binding at the portal. One that has ended already, or an app's own keys, are left alone."""
    from mimeportal.errors import AuthenticationError, MimeportalError
    from mimeportal.portal import Portal

    if found.login != "person" or not found.access_key:
        return
    try:
        with Portal.to(target, settings().timeout, credentials=found) as portal:
            portal.auth.logout(found.access_key)
    except AuthenticationError:
        pass
    except MimeportalError as fault:
        settings().console.warn(f"The portal could not be told; the binding there lives on until its end. {fault.what}")


@auth.command()
def logout() -> None:
    """End the log-in: a person's binding at the portal, and the stored secret. The profile stays.

    An application's keys go on at the portal, where an administrator revokes them; here they are forgotten.
    """
    from mimeportal import credentials
    from mimeportal.errors import UsageError
    from mimeportal_cli.opening import target

    console = settings().console
    where = target()
    if not where.profile:
        raise UsageError(
            "Nothing is stored: the credentials come from the environment, or none are needed.",
            remedy="Unset the variables, or name a profile with -P NAME.",
        )
    found = credentials.load(where)
    if found is None:
        console.note(f"The profile {where.profile} is not logged in.")
        return
    _end_binding(where, found)
    credentials.forget(where.profile)
    console.note(f"Logged out of {where.url}; the profile {where.profile} stays.")


@auth.command()
@output_options(STATUS, limit=False)
def status(output: Output) -> int:
    """Show whether the portal accepts the log-in, where its secret lies, and until when a binding lasts.

    Exit code 4 when it is not accepted.
    """
    from mimeportal import credentials
    from mimeportal.auth import logging_in
    from mimeportal.errors import AuthenticationError
    from mimeportal.portal import Portal
    from mimeportal_cli.opening import target

    where = target()
    found, lies = credentials.lookup(where)
    refused: MimeportalError | None = None
    with Portal.to(where, settings().timeout, credentials=found) as portal:
        try:
            logging_in.ask(portal)
        except AuthenticationError as fault:
            refused = fault
        output.one(
            {
                "profile": where.profile,
                "url": where.url,
                "api": portal.session.api,
                "login": found.login if found else where.login,
                "user": where.user,
                "secret": lies,
                "accepted": refused is None,
                "binding_ends": (found and found.ends) or None,
            }
        )
    return ExitCode.DONE if refused is None else tell(refused, settings())


@auth.command()
@click.argument("address", metavar="EMAIL")
@output_options(WAYS, limit=False)
def discover(address: str, output: Output) -> None:
    """Show where an address is served, and how it may log in.

    At Mimecast this takes the id of an application of API 1.0: MIMEPORTAL_APP_ID.
    """
    import os

    from mimeportal import credentials, regions
    from mimeportal.auth import logging_in
    from mimeportal.profiles import Profile, Store

    profile = _asked(Store.open()) or Profile("", regions.DISCOVERY)
    app_id = credentials.read_environment(os.environ).get("app_id")
    with logging_in.opened(profile, None, settings().timeout) as portal:
        found = portal.auth.discover(address, app_id=app_id)
    output.one(
        {
            "address": found.email_address or address,
            "region": found.region.code,
            "api": found.region.api,
            "authenticate": found.authenticate,
            "usable": ["Basic-Cloud"] if logging_in.usable(found) else [],
        }
    )


def _asked(store: Store) -> Profile | None:
    """Which portal is asked: --url, a profile that is named, MIMEPORTAL_URL, the current profile; else none."""
    import os

    from mimeportal.profiles import Profile

    chosen = settings()
    named = chosen.profile or os.environ.get("MIMEPORTAL_PROFILE")
    url = chosen.url or ("" if named else os.environ.get("MIMEPORTAL_URL"))
    if url:
        return Profile("", url)
    return store.get(named) if named else store.current()
