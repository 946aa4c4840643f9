"""How a caller logs in: what an address may log in with, tokens of API 2.0, bindings of API 1.0."""

from __future__ import annotations

from datetime import UTC, datetime

from mimeportal import regions
from mimeportal.addresses import parse_address
from mimeportal.auth import contract, flows
from mimeportal.auth.contract import AppRow, DiscoverRow, LoginRow, TokenRow
from mimeportal.errors import ConfigurationError
from mimeportal.transport import Session
from mimeportal.urls import LOCAL


class AuthClient:
    """`portal.auth`. Rows hold secrets, which their representation leaves out."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def discover(self, address: str, *, app_id: str | None = None) -> DiscoverRow:
        """The region of an address, and the ways it may log in (mimecast-api-core 2.2); asked of the global host.

        `app_id` is the application of API 1.0 that asks: of the portal's credentials, or a local portal's own,
        unless given. Raises `ApiError` when the region is neither a known one nor the portal's own host.
        """
        item = contract.DiscoverItem(email_address=parse_address(address))
        row = self._session.one(contract.DISCOVER, item, headers=self._headers(app_id))
        url = self._session.transport.url
        if row.region.api and not url.startswith(LOCAL):
            regions.check_discovered(row.region.api, url)
        return row

    def token(self, client_id: str, client_secret: str) -> TokenRow:
        """A bearer token of API 2.0 (mimecast-api-core 3.1). Raises `AuthenticationError`."""
        return self._session.one(contract.TOKEN, contract.TokenItem(client_id=client_id, client_secret=client_secret))

    def login(
        self,
        address: str,
        password: str,
        *,
        scheme: str = contract.CLOUD_PASSWORD,
        access_key: str | None = None,
        app_id: str | None = None,
    ) -> LoginRow:
        """The keys of a binding of API 1.0 by a password (mimecast-api-core 2.3).

        `access_key` renews that binding in place of making another. `scheme` is `Basic-Cloud` or `Basic-AD`.
        Raises `AuthenticationError` for a wrong password, and for an address that logs in by other ways.
        """
        parse_address(address)
        headers = {**self._headers(app_id), "authorization": flows.basic(scheme, address, password)}
        item = contract.LoginItem(username=address, access_key=access_key)
        return self._session.one(contract.LOGIN, item, headers=headers)

    def logout(self, access_key: str) -> None:
        """End a binding: the caller's own. Raises `ForbiddenError` for another's."""
        self._session.call(contract.LOGOUT, [contract.LogoutItem(access_key=access_key)])

    def app(self) -> AppRow:
        """The application of a local portal for people who log in with a password.

        Raises `NotOfferedError` on Mimecast.
        """
        return self._session.one(contract.APP, contract.AppItem())

    def _headers(self, app_id: str | None) -> dict[str, str]:
        credentials = getattr(self._session.transport, "credentials", None)
        named = app_id or (credentials.app_id if credentials else "")
        if not named and self._session.offers(contract.APP):
            named = self.app().app_id
        if not named:
            raise ConfigurationError(
                "No application of API 1.0 is named.",
                why="Mimecast lets people log in through a registered application alone.",
                remedy="Set MIMEPORTAL_APP_ID and MIMEPORTAL_APP_KEY, from the administration console.",
            )
        return {"x-mc-app-id": named, "x-mc-date": flows.date_header(datetime.now(UTC))}
