"""What a developer holds in their hands: exceptions, models, names, signatures, log lines."""

from __future__ import annotations

import ast
import asyncio
import builtins
import collections.abc
import copy
import dataclasses
import inspect
import pickle
import pkgutil
import re
import textwrap
import typing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, ForwardRef

import pytest

import mimeportal
from conftest import ADMIN, ANN, BOB, SPAM, Lab, mail_of
from mimeportal import Api, HoldFilter, MailFilter, Report, SecureFilter, errors, holds, messages, secure, wire
from mimeportal.errors import (
    ApiError,
    LostAnswerError,
    MimeportalError,
    RateLimitedError,
    UnavailableError,
    UsageError,
    api_error,
)
from mimeportal.portal import Portal
from mimeportal.testing import PortalServer, mail

NOUNS = ("account", "auth", "holds", "largefiles", "messages", "reports", "secure", "senders")
PACKAGES = ("mimeportal", *(f"mimeportal.{noun}" for noun in NOUNS))

# -- exceptions ------------------------------------------------------------------------------------------------


def drawn() -> dict[str, str]:
    """Each exception of the drawing, with the one that it hangs on."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─ ]*)(\w+Error)\b", line)
        if not found:
            continue
        depth, name = len(found[1]), found[2]
        above = [entry for entry in above if entry[0] < depth]
        parents[name] = above[-1][1] if above else "Exception"
        above.append((depth, name))
    return parents


def modules() -> list[str]:
    return [found.name for found in pkgutil.walk_packages(mimeportal.__path__, "mimeportal.")]


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_the_tree_is_drawn_as_it_is() -> None:
    for name in modules():
        import_module(name)
    ours = {kind for kind in subclasses(MimeportalError) if kind.__module__.startswith("mimeportal")}
    assert drawn() == {kind.__name__: kind.__base__.__name__ for kind in ours if kind.__base__}


@pytest.mark.parametrize("name", sorted(drawn()))
def test_an_exception_travels_between_processes(name: str) -> None:
    error = getattr(mimeportal, name)("It failed.", why="So it is.", remedy="Try again.")
    error.noted = 1
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == ("It failed.", vars(error))
    assert copy.__doc__


def test_an_error_of_a_portal_travels_whole() -> None:
    error = api_error("err_x", "No.", status=429, request_id="r-1", field="to", key={"id": "i"}, retryable=True)
    assert isinstance(error, RateLimitedError)
    error.retry_after = 7.5
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.code, copy.status, copy.request_id, copy.field, copy.key, copy.retryable, copy.retry_after) == (
        "err_x", 429, "r-1", "to", {"id": "i"}, True, 7.5,
    )  # fmt: skip
    assert issubclass(LostAnswerError, ApiError)


# -- models ----------------------------------------------------------------------------------------------------


def models() -> list[type[Any]]:
    """Every value that the packages of the nouns export."""
    found = {
        value
        for package in PACKAGES
        for value in (getattr(import_module(package), name) for name in import_module(package).__all__)
        if isinstance(value, type) and dataclasses.is_dataclass(value)
    }
    return sorted(found, key=lambda kind: kind.__qualname__)


FROZEN = [kind for kind in models() if kind.__dataclass_params__.frozen]


@pytest.mark.parametrize("kind", FROZEN, ids=lambda kind: kind.__name__)
def test_a_value_can_be_in_a_set(kind: type[Any]) -> None:
    """What is frozen has a hash: no list or dict takes part in it."""
    hashed = [
        field.name
        for field in dataclasses.fields(kind)
        if (field.compare if field.hash is None else field.hash) and re.match(r"(list|dict|Mapping)\[", str(field.type))
    ]
    assert hashed == []


@pytest.mark.parametrize(
    "filter",
    [
        HoldFilter(from_="a@b.example", search="x*", since=datetime(2026, 1, 2, tzinfo=UTC)),
        MailFilter(subject="x", has_attachments=True),
        SecureFilter(folder="sent", to="b.example"),
    ],
    ids=lambda wanted: type(wanted).__name__,
)
def test_a_filter_travels_between_processes_and_threads(filter: Any) -> None:
    """Once it was used, too."""
    filter.check()
    for copied in (pickle.loads(pickle.dumps(filter)), copy.deepcopy(filter)):
        assert copied == filter
        assert hash(copied) == hash(filter)
        copied.check()


def test_what_a_portal_tells_travels_between_processes(lab: Lab) -> None:
    lab.receive(mail_of(), reason=SPAM)
    lab.receive(mail_of(subject="kept"), reason=None)
    with lab.client(ADMIN) as portal:
        holds = list(portal.holds.list(queue="admin"))
        told: list[Any] = [
            *holds,
            portal.holds.get(holds[0].id),
            *portal.holds.states([hold.id for hold in holds]),
            portal.account.whoami(),
            portal.account.show(),
            *portal.holds.summary(),
        ]
        result = portal.holds.release(holds)
        told += portal.holds.log()
        told += portal.messages.track()
        told.append(portal.messages.info(portal.messages.track().first(1)[0].id, content=True))
        told += portal.messages.list(mailbox=ANN)
        told.append(portal.messages.get(told[-1].id))
        told += portal.senders.list()
    assert len({type(value) for value in told}) >= 10
    for value in told:
        again = pickle.loads(pickle.dumps(value))
        assert again == value
        if dataclasses.is_dataclass(value):
            assert hash(again) == hash(value)
            assert {value, again} == {value}
    assert pickle.loads(pickle.dumps(result)) == result
    times = [
        getattr(value, field.name)
        for value in told
        if dataclasses.is_dataclass(value)
        for field in dataclasses.fields(value)
        if "datetime" in str(field.type)
    ]
    assert times
    assert all(time is None or time.tzinfo is UTC for time in times), "in UTC, and saying so"


# -- names and signatures --------------------------------------------------------------------------------------


def methods() -> Iterator[tuple[str, str, ast.FunctionDef]]:
    """(noun, name, definition) of every method that a client offers."""
    for noun in NOUNS:
        client = getattr(import_module(f"mimeportal.{noun}"), f"{noun.capitalize()}Client")
        for kind in client.__mro__:
            if kind.__module__.startswith("mimeportal."):
                (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
                assert isinstance(body, ast.ClassDef)
                for node in body.body:
                    if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                        yield noun, node.name, node


METHODS = list(methods())
every_method = pytest.mark.parametrize(
    ("noun", "name", "node"), METHODS, ids=[f"{noun}.{name}" for noun, name, _ in METHODS]
)
# What comes from Python itself, and modules in whose namespace a type is named.
_PLAIN = {*dir(builtins), *typing.__all__, *collections.abc.__all__, "datetime", "date", "Path", "os", "PathLike"}
_MODULES = {"contract", "acting", "changing", "siem"}


@every_method
def test_what_a_signature_names_can_be_imported(noun: str, name: str, node: ast.FunctionDef) -> None:
    """From the package of the noun or from `mimeportal`: nobody needs to know in which module a type lies."""
    offered = {*mimeportal.__all__, *import_module(f"mimeportal.{noun}").__all__}
    arguments = [*node.args.args, *node.args.kwonlyargs, *filter(None, [node.args.kwarg])]
    named = {
        part.id if isinstance(part, ast.Name) else part.attr
        for annotation in [*(argument.annotation for argument in arguments), node.returns]
        for part in (ast.walk(annotation) if annotation else ())
        if isinstance(part, ast.Name | ast.Attribute)
    }
    assert named <= offered | _PLAIN | _MODULES


# Whatever takes these takes them by name; lists take how many rows a page has (those of reports come in pages of the
# portal's own size).
BY_NAME = {"since", "until", "mailbox", "page_size", "report", "on_outcomes", "request_id", "limit", "retry_from"}


@every_method
def test_the_same_thing_has_the_same_name_everywhere(noun: str, name: str, node: ast.FunctionDef) -> None:
    positional = {argument.arg for argument in node.args.args}
    if (noun, name) not in {("reports", "rows"), ("reports", "by_name")}:  # whose `report` is the name of one
        assert not positional & BY_NAME
    if noun != "reports" and node.returns and ast.unparse(node.returns).startswith("Pages["):
        assert "page_size" in {argument.arg for argument in node.args.kwonlyargs}
    if node.returns and ast.unparse(node.returns) == "BulkResult":
        assert {"report", "on_outcomes"} <= {argument.arg for argument in node.args.kwonlyargs}


@every_method
def test_a_method_says_what_it_raises(noun: str, name: str, node: ast.FunctionDef) -> None:
    """Itself, or its client for all of its methods."""
    client = getattr(import_module(f"mimeportal.{noun}"), f"{noun.capitalize()}Client")
    if any(ast.unparse(decorator) == "cached_property" for decorator in node.decorator_list):
        return
    told = f"{ast.get_docstring(node)} {client.__doc__}"
    assert re.search(r"\b[Rr]aise|nothing is sent", told), f"{noun}.{name} does not say what it raises"


@pytest.mark.parametrize(
    ("conditions", "kind"),
    [
        (holds.HoldConditions, holds.HoldFilter),
        (messages.MailConditions, messages.MailFilter),
        (secure.SecureConditions, secure.SecureFilter),
    ],
)
def test_conditions_by_name_are_those_of_the_filter(conditions: type[Any], kind: type[Any]) -> None:
    assert conditions.__annotations__ == {
        field.name: ForwardRef(str(field.type), module=conditions.__module__) for field in dataclasses.fields(kind)
    }


def test_the_fields_of_a_message_are_those_of_a_new_message() -> None:
    assert set(messages.MessageFields.__annotations__) == {
        field.name for field in dataclasses.fields(messages.NewMessage)
    }


# -- a portal in a program -------------------------------------------------------------------------------------


def test_a_portal_shows_where_it_leads_and_no_secret(portal_server: PortalServer, lab: Lab) -> None:
    assert repr(portal_server.client(ANN)) == f"Portal({portal_server.url!r}, user={ANN!r})"
    with lab.client() as portal:
        assert repr(portal) == f"Portal({lab.url!r}, user={ANN!r})"
        assert repr(portal.holds.list()) == "Pages(...)"


def test_log_lines_name_operation_request_and_ending_and_no_secret(
    portal_server: PortalServer, caplog: pytest.LogCaptureFixture
) -> None:
    portal_server.home.deliver(mail("What nobody else may read"), hold=SPAM)
    keys = portal_server._bench.app_keys() | portal_server._bench.person_keys(ANN)
    with caplog.at_level("DEBUG"):
        portal_server.faults.add("holds.find", "status", status=503, retryable=True)
        for who, api in ((ANN, None), ("app", None), ("app", "api1")):
            portal = portal_server.client(who, api=api)
            (hold,) = portal.holds.list(queue="personal" if who == ANN else "admin")
            b"".join(portal.holds.download(hold.id))
    lines = [record.getMessage() for record in caplog.records if record.name == "mimeportal"]
    assert re.match(r"holds.find: 503 in \d+ ms, attempt 1, request [-\w]+$", lines[0])
    assert re.match(r"holds.find: 200 in \d+ ms, attempt 2, request [-\w]+$", lines[1])
    told = {request.request_id for request in portal_server.requests}
    assert {line.rpartition(" ")[2] for line in lines} <= told
    assert any(line.startswith("auth.token: 200") for line in lines)
    for hidden in (*keys.values(), hold.id, hold.subject, ANN):
        assert hidden not in "\n".join(lines)
    for name, secret in keys.items():
        if name not in ("client_id", "app_id"):
            assert secret not in caplog.text, "of any library"


@pytest.mark.parametrize("attempts", [1, 3])
def test_how_often_a_call_is_sent_can_be_said(attempts: int, portal_server: PortalServer) -> None:
    portal_server.faults.add("holds.find", "status", status=503, times=None)
    credentials = portal_server._credentials("app", None)
    portal = Portal.open(portal_server.url, credentials=credentials, attempts=attempts)
    with portal, pytest.raises(UnavailableError):
        portal.holds.list().first(1)
    assert [request.operation for request in portal_server.requests].count("holds.find") == attempts


@pytest.mark.parametrize("attempts", [0, -1, 1.5, "2", True, 1_000])
def test_what_is_no_number_of_attempts(attempts: Any, lab: Lab) -> None:
    with pytest.raises(UsageError, match="Not a number of attempts"):
        Portal.open(lab.url, user=ANN, attempts=attempts)


@pytest.mark.parametrize("door", ["local", "http"])
def test_one_portal_serves_many_threads(door: str, portal_server: PortalServer) -> None:
    """With the same client, its clients of nouns made by whichever thread is first; from a loop of asyncio too."""
    for number in range(12):
        portal_server.home.deliver(mail(f"Mail {number}"), hold=SPAM)
    portal = portal_server.home.client() if door == "local" else portal_server.client(ANN)

    def read(number: int) -> tuple[str, str]:
        (hold,) = portal.holds.list(subject=f"Mail {number}", larger_than=1).first(1)
        portal.senders.list().first(1)
        return hold.subject, str(portal.holds.get(hold.id).hold)

    async def together() -> list[tuple[str, str]]:
        return await asyncio.gather(*(asyncio.to_thread(read, number) for number in range(2, 12)))

    found = asyncio.run(together())
    assert [subject for subject, _ in found] == [f"Mail {number}" for number in range(2, 12)]
    assert all(repr(subject) in hold for subject, hold in found)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(portal.holds.release, [[hold.id] for hold in portal.holds.list()]))
    assert [result.totals for result in results] == [{"done": 1}] * 12
    portal.close()
    assert len(portal_server.home.delivered()) == 12


def test_a_list_is_fetched_while_it_is_read(portal_server: PortalServer) -> None:
    for number in range(7):
        portal_server.home.deliver(mail(f"Mail {number}"), hold=SPAM)
    portal = portal_server.client(ANN)

    def pages() -> int:
        return [request.operation for request in portal_server.requests].count("holds.find")

    holds = portal.holds.list(page_size=2)
    assert pages() == 0
    rows = iter(holds)
    assert [next(rows).subject, next(rows).subject] == ["Mail 6", "Mail 5"]
    assert pages() == 1
    assert next(rows).subject == "Mail 4"
    assert pages() == 2
    assert len(list(holds)) == 7, "each iteration begins anew"
    assert [len(page.rows) for page in holds.pages()] == [2, 2, 2, 1]
    for size in (0, -1, True, "2"):
        with pytest.raises(UsageError, match="page_size"):
            portal.messages.list(page_size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        lambda portal: portal.secure.send(to=[BOB], subject="s", body="b"),
        lambda portal: portal.messages.list().first(1),
        lambda portal: portal.senders.list().first(1),
        lambda portal: portal.account.preferences(),
        lambda portal: portal.largefiles.list().first(1),
    ],
    ids=["secure.send", "messages.list", "senders.list", "account.preferences", "largefiles.list"],
)
def test_an_app_is_asked_whose_mailbox_is_meant(call: Callable[[Portal], Any], portal_server: PortalServer) -> None:
    with pytest.raises(UsageError, match="Whose mailbox"):
        call(portal_server.client())
    assert [request.operation for request in portal_server.requests if not request.operation.startswith("auth.")] == []


@pytest.mark.parametrize("api", ["api1", "api2"])
def test_a_permit_that_failed_is_taken_up_with_its_entry(api: Api, portal_server: PortalServer, tmp_path: Path) -> None:
    """The line of a failure names no entry; Mimecast is told which one is meant all the same."""
    portal_server.home.deliver(mail(sender="Shop <orders@shop.example>"), hold=SPAM)
    portal = portal_server.client(api=api)
    portal_server.faults.add("senders.permit_or_block", "status", status=400, code="err_validation_blank")
    with portal.holds.plan("release", filter=HoldFilter(queue="admin"), permit="address") as plan:
        assert plan.run(report=Report(tmp_path / "report")).codes == {"err_validation_blank": 1}
    with portal.holds.plan("release", retry_from=tmp_path / "report") as plan:
        assert plan.selection.entries() == (1, ["orders@shop.example"])
        assert plan.run(report=Report(tmp_path / "report", append=True, resume=True)).totals == {"done": 1}
    (entry,) = portal_server.client(ANN).senders.list("permitted")
    assert entry.entry == "orders@shop.example"


def test_a_block_that_failed_is_taken_up_with_its_entry(portal_server: PortalServer, tmp_path: Path) -> None:
    portal_server.home.deliver(mail(sender="Shop <orders@shop.example>"))
    portal = portal_server.client(ANN, api="api1")
    portal_server.faults.add("senders.permit_or_block", "status", status=400, code="err_validation_blank")
    report = Report(tmp_path / "report")
    assert portal.messages.block(portal.messages.list(), report=report).totals == {"failed": 1}
    with portal.messages.plan_block(retry_from=tmp_path / "report") as plan:
        assert plan.run().totals == {"done": 1}
    (entry,) = portal_server.client(ANN).senders.list("blocked")
    assert entry.entry == "orders@shop.example"


def test_attributes_say_their_type() -> None:
    """Else each type checker infers its own: what is assigned more than a parameter is annotated where it is made."""
    found = []
    for path in sorted(Path(str(mimeportal.__file__)).parent.rglob("*.py")):
        for kind in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(kind, ast.ClassDef) or kind.name.startswith("_"):
                continue
            for node in ast.walk(kind):
                if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                    for made in node.body:
                        if isinstance(made, ast.Assign) and not isinstance(made.value, ast.Name | ast.Constant):
                            found += [
                                f"{path.name}:{made.lineno} {target.attr}"
                                for target in made.targets
                                if isinstance(target, ast.Attribute) and not target.attr.startswith("_")
                            ]
    assert found == []
    assert wire.WireModel.__annotations__["model_config"] == "ClassVar[ConfigDict]"


def public_members() -> Iterator[tuple[str, Any]]:
    """What the exported classes of ours have: methods and properties by their names, as an editor shows them."""
    for package in (*PACKAGES, "mimeportal.testing"):
        module = import_module(package)
        for name in getattr(module, "__all__", dir(module)):
            kind = getattr(module, name)
            if isinstance(kind, type) and kind.__module__.startswith("mimeportal"):
                yield kind.__name__, kind
                for inner, value in vars(kind).items():
                    if not inner.startswith("_") and (inspect.isroutine(value) or hasattr(value, "__get__")):
                        yield f"{kind.__name__}.{inner}", getattr(value, "__func__", value)


def test_whatever_is_hovered_over_says_what_it_is() -> None:
    silent = {
        name
        for name, member in public_members()
        if not (member.__doc__ or "").strip() and not inspect.ismemberdescriptor(member)
    }
    assert silent == set()
