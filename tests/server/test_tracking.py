"""Mail on its way, as administrators see it: the finder, what waits, what was refused."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from asking import RELEASE, Asking
from conftest import ADMIN, ANN, BOB, MOD, SPAM, Lab, mail_of
from mimeportal_server import delivery
from smtp_peer import Peer

SEARCH, INFO = "/api/message-finder/search", "/api/message-finder/get-message-info"
PROCESSING, QUEUES = "/api/gateway/find-processing-messages", "/api/email/get-email-queues"
REJECTIONS = "/api/gateway/get-rejections"
PATHS = (SEARCH, INFO, PROCESSING, QUEUES, REJECTIONS)

ATTACHED = mail_of(
    "Shop <offers@shop.example>",
    "With <b>paper</b> & file",
    extra='Cc: bob@example.com\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n',
    body="--b\nContent-Type: text/plain\n\nSee there.\n--b\nContent-Type: text/html\n\n<p>See</p>\n"
    '--b\nContent-Type: text/plain\nContent-Disposition: attachment; filename="paper.txt"\n\nhello\n--b--\n',
)


class Tracking(Asking):
    """The door, and the ways to look at mail through it."""

    def track(self, *, by: str = ADMIN, size: int | None = None, token: str = "", **item: Any) -> list[Any]:
        told = self(SEARCH, item, by=by, size=size, token=token)
        assert told.json["fail"] == []
        rows: list[Any] = told.json["data"][0]["trackedEmails"]
        return rows

    def subjects(self, **item: Any) -> list[str]:
        return [row["subject"] for row in self.track(**item)]

    def options(self, **options: Any) -> list[str]:
        return self.subjects(advancedTrackAndTraceOptions=options)

    def statuses(self, **item: Any) -> dict[str, str]:
        return {row["subject"]: row["status"] for row in self.track(**item)}

    def info(self, subject: str, *, by: str = ADMIN, **item: Any) -> Any:
        (row,) = (row for row in self.track() if row["subject"] == subject)
        return self(INFO, {"id": row["id"], **item}, by=by).row

    def processing(self, **item: Any) -> list[Any]:
        rows: list[Any] = self(PROCESSING, item).row["messages"]
        return rows

    def rejected(self, **item: Any) -> list[Any]:
        rows: list[Any] = self(REJECTIONS, {"admin": True, **item}).row["rejectionLogs"]
        return rows


@pytest.fixture
def ask(lab: Lab) -> Iterator[Tracking]:
    ask = Tracking(lab)
    yield ask
    ask.close()


def deliver(lab: Lab) -> None:
    delivery.deliver(lab.server)


def hour(offset: int) -> str:
    return (datetime.now(UTC) + timedelta(hours=offset)).isoformat()


def timed(item: dict[str, Any]) -> dict[str, Any]:
    """An item whose times were written as `-24h`: names of tests are the same in every process."""
    return {
        name: hour(int(value[:-1])) if isinstance(value, str) and re.fullmatch(r"-?\d+h", value) else value
        for name, value in item.items()
    }


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("by", [ANN, MOD])
def test_only_administrators_look_at_everybody_s_mail(ask: Tracking, path: str, by: str) -> None:
    told = ask(path, {"id": "eN1", "start": "-1h", "end": "0h", "admin": True}, by=by)
    assert (told.status, told.code) == (403, "err_xdk_operation_forbidden_for_address")


class TestStatus:
    def test_follows_the_message(self, lab: Lab, ask: Tracking) -> None:
        lab.receive(mail_of(subject="m"))
        assert ask.statuses() == {"m": "held"}
        ask.decide(ask.one())
        assert ask.statuses() == {"m": "delivery"}
        deliver(lab)
        assert ask.statuses() == {"m": "archived"}
        (row,) = ask.track()
        assert row["info"] == "Indexed and archived"

    def test_of_what_is_not_held(self, lab: Lab, ask: Tracking) -> None:
        lab.receive(mail_of(subject="m"), reason=None)
        assert ask.statuses() == {"m": "delivery"}
        deliver(lab)
        assert ask.statuses() == {"m": "archived"}

    def test_without_an_archive(self, lab: Lab) -> None:
        config = lab.path / "portal.toml"
        config.write_text(config.read_text().replace("archiving = true", "archiving = false"))
        lab.receive(mail_of(subject="m"), reason=None)
        deliver(lab)
        ask = Tracking(lab)
        assert ask.statuses() == {"m": "accepted"}
        assert ask.info("m")["deliveredMessage"][ANN]["deliveryMetaInfo"]["deliveryEvent"] == "Delivered"
        ask.close()

    def test_rejected(self, lab: Lab, ask: Tracking) -> None:
        lab.receive(mail_of(subject="by hand"))
        ask.decide(ask.one(), "reject", reason_type=None)
        lab.receive(mail_of(subject="over"))
        ask(
            "/api/portal/senders/add",
            {"entry": "blocked@elsewhere.example", "list": "blocked", "mailbox": ANN},
        )
        lab.receive(mail_of("x <blocked@elsewhere.example>", "blocked"), reason=None)
        lab.advance(days=15)
        ask = _again(ask)
        lab.receive(mail_of(subject="new"))
        assert {row["subject"]: (row["status"], row["info"]) for row in ask.track(start=hour(-1))} == {
            "by hand": ("rejected", "Rejected from the hold queue"),
            "over": ("rejected", "Expired in queue - rejected by housekeeping"),
            "blocked": ("rejected", "Rejected - blocked sender blocked@elsewhere.example"),
            "new": ("held", SPAM),
        }
        assert "id" not in ask.info("over")["queueInfo"]
        ask.close()

    def test_deferred_and_bounced(self, lab: Lab) -> None:
        answers = {"bob@example.com": "450 4.2.0 later", "ann@example.com": "550 5.1.1 no such mailbox"}
        with Peer(answer=lambda stage, address: answers.get(address) if stage == "RCPT" else None) as peer:
            config = lab.path / "portal.toml"
            config.write_text(
                config.read_text().replace('to = "maildir"', f'to = "smtp"\nrelay = "127.0.0.1:{peer.port}"')
            )
            lab.receive(mail_of(subject="refused"), reason=None)
            lab.receive(mail_of(subject="put off"), reason=None, to=BOB)
            ask = Tracking(lab)
            delivery.deliver(ask.portal)
        assert ask.statuses() == {"put off": "deferred", "refused": "bounced"}
        assert ask.subjects(status=["bounced"]) == ["refused"]
        assert [row["info"] for row in ask.track()] == ["450 4.2.0 later", "550 5.1.1 no such mailbox"]
        (waiting,) = ask.processing()
        assert (waiting["attempts"], waiting["info"]) == (1, "450 4.2.0 later")
        assert waiting["nextAttempt"] > waiting["created"]
        assert ask.info("put off")["queueInfo"]["deferred"] is True
        ask.close()


def _again(ask: Tracking) -> Tracking:
    ask.close()
    return Tracking(ask.lab)


@pytest.fixture
def four(lab: Lab, ask: Tracking) -> Tracking:
    """Two senders, two recipients, one attachment; the newest first: four, three, two, one."""
    lab.receive(mail_of(subject="one"))
    lab.receive(ATTACHED, envelope_from="bounce@mailer.example")
    lab.receive(mail_of("Bücher <b@xn--bcher-kva.example>", "Grüße: drei?"), to=BOB)
    lab.receive(mail_of(subject="four"), reason=None, to=BOB)
    return ask


TWO, THREE = "With <b>paper</b> & file", "Grüße: drei?"


class TestSearch:
    def test_every_message_once_per_recipient_newest_first(self, four: Tracking) -> None:
        assert four.subjects() == ["four", THREE, TWO, "one"]

    @pytest.mark.parametrize(
        ("options", "subjects"),
        [
            ({"from": "eve@elsewhere.example"}, ["four", "one"]),
            ({"from": "EVE@elsewhere.example"}, ["four", "one"]),
            ({"from": "elsewhere.example"}, ["four", "one"]),
            ({"from": "mailer.example"}, [TWO]),
            ({"from": "offers@shop.example"}, [TWO]),
            ({"from": "bücher.example"}, [THREE]),
            ({"from": "shop.exam"}, []),
            ({"to": "bob@example.com"}, ["four", THREE]),
            ({"to": "example.com"}, ["four", THREE, TWO, "one"]),
            ({"subject": "four"}, ["four"]),
            ({"subject": "with*file"}, [TWO]),
            ({"subject": "f?ur"}, ["four"]),
            ({"subject": "drei?"}, [THREE]),
            ({"senderIP": "192.0.2.1"}, []),
            ({"senderIp": "192.0.2.1"}, []),
            ({"route": "inbound"}, ["four", THREE, TWO, "one"]),
            ({"route": ["outbound"]}, []),
            ({"route": "all"}, ["four", THREE, TWO, "one"]),
            ({}, ["four", THREE, TWO, "one"]),
        ],
        ids=str,
    )
    def test_advanced_options(self, four: Tracking, options: dict[str, Any], subjects: list[str]) -> None:
        assert four.options(**options) == subjects

    @pytest.mark.parametrize(
        ("item", "count"),
        [
            ({"status": ["held"]}, 3),
            ({"status": "held"}, 3),
            ({"status": ["delivery", "held"]}, 4),
            ({"status": ["archived"]}, 0),
            ({"attachments": True}, 1),
            ({"attachments": False}, 3),
            ({"route": "inbound"}, 4),
            ({"route": ["internal", "outbound"]}, 0),
            ({"route": None, "status": None, "messageId": None, "advancedTrackAndTraceOptions": None}, 4),
            ({"start": "-1h", "end": "1h"}, 4),
            ({"start": "1h"}, 0),
            ({"end": "-1h"}, 0),
            ({"start": "-719h"}, 4),
            ({"messageId": "<none@elsewhere.example>"}, 0),
        ],
        ids=str,
    )
    def test_other_filters(self, four: Tracking, item: dict[str, Any], count: int) -> None:
        assert len(four.track(**timed(item))) == count

    def test_message_id_with_and_without_its_brackets(self, four: Tracking) -> None:
        (row,) = (row for row in four.track() if row["subject"] == "one")
        for form in (row["messageId"], row["messageId"].strip("<>")):
            assert four.subjects(messageId=form) == ["one"]

    @pytest.mark.parametrize(
        ("item", "code", "field"),
        [
            ({"start": "-721h"}, "err_track_and_trace_invalid_start_date", "start"),
            ({"start": "soon"}, "err_validation_invalid_date", "start"),
            ({"status": ["gone"]}, "err_validation_value_not_allowed", "status"),
            ({"route": "sideways"}, "err_validation_value_not_allowed", "route"),
            ({"advancedTrackAndTraceOptions": {"from": "@"}}, "err_validation_value_not_allowed", "from"),
            ({"advancedTrackAndTraceOptions": {"subject": "x" * 1001}}, "err_validation_value_not_allowed", "subject"),
            (
                {"advancedTrackAndTraceOptions": {"url": "x.example"}},
                "err_validation_value_not_allowed",
                "advancedTrackAndTraceOptions.url",
            ),
        ],
        ids=str,
    )
    def test_refused(self, ask: Tracking, item: dict[str, Any], code: str, field: str) -> None:
        told = ask(SEARCH, timed(item))
        assert (told.status, told.code) == (200, code)
        assert told.json["fail"][0]["errors"][0]["field"] == field

    def test_paging(self, four: Tracking) -> None:
        first = four(SEARCH, {"status": ["held"]}, size=2)
        assert (first.page["pageSize"], first.page["totalCount"]) == (2, 3)
        last = four(SEARCH, {"status": ["held"]}, token=first.page["next"])
        assert [row["subject"] for row in last.row["trackedEmails"]] == ["one"]
        assert "next" not in last.page

    def test_an_id_is_no_hold_s(self, four: Tracking) -> None:
        (row,) = four.track(status=["held"], advancedTrackAndTraceOptions={"subject": "one"})
        assert four(RELEASE, {"id": row["id"]}).code == "xdk_failure"
        assert four(INFO, {"id": four.held()[0]["id"]}).code == "xdk_failure"

    def test_a_search_reason_is_recorded(self, four: Tracking) -> None:
        from mimeportal_server.store.schema import audit

        four.track(searchReason="looking for an invoice")
        assert four.count(audit, audit.c.action == "track") == 1


class TestInfo:
    def test_what_is_held_names_the_id_that_releases_it(self, four: Tracking) -> None:
        told = four.info("one")
        (hold,) = (row for row in four.held() if row["subject"] == "one")
        queue = told["queueInfo"]
        assert (told["status"], queue["id"], queue["reason"]) == ("held", hold["id"], SPAM)
        assert (queue["heldGroup"], queue["to"], queue["size"]) == ("User", ANN, hold["size"])
        assert four(RELEASE, {"id": queue["id"]}).row == {"id": queue["id"], "release": True}
        assert "id" not in four.info("one")["queueInfo"], "what was decided is no longer released by it"

    def test_headers_are_html_that_can_do_nothing(self, four: Tracking) -> None:
        shown = four.info(TWO)["recipientInfo"]["messageInfo"]["transmissionInfo"]
        assert shown.startswith("<pre>From: Shop &lt;offers@shop.example&gt;\n")
        assert shown.endswith("</pre>")
        assert "<b>" not in shown
        assert f"\nSubject: {TWO}\n" in html.unescape(shown)

    def test_content_comes_when_it_is_asked_for(self, four: Tracking) -> None:
        without = four.info(TWO)["recipientInfo"]["messageInfo"]
        assert {"textBody", "htmlBody", "attachments"}.isdisjoint(without)
        for asked in ("true", "True"):
            shown = four.info(TWO, loadContent=asked)["recipientInfo"]["messageInfo"]
            assert (shown["textBody"].strip(), shown["htmlBody"].strip()) == ("See there.", "<p>See</p>")
            (attachment,) = shown["attachments"]
            assert (attachment["filename"], attachment["size"]) == ("paper.txt", 5)
        assert (shown["to"], shown["cc"]) == ([ANN], [BOB])

    def test_content_needs_the_permission_to_view(self, lab: Lab, four: Tracking) -> None:
        from sqlalchemy import update

        from mimeportal_server.store.schema import audit, people

        assert four.info("four", loadContent="true")["recipientInfo"]["messageInfo"]["textBody"]
        assert four.count(audit, audit.c.action == "view", audit.c.object_kind == "copy") == 1
        with lab.server.write() as tx:
            tx.execute(update(people).where(people.c.address == ADMIN).values(content_view=False))
        for subject in ("one", "four"):
            (row,) = (row for row in four.track() if row["subject"] == subject)
            told = four(INFO, {"id": row["id"], "loadContent": "true"})
            assert (told.status, told.code) == (403, "forbidden")
            assert four(INFO, {"id": row["id"]}).row["status"]

    def test_archived_by_recipient(self, lab: Lab, four: Tracking) -> None:
        four.decide(four.one(subject="paper"))
        deliver(lab)
        told = four.info(TWO)
        assert told["status"] == "archived"
        assert "queueInfo" not in told
        delivered = told["deliveredMessage"][ANN]
        assert delivered["policyInfo"] == [{"policyType": "Message Hold", "policyName": "Import", "inherited": False}]
        assert delivered["deliveryMetaInfo"]["emailAddress"] == ANN
        (part,) = told["recipientInfo"]["recipientMetaInfo"]["components"]
        assert (part["name"], part["mimeType"], part["size"]) == ("paper.txt", "text/plain", 5)

    @pytest.mark.parametrize("id", ["", "eNone", "x" * 5000])
    def test_no_such_message(self, ask: Tracking, id: str) -> None:
        assert ask(INFO, {"id": id}).code == "xdk_failure"

    def test_an_id_that_names_nothing(self, ask: Tracking) -> None:
        told = ask(INFO, {"id": ask.portal.sealer.id("track", 99)})
        assert (told.status, told.code) == (404, "not_found")


class TestProcessing:
    def test_lists_what_has_not_left(self, lab: Lab, four: Tracking) -> None:
        (row,) = four.processing()
        assert (row["subject"], row["to"], row["attempts"]) == ("four", {"emailAddress": BOB}, 0)
        assert (row["nextAttempt"], row["info"]) == ("1970-01-01T00:00:00+0000", "Queued for delivery")
        deliver(lab)
        assert four.processing() == []

    @pytest.mark.parametrize(
        ("item", "count"),
        [
            ({"searchBy": {"fieldName": "ALL", "value": "four"}}, 1),
            ({"searchBy": {"fieldName": "fromAddress", "value": "EVE@"}}, 1),
            ({"searchBy": [{"fieldName": "toAddress", "value": "bob"}]}, 1),
            ({"searchBy": {"fieldName": "subject", "value": "five"}}, 0),
            ({"searchBy": {"fieldName": "remoteIp", "value": "192.0.2"}}, 0),
            ({"filterBy": [{"attachments": False, "route": "all"}]}, 1),
            ({"filterBy": [{"attachments": True}]}, 0),
            ({"filterBy": [{"fieldName": "route", "value": "inbound"}]}, 1),
            ({"filterBy": [{"fieldName": "route", "value": "outbound"}]}, 0),
            ({"start": "-1h", "end": "1h", "sortBy": "createTime", "sortOrder": "asc"}, 1),
            ({"start": "1h"}, 0),
            ({"end": "-1h"}, 0),
            ({"type": "bulk_processing"}, 0),
            ({"type": "processing"}, 1),
        ],
        ids=str,
    )
    def test_filters(self, four: Tracking, item: dict[str, Any], count: int) -> None:
        assert len(four.processing(**timed(item))) == count

    def test_order(self, lab: Lab, four: Tracking) -> None:
        lab.receive(mail_of(subject="five"), reason=None)
        assert [row["subject"] for row in four.processing()] == ["five", "four"]
        assert [row["subject"] for row in four.processing(sortOrder="asc")] == ["four", "five"]

    @pytest.mark.parametrize(
        "item", [{"searchBy": {"fieldName": "colour", "value": "red"}}, {"type": "slow"}, {"sortOrder": "up"}]
    )
    def test_refused(self, ask: Tracking, item: dict[str, Any]) -> None:
        assert ask(PROCESSING, item).code == "err_validation_value_not_allowed"


class TestQueues:
    def test_counts_what_waited_in_each_hour(self, lab: Lab, ask: Tracking) -> None:
        """One comes; two come an hour later, and all leave then."""
        start = datetime.fromtimestamp(lab.time, UTC)
        lab.receive(mail_of(subject="1"), reason=None)
        lab.advance(hours=1)
        lab.receive(mail_of(subject="2"), reason=None)
        lab.receive(mail_of(subject="3"), reason=None)
        deliver(lab)
        ask = _again(ask)
        told = ask(QUEUES, {"start": start.isoformat(), "end": (start + timedelta(hours=3)).isoformat()}).row
        assert [entry["count"] for entry in told["inboundEmailQueue"]] == [1, 3, 0]
        assert [entry["count"] for entry in told["outboundEmailQueue"]] == [0, 0, 0]
        whole = ask(QUEUES, {"start": hour(-24 * 20 - 5), "end": hour(24)}).row["inboundEmailQueue"]
        assert len(whole) == 22
        assert sum(entry["count"] for entry in whole) == 3
        later = (start + timedelta(minutes=30)).isoformat()
        begun = ask(QUEUES, {"start": later, "end": (start + timedelta(minutes=40)).isoformat()}).row
        assert [entry["count"] for entry in begun["inboundEmailQueue"]] == [1], "it waited before that, and still did"
        ask.close()

    @pytest.mark.parametrize(
        ("item", "code"),
        [
            ({}, "err_validation_null"),
            ({"start": "0h"}, "err_validation_null"),
            ({"start": "0h", "end": "-1h"}, "err_validation_value_not_allowed"),
            ({"start": "1990-01-01", "end": "2090-01-01"}, "err_validation_value_not_allowed"),
            ({"start": "x", "end": "y"}, "err_validation_invalid_date"),
        ],
        ids=str,
    )
    def test_refused(self, ask: Tracking, item: dict[str, Any], code: str) -> None:
        assert ask(QUEUES, timed(item)).code == code


class TestRejections:
    @pytest.fixture
    def refused(self, lab: Lab, ask: Tracking) -> Tracking:
        for mailbox in (ANN, BOB):
            ask("/api/portal/senders/add", {"entry": "spam.example", "list": "blocked", "mailbox": mailbox})
        for number in range(3):
            lab.receive(mail_of(f"x{number}@spam.example", f"m{number}"), reason=None, to=BOB if number == 2 else ANN)
        return ask

    def test_lists_whom_lists_block(self, refused: Tracking) -> None:
        rows = refused.rejected()
        assert [row["from"]["emailAddress"] for row in rows] == [f"x{number}@spam.example" for number in (2, 1, 0)]
        assert {(row["type"], row["info"]) for row in rows} == {("sender_blocked", "blocked sender spam.example")}

    @pytest.mark.parametrize(
        ("item", "count"),
        [
            ({"searchBy": {"fieldName": "all", "value": "X1@"}}, 1),
            ({"searchBy": {"fieldName": "from", "value": "x1"}}, 1),
            ({"searchBy": {"fieldName": "to", "value": "bob"}}, 1),
            ({"searchBy": {"fieldName": "type", "value": "blocked"}}, 3),
            ({"searchBy": {"fieldName": "info", "value": "none"}}, 0),
            ({"mailbox": BOB}, 1),
            ({"admin": False, "mailbox": ANN}, 2),
            ({"admin": False}, 0),
            ({"start": "-24h", "end": "1h"}, 3),
            ({"end": "-24h"}, 0),
        ],
        ids=str,
    )
    def test_filters(self, refused: Tracking, item: dict[str, Any], count: int) -> None:
        assert len(refused.rejected(**{"start": hour(-1), **timed(item)})) == count

    def test_the_next_page(self, refused: Tracking) -> None:
        item = {"admin": True, "start": hour(-1)}
        first = refused(REJECTIONS, item, size=2)
        last = refused(REJECTIONS, item, token=first.page["next"])
        assert (first.page["pageSize"], first.page["totalCount"], last.page["pageSize"]) == (2, 3, 1)
        ids = [row["id"] for told in (first, last) for row in told.row["rejectionLogs"]]
        assert len(set(ids)) == 3
