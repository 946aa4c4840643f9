"""What the items of requests say in more than one way, read once: dates, search fields, and how a value is refused."""

from __future__ import annotations

from datetime import datetime

from mimeportal.errors import UsageError
from mimeportal.wire import JsonObject, parse_date
from mimeportal_server.portal import Call, Refused


def date_given(text: str, field: str) -> datetime:
    """A date of a request. Raises `Refused` naming the field."""
    try:
        return parse_date(text)
    except UsageError as fault:
        raise Refused("err_validation_invalid_date", fault.what, field=field) from None


def first_search(item: JsonObject) -> JsonObject:
    """`searchBy` as a list of one is read as the one (mimecast-api-core 11.7)."""
    search = item.get("searchBy")
    return {**item, "searchBy": search[0] if search else None} if isinstance(search, list) else item


def not_allowed(message: str, field: str) -> Refused:
    """The refusal of a value, for whoever raises it (mimecast-api-core 5.3)."""
    return Refused("err_validation_value_not_allowed", message, field=field)


def forbidden() -> Refused:
    """The refusal of what is not the caller's, there or not, for whoever raises it (promises E.1)."""
    message = "0003 Forbidden To Perform Operation For Address"
    return Refused("err_xdk_operation_forbidden_for_address", message, status=403)


def administrators_only(call: Call) -> None:
    """Raises `Refused` for whoever is no administrator: what is asked for shows everybody's mail."""
    if not call.caller.administrator:
        raise forbidden()
