"""Secure messages by command over HTTP, for the account's people and for those outside; files, reports, refusals."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from cli.conftest import Run, Served
from mimeportal import limits
from mimeportal.errors import NotFoundError
from mimeportal.portal import Portal
from mimeportal.secure.contract import TOO_LARGE
from mimeportal_server import outsiders, passwords, people
from mimeportal_server.cli.main import main as server_cli
from mimeportal_server.store.schema import secure_messages, uploads

CARL = "carl@elsewhere.example"
PASSWORD = "Client-Pass-7"
SUBJECT = "The subject holds a line end or NUL: 'a\\nb'."


@pytest.fixture
def carl(served: Served) -> str:
    """Somebody outside, with a password of this portal."""
    with served.portal.write() as tx:
        outsiders.invite(tx, served.portal, CARL)
        caller = people.caller_of(tx, CARL, "test")
    assert caller is not None
    passwords.change(served.portal, caller, None, PASSWORD, peer="", request_id="")
    return CARL


def log_in(run: Run, served: Served, address: str, password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMEPORTAL_PASSWORD_FILE", served.password_file(password))
    done = run("auth", "login", "-P", address.partition("@")[0], "--url", served.url, "--person", address)
    assert done.code == 0, done.err
    monkeypatch.delenv("MIMEPORTAL_PASSWORD_FILE")


def test_the_whole_way_over_http(
    run: Run, served: Served, carl: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cli.conftest import PASSWORD as ANNS

    log_in(run, served, "ann@example.com", ANNS, monkeypatch)
    log_in(run, served, carl, PASSWORD, monkeypatch)
    (tmp_path / "contract.pdf").write_bytes(b"%PDF-1.4 " + bytes(range(256)))
    (tmp_path / "text").write_text("Please sign.\n")
    sent = run(
        "secure", "send", "-P", "ann", "--to", carl, "--definition", "Allow Print, 7 Day Exp",
        "--subject", "Contract", "--body", "@text", "--attach", "contract.pdf", "-o", "json",
    )  # fmt: skip
    assert sent.code == 0, sent.err
    id = json.loads(sent.out)["id"]
    assert run("secure", "list", "-P", "carl", "--columns", "id").lines == [id]
    shown = run("secure", "show", id, "-P", "carl", "-o", "json")
    assert json.loads(shown.out)["text"] == "Please sign.\n"
    assert run("secure", "download", id, "-P", "carl", "--dir", "got").code == 0
    assert (tmp_path / "got" / "contract.pdf").read_bytes() == (tmp_path / "contract.pdf").read_bytes()
    assert run("secure", "print", id, "-P", "carl", "-w", "page.html").code == 0
    page = (tmp_path / "page.html").read_text()
    assert "Please sign." in page
    assert "contract.pdf" in page
    assert "Expires" in page
    assert "You may" not in page
    assert run("secure", "reply", id, "-P", "carl", "--body-file", "text", "--attach", "contract.pdf").code == 0
    assert run("secure", "recall", id, "-P", "ann", "--yes", "--report", "recalled.jsonl").code == 0
    (line,) = [json.loads(text) for text in (tmp_path / "recalled.jsonl").read_text().splitlines()]
    assert (line["action"], line["outcome"], line["subject"], line["to_address"]) == (
        "recall",
        "done",
        "Contract",
        carl,
    )
    gone = run("secure", "show", id, "-P", "carl")
    assert (gone.code, gone.err.splitlines()[0]) == (5, "The portal answered: Its sender has recalled it.")
    assert run("secure", "list", "-P", "carl", "--columns", "id").lines == []


def test_a_report_is_taken_up(run: Run, home: Path) -> None:
    for number in range(3):
        assert run("secure", "send", "--to", CARL, "--subject", f"m{number}", "--body", "t").code == 0
    planned = run("secure", "recall", "--all", "--dry-run", "--report", "plan.jsonl", "--columns", "subject")
    assert planned.lines == ["m2", "m1", "m0"]
    done = run("secure", "recall", "--ids-from", "plan.jsonl", "--yes", "--limit", "2", "--columns", "subject,outcome")
    assert sorted(done.lines) == ["m0\tdone", "m1\tdone"]
    wrong = run("secure", "delete", "--ids-from", "plan.jsonl", "--yes")
    assert (wrong.code, wrong.err.splitlines()[0]) == (2, "The plan says recall, this is delete.")
    again = run("secure", "recall", "--all", "--yes", "--report", "all.jsonl", "--columns", "subject,outcome")
    assert sorted(again.lines) == ["m0\talready", "m1\talready", "m2\tdone"]
    nothing = run("secure", "recall", "--retry-from", "all.jsonl", "--yes")
    assert nothing.code == 0
    assert nothing.last.startswith("Recalled 0 (")
    refused = run("secure", "recall", "--retry-from", "all.jsonl", "--all", "--yes")
    assert refused.code == 2


def test_sixty_megabytes_are_refused_and_nothing_is_half_sent(run: Run, home: Path, tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(30 * limits.MIB)
    done = run(
        "secure", "send", "--to", CARL, "--subject", "s", "--body", "t", "--attach", "a.bin", "--attach", "b.bin"
    )
    assert done.code == 2
    assert done.err.splitlines()[-3:] == [
        TOO_LARGE,
        "They have 60.0 MiB together; nothing was sent.",
        "Send fewer or smaller files, or send them as large files.",
    ]
    with Portal.open(f"local:{home}", user="ann@example.com") as portal:
        assert list(portal.secure.list()) == []


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (("send", "--to", CARL, "--body", "t", "--body-file", "f"), "--body and --body-file exclude each other."),
        (("send", "--body", "t"), "The message has no recipient."),
        (("send", "--to", "nobody", "--body", "t"), "Not an e-mail address: 'nobody'."),
        (("send", "--to", CARL, "--body", "@absent"), "absent cannot be read: No such file or directory."),
        (("send", "--to", CARL, "--body", "t", "--subject", "a\nb"), SUBJECT),
        (("mark", "x", "--yes"), "How shall they be marked?"),
        (("extend", "x"), "Until when?"),
        (("extend", "x", "--until", "2d", "--days", "1"), "Until when?"),
        (
            ("extend", "x", "--days", "9999999999"),
            "Invalid value for '--days': 9999999999 is not in the range 1<=x<=3650.",
        ),
        (("list", "--folder", "sent", "--since", "+7d"), "A filter looks back, and '+7d' lies ahead."),
        (("monitor", "--status", "lost"), "There is no status 'lost'."),
        (("show", "#abcdefgh"), "No secure message has the reference #abcdefgh."),
    ],
)
def test_what_is_wrong_is_said(run: Run, home: Path, typed: tuple[str, ...], line: str) -> None:
    done = run("secure", *typed)
    assert done.code == (5 if typed[0] == "show" else 2)
    assert line in done.err.splitlines()


def test_what_never_expires_is_not_extended_however_it_is_asked_for(run: Run, home: Path) -> None:
    run("secure", "send", "--to", CARL, "--subject", "s", "--body", "t")
    (id,) = run("secure", "list", "--columns", "id").lines
    for later in (("--days", "7"), ("--until", "7d")):
        done = run("secure", "extend", id, *later)
        assert (done.code, done.err.splitlines()[0]) == (
            1,
            "The portal answered: It does not expire: there is nothing to extend.",
        )
        assert "--debug" not in done.err


def test_on_mimecast_nothing_is_sent(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMEPORTAL_URL", "https://api.services.mimecast.com")
    monkeypatch.setenv("MIMEPORTAL_CLIENT_ID", "an-id")
    monkeypatch.setenv("MIMEPORTAL_CLIENT_SECRET", "a-secret")
    for typed in (
        ("send", "--to", CARL, "--body", "t"),
        ("show", "eNid"),
        ("recall", "eNid", "--yes"),
        ("extend", "eNid", "--days", "1"),
        ("monitor",),
        ("log", "eNid"),
        ("definitions",),
        ("settings",),
    ):
        done = run("secure", *typed)
        assert done.code == 8, (typed, done.err)


def test_recalled_at_the_very_moment_of_an_answer(served: Served, carl: str) -> None:
    """Either the answer came first, and stays, or it is refused: never an answer to what was recalled before."""
    home = f"local:{served.path}"
    with Portal.open(home, user="ann@example.com") as ann, Portal.open(home, user=carl) as outside:
        ids = [ann.secure.send(to=[carl], subject=f"m{number}", body="t").id for number in range(8)]

        def answer(id: str) -> bool:
            with suppress(NotFoundError):  # recalled
                return bool(outside.secure.reply(id, body="yes"))
            return False

        with ThreadPoolExecutor(4) as pool:
            answered = [pool.submit(answer, id) for id in ids]
            assert ann.secure.recall(ids).totals == {"done": 8}
            came = [future.result() for future in answered]
    with served.portal.database.read() as tx:
        answers = tx.execute(secure_messages.select().where(secure_messages.c.answers.is_not(None))).all()
        originals = {row.id: row for row in tx.execute(secure_messages.select()).all()}
    assert len(answers) == sum(came)
    assert all(answer.sent <= originals[answer.answers].recalled for answer in answers)


def test_an_operator_sees_people_outside(home: Path, capfd: pytest.CaptureFixture[str], run: Run) -> None:
    from mimeportal_cli.exits import run_program

    assert run("secure", "send", "--to", CARL, "--subject", "s", "--body", "t").code == 0
    for arguments, shown in (
        (("people", "list", "--outside", "-o", "csv", "--columns", "address,role,disabled"), f"{CARL},outside,false"),
        (("people", "disable", CARL), ""),
        (("people", "list", "--outside", "-o", "csv", "--columns", "address,role,disabled"), f"{CARL},outside,true"),
    ):
        assert run_program(server_cli, "mimeportal-server", [*arguments, "--home", str(home)]) == 0
        assert shown in capfd.readouterr().out
    assert run("secure", "send", "--to", CARL, "--subject", "s", "--body", "t").code == 1


def test_what_was_uploaded_lapses_and_the_message_keeps_it(run: Run, home: Path, tmp_path: Path) -> None:
    from mimeportal_server import keeping
    from mimeportal_server.home import Home
    from mimeportal_server.portal import Portal as ServerPortal

    (tmp_path / "a.txt").write_bytes(b"kept with its message")
    assert run("secure", "send", "--to", CARL, "--subject", "s", "--body", "t", "--attach", "a.txt").code == 0
    later = ServerPortal(Home.open(home), wall=lambda: time.time() + 2 * 86_400)
    later.accept_clock()
    keeping.sweep(later)
    with later.database.read() as tx:
        assert tx.execute(uploads.select()).all() == []
    later.close()
    with Portal.open(f"local:{home}", user=CARL) as outside:
        (message,) = outside.secure.list()
        (file,) = outside.secure.get(message.id).attachments
        assert b"".join(outside.secure.download(file.id)) == b"kept with its message"
