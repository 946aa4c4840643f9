"""One request for a page as its handler sees it: who asks, what was sent, and every way to answer."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from markupsafe import Markup
from sqlalchemy import Row as Record

from mimeportal import limits
from mimeportal.wire import (
    ARGUMENT,
    REQUEST_ID,
    Endpoint,
    Failure,
    Item,
    Page,
    Request,
    Response,
    Row,
    decode_answer,
    encode_request,
)
from mimeportal_server import tokens
from mimeportal_server.door import GUID, Door
from mimeportal_server.people import Caller
from mimeportal_server.portal import Portal, Refused
from mimeportal_server.web import rendering, sessions
from mimeportal_server.web.forms import Form
from mimeportal_server.web.route import Route
from mimeportal_server.web.sessions import Session

RowT = TypeVar("RowT", bound=Row)

# Pages are made of our own style and script alone; nothing frames them, and their forms lead nowhere else.
_OWN = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# The body of a message: a document that can do nothing, which only our own pages frame (promises D.2).
_SANDBOX = "sandbox allow-popups allow-popups-to-escape-sandbox"  # a link in it opens as any other, beside it
_BODY = f"default-src 'none'; img-src data:{{remote}}; frame-ancestors 'self'; {_SANDBOX}"
_REMOTE = " http: https:"
# A message on paper: the same, with one style of our own in it.
_PRINTED = f"default-src 'none'; img-src data:; style-src 'sha256-{{style}}'; frame-ancestors 'none'; {_SANDBOX}"

_VISITOR = "visitor"  # the cookie of who is not logged in, to which forms are bound
_CSRF = "csrf"
_LINK = "link-"


@dataclass(frozen=True, slots=True)
class Answered(Generic[RowT]):
    """What an operation answered: its rows, and the page they are."""

    rows: list[RowT]
    page: Page | None = None

    @property
    def row(self) -> RowT:
        (row,) = self.rows
        return row


@dataclass(slots=True)
class Visit:
    """One request for one page. `session` is None for who is not logged in; `query` and `form` are what was sent.

    `acted` says whether an operation that may have changed something was called; `afterwards` is done once the answer
    has been given, so that the time it takes tells nothing.
    """

    door: Door
    request: Request
    request_id: str
    route: Route | None
    parameters: dict[str, str]
    query: Form
    cookies: dict[str, str]
    session: Session | None = None
    form: Form = field(default_factory=Form)
    acted: bool = False
    afterwards: Callable[[], None] | None = None
    _cookies: list[str] = field(default_factory=list)
    _visitor: str = ""

    @property
    def portal(self) -> Portal:
        return self.door.portal

    @property
    def https(self) -> bool:
        """Whether browsers reach this portal over TLS."""
        return self.portal.settings.public_url.startswith("https://")

    @property
    def caller(self) -> Caller:
        """Whoever is logged in; for handlers of routes with `session`."""
        assert self.session is not None
        return self.session.caller

    # -- what is asked of the portal ------------------------------------------------------------------------

    def ask(
        self, endpoint: Endpoint[Any, RowT], *items: Item, size: int | None = None, page: str | None = None
    ) -> Answered[RowT]:
        """Call an operation as whoever is logged in, through the same door as the API. Raises `Refused`.

        Of several items that fail the first is told; `page` is a page token.
        """
        body = encode_request([item.to_json() for item in items], page_size=size, page_token=page)
        response = self.call(endpoint, [body])
        told = decode_answer(b"".join(response.body), status=response.status, rows_at=endpoint.rows_at)
        _refuse(response.status, told.failures)
        return Answered([endpoint.row.model_validate(row) for row in told.rows], told.page)

    def call(
        self,
        endpoint: Endpoint[Any, Any],
        body: Any = (),
        *,
        headers: dict[str, str] | None = None,
        caller: Caller | None = None,
    ) -> Response:
        """An operation's bare answer, as for one whose answer or body is octets.

        It is called as whoever is logged in, or as the `caller` whom a link in a mail stands for.
        """
        asked = {REQUEST_ID: self.request_id, **(headers or {})}
        request = Request(endpoint.method, endpoint.path, asked, body, peer=self.request.peer)
        self.acted = self.acted or endpoint.repeat != "safe"
        return self.door.handle(request, caller or self.caller)

    def upload(self, endpoint: Endpoint[Any, RowT], item: Item, octets: bytes) -> RowT:
        """Call an operation whose body is octets. Raises `Refused`."""
        argument = json.dumps({"data": [item.to_json()]}, separators=(",", ":"))
        response = self.call(endpoint, [octets], headers={ARGUMENT: argument})
        told = decode_answer(b"".join(response.body), status=response.status)
        _refuse(response.status, told.failures)
        return endpoint.row.model_validate(told.rows[0])

    def continue_act(self, request_id: str) -> None:
        """This request belongs to an earlier one of the same page, and is recorded as one with it.

        Raises `Refused` for what is no request's id.
        """
        if not GUID.fullmatch(request_id):
            raise Refused("not_found", "There is no such page.", status=404)
        self.request_id = request_id

    # -- forms and links ------------------------------------------------------------------------------------

    def csrf(self) -> str:
        """What every form of ours carries, and no other site knows: bound to the session, else to the browser."""
        if self.session is not None:
            return self._token_of(self.session.secret)
        visitor = self.cookie(_VISITOR) or self._visitor
        if not visitor:
            visitor = self._visitor = secrets.token_urlsafe(32)
            self.set_cookie(_VISITOR, visitor)
        return self._token_of(visitor)

    def own_link(self, purpose: str, object: str) -> str:
        """What a link on a page of ours carries for whoever is logged in, and a link in a mail cannot."""
        assert self.session is not None
        return tokens.digest(self._token_of(f"{purpose} {object} {self.session.secret}"))[:32]

    def refuse_forged(self) -> None:
        """Raise `Refused` for a form that is none of ours, or was made for another log-in."""
        given = self.form.get(_CSRF).encode()
        bound = [self.session.secret] if self.session is not None else []
        if self.route is None or not self.route.session:
            bound.append(self.cookie(_VISITOR))
        if not any(secret and hmac.compare_digest(self._token_of(secret).encode(), given) for secret in bound):
            raise Refused("err_form_outdated", "This form is out of date.", status=403)

    def _token_of(self, secret: str) -> str:
        return self.portal.sealer.secret(_CSRF, secret)

    def opened(self, purpose: str, secret: str) -> Record[Any, Any, Any]:
        """What a link in a mail stands for: `person_id`, `address`, `object`. It is not spent. Raises `Refused`."""
        granted = self._granted(purpose, secret)
        if granted is None:
            raise Refused("err_link", "This link is wrong, or its time is over.", status=410)
        return granted

    def keep(self, purpose: str, secret: str, object: str) -> None:
        """Keep a link in a cookie, so that its secret stands in no address line (promises E.2).

        A browser keeps the latest only: without end they would outgrow what servers take of one request.
        """
        name = _link_cookie(purpose, object)
        prefix = sessions.cookie_name(_LINK, https=self.https)
        kept = [known.removeprefix(prefix) for known in self.cookies if known.startswith(prefix)]  # the oldest first
        others = [_LINK + known for known in kept if _LINK + known != name]
        for known in others[: max(0, len(others) - limits.LINKS_KEPT + 1)]:
            self.set_cookie(known, "", seconds=0)
        self.set_cookie(name, secret)

    def kept(self, purpose: str, object: str) -> Record[Any, Any, Any] | None:
        """What a link that was opened in this browser stands for, if it is for this object and still good."""
        granted = self._granted(purpose, self.link(purpose, object))
        return granted if granted is not None and granted.object == object else None

    def link(self, purpose: str, object: str) -> str:
        """The secret of a link that was opened in this browser; "" where there is none."""
        return self.cookie(_link_cookie(purpose, object))

    def _granted(self, purpose: str, secret: str) -> Record[Any, Any, Any] | None:
        with self.portal.database.read() as tx:
            return tokens.granted(tx, secret, purpose, now=self.portal.clock.machine()) if secret else None

    def cookie(self, name: str) -> str:
        return self.cookies.get(sessions.cookie_name(name, https=self.https), "")

    def set_cookie(self, name: str, value: str, *, seconds: int | None = None) -> None:
        """Set one with the answer; 0 seconds takes it away."""
        self._cookies.append(sessions.cookie(name, value, https=self.https, seconds=seconds))

    # -- answers --------------------------------------------------------------------------------------------

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page: a template and what it shows."""
        return self.reply(status, {"content-security-policy": _OWN}, self._render(template, values))

    def given_back(self, status: int, heading: str, sentence: str, advice: str) -> Response:
        """What somebody wrote in a form that is not taken: a browser that goes back may have lost it."""
        written = {name: self.form.get(name) for name in ("subject", "text")}
        return self.page("given_back.html", status, heading=heading, sentence=sentence, advice=advice, **written)

    def body(self, html: str, *, remote_images: bool = False) -> Response:
        """The body of a message, already made safe, for the frame that a page shows it in."""
        policy = _BODY.format(remote=_REMOTE if remote_images else "")
        octets = self._render("body.html", {"html": Markup(html)})  # noqa: S704
        return self.reply(200, {"content-security-policy": policy, "x-frame-options": "SAMEORIGIN"}, octets)

    def printed(self, template: str, html: str, **values: Any) -> Response:
        """A message as a document for paper, its body, already made safe, in it: it can do nothing either."""
        style, digest = rendering.print_style()
        policy = _PRINTED.format(style=digest)
        values = {**values, "style": style, "html": Markup(html)}  # noqa: S704
        return self.reply(200, {"content-security-policy": policy}, self._render(template, values))

    def go(self, path: str) -> Response:
        """On to another page of this portal, by GET."""
        assert path.startswith("/")
        assert not path.startswith("//")
        return self.reply(303, {"location": path}, b"")

    def json(self, document: Any, status: int = 200) -> Response:
        """An answer for our own script."""
        return self.reply(status, {"content-type": "application/json"}, json.dumps(document).encode())

    def file(self, endpoint: Endpoint[Any, Any], item: Item) -> Response:
        """The octets that an operation answers, to be put down. Raises `Refused` where it answers none."""
        response = self.call(endpoint, [encode_request([item.to_json()])])
        if response.headers["content-type"] == "application/json":
            told = decode_answer(b"".join(response.body), status=response.status)
            _refuse(response.status, told.failures)
        headers = {name: response.headers[name] for name in ("content-type", "content-disposition")}
        headers["content-security-policy"] = "default-src 'none'; sandbox"
        return self.reply(response.status, headers, response.body)

    def reply(self, status: int, headers: dict[str, str], body: bytes | Iterator[bytes]) -> Response:
        """Any answer, with what all of them carry."""
        carried = {
            "content-type": "text/html; charset=utf-8",
            "cache-control": "no-store",
            "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
            "x-frame-options": "DENY",
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": "camera=(), geolocation=(), microphone=()",
            "x-robots-tag": "noindex",
            "x-request-id": self.request_id,
        }
        if self.https:
            carried["strict-transport-security"] = "max-age=31536000"
        if isinstance(body, bytes):
            headers = {"content-length": str(len(body)), **headers}
            body = iter([body])
        caller = self.session.caller.person_id if self.session is not None else 0
        return Response(status, {**carried, **headers}, body, caller=caller, cookies=tuple(self._cookies))

    def _render(self, template: str, values: dict[str, Any]) -> bytes:
        return rendering.render(template, {"visit": self, "csrf": self._csrf_field, **values})

    def _csrf_field(self) -> Markup:
        return Markup('<input type="hidden" name="{}" value="{}">').format(_CSRF, self.csrf())


# What pages say of failures that the API tells beside what was done, with status 200.
_STATUSES = {"forbidden": 403, "not_found": 404, "recalled": 410}


def _refuse(status: int, failures: list[Failure]) -> None:
    """Raise `Refused` for the first failure, if there is one."""
    for failure in failures:
        told = status if status >= 400 else _STATUSES.get(failure.code, 400)
        raise Refused(failure.code, failure.message, status=told, field=failure.field)


def _link_cookie(purpose: str, object: str) -> str:
    """One for each object, so that links opened beside each other are not taken for one another."""
    return f"{_LINK}{tokens.digest(f'{purpose} {object}')[:16]}"
