"""Sending large files from Python: taken up where they stopped, whatever stopped them; and fetched back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import ADMIN, ANN, BOB, Lab
from mimeportal import limits
from mimeportal.credentials import Credentials
from mimeportal.errors import (
    ApiError,
    ChangedFileError,
    MimeportalError,
    NotFoundError,
    NotOfferedError,
    UnavailableError,
    UsageError,
)
from mimeportal.largefiles import Progress, Upload, uploading
from mimeportal.portal import Portal
from mimeportal.retry import Policy
from mimeportal.transport_http import HttpTransport
from mimeportal_server.store.schema import largefiles
from sending import OUT, sha256
from served import Served, serving

CHUNK = limits.CHUNK
TO: dict[str, Any] = {"to": [OUT], "subject": "Plans"}


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """Five chunks and some octets."""
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(5 * CHUNK + 1000))
    return path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "home", faults=True) as served:
        yield served


def over_http(served: Served, user: str | None = ANN) -> Portal:
    app = Credentials("app2", client_id=served.app.client_id, client_secret=served.app.client_secret)
    policy = Policy(chance=lambda: 0.01)
    return Portal(HttpTransport(served.server.http_url, credentials=app, user=user, policy=policy))


@pytest.fixture(params=["embedded", "http"])
def portal(request: pytest.FixtureRequest, served: Served) -> Iterator[Portal]:
    portal = over_http(served) if request.param == "http" else served.lab.client()
    with portal:
        yield portal


def interrupted_after(
    monkeypatch: pytest.MonkeyPatch, chunks: int, fault: type[BaseException] = KeyboardInterrupt
) -> None:
    """As Ctrl-C does it, once so many chunks were read."""
    left = [chunks]
    read = uploading._read

    def reading(*arguments: Any) -> bytes:
        if left[0] == 0:
            left[0] = -1
            raise KeyboardInterrupt
        left[0] -= 1
        return read(*arguments)

    monkeypatch.setattr(uploading, "_read", reading)


class TestSending:
    def test_from_one_end_to_the_other(self, portal: Portal, big: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        told: list[Progress] = []
        sent = portal.largefiles.send([big, tmp_path / "empty"], **TO, expire_after=7, on_progress=told.append)
        assert (sent.status, sent.files, sent.size, sent.to) == (
            "active",
            ("big.bin", "empty"),
            5 * CHUNK + 1000,
            (OUT,),
        )
        assert sent.expires is not None
        assert sent.sent is not None
        assert sent.expires - sent.sent == timedelta(days=7)
        octets = [progress.octets for progress in told]
        assert octets == sorted(octets)
        assert octets[-1] == told[-1].total == sent.size
        assert told[-1].rate > 0
        portal.largefiles.download(sent.id, tmp_path / "back", file="big.bin")
        assert (tmp_path / "back").read_bytes() == big.read_bytes()

    def test_nothing_is_sent_before_run(self, served: Served, big: Path) -> None:
        with served.lab.client() as portal:
            upload = portal.largefiles.upload([big], **TO)
            assert upload.size == big.stat().st_size
            assert list(portal.largefiles.list()) == []

    def test_an_app_sends_for_whom_it_was_opened(self, served: Served, big: Path) -> None:
        with over_http(served) as portal:
            assert portal.largefiles.send([big], **TO).sender == ANN
            assert [large.sender for large in portal.largefiles.list()] == [ANN]
        with over_http(served, user=None) as portal, pytest.raises(MimeportalError, match="Whose mailbox"):
            portal.largefiles.send([big], **TO)

    def test_an_administrator_sends_for_somebody(self, served: Served, big: Path) -> None:
        with served.lab.client(ADMIN) as portal:
            assert portal.largefiles.send([big], **TO, mailbox=BOB).sender == BOB

    def test_keys(self, served: Served, big: Path) -> None:
        with served.lab.client() as portal:
            made = portal.largefiles.upload([big], **TO, access_key=True)
            assert made.access_key is not None
            assert len(made.access_key) == 19
            assert portal.largefiles.upload([big], **TO).access_key is None
            chosen = portal.largefiles.upload([big], **TO, access_key="long enough")
            assert chosen.access_key == "long enough"
            assert chosen.run().access_key is True


class TestGoingOn:
    def test_ctrl_c_pauses_and_the_handle_goes_on(
        self, portal: Portal, served: Served, big: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upload = portal.largefiles.upload([big], **TO, access_key="long enough")
        interrupted_after(monkeypatch, 3)
        with pytest.raises(KeyboardInterrupt):
            upload.run()
        paused = portal.largefiles.get(upload.id)
        assert paused.status == "paused"
        assert 0 < paused.arrived <= 3 * CHUNK
        already = len(served.seen("largefiles.chunk"))
        again = portal.largefiles.resume(upload.handle())
        told: list[Progress] = []
        sent = again.run(told.append)
        assert (sent.id, sent.status) == (upload.id, "active")
        assert told[-1].octets == sent.size
        if portal.url.startswith("http"):
            assert len(served.seen("largefiles.chunk")) == 6, "what had arrived was not sent again"
            assert already == paused.arrived // CHUNK
        assert portal.largefiles.get(sent.id).attachments[0].sha256 == sha256(big.read_bytes())

    def test_a_handle_is_json_and_nothing_else_is_one(self, served: Served, big: Path) -> None:
        import json

        with served.lab.client() as portal:
            upload = portal.largefiles.upload([big], **TO)
            handle = json.loads(json.dumps(upload.handle()))
            assert portal.largefiles.resume(handle).handle() == upload.handle()
            for wrong in ({}, {**handle, "files": [{"path": "x"}]}, {**handle, "wanted": 5}):
                with pytest.raises(UsageError, match="no handle"):
                    portal.largefiles.resume(wrong)

    def test_a_kill_before_the_answer_to_the_first_call(self, served: Served, big: Path) -> None:
        """The handle was kept before anything was sent: the same request makes no second send (promises C.7)."""
        with served.lab.client() as portal:
            handle = portal.largefiles.upload([big], **TO).handle()
            portal.largefiles.resume(handle).begin()
            sent = portal.largefiles.resume(handle).run()
            assert [large.id for large in portal.largefiles.list()] == [sent.id]

    def test_by_its_id_with_its_files(self, served: Served, big: Path, tmp_path: Path) -> None:
        with served.lab.client() as portal:
            upload = portal.largefiles.upload([big], **TO)
            upload.begin()
            (tmp_path / "other.bin").write_bytes(b"x")
            with pytest.raises(UsageError, match="Where are the files"):
                portal.largefiles.resume(upload.id)
            with pytest.raises(UsageError, match="not the files of that send"):
                portal.largefiles.resume(upload.id, [tmp_path / "other.bin"]).run()
            assert portal.largefiles.resume(upload.id, [big]).run().status == "active"

    def test_what_is_complete_is_not_sent_again(self, served: Served, big: Path) -> None:
        with over_http(served) as portal:
            upload = portal.largefiles.upload([big], **TO)
            sent = upload.run()
            assert portal.largefiles.resume(upload.handle()).run().id == sent.id
            assert len(served.seen("largefiles.chunk")) == 6
            assert len(served.seen("largefiles.finish")) == 1

    @pytest.mark.parametrize(
        "fault",
        [
            {"kind": "reset_before"},
            {"kind": "status", "status": 503, "retryable": True},
            {"kind": "status", "status": 500},
            {"kind": "bad_json"},
        ],
        ids=lambda fault: str(fault.get("status", fault["kind"])),
    )
    def test_calls_that_fail_are_made_again(self, served: Served, big: Path, fault: dict[str, Any]) -> None:
        names = ("create", "missing", "chunk", "chunk", "check", "finish", "show")
        served.spoil(*({"operation": f"largefiles.{name}", "times": 2, **fault} for name in names))
        with over_http(served) as portal:
            upload = portal.largefiles.upload([big], **TO)
            upload.sleep = lambda _: None
            sent = upload.run()
            assert portal.largefiles.get(sent.id).attachments[0].sha256 == sha256(big.read_bytes())
            assert len(list(portal.largefiles.list())) == 1
        assert served.script() == []

    def test_a_chunk_whose_answer_was_lost_is_looked_for(self, served: Served, big: Path) -> None:
        served.spoil({"operation": "largefiles.chunk", "kind": "reset_after", "times": 3})
        with over_http(served) as portal:
            portal.largefiles.send([big], **TO)
        assert len(served.seen("largefiles.chunk")) == 6, "what had arrived was not sent again"

    def test_a_portal_that_is_away_for_too_long(self, served: Served, big: Path) -> None:
        with over_http(served) as portal:
            upload = portal.largefiles.upload([big], **TO)
            upload.begin()
            upload.patience, upload.sleep = 0.2, lambda _: None
            served.spoil({"operation": "largefiles.chunk", "kind": "reset_before", "times": None})
            with pytest.raises(UnavailableError) as stopped:
                upload.run()
            assert stopped.value.remedy == "Run the same command again: what has arrived is not sent once more."
            served.spoil()
            assert upload.run().status == "active"


class TestChanges:
    def test_a_file_that_changes_while_it_is_sent(self, portal: Portal, big: Path) -> None:
        def change(progress: Progress) -> None:
            if progress.octets >= 2 * CHUNK:
                os.utime(big, (1, 1))

        upload = portal.largefiles.upload([big], **TO)
        with pytest.raises(ChangedFileError, match=r"big\.bin was changed while it was sent"):
            upload.run(change)
        assert portal.largefiles.get(upload.id).status == "cancelled"

    def test_one_that_becomes_shorter(self, served: Served, big: Path) -> None:
        with served.lab.client() as portal:
            upload = portal.largefiles.upload([big], **TO)
            with pytest.raises(ChangedFileError):
                upload.run(lambda _: os.truncate(big, CHUNK))

    def test_one_that_was_changed_before_it_is_gone_on_with(
        self, served: Served, big: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with served.lab.client() as portal:
            upload = portal.largefiles.upload([big], **TO)
            interrupted_after(monkeypatch, 3)
            with pytest.raises(KeyboardInterrupt):
                upload.run()
            big.write_bytes(os.urandom(big.stat().st_size))
            with pytest.raises(ChangedFileError):
                portal.largefiles.resume(upload.handle()).run()
            assert portal.largefiles.get(upload.id).status == "cancelled"

    def test_one_whose_change_shows_only_in_its_sha256(
        self, served: Served, big: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its size and time are what they were: what had arrived and what the sender has now differ all the same."""
        with served.lab.client() as portal:
            upload = portal.largefiles.upload([big], **TO)
            interrupted_after(monkeypatch, 3)
            with pytest.raises(KeyboardInterrupt):
                upload.run()
            when = big.stat().st_mtime_ns
            with big.open("r+b") as file:
                file.write(b"another beginning")
            os.utime(big, ns=(when, when))
            with pytest.raises(ChangedFileError):
                portal.largefiles.resume(upload.handle()).run()

    def test_cancelled_from_elsewhere(self, portal: Portal, served: Served, big: Path) -> None:
        upload = portal.largefiles.upload([big], **TO)
        once = threading.Event()

        def cancel(progress: Progress) -> None:
            if not once.is_set() and progress.octets >= CHUNK:
                once.set()
                with served.lab.client() as other:
                    other.largefiles.cancel(upload.id)

        with pytest.raises(ApiError) as stopped:
            upload.run(cancel)
        assert stopped.value.code == "err_largefile_cancelled"
        assert portal.largefiles.get(upload.id).status == "cancelled"


