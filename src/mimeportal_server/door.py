"""`handle(Request) -> Response`: decode by Endpoint row, call the operation, encode. Every socket ends here."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from pydantic import ValidationError

from mimeportal import limits
from mimeportal.errors import UnavailableError
from mimeportal.wire import (
    ARGUMENT,
    REQUEST_ID,
    Endpoint,
    Failure,
    JsonObject,
    Request,
    Response,
    encode_answer,
    encode_flat,
    without_nulls,
)
from mimeportal_server.people import NOBODY, Caller
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.quota import Quota
from mimeportal_server.store.database import StoreError
from mimeportal_server.tokens import InvalidToken

NOUNS = ("account", "auth", "holds", "largefiles", "messages", "reports", "secure", "senders")
Operation = Callable[[Portal, Call], Answer]

GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_endpoints: dict[tuple[str, str], Endpoint[Any, Any]] = {}
_read: set[str] = set()


def endpoint_at(method: str, path: str) -> Endpoint[Any, Any] | None:
    """The operation at a path. Contracts are imported noun by noun, as far as the search needs."""
    if (method, path) in _endpoints:
        return _endpoints[method, path]
    for noun in sorted(NOUNS, key=lambda noun: noun not in path):
        if noun not in _read:
            contract = import_module(f"mimeportal.{noun}.contract")
            _endpoints.update({(endpoint.method, endpoint.path): endpoint for endpoint in contract.ENDPOINTS})
            _read.add(noun)
            if (method, path) in _endpoints:
                return _endpoints[method, path]
    return None


def methods_at(path: str) -> list[str]:
    """The methods that a path takes; none where there is no such function."""
    endpoint_at("", path)  # reads every contract
    return sorted(method for method, known in _endpoints if known == path)


class Door:
    """One open portal, answering requests. `quota` counts the calls of each caller, where there is one."""

    def __init__(self, portal: Portal, *, quota: Quota | None = None) -> None:
        self.portal = portal
        self.quota = quota

    def handle(
        self, request: Request, caller: Caller | None = None, *, faults: frozenset[str] = frozenset()
    ) -> Response:
        """Answer a request. Never raises: whatever goes wrong is an answer in the envelope.

        `caller` is whom the door's other side knows already; else the request's own headers must show it.
        """
        answering = _Answering(self, request, self._name(request), faults)
        try:
            self.portal.follow_lab()
            response = answering.answer(caller)
        except Refused as refusal:
            response = answering.failed(refusal.failure, refusal.status, gateway=refusal.gateway)
        except StoreError as fault:
            code = "err_portal_busy" if fault.passing else "err_portal_store"
            response = answering.failed(Failure(code, fault.sentence, retryable=fault.passing), 503)
        except UnavailableError as fault:
            response = answering.failed(Failure("err_portal_full", fault.what, retryable=True), 503)
        except OSError as fault:
            sentence = f"The portal's files cannot be used: {fault.strerror or type(fault).__name__}."
            response = answering.failed(Failure("err_portal_store", sentence), 503)
        except Exception as fault:
            response = answering.failed(Failure("err_internal", defect(fault)), 500)
        return response

    def refused(self, request: Request, refusal: Refused) -> Response:
        """The answer to a request that a socket refuses before any operation sees it."""
        answering = _Answering(self, request, self._name(request), frozenset())
        return answering.failed(refusal.failure, refusal.status, gateway=refusal.gateway)

    def most_octets(self, endpoint: Endpoint[Any, Any] | None) -> int:
        """How long the body of a request may be; None is a path without an operation."""
        if endpoint is None or endpoint.form in ("envelope", "json", "query"):
            return self.portal.settings.limits["json_body"]
        return endpoint.bytes_in

    def _name(self, request: Request) -> str:
        """The id of a request: as its client named it, where that is a GUID."""
        named = request.headers.get(REQUEST_ID) or request.headers.get("x-request-id", "")
        return named if GUID.fullmatch(named) else self.portal.new_id()


class _Answering:
    """One request on its way to its answer: what is known of it so far is in the answer, whatever goes wrong."""

    def __init__(self, door: Door, request: Request, request_id: str, faults: frozenset[str]) -> None:
        self._door = door
        self._portal = door.portal
        self._quota = door.quota
        self._request = request
        self._request_id = request_id
        self._faults = faults
        self._endpoint = endpoint_at(request.method, request.path)
        self._caller = NOBODY
        self._rates: dict[str, str] = {}
        self._items = 0

    def answer(self, caller: Caller | None) -> Response:
        self._identify(caller)
        endpoint = self._endpoint
        if endpoint is None:
            raise self._no_function()
        if self._caller.outside and not endpoint.outsiders:
            raise Refused("forbidden", "People outside have secure messages here, and nothing else.", status=403)
        answer = self._call(endpoint)
        if answer.body is not None:
            headers = {**answer.headers, **self._headers("application/octet-stream")}
            headers["content-disposition"] = f'attachment; filename="{_ascii(answer.filename)}"'
            return self._response(answer.status, {**headers, **answer.headers}, answer.body)
        if answer.object is not None:
            body = json.dumps(answer.object, separators=(",", ":")).encode()
        else:
            body = encode_answer(
                answer.rows, answer.failures, page=answer.page, rows_at=endpoint.rows_at, beside=answer.beside
            )
        return self._response(200, self._headers("application/json"), iter([body]))

    def failed(self, failure: Failure, status: int, *, gateway: bool = False) -> Response:
        flat = (gateway and self._by_gateway()) or (self._endpoint is not None and self._endpoint.form == "form")
        body = encode_flat(failure) if flat else encode_answer([], [failure], status=status)
        return self._response(status, self._headers("application/json"), iter([body]))

    def _identify(self, caller: Caller | None) -> None:
        if caller is not None:
            self._caller = caller
        elif self._endpoint.authorised if self._endpoint else not methods_at(self._request.path):
            from mimeportal_server import callers

            try:
                self._caller = callers.identify(self._portal, self._request)
            except Refused:
                self._count(f"network {network_of(self._request.peer)}", limits.UNKNOWN_QUOTA)
                raise
        if self._caller is NOBODY:
            self._count(f"network {network_of(self._request.peer)}", limits.UNKNOWN_QUOTA)
        else:
            self._count(f"person {self._caller.person_id}")

    def _count(self, caller: str, calls: int | None = None) -> None:
        if self._quota is None:
            return
        allowance = self._quota.take(caller, calls=calls)
        self._rates = allowance.headers()
        if not allowance.granted:
            raise Refused("err_quota_exceeded", "Quota Exceeded", status=429, retryable=True, gateway=True)

    def _no_function(self) -> Refused:
        methods = methods_at(self._request.path)
        if methods:
            return Refused("err_method", f"This function takes {' or '.join(methods)}.", status=405)
        if self._caller.api == "api2":
            # The gateway of API 2.0 tells nobody what is there (mimecast-api-core 5.4).
            sentence = "Resource or method requested does not exist in any product assigned to the application."
            return Refused("app_forbidden", sentence, status=403, gateway=True)
        return Refused("err_not_found", "There is no such function.", status=404)

    def _by_gateway(self) -> bool:
        """Whether the request speaks API 2.0: by a bearer token, or by nothing that API 1.0 would send."""
        headers = self._request.headers
        scheme = headers.get("authorization", "").partition(" ")[0].lower()
        return scheme == "bearer" or (not scheme and "x-mc-app-id" not in headers)

    def _call(self, endpoint: Endpoint[Any, Any]) -> Answer:
        portal, request = self._portal, self._request
        size, token, body = limits.DEFAULT_PAGE_SIZE, None, list[bytes]()
        most = self._door.most_octets(endpoint)
        if endpoint.form == "form":
            items = [_form(_whole(request, most))]
        elif endpoint.form == "query":
            items = [_form(request.query.encode())]
        elif endpoint.form == "bytes":
            items = _items(_document(request.headers.get(ARGUMENT, "").encode()), endpoint)
            body = _pieces(request, most)
        else:
            document = _document(_whole(request, most))
            items = _items({"data": [document]} if endpoint.form == "json" else document, endpoint)
            size, token = _paging(document, portal.settings.limits["page_size"])
        self._items = sum(len(item[endpoint.counted]) for item in items) if endpoint.counted else len(items)
        call = Call(self._caller, items, size, token, self._request_id, request, self._faults, body)
        try:
            return _operation(endpoint.name)(portal, call)
        except InvalidToken:
            raise Refused("xdk_failure", "0007 Invalid token") from None
        except ValidationError as fault:
            raise _invalid(fault) from None

    def _headers(self, content_type: str) -> dict[str, str]:
        return {
            "content-type": content_type,
            "cache-control": "no-store",
            "x-request-id": self._request_id,
            **self._rates,
        }

    def _response(self, status: int, headers: dict[str, str], body: Iterator[bytes]) -> Response:
        operation = self._endpoint.name if self._endpoint else ""
        return Response(status, headers, body, operation, self._caller.person_id, self._items)


def network_of(peer: str) -> str:
    """The network that a peer's address counts for: itself for IPv4, its /64 for IPv6."""
    from ipaddress import IPv6Address, ip_address, ip_network

    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
    return str(address)


