"""`mimeportal api`: any function of the API, with our log-in, retries and paging."""

from __future__ import annotations

import sys
from typing import Any

import click

from mimeportal_cli.exits import ExitCode
from mimeportal_cli.formats import as_json
from mimeportal_cli.options import CONTEXT, Command, option, settings


@click.command(cls=Command, context_settings=CONTEXT)
@click.argument("path", metavar="PATH")
@option(
    "-d",
    "--data",
    metavar="JSON|@FILE|-",
    help="What is sent: the items of `data` for a function under /api/, a whole document for others; - is stdin.",
)
@option("-X", "--method", metavar="METHOD", help="The HTTP method. Default: POST under /api/, else GET without data.")
@option("--paginate", is_flag=True, help="Go on to the last page; one document a line, or a terminal's.")
@option("--yes", is_flag=True, help="Do not ask.")
def api(path: str, data: str | None, method: str | None, paginate: bool, yes: bool) -> int:
    """Any function of the API, with our log-in, retries and paging.

    PATH is the path of a function, as /api/account/get-account. The answer is shown as it came. Functions that only
    read (get-, find-, search, and GET) are asked again when an answer is lost; any other one may act: it asks first,
    and is never repeated. Exit code 3 when the answer names failures of single items.

    \b
    Examples:
      mimeportal api /api/gateway/get-hold-summary-list
      mimeportal api /api/gateway/get-hold-message-list -d '{"admin": true}' --paginate
      mimeportal api /api/gateway/hold-release -d '{"id": "..."}' --yes
    """
    from mimeportal.anything import is_safe, method_of
    from mimeportal_cli.opening import opened

    console = settings().console
    document = _document(data)
    acts = not is_safe(path, method_of(path, document, method))
    if acts and not yes:
        console.require_interactive()
    with opened() as portal:
        if acts and not yes:
            console.confirm(f"Call {path}, which may act (profile {portal.profile or 'none'}, URL {portal.url})?")
        failed = False
        one = [] if paginate else [portal.call(path, document, method=method)]
        for answer in one or portal.pages(path, document, method=method):
            console.write(as_json(answer, indent=2 if console.stdout_is_terminal else None) + "\n")
            failed |= bool(answer.get("fail"))
    if failed:
        console.error("The portal did not do all of it.", "The answer has failures: see `fail`.", "Try those again.")
    return ExitCode.SOME_FAILED if failed else ExitCode.DONE


def _document(text: str | None) -> Any:
    """The JSON that is sent. Raises `UsageError` for text that is none."""
    import json
    from pathlib import Path

    from mimeportal.errors import UsageError

    if text is None:
        return None
    if text == "-":
        if sys.stdin is None:
            raise UsageError("- names stdin, and stdin is closed.", remedy="Write the JSON after -d, or -d @FILE.")
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_text("utf-8")
        except (OSError, ValueError) as fault:
            why = getattr(fault, "strerror", None) or "it is no text"
            raise UsageError(
                f"{text[1:]} cannot be read: {why}.", remedy="Name a file of JSON, or - for stdin."
            ) from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise UsageError(
            "What -d sends is no JSON.", why=str(fault), remedy="""Write it as -d '{"admin": true}', or -d @FILE."""
        ) from None
