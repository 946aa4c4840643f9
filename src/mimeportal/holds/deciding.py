"""How decisions on held mail are planned: what is chosen, with which options, frozen before anything is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from mimeportal import limits
from mimeportal.addresses import ENTRY_TYPES, SENDER_PARTS, EntryType, SenderPart, domain_of, normalise
from mimeportal.bulk import Plan, Worker
from mimeportal.errors import DeclinedError, UsageError
from mimeportal.holds import contract
from mimeportal.holds.hold import Hold, HoldFilter, checked_id, checked_ids, described, left_out_of_release
from mimeportal.holds.workers import LocalWorker, MimecastWorker
from mimeportal.report import DESCRIBED, Context, read_lines, retry_selection, todo_of
from mimeportal.selection import Item, Selection, collect
from mimeportal.transport import Session, not_offered

if TYPE_CHECKING:
    from mimeportal.holds.rules import Rule
    from mimeportal.portal import Portal

Decision = Literal["release", "reject"]


class DecisionOptions(TypedDict, total=False):
    """The options of a decision: `permit` goes with `release`, all but `sender_part` of the others with `reject`.

    `notify_many` allows more than 25 notices.
    """

    permit: EntryType | None
    block: EntryType | None
    sender_part: SenderPart | None
    notify: bool
    message: str | None
    reason_type: str | None
    notify_many: bool


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
        selection = retry_selection(retry_from, actions=frozenset({verb}), context=context, entry_of=_entry)
    elif ids is not None:
        # Written out, the default differs from another recorded one.
        typed = given | ({"sender_part": "header"} if options.get("sender_part") == "header" else {})
        selection = collect(_items_by_id(portal, checked_ids(ids), verb, given, typed))
    else:
        holds = _to_the_end(portal, filter)
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
        for hold in _to_the_end(portal, filter):
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


def _to_the_end(portal: Portal, filter: HoldFilter | None) -> Iterable[Hold]:
    """The list a selection is frozen from. Over a network its next page comes while this one is written down."""
    holds = portal.holds.list(filter)
    return holds.ahead() if portal.session.transport.parallel > 1 else holds


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
    selection = retry_selection(report, actions=frozenset(_OPTIONS), context=context, entry_of=_entry)
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
        if key in given and given[key] not in ENTRY_TYPES:
            raise UsageError(f"{key} takes address or domain, not {given[key]!r}.")
    if given.get("sender_part", "header") not in SENDER_PARTS:
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
