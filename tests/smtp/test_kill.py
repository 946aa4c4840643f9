"""kill -9 while mail comes in: what was acknowledged is there afterwards, whole, with all that belongs to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from talking import Talk, rows, stored

import mimeportal
from conftest import Lab
from mimeportal_server.store.schema import copies, deliveries

# A door that dies at the third time that a step is reached.
SERVE = """
import os, signal, sys
from pathlib import Path
from mimeportal_server import steps
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal
from mimeportal_server.smtp import SmtpDoor

left = 3

def hook(step):
    global left
    left -= step == sys.argv[2]
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

steps.hook = hook
door = SmtpDoor(Portal(Home.open(Path(sys.argv[1]))), "127.0.0.1", 0)
door.start()
print(door.address[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("step", "there"),
    [("blobs.written", 2), ("blobs.renamed", 2), ("import.blobs", 2), ("import.written", 2), ("import.committed", 3)],
)
def test_what_was_acknowledged_is_there(lab: Lab, step: str, there: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(lab.path), step],
        env={**os.environ, "PYTHONPATH": str(Path(mimeportal.__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        door = SimpleNamespace(address=("127.0.0.1", int(process.stdout.readline())))
        acknowledged = []
        with Talk(door) as talk:
            for number in range(3):
                octets = f"Subject: {number}\r\n\r\n".encode()
                if talk.mail(octets).startswith("250"):
                    acknowledged.append(octets)
        process.wait(30)
    assert len(acknowledged) == 2
    # Between the commit and its reply lies the one message that its sender will send again.
    assert stored(lab)[:2] == acknowledged
    assert len(stored(lab)) == len(rows(lab, copies)) == len(rows(lab, deliveries)) == there
