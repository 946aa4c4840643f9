"""The rules that keep it a house: who may import whom, what is declared once, what nobody does by a second way."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import click
import pytest

import mimeportal
from conftest import ANN, Lab, mail_of
from mimeportal import errors, limits
from mimeportal.wire import Endpoint
from mimeportal_server.door import NOUNS
from mimeportal_server.web.route import is_page

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
FILES = sorted(SOURCE.rglob("*.py"))
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def module_of(path: Path) -> str:
    parts = list(path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def is_module(name: str) -> bool:
    place = SOURCE.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def imported(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Every module a file imports, wherever in it: for `from package import module` the module."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole path"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if is_module(inner) else str(node.module)), node


@cache
def imports_of(path: Path) -> set[str]:
    return {name for name, _ in imported(path)}


# -- every refusal says what to do next ------------------------------------------------------------------------

# A client of ours never causes these, or they are a fault of the portal's own: there is nothing to be done but to
# look closer, which is what the command says then.
FAULTS = {
    "err_audit_siem_invalid_token", "err_internal", "err_invalid_search_xml", "err_method",
    "err_request_malformed", "err_request_too_large", "err_xdk_missing_credentials", "unsupported_grant_type",
}  # fmt: skip


def refusals() -> Iterator[tuple[str, str, int]]:
    """The refusals of the portal's operations: where each stands, its code, its status."""
    for path in sorted((SOURCE / "mimeportal_server").glob("*.py")):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                code = node.args[0]
                named = node.func.id in ("Refused", "Refusal", "Failure") and isinstance(code, ast.Constant)
                if named and re.fullmatch(r"[a-z_]+", str(code.value)):  # SMTP's begin with a number
                    given = {word.arg: word.value for word in node.keywords}
                    status = given.get("status")
                    yield path.name, str(code.value), int(status.value) if isinstance(status, ast.Constant) else 200


def test_every_refusal_says_what_to_do_next() -> None:
    found = [*refusals()]
    assert len(found) > 100
    codes = {code for _, code, _ in found}
    assert {code for code in codes if code.startswith("err_largefile")} >= {"err_largefile_gone", "err_largefile_chunk"}
    assert codes >= FAULTS
    for path, code, status in [*found, ("largefile_rows.py", "err_largefile_cancelled", 200)]:
        assert code in FAULTS or errors.api_error(code, "No.", status=status).remedy, (path, code)


# -- imports point one way --------------------------------------------------------------------------------------

# What the server may use of the SDK (`untrusted_html` is the larger half of `untrusted`), and its command of ours.
SHARED = {"wire", "untrusted", "untrusted_html", "limits", "addresses", "days", "patterns", "errors", "_version"}
FOR_SERVER = re.compile(
    rf"mimeportal\.({'|'.join(sorted(SHARED))}|\w+\.contract(\.\w+)?|auth\.flows|account\.(formats|preferences))"
)
FOR_SERVER_COMMAND = {f"mimeportal_cli.{name}" for name in ("console", "output", "options", "exits")}


@every_file
def test_arrows(path: Path) -> None:
    here = module_of(path)
    rooms: dict[str, set[str]] = {}
    for name in imports_of(path):
        rooms.setdefault(name.partition(".")[0], set()).add(name)
    sdk, cli, server = (rooms.get(room, set()) for room in ("mimeportal", "mimeportal_cli", "mimeportal_server"))
    room = here.partition(".")[0]
    if room == "mimeportal":
        assert not cli
        assert not server or here == "mimeportal.local"
    elif room == "mimeportal_cli":
        assert not server
    else:
        assert not {name for name in sdk if not FOR_SERVER.fullmatch(name)}
        assert not cli or (here.startswith("mimeportal_server.cli") and cli <= FOR_SERVER_COMMAND)


