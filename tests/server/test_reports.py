"""Reports of the local portal: every number is that of the tables, of the audit, and of the rows it counts."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from asking import Asking, Told
from conftest import ADMIN, ANN, BOB, SPAM, Lab, mail_of
from mimeportal import days, limits
from mimeportal.reports import contract
from mimeportal_server import audit, counting, delivery, keeping, people
from mimeportal_server.arrival import accept
from mimeportal_server.home import Home
from mimeportal_server.incoming import Incoming, Origin, parse
from mimeportal_server.portal import Portal, set_fact
from mimeportal_server.store.schema import day_counts
from mimeportal_server.store.schema import deliveries as outbox

ATTACHED = "Message Hold Applied - Attachment Type policy"
START = datetime(2026, 11, 2, 9, tzinfo=UTC)


def configure(lab: Lab, before: str, after: str) -> None:
    """Change portal.toml, and open the portal anew."""
    config = lab.path / "portal.toml"
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))
    lab.server.close()
    lab.server = Portal(Home.open(lab.path), wall=lambda: lab.time)


class Story:
    """Some days of a portal: mail of every fate, and who decided what."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        lab.time = START.timestamp()
        lab.server.close()
        lab.server = Portal(Home.open(lab.path), wall=lambda: lab.time)
        lab.server.clock.seen = 0
        for number in range(4):
            lab.receive(mail_of(f"s{number}@spam.example", f"spam {number}"))
        lab.receive(mail_of("x@files.example", "an exe"), reason=ATTACHED, to=BOB)
        lab.receive(mail_of("friend@good.example", "hello"), reason=None)
        self.advance(days=1)
        self.decide(ANN, "spam 0", "release")
        self.decide(ADMIN, "spam 1", "reject", block="address")
        self.decide(ADMIN, "an exe", "release", permit="domain")
        lab.receive(mail_of("s1@spam.example", "once more"), reason=None)  # blocked by ann now
        lab.refuse("eve@spam.example", "nobody@example.com")
        delivery.deliver(lab.server)
        self.advance(days=1)
        self.fail()
        self.advance(days=13)
        keeping.sweep(lab.server)
        lab.receive(mail_of("late@spam.example", "left"))

    def advance(self, *, days: float) -> None:
        self.lab.advance(days=days)

    def decide(self, by: str, subject: str, decision: str, **options: Any) -> None:
        with self.asking() as ask:
            told = ask.decide(ask.one(subject=subject), decision, by=by, **options)
            assert told.row["outcome"] == "done"

    def fail(self) -> None:
        """A delivery that the next hop will not take."""
        lab = self.lab
        lab.receive(mail_of("friend@good.example", "too large"), reason=None)
        with lab.server.write() as tx:
            rows = tx.execute(select(outbox).where(outbox.c.finished.is_(None))).all()
            delivery.fail(lab.server, tx, [(row, "552 too large") for row in rows])

    def asking(self) -> Any:
        from asking import asking

        return asking(self.lab)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    lab = Lab(tmp_path_factory.mktemp("story") / "home")
    yield Story(lab)
    lab.server.close()


@pytest.fixture(scope="module")
def ask(story: Story) -> Iterator[Asking]:
    with story.asking() as ask:
        ask.portal.clock.offset = story.lab.server.clock.offset
        yield ask


ALL = {"start": "2026-11-01", "end": "2026-11-20"}


def table(ask: Asking, name: str, **more: Any) -> list[dict[str, Any]]:
    told = ask(f"/api/portal/reports/{name}", {**ALL, **more}).row
    return [dict(zip(told["columns"], values, strict=True)) for values in told["rows"]]


def sums(rows: list[dict[str, Any]], *columns: str) -> dict[str, int]:
    return {column: sum(row[column] or 0 for row in rows) for column in columns}


def by_hand(lab: Lab, query: str) -> dict[Any, Any]:
    """Counted with SQL from the file of the database."""
    database = sqlite3.connect(lab.path / "portal.db")
    try:
        return dict(database.execute(query).fetchall())
    finally:
        database.close()


