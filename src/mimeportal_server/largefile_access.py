"""To whom a send of large files is open: notifications with a link for each recipient, access keys, downloads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from mimeportal import limits
from mimeportal.largefiles import contract
from mimeportal.patterns import fold
from mimeportal.untrusted import visible, visible_lines
from mimeportal_server import audit, compose, passwords, requested, tokens, told
from mimeportal_server.clock import DAY
from mimeportal_server.largefile_rows import (
    changed,
    facts,
    files_of,
    find,
    following,
    record,
    require_content,
    status_of,
)
from mimeportal_server.largefile_states import ALREADY, KEPT, gone
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.steps import reached
from mimeportal_server.store.chunked import Slice
from mimeportal_server.store.schema import (
    largefile_downloads,
    largefile_files,
    largefile_recipients,
    largefiles,
    login_failures,
)

LINK = "large files"  # purposes of tokens: a recipient's link, what stands for a right key, a URL to fetch from
KEY = "large files, key"
FETCH = "large file"
PATH = "/largefiles"  # of the pages
_LOCK = limits.LOCK_MINUTES * 60_000


# -- opening a send to its recipients ---------------------------------------------------------------------


def open_up(portal: Portal, tx: Connection, row: Row[Any]) -> None:
    """A send becomes active: its time begins, and each recipient is mailed a link of their own."""
    now = portal.clock.now()
    values = {"state": "active", "sent": now, "expires": now + row.days * DAY, "reason": ""}
    tx.execute(update(largefiles).where(largefiles.c.id == row.id).values(values))
    opened = tx.execute(select(largefiles).where(largefiles.c.id == row.id)).one()
    recipients = tx.execute(
        select(largefile_recipients)
        .where(largefile_recipients.c.largefile_id == row.id)
        .order_by(largefile_recipients.c.id)
    ).all()
    _notify(portal, tx, opened, recipients)


def share(portal: Portal, call: Call, item: contract.ResubmitItem) -> Answer:
    """Send what was sent to these recipients too; those who have a link get another one.

    What has expired is open again for as many days as at first, for everybody it was sent to.
    """
    from mimeportal_server.largefile_upload import recipients_of

    to = recipients_of(item.to or [])
    content = {"resubmit": item.id, "to": to}
    now = portal.clock.now()
    with portal.write(call.caller) as tx:
        row = find(portal, tx, call.caller, item.id)
        require_content(call.caller, row)
        if requested.earlier(tx, call.caller, item.request_id, content) is not None:
            return changed(portal, tx, row.id, ALREADY)
        following(portal, row, "share")
        if gone(facts(row), portal.clock.steady()) or row.purged is not None:
            raise Refused("err_largefile_gone", "Its files are not kept any more: send them anew.", field="id")
        known = set(
            tx.scalars(select(largefile_recipients.c.address).where(largefile_recipients.c.largefile_id == row.id))
        )
        new = [address for address in to if address not in known]
        if len(known) + len(new) > limits.LARGE_FILE_RECIPIENTS:
            sentence = f"A send has at most {limits.LARGE_FILE_RECIPIENTS} recipients."
            raise Refused("err_validation_count", sentence, field="to")
        if new:
            tx.execute(insert(largefile_recipients), [{"largefile_id": row.id, "address": name} for name in new])
        values: dict[str, Any] = {"searched": fold("\n".join((row.searched, *new)))}
        if status_of(portal, row) == "expired":
            values |= {"expires": min(now + row.days * DAY, row.sent + KEPT), "purge_marked": None}
        tx.execute(update(largefiles).where(largefiles.c.id == row.id).values(values))
        opened = tx.execute(select(largefiles).where(largefiles.c.id == row.id)).one()
        named = tx.execute(
            select(largefile_recipients)
            .where(largefile_recipients.c.largefile_id == row.id, largefile_recipients.c.address.in_(to))
            .order_by(largefile_recipients.c.id)
        ).all()
        _notify(portal, tx, opened, named)
        requested.remember(tx, call.caller, item.request_id, content, {"largefile": row.id}, now=now)
        record(portal, tx, call, "send large files on", row.id, to=to)
        return changed(portal, tx, row.id)


def _notify(portal: Portal, tx: Connection, row: Row[Any], recipients: Iterable[Row[Any]]) -> None:
    files = files_of(tx, row.id)
    for recipient in recipients:
        link = tokens.issue(
            tx,
            LINK,
            row.person_id,
            object=str(recipient.id),
            expires=portal.clock.machine() + KEPT + DAY,
            lasting=True,
        )
        notified = compose.queue_written(
            portal,
            tx,
            "large files",
            to=recipient.address,
            subject=f"{row.sender} has sent you {_counted(len(files))}",
            lines=_notification(portal, row, files, f"{portal.settings.public_url}{PATH}/link/{link}"),
            automatic="auto-generated",
        )
        this = largefile_recipients.c.id == recipient.id
        tx.execute(update(largefile_recipients).where(this).values(notified=notified))
    reached("largefile.notified")


def _notification(portal: Portal, row: Row[Any], files: Sequence[Row[Any]], link: str) -> list[str]:
    lines = [f"{row.sender} has sent you {_counted(len(files))}: {visible(row.subject)}", ""]
    if row.body.strip():
        lines += [*visible_lines(row.body).rstrip("\n").split("\n"), ""]
    lines += ["Download them from this page:", "", link, ""]
    lines += [f"  {visible(file.name)}  ({told.size(file.size)})" for file in files]
    until = told.day(row.expires, portal.settings.time_zone)
    lines += ["", f"They can be downloaded until {until}."]
    if row.access_key:
        lines += ["An access key is asked for there; its sender has it."]
    lines += ["", "Whoever has the link can download the files: do not pass it on.",
              "This message was written automatically; replies to it are not read."]  # fmt: skip
    return lines


def _counted(files: int) -> str:
    return "a file" if files == 1 else f"{files} files"


# -- access keys ------------------------------------------------------------------------------------------


def hashed_key(portal: Portal, key: str | None) -> str:
    """What is stored of an access key; "" for none. Raises `Refused` for one that is too short or too long."""
    if not key:
        return ""
    key = key.strip()  # nobody sees the blanks around it, and `try_key` takes none
    if not limits.ACCESS_KEY_SHORTEST <= len(key) <= limits.ACCESS_KEY_LONGEST:
        sentence = f"An access key has {limits.ACCESS_KEY_SHORTEST} to {limits.ACCESS_KEY_LONGEST} characters."
        raise Refused("err_validation_value_not_allowed", sentence, field="accessKey")
    return passwords.hashed(portal, key)


def try_key(portal: Portal, opened: Opened, key: str, network: str) -> str | None:
    """A secret that stands for the right key, good for some hours; None for a wrong one.

    Guesses are counted: five wrong ones from a network within 15 minutes, or fifty from anywhere within a day, and no
    more are taken for a while. Raises `Refused` with 429 then.
    """
    row = opened.send
    now = portal.clock.machine()
    against = f"large files {row.id}"
    with portal.database.read() as tx:
        _refuse_guessing(tx, against, network, now)
    right = passwords.is_right(portal, row.access_key, key.strip()[: limits.ACCESS_KEY_LONGEST + 1])
    with portal.write() as tx:
        _refuse_guessing(tx, against, network, now)  # of several at once, each sees the wrong ones before it
        if not right:
            tx.execute(insert(login_failures), {"address": against, "network": network, "at": now})
        act = audit.Act("try access key", "done" if right else "failed", "largefile", row.id, {"network": network})
        audit.record(tx, [act], at=portal.clock.now(), caller=None, door="pages")
        if not right:
            return None
        expires = now + limits.ACCESS_KEY_HOURS * 3_600_000
        return tokens.issue(tx, KEY, row.person_id, object=str(opened.recipient.id), expires=expires, lasting=True)


def _refuse_guessing(tx: Connection, against: str, network: str, now: int) -> None:
    """Raise `Refused` where so many wrong keys were tried that no more are taken."""
    wrong = select(func.count()).select_from(login_failures).where(login_failures.c.address == against)
    lately = tx.scalar(wrong.where(login_failures.c.network == network, login_failures.c.at > now - _LOCK)) or 0
    anywhere = tx.scalar(wrong.where(login_failures.c.at > now - DAY)) or 0
    if lately >= limits.LOCK_FAILURES or anywhere >= limits.LOCK_FAILURES_ANYWHERE:
        sentence = f"Too many wrong keys were tried. Wait {limits.LOCK_MINUTES} minutes."
        raise Refused("err_quota_exceeded", sentence, status=429, retryable=True)


# -- a recipient's view -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """What a recipient's link leads to, while it is open."""

    send: Row[Any]
    recipient: Row[Any]
    files: Sequence[Row[Any]]


