"""Large files that arrive in chunks: each written in place into its file, noted with its CRC-32, never copied again.

`folder/12` holds the octets of file 12, `folder/12.sums` 8 octets for each chunk: a number of its own and its CRC-32
once it has arrived, until then zeros. Chunks are not synced one by one: a power cut may lose some that were noted, so
the whole is synced and hashed before it counts, and where it is not what it should be, each chunk is compared with its
note.

The whole is read back and hashed while it arrives, by the process that began it, as far as it has come without a gap;
what is left, in the end. After a restart, which alone can have lost what was written, all of it is left.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import secrets
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mimeportal import limits
from mimeportal_server.steps import reached

_SUM = 8
_ABSENT = bytes(_SUM)
_READ = 1024 * 1024
_WRITE_OUT = 2  # SYNC_FILE_RANGE_WRITE

try:
    _sync_file_range: Any = ctypes.CDLL(None).sync_file_range
    _sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
except (AttributeError, OSError, TypeError):
    _sync_file_range = None


class Vanished(Exception):
    """The file is not being uploaded any more: it was cancelled, purged, or is whole."""


class InUse(Exception):
    """Somebody else writes to the file, or checks it, at this moment."""


def chunks_of(size: int) -> int:
    """How many chunks a file has."""
    return -(-size // limits.CHUNK)


def length_of(size: int, index: int) -> int:
    """How long one chunk of a file is."""
    return min(limits.CHUNK, size - index * limits.CHUNK)


def _note(crc32: int) -> bytes:
    """What is noted of a chunk that has arrived: never the same again, so that one that came anew is seen."""
    return struct.pack(">II", secrets.randbelow(2**32 - 1) + 1, crc32)


class Chunked:
    """The folder of large files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._hashing: dict[int, Hashing] = {}  # of files that arrive, those begun first to be given up first

    def path(self, number: int) -> Path:
        return self.folder / str(number)

    def _sums(self, number: int) -> Path:
        return self.folder / f"{number}.sums"

    def create(self, number: int, size: int) -> None:
        """Make an empty place for a file; what an interrupted act left under its number goes."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.delete(number)
        for path, length in ((self.path(number), size), (self._sums(number), chunks_of(size) * _SUM)):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.ftruncate(descriptor, length)
            finally:
                os.close(descriptor)
        while len(self._hashing) >= limits.FILES_HASHED:
            self._hashing.pop(next(iter(self._hashing)), None)
        self._hashing[number] = Hashing()

    @contextmanager
    def writing(self, number: int) -> Iterator[Writing]:
        """The file as one of those who write chunks to it. Raises `Vanished`, and `InUse` while it is checked."""
        with self._locked(number, fcntl.LOCK_SH) as sums:
            yield Writing(self.path(number), sums, self._hashing.get(number))

    @contextmanager
    def checking(self, number: int, size: int) -> Iterator[Checking]:
        """The file for oneself alone. Raises `Vanished`, and `InUse` while chunks are written."""
        with self._locked(number, fcntl.LOCK_EX) as sums:
            hashing = self._hashing.pop(number, None)  # what is checked once more is read whole
            yield Checking(self.path(number), self._sums(number), sums, size, hashing or Hashing())

    @contextmanager
    def _locked(self, number: int, how: int) -> Iterator[int]:
        try:
            sums = os.open(self._sums(number), os.O_RDWR)
        except FileNotFoundError:
            raise Vanished from None
        try:
            try:
                fcntl.flock(sums, how | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InUse from None
            if os.fstat(sums).st_nlink == 0:
                raise Vanished
            yield sums
        finally:
            os.close(sums)

    def missing(self, number: int, size: int) -> list[tuple[int, int]]:
        """The gaps, `(first, last)` chunk of each. Raises `Vanished`."""
        try:
            noted = self._sums(number).read_bytes()
        except FileNotFoundError:
            raise Vanished from None
        gaps: list[tuple[int, int]] = []
        for index in range(chunks_of(size)):
            if noted[index * _SUM : (index + 1) * _SUM] == _ABSENT:
                if gaps and gaps[-1][1] == index - 1:
                    gaps[-1] = (gaps[-1][0], index)
                else:
                    gaps.append((index, index))
        return gaps

    def arrived(self, number: int, size: int) -> int:
        """How many octets have arrived; 0 where nothing is being uploaded."""
        try:
            gaps = self.missing(number, size)
        except Vanished:
            return 0
        return size - sum(length_of(size, index) for first, last in gaps for index in range(first, last + 1))

    def delete(self, number: int) -> None:
        """Let go of a file; whoever reads it at this moment reads on."""
        self._hashing.pop(number, None)
        for path in (self._sums(number), self.path(number)):
            path.unlink(missing_ok=True)

    def numbers(self) -> Iterator[int]:
        """Every file that is there."""
        with suppress(FileNotFoundError):
            found = {entry.name.partition(".")[0] for entry in self.folder.iterdir()}
            yield from sorted(int(name) for name in found if name.isdecimal())


class Hashing:
    """The SHA-256 of a file from its beginning, as far as it was hashed, and the notes of the chunks in it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.notes = bytearray()
        self._busy = threading.Lock()

    def follow(self, path: Path, sums: int) -> None:
        """Hash the chunks that are there next. While one writer does so the others do not wait for it."""
        if not self._busy.acquire(blocking=False):
            return
        try:
            while len(note := os.pread(sums, _SUM, len(self.notes))) == _SUM and note != _ABSENT:
                self.read(path, limits.CHUNK)
                self.notes += note
        finally:
            self._busy.release()

    def read(self, path: Path, length: int | None = None) -> None:
        """Hash what follows in the file: so many octets, or all."""
        view = memoryview(bytearray(_READ))
        with path.open("rb", buffering=0) as file:
            file.seek(len(self.notes) // _SUM * limits.CHUNK)
            left = os.fstat(file.fileno()).st_size if length is None else length
            while left and (count := file.readinto(view[:left])):
                self.digest.update(view[:count])
                left -= count


class Writing:
    """A file that takes chunks, of several writers at once."""

    def __init__(self, path: Path, sums: int, hashing: Hashing | None) -> None:
        self._path = path
        self._sums = sums
        self._hashing = hashing

    def put(self, index: int, pieces: Sequence[bytes], crc32: int) -> None:
        """Write one chunk in its place, and note that it is there."""
        at = position = index * limits.CHUNK
        if os.pread(self._sums, _SUM, index * _SUM) != _ABSENT:
            os.pwrite(self._sums, _ABSENT, index * _SUM)  # while it is written anew, it is not there
        descriptor = os.open(self._path, os.O_WRONLY)
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    written = os.pwrite(descriptor, view, position)
                    view, position = view[written:], position + written
            reached("largefile.chunk written")
            if _sync_file_range is not None:
                # Only begins to write it out, so that the sync of the whole has little left to wait for.
                _sync_file_range(descriptor, at, position - at, _WRITE_OUT)
        finally:
            os.close(descriptor)
        os.pwrite(self._sums, _note(crc32), index * _SUM)
        reached("largefile.chunk noted")
        if self._hashing is not None:
            with suppress(FileNotFoundError):  # it was cancelled meanwhile: the next call is told
                self._hashing.follow(self._path, self._sums)


class Checking:
    """A file to which nobody writes meanwhile."""

    def __init__(self, path: Path, sums_path: Path, sums: int, size: int, hashing: Hashing) -> None:
        self._path = path
        self._sums_path = sums_path
        self._sums = sums
        self._size = size
        self._hashing = hashing

    def sha256(self) -> str:
        """The SHA-256 of all of it, hex, after it was synced."""
        hashing = self._hashing
        if os.pread(self._sums, len(hashing.notes), 0) != hashing.notes:  # a chunk came anew since it was hashed
            hashing = Hashing()
        hashing.read(self._path)
        with self._path.open("rb", buffering=0) as file:
            os.fsync(file.fileno())
        reached("largefile.hashed")
        return hashing.digest.hexdigest()

    def forget_wrong(self) -> int:
        """Take back the notes of chunks that are not what they were when they arrived; how many."""
        wrong = 0
        with self._path.open("rb", buffering=0) as file:
            for index in range(chunks_of(self._size)):
                noted = os.pread(self._sums, _SUM, index * _SUM)
                octets = os.pread(file.fileno(), length_of(self._size, index), index * limits.CHUNK)
                if noted != _ABSENT and struct.unpack(">II", noted)[1] != zlib.crc32(octets):
                    os.pwrite(self._sums, _ABSENT, index * _SUM)
                    wrong += 1
        return wrong

    def seal(self) -> None:
        """It is whole: no chunk is taken any more."""
        self._sums_path.unlink(missing_ok=True)


class Slice:
    """Octets of a file from `start` to before `end`, in pieces; `on_end` is told how many of them were taken.

    A piece counts as taken when the next one is asked for: then whoever reads has passed it on.
    """

    def __init__(self, path: Path, start: int, end: int, on_end: Any = None, piece: int = limits.FILE_PIECE) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(start)
        self._left = end - start
        self._handed = 0
        self._taken = 0
        self._on_end = on_end
        self.piece = piece

    def __iter__(self) -> Slice:
        return self

    def __next__(self) -> bytes:
        self._taken += self._handed
        self._handed = 0
        octets = self._file.read(min(self.piece, self._left)) if self._left and not self._file.closed else b""
        if not octets:
            self.close()
            raise StopIteration
        self._handed = len(octets)
        self._left -= self._handed
        return octets

    def close(self) -> None:
        """Nothing more will be taken."""
        self._file.close()
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self._taken)
