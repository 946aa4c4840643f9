"""What a type checker knows of the public API. mypy checks these; running them proves that they are true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import assert_type

import pytest

from conftest import ANN, Lab, mail_of
from mimeportal import (
    BulkResult,
    Hold,
    HoldFilter,
    MailboxMessage,
    MimeportalError,
    Outcome,
    Pages,
    Plan,
    Portal,
    Report,
    SecureMessage,
    SenderEntry,
    UsageError,
    Verdict,
)
from mimeportal.account import AccountRow, WhoAmIRow
from mimeportal.holds import HeldMessage, HoldsClient, HoldState, ReleaseLogEntry, SummaryRow
from mimeportal.largefiles import LargeFile
from mimeportal.messages import Message, SentMessage
from mimeportal.selection import Item
from mimeportal.senders import SenderChange, SendersClient


def test_reading(lab: Lab) -> None:
    lab.receive(mail_of())
    with Portal.open(lab.url, user=ANN) as portal:
        assert_type(portal, Portal)
        assert_type(portal.holds, HoldsClient)
        assert_type(portal.user, str | None)
        pages = portal.holds.list(HoldFilter(subject="Hello"), page_size=5)
        assert_type(pages, Pages[Hold])
        assert_type(iter(pages), Iterator[Hold])
        assert_type(pages.first(1), list[Hold])
        (hold,) = pages
        assert_type(hold, Hold)
        assert_type(hold.date_received, datetime)
        assert_type(hold.expires, datetime | None)
        assert_type(hold.sender_blocked, bool | None)
        assert_type(HoldFilter().matches(hold), bool)
        message = portal.holds.get(hold.id)
        assert_type(message, HeldMessage)
        assert_type(message.headers, tuple[tuple[str, str], ...])
        assert_type(portal.holds.download(hold.id), Iterator[bytes])
        assert_type(portal.holds.summary(), Sequence[SummaryRow])
        assert_type(portal.holds.states([hold.id]), Sequence[HoldState])
        assert_type(portal.holds.log(), Pages[ReleaseLogEntry])
        assert_type(portal.account.show(), AccountRow)
        assert_type(portal.account.whoami(), WhoAmIRow)
        assert_type(portal.account.code, str)


def test_deciding(lab: Lab, tmp_path: Path) -> None:
    lab.receive(mail_of())
    told: list[Outcome] = []
    with Portal.open(lab.url, user=ANN) as portal:
        plan = portal.holds.plan("release", filter=HoldFilter(), limit=5, permit="address")
        assert_type(plan, Plan)
        assert_type(plan.left_out, Counter[str])
        with plan:
            result = plan.run(report=Report(tmp_path / "report"), on_outcomes=told.extend)
        assert_type(result, BulkResult)
        assert_type(result.totals, Counter[str])
        assert_type(result.problems, list[Outcome])
        assert_type(result.stopped, MimeportalError | None)
        assert_type(result.clean, bool)
        (outcome,) = told
        assert_type(outcome.item, Item)
        assert_type(outcome.verdict, Verdict)
        assert_type(portal.holds.release([outcome.id]), BulkResult)
        assert_type(portal.holds.reject([]), BulkResult)


def test_senders(lab: Lab) -> None:
    with Portal.open(lab.url, user=ANN) as portal:
        assert_type(portal.senders, SendersClient)
        assert_type(portal.senders.add(["elsewhere.example"], "blocked"), Sequence[SenderChange])
        entries = portal.senders.list("blocked")
        assert_type(entries, Pages[SenderEntry])
        (entry,) = entries
        assert_type(entry.added, datetime)
        assert_type(portal.senders.remove(["elsewhere.example"], "blocked"), Sequence[SenderChange])


def test_mailbox(lab: Lab) -> None:
    lab.receive(mail_of(), reason=None)
    with Portal.open(lab.url, user=ANN) as portal:
        found = portal.messages.list("inbox")
        assert_type(found, Pages[MailboxMessage])
        (message,) = found
        assert_type(message.received, datetime)
        assert_type(portal.messages.search("hello"), Pages[MailboxMessage])
        assert_type(portal.messages.get(message.id), Message)
        assert_type(portal.messages.raw(message.id), Iterator[bytes])
        sent = portal.messages.send(to=ANN, subject="s", body="t", attachments=[("a.txt", b"a")])
        assert_type(sent, SentMessage)
        assert_type(sent.date, datetime | None)
        assert_type(portal.secure.list(folder="sent"), Pages[SecureMessage])
        assert_type(portal.largefiles.list(), Pages[LargeFile])


def test_what_a_checker_refuses_is_refused(lab: Lab) -> None:
    """Each line would be an error of mypy's but for its comment; a comment that is not needed is one too."""
    with Portal.open(lab.url, user=ANN) as portal:
        calls: list[Callable[[], object]] = [
            lambda: portal.holds.list(colour="red"),  # type: ignore[call-arg]
            lambda: portal.holds.list(queue="mine"),  # type: ignore[arg-type]
            lambda: portal.holds.list(subject=5),  # type: ignore[arg-type]
            lambda: portal.holds.list(since="7d"),  # type: ignore[arg-type]
            lambda: portal.holds.release(["x"], permit="everybody"),  # type: ignore[arg-type]
            lambda: portal.holds.plan("delete", ids=["x"]),  # type: ignore[arg-type]
            lambda: portal.holds.plan("release", ids=["x"], quietly=True),  # type: ignore[call-arg]
            lambda: portal.messages.list("spam"),  # type: ignore[arg-type]
            lambda: portal.messages.send(too=ANN),  # type: ignore[call-arg]
            lambda: portal.messages.part("x", "html"),  # type: ignore[arg-type]
            lambda: portal.senders.add(["a@b.example"], "black"),  # type: ignore[arg-type]
            lambda: portal.senders.list(type="person"),  # type: ignore[arg-type]
            lambda: portal.secure.list(folder="junk"),  # type: ignore[arg-type]
            lambda: portal.largefiles.list(status="gone"),  # type: ignore[arg-type]
        ]
        for call in calls:
            with pytest.raises(UsageError):
                call()