def opened(portal: Portal, recipient: str) -> Opened | None:
    """The send of a recipient by number; None once it is not open, for whatever reason."""
    with portal.database.read() as tx:
        found = tx.execute(select(largefile_recipients).where(largefile_recipients.c.id == int(recipient))).first()
        if found is None:
            return None
        row = tx.execute(select(largefiles).where(largefiles.c.id == found.largefile_id)).one()
        if status_of(portal, row) != "active" or row.purged is not None:
            return None
        return Opened(row, found, files_of(tx, row.id))


def fetch_path(portal: Portal, opened: Opened, file: Row[Any]) -> str:
    """The path of a URL that gives one of its files for some hours: its fetching is a download of its own."""
    expires = portal.clock.machine() + limits.FETCH_SECONDS * 1000
    with portal.write() as tx:
        values = {
            "file_id": file.id,
            "recipient_id": opened.recipient.id,
            "begun": portal.clock.now(),
            "covered": "[]",
        }
        begun = tx.execute(insert(largefile_downloads), values).inserted_primary_key
        assert begun is not None
        secret = tokens.issue(tx, FETCH, opened.send.person_id, object=str(begun[0]), expires=expires, lasting=True)
    return f"{PATH}/fetch/{secret}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that the URL of `fetch_url` gives, and the download that it counts for."""

    file: Row[Any]
    send: Row[Any]
    recipient: Row[Any]
    download: int


