"""Mimecast's SIEM events: batch files of API 2.0 and the log files of 1.0, streamed (mimecast-api-portal 6.3)."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from mimeportal import days as calendar
from mimeportal.errors import ApiError, LostAnswerError
from mimeportal.paging import Tokens
from mimeportal.reports import contract
from mimeportal.transport import Session, not_offered
from mimeportal.wire import read_json

Event = dict[str, Any]

KINDS = ("receipt", "process", "delivery")  # the mail flow, of all kinds of events
EVENTS = ("processed", "held", "rejected", "delivered", "bounced")

_LINES = 1 << 18  # octets of events that are read at once


@dataclass(frozen=True, slots=True)
class Batch:
    """Some events of one kind; `resume` takes up the list of files where these came from, "" at its start."""

    events: list[Event] = field(hash=False)
    resume: str


def batches(session: Session, kind: str, since: datetime, until: datetime, *, resume: str = "") -> Iterator[Batch]:
    """The events of one kind in a time, as they come; a file may hold others too, of which none is given.

    `resume` is of an earlier batch: what came before the file it is of is left out. Raises `NotOfferedError` where
    there are no such events, `LostAnswerError` for a file that ends too early.
    """
    if session.offers(contract.SIEM_BATCH) and session.api != "api1":
        yield from _files(session, kind, since, until, resume)
    elif session.offers(contract.SIEM_LOGS):
        yield from _logs(session, kind, resume)
    else:
        raise not_offered("SIEM events", session.api)


def _files(session: Session, kind: str, since: datetime, until: datetime, resume: str) -> Iterator[Batch]:
    last = min((until - timedelta(milliseconds=1)).astimezone(UTC).date() + timedelta(1), datetime.now(UTC).date())
    start = since.astimezone(UTC).date()
    tokens = Tokens()
    while True:
        item = contract.SiemBatchItem(
            type=kind,
            date_range_starts_at=start.isoformat(),
            date_range_ends_at=max(start, last).isoformat(),
            page_size=_PAGE,
            next_page=resume or None,
        )
        page = session.one(contract.SIEM_BATCH, item)
        for file in page.value:
            for events in read_file(session.download(contract.SIEM_FILE, file.url)):
                yield Batch(events, resume)
        if page.is_caught_up or not page.next_page:
            return
        resume = tokens.follow(page.next_page)


_PAGE = 100


def read_file(pieces: Iterable[bytes]) -> Iterator[list[Event]]:
    """The events of a gzip file with one JSON object a line."""
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    waiting = bytearray()
    try:
        for piece in pieces:
            data = piece
            while data:
                waiting += inflater.decompress(data, _LINES)
                data = inflater.unconsumed_tail
                if inflater.eof and inflater.unused_data:  # files are joined as they are
                    data, inflater = inflater.unused_data, zlib.decompressobj(zlib.MAX_WBITS | 16)
                if len(waiting) >= _LINES:
                    end = waiting.rfind(b"\n") + 1
                    if end:
                        yield _lines(waiting[:end])
                        del waiting[:end]
    except zlib.error as fault:
        raise _broken(f"it is no gzip file ({fault})") from None
    if not inflater.eof:
        raise LostAnswerError(
            "A file of SIEM events ended too early.", code="err_file_cut", remedy="Try again: files are fetched anew."
        )
    if waiting.strip():
        yield _lines(waiting)


def _lines(octets: bytes | bytearray) -> list[Event]:
    lines = [line for line in octets.split(b"\n") if line.strip()]
    try:
        # One array is read in a fraction of the time that its lines take one by one.
        found = read_json(b"[" + b",".join(lines) + b"]")
    except ValueError:
        raise _broken("a line of it is no JSON") from None
    if len(found) != len(lines) or not all(isinstance(event, dict) for event in found):
        raise _broken("a line of it is no JSON object")
    return list(found)


def _broken(problem: str) -> ApiError:
    return ApiError(
        f"A file of SIEM events cannot be read: {problem}.",
        code="err_answer_unreadable",
        remedy="Try again; if it stays so, tell the portal's operator.",
    )


# -- API 1.0 ---------------------------------------------------------------------------------------------------------


def _logs(session: Session, kind: str, resume: str) -> Iterator[Batch]:
    """Log files one after the other, each told by the token of the one before."""
    tokens = Tokens()
    while True:
        item = contract.SiemLogsItem(type="MTA", file_format="key_value", compress=False, token=resume or None)
        headers, pieces = session.file(contract.SIEM_LOGS, item)
        if "json" in headers.get("content-type", ""):  # nothing is left
            return
        octets = b"".join(pieces)
        name = headers.get("content-disposition", "").lower()
        if kind in name:
            yield Batch(list(_pairs(octets, kind)), resume)
        following = headers.get("mc-siem-token", "")
        if not following:
            return
        resume = tokens.follow(following)


_NAMES = {
    "Dir": "direction",
    "Act": "action",
    "Rcpt": "recipients",
    "Sender": "senderEnvelope",
    "headerFrom": "senderHeader",
    "Subject": "subject",
    "MsgId": "messageId",
    "Delivered": "delivered",
    "RejType": "rejectionType",
    "RejInfo": "rejectionInfo",
    "Hld": "holdReason",
    "IP": "senderIp",
    "acc": "accountId",
    "aCode": "aggregateId",
}


def _pairs(octets: bytes, kind: str) -> Iterator[Event]:
    """Lines of `key=value`, with `|` between, in the names of API 2.0."""
    for line in octets.decode("utf-8", "replace").splitlines():
        pairs = dict(pair.partition("=")[::2] for pair in line.split("|") if "=" in pair)
        if not pairs:
            continue
        event: Event = {_NAMES.get(name, name): value for name, value in pairs.items()}
        event["type"] = kind
        try:
            event["timestamp"] = int(datetime.fromisoformat(pairs["datetime"]).timestamp() * 1000)
        except (KeyError, ValueError):
            raise _broken("a line of it has no date") from None
        yield event


# -- what they tell of the flow of mail ------------------------------------------------------------------------------


# (quarter of an hour since 1970, direction, one of EVENTS) -> how many recipients
Flow = Counter[tuple[int, str, str]]


def flow(kind: str, events: Iterable[Mapping[str, Any]], since: datetime, until: datetime) -> Flow:
    """What events of a time tell of the flow of mail; each recipient of an event counts."""
    start, end = int(since.timestamp() * 1000), int(until.timestamp() * 1000)
    found: Flow = Counter()
    for told in events:
        at = int(told.get("timestamp") or 0)
        if start <= at < end:
            recipients = str(told.get("recipients") or "").count("@") or 1
            for name in _named(kind, told):
                found[at // _QUARTER, str(told.get("direction")), name] += recipients
    return found


def day_of(quarter: int, zone: tzinfo) -> date:
    """The day of a quarter of an hour."""
    return calendar.day_of(datetime.fromtimestamp(quarter * _QUARTER / 1000, UTC), zone)


_QUARTER = 900_000  # milliseconds; midnights of every zone lie on one


def _named(kind: str, told: Mapping[str, Any]) -> tuple[str, ...]:
    action = str(told.get("action") or "").lower()
    if kind == "receipt":
        return ("rejected",) if action == "rej" else ()
    if kind == "process":
        return ("processed", "held") if action == "hld" else ("processed",)
    return ("delivered",) if str(told.get("delivered")).lower() == "true" else ("bounced",)
