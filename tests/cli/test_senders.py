"""Sender lists from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.conftest import Done, Run


def listed(run: Run, *filters: str) -> list[str]:
    return run("senders", "list", "--columns", "entry", *filters).lines


class TestAdd:
    def test_one_argument_is_split(self, run: Run, home: Path) -> None:
        assert run("senders", "add", " a@b.example,c.example  A@B.example ", "d.example", "--list", "blocked").code == 0
        assert sorted(listed(run)) == ["a@b.example", "c.example", "d.example"]

    def test_blanks_and_commas_in_quotes_part_nothing(self, run: Run, home: Path) -> None:
        done = run("senders", "add", 'a.example "b, c"@d.example,e.example', "--list", "blocked")
        assert (done.code, listed(run)) == (0, ['"b, c"@d.example', "a.example", "e.example"])
        assert run("senders", "remove", '"b, c"@d.example', "--yes").code == 0
        assert listed(run) == ["a.example", "e.example"]

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


def imported(run: Run, text: str | bytes, *options: str) -> Done:
    return run("senders", "import", "-", *options, stdin=text)


class TestImport:
    def test_bad_lines_are_numbered_and_good_ones_stored(self, run: Run, home: Path) -> None:
        text = "a@b.example\n\n*\n  C.example  \n@d.example\na@b@c\n\x00\n" + "x" * 300 + "@y.example\nA@B.example\n"
        done = imported(run, text, "--list", "blocked", "-o", "jsonl")
        assert done.code == 3
        assert [json.loads(line)["line"] for line in done.lines] == [3, 5, 6, 7, 8]
        assert done.last.startswith("Imported 2, already 1, refused 5 (")
        assert listed(run) == ["a@b.example", "c.example"]

    def test_an_export_comes_back_as_it_was(self, run: Run, home: Path, tmp_path: Path) -> None:
        run("senders", "add", "--list", "blocked", "--", "=1+1@b.example", "-x@b.example", "c.example")
        imported(run, '"a,b"@d.example\n', "--list", "permitted")
        run("senders", "add", "a\u202eb@b.example", "a\u200b@b.example", "--list", "blocked")
        run("senders", "add", "c@c.example", "--list", "trusted")
        entries = run("senders", "list", "--columns", "entry,list").out
        file = tmp_path / "lists.csv"
        assert run("senders", "export", "-w", str(file)).code == 0
        assert "'=1+1@b.example" in file.read_text(), "no spreadsheet takes it for a formula"
        assert run("senders", "remove", "--all", "--yes").code == 0
        assert listed(run) == []
        done = run("senders", "import", str(file))
        assert (done.code, done.out) == (0, "")
        assert run("senders", "list", "--columns", "entry,list").out == entries
        assert run("senders", "export").out.splitlines()[0] == file.read_text().splitlines()[0]

    def test_what_a_spreadsheet_makes_of_it(self, run: Run, home: Path) -> None:
        text = '\ufeffList;Entry\r\nBlocked;a.example\r\n"permitted";"b.example"\r\n'
        assert imported(run, text.encode("utf-8")).code == 0
        assert run("senders", "list", "--columns", "entry,list").lines == ["a.example\tblocked", "b.example\tpermitted"]

    def test_a_quote_left_open_swallows_no_other_line(self, run: Run, home: Path) -> None:
        done = imported(run, 'entry,list\n"a.example,blocked\nb.example,blocked\nc.example,junk\nd.example\n')
        assert [line.split("\t")[0] for line in done.lines] == ["2", "4", "5"]
        assert listed(run) == ["b.example"]

    def test_auto_permitted_ones_are_left_out(self, run: Run, home: Path) -> None:
        done = imported(run, "entry,list\na@b.example,auto-permitted\nb.example,blocked\n")
        assert done.code == 0
        assert done.last.startswith("Imported 1, left out 1 auto-permitted (")
        assert listed(run) == ["b.example"]

    def test_for_one_list_others_are_refused(self, run: Run, home: Path) -> None:
        done = imported(run, "entry,list\na.example,permitted\nb.example,blocked\n", "--list", "blocked")
        assert (done.code, done.lines[0].split("\t")[:3]) == (3, ["2", "a.example", "other_list"])
        assert listed(run) == ["b.example"]

    @pytest.mark.parametrize("text", ["a.example\n", "entry,type\na.example,domain\n"])
    def test_which_list_is_not_guessed(self, run: Run, home: Path, text: str) -> None:
        done = imported(run, text)
        assert (done.code, done.out, listed(run)) == (2, "", [])
        assert "--list" in done.err

    def test_what_is_no_file(self, run: Run, home: Path) -> None:
        assert run("senders", "import", "absent.csv", "--list", "blocked").code == 2
        assert imported(run, "\n \n", "--list", "blocked").code == 2

    def test_dry_run(self, run: Run, home: Path) -> None:
        done = imported(run, "a.example\n*\n", "--list", "blocked", "--dry-run")
        assert (done.code, len(done.lines)) == (3, 1)
        assert done.last.startswith("Would add 1, refused 1 (")
        assert listed(run) == []

    def test_a_dry_run_tells_what_the_import_would(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run("senders", "add", "a.example", "--list", "blocked")
        run("senders", "add", "b.example", "--list", "permitted")
        before = run("senders", "list").out
        text = "a.example\nb.example\nc.example\nC.EXAMPLE\nboss@example.com\n"
        dry = imported(run, text, "--list", "blocked", "--dry-run")
        assert run("senders", "list").out == before
        done = imported(run, text, "--list", "blocked")
        assert (dry.code, dry.out) == (done.code, done.out)
        assert dry.last == done.last.replace("Imported", "Would add")
        assert done.last.startswith("Imported 2, already 2, moved from another list 1, refused 1 (")
        monkeypatch.setenv("MIMEPORTAL_USER", "admin@example.com")
        assert imported(run, text, "--list", "blocked", "--dry-run", "--mailbox", "no@example.com").code == 4

    def test_own_domains_are_told_by_line(self, run: Run, home: Path) -> None:
        done = imported(run, "a.example\nboss@example.com\n", "--list", "permitted")
        assert (done.code, done.lines[0].split("\t")[:3]) == (3, ["2", "boss@example.com", "own_domain"])

    def test_somebody_else_s(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert imported(run, "a.example\n", "--list", "blocked", "--mailbox", "bob@example.com").code == 4
        monkeypatch.setenv("MIMEPORTAL_USER", "admin@example.com")
        assert imported(run, "a.example\n", "--list", "blocked", "--mailbox", "bob@example.com").code == 0
        assert listed(run, "--mailbox", "bob@example.com") == ["a.example"]

    def test_many(self, run: Run, home: Path) -> None:
        lines = [f"s{number}.example" for number in range(5_000)]
        lines[7] = lines[4_999] = "*"
        done = imported(run, "\n".join(lines), "--list", "blocked")
        assert [line.split("\t")[0] for line in done.lines] == ["8", "5000"]
        assert done.last.startswith("Imported 4,998, refused 2 (")


class TestBulk:
    """`add` and `remove` as the other bulk verbs: plans, reports, retries, and what may stand beside what."""

    @pytest.fixture(autouse=True)
    def entries(self, run: Run, home: Path) -> None:
        run("senders", "add", "a.example", "x@y.example", "--list", "blocked")
        run("senders", "add", "b.example", "--list", "permitted")
        run("senders", "add", "x@y.example", "--list", "trusted")

    def test_filters_choose_what_goes(self, run: Run) -> None:
        assert run("senders", "remove", "--addresses", "--yes").last.startswith("Removed 2 (")
        assert listed(run) == ["a.example", "b.example"]
        assert run("senders", "remove", "--list", "permitted", "--yes").last.startswith("Removed 1 (")
        assert run("senders", "remove", "--all", "--yes").code == 0
        assert listed(run) == []
        assert run("senders", "remove", "--all", "--yes").last.startswith("Removed 0 (")

    def test_the_oldest(self, run: Run) -> None:
        assert run("senders", "remove", "--all", "--limit", "1", "--yes").last.startswith("Removed 1 (")
        assert len(listed(run)) == 3

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("--limit", "1"),
            ("a.example", "--search", "b"),
            ("a.example", "--all"),
            ("a.example", "--every-mailbox", "--mailbox", "bob@example.com"),
            ("--every-mailbox", "--all"),
            ("a.example", "--retry-from", "r.jsonl"),
            ("--append", "--all"),
        ],
    )
    def test_what_does_not_go_together(self, run: Run, arguments: tuple[str, ...]) -> None:
        assert run("senders", "remove", *arguments, "--yes").code == 2
        assert len(listed(run)) == 4

    def test_more_than_max(self, run: Run) -> None:
        assert run("senders", "remove", "--all", "--max", "3", "--yes").code == 7
        assert len(listed(run)) == 4

    def test_a_plan_can_be_taken_up(self, run: Run) -> None:
        done = run("senders", "remove", "--domains", "--dry-run", "--report", "plan")
        assert done.last.startswith("Would remove 2 entries (")
        done = run("senders", "remove", "--retry-from", "plan", "--report", "plan", "--append", "--yes")
        assert (done.code, listed(run)) == (0, ["x@y.example", "x@y.example"])

    def test_a_report_is_retried(self, run: Run) -> None:
        refused = run("senders", "add", "new.example", "ann@example.com", "--list", "blocked", "--report", "r")
        assert (refused.code, "new.example" in listed(run)) == (3, False)
        codes = {line["id"]: line["code"] for line in map(json.loads, Path("r").read_text().splitlines())}
        assert codes == {"new.example": "not_added", "ann@example.com": "own_domain"}
        lines = [line for line in Path("r").read_text().splitlines() if "ann@" not in line.split(",")[0]]
        Path("r").write_text("\n".join(lines) + "\n")
        assert run("senders", "remove", "--retry-from", "r", "--yes").code == 2, "the report is of another verb"
        assert run("senders", "add", "--retry-from", "r").code == 2, "it asks"
        assert run("senders", "add", "--retry-from", "r", "--report", "r", "--append", "--yes").code == 0
        assert "new.example" in listed(run)

    def test_one_refused_entry_gives_its_own_code(self, run: Run) -> None:
        done = run("senders", "add", "boss@example.com", "--list", "permitted")
        assert done.code == 3
        assert "own domains" in done.err.splitlines()[0]
        assert "`mimeportal senders list`" in done.err

    def test_everybody_s_lists(self, run: Run, on_terminal: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        assert run("senders", "remove", "x@y.example", "--every-mailbox", "--yes").code == 4
        monkeypatch.setenv("MIMEPORTAL_USER", "admin@example.com")
        assert run("senders", "remove", "x@y.example", "--every-mailbox").code == 2
        done = on_terminal("senders", "remove", "x@y.example", "--every-mailbox", "--list", "trusted", answer="n")
        assert done.code == 7
        assert "every mailbox of the account" in done.out
        done = run("senders", "remove", "x@y.example", "--every-mailbox", "--list", "trusted", "--yes")
        assert done.last.startswith("Removed 1 (")
        assert listed(run, "--mailbox", "ann@example.com", "--addresses") == ["x@y.example"]
        done = run("senders", "remove", "x@y.example", "--every-mailbox", "--list", "trusted", "--yes")
        assert done.last.startswith("Removed 0, already 1 (")


class TestOnMimecast:
    """What API 2.0 offers, on a portal that is restricted to it (promises B.6)."""

    @pytest.fixture(autouse=True)
    def api2(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_USER", "admin@example.com")
        monkeypatch.setenv("MIMEPORTAL_API", "api2")

    WHOSE = ("--mailbox", "ann@example.com")

    def stand(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        with monkeypatch.context() as patch:
            patch.delenv("MIMEPORTAL_API")
            return run("senders", "list", *self.WHOSE, "--columns", "entry,list").lines

    def test_addresses_are_added(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        done = run("senders", "add", "a@b.example", "c@b.example", "--list", "permitted", *self.WHOSE)
        assert (done.code, done.last.partition(" (")[0]) == (0, "Added 2")
        assert self.stand(run, monkeypatch) == ["a@b.example\tpermitted", "c@b.example\tpermitted"]

    @pytest.mark.parametrize(
        "arguments",
        [
            ("add", "b.example", "--list", "blocked"),
            ("add", "a@b.example", "c.example", "--list", "blocked"),
            ("add", "a@b.example", "--list", "trusted"),
            ("remove", "a@b.example", "--yes"),
            ("remove", "--all", "--yes"),
            ("list",),
            ("export",),
            ("check", "a@b.example"),
        ],
        ids=" ".join,
    )
    def test_what_is_not_offered(self, run: Run, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
        done = run("senders", *arguments, *self.WHOSE)
        assert (done.code, done.out) == (8, "")
        assert self.stand(run, monkeypatch) == []

    def test_only_from_everybody(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        run("senders", "add", "a@b.example", "--list", "blocked", *self.WHOSE)
        assert run("senders", "remove", "a@b.example", "--every-mailbox", "--yes").code == 0
        assert self.stand(run, monkeypatch) == []

    def test_import_takes_addresses(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        done = imported(run, "a@b.example\nb.example\nboss@example.com\n", "--list", "blocked", *self.WHOSE)
        assert (done.code, [line.split("\t")[0] for line in done.lines]) == (3, ["2", "3"])
        assert self.stand(run, monkeypatch) == ["a@b.example\tblocked"]


class TestCheck:
    def test_one_object(self, run: Run, home: Path) -> None:
        run("senders", "add", "b.example", "--list", "blocked")
        done = run("senders", "check", "A@b.example", "-o", "json")
        told = json.loads(done.out)
        assert (done.code, told["outcome"], told["decided_by"]) == (0, "refused", "blocked sender b.example")
        told = json.loads(run("senders", "check", "a@b.example", "--envelope", "<>", "-o", "json").out)
        assert (told["outcome"], told["envelope"]) == ("dropped", "")

    @pytest.mark.parametrize("address", ["b.example", "", "a@b@c", "*@b.example"])
    def test_an_address_alone(self, run: Run, home: Path, address: str) -> None:
        assert run("senders", "check", address).code == 2

    def test_whose(self, run: Run, home: Path) -> None:
        assert run("senders", "check", "a@b.example", "--mailbox", "bob@example.com").code == 4
