"""`handle(Request) -> Response`: decode by Endpoint row, call the operation, encode. Every socket ends here."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mimeportal import limits
from mimeportal.errors import UnavailableError
from mimeportal.wire import REQUEST_ID, Endpoint, Failure, JsonObject, Request, Response, encode_answer, without_nulls
from mimeportal_server.people import Caller
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.database import StoreError
from mimeportal_server.tokens import InvalidToken

NOUNS = ("account", "holds", "senders")
Operation = Callable[[Portal, Call], Answer]

_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_endpoints: dict[str, Endpoint[Any, Any]] = {}
_read: set[str] = set()


def endpoint_at(path: str) -> Endpoint[Any, Any] | None:
    """The operation at a path. Contracts are imported noun by noun, as far as the search needs."""
    if path in _endpoints:
        return _endpoints[path]
    for noun in sorted(NOUNS, key=lambda noun: noun not in path):
        if noun not in _read:
            contract = import_module(f"mimeportal.{noun}.contract")
            _endpoints.update({endpoint.path: endpoint for endpoint in contract.ENDPOINTS})
            _read.add(noun)
            if path in _endpoints:
                return _endpoints[path]
    return None


class Door:
    """One open portal, answering requests of callers who have been authenticated by the socket's side."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal

    def handle(self, request: Request, caller: Caller | None) -> Response:
        """Answer a request. Never raises: whatever goes wrong is an answer in the envelope."""
        named = request.headers.get(REQUEST_ID, "")
        request_id = named if _GUID.fullmatch(named) else self.portal.new_id()
        endpoint = endpoint_at(request.path)
        try:
            answer = self._answer(request, endpoint, caller, request_id)
        except Refused as refusal:
            return _failed(refusal.failure, refusal.status, request_id)
        except StoreError as fault:
            code = "err_portal_busy" if fault.passing else "err_portal_store"
            return _failed(Failure(code, fault.sentence, retryable=fault.passing), 503, request_id)
        except UnavailableError as fault:
            return _failed(Failure("err_portal_full", fault.what, retryable=True), 503, request_id)
        except OSError as fault:
            sentence = f"The portal's files cannot be used: {fault.strerror or type(fault).__name__}."
            return _failed(Failure("err_portal_store", sentence), 503, request_id)
        except Exception as fault:
            return _failed(Failure("err_internal", _defect(fault)), 500, request_id)
        if answer.body is not None:
            headers = _headers("application/octet-stream", request_id)
            headers["content-disposition"] = f'attachment; filename="{_ascii(answer.filename)}"'
            return Response(200, headers, answer.body)
        assert endpoint is not None
        body = encode_answer(answer.rows, answer.failures, page=answer.page, rows_at=endpoint.rows_at)
        return Response(200, _headers("application/json", request_id), iter([body]))

    def _answer(
        self, request: Request, endpoint: Endpoint[Any, Any] | None, caller: Caller | None, request_id: str
    ) -> Answer:
        if endpoint is None:
            raise Refused("err_not_found", "There is no such function.", status=404)
        if request.method != endpoint.method:
            raise Refused("err_method", f"This function takes {endpoint.method}.", status=405)
        if caller is None:
            raise Refused("err_xdk_invalid_signature", "0004 Invalid Signature", status=401)
        document = _document(request, self.portal.settings.limits["json_body"])
        items = _items(document, endpoint)
        size, token = _paging(document, self.portal.settings.limits["page_size"])
        operation = _operation(endpoint.name)
        call = Call(caller, items, size, token, request_id)
        try:
            return operation(self.portal, call)
        except InvalidToken:
            raise Refused("xdk_failure", "0007 Invalid token") from None
        except ValidationError as fault:
            raise _invalid(fault) from None


def _defect(fault: Exception) -> str:
    """Where the portal failed, in our words: nothing of what was asked is in it."""
    place = traceback.extract_tb(fault.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}"
    return f"The portal failed by a defect of its own ({type(fault).__name__} in {where})."


def _operation(name: str) -> Operation:
    noun = name.partition(".")[0]
    operations: Mapping[str, Operation] = import_module(f"mimeportal_server.{noun}").OPERATIONS
    return operations[name]


def _document(request: Request, most: int) -> JsonObject:
    """The body as a JSON object; none at all is an empty one (mimecast-api-core 11.2)."""
    body = bytearray()
    for piece in request.body:
        body += piece
        if len(body) > most:
            raise Refused("err_request_too_large", f"A body has at most {most} octets.", status=413)
    if not body.strip():
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("err_request_malformed", "The body is not JSON.", status=400) from None
    if not isinstance(document, dict):
        raise Refused("err_request_malformed", "The body is not a JSON object.", status=400)
    if _deeper(document, limits.JSON_DEPTH):
        raise Refused("err_request_malformed", f"The body nests over {limits.JSON_DEPTH} deep.", status=400)
    if b"\\ud" in body.lower() and not _is_unicode(document):
        raise Refused("err_request_malformed", "The body is not Unicode: half of a surrogate pair.", status=400)
    return document


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


def _failed(failure: Failure, status: int, request_id: str) -> Response:
    body = encode_answer([], [failure], status=status)
    return Response(status, _headers("application/json", request_id), iter([body]))


def _headers(content_type: str, request_id: str) -> dict[str, str]:
    return {
        "content-type": content_type,
        "cache-control": "no-store",
        "x-request-id": request_id,
    }


def _ascii(name: str) -> str:
    return "".join(sign if sign.isascii() and sign.isprintable() and sign not in '"\\' else "_" for sign in name)
