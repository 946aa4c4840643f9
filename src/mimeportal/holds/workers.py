"""The two workers that carry decisions out: one for a local portal's own operation, one for Mimecast's API."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from mimeportal import limits
from mimeportal.errors import ApiError, AuthenticationError, LostAnswerError, UnavailableError
from mimeportal.holds import contract
from mimeportal.report import Verdict
from mimeportal.selection import Item
from mimeportal.senders import contract as senders
from mimeportal.transport import Answer, Session

if TYPE_CHECKING:
    from mimeportal.portal import Portal


class LocalWorker:
    """Decides through `holds.decide`: each decision with its list entry in one transaction."""

    batch_size = limits.LOCAL_BATCH
    looks_at_end = False

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lost: set[str] = set()  # ids of requests whose answer was lost

    def act(self, items: Sequence[Item]) -> list[Verdict | None]:
        decisions = [contract.DecideItem(id=item.id, decision=item.action, **item.options) for item in items]
        try:
            answer = self._session.call(contract.DECIDE, decisions)
        except LostAnswerError as fault:
            self._lost.add(fault.request_id)
            raise
        verdicts = _failed(answer, "id")
        refused = frozenset(verdicts)
        for row in answer.rows:
            if row.outcome == "done":
                verdicts[row.id] = Verdict("done", request_id=answer.request_id, entry=row.entry, notice=row.notice)
            elif row.outcome == "already":
                verdicts[row.id] = Verdict("already", error=f"By {row.by} at {row.when}.", request_id=answer.request_id)
            if row.id in refused:
                verdicts.pop(row.id, None)  # told both ways: it is looked for
        if len(verdicts) < len(items):
            self._lost.add(answer.request_id)
        return [verdicts.get(item.id) for item in items]

    def look(self, items: Sequence[Item]) -> list[Verdict | None]:
        rows = self._session.call(contract.STATES, [contract.StatesItem(ids=[item.id for item in items])]).rows
        states = {row.id: row for row in rows}
        return [self._seen(item, states.get(item.id)) for item in items]

    def _seen(self, item: Item, state: contract.StateRow | None) -> Verdict | None:
        if state is None:
            return Verdict("failed", "not_found", "There is no such held message for this caller.")
        if state.state == "held":
            return None
        if state.state == _DECIDED[item.action]:
            if state.request_id in self._lost:
                return Verdict("done", request_id=state.request_id, entry=item.entry)
            return Verdict("already", error=f"By {state.by} at {state.when}.")
        code = "expired" if state.state == "expired" else f"already_{state.state}"
        return Verdict("failed", code, f"It was {state.state} before.")

    def again(self, item: Item) -> Item:
        return item  # the portal showed that nothing was done, its notice included: one transaction


class MimecastWorker:
    """Decides through Mimecast's own operations: the list entry first, then the message (promises B.6)."""

    batch_size = limits.MIMECAST_BATCH
    looks_at_end = True

    def __init__(self, portal: Portal, started: datetime) -> None:
        self._portal = portal
        self._session = portal.session
        self._started = started

    def act(self, items: Sequence[Item]) -> list[Verdict | None]:
        groups: dict[str, list[Item]] = defaultdict(list)
        for item in items:
            groups[repr((item.action, sorted(item.options.items())))].append(item)
        verdicts: dict[str, Verdict] = {}
        lost: set[str] = set()
        for group in groups.values():
            ready: list[Item] = []
            try:
                ready = self._listed(group, verdicts)
                verdicts.update(self._decided(ready) if ready else {})
            except LostAnswerError:
                if len(ready) == len(items):
                    raise
                lost.update(item.id for item in ready)
            except (AuthenticationError, UnavailableError) as fault:
                if not verdicts and not lost:
                    raise
                # Something was done: that must be told. The next batch stops the run.
                for item in items:
                    if item.id not in lost:
                        verdicts.setdefault(item.id, _untouched(fault))
                break
            except ApiError:
                if len(ready) == len(items):
                    raise
                # Some items have their verdict already: the rest is tried one by one, not the whole again.
                for item in ready:
                    verdicts.update(self._alone(item))
        return [None if item.id in lost else verdicts.get(item.id) for item in items]

    def _alone(self, item: Item) -> dict[str, Verdict]:
        try:
            return self._decided([item])
        except LostAnswerError:
            return {}
        except ApiError as fault:
            return {item.id: Verdict("failed", fault.code or "refused", fault.what, fault.request_id or None)}

    def _listed(self, group: list[Item], verdicts: dict[str, Verdict]) -> list[Item]:
        """Add the list entries; the items whose entry stands, or that want none."""
        options = group[0].options
        if "permit" not in options and "block" not in options:
            return group
        half = "permit" if "permit" in options else "block"
        ready: list[Item] = []
        for item in group:
            recipient = item.described.get("to_address")
            if not item.entry or not recipient:
                verdicts[item.id] = Verdict("failed", "no_sender", f"No single sender to {half}; not touched.")
                continue
            entry = senders.PermitOrBlockItem(sender=item.entry, to=recipient, action=half)
            try:
                self._session.one(senders.PERMIT_OR_BLOCK, entry)
            except LostAnswerError:
                verdicts[item.id] = Verdict(
                    "failed", "answer_lost", f"Whether the {half} entry was added is not known; not touched."
                )
            except (AuthenticationError, UnavailableError) as fault:
                for added in ready:
                    verdicts[added.id] = _untouched(fault, f"The {half} entry was added, the message not touched.")
                raise
            except ApiError as fault:
                verdicts[item.id] = Verdict(
                    "failed", fault.code, f"The {half} entry failed ({fault.what}); not touched.", fault.request_id
                )
            else:
                ready.append(item)
        return ready

    def _decided(self, group: list[Item]) -> dict[str, Verdict]:
        if group[0].action == "release":
            released = self._session.call(contract.RELEASE, [contract.ReleaseItem(id=item.id) for item in group])
            return self._told(released, {row.id: row.release for row in released.rows}, "id", "already_released")
        options = group[0].options
        reject = contract.RejectItem(
            ids=[item.id for item in group],
            message=options.get("message"),
            reason_type=options.get("reason_type"),
            notify=options.get("notify"),
        )
        rejected = self._session.call(contract.REJECT, [reject])
        return self._told(rejected, {row.id: row.reject for row in rejected.rows}, "ids", "already_rejected")

    def _told(self, answer: Answer[Any], done: Mapping[str, bool], key: str, same: str) -> dict[str, Verdict]:
        verdicts = {
            id: replace(verdict, outcome="already", code=None) if verdict.code == same else verdict
            for id, verdict in _failed(answer, key).items()
        }
        for id, acted in done.items():
            if acted and key == "id" and id in verdicts:
                del verdicts[id]  # told both ways: it is looked for
                continue
            verdicts[id] = (
                Verdict("done", request_id=answer.request_id)
                if acted
                else Verdict("failed", "not_done", "The portal answered that it did not.", answer.request_id)
            )
        return verdicts

    def look(self, items: Sequence[Item]) -> list[Verdict | None]:
        """One pass over the list: still held, or gone with exactly one log row under our actor."""
        wanted = {item.id for item in items}
        queue: contract.Queue | None = "admin"
        if self._portal.is_person:
            queue = items[0].described.get("queue") or None
        held = {hold.id for hold in self._portal.holds.list(queue=queue) if hold.id in wanted}
        seen: Counter[tuple[str, ...]] = Counter()
        for row in self._portal.holds.log(since=self._started - timedelta(minutes=5)):
            if self._portal.user and self._portal.user == row.operator:
                for to in row.to_addresses:
                    seen[(row.status, row.from_address, to, row.subject)] += 1
        doubted = Counter(_trace(item) for item in items)
        return [
            None
            if item.id in held
            else Verdict("done")
            if seen[_trace(item)] == 1 == doubted[_trace(item)]
            else Verdict("unknown", "answer_lost", "It left the queue, and the log does not show by whom.")
            for item in items
        ]

    def again(self, item: Item) -> Item:
        """A notice to a sender is never sent a second time after a lost answer (promises A.4)."""
        if not item.options.get("notify"):
            return item
        quiet = {key: value for key, value in item.options.items() if key not in ("notify", "message")}
        return Item(item.id, item.action, quiet, item.described, item.entry, item.rule)


_DECIDED = {"release": "released", "reject": "rejected"}


def _untouched(fault: ApiError, what: str = "Not touched.") -> Verdict:
    return Verdict("failed", fault.code or "unavailable", f"{fault.what} {what}", fault.request_id or None)


def _trace(item: Item) -> tuple[str, ...]:
    facts = item.described
    return (
        _DECIDED[item.action],
        str(facts.get("from_address") or ""),
        str(facts.get("to_address") or ""),
        str(facts.get("subject") or ""),
    )


def _failed(answer: Answer[Any], key: str) -> dict[str, Verdict]:
    """Verdicts of the failures that name their items."""
    verdicts: dict[str, Verdict] = {}
    for failure in answer.failures:
        named = failure.key.get(key) if isinstance(failure.key, dict) else None
        for id in named if isinstance(named, list) else [named]:
            if isinstance(id, str):
                verdicts[id] = Verdict("failed", failure.code, failure.message, answer.request_id)
    return verdicts
