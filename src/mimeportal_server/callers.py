"""Who sends a request: by the bearer token of API 2.0, or by the signature of API 1.0 (mimecast-api-core 2, 3, 5)."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from mimeportal.auth import flows
from mimeportal.wire import REQUEST_ID, Request
from mimeportal_server import apps, people, tokens
from mimeportal_server.clock import milliseconds
from mimeportal_server.people import Caller
from mimeportal_server.portal import Portal, Refused
from mimeportal_server.store.schema import bindings
from mimeportal_server.store.schema import people as persons
from mimeportal_server.store.schema import tokens as issued

BEARER = "bearer"  # the purpose of access tokens
_SIGNED = ("x-mc-app-id", "x-mc-date", REQUEST_ID)
_REQUEST_ID = re.compile(r"[!-~]{1,100}")  # a GUID, from most clients; it is kept with what was acted on
_SHOWN = 100  # characters of an unknown app id that are told back


def identify(portal: Portal, request: Request) -> Caller:
    """Whoever sends a request, as its headers show.

    Raises `Refused`: 401 for credentials that are missing, unknown or wrong; 418 for a binding that has ended; 403
    for a signature that others could have read; and, as Mimecast does, 200 for an unknown application.
    """
    scheme, _, given = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return _by_token(portal, given.strip())
    if scheme.lower() == "mc":
        return _by_signature(portal, request, given)
    if not scheme and "x-mc-app-id" not in request.headers:
        raise Refused("token_verification_failed", "The request carries no credentials.", status=401, gateway=True)
    raise _bad_signature()


def require_secure(request: Request) -> None:
    """Raise `Refused` for a request whose credentials others could read on their way (promises E.4)."""
    if not request.secure:
        sentence = "Signatures and passwords are only taken over TLS: call this portal by its https URL."
        raise Refused("err_tls_required", sentence, status=403)


def known_app(tx: Connection, headers: Mapping[str, str]) -> Row[Any]:
    """The application that a request of API 1.0 names. Raises `Refused` as Mimecast tells it, with status 200."""
    app_id = headers.get("x-mc-app-id", "")
    app = apps.find(tx, app_id)
    if app is None:
        raise Refused("err_developer_key", f"App ID is invalid: {app_id[:_SHOWN]}")
    return app


# Asked by every request: made once.
_TOKEN = (
    select(persons, issued.c.epoch.label("token_epoch"), issued.c.expires)
    .join(issued, issued.c.person_id == persons.c.id)
    .where(issued.c.hash == bindparam("digest"), issued.c.purpose == BEARER)
)
_BINDING = (
    select(persons, bindings.c.id.label("binding"), bindings.c.epoch.label("bound_epoch"), bindings.c.expires)
    .join(bindings, bindings.c.person_id == persons.c.id)
    .where(bindings.c.access_key == bindparam("digest"), bindings.c.app_id == bindparam("app"))
)


def _by_token(portal: Portal, token: str) -> Caller:
    with portal.database.read() as tx:
        found = tx.execute(_TOKEN, {"digest": tokens.digest(token)}).first()
        if found is None or found.disabled or found.token_epoch != found.epoch:
            raise Refused("token_verification_failed", "The access token is invalid.", status=401, gateway=True)
        if found.expires <= portal.clock.machine():
            raise Refused("token_expired", "The access token has expired.", status=401, gateway=True)
        return people.caller(tx, found, "http", api="api2")


def _by_signature(portal: Portal, request: Request, given: str) -> Caller:
    require_secure(request)
    headers = request.headers
    access_key, colon, signature = given.partition(":")
    access_key, signature = access_key.strip(), signature.strip()  # some write a blank after the colon
    if not colon or any(name not in headers for name in _SIGNED):
        raise _bad_signature()
    date, request_id = headers["x-mc-date"], headers[REQUEST_ID]
    if not _REQUEST_ID.fullmatch(request_id):
        raise _bad_signature()
    with portal.database.read() as tx:
        app = known_app(tx, headers)
        right = flows.signature(
            date=date,  # as it was sent, whatever its form
            request_id=request_id,
            path=request.path,
            app_key=apps.key(portal, app.app_id),
            secret_key=apps.secret_key(portal, access_key),
        )
        bound = tx.execute(_BINDING, {"digest": tokens.digest(access_key), "app": app.id}).first()
        if not hmac.compare_digest(right.encode(), signature.encode()) or bound is None or bound.disabled:
            raise _bad_signature()
        _check_date(portal, date)
        over = bound.expires is not None and bound.expires <= portal.clock.machine()
        if over or bound.bound_epoch != bound.epoch:
            raise Refused("err_xdk_binding_expired", "The binding has expired: log in again.", status=418)
        return people.caller(tx, bound, "http", api="api1", once=f"{bound.binding}:{request_id.lower()}")


def _check_date(portal: Portal, date: str) -> None:
    moment = flows.read_date_header(date)
    if moment is None:
        raise _bad_signature(": x-mc-date is no date")
    skew = (milliseconds(moment) - portal.clock.machine()) / 1000
    if abs(skew) > flows.SKEW_SECONDS:
        side = "ahead of" if skew > 0 else "behind"
        most = flows.SKEW_SECONDS // 60
        raise _bad_signature(f": x-mc-date is {abs(skew) / 60:.0f} minutes {side} the portal's clock, more than {most}")


def _bad_signature(why: str = "") -> Refused:
    return Refused("err_xdk_invalid_signature", f"0004 Invalid Signature{why}", status=401)
