"""Mail taken by SMTP, beside a Postfix that takes the same into a Maildir; both say 250 once a message is synced.

`python -m benchmarks.smtp HOST PORT FOLDER CONNECTIONS` is the one sender for both.
"""

from __future__ import annotations

import json
import pwd
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.lab import ANN, DOMAIN, Lab
from benchmarks.measure import Act, Row, by_turns, speed

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))  # where the tests have a Postfix, too

from postfix import Postfix, missing  # noqa: E402


def run(lab: Lab) -> list[Row]:
    folder, origin = lab.mail
    return [_row(lab, folder, origin, connections) for connections in (1, 8)]


def _row(lab: Lab, folder: Path, origin: str, connections: int) -> Row:
    count = len(list(folder.iterdir()))
    what = f"SMTP in of {count:,} messages ({origin} mail), {connections} at once"
    absent = missing()
    acts = [_ours(lab, folder, connections)] + ([] if absent else [_postfix(lab, folder, connections)])
    taken, *floor = by_turns(lab.size(3, 1), *acts, warm=0)
    if not floor:
        return Row(what, speed(count, taken), f"without {absent.rstrip(',')}")
    return Row(what, speed(count, taken), speed(count, floor[0]), floor[0] / taken)


def _ours(lab: Lab, folder: Path, connections: int) -> Act:
    def act() -> float:
        with _served(lab) as address:
            return _sent(lab, address, folder, connections)

    return act


def _postfix(lab: Lab, folder: Path, connections: int) -> Act:
    user = pwd.getpwnam("postfix")
    into_a_maildir = {
        "virtual_mailbox_domains": DOMAIN,
        "virtual_mailbox_base": "{folder}/mail",
        "virtual_mailbox_maps": "static:ann/",
        "virtual_uid_maps": f"static:{user.pw_uid}",
        "virtual_gid_maps": f"static:{user.pw_gid}",
        "virtual_minimum_uid": "1",
        "virtual_mailbox_limit": "0",
        "message_size_limit": "104857600",
        "line_length_limit": "65536",
    }

    def act() -> float:
        with Postfix(into_a_maildir) as postfix:
            return _sent(lab, postfix.address, folder, connections)

    return act


@contextmanager
def _served(lab: Lab) -> Iterator[tuple[str, int]]:
    """A new portal's SMTP door, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    arguments = ("serve", "--home", str(lab.empty_home()), "--smtp", f"127.0.0.1:{port}")
    server = subprocess.Popen(
        [sys.executable, str(lab.server_command), *arguments],
        env=lab.env(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=10).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > until:
                    raise SystemExit("serve --smtp does not listen") from None
                time.sleep(0.05)
        yield "127.0.0.1", port
    finally:
        server.terminate()
        _, told = server.communicate(timeout=120)
    if server.returncode:
        raise SystemExit(f"serve --smtp ended with {server.returncode}:\n{told}")


def _sent(lab: Lab, address: tuple[str, int], folder: Path, connections: int) -> float:
    command = [sys.executable, "-m", "benchmarks.smtp", address[0], str(address[1]), str(folder), str(connections)]
    done = subprocess.run(command, env=lab.env(), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The sender ended with {done.returncode}:\n{done.stderr}")
    return float(json.loads(done.stdout)["seconds"])


# -- the sender -------------------------------------------------------------------------------------------------


def send_all(host: str, port: int, folder: Path, connections: int) -> float:
    """Send every file of a folder, some at once; seconds until the last one is acknowledged."""
    mail = []
    for path in sorted(folder.iterdir()):
        octets = re.sub(rb"\r?\n", b"\r\n", path.read_bytes())
        octets = octets if octets.endswith(b"\r\n") else octets + b"\r\n"
        mail.append(re.sub(rb"(\A|\r\n)\.", rb"\1..", octets) + b".\r\n")
    start = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        shares = [mail[number::connections] for number in range(connections)]
        list(pool.map(lambda share: _send(host, port, share), shares))
    return time.perf_counter() - start


def _send(host: str, port: int, share: Sequence[bytes]) -> None:
    envelope = f"MAIL FROM:<sender@elsewhere.example>\r\nRCPT TO:<{ANN}>\r\nDATA\r\n".encode()
    with socket.create_connection((host, port), timeout=300) as connection, connection.makefile("rb") as file:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def reply(wanted: bytes) -> None:
            while True:
                line = file.readline()
                if not line.startswith(wanted):
                    raise SystemExit(f"not taken: {line!r}")
                if line[3:4] == b" ":
                    return

        reply(b"220")
        connection.sendall(b"EHLO sender.example\r\n")
        reply(b"250")
        for octets in share:
            connection.sendall(envelope)
            for wanted in (b"250", b"250", b"354"):
                reply(wanted)
            connection.sendall(octets)
            reply(b"250")


if __name__ == "__main__":
    host, port, folder, connections = sys.argv[1:]
    print(json.dumps({"seconds": send_all(host, int(port), Path(folder), int(connections))}))
