"""The tests of release_invoices.py: `pip install 'mimeportal[server]' pytest`, then `pytest`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from release_invoices import release_invoices

from mimeportal import Portal
from mimeportal.testing import PortalFaults, PortalHome, PortalServer


def test_invoices_of_suppliers_go_out_as_they_came(
    portal_client: Portal, portal_home: PortalHome, invoices: list[bytes]
) -> None:
    result = release_invoices(portal_client)
    assert result.totals == {"done": 2}
    assert sorted(gone.octets for gone in portal_home.delivered()) == sorted(invoices)


def test_everything_else_stays(portal_client: Portal, invoices: list[bytes]) -> None:
    release_invoices(portal_client)
    left = {hold.from_header for hold in portal_client.holds.list()}
    assert left == {"billing@supplier.example", "billing@supplier.example.evil.example"}


def test_the_second_run_finds_nothing(portal_client: Portal, invoices: list[bytes]) -> None:
    release_invoices(portal_client)
    assert release_invoices(portal_client).totals == {}


def test_what_expired_is_not_released(portal_client: Portal, portal_home: PortalHome, invoices: list[bytes]) -> None:
    portal_home.clock.advance(days=15)
    assert release_invoices(portal_client).totals == {}


def test_a_lost_answer_releases_nothing_twice(
    portal_client: Portal, portal_faults: PortalFaults, portal_home: PortalHome, invoices: list[bytes]
) -> None:
    portal_faults.add("holds.decide", "reset_after")
    result = release_invoices(portal_client)
    assert portal_faults.left == []
    assert result.totals == {"done": 2}
    assert len(portal_home.delivered()) == 2


def test_it_works_with_what_mimecast_offers(portal_server: PortalServer, invoices: list[bytes]) -> None:
    portal = portal_server.client(api="api2")
    assert release_invoices(portal).totals == {"done": 2}
    assert "holds.release" in [request.operation for request in portal_server.requests]


def test_the_program(portal_server: PortalServer, invoices: list[bytes]) -> None:
    environment = {**os.environ, **portal_server.environment()}
    script = Path(__file__).with_name("release_invoices.py")
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == "2 invoices released.\n"
