"""`mimeportal largefiles`: what was sent, how long it is open, and its files back; sending has a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.commands import largefiles_send
from mimeportal_cli.options import Group, option, settings
from mimeportal_cli.output import Output, Shape, output_options
from mimeportal_cli.references import as_reference, reference

if TYPE_CHECKING:
    from mimeportal.largefiles import LargeFile, SentFile
    from mimeportal.largefiles.contract import Status
    from mimeportal.portal import Portal

STATUSES = ("uploading", "paused", "scanning", "active", "expired", "failed", "cancelled")

# As `LARGE_FILE_FIELDS`, `LARGE_FILE_DETAILS` and `PREFERENCE_FIELDS` of the SDK; a test compares them.
LARGE_FILES = Shape(
    ("id", "status", "files", "size", "to", "sent", "expires", "downloads", "subject"),
    table=("id", "status", "files", "size", "to", "sent", "expires", "downloads"),
    empty="No large files match.",
)
DETAILS = Shape(
    (
        "id",
        "status",
        "files",
        "size",
        "to",
        "sent",
        "expires",
        "downloads",
        "subject",
        "sender",
        "created",
        "kept_until",
        "arrived",
        "access_key",
        "notify_on_download",
        "expire_access_after_days",
        "reason",
        "body",
        "attachments",
        "recipients",
    ),
)
PREFERENCES = Shape(
    (
        "expire_access_after_days",
        "access_key",
        "notify_on_download",
        "enforced",
        "most_days",
        "most_files",
        "most_octets",
        "most_recipients",
        "chunk",
    )
)

_ID = click.argument("id")
_TZ = option("--tz", metavar="ZONE", help="Read and show times in this zone. Default: the account's.")
_YES = option("--yes", is_flag=True, help="Do not ask.")
_DRY_RUN = option("--dry-run", is_flag=True, help="Show what is meant; change nothing.")


@click.group(cls=Group)
def largefiles() -> None:
    """Large files: send, follow, extend, fetch."""


@largefiles.command("list")
@option("--status", type=click.Choice(STATUSES), help="Only what is so now.")
@option("--search", metavar="TEXT", help="In the subject, a file's name or a recipient; with * a glob.")
@option("--mailbox", metavar="ADDRESS", help="Whose. Default: your own.")
@_TZ
@output_options(LARGE_FILES)
def list_(status: Status | None, search: str | None, mailbox: str | None, tz: str | None, output: Output) -> None:
    """List what was sent, newest first: status, size, end of access, how often it was downloaded."""
    from mimeportal_cli.opening import opened
    from mimeportal_cli.references import RememberedLarge
    from mimeportal_cli.tables import print_rows

    with opened() as portal:
        found = portal.largefiles.list(status=status, search=search, mailbox=mailbox)
        cells = {"files": _several, "to": _several, "size": _size}
        print_rows(portal, output, tz, found, RememberedLarge, "sent", "expires", **cells)


def _several(value: Any, _: Any, __: Any) -> str:
    """The first of them, and how many more."""
    return f"{value[0]} and {len(value) - 1} more" if len(value) > 1 else ", ".join(value)


def _size(value: Any, _: Any, __: Any) -> str:
    return f"{value:,}"


@largefiles.command()
@_ID
@_TZ
@output_options(DETAILS, limit=False)
def show(id: str, tz: str | None, output: Output) -> None:
    """Show one send: its files, and what each recipient has downloaded."""
    from dataclasses import asdict

    from mimeportal_cli.opening import opened
    from mimeportal_cli.tables import with_times

    with opened() as portal:
        large = portal.largefiles.get(_resolved(portal, id))
        record = asdict(large)
        if output.format == "table":
            times = ("sent", "expires", "created", "kept_until")
            with_times(portal, output, tz, *times, id=as_reference, size=_size, arrived=_size)
            record["attachments"] = [_file_line(file) for file in large.attachments]
            record["recipients"] = _recipient_lines(large)
        output.one(record)


def _file_line(file: SentFile) -> str:
    return f"{file.name} ({file.size:,} octets, downloaded {file.downloads})"


def _recipient_lines(large: LargeFile) -> list[str]:
    names = {file.id: file.name for file in large.attachments}
    lines = []
    for recipient in large.recipients:
        counts = ", ".join(f"{names[id]} {count}" for id, count in recipient.downloads.items())
        told = "" if recipient.notified in ("", "queued") else f", notification {recipient.notified}"
        lines.append(f"{recipient.address}{told}: {counts}")
    return lines


@largefiles.command()
@output_options(PREFERENCES, limit=False)
def preferences(output: Output) -> None:
    """Show the administrator's defaults for sending, what of them is enforced, and the limits."""
    from dataclasses import asdict

    from mimeportal_cli.opening import opened

    with opened() as portal:
        output.one(asdict(portal.largefiles.preferences()))


