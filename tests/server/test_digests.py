"""Digests: who is told of what is held, when, and once (portal-rules B.38 to B.42)."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from conftest import ANN, BOB, SPAM, Lab, mail_of
from mimeportal import limits
from mimeportal_server import backup, keeping
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal

LINK = re.compile(r"^(Release|Permit|Block): +(\S+)$", re.MULTILINE)
HOURS = (8, 13)


@pytest.fixture
def day(lab: Lab) -> Lab:
    """A portal that sends digests at 8 and 13 o'clock; it is 7 o'clock."""
    settings(lab, digest_hours=HOURS)
    seven = (datetime.fromtimestamp(lab.time, UTC) + timedelta(days=1)).replace(hour=7, minute=0, second=0)
    lab.advance(hours=(seven.timestamp() - lab.server.clock.now() / 1000) / 3600)
    keeping.sweep(lab.server)
    return lab


def settings(lab: Lab, **changes: Any) -> None:
    lab.server.settings = replace(lab.server.settings, **changes)


def digests(lab: Lab) -> dict[str, list[str]]:
    """The texts of the digests so far, by recipient."""
    keeping.sweep(lab.server)
    found: dict[str, list[str]] = {}
    for path in lab.outgoing():
        message = message_from_bytes(path.read_bytes())
        if str(message["Subject"]).startswith("Held messages: "):
            content = message.get_payload(decode=True)
            assert isinstance(content, bytes)
            found.setdefault(str(message["To"]), []).append(content.decode())
    return found


class TestWhen:
    def test_at_the_hours_alone_and_to_whom_it_concerns(self, day: Lab) -> None:
        day.receive(mail_of(subject="Cheap ink"))
        day.receive(mail_of(subject="Free tickets"), to=BOB)
        assert digests(day) == {}
        day.advance(hours=1)
        told = digests(day)
        assert set(told) == {ANN, BOB}
        assert "Cheap ink" in told[ANN][0]
        assert "Free tickets" not in told[ANN][0]

    def test_each_message_is_announced_once(self, day: Lab) -> None:
        day.receive(mail_of(subject="first"))
        day.advance(hours=1)
        digests(day)
        day.receive(mail_of(subject="second"))
        assert len(digests(day)[ANN]) == 1, "an hour has not come"
        day.advance(hours=5)
        _, later = digests(day)[ANN]
        assert "second" in later
        assert "first" not in later

    def test_nothing_new_is_no_mail(self, day: Lab) -> None:
        day.receive(mail_of())
        for _ in range(3):
            day.advance(hours=6)
            digests(day)
        assert len(digests(day)[ANN]) == 1

    def test_the_hours_are_the_account_s(self, day: Lab) -> None:
        settings(day, time_zone="Asia/Kolkata")  # it is half past twelve there
        day.receive(mail_of())
        keeping.sweep(day.server)
        first = len(digests(day)[ANN])
        day.receive(mail_of(subject="after lunch"))
        day.advance(hours=0.4)
        assert len(digests(day)[ANN]) == first
        day.advance(hours=0.2)
        assert "after lunch" in digests(day)[ANN][-1]

    def test_what_was_decided_or_is_over_its_time_is_left_out(self, day: Lab) -> None:
        day.receive(mail_of(subject="decided"))
        with day.client() as portal:
            portal.holds.release(portal.holds.list())
        day.receive(mail_of(subject="old"))
        day.advance(days=14, hours=1)
        assert digests(day) == {}

    def test_after_a_restore_all_that_is_held_is_told_again(self, day: Lab, tmp_path: Path) -> None:
        """The links of earlier digests ended with it."""
        day.receive(mail_of())
        day.advance(hours=1)
        assert len(digests(day)[ANN]) == 1
        backup.backup(day.server, tmp_path / "b")
        backup.restore(tmp_path / "b", tmp_path / "restored").close()
        portal = Portal(Home.open(tmp_path / "restored"), wall=lambda: day.time + 5 * 3600)
        portal.settings = replace(portal.settings, digest_hours=HOURS)
        assert keeping.sweep(portal)["digests"] == 1
        portal.close()

    def test_no_hours_no_digests(self, day: Lab) -> None:
        settings(day, digest_hours=())
        day.receive(mail_of())
        day.advance(days=2)
        assert digests(day) == {}


class TestWhat:
    def test_only_the_kinds_that_were_chosen(self, day: Lab) -> None:
        settings(day, digest_kinds=("attachment",))
        day.receive(mail_of(subject="spam"))
        day.receive(mail_of(subject="a file"), kind="attachment")
        day.advance(hours=1)
        (text,) = digests(day)[ANN]
        assert "a file" in text
        assert "Subject:  spam" not in text

    @pytest.mark.parametrize("level", ["moderator", "administrator"])
    def test_only_what_the_person_may_decide(self, day: Lab, level: str) -> None:
        day.receive(mail_of(), level=level)
        day.advance(hours=1)
        assert digests(day) == {}

    def test_it_tells_sender_subject_and_reason(self, day: Lab) -> None:
        day.receive(mail_of("Eve <eve@elsewhere.example>", "Ink\u202egnp.exe"), reason=SPAM)
        day.advance(hours=1)
        (text,) = digests(day)[ANN]
        assert "1 new message is held for ann@example.com." in text
        assert "From:     eve@elsewhere.example" in text
        assert "Subject:  Ink\\u202egnp.exe" in text, "hidden characters are shown"
        assert f"Reason:   {SPAM}" in text

    def test_every_link_is_another_and_leads_to_the_portal(self, day: Lab) -> None:
        day.receive(mail_of())
        day.receive(mail_of(subject="another"))
        day.advance(hours=1)
        (text,) = digests(day)[ANN]
        links = [url for _, url in LINK.findall(text)]
        assert len(links) == len(set(links)) == 9, "three each, and three for both at once"
        assert all(url.startswith(day.server.settings.public_url + "/digest/") for url in links)

    def test_without_one_sender_there_is_nobody_to_permit(self, day: Lab) -> None:
        day.receive(mail_of("a@x.example, b@y.example"))
        day.advance(hours=1)
        (text,) = digests(day)[ANN]
        assert [verb for verb, _ in LINK.findall(text)] == ["Release"]

    def test_a_long_list_goes_on_in_the_next_digest(self, day: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "DIGEST_ITEMS", 2)
        for number in range(3):
            day.receive(mail_of(subject=f"number {number}"))
        day.advance(hours=1)
        (text,) = digests(day)[ANN]
        assert "There are more" in text
        assert "number 2" not in text
        day.advance(hours=5)
        assert "number 2" in digests(day)[ANN][1]


def test_a_digest_that_may_not_be_sent_yet_loses_nothing(day: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WRITTEN_PER_HOUR", 0)
    day.receive(mail_of(subject="kept back"))
    day.advance(hours=1)
    assert digests(day) == {}
    monkeypatch.undo()
    day.advance(hours=5)
    assert "kept back" in digests(day)[ANN][0]


def test_the_hours_are_checked(lab: Lab, tmp_path: Any) -> None:
    from mimeportal.errors import ConfigurationError
    from mimeportal_server.settings import load

    for wrong in ("[24]", "[-1]", "[true]", '"8"', "[8.5]"):
        path = tmp_path / "portal.toml"
        path.write_text(f'domains = ["example.com"]\n[digests]\nhours = {wrong}\n')
        with pytest.raises(ConfigurationError, match=r"digests\.hours"):
            load(path)
