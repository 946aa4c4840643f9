"""How a message comes in: its octets stored, screened for each recipient, then held, queued or dropped.

The one way in for import and SMTP alike. A batch is durable, octets first, when `accept()` returns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, bindparam, func, insert, select, update

from mimeportal.addresses import domain_of, normalise
from mimeportal.patterns import fold
from mimeportal_server import audit, auto_permit, bounces, contacts, counting, searching
from mimeportal_server.incoming import FULL, NOT_FOR_ALL, Incoming, Result
from mimeportal_server.people import Caller
from mimeportal_server.portal import Portal
from mimeportal_server.screening import Arrival, Fate, asked_about, dmarc_failed, matches, screen
from mimeportal_server.sender_lists import lists_of
from mimeportal_server.settings import HoldRule
from mimeportal_server.settings_secure import Trigger
from mimeportal_server.steps import reached
from mimeportal_server.store.blobs import name_of
from mimeportal_server.store.prepared import Prepared
from mimeportal_server.store.schema import copies, deliveries, holds, imports, mailbox, messages, people

_INSERT = {table: Prepared(insert(table)) for table in (messages, imports, copies, holds, deliveries, mailbox)}
_LAST = {table: select(func.max(table.c.id)) for table in (messages, holds)}
_KEPT = select(people.c.octets).where(people.c.id == bindparam("person"))
_KEEP = update(people).where(people.c.id == bindparam("person")).values(octets=bindparam("kept"))


def accept(portal: Portal, batch: Sequence[Incoming], *, door: str) -> list[list[Result]]:
    """Store, screen and hold or queue a batch; results per message and recipient, in order.

    Raises `UnavailableError` when the disk is nearly full, `OSError` when it fails: then nothing was taken.
    """
    blobs = store(portal, batch)
    with portal.write() as tx:
        results = accept_within(portal, tx, batch, blobs, door=door)
    reached("import.committed")
    return results


def store(portal: Portal, batch: Sequence[Incoming]) -> dict[str, bytes]:
    """The first half of `accept`, before its transaction: the octets, durable, by their names."""
    portal.home.refuse_if_full()
    blobs: dict[str, bytes] = {}
    for entry in batch:
        entry.blob = name_of(entry.octets)
        blobs[entry.blob] = entry.octets
        if entry.outside_octets is not None:
            entry.outside_blob = name_of(entry.outside_octets)
            blobs[entry.outside_blob] = entry.outside_octets
    portal.home.blobs.add(blobs)
    reached("import.blobs")
    return blobs


def accept_within(
    portal: Portal, tx: Connection, batch: Sequence[Incoming], blobs: dict[str, bytes], *, door: str
) -> list[list[Result]]:
    """The second half, in a transaction that also holds what else belongs to it."""
    # Only now no sweep can let go of octets that were there before, and that nothing kept.
    portal.home.blobs.add_missing(blobs)
    writer = _Writer(portal, tx, door, batch)
    known = writer.known_imports(batch, [entry.blob for entry in batch])
    results = [writer.take(entry, entry.blob, known) for entry in batch]
    writer.flush()
    for entry, inside, trigger in writer.diverted:
        from mimeportal_server import secure_laying

        secure_laying.divert(portal, tx, entry, inside, trigger)
    reached("import.written")
    return results


class _Writer:
    """Gathers the rows of a batch, so that each table is written once."""

    def __init__(self, portal: Portal, tx: Connection, door: str, batch: Sequence[Incoming]) -> None:
        self._portal = portal
        self._tx = tx
        self._batch = batch
        self._door = door
        self._rows: dict[Table, list[dict[str, Any]]] = {table: [] for table in _INSERT}
        self._searched: list[searching.Searched] = []
        self._acts: dict[Caller | None, list[audit.Act]] = {}
        self._counts: counting.Counts = Counter()
        self._last = {table: tx.scalar(last) or 0 for table, last in _LAST.items()}
        self._lists: dict[int, dict[str, str]] = {}
        self._octets: dict[int, int] = {}  # person -> octets kept for them, with this batch
        self.diverted: list[tuple[Incoming, Sequence[tuple[int, str]], Trigger]] = []
        self._sent_to: dict[Caller, list[str]] = {}  # whom outside each of them wrote to

    def known_imports(self, batch: Sequence[Incoming], names: Sequence[str]) -> set[tuple[str, ...]]:
        """What was imported before of the octets in this batch, as (path, position, blob, recipient)."""
        if not any(entry.source and not entry.again for entry in batch):
            return set()
        columns = (imports.c.path, imports.c.position, imports.c.blob, imports.c.recipient)
        return {tuple(row) for row in self._tx.execute(select(*columns).where(imports.c.blob.in_(names)))}

    def take(self, entry: Incoming, name: str, known: set[tuple[str, ...]]) -> list[Result]:
        if entry.whole and not entry.admitted and (full := self._without_room(entry)):
            sender = entry.by.person_id if entry.by is not None else 0
            copies_of = [*entry.recipients, *((sender, address) for address in (*entry.outside, *entry.secure))]
            return [
                Result(recipient, "refused", FULL if person_id in full else NOT_FOR_ALL)
                for person_id, recipient in copies_of
            ]
        results: list[Result] = []
        message_id = 0
        trigger = self._trigger(entry)
        if trigger is not None:
            self.diverted.append((entry, entry.recipients, trigger))
            results = [Result(recipient, "secure", trigger.policy) for _, recipient in entry.recipients]
            entry.recipients, entry.secure, entry.outside = (), entry.outside, ()
        for person_id, recipient in entry.recipients:
            key = (*entry.source, name, recipient) if entry.source else None
            if key in known:
                results.append(Result(recipient, "already", "imported before"))
                continue
            if not self._count(person_id, entry):
                results.append(Result(recipient, "refused", FULL))
                continue
            message_id = message_id or self._message(entry, name)
            if key and not entry.again:
                known.add(key)
                self._rows[imports].append(
                    dict(zip(("path", "position", "blob", "recipient"), key, strict=True), message_id=message_id)
                )
            results.append(self._copy(entry, name, message_id, person_id, recipient))
        if entry.by is not None:
            message_id = message_id or self._message(entry, name)
            if not entry.by.outside:  # who is outside has no mailbox here
                self._lay(entry, message_id, entry.by.person_id, "sent")
            results += [self._send(entry, name, message_id, entry.by, recipient) for recipient in entry.outside]
            results += [self._keep(entry, message_id, entry.by, recipient) for recipient in entry.secure]
            own = self._portal.settings.domains
            outside = [*entry.outside, *(address for address in entry.secure if domain_of(address) not in own)]
            if (
                outside
                and not entry.by.outside
                and auto_permit.arises(self._tx, self._portal.settings, entry.by, entry.summary)
            ):
                self._sent_to.setdefault(entry.by, []).extend(outside)
            self._count_contacts(entry, entry.by)
        for token in entry.bounce_tokens:
            bounces.take(self._portal, self._tx, token, entry.octets)
        return results

    def _count_contacts(self, entry: Incoming, by: Caller) -> None:
        """Remember to whom somebody wrote; what a program sent for them tells nothing."""
        if entry.summary.auto_submitted or by.outside or "@" not in by.address:  # an application has no contacts
            return
        addresses = [*(address for _, address in entry.recipients), *entry.outside, *entry.secure]
        named = {normalise(address): name for address, name in (*entry.summary.to, *entry.summary.cc)}
        written_to = [address for address in addresses if address != by.address]
        contacts.count(self._tx, by.person_id, written_to, named, now=entry.received)

    def _trigger(self, entry: Incoming) -> Trigger | None:
        """The rule by which what somebody sends outside is sent securely, if one fits any recipient there."""
        secure = self._portal.settings.secure
        if entry.by is None or not entry.outside or secure.mode == "off":
            return None
        size = len(entry.octets)
        arrivals = [Arrival(entry.envelope_from, address, entry.summary, size, True) for address in entry.outside]
        return next((rule for rule in secure.triggers if any(matches(rule, arrival) for arrival in arrivals)), None)

    def _count(self, person_id: int, entry: Incoming) -> bool:
        """Count a message against its person's quota, unless it is over."""
        size = len(entry.octets)
        if not entry.admitted and self._kept_for(person_id) + size > self._portal.settings.limits["person_octets"]:
            return False
        self._octets[person_id] = self._kept_for(person_id) + size
        return True

    def _without_room(self, entry: Incoming) -> set[int]:
        """Whose quota has no room for all of a message: copies for those outside are kept as their sender's."""
        wanted = Counter(person_id for person_id, _ in entry.recipients)
        if entry.by is not None:
            wanted[entry.by.person_id] += len(entry.outside) + len(entry.secure)
        most = self._portal.settings.limits["person_octets"]
        size = len(entry.octets)
        return {person for person, count in wanted.items() if count and self._kept_for(person) + count * size > most}

    def _kept_for(self, person_id: int) -> int:
        if person_id not in self._octets:
            self._octets[person_id] = int(self._tx.scalar(_KEPT, {"person": person_id}) or 0)
        return self._octets[person_id]

    def _message(self, entry: Incoming, name: str) -> int:
        summary = entry.summary
        number = entry.number = self._next(messages)
        if entry.bounces_to is not None:
            entry.return_path = bounces.return_path(self._portal, self._tx, entry.bounces_to.person_id, number)
        self._rows[messages].append(
            {
                "id": number,
                "blob": name,
                "size": len(entry.octets),
                "envelope_from": entry.envelope_from,
                "from_header": summary.from_address or "",
                "from_name": summary.from_name,
                "subject": summary.subject,
                "mime_message_id": summary.message_id,
                "route": "outbound" if entry.outside or entry.secure else self._route(entry),
                "remote_ip": entry.origin.ip,
                "remote_host": entry.origin.host,
                "encrypted": entry.origin.encrypted,
                "has_attachments": summary.has_attachments,
                "attachment_count": sum(not entry.inline for entry in summary.attachments),
                "no_notice": self._no_notice(entry),
                "bounces_to": entry.bounces_to.person_id if entry.bounces_to is not None else None,
                "received": entry.received,
            }
        )
        self._searched.append(searching.Searched(number, entry.envelope_from, entry.summary, entry.text))
        return number

    def _copy(self, entry: Incoming, name: str, message_id: int, person_id: int, recipient: str) -> Result:
        fate = self._fate(entry, person_id, recipient)
        outcome, hold_id = fate.outcome, None
        if fate.rule is not None:
            hold_id = self._hold(entry, fate.rule, message_id, person_id, recipient)
        elif outcome == "delivered":
            self._queue(entry, name, message_id, "screened", recipient)
            self._lay(entry, message_id, person_id, "inbox", recipient)
        self._note(entry, message_id, hold_id, person_id, recipient, outcome, fate.decided_by)
        reason = fate.rule.reason if fate.rule else fate.decided_by
        return Result(recipient, outcome, reason, entry.summary.notes)

    def _send(self, entry: Incoming, name: str, message_id: int, by: Caller, recipient: str) -> Result:
        """One of the portal's people writes to somebody outside: nothing is screened, the copy is kept as theirs."""
        self._count(by.person_id, entry)
        self._queue(entry, entry.outside_blob or name, message_id, "submitted", recipient)
        self._note(entry, message_id, None, by.person_id, recipient, "sent", "")
        return Result(recipient, "sent", "", entry.summary.notes)

    def _keep(self, entry: Incoming, message_id: int, by: Caller, recipient: str) -> Result:
        """A message waits in the secure portal for somebody: nothing is queued, the copy is kept as its sender's."""
        self._count(by.person_id, entry)
        self._note(entry, message_id, None, by.person_id, recipient, "secure", "Secure Messaging")
        return Result(recipient, "secure", "", entry.summary.notes)

    def _queue(self, entry: Incoming, name: str, message_id: int, kind: str, recipient: str) -> None:
        self._rows[deliveries].append(
            {
                "message_id": message_id,
                "blob": name,
                "kind": kind,
                "sender": entry.return_path or entry.envelope_from,
                "recipient": recipient,
                "state": "queued",
                "queued": self._portal.clock.now(),
            }
        )

    def _lay(self, entry: Incoming, message_id: int, person_id: int, folder: str, recipient: str = "") -> None:
        """A message lies in a folder of somebody's mailbox."""
        row = {"message_id": message_id, "person_id": person_id, "recipient": recipient, "folder": folder}
        self._rows[mailbox].append({**row, "received": entry.received})

    def _note(
        self,
        entry: Incoming,
        message_id: int,
        hold_id: int | None,
        person_id: int,
        recipient: str,
        outcome: str,
        decided_by: str,
    ) -> None:
        """The copy, and the act in the audit."""
        self._rows[copies].append(
            {
                "message_id": message_id,
                "person_id": person_id,
                "recipient": recipient,
                "outcome": outcome,
                "decided_by": decided_by,
                "named": entry.named.get(recipient, ""),
            }
        )
        route = self._rows[messages][-1]["route"]
        event = outcome if outcome in ("held", "blocked") else "passed"
        self._counts["traffic", entry.received, route, event] += 1
        self._acts.setdefault(entry.actor or entry.by, []).append(
            audit.Act(
                "arrive",
                outcome,
                "hold" if hold_id else "message",
                hold_id or message_id,
                {
                    "from": entry.envelope_from,
                    "from_header": entry.summary.from_address or "",
                    "to": recipient,
                    "subject": entry.summary.subject,
                    "decided_by": decided_by,
                },
            )
        )

    def _fate(self, entry: Incoming, person_id: int, recipient: str) -> Fate:
        if entry.hold is not None:
            return Fate("held", entry.hold.policy, entry.hold)
        lists = self._entries(person_id)
        fate = screen(_arrival(entry, recipient), self._portal.settings, lists, self._portal.chance())
        if fate.disables:
            self._acts.setdefault(entry.by, []).append(auto_permit.disable(self._tx, person_id, fate.disables))
            del lists[fate.disables]
        return fate

    def _hold(self, entry: Incoming, rule: HoldRule, message_id: int, person_id: int, recipient: str) -> int:
        summary = entry.summary
        number = self._next(holds)
        self._counts["held", entry.received, rule.reason, "held"] += 1
        self._rows[holds].append(
            {
                "id": number,
                "message_id": message_id,
                "person_id": person_id,
                "recipient": recipient,
                "state": "held",
                "level": rule.level,
                "kind": rule.kind,
                "reason": rule.reason,
                "reason_code": reason_code(rule.reason),
                "policy": rule.policy,
                "route": self._route(entry),
                "from_address": entry.envelope_from,
                "from_header": summary.from_address or "",
                "from_name": summary.from_name,
                "subject": summary.subject,
                "subject_folded": fold(summary.subject),
                "size": len(entry.octets),
                "has_attachments": summary.has_attachments,
                "received": entry.received,
            }
        )
        return number

    def _entries(self, person_id: int) -> dict[str, str]:
        """What counts on somebody's lists of the senders in this batch, asked for at once: lists may be long."""
        if person_id not in self._lists:
            wanted: set[str] = set()
            for entry in self._batch:
                if entry.hold is None and any(person == person_id for person, _ in entry.recipients):
                    wanted |= asked_about(_arrival(entry, ""))
            self._lists[person_id] = lists_of(self._tx, person_id, wanted, self._portal.clock.steady())
        return self._lists[person_id]

    def _route(self, entry: Incoming) -> str:
        if entry.route:
            return entry.route
        return "internal" if domain_of(entry.envelope_from) in self._portal.settings.domains else "inbound"

    def _no_notice(self, entry: Incoming) -> str:
        summary = entry.summary
        if not entry.envelope_from:
            return "null sender"
        if summary.is_list:
            return "mailing list"
        if summary.auto_submitted:
            return "automatic mail"
        if dmarc_failed(summary, self._portal.settings.authserv_id):
            return "sender not authenticated"
        return ""

    def _next(self, table: Table) -> int:
        # This transaction holds the write lock, so the numbers after the last one are its own.
        self._last[table] += 1
        return self._last[table]

    def flush(self) -> None:
        for table, rows in self._rows.items():
            _INSERT[table].run(self._tx, rows)
        searching.keep(self._tx, self._searched)
        for person_id, octets in self._octets.items():
            self._tx.execute(_KEEP, {"person": person_id, "kept": octets})
        for by, addresses in self._sent_to.items():
            now = self._portal.clock.now()
            acts = auto_permit.sent(self._tx, self._portal.settings, by.person_id, addresses, now)
            self._acts.setdefault(by, []).extend(acts)
        counting.count(self._portal, self._tx, self._counts)
        for caller, acts in self._acts.items():
            audit.record(self._tx, acts, at=self._portal.clock.now(), caller=caller, door=self._door)


def _arrival(entry: Incoming, recipient: str) -> Arrival:
    known = entry.by is not None or entry.vouched
    return Arrival(entry.envelope_from, recipient, entry.summary, len(entry.octets), known)


def reason_code(reason: str) -> str:
    """The code of a reason text: lower snake case (portal-rules B.33)."""
    return "_".join("".join(sign if sign.isalnum() else " " for sign in fold(reason)).split())
