"""The lab of a portal made for tests: a script of faults, a log of requests, the clock, a clean slate.

Under `/lab/` of the HTTP door, JSON in and out, only of a home made with `init --lab`, only from this machine, only
with the header `x-lab-token`:

    POST            /lab/reset      no mail, lists, files, deliveries, audit, faults, offset; people and apps stay
    GET PUT         /lab/clock      {"now", "offset"}; takes one of {"now": TIME} {"offset": MS} {"advance": "15d"}
    GET PUT DELETE  /lab/faults     {"faults": [Fault, ...]}: what is left of the script, or another script
    GET DELETE      /lab/requests   {"requests": [...]}: what was asked since the last reset, oldest first
    PUT             /lab/quota      {"calls", "seconds"}: how many calls each caller may make
"""

from __future__ import annotations

import hmac
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mimeportal import limits
from mimeportal.errors import ConfigurationError, UsageError
from mimeportal.wire import Failure, JsonObject, Request, Response, encode_flat, parse_date
from mimeportal_server import clock
from mimeportal_server.door import is_loopback

if TYPE_CHECKING:
    from mimeportal_server.portal import Portal
    from mimeportal_server.quota import Quota

TOKEN_HEADER = "x-lab-token"  # noqa: S105
PREFIX = "/lab/"
ANY = "*"

KINDS = {
    "status": "answers with HTTP `status` and a failure `code`; nothing is done",
    "quota": "answers 429, calls are given back in `milliseconds`; nothing is done",
    "delay": "waits `milliseconds`, then does and answers as always",
    "stall": "answers nothing for `milliseconds`, then ends the connection; nothing is done",
    "reset_before": "ends the connection; nothing is done",
    "reset_after": "does what was asked, then ends the connection without an answer",
    "cut": "does what was asked, sends half of the answer and ends the connection",
    "bad_json": "does what was asked, and answers with broken JSON",
    "ignore_filters": "lists as if no filter had been given",
    "row_offset_tokens": "lists with page tokens that count rows, so that pages shift while rows go",
}
_UNITS = {"s": 1_000, "m": 60_000, "h": clock.HOUR, "d": clock.DAY}
_WAIT = 5.0  # seconds, for a delivery under way
_LONGEST = 3_660 * clock.DAY  # of one `advance`


@dataclass(frozen=True, slots=True)
class Fault:
    """One instruction of the script.

    operation     the row that it is for (`holds.release`), or `*` for any
    kind          one of `KINDS`
    times         how many calls it spoils; None: all, until the script is deleted
    skip          how many calls pass before that
    status, code, retryable   of `status`: the HTTP status, the failure's code, whether it says that it may be repeated
    milliseconds  of `delay` and `stall`: how long; of `quota`: until calls are given back
    """

    operation: str
    kind: str
    times: int | None = 1
    skip: int = 0
    status: int = 500
    code: str = "err_lab"
    retryable: bool = False
    milliseconds: int = 1_000

    @classmethod
    def parse(cls, given: Any) -> Fault:
        """Read one from JSON. Raises `UsageError` naming what is wrong, and what is known."""
        if not isinstance(given, dict):
            raise UsageError(
                "A fault is not a JSON object.", remedy='Write {"operation": "holds.list", "kind": "cut"}.'
            )
        known = {entry.name: entry.type for entry in fields(cls)}
        for name in given:
            if name not in known:
                raise UsageError(f"A fault has no {name!r}.", remedy=f"Known: {', '.join(known)}.")
        operation, kind = given.get("operation"), given.get("kind")
        if operation not in (operations := _operations()):
            raise UsageError(f"There is no operation {operation!r}.", remedy=f"Known: {', '.join(operations)}.")
        if not isinstance(kind, str) or kind not in KINDS:
            raise UsageError(f"There is no fault {kind!r}.", remedy=f"Known: {', '.join(KINDS)}.")
        if not isinstance(given.get("code", ""), str) or not isinstance(given.get("retryable", False), bool):
            raise UsageError("`code` takes text, and `retryable` true or false.")
        for name, (least, most) in _NUMBERS.items():
            value = given.get(name, least)
            if name == "times" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise UsageError(f"{name} is {value!r}.", remedy=f"Give {least} to {most}.")
        return cls(**given)


_NUMBERS = {"times": (1, 1_000_000), "skip": (0, 1_000_000), "status": (400, 599), "milliseconds": (0, 600_000)}


def _operations() -> tuple[str, ...]:
    from mimeportal_server.door import NOUNS

    rows = (row.name for noun in NOUNS for row in import_module(f"mimeportal.{noun}.contract").ENDPOINTS)
    return (ANY, *sorted(rows))


@dataclass(frozen=True, slots=True)
class Noted:
    """One request of the log: no bodies, no addresses.

    `status` is 0 where no answer was sent; `items` is how many the operation was called with, 0 where it was not;
    `at` is the machine's clock in milliseconds.
    """

    operation: str
    request_id: str
    caller: int
    status: int
    fault: str
    items: int
    at: int


