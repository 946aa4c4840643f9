"""People's passwords: checked at one cost for everybody, within budgets, locked when guessed at (promises E.3)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import Connection, Row, delete, insert, select, update

from mimeportal import limits
from mimeportal.addresses import normalise
from mimeportal.wire import JsonObject
from mimeportal_server import audit, people, tokens
from mimeportal_server.clock import DAY
from mimeportal_server.door import network_of
from mimeportal_server.password_rules import criteria
from mimeportal_server.people import Caller
from mimeportal_server.portal import Portal, Refused
from mimeportal_server.quota import Quota
from mimeportal_server.store.schema import login_failures
from mimeportal_server.store.schema import people as rows

# Argon2id as OWASP names it for servers: 19 MiB, and some 30 ms of one core.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# Of a random password that nobody has: whoever is unknown or has no password costs the same run.
_NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$NNRFm43l6B+ogV75a52LQg$PEj1RncN4jeR/RaaItjJDogGcOB2KZZ3UlftXXaBVg8"

ONE_TIME = "one-time password"
# One text for whatever is wrong (portal-rules A.28); the reason stands in the audit alone.
WRONG = "Invalid username, password or permissions. Please check you are using the correct URL."
# What is no secret, as discovery tells it too: this portal cannot check it.
_ELSEWHERE = {
    "domain": "0001 Authentication type not supported: this person logs in with a domain password, not checked here.",
    "sso": "0001 Authentication type not supported: this person logs in by single sign-on, which is not done here.",
}
_SECOND = "The password is right, but this person logs in with a second factor, which this portal cannot check."


@dataclass(frozen=True, slots=True)
class Passed:
    """A log-in that passed: what is made of it belongs to this epoch of the person, and ends with it.

    After a `one_time` password, or one that has `expired`, another should be set at once.
    """

    person_id: int
    address: str
    epoch: int
    one_time: bool
    expired: bool = False


def check(portal: Portal, address: str, password: str, peer: str, *, door: str) -> Passed:
    """Check a person's own password.

    For doors such as SMTP, whose clients keep a password: a one-time password is not taken there. `peer` is the
    network address of whoever tries. Blocks for the time of an Argon2 run. Raises `Refused`: with status 401 when
    the log-in is refused, for whatever reason, and 429 (`retryable`) when too many are tried.
    """
    return verify(portal, address, password, peer, door=door)


def verify(
    portal: Portal,
    address: str,
    password: str,
    peer: str,
    *,
    door: str = "http",
    request_id: str = "",
    one_time: bool = False,
    expired: bool = False,
    known: bool = False,
    confirming: bool = False,
) -> Passed:
    """Check a password within the budgets and locks of promises E.3, and record what came of it.

    `one_time`: a one-time password is taken too, and spent. `expired`: so is one that is older than the account
    lets it be. `known`: the caller shows a binding that this person
    made before, which other networks' failures do not lock. `confirming`: somebody logged in confirms a password,
    so that no second factor is asked for. Raises `Refused` as `check` does.
    """
    key = {"username": address}
    network = network_of(peer)
    address = normalise(address)[: limits.ADDRESS_CHARACTERS]
    guard = _guard(portal)
    guard.admit_network(network)
    with portal.database.read() as tx:
        before = _Trying(portal, tx, address, network, known)
    person = before.person
    if not before.locked:  # else a guess is worth nothing, and it uses up no tries of the address's owner
        guard.admit_address(address, known=known)
    stored = str(person.password) if person is not None else ""
    with guard.running(known=known):
        matches = _matches(stored, password)
    with portal.write() as tx:
        trying = _Trying(portal, tx, address, network, known)
        reason, passed = trying.decide(stored, matches, password, one_time=one_time, confirming=confirming)
        acts = trying.acts(reason, "confirm password" if confirming else "log in")
        who = people.caller_of(tx, address, door) if passed is not None else None
        audit.record(tx, acts, at=portal.clock.now(), caller=who, door=door, request_id=request_id)
    if passed is None:
        if reason in _ELSEWHERE:
            raise Refused("err_xdk_authentication_type", _ELSEWHERE[reason], status=401, key=key)
        if reason == "second factor":
            raise Refused("err_xdk_two_step_required", _SECOND, status=401, key=key)
        raise wrong(key)
    if passed.expired and not expired:
        sentence = f"The password has expired: set another at {portal.settings.public_url}."
        raise Refused("err_xdk_password_expired", sentence, status=401, key=key)
    return passed


def wrong(key: JsonObject | None = None) -> Refused:
    """The one refusal for whatever is wrong with a log-in."""
    return Refused("err_xdk_invalid_credentials", WRONG, status=401, key=key)


def change(portal: Portal, caller: Caller, current: str | None, new: str, *, peer: str, request_id: str) -> None:
    """Set the caller's own password. Whatever they had been handed out, log-ins and tokens, ends.

    Raises `Refused`: for who has no password here, a password that is too simple, and a wrong current one.
    """
    with portal.database.read() as tx:
        person = _person(tx, caller.address)
    if person is None or person.login in _ELSEWHERE:
        raise Refused("forbidden", "This caller does not log in with a password of this portal.", status=403)
    check_strength(portal, new)
    if person.password:
        if current is None:
            raise Refused("err_validation_null", "The current password is missing.", field="password")
        try:
            verify(
                portal, caller.address, current, peer, door=caller.door, request_id=request_id,
                expired=True, known=True, confirming=True,
            )  # fmt: skip
        except Refused as refusal:
            if refusal.status != 401:
                raise
            sentence = "The current password is wrong, or was tried too often: then wait a while."
            raise Refused("err_xdk_wrong_password", sentence, status=403, field="password") from None
    with _guard(portal).running(known=True):
        hashed = _HASHER.hash(new)
    with portal.write(caller) as tx:
        if not _store(portal, tx, person, hashed):
            raise Refused("err_xdk_wrong_password", "The password was changed meanwhile.", status=403)
        act = audit.Act("set password", "done", "person", person.id, {"address": caller.address})
        audit.record(tx, [act], at=portal.clock.now(), caller=caller, request_id=request_id)


def replace(
    portal: Portal,
    address: str,
    new: str,
    allowed: Callable[[Connection, Row[Any]], bool],
    *,
    peer: str,
    door: str,
    request_id: str,
) -> bool:
    """Set the password of somebody who shows in another way that they may; what was handed out before ends.

    `allowed` decides in the transaction that sets it, and spends there what is good only once. The answer is whether
    it allowed. Raises `Refused`: for a password that is too simple, and when too many are tried.
    """
    check_strength(portal, new)
    guard = _guard(portal)
    guard.admit_network(network_of(peer))
    with guard.running(known=False):
        hashed = _HASHER.hash(new)
    with portal.write() as tx:
        person = _person(tx, address)
        if person is None or person.disabled or person.login in _ELSEWHERE or not allowed(tx, person):
            return False
        _store(portal, tx, person, hashed)
        people.unlock(tx, person.id)
        act = audit.Act("set password", "done", "person", person.id, {"address": address})
        audit.record(tx, [act], at=portal.clock.now(), caller=None, door=door, request_id=request_id)
    return True


def _store(portal: Portal, tx: Connection, person: Row[Any], hashed: str) -> bool:
    """Keep a new password, unless another was set since the person was read."""
    unchanged = (rows.c.id == person.id) & (rows.c.password == person.password) & (rows.c.epoch == person.epoch)
    values = {"password": hashed, "password_set": portal.clock.now(), "epoch": rows.c.epoch + 1}
    return bool(tx.execute(update(rows).where(unchanged).values(values)).rowcount)


def check_strength(portal: Portal, password: str) -> None:
    """Raise `Refused` for a password that is not what the account asks for, saying all that is missing."""
    asked = criteria(portal.settings.passwords, password)
    missing = [criterion for criterion in asked if not criterion.satisfied and not criterion.counts_to]
    if missing:
        kinds = ", ".join(criterion.text for criterion in asked if criterion.counts_to == "classes")
        texts = [f"{criterion.text} {kinds}" if criterion.id == "classes" else criterion.text for criterion in missing]
        raise Refused("err_validation_password", f"A password has {'; '.join(texts)}.", field="newPassword")


def admit(portal: Portal, peer: str) -> None:
    """Count what a network tries in place of a log-in, as asking for a reset. Raises `Refused`."""
    _guard(portal).admit_network(network_of(peer))


def forget_tries(portal: Portal) -> None:
    """Count the tries of all networks and addresses anew, as after a start."""
    _guards.pop(portal, None)


def hashed(portal: Portal, secret: str) -> str:
    """What is stored of a secret that people choose. Raises `Refused` (429) while too many are being made."""
    with _guard(portal).running(known=True):
        return _HASHER.hash(secret)


def is_right(portal: Portal, stored: str, secret: str) -> bool:
    """Whether a secret is the one that was stored so. Raises `Refused` (429) while too many are being checked."""
    with _guard(portal).running(known=False):
        return _matches(stored, secret)


class _Trying:
    """One log-in, decided in one transaction: of several at once, each sees the failures before it."""

    def __init__(self, portal: Portal, tx: Connection, address: str, network: str, known: bool) -> None:
        self._tx = tx
        self._address = address
        self._network = network
        self._known = known
        self._now = portal.clock.machine()
        self._rules = portal.settings.passwords
        self._lock_time = self._rules.lock_minutes * 60_000
        self._believed = portal.clock.steady()
        self.person = _person(tx, address)
        self.locked = self._lock()

    def decide(
        self, stored: str, matches: bool, password: str, *, one_time: bool, confirming: bool
    ) -> tuple[str, Passed | None]:
        """Why the log-in is refused, or what passed."""
        person = self.person
        if person is not None and person.login in _ELSEWHERE:
            return str(person.login), None
        # A one-time password is the way out of a lock: it cannot be guessed.
        once = one_time and tokens.valid(self._tx, password, ONE_TIME, now=self._now)
        if person is not None and not person.disabled and once == person.id:
            reason = ""
        elif self.locked:
            reason = self.locked
        elif person is None or person.disabled:
            reason = "unknown" if person is None else "disabled"
        else:
            right = matches and person.password == stored
            reason = "" if right else "wrong password" if person.password else "no password"
        if reason or person is None:
            if reason != self.locked:
                self._fail()
            return reason, None
        if person.login == "two-step" and not confirming:
            return "second factor", None
        if once:
            tokens.spend(self._tx, password, ONE_TIME, now=self._now)
        failures = login_failures.c
        here = (failures.address == self._address) & (failures.network == self._network)
        self._tx.execute(delete(login_failures).where(here))
        days = self._rules.expire_days
        expired = bool(days) and not once and self._believed >= person.password_set + days * DAY
        return "", Passed(int(person.id), self._address, int(person.epoch), bool(once), expired)

    def acts(self, reason: str, action: str) -> list[audit.Act]:
        """What the audit says of it: the log-in, and the lock it may have brought."""
        person_id = int(self.person.id) if self.person is not None else None
        detail = {"address": self._address, "network": self._network}
        acts = [audit.Act(action, "failed" if reason else "done", "person", person_id, {**detail, "reason": reason})]
        locked = "" if self.locked or not reason else self._lock()
        if locked:
            acts.append(audit.Act("lock", "done", "person", person_id, {**detail, "reason": locked}))
        return acts

    def _fail(self) -> None:
        failure = {"address": self._address, "network": self._network, "at": self._now}
        self._tx.execute(insert(login_failures), failure)

    def _lock(self) -> str:
        """Which lock the failures of the last day amount to; "" for none."""
        failures = self._tx.execute(
            select(login_failures.c.network, login_failures.c.at)
            .where(
                login_failures.c.address == self._address,
                login_failures.c.at > self._now - DAY,
                login_failures.c.at < self._now + self._lock_time,  # what a clock was ahead for locks nobody until then
            )
            .order_by(login_failures.c.at)
        ).all()
        here = [failure.at for failure in failures if failure.network == self._network]
        for first, last in zip(here, here[self._rules.lock_failures - 1 :], strict=False):
            if last - first < self._lock_time and self._now - last < self._lock_time:
                return "locked for this network"
        if not self._known and len(failures) >= limits.LOCK_FAILURES_ANYWHERE:
            return "locked"
        return ""


class _Guard:
    """What stands before the Argon2 runs of one portal: tries in a minute, and runs at once."""

    def __init__(self) -> None:
        self._networks = Quota(limits.LOGINS_PER_NETWORK, 60)
        self._addresses = Quota(limits.LOGINS_PER_ADDRESS, 60)
        self._lock = threading.Lock()
        self._running = 0

    def admit_network(self, network: str) -> None:
        """Count a try. Raises `Refused`."""
        if not self._networks.take(network).granted:
            raise _too_many()

    def admit_address(self, address: str, *, known: bool) -> None:
        """Count a try. Raises `Refused`; known bindings are counted apart, so that no stranger uses up their tries."""
        if not self._addresses.take(f"{address} {known}").granted:
            raise _too_many()

    @contextmanager
    def running(self, *, known: bool) -> Iterator[None]:
        """Room for one Argon2 run. Raises `Refused` at once where there is none."""
        most = limits.PASSWORD_CHECKS if known else limits.PASSWORD_CHECKS - 1
        with self._lock:
            if self._running >= most:
                raise _too_many()
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1


_guards: WeakKeyDictionary[Portal, _Guard] = WeakKeyDictionary()


def _guard(portal: Portal) -> _Guard:
    return _guards.setdefault(portal, _Guard())


def _too_many() -> Refused:
    return Refused("err_quota_exceeded", "Too many log-ins are tried: wait a minute.", status=429, retryable=True)


def _person(tx: Connection, address: str) -> Row[Any] | None:
    """The person, inside or outside of the account, and no app, with an address."""
    return tx.execute(select(rows).where(rows.c.address == address, rows.c.kind != "app")).first()


def _matches(stored: str, password: str) -> bool:
    """Whether a password is the one that was stored; without a stored one it costs the same, and is not."""
    try:
        return _HASHER.verify(stored or _NOBODYS, password) and bool(stored)
    except VerificationError:
        return False
