"""The audit as reports and Mimecast's get-audit-events tell it: who did what to what, and when (api-portal 6.4)."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal, or_, select

from mimeportal import limits
from mimeportal.reports import contract
from mimeportal.wire import Failure, JsonObject, format_date
from mimeportal_server.asked import administrators_only, date_given, not_allowed
from mimeportal_server.clock import DAY, iso, milliseconds, moment
from mimeportal_server.listing import Keyset, may_match
from mimeportal_server.portal import Answer, Call, Portal
from mimeportal_server.store.schema import audit, audit_details, people

_KEPT = 60 * DAY  # as far back as the events are asked for

# code -> (name, what belongs to it). Mimecast's first is known from recordings; the others are ours.
_AUTHENTICATION = ("log in", "log out", "lock", "confirm password", "set password")
CATEGORIES: dict[str, tuple[str, ColumnElement[bool]]] = {
    "authentication_logs": ("Authentication", audit.c.action.in_(_AUTHENTICATION)),
    "held_message_logs": ("Held Messages", audit.c.object_kind == "hold"),
    "message_logs": ("Messages", audit.c.object_kind.in_(("message", "copy", "delivery"))),
    "managed_sender_logs": ("Managed Senders", audit.c.object_kind == "sender entry"),
    "account_logs": ("Account", literal(1) == 1),
}
CATEGORY = case(*((belongs, literal(code)) for code, (_, belongs) in CATEGORIES.items()))

ACTS = (
    select(
        audit.c.at.label("when"),
        people.c.address,
        audit.c.action,
        CATEGORY.label("category"),
        audit.c.outcome,
        audit.c.door,
        audit.c.object_kind,
        audit.c.object_id,
        audit_details.c.detail,
        audit.c.request_id,
    )
    .select_from(audit)
    .outerjoin(people, people.c.id == audit.c.actor)
    .outerjoin(audit_details, audit_details.c.audit_id == audit.c.id)
)


def values(row: Any) -> list[Any]:
    """A row of `ACTS` as the report tells it."""
    when, user, action, category, outcome, door, kind, number, detail, *_ = row
    object = f"{kind} {number}" if number is not None else kind
    return [iso(when), user or "", action, category, outcome, door, object, _info(detail)]


def _info(detail: str | None) -> str:
    """What an act's detail says, on one line; erased with whom it names."""
    told: JsonObject = json.loads(detail) if detail else {}
    return ", ".join(f"{name}: {_text(value)}" for name, value in told.items() if value not in ("", None, []))


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


# -- Mimecast's operations -------------------------------------------------------------------------------------


def find(portal: Portal, call: Call) -> Answer:
    """get-audit-events: of a time, newest first; both ends must be named, and lie at most 60 days back."""
    administrators_only(call)
    raw = call.items[0]
    missing = [
        Failure("err_validation_null", "Mandatory field is missing", name, key=raw)
        for name in ("startDateTime", "endDateTime")
        if not raw.get(name)
    ]
    if missing:
        return Answer(failures=missing)
    item = contract.AuditEventsItem.model_validate(raw)
    start = milliseconds(date_given(item.start_date_time, "startDateTime"))
    end = milliseconds(date_given(item.end_date_time, "endDateTime"))
    if start < portal.clock.now() - _KEPT - DAY:
        raise not_allowed("The start lies at most 60 days back.", "startDateTime")
    conditions: list[ColumnElement[bool]] = [audit.c.at >= start, audit.c.at < end]
    for code in item.categories or ():
        if code not in CATEGORIES:
            raise not_allowed(f"Field must be one of [{','.join(CATEGORIES)}]", "categories")
    if item.categories:
        conditions.append(CATEGORY.in_(item.categories))
    if item.query:
        if len(item.query) > limits.PATTERN:
            raise not_allowed(f"A text condition has at most {limits.PATTERN} characters.", "query")
        searched = (audit.c.action, people.c.address, audit_details.c.detail)
        found = [and_(column.is_not(None), may_match(item.query, func.lower(column))) for column in searched]
        conditions.append(or_(*found))
    keyset = Keyset(portal, call, "reports.audit_events", audit.c.id)
    with portal.database.read() as tx:
        rows, block = keyset.fetch(tx, ACTS.add_columns(audit.c.id).where(*conditions))
    return Answer([_event(portal, row) for row in rows], page=block)


def _event(portal: Portal, row: Any) -> JsonObject:
    when = moment(row.when)
    info = _info(row.detail)
    detail = json.loads(row.detail) if row.detail else {}
    if row.action == "log in":
        ended = "Successful" if row.outcome == "done" else "Failed"
        info = f"{ended} authentication for {detail.get('address') or row.address or ''}"
    told = f"{info}, Date: {when:%Y-%m-%d}, Time: {when:%H:%M:%S}+0000, Application: {row.door}"
    failed = "" if row.outcome == "done" else f" {row.outcome}"
    return {
        "id": portal.sealer.id("audit", row.id),
        "auditType": f"{row.action}{failed}".title(),
        "user": row.address or detail.get("address") or "",
        "eventTime": format_date(when),
        "eventInfo": told.removeprefix(", "),
        "category": row.category,
    }


def categories(portal: Portal, call: Call) -> Answer:
    """get-categories: the codes that get-audit-events takes."""
    administrators_only(call)
    return Answer(
        [
            {"id": portal.sealer.id("category", number), "code": code, "name": name}
            for number, (code, (name, _)) in enumerate(CATEGORIES.items(), 1)
        ]
    )