def test_one_module_of_the_sdk_names_the_server_and_only_when_it_is_needed() -> None:
    """By import or by name: a portal of Mimecast's needs no server here."""
    naming = {
        module_of(path)
        for path in (SOURCE / "mimeportal").rglob("*.py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant)
        and re.match(r"mimeportal_server\b", str(node.value))
        and path.name != "__init__.py"
    }
    assert naming == {"mimeportal.local"}
    assert not {name for name in loaded_after("import mimeportal.local") if name.startswith("mimeportal_server")}


def test_contracts_know_the_wire_and_nothing_else() -> None:
    for path in (*SOURCE.glob("mimeportal/*/contract.py"), *SOURCE.glob("mimeportal/*/contract/*.py")):
        ours = {name for name in imports_of(path) if name.startswith("mimeportal")}
        own = {name for name in ours if re.fullmatch(rf"mimeportal\.{path.parent.parent.name}\.contract\.\w+", name)}
        assert ours - own <= {"mimeportal.wire", "mimeportal.limits"}, path


def loaded_after(code: str, *arguments: str) -> set[str]:
    """The modules of a fresh process after some code."""
    script = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def third_parties(modules: set[str]) -> set[str]:
    known = metadata.packages_distributions()
    names = ({module.partition(".")[0] for module in loaded} for loaded in (modules, loaded_after("")))
    brought, always = names  # some installations load packages into every process
    return {name for name in brought - always if name in known and not name.startswith("mimeportal")}


def test_importing_mimeportal_costs_nothing() -> None:
    modules = loaded_after("import mimeportal")
    assert third_parties(modules) == set()
    assert {name for name in modules if name.startswith("mimeportal")} == {"mimeportal", "mimeportal._version"}


def test_listing_an_embedded_portal_imports_only_what_it_needs(lab: Lab) -> None:
    lab.receive(mail_of())
    code = (
        "import sys\nfrom mimeportal import Portal\n"
        "with Portal.open(sys.argv[1], user=sys.argv[2]) as portal:\n"
        "    assert [hold.subject for hold in portal.holds.list()] == ['Hello']\n"
    )
    modules = loaded_after(code, lab.url, ANN)
    assert (
        third_parties(modules) & {"requests", "alembic", "starlette", "uvicorn", "tabulate", "keyring", "click"}
        == set()
    )
    assert "mimeportal_cli" not in modules
    assert {"mimeportal.senders.client", "mimeportal.bulk", "mimeportal_server.compose"}.isdisjoint(modules)


# -- what is declared ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mimeportal", *(f"mimeportal.{noun}" for noun in NOUNS)])
def test_everything_exported_is_there(name: str) -> None:
    module = import_module(name)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for exported in module.__all__:
        assert getattr(module, exported) is not None
    with pytest.raises(AttributeError):
        _ = module.no_such_thing


def test_every_exception_is_exported() -> None:
    from mimeportal import errors

    kinds = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.MimeportalError)
    }
    assert kinds <= set(mimeportal.__all__)
    assert set(mimeportal.__dir__()) == set(mimeportal.__all__)


# Limits that are defaults of options, typed a second time in the command.
DEFAULTS = {"MAX_ITEMS": "--max", "CONCURRENCY": "--concurrency"}
# Which constant a key of portal.toml lowers.
LOWERABLE = {
    str(ast.literal_eval(key)): ast.unparse(value)
    for node in ast.walk(tree(SOURCE / "mimeportal" / "limits.py"))
    if isinstance(node, ast.Dict)
    for key, value in zip(node.keys, node.values, strict=True)
    if key is not None
}

# distribution -> what is imported of it, where the names differ
IMPORT_NAMES = {
    "python-dateutil": "dateutil",
    "google-re2": "re2",
    "pyyaml": "yaml",
    "xlsxwriter": "xlsxwriter",
    "python-multipart": "starlette",  # whose reader of forms is made of it
    "argon2-cffi": "argon2",
    "httptools": "uvicorn",  # by its protocol of that name, which is what we extend
}


def declared() -> list[tuple[str, str]]:
    """(extra, import name) of every dependency that is not for developers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = {"": project["dependencies"], **project.get("optional-dependencies", {})}
    found = []
    for extra, requirements in groups.items():
        for requirement in requirements if extra != "dev" else ():
            name = re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower()
            if name != "mimeportal":
                found.append((extra, IMPORT_NAMES.get(name, name.replace("-", "_"))))
    return found


@cache
def used_third_parties() -> dict[str, set[str]]:
    """Import names of what is neither Python's own nor ours, with the rooms that import it."""
    used: dict[str, set[str]] = {}
    for path in FILES:
        for name in imports_of(path):
            top = name.partition(".")[0]
            if top == "pytest" and module_of(path) == "mimeportal.testing":
                continue  # a plugin of pytest: whoever loads it has that
            if top not in sys.stdlib_module_names and not top.startswith("mimeportal"):
                used.setdefault(top.lower(), set()).add(module_of(path).partition(".")[0])
    return used


