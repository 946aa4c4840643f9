"""The seam between operations and sockets: encode by an Endpoint row, send, repeat, decode, and raise in our words."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable
from urllib.parse import parse_qsl, urlsplit

from pydantic import ValidationError

from mimeportal import limits
from mimeportal.addresses import normalise, parse_address
from mimeportal.codec import LOOK, Outgoing, Sent, answered, as_error, decoded_row, encoded, unexplained, unreadable
from mimeportal.errors import (
    LostAnswerError,
    NotFoundError,
    NotOfferedError,
    RateLimitedError,
    UnavailableError,
    UsageError,
    api_error,
)
from mimeportal.retry import ONCE, Policy, Tried, may_repeat, retry_after
from mimeportal.wire import (
    REQUEST_ID,
    Api,
    Content,
    Endpoint,
    Envelope,
    Failure,
    Item,
    JsonObject,
    Page,
    Request,
    Response,
    Row,
)

RowT = TypeVar("RowT", bound=Row)

# One line per request, at the level DEBUG: which operation, under which id, what came of it. No path, no content.
_log = logging.getLogger("mimeportal")

_SENTENCE = {
    "api1": "Mimecast's API 1.0 has no such operation",
    "api2": "Mimecast's API 2.0 has no such operation",
    "local": "a local portal has no such operation",
}


class Transport(Protocol):
    """A way to a portal. `send` sends once; it may raise `UnavailableError` where nothing was sent, with
    `retryable` for what passes, and `LostAnswerError` once octets were. So may the body of its answer.
    """

    api: Api
    url: str
    user: str | None
    parallel: int  # how many requests at once are of any use

    def send(self, request: Request) -> Response: ...

    def close(self) -> str | None:
        """End; a sentence about what is still under way, if anything is."""
        ...


@runtime_checkable
class Remote(Transport, Protocol):
    """A way over a network: calls are authorised, counted against a quota, and repeated."""

    policy: Policy

    def renew(self, request: Outgoing, status: int, code: str) -> bool:
        """After the log-in of a request was refused: whether it has another chance with a fresh one."""
        ...

    def suspicion(self, request: Outgoing, response: Response) -> str:
        """A sentence about what may be behind a refused log-in, "" without any."""
        ...

    def fetch(self, url: str) -> Response:
        """Octets from another address, without credentials."""
        ...


@contextmanager
def no_such(object: str, *, remedy: str = "") -> Iterator[None]:
    """The portal answers alike whether an id is none, or somebody else's: the words are ours."""
    try:
        yield
    except NotFoundError as fault:
        if fault.code != "xdk_failure":
            raise
        raise NotFoundError(
            f"No such {object}.",
            code=fault.code,
            field=fault.field,
            status=fault.status,
            request_id=fault.request_id,
            key=fault.key,
            remedy=remedy or fault.remedy,
        ) from None


@dataclass(frozen=True, slots=True)
class Answer(Generic[RowT]):
    """What one call brought: rows that were done, failures of single items, the page, the request id."""

    rows: list[RowT]
    failures: list[Failure]
    page: Page | None
    request_id: str


