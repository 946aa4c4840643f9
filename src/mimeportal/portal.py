"""The facade: one `Portal`, one attribute per noun."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from mimeportal.errors import UsageError
from mimeportal.transport import Session, Transport

if TYPE_CHECKING:
    from mimeportal.account import AccountClient
    from mimeportal.holds import HoldsClient
    from mimeportal.senders import SendersClient


class Portal:
    """A portal, as one caller sees it. Open it with `Portal.open()`, and close it: use a `with` statement.

    >>> with Portal.open("local:home", user="ann@example.com") as portal:  # doctest: +SKIP
    ...     for hold in portal.holds.list(subject="invoice"):
    ...         print(hold.from_header, hold.subject)
    """

    def __init__(self, transport: Transport, *, profile: str = "") -> None:
        self._transport = transport
        self.session = Session(transport)
        self.profile = profile

    @classmethod
    def open(
        cls,
        url: str | None = None,
        *,
        user: str | None = None,
        profile: str | None = None,
        timeout: float | None = None,
    ) -> Portal:
        """Open a portal: `local:DIR`, embedded in this process, for the person `user`.

        What is not given comes from the environment (`MIMEPORTAL_URL`, `MIMEPORTAL_USER`,
        `MIMEPORTAL_PROFILE`), else from the current profile. `timeout` is how many seconds a portal that is in use
        is waited for. Raises `ConfigurationError` when nothing says
        where to go, or when the folder is no portal home; `AuthenticationError` for an unknown person.
        """
        from mimeportal import local, profiles

        for name, given in (("url", url), ("user", user), ("profile", profile)):
            if given is not None and not isinstance(given, str):
                raise UsageError(
                    f"{name} takes text, not {type(given).__name__}.", remedy="A portal is named as in 'local:DIR'."
                )
        target = profiles.resolve(url=url, user=user, profile=profile)
        return cls(local.open_transport(target.url, target.user, timeout=timeout), profile=target.profile)

    @property
    def url(self) -> str:
        return self._transport.url

    @property
    def user(self) -> str | None:
        """The address whose portal this is; None for an app without one."""
        return self._transport.user

    @property
    def is_person(self) -> bool:
        """A person's own log-in, or an app that acts for the account."""
        return self._transport.api == "local"

    @cached_property
    def account(self) -> AccountClient:
        from mimeportal.account.client import AccountClient

        return AccountClient(self.session)

    @cached_property
    def holds(self) -> HoldsClient:
        from mimeportal.holds.client import HoldsClient

        return HoldsClient(self)

    @cached_property
    def senders(self) -> SendersClient:
        from mimeportal.senders.client import SendersClient

        return SendersClient(self)

    def close(self) -> str:
        """End the session; a local portal delivers what was released first.

        Returns a sentence for a person about what is still queued, "" when nothing is.
        """
        return self._transport.close() or ""

    def __enter__(self) -> Portal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
