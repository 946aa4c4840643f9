"""Records in five formats, on pipes, on a terminal, in files; whole, streamed, harmless."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import click
import pytest

from mimeportal_cli.exits import run_program
from mimeportal_cli.formats import FORMS, as_json, plain
from mimeportal_cli.options import Command
from mimeportal_cli.output import Output, Shape, output_options

SHAPE = Shape(("name", "size", "when"), table=("name", "size"), empty="Nothing there.")
HOSTILE = "=1\t\x1b[2J\n\u202ex\x00,\"'"

Write = Callable[..., tuple[int, str, str]]


class Stream(io.TextIOWrapper):
    """A stream that is a terminal, if it is told so."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Write:
    """`write(records, "-o", "csv", terminal=False)`: what a command with these records prints."""

    def write(
        records: Any, *arguments: str, terminal: bool = False, before: Callable[[Stream], None] | None = None
    ) -> tuple[int, str, str]:
        @click.command(cls=Command)
        @output_options(SHAPE)
        def show(output: Output) -> None:
            output.rows(records)

        out, err = Stream(io.BytesIO(), encoding="utf-8"), Stream(io.BytesIO(), encoding="utf-8")
        out.terminal = err.terminal = terminal
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            if before:
                before(out)
            code = run_program(show, "show", list(arguments))
            out.flush()
            err.flush()
        return int(code), *(stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined,return-value]

    return write


def rows(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "size": number, "when": None} for number, name in enumerate(names)]


class TestFormats:
    def test_tsv_is_the_rule_on_a_pipe(self, write: Write) -> None:
        assert write(rows("a", "b")) == (0, "a\t0\t\nb\t1\t\n", "")

    def test_table_is_the_rule_on_a_terminal(self, write: Write) -> None:
        code, out, _ = write(rows("a", "bb"), "--no-color", terminal=True)
        assert (code, out) == (0, "NAME  SIZE\na        0\nbb       1\n")

    def test_json_is_one_array(self, write: Write) -> None:
        _, out, _ = write(rows("a", HOSTILE), "-o", "json")
        assert json.loads(out) == rows("a", HOSTILE)
        assert out.isascii()
        assert not any(ord(character) < 32 for character in out.replace("\n", ""))

    def test_jsonl_is_an_object_a_line(self, write: Write) -> None:
        _, out, _ = write(rows("a", HOSTILE), "-o", "jsonl")
        assert [json.loads(line) for line in out.splitlines()] == rows("a", HOSTILE)

    def test_csv_has_a_header_and_no_formulas(self, write: Write) -> None:
        _, out, _ = write(rows("=1+1", "a,b", "line\nline", "-1"), "-o", "csv")
        read = list(csv.reader(io.StringIO(out)))
        assert read[0] == ["name", "size", "when"]
        assert [row[0] for row in read[1:]] == ["'=1+1", "a,b", "line\nline", "'-1"]

    def test_numbers_are_no_formulas(self, write: Write) -> None:
        _, out, _ = write([{"name": "a", "size": -5, "when": None}], "-o", "csv")
        assert out.splitlines()[1] == "a,-5,"

    @pytest.mark.parametrize("form", ["table", "tsv", "csv"])
    @pytest.mark.parametrize("terminal", [False, True])
    def test_nothing_hostile_reaches_a_terminal_or_a_pipe(self, write: Write, form: str, terminal: bool) -> None:
        _, out, _ = write(rows(HOSTILE), "-o", form, "--no-color", terminal=terminal)
        assert not set(out) & {"\x1b", "\u202e", "\x00"}
        if form != "csv":
            assert "\\x1b" in out
            assert "\\n" in out

    @pytest.mark.parametrize(
        ("form", "out"), [("json", "[]\n"), ("jsonl", ""), ("csv", "name,size,when\n"), ("tsv", ""), ("table", "")]
    )
    def test_no_records(self, write: Write, form: str, out: str) -> None:
        assert write([], "-o", form) == (0, out, "")

    def test_no_records_are_told_on_a_terminal(self, write: Write) -> None:
        assert write([], terminal=True) == (0, "", "Nothing there.\n")
        assert write([], "-q", terminal=True) == (0, "", "")
        assert write([], "-o", "json", terminal=True) == (0, "[]\n", "")

    def test_names_of_formats(self) -> None:
        assert set(FORMS) == {"json", "jsonl", "csv", "tsv"}


