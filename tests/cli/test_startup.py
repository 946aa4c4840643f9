"""Starting costs what click costs, and the table of commands tells the truth."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from mimeportal_cli.main import TABLE, cli

HEAVY = (
    "pydantic",
    "sqlalchemy",
    "requests",
    "keyring",
    "tabulate",
    "dateutil",
    "platformdirs",
    "importlib.metadata",
    "json",
    "dataclasses",
    "pathlib",
    "mimeportal.portal",
    "mimeportal.errors",
    "mimeportal_cli.console",
    "mimeportal_cli.output",
    "mimeportal_server",
)


def loaded(*arguments: str, **environment: str) -> set[str]:
    """The modules that a command has imported when it ends."""
    code = (
        "import sys, click\n"
        "bare = set(sys.modules)\n"
        "from mimeportal_cli.exits import run_program\n"
        "from mimeportal_cli.main import cli\n"
        "try: run_program(cli, 'mimeportal', sys.argv[1:])\n"
        "finally: sys.stderr.write(' '.join(set(sys.modules) - bare))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path), **environment},
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("-h",)])
def test_help_and_version_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert loaded(*arguments) & set(HEAVY) <= {"mimeportal_cli.console"}


def test_help_of_a_group_imports_no_portal() -> None:
    assert not loaded("holds", "--help") & {"pydantic", "sqlalchemy", "tabulate", "dateutil", "platformdirs"}


@pytest.mark.parametrize("name", TABLE)
def test_short_help_of_the_table_is_the_real_one(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(limit=200) == TABLE[name][1]


def test_every_command_and_option_has_help() -> None:
    def walk(command: click.Command, path: str) -> None:
        assert command.help or command.short_help, path
        for parameter in command.params:
            assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None), (path, parameter.name)
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                walk(child, f"{path} {name}")

    walk(cli, "mimeportal")
