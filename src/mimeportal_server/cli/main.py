"""The `mimeportal-server` command: make a portal home, add people and mail, keep it in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimeportal._version import __version__
from mimeportal_cli.options import CONTEXT, Group, LocalCommand, option, settings
from mimeportal_cli.output import Output, Shape, output_options

if TYPE_CHECKING:
    from mimeportal_server.portal import Portal

_IMPORTED = Shape(
    ("file", "position", "recipient", "outcome", "reason", "notes"),
    table=("file", "recipient", "outcome", "reason", "notes"),
    empty="No mail was found there.",
)
_FACTS = Shape(("name", "value"))
_DELIVERIES = Shape(
    (
        "id",
        "file",
        "kind",
        "sender",
        "recipient",
        "state",
        "maybe_twice",
        "attempts",
        "error",
        "queued",
        "finished",
    ),
    table=("id", "kind", "sender", "recipient", "state", "error", "queued"),
    empty="Nothing was delivered yet.",
)
_SHOWN = 3
_LATER = 6  # exit code: try again later
_SOME = 3  # exit code: some items failed


class ServerGroup(Group):
    """A group of commands that work on a home on this machine."""

    command_class = LocalCommand
    reaches_portal = False


@click.group(cls=ServerGroup, context_settings=CONTEXT)
@click.version_option(__version__, message="mimeportal-server %(version)s")
def main() -> None:
    """A local portal: its home, its people, its mail."""


def run() -> None:
    """The entry point."""
    from mimeportal_cli.exits import run_program

    raise SystemExit(run_program(main, "mimeportal-server"))


_home = option(
    "--home",
    metavar="DIR",
    envvar="MIMEPORTAL_HOME",
    required=True,
    show_envvar=True,
    help="The portal home.",
)


@contextmanager
def _portal(home: str) -> Iterator[Portal]:
    from mimeportal.errors import ConfigurationError, UnavailableError
    from mimeportal_server.home import Home
    from mimeportal_server.portal import Portal
    from mimeportal_server.store.database import StoreError

    try:
        portal = Portal(Home.open(Path(home)))
        try:
            yield portal
        finally:
            portal.close()
    except StoreError as fault:
        why = f"In {home}."
        if fault.passing:
            raise UnavailableError(fault.sentence, why=why, remedy="Try again when it is free.") from None
        raise ConfigurationError(
            fault.sentence, why=why, remedy="Look at the home's files and their owner, or restore a backup."
        ) from None


def _as_operator() -> str:
    """Whoever runs this, by the machine's own account: the environment may say anything, and in cron nothing."""
    from mimeportal_server.embedded import os_user

    return os_user()


def _record(portal: Portal, tx: Any, action: str, person: int, detail: dict[str, Any]) -> None:
    """Record what whoever runs the portal did to a person, or to an app."""
    from mimeportal_server import audit

    act = audit.Act(action, "done", "person", person, {**detail, "os_user": _as_operator()})
    audit.record(tx, [act], at=portal.clock.now(), caller=None, door="command")


@main.command()
@click.argument("folder", metavar="DIR")
@option("--domain", metavar="DOMAIN", required=True, help="The domain of the portal's people.")
@option("--public-url", metavar="URL", help="What links in mail start with [http://127.0.0.1:8025].")
@option("--lab", is_flag=True, help="Made for tests: its clock can be set, and `serve --lab` can empty and break it.")
def init(folder: str, domain: str, public_url: str | None, lab: bool) -> None:
    """Make a portal home.

    \b
    Example:
      mimeportal-server init home --domain example.com
    """
    from mimeportal_server.home import DEFAULT_PUBLIC_URL, Home

    Home.create(Path(folder), domain, public_url or DEFAULT_PUBLIC_URL, lab=lab).close()
    console = settings().console
    console.note(f"Made a portal home for {domain} in {folder}.")
    console.note(f"Add people: mimeportal-server people add ann@{domain} --home {folder}")


