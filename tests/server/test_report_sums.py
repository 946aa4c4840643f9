"""Ninety days of real mail: every number of every report equals what was counted by hand, and from the audit log."""

from __future__ import annotations

import shutil
import smtplib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from browsing import Visitor, links_in, written_to
from conftest import ADMIN, ANN, BOB, SPAM, Lab
from logging_in import RIGHT, stranger_at
from mimeportal.portal import Portal as Client
from mimeportal_server import counting, delivery, erasing, importing, keeping, settings
from mimeportal_server.embedded import EmbeddedTransport
from mimeportal_server.home import Home as ServerHome
from mimeportal_server.portal import Portal
from served import Served

ZONE = ZoneInfo("Europe/Berlin")  # where these days have a night of 25 hours
START = datetime(2026, 8, 20, 1, 30, tzinfo=ZONE)
DAYS = 90
ADDED = 14 + 1  # until what was held on the last day is over its time
ATTACHED = "Message Hold Applied - Attachment Type policy"
CARL = "carl@elsewhere.example"

Numbers = Counter[tuple[str, str, str]]  # (day, part, what)


class Story:
    """What happened: a fixed course, so that two runs of it are the same."""

    def __init__(self, path: Path, corpus: Path) -> None:
        self.lab = lab = Lab(path)
        config = lab.server.home.config
        config.write_text(config.read_text().replace('time_zone = "UTC"', f'time_zone = "{ZONE.key}"'))
        lab.server.settings = lab.server.home.settings = settings.load(config)
        lab.time = START.timestamp()
        lab.server.accept_clock()
        self.files = sorted(entry for entry in corpus.rglob("*") if entry.is_file())
        self.refused: Numbers = Counter()
        self.served = Served(lab, faults=True, http=("127.0.0.1", 0), smtp=("127.0.0.1", 0))
        with stranger_at(lab) as stranger:
            for address in (ANN, BOB):
                stranger.person(address)
        with self.served.server:
            for number in range(DAYS):
                self.day(number)
        for _ in range(ADDED):
            self.night()

    def day(self, number: int) -> None:
        self.arrive(number)
        if number % 2:
            self.decide(number)
        if number % 3 == 0:
            self.secure(number)
        if number % 5 == 0:
            self.large(number)
        if number % 4 == 0:
            self.knock(number)
        self.night(hours=23 if number % 3 else 26)  # at all hours, midnights among them

    def arrive(self, number: int) -> None:
        count = len(self.files)
        today = self.files[number * count // DAYS : (number + 1) * count // DAYS]
        for index, (to, hold) in enumerate(((ANN, SPAM), (BOB, ATTACHED), (ANN, None))):
            options = importing.Options(recipient=to, hold=hold)
            assert all(line.outcome != "error" for line in importing.run(self.lab.server, today[index::3], options))

    def decide(self, number: int) -> None:
        """Half of what came since yesterday goes out, ann's by herself; a sixth is rejected, the rest will expire."""
        admin = self.lab.client(ADMIN)
        for who, to in ((self.lab.client(ANN), ANN), (admin, BOB)):
            new = admin.holds.list(queue="admin", since=self.now() - timedelta(days=2))
            waiting = [hold.id for hold in new if hold.to_address == to]
            assert who.holds.release(waiting[::2], permit="address" if number % 9 == 1 else None).totals["done"]
            assert admin.holds.reject(waiting[1::6], block="address" if number % 7 == 1 else None).totals["done"]
            who.close()

    def secure(self, number: int) -> None:
        ann = self.lab.client(ANN)
        sent = ann.secure.send(to=[CARL, "dora@other.example"], subject=f"Contract {number}", body="Here it is.")
        ann.close()
        if number % 2:
            carl = self.lab.client(CARL)
            for row in carl.secure.list():
                carl.secure.get(row.id)
            carl.close()
        else:
            ann = self.lab.client(ANN)
            ann.secure.recall([sent.id])
            ann.close()

    def large(self, number: int) -> None:
        path = self.lab.path.parent / f"plans {number}.bin"
        path.write_bytes(bytes(1000 + number))
        ann = self.lab.client(ANN)
        ann.largefiles.send([path], to=[CARL], subject=f"Plans {number}", expire_after=3)
        ann.close()
        delivery.deliver(self.lab.server)
        visitor = Visitor(self.served)
        clean = visitor.ask(links_in(written_to(self.lab, CARL)[-1])[0]).header("location")
        fetch = visitor.submit(visitor.ask(clean), f"{clean}/fetch", file="1").header("location")
        assert visitor.ask(fetch).status == 200

    def knock(self, number: int) -> None:
        """Two are refused at the SMTP door, somebody logs in, and somebody else does not know the password."""
        with smtplib.SMTP(*self.served.server.smtp_address) as client:
            client.ehlo()
            self.refused[day_of(self.now()), "", "rejected"] += 2
            client.mail("eve@spam.example")
            for name in ("nobody", "no.one"):
                assert client.rcpt(f"{name}@example.com")[0] == 550
        with stranger_at(self.lab) as stranger:
            assert stranger.log_in(ANN).status == 200
            assert stranger.log_in(BOB, f"{RIGHT}?").status == 401

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.lab.server.clock.now() / 1000, ZONE)

    def night(self, *, hours: float = 24) -> None:
        delivery.deliver(self.lab.server)
        self.lab.advance(hours=hours)
        keeping.sweep(self.lab.server)
        delivery.deliver(self.lab.server)


