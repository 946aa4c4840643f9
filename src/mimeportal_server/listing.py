"""One way to page through a table: by key, newest or first first, with opaque tokens both ways."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, LargeBinary, Row, Select, and_, cast, func, or_, true

from mimeportal import limits
from mimeportal.patterns import fold
from mimeportal.wire import Page
from mimeportal_server.portal import Call, Portal


def may_match(text: str, column: ColumnElement[str], *, folded: bool = False) -> ColumnElement[bool]:
    """True of every row whose column matches a text condition (`TextPattern.parse`), and of few others.

    The column holds small letters; `folded` says that it was folded as caseless matching does. Otherwise only
    ASCII can be compared here, and a column with anything else in it is left to whoever asked.
    """
    pieces = [piece for piece in fold(text).split("*") if piece]
    found = and_(true(), *(func.instr(column, piece) > 0 for piece in pieces))
    if folded:
        return found
    other = func.length(column) != func.length(cast(column, LargeBinary))
    return or_(found, other) if fold(text).isascii() else other


class Keyset:
    """Pages of one query. The token holds the key where the page starts, sealed to caller and query.

    What is decided, added or removed meanwhile shifts no row to another page: keys stay where they are.
    """

    def __init__(self, portal: Portal, call: Call, name: str, key: Column[Any], *, descending: bool = True) -> None:
        self._sealer = portal.sealer
        self._caller = str(call.caller.person_id)
        self._query = json.dumps([name, call.items], sort_keys=True)
        self._key = key
        self._descending = descending
        self._start: dict[str, Any] = {}
        self._size = call.page_size
        if call.page_token is not None:
            self._start, self._size = self._sealer.start(self._caller, self._query, call.page_token)
        self._size = min(self._size, portal.settings.limits["page_size"])
        # A fault of the lab: pages that count rows, as other portals may, and so shift while rows go.
        self._counts_rows = "row_offset_tokens" in call.faults or "offset" in self._start

    def fetch(self, tx: Connection, query: Select[Any]) -> tuple[list[Row[Any]], Page]:
        """One page of rows and its block. `query` selects the key column among others."""
        if self._counts_rows:
            return self._fetch_by_offset(tx, query)
        total = self._start.get("total")
        if not self._start:
            # All keys up to the counted limit: they give the total, and for short lists the page itself,
            # so that a filter which hits nothing reads the table once.
            keys = list(tx.scalars(query.with_only_columns(self._key).limit(limits.TOTAL_COUNTED + 1)))
            if len(keys) <= limits.TOTAL_COUNTED:
                total = len(keys)
                keys = sorted(keys, reverse=self._descending)[: self._size + 1]
                query = query.where(self._key.in_(keys))
        backwards = "before" in self._start
        down = self._descending != backwards
        if self._start:
            edge = self._start["before"] if backwards else self._start["after"]
            query = query.where(self._key < edge if down else self._key > edge)
        ordered = query.order_by(self._key.desc() if down else self._key.asc())
        rows = list(tx.execute(ordered.limit(self._size + 1)))
        more = len(rows) > self._size
        rows = rows[: self._size]
        if backwards:
            rows.reverse()
        has_next = bool(rows) and (more or backwards)
        has_previous = bool(rows) and (more if backwards else bool(self._start))
        name = self._key.name
        return rows, Page(
            len(rows),
            total,
            self._token("after", getattr(rows[-1], name), total) if has_next else None,
            self._token("before", getattr(rows[0], name), total) if has_previous else None,
        )

    def _fetch_by_offset(self, tx: Connection, query: Select[Any]) -> tuple[list[Row[Any]], Page]:
        offset = int(self._start.get("offset", 0))
        ordered = query.order_by(self._key.desc() if self._descending else self._key.asc())
        rows = list(tx.execute(ordered.offset(offset).limit(self._size + 1)))
        start = {"offset": offset + self._size}
        token = self._sealer.page(self._caller, self._query, start, self._size, previous=False)
        return rows[: self._size], Page(min(len(rows), self._size), next=token if len(rows) > self._size else None)

    def _token(self, side: str, edge: Any, total: int | None) -> str:
        start = {side: edge} if total is None else {side: edge, "total": total}
        return self._sealer.page(self._caller, self._query, start, self._size, previous=side == "before")
