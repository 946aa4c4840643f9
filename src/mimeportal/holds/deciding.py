"""How decisions on held mail are planned and sent: one worker for a local portal, one for Mimecast's API."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimeportal import limits
from mimeportal.addresses import domain_of, normalise
from mimeportal.bulk import Plan, Worker
from mimeportal.errors import (
    ApiError,
    AuthenticationError,
    DeclinedError,
    LostAnswerError,
    UnavailableError,
    UsageError,
)
from mimeportal.holds import contract
from mimeportal.holds.hold import Hold, HoldFilter, checked_id, checked_ids, described, left_out_of_release
from mimeportal.report import DESCRIBED, Context, Verdict, read_lines, retry_selection, todo_of
from mimeportal.selection import Item, Selection, collect
from mimeportal.senders import contract as senders
from mimeportal.transport import Answer, Session, not_offered

if TYPE_CHECKING:
    from mimeportal.holds.rules import Rule
    from mimeportal.portal import Portal

_FORMS = ("address", "domain")
_PARTS = ("header", "envelope")
_OPTIONS = {
    "release": frozenset({"permit", "sender_part"}),
    "reject": frozenset({"block", "sender_part", "notify", "message", "reason_type"}),
}


def plan(
    portal: Portal,
    verb: str,
    *,
    ids: Iterable[str | Hold | Mapping[str, Any]] | None,
    filter: HoldFilter | None,
    retry_from: Path | None,
    limit: int | None,
    options: Mapping[str, Any],
) -> Plan:
    """Freeze a selection for one verb; see `HoldsClient.plan`."""
    notify_many = bool(options.get("notify_many"))
    given = checked_options(
        verb, {key: value for key, value in options.items() if key != "notify_many"}, portal.session
    )
    context = _context(portal)
    left_out: Counter[str] = Counter()
    if retry_from is not None:
        selection = retry_selection(retry_from, actions=frozenset({verb}), context=context)
    elif ids is not None:
        # Written out, the default differs from another recorded one.
        typed = given | ({"sender_part": "header"} if options.get("sender_part") == "header" else {})
        selection = collect(_items_by_id(portal, checked_ids(ids), verb, given, typed))
    else:
        holds: Iterable[Hold] = portal.holds.list(filter)
        if verb == "release":
            holds = left_out_of_release(holds, left_out)
        selection = collect(_item(hold, verb, given) for hold in holds)
    # Reports and plans have options of their own; else one look at the options spares a pass over the selection.
    no_notice = retry_from is None and ids is None and not given.get("notify")
    return _finished(selection, portal, context, left_out, limit, notify_many=notify_many or no_notice)


def plan_rules(portal: Portal, rules: Sequence[Rule], filter: HoldFilter, limit: int | None) -> Plan:
    """Freeze what rules decide; see `HoldsClient.plan_rules`."""
    for rule in rules:
        if rule.decide != "keep":
            checked_options(rule.decide, rule.options, portal.session)
    left_out: Counter[str] = Counter()

    def decided() -> Iterator[Item]:
        for hold in portal.holds.list(filter):
            rule = next((rule for rule in rules if rule.matches(hold)), None)
            if rule is None:
                left_out["no_rule"] += 1
            elif rule.decide == "keep":
                left_out["kept"] += 1
            elif rule.decide == "release" and hold.sender_blocked:
                left_out["sender_blocked"] += 1
            else:
                yield _item(hold, rule.decide, rule.options, rule.name)

    return _finished(collect(decided()), portal, _context(portal), left_out, limit, notify_many=False)


def retry_rules(portal: Portal, report: Path) -> Plan:
    """Take up a report of `plan_rules`: every line names the rule that decided."""
    for source in (todo_of(report), report):
        for line in read_lines(source) if source.exists() else ():
            if line.get("rule") is None:
                raise UsageError(
                    f"{source} is no report of rules: a line names none.",
                    remedy=f"Run `mimeportal holds {line.get('action')} --retry-from {report}`.",
                )
    context = _context(portal)
    selection = retry_selection(report, actions=frozenset(_OPTIONS), context=context)
    return _finished(selection, portal, context, Counter(), None, notify_many=False)


def checked_options(verb: str, options: Mapping[str, Any], session: Session) -> dict[str, Any]:
    """The options as given, unset ones left out. Raises `UsageError`, `NotOfferedError` naming the option."""
    if verb not in _OPTIONS:
        raise UsageError(f"There is no decision {verb!r}.", remedy="Use release or reject.")
    given = {
        key: value
        for key, value in options.items()
        if value not in (None, False) and (key, value) != ("sender_part", "header")
    }
    for key in given:
        if key not in _OPTIONS[verb]:
            raise UsageError(f"{key} has no meaning with {verb}.")
    for key in ("permit", "block"):
        if key in given and given[key] not in _FORMS:
            raise UsageError(f"{key} takes address or domain, not {given[key]!r}.")
    if given.get("sender_part", "header") not in _PARTS:
        raise UsageError(f"sender_part takes header or envelope, not {given['sender_part']!r}.")
    if "message" in given and "notify" not in given:
        raise UsageError(
            "A message is only sent together with a notice.", remedy="Add --notify, or leave the message out."
        )
    if "reason_type" in given:
        wanted = str(given["reason_type"]).upper()
        if wanted not in contract.REASON_TYPES:
            raise UsageError(
                f"There is no reason type {given['reason_type']!r}.",
                remedy="Use one of: " + "; ".join(contract.REASON_TYPES) + ".",
            )
        given["reason_type"] = wanted
    if "domain" in (given.get("permit"), given.get("block")) and not session.offers(contract.DECIDE):
        raise not_offered("permitting or blocking a whole domain", session.api)
    return given


def _finished(
    selection: Selection,
    portal: Portal,
    context: Context,
    left_out: Counter[str],
    limit: int | None,
    *,
    notify_many: bool,
) -> Plan:
    if limit is not None:
        selection.keep_oldest(limit)
    notices = 0 if notify_many else sum(bool(item.options.get("notify")) for item in selection)
    if notices > limits.NOTIFY_UNASKED:
        selection.close()
        raise DeclinedError(
            f"{notices} notices would go to senders, more than {limits.NOTIFY_UNASKED}; nothing was changed.",
            remedy="Leave --notify out, or add --notify-many.",
        )
    worker: Worker
    if portal.session.offers(contract.DECIDE):
        worker = LocalWorker(portal.session)
    else:
        worker = MimecastWorker(portal, datetime.now(UTC))
    return Plan(selection, worker, context, left_out)


def _context(portal: Portal) -> Context:
    return Context(profile=portal.profile, account=portal.account.code, actor=portal.user or "app")


def _items_by_id(
    portal: Portal,
    wanted: Iterator[str | Hold | Mapping[str, Any]],
    verb: str,
    options: Mapping[str, Any],
    typed: Mapping[str, Any],
) -> Iterator[Item]:
    while chunk := list(islice(wanted, 500)):
        bare = [checked_id(entry) for entry in chunk if isinstance(entry, str)]
        found = {hold.id: hold for hold in portal.holds.lookup(bare)} if bare else {}
        for entry in chunk:
            if isinstance(entry, Hold):
                yield _item(entry, verb, options)
            elif isinstance(entry, str):
                hold = found.get(entry)
                yield _item(hold, verb, options) if hold else Item(entry, verb, options)
            else:
                yield _recorded(entry, verb, options, typed, portal.session)


def _recorded(entry: object, verb: str, options: Mapping[str, Any], typed: Mapping[str, Any], session: Session) -> Item:
    """A line of a list, or of a plan or report, which brings its options along."""
    if not isinstance(entry, Mapping):
        raise UsageError(f"Neither an id nor a held message: {entry!r}.", remedy="Take ids or messages from a list.")
    id = checked_id(entry.get("id"))
    if entry.get("action") is not None:
        recorded = entry.get("options") or {}
        if entry["action"] != verb:
            raise UsageError(
                f"The plan says {entry['action']}, this is {verb}.", remedy=f"Plan {entry['action']} with its lines."
            )
        if not isinstance(recorded, Mapping):
            raise UsageError("This is no line of a plan: its `options` are no object.")
        if typed and _spelt_out(typed) != _spelt_out(recorded):
            raise UsageError(
                f"The plan has options of its own ({_told(recorded)}), and these differ ({_told(typed)}).",
                remedy="Leave the options out, or make another plan.",
            )
        options = checked_options(verb, recorded, session)
    facts = {name: entry.get(name) for name in _DESCRIBED}
    return Item(id, verb, options, facts, _entry(facts, options))


def _spelt_out(options: Mapping[str, Any]) -> dict[str, Any]:
    return {"sender_part": "header", **options}


def _told(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items()) or "none"


_DESCRIBED = (*DESCRIBED, "sender_blocked")


def _item(hold: Hold, verb: str, options: Mapping[str, Any], rule: str | None = None) -> Item:
    facts = described(hold)
    if hold.sender_blocked:
        facts["sender_blocked"] = True
    return Item(hold.id, verb, options, facts, _entry(facts, options), rule)


def _entry(facts: Mapping[str, Any], options: Mapping[str, Any]) -> str | None:
    """The sender list entry that the options add for this message, as far as its sender is known."""
    form = options.get("permit") or options.get("block")
    if form is None:
        return None
    part = "from_address" if options.get("sender_part") == "envelope" else "from_header"
    address = normalise(str(facts.get(part) or ""))
    return (address if form == "address" else domain_of(address)) or None


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
        for row in answer.rows:
            if row.outcome == "done":
                verdicts[row.id] = Verdict("done", request_id=answer.request_id, entry=row.entry, notice=row.notice)
            elif row.outcome == "already":
                verdicts[row.id] = Verdict("already", error=f"By {row.by} at {row.when}.", request_id=answer.request_id)
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
            verdicts[id] = (
                Verdict("done", request_id=answer.request_id)
                if acted
                else Verdict("failed", "not_done", "The portal answered that it did not.", answer.request_id)
            )
        return verdicts

    def look(self, items: Sequence[Item]) -> list[Verdict | None]:
        """One pass over the list: still held, or gone with exactly one log row under our actor."""
        wanted = {item.id for item in items}
        queue = "admin" if not self._portal.is_person else (items[0].described.get("queue") or None)
        held = {hold.id for hold in self._portal.holds.list(queue=queue) if hold.id in wanted}
        seen: Counter[tuple[str, ...]] = Counter()
        for row in self._portal.holds.log(since=self._started - timedelta(minutes=5)):
            if self._portal.user and self._portal.user in (row.operator, _email(row.operator)):
                for to in row.to:
                    seen[(row.status, row.from_env.email_address, to.email_address, row.subject)] += 1
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


def _email(operator: Any) -> str:
    """The operator of a log row: a text in recordings, an object in one copy of the documents."""
    return str(operator.get("email") or "") if isinstance(operator, dict) else ""


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
