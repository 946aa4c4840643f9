"""Which page answers which path: every page is one `Route` in the `ROUTES` of its module."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mimeportal import limits
from mimeportal.wire import Response

if TYPE_CHECKING:
    from mimeportal_server.web.visit import Visit

# The modules that have pages. A new page is one module here, and its templates.
MODULES = (
    "static",
    "entrance",
    "new_password",
    "secure_link",
    "secure",
    "secure_writing",
    "preferences",
    "digest",
    "largefiles",
)

Handler = Callable[["Visit"], Response]
_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One page: a method and a path template such as `/secure/messages/{id}`, and what answers there.

    `session`: only for who is logged in; others are asked to log in first. `files`: whether a POST may carry files,
    which are put down on disk while they come.
    """

    method: str
    path: str
    handler: Handler
    session: bool = False
    files: bool = False
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pattern = "".join(
            f"(?P<{part}>[^/]+)" if odd % 2 else re.escape(part) for odd, part in enumerate(_PARAMETER.split(self.path))
        )
        object.__setattr__(self, "pattern", re.compile(pattern))

    @property
    def octets(self) -> int:
        """How long the body of a POST may be."""
        return limits.PAGE_FORM if self.files else limits.JSON_BODY


@cache
def _routes() -> tuple[Route, ...]:
    return tuple(route for name in MODULES for route in import_module(f"mimeportal_server.web.{name}").ROUTES)


def is_page(path: str) -> bool:
    """Whether a path is a page's, or nobody's that a page should say so of: not the API's, nor the lab's."""
    return not re.match(r"/(api|email|lab|oauth|siem)(/|$)", path)


def route_at(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The page at a path, and what stands in the path for its template's names. HEAD is answered as GET."""
    for route in _routes():
        if route.method == ("GET" if method == "HEAD" else method) and (match := route.pattern.fullmatch(path)):
            return route, {name: unquote(value) for name, value in match.groupdict().items()}
    return None


def template_at(method: str, path: str) -> str:
    """The path template of a page, for log lines; "-" where there is none."""
    found = route_at(method, path)
    return found[0].path if found is not None else "-"


def methods_at(path: str) -> list[str]:
    """The methods that a page takes; none where there is no page."""
    return sorted({route.method for route in _routes() if route.pattern.fullmatch(path)})
