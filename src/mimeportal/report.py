"""The record of a bulk act: one line per outcome, synced as it goes, and taken up again where it ended."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, Literal

from mimeportal import limits
from mimeportal.errors import UsageError
from mimeportal.selection import Item, Selection

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
        """The id of the item."""
        return self.item.id

    @property
    def outcome(self) -> OutcomeName:
        """`done`, `already`, `failed` or `unknown`."""
        return self.verdict.outcome


@dataclass(frozen=True, slots=True)
class Context:
    """Under which name a bulk act runs; recorded with every outcome."""

    profile: str
    account: str
    actor: str


OnOutcomes = Callable[[Sequence[Outcome]], None]  # called after each batch of a bulk act


class Report:
    """A report file: one JSON line per outcome, appended and synced batch by batch, mode 0600.

    Beside it lies `FILE.todo`, the plan, until every item has its outcome. `resume` says that this run takes
    up that plan. Raises `UsageError` when the file exists already and `append` is false, and when a plan lies
    there that this run would forget.
    """

    def __init__(self, path: Path, *, append: bool = False, resume: bool = False) -> None:
        self.path = path
        self._append = append
        self._file: FileIO | None = None
        if self.todo.exists() and not resume:
            raise UsageError(
                f"{self.todo} is the plan of an earlier run that did not end.",
                remedy=f"Take it up with --retry-from {path}, or name another report.",
            )
        if path.exists() and not append:
            raise self._in_the_way()

    @property
    def todo(self) -> Path:
        """Where the plan lies until every item has its outcome."""
        return todo_of(self.path)

    def plan(self, selection: Selection, context: Context) -> None:
        """Write the plan beside the report, synced, before anything is sent."""
        part = self.todo.with_name(self.todo.name + ".part")
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as todo:
                for item in selection:
                    todo.write(_line(planned(item), context))
                todo.flush()
                os.fsync(todo.fileno())
            part.replace(self.todo)  # an earlier plan that is taken up is never half gone
        except OSError as fault:
            part.unlink(missing_ok=True)
            raise self._unwritable(fault) from None
        _sync_folder(self.path)
        self._opened()

    def add(self, outcomes: Iterable[Outcome], context: Context) -> None:
        """Append outcomes, synced. Raises `OSError` when the disk does not take them."""
        file = self._opened()
        octets = memoryview(b"".join(_line(outcome, context) for outcome in outcomes))
        while octets:
            octets = octets[file.write(octets) :]
        os.fsync(file.fileno())

    def finish(self, *, complete: bool) -> None:
        """Close the file; after a complete end there is nothing left to do."""
        if self._file is not None:
            self._file.close()
        if complete:
            self.todo.unlink(missing_ok=True)

    def _opened(self) -> FileIO:
        """The file, made now: a plan without its report can be taken up, a report without its plan cannot."""
        if self._file is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | (0 if self._append else os.O_EXCL)
            try:
                self._file = open(os.open(self.path, flags, 0o600), "r+b", buffering=0)  # noqa: SIM115
            except FileExistsError:
                raise self._in_the_way() from None
            except OSError as fault:
                raise self._unwritable(fault) from None
            _cut_torn_line(self._file)
        return self._file

    def _in_the_way(self) -> UsageError:
        return UsageError(
            f"The report {self.path} exists already, and is not overwritten.",
            remedy="Name another file, or add --append.",
        )

    def _unwritable(self, fault: OSError) -> UsageError:
        return UsageError(f"The report {self.path} cannot be written: {fault.strerror}.")


def todo_of(path: Path) -> Path:
    """Where the plan of a report lies until every item has its outcome."""
    return path.with_name(path.name + ".todo")


EntryOf = Callable[[Mapping[str, Any], Mapping[str, Any]], str | None]


def retry_selection(
    path: Path, *, actions: frozenset[str], context: Context, entry_of: EntryOf = lambda _, __: None
) -> Selection:
    """What a report left undone: every item that is not `done` or `already`, as it was recorded.

    A line of a failure names no list entry, for none was added: `entry_of` tells which one is to be, from what the line
    tells of the item and from its options. Reads `FILE.todo` too, so that a run that was killed is taken up where it
    stood. Raises `UsageError` for a file that is no report, and for one of another verb, profile or account.
    """
    selection = Selection()
    try:
        todo = todo_of(path)
        if not path.exists() and not todo.exists():
            raise UsageError(f"There is no report {path}.", remedy="Name the file given to --report.")
        for source in (todo, path):
            if source.exists():
                _read_undone(source, selection, actions, context, entry_of)
    except BaseException:
        selection.close()
        raise
    return selection


def _read_undone(
    path: Path, selection: Selection, actions: frozenset[str], context: Context, entry_of: EntryOf
) -> None:
    undone: list[Item] = []
    settled: list[str] = []
    for line in read_lines(path):
        item = _item_of_line(path, line, entry_of)
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


def _item_of_line(path: Path, line: Mapping[str, Any], entry_of: EntryOf) -> Item:
    if not isinstance(line.get("action"), str) or not isinstance(line.get("options"), dict):
        raise UsageError(f"{path} is no report: a line lacks `action` or `options`.")
    described = {name: line.get(name) for name in DESCRIBED}
    entry = line.get("entry") or entry_of(described, line["options"])
    return Item(line["id"], line["action"], line["options"], described, entry, line.get("rule"))


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
        "entry": (verdict.entry or item.entry) if pending or verdict.outcome in ("done", "unknown") else None,
        "rule": item.rule,
        "account": context.account,
        "options": dict(item.options),
    }
    return {name: values[name] for name in REPORT_FIELDS}


def _line(outcome: Outcome, context: Context) -> bytes:
    return json.dumps(line_of(outcome, context)).encode() + b"\n"


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except ValueError:
        return False
    return True


def _cut_torn_line(file: FileIO) -> None:
    """Take off a last line without its end, which a kill left: its item is not settled and comes again."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - limits.MIB))
    tail = file.read()
    if tail and not tail.endswith(b"\n"):
        file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)


def _sync_folder(path: Path) -> None:
    with suppress(OSError):  # not every system lets a folder be opened
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
