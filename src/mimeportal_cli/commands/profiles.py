"""`mimeportal profiles`: portals by name."""

from __future__ import annotations

import click

from mimeportal_cli.options import Group, LocalCommand, option, settings
from mimeportal_cli.output import FORMATS, Output, Shape, output_options

# As `mimeportal.profiles.PROFILE_FIELDS`; a test compares them.
PROFILES = Shape(
    ("name", "url", "user", "output", "tz", "current"),
    cells={"current": lambda value, _, __: "*" if value else ""},
    empty="There are no profiles: make one with `mimeportal profiles set NAME --url local:DIR`.",
)
VALUES = Shape(("name", "value", "source"))


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
    """Show where a command would go, each value with its source; or the profile NAME."""
    from mimeportal import profiles as sdk

    chosen = settings()
    target = sdk.resolve(url=chosen.url, profile=name or chosen.profile)
    values = {
        "profile": target.profile,
        "url": target.url,
        "user": target.user,
        "output": target.output,
        "tz": target.tz,
    }
    rows = [{"name": key, "value": value, "source": target.sources.get(key)} for key, value in values.items()]
    rows.append({"name": "file", "value": str(sdk.Store.open().path), "source": _file_source()})
    output.rows(rows)


def _file_source() -> str:
    import os

    return "MIMEPORTAL_CONFIG_DIR" if os.environ.get("MIMEPORTAL_CONFIG_DIR") else "default"


@profiles.command(cls=LocalCommand)
@click.argument("name")
@option("--url", metavar="URL", help="local:DIR, the folder of a local portal.")
@option("--user", metavar="ADDRESS", help="Whose portal.")
@option("--output", type=click.Choice(["", *FORMATS]), metavar="FORMAT", help="The output format preferred with it.")
@option("--tz", metavar="ZONE", help="The time zone preferred with it.")
@option("--use", is_flag=True, help="Make it the current one.")
def set(name: str, url: str | None, user: str | None, output: str | None, tz: str | None, use: bool) -> None:
    """Make the profile NAME, or change it. An empty value takes one off. The first becomes the current one."""
    from mimeportal.profiles import Store

    store = Store.open()
    profile = store.put(name, url=url, user=user, output=output, tz=tz)
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
    """Forget the profile NAME. The portal itself stays as it is."""
    from mimeportal.profiles import Store

    Store.open().remove(name)
    settings().console.note(f"The profile {name} is removed.")
