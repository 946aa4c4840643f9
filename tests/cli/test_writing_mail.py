"""Writing mail in the shell: texts and files as they are typed, what a program reads, what completes."""

from __future__ import annotations

import json
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from cli.conftest import Run
from conftest import ANN, BOB
from mimeportal_cli.main import cli
from mimeportal_cli.references import reference
from mimeportal_server import people
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal
from mimeportal_server.store.schema import contacts

OUT = "pal@outside.example"


def sent(home: Path) -> Any:
    """The last message that was handed on, as another program reads it."""
    files = (home / "outgoing" / "new").iterdir()
    newest = max(files, key=lambda path: int(path.name.split(".")[1][1:]))
    return message_from_bytes(newest.read_bytes(), policy=policy.default)


def text(message: Any) -> str:
    return str(message.get_body(("plain",)).get_content()).replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("options", "stdin", "shown"),
    [
        (("--body", "Hello"), "", "Hello\n"),
        (("--body", "@text.txt"), "", "from a file\n"),
        (("--body", "@@home"), "", "@home\n"),
        (("--body-file", "text.txt"), "", "from a file\n"),
        (("--body-file", "-"), "from stdin ü\n", "from stdin ü\n"),
        ((), "", ""),
    ],
    ids=["typed", "at", "two at", "file", "stdin", "none"],
)
def test_texts(home: Path, run: Run, options: tuple[str, ...], stdin: str, shown: str) -> None:
    Path("text.txt").write_text("from a file\n")
    done = run("messages", "send", "--to", OUT, *options, stdin=stdin)
    assert done.code == 0, done.err
    message = sent(home)
    assert done.out == f"{message['Message-ID']}\n"
    assert text(message) == shown


def test_everything_at_once(home: Path, run: Run) -> None:
    Path("page.html").write_text('<p>Look <img src="cid:logo.png"></p>')
    Path("logo.png").write_bytes(b"\x89PNG\r\n\x1a\nlogo")
    Path("Übersicht.pdf").write_bytes(b"%PDF")
    arguments = ["messages", "send", "--to", f"Pal <{OUT}>, {BOB}", "--bcc", "hid@outside.example"]
    arguments += ["--subject", "Grüße", "--html", "page.html", "--attach", "logo.png", "--attach", "Übersicht.pdf"]
    done = run(*arguments, "--header", "X-A: b: c", "-o", "json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["recipients"], told["left_out"]) == (3, ["logo.png"])
    assert done.err.splitlines()[0].startswith("Left out for recipients outside: logo.png. Images inside a text")
    message = sent(home)
    assert (message["Subject"], message["X-A"], message["Bcc"]) == ("Grüße", "b: c", None)
    assert [part.get_filename() for part in message.iter_attachments()] == ["Übersicht.pdf"]
    kept = run(*arguments, "--inline-as-attachments")
    assert "Left out" not in kept.err
    assert [part.get_filename() for part in sent(home).iter_attachments()] == ["Übersicht.pdf", "logo.png"]


def test_a_file_that_is_no_text(home: Path, run: Run) -> None:
    Path("binary").write_bytes(b"\xff\xfe")
    done = run("messages", "send", "--to", OUT, "--body", "@binary")
    assert (done.code, done.err.splitlines()[0]) == (2, "binary cannot be read: it is no UTF-8 text.")


def test_101_mebibytes(home: Path, run: Run) -> None:
    with open("large", "wb") as file:
        file.truncate(101 << 20)
    done = run("messages", "send", "--to", OUT, "--attach", "large")
    assert done.code == 2
    assert done.err.splitlines()[0] == "The attachments have 101.0 MiB together, more than 51."


def test_quiet_dry_runs_send_nothing(home: Path, run: Run) -> None:
    done = run("messages", "send", "--to", OUT, "--body", "x", "--dry-run", "-q")
    assert (done.code, done.err) == (0, "")
    assert list((home / "outgoing" / "new").iterdir()) == []


def test_a_repeat_under_a_request_id(home: Path, run: Run) -> None:
    ids = {run("messages", "send", "--to", OUT, "--body", "x", "--request-id", "one").out for _ in range(2)}
    assert len(ids) == 1
    assert len(list((home / "outgoing" / "new").iterdir())) == 1
    assert run("messages", "send", "--to", OUT, "--body", "y", "--request-id", "one").code == 1


def test_drafts(home: Path, run: Run, on_terminal: Run) -> None:
    saved = run("messages", "drafts", "save", "--subject", "later", "--body", "Dear")
    assert saved.code == 0
    (id,) = saved.lines
    table = on_terminal("messages", "drafts", "list")
    assert reference(id) in table.out
    again = run("messages", "drafts", "save", reference(id), "--to", OUT, "--subject", "now", "--body", "Dear Pal")
    assert again.lines == [id]
    shown = json.loads(run("messages", "drafts", "show", id, "-o", "json").out)
    assert (shown["to"], shown["subject"], shown["body"]) == ([OUT], "now", "Dear Pal")
    assert run("messages", "drafts", "send", id).code == 0
    assert sent(home)["Subject"] == "now"
    assert run("messages", "drafts", "show", id).code == 5
    (other,) = run("messages", "drafts", "save", "--subject", "never").lines
    refused = run("messages", "drafts", "remove", other)
    assert (refused.code, refused.err.splitlines()[0]) == (2, "--yes required when not running interactively")
    assert on_terminal("messages", "drafts", "remove", other, answer="n").code == 7
    assert run("messages", "drafts", "remove", other, "--yes").lines == [f"{other}\tdone"]
    assert run("messages", "drafts", "remove", other, "--yes").lines == [f"{other}\talready"]


def test_blocking_what_another_program_chose(home: Path, run: Run) -> None:
    assert run("holds", "release", "--subject", "Offer", "--yes").code == 0
    listed = run("messages", "list", "-o", "jsonl")
    done = run(
        "messages", "block", "--ids-from", "-", "--sender", "--yes", "--report", "blocked.jsonl", stdin=listed.out
    )
    assert done.code == 0, done.err
    outcomes = [json.loads(line)["outcome"] for line in Path("blocked.jsonl").read_text().splitlines()]
    assert outcomes == ["done", "already", "already"]
    taken_up = run("messages", "block", "--retry-from", "blocked.jsonl", "--yes", "--report", "more.jsonl")
    assert (taken_up.code, taken_up.out) == (0, "")
    plan = run("messages", "block", "--from", "shop.example", "--domain", "--dry-run", "--report", "plan.jsonl")
    assert plan.code == 0
    assert run("messages", "block", "--ids-from", "plan.jsonl", "--sender", "--yes").code == 2
    assert run("messages", "block", "--ids-from", "plan.jsonl", "--domain", "--yes").code == 0
    assert run("senders", "list", "--columns", "entry").lines == ["offers@shop.example", "shop.example"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("block", "x", "--sender", "--from", "a.example"), "exclude each other"),
        (("block", "--sender"), "Of which messages"),
        (("block", "--sender", "--folder", "junk"), "Of which messages"),
        (("block", "--retry-from", "r", "--sender"), "beside --retry-from"),
        (("block", "x"), "What shall be blocked"),
        (("report", "x"), "What shall it be reported as"),
    ],
)
def test_what_does_not_go_together(home: Path, run: Run, arguments: tuple[str, ...], words: str) -> None:
    done = run("messages", *arguments)
    assert done.code == 2
    assert words in done.err.splitlines()[0]