class TestRefused:
    """Before anything is sent."""

    @pytest.fixture(autouse=True)
    def nothing_is_sent(self, served: Served) -> Iterator[None]:
        yield
        from sqlalchemy import func, select

        with served.lab.server.database.read() as tx:
            assert tx.scalar(select(func.count()).select_from(largefiles)) == 0

    @pytest.fixture
    def own(self, served: Served) -> Iterator[Portal]:
        with served.lab.client() as portal:
            yield portal

    def test_too_many_files(self, own: Portal, big: Path) -> None:
        with pytest.raises(UsageError, match="1 to 100 files, not 101; nothing was sent"):
            own.largefiles.send([big] * 101, **TO)

    def test_one_octet_too_many(self, own: Portal, tmp_path: Path) -> None:
        (tmp_path / "huge").touch()
        os.truncate(tmp_path / "huge", limits.LARGE_FILE + 1)
        with pytest.raises(UsageError, match="2,147,483,649 octets, more than the 2,147,483,648"):
            own.largefiles.send([tmp_path / "huge"], **TO)

    def test_what_is_no_file(self, own: Portal, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="is a folder"):
            own.largefiles.send([tmp_path], **TO)
        with pytest.raises(UsageError, match="cannot be read: No such file"):
            own.largefiles.send([tmp_path / "absent"], **TO)

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"to": []}, "1 to 100 recipients, not 0"),
            ({"to": OUT}, "to takes several"),
            ({"to": ["nobody"]}, "Not an e-mail address"),
            ({"subject": "  "}, "subject is missing"),
            ({"subject": "a\r\nBcc: b"}, "several lines"),
            ({"body": "x" * 70_000}, "longer than"),
            ({"expire_after": 91}, "1 to 90 days, not 91"),
            ({"access_key": "short"}, "8 to 128 characters"),
            ({"mailbox": "nobody"}, "Not an e-mail address"),
        ],
    )
    def test_what_cannot_be(self, own: Portal, big: Path, changed: dict[str, Any], said: str) -> None:
        with pytest.raises(UsageError, match=said):
            own.largefiles.send([big], **{**TO, **changed})

    def test_one_file_by_itself(self, own: Portal, big: Path) -> None:
        with pytest.raises(UsageError, match="files takes several"):
            own.largefiles.send(str(big), **TO)

    def test_an_enforced_setting(self, served: Served, big: Path) -> None:
        config = served.lab.path / "portal.toml"
        config.write_text(config.read_text().replace("enforced = []", 'enforced = ["expire_access_after_days"]'))
        with (
            served.lab.client() as portal,
            pytest.raises(
                UsageError, match=r"largefiles\.expire_access_after_days of this portal is enforced: it is 30"
            ),
        ):
            portal.largefiles.send([big], **TO, expire_after=7)


