"""`mimeportal profiles`: portals by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mimeportal_cli.options import Group, LocalCommand, option, settings
from mimeportal_cli.output import FORMATS, Output, Shape, output_options

if TYPE_CHECKING:
    from mimeportal.profiles import Target

# As `mimeportal.profiles.PROFILE_FIELDS`; a test compares them.
PROFILES = Shape(
    ("name", "url", "user", "output", "tz", "login", "api", "ca_file", "proxy", "current"),
    table=("name", "url", "user", "login", "current"),
    cells={"current": lambda value, _, __: "*" if value else ""},
    empty="There are no profiles: make one with `mimeportal auth login`.",
)
VALUES = Shape(("name", "value", "source"))
_SHOWN = ("profile", "url", "user", "login", "api", "output", "tz", "ca_file", "proxy")
# What the environment says of connections, where a profile says nothing.
_CONNECTION = {
    "ca_file": ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"),
    "proxy": ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"),
}


@click.group(cls=Group)
def profiles() -> None:
    """Portals by name: where they are and whose."""


@profiles.command("list", cls=LocalCommand)
@output_options(PROFILES)
def list_(output: Output) -> None:
    """List the profiles."""
    from dataclasses import asdict

    from mimeportal.profiles import Store

    store = Store.open()
    output.rows(asdict(profile) | {"current": store.is_current(profile.name)} for profile in store.all())


@profiles.command()
@click.argument("name", required=False)
@output_options(VALUES, limit=False)
def show(name: str | None, output: Output) -> None:
    """Show where a command would go, each value with its source; or the profile NAME.

    Of a secret it shows where it lies, never what it is.
    """
    from mimeportal import profiles as sdk

    chosen = settings()
    target = sdk.resolve(url=chosen.url, profile=name or chosen.profile)
    rows = [_row(key, getattr(target, key), target.sources.get(key)) for key in _SHOWN]
    rows.insert(_SHOWN.index("login") + 1, _row("secret", *_secret(target)))
    rows.append(_row("file", str(sdk.Store.open().path), _file_source()))
    output.rows(rows)


def _row(name: str, value: str | None, source: str | None) -> dict[str, str | None]:
    import os
    import re

    for variable in _CONNECTION.get(name, ()) if not value else ():
        if os.environ.get(variable):
            value, source = re.sub(r"//[^@/]*@", "//***@", os.environ[variable]), variable
            break
    return {"name": name, "value": value or None, "source": source}


def _secret(target: Target) -> tuple[str, str | None]:
    from mimeportal import credentials
    from mimeportal.errors import AuthenticationError

    try:
        _, where = credentials.lookup(target)
    except AuthenticationError as fault:
        return f"unknown: {fault.what} {fault.why}", target.sources.get("login")
    return where, target.sources.get("login") if where else None


def _file_source() -> str:
    import os

    return "MIMEPORTAL_CONFIG_DIR" if os.environ.get("MIMEPORTAL_CONFIG_DIR") else "default"


@profiles.command(cls=LocalCommand)
@click.argument("name")
@option("--url", metavar="URL", help="https://HOST; or local:DIR, the folder of a local portal.")
@option("--user", metavar="ADDRESS", help="Whose portal.")
@option("--output", type=click.Choice(["", *FORMATS]), metavar="FORMAT", help="The output format preferred with it.")
@option("--tz", metavar="ZONE", help="The time zone preferred with it.")
@option(
    "--api",
    type=click.Choice(["", "api1", "api2", "local"]),
    metavar="API",
    help="Only what this API offers: api1, api2 or local. Default: by URL and log-in.",
)
@option("--ca-file", metavar="FILE", help="Trust the certificates in FILE in place of the usual ones.")
@option("--proxy", metavar="URL", help="Go through this proxy.")
@option("--use", is_flag=True, help="Make it the current one.")
def set(name: str, use: bool, **values: str | None) -> None:
    """Make the profile NAME, or change it. An empty value takes one off. The first becomes the current one.

    A secret is stored by `mimeportal auth login`; with another URL it is no longer there.
    """
    from mimeportal.profiles import Store

    store = Store.open()
    profile = store.put(name, **values)
    if use:
        store.use(name)
    current = ", the current profile" if store.is_current(name) else ""
    settings().console.note(f"{name}{current}: {profile.url}" + (f", {profile.user}" if profile.user else ""))


@profiles.command(cls=LocalCommand)
@click.argument("name")
def use(name: str) -> None:
    """Make NAME the current profile."""
    from mimeportal.profiles import Store

    profile = Store.open().use(name)
    settings().console.note(f"{name} is the current profile: {profile.url}")


@profiles.command(cls=LocalCommand)
@click.argument("name")
def remove(name: str) -> None:
    """Forget the profile NAME and its secret. The portal itself stays as it is."""
    from mimeportal import credentials
    from mimeportal.profiles import Store

    store = Store.open()
    if store.get(name).login:
        credentials.forget(name)
    store.remove(name)
    settings().console.note(f"The profile {name} is removed.")
