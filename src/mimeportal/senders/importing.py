"""Entries from a file, one a line: a plain list, or the CSV that an export wrote. Bad lines stop nothing."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from mimeportal import limits
from mimeportal.addresses import parse_entry
from mimeportal.errors import UsageError
from mimeportal.senders import contract
from mimeportal.senders.entry import check_list, check_trusted
from mimeportal.untrusted import uncell, unescaped
from mimeportal.wire import Failure

if TYPE_CHECKING:
    from mimeportal.portal import Portal


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was not taken, numbered from 1, and why."""

    line: int
    entry: str
    code: str
    reason: str


BAD_LINE_FIELDS = tuple(entry.name for entry in fields(BadLine))


@dataclass(slots=True)
class ImportResult:
    """What an import came to. `left_out` are auto-permitted entries: they arise from mail that is sent.

    `moved` of the added ones left another list.
    """

    added: int = 0
    moved: int = 0
    already: int = 0
    refused: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    entry: str
    list: str


def import_entries(
    portal: Portal,
    lines: Iterable[str | bytes],
    list: str | None,
    mailbox: str | None,
    on_bad: Callable[[Sequence[BadLine]], None],
    *,
    dry_run: bool,
) -> ImportResult:
    """Store the good lines some thousand at a time, tell the bad ones; see `SendersClient.import_entries`."""
    result = ImportResult()
    waiting: dict[str, MutableSequence[_Line]] = {}
    ours = portal.session.offers(contract.IMPORT)
    if list is not None:
        check_list(list, contract.WRITABLE if ours else contract.SEVERAL)
    most = limits.SENDERS_IMPORTED if ours else 100

    def tell(bad: Sequence[BadLine]) -> None:
        result.refused += len(bad)
        if bad:
            on_bad(sorted(bad, key=lambda line: line.line))

    def store(name: str) -> None:
        chunk = waiting.pop(name)
        if ours:
            tell(_stored(portal, chunk, name, mailbox, result, dry_run=dry_run))
        elif dry_run:
            result.added += len(chunk)  # Mimecast tells of no list
        else:
            tell(_permitted_or_blocked(portal, chunk, name, mailbox, result))

    for read in _read(lines, list, result):
        if isinstance(read, BadLine):
            tell([read])
            continue
        if not ours and "@" not in read.entry:
            tell([BadLine(read.number, read.entry, "not_offered", "This portal takes addresses, not whole domains.")])
            continue
        waiting.setdefault(read.list, []).append(read)
        if len(waiting[read.list]) >= most:
            store(read.list)
    for name in [*waiting]:
        store(name)
    return result


def _read(lines: Iterable[str | bytes], list: str | None, result: ImportResult) -> Iterator[_Line | BadLine]:
    """Each line by itself, so that a quote left open swallows no other."""
    columns: Mapping[str, int] | None = None
    delimiter = ","
    first = True
    for number, raw in enumerate(lines, 1):
        text = (raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw).strip("\ufeff \t\r\n")
        if not text:
            continue
        if first:
            first = False
            columns, delimiter = _heading(text)
            if columns is not None:
                continue
        if list is None and (columns is None or "list" not in columns):
            raise UsageError(
                "Which list shall the entries go to?",
                why="The file has no column `list`, as an export has.",
                remedy=f"Name it with --list: {', '.join(contract.WRITABLE)}.",
            )
        yield from _entry(number, text, columns, delimiter, list, result)


def _heading(text: str) -> tuple[Mapping[str, int] | None, str]:
    """The columns by name where the first line is a heading, and what stands between them."""
    for delimiter in (",", ";", "\t"):
        names = [name.strip().lower() for name in text.replace('"', "").split(delimiter)]
        if "entry" in names:
            return {name: place for place, name in enumerate(names)}, delimiter
    return None, ","


def _entry(
    number: int,
    text: str,
    columns: Mapping[str, int] | None,
    delimiter: str,
    list: str | None,
    result: ImportResult,
) -> Iterator[_Line | BadLine]:
    named = list
    entry = uncell(text)
    if columns is not None:
        try:
            cells = next(csv.reader([text], delimiter=delimiter), [])
        except csv.Error as fault:
            yield BadLine(number, text[:80], "bad_line", f"The line cannot be read: {fault}.")
            return
        values = {name: uncell(cells[place].strip()) for name, place in columns.items() if place < len(cells)}
        entry = unescaped(values.get("entry", ""))
        named = values.get("list", "").lower() or list
        if named == "auto-permitted":
            result.left_out += 1
            return
        if list is not None and named != list:
            reason = f"It stands on {named!r}, and the import is for {list}: without --list each goes to its own."
            yield BadLine(number, entry[:80], "other_list", reason)
            return
    try:
        check_list(named or "", contract.WRITABLE)
        found, type = parse_entry(entry)
        if named == "trusted":
            check_trusted(found, type)
    except UsageError as fault:
        yield BadLine(number, entry[:80], "bad_entry", fault.what)
        return
    yield _Line(number, found, named or "")


def _stored(
    portal: Portal, chunk: Sequence[_Line], list: str, mailbox: str | None, result: ImportResult, *, dry_run: bool
) -> Sequence[BadLine]:
    entries = [line.entry for line in chunk]
    item = contract.ImportSendersItem(entries=entries, list=list, mailbox=mailbox, dry_run=dry_run or None)
    answer = portal.session.call(contract.IMPORT, [item])
    for row in answer.rows:
        result.added += row.added
        result.moved += row.moved
        result.already += row.already
    return _bad(chunk, answer.failures, "entry")


def _permitted_or_blocked(
    portal: Portal, chunk: Sequence[_Line], list: str, mailbox: str | None, result: ImportResult
) -> Sequence[BadLine]:
    to = mailbox or portal.user
    if to is None:
        raise UsageError("Whose list? An app has none of its own.", remedy="Name it with --mailbox ADDRESS.")
    action = "permit" if list == "permitted" else "block"
    items = [contract.PermitOrBlockItem(sender=line.entry, to=to, action=action) for line in chunk]
    answer = portal.session.call(contract.PERMIT_OR_BLOCK, items)
    result.added += len(answer.rows)
    return _bad(chunk, answer.failures, "sender")


def _bad(chunk: Sequence[_Line], failures: Sequence[Failure], key: str) -> Sequence[BadLine]:
    """The lines that the failures of an answer name."""
    refused = {failure.key.get(key): failure for failure in failures if isinstance(failure.key, dict)}
    return [
        BadLine(line.number, line.entry, refused[line.entry].code, refused[line.entry].message)
        for line in chunk
        if line.entry in refused
    ]
