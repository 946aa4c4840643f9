"""README, docs/ and examples/ are run: every command line and every block of Python, in the order they stand."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import absent
from mimeportal import local

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, kind: str) -> list[str]:
    return [text for found, text in BLOCK.findall(page.read_text()) if found == kind]


def pages_with(kind: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, kind)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a demo portal `home` beside `mail/`, a folder of messages, and `rules.toml`."""
    (tmp_path / "mail").mkdir()
    local.make_demo(tmp_path / "home")
    for name in ("one", "two"):
        message = f"From: eve@gardening.example\nTo: ann@example.com\nSubject: newsletter {name}\n\nHello.\n"
        (tmp_path / "mail" / f"{name}.eml").write_text(message)
    (tmp_path / "rules.toml").write_bytes((ROOT / "examples" / "rules.toml").read_bytes())
    return tmp_path


def environment(place: Path, **more: str) -> dict[str, str]:
    """As a shell with the two commands on its path."""
    commands = place / "bin"
    commands.mkdir(exist_ok=True)
    for name, module in (("mimeportal", "mimeportal_cli"), ("mimeportal-server", "mimeportal_server")):
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        script.chmod(0o755)
    python = commands / "python"
    if not python.exists():
        python.symlink_to(sys.executable)
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path), **more}


WHERE = {"MIMEPORTAL_URL": "local:home", "MIMEPORTAL_USER": "ann@example.com"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


_WAIT = "until curl --silent --fail --output /dev/null http://127.0.0.1:8025/readyz; do sleep 0.1; kill -0 $!; done"


@pytest.mark.parametrize("page", pages_with("console"), ids=lambda page: page.name)
def test_command_lines_run(page: Path, place: Path) -> None:
    lines = [line[2:] for block in blocks(page, "console") for line in block.splitlines() if line.startswith("$ ")]
    if any(" init home" in line for line in lines):
        (place / "home").rename(place / "demo")
        where = {}
    else:
        where = WHERE
    # As a person types them: one shell, which stops at the first that fails. Ports may be taken here.
    # But they type slower than a shell reads: what goes to the background is there before the next line is.
    text = "\n".join([f"{line}\n{_WAIT}" if line.endswith(" &") else line for line in lines])
    for port in ("8025", "2525"):
        text = text.replace(port, str(free_port()))
    with open(place / "typed.log", "w+") as log:
        # A file: what runs in the background would keep a pipe open.
        done = subprocess.run(
            ["sh", "-euxc", f"trap 'kill $! 2>&-' EXIT\n{text}"] if "&\n" in text else ["sh", "-euxc", text],
            cwd=place,
            env=environment(place, **where),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        log.seek(0)
        assert done.returncode == 0, log.read()


@pytest.mark.parametrize("page", pages_with("python"), ids=lambda page: page.name)
def test_python_runs(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for text in blocks(page, "python"):
        exec(compile(text, page.name, "exec"), {})


def links(page: Path) -> Iterator[str]:
    yield from re.findall(r"\]\(([^)#:]+)\)", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        assert (page.parent / link).exists(), link


def test_readme_names_two_commands() -> None:
    lines = [line for block in blocks(ROOT / "README.md", "sh") for line in block.splitlines()]
    assert lines == ["pip install '.[server]' && mimeportal demo", "pip install '.[dev]' && pytest"]


def test_the_pages_read_off_the_code_are_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "write.py"), "--check"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_limits_that_docs_state_are_those_of_the_code() -> None:
    from mimeportal import limits

    page = (ROOT / "docs" / "portal.md").read_text()
    for stated in (
        f"{limits.MESSAGE // limits.MIB} MiB",
        f"{limits.HEADERS // limits.KIB} KiB",
        f"{limits.HEADER // limits.KIB} KiB",
        f"{limits.PARTS_LISTED:,} listed",
        f"over {limits.PARTS_TRUSTED},",
        f"over {limits.MIME_DEPTH} deep",
        f"{limits.HTML // limits.MIB} MiB, {limits.HTML_DEPTH} levels",
        f"its first {limits.SEARCHED_TEXT // limits.KIB} KiB",
        f"{limits.SEARCH_TEXT:,} characters, {limits.SEARCH_TERMS} words and phrases; in XML {limits.SEARCH_QUERY:,}",
        f"{limits.JSON_BODY // limits.MIB} MiB, {limits.JSON_DEPTH} levels",
        f"{limits.PAGE_SIZE} rows",
        f"files {limits.PAGE_FORM // limits.MIB} MiB, and {limits.PAGE_FILES} files",
        f"up to {limits.TOTAL_COUNTED:,}",
        f"{limits.LOCAL_BATCH} on a local portal, {limits.MIMECAST_BATCH} on Mimecast",
        f"{limits.WRITTEN_PER_HOUR} an hour",
        f"{limits.LARGE_FILE // limits.MIB // 1024} GiB each, {limits.LARGE_FILES} of one send",
        f"{limits.LARGE_FILE_RECIPIENTS} recipients; chunks of {limits.CHUNK // limits.MIB} MiB",
        f"kept for {limits.LARGE_FILE_DAYS} days",
        f"after {limits.UPLOAD_IDLE_SECONDS} s without a chunk, given up after {limits.UPLOAD_DAYS} days",
        f"{limits.ACCESS_KEY_SHORTEST} to {limits.ACCESS_KEY_LONGEST} characters; a right one is believed for",
        f"good for {limits.FETCH_SECONDS // 3600} hours",
        f"below {limits.FREE_DISK_SHARE:.0%}".replace("%", " %"),
    ):
        assert stated in page, stated


def test_the_tests_that_show_the_functions_of_the_guide_are_there() -> None:
    known = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        known |= {path.stem, *re.findall(r"def (test_\w+)", path.read_text())}
    named = set(re.findall(r"\btest_\w+", (ROOT / "docs" / "secure.md").read_text()))
    assert len(named) > 20
    assert named <= known, named - known


class TestExamples:
    def test_release_by_rule(self, place: Path) -> None:
        def run(*arguments: str) -> str:
            script = ROOT / "examples" / "release_by_rule.py"
            done = subprocess.run(
                [sys.executable, str(script), *arguments],
                cwd=place,
                env=environment(place, **WHERE),
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        before = len(list((place / "home/outgoing/new").iterdir()))
        assert "2 messages would be released" in run()
        assert len(list((place / "home/outgoing/new").iterdir())) == before
        assert "{'done': 2}" in run("--yes")
        assert len(list((place / "home/outgoing/new").iterdir())) == before + 2
        assert "0 messages would be released" in run()

    def test_bulk_release(self, place: Path) -> None:
        reports = place / "reports"
        reports.mkdir()
        script = ROOT / "examples" / "bulk_release.sh"

        def run() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                ["sh", str(script), "gardening.example", str(reports)],
                cwd=place,
                env=environment(place, **WHERE),
                capture_output=True,
                text=True,
            )

        first = run()
        assert first.returncode == 0, first.stderr
        (report,) = reports.iterdir()
        assert len(report.read_text().splitlines()) == 2
        again = run()
        assert again.returncode == 0, again.stderr
        assert len(report.read_text().splitlines()) == 2

    def test_rules(self, place: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "mimeportal_cli", "holds", "apply", "rules.toml", "--yes", "-o", "jsonl"],
            cwd=place,
            env=environment(place, **WHERE),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count('"release"') == 2
        assert done.stdout.count('"reject"') == 2


CARLA = {**WHERE, "MIMEPORTAL_USER": "carla@example.com"}


class TestReportExamples:
    """examples/reports: what cron and systemd would run is run."""

    FOLDER = ROOT / "examples" / "reports"

    def test_the_crontab(self, place: Path) -> None:
        lines = [line for line in (self.FOLDER / "crontab").read_text().splitlines() if line and line[0] != "#"]
        settings = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
        jobs = [line for line in lines if not re.match(r"[A-Z_]+=", line)]
        assert set(settings) == {"MIMEPORTAL_PROFILE", "REPORTS"}
        assert all(re.match(r"([0-9*]+ ){5}", job) for job in jobs)
        self.make_profile(place)
        env = environment(place, MIMEPORTAL_PROFILE=settings["MIMEPORTAL_PROFILE"], REPORTS=str(place / "reports"))
        exports = [job.split(None, 5)[5] for job in jobs if " export " in job]
        assert len(exports) == 2
        for command in exports:
            done = subprocess.run(["sh", "-c", command], cwd=place, env=env, capture_output=True, text=True)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "cron mails nothing"
        assert len(list((place / "reports" / "reports" / "held").glob("*.csv"))) == 7
        (monthly,) = (job.split(None, 5)[5] for job in jobs if " export " not in job)
        assert (self.FOLDER / monthly.split()[0]).is_file()

    def make_profile(self, place: Path) -> None:
        config = place / "config"
        os.environ["MIMEPORTAL_CONFIG_DIR"] = str(config)
        command = [sys.executable, "-m", "mimeportal_cli", "profiles", "set", "reports"]
        where = ["--url", f"local:{place / 'home'}", "--user", "carla@example.com"]
        subprocess.run([*command, *where], cwd=place, env=environment(place), capture_output=True, check=True)

    def test_the_service_and_its_timer(self, place: Path) -> None:
        service = (self.FOLDER / "mimeportal-reports.service").read_text()
        (command,) = re.findall(r"^ExecStart=(.*)$", service, re.M)
        self.make_profile(place)
        (profile,) = re.findall(r"^Environment=MIMEPORTAL_PROFILE=(.*)$", service, re.M)
        env = environment(place, MIMEPORTAL_PROFILE=profile, STATE_DIRECTORY=str(place / "state"))
        done = subprocess.run(["sh", "-c", command], cwd=place, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert len(list((place / "state" / "reports" / "reports" / "audit").glob("*.csv"))) == 7
        (prevented,) = re.findall(r"^RestartPreventExitStatus=(.*)$", service, re.M)
        assert "6" not in prevented.split(), "what passes is tried again"

    def test_systemd_takes_them(self, tmp_path: Path) -> None:
        import shutil

        program = shutil.which("systemd-analyze")
        if program is None:
            absent("systemd-analyze")
        for name in ("mimeportal-reports.service", "mimeportal-reports.timer"):
            # It looks for the program where this machine may not have it.
            text = (self.FOLDER / name).read_text().replace("ExecStart=mimeportal", f"ExecStart={sys.executable}")
            (tmp_path / name).write_text(text.replace("User=mimeportal\n", ""))
        done = subprocess.run([program, "verify", *map(str, tmp_path.iterdir())], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")

    def test_the_monthly_mail(self, place: Path) -> None:
        script = self.FOLDER / "mail_monthly_report.sh"
        before = set((place / "home/outgoing/new").iterdir())
        for month in ((), ("2026-02",)):
            done = subprocess.run(
                ["sh", str(script), "boss@elsewhere.example", *month],
                cwd=place,
                env=environment(place, **CARLA),
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
            (mail,) = set((place / "home/outgoing/new").iterdir()) - before
            before.add(mail)
            text = mail.read_bytes().decode()
            assert "To: boss@elsewhere.example" in text
            assert "reports-" in text
            if month:
                assert "Subject: Mail in 2026-02" in text
