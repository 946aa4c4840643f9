"""The portal that is killed: `large_server.py HOME PORT STEP N` dies when it reaches STEP for the Nth time.

Each step it reaches is written down beside the home. Without a step it serves until it is ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

from mimeportal_server import steps
from mimeportal_server.serving import Server


def main(home: str, port: str, step: str, number: str) -> None:
    left = [int(number)]
    lock = threading.Lock()
    written = (Path(home).parent / "steps").open("a", buffering=1)

    def reached(name: str) -> None:
        with lock:
            written.write(json.dumps(name) + "\n")
            if name == step:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    steps.hook = reached
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with Server(Path(home), http=("127.0.0.1", int(port))):
        print("ready", flush=True)
        ended.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