@largefiles.command()
@_ID
@option("--until", metavar="WHEN", help="Open until then: 7d (from now), a date, a time.")
@option(
    "--days", metavar="N", type=click.IntRange(1, 3_650), help="Open for N days longer, or from now if it has expired."
)
@_TZ
@output_options(LARGE_FILES, limit=False)
def extend(id: str, until: str | None, days: int | None, tz: str | None, output: Output) -> None:
    """Set another end of access, of a send that is active or expired.

    At the latest 90 days after it was sent: until then its files are kept.
    """
    from datetime import timedelta

    from mimeportal.errors import UsageError
    from mimeportal_cli.opening import now_of, opened, zone_of
    from mimeportal_cli.times import coming_time, told

    if (until is None) == (days is None):
        raise UsageError("Until when?", remedy="Give one of --until WHEN and --days N.")
    with opened() as portal:
        full = _resolved(portal, id)
        zone, now = zone_of(portal, tz), now_of(portal)
        if days is not None:
            large = portal.largefiles.get(full)
            end = (large.expires if large.expires and large.status == "active" else now) + timedelta(days=days)
        else:
            end = coming_time(str(until), zone, now)
        changed = portal.largefiles.extend(full, until=end.replace(microsecond=0))
        _show(output, changed)
        assert changed.expires is not None
        settings().console.note(f"{_named(changed)} is open until {told(changed.expires, zone)}.")


@largefiles.command()
@_ID
@_YES
@_DRY_RUN
@output_options(LARGE_FILES, limit=False)
def expire(id: str, yes: bool, dry_run: bool, output: Output) -> None:
    """End the access to a send now. Downloads under way are not cut off."""
    _ask_and_act(id, yes, dry_run, output, _EXPIRE, lambda portal, full: portal.largefiles.expire(full))


@largefiles.command()
@_ID
@_YES
@_DRY_RUN
@output_options(LARGE_FILES, limit=False)
def cancel(id: str, yes: bool, dry_run: bool, output: Output) -> None:
    """Cancel an upload that is not complete, whichever process it is of; what has arrived is deleted."""
    _ask_and_act(id, yes, dry_run, output, _CANCEL, lambda portal, full: portal.largefiles.cancel(full))


@dataclass(frozen=True)
class _Verb:
    """The words of an act on one send, and in which statuses it can be done; the last is what it leads to."""

    asks: str
    done: str
    statuses: tuple[str, ...]


_EXPIRE = _Verb("expire", "is expired", ("active", "expired"))
_CANCEL = _Verb("cancel", "is cancelled", ("uploading", "paused", "cancelled"))


def _ask_and_act(
    id: str, yes: bool, dry_run: bool, output: Output, verb: _Verb, act: Callable[[Portal, str], LargeFile]
) -> None:
    from mimeportal_cli.opening import opened
    from mimeportal_cli.telling import place

    console = settings().console
    if not yes and not dry_run:
        console.require_interactive()
    with opened() as portal:
        full = _resolved(portal, id)
        where = place(portal)
        if dry_run:
            _show_dry(portal.largefiles.get(full), output, verb, where)
            return
        if not yes:
            large = portal.largefiles.get(full)
            asked = f"{verb.asks.capitalize()} {_named(large)}, to {_several(large.to, None, None)} ({where})?"
            console.confirm(asked)
        changed = act(portal, full)
        _show(output, changed)
    if changed.status == "cancelled":
        largefiles_send.forget(full)
    console.note(f"{_named(changed)} {verb.done} ({where}).")


