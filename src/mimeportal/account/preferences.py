"""What a preference may be: one table for whoever sets one and for the portal that keeps it (portal-rules C.9)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from mimeportal import limits
from mimeportal.account import contract
from mimeportal.errors import UsageError

_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,8}")  # BCP 47, without asking who registered it
_NOT_A_PLACE = re.compile(r"(posix|right)/|(localtime|posixrules|Factory)$")  # files beside the zones
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def checked(name: str, value: str) -> str:
    """A preference as it is kept. Raises `UsageError` naming the preference, what it takes, or the names there are."""
    if name not in CHECKS:
        raise UsageError(f"There is no preference {name!r}.", remedy=f"Use one of: {', '.join(CHECKS)}.")
    if not isinstance(value, str):
        raise UsageError(f"{name} takes text, not {value!r}.")
    return CHECKS[name](name, value)


def _language(name: str, value: str) -> str:
    if not _TAG.fullmatch(value):
        raise UsageError(f"{name} takes a language tag, not {value[:40]!r}.", remedy="Write it as en, de or pt-BR.")
    return value


def _time_zone(name: str, value: str) -> str:
    from zoneinfo import ZoneInfo

    try:
        if not _NOT_A_PLACE.match(value):  # `localtime` is another zone on another machine
            return str(ZoneInfo(value))
    except (KeyError, ValueError, OSError):
        pass
    raise UsageError(
        f"{name} takes the name of a time zone, not {value[:40]!r}.",
        remedy="Name it as Europe/London, America/New_York or UTC.",
    )


def _signature(name: str, value: str) -> str:
    text = value.replace("\r\n", "\n")
    if len(text) > limits.SIGNATURE or _CONTROL.search(text):
        raise UsageError(
            f"A {name} is text of at most {limits.SIGNATURE:,} characters, without control characters.",
            remedy="Shorten it, or take out what does not show.",
        )
    return text


def _one_of(known: Sequence[str]) -> Callable[[str, str], str]:
    def check(name: str, value: str) -> str:
        found = next((word for word in known if word.lower() == value.strip().lower()), None)
        if found is None:
            raise UsageError(f"There is no {name} {value[:40]!r}.", remedy=f"Use one of: {', '.join(known)}.")
        return found

    return check


CHECKS: Mapping[str, Callable[[str, str], str]] = {
    "language": _language,
    "time_zone": _time_zone,
    "date_format": _one_of(contract.DATE_FORMATS),
    "time_format": _one_of(contract.TIME_FORMATS),
    "first_day_of_week": _one_of(contract.DAYS),
    "home_page": _one_of(contract.HOME_PAGES),
    "signature": _signature,
}
