"""Short references: `#` and 8 characters in place of an id of 130 to 400, and how they are found again.

A reference is the start of the id's SHA-256 in base32. The list printed last, per profile, is remembered so that
what a person copies from it is found without asking the portal.
"""

from __future__ import annotations

import os
import re
from base64 import b32encode
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from mimeportal.errors import ForbiddenError, NotFoundError, NotOfferedError, UsageError

if TYPE_CHECKING:
    from mimeportal.holds.contract import Queue
    from mimeportal.messages.contract.mailbox import Folder
    from mimeportal.portal import Portal
    from mimeportal.secure.contract import Folder as SecureFolder

_LENGTH = 8
_REFERENCE = re.compile(r"#?[a-zA-Z2-7]{8}")
_QUEUES: tuple[Queue, ...] = ("personal", "moderated", "admin")
_FOLDERS: tuple[Folder, ...] = ("inbox", "sent", "junk")
_SECURE_FOLDERS: tuple[SecureFolder, ...] = ("inbox", "sent", "deleted")


def reference(id: str) -> str:
    """The short reference of an id."""
    return "#" + b32encode(sha256(id.encode("utf-8", "surrogatepass")).digest())[:_LENGTH].decode().lower()


def as_reference(value: object, _record: object, _columns: object) -> str:
    """How a table shows an id."""
    return reference(str(value))


def is_reference(text: str) -> bool:
    """Whether a text is a reference, with or without `#`; no id is that short."""
    return _REFERENCE.fullmatch(text) is not None


def resolved(portal: Portal, ids: Iterable[str], remembered: Remembered) -> Iterator[str]:
    """The ids, references replaced by what they stand for.

    Looks among the ids printed last, then lists. Raises `UsageError` when two ids fit, `NotFoundError` for none.
    """
    for id in ids:
        if not id:
            raise UsageError("An id is empty.", remedy="Take an id, or a reference, from a list.")
        if not is_reference(id):
            if id.startswith("#"):
                raise UsageError(
                    f"Not a reference: {id!r}.",
                    remedy=f"A reference is # and {_LENGTH} characters of a table's id column.",
                )
            yield id
            continue
        wanted = "#" + id.lstrip("#").lower()
        found = remembered.matching(wanted) or remembered.listed(portal).get(wanted)
        if not found:
            raise NotFoundError(
                f"No {remembered.what} has the reference {wanted}.",
                why=remembered.where,
                remedy="List again: it may have been decided or have expired.",
            )
        if len(found) > 1:
            raise UsageError(
                f"The reference {wanted} stands for {len(found)} {remembered.several}.",
                remedy=f"Name the full id, from `{remembered.command} --columns id -o tsv`.",
            )
        yield found[0]


def _by_reference(ids: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for id in dict.fromkeys(ids):
        found.setdefault(reference(id), []).append(id)
    return found


def _listed(portal: Portal) -> Iterator[str]:
    for queue in _QUEUES:
        try:
            for hold in portal.holds.list(queue=queue):
                yield hold.id
        except (ForbiddenError, NotOfferedError, UsageError):
            continue  # not this caller's queue


def _in_folders(portal: Portal) -> Iterator[str]:
    for folder in _FOLDERS:
        try:
            for message in portal.messages.list(folder):
                yield message.id
        except (ForbiddenError, NotOfferedError, UsageError):
            continue  # this caller has none of the kind


def _in_secure_folders(portal: Portal) -> Iterator[str]:
    for folder in _SECURE_FOLDERS:
        try:
            for message in portal.secure.list(folder=folder):
                yield message.id
        except (ForbiddenError, NotOfferedError):
            return


class Remembered:
    """The ids of the list printed last, for one profile (or one URL and person), in a file of mode 0600."""

    what = "held message"
    several = "messages"
    where = "It is neither in the list printed last nor held now."
    command = "mimeportal holds list"
    _file = "listed"

    def __init__(self, portal: Portal) -> None:
        whose = sha256("\n".join((portal.profile, portal.url, portal.user or "")).encode()).hexdigest()[:16]
        self.path = _folder() / f"{self._file}-{whose}"
        self._printed: dict[str, list[str]] | None = None
        self._there: dict[str, list[str]] | None = None

    def ids(self) -> Sequence[str]:
        """What was printed last; nothing when there is none, or it cannot be read."""
        try:
            return self.path.read_text("utf-8").split()
        except (OSError, UnicodeDecodeError):
            return ()

    def matching(self, wanted: str) -> list[str]:
        """What a reference stands for in the list printed last."""
        if self._printed is None:
            self._printed = _by_reference(self.ids())
        return self._printed.get(wanted, [])

    def listed(self, portal: Portal) -> dict[str, list[str]]:
        """What is there now, by reference: listed once, however many references are looked for."""
        if self._there is None:
            self._there = _by_reference(self._all(portal))
        return self._there

    def _all(self, portal: Portal) -> Iterable[str]:
        """The ids of all there are: here, of what is held."""
        return _listed(portal)

    def keep(self, ids: Iterable[str]) -> None:
        """Remember these. A folder that cannot be written only means that references are found by listing."""
        from mimeportal.profiles import write_private

        try:
            write_private(self.path, "".join(f"{id}\n" for id in ids if not re.search(r"\s", id)).encode())
        except OSError:
            pass


class RememberedMail(Remembered):
    """The same of messages in mailboxes; what was not printed is looked for in one's own folders."""

    what = "message"
    where = "It is neither in the list printed last nor in a folder."
    command = "mimeportal messages list"
    _file = "mail"

    def _all(self, portal: Portal) -> Iterable[str]:
        return _in_folders(portal)


class RememberedSecure(Remembered):
    """The same of secure messages."""

    what = "secure message"
    where = "It is neither in the list printed last nor in a folder."
    command = "mimeportal secure list"
    _file = "secure"

    def _all(self, portal: Portal) -> Iterable[str]:
        return _in_secure_folders(portal)


class RememberedDrafts(Remembered):
    """The same of one's drafts."""

    what = "draft"
    where = "It is neither in the list printed last nor among your drafts."
    command = "mimeportal messages drafts list"
    _file = "drafts"

    def _all(self, portal: Portal) -> Iterable[str]:
        return (draft.id for draft in portal.messages.drafts())


class RememberedTracked(Remembered):
    """The same of tracked messages. What was not printed is not looked for: no finder lists all there are."""

    what = "tracked message"
    where = "It is not in the list printed last."
    command = "mimeportal messages track ..."
    _file = "tracked"

    def _all(self, portal: Portal) -> Iterable[str]:
        return ()


class RememberedLarge(Remembered):
    """The same of sends of large files."""

    what = "send of large files"
    several = "sends"
    where = "It is neither in the list printed last nor among your sends."
    command = "mimeportal largefiles list"
    _file = "largefiles"

    def _all(self, portal: Portal) -> Iterable[str]:
        return (large.id for large in portal.largefiles.list())


def cache_folder() -> Path:
    """Where what is remembered between two commands lies."""
    return _folder()


class RememberedRejected(RememberedTracked):
    """The same of rejected messages."""

    what = "rejected message"
    command = "mimeportal messages rejected"
    _file = "rejected"


def _folder() -> Path:
    named = os.environ.get("MIMEPORTAL_CONFIG_DIR")
    if named:
        from mimeportal.profiles import from_home

        return from_home(named) / "cache"
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("mimeportal"))
