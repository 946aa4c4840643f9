"""The main flow of somebody outside, in a real browser: with its script, without it, by keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from writing import CLIENT, PASSWORD, PNG, Office

from browsing import chromium
from mimeportal_server.web.secure_writing import OPTIONS
from served import serving


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with serving(tmp_path / "home") as served:
        yield Office(served)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_from_the_link_to_logging_out(browser: Browser, office: Office, tmp_path: Path, script: bool) -> None:
    text = "Please sign.\n\n" + "\n".join(f"Paragraph {number}" for number in range(5))
    office.send(text=text, files={"contract.pdf": b"%PDF-1.4 contract"}, definition="Allow Print, 7 Day Exp")
    context = browser.new_context(java_script_enabled=script, accept_downloads=True)
    context.set_default_timeout(10_000)
    page = context.new_page()

    # The link, a weak password crossed, a good one, logging in again with it.
    page.goto(office.served.server.http_url + office.link())
    assert "/s/" not in page.url
    page.get_by_label("New password", exact=True).fill("weak")
    page.get_by_label("New password, again").fill("weak")
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("alert")).to_contain_text("A password has 8 to 128 characters")
    expect(page.locator("#criterion-length")).to_have_class(re.compile("unmet"))
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password, again").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()

    # The message: its text, its attachment.
    expect(page.get_by_role("heading", level=1)).to_have_text("Your contract")
    expect(page.frame_locator("iframe").locator("body")).to_contain_text("Paragraph 4")
    with page.expect_download() as download:
        page.get_by_role("link", name="contract.pdf").click()
    assert download.value.path().read_bytes() == b"%PDF-1.4 contract"

    # A reply with two files.
    page.get_by_role("link", name="Reply", exact=True).click()
    page.get_by_label("Message").fill("Signed.\n")
    files = [tmp_path / "signed.pdf", tmp_path / "photo.png"]
    for file in files:
        file.write_bytes(b"octets of " + file.name.encode())
    page.get_by_label("Attach files").set_input_files(files)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_have_text("Your message was sent.")
    page.get_by_role("link", name="Re: Your contract").click()
    expect(page.get_by_role("list", name="Attachments").get_by_role("link")).to_have_text(["signed.pdf", "photo.png"])

    # Print, in a tab of its own.
    page.get_by_role("link", name="Inbox").click()
    page.get_by_role("link", name="Your contract").click()
    with page.expect_popup() as popup:
        page.get_by_role("button", name="Print").click()
    expect(popup.value.locator("body")).to_contain_text("Paragraph 4")
    popup.value.close()

    # Marked as unread, and found unread.
    page.get_by_text("Mark", exact=True).click()
    page.get_by_role("button", name="Mark as unread").click()
    expect(page.get_by_role("status")).to_have_text("The message is marked as unread.")
    expect(page.get_by_role("link", name=re.compile("Unread.*Your contract", re.DOTALL))).to_be_visible()

    # Searched for.
    page.get_by_role("searchbox").fill("nothing like it")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("Nothing was found.")).to_be_visible()
    page.get_by_role("searchbox").fill("contract")
    page.get_by_role("button", name="Search").click()

    # Opened in a new tab, deleted after a question.
    page.get_by_role("link", name="Your contract").click()
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Open in new tab").click()
    expect(popup.value.get_by_role("heading", level=1)).to_have_text("Your contract")
    popup.value.close()
    page.get_by_role("link", name="Delete", exact=True).click()
    page.get_by_role("button", name="OK").click()
    expect(page.get_by_role("status")).to_have_text("The message was moved to Deleted Items.")
    page.get_by_role("link", name="Deleted Items").click()
    expect(page.get_by_role("link", name="Your contract")).to_be_visible()

    # Preferences.
    page.get_by_role("link", name="Preferences").click()
    page.get_by_label("Date format").select_option("dd.MM.yyyy")
    page.get_by_label("Signature").fill("Regards, C.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("Your preferences were saved.")

    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are logged out")
    page.goto(office.served.server.http_url + "/secure/inbox")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    context.close()


HOSTILE = """
<script>top.document.title = "owned"</script><img src=x onerror="top.document.title = 'owned'">
<a href="javascript:alert(1)">Click</a><form action="/log-out" method="post"><button>Log out</button></form>
<meta http-equiv="refresh" content="0; url=https://evil.example/"><base href="https://evil.example/">
<svg><animate onbegin="alert(1)" attributeName="x"></svg><iframe src="https://evil.example/"></iframe>
<style>@import "https://evil.example/x.css"; * { background: url(https://evil.example/y) }</style>
<img src="https://evil.example/pixel.png"><link rel="stylesheet" href="https://evil.example/z.css">
<p>The text</p>
"""


def test_what_a_message_says_is_not_done(browser: Browser, office: Office) -> None:
    id = office.send(html=HOSTILE, text="The text", subject="<script>alert(1)</script>")
    visitor = office.visitor()
    url = office.served.server.http_url
    context = browser.new_context()
    context.add_cookies([{"name": name, "value": value, "url": url} for name, value in visitor.cookies.items()])
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(f"dialog {dialog.message}"))
    page.goto(f"{url}/secure/messages/{id}")
    expect(page.frame_locator("iframe").locator("body")).to_contain_text("The text")
    page.wait_for_timeout(300)
    assert [entry for entry in asked if not entry.startswith(url)] == []
    expect(page).to_have_title(re.compile(re.escape("<script>alert(1)</script>")))
    assert page.frame_locator("iframe").get_by_role("button").count() == 0

    # Asked for, the images are loaded, and nothing else, by the reader's own browser.
    context.route("https://evil.example/**", lambda route: route.fulfill(body=PNG, content_type="image/png"))
    with page.expect_request("https://evil.example/pixel.png") as loaded:
        page.get_by_role("link", name="Load the images this once").click()
    assert "referer" not in loaded.value.headers
    expect(page.frame_locator("iframe").locator("body")).to_contain_text("The text")
    page.wait_for_timeout(300)
    assert {entry for entry in asked if not entry.startswith(url)} == {"https://evil.example/pixel.png"}
    context.close()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_composing(browser: Browser, office: Office, script: bool) -> None:
    from browsing import set_password
    from conftest import ANN, BOB

    set_password(office.served.lab, ANN, PASSWORD)
    context = browser.new_context(java_script_enabled=script)
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.goto(office.served.server.http_url)
    page.get_by_label("Email address").fill(ANN)
    page.get_by_role("button", name="Next").click()
    page.get_by_label("Authentication").select_option("Cloud")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Compose").click()
    page.get_by_label("To", exact=True).fill(CLIENT)
    page.get_by_label("Message").fill("Hello\nthere\n")
    page.get_by_text("Contacts", exact=True).click()
    page.get_by_label("Show", exact=True).select_option("Global addresses")
    page.get_by_role("button", name="Show contacts").click()
    page.get_by_label(f"Cc {BOB}").check()
    page.get_by_label("Subject").fill("A new message")
    page.get_by_role("button", name="Send").click()
    choices = page.get_by_role("radio")
    expect(choices).to_have_count(6)
    for name, (title, _) in OPTIONS.items():
        expect(page.locator(f'input[value="{name}"]')).to_have_accessible_name(re.compile(re.escape(title)))
    page.get_by_role("button", name="Back to the message").click()
    assert page.get_by_label("Message").input_value() == "Hello\nthere\n"
    assert page.get_by_label("Cc", exact=True).input_value() == BOB
    page.get_by_role("button", name="Send").click()
    page.get_by_label("Restricted - No Print, No Reply").check()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_have_text("Your message was sent.")
    page.get_by_role("link", name="A new message").click()
    expect(page.get_by_role("cell", name=CLIENT)).to_be_visible()
    context.close()
    reader = office.visitor()
    (row,) = office.ask("/api/portal/secure/list", {"folder": "inbox"}, by=CLIENT).rows
    shown = reader.ask(f"/secure/messages/{row['id']}")
    assert "Printing and replying are not available for this message." in shown.text
    assert not {"Reply", "Print"} & set(re.findall(r">([A-Z][a-z]+)</(?:a|button)>", shown.text))
