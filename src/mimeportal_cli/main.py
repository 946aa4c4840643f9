"""The `mimeportal` command: a table of commands, each imported when it is run.

Whatever is imported here is paid for by `--help`, `--version` and every completion: click, and nothing heavier.
"""

from __future__ import annotations

import gc
import sys

import click

from mimeportal._version import __version__
from mimeportal_cli.options import LazyGroup

# name -> (where the command is, its short help)
TABLE = {
    "demo": ("mimeportal_cli.commands.demo:demo", "A portal with real mail, and the main job shown on it."),
    "auth": ("mimeportal_cli.commands.auth:auth", "Log in and out, and how an address may."),
    "profiles": ("mimeportal_cli.commands.profiles:profiles", "Portals by name: where they are and whose."),
    "holds": ("mimeportal_cli.commands.holds:holds", "Held mail: list, read, release, reject."),
    "secure": ("mimeportal_cli.commands.secure:secure", "Secure messages: send, read, answer, recall, monitor."),
    "senders": ("mimeportal_cli.commands.senders:senders", "Whom a mailbox blocks, permits and trusts."),
    "messages": (
        "mimeportal_cli.commands.messages:messages",
        "Mailboxes, and mail on its way: list, search, read, track.",
    ),
    "largefiles": ("mimeportal_cli.commands.largefiles:largefiles", "Large files: send, follow, extend, fetch."),
    "reports": ("mimeportal_cli.commands.reports:reports", "Numbers per day and logs: shown, drawn, exported."),
    "account": ("mimeportal_cli.commands.account:account", "The account, preferences, contacts, delegates."),
    "api": ("mimeportal_cli.commands.api:api", "Any function of the API, with our log-in, retries and paging."),
    "help": ("mimeportal_cli.commands.help:help", "Topics: environment, output, filters, exit codes, profiles."),
}


_OBJECTS = 10_000  # made since the last look, until the next


@click.group(cls=LazyGroup, name="mimeportal", table=TABLE)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Mimecast's Personal Portal and Secure Messaging Portal in the shell.

    \b
      mimeportal holds list --since 7d                what is held
      mimeportal holds show k3v9q2xd                  read one of them
      mimeportal holds release k3v9q2xd               let it through
      mimeportal holds reject --from spam.example     shown, asked for, rejected
      mimeportal messages search invoice              what is kept
      mimeportal largefiles send FILE --to ADDRESS    with a link to fetch it by
      mimeportal secure send --to ADDRESS             to be read in the secure portal
      mimeportal reports show traffic --since 7d      numbers per day
    """


def run() -> None:
    """The entry point."""
    from mimeportal_cli.exits import run_program

    # A start makes many objects that stay: to look among them for what is not used any more takes a twentieth of it.
    gc.set_threshold(_OBJECTS)
    sys.exit(run_program(cli, "mimeportal"))
