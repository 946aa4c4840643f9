"""A real keyring: a session bus and GNOME's daemon of their own. Skipped where those programs are absent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from cli.conftest import PASSWORD, Served
from conftest import ANN, absent

PROGRAMS = ("dbus-run-session", "gnome-keyring-daemon")
MISSING = [name for name in PROGRAMS if not shutil.which(name)]

# Each line is a command; then what it ended with, and what it wrote.
SCRIPT = """
printf keyring-password | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1 || exit 99
said() { out=$("$@" 2>err.txt </dev/null); code=$?; printf '%s\\n' "== $code" "$out"; cat err.txt; }
export MIMEPORTAL_PASSWORD_FILE=PASSWORD_FILE
said PYTHON -m mimeportal_cli auth login --url URL --person ANN
unset MIMEPORTAL_PASSWORD_FILE
said PYTHON -m mimeportal_cli auth status -o json
said PYTHON -m mimeportal_cli holds list --columns subject
said PYTHON -m mimeportal_cli auth logout
said PYTHON -c 'ITEMS'
said PYTHON -c 'LOCK'
said PYTHON -m mimeportal_cli holds list
said PYTHON -m mimeportal_cli profiles show -o json
said PYTHON -m mimeportal_cli auth logout
"""
_BUS = "import secretstorage as s; from contextlib import closing; bus = s.dbus_init()\n"
LOCK = _BUS + "with closing(bus): c = s.get_default_collection(bus); c.lock(); print(c.is_locked())"
ITEMS = _BUS + "with closing(bus): print(len(list(s.search_items(bus, {}))))"


def test_a_log_in_lives_in_the_keyring(served: Served, tmp_path: Path) -> None:
    if MISSING:
        absent(", ".join(MISSING))
    values = {
        "PYTHON": sys.executable,
        "URL": served.url,
        "ANN": ANN,
        "PASSWORD_FILE": served.password_file(),
        "LOCK": LOCK,
        "ITEMS": ITEMS,
    }
    script = SCRIPT.replace("MIMEPORTAL_PASSWORD_FILE", "\0")
    for name, value in values.items():
        script = script.replace(name, value)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DBUS_", "XDG_", "GNOME_"))}
    del environ["PYTHON_KEYRING_BACKEND"]
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    done = subprocess.run(
        ["dbus-run-session", "--", "sh", "-c", script.replace("\0", "MIMEPORTAL_PASSWORD_FILE")],
        env={
            **environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "HOME": str(tmp_path),
            "XDG_DATA_HOME": str(tmp_path / "data"),
            "XDG_RUNTIME_DIR": str(runtime),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    login, status, listed, logout, items, lock, locked, shown, kept = done.stdout.split("== ")[1:]
    assert login.startswith("0\n"), login
    assert "No keyring works here" not in login
    code, _, text = status.partition("\n")
    assert code == "0", status
    assert json.loads(text)["secret"] == "the keyring"
    assert json.loads(text)["accepted"] is True
    assert listed.startswith("0\n"), listed
    assert "Statement" in listed
    assert logout.startswith("0\n"), logout
    assert items == "0\n0\n"
    assert lock == "0\nTrue\n"
    for told in (locked, kept):
        assert told.startswith("4\n"), told
        assert "It is locked, and without a terminal nobody is asked to unlock it." in told
    assert "unknown: The keyring cannot be used." in shown
    assert not (Path(os.environ["MIMEPORTAL_CONFIG_DIR"]) / "secrets").exists()
    assert PASSWORD not in done.stdout + done.stderr
