"""How records look: table, json, jsonl, csv, tsv. Text from outside is made safe here, for the format it is in.

Each format takes records one by one. `pause` says that whoever reads should see what there is so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, Protocol

NAMES = ("table", "json", "jsonl", "csv", "tsv")
_PAGE = 200  # rows of a table that are laid out together
_LEAST = 8  # characters a column keeps on a narrow terminal
_VERY_LEAST = 5  # and on one that has no room for that
_NUMBERS = {int, float}
_NEVER_CUT = {*_NUMBERS, date, datetime, type(None)}
_SHORT = 16  # a column of so many is cut only after the longer ones


class Form(Protocol):
    def row(self, record: Any) -> None: ...

    def pause(self) -> None: ...

    def end(self) -> None: ...


class JsonLines:
    def __init__(self, text: Callable[[str], None], columns: Sequence[str]) -> None:
        self.text = text
        self.columns = columns

    def encoded(self, record: Any) -> str:
        return as_json({name: field(record, name) for name in self.columns})

    def row(self, record: Any) -> None:
        self.text(self.encoded(record) + "\n")

    def pause(self) -> None: ...

    def end(self) -> None: ...


class Json(JsonLines):
    begun = False

    def row(self, record: Any) -> None:
        self.text((",\n" if self.begun else "[\n") + self.encoded(record))
        self.begun = True

    def end(self) -> None:
        self.text("\n]\n" if self.begun else "[]\n")


class Csv:
    begun = False

    def __init__(self, text: Callable[[str], None], columns: Sequence[str]) -> None:
        import csv

        class Stream:
            write = staticmethod(text)

        self.columns = columns
        self.writer = csv.writer(Stream, lineterminator="\n")

    def begin(self) -> None:
        # Not before there is something to say: a list that is refused leaves no header.
        if not self.begun:
            self.writer.writerow(self.columns)
        self.begun = True

    def row(self, record: Any) -> None:
        from mimeportal.untrusted import cell

        self.begin()
        values = [field(record, name) for name in self.columns]
        # A number or a date is no text: only text can be a formula.
        self.writer.writerow(
            [cell(plain(value)) if isinstance(value, str | dict | list | tuple) else plain(value) for value in values]
        )

    def pause(self) -> None: ...

    def end(self) -> None:
        self.begin()


class Tsv:
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


class Table:
    """Rows are laid out some hundreds at a time; the widths of the first page hold for those that follow.

    Numbers stand to the right of their column, so that units are below units.
    """

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
        self.kinds: list[set[type]] = [set() for _ in columns]  # of the values on the first page

    def row(self, record: Any) -> None:
        self.waiting.append(self.cells(record))
        if self.widths is None:
            for name, kinds in zip(self.columns, self.kinds, strict=True):
                kinds.add(type(field(record, name)))
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
        numbers = [bool(kinds & _NUMBERS) and kinds <= {*_NUMBERS, type(None)} for kinds in self.kinds]
        whole = [kinds <= _NEVER_CUT for kinds in self.kinds]
        if self.widths is None:
            self.widths = _widths(heading, self.waiting, whole, self.width)
            # The last column is ragged: nothing stands to the right of it.
            if self.width is not None and not numbers[-1]:
                self.widths[-1] = max(self.widths[-1], self.width - sum(self.widths[:-1]) - 2 * len(self.widths) + 2)
        rows = self.waiting
        if self.width is not None:
            heading = [_cut(name, width) for name, width in zip(heading, self.widths, strict=True)]
            columns = list(zip(self.widths, whole, strict=True))
            rows = [
                [cell if kept else _cut(cell, width) for cell, (width, kept) in zip(row, columns, strict=True)]
                for row in rows
            ]
        title, *lines = laid_out(heading, rows, self.widths, ["right" if it else "left" for it in numbers])
        if first:
            self.text((f"\x1b[1m{title}\x1b[0m" if self.bold else title) + "\n")
        self.text("".join(line + "\n" for line in lines))
        self.waiting = []


def laid_out(
    heading: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int] = (), sides: Sequence[str] = ()
) -> list[str]:
    from tabulate import tabulate

    # A first line as wide as the columns shall be holds the widths; it is taken off again.
    ruler = ["x" * width for width in widths]
    lines = [*([ruler] if ruler else []), *([list(heading)] if heading else []), *map(list, rows)]
    options: Any = {"disable_numparse": True, "preserve_whitespace": True, "colalign": sides or None}
    drawn = tabulate(lines, tablefmt="plain", **options).split("\n")
    return [line.rstrip() for line in (drawn[1:] if ruler else drawn)]


def _widths(
    heading: Sequence[str], rows: Sequence[Sequence[str]], whole: Sequence[bool], room: int | None
) -> list[int]:
    """How wide each column is: as its widest cell, or less where the terminal has no room for all.

    Of a `whole` column only the heading is cut: a part of a number or of a day is another one, or none.
    """
    cells = [max(map(_columns, column)) for column in zip(*rows, strict=True)]
    widths = [max(width, _columns(name)) for width, name in zip(cells, heading, strict=True)]
    if room is None:
        return widths
    excess = sum(widths) + 2 * (len(widths) - 1) - room
    # Short columns, such as references and times, say nothing once cut: the long ones give first, and last of all the
    # first one, by which a row is named in the next command.
    long = [index for index, width in enumerate(widths) if width > _SHORT]
    every = range(len(widths))
    for columns, keep in ((long, _LEAST), (every[1:], _LEAST), (every[1:], _VERY_LEAST), (every, _VERY_LEAST)):
        least = [max(keep, width) if kept else keep for width, kept in zip(cells, whole, strict=True)]
        while excess > 0 and (wide := [index for index in columns if widths[index] > least[index]]):
            widths[max(wide, key=lambda index: (widths[index], -index))] -= 1
            excess -= 1
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


# A table needs more than columns: see `output.Writer`.
FORMS: dict[str, Callable[[Callable[[str], None], Sequence[str]], Form]] = {
    "json": Json,
    "jsonl": JsonLines,
    "csv": Csv,
    "tsv": Tsv,
}


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
        return as_json(value) if value else ""
    if isinstance(value, list | tuple):
        return ",".join(plain(entry) for entry in value)
    return str(value)


def as_json(value: Any, *, indent: int | None = None) -> str:
    import json

    return json.dumps(value, default=plain, indent=indent)
