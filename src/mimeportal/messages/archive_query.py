"""The XML in which Mimecast's archive is searched (mimecast-api-portal 2.5), written so that nothing in it is taken
for more than text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape, quoteattr

from mimeportal.messages.contract.mailbox import RETURN_FIELDS
from mimeportal.wire import format_date

_ALWAYS = datetime(1990, 1, 1, tzinfo=UTC)  # before there was anything to archive
_AHEAD = timedelta(days=1)  # another machine's clock may be ahead of ours
_TERM = re.compile(r'"([^"]*)"?|([^\s"]+)')
_OPERATORS = frozenset({"and", "or", "not", "near"})
# What a query language could read as more than a word; what XML cannot hold is among it.
_SIGNS = re.compile('[\x00-\x20()\\[\\]{}<>:"*?~^|&!=+\x7f-\x9f\ud800-\udfff\ufffe\uffff]+')


def query(
    words: str | None,
    *,
    mailboxes: Sequence[str] = (),
    sent_from: str | None = None,
    sent_to: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    page_size: int,
) -> str:
    """A query for words that must all be there, and more that narrows. `sent_from`, `sent_to`: address or domain.

    Both ends of the time are always written: what a portal takes for none is not known.
    """
    until = until or datetime.now(UTC) + _AHEAD
    until += timedelta(microseconds=-until.microsecond % 1_000_000)
    text = " ".join(_words(words)) if words is not None else ""
    senders = "".join(
        f"<sent select={quoteattr(side)}>{escape(value)}</sent>"
        for side, value in (("from", sent_from), ("to", sent_to))
        if value is not None
    )
    named = "".join(f'<mailbox include-aliases="true">{escape(mailbox)}</mailbox>' for mailbox in mailboxes)
    return (
        '<?xml version="1.0"?><xmlquery trace="iql,muse">'
        f'<metadata query-type="emailarchive" archive="true" active="true" page-size="{page_size}" startrow="0">'
        f"<mailboxes>{named}</mailboxes><smartfolders/><return-fields>"
        + "".join(f"<return-field>{name}</return-field>" for name in RETURN_FIELDS)
        + f"</return-fields></metadata><muse><text>{escape(text)}</text>"
        f'<date select="between" from={quoteattr(format_date(since or _ALWAYS))} to={quoteattr(format_date(until))}/>'
        f'{senders or "<sent/>"}<docs select="optional"></docs><route/></muse></xmlquery>'
    )


def _words(text: str) -> Iterable[str]:
    """Words and phrases as they stand in a query: phrases, and words that are operators, in quotes."""
    for quoted, bare in _TERM.findall(text):
        words = _SIGNS.sub(" ", quoted or bare).split()
        if quoted or any(word.lower() in _OPERATORS for word in words):
            yield f'"{" ".join(words)}"' if words else ""
        else:
            yield from words
