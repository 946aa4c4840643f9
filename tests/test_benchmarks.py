"""`python -m benchmarks` runs to its end and prints every row; what it measures is no test's business."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mimeportal

ROOT = Path(__file__).parents[1]
PACKAGES = Path(mimeportal.__file__).parents[1]

ROWS = {
    "startup": ["mimeportal --version", "mimeportal --help"],
    "list": ["holds list, 50 holds, whole process", "of requests, alembic, starlette it loads"],
    "pages": [
        "first page, 400 holds and 40: bare",
        "first page, 400 holds and 40: --from ADDRESS",
        "first page, 400 holds and 40: --since 7d",
        "first page, 400 holds and 40: totalCount (up to 9,600)",
        "a filter that hits nothing, 400 holds",
        "first page, 400 holds and 40: bare, whole process",
        "first page, 400 holds and 40: --from ADDRESS, whole process",
        "first page, 400 holds and 40: --since 7d, whole process",
        "a filter that hits nothing, 400 holds, whole process",
    ],
    "import": [
        "import of 40 messages (generated mail), floor syncs each file",
        "import of 40 messages (generated mail), floor syncs each batch",
    ],
    "search": [
        "search, 200 messages, first page: of few",
        "search, 200 messages, first page: of a tenth",
        "search, 200 messages, first page: two words",
        "search, 200 messages, first page: of all",
        "search, 200 messages, each page behind the first: of all",
        "messages search, a word of few, whole process",
    ],
    "release": [
        "release of 40 (seeded): decided",
        "release of 40 (seeded): decided and delivered, synced",
        "release of 40 (seeded): the delivery alone, beside its files",
        "release of 120 (seeded): decided",
        "release of 120 (seeded): decided and delivered, synced",
        "release of 120 (seeded): the delivery alone, beside its files",
        "release of 120 (seeded): peak memory, beside the smaller",
    ],
    "send": [
        "40 messages through send-email, 1 a call, floor syncs each one",
        "40 messages through send-email, 100 a call, floor syncs each batch",
    ],
    "senders": [
        "import of 400 entries, each audited, beside executemany of the entries",
        "import of 400 entries and 200: peak memory",
        "400 entries and none: senders check",
        "400 entries and none: a message arrives",
        "400 entries and none: senders check, whole process",
    ],
    "largefiles": [
        "upload of 9 MiB of zeros",
        "upload of 9 MiB of random",
        "download of 9 MiB by a recipient",
        "4 downloads of 5 MiB at once",
        "4 downloads at once: peak memory of the server, beside the one before",
        "9 MiB sent and fetched: peak memory of the client, beside 5 MiB",
        "9 MiB sent and fetched: peak memory of the server, beside 5 MiB",
    ],
    "secure": [
        "Inbox of secure messages, a page of 400 and of 40",
        "search in 400 secure messages, 20 hits, beside SQL by hand",
        "search in 400 secure messages, half of them hits, beside SQL by hand",
    ],
    "web": [
        "Inbox page over HTTP, 400 secure messages and 40",
        "log-ins that are checked, beside Argon2 alone",
        "Inbox page under 200 guesses a second, beside none",
        "Inbox page under 200 guesses a second, beside none, 95 % of the pages",
    ],
    "reports": [
        "export of 300 rows of the release log to csv",
        "export of 900 rows of the release log to csv",
        "export of 900 rows of the release log to csv: peak memory, beside the smaller",
        "traffic of 365 days, 400 messages: whole process",
        "the same by a scan of the tables",
        "a SIEM batch of 300 events, counted",
    ],
    "smtp": [
        "SMTP in of 40 messages (generated mail), 1 at once",
        "SMTP in of 40 messages (generated mail), 8 at once",
    ],
}


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, (str(PACKAGES), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, "TMPDIR": str(folder), "MIMEPORTAL_CORPUS": str(folder / "none")}
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_printed(name: str, tmp_path: Path) -> None:
    done = run(name, "--quick", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    head = lines.index(next(line for line in lines if line.split() == ["what", "ours", "floor", "ratio", "goal"]))
    column = lines[head].index("ours")
    printed = {line[:column].split("  ")[0]: line for line in lines[head + 1 : lines.index("", head)]}
    assert list(printed) == ROWS[name]
    assert all(line.removeprefix(row).strip() for row, line in printed.items())
    assert not any(tmp_path.iterdir()), "everything temporary is removed"


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    done = run("speed", folder=tmp_path)
    assert done.returncode == 2
    assert "startup, list, pages, import, search, release" in done.stderr
