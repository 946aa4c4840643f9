"""A portal that runs: it delivers by itself, ends cleanly, and refuses what is unsafe."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from asking import LIST, RELEASE
from conftest import Lab, mail_of
from mimeportal.errors import ConfigurationError, UsageError
from mimeportal_server import delivery
from mimeportal_server.serving import Server
from mimeportal_server.store.schema import holds
from served import Served, serving

ALL = {"data": [{"admin": True}]}


def release_all(served: Served) -> int:
    bearer = served.bearer()
    ids = [{"id": row["id"]} for row in served.ask(LIST, ALL, bearer).rows]
    return len(served.ask(RELEASE, {"data": ids}, bearer).rows)


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


class TestItsOwnWork:
    def test_what_is_released_is_delivered_soon(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home") as served:
            for number in range(3):
                served.lab.receive(mail_of(subject=f"Hello {number}"))
            assert release_all(served) == 3
            wait_for(lambda: len(served.lab.outgoing()) == 3)

    def test_stopping_delivers_what_is_queued(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home") as served:
            for number in range(3):
                served.lab.receive(mail_of(subject=f"Hello {number}"))
            assert release_all(served) == 3
        assert len(list((tmp_path / "home" / "outgoing" / "new").iterdir())) == 3

    def test_starting_delivers_what_an_earlier_end_left(self, lab: Lab) -> None:
        lab.receive(mail_of(), reason=None)
        assert delivery.pending(lab.server) == 1
        with Served(lab).server:
            wait_for(lambda: len(lab.outgoing()) == 1)

    def test_it_sweeps(self, lab: Lab) -> None:
        lab.receive(mail_of())
        lab.advance(days=15)

        def states() -> list[str]:
            with lab.server.database.read() as tx:
                return list(tx.scalars(select(holds.c.state)))

        with Served(lab).server:
            wait_for(lambda: states() == ["expired"])

    def test_what_fails_is_told_without_what_it_was_about(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home") as served:
            served.lab.receive(mail_of())
            spool = tmp_path / "home" / "spool"
            spool.rmdir()
            release_all(served)
            wait_for(lambda: any('"work"' in line for line in served.lines))
            assert str(tmp_path) not in "".join(served.lines)
            spool.mkdir()
        assert len(list((tmp_path / "home" / "outgoing" / "new").iterdir())) == 1


class TestEnding:
    def test_nothing_is_left_behind(self, tmp_path: Path) -> None:
        before = set(threading.enumerate())
        with serving(tmp_path / "home") as served:
            with closing(served.connect()) as idle:
                served.ask("/livez", method="GET", over=idle)
                served.server.stop()
            assert set(threading.enumerate()) == before

    def test_a_request_under_way_is_answered(self, tmp_path: Path) -> None:
        with serving(tmp_path / "home", faults=True) as served:
            bearer = served.bearer()
            served.spoil({"operation": "holds.list", "kind": "delay", "milliseconds": 300})
            with closing(served.connect()) as connection:
                connection.request("POST", LIST, b"{}", bearer)
                wait_for(lambda: not served.script())
                served.server.stop()
                assert connection.getresponse().status == 200

    def test_stopping_twice_and_never_starting(self, lab: Lab) -> None:
        server = Served(lab).server
        server.stop()
        server.stop()


class TestRefusals:
    def test_nothing_to_serve(self, lab: Lab) -> None:
        with pytest.raises(UsageError, match="Neither"):
            Server(lab.path)

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "portal.example.com"])
    def test_an_address_that_others_reach(self, lab: Lab, host: str) -> None:
        with pytest.raises(ConfigurationError, match="can be reached from other machines"):
            Server(lab.path, http=(host, 0))

    def test_a_proxy_may_be_declared(self, lab: Lab) -> None:
        with Server(lab.path, http=("0.0.0.0", 0), behind_proxy=True) as server:
            assert server.http_url.startswith("http://0.0.0.0:")

    def test_a_port_in_use(self, lab: Lab, tmp_path: Path) -> None:
        with Server(lab.path, http=("127.0.0.1", 0)) as server:
            port = int(server.http_url.rpartition(":")[2])
            with pytest.raises(ConfigurationError, match=f"Nothing can listen on 127.0.0.1:{port}"):
                Server(lab.path, http=("127.0.0.1", port)).start()

    def test_a_port_in_use_for_mail(self, lab: Lab) -> None:
        """Nothing is left open behind it."""
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            port = taken.getsockname()[1]
            server = Server(lab.path, http=("127.0.0.1", 0), smtp=("127.0.0.1", port))
            with pytest.raises(ConfigurationError, match=f"Nothing can listen on 127.0.0.1:{port}"):
                server.start()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", int(server.http_url.rpartition(":")[2])))

    def test_a_certificate_that_is_none(self, lab: Lab, tmp_path: Path) -> None:
        (tmp_path / "cert.pem").write_text("rubbish")
        for cert in ("cert.pem", "absent.pem"):
            with pytest.raises(ConfigurationError, match="The certificate cannot be used"):
                Server(lab.path, http=("127.0.0.1", 0), tls_cert=tmp_path / cert)
        with pytest.raises(UsageError, match="A key without a certificate"):
            Server(lab.path, http=("127.0.0.1", 0), tls_key=tmp_path / "cert.pem")

    def test_a_key_that_wants_a_password_asks_nobody(self, lab: Lab, tmp_path: Path) -> None:
        cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -passout pass:x -subj /CN=portal"
        subprocess.run([*command.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
        assert "ENCRYPTED" in key.read_text()
        with pytest.raises(ConfigurationError, match="The certificate cannot be used"):
            Server(lab.path, http=("127.0.0.1", 0), tls_cert=cert, tls_key=key)

    def test_a_lab_of_a_home_that_was_not_made_for_it(self, lab: Lab) -> None:
        with pytest.raises(ConfigurationError, match="was not made for tests"):
            Server(lab.path, http=("127.0.0.1", 0), lab=True)

    def test_a_lab_that_others_reach(self, lab: Lab) -> None:
        with pytest.raises(ConfigurationError, match="A lab is not served on"):
            Server(lab.path, http=("0.0.0.0", 0), behind_proxy=True, lab=True)


class TestLinks:
    def test_a_public_url_of_another_machine_is_kept(self, lab: Lab) -> None:
        config = lab.path / "portal.toml"
        config.write_text(config.read_text().replace("http://127.0.0.1:8025", "https://portal.example.com"))
        with Server(lab.path, http=("127.0.0.1", 0)) as server:
            assert server.portal.settings.public_url == "https://portal.example.com"


@contextmanager
def command(home: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    program = [sys.executable, "-m", "mimeportal_server", "serve", "--home", str(home), *options]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class TestCommand:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_serve(self, lab: Lab, number: signal.Signals) -> None:
        with command(lab.path, "--http", "127.0.0.1:0", "--smtp", "127.0.0.1:0") as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("mimeportal auth login --url http://127.0.0.1:")
            assert line.endswith(" --person ADDRESS\n")
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, "")
        assert "HTTP on http://127.0.0.1:" in err
        assert "SMTP on 127.0.0.1:" in err
        assert "grant nothing" in err

    @pytest.mark.parametrize(
        ("options", "what"),
        [
            (("--http", "0.0.0.0:0"), "0.0.0.0:0 can be reached from other machines, and has no TLS."),
            (("--http", "127.0.0.1"), "Invalid value for '--http': '127.0.0.1' is not HOST:PORT."),
            (("--http", "127.0.0.1:0", "--lab"), "was not made for tests"),
            (("--http", "127.0.0.1:0", "--tls-cert", "absent.pem"), "The certificate cannot be used: absent.pem."),
        ],
    )
    def test_refusals_are_three_lines(self, lab: Lab, options: tuple[str, ...], what: str) -> None:
        with command(lab.path, *options) as process:
            out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (2, "")
        assert what in err
        assert len(err.splitlines()) == 3
