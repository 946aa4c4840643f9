"""What holds whatever is put in: codecs give back what they got, and what reads files or words tells what is wrong."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimeportal import days, wire
from mimeportal.addresses import (
    address_filter,
    domain_of,
    entry_matches,
    normalise,
    parse_address,
    parse_domain,
    parse_entry,
)
from mimeportal.errors import MimeportalError, UsageError
from mimeportal.holds import HoldFilter
from mimeportal.holds.rules import load
from mimeportal.largefiles import Upload
from mimeportal.patterns import TextPattern
from mimeportal.profiles import Store
from mimeportal.report import Context, Outcome, Verdict, line_of, read_lines, retry_selection
from mimeportal.selection import Item, collect
from mimeportal.wire import Failure, Page
from mimeportal_server import ranges
from mimeportal_server.portal import Refused

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=5)
# Words that some reader or other gives a meaning.
ODD = st.sampled_from(
    [
        "*",
        "**",
        "a*",
        "@",
        "@b.example",
        "a@b.example",
        "*@*",
        "<>",
        "",
        " ",
        "\0",
        "é",
        "İ",
        "ß",
        "\u202e",
        '"',
        "\\",
        "%",
        "_",
    ]
)
WORDS = st.lists(ODD | ANY_TEXT, max_size=4).map("".join)
on_disk = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


class TestWire:
    @given(st.lists(OBJECT, max_size=4), st.none() | st.just("rows"), st.none() | st.integers(0, 10**9))
    def test_rows_and_page_come_back(self, rows: list[dict[str, Any]], rows_at: str | None, total: int | None) -> None:
        page = Page(len(rows), total, "next-token" if rows else None)
        body = wire.encode_answer(rows, page=page, rows_at=rows_at)
        assert wire.decode_answer(body, status=200, rows_at=rows_at) == wire.Envelope(200, rows, [], page)

    @given(
        st.builds(
            Failure,
            code=TEXT,
            message=TEXT,
            field=st.none() | TEXT,
            retryable=st.booleans(),
            key=st.none() | OBJECT,
        )
    )
    def test_failures_come_back(self, failure: Failure) -> None:
        body = wire.encode_answer([], [failure], status=400)
        assert wire.decode_answer(body, status=400).failures == [failure]

    @given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.timezones() | st.just(UTC)))  # noqa: DTZ001
    def test_dates_come_back_to_the_second(self, moment: datetime) -> None:
        assert wire.parse_date(wire.format_date(moment)) == moment.astimezone(UTC).replace(microsecond=0)

    @given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
    def test_whatever_comes_is_an_envelope_or_none(self, body: bytes) -> None:
        for status in (200, 500):
            try:
                found = wire.decode_answer(body, status=status)
            except ValueError:
                continue
            assert all(isinstance(row, dict) for row in found.rows)

    @given(ANY_TEXT)
    def test_what_was_read_can_be_written(self, text: str) -> None:
        read = wire.read_json(json.dumps({"text": text}).encode())
        assert len(read["text"]) == len(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
        read["text"].encode()


class TestAddresses:
    @given(WORDS)
    def test_normal_form_is_reached_at_once(self, text: str) -> None:
        assert normalise(normalise(text)) == normalise(text)

    @pytest.mark.parametrize("parse", [parse_address, parse_domain, parse_entry, address_filter, TextPattern.parse])
    @given(text=WORDS)
    def test_what_cannot_be_read_is_a_usage_error(self, parse: Callable[[str], object], text: str) -> None:
        with suppress(UsageError):
            parse(text)

    @given(WORDS)
    def test_what_is_read_is_read_the_same_again(self, text: str) -> None:
        try:
            entry, kind = parse_entry(text)
        except UsageError:
            return
        assert parse_entry(entry) == (entry, kind)
        address = entry if kind == "address" else f"somebody@{entry}"
        assert parse_address(address) == address
        assert entry_matches(entry, address)
        assert address_filter(entry)([address])
        assert domain_of(address) == entry.rpartition("@")[2]

    @given(TEXT.filter(lambda text: "*" not in text), TEXT, TEXT)
    def test_a_text_is_found_wherever_it_stands(self, needle: str, before: str, after: str) -> None:
        try:
            pattern = TextPattern.parse(needle)
        except UsageError:
            return
        assert pattern.matches(needle)
        assert pattern.matches(f"{before} {needle} {after}")


def as_lines(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


class TestReports:
    CONTEXT = Context(profile="p", account="A", actor="ann@example.com")

    @given(
        st.lists(
            st.builds(
                Item,
                id=ANY_TEXT.filter(bool),
                action=st.sampled_from(["release", "reject"]),
                options=OBJECT,
                described=OBJECT,
                entry=st.none() | TEXT,
                rule=st.none() | TEXT,
            ),
            max_size=5,
            unique_by=lambda item: item.id,
        )
    )
    def test_a_selection_gives_back_what_was_frozen(self, items: list[Item]) -> None:
        with collect(items) as selection:
            assert list(selection) == items
            assert len(selection) == len(items)

    @on_disk
    @given(
        id=TEXT.filter(bool),
        options=st.fixed_dictionaries({}, optional={"permit": st.sampled_from(["address", "domain"])}),
        subject=TEXT,
        entry=st.none() | TEXT.filter(bool),
        error=st.none() | TEXT,
        outcome=st.sampled_from(["failed", "unknown"]),
    )
    def test_a_report_is_taken_up_as_it_was_written(
        self,
        tmp_path: Path,
        id: str,
        options: dict[str, Any],
        subject: str,
        entry: str | None,
        error: str | None,
        outcome: Any,
    ) -> None:
        item = Item(id, "release", options, {"subject": subject}, entry, None)
        told = Outcome(item, Verdict(outcome, "refused", error), datetime(2026, 11, 3, tzinfo=UTC))
        line = line_of(told, self.CONTEXT)
        path = tmp_path / "report"
        path.write_text(json.dumps(line) + "\n", "utf-8")
        assert list(read_lines(path)) == [line]
        with retry_selection(
            path, actions=frozenset({"release"}), context=self.CONTEXT, entry_of=lambda _, __: entry
        ) as selection:
            (found,) = selection
        assert (found.id, found.action, found.options, found.entry) == (id, "release", options, entry)
        assert found.described["subject"] == subject

    @on_disk
    @given(octets=st.binary(max_size=300) | st.lists(OBJECT, max_size=3).map(as_lines))
    def test_what_is_no_report_is_a_usage_error(self, tmp_path: Path, octets: bytes) -> None:
        path = tmp_path / "report"
        path.write_bytes(octets)
        with suppress(UsageError):
            retry_selection(path, actions=frozenset({"release"}), context=self.CONTEXT).close()


NUMBER = st.just("") | st.integers(0, 20_000).map(str)
TOML = st.dictionaries(
    st.sampled_from(["rule", "name", "from", "decide", "profile", "current", "url", "subject_regex", "permit", "queue"])
    | st.text(string.ascii_letters, min_size=1, max_size=5),
    st.sampled_from(["release", "keep", "(", "address", "", "local:x", "https://x.example", 5, True, 1.5, [1], {}])
    | TEXT,
    max_size=5,
)


PROFILES = st.dictionaries(TEXT, OBJECT, max_size=2)


def as_toml(table: dict[str, Any]) -> str:
    # Strings, numbers, lists of numbers and empty tables are written in TOML as in JSON.
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())


class TestFiles:
    @on_disk
    @given(tables=st.lists(TOML, max_size=3), head=st.sampled_from(["[[rule]]", "[rule]", ""]))
    def test_rules(self, tmp_path: Path, tables: list[dict[str, Any]], head: str) -> None:
        path = tmp_path / "rules.toml"
        path.write_text("\n".join(f"{head}\n{as_toml(table)}" for table in tables), "utf-8")
        with suppress(UsageError):
            load(path)

    @on_disk
    @given(document=JSON | st.fixed_dictionaries({"profiles": JSON | PROFILES, "current": JSON}))
    def test_profiles(self, tmp_path: Path, document: Any) -> None:
        path = tmp_path / "profiles.json"
        path.write_text(json.dumps(document), "utf-8")
        path.chmod(0o600)
        with suppress(MimeportalError):
            Store.open({"MIMEPORTAL_CONFIG_DIR": str(tmp_path)}).get("x")

    @given(JSON | st.fixed_dictionaries({"id": JSON, "request_id": JSON, "wanted": JSON, "files": JSON}))
    def test_handles_of_uploads(self, handle: Any) -> None:
        with suppress(UsageError):
            Upload.of(None, handle)  # type: ignore[arg-type]


class TestDays:
    @given(
        st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC)),  # noqa: DTZ001
        st.timezones(),
    )
    def test_a_moment_lies_in_its_day(self, moment: datetime, zone: tzinfo) -> None:
        """Whatever clocks do there: each moment is in one day, from its beginning to that of the next."""
        day = days.day_of(moment, zone)
        assert days.begin(day, zone) <= moment < days.begin(day + timedelta(1), zone)

    @given(st.dates(max_value=date(9999, 1, 1)), st.integers(0, 40))
    def test_each_day_once(self, start: date, count: int) -> None:
        found = list(days.each(start, start + timedelta(count)))
        assert found == [start + timedelta(number) for number in range(count)]


class TestRanges:
    @given(
        st.integers(0, 10_000),
        st.builds("{}{}-{}".format, st.sampled_from(["bytes=", "bytes= ", "b="]), NUMBER, NUMBER) | TEXT,
        st.none() | st.just('"x"') | TEXT,
    )
    def test_a_part_is_inside_the_file(self, size: int, range: str, tag: str | None) -> None:
        headers = {"range": range, **({} if tag is None else {"if-range": tag})}
        try:
            part = ranges.asked(headers, size, "x")
        except Refused:
            assert tag in (None, '"x"'), "of another file's octets the whole is sent"
            return
        assert 0 <= part.start <= part.end <= size
        assert int(part.headers["content-length"]) == part.end - part.start
        assert (part.status == 206) == ("content-range" in part.headers)
        if part.status == 200:
            assert (part.start, part.end) == (0, size)


class TestFilters:
    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "from_": WORDS | st.integers(),
                "subject": WORDS | st.none(),
                "search": WORDS,
                "reason": WORDS,
                "route": WORDS,
                "mailboxes": st.lists(WORDS, max_size=2) | WORDS,
                "larger_than": st.integers() | st.floats() | WORDS,
                "since": st.datetimes() | st.datetimes(timezones=st.timezones()) | WORDS,
                "has_attachments": st.booleans() | st.integers(),
            },
        )
    )
    def test_a_filter_is_read_or_refused_in_words(self, conditions: dict[str, Any]) -> None:
        with suppress(UsageError):
            HoldFilter(**conditions).check()
