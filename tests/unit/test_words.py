"""How text is cut into the words that search finds."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimeportal_server.words import asked, kept, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hello, World!", "hello world"),
        ("user.name+tag@mail.example.com", "user name tag mail example com"),
        ("snake_case well-known 3.14", "snake case well known 3 14"),
        ("Grüße aus der Straße", "grusse aus der strasse"),
        ("ÉCOLE École e\u0301cole", "ecole ecole ecole"),
        ("ﬁnance ①② Ⅷ ｆｕｌｌ", "finance 12 viii full"),
        ("Москва Ёлка", "москва елка"),
        ("ΑΘΗΝΑ αθήνας", "αθηνα αθηνασ"),
        ("日本語", "日本 本語 語"),
        ("東京tower", "東京 京 tower"),
        ("カタカナとひらがな", "カタ タカ カナ ナと とひ ひら らが がな な"),
        ("한국어", "한국 국어 어"),
        ("\U00020000\U00020001", "\U00020000\U00020001 \U00020001"),
        ("ภาษาไทย", "ภาษาไทย"),
        ("नमस्ते", "नमस्ते"),
        ("שָׁלוֹם", "שָׁלוֹם"),
        ("zero\u200bwidth \u202egnp.exe", "zero width gnp exe"),
        ("emoji 😀 here", "emoji here"),
        ("?!… — «»", ""),
        ("", ""),
    ],
)
def test_what_is_kept(text: str, found: str) -> None:
    import unicodedata

    assert kept(text) == unicodedata.normalize("NFC", found)


@pytest.mark.parametrize(
    ("term", "tokens", "open_end"),
    [
        ("Straße", ["strasse"], False),
        ("ann@example.com", ["ann", "example", "com"], False),
        ("日本語", ["日本", "本語"], False),
        ("日", ["日"], True),
        ("東京", ["東京"], False),
        ("NEAR(a*)", ["near", "a"], False),
        ("?!", [], False),
    ],
)
def test_what_is_asked(term: str, tokens: list[str], open_end: bool) -> None:
    assert asked(term) == (tokens, open_end)


@given(st.text())
def test_words_are_letters_and_digits_alone(text: str) -> None:
    """Nothing that an engine could take for a quote or an operator."""
    for word in words(text):
        assert word
        assert not re.search(r'[\s\x00-\x2f\x3a-\x60\x7b-\x7f"*():^]', word)


@given(st.text(min_size=1), st.text())
def test_what_stands_in_a_text_is_asked_as_it_is_kept(term: str, more: str) -> None:
    """Whatever is typed as it was written is found: its tokens follow each other in what is kept."""
    tokens, open_end = asked(term)
    found = kept(f"{more} {term} {more}").split()
    starts = range(len(found) - len(tokens) + 1)
    assert any(
        found[at : at + len(tokens)] == tokens
        or (open_end and [*found[at : at + len(tokens) - 1], found[at + len(tokens) - 1][:1]] == tokens)
        for at in starts
    )


@pytest.mark.parametrize(
    "text", ["a\u0301" * 200_000, "日" * 400_000, "ﷺ" * 50_000, "é " * 200_000, "\u202e" * 400_000]
)
def test_it_never_hangs(text: str) -> None:
    start = time.process_time()
    kept(text)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("term", ["一二0", "一二-三四", "東京tower", "0一二"])
def test_a_run_that_another_word_follows_has_its_end_there(term: str) -> None:
    tokens, _ = asked(term)
    found = kept(f"before {term} after").split()
    assert tokens in [found[at : at + len(tokens)] for at in range(len(found))]
