"""What a caller does with large files: send, take up, list, look, extend, expire, send on, cancel, fetch."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimeportal import limits
from mimeportal.addresses import parse_address
from mimeportal.errors import NotFoundError, UsageError
from mimeportal.holds.hold import check_moment, checked_id, checked_text
from mimeportal.largefiles import contract
from mimeportal.largefiles.contract import ExtendItem, FindItem, LargeFileItem, ResubmitItem
from mimeportal.largefiles.largefile import LargeFile, LargeFilePreferences, SentFile, from_row, preferences_of
from mimeportal.largefiles.uploading import LocalFile, OnProgress, Upload, generated_key, named
from mimeportal.paging import PageOf, Pages, page_size_of
from mimeportal.patterns import TextPattern
from mimeportal.wire import format_date

if TYPE_CHECKING:
    from mimeportal.portal import Portal

Paths = Sequence[str | os.PathLike[str]]
_DOING = "sending and managing large files"


class LargefilesClient:
    """`portal.largefiles`. Mimecast publishes no API for it: there every method raises `NotOfferedError`.

    What takes an id raises `UsageError` for what is no id, and `NotFoundError` for a send that is not there or not the
    caller's.
    """

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._session = portal.session

    def preferences(self) -> LargeFilePreferences:
        """The administrator's defaults, what of them is enforced, and the limits of a send."""
        self._session.require(contract.PREFERENCES, _DOING)
        answer = self._session.call(contract.PREFERENCES)
        return preferences_of(answer.rows[0])

    # -- sending -----------------------------------------------------------------------------------------

    def send(
        self,
        files: Paths,
        *,
        to: Iterable[str],
        subject: str,
        body: str = "",
        expire_after: int | None = None,
        access_key: str | bool | None = None,
        notify_on_download: bool | None = None,
        mailbox: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> LargeFile:
        """Send files, and return once their recipients are being mailed. Arguments and errors as of `upload`."""
        upload = self.upload(
            files, to=to, subject=subject, body=body, expire_after=expire_after, access_key=access_key,
            notify_on_download=notify_on_download, mailbox=mailbox,
        )  # fmt: skip
        return upload.run(on_progress)

    def upload(
        self,
        files: Paths,
        *,
        to: Iterable[str],
        subject: str,
        body: str = "",
        expire_after: int | None = None,
        access_key: str | bool | None = None,
        notify_on_download: bool | None = None,
        mailbox: str | None = None,
    ) -> Upload:
        """A send that is checked and ready; nothing of it is sent before its `run()`.

        files         up to 100, of at most 2 GiB each (portal-rules E.3, E.4)
        expire_after  days for which recipients have access, 1 to 90
        access_key    what recipients are asked for, 8 to 128 characters without blanks around them; True makes one,
                      False is none
        mailbox       whose send it is, where that is not the caller

        What is None is as the administrator set it. Raises `UsageError` for what is over a limit or contradicts an
        enforced setting, and `NotOfferedError` on Mimecast.
        """
        self._session.require(contract.CREATE, _DOING)
        local = named(files)
        for file in local:
            _check_size(file, limits.LARGE_FILE)
        recipients = _addresses(to)
        checked_text("subject", subject)
        checked_text("body", body)
        if not subject.strip() or len(subject) > limits.SUBJECT or len(subject.splitlines()) > 1:
            raise UsageError("A subject is missing, too long, or has several lines.", remedy="Write it on one line.")
        if len(body) > limits.LARGE_FILE_TEXT:
            raise UsageError(f"The text is longer than {limits.LARGE_FILE_TEXT} characters.", remedy="Shorten it.")
        whose = self._session.mailbox_of(mailbox)
        chosen = self.preferences()
        for file in local:
            _check_size(file, chosen.most_octets)
        key = _key(access_key, chosen)
        _check_enforced(
            chosen, expire_access_after_days=expire_after, notify_on_download=notify_on_download,
            access_key=None if access_key is None else key is not None,
        )  # fmt: skip
        if expire_after is not None and not 1 <= expire_after <= chosen.most_days:
            raise UsageError(f"Access lasts 1 to {chosen.most_days} days, not {expire_after}; nothing was sent.")
        wanted = {
            "mailbox": whose,
            "to": recipients,
            "subject": subject,
            "body": body,
            "expire_access_after_days": expire_after,
            "access_key": key,
            "notify_on_download": notify_on_download,
        }
        kept = {name: value for name, value in wanted.items() if value is not None}
        return Upload(self._session, local, kept, secrets.token_hex(16))

    def resume(self, upload: str | Mapping[str, Any], files: Paths | None = None) -> Upload:
        """An upload that was interrupted, by its handle; or by its id, with its `files` in the same order.

        A send that has failed is uploaded anew. Nothing is sent before its `run()`. Raises `UsageError`.
        """
        self._session.require(contract.SHOW, _DOING)
        if not isinstance(upload, str):
            taken = Upload.of(self._session, upload)
            if files is not None:
                taken.files = named(files)
            return taken
        if files is None:
            raise UsageError(
                "Where are the files of this send? This machine did not begin it.", remedy="Name them, in their order."
            )
        return Upload(self._session, named(files), {}, id=checked_id(upload))

    # -- managing ----------------------------------------------------------------------------------------

    def list(
        self,
        *,
        status: contract.Status | None = None,
        search: str | None = None,
        mailbox: str | None = None,
        page_size: int | None = None,
    ) -> Pages[LargeFile]:
        """Sends, newest first. `search` is a substring, or a glob with `*`, of the subject, a name or a recipient.

        `mailbox` is whose, where that is not the caller. Raises `UsageError`, `ForbiddenError` for a mailbox that is
        not the caller's to use.
        """
        self._session.require(contract.FIND, _DOING)
        if status is not None and status not in contract.STATUSES:
            raise UsageError(f"There is no status {status!r}.", remedy=f"Use one of: {', '.join(contract.STATUSES)}.")
        if search is not None:
            checked_text("search", search)
        item = FindItem(mailbox=self._session.mailbox_of(mailbox), status=status, search=search)
        pattern = TextPattern.parse(search) if search else None
        size = limits.DEFAULT_PAGE_SIZE if page_size is None else page_size_of(page_size)

        def fetch(token: str | None) -> PageOf[LargeFile]:
            answer = self._session.call(contract.FIND, [item], page_size=size, page_token=token)
            found = [from_row(row) for row in answer.rows]
            rows = [
                large
                for large in found
                if (status is None or large.status == status)
                and (pattern is None or any(map(pattern.matches, (large.subject, *large.files, *large.to))))
            ]
            page = answer.page
            return PageOf(rows, page.total_count if page else None, page.next if page else None)

        return Pages(fetch)

    def get(self, id: str) -> LargeFile:
        """One send with its text, files and recipients, and how often each downloaded what."""
        self._session.require(contract.SHOW, _DOING)
        return from_row(self._session.one(contract.SHOW, LargeFileItem(id=checked_id(id))))

    def extend(self, id: str, *, until: datetime) -> LargeFile:
        """Set another end of access, of a send that is active or expired; at the latest 90 days after it was sent.

        Raises `UsageError` for a time without a zone, `ApiError` naming the latest time that is allowed, or the status
        that does not allow it (portal-rules E.14, E.19).
        """
        self._session.require(contract.EXTEND, _DOING)
        check_moment("until", until)
        return from_row(self._session.one(contract.EXTEND, ExtendItem(id=checked_id(id), until=format_date(until))))

    def expire(self, id: str) -> LargeFile:
        """End the access now. Raises `ApiError` naming the status of a send that was not sent."""
        self._session.require(contract.EXPIRE, _DOING)
        return from_row(self._session.one(contract.EXPIRE, LargeFileItem(id=checked_id(id))))

    def resubmit(self, id: str, *, to: Iterable[str]) -> LargeFile:
        """Send what was sent to these recipients too; expired, it is open again for as many days as at first.

        Raises `UsageError` for what is no address, `ApiError` naming the status of a send that was not sent.
        """
        self._session.require(contract.RESUBMIT, _DOING)
        item = ResubmitItem(id=checked_id(id), request_id=secrets.token_hex(16), to=_addresses(to))
        return from_row(self._session.one(contract.RESUBMIT, item))

    def cancel(self, id: str) -> LargeFile:
        """End an upload that is not complete, whichever process it is of. Raises `ApiError` for one that is."""
        self._session.require(contract.CANCEL, _DOING)
        return from_row(self._session.one(contract.CANCEL, LargeFileItem(id=checked_id(id))))

    # -- fetching ----------------------------------------------------------------------------------------

    def download(
        self, id: str, target: str | os.PathLike[str], *, file: str | None = None, on_progress: OnProgress | None = None
    ) -> Path:
        """Write one file of one's own send to `target`; `file` is its id or name, where there are several.

        It appears whole or not at all, and a download that was interrupted goes on where it stopped. `on_progress` is
        called as octets arrive. Raises `NotFoundError`, `UsageError` where several files are meant or the target is in
        the way, `LostAnswerError` where it breaks off.
        """
        from mimeportal.largefiles import downloading

        path = Path(target)
        downloading.download(self._session, _the_one(self.get(id), file), path, on_progress=on_progress)
        return path


def _the_one(large: LargeFile, file: str | None) -> SentFile:
    found = [entry for entry in large.attachments if file is None or file in (entry.id, entry.name)]
    if not found:
        raise NotFoundError(f"This send has no file {file!r}.", remedy=f"It has: {', '.join(large.files)}.")
    if len(found) > 1:
        raise UsageError(f"{len(found)} files of this send are meant.", remedy="Name one of them by its id.")
    if not found[0].sha256:
        raise UsageError(f"{found[0].name} has not arrived whole.", remedy="Fetch it once the send is complete.")
    return found[0]


def _check_size(file: LocalFile, most: int) -> None:
    if file.size > most:
        raise UsageError(
            f"{file.path} has {file.size:,} octets, more than the {most:,} that one file may have; nothing was sent.",
            remedy="Split it, or send it another way.",
        )


def _addresses(to: Iterable[str]) -> Sequence[str]:
    if isinstance(to, str):
        raise UsageError(f"to takes several addresses, not {to!r}.", remedy="Put it in a list: [address].")
    for address in to:
        checked_text("An address", address)
    found = [*dict.fromkeys(parse_address(address) for address in to)]
    if not 1 <= len(found) <= limits.LARGE_FILE_RECIPIENTS:
        raise UsageError(
            f"A send has 1 to {limits.LARGE_FILE_RECIPIENTS} recipients, not {len(found)}; nothing was sent."
        )
    return found


def _key(asked: str | bool | None, chosen: LargeFilePreferences) -> str | None:
    if asked is True or (asked is None and chosen.access_key):
        return generated_key()
    if not asked:
        return None
    checked_text("access_key", asked)
    asked = asked.strip()  # as the page takes what is typed there
    if not limits.ACCESS_KEY_SHORTEST <= len(asked) <= limits.ACCESS_KEY_LONGEST:
        raise UsageError(
            f"An access key has {limits.ACCESS_KEY_SHORTEST} to {limits.ACCESS_KEY_LONGEST} characters; "
            "nothing was sent."
        )
    return asked


def _check_enforced(chosen: LargeFilePreferences, **given: object) -> None:
    for name, value in given.items():
        stands = getattr(chosen, name)
        if value is not None and value != stands and name in chosen.enforced:
            raise UsageError(
                f"largefiles.{name} of this portal is enforced: it is {str(stands).lower()}, "
                f"and cannot be {str(value).lower()}.",
                why="An administrator set it in portal.toml; nothing was sent.",
                remedy="Leave it out.",
            )
