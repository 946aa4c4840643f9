"""What travels between client and portal: the envelope, its failures and pages, dates, and `Endpoint`.

One `Endpoint` row declares one operation. Client, server routes, capability table and docs are read off
the rows in each noun's `contract.py`; nothing about an operation is written down a second time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mimeportal import limits
from mimeportal.errors import ApiError, UsageError

Api = Literal["api1", "api2", "local"]
# Which way a message goes, seen from the account.
Route = Literal["inbound", "outbound", "internal", "external"]
ROUTES: tuple[Route, ...] = get_args(Route)
JsonObject = dict[str, Any]

REQUEST_ID = "x-mc-req-id"  # the header in which a client names its request (mimecast-api-core 2.1)
ARGUMENT = "x-mc-arg"  # the header that says what a body of octets is (mimecast-api-portal 3.2)


class WireModel(BaseModel):
    """A model of the wire: camelCase in JSON, snake_case in Python; unknown fields are kept, not lost."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="allow", defer_build=True, frozen=True
    )

    def to_json(self) -> JsonObject:
        """The JSON object that travels: aliases, and nothing for what was left unset."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class Item(WireModel):
    """One request item."""


class Row(WireModel):
    """One answer row."""


class Address(WireModel):
    """An address as Mimecast writes it: `{"emailAddress", "displayableName"}`."""

    email_address: str = ""
    displayable_name: str = ""


class HeaderRow(Row):
    """One header field: its name and each of its values."""

    name: str
    values: list[str] = []


class AttachmentRow(Row):
    """One attachment of a message; `id` fetches it."""

    id: str
    filename: str = ""
    size: int = 0
    extension: str = ""
    content_type: str = ""
    content_id: str = ""
    sha256: str = ""
    body_type: int | None = None


class DetailRow(Row):
    """What a message says of itself, held or archived (mimecast-api-core 6.9, mimecast-api-portal 2.2).

    `textBody`, `htmlBody` and `notes` are ours: Mimecast tells bodies elsewhere, or not at all.
    """

    id: str = ""
    status: str = ""
    smash: str = ""
    mime_message_id: str = ""
    subject: str = ""
    size: int = 0
    received: str = ""
    processed: str = ""
    header_date: str = ""
    has_html_body: bool = False
    has_text_body: bool = False
    is_passthrough: bool = False
    envelope_from: Address = Field(default_factory=Address)
    from_: Address = Field(default_factory=Address, alias="from")
    reply_to: Address | None = None
    to: list[Address] = []
    cc: list[Address] = []
    headers: list[HeaderRow] = []
    attachments: list[AttachmentRow] = []
    text_body: str | None = None
    html_body: str | None = None
    notes: list[str] = []


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")  # a pair of them is a character, one alone is none

ItemT = TypeVar("ItemT", bound=Item)
RowT = TypeVar("RowT", bound=Row)


@dataclass(frozen=True, slots=True)
class Offer:
    """That one API offers an operation: with which role permission (the API's own words)."""

    permission: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[ItemT, RowT]):
    """One operation of the portals.

    name        `noun.operation`, the name in client, server, docs and fault scripts
    path        path template; the first part of it decides nothing, the whole path is the route
    item, row   models of one request item and one answer row
    offered     per API (`api1`, `api2`, `local`): the `Offer`; an absent key means not offered there
    method      HTTP method
    host        `regional`, or `global` for what Mimecast serves from one place for all regions
    authorised  whether the call carries the caller's credentials
    form        how a request is written: `envelope` (`{"meta", "data"}`), `json` (the one item by itself), `query`,
                `form`, `text`, or `bytes`: a body of octets, whose item travels in the header `ARGUMENT`
    answer      `rows` of an envelope, the `bytes` of a file (API 2.0: rows with URLs, where they are fetched),
                or a bare `object`
    rows_at     None: the rows are `data` itself; a name: they are `data[0].NAME`
    count       least and greatest number of what is counted in one call
    counted     what `count` counts: None for the items, else the name of a list inside the item
    paging      `token` (meta.pagination), `next_page` (query), or None
    repeat      may a call be repeated after a lost answer: `safe` (it only reads), `keyed` (the portal knows
                a repeat by its key), `look` (only after `look` has shown that nothing was done), `never`
    look        the operation that shows what became of a `look` operation
    bytes_in    for byte and form bodies: the most octets a body may have
    outsiders   whether people outside, who only have secure messages here, may call it
    """

    name: str
    path: str
    item: type[ItemT]
    row: type[RowT]
    offered: Mapping[Api, Offer]
    method: str = "POST"
    host: Literal["regional", "global"] = "regional"
    authorised: bool = True
    form: Literal["envelope", "json", "query", "form", "bytes", "text"] = "envelope"
    answer: Literal["rows", "bytes", "object"] = "rows"
    rows_at: str | None = None
    count: tuple[int, int] = (1, 1)
    counted: str | None = None
    paging: Literal["token", "next_page"] | None = None
    repeat: Literal["safe", "keyed", "look", "never"] = "safe"
    look: str | None = None
    bytes_in: int = limits.JSON_BODY
    outsiders: bool = False

    @property
    def noun(self) -> str:
        return self.name.partition(".")[0]


