"""What a caller does with the mail in a mailbox: list a folder, search everything, read, fetch octets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Unpack

from mimeportal import limits
from mimeportal.errors import NotOfferedError, UsageError
from mimeportal.holds.hold import checked_id, checked_ids, checked_text, narrowed
from mimeportal.messages.asking import Asking, narrowing, whole
from mimeportal.messages.contract import mailbox as contract
from mimeportal.messages.message import MailboxMessage, MailConditions, MailFilter, Message
from mimeportal.paging import Pages, page_size_of
from mimeportal.transport import no_such
from mimeportal.wire import format_date

_SHOWN = timedelta(days=30)  # of a folder (portal-rules C.1)
_AHEAD = timedelta(minutes=5)  # another machine's clock may be ahead of ours


class Mailbox(Asking):
    """The part of `portal.messages` that is about mailboxes."""

    def list(
        self,
        folder: contract.Folder = "inbox",
        *,
        mailbox: str | None = None,
        filter: MailFilter | None = None,
        page_size: int | None = None,
        **conditions: Unpack[MailConditions],
    ) -> Pages[MailboxMessage]:
        """The messages in a folder (`inbox`, `sent`, `junk`), newest first, lazily; of the last 30 days.

        `since` goes further back. `mailbox` is whose: one's own, an owner's who delegated it, for administrators
        anybody's; an app has none of its own, and takes `MIMEPORTAL_USER`. Conditions may be given as a `MailFilter`
        or by its field names; every one is applied again to every row. Raises `UsageError`, `ForbiddenError` for a
        mailbox that is not the caller's, `NotOfferedError` for junk on Mimecast.
        """
        if folder not in contract.FOLDERS:
            raise UsageError(f"There is no folder {folder!r}.", remedy=f"Use one of: {', '.join(contract.FOLDERS)}.")
        wanted = narrowed(MailFilter, filter, conditions)
        wanted.check()
        whose = self._session.mailbox_of(mailbox)
        if self._session.offers(contract.BROWSE):
            return self._browsed(wanted, page_size, folder=folder, mailbox=whose)
        if folder == "junk":
            raise NotOfferedError(
                "Mimecast tells of no junk folder.",
                why="Its list has the inbox and what was sent.",
                remedy="Search for the message: `mimeportal messages search WORDS`.",
            )
        now = datetime.now(UTC)
        item = contract.ListMailItem(
            view=folder.upper(),
            mailbox=whose,
            start=format_date(wanted.since or now - _SHOWN),
            end=format_date(whole(wanted.until or now + _AHEAD)),
        )

        def read(row: contract.MailRow) -> MailboxMessage:
            return MailboxMessage.from_row(row, folder)

        return self._pages(contract.LIST, item, read, wanted.matches, page_size)

    def search(
        self,
        words: str | None = None,
        *,
        folder: contract.Folder | None = None,
        mailbox: str | None = None,
        everyone: bool = False,
        filter: MailFilter | None = None,
        page_size: int | None = None,
        **conditions: Unpack[MailConditions],
    ) -> Pages[MailboxMessage]:
        """Everything that is kept of a mailbox, or with `everyone` of the account, in which all these words stand.

        Words are looked for in sender, recipients, subject, body and the names of attachments; words in double quotes
        stand one after the other. A local portal gives the best first, Mimecast the newest; without words the newest
        come first. Conditions are those of `list()`, and no time is left out unless they say so; on Mimecast only
        what its rows tell can be looked at again, so the words and the folder cannot. Raises `UsageError`,
        `ForbiddenError`, `NotOfferedError` for a folder on Mimecast.
        """
        if words is not None:
            checked_text("words", words)
            if not words.strip():
                raise UsageError("There is no word to search for.", remedy="Name one, or leave the words out.")
        if folder not in (None, *contract.FOLDERS):
            raise UsageError(f"There is no folder {folder!r}.", remedy=f"Use one of: {', '.join(contract.FOLDERS)}.")
        if everyone and mailbox is not None:
            raise UsageError("Everyone's mail is not that of one mailbox.", remedy="Leave one of them out.")
        wanted = narrowed(MailFilter, filter, conditions)
        wanted.check()
        whose = None if everyone else self._session.mailbox_of(mailbox)
        if self._session.offers(contract.BROWSE):
            return self._browsed(
                wanted, page_size, folder=folder, mailbox=whose, everyone=everyone or None, words=words
            )
        if folder is not None:
            raise NotOfferedError(
                "Mimecast searches no single folder.",
                why="Its search has no condition for it, and its rows tell none.",
                remedy="Search without a folder, or list it.",
            )
        from mimeportal.messages import archive_query

        xml = archive_query.query(
            words,
            mailboxes=[whose] if whose else [],
            sent_from=narrowing(wanted.from_),
            sent_to=narrowing(wanted.to),
            since=wanted.since,
            until=wanted.until,
            page_size=page_size_of(page_size),
        )
        # Without it an app finds nothing, and is not told why (mimecast-api-portal 2.5).
        admin = True if everyone or not self._portal.is_person else None
        item = contract.FindMailItem(admin=admin, query=xml)
        return self._pages(contract.FIND, item, MailboxMessage.from_found, wanted.matches, page_size)

    def lookup(self, ids: Iterable[str]) -> Iterator[MailboxMessage]:
        """The messages with these ids that the caller may see, in any order; others are left out.

        Raises `NotOfferedError` on Mimecast, which tells of no message by its id but all of it.
        """
        self._session.require(contract.BROWSE, "looking up messages by their ids")
        wanted = map(checked_id, checked_ids(ids))
        while chunk := list(islice(wanted, limits.LOCAL_BATCH)):
            answer = self._session.call(contract.BROWSE, [contract.BrowseItem(ids=chunk)], page_size=len(chunk))
            yield from map(MailboxMessage.from_row, answer.rows)

    def get(self, id: str) -> Message:
        """All of one message but its octets: headers, texts, attachments.

        Where the portal does not tell bodies with the headers, they are fetched each by itself. Raises
        `NotFoundError`, `ForbiddenError` for an administrator without the permission to view content.
        """
        item = contract.MailDetailItem(
            id=checked_id(id), context="DELIVERED", admin=None if self._portal.is_person else True
        )
        with no_such("message"):
            detail = self._session.one(contract.DETAIL, item)
        # A portal may tell as text what the HTML says: that is for whoever shows it to do, and to say.
        text, html = detail.text_body if detail.has_text_body else None, detail.html_body
        if self._session.api != "local":
            if text is None and detail.has_text_body:
                text = self._text(id, "PLAIN")
            if html is None and detail.has_html_body:
                html = self._text(id, "HTML")
        return Message.from_row(detail, id=id, text=text, html=html)

    def _text(self, id: str, type: contract.Part) -> str:
        from mimeportal.untrusted import clean

        return clean(b"".join(self.part(id, type)).decode("utf-8", "replace"))

    def part(self, id: str, type: contract.Part) -> Iterator[bytes]:
        """One part of a message as octets, piece by piece: `HTML`, `PLAIN`, `RFC822` (all of it) or
        `TRANSMISSION_MESSAGE_BODY` (all but its headers).

        Raises `NotFoundError` where there is none of the kind.
        """
        if type not in contract.PARTS:
            raise UsageError(f"There is no part {type!r}.", remedy=f"Use one of: {', '.join(contract.PARTS)}.")
        item = contract.PartItem(id=checked_id(id), type=type, context="DELIVERED")
        with no_such("message, or part of it"):
            return self._session.stream(contract.PART, item)

    def raw(self, id: str) -> Iterator[bytes]:
        """The octets of a message, exactly as they are kept, piece by piece. Raises `NotFoundError`."""
        if self._session.api == "api1":  # whose get-file is known to take attachments alone
            return self.part(id, "RFC822")
        return self._file(id, "message")

    def download(self, id: str) -> Iterator[bytes]:
        """The octets of an attachment, by its id, piece by piece. Raises `NotFoundError`."""
        return self._file(id, "attachment")

    def _file(self, id: str, what: str) -> Iterator[bytes]:
        with no_such(what):
            return self._session.stream(contract.FILE, contract.MailFileItem(id=checked_id(id)))

    # -- how a list is asked for -------------------------------------------------------------------------------

    def _browsed(
        self,
        wanted: MailFilter,
        page_size: int | None,
        *,
        folder: str | None = None,
        mailbox: str | None = None,
        everyone: bool | None = None,
        words: str | None = None,
    ) -> Pages[MailboxMessage]:
        item = contract.BrowseItem(
            folder=folder,
            mailbox=mailbox,
            everyone=everyone,
            words=words,
            from_=wanted.from_,
            to=wanted.to,
            subject=wanted.subject,
            start=wanted.since.isoformat() if wanted.since else None,
            end=wanted.until.isoformat() if wanted.until else None,
            attachments=wanted.has_attachments,
            larger_than=wanted.larger_than,
        )

        def matches(row: MailboxMessage) -> bool:
            return (folder is None or row.folder == folder) and wanted.matches(row)

        return self._pages(contract.BROWSE, item, MailboxMessage.from_row, matches, page_size)
