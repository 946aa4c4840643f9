"""What a person sees: every file of transcripts/ is typed again, and must show the same.

    # terminal                    on a terminal of 100 columns; without this line on pipes
    @ carl@elsewhere.example      who types from here on; ann@example.com until then
    $ mimeportal holds list       typed; `#ref-0001` and `<id-1>` stand for the newest of the held messages, and so on;
                                  `#mail-001` and `<mail-1>` for the oldest of ann's mailbox, `#sec-0001` and
                                  `<secure-1>` for the first secure message
    < y                           the answer to a question
    ? 0                           the exit code
    ...                           what stdout shows; on pipes, after a line `--- stderr`, what stderr shows

`MIMEPORTAL_TRANSCRIPTS=write pytest tests/cli/test_transcripts.py` writes the files anew: read the difference.
"""

from __future__ import annotations

import os
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.conftest import Run, plain
from mimeportal.portal import Portal
from mimeportal_cli.references import reference
from mimeportal_server.tokens import Sealer

FOLDER = Path(__file__).parent / "transcripts"
WRITE = os.environ.get("MIMEPORTAL_TRANSCRIPTS") == "write"

# As wide as what they stand for, so that tables keep their columns.
CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?\+00:00"), "2027-01-15T08:00:00+00:00"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00"), "2027-01-15 08:00:00+00:00"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(?= |$)", re.MULTILINE), "2027-01-15 08:00"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<request>"),
    (re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000"), "Fri, 15 Jan 2027 08:00:00 +0000"),
    (re.compile(r"bounce\+[\w-]{43}"), "bounce+<token>"),
    (re.compile(r"LOCAL-[0-9A-F]{8}"), "<account>"),
)


class Names:
    """Stand-ins for what differs from home to home."""

    def __init__(self, home: Path) -> None:
        self.home = str(home)
        with Portal.open(f"local:{home}", user="admin@example.com") as portal:
            self.ids = [hold.id for hold in portal.holds.list(queue="admin")]
        sealer = Sealer((home / "secret.key").read_bytes())
        self.secure = [sealer.id("secure", number) for number in range(1, 10)]

    def mail(self) -> list[str]:
        """What lies in ann's mailbox by now: commands add to it."""
        with Portal.open(f"local:{self.home}", user="ann@example.com") as portal:
            return [message.id for message in portal.messages.search(since=datetime(2000, 1, 1, tzinfo=UTC))][::-1]

    def steady(self, text: str) -> str:
        for number, id in enumerate(self.ids, 1):
            text = text.replace(id, f"<id-{number}>").replace(reference(id), f"#ref-{number:04}")
        for number, id in enumerate(self.mail(), 1):
            text = text.replace(id, f"<mail-{number}>").replace(reference(id), f"#mail-{number:03}")
        for number, id in enumerate(self.secure, 1):
            text = text.replace(id, f"<secure-{number}>").replace(reference(id), f"#sec-{number:04}")
        text = text.replace(self.home, "HOME").replace(os.environ["MIMEPORTAL_CONFIG_DIR"], "CONFIG")
        for pattern, steady in CHANGING:
            text = pattern.sub(steady, text)
        return text

    def real(self, line: str) -> str:
        for number, id in enumerate(self.ids, 1):
            line = line.replace(f"<id-{number}>", id).replace(f"#ref-{number:04}", reference(id))
        for number, id in enumerate(self.mail() if "mail-" in line else (), 1):
            line = line.replace(f"<mail-{number}>", id).replace(f"#mail-{number:03}", reference(id))
        for number, id in enumerate(self.secure, 1):
            line = line.replace(f"<secure-{number}>", id).replace(f"#sec-{number:04}", reference(id))
        return line


def entries(text: str) -> list[tuple[str, str, list[str]]]:
    """The commands of a transcript, each with who types it, "" where that is who typed the last, and its answers."""
    found: list[tuple[str, str, list[str]]] = []
    user = ""
    for line in text.splitlines():
        if line.startswith("@ "):
            user = line[2:]
        elif line.startswith("$ "):
            found.append((user, line[2:], []))
            user = ""
        elif line.startswith("< "):
            found[-1][2].append(line[2:])
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path: Path, home: Path, run: Run, on_terminal: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = path.read_text("utf-8")
    head = [line for line in expected.splitlines() if line.startswith("# ")]
    names = Names(home)
    shown = [f"{line}\n" for line in head]
    for user, line, answers in entries(expected):
        if user:
            monkeypatch.setenv("MIMEPORTAL_USER", user)
            shown.append(f"\n@ {user}\n")
        program, *arguments = shlex.split(names.real(line))
        assert program == "mimeportal"
        done = on_terminal(*arguments, answer="\n".join(answers)) if "# terminal" in head else run(*arguments)
        shown += [f"\n$ {line}\n", *(f"< {answer}\n" for answer in answers), f"? {done.code}\n"]
        shown.append(names.steady(plain(done.out)))
        if done.err:
            shown.append("--- stderr\n" + names.steady(done.err))
    found = "".join(shown)
    if WRITE:
        path.write_text(found, "utf-8")
    assert found == expected or WRITE
