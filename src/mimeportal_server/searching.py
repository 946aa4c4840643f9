"""Full text: the words of each message that arrives, and what a search matches them with.

Words are cut in Python (`words.py`), both those that are kept and those that are asked for, so that an engine's own
quotes and operators are never reached. Order of rank is the engine's (SQLite's FTS5: bm25).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, insert, literal_column, select

from mimeportal import limits
from mimeportal_server import words as cutting
from mimeportal_server.asked import not_allowed
from mimeportal_server.mail import Summary
from mimeportal_server.store.prepared import Prepared
from mimeportal_server.store.schema import WORD_COLUMNS, messages, words

_KEEP = Prepared(insert(words))
_TERM = re.compile(r'"([^"]*)"?|([^\s"]+)')

RANK: ColumnElement[float] = literal_column("words.rank")  # lower is better


@dataclass(frozen=True, slots=True)
class Searched:
    """A message by its number, as search sees it: its envelope sender, its summary and the text of its body."""

    message_id: int
    envelope_from: str
    summary: Summary
    text: str


def keep(tx: Connection, found: Iterable[Searched]) -> None:
    """Keep the words of messages, in the transaction in which they arrive."""
    _KEEP.run(tx, [_row(one) for one in found])


def _row(one: Searched) -> dict[str, object]:
    summary = one.summary
    sender = f"{summary.from_display} {one.envelope_from}"
    recipients = " ".join(f"{name} {address}" for address, name in summary.to + summary.cc)
    names = " ".join(entry.filename for entry in summary.attachments)
    texts = (sender, recipients, summary.subject, one.text, names)
    return {"rowid": one.message_id, **dict(zip(WORD_COLUMNS, map(cutting.kept, texts), strict=True))}


def forget(tx: Connection, message_ids: Sequence[int]) -> None:
    """Let go of the words of those of these messages whose octets go."""
    purged = select(messages.c.id).where(messages.c.id.in_(message_ids), messages.c.purged.is_not(None))
    tx.execute(delete(words).where(words.c.rowid.in_(purged)))


# -- what is asked -----------------------------------------------------------------------------------------


def matching(query: str) -> ColumnElement[bool]:
    """The condition, on the table of words, that a query of the engine matches (`terms`, `expression`)."""
    return literal_column("words").op("MATCH", is_comparison=True)(query)


def terms(text: str, field: str) -> str:
    """The engine's query for words that must all be there; what stands in quotes, one after the other.

    Raises `Refused`, naming the field, for more than is searched for at once, or when there is no word in it.
    """
    found = [quoted or bare for quoted, bare in _TERM.findall(_checked(text, field))]
    return _all([query for term in found if (query := _term(term))], field)


def _checked(text: str, field: str) -> str:
    if len(text) > limits.SEARCH_TEXT:
        raise not_allowed(f"A search has at most {limits.SEARCH_TEXT} characters.", field)
    return text


def _all(queries: Sequence[str], field: str) -> str:
    if not queries:
        raise not_allowed("There is no word in it to search for.", field)
    if len(queries) > limits.SEARCH_TERMS:
        raise not_allowed(f"A search has at most {limits.SEARCH_TERMS} words and phrases.", field)
    return " AND ".join(queries)


def _term(term: str, column: str = "") -> str:
    """One word, or words that follow each other, in any column or in one; "" where there is no word."""
    tokens, open_end = cutting.asked(term)
    if not tokens:
        return ""
    phrase = f'"{" ".join(tokens)}"{" *" if open_end else ""}'
    return f"{column} : {phrase}" if column else phrase


_FIELDS = {
    "subject": "subject",
    "body": "body",
    "from": "sender",
    "to": "recipients",
    "attachment": "attachments",
}
_PIECE = re.compile(rf'(?i)[()]|(?:{"|".join(_FIELDS)}):\s*|"[^"]*"?|[^\s()"]+')
_NESTED = 20


class _Expression:
    """Text as clients of `archive/search` write it: `subject: x y`, `(body: x)`, `from:a or from:b`, "a phrase".

    A field with a blank behind it is that of all that follows, up to the next field or the end of the parentheses;
    without one, of the next word or phrase.
    """

    def __init__(self, text: str, field: str) -> None:
        self._pieces = _PIECE.findall(_checked(text, field))
        self._at = 0
        self._field = field
        self._terms = 0

    def read(self) -> str:
        query = self._either("", 0)
        if not query:
            raise not_allowed("There is no word in it to search for.", self._field)
        if self._terms > limits.SEARCH_TERMS:
            raise not_allowed(f"A search has at most {limits.SEARCH_TERMS} words and phrases.", self._field)
        return query

    def _either(self, column: str, depth: int) -> str:
        """Alternatives, up to the end of the text or of the parentheses."""
        if depth > _NESTED:
            raise not_allowed(f"A search nests at most {_NESTED} parentheses.", self._field)
        alternatives: list[list[str]] = [[]]
        once = ""
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._at += 1
            if piece == ")":
                if depth:
                    break
                continue
            if piece == "(":
                query = self._either(once or column, depth + 1)
            elif piece.lower() == "or":
                alternatives.append([])
                continue
            elif (name := piece.rstrip().removesuffix(":").lower()) in _FIELDS and ":" in piece:
                lasting = piece != piece.rstrip()
                column, once = (_FIELDS[name], "") if lasting else (column, _FIELDS[name])
                continue
            else:
                query = _term(piece, once or column)
                self._terms += 1
            once = ""
            alternatives[-1] += [query] if query else []
        both = [" AND ".join(queries) for queries in alternatives if queries]
        return both[0] if len(both) == 1 and len(both[0].split(" AND ")) == 1 else _bracketed(both)


def _bracketed(queries: Sequence[str]) -> str:
    return f"({' OR '.join(f'({query})' for query in queries)})" if queries else ""


def expression(text: str, field: str) -> str:
    """The engine's query for such a text. Raises `Refused`."""
    return _Expression(text, field).read()


def named(text: str, field: str) -> str:
    """The engine's query for words in the names of attachments. Raises `Refused`."""
    found = [query for term in _checked(text, field).split() if (query := _term(term, "attachments"))]
    return _all(found, field)
