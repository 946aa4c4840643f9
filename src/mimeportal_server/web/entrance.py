"""The way in and out: the front page, logging in and logging out (portal-rules A.3, A.4)."""

from __future__ import annotations

from urllib.parse import urlencode

from mimeportal.addresses import domain_of, normalise
from mimeportal.wire import Response
from mimeportal_server import outsiders, passwords
from mimeportal_server.portal import Refused
from mimeportal_server.web import pages, sessions
from mimeportal_server.web.route import Route
from mimeportal_server.web.visit import Visit

_FIRST = "/secure/inbox"  # where a log-in leads, unless it was asked for on the way elsewhere


def log_in_at(path: str, address: str = "") -> str:
    """The log-in that leads on to a page of ours."""
    asked = {"next": path, "address": address} if address else {"next": path}
    return f"/log-in?{urlencode(asked, safe='/')}"


def _front(visit: Visit) -> Response:
    return visit.go(_FIRST if visit.session is not None else "/log-in")


def _log_in(visit: Visit) -> Response:
    """The address first, the rest second (portal-rules A.17, A.20)."""
    following = _following(visit.query.get("next"))
    if visit.session is not None:
        return visit.go(following or _FIRST)
    return _form(visit, visit.query.get("address"), following)


def _logging_in(visit: Visit) -> Response:
    address, following = visit.form.get("address").strip(), _following(visit.form.get("next"))
    if visit.form.get("step") != "password":
        return _form(visit, address, following, error="" if address else "Enter your email address.")
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
            one_time=True,
            expired=True,
            known=sessions.is_known(visit.portal, visit.cookie(sessions.BROWSER), normalise(address)),
        )
        if passed.one_time or passed.expired:
            visit.keep(outsiders.NEW, outsiders.let_set_password(visit.portal, passed), "")
            return visit.go("/password/new")
        session, browser = sessions.begin(visit.portal, passed, request_id=visit.request_id)
    except Refused as refusal:
        error = passwords.WRONG if refusal.status == 401 else str(refusal)
        return _form(visit, address, following, error=error, status=refusal.status)
    visit.set_cookie(sessions.SESSION, session)
    visit.set_cookie(sessions.BROWSER, browser, seconds=sessions.BROWSER_SECONDS)
    return visit.go(following or _FIRST)


def _form(visit: Visit, address: str, following: str, *, error: str = "", status: int = 200) -> Response:
    """Customers choose between Cloud and Domain; which domains are the account's is no secret (portal-rules A.17)."""
    customer = domain_of(normalise(address)) in visit.portal.settings.domains
    values = {"address": address, "following": following, "error": error, "customer": customer}
    return visit.page("log_in.html", status, asked="password" if address else "address", **values)


def _log_out(visit: Visit) -> Response:
    assert visit.session is not None
    sessions.end(visit.portal, visit.session, request_id=visit.request_id)
    visit.set_cookie(sessions.SESSION, "", seconds=0)
    visit.session = None
    return visit.page("logged_out.html")


def _following(path: str) -> str:
    return path if pages.is_own_path(path) else ""


ROUTES = [
    Route("GET", "/", _front),
    Route("GET", "/log-in", _log_in),
    Route("POST", "/log-in", _logging_in),
    Route("POST", "/log-out", _log_out, session=True),
]
