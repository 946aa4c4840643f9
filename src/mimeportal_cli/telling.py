"""What a bulk verb says: where it acts, what it is about to do, the question, and what it came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mimeportal_cli.exits import ExitCode, tell
from mimeportal_cli.formats import field
from mimeportal_cli.options import settings
from mimeportal_cli.references import reference

if TYPE_CHECKING:
    from mimeportal.bulk import BulkResult, Plan
    from mimeportal.portal import Portal
    from mimeportal.report import Outcome
    from mimeportal.selection import Item

_SHOWN = 5
_NAMED = 3  # mailboxes a line names before it counts them


@dataclass(frozen=True)
class Verb:
    """The words of one bulk verb."""

    name: str
    asks: str
    would: str
    done: str
    doing: str = "Deciding"
    noun: str = "holds"  # the group of commands it belongs to
    one: str = "held message"  # what it acts on
    several: str = "held messages"

    def count(self, count: int) -> str:
        return f"{count:,} {self.one if count == 1 else self.several}"


RELEASE = Verb("release", "Release", "Would release", "Released")
REJECT = Verb("reject", "Reject", "Would reject", "Rejected")
APPLY = Verb("apply", "Decide", "Would decide", "Decided")


@dataclass
class Survey:
    """What a plan holds, read once: where, whose, the first few, how often each rule."""

    where: str
    first: list[Item]
    rules: Counter[str]
    actions: Counter[str]

    @classmethod
    def of(cls, plan: Plan, portal: Portal, queue: str | None) -> Survey:
        queues: set[str] = set()
        mailboxes: set[str] = set()
        rules: Counter[str] = Counter()
        actions: Counter[str] = Counter()
        first: list[Item] = []
        for item in plan.selection:
            if len(first) < _SHOWN:
                first.append(item)
            queues.add(str(item.described.get("queue") or ""))
            mailboxes.add(str(item.described.get("to_address") or ""))
            rules[item.rule or ""] += 1
            actions[item.action] += 1
        named = sorted(filter(None, queues)) or [queue or ("personal" if portal.is_person else "admin")]
        own = portal.user if named == ["personal"] else None
        whose = sorted(filter(None, mailboxes)) or [own or "any"]
        where = place(
            portal,
            queue=" and ".join(named),
            mailbox=" and ".join(whose) if len(whose) <= _NAMED else f"{len(whose):,} different ones",
        )
        return cls(where, first, rules, actions)


def place(portal: Portal, **more: str) -> str:
    """Where an act happens, for every question, plan and totals line."""
    parts = {"profile": portal.profile or "none", "account": portal.account.code, "URL": portal.url, **more}
    return ", ".join(f"{name} {value}" for name, value in parts.items())


@dataclass
class Ending:
    """What a bulk verb came to. Told when the portal is closed: its totals are the last line on stderr."""

    verb: Verb
    where: str
    planned: int
    one_typed: bool
    result: BulkResult | None = None
    fault: Exception | None = None

    def conclude(self) -> int:
        """Print what stopped it and the totals; returns the exit code that says so."""
        console = settings().console
        if self.result is None:
            console.note(f"{self.verb.would} {self.verb.count(self.planned)} ({self.where}).")
            return ExitCode.DONE
        code = self._problems(self.result)
        line = f"{_totals(self.verb, self.result)} ({self.where})."
        if code == ExitCode.DONE:
            console.note(line)
        else:
            console.warn(line)
        return code

    def _problems(self, result: BulkResult) -> int:
        console = settings().console
        for notice, count in sorted(result.notices.items()):
            console.note(f"Notices to senders: {count:,} {notice}.")
        if self.fault is not None:
            why = getattr(self.fault, "strerror", None) or str(self.fault).rstrip(".") or type(self.fault).__name__
            console.error(f"The records could not be written: {why}.")
        if result.stopped is not None:
            code = tell(result.stopped, settings())
            return ExitCode.INTERRUPTED if result.interrupted else code
        if result.interrupted:
            console.error("Interrupted: the batches under way were finished, the rest was not begun.")
            return ExitCode.INTERRUPTED
        if not result.clean:
            if self.one_typed and result.problems:
                return _told_alone(result.problems[0], self.verb)
            return ExitCode.SOME_FAILED
        return ExitCode.FAILED if self.fault is not None else ExitCode.DONE


def both_senders(value: Any, record: Any, columns: Sequence[str]) -> str:
    """The header From, and the envelope's where that differs and has no column of its own (promises B.2)."""
    envelope = field(record, "from_address")
    if "from_address" in columns or envelope in (value, None):
        return str(value or "")
    return f"{value or '(none)'} ({envelope or '<>'})"


