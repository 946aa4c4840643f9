"""Records on stdout or in a file: table, json, jsonl, csv or tsv, streamed with flat memory.

A `Shape` says which columns a kind of record has; names and order are plain data. An `Output` is what the options
`-o`, `--columns`, `-w` and `--limit` made of it. Values keep their kind: text from outside is made safe for the
format it is written in, here and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import click

from mimeportal_cli.options import Settings, bundle, option, settings

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from mimeportal_cli.console import Console

FORMATS = ("table", "json", "jsonl", "csv", "tsv")
_PAGE = 200  # rows of a table that are laid out together
_LEAST = 8  # characters a column keeps on a narrow terminal


class Shape:
    """The columns of one kind of record.

    names   every column, in order: the names in every format
    table   the columns a table shows unless others are asked for
    cells   per column, what a table shows in place of the value: called with value, record, columns shown
    empty   the sentence for no records
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        table: Sequence[str] = (),
        cells: Mapping[str, Callable[[Any, Any, Sequence[str]], str]] | None = None,
        empty: str = "Nothing to show.",
    ) -> None:
        self.names = tuple(names)
        self.table = tuple(table) or self.names
        self.cells = dict(cells or {})
        self.empty = empty

    def chosen(self, columns: str | None) -> tuple[str, ...] | None:
        """The columns named in `a,b,c`. Raises `UsageError` listing the valid ones for an unknown name."""
        if columns is None:
            return None
        names = tuple(dict.fromkeys(name.strip() for name in columns.split(",") if name.strip()))
        for name in names:
            if name not in self.names:
                from mimeportal.errors import UsageError

                raise UsageError(
                    f"There is no column {name!r}.",
                    why=f"The columns are {', '.join(self.names)}.",
                    remedy="Name some of them, with commas between.",
                )
        return names or None


class Output:
    """Where records go and how they look, as the options say."""

    def __init__(
        self,
        shape: Shape,
        *,
        output_format: str | None = None,
        columns: str | None = None,
        write: str | None = None,
        limit: int | None = None,
    ) -> None:
        self.shape = shape
        self.limit = limit
        self.columns = shape.chosen(columns)
        self._asked = output_format
        self._file = None if write in (None, "-") else write
        self._settings: Settings = settings()

    @property
    def console(self) -> Console:
        return self._settings.console

    @property
    def on_terminal(self) -> bool:
        """Whether records are shown to a person."""
        return self._file is None and self.console.stdout_is_terminal

    @property
    def asked(self) -> bool:
        """Whether a format or a file was asked for, in whatever way."""
        return self._file is not None or self._preferred() is not None

    @property
    def format(self) -> str:
        """Which format: asked for, else a table on a terminal and tsv elsewhere."""
        return self._preferred() or ("table" if self.on_terminal else "tsv")

    def _preferred(self) -> str | None:
        if self._asked:
            return self._asked
        if self._file is not None:
            extension = os.path.splitext(self._file)[1].lstrip(".").lower()
            if extension in FORMATS:
                return extension
        preferred = os.environ.get("MIMEPORTAL_OUTPUT") or self._settings.output
        if preferred and preferred not in FORMATS:
            from mimeportal.errors import ConfigurationError

            raise ConfigurationError(
                f"MIMEPORTAL_OUTPUT, or the profile, names no format: {preferred!r}.",
                remedy=f"Use one of: {', '.join(FORMATS)}.",
            )
        return preferred

    def rows(self, records: Iterable[Any]) -> int:
        """Write records; returns how many. What has `pages()` is flushed page by page."""
        return self.chunks(_chunks(records))

    def chunks(self, chunks: Iterable[Sequence[Any]]) -> int:
        """Write records chunk by chunk, the first before the second is asked for; returns how many."""
        cut = False
        with self.open() as writer:
            for chunk in chunks:
                room = None if self.limit is None else self.limit - writer.count
                writer.add(chunk[:room])
                if room is not None and len(chunk) > room:
                    cut = True
                    break
        if cut:
            self.console.note(f"Only the first {self.limit:,} are shown, as --limit says; there are more.")
        if not writer.count and self.on_terminal and self.format in ("table", "tsv"):
            self.console.note(self.shape.empty)
        return writer.count

    @contextmanager
    def open(self) -> Iterator[Writer]:
        """A writer for records that come bit by bit. What fails leaves no FILE, and a json array unclosed."""
        with _sink(self._file, self.console) as (text, flush):
            writer = Writer(self, text, flush)
            yield writer
            writer.finish()

    def one(self, record: Mapping[str, Any]) -> None:
        """Write a single object: json gives the object itself, a table one line per field."""
        columns = self.columns or self.shape.names
        if self.format == "json":
            with _sink(self._file, self.console) as (text, _):
                text(_json({name: record.get(name) for name in columns}, indent=2) + "\n")
        elif self.format == "table":
            shown = [name for name in columns if record.get(name) not in (None, "", [])]
            lines = [[name, self._cell(name, record, columns)] for name in shown]
            with _sink(self._file, self.console) as (text, _):
                text("".join(line + "\n" for line in _laid_out([], lines)))
        else:
            with self.open() as writer:
                writer.add([record])

    def _cell(self, name: str, record: Any, columns: Sequence[str]) -> str:
        from mimeportal.untrusted import visible

        value = field(record, name)
        shown = self.shape.cells.get(name)
        return visible(shown(value, record, columns) if shown else plain(value))


