"""How a hold changes state: a pure table, and one transaction for the change with all its effects.

    state      release                   reject                    expire
    held       released                  rejected                  expired
    released   already                   failed already_released   -
    rejected   failed already_rejected   already                   -
    expired    failed expired            failed expired            -

A hold that is over its time counts as expired before any sweep marks it so. The effects of a decision,
sender list, outbox, notice and audit, stand or fall with it (promises A.6).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, insert, literal_column, select, update

from mimeportal.addresses import domain_of, parse_entry
from mimeportal.errors import UsageError
from mimeportal.holds import contract
from mimeportal.wire import Failure, JsonObject
from mimeportal_server import audit, counting, sender_lists
from mimeportal_server.clock import DAY, iso
from mimeportal_server.people import Caller, allow, only_moderates
from mimeportal_server.portal import Answer, Call, Portal
from mimeportal_server.steps import reached
from mimeportal_server.store.prepared import Prepared
from mimeportal_server.store.schema import deliveries, holds, mailbox, messages, people
from mimeportal_server.tokens import InvalidToken

# Written out, not bound, so that the partial indexes over what is held are used.
HELD = holds.c.state == literal_column("'held'")
_BATCH = 500  # holds that expire in one transaction

EVENTS = {"release": "released", "reject": "rejected", "expire": "expired"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a decision is not taken: a code, and a sentence."""

    code: str
    sentence: str


# An id that was made up or tampered with is told apart from one that names nothing (promises E.4).
_INVALID = Refusal("xdk_failure", "0007 Invalid token")


def next_state(state: str, event: str) -> str | Refusal | None:
    """The state after an event; None when it stands so already; see the table above."""
    wanted = EVENTS[event]
    if state == "held":
        return wanted
    if state == wanted:
        return None
    if state == "expired":
        return Refusal("expired", "It left the queue undecided: its time was over.")
    return Refusal(f"already_{state}", f"It was {state} before.")


def numbers(portal: Portal, ids: Iterable[str]) -> dict[str, int]:
    """The holds that valid ids name; ids that were made up or tampered with name none."""
    found = {}
    for id in ids:
        try:
            found[id] = portal.sealer.number("hold", id)
        except InvalidToken:
            continue
    return found


def expiry_edge(portal: Portal) -> int:
    """What was received up to this time has left the queue, whether or not a sweep has run (portal-rules B.2)."""
    return portal.clock.steady() - portal.settings.hold_days * DAY


# -- the three doors to a decision -------------------------------------------------------------------------


def decide(portal: Portal, call: Call) -> Answer:
    """Our own operation: decision, list entry and notice of each item in one step."""
    items = [contract.DecideItem.model_validate(item) for item in call.items]
    taken = _Deciding(portal, call).take(items)
    answer = Answer()
    for item, raw, told in zip(items, call.items, taken, strict=True):
        if isinstance(told, Refusal):
            answer.failures.append(Failure(told.code, told.sentence, key=raw))
        else:
            answer.rows.append({"id": item.id, **told})
    return answer


def release(portal: Portal, call: Call) -> Answer:
    """Mimecast's hold-release (mimecast-api-core 6.4). An id released before fails with `already_released`."""
    named = [raw for raw in call.items if "id" in raw]
    items = [contract.DecideItem(id=str(raw["id"]), decision="release") for raw in named]
    taken = _Deciding(portal, call).take(items)
    answer = _mimecast("release", [(item.id, raw) for item, raw in zip(items, named, strict=True)], taken)
    for raw in call.items:
        if "id" not in raw:
            answer.failures.append(Failure("err_validation_null", "Mandatory field is missing", "id", key=raw))
    return answer


def reject(portal: Portal, call: Call) -> Answer:
    """Mimecast's hold-reject (mimecast-api-core 6.5): the ids lie in a list inside the one item."""
    given = contract.RejectItem.model_validate(call.items[0])
    items = [
        contract.DecideItem(
            id=id,
            decision="reject",
            notify=bool(given.notify),
            message=given.message,
            reason_type=given.reason_type,
        )
        for id in given.ids
    ]
    taken = _Deciding(portal, call).take(items)
    return _mimecast("reject", [(item.id, {"ids": [item.id]}) for item in items], taken)


