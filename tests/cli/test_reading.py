"""Reading one held message, and fetching octets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.conftest import HTML_MAIL, Run, plain
from mimeportal_cli.references import reference


@pytest.fixture
def statement(ids: list[str]) -> str:
    """The id of the HTML mail with an attachment."""
    return ids[1]


class TestShow:
    def test_json_is_stable(self, run: Run, statement: str) -> None:
        shown = json.loads(run("holds", "show", statement, "-o", "json").out)
        assert list(shown) == ["id", "hold", "headers", "text", "html", "attachments", "notes"]
        assert shown["id"] == shown["hold"]["id"] == statement
        assert {"name": "Subject", "value": "Statement"} in shown["headers"]
        (attachment,) = shown["attachments"]
        assert list(attachment) == ["id", "name", "content_type", "size", "sha256", "content_id"]
        assert attachment["size"] == 5

    def test_nothing_hostile_is_shown(self, run: Run, on_terminal: Run, ids: list[str]) -> None:
        for text in (run("holds", "show", ids[2], "-v").out, plain(on_terminal("holds", "show", ids[2]).out)):
            assert not set(text) & {"\x1b", "\u202e"}
            assert "\\x1b[31m=1+1 \\u202egnp.exe 日本語" in text

    def test_page_loads_nothing(self, run: Run, statement: str) -> None:
        done = run("holds", "show", statement, "--html", "page.html")
        page = Path("page.html").read_text()
        assert (done.code, done.out) == (0, "")
        assert "track.example" not in page
        assert "default-src 'none'; img-src data:; style-src 'sha256-" in page
        assert "[evil.example]" in page

    def test_remote_images_are_a_choice_with_a_warning(self, run: Run, statement: str) -> None:
        done = run("holds", "show", statement, "--html", "page.html", "--remote-images", "-q")
        assert "tells the sender that and when the message was opened, and from which address" in done.err
        assert "http://track.example/p.gif" in Path("page.html").read_text()
        run("holds", "show", statement, "--html", "page.html")
        assert "track.example" not in Path("page.html").read_text()

    def test_page_of_a_plain_message(self, run: Run, ids: list[str]) -> None:
        assert run("holds", "show", ids[0], "--html", "page.html").code == 0
        assert "<pre>Hello.\n</pre>" in Path("page.html").read_text()

    def test_into_a_file(self, run: Run, statement: str) -> None:
        assert run("holds", "show", statement, "-w", "shown.txt").out == ""
        assert Path("shown.txt").read_text() == run("holds", "show", statement).out

    def test_what_is_gone(self, run: Run, statement: str) -> None:
        run("holds", "release", statement)
        assert run("holds", "show", statement).code == 5


class TestDownload:
    def test_octets_are_exact(self, run: Run, statement: str) -> None:
        assert run("holds", "download", statement).out.encode() == HTML_MAIL
        assert run("holds", "download", statement, "-w", "one.eml").code == 0
        assert Path("one.eml").read_bytes() == HTML_MAIL

    def test_never_to_a_terminal(self, on_terminal: Run, statement: str) -> None:
        assert on_terminal("holds", "download", statement).code == 2
        assert on_terminal("holds", "download", statement, "-w", "-").code == 2

    def test_one_file_takes_one_object(self, run: Run, ids: list[str]) -> None:
        for more in (("-w", "one.eml"), ()):
            assert run("holds", "download", *ids[:2], *more).code == 2
        assert run("holds", "download", ids[0], "-w", "one.eml", "--dir", "d").code == 2
        assert run("holds", "download", ids[0], "-w", "one.eml", "--attachments").code == 2
        assert not Path("one.eml").exists()

    def test_folder_overwrites_nothing(self, run: Run, statement: str) -> None:
        short = reference(statement).lstrip("#")
        assert run("holds", "download", statement, "--dir", "d").lines == [f"d/{short}.eml"]
        assert run("holds", "download", reference(statement), "--dir", "d").lines == [f"d/{short}-2.eml"]
        assert sorted(path.name for path in Path("d").iterdir()) == [f"{short}-2.eml", f"{short}.eml"]

    def test_attachments_have_safe_names(self, run: Run, statement: str) -> None:
        short = reference(statement).lstrip("#")
        assert run("holds", "download", statement, "--attachments", "--dir", "d").lines == [f"d/{short}-run me.exe"]
        assert run("holds", "download", statement, "--attachments", "-w", "one").code == 0
        assert Path("one").read_bytes() == Path("d", f"{short}-run me.exe").read_bytes() == b"hello"

    def test_what_fails_is_told_and_the_rest_is_fetched(self, run: Run, ids: list[str]) -> None:
        run("holds", "release", ids[0])
        done = run("holds", "download", ids[0], ids[1], "--dir", "d")
        assert done.code == 3
        assert len(done.lines) == 1
        assert run("holds", "download", ids[0], "--dir", "d").code == 5
        assert run("holds", "download", ids[0], "-w", "one.eml").code == 5
        assert not Path("one.eml").exists()
