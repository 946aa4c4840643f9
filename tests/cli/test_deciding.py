"""Deciding in bulk: what is refused, asked, acted on, recorded, and which exit code tells it (promises A)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Run, plain
from mimeportal import errors
from mimeportal.holds.workers import LocalWorker
from mimeportal_cli.references import reference

Count = Callable[[], int]


def records(path: Path | str) -> list[dict[str, Any]]:
    text = path.read_text() if isinstance(path, Path) else path
    return [json.loads(line) for line in text.splitlines()]


class TestRefused:
    @pytest.mark.parametrize("verb", ["release", "reject"])
    def test_neither_id_nor_filter(self, run: Run, home: Path, verb: str) -> None:
        assert run("holds", verb, "--yes").code == 2
        assert run("holds", verb, "--yes", "--queue", "personal").code == 2

    @pytest.mark.parametrize(
        "more",
        [
            ("--from", "x.example"),
            ("--queue", "personal"),
            ("--all",),
            ("--since", "7d"),
            ("--no-attachments",),
            ("--mailbox", "ann@example.com"),
        ],
    )
    def test_ids_with_filters(self, run: Run, ids: list[str], more: tuple[str, ...]) -> None:
        done = run("holds", "release", ids[0], *more)
        assert done.code == 2
        assert more[0] in done.err
        assert run("holds", "release", "--ids-from", "-", *more, stdin=ids[0]).code == 2

    @pytest.mark.parametrize("selection", [("--all",), ("--from", "shop.example")])
    def test_unasked_without_a_terminal(
        self, run: Run, home: Path, outgoing: Count, selection: tuple[str, ...]
    ) -> None:
        done = run("holds", "release", *selection)
        assert (done.code, done.out) == (2, "")
        assert done.err.splitlines()[0] == "--yes required when not running interactively"
        assert outgoing() == 0

    def test_more_than_max(self, run: Run, home: Path, outgoing: Count) -> None:
        done = run("holds", "release", "--all", "--yes", "--max", "5", "--report", "r.jsonl")
        assert done.code == 7
        assert "--max 6" in done.err
        assert outgoing() == 0
        assert not Path("r.jsonl").exists()

    def test_report_that_exists(self, run: Run, home: Path, outgoing: Count) -> None:
        Path("r.jsonl").write_text("kept")
        assert run("holds", "release", "--all", "--yes", "--report", "r.jsonl").code == 2
        assert Path("r.jsonl").read_text() == "kept"
        assert outgoing() == 0

    def test_append_to_no_report(self, run: Run, home: Path) -> None:
        assert run("holds", "release", "--all", "--yes", "--append").code == 2

    def test_message_without_notify(self, run: Run, ids: list[str]) -> None:
        assert run("holds", "reject", ids[0], "--yes", "--message", "no").code == 2

    def test_retry_from_stands_alone(self, run: Run, ids: list[str]) -> None:
        for more in ((ids[0],), ("--all",), ("--permit", "address")):
            assert run("holds", "release", "--retry-from", "r.jsonl", "--yes", *more).code == 2

    def test_a_moderators_choice_of_somebody_elses_mail(self, run: Run, home: Path) -> None:
        assert run("holds", "release", "--all", "--yes", "--mailbox", "bob@example.com").code == 4


class TestAsked:
    def test_ten_typed_ids_are_released_unasked(self, run: Run, ids: list[str], outgoing: Count) -> None:
        assert run("holds", "release", *ids).code == 0
        assert outgoing() == 6

    def test_eleven_are_not(self, run: Run, ids: list[str]) -> None:
        assert run("holds", "release", *[*ids, *ids][:11]).code == 2

    def test_one_rejected_is_asked_for(self, run: Run, ids: list[str]) -> None:
        assert run("holds", "reject", ids[0]).code == 2
        assert run("holds", "reject", ids[0], "--yes").code == 0

    def test_file_of_ids_is_asked_for(self, run: Run, ids: list[str]) -> None:
        assert run("holds", "release", "--ids-from", "-", stdin=ids[0]).code == 2

    @pytest.mark.parametrize(("answer", "code"), [("y", 0), ("YES", 0), ("n", 7), ("", 7), ("yikes", 7)])
    def test_answer(self, on_terminal: Run, home: Path, outgoing: Count, answer: str, code: int) -> None:
        done = on_terminal("holds", "release", "--from", "shop.example", answer=answer or "\n")
        assert done.code == code
        assert outgoing() == (3 if code == 0 else 0)

    def test_question_names_where_and_what(self, on_terminal: Run, home: Path) -> None:
        done = on_terminal("holds", "reject", "--all", "--block", "address", answer="n")
        shown = plain(done.out)
        assert "and 1 more" in shown
        assert "adds 4 senders to the lists: " in shown
        assert "(profile none, account LOCAL-" in shown
        assert f"URL local:{home}, queue personal, mailbox ann@example.com)? [y/N]" in shown

    def test_declined_leaves_no_report(self, on_terminal: Run, home: Path) -> None:
        on_terminal("holds", "reject", "--all", "--report", "r.jsonl", answer="n")
        assert not Path("r.jsonl").exists()

    def test_no_input_never_asks(self, on_terminal: Run, home: Path) -> None:
        assert on_terminal("--no-input", "holds", "reject", "--all").code == 2


class TestPlan:
    def test_dry_run_changes_nothing(self, run: Run, ids: list[str], outgoing: Count) -> None:
        done = run("holds", "release", "--all", "--dry-run", "--report", "plan.jsonl", "-o", "jsonl")
        assert done.code == 0
        assert done.last.startswith("Would release 6 held messages (profile none, ")
        assert records(done.out) == records(Path("plan.jsonl"))
        assert [line["id"] for line in records(done.out)] == ids
        assert {line["outcome"] for line in records(done.out)} == {None}
        assert outgoing() == 0
        assert run("holds", "list", "--columns", "id").lines == ids

    def test_plan_is_acted_on_exactly(self, run: Run, ids: list[str], outgoing: Count) -> None:
        run("holds", "release", "--from", "shop.example", "--dry-run", "--report", "plan.jsonl")
        done = run("holds", "release", "--ids-from", "plan.jsonl", "--yes")
        assert done.code == 0
        assert outgoing() == 3
        assert run("holds", "list", "--columns", "id").lines == ids[:3]

    def test_list_is_acted_on(self, run: Run, ids: list[str], outgoing: Count) -> None:
        for form in ("tsv", "jsonl"):
            listed = run("holds", "list", "-o", form, "--limit", "2").out
            assert run("holds", "release", "--ids-from", "-", "--yes", stdin=listed).code == 0
        assert outgoing() == 4

    def test_limit_takes_the_oldest(self, run: Run, ids: list[str]) -> None:
        run("holds", "release", "--all", "--yes", "--limit", "2")
        assert run("holds", "list", "--columns", "id").lines == ids[:4]

    def test_plan_is_sorted_as_asked(self, run: Run, home: Path) -> None:
        done = run("holds", "release", "--all", "--dry-run", "--sort", "-subject", "--columns", "subject")
        assert done.lines[:2] == ["Statement", "Offer 3"]

    def test_more_than_max_is_told(self, run: Run, home: Path) -> None:
        done = run("holds", "release", "--all", "--dry-run", "--max", "1")
        assert done.code == 0
        assert "--max 1" in done.err

    def test_blocked_senders_are_left_out_and_counted(self, run: Run, home: Path) -> None:
        run("senders", "add", "shop.example", "--list", "blocked")
        done = run("holds", "release", "--all", "--yes", "--columns", "subject")
        assert len(done.lines) == 3
        assert "3 held messages left out" in done.err
        assert done.last.startswith("Released 3 (")


class TestReports:
    def test_a_line_for_each_message(self, run: Run, ids: list[str]) -> None:
        done = run("holds", "release", *ids[:2], "missing-id", "--report", "r.jsonl", "-o", "jsonl")
        assert done.code == 3
        assert records(done.out) == records(Path("r.jsonl"))
        assert [line["outcome"] for line in records(done.out)] == ["done", "done", "failed"]
        assert Path("r.jsonl").stat().st_mode & 0o777 == 0o600
        assert not Path("r.jsonl.todo").exists()
        assert done.last.startswith("Released 2, failed 1 [")

    def test_what_is_left_is_taken_up(self, run: Run, ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        act = LocalWorker.act

        def failing(worker: LocalWorker, items: Any) -> Any:
            if items[0].id != ids[0]:
                raise errors.UnavailableError("Gone fishing.", code="busy", request_id="r1")
            return act(worker, items)

        with monkeypatch.context() as patch:
            patch.setattr(LocalWorker, "act", failing)
            done = run("holds", "release", *ids, "--batch-size", "1", "--report", "r.jsonl")
        assert done.code == 6
        assert done.last.startswith("Released 1, not attempted 5 (")
        assert done.err.splitlines()[0] == "Gone fishing."
        assert len(records(Path("r.jsonl"))) == 1
        assert run("holds", "reject", "--retry-from", "r.jsonl", "--yes").code == 2
        again = run("holds", "release", "--retry-from", "r.jsonl", "--yes", "--report", "r2.jsonl")
        assert again.code == 0
        assert {line["id"] for line in records(Path("r2.jsonl"))} == set(ids[1:])

    def test_records_on_a_terminal_are_the_problems(self, on_terminal: Run, ids: list[str]) -> None:
        shown = plain(on_terminal("holds", "release", ids[0], "missing-id").out)
        assert "missing-id" not in shown
        assert reference("missing-id") in shown
        assert reference(ids[0]) not in shown
        assert reference(ids[1]) in plain(on_terminal("holds", "release", ids[1], "-o", "table").out)


class TestEnding:
    @pytest.fixture
    def worker(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Exception | type[BaseException]], None]:
        def set_fault(name: str, fault: Exception | type[BaseException]) -> None:
            def failing(*_: Any) -> Any:
                raise fault

            monkeypatch.setattr(LocalWorker, name, failing)

        return set_fault

    @pytest.mark.parametrize(
        ("code", "ends"),
        [
            ("not_found", 5),
            ("xdk_failure", 5),
            ("expired", 5),
            ("already_released", 5),
            ("err_xdk_operation_forbidden_for_address", 4),
            ("no_sender", 3),
        ],
    )
    def test_one_typed_id_gives_its_own_code(
        self, run: Run, ids: list[str], worker: Callable[..., None], code: str, ends: int
    ) -> None:
        worker("act", errors.ApiError("No.", code=code, request_id="r1"))
        done = run("holds", "reject", ids[0], "--yes")
        assert done.code == ends
        assert done.err.splitlines()[1] == f"code {code}, request r1"
        assert run("holds", "reject", *ids[:2], "--yes").code == 3
        assert run("holds", "reject", "--from", "news@press.example", "--yes").code == 3

    def test_lost_answers_are_unknown(self, run: Run, ids: list[str], worker: Callable[..., None]) -> None:
        worker("act", errors.LostAnswerError("Lost."))
        worker("look", errors.LostAnswerError("Lost."))
        assert run("holds", "release", ids[0], "--columns", "outcome,code").out == "unknown\tanswer_lost\n"
        assert run("holds", "release", ids[0]).code == 6
        done = run("holds", "release", *ids[:2])
        assert done.code == 3
        assert done.last.startswith("Released 0, unknown 2 [answer_lost 2] (")

    @pytest.mark.parametrize(
        ("fault", "ends"), [(errors.AuthenticationError("Out."), 4), (errors.RateLimitedError("Slow."), 6)]
    )
    def test_what_stops_it_all(
        self, run: Run, ids: list[str], worker: Callable[..., None], fault: Exception, ends: int
    ) -> None:
        worker("act", fault)
        done = run("holds", "release", *ids[:2])
        assert done.code == ends
        assert done.last.startswith("Released 0, not attempted 2 (")

    def test_interrupt(self, run: Run, ids: list[str], worker: Callable[..., None]) -> None:
        worker("act", KeyboardInterrupt)
        done = run("holds", "release", *ids[:2])
        assert done.code == 130
        assert done.last.startswith("Released 0, not attempted 2 (")

    def test_quiet_says_nothing_of_success(self, run: Run, ids: list[str]) -> None:
        assert run("holds", "release", ids[0], "-q").err == ""
        assert run("-q", "holds", "reject", ids[0], "--yes").err != ""

    def test_nothing_matched(self, run: Run, home: Path) -> None:
        done = run("holds", "release", "--from", "nobody.example", "--yes", "-o", "json")
        assert (done.code, done.out) == (0, "[]\n")
        assert done.last.startswith("Released 0 (")

    def test_closed_pipe_stops_the_records_not_the_act(self, ids: list[str], outgoing: Count) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "mimeportal_cli", "holds", "release", *ids, "--batch-size", "1"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        os.close(writer)
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("Released 6 (")
        assert outgoing() == 6

    def test_full_disk_stops_the_records_not_the_act(
        self, run: Run, ids: list[str], outgoing: Count, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from mimeportal_cli.output import Writer

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Writer, "add", full)
        done = run("holds", "release", *ids, "-w", "records.jsonl")
        assert done.code == 1
        assert "No space left on device" in done.err
        assert done.last.startswith("Released 6 (")
        assert outgoing() == 6
        assert not Path("records.jsonl").exists()


class TestRules:
    RULES = """
    [[rule]]
    name = "shop"
    from = "shop.example"
    decide = "release"
    permit = "domain"

    [[rule]]
    name = "news"
    subject = "headlines"
    decide = "keep"

    [[rule]]
    name = "bank"
    from = "bank.example"
    decide = "reject"
    """

    @pytest.fixture(autouse=True)
    def rules(self, home: Path) -> None:
        Path("rules.toml").write_text(self.RULES)

    def test_each_decision_names_its_rule(self, run: Run, outgoing: Count) -> None:
        done = run("holds", "apply", "rules.toml", "--yes", "-o", "jsonl", "--report", "r.jsonl")
        assert done.code == 0
        assert [(line["action"], line["rule"]) for line in records(done.out)] == [
            ("reject", "bank"),
            *[("release", "shop")] * 3,
        ]
        assert records(done.out) == records(Path("r.jsonl"))
        assert "1 held message kept by a rule." in done.err
        assert "1 held message left alone: no rule matches." in done.err
        assert done.last.startswith("Decided 4 (")
        assert outgoing() == 3

    def test_question_counts_by_rule(self, on_terminal: Run) -> None:
        done = on_terminal("holds", "apply", "rules.toml", answer="n")
        shown = plain(done.out)
        assert done.code == 7
        assert "3 by rule shop" in shown
        assert "Decide 4 held messages: reject 1, release 3 (profile" in shown

    def test_plan_is_shown(self, run: Run, outgoing: Count) -> None:
        done = run("holds", "apply", "rules.toml", "--dry-run", "--columns", "action,rule,entry")
        assert done.lines == ["reject\tbank\t", *["release\tshop\tshop.example"] * 3]
        assert outgoing() == 0

    def test_broken_rules(self, run: Run) -> None:
        Path("rules.toml").write_text('[[rule]]\ncolour = "red"\ndecide = "release"\n')
        done = run("holds", "apply", "rules.toml", "--yes")
        assert done.code == 2
        assert "'colour'" in done.err

    def test_report_is_not_taken_up_by_rules(self, run: Run) -> None:
        assert run("holds", "apply", "rules.toml", "--yes", "--retry-from", "r.jsonl").code == 2
