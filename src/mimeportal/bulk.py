"""The one engine for acting on many things: freeze a selection, act in batches, report every outcome.

What it keeps (promises A): the selection is read to its end and spooled before anything is sent; every item
ends with exactly one outcome, `done`, `already`, `failed` or `unknown`, taken from the portal's answer or
from looking after a lost one; the report is synced batch by batch and survives a kill. Memory stays flat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from mimeportal.errors import (
    ApiError,
    AuthenticationError,
    DeclinedError,
    LostAnswerError,
    MimeportalError,
    UnavailableError,
)
from mimeportal.report import Context, OnOutcomes, Outcome, Report, Verdict, line_of, planned
from mimeportal.selection import Item, Selection

_PROBLEMS_KEPT = 100
_BATCHES_AHEAD = 2  # per worker thread


class Worker(Protocol):
    """What one bulk verb does. `act` gives one verdict per item, or None where the answer names it nowhere."""

    batch_size: int  # the most items one `act` takes
    looks_at_end: bool  # doubtful items are gathered, and looked for once, at the end

    def act(self, items: Sequence[Item]) -> list[Verdict | None]: ...

    def look(self, items: Sequence[Item]) -> list[Verdict | None]:
        """After a lost answer: a verdict where the evidence is conclusive, None where nothing was done."""
        ...

    def again(self, item: Item) -> Item:
        """The item as it may be sent a second time after a lost answer."""
        ...


class Keyed:
    """A worker whose acts are keyed: done twice is done once, so after a lost answer they are simply sent again."""

    looks_at_end = False

    def look(self, items: Sequence[Item]) -> list[Verdict | None]:
        return [None] * len(items)

    def again(self, item: Item) -> Item:
        return item


@dataclass(slots=True)
class BulkResult:
    """What a bulk act came to: counts per outcome and code, the first problems, what was not attempted.

    totals         how many items ended as `done`, `already`, `failed`, `unknown`
    codes          how many of them with which code, of failures and of what went otherwise than planned
    notices        what became of notices to senders, where they were asked for
    problems       the first 100 outcomes that are `failed` or `unknown`; a report has all of them
    not_attempted  how many items were never sent
    stopped        the error that ended it before all were, as a portal that cannot be reached
    interrupted    whether `KeyboardInterrupt` did
    """

    totals: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    notices: Counter[str] = field(default_factory=Counter)
    problems: list[Outcome] = field(default_factory=list)
    not_attempted: int = 0
    stopped: MimeportalError | None = None
    interrupted: bool = False

    @property
    def clean(self) -> bool:
        """Every item was done, or stood so already."""
        return not (self.totals["failed"] or self.totals["unknown"] or self.not_attempted)

    def count(self, outcome: Outcome) -> None:
        """Take one more outcome into the counts."""
        self.totals[outcome.outcome] += 1
        verdict = outcome.verdict
        if verdict.notice:
            self.notices[verdict.notice] += 1
        failed = verdict.outcome in ("failed", "unknown")
        if verdict.code or failed:
            self.codes[verdict.code or "unknown"] += 1
        if failed and len(self.problems) < _PROBLEMS_KEPT:
            self.problems.append(outcome)


@dataclass(slots=True)
class Plan:
    """A frozen selection with what is to be done to it. `run()` acts; nothing is sent before."""

    selection: Selection
    worker: Worker
    context: Context
    left_out: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.selection)

    def refuse_above(self, maximum: int) -> None:
        """Raise `DeclinedError` when more than `maximum` items are selected."""
        count = len(self.selection)
        if count > maximum:
            raise DeclinedError(
                f"{count} items are selected, more than the {maximum} allowed at once; nothing was changed.",
                remedy=f"Narrow the selection, take a part with --limit, or allow it with --max {count}.",
            )

    def lines(self) -> Iterator[dict[str, Any]]:
        """The plan as report lines, their outcome null."""
        return (line_of(planned(item), self.context) for item in self.selection)

    def write(self, path: Path) -> None:
        """Write the plan to a new file, whole and synced. Raises `UsageError` when the file exists."""
        report = Report(path)
        items = iter(self.selection)
        while chunk := list(islice(items, 500)):
            report.add([planned(item) for item in chunk], self.context)
        report.finish(complete=False)

    def run(
        self,
        *,
        report: Report | None = None,
        batch_size: int | None = None,
        concurrency: int = 1,
        fail_fast: bool = False,
        on_outcomes: OnOutcomes | None = None,
    ) -> BulkResult:
        """Act on every item, batch by batch. Never raises for what happened to single items.

        `report` keeps every outcome, `on_outcomes` is called after each batch. `batch_size` is how many items one
        request names, at most as many as the portal takes; `concurrency` how many requests are under way at once: over
        HTTP more than one is faster. `fail_fast` ends at the first failure. A portal that cannot answer, or a log-in
        that ends, stops the run: what was not attempted is counted, and the error is in `stopped`. An interrupt ends
        the batches in flight first.
        """
        return _Run(self, report, batch_size, concurrency, fail_fast, on_outcomes).run()

    def carry_out(
        self,
        concurrency: int,
        *,
        report: Report | None = None,
        on_outcomes: OnOutcomes | None = None,
    ) -> BulkResult:
        """Run, and close. Raises what stopped it, where `run` tells of it in the result."""
        with self:
            result = self.run(report=report, concurrency=concurrency, on_outcomes=on_outcomes)
        if result.interrupted:
            raise KeyboardInterrupt
        if result.stopped:
            raise result.stopped
        return result

    def close(self) -> None:
        """Let go of the selection."""
        self.selection.close()

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Run:
    def __init__(
        self,
        plan: Plan,
        report: Report | None,
        batch_size: int | None,
        concurrency: int,
        fail_fast: bool,
        on_outcomes: OnOutcomes | None,
    ) -> None:
        self.plan = plan
        self.worker = plan.worker
        self.report = report
        self.size = min(batch_size or self.worker.batch_size, self.worker.batch_size)
        self.concurrency = concurrency
        self.fail_fast = fail_fast
        self.on_outcomes = on_outcomes
        self.recorded = True  # the report has every outcome so far
        self.result = BulkResult()
        self.doubtful: list[Item] = []

    def run(self) -> BulkResult:
        if self.report:
            self.report.plan(self.plan.selection, self.plan.context)
        total = len(self.plan.selection)
        try:
            self._act_on_all()
            self._settle()
        except KeyboardInterrupt:
            self.result.interrupted = True
            with suppress(KeyboardInterrupt):
                self._take([Outcome(item, _LOST, _now()) for item in self.doubtful])
        finally:
            self.result.not_attempted = total - self.result.totals.total()
            if self.report:
                self.report.finish(complete=self.recorded and self.result.not_attempted == 0)
        return self.result

    def _act_on_all(self) -> None:
        items = iter(self.plan.selection)
        flying: set[Future[tuple[list[Outcome], list[Item], MimeportalError | None]]] = set()
        # Work always happens in threads of the pool, so that an interrupt cannot cut a batch in two.
        with ThreadPoolExecutor(max_workers=self.concurrency, thread_name_prefix="bulk") as pool:
            try:
                while True:
                    while not self._over() and len(flying) < self.concurrency * _BATCHES_AHEAD:
                        batch = list(islice(items, self.size))
                        if not batch:
                            break
                        flying.add(pool.submit(self._batch, batch))
                    if not flying:
                        return
                    for future in wait(flying, return_when=FIRST_COMPLETED).done:
                        flying.remove(future)
                        self._land(future)
            except KeyboardInterrupt:
                started = {future for future in flying if not future.cancel()}
                while started:  # what was sent has an outcome, however often it is interrupted
                    with suppress(KeyboardInterrupt):
                        for future in wait(started).done:
                            started.remove(future)
                            self._land(future)
                raise

    def _over(self) -> bool:
        return self.result.stopped is not None or (self.fail_fast and bool(self.result.problems))

    def _land(self, future: Future[tuple[list[Outcome], list[Item], MimeportalError | None]]) -> None:
        outcomes, doubtful, stop = future.result()
        self.doubtful += doubtful
        self.result.stopped = self.result.stopped or stop
        self._take(outcomes)  # last: whoever is shown the outcomes may interrupt here

    def _take(self, outcomes: list[Outcome]) -> None:
        if not outcomes:
            return
        if self.report and self.recorded:
            try:
                self.report.add(outcomes, self.plan.context)
            except OSError as fault:
                self.recorded = False
                self.result.stopped = self.result.stopped or MimeportalError(
                    f"The report {self.report.path} cannot be written any more: {fault.strerror}.",
                    why="What was decided is counted below; the plan lies beside the report.",
                    remedy=f"Free some space, then take it up with --retry-from {self.report.path}.",
                )
        for outcome in outcomes:
            self.result.count(outcome)
        if self.on_outcomes:
            self.on_outcomes(outcomes)

    def _batch(self, items: list[Item]) -> tuple[list[Outcome], list[Item], MimeportalError | None]:
        """Act on one batch: outcomes, items in doubt, and the error that must stop the run."""
        outcomes, doubtful, stop = self._try(items)
        if doubtful and not self.worker.looks_at_end:
            outcomes += self._look(doubtful, rounds=3)
            doubtful = []
        return outcomes, doubtful, stop

    def _try(self, items: list[Item]) -> tuple[list[Outcome], list[Item], MimeportalError | None]:
        try:
            verdicts = self.worker.act(items)
        except LostAnswerError:
            return [], items, None
        except (AuthenticationError, UnavailableError) as fault:
            # The portal did not carry it out, and will not carry out the next one either.
            return [], [], fault
        except ApiError as fault:
            if len(items) == 1:
                return [Outcome(items[0], _refused(fault), _now())], [], None
            # Refused whole for one bad item: halve until it stands alone.
            middle = len(items) // 2
            first = self._try(items[:middle])
            if first[2]:
                return first
            second = self._try(items[middle:])
            return first[0] + second[0], first[1] + second[1], second[2]
        time = _now()
        told = [Outcome(item, verdict, time) for item, verdict in zip(items, verdicts, strict=True) if verdict]
        return told, [item for item, verdict in zip(items, verdicts, strict=True) if not verdict], None

    def _settle(self) -> None:
        """Look for what is still in doubt; until that is done, an interrupt leaves it unknown."""
        outcomes = self._look(self.doubtful, rounds=1) if self.doubtful else []
        self.doubtful = []
        self._take(outcomes)

    def _look(self, items: list[Item], *, rounds: int) -> list[Outcome]:
        """Look what became of items in doubt; what was not done is sent again, `rounds` times at most."""
        outcomes: list[Outcome] = []
        for _ in range(rounds):
            verdicts = self._looked(items)
            outcomes += [Outcome(item, v, _now()) for item, v in zip(items, verdicts, strict=True) if v]
            undone = [self.worker.again(item) for item, v in zip(items, verdicts, strict=True) if v is None]
            items = []
            for start in range(0, len(undone), self.size):
                told, lost, stop = self._try(undone[start : start + self.size])
                outcomes += told
                items += lost
                if stop:
                    named = {outcome.item.id for outcome in told} | {item.id for item in lost}
                    left = [item for item in undone[start:] if item.id not in named]
                    return outcomes + [Outcome(item, _LOST, _now()) for item in [*items, *left]]
            if not items:
                return outcomes
        return outcomes + [Outcome(item, _LOST, _now()) for item in items]

    def _looked(self, items: list[Item]) -> list[Verdict | None]:
        try:
            return self.worker.look(items)
        except MimeportalError:
            return [_LOST] * len(items)


_LOST = Verdict("unknown", code="answer_lost", error="The answer was lost, and looking did not show what became of it.")


def _refused(fault: ApiError) -> Verdict:
    return Verdict("failed", fault.code or "refused", fault.what, fault.request_id or None)


def _now() -> datetime:
    return datetime.now(UTC)