def fetched(portal: Portal, secret: str) -> Fetched | None:
    """What a URL gives; None once its time is over, or the send is not open."""
    with portal.database.read() as tx:
        granted = tokens.granted(tx, secret, FETCH, now=portal.clock.machine())
        if granted is None:
            return None
        download = tx.execute(
            select(largefile_downloads).where(largefile_downloads.c.id == int(granted.object))
        ).first()
        if download is None:
            return None
        file = tx.execute(select(largefile_files).where(largefile_files.c.id == download.file_id)).one()
        row = tx.execute(select(largefiles).where(largefiles.c.id == file.largefile_id)).one()
        recipient = tx.execute(
            select(largefile_recipients).where(largefile_recipients.c.id == download.recipient_id)
        ).one()
        if status_of(portal, row) != "active" or row.purged is not None:
            return None
        return Fetched(file, row, recipient, int(download.id))


def slice_of(portal: Portal, found: Fetched, start: int, end: int) -> Slice:
    """Octets of it, which count for its download as far as they have gone out."""

    def on_end(taken: int) -> None:
        _count(portal, found, start, start + taken)

    return Slice(portal.home.large_files.path(found.file.id), start, end, on_end)


def _count(portal: Portal, found: Fetched, start: int, end: int) -> None:
    """Note which octets have gone out. Once, when all of them have, the download is complete (portal-rules E.24)."""
    if start == end and found.file.size:
        return
    with portal.write() as tx:
        this = largefile_downloads.c.id == found.download
        before = tx.execute(select(largefile_downloads).where(this)).first()
        if before is None or before.completed is not None:
            return
        covered = merged([*json.loads(before.covered), [start, end]])
        if len(covered) > limits.FETCH_PARTS:
            return  # no download goes so: what is written here would grow with each request
        whole = covered == [[0, found.file.size]]
        now = portal.clock.now()
        values = {"covered": json.dumps(covered), "completed": now if whole else None}
        tx.execute(update(largefile_downloads).where(this).values(values))
        if not whole:
            return
        facts = {"recipient": found.recipient.address, "file": found.file.name}
        act = audit.Act("fetch large file", "done", "largefile", found.send.id, facts)
        audit.record(tx, [act], at=now, caller=None, door="pages")
        if found.send.notify:
            _tell_sender(portal, tx, found, now)
    reached("largefile.counted")


def _tell_sender(portal: Portal, tx: Connection, found: Fetched, now: int) -> None:
    lines = [
        f"{found.recipient.address} has downloaded a file that you sent.",
        "",
        f"File: {visible(found.file.name)}",
        f"Subject: {visible(found.send.subject)}",
        f"When: {told.day(now, portal.settings.time_zone)}",
        "",
        "This message was written automatically; replies to it are not read.",
    ]
    to, subject = found.send.sender, "Large file downloaded"
    compose.queue_written(portal, tx, "download", to=to, subject=subject, lines=lines, automatic="auto-generated")


def merged(parts: Iterable[list[int]]) -> list[list[int]]:
    """Ranges, `[from, to]`, put together where they meet."""
    whole: list[list[int]] = []
    for start, end in sorted(parts):
        if whole and start <= whole[-1][1]:
            whole[-1][1] = max(whole[-1][1], end)
        else:
            whole.append([start, end])
    return whole
