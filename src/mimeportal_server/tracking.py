"""What became of one message for one recipient, as the message finder tells it: its status, and all its facts.

copy        hold, its delivery                    status
blocked     -                                     rejected
held        held                                  held
held        rejected, expired                     rejected
any other   no delivery, or delivered: archived   archived, accepted where there is no archive copy
any other   failed                                bounced
any other   tried before                          deferred
any other   under way                             delivery
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, Row, and_, case, func, or_, select

from mimeportal import limits
from mimeportal.addresses import address_filter_kind
from mimeportal.errors import UsageError
from mimeportal.messages.contract import finder as contract
from mimeportal.patterns import fold
from mimeportal.wire import JsonObject, format_date
from mimeportal_server import audit, deciding, mail
from mimeportal_server.asked import date_given, not_allowed
from mimeportal_server.clock import DAY, milliseconds, moment
from mimeportal_server.listing import may_match
from mimeportal_server.people import allow
from mimeportal_server.portal import Call, Portal, Refused
from mimeportal_server.store.schema import copies, deliveries, holds, messages

_SEARCHABLE = 30 * DAY  # exactly so long ago is too long (mimecast-api-core 7.1)

_released, _passed = deliveries.alias("released"), deliveries.alias("passed")


def _way(name: str) -> ColumnElement[Any]:
    """A column of the delivery: of what was released, or of what no rule held."""
    return func.coalesce(_released.c[name], _passed.c[name])


# One row per message and recipient, with its hold and its delivery where it has them.
TRACKED = (
    select(
        copies.c.id,
        copies.c.recipient,
        copies.c.outcome,
        copies.c.decided_by,
        messages.c.blob,
        messages.c.size,
        messages.c.envelope_from,
        messages.c.from_header,
        messages.c.from_name,
        messages.c.subject,
        messages.c.mime_message_id,
        messages.c.route,
        messages.c.remote_ip,
        messages.c.remote_host,
        messages.c.encrypted,
        messages.c.has_attachments,
        messages.c.received,
        messages.c.purged,
        holds.c.id.label("hold_id"),
        holds.c.state.label("hold_state"),
        # Content of what no rule holds is an administrator's to see, with the permission to view.
        func.coalesce(holds.c.level, "administrator").label("level"),
        holds.c.reason,
        holds.c.policy,
        holds.c.reject_reason,
        _way("state").label("way"),
        _way("way").label("by"),
        _way("attempts").label("attempts"),
        _way("error").label("error"),
        _way("finished").label("finished"),
    )
    .join(messages, messages.c.id == copies.c.message_id)
    .outerjoin(
        holds,
        and_(
            copies.c.outcome == "held",
            holds.c.message_id == copies.c.message_id,
            holds.c.person_id == copies.c.person_id,
            holds.c.recipient == copies.c.recipient,
        ),
    )
    .outerjoin(_released, _released.c.hold_id == holds.c.id)
    .outerjoin(
        _passed,
        and_(
            copies.c.outcome != "held",
            _passed.c.message_id == copies.c.message_id,
            _passed.c.recipient == copies.c.recipient,
            _passed.c.hold_id.is_(None),
        ),
    )
)


def status(portal: Portal) -> ColumnElement[str]:
    """The status of a row of `TRACKED`; see the table above."""
    edge = deciding.expiry_edge(portal)
    archived = messages.c.purged.is_(None) if portal.settings.archiving else copies.c.id < 0
    return case(
        (copies.c.outcome == "blocked", "rejected"),
        (and_(holds.c.state == "held", holds.c.received > edge), "held"),
        (holds.c.state.in_(("held", "expired", "rejected")), "rejected"),
        (and_(func.coalesce(_way("state"), "delivered") == "delivered", archived), "archived"),
        (func.coalesce(_way("state"), "delivered") == "delivered", "accepted"),
        (_way("state") == "failed", "bounced"),
        (_way("attempts") > 0, "deferred"),
        else_="delivery",
    )


def address_condition(text: str, columns: Sequence[Any], field: str) -> ColumnElement[bool]:
    """An address, a domain or a part of one, in any of some columns of normalised addresses. Raises `Refused`."""
    try:
        kind, value = address_filter_kind(text)
    except UsageError as fault:
        raise not_allowed(fault.what, field) from None
    if kind == "address":
        return or_(*(column == value for column in columns))
    if kind == "domain":
        return or_(*(func.substr(column, -len(value) - 1) == f"@{value}" for column in columns))
    checked_text(value, field)
    return or_(*(may_match(value, column) for column in columns))


def checked_text(text: str, field: str) -> str:
    """A text condition that is not too long. Raises `Refused`."""
    if len(text) > limits.PATTERN:
        raise not_allowed(f"A text condition has at most {limits.PATTERN} characters.", field)
    return text


def search_condition(
    search: contract.SearchBy | None, fields: Mapping[str, Sequence[Any]]
) -> list[ColumnElement[bool]]:
    """A contains-match on one field, or on all of them. Raises `Refused`."""
    if search is None or not search.value:
        return []
    name = fold(search.field_name)
    if name != "all" and name not in fields:
        raise not_allowed(f"Field must be one of [all,{','.join(fields)}]", "searchBy.fieldName")
    columns = fields[name] if name != "all" else [column for some in fields.values() for column in some]
    text = checked_text(search.value, "searchBy.value")
    return [or_(*(and_(column.is_not(None), may_match(text, func.lower(column))) for column in columns))]


def searched_from(portal: Portal, text: str | None) -> int:
    """Where a search begins: 30 days ago, or later. Raises `Refused` for an earlier `start`."""
    earliest = portal.clock.now() - _SEARCHABLE
    if text is None:
        return earliest
    start = milliseconds(date_given(text, "start"))
    if start <= earliest:
        message = "The start date must be within the last 30 days"
        raise Refused("err_track_and_trace_invalid_start_date", message, field="start")
    return start


def searched_until(text: str | None) -> list[ColumnElement[bool]]:
    """Where it ends, as a condition."""
    # Clients write "now" without its fraction, and mean what has just come: the second of `end` counts.
    return [messages.c.received < (milliseconds(date_given(text, "end")) // 1000 + 1) * 1000] if text else []


def row_of(portal: Portal, row: Row[Any]) -> JsonObject:
    """One row of the finder (mimecast-api-core 7.1); `messageId` is ours."""
    return {
        "id": portal.sealer.id("track", row.id),
        "status": row.status,
        "info": _info(row),
        "fromEnv": {"emailAddress": row.envelope_from},
        "fromHdr": {"displayableName": row.from_name, "emailAddress": row.from_header},
        "to": [{"displayableName": "", "emailAddress": row.recipient}],
        "received": _date(row.received),
        "sent": _date(row.finished or row.received),
        "subject": row.subject,
        "senderIP": row.remote_ip,
        "attachments": row.has_attachments,
        "route": row.route,
        "detectionLevel": "",
        "messageId": row.mime_message_id,
    }


def _info(row: Row[Any]) -> str:
    if row.status == "held":
        return str(row.reason)
    if row.status == "rejected" and row.hold_id is None:
        return f"Rejected - {row.decided_by}"
    if row.status == "rejected":
        # As the release log says it (mimecast-api-core 6.8).
        return row.reject_reason or (
            "Rejected from the hold queue"
            if row.hold_state == "rejected"
            else "Expired in queue - rejected by housekeeping"
        )
    if row.status in ("bounced", "deferred"):
        return str(row.error)
    return {"archived": "Indexed and archived", "accepted": "Delivered"}.get(row.status, "Delivery in progress")


def _date(milliseconds: int) -> str:
    return format_date(moment(milliseconds))


# -- all facts of one message (mimecast-api-core 7.2) ----------------------------------------------------------


def info(portal: Portal, call: Call, item: contract.InfoItem) -> JsonObject:
    """One message in the layout of the archive, or of the queue it is in. Raises `Refused`."""
    number = portal.sealer.number("track", item.id)
    with portal.database.read() as tx:
        row = tx.execute(TRACKED.add_columns(status(portal).label("status")).where(copies.c.id == number)).first()
    if row is None:
        raise Refused("not_found", "There is no such tracked message.", status=404)
    content = fold(item.load_content or "") == "true"
    if content:
        if not allow(call.caller, "content", row):
            raise Refused("forbidden", "This caller may not see the content of this message.", status=403)
        _record(portal, call, row)
    octets = b"" if row.purged else portal.home.blobs.read(row.blob)
    told = _Facts(portal, row, octets)
    return {
        "id": item.id,
        "status": row.status,
        **(told.archived(content) if row.status in ("archived", "accepted") else told.queued(content)),
        "spamInfo": told.spam(),
    }


def _record(portal: Portal, call: Call, row: Row[Any]) -> None:
    facts = {"from": row.envelope_from, "to": row.recipient, "subject": row.subject}
    with portal.write(call.caller) as tx:
        act = audit.Act("view", "done", "copy", row.id, facts)
        audit.record(tx, [act], at=portal.clock.now(), caller=call.caller, request_id=call.request_id)


class _Facts:
    """What is known of one message, from its row and its octets; "" is what nobody recorded."""

    def __init__(self, portal: Portal, row: Row[Any], octets: bytes) -> None:
        self._portal = portal
        self._row = row
        self._summary, self._preview = mail.summary_and_preview(octets)
        self._server = urlsplit(portal.settings.public_url).hostname or ""
        self._arrived = _date(row.received)
        self._left = _date(row.finished) if row.finished else ""

    def archived(self, content: bool) -> JsonObject:
        row = self._row
        received = {"receiptEvent": "Received", **self._meta()}
        delivered = {"deliveryEvent": _info(row), "emailAddress": row.recipient, **self._meta(self._left)}
        return {
            "recipientInfo": {"messageInfo": self._message(content), "recipientMetaInfo": received},
            "deliveredMessage": self._delivered("deliveryMetaInfo", delivered),
            # An archive copy is kept without an end: no dates when it goes.
            "retentionInfo": {
                "purgeBasedOn": "original",
                "retentionAdjustmentDays": "-1",
                "litigationHoldInfo": [],
                "fbrStamps": [],
                "smartTags": [],
                "fbrExpireCheck": [],
                "audits": [],
            },
        }

    def queued(self, content: bool) -> JsonObject:
        return {
            "recipientInfo": {"messageInfo": self._message(content), "txInfo": self._tx()},
            "deliveredMessage": self._delivered("txInfo", self._tx()),
            "queueInfo": self._held() if self._row.hold_id else self._waiting(),
            "retentionInfo": {},
        }

    def _message(self, content: bool) -> JsonObject:
        """What the message says of itself. `<pre>` stands around its headers, escaped."""
        row, summary = self._row, self._summary
        headers = "".join(f"{name}: {value}\n" for name, value in self._preview.headers)
        told: JsonObject = {
            "fromHeader": row.from_header,
            "fromEnvelope": row.envelope_from or "<>",
            "to": [address for address, _ in summary.to],
            "cc": [address for address, _ in summary.cc],
            "subject": row.subject,
            "sent": format_date(summary.date) if summary.date else self._arrived,
            "processed": self._left or self._arrived,
            "transmissionInfo": f"<pre>{escape(headers)}</pre>",
            "route": row.route,
        }
        if content:
            told |= {
                "textBody": self._preview.text,
                "htmlBody": self._preview.html or "",
                "attachments": [
                    {
                        "filename": part.filename,
                        "size": part.size,
                        "extension": part.extension,
                        "contentType": part.content_type,
                        "contentId": part.content_id,
                        "sha256": part.sha256,
                    }
                    for part in self._preview.attachments
                ],
            }
        return told

    def _meta(self, left: str = "") -> JsonObject:
        """How it came in or, with the moment it `left`, how it went on."""
        row = self._row
        return {
            "spamEvent": "na",
            "processingServer": self._server,
            "transmissionSize": row.size,
            "binaryEmailSize": row.size,
            "remoteIp": "" if left else row.remote_ip,
            "remoteHost": (row.by or "") if left else row.remote_host,
            "remoteServerGreeting": "",
            "receiptAcknowledgement": "",
            "transmissionStart": left or self._arrived,
            "transmissionEnd": left or self._arrived,
            "encryptionInfo": self._encryption(),
            "components": [
                {
                    "type": "attachment",
                    "name": part.filename,
                    "extension": part.extension,
                    "mimeType": part.content_type,
                    "size": part.size,
                    "hash": part.sha256,
                }
                for part in self._preview.attachments
            ],
        }

    def _tx(self) -> JsonObject:
        row = self._row
        return {
            "returnPath": row.envelope_from,
            "to": row.recipient,
            "txEvent": _info(row),
            "queueDetailStatus": row.status,
            "processingServer": self._server,
            "receiptAck": "",
            "transmissionSize": row.size,
            "compressedStoreSize": row.size,
            "actualSize": row.size,
            "remoteServer": row.remote_host,
            "remoteIp": row.remote_ip,
            "remoteServerGreeting": "",
            "remoteServerReceiptAck": "",
            "deliveryType": self._encryption(),
            "transmissionComponents": [
                {"fileType": part.content_type, "fileName": part.filename, "txSize": part.size, "hash": part.sha256}
                for part in self._preview.attachments
            ],
        }

    def _encryption(self) -> str:
        return "Encrypted (TLS)" if self._row.encrypted else "Not Encrypted"

    def _held(self) -> JsonObject:
        """The hold. Its id releases it, as long as it is held."""
        row = self._row
        return {
            **({"id": self._portal.sealer.id("hold", row.hold_id)} if row.status == "held" else {}),
            "heldGroup": row.level.capitalize(),
            "info": _info(row),
            "createTime": self._arrived,
            "to": row.recipient,
            "fromHeader": row.from_header,
            "fromEnvelope": row.envelope_from,
            "subject": row.subject,
            "route": row.route,
            "attachments": row.has_attachments,
            "reason": row.reason,
            "size": row.size,
            "manageRecipient": True,
        }

    def _waiting(self) -> JsonObject:
        """The outbox, or where it was refused."""
        row = self._row
        return {
            "info": _info(row),
            "deferred": row.status == "deferred",
            "mtaServerName": self._server,
            "processThreadId": "",
            "remoteIp": row.remote_ip,
            "remoteServerName": row.remote_host,
            "remoteServerGreeting": "",
            "toAddressPostCheck": row.recipient,
            "type": 0,
            "createTime": self._arrived,
            "size": row.size,
        }

    def _delivered(self, key: str, how: JsonObject) -> JsonObject:
        """By recipient; a row is about one. Of a policy its kind and name are told (7.2)."""
        row = self._row
        kind, name = ("Message Hold", row.policy) if row.hold_id else ("Managed Senders", row.decided_by)
        policies = [{"policyType": kind, "policyName": name, "inherited": False}] if name else []
        return {row.recipient: {"messageInfo": self._message(content=False), "policyInfo": policies, key: how}}

    def spam(self) -> JsonObject:
        """The portal reckons no score and checks no sender; what it knows is whom lists permit."""
        unknown = {"info": "unknown", "allow": True}
        by_list = {"info": self._row.decided_by, "allow": self._row.outcome != "blocked"}
        named = self._row.decided_by and self._row.hold_id is None
        return {
            "detectionLevel": "",
            "spamProcessingDetail": {
                **dict.fromkeys(("rbl", "spf", "dkim", "dmarc", "permittedSender"), unknown),
                "managedSender": by_list if named else unknown,
                "greyEmail": False,
            },
        }
