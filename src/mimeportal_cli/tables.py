"""What tables show in place of values: times in the account's zone, references that are remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mimeportal_cli.output import Output, Shape
from mimeportal_cli.references import Remembered, reference

if TYPE_CHECKING:
    from mimeportal.portal import Portal

Cell = Callable[[Any, Any, Sequence[str]], str]


def joined(value: Any, _record: Any, _columns: Any) -> str:
    """Several values, with commas between."""
    return ", ".join(value)


def with_times(portal: Portal, output: Output, tz: str | None, *names: str, **cells: Cell) -> None:
    """Show these moments of a table in the account's zone."""
    if output.format != "table":
        return
    from mimeportal_cli.opening import zone_of
    from mimeportal_cli.times import short

    zone = zone_of(portal, tz)

    def time_cell(value: Any, _: Any, __: Any) -> str:
        return short(value, zone) if value else ""

    shape = output.shape
    output.shape = Shape(
        shape.names, table=shape.table, empty=shape.empty, cells={**dict.fromkeys(names, time_cell), **cells}
    )


def print_rows(
    portal: Portal,
    output: Output,
    tz: str | None,
    found: Iterable[Any],
    remembered: type[Remembered],
    *times: str,
    **cells: Cell,
) -> None:
    """Print records that have an id: a table shows references in its place, and remembers them."""
    if output.format != "table":
        output.rows(found)
        return
    seen: list[str] = []

    def id_cell(value: Any, _: Any, __: Any) -> str:
        seen.append(value)
        return reference(value)

    with_times(portal, output, tz, *times, **{"id": id_cell, **cells})
    try:
        output.rows(found)
    finally:
        if seen:  # a table without ids is nothing to copy from
            remembered(portal).keep(seen)
