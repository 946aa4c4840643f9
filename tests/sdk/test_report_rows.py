"""`portal.reports`: typed rows of a local portal, and the same numbers where only Mimecast's API may be asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, select

from conftest import ADMIN, ANN, BOB, SPAM, Lab, absent, mail_of
from mimeportal import errors, limits
from mimeportal.portal import Portal
from mimeportal.reports import charts, contract
from mimeportal.reports.client import Calendar, Days
from mimeportal_server import audit, delivery, people
from mimeportal_server.store.schema import largefile_downloads, largefile_files, largefile_recipients

ATTACHED = "Message Hold Applied - Attachment Type policy"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Of today: some held, one released by ann, one rejected, one delivered, one refused for a blocked sender."""
    lab = Lab(tmp_path_factory.mktemp("reports") / "home")
    lab.time = datetime.now(UTC).timestamp()
    for number in range(3):
        lab.receive(mail_of(f"s{number}@spam.example", f"spam {number}"))
    lab.receive(mail_of("x@files.example", "an exe"), reason=ATTACHED, to=BOB)
    lab.receive(mail_of("friend@good.example", "hello"), reason=None)
    ann, admin = lab.client(ANN), lab.client(ADMIN)
    ann.holds.release(list(ann.holds.list(subject="spam 0")))
    admin.holds.reject(list(admin.holds.list(queue="admin", subject="spam 1")), block="address")
    for portal in (ann, admin):
        portal.close()
    lab.receive(mail_of("s1@spam.example", "once more"), reason=None)
    delivery.deliver(lab.server)
    with lab.server.write() as tx:
        found = people.find(tx, ANN)
        assert found is not None
        for outcome in ("done", "failed"):
            act = audit.Act("log in", outcome, "person", int(found.id), {"address": ANN})
            audit.record(tx, [act], at=lab.server.clock.now(), caller=None, door="http")
    yield lab
    lab.server.close()


@pytest.fixture(params=["local", "api2", "api1"])
def portal(story: Lab, request: pytest.FixtureRequest) -> Iterator[Portal]:
    """The same home, by everything that it offers, or as one of Mimecast's APIs."""
    story.time = datetime.now(UTC).timestamp()
    portal = story.client(ADMIN, api=request.param)
    yield portal
    portal.close()


def total(rows: Any, *columns: str) -> dict[str, int]:
    found = list(rows)
    return {column: sum(getattr(row, column) or 0 for row in found) for column in columns}


class TestEverywhere:
    """What both worlds tell is the same; where Mimecast tells less, the column is empty or named below."""

    def test_traffic(self, portal: Portal) -> None:
        wanted = {"processed": 5, "held": 4, "rejected": 0, "delivered": 2, "bounced": 0}
        found = total(portal.reports.traffic(), *wanted, "blocked")
        if portal.session.api == "local":
            assert found == {**wanted, "processed": 6, "blocked": 1}
        else:
            assert found == {**wanted, "rejected": 1, "blocked": 0}, "whoever is blocked was refused"

    def test_held(self, portal: Portal) -> None:
        found = total(portal.reports.held(), "held", "released", "rejected", "expired", "by_recipient", "by_others")
        held = 4 if portal.session.api == "local" else 2  # Mimecast tells of what is held still
        assert found == {
            "held": held, "released": 1, "rejected": 1, "expired": 0, "by_recipient": 1, "by_others": 1
        }  # fmt: skip

    def test_releases(self, portal: Portal) -> None:
        first, second = portal.reports.releases()
        assert isinstance(first, contract.ReleaseRow)
        assert (first.status, first.operator, first.subject, first.held_reason) == ("released", ANN, "spam 0", SPAM)
        assert (second.status, second.operator, second.to_address) == ("rejected", ADMIN, ANN)
        assert isinstance(first.released, datetime)

    def test_rejections(self, portal: Portal) -> None:
        (row,) = portal.reports.rejections()
        assert (row.type, row.from_address, row.to_address) == ("sender_blocked", "s1@spam.example", ANN)

    def test_senders(self, portal: Portal) -> None:
        rows = {row.sender: row for row in portal.reports.senders()}
        assert (rows["s0@spam.example"].released, rows["s1@spam.example"].rejected) == (1, 1)
        assert rows["s1@spam.example"].blocked == (1 if portal.session.api == "local" else None)

    def test_logins(self, portal: Portal) -> None:
        (row,) = (row for row in portal.reports.logins() if row.door)
        assert (row.door, row.succeeded, row.failed) == ("http", 1, 1)

    def test_audit(self, portal: Portal) -> None:
        rows = list(portal.reports.audit())
        assert [row.time for row in rows] == sorted(row.time for row in rows if row.time)
        assert sum(row.category == "authentication_logs" for row in rows) == 2
        assert any("spam 0" in row.info and row.user == ANN for row in rows)

    def test_queues(self, portal: Portal) -> None:
        rows = list(portal.reports.queues(since=portal.reports.calendar().today))
        assert len(rows) in (46, 48, 50)
        assert {row.direction for row in rows} == {"inbound", "outbound"}

    def test_every_day_is_told(self, portal: Portal) -> None:
        today = portal.reports.calendar().today
        for rows in (
            portal.reports.traffic(since=today - timedelta(3)),
            portal.reports.held(since=today - timedelta(3)),
        ):
            assert {row.day for row in rows} == {today - timedelta(back) for back in range(4)}

    def test_it_is_for_administrators(self, story: Lab, portal: Portal) -> None:
        theirs = story.client(ANN, api=portal.session.api)
        with pytest.raises(errors.ForbiddenError):
            list(theirs.reports.audit())
        theirs.close()

    def test_what_is_offered(self, portal: Portal) -> None:
        lacking = {"secure-messages", "largefiles"} if portal.session.api != "local" else set()
        assert portal.reports.offered() == [name for name in contract.REPORTS if name not in lacking]
        for name in lacking:
            with pytest.raises(errors.NotOfferedError):
                getattr(portal.reports, name.replace("-", "_"))()