@pytest.mark.parametrize(("extra", "name"), declared())
def test_what_is_declared_is_used(extra: str, name: str) -> None:
    assert used_third_parties().get(name), f"nothing imports {name}"


def test_what_is_used_is_declared() -> None:
    assert set(used_third_parties()) <= {name for _, name in declared()}


# What the SDK imports of an extra, in which module, when a picture or such a file is asked for.
OF_EXTRAS = {
    "matplotlib": {"mimeportal.reports.charts"},
    "xlsxwriter": {"mimeportal.reports.files"},
    "pyarrow": {"mimeportal.reports.files"},
}


def test_the_sdk_and_the_command_need_no_extra() -> None:
    plain = {name for extra, name in declared() if not extra}
    for name, modules in OF_EXTRAS.items():
        here = {module_of(path) for path in FILES if name in {found.partition(".")[0] for found in imports_of(path)}}
        assert here == modules
    plain |= set(OF_EXTRAS)
    for name, rooms in used_third_parties().items():
        if rooms & {"mimeportal", "mimeportal_cli"}:
            assert name in plain, name


@cache
def limits_named() -> set[str]:
    """Every `limits.NAME` in the sources, and every `limits["name"]` of a portal's own table."""
    found = set()
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "limits":
                found.add(node.attr)
            elif isinstance(node, ast.Subscript) and getattr(node.value, "attr", "") == "limits":
                found |= {LOWERABLE.get(getattr(key, "value", ""), "") for key in [node.slice]}
    return found


@pytest.mark.parametrize(
    "name", sorted(name for name in set(vars(limits)) - {"KIB", "MIB", "LOWERABLE", *DEFAULTS} if name.isupper())
)
def test_every_limit_is_used(name: str) -> None:
    assert name in limits_named()


@pytest.mark.parametrize(("name", "option"), DEFAULTS.items())
def test_limits_that_are_defaults_of_options(name: str, option: str) -> None:
    """The command does not import the table before it must."""
    from mimeportal_cli.main import cli

    context = click.Context(cli)
    holds = cli.get_command(context, "holds")
    assert isinstance(holds, click.Group)
    release = holds.get_command(context, "release")
    assert release is not None
    (found,) = (parameter for parameter in release.params if option in parameter.opts)
    assert found.get_default(context) == getattr(limits, name)


# -- an operation is declared once -----------------------------------------------------------------------------

ENDPOINTS: list[Endpoint[Any, Any]] = [
    row for noun in NOUNS for row in import_module(f"mimeportal.{noun}.contract").ENDPOINTS
]
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)

