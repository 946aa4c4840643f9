"""Blocking and reporting from a message: lists, Junk, the security team, and a sender who learns nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from conftest import ANN, BOB, Lab, mail_of
from mimeportal.errors import ApiError, LostAnswerError, NotFoundError, UsageError
from mimeportal.messages import MailboxMessage, ReportedMessage
from mimeportal.portal import Portal
from mimeportal.report import Report
from mimeportal.transport import Session
from mimeportal_server import compose
from mimeportal_server.mail import attachment
from mimeportal_server.store.schema import audit, audit_details, deliveries

SECURITY = "security@example.com"


@pytest.fixture
def ann(lab: Lab) -> Iterator[Portal]:
    with lab.client() as portal:
        yield portal


def got(lab: Lab, portal: Portal, octets: bytes = b"", **more: Any) -> MailboxMessage:
    """A message that arrived."""
    lab.receive(octets or mail_of(), reason=None, **more)
    return next(iter(portal.messages.list()))


def blocked(portal: Portal) -> list[str]:
    return sorted(entry.entry for entry in portal.senders.list("blocked"))


def sent_to(lab: Lab) -> list[str]:
    with lab.server.database.read() as tx:
        return sorted(tx.scalars(select(deliveries.c.recipient).where(deliveries.c.kind == "written")))


def acts(lab: Lab, *actions: str) -> list[tuple[str, str, dict[str, Any]]]:
    with lab.server.database.read() as tx:
        rows = tx.execute(
            select(audit.c.action, audit.c.outcome, audit_details.c.detail)
            .join(audit_details, audit_details.c.audit_id == audit.c.id)
            .where(audit.c.action.in_(actions))
            .order_by(audit.c.id)
        )
        return [(row.action, row.outcome, json.loads(row.detail)) for row in rows]


# -- block -----------------------------------------------------------------------------------------------------


def test_several_senders_at_once(lab: Lab, ann: Portal) -> None:
    for sender in ("eve@one.example", "eve@two.example", "eve@one.example"):
        got(lab, ann, mail_of(sender))
    result = ann.messages.block(ann.messages.list())
    assert result.totals == {"done": 2, "already": 1}
    assert blocked(ann) == ["eve@one.example", "eve@two.example"]
    assert {(action, outcome) for action, outcome, _ in acts(lab, "block")} == {("block", "done"), ("block", "already")}
    assert sent_to(lab) == []


@pytest.mark.parametrize(
    ("form", "part", "entry"),
    [
        ("address", "header", "eve@elsewhere.example"),
        ("domain", "header", "elsewhere.example"),
        ("address", "envelope", "bounce@mailer.example"),
        ("domain", "envelope", "mailer.example"),
    ],
)
def test_the_form_of_an_entry(lab: Lab, ann: Portal, form: str, part: str, entry: str) -> None:
    message = got(lab, ann, envelope_from="bounce@mailer.example")
    with ann.messages.plan_block([message.id], form, sender_part=part) as plan:
        (line,) = plan.lines()
        assert (line["entry"], line["from_header"], line["to_address"]) == (entry, "eve@elsewhere.example", ANN)
        assert blocked(ann) == []
        assert plan.run().totals == {"done": 1}
    assert blocked(ann) == [entry]


@pytest.mark.parametrize(
    ("octets", "form", "code"),
    [
        (mail_of(BOB), "address", "own_domain"),
        (mail_of("eve@gmail.com"), "domain", "public_provider"),
        (mail_of("a@one.example, b@two.example"), "address", "no_sender"),
        (b"Subject: no sender\n\nx\n", "address", "no_sender"),
    ],
    ids=["own domain", "public provider", "two senders", "no sender"],
)
def test_what_cannot_be_blocked_fails_alone(lab: Lab, ann: Portal, octets: bytes, form: str, code: str) -> None:
    """promises B.3."""
    good, bad = got(lab, ann), got(lab, ann, octets, envelope_from="x@mailer.example")
    result = ann.messages.block([bad, good.id], form)
    assert result.totals == {"failed": 1, "done": 1}
    assert result.codes == {code: 1}
    assert len(blocked(ann)) == 1


def test_a_permitted_sender_moves(lab: Lab, ann: Portal) -> None:
    """portal-rules C.19."""
    ann.senders.add(["eve@elsewhere.example"], "permitted")
    assert ann.messages.block([got(lab, ann)]).totals == {"done": 1}
    assert [entry.list for entry in ann.senders.list()] == ["blocked"]


def test_ids_that_are_none_another_s_or_of_what_one_sent(lab: Lab, ann: Portal) -> None:
    with lab.client(BOB) as bob:
        other = got(lab, bob, mail_of(), to=BOB)
    own = ann.messages.send(to="pal@outside.example", body="x")
    never = lab.server.sealer.id("mailbox", 987_654)
    result = ann.messages.block([other.id, own.id, never, "nonsense"])
    codes = {problem.id: problem.verdict.code for problem in result.problems}
    assert codes == {other.id: "not_found", own.id: "own_message", never: "not_found", "nonsense": "xdk_failure"}
    assert blocked(ann) == []


def test_a_report_is_taken_up_and_a_plan_is_kept_to(lab: Lab, ann: Portal, tmp_path: Path) -> None:
    message = got(lab, ann)
    with ann.messages.plan_block([message]) as plan:
        plan.run(report=Report(tmp_path / "report"))
    lines = [json.loads(line) for line in (tmp_path / "report").read_text().splitlines()]
    assert [(line["action"], line["outcome"], line["entry"]) for line in lines] == [
        ("block", "done", "eve@elsewhere.example")
    ]
    assert lines[0]["options"] == {"block": "address"}
    with ann.messages.plan_block(retry_from=tmp_path / "report") as plan:
        assert len(plan) == 0
    with pytest.raises(UsageError, match="options of its own"):
        ann.messages.plan_block(lines, "domain")
    assert ann.messages.block(lines).totals == {"already": 1}


def test_lost_answers_are_settled_by_asking_again(lab: Lab, ann: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    message = got(lab, ann)
    call, lost = Session.call, []

    def losing(self: Session, endpoint: Any, *given: Any, **named: Any) -> Any:
        answer = call(self, endpoint, *given, **named)
        if endpoint.name == "messages.block" and not lost:
            lost.append(endpoint)
            raise LostAnswerError("gone")
        return answer

    monkeypatch.setattr(Session, "call", losing)
    assert ann.messages.block([message]).totals == {"already": 1}
    assert blocked(ann) == ["eve@elsewhere.example"]


# -- report ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type", ["spam", "phishing"])
@pytest.mark.parametrize(
    "octets",
    [
        mail_of(),
        mail_of().replace(b"\n", b"\r\n"),
        b"From: Eve <eve@elsewhere.example>\nSubject: 8-bit \xff\n\nlone \r and \xfe no end",
        b"From: Eve <eve@elsewhere.example>\r\n\r\n.\r\n--=_x\r\nends in CR\r",
    ],
    ids=["lf", "crlf", "8-bit", "cr"],
)
def test_a_report(lab: Lab, ann: Portal, octets: bytes, type: str) -> None:
    """portal-rules C.15 to C.18: Junk, blocked, passed on in its own octets, audited, and the sender told nothing."""
    message = got(lab, ann, octets)
    told = ann.messages.report(message.id, type)
    assert told == ReportedMessage(message.id, "done", "eve@elsewhere.example", None)
    assert list(ann.messages.list()) == []
    assert [row.id for row in ann.messages.list("junk")] == [message.id]
    assert blocked(ann) == ["eve@elsewhere.example"]
    assert sent_to(lab) == [SECURITY]
    with lab.client():
        pass
    (passed_on,) = [path.read_bytes() for path in lab.outgoing() if ".D2." in path.name]
    assert attachment(passed_on, 0) == octets
    mail = message_from_bytes(passed_on, policy=policy.default)
    assert (mail["From"], mail["To"], mail["Subject"]) == ("no-reply@example.com", SECURITY, f"Reported {type}")
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "message/rfc822"]  # type: ignore[attr-defined]
    ((action, outcome, detail),) = acts(lab, f"report {type}")
    assert (action, outcome) == (f"report {type}", "done")
    assert (detail["entry"], detail["to"], detail["mailbox"]) == ("eve@elsewhere.example", SECURITY, ANN)


def test_reported_before(lab: Lab, ann: Portal) -> None:
    message = got(lab, ann)
    first = ann.messages.report(message.id, "spam", request_id="one")
    assert ann.messages.report(message.id, "spam", request_id="one") == first
    assert ann.messages.report(message.id, "phishing").outcome == "already"
    with pytest.raises(ApiError) as caught:
        ann.messages.report(message.id, "phishing", request_id="one")
    assert caught.value.code == "err_request_id_reused"
    assert sent_to(lab) == [SECURITY]


@pytest.mark.parametrize(
    ("octets", "words"),
    [(mail_of(BOB), "own domains"), (b"Subject: x\n\nx\n", "no single sender")],
    ids=["own domain", "no sender"],
)
def test_who_cannot_be_blocked_is_reported_all_the_same(lab: Lab, ann: Portal, octets: bytes, words: str) -> None:
    told = ann.messages.report(got(lab, ann, octets).id, "phishing")
    assert (told.outcome, told.entry) == ("done", None)
    assert words in str(told.not_blocked)
    assert "nothing was done" not in str(told.not_blocked)
    assert sent_to(lab) == [SECURITY]
    assert blocked(ann) == []


def test_more_than_other_mail_of_ours_may_go_in_an_hour(lab: Lab, ann: Portal) -> None:
    for number in range(25):
        ann.messages.report(got(lab, ann, mail_of(f"eve{number}@elsewhere.example")).id, "spam")
    assert sent_to(lab) == [SECURITY] * 25


def test_what_cannot_be_reported(lab: Lab, ann: Portal) -> None:
    with lab.client(BOB) as bob:
        other = got(lab, bob, mail_of(), to=BOB)
    own = ann.messages.send(to="pal@outside.example", body="x")
    for id in (other.id, lab.server.sealer.id("mailbox", 987_654)):
        with pytest.raises(NotFoundError):
            ann.messages.report(id, "spam")
    with pytest.raises(ApiError) as caught:
        ann.messages.report(own.id, "spam")
    assert caught.value.code == "own_message"
    with pytest.raises(UsageError):
        ann.messages.report(other.id, "boring")


def test_a_report_is_whole_or_none(lab: Lab, ann: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    message = got(lab, ann)

    def fail(*_: Any, **__: Any) -> str:
        raise OSError("the disk is gone")

    monkeypatch.setattr(compose, "queue_report", fail)
    with pytest.raises(ApiError):
        ann.messages.report(message.id, "spam")
    monkeypatch.undo()
    assert [row.id for row in ann.messages.list()] == [message.id]
    assert blocked(ann) == []
    assert acts(lab, "report spam") == []
    assert ann.messages.report(message.id, "spam").outcome == "done"


def test_octets_that_are_gone_are_not_reported(lab: Lab, ann: Portal) -> None:
    message = got(lab, ann)
    for name in lab.server.home.blobs.names():
        lab.server.home.blobs.delete(name)
    with pytest.raises(ApiError) as caught:
        ann.messages.report(message.id, "spam")
    assert caught.value.code == "octets_missing"
    assert blocked(ann) == []
