"""A real mail server relays real mail into the SMTP door: what it was given is what is stored."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from talking import Talk, door_of, rows, stored

from conftest import Lab, absent
from mimeportal_server.store.schema import rejections
from postfix import Postfix, missing

# With these Postfix changes nothing of a message but the one line that it puts in front.
FAITHFUL = {
    "message_drop_headers": "",
    "local_header_rewrite_clients": "",
    "smtp_line_length_limit": "0",
    "line_length_limit": "65536",
    "disable_mime_output_conversion": "yes",
    "header_size_limit": "1048576",
    "message_size_limit": "104857600",
}
RECEIVED = re.compile(rb"\AReceived: from [^\r\n]+(?:\r\n\t[^\r\n]+)+\r\n")
SENDERS = 8


@pytest.fixture(scope="module")
def mail(corpus: Path) -> list[bytes]:
    """Every message, with lines as they travel."""
    found = []
    for file in sorted(path for path in corpus.rglob("*") if path.is_file() and path.suffix != ".gz"):
        octets = file.read_bytes().replace(b"\n", b"\r\n")
        found.append(octets if octets.endswith(b"\r\n") else octets + b"\r\n")
    assert len(found) >= 3_000
    return found


def relay(lab: Lab, mail: Sequence[bytes], settings: dict[str, str]) -> list[bytes]:
    """Give all mail to a Postfix that relays to the door; what is stored, once it is all there."""
    if what := missing():
        absent(what)
    some = threading.Event()
    with door_of(lab, on_accepted=some.set) as door:
        to_the_door = f"relay:[127.0.0.1]:{door.address[1]}"
        with Postfix({"relay_domains": "example.com", "relay_transport": to_the_door, **settings}) as postfix:
            with ThreadPoolExecutor(SENDERS) as pool:
                shares = [mail[number::SENDERS] for number in range(SENDERS)]
                list(pool.map(lambda share: inject(postfix, share), shares))
            while count(lab) < len(mail):
                some.clear()
                if count(lab) < len(mail) and not some.wait(30):
                    break
            assert "status=bounced" not in postfix.log
            assert "status=deferred" not in postfix.log
            assert count(lab) == len(mail)
    assert rows(lab, rejections) == []
    return stored(lab)


def inject(postfix: Postfix, share: Sequence[bytes]) -> None:
    with Talk(postfix) as talk:
        for octets in share:
            told = talk.mail(octets)
            assert told.startswith("250"), told


def count(lab: Lab) -> int:
    with lab.server.database.read() as tx:
        return int(tx.exec_driver_sql("SELECT count(*) FROM messages").scalar() or 0)


@pytest.mark.corpus
def test_what_is_stored_is_one_line_and_the_message(lab: Lab, mail: list[bytes]) -> None:
    arrived = Counter[bytes]()
    for octets in relay(lab, mail, FAITHFUL):
        line = RECEIVED.match(octets)
        assert line, octets[:300]
        arrived[octets[line.end() :]] += 1
    assert arrived == Counter(mail)


@pytest.mark.corpus
def test_with_stock_settings_nothing_is_refused(lab: Lab, mail: list[bytes]) -> None:
    assert len(relay(lab, mail, {})) == len(mail)