class Writer:
    """Records in one format, to one place."""

    def __init__(self, output: Output, text: Callable[[str], None], flush: Callable[[], None]) -> None:
        self.count = 0
        self._flush = flush
        form = output.format
        console = output.console
        default = output.shape.table if form == "table" else output.shape.names
        columns = output.columns or default
        self._form: _Form
        if form == "table":
            width = console.width if output.on_terminal else None
            cells = output._cell  # noqa: SLF001 - the two are one
            self._form = _Table(text, columns, lambda record: [cells(name, record, columns) for name in columns], width)
            self._form.bold = console.colours and output.on_terminal
        elif form == "json":
            self._form = _Json(text, columns)
        elif form == "jsonl":
            self._form = _JsonLines(text, columns)
        elif form == "csv":
            self._form = _Csv(text, columns)
        else:
            self._form = _Tsv(text, columns)

    def add(self, records: Sequence[Any]) -> None:
        """Write some records; whoever reads the other end of a pipe sees them at once."""
        for record in records:
            self._form.row(record)
        self.count += len(records)
        self._form.pause()
        self._flush()

    def finish(self) -> None:
        """Close what a format closes: the bracket of json."""
        self._form.end()
        self._flush()


class _Form(Protocol):
    def row(self, record: Any) -> None: ...

    def pause(self) -> None: ...

    def end(self) -> None: ...


class _JsonLines:
    def __init__(self, text: Callable[[str], None], columns: Sequence[str]) -> None:
        self.text = text
        self.columns = columns

    def encoded(self, record: Any) -> str:
        return _json({name: field(record, name) for name in self.columns})

    def row(self, record: Any) -> None:
        self.text(self.encoded(record) + "\n")

    def pause(self) -> None: ...

    def end(self) -> None: ...


class _Json(_JsonLines):
    begun = False

    def row(self, record: Any) -> None:
        self.text((",\n" if self.begun else "[\n") + self.encoded(record))
        self.begun = True

    def end(self) -> None:
        self.text("\n]\n" if self.begun else "[]\n")


class _Csv:
    def __init__(self, text: Callable[[str], None], columns: Sequence[str]) -> None:
        import csv

        class Stream:
            write = staticmethod(text)

        self.columns = columns
        self.writer = csv.writer(Stream, lineterminator="\n")
        self.writer.writerow(columns)

    def row(self, record: Any) -> None:
        from mimeportal.untrusted import cell

        values = [field(record, name) for name in self.columns]
        # A number or a date is no text: only text can be a formula.
        self.writer.writerow(
            [cell(plain(value)) if isinstance(value, str | dict | list | tuple) else plain(value) for value in values]
        )

    def pause(self) -> None: ...

    def end(self) -> None: ...


class _Tsv:
    def __init__(self, text: Callable[[str], None], columns: Sequence[str]) -> None:
        from mimeportal.untrusted import visible

        self.text = text
        self.columns = columns
        self.visible = visible

    def row(self, record: Any) -> None:
        visible = self.visible
        self.text("\t".join([visible(plain(field(record, name))) for name in self.columns]) + "\n")

    def pause(self) -> None: ...

    def end(self) -> None: ...


class _Table:
    """Rows are laid out some hundreds at a time; the widths of the first page hold for those that follow."""

    bold = False

    def __init__(
        self,
        text: Callable[[str], None],
        columns: Sequence[str],
        cells: Callable[[Any], list[str]],
        width: int | None,
    ) -> None:
        self.text = text
        self.columns = columns
        self.cells = cells
        self.width = width
        self.waiting: list[list[str]] = []
        self.widths: list[int] | None = None

    def row(self, record: Any) -> None:
        self.waiting.append(self.cells(record))
        if len(self.waiting) >= _PAGE:
            self.draw()

    def pause(self) -> None:
        # The second page and those after it have their widths, and need not wait to be full.
        if self.widths is not None:
            self.draw()

    def end(self) -> None:
        self.draw()

    def draw(self) -> None:
        if not self.waiting:
            return
        heading = [name.replace("_", " ").upper() for name in self.columns]
        first = self.widths is None
        if self.widths is None:
            self.widths = _widths([heading, *self.waiting], self.width)
            # The last column is ragged: nothing stands to the right of it.
            if self.width is not None:
                self.widths[-1] = max(self.widths[-1], self.width - sum(self.widths[:-1]) - 2 * len(self.widths) + 2)
        rows = self.waiting
        if self.width is not None:
            rows = [[_cut(cell, most) for cell, most in zip(row, self.widths, strict=True)] for row in rows]
        title, *lines = _laid_out(heading, rows, self.widths)
        if first:
            self.text((f"\x1b[1m{title}\x1b[0m" if self.bold else title) + "\n")
        self.text("".join(line + "\n" for line in lines))
        self.waiting = []


