"""Setting a password: forgotten, reset by mail, or after a temporary one; its criteria ticked as one types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from mimeportal import limits
from mimeportal.addresses import normalise
from mimeportal.wire import Response
from mimeportal_server import outsiders, passwords
from mimeportal_server.password_rules import criteria
from mimeportal_server.portal import Refused
from mimeportal_server.web.route import Route
from mimeportal_server.web.visit import Visit

_OVER = "This link is wrong, was used before, or its time is over."
_DIFFER = "The two passwords differ."


def form(
    visit: Visit, action: str, address: str, *, error: str = "", wrong: str = "", current: bool = False
) -> Response:
    """The form that sets a password, at the path `action`; criteria stand below its fields (portal-rules A.23).

    `error` stands beside the field that is `wrong`. With `current` it asks for the password that there is.
    """
    asked = criteria(visit.portal.settings.passwords, visit.form.get("password"))
    values = {"action": action, "address": address, "error": error, "wrong": wrong, "criteria": asked}
    tried = bool(visit.form.get("password"))
    return visit.page("new_password.html", 422 if error else 200, tried=tried, current=current, **values)


def taken(
    visit: Visit,
    action: str,
    address: str,
    set_password: Callable[[str], bool],
    *,
    following: str = "",
    current: bool = False,
) -> Response:
    """Set what the form gives, or show it again with what is wrong. Then they log in with it (portal-rules A.23).

    `following` is the page that the log-in leads to.
    """
    new = visit.form.get("password")
    if new != visit.form.get("again"):
        return form(visit, action, address, error=_DIFFER, wrong="again", current=current)
    try:
        done = set_password(new)
    except Refused as refusal:
        if refusal.failure.field not in ("newPassword", "password"):
            raise
        wrong = "current" if refusal.failure.field == "password" else "password"
        return form(visit, action, address, error=str(refusal), wrong=wrong, current=current)
    if not done:
        raise Refused("err_link", _OVER, status=410)
    return visit.page("password_set.html", address=address, following=following)


def by(visit: Visit) -> dict[str, str]:
    """Through which request a password is set, as `outsiders` records it."""
    return {"peer": visit.request.peer, "request_id": visit.request_id}


def _check(visit: Visit) -> Response:
    """Which criteria a password meets, while it is typed (portal-rules I.11). It is neither kept nor logged."""
    asked = criteria(visit.portal.settings.passwords, visit.form.get("password"))
    told: list[dict[str, Any]] = [asdict(criterion) for criterion in asked]
    return visit.json([{key: entry[key] for key in ("id", "text", "satisfied")} for entry in told])


def _forgotten(visit: Visit) -> Response:
    return visit.page("forgotten.html", address=visit.query.get("address"), asked=False)


def _ask_reset(visit: Visit) -> Response:
    """The same answer for every address, given before anything is done."""
    passwords.admit(visit.portal, visit.request.peer)
    address = normalise(visit.form.get("address"))[: limits.ADDRESS_CHARACTERS]
    request_id = visit.request_id
    visit.afterwards = lambda: outsiders.send_reset(visit.portal, address, request_id=request_id)
    return visit.page("forgotten.html", address=visit.form.get("address"), asked=True)


def _follow_reset(visit: Visit) -> Response:
    secret = visit.parameters["token"]
    visit.opened(outsiders.RESET, secret)
    visit.keep(outsiders.RESET, secret, "")
    return visit.go("/password/reset")


def _show(purpose: str, action: str) -> Callable[[Visit], Response]:
    def show(visit: Visit) -> Response:
        kept = visit.kept(purpose, "")
        if kept is None:
            raise Refused("err_link", _OVER, status=410)
        return form(visit, action, kept.address)

    return show


def _take(purpose: str, action: str) -> Callable[[Visit], Response]:
    def take(visit: Visit) -> Response:
        kept = visit.kept(purpose, "")
        if kept is None:
            raise Refused("err_link", _OVER, status=410)
        secret = visit.link(purpose, "")

        def set_password(new: str) -> bool:
            return outsiders.by_token(visit.portal, purpose, secret, kept.address, new, **by(visit))

        return taken(visit, action, kept.address, set_password)

    return take


_RESET, _NEW = "/password/reset", "/password/new"
ROUTES = [
    Route("POST", "/password/check", _check),
    Route("GET", "/password/forgotten", _forgotten),
    Route("POST", "/password/forgotten", _ask_reset),
    Route("GET", "/r/{token}", _follow_reset),
    Route("GET", _RESET, _show(outsiders.RESET, _RESET)),
    Route("POST", _RESET, _take(outsiders.RESET, _RESET)),
    Route("GET", _NEW, _show(outsiders.NEW, _NEW)),
    Route("POST", _NEW, _take(outsiders.NEW, _NEW)),
]
