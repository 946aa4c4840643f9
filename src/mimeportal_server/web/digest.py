"""The page that a link of a digest opens: what it would decide, and one button (portal-rules B.38, B.42)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from mimeportal.holds import contract
from mimeportal.wire import Response, decode_answer, encode_request
from mimeportal_server import digests, people, tokens
from mimeportal_server.hold_conditions import still_held
from mimeportal_server.people import Caller
from mimeportal_server.portal import Refused
from mimeportal_server.store.schema import holds
from mimeportal_server.web.route import Route
from mimeportal_server.web.visit import Visit

_DECISIONS = {
    "release": {"decision": "release"},
    "permit": {"decision": "release", "permit": "address"},
    "block": {"decision": "reject", "block": "address"},
}


@dataclass(frozen=True, slots=True)
class _Link:
    """What a link stands for: whose it is, what it does, and those of its messages that are still undecided."""

    caller: Caller
    verb: str
    held: Sequence[Row[Any]]
    count: int  # of all its messages


def _open(visit: Visit) -> Response:
    """Keep the link in a cookie and go where its secret is not in the path (promises E.2)."""
    secret = visit.parameters["secret"]
    visit.opened(digests.PURPOSE, secret)
    name = tokens.digest(secret)[:16]
    visit.keep(digests.PURPOSE, secret, name)
    return visit.go(f"{digests.PATH}/of/{name}")


def _ask(visit: Visit) -> Response:
    return visit.page("digest.html", link=_link(visit), told=None, label=digests.VERBS)


def _decide(visit: Visit) -> Response:
    """The button was pressed: decide on what is still undecided, as whoever the digest was for."""
    link = _link(visit)
    told: Counter[str] = Counter()
    items = [
        contract.DecideItem(id=visit.portal.sealer.id("hold", row.id), **_DECISIONS[link.verb]) for row in link.held
    ]
    if items:
        body = encode_request([item.to_json() for item in items])
        response = visit.call(contract.DECIDE, [body], caller=link.caller)
        answer = decode_answer(b"".join(response.body), status=response.status)
        for failure in answer.failures:
            if failure.key is None:
                raise Refused(failure.code, failure.message, status=max(response.status, 400))
            told[failure.message] += 1
        told["done"] = sum(row.get("outcome") == "done" for row in answer.rows)
    return visit.page("digest.html", link=link, told=told, label=digests.VERBS)


def _link(visit: Visit) -> _Link:
    granted = visit.opened(digests.PURPOSE, visit.link(digests.PURPOSE, visit.parameters["name"]))
    verb, *numbers = str(granted.object).split()
    with visit.portal.database.read() as tx:
        caller = people.caller_of(tx, granted.address, "digest")
        rows = tx.execute(
            select(holds)
            .where(holds.c.id.in_([int(number) for number in numbers]), still_held(visit.portal))
            .order_by(holds.c.id)
        ).all()
    if caller is None:
        raise Refused("err_link", "This link is wrong, or its time is over.", status=410)
    return _Link(caller, verb, [row for row in rows if people.allow(caller, "see", row)], len(numbers))


ROUTES = [
    Route("GET", f"{digests.PATH}/{{secret}}", _open),
    Route("GET", f"{digests.PATH}/of/{{name}}", _ask),
    Route("POST", f"{digests.PATH}/of/{{name}}", _decide),
]
