"""`mimeportal api`: any function of the API, as it answers; what may act is asked for. And who offers what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.conftest import Run, Served, plain
from conftest import ADMIN

SUMMARY, LIST = "/api/gateway/get-hold-summary-list", "/api/gateway/get-hold-message-list"
RELEASE = "/api/gateway/hold-release"


@pytest.fixture(params=["embedded", "served"])
def portal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same portal inside the process, and over HTTP."""
    if request.param == "embedded":
        request.getfixturevalue("home")
        monkeypatch.setenv("MIMEPORTAL_USER", ADMIN)
    else:
        served: Served = request.getfixturevalue("served")
        for name, value in {**served.app2, "MIMEPORTAL_URL": served.url}.items():
            monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("portal")
class TestCall:
    def test_as_it_answers(self, run: Run) -> None:
        done = run("api", SUMMARY)
        assert (done.code, done.err, len(done.lines)) == (0, "", 1)
        assert json.loads(done.out)["data"][0]["numberOfItems"] == 8

    def test_on_a_terminal(self, on_terminal: Run) -> None:
        shown = plain(on_terminal("api", SUMMARY).out)
        assert shown.startswith('{\n  "meta": {\n')
        assert json.loads(shown)["fail"] == []

    @pytest.mark.parametrize("data", ['{"admin": true}', '[{"admin": true}]', "@item.json", "-"])
    def test_data(self, run: Run, data: str) -> None:
        Path("item.json").write_text('{"admin": true}')
        done = run("api", LIST, "-d", data, stdin='{"admin": true}')
        assert len(json.loads(done.out)["data"]) == 8

    def test_hostile_text_is_escaped(self, run: Run) -> None:
        done = run("api", LIST, "-d", '{"admin": true}')
        assert done.out.isascii()
        assert any(row["subject"].startswith("\x1b[31m") for row in json.loads(done.out)["data"])

    def test_pages(self, run: Run) -> None:
        done = run("api", LIST, "-d", '{"admin": true}', "--paginate")
        assert sum(len(json.loads(line)["data"]) for line in done.lines) == 8

    def test_acting(self, run: Run) -> None:
        id = json.loads(run("api", LIST, "-d", '{"admin": true}').out)["data"][0]["id"]
        item = json.dumps({"id": id})
        done = run("api", RELEASE, "-d", item)
        assert (done.code, done.out) == (2, "")
        assert "--yes required" in done.err
        assert json.loads(run("api", RELEASE, "-d", item, "--yes").out)["data"] == [{"id": id, "release": True}]
        assert len(json.loads(run("api", LIST, "-d", '{"admin": true}').out)["data"]) == 7

    def test_asked(self, on_terminal: Run, run: Run) -> None:
        done = on_terminal("api", RELEASE, "-d", '{"id": "x"}', answer="n")
        assert done.code == 7
        assert f"Call {RELEASE}, which may act (profile none, URL " in done.out

    def test_items_that_failed(self, run: Run) -> None:
        done = run("api", RELEASE, "-d", "{}", "--yes")
        assert done.code == 3
        assert json.loads(done.out)["fail"][0]["errors"][0]["code"] == "err_validation_null"
        assert done.err.startswith("The portal did not do all of it.\n")

    def test_refused_whole(self, run: Run) -> None:
        done = run("api", LIST, "-d", "[{}, {}]")
        assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 3)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("api/account/get-account",),
            ("",),
            (SUMMARY, "-d", "{"),
            (SUMMARY, "-d", "3"),
            (SUMMARY, "-d", "@none.json"),
            (SUMMARY, "-d", "@"),
            (SUMMARY, "-d", "[" * 100_000),
            (SUMMARY, "-X", "BREW"),
        ],
    )
    def test_bad_arguments(self, run: Run, arguments: tuple[str, ...]) -> None:
        done = run("api", *arguments, "--yes")
        assert (done.code, done.out) == (2, "")

    def test_paths_that_are_not_there(self, run: Run) -> None:
        assert run("api", "/api/nonsense/get-more").code in (4, 5)


class TestCapabilities:
    def capabilities(self, run: Run) -> dict[str, dict[str, object]]:
        rows = json.loads(run("account", "capabilities", "-o", "json").out)
        return {row.pop("operation"): row for row in rows}

    def test_a_local_portal(self, run: Run, home: Path) -> None:
        shown = self.capabilities(run)
        assert shown["holds.list"] == {"api2": True, "api1": True, "local": True, "offered": True}
        assert shown["auth.discover"] == {"api2": False, "api1": True, "local": True, "offered": True}
        assert shown["account.whoami"] == {"api2": False, "api1": False, "local": True, "offered": True}

    def test_mimecast_without_asking_it(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIMEPORTAL_URL", "https://api.services.mimecast.com")
        monkeypatch.setenv("MIMEPORTAL_CLIENT_ID", "id")
        monkeypatch.setenv("MIMEPORTAL_CLIENT_SECRET", "secret")
        shown = self.capabilities(run)
        assert all(row["offered"] == row["api2"] for row in shown.values())
        assert not all(row["offered"] for row in shown.values())

    def test_a_table(self, on_terminal: Run, home: Path) -> None:
        rows = [line.split() for line in plain(on_terminal("account", "capabilities").out).splitlines()]
        assert rows[0] == ["OPERATION", "API2", "API1", "LOCAL", "OFFERED"]
        assert ["account.whoami", "-", "-", "yes", "yes"] in rows
