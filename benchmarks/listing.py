"""The list of 1,000 holds as a whole process, beside importing what it is made with; and what it must not import."""

from __future__ import annotations

from benchmarks.lab import Lab
from benchmarks.measure import Row, at_most, by_turns, process

_IMPORTS = "import click, sqlalchemy\nfrom pydantic import BaseModel\n"
_NEVER = ("requests", "alembic", "starlette")
_TELLING = """\
import sys
from pathlib import Path
from mimeportal_cli.main import run
try:
    run()
finally:
    Path({path!r}).write_text(" ".join(name for name in {names!r} if name in sys.modules))
"""


def run(lab: Lab) -> list[Row]:
    count = lab.size(1_000, 50)
    home = lab.listed_home(count)
    env = lab.env(home)
    floor_script = lab.script("imports", _IMPORTS)
    command = ("holds", "list", "--queue", "admin")
    ours, floor = by_turns(
        lab.size(21, 1),
        lambda: process(lab.command, *command, env=env),
        lambda: process(floor_script, env=env),
    )
    told = lab.new("modules")
    process(lab.script("telling", _TELLING.format(path=str(told), names=_NEVER)), *command, env=env)
    loaded = told.read_text()
    return [
        at_most(f"holds list, {count:,} holds, whole process", ours, floor, 1.5),
        Row(f"of {', '.join(_NEVER)} it loads", loaded or "none", goal="none", met=not loaded),
    ]
