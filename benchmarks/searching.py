"""Full-text search over 200,000 messages, the first page, beside SQLite's FTS5 queried by hand."""

from __future__ import annotations

import random
import sqlite3
import time
from itertools import accumulate, islice
from pathlib import Path

from benchmarks.lab import ANN, Inserting, Lab
from benchmarks.measure import Act, Row, by_turns, process, seconds
from mimeportal.portal import Portal
from mimeportal_server.store import schema
from mimeportal_server.words import kept

_ROWS = 500  # of a page
_MOST = 0.5  # seconds
_VOCABULARY = 30_000
_LENGTH = 120  # words of a message
# Words that few messages have, one in ten, and every one.
_FEW, _SOME, _ALL = "seldomly", "sometimes", "everywhere"
_BY_HAND = """
    SELECT mailbox.id, mailbox.received, messages.from_header, messages.subject, messages.size
    FROM words CROSS JOIN mailbox CROSS JOIN messages
    WHERE words MATCH ? AND mailbox.message_id = words.rowid AND mailbox.person_id = ? AND messages.id = words.rowid
    ORDER BY rank LIMIT ?
"""


def run(lab: Lab) -> list[Row]:
    count = lab.size(200_000, 200)
    home = _searched_home(lab, count)
    rounds = lab.size(11, 1)
    portal = Portal.open(f"local:{home}", user=ANN)
    database = sqlite3.connect(home / "portal.db")
    (ann,) = database.execute("SELECT id FROM people WHERE address = ?", [ANN]).fetchone()
    rows = []
    for what, words in (("of few", _FEW), ("of a tenth", _SOME), ("two words", f"{_SOME} {_ALL}"), ("of all", _ALL)):
        ours, floor = by_turns(rounds, _page(portal, words), _by_hand(database, words, ann))
        # What is found fast is made into rows for longer; both stay far below what a person waits for.
        named = f"search, {count:,} messages, first page: {what}"
        rows.append(Row(named, seconds(ours), seconds(floor), ours / floor, f"at most {_MOST} s", ours <= _MOST))
    database.close()
    rows.append(Row(f"search, {count:,} messages, each page behind the first: of all", seconds(_later(portal, _ALL))))
    portal.close()
    env = lab.env(home, ANN)
    taken = by_turns(lab.size(7, 1), lambda: _whole(lab.command, env))[0]
    rows.append(Row("messages search, a word of few, whole process", seconds(taken)))
    return rows


def _page(portal: Portal, words: str) -> Act:
    def act() -> float:
        start = time.perf_counter()
        found = next(portal.messages.search(words).pages())
        taken = time.perf_counter() - start
        if not found.rows:
            raise SystemExit(f"nothing was found of {words!r}")
        return taken

    return act


def _later(portal: Portal, words: str) -> float:
    """How long each page takes that comes behind the first; where there are more than one."""
    pages = portal.messages.search(words).pages()
    next(pages)
    start = time.perf_counter()
    count = sum(1 for _ in pages)
    return (time.perf_counter() - start) / max(1, count)


def _by_hand(database: sqlite3.Connection, words: str, person: int) -> Act:
    def act() -> float:
        start = time.perf_counter()
        query = " AND ".join(f'"{word}"' for word in words.split())
        found = database.execute(_BY_HAND, [query, person, _ROWS]).fetchall()
        taken = time.perf_counter() - start
        if not found:
            raise SystemExit(f"nothing was found of {words!r} by hand")
        return taken

    return act


def _whole(command: Path, env: dict[str, str]) -> float:
    return process(command, "messages", "search", _FEW, env=env)


def _searched_home(lab: Lab, count: int) -> Path:
    """A home with so many messages in inboxes, every other in ann's, their words kept; their octets are absent."""
    lab.tell(f"  seeding {count:,} messages")
    home = lab.empty_home()
    chance = random.Random(count)
    vocabulary = ["".join(chance.choices("aeiourstlnmdkbgp", k=chance.randint(3, 10))) for _ in range(_VOCABULARY)]
    weights = list(accumulate(1 / (rank + 10) for rank in range(_VOCABULARY)))  # as words of a language are
    database = sqlite3.connect(home / "portal.db", isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -65536"):
        database.execute(f"PRAGMA {pragma}")
    persons = [id for (id,) in database.execute("SELECT id FROM people WHERE kind = 'person' ORDER BY id")]
    (ann,) = database.execute("SELECT id FROM people WHERE address = ?", [ANN]).fetchone()
    messages, mailbox = Inserting(schema.messages), Inserting(schema.mailbox)
    now = int(time.time() * 1000)
    database.execute("BEGIN")
    numbers = iter(range(1, count + 1))
    while chunk := list(islice(numbers, 5_000)):
        database.executemany(messages.statement, (messages.values(_message(number, now - number)) for number in chunk))
        database.executemany(
            mailbox.statement,
            (mailbox.values(_lying(number, ann if number % 2 else chance.choice(persons), now)) for number in chunk),
        )
        database.executemany(
            f"INSERT INTO words (rowid, {', '.join(schema.WORD_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?)",
            (_words(number, count, chance.choices(vocabulary, cum_weights=weights, k=_LENGTH)) for number in chunk),
        )
    database.execute("COMMIT")
    database.execute("PRAGMA journal_mode = WAL")
    database.close()
    return home


def _message(number: int, received: int) -> dict[str, object]:
    sender = f"sender{number % 20_000}@site{number % 3_000}.example"
    return {
        "id": number,
        "blob": f"{number:064x}",
        "size": 4_000,
        "envelope_from": sender,
        "from_header": sender,
        "subject": f"Message {number}",
        "route": "inbound",
        "received": received,
    }


def _lying(number: int, person: int, now: int) -> dict[str, object]:
    return {"message_id": number, "person_id": person, "recipient": ANN, "folder": "inbox", "received": now - number}


def _words(number: int, count: int, text: list[str]) -> tuple[object, ...]:
    text.append(_ALL)
    text += [_SOME] if number % 10 == 1 else []
    text += [_FEW] if number % (count // 100) == 1 else []
    facts = _message(number, 0)
    return (number, kept(str(facts["from_header"])), kept(ANN), kept(str(facts["subject"])), kept(" ".join(text)), "")
