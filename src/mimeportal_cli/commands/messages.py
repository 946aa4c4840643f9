"""`mimeportal messages`: mail on its way. Tracked, waiting, rejected, bounced; mailboxes have a file of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.choosing import window, window_options
from mimeportal_cli.commands import messages_read, messages_report, messages_write
from mimeportal_cli.options import Group, option, settings
from mimeportal_cli.output import Output, Shape, output_options
from mimeportal_cli.references import RememberedRejected, RememberedTracked, as_reference, reference, resolved
from mimeportal_cli.tables import joined, print_rows, with_times
from mimeportal_cli.telling import both_senders, short_reason

if TYPE_CHECKING:
    from mimeportal.messages import MessageInfo
    from mimeportal.portal import Portal

# As in mimeportal.messages.contract.finder and .tracked; a test compares them.
STATUSES = (
    "processing",
    "delivery",
    "system",
    "held",
    "accepted",
    "bulk_processing",
    "bulk_delivery",
    "bounced",
    "deferred",
    "rejected",
    "archived",
)
ROUTES = ("inbound", "outbound", "internal", "external")
TRACKED = Shape(
    (
        "id",
        "status",
        "info",
        "from_address",
        "from_header",
        "to_addresses",
        "subject",
        "route",
        "sender_ip",
        "has_attachments",
        "received",
        "sent",
        "spam_score",
        "detection_level",
        "message_id",
    ),
    table=("id", "received", "status", "from_header", "to_addresses", "info", "subject"),
    empty="No messages match.",
)
BOUNCED = Shape(
    TRACKED.names,
    table=("id", "received", "from_header", "to_addresses", "info", "subject"),
    empty="Nothing bounced.",
)
INFO = Shape(
    (
        "id",
        "status",
        "hold_id",
        "reason",
        "level",
        "from_address",
        "from_header",
        "to",
        "cc",
        "subject",
        "route",
        "sent",
        "processed",
        "size",
        "remote_ip",
        "remote_host",
        "deliveries",
        "policies",
        "headers",
    )
)
HOLD_IDS = Shape(("id",), empty="None of these messages is held.")
PROCESSING = Shape(
    (
        "id",
        "from_address",
        "from_header",
        "to_address",
        "subject",
        "route",
        "size",
        "has_attachments",
        "remote_ip",
        "attempts",
        "next_attempt",
        "created",
        "info",
        "priority",
    ),
    table=("created", "from_address", "to_address", "attempts", "next_attempt", "info", "subject"),
    empty="Nothing waits.",
)
REJECTIONS = Shape(
    ("id", "created", "type", "from_address", "to_address", "info", "remote_ip", "remote_host"),
    table=("id", "created", "type", "from_address", "to_address", "remote_ip", "info"),
    empty="Nothing was rejected.",
)
QUEUES = Shape(("direction", "date", "count"), empty="The portal tells of no queue.")


_MAILBOX = option("--mailbox", metavar="ADDRESS", help="Whose mail, where you may act as its owner.")


@click.group(cls=Group)
def messages() -> None:
    """Mailboxes, and mail on its way: list, search, read, track."""


@messages.command()
@click.argument("id", required=False)
@option("--message-id", metavar="ID", help="The Message-ID header, with its <>.")
@option("--from", "from_", metavar="WHO", help="Sender: an address, a domain, a glob with *, or a word.")
@option("--to", metavar="WHO", help="Recipient, likewise.")
@option("--subject", metavar="TEXT", help="In the subject; with * a glob over all of it.")
@option("--sender-ip", metavar="IP", help="The address of the server that brought it.")
@option("--status", "statuses", type=click.Choice(STATUSES), multiple=True, help="Only what became of it so.")
@option("--route", type=click.Choice(ROUTES, case_sensitive=False), help="Which way it travels.")
@option("--hold-ids", is_flag=True, help="Print the ids that release the held ones, for holds release --ids-from -.")
@window_options
@output_options(TRACKED)
def track(
    id: str | None,
    hold_ids: bool,
    statuses: Sequence[str],
    since: str | None,
    until: str | None,
    tz: str | None,
    output: Output,
    **filters: str | None,
) -> None:
    """Find messages that came or left, of the last 30 days; or show one of them by its ID.

    ID is an id, or a reference from a table.
    """
    from mimeportal_cli.opening import opened

    chosen = {name: value for name, value in {**filters, "status": list(statuses)}.items() if value}
    if id is not None:
        _refuse_beside_id([*chosen, *(name for name in (since, until) if name)], output)
    with opened() as portal:
        if id is not None:
            _show(portal, id, output, tz, hold_ids=hold_ids)
            return
        start, end = window(portal, since, until, tz)
        found = portal.messages.track(since=start, until=end, **chosen)  # type: ignore[arg-type]
        if hold_ids:
            _print_hold_ids(portal, found, output)
        else:
            _print_tracked(portal, found, output, tz)


@messages.command()
@click.argument("id", required=False)
@_MAILBOX
@option("--from", "from_", metavar="WHO", help="Sender: an address, a domain, a glob with *, or a word.")
@option("--to", metavar="WHO", help="Recipient, likewise.")
@option("--subject", metavar="TEXT", help="In the subject; with * a glob over all of it.")
@window_options
@output_options(BOUNCED)
def bounced(
    id: str | None, since: str | None, until: str | None, tz: str | None, output: Output, **filters: Any
) -> None:
    """List messages of yours that were accepted and could not be delivered, of the last 30 days; or show one of them.

    What you sent and what was sent to you; administrators see everybody's. Content is not shown. ID is an id, or a
    reference from a table.
    """
    from mimeportal_cli.opening import opened

    if id is not None:
        _refuse_beside_id([name for name in (since, until, *filters.values()) if name], output)
    with opened() as portal:
        if id is not None:
            _show(portal, id, output, tz, hold_ids=False)
            return
        start, end = window(portal, since, until, tz)
        _print_tracked(portal, portal.messages.bounced(since=start, until=end, **filters), output, tz)


@messages.command()
@option("--search", metavar="TEXT", help="In an address, the subject, the status or the sender's IP.")
@window_options
@output_options(PROCESSING)
def processing(search: str | None, since: str | None, until: str | None, tz: str | None, output: Output) -> None:
    """List messages that are on their way; of the last 7 days unless --since is given."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        start, end = window(portal, since, until, tz)
        with_times(portal, output, tz, "created", "next_attempt")
        output.rows(portal.messages.processing(since=start, until=end, search=search))


