"""What a caller asks about the account and its mailboxes: who is asking, preferences, contacts, delegates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from mimeportal.account import contract
from mimeportal.account.contract import AccountRow, PreferencesRow, WhoAmIRow
from mimeportal.addresses import parse_address
from mimeportal.errors import UsageError
from mimeportal.paging import PageOf, Pages, page_size_of
from mimeportal.patterns import TextPattern
from mimeportal.transport import Session, not_offered

if TYPE_CHECKING:
    from mimeportal.account.capabilities import Capability
    from mimeportal.account.persons import Access, Contact, Delegate, DelegateChange


class AccountClient:
    """`portal.account`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def show(self) -> AccountRow:
        """The account of whoever asks (mimecast-api-portal 5.6). Raises `ForbiddenError` where they may not see it."""
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

    # -- preferences -------------------------------------------------------------------------------------

    def preferences(self, *, mailbox: str | None = None) -> PreferencesRow:
        """What the caller, or the owner of a mailbox that they may use, prefers; `chosen` names what is no default.

        Raises `ForbiddenError` for a mailbox that is not the caller's, `NotOfferedError` on Mimecast.
        """
        self._session.require(contract.PREFERENCES, "preferences")
        return self._session.one(contract.PREFERENCES, contract.MailboxItem(mailbox=self._session.mailbox_of(mailbox)))

    def set_preferences(
        self,
        *,
        language: str | None = None,
        time_zone: str | None = None,
        date_format: contract.DateFormat | None = None,
        time_format: contract.TimeFormat | None = None,
        first_day_of_week: contract.Day | None = None,
        home_page: contract.HomePage | None = None,
        signature: str | None = None,
        unset: Sequence[str] = (),
        mailbox: str | None = None,
    ) -> PreferencesRow:
        """Set some preferences and give up those named in `unset`; what holds then.

        `language` is a BCP 47 tag, `time_zone` a name as Europe/London; formats, days and pages are those of
        `mimeportal.account.contract`; `signature` is text (portal-rules C.9). Raises `UsageError` naming what is
        wrong: then nothing is changed; `ForbiddenError` and `NotOfferedError` as `preferences`.
        """
        from mimeportal.account.preferences import CHECKS, checked

        self._session.require(contract.SET_PREFERENCES, "preferences")
        given = {
            "language": language,
            "time_zone": time_zone,
            "date_format": date_format,
            "time_format": time_format,
            "first_day_of_week": first_day_of_week,
            "home_page": home_page,
            "signature": signature,
        }
        wanted = {name: checked(name, value) for name, value in given.items() if value is not None}
        for name in unset:
            if name not in CHECKS:
                raise UsageError(f"There is no preference {name!r}.", remedy=f"Use one of: {', '.join(CHECKS)}.")
            if name in wanted:
                raise UsageError(f"{name} is set and given up at once.", remedy="Do one of both.")
        whose = self._session.mailbox_of(mailbox)
        item = contract.SetPreferencesItem(mailbox=whose, preferences=wanted, unset=list(unset))
        return self._session.one(contract.SET_PREFERENCES, item)

    # -- contacts ----------------------------------------------------------------------------------------

    def contacts(
        self,
        search: str | None = None,
        *,
        everyone: bool = False,
        mailbox: str | None = None,
        page_size: int | None = None,
    ) -> Pages[Contact]:
        """Those whom the caller, or the owner of `mailbox`, wrote to, the most used first; with `everyone` the portal's
        people, by address.

        `search` is part of an address or a name; with `*` a glob. On Mimecast the caller's most used contacts, as it
        sorts them; `everyone` and `mailbox` raise `NotOfferedError` there. Raises `UsageError`, `ForbiddenError` for a
        mailbox that is not the caller's.
        """
        from mimeportal.account.persons import Contact

        pattern = TextPattern.parse(search) if search else None
        ours = self._session.offers(contract.FIND_CONTACTS)
        if not ours and (everyone or mailbox is not None):
            doing = "the contacts of another mailbox" if mailbox is not None else "a list of all addresses"
            raise not_offered(doing, self._session.api)
        whose = self._session.mailbox_of(mailbox) if ours else None
        size = page_size_of(page_size)
        item = contract.FindContactsItem(mailbox=whose, everyone=everyone or None, search=search or None)

        def fetch(token: str | None) -> PageOf[Contact]:
            if ours:
                answer = self._session.call(contract.FIND_CONTACTS, [item], page_size=size, page_token=token)
            else:
                answer = self._session.call(contract.MOST_USED_CONTACTS)
            found = [Contact.from_row(row) for row in answer.rows]
            page = answer.page
            return PageOf(
                [one for one in found if pattern is None or pattern.matches(one.address) or pattern.matches(one.name)],
                page.total_count if page else None,
                page.next if page and ours else None,
            )

        return Pages(fetch)

    # -- delegates ---------------------------------------------------------------------------------------

    def delegates(self, *, mailbox: str | None = None, page_size: int | None = None) -> Pages[Delegate]:
        """Who may act as the owner of the caller's mailbox, or of `mailbox` for administrators (portal-rules C.8).

        Raises `ForbiddenError` for another's mailbox: a delegate does not see or grant delegations. An app has no
        mailbox of its own: without one `UsageError`.
        """
        from mimeportal.account.persons import Delegate

        whose = self._whose(mailbox)
        item = contract.FindDelegatesItem(primary_address=whose)
        size = page_size_of(page_size)

        def fetch(token: str | None) -> PageOf[Delegate]:
            answer = self._session.call(contract.FIND_DELEGATES, [item], page_size=size, page_token=token)
            page = answer.page
            rows = [Delegate.from_row(row, whose) for row in answer.rows]
            return PageOf(rows, page.total_count if page else None, page.next if page else None)

        return Pages(fetch)

    def add_delegate(self, address: str, *, mailbox: str | None = None) -> DelegateChange:
        """Let somebody act as the owner of the caller's mailbox, or of `mailbox` for administrators.

        They can do all that the owner can, but name delegates. Raises as `delegates`, `ApiError` for an address that
        has no mailbox here.
        """
        from mimeportal.account.persons import DelegateChange

        whose, delegate = self._whose(mailbox), parse_address(address)
        item = contract.AddDelegateItem(primary_address=whose, delegate_address=delegate)
        row = self._session.one(contract.ADD_DELEGATE, item)
        return DelegateChange(whose, delegate, row.outcome)

    def remove_delegate(self, address: str, *, mailbox: str | None = None) -> DelegateChange:
        """End a delegation, at once; `already` when there is none. Raises as `delegates`."""
        from mimeportal.account.persons import DelegateChange

        whose, delegate = self._whose(mailbox), parse_address(address)
        found = next((one for one in self.delegates(mailbox=whose) if one.address.lower() == delegate), None)
        if found is None:
            return DelegateChange(whose, delegate, "already")
        self._session.one(contract.REMOVE_DELEGATE, contract.RemoveDelegateItem(id=found.id))
        return DelegateChange(whose, delegate, "done")

    def delegated_access(self) -> Sequence[Access]:
        """What the caller reaches beside their own: mailboxes of a local portal, accounts on Mimecast's API 1.0.

        Raises `NotOfferedError` on API 2.0.
        """
        from mimeportal.account.persons import Access

        self._session.require(contract.DELEGATED_ACCESS, "telling what one has access to")
        row = self._session.one(contract.DELEGATED_ACCESS, contract.DelegatedAccessItem())
        return [Access.from_row(access) for access in row.delegate_access]

    def _whose(self, mailbox: str | None) -> str:
        """The mailbox that is meant, by its address: the functions for delegates always name it."""
        named = mailbox if mailbox is not None else self._session.transport.user
        if not named:
            raise UsageError(
                "Whose mailbox? An app has none of its own.",
                remedy="Name it with --mailbox ADDRESS or MIMEPORTAL_USER.",
            )
        return parse_address(named)

    @cached_property
    def code(self) -> str:
        """The account code, asked once: plans and reports name it."""
        if self._session.offers(contract.WHOAMI):
            return self.whoami().account_code
        return self.show().account_code
