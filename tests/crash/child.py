"""The process that is killed: reads one JSON order a line, plays each in a fork of its own, tells how it ended.

A fork, so that nothing has to be imported anew for each kill; what dies is a real process by a real SIGKILL.
An order: {"home", "box", "reports", "kill": [step, n] or null, "stages": names of delivery stages or null, "story":
"large files" or absent}.
The answer: {"steps": [every step that was reached], "signal": its number or null, "error": a traceback or ""}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

from mimeportal import report as reports
from mimeportal.holds.hold import HoldFilter
from mimeportal.portal import Portal as Client
from mimeportal.report import Report
from mimeportal_server import delivery, importing, steps
from mimeportal_server.embedded import EmbeddedTransport
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal

LAZY = (
    "mimeportal.account.contract",
    "mimeportal.holds.contract",
    "mimeportal.holds.deciding",
    "mimeportal.largefiles.client",
    "mimeportal.senders.contract",
    "mimeportal_server.account",
    "mimeportal_server.compose",
    "mimeportal_server.holds",
    "mimeportal_server.largefile_scan",
    "mimeportal_server.largefiles",
    "mimeportal_server.relay",
    "mimeportal_server.senders",
)


def main() -> None:
    for name in LAZY:
        import_module(name)
    for line in sys.stdin:
        print(json.dumps(_in_a_fork(json.loads(line))), flush=True)


def _in_a_fork(order: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _play(order, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = [json.loads(line) for line in pipe]
    _, status = os.waitpid(child, 0)
    return {
        "steps": [line["step"] for line in told if "step" in line],
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "error": "".join(line["error"] for line in told if "error" in line),
    }


def _play(order: dict[str, Any], writing: int) -> None:
    """Play the story, up to the step where the order says to die. Never returns."""

    def tell(**line: str) -> None:
        os.write(writing, json.dumps(line).encode() + b"\n")

    try:
        left = Counter({order["kill"][0]: order["kill"][1]}) if order["kill"] else Counter()

        one_at_a_time = Lock()  # or another thread could tell a step of its own before this one dies

        def hook(step: str) -> None:
            with one_at_a_time:
                tell(step=step)
                left[step] -= 1
                if left[step] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        steps.hook = hook
        _mark_the_report()
        # Small batches, so that every step comes more than once.
        importing._BATCH = 3
        delivery._BATCH = 3
        if order["stages"]:
            delivery.STAGES = tuple(getattr(delivery, name) for name in order["stages"])
        played = send_large_files if order.get("story") == "large files" else story
        played(Path(order["home"]), Path(order["box"]), Path(order["reports"]))
    except BaseException:
        tell(error=traceback.format_exc())
    os._exit(0)


def _mark_the_report() -> None:
    """Steps of the SDK's report, which knows nothing of the server's named steps."""

    def around(owner: Any, name: str, before: str, after: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def marked(*given: Any, **named: Any) -> Any:
            if before:
                steps.reached(before)
            result = original(*given, **named)
            if after:
                steps.reached(after)
            return result

        setattr(owner, name, marked)

    around(reports, "_line", "", "report.line")
    around(Report, "__init__", "", "report.opened")
    around(Report, "plan", "", "report.planned")
    around(Report, "add", "report.answered", "report.added")
    around(Report, "finish", "report.finishing", "report.finished")


def story(home: Path, box: Path, reports: Path) -> None:
    """Import, release, reject, deliver, through public doors; played again it completes what a kill cut off."""
    portal = Portal(Home.open(home))
    lines = list(importing.run(portal, [box], importing.Options()))
    portal.close()
    assert {line.outcome for line in lines} <= {"held", "delivered", "already"}, lines
    _decide(home, "ann@example.com", "release", "personal", reports / "release", "Free *", permit="address")
    _decide(home, "admin@example.com", "reject", "admin", reports / "reject", "Refuse *", block="address", notify=True)


def _decide(home: Path, user: str, verb: str, queue: str, path: Path, subject: str, **options: Any) -> None:
    """One bulk verb with a report; what an earlier run left is taken up from it (promises A.5)."""
    client = Client(EmbeddedTransport(home, user))
    report_holds_lines = path.exists() and path.stat().st_size > 0
    if path.with_name(path.name + ".todo").exists():
        with client.holds.plan(verb, retry_from=path) as plan:
            result = plan.run(report=Report(path, append=True, resume=True), batch_size=2)
        assert result.clean, result
    elif not report_holds_lines:
        with client.holds.plan(verb, filter=HoldFilter(queue=queue, subject=subject), **options) as plan:
            result = plan.run(report=Report(path, append=path.exists()), batch_size=2)
        assert result.clean, result
    left = client.close()
    assert left == "", left


def send_large_files(home: Path, box: Path, reports: Path) -> None:
    """Send the files of a box; what an earlier run left is taken up by its handle, kept before anything is sent."""
    kept = reports / "handle"
    with Client(EmbeddedTransport(home, "ann@example.com")) as client:
        if kept.exists():
            upload = client.largefiles.resume(json.loads(kept.read_text()))
        else:
            files = sorted(box.iterdir())
            upload = client.largefiles.upload(files, to=["out@elsewhere.example"], subject="Plans")
            kept.write_text(json.dumps(upload.handle()))
        assert upload.run().status == "active"


if __name__ == "__main__":
    main()
