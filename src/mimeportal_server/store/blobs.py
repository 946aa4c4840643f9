"""Content-addressed files: the octets of mail, under the SHA-256 of what they hold, written once."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mimeportal_server.steps import reached
from mimeportal_server.store import disk


class Blobs:
    """`folder/ab/abcdef...`; files on their way in lie in `folder/incoming`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming = folder / "incoming"

    def create(self) -> None:
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        return self.folder / f"{name[:2]}/{name}"

    def add(self, batch: dict[str, bytes]) -> None:
        """Store octets under their names (see `name_of`), durable when this returns, whole or not at all."""
        new = {name: octets for name, octets in batch.items() if not self.path(name).exists()}
        # Another process may bring the same octets at this moment: each writes a file of its own.
        part = f".{os.getpid()}.{secrets.token_hex(8)}"
        for name, octets in new.items():
            disk.write(self._incoming / (name + part), [octets])
        if new:
            reached("blobs.written")
            disk.sync(self.folder)
            reached("blobs.synced")
        for name in new:
            target = self.path(name)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            os.rename(self._incoming / (name + part), target)
        reached("blobs.renamed")
        # Also for what was there: whoever renamed it may not have come to its sync yet.
        if batch:
            disk.sync(self.folder)

    def add_missing(self, batch: dict[str, bytes]) -> None:
        """As `add`, at next to no cost when all of them are there and durable."""
        missing = {name: octets for name, octets in batch.items() if not self.path(name).exists()}
        if missing:
            self.add(missing)

    def forget_unfinished(self, before: float) -> None:
        """Remove what was last written before a time and never got its name: a kill left it."""
        for entry in self._incoming.iterdir():
            with suppress(FileNotFoundError):
                if entry.stat().st_mtime < before:
                    entry.unlink()

    def read(self, name: str) -> bytes:
        return self.path(name).read_bytes()

    def pieces(self, name: str) -> Iterator[bytes]:
        return disk.pieces(self.path(name))

    def delete(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        for folder in sorted(self.folder.iterdir()):
            if len(folder.name) == 2:
                yield from sorted(entry.name for entry in folder.iterdir())


def name_of(octets: bytes) -> str:
    """The name of a blob: the SHA-256 of its octets, hex."""
    return hashlib.sha256(octets).hexdigest()
