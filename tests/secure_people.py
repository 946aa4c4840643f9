"""The people of secure messages in tests: inside and outside, each with a client, and the mail that reached them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from conftest import Lab
from mimeportal.portal import Portal
from mimeportal.secure import SecureClient
from mimeportal_server import delivery, settings
from mimeportal_server import people as persons
from mimeportal_server.store.schema import deliveries

CARL, DORA = "carl@elsewhere.example", "dora@other.example"
BLIND = "blind@example.com"  # an administrator without the content view permission
DEFAULT, DEFINITION = "Default Secure Messaging Definition", "Allow Print, 7 Day Exp"
_SECTION = re.compile(r"\[secure\]\nmode = [^\n]*\n")
_DEFINED = re.compile(r"\[secure\.folders\].*?(?=\n\[auto_allow\])", re.DOTALL)


class People:
    """The lab's people, called by address."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._open: dict[str, Portal] = {}

    def __call__(self, address: str) -> SecureClient:
        return self.client(address).secure

    def client(self, address: str) -> Portal:
        if address not in self._open:
            self._open[address] = self.lab.client(address)
        return self._open[address]

    def close(self) -> None:
        for portal in self._open.values():
            portal.close()
        self._open = {}

    def mail(self, to: str) -> list[str]:
        """Everything that was delivered to an address, first first."""
        server = self.lab.server
        delivery.deliver(server)
        mine = (deliveries.c.recipient == to) & (deliveries.c.state == "delivered")
        with server.database.read() as tx:
            blobs = tx.scalars(select(deliveries.c.blob).where(mine).order_by(deliveries.c.id)).all()
        return [server.home.blobs.read(blob).decode() for blob in blobs]

    def advance(self, *, days: float = 0, hours: float = 0) -> None:
        """Move the portal's time, for whoever opens it from now on."""
        self.close()
        self.lab.advance(days=days, hours=hours)

    def configure(self, secure: str, *, defined: str | None = None, archiving: bool = True) -> None:
        """Another `[secure]`, with other folders and definitions where those are given; for whoever opens from now."""
        path = self.lab.path / "portal.toml"
        text = _SECTION.sub(lambda _: f"[secure]\n{secure}\n", path.read_text("utf-8"))
        if defined is not None:
            text = _DEFINED.sub(lambda _: defined, text)
        if not archiving:
            text = text.replace("archiving = true", "archiving = false")
        path.write_text(text, "utf-8")
        self.close()
        self.lab.server.settings = self.lab.server.home.settings = settings.load(path)

    def disable(self, address: str) -> None:
        with self.lab.server.write() as tx:
            person = persons.find(tx, address)
            assert person is not None
            persons.disable(tx, int(person.id), True)  # type: ignore[call-overload]

    def add_blind(self) -> None:
        with self.lab.server.write() as tx:
            persons.add(tx, BLIND, role="administrator", content_view=False, domains=("example.com",), now=0)


@pytest.fixture
def people(lab: Lab) -> Iterator[People]:
    people = People(lab)
    yield people
    people.close()