def test_more_than_max(home: Path, run: Run) -> None:
    run("holds", "release", "--subject", "Offer", "--yes")
    done = run("messages", "block", "--all", "--sender", "--yes", "--max", "2")
    assert (done.code, run("senders", "list").out) == (7, "")
    limited = run("messages", "block", "--all", "--sender", "--yes", "--limit", "1", "--columns", "subject")
    assert limited.lines == ["Offer 3"]


def completed(option: str, typed: str) -> list[str]:
    """What a shell offers after an option."""
    shell = ShellComplete(cli, {}, "mimeportal", "_MIMEPORTAL_COMPLETE")
    return [item.value for item in shell.get_completions(["messages", "send", option], typed)]


@pytest.mark.parametrize("option", ["--to", "--cc", "--bcc"])
def test_recipients_complete(home: Path, option: str) -> None:
    assert completed(option, "") == []
    portal = Portal(Home.open(home))
    with portal.write() as tx:
        ann = people.find(tx, ANN)
        assert ann is not None
        for address, uses in ((BOB, 1), (OUT, 2)):
            tx.execute(contacts.insert(), {"person_id": ann.id, "address": address, "uses": uses, "last_used": uses})
    portal.close()
    assert completed(option, "") == [OUT, BOB]
    assert completed(option, "bo") == [BOB]


def test_without_a_portal_nothing_completes_and_nothing_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIMEPORTAL_USER", "nobody@example.com")
    assert completed("--to", "a") == []
    assert capfd.readouterr() == ("", "")


def test_on_mimecast_what_it_has_not(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMEPORTAL_API", "api2")
    for arguments in (
        ("report", "x", "--spam", "--yes"),
        ("drafts", "list"),
        ("sent", "x"),
        ("send", "--to", OUT, "--body", "x", "--mailbox", ANN),
        ("block", "x", "--domain", "--yes"),
    ):
        done = run("messages", *arguments)
        assert done.code == 8, (arguments, done.err)