def _mimecast(verb: str, ids: Sequence[tuple[str, JsonObject]], taken: Sequence[Refusal | JsonObject]) -> Answer:
    answer = Answer()
    for (id, key), told in zip(ids, taken, strict=True):
        if isinstance(told, Refusal):
            answer.failures.append(Failure(told.code, told.sentence, key=key))
        elif told["outcome"] == "already":
            sentence = f"It was {EVENTS[verb]} before, by {told['by']} at {told['when']}."
            answer.failures.append(Failure(f"already_{EVENTS[verb]}", sentence, key=key))
        else:
            answer.rows.append({"id": id, verb: True})
    return answer


# -- one transaction ------------------------------------------------------------------------------------


class _Deciding:
    """Takes the decisions of one call in one transaction; each table is written once."""

    def __init__(self, portal: Portal, call: Call) -> None:
        self._portal = portal
        self._call = call
        self._caller: Caller = call.caller
        self._now = portal.clock.now()
        self._edge = expiry_edge(portal)
        self._changes: list[dict[str, Any]] = []
        self._queued: list[dict[str, Any]] = []
        self._laid: list[dict[str, Any]] = []
        self._acts: list[audit.Act] = []
        self._counts: counting.Counts = Counter()
        self._states: dict[int, str] = {}
        self._blocked: set[tuple[int, str, str]] = set()

    def take(self, items: Sequence[contract.DecideItem]) -> list[Refusal | JsonObject]:
        """A row (`outcome` and more) or a `Refusal` per item, in order."""
        wanted = numbers(self._portal, (item.id for item in items))
        with self._portal.write(self._caller) as tx:
            rows = {
                row.id: row
                for row in tx.execute(
                    select(
                        holds,
                        messages.c.blob,
                        messages.c.no_notice,
                        messages.c.mime_message_id,
                        messages.c.bounces_to,
                        people.c.address.label("operator"),
                    )
                    .join(messages, messages.c.id == holds.c.message_id)
                    .outerjoin(people, people.c.id == holds.c.decided_by)
                    .where(holds.c.id.in_(wanted.values()))
                    .order_by(holds.c.id)
                )
            }
            if any(item.decision == "release" for item in items):
                self._blocked = sender_lists.blocked(tx, {_senders(row) for row in rows.values()})
            told = [self._one(tx, item, rows.get(wanted[item.id])) if item.id in wanted else _INVALID for item in items]
            reached("decision.checked")
            self._flush(tx)
            reached("decision.written")
        reached("decision.committed")
        return told

    def _one(self, tx: Connection, item: contract.DecideItem, row: Row[Any] | None) -> Refusal | JsonObject:
        if row is None or not allow(self._caller, "see", row):
            return Refusal("not_found", "There is no such held message for this caller.")
        refusal = self._refused(item, row)
        if refusal is not None:
            return refusal
        state = self._states.get(row.id) or self._state(row)
        following = next_state(state, item.decision)
        if isinstance(following, Refusal):
            return following
        if following is None:
            by = row.operator or self._caller.address
            return {"outcome": "already", "by": by, "when": iso(row.decided or self._now)}
        entry = self._entry(item, row)
        if isinstance(entry, Refusal):
            return entry
        return self._transition(tx, item, row, following, entry)

    def _refused(self, item: contract.DecideItem, row: Row[Any]) -> Refusal | None:
        if item.decision not in ("release", "reject"):
            return Refusal("err_validation_value_not_allowed", f"There is no decision {item.decision!r}.")
        if (item.permit and item.decision != "release") or (item.block and item.decision != "reject"):
            return Refusal("err_validation_value_not_allowed", "permit goes with release, block with reject.")
        acts = [item.decision]
        acts += ["permit"] if item.permit else []
        acts += ["block"] if item.block else []
        acts += ["notify"] if item.notify else []
        for act in acts:
            if not allow(self._caller, act, row):
                return Refusal("forbidden", f"This caller may not {act} this message.")
        if item.decision == "release" and only_moderates(self._caller, row) and _senders(row) in self._blocked:
            return Refusal("sender_blocked", "Its sender is on the recipient's blocked list.")
        if item.reason_type is not None and item.reason_type.upper() not in contract.REASON_TYPES:
            return Refusal("err_validation_value_not_allowed", f"There is no reason type {item.reason_type!r}.")
        return None

    def _state(self, row: Row[Any]) -> str:
        return "expired" if row.state == "held" and row.received <= self._edge else row.state

    def _entry(self, item: contract.DecideItem, row: Row[Any]) -> tuple[str, str] | Refusal | None:
        """The list entry a decision brings: what the person saw, unless the envelope is asked for."""
        form = item.permit or item.block
        if form is None:
            return None
        if form not in ("address", "domain") or item.sender_part not in ("header", "envelope"):
            return Refusal("err_validation_value_not_allowed", "permit and block take address or domain.")
        return entry_for(self._portal, form, item.sender_part, row.from_header, row.from_address)

    def _transition(
        self,
        tx: Connection,
        item: contract.DecideItem,
        row: Row[Any],
        following: str,
        entry: tuple[str, str] | None,
    ) -> JsonObject:
        told: JsonObject = {"outcome": "done"}
        detail = {"from": row.from_address, "from_header": row.from_header, "to": row.recipient}
        detail["subject"] = row.subject
        if entry is not None:
            list = "permitted" if item.permit else "blocked"
            sender_lists.put(tx, row.person_id, *entry, list, source=f"hold {item.decision}", now=self._now)
            told["entry"] = detail["entry"] = entry[0]
        if following == "released":
            self._queue(tx, row)
            if _senders(row) in self._blocked:
                detail["sender_blocked"] = "yes"
        elif item.notify:
            told["notice"] = detail["notice"] = self._notice(tx, item, row)
        self._states[row.id] = following
        self._changes.append(
            {
                "hold": row.id,
                "to_state": following,
                "at": self._now,
                "by": self._caller.person_id,
                "request": self._call.request_id,
                "because": (item.reason_type or "").capitalize(),
            }
        )
        counting.decided(self._counts, row, following, self._now, self._caller.person_id)
        self._acts.append(audit.Act(item.decision, "done", "hold", row.id, detail))
        return told

    def _queue(self, tx: Connection, row: Row[Any]) -> None:
        sender = row.from_address
        if row.bounces_to is not None:  # as it would have left had nothing held it (promises C.6)
            from mimeportal_server import bounces

            sender = bounces.return_path(self._portal, tx, row.bounces_to, row.message_id)
        self._queued.append(
            {
                "message_id": row.message_id,
                "hold_id": row.id,
                "blob": row.blob,
                "kind": "released",
                "sender": sender,
                "recipient": row.recipient,
                "state": "queued",
                "queued": self._now,
            }
        )
        self._laid.append(_lying(row, "inbox", self._now))

    def _notice(self, tx: Connection, item: contract.DecideItem, row: Row[Any]) -> str:
        if row.kind == "spam":
            return "left out: spam hold"
        if row.no_notice:
            return f"left out: {row.no_notice}"
        from mimeportal_server import compose

        return compose.queue_reject_notice(
            self._portal,
            tx,
            to=row.from_address,
            recipient=row.recipient,
            received=row.received,
            reason_type=item.reason_type,
            text=item.message,
            answers=row.mime_message_id,
        )

    def _flush(self, tx: Connection) -> None:
        _CHANGE.run(tx, self._changes)
        _QUEUE.run(tx, self._queued)
        _LAY.run(tx, self._laid)
        counting.count(self._portal, tx, self._counts)
        audit.record(tx, self._acts, at=self._now, caller=self._caller, request_id=self._call.request_id)


