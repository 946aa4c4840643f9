"""Pages of real mail in a real browser: nothing that a sender wrote makes it ask the net for anything."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest

from browsing import chromium
from cli.conftest import Run
from cli.test_mailbox import hostile
from conftest import ANN, Lab, mail_of
from mimeportal_server import importing

# Outside of CI every so manieth message is shown and printed; their octets and files are fetched of all.
_EVERY = 1 if os.environ.get("CI") else 20
_FRAMES = 100  # pages that the browser shows at once


def asked_for(pages: Sequence[Path]) -> list[str]:
    """What Chromium asks for when it shows pages, those themselves left out; their own policy does not protect them."""
    asked: list[str] = []
    own = {page.as_uri() for page in pages}
    with chromium() as browser:
        context = browser.new_context(bypass_csp=True)
        context.on("request", lambda request: asked.append(request.url))
        context.route("**/*", lambda route: route.continue_() if route.request.url in allowed else route.abort())
        tab = context.new_page()
        left = iter(pages)
        while batch := list(islice(left, _FRAMES)):
            frame = batch[0].parent / "frames.html"
            frame.write_text("".join(f'<iframe src="{page.name}"></iframe>' for page in batch))
            allowed = {frame.as_uri(), *own}
            tab.goto(frame.as_uri())
            assert len(tab.frames) == len(batch) + 1
    return [url for url in asked if url not in own and "/frames.html" not in url and not url.startswith("data:image/")]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    lab = Lab(tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIMEPORTAL_URL", lab.url)
    monkeypatch.setenv("MIMEPORTAL_USER", ANN)
    yield lab
    lab.server.close()


def test_the_browser_is_seen_to_ask_where_it_is_allowed_to(run: Run, environment: Lab) -> None:
    environment.receive(hostile(), reason=None)
    (id,) = run("messages", "list", "--columns", "id").lines
    assert run("messages", "show", id, "--html", "images.html", "--remote-images").code == 0
    assert asked_for([Path("images.html").absolute()]) == ["http://track.example/g.gif"]
    for command in (("show", id, "--html", "page.html"), ("print", id, "-w", "page.html")):
        assert run("messages", *command).code == 0
        assert asked_for([Path("page.html").absolute()]) == []


def test_an_inline_image_is_in_the_page_itself(run: Run, environment: Lab) -> None:
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    body = (
        '--b\nContent-Type: text/html\n\n<p>See <img src="cid:pic"></p>\n--b\nContent-Type: image/png\n'
        f"Content-ID: <pic>\nContent-Transfer-Encoding: base64\n\n{png}\n--b--\n"
    )
    environment.receive(mail_of(extra="Content-Type: multipart/related; boundary=b\n", body=body), reason=None)
    (id,) = run("messages", "list", "--columns", "id").lines
    run("messages", "print", id, "-w", "page.html")
    with chromium() as browser:
        tab = browser.new_page()
        tab.goto(Path("page.html").absolute().as_uri())
        assert tab.evaluate("document.images[0].naturalWidth") == 1
        font = "getComputedStyle(document.querySelector('table.headers th')).whiteSpace"
        assert tab.evaluate(font) == "nowrap", "the page's own style applies"


@pytest.mark.corpus
def test_every_message_of_the_corpus(run: Run, environment: Lab, corpus: Path) -> None:
    for line in importing.run(environment.server, [corpus], importing.Options(recipient=ANN)):
        assert line.outcome == "delivered"
    listed = [json.loads(line) for line in run("messages", "list", "-o", "jsonl").lines]
    ids = [row["id"] for row in listed]
    assert len(ids) == 3_000
    done = run("messages", "download", *ids, "--dir", "whole")
    fetched = sorted(hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in done.lines)
    assert fetched == sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in corpus.rglob("*.eml"))
    for row in listed:
        if row["has_attachments"]:
            saved = run("messages", "attachments", row["id"], "--dir", "files")
            told = json.loads(run("messages", "attachments", row["id"], "--list", "-o", "json").out)
            assert [Path(name).stat().st_size for name in saved.lines] == [entry["size"] for entry in told]
    Path("pages").mkdir()
    pages = [Path("pages", f"{number:04}.html").absolute() for number in range(0, len(ids), _EVERY)]
    for id, page in zip(ids[::_EVERY], pages, strict=True):
        shown = run("messages", "show", id, "-o", "text")
        assert (shown.code, shown.err) == (0, "")
        assert "\x1b" not in shown.out
        assert run("messages", "print", id, "-w", str(page)).code == 0
    assert asked_for(pages) == []
