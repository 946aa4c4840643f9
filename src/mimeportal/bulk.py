"""The one engine for acting on many things: freeze a selection, act in batches, report every outcome.

What it keeps (promises A): the selection is read to its end and spooled before anything is sent; every item
ends with exactly one outcome, `done`, `already`, `failed` or `unknown`, taken from the portal's answer or
from looking after a lost one; the report is synced batch by batch and survives a kill. Memory stays flat.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from mimeportal import limits
from mimeportal.errors import (
    ApiError,
    AuthenticationError,
    DeclinedError,
    LostAnswerError,
    MimeportalError,
    UnavailableError,
    UsageError,
)

OutcomeName = Literal["done", "already", "failed", "unknown"]

# What a report line holds, in this order (the forms that scripts rely on). The middle ones describe the item.
DESCRIBED = ("queue", "from_address", "from_header", "to_address", "subject", "date_received")
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
    *DESCRIBED,
    "entry",
    "rule",
    "account",
    "options",
)
_PROBLEMS_KEPT = 100
_BATCHES_AHEAD = 2  # per worker thread


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to act on: what is done to it, and what a person needs to recognise it."""

    id: str
    action: str
    options: Mapping[str, Any] = field(default_factory=dict)
    described: Mapping[str, Any] = field(default_factory=dict)
    entry: str | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one item, as the answer tells it."""

    outcome: OutcomeName
    code: str | None = None
    error: str | None = None
    request_id: str | None = None
    entry: str | None = None
    notice: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One item with its verdict and the time of it: one line of a report."""

    item: Item
    verdict: Verdict
    time: datetime

    @property
    def id(self) -> str:
        return self.item.id

    @property
    def outcome(self) -> OutcomeName:
        return self.verdict.outcome


@dataclass(frozen=True, slots=True)
class Context:
    """Under which name a bulk act runs; recorded with every outcome."""

    profile: str
    account: str
    actor: str


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


class Selection:
    """A frozen selection in a temporary file that only its owner can read: unique ids, any number of them."""

    def __init__(self) -> None:
        handle, name = tempfile.mkstemp(prefix="mimeportal-", suffix=".selection")  # mode 0600
        os.close(handle)
        self._path = Path(name)
        self._database = sqlite3.connect(name, isolation_level=None, check_same_thread=False)
        # The file lives no longer than the process: nothing here needs to survive a crash.
        self._database.executescript(
            """
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -4096;
            CREATE TABLE item (
              position INTEGER PRIMARY KEY, id_hash BLOB UNIQUE, date TEXT, entry TEXT, body TEXT
            );
            """
        )

    def add(self, items: Iterable[Item]) -> None:
        """Spool items in order; an id that is there already is passed over."""
        statement = "INSERT OR IGNORE INTO item (id_hash, date, entry, body) VALUES (?, ?, ?, ?)"
        rows = iter(items)
        while chunk := list(islice(rows, 500)):
            self._database.execute("BEGIN")
            self._database.executemany(
                statement,
                [
                    (_id_hash(item.id), item.described.get("date_received") or "", item.entry, _dump_item(item))
                    for item in chunk
                ],
            )
            self._database.execute("COMMIT")

    def drop(self, ids: Iterable[str]) -> None:
        self._database.executemany("DELETE FROM item WHERE id_hash = ?", ((_id_hash(id),) for id in ids))

    def keep_oldest(self, count: int) -> int:
        """Keep only the `count` oldest by date received; returns how many were dropped."""
        before = len(self)
        self._database.execute(
            "DELETE FROM item WHERE position NOT IN (SELECT position FROM item ORDER BY date, position DESC LIMIT ?)",
            (count,),
        )
        return before - len(self)

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM item").fetchone()[0])

    def __iter__(self) -> Iterator[Item]:
        position = 0
        while True:
            rows = self._database.execute(
                "SELECT position, body FROM item WHERE position > ? ORDER BY position LIMIT 500", (position,)
            ).fetchall()
            if not rows:
                return
            for position, body in rows:  # noqa: B007
                yield _load_item(json.loads(body))

    def entries(self) -> tuple[int, list[str]]:
        """How many different sender list entries would be added, and the first five of them."""
        count = self._database.execute("SELECT count(DISTINCT entry) FROM item").fetchone()[0]
        first = self._database.execute(
            "SELECT entry FROM item WHERE entry IS NOT NULL GROUP BY entry ORDER BY min(position) LIMIT 5"
        )
        return int(count), [row[0] for row in first]

    def close(self) -> None:
        self._database.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Selection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Report:
    """A report file: one JSON line per outcome, appended and synced batch by batch, mode 0600.

    Beside it lies `FILE.todo`, the plan, until every item has its outcome. `resume` says that this run takes
    up that plan. Raises `UsageError` when the file exists already and `append` is false, and when a plan lies
    there that this run would forget.
    """

    def __init__(self, path: Path, *, append: bool = False, resume: bool = False) -> None:
        self.path = path
        if self.todo.exists() and not resume:
            raise UsageError(
                f"{self.todo} is the plan of an earlier run that did not end.",
                remedy=f"Take it up with --retry-from {path}, or name another report.",
            )
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | (0 if append else os.O_EXCL)
        try:
            self._file = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)
        except FileExistsError:
            raise UsageError(
                f"The report {path} exists already, and is not overwritten.",
                remedy="Name another file, or add --append.",
            ) from None
        except OSError as fault:
            raise UsageError(f"The report {path} cannot be written: {fault.strerror}.") from None
        if append:
            _cut_torn_line(self._file.fileno())

    @property
    def todo(self) -> Path:
        return self.path.with_name(self.path.name + ".todo")

    def plan(self, selection: Selection, context: Context) -> None:
        """Write the plan beside the report, synced, before anything is sent."""
        part = self.todo.with_name(self.todo.name + ".part")
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as todo:
            for item in selection:
                todo.write(_line(planned(item), context))
            todo.flush()
            os.fsync(todo.fileno())
        part.replace(self.todo)  # an earlier plan that is taken up is never half gone
        _sync_folder(self.path)

    def add(self, outcomes: Iterable[Outcome], context: Context) -> None:
        self._file.write(b"".join(_line(outcome, context) for outcome in outcomes))
        os.fsync(self._file.fileno())

    def finish(self, *, complete: bool) -> None:
        self._file.close()
        if complete:
            self.todo.unlink(missing_ok=True)


