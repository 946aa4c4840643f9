"""The way in and out: the front page, logging in and logging out (portal-rules A.3, A.4)."""

from __future__ import annotations

from typing import Any

from mimeportal.addresses import domain_of, normalise
from mimeportal.wire import Response
from mimeportal_server import passwords
from mimeportal_server.portal import Refused
from mimeportal_server.web import pages, sessions
from mimeportal_server.web.route import Route
from mimeportal_server.web.visit import Visit

_FIRST = "/welcome"  # where a log-in leads, unless it was asked for on the way elsewhere


def _front(visit: Visit) -> Response:
    return visit.go(_FIRST if visit.session is not None else "/log-in")


def _welcome(visit: Visit) -> Response:
    return visit.page("welcome.html")


def _log_in(visit: Visit) -> Response:
    """The address first, the rest second (portal-rules A.17, A.20)."""
    following = _following(visit.query.get("next"))
    if visit.session is not None:
        return visit.go(following or _FIRST)
    return visit.page("log_in.html", address="", asked="address", following=following, error="")


def _logging_in(visit: Visit) -> Response:
    address, following = visit.form.get("address").strip(), _following(visit.form.get("next"))
    if visit.form.get("step") != "password":
        step = "password" if address else "address"
        error = "" if address else "Enter your email address."
        return visit.page("log_in.html", address=address, asked=step, following=following, error=error, **_ways(visit))
    try:
        if visit.form.get("way") == "domain":
            raise passwords.wrong()  # no domain password is checked here (portal-rules A.28: one text for all)
        passed = passwords.verify(
            visit.portal,
            address,
            visit.form.get("password"),
            visit.request.peer,
            door="pages",
            request_id=visit.request_id,
            known=sessions.is_known(visit.portal, visit.cookie(sessions.BROWSER), normalise(address)),
        )
        session, browser = sessions.begin(visit.portal, passed, request_id=visit.request_id)
    except Refused as refusal:
        error = passwords.WRONG if refusal.status == 401 else str(refusal)
        status = 401 if refusal.status == 401 else refusal.status
        values = {"address": address, "asked": "password", "following": following, "error": error}
        return visit.page("log_in.html", status, **values, **_ways(visit))
    visit.set_cookie(sessions.SESSION, session)
    visit.set_cookie(sessions.BROWSER, browser, seconds=sessions.BROWSER_SECONDS)
    return visit.go(following or _FIRST)


def _log_out(visit: Visit) -> Response:
    assert visit.session is not None
    sessions.end(visit.portal, visit.session, request_id=visit.request_id)
    visit.set_cookie(sessions.SESSION, "", seconds=0)
    visit.session = None
    return visit.page("logged_out.html")


def _following(path: str) -> str:
    return path if pages.is_own_path(path) else ""


def _ways(visit: Visit) -> dict[str, Any]:
    """Customers choose between Cloud and Domain; which domains are the account's is no secret (portal-rules A.17)."""
    return {"customer": domain_of(normalise(visit.form.get("address").strip())) in visit.portal.settings.domains}


ROUTES = [
    Route("GET", "/", _front),
    Route("GET", "/welcome", _welcome, session=True),
    Route("GET", "/log-in", _log_in),
    Route("POST", "/log-in", _logging_in),
    Route("POST", "/log-out", _log_out, session=True),
]
