"""Mail from files: a folder of .eml files, a Maildir, an mbox, one message; again adds nothing (promises C.1)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from mimeportal import limits
from mimeportal.addresses import normalise, parse_address
from mimeportal.errors import UsageError
from mimeportal.patterns import fold
from mimeportal_server import arrival, deciding, incoming
from mimeportal_server.clock import milliseconds
from mimeportal_server.mbox import split_mbox
from mimeportal_server.portal import Portal
from mimeportal_server.settings import HoldRule
from mimeportal_server.store.schema import people

OVERDUE = "received so long ago that it has left the queue already"  # a note of a line
_BATCH = 100
_BATCH_OCTETS = 16 * limits.MIB

# Known reasons and their kind (portal-rules B.33 to B.35); any other text is a reason of kind `other`.
KINDS = {
    "message_hold_applied_spam_signature_policy": "spam",
    "message_hold_applied_attachment_type_policy": "attachment",
    "message_hold_applied_attachment_sandbox_failure": "attachment",
    "message_hold_applied_content_examination_policy": "content",
    "message_hold_applied_url_protect_policy": "content",
    "message_hold_applied_impersonation_protect_policy": "impersonation",
}


@dataclass(frozen=True, slots=True)
class Line:
    """What the import did with one message for one recipient, or why it could not."""

    file: str
    position: str
    recipient: str
    outcome: str  # held | delivered | blocked | already | error
    reason: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """How an import treats what it finds. `received`: `now`, `header`, or a moment."""

    recipient: str | None = None
    hold: str | None = None
    route: str | None = None
    received: str | datetime = "now"
    again: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    position: str
    octets: bytes | None
    problem: str = ""


def run(portal: Portal, paths: Sequence[Path], options: Options) -> Iterator[Line]:
    """Import everything under the paths, batch by batch; each line is yielded once it is durable.

    Raises `UsageError` for a path or recipient that does not exist, or a time to come, before anything is stored.
    """
    if isinstance(options.received, datetime) and milliseconds(options.received) > portal.clock.now():
        raise UsageError(
            f"Mail cannot be received later than now: {options.received.isoformat(timespec='seconds')}.",
            remedy="Give a time that is past, or `now`.",
        )
    importer = _Import(portal, options)
    for path in paths:
        if not path.exists():
            raise UsageError(f"There is no {path}.", remedy="Name a folder of mail, a Maildir, an mbox or an .eml.")
    return importer.lines(paths)


class _Import:
    def __init__(self, portal: Portal, options: Options) -> None:
        self._portal = portal
        self._options = options
        with portal.database.read() as tx:
            self._people = {
                row.address: row.id
                for row in tx.execute(
                    select(people.c.address, people.c.id).where(~people.c.disabled, people.c.kind == "person")
                )
            }
        self._recipient = None
        if options.recipient is not None:
            self._recipient = parse_address(options.recipient)
            if self._recipient not in self._people:
                raise UsageError(
                    f"{self._recipient} is none of the portal's people.",
                    remedy=f"Add them with: mimeportal-server people add {self._recipient}",
                )
        self._hold = hold_of(options.hold) if options.hold is not None else None

    def lines(self, paths: Sequence[Path]) -> Iterator[Line]:
        batch: list[tuple[_Found, incoming.Incoming]] = []
        octets = 0
        for path in paths:
            for found in _walk(path):
                ready = self._read(found)
                if isinstance(ready, Line):
                    yield ready
                    continue
                batch.append((found, ready))
                octets += len(ready.octets)
                if len(batch) >= _BATCH or octets >= _BATCH_OCTETS:
                    yield from self._store(batch)
                    batch, octets = [], 0
        yield from self._store(batch)

    def _read(self, found: _Found) -> incoming.Incoming | Line:
        if found.octets is None:
            return _line(found, "", "error", found.problem)
        most = self._portal.settings.limits["message"]
        if len(found.octets) > most:
            return _line(found, "", "error", f"larger than {most:,} octets, not stored")
        message = incoming.parse(
            found.octets,
            None,
            recipients=(),
            received=0,
            route=self._options.route,
            source=(_shown(os.path.realpath(found.path)), _shown(found.position)),
            hold=self._hold,
            again=self._options.again,
        )
        named = (
            [self._recipient]
            if self._recipient
            else list(dict.fromkeys(normalise(address) for address in message.summary.recipients_in_headers))
        )
        message.recipients = [(self._people[address], address) for address in named if address in self._people]
        if not message.recipients:
            problem = "no recipient among the portal's people: name one with --recipient"
            return _line(found, "", "error", problem)
        message.received = self._received(message)
        return message

    def _received(self, message: incoming.Incoming) -> int:
        received = self._options.received
        if isinstance(received, datetime):
            return milliseconds(received)
        now = self._portal.clock.now()
        if received == "header" and message.summary.date is not None:
            return min(milliseconds(message.summary.date), now)
        return now

    def _store(self, batch: list[tuple[_Found, incoming.Incoming]]) -> Iterator[Line]:
        if not batch:
            return
        stored = arrival.accept(self._portal, [message for _, message in batch], door="import")
        edge = deciding.expiry_edge(self._portal)
        for (found, message), results in zip(batch, stored, strict=True):
            for result in results:
                late = (OVERDUE,) if result.outcome == "held" and message.received <= edge else ()
                yield _line(found, result.recipient, result.outcome, result.reason, (*result.notes, *late))


def _line(found: _Found, recipient: str, outcome: str, reason: str, notes: tuple[str, ...] = ()) -> Line:
    return Line(_shown(found.path), _shown(found.position), recipient, outcome, reason, notes)


def _shown(name: str) -> str:
    """A file name as it is told and kept: octets that are no UTF-8 are written out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def hold_of(reason: str) -> HoldRule:
    """The hold that `--hold REASON` gives: administrators' for `ADMIN_` reasons, else the user's."""
    if not reason.strip():
        raise UsageError("The reason of --hold is empty.", remedy='Name one, such as "Message Hold Applied - ...".')
    code = arrival.reason_code(reason)
    administrators = code.startswith("admin_")
    return HoldRule(
        policy="Import",
        kind=KINDS.get(code.removeprefix("admin_"), "other"),
        reason=reason.strip(),
        level="administrator" if administrators else "user",
    )