# operation -> the methods of the SDK that call it. An operation without one needs a reason instead.
METHODS = {
    "account.show": ["account.show"],
    "account.whoami": ["account.whoami"],
    "account.password": ["account.set_password"],
    "account.preferences": ["account.preferences"],
    "account.set_preferences": ["account.set_preferences"],
    "account.most_used_contacts": ["account.contacts"],
    "account.find_contacts": ["account.contacts"],
    "account.find_delegates": ["account.delegates", "account.remove_delegate"],
    "account.add_delegate": ["account.add_delegate"],
    "account.remove_delegate": ["account.remove_delegate"],
    "account.delegated_access": ["account.delegated_access"],
    "auth.token": ["auth.token"],
    "auth.discover": ["auth.discover"],
    "auth.login": ["auth.login"],
    "auth.logout": ["auth.logout"],
    "auth.app": ["auth.app"],
    "holds.list": ["holds.list"],
    "holds.find": ["holds.list", "holds.lookup"],
    "holds.summary": ["holds.summary"],
    "holds.release": ["holds.release"],
    "holds.reject": ["holds.reject"],
    "holds.decide": ["holds.release", "holds.reject"],
    "holds.states": ["holds.states"],
    "holds.log": ["holds.log"],
    "holds.detail": ["holds.get"],
    "holds.file": ["holds.download"],
    "holds.fetch": ["holds.download"],
    "largefiles.preferences": ["largefiles.preferences"],
    "largefiles.create": ["largefiles.upload", "largefiles.send"],
    "largefiles.chunk": ["largefiles.send"],
    "largefiles.missing": ["largefiles.send"],
    "largefiles.check": ["largefiles.send"],
    "largefiles.finish": ["largefiles.send"],
    "largefiles.pause": ["largefiles.upload"],
    "largefiles.cancel": ["largefiles.cancel"],
    "largefiles.list": ["largefiles.list"],
    "largefiles.show": ["largefiles.get"],
    "largefiles.extend": ["largefiles.extend"],
    "largefiles.expire": ["largefiles.expire"],
    "largefiles.resubmit": ["largefiles.resubmit", "largefiles.resume"],
    "largefiles.octets": ["largefiles.download"],
    "messages.upload": ["messages.upload", "messages.send"],
    "messages.send_email": ["messages.send"],
    "messages.submit": ["messages.send", "messages.reply", "messages.forward", "messages.send_draft"],
    "messages.drafts": ["messages.drafts"],
    "messages.draft": ["messages.draft"],
    "messages.save_draft": ["messages.save_draft"],
    "messages.remove_draft": ["messages.remove_draft"],
    "messages.recipients": ["messages.recipients"],
    "messages.block": ["messages.block"],
    "messages.report": ["messages.report"],
    "messages.search": ["messages.track", "messages.bounced"],
    "messages.bounced": ["messages.bounced"],
    "messages.info": ["messages.info", "messages.hold_ids"],
    "messages.processing": ["messages.processing"],
    "messages.queues": ["messages.queues"],
    "messages.rejections": ["messages.rejected", "messages.rejection"],
    "messages.list": ["messages.list"],
    "messages.browse": ["messages.list", "messages.search"],
    "messages.find": ["messages.search"],
    "messages.detail": ["messages.get"],
    "messages.part": ["messages.get", "messages.part", "messages.raw"],
    "messages.file": ["messages.download", "messages.raw"],
    "messages.fetch": ["messages.download", "messages.raw"],
    "reports.days": ["reports.calendar"],
    "reports.secure_messages": ["reports.secure_messages", "reports.rows"],
    "reports.traffic": ["reports.traffic", "reports.rows"],
    "reports.held": ["reports.held", "reports.rows"],
    "reports.releases": ["reports.releases"],
    "reports.rejections": ["reports.rejections"],
    "reports.senders": ["reports.senders", "reports.rows"],
    "reports.largefiles": ["reports.largefiles", "reports.rows"],
    "reports.logins": ["reports.logins", "reports.rows"],
    "reports.audit": ["reports.audit"],
    "reports.audit_events": ["reports.audit_events"],
    "reports.audit_categories": ["reports.audit_categories"],
    "reports.siem_batch": ["reports.siem_events"],
    "reports.siem_file": ["reports.siem_events"],
    "reports.siem_logs": ["reports.siem_events"],
    "secure.send": ["secure.send"],
    "secure.reply": ["secure.reply"],
    "secure.list": ["secure.list", "secure.lookup"],
    "secure.show": ["secure.get"],
    "secure.print": ["secure.print"],
    "secure.file": ["secure.download"],
    "secure.mark": ["secure.mark"],
    "secure.delete": ["secure.delete"],
    "secure.restore": ["secure.restore"],
    "secure.recall": ["secure.recall"],
    "secure.extend": ["secure.extend"],
    "secure.expire": ["secure.expire"],
    "secure.notify": ["secure.notify"],
    "secure.definitions": ["secure.definitions"],
    "secure.settings": ["secure.settings"],
    "secure.monitor": ["secure.monitor"],
    "secure.log": ["secure.log"],
    "senders.permit_or_block": ["senders.add"],
    "senders.bulk_delete": ["senders.remove_everywhere"],
    "senders.list": ["senders.list"],
    "senders.add": ["senders.add"],
    "senders.remove": ["senders.remove"],
    "senders.import": ["senders.import_entries"],
    "senders.check": ["senders.check"],
}


