"""`mimeportal messages list|search|show|print|attachments|download`: what a person types, and what comes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import HTML_MAIL, Run, at_home, message, plain
from conftest import ADMIN, ANN, BOB, Lab
from mimeportal_cli.references import reference

# What a sender can call an attachment, and what the file is called.
NAMES = {
    '"../../etc/passwd"': "passwd",
    '"a\\\\b.txt"': "b.txt",
    "=?utf-8?q?nul=00byte.txt?=": "nul\ufffdbyte.txt",
    f'"{"n" * 300}.pdf"': "n" * 196 + ".pdf",
    "=?utf-8?b?aW52b2ljZeKArmZkcC5leGU=?=": "invoice_fdp.exe",
    '"con.txt"': "_con.txt",
    '".."': "attachment",
    '"-rf"': "_-rf",
}
HOSTILE = (
    '<html><head><style>@import url("http://track.example/a.css");p{background:url(http://track.example/b)}</style>'
    '<link rel=stylesheet href="http://track.example/c.css"><base href="http://track.example/"></head>'
    '<body background="http://track.example/d" onload="x()"><p style="background:url(http://track.example/e)">Text</p>'
    '<script src="http://track.example/f.js">alert(1)</script><img src="http://track.example/g.gif" onerror="x()">'
    '<svg><image href="http://track.example/h"/></svg><iframe src="http://track.example/i"></iframe>'
    '<a href="javascript:alert(1)">one</a><a href="http://track.example/j">two</a>'
    '<img src="data:image/svg+xml,%3Csvg/%3E"><img src="cid:none"><form action="http://track.example/k">'
    '<input type=image src="http://track.example/l"></form><img srcset="http://track.example/m 2x" src="n.png">'
    '<video poster="http://track.example/o"></video><object data="http://track.example/p"></object></body></html>'
)


def part(name: str, text: str) -> str:
    return f"--b\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename={name}\n\n{text}\n"


def with_files() -> bytes:
    parts = "".join(part(name, f"file {number}") for number, name in enumerate(NAMES))
    return (
        f"From: Eve <eve@elsewhere.example>\nTo: {ANN}\nSubject: files\nMIME-Version: 1.0\n"
        f'Content-Type: multipart/mixed; boundary="b"\n\n--b\n\nMany files.\n{parts}--b--\n'
    ).encode()


def hostile() -> bytes:
    head = f"From: Eve <eve@elsewhere.example>\nTo: {ANN}\nSubject: \x1b[31mred\nContent-Type: text/html\n\n"
    return (head + HOSTILE).encode()


def fill(lab: Lab) -> None:
    """Ann's inbox, the oldest first: an invoice, a statement with HTML and a file, many files, hostile HTML; bob's."""
    lab.receive(message("Billing <billing@shop.example>", "Your invoice"), reason=None)
    lab.receive(message("Shop <offers@shop.example>", "Offers"), reason=None, envelope_from="bounce@mailer.example")
    for octets in (HTML_MAIL.replace(b"run me.exe", b"run me.pdf"), with_files(), hostile()):
        lab.receive(octets, envelope_from="mail@elsewhere.example")
        with lab.client() as portal:  # a file that can be run is held until somebody releases it
            assert portal.holds.release(list(portal.holds.list())).clean
    lab.receive(message("Eve <eve@elsewhere.example>", "For bob", to=BOB), to=BOB, reason=None)


@pytest.fixture(scope="session")
def filled_mailbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mailbox") / "home"
    lab = Lab(path)
    fill(lab)
    lab.server.close()
    return path


@pytest.fixture
def home(filled_mailbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return at_home(filled_mailbox, tmp_path, monkeypatch)


@pytest.fixture
def ids(run: Run, home: Path) -> dict[str, str]:
    """The ids of ann's messages by a word for each."""
    found = run("messages", "list", "--columns", "id").lines
    return dict(zip(("hostile", "files", "statement", "offers", "invoice"), found, strict=True))


