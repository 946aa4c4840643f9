"""A message that is about to be sent: its recipients, texts and files, checked before anything leaves."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

from mimeportal import limits
from mimeportal.addresses import parse_address
from mimeportal.errors import ChangedFileError, UsageError
from mimeportal.holds.hold import checked_text
from mimeportal.messages.contract import writing as contract
from mimeportal.untrusted import header_value
from mimeportal.wire import Address, Content

_PIECE = 64 * limits.KIB
_HEADER = re.compile(r"[!-9;-~]{1,70}")
# What stands between commas: words, quoted names with commas in them, what is in brackets.
_ENTRY = re.compile(r'(?:"(?:\\.|[^"\\])*+"|<[^<>]*+>|[^",;<>])++')
_NAMED = re.compile(r'\s*("(?:\\.|[^"\\])*"|[^<>"]*?)\s*<([^<>]+)>\s*', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Recipient:
    """An address, normalised, and the name that is shown with it."""

    address: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name else self.address


def recipients(given: Any, name: str = "to") -> tuple[Recipient, ...]:
    """Recipients from text (`ann@example.com`, `Ann <ann@example.com>`, several with commas between) or from several.

    Raises `UsageError` naming the text that is no address.
    """
    if given is None:
        return ()
    if isinstance(given, Recipient):
        return (given,)
    if isinstance(given, str):
        checked_text(name, given)
        if _ENTRY.sub("", given).strip(" ,;\t\n"):
            raise _no_address(given)
        return tuple(_recipient(entry) for entry in _ENTRY.findall(given) if entry.strip())
    if isinstance(given, bytes | Mapping) or not isinstance(given, Iterable):
        raise UsageError(
            f"{name} takes addresses, not {type(given).__name__}.", remedy="Write them as text, or a list."
        )
    return tuple(recipient for entry in given for recipient in recipients(entry, name))


def _recipient(text: str) -> Recipient:
    named = _NAMED.fullmatch(text)
    shown = named[1] if named else ""
    if shown.startswith('"'):
        shown = re.sub(r"\\(.)", r"\1", shown[1:-1])
    header_value(text, name="recipient")
    try:
        address = parse_address(named[2] if named else text)
    except UsageError:
        raise _no_address(text) from None
    return Recipient(address, header_value(shown, name="name of a recipient"))


def _no_address(text: str) -> UsageError:
    return UsageError(
        f"Not an e-mail address: {text.strip()[:80]!r}.",
        why="Nothing was sent.",
        remedy="Write it as ann@example.com, or Ann <ann@example.com>.",
    )


# -- files -----------------------------------------------------------------------------------------------------


class FileContent(Content):
    """A file that is sent piece by piece. What changes while it is read is not sent.

    Raises `UsageError` for what is no file that can be read, now and whenever it is read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            facts = path.stat()
            if not stat.S_ISREG(facts.st_mode):
                raise UsageError(f"{path} is no file.", why="Nothing was sent.", remedy="Name a file.")
            self._facts = _same(facts)
            self._size = facts.st_size
        except (OSError, ValueError) as fault:
            raise self._unreadable(fault) from None
        self.sha256: str = ""

    def __len__(self) -> int:
        return self._size

    def hashed(self) -> FileContent:
        """Read it once for its SHA-256."""
        digest = hashlib.sha256()
        for piece in self._pieces():
            digest.update(piece)
        self.sha256 = digest.hexdigest()
        return self

    def __iter__(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for piece in self._pieces():
            digest.update(piece)
            yield piece
        if digest.hexdigest() != self.sha256:
            raise self._changed()

    def _pieces(self) -> Iterator[bytes]:
        room = self._size
        try:
            with self.path.open("rb") as file:
                if _same(os.fstat(file.fileno())) != self._facts:
                    raise self._changed()
                while piece := file.read(_PIECE):
                    room -= len(piece)
                    if room < 0:
                        raise self._changed()
                    yield piece
        except OSError as fault:
            raise self._unreadable(fault) from None
        if room:
            raise self._changed()

    def _changed(self) -> ChangedFileError:
        return ChangedFileError(
            f"{self.path} changed while it was read.",
            why="What was read of it belongs to no one file; no message was sent.",
            remedy="Wait until it is whole, and send it then.",
        )

    def _unreadable(self, fault: OSError | ValueError) -> UsageError:
        reason = getattr(fault, "strerror", None) or "that is no name of a file"
        return UsageError(f"{self.path} cannot be read: {reason}.", why="Nothing was sent.", remedy="Name a file.")


def _same(facts: os.stat_result) -> tuple[int, ...]:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to attach: its name, and its octets or an upload's id. With a `content_id` the HTML may show it."""

    name: str
    content: Content | None = None
    size: int = 0
    upload_id: str = ""
    content_type: str = ""
    content_id: str = ""

    @classmethod
    def of(cls, given: Attachable) -> NewFile:
        """A path, or `(name, octets)`. Raises `UsageError`."""
        if isinstance(given, NewFile):
            return given
        if isinstance(given, str | os.PathLike):
            path = Path(given)
            content = FileContent(path)
            return cls(_file_name(path.name), content, len(content))
        if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], bytes | bytearray):
            octets = bytes(given[1])
            return cls(_file_name(given[0]), Content(octets), len(octets))
        raise UsageError(
            f"An attachment is a path, or a name with its octets, not {type(given).__name__}.",
            remedy="Give 'report.pdf', or ('report.pdf', octets).",
        )


