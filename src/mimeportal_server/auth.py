"""Logging in: access tokens of API 2.0, and the bindings that people make by API 1.0 (mimecast-api-core 2 and 3)."""

from __future__ import annotations

import base64
import binascii
import hmac

from sqlalchemy import Connection, delete, select, update

from mimeportal import limits
from mimeportal.addresses import normalise, parse_address
from mimeportal.auth import contract
from mimeportal.errors import UsageError
from mimeportal.wire import Request
from mimeportal_server import apps, audit, people, tokens
from mimeportal_server.callers import BEARER, known_app, require_secure
from mimeportal_server.clock import HOUR
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.schema import apps as applications
from mimeportal_server.store.schema import bindings
from mimeportal_server.store.schema import people as persons

_BINDING = limits.BINDING_HOURS * HOUR
# How each of the portal's people logs in, in Mimecast's words. Whoever is unknown has a password, by the looks of it.
_WAYS = {
    "cloud": contract.CLOUD_PASSWORD,
    "two-step": contract.CLOUD_PASSWORD,
    "domain": contract.DOMAIN_PASSWORD,
    "sso": contract.SINGLE_SIGN_ON,
}


def token(portal: Portal, call: Call) -> Answer:
    """/oauth/token: an access token for an application's client id and secret (mimecast-api-core 3.1)."""
    require_secure(call.request)
    item = contract.TokenItem.model_validate(call.items[0])
    client_id, client_secret = item.client_id, item.client_secret
    if not client_id:
        scheme, name, password = _authorization(call.request)
        client_id, client_secret = (name, password) if scheme == "basic" else ("", "")
    if item.grant_type != "client_credentials":
        raise Refused("unsupported_grant_type", "grant_type is client_credentials.", status=400, gateway=True)
    app = (
        select(applications.c.client_secret, persons.c.address)
        .join(persons, persons.c.id == applications.c.person_id)
        .where(applications.c.client_id == client_id)
    )
    with portal.database.read() as tx:
        found = tx.execute(app).first()
        stored = found.client_secret if found is not None else ""
        right = hmac.compare_digest(stored.encode(), tokens.digest(client_secret).encode())
        caller = people.caller_of(tx, found.address, "http") if found is not None and right else None
    if caller is None:
        raise Refused("InvalidClientIdentifier", "Client credentials are invalid", status=401, gateway=True)
    expires = portal.clock.machine() + limits.TOKEN_SECONDS * 1000
    with portal.write() as tx:
        access_token = tokens.issue(tx, BEARER, caller.person_id, expires=expires)
        act = audit.Act("log in", "done", "person", caller.person_id, {"address": caller.address})
        audit.record(tx, [act], at=portal.clock.now(), caller=caller, request_id=call.request_id)
    row = contract.TokenRow(access_token=access_token, expires_in=limits.TOKEN_SECONDS)
    return Answer(object=row.to_json())


def discover(portal: Portal, call: Call) -> Answer:
    """How an address may log in. Of one that nobody has, the same is told as of most (portal-rules A.8)."""
    item = contract.DiscoverItem.model_validate(call.items[0])
    try:
        address = parse_address(item.email_address)
    except UsageError:
        sentence = "Email address is not valid"
        raise Refused("err_validation_invalid_email_address", sentence, field="emailAddress") from None
    with portal.database.read() as tx:
        known_app(tx, call.request.headers)
        person = people.find(tx, address)
    row = contract.DiscoverRow(
        email_address=item.email_address,
        email_token=portal.sealer.secret("email token", address),
        region=contract.Region(code="local", api=portal.settings.public_url),
        authenticate=[_WAYS[str(person.login) if person is not None else "cloud"]],
    )
    return Answer([row.to_json()])


def login(portal: Portal, call: Call) -> Answer:
    """A binding for a person's password, or a one-time one; with `accessKey` the same binding lives on (2.3)."""
    from mimeportal_server import passwords  # it brings Argon2, which nothing else here needs

    require_secure(call.request)
    item = contract.LoginItem.model_validate(call.items[0])
    key = {"username": item.username}
    scheme, address, password = _authorization(call.request)
    with portal.database.read() as tx:
        app = known_app(tx, call.request.headers)
        binding = _own_binding(tx, item.access_key, app.id, normalise(address))
    if not scheme or normalise(item.username) != normalise(address):
        sentence = "0001 Credentials missing: Authorization is Basic-Cloud with username, a colon and the password."
        raise Refused("err_xdk_missing_credentials", sentence, status=400, key=key)
    if scheme != contract.CLOUD_PASSWORD.lower():
        sentence = "0001 Authentication type not supported: only Basic-Cloud passwords are checked here."
        raise Refused("err_xdk_authentication_type", sentence, status=401, key=key)
    passed = passwords.verify(
        portal,
        address,
        password,
        call.request.peer,
        request_id=call.request_id,
        one_time=True,
        known=binding is not None,
    )
    expires = portal.clock.machine() + _BINDING
    with portal.write() as tx:
        access_key = item.access_key or ""
        refreshed = update(bindings).where(bindings.c.id == binding, bindings.c.epoch == passed.epoch)
        if not tx.execute(refreshed.values(expires=expires)).rowcount:
            access_key = apps.bind(portal, tx, app.id, passed.person_id, passed.epoch, expires)
    row = contract.LoginRow(
        access_key=access_key,
        secret_key=apps.secret_key(portal, access_key),
        duration=_BINDING,
        binding_type="one_step",
        username=passed.address,
        password_is_one_time=passed.one_time or None,
    )
    return Answer([row.to_json()])


def logout(portal: Portal, call: Call) -> Answer:
    """End one of the caller's own bindings. Another's, and one that is none, answer alike (promises E.1)."""
    item = contract.LogoutItem.model_validate(call.items[0])
    caller = call.caller
    with portal.write(caller) as tx:
        own = (bindings.c.access_key == tokens.digest(item.access_key)) & (bindings.c.person_id == caller.person_id)
        if not tx.execute(delete(bindings).where(own)).rowcount:
            raise Refused("not_found", "There is no such binding of this caller.", status=404)
        act = audit.Act("log out", "done", "person", caller.person_id, {"address": caller.address})
        audit.record(tx, [act], at=portal.clock.now(), caller=caller, request_id=call.request_id)
    return Answer([contract.LogoutRow().to_json()])


def app(portal: Portal, _call: Call) -> Answer:
    """The built-in application, by which people log in."""
    app_id, app_key = apps.built_in(portal)
    return Answer([contract.AppRow(app_id=app_id, app_key=app_key).to_json()])


def _authorization(request: Request) -> tuple[str, str, str]:
    """Scheme in small letters, name and password of a `Basic...` header; all empty where there is none."""
    scheme, _, encoded = request.headers.get("authorization", "").strip().partition(" ")
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", "", ""
    return (scheme.lower(), name, password) if colon else ("", "", "")


def _own_binding(tx: Connection, access_key: str | None, app: int, address: str) -> int | None:
    """The number of a binding that a person made in an application, expired or not, unless something ended it."""
    return tx.scalar(
        select(bindings.c.id)
        .join(persons, persons.c.id == bindings.c.person_id)
        .where(
            bindings.c.access_key == tokens.digest(access_key or ""),
            bindings.c.app_id == app,
            bindings.c.epoch == persons.c.epoch,
            persons.c.address == address,
        )
    )


OPERATIONS = {
    "auth.token": token,
    "auth.discover": discover,
    "auth.login": login,
    "auth.logout": logout,
    "auth.app": app,
}
