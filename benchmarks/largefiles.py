"""Large files over HTTP: sent by the command and fetched by curl, beside an nginx that takes and serves the same.

nginx takes by WebDAV PUT and serves by GET; what it takes it neither hashes nor syncs, as we do. Where nginx or curl
is absent our own figures stand alone, and say so.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path

import requests

from benchmarks.lab import ANN, Lab
from benchmarks.measure import Act, Row, by_turns
from benchmarks.network import Server, served

_MIB = 1024 * 1024
_LEAST = 0.5  # of nginx's speed
_MOST = 150 * _MIB  # of memory, of client and server each
_PARALLEL = 50

_CONFIG = """\
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    sendfile on;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/files;
        location / {{ dav_methods PUT; }}
    }}
}}
"""


def run(lab: Lab) -> list[Row]:
    size = lab.size(2048 * _MIB, 9 * _MIB)
    small = lab.size(200 * _MIB, 5 * _MIB)
    random, zeros, little = (lab.new(name) for name in ("random", "zeros", "little"))
    _fill(random, size, secrets.token_bytes)
    _fill(zeros, size, bytes)
    _fill(little, small, secrets.token_bytes)
    absent = [name for name in ("nginx", "curl") if shutil.which(name) is None]
    rows: list[Row] = []
    with served(lab, lab.empty_home()) as server, _nginx(lab, bool(absent)) as floor:
        rows += _speeds(lab, server, floor, random, zeros, absent)
        if "curl" not in absent:
            rows += _parallel(lab, server, floor, little, absent)
    rows += _memory(lab, little, random)
    return rows


# -- how fast -------------------------------------------------------------------------------------------------


def _speeds(lab: Lab, server: Server, floor: str, random: Path, zeros: Path, absent: list[str]) -> list[Row]:
    rounds = lab.size(3, 1)
    rows = []
    for path, what in ((zeros, "zeros"), (random, "random")):
        acts: list[Act] = [lambda path=path: _send(lab, server, path)]  # type: ignore[misc]
        if not absent:
            # A new file each time, as ours is: an octet in a new page costs more than in one that is written over.
            acts.append(lambda path=path: _put(floor, path, f"{secrets.token_hex(4)}-{path.name}"))  # type: ignore[misc]
        taken, *other = by_turns(rounds, *acts, warm=0)
        rows.append(_row(f"upload of {_told(path)} of {what}", path, taken, other, absent))
    if "curl" not in absent:
        url = _url(server, random)
        acts = [lambda: _get(url, random)]
        if not absent:
            _put(floor, random)
            acts.append(lambda: _get(f"{floor}/{random.name}", random))
        taken, *other = by_turns(rounds, *acts, warm=0)
        rows.append(_row(f"download of {_told(random)} by a recipient", random, taken, other, absent))
    return rows


def _row(what: str, path: Path, taken: float, other: list[float], absent: list[str]) -> Row:
    size = path.stat().st_size
    if not other:
        return Row(what, _speed(size, taken), f"without {' and '.join(absent)}")
    ratio = other[0] / taken
    return Row(what, _speed(size, taken), _speed(size, other[0]), ratio, f"at least {_LEAST:.2f}", ratio >= _LEAST)


def _parallel(lab: Lab, server: Server, floor: str, path: Path, absent: list[str]) -> list[Row]:
    """Many who fetch the same at once, each their own URL."""
    count = lab.size(_PARALLEL, 4)
    _send(lab, server, path)
    urls = [_url(server, path) for _ in range(count)]
    before = _peak(server.process)

    def all_of(urls: list[str]) -> float:
        begun = time.perf_counter()
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda url: _get(url, path), urls))
        return time.perf_counter() - begun

    taken = all_of(urls)
    what = f"{count} downloads of {_told(path)} at once"
    octets = count * path.stat().st_size
    rows = [Row(what, _speed(octets, taken), f"without {' and '.join(absent)}" if absent else "")]
    if not absent:
        _put(floor, path)
        other = all_of([f"{floor}/{path.name}"] * count)
        rows = [Row(what, _speed(octets, taken), _speed(octets, other), other / taken)]
    after = _peak(server.process)
    name = f"{count} downloads at once: peak memory of the server, beside the one before"
    return [*rows, Row(name, _memory_told(after), _memory_told(before), after / before, "below 150 MiB", after < _MOST)]


# -- how much memory ------------------------------------------------------------------------------------------


def _memory(lab: Lab, small: Path, large: Path) -> list[Row]:
    """Peaks of both sides in processes of their own, for a small and for a large file."""
    peaks = []
    for path in (small, large):
        with served(lab, lab.empty_home()) as server:
            client = _send_peak(lab, server, path)
            if shutil.which("curl"):
                _get(_url(server, path), path)
            peaks.append((client, _peak(server.process)))
    rows = []
    for who, few, many in (("client", peaks[0][0], peaks[1][0]), ("server", peaks[0][1], peaks[1][1])):
        what = f"{_told(large)} sent and fetched: peak memory of the {who}, beside {_told(small)}"
        rows.append(Row(what, _memory_told(many), _memory_told(few), many / few, "below 150 MiB", many < _MOST))
    return rows


def _peak(process: int) -> int:
    """The most memory that a process has had, in octets."""
    lines = Path(f"/proc/{process}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


# -- ours -----------------------------------------------------------------------------------------------------


def _command(lab: Lab, path: Path) -> list[str]:
    words = ("largefiles", "send", str(path), "--to", "out@elsewhere.example", "--subject", "A large file")
    return [sys.executable, str(lab.command), *words]


def _send(lab: Lab, server: Server, path: Path) -> float:
    """The whole command, until the recipients are mailed."""
    os.sync()
    begun = time.perf_counter()
    subprocess.run(_command(lab, path), env={**server.env, "MIMEPORTAL_USER": ANN}, check=True, capture_output=True)
    return time.perf_counter() - begun


def _send_peak(lab: Lab, server: Server, path: Path) -> int:
    sending = subprocess.Popen(
        _command(lab, path),
        env={**server.env, "MIMEPORTAL_USER": ANN},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(sending.pid, 0)
    sending.returncode = os.waitstatus_to_exitcode(status)
    if sending.returncode:
        raise SystemExit("a file was not sent")
    return usage.ru_maxrss * 1024


def _url(server: Server, path: Path) -> str:
    """The URL that the button leads to, on the page that a notification of a file links to."""
    until = time.monotonic() + 60
    while (link := _link(server.home / "outgoing" / "new", path.name)) is None:
        if time.monotonic() > until:
            raise SystemExit(f"no notification of {path.name} was delivered")
        time.sleep(0.1)
    with requests.Session() as browser:
        page = browser.get(link, timeout=20)
        token = re.search(r'name="csrf" value="([^"]+)"', page.text)
        action = re.search(r'action="(/largefiles/[^"]+)"', page.text)
        assert token is not None
        assert action is not None
        form = {"csrf": token[1], "file": "1"}
        told = browser.post(f"{server.url}{action[1]}", form, timeout=20, allow_redirects=False)
    return f"{server.url}{told.headers['location']}"


def _link(delivered: Path, name: str) -> str | None:
    """The link in a notification that names a file; notifications arrive in any order."""
    for entry in delivered.iterdir():
        text = message_from_bytes(entry.read_bytes(), policy=policy.default).get_content()
        if name in text:
            found = re.search(r"https?://\S+/largefiles/link/\S+", text)
            if found is None:
                raise SystemExit(f"the notification of {name} has no link")
            return found[0]
    return None


# -- the floor ------------------------------------------------------------------------------------------------


@contextmanager
def _nginx(lab: Lab, absent: bool) -> Iterator[str]:
    """An nginx of its own; the URL of its folder."""
    if absent:
        yield ""
        return
    folder = lab.new("nginx")
    (folder / "files").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    user = f"user {_user()};\n" if os.getuid() == 0 else ""
    (folder / "conf").write_text(user + _CONFIG.format(folder=folder, port=port))
    running = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "conf")], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait()


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _put(floor: str, path: Path, name: str = "") -> float:
    os.sync()
    return _curl("-T", str(path), f"{floor}/{name or path.name}")


def _get(url: str, path: Path) -> float:
    """Fetch it, and see that all of it came."""
    begun = time.perf_counter()
    done = subprocess.run(
        ["curl", "-sS", "--fail", "-o", os.devnull, "-w", "%{size_download}", url],
        check=True,
        capture_output=True,
        text=True,
    )
    if int(done.stdout) != path.stat().st_size:
        raise SystemExit(f"{done.stdout} octets came of {path.stat().st_size}")
    return time.perf_counter() - begun


def _curl(*arguments: str) -> float:
    begun = time.perf_counter()
    subprocess.run(["curl", "-sS", "--fail", *arguments], check=True, capture_output=True)
    return time.perf_counter() - begun


# -- files and words ------------------------------------------------------------------------------------------


def _fill(path: Path, size: int, make: Callable[[int], bytes]) -> None:
    with path.open("wb") as file:
        for start in range(0, size, _MIB):
            file.write(make(min(_MIB, size - start)))


def _told(path: Path) -> str:
    return f"{path.stat().st_size // _MIB:,} MiB"


def _speed(size: int, seconds: float) -> str:
    return f"{size / seconds / 1e6:,.0f} MB/s"


def _memory_told(octets: int) -> str:
    return f"{octets / _MIB:,.0f} MiB"
