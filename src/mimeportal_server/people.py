"""The portal's people, and the one function that decides whether a caller may do something to a hold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from mimeportal.addresses import domain_of, parse_address, parse_entry
from mimeportal.errors import UsageError
from mimeportal_server import tokens
from mimeportal_server.clock import DAY
from mimeportal_server.store.schema import delegates, login_failures, moderates, people

ROLES = ("user", "administrator")
LOGINS = ("cloud", "domain", "sso", "two-step")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, through which door. `os_user` is the machine's own name for an embedded caller.

    `scopes` are what they moderate, `delegated` the addresses whose owners let them act as themselves.
    `api` says how they showed who they are: `api2` by a bearer token, `api1` by a signature, `local` inside the
    process. `once` names a signed request: with an act it is recorded, so that it is never acted on again.
    """

    person_id: int
    address: str
    role: str
    content_view: bool
    scopes: frozenset[str]
    delegated: frozenset[str]
    door: str
    os_user: str = ""
    api: Literal["api1", "api2", "local"] = "local"
    once: str = ""

    @property
    def administrator(self) -> bool:
        return self.role == "administrator"

    @property
    def outside(self) -> bool:
        """Whether they only have secure messages here (portal-rules A.4)."""
        return self.role == "outside"

    def acts_for(self, address: str) -> bool:
        """Whether a mailbox is this caller's own, or its owner made them a delegate (portal-rules C.8, H.6)."""
        return address == self.address or address in self.delegated

    def covers(self, address: str) -> bool:
        """Whether this caller moderates mail to an address (portal-rules B.24 to B.28)."""
        return address in self.scopes or domain_of(address) in self.scopes


# Who asks where nobody needs to have shown who they are: to log in, or for a token.
NOBODY = Caller(0, "", "", False, frozenset(), frozenset(), "http")


class HoldFacts(Protocol):
    """What `allow()` needs to know of a hold."""

    @property
    def recipient(self) -> str: ...
    @property
    def level(self) -> str: ...


# portal-rules B.31 and H: what each capacity may do with the holds it covers.
_OWNER = frozenset({"see", "content", "release", "reject", "permit", "block"})
_MODERATOR = frozenset({"see", "content", "release", "reject", "notify"})
_ADMINISTRATOR = frozenset({"see", "release", "reject", "permit", "block", "notify"})


def allow(caller: Caller, act: str, hold: HoldFacts) -> bool:
    """Whether this caller may do this to this hold.

    Acts: `see`, `content`, `release`, `reject`, `permit`, `block`, `notify`. Owners and their delegates
    act on their own user-level holds, moderators on moderator-level holds they cover (release and reject only),
    administrators on all; content needs the content view permission (portal-rules B.30 to B.32, H).
    """
    if hold.level == "user" and act in _OWNER and caller.acts_for(hold.recipient):
        return True
    if hold.level == "moderator" and act in _MODERATOR and caller.covers(hold.recipient):
        return True
    return caller.administrator and (act in _ADMINISTRATOR or (act == "content" and caller.content_view))


# portal-rules F.15, F.26 to F.36 and H: what each capacity may do with a secure message.
_SENDER = frozenset({"see", "read", "print", "delete", "restore", "recall", "extend", "expire", "notify"})
_OUTSIDE_SENDER = frozenset({"see", "read", "print", "delete", "restore"})
_RECIPIENT = frozenset({"see", "read", "print", "reply", "reply_all", "mark", "delete", "restore"})
_MONITOR = frozenset({"see", "monitor", "recall", "expire"})


def allow_secure(caller: Caller, act: str, sender: str, recipients: Collection[str]) -> bool:
    """Whether this caller may do this to a secure message, as far as it depends on who they are to it.

    `sender` and `recipients` are addresses. What the sender forbids and the state of the message are asked beside
    it (`secure_states`). Administrators see content with the content view permission.
    """
    if caller.acts_for(sender) and act in (_OUTSIDE_SENDER if caller.outside else _SENDER):
        return True
    if act in _RECIPIENT and any(caller.acts_for(address) for address in recipients):
        return True
    return caller.administrator and (act in _MONITOR or (act == "read" and caller.content_view))


def only_moderates(caller: Caller, hold: HoldFacts) -> bool:
    """Whether the caller can act on this hold in no other capacity than a moderator's."""
    return not caller.administrator and not (caller.acts_for(hold.recipient) and hold.level == "user")


_SCOPES = select(moderates.c.scope).where(moderates.c.person_id == bindparam("person"))
_DELEGATED = (
    select(people.c.address)
    .join(delegates, delegates.c.owner_id == people.c.id)
    .where(delegates.c.delegate_id == bindparam("person"), people.c.disabled.is_(False))
)

_BY_ADDRESS = select(people).where(people.c.address == bindparam("address"))


def caller_of(tx: Connection, address: str, door: str, os_user: str = "") -> Caller | None:
    """The caller with this address, or the app `app:NAME`; None when there is none, or they are disabled."""
    person = find(tx, address)
    return None if person is None or person.disabled else caller(tx, person, door, os_user=os_user)


def caller(
    tx: Connection,
    person: Row[Any],
    door: str,
    *,
    os_user: str = "",
    api: Literal["api1", "api2", "local"] = "local",
    once: str = "",
) -> Caller:
    """A person, or an app, as whoever asks."""
    scopes = frozenset(tx.scalars(_SCOPES, {"person": person.id}))
    delegated = frozenset(tx.scalars(_DELEGATED, {"person": person.id}))
    return Caller(
        person.id, person.address, person.role, person.content_view, scopes, delegated, door, os_user, api, once
    )