@dataclass(slots=True)
class BulkResult:
    """What a bulk act came to: counts per outcome and code, the first problems, what was not attempted."""

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
        self.totals[outcome.outcome] += 1
        verdict = outcome.verdict
        if verdict.notice:
            self.notices[verdict.notice] += 1
        if verdict.outcome in ("failed", "unknown"):
            self.codes[verdict.code or "unknown"] += 1
            if len(self.problems) < _PROBLEMS_KEPT:
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
        on_outcomes: Callable[[Sequence[Outcome]], None] | None = None,
    ) -> BulkResult:
        """Act on every item, batch by batch. Never raises for what happened to single items.

        A portal that cannot answer, or a log-in that ends, stops the run: what was not attempted is
        counted, and the error is in `stopped`. An interrupt ends the batches in flight first.
        """
        return _Run(self, report, batch_size, concurrency, fail_fast, on_outcomes).run()

    def close(self) -> None:
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
        on_outcomes: Callable[[Sequence[Outcome]], None] | None,
    ) -> None:
        self.plan = plan
        self.worker = plan.worker
        self.report = report
        self.size = min(batch_size or self.worker.batch_size, self.worker.batch_size)
        self.concurrency = concurrency
        self.fail_fast = fail_fast
        self.on_outcomes = on_outcomes
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
                self.report.finish(complete=self.result.not_attempted == 0)
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
                started = [future for future in flying if not future.cancel()]
                for future in wait(started).done:
                    with suppress(KeyboardInterrupt):  # raised again while the last outcomes are shown
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
        if self.report:
            self.report.add(outcomes, self.plan.context)
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


def collect(items: Iterable[Item]) -> Selection:
    """Freeze items into a selection."""
    selection = Selection()
    try:
        selection.add(items)
    except BaseException:
        selection.close()
        raise
    return selection


def retry_selection(path: Path, *, actions: frozenset[str], context: Context) -> Selection:
    """What a report left undone: every item that is not `done` or `already`, as it was recorded.

    Reads `FILE.todo` too, so that a run that was killed is taken up where it stood. Raises `UsageError`
    for a file that is no report, and for one of another verb, profile or account.
    """
    selection = Selection()
    try:
        todo = path.with_name(path.name + ".todo")
        if not path.exists() and not todo.exists():
            raise UsageError(f"There is no report {path}.", remedy="Name the file given to --report.")
        for source in (todo, path):
            if source.exists():
                _read_undone(source, selection, actions, context)
    except BaseException:
        selection.close()
        raise
    return selection


