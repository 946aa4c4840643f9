"""The door inside a process: `local:DIR`. Whoever may open the folder is trusted with it (promises E.6)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from mimeportal.addresses import normalise
from mimeportal.errors import AuthenticationError, MimeportalError, UnavailableError, UsageError
from mimeportal.wire import Api, Content, Request, Response
from mimeportal_server import people
from mimeportal_server.door import Door
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal
from mimeportal_server.store.database import BUSY_SECONDS, StoreError


class EmbeddedTransport:
    """A transport over a portal home opened in this process, as one of its people.

    `api` other than `local` restricts what is offered to one of Mimecast's APIs. `timeout` is how many seconds
    a database that another program writes to is waited for. Raises
    `AuthenticationError` for somebody who is none of the portal's people, or is disabled.
    """

    parallel = 1  # decisions wait for each other in the database: more at once are no faster

    def __init__(
        self,
        home: Path,
        user: str,
        *,
        api: Api = "local",
        timeout: float | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.api: Api = api
        self.url = f"local:{home}"
        self.user: str | None = normalise(user)
        self._portal = Portal(Home.open(home, busy=BUSY_SECONDS if timeout is None else timeout), wall=wall)
        self._door = Door(self._portal)
        self._os_user = os_user()
        self._closed = False
        self._sends_large = False  # so that there may be something to scan
        try:
            self._caller()
        except AuthenticationError:
            self._portal.close()
            raise

    def send(self, request: Request) -> Response:
        if self._closed:
            raise UsageError("This portal is closed.", remedy="Open it again with `Portal.open()`.")
        self._sends_large |= request.path.startswith(_LARGE)
        if isinstance(request.body, Content):
            request.body = list(request.body)  # what fails of it is the client's own file, not the portal
        return self._door.handle(request, self._caller())

    def _caller(self) -> people.Caller:
        """Who asks, as they stand now: a role, a delegation or a person that ended has ended for open portals too."""
        user = self.user or ""
        try:
            with self._portal.database.read() as tx:
                caller = people.caller_of(tx, user, "embedded", self._os_user)
        except StoreError as fault:
            raise UnavailableError(fault.sentence, remedy="Try again later.") from None
        if caller is None:
            raise AuthenticationError(
                f"{user} is none of this portal's people, or is disabled.",
                why=f"Asked in {self.url}.",
                remedy=f"See them with: mimeportal-server people list --home {self._portal.home.path}",
            )
        return caller

    def close(self) -> str | None:
        """Deliver what was released, by this session or an interrupted one before, and close the home."""
        if self._closed:
            return None
        self._closed = True
        try:
            return self._deliver()
        finally:
            self._portal.close()

    def _deliver(self) -> str | None:
        from mimeportal_server import delivery

        try:
            if self._sends_large:
                from mimeportal_server import largefile_scan

                largefile_scan.run(self._portal)
            counts = delivery.deliver(self._portal)
        except (StoreError, MimeportalError, OSError) as fault:
            return f"What was released is still queued: {fault}. The next command, or a sweep, delivers it."
        if counts["queued"]:
            return (
                f"{counts['queued']} messages are still queued for delivery. "
                "The next command, or `mimeportal-server sweep`, delivers them."
            )
        if counts["failed"]:
            return f"{counts['failed']} messages could not be delivered: see `mimeportal-server status`."
        return None


_LARGE = "/api/portal/largefiles/"


def os_user() -> str:
    """The machine's own name for whoever runs this process: recorded beside the claimed person."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except ImportError:
        return os.environ.get("USERNAME", "")
    except KeyError:  # an account that has no name, as in containers
        return f"uid {os.getuid()}"
