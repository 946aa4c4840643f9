"""The record of every act: counts stay true for ever, addresses and subjects can be erased (promises F.3)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, insert, select

from mimeportal_server.people import Caller
from mimeportal_server.store.prepared import Prepared
from mimeportal_server.store.schema import audit, audit_details


@dataclass(frozen=True, slots=True)
class Act:
    """One act: what was done to which object, with what outcome. `detail` holds all that names people."""

    action: str
    outcome: str
    object_kind: str
    object_id: int | None
    detail: dict[str, Any] = field(default_factory=dict)


_ACT, _DETAIL = Prepared(insert(audit)), Prepared(insert(audit_details))


def record(
    tx: Connection, acts: Sequence[Act], *, at: int, caller: Caller | None, door: str = "", request_id: str = ""
) -> None:
    """Record acts in the transaction that does them. Without a caller the portal itself acted."""
    if not acts:
        return
    # The writer holds the database alone, so the numbers after the last one are free.
    last = tx.scalar(select(func.max(audit.c.id))) or 0
    _ACT.run(
        tx,
        [
            {
                "id": number,
                "at": at,
                "door": caller.door if caller else door,
                "actor": caller.person_id if caller else None,
                "action": act.action,
                "outcome": act.outcome,
                "object_kind": act.object_kind,
                "object_id": act.object_id,
                "request_id": request_id,
            }
            for number, act in enumerate(acts, last + 1)
        ],
    )
    who = {"os_user": caller.os_user} if caller and caller.os_user else {}
    _DETAIL.run(
        tx,
        [
            {"audit_id": number, "detail": json.dumps({**who, **act.detail})}
            for number, act in enumerate(acts, last + 1)
        ],
    )
