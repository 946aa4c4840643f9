"""The `mimeportal-server` command, for whoever runs a local portal: a file per group of commands."""

from mimeportal_server.cli.main import main, run

__all__ = ["main", "run"]