class TestColumns:
    def test_only_these_in_this_order(self, write: Write) -> None:
        assert write(rows("a"), "--columns", "size, name,size")[1] == "0\ta\n"
        assert write(rows("a"), "--columns", "size,name", "-o", "json")[1] == '[\n{"size": 0, "name": "a"}\n]\n'

    def test_unknown_one_lists_the_valid_ones(self, write: Write) -> None:
        code, out, err = write(rows("a"), "--columns", "name,colour")
        assert (code, out) == (2, "")
        assert "'colour'" in err
        assert "name, size, when" in err

    def test_table_on_a_pipe_is_not_cut(self, write: Write) -> None:
        long = "x" * 500
        assert long in write(rows(long), "-o", "table")[1]

    def test_table_on_a_terminal_is_cut_to_its_width(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "40")
        _, out, _ = write(rows("x" * 500, "日本語" * 50), "--no-color", terminal=True)
        assert all(len(line) <= 40 for line in out.splitlines())
        assert "…" in out

    def test_on_a_narrow_terminal_a_row_can_still_be_named(self) -> None:
        from mimeportal_cli.formats import Table

        said: list[str] = []
        columns = ("id", "date", "direction", "from_address", "to", "status", "expires", "definition", "subject")
        cells = ["#4eww3tab", "2026-11-28 18:24", "outbound", "ann@example.com", "client@elsewhere.example", "recalled",
               "2026-12-28 18:24", "Default Secure Messaging Definition", "An offer"]  # fmt: skip
        table = Table(said.append, columns, lambda record: list(record.values()), 80)
        table.row(dict(zip(columns, cells, strict=True)))
        table.end()
        heading, line = "".join(said).splitlines()
        assert line.startswith("#4eww3tab  ")
        assert max(len(line), len(heading)) <= 80

    def test_numbers_and_days_are_never_cut(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "30")
        records = [
            {"name": "x" * 50, "size": 1234567890, "when": date(2026, 11, 3)},
            {"name": None, "size": None, "when": None},
        ]
        _, out, _ = write(records, "-o", "table", "--columns", "name,size,when", "--no-color", terminal=True)
        title, first, second = out.splitlines()
        assert first == "xxxxx…  1234567890  2026-11-03"
        assert (title, second) == ("NAME          SIZE  WHEN", "")

    def test_widths_of_the_first_page_hold(self, write: Write) -> None:
        _, out, _ = write(rows(*["aaa"] * 200, "b", "c"), "--no-color", terminal=True)
        assert {line.index(" ") for line in out.splitlines()[1:200]} == {3}
        assert out.splitlines()[-1] == "c      201"
        assert out.count("NAME") == 1


class TestStreams:
    @pytest.mark.parametrize("form", ["json", "jsonl", "csv", "tsv"])
    def test_first_page_is_out_before_the_second_is_asked_for(self, write: Write, form: str) -> None:
        seen: list[bytes] = []

        class Page:
            def __init__(self, rows: list[Any]) -> None:
                self.rows = rows

        class Pages:
            def pages(self) -> Iterator[Page]:
                yield Page(rows("first"))
                seen.append(stream.buffer.getvalue())  # type: ignore[attr-defined]
                yield Page(rows("second"))

        stream: Any = None

        def before(out: Stream) -> None:
            nonlocal stream
            stream = out

        assert "second" in write(Pages(), "-o", form, before=before)[1]
        assert b"first" in seen[0]

    def test_json_cut_short_is_left_unclosed(self, write: Write) -> None:
        def failing() -> Iterator[dict[str, Any]]:
            yield from rows(*"a" * 200)
            raise OSError(5, "Input/output error")

        code, out, err = write(failing(), "-o", "json")
        assert code == 1
        assert out.startswith("[\n{")
        assert "]" not in out
        assert "Input/output error" in err

    def test_limit_says_when_it_cuts(self, write: Write) -> None:
        assert write(rows("a", "b"), "--limit", "1")[1:] == (
            "a\t0\t\n",
            "Only the first is shown, as --limit says; there are more.\n",
        )
        assert write(rows("a", "b"), "--limit", "2")[2] == ""
        assert write(rows("a", "b"), "--limit", "1", "-q")[2] == ""


