"""Whoever reads by keyboard, screen reader or small screen, in light or dark, reaches everything on the pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby, product

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from writing import LOG, PASSWORD, RECALL, Office

from browsing import Visitor, chromium, set_password
from conftest import ADMIN, ANN
from served import serving

# What a page must give to who does not see it; each entry of the answer is a fault.
_FAULTS = """() => {
  const faults = [];
  const say = (what, node) => faults.push(`${what}: ${node.outerHTML.slice(0, 120)}`);
  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title.trim()) faults.push("no title");
  if (document.querySelectorAll("main").length !== 1) faults.push("not one main part");
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one first heading");
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) say("heading skips a level", heading);
    level = own;
  }
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`id twice: ${id}`);
  for (const node of document.querySelectorAll("[aria-describedby], [aria-labelledby]")) {
    for (const name of ["aria-describedby", "aria-labelledby"]) {
      for (const id of (node.getAttribute(name) || "").split(/\\s+/).filter(Boolean)) {
        if (!document.getElementById(id)) say(`${name} leads nowhere`, node);
      }
    }
  }
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea:not([hidden])")) {
    if (!field.labels?.length && !field.getAttribute("aria-label")) say("field without a label", field);
  }
  for (const node of document.querySelectorAll("a, button, summary")) {
    if (!node.textContent.trim() && !node.getAttribute("aria-label")) say("nothing to read out", node);
  }
  for (const image of document.querySelectorAll("img")) if (!image.hasAttribute("alt")) say("no alt", image);
  for (const frame of document.querySelectorAll("iframe")) if (!frame.title) say("frame without a title", frame);
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth) faults.push("scrolls sideways");
  return faults;
}"""

# Contrast of every text with what it stands on (WCAG 2.2, 1.4.3): 4.5, or 3 for large text; of fields 3 (1.4.11).
_CONTRASTS = """() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const [r, g, b, a = 1] = channels(getComputedStyle(at).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const ratio = (one, two) => {
    const [high, low] = [light(one), light(two)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const faults = [];
  for (const node of document.querySelectorAll("body *")) {
    const style = getComputedStyle(node);
    const shown = node.checkVisibility() && node.getBoundingClientRect().width > 1;
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (shown && own) {
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      const found = ratio(channels(style.color), ground(node));
      if (found < (large ? 3 : 4.5)) faults.push(`${found.toFixed(2)}: ${node.outerHTML.slice(0, 100)}`);
    }
    if (shown && node.matches("input:not([type=checkbox], [type=radio], [type=file]), select, textarea")) {
      const found = ratio(channels(style.borderTopColor), ground(node.parentElement));
      if (found < 3) faults.push(`edge ${found.toFixed(2)}: ${node.outerHTML.slice(0, 100)}`);
    }
  }
  return faults;
}"""


# What is too small to be touched: less than 44 pixels high or wide. A box is touched by its label, or its cell.
_SMALL = """() => {
  const faults = [];
  for (const node of document.querySelectorAll("a, button, summary, select, textarea, input:not([type=hidden])")) {
    const box = node.matches("[type=checkbox], [type=radio]") && (node.closest("label") || node.closest("td"));
    const { width, height } = (box || node).getBoundingClientRect();
    if (node.checkVisibility() && !node.matches(".skip, .hidden") && Math.min(width, height) < 43.5) {
      faults.push(`${width}x${height}: ${node.outerHTML.slice(0, 100)}`);
    }
  }
  return faults;
}"""


class World:
    """A browser, a message, and its reader and sender with their cookies."""

    def __init__(self, browser: Browser, office: Office) -> None:
        self.browser = browser
        self.url = office.served.server.http_url
        html = "<p>Hello</p><img src='https://a.example/b.png' alt='A'>"
        self.id = office.send(html=html, text="Hello", files={"a.txt": b"a"}, subject="S" * 150)
        link = office.link()
        office.send(subject="Restricted", option="no-print-no-reply")
        set_password(office.served.lab, ANN, PASSWORD)
        self.reader, self.sender, self.new = office.visitor(), Visitor(office.served), Visitor(office.served)
        self.sender.log_in(ANN, PASSWORD)
        # Whoever has not been here yet.
        office.send(to="new@elsewhere.example")
        self.new.follow(office.link("new@elsewhere.example"))
        assert link
        self.first = f"/secure/open/{office.ask('/api/portal/secure/list', {'folder': 'sent'}).rows[0]['id']}"

    def pages(self) -> list[tuple[Visitor, str]]:
        nobody, message = Visitor(self.reader.served), f"/secure/messages/{self.id}"
        return [
            (nobody, "/log-in"),
            (nobody, f"/log-in?address={ANN}"),
            (nobody, "/password/forgotten"),
            (nobody, "/no/such/page"),
            (self.new, self.first),
            (self.reader, "/secure/inbox"),
            (self.reader, "/secure/inbox?q=nothing"),
            (self.reader, message),
            (self.reader, f"{message}/reply"),
            (self.reader, f"{message}/delete"),
            (self.reader, "/preferences"),
            (self.reader, "/preferences/password"),
            (self.sender, "/secure/sent"),
            (self.sender, "/secure/compose"),
            (self.sender, message),
        ]

    def open(self, visitor: Visitor, **how: object) -> BrowserContext:
        context = self.browser.new_context(**how)  # type: ignore[arg-type]
        context.set_default_timeout(10_000)
        cookies = [{"name": name, "value": value, "url": self.url} for name, value in visitor.cookies.items()]
        context.add_cookies(cookies)  # type: ignore[arg-type]
        return context


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("reachable") / "home") as served, chromium() as browser:
        yield World(browser, Office(served))


SCHEMES = ("light", "dark")
WIDTHS = (320, 1280)


def test_every_page_in_light_and_dark_on_phone_and_desktop(world: World) -> None:
    """And nothing of it is asked of anybody else, nor refused by the page's own policy."""
    faults, said, asked = [], [], []
    for visitor, paths in groupby(world.pages(), lambda entry: entry[0]):
        context = world.open(visitor)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        for _, path in paths:
            page.goto(world.url + path)
            for summary in page.locator("details.contacts > summary, .search summary").all():
                summary.click()
            for scheme, width in product(SCHEMES, WIDTHS):
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                page.set_viewport_size({"width": width, "height": 800})
                found = [*page.evaluate(_FAULTS), *page.evaluate(_CONTRASTS)]
                found += page.evaluate(_SMALL) if width < 600 else []
                faults += [f"{path} {scheme} {width}: {fault}" for fault in found]
        context.close()
    assert faults == [], "\n".join(faults)
    assert {url for url in asked if not url.startswith(world.url)} == set()
    assert [text for text in said if "404" not in text] == []


def test_the_checks_find_what_is_wrong(world: World) -> None:
    context = world.open(Visitor(world.reader.served))
    page = context.new_page()
    page.set_content("<main><h1>A</h1><h3 style='color:#999'>B</h3><input id=x><img src=data:,></main>")
    faults = " ".join([*page.evaluate(_FAULTS), *page.evaluate(_CONTRASTS), *page.evaluate(_SMALL)])
    for wanted in ('<input id="x">', "no language", "no title", "skips a level", "without a label", "no alt", "2.85"):
        assert wanted in faults
    context.close()


def focused(page: Page) -> str:
    """What the keyboard stands on, as it is read out."""
    return str(
        page.evaluate(
            "() => { const at = document.activeElement;"
            " return (at.labels?.[0]?.textContent || at.getAttribute('aria-label') || at.textContent || '').trim() }"
        )
    )


def press_to(page: Page, wanted: str) -> None:
    """Tab on until it is reached; it must be seen where one is."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if re.fullmatch(wanted, " ".join(focused(page).split())):
            outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{wanted} is not marked"
            return
    raise AssertionError(f"{wanted} is not reached")


def test_by_keyboard_alone(world: World) -> None:
    context = world.open(Visitor(world.reader.served))
    page = context.new_page()
    page.goto(world.url)
    page.keyboard.type("client@elsewhere.example")  # the field has the focus
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement?.name === 'password'")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/secure/inbox")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    page.keyboard.press("Enter")
    press_to(page, ".*SSSS.*")
    page.keyboard.press("Enter")
    page.wait_for_url("**/secure/messages/*")
    press_to(page, "Mark")
    page.keyboard.press("Enter")
    press_to(page, "Mark as unread")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("The message is marked as unread.")
    press_to(page, ".*SSSS.*")
    page.keyboard.press("Enter")
    page.wait_for_url("**/secure/messages/*")
    press_to(page, "Reply")
    page.keyboard.press("Enter")
    page.wait_for_url("**/reply")
    page.keyboard.type("By keyboard.")  # the field has the focus
    press_to(page, "Send")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Your message was sent.")
    press_to(page, "Log out")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("You are logged out")
    context.close()


def beside(page: Page) -> tuple[str, str]:
    """The name of the field that is wrong and has the focus, and what it is described by: what is read out with it."""
    page.wait_for_function("() => document.activeElement?.getAttribute('aria-invalid') === 'true'")
    field, told = page.evaluate(
        "() => { const at = document.activeElement; const ids = at.getAttribute('aria-describedby').split(' ');"
        " return [at.name, document.getElementById(ids[0]).textContent.trim()] }"
    )
    return field, told


def press(page: Page, name: str) -> None:
    """A button that leads to another page, until that is there."""
    with page.expect_navigation():
        page.get_by_role("button", name=name).click()


def test_what_is_wrong_is_said_beside_its_field_which_has_the_focus(world: World) -> None:
    context = world.open(Visitor(world.reader.served))
    page = context.new_page()
    page.goto(world.url + "/log-in")
    page.get_by_label("Email address").evaluate("node => { node.required = false }")
    press(page, "Next")
    assert beside(page) == ("address", "Enter your email address.")
    context.close()

    context = world.open(world.reader)
    page = context.new_page()
    page.goto(world.url + "/preferences/password")
    for label in ("Current password", "New password", "New password, again"):
        page.get_by_label(label, exact=True).fill("weak")
    press(page, "Confirm")
    field, told = beside(page)
    assert (field, told[:16]) == ("password", "A password has 8")
    page.get_by_label("Current password").fill("wrong")
    page.get_by_label("New password", exact=True).fill("Better-horse-8")
    page.get_by_label("New password, again").fill("Better-horse-9")
    press(page, "Confirm")
    assert beside(page) == ("password", "The two passwords differ.")
    for label in ("Current password", "New password", "New password, again"):
        page.get_by_label(label, exact=True).fill("Better-horse-8")
    press(page, "Confirm")
    field, told = beside(page)
    assert (field, told[:33]) == ("current", "The current password is wrong, or")

    page.goto(world.url + "/secure/compose")
    press(page, "Send")
    assert beside(page) == ("to", "Name at least one recipient.")
    page.get_by_label("To", exact=True).fill(ANN)
    page.get_by_label("Cc", exact=True).fill("stranger@nowhere.example")
    press(page, "Send")
    page.get_by_label("Request Read Receipt").check()
    press(page, "Send")
    field, told = beside(page)
    assert (field, told[-33:]) == ("cc", "stranger@nowhere.example is none.")
    context.close()


def test_what_is_written_from_right_to_left_is_shown_so(world: World) -> None:
    office = Office(world.reader.served)
    office.send(subject="عقدك الجديد (123)", text="عزيزي العميل", files={"عقد.pdf": b"x"})
    context = world.open(world.reader)
    page = context.new_page()
    page.goto(world.url + "/secure/inbox")
    direction = "node => getComputedStyle(node).direction"
    subject = page.get_by_text("عقدك الجديد")
    assert subject.evaluate(direction) == "rtl"
    subject.click()
    page.wait_for_url("**/secure/messages/*")
    assert page.get_by_role("heading", level=1).evaluate(direction) == "rtl"
    assert page.frame_locator("iframe").get_by_text("عزيزي").evaluate(direction) == "rtl"
    # The end of a name says what it is: it stays at the end.
    assert page.get_by_text("عقد.pdf").evaluate(direction) == "ltr"
    context.close()


def test_a_long_word_does_not_scroll_sideways_on_a_phone(world: World) -> None:
    office = Office(world.reader.served)
    id = office.send(subject="Long", text="https://www.example.com/" + "way/" * 100)
    context = world.open(world.reader, viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.goto(f"{world.url}/secure/messages/{id}")
    body = page.frame_locator("iframe").locator("html")
    assert body.evaluate("node => node.scrollWidth <= node.clientWidth")
    context.close()


def test_an_open_page_loses_what_is_recalled(world: World) -> None:
    office = Office(world.reader.served)
    id = office.send(subject="Taken back", text="Not for you after all.")
    context = world.open(world.reader)
    page = context.new_page()
    page.goto(f"{world.url}/secure/messages/{id}")
    look = "() => document.dispatchEvent(new Event('visibilitychange'))"
    with page.expect_response("**/still") as asked:
        page.evaluate(look)
    assert asked.value.status == 200
    expect(page.frame_locator("iframe").locator("body")).to_contain_text("Not for you")
    events = [row["event"] for row in office.ask(LOG, {"id": id}, by=ADMIN).rows]
    assert sum("open" in event for event in events) == 1, "to look whether it is still there is no opening"
    office.ask(RECALL, {"id": id})
    page.evaluate(look)
    expect(page.get_by_role("heading", level=1)).to_have_text("No longer available")
    assert page.locator("iframe").count() == 0
    context.close()


def test_an_open_page_loses_what_was_shown_to_somebody_who_has_logged_out(world: World) -> None:
    visitor = Visitor(world.reader.served)
    visitor.log_in("client@elsewhere.example", PASSWORD)
    context = world.open(visitor)
    page = context.new_page()
    page.goto(f"{world.url}/secure/messages/{world.id}")
    visitor.submit(visitor.ask("/secure/inbox"), "/log-out")
    page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    context.close()


def test_what_may_not_be_printed_is_not_on_paper(world: World) -> None:
    context = world.open(world.reader)
    page = context.new_page()
    page.goto(world.url + "/secure/inbox")
    page.get_by_text("Restricted").click()
    frame = page.locator("iframe")
    expect(frame).to_be_visible()
    page.emulate_media(media="print")
    expect(frame).to_be_hidden()
    page.goto(f"{world.url}/secure/messages/{world.id}")
    expect(frame).to_be_visible()
    context.close()


def test_a_message_can_be_looked_at_while_it_is_answered(world: World) -> None:
    context = world.open(world.reader)
    page = context.new_page()
    page.goto(f"{world.url}/secure/messages/{world.id}/reply")
    page.get_by_label("Message", exact=True).fill("I see ")
    page.get_by_text("Show the message").click()
    expect(page.frame_locator("iframe").locator("body")).to_contain_text("Hello")
    assert page.get_by_label("Message", exact=True).input_value() == "I see "
    context.close()


def test_going_back_after_logging_out_shows_nothing(world: World) -> None:
    visitor = Visitor(world.reader.served)
    visitor.log_in("client@elsewhere.example", PASSWORD)
    context = world.open(visitor)
    page = context.new_page()
    page.goto(f"{world.url}/secure/messages/{world.id}")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are logged out")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    context.close()