def _walk(path: Path) -> Iterator[_Found]:
    if path.is_dir():
        root = path.resolve()
        if all((path / name).is_dir() for name in ("cur", "new")):
            for name in ("new", "cur"):
                yield from _folder(path / name, root, maildir=True)
        else:
            yield from _folder(path, root, maildir=False)
    elif not path.is_file():
        yield _Found(str(path), "", None, "no regular file, not read")
    elif fold(path.suffix) == ".eml" or not _is_mbox(path):
        yield _one(path, "0")
    else:
        yield from _mbox(path)


def _folder(folder: Path, root: Path, *, maildir: bool) -> Iterator[_Found]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as fault:
        yield _Found(str(folder), "", None, f"cannot be read: {fault.strerror}")
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_symlink() and not path.resolve().is_relative_to(root):
            yield _Found(entry.path, "", None, "a link out of the folder, not followed")
        elif entry.is_dir(follow_symlinks=False):
            if not maildir:
                yield from _folder(path, root, maildir=False)
        elif not entry.is_file():
            yield _Found(entry.path, "", None, "no regular file, not read")
        elif maildir:
            yield _one(path, entry.name.partition(":")[0], source=str(folder.parent))
        elif fold(path.suffix) == ".eml" or not _is_mbox(path):
            yield _one(path, "0")
        else:
            yield from _mbox(path)


def _one(path: Path, position: str, source: str | None = None) -> _Found:
    # A Maildir renames its files when flags change: its own name and the file's base name are the source.
    named = source or str(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                return _Found(named, position, None, "no regular file, not read")
            if state.st_size > limits.MESSAGE:
                return _Found(named, position, None, f"larger than {limits.MESSAGE // limits.MIB} MiB, not stored")
            return _Found(named, position, file.read())
    except OSError as fault:
        return _Found(named, position, None, f"cannot be read: {fault.strerror}")


def _is_mbox(path: Path) -> bool:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return file.read(5) == b"From "
    except OSError:
        return False


def _mbox(path: Path) -> Iterator[_Found]:
    try:
        for offset, octets in split_mbox(path):
            problem = "" if octets is not None else f"larger than {limits.MESSAGE // limits.MIB} MiB, not stored"
            yield _Found(str(path), str(offset), octets, problem)
    except OSError as fault:
        yield _Found(str(path), "", None, f"cannot be read: {fault.strerror}")
