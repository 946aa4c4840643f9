"""Large File Send, the manager: what was sent, how long it is open, to whom else, and one's own files back."""

from __future__ import annotations

from sqlalchemy import select, update

from mimeportal import limits
from mimeportal.largefiles import contract
from mimeportal.untrusted import safe_name
from mimeportal.wire import format_date
from mimeportal_server import largefile_access, largefile_upload, people, ranges
from mimeportal_server.asked import date_given, forbidden
from mimeportal_server.clock import milliseconds, moment
from mimeportal_server.largefile_rows import (
    changed,
    facts,
    find,
    find_file,
    following,
    has_status,
    record,
    require_content,
    status_of,
    told,
)
from mimeportal_server.largefile_states import ALREADY, gone, kept_until
from mimeportal_server.listing import Keyset, may_match
from mimeportal_server.portal import Answer, Call, Portal, Refused
from mimeportal_server.store.chunked import Slice
from mimeportal_server.store.schema import largefiles


def preferences(portal: Portal, _: Call) -> Answer:
    """The defaults of a send, what of them is enforced, and its limits."""
    chosen = portal.settings.large_files
    return Answer(
        [
            {
                "expireAccessAfterDays": chosen.expire_access_after_days,
                "accessKey": chosen.access_key,
                "notifyOnDownload": chosen.notify_on_download,
                "enforced": list(chosen.enforced),
                "mostDays": limits.LARGE_FILE_DAYS,
                "mostFiles": limits.LARGE_FILES,
                "mostOctets": portal.settings.limits["large_file"],
                "mostRecipients": limits.LARGE_FILE_RECIPIENTS,
                "chunk": limits.CHUNK,
            }
        ]
    )


def list_(portal: Portal, call: Call) -> Answer:
    """The sends of one mailbox, newest first. Narrows as far as the database can; the client filters."""
    item = contract.FindItem.model_validate(call.items[0] if call.items else {})
    with portal.database.read() as tx:
        owner = people.owner_of(tx, call.caller, item.mailbox)
        if owner is None:
            raise forbidden()
        conditions = [largefiles.c.person_id == owner.id]
        if item.status is not None:
            if item.status not in contract.STATUSES:
                known = ",".join(contract.STATUSES)
                raise Refused("err_validation_value_not_allowed", f"Field must be one of [{known}]", field="status")
            conditions.append(has_status(portal, item.status))
        if item.search is not None:
            if len(item.search) > limits.PATTERN:
                raise Refused("err_validation_value_not_allowed", "The text is too long.", field="search")
            conditions.append(may_match(item.search, largefiles.c.searched, folded=True))
        rows, block = Keyset(portal, call, "largefiles.list", largefiles.c.id).fetch(
            tx, select(largefiles).where(*conditions)
        )
        return Answer(told(portal, tx, rows), page=block)


def show(portal: Portal, call: Call) -> Answer:
    """One send with its text, its files, and what each recipient has downloaded."""
    item = contract.LargeFileItem.model_validate(call.items[0])
    with portal.database.read() as tx:
        return Answer(told(portal, tx, [find(portal, tx, call.caller, item.id)], whole=True))


def extend(portal: Portal, call: Call) -> Answer:
    """Set another end of access, of a send that is open or expired; not beyond what it is kept for (portal-rules E)."""
    item = contract.ExtendItem.model_validate(call.items[0])
    until = milliseconds(date_given(item.until, "until"))
    now = portal.clock.steady()
    with portal.write(call.caller) as tx:
        row = find(portal, tx, call.caller, item.id)
        following(portal, row, "extend")
        latest = kept_until(facts(row)) or 0
        if gone(facts(row), now) or row.purged is not None:
            sentence = f"Its files were kept until {format_date(moment(latest))}: nothing is left to be opened."
            raise Refused("err_largefile_gone", sentence, field="id")
        if until > latest:
            sentence = f"Its files are kept until {format_date(moment(latest))}, which is the latest allowed date."
            raise Refused("err_largefile_too_late", sentence, field="until")
        if until <= now:
            raise Refused("err_validation_value_not_allowed", "The end of access lies in the past.", field="until")
        if until == row.expires:
            return changed(portal, tx, row.id, ALREADY)
        tx.execute(update(largefiles).where(largefiles.c.id == row.id).values(expires=until, purge_marked=None))
        record(portal, tx, call, "extend large files", row.id)
        return changed(portal, tx, row.id)


def expire(portal: Portal, call: Call) -> Answer:
    """End the access to a send now; downloads under way end as they would."""
    item = contract.LargeFileItem.model_validate(call.items[0])
    with portal.write(call.caller) as tx:
        row = find(portal, tx, call.caller, item.id)
        if following(portal, row, "expire") == ALREADY:
            return changed(portal, tx, row.id, ALREADY)
        tx.execute(update(largefiles).where(largefiles.c.id == row.id).values(expires=portal.clock.steady()))
        record(portal, tx, call, "expire large files", row.id)
        return changed(portal, tx, row.id)


def resubmit(portal: Portal, call: Call) -> Answer:
    """A send that failed is uploaded anew; one that was sent goes to more recipients, open again if it expired."""
    item = contract.ResubmitItem.model_validate(call.items[0])
    if item.to:
        return largefile_access.share(portal, call, item)
    with portal.database.read() as tx:
        row = find(portal, tx, call.caller, item.id)
        if status_of(portal, row) in ("active", "expired"):
            sentence = "This send has reached its recipients: name others, with `to`, to send it to them too."
            raise Refused("err_validation_null", sentence, field="to")
    return largefile_upload.restart(portal, call, item)


def octets(portal: Portal, call: Call) -> Answer:
    """One file back, or a part of it, for its owner; for administrators who may see content."""
    item = contract.OctetsItem.model_validate(call.items[0])
    with portal.database.read() as tx:
        file, row = find_file(portal, tx, call.caller, item.file)
    require_content(call.caller, row)
    if not file.sha256 or row.purged is not None:
        raise Refused("err_largefile_status", "This file is not there, or not yet all of it.", field="file")
    with portal.write() as tx:
        record(portal, tx, call, "download large files", row.id)
    part = ranges.asked(call.request.headers, file.size, file.sha256)
    path = portal.home.large_files.path(file.id)
    return Answer(
        body=Slice(path, part.start, part.end),
        filename=safe_name(file.name),
        status=part.status,
        headers=part.headers,
    )


OPERATIONS = {
    "largefiles.preferences": preferences,
    "largefiles.create": largefile_upload.create,
    "largefiles.chunk": largefile_upload.chunk,
    "largefiles.missing": largefile_upload.missing,
    "largefiles.check": largefile_upload.check,
    "largefiles.finish": largefile_upload.finish,
    "largefiles.pause": largefile_upload.pause,
    "largefiles.cancel": largefile_upload.cancel,
    "largefiles.list": list_,
    "largefiles.show": show,
    "largefiles.extend": extend,
    "largefiles.expire": expire,
    "largefiles.resubmit": resubmit,
    "largefiles.octets": octets,
}
