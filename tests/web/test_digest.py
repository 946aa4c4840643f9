"""The links of a digest: they decide what they say, once a button is pressed, and nothing before (promises E.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from browsing import Shown, Visitor, chromium, set_password
from conftest import ANN, Lab, mail_of
from mimeportal_server import keeping, people
from served import Served, serving

LINK = re.compile(r"^(Release|Permit|Block): +(\S+)$", re.MULTILINE)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "home", faults=True) as served:
        served.lab.server.settings = replace(served.lab.server.settings, digest_hours=tuple(range(24)))
        yield served


def links(lab: Lab) -> dict[str, list[str]]:
    """The paths of the links in the latest digest, by verb; of several messages the last is for all."""
    lab.advance(hours=1)
    keeping.sweep(lab.server)
    texts = []
    for path in lab.outgoing():
        message = message_from_bytes(path.read_bytes())
        if str(message["Subject"]).startswith("Held messages: "):
            content = message.get_payload(decode=True)
            assert isinstance(content, bytes)
            texts.append(content.decode())
    found: dict[str, list[str]] = {}
    for verb, url in LINK.findall(texts[-1]):
        found.setdefault(verb, []).append(urlsplit(url).path)
    return found


def opened(visitor: Visitor, path: str) -> tuple[str, Shown]:
    """Where a link leads, and the page there."""
    first = visitor.ask(path)
    assert first.status == 303, first.text
    clean = first.header("location")
    return clean, visitor.ask(clean)


def pressed(visitor: Visitor, path: str) -> Shown:
    clean, page = opened(visitor, path)
    return visitor.submit(page, clean)


def held(lab: Lab) -> list[str]:
    with lab.client() as portal:
        return [hold.subject for hold in portal.holds.list()]


def lists(lab: Lab) -> dict[str, str]:
    with lab.client() as portal:
        return {entry.entry: entry.list for entry in portal.senders.list()}


@pytest.mark.parametrize(
    ("verb", "listed", "delivered"),
    [
        ("Release", {}, 1),
        ("Permit", {"eve@elsewhere.example": "permitted"}, 1),
        ("Block", {"eve@elsewhere.example": "blocked"}, 0),
    ],
)
def test_a_link_decides_when_its_button_is_pressed(
    served: Served, verb: str, listed: dict[str, str], delivered: int
) -> None:
    lab = served.lab
    lab.receive(mail_of(subject="Cheap <b>ink</b>"))
    path = links(lab)[verb][0]
    visitor = Visitor(served)
    clean, page = opened(visitor, path)
    assert "Cheap &lt;b&gt;ink&lt;/b&gt;" in page.text
    assert path.rpartition("/")[2] not in clean + page.text, "the secret stands in no address and on no page"
    assert held(lab) == ["Cheap <b>ink</b>"]
    before = len(lab.outgoing())
    assert "Done" in visitor.submit(page, clean).text
    keeping.sweep(lab.server)
    assert (held(lab), lists(lab), len(lab.outgoing()) - before) == ([], listed, delivered)


def test_the_last_links_are_for_all(served: Served) -> None:
    lab = served.lab
    for number in range(3):
        lab.receive(mail_of(f"eve{number}@elsewhere.example", f"number {number}"))
    shown = pressed(Visitor(served), links(lab)["Block"][-1])
    assert "3 messages were" in shown.text
    assert held(lab) == []
    assert set(lists(lab)) == {f"eve{number}@elsewhere.example" for number in range(3)}


def test_fetching_decides_nothing(served: Served) -> None:
    lab = served.lab
    lab.receive(mail_of())
    for path in [path for paths in links(lab).values() for path in paths]:
        for _ in range(10):
            visitor = Visitor(served)
            assert visitor.ask(path, method="HEAD").status == 303
            clean, page = opened(visitor, path)
            assert page.status == 200
            assert visitor.ask(clean, method="HEAD").status == 200
    assert held(lab) == ["Hello"]
    assert lists(lab) == {}


def test_a_second_link_after_the_decision(served: Served) -> None:
    lab = served.lab
    lab.receive(mail_of())
    found = links(lab)
    assert "Done" in pressed(Visitor(served), found["Release"][0]).text
    _, page = opened(Visitor(served), found["Block"][0])
    assert "Nothing to decide" in page.text
    assert lists(lab) == {}


def test_a_button_pressed_twice(served: Served) -> None:
    lab = served.lab
    lab.receive(mail_of())
    visitor = Visitor(served)
    clean, page = opened(visitor, links(lab)["Release"][0])
    assert "Done" in visitor.submit(page, clean).text
    assert "been decided already" in visitor.submit(page, clean).text


def test_a_link_is_good_while_its_message_is_undecided(served: Served) -> None:
    lab = served.lab
    lab.receive(mail_of())
    path = links(lab)["Release"][0]
    lab.advance(days=13)
    assert "Release this message?" in opened(Visitor(served), path)[1].text
    lab.advance(days=2)
    assert "Nothing to decide" in opened(Visitor(served), path)[1].text


def test_it_ends_with_the_password_and_with_the_person(served: Served) -> None:
    lab = served.lab
    lab.receive(mail_of())
    first = links(lab)["Release"][0]
    set_password(lab, ANN, "Correct-horse-7")
    assert Visitor(served).ask(first).status == 410
    lab.receive(mail_of(subject="another"))
    second = links(lab)["Release"][0]
    with lab.server.write() as tx:
        person = people.find(tx, ANN)
        assert person is not None
        people.disable(tx, int(person.id), True)
    assert Visitor(served).ask(second).status == 410


@pytest.mark.parametrize("secret", ["x", "A" * 43, "%00", "..%2f..%2fetc"])
def test_no_link(served: Served, secret: str) -> None:
    shown = Visitor(served).ask(f"/digest/{secret}")
    assert shown.status in (404, 410)
    assert "ann@example.com" not in shown.text


def test_another_browser_has_no_link(served: Served) -> None:
    served.lab.receive(mail_of())
    clean, _ = opened(Visitor(served), links(served.lab)["Release"][0])
    assert Visitor(served).ask(clean).status == 410
    assert held(served.lab) == ["Hello"]


def test_a_form_of_another_site_decides_nothing(served: Served) -> None:
    served.lab.receive(mail_of())
    visitor = Visitor(served)
    clean, _ = opened(visitor, links(served.lab)["Release"][0])
    assert visitor.ask(clean, {}).status == 403
    assert held(served.lab) == ["Hello"]


def test_in_a_browser_at_phone_width(served: Served) -> None:
    served.lab.receive(mail_of(subject="Ten things to do before the first frost, and a very long subject indeed"))
    path = links(served.lab)["Permit"][0]
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 360, "height": 740}, java_script_enabled=False)
        page.goto(f"{served.server.http_url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("button", name="Permit").click()
        assert page.get_by_role("heading", name="Done").is_visible()
    assert lists(served.lab) == {"eve@elsewhere.example": "permitted"}
