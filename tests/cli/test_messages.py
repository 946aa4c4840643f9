"""Mail on its way, in the shell."""

from __future__ import annotations

import json

import pytest

from cli.conftest import Run, message, plain
from conftest import ADMIN, ANN, BOB, Lab
from mimeportal_cli.references import reference


@pytest.fixture
def administrator(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Two held messages of different senders and one that passed, seen by an administrator."""
    lab.receive(message("Eve <eve@elsewhere.example>", "First"), envelope_from="bounce@mailer.example")
    lab.receive(message("Shop <offers@shop.example>", "\x1b[31mSecond", to=BOB), to=BOB)
    lab.receive(message("Shop <offers@shop.example>", "Third", to=BOB), to=BOB, reason=None)
    monkeypatch.setenv("MIMEPORTAL_URL", lab.url)
    monkeypatch.setenv("MIMEPORTAL_USER", ADMIN)
    return lab


class TestTrack:
    def test_from_tracking_to_release(self, administrator: Lab, run: Run) -> None:
        """`messages track ... --hold-ids | holds release --ids-from - --yes`."""
        ids = run("messages", "track", "--from", "shop.example", "--hold-ids")
        assert len(ids.lines) == 1
        released = run("holds", "release", "--ids-from", "-", "--yes", stdin=ids.out)
        assert released.code == 0
        assert "1" in released.last
        left = run("holds", "list", "--queue", "admin", "--columns", "subject")
        assert left.lines == ["First"]
        assert run("messages", "track", "--from", "shop.example", "--hold-ids").out == ""

    @pytest.mark.parametrize(
        ("options", "subjects"),
        [
            ((), ["Third", "\\x1b[31mSecond", "First"]),
            (("--to", BOB), ["Third", "\\x1b[31mSecond"]),
            (("--subject", "first"), ["First"]),
            (("--status", "held"), ["\\x1b[31mSecond", "First"]),
            (("--status", "held", "--status", "bounced", "--from", "mailer.example"), ["First"]),
            (("--route", "outbound"), []),
            (("--sender-ip", "192.0.2.1"), []),
            (("--message-id", "<none@x.example>"), []),
            (("--since", "1h", "--limit", "1"), ["Third"]),
            (("--until", "1h"), []),
        ],
    )
    def test_filters(self, administrator: Lab, run: Run, options: tuple[str, ...], subjects: list[str]) -> None:
        done = run("messages", "track", *options, "--columns", "subject")
        assert (done.code, done.lines) == (0, subjects)

    def test_json_has_the_names_of_the_sdk(self, administrator: Lab, run: Run) -> None:
        (row,) = json.loads(run("messages", "track", "--subject", "first", "-o", "json").out)
        assert (row["status"], row["from_address"], row["from_header"], row["to_addresses"]) == (
            "held",
            "bounce@mailer.example",
            "eve@elsewhere.example",
            [ANN],
        )

    def test_a_reference_from_the_table_shows_the_message(self, administrator: Lab, on_terminal: Run, run: Run) -> None:
        table = plain(on_terminal("messages", "track", "--subject", "first").out)
        short = next(word for word in table.split() if word.startswith("#"))
        senders = plain(on_terminal("messages", "track", "--subject", "first", "--columns", "from_header").out)
        assert "eve@elsewhere.example (bounce@mailer.example)" in senders
        shown = plain(on_terminal("messages", "track", short).out)
        (hold,) = run("holds", "list", "--queue", "admin", "--subject", "first", "--columns", "id").lines
        assert reference(hold) in shown
        assert "Date: Fri" not in shown
        assert "Date: Fri" in plain(on_terminal("messages", "track", short, "-v").out)
        record = json.loads(run("messages", "track", short, "-o", "json").out)
        assert (record["hold_id"], record["status"], record["subject"]) == (hold, "held", "First")
        assert "Subject: First" in record["headers"]
        assert run("messages", "track", short, "--hold-ids").lines == [hold]

    def test_hold_ids_are_whole_on_a_terminal_too(self, administrator: Lab, on_terminal: Run, run: Run) -> None:
        (hold,) = run("holds", "list", "--queue", "admin", "--subject", "first", "--columns", "id").lines
        shown = plain(on_terminal("messages", "track", "--subject", "first", "--hold-ids").out)
        assert hold in shown.splitlines()

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (("#abcdefgh",), 5),
            (("eNone",), 5),
            (("eNone", "--from", "x.example"), 2),
            (("eNone", "--since", "1d"), 2),
            (("eNone", "--columns", "id"), 2),
            (("--status", "gone"), 2),
            (("--since", "31d"), 1),
        ],
        ids=str,
    )
    def test_wrong(self, administrator: Lab, run: Run, arguments: tuple[str, ...], code: int) -> None:
        assert run("messages", "track", *arguments).code == code

    def test_not_for_users(self, administrator: Lab, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_USER", ANN)
        assert run("messages", "track").code == 4

    def test_nothing_hostile_is_shown(self, administrator: Lab, run: Run, on_terminal: Run) -> None:
        for text in (
            run("messages", "track", "-o", "tsv").out,
            plain(on_terminal("messages", "track").out),
            run("messages", "processing", "-o", "csv").out,
        ):
            assert "\x1b" not in text


class TestTheOthers:
    def test_processing(self, administrator: Lab, run: Run, on_terminal: Run) -> None:
        done = run("messages", "processing", "--columns", "subject,attempts")
        assert done.lines == ["Third\t0"]
        assert run("messages", "processing").out == "", "the command before delivered it when it ended"
        administrator.receive(message("Shop <offers@shop.example>", "Fourth"), reason=None)
        assert "Queued for" in plain(on_terminal("messages", "processing").out)
        administrator.receive(message("Shop <offers@shop.example>", "Fifth"), reason=None)
        assert run("messages", "processing", "--search", "none").out == ""

    def test_queues(self, administrator: Lab, run: Run, on_terminal: Run) -> None:
        rows = [line.split("\t") for line in run("messages", "queues").lines]
        assert sum(int(count) for direction, _, count in rows if direction == "inbound") == 1
        assert "inbound" in plain(on_terminal("messages", "queues", "--since", "2h").out)
        assert run("messages", "queues", "--since", "1h", "--until", "2h").code == 2

    def test_rejected(self, administrator: Lab, run: Run, on_terminal: Run) -> None:
        run("senders", "add", "spam.example", "--list", "blocked", "--mailbox", ANN, "--yes")
        administrator.receive(message("Spam <x@spam.example>", "No"), reason=None)
        done = run("messages", "rejected", "--since", "1h", "--columns", "type,from_address,to_address")
        assert done.lines == [f"sender_blocked\tx@spam.example\t{ANN}"]
        assert "x@spam.example" in plain(on_terminal("messages", "rejected", "--since", "1h").out)
        assert run("messages", "rejected", "--mailbox", BOB, "--since", "1h").out == ""

    def test_bounced(self, administrator: Lab, run: Run, on_terminal: Run) -> None:
        assert run("messages", "bounced").out == ""
        assert "Nothing bounced." in plain(on_terminal("messages", "bounced").out)


def test_references_of_tracked_and_held_messages_are_kept_apart(administrator: Lab, on_terminal: Run, run: Run) -> None:
    on_terminal("holds", "list", "--queue", "admin")
    table = plain(on_terminal("messages", "track", "--subject", "first").out)
    short = next(word for word in table.split() if word.startswith("#"))
    assert run("holds", "show", short).code == 5
    assert run("messages", "track", short).code == 0
