"""Writes the pages that are read off the code: docs/commands.md and docs/operations.md.

python docs/write.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from mimeportal.wire import Endpoint
from mimeportal_cli.main import cli
from mimeportal_server.cli import main as server
from mimeportal_server.door import NOUNS

_HERE = Path(__file__).parent
_WIDTH = 100
_NOTE = "Written from the code by `python docs/write.py`; change that, not this page.\n"
_APIS = ("api2", "api1", "local")


def commands() -> str:
    """Every command with its help."""
    sections = ["# Commands\n", _NOTE]
    for program, name in ((cli, "mimeportal"), (server, "mimeportal-server")):
        sections += [_section(command, context) for command, context in _walk(program, _context(program, None, name))]
    return "\n".join(sections)


def _walk(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _walk(child, _context(child, context, name))


def _context(command: click.Command, parent: click.Context | None, name: str) -> click.Context:
    inherited = {} if parent else command.context_settings
    return click.Context(command, parent=parent, info_name=name, terminal_width=_WIDTH, **inherited)


def _section(command: click.Command, context: click.Context) -> str:
    text = command.get_help(context)
    if context.parent is not None:
        # They hold for every command, and stand with the first.
        text = text.partition("\nGlobal options:")[0]
    level = "#" * (1 + len(context.command_path.split()))
    return f"{level} {context.command_path}\n\n```text\n{text.rstrip()}\n```\n"


def operations() -> str:
    """Every operation: where it is, who offers it, what it takes, whether it may be repeated."""
    lines = [
        "# Operations\n",
        _NOTE,
        "Where a portal does not offer an operation, the SDK raises `NotOfferedError` and the command ends with 8,",
        "before anything is sent. `api2` and `api1` are Mimecast's APIs, `local` is a local portal. Repeat tells what",
        "happens after a lost answer: `safe` is asked again, `keyed` does the same once more, `look` looks first.\n",
        "| operation | path | api2 | api1 | local | at once | repeat | permission on Mimecast |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for noun in NOUNS:
        lines += [_row(endpoint) for endpoint in import_module(f"mimeportal.{noun}.contract").ENDPOINTS]
    return "\n".join(lines) + "\n"


def _row(endpoint: Endpoint[Any, Any]) -> str:
    offered = ["yes" if api in endpoint.offered else "-" for api in _APIS]
    least, most = endpoint.count
    counted = f"{least} to {most}" if least != most else str(most)
    what = f"{counted} {endpoint.counted or ''}".strip()
    permission = " / ".join(dict.fromkeys(o.permission for o in endpoint.offered.values() if o.permission)) or "-"
    repeat = f"{endpoint.repeat} ({endpoint.look})" if endpoint.look else endpoint.repeat
    cells = [f"`{endpoint.name}`", f"`{endpoint.path}`", *offered, what, repeat, permission.replace("|", "\\|")]
    return f"| {' | '.join(cells)} |"


PAGES = {"commands.md": commands, "operations.md": operations}


def main(arguments: list[str]) -> int:
    """Write the pages, or say which are not current."""
    stale = 0
    for name, page in PAGES.items():
        path, text = _HERE / name, page()
        if "--check" not in arguments:
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            sys.stderr.write(f"docs/{name} is not current: run python docs/write.py\n")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