def test_nouns_are_the_same_in_every_room() -> None:
    nouns = {path.parent.name for path in (SOURCE / "mimeportal").glob("*/contract*")}
    assert nouns == set(NOUNS)
    for noun in nouns:
        assert (SOURCE / "mimeportal" / noun / "client.py").is_file()
        assert (SOURCE / "mimeportal_server" / f"{noun}.py").is_file()
        assert noun in vars(mimeportal.Portal)


def test_names_and_paths_are_unique() -> None:
    names, paths = [row.name for row in ENDPOINTS], [(row.method, row.path) for row in ENDPOINTS]
    assert sorted(set(names)) == sorted(names)
    assert sorted(set(paths)) == sorted(paths)


@every_endpoint
def test_a_row_says_what_fits_together(endpoint: Endpoint[Any, Any]) -> None:
    names = {row.name for row in ENDPOINTS}
    assert endpoint.noun in NOUNS
    assert endpoint.path.startswith(("/api/", "/siem/v1/")) or endpoint.form in ("form", "json")
    assert endpoint.offered
    assert ("/api/portal/" in endpoint.path) == (set(endpoint.offered) == {"local"})
    least, most = endpoint.count
    assert 0 <= least <= most
    assert (endpoint.repeat == "look") == (endpoint.look is not None)
    assert endpoint.look is None or endpoint.look in names
    if endpoint.counted:
        assert endpoint.counted in endpoint.item.model_fields
    for api, offer in endpoint.offered.items():
        assert bool(offer.permission) == (api != "local"), "Mimecast names a permission, a local portal has roles"


@every_endpoint
def test_every_operation_has_a_method(endpoint: Endpoint[Any, Any]) -> None:
    for method in METHODS[endpoint.name]:
        noun, _, name = method.partition(".")
        client = import_module(f"mimeportal.{noun}.client")
        (kind,) = (getattr(client, known) for known in dir(client) if known == f"{noun.capitalize()}Client")
        assert callable(getattr(kind, name))


@every_endpoint
def test_no_operation_is_taken_for_a_page(endpoint: Endpoint[Any, Any]) -> None:
    """Else the HTTP door would answer with a web page."""
    assert not is_page(endpoint.path)


@every_endpoint
def test_every_operation_is_behaviour_of_the_server(endpoint: Endpoint[Any, Any]) -> None:
    assert "local" in endpoint.offered
    assert callable(import_module(f"mimeportal_server.{endpoint.noun}").OPERATIONS[endpoint.name])


def test_the_server_does_nothing_that_is_not_declared() -> None:
    operations = {name for noun in NOUNS for name in import_module(f"mimeportal_server.{noun}").OPERATIONS}
    assert operations == {row.name for row in ENDPOINTS} == set(METHODS)


