"""A bulk verb from its plan to its last line: refuse, show, ask, act, and say what it came to (promises A)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.options import bundle, option, settings
from mimeportal_cli.output import Output, Shape
from mimeportal_cli.references import as_reference
from mimeportal_cli.telling import Ending, Survey, Verb, ask, both_senders, messages, tell_left_out

if TYPE_CHECKING:
    from mimeportal.bulk import BulkResult, Plan
    from mimeportal.portal import Portal
    from mimeportal.report import Outcome, Report
    from mimeportal_cli.choosing import Choice

UNASKED = 10  # typed ids that are released without a question
_SECTION = "Acting"
_SHOWN = 5

# As `mimeportal.report.REPORT_FIELDS`; a test compares them.
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
    empty="No held messages match.",
)


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
        for name, typed in (("--report", report), ("--retry-from", retry_from)):
            if typed == "":
                from mimeportal.errors import UsageError

                raise UsageError(f"{name} names no file.", remedy=f"Write {name} FILE, or leave it out.")
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
        if not self.dry_run:
            self.open_report()  # nothing is made yet; a report that cannot be is refused before anything is asked
        elif self.report is not None and self.report.exists():
            raise UsageError(f"{self.report} exists already, and is not overwritten.", remedy="Name another file.")
        if asks and not self.yes and not self.dry_run:
            settings().console.require_interactive()

    def open_report(self) -> Report | None:
        from mimeportal.report import Report

        if self.report is None:
            return None
        return Report(self.report, append=self.append, resume=self.report == self.retry_from)


def decide(
    portal: Portal, plan: Plan, acting: Acting, choice: Choice, output: Output, verb: Verb, *, asks: bool
) -> Ending:
    """Carry a plan out, or only show it; asks first where it must. Raises `DeclinedError` when it may not."""
    survey = Survey.of(plan, portal, choice.queue)
    tell_left_out(plan)
    ending = Ending(verb, survey.where, len(plan), one_typed=choice.only_typed and len(choice.typed) == 1)
    if acting.dry_run:
        _show_plan(portal, plan, acting, choice, output, survey)
        return ending
    plan.refuse_above(acting.maximum)
    if len(plan) and asks and not acting.yes:
        ask(plan, survey, verb, _time_cell(portal, choice))
    run(portal, plan, acting, output, ending)
    return ending


def _show_plan(portal: Portal, plan: Plan, acting: Acting, choice: Choice, output: Output, survey: Survey) -> None:
    if acting.report:
        plan.write(acting.report)
    cells: dict[str, Callable[[Any, Any, Any], str]] = {"id": as_reference, "from_header": both_senders}
    if output.format == "table":
        cells["date_received"] = _time_cell(portal, choice)
    # A table has no room for columns that say nothing.
    unused = {name for name, used in (("entry", plan.selection.entries()[0]), ("rule", any(survey.rules))) if not used}
    table = [name for name in PLANNED.table if name not in unused]
    output.shape = Shape(PLANNED.names, table=table, empty=PLANNED.empty, cells=cells)
    output.rows(choice.sorted(plan.lines()))
    if len(plan) > acting.maximum:
        settings().console.warn(
            f"{messages(len(plan))} are more than --max {acting.maximum:,}: without --dry-run this is refused."
        )


def _time_cell(portal: Portal, choice: Choice) -> Callable[[Any, Any, Any], str]:
    """How a recorded time is shown: in the account's zone."""
    from mimeportal.wire import parse_date
    from mimeportal_cli.opening import zone_of
    from mimeportal_cli.times import short

    zone = zone_of(portal, choice.tz)
    return lambda value, _, __: short(parse_date(value), zone) if value else ""


