"""Choosing held messages: the same options on `holds list` and on every bulk verb, as one object."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from mimeportal_cli.options import bundle, option, settings

if TYPE_CHECKING:
    from mimeportal.holds import Hold, HoldFilter
    from mimeportal.portal import Portal
    from mimeportal_cli.references import Remembered

QUEUES = ("personal", "moderated", "admin")
ROUTES = ("inbound", "outbound", "internal", "external")
_SECTION = "Choosing messages"

# parameter -> how it is typed: what cannot stand beside ids.
_FILTERS = {
    "queue": "--queue",
    "mailbox": "--mailbox",
    "mailboxes_from": "--mailboxes-from",
    "from_": "--from",
    "to": "--to",
    "subject": "--subject",
    "search": "--search",
    "reason": "--reason",
    "policy": "--policy",
    "route": "--route",
    "since": "--since",
    "until": "--until",
    "has_attachments": "--has-attachments",
    "larger_than": "--larger-than",
    "all": "--all",
}
_ID = re.compile(r"[!#-+\--Z\\^-~]{1,1000}")  # no blank, comma, quote or bracket: those are other forms
_TEXTS = ("from_", "to", "subject", "search", "reason", "policy", "route", "has_attachments")


class Choice:
    """Which held messages the command line means. `given` are the options as typed."""

    def __init__(self, **given: Any) -> None:
        self._given = given
        self.limit: int | None = given.get("limit")
        self.sort: str | None = given.get("sort")
        self.tz: str | None = given.get("tz")
        self.typed: tuple[str, ...] = given.get("ids") or ()
        self._ids_from: str | None = given.get("ids_from")
        filters = [typed for name, typed in _FILTERS.items() if given.get(name) not in (None, (), False)]
        if given.get("has_attachments") is False:
            filters.append("--no-attachments")
        if self.by_id and filters:
            raise _usage(
                f"Ids and {filters[0]} exclude each other.",
                "An id names its message already; a filter would choose among others.",
                f"Leave out the ids, or {filters[0]}.",
            )
        if self._ids_from == "-" == given.get("mailboxes_from"):
            raise _usage("Only one of --ids-from and --mailboxes-from can read stdin.", "", "Write one to a file.")
        if self.sort is not None:
            _check_sort(self.sort)
        self._narrows = any(typed not in ("--queue", "--all") for typed in filters)

    @property
    def by_id(self) -> bool:
        """Whether ids were named, typed or in a file."""
        return bool(self.typed) or self._ids_from is not None

    @property
    def only_typed(self) -> bool:
        return bool(self.typed) and self._ids_from is None

    @property
    def any(self) -> bool:
        """Whether anything at all was chosen."""
        return self.by_id or self._narrows or bool(self._given.get("all"))

    @property
    def queue(self) -> str | None:
        """The queue that was written out."""
        queue: str | None = self._given.get("queue")
        return queue

    def one_mailbox(self, portal: Portal) -> bool:
        """Whether only one mailbox can be meant, so that a table need not name it."""
        several = self._given.get("mailboxes_from") is not None or len(self._given.get("mailbox") or ()) > 1
        return not self.by_id and not several and portal.is_person and self.queue in (None, "personal")

    def require(self, verb: str) -> None:
        """Raise `UsageError` unless anything was chosen."""
        if not self.any:
            raise _usage(
                f"Which held messages shall be {verb}?",
                "Neither an id nor a filter was given.",
                "Name ids or a filter, or all of a queue with --all.",
            )

    def check_queue(self, portal: Portal, *, everything: bool = False) -> None:
        """Raise `UsageError` where all of a queue is meant, and which one is not plain."""
        if (everything or self._given.get("all")) and self.queue is None and not portal.is_person:
            raise _usage(
                "All of a queue needs --queue written out.",
                "Outside of a personal queue it means other people's mail.",
                "Add --queue admin, or --queue personal --mailbox ADDRESS.",
            )

    # -- ids ---------------------------------------------------------------------------------------------

    def ids(self, portal: Portal, verb: str | None = None) -> Iterator[str | Mapping[str, Any]]:
        """The ids as named, references resolved; a line of jsonl with all that it tells.

        Raises `UsageError` for the plan or the report of another verb.
        """
        from mimeportal_cli.references import Remembered

        for entry in named_ids(portal, self.typed, self._ids_from, Remembered(portal)):
            if verb is not None and not isinstance(entry, str) and entry.get("action") not in (None, verb):
                raise _usage(
                    f"{self._ids_from} plans {entry['action']}, this is {verb}.",
                    "",
                    f"Run `mimeportal holds {entry['action']} --ids-from {self._ids_from}`.",
                )
            yield entry

    def holds(self, portal: Portal) -> Iterable[Hold]:
        """The messages, as `holds list` shows them."""
        if not self.by_id:
            found: Iterable[Hold] = portal.holds.list(self.filter(portal))
        else:
            named = (entry if isinstance(entry, str) else str(entry["id"]) for entry in self.ids(portal))
            found = portal.holds.lookup(named)
        return self.sorted(found)

    # -- filters -----------------------------------------------------------------------------------------

    def filter(self, portal: Portal) -> HoldFilter:
        """The conditions; the instants that times came to are told on stderr."""
        from mimeportal.holds import HoldFilter
        from mimeportal_cli.times import size

        given = self._given
        conditions = {name: given.get(name) for name in _TEXTS}
        since, until = window(portal, given.get("since"), given.get("until"), self.tz)
        larger = given.get("larger_than")
        chosen = HoldFilter(
            queue=given.get("queue"),
            mailboxes=tuple(self._mailboxes()),
            since=since,
            until=until,
            larger_than=size(larger) if larger is not None else None,
            **conditions,
        )
        chosen.check()
        return chosen

    def _mailboxes(self) -> Iterator[str]:
        from mimeportal.addresses import parse_address

        for mailbox in self._given.get("mailbox") or ():
            yield parse_address(mailbox)
        source = self._given.get("mailboxes_from")
        if source is not None:
            named = [parse_address(line) for _, line in _lines(source)]
            if not named:
                # No condition at all would be everybody's mail.
                raise _usage(f"{source} names no mailbox.", "", "Write one address a line.")
            yield from named

    # -- order -------------------------------------------------------------------------------------------

    def sorted(self, records: Iterable[Any]) -> Iterable[Any]:
        """In the order of --sort; without it as the portal gives them, newest first."""
        if self.sort is None:
            return records
        name, descending = self.sort.removeprefix("-"), self.sort.startswith("-")
        rows = list(records)
        if rows and not _has(rows[0], name):
            raise _no_field(name)
        # Dates and sizes start with the newest and largest, words with A.
        newest_first = name in ("date_received", "expires", "size")
        return sorted(rows, key=lambda row: _sort_key(row, name), reverse=newest_first != descending)


def _check_sort(field: str) -> None:
    """Raise `UsageError` for what is no column of a list or of a plan, whether or not anything is there to sort."""
    from mimeportal.holds.hold import HOLD_FIELDS
    from mimeportal.report import REPORT_FIELDS

    if field.removeprefix("-") not in (*HOLD_FIELDS, *REPORT_FIELDS):
        raise _no_field(field.removeprefix("-"))


def _no_field(name: str) -> Exception:
    from mimeportal.holds.hold import HOLD_FIELDS

    return _usage(
        f"There is no field {name!r} to sort by.",
        f"The columns are {', '.join(HOLD_FIELDS)}.",
        "Sort by one of them, with - in front for the other way round.",
    )


def _has(record: Any, name: str) -> bool:
    return name in record if isinstance(record, dict) else hasattr(record, name)


def _sort_key(record: Any, name: str) -> tuple[bool, Any]:
    value = record[name] if isinstance(record, dict) else getattr(record, name)
    return value is not None, value.casefold() if isinstance(value, str) else value if value is not None else 0


def window(
    portal: Portal, since: str | None, until: str | None, tz: str | None
) -> tuple[datetime | None, datetime | None]:
    """The instants of --since and --until in the account's zone; each is told on stderr."""
    if since is None and until is None:
        return None, None
    from mimeportal_cli.opening import now_of, zone_of
    from mimeportal_cli.times import past_time, told

    zone, now = zone_of(portal, tz), now_of(portal)
    moments = []
    for name, text in (("since", since), ("until", until)):
        moment = past_time(text, zone, now) if text is not None else None
        if moment is not None:
            settings().console.note(f"{name} {told(moment, zone)}")
        moments.append(moment)
    return moments[0], moments[1]


