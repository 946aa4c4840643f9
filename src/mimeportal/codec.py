"""From the items of an operation to its request, and from an answer to rows or to an error: no I/O in it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

from pydantic import ValidationError

from mimeportal import limits
from mimeportal.errors import ApiError, LostAnswerError, UnavailableError, api_error
from mimeportal.retry import Tried
from mimeportal.wire import (
    ARGUMENT,
    REQUEST_ID,
    Content,
    Endpoint,
    Envelope,
    Failure,
    JsonObject,
    Request,
    Response,
    Row,
    decode_answer,
    encode_request,
    read_json,
    without_nulls,
)

RowT = TypeVar("RowT", bound=Row)


@dataclass(slots=True)
class Outgoing(Request):
    """A request with what its row says of its way; the transport notes in `login` which token or keys it got."""

    authorised: bool = True
    everywhere: bool = False  # served from one place for all regions
    login: int = 0


@dataclass(slots=True)
class Sent:
    """What came of sending a request: a fault, or an answer, decoded unless its octets are what was asked for."""

    tried: Tried
    request: Outgoing
    fault: UnavailableError | None = None
    response: Response = field(default_factory=lambda: Response(0, {}, iter(())))
    octets: bytes = b""
    envelope: Envelope | None = None

    @property
    def request_id(self) -> str:
        return self.response.headers.get("x-request-id") or self.request.headers[REQUEST_ID]


def outgoing(
    endpoint: Endpoint[Any, Any], *, body: bytes = b"", query: str = "", headers: Mapping[str, str] | None = None
) -> Outgoing:
    """A request of one operation under an id of its own."""
    own = {"accept": "application/json", REQUEST_ID: str(uuid.uuid4()), **(headers or {})}
    if endpoint.method != "GET":
        own.setdefault("content-type", "application/json")
    return Outgoing(
        endpoint.method,
        endpoint.path,
        own,
        [body] if body else [],
        query,
        authorised=endpoint.authorised,
        everywhere=endpoint.host == "global",
    )


def encoded(
    endpoint: Endpoint[Any, Any],
    items: Sequence[JsonObject],
    page_size: int | None = None,
    page_token: str | None = None,
    headers: Mapping[str, str] | None = None,
    content: Content | None = None,
) -> Outgoing:
    if content is not None:
        told = {"content-type": "application/octet-stream", ARGUMENT: encode_request(items).decode(), **(headers or {})}
        request = outgoing(endpoint, headers=told)
        request.body = content
        return request
    if endpoint.form == "form":
        form = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
        return outgoing(endpoint, body=urlencode(items[0]).encode(), headers=form)
    if endpoint.form == "query":
        return outgoing(endpoint, query=urlencode(items[0]) if items else "", headers=headers)
    if endpoint.form == "json":
        return outgoing(endpoint, body=json.dumps(items[0], separators=(",", ":")).encode(), headers=headers)
    body = encode_request(items, page_size=page_size, page_token=page_token)
    return outgoing(endpoint, body=body, headers=headers)


def answered(endpoint: Endpoint[Any, Any], request: Outgoing, response: Response) -> Sent:
    """Decode an answer, unless it is the octets that were asked for."""
    status, kind = response.status, response.headers.get("content-type", "")
    if endpoint.answer == "bytes" and status < 400 and "json" not in kind:
        return Sent(Tried(status=status), request, response=response)
    octets = _read(response.body)
    request_id = response.headers.get("x-request-id") or request.headers[REQUEST_ID]
    problem = ""
    try:
        envelope = _decoded(endpoint, octets, status)
    except (ValueError, TypeError, RecursionError) as fault:
        envelope = Envelope(status, [], [])
        broken = isinstance(fault, json.JSONDecodeError) and (not kind or "json" in kind)
        told = "no answer of a portal" if "json" in kind else kind.partition(";")[0] or "no JSON object"
        problem = "its JSON is broken" if broken else f"it is {told}"
    if endpoint.answer == "bytes" and status < 400 and not (envelope.rows or envelope.failures):
        # A file that is JSON itself.
        response.body = iter([octets])
        return Sent(Tried(status=status), request, response=response)
    if problem and status < 400:
        raise unreadable(endpoint, request_id, problem)
    whole = [failure for failure in envelope.failures if failure.key is None]
    retryable = bool(whole) and whole[0].retryable and not envelope.rows
    return Sent(Tried(status=status, retryable=retryable), request, None, response, octets, envelope)


def _decoded(endpoint: Endpoint[Any, Any], octets: bytes, status: int) -> Envelope:
    if status == 204 or (not octets and endpoint.answer == "object" and status < 400):
        return Envelope(status, [], [])
    bare = endpoint.answer == "object"
    envelope = decode_answer(octets, status=status, rows_at=endpoint.rows_at, bare=bare)
    if envelope.failures or (not bare and status < 400):
        return envelope
    document = read_json(octets)
    if status < 400:
        return Envelope(status, [document], [])
    return Envelope(status, envelope.rows, list(_other_failures(document)))


def _other_failures(document: JsonObject) -> Iterator[Failure]:
    """The shapes of API 2.0's newer functions: `errors`, and OAuth's own (mimecast-api-core 5.4)."""
    errors = document.get("errors")
    for error in errors if isinstance(errors, list) else []:
        if isinstance(error, dict):
            yield Failure(str(error.get("code") or ""), str(error.get("message") or ""), error.get("field"))
    if isinstance(document.get("error"), str):
        yield Failure(document["error"], str(document.get("error_description") or ""))


def _read(body: Iterable[bytes]) -> bytes:
    """The whole of a JSON answer, within a bound."""
    octets = bytearray()
    for piece in body:
        octets += piece
        if len(octets) > limits.ANSWER:
            raise LostAnswerError(
                f"The answer is longer than {limits.ANSWER} octets; it was not read to its end.",
                code="err_answer_too_long",
                remedy="Ask for less at once.",
            )
    return bytes(octets)


def decoded_row(endpoint: Endpoint[Any, RowT], row: JsonObject) -> RowT:
    """A row of the answer. Raises `ValidationError`, or `RecursionError` for one that nests too deep."""
    try:
        return endpoint.row.model_validate(row)
    except ValidationError:
        return endpoint.row.model_validate(without_nulls(row))


LOOK = "Look before acting again: what was asked may have been done."


def unreadable(endpoint: Endpoint[Any, Any], request_id: str, problem: str) -> LostAnswerError:
    return LostAnswerError(
        f"The answer to {endpoint.name} could not be read: {problem}.",
        code="err_answer_unreadable",
        request_id=request_id,
        remedy=LOOK if endpoint.repeat != "safe" else "Check the portal's URL, and what stands before it.",
    )


def unexplained(response: Response) -> str:
    """Words for a refusal that brought none (mimecast-api-core 5.4: also Mimecast's own 400 may be empty)."""
    if "html" in response.headers.get("content-type", ""):
        return f"HTTP {response.status} and a web page, which is no answer of a portal; a proxy may stand before it."
    if response.status == 400:
        return "HTTP 400 without a reason; the request, or an id in it, is malformed."
    return f"HTTP {response.status} without a reason."


def as_error(failure: Failure, **details: Any) -> ApiError:
    return api_error(
        failure.code, failure.message, field=failure.field, retryable=failure.retryable, key=failure.key, **details
    )
