"""Sender lists from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.conftest import Run


def listed(run: Run, *filters: str) -> list[str]:
    return run("senders", "list", "--columns", "entry", *filters).lines


class TestAdd:
    def test_one_argument_is_split(self, run: Run, home: Path) -> None:
        assert run("senders", "add", " a@b.example,c.example  A@B.example ", "d.example", "--list", "blocked").code == 0
        assert sorted(listed(run)) == ["a@b.example", "c.example", "d.example"]

    def test_25_unasked(self, run: Run, home: Path) -> None:
        entries = [f"s{number}.example" for number in range(26)]
        assert run("senders", "add", *entries[:25], "--list", "blocked").code == 0
        assert run("senders", "add", *entries, "--list", "blocked").code == 2
        assert len(listed(run)) == 25
        done = run("senders", "add", *entries, "--list", "blocked", "--yes")
        assert done.err.startswith("Added 1, already 25 (")

    def test_one_bad_entry_refuses_all(self, run: Run, home: Path) -> None:
        assert run("senders", "add", "good.example", "*.bad", "--list", "blocked").code == 2
        assert listed(run) == []

    def test_more_than_max(self, run: Run, home: Path) -> None:
        assert run("senders", "add", "a.example", "b.example", "--list", "blocked", "--max", "1").code == 7

    def test_list_must_be_named(self, run: Run, home: Path) -> None:
        assert run("senders", "add", "a.example").code == 2

    def test_dry_run(self, run: Run, home: Path) -> None:
        done = run("senders", "add", "a.example", "--list", "blocked", "--dry-run", "-o", "json")
        assert json.loads(done.out)[0]["outcome"] is None
        assert listed(run) == []

    def test_of_somebody_else(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert run("senders", "list", "--mailbox", "bob@example.com").code == 4
        monkeypatch.setenv("MIMEPORTAL_USER", "admin@example.com")
        assert run("senders", "add", "a.example", "--list", "blocked", "--mailbox", "bob@example.com").code == 0
        assert listed(run, "--mailbox", "bob@example.com") == ["a.example"]


class TestRemove:
    @pytest.fixture(autouse=True)
    def entries(self, run: Run, home: Path) -> None:
        run("senders", "add", "a.example", "x@y.example", "--list", "blocked")
        run("senders", "add", "b.example", "--list", "permitted")

    def test_always_asked(self, run: Run, on_terminal: Run) -> None:
        assert run("senders", "remove", "a.example").code == 2
        assert on_terminal("senders", "remove", "a.example", answer="n").code == 7
        assert on_terminal("senders", "remove", "a.example", answer="y").code == 0
        assert "a.example" not in listed(run)

    def test_from_whichever_list(self, run: Run) -> None:
        done = run("senders", "remove", "a.example", "b.example", "c.example", "--yes", "-o", "jsonl")
        changes = [json.loads(line) for line in done.out.splitlines()]
        assert [(change["id"], change["outcome"]) for change in changes] == [
            ("a.example", "done"),
            ("b.example", "done"),
            ("c.example", "already"),
        ]
        assert done.err.startswith("Removed 2, already 1 (")

    def test_from_one_list(self, run: Run) -> None:
        assert run("senders", "remove", "b.example", "--list", "blocked", "--yes").code == 0
        assert "b.example" in listed(run)

    def test_filters(self, run: Run) -> None:
        assert listed(run, "--list", "permitted") == ["b.example"]
        assert listed(run, "--addresses") == ["x@y.example"]
        assert listed(run, "--search", "b.*") == ["b.example"]

    def test_dry_run(self, run: Run) -> None:
        assert run("senders", "remove", "a.example", "--dry-run").code == 0
        assert "a.example" in listed(run)
