"""A portal home: one folder with everything in it, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from mimeportal import limits
from mimeportal.addresses import parse_domain
from mimeportal.errors import ConfigurationError, UnavailableError, UsageError
from mimeportal_server import settings
from mimeportal_server.store.blobs import Blobs
from mimeportal_server.store.chunked import Chunked
from mimeportal_server.store.database import BUSY_SECONDS, Database, StoreError
from mimeportal_server.store.schema import SCHEMA

_KEY_OCTETS = 32
DEFAULT_PUBLIC_URL = "http://127.0.0.1:8025"


class Home:
    """portal.toml, portal.db, secret.key, blobs/, largefiles/, spool/ and outgoing/ (a Maildir)."""

    def __init__(self, path: Path, *, busy: float = BUSY_SECONDS) -> None:
        self.path = path
        self.config = path / "portal.toml"
        self.key_file = path / "secret.key"
        self.spool = path / "spool"
        self.outgoing = path / "outgoing"
        self.delivery_lock = path / "delivery.lock"
        self.erasing_lock = path / "erasing.lock"
        self.lab_token = path / "lab.token"  # only in a home made for tests
        self.database = Database(path / "portal.db", busy=busy)
        self.blobs = Blobs(path / "blobs")
        self.large_files = Chunked(path / "largefiles")
        self.settings: settings.Settings
        self.key: bytes

    @classmethod
    def create(cls, path: Path, domain: str, public_url: str = DEFAULT_PUBLIC_URL, *, lab: bool = False) -> Home:
        """Make a home in an absent or empty folder. Raises `UsageError` naming what stands in the way.

        One made for tests (`lab`) has a token, in lab.token, for whoever may empty it and set its time.
        """
        domain = parse_domain(domain)
        if not public_url.startswith(("http://", "https://")) or any(sign in public_url for sign in "\"'\n\\ "):
            raise UsageError(f"The public URL is {public_url!r}.", remedy="Write it as https://portal.example.com.")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} is there already, and not empty.", remedy="Name a new folder.")
        home = cls(path)
        new, ours = not path.exists(), False
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
            home.spool.mkdir(mode=0o700)
            ours = True  # whoever makes this one makes the home: two at once do not meet in it
            for name in ("tmp", "new", "cur"):
                (home.outgoing / name).mkdir(mode=0o700, parents=True)
            home.blobs.create()
            _write_secret(home.key_file, secrets.token_bytes(_KEY_OCTETS))
            facts = {"account_code": f"LOCAL-{secrets.token_hex(4).upper()}"}
            if lab:
                _write_secret(home.lab_token, secrets.token_urlsafe(_KEY_OCTETS).encode())
                facts["lab"] = "1"
            home.config.write_text(settings.template(domain, public_url), "utf-8")
            # A code of its own, so that a report of one portal is never taken up on another.
            home.database.create(facts)
        except (OSError, StoreError) as fault:
            if ours:
                home.close()
                _empty(path)
            if new:
                with suppress(OSError):
                    path.rmdir()
            told = fault.sentence if isinstance(fault, StoreError) else f"{fault.strerror}."
            raise UsageError(
                f"{path} cannot be made: {told}",
                why="Nothing of it is left.",
                remedy="Look at the folder and its disk, or name another one.",
            ) from None
        home._load()
        return home

    @classmethod
    def open(cls, path: Path, *, busy: float = BUSY_SECONDS) -> Home:
        """Open a home; `busy` seconds are waited for a database in use.

        Raises `ConfigurationError` when it is none, is damaged, or others may read it, and `UnavailableError`
        when its database cannot be used now.
        """
        try:
            return cls._open(path, busy)
        except OSError as fault:
            raise ConfigurationError(
                f"{fault.filename or path} cannot be read: {fault.strerror}.",
                remedy="Look at the file and its owner, or restore the home from a backup.",
            ) from None

    @classmethod
    def _open(cls, path: Path, busy: float) -> Home:
        home = cls(path, busy=busy)
        parts = (home.config, home.key_file, home.database.path)
        there = [part for part in parts if part.is_file()]
        if not there:
            raise ConfigurationError(
                f"{path} is no portal home.",
                remedy=f"Make one with: mimeportal-server init {path} --domain example.com",
            )
        for part in parts:
            if part not in there:
                raise ConfigurationError(
                    f"{part} is not there, or is no file.",
                    why="A portal home is whole, or it is not used.",
                    remedy="Put the file back, or restore the home from a backup.",
                )
        _refuse_strangers(path)
        for name in (path, home.key_file):
            if stat.S_IMODE(name.stat().st_mode) & 0o077:
                raise ConfigurationError(
                    f"{name} can be read by others, and it holds people's mail.",
                    remedy=f"Close it with: chmod go= {name}",
                )
        try:
            number = home.database.schema_number()
        except StoreError as fault:
            if fault.passing:
                raise UnavailableError(fault.sentence, remedy="Try again when it is free.") from None
            raise ConfigurationError(
                f"{home.database.path}: {fault.sentence}",
                remedy="Look at the file and its owner, or restore the home from a backup.",
            ) from None
        if number != SCHEMA:
            raise ConfigurationError(
                f"{path} was made by another release: its schema is {number}, this one reads {SCHEMA}.",
                remedy="Use the release that made it, or make a new home and import the mail again.",
            )
        home._load()
        return home

    def _load(self) -> None:
        self.settings = settings.load(self.config)
        self.key = self.key_file.read_bytes()
        if len(self.key) != _KEY_OCTETS:
            raise ConfigurationError(
                f"{self.key_file} has {len(self.key)} octets, not {_KEY_OCTETS}.",
                why="With another key no id that was ever shown is known again.",
                remedy="Restore it, or the home, from a backup.",
            )

    def refuse_if_full(self, octets: int = 0) -> None:
        """Raise `UnavailableError` when less than 5 % of the disk is free, or would be with so many octets more."""
        usage = shutil.disk_usage(self.path)
        if usage.free - octets < usage.total * limits.FREE_DISK_SHARE:
            stays = "would stay" if octets else "is"
            raise UnavailableError(
                f"Less than {limits.FREE_DISK_SHARE:.0%} of the disk of {self.path} {stays} free.",
                why="A full disk could lose mail that was accepted.",
                remedy="Free some space and run the same command again.",
            )

    def close(self) -> None:
        self.database.close()


def _refuse_strangers(path: Path) -> None:
    """Raise `ConfigurationError` unless the home is of whoever runs this, root too.

    What somebody else wrote into it, readable by them alone, would stop the portal of its owner.
    """
    owner, running = path.stat().st_uid, os.geteuid()
    if owner != running:
        raise ConfigurationError(
            f"{path} belongs to {_account(owner)}, and this runs as {_account(running)}.",
            why="Its owner could not read what is written there now, and their portal would stop.",
            remedy=f"Run it as its owner: sudo -u {_account(owner)} ...",
        )


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _account(uid: int) -> str:
    """The name of an account of this machine, or `#NUMBER`, as sudo takes it."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _write_secret(path: Path, octets: bytes) -> None:
    """A new file that its owner alone may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)
