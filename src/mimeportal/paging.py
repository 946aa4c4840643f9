"""One lazy iterator over the pages of a list, whatever is listed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from mimeportal import limits
from mimeportal.errors import ApiError, UsageError

T = TypeVar("T")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class PageOf(Generic[T]):
    """One page: its rows, the total where the portal told it, and the token of the next page."""

    rows: list[T]
    total_count: int | None
    next: str | None


class Tokens:
    """The page tokens of one list, of which none may come again. One is remembered, ever later ones: that finds
    any round (Brent), however many pages a list has.
    """

    def __init__(self) -> None:
        self._count = 0
        self._last: str | None = None
        self._remembered: str | None = None

    def follow(self, token: str) -> str:
        """The token, which is the next one. Raises `ApiError` for a list without an end."""
        if token in (self._last, self._remembered):
            raise ApiError(
                "The portal sent the same page token twice, so the list has no end.",
                code="err_page_token_repeated",
                remedy="Narrow the list with --since or another filter, and tell the portal's operator.",
            )
        self._last = token
        self._count += 1
        if self._count & (self._count - 1) == 0:
            self._remembered = token
        return token


def page_size_of(wanted: object) -> int:
    """How many rows a page has: as asked for, else `limits.PAGE_SIZE`. Raises `UsageError`."""
    if wanted is None:
        return limits.PAGE_SIZE
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise UsageError(f"page_size takes a number of rows, not {wanted!r}.")
    return wanted


class Pages(Generic[T]):
    """A list that is fetched page by page while it is iterated; nothing is sent before.

    `for row in pages` walks every page. `pages.pages()` gives whole pages, `pages.first(n)` a list of at
    most n rows. Each new iteration starts again at the first page.
    """

    def __init__(self, fetch: Callable[[str | None], PageOf[T]]) -> None:
        self._fetch = fetch

    def __repr__(self) -> str:
        return "Pages(...)"  # what is in it is known once it is iterated

    def pages(self) -> Iterator[PageOf[T]]:
        """The same list page by page, with the total where the portal tells it."""
        token: str | None = None
        tokens = Tokens()
        while True:
            page = self._fetch(token)
            yield page
            if page.next is None:
                return
            token = tokens.follow(page.next)

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.rows

    def mapped(self, make: Callable[[T], Made | None]) -> Pages[Made]:
        """The same list, each row as `make` makes it; rows that it makes None of are left out."""

        def fetch(token: str | None) -> PageOf[Made]:
            page = self._fetch(token)
            return PageOf([made for row in page.rows if (made := make(row)) is not None], None, page.next)

        return Pages(fetch)

    def ahead(self) -> Iterator[T]:
        """Every row, the next page being fetched by another thread meanwhile: for whoever reads to the end."""
        with ThreadPoolExecutor(1, "page") as pool:
            pages = self.pages()
            following = pool.submit(next, pages, None)
            while (page := following.result()) is not None:
                following = pool.submit(next, pages, None)
                yield from page.rows

    def first(self, count: int) -> list[T]:
        """At most `count` rows, fetching no page beyond them. Raises `UsageError` for what is no such number."""
        if not isinstance(count, int) or count < 0:
            raise UsageError(f"first() takes a number of rows, not {count!r}.")
        return list(islice(self, count))
