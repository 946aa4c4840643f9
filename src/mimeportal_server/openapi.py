"""The OpenAPI document of a portal, written from the Endpoint rows."""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from mimeportal import limits
from mimeportal._version import __version__
from mimeportal.wire import ARGUMENT, Endpoint, JsonObject
from mimeportal_server.door import NOUNS

_REF = "#/components/schemas/{model}"

# Mimecast's two ways to show who asks (mimecast-api-core 2 and 3).
_SECURITY: JsonObject = {
    "bearer": {
        "type": "oauth2",
        "description": "API 2.0: a token for the client id and secret of an application.",
        "flows": {"clientCredentials": {"tokenUrl": "/oauth/token", "scopes": {}}},
    },
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "API 1.0: `MC accessKey:signature`, with x-mc-app-id, x-mc-date and x-mc-req-id.",
    },
}

_META: JsonObject = {
    "type": "object",
    "properties": {
        "pagination": {
            "type": "object",
            "properties": {
                "pageSize": {"type": "integer", "minimum": 1, "maximum": limits.PAGE_SIZE},
                "pageToken": {"type": "string", "maxLength": limits.OPAQUE_TOKEN},
            },
        }
    },
}

_FIXED: JsonObject = {
    "Meta": {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"type": "integer", "description": "The status of the function; it repeats that of HTTP."},
            "pagination": {
                "type": "object",
                "required": ["pageSize"],
                "properties": {
                    "pageSize": {"type": "integer", "description": "How many rows this page has."},
                    "totalCount": {"type": "integer"},
                    "next": {"type": "string", "description": "Absent on the last page."},
                    "previous": {"type": "string", "description": "Absent on the first page."},
                },
            },
        },
    },
    "Failure": {
        "type": "object",
        "required": ["errors"],
        "properties": {
            "key": {
                "type": "object",
                "description": "The request item that failed; absent for the request as a whole.",
            },
            "errors": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["code", "message", "retryable"],
                    "properties": {
                        "code": {"type": "string"},
                        "message": {"type": "string"},
                        "retryable": {"type": "boolean"},
                        "field": {"type": "string"},
                    },
                },
            },
        },
    },
    "Refusal": {
        "type": "object",
        "description": "A request that is refused as a whole.",
        "required": ["meta", "data", "fail"],
        "properties": {
            "meta": {"$ref": "#/components/schemas/Meta"},
            "data": {"type": "array", "maxItems": 0},
            "fail": {"type": "array", "items": {"$ref": "#/components/schemas/Failure"}},
        },
    },
    "GatewayRefusal": {
        "type": "object",
        "description": "The same, as API 2.0's gateway tells it.",
        "required": ["fail"],
        "properties": {
            "fail": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["code", "message"],
                    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
                },
            }
        },
    },
}

_STATUSES = {
    "400": "The request cannot be read.",
    "401": "Who asks is not known.",
    "403": "Whoever asks may not.",
    "404": "There is no such object, or it is not theirs to see.",
    "413": "The body is too long.",
    "418": "The binding has expired: refresh it.",
    "429": "Too many calls: wait X-RateLimit-Reset milliseconds.",
    "500": "The portal failed.",
    "503": "The portal cannot answer now.",
}


@cache
def encoded() -> bytes:
    """The document as JSON."""
    return json.dumps(document(), separators=(",", ":")).encode()


def document() -> JsonObject:
    """OpenAPI 3.1: every row is one operation, `operationId` is its name."""
    rows = [row for noun in NOUNS for row in import_module(f"mimeportal.{noun}.contract").ENDPOINTS]
    models: dict[type[BaseModel], JsonSchemaMode] = {}
    for row in rows:
        models[row.row] = "serialization"
        if row.form != "query":  # those are parameters, each by itself
            models[row.item] = "validation"
    named, definitions = models_json_schema(list(models.items()), by_alias=True, ref_template=_REF)
    references: dict[Any, JsonObject] = {model: schema for (model, _), schema in named.items()}
    paths: dict[str, JsonObject] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mimeportal",
            "version": __version__,
            "description": "Mimecast's API as a local portal offers it, and what is offered by a local portal alone.",
        },
        "paths": paths,
        "components": {
            "schemas": {**definitions.get("$defs", {}), **_FIXED},
            "securitySchemes": _SECURITY,
        },
    }


def _operation(row: Endpoint[Any, Any], references: dict[Any, JsonObject]) -> JsonObject:
    offered = ", ".join(
        f"{api} ({offer.permission})" if offer.permission else api for api, offer in sorted(row.offered.items())
    )
    operation: JsonObject = {
        "operationId": row.name,
        "tags": [row.noun],
        "summary": _first_line(row.item) or row.name,
        "description": f"Offered by {offered}. After a lost answer: {row.repeat}.",
        "responses": {"200": _answer(row, references[row.row]), **_refusals()},
    }
    if row.authorised:
        operation["security"] = [{"bearer": []}, {"signature": []}]
    if row.form == "query":
        operation["parameters"] = _parameters(row.item)
    else:
        operation["requestBody"] = _body(row, references[row.item])
    if row.form == "bytes":
        operation["parameters"] = [
            {
                "name": ARGUMENT,
                "in": "header",
                "required": True,
                "description": "`data` with the item, as JSON.",
                "content": {"application/json": {"schema": _envelope(row, references[row.item])}},
            }
        ]
    return operation


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def _body(row: Endpoint[Any, Any], item: JsonObject) -> JsonObject:
    if row.form == "bytes":
        octets = {"type": "string", "format": "binary", "maxLength": row.bytes_in}
        return {"required": True, "content": {"application/octet-stream": {"schema": octets}}}
    if row.form == "form":
        return {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": item}}}
    if row.form == "json":
        return {"required": True, "content": {"application/json": {"schema": item}}}
    least = row.count[0] if row.counted is None else 1
    return {"required": least > 0, "content": {"application/json": {"schema": _envelope(row, item)}}}


def _envelope(row: Endpoint[Any, Any], item: JsonObject) -> JsonObject:
    least, most = row.count if row.counted is None else (1, 1)
    return {
        "type": "object",
        "properties": {
            "meta": _META if row.paging == "token" else {"type": "object"},
            "data": {"type": "array", "items": item, "minItems": least, "maxItems": most},
        },
    }


def _parameters(item: type[BaseModel]) -> list[JsonObject]:
    schema = item.model_json_schema(by_alias=True)
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": {"type": "string"}}
        for name in schema.get("properties", {})
    ]


def _answer(row: Endpoint[Any, Any], told: JsonObject) -> JsonObject:
    if row.answer == "object":
        return {"description": "Done.", "content": {"application/json": {"schema": told}}}
    rows: JsonObject = {"type": "array", "items": told}
    if row.rows_at is not None:
        rows = {"type": "array", "items": {"type": "object", "properties": {row.rows_at: rows}}}
    envelope = {
        "type": "object",
        "required": ["meta", "data", "fail"],
        "properties": {
            "meta": {"$ref": "#/components/schemas/Meta"},
            "data": rows,
            "fail": {"type": "array", "items": {"$ref": "#/components/schemas/Failure"}},
        },
    }
    content: JsonObject = {"application/json": {"schema": envelope}}
    if row.answer == "bytes":
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    return {"description": "`data` holds what was done, `fail` what was not.", "content": content}


def _refusals() -> JsonObject:
    refusal = {"anyOf": [{"$ref": "#/components/schemas/Refusal"}, {"$ref": "#/components/schemas/GatewayRefusal"}]}
    return {
        status: {"description": text, "content": {"application/json": {"schema": refusal}}}
        for status, text in _STATUSES.items()
    }
