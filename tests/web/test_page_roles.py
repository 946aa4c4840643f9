"""Who gets what from which page: every page by everybody, typed by hand (promises E.1, portal-rules H)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module

import pytest
from writing import CLIENT, OTHER, PASSWORD, Office

from browsing import Visitor, set_password
from conftest import ADMIN, ANN, BOB
from mimeportal_server.web import route
from mimeportal_server.web.route import Route
from served import Served, serving

# nobody: not logged in. other: outside, with a message of their own. reader, sender: of the message in the path.
# inside: another of the account's people. admin: an administrator.
WHO = ("nobody", "other", "reader", "sender", "inside", "admin")
ALL = dict.fromkeys(WHO, 200)
# A page for who is logged in: others are led to the log-in (GET), or told that nothing was done (POST).
IN = {**ALL, "nobody": 303}
TO_IN = {**ALL, "nobody": 401}
# Answers of the message's own: it is there for its reader and its sender, and for administrators who may see content.
READ = {"nobody": 303, "other": 404, "reader": 200, "sender": 200, "inside": 404, "admin": 200}
PAGES = {
    "GET /static/{hash}/{name}": ALL,
    "GET /": dict.fromkeys(WHO, 303),
    "GET /log-in": {**dict.fromkeys(WHO, 303), "nobody": 200},
    "POST /log-in": dict.fromkeys(WHO, 401),  # with a wrong password
    "POST /log-out": TO_IN,
    "POST /password/check": ALL,
    "GET /password/forgotten": ALL,
    "POST /password/forgotten": ALL,
    "GET /r/{token}": dict.fromkeys(WHO, 410),  # a wrong link is wrong for everybody
    "GET /password/reset": dict.fromkeys(WHO, 410),
    "POST /password/reset": dict.fromkeys(WHO, 410),
    "GET /password/new": dict.fromkeys(WHO, 410),
    "POST /password/new": dict.fromkeys(WHO, 410),
    "GET /s/{token}": dict.fromkeys(WHO, 410),
    "GET /secure/open/{id}": dict.fromkeys(WHO, 303),  # to the message, which says for whom it is, or to the log-in
    "POST /secure/open/{id}": dict.fromkeys(WHO, 410),  # without the link it sets nobody's password
    "GET /secure/inbox": IN,
    "GET /secure/sent": IN,
    "GET /secure/deleted": IN,
    "GET /secure/messages/{id}": READ,
    "GET /secure/messages/{id}/body": READ,
    "GET /secure/messages/{id}/still": READ,
    "POST /secure/messages/{id}/print": {**READ, "nobody": 401, "admin": 403},
    "POST /secure/messages/{id}/mark": {**READ, "nobody": 401, "reader": 303, "sender": 403, "admin": 403},
    "GET /secure/messages/{id}/delete": {**READ, "admin": 404},
    "POST /secure/messages/{id}/delete": {**READ, "nobody": 401, "reader": 303, "sender": 303, "admin": 403},
    "POST /secure/messages/{id}/restore": {**READ, "nobody": 401, "reader": 303, "sender": 303, "admin": 403},
    "GET /secure/files/{id}": READ,
    "GET /secure/messages/{id}/reply": {**READ, "sender": 403, "admin": 403},
    "POST /secure/messages/{id}/reply": {**READ, "nobody": 401, "reader": 303, "sender": 403, "admin": 403},
    "GET /secure/compose": IN,
    "POST /secure/compose": {**TO_IN, **dict.fromkeys(WHO[1:], 422)},  # without a recipient
    "GET /preferences": IN,
    "POST /preferences": {**TO_IN, **dict.fromkeys(WHO[1:], 422)},  # with a wrong value
    "GET /preferences/password": IN,
    "POST /preferences/password": {**TO_IN, **dict.fromkeys(WHO[1:], 422)},  # with a weak one
    # What a link in a digest, or to large files, stands for is whoever has it: a wrong one is wrong for everybody.
    "GET /largefiles/link/{secret}": dict.fromkeys(WHO, 410),
    "GET /largefiles/of/{name}": dict.fromkeys(WHO, 410),
    "POST /largefiles/of/{name}/key": dict.fromkeys(WHO, 410),
    "POST /largefiles/of/{name}/fetch": dict.fromkeys(WHO, 410),
    "GET /largefiles/fetch/{secret}/{file}": dict.fromkeys(WHO, 410),
    "GET /digest/{secret}": dict.fromkeys(WHO, 410),
    "GET /digest/of/{name}": dict.fromkeys(WHO, 410),
    "POST /digest/of/{name}": dict.fromkeys(WHO, 410),
}
FORMS = {
    "/log-in": {"step": "password", "address": "nobody@example.com", "password": "wrong"},
    "/password/forgotten": {"address": "nobody@elsewhere.example"},
    "/secure/messages/{id}/mark": {"as": "unread"},
    "/secure/messages/{id}/reply": {"step": "send", "text": "x", "request_id": "one"},
    "/secure/open/{id}": {"password": "Stolen-horse-9", "again": "Stolen-horse-9"},
    "/secure/compose": {"step": "options"},
    "/preferences": {"date_format": "none"},
    "/preferences/password": {"current": "x", "password": "weak", "again": "weak"},
}


def routes() -> list[Route]:
    return [entry for name in route.MODULES for entry in import_module(f"mimeportal_server.web.{name}").ROUTES]


class Company:
    """Everybody with a browser, and one message."""

    def __init__(self, served: Served) -> None:
        self.served = served
        office = Office(served)
        self.id = office.send(files={"a.txt": b"a"})
        self.visitors = {"nobody": Visitor(served), "reader": office.visitor()}
        office.send(to=OTHER)
        self.visitors["other"] = office.visitor(OTHER)
        for who, address in (("sender", ANN), ("inside", BOB), ("admin", ADMIN)):
            set_password(served.lab, address, PASSWORD)
            self.visitors[who] = Visitor(served)
            self.visitors[who].log_in(address, PASSWORD)
        self.file = re.findall(
            r"/secure/files/([^\"]+)", self.visitors["reader"].ask(f"/secure/messages/{self.id}").text
        )[0]

    def path(self, entry: Route) -> str:
        if entry.path.startswith("/static"):
            return re.findall(r'"(/static/[^"]+css)"', self.visitors["nobody"].ask("/log-in").text)[0]
        id = self.file if entry.path.startswith("/secure/files") else self.id
        query = "?of=00000000-0000-4000-8000-000000000000" if entry.path.endswith("/body") else ""
        return re.sub(r"\{\w+\}", "A" * 43, entry.path.replace("{id}", id)) + query

    def status(self, who: str, entry: Route) -> int:
        visitor = self.visitors[who]
        if entry.method == "GET":
            return visitor.ask(self.path(entry)).status
        page = visitor.ask("/preferences" if visitor.session() else "/password/forgotten")
        csrf = page.fields("/log-out" if visitor.session() else "/password/forgotten")["csrf"]
        return visitor.ask(self.path(entry), {"csrf": csrf, **FORMS.get(entry.path, {})}).status


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    with serving(tmp_path_factory.mktemp("roles") / "home") as served:
        yield Company(served)


def test_every_page_has_its_line() -> None:
    assert {f"{entry.method} {entry.path}" for entry in routes()} == set(PAGES)


# Those that end a session, or move the message, in an order of their own.
LATE = ("POST /secure/messages/{id}/delete", "POST /secure/messages/{id}/restore", "POST /log-out")


def test_who_gets_what(company: Company) -> None:
    wrong = []
    named = {f"{entry.method} {entry.path}": entry for entry in routes()}
    for name in sorted(named, key=lambda name: LATE.index(name) if name in LATE else -1):
        entry = named[name]
        for who in WHO:
            status = company.status(who, entry)
            if status != PAGES[name][who]:
                wrong.append(f"{name} by {who}: {status}, not {PAGES[name][who]}")
    assert wrong == [], "\n".join(wrong)


def test_no_post_is_done_without_its_token(company: Company) -> None:
    posts = [entry for entry in routes() if entry.method == "POST" and not entry.session]
    assert len(posts) > 5
    for entry in posts:
        status = company.visitors["nobody"].ask(company.path(entry), FORMS.get(entry.path, {})).status
        assert status == 403, entry.path


def test_no_post_of_somebody_logged_in_is_done_without_its_token(company: Company) -> None:
    visitor = Visitor(company.served)
    assert visitor.log_in(CLIENT, PASSWORD).status == 303
    posts = [entry for entry in routes() if entry.method == "POST"]
    for entry in posts:
        assert visitor.ask(company.path(entry), FORMS.get(entry.path, {})).status == 403, entry.path
    assert visitor.ask("/secure/inbox").status == 200
