"""Authorisation without I/O: what is signed, and how credentials are written into headers.

Client and server both use it: the one to write, the other to compare.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SKEW_SECONDS = 15 * 60  # how far the date of a signed request may be from the portal's clock


def date_header(moment: datetime) -> str:
    """`x-mc-date`: `Tue, 24 Nov 2015 12:50:11 UTC` (mimecast-api-core 2.1), whatever the locale."""
    utc = moment.astimezone(UTC)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[utc.weekday()]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[utc.month - 1]
    return f"{day}, {utc.day:02} {month} {utc.year:04} {utc:%H:%M:%S} UTC"


def read_date_header(text: str) -> datetime | None:
    """The moment of an `x-mc-date`, in UTC, whichever zone it is written in; None when it is no date."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None


def signature(*, date: str, request_id: str, path: str, app_key: str, secret_key: str) -> str:
    """HMAC-SHA1 over date, request id, path and app key, as base64 (mimecast-api-core 2.1).

    `path` has neither host nor query; `secret_key` is base64. Raises `ValueError` when it is not.
    """
    try:
        key = base64.b64decode(secret_key, validate=True)
    except binascii.Error as fault:
        raise ValueError("the secret key is not base64") from fault
    signed = ":".join((date, request_id, path, app_key)).encode()
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha1)).decode()


def signed_headers(
    *,
    moment: datetime,
    request_id: str,
    path: str,
    app_id: str,
    app_key: str,
    access_key: str,
    secret_key: str,
) -> dict[str, str]:
    """The headers of a signed request."""
    date = date_header(moment)
    signed = signature(date=date, request_id=request_id, path=path, app_key=app_key, secret_key=secret_key)
    return {
        "authorization": f"MC {access_key}:{signed}",
        "x-mc-app-id": app_id,
        "x-mc-date": date,
        "x-mc-req-id": request_id,
    }


def basic(scheme: str, address: str, password: str) -> str:
    """`Basic-Cloud` with address and password (mimecast-api-core 2.3)."""
    return f"{scheme} {base64.b64encode(f'{address}:{password}'.encode()).decode()}"
