"""A call that is wrong is told in a sentence, as a `UsageError`, before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from conftest import Lab, mail_of
from mimeportal.errors import UsageError
from mimeportal.holds import Hold, HoldFilter
from mimeportal.holds.rules import load
from mimeportal.portal import Portal
from mimeportal.report import Report

TOKYO = timezone(timedelta(hours=9))


@pytest.fixture
def held(lab: Lab) -> Hold:
    for number in (1, 2, 3):
        lab.receive(mail_of(subject=f"Mail {number}"))
    with lab.client() as portal:
        return next(iter(portal.holds.list()))


@pytest.mark.parametrize(
    "call",
    [
        lambda portal, _: portal.holds.release("abc"),
        lambda portal, hold: portal.holds.release(hold),
        lambda portal, _: portal.holds.release([1]),
        lambda portal, _: portal.holds.release([{}]),
        lambda portal, _: portal.holds.release([""]),
        lambda portal, _: portal.holds.release(["\udcff"]),
        lambda portal, _: portal.holds.release([{"id": 3}]),
        lambda portal, _: portal.holds.release(7),
        lambda portal, _: portal.holds.lookup("abc"),
        lambda portal, _: portal.holds.states("abc"),
        lambda portal, _: portal.holds.get(None),
        lambda portal, hold: portal.holds.get(hold),
        lambda portal, _: portal.holds.download(None),
        lambda portal, _: portal.holds.list("subject"),
        lambda portal, _: portal.holds.list(subject=5),
        lambda portal, _: portal.holds.list(subject="\udcff"),
        lambda portal, _: portal.holds.list(since="7d"),
        lambda portal, _: portal.holds.list(since=datetime.min.replace(tzinfo=TOKYO)),
        lambda portal, _: portal.holds.list(has_attachments="no"),
        lambda portal, _: portal.holds.list(larger_than="10k"),
        lambda portal, _: portal.holds.list(mailboxes="ann@example.com"),
        lambda portal, _: portal.holds.list(route="sideways"),
        lambda portal, _: portal.holds.list(colour="red"),
        lambda portal, _: portal.holds.list(page_size=-1),
        lambda portal, _: portal.holds.list().first(-1),
        lambda portal, _: portal.holds.log(since="7d"),
        lambda portal, _: portal.holds.log(search=5),
        lambda portal, _: portal.holds.plan("release", retry_from=Path("r"), limit=1),
        lambda portal, _: portal.holds.plan_rules(None),
        lambda portal, _: portal.holds.plan_rules(Path("a"), retry_from=Path("b")),
        lambda portal, _: portal.senders.add("a@b.example", "blocked"),
        lambda portal, _: portal.senders.add([None], "blocked"),
        lambda portal, _: portal.senders.remove("a@b.example", "blocked"),
        lambda portal, _: portal.senders.add(["a@b.example"], "blocked", mailbox=5),
        lambda portal, _: portal.senders.list(search=5),
        lambda portal, _: portal.senders.plan("add", ["a@b.example"], list="blocked", limit=1),
        lambda portal, _: portal.senders.plan("add", ["a@b.example"], list="blocked", search="x"),
        lambda portal, _: portal.senders.plan("add", ["a@b.example"], list="blocked", every_mailbox=True),
        lambda portal, _: portal.senders.plan("remove", ["a@b.example"], type="domain"),
        lambda portal, _: portal.senders.plan("remove", every_mailbox=True, search="x"),
        lambda portal, _: portal.senders.plan("remove", ["a@b.example"], retry_from=Path("r")),
        lambda portal, _: portal.senders.plan("remove", retry_from=Path("r"), limit=1),
        lambda portal, _: portal.messages.list(page_size=0),
        lambda portal, _: portal.largefiles.list(page_size=-1),
    ],
)
def test_wrong_calls(lab: Lab, held: Hold, call: Callable[[Portal, Hold], Any]) -> None:
    with lab.client() as portal, pytest.raises(UsageError):
        call(portal, held)
    assert not lab.outgoing()


@pytest.mark.parametrize("name", ["url", "user", "profile"])
def test_a_portal_is_named_by_text(lab: Lab, name: str) -> None:
    with pytest.raises(UsageError, match="takes text"):
        Portal.open(**{name: lab.path})  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e300, "5"])
def test_timeouts(lab: Lab, timeout: Any) -> None:
    with pytest.raises(UsageError, match="Not a timeout"):
        Portal.open(lab.url, user="ann@example.com", timeout=timeout)


def test_closed(lab: Lab, held: Hold) -> None:
    portal = lab.client()
    portal.close()
    assert portal.close() == ""
    for call in (portal.holds.summary, lambda: portal.holds.get(held.id), lambda: portal.holds.release([held])):
        with pytest.raises(UsageError, match="This portal is closed"):
            call()


class TestPlanLines:
    @pytest.fixture
    def lines(self, lab: Lab, held: Hold, tmp_path: Path) -> list[dict[str, Any]]:
        path = tmp_path / "plan.jsonl"
        with lab.client() as portal, portal.holds.plan("reject", filter=HoldFilter(), block="address") as plan:
            plan.write(path)
        return [json.loads(line) for line in path.read_text().splitlines()]

    def test_another_verb(self, lab: Lab, lines: list[dict[str, Any]]) -> None:
        with lab.client() as portal, pytest.raises(UsageError, match="says reject, this is release"):
            portal.holds.plan("release", ids=lines)

    def test_recorded_options_are_taken(self, lab: Lab, lines: list[dict[str, Any]]) -> None:
        with lab.client() as portal, portal.holds.plan("reject", ids=lines) as plan:
            assert [dict(item.options) for item in plan.selection] == [{"block": "address"}] * 3

    def test_the_same_options_may_be_given(self, lab: Lab, lines: list[dict[str, Any]]) -> None:
        with lab.client() as portal, portal.holds.plan("reject", ids=lines, block="address") as plan:
            assert len(plan) == 3

    @pytest.mark.parametrize("options", [{"block": "domain"}, {"reason_type": "MESSAGE CONTAINS UNDESIRABLE CONTENT"}])
    def test_others_may_not(self, lab: Lab, lines: list[dict[str, Any]], options: dict[str, Any]) -> None:
        with lab.client() as portal, pytest.raises(UsageError, match="options of its own"):
            portal.holds.plan("reject", ids=lines, **options)

    def test_the_default_written_out_differs_too(self, lab: Lab, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            line["options"]["sender_part"] = "envelope"
        with lab.client() as portal, pytest.raises(UsageError, match="options of its own"):
            portal.holds.plan("reject", ids=lines, sender_part="header")


class TestRules:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ('[[rule]]\nname = "all"\ndecide = "release"\n', "all.*without a condition"),
            ('[[rule]]\nname = "all"\ndecide = "reject"\nblock = "address"\n', "all.*without a condition"),
            ('[[rule]]\nname = "way"\ndecide = "keep"\nroute = "sideways"\n', "way.*no route"),
            ('[[rule]]\nname = "re"\ndecide = "keep"\nsubject_regex = "("\n', "re.*regular expression"),
            ("a = " + "[" * 5000, "nested too deeply|not TOML"),
        ],
    )
    def test_refused(self, tmp_path: Path, text: str, told: str) -> None:
        path = tmp_path / "rules.toml"
        path.write_text(text)
        with pytest.raises(UsageError, match=told):
            load(path)

    def test_keep_needs_none(self, tmp_path: Path) -> None:
        path = tmp_path / "rules.toml"
        path.write_text('[[rule]]\ndecide = "keep"\n')
        assert len(load(path)) == 1

    def test_report_is_taken_up(self, lab: Lab, held: Hold, tmp_path: Path) -> None:
        rules, path = tmp_path / "rules.toml", tmp_path / "r.jsonl"
        rules.write_text(
            '[[rule]]\nname = "one"\nsubject = "Mail 1"\ndecide = "release"\n'
            '[[rule]]\nname = "two"\nsubject = "Mail 2"\ndecide = "reject"\n'
        )
        with lab.client() as portal:
            with portal.holds.plan_rules(rules) as plan:
                report = Report(path)
                report.plan(plan.selection, plan.context)
                report.finish(complete=False)  # as when it is killed before anything was done
            with portal.holds.plan_rules(None, retry_from=path) as plan:
                assert sorted((item.action, item.rule) for item in plan.selection) == [
                    ("reject", "two"),
                    ("release", "one"),
                ]
                assert plan.run().totals["done"] == 2

    def test_of_a_verb_it_is_not(self, lab: Lab, held: Hold, tmp_path: Path) -> None:
        path = tmp_path / "r.jsonl"
        with lab.client() as portal:
            portal.holds.release([held], report=Report(path))
            with pytest.raises(UsageError, match="no report of rules"):
                portal.holds.plan_rules(None, retry_from=path)
