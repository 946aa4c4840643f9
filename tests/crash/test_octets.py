"""Octets that a sweep lets go of while the same ones come in again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from mimeportal_server import delivery, keeping, steps
from mimeportal_server.clock import DAY
from mimeportal_server.store.blobs import name_of
from mimeportal_server.store.schema import deliveries, messages


def _at(monkeypatch: pytest.MonkeyPatch, step: str, act: Callable[[], object]) -> None:
    """Let something happen just when a step is reached."""
    monkeypatch.setattr(steps, "hook", lambda reached: act() if reached == step else None)


def test_a_stray_that_is_removed_while_it_arrives(
    lab: Any, mail: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    octets = mail()
    blobs = lab.server.home.blobs
    blobs.add({name_of(octets): octets})
    os.utime(blobs.path(name_of(octets)), (0, 0))
    _at(monkeypatch, "import.blobs", lambda: keeping._remove_strays(lab.server))
    lab.receive(octets)
    assert blobs.read(name_of(octets)) == octets


def test_octets_that_are_purged_while_they_arrive(
    lab: Any, mail: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    octets = mail()
    lab.receive(octets)
    with lab.client() as client:
        client.holds.reject(list(client.holds.list()))
    with lab.server.write() as tx:
        tx.execute(update(messages).values(purge_marked=lab.server.clock.now() - 2 * DAY))
    _at(monkeypatch, "sweep.purged", lambda: lab.receive(octets))
    keeping.sweep(lab.server)
    assert lab.server.home.blobs.read(name_of(octets)) == octets
    with lab.server.database.read() as tx:
        assert [bool(purged) for purged in tx.scalars(select(messages.c.purged))] == [True, False]


def test_what_an_earlier_process_left_unfinished_goes_after_a_day(lab: Any) -> None:
    incoming = lab.path / "blobs" / "incoming"
    for name in ("old", "new"):
        (incoming / name).write_bytes(b"half")
    os.utime(incoming / "old", (0, 0))
    keeping.sweep(lab.server)
    assert [file.name for file in incoming.iterdir()] == ["new"]


def test_what_the_next_hop_refused_is_kept_without_archiving(lab: Any, mail: Callable[..., bytes]) -> None:
    lab.server.settings = replace(lab.server.settings, archiving=False)
    octets = mail()
    lab.receive(octets)
    with lab.server.write() as tx:
        message = tx.execute(select(messages)).one()
        row = {"message_id": message.id, "blob": message.blob, "state": "queued", "recipient": "ann@example.com"}
        tx.execute(insert(deliveries), row)
        delivery.fail(lab.server, tx, [(tx.execute(select(deliveries)).one(), "550 no")])
    with lab.client() as client:
        client.holds.reject(list(client.holds.list()))
    keeping.sweep(lab.server)
    lab.advance(days=3)
    keeping.sweep(lab.server)
    assert lab.server.home.blobs.read(name_of(octets)) == octets
