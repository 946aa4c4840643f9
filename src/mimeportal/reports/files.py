"""The formats of exported reports: csv, jsonl, json, xlsx, parquet; equal rows make equal bytes in each of them.

Text from outside is a cell that no spreadsheet acts upon (promises D.1): in csv by `untrusted.cell`, in xlsx because
every text is written as text; json and parquet keep it exactly. Rows come many at once, and none is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType
from typing import Any, get_args

from mimeportal.errors import ConfigurationError
from mimeportal.untrusted import HIDDEN, cell, visible_lines
from mimeportal.wire import Row

Values = Sequence[Any]
Batches = Iterable[Sequence[Values]]
Form = Callable[[Path, type[Row], str, Batches], int]

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # when every workbook was made
_FIRST_MONTH = "1900-03"  # before it, no day of a sheet is that of the calendar
_SHEET_ROWS = 1_048_576
_CELL_CHARACTERS = 32_767


def kinds(row: type[Row]) -> list[type]:
    """The type of each column: date, datetime, int, bool or str."""
    found = []
    for field in row.model_fields.values():
        named = [kind for kind in get_args(field.annotation) if kind is not NoneType] or [field.annotation]
        found.append(named[0])
    return found


def csv(path: Path, row: type[Row], _title: str, batches: Batches) -> int:
    import csv as writing

    texts = [column for column, kind in enumerate(kinds(row)) if kind is str]
    count = 0
    with path.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
        writer = writing.writer(file, lineterminator="\n")
        writer.writerow(row.model_fields)
        for batch in batches:
            for values in batch:
                if not isinstance(values, list):
                    values = list(values)
                for column in texts:
                    if values[column]:
                        values[column] = cell(values[column])
            writer.writerows(map(_lowered, batch) if bool in kinds(row) else batch)
            count += len(batch)
    return count


def _lowered(values: Values) -> list[Any]:
    """Truth as json writes it, and as every other csv of ours does."""
    return [("true" if value else "false") if isinstance(value, bool) else value for value in values]


def jsonl(path: Path, row: type[Row], _title: str, batches: Batches) -> int:
    return _json(path, row, batches, "", "\n", "\n")


def json_array(path: Path, row: type[Row], _title: str, batches: Batches) -> int:
    return _json(path, row, batches, "[\n", ",\n", "\n]\n")


def _json(path: Path, row: type[Row], batches: Batches, opening: str, between: str, closing: str) -> int:
    columns, count = tuple(row.model_fields), 0
    with path.open("w", encoding="ascii", newline="") as file:
        for batch in batches:
            if batch:
                file.write(between if count else opening)
                file.write(between.join([json.dumps(dict(zip(columns, values, strict=True))) for values in batch]))
            count += len(batch)
        file.write(closing if count else "[]\n" if opening else "")
    return count


def xlsx(path: Path, row: type[Row], title: str, batches: Batches) -> int:
    try:
        from xlsxwriter import Workbook
        from xlsxwriter.exceptions import XlsxFileError
    except ImportError:
        raise _absent("xlsx", "XlsxWriter") from None
    off = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    # What it lays down on the way lies beside the file, as private as that, and goes with it.
    with TemporaryDirectory(prefix=f".{path.name}.", suffix=".part", dir=path.parent) as folder, _Steady(path) as file:
        book = Workbook(file, {"constant_memory": True, "tmpdir": folder, **off})
        book.set_properties({"created": _EPOCH, "title": title})
        sheets = _Sheets(book, title, row)
        for batch in batches:
            for values in batch:
                sheets.write(values)
        try:
            book.close()
        except XlsxFileError as fault:
            raise OSError(f"the workbook cannot be written: {fault}") from fault
    return sheets.count


class _Steady:
    """A file that tells its first fault when it is closed, and takes whatever comes behind that.

    A ZIP file that was given up ends itself once more when it is let go, and says on stderr that it could not.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._fault: OSError | None = None

    def write(self, octets: bytes) -> int:
        return self._tried(lambda: self._file.write(octets))

    def seek(self, place: int, whence: int = 0) -> int:
        return self._tried(lambda: self._file.seek(place, whence))

    def tell(self) -> int:
        return self._tried(self._file.tell)

    def flush(self) -> None:
        """Its end does that."""

    def _tried(self, act: Callable[[], int]) -> int:
        if self._fault is None and not self._file.closed:
            try:
                return act()
            except OSError as fault:
                self._fault = fault
        return 0

    def __enter__(self) -> _Steady:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        except OSError as fault:
            self._fault = self._fault or fault
        if self._fault is not None:
            raise self._fault