def is_loopback(peer: str) -> bool:
    """Whether a peer is this machine."""
    from ipaddress import ip_address

    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def defect(fault: Exception) -> str:
    """Where the portal failed, in our words: nothing of what was asked is in it."""
    place = traceback.extract_tb(fault.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}"
    return f"The portal failed by a defect of its own ({type(fault).__name__} in {where})."


def _operation(name: str) -> Operation:
    noun = name.partition(".")[0]
    operations: Mapping[str, Operation] = import_module(f"mimeportal_server.{noun}").OPERATIONS
    return operations[name]


def _whole(request: Request, most: int) -> bytes:
    return b"".join(_pieces(request, most))  # one alone is not copied


def _pieces(request: Request, most: int) -> list[bytes]:
    pieces: list[bytes] = []
    length = 0
    for piece in request.body:
        pieces.append(piece)
        length += len(piece)
        if length > most:
            raise Refused("err_request_too_large", f"A body has at most {most} octets.", status=413)
    request.body = pieces  # the same list, so that an operation can let go of them
    return pieces


def _form(body: bytes) -> JsonObject:
    """The fields of a form or query; of one that stands twice, the last."""
    try:
        return dict(parse_qsl(body.decode("ascii"), max_num_fields=limits.FORM_FIELDS))
    except (UnicodeDecodeError, ValueError):
        raise Refused("err_request_malformed", "The form cannot be read.", status=400) from None


