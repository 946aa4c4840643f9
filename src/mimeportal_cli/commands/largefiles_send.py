"""`mimeportal largefiles send|resubmit`: sending large files, and going on with what was interrupted.

What an upload needs to be taken up is kept in a file of mode 0600 until it is complete, named after what was typed:
the same command again finds it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimeportal_cli.exits import ExitCode
from mimeportal_cli.options import Command, option, settings
from mimeportal_cli.output import Output, Shape, output_options
from mimeportal_cli.references import as_reference, cache_folder, reference

if TYPE_CHECKING:
    from mimeportal.largefiles import LargeFile, Upload
    from mimeportal.portal import Portal

_PREFIX = "upload-"
_ENDED = ("err_largefile_cancelled", "err_largefile_failed")

# As `LARGE_FILE_FIELDS` of the SDK, and the access key, which is shown this once.
SENT = Shape(
    ("id", "status", "files", "size", "to", "sent", "expires", "downloads", "subject", "access_key"),
    cells={"id": as_reference},
)
PLANNED = Shape(("files", "size", "to", "subject", "expire_after", "access_key", "notify_on_download"))


@click.command(cls=Command)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path())
@option("--to", metavar="ADDRESS", multiple=True, required=True, help="To whom; may be given more than once.")
@option("--subject", metavar="TEXT", required=True, help="What the notification says it is about.")
@option("--body", metavar="TEXT", help="Its text; @FILE reads a file, @@ stands for an @ at its start.")
@option("--body-file", metavar="FILE", help="Its text from a file; - is stdin.")
@option("--expire-after", metavar="DAYS", type=click.IntRange(1, 90), help="Expire access after so many days.")
@option("--access-key/--no-access-key", default=None, help="Make a key that recipients are asked for; shown once.")
@option("--access-key-file", metavar="FILE", type=click.Path(), help="Take the key from a file, its first line.")
@option("--notify-on-download/--no-notify-on-download", default=None, help="Be told of each completed download.")
@option("--mailbox", metavar="ADDRESS", help="Whose send it is. Default: your own.")
@option("--dry-run", is_flag=True, help="Check and show what would be sent; send nothing.")
@output_options(SENT, limit=False)
def send(
    files: Sequence[str],
    to: Sequence[str],
    subject: str,
    body: str | None,
    body_file: str | None,
    expire_after: int | None,
    access_key: bool | None,
    access_key_file: str | None,
    notify_on_download: bool | None,
    mailbox: str | None,
    dry_run: bool,
    output: Output,
) -> int:
    """Send files of up to 2 GiB each; recipients are mailed a link of their own.

    What is not given is as the administrator set it: `mimeportal largefiles preferences`. After an interruption of
    any kind the same command goes on where it stopped.
    """
    from mimeportal.errors import UsageError
    from mimeportal_cli.opening import opened

    if access_key is not None and access_key_file is not None:
        raise UsageError("Two keys are asked for.", remedy="Give --access-key or --access-key-file, not both.")
    text = _text(body, body_file)
    key = access_key if access_key_file is None else _first_line(access_key_file)
    with opened() as portal:
        upload = portal.largefiles.upload(
            files,
            to=to,
            subject=subject,
            body=text,
            expire_after=expire_after,
            access_key=key,
            notify_on_download=notify_on_download,
            mailbox=mailbox,
        )
        if dry_run:
            _show_plan(portal, upload, output)
            return ExitCode.DONE
        # Whether a key is asked for belongs to it; which one is not known any more after an interruption.
        asked = {**upload.wanted, "access_key": key if isinstance(key, str) else bool(upload.access_key)}
        kept = _Kept.of(portal, asked, upload)
        upload = kept.upload(portal) or upload
        return _run(portal, upload, kept, output)


@click.command(cls=Command)
@click.argument("id")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path())
@option("--to", metavar="ADDRESS", multiple=True, help="Send what was sent to this recipient too.")
@output_options(SENT, limit=False)
def resubmit(id: str, files: Sequence[str], to: Sequence[str], output: Output) -> int:
    """Go on with an upload that is paused, or begin one anew that failed; with --to, send it to others too.

    FILEs are only named for an upload that another machine began: all of them, in the same order.
    """
    from mimeportal.errors import UsageError
    from mimeportal_cli.opening import opened
    from mimeportal_cli.references import RememberedLarge, resolved

    if to and files:
        raise UsageError("What was sent needs no files to be sent to others.", remedy="Leave out the files, or --to.")
    with opened() as portal:
        (full,) = resolved(portal, [id], RememberedLarge(portal))
        if to:
            large = portal.largefiles.resubmit(full, to=to)
            _show(output, large, None)
            settings().console.note(f"{_named(large)} was sent to {', '.join(to)} too.")
            return ExitCode.DONE
        large = portal.largefiles.get(full)
        if large.status in ("active", "expired", "scanning", "cancelled"):
            raise UsageError(
                f"{_named(large)} is {large.status}: there is nothing to go on with.",
                remedy="Send it to others with --to ADDRESS." if large.sent else "Send the files anew.",
            )
        kept = _Kept.with_id(full)
        if kept is None:
            upload = portal.largefiles.resume(full, files or None)
            kept = _Kept.of(portal, {"id": full}, upload)
        else:
            upload = portal.largefiles.resume(kept.handle, files or None)
        return _run(portal, upload, kept, output)


def _run(portal: Portal, upload: Upload, kept: _Kept, output: Output) -> int:
    from mimeportal.errors import MimeportalError, NotFoundError, UsageError

    console = settings().console
    kept.keep(upload)  # before the portal knows of it, so that the same request is made again
    try:
        upload.begin()
        kept.keep(upload)
        name = upload.files[0].name if len(upload.files) == 1 else f"{len(upload.files)} files"
        with console.transfer(upload.size, name) as moved:
            large = upload.run(moved)
    except KeyboardInterrupt:
        again = f" Go on with `mimeportal largefiles resubmit {reference(upload.id)}`, or the same command."
        console.error("Interrupted.", f"The upload is paused.{again if upload.id else ''}")
        return ExitCode.INTERRUPTED
    except MimeportalError as fault:
        if not upload.id or isinstance(fault, UsageError | NotFoundError) or getattr(fault, "code", "") in _ENDED:
            kept.forget()  # there is nothing to go on with
        raise
    _show(output, large, upload.access_key)
    kept.forget()
    waits = "it is offered to them once it has been scanned" if large.status == "scanning" else "each is mailed a link"
    console.note(f"Sent {_named(large)} to {', '.join(large.to)}: {waits}.")
    left_out = [entry for entry in portal.largefiles.get(large.id).recipients if entry.notified not in ("", "queued")]
    for entry in left_out:
        console.warn(f"{entry.address} was not notified: {entry.notified}.")
    return ExitCode.SOME_FAILED if left_out else ExitCode.DONE


def _show(output: Output, large: LargeFile, access_key: str | None) -> None:
    from dataclasses import asdict

    if output.asked or not output.on_terminal:
        output.rows([{**asdict(large), "access_key": access_key}])
    elif access_key is not None:
        output.console.write(f"Access key: {access_key}\n")


def _show_plan(portal: Portal, upload: Upload, output: Output) -> None:
    from mimeportal_cli.telling import place

    chosen = portal.largefiles.preferences()
    wanted = upload.wanted
    record = {
        "files": [file.name for file in upload.files],
        "size": upload.size,
        "to": list(wanted["to"]),
        "subject": wanted["subject"],
        "expire_after": wanted.get("expire_access_after_days", chosen.expire_access_after_days),
        "access_key": upload.access_key is not None,
        "notify_on_download": wanted.get("notify_on_download", chosen.notify_on_download),
    }
    output.shape = PLANNED
    output.columns = None
    output.one(record)
    console = settings().console
    count = len(upload.files)
    console.note(f"Would send {count:,} {'file' if count == 1 else 'files'} ({place(portal)}).")


def _named(large: LargeFile) -> str:
    more = f" and {len(large.files) - 1} more" if len(large.files) > 1 else ""
    return f"{reference(large.id)} ({large.files[0]}{more})"


# -- texts and keys ----------------------------------------------------------------------------------------


def _text(body: str | None, body_file: str | None) -> str:
    from mimeportal.errors import UsageError
    from mimeportal_cli.texts import file_text, typed_text

    if body is not None and body_file is not None:
        raise UsageError("--body and --body-file exclude each other.", remedy="Leave one of them out.")
    return file_text(body_file) if body_file is not None else typed_text(body or "")


def _first_line(source: str) -> str:
    from mimeportal.errors import UsageError
    from mimeportal_cli.texts import file_text

    lines = file_text(source).splitlines()
    if not lines or not lines[0]:
        raise UsageError(f"{source} holds no access key.", remedy="Write it in the first line.")
    return lines[0]


# -- what is kept of an upload ----------------------------------------------------------------------------


class _Kept:
    """The file that keeps one upload, until it is complete."""

    def __init__(self, path: Path, handle: Mapping[str, Any]) -> None:
        self.path = path
        self.handle = handle

    @classmethod
    def of(cls, portal: Portal, asked: Mapping[str, Any], upload: Upload) -> _Kept:
        """What is kept of the same send: to the same people, of the same files as they are now, from here."""
        facts = [portal.profile, portal.url, portal.user or "", asked, upload.handle()["files"]]
        name = sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
        path = cache_folder() / f"{_PREFIX}{name}"
        return cls(path, _handle(path) or {})

    @classmethod
    def with_id(cls, id: str) -> _Kept | None:
        """What is kept of the send with an id."""
        for path in _all():
            handle = _handle(path)
            if handle is not None and handle.get("id") == id:
                return cls(path, handle)
        return None

    def upload(self, portal: Portal) -> Upload | None:
        """The upload that was interrupted; None when there is none, or it was ended."""
        from mimeportal.errors import NotFoundError

        if not self.handle:
            return None
        upload = portal.largefiles.resume(self.handle)
        try:
            ended = bool(upload.id) and portal.largefiles.get(upload.id).status in ("cancelled", "failed")
        except NotFoundError:  # the portal was made anew, or restored from before it began
            ended = True
        return None if ended else upload

    def keep(self, upload: Upload) -> None:
        from mimeportal.profiles import write_private

        write_private(self.path, json.dumps(upload.handle()).encode())

    def forget(self) -> None:
        with suppress(OSError):
            os.unlink(self.path)


def forget(id: str) -> None:
    """Let go of what is kept of a send that was cancelled."""
    kept = _Kept.with_id(id)
    if kept is not None:
        kept.forget()


def _all() -> list[Path]:
    with suppress(OSError):
        return sorted(path for path in cache_folder().iterdir() if path.name.startswith(_PREFIX))
    return []


def _handle(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        return found if isinstance(found, dict) else None
    return None


COMMANDS: tuple[Any, ...] = (send, resubmit)
