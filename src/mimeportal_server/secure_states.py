"""How a secure message changes state, and what its state and its sender's restrictions leave: pure tables.

    state      open     recall            extend             expire
    sent       read     recalled          extended           sent
    extended   read     recalled          extended           extended
    read       read     recalled          read               read
    recalled   failed   already           failed recalled    failed recalled

Each recipient of a message has a state of their own; only the openings differ, so it is kept as the time of the
first opening beside what holds for all of them: recalled, extended, expiry. The state of a message as a whole is
`read` once anybody opened it (portal-rules F.9, F.34). Expired is no state but a flag, derived from the time of
asking: the expiry can only be moved while it lies ahead (F.27), `expire` moves it to now.

What a recipient may still do (portal-rules F.7, F.8):

    act           needs                      recalled   expired
    read          -                          refused    refused where `expired_blocks_read`
    print         print allowed              refused    refused where `expired_blocks_read`
    reply         reply allowed              refused    refused
    reply_all     reply all allowed          refused    refused
    mark          -                          refused    -
    delete        -                          refused    -
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is not done: a code, and a sentence."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides about a message: times in milliseconds, None for what never happened or never will.

    `opened` is of one recipient, or of whoever opened it first.
    """

    expires: int | None = None
    extended: int | None = None
    recalled: int | None = None
    opened: int | None = None


@dataclass(frozen=True, slots=True)
class Restrictions:
    """What the sender lets recipients do."""

    print: bool = True
    reply: bool = True
    reply_all: bool = True


RECIPIENT_ACTS = ("read", "print", "reply", "reply_all", "mark", "delete", "restore")
_NEEDS = {"print": "print it", "reply": "reply to it", "reply_all": "reply to all of it"}
_RECALLED = Refusal("recalled", "Its sender has recalled it.")
_EXPIRED = Refusal("expired", "It has expired.")


def status(facts: Facts) -> str:
    """`recalled`, `read`, `extended` or `sent`."""
    if facts.recalled is not None:
        return "recalled"
    if facts.opened is not None:
        return "read"
    return "sent" if facts.extended is None else "extended"


def expired(facts: Facts, now: int) -> bool:
    return facts.expires is not None and facts.expires <= now


def recalling(facts: Facts, *, only_if_unread: bool) -> Refusal | None:
    """Why a message cannot be recalled; whoever asks knows already whether it stands so."""
    if only_if_unread and facts.opened is not None:
        return Refusal("already_read", "It was read, and this account recalls only what nobody has read.")
    return None


def extending(facts: Facts, until: int, now: int, *, latest: int) -> Refusal | None:
    """Why the expiry cannot be moved to `until`; `latest` is where the account's retention ends (F.27)."""
    if facts.recalled is not None:
        return _RECALLED
    if facts.expires is None:
        return Refusal("no_expiry", "It does not expire: there is nothing to extend.")
    if expired(facts, now):
        return Refusal("expired", "It has expired, and only what has not yet can be extended.")
    if until <= facts.expires:
        return Refusal("err_validation_value_not_allowed", "The new expiry is not later than the one that stands.")
    if until > latest:
        return Refusal("err_validation_value_not_allowed", "The new expiry is beyond the account's retention.")
    return None


def expiring(facts: Facts) -> Refusal | None:
    """Why a message cannot be made to expire now."""
    return _RECALLED if facts.recalled is not None else None


def refused(
    act: str,
    facts: Facts,
    restrictions: Restrictions,
    now: int,
    *,
    expired_blocks_read: bool,
    switched_off: Collection[str] = (),
) -> Refusal | None:
    """Why a recipient may not do this now; None where they may. `switched_off` are the account's own refusals."""
    if facts.recalled is not None:
        return _RECALLED
    if act in switched_off:
        return Refusal("forbidden", "This account does not offer that.")
    if act in _NEEDS and not getattr(restrictions, act):
        return Refusal("forbidden", f"Its sender does not let its recipients {_NEEDS[act]}.")
    closed = {"reply", "reply_all"} | ({"read", "print"} if expired_blocks_read else set())
    return _EXPIRED if act in closed and expired(facts, now) else None
