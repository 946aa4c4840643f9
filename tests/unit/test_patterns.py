"""Text conditions: what matches, and that none hangs."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimeportal import limits
from mimeportal.errors import UsageError
from mimeportal.patterns import TextPattern, contains, fold

LONG = "a" * 100_000


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("invoice", "Your INVOICE is here", True),
        ("invoice", "in voice", False),
        ("straße", "STRASSE", True),
        ("a.c", "abc", False),
        ("a?c", "abc", False),
        ("*", "", True),
        ("*", "anything", True),
        ("a*", "abc", True),
        ("a*", "xabc", False),
        ("*c", "abc", True),
        ("*c", "abcd", False),
        ("a*c", "ac", True),
        ("a*a", "a", False),
        ("ab*ba", "aba", False),
        ("*b*", "ABC", True),
        ("*ab*ab*", "xabab", True),
        ("*ab*ab*", "xaab", False),
        ("a*b*c", "a-c-b", False),
        ("[a]*", "a", False),
        ("[a]*", "[A]x", True),
        ("*\n*", "a\nb", True),
        ("**", "x", True),
    ],
)
def test_substrings_and_globs(pattern: str, value: str, expected: bool) -> None:
    assert TextPattern.parse(pattern).matches(value) is expected


def test_contains_and_fold() -> None:
    assert contains("ÉTÉ", "un été")
    assert not contains("x", "abc")
    assert fold("ẞ") == "ss"


@given(st.text("ab*", min_size=1, max_size=8), st.text("ab", max_size=12))
def test_a_glob_matches_what_the_same_regular_expression_matches(pattern: str, value: str) -> None:
    same = ".*".join(map(re.escape, pattern.split("*")))
    expected = re.fullmatch(same, value) if "*" in pattern else re.search(same, value)
    assert TextPattern.parse(pattern).matches(value) is bool(expected)


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("^re: .*offer$", "RE: a great OFFER", True),
        ("^offer", "an offer", False),
        (r"\d{3}", "x123", True),
        ("a.b", "a\nb", True),
        ("été", "ÉTÉ", True),
        ("a", "\ud800 a", True),
    ],
)
def test_regular_expressions(pattern: str, value: str, expected: bool) -> None:
    assert TextPattern.regex(pattern).matches(value) is expected


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "[b-a]", "a{2000}"])
def test_a_wrong_one_is_named(pattern: str) -> None:
    with pytest.raises(UsageError) as error:
        TextPattern.regex(pattern)
    assert repr(pattern) in error.value.what
    assert error.value.why


def test_a_large_one_is_refused() -> None:
    with pytest.raises(UsageError, match="too large"):
        TextPattern.regex("[^b]{1000}c")
    for make in (TextPattern.parse, TextPattern.regex):
        with pytest.raises(UsageError, match="longer than"):
            make("a" * (limits.PATTERN + 1))
        with pytest.raises(UsageError, match="empty"):
            make("")


@pytest.mark.parametrize("pattern", ["*a*a*a*a*a*b", "*" + "a*" * 400 + "b", "a*" * 450 + "ab*"])
def test_no_glob_hangs(pattern: str) -> None:
    started = time.monotonic()
    assert not TextPattern.parse(pattern).matches(LONG)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("pattern", ["(a+)+$b", "(a*)*b", "(x+x+)+y", "(a|b)*a(a|b){100}c", "(.*a){30}b"])
def test_no_regular_expression_hangs(pattern: str) -> None:
    started = time.monotonic()
    assert not TextPattern.regex(pattern).matches(LONG)
    assert time.monotonic() - started < 10


def test_equal_when_written_alike() -> None:
    assert TextPattern.parse("a*") == TextPattern.parse("a*")
    assert TextPattern.parse("a") != TextPattern.regex("a")