@main.command("import")
@click.argument("paths", metavar="FILE|DIR...", nargs=-1, required=True)
@option("--recipient", metavar="ADDRESS", help="Whose mail it is [Delivered-To, else To and Cc].")
@option("--hold", metavar="REASON", help="Hold everything for this reason instead of screening it.")
@option("--route", type=click.Choice(("inbound", "outbound")), help="[by sender and recipient]")
@option("--received", metavar="now|header|WHEN", default="now", show_default=True, help="When it came in.")
@option("--again", is_flag=True, help="Import anew what was imported before.")
@output_options(_IMPORTED, limit=False)
@_home
def import_(
    paths: tuple[str, ...],
    recipient: str | None,
    hold: str | None,
    route: str | None,
    received: str,
    again: bool,
    output: Output,
    home: str,
) -> int:
    """Import mail: folders of .eml files, Maildirs, mboxes, single messages.

    The same import again adds nothing. Without --hold mail is screened as it is from SMTP, and delivered
    when nothing holds it.

    \b
    Example:
      mimeportal-server import --home home spam/ --recipient ann@example.com \\
        --hold "Message Hold Applied - Spam Signature policy"
    """
    from mimeportal.wire import parse_date
    from mimeportal_server import delivery, importing

    counts: Counter[str] = Counter()
    options = importing.Options(
        recipient,
        hold,
        route,
        received if received in ("now", "header") else parse_date(received),
        again,
    )

    def counted(lines: Iterator[importing.Line]) -> Iterator[dict[str, Any]]:
        for line in lines:
            counts[line.outcome] += 1
            counts[importing.OVERDUE] += importing.OVERDUE in line.notes
            yield {
                "file": line.file,
                "position": line.position,
                "recipient": line.recipient,
                "outcome": line.outcome,
                "reason": line.reason,
                "notes": "; ".join(line.notes),
            }

    with _portal(home) as portal:
        output.rows(counted(importing.run(portal, [Path(path) for path in paths], options)))
        # The lines say what screening decided; what left is told here.
        left = delivery.deliver(portal) if counts["delivered"] else Counter()
    overdue = counts.pop(importing.OVERDUE, 0)
    counts["let through"] = counts.pop("delivered", 0)
    told = [f"{count} {name}" for name, count in counts.items() if count]
    told += [f"{left[name]} {name}" for name in ("delivered", "failed") if left[name]]
    console = settings().console
    console.note(f"Imported: {', '.join(told) or 'nothing'}.")
    if overdue:
        console.warn(f"{overdue} of those held were {importing.OVERDUE} (keeping.hold_days).")
    if left["queued"]:
        console.warn(f"{left['queued']} still queued for delivery: run `mimeportal-server sweep` to try again.")
    return _SOME if counts["error"] else 0


@main.command()
@option("--deliveries", is_flag=True, help="Every delivery: its file, from whom, to whom, its state.")
@output_options(_DELIVERIES)
@_home
def status(deliveries: bool, output: Output, home: str) -> None:
    """How the portal is, or what it delivered."""
    from mimeportal.errors import UsageError
    from mimeportal_server import status as states

    if not deliveries:
        if output.columns:
            raise UsageError("--columns goes with --deliveries.")
        output.shape = _FACTS
    with _portal(home) as portal:
        output.rows(states.delivery_rows(portal) if deliveries else states.facts(portal))


@main.command()
@option("--thaw", is_flag=True, help="Also send what a restore froze, after you have reviewed it.")
@_home
def sweep(thaw: bool, home: str) -> int:
    """Do what time brings: expire, let go of what is no longer kept, deliver what is queued."""
    from mimeportal_server import backup, erasing, keeping

    console = settings().console
    with _portal(home) as portal:
        erasing.finish(portal)
        if thaw:
            console.note(f"{backup.thaw(portal)} frozen deliveries go out.")
        counts = keeping.sweep(portal)
        fault = portal.clock.fault()
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    console.note(f"Swept: {told or 'nothing to do'}.")
    if fault:
        console.warn(f"{fault} Nothing expires until it is right, or `mimeportal-server clock accept` is run.")
    return _LATER if counts["queued"] or fault else 0


@main.command("backup")
@click.argument("file")
@_home
def backup_(file: str, home: str) -> int:
    """Write the whole home to one file, while it is in use.

    Octets that the home has lost, or that are damaged, are told, and the exit code is 3: the rest is in the file.
    """
    from mimeportal_server import backup

    with _portal(home) as portal:
        written = backup.backup(portal, Path(file))
    console = settings().console
    console.note(f"Wrote {file}: the database and {written.count} messages. Keep it as safe as the home.")
    if not written.lost:
        return 0
    named = ", ".join(written.lost[:_SHOWN]) + (", ..." if len(written.lost) > _SHOWN else "")
    console.error(
        f"{len(written.lost)} messages or large files are not in it.",
        f"Their octets are gone from the home, or damaged: {named}.",
        "Keep earlier backups: they may have them.",
    )
    return _SOME


@main.command()
@click.argument("file")
@option(
    "--erased",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="erased.jsonl of the home that was backed up: who was erased since is erased again.",
)
@_home
def restore(file: str, erased: str | None, home: str) -> None:
    """Make a home from a backup, in a new folder.

    What was on its way out is frozen: look at it with `status --deliveries`, then run `sweep --thaw`.
    """
    from mimeportal_server import backup

    backup.restore(Path(file), Path(home), Path(erased) if erased else None).close()
    console = settings().console
    console.note(f"Restored {file} to {home}. Earlier links and log-ins have ended.")
    console.note("So have the keys of API 1.0: `apps revoke` and `apps add` give an application new ones.")
    console.note(f"Queued deliveries are frozen: mimeportal-server status --deliveries --home {home}")


@main.group()
def clock() -> None:
    """The clock that holds expire by."""


@clock.command("accept")
@_home
def clock_accept(home: str) -> None:
    """Believe the machine's clock again after it was set."""
    with _portal(home) as portal:
        portal.accept_clock()
    settings().console.note("The clock is believed.")
