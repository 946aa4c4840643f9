"""A pytest plugin: a portal of one's own as fixtures, to test automation against (docs/testing.md).

    portal_home     a portal home with people, mail and a clock of its own; what left it can be looked at
    portal_server   the same home, served over HTTP and SMTP on this machine
    portal_client   the SDK as an application that acts for the whole account
    portal_faults   what is to go wrong next: lost answers, rate limits, broken connections

The home and its server are made once per session, by whichever test first asks for them. What a test leaves behind
(mail, sender lists, faults, the clock) is gone before the next one; people whom it added stay.

Needs the extra `server`: `pip install 'mimeportal[server]'`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from mimeportal.credentials import Credentials
    from mimeportal.local import Bench, Delivered, Server
    from mimeportal.portal import Portal
    from mimeportal.wire import Api

DOMAIN = "example.com"
ANN, BOB = "ann@example.com", "bob@example.com"
MODERATOR = "mod@example.com"  # of bob's mail
ADMINISTRATOR = "admin@example.com"
APP = "app"  # an application with the role of an administrator

SPAM = "Message Hold Applied - Spam Signature policy"  # a reason to hold a message for

_LOCALHOST = ("127.0.0.1", 0)
_numbers = itertools.count(1)


def mail(
    subject: str = "Hello",
    body: str = "Hello.\n",
    *,
    sender: str = "Eve <eve@elsewhere.example>",
    to: str = ANN,
    headers: dict[str, str] | None = None,
    attachments: dict[str, bytes] | None = None,
    html: str | None = None,
) -> bytes:
    """The octets of one message, as RFC 5322 has them, with lines ending in CRLF.

    `attachments` maps file names to their content; `headers` come in addition, or in the place of the usual ones.
    A message with the header `X-Spam-Flag: YES` is held as spam by the rules of a new home, one with an executable
    file is held for that.
    """
    import mimetypes
    from email.message import EmailMessage
    from email.policy import SMTP

    message = EmailMessage(policy=SMTP)
    usual = {
        "From": sender,
        "To": to,
        "Subject": subject,
        "Message-ID": f"<{next(_numbers)}.{os.getpid()}@elsewhere.example>",
        "Date": "Mon, 02 Nov 2026 08:00:00 +0000",
    }
    for name, value in {**usual, **(headers or {})}.items():
        message[name] = value
    message.set_content(body)
    if html is not None:
        message.add_alternative(html, subtype="html")
    for name, octets in (attachments or {}).items():
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        maintype, _, subtype = kind.partition("/")
        message.add_attachment(octets, maintype=maintype, subtype=subtype, filename=name)
    return message.as_bytes()


class PortalClock:
    """The portal's time. Holds expire by it; tokens and signatures go by the machine's clock alone."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    @property
    def now(self) -> datetime:
        """In UTC."""
        return self._bench.now()

    def set(self, moment: datetime) -> None:
        """Make it another time, which then goes on; a naive one is taken as UTC."""
        self._bench.set_time(moment)

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0) -> None:
        """Move the time on."""
        self.set(self.now + timedelta(days=days, hours=hours, minutes=minutes))