class _Sheets:
    """The rows of a workbook, on another sheet when one is full; each begins with the names of the columns."""

    def __init__(self, book: Any, title: str, row: type[Row]) -> None:
        self.count = 0
        self._book = book
        self._title = title
        self._columns = list(row.model_fields)
        self._kinds = kinds(row)
        self._bold = book.add_format({"bold": True})
        self._formats = {
            date: book.add_format({"num_format": "yyyy-mm-dd"}),
            datetime: book.add_format({"num_format": 'yyyy-mm-dd"T"hh:mm:ss"Z"'}),
        }
        self._sheet: Any = None
        self._next()

    def _next(self) -> None:
        number = len(self._book.worksheets()) + 1
        self._sheet = self._book.add_worksheet(self._title[:28] if number == 1 else f"{self._title[:24]} {number}")
        self._sheet.freeze_panes(1, 0)
        for column, (name, kind) in enumerate(zip(self._columns, self._kinds, strict=True)):
            self._sheet.set_column(column, column, {str: 30, datetime: 22, date: 12}.get(kind, 12))
            self._sheet.write_string(0, column, name, self._bold)
        self._line = 1

    def write(self, values: Values) -> None:
        if self._line == _SHEET_ROWS:
            self._next()
        for column, (value, kind) in enumerate(zip(values, self._kinds, strict=True)):
            if value is None or value == "":
                continue
            if kind in (date, datetime) and value[:7] < _FIRST_MONTH:
                self._sheet.write_string(self._line, column, value)
            elif kind is date:
                self._sheet.write_datetime(self._line, column, datetime.fromisoformat(value), self._formats[date])
            elif kind is datetime:
                moment = datetime.fromisoformat(value).astimezone(UTC).replace(tzinfo=None)
                self._sheet.write_datetime(self._line, column, moment, self._formats[datetime])
            elif kind is bool:
                self._sheet.write_boolean(self._line, column, value)
            elif kind is int:
                self._sheet.write_number(self._line, column, value)
            else:
                text = visible_lines(value) if HIDDEN.search(value) else value
                self._sheet.write_string(self._line, column, _fitting(text))
        self._line += 1
        self.count += 1


def _fitting(text: str) -> str:
    """At most what a cell takes; a longer text would be left out whole."""
    return text if len(text) <= _CELL_CHARACTERS else text[: _CELL_CHARACTERS - 1] + "…"


def parquet(path: Path, row: type[Row], _title: str, batches: Batches) -> int:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        raise _absent("parquet", "pyarrow") from None
    types = {
        date: pyarrow.date32(),
        datetime: pyarrow.timestamp("us", "UTC"),
        int: pyarrow.int64(),
        bool: pyarrow.bool_(),
        str: pyarrow.string(),
    }
    parsed: dict[type, Callable[[Any], Any]] = {
        date: lambda value: value and date.fromisoformat(value),
        datetime: lambda value: value and datetime.fromisoformat(value),
    }
    columns = kinds(row)
    schema = pyarrow.schema(list(zip(row.model_fields, (types[kind] for kind in columns), strict=True)))
    count = 0
    with ParquetWriter(path, schema) as writer:
        for batch in batches:
            if not batch:
                continue
            arrays = [
                pyarrow.array(map(parsed[kind], values) if kind in parsed else values, types[kind])
                for kind, values in zip(columns, zip(*batch, strict=True), strict=True)
            ]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            count += len(batch)
    return count


def _absent(form: str, package: str) -> ConfigurationError:
    return ConfigurationError(
        f"Files of the format {form} need {package}, which is not installed.",
        remedy="Install it: pip install 'mimeportal[sheets]'.",
    )


FORMS: dict[str, Form] = {"csv": csv, "jsonl": jsonl, "json": json_array, "xlsx": xlsx, "parquet": parquet}