@pytest.fixture
def subjects(run: Run, home: Path) -> Callable[..., list[str]]:
    def of(*arguments: str) -> list[str]:
        done = run("messages", *arguments, "--columns", "subject")
        assert done.code == 0, done.err
        return done.lines

    return of


class TestLists:
    def test_a_pipe_gets_the_stable_fields(self, run: Run, home: Path) -> None:
        (*_, row) = map(json.loads, run("messages", "list", "-o", "jsonl").lines)
        assert list(row) == [
            "id",
            "folder",
            "mailbox",
            "status",
            "from_address",
            "from_header",
            "from_name",
            "to_addresses",
            "subject",
            "route",
            "size",
            "attachment_count",
            "has_attachments",
            "received",
            "read",
            "ccm",
            "recalled",
            "expired",
        ]
        assert (row["subject"], row["folder"], row["mailbox"]) == ("Your invoice", "inbox", ANN)

    def test_a_terminal_gets_a_table(self, on_terminal: Run, home: Path) -> None:
        lines = plain(on_terminal("messages", "list").out).splitlines()
        assert lines[0].split("  ")[0].strip() == "ID"
        assert len(lines) == 6
        assert re.match(r"#[a-z2-7]{8}  \d{4}-\d\d-\d\d \d\d:\d\d  billing@shop\.example ", lines[-1])
        assert "offers@shop.example (bounce@mailer.example)" in lines[-2]
        assert "\\x1b[31mred" in lines[1]
        assert "TO ADDRESSES" not in lines[0]  # her own inbox
        assert "TO ADDRESSES" in plain(on_terminal("messages", "search", "hello").out)

    def test_folders_filters_and_other_mailboxes(self, run: Run, subjects: Callable[..., list[str]]) -> None:
        assert subjects("list", "--folder", "sent") == subjects("list", "--folder", "junk") == []
        assert subjects("list", "--from", "shop.example") == ["Offers", "Your invoice"]
        assert subjects("list", "--has-attachments") == ["files", "Statement"]
        assert subjects("list", "--subject", "your*", "--until", "yesterday") == []
        assert subjects("list", "--larger-than", "900", "--no-attachments") == ["\\x1b[31mred"]
        assert run("messages", "list", "--mailbox", BOB).code == 4

    def test_search(self, run: Run, subjects: Callable[..., list[str]]) -> None:
        assert set(subjects("search", "invoice")) == {"Your invoice", "files"}
        assert set(subjects("search", "hello", "shop", "--since", "30d")) == {"Offers", "Your invoice"}
        assert subjects("search", '"many files"', "--has-attachments") == ["files"]
        assert subjects("search", "passwd") == ["files"]
        assert subjects("search", "--from", "bank.example") == ["Statement"]
        assert subjects("search", 'NEAR("a" *) OR invoice') == []
        assert subjects("search", "bob") == []
        done = run("messages", "search", "invoice", "--since", "30d", "--no-attachments", "-o", "json")
        (row,) = json.loads(done.out)
        assert row["subject"] == "Your invoice"

    def test_everyone_s(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert run("messages", "search", "bob", "--everyone").code == 4
        monkeypatch.setenv("MIMEPORTAL_USER", ADMIN)
        done = run("messages", "search", "bob", "--everyone", "--columns", "subject,mailbox")
        assert done.lines == [f"For bob\t{BOB}"]
        assert run("messages", "search", "bob", "--everyone", "--mailbox", BOB).code == 2

    @pytest.mark.parametrize("words", [[], ["?!"], ["  "], ["word"] * 10_000], ids=["none", "signs", "blank", "10,000"])
    def test_searches_for_nothing_or_too_much(self, run: Run, home: Path, words: list[str]) -> None:
        done = run("messages", "search", *words)
        assert done.code in (1, 2)
        assert done.out == ""
        assert len(done.err.splitlines()) in (2, 3)
        assert "Traceback" not in done.err

    def test_nothing_found(self, run: Run, home: Path) -> None:
        assert (run("messages", "search", "zebra", "-o", "json").out, run("messages", "search", "zebra").out) == (
            "[]\n",
            "",
        )


class TestShow:
    def test_text(self, run: Run, ids: dict[str, str]) -> None:
        lines = run("messages", "show", ids["statement"]).lines
        assert lines[0] == "From:         Bank <info@bank.example>"
        assert "Envelope:     mail@elsewhere.example" in lines
        assert f"Reference:    {reference(ids['statement'])}" in lines
        assert "Note:         The text is made from HTML." in lines
        assert any("your bank <http://evil.example/login>" in line for line in lines)
        assert any(re.search(r"run me\.pdf +application/octet-stream +5 ", line) for line in lines)

    def test_a_long_name_leaves_room_for_the_line(self, run: Run, ids: dict[str, str]) -> None:
        lines = run("messages", "show", ids["files"]).lines
        assert max(map(len, lines)) < 130
        assert any(f"{'n' * 40}…{'n' * 15}.pdf  application/octet-stream" in line for line in lines)

    def test_a_reference_from_a_table(self, run: Run, on_terminal: Run, ids: dict[str, str]) -> None:
        on_terminal("messages", "list")
        assert run("messages", "show", reference(ids["invoice"])).lines[2] == "Subject:      Your invoice"

    def test_json_is_stable(self, run: Run, ids: dict[str, str]) -> None:
        shown = json.loads(run("messages", "show", ids["statement"], "-o", "json").out)
        assert list(shown) == [
            "id",
            "status",
            "message_id",
            "subject",
            "envelope_from",
            "from",
            "reply_to",
            "to",
            "cc",
            "date",
            "received",
            "size",
            "recipients",
            "headers",
            "text",
            "html",
            "attachments",
            "notes",
        ]
        assert shown["from"] == {"address": "info@bank.example", "name": "Bank"}

    def test_what_is_not_there(
        self, run: Run, home: Path, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for command in ("show", "print", "attachments", "download"):
            done = run("messages", command, "eNmade-up", *(["-w", "f"] if command != "attachments" else []))
            assert (done.code, done.err.splitlines()[0]) == (5, "No such message.")
        assert run("messages", "show", "#aaaaaaaa").code == 5
        monkeypatch.setenv("MIMEPORTAL_USER", BOB)
        assert run("messages", "show", ids["invoice"]).code == 5

    @pytest.mark.parametrize("command", [["show", "-o", "text"], ["show", "--html", "-"], ["print"]], ids=str)
    def test_nothing_hostile_is_left(self, run: Run, ids: dict[str, str], command: list[str]) -> None:
        out = run("messages", command[0], ids["hostile"], *command[1:]).out
        assert "Text" in out
        assert not re.search(r"<script|<svg|<iframe|<form|<object|<video|<link|<base|onerror|onload|javascript:", out)
        assert not re.search(
            r'(src|srcset|background|action|poster|data|style)=["\']?(?!data:image/(png|gif|jpeg))', out
        )
        assert "\x1b" not in out
        assert set(re.findall(r"http://track\.example/\w*", out)) <= {"http://track.example/j"}  # the link alone

    def test_remote_images_are_a_choice_with_a_warning(self, run: Run, ids: dict[str, str]) -> None:
        done = run("messages", "show", ids["hostile"], "--html", "page.html", "--remote-images")
        assert "tells the sender that and when the message was opened" in done.err
        assert "http://track.example/g.gif" in Path("page.html").read_text()


class TestPrint:
    def test_a_page_that_needs_nothing_else(self, run: Run, ids: dict[str, str]) -> None:
        done = run("messages", "print", ids["files"], "-w", "page.html")
        assert (done.code, done.out, done.last) == (0, "", "Written to page.html.")
        page = Path("page.html").read_text()
        assert '<h1 dir="auto">files</h1>' in page
        assert "<pre>Many files." in page
        assert page.count("application/octet-stream") == len(NAMES)
        assert "\u202e" not in page
        assert re.search(r"default-src 'none'; img-src data:; style-src 'sha256-[\w+/=]+'", page)

    def test_to_a_pipe_but_not_to_a_terminal(self, run: Run, on_terminal: Run, ids: dict[str, str]) -> None:
        assert run("messages", "print", ids["invoice"]).out.startswith("<!DOCTYPE html>")
        assert on_terminal("messages", "print", ids["invoice"]).code == 2


class TestOctets:
    def test_attachments_have_safe_names(self, run: Run, ids: dict[str, str]) -> None:
        done = run("messages", "attachments", ids["files"], "--dir", "d")
        assert done.code == 0, done.err
        files = {path.name: path.read_text() for path in Path("d").iterdir()}
        assert files == {name: f"file {number}" for number, name in enumerate(NAMES.values())}
        assert len(done.lines) == len(NAMES)

    def test_none_is_overwritten(self, run: Run, ids: dict[str, str]) -> None:
        for _ in range(2):
            assert run("messages", "attachments", ids["statement"]).code == 0
        assert (Path("run me.pdf").read_text(), Path("run me-2.pdf").read_text()) == ("hello", "hello")

    def test_a_list_of_them(self, run: Run, ids: dict[str, str]) -> None:
        (row,) = json.loads(run("messages", "attachments", ids["statement"], "--list", "-o", "json").out)
        assert list(row) == ["id", "name", "content_type", "size", "sha256", "content_id"]
        assert (row["name"], row["size"]) == ("../../run me.pdf", 5)
        assert not Path("run me.pdf").exists()

    def test_one_file(self, run: Run, ids: dict[str, str]) -> None:
        assert run("messages", "attachments", ids["statement"], "-w", "one").code == 0
        assert Path("one").read_text() == "hello"
        assert run("messages", "attachments", ids["statement"], "-w", "-").out == "hello"
        assert run("messages", "attachments", ids["files"], "-w", "two").code == 2
        assert not Path("two").exists()

    @pytest.mark.parametrize(
        "options", [("--list", "--dir", "d"), ("-o", "json"), ("--columns", "name"), ("-w", "f", "--dir", "d")], ids=str
    )
    def test_options_that_do_not_go_together(self, run: Run, ids: dict[str, str], options: tuple[str, ...]) -> None:
        assert run("messages", "attachments", ids["statement"], *options).code == 2

    def test_a_message_without_any(self, run: Run, ids: dict[str, str]) -> None:
        done = run("messages", "attachments", ids["invoice"], "--dir", "d")
        assert (done.code, done.out, done.last) == (0, "", "The message has no attachments.")

    def test_messages_octet_for_octet(self, run: Run, ids: dict[str, str]) -> None:
        assert run("messages", "download", ids["files"]).out.encode() == with_files()
        assert run("messages", "download", ids["files"], ids["hostile"], "--dir", "d").code == 0
        short = reference(ids["hostile"]).lstrip("#")
        assert Path("d", f"{short}.eml").read_bytes() == hostile()
        assert run("messages", "download", ids["files"], ids["hostile"], "-w", "one.eml").code == 2

    def test_what_fails_is_told_and_the_rest_is_fetched(self, run: Run, ids: dict[str, str]) -> None:
        done = run("messages", "download", "eNmade-up", ids["files"], "--dir", "d")
        assert (done.code, len(done.lines)) == (3, 1)

    def test_a_folder_that_cannot_be_made(self, run: Run, ids: dict[str, str]) -> None:
        Path("file").touch()
        done = run("messages", "attachments", ids["files"], "--dir", "file/d")
        assert (done.code, done.err.splitlines()[0]) == (2, "file/d cannot be made: Not a directory.")
