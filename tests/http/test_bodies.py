"""How long a body of octets may take: as long as a slow line needs for so many."""

from __future__ import annotations

from mimeportal import limits
from mimeportal.holds import contract as holds
from mimeportal.largefiles import contract as largefiles
from mimeportal_server import http


def test_seconds_of_a_body() -> None:
    assert http._seconds(None) == http._seconds(holds.FIND) == limits.HTTP_SECONDS
    assert http._seconds(largefiles.CHUNK) == limits.HTTP_SECONDS + limits.CHUNK / limits.CHUNK_SLOWEST == 572
