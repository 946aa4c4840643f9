"""The page of preferences: how times are written, the signature, the password (portal-rules F.21)."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import available_timezones

from mimeportal import limits
from mimeportal.account import contract, formats
from mimeportal.secure import contract as secure
from mimeportal.wire import Response
from mimeportal_server.portal import Refused
from mimeportal_server.web import new_password, sessions, showing
from mimeportal_server.web.route import Route
from mimeportal_server.web.visit import Visit

PATH = "/preferences"
_NAMES = ("time_zone", "date_format", "time_format", "first_day_of_week", "signature")


def _show(visit: Visit, *, error: str = "", status: int = 200) -> Response:
    row = visit.ask(contract.PREFERENCES, contract.MailboxItem()).row
    kept = row.model_dump()
    return visit.page(
        "preferences.html",
        status,
        values={name: visit.form.get(name) if error else kept[name] for name in _NAMES},
        choices=_choices(showing.times(visit).now),
        error=error,
        done=bool(visit.query.get("done")),
        longest=limits.SIGNATURE,
        offers=visit.ask(secure.SETTINGS, secure.SettingsItem()).row,
    )


def _choices(now: datetime) -> dict[str, dict[str, str]]:
    """What may be chosen, and how it reads: formats as they write this moment."""
    return {
        "date_format": {name: f"{now.strftime(formats.DATES[name])} ({name})" for name in contract.DATE_FORMATS},
        "time_format": {name: f"{now.strftime(formats.TIMES[name])} ({name})" for name in contract.TIME_FORMATS},
        "first_day_of_week": {name: name.capitalize() for name in contract.DAYS},
        "time_zone": {name: name.replace("_", " ") for name in sorted(available_timezones())},
    }


def _save(visit: Visit) -> Response:
    chosen = {name: visit.form.get(name) for name in _NAMES}
    try:
        visit.ask(contract.SET_PREFERENCES, contract.SetPreferencesItem(preferences=chosen))
    except Refused as refusal:
        if refusal.failure.field != "preferences":
            raise
        return _show(visit, error=str(refusal), status=422)
    return visit.go(f"{PATH}?done=1")


def _password(visit: Visit) -> Response:
    return new_password.form(visit, f"{PATH}/password", visit.caller.address, current=True)


def _set_password(visit: Visit) -> Response:
    """Set another password; this session ends with the others."""
    address = visit.caller.address

    def change(new: str) -> bool:
        item = contract.PasswordItem(password=visit.form.get("current"), new_password=new)
        visit.ask(contract.PASSWORD, item)
        visit.set_cookie(sessions.SESSION, "", seconds=0)
        visit.session = None
        return True

    return new_password.taken(visit, f"{PATH}/password", address, change, current=True)


ROUTES = [
    Route("GET", PATH, _show, session=True),
    Route("POST", PATH, _save, session=True),
    Route("GET", f"{PATH}/password", _password, session=True),
    Route("POST", f"{PATH}/password", _set_password, session=True),
]