def short_reason(value: Any, _record: Any, _columns: Any) -> str:
    """The words that tell reasons apart: a table has no room for those that all of them begin with."""
    return str(value).removeprefix("Message Hold Applied - ")


def ask(plan: Plan, survey: Survey, verb: Verb, time: Callable[[Any, Any, Any], str]) -> None:
    from mimeportal.untrusted import visible

    console = settings().console
    count = len(plan)
    for item in survey.first:
        facts = item.described
        sender = both_senders(facts.get("from_header"), facts, ())
        parts = [reference(item.id), item.action if verb is APPLY else "", time(facts.get("date_received"), None, ())]
        parts += [sender, f"to {facts.get('to_address') or '?'}", facts.get("subject") or "", _mark(item)]
        line = "  " + visible("  ".join(part for part in parts if part))  # before it is cut: it may grow
        console.warn(line[: console.width - 1])
    if count > len(survey.first):
        console.warn(f"  and {count - len(survey.first):,} more")
    for rule, decided in sorted(survey.rules.items()):
        if rule:
            console.warn(f"  {decided:,} by rule {rule}")
    entries, named = plan.selection.entries()
    if entries:
        more = f" and {entries - len(named):,} more" if entries > len(named) else ""
        kinds = "senders" if entries > 1 else "sender"
        console.warn(f"  adds {entries:,} {kinds} to the lists: {', '.join(named)}{more}")
    if verb is APPLY:
        split = ", ".join(f"{action} {decided:,}" for action, decided in sorted(survey.actions.items()))
        console.confirm(f"Decide {messages(count)}: {split} ({survey.where})?")
    else:
        console.confirm(f"{verb.asks} {messages(count)} ({survey.where})?")


def _mark(item: Item) -> str:
    return "(the recipient blocks the sender)" if item.described.get("sender_blocked") else ""


_LEFT_OUT = {
    "sender_blocked": "left out: the recipient blocks the sender (named by id they are released)",
    "no_rule": "left alone: no rule matches",
    "kept": "kept by a rule",
}


def tell_left_out(plan: Plan) -> None:
    console = settings().console
    for why, count in sorted(plan.left_out.items()):
        console.note(f"{messages(count)} {_LEFT_OUT.get(why, why)}.")


def _totals(verb: Verb, result: BulkResult) -> str:
    totals = result.totals
    parts = [f"{verb.done} {totals['done']:,}"]
    for name in ("already", "failed", "unknown"):
        if totals[name]:
            parts.append(f"{name} {totals[name]:,}")
    if result.not_attempted:
        parts.append(f"not attempted {result.not_attempted:,}")
    codes = ", ".join(f"{code} {count:,}" for code, count in result.codes.most_common())
    return ", ".join(parts) + (f" [{codes}]" if codes else "")


def _told_alone(problem: Outcome, verb: Verb) -> int:
    """The one thing that was named could not be acted on: its own exit code (promises A.7)."""
    from mimeportal.errors import FORBIDDEN_CODES, NOT_FOUND_CODES

    verdict = problem.verdict
    code = verdict.code or "unknown"
    request = f", request {verdict.request_id}" if verdict.request_id else ""
    list_ = f"{verb.noun} list"
    if code in NOT_FOUND_CODES or code in ("expired", "already_released", "already_rejected"):
        ending, remedy = ExitCode.NOT_FOUND, f"See what became of it: `mimeportal {_LOG.get(verb.noun, list_)}`."
    elif code in FORBIDDEN_CODES:
        ending, remedy = ExitCode.NOT_ALLOWED, "Ask an administrator of this portal for the permission."
    elif verdict.outcome == "unknown":
        ending, remedy = ExitCode.UNAVAILABLE, f"Look before you try again: `mimeportal {list_}`."
    else:
        look = _SHOW.get(verb.noun, list_)
        ending, remedy = ExitCode.SOME_FAILED, f"Look at it with `mimeportal {look}`, and try another way."
    named = reference(problem.id) if verb.noun in _SHOW else problem.id
    settings().console.error(f"{named}: {verdict.error or code}", f"code {code}{request}", remedy)
    return ending


# Where a thing of a noun is looked at; of others their list tells all.
_SHOW = {"holds": "holds show", "messages": "messages show", "secure": "secure show"}
_LOG = {"holds": "holds log"}


def messages(count: int) -> str:
    return f"{count:,} held message" + ("" if count == 1 else "s")