class Session:
    """Calls operations over a transport. One per `Portal`; safe to use from several threads.

    `logging_in` is for the transport itself: however a portal is restricted, it can be logged in to.
    """

    def __init__(self, transport: Transport, *, logging_in: bool = False) -> None:
        self.transport = transport
        self._logging_in = logging_in
        self._remote = transport if isinstance(transport, Remote) else None
        self._policy = self._remote.policy if self._remote else ONCE

    @property
    def api(self) -> Api:
        return self.transport.api

    @property
    def is_person(self) -> bool:
        """A person's own log-in, or an app that acts for the account."""
        embedded = self.transport.api == "local"
        return bool(getattr(self.transport, "is_person", embedded))

    def mailbox_of(self, named: str | None) -> str | None:
        """Whose mailbox is asked for; None is the caller's own. An app has none, and takes `MIMEPORTAL_USER` for it
        (promises B.1).

        Raises `UsageError` for what is no address, and where it is not said whose.
        """
        if named is not None:
            from mimeportal.holds.hold import checked_text

            checked_text("mailbox", named)
            return parse_address(named)
        if self.is_person:
            return None
        if not self.transport.user:
            raise UsageError(
                "Whose mailbox? An app has none of its own.",
                remedy="Name it with --mailbox ADDRESS or MIMEPORTAL_USER.",
            )
        return normalise(self.transport.user)

    def offers(self, endpoint: Endpoint[Any, Any]) -> bool:
        return self.api in endpoint.offered or (self._logging_in and not endpoint.authorised)

    def require(self, endpoint: Endpoint[Any, Any], doing: str = "") -> None:
        """Raise `NotOfferedError` unless this portal offers the operation."""
        if not self.offers(endpoint):
            raise not_offered(doing or endpoint.name, self.api)

    def call(
        self,
        endpoint: Endpoint[Any, RowT],
        items: Sequence[Item] = (),
        *,
        page_size: int | None = None,
        page_token: str | None = None,
        headers: Mapping[str, str] | None = None,
        content: Content | None = None,
    ) -> Answer[RowT]:
        """One call, repeated where its row allows. Failures of single items are in the answer; a request that
        failed whole raises. `content` is the body of an operation that takes octets.

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
        sent = self._ask(endpoint, lambda: encoded(endpoint, written, page_size, page_token, headers, content))
        envelope = self._checked(endpoint, sent)
        try:
            rows = [decoded_row(endpoint, row) for row in envelope.rows]
        except (ValidationError, RecursionError):
            raise unreadable(endpoint, sent.request_id, "a field is not as documented") from None
        return Answer(rows, envelope.failures, envelope.page, sent.request_id)

    def one(
        self,
        endpoint: Endpoint[Any, RowT],
        item: Item,
        *,
        headers: Mapping[str, str] | None = None,
        content: Content | None = None,
    ) -> RowT:
        """Call with one item that must succeed; its failure is raised as the exception that fits."""
        answer = self.call(endpoint, [item], headers=headers, content=content)
        for failure in answer.failures:
            raise as_error(failure, request_id=answer.request_id)
        if not answer.rows:
            raise api_error("not_found", "there is no such object.", request_id=answer.request_id)
        return answer.rows[0]

    def stream(
        self, endpoint: Endpoint[Any, RowT], item: Item, *, start: int = 0, most: int | None = None
    ) -> Iterator[bytes]:
        """Call an operation that answers with octets, or with a URL to fetch them from, and give them in pieces.

        `start` leaves out what comes before it; `most` is how many octets there may be (None: `limits.FILE`).
        """
        part = {"range": f"bytes={start}-"} if start else None
        sent, envelope = self._octets(endpoint, item, part)
        if envelope is None:
            return _bounded(_from(start, sent.response), most)
        urls = envelope.rows[0].get("urls") if envelope.rows else None
        if not isinstance(urls, list) or not urls or not isinstance(urls[0], str) or self._remote is None:
            raise api_error("", "no octets came, and no address to fetch them from", request_id=sent.request_id)
        return self._fetched(endpoint, urls[0], self._remote)

    def file(self, endpoint: Endpoint[Any, RowT], item: Item) -> tuple[Mapping[str, str], Iterator[bytes]]:
        """Call an operation that answers with octets; the headers of its answer, and the octets in pieces."""
        sent, envelope = self._octets(endpoint, item)
        if envelope is not None:
            raise api_error("", "no octets came", request_id=sent.request_id)
        return sent.response.headers, _bounded(sent.response.body)

    def download(self, endpoint: Endpoint[Any, RowT], url: str) -> Iterator[bytes]:
        """Octets from a URL that an operation told; `endpoint` is where URLs of a local portal lead."""
        self.require(endpoint)
        if self._remote is not None:
            return self._fetched(endpoint, url, self._remote)
        query = dict(parse_qsl(urlsplit(url).query))
        return self.stream(endpoint, endpoint.item.model_validate(query))

    def _octets(
        self, endpoint: Endpoint[Any, RowT], item: Item, headers: Mapping[str, str] | None = None
    ) -> tuple[Sent, Envelope | None]:
        """What came: octets, or an envelope without failures."""
        self.require(endpoint)
        sent = self._ask(endpoint, lambda: encoded(endpoint, [item.to_json()], headers=headers))
        if sent.envelope is None and sent.fault is None:
            return sent, None
        envelope = self._checked(endpoint, sent)
        for failure in envelope.failures:
            raise as_error(failure, status=envelope.status, request_id=sent.request_id)
        return sent, envelope

    def _fetched(self, endpoint: Endpoint[Any, Any], url: str, remote: Remote) -> Iterator[bytes]:
        from mimeportal import regions

        regions.check_download(url, remote.url)
        there: Endpoint[Item, Row] = Endpoint(
            endpoint.name, "", Item, Row, {}, method="GET", authorised=False, form="query", answer="bytes"
        )
        sent = self._ask(there, lambda: encoded(there, []), send=lambda _request: remote.fetch(url))
        if sent.envelope is not None or sent.fault is not None:
            self._checked(there, sent)
        return _bounded(sent.response.body)

    def document(self, endpoint: Endpoint[Any, Any], request: Callable[[], Outgoing]) -> JsonObject:
        """Call a function that no row describes; its answer as it came. Raises as `call` does."""
        sent = self._ask(endpoint, request)
        self._checked(endpoint, sent)
        document: JsonObject = json.loads(sent.octets or b"{}")
        return document

    # -- sending: the one place where calls are repeated ---------------------------------------------------------

    def _ask(
        self,
        endpoint: Endpoint[Any, Any],
        request: Callable[[], Outgoing],
        send: Callable[[Outgoing], Response] | None = None,
    ) -> Sent:
        """Send a request, anew for each attempt: signed requests are taken once."""
        renewed = False
        attempt = 1
        while True:
            begun = time.monotonic()
            sent = self._once(endpoint, request(), send or self.transport.send)
            _log.debug(
                "%s: %s in %.0f ms, attempt %d, request %s",
                endpoint.name,
                sent.tried.status or (sent.fault.code if sent.fault else "") or "no answer",
                (time.monotonic() - begun) * 1000,
                attempt,
                sent.request_id,
            )
            if self._remote and not renewed and sent.tried.status in (401, 418) and sent.request.login:
                code = sent.envelope.failures[0].code if sent.envelope and sent.envelope.failures else ""
                if self._remote.renew(sent.request, sent.tried.status or 0, code):
                    renewed = True
                    continue
            if attempt >= self._policy.attempts or not may_repeat(endpoint.repeat, sent.tried):
                return sent
            if sent.tried.status != 429 or not endpoint.authorised:  # else the budget makes us wait
                wait = retry_after(sent.response.headers, datetime.now(UTC))
                if wait is not None and wait > limits.RATE_WAIT:
                    return sent
                self._policy.pause(attempt, wait)
            attempt += 1

    def _once(self, endpoint: Endpoint[Any, Any], request: Outgoing, send: Callable[[Outgoing], Response]) -> Sent:
        # Who logs in is counted apart from those who did.
        budget = self._policy.budget(endpoint.path) if self._remote and endpoint.authorised else None
        begun = budget.acquire() if budget else 0.0
        response: Response | None = None
        try:
            response = send(request)
            return answered(endpoint, request, response)
        except LostAnswerError as fault:
            # The id that we gave the request is what a portal remembers of it, answer or not.
            fault.request_id = request.headers[REQUEST_ID]
            return Sent(Tried(), request, fault)
        except UnavailableError as fault:
            return Sent(Tried(sent=False, retryable=fault.retryable), request, fault)
        finally:
            if budget and response:
                budget.landed(begun, response.status, response.headers)
            elif budget:
                budget.landed(begun)

    def _checked(self, endpoint: Endpoint[Any, Any], sent: Sent) -> Envelope:
        """The envelope of what was done; raises where the request failed whole."""
        if sent.fault is not None:
            if endpoint.repeat == "safe" and sent.fault.remedy == LOOK:
                sent.fault.remedy = "Try again later: nothing was changed."
            raise sent.fault
        envelope, status = sent.envelope or Envelope(sent.response.status, [], []), sent.response.status
        if sent.tried.in_doubt and endpoint.repeat != "safe":
            # Something broke on the way: what was asked may have been done before that.
            told = envelope.failures[0] if envelope.failures else Failure("")
            raise LostAnswerError(
                f"The portal, or what stands before it, failed: {told.message or f'HTTP {status}.'}",
                code=told.code,
                status=status,
                request_id=sent.request_id,
                remedy=LOOK,
            )
        reads = endpoint.repeat == "safe" and endpoint.answer == "rows"
        # A list of which a part failed is not that list, whatever its failures name (mimecast-api-core 1.4).
        whole = [failure for failure in envelope.failures if reads or failure.key is None]
        if envelope.rows and status < 400 and endpoint.repeat != "safe":
            # Something was done: what these failures mean, they mean for items that no row names.
            whole = []
        if whole or status >= 400:
            failure = (whole or envelope.failures or [Failure("", unexplained(sent.response))])[0]
            error = as_error(failure, status=status, request_id=sent.request_id)
            if isinstance(error, RateLimitedError):
                error.retry_after = retry_after(sent.response.headers, datetime.now(UTC))
            if self._remote and status in (401, 418):
                error.why = f"{self._remote.suspicion(sent.request, sent.response)} {error.why}".strip()
            raise error
        return envelope


def _from(start: int, response: Response) -> Iterator[bytes]:
    """The octets from `start` on, also where all of them came."""
    left = 0 if response.status == 206 else start
    for piece in response.body:
        if len(piece) > left:
            yield piece[left:]
        left = max(0, left - len(piece))


def _bounded(body: Iterator[bytes], most: int | None = None) -> Iterator[bytes]:
    """A file in pieces; one without an end fills no disk."""
    allowed = limits.FILE if most is None else most
    room = allowed
    for piece in body:
        room -= len(piece)
        if room < 0:
            raise LostAnswerError(
                f"The file is longer than {allowed} octets; it was not read to its end.",
                code="err_file_too_long",
                why="No file of a portal is that long.",
                remedy="Look at the message in the portal itself.",
            )
        yield piece


def not_offered(doing: str, api: Api) -> NotOfferedError:
    """The one sentence for what a portal does not offer."""
    return NotOfferedError(
        f"This portal does not offer {doing}.",
        why=f"{_SENTENCE[api]}; nothing was sent.",
        remedy="See what each portal offers: `mimeportal account capabilities`.",
    )


def _inside(items: Iterable[Item], name: str) -> int:
    return sum(len(getattr(item, name)) for item in items)