class TestFiles:
    def test_file_is_whole(self, write: Write, tmp_path: Path) -> None:
        assert write(rows("a"), "-w", str(tmp_path / "list")) == (0, "", "")
        assert (tmp_path / "list").read_text() == "a\t0\t\n"
        assert [path.name for path in tmp_path.iterdir()] == ["list"]

    @pytest.mark.parametrize("form", ["json", "jsonl", "csv", "tsv"])
    def test_ending_names_the_format(self, write: Write, tmp_path: Path, form: str) -> None:
        path = tmp_path / f"list.{form}"
        write(rows("a"), "-w", str(path))
        assert path.read_text() == write(rows("a"), "-o", form)[1]
        write(rows("a"), "-w", str(path), "-o", "tsv")
        assert path.read_text() == "a\t0\t\n"

    def test_failure_leaves_the_old_file(self, write: Write, tmp_path: Path) -> None:
        path = tmp_path / "list.json"
        path.write_text("old")

        def failing() -> Iterator[dict[str, Any]]:
            yield from rows("a")
            raise ValueError("never shown")

        code, out, err = write(failing(), "-w", str(path))
        assert (code, out) == (1, "")
        assert "never shown" not in err
        assert path.read_text() == "old"
        assert [entry.name for entry in tmp_path.iterdir()] == ["list.json"]

    def test_link_is_followed(self, write: Write, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real" / "list")
        write(rows("a"), "-w", str(tmp_path / "link"))
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real" / "list").read_text() == "a\t0\t\n"

    def test_no_such_folder(self, write: Write, tmp_path: Path) -> None:
        code, _, err = write(rows("a"), "-w", str(tmp_path / "no" / "list"))
        assert code == 2
        assert len(err.splitlines()) == 3

    def test_folder_is_no_file(self, write: Write, tmp_path: Path) -> None:
        assert write(rows("a"), "-w", str(tmp_path))[0] == 2

    def test_device_is_written_through(self, write: Write) -> None:
        assert write(rows("a"), "-w", "/dev/null") == (0, "", "")

    def test_dash_is_stdout(self, write: Write) -> None:
        assert write(rows("a"), "-w", "-")[1] == "a\t0\t\n"


class TestPreference:
    def test_environment_counts_where_no_option_does(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_OUTPUT", "jsonl")
        assert write(rows("a"))[1].startswith("{")
        assert write(rows("a"), "-o", "tsv")[1] == "a\t0\t\n"

    def test_wrong_one_is_told(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_OUTPUT", "xml")
        code, out, err = write(rows("a"))
        assert (code, out) == (2, "")
        assert "'xml'" in err


def test_values_as_text() -> None:
    from datetime import UTC, datetime

    moment = datetime(2027, 1, 15, 8, tzinfo=UTC)
    values = [None, "a", True, False, 3, moment, {}, {"a": 1}, ["a", "b"], []]
    assert [plain(value) for value in values] == [
        "", "a", "true", "false", "3", "2027-01-15T08:00:00+00:00", "", '{"a": 1}', "a,b", "",
    ]  # fmt: skip
    assert as_json({"when": moment}) == '{"when": "2027-01-15T08:00:00+00:00"}'
