"""Names that a package exports and loads when they are first used (PEP 562): importing it costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any


def exported(package: str, homes: Mapping[str, str], name: str) -> Any:
    """What `__getattr__` of a package gives for a name; `homes` says in which of its modules each lies.

    A home that begins with `mimeportal.` is a whole name. Raises `AttributeError`.
    """
    home = homes.get(name)
    if home is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    value = getattr(import_module(home if home.startswith("mimeportal.") else f"{package}.{home}"), name)
    setattr(sys.modules[package], name, value)
    return value
