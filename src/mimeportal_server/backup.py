"""A home in one file, and back: the database first, then the blobs it names (promises F.3)."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, update

from mimeportal.errors import ConfigurationError, UnavailableError, UsageError
from mimeportal_server import audit, erasing, largefile_keeping, tokens
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal
from mimeportal_server.store import disk
from mimeportal_server.store.schema import deliveries, digests, people

_FILES = ("portal.toml", "secret.key", "portal.db")
_BLOB = re.compile(r"blobs/([0-9a-f]{64})")
_DIGEST = 64  # characters of a SHA-256, hex
_LARGE = re.compile(r"largefiles/([0-9]{1,18})-([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Written:
    """What a backup holds.

    count       how many messages and large files have their octets in it
    lost        the names, in the home, of octets that the home should hold and that are gone or damaged
    """

    count: int
    lost: tuple[str, ...]


def backup(portal: Portal, target: Path) -> Written:
    """Write a home to one new file, mode 0600, whole or not at all.

    The portal may be in use meanwhile. Octets that are gone or damaged are left out, and told: what is in the file can
    be restored. Raises `UsageError` when the file exists, `UnavailableError` when the database cannot be copied.
    """
    if target.exists():
        raise _exists(target)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as folder:
        copy, part = Path(folder) / "portal.db", Path(folder) / "part"
        _copy_database(portal.home.database.path, copy)
        count, lost = 0, []
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w|gz") as tar:
                for name in _FILES:
                    tar.add(copy if name == "portal.db" else portal.home.path / name, arcname=name)
                for archived, path in _octets(portal.home, copy).items():
                    try:
                        sound = _digest(path) == archived[-_DIGEST:]
                        if sound:
                            tar.add(path, arcname=archived)
                    except FileNotFoundError:
                        sound = False
                    count += sound
                    if not sound:
                        lost.append(archived)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, target)  # unlike a rename, it never replaces what another process wrote meanwhile
        except FileExistsError:
            raise _exists(target) from None
    disk.sync_folder(target.parent)
    named = _octets(portal.home, portal.home.database.path) if lost else {}
    # What is named no more was purged since the database was copied.
    return Written(count, tuple(name for name in lost if name in named))


def _exists(target: Path) -> UsageError:
    return UsageError(f"{target} exists already, and is not overwritten.", remedy="Name another file.")


def restore(source: Path, home_path: Path, erased: Path | None = None) -> Home:
    """Make a home from a backup in an absent or empty folder, whole or not at all.

    What was on its way out is frozen for review: it may have left before (promises C.2). Everything handed
    out to people, links and log-ins, ends. Whoever was erased since, as the file `erased` of that home tells, is
    erased again. Raises `UsageError` for a file that is no backup, or is damaged.
    """
    if home_path.exists() and (not home_path.is_dir() or any(home_path.iterdir())):
        raise UsageError(f"{home_path} is there already, and not empty.", remedy="Name a new folder.")
    target = home_path.resolve()
    try:
        with gzip.open(source) as archive:
            archive.peek(1)  # raises before anything is made
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # It gets its name when it is whole and frozen: until then nobody can open it and deliver from it.
            part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
            try:
                _fill(part, archive, erased)
                os.rename(part, target)
            except ConfigurationError as fault:
                what = fault.what.replace(str(part), str(home_path))
                raise UsageError(f"{source} cannot be restored: {what}", why=fault.why, remedy=fault.remedy) from None
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as fault:
        why = getattr(fault, "strerror", None) or str(fault).rstrip(".")
        raise UsageError(f"{source} cannot be restored: {why}.", remedy="Name a file made by `backup`.") from None
    disk.sync_folder(target.parent)
    return Home.open(home_path)


def _fill(part: Path, archive: gzip.GzipFile, erased: Path | None) -> None:
    """Extract an archive, to its very end, and freeze what comes out of it; durable when this returns."""
    home = Home(part)
    for folder in (home.spool, *(home.outgoing / name for name in ("tmp", "new", "cur"))):
        folder.mkdir(mode=0o700, parents=True)
    home.blobs.create()
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for member in tar:
            _extract(tar, member, home)
    while archive.read(1024 * 1024):  # only its end tells whether it was cut
        pass
    for name in _FILES:
        if not (part / name).exists():
            raise tarfile.TarError(f"it holds no {name}")
    home.close()
    home = Home.open(part)
    try:
        _after_restore(home)
        if erased is not None:
            erasing.replay(Portal(home), erased)
    finally:
        home.close()
    disk.sync(part)


def thaw(portal: Portal) -> int:
    """Let what a restore froze go out after all; how many."""
    with portal.write() as tx:
        done = tx.execute(update(deliveries).where(deliveries.c.state == "frozen").values(state="queued"))
    return int(done.rowcount)


def _copy_database(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(descriptor)
    origin, copy = sqlite3.connect(source), sqlite3.connect(target)
    try:
        origin.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as fault:
        raise UnavailableError(
            f"The database cannot be copied: {fault}.",
            why=f"From {source} into {target.parent.parent}; no backup was written.",
            remedy="See that the disk of the backup has room, and run it again.",
        ) from None
    finally:
        copy.close()
        origin.close()


def _octets(home: Home, database: Path) -> dict[str, Path]:
    """The files of octets that a database names, by their names in a backup, which end with their SHA-256."""
    blobs = {f"blobs/{name}": home.blobs.path(name) for name in _blob_names(database)}
    return blobs | {
        f"largefiles/{number}-{digest}": home.large_files.path(number) for number, digest in _large(database)
    }


def _blob_names(database: Path) -> list[str]:
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute(
            "SELECT blob FROM messages WHERE purged IS NULL UNION "
            "SELECT blob FROM deliveries WHERE finished IS NULL UNION "
            "SELECT blob FROM uploads ORDER BY blob"
        ).fetchall()
    finally:
        connection.close()
    return [row[0] for row in rows]


def _large(database: Path) -> list[tuple[int, str]]:
    """The large files that have arrived whole, with their SHA-256."""
    connection = sqlite3.connect(database)
    try:
        return connection.execute(
            "SELECT f.id, f.sha256 FROM largefile_files f JOIN largefiles l ON l.id = f.largefile_id "
            "WHERE l.purged IS NULL AND f.sha256 != '' ORDER BY f.id"
        ).fetchall()
    finally:
        connection.close()


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, home: Home) -> None:
    blob, large = _BLOB.fullmatch(member.name), _LARGE.fullmatch(member.name)
    file = tar.extractfile(member) if member.isreg() else None
    if file is None or (member.name not in _FILES and blob is None and large is None):
        raise tarfile.TarError(f"{member.name!r} is no part of a backup")
    target = home.path / member.name
    if blob or large:
        target = home.blobs.path(blob[1]) if blob else home.large_files.path(int(large[1]))  # type: ignore[index]
    target.parent.mkdir(mode=0o700, exist_ok=True)
    disk.write(target, iter(lambda: file.read(1024 * 1024), b""))
    wanted = blob[1] if blob else large[2] if large else None
    if wanted and _digest(target) != wanted:
        raise tarfile.TarError(f"{member.name} is damaged")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _after_restore(home: Home) -> None:
    portal = Portal(home)
    with portal.write() as tx:
        tx.execute(update(people).values(epoch=people.c.epoch + 1))
        tx.execute(delete(digests))  # the links of earlier digests ended: the next one tells of all that is held
        tokens.end_lasting(tx)
        largefile_keeping.after_restore(portal, tx)
        tx.execute(
            update(deliveries)
            .where(deliveries.c.finished.is_(None))
            .where(deliveries.c.state.in_(("spooled", "sending")))
            .values(maybe_twice=True)
        )
        tx.execute(update(deliveries).where(deliveries.c.finished.is_(None)).values(state="frozen"))
        act = audit.Act("restore", "done", "portal", None)
        audit.record(tx, [act], at=portal.clock.now(), caller=None, door="restore")