def _senders(row: Row[Any]) -> tuple[int, str, str]:
    return row.person_id, row.from_address, row.from_header


def _lying(row: Row[Any], folder: str, at: int) -> dict[str, Any]:
    """A held message as it lies in its recipient's mailbox, once it is no longer held."""
    whose = {"message_id": row.message_id, "person_id": row.person_id, "recipient": row.recipient}
    return {**whose, "folder": folder, "received": at}


def entry_for(
    portal: Portal, form: str, sender_part: str, from_header: str, from_address: str
) -> tuple[str, str] | Refusal:
    """The entry for the sender of a message: `address` or `domain`, of its `header` or `envelope` (promises B.3)."""
    address = from_header if sender_part == "header" else from_address
    domain = domain_of(address)
    if not domain:
        part = "From header" if sender_part == "header" else "envelope"
        return Refusal("no_sender", f"There is no single sender in its {part}; nothing was done.")
    if domain in portal.settings.domains:
        return Refusal("own_domain", f"{address} belongs to the account's own domains; nothing was done.")
    if form == "domain" and domain in portal.settings.public_providers:
        return Refusal("public_provider", f"{domain} is a public mail provider: name the address. Nothing was done.")
    try:
        if "@" in address.removesuffix(f"@{domain}"):
            parse_entry(address)  # which @ begins the domain is a guess, unless the others are in quotes
        return parse_entry(address if form == "address" else domain)
    except UsageError:
        return Refusal("no_sender", f"{address[:80]!r} cannot stand on a sender list; nothing was done.")


