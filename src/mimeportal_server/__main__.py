"""`python -m mimeportal_server` is the `mimeportal-server` command."""

from mimeportal_server.cli import run

run()
