"""One message with its envelope, on its way in, and what became of it for each recipient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mimeportal.addresses import normalise
from mimeportal_server.mail import Summary, summary_and_words
from mimeportal_server.people import Caller
from mimeportal_server.settings import HoldRule

FULL = "the mailbox is full"
NOT_FOR_ALL = "the mailbox of another is full"


@dataclass(frozen=True, slots=True)
class Origin:
    """The server that brought a message: its address, the name it gave itself, and whether it came over TLS."""

    ip: str = ""
    host: str = ""
    encrypted: bool = False


@dataclass(slots=True)
class Incoming:
    """One message with its envelope. `recipients` are (person id, address).

    `source` is where an import found it (path, position); `hold` skips screening; `again` imports anew. `by` is
    the person who submitted it, logged in; then `outside` are recipients that are none of the portal's people.
    `bounce_tokens` are of the return paths among its recipients' addresses: a report of a bounce counts there alone.
    `whole`: it is taken for all of its recipients or refused for all, as SMTP has one reply for them. `text` is that
    of its body, by which search finds it.

    What was composed here also says by whom for its owner (`actor`), where each recipient was `named`, what
    recipients outside get where that differs (`outside_octets`), and at whose return path of ours a bounce of it
    counts (`bounces_to`). Once it is stored, `blob` and `outside_blob` are the names of its octets; once it is taken,
    `number` is that of its row, and `return_path` is known: a secret, which only the outbox keeps. `vouched`: the
    portal knows who wrote it. `admitted`: room for it was found before. `secure` are recipients for whom it waits in
    the secure portal.
    """

    octets: bytes
    summary: Summary
    envelope_from: str
    recipients: Sequence[tuple[int, str]]
    received: int
    route: str | None = None
    source: tuple[str, str] | None = None
    hold: HoldRule | None = None
    again: bool = False
    origin: Origin = Origin()
    by: Caller | None = None
    outside: Sequence[str] = ()
    bounce_tokens: Sequence[str] = ()
    whole: bool = False
    text: str = ""
    actor: Caller | None = None
    vouched: bool = False
    secure: Sequence[str] = ()
    named: Mapping[str, str] = field(default_factory=dict)
    outside_octets: bytes | None = None
    bounces_to: Caller | None = None
    admitted: bool = False
    return_path: str = ""
    blob: str = ""
    outside_blob: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one message for one recipient.

    `held`, `delivered`, `blocked`, `sent`, `secure` (it waits in the secure portal), `already` or `refused`.
    """

    recipient: str
    outcome: str
    reason: str
    notes: tuple[str, ...] = ()


def parse(octets: bytes, envelope_from: str | None, **envelope: Any) -> Incoming:
    """Parse octets within limits; without an envelope sender: a single Return-Path, else From (promises C.1)."""
    summary, text = summary_and_words(octets)
    if envelope_from is None:
        found = summary.return_path if summary.return_path is not None else summary.from_address
        envelope_from = found or ""
    return Incoming(octets, summary, normalise(envelope_from), text=text, **envelope)