class TestNumbers:
    """What each report says of the story."""

    def test_traffic(self, ask: Asking) -> None:
        rows = table(ask, "traffic")
        assert len(rows) == 19 * 3, "every day in every direction"
        inbound = {row["day"]: row for row in rows if row["direction"] == "inbound"}
        told = {day: tuple(row.values())[2:] for day, row in inbound.items() if any(tuple(row.values())[2:])}
        assert told == {
            # processed, held, blocked, rejected, delivered, bounced
            "2026-11-02": (6, 5, 0, 0, 0, 0),
            "2026-11-03": (1, 0, 1, 1, 3, 0),
            "2026-11-04": (1, 0, 0, 0, 0, 1),
            "2026-11-17": (1, 1, 0, 0, 0, 0),
        }

    def test_held(self, ask: Asking) -> None:
        rows = [tuple(row.values()) for row in table(ask, "held") if row["reason"]]
        assert rows == [
            ("2026-11-02", ATTACHED, 1, 0, 0, 0, 0, 0, None),
            ("2026-11-02", SPAM, 4, 0, 0, 0, 0, 0, None),
            ("2026-11-03", ATTACHED, 0, 1, 0, 0, 0, 1, 86_400),
            ("2026-11-03", SPAM, 0, 1, 1, 0, 1, 1, 86_400),
            ("2026-11-16", SPAM, 0, 0, 0, 2, 0, 0, None),
            ("2026-11-17", SPAM, 1, 0, 0, 0, 0, 0, None),
        ]
        assert len(table(ask, "held")) == 2 + 2 + 17, "a day without any has one row"

    def test_releases(self, ask: Asking) -> None:
        rows = table(ask, "releases")
        assert [(row["released"][:10], row["status"], row["operator"], row["subject"]) for row in rows] == [
            ("2026-11-03", "released", ANN, "spam 0"),
            ("2026-11-03", "rejected", ADMIN, "spam 1"),
            ("2026-11-03", "released", ADMIN, "an exe"),
            ("2026-11-16", "expired", "", "spam 2"),
            ("2026-11-16", "expired", "", "spam 3"),
        ]
        assert rows[0]["received"] == "2026-11-02T09:00:00+00:00"

    def test_rejections(self, ask: Asking) -> None:
        told = [(row["type"], row["from_address"], row["to_address"]) for row in table(ask, "rejections")]
        assert told == [
            ("unknown", "eve@spam.example", "nobody@example.com"),
            ("sender_blocked", "s1@spam.example", ANN),
        ]

    def test_senders(self, ask: Asking) -> None:
        rows = {row.pop("sender"): tuple(row.values()) for row in table(ask, "senders")}
        assert rows["s1@spam.example"] == (1, 0, 1, 0, 1, 0)
        assert rows["files.example"] == (0, 0, 0, 0, 0, 1)
        assert rows["s2@spam.example"] == (1, 0, 0, 1, 0, 0)
        assert next(iter(rows.values()))[0] == max(counts[0] for counts in rows.values())

    def test_audit(self, ask: Asking) -> None:
        rows = table(ask, "audit")
        (release,) = (row for row in rows if row["action"] == "release" and row["user"] == ANN)
        assert (release["category"], release["outcome"]) == ("held_message_logs", "done")
        assert "subject: spam 0" in release["info"]
        assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


