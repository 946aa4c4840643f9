"""`mimeportal holds`: held mail. Here what only looks at the queue; deciding and reading have files of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.choosing import Choice, choosing_options, window, window_options
from mimeportal_cli.commands import holds_decide, holds_read
from mimeportal_cli.options import Group, option
from mimeportal_cli.output import Output, Shape, output_options
from mimeportal_cli.references import Remembered, reference
from mimeportal_cli.telling import both_senders, short_reason

if TYPE_CHECKING:
    from mimeportal.holds.contract import LogStatus
    from mimeportal.portal import Portal

STATUSES = ("released", "rejected", "expired")

# As `HOLD_FIELDS` of mimeportal.holds.hold; a test compares them.
HOLDS = Shape(
    (
        "id",
        "queue",
        "level",
        "reason",
        "reason_code",
        "policy",
        "from_address",
        "from_header",
        "to_address",
        "subject",
        "route",
        "size",
        "has_attachments",
        "date_received",
        "expires",
        "sender_blocked",
    ),
    table=("id", "date_received", "from_header", "to_address", "reason", "subject"),
    empty="No held messages match.",
)
SUMMARY = Shape(("policy_info", "number_of_items"), empty="Nothing is held.")
LOG = Shape(
    (
        "id",
        "status",
        "released",
        "operator",
        "from_address",
        "from_header",
        "to_addresses",
        "subject",
        "route",
        "size",
        "has_attachments",
        "held_reason",
        "held_group",
        "policy",
        "info",
        "reject_reason",
        "spam_score",
        "detection_level",
    ),
    table=("released", "status", "operator", "from_header", "to_addresses", "subject"),
    empty="Nothing in the log matches.",
)


@click.group(cls=Group)
def holds() -> None:
    """Held mail: list, read, release, reject."""


@holds.command("list")
@choosing_options(limit=False)
@output_options(HOLDS)
def list_(choice: Choice, output: Output) -> None:
    """List held messages, newest first.

    Without --limit all of them. How the options choose: `mimeportal help filters`.
    """
    from mimeportal_cli.opening import opened

    with opened() as portal:
        if output.format != "table":
            output.rows(choice.holds(portal))
            return
        seen: list[str] = []
        output.shape = _shown(output.shape, portal, choice, seen)
        try:
            output.rows(choice.holds(portal))
        finally:
            Remembered(portal).keep(seen)


def _shown(shape: Shape, portal: Portal, choice: Choice, seen: list[str]) -> Shape:
    """How a table shows held messages: references, which it remembers, and times in the account's zone."""
    from mimeportal_cli.opening import zone_of

    zone = zone_of(portal, choice.tz)

    def id_cell(value: Any, _: Any, __: Any) -> str:
        seen.append(value)
        return reference(value)

    cells = {
        "id": id_cell,
        "reason": short_reason,
        "date_received": _time(zone),
        "expires": _time(zone),
        "from_header": both_senders,
    }
    # In one's own queue the recipient is no news.
    table = [name for name in shape.table if name != "to_address" or not choice.one_mailbox(portal)]
    return Shape(shape.names, table=table, cells=cells, empty=shape.empty)


def _time(zone: Any) -> Callable[[Any, Any, Any], str]:
    from mimeportal_cli.times import short

    return lambda value, _, __: short(value, zone) if value else ""


@holds.command()
@output_options(SUMMARY, limit=False)
def summary(output: Output) -> None:
    """Count held messages under each policy."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        output.rows(portal.holds.summary())


@holds.command()
@option("--status", type=click.Choice(STATUSES), help="Only what ended so.")
@option("--search", metavar="TEXT", help="In the subject, an address, the reason or the operator.")
@window_options
@output_options(LOG)
def log(
    status: LogStatus | None, search: str | None, since: str | None, until: str | None, tz: str | None, output: Output
) -> None:
    """List what left the hold queue: released, rejected, expired. The last month unless --since is given."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        start, end = window(portal, since, until, tz)
        found = portal.holds.log(since=start, until=end, status=status, search=search)
        if output.format == "table":
            from mimeportal_cli.opening import zone_of

            output.shape = Shape(
                LOG.names, table=LOG.table, empty=LOG.empty, cells={"released": _time(zone_of(portal, tz))}
            )
        output.rows(found)


for _command in (*holds_decide.COMMANDS, *holds_read.COMMANDS):
    holds.add_command(_command)
