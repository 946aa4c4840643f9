"""The service: one open home with its time, ids and chance; the nouns' behaviour lies beside it, a file each."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from mimeportal.errors import ConfigurationError, UsageError
from mimeportal.wire import Failure, JsonObject, Page, Request
from mimeportal_server.clock import HOUR, Clock, in_calendar
from mimeportal_server.home import Home
from mimeportal_server.people import Caller
from mimeportal_server.store.schema import facts, signed_requests
from mimeportal_server.tokens import Sealer


@dataclass(slots=True)
class Call:
    """One request as an operation sees it: who asks, the items as JSON, the page, and the request's id."""

    caller: Caller
    items: list[JsonObject]
    page_size: int
    page_token: str | None
    request_id: str
    request: Request = field(default_factory=lambda: Request("POST", ""))
    faults: frozenset[str] = frozenset()  # of the lab: what this answer is to get wrong on purpose
    body: list[bytes] = field(default_factory=list)  # where the operation takes octets: their pieces, as they came

    @property
    def octets(self) -> bytes:
        """The body in one; its pieces are let go of."""
        if len(self.body) != 1:
            self.body[:] = [b"".join(self.body)]
        return self.body[0]


@dataclass(slots=True)
class Answer:
    """What an operation answers: rows, failures of single items, a page block; a stream of octets; a bare object.

    `status` and `headers` are those of a stream: a part of a file has its own.
    `beside` is what is told beside the rows, where they have a name (`Endpoint.rows_at`).
    """

    rows: list[JsonObject] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    page: Page | None = None
    body: Iterator[bytes] | None = None
    filename: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    object: JsonObject | None = None
    beside: JsonObject = field(default_factory=dict)


_OFFSET = select(facts.c.value).where(facts.c.name == "clock_offset")


class Refused(Exception):
    """A request is refused as a whole, with a failure code and an HTTP status.

    `gateway` marks what API 2.0's gateway refuses before any function runs: it is told in another shape.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int = 200,
        field: str | None = None,
        key: JsonObject | None = None,
        retryable: bool = False,
        gateway: bool = False,
    ) -> None:
        super().__init__(message)
        self.failure = Failure(code, message, field, retryable, key)
        self.status = status
        self.gateway = gateway


class Portal:
    """An open portal home. `wall` is the machine's clock in seconds, `new_id` makes request ids.

    `chance` draws a number of 0 to 1, less than 1: which auto-permitted mail is in the sample (portal-rules D.19).
    """

    def __init__(
        self,
        home: Home,
        *,
        wall: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.home = home
        self._wall = wall
        self.settings = home.settings
        self.database = home.database
        self.sealer = Sealer(home.key)
        self.new_id = new_id
        with self.database.read() as tx:
            known = {row.name: row.value for row in tx.execute(select(facts))}
        self.clock = Clock(wall, offset=int(known.get("clock_offset", 0)), seen=int(known.get("clock_seen", 0)))
        self.account_code = known["account_code"]
        self.lab = known.get("lab") == "1"  # made for tests: its time may be moved while it is open
        self.chance: Callable[[], float] = (lambda: 0.5) if self.lab else chance  # and nothing comes out in two ways

    @contextmanager
    def write(self, caller: Caller | None = None) -> Iterator[Connection]:
        """A write transaction. Now and then it also notes how late it is, so that a clock set back is seen.

        Whatever acts names its `caller`: a signed request is recorded with its act, and the same one again is
        refused (promises E.4).
        """
        with self.database.write() as tx:
            self._follow_lab(tx)
            machine = self.clock.machine()
            if caller is not None and caller.once:
                _record_once(tx, caller.once, machine)
            if machine > self.clock.seen + HOUR // 12 and self.clock.fault() is None:
                set_fact(tx, "clock_seen", str(machine))
                self.clock.seen = machine
            yield tx

    def accept_clock(self) -> None:
        """Believe the machine's clock again, whatever was seen before (promises F.2)."""
        machine = self.clock.machine()
        with self.database.write() as tx:
            tx.execute(update(facts).where(facts.c.name == "clock_seen").values(value=str(machine)))
        self.clock = Clock(self._wall, offset=self.clock.offset, seen=machine)

    def follow_lab(self) -> None:
        """In a home made for tests: go by the offset that was last set, by whatever process (promises F.2)."""
        if self.lab:
            with self.database.read() as tx:
                self._follow_lab(tx)

    def _follow_lab(self, tx: Connection) -> None:
        if self.lab:
            self.clock.offset = int(tx.scalar(_OFFSET) or 0)

    def set_offset(self, offset: int) -> None:
        """Set by how many milliseconds the portal's time is ahead of the machine's clock, for every door.

        Raises `ConfigurationError` unless the home was made for tests, `UsageError` beyond the calendar.
        """
        if not self.lab:
            raise ConfigurationError(
                f"{self.home.path} was not made for tests: its time is the machine's.",
                remedy="Make one with: mimeportal-server init DIR --domain example.com --lab",
            )
        if not in_calendar(self.clock.machine() + offset):
            raise UsageError("That time is beyond the calendar.", remedy="Name one of the years 2 to 9998.")
        with self.database.write() as tx:
            set_fact(tx, "clock_offset", str(offset))
        self.clock.offset = offset

    def close(self) -> None:
        self.home.close()


def _record_once(tx: Connection, request: str, machine: int) -> None:
    seen = tx.scalar(select(signed_requests.c.request).where(signed_requests.c.request == request))
    if seen is not None:
        raise Refused("err_xdk_replayed_request", "This signed request was acted on before", status=401)
    tx.execute(insert(signed_requests), {"request": request, "at": machine})


def set_fact(tx: Connection, name: str, value: str) -> None:
    statement: Any = upsert(facts).values(name=name, value=value)
    tx.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