class Home:
    """One home, asked for its reports, and counted by hand."""

    def __init__(self, path: Path, time: float) -> None:
        self.path, self.time = path, time
        self.portal = Client(EmbeddedTransport(path, ADMIN, wall=lambda: time))
        self.since = START.date() - timedelta(2)
        self.until = START.date() + timedelta(DAYS + ADDED + 5)

    def report(self, name: str, *events: str) -> Numbers:
        """(day, part, column) -> number, of what is not zero; every day is told."""
        found: Numbers = Counter()
        days = set()
        for row in self.rows(name):
            days.add(row["day"])
            part = str(row.get("direction") or row.get("reason") or row.get("door") or "")
            for event in events:
                found[row["day"].isoformat(), part, event] += row[event]
        assert len(days) == (self.until - self.since).days
        return +found

    def rows(self, name: str) -> list[dict[str, Any]]:
        ask = getattr(self.portal.reports, name.replace("-", "_"))
        return [row.model_dump() for row in ask(since=self.since, until=self.until)]

    def by_hand(self, query: str) -> Numbers:
        """(day, part, event) -> number, of a query that tells the time, the part and the event of each thing."""
        with closing(sqlite3.connect(self.path / "portal.db")) as database:
            return Counter((day_of(at), part, event) for at, part, event in database.execute(query))

    def acts(self, **events: Sequence[str]) -> Numbers:
        """(day, "", event) -> how many lines the audit log has of these: `event=["action outcome", ...]`."""
        lines = self.by_hand("SELECT at, '', action || ' ' || outcome FROM audit")
        found: Numbers = Counter()
        for (day, _, act), number in lines.items():
            for event in (event for event, acts in events.items() if act in acts):
                found[day, "", event] += number
        return found


def day_of(at: int | datetime) -> str:
    moment = at if isinstance(at, datetime) else datetime.fromtimestamp(at / 1000, ZONE)
    return moment.astimezone(ZONE).date().isoformat()


def whole(numbers: Numbers) -> Numbers:
    """The same, whatever the part."""
    found: Numbers = Counter()
    for (day, _, event), number in numbers.items():
        found[day, "", event] += number
    return found


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Story:
    story = Story(tmp_path_factory.mktemp("sums") / "home", corpus)
    story.lab.server.close()
    return story


@pytest.fixture(scope="module", params=["everybody", "one erased"])
def home(request: pytest.FixtureRequest, story: Story) -> Iterator[Home]:
    path, time = story.lab.path, story.lab.time
    if request.param == "one erased":
        path = path.with_name("erased")
        shutil.copytree(story.lab.path, path)
        portal = Portal(ServerHome.open(path), wall=lambda: time)
        assert erasing.erase(portal, ANN) > 0
        portal.close()
    home = Home(path, time)
    yield home
    home.portal.close()


_HELD = "SELECT {} FROM holds h JOIN messages m ON m.id = h.message_id"


