"""The Inbox of secure messages, and search in it, must not depend on how full it is: 50,000 within 60 days."""

from __future__ import annotations

import random
import sqlite3
import time
from pathlib import Path

from benchmarks.lab import ANN, DAY, Inserting, Lab
from benchmarks.measure import Act, Row, at_most, by_turns, seconds
from mimeportal.patterns import fold
from mimeportal.portal import Portal
from mimeportal_server.store import schema

OUTSIDE = "client@elsewhere.example"
_PAGE = 50  # rows of one page of the portal's
_RARE, _RARE_EACH = "harbourmaster", 20
_COMMON = "contract"
_MOST = 2  # the first page also counts, up to 10,000
# What search does at the least: the words, the copies of this mailbox among them, the newest first.
_BY_HAND = """
SELECT c.id, m.subject FROM secure_copies c JOIN secure_messages m ON m.id = c.secure_id
WHERE m.message_id IN (SELECT rowid FROM words WHERE words MATCH ?)
AND c.person_id = ? AND c.folder = 'inbox' AND NOT c.withdrawn
ORDER BY c.id DESC LIMIT ?
"""


def run(lab: Lab) -> list[Row]:
    sizes = (lab.size(50_000, 400), lab.size(500, 40))
    homes = [home_of(lab, size) for size in sizes]
    rounds = lab.size(15, 1)
    portals = [Portal.open(f"local:{home}", user=OUTSIDE) for home in homes]
    full, small = by_turns(rounds, *(_page(portal) for portal in portals))
    rows = [at_most(f"Inbox of secure messages, a page of {sizes[0]:,} and of {sizes[1]:,}", full, small, _MOST)]
    for what, word in ((f"{_RARE_EACH} hits", _RARE), ("half of them hits", _COMMON)):
        ours, floor = by_turns(rounds, _page(portals[0], word), _by_hand(homes[0], word))
        named = f"search in {sizes[0]:,} secure messages, {what}, beside SQL by hand"
        rows.append(Row(named, seconds(ours), seconds(floor), ours / floor))
    for portal in portals:
        portal.close()
    return rows


def _page(portal: Portal, search: str | None = None) -> Act:
    def act() -> float:
        start = time.perf_counter()
        page = next(portal.secure.list(folder="inbox", search=search, page_size=_PAGE).pages())
        taken = time.perf_counter() - start
        if not page.rows:
            raise SystemExit("an empty page is not what this measures")
        return taken

    return act


def _by_hand(home: Path, word: str) -> Act:
    database = sqlite3.connect(home / "portal.db")
    (person,) = database.execute("SELECT id FROM people WHERE address = ?", (OUTSIDE,)).fetchone()

    def act() -> float:
        start = time.perf_counter()
        database.execute(_BY_HAND, (word, person, _PAGE)).fetchall()
        return time.perf_counter() - start

    return act


def home_of(lab: Lab, count: int) -> Path:
    """A home with so many secure messages of ann's to somebody outside, of the last 59 days; octets are absent."""
    lab.tell(f"  seeding {count:,} secure messages")
    home = lab.empty_home()
    database = sqlite3.connect(home / "portal.db", isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF"):
        database.execute(f"PRAGMA {pragma}")
    database.execute("BEGIN")
    (ann,) = database.execute("SELECT id FROM people WHERE address = ?", (ANN,)).fetchone()
    columns = "address, kind, role, login, password, password_set, content_view, disabled, epoch, octets, created"
    values = (OUTSIDE, "outside", "outside", "cloud", "", 0, 0, 0, 0, 0, 0)
    outside = database.execute(f"INSERT INTO people ({columns}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", values).lastrowid
    chance = random.Random(count)
    now = int(time.time() * 1000)
    messages, secures, copies = map(Inserting, (schema.messages, schema.secure_messages, schema.secure_copies))
    rare = max(count // _RARE_EACH, 1)
    for number in range(1, count + 1):
        sent = now - 59 * DAY + number * (59 * DAY // count)
        subject = f"{'Contract' if number % 2 else 'Statement'} {chance.randrange(10_000)}"
        words = [f"word{chance.randrange(5_000)}" for _ in range(60)] + [_RARE] * (not number % rare)
        message = {"id": number, "blob": f"{number:064x}", "size": 4_000, "subject": subject, "received": sent}
        secure = {"id": number, "message_id": number, "person_id": ann, "sender": ANN, "subject": subject}
        secure |= {"direction": "outbound", "folded": fold(f"{subject}\n{ANN} {OUTSIDE}"), "sent": sent}
        secure |= {"print": True, "reply": True, "reply_all": True, "definition": "Default", "size": 4_000}
        copy = {"secure_id": number, "sent": sent}
        own = {**copy, "id": 2 * number - 1, "person_id": ann, "address": ANN, "part": "sender", "folder": "sent"}
        theirs = {**copy, "id": 2 * number, "person_id": outside, "address": OUTSIDE, "part": "to"}
        theirs |= {"way": "portal", "folder": "inbox", "unread": True}
        database.execute(messages.statement, messages.values(message))
        database.execute(secures.statement, secures.values(secure))
        database.execute(copies.statement, copies.values(own))
        database.execute(copies.statement, copies.values(theirs))
        database.execute(
            "INSERT INTO words (rowid, sender, recipients, subject, body, attachments) VALUES (?,?,?,?,?,?)",
            (number, "ann example com", "client elsewhere example", fold(subject), " ".join(words), ""),
        )
    database.execute("COMMIT")
    database.execute("PRAGMA journal_mode = WAL")
    database.close()
    return home
