"""Over HTTP: a release in bulk beside one request per message, with calls that fail, within a quota; and a list."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from benchmarks.lab import ANN, Lab
from benchmarks.measure import Row, at_most, by_turns, process, seconds

_DELAY = 50  # milliseconds, added to every answer
_BATCH = 25  # ids in one call, as Mimecast takes them
_FASTER = 100
_SEQUENTIAL = 200  # messages released one by one; more would take as long each
_QUOTA = (100, 10)  # calls, seconds
_IMPORTS = "import click, requests, platformdirs\nfrom pydantic import BaseModel\n"
_MIXED: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 503},
    {"kind": "reset_before"},
    {"kind": "reset_after"},
    {"kind": "cut"},
    {"kind": "status", "status": 500},
    {"kind": "bad_json"},
    {"kind": "quota", "milliseconds": 200},
)


def run(lab: Lab) -> list[Row]:
    count = lab.size(10_000, 60)
    home = lab.mail_home(count)
    return [*_in_bulk(lab, home, count), *_failing(lab, home, count), *_quota(lab, home, count), *_list(lab)]


# -- the release of many held messages -------------------------------------------------------------------


def _in_bulk(lab: Lab, home: Path, count: int) -> list[Row]:
    """The whole command, selection and report included, beside one request per message in sequence."""
    with served(lab, lab.copy(home)) as server:
        server.faults({"operation": "*", "kind": "delay", "milliseconds": _DELAY, "times": None})
        taken = _release(lab, server, count)
        calls = len(server.noted())
    with served(lab, lab.copy(home)) as server:
        server.faults({"operation": "*", "kind": "delay", "milliseconds": _DELAY, "times": None})
        few = min(_SEQUENTIAL, count // 2)
        one_by_one = _one_by_one(server, few) / few * count
    ratio = one_by_one / taken
    named = f"release of {count:,} over HTTP, {_DELAY} ms added to each of {calls} calls, beside one request a message"
    return [
        Row(named, seconds(taken), seconds(one_by_one), ratio, f"at least {_FASTER} times faster", ratio >= _FASTER)
    ]


def _failing(lab: Lab, home: Path, count: int) -> list[Row]:
    """The same while one call in five fails, in seven ways by turns."""
    with served(lab, lab.copy(home)) as server:
        ways = [
            {"operation": operation, "skip": 4, **_MIXED[number % len(_MIXED)]}
            for operation in ("holds.decide", "holds.find", "holds.states")
            for number in range(count // _BATCH)
        ]
        server.faults(*ways)
        taken = _release(lab, server, count)
        spoilt = sum(1 for noted in server.noted() if noted["fault"])
        all_calls = len(server.noted())
    named = f"the same, {spoilt} of {all_calls} calls failing: every one released, none unknown"
    return [Row(named, seconds(taken), goal="all done", met=True)]  # `_release` checks it


def _quota(lab: Lab, home: Path, count: int) -> list[Row]:
    """Within a quota: how many calls were wasted on a refusal."""
    calls, per = _QUOTA
    with served(lab, lab.copy(home)) as server:
        server.put("quota", {"calls": calls, "seconds": per})
        taken = _release(lab, server, count)
        refused = sum(noted["status"] == 429 for noted in server.noted())
    named = f"release of {count:,} within {calls} calls per {per} s: calls refused"
    return [Row(f"{named} (in {seconds(taken)})", str(refused), goal="at most 1", met=refused <= 1)]


def _release(lab: Lab, server: Server, count: int) -> float:
    """Release everything by the command; every message must be told as done, and be released in the portal."""
    report = lab.new("report")
    taken = process(
        lab.command,
        *("holds", "release", "--queue", "admin", "--mailbox", ANN, "--yes"),
        *("--max", str(count), "--batch-size", str(_BATCH), "--report", str(report)),
        env=server.env,
    )
    outcomes = Counter(json.loads(line)["outcome"] for line in report.read_text("utf-8").splitlines())
    left = server.call("/api/gateway/get-hold-message-list", {"admin": True})
    if set(outcomes) - {"done", "already"} or outcomes.total() != count or left:
        raise SystemExit(f"{count} were to be released: {outcomes}, and {len(left)} or more are held")
    return taken


def _one_by_one(server: Server, count: int) -> float:
    """Release messages as clients do that others wrote: one request each, one after the other."""
    ids = [row["id"] for row in server.call("/api/gateway/get-hold-message-list", {"admin": True}, size=500)]
    start = time.perf_counter()
    for id in ids[:count]:
        (row,) = server.call("/api/gateway/hold-release", {"id": id})
        if not row["release"]:
            raise SystemExit("a message was not released")
    return time.perf_counter() - start


# -- a list ----------------------------------------------------------------------------------------------


def _list(lab: Lab) -> list[Row]:
    count = lab.size(1_000, 50)
    imports = lab.script("network_imports", _IMPORTS)
    command = ("holds", "list", "--queue", "admin")
    with served(lab, lab.copy(lab.listed_home(count))) as server:
        ours, floor = by_turns(
            lab.size(21, 1),
            lambda: process(lab.command, *command, env=server.env),
            lambda: process(imports, env=server.env),
        )
        return [at_most(f"holds list, {count:,} holds over HTTP, whole process", ours, floor, 1.6)]


# -- a portal that runs ----------------------------------------------------------------------------------


class Server:
    """A `mimeportal-server serve --lab` of its own, and an application of API 2.0 to ask it as."""

    def __init__(self, lab: Lab, home: Path, url: str, process: int) -> None:
        self.url = url
        self.home = home
        self.process = process
        token = (home / "lab.token").read_text("ascii")
        self._lab = {"x-lab-token": token}
        told = _run(lab.server_command, "apps", "add", "benchmark", "-o", "json", "--home", str(home), env=lab.env())
        app = json.loads(told)
        self.env = {
            **lab.env(),
            "MIMEPORTAL_URL": url,
            "MIMEPORTAL_CLIENT_ID": app["client_id"],
            "MIMEPORTAL_CLIENT_SECRET": app["client_secret"],
        }
        form = {name: app[name] for name in ("client_id", "client_secret")}
        answer = requests.post(f"{url}/oauth/token", {"grant_type": "client_credentials", **form}, timeout=10)
        self._bearer = {"authorization": f"Bearer {answer.json()['access_token']}"}

    def put(self, what: str, document: Mapping[str, Any]) -> None:
        requests.put(f"{self.url}/lab/{what}", json=document, headers=self._lab, timeout=10).raise_for_status()

    def faults(self, *script: Mapping[str, Any]) -> None:
        self.put("faults", {"faults": script})

    def noted(self) -> list[dict[str, Any]]:
        """What was asked of operations, but for tokens."""
        answer = requests.get(f"{self.url}/lab/requests", headers=self._lab, timeout=10)
        found: list[dict[str, Any]] = answer.json()["requests"]
        return [noted for noted in found if noted["operation"] != "auth.token"]

    def call(self, path: str, item: Mapping[str, Any], *, size: int | None = None) -> Sequence[Any]:
        body: dict[str, Any] = {"data": [item]}
        if size is not None:
            body["meta"] = {"pagination": {"pageSize": size}}
        answer = requests.post(f"{self.url}{path}", json=body, headers=self._bearer, timeout=10)
        rows: list[Any] = answer.json()["data"]
        return rows


@contextmanager
def served(lab: Lab, home: Path) -> Iterator[Server]:
    """A portal that runs, until the end of the block."""
    command = [sys.executable, str(lab.server_command), "serve", "--home", str(home), "--http", "127.0.0.1:0", "--lab"]
    with (
        open(lab.new("served"), "wb") as log,
        subprocess.Popen(command, env=lab.env(), stdout=subprocess.PIPE, stderr=log, text=True) as serving,
    ):
        assert serving.stdout is not None
        words = serving.stdout.readline().split()
        try:
            yield Server(lab, home, words[words.index("--url") + 1], serving.pid)
        finally:
            serving.terminate()


def _run(script: Path, *arguments: str, env: Mapping[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, str(script), *arguments], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout
