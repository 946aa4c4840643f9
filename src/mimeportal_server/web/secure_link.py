"""Where the link in a notification leads: to a first password, to the log-in, or straight to the message."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from mimeportal.wire import Response
from mimeportal_server import outsiders, passwords, people, secure_links
from mimeportal_server.portal import Refused
from mimeportal_server.secure_links import Followed
from mimeportal_server.web import new_password
from mimeportal_server.web.entrance import log_in_at
from mimeportal_server.web.route import Route
from mimeportal_server.web.visit import Visit

_OVER = "This link is wrong, or its message is no longer kept."


def _follow(visit: Visit) -> Response:
    """Keep the link, and go where its secret is not in the path. Nothing is spent."""
    secret = visit.parameters["token"]
    followed = _followed(visit, secret)
    if followed is None:
        raise Refused("err_link", _OVER, status=410)
    visit.keep(secure_links.PURPOSE, secret, str(followed.secure_id))
    return visit.go(f"/secure/open/{visit.portal.sealer.id('secure', followed.secure_id)}")


def _open(visit: Visit) -> Response:
    """Who never had a password creates one; others log in, unless they are (portal-rules A.20, A.23)."""
    message, followed = _kept(visit)
    if visit.session is not None:
        if followed is not None and not visit.session.caller.acts_for(followed.address):
            return visit.page("other_address.html", 403, address=followed.address)
        return visit.go(message)
    if followed is None:
        return visit.go(log_in_at(message))
    if _may_begin(visit, followed):
        return new_password.form(visit, visit.request.path, followed.address)
    return visit.go(log_in_at(message, followed.address))


def _begin(visit: Visit) -> Response:
    """The first password of somebody outside, by the link that proves that the mail reached them."""
    message, followed = _kept(visit)
    if followed is None:
        raise Refused("err_link", _OVER, status=410)
    secret, address = visit.link(secure_links.PURPOSE, str(followed.secure_id)), followed.address

    def allowed(tx: Connection, person: Row[Any]) -> bool:
        still = secure_links.followed(visit.portal, tx, secret)
        return still is not None and still.person_id == person.id and outsiders.may_begin(visit.portal, person)

    return new_password.taken(
        visit,
        visit.request.path,
        address,
        lambda new: passwords.replace(visit.portal, address, new, allowed, door="pages", **new_password.by(visit)),
        following=message,
    )


def _kept(visit: Visit) -> tuple[str, Followed | None]:
    """The page of the message in the path, and what the link that was opened here for it stands for."""
    id = visit.parameters["id"]
    secure_id = visit.portal.sealer.number("secure", id)
    followed = _followed(visit, visit.link(secure_links.PURPOSE, str(secure_id)))
    return f"/secure/messages/{id}", followed if followed and followed.secure_id == secure_id else None


def _followed(visit: Visit, secret: str) -> Followed | None:
    if not secret:
        return None
    with visit.portal.database.read() as tx:
        return secure_links.followed(visit.portal, tx, secret)


def _may_begin(visit: Visit, followed: Followed) -> bool:
    with visit.portal.database.read() as tx:
        person = people.find(tx, followed.address)
    return person is not None and outsiders.may_begin(visit.portal, person)


ROUTES = [
    Route("GET", "/s/{token}", _follow),
    Route("GET", "/secure/open/{id}", _open),
    Route("POST", "/secure/open/{id}", _begin),
]