class Lab:
    """The lab of one open portal; safe to use from several threads. `quota` is the one that its door counts by."""

    def __init__(self, portal: Portal, token: str, *, quota: Quota | None = None) -> None:
        self._portal = portal
        self._token = token
        self._quota = quota
        self._own_quota = (quota.calls, quota.seconds) if quota else ()
        self._lock = threading.Lock()
        self._script: list[Fault] = []
        self._requests: deque[Noted] = deque(maxlen=limits.LAB_REQUESTS)

    @classmethod
    def of(cls, portal: Portal, *, quota: Quota | None = None) -> Lab:
        """The lab of a portal whose home was made with `init --lab`.

        Raises `ConfigurationError` for any other home.
        """
        try:
            token = portal.home.lab_token.read_text("ascii") if portal.lab else ""
        except OSError as fault:
            raise ConfigurationError(
                f"{portal.home.lab_token} cannot be read: {fault.strerror}.",
                remedy="Make a new home with: mimeportal-server init DIR --domain example.com --lab",
            ) from None
        if not token:
            raise ConfigurationError(
                f"{portal.home.path} was not made for tests.",
                why="A lab can empty a portal and set its clock.",
                remedy="Make one with: mimeportal-server init DIR --domain example.com --lab",
            )
        return cls(portal, token, quota=quota)

    # -- for the door that carries the faults out --------------------------------------------------------------

    def next_fault(self, operation: str) -> Fault | None:
        """What is to go wrong with this call of an operation, counted as used.

        The first instruction for the operation decides alone: as long as it skips, the call passes.
        """
        with self._lock:
            for place, fault in enumerate(self._script):
                if fault.operation not in (operation, ANY):
                    continue
                if fault.skip:
                    self._script[place] = replace(fault, skip=fault.skip - 1)
                    return None
                if fault.times == 1:
                    del self._script[place]
                elif fault.times is not None:
                    self._script[place] = replace(fault, times=fault.times - 1)
                return fault
        return None

    def note(
        self,
        operation: str,
        *,
        request_id: str = "",
        caller: int = 0,
        status: int = 0,
        fault: Fault | None = None,
        items: int = 0,
    ) -> None:
        """Remember one request; see `Noted`. Of very many, the last ones are kept."""
        kind = fault.kind if fault else ""
        self._requests.append(Noted(operation, request_id, caller, status, kind, items, self._portal.clock.machine()))

    # -- for whoever tests -------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Response | None:
        """Answer what is asked under `/lab/`; None for any other path."""
        if not request.path.startswith(PREFIX):
            return None
        if request.peer and not is_loopback(request.peer):
            return _failed(403, "err_lab_forbidden", "The lab answers this machine alone.")
        if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), self._token.encode()):
            return _failed(403, "err_lab_forbidden", f"The header {TOKEN_HEADER} is not what lab.token says.")
        name = request.path.removeprefix(PREFIX)
        methods = self._rooms().get(name)
        if methods is None:
            return _failed(404, "err_not_found", f"The lab has no {name!r}, only: {', '.join(self._rooms())}.")
        if request.method not in methods:
            return _failed(405, "err_method", f"Here the lab takes {' or '.join(methods)}.")
        try:
            return _told(200, methods[request.method](_document(request)))
        except UsageError as fault:
            return _failed(
                400, "err_lab_usage", " ".join(part for part in (fault.what, fault.why, fault.remedy) if part)
            )

    def _rooms(self) -> Mapping[str, Mapping[str, Callable[[JsonObject], JsonObject]]]:
        return {
            "reset": {"POST": self._reset},
            "clock": {"GET": self._tell_clock, "PUT": self._set_clock},
            "faults": {"GET": self._tell_faults, "PUT": self._set_faults, "DELETE": self._drop_faults},
            "requests": {"GET": self._tell_requests, "DELETE": self._drop_requests},
            "quota": {"PUT": self._set_quota},
        }

    def _reset(self, _: JsonObject) -> JsonObject:
        from mimeportal_server import passwords

        empty(self._portal)
        self._portal.set_offset(0)
        self._drop_faults({})
        self._drop_requests({})
        if self._quota is not None:
            self._quota.change(*self._own_quota)
        passwords.forget_tries(self._portal)
        return {}

    def _tell_clock(self, _: JsonObject) -> JsonObject:
        self._portal.follow_lab()
        return {"now": clock.iso(self._portal.clock.now()), "offset": self._portal.clock.offset}

    def _set_clock(self, given: JsonObject) -> JsonObject:
        if len(given) != 1:
            raise UsageError("The clock takes one setting.", remedy="Known: now, offset, advance.")
        ((name, value),) = given.items()
        if name == "now" and isinstance(value, str):
            set_time(self._portal, value)
        elif name == "advance" and isinstance(value, str):
            advance(self._portal, value)
        elif name == "offset" and isinstance(value, int) and not isinstance(value, bool):
            self._portal.set_offset(value)
        else:
            raise UsageError(
                f"The clock cannot take {name} {value!r}.",
                remedy='Give {"now": "2027-01-31T09:00:00Z"}, {"advance": "15d"} or {"offset": 60000} in milliseconds.',
            )
        return self._tell_clock({})

    def _tell_faults(self, _: JsonObject) -> JsonObject:
        with self._lock:
            return {"faults": [asdict(fault) for fault in self._script]}

    def _set_faults(self, given: JsonObject) -> JsonObject:
        faults = given.get("faults")
        if set(given) != {"faults"} or not isinstance(faults, list):
            raise UsageError("A script is missing.", remedy='Give {"faults": [...]}.')
        self.script([Fault.parse(fault) for fault in faults])
        return self._tell_faults({})

    def script(self, faults: Sequence[Fault]) -> None:
        """Put another script in the place of what is left of the last one."""
        with self._lock:
            self._script = list(faults)

    def _drop_faults(self, _: JsonObject) -> JsonObject:
        self.script(())
        return {}

    def _tell_requests(self, _: JsonObject) -> JsonObject:
        return {"requests": [asdict(noted) for noted in list(self._requests)]}

    def _drop_requests(self, _: JsonObject) -> JsonObject:
        self._requests.clear()
        return {}

    def _set_quota(self, given: JsonObject) -> JsonObject:
        calls, seconds = given.get("calls"), given.get("seconds")
        if self._quota is None or set(given) != {"calls", "seconds"}:
            raise UsageError("A quota has calls and seconds.", remedy='Give {"calls": 100, "seconds": 10}.')
        if not (isinstance(calls, int) and _is_within(calls, 1, 1_000_000)) or not (
            isinstance(seconds, int | float) and _is_within(seconds, 0, clock.DAY // 1000)
        ):
            raise UsageError(f"That is no quota: {calls!r} calls in {seconds!r} seconds.", remedy="Give numbers.")
        self._quota.change(calls, seconds)
        return {"calls": calls, "seconds": seconds}


def set_time(portal: Portal, text: str) -> None:
    """Make it the time of `text` (ISO 8601) at this portal, and let it go on from there.

    Raises `UsageError` for what is no time, and `ConfigurationError` unless the home was made for tests.
    """
    portal.set_offset(clock.milliseconds(parse_date(text)) - portal.clock.machine())


def advance(portal: Portal, text: str) -> None:
    """Move the portal's time on by `15d`, `24h`, `90m` or `30s`. Raises as `set_time()`."""
    amount = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    if amount is None or int(amount[1]) * _UNITS[amount[2]] > _LONGEST:
        raise UsageError(f"Not a time to move on by: {text!r}.", remedy="Write it as 15d, 24h, 90m or 30s.")
    portal.follow_lab()
    portal.set_offset(portal.clock.offset + int(amount[1]) * _UNITS[amount[2]])


def empty(portal: Portal) -> None:
    """Let go of everything but people, apps, log-ins and settings."""
    from sqlalchemy import delete, update

    from mimeportal_server import tokens
    from mimeportal_server.store import schema
    from mimeportal_server.store.disk import only_one

    with only_one(portal.home.delivery_lock, _WAIT) as ours, portal.database.write() as tx:
        if not ours:
            raise UsageError("The portal is delivering mail just now.", remedy="Try again when it has.")
        for table in (
            schema.deliveries,
            schema.largefile_downloads,
            schema.largefile_recipients,
            schema.largefile_files,
            schema.largefiles,
            schema.draft_files,
            schema.drafts,
            schema.uploads,
            schema.copies,
            schema.mailbox,
            schema.words,
            schema.secure_copies,
            schema.secure_messages,
            schema.contacts,
            schema.preferences,
            schema.delegates,
            schema.digests,
            schema.requested,
            schema.searches,
            schema.imports,
            schema.holds,
            schema.messages,
            schema.senders,
            schema.audit_details,
            schema.audit,
            schema.rejections,
            schema.day_counts,
            schema.login_failures,
            schema.signed_requests,
        ):
            tx.execute(delete(table))
        tokens.end_lasting(tx)  # numbers begin anew, and no link may lead to another send
        tx.execute(update(schema.people).values(octets=0))
        for number in portal.home.large_files.numbers():
            portal.home.large_files.delete(number)
        for folder in (portal.home.spool, *(portal.home.outgoing / name for name in ("tmp", "new", "cur"))):
            for path in folder.iterdir():
                path.unlink(missing_ok=True)


def _is_within(value: float, least: float, most: float) -> bool:
    return not isinstance(value, bool) and least <= value <= most


def _document(request: Request) -> JsonObject:
    body = bytearray()
    for piece in request.body:
        body += piece
        if len(body) > limits.JSON_BODY:
            raise UsageError(f"A body has at most {limits.JSON_BODY} octets.")
    try:
        document = json.loads(bytes(body) or b"{}")
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise UsageError("The body is not a JSON object.")
    return document


def _told(status: int, document: JsonObject) -> Response:
    return _response(status, json.dumps(document, separators=(",", ":")).encode())


def _failed(status: int, code: str, message: str) -> Response:
    return _response(status, encode_flat(Failure(code, message)))


def _response(status: int, body: bytes) -> Response:
    return Response(status, {"content-type": "application/json", "cache-control": "no-store"}, iter([body]))
