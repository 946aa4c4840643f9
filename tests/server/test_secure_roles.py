"""Who may do what with a secure message: a role by endpoint matrix typed by hand from portal-rules F and H.

The message is ann's, to carl and (cc) dora outside and to bob inside, by a definition that expires. Signs of cells:

    +   it is done
    F   refused, though the caller may know of the message, or for whoever is outside altogether
    -   answered as if there were no such message
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

from asking import Asking, Told
from conftest import ADMIN, ANN, BOB, Lab
from mimeportal.wire import Endpoint
from mimeportal_server import apps, outsiders, people
from mimeportal_server.door import NOUNS
from mimeportal_server.store.schema import delegates

CARL, DORA, OTTO = "carl@elsewhere.example", "dora@other.example", "otto@third.example"
DELEGATE, OTHER, MODERATOR = "del@example.com", "other@example.com", "moderator@example.com"
DEFINITION = "Allow Print, 7 Day Exp"
ROLES = {
    "sender": ANN,
    "delegate": DELEGATE,
    "to": CARL,
    "cc": DORA,
    "inside": BOB,
    "other": OTHER,
    "otto": OTTO,
    "moderator": MODERATOR,
    "admin": ADMIN,
    "blind": "blind@example.com",
    "app": "app:works",
    "mod. app": "app:moderates",
}

# act             operation          sender deleg. to   cc   inside other otto mod. admin blind app  mod. app
MESSAGE = {
    "see by id":  ("secure.list",    "+",  "+",  "+", "+",  "+",  "-",  "-", "-",  "+",  "+",  "+",  "-"),
    "show":       ("secure.show",    "+",  "+",  "+", "+",  "+",  "-",  "-", "-",  "+",  "F",  "+",  "-"),
    "print":      ("secure.print",   "+",  "+",  "+", "+",  "+",  "-",  "-", "-",  "F",  "F",  "F",  "-"),
    "file":       ("secure.file",    "+",  "+",  "+", "+",  "+",  "-",  "-", "-",  "+",  "F",  "+",  "-"),
    "reply":      ("secure.reply",   "F",  "F",  "+", "+",  "+",  "-",  "-", "-",  "F",  "F",  "F",  "-"),
    "reply all":  ("secure.reply",   "F",  "F",  "+", "+",  "+",  "-",  "-", "-",  "F",  "F",  "F",  "-"),
    "mark":       ("secure.mark",    "F",  "F",  "+", "+",  "+",  "-",  "-", "-",  "F",  "F",  "F",  "-"),
    "delete":     ("secure.delete",  "+",  "+",  "+", "+",  "F",  "-",  "-", "-",  "F",  "F",  "F",  "-"),
    "restore":    ("secure.restore", "+",  "+",  "+", "+",  "F",  "-",  "-", "-",  "F",  "F",  "F",  "-"),
    "recall":     ("secure.recall",  "+",  "+",  "F", "F",  "F",  "-",  "F", "-",  "+",  "+",  "+",  "-"),
    "extend":     ("secure.extend",  "+",  "+",  "F", "F",  "F",  "-",  "F", "-",  "F",  "F",  "F",  "-"),
    "expire":     ("secure.expire",  "+",  "+",  "F", "F",  "F",  "-",  "F", "-",  "+",  "+",  "+",  "-"),
    "notify":     ("secure.notify",  "+",  "+",  "F", "F",  "F",  "-",  "F", "-",  "F",  "F",  "F",  "-"),
    "log":        ("secure.log",     "F",  "F",  "F", "F",  "F",  "-",  "F", "-",  "+",  "+",  "+",  "-"),
}  # fmt: skip

# Acts about no message of ann's.
OTHERS = {
    "own folder":   ("secure.list",        "+", "+", "+", "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "ann's folder": ("secure.list",        "+", "+", "F", "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "send":         ("secure.send",        "+", "+", "+", "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "send as ann":  ("secure.send",        "+", "+", "F", "F", "F", "F", "F", "F", "F", "F", "F", "F"),
    "send outside": ("secure.send",        "+", "+", "F", "F", "+", "+", "F", "+", "+", "+", "F", "F"),
    "definitions":  ("secure.definitions", "+", "+", "F", "F", "+", "+", "F", "+", "+", "+", "F", "F"),
    "settings":     ("secure.settings",    "+", "+", "+", "+", "+", "+", "+", "+", "+", "+", "+", "+"),
    "monitor":      ("secure.monitor",     "F", "F", "F", "F", "F", "F", "F", "F", "+", "+", "+", "F"),
}  # fmt: skip

# What people outside may call beside secure messages.
FOR_OUTSIDERS = {
    "account.whoami",
    "account.password",
    "account.preferences",
    "account.set_preferences",
    "account.find_contacts",
    "auth.logout",
    "messages.upload",
    *(operation for operation, *_ in MESSAGE.values() if operation not in (
        "secure.recall", "secure.extend", "secure.expire", "secure.notify", "secure.log"
    )),
    "secure.send",
    "secure.settings",
}  # fmt: skip

ENDPOINTS: list[Endpoint[Any, Any]] = [
    row for noun in NOUNS for row in import_module(f"mimeportal.{noun}.contract").ENDPOINTS if row.authorised
]


class World:
    """One portal with everybody in it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        with lab.server.write() as tx:
            for address, role, scopes, view in (
                (DELEGATE, "user", (), False),
                (OTHER, "user", (), False),
                (MODERATOR, "user", (ANN, "elsewhere.example"), False),
                (ROLES["blind"], "administrator", (), False),
            ):
                people.add(tx, address, role=role, scopes=scopes, content_view=view, domains=("example.com",), now=0)
            for name, role, scopes in (("works", "administrator", ()), ("moderates", "user", (ANN,))):
                apps.add(lab.server, tx, name, role=role, scopes=scopes, content_view=True)
            outsiders.invite(tx, lab.server, OTTO)
            owner, delegate = people.find(tx, ANN), people.find(tx, DELEGATE)
            assert owner is not None
            assert delegate is not None
            tx.execute(delegates.insert(), {"owner_id": owner.id, "delegate_id": delegate.id, "added": 0})
        self.ask = Asking(lab)
        self.count = 0
        self.lasting = self.message()

    def message(self) -> str:
        self.count += 1
        content = {"subject": f"message {self.count}", "text": "text", "definition": DEFINITION}
        to, cc = [{"emailAddress": CARL}, {"emailAddress": BOB}], [{"emailAddress": DORA}]
        return str(self("send", {"requestId": f"r{self.count}", "to": to, "cc": cc, **content}, by=ANN).row["id"])

    def __call__(self, name: str, item: Any = None, *, by: str) -> Told:
        items = [] if item is None else [item]
        return self.ask(f"/api/portal/secure/{name}", *items, by=by)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    lab = Lab(tmp_path_factory.mktemp("roles") / "home")
    world = World(lab)
    yield world
    world.ask.close()
    lab.server.close()