# command -> the method of the SDK it calls; or, in brackets, why it calls none.
COMMANDS = {
    "demo": "(runs the other commands)",
    "auth login": "auth.login",
    "auth logout": "auth.logout",
    "auth status": "(asks whether the log-in is accepted)",
    "auth discover": "auth.discover",
    "profiles list": "(settings of this machine)",
    "profiles show": "(settings of this machine)",
    "profiles set": "(settings of this machine)",
    "profiles use": "(settings of this machine)",
    "profiles remove": "(settings of this machine)",
    "holds list": "holds.list",
    "holds show": "holds.get",
    "holds release": "holds.release",
    "holds reject": "holds.reject",
    "holds apply": "holds.plan_rules",
    "holds summary": "holds.summary",
    "holds log": "holds.log",
    "holds download": "holds.download",
    "largefiles list": "largefiles.list",
    "largefiles show": "largefiles.get",
    "largefiles preferences": "largefiles.preferences",
    "largefiles extend": "largefiles.extend",
    "largefiles expire": "largefiles.expire",
    "largefiles cancel": "largefiles.cancel",
    "largefiles download": "largefiles.download",
    "largefiles send": "largefiles.upload",
    "largefiles resubmit": "largefiles.resubmit",
    "messages send": "messages.send",
    "messages reply": "messages.reply",
    "messages forward": "messages.forward",
    "messages sent": "messages.recipients",
    "messages drafts list": "messages.drafts",
    "messages drafts show": "messages.draft",
    "messages drafts save": "messages.save_draft",
    "messages drafts send": "messages.send_draft",
    "messages drafts remove": "messages.remove_draft",
    "messages block": "messages.block",
    "messages report": "messages.report",
    "messages track": "messages.track",
    "messages bounced": "messages.bounced",
    "messages processing": "messages.processing",
    "messages queues": "messages.queues",
    "messages rejected": "messages.rejected",
    "messages list": "messages.list",
    "messages search": "messages.search",
    "messages show": "messages.get",
    "messages print": "messages.get",
    "messages attachments": "messages.download",
    "messages download": "messages.raw",
    "reports list": "reports.offered",
    "reports show secure-messages": "reports.secure_messages",
    "reports show traffic": "reports.traffic",
    "reports show held": "reports.held",
    "reports show releases": "reports.releases",
    "reports show rejections": "reports.rejections",
    "reports show senders": "reports.senders",
    "reports show largefiles": "reports.largefiles",
    "reports show logins": "reports.logins",
    "reports show audit": "reports.audit",
    "reports show queues": "reports.queues",
    "reports page": "reports.by_name",
    "reports export": "reports.export",
    "secure send": "secure.send",
    "secure reply": "secure.reply",
    "secure list": "secure.list",
    "secure show": "secure.get",
    "secure print": "secure.print",
    "secure download": "secure.download",
    "secure mark": "secure.mark",
    "secure delete": "secure.delete",
    "secure restore": "secure.restore",
    "secure recall": "secure.recall",
    "secure extend": "secure.extend",
    "secure expire": "secure.expire",
    "secure notify": "secure.notify",
    "secure definitions": "secure.definitions",
    "secure settings": "secure.settings",
    "secure monitor": "secure.monitor",
    "secure log": "secure.log",
    "senders list": "senders.list",
    "senders add": "senders.add",
    "senders remove": "senders.remove",
    "senders check": "senders.check",
    "senders import": "senders.import_entries",
    "senders export": "senders.list",
    "account show": "account.show",
    "account password": "account.set_password",
    "account capabilities": "account.capabilities",
    "account preferences": "account.preferences",
    "account contacts": "account.contacts",
    "account delegates list": "account.delegates",
    "account delegates add": "account.add_delegate",
    "account delegates remove": "account.remove_delegate",
    "account delegates access": "account.delegated_access",
    "api": "(any function: Portal.call)",
    "help": "(text)",
}
# Methods of the SDK that no command is named for.
UNNAMED = {
    "largefiles.send": "`largefiles send`, which asks for what it needs to be taken up again",
    "largefiles.resume": "`largefiles resubmit` of an upload that is paused or failed, and `send` once more",
    "account.code": "part of every plan and report",
    "account.whoami": "part of `account show`",
    "account.set_preferences": "`account preferences --set`",
    "auth.app": "part of `auth login --person`",
    "auth.token": "part of every call of API 2.0",
    "holds.lookup": "how ids become messages",
    "messages.info": "`messages track ID`, `messages bounced ID`",
    "messages.rejection": "`messages rejected ID`",
    "messages.compose_forward": "`messages forward --dry-run`",
    "messages.compose_reply": "`messages reply --dry-run`",
    "messages.lookup": "how ids become messages",
    "messages.plan_block": "the plan of `messages block`",
    "messages.upload": "part of `messages send`",
    "messages.hold_ids": "`messages track --hold-ids`",
    "messages.part": "part of `messages show`, where a portal tells no bodies",
    "reports.calendar": "which days there are: part of every report",
    "reports.rows": "`reports show NAME --rows`",
    "reports.batches": "how `reports export` reads millions of rows",
    "reports.of": "what is known of a report",
    "reports.audit_events": "`reports show audit` on Mimecast",
    "reports.audit_categories": "what `audit_events` takes",
    "reports.siem_events": "`reports show traffic` on Mimecast",
    "secure.lookup": "how ids become messages",
    "secure.plan": "the plan of `secure mark`, `delete`, `restore`, `recall` and `expire`",
    "holds.plan": "the plan of `holds release` and `holds reject`",
    "holds.states": "looked at after a lost answer",
    "senders.plan": "the plan of `senders add` and `senders remove`",
    "senders.remove_everywhere": "`senders remove --every-mailbox`",
}


