"""The states of a secure message: every cell of the tables in the docstring, typed by hand."""

from __future__ import annotations

import pytest

from mimeportal_server.secure_states import (
    RECIPIENT_ACTS,
    Facts,
    Refusal,
    Restrictions,
    expired,
    expiring,
    extending,
    recalling,
    refused,
    status,
)

NOW = 1_000
STATES = {
    "sent": Facts(expires=2_000),
    "extended": Facts(expires=2_000, extended=500),
    "read": Facts(expires=2_000, opened=600),
    "read, then extended": Facts(expires=2_000, opened=600, extended=700),
    "recalled": Facts(expires=2_000, recalled=900),
    "read, then recalled": Facts(expires=2_000, opened=600, recalled=900),
}


def code(refusal: Refusal | None) -> str:
    return refusal.code if refusal else ""


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("sent", "sent"),
        ("extended", "extended"),
        ("read", "read"),
        ("read, then extended", "read"),
        ("recalled", "recalled"),
        ("read, then recalled", "recalled"),
    ],
)
def test_the_word_for_a_state(state: str, word: str) -> None:
    assert status(STATES[state]) == word


@pytest.mark.parametrize(
    ("state", "extend", "expire", "recall", "recall_unread"),
    [
        ("sent", "", "", "", ""),
        ("extended", "", "", "", ""),
        ("read", "", "", "", "already_read"),
        ("recalled", "recalled", "recalled", "", ""),
    ],
)
def test_what_its_sender_may_do(state: str, extend: str, expire: str, recall: str, recall_unread: str) -> None:
    facts = STATES[state]
    assert code(extending(facts, 3_000, NOW, latest=9_000)) == extend
    assert code(expiring(facts)) == expire
    assert code(recalling(facts, only_if_unread=False)) == recall
    assert code(recalling(facts, only_if_unread=True)) == recall_unread


@pytest.mark.parametrize(
    ("facts", "until", "told"),
    [
        (Facts(), 3_000, "no_expiry"),
        (Facts(expires=NOW), 3_000, "expired"),
        (Facts(expires=NOW - 1), 3_000, "expired"),
        (Facts(expires=2_000), 2_000, "err_validation_value_not_allowed"),
        (Facts(expires=2_000), 1_500, "err_validation_value_not_allowed"),
        (Facts(expires=2_000), 9_001, "err_validation_value_not_allowed"),
        (Facts(expires=2_000), 9_000, ""),
    ],
)
def test_how_far_an_expiry_moves(facts: Facts, until: int, told: str) -> None:
    assert code(extending(facts, until, NOW, latest=9_000)) == told


def test_a_message_expires_at_the_very_moment() -> None:
    assert not expired(Facts(expires=NOW + 1), NOW)
    assert expired(Facts(expires=NOW), NOW)
    assert not expired(Facts(), NOW)


# state: what is refused of read, print, reply, reply_all, mark, delete, restore; * where `expired_blocks_read`
REFUSED = {
    "open":     (Facts(expires=2_000),               ". . . . . . ."),
    "expired":  (Facts(expires=500),                 "* * x x . . ."),
    "recalled": (Facts(expires=2_000, recalled=900), "x x x x x x x"),
}  # fmt: skip


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("state", REFUSED)
def test_what_a_state_leaves_to_its_recipients(state: str, blocks: bool) -> None:
    facts, row = REFUSED[state]
    for act, sign in zip(RECIPIENT_ACTS, row.split(), strict=True):
        told = refused(act, facts, Restrictions(), NOW, expired_blocks_read=blocks)
        assert bool(told) == (sign == "x" or (sign == "*" and blocks)), act
        assert told is None or told.code == state


@pytest.mark.parametrize("forbidden", ["print", "reply", "reply_all"])
def test_what_a_sender_forbids_and_nothing_else_is_refused(forbidden: str) -> None:
    restrictions = Restrictions(**{forbidden: False})
    for act in RECIPIENT_ACTS:
        told = refused(act, Facts(), restrictions, NOW, expired_blocks_read=True)
        assert (told is not None) == (act == forbidden)


def test_what_the_account_has_switched_off() -> None:
    for act in RECIPIENT_ACTS:
        told = refused(act, Facts(), Restrictions(), NOW, expired_blocks_read=False, switched_off={"print"})
        assert (told is not None) == (act == "print")