Act = Callable[[World, str, str], Told]
UNTIL = "2027-06-01T00:00:00+0000"
ACTS: dict[str, Act] = {
    "see by id": lambda world, one, by: world("list", {"ids": [one]}, by=by),
    "show": lambda world, one, by: world("show", {"id": one}, by=by),
    "print": lambda world, one, by: world("print", {"id": one}, by=by),
    "file": lambda world, one, by: world("file", {"id": one}, by=by),
    "reply": lambda world, one, by: world("reply", {"requestId": f"{one[-30:]}{by}", "id": one, "text": "x"}, by=by),
    "reply all": lambda world, one, by: world(
        "reply", {"requestId": f"{one[-30:]}{by}", "id": one, "text": "x", "all": True}, by=by
    ),
    "mark": lambda world, one, by: world("mark", {"id": one, "read": True}, by=by),
    "delete": lambda world, one, by: world("delete", {"id": one}, by=by),
    "restore": lambda world, one, by: world("restore", {"id": one}, by=by),
    "recall": lambda world, one, by: world("recall", {"id": one}, by=by),
    "extend": lambda world, one, by: world("extend", {"id": one, "until": UNTIL}, by=by),
    "expire": lambda world, one, by: world("expire", {"id": one}, by=by),
    "notify": lambda world, one, by: world("notify", {"id": one}, by=by),
    "log": lambda world, one, by: world("log", {"id": one}, by=by),
}


def sign_of(told: Told) -> str:
    if told.code in ("forbidden", "err_xdk_operation_forbidden_for_address"):
        return "F"
    if told.code == "not_found":
        return "-"
    assert told.code == "", told.octets
    return "+" if told.headers["content-type"] != "application/json" or told.rows else "-"


