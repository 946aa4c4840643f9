"""`account preferences|contacts|delegates`, `messages bounced|rejected`: what a person sees, and what a script gets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from sqlalchemy import insert

from cli.conftest import Run, plain
from conftest import ADMIN, ANN, BOB, Lab, mail_of
from mimeportal_cli.main import cli
from mimeportal_server import contacts, delivery, people
from mimeportal_server.store.schema import deliveries, rejections

REFERENCE = re.compile(r"#[a-z2-7]{8}")


@pytest.fixture
def ann(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("MIMEPORTAL_URL", lab.url)
    monkeypatch.setenv("MIMEPORTAL_USER", ANN)
    return lab


# -- preferences -------------------------------------------------------------------------------------------------


def test_preferences_are_set_shown_and_given_up(ann: Lab, run: Run, on_terminal: Run) -> None:
    assert run("account", "preferences", "--columns", "language,time_zone,chosen").out == "en\tUTC\t\n"
    shown = on_terminal("account", "preferences", "--set", "time-format=12H", "--set", "date_format=dd/MM/yyyy")
    assert plain(shown.out) == (
        "email_address      ann@example.com\n"
        "language           en\n"
        "time_zone          UTC\n"
        "date_format        dd/MM/yyyy\n"
        "time_format        12h\n"
        "first_day_of_week  monday\n"
        "home_page          inbox\n"
        "chosen             date_format,time_format\n"
    )
    told = json.loads(run("account", "preferences", "--unset", "date_format", "-o", "json").out)
    assert (told["date_format"], told["time_format"], told["chosen"]) == ("yyyy-MM-dd", "12h", ["time_format"])


def test_a_signature_comes_from_a_file(ann: Lab, run: Run, tmp_path: Path) -> None:
    (tmp_path / "signature.txt").write_text("Ann\n@ Example Ltd\n")
    run("account", "preferences", "--set", f"signature=@{tmp_path / 'signature.txt'}")
    assert ann.client().account.preferences().signature == "Ann\n@ Example Ltd"
    run("account", "preferences", "--set", "signature=@@ann")
    assert ann.client().account.preferences().signature == "@ann"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "time_format"], "Not a preference: 'time_format'."),
        (["--set", "colour=red"], "There is no preference 'colour'."),
        (["--set", "time_format=25h"], "There is no time_format '25h'."),
        (["--set", "time_format=12h", "--set", "time_format=24h"], "time_format is set twice."),
        (["--set", "signature=@absent.txt"], "absent.txt cannot be read: No such file or directory."),
        (["--unset", "colour"], "There is no preference 'colour'."),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(ann: Lab, run: Run, arguments: list[str], said: str) -> None:
    done = run("account", "preferences", *arguments)
    what, why, remedy = done.err.splitlines()
    assert (done.code, done.out) == (2, "")
    assert said in what
    assert why
    assert remedy
    assert ann.client().account.preferences().chosen == []


def table_time(on_terminal: Run, *arguments: str) -> str:
    """The time that the table of held mail shows."""
    line = plain(on_terminal("holds", "list", *arguments).out).splitlines()[1]
    return line.partition("  ")[2].strip().partition("  ")[0]


def test_tables_obey_and_other_formats_do_not(
    ann: Lab, run: Run, on_terminal: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann.receive(mail_of())
    stamp = run("holds", "list", "--columns", "date_received").out
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", table_time(on_terminal))
    run("account", "preferences", "--set", "date_format=dd.MM.yyyy", "--set", "time_format=12h")
    assert re.fullmatch(r"\d\d\.\d\d\.\d{4} \d\d:\d\d [AP]M", table_time(on_terminal))
    assert run("holds", "list", "--columns", "date_received").out == stamp


def test_the_order_of_time_zones(ann: Lab, run: Run, on_terminal: Run) -> None:
    """--tz, the profile, the person, the account."""
    ann.receive(mail_of())
    utc = table_time(on_terminal)
    run("account", "preferences", "--set", "time_zone=Asia/Tokyo")
    tokyo = table_time(on_terminal)
    assert tokyo != utc == table_time(on_terminal, "--tz", "UTC")
    assert "(Asia/Tokyo)" in run("holds", "list", "--since", "today").err


def test_the_week_begins_on_the_day_that_is_preferred(ann: Lab, run: Run) -> None:
    def since() -> str:
        return run("holds", "list", "--since", "week").err.split()[1]

    from datetime import date

    assert date.fromisoformat(since()).strftime("%A") == "Monday"
    run("account", "preferences", "--set", "first_day_of_week=sunday")
    assert date.fromisoformat(since()).strftime("%A") == "Sunday"


# -- contacts ----------------------------------------------------------------------------------------------------


@pytest.fixture
def known(ann: Lab) -> Lab:
    """Ann wrote to carol twice and to dave once."""
    with ann.server.write() as tx:
        person = people.find(tx, ANN)
        assert person is not None
        for addresses in (["carol@elsewhere.example", "dave@elsewhere.example"], ["carol@elsewhere.example"]):
            names = {"carol@elsewhere.example": "Carol \x1b[31mRed"}
            contacts.count(tx, int(person.id), addresses, names, now=1_800_000_000_000)
    return ann


def test_contacts(known: Lab, run: Run, on_terminal: Run) -> None:
    assert plain(on_terminal("account", "contacts").out) == (
        "ADDRESS                  NAME               USES  LAST USED\n"
        "carol@elsewhere.example  Carol \\x1b[31mRed     2  2027-01-15 08:00\n"
        "dave@elsewhere.example                         1  2027-01-15 08:00\n"
    )
    assert run("account", "contacts", "--search", "dave").out == (
        "dave@elsewhere.example\t\t1\t2027-01-15T08:00:00+00:00\n"
    )
    assert run("account", "contacts", "--global", "--columns", "address").lines == sorted(
        [ADMIN, ANN, BOB, "mod@example.com"]
    )
    assert "No contacts match." in on_terminal("account", "contacts", "--search", "nobody").out


@pytest.fixture
def completed() -> Callable[[str], list[str]]:
    """What a shell offers for a recipient."""

    def complete(incomplete: str) -> list[str]:
        shell = ShellComplete(cli, {}, "mimeportal", "_MIMEPORTAL_COMPLETE")
        return [item.value for item in shell.get_completions(["messages", "send", "--to"], incomplete)]

    return complete


def test_addresses_complete_in_the_shell(
    known: Lab, completed: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert completed("") == ["carol@elsewhere.example", "dave@elsewhere.example"]
    assert completed("da") == completed("DAVE@") == ["dave@elsewhere.example"]
    assert completed("elsewhere") == []
    monkeypatch.setenv("MIMEPORTAL_URL", "local:absent")
    assert completed("") == []
    monkeypatch.setenv("MIMEPORTAL_URL", "http://127.0.0.1:1")
    assert completed("") == []


# -- delegates ---------------------------------------------------------------------------------------------------


def test_delegates(ann: Lab, run: Run, on_terminal: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    added = on_terminal("account", "delegates", "add", BOB)
    assert plain(added.out) == "bob@example.com may act as ann@example.com.\n"
    again = run("account", "delegates", "add", BOB, "-o", "jsonl")
    assert json.loads(again.out) == {"mailbox": ANN, "address": BOB, "outcome": "already"}
    assert again.err == "bob@example.com may act as ann@example.com already.\n"
    assert plain(on_terminal("account", "delegates", "list").out) == (
        "MAILBOX          ADDRESS\nann@example.com  bob@example.com\n"
    )
    ann.receive(mail_of(subject="For ann"))
    monkeypatch.setenv("MIMEPORTAL_USER", BOB)
    assert json.loads(run("account", "show", "-o", "json").out)["delegated"] == [ANN]
    assert run("account", "delegates", "access", "--columns", "mailbox,role").out == f"{ANN}\tdelegate\n"
    (id,) = run("holds", "list", "--mailbox", ANN, "--columns", "id").lines
    assert run("holds", "release", "--mailbox", ANN, "--subject", "For ann", "--yes").code == 0
    assert ann.client().holds.states([id])[0].by == BOB
    monkeypatch.setenv("MIMEPORTAL_USER", ANN)
    removed = run("account", "delegates", "remove", BOB)
    assert (removed.out, removed.err) == (f"{ANN}\t{BOB}\tdone\n", f"{BOB} may no longer act as {ANN}.\n")
    assert run("account", "delegates", "remove", BOB).out == f"{ANN}\t{BOB}\talready\n"
    monkeypatch.setenv("MIMEPORTAL_USER", BOB)
    refused = run("holds", "list", "--mailbox", ANN)
    assert (refused.code, len(refused.err.splitlines())) == (4, 3)


def test_an_administrator_names_the_owner(ann: Lab, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMEPORTAL_USER", ADMIN)
    assert run("account", "delegates", "add", BOB, "--mailbox", ANN).out == f"{ANN}\t{BOB}\tdone\n"
    assert run("account", "delegates", "add", "x@elsewhere.example", "--mailbox", ANN).code == 1
    monkeypatch.setenv("MIMEPORTAL_USER", BOB)
    assert run("account", "delegates", "add", BOB, "--mailbox", ANN).code == 4


# -- what did not arrive -----------------------------------------------------------------------------------------


def test_bounced(ann: Lab, run: Run, on_terminal: Run) -> None:
    ann.receive(mail_of(subject="Offer"), reason=None)
    with ann.server.write() as tx:
        delivery.fail(
            ann.server, tx, [(row, "550 5.1.1 No such user") for row in tx.execute(deliveries.select()).all()]
        )
    table = plain(on_terminal("messages", "bounced").out)
    assert table.splitlines()[0].split() == ["ID", "RECEIVED", "FROM", "HEADER", "TO", "ADDRESSES", "INFO", "SUBJECT"]
    reference = REFERENCE.search(table)
    assert reference is not None
    shown = plain(on_terminal("messages", "bounced", reference[0]).out)
    assert re.search(r"^status +bounced$", shown, re.MULTILINE)
    assert "550 5.1.1 No such user" in shown
    assert "Hello Ann" not in shown  # no content
    beside = run("messages", "bounced", reference[0], "--from", "eve")
    assert (beside.code, "exclude each other" in beside.err) == (2, True)


def test_bounced_mail_of_somebody_who_left(ann: Lab, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ann.receive(mail_of(subject="Offer"), reason=None)
    with ann.server.write() as tx:
        row = tx.execute(deliveries.select()).one()
        delivery.fail(ann.server, tx, [(row, "550 5.1.1 No such user")])
        person = people.find(tx, ANN)
        assert person is not None
        people.disable(tx, int(person.id), True)
    monkeypatch.setenv("MIMEPORTAL_USER", ADMIN)
    assert run("messages", "bounced", "--mailbox", ANN, "--columns", "subject").lines == ["Offer"]


@pytest.fixture
def refused(ann: Lab) -> Lab:
    now = ann.server.clock.now()
    with ann.server.write() as tx:
        for ago, recipient in ((0, ANN), (0, BOB), (3, ANN), (8, ANN)):
            row = {"sender": f"eve{ago}@elsewhere.example", "recipient": recipient, "remote_ip": "192.0.2.7"}
            row |= {"remote_host": "mx.elsewhere.example", "type": "message_too_large", "info": "552 5.3.4 Too large"}
            tx.execute(insert(rejections), {**row, "at": now - ago * 86_400_000})
    return ann


def test_rejected_is_one_s_own_and_of_today(
    refused: Lab, run: Run, on_terminal: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def senders(*arguments: str) -> list[str]:
        return run("messages", "rejected", "--columns", "from_address", *arguments).lines

    assert senders() == ["eve0@elsewhere.example"]
    assert senders("--since", "30d") == ["eve0@elsewhere.example", "eve3@elsewhere.example"]  # kept for 7 days
    assert senders("--since", "7d", "--search", "eve3") == ["eve3@elsewhere.example"]
    reference = REFERENCE.search(plain(on_terminal("messages", "rejected").out))
    assert reference is not None
    shown = plain(on_terminal("messages", "rejected", reference[0]).out)
    for fact in ("message_too_large", "192.0.2.7", "mx.elsewhere.example", "552 5.3.4 Too large", ANN):
        assert fact in shown
    monkeypatch.setenv("MIMEPORTAL_USER", BOB)
    assert run("messages", "rejected", "--mailbox", ANN).code == 4
    refused.client().account.add_delegate(BOB)
    assert senders("--mailbox", ANN) == ["eve0@elsewhere.example"]
    monkeypatch.setenv("MIMEPORTAL_USER", ADMIN)
    assert len(senders()) == 2
    assert senders("--mailbox", ANN) == ["eve0@elsewhere.example"]


def test_a_rejected_message_that_is_not_there(refused: Lab, run: Run) -> None:
    done = run("messages", "rejected", "eN" + "x" * 140)
    assert (done.code, len(done.err.splitlines())) == (5, 3)