def _show_dry(large: LargeFile, output: Output, verb: _Verb, where: str) -> None:
    _show(output, large)
    named = f"{_named(large)}, to {_several(large.to, None, None)}"
    if large.status in verb.statuses[:-1]:
        settings().console.note(f"Would {verb.asks} {named}: it is {large.status} ({where}).")
    elif large.status in verb.statuses:
        settings().console.note(f"{named} {verb.done} already ({where}).")
    else:
        settings().console.warn(f"{named} is {large.status}: the portal would refuse to {verb.asks} it ({where}).")


@largefiles.command()
@_ID
@option("-w", "--write", metavar="FILE", type=click.Path(), help="Write the one file to FILE.")
@option("--dir", "folder", metavar="DIR", type=click.Path(), help="Write each file under its name in DIR.")
@option("--file", "name", metavar="NAME", help="Only this file, by name or id.")
def download(id: str, write: str | None, folder: str | None, name: str | None) -> None:
    """Fetch the files of a send of your own. The same command goes on where it was interrupted."""
    from mimeportal.errors import NotFoundError, UsageError
    from mimeportal_cli.opening import opened

    console = settings().console
    if (write is None) == (folder is None):
        raise UsageError("Where to?", remedy="Give one of -w FILE, for one file, and --dir DIR.")
    with opened() as portal:
        large = portal.largefiles.get(_resolved(portal, id))
        wanted = [file for file in large.attachments if name in (None, file.id, file.name)]
        if not wanted:
            raise NotFoundError(f"This send has no file {name!r}.", remedy=f"It has: {', '.join(large.files)}.")
        if write is not None and len(wanted) > 1:
            raise UsageError(f"{len(wanted)} files do not go into one.", remedy="Name one with --file, or use --dir.")
        pairs = list(zip(wanted, _targets(wanted, write, folder), strict=True))
        there = [target for file, target in pairs if folder is not None and _is_there(file, target)]
        for _, target in pairs:  # before anything is fetched
            if target not in there and target.exists() and (folder is not None or not target.is_file()):
                raise UsageError(f"{target} exists already, and is not overwritten.", remedy="Name another folder.")
        for file, target in pairs:
            if target in there:
                console.note(f"{target} is there already: {file.size:,} octets, SHA-256 {file.sha256}.")
                continue
            with console.transfer(file.size, _short(file.name)) as moved:
                portal.largefiles.download(large.id, target, file=file.id, on_progress=moved)
            console.note(f"Written to {target}: {file.size:,} octets, SHA-256 {file.sha256}.")


def _is_there(file: SentFile, target: Path) -> bool:
    """Whether an earlier download has brought all of it."""
    import hashlib

    if not target.is_file() or target.stat().st_size != file.size:
        return False
    with target.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest() == file.sha256


def _targets(files: Sequence[SentFile], write: str | None, folder: str | None) -> list[Path]:
    from mimeportal.untrusted import safe_name

    if folder is None:
        return [Path(str(write))]
    Path(folder).mkdir(parents=True, exist_ok=True)
    targets: list[Path] = []
    for file in files:
        name = Path(safe_name(file.name))
        target, number = Path(folder) / name, 1
        while target in targets:  # two files of one send may have the same name
            number += 1
            target = Path(folder) / f"{name.stem}-{number}{name.suffix}"
        targets.append(target)
    return targets


def _short(name: str) -> str:
    from mimeportal.untrusted import visible

    text = visible(name)
    return text if len(text) <= 30 else f"{text[:27]}..."


def _resolved(portal: Portal, id: str) -> str:
    from mimeportal_cli.references import RememberedLarge, resolved

    (full,) = resolved(portal, [id], RememberedLarge(portal))
    return full


def _named(large: LargeFile) -> str:
    return f"{reference(large.id)} ({_several(large.files, None, None)})"


def _show(output: Output, large: LargeFile) -> None:
    if output.asked or not output.on_terminal:
        output.rows([large])


for _command in largefiles_send.COMMANDS:
    largefiles.add_command(_command)