class Content:
    """Octets that are sent: how many, and piece by piece, from the first one each time."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def __len__(self) -> int:
        return len(self._octets)

    def __iter__(self) -> Iterator[bytes]:
        yield self._octets


@dataclass(slots=True)
class Request:
    """One HTTP-shaped request, whatever door it goes through; header names are in small letters.

    `peer` is the network address that it came from, "" inside a process; `secure` whether nobody between could
    read it: TLS, or loopback.
    """

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: Iterable[bytes] = ()
    query: str = ""
    peer: str = ""
    secure: bool = True


@dataclass(slots=True)
class Response:
    """One HTTP-shaped answer; `body` may be long and is read once.

    A portal's own doors also tell, for their log, the `operation` that answered, the number of the `caller`, and
    how many `items` the operation was called with; its pages the `cookies` to set.
    """

    status: int
    headers: dict[str, str]
    body: Iterator[bytes]
    operation: str = ""
    caller: int = 0
    items: int = 0
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """One entry of `fail`. `key` echoes the request item it belongs to, None for the request as a whole."""

    code: str
    message: str = ""
    field: str | None = None
    retryable: bool = False
    key: Any = None

    def to_json(self, *, flat: bool = False) -> JsonObject:
        """As functions tell it, or `flat` as the gateway of API 2.0 does (mimecast-api-core 5.4)."""
        if flat:
            return {"code": self.code, "message": self.message}
        error: JsonObject = {"code": self.code, "message": self.message, "retryable": self.retryable}
        if self.field is not None:
            error["field"] = self.field
        return {"errors": [error]} if self.key is None else {"key": self.key, "errors": [error]}


@dataclass(frozen=True, slots=True)
class Page:
    """The paging block of an answer. `size` is the number of rows on this page."""

    size: int
    total_count: int | None = None
    next: str | None = None
    previous: str | None = None

    def to_json(self) -> JsonObject:
        # An absent `next` is the only sign of the last page: null would send clients round for ever.
        block: JsonObject = {"pageSize": self.size}
        for key, value in (("totalCount", self.total_count), ("next", self.next), ("previous", self.previous)):
            if value is not None:
                block[key] = value
        return block


@dataclass(frozen=True, slots=True)
class Envelope:
    """One decoded answer."""

    status: int
    rows: list[JsonObject]
    failures: list[Failure]
    page: Page | None = None


def encode_request(
    items: Iterable[JsonObject], *, page_size: int | None = None, page_token: str | None = None
) -> bytes:
    """The body of an envelope request (mimecast-api-core 1.2)."""
    body: JsonObject = {"data": list(items)}
    paging = {key: value for key, value in (("pageSize", page_size), ("pageToken", page_token)) if value is not None}
    if paging:
        body = {"meta": {"pagination": paging}, **body}
    return json.dumps(body, separators=(",", ":")).encode()


def encode_answer(
    rows: list[JsonObject],
    failures: Iterable[Failure] = (),
    *,
    status: int = 200,
    page: Page | None = None,
    rows_at: str | None = None,
    beside: Mapping[str, Any] | None = None,
) -> bytes:
    """The body of an envelope answer (mimecast-api-core 1.3): `data` and `fail` are always there.

    `beside` are facts of the whole answer, told beside rows that have a name.
    """
    meta: JsonObject = {"status": status}
    if page is not None:
        meta["pagination"] = page.to_json()
    data: list[Any] = [{rows_at: rows, **(beside or {})}] if rows_at is not None else rows
    fail = [failure.to_json() for failure in failures]
    return json.dumps({"meta": meta, "data": data, "fail": fail}, separators=(",", ":")).encode()


def encode_flat(failure: Failure) -> bytes:
    """What API 2.0's gateway answers in place of an envelope (mimecast-api-core 5.4)."""
    return json.dumps({"fail": [failure.to_json(flat=True)]}, separators=(",", ":")).encode()


