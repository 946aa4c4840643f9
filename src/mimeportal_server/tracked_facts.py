"""All facts of one tracked message, in the layout of the archive or of the queue it is in (mimecast-api-core 7.2)."""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Row

from mimeportal.messages.contract import finder as contract
from mimeportal.patterns import fold
from mimeportal.wire import JsonObject, format_date
from mimeportal_server import audit, mail, tracking
from mimeportal_server.people import allow
from mimeportal_server.portal import Call, Portal, Refused
from mimeportal_server.store.schema import copies
from mimeportal_server.tracking import date_of, sentence


def info(portal: Portal, call: Call, item: contract.InfoItem) -> JsonObject:
    """One message in the layout of the archive, or of the queue it is in. Raises `Refused`."""
    number = portal.sealer.number("track", item.id)
    with portal.database.read() as tx:
        row = tx.execute(
            tracking.TRACKED.add_columns(tracking.status(portal).label("status")).where(copies.c.id == number)
        ).first()
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
        self._arrived = date_of(row.received)
        self._left = date_of(row.finished) if row.finished else ""

    def archived(self, content: bool) -> JsonObject:
        row = self._row
        received = {"receiptEvent": "Received", **self._meta()}
        delivered = {"deliveryEvent": sentence(row), "emailAddress": row.recipient, **self._meta(self._left)}
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
            "txEvent": sentence(row),
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
            "info": sentence(row),
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
            "info": sentence(row),
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
