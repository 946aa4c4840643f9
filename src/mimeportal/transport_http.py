"""The way to a portal over HTTP, by requests (as in `steady.py`). It sends once, and says what came of it."""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies

from mimeportal import limits, regions
from mimeportal._version import __version__
from mimeportal.auth import flows
from mimeportal.auth.client import AuthClient
from mimeportal.auth.logins import Bearer, Keys, LogIn, Signed
from mimeportal.codec import LOOK, Outgoing
from mimeportal.credentials import Credentials
from mimeportal.errors import (
    AuthenticationError,
    ConfigurationError,
    LostAnswerError,
    MimeportalError,
    RateLimitedError,
    UnavailableError,
    UsageError,
)
from mimeportal.retry import Policy
from mimeportal.steady import SteadyAdapter
from mimeportal.transport import Session
from mimeportal.urls import is_loopback, portal_url
from mimeportal.wire import REQUEST_ID, Api, Content, Request, Response

_PIECE = 64 * limits.KIB
_SKEWED = 180  # seconds between the clocks here and there from which on a refused signature may come of it
_CA_FILES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class HttpTransport:
    """Calls over one pool of connections, safe to use from several threads.

    Certificates are always verified; redirects, cookies and `.netrc` are not for us (promises E.5). `credentials`
    of None may call only what wants no log-in. `timeout` is how many seconds each piece of an answer is waited for.
    Raises `UsageError` for a URL that is none, `ConfigurationError` for credentials or certificates that cannot be
    used.
    """

    parallel = limits.CONCURRENCY

    def __init__(
        self,
        url: str,
        *,
        api: str | None = None,
        credentials: Credentials | None = None,
        user: str | None = None,
        timeout: float | None = None,
        ca_file: str | Path | None = None,
        proxy: str | None = None,
        policy: Policy | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url: str = portal_url(url)
        self.credentials = credentials
        self.api: Api = regions.api_of(self.url, credentials.login if credentials else "", api)
        self.user = user
        self._host = urlsplit(self.url).hostname or ""
        # Mimecast counts the calls of API 2.0 by function (mimecast-api-core 5.2).
        self.policy: Policy = policy or Policy(per_function=self.api == "api2" and regions.is_mimecast(self._host))
        self._timeout = (min(limits.CONNECT_SECONDS, timeout or limits.READ_SECONDS), timeout or limits.READ_SECONDS)
        self._trusted = _certificates(ca_file)
        self._proxy = proxy
        self._wall = wall
        self._adapter = SteadyAdapter(pool_connections=4, pool_maxsize=limits.CONCURRENCY)
        self._closed = False
        self._login = self._logged_in(credentials, monotonic) if credentials else None

    def __repr__(self) -> str:
        return f"HttpTransport({self.url!r})"

    @property
    def is_person(self) -> bool:
        """A person's own log-in, or an app that acts for the account."""
        return self.credentials is not None and self.credentials.login == "person"

    # -- sending -------------------------------------------------------------------------------------------------

    def send(self, request: Request) -> Response:
        if not isinstance(request, Outgoing):  # of somebody who stands between a session and us
            request = Outgoing(request.method, request.path, request.headers, request.body, request.query)
        base = regions.global_url(self.url) if request.everywhere else self.url
        if request.authorised:
            self._authorise(request)
        query = f"?{request.query}" if request.query else ""
        body = request.body if isinstance(request.body, Content) else b"".join(request.body)
        return self._exchange(request.method, f"{base}{request.path}{query}", request.headers, body)

    def fetch(self, url: str) -> Response:
        """Octets from a URL that a portal named, without credentials: whoever calls has checked its host."""
        return self._exchange("GET", url, {"accept": "*/*"}, b"")

    def close(self) -> str | None:
        if not self._closed and isinstance(self._login, Signed) and self._login.own:
            # Nobody else knows of this binding, and an address has but so many; but it is not worth waiting for.
            self.policy = Policy(attempts=1)
            self._timeout = (limits.CONNECT_SECONDS, limits.CONNECT_SECONDS)
            with suppress(MimeportalError):
                AuthClient(Session(self)).logout(self._login.access_key)
        self._closed = True
        self._adapter.close()
        return None

    def _exchange(self, method: str, url: str, headers: dict[str, str], body: bytes | Content) -> Response:
        if self._closed:
            raise UsageError("This portal is closed.", remedy="Open it again with `Portal.open()`.")
        own = {"user-agent": f"mimeportal/{__version__}", "accept-encoding": "gzip", **headers}
        try:
            # What has a length is sent piece by piece, under that length.
            prepared = requests.Request(method, url, headers=own, data=body or None).prepare()
        except (requests.RequestException, ValueError) as fault:
            raise _unwritable(fault, url) from None
        try:
            # The adapter alone: a requests.Session would bring cookies, redirects and .netrc.
            answer = self._adapter.send(
                prepared, stream=True, timeout=self._timeout, verify=self._trusted, proxies=self._proxies(url)
            )
        except MimeportalError:  # of the octets that were to be sent: a file that changed meanwhile
            raise
        except Exception as fault:  # libraries have many ways not to understand an answer
            _raise_unanswered(fault, url)
        if 300 <= answer.status_code < 400:
            answer.close()
            raise _redirected(url, answer.status_code, answer.headers.get("location", ""))
        received = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status_code, received, _body(answer))

    def _proxies(self, url: str) -> dict[str, str]:
        # What stays on this machine is in the open: a proxy would get to see it.
        if is_loopback(urlsplit(url).hostname or ""):
            return {}
        if self._proxy:
            return {"http": self._proxy, "https": self._proxy}
        return dict(get_environ_proxies(url, no_proxy=None))

    # -- the log-in ----------------------------------------------------------------------------------------------

    def renew(self, request: Outgoing, status: int, code: str) -> bool:
        """Whether a refused call has another chance: by a new token, or by the binding renewed."""
        if isinstance(self._login, Bearer):
            return status == 401 and self._login.renew(request.login)
        expired = status == 418 or code == "err_xdk_binding_expired"
        return expired and self._login is not None and self._login.renew(request.login)

    def suspicion(self, request: Outgoing, response: Response) -> str:
        """Whether a signature may have been refused because one of the clocks is wrong."""
        there = flows.read_date_header(response.headers.get("date", ""))
        if there is None or "x-mc-date" not in request.headers or not request.login:
            return ""
        seconds = self._wall() - there.timestamp()
        if abs(seconds) < _SKEWED:
            return ""
        direction = "ahead of" if seconds > 0 else "behind"
        return (
            f"The clock of this machine is {_span(abs(seconds))} {direction} the portal's, which takes no signature "
            f"from so far away: set the clock."
        )

    def _authorise(self, request: Outgoing) -> None:
        if self._login is None:
            raise AuthenticationError(
                f"Nobody is logged in at {self.url}.",
                status=401,
                why="No credentials were given for it; nothing was sent.",
                remedy="Log in with `mimeportal auth login`, or set the variables that `mimeportal help environment` "
                "names.",
            )
        try:
            headers, request.login = self._login.headers(request.headers[REQUEST_ID], request.path)
        except UnavailableError as fault:
            # The call itself was not sent, whatever became of the log-in before it, which was repeated enough.
            unsent = RateLimitedError if isinstance(fault, RateLimitedError) else UnavailableError
            raise unsent(fault.what, code=fault.code, status=fault.status, why=fault.why, remedy=fault.remedy) from None
        request.headers.update(headers)

    def _logged_in(self, credentials: Credentials, monotonic: Callable[[], float]) -> LogIn | None:
        _check_keys(credentials)
        if credentials.login == "app2":
            auth = AuthClient(Session(self, logging_in=True))
            return Bearer(lambda: auth.token(credentials.client_id, credentials.client_secret), monotonic)
        keys = None
        if credentials.access_key:
            keys = Keys(credentials.app_id, credentials.app_key, credentials.access_key, credentials.secret_key)
        log_in = self._by_password if credentials.password and self.user else None
        return Signed(keys, self._wall, log_in) if keys or log_in else None

    def _by_password(self, access_key: str) -> Keys:
        """New keys, or those of an access key renewed; of the local portal's own application where none is named."""
        given = self.credentials
        assert given is not None
        assert self.user is not None
        auth = AuthClient(Session(self, logging_in=True))
        app_id, app_key = given.app_id, given.app_key
        if not app_id and not regions.is_mimecast(self._host):
            app = auth.app()
            app_id, app_key = app.app_id, app.app_key
        row = auth.login(self.user, given.password, access_key=access_key or None, app_id=app_id or None)
        keys = Keys(app_id, app_key, row.access_key, row.secret_key)
        _check_keys(keys)
        return keys


