"""Templates become pages: every text in them is escaped, and what it hides or acts with is shown."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mimeportal.untrusted import visible, visible_lines
from mimeportal_server.web import static

_TEMPLATES = Path(__file__).parent / "templates"


class Lines(str):
    """A text of several lines, as in a text field: its line ends stay."""


def _shown(value: Any) -> Any:
    """What a template puts into a page: what hides or acts in it is made visible (promises D.1)."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return visible_lines(value) if isinstance(value, Lines) else visible(value)


def _size(octets: int) -> str:
    """A size for people: 1 MB is 1024 KB, as Mimecast's limits count."""
    if octets < 1024:
        return f"{octets} bytes"
    if octets < 1024 * 1024:
        return f"{octets / 1024:.0f} KB"
    return f"{octets / 1024 / 1024:.1f} MB"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["size"] = _size
    environment.filters["lines"] = lambda text: Lines(text)
    environment.globals["static"] = static.url
    return environment


def render(template: str, values: dict[str, Any]) -> bytes:
    """The page of a template in templates/."""
    return _environment().get_template(template).render(values).encode()
