"""From a request for a page to its answer: route, session, budget, form, handler; and polite words when it fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

from mimeportal import limits
from mimeportal.errors import UnavailableError
from mimeportal.secure.contract import TOO_LARGE
from mimeportal.wire import Request, Response
from mimeportal_server.door import Door, defect, network_of
from mimeportal_server.portal import Refused
from mimeportal_server.store.database import StoreError
from mimeportal_server.tokens import InvalidToken
from mimeportal_server.web import route, sessions
from mimeportal_server.web.forms import Form, read_fields
from mimeportal_server.web.visit import Visit

# What people are told of an error, beside its own sentence: a heading, and what to do next.
_WORDS = {
    400: ("That did not work", "Go back, correct it, and try again."),
    401: ("Please log in", "Log in, and try again."),
    403: ("Not possible", "Go back and load the page again."),
    404: ("Page not found", "Check the address, or open the link in your mail again."),
    405: ("Page not found", "Check the address, or open the link in your mail again."),
    410: ("No longer available", "Log in, or ask whoever sent it to send another."),
    413: ("Too large", "Go back and send less at once."),
    429: ("One moment, please", "Wait a minute, and try again."),
    503: ("Not available just now", "Try again in a minute."),
}
_FAILED = ("Something went wrong", "Try again. If it happens again, tell the administrator the number below.")


class Pages:
    """The pages of one portal. `on_act` is called after those that may have changed something."""

    def __init__(self, door: Door, *, on_act: Callable[[], None] = lambda: None) -> None:
        self._door = door
        self._portal = door.portal
        self._on_act = on_act

    def visit(self, request: Request) -> Visit:
        """Who asks for what. Never raises."""
        found = route.route_at(request.method, request.path)
        taken, parameters = found if found is not None else (None, {})
        cookies = sessions.read_cookies(request.headers.get("cookie", ""))
        return Visit(self._door, request, self._portal.new_id(), taken, parameters, Form(), cookies)

    def admit(self, visit: Visit) -> Response | None:
        """Whether the page may be worked on, before any of its form is read: None, or the answer instead."""
        return self._guarded(visit, self._admit)

    def answer(self, visit: Visit, form: Form) -> Response:
        """The page. Never raises."""
        visit.form = form
        try:
            response = self._guarded(visit, self._answer)
        finally:
            form.close()
        assert response is not None
        if visit.acted or visit.request.method == "POST":
            self._on_act()
        return response

    def over(self, visit: Visit, form: Form) -> Response:
        """The session has ended meanwhile: nothing was done, and what was written is given back."""
        visit.form = form
        sentence = "You are no longer logged in: nothing was sent."
        return visit.given_back(401, "Please log in", sentence, "Copy it, log in, and write it once more.")

    def too_large(self, visit: Visit, form: Form) -> Response:
        """More is attached than a form may bring: nothing was done, and what was written is given back."""
        visit.form = form
        return visit.given_back(413, "Too large", TOO_LARGE, "Copy it, and send it with less attached.")

    def finish(self, visit: Visit) -> None:
        """What is left to do once the answer was given. Raises what the store raises."""
        if visit.afterwards is not None:
            visit.afterwards()
            self._on_act()

    def refused(self, visit: Visit, refusal: Refused) -> Response:
        """The page that says why."""
        status = refusal.status if refusal.status >= 400 else 400
        return self._told(visit, status, str(refusal))

    def _admit(self, visit: Visit) -> Response | None:
        self._portal.follow_lab()
        visit.session = sessions.find(self._portal, visit.cookie(sessions.SESSION))
        self._count(visit)
        request, page = visit.request, visit.route
        if page is None:
            methods = route.methods_at(request.path)
            status = 405 if methods else 404
            raise Refused("err_method" if methods else "not_found", "There is no such page.", status=status)
        if not request.secure:
            raise Refused("err_tls_required", f"Open {self._portal.settings.public_url} instead.", status=403)
        visit.query = read_fields(request.query.encode())
        if page.session and visit.session is None:
            if request.method == "POST":
                raise Refused("err_session_over", "You are no longer logged in: nothing was sent.", status=401)
            return visit.go(f"/log-in?next={quote(request.path)}")
        return None

    def _count(self, visit: Visit) -> None:
        """The budget of whoever asks, the same as for the API (promises E.3)."""
        quota = self._door.quota
        if quota is None:
            return
        # Of a person's operations each is counted by the door itself.
        network = f"network {network_of(visit.request.peer)}"
        if visit.session is None and not quota.take(network, calls=limits.UNKNOWN_QUOTA).granted:
            raise Refused("err_quota_exceeded", "There are too many requests from your network.", status=429)

    def _answer(self, visit: Visit) -> Response:
        assert visit.route is not None
        if visit.request.method == "POST":
            try:
                visit.refuse_forged()
            except Refused:
                if not visit.route.files:
                    raise
                sentence = "You have logged in anew since this form was opened: nothing was sent."
                advice = "Copy it, open the page again, and write it once more."
                return visit.given_back(403, "Nothing was sent", sentence, advice)
        return visit.route.handler(visit)

    def _guarded(self, visit: Visit, work: Callable[[Visit], Response | None]) -> Response | None:
        try:
            return work(visit)
        except Refused as refusal:
            if refusal.failure.code == "xdk_failure":  # an id or a page token that is none
                return self._told(visit, 404, "There is no such page.")
            return self.refused(visit, refusal)
        except InvalidToken:
            return self._told(visit, 404, "There is no such page.")
        except StoreError as fault:
            return self._told(visit, 503, fault.sentence)
        except UnavailableError:
            return self._told(visit, 503, "The portal takes nothing more just now.")
        except OSError:
            return self._told(visit, 503, "The portal's files cannot be used.")
        except Exception as fault:
            return self._told(visit, 500, defect(fault))

    def _told(self, visit: Visit, status: int, sentence: str) -> Response:
        heading, advice = _WORDS.get(status, _FAILED)
        if status == 410 and visit.session is not None:
            advice = "Ask whoever sent it, if you still need it."
        return visit.page("error.html", status, heading=heading, sentence=sentence, advice=advice)


def is_own_path(path: str) -> bool:
    """Whether a path is a page for who is logged in, to which the log-in may lead on; nothing else is followed."""
    if not re.fullmatch(r"/[!-~]*", path) or path.startswith("//"):
        return False
    found = route.route_at("GET", path)
    return found is not None and found[0].session
