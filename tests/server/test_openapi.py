"""The OpenAPI document: every row is in it, and it is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from mimeportal.wire import Endpoint
from mimeportal_server import openapi
from mimeportal_server.door import NOUNS

DOCUMENT = json.loads(openapi.encoded())
ROWS: list[Endpoint[Any, Any]] = [
    row for noun in NOUNS for row in import_module(f"mimeportal.{noun}.contract").ENDPOINTS
]
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from nodes(inner)


def test_what_it_is_made_of() -> None:
    assert set(DOCUMENT) == {"openapi", "info", "paths", "components"}
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert {"title", "version"} <= set(DOCUMENT["info"])
    assert all(path.startswith("/") for path in DOCUMENT["paths"])


def test_it_has_exactly_the_rows() -> None:
    found = {
        (method.upper(), path): operation["operationId"]
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    }
    assert found == {(row.method, row.path): row.name for row in ROWS}


def test_every_reference_leads_somewhere() -> None:
    references = [node["$ref"] for node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)]
    assert references
    for reference in references:
        place = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
        assert isinstance(place, dict)


def test_every_schema_is_used() -> None:
    used = {node["$ref"].rpartition("/")[2] for node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)}
    assert set(DOCUMENT["components"]["schemas"]) == used


@every_row
def test_an_operation(row: Endpoint[Any, Any]) -> None:
    operation = DOCUMENT["paths"][row.path][row.method.lower()]
    assert ("security" in operation) == row.authorised
    for names in operation.get("security", []):
        assert set(names) <= set(DOCUMENT["components"]["securitySchemes"])
    assert {"200", "401", "429", "500"} <= set(operation["responses"])
    for status, response in operation["responses"].items():
        assert status.isdecimal()
        assert response["description"]
        assert "application/json" in response["content"]
    answers = operation["responses"]["200"]["content"]
    assert ("application/octet-stream" in answers) == (row.answer == "bytes")
    schema = answers["application/json"]["schema"]
    if row.answer == "object":
        assert set(schema) == {"$ref"}
    else:
        assert schema["required"] == ["meta", "data", "fail"]
        rows = schema["properties"]["data"]["items"]
        assert row.rows_at is None or list(rows["properties"]) == [row.rows_at]
    if row.form == "query":
        assert {"name", "in", "required", "schema"} == set(operation["parameters"][0])
        return
    (kind,) = operation["requestBody"]["content"]
    kinds = {"form": "application/x-www-form-urlencoded", "bytes": "application/octet-stream"}
    assert kind == kinds.get(row.form, "application/json")
    if row.form == "envelope":
        data = operation["requestBody"]["content"][kind]["schema"]["properties"]["data"]
        assert (data["minItems"], data["maxItems"]) == (row.count if row.counted is None else (1, 1))


def test_models_are_told_by_their_names_on_the_wire() -> None:
    row = DOCUMENT["components"]["schemas"]["HoldRow"]["properties"]
    assert {"from", "fromHeader", "dateReceived", "hasAttachments"} <= set(row)
