"""The pages of secure messages: folders, a message and what its reader may do with it (portal-rules F.5)."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from itertools import groupby

from mimeportal.secure import contract
from mimeportal.wire import Response, format_date
from mimeportal_server.portal import Refused
from mimeportal_server.web import showing
from mimeportal_server.web.route import Route
from mimeportal_server.web.visit import Answered, Visit

INBOX = "/secure/inbox"
_TITLES = {"inbox": "Inbox", "sent": "Sent Items", "deleted": "Deleted Items"}
_PAGE = 50  # messages of one page of a folder
# What a page says after an act that led to it.
_DONE = {
    "sent": "Your message was sent.",
    "deleted": "The message was moved to Deleted Items.",
    "restored": "The message was moved back.",
    "unread": "The message is marked as unread.",
    "read": "The message is marked as read.",
}


def _folder(visit: Visit) -> Response:
    """One folder, newest first; the Inbox as far back as the account shows it, what is older by search (F.17)."""
    folder = visit.route.path.rpartition("/")[2] if visit.route else ""
    times = showing.times(visit)
    asked = {name: visit.query.get(name).strip() for name in ("q", "since", "until", "unread")}
    error, status = "", 200
    found: Answered[contract.SecureRow] = Answered([])
    try:
        item = contract.ListItem(
            folder=folder,
            search=asked["q"] or None,
            start=_day(times, asked["since"]),
            end=_day(times, asked["until"], after=1),
            unread=True if asked["unread"] else None,
        )
        found = visit.ask(contract.LIST, item, size=_PAGE, page=visit.query.get("page") or None)
    except Refused as refusal:
        if refusal.failure.field not in ("search", "date"):
            raise
        error, status = str(refusal), refusal.status
    groups = [(name, list(rows)) for name, rows in groupby(found.rows, lambda row: times.group(row.date))]
    return visit.page(
        "secure_folder.html",
        status,
        folder=folder,
        error=error,
        title=_TITLES[folder],
        titles=_TITLES,
        groups=groups,
        times=times,
        asked=asked,
        searched=any(asked.values()),
        found=found.page,
        done=_DONE.get(visit.query.get("done"), ""),
        offers=visit.ask(contract.SETTINGS, contract.SettingsItem()).row,
    )


def _day(times: showing.Times, text: str, *, after: int = 0) -> str | None:
    """The start of a day that a date field names, or of one some days after it. Raises `Refused`."""
    if not text:
        return None
    try:
        day = datetime.combine(datetime.fromisoformat(text).date() + timedelta(days=after), time(), times.now.tzinfo)
        return format_date(day)
    except (ValueError, OverflowError):
        raise Refused("err_date", "Write dates as 2026-11-03.", status=400, field="date") from None


def _message(visit: Visit) -> Response:
    """A message; opening it marks it as read (promises E.2)."""
    message = visit.ask(contract.SHOW, contract.MessageItem(id=visit.parameters["id"])).row
    visit.acted = True  # a receipt may wait to leave
    return visit.page(
        "secure_message.html",
        message=message,
        times=showing.times(visit),
        folder=message.folder,
        titles=_TITLES,
        images=_images(visit),
        load=visit.own_link("images", message.id),
        asks_for_images=showing.asks_for_images(message),
        height=showing.height(message),
        done=_DONE.get(visit.query.get("done"), ""),
        offers=visit.ask(contract.SETTINGS, contract.SettingsItem()).row,
    )


def _body(visit: Visit) -> Response:
    """The body of a message, for the frame in its page: opened by the same act as that."""
    visit.continue_act(visit.query.get("of"))
    message = visit.ask(contract.SHOW, contract.MessageItem(id=visit.parameters["id"])).row
    images = _images(visit)
    return visit.body(showing.body(message, remote_images=images), remote_images=images)


def _images(visit: Visit) -> bool:
    """Whether the reader asked for the images that others keep: on the page itself, by no link in a mail."""
    return visit.query.get("images") == visit.own_link("images", visit.parameters["id"])


def _still(visit: Visit) -> Response:
    """Whether a message that a page shows may still be read: asked by its script, and no opening of it."""
    item = contract.ListItem(ids=[visit.parameters["id"]])
    rows = visit.ask(contract.LIST, item).rows
    if not rows:
        raise Refused("not_found", "There is no such message.", status=404)
    if not rows[0].may.read:
        raise Refused("recalled", "This message can no longer be read.", status=410)
    return visit.json({"still": True})


def _print(visit: Visit) -> Response:
    """A message for paper, where its sender lets it be printed."""
    message = visit.ask(contract.PRINT, contract.MessageItem(id=visit.parameters["id"])).row
    html = showing.body(message, remote_images=False)
    return visit.printed("secure_print.html", html, message=message, times=showing.times(visit))


def _file(visit: Visit) -> Response:
    return visit.file(contract.FILE, contract.FileItem(id=visit.parameters["id"]))


def _mark(visit: Visit) -> Response:
    read = visit.form.get("as") == "read"
    visit.ask(contract.MARK, contract.MarkItem(id=visit.parameters["id"], read=read))
    # What was marked as unread is left: shown again it would be read.
    return visit.go(f"/secure/{_known(visit.form.get('folder'))}?done={'read' if read else 'unread'}")


def _confirm_delete(visit: Visit) -> Response:
    """The question before a message is deleted (portal-rules F.18)."""
    item = contract.ListItem(ids=[visit.parameters["id"]])
    rows = [row for row in visit.ask(contract.LIST, item).rows if row.may.delete]
    if not rows:
        raise Refused("not_found", "There is no such message that you could delete.", status=404)
    offers = visit.ask(contract.SETTINGS, contract.SettingsItem()).row
    return visit.page("secure_delete.html", message=rows[0], folder=rows[0].folder, titles=_TITLES, offers=offers)


def _delete(visit: Visit) -> Response:
    visit.ask(contract.DELETE, contract.MessageItem(id=visit.parameters["id"]))
    return visit.go(f"/secure/{_known(visit.form.get('folder'))}?done=deleted")


def _restore(visit: Visit) -> Response:
    visit.ask(contract.RESTORE, contract.MessageItem(id=visit.parameters["id"]))
    return visit.go("/secure/deleted?done=restored")


def _known(folder: str) -> str:
    return folder if folder in _TITLES else "inbox"


_ONE = "/secure/messages/{id}"
ROUTES = [
    *(Route("GET", f"/secure/{folder}", _folder, session=True) for folder in _TITLES),
    Route("GET", _ONE, _message, session=True),
    Route("GET", f"{_ONE}/body", _body, session=True),
    Route("GET", f"{_ONE}/still", _still, session=True),
    Route("POST", f"{_ONE}/print", _print, session=True),
    Route("POST", f"{_ONE}/mark", _mark, session=True),
    Route("GET", f"{_ONE}/delete", _confirm_delete, session=True),
    Route("POST", f"{_ONE}/delete", _delete, session=True),
    Route("POST", f"{_ONE}/restore", _restore, session=True),
    Route("GET", "/secure/files/{id}", _file, session=True),
]
