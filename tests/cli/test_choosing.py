"""Choosing held messages: filters, files of ids, short references, order."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Run
from mimeportal_cli import references
from mimeportal_cli.references import reference


def subjects(run: Run, *filters: str) -> list[str]:
    done = run("holds", "list", "--columns", "subject", *filters)
    assert done.code == 0, done.err
    return done.lines


class TestFilters:
    @pytest.mark.parametrize(
        ("filters", "count"),
        [
            (("--from", "shop.example"), 3),
            (("--from", "mailer.example"), 1),
            (("--from", "@press.example"), 1),
            (("--from", "news@*"), 1),
            (("--from", "offers"), 3),
            (("--to", "ann@example.com"), 6),
            (("--to", "bob@example.com"), 0),
            (("--subject", "OFFER"), 3),
            (("--subject", "offer*2"), 1),
            (("--search", "bank"), 1),
            (("--reason", "spam"), 6),
            (("--policy", "nothing"), 0),
            (("--route", "inbound"), 6),
            (("--route", "outbound"), 0),
            (("--since", "1h"), 6),
            (("--until", "1h"), 0),
            (("--since", "yesterday", "--until", "now"), 6),
            (("--has-attachments",), 1),
            (("--no-attachments",), 5),
            (("--larger-than", "200"), 1),
            (("--larger-than", "1k"), 0),
            (("--mailbox", "ann@example.com"), 6),
            (("--from", "shop.example", "--subject", "1"), 1),
            (("--all",), 6),
        ],
    )
    def test_they_narrow(self, run: Run, home: Path, filters: tuple[str, ...], count: int) -> None:
        assert len(subjects(run, *filters)) == count

    def test_instants_are_told(self, run: Run, home: Path) -> None:
        done = run("holds", "list", "--since", "2026-03-01", "--until", "2027-07-01T09:30", "--tz", "Europe/Berlin")
        assert done.err.splitlines()[:2] == [
            "since 2026-03-01 00:00:00+01:00 (Europe/Berlin)",
            "until 2027-07-01 09:30:00+02:00 (Europe/Berlin)",
        ]
        assert run("-q", "holds", "list", "--since", "2026-03-01").err == ""

    def test_mailboxes_from_a_file(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_USER", "admin@example.com")
        assert len(subjects(run, "--queue", "admin")) == 8
        Path("people.txt").write_text("bob@example.com\n\n")
        assert len(subjects(run, "--queue", "admin", "--mailboxes-from", "people.txt")) == 2
        Path("people.txt").write_text("\n")
        # No mailbox is not everybody's.
        assert run("holds", "list", "--queue", "admin", "--mailboxes-from", "people.txt").code == 2

    def test_a_moderator_sees_the_queue(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_USER", "mod@example.com")
        assert subjects(run, "--queue", "moderated") == ["For bob, moderated"]


class TestOrder:
    def test_newest_first(self, run: Run, home: Path) -> None:
        assert subjects(run)[::5] == ["Headlines", "Offer 1"]

    def test_by_a_column_and_turned_round(self, run: Run, home: Path) -> None:
        assert subjects(run, "--sort", "subject")[-1] == "Statement"
        assert subjects(run, "--sort", "-subject")[0] == "Statement"
        assert subjects(run, "--sort", "size")[0] == "Statement"

    def test_no_such_column(self, run: Run, home: Path) -> None:
        done = run("holds", "list", "--sort", "colour")
        assert (done.code, done.err.splitlines()[0]) == (2, "There is no field 'colour' to sort by.")
        assert "from_header, to_address" in done.err
        assert run("holds", "list", "--sort", "colour", "--from", "nobody.example").code == 2


class TestIds:
    def test_list_by_id(self, run: Run, ids: list[str]) -> None:
        assert run("holds", "list", ids[2], "--columns", "id").lines == [ids[2]]

    @pytest.mark.parametrize("source", ["-", "ids.txt"])
    def test_ids_a_line_or_jsonl(self, run: Run, ids: list[str], source: str) -> None:
        lines = f"\ufeff{ids[0]}\r\n\n  {ids[1]}\tmore\tcolumns\n" + json.dumps({"id": ids[2]}) + "\n"
        Path("ids.txt").write_text(lines)
        done = run("holds", "list", "--ids-from", source, "--columns", "id", stdin=lines)
        assert sorted(done.lines) == sorted(ids[:3])

    @pytest.mark.parametrize("line", ["{broken", '{"no": "id"}', '{"id": 3}'])
    def test_wrong_line_is_named(self, run: Run, ids: list[str], line: str) -> None:
        done = run("holds", "list", "--ids-from", "-", stdin=f"{ids[0]}\n{line}\n")
        assert done.code == 2
        assert "Line 2 of -" in done.err

    def test_missing_file(self, run: Run, home: Path) -> None:
        assert run("holds", "list", "--ids-from", "nowhere").code == 2

    def test_stdin_is_read_once(self, run: Run, home: Path) -> None:
        assert run("holds", "list", "--ids-from", "-", "--mailboxes-from", "-").code == 2


class TestReferences:
    def test_form(self) -> None:
        assert reference("abc") == "#xj4bnp4p"
        assert references.is_reference("xj4bnp4p")
        assert references.is_reference("#XJ4BNP4P")
        assert not references.is_reference("#xj4bnp4")
        assert not references.is_reference("xj4bnp41")

    @pytest.mark.parametrize("form", [str, str.upper, lambda text: text.lstrip("#")])
    def test_found_by_listing(self, run: Run, ids: list[str], form: Callable[[str], str]) -> None:
        assert run("holds", "list", form(reference(ids[3])), "--columns", "id").lines == [ids[3]]

    def test_found_in_the_list_printed_last(self, run: Run, ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        run("holds", "list", "-o", "table")
        monkeypatch.setattr(references, "_listed", lambda _: pytest.fail("asked the portal"))
        assert run("holds", "release", reference(ids[0])).code == 0
        # Decided since, and still known by its reference.
        assert run("holds", "release", reference(ids[0]), "--columns", "outcome").lines == ["already"]

    def test_what_was_printed_is_kept_private(self, run: Run, ids: list[str]) -> None:
        run("holds", "list", "-o", "table", "--limit", "2")
        (kept,) = (Path(os.environ["MIMEPORTAL_CONFIG_DIR"]) / "cache").iterdir()
        assert kept.read_text().split() == ids[:2]
        assert kept.stat().st_mode & 0o777 == 0o600
        assert kept.parent.stat().st_mode & 0o777 == 0o700

    def test_other_formats_and_other_people_leave_it_alone(
        self, run: Run, ids: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run("holds", "list", "-o", "table", "--limit", "2")
        run("holds", "list", "-o", "json")
        monkeypatch.setenv("MIMEPORTAL_USER", "bob@example.com")
        run("holds", "list", "-o", "table")
        kept = [path.read_text().split() for path in (Path(os.environ["MIMEPORTAL_CONFIG_DIR"]) / "cache").iterdir()]
        assert sorted(map(len, kept)) == [1, 2]

    def test_a_folder_that_cannot_be_written_does_not_matter(
        self, run: Run, ids: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("file").write_text("")
        monkeypatch.setenv("MIMEPORTAL_CONFIG_DIR", "file/folder")
        monkeypatch.setenv("MIMEPORTAL_OUTPUT", "table")
        assert run("holds", "list").code == 0
        assert run("holds", "release", reference(ids[0])).code == 0

    def test_unknown(self, run: Run, home: Path) -> None:
        assert run("holds", "release", "#abcdefgh").code == 5
        assert run("holds", "release", "#abc").code == 2

    def test_two_fit(self, run: Run, ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(references, "reference", lambda _: "#abcdefgh")
        done = run("holds", "release", "abcdefgh")
        assert done.code == 2
        assert "stands for 6 messages" in done.err

    def test_found_in_a_moderators_queue(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_USER", "mod@example.com")
        (id,) = run("holds", "list", "--queue", "moderated", "--columns", "id").lines
        assert run("holds", "list", reference(id), "--columns", "subject").lines == ["For bob, moderated"]
