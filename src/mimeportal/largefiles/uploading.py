"""An upload of large files: begun, sent in chunks by several threads, taken up where it stopped, finished.

Whatever happens in between - a kill, a lost network, a restart of either side - what has arrived is not sent again:
the portal is asked which chunks are missing. Every chunk carries its CRC-32, and each file is compared whole by its
SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import threading
import time
import zlib
from base64 import b32encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from mimeportal import limits
from mimeportal.errors import (
    ApiError,
    ChangedFileError,
    LostAnswerError,
    MimeportalError,
    RateLimitedError,
    UnavailableError,
    UsageError,
)
from mimeportal.largefiles import contract
from mimeportal.largefiles.contract import (
    CheckItem,
    ChunkItem,
    CreateItem,
    FileRow,
    LargeFileItem,
    ResubmitItem,
    UploadItem,
)
from mimeportal.largefiles.largefile import LargeFile, from_row
from mimeportal.transport import Session
from mimeportal.untrusted import clean
from mimeportal.wire import Content

PATIENCE = 60.0  # seconds without any progress, after which an upload gives up on a portal that cannot be reached
_PIECE = 256 * limits.KIB  # handed to a socket at once: each has the timeout of its connection to itself
_WAIT = 0.5
_AGAIN = 3  # times that damaged chunks of one file are sent once more
_DONE = ("scanning", "active", "expired")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is: octets of all files, the rate in octets a second, the seconds left (None: unknown)."""

    file: str
    octets: int
    total: int
    rate: float
    seconds_left: float | None


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of this machine as it was when its upload began: size in octets, time of change in nanoseconds."""

    path: str
    name: str
    size: int
    changed: int

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> LocalFile:
        """Raises `UsageError` for what is no file, or cannot be read."""
        try:
            found = os.stat(path)
            if stat.S_ISDIR(found.st_mode):
                raise UsageError(f"{os.fspath(path)} is a folder.", remedy="Name files, or pack the folder.")
            if not stat.S_ISREG(found.st_mode):  # to open a pipe waits for whoever writes to it
                raise UsageError(
                    f"{os.fspath(path)} is no regular file.",
                    why="What comes out of a pipe or a device has no size before it ends, and cannot be resumed.",
                    remedy="Write it into a file, and send that.",
                )
            with open(path, "rb") as file:
                found = os.fstat(file.fileno())
        except OSError as fault:
            raise UsageError(f"{os.fspath(path)} cannot be read: {fault.strerror}.") from None
        full = os.path.abspath(path)
        # A name that is no Unicode cannot travel; the path keeps it as it is.
        return cls(full, clean(os.path.basename(full)), found.st_size, found.st_mtime_ns)

    def open(self) -> BinaryIO:
        """The file, if it is still the same. Raises `UsageError`."""
        try:
            file = open(self.path, "rb", buffering=0)  # noqa: SIM115  # whoever asked closes it
        except OSError as fault:
            raise UsageError(f"{self.path} cannot be read: {fault.strerror}.") from None
        try:
            self.check(file)
        except BaseException:
            file.close()
            raise
        return file

    def check(self, file: BinaryIO) -> None:
        """Raise `ChangedFileError` where the file is not what it was."""
        found = os.fstat(file.fileno())
        if (found.st_size, found.st_mtime_ns) != (self.size, self.changed):
            raise changed(self.path)


def changed(path: str) -> ChangedFileError:
    """What is told of a file that is not what it was when its upload began."""
    return ChangedFileError(
        f"{path} was changed while it was sent.",
        why="What had arrived belongs to another file; the upload was cancelled, and nobody was told of it.",
        remedy="Send it again once nobody writes to it.",
    )


class Meter:
    """Counts octets, and tells how fast they go. Safe to use from several threads."""

    def __init__(
        self, total: int, on_progress: OnProgress | None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._tell = on_progress
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._begun = monotonic()
        self._octets = self._sent = 0
        self.moved: float = self._begun  # when octets went last

    def add(self, file: str, octets: int, *, sent: bool = True) -> None:
        """Octets that went, or that had gone before."""
        with self._lock:
            self._octets += octets
            self._sent += octets if sent else 0
            self.moved = self._monotonic()
            elapsed = self.moved - self._begun
            rate = self._sent / elapsed if elapsed > 0 else 0.0
            left = (self._total - self._octets) / rate if rate else None
            if self._tell is not None:
                self._tell(Progress(file, self._octets, self._total, rate, left))


@dataclass(slots=True)
class Upload:
    """A send on its way. `run()` sends it, and may be called again after whatever has stopped it.

    `handle()` is all that another process needs to take it up: `portal.largefiles.resume(handle)`. It holds the
    access key, so it is to be kept as a secret. `id` is "" until the portal knows of it.
    """

    session: Session
    files: list[LocalFile]
    wanted: dict[str, Any] = field(repr=False)  # the fields of a CreateItem but for its files
    request_id: str = ""
    id: str = ""
    patience: float = PATIENCE
    sleep: Callable[[float], object] = field(default=time.sleep, repr=False)

    @property
    def access_key(self) -> str | None:
        """What recipients are asked for; None where there is no key, or it is not known here."""
        key: str | None = self.wanted.get("access_key")
        return key

    @property
    def size(self) -> int:
        """Octets of all files."""
        return sum(file.size for file in self.files)

    def handle(self) -> dict[str, Any]:
        """What is to be kept of it, as JSON; see `of`."""
        return {
            "id": self.id,
            "request_id": self.request_id,
            "wanted": self.wanted,
            "files": [asdict(file) for file in self.files],
        }

    @classmethod
    def of(cls, session: Session, handle: Mapping[str, Any]) -> Upload:
        """The upload of a handle. Raises `UsageError` for what is none."""
        try:
            files = [LocalFile(**file) for file in handle["files"]]
            return cls(session, files, dict(handle["wanted"]), str(handle["request_id"]), str(handle["id"]))
        except (KeyError, TypeError, ValueError):
            raise UsageError("That is no handle of an upload.", remedy="Keep what `handle()` gives.") from None

    def begin(self) -> LargeFile:
        """Make the send known to the portal, without any octets yet; the same again changes nothing."""
        if self.id:
            row = self.session.one(contract.SHOW, LargeFileItem(id=self.id))
            if row.status == "failed":
                again = ResubmitItem(id=self.id, request_id=secrets.token_hex(16))
                row = self.session.one(contract.RESUBMIT, again)
        else:
            described = [contract.FileItem(name=file.name, size=file.size) for file in self.files]
            item = CreateItem(request_id=self.request_id, files=described, **self.wanted)
            row = self._patiently(lambda: self.session.one(contract.CREATE, item), Meter(0, None))
            self.id = row.id
        return from_row(row)

    def run(self, on_progress: OnProgress | None = None) -> LargeFile:
        """Send what has not arrived, and finish. `on_progress` is called as chunks arrive, by several threads.

        On `KeyboardInterrupt` the chunks under way are finished and the upload is paused. Raises `ChangedFileError`
        after cancelling, `UnavailableError` when the portal could not be reached for `patience` seconds, and what
        the portal refuses.
        """
        self.begin()
        row = self.session.one(contract.SHOW, LargeFileItem(id=self.id))
        if row.status in _DONE:
            return from_row(row)
        self._check_files(row.files)
        meter = Meter(self.size, on_progress)
        try:
            for local, file in zip(self.files, row.files, strict=True):
                self._send(local, file, meter)
        except KeyboardInterrupt:
            with suppress(MimeportalError):
                self.pause()
            raise
        except ChangedFileError:
            with suppress(MimeportalError):
                self.cancel()
            raise
        return from_row(self._patiently(lambda: self.session.one(contract.FINISH, self._this), meter))

    def pause(self) -> LargeFile:
        """Tell the portal that no more comes for now."""
        return from_row(self.session.one(contract.PAUSE, self._this))

    def cancel(self) -> LargeFile:
        """End the upload; the portal lets go of what has arrived."""
        return from_row(self.session.one(contract.CANCEL, self._this))

    @property
    def _this(self) -> LargeFileItem:
        return LargeFileItem(id=self.id)

    # -- one file ----------------------------------------------------------------------------------------

    def _check_files(self, files: Sequence[FileRow]) -> None:
        theirs = [file.size for file in files]
        if theirs != [file.size for file in self.files]:
            raise UsageError(
                "These are not the files of that send: their number or sizes differ.",
                why=f"It has {', '.join(file.name for file in files)}.",
                remedy="Name its files in the same order, or send these anew.",
            )

    def _send(self, local: LocalFile, file: FileRow, meter: Meter) -> None:
        if file.sha256:
            meter.add(local.name, local.size, sent=False)
            return
        for _ in range(_AGAIN):
            told = self._patiently(lambda: self.session.one(contract.MISSING, UploadItem(file=file.id)), meter)
            if told.checked:
                return
            missing = {index for first, last in told.missing for index in range(first, last + 1)}
            digest = self._send_chunks(local, file, missing, meter)
            try:
                self._patiently(
                    lambda: self.session.one(contract.CHECK, CheckItem(file=file.id, sha256=digest)),  # noqa: B023
                    meter,
                )
                return
            except ApiError as fault:
                if fault.code == "err_largefile_changed":
                    raise changed(local.path) from None
                if fault.code != "err_largefile_incomplete":
                    raise
        raise UnavailableError(
            f"{local.name} is damaged on its way, each time anew.",
            code="err_largefile_incomplete",
            remedy="Look at the disk of the portal, and at the network.",
        )

    def _send_chunks(self, local: LocalFile, file: FileRow, missing: set[int], meter: Meter) -> str:
        """Send the missing chunks; the SHA-256 of the whole file, hex."""
        whole = hashlib.sha256()
        flying: set[Future[None]] = set()
        at_once = min(self.session.transport.parallel, limits.CHUNKS_AT_ONCE)
        room = threading.Semaphore(at_once + 1)  # one more is read ahead
        stop = threading.Event()
        count = -(-local.size // limits.CHUNK)
        with local.open() as source, ThreadPoolExecutor(at_once, "upload") as pool:
            try:
                for index in range(count):
                    octets = _read(source, min(limits.CHUNK, local.size - index * limits.CHUNK), local.path)
                    whole.update(octets)
                    if index not in missing:
                        meter.add(local.name, len(octets), sent=False)
                        continue
                    room.acquire()
                    for done in [future for future in flying if future.done()]:
                        flying.remove(done)
                        done.result()
                    sending = pool.submit(self._put, file, index, octets, meter, stop)
                    sending.add_done_callback(lambda _: room.release())
                    flying.add(sending)
                    del octets
                for future in flying:
                    future.result()
                local.check(source)
            except BaseException as fault:
                if not isinstance(fault, KeyboardInterrupt):
                    stop.set()
                for future in flying:
                    future.cancel()
                while any(not future.done() for future in flying):  # however often it is interrupted
                    with suppress(KeyboardInterrupt):
                        time.sleep(0.02)
                raise
        return whole.hexdigest()

    def _put(self, file: FileRow, index: int, octets: bytes, meter: Meter, stop: threading.Event) -> None:
        item = ChunkItem(file=file.id, index=index, crc32=zlib.crc32(octets))
        content = Chunk(octets)

        def put() -> None:
            try:
                self.session.one(contract.CHUNK, item, content=content)
            except LostAnswerError:
                # It may have arrived all the same: what has is not sent again.
                told = self.session.one(contract.MISSING, UploadItem(file=file.id))
                if any(first <= index <= last for first, last in told.missing):
                    raise

        self._patiently(put, meter, stop)
        meter.add(file.name, len(octets))

    def _patiently(self, call: Callable[[], T], meter: Meter, stop: threading.Event | None = None) -> T:
        """Call until the portal answers, as long as anything moves at all; all of these may be repeated."""
        asked = time.monotonic()
        while True:
            try:
                return call()
            except RateLimitedError:
                raise
            except UnavailableError as fault:
                over = time.monotonic() > max(meter.moved, asked) + self.patience
                if over or (stop is not None and stop.is_set()) or fault.code == "err_certificate":
                    fault.remedy = "Run the same command again: what has arrived is not sent once more."
                    raise
                self.sleep(_WAIT)


class Chunk(Content):
    """One chunk, in pieces that each have a socket's timeout to themselves."""

    def __iter__(self) -> Iterator[bytes]:
        view = memoryview(self._octets)
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]  # type: ignore[misc]  # as good as bytes to sockets and joins


def _read(source: BinaryIO, length: int, path: str) -> bytes:
    """Exactly so many octets."""
    octets = source.read(length)
    while len(octets) < length:
        more = source.read(length - len(octets))
        if not more:
            raise changed(path)
        octets += more
    return octets


def generated_key() -> str:
    """An access key that can be read out: four groups of four, 80 random bits."""
    text = b32encode(secrets.token_bytes(10)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, 16, 4))


def named(files: Sequence[str | os.PathLike[str]]) -> list[LocalFile]:
    """The files that are to be sent. Raises `UsageError`."""
    if isinstance(files, str | bytes | Path):
        raise UsageError(f"files takes several of them, not {files!r}.", remedy="Put it in a list: [file].")
    if not 1 <= len(files) <= limits.LARGE_FILES:
        raise UsageError(
            f"A send has 1 to {limits.LARGE_FILES} files, not {len(files)}; nothing was sent.",
            remedy="Send fewer at once, or pack them.",
        )
    return [LocalFile.of(path) for path in files]
