"""The account, and who is asking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimeportal.lazy import exported

if TYPE_CHECKING:
    from mimeportal.account.capabilities import Capability
    from mimeportal.account.client import AccountClient
    from mimeportal.account.contract import AccountRow, DateFormat, Day, HomePage, PreferencesRow, TimeFormat, WhoAmIRow
    from mimeportal.account.persons import Access, Contact, Delegate, DelegateChange

_HOMES = {
    "Access": "persons",
    "AccountClient": "client",
    "AccountRow": "contract",
    "Capability": "capabilities",
    "Contact": "persons",
    "DateFormat": "contract",
    "Day": "contract",
    "Delegate": "persons",
    "DelegateChange": "persons",
    "HomePage": "contract",
    "PreferencesRow": "contract",
    "TimeFormat": "contract",
    "WhoAmIRow": "contract",
}

__all__ = [
    "Access",
    "AccountClient",
    "AccountRow",
    "Capability",
    "Contact",
    "DateFormat",
    "Day",
    "Delegate",
    "DelegateChange",
    "HomePage",
    "PreferencesRow",
    "TimeFormat",
    "WhoAmIRow",
]


def __getattr__(name: str) -> Any:
    return exported(__name__, _HOMES, name)


def __dir__() -> list[str]:
    return __all__