def _read_undone(path: Path, selection: Selection, actions: frozenset[str], context: Context) -> None:
    undone: list[Item] = []
    settled: list[str] = []
    for line in read_lines(path):
        item = _item_of_line(path, line)
        if item.action not in actions:
            raise UsageError(
                f"{path} records the verb {item.action}, not {' or '.join(sorted(actions))}.",
                remedy=f"Run `{item.action} --retry-from {path}`.",
            )
        for name, recorded, present in (
            ("profile", line.get("profile"), context.profile),
            ("account", line.get("account"), context.account),
        ):
            if recorded != present:
                raise UsageError(
                    f"{path} was written for {name} {recorded!r}, and this is {name} {present!r}.",
                    remedy=f"Run it again with that {name}.",
                )
        if line.get("outcome") in ("done", "already"):
            settled.append(item.id)
        else:
            undone.append(item)
        if len(undone) + len(settled) >= 1000:
            selection.add(undone)
            selection.drop(settled)
            undone, settled = [], []
    selection.add(undone)
    selection.drop(settled)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a report, a plan or a list in jsonl. A torn last line is passed over.

    Raises `UsageError` naming the line that is no JSON object.
    """
    try:
        file = path.open("rb")
    except OSError as fault:
        raise UsageError(f"{path} cannot be read: {fault.strerror}.") from None
    with file:
        for number, raw in enumerate(file, 1):
            if not raw.endswith(b"\n") and not _is_json(raw):
                return
            if not raw.strip():
                continue
            try:
                line = json.loads(raw)
            except ValueError:
                line = None
            if not isinstance(line, dict) or not isinstance(line.get("id"), str):
                raise UsageError(f"Line {number} of {path} is no JSON object with an `id`.")
            yield line


def _item_of_line(path: Path, line: Mapping[str, Any]) -> Item:
    if not isinstance(line.get("action"), str) or not isinstance(line.get("options"), dict):
        raise UsageError(f"{path} is no report: a line lacks `action` or `options`.")
    described = {name: line.get(name) for name in DESCRIBED}
    return Item(line["id"], line["action"], line["options"], described, line.get("entry"), line.get("rule"))


def planned(item: Item) -> Outcome:
    return Outcome(item, _PLANNED, _EPOCH)


# A plan line is a report line whose outcome is still null.
_PLANNED = Verdict("unknown", code="planned")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def line_of(outcome: Outcome, context: Context) -> dict[str, Any]:
    """One outcome as a report line: exactly `REPORT_FIELDS`, in that order."""
    item, verdict = outcome.item, outcome.verdict
    pending = verdict is _PLANNED
    values = {
        "id": item.id,
        "action": item.action,
        "outcome": None if pending else verdict.outcome,
        # A plan marks what a filter would have left out and only an id names (promises B.5).
        "code": ("sender_blocked" if item.described.get("sender_blocked") else None) if pending else verdict.code,
        "error": verdict.error,
        "request_id": verdict.request_id,
        "time": None if pending else outcome.time.isoformat(timespec="milliseconds"),
        "profile": context.profile,
        "actor": context.actor,
        **{name: item.described.get(name) for name in DESCRIBED},
        "entry": verdict.entry or item.entry if pending or verdict.outcome != "failed" else None,
        "rule": item.rule,
        "account": context.account,
        "options": dict(item.options),
    }
    return {name: values[name] for name in REPORT_FIELDS}


def _line(outcome: Outcome, context: Context) -> bytes:
    return json.dumps(line_of(outcome, context)).encode() + b"\n"


def _refused(fault: ApiError) -> Verdict:
    return Verdict("failed", fault.code or "refused", fault.what, fault.request_id or None)


def _dump_item(item: Item) -> str:
    return json.dumps([item.id, item.action, dict(item.options), dict(item.described), item.entry, item.rule])


def _load_item(body: list[Any]) -> Item:
    return Item(*body)


def _id_hash(id: str) -> bytes:
    return hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except ValueError:
        return False
    return True


def _cut_torn_line(descriptor: int) -> None:
    """Take off a last line without its end, which a kill left: its item is not settled and comes again."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, min(size, limits.MIB), max(0, size - limits.MIB))
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(descriptor, size - len(tail) + tail.rfind(b"\n") + 1)


def _sync_folder(path: Path) -> None:
    with suppress(OSError):  # not every system lets a folder be opened
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _now() -> datetime:
    return datetime.now(UTC)