class TestOfALocalPortal:
    def test_rows_behind_the_numbers(self, story: Lab) -> None:
        portal = story.client(ADMIN)
        today = portal.reports.calendar().today
        rows = list(portal.reports.rows("held", since=today, until=today + timedelta(1)))
        assert [row.event for row in rows] == ["held"] * 4 + ["released", "rejected"]
        assert isinstance(rows[0].at, datetime)
        with pytest.raises(errors.UsageError):
            portal.reports.rows("releases")
        portal.close()

    def test_pages_are_fetched_while_they_are_iterated(self, story: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "REPORT_ROWS", 2)
        portal = story.client(ADMIN)
        whole = list(portal.reports.audit())
        assert len(whole) > 8
        assert portal.reports.audit().first(3) == whole[:3]
        assert [len(page.rows) for page in portal.reports.audit().pages()][:2] == [2, 2]
        portal.close()

    def test_columns_that_a_later_portal_adds_or_lacks(self, story: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another order, more of them: ours are found by their names."""
        from mimeportal_server import reports

        told = {"columns": ["new", "failed", "door", "day"], "rows": [[1, 2, "http", "2026-11-03"]]}
        monkeypatch.setitem(reports.OPERATIONS, "reports.logins", lambda *_: reports.Answer([told]))
        portal = story.client(ADMIN)
        (row,) = portal.reports.logins()
        assert (row.day, row.door, row.succeeded, row.failed) == (date(2026, 11, 3), "http", 0, 2)
        told["rows"] = [[1, "many", "http", "2026-11-03"]]
        with pytest.raises(errors.ApiError, match="form that is not known"):
            list(portal.reports.logins())
        portal.close()

    def test_a_zone_of_one_s_own(self, story: Lab) -> None:
        portal = story.client(ADMIN)
        with pytest.raises(errors.UsageError, match="counts days in UTC"):
            portal.reports.calendar("Europe/Berlin")
        portal.close()

    def test_on_mimecast_the_zone_is_free(self, story: Lab) -> None:
        portal = story.client(ADMIN, api="api2")
        today = portal.reports.calendar("Pacific/Kiritimati")
        assert today.zone_name == "Pacific/Kiritimati"
        assert today.today == datetime.now(ZoneInfo("Pacific/Kiritimati")).date()
        portal.close()


class TestSecureMessages:
    """The report of the guide: number and direction of secure messages per day (portal-rules G.1, G.5)."""

    def test_numbers_and_their_rows(self, lab: Lab) -> None:
        carl, dora = "carl@elsewhere.example", "dora@other.example"
        ann = lab.client(ANN)
        ann.secure.send(to=[carl], subject="one", body="Hello.", cc=[dora])
        sent = ann.secure.send(to=[carl], subject="two", body="Hello.")
        ann.close()
        lab.advance(days=1)
        outside = lab.client(carl)
        (first,) = (row for row in outside.secure.list() if row.subject == "one")
        outside.secure.get(first.id)
        outside.close()
        ann = lab.client(ANN)
        ann.secure.recall([sent.id])
        ann.close()
        portal = lab.client(ADMIN)
        today = portal.reports.calendar().today
        rows = list(portal.reports.secure_messages(since=today - timedelta(2)))
        told = {(row.day, row.direction): (row.processed, row.delivered, row.read, row.recalled) for row in rows}
        assert len(rows) == 3 * 3, "zero days and directions too"
        assert told[today - timedelta(1), "outbound"] == (2, 3, 0, 0)
        assert told[today, "outbound"] == (0, 0, 1, 1)
        assert sum(map(sum, told.values())) == 7
        followed = list(portal.reports.rows("secure-messages", since=today - timedelta(2), until=today + timedelta(1)))
        assert [(row.event, row.to_address, row.actor) for row in followed] == [
            ("processed", "", ""),
            ("processed", "", ""),
            ("delivered", carl, ""),
            ("delivered", dora, ""),
            ("delivered", carl, ""),
            ("read", carl, carl),
            ("recalled", "", ANN),
        ]
        chart = charts.chart("secure-messages", rows, portal.reports.calendar())
        assert (chart.total, chart.counted, chart.below) == (2, "processed", "delivered")
        assert chart.numbers == (0, 3, 0)
        portal.close()


class TestLargeFiles:
    def test_numbers_and_their_rows(self, lab: Lab, tmp_path: Path) -> None:
        path = tmp_path / "plans.bin"
        path.write_bytes(b"x" * 5_000)
        ann = lab.client(ANN)
        sent = ann.largefiles.send([path], to=["out@elsewhere.example"], subject="Plans", expire_after=1)
        ann.largefiles.send([path], to=["out@elsewhere.example"], subject="More", expire_after=7)
        ann.close()
        portal = lab.client(ADMIN)
        with lab.server.write() as tx:
            file = tx.scalar(select(largefile_files.c.id).where(largefile_files.c.size == 5_000).limit(1))
            recipient = tx.scalar(select(largefile_recipients.c.id).limit(1))
            now = lab.server.clock.now()
            done = {"file_id": file, "recipient_id": recipient, "begun": now, "covered": "[]", "completed": now}
            tx.execute(insert(largefile_downloads), done)
        today = portal.reports.calendar().today
        rows = {row.day: row for row in portal.reports.largefiles(since=today, until=today + timedelta(8))}
        assert (rows[today].sent, rows[today].bytes, rows[today].downloaded) == (2, 10_000, 1)
        assert sent.expires is not None
        assert {row.day for row in rows.values() if row.expiring} == {today + timedelta(1), today + timedelta(7)}
        followed = list(portal.reports.rows("largefiles", since=today, until=today + timedelta(1)))
        assert [(row.event, row.actor) for row in followed] == [
            ("sent", ""), ("sent", ""), ("downloaded", "out@elsewhere.example")
        ]  # fmt: skip
        portal.close()


NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)


class TestDays:
    """Which days a time is: that of `since`, and every day that begins before `until`."""

    today = Calendar(UTC, "UTC", NOON, NOON.date(), NOON.date())

    @pytest.mark.parametrize(
        ("since", "until", "days"),
        [
            (None, None, ("2026-10-27", "2026-11-04")),
            (date(2026, 11, 1), None, ("2026-11-01", "2026-11-04")),
            (date(2026, 11, 1), date(2026, 11, 2), ("2026-11-01", "2026-11-02")),
            (datetime(2026, 11, 1, 23, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC), ("2026-11-01", "2026-11-02")),
            (datetime(2026, 11, 1, 23, tzinfo=UTC), datetime(2026, 11, 2, 1, tzinfo=UTC), ("2026-11-01", "2026-11-03")),
        ],
    )
    def test_of_a_time(self, since: Any, until: Any, days: tuple[str, str]) -> None:
        found = self.today.days(since, until)
        assert (found.start.isoformat(), found.end.isoformat()) == days

    @pytest.mark.parametrize(
        ("since", "until"),
        [
            (date(2026, 11, 3), date(2026, 11, 3)),
            (date(2026, 11, 3), date(2026, 11, 2)),
            (date(1999, 11, 3), None),
            (datetime(2026, 11, 3), None),  # noqa: DTZ001
            ("2026-11-03", None),
            (date.min, date(1, 1, 3)),
            (date(9999, 1, 1), date.max),
            (datetime.max.replace(tzinfo=UTC) - timedelta(1), datetime.max.replace(tzinfo=UTC)),
            (datetime(9998, 12, 31, 1, tzinfo=UTC), datetime(9999, 1, 1, 1, tzinfo=UTC)),
        ],
    )
    def test_what_is_no_time(self, since: Any, until: Any) -> None:
        with pytest.raises(errors.UsageError):
            self.today.days(since, until)

    def test_days_of_a_zone_begin_at_its_midnight(self) -> None:
        havana = ZoneInfo("America/Havana")  # clocks are set at midnight there: the day begins at one
        days = Days(date(2026, 3, 8), date(2026, 3, 9), havana)
        assert (days.since, days.until) == (datetime(2026, 3, 8, 5, tzinfo=UTC), datetime(2026, 3, 9, 4, tzinfo=UTC))


def test_rows_go_to_pandas_and_polars(story: Lab) -> None:
    """The lines that docs/reports.md has for it."""
    try:
        pandas, polars = import_module("pandas"), import_module("polars")
    except ImportError as fault:
        absent(str(fault.name))
    portal = story.client(ADMIN)
    frame = pandas.DataFrame(row.model_dump() for row in portal.reports.held())
    assert frame["held"].sum() == 4
    assert polars.DataFrame([row.model_dump() for row in portal.reports.held()])["held"].sum() == 4
    portal.close()
