"""`mimeportal demo`: a portal home with mail, and the real commands of the main job run on it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from mimeportal_cli.exits import ExitCode
from mimeportal_cli.options import CONTEXT, LocalCommand, settings

# What is typed, and what it shows. The commands are run as they stand.
_STEPS = (
    ("Ann's held mail:", "mimeportal holds list"),
    ("Why it is held, in numbers:", "mimeportal holds summary"),
    (
        "Look before acting. The plan, with nothing changed:",
        "mimeportal holds release --from gardening.example --permit address --dry-run",
    ),
    (
        "Release the newsletter, and permit its sender from now on:",
        "mimeportal holds release --from gardening.example --permit address --yes",
    ),
    (
        "Reject the lottery, and block its whole domain:",
        "mimeportal holds reject --from lottery.example --block domain --yes",
    ),
    ("What ann's lists hold now:", "mimeportal senders list"),
    ("Ann moderates bob's mail:", "mimeportal holds list --queue moderated"),
    ("What was delivered, to whom:", "mimeportal-server status --deliveries"),
)


@click.command(cls=LocalCommand, context_settings=CONTEXT)
@click.argument("folder", metavar="[DIR]", required=False)
def demo(folder: str | None) -> int:
    """A portal with real mail, and the main job shown on it.

    Makes a portal home in DIR, or in a new temporary folder, with some twenty messages, and runs the
    commands that a person would type. The home stays, to go on by hand.
    """
    import subprocess
    import tempfile

    from mimeportal import local

    console = settings().console
    home = Path(folder).absolute() if folder else Path(tempfile.mkdtemp(prefix="mimeportal-demo-")) / "home"
    held = local.make_demo(home)
    where = {"MIMEPORTAL_URL": f"local:{home}", "MIMEPORTAL_USER": "ann@example.com", "MIMEPORTAL_HOME": str(home)}
    console.write(f"A portal for example.com, with {held} messages held in it: {home}\n")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MIMEPORTAL_")},
        **where,
        "MIMEPORTAL_OUTPUT": "table",
    }
    for told, line in _STEPS:
        console.write(f"\n# {told}\n$ {line}\n")
        console.flush()
        program, *arguments = shlex.split(line)
        module = "mimeportal_cli" if program == "mimeportal" else "mimeportal_server"
        done = subprocess.run([sys.executable, "-m", module, *arguments], env=environment, check=False)  # noqa: S603
        if done.returncode:
            return ExitCode.FAILED
    console.write("\nThe released messages lie in outgoing/new, byte for byte as they came. To go on by hand:\n\n")
    for name, value in where.items():
        console.write(f"  export {name}={shlex.quote(value)}\n")
    console.write("  mimeportal holds list\n  mimeportal holds --help\n")
    return ExitCode.DONE
