"""What a command line must not lose or do half: closed streams, plans of another verb, arguments that are none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Run
from conftest import Lab
from mimeportal.profiles import Store
from mimeportal_cli import references
from mimeportal_cli.references import reference

Count = Callable[[], int]


def shell(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    python = f'"{sys.executable}" -m mimeportal_cli'
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        ["sh", "-c", command.replace("mimeportal", python, 1), "sh", *arguments],
        capture_output=True,
        text=True,
        env=environ,
    )


class TestClosedStreams:
    def test_the_act_goes_on(self, home: Path, outgoing: Count) -> None:
        done = shell("mimeportal holds release --all --yes --batch-size 1 >&-")
        assert done.returncode == 0
        assert done.stderr.startswith("Released 6 (")
        assert outgoing() == 6

    @pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", ">&- 2>&- <&-", "-o json >&-"])
    def test_list(self, home: Path, closed: str) -> None:
        done = shell(f"mimeportal holds list {closed}")
        assert (done.returncode, done.stderr) == (0, "")

    def test_ids_from_a_closed_stdin(self, home: Path) -> None:
        done = shell("mimeportal holds list --ids-from - <&-")
        assert done.returncode == 2
        assert "stdin is closed" in done.stderr

    @pytest.mark.parametrize("fault", [ValueError("I/O operation on closed file."), TypeError("No.")])
    def test_no_fault_of_the_writer_stops_the_act(
        self, run: Run, ids: list[str], outgoing: Count, monkeypatch: pytest.MonkeyPatch, fault: Exception
    ) -> None:
        from mimeportal_cli.output import Writer

        def failing(*_: Any) -> None:
            raise fault

        monkeypatch.setattr(Writer, "add", failing)
        done = run("holds", "release", *ids, "--batch-size", "1", "-w", "records.jsonl")
        assert done.code == 1
        assert str(fault) in done.err
        assert outgoing() == 6


class TestPlans:
    @pytest.fixture(autouse=True)
    def plan(self, run: Run, ids: list[str]) -> None:
        run("holds", "reject", "--all", "--block", "address", "--dry-run", "--report", "plan.jsonl")

    def test_another_verb(self, run: Run, outgoing: Count) -> None:
        done = run("holds", "release", "--ids-from", "plan.jsonl", "--yes")
        assert done.code == 2
        assert "plan.jsonl plans reject, this is release." in done.err
        assert outgoing() == 0

    def test_options_are_taken(self, run: Run) -> None:
        done = run("holds", "reject", "--ids-from", "plan.jsonl", "--dry-run", "-o", "jsonl")
        assert {json.dumps(json.loads(line)["options"]) for line in done.lines} == {'{"block": "address"}'}
        assert run("holds", "reject", "--ids-from", "plan.jsonl", "--dry-run", "--block", "address").code == 0

    @pytest.mark.parametrize("more", [("--block", "domain"), ("--sender-part", "envelope")])
    def test_others_are_refused(self, run: Run, more: tuple[str, ...]) -> None:
        assert run("holds", "reject", "--ids-from", "plan.jsonl", "--yes", *more).code == 2

    def test_limit_would_forget_the_rest(self, run: Run) -> None:
        Path("r.jsonl.todo").write_bytes(Path("plan.jsonl").read_bytes())
        done = run("holds", "reject", "--retry-from", "r.jsonl", "--yes", "--limit", "1")
        assert done.code == 2
        assert "--limit" in done.err
        assert run("holds", "reject", "--retry-from", "r.jsonl", "--yes").last.startswith("Rejected 6 (")


class TestRulesTakenUp:
    def test_taken_up(self, run: Run, home: Path) -> None:
        Path("rules.toml").write_text(
            '[[rule]]\nname = "shop"\nfrom = "shop.example"\ndecide = "release"\n'
            '[[rule]]\nname = "bank"\nfrom = "bank.example"\ndecide = "reject"\n'
        )
        run("holds", "apply", "rules.toml", "--dry-run", "--report", "r.jsonl")
        assert run("holds", "apply", "rules.toml", "--retry-from", "r.jsonl", "--yes").code == 2
        assert run("holds", "apply", "--retry-from", "r.jsonl", "--yes", "--from", "shop.example").code == 2
        done = run("holds", "apply", "--retry-from", "r.jsonl", "--yes")
        assert done.code == 0, done.err
        assert done.last.startswith("Decided 4 (")

    def test_neither_rules_nor_a_report(self, run: Run, home: Path) -> None:
        assert run("holds", "apply", "--yes").code == 2

    def test_report_of_a_verb(self, run: Run, ids: list[str]) -> None:
        run("holds", "release", "--all", "--dry-run", "--report", "r.jsonl")
        done = run("holds", "apply", "--retry-from", "r.jsonl", "--yes")
        assert done.code == 2
        assert "no report of rules" in done.err


class TestReferences:
    def test_listed_once(self, run: Run, ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        listed: list[int] = []
        inner = references._listed

        def counted(portal: Any) -> Any:
            listed.append(1)
            return inner(portal)

        monkeypatch.setattr(references, "_listed", counted)
        named = "\n".join(reference(id) for id in ids)
        assert sorted(run("holds", "list", "--ids-from", "-", "--columns", "id", stdin=named).lines) == sorted(ids)
        assert listed == [1]


class TestIdsFrom:
    @pytest.mark.parametrize(
        "octets",
        [
            b"id,queue\nabc,personal\n",
            b"id\nabc\n",
            b'["abc"]\n',
            "abc\n".encode("utf-16"),
            b"two words\n",
            b"x" * 1001,
            b'{"id": ""}\n',
            b'{"id": "abc", "more": ' + b"[" * 100_000,
        ],
    )
    def test_what_is_no_id(self, run: Run, home: Path, octets: bytes) -> None:
        done = run("holds", "release", "--ids-from", "-", "--yes", stdin=octets)
        assert done.code == 2
        assert "Line 1 of - is no" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("holds", "list", "--subject", "\udcff"),
        ("holds", "log", "--search", "\udcff"),
        ("holds", "list", "--since", "0001-01-01", "--tz", "Asia/Tokyo"),
        ("holds", "list", "--until", "9999-12-31T23:59:59", "--tz", "America/New_York"),
        ("holds", "list", "-w", ""),
        ("holds", "list", ""),
        ("holds", "show", ""),
        ("holds", "show", "abc", "-w", ""),
        ("holds", "release", ""),
        ("holds", "release", "\udcff\udcff"),
        ("holds", "release", "--all", "--yes", "--report", ""),
        ("holds", "release", "--all", "--yes", "--retry-from", ""),
        ("holds", "list", "--columns", ",,,"),
        ("holds", "list", "--timeout", "nan"),
        ("holds", "list", "--timeout", "inf"),
    ],
)
def test_bad_arguments(run: Run, home: Path, outgoing: Count, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.code == (5 if arguments[:3] == ("holds", "show", "abc") else 2), done.err
    assert outgoing() == 0


def test_no_id_is_no_such_message(run: Run, home: Path) -> None:
    for command in ("show", "download"):
        done = run("holds", command, "xyz")
        assert done.code == 5
        assert done.err.startswith("No such held message")


class TestProfilesAtOnce:
    def test_none_is_lost(self, lab: Lab) -> None:
        first, second = Store.open(), Store.open()
        first.put("one", url=lab.url)
        second.put("two", url=lab.url)
        assert [profile.name for profile in Store.open().all()] == ["one", "two"]
        assert Store.open().is_current("one")

    def test_many_processes(self, lab: Lab) -> None:
        code = "import sys; from mimeportal.profiles import Store; Store.open().put(sys.argv[1], url=sys.argv[2])"
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        started = [
            subprocess.Popen([sys.executable, "-c", code, f"p{number}", lab.url], env=environ) for number in range(8)
        ]
        assert [process.wait() for process in started] == [0] * 8
        assert len(list(Store.open().all())) == 8

    def test_without_locks(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "fcntl", None)
        Store.open().put("one", url=lab.url)
        assert len(list(Store.open().all())) == 1


@pytest.mark.parametrize(
    "typed",
    [
        ("senders", "list"),
        ("senders", "check", "a@b.example"),
        ("secure", "definitions"),
        ("secure", "settings"),
        ("account", "delegates", "access"),
        ("messages", "sent", "eNid"),
    ],
    ids=" ".join,
)
def test_what_is_not_offered_is_said_in_words(
    run: Run, monkeypatch: pytest.MonkeyPatch, typed: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MIMEPORTAL_URL", "https://api.services.mimecast.com")
    monkeypatch.setenv("MIMEPORTAL_CLIENT_ID", "an-id")
    monkeypatch.setenv("MIMEPORTAL_CLIENT_SECRET", "a-secret")
    done = run(*typed)
    what, _, remedy = done.err.splitlines()
    assert (done.code, remedy) == (8, "See what each portal offers: `mimeportal account capabilities`.")
    assert re.fullmatch(r"This portal does not offer [a-z' ]+\.", what), what
