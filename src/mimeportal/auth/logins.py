"""What authorises the calls of one portal: a bearer token that is kept fresh, or keys that sign each call."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from mimeportal.auth import flows
from mimeportal.auth.contract import TokenRow
from mimeportal.errors import AuthenticationError

_EARLY = 60  # seconds before its end at which a token is not used any more
_LONGEST = 86_400  # seconds that a token is used, whatever its portal says


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
                if re.search(r"[^!-~]", row.access_token):
                    raise AuthenticationError(
                        "The portal gave a token that no request can hold.",
                        code="err_token_unreadable",
                        why="It has blanks, line ends or letters beyond ASCII in it.",
                        remedy="Check the portal's URL, and ask its operator.",
                    )
                self._token = row.access_token
                life = min(max(row.expires_in, 0), _LONGEST)
                self._ends = asked + life - min(_EARLY, life / 2)
                self._number += 1
            return {"authorization": f"Bearer {self._token}"}, self._number

    def renew(self, used: int) -> bool:
        """Forget the token, unless another thread did: gateways refuse good ones too (mimecast-api-core 3.3)."""
        with self._lock:
            if used == self._number:
                self._token = ""
        return True


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """What signs a call: an application of API 1.0, and the keys of a binding."""

    app_id: str
    app_key: str
    access_key: str
    secret_key: str


class Signed:
    """The keys of a binding of API 1.0, which sign each call (mimecast-api-core 2).

    `log_in` gets keys by the password, at the first call where there are none, else to renew the binding of that
    access key; None where no password is at hand.
    """

    def __init__(self, keys: Keys | None, wall: Callable[[], float], log_in: Callable[[str], Keys] | None) -> None:
        self._keys = keys
        self.own: bool = False  # the keys are of this log-in alone
        self._wall = wall
        self._log_in = log_in
        self._lock = threading.Lock()
        self._number = 1

    @property
    def access_key(self) -> str:
        """The access key in use, "" before the first log-in."""
        return self._keys.access_key if self._keys else ""

    def headers(self, request_id: str, path: str) -> tuple[dict[str, str], int]:
        with self._lock:
            keys, number = self._keys or self._renewed(""), self._number
        signed = flows.signed_headers(
            moment=datetime.fromtimestamp(self._wall(), UTC),
            request_id=request_id,
            path=path,
            app_id=keys.app_id,
            app_key=keys.app_key,
            access_key=keys.access_key,
            secret_key=keys.secret_key,
        )
        return signed, number

    def renew(self, used: int) -> bool:
        """Renew the expired binding, unless another thread did. Raises `AuthenticationError` without a password."""
        with self._lock:
            if used == self._number:
                self._renewed(self.access_key)
        return True

    def _renewed(self, access_key: str) -> Keys:
        if self._log_in is None:
            raise AuthenticationError(
                "The log-in has expired.",
                code="err_xdk_binding_expired",
                status=418,
                why="Its keys are good for a while only, and no password is at hand to renew them.",
                remedy="Log in again: `mimeportal auth login`.",
            )
        self.own = self.own or not access_key
        self._keys = self._log_in(access_key)
        self._number += 1
        return self._keys