@messages.command()
@window_options
@output_options(QUEUES)
def queues(since: str | None, until: str | None, tz: str | None, output: Output) -> None:
    """Count the messages that waited, inbound and outbound, over time; the last 24 hours unless --since is given."""
    from mimeportal_cli.opening import opened

    with opened() as portal:
        start, end = window(portal, since, until, tz)
        with_times(portal, output, tz, "date")
        output.rows(portal.messages.queues(since=start, until=end))


@messages.command()
@click.argument("id", required=False)
@_MAILBOX
@option("--search", metavar="TEXT", help="In an address, the type, the text or the sender's IP.")
@window_options
@output_options(REJECTIONS)
def rejected(
    id: str | None,
    mailbox: str | None,
    search: str | None,
    since: str | None,
    until: str | None,
    tz: str | None,
    output: Output,
) -> None:
    """List messages to you that were refused; of today unless --since is given, which goes back 7 days. Or show one.

    Administrators see everybody's. Their content was never taken: they must be sent again. ID is an id, or a reference
    from a table.
    """
    from mimeportal_cli.opening import opened

    if id is not None:
        _refuse_beside_id([name for name in (since, until, search) if name], output)
    with opened() as portal:
        if id is not None:
            _show_rejection(portal, id, mailbox, output, tz)
            return
        start, end = window(portal, since or (None if until else "today"), until, tz)
        found = portal.messages.rejected(mailbox=mailbox, search=search, since=start, until=end)
        print_rows(portal, output, tz, found, RememberedRejected, "created")


def _refuse_beside_id(given: Sequence[str], output: Output) -> None:
    from mimeportal.errors import UsageError

    if given:
        raise UsageError(
            "An id and filters exclude each other.",
            why="An id names its message already.",
            remedy="Leave out the id, or the filters.",
        )
    if output.columns is not None:
        raise UsageError("--columns chooses of the list, not of one message.", remedy="Leave it out, or take -o json.")


def _show(portal: Portal, id: str, output: Output, tz: str | None, *, hold_ids: bool) -> None:
    (full,) = resolved(portal, [id], RememberedTracked(portal))
    if hold_ids:
        _print_hold_ids(portal, [full], output)
        return
    message = portal.messages.info(full)
    output.shape = INFO
    if output.format == "table":
        output.columns = tuple(name for name in INFO.names if name != "headers" or settings().verbose)
        with_times(portal, output, tz, "sent", "processed")
        for name in ("id", "hold_id"):
            output.shape.cells[name] = lambda value, _, __: reference(str(value))
    output.one(_record(message))


def _record(message: MessageInfo) -> dict[str, Any]:
    record: dict[str, Any] = {name: getattr(message, name) for name in INFO.names}
    record["headers"] = [f"{name}: {value}" for name, value in message.headers]
    record["policies"] = list(message.policies)
    record["deliveries"] = [f"{recipient}: {event}" for recipient, event in message.deliveries.items()]
    record["to"], record["cc"] = list(message.to), list(message.cc)
    return record


def _print_hold_ids(portal: Portal, found: Iterable[Any], output: Output) -> None:
    """Whole ids, on a terminal too: they are there to be passed on."""
    if output.asked:
        output.shape, output.columns = HOLD_IDS, None
    else:
        output = Output(HOLD_IDS, output_format="tsv", limit=output.limit)
    output.rows({"id": id} for id in portal.messages.hold_ids(found))


def _show_rejection(portal: Portal, id: str, mailbox: str | None, output: Output, tz: str | None) -> None:
    from dataclasses import asdict

    (full,) = resolved(portal, [id], RememberedRejected(portal))
    with_times(portal, output, tz, "created", id=as_reference)
    output.one(asdict(portal.messages.rejection(full, mailbox=mailbox)))


def _print_tracked(portal: Portal, found: Iterable[Any], output: Output, tz: str | None) -> None:
    cells = {"from_header": both_senders, "to_addresses": joined, "info": short_reason}
    print_rows(portal, output, tz, found, RememberedTracked, "received", "sent", **cells)


for _command in (*messages_read.COMMANDS, *messages_write.COMMANDS, *messages_report.COMMANDS):
    messages.add_command(_command)