def leaves(command: click.Command, context: click.Context, path: str) -> Iterator[str]:
    if not isinstance(command, click.Group) or path == "help":
        yield path
        return
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from leaves(child, context, f"{path} {name}".strip())


def test_every_command_has_its_method_and_every_method_its_command() -> None:
    from mimeportal_cli.main import cli

    assert set(leaves(cli, click.Context(cli), "")) == set(COMMANDS)
    methods = {method for method in COMMANDS.values() if not method.startswith("(")} | set(UNNAMED)
    public = {
        f"{noun}.{name}"
        for noun in NOUNS
        for kind in getattr(import_module(f"mimeportal.{noun}.client"), f"{noun.capitalize()}Client").__mro__
        if kind.__module__.startswith("mimeportal.")
        for name in vars(kind)
        if not name.startswith("_")
    }
    assert public == methods


# -- one mechanism for each care -----------------------------------------------------------------------------


def called(path: Path) -> Iterator[tuple[str, int]]:
    """Dotted names of what a file calls, with their lines."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


PRINTING = re.compile(r"(click\.)?(print|echo|secho|echo_via_pager)|sys\.(stdout|stderr)\.write(lines)?")
PRINTERS = {"mimeportal_cli.console", "mimeportal_cli.output"}


@every_file
def test_only_the_console_prints(path: Path) -> None:
    """Whatever a stranger wrote is made visible there (rule 8)."""
    if module_of(path) not in PRINTERS:
        assert [(name, line) for name, line in called(path) if PRINTING.fullmatch(name)] == []


CLOCKS = re.compile(r"(datetime\.)?(datetime|date)\.(now|utcnow|today)|time\.(time|time_ns|localtime|gmtime)")
# Who reads the machine's clock, and why that is no portal time.
READS_CLOCK = {
    "mimeportal_server.keeping": "the age of a file is told by the clock that stamped it",
}


@pytest.mark.parametrize(
    "path", sorted((SOURCE / "mimeportal_server").rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE))
)
def test_the_server_s_time_comes_in_as_an_argument(path: Path) -> None:
    """Only as the default of an argument named `wall` may the machine's clock be named (rule 4)."""
    here = module_of(path)
    if here == "mimeportal_server.clock":
        return
    defaults = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            pairs = [
                *zip(arguments.args[::-1], arguments.defaults[::-1], strict=False),
                *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
            ]
            defaults |= {id(value) for argument, value in pairs if argument.arg == "wall" and value is not None}
    found = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and id(node) not in defaults and CLOCKS.fullmatch(ast.unparse(node))
    ]
    assert bool(found) == (here in READS_CLOCK), found


def test_mail_is_read_in_one_place() -> None:
    readers = {
        module_of(path) for path in FILES if imports_of(path) & {"email", "email.parser", "email.message_from_bytes"}
    }
    assert readers <= {"mimeportal_server.mail", "mimeportal_server.mail_headers", "mimeportal_server.mime"}


@every_file
def test_a_module_says_in_its_first_line_why_it_exists(path: Path) -> None:
    text = ast.get_docstring(tree(path))
    assert text, "no docstring"
    assert len(text.splitlines()[0]) > 10


UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MACHINE = re.compile(r"/(home|work|tmp|Users|root|mnt)/\w")


def written() -> list[Path]:
    """Everything that is handed on: sources, tests, documents, examples."""
    folders = [ROOT / name for name in ("src", "tests", "docs", "examples", "benchmarks") if (ROOT / name).is_dir()]
    kinds = {".py", ".md", ".toml", ".json", ".txt", ".sh"}
    found = [path for folder in folders for path in folder.rglob("*") if path.suffix in kinds and path.is_file()]
    return sorted({*found, *ROOT.glob("*.md"), *ROOT.glob("*.toml")} - {Path(__file__)})


def test_nothing_is_left_for_later() -> None:
    assert [str(path) for path in written() if UNFINISHED.search(path.read_text("utf-8"))] == []


def test_no_path_of_a_machine_is_written_down() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in written()
        for match in [MACHINE.search(path.read_text("utf-8"))]
        if match
    ]
    assert found == []
