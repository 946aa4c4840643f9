"""The SDK and the command import nothing that Windows lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
# The server is for Linux, and the plugin for tests is for where pytest is.
CODE = """
import sys
for name in ("fcntl", "termios", "pwd", "grp", "resource", "tty", "pty"):
    sys.modules[name] = None
import importlib, pkgutil
import mimeportal, mimeportal_cli
names = []
for package in (mimeportal, mimeportal_cli):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
            names.append(found.name)
print(*names)
"""


def test_every_module_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    files = [path for room in ("mimeportal", "mimeportal_cli") for path in (SOURCE / room).rglob("*.py")]
    told = {path for path in files if path.name not in ("__main__.py",) and path.parent != SOURCE}
    modules = {".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for path in told}
    assert set(done.stdout.split()) == modules - {"mimeportal", "mimeportal_cli"}
