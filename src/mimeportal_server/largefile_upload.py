"""Sending large files: begun, uploaded chunk by chunk, each file checked whole, finished; or paused, cancelled."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from mimeportal import limits
from mimeportal.addresses import parse_address
from mimeportal.errors import UsageError
from mimeportal.largefiles import contract
from mimeportal.patterns import fold
from mimeportal.untrusted import clean, safe_name
from mimeportal_server import largefile_access, people, requested, room
from mimeportal_server.asked import forbidden
from mimeportal_server.largefile_rows import (
    FILE_KIND,
    changed,
    files_of,
    find,
    find_file,
    following,
    record,
    told,
)
from mimeportal_server.largefile_states import ALREADY
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.steps import reached
from mimeportal_server.store.chunked import InUse, Vanished, chunks_of, length_of
from mimeportal_server.store.schema import largefile_files, largefile_recipients, largefiles
from mimeportal_server.store.schema import people as persons

_NOTED_EVERY = 10_000  # milliseconds between two notes of when a chunk came
_NOT_ALLOWED = "err_validation_value_not_allowed"
# field of an item -> its setting, as portal.toml names it
_SETTINGS = {
    "expireAccessAfterDays": "expire_access_after_days",
    "accessKey": "access_key",
    "notifyOnDownload": "notify_on_download",
}


def create(portal: Portal, call: Call) -> Answer:
    """Begin a send; the same request id again answers with what it is by now (promises C.7)."""
    item = contract.CreateItem.model_validate(call.items[0])
    to = recipients_of(item.to)
    _check_text(item.subject, item.body)
    names = _check_files(portal, item.files)
    days, notify = _check_preferences(portal, item)
    size = sum(file.size for file in item.files)
    content = item.model_dump(exclude={"access_key", "request_id"}, mode="json")
    with portal.database.read() as tx:
        _owner(tx, call, item.mailbox)  # before an access key is made a hash of, which costs
    hashed = largefile_access.hashed_key(portal, item.access_key)
    with portal.write(call.caller) as tx:
        owner = _owner(tx, call, item.mailbox)
        before = requested.earlier(tx, call.caller, item.request_id, content)
        if before is not None:
            row = tx.execute(select(largefiles).where(largefiles.c.id == before["largefile"])).one()
            return Answer(told(portal, tx, [row]))
        _take_room(portal, tx, owner, size)
        now = portal.clock.now()
        values = {
            "person_id": owner.id,
            "sender": owner.address,
            "subject": clean(item.subject.strip()),
            "body": clean(item.body),
            "searched": fold("\n".join((item.subject, *names, *to))),
            "state": "uploading",
            "days": days,
            "notify": notify,
            "access_key": hashed,
            "size": size,
            "created": now,
            "touched": now,
        }
        created = tx.execute(insert(largefiles), values).inserted_primary_key
        assert created is not None
        number = int(created[0])
        _make_files(portal, tx, number, [(name, file.size) for name, file in zip(names, item.files, strict=True)])
        tx.execute(insert(largefile_recipients), [{"largefile_id": number, "address": address} for address in to])
        record(portal, tx, call, "begin large files", number, to=to, subject=item.subject, files=names)
        answer = {"largefile": number}
        requested.remember(tx, call.caller, item.request_id, content, answer, now=now)
        reached("largefile.begun")
        row = tx.execute(select(largefiles).where(largefiles.c.id == number)).one()
        rows = told(portal, tx, [row])
    reached("largefile.begun, committed")
    return Answer(rows)


def chunk(portal: Portal, call: Call) -> Answer:
    """Take one chunk: what was taken before may come again, and is the same."""
    item = contract.ChunkItem.model_validate(call.items[0])
    length = crc32 = 0
    for piece in call.body:
        length += len(piece)
        crc32 = zlib.crc32(piece, crc32)
    if crc32 != item.crc32:
        raise Refused("err_largefile_chunk", "This chunk is not what its CRC-32 says.", field="crc32", retryable=True)
    number = portal.sealer.number(FILE_KIND, item.file)
    try:
        with portal.home.large_files.writing(number) as writing:
            # Under its lock: while a chunk is written the file cannot be taken for whole.
            with portal.database.read() as tx:
                file, row = find_file(portal, tx, call.caller, item.file)
            following(portal, row, "upload")
            if not 0 <= item.index < chunks_of(file.size) or length != length_of(file.size, item.index):
                sentence = f"Chunk {item.index} of this file has another length, or there is none."
                raise Refused(_NOT_ALLOWED, sentence, field="index")
            writing.put(item.index, call.body, crc32)
    except Vanished:
        raise _not_uploaded(portal, call, item.file) from None
    except InUse:
        with portal.database.read() as tx:
            find_file(portal, tx, call.caller, item.file)  # what is not the caller's is not there either
        raise _in_use() from None
    now = portal.clock.now()
    if row.state != "uploading" or now - row.touched > _NOTED_EVERY:
        with portal.write() as tx:
            going_on = (largefiles.c.id == row.id) & largefiles.c.state.in_(("uploading", "paused"))
            tx.execute(update(largefiles).where(going_on).values(state="uploading", touched=now))
    return Answer([{"file": item.file, "index": item.index}])


def missing(portal: Portal, call: Call) -> Answer:
    """Which chunks of a file have not arrived."""
    item = contract.UploadItem.model_validate(call.items[0])
    with portal.database.read() as tx:
        file, row = find_file(portal, tx, call.caller, item.file)
    if file.sha256:
        return Answer([{"file": item.file, "missing": [], "checked": True}])
    following(portal, row, "upload")
    try:
        gaps = portal.home.large_files.missing(file.id, file.size)
    except Vanished:
        raise _not_uploaded(portal, call, item.file) from None
    return Answer([{"file": item.file, "missing": [list(gap) for gap in gaps], "checked": False}])


def check(portal: Portal, call: Call) -> Answer:
    """Compare a whole file with its SHA-256; from then on no chunk of it is taken."""
    item = contract.CheckItem.model_validate(call.items[0])
    wanted = item.sha256.lower()
    with portal.database.read() as tx:
        file, row = find_file(portal, tx, call.caller, item.file)
    if not file.sha256:
        following(portal, row, "upload")
        try:
            with portal.home.large_files.checking(file.id, file.size) as checking:
                if portal.home.large_files.missing(file.id, file.size):
                    raise Refused("err_largefile_incomplete", "Not all of this file has arrived.", field="file")
                if checking.sha256() != wanted:
                    wrong = checking.forget_wrong()
                    raise _other_file(wrong)
                with portal.write(call.caller) as tx:
                    file, row = find_file(portal, tx, call.caller, item.file)
                    following(portal, row, "upload")
                    tx.execute(update(largefile_files).where(largefile_files.c.id == file.id).values(sha256=wanted))
                    touched = {"state": "uploading", "touched": portal.clock.now()}
                    tx.execute(update(largefiles).where(largefiles.c.id == row.id).values(touched))
                reached("largefile.checked")
                checking.seal()
        except Vanished:
            raise _not_uploaded(portal, call, item.file) from None
        except InUse:
            raise _in_use() from None
    elif file.sha256 != wanted:
        raise _other_file(0)
    return Answer([{"id": item.file, "name": file.name, "size": file.size, "sha256": wanted}])


def finish(portal: Portal, call: Call) -> Answer:
    """All files are there: scan them, or open them to their recipients at once."""
    item = contract.LargeFileItem.model_validate(call.items[0])
    with portal.write(call.caller) as tx:
        row = find(portal, tx, call.caller, item.id)
        then = following(portal, row, "finish")
        if then == ALREADY:
            return changed(portal, tx, row.id, ALREADY)
        incomplete = [file.name for file in files_of(tx, row.id) if not file.sha256]
        if incomplete:
            sentence = f"{len(incomplete)} of its files have not arrived, or were not checked."
            raise Refused("err_largefile_incomplete", sentence, field="id")
        record(portal, tx, call, "finish large files", row.id)
        if then == "scanning":
            tx.execute(update(largefiles).where(largefiles.c.id == row.id).values(state=then))
        else:
            largefile_access.open_up(portal, tx, row)
        reached("largefile.finished")
        answer = changed(portal, tx, row.id)
    reached("largefile.finished, committed")
    return answer


def pause(portal: Portal, call: Call) -> Answer:
    """Say that no more chunks come for now."""
    item = contract.LargeFileItem.model_validate(call.items[0])
    with portal.write(call.caller) as tx:
        row = find(portal, tx, call.caller, item.id)
        if following(portal, row, "pause") == ALREADY:
            return changed(portal, tx, row.id, ALREADY)
        now = portal.clock.now()
        tx.execute(update(largefiles).where(largefiles.c.id == row.id).values(state="paused", touched=now))
        record(portal, tx, call, "pause large files", row.id)
        return changed(portal, tx, row.id)


def cancel(portal: Portal, call: Call) -> Answer:
    """End an upload that is not complete, and let go of what has arrived."""
    item = contract.LargeFileItem.model_validate(call.items[0])
    with portal.write(call.caller) as tx:
        row = find(portal, tx, call.caller, item.id)
        if following(portal, row, "cancel") == ALREADY:
            return changed(portal, tx, row.id, ALREADY)
        numbers = let_go(portal, tx, row, "cancelled")
        record(portal, tx, call, "cancel large files", row.id)
        answer = changed(portal, tx, row.id)
    reached("largefile.cancelled")
    # Octets go only after the commit that says so: what a kill leaves, a sweep removes.
    for number in numbers:
        portal.home.large_files.delete(number)
    return answer


def restart(portal: Portal, call: Call, item: contract.ResubmitItem) -> Answer:
    """Upload a send that failed anew, for the same recipients: same message, same names and sizes."""
    content = {"resubmit": item.id}
    with portal.write(call.caller) as tx:
        row = find(portal, tx, call.caller, item.id)
        if requested.earlier(tx, call.caller, item.request_id, content) is not None:
            return changed(portal, tx, row.id, ALREADY)
        following(portal, row, "restart")
        if row.purged is None:  # it failed by time alone, and no sweep has come by yet
            let_go(portal, tx, row, "failed")
        owner = tx.execute(select(persons).where(persons.c.id == row.person_id)).one()
        _take_room(portal, tx, owner, row.size)
        for file in files_of(tx, row.id):
            portal.home.large_files.create(file.id, file.size)
        tx.execute(update(largefile_files).where(largefile_files.c.largefile_id == row.id).values(sha256=""))
        now = portal.clock.now()
        anew = {"state": "uploading", "touched": now, "reason": "", "purge_marked": None, "purged": None}
        tx.execute(update(largefiles).where(largefiles.c.id == row.id).values(anew))
        requested.remember(tx, call.caller, item.request_id, content, {"largefile": row.id}, now=now)
        record(portal, tx, call, "upload large files anew", row.id)
        return changed(portal, tx, row.id)


def let_go(portal: Portal, tx: Connection, row: Row[Any], state: str, reason: str = "") -> list[int]:
    """Note that the octets of a send go, and give back their room; the files that are deleted after the commit."""
    values = {"state": state, "reason": reason, "purged": portal.clock.now()}
    tx.execute(update(largefiles).where(largefiles.c.id == row.id).values(values))
    room.give_back(tx, row.person_id, row.size)
    return [int(file.id) for file in files_of(tx, row.id)]


# -- what is refused before anything is taken -------------------------------------------------------------


def _owner(tx: Connection, call: Call, mailbox: str | None) -> Row[Any]:
    owner = people.owner_of(tx, call.caller, mailbox)
    if owner is None or owner.disabled:
        raise forbidden()
    return owner


def recipients_of(given: Sequence[str]) -> list[str]:
    try:
        to = list(dict.fromkeys(parse_address(address) for address in given))
    except UsageError as fault:
        raise Refused("err_validation_invalid_email_address", fault.what, field="to") from None
    if not 1 <= len(to) <= limits.LARGE_FILE_RECIPIENTS:
        sentence = f"`to` holds 1 to {limits.LARGE_FILE_RECIPIENTS} addresses, not {len(to)}."
        raise Refused("err_validation_count", sentence, field="to")
    return to


def _check_text(subject: str, body: str) -> None:
    if not subject.strip() or len(subject) > limits.SUBJECT or "\n" in subject or "\r" in subject:
        sentence = f"A subject has 1 to {limits.SUBJECT} characters on one line."
        raise Refused(_NOT_ALLOWED, sentence, field="subject")
    if len(body) > limits.LARGE_FILE_TEXT:
        raise Refused(_NOT_ALLOWED, f"A text has at most {limits.LARGE_FILE_TEXT} characters.", field="body")


def _check_files(portal: Portal, files: Sequence[contract.FileItem]) -> list[str]:
    """The names under which the files are kept. Raises `Refused`."""
    if not 1 <= len(files) <= limits.LARGE_FILES:
        sentence = f"A send has 1 to {limits.LARGE_FILES} files, not {len(files)}."
        raise Refused("err_validation_count", sentence, field="files")
    most = portal.settings.limits["large_file"]
    for file in files:
        if not 0 <= file.size <= most:
            sentence = f"A file has at most {most} octets, and {safe_name(file.name)} has {file.size}."
            raise Refused("err_largefile_too_large", sentence, field="files")
        if not 0 < len(file.name) <= limits.LARGE_FILE_NAME:
            raise Refused(_NOT_ALLOWED, f"A name has 1 to {limits.LARGE_FILE_NAME} characters.", field="files")
    return [safe_name(file.name) for file in files]


def _check_preferences(portal: Portal, item: contract.CreateItem) -> tuple[int, bool]:
    """Days of access, and whether downloads are told of. Raises `Refused` for what the administrator enforces."""
    chosen = portal.settings.large_files
    days, notify = item.expire_access_after_days, item.notify_on_download
    given = {
        "expireAccessAfterDays": None if days in (None, chosen.expire_access_after_days) else f"{days}",
        "accessKey": None if bool(item.access_key) == chosen.access_key else "set" if item.access_key else "not set",
        "notifyOnDownload": None if notify in (None, chosen.notify_on_download) else str(notify).lower(),
    }
    for field, value in given.items():
        setting = _SETTINGS[field]
        if value is not None and setting in chosen.enforced:
            stands = str(getattr(chosen, setting)).lower()
            sentence = f"largefiles.{setting} of this portal is enforced: it is {stands}, and cannot be {value}."
            raise Refused("err_largefile_enforced", sentence, field=field)
    if days is not None and not 1 <= days <= limits.LARGE_FILE_DAYS:
        sentence = f"Access lasts 1 to {limits.LARGE_FILE_DAYS} days, not {days}."
        raise Refused(_NOT_ALLOWED, sentence, field="expireAccessAfterDays")
    return days or chosen.expire_access_after_days, chosen.notify_on_download if notify is None else notify


def _take_room(portal: Portal, tx: Connection, owner: Row[Any], size: int) -> None:
    """Count a send against its owner's quota and the disk. Raises `Refused` where there is no room."""
    room.take(portal, tx, owner.id, size)
    # What other uploads have yet to bring is as good as taken.
    pending = tx.execute(
        select(largefile_files.c.id, largefile_files.c.size)
        .join(largefiles, largefiles.c.id == largefile_files.c.largefile_id)
        .where(largefiles.c.state.in_(("uploading", "paused")), largefile_files.c.sha256 == "")
    )
    to_come = sum(file.size - portal.home.large_files.arrived(file.id, file.size) for file in pending)
    portal.home.refuse_if_full(size + to_come)


