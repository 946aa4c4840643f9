"""A portal home for tests, set up from inside the process: people, apps and mail, without a command or a log-in."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select

from mimeportal.addresses import normalise
from mimeportal.errors import UsageError
from mimeportal_server import apps, arrival, clock, delivery, importing, incoming, lab, passwords, people
from mimeportal_server.home import Home
from mimeportal_server.portal import Portal
from mimeportal_server.store.schema import deliveries


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message that left the portal: `kind` is screened, released, written or submitted."""

    kind: str
    sender: str
    recipient: str
    octets: bytes


class Bench:
    """A new home, made for tests, for the people of one domain. Close it."""

    def __init__(self, path: Path, domain: str) -> None:
        self.path = path
        self.domain = domain
        self._portal = Portal(Home.create(path, domain, lab=True))
        self._app: dict[str, str] = {}
        self.token = self._portal.home.lab_token.read_text("ascii")

    def add_person(self, address: str, role: str, moderates: tuple[str, ...]) -> None:
        """Add a person, or give one that is there another role. Raises `UsageError`."""
        with self._portal.write() as tx:
            people.add(tx, address, role=role, scopes=moderates, domains=(self.domain,), now=self._portal.clock.now())

    def app_keys(self) -> dict[str, str]:
        """The credentials, of API 2.0 and of 1.0, of an app with the role of an administrator."""
        if not self._app:
            with self._portal.write() as tx:
                _, shown = apps.add(self._portal, tx, "tests", role="administrator", scopes=(), content_view=True)
            self._app = asdict(shown)
        return self._app

    def person_keys(self, address: str) -> dict[str, str]:
        """The credentials, of API 1.0, of a person who has just logged in."""
        app_id, app_key = apps.built_in(self._portal)
        with self._portal.write() as tx:
            app, person = apps.find(tx, app_id), self._person(tx, address)
            assert app is not None
            access_key = apps.bind(self._portal, tx, app.id, person.id, person.epoch, None)
        secret_key = apps.secret_key(self._portal, access_key)
        return {"app_id": app_id, "app_key": app_key, "access_key": access_key, "secret_key": secret_key}

    def password_file(self, address: str) -> Path:
        """A file, the owner's alone, with the password of a person; they get one when it is first asked for."""
        file = self.path.parent / f"{normalise(address)}.password"
        if not file.exists():
            password = f"{secrets.token_urlsafe(12)}-Aa1"
            with self._portal.database.read() as tx:
                self._person(tx, address)
                caller = people.caller_of(tx, normalise(address), "test")
            assert caller is not None
            passwords.change(self._portal, caller, None, password, peer="", request_id="")
            file.touch(0o600)
            file.write_text(password)
        return file

    def _person(self, tx: Connection, address: str) -> Row[Any]:
        found = people.find(tx, normalise(address))
        if found is None or found.kind != "person":
            raise UsageError(f"{address} is none of the portal's people.", remedy="Add them first.")
        return found

    def deliver(self, octets: bytes, to: str, sender: str | None, hold: str | None) -> str:
        """One message comes in, held for the reason `hold`, or screened; what became of it.

        Without a `sender` its envelope is taken from Return-Path, else From. Raises `UsageError` for a recipient
        whom nobody knows.
        """
        self._portal.follow_lab()
        with self._portal.database.read() as tx:
            person = self._person(tx, to)
        message = incoming.parse(
            octets,
            sender,
            recipients=[(person.id, person.address)],
            received=self._portal.clock.now(),
            hold=importing.hold_of(hold) if hold is not None else None,
        )
        ((result,),) = arrival.accept(self._portal, [message], door="test")
        return result.outcome

    def sender_of(self, octets: bytes) -> str:
        """The envelope sender of octets that come without one."""
        return incoming.parse(octets, None, recipients=(), received=0).envelope_from

    def delivered(self) -> list[Delivered]:
        """Everything that left the portal, first first; what is queued leaves before."""
        delivery.deliver(self._portal)
        with self._portal.database.read() as tx:
            rows = tx.execute(select(deliveries).where(deliveries.c.state == "delivered").order_by(deliveries.c.id))
            return [
                Delivered(row.kind, row.sender, row.recipient, self._portal.home.blobs.read(row.blob)) for row in rows
            ]

    def now(self) -> datetime:
        self._portal.follow_lab()
        return clock.moment(self._portal.clock.now())

    def set_time(self, moment: datetime) -> None:
        lab.set_time(self._portal, moment.isoformat())

    def empty(self) -> None:
        """Let go of everything but people, apps and settings, and of the offset of the clock."""
        lab.empty(self._portal)
        self._portal.set_offset(0)

    def close(self) -> None:
        self._portal.close()
