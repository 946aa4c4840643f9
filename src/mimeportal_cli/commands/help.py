"""`mimeportal help`: what holds for every command, by topic."""

from __future__ import annotations

import click

from mimeportal_cli.options import Group, LocalCommand, settings

ENVIRONMENT = """\
Environment variables

  MIMEPORTAL_URL            which portal: https://HOST, or local:DIR, the folder of a local portal
  MIMEPORTAL_USER           whose portal: an address; goes with any of the others
  MIMEPORTAL_PROFILE        which profile, in place of a URL
  MIMEPORTAL_API            api1, api2 or local: only what this API offers. Default: by URL and log-in
  MIMEPORTAL_OUTPUT         table, json, jsonl, csv or tsv, where -o is not given
  MIMEPORTAL_CONFIG_DIR     the folder of profiles.json

Credentials that go with MIMEPORTAL_URL, and that `mimeportal auth login` takes where nobody can be asked: one whole
set of these. Each may be replaced by its twin with _FILE at the end, which names a file that only you can read.

  MIMEPORTAL_CLIENT_ID, MIMEPORTAL_CLIENT_SECRET       an application of API 2.0
  MIMEPORTAL_APP_ID, MIMEPORTAL_APP_KEY,
  MIMEPORTAL_ACCESS_KEY, MIMEPORTAL_SECRET_KEY         an application of API 1.0
  MIMEPORTAL_PASSWORD_FILE                             the file with the cloud password of MIMEPORTAL_USER; on Mimecast
                                                       together with MIMEPORTAL_APP_ID and MIMEPORTAL_APP_KEY
  MIMEPORTAL_NEW_PASSWORD_FILE                         for `mimeportal account password`

  HTTPS_PROXY, NO_PROXY     how to go out, where the profile names no proxy
  REQUESTS_CA_BUNDLE        certificates to trust, where the profile names none
  NO_COLOR, FORCE_COLOR     no colours; colours although it is no terminal
  TERM=dumb                 no colours, no progress bar
  COLUMNS                   how wide the terminal is

What the command line says comes first, then the environment, then the current profile: see
`mimeportal help profiles`.

Completion in the shell:

  bash   eval "$(_MIMEPORTAL_COMPLETE=bash_source mimeportal)"
  zsh    eval "$(_MIMEPORTAL_COMPLETE=zsh_source mimeportal)"
  fish   _MIMEPORTAL_COMPLETE=fish_source mimeportal | source
"""

OUTPUT = """\
Output

  -o, --output table|json|jsonl|csv|tsv
  --columns A,B,C     only these columns, in this order
  -w, --write FILE    FILE appears whole or not at all; its ending names the format where -o does not
  --limit N           said on stderr when it cuts

On a terminal records are a table, cut to its width. On a pipe they are tsv: no header, nothing cut. stdout is
data; notes, questions, progress and totals are on stderr.

  table   ids are short references such as #k3v9q2xd, and every ID on a command line takes them, with or without
          the # (which starts a comment in most shells). Times are in the account's zone, or in --tz.
          A second address in brackets is the envelope's, where it differs from the header.
  json    one array, written as it comes; cut short by a failure it is left unclosed, and the exit code is not 0
  jsonl   one object a line
  csv     a header, then the records; an apostrophe before a text that a spreadsheet would take for a formula
  tsv     no header

Names of fields are the same in every format, and stay as they are. Times are ISO 8601 in UTC but in tables.
Control characters, and those that change the direction of writing or cannot be seen, are shown as escapes; json
and jsonl carry them exactly, as \\u escapes. No records: [], nothing, the header, nothing.
"""

FILTERS = """\
Choosing held messages: the same options on `holds list` and on every bulk verb

  ID...                 an id, or its short reference from a table, with or without #
  --ids-from FILE       ids one a line, or jsonl with `id` (a list, a plan, a report); - is stdin; never with filters
  --queue               personal, moderated or admin
  --mailbox ADDRESS     whose mail; may be given more than once; --mailboxes-from FILE has one a line
  --from, --to WHO      a@b.com that address; b.com or @b.com exactly that domain; with * a glob; a bare word a part
                        of the address. Envelope or header, never the display name
  --subject, --search,  part of the text, whatever the case; with * a glob over all of it
  --policy
  --reason TEXT         a code, or part of the text
  --route               inbound, outbound or internal
  --since, --until      7d, 24h, 30m, yesterday, today, 2026-11-03, 2026-11-03T09:30, 09:30: in the account's zone, or
                        in --tz. The first is included, the second is not
  --larger-than SIZE    10k, 5M; k is 1,024
  --has-attachments, --no-attachments
  --sort FIELD          a column; -FIELD turned round. Default: newest first
  --limit N             on a list the first N; on a bulk verb the N oldest
  --all                 everything in the queue: a bulk verb without id and filter is refused otherwise

All conditions must hold. Whatever a portal filters itself, every row is checked again before it is acted upon.
"""

PROFILES = """\
Profiles: portals by name

  mimeportal auth login -P work --url https://portal.example --person ann@example.com
  mimeportal auth login -P cloud --app2
  mimeportal profiles set here --url local:/srv/portal --user ann@example.com
  mimeportal profiles use work
  mimeportal -P here holds list

Where to go, first match wins:

  1. the command line     -P NAME, or --url local:DIR
  2. the environment      MIMEPORTAL_PROFILE, or MIMEPORTAL_URL with credentials (`mimeportal help environment`)
  3. the current profile  `mimeportal profiles use NAME`

A URL and its credentials come from one source; a mix is refused. MIMEPORTAL_USER, whose portal, is no credential and
goes with any of them. `mimeportal profiles show` prints every value and where it came from; `mimeportal auth status`
asks the portal whether it accepts them.

A secret lies in the keyring, or, where none works, in a file that only you can read; it is bound to the URL of its
profile. Without a terminal a locked keyring is not opened: the command ends with 4.
"""


@click.group(cls=Group, name="help")
def help() -> None:
    """Topics: environment, output, filters, exit codes, profiles."""


def _exit_codes() -> str:
    from mimeportal_cli.exits import TEXTS

    lines = [f"  {code.value:>3}  {text}" for code, text in TEXTS.items()]
    return (
        "Exit codes\n\n"
        + "\n".join(lines)
        + (
            "\n\nOne id that was typed gives its own code (4, 5, 6, 8); several, or a filter, give 3 when any failed.\n"
            "An error is three lines on stderr: what happened; why, with code and request id; what to type next.\n"
        )
    )


def _topic(name: str, short: str, text: str) -> None:
    def show() -> None:
        settings().console.write(text or _exit_codes())

    help.add_command(LocalCommand(name, callback=show, short_help=short, help=short))


_topic("environment", "Environment variables, and completion in the shell.", ENVIRONMENT)
_topic("output", "Formats, columns, files.", OUTPUT)
_topic("filters", "How held messages are chosen.", FILTERS)
_topic("exit-codes", "What a script can tell from the exit code.", "")
_topic("profiles", "Where a command goes.", PROFILES)