def _check_keys(given: Credentials | Keys) -> None:
    """Raise `ConfigurationError` for keys that no header or signature can be made of."""
    for name in ("client_id", "client_secret", "app_id", "app_key", "access_key", "secret_key"):
        value = getattr(given, name, "")
        problem = "blanks, line ends or letters beyond ASCII" if not value.isascii() or re.search(r"\s", value) else ""
        if name == "secret_key" and not problem:
            try:
                flows.signature(date="", request_id="", path="", app_key="", secret_key=value)
            except ValueError:
                problem = "what is no base64"
        if problem:
            raise ConfigurationError(
                f"The {name} holds {problem}.",
                why="No key that Mimecast or a portal gives looks so.",
                remedy="Copy it anew, and log in again: `mimeportal auth login`.",
            )


def _certificates(ca_file: str | Path | None) -> str | bool:
    """The file of certificates that are trusted: the profile's, the environment's, else the usual ones."""
    named = str(ca_file) if ca_file else next((os.environ[name] for name in _CA_FILES if os.environ.get(name)), "")
    if not named:
        return True
    try:
        if not os.path.isdir(named):
            ssl.create_default_context(cafile=named)
    except (OSError, ssl.SSLError) as fault:
        raise ConfigurationError(
            f"The certificates in {named} cannot be used: {fault.strerror or 'not in PEM form'}.",
            why="They were named by the profile's ca_file." if ca_file else f"They were named by {_named(named)}.",
            remedy="Name a file of certificates in PEM form.",
        ) from None
    return named


