"""Which held messages are meant: whose, of which queue, by which filter, as conditions on the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, func, literal_column, or_, true

from mimeportal import limits
from mimeportal.addresses import address_filter_kind, normalise
from mimeportal.errors import UsageError
from mimeportal.holds import contract
from mimeportal_server import deciding
from mimeportal_server.asked import date_given, forbidden, not_allowed
from mimeportal_server.clock import milliseconds
from mimeportal_server.deciding import HELD
from mimeportal_server.listing import may_match
from mimeportal_server.people import Caller
from mimeportal_server.portal import Portal
from mimeportal_server.store.schema import holds, people

_MAILBOXES = 1_000  # more are not looked for here: whoever asks filters again


def still_held(portal: Portal) -> ColumnElement[bool]:
    """In the queue: undecided, and not over its time, whether or not a sweep has run (portal-rules B.2)."""
    # The addition keeps this condition from choosing the index: nearly every row meets it.
    return and_(HELD, holds.c.received + 0 > deciding.expiry_edge(portal))


def visible(caller: Caller) -> ColumnElement[bool]:
    """The holds a caller may see at all: `people.allow(..., "see", ...)` as a condition."""
    if caller.administrator:
        return true()
    own = _personal([caller.address, *sorted(caller.delegated)])
    return or_(own, _moderated(caller)) if caller.scopes else own


def _personal(addresses: Sequence[str]) -> ColumnElement[bool]:
    """The personal queues of some mailboxes."""
    (first, *others) = addresses
    return and_(holds.c.recipient.in_(addresses) if others else holds.c.recipient == first, holds.c.level == "user")


def _moderated(caller: Caller) -> ColumnElement[bool]:
    covered = [
        holds.c.recipient == scope if "@" in scope else holds.c.recipient.endswith(f"@{scope}", autoescape=True)
        for scope in sorted(caller.scopes)
    ]
    return and_(holds.c.level == "moderator", or_(*covered)) if covered else literal_column("0") == 1


def in_queue(caller: Caller, queue: str, mailboxes: Sequence[str] | None) -> ColumnElement[bool]:
    """One queue as a condition. Raises `Refused` for what is not the caller's."""
    if queue == "personal":
        asked = list(dict.fromkeys(normalise(mailbox) for mailbox in mailboxes or [caller.address]))
        if not all(caller.acts_for(mailbox) for mailbox in asked):
            raise forbidden()
        return _personal(asked)
    if queue == "moderated":
        condition = _moderated(caller)
    elif queue == "admin":
        if not caller.administrator:
            raise forbidden()
        condition = true()
    else:
        raise not_allowed(f"Field must be one of [{','.join(contract.QUEUES)}]", "queue")
    if mailboxes and len(mailboxes) <= _MAILBOXES:
        condition = and_(condition, holds.c.recipient.in_([normalise(mailbox) for mailbox in mailboxes]))
    return condition


# -- filters -----------------------------------------------------------------------------------------------

# Conditions only narrow: never may one refuse what the same filter of the client accepts.


def address(text: str, columns: Sequence[Any], field: str) -> ColumnElement[bool]:
    """An address, a domain or a part of one in any of the columns (promises B.2). Raises `Refused`."""
    try:
        kind, value = address_filter_kind(text)
    except UsageError as fault:
        raise not_allowed(fault.what, field) from None
    if kind == "address":
        # HELD once more beside each: only so do the partial indexes serve the alternatives.
        return or_(*(and_(HELD, column == value) for column in columns))
    if kind == "domain":
        ending = f"@{value}"
        return or_(*(func.substr(column, -len(ending)) == ending for column in columns))
    return contains(value, columns, field)


def contains(text: str, columns: Sequence[Any], field: str) -> ColumnElement[bool]:
    """A text in any of the columns. Raises `Refused` for one that is too long."""
    if len(text) > limits.PATTERN:
        raise not_allowed(f"A text condition has at most {limits.PATTERN} characters.", field)
    return or_(*(may_match(text, column, folded=column is holds.c.subject_folded) for column in columns))


def dates(start: str | None, end: str | None) -> list[ColumnElement[bool]]:
    """Received between two dates, as they travel. Raises `Refused`."""
    conditions = []
    if start:
        conditions.append(holds.c.received >= milliseconds(date_given(start, "start")))
    if end:
        # What is told of a time is its second, so the whole second before `end` may be meant.
        whole = -(-milliseconds(date_given(end, "end")) // 1000) * 1000
        conditions.append(holds.c.received + 0 < whole)
    return conditions


def searched() -> Sequence[Any]:
    """The columns in which a search for everything looks."""
    return (
        holds.c.subject_folded,
        holds.c.from_address,
        holds.c.from_header,
        holds.c.recipient,
        func.lower(holds.c.reason),
    )


SEARCH_FIELDS: Mapping[str, Callable[[], Sequence[Any]]] = {
    "all": searched,
    "subject": lambda: (holds.c.subject_folded,),
    "sender": lambda: (holds.c.from_address, holds.c.from_header),
    "recipient": lambda: (holds.c.recipient,),
    "reason_code": lambda: (holds.c.reason_code,),
    "reasoncode": lambda: (holds.c.reason_code,),
}
LOG_FIELDS: Mapping[str, Callable[[], Sequence[Any]]] = {
    "all": lambda: (*searched(), people.c.address),
    "operator": lambda: (people.c.address,),
    "from": lambda: (holds.c.from_address, holds.c.from_header),
    "to": lambda: (holds.c.recipient,),
    "subject": lambda: (holds.c.subject_folded,),
    "info": lambda: (func.lower(holds.c.reject_reason),),
    "heldreason": lambda: (func.lower(holds.c.reason),),
}
