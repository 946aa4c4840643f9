"""What a caller asks about the account: its code and name, and who the portal thinks is asking."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from mimeportal.account import contract
from mimeportal.account.contract import AccountRow, WhoAmIRow
from mimeportal.transport import Session

if TYPE_CHECKING:
    from mimeportal.account.capabilities import Capability


class AccountClient:
    """`portal.account`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def show(self) -> AccountRow:
        """The account of whoever asks (mimecast-api-portal 5.6)."""
        return self._session.one(contract.SHOW, contract.AccountItem())

    def whoami(self) -> WhoAmIRow:
        """The caller's address, role and moderated addresses. Raises `NotOfferedError` on Mimecast."""
        return self._session.one(contract.WHOAMI, contract.WhoAmIItem())

    def capabilities(self) -> list[Capability]:
        """Which operations each API offers, and which this portal does; read off the contracts, nothing is sent."""
        from mimeportal.account import capabilities

        return capabilities.of(self._session.api)

    def set_password(self, new: str, current: str | None = None) -> None:
        """Set the caller's own password; `current` is the one that is set, if there is one.

        Every log-in of theirs ends, this one too. A password has 8 to 128 characters and three of: capitals, small
        letters, digits, other signs (portal-rules I.9); else `ApiError` is raised. Raises `ForbiddenError` for a wrong
        `current`, and for who has no password of this portal; `NotOfferedError` on Mimecast.
        """
        self._session.one(contract.PASSWORD, contract.PasswordItem(password=current, new_password=new))

    @cached_property
    def code(self) -> str:
        """The account code, asked once: plans and reports name it."""
        if self._session.offers(contract.WHOAMI):
            return self.whoami().account_code
        return self.show().account_code
