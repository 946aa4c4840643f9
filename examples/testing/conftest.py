"""Mail that waits in the portal of each test."""

from __future__ import annotations

import pytest

from mimeportal.testing import SPAM, PortalHome, mail


@pytest.fixture
def invoices(portal_home: PortalHome) -> list[bytes]:
    """Two invoices of suppliers, held as spam; beside them what must stay held."""
    ours = [
        mail("Invoice 2026-1187", sender="Billing <billing@supplier.example>"),
        mail("Your invoice for October", sender="accounts@carrier.example"),
    ]
    others = [
        mail("Invoice 2026-1187", sender="Billing <billing@supplier.example.evil.example>"),
        mail("Season's greetings", sender="Billing <billing@supplier.example>"),
    ]
    for octets in ours + others:
        portal_home.deliver(octets, hold=SPAM)
    program = mail("Invoice", sender="billing@supplier.example", attachments={"invoice.exe": b"MZ"})
    assert portal_home.deliver(program) == "held"  # by a rule that every new portal has
    return ours