def cells(table: dict[str, Any]) -> Any:
    pairs = [(act, role, cell) for act, (_, *row) in table.items() for role, cell in zip(ROLES, row, strict=True)]
    return pytest.mark.parametrize(("act", "role", "cell"), pairs, ids=[f"{act}: {role}" for act, role, _ in pairs])


@pytest.fixture(scope="module")
def with_file(world: World) -> str:
    """The id of a file in a message to everybody whom ann's messages go to."""
    client = world.lab.client(ANN)
    uploaded = client.messages.upload(("a.txt", b"a file"))
    client.close()
    attached = [{"id": uploaded.upload_id, "filename": uploaded.name}]
    to = [{"emailAddress": CARL}, {"emailAddress": BOB}, {"emailAddress": DORA}]
    sent = world("send", {"requestId": "with a file", "to": to, "text": "x", "attachments": attached}, by=ANN)
    shown = world("show", {"id": sent.row["id"]}, by=ANN).row
    return str(shown["attachments"][0]["id"])


@cells(MESSAGE)
def test_a_message(world: World, with_file: str, act: str, role: str, cell: str) -> None:
    id = with_file if act == "file" else world.message()
    assert sign_of(ACTS[act](world, id, ROLES[role])) == cell


@cells(OTHERS)
def test_what_is_about_no_message(world: World, act: str, role: str, cell: str) -> None:
    by = ROLES[role]
    world.count += 1
    new = {"requestId": f"n{world.count}", "subject": "new", "text": "x"}
    asked: dict[str, Callable[[], Told]] = {
        "own folder": lambda: world("list", {"folder": "sent"}, by=by),
        "ann's folder": lambda: world("list", {"folder": "sent", "mailbox": ANN}, by=by),
        "send": lambda: world("send", {**new, "to": [{"emailAddress": BOB}], "option": "no-print"}, by=by),
        "send as ann": lambda: world(
            "send", {**new, "to": [{"emailAddress": BOB}], "option": "no-print", "mailbox": ANN}, by=by
        ),
        "send outside": lambda: world("send", {**new, "to": [{"emailAddress": CARL}]}, by=by),
        "definitions": lambda: world("definitions", by=by),
        "settings": lambda: world("settings", by=by),
        "monitor": lambda: world("monitor", {}, by=by),
    }
    told = asked[act]()
    sign = sign_of(told)
    assert ("+" if sign == "-" and act == "own folder" else sign) == cell


def test_the_matrix_has_every_operation() -> None:
    typed = {operation for table in (MESSAGE, OTHERS) for operation, *_ in table.values()}
    assert typed == {endpoint.name for endpoint in ENDPOINTS if endpoint.noun == "secure"}
    assert set(ACTS) == set(MESSAGE)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_people_outside_have_secure_messages_and_nothing_else(world: World, endpoint: Any) -> None:
    """Refused before anything is looked at, whatever is asked."""
    told = world.ask.send(endpoint.path, {"data": [{"id": world.lasting}]}, by=CARL, method=endpoint.method)
    failures = json.loads(told.octets)["fail"] if told.headers["content-type"] == "application/json" else []
    sentences = [error.get("message", "") for entry in failures for error in entry.get("errors", [entry])]
    refused = told.status == 403 and any("People outside have secure messages here" in text for text in sentences)
    assert refused == (endpoint.name not in FOR_OUTSIDERS)


NOT_THEIRS = [
    (act, role) for act, (_, *row) in MESSAGE.items() for role, cell in zip(ROLES, row, strict=True) if cell == "-"
]


@pytest.mark.parametrize(("act", "role"), NOT_THEIRS)
def test_not_yours_and_not_there_answer_alike(world: World, with_file: str, act: str, role: str) -> None:
    """To the last octet, but for the id that was asked about and the name of the request (promises E.1)."""
    kind = "securefile" if act == "file" else "secure"
    never = world.ask.portal.sealer.id(kind, 987_654_321)
    there = with_file if act == "file" else world.lasting
    answers = []
    for id in (there, never):
        told = ACTS[act](world, id, ROLES[role])
        headers = {name: value for name, value in told.headers.items() if name != "x-request-id"}
        text = told.octets.replace(id.encode(), b"ID").replace(id[-30:].encode(), b"ID")
        answers.append((told.status, json.dumps(headers), text))
    assert answers[0] == answers[1]