def _make_files(portal: Portal, tx: Connection, number: int, files: Sequence[tuple[str, int]]) -> None:
    last = tx.scalar(select(func.max(largefile_files.c.id))) or 0
    rows = [
        {"id": last + position, "largefile_id": number, "position": position, "name": name, "size": size}
        for position, (name, size) in enumerate(files, 1)
    ]
    for row in rows:
        portal.home.large_files.create(row["id"], row["size"])  # type: ignore[arg-type]
    tx.execute(insert(largefile_files), rows)


def _other_file(wrong: int) -> Refused:
    if wrong:
        sentence = f"{wrong} chunks were damaged after they had arrived: send them once more."
        return Refused("err_largefile_incomplete", sentence, field="file")
    sentence = "What has arrived is another file than the one with this SHA-256: it was changed while it was sent."
    return Refused("err_largefile_changed", sentence, field="sha256")


def _not_uploaded(portal: Portal, call: Call, id: str) -> Refused:
    """Why a file takes no chunks any more. Raises what tells more of it, or that it is not the caller's."""
    with portal.database.read() as tx:
        _, row = find_file(portal, tx, call.caller, id)
    following(portal, row, "upload")
    return Refused("err_largefile_status", "This file has arrived whole, and was checked.", field="file")


def _in_use() -> Refused:
    return Refused("err_portal_busy", "This file is being checked.", status=503, retryable=True)
