"""Acts that create something carry an id which their client made: a repeat gets the first answer (promises C.7).

`earlier` and `remember` are called in the transaction of the act, so that the act and the memory of it stand or fall
together.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from mimeportal import limits
from mimeportal.wire import JsonObject
from mimeportal_server.clock import DAY
from mimeportal_server.people import Caller
from mimeportal_server.portal import Portal, Refused
from mimeportal_server.store.schema import requested

KEPT = 7 * DAY


def before(portal: Portal, caller: Caller, request_id: str, content: Any) -> JsonObject | None:
    """As `earlier`, asked before anything else is done: what a request named may be gone when it comes again.

    A signed request that is answered so counts as acted on, and is refused when it comes once more (promises E.4).
    """
    with portal.database.read() as tx:
        known = earlier(tx, caller, request_id, content)
    if known is not None:
        with portal.write(caller):
            return known
    return None


def earlier(tx: Connection, caller: Caller, request_id: str, content: Any) -> JsonObject | None:
    """The answer to this request when it came before; None when it is the first.

    `content` is what the client asked for, as JSON. Raises `Refused` when the id stands for other content, or is none.
    """
    if not 0 < len(request_id) <= limits.REQUEST_ID:
        raise Refused(
            "err_validation_value_not_allowed", f"requestId has 1 to {limits.REQUEST_ID} characters.", field="requestId"
        )
    found = tx.execute(
        select(requested.c.content, requested.c.answer).where(
            requested.c.person_id == caller.person_id, requested.c.request_id == request_id
        )
    ).first()
    if found is None:
        return None
    if found.content != _digest(content):
        raise Refused("err_request_id_reused", "This request id stands for another request.", field="requestId")
    answer: JsonObject = json.loads(found.answer)
    return answer


def remember(tx: Connection, caller: Caller, request_id: str, content: Any, answer: JsonObject, *, now: int) -> None:
    """Keep the answer to a first request for 7 days."""
    tx.execute(
        insert(requested),
        {
            "person_id": caller.person_id,
            "request_id": request_id,
            "content": _digest(content),
            "answer": json.dumps(answer),
            "at": now,
        },
    )


def forget(tx: Connection, *, now: int) -> None:
    """Let go of what is older than that."""
    tx.execute(delete(requested).where(requested.c.at < now - KEPT))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
