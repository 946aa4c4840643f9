"""What a type checker knows of the public API. mypy checks these; running them proves that they are true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import assert_type

from conftest import ANN, Lab, mail_of
from mimeportal import BulkResult, Hold, HoldFilter, MimeportalError, Outcome, Pages, Portal, Report, SenderEntry
from mimeportal.account.contract import AccountRow, WhoAmIRow
from mimeportal.bulk import Plan
from mimeportal.holds import HeldMessage
from mimeportal.holds.client import HoldsClient
from mimeportal.holds.contract import ReleaseLogRow, StateRow, SummaryRow
from mimeportal.largefiles import LargeFile
from mimeportal.messages import MailboxMessage, Message, SentMessage
from mimeportal.report import Verdict
from mimeportal.secure import SecureMessage
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
        assert_type(message.headers, list[tuple[str, str]])
        assert_type(portal.holds.download(hold.id), Iterator[bytes])
        assert_type(portal.holds.summary(), Sequence[SummaryRow])
        assert_type(portal.holds.states([hold.id]), Sequence[StateRow])
        assert_type(portal.holds.log(), Pages[ReleaseLogRow])
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
        assert_type(portal.messages.send(to=ANN, subject="s", body="t"), SentMessage)
        assert_type(portal.secure.list(folder="sent"), Pages[SecureMessage])
        assert_type(portal.largefiles.list(), Pages[LargeFile])
