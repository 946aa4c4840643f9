"""`mimeportal-server apps`: the programs that act here for the account, and what they log in with."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from mimeportal_cli.options import option, settings
from mimeportal_cli.output import Output, Shape, output_options
from mimeportal_server.cli.main import _home, _portal, _record, main

_APPS = Shape(("name", "client_id", "app_id", "role", "created", "revoked"), empty="No applications yet.")


@main.group()
def apps() -> None:
    """Applications: programs that log in by API 2.0 or 1.0."""


@apps.command("add")
@click.argument("name")
@option("--role", type=click.Choice(("user", "administrator")), default="administrator", show_default=True)
@option(
    "--moderates",
    "scopes",
    metavar="ADDRESS|DOMAIN",
    multiple=True,
    help="Whose moderated mail it decides on; repeatable.",
)
@option(
    "--content-view/--no-content-view",
    default=True,
    show_default=True,
    help="Whether an administrator may see the content of held mail.",
)
@option("-o", "--output", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@_home
def apps_add(name: str, role: str, scopes: tuple[str, ...], content_view: bool, form: str, home: str) -> None:
    """Add an application, and print what it logs in with: this once, and never again.

    A program has no mailbox: with the role of a user it sees only what it moderates. One that was revoked can be
    added anew, with other secrets.

    \b
    Example:
      mimeportal-server apps add triage -o json --home home > triage.json
    """
    from mimeportal_server import apps as applications

    with _portal(home) as portal, portal.write() as tx:
        app, made = applications.add(portal, tx, name, role=role, scopes=scopes, content_view=content_view)
        _record(portal, tx, "add application", app, {"name": name, "role": role, "moderates": list(scopes)})
    shown = asdict(made)
    lines = "".join(f"{key}: {value}\n" for key, value in shown.items())
    settings().console.write(json.dumps(shown, indent=2) + "\n" if form == "json" else lines)
    settings().console.note(f"Added {name}. Its secrets are shown only here: keep them where only it can read them.")


@apps.command("list")
@output_options(_APPS)
@_home
def apps_list(output: Output, home: str) -> None:
    """List the applications, without their secrets."""
    from mimeportal_server import apps as applications
    from mimeportal_server.clock import iso

    with _portal(home) as portal, portal.database.read() as tx:
        rows = applications.in_order(tx)
    output.rows(
        {
            "name": row.name,
            "client_id": row.client_id,
            "app_id": row.app_id,
            "role": row.role,
            "created": iso(row.created),
            "revoked": row.disabled,
        }
        for row in rows
    )


@apps.command("revoke")
@click.argument("name")
@_home
def apps_revoke(name: str, home: str) -> None:
    """End an application: its tokens and bindings, and those of people who logged in by it."""
    from mimeportal_server import apps as applications

    with _portal(home) as portal, portal.write() as tx:
        app = applications.revoke(tx, name)
        _record(portal, tx, "revoke application", app, {"name": name})
    settings().console.note(f"Revoked {name}.")
