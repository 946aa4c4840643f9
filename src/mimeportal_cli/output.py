"""Records on stdout or in a file: table, json, jsonl, csv or tsv, streamed with flat memory.

A `Shape` says which columns a kind of record has; names and order are plain data. An `Output` is what the options
`-o`, `--columns`, `-w` and `--limit` made of it. Values keep their kind: text from outside is made safe for the
format it is written in, here and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli import formats
from mimeportal_cli.files import whole_file
from mimeportal_cli.formats import as_json, field, laid_out, plain
from mimeportal_cli.options import Settings, bundle, option, settings

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from mimeportal_cli.console import Console

FORMATS = formats.NAMES
_CHUNK = 200  # records between two flushes, where they do not come in pages


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
        if not names:
            from mimeportal.errors import UsageError

            raise UsageError("--columns names no column.", why=f"The columns are {', '.join(self.names)}.")
        return names


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
        if write == "":
            from mimeportal.errors import UsageError

            raise UsageError("-w names no file.", remedy="Write -w FILE, or leave it out.")
        self._asked = output_format
        self.write = write
        self._file = None if write in (None, "-") else write
        self._settings: Settings = settings()

    @property
    def console(self) -> Console:
        return self._settings.console

    @property
    def asked_format(self) -> str | None:
        """The format that -o names."""
        return self._asked

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
            shown = "Only the first is" if self.limit == 1 else f"Only the first {self.limit:,} are"
            self.console.note(f"{shown} shown, as --limit says; there are more.")
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
                text(as_json({name: record.get(name) for name in columns}, indent=2) + "\n")
        elif self.format == "table":
            shown = [name for name in columns if record.get(name) not in (None, "", [])]
            lines = [[name, self.cell(name, record, columns)] for name in shown]
            with _sink(self._file, self.console) as (text, _):
                text("".join(line + "\n" for line in laid_out([], lines)))
        else:
            with self.open() as writer:
                writer.add([record])

    def cell(self, name: str, record: Any, columns: Sequence[str]) -> str:
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
        self._form: formats.Form
        if form == "table":
            width = console.width if output.on_terminal else None
            cells = output.cell
            self._form = formats.Table(
                text, columns, lambda record: [cells(name, record, columns) for name in columns], width
            )
            self._form.bold = console.colours and output.on_terminal
        else:
            self._form = formats.FORMS[form](text, columns)

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


def _chunks(records: Iterable[Any]) -> Iterator[Sequence[Any]]:
    pages = getattr(records, "pages", None)
    if pages is not None:
        for page in pages():
            yield page.rows
        return
    from itertools import islice

    rows = iter(records)
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk


@contextmanager
def _sink(path: str | None, console: Console) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    if path is None:
        yield console.write, console.flush
        return
    with whole_file(path) as file:
        yield (lambda text: _ignored(file.write(text.encode("utf-8", "backslashreplace")))), file.flush


def _ignored(_: int) -> None: ...


# -- options -----------------------------------------------------------------------------------------------


def output_options(shape: Shape, *, limit: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds `-o`, `--columns`, `-w`, `--limit`, and passes an `Output` as `output`."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        done, comma, last = incomplete.rpartition(",")
        return [CompletionItem(done + comma + name) for name in shape.names if name.startswith(last)]

    options = [
        option(
            "-o",
            "--output",
            "output_format",
            type=click.Choice(FORMATS),
            section="Output",
            help="Default: table on a terminal, tsv on a pipe.",
        ),
        option(
            "--columns",
            metavar="A,B,C",
            shell_complete=complete,
            section="Output",
            help="Only these columns, in this order.",
        ),
        option(
            "-w",
            "--write",
            metavar="FILE",
            type=click.Path(),
            section="Output",
            help="Write to FILE, which appears whole or not at all.",
        ),
    ]
    names = ["output_format", "columns", "write"]
    if limit:
        options.append(
            option(
                "--limit",
                metavar="N",
                type=click.IntRange(min=1),
                section="Output",
                help="Show at most N; said on stderr when it cuts.",
            )
        )
        names.append("limit")
    return bundle("output", partial(Output, shape), options, names)