class TestTruth:
    """Every sum is equal to counts that were taken in other ways (promises F.3)."""

    def test_the_sums_are_those_of_a_scan(self, story: Story) -> None:
        assert counted(story.lab) == scanned(story.lab)
        assert sum(counted(story.lab).values()) > 20

    def test_held_beside_the_tables(self, story: Story, ask: Asking) -> None:
        states = by_hand(story.lab, "SELECT state, count(*) FROM holds GROUP BY state")
        assert sums(table(ask, "held"), "held", "released", "rejected", "expired") == {
            "held": sum(states.values()),
            "released": states["released"],
            "rejected": states["rejected"],
            "expired": states["expired"],
        }

    def test_traffic_beside_the_tables(self, story: Story, ask: Asking) -> None:
        outcomes = by_hand(story.lab, "SELECT outcome, count(*) FROM copies GROUP BY outcome")
        ended = by_hand(
            story.lab, "SELECT state, count(*) FROM deliveries WHERE kind != 'written' AND finished > 0 GROUP BY state"
        )
        assert sums(table(ask, "traffic"), *list(contract.TrafficRow.model_fields)[2:]) == {
            "processed": sum(outcomes.values()),
            "held": outcomes["held"],
            "blocked": outcomes["blocked"],
            "rejected": 1,
            "delivered": ended["delivered"],
            "bounced": ended["failed"],
        }

    def test_both_beside_the_audit(self, story: Story, ask: Asking) -> None:
        acts = by_hand(story.lab, "SELECT action || ' ' || outcome, count(*) FROM audit GROUP BY action, outcome")
        held, traffic = table(ask, "held"), table(ask, "traffic")
        assert sums(held, "held", "released", "rejected", "expired") == {
            "held": acts["arrive held"],
            "released": acts["release done"],
            "rejected": acts["reject done"],
            "expired": acts["expire done"],
        }
        arrived = sum(number for act, number in acts.items() if act.startswith("arrive "))
        assert sums(traffic, "processed", "blocked", "delivered", "bounced") == {
            "processed": arrived,
            "blocked": acts["arrive blocked"],
            "delivered": acts["deliver done"],
            "bounced": acts["deliver failed"],
        }
        assert Counter(row["action"] for row in table(ask, "audit")) == Counter(
            by_hand(story.lab, "SELECT action, count(*) FROM audit GROUP BY action")
        )

    @pytest.mark.parametrize("name", ["traffic", "held"])
    def test_every_number_can_be_followed_to_its_rows(self, ask: Asking, name: str) -> None:
        for day in (date(2026, 11, 1) + timedelta(number) for number in range(19)):
            window = {"start": day.isoformat(), "end": (day + timedelta(1)).isoformat()}
            rows = Counter((row["part"], row["event"]) for row in table(ask, name, rows=True, **window))
            told = Counter[tuple[str, str]]()
            for row in table(ask, name, **window):
                part = row["direction"] if name == "traffic" else row["reason"]
                events = {**row, "passed": row.get("processed", 0) - row["held"] - row.get("blocked", 0)}
                kinds = ["passed", "held", "blocked", "delivered", "bounced", "released", "rejected", "expired"]
                told.update({(part, event): events[event] for event in kinds if events.get(event, 0) > 0})
            assert rows == told, day


def counted(lab: Lab) -> dict[tuple[str, str, str, str], int]:
    with lab.server.database.read() as tx:
        return {tuple(row[:4]): row[4] for row in tx.execute(select(day_counts))}  # type: ignore[misc]


def scanned(lab: Lab) -> dict[tuple[str, str, str, str], int]:
    with lab.server.database.read() as tx:
        return {key: number for key, number in counting.scan(lab.server, tx).items() if number}