def _laid_out(heading: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int] = ()) -> list[str]:
    from tabulate import tabulate

    # A first line as wide as the columns shall be holds the widths; it is taken off again.
    ruler = ["x" * width for width in widths]
    lines = [*([ruler] if ruler else []), *([list(heading)] if heading else []), *map(list, rows)]
    drawn = tabulate(lines, tablefmt="plain", disable_numparse=True, preserve_whitespace=True).split("\n")
    return [line.rstrip() for line in (drawn[1:] if ruler else drawn)]


def _widths(rows: Sequence[Sequence[str]], room: int | None) -> list[int]:
    """How wide each column is: as its widest cell, or less where the terminal has no room for all."""
    widths = [max(map(_columns, column)) for column in zip(*rows, strict=True)]
    if room is None:
        return widths
    excess = sum(widths) + 2 * (len(widths) - 1) - room
    while excess > 0:
        # Take from the widest column down to the one after it, again and again.
        widest = max(widths)
        if widest <= _LEAST:
            break
        second = max([width for width in widths if width < widest], default=_LEAST)
        at = [index for index, width in enumerate(widths) if width == widest]
        give = min(widest - max(second, _LEAST), -(-excess // len(at)))
        for index in at:
            taken = min(give, excess)
            widths[index] -= taken
            excess -= taken
    return widths


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _cut(text: str, width: int) -> str:
    if _columns(text) <= width:
        return text
    while text and _columns(text) >= width:
        # Takes off at least half of what is too much, so that a long text is short after a few rounds.
        text = text[: len(text) - max(1, (_columns(text) - width) // 2)]
    return text + "…"


# -- values ------------------------------------------------------------------------------------------------


def field(record: Any, name: str) -> Any:
    """One value of a record, which is a mapping or an object."""
    return record.get(name) if isinstance(record, dict) else getattr(record, name)


def plain(value: Any) -> str:
    """A value as text, not yet made safe: nothing for none, ISO 8601 for times, commas between several."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if isinstance(value, dict):
        return _json(value) if value else ""
    if isinstance(value, list | tuple):
        return ",".join(plain(entry) for entry in value)
    return str(value)


def _json(value: Any, *, indent: int | None = None) -> str:
    import json

    return json.dumps(value, default=plain, indent=indent)


def _chunks(records: Iterable[Any]) -> Iterator[Sequence[Any]]:
    pages = getattr(records, "pages", None)
    if pages is not None:
        for page in pages():
            yield page.rows
        return
    from itertools import islice

    rows = iter(records)
    while chunk := list(islice(rows, _PAGE)):
        yield chunk


# -- places ------------------------------------------------------------------------------------------------


@contextmanager
def _sink(path: str | None, console: Console) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    if path is None:
        yield console.write, console.flush
        return
    with whole_file(path) as file:
        yield (lambda text: _ignored(file.write(text.encode("utf-8", "backslashreplace")))), file.flush


def _ignored(_: int) -> None: ...


@contextmanager
def whole_file(path: str) -> Iterator[Any]:
    """A binary file that appears whole under its name, or not at all; one that is there is replaced."""
    from mimeportal.errors import UsageError

    if os.path.exists(path) and not os.path.isfile(path):
        if os.path.isdir(path):
            raise UsageError(f"{path} is a folder.", remedy="Name a file.")
        with open(path, "wb") as device:  # a pipe or a device cannot be replaced
            yield device
        return
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    part = os.path.join(folder, f".{name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as fault:
        raise UsageError(f"{path} cannot be written: {fault.strerror}.", remedy="Name another file.") from None
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
    with suppress(OSError):  # not every system lets a folder be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# -- options -----------------------------------------------------------------------------------------------


def output_options(
    shape: Shape, *, limit: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds `-o`, `--columns`, `-w`, `--limit`, and passes an `Output` as `output`."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        done, comma, last = incomplete.rpartition(",")
        return [CompletionItem(done + comma + name) for name in shape.names if name.startswith(last)]

    options = [
        option(
            "-o", "--output", "output_format", type=click.Choice(FORMATS), section="Output",
            help="Default: table on a terminal, tsv on a pipe.",
        ),
        option(
            "--columns", metavar="A,B,C", shell_complete=complete, section="Output",
            help="Only these columns, in this order.",
        ),
        option(
            "-w", "--write", metavar="FILE", type=click.Path(), section="Output",
            help="Write to FILE, which appears whole or not at all.",
        ),
    ]
    names = ["output_format", "columns", "write"]
    if limit:
        options.append(
            option(
                "--limit", metavar="N", type=click.IntRange(min=1), section="Output",
                help="Show at most N; said on stderr when it cuts.",
            )
        )
        names.append("limit")
    return bundle("output", partial(Output, shape), options, names)
