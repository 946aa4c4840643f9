"""Whom a mailbox has to do with, as a caller sees them: contacts, delegates, and what a delegate reaches."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from mimeportal.account.contract import AccessRow, ContactRow, DelegateRow
from mimeportal.errors import ApiError
from mimeportal.wire import Row, told_date

# Under which names other portals may write what ours call `emailAddress` and `name`: no source shows them.
_ADDRESS = ("email_address", "address", "email", "mail")
_NAME = ("name", "displayableName", "displayName")


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody to write to. `uses` counts the messages that went to them, `last_used` is of the last one; None where
    a portal does not tell. `document` is the row as it came.
    """

    address: str
    name: str
    uses: int | None
    last_used: datetime | None
    document: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_row(cls, row: ContactRow) -> Contact:
        """Read a row of the wire, leniently. Raises `ApiError` for one in which no address is found."""
        address = _first(row, _ADDRESS)
        if not address:
            raise _unknown("contacts", "/api/user/get-most-used-contacts")
        return cls(
            address=address,
            name=_first(row, _NAME),
            uses=row.uses,
            last_used=told_date(row.last_used) if row.last_used else None,
            document=row.to_json(),
        )


CONTACT_FIELDS = tuple(entry.name for entry in fields(Contact) if entry.name != "document")


@dataclass(frozen=True, slots=True)
class Delegate:
    """One delegation: `address` may act as the owner of `mailbox`. `id` is what ends it."""

    mailbox: str
    address: str
    id: str

    @classmethod
    def from_row(cls, row: DelegateRow, mailbox: str) -> Delegate:
        """Read a row of the wire, leniently. Raises `ApiError` for one in which no delegate is found."""
        address = _first(row, ("delegate_address", *_ADDRESS))
        if not address:
            raise _unknown("delegates", "/api/user/find-delegate-users")
        return cls(row.primary_address or mailbox, address, row.id)


DELEGATE_FIELDS = tuple(entry.name for entry in fields(Delegate))


@dataclass(frozen=True, slots=True)
class DelegateChange:
    """What became of a delegation: `done`, or `already` when it stood so before."""

    mailbox: str
    address: str
    outcome: str


DELEGATE_CHANGE_FIELDS = tuple(entry.name for entry in fields(DelegateChange))


@dataclass(frozen=True, slots=True)
class Access:
    """What the caller reaches beside their own: an account, and on a local portal the mailbox in it."""

    mailbox: str
    account_code: str
    region: str
    role: str
    url: str

    @classmethod
    def from_row(cls, row: AccessRow) -> Access:
        """Read a row of the wire; one copy of the documents says `region` for `regionCode`."""
        region = row.region_code or _first(row, ("region",))
        return cls(row.email_address, row.account_code, region, row.role_name, row.adcon_url)


ACCESS_FIELDS = tuple(entry.name for entry in fields(Access))


def _first(row: Row, names: tuple[str, ...]) -> str:
    """The first of these fields that holds text, a field of the model or one kept beside it."""
    kept = row.model_extra or {}
    values = (getattr(row, name, None) or kept.get(name) for name in names)
    return next((value for value in values if isinstance(value, str) and value), "")


def _unknown(what: str, path: str) -> ApiError:
    return ApiError(
        f"The portal tells of {what} in a form that is not known.",
        code="err_answer_unknown",
        remedy=f"See it as it is: mimeportal api {path}",
    )
