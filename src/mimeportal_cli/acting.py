"""A bulk verb from its plan to its last line: refuse, show, ask, act, and say what it came to (promises A)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.exits import ExitCode, tell
from mimeportal_cli.options import bundle, option, settings
from mimeportal_cli.output import Output, Shape
from mimeportal_cli.references import as_reference, reference

if TYPE_CHECKING:
    from mimeportal.bulk import BulkResult, Item, Outcome, Plan, Report
    from mimeportal.portal import Portal

UNASKED = 10  # typed ids that are released without a question
_SHOWN = 5
_NAMED = 3  # mailboxes a line names before it counts them
_SECTION = "Acting"

# As `mimeportal.bulk.REPORT_FIELDS`; a test compares them.
REPORT_FIELDS = (
    "id",
    "action",
    "outcome",
    "code",
    "error",
    "request_id",
    "time",
    "profile",
    "actor",
    "queue",
    "from_address",
    "from_header",
    "to_address",
    "subject",
    "date_received",
    "entry",
    "rule",
    "account",
    "options",
)
OUTCOMES = Shape(
    REPORT_FIELDS,
    table=("id", "action", "outcome", "code", "error", "to_address", "subject"),
    cells={"id": as_reference},
    empty="",
)
PLANNED = Shape(
    REPORT_FIELDS,
    table=("id", "action", "date_received", "from_header", "to_address", "entry", "rule", "subject"),
    cells={"id": as_reference},
    empty="No held messages match.",
)


@dataclass(frozen=True)
class Verb:
    """The words of one bulk verb."""

    name: str
    asks: str
    would: str
    done: str


RELEASE = Verb("release", "Release", "Would release", "Released")
REJECT = Verb("reject", "Reject", "Would reject", "Rejected")
APPLY = Verb("apply", "Decide", "Would decide", "Decided")


class Acting:
    """How a bulk verb acts, as its options say."""

    def __init__(
        self,
        *,
        dry_run: bool,
        yes: bool,
        maximum: int,
        report: str | None,
        append: bool,
        retry_from: str | None,
        fail_fast: bool,
        batch_size: int | None,
        concurrency: int,
    ) -> None:
        self.dry_run = dry_run
        self.yes = yes
        self.maximum = maximum
        self.report = Path(report) if report else None
        self.append = append
        self.retry_from = Path(retry_from) if retry_from else None
        self.fail_fast = fail_fast
        self.batch_size = batch_size
        self.concurrency = concurrency

    def check(self, *, asks: bool) -> None:
        """Raise `UsageError` for what can be refused before anything is read."""
        from mimeportal.errors import UsageError

        if self.append and self.report is None:
            raise UsageError("--append adds to a report, and none is named.", remedy="Name it with --report FILE.")
        if self.report is not None and not self.append and self.report.exists():
            raise UsageError(
                f"The report {self.report} exists already, and is not overwritten.",
                remedy="Name another file, or add --append.",
            )
        if asks and not self.yes and not self.dry_run:
            settings().console.require_interactive()

    def open_report(self) -> Report | None:
        from mimeportal.bulk import Report

        return Report(self.report, append=self.append) if self.report else None


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
        whose = sorted(filter(None, mailboxes)) or [portal.user or "of the account"]
        where = place(
            portal, queue=" and ".join(named), mailbox=" and ".join(whose) if len(whose) <= _NAMED else f"{len(whose):,}"
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
    result: BulkResult | None
    planned: int
    one_typed: bool
    fault: OSError | None = None

    def conclude(self) -> None:
        """Print what stopped it and the totals, and end with the exit code that says so."""
        console = settings().console
        if self.result is None:
            console.note(f"{self.verb.would} {_messages(self.planned)} ({self.where}).")
            return
        code = self._problems(self.result)
        line = f"{_totals(self.verb, self.result)} ({self.where})."
        if code == ExitCode.DONE:
            console.note(line)
        else:
            console.warn(line)
        click.get_current_context().exit(code)

    def _problems(self, result: BulkResult) -> int:
        console = settings().console
        for notice, count in sorted(result.notices.items()):
            console.note(f"Notices to senders: {count:,} {notice}.")
        if self.fault is not None:
            console.error(f"The records could not be written: {self.fault.strerror}.")
        if result.stopped is not None:
            code = tell(result.stopped, settings())
            return ExitCode.INTERRUPTED if result.interrupted else code
        if result.interrupted:
            console.error("Interrupted: the batches under way were finished, the rest was not begun.")
            return ExitCode.INTERRUPTED
        if not result.clean:
            if self.one_typed and result.problems:
                return _told_alone(result.problems[0])
            return ExitCode.SOME_FAILED
        return ExitCode.FAILED if self.fault is not None else ExitCode.DONE


def decide(
    portal: Portal,
    plan: Plan,
    acting: Acting,
    output: Output,
    verb: Verb,
    *,
    asks: bool,
    one_typed: bool = False,
    queue: str | None = None,
    ordered: Callable[[Any], Any] = lambda lines: lines,
) -> Ending:
    """Carry a plan out, or only show it; asks first where it must. Raises `DeclinedError` when it may not."""
    survey = Survey.of(plan, portal, queue)
    count = len(plan)
    _tell_left_out(plan)
    if acting.dry_run:
        output.shape = PLANNED
        if acting.report:
            plan.write(acting.report)
        output.rows(ordered(plan.lines()))
        if count > acting.maximum:
            settings().console.warn(f"{_messages(count)} are more than --max {acting.maximum:,}: this would be refused.")
        return Ending(verb, survey.where, None, count, one_typed)
    plan.refuse_above(acting.maximum)
    if count and asks and not acting.yes:
        _ask(plan, survey, verb)
    result, fault = _run(portal, plan, acting, output)
    return Ending(verb, survey.where, result, count, one_typed, fault)


def _run(portal: Portal, plan: Plan, acting: Acting, output: Output) -> tuple[BulkResult, OSError | None]:
    """Act. Whoever stops reading our records stops the records, never the act."""
    from mimeportal.bulk import line_of

    console = settings().console
    every = output.asked or not output.on_terminal
    fault: OSError | None = None
    result: BulkResult | None = None

    try:
        with (
            output.open() as writer,
            console.progress(len(plan), "Deciding", hidden=every and output.on_terminal) as bar,
        ):

            def take(outcomes: Sequence[Outcome]) -> None:
                nonlocal fault
                bar.update(len(outcomes))
                if every and fault is None:
                    try:
                        writer.add([line_of(outcome, plan.context) for outcome in outcomes])
                    except OSError as lost:
                        fault = lost

            result = plan.run(
                report=acting.open_report(),
                batch_size=acting.batch_size,
                concurrency=min(acting.concurrency, portal.session.transport.parallel),
                fail_fast=acting.fail_fast,
                on_outcomes=take,
            )
            if fault is not None:
                raise fault
            if not every:
                writer.add([line_of(outcome, plan.context) for outcome in result.problems])
    except OSError as lost:
        if result is None:
            raise
        fault = lost
    if isinstance(fault, BrokenPipeError):
        console.close_stdout()
        fault = None
    return result, fault


def _ask(plan: Plan, survey: Survey, verb: Verb) -> None:
    console = settings().console
    count = len(plan)
    for item in survey.first:
        facts = item.described
        sender = facts.get("from_header") or facts.get("from_address") or ""
        parts = [reference(item.id), item.action if verb is APPLY else "", str(facts.get("date_received") or "")[:16]]
        parts += [str(sender), "to " + str(facts.get("to_address") or "?"), str(facts.get("subject") or "")]
        line = "  " + "  ".join(part for part in parts if part)
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
        console.confirm(f"Decide {_messages(count)}: {split} ({survey.where})?")
    else:
        console.confirm(f"{verb.asks} {_messages(count)} ({survey.where})?")


_LEFT_OUT = {
    "sender_blocked": "left out: the recipient blocks the sender (named by id they are released)",
    "no_rule": "left alone: no rule matches",
    "kept": "kept by a rule",
}


def _tell_left_out(plan: Plan) -> None:
    console = settings().console
    for why, count in sorted(plan.left_out.items()):
        console.note(f"{_messages(count)} {_LEFT_OUT.get(why, why)}.")


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


def _told_alone(problem: Outcome) -> int:
    """The one message that was named could not be decided: its own exit code (promises A.7)."""
    from mimeportal.errors import FORBIDDEN_CODES, NOT_FOUND_CODES

    verdict = problem.verdict
    code = verdict.code or "unknown"
    request = f", request {verdict.request_id}" if verdict.request_id else ""
    if code in NOT_FOUND_CODES or code in ("expired", "already_released", "already_rejected"):
        ending, remedy = ExitCode.NOT_FOUND, "See what became of it: `mimeportal holds log`."
    elif code in FORBIDDEN_CODES:
        ending, remedy = ExitCode.NOT_ALLOWED, "Ask an administrator of this portal for the permission."
    elif verdict.outcome == "unknown":
        ending, remedy = ExitCode.UNAVAILABLE, "Look before you try again: `mimeportal holds list`."
    else:
        ending, remedy = ExitCode.SOME_FAILED, "Look at it with `mimeportal holds show`, and try another way."
    settings().console.error(
        f"{reference(problem.id)}: {verdict.error or code}", f"code {code}{request}", remedy
    )
    return ending


def _messages(count: int) -> str:
    return f"{count:,} held message" + ("" if count == 1 else "s")


# -- options -----------------------------------------------------------------------------------------------


def _act(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    return option(*names, section=_SECTION, **attributes)


_MAXIMUM = 1_000
_CONCURRENCY = 8
_OPTIONS = {
    "dry_run": _act("--dry-run", is_flag=True, help="Show the plan; change nothing."),
    "yes": _act("--yes", is_flag=True, help="Do not ask."),
    "maximum": _act(
        "--max", "maximum", metavar="N", type=click.IntRange(min=0), default=_MAXIMUM, show_default=True,
        help="Refuse to act on more than N.",
    ),
    "report": _act("--report", metavar="FILE", help="Write one line of jsonl per message, as it is decided."),
    "append": _act("--append", is_flag=True, help="Add to the report."),
    "retry_from": _act("--retry-from", metavar="REPORT", help="Take up what a report left undone."),
    "fail_fast": _act("--fail-fast", is_flag=True, help="Begin no more batches after the first failure."),
    "batch_size": _act(
        "--batch-size", metavar="N", type=click.IntRange(min=1), help="Messages in one request. Default: the most."
    ),
    "concurrency": _act(
        "--concurrency", metavar="N", type=click.IntRange(min=1), default=_CONCURRENCY, show_default=True,
        help="Requests at once.",
    ),
}


def acting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of bulk verbs, and passes an `Acting` as `acting`."""
    return bundle("acting", Acting, list(_OPTIONS.values()), list(_OPTIONS))(function)
