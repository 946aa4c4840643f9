"""Applications: what programs log in as, by either API, and the bindings that API 1.0 makes for them (E.3, E.4)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from mimeportal.errors import NotFoundError, UsageError
from mimeportal_server import people, tokens
from mimeportal_server.portal import Portal
from mimeportal_server.store.schema import apps, bindings
from mimeportal_server.store.schema import people as persons

# For people who log in with a password. Its id and key are told to everybody: alone they grant nothing.
BUILT_IN = "mimeportal"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_ACCESS_KEY_OCTETS = 112  # 150 characters, as long as Mimecast's


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """What an application logs in with: by API 2.0 the first two, by API 1.0 the others. Shown once."""

    client_id: str
    client_secret: str
    app_id: str
    app_key: str
    access_key: str
    secret_key: str


def add(
    portal: Portal, tx: Connection, name: str, *, role: str, scopes: tuple[str, ...], content_view: bool
) -> tuple[int, Secrets]:
    """Add an application, or one that was revoked anew; its number as a caller, and its secrets.

    Its binding never expires. Raises `UsageError` for a name that is none or is taken, and as `people.appoint`.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"Not a name of an application: {name!r}.",
            remedy="Use up to 64 letters, digits, blanks, dots, hyphens and underscores.",
        )
    address = f"app:{name.lower()}"
    known = people.find(tx, address)
    if name.lower() == BUILT_IN or (known is not None and not known.disabled):
        raise UsageError(f"There is an application {name} already.", remedy="Revoke it first, or choose another name.")
    now = portal.clock.now()
    person_id, new = people.appoint(
        tx, address, kind="app", role=role, scopes=scopes, content_view=content_view, now=now
    )
    client_id, client_secret, app_id = secrets.token_hex(16), secrets.token_urlsafe(32), portal.new_id()
    values = {
        "name": name,
        "person_id": person_id,
        "client_id": client_id,
        "client_secret": tokens.digest(client_secret),
        "app_id": app_id,
        "created": now,
    }
    if new:
        tx.execute(insert(apps), values)
    else:
        people.disable(tx, person_id, False)
        tx.execute(update(apps).where(apps.c.person_id == person_id).values(values))
    app, person = find(tx, app_id), people.find(tx, address)
    assert app is not None
    assert person is not None
    access_key = bind(portal, tx, app.id, person_id, int(person.epoch), None)
    return person_id, Secrets(
        client_id, client_secret, app_id, key(portal, app_id), access_key, secret_key(portal, access_key)
    )


def revoke(tx: Connection, name: str) -> int:
    """End an application, with every token and binding of it, of people too; its number as a caller.

    Raises `NotFoundError`.
    """
    found = tx.execute(select(apps).where(apps.c.name == name, apps.c.person_id.is_not(None))).first()
    if found is None:
        raise NotFoundError(f"There is no application {name}.", remedy="See them with: mimeportal-server apps list")
    people.disable(tx, found.person_id, True)
    tx.execute(delete(bindings).where(bindings.c.app_id == found.id))
    return int(found.person_id)


def in_order(tx: Connection) -> list[Row[Any]]:
    """All applications by name, each with `role` and `disabled`; the built-in one is none of them."""
    joined = select(apps, persons.c.role, persons.c.disabled).join(persons, persons.c.id == apps.c.person_id)
    return list(tx.execute(joined.order_by(apps.c.name)))


def built_in(portal: Portal) -> tuple[str, str]:
    """The id and key of the application that people log in by."""
    mine = select(apps.c.app_id).where(apps.c.name == BUILT_IN)
    with portal.database.read() as tx:
        app_id = tx.scalar(mine)
    if app_id is None:
        with portal.write() as tx:
            app_id = tx.scalar(mine)  # another process may have been faster
            if app_id is None:
                app_id = portal.new_id()
                tx.execute(insert(apps), {"name": BUILT_IN, "app_id": app_id, "created": portal.clock.now()})
    return app_id, key(portal, app_id)


def find(tx: Connection, app_id: str) -> Row[Any] | None:
    """The application with an id of API 1.0; None when there is none, or it was revoked."""
    found = tx.execute(
        select(apps, persons.c.disabled)
        .outerjoin(persons, persons.c.id == apps.c.person_id)
        .where(apps.c.app_id == app_id)
    ).first()
    return None if found is None or found.disabled else found


def key(portal: Portal, app_id: str) -> str:
    """The key that goes with an application id."""
    return portal.sealer.secret("app key", app_id)


def secret_key(portal: Portal, access_key: str) -> str:
    """The secret key that goes with an access key."""
    return portal.sealer.secret("secret key", access_key)


def bind(portal: Portal, tx: Connection, app: int, person: int, epoch: int, expires: int | None) -> str:
    """A new binding of a person, at an epoch of theirs, in an application; its access key, stored as a hash.

    `expires` is by the machine's clock; None: never.
    """
    access_key = secrets.token_urlsafe(_ACCESS_KEY_OCTETS)
    values: Mapping[str, Any] = {
        "access_key": tokens.digest(access_key),
        "app_id": app,
        "person_id": person,
        "epoch": epoch,
        "expires": expires,
        "created": portal.clock.machine(),
    }
    tx.execute(insert(bindings), values)
    return access_key