def _file_name(name: Any) -> str:
    checked_text("The name of an attachment", name)
    return header_value(name, name="file name")


# -- the message -----------------------------------------------------------------------------------------------


# Recipients: `ann@example.com`, `Ann <ann@example.com>`, several with commas between them, or several of these.
Recipients = str | Recipient | Iterable[str | Recipient]
# A file to attach: its path, or its name and its octets.
Attachable = str | os.PathLike[str] | tuple[str, bytes] | NewFile


class MessageFields(TypedDict, total=False):
    """What `portal.messages.send()` takes by name; the fields of a `NewMessage`, as they may be written."""

    to: Recipients | None
    cc: Recipients | None
    bcc: Recipients | None
    subject: str | None
    body: str | None
    html: str | None
    attachments: Iterable[Attachable] | None
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None
    mailbox: str | None
    signature: bool | None
    inline_as_attachments: bool
    in_reply_to: str
    references: str
    quoted: str | None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message that was not sent yet. Make one with `NewMessage.of(...)`, which checks it.

    to, cc, bcc          recipients; Bcc is in no header
    body, html           the texts; with HTML alone the portal makes a text of it
    attachments          files
    headers              (name, value), beside those that the portal writes
    mailbox              whose message it is: one's own (None), or of an owner who delegated it
    signature            whether the sender's own is added; None: where there is one
    inline_as_attachments  images inside the HTML are attached for recipients outside, rather than left out
    in_reply_to, references  the Message-IDs of what is answered, and of its conversation
    quoted               what follows the signature
    """

    to: tuple[Recipient, ...] = ()
    cc: tuple[Recipient, ...] = ()
    bcc: tuple[Recipient, ...] = ()
    subject: str = ""
    body: str | None = None
    html: str | None = None
    attachments: tuple[NewFile, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    mailbox: str | None = None
    signature: bool | None = None
    inline_as_attachments: bool = False
    in_reply_to: str = ""
    references: str = ""
    quoted: str | None = None

    @classmethod
    def of(cls, **given: Unpack[MessageFields]) -> NewMessage:
        """A message as `portal.messages.send()` takes it. Raises `UsageError` naming what is wrong."""
        known = {entry.name for entry in fields(cls)}
        for name in given:
            if name not in known:
                raise UsageError(f"A message has no {name!r}.", remedy=f"Known: {', '.join(sorted(known))}.")
        values: dict[str, Any] = {**given, **{name: recipients(given.get(name), name) for name in ("to", "cc", "bcc")}}
        for name in ("body", "html", "quoted", "mailbox", "subject", "in_reply_to", "references"):
            if values.get(name) is not None:
                checked_text(name, values[name])
        for name in ("subject", "in_reply_to", "references"):
            values[name] = header_value(values.get(name) or "", name=name)
        if len(values["subject"]) > limits.SUBJECT:
            raise UsageError(f"The subject has more than {limits.SUBJECT:,} characters.", remedy="Shorten it.")
        if values.get("mailbox") is not None:
            values["mailbox"] = parse_address(values["mailbox"])
        values["attachments"] = _attachments(given.get("attachments"))
        values["headers"] = _headers(given.get("headers"))
        return cls(**values)

    @property
    def everyone(self) -> tuple[Recipient, ...]:
        """All recipients: To, Cc, Bcc."""
        return (*self.to, *self.cc, *self.bcc)

    def check(self) -> None:
        """Raise `UsageError` for what no portal would send."""
        if not self.everyone:
            raise UsageError("The message has no recipient.", why="Nothing was sent.", remedy="Name one with --to.")
        if len(self.everyone) > limits.RECIPIENTS:
            raise UsageError(
                f"{len(self.everyone):,} recipients are more than the {limits.RECIPIENTS} that one message has.",
                why="Nothing was sent.",
                remedy="Send it in parts.",
            )
        size = sum(file.size for file in self.attachments)
        if size > limits.UPLOAD:
            raise UsageError(
                f"The attachments have {size / limits.MIB:,.1f} MiB together, more than {limits.UPLOAD // limits.MIB}.",
                why="Nothing was sent: no mail server takes a message of that size.",
                remedy="Send fewer or smaller files, or send them as large files.",
            )


def _attachments(given: Any) -> tuple[NewFile, ...]:
    if given is None:
        return ()
    if isinstance(given, str | bytes | os.PathLike | Mapping) or not isinstance(given, Iterable):
        raise UsageError("attachments takes several files.", remedy="Put it in a list: [path].")
    files = tuple(NewFile.of(entry) for entry in given)
    if len(files) > limits.ATTACHMENTS:
        raise UsageError(
            f"{len(files)} attachments are more than the {limits.ATTACHMENTS} that one message has.",
            remedy="Put them into an archive.",
        )
    return files


def _headers(given: Any) -> tuple[tuple[str, str], ...]:
    pairs: Sequence[Any] = [*given.items()] if isinstance(given, Mapping) else [*given] if given is not None else []
    checked = []
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise UsageError(f"A header is a name with its value, not {pair!r}.", remedy="Write it as X-Name: value.")
        name, value = pair
        checked_text("The name of a header", name)
        checked_text(f"The header {name}", value)
        if not _HEADER.fullmatch(name):
            raise UsageError(f"Not the name of a header: {name[:60]!r}.", remedy="Write it as X-Name: value.")
        if name.lower() in contract.OWN_HEADERS or name.lower().startswith(contract.OWN_HEADER_FAMILIES):
            raise UsageError(f"The header {name} is written by the portal alone.", remedy="Leave it out.")
        checked.append((name, header_value(value, name=f"header {name}")))
    if len(checked) > limits.EXTRA_HEADERS:
        raise UsageError(f"{len(checked)} headers are more than {limits.EXTRA_HEADERS}.", remedy="Leave some out.")
    return tuple(checked)


def addresses(given: Iterable[Recipient]) -> list[Address]:
    """As they travel."""
    return [Address(email_address=entry.address, displayable_name=entry.name) for entry in given]


@dataclass(frozen=True, slots=True)
class SentMessage:
    """What was sent. `id` is its id among the sent messages, "" where the portal does not tell it.

    `message_id` is the Message-ID with its `<>`, `date` that of the Date header, None where the portal does not tell
    it, `recipients` how many there are.
    `left_out` names images inside the text that recipients outside did not get (guide: they do not display there).
    """

    message_id: str
    date: datetime | None
    id: str = ""
    recipients: int = 0
    left_out: tuple[str, ...] = field(default=())


SENT_FIELDS = tuple(entry.name for entry in fields(SentMessage))