class PortalHome:
    """A portal home with ann, bob, a moderator of bob's mail and an administrator in it."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._opened: list[Portal] = []
        self.path: Path = bench.path
        self.clock: PortalClock = PortalClock(bench)

    @property
    def url(self) -> str:
        """For `Portal.open()`, `--url` and `MIMEPORTAL_URL`: the portal inside the process, without a server."""
        return f"local:{self.path}"

    def add_person(self, address: str, *, role: str = "user", moderates: Sequence[str] = ()) -> None:
        """Add a person of example.com, or give one another role (`user`, `administrator`) and moderated mailboxes.

        Raises `UsageError` for an address of another domain.
        """
        self._bench.add_person(address, role, tuple(moderates))

    def client(self, address: str = ANN, *, api: Api = "local") -> Portal:
        """The SDK as one of the people, inside this process; closed when the test ends.

        `api` restricts it to what API 1.0 (`api1`) or 2.0 (`api2`) of Mimecast offers.
        """
        from mimeportal.portal import Portal

        return _kept(self._opened, Portal.open(self.url, user=address, api=api))

    def deliver(self, octets: bytes, *, to: str = ANN, sender: str | None = None, hold: str | None = None) -> str:
        """One message comes in: `held`, `delivered`, `blocked` or `refused`.

        With `hold` it is held for that reason, such as `SPAM`; without it is screened. `sender` is the envelope's,
        else Return-Path or From say it. Raises `UsageError` for an address that is none of the people's.
        """
        return self._bench.deliver(octets, to, sender, hold)

    def delivered(self) -> list[Delivered]:
        """Every message that left the portal, in order: `kind` (screened, released, written), `sender`,
        `recipient`, `octets`.
        """
        return self._bench.delivered()

    def close(self) -> None:
        """Close what the test opened, and leave nothing of it behind."""
        try:
            _close(self._opened)
        finally:
            self._bench.empty()


@dataclass(frozen=True)
class SeenRequest:
    """One request that came to the server.

    `status` is 0 where it got no answer, `items` is how many the operation was called with (0: it was not called),
    `fault` what went wrong with it on purpose, and `at` the machine's time in milliseconds.
    """

    operation: str
    request_id: str
    caller: int
    status: int
    fault: str
    items: int
    at: int


class PortalFaults:
    """What is to go wrong with the next calls, in order. Kinds are told in docs/testing.md."""

    def __init__(self, server: PortalServer) -> None:
        self._server = server

    def add(self, operation: str, kind: str, **more: Any) -> None:
        """Spoil the next call of an operation (`holds.release`, `*` for any).

        `times` calls (1; None: all), after `skip` (0) that pass. `status` takes `status`, `code`, `retryable`; `delay`,
        `stall` and `quota` take `milliseconds`. Raises `UsageError` for what is unknown, and names what is known.
        """
        fault = {"operation": operation, "kind": kind, **more}
        self._server.lab("PUT", "faults", {"faults": [*self.left, fault]})

    @property
    def left(self) -> list[dict[str, Any]]:
        """The instructions that are not used up yet: assert that there are none to know that they did happen."""
        return list(self._server.lab("GET", "faults")["faults"])

    def clear(self) -> None:
        """Nothing more goes wrong."""
        self._server.lab("DELETE", "faults")


class PortalServer:
    """A portal home served on this machine, over HTTP (`url`) and SMTP (`smtp_address`)."""

    def __init__(self, home: PortalHome, bench: Bench, server: Server) -> None:
        self.home = home
        self.clock: PortalClock = home.clock
        self.faults: PortalFaults = PortalFaults(self)
        self._bench = bench
        self._opened: list[Portal] = []
        self.url: str = server.http_url
        self.smtp_address: tuple[str, int] = server.smtp_address

    @property
    def token(self) -> str:
        """What the header `x-lab-token` needs to say under `/lab/`."""
        return self._bench.token

    def client(self, who: str = APP, *, api: Api | None = None) -> Portal:
        """The SDK over HTTP as one of the people, by address, or as `APP`; closed when the test ends.

        An app speaks API 2.0, and with `api="api1"` API 1.0; a person has the keys that a log-in with a password gives.
        `api` (`api1`, `api2`) restricts the portal to what that API of Mimecast offers.
        """
        from mimeportal.portal import Portal

        user = None if who == APP else who
        return _kept(self._opened, Portal.open(self.url, user=user, credentials=self._credentials(who, api), api=api))

    def environment(self, who: str = APP) -> dict[str, str]:
        """The variables that let a program of its own, or `Portal.open()` without arguments, log in.

        What the machine's own environment says of mimeportal is emptied by them, and its profiles are not read.
        """
        found = {name: "" for name in os.environ if name.startswith("MIMEPORTAL_")}
        found |= {"MIMEPORTAL_URL": self.url, "MIMEPORTAL_CONFIG_DIR": str(self.home.path.parent / "config")}
        if who != APP:
            password = str(self._bench.password_file(who))
            return {**found, "MIMEPORTAL_USER": who, "MIMEPORTAL_PASSWORD_FILE": password}
        keys = self._bench.app_keys()
        return {
            **found,
            "MIMEPORTAL_CLIENT_ID": keys["client_id"],
            "MIMEPORTAL_CLIENT_SECRET": keys["client_secret"],
        }

    def deliver(self, octets: bytes, *, to: str = ANN, sender: str | None = None, hold: str | None = None) -> None:
        """One message comes in over SMTP and is screened; with `hold` it is held for that reason.

        `sender` is the envelope's, else Return-Path or From say it. Raises `smtplib.SMTPException` where the portal
        refuses it.
        """
        if hold is not None:
            self.home.deliver(octets, to=to, sender=sender, hold=hold)
            return
        import smtplib

        if sender is None:
            sender = self._bench.sender_of(octets)
        with smtplib.SMTP(*self.smtp_address, timeout=60) as smtp:
            smtp.sendmail(sender, to, octets)

    @property
    def requests(self) -> list[SeenRequest]:
        """Every call that came in during this test, in order."""
        return [SeenRequest(**seen) for seen in self.lab("GET", "requests")["requests"]]

    def set_quota(self, calls: int, seconds: float) -> None:
        """How many calls each caller may make in how many seconds; counted anew from now."""
        self.lab("PUT", "quota", {"calls": calls, "seconds": seconds})

    def lab(self, method: str, name: str, document: Any = None) -> Any:
        """Ask the lab of the server (docs/testing.md): JSON in and out. Raises `UsageError` for what it refuses."""
        import json
        from http.client import HTTPConnection
        from urllib.parse import urlsplit

        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            body = None if document is None else json.dumps(document).encode()
            connection.request(method, f"/lab/{name}", body, {"x-lab-token": self.token})
            response = connection.getresponse()
            told = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            from mimeportal.errors import UsageError

            raise UsageError(told["fail"][0]["message"])
        return told

    def _credentials(self, who: str, api: Api | None) -> Credentials:
        from mimeportal.credentials import Credentials

        if who != APP:
            return Credentials("person", **self._bench.person_keys(who))
        keys = self._bench.app_keys()
        names = ("app_id", "app_key", "access_key", "secret_key") if api == "api1" else ("client_id", "client_secret")
        return Credentials("app1" if api == "api1" else "app2", **{name: keys[name] for name in names})

    def close(self) -> None:
        """Close what the test opened, and leave nothing of it behind."""
        self.faults.clear()
        try:
            _close(self._opened)
        finally:
            self.lab("POST", "reset")


def _kept(opened: list[Portal], portal: Portal) -> Portal:
    opened.append(portal)
    return portal


def _close(opened: list[Portal]) -> None:
    while opened:
        opened.pop().close()


# -- the fixtures ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _portal_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    from mimeportal import local
    from mimeportal.errors import ConfigurationError

    try:
        bench = local.make_bench(tmp_path_factory.mktemp("portal") / "home", DOMAIN)
    except ConfigurationError as fault:
        pytest.fail(f"{fault.what} {fault.remedy}", pytrace=False)
    for address, role, moderates in (
        (ANN, "user", ()),
        (BOB, "user", ()),
        (MODERATOR, "user", (BOB,)),
        (ADMINISTRATOR, "administrator", ()),
    ):
        bench.add_person(address, role, moderates)
    yield bench
    bench.close()


@pytest.fixture(scope="session")
def _portal_running(_portal_bench: Bench) -> Iterator[Server]:
    from mimeportal import local

    with local.serve(_portal_bench.path, http=_LOCALHOST, smtp=_LOCALHOST, lab=True) as server:
        yield server


@pytest.fixture
def portal_home(_portal_bench: Bench) -> Iterator[PortalHome]:
    """A portal home with people, mail and a clock of its own; empty when the test begins."""
    home = PortalHome(_portal_bench)
    yield home
    home.close()


@pytest.fixture
def portal_server(portal_home: PortalHome, _portal_bench: Bench, _portal_running: Server) -> Iterator[PortalServer]:
    """The home of `portal_home`, served over HTTP and SMTP on this machine."""
    server = PortalServer(portal_home, _portal_bench, _portal_running)
    yield server
    server.close()


@pytest.fixture
def portal_client(portal_server: PortalServer) -> Portal:
    """The SDK over HTTP as an application that acts for the whole account."""
    return portal_server.client()


@pytest.fixture
def portal_faults(portal_server: PortalServer) -> PortalFaults:
    """What is to go wrong with the next calls to `portal_server`."""
    return portal_server.faults
