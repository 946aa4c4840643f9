"""A browser for tests: Chromium driven by Playwright, and a plain HTTP client that keeps cookies and reads forms."""

from __future__ import annotations

import re
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sqlalchemy import select

from conftest import Lab, absent
from mimeportal_server import passwords, people
from mimeportal_server.store.schema import deliveries
from served import Served

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def set_password(lab: Lab, address: str, password: str, *, current: str | None = None) -> None:
    """As the person does it who is logged in."""
    with lab.server.database.read() as tx:
        caller = people.caller_of(tx, address, "test")
    assert caller is not None
    passwords.change(lab.server, caller, current, password, peer="192.0.2.99", request_id="")


def written_to(lab: Lab, address: str) -> list[EmailMessage]:
    """The mails that the portal wrote to somebody, oldest first."""
    query = select(deliveries.c.blob).where(deliveries.c.recipient == address).order_by(deliveries.c.id)
    with lab.server.database.read() as tx:
        blobs = list(tx.scalars(query))
    return [message_from_bytes(lab.server.home.blobs.read(blob), policy=policy.default) for blob in blobs]


def links_in(message: EmailMessage) -> list[str]:
    """Paths of the links to this portal in a mail."""
    body = message.get_body(("plain",))
    assert body is not None
    return re.findall(r"https?://[^/\s]+(/[^\s>]*)", body.get_content())


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium of this machine, which asks nobody but the portal."""
    path = shutil.which("chromium")
    if path is None:
        absent("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_QUIET))
        try:
            yield browser
        finally:
            browser.close()


@dataclass(frozen=True)
class Shown:
    """One answer as a browser gets it: headers with those that stand twice, and the page."""

    status: int
    headers: list[tuple[str, str]]
    octets: bytes

    def header(self, name: str) -> str:
        return next((value for known, value in self.headers if known.lower() == name), "")

    @property
    def text(self) -> str:
        return self.octets.decode()

    @property
    def set_cookies(self) -> list[str]:
        return [value for name, value in self.headers if name.lower() == "set-cookie"]

    def actions(self) -> list[str]:
        """Where the forms of the page lead."""
        return [unescape(action) for action in re.findall(r'<form[^>]*action="([^"]*)"', self.text)]

    def form(self, action: str) -> str:
        form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', self.text, re.DOTALL)
        assert form is not None, f"no form {action}"
        return form.group()

    def fields(self, action: str) -> dict[str, str]:
        """The hidden fields of the form with an action."""
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', self.form(action))
        return {name: unescape(value) for name, value in hidden}


@dataclass
class Visitor:
    """Somebody with a browser that runs no script: it keeps cookies, and follows nothing by itself."""

    served: Served
    cookies: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None

    def ask(
        self,
        path: str,
        form: dict[str, str] | bytes | None = None,
        *,
        method: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Shown:
        sent = dict(headers or {})
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        body = urlencode(form).encode() if isinstance(form, dict) else form
        if isinstance(form, dict):
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        connection = self.served.connect(tls=self.tls)
        try:
            connection.request(method or ("GET" if form is None else "POST"), path, body, sent)
            answer = connection.getresponse()
            shown = Shown(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()
        for cookie in shown.set_cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            if "Max-Age=0" in cookie:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return shown

    def follow(self, path: str) -> Shown:
        """Open a page, wherever it leads on to."""
        shown = self.ask(path)
        while shown.status == 303:
            shown = self.ask(shown.header("location"))
        return shown

    def submit(self, page: Shown, action: str, **fields: str) -> Shown:
        """Send a form of a page, with its hidden fields."""
        return self.ask(action, {**page.fields(action), **fields})

    def resubmit(self, page: Shown, action: str, **fields: str) -> Shown:
        """As `submit`, with all that hidden fields and areas of the page say, those that stand twice included."""
        form = page.form(action)
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form)
        hidden += re.findall(r'<textarea name="([^"]*)" hidden>\n?([^<]*)</textarea>', form)
        pairs = [(name, unescape(value)) for name, value in hidden if name not in fields]
        body = urlencode([*pairs, *fields.items()]).encode()
        return self.ask(action, body, headers={"Content-Type": "application/x-www-form-urlencoded"})

    def log_in(self, address: str, password: str) -> Shown:
        """In two steps, as the page asks."""
        first = self.submit(self.ask("/log-in"), "/log-in", address=address)
        return self.submit(first, "/log-in", address=address, password=password)

    def new_password(self, page: Shown, action: str, password: str, *, again: str | None = None) -> Shown:
        """Fill in the form that sets one."""
        return self.submit(page, action, password=password, again=password if again is None else again)

    def session(self) -> dict[str, Any]:
        """The cookies that make this a session."""
        return {name: value for name, value in self.cookies.items() if name.endswith("-session")}