class TestDays:
    """Days are the account's; each of them is told, and closed when it is over for good."""

    @pytest.fixture
    def berlin(self, lab: Lab) -> Lab:
        configure(lab, 'time_zone = "UTC"', 'time_zone = "Europe/Berlin"')
        return lab

    def test_days_that_are_an_hour_shorter_or_longer(self, berlin: Lab) -> None:
        """Half an hour before and after both midnights of the days on which clocks are set."""
        midnights = [(2027, 3, 27, 23), (2027, 3, 28, 22), (2027, 10, 30, 22), (2027, 10, 31, 23)]
        moments = [
            datetime(*midnight, tzinfo=UTC) + timedelta(minutes=minutes)  # type: ignore[arg-type, misc]
            for midnight in midnights
            for minutes in (-30, 30)
        ]
        for moment in moments:
            receive_at(berlin, moment)
        with asking(berlin) as ask:
            told = {}
            for start, end in (("2027-03-27", "2027-03-30"), ("2027-10-30", "2027-11-02")):
                rows = ask("/api/portal/reports/held", {"start": start, "end": end}).row["rows"]
                told |= {row[0]: row[2] for row in rows}
        assert told == {
            "2027-03-27": 1, "2027-03-28": 2, "2027-03-29": 1,
            "2027-10-30": 1, "2027-10-31": 2, "2027-11-01": 1,
        }  # fmt: skip
        assert counted(berlin) == scanned(berlin)

    @pytest.mark.parametrize(
        ("zone", "start", "held"),
        [
            ("Europe/London", "2026-10-24", [24, 25, 24]),
            ("America/Sao_Paulo", "2018-11-03", [24, 23, 24]),
            ("Pacific/Apia", "2011-12-29", [24, 0, 24]),
            ("America/St_Johns", "2006-10-28", [24, 25, 24]),
        ],
    )
    def test_a_day_has_the_mail_of_its_hours(self, lab: Lab, zone: str, start: str, held: list[int]) -> None:
        """One message an hour: the numbers, the rows that they count, and the days as they are asked for one by one."""
        configure(lab, 'time_zone = "UTC"', f'time_zone = "{zone}"')
        lab.time = datetime(2027, 1, 15, tzinfo=UTC).timestamp()
        first = date.fromisoformat(start)
        moment = days.begin(first, ZoneInfo(zone)) + timedelta(minutes=20)
        while moment < days.begin(first + timedelta(3), ZoneInfo(zone)):
            receive_at(lab, moment)
            moment += timedelta(hours=1)
        told, followed = [], []
        with asking(lab) as ask:
            for day in (first, first + timedelta(1), first + timedelta(2)):
                window = {"start": day.isoformat(), "end": (day + timedelta(1)).isoformat()}
                told.append(sum(row[2] for row in ask("/api/portal/reports/held", window).row["rows"]))
                followed.append(len(held_rows(ask, window)))
            window = {"start": start, "end": (first + timedelta(3)).isoformat()}
            by_day = Counter[str]()
            for row in ask("/api/portal/reports/held", window).row["rows"]:
                by_day[row[0]] += row[2]
        assert told == followed == list(by_day.values()) == held
        assert counted(lab) == scanned(lab)

    def test_another_zone_in_the_settings_moves_what_was_counted(self, lab: Lab) -> None:
        receive_at(lab, datetime(2027, 1, 15, 23, 30, tzinfo=UTC))
        assert [key[1] for key in counted(lab)] == ["2027-01-15", "2027-01-15"]
        configure(lab, 'time_zone = "UTC"', 'time_zone = "Asia/Kathmandu"')
        with asking(lab) as ask:
            rows = ask("/api/portal/reports/held", {"start": "2027-01-15", "end": "2027-01-17"}).row["rows"]
        assert [(row[0], row[2]) for row in rows] == [("2027-01-15", 0), ("2027-01-16", 1)]
        receive_at(lab, datetime(2027, 1, 15, 23, 40, tzinfo=UTC))
        assert counted(lab) == scanned(lab)
        assert {key[1] for key in counted(lab)} == {"2027-01-16"}

    def test_sums_are_made_where_there_are_none(self, lab: Lab) -> None:
        """As in a home whose tables were filled in another way."""
        lab.receive(mail_of())
        with lab.server.write() as tx:
            tx.execute(day_counts.delete())
            set_fact(tx, "counted_zone", "")
        lab.receive(mail_of(subject="another"))
        assert counted(lab) == scanned(lab)

    def test_a_day_closes_two_hours_after_its_end(self, lab: Lab) -> None:
        told = []
        for hours in (0, 1, 2):
            lab.time = datetime(2026, 11, 3, hours, 30, tzinfo=UTC).timestamp()
            with asking(lab) as ask:
                told.append((ask(DAYS).row["today"], ask(DAYS).row["closedUntil"]))
        assert told == [("2026-11-03", "2026-11-02"), ("2026-11-03", "2026-11-02"), ("2026-11-03", "2026-11-03")]

    def test_how_long_after_is_a_setting(self, lab: Lab) -> None:
        configure(lab, "[mail]", "[reports]\ncloses_after_hours = 6\n\n[mail]")
        lab.time = datetime(2026, 11, 3, 5, tzinfo=UTC).timestamp()
        with asking(lab) as ask:
            assert ask(DAYS).row["closedUntil"] == "2026-11-02"

    def test_a_clock_that_is_not_believed_closes_no_day(self, lab: Lab) -> None:
        with asking(lab) as ask:
            before = ask(DAYS).row
            assert "clock" not in before
            lab.step(days=3)
            after = ask(DAYS).row
            assert after["closedUntil"] == before["closedUntil"]
            assert "jumped forward" in after["clock"]
            ask.portal.accept_clock()
            assert ask(DAYS).row["closedUntil"] > before["closedUntil"]

    def test_a_clock_that_was_set_back_closes_no_day_that_lies_ahead_of_it(self, lab: Lab) -> None:
        """It may have been wrong until then, and what was seen by it is no evidence that days are over."""
        with asking(lab) as ask:
            with ask.portal.write():  # which records the time
                before = ask(DAYS).row
            lab.step(days=-3)
            after = ask(DAYS).row
            assert "set back" in after["clock"]
            back = date.fromisoformat(before["closedUntil"]) - timedelta(3)
            assert date.fromisoformat(after["closedUntil"]) == back

    def test_what_is_over_its_time_counts_before_any_sweep(self, lab: Lab) -> None:
        lab.receive(mail_of())
        lab.advance(days=15)
        today = datetime.fromtimestamp(lab.server.clock.now() / 1000, UTC).date()
        window = {"start": (today - timedelta(16)).isoformat(), "end": (today + timedelta(1)).isoformat()}
        told = []
        for _ in range(2):
            with asking(lab) as ask:
                ask.portal.clock.offset = lab.server.clock.offset
                held = ask("/api/portal/reports/held", window).row["rows"]
                log = ask("/api/portal/reports/releases", window).row["rows"]
                followed = ask("/api/portal/reports/held", {**window, "rows": True}).row["rows"]
                sender = ask("/api/portal/reports/senders", window).row["rows"]
                told.append((held, log, followed, sender))
            keeping.sweep(lab.server)
        assert told[0] == told[1]
        assert [(row[0], row[5]) for row in told[0][0] if row[5]] == [((today - timedelta(1)).isoformat(), 1)]
        assert [row[1] for row in told[0][1]] == ["expired"]


