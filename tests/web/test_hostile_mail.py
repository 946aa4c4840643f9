"""HTML that was written to get out of its message: what is left of it does nothing, even where scripts may run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from browsing import chromium
from mimeportal.untrusted_html import safe_html

# One a line: tags that browsers read in two ways, schemes in disguise, what loads, frames, forms, and mutations.
VECTORS = (Path(__file__).parent / "vectors.txt").read_text("utf-8").splitlines()
CONTROLS = ["<img src=x\x00onerror=alert(1)>", "<\x00script>alert(1)</script>", "<img\x0bsrc=x\x0conerror=alert(1)>"]
ALLOWED = {
    "a": {"href", "rel"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start"},
    "table": {"align", "border", "cellpadding", "cellspacing"},
    "td": {"align", "colspan", "rowspan", "valign"},
    "th": {"align", "colspan", "rowspan", "valign"},
    "tr": {"align", "valign"},
}
PORTAL = "http://portal.example/"

# As a page or a mail program may write it down and read it again: what was harmless must stay so.
_AGAIN = """() => {
  for (let round = 0; round < 3; round++) document.body.innerHTML = document.body.innerHTML;
  for (const name of ["svg", "math", "table", "select", "noscript", "textarea", "title", "template"]) {
    const outer = document.createElement(name);
    outer.innerHTML = document.body.innerHTML;
    document.createElement("div").innerHTML = outer.outerHTML;
  }
}"""
_PRESSED = """() => {
  for (const link of document.querySelectorAll("a")) {
    link.addEventListener("click", (event) => { if (link.protocol !== "javascript:") event.preventDefault(); });
    link.click();
  }
}"""
_FOUND = """() => [...document.querySelectorAll("section *")].map((node) => [
  node.localName, [...node.attributes].map((attribute) => attribute.name), node.protocol || "", node.hostname || "",
  node.nextSibling?.data || ""])"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


class Shown:
    """A page without any policy, in which scripts run, and what parts of it did there."""

    def __init__(self, browser: Browser, parts: Sequence[str]) -> None:
        self.done: list[str] = []
        self.context = browser.new_context()
        self.context.route("**/*", lambda route: route.abort() if route.request.url != PORTAL else route.fulfill())
        page = self.page = self.context.new_page()
        page.on("dialog", lambda dialog: (self.done.append(dialog.message), dialog.dismiss()))
        page.goto(PORTAL)
        page.on("request", lambda request: self.done.append(request.url))
        page.set_content("".join(f"<section>{part}</section>" for part in parts))
        page.evaluate(_AGAIN)
        page.evaluate(_PRESSED)
        page.wait_for_timeout(200)


def test_these_would_do_something(browser: Browser) -> None:
    """Those that do as they are, so that what follows can fail."""
    telling = [text for text in VECTORS if text.startswith(("<img src=x onerror", '<a href="javascript:', "<video"))]
    shown = Shown(browser, telling)
    assert "1" in shown.done
    assert any("evil.example" in entry for entry in shown.done)
    shown.context.close()


def test_nothing_is_run_loaded_or_sent(browser: Browser) -> None:
    parts = [safe_html(text) for text in (*VECTORS, *CONTROLS)]
    assert None not in parts
    shown = Shown(browser, [part or "" for part in parts])
    assert shown.done == []
    wrong = []
    for name, attributes, protocol, host, behind in shown.page.evaluate(_FOUND):
        if not set(attributes) <= ALLOWED.get(name, set()):
            wrong.append(f"{name} with {attributes}")
        if name == "a" and protocol not in (":", "http:", "https:", "mailto:"):  # the first: it leads nowhere
            wrong.append(f"a link to {protocol}")
        if host and f"[{host}" not in behind:
            wrong.append(f"a link to {host} that says {behind!r}")
    assert wrong == [], "\n".join(wrong)
    shown.context.close()