_QUEUE = Prepared(insert(deliveries))
_LAY = Prepared(insert(mailbox))
_CHANGE = Prepared(
    update(holds)
    .where(holds.c.id == bindparam("hold"), holds.c.state == "held")
    .values(
        state=bindparam("to_state"),
        decided=bindparam("at"),
        decided_by=bindparam("by"),
        request_id=bindparam("request"),
        reject_reason=bindparam("because"),
    )
)


def expire(portal: Portal, tx: Connection, rows: Sequence[Row[Any]], edge: Mapping[int, int]) -> None:
    """Mark holds that are over their time; `edge` maps each to the moment it ended."""
    if not rows:
        return
    _CHANGE.run(
        tx,
        [
            {"hold": row.id, "to_state": "expired", "at": edge[row.id], "by": None, "request": "", "because": ""}
            for row in rows
        ],
    )
    counts: counting.Counts = Counter()
    for row in rows:
        counting.decided(counts, row, "expired", edge[row.id], None)
    counting.count(portal, tx, counts)
    if portal.settings.archiving:
        _LAY.run(tx, [_lying(row, "archive", row.received) for row in rows])
    acts = [
        audit.Act(
            "expire", "done", "hold", row.id, {"from": row.from_address, "to": row.recipient, "subject": row.subject}
        )
        for row in rows
    ]
    audit.record(tx, acts, at=portal.clock.now(), caller=None, door="sweep")


def expire_overdue(portal: Portal, whose: ColumnElement[bool]) -> int:
    """Mark all holds that are over their time and meet a condition, batch by batch; how many."""
    edge = expiry_edge(portal)
    keep = portal.settings.hold_days * DAY
    overdue = select(holds).where(HELD, holds.c.received <= edge, whose).order_by(holds.c.id).limit(_BATCH)
    total = 0
    while True:
        with portal.write() as tx:
            rows = tx.execute(overdue).all()
            expire(portal, tx, rows, {row.id: row.received + keep for row in rows})
        reached("sweep.expired")
        total += len(rows)
        if len(rows) < _BATCH:
            return total


def settle(portal: Portal, whose: ColumnElement[bool]) -> None:
    """Before a look into mailboxes: what is over its time lies in the archive, whether or not a sweep has run."""
    with portal.database.read() as tx:
        overdue = select(holds.c.id).where(HELD, holds.c.received <= expiry_edge(portal), whose).limit(1)
        if tx.scalar(overdue) is None:
            return
    expire_overdue(portal, whose)