DAYS = "/api/portal/reports/days"


def held_rows(ask: Asking, window: dict[str, str]) -> list[Any]:
    """What was held in these days, each by itself."""
    rows = ask("/api/portal/reports/held", {**window, "rows": True}).row["rows"]
    return [row for row in rows if row[1] == "held"]


def receive_at(lab: Lab, moment: datetime) -> None:
    with lab.server.database.read() as tx:
        person = people.find(tx, ANN)
    assert person is not None
    from mimeportal_server import importing

    message = parse(
        mail_of(subject=moment.isoformat()),
        None,
        recipients=[(int(person.id), ANN)],
        received=int(moment.timestamp() * 1000),
        hold=importing.hold_of(SPAM),
    )
    accept(lab.server, [message], door="test")


def asking(lab: Lab) -> Any:
    from asking import asking

    return asking(lab)


class TestPages:
    """Reports of many rows come in pages; whatever is not as it was handed out is refused."""

    def test_every_row_once(self, ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = {name: ask(f"/api/portal/reports/{name}", ALL).row["rows"] for name in ("audit", "releases")}
        followed = ask("/api/portal/reports/held", {**ALL, "rows": True}).row["rows"]
        monkeypatch.setattr(limits, "REPORT_ROWS", 3)
        assert {name: paged(ask, name) for name in whole} == whole
        assert paged(ask, "held", rows=True) == followed

    def test_a_token_is_for_its_report_its_days_and_its_caller(
        self, ask: Asking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "REPORT_ROWS", 2)
        token = ask("/api/portal/reports/audit", ALL).row["next"]
        assert ask("/api/portal/reports/audit", {**ALL, "after": token}).code == ""
        for name, item in (
            ("releases", {**ALL, "after": token}),
            ("audit", {**ALL, "end": "2026-11-19", "after": token}),
            ("audit", {**ALL, "after": spoiled(token)}),
            ("audit", {**ALL, "after": "x"}),
        ):
            assert ask(f"/api/portal/reports/{name}", item).code == "xdk_failure"

    @pytest.mark.parametrize(
        ("item", "field"),
        [
            ({"start": "2026-11-03", "end": "2026-11-03"}, "end"),
            ({"start": "2026-11-03", "end": "2026-11-02"}, "end"),
            ({"start": "2010-11-03", "end": "2026-11-02"}, "end"),
            ({"start": "yesterday", "end": "2026-11-02"}, "start"),
            ({"start": "2026-11-03", "end": "2026-13-02"}, "end"),
            ({"start": "0001-01-01", "end": "0001-01-02"}, "start"),
        ],
    )
    def test_days_that_are_none(self, ask: Asking, item: dict[str, str], field: str) -> None:
        told = ask("/api/portal/reports/traffic", item)
        assert told.code == "err_validation_value_not_allowed"
        assert told.json["fail"][0]["errors"][0]["field"] == field

    def test_days_are_wanted(self, ask: Asking) -> None:
        told = ask("/api/portal/reports/traffic", {"start": "2026-11-03"})
        assert (told.code, told.json["fail"][0]["errors"][0]["field"]) == ("err_validation_null", "end")


def spoiled(token: str) -> str:
    """The same with one letter changed."""
    return token[:30] + ("a" if token[30] != "a" else "b") + token[31:]


def paged(ask: Asking, name: str, **more: Any) -> list[Any]:
    rows, token = [], None
    while True:
        page = ask(f"/api/portal/reports/{name}", {**ALL, **more, **({"after": token} if token else {})}).row
        rows += page["rows"]
        token = page.get("next")
        if token is None:
            return rows


class TestLogIns:
    def test_each_door_with_success_and_without(self, lab: Lab) -> None:
        with lab.server.write() as tx:
            found = people.find(tx, ANN)
            assert found is not None
            for door, outcome in (("http", "done"), ("http", "failed"), ("http", "failed"), ("smtp", "done")):
                act = audit.Act("log in", outcome, "person", int(found.id), {"address": ANN})
                audit.record(tx, [act], at=lab.server.clock.now(), caller=None, door=door)
            audit.record(tx, [audit.Act("log out", "done", "person", None)], at=lab.server.clock.now(), caller=None)
        today = datetime.fromtimestamp(lab.server.clock.now() / 1000, UTC).date()
        window = {"start": (today - timedelta(1)).isoformat(), "end": (today + timedelta(1)).isoformat()}
        with asking(lab) as ask:
            rows = ask("/api/portal/reports/logins", window).row["rows"]
            followed = ask("/api/portal/reports/logins", {**window, "rows": True}).row["rows"]
        yesterday = (today - timedelta(1)).isoformat()
        assert rows == [[yesterday, "", 0, 0], [today.isoformat(), "http", 1, 2], [today.isoformat(), "smtp", 1, 0]]
        assert Counter((row[1], row[2], row[7]) for row in followed) == {
            ("succeeded", "http", ANN): 1,
            ("failed", "http", ANN): 2,
            ("succeeded", "smtp", ANN): 1,
        }


class TestDirections:
    def test_a_submission_counts_out_and_inside(self, lab: Lab) -> None:
        with lab.server.database.read() as tx:
            ann, bob = people.caller_of(tx, ANN, "smtp"), people.find(tx, BOB)
        assert ann is not None
        assert bob is not None
        octets = mail_of(ANN, "to both", to=f"{BOB}, out@elsewhere.example")
        message: Incoming = parse(
            octets,
            ANN,
            recipients=[(int(bob.id), BOB)],
            received=lab.server.clock.now(),
            route="internal",
            by=ann,
            outside=["out@elsewhere.example"],
            origin=Origin("192.0.2.1"),
        )
        accept(lab.server, [message], door="smtp")
        delivery.deliver(lab.server)
        assert {(part, event): number for (report, _, part, event), number in counted(lab).items()} == {
            ("outbound", "passed"): 2,
            ("outbound", "delivered"): 2,
        }
        assert counted(lab) == scanned(lab)


class TestWhatWasRefused:
    def test_it_is_told_and_counted_for_ever(self, lab: Lab) -> None:
        lab.refuse("eve@spam.example", "nobody@example.com")
        today = datetime.fromtimestamp(lab.server.clock.now() / 1000, UTC).date()
        window = {"start": today.isoformat(), "end": (today + timedelta(1)).isoformat()}
        told = []
        for _ in range(2):
            with asking(lab) as ask:
                ask.portal.clock.offset = lab.server.clock.offset
                rows = ask("/api/portal/reports/rejections", window).row["rows"]
                followed = ask("/api/portal/reports/traffic", {**window, "rows": True}).row["rows"]
                counted_ = sum(row[5] for row in ask("/api/portal/reports/traffic", window).row["rows"])
            told.append((len(rows), len(followed), counted_))
            lab.advance(days=10)
            keeping.sweep(lab.server)
        assert told == [(1, 1, 1), (1, 1, 1)]
        assert counted(lab) == scanned(lab)

    def test_sums_are_made_anew_from_all_of_it(self, lab: Lab) -> None:
        lab.refuse("eve@spam.example", "nobody@example.com")
        lab.advance(days=40)
        keeping.sweep(lab.server)
        before = counted(lab)
        configure(lab, 'time_zone = "UTC"', 'time_zone = "Etc/GMT+1"')
        with lab.server.write() as tx:
            counting.recount(lab.server, tx)
        assert sum(counted(lab).values()) == sum(before.values()) == 1

    def test_what_a_report_says_later_bounced_on_another_day(self, lab: Lab) -> None:
        """Delivered stays counted on its day; a day that is closed does not change."""
        lab.receive(mail_of(), reason=None)
        delivery.deliver(lab.server)
        lab.advance(days=1)
        now = lab.server.clock.now()
        with lab.server.write() as tx:
            row = tx.execute(select(outbox)).one()
            values = {"state": "failed", "finished": now, "delivered": row.finished}
            tx.execute(outbox.update().values(**values))
            counting.count_finished(lab.server, tx, [row.id], "bounced", now)
        events = {(day, event): number for (_, day, _, event), number in counted(lab).items() if event != "passed"}
        assert len(events) == 2
        assert counted(lab) == scanned(lab)


class TestAuditEvents:
    """Mimecast's get-audit-events and get-categories (mimecast-api-portal 6.4)."""

    EVENTS, CATEGORIES = "/api/audit/get-audit-events", "/api/audit/get-categories"

    def window(self, lab: Lab, **more: Any) -> dict[str, Any]:
        now = datetime.fromtimestamp(lab.server.clock.now() / 1000, UTC)
        ends = {"startDateTime": now - timedelta(days=1), "endDateTime": now + timedelta(minutes=1)}
        return {**{name: f"{when:%Y-%m-%dT%H:%M:%S+0000}" for name, when in ends.items()}, **more}

    def test_without_dates_both_are_missing(self, lab: Lab) -> None:
        with asking(lab) as ask:
            told = ask(self.EVENTS, {})
        fields = [error["field"] for entry in told.json["fail"] for error in entry["errors"]]
        assert fields == ["startDateTime", "endDateTime"]
        assert {code for code, _ in told.errors} == {"err_validation_null"}

    def test_by_category_and_query(self, lab: Lab) -> None:
        lab.receive(mail_of(subject="one"))
        lab.receive(mail_of(subject="two"))
        with asking(lab) as ask:
            codes = [row["code"] for row in ask(self.CATEGORIES).rows]
            assert codes[0] == "authentication_logs"
            held = ask(self.EVENTS, self.window(lab, categories=["held_message_logs"])).rows
            assert [row["auditType"] for row in held] == ["Arrive Held", "Arrive Held"]
            assert ask(self.EVENTS, self.window(lab, categories=["account_logs"])).rows == []
            (found,) = ask(self.EVENTS, self.window(lab, query='SUBJECT": "TWO')).rows
            assert "subject: two" in found["eventInfo"]
            assert ask(self.EVENTS, self.window(lab, categories=["no such"])).code == "err_validation_value_not_allowed"

    def test_sixty_days_and_no_more(self, lab: Lab) -> None:
        window = self.window(lab)
        window["startDateTime"] = "2020-01-01T00:00:00+0000"
        with asking(lab) as ask:
            told = ask(self.EVENTS, window)
        assert told.code == "err_validation_value_not_allowed"

    def test_pages(self, lab: Lab) -> None:
        for number in range(5):
            lab.receive(mail_of(subject=f"m{number}"))
        with asking(lab) as ask:
            first = ask(self.EVENTS, self.window(lab), size=3)
            second = ask(self.EVENTS, self.window(lab), token=first.page["next"])
        infos = [row["eventInfo"] for row in (*first.rows, *second.rows)]
        assert ["m4" in infos[0], "m0" in infos[4], len(infos)] == [True, True, 5]
        assert "next" not in second.page


BATCH, LOGS = "/siem/v1/batch/events/cg", "/api/audit/get-siem-logs"


def days_until_today(lab: Lab, days: int = 1) -> dict[str, str]:
    now = datetime.fromtimestamp(lab.server.clock.now() / 1000, UTC)
    return {"dateRangeStartsAt": f"{now - timedelta(days=days):%Y-%m-%d}", "dateRangeEndsAt": f"{now:%Y-%m-%d}"}


class TestSiem:
    """SIEM files and logs, as strangers fetch them (mimecast-api-portal 6.3)."""

    def listed(self, ask: Asking, lab: Lab, kind: str, **more: str) -> Any:
        told = ask.get(BATCH, {"type": kind, **days_until_today(lab), **more})
        assert told.status == 200, told
        return json.loads(told.octets)

    def events(self, ask: Asking, url: str) -> list[Any]:
        import gzip
        from urllib.parse import parse_qsl, urlsplit

        parts = urlsplit(url)
        told = ask.get(parts.path, dict(parse_qsl(parts.query)))
        assert told.headers["content-type"] == "application/octet-stream"
        return [json.loads(line) for line in gzip.decompress(told.octets).splitlines()]

    def test_files_by_their_urls(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        from mimeportal_server import siem

        monkeypatch.setattr(siem, "_FILE_EVENTS", 2)
        for number in range(5):
            lab.receive(mail_of(subject=f"m{number}"), reason=SPAM if number else None)
        delivery.deliver(lab.server)
        with asking(lab) as ask:
            first = self.listed(ask, lab, "process", pageSize="2")
            second = self.listed(ask, lab, "process", pageSize="2", nextPage=first["@nextPage"])
            again = self.listed(ask, lab, "process", pageSize="2", **{"@nextPage": first["@nextPage"]})
            files = [*first["value"], *second["value"]]
            events = [event for file in files for event in self.events(ask, file["url"])]
            (delivered,) = self.events(ask, self.listed(ask, lab, "delivery")["value"][0]["url"])
            empty = self.listed(ask, lab, "process", dateRangeEndsAt=days_until_today(lab)["dateRangeStartsAt"])
        assert (first["isCaughtUp"], second["isCaughtUp"]) == (False, True)
        assert [event["subject"] for event in events] == [f"m{number}" for number in range(5)]
        assert [event["action"] for event in events] == ["Acc", "Hld", "Hld", "Hld", "Hld"]
        assert {event["direction"] for event in events} == {"Inbound"}
        assert all(isinstance(event["timestamp"], int) and isinstance(event["emailSize"], str) for event in events)
        assert delivered["delivered"] == "true"
        assert [len(file["url"]) > 0 for file in again["value"]] == [True]
        assert empty == {"value": [], "isCaughtUp": True}

    def test_a_url_ends(self, lab: Lab) -> None:
        from urllib.parse import parse_qsl, urlsplit

        lab.receive(mail_of())
        with asking(lab) as ask:
            parts = urlsplit(self.listed(ask, lab, "receipt")["value"][0]["url"])
            query = dict(parse_qsl(parts.query))
            assert ask.get(parts.path, query, by="nobody@example.com").status == 200, "no log-in is wanted"
            assert ask.get(parts.path, {**query, "context": spoiled(query["context"])}).status == 404
            lab.time += limits.DOWNLOAD_SECONDS + 1
            assert ask.get(parts.path, query).status == 404

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ({"type": "receipt"}, 400),
            ({"type": "nothing", "dateRangeStartsAt": "2026-11-02", "dateRangeEndsAt": "2026-11-03"}, 200),
            ({"type": "receipt", "dateRangeStartsAt": "2020-11-02", "dateRangeEndsAt": "2020-11-03"}, 200),
            ({"type": "receipt", "dateRangeStartsAt": "soon", "dateRangeEndsAt": "2026-11-03"}, 200),
            ({"type": "receipt", "dateRangeStartsAt": "2026-11-02", "dateRangeEndsAt": "9999-12-31"}, 200),
            (
                {
                    "type": "receipt",
                    "dateRangeStartsAt": "2999-01-01",
                    "dateRangeEndsAt": "2999-01-01",
                    "pageSize": "-1",
                },
                200,
            ),
        ],
    )
    def test_what_cannot_be_asked(self, lab: Lab, query: dict[str, str], status: int) -> None:
        with asking(lab) as ask:
            told = ask.get(BATCH, query)
        assert told.status == status
        assert told.code.startswith("err_validation")

    def test_log_files_one_after_the_other(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        from mimeportal_server import siem

        monkeypatch.setattr(siem, "_FILE_EVENTS", 2)
        lab.receive(mail_of("a|b@elsewhere.example", "with | and\n newline"), reason=None)
        for number in range(2):
            lab.receive(mail_of(subject=f"m{number}"))
        delivery.deliver(lab.server)
        lines: list[tuple[str, str]] = []
        with asking(lab) as ask:
            token = ""
            while True:
                told: Told = ask(LOGS, {"type": "MTA", **({"token": token} if token else {})})
                if told.headers["content-type"] == "application/json":
                    assert told.json["meta"]["isLastToken"] is True
                    break
                name = told.headers["content-disposition"]
                lines += [
                    (name.partition('"')[2].partition("_")[0], line) for line in told.octets.decode().splitlines()
                ]
                token = told.headers["mc-siem-token"]
            assert ask(LOGS, {"token": spoiled(token)}).code == "err_audit_siem_invalid_token"
        assert Counter(kind for kind, _ in lines) == {"receipt": 3, "process": 3, "delivery": 1}
        for _, line in lines:
            assert line.count("|datetime=") == 0
            assert line.startswith("datetime=")
            assert "|Dir=Inbound" in line


def test_decisions_of_one_call_write_a_few_sums(lab: Lab) -> None:
    """However many holds they decide: the writing costs no decision its speed."""
    for number in range(6):
        lab.receive(mail_of(subject=f"m{number}"))
    with asking(lab) as ask:
        ids = [row["id"] for row in ask.held()]
        ask("/api/portal/holds/decide", *({"id": id, "decision": "release"} for id in ids))
    events = Counter(event for (report, _, _, event) in counted(lab) if report == "held")
    assert events == {"held": 1, "released": 1, "by_others": 1}
