"""The `mimeportal-server` command, for whoever runs a local portal: a file per group of commands."""

from mimeportal_server.cli import apps as _apps  # noqa: F401  (registers its commands)
from mimeportal_server.cli import lab as _lab  # noqa: F401  (registers its commands)
from mimeportal_server.cli import people as _people  # noqa: F401  (registers its commands)
from mimeportal_server.cli import serving as _serving  # noqa: F401  (registers its commands)
from mimeportal_server.cli.main import main, run

__all__ = ["main", "run"]