Act = Callable[[Portal], Any]
ACTS: dict[str, Act] = {
    "preferences": lambda portal: portal.largefiles.preferences(),
    "send": lambda portal: portal.largefiles.send(["x"], **TO),
    "upload": lambda portal: portal.largefiles.upload(["x"], **TO),
    "resume": lambda portal: portal.largefiles.resume({}),
    "list": lambda portal: portal.largefiles.list(),
    "get": lambda portal: portal.largefiles.get("x"),
    "extend": lambda portal: portal.largefiles.extend("x", until=datetime.now(UTC)),
    "expire": lambda portal: portal.largefiles.expire("x"),
    "resubmit": lambda portal: portal.largefiles.resubmit("x", to=[OUT]),
    "cancel": lambda portal: portal.largefiles.cancel("x"),
    "download": lambda portal: portal.largefiles.download("x", "y"),
}


@pytest.mark.parametrize("api", ["api1", "api2"])
@pytest.mark.parametrize("act", ACTS)
def test_mimecast_offers_none_of_it(lab: Lab, act: str, api: str) -> None:
    with lab.client(api=api) as portal, pytest.raises(NotOfferedError, match="does not offer") as refused:
        ACTS[act](portal)
    assert "nothing was sent" in refused.value.why


class TestManaging:
    def test_a_list_is_filtered_again(self, lab: Lab, tmp_path: Path) -> None:
        (tmp_path / "Straße.txt").write_text("a")
        with lab.client() as portal:
            one = portal.largefiles.send([tmp_path / "Straße.txt"], **TO)
            for search, found in (("strasse", [one.id]), ("OUT@*", [one.id]), ("pl*s", [one.id]), ("pl*s*x", [])):
                assert [large.id for large in portal.largefiles.list(search=search)] == found, search
            assert [large.id for large in portal.largefiles.list(status="active")] == [one.id]
            assert list(portal.largefiles.list(status="expired")) == []
            with pytest.raises(UsageError, match="no status"):
                portal.largefiles.list(status="lost")

    def test_its_time_and_its_recipients(self, lab: Lab, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("a")
        with lab.client() as portal:
            sent = portal.largefiles.send([tmp_path / "a"], **TO)
            assert portal.largefiles.expire(sent.id).status == "expired"
            assert sent.kept_until is not None
            assert portal.largefiles.extend(sent.id, until=sent.kept_until).status == "active"
            with pytest.raises(ApiError, match="the latest allowed date"):
                portal.largefiles.extend(sent.id, until=sent.kept_until + timedelta(seconds=1))
            assert portal.largefiles.resubmit(sent.id, to=[BOB]).to == (OUT, BOB)
            shown = portal.largefiles.get(sent.id)
            assert [(to.address, to.notified) for to in shown.recipients] == [(OUT, "queued"), (BOB, "queued")]

    def test_what_failed_is_uploaded_anew(self, lab: Lab, big: Path) -> None:
        with lab.client() as portal:
            upload = portal.largefiles.upload([big], **TO)
            upload.begin()
        lab.advance(days=8)
        with lab.client() as portal:
            assert portal.largefiles.get(upload.id).status == "failed"
            assert portal.largefiles.resume(upload.handle()).run().status == "active"


class TestFetching:
    def test_a_part_that_is_there_is_gone_on_with(self, served: Served, big: Path, tmp_path: Path) -> None:
        with over_http(served) as portal:
            sent = portal.largefiles.send([big], **TO)
            digest = sha256(big.read_bytes())
            part = tmp_path / f".back.{digest[:16]}.part"
            part.write_bytes(big.read_bytes()[: 3 * CHUNK])
            told: list[Progress] = []
            portal.largefiles.download(sent.id, tmp_path / "back", on_progress=told.append)
            assert told[0].octets == 3 * CHUNK
        assert (tmp_path / "back").read_bytes() == big.read_bytes()
        assert not part.exists()
        lines = [line for line in served.log_lines(5) if line["operation"] == "largefiles.octets"]
        assert [line["out"] for line in lines] == [2 * CHUNK + 1000]

    def test_a_connection_that_breaks(self, served: Served, big: Path, tmp_path: Path) -> None:
        served.spoil({"operation": "largefiles.octets", "kind": "cut", "times": 2})
        with over_http(served) as portal:
            sent = portal.largefiles.send([big], **TO)
            portal.largefiles.download(sent.id, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == big.read_bytes()

    def test_octets_that_are_not_those(self, served: Served, big: Path, tmp_path: Path) -> None:
        with served.lab.client() as portal:
            sent = portal.largefiles.send([big], **TO)
            served.lab.server.home.large_files.path(1).write_bytes(bytes(big.stat().st_size))
            with pytest.raises(ApiError, match="is not what was sent"):
                portal.largefiles.download(sent.id, tmp_path / "back")
        assert [path.name for path in tmp_path.iterdir() if "back" in path.name] == []

    def test_which_file(self, lab: Lab, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name).write_text(name)
        with lab.client() as portal:
            sent = portal.largefiles.send([tmp_path / "a", tmp_path / "b"], **TO)
            with pytest.raises(UsageError, match="2 files of this send are meant"):
                portal.largefiles.download(sent.id, tmp_path / "back")
            with pytest.raises(NotFoundError, match="has no file 'c'"):
                portal.largefiles.download(sent.id, tmp_path / "back", file="c")
            portal.largefiles.download(sent.id, tmp_path / "back", file="b")
            with pytest.raises(UsageError, match="cannot be written"):
                portal.largefiles.download(sent.id, tmp_path / "no" / "back", file="b")
        assert (tmp_path / "back").read_text() == "b"


def test_an_upload_tells_nothing_of_its_key(lab: Lab, big: Path) -> None:
    with lab.client() as portal:
        upload = portal.largefiles.upload([big], **TO, access_key="canary-of-a-key")
        assert isinstance(upload, Upload)
        assert "canary" not in repr(upload)
