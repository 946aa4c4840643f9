"""`mimeportal reports`: shown, drawn, and exported to files that are whole or not there."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import ESCAPES, Run, Served, message
from conftest import ADMIN, ANN, Lab
from mimeportal.reports import contract, exporting, files, placing
from mimeportal.untrusted import uncell
from mimeportal_server import delivery, keeping
from mimeportal_server.portal import set_fact

HOSTILE = '=HYPERLINK("http://evil.example")'
NAMES = ("traffic", "held", "releases", "rejections", "senders", "logins", "audit")


def fill(lab: Lab) -> None:
    """Ten days ago three were held; one was released, one rejected two days later; the third is still there."""
    with lab.server.database.write() as tx:
        set_fact(tx, "lab", "1")
    lab.server.lab = True
    start = lab.server.clock.offset
    lab.server.set_offset(start - 10 * 86_400_000)
    lab.receive(message("Eve <=1+1@evil.example>", HOSTILE), envelope_from="=1+1@evil.example")
    lab.receive(message("Shop <offers@shop.example>", "Offer \x1b[31m"), envelope_from="offers@shop.example")
    lab.receive(message("News <news@press.example>", "Headlines"), envelope_from="news@press.example")
    lab.server.set_offset(start - 8 * 86_400_000)
    portal = lab.client(ADMIN)
    portal.holds.release(list(portal.holds.list(queue="admin", from_="evil.example")))
    portal.holds.reject(list(portal.holds.list(queue="admin", from_="shop.example")))
    portal.close()
    lab.server.set_offset(start)
    delivery.deliver(lab.server)
    keeping.sweep(lab.server)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = Lab(tmp_path_factory.mktemp("counted") / "home")
    fill(lab)
    lab.server.close()
    return lab.path


@pytest.fixture
def home(counted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "home"
    shutil.copytree(counted, path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIMEPORTAL_URL", f"local:{path}")
    monkeypatch.setenv("MIMEPORTAL_USER", ADMIN)
    return path


def day(back: int) -> str:
    return (datetime.now(UTC).date() - timedelta(back)).isoformat()


def at(home: Path, days: int) -> None:
    """So many days from now."""
    from mimeportal_server.home import Home
    from mimeportal_server.portal import Portal

    portal = Portal(Home.open(home))
    portal.set_offset(days * 86_400_000)
    portal.close()


class TestShow:
    def test_held_per_day_and_reason(self, run: Run, home: Path) -> None:
        done = run("reports", "show", "held", "--since", "12d", "-o", "csv")
        rows = {row["day"]: row for row in csv.DictReader(done.lines)}
        assert len(rows) == 13, "today too, and days without any"
        assert (rows[day(10)]["held"], rows[day(8)]["released"], rows[day(8)]["rejected"]) == ("3", "1", "1")
        assert list(rows[day(0)])[:6] == ["day", "reason", "held", "released", "rejected", "expired"]
        assert done.err == f"days {day(12)} to {day(0)} (UTC)\n"

    def test_headings_give_way_to_what_stands_below(self, on_terminal: Run, home: Path) -> None:
        done = on_terminal("reports", "show", "held", "--day", day(8), "--no-color")
        _, title, row = done.out.splitlines()
        assert len(title) == 100
        assert title.endswith("SECONDS TO D…")
        assert row.startswith(day(8))
        assert row.endswith("172800")

    def test_on_a_terminal(self, on_terminal: Run, home: Path) -> None:
        done = on_terminal("reports", "show", "held", "--day", day(8))
        lines = [line.split() for line in ESCAPES.sub("", done.out).splitlines()]
        assert lines[0] == ["day", day(8), "(UTC)"]
        assert lines[1][:6] == ["DAY", "REASON", "HELD", "RELEASED", "REJECTED", "EXPIRED"]
        assert lines[2][:1] == [day(8)]
        assert lines[2][-6:] == ["1", "1", "0", "0", "2", "172800"]

    def test_a_number_is_followed_to_its_rows(self, run: Run, home: Path) -> None:
        done = run("reports", "show", "held", "--day", day(8), "--rows", "-o", "jsonl")
        rows = [json.loads(line) for line in done.lines]
        assert [(row["event"], row["actor"], row["seconds"]) for row in rows] == [
            ("released", ADMIN, 172_800),
            ("rejected", ADMIN, 172_800),
        ]
        assert rows[0]["subject"] == HOSTILE
        narrow = run("reports", "show", "held", "--day", day(8), "--rows", "--columns", "event,subject")
        assert narrow.lines[0] == f"released\t{HOSTILE}"

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "tsv"])
    def test_every_report_in_every_format(self, run: Run, home: Path, name: str, form: str) -> None:
        done = run("reports", "show", name, "--since", "12d", "-o", form)
        assert done.code == 0
        assert "\x1b" not in done.out
        if form == "csv":
            assert not any(cell.startswith("=") for row in csv.reader(done.lines) for cell in row)

    def test_the_list(self, run: Run, home: Path) -> None:
        lines = [line.split("\t") for line in run("reports", "list").lines]
        assert [line[0] for line in lines][:3] == ["secure-messages", "traffic", "held"]
        assert {line[-1] for line in lines} == {"true"}

    def test_days_by_the_portal_s_own_time(self, run: Run, home: Path) -> None:
        """`--since` looks back from the portal's now, which a lab may have set."""
        at(home, 20)
        done = run("reports", "show", "held", "--since", "1d", "--columns", "day")
        assert done.lines == [day(-19), day(-20)]

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("--day", "today", "--since", "7d"), "--day names one day"),
            (("--since", "+7d"), "looks back"),
            (("--since", "today", "--until", "yesterday"), "end of the time lies before its start"),
            (("--since", "1990-01-01"), "at most 3,700 days"),
            (("--day", "0001-01-02"), "no reports of 0001-01-02"),
            (("--day", "9999-01-01"), "no reports of 9999-01-02"),
            (("--until", "9999-12-30"), "no reports of 9999-12-30"),
            (("--since", "0001-12-31"), "no reports of 0001-12-31"),
            (("--since", "9998-12-31", "--until", "9999-01-02"), "no reports of 9999-01-02"),
            (("--day", "9999-12-31"), "Not a time"),
            (("--day", "0001-01-01"), "Not a time"),
            (("--rows", "--chart", "a.png"), "no numbers to draw"),
            (("--chart", "a.jpg"), "no format of a chart"),
            (("--columns", "what"), "There is no column"),
            (("--rows", "--columns", "held"), "There is no column"),
            (("--tz", "Europe/Berlin"), "counts days in UTC"),
        ],
    )
    def test_misuse(self, run: Run, home: Path, arguments: tuple[str, ...], told: str) -> None:
        done = run("reports", "show", "held", *arguments)
        assert (done.code, done.out) == (2, "")
        assert told in done.err
        assert len(done.err.rstrip("\n").split("\n")) >= 3

    @pytest.mark.parametrize("name", ["0002-01-01", "9998-12-31"])
    def test_the_first_and_the_last_day(self, run: Run, home: Path, name: str) -> None:
        done = run("reports", "show", "logins", "--day", name)
        assert (done.code, done.out) == (0, f"{name}\t\t0\t0\n")

    def test_it_is_for_administrators(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_USER", ANN)
        done = run("reports", "show", "held")
        assert (done.code, done.out) == (4, "")


class TestCharts:
    @pytest.mark.parametrize("name", ["traffic", "held", "senders", "logins"])
    @pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("html", b"<!DOCTYPE html>")])
    def test_files(self, run: Run, home: Path, tmp_path: Path, name: str, kind: str, start: bytes) -> None:
        paths = [tmp_path / f"{number}.{kind}" for number in (1, 2)]
        for path in paths:
            done = run("reports", "show", name, "--since", "12d", "--chart", str(path))
            assert (done.code, done.out) == (0, ""), done.err
        first, second = (path.read_bytes() for path in paths)
        assert first.startswith(start)
        assert first == second, "equal numbers make an equal picture"

    def test_the_total_is_on_top_and_the_numbers_below(self, run: Run, home: Path, tmp_path: Path) -> None:
        path = tmp_path / "held.svg"
        run("reports", "show", "held", "--since", "12d", "--chart", str(path))
        text = path.read_text()
        assert "Held messages per day: 3 held in all" in text
        assert f"{day(10)}   3" in text

    def test_weeks_are_called_weeks_and_days_days(self, run: Run, home: Path) -> None:
        """More than 35 days are drawn by week, and the table below has each of them."""
        for since, weekly in (("35d", True), ("34d", False)):
            run("reports", "page", "held", "--since", since, "-w", "page.html")
            picture, table = Path("page.html").read_text().split("</figure>")
            days = int(since[:-1]) + 1
            span = f"{day(days - 1)} to {day(0)} (UTC)"
            assert f"<caption>{span}</caption>" in table
            assert table.count("<tr><td>") == days, "one reason a day"
            assert ("a week" in picture) is weekly
            bars = [picture.count(f"{day(back)}   ") for back in range(days + 7)]
            assert (sum(map(bool, bars)) <= 7) is weekly
        chart = run("reports", "show", "held", "--since", "35d", "--chart", "-").out.splitlines()
        assert chart[1] == f"{day(35)} to {day(0)} (UTC), each bar a week from Monday on"

    def test_a_page_needs_nothing_else(self, run: Run, home: Path, tmp_path: Path) -> None:
        path = tmp_path / "senders.html"
        run("reports", "show", "senders", "--since", "12d", "--chart", str(path))
        text = path.read_text()
        assert "default-src 'none'" in text
        assert 'role="img" aria-labelledby=' in text
        assert '<th scope="col">sender</th>' in text
        assert "<script" not in text
        assert "src=" not in text
        assert "\x1b" not in text

    def test_on_a_terminal(self, on_terminal: Run, home: Path) -> None:
        done = on_terminal("reports", "show", "held", "--since", "12d", "--chart", "-")
        lines = ESCAPES.sub("", done.out).splitlines()
        assert "Held messages per day: 3 held in all" in lines
        (bar,) = (line for line in lines if line.startswith(day(10)))
        assert bar.endswith("█ 3")
        assert all(len(line) <= 100 for line in lines)

    def test_several_on_one_page(self, run: Run, home: Path) -> None:
        names = ("traffic", "held", "senders", "logins")
        done = run("reports", "page", *names, "--since", "12d", "-w", "page.html", "--title", "<November>")
        assert done.code == 0
        text = Path("page.html").read_text()
        assert text.count("<figure>") == text.count("<table>") == text.count('role="img"') == 4
        assert "<h1>&lt;November&gt;</h1>" in text
        ids = [part.partition('"')[0] for part in text.split(' id="')[1:]]
        assert len(ids) == len(set(ids)), "nothing on the page has the name of another"
        assert "@media print" in text
        assert 'name="viewport"' in text
        assert run("reports", "page", "held", "--since", "12d", "-w", "-").out.startswith("<!DOCTYPE html>")

    def test_a_log_is_no_picture(self, run: Run, home: Path) -> None:
        done = run("reports", "page", "held", "audit", "-w", "page.html")
        assert done.code == 2
        assert "The report audit has no numbers to draw" in done.err
        assert not Path("page.html").exists()

    def test_without_what_draws(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import sys

        monkeypatch.setitem(sys.modules, "matplotlib", None)
        done = run("reports", "show", "held", "--chart", "a.png")
        assert done.code == 2
        assert "pip install 'mimeportal[charts]'" in done.err
        assert not Path("a.png").exists()


FULL = """
import resource, sys, zipfile
from pathlib import Path
from mimeportal.reports import contract, files
form, when = sys.argv[1:]
def full():
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
if when == "late":  # not for what a workbook lays down on the way, but for itself
    zip = zipfile.ZipFile.write
    zipfile.ZipFile.write = lambda *given: (full(), zip(*given))
rows = [["2026-11-03", f"door {number}", number, number * 7919 % 104729] for number in range(20_000)]
def batches():
    yield rows[:1]
    if when == "early":
        full()
    yield rows
try:
    files.FORMS[form](Path(f"day.{form}"), contract.LoginRow, "logins", batches())
except OSError as fault:
    print("OSError", end="")
"""


def export(run: Run, *arguments: str, names: tuple[str, ...] = ("held", "releases"), folder: str = "out") -> Any:
    return run("reports", "export", *names, "--dir", folder, *arguments)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestExport:
    def test_one_file_for_each_day(self, run: Run, home: Path) -> None:
        done = export(run, "--since", "12d")
        names = [f"{day(back)}.csv" for back in range(12, 0, -1)]
        closed = names if f"out/held/{names[-1]}" in done.lines else names[:-1]  # within two hours of midnight
        assert done.lines == [f"out/{report}/{name}" for report in ("held", "releases") for name in closed]
        rows = list(csv.DictReader(Path(f"out/releases/{day(8)}.csv").read_text().splitlines()))
        assert [row["status"] for row in rows] == ["released", "rejected"]
        assert rows[0]["subject"] == "'" + HOSTILE
        assert uncell(rows[0]["subject"]) == HOSTILE
        assert rows[1]["subject"] == r"Offer \x1b[31m"
        assert done.last == f"{2 * len(closed)} files written ({len(closed) + 2} rows), 0 were there."

    def test_the_manifest_counts_and_digests(self, run: Run, home: Path) -> None:
        export(run, "--since", "12d")
        for report in ("held", "releases"):
            manifest = json.loads(Path(f"out/{report}/manifest.json").read_text())
            assert manifest["time_zone"] == "UTC"
            for noted in manifest["days"]["csv"].values():
                octets = Path(f"out/{report}/{noted['file']}").read_bytes()
                assert noted["sha256"] == hashlib.sha256(octets).hexdigest()
                assert noted["rows"] == len(octets.splitlines()) - 1

    @pytest.mark.parametrize("form", exporting.FORMATS)
    def test_one_range_twice_is_equal(self, run: Run, home: Path, form: str) -> None:
        for folder in ("a", "b"):
            done = export(run, "--since", "12d", "--until", day(5), "--format", form, names=NAMES, folder=folder)
            assert done.code == 0, "a local portal keeps every day"
        assert contents(Path("a")) == contents(Path("b"))
        assert len(contents(Path("a"))) == 1 + len(NAMES) * (7 + 1), "a manifest each"

    def test_last_takes_seven_days_and_then_what_is_new(self, run: Run, home: Path) -> None:
        assert len(export(run, "--since", "last").lines) == 14
        before = contents(Path("out"))
        again = export(run, "--since", "last")
        assert (again.code, again.out) == (0, "")
        assert contents(Path("out")) == before

    def test_it_catches_up_after_days_off(self, run: Run, home: Path) -> None:
        first = export(run, "--since", "last", names=("held",)).lines
        at(home, 4)
        later = export(run, "--since", "last", names=("held",)).lines
        assert len(later) == 4
        both = [date.fromisoformat(Path(line).stem) for line in (*first, *later)]
        assert both == [both[0] + timedelta(number) for number in range(11)]

    def test_an_explicit_range_begins_no_series(self, run: Run, home: Path) -> None:
        """Somebody who fetched one day of long ago does not get all days since by the next `last`."""
        assert export(run, "--since", "40d", "--until", day(39), names=("held",)).lines
        assert not Path("out/held/watermark.json").exists()
        names = [Path(line).stem for line in export(run, "--since", "last", names=("held",)).lines]
        assert len(names) == 7
        assert names[0] in (day(7), day(8)), "of the days that are closed"

    def test_an_explicit_range_moves_a_mark_that_it_has_come_to(self, run: Run, home: Path) -> None:
        mark = Path("out/held/watermark.json")
        for since, until, after in ((12, 10, 10), (6, 4, 10), (10, 6, 4)):
            if not mark.exists():
                mark.parent.mkdir(parents=True)
                mark.write_text(json.dumps({"csv": day(12)}))
            export(run, "--since", day(since), "--until", day(until), names=("held",))
            assert json.loads(mark.read_text()) == {"csv": day(after)}

    def test_a_gap_is_caught_up(self, run: Run, home: Path) -> None:
        export(run, "--since", "last", "--until", day(6), names=("held",))
        export(run, "--since", "4d", "--until", day(3), names=("held",))
        done = export(run, "--since", "last", names=("held",))
        names = [Path(line).stem for line in done.lines]
        assert names[:3] == [day(back) for back in (6, 5, 3)]
        assert ", 1 were there" in done.last

    def test_each_format_has_a_mark_of_its_own(self, run: Run, home: Path) -> None:
        export(run, "--since", "last", names=("held",))
        export(run, "--since", "last", "--until", day(5), "--format", "json", names=("held",))
        marks = json.loads(Path("out/held/watermark.json").read_text())
        assert (marks["json"], marks["csv"]) == (day(5), max(marks.values()))

    def test_today_is_open_and_fetched_again(self, run: Run, home: Path) -> None:
        done = export(run, "--since", "last", "--include-today", names=("held",))
        assert f"out/held/{day(0)}.csv" in done.lines
        noted = json.loads(Path("out/held/manifest.json").read_text())["days"]["csv"][day(0)]
        assert noted["open"] is True
        assert "of days that are not closed" in done.last
        assert f"out/held/{day(0)}.csv" in export(run, "--since", "1d", "--include-today", names=("held",)).lines
        at(home, 2)
        assert f"out/held/{day(0)}.csv" in export(run, "--since", "last", names=("held",)).lines
        assert "open" not in json.loads(Path("out/held/manifest.json").read_text())["days"]["csv"][day(0)]

    def test_days_that_a_clock_ran_ahead_to_are_fetched_again(self, run: Run, home: Path) -> None:
        """They were empty when they were written, and are not for ever."""
        at(home, 5)
        early = {Path(line).stem for line in export(run, "--since", "last", names=("held",)).lines}
        assert day(-1) in early
        at(home, 0)
        mark = json.loads(Path("out/held/watermark.json").read_text())
        assert mark["csv"] > day(0)
        assert export(run, "--since", "last", names=("held",)).lines == []
        noted = json.loads(Path("out/held/manifest.json").read_text())["days"]["csv"]
        assert {name for name, what in noted.items() if what.get("open")} >= {day(0), day(-1), day(-2)}
        at(home, 3)
        again = {Path(line).stem for line in export(run, "--since", "last", names=("held",)).lines}
        assert {day(0), day(-1)} <= again
        assert day(2) not in again, "it was over"

    def test_refresh_and_files_that_are_gone(self, run: Run, home: Path) -> None:
        since = ("--since", day(9), "--until", day(7))
        export(run, *since, names=("held",))
        assert export(run, *since, names=("held",)).lines == []
        Path(f"out/held/{day(8)}.csv").unlink()
        assert export(run, *since, names=("held",)).lines == [f"out/held/{day(8)}.csv"]
        assert len(export(run, *since, "--refresh", names=("held",)).lines) == 2

    def test_one_at_a_time(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(placing, "_LOCK_SECONDS", 0.1)
        Path("out").mkdir()
        with Path("out/export.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = export(run, "--since", "last")
        assert (done.code, done.out) == (6, "")
        assert "Another export is writing" in done.err

    def test_a_source_that_is_away(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """6: cron may try again; the next run completes what this one left."""
        from mimeportal.errors import UnavailableError
        from mimeportal.reports.client import ReportsClient

        whole = ReportsClient.batches

        def away(self: ReportsClient, name: str, window: Any) -> Any:
            if window.start.isoformat() == day(8):
                raise UnavailableError("The portal is away.")
            return whole(self, name, window)

        since = ("--since", day(10), "--until", day(6))
        with monkeypatch.context() as patch:
            patch.setattr(ReportsClient, "batches", away)
            done = export(run, *since)
        assert done.code == 6
        assert done.lines == [f"out/held/{day(back)}.csv" for back in (10, 9)]
        assert "held: not exported, or not to its end." in done.err
        assert not list(Path("out").rglob(".*"))
        done = export(run, *since)
        assert done.code == 0
        assert len(done.lines) == 2 + 4

    def test_what_one_report_cannot_does_not_stop_the_others(self, run: Run, served: Served, monkeypatch: Any) -> None:
        for name, value in {"MIMEPORTAL_URL": served.url, **served.app2, "MIMEPORTAL_API": "api2"}.items():
            monkeypatch.setenv(name, value)
        from mimeportal.errors import ApiError
        from mimeportal.reports import from_portal

        def broken(*_: Any) -> Any:
            raise ApiError("It answered no.", code="err_no")

        monkeypatch.setitem(from_portal._COMPUTED, "senders", broken)
        done = export(run, "--since", "2d", names=("senders", "releases"))
        assert done.code == 3
        assert "It answered no." in done.err
        assert all(line.startswith("out/releases/") for line in done.lines)
        assert done.lines
        assert export(run, "--since", "2d", names=("senders",)).code == 1

    def test_days_that_mimecast_does_not_keep(self, run: Run, served: Served, monkeypatch: Any) -> None:
        for name, value in {"MIMEPORTAL_URL": served.url, **served.app2, "MIMEPORTAL_API": "api2"}.items():
            monkeypatch.setenv(name, value)
        done = export(run, "--since", "10d", "--until", day(5), names=("traffic",))
        assert done.code == 3
        absent = [day(back) for back in (10, 9, 8)]
        assert all(f"traffic {name}: absent. Mimecast keeps SIEM events for 7 days." in done.err for name in absent)
        noted = json.loads(Path("out/traffic/manifest.json").read_text())["days"]["csv"]
        assert [name for name, what in noted.items() if "absent" in what][:3] == absent
        assert not any(Path(f"out/traffic/{name}.csv").exists() for name in absent)

    def test_over_http_the_files_are_the_same(
        self, run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from mimeportal_server import apps
        from mimeportal_server.serving import Server

        export(run, "--since", "12d", "--until", day(5), names=NAMES, folder="embedded")
        with Server(home, http=("127.0.0.1", 0)) as server:
            with server.portal.write() as tx:
                _, app = apps.add(server.portal, tx, "cron", role="administrator", scopes=(), content_view=True)
            monkeypatch.delenv("MIMEPORTAL_USER")
            monkeypatch.setenv("MIMEPORTAL_URL", server.http_url)
            monkeypatch.setenv("MIMEPORTAL_CLIENT_ID", app.client_id)
            monkeypatch.setenv("MIMEPORTAL_CLIENT_SECRET", app.client_secret)
            assert export(run, "--since", "12d", "--until", day(5), names=NAMES, folder="http").code == 0
        assert contents(Path("embedded")) == contents(Path("http"))

    def test_a_profile_has_a_folder_of_its_own(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MIMEPORTAL_URL")
        monkeypatch.delenv("MIMEPORTAL_USER")
        run("profiles", "set", "office", "--url", f"local:{home}", "--user", ADMIN)
        done = export(run, "--since", "3d", "-P", "office")
        assert done.lines[0].startswith("out/office/held/")

    def test_another_account_s_folder_is_refused(self, run: Run, home: Path, tmp_path: Path) -> None:
        export(run, "--since", "3d", names=("held",))
        manifest = Path("out/held/manifest.json")
        manifest.write_text(manifest.read_text().replace("LOCAL-", "OTHER-"))
        done = export(run, "--since", "last", names=("held",))
        assert done.code == 2
        assert "Export into another folder." in done.err

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("--since", "soon"), "Not a time"),
            (("--since", "last", "--format", "doc"), "doc"),
            (("--since", "2026-11-03", "--until", "2026-11-03"), "until"),
            (("--since", "0001-01-02"), "no reports of 0001-01-02"),
            (("--since", "9999-12-30"), "no reports of 9999-12-30"),
            (("--since", "last", "--until", "9999-12-30"), "no reports of 9999-12-30"),
            (("--since", "last", "--dir", ""), "--dir"),
        ],
    )
    def test_misuse(self, run: Run, home: Path, arguments: tuple[str, ...], told: str) -> None:
        done = export(run, *arguments)
        assert done.code == 2
        assert told in done.err
        assert not Path("out").exists()

    def test_a_report_that_there_is_none_of(self, run: Run, home: Path) -> None:
        done = export(run, "--since", "last", names=("held", "weather"))
        assert done.code == 2
        assert "There is no report 'weather'" in done.err
        assert not Path("out").exists()

    def test_a_folder_that_is_a_file(self, run: Run, home: Path) -> None:
        Path("out").write_text("")
        assert export(run, "--since", "last").code == 2

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("manifest", "{"),
            ("manifest", "[]"),
            ("manifest", '{"version": 99}'),
            ("manifest", '{"days": []}'),
            ("manifest", '{"days": {"csv": {"2026-11-03": 5}}}'),
            ("manifest", '{"days": {"csv": {"2026-11-03": {"file": "../x", "rows": 1}}}}'),
            ("watermark", '{"csv": "soon"}'),
            ("watermark", '{"csv": 5}'),
        ],
    )
    def test_a_file_of_its_own_that_is_none(self, run: Run, home: Path, name: str, content: str) -> None:
        Path("out/held").mkdir(parents=True)
        Path(f"out/held/{name}.json").write_text(content)
        done = export(run, "--since", "last", names=("held",))
        assert done.code == 2
        assert f"out/held/{name}.json" in done.err
        assert Path(f"out/held/{name}.json").read_text() == content
        assert export(run, "--since", "last", names=("held", "traffic")).code == 3

    @pytest.mark.parametrize("form", ["csv", "xlsx", "parquet"])
    def test_a_disk_that_is_full(self, run: Run, home: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(path: Path) -> None:
            if "held" in str(path):
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(placing, "sync", full)
        done = export(run, "--since", "2d", "--format", form, names=("held", "traffic"))
        assert done.code == 3
        assert "out/held cannot be written to: No space left on device." in done.err
        assert {line.split("/")[1] for line in done.lines} == {"traffic"}
        assert not list(Path("out/held").iterdir())
        monkeypatch.undo()

    @pytest.mark.parametrize(("form", "when"), [*((form, "early") for form in exporting.FORMATS), ("xlsx", "late")])
    def test_a_disk_that_is_full_in_the_middle_of_a_file(self, form: str, when: str, tmp_path: Path) -> None:
        """An `OSError`, in silence: neither words of a library on stderr nor a file of its own that stays."""
        done = subprocess.run(
            [sys.executable, "-c", FULL, form, when], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert (done.stdout, done.stderr) == ("OSError", "")
        assert [path.name for path in tmp_path.iterdir()] == [f"day.{form}"]

    def test_what_a_kill_leaves_of_a_workbook(self, run: Run, home: Path) -> None:
        left = Path(f"out/held/.{day(2)}.xlsx.123.part.abc.part")
        left.mkdir(parents=True)
        (left / "rows").write_text("")
        assert export(run, "--since", "2d", "--format", "xlsx", names=("held",)).code == 0
        assert not [path for path in Path("out/held").iterdir() if path.name.startswith(".")]

    def test_a_manifest_that_finds_no_room(self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        export(run, "--since", "3d", names=("held",))
        before = contents(Path("out"))
        put = placing.put

        def full(part: Path, path: Path) -> None:
            if path.suffix == ".json":
                raise OSError(28, "No space left on device")
            put(part, path)

        with monkeypatch.context() as patch:
            patch.setattr(placing, "put", full)
            assert export(run, "--since", "3d", "--refresh", names=("held",)).code == 1
        assert contents(Path("out")) == before

    def test_a_day_whose_name_something_else_has(self, run: Run, home: Path) -> None:
        Path(f"out/held/{day(2)}.xlsx").mkdir(parents=True)
        done = export(run, "--since", "2d", "--format", "xlsx", names=("held",))
        assert done.code == 1
        assert "out/held cannot be written to" in done.err


class TestFormats:
    """Safe cells, and types, in every format (promises D.1)."""

    @pytest.fixture
    def written(self, run: Run, home: Path) -> Callable[[str, str], Path]:
        def written(form: str, name: str) -> Path:
            done = export(run, "--since", day(8), "--until", day(7), "--format", form, names=(name,))
            assert done.code == 0, done.err
            return Path(f"out/{name}/{day(8)}.{form}")

        return written

    def test_json_is_exact(self, written: Callable[[str, str], Path]) -> None:
        lines = [json.loads(line) for line in written("jsonl", "releases").read_text().splitlines()]
        array = json.loads(written("json", "releases").read_text())
        assert lines == array
        assert [row["subject"] for row in array] == [HOSTILE, "Offer \x1b[31m"]
        assert array[0]["has_attachments"] is False

    def test_csv_and_json_of_show_and_export_agree(self, run: Run, written: Callable[[str, str], Path]) -> None:
        for form in ("csv", "json", "jsonl"):
            shown = run("reports", "show", "releases", "--day", day(8), "-o", form).out
            assert written(form, "releases").read_text() == shown

    def test_xlsx_has_no_formulas_and_no_links(self, written: Callable[[str, str], Path]) -> None:
        path = written("xlsx", "releases")
        with zipfile.ZipFile(path) as book:
            names = book.namelist()
            sheet = book.read("xl/worksheets/sheet1.xml").decode()
            core = book.read("docProps/core.xml").decode()
        assert "<f>" not in sheet
        assert "hyperlink" not in sheet.lower().replace("=hyperlink", "")
        assert not any("rels" in name and "sheet" in name for name in names)
        assert "HYPERLINK(&quot;" in sheet or "=HYPERLINK(" in sheet
        assert "2000-01-01T00:00:00Z" in core
        assert "\x1b" not in sheet

    def test_xlsx_takes_another_sheet_when_one_is_full(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from mimeportal.reports import contract

        monkeypatch.setattr(files, "_SHEET_ROWS", 3)
        rows = [[day(number), "http", number, 0] for number in range(5)]
        path = tmp_path / "many.xlsx"
        assert files.xlsx(path, contract.LoginRow, "logins", [rows]) == 5
        with zipfile.ZipFile(path) as book:
            sheets = [name for name in book.namelist() if name.startswith("xl/worksheets/")]
            assert len(sheets) == 3
            assert all("succeeded" in book.read(name).decode() for name in sheets), "each begins with the columns"

    def test_xlsx_has_days_before_1900_as_text(self, tmp_path: Path) -> None:
        path = tmp_path / "long ago.xlsx"
        row = ["1890-01-01", "inbound", 0, 0, 0, 0]
        files.xlsx(path, contract.REPORTS["secure-messages"].row, "long ago", [[row]])
        with zipfile.ZipFile(path) as book:
            assert "1890-01-01" in book.read("xl/worksheets/sheet1.xml").decode()

    def test_xlsx_cuts_what_no_cell_takes(self, tmp_path: Path) -> None:
        from mimeportal.reports import contract

        path = tmp_path / "long.xlsx"
        files.xlsx(path, contract.LoginRow, "logins", [[["2026-11-03", "x" * 40_000, 1, 0]]])
        with zipfile.ZipFile(path) as book:
            assert "x" * 32_766 + "…" in book.read("xl/worksheets/sheet1.xml").decode()

    def test_parquet_has_types(self, written: Callable[[str, str], Path]) -> None:
        from pyarrow import parquet  # type: ignore[import-untyped]

        table = parquet.read_table(written("parquet", "releases"))
        rows = table.to_pylist()
        assert [row["subject"] for row in rows] == [HOSTILE, "Offer \x1b[31m"]
        assert rows[0]["released"].tzinfo is not None
        assert isinstance(rows[0]["size"], int)
        assert parquet.read_table(written("parquet", "held")).to_pylist()[0]["day"] == date.fromisoformat(day(8))

    @pytest.mark.parametrize(("form", "package"), [("xlsx", "xlsxwriter"), ("parquet", "pyarrow")])
    def test_without_what_writes_them(
        self, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch, form: str, package: str
    ) -> None:
        import sys

        monkeypatch.setitem(sys.modules, package, None)
        done = export(run, "--since", "last", "--format", form)
        assert done.code == 2
        assert "pip install 'mimeportal[sheets]'" in done.err
        assert not [path for path in Path("out").rglob("*") if path.suffix == f".{form}"]
