"""Writes docs/commands.md from the commands themselves; with `--check` says whether it is current.

python -m mimeportal_cli.reference [--check] [FILE]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from mimeportal_cli.main import cli

_DEFAULT = Path("docs/commands.md")
_WIDTH = 100
_HEAD = """\
# Commands

Written from the commands themselves by `python -m mimeportal_cli.reference`; change them, not this page.

"""


def reference() -> str:
    """The page, the same on every machine."""
    sections = [_section(command, context) for command, context in _walk(cli, _context(cli, None, "mimeportal"))]
    return _HEAD + "\n".join(sections)


def _walk(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _walk(child, _context(child, context, name))


def _context(command: click.Command, parent: click.Context | None, name: str) -> click.Context:
    return click.Context(
        command, parent=parent, info_name=name, terminal_width=_WIDTH, **({} if parent else command.context_settings)
    )


def _section(command: click.Command, context: click.Context) -> str:
    text = command.get_help(context)
    if context.parent is not None:
        # They hold for every command, and stand with the first.
        text = text.partition("\nGlobal options:")[0]
    level = "#" * (1 + len(context.command_path.split()))
    return f"{level} {context.command_path}\n\n```text\n{text.rstrip()}\n```\n"


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    check = "--check" in arguments
    named = [argument for argument in arguments if argument != "--check"]
    path = Path(named[0]) if named else _DEFAULT
    text = reference()
    if check:
        current = path.exists() and path.read_text("utf-8") == text
        if not current:
            sys.stderr.write(f"{path} is not current: run python -m mimeportal_cli.reference\n")
        return 0 if current else 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