# -- files of ids ------------------------------------------------------------------------------------------


def read_ids(source: str) -> Iterator[str | Mapping[str, Any]]:
    """Ids one a line, or the first column of tsv; or jsonl with `id`. Raises `UsageError` naming a wrong line."""
    for number, line in _lines(source):
        if not line.startswith("{"):
            id = line.split("\t", 1)[0].strip()
            if not _ID.fullmatch(id) or id == "id":  # the heading of csv, an array, another encoding
                raise _usage(f"Line {number} of {source} is no id.", "", "Take ids one a line, jsonl or tsv.")
            yield id
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("id"), str) or not record["id"]:
            raise _usage(
                f"Line {number} of {source} is no JSON object with an `id`.", "", "Take a list, a plan or a report."
            )
        yield record


def named_ids(
    portal: Portal, typed: Iterable[str], ids_from: str | None, remembered: Remembered
) -> Iterator[str | Mapping[str, Any]]:
    """Ids as typed and as a file holds them, references resolved; a line of jsonl with all that it tells."""
    from mimeportal_cli.references import resolved

    yield from resolved(portal, typed, remembered)
    for entry in read_ids(ids_from) if ids_from is not None else ():
        if isinstance(entry, str):
            yield from resolved(portal, [entry], remembered)
        else:
            yield entry


