"""Start-up: what `mimeportal --version` and `--help` cost beside a bare click program."""

from __future__ import annotations

from functools import partial

from benchmarks.lab import Lab
from benchmarks.measure import Row, at_most, by_turns, process

_BARE = '''\
import click


@click.group()
@click.version_option("1.0")
def cli() -> None:
    """A bare program."""


@cli.command()
def hello() -> None:
    """Say hello."""


cli()
'''


def run(lab: Lab) -> list[Row]:
    bare, env = lab.script("bare", _BARE), lab.env()
    rows = []
    for option in ("--version", "--help"):
        ours, floor = by_turns(
            lab.size(31, 1),
            partial(process, lab.command, option, env=env),
            partial(process, bare, option, env=env),
        )
        rows.append(at_most(f"mimeportal {option}", ours, floor, 1.3))
    return rows