def decode_answer(body: bytes, *, status: int, rows_at: str | None = None, bare: bool = False) -> Envelope:
    """Read an answer leniently: both shapes of `fail` (mimecast-api-core 1.4, 5.4), rows flat or named.

    A `bare` object need not be an envelope. Raises `ValueError` when the body is no JSON object, or an envelope
    whose rows, status or page token are none: what cannot be read must not pass for an empty list.
    """
    document = read_json(body)
    if not isinstance(document, dict):
        raise ValueError("the answer is not a JSON object")
    failures = list(_failures(document.get("fail")))
    rows = document.get("data") or []
    if bare:
        return Envelope(
            status, [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else [], failures
        )
    meta = document.get("meta")
    if not failures and status < 400 and not isinstance(meta, dict) and "data" not in document:
        raise ValueError("the answer is no envelope")
    meta = meta if isinstance(meta, dict) else {}
    if rows_at is not None and rows and isinstance(rows, list) and isinstance(rows[0], dict):
        rows = rows[0].get(rows_at, rows)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("the rows of the answer are none")
    block = meta.get("pagination")
    page = None
    if isinstance(block, dict):
        total = block.get("totalCount")
        page = Page(
            len(rows), total if isinstance(total, int) else None, _token(block.get("next")), block.get("previous")
        )
    told = meta.get("status") or status
    if isinstance(told, float):
        raise ValueError("the status of the answer is none")
    return Envelope(int(told), rows, failures, page)


def read_json(body: bytes) -> Any:
    """JSON as text that can be written again: lone surrogates become U+FFFD (promises D.4). Raises `ValueError`."""
    try:
        document = json.loads(body)
        # Two plain searches, which mostly find nothing, take a tenth of the time of the pattern.
        if (b"\\u" in body or b"\xed" in body) and _SURROGATE.search(body):
            text = json.dumps(document, ensure_ascii=False)
            document = json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    except RecursionError:
        raise ValueError("the answer nests too deep") from None
    return document


def _token(given: Any) -> str | None:
    """The token of the next page; an empty one is none."""
    if given and not isinstance(given, str | int):
        raise ValueError("the page token of the answer is none")
    return str(given) if given else None


def _failures(fail: Any) -> Iterator[Failure]:
    if not fail:
        return
    for entry in fail if isinstance(fail, list) else [fail]:
        if not isinstance(entry, dict):
            yield Failure("", str(entry))
            continue
        errors = entry.get("errors") or [entry]
        for error in errors if isinstance(errors, list) else [errors]:
            if not isinstance(error, dict):
                yield Failure("", str(error), key=entry.get("key"))
                continue
            yield Failure(
                str(error.get("code") or ""),
                str(error.get("message") or ""),
                error.get("field"),
                bool(error.get("retryable")),
                entry.get("key"),
            )


def without_nulls(value: Any) -> Any:
    """JSON whose objects have no null in them: an explicit null means the same as nothing."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def format_date(moment: datetime) -> str:
    """A date as Mimecast writes it: `2022-08-01T13:10:54+0000` (mimecast-api-core 1.6)."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")[:-6] + "+0000"


def parse_date(text: str) -> datetime:
    """Read `+0000`, `+00:00`, `Z` and naive dates (taken as UTC); the result is aware, in UTC.

    Raises `UsageError` naming the text.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, AttributeError, OverflowError):
        raise UsageError(f"Not a date: {text!r}.", remedy="Write it as 2026-11-03T09:30:00+0000 (ISO 8601).") from None


def told_date(text: str) -> datetime:
    """A date that a portal tells. Raises `ApiError` for what is none: that is not the caller's mistake."""
    try:
        return parse_date(text)
    except UsageError:
        raise ApiError(
            f"The portal names what is no date: {text[:40]!r}.",
            code="err_answer_unknown",
            remedy="Tell the portal's operator; `mimeportal api PATH` shows the answer as it is.",
        ) from None
