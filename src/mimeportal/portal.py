"""The facade: one `Portal`, one attribute per noun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from mimeportal import limits
from mimeportal.errors import UsageError
from mimeportal.transport import Session, Transport
from mimeportal.urls import LOCAL

if TYPE_CHECKING:
    from mimeportal.account import AccountClient
    from mimeportal.auth import AuthClient
    from mimeportal.credentials import Credentials
    from mimeportal.holds import HoldsClient
    from mimeportal.largefiles import LargefilesClient
    from mimeportal.messages.client import MessagesClient
    from mimeportal.profiles import Target
    from mimeportal.reports.client import ReportsClient
    from mimeportal.secure import SecureClient
    from mimeportal.senders import SendersClient
    from mimeportal.wire import Api, JsonObject


_LONGEST_WAIT = 86_400  # seconds


class Portal:
    """A portal, as one caller sees it. Open it with `Portal.open()`, and close it: use a `with` statement.

    It may be used by several threads at once. `Portal(transport)` takes a way of one's own to a portal: anything that
    fills `mimeportal.transport.Transport`.

    >>> with Portal.open("local:home", user="ann@example.com") as portal:  # doctest: +SKIP
    ...     for hold in portal.holds.list(subject="invoice"):
    ...         print(hold.from_header, hold.subject)
    """

    def __init__(self, transport: Transport, *, profile: str = "") -> None:
        self._transport = transport
        self.session: Session = Session(transport)
        self.profile = profile

    @classmethod
    def open(
        cls,
        url: str | None = None,
        *,
        user: str | None = None,
        profile: str | None = None,
        timeout: float | None = None,
        attempts: int | None = None,
        api: Api | None = None,
        credentials: Credentials | None = None,
    ) -> Portal:
        """Open a portal: `local:DIR`, embedded in this process, or one over HTTP, for the person `user`.

        What is not given comes from the environment (`MIMEPORTAL_URL` and the credentials for it, `MIMEPORTAL_USER`,
        `MIMEPORTAL_PROFILE`), else from the current profile; a URL and its credentials always from one source.
        `timeout` is how many seconds a local portal in use (10), or a piece of an answer over HTTP (60), is waited for.
        `attempts` is how often a call over HTTP is sent at the most, the first time included (5): only what may be
        repeated is, see `mimeportal.retry`. `api` restricts a local portal to what one of Mimecast's APIs offers.
        Without credentials a portal over HTTP does nothing but what wants no log-in. Raises `ConfigurationError` when
        nothing says where to go, or when the folder is no portal home; `AuthenticationError` for an unknown person;
        `UsageError` for arguments that contradict each other.
        """
        from mimeportal import profiles

        for name, given in (("url", url), ("user", user), ("profile", profile), ("api", api)):
            if given is not None and not isinstance(given, str):
                raise UsageError(
                    f"{name} takes text, not {type(given).__name__}.", remedy="A portal is named as in 'local:DIR'."
                )
        if credentials is not None and (url is None or profile is not None):
            raise UsageError(
                "Credentials are given without their URL.",
                why="A URL and its credentials come from one source.",
                remedy="Name the URL beside them, and no profile.",
            )
        if url is not None and profile is None and not url.startswith(LOCAL):
            address = user or os.environ.get("MIMEPORTAL_USER", "")
            target = profiles.bare(profiles.Profile("", url, user=address, api=os.environ.get("MIMEPORTAL_API", "")))
        else:
            target = profiles.resolve(url=url, user=user, profile=profile)
        asked = replace(target, user=user or target.user, api=api or target.api)
        return cls.to(asked, timeout, attempts=attempts, credentials=credentials)

    @classmethod
    def to(
        cls,
        target: Target,
        timeout: float | None = None,
        *,
        attempts: int | None = None,
        credentials: Credentials | None = None,
    ) -> Portal:
        """Open the portal of a target, with these credentials or those that go with it; see `Portal.open`."""
        _check_timeout(timeout)
        _check_attempts(attempts)
        if target.url.startswith(LOCAL):
            from mimeportal import local, regions

            api = regions.api_of(target.url, asked=target.api)
            transport = local.open_transport(target.url, target.user, api=api, timeout=timeout)
            return cls(transport, profile=target.profile)
        from mimeportal.credentials import load
        from mimeportal.transport_http import HttpTransport

        remote = HttpTransport(
            target.url,
            api=target.api,
            credentials=credentials or load(target),
            user=target.user,
            timeout=timeout,
            ca_file=target.ca_file,
            proxy=target.proxy,
        )
        if attempts is not None:
            remote.policy.attempts = attempts
        return cls(remote, profile=target.profile)

    def __repr__(self) -> str:
        return f"Portal({self.url!r}, user={self.user!r})"

    @property
    def url(self) -> str:
        """Where it is: `local:DIR`, or the URL of a portal over HTTP."""
        return self._transport.url

    @property
    def user(self) -> str | None:
        """The address whose portal this is; None for an app without one."""
        return self._transport.user

    @property
    def is_person(self) -> bool:
        """A person's own log-in, or an app that acts for the account."""
        return self.session.is_person

    @cached_property
    def account(self) -> AccountClient:
        """The account and one's own mailbox in it: who is asking, preferences, contacts, delegates."""
        from mimeportal.account.client import AccountClient

        return AccountClient(self.session)

    @cached_property
    def holds(self) -> HoldsClient:
        """Held mail: list, read, release, reject."""
        from mimeportal.holds.client import HoldsClient

        return HoldsClient(self)

    @cached_property
    def auth(self) -> AuthClient:
        """Logging in, and what an address may log in with."""
        from mimeportal.auth.client import AuthClient

        return AuthClient(self.session)

    @cached_property
    def largefiles(self) -> LargefilesClient:
        """Large files: send, take up, list, extend, expire, fetch."""
        from mimeportal.largefiles.client import LargefilesClient

        return LargefilesClient(self)

    @cached_property
    def messages(self) -> MessagesClient:
        """The mailbox, mail to write, and mail on its way: tracked, waiting, bounced, rejected."""
        from mimeportal.messages.client import MessagesClient

        return MessagesClient(self)

    @cached_property
    def reports(self) -> ReportsClient:
        """Numbers per day and logs, as rows and as files. For administrators."""
        from mimeportal.reports.client import ReportsClient

        return ReportsClient(self)

    @cached_property
    def secure(self) -> SecureClient:
        """Secure messages: send, read, answer, recall, watch over."""
        from mimeportal.secure.client import SecureClient

        return SecureClient(self)

    @cached_property
    def senders(self) -> SendersClient:
        """Whom a mailbox blocks, permits and trusts."""
        from mimeportal.senders.client import SendersClient

        return SendersClient(self)

    def call(
        self,
        path: str,
        data: Any = None,
        *,
        method: str | None = None,
        page_size: int | None = None,
        page_token: str | None = None,
    ) -> JsonObject:
        """Any function of the API by its path, with our authentication; the JSON object that it answers.

        Under `/api/`, `data` is the items: a list, or one alone; elsewhere it is the body as it stands. `method` is
        POST there, else GET unless there is a body. Names that begin with `get-` or `find-`, `search`, and GET are
        taken to be safe, and repeated where that helps; others are sent once. Raises as the operations do.
        """
        from mimeportal import anything

        return anything.call(self.session, path, data, method=method, page_size=page_size, page_token=page_token)

    def pages(
        self, path: str, data: Any = None, *, method: str | None = None, page_size: int | None = None
    ) -> Iterator[JsonObject]:
        """As `call`, page after page to the last: the JSON object of each."""
        from mimeportal import anything

        return anything.pages(self.session, path, data, method=method, page_size=page_size)

    def close(self) -> str:
        """End the session; a local portal delivers what was released first.

        Returns a sentence for a person about what is still queued, "" when nothing is.
        """
        return self._transport.close() or ""

    def __enter__(self) -> Portal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_attempts(attempts: object) -> None:
    number = isinstance(attempts, int) and not isinstance(attempts, bool)
    if attempts is not None and not (number and 1 <= cast("int", attempts) <= limits.MOST_ATTEMPTS):
        raise UsageError(f"Not a number of attempts: {attempts!r}.", remedy=f"Give 1 to {limits.MOST_ATTEMPTS}.")


def _check_timeout(seconds: object) -> None:
    # What is no number, as nan, compares with nothing.
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (number and 0 < cast("float", seconds) <= _LONGEST_WAIT):
        raise UsageError(
            f"Not a timeout: {seconds!r}.", remedy=f"Give seconds, more than 0 and at most {_LONGEST_WAIT:,}."
        )