def _lines(source: str) -> Iterator[tuple[int, str]]:
    """The lines of a file, or of stdin for `-`, numbered, without blank ones."""
    with opened_lines(source) as file:
        for number, raw in enumerate(file, 1):
            line = raw.decode("utf-8", "replace").lstrip("\ufeff").strip()
            if line:
                yield number, line


def opened_lines(source: str) -> BinaryIO:
    """A file, or stdin for `-`, to be read line by line. Raises `UsageError`."""
    if source == "-" and sys.stdin is None:
        raise _usage("stdin is closed.", "", "Name a file.")
    try:
        return sys.stdin.buffer if source == "-" else open(source, "rb")
    except OSError as fault:
        raise _usage(f"{source} cannot be read: {fault.strerror}.", "", "Name a file, or - for stdin.") from None


def _usage(what: str, why: str, remedy: str) -> Exception:
    from mimeportal.errors import UsageError

    return UsageError(what, why=why, remedy=remedy)


# -- options -----------------------------------------------------------------------------------------------


def _choose(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    return option(*names, section=_SECTION, **attributes)


_TZ = _choose("--tz", metavar="ZONE", help="Read and show times in this zone. Default: yours, or the account's.")
_SINCE = _choose("--since", metavar="TIME", help="Received at or after: 7d, 24h, yesterday, week, a date, a time.")
_UNTIL = _choose("--until", metavar="TIME", help="Received before.")
_FILTER_OPTIONS = [
    _choose("--queue", type=click.Choice(QUEUES), help="Default: personal for a person, admin for an app."),
    _choose("--mailbox", metavar="ADDRESS", multiple=True, help="Whose mail; may be given more than once."),
    _choose("--mailboxes-from", metavar="FILE", help="Whose mail, an address a line; - is stdin."),
    _choose("--from", "from_", metavar="WHO", help="Sender: an address, a domain, a glob with *, or a word."),
    _choose("--to", metavar="WHO", help="Recipient, likewise."),
    _choose("--subject", metavar="TEXT", help="In the subject; with * a glob over all of it."),
    _choose("--search", metavar="TEXT", help="In the subject, an address or the reason."),
    _choose("--reason", metavar="TEXT", help="Why it is held: a code, or part of the text."),
    _choose("--policy", metavar="TEXT", help="In the name of the policy that holds it."),
    _choose("--route", type=click.Choice(ROUTES, case_sensitive=False), help="Which way it travels."),
    _SINCE,
    _UNTIL,
    _choose("--has-attachments/--no-attachments", default=None, help="With attachments, or without."),
    _choose("--larger-than", metavar="SIZE", help="Larger than 10k, 5M, ... (k is 1,024)."),
    _TZ,
]
_FILTER_NAMES = [*(name for name in _FILTERS if name != "all"), "tz"]
_SORT = _choose("--sort", metavar="FIELD", help="Sort by a column, -COLUMN turned round. Default: newest first.")
_ALL = _choose("--all", is_flag=True, help="Everything in the queue.")
_LIMIT = _choose("--limit", metavar="N", type=click.IntRange(min=1), help="Only the N oldest of them.")
_IDS_FROM = _choose("--ids-from", metavar="FILE", help="Ids one a line, or jsonl with `id`; - is stdin.")
_IDS = click.argument("ids", nargs=-1, metavar="[ID]...")


def choosing_options(*, ids: bool = True, limit: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds the options that choose held messages, and passes a `Choice` as `choice`."""
    options, names = [*_FILTER_OPTIONS, _SORT], [*_FILTER_NAMES, "sort"]
    if ids:
        options = [_IDS, _IDS_FROM, *options, _ALL]
        names += ["ids", "ids_from", "all"]
    if limit:
        options.append(_LIMIT)
        names.append("limit")
    return bundle("choice", Choice, options, names)


def window_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --since, --until and --tz by themselves."""
    decorated: Callable[..., Any] = _SINCE(_UNTIL(_TZ(function)))
    return decorated
