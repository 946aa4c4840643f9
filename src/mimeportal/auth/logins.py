"""What authorises the calls of one portal: a bearer token that is kept fresh, or keys that sign each call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from mimeportal.auth import flows
from mimeportal.auth.contract import LoginRow, TokenRow
from mimeportal.credentials import Credentials
from mimeportal.errors import AuthenticationError

_EARLY = 60  # seconds before its end at which a token is not used any more


class LogIn(Protocol):
    """Safe to use from several threads: one of them renews for all."""

    def headers(self, request_id: str, path: str) -> tuple[dict[str, str], int]:
        """The headers of one call, and the number of the token or binding that they are of."""
        ...

    def renew(self, used: int) -> bool:
        """After a refusal of that number: whether a call has another chance now."""
        ...


class Bearer:
    """Tokens of API 2.0, fetched when they are first needed and again before they end (mimecast-api-core 3)."""

    def __init__(self, fetch: Callable[[], TokenRow], monotonic: Callable[[], float]) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._number = 1
        self._token = ""
        self._ends = 0.0

    def headers(self, request_id: str, path: str) -> tuple[dict[str, str], int]:
        with self._lock:
            if not self._token or self._monotonic() >= self._ends:
                asked = self._monotonic()
                row = self._fetch()
                self._token = row.access_token
                self._ends = asked + row.expires_in - min(_EARLY, row.expires_in / 2)
                self._number += 1
            return {"authorization": f"Bearer {self._token}"}, self._number

    def renew(self, used: int) -> bool:
        """Forget the token, unless another thread did: gateways refuse good ones too (mimecast-api-core 3.3)."""
        with self._lock:
            if used == self._number:
                self._token = ""
        return True


class Signed:
    """The keys of a binding of API 1.0, which sign each call (mimecast-api-core 2).

    `refresh` renews the binding with the password; None where none is at hand.
    """

    def __init__(
        self,
        credentials: Credentials,
        wall: Callable[[], float],
        refresh: Callable[[], LoginRow] | None,
    ) -> None:
        self._app_id, self._app_key = credentials.app_id, credentials.app_key
        self._keys = (credentials.access_key, credentials.secret_key)
        self._wall = wall
        self._refresh = refresh
        self._lock = threading.Lock()
        self._number = 1

    def headers(self, request_id: str, path: str) -> tuple[dict[str, str], int]:
        with self._lock:
            (access_key, secret_key), number = self._keys, self._number
        signed = flows.signed_headers(
            moment=datetime.fromtimestamp(self._wall(), UTC),
            request_id=request_id,
            path=path,
            app_id=self._app_id,
            app_key=self._app_key,
            access_key=access_key,
            secret_key=secret_key,
        )
        return signed, number

    def renew(self, used: int) -> bool:
        """Renew the expired binding, unless another thread did. Raises `AuthenticationError` without a password."""
        with self._lock:
            if used == self._number:
                if self._refresh is None:
                    raise AuthenticationError(
                        "The log-in has expired.",
                        code="err_xdk_binding_expired",
                        status=418,
                        why="Its keys are good for a while only, and no password is at hand to renew them.",
                        remedy="Log in again: `mimeportal auth login`.",
                    )
                row = self._refresh()
                self._keys = (row.access_key, row.secret_key)
                self._number += 1
        return True
