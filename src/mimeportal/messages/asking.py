"""How lists about messages are asked for: page by page, each row tested again by the client."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from mimeportal.addresses import address_filter_kind
from mimeportal.paging import PageOf, Pages, page_size_of
from mimeportal.wire import Endpoint, Item

if TYPE_CHECKING:
    from mimeportal.portal import Portal

T = TypeVar("T")
Test = Callable[[T], bool]


class Asking:
    """What every part of `portal.messages` needs."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._session = portal.session

    def _pages(
        self,
        endpoint: Endpoint[Any, Any],
        asked: Item,
        read: Callable[[Any], T],
        wanted: Test[T],
        page_size: int | None = None,
    ) -> Pages[T]:
        self._session.require(endpoint)
        size = page_size_of(page_size)

        def fetch(token: str | None) -> PageOf[T]:
            answer = self._session.call(endpoint, [asked], page_size=size, page_token=token)
            page = answer.page
            found = [row for row in map(read, answer.rows) if wanted(row)]
            return PageOf(found, page.total_count if page else None, page.next if page else None)

        return Pages(fetch)


def whole(moment: datetime) -> datetime:
    """Whole seconds travel: never too early an end."""
    return moment + timedelta(microseconds=-moment.microsecond % 1_000_000)


def narrowing(text: str | None) -> str | None:
    """What Mimecast takes of an address filter: an address or a domain. The rest is filtered here."""
    if text is None:
        return None
    kind, value = address_filter_kind(text)
    return value if kind in ("address", "domain") else None
