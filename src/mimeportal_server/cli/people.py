"""`mimeportal-server people`: who has a mailbox here, what they may do, and how they log in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.options import option, settings
from mimeportal_cli.output import Output, Shape, output_options
from mimeportal_server.cli.main import _as_operator, _home, _portal, _record, main

if TYPE_CHECKING:
    from mimeportal_server.portal import Portal

_PEOPLE = Shape(("address", "role", "moderates", "content_view", "login", "disabled"), empty="No people yet.")


@main.group()
def people() -> None:
    """The portal's people."""


@people.command("add")
@click.argument("address")
@option("--role", type=click.Choice(("user", "administrator")), help="Default of somebody new: user.")
@option(
    "--moderates",
    "scopes",
    metavar="ADDRESS|DOMAIN",
    multiple=True,
    help="Whose moderated mail they decide on, in place of whose they did; repeatable.",
)
@option("--no-moderates", is_flag=True, help="They moderate nobody any more.")
@option(
    "--content-view/--no-content-view",
    default=None,
    help="Whether an administrator may see the content of held mail. Default of somebody new: yes.",
)
@option(
    "--login",
    type=click.Choice(("cloud", "domain", "sso", "two-step")),
    help="How they log in: with a password of this portal [cloud], or in a way it tells of and does not check.",
)
@_home
def people_add(
    address: str,
    role: str | None,
    scopes: tuple[str, ...],
    no_moderates: bool,
    content_view: bool | None,
    login: str | None,
    home: str,
) -> None:
    """Add a person, or give one that is there another role, other people to moderate, or another way to log in.

    Of somebody who is there, what is not named stays as it is. A new person has no password until `people reset`
    gives a one-time one.
    """
    from mimeportal.addresses import normalise
    from mimeportal.errors import UsageError
    from mimeportal_server import audit
    from mimeportal_server import people as persons

    if scopes and no_moderates:
        raise UsageError("--moderates and --no-moderates exclude each other.", remedy="Leave one of them out.")
    with _portal(home) as portal, portal.write() as tx:
        now = portal.clock.now()
        person, new = persons.add(
            tx,
            address,
            role=role,
            scopes=scopes or (() if no_moderates else None),
            content_view=content_view,
            login=login,
            domains=portal.settings.domains,
            now=now,
        )
        row = persons.find(tx, normalise(address))
        assert row is not None
        now_is = persons.caller(tx, row, "command")
        moderated = sorted(now_is.scopes)
        detail = {"address": now_is.address, "role": now_is.role, "moderates": moderated, "os_user": _as_operator()}
        act = audit.Act("add person" if new else "change person", "done", "person", person, detail)
        audit.record(tx, [act], at=now, caller=None, door="command")
    facts = [now_is.role]
    facts += ["without content view"] if now_is.administrator and not now_is.content_view else []
    facts += [f"moderates {' '.join(moderated)}"] if moderated else []
    settings().console.note(f"{'Added' if new else 'Changed'} {now_is.address}: {', '.join(facts)}.")


@people.command("list")
@option("--outside", is_flag=True, help="People outside, for whom secure messages wait here.")
@output_options(_PEOPLE)
@_home
def people_list(outside: bool, output: Output, home: str) -> None:
    """List the portal's people."""
    from mimeportal_server import people as persons

    with _portal(home) as portal, portal.database.read() as tx:
        rows = persons.in_order(tx, outside=outside)
    output.rows(
        {
            "address": row.address,
            "role": row.role,
            "moderates": " ".join(scopes),
            "content_view": row.content_view,
            "login": row.login,
            "disabled": row.disabled,
        }
        for row, scopes in rows
    )


@people.command("disable")
@click.argument("address")
@_home
def people_disable(address: str, home: str) -> None:
    """Refuse a person from now on; their mail is kept."""
    _able(home, address, disabled=True)


@people.command("enable")
@click.argument("address")
@_home
def people_enable(address: str, home: str) -> None:
    """Let a disabled person in again."""
    _able(home, address, disabled=False)


def _able(home: str, address: str, *, disabled: bool) -> None:
    from mimeportal_server import people as persons

    verb = "disable" if disabled else "enable"
    with _portal(home) as portal, portal.write() as tx:
        person = _person(portal, tx, address)
        persons.disable(tx, person, disabled)
        _record(portal, tx, f"{verb} person", person, {"address": address})
    settings().console.note(f"{verb.capitalize()}d {address}.")


@people.command("reset")
@click.argument("address")
@_home
def people_reset(address: str, home: str) -> None:
    """Print a one-time password, good for one day; earlier ones, their own and all log-ins end."""
    from mimeportal_server import people as persons

    with _portal(home) as portal, portal.write() as tx:
        person = _person(portal, tx, address)
        secret = persons.reset(tx, person, portal.clock.machine())
        _record(portal, tx, "reset password", person, {"address": address})
    settings().console.write(f"{secret}\n")
    settings().console.note(f"A one-time password for {address}, good for 24 hours. It is shown only here.")


@people.command("erase")
@click.argument("address")
@option("--yes", is_flag=True, help="Do not ask.")
@_home
def people_erase(address: str, yes: bool, home: str) -> None:
    """Erase a person: their mail, their lists, and every address and subject that names them. It cannot be undone.

    What is counted stays, without whom it was about. A backup made before still has them: give `restore` the file
    erased.jsonl of this home.
    """
    from mimeportal.addresses import normalise
    from mimeportal_server import erasing

    console = settings().console
    with _portal(home) as portal:
        if erasing.finish(portal):
            console.note("An erasure that had been cut off is complete now.")
        with portal.database.read() as tx:
            _person(portal, tx, normalise(address))
        if not yes:
            console.confirm(f"Erase {address} in {portal.home.path}, with all of their mail, for ever?")
        count = erasing.erase(portal, normalise(address), by=_as_operator())
    console.note(f"Erased {address}, and {count:,} messages.")


@people.command("unlock")
@click.argument("address")
@_home
def people_unlock(address: str, home: str) -> None:
    """Let a person try again at once who failed to log in too often."""
    from mimeportal_server import people as persons

    with _portal(home) as portal, portal.write() as tx:
        person = _person(portal, tx, address)
        persons.unlock(tx, person)
        _record(portal, tx, "unlock person", person, {"address": address})
    settings().console.note(f"Unlocked {address}.")


def _person(portal: Portal, tx: Any, address: str) -> int:
    from mimeportal.addresses import normalise
    from mimeportal.errors import NotFoundError
    from mimeportal_server import people as persons

    found = persons.find(tx, normalise(address))
    if found is None or found.kind == "app":
        raise NotFoundError(
            f"{address} is none of the portal's people.",
            why=f"In {portal.home.path}.",
            remedy=f"See them with: mimeportal-server people list --home {portal.home.path}",
        )
    return int(found.id)
