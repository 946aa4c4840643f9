"""What a caller asks about the account: its code and name, and who the portal thinks is asking."""

from __future__ import annotations

from functools import cached_property

from mimeportal.account import contract
from mimeportal.account.contract import AccountRow, WhoAmIRow
from mimeportal.transport import Session


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

    @cached_property
    def code(self) -> str:
        """The account code, asked once: plans and reports name it."""
        if self._session.offers(contract.WHOAMI):
            return self.whoami().account_code
        return self.show().account_code
