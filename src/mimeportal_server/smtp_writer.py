"""The one thread that writes what comes in by SMTP: whatever waits when it is free shares one commit.

A lone message waits for nothing. While one commit is synced, others gather and become the next batch.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert

from mimeportal import limits
from mimeportal.errors import UnavailableError
from mimeportal_server import arrival, counting, incoming
from mimeportal_server.portal import Portal
from mimeportal_server.store.database import StoreError
from mimeportal_server.store.schema import rejections

Outcome = list[incoming.Result] | Exception


@dataclass(frozen=True, slots=True)
class Message:
    """A message to be parsed and stored; `done` is called in the writer's thread, once it is durable or failed."""

    octets: bytes
    envelope_from: str
    envelope: dict[str, Any]  # the rest of what `incoming.Incoming` wants
    done: Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Rejection:
    """Rows of `rejections`; `done` as of a message."""

    rows: list[dict[str, Any]]
    done: Callable[[Outcome], None]


class Writer:
    """`put()` from any thread; `on_accepted` is called after each commit that took mail."""

    def __init__(self, portal: Portal, on_accepted: Callable[[], None]) -> None:
        self._portal = portal
        self._on_accepted = on_accepted
        self._waiting: queue.SimpleQueue[Message | Rejection | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="smtp writer", daemon=True)
        self._closed = False
        self._lock = threading.Lock()  # nothing is put behind the end

    def start(self) -> None:
        self._thread.start()

    def put(self, job: Message | Rejection) -> None:
        with self._lock:
            if not self._closed:
                self._waiting.put(job)
                return
        job.done(UnavailableError("The portal is closing."))

    def close(self) -> None:
        """Write what was put so far, then end."""
        with self._lock:
            self._closed = True
            self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            jobs, last = self._gather()
            refused = [job for job in jobs if isinstance(job, Rejection)]
            if refused:
                self._record(refused)
            arrived = [job for job in jobs if isinstance(job, Message)]
            if arrived:
                self._store(arrived)
            if last:
                return

    def _gather(self) -> tuple[list[Message | Rejection], bool]:
        """What waits, at least one; and whether it is the last."""
        jobs: list[Message | Rejection] = []
        octets = 0
        while len(jobs) < limits.SMTP_BATCH and octets < limits.SMTP_BATCH_OCTETS:
            try:
                job = self._waiting.get(block=not jobs)
            except queue.Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
            octets += len(job.octets) if isinstance(job, Message) else 0
        return jobs, False

    def _store(self, jobs: Sequence[Message]) -> None:
        try:
            batch = [incoming.parse(job.octets, job.envelope_from, **job.envelope) for job in jobs]
            results = arrival.accept(self._portal, batch, door="smtp")
        except (StoreError, UnavailableError, OSError) as fault:
            for job in jobs:
                job.done(fault)
        except Exception as fault:
            # No message may be refused for what is wrong with another.
            if len(jobs) > 1:
                for job in jobs:
                    self._store([job])
            else:
                jobs[0].done(fault)
        else:
            for job, result in zip(jobs, results, strict=True):
                job.done(result)
            self._on_accepted()

    def _record(self, jobs: Sequence[Rejection]) -> None:
        outcome: Outcome = []
        try:
            with self._portal.write() as tx:
                rows = [row for job in jobs for row in job.rows]
                tx.execute(insert(rejections), rows)
                counts = Counter(("traffic", row["at"], row["route"], "rejected") for row in rows)
                counting.count(self._portal, tx, counts)
        except Exception as fault:
            outcome = fault
        for job in jobs:
            job.done(outcome)
