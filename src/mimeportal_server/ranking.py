"""Pages of what a search found, best first: it is ranked once, and what its other pages show is kept for a day.

No key orders what is ranked, and each message that arrives moves the ranks of all a little. So what a search found is
kept in its order, if that is more than a page: no row is seen twice or missed, whatever arrives or goes meanwhile, and
no page costs the ranking again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, insert, select

from mimeportal import limits
from mimeportal.wire import Page
from mimeportal_server import searching
from mimeportal_server.clock import HOUR
from mimeportal_server.portal import Call, Portal, Refused
from mimeportal_server.store.schema import mailbox, searches, words


class Ranked:
    """The pages of one search. The token names what is kept of it and the page, sealed to caller and query."""

    def __init__(self, portal: Portal, call: Call, name: str) -> None:
        self._portal = portal
        self._person = call.caller.person_id
        self._query = json.dumps([name, call.items], sort_keys=True)
        self._start: dict[str, Any] = {}
        self._size = call.page_size
        if call.page_token is not None:
            self._start, self._size = portal.sealer.start(str(self._person), self._query, call.page_token)
        self._size = min(self._size, portal.settings.limits["page_size"])

    def fetch(self, mail: Select[Any], conditions: Sequence[ColumnElement[bool]]) -> tuple[list[Row[Any]], Page]:
        """One page of rows of `mail`, which selects `mailbox.c.id` among others, and its block.

        Raises `Refused` when what was found is kept no more.
        """
        if self._start:
            search, page = str(self._start["search"]), int(self._start["page"])
            numbers, more = self._kept(search, page)
        else:
            search, page = self._portal.new_id(), 1
            numbers, more = self._found(mail, conditions, search)
        with self._portal.database.read() as tx:
            by_number = {row.id: row for row in tx.execute(mail.where(mailbox.c.id.in_(numbers)))}
        rows = [by_number[number] for number in numbers if number in by_number]  # what went meanwhile is left out
        return rows, Page(len(rows), next=self._token(search, page + 1) if more else None)

    def _found(
        self, mail: Select[Any], conditions: Sequence[ColumnElement[bool]], search: str
    ) -> tuple[list[int], bool]:
        """The first page, and whether there are more: these are kept."""
        ranked = mail.with_only_columns(mailbox.c.id).join(words, words.c.rowid == mailbox.c.message_id)
        with self._portal.database.read() as tx:
            found = list(tx.scalars(ranked.where(*conditions).order_by(searching.RANK)))
        first, others = found[: self._size], found[self._size :]
        if others:
            now = self._portal.clock.now()
            pages = [others[at : at + self._size] for at in range(0, len(others), self._size)]
            kept = {"search": search, "person_id": self._person, "at": now}
            with self._portal.write() as tx:
                _make_room(tx, self._person)
                rows = [{**kept, "page": page, "found": json.dumps(some)} for page, some in enumerate(pages, 2)]
                tx.execute(insert(searches), rows)
        return first, bool(others)

    def _kept(self, search: str, page: int) -> tuple[list[int], bool]:
        these = (searches.c.search == search, searches.c.page.in_((page, page + 1)))
        with self._portal.database.read() as tx:
            rows = tx.execute(select(searches).where(*these, searches.c.person_id == self._person)).all()
        pages = {row.page: json.loads(row.found) for row in rows}
        if page not in pages:
            sentence = f"What a search found is kept for {limits.SEARCH_HOURS} hours, and of the last searches alone."
            raise Refused("search_over", sentence)
        return pages[page], page + 1 in pages

    def _token(self, search: str, page: int) -> str:
        start = {"search": search, "page": page}
        return self._portal.sealer.page(str(self._person), self._query, start, self._size, previous=False)


def _make_room(tx: Connection, person_id: int) -> None:
    """Let go of somebody's oldest searches, so that one more may be kept."""
    theirs = select(searches.c.search).where(searches.c.person_id == person_id, searches.c.page == 2)
    older = tx.scalars(theirs.order_by(searches.c.at.desc()).offset(limits.SEARCHES_KEPT - 1)).all()
    if older:
        tx.execute(delete(searches).where(searches.c.search.in_(older)))


def forget(tx: Connection, *, now: int) -> None:
    """Let go of what was kept for its time."""
    tx.execute(delete(searches).where(searches.c.at < now - limits.SEARCH_HOURS * HOUR))
