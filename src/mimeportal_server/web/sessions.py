"""Who is logged in in a browser: session cookies, and the log-ins that they stand for (promises E.2)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete

from mimeportal import limits
from mimeportal_server import audit, people, tokens
from mimeportal_server.clock import DAY, HOUR
from mimeportal_server.passwords import Passed
from mimeportal_server.people import Caller
from mimeportal_server.portal import Portal, Refused
from mimeportal_server.store.schema import tokens as issued

SESSION = "session"  # purposes of tokens
BROWSER = "browser"
BROWSER_SECONDS = limits.BROWSER_DAYS * DAY // 1000


@dataclass(frozen=True, slots=True)
class Session:
    """A log-in of one browser."""

    secret: str
    caller: Caller


def begin(portal: Portal, passed: Passed, *, request_id: str) -> tuple[str, str]:
    """The secrets of a new session, and of a browser that has logged in before.

    They end with the person's epoch: with a password change, disabling, a restore. Raises `Refused` where it was
    raised since the log-in passed.
    """
    now = portal.clock.machine()
    with portal.write() as tx:
        caller = people.caller_of(tx, passed.address, "pages")
        person = people.find(tx, passed.address)
        if caller is None or person is None or person.epoch != passed.epoch:
            raise Refused("err_xdk_invalid_credentials", "The password was changed meanwhile.", status=401)
        expires = now + portal.settings.session_hours * HOUR
        session = tokens.issue(tx, SESSION, caller.person_id, expires=expires)
        browser = tokens.issue(tx, BROWSER, caller.person_id, expires=now + limits.BROWSER_DAYS * DAY)
        act = audit.Act("begin session", "done", "person", caller.person_id, {"address": caller.address})
        audit.record(tx, [act], at=portal.clock.now(), caller=caller, request_id=request_id)
    return session, browser


def find(portal: Portal, secret: str) -> Session | None:
    """The session of a secret, unless its time is over, it was ended, or the person's epoch was raised."""
    if not secret:
        return None
    with portal.database.read() as tx:
        granted = tokens.granted(tx, secret, SESSION, now=portal.clock.machine())
        caller = people.caller_of(tx, granted.address, "pages") if granted else None
    return Session(secret, caller) if caller is not None else None


def end(portal: Portal, session: Session, *, request_id: str) -> None:
    """Log out: whoever has the cookie has nothing."""
    caller = session.caller
    with portal.write() as tx:
        tx.execute(delete(issued).where(issued.c.hash == tokens.digest(session.secret)))
        act = audit.Act("log out", "done", "person", caller.person_id, {"address": caller.address})
        audit.record(tx, [act], at=portal.clock.now(), caller=caller, request_id=request_id)


def is_known(portal: Portal, secret: str, address: str) -> bool:
    """Whether the browser with this secret has logged in as this address before."""
    if not secret:
        return False
    with portal.database.read() as tx:
        granted = tokens.granted(tx, secret, BROWSER, now=portal.clock.machine())
    return granted is not None and granted.address == address


def read_cookies(header: str) -> dict[str, str]:
    """The cookies of a request. Those of others on this host, however they are written, stand in no way of ours."""
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return {name: value for name, equals, value in pairs if equals}


def cookie_name(name: str, *, https: bool) -> str:
    """With https by a prefix that browsers enforce: set by this host alone, over TLS alone, for every path."""
    return f"{'__Host-' if https else ''}mimeportal-{name}"


def cookie(name: str, value: str, *, https: bool, seconds: int | None = None) -> str:
    """A Set-Cookie that no script reads and no other site's form brings; `seconds` None: until the browser ends."""
    parts = [f"{cookie_name(name, https=https)}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
    if https:
        parts.append("Secure")
    if seconds is not None:
        parts.append(f"Max-Age={seconds}")
    return "; ".join(parts)
