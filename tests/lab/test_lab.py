"""The lab: a script of faults, a log of requests, a clock that is moved, a clean slate; only in homes made for it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import ANN, SPAM, mail_of
from mimeportal.errors import ConfigurationError
from mimeportal.portal import Portal as Client
from mimeportal.wire import Request
from mimeportal_server import arrival, delivery, importing, incoming, people
from mimeportal_server.clock import DAY, HOUR
from mimeportal_server.home import Home
from mimeportal_server.lab import KINDS, Fault, Lab
from mimeportal_server.portal import Portal
from mimeportal_server.quota import Quota
from mimeportal_server.serving import Server
from mimeportal_server.store import disk, schema


@dataclass
class Room:
    """A lab home with ann in it, its portal and its lab."""

    path: Path
    portal: Portal
    lab: Lab
    quota: Quota

    def ask(self, method: str, name: str, body: Any = None, *, peer: str = "127.0.0.1", token: str = "") -> Any:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        headers = {"x-lab-token": token or (self.path / "lab.token").read_text()}
        response = self.lab.answer(Request(method, f"/lab/{name}", headers, [raw], peer=peer))
        assert response is not None
        return response.status, json.loads(b"".join(response.body))

    def told(self, method: str, name: str, body: Any = None) -> Any:
        status, document = self.ask(method, name, body)
        assert status == 200, document
        return document

    def refused(self, method: str, name: str, body: Any = None, **more: Any) -> tuple[int, str]:
        status, document = self.ask(method, name, body, **more)
        (failure,) = document["fail"]
        return status, failure["message"]

    def receive(self, subject: str = "Hello", *, hold: bool = True) -> None:
        with self.portal.database.read() as tx:
            ann = people.find(tx, ANN)
        assert ann is not None
        message = incoming.parse(
            mail_of(subject=subject),
            None,
            recipients=[(int(ann.id), ANN)],
            received=self.portal.clock.now(),
            hold=importing.hold_of(SPAM) if hold else None,
        )
        arrival.accept(self.portal, [message], door="test")

    def subjects(self) -> list[str]:
        with Client.open(f"local:{self.path}", user=ANN) as client:
            return [hold.subject for hold in client.holds.list()]

    def count(self, table: Any) -> int:
        with self.portal.database.read() as tx:
            return len(tx.execute(table.select()).all())


def server_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mimeportal_server", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    home = Home.create(tmp_path / "home", "example.com", lab=True)
    with home.database.write() as tx:
        people.add(tx, ANN, domains=("example.com",), now=0)
    portal = Portal(home)
    quota = Quota(1, 3600)
    yield Room(home.path, portal, Lab.of(portal, quota=quota), quota)
    portal.close()


class TestHomesMadeForTests:
    def test_the_token_is_long_and_the_owner_s_alone(self, room: Room) -> None:
        token = room.path / "lab.token"
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert len(token.read_text()) == 43  # 256 bits

    def test_no_other_home_has_a_lab(self, tmp_path: Path) -> None:
        portal = Portal(Home.create(tmp_path / "plain", "example.com"))
        try:
            assert not (portal.home.path / "lab.token").exists()
            with pytest.raises(ConfigurationError, match="not made for tests"):
                Lab.of(portal)
            with pytest.raises(ConfigurationError, match="not made for tests"):
                portal.set_offset(DAY)
        finally:
            portal.close()

    def test_only_such_a_home_is_served_with_one_and_only_to_this_machine(self, room: Room, tmp_path: Path) -> None:
        Home.create(tmp_path / "plain", "example.com").close()
        with pytest.raises(ConfigurationError, match="not made for tests"):
            Server(tmp_path / "plain", http=("127.0.0.1", 0), lab=True)
        for doors in ({"http": ("0.0.0.0", 0)}, {"smtp": ("0.0.0.0", 0), "http": ("127.0.0.1", 0)}):
            with pytest.raises(ConfigurationError, match=r"A lab is not served on 0\.0\.0\.0"):
                Server(room.path, lab=True, behind_proxy=True, **doors)  # type: ignore[arg-type]

    def test_the_command_serves_no_other_home_so(self, tmp_path: Path) -> None:
        Home.create(tmp_path / "plain", "example.com").close()
        done = server_command("serve", "--lab", "--http", "127.0.0.1:0", "--home", str(tmp_path / "plain"))
        assert (done.returncode, done.stdout) == (2, "")
        what, why, remedy = done.stderr.splitlines()
        assert "was not made for tests" in what
        assert "empty a portal" in why
        assert "--lab" in remedy

    def test_a_token_that_is_gone_is_said(self, room: Room) -> None:
        (room.path / "lab.token").unlink()
        with pytest.raises(ConfigurationError, match=r"lab\.token cannot be read"):
            Lab.of(room.portal)

    def test_only_this_machine_with_the_token_is_answered(self, room: Room) -> None:
        assert room.ask("GET", "clock", peer="::1")[0] == 200
        assert room.ask("GET", "clock", peer="::ffff:127.0.0.1")[0] == 200
        assert room.refused("GET", "clock", peer="192.0.2.7") == (403, "The lab answers this machine alone.")
        status, sentence = room.refused("POST", "reset", token="guessed")
        assert (status, sentence) == (403, "The header x-lab-token is not what lab.token says.")

    def test_what_is_not_there_is_said(self, room: Room) -> None:
        assert room.lab.answer(Request("POST", "/api/account/get-account")) is None
        assert room.refused("GET", "rest")[0] == 404
        assert room.refused("DELETE", "clock") == (405, "Here the lab takes GET or PUT.")
        for body in (b"{", b"[]", b"[" * 100_000, b" " * 2_000_000):
            assert room.refused("PUT", "clock", body)[0] == 400


class TestClock:
    def test_the_offset_holds_for_every_portal_that_is_open(self, room: Room) -> None:
        room.receive()
        with Client.open(f"local:{room.path}", user=ANN) as early:
            assert len(list(early.holds.list())) == 1
            assert room.told("PUT", "clock", {"advance": "15d"})["offset"] == 15 * DAY
            assert list(early.holds.list()) == []
            room.told("PUT", "clock", {"offset": 0})
            assert len(list(early.holds.list())) == 1

    def test_moving_it_is_no_step_of_the_clock(self, room: Room) -> None:
        clock = room.portal.clock
        for setting in ({"advance": "3000d"}, {"offset": -300 * DAY}, {"now": "2031-02-03T04:05:06Z"}):
            room.told("PUT", "clock", setting)
            assert clock.fault() is None
            assert abs(clock.steady() - clock.now()) < HOUR
        assert room.told("GET", "clock")["now"].startswith("2031-02-03T04:05")

    def test_advances_add_up(self, room: Room) -> None:
        for amount in ("1d", "2h", "3m", "4s"):
            told = room.told("PUT", "clock", {"advance": amount})
        assert told["offset"] == DAY + 2 * HOUR + 3 * 60_000 + 4_000

    @pytest.mark.parametrize(
        "setting",
        [
            {},
            {"advance": "1d", "offset": 1},
            {"advance": "soon"},
            {"advance": "9999999d"},
            {"advance": 5},
            {"offset": "1d"},
            {"offset": True},
            {"offset": 10**18},
            {"now": "yesterday"},
            {"now": 5},
            {"then": "2031-01-01"},
        ],
    )
    def test_what_is_no_time_is_refused(self, room: Room, setting: dict[str, Any]) -> None:
        status, sentence = room.refused("PUT", "clock", setting)
        assert status == 400
        assert sentence
        assert room.told("GET", "clock")["offset"] == 0

    def test_the_command_sets_it_for_a_portal_that_is_open(self, room: Room) -> None:
        home = ("--home", str(room.path))
        room.receive()
        with Client.open(f"local:{room.path}", user=ANN) as client:
            assert server_command("lab", "clock", "set", "2031-02-03T04:05:06Z", *home).returncode == 0
            assert list(client.holds.list()) == []
            done = server_command("lab", "clock", "advance", "36h", *home)
            assert (done.returncode, done.stdout) == (0, "")
            assert "At this portal it is 2031-02-04T16:05:" in done.stderr
            assert room.told("GET", "clock")["now"].startswith("2031-02-04T16:05:")

    def test_the_command_refuses_other_homes(self, tmp_path: Path) -> None:
        plain = str(tmp_path / "plain")
        assert server_command("init", plain, "--domain", "example.com").returncode == 0
        done = server_command("lab", "clock", "advance", "15d", "--home", plain)
        assert done.returncode == 2
        assert "was not made for tests" in done.stderr
        assert server_command("init", str(tmp_path / "lab"), "--domain", "example.com", "--lab").returncode == 0
        assert server_command("lab", "clock", "advance", "15d", "--home", str(tmp_path / "lab")).returncode == 0


class TestFaults:
    def script(self, room: Room, *faults: dict[str, Any]) -> Any:
        return room.told("PUT", "faults", {"faults": list(faults)})

    def kinds(self, room: Room, *operations: str) -> list[str]:
        return [fault.kind if fault else "" for fault in map(room.lab.next_fault, operations)]

    def test_instructions_are_used_in_their_order(self, room: Room) -> None:
        self.script(
            room,
            {"operation": "holds.release", "kind": "status", "status": 503, "skip": 1},
            {"operation": "holds.list", "kind": "cut", "times": 2},
            {"operation": "holds.release", "kind": "reset_after"},
        )
        assert self.kinds(room, *["holds.release"] * 4) == ["", "status", "reset_after", ""]
        assert self.kinds(room, *["holds.list"] * 3) == ["cut", "cut", ""]
        assert room.told("GET", "faults") == {"faults": []}

    def test_what_is_left_of_the_script_is_told(self, room: Room) -> None:
        self.script(room, {"operation": "*", "kind": "delay", "times": None, "milliseconds": 5, "skip": 1})
        assert self.kinds(room, "account.show", "auth.token", "holds.list") == ["", "delay", "delay"]
        (left,) = room.told("GET", "faults")["faults"]
        assert left == {
            "operation": "*",
            "kind": "delay",
            "times": None,
            "skip": 0,
            "status": 500,
            "code": "err_lab",
            "retryable": False,
            "milliseconds": 5,
        }
        room.told("DELETE", "faults")
        assert room.told("GET", "faults") == {"faults": []}
        assert self.kinds(room, "holds.list") == [""]

    def test_another_script_takes_the_place_of_the_last(self, room: Room) -> None:
        self.script(room, {"operation": "holds.list", "kind": "cut"})
        self.script(room, {"operation": "holds.list", "kind": "stall"})
        assert self.kinds(room, "holds.list", "holds.list") == ["stall", ""]

    def test_each_is_used_once_whoever_asks_at_the_same_time(self, room: Room) -> None:
        self.script(room, {"operation": "holds.list", "kind": "cut", "times": 100, "skip": 50})
        with ThreadPoolExecutor(8) as pool:
            used = list(pool.map(room.lab.next_fault, ["holds.list"] * 400))
        assert sum(fault is not None for fault in used) == 100

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            ({"operation": "holds.liberate", "kind": "cut"}, "holds.release"),
            ({"operation": "holds.release", "kind": "explode"}, ", ".join(KINDS)),
            ({"kind": "cut"}, "There is no operation None"),
            ({"operation": "holds.release"}, "There is no fault None"),
            ({"operation": "holds.release", "kind": ["cut"]}, "There is no fault ['cut']"),
            ({"operation": "holds.release", "kind": "cut", "when": 1}, "Known: operation, kind, times, skip"),
            ({"operation": "holds.release", "kind": "cut", "times": 0}, "times is 0."),
            ({"operation": "holds.release", "kind": "cut", "times": True}, "times is True."),
            ({"operation": "holds.release", "kind": "cut", "skip": -1}, "skip is -1."),
            ({"operation": "holds.release", "kind": "cut", "skip": None}, "skip is None."),
            ({"operation": "holds.release", "kind": "status", "status": 200}, "Give 400 to 599."),
            ({"operation": "holds.release", "kind": "delay", "milliseconds": "1 s"}, "milliseconds is '1 s'."),
            ({"operation": "holds.release", "kind": "status", "code": 5}, "`code` takes text"),
            ({"operation": "holds.release", "kind": "status", "retryable": 1}, "true or false"),
            ("cut", "not a JSON object"),
        ],
    )
    def test_what_is_unknown_is_refused_and_what_is_known_named(self, room: Room, fault: Any, said: str) -> None:
        good = {"operation": "holds.list", "kind": "cut"}
        status, sentence = room.refused("PUT", "faults", {"faults": [good, fault]})
        assert status == 400
        assert said in sentence
        assert room.told("GET", "faults") == {"faults": []}

    def test_a_script_is_a_list(self, room: Room) -> None:
        for script in ({}, {"faults": {}}, {"faults": [], "more": 1}):
            assert room.refused("PUT", "faults", script)[0] == 400


class TestRequests:
    def test_each_request_is_remembered_until_forgotten(self, room: Room) -> None:
        room.lab.note("holds.list", request_id="r-1", caller=3, status=200, items=1)
        room.lab.note("holds.release", request_id="r-2", fault=Fault("holds.release", "reset_before"))
        first, second = room.told("GET", "requests")["requests"]
        assert abs(first.pop("at") - room.portal.clock.machine()) < HOUR
        assert first == {
            "operation": "holds.list",
            "request_id": "r-1",
            "caller": 3,
            "status": 200,
            "fault": "",
            "items": 1,
        }
        assert (second["fault"], second["status"]) == ("reset_before", 0)
        room.told("DELETE", "requests")
        assert room.told("GET", "requests") == {"requests": []}

    def test_the_last_ones_are_kept(self, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mimeportal.limits.LAB_REQUESTS", 3)
        lab = Lab.of(room.portal)
        for number in range(5):
            lab.note("holds.list", request_id=str(number))
        room.lab = lab
        assert [noted["request_id"] for noted in room.told("GET", "requests")["requests"]] == ["2", "3", "4"]


class TestQuota:
    def test_another_quota_counts_anew(self, room: Room) -> None:
        assert room.quota.take("ann").granted
        assert not room.quota.take("ann").granted
        room.told("PUT", "quota", {"calls": 2, "seconds": 10})
        assert [room.quota.take("ann").granted for _ in range(3)] == [True, True, False]
        room.told("POST", "reset")
        assert [room.quota.take("ann").limit for _ in range(2)] == [1, 1]

    def test_what_is_no_quota_is_refused(self, room: Room) -> None:
        for quota in ({}, {"calls": 2}, {"calls": 0, "seconds": 1}, {"calls": 2.5, "seconds": 1}, {"calls": True}):
            assert room.refused("PUT", "quota", quota)[0] == 400


class TestReset:
    def test_all_mail_and_all_traces_go_and_people_stay(self, room: Room) -> None:
        room.receive("one")
        room.receive("two", hold=False)
        delivery.deliver(room.portal)
        with room.portal.write() as tx:
            people.add(tx, "bob@example.com", domains=("example.com",), now=0)
        with Client.open(f"local:{room.path}", user=ANN) as client:
            client.senders.add(["eve@elsewhere.example"], list="blocked")
            client.account.set_preferences(language="de")
            client.account.add_delegate("bob@example.com")
        room.told("PUT", "clock", {"advance": "1d"})
        room.told("PUT", "faults", {"faults": [{"operation": "*", "kind": "cut"}]})
        room.lab.note("holds.list")
        assert room.subjects() == ["one"]
        assert len(list((room.path / "outgoing" / "new").iterdir())) == 1

        assert room.told("POST", "reset") == {}

        assert room.subjects() == []
        assert list((room.path / "outgoing" / "new").iterdir()) == []
        owned = (schema.preferences, schema.delegates)
        for table in (schema.messages, schema.copies, schema.deliveries, schema.senders, schema.audit, *owned):
            assert room.count(table) == 0, table.name
        assert room.told("GET", "faults") == {"faults": []}
        assert room.told("GET", "requests") == {"requests": []}
        assert room.told("GET", "clock")["offset"] == 0
        with room.portal.database.read() as tx:
            ann = people.find(tx, ANN)
        assert ann is not None
        assert ann.octets == 0

    def test_the_same_import_comes_in_again(self, room: Room, tmp_path: Path) -> None:
        mail = tmp_path / "one.eml"
        mail.write_bytes(mail_of())
        options = importing.Options(hold=SPAM)

        def imported() -> list[str]:
            return [line.outcome for line in importing.run(room.portal, [mail], options)]

        assert imported() == ["held"]
        assert imported() == ["already"]
        room.told("POST", "reset")
        assert imported() == ["held"]
        assert room.subjects() == ["Hello"]

    def test_a_delivery_under_way_is_waited_for(self, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mimeportal_server.lab._WAIT", 0.0)
        room.receive()
        with disk.only_one(room.portal.home.delivery_lock, 0) as ours:
            assert ours
            status, sentence = room.refused("POST", "reset")
        assert status == 400
        assert "delivering" in sentence
        assert room.subjects() == ["Hello"]
