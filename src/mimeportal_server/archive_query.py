"""The XML in which Mimecast's archive is searched (mimecast-api-portal 2.5), read without any trust in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from xml.parsers import expat

from mimeportal import limits
from mimeportal.messages.contract import mailbox as contract
from mimeportal_server.asked import date_given, not_allowed
from mimeportal_server.portal import Refused

_DEPTH = 8
# The names of ranges that are known, in days back from now; the documents' list is not complete.
_RANGES = {"today": 0, "yesterday": 1, "last_week": 7, "last_month": 31, "last_year": 366}


@dataclass(slots=True)
class ArchiveQuery:
    """What a query asks for. `sent_from` and `sent_to` are addresses or domains; times are in UTC."""

    mailboxes: list[str] = field(default_factory=list)
    return_fields: tuple[str, ...] = contract.RETURN_FIELDS
    page_size: int | None = None
    text: str = ""
    docs: str = ""
    route: str = ""
    sent_from: list[str] = field(default_factory=list)
    sent_to: list[str] = field(default_factory=list)
    since: datetime | None = None
    until: datetime | None = None


def read(text: str, now: datetime) -> ArchiveQuery:
    """Read a query. Raises `Refused`: `err_invalid_search_xml` for what is no XML, or has a DTD or entities in it."""
    elements = _Reader(text).elements()
    query = ArchiveQuery()
    named: list[str] = []
    for path, attributes, content in elements:
        value = content.strip()
        match path:
            case "metadata":
                _metadata(query, attributes)
            case "metadata/mailboxes/mailbox":
                query.mailboxes += [value] if value else []
            case "metadata/return-fields/return-field":
                named += [value] if value else []
            case "muse/text":
                query.text = value
            case "muse/docs":
                query.docs = value
            case "muse/route":
                query.route = value
            case "muse/sent":
                _sent(query, attributes.get("select", ""), value)
            case "muse/date":
                _date(query, attributes, now)
    if max(len(query.sent_from), len(query.sent_to)) > limits.SEARCH_ADDRESSES:
        raise not_allowed(f"A query names at most {limits.SEARCH_ADDRESSES} senders, and as many recipients.", "sent")
    for name in named:
        if name not in contract.RETURN_FIELDS:
            raise not_allowed(f"Field must be one of [{','.join(contract.RETURN_FIELDS)}]", "return-field")
    if named:
        query.return_fields = tuple(dict.fromkeys(named))
    return query


def _metadata(query: ArchiveQuery, attributes: dict[str, str]) -> None:
    size, start = attributes.get("page-size", ""), attributes.get("startrow", "")
    if size:
        if not (size.isascii() and size.isdecimal() and len(size) < 9 and int(size)):
            raise not_allowed("page-size is a number of rows.", "page-size")
        query.page_size = int(size)
    if start not in ("", "0"):
        raise not_allowed("Rows are not counted here: take the page token for what follows.", "startrow")


def _sent(query: ArchiveQuery, select: str, value: str) -> None:
    if not value:
        return
    if select not in ("from", "to"):
        raise not_allowed("Field must be one of [from,to]", "sent.select")
    (query.sent_from if select == "from" else query.sent_to).append(value)


def _date(query: ArchiveQuery, attributes: dict[str, str], now: datetime) -> None:
    select = attributes.get("select", "")
    if select == "between":
        since, until = attributes.get("from", ""), attributes.get("to", "")
        query.since = date_given(since, "date.from") if since else None
        query.until = date_given(until, "date.to") if until else None
    elif select in _RANGES:
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        query.since = midnight - timedelta(days=_RANGES[select])
        query.until = midnight if select == "yesterday" else None
    elif select:
        raise not_allowed(f"Field must be one of [between,{','.join(_RANGES)}]", "date.select")


class _Reader:
    """Each element below the root with its path, its attributes and its text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._open: list[tuple[str, dict[str, str], list[str]]] = []
        self._found: list[tuple[str, dict[str, str], str]] = []

    def elements(self) -> list[tuple[str, dict[str, str], str]]:
        if len(self._text) > limits.SEARCH_QUERY:
            raise not_allowed(f"A query has at most {limits.SEARCH_QUERY} characters.", "query")
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        # The first thing that a document type or an entity needs is refused, before what it declares is read.
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        try:
            parser.Parse(self._text.encode(), True)
        except expat.ExpatError as fault:
            raise _invalid(expat.ErrorString(fault.code)) from None
        return self._found

    def _refuse(self, *_: object) -> None:
        raise _invalid("a document type or an entity is not taken")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._open and name != "xmlquery":
            raise _invalid("the document is no xmlquery")
        if len(self._open) >= _DEPTH:
            raise _invalid("elements nest too deep")
        self._open.append((name, attributes, []))

    def _end(self, _: str) -> None:
        path = "/".join(entry[0] for entry in self._open[1:])
        _name, attributes, texts = self._open.pop()
        self._found.append((path, attributes, "".join(texts)))

    def _characters(self, text: str) -> None:
        self._open[-1][2].append(text)


def _invalid(why: str) -> Refused:
    return Refused("err_invalid_search_xml", f"The search query is not valid XML: {why}.", field="query")
