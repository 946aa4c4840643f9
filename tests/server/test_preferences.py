"""What a person prefers: kept for them alone, whole or not at all (portal-rules C.9)."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import ADMIN, ANN, BOB, Lab
from mimeportal import limits
from mimeportal.errors import ApiError, ForbiddenError, UsageError

GOOD = {
    "language": "pt-BR",
    "time_zone": "Europe/London",
    "date_format": "dd MMM yyyy",
    "time_format": "12h",
    "first_day_of_week": "sunday",
    "home_page": "holds",
    "signature": "Ann\nExample Ltd",
}


def test_what_is_set_is_told_until_it_is_given_up(lab: Lab) -> None:
    with lab.client(ANN) as portal:
        before = portal.account.preferences()
        assert (before.chosen, before.first_day_of_week, before.time_zone) == ([], "monday", "UTC")
        told = portal.account.set_preferences(**GOOD)  # type: ignore[arg-type]
        assert portal.account.preferences() == told
        assert {name: getattr(told, name) for name in GOOD} == GOOD
        assert portal.account.whoami().time_zone == "Europe/London"
        left = portal.account.set_preferences(unset=["time_zone", "signature"], home_page="INBOX")
        assert (left.time_zone, left.signature, left.home_page) == ("UTC", "", "inbox")
        assert "time_zone" not in left.chosen
    assert lab.client(BOB).account.preferences().chosen == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("language", "english please"),
        ("language", ""),
        ("time_zone", "Moon/Crater"),
        ("time_zone", "../../etc/passwd"),
        ("time_zone", "localtime"),
        ("time_zone", "posix/UTC"),
        ("time_zone", "right/UTC"),
        ("date_format", "yyyy"),
        ("time_format", "25h"),
        ("first_day_of_week", "someday"),
        ("home_page", "https://evil.example/"),
        ("signature", "\x1b[31mAnn"),
        ("signature", "x" * (limits.SIGNATURE + 1)),
    ],
)
def test_a_wrong_one_changes_none(lab: Lab, name: str, value: str) -> None:
    with lab.client(ANN) as portal:
        with pytest.raises(UsageError, match=name):
            portal.account.set_preferences(**{"language": "de", name: value} if name != "language" else {name: value})
        assert portal.account.preferences().chosen == []


@pytest.mark.parametrize(
    "item",
    [
        {"preferences": {"time_format": "12h", "date_format": "yyyy"}},
        {"preferences": {"colour": "red"}},
        {"preferences": {"time_format": "12h"}, "unset": ["time_format"]},
        {"preferences": {"time_format": "12h"}, "unset": ["colour"]},
        {"preferences": {"time_format": "12h"}, "unset": ["email_address"]},
        {"preferences": {"time_format": 12}},
    ],
    ids=str,
)
def test_the_portal_does_not_rely_on_its_clients(lab: Lab, item: dict[str, Any]) -> None:
    with lab.client(ANN) as portal:
        with pytest.raises(ApiError) as caught:
            portal.call("/api/portal/account/set-preferences", item)
        assert caught.value.code == "err_validation_value_not_allowed"
        assert portal.account.preferences().chosen == []


def test_of_another_mailbox(lab: Lab) -> None:
    assert lab.client(ADMIN).account.set_preferences(mailbox=ANN, language="de").email_address == ANN
    assert lab.client(ANN).account.preferences().language == "de"
    with pytest.raises(ForbiddenError):
        lab.client(BOB).account.preferences(mailbox=ANN)
    with pytest.raises(ForbiddenError):
        lab.client(BOB).account.set_preferences(mailbox=ANN, language="fr")
    with pytest.raises(UsageError, match="at once"):
        lab.client(ANN).account.set_preferences(language="fr", unset=["language"])
    with pytest.raises(UsageError, match="no preference"):
        lab.client(ANN).account.set_preferences(unset=["colour"])
