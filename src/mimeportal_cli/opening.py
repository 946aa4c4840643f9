"""From the global options to an open portal, and its time zone; what is still under way is told at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING

from mimeportal_cli.options import settings

if TYPE_CHECKING:
    from mimeportal.portal import Portal
    from mimeportal.profiles import Target


def target(*, asks_password: bool = False) -> Target:
    """Where the command line, the environment or a profile says to go; its output format is preferred from now on.

    `asks_password`: the command takes the current password from `MIMEPORTAL_PASSWORD_FILE`; beside a profile that
    is no second source of credentials.
    """
    import os

    from mimeportal import profiles

    chosen = settings()
    given = dict(os.environ)
    if asks_password and not given.get("MIMEPORTAL_URL"):
        given.pop("MIMEPORTAL_PASSWORD_FILE", None)
    found = profiles.resolve(url=chosen.url, profile=chosen.profile, environ=given)
    chosen.output, chosen.tz = found.output, found.tz
    return found


@contextmanager
def opened(*, asks_password: bool = False) -> Iterator[Portal]:
    """The portal of this command. Closing it delivers what was released; what is still queued is told on stderr."""
    from mimeportal.portal import Portal

    portal = Portal.to(target(asks_password=asks_password), settings().timeout)
    try:
        yield portal
    finally:
        sentence = portal.close()
        if sentence:
            settings().console.warn(sentence)


def zone_of(portal: Portal, asked: str | None) -> tzinfo:
    """The zone in which times are read and shown: `--tz`, the profile's, the person's, the account's, else UTC.

    From then on tables show times in the formats that the person prefers, where the portal tells them.
    """
    from mimeportal.account import contract
    from mimeportal.errors import UsageError
    from mimeportal.profiles import time_zone

    chosen = settings()
    if chosen.preferred is None and portal.session.offers(contract.WHOAMI):
        chosen.preferred = portal.account.whoami()
    name = asked or chosen.tz
    if name:
        return time_zone(name)
    if chosen.preferred is not None:
        try:
            return time_zone(chosen.preferred.time_zone)
        except UsageError:
            pass  # the portal knows a zone that this machine does not
    return UTC


def now_of(portal: Portal) -> datetime:
    """What time it is where it counts: at the portal, if it tells, whatever the clock of this machine says.

    What `7d` or `today` stand for is reckoned from it, as it was when the portal was first asked for its zone.
    """
    zone_of(portal, None)
    who = settings().preferred
    return who.now if who is not None and who.now is not None else datetime.now(UTC)
