"""Templates become pages: every text in them is escaped, and what it hides or acts with is shown."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from mimeportal.untrusted import visible
from mimeportal_server import told
from mimeportal_server.web import static

_TEMPLATES = Path(__file__).parent / "templates"


# Joins of scripts and emoji that are needed to read them; behind ASCII they only hide.
_JOINS = re.compile("(?<=[^\x00-\x7f])([\u200c\u200d\ufe0e\ufe0f])")


def _shown(value: Any) -> Any:
    """What a template puts into a page: what hides or acts in it is made visible (promises D.1)."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    if value.isascii():
        return visible(value)
    return "".join(part if odd % 2 else visible(part) for odd, part in enumerate(_JOINS.split(value)))


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
    environment.filters["size"] = told.size
    environment.filters["exact"] = escape  # for what a form brings back as it was
    environment.globals["static"] = static.url
    return environment


@cache
def print_style() -> tuple[Markup, str]:
    """The style of a message on paper, and its hash for the policy: a document that can do nothing loads none."""
    css = (_TEMPLATES / "print.css").read_text("utf-8")
    digest = hashlib.sha256(css.encode()).digest()
    return Markup(css), base64.b64encode(digest).decode()  # noqa: S704


def render(template: str, values: dict[str, Any]) -> bytes:
    """The page of a template in templates/."""
    return _environment().get_template(template).render(values).encode()
