"""What each portal offers, read off the rows of every contract, without asking any of them."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import mimeportal
from mimeportal.wire import Api, Endpoint


@dataclass(frozen=True, slots=True)
class Capability:
    """Who offers one operation: Mimecast's API 2.0 and 1.0, a local portal, and the portal that was asked."""

    operation: str
    api2: bool
    api1: bool
    local: bool
    offered: bool


def of(api: Api) -> list[Capability]:
    """Every operation, by noun; `offered` is told for one API."""
    return [
        Capability(
            row.name,
            api2="api2" in row.offered,
            api1="api1" in row.offered,
            local="local" in row.offered,
            offered=api in row.offered,
        )
        for row in _rows()
    ]


def _rows() -> Iterator[Endpoint[Any, Any]]:
    for found in pkgutil.iter_modules(mimeportal.__path__):
        name = f"mimeportal.{found.name}.contract"
        if found.ispkg and find_spec(name):
            yield from import_module(name).ENDPOINTS
