"""People outside, for whom messages wait here: how they come to a password of their own (portal-rules A.4)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from mimeportal import limits
from mimeportal_server import audit, compose, passwords, people, tokens
from mimeportal_server.clock import HOUR
from mimeportal_server.portal import Portal
from mimeportal_server.store.schema import people as persons
from mimeportal_server.store.schema import tokens as issued

RESET = "password reset"  # purposes of tokens
NEW = "new password"
_PERSONAL = "Access is personal: do not share your log-in, or this mail, with anybody."


def invite(tx: Connection, portal: Portal, address: str) -> int:
    """The number of the person outside with a normalised address, who is made when nobody wrote to them before.

    Where the account lets people outside in by a temporary password, it is mailed now, and never again (A.24).
    """
    person = people.find(tx, address)
    if person is not None:
        return int(person.id)
    values = {"address": address, "kind": "outside", "role": "outside", "created": portal.clock.now()}
    created = tx.execute(insert(persons), values)
    assert created.inserted_primary_key is not None
    number = int(created.inserted_primary_key[0])
    if portal.settings.secure.first_visit == "temporary-password":
        _send_temporary(portal, tx, number, address)
    return number


def _send_temporary(portal: Portal, tx: Connection, person_id: int, address: str) -> None:
    expires = portal.clock.machine() + limits.RESET_HOURS * HOUR
    secret = tokens.issue(tx, passwords.ONE_TIME, person_id, expires=expires)
    lines = [
        f"A secure message waits for you in the secure portal of {portal.settings.domains[0]}; another mail has",
        "the link to it. Log in there with your email address and this temporary password:",
        "",
        secret,
        "",
        f"It is good once and for {limits.RESET_HOURS} hours: you are asked for a password of your own at once. Later,",
        f'choose "Forgot your password?" at {portal.settings.public_url}/log-in',
        "",
        _PERSONAL,
    ]
    _write(portal, tx, "temporary password", address, "Secure Messaging Password Notification", lines)


def may_begin(portal: Portal, person: Row[Any]) -> bool:
    """Whether a link to a message is enough to create a password: for who never had one, nor anything else.

    Whatever raises the epoch, as an operator's reset or a restore, leaves only the way by reset mail: a link lies in
    mail for long, and may have been passed on.
    """
    untouched = not person.password and not person.epoch and not person.disabled
    return person.kind == "outside" and untouched and portal.settings.secure.first_visit == "link"


def send_reset(portal: Portal, address: str, *, request_id: str) -> None:
    """Mail a link to set a new password; at most three an hour, and nothing to whom nobody knows.

    Whoever asks learns nothing of what became of it, so they are answered before.
    """
    with portal.write() as tx:
        person = people.find(tx, address)
        told = "unknown" if person is None else _send_reset(portal, tx, person)
        facts = {"address": address, "reason": told}
        outcome = "done" if told == "queued" else "failed"
        person_id = int(person.id) if person is not None else None
        act = audit.Act("ask for reset", outcome, "person", person_id, facts)
        audit.record(tx, [act], at=portal.clock.now(), caller=None, door="pages", request_id=request_id)


def _send_reset(portal: Portal, tx: Connection, person: Row[Any]) -> str:
    rules = portal.settings.passwords
    if person.kind == "app" or person.disabled or person.login not in ("cloud", "two-step"):
        return "no password here"
    if person.kind == "person" and not rules.reset_by_mail:
        return "not by mail"
    now, good = portal.clock.machine(), limits.RESET_HOURS * HOUR
    lately = select(func.count()).where(
        issued.c.purpose == RESET, issued.c.person_id == person.id, issued.c.expires > now + good - HOUR
    )
    if int(tx.scalar(lately) or 0) >= limits.RESETS_PER_HOUR:
        return "too many"
    secret = tokens.issue(tx, RESET, person.id, expires=now + good)
    lines = [
        "Somebody, most likely you, asked for a new password for the secure portal of",
        f"{portal.settings.domains[0]}. Set one here:",
        "",
        f"{portal.settings.public_url}/r/{secret}",
        "",
        f"The link is good for {limits.RESET_HOURS} hours and for one new password.",
        "If you did not ask for it, do nothing: your password stays as it is.",
        "",
        _PERSONAL,
    ]
    return _write(portal, tx, "new password", person.address, "Set a new password", lines)


def by_token(portal: Portal, purpose: str, secret: str, address: str, new: str, *, peer: str, request_id: str) -> bool:
    """Set a password by a reset link (`RESET`), or after a temporary one (`NEW`); either is good once.

    The answer is whether it was still good. Raises `Refused` as `passwords.replace` does.
    """

    def allowed(tx: Connection, person: Row[Any]) -> bool:
        if tokens.spend(tx, secret, purpose, now=portal.clock.machine()) != person.id:
            return False
        if purpose == RESET:
            _tell(portal, tx, address)
        return True

    return passwords.replace(portal, address, new, allowed, peer=peer, door="pages", request_id=request_id)


def _tell(portal: Portal, tx: Connection, address: str) -> None:
    """Tell somebody that their password was reset (portal-rules A.34)."""
    lines = [
        f"A new password for the secure portal of {portal.settings.domains[0]} was set by a reset mail.",
        "If it was not you, somebody else reads your mail: tell the sender of your messages.",
    ]
    _write(portal, tx, "password set", address, "Your password was reset", lines)


def _write(portal: Portal, tx: Connection, sort: compose.Sort, to: str, subject: str, lines: list[str]) -> str:
    return compose.queue_written(portal, tx, sort, to=to, subject=subject, lines=lines, automatic="auto-generated")


def let_set_password(portal: Portal, passed: passwords.Passed) -> str:
    """The secret that lets somebody set another password, after a temporary or an expired one; good for minutes."""
    expires = portal.clock.machine() + limits.NEW_PASSWORD_MINUTES * 60_000
    with portal.write() as tx:
        return tokens.issue(tx, NEW, passed.person_id, expires=expires)