def _named(file: str) -> str:
    return next(name for name in _CA_FILES if os.environ.get(name) == file)


def _body(answer: requests.Response) -> Iterator[bytes]:
    """The octets of an answer, whole or a `LostAnswerError`: its length is held to what the headers say."""
    try:
        yield from answer.iter_content(_PIECE)
    except Exception as fault:  # a broken length or compression is told in many ways
        raise LostAnswerError(
            "The answer broke off before its end.",
            code="err_answer_cut",
            why=f"The connection failed while it was read: {_reason(fault)}.",
            remedy=LOOK,
        ) from None
    finally:
        answer.close()


def _raise_unanswered(fault: Exception, url: str) -> NoReturn:
    """Tell what never left this machine from what was sent and lost; in doubt, it was sent."""
    causes = list(_causes(fault))
    kinds = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    if "SSLCertVerificationError" in kinds:
        raise UnavailableError(
            f"The certificate of {origin} is not one that is trusted.",
            code="err_certificate",
            why=f"Nothing was sent: {_reason(fault)}.",
            remedy="Name the certificates of its authority: `mimeportal profiles set NAME --ca-file FILE`, or "
            "REQUESTS_CA_BUNDLE.",
        ) from None
    if kinds & {"ProxyError", "InvalidProxyURL"}:
        raise UnavailableError(
            f"The proxy on the way to {origin} does not let us through.",
            code="err_proxy",
            retryable="InvalidProxyURL" not in kinds,
            why=f"Nothing was sent: {_reason(fault)}.",
            remedy="Check the profile's proxy, HTTPS_PROXY and NO_PROXY.",
        ) from None
    if kinds & {"NewConnectionError", "ConnectTimeoutError"}:
        raise UnavailableError(
            f"{origin} cannot be reached.",
            code="err_unreachable",
            retryable=True,
            why=f"Nothing was sent: {_reason(fault)}.",
            remedy="Check the URL and the network, and whether the portal runs.",
        ) from None
    raise LostAnswerError(
        f"No answer came from {origin}.",
        code="err_answer_lost",
        why=f"The connection failed after the request was sent: {_reason(fault)}.",
        remedy=LOOK,
    ) from None


def _unwritable(fault: Exception, url: str) -> UnavailableError:
    """What no request can be made of: a URL, or a header, that the portal itself has named."""
    return UnavailableError(
        f"{urlsplit(url).hostname} cannot be asked with what it has told.",
        code="err_request_unwritable",
        why=f"Nothing was sent: it gave an address or a key that no request can hold ({type(fault).__name__}).",
        remedy="Ask the portal's operator.",
    )


def _causes(fault: BaseException) -> Iterator[BaseException]:
    """A failure and what it was made of: libraries wrap each other's."""
    seen: set[int] = set()
    left: list[object] = [fault]
    while left:
        one = left.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            left += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]


def _reason(fault: BaseException) -> str:
    """The system's own word for a failure, without addresses of objects or URLs."""
    for cause in reversed(list(_causes(fault))):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message.rstrip(".")
        if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
            return "what is there does not speak TLS"
        if isinstance(cause, TimeoutError):
            return "timed out"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.rstrip(".")
    kinds = [type(cause).__name__ for cause in _causes(fault)]
    return "timed out" if "ReadTimeoutError" in kinds or "ConnectTimeoutError" in kinds else kinds[-1]


def _redirected(url: str, status: int, location: str) -> UnavailableError:
    try:
        host = urlsplit(location).hostname or "another path"
    except ValueError:
        host = "an address that is none"
    return UnavailableError(
        f"{urlsplit(url).hostname} sends us on to {host}, and redirects are not followed.",
        code="err_redirected",
        status=status,
        why="Secrets go to the address of the profile alone.",
        remedy="If that is where the portal is, make a profile with its own URL.",
    )


def _span(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} minutes"