def run(portal: Portal, plan: Plan, acting: Acting, output: Output, ending: Ending) -> None:
    """Act, and note how it ended. Whoever stops reading our records stops the records, never the act."""
    from mimeportal.report import line_of

    console = settings().console
    every = output.asked or not output.on_terminal
    fault: Exception | None = None
    result: BulkResult | None = None

    try:
        with (
            output.open() as writer,
            console.progress(len(plan), ending.verb.doing, hidden=every and output.on_terminal) as bar,
        ):

            def take(outcomes: Sequence[Outcome]) -> None:
                nonlocal fault
                with suppress(OSError, ValueError):
                    bar.update(len(outcomes))
                if every and fault is None:
                    try:
                        writer.add([line_of(outcome, plan.context) for outcome in outcomes])
                    except Exception as lost:
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
                more = result.totals["failed"] + result.totals["unknown"] - len(result.problems)
                if more:
                    console.note(f"And {more:,} more, which --report FILE or -o tells.")
    except Exception as lost:
        if result is None:
            raise
        fault = lost
    if isinstance(fault, BrokenPipeError):
        console.close_stdout()
        fault = None
    ending.result, ending.fault = result, fault


def carry_out(
    portal: Portal,
    plan: Plan,
    acting: Acting,
    output: Output,
    ending: Ending,
    *,
    planned: Shape,
    ask: Callable[[Plan, Ending], None] | None,
) -> None:
    """Carry a plan out, or only show it as `planned`; `ask` first, where it must. Raises `DeclinedError` for no."""
    if acting.dry_run:
        if acting.report:
            plan.write(acting.report)
        output.shape = planned
        output.rows(plan.lines())
        if len(plan) > acting.maximum:
            settings().console.warn(f"More than --max {acting.maximum:,}: without --dry-run this is refused.")
        return
    plan.refuse_above(acting.maximum)
    if len(plan) and ask is not None and not acting.yes:
        ask(plan, ending)
    run(portal, plan, acting, output, ending)


def ask_by_subject(plan: Plan, ending: Ending) -> None:
    """Show the first few, and ask. Raises `DeclinedError` for no."""
    from itertools import islice

    from mimeportal.untrusted import visible

    console = settings().console
    first = list(islice(plan.selection, _SHOWN))
    for item in first:
        facts = item.described
        parts = (as_reference(item.id, None, None), facts.get("to_address"), facts.get("subject"))
        console.warn(("  " + visible("  ".join(str(part) for part in parts if part)))[: console.width - 1])
    if len(plan) > len(first):
        console.warn(f"  and {len(plan) - len(first):,} more")
    console.confirm(f"{ending.verb.asks} {ending.verb.count(len(plan))} ({ending.where})?")


# -- options -----------------------------------------------------------------------------------------------


def _act(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    return option(*names, section=_SECTION, **attributes)


_MAXIMUM = 1_000
_CONCURRENCY = 8
_OPTIONS = {
    "dry_run": _act("--dry-run", is_flag=True, help="Show the plan; change nothing."),
    "yes": _act("--yes", is_flag=True, help="Do not ask."),
    "maximum": _act(
        "--max",
        "maximum",
        metavar="N",
        type=click.IntRange(min=0),
        default=_MAXIMUM,
        show_default=True,
        help="Refuse to act on more than N.",
    ),
    "report": _act("--report", metavar="FILE", help="Write one line of jsonl per item, as it is done."),
    "append": _act("--append", is_flag=True, help="Add to the report."),
    "retry_from": _act("--retry-from", metavar="REPORT", help="Take up what a report left undone."),
    "fail_fast": _act("--fail-fast", is_flag=True, help="Begin no more batches after the first failure."),
    "batch_size": _act(
        "--batch-size", metavar="N", type=click.IntRange(min=1), help="Items in one request. Default: the most."
    ),
    "concurrency": _act(
        "--concurrency",
        metavar="N",
        type=click.IntRange(min=1),
        default=_CONCURRENCY,
        show_default=True,
        help="Requests at once.",
    ),
}


def acting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of bulk verbs, and passes an `Acting` as `acting`."""
    return bundle("acting", Acting, list(_OPTIONS.values()), list(_OPTIONS))(function)
