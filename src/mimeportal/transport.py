"""The seam between operations and sockets: encode by an Endpoint row, send, decode, and raise in our words."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import ValidationError

from mimeportal.errors import LostAnswerError, NotOfferedError, UsageError, api_error
from mimeportal.wire import (
    REQUEST_ID,
    Api,
    Endpoint,
    Envelope,
    Failure,
    Item,
    JsonObject,
    Page,
    Request,
    Response,
    Row,
    decode_answer,
    encode_request,
    without_nulls,
)

RowT = TypeVar("RowT", bound=Row)

_SENTENCE = {
    "api1": "Mimecast's API 1.0 has no such operation",
    "api2": "Mimecast's API 2.0 has no such operation",
    "local": "a local portal has no such operation",
}


class Transport(Protocol):
    """A way to a portal. `send` may raise `UnavailableError`, or `LostAnswerError` once octets were sent."""

    api: Api
    url: str
    user: str | None
    parallel: int  # how many requests at once are of any use

    def send(self, request: Request) -> Response: ...

    def close(self) -> str | None:
        """End; a sentence about what is still under way, if anything is."""
        ...


@dataclass(frozen=True, slots=True)
class Answer(Generic[RowT]):
    """What one call brought: rows that were done, failures of single items, the page, the request id."""

    rows: list[RowT]
    failures: list[Failure]
    page: Page | None
    request_id: str


class Session:
    """Calls operations over a transport. One per `Portal`; safe to use from several threads."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    @property
    def api(self) -> Api:
        return self.transport.api

    def offers(self, endpoint: Endpoint[Any, Any]) -> bool:
        return self.api in endpoint.offered

    def require(self, endpoint: Endpoint[Any, Any], doing: str = "") -> None:
        """Raise `NotOfferedError` unless this portal offers the operation."""
        if self.api not in endpoint.offered:
            raise not_offered(doing or endpoint.name, self.api)

    def call(
        self,
        endpoint: Endpoint[Any, RowT],
        items: Sequence[Item] = (),
        *,
        page_size: int | None = None,
        page_token: str | None = None,
    ) -> Answer[RowT]:
        """One call. Failures of single items are in the answer; a request that failed whole raises.

        Raises `NotOfferedError` before sending, `ApiError` and its kin after.
        """
        self.require(endpoint)
        least, most = endpoint.count
        counted = len(items) if endpoint.counted is None else _inside(items, endpoint.counted)
        if not least <= counted <= most:
            raise UsageError(f"{endpoint.name} takes {least} to {most} at once, not {counted}.")
        written = [item.to_json() for item in items]
        if least == 0:  # an operation without argument has no items, rather than empty ones
            written = [item for item in written if item]
        body = encode_request(written, page_size=page_size, page_token=page_token)
        request = _request(endpoint, body)
        try:
            response = self.transport.send(request)
            request_id = response.headers.get("x-request-id") or request.headers[REQUEST_ID]
            envelope = _decode(endpoint, response, request_id)
        except LostAnswerError as fault:
            # The id that we gave the request is what a portal remembers of it, answer or not.
            fault.request_id = request.headers[REQUEST_ID]
            raise
        if response.status in (500, 502, 504) and endpoint.repeat != "safe":
            # Something broke on the way: what was asked may have been done before that.
            raise LostAnswerError(
                f"The portal, or what stands before it, failed: HTTP {response.status}.",
                code=envelope.failures[0].code if envelope.failures else "",
                status=response.status,
                request_id=request_id,
                remedy="Look before acting again: what was asked may have been done.",
            )
        whole = [failure for failure in envelope.failures if failure.key is None]
        if envelope.rows and response.status < 400 and endpoint.repeat != "safe":
            # Something was done: what these failures mean, they mean for items that no row names.
            whole = []
        if whole or response.status >= 400:
            failure = (whole or envelope.failures or [Failure("", f"HTTP {response.status}")])[0]
            raise api_error(
                failure.code,
                failure.message,
                status=response.status,
                field=failure.field,
                retryable=failure.retryable,
                request_id=request_id,
            )
        try:
            rows = [_row(endpoint, row) for row in envelope.rows]
        except ValidationError as fault:
            raise _unreadable(endpoint, request_id, fault) from None
        return Answer(rows, envelope.failures, envelope.page, request_id)

    def one(self, endpoint: Endpoint[Any, RowT], item: Item) -> RowT:
        """Call with one item that must succeed; its failure is raised as the exception that fits."""
        answer = self.call(endpoint, [item])
        for failure in answer.failures:
            raise api_error(
                failure.code,
                failure.message,
                field=failure.field,
                retryable=failure.retryable,
                key=failure.key,
                request_id=answer.request_id,
            )
        if not answer.rows:
            raise api_error("not_found", "there is no such object.", request_id=answer.request_id)
        return answer.rows[0]

    def stream(self, endpoint: Endpoint[Any, RowT], item: Item) -> Iterator[bytes]:
        """Call an operation that answers with octets, and give them piece by piece."""
        self.require(endpoint)
        response = self.transport.send(_request(endpoint, encode_request([item.to_json()])))
        request_id = response.headers.get("x-request-id", "")
        if "json" not in response.headers.get("content-type", ""):
            if response.status >= 400:
                raise api_error("", f"HTTP {response.status}", status=response.status, request_id=request_id)
            return response.body
        envelope = _decode(endpoint, response, request_id)
        failure = envelope.failures[0] if envelope.failures else Failure("", "no octets came")
        raise api_error(failure.code, failure.message, status=response.status, request_id=request_id)


def not_offered(doing: str, api: Api) -> NotOfferedError:
    """The one sentence for what a portal does not offer."""
    return NotOfferedError(
        f"This portal does not offer {doing}.",
        why=f"{_SENTENCE[api]}; nothing was sent.",
        remedy="See which operations each portal offers in docs/operations.md.",
    )


def _request(endpoint: Endpoint[Any, RowT], body: bytes) -> Request:
    headers = {"content-type": "application/json", "accept": "application/json", REQUEST_ID: str(uuid.uuid4())}
    return Request(endpoint.method, endpoint.path, headers, [body])


def _decode(endpoint: Endpoint[Any, RowT], response: Response, request_id: str) -> Envelope:
    octets = b"".join(response.body)
    try:
        return decode_answer(octets, status=response.status, rows_at=endpoint.rows_at)
    except ValueError as fault:
        if response.status >= 400:
            return Envelope(response.status, [], [])
        raise _unreadable(endpoint, request_id, fault) from None


def _row(endpoint: Endpoint[Any, RowT], row: JsonObject) -> RowT:
    try:
        return endpoint.row.model_validate(row)
    except ValidationError:
        return endpoint.row.model_validate(without_nulls(row))


def _unreadable(endpoint: Endpoint[Any, RowT], request_id: str, fault: Exception) -> LostAnswerError:
    problem = "its JSON is broken" if isinstance(fault, json.JSONDecodeError) else "a field is not as documented"
    return LostAnswerError(
        f"The answer to {endpoint.name} could not be read: {problem}.",
        code="err_answer_unreadable",
        request_id=request_id,
        remedy="Look before acting again: what was asked may have been done.",
    )


def _inside(items: Iterable[Item], name: str) -> int:
    return sum(len(getattr(item, name)) for item in items)