def _document(body: bytes) -> JsonObject:
    """The body as a JSON object; none at all is an empty one (mimecast-api-core 11.2)."""
    if not body.strip():
        return {}
    try:
        document = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        document = _meant(body)
    if not isinstance(document, dict):
        raise Refused("err_request_malformed", "The body is not a JSON object.", status=400)
    if _deeper(document, limits.JSON_DEPTH):
        raise Refused("err_request_malformed", f"The body nests over {limits.JSON_DEPTH} deep.", status=400)
    if (b"\\" in body or not body.isascii()) and not _is_unicode(document):
        raise Refused("err_request_malformed", "The body is not Unicode: half of a surrogate pair.", status=400)
    return document


def _no_number(name: str) -> float:
    """Python reads and writes NaN and Infinity; JSON has none, and what is asked is told back in failures."""
    raise ValueError(name)


def _meant(body: bytes) -> Any:
    """A body that older clients write with Python's `str()` (mimecast-api-core 11.3), read as what it meant."""
    import ast
    import warnings

    refusal = Refused("err_request_malformed", "The body is not JSON.", status=400)
    if len(body) > limits.LENIENT_BODY or not body.lstrip().startswith(b"{"):
        raise refusal
    opened = deepest = 0
    for sign in body:
        opened += (sign in b"([{") - (sign in b")]}")
        deepest = max(deepest, opened)
    if deepest > limits.JSON_DEPTH:
        raise refusal
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whoever asks is told what is wrong, not the log
            document = ast.literal_eval(body.decode("utf-8").strip())
        return json.loads(json.dumps(document))  # what is no JSON value, as a tuple or a set, is refused or made one
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise refusal from None


def _is_unicode(document: JsonObject) -> bool:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            inner
            for entry in level
            if isinstance(entry, (dict, list))
            for inner in (entry.values() if isinstance(entry, dict) else entry)
        ]
        if not level:
            return False
    return True


def _items(document: JsonObject, endpoint: Endpoint[Any, Any]) -> list[JsonObject]:
    data = document.get("data")
    items = data if isinstance(data, list) else [] if data is None else [data]
    if not all(isinstance(item, dict) for item in items):
        raise Refused("err_request_malformed", "`data` holds objects.", status=400)
    items = [without_nulls(item) for item in items]  # mimecast-api-core 11.4
    least, most = endpoint.count
    if endpoint.counted is not None:
        if len(items) != 1:
            raise Refused("err_validation_count", "`data` holds exactly one item here.", field="data")
        inner = items[0].get(endpoint.counted)
        if inner is None:
            raise Refused("err_validation_null", "Mandatory field is missing", field=endpoint.counted)
        counted = len(inner) if isinstance(inner, list) else 0
    else:
        if not items and least == 1 == most:
            items = [{}]
        counted = len(items)
    if not least <= counted <= most:
        field = endpoint.counted or "data"
        raise Refused("err_validation_count", f"`{field}` holds {least} to {most}, not {counted}.", field=field)
    return items


def _paging(document: JsonObject, most: int) -> tuple[int, str | None]:
    meta = document.get("meta")
    block = meta.get("pagination") if isinstance(meta, dict) else None
    if not isinstance(block, dict):
        return limits.DEFAULT_PAGE_SIZE, None
    size, token = block.get("pageSize"), block.get("pageToken")
    if isinstance(size, str) and size.isdecimal() and len(size) < 9:
        size = int(size)
    if size is None:
        size = limits.DEFAULT_PAGE_SIZE
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise Refused("err_validation_value_not_allowed", f"pageSize is 1 to {most}.", field="pageSize")
    if token is not None and not isinstance(token, str):
        raise Refused("xdk_failure", "0007 Invalid token")
    return min(size, most), token or None


def _invalid(fault: ValidationError) -> Refused:
    first = fault.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return Refused("err_validation_null", "Mandatory field is missing", field=field)
    return Refused("err_validation_value_not_allowed", f"{field}: {first['msg']}", field=field)


def _ascii(name: str) -> str:
    return "".join(sign if sign.isascii() and sign.isprintable() and sign not in '"\\' else "_" for sign in name)