def owner_of(tx: Connection, caller: Caller, mailbox: str | None) -> Row[Any] | None:
    """The person whose mailbox is asked for (None: the caller's own), where the caller may use it as its owner.

    Owners, their delegates, and administrators on any person's behalf (portal-rules C.8, D.22, H).
    """
    try:
        address = caller.address if mailbox is None else parse_address(mailbox)
    except UsageError:
        return None
    if not caller.acts_for(address) and not caller.administrator:
        return None
    person = find(tx, address)
    if person is None or (person.kind != "person" and not (caller.outside and person.id == caller.person_id)):
        return None
    return person


def may_read(caller: Caller, owner: str) -> bool:
    """Whether a caller may see what the messages in somebody's mailbox say, and search them.

    Owners, their delegates, and administrators with the permission to view content (portal-rules H, H.6).
    """
    return caller.acts_for(owner) or (caller.administrator and caller.content_view)


def find(tx: Connection, address: str) -> Row[tuple[object, ...]] | None:
    """The person with a normalised address, or the app `app:NAME`."""
    return tx.execute(_BY_ADDRESS, {"address": address}).first()


def add(
    tx: Connection,
    address: str,
    *,
    role: str | None = None,
    scopes: tuple[str, ...] | None = None,
    content_view: bool | None = None,
    login: str | None = None,
    domains: tuple[str, ...],
    now: int,
) -> tuple[int, bool]:
    """Add a person, or give one that is there another role, scopes or log-in; the id, and whether it is new.

    `login` is how they log in: with a password of this portal (`cloud`), or as it says elsewhere. What is None stays
    as it is; a new person is a user who moderates nobody, and who becomes an administrator may view content.
    Raises `UsageError` for a bad address or one outside the portal's domains.
    """
    normal = parse_address(address)
    if domain_of(normal) not in domains:
        raise UsageError(
            f"{normal} is outside of the portal's domains ({', '.join(domains)}).",
            remedy="Add the domain to `domains` in portal.toml, or name another address.",
        )
    known = find(tx, normal)
    if known is not None and known.kind == "person":
        role = role or str(known.role)
        scopes = tuple(tx.scalars(_SCOPES, {"person": known.id})) if scopes is None else scopes
        if content_view is None and known.role == "administrator":
            content_view = known.content_view
    person_id, new = appoint(
        tx, normal, role=role or "user", scopes=scopes or (), content_view=content_view is not False, now=now
    )
    if login is not None:
        if login not in LOGINS:
            raise UsageError(f"There is no log-in {login!r}.", remedy=f"Use one of: {', '.join(LOGINS)}.")
        other = (people.c.id == person_id) & (people.c.login != login)
        tx.execute(update(people).where(other).values(login=login, epoch=people.c.epoch + 1))
    return person_id, new


def appoint(
    tx: Connection,
    address: str,
    *,
    kind: str = "person",
    role: str,
    scopes: tuple[str, ...],
    content_view: bool,
    now: int,
) -> tuple[int, bool]:
    """Give a person or an app a role and scopes, making the row if there is none; its id, and whether it is new.

    Raises `UsageError` for a role or a scope that is none.
    """
    if role not in ROLES:
        raise UsageError(f"There is no role {role!r}.", remedy=f"Use one of: {', '.join(ROLES)}.")
    parsed = [parse_entry(scope)[0] for scope in scopes]
    person = find(tx, address)
    values: dict[str, Any] = {"role": role, "content_view": content_view and role == "administrator"}
    if person is None:
        created = tx.execute(insert(people), {"address": address, "kind": kind, "created": now, **values})
        assert created.inserted_primary_key is not None
        person_id = int(created.inserted_primary_key[0])
    else:
        person_id = int(person.id)
        if person.kind != kind:  # whoever was outside until now, and had only secure messages here
            values |= {"kind": kind, "epoch": people.c.epoch + 1}
        tx.execute(update(people).where(people.c.id == person_id).values(**values))
        tx.execute(delete(moderates).where(moderates.c.person_id == person_id))
    if parsed:
        tx.execute(insert(moderates), [{"person_id": person_id, "scope": scope} for scope in dict.fromkeys(parsed)])
    return person_id, person is None


def disable(tx: Connection, person_id: int, disabled: bool) -> None:
    """Disable or enable a person; either way everything that was handed out before ends."""
    tx.execute(update(people).where(people.c.id == person_id).values(disabled=disabled, epoch=people.c.epoch + 1))


def reset(tx: Connection, person_id: int, now: int) -> str:
    """A one-time password, good for one day and one use; earlier ones, and the person's own, end. Stored as a hash."""
    tx.execute(update(people).where(people.c.id == person_id).values(password="", epoch=people.c.epoch + 1))
    unlock(tx, person_id)
    return tokens.issue(tx, "one-time password", person_id, expires=now + DAY)


def unlock(tx: Connection, person_id: int) -> None:
    """Forget the log-ins that failed, and with them whatever they locked (promises E.3)."""
    address = select(people.c.address).where(people.c.id == person_id).scalar_subquery()
    tx.execute(delete(login_failures).where(login_failures.c.address == address))


def in_order(tx: Connection, *, outside: bool = False) -> list[tuple[Row[tuple[object, ...]], list[str]]]:
    """All people of the account, or those `outside`, by address, each with their scopes. Apps are none of them."""
    scopes: dict[int, list[str]] = {}
    for row in tx.execute(select(moderates).order_by(moderates.c.scope)):
        scopes.setdefault(row.person_id, []).append(row.scope)
    kind = "outside" if outside else "person"
    persons = select(people).where(people.c.kind == kind).order_by(people.c.address)
    return [(row, scopes.get(row.id, [])) for row in tx.execute(persons)]