class TestByHand:
    """Counted with SQL from the store."""

    def test_traffic(self, home: Home) -> None:
        told = home.report("traffic", "processed", "held", "blocked", "rejected", "delivered", "bounced")
        arrived = "SELECT m.received, m.route, {} FROM copies c JOIN messages m ON m.id = c.message_id "
        ended = "FROM deliveries d JOIN messages m ON m.id = d.message_id WHERE d.finished > 0 AND d.kind != 'written'"
        assert told == (
            home.by_hand(arrived.format("'processed'"))
            + home.by_hand(arrived.format("c.outcome") + "WHERE c.outcome IN ('held', 'blocked')")
            + home.by_hand("SELECT at, route, 'rejected' FROM rejections")
            + home.by_hand(f"SELECT d.finished, m.route, iif(d.state = 'delivered', 'delivered', 'bounced') {ended}")
        )
        assert {event for _, _, event in told} >= {"processed", "held", "blocked", "rejected", "delivered"}

    def test_held(self, home: Home) -> None:
        told = home.report("held", "held", "released", "rejected", "expired", "by_recipient", "by_others")
        decided = "FROM holds h WHERE h.state IN ('released', 'rejected')"
        by = "iif(h.decided_by = h.person_id, 'by_recipient', 'by_others')"
        assert told == (
            home.by_hand(_HELD.format("m.received, h.reason, 'held'"))
            + home.by_hand("SELECT decided, reason, state FROM holds WHERE state != 'held'")
            + home.by_hand(f"SELECT h.decided, h.reason, {by} {decided}")
        )
        assert {event for _, _, event in told} == {
            "held", "released", "rejected", "expired", "by_recipient", "by_others"
        }  # fmt: skip

    def test_time_to_decision(self, home: Home) -> None:
        taken: dict[tuple[str, str], list[int]] = {}
        query = "SELECT decided, reason, received FROM holds WHERE state IN ('released', 'rejected')"
        with closing(sqlite3.connect(home.path / "portal.db")) as database:
            for decided, reason, received in database.execute(query):
                taken.setdefault((day_of(decided), reason), []).append((decided - received) // 1000)
        told = {
            (row["day"].isoformat(), row["reason"]): row["seconds_to_decision"]
            for row in home.rows("held")
            if row["seconds_to_decision"] is not None
        }
        assert told == {key: sum(some) // len(some) for key, some in taken.items()}

    def test_releases(self, home: Home) -> None:
        told = Counter((day_of(row["released"]), "", row["status"]) for row in home.rows("releases"))
        assert told == home.by_hand("SELECT decided, '', state FROM holds WHERE state != 'held'")

    def test_rejections(self, home: Home) -> None:
        told = Counter((day_of(row["created"]), "", row["type"]) for row in home.rows("rejections"))
        blocked = "FROM copies c JOIN messages m ON m.id = c.message_id WHERE c.outcome = 'blocked'"
        assert told == (
            home.by_hand("SELECT at, '', type FROM rejections")
            + home.by_hand(f"SELECT m.received, '', 'sender_blocked' {blocked}")
        )

    def test_senders(self, home: Home) -> None:
        events = ("held", "released", "rejected", "expired", "blocked", "permitted")
        told = Counter({(row["sender"], event): row[event] for row in home.rows("senders") for event in events})
        sender = "iif(from_header != '', from_header, from_address)"
        with closing(sqlite3.connect(home.path / "portal.db")) as database:
            held = Counter((row[0], "held") for row in database.execute(f"SELECT {sender} FROM holds"))
            ended = Counter(database.execute(f"SELECT {sender}, state FROM holds WHERE state != 'held'").fetchall())
            lists = database.execute("SELECT entry, list FROM senders WHERE list IN ('blocked', 'permitted')")
            listed = Counter(lists.fetchall())
        assert +told == held + ended + listed

    def test_secure_messages(self, home: Home) -> None:
        told = home.report("secure-messages", "processed", "delivered", "read", "recalled")
        copies = "FROM secure_copies c JOIN secure_messages m ON m.id = c.secure_id WHERE c.part != 'sender'"
        assert told == (
            home.by_hand("SELECT sent, direction, 'processed' FROM secure_messages")
            + home.by_hand(f"SELECT c.sent, m.direction, 'delivered' {copies}")
            + home.by_hand(f"SELECT c.opened, m.direction, 'read' {copies} AND c.opened > 0")
            + home.by_hand("SELECT recalled, direction, 'recalled' FROM secure_messages WHERE recalled > 0")
        )
        assert {event for _, _, event in told} == {"processed", "delivered", "read", "recalled"}

    def test_large_files(self, home: Home) -> None:
        told = home.report("largefiles", "sent", "downloaded", "expiring")
        assert told == (
            home.by_hand("SELECT sent, '', 'sent' FROM largefiles WHERE sent > 0")
            + home.by_hand("SELECT completed, '', 'downloaded' FROM largefile_downloads WHERE completed > 0")
            + home.by_hand("SELECT expires, '', 'expiring' FROM largefiles WHERE sent > 0 AND expires > 0")
        )
        octets: Counter[str] = Counter()
        with closing(sqlite3.connect(home.path / "portal.db")) as database:
            for sent, size in database.execute("SELECT sent, size FROM largefiles WHERE sent > 0"):
                octets[day_of(sent)] += size
        assert {row["day"].isoformat(): row["bytes"] for row in home.rows("largefiles") if row["bytes"]} == octets

    def test_log_ins(self, home: Home) -> None:
        told = home.report("logins", "succeeded", "failed")
        outcome = "iif(outcome = 'done', 'succeeded', 'failed')"
        assert told == home.by_hand(f"SELECT at, door, {outcome} FROM audit WHERE action = 'log in'")
        assert {event for _, _, event in told} == {"succeeded", "failed"}

    def test_audit(self, home: Home) -> None:
        told = Counter((day_of(row["time"]), row["action"], row["outcome"]) for row in home.rows("audit"))
        assert told == home.by_hand("SELECT at, action, outcome FROM audit")


class TestByTheAuditLog:
    """Counted from the lines of the audit log, which know nothing of the store."""

    def test_traffic(self, home: Home) -> None:
        told = whole(home.report("traffic", "processed", "held", "blocked", "delivered"))
        arrived = ["arrive held", "arrive blocked", "arrive delivered", "arrive secure"]
        delivered = home.by_hand(
            "SELECT a.at, '', 'delivered' FROM audit a JOIN deliveries d ON d.id = a.object_id"
            " WHERE a.action = 'deliver' AND a.outcome = 'done' AND d.kind != 'written'"
        )
        assert told == home.acts(processed=arrived, held=arrived[:1], blocked=arrived[1:2]) + delivered

    def test_refusals(self, home: Home, story: Story) -> None:
        """The log has no line of what was refused at the door: this is what was tried there."""
        refused = whole(home.report("traffic", "rejected"))
        assert refused == story.refused
        told = Counter((day_of(row["created"]), "", "rejected") for row in home.rows("rejections"))
        assert told == refused + home.acts(rejected=["arrive blocked"])

    def test_held(self, home: Home) -> None:
        told = whole(home.report("held", "held", "released", "rejected", "expired"))
        acts = home.acts(held=["arrive held"], released=["release done"], rejected=["reject done"])
        # A sweep finds afterwards what was over its time, and writes it down on its own day.
        expired = home.acts(expired=["expire done"])
        assert {key: number for key, number in told.items() if key[2] != "expired"} == acts
        assert sum(told.values()) == sum((acts + expired).values())
        decided = home.by_hand(
            "SELECT a.at, '', iif(h.person_id = a.actor, 'by_recipient', 'by_others')"
            " FROM audit a JOIN holds h ON h.id = a.object_id"
            " WHERE a.action IN ('release', 'reject') AND a.outcome = 'done'"
        )
        assert whole(home.report("held", "by_recipient", "by_others")) == decided

    def test_releases(self, home: Home) -> None:
        told = Counter((day_of(row["released"]), "", row["status"]) for row in home.rows("releases"))
        acts = home.acts(released=["release done"], rejected=["reject done"])
        assert {key: number for key, number in told.items() if key[2] != "expired"} == acts
        assert sum(told.values()) == sum((acts + home.acts(expired=["expire done"])).values())

    def test_secure_messages(self, home: Home) -> None:
        told = whole(home.report("secure-messages", "processed", "delivered", "recalled", "read"))
        opened = home.by_hand(
            "SELECT min(at), '', 'read' FROM audit WHERE action = 'secure open' GROUP BY object_id, actor"
        )
        acts = {"processed": ["secure send done"], "delivered": ["notify done"], "recalled": ["secure recall done"]}
        assert told == home.acts(**acts) + opened

    def test_large_files(self, home: Home) -> None:
        told = whole(home.report("largefiles", "sent", "downloaded"))
        assert told == home.acts(sent=["finish large files done"], downloaded=["fetch large file done"])

    def test_log_ins(self, home: Home) -> None:
        told = whole(home.report("logins", "succeeded", "failed"))
        assert told == home.acts(succeeded=["log in done"], failed=["log in failed"])

    def test_senders(self, home: Home) -> None:
        acts = home.acts(held=["arrive held"], released=["release done"], rejected=["reject done"])
        for event in ("held", "released", "rejected"):
            number = sum(row[event] for row in home.rows("senders"))
            assert number == sum(count for (_, _, act), count in acts.items() if act == event)


def test_the_sums_are_those_of_a_scan(home: Home) -> None:
    """What is written with each act, beside what the rows add up to (promises F.3)."""
    portal = Portal(ServerHome.open(home.path), wall=lambda: home.time)
    with portal.database.read() as tx:
        scanned = +counting.scan(portal, tx)
    portal.close()
    with closing(sqlite3.connect(home.path / "portal.db")) as database:
        kept = database.execute("SELECT report, day, part, event, number FROM day_counts").fetchall()
    assert {tuple(key): number for *key, number in kept} == scanned
