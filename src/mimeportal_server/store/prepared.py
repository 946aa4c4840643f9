"""Statements for many rows, compiled once: what decisions and arrivals write is handed to the driver as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Insert, Update


class Prepared:
    """An insert or an update, run for many rows; in an update each row has a value for every bound parameter.

    SQLAlchemy would prepare the parameters of each row anew, which takes longer than the writing itself.
    """

    def __init__(self, statement: Insert | Update) -> None:
        self._statement = statement
        self._compiled: dict[tuple[str, frozenset[str]], tuple[str, list[tuple[str, Any]]]] = {}

    def run(self, tx: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows. All have the same keys; what an insert leaves out is the column's default."""
        if not rows:
            return
        key = (tx.dialect.name, frozenset(rows[0]))
        if key not in self._compiled:
            self._compiled[key] = self._compile(tx, list(rows[0]))
        text, wanted = self._compiled[key]
        values = [tuple([row.get(name, default) for name, default in wanted]) for row in rows]
        tx.exec_driver_sql(text, values)

    def _compile(self, tx: Connection, names: list[str]) -> tuple[str, list[tuple[str, Any]]]:
        given = names if isinstance(self._statement, Insert) else None
        compiled: Any = self._statement.compile(dialect=tx.dialect, column_keys=given)
        # What the statement itself says, as in a condition; or the default of a column that no row gives.
        said = dict(compiled.params)
        if given is not None:
            columns = self._statement.table.c
            said |= {name: getattr(columns[name].default, "arg", None) for name in said if name in columns}
        return str(compiled), [(name, said[name]) for name in compiled.positiontup]
