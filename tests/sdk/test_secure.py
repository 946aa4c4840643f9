"""Secure messages through the SDK: sent, opened, answered, restricted, recalled, extended, watched over."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from conftest import ADMIN, ANN, BOB, mail_of
from mimeportal import limits
from mimeportal.errors import ApiError, ForbiddenError, NotFoundError, NotOfferedError, UnavailableError, UsageError
from mimeportal.secure import SecureMessage, contract
from mimeportal.secure.contract import OPTIONS, TOO_LARGE
from mimeportal_server import bounces, door, keeping, secure_laying
from mimeportal_server.clock import moment
from mimeportal_server.store.schema import deliveries, messages, requested, secure_messages, uploads
from mimeportal_server.store.schema import people as persons
from secure_people import BLIND, CARL, DEFAULT, DEFINITION, DORA, People, people

__all__ = ["people"]

OPEN = ("read", "print", "reply", "reply_all", "mark", "delete")


def code(caught: pytest.ExceptionInfo[ApiError]) -> str:
    return caught.value.code


def only(people: People, address: str, **conditions: object) -> SecureMessage:
    (found,) = people(address).list(**conditions)
    return found


# -- sending and answering ---------------------------------------------------------------------------------------


def test_from_sent_to_answered(people: People) -> None:
    sent = people(ANN).send(
        to=[f"Carl Client <{CARL}>"], subject="The contract", body="Please sign.", cc=[DORA], definition=DEFINITION,
        attachments=[("contract.pdf", b"%PDF-1.4")],
    )  # fmt: skip
    assert [(one.address, one.name, one.part, one.way, one.notice, one.status) for one in sent.recipients] == [
        (CARL, "Carl Client", "to", "portal", "queued", "sent"),
        (DORA, "", "cc", "portal", "queued", "sent"),
    ]
    (notice,) = people.mail(CARL)
    assert "/s/" in notice
    assert ANN in notice
    assert "From: no-reply@example.com" in notice
    assert not any(word in notice for word in ("contract", "sign", "Client"))

    row = only(people, CARL)
    assert (row.folder, row.subject, row.unread, row.status) == ("inbox", "The contract", True, None)
    assert (row.definition, row.option) == (None, None)
    assert row.may == OPEN
    content = people(CARL).get(row.id)
    assert content.text == "Please sign.\n"
    assert b"".join(people(CARL).download(content.attachments[0].id)) == b"%PDF-1.4"
    assert content.recipients is None
    assert not content.message.unread
    assert content.headers[:3] == [("From", ANN), ("To", f"Carl Client <{CARL}>"), ("Cc", DORA)]

    seen = people(ANN).get(sent.id)
    assert seen.message.status == "read"
    assert [(one.address, one.status, one.read is not None) for one in seen.recipients] == [
        (CARL, "read", True),
        (DORA, "sent", False),
    ]

    answer = people(CARL).reply(row.id, body="Signed.", all=True, attachments=[("signed.pdf", b"%PDF-1.5")])
    assert [(one.address, one.way) for one in answer.recipients] == [(ANN, "mail"), (DORA, "portal")]
    assert answer.expires == sent.expires
    (mail,) = people.mail(ANN)
    assert "Subject: Re: The contract" in mail
    assert f"X-Secure-Message: {answer.id}" in mail
    assert f"/secure/messages/{answer.id}" in mail
    assert "> Please sign." in mail
    assert "signed.pdf" in mail
    assert [message.subject for message in people(DORA).list()] == ["Re: The contract", "The contract"]
    # Whoever got it as mail may also answer securely.
    back = people(ANN).reply(answer.id, body="Thank you.")
    assert [(one.address, one.way) for one in back.recipients] == [(CARL, "portal")]
    assert [message.subject for message in people(CARL).list()] == ["Re: The contract", "The contract"]
    assert only(people, CARL, folder="sent").id == answer.id


def test_inside_they_get_mail_with_a_banner_and_the_sender_a_copy(people: People) -> None:
    sent = people(ANN).send(to=[CARL, BOB], subject="Both", body="hello", html="<p>hello</p>")
    assert {one.address: one.way for one in sent.recipients} == {CARL: "portal", BOB: "mail"}
    assert sent.definition == DEFAULT
    (mail,) = people.mail(BOB)
    assert mail.index("[Secure Messaging]") < mail.index("hello")
    assert f"X-Secure-Message: {sent.id}" in mail
    assert people.client(BOB).messages.list().first(1)[0].subject == "Both"
    row = people.client(ANN).messages.list("sent").first(1)[0]
    assert (row.subject, row.ccm, row.read, row.recalled, row.expired) == ("Both", True, False, False, False)
    people(CARL).get(sent.id)
    people(ANN).recall([sent.id])
    row = people.client(ANN).messages.list("sent").first(1)[0]
    assert (row.ccm, row.read, row.recalled) == (True, True, True)
    assert list(people(BOB).list(folder="inbox")) == []


def test_only_inside_is_ordinary_mail(people: People) -> None:
    with pytest.raises(ApiError, match="All recipients are inside") as caught:
        people(ANN).send(to=[BOB], subject="s", body="t")
    assert code(caught) == "err_validation_internal_only"
    assert list(people(ANN).list()) == []
    assert people.mail(BOB) == []


def test_from_the_secure_portal_everybody_composes_to_insiders_with_an_option(people: People) -> None:
    people(ANN).send(to=[CARL], subject="hello", body="t")
    for address in (CARL, ANN):
        sent = people(address).send(to=[BOB], subject=f"from {address}", body="secret text", option="no-print")
        assert [one.way for one in sent.recipients] == ["link"]
        notice = people.mail(BOB)[-1]
        assert "secret text" not in notice
        assert "/s/" in notice
        # Inbound messages are in no list of a customer's (guide-lines 14): each opens by its own URL, or id.
        assert list(people(BOB).list(folder="inbox")) == []
        opened = people(BOB).get(sent.id)
        assert opened.text == "secret text\n"
        assert "print" not in opened.message.may
        assert people(address).get(sent.id).recipients[0].status == "read"
    with pytest.raises(ForbiddenError, match="People outside write to the account's own people"):
        people(CARL).send(to=[DORA], subject="s", body="t", option="no-print")
    with pytest.raises(ApiError, match="no definition"):
        people(CARL).send(to=[BOB], subject="s", body="t", definition=DEFINITION)


def test_customers_send_outbound_with_an_option_too(people: People) -> None:
    sent = people(ANN).send(to=[CARL, BOB], subject="s", body="t", option="expire-1d")
    assert {one.address: one.way for one in sent.recipients} == {CARL: "portal", BOB: "link"}
    assert (sent.option, sent.definition) == ("expire-1d", "")


@pytest.mark.parametrize(
    ("option", "refused", "days"),
    [
        ("read-receipt", set(), None),
        ("no-print-no-reply", {"print", "reply", "reply_all"}, None),
        ("no-print", {"print"}, None),
        ("expire-1d", set(), 1),
        ("expire-7d", set(), 7),
        ("expire-30d", set(), 30),
    ],
)
def test_the_six_options(people: People, option: str, refused: set[str], days: int | None) -> None:
    assert option in OPTIONS
    sent = people(ANN).send(to=[CARL], subject="s", body="t", option=option)
    row = only(people, CARL)
    assert set(OPEN) - set(row.may) == refused
    lasting = sent.expires - moment(people.lab.server.clock.now()) if sent.expires else None
    assert (lasting is None) == (days is None)
    assert lasting is None or abs(lasting - timedelta(days=days or 0)) < timedelta(minutes=1)
    for act in refused:
        with pytest.raises(ForbiddenError, match="Its sender does not let"):
            people(CARL).print(row.id) if act == "print" else people(CARL).reply(
                row.id, body="x", all=act == "reply_all"
            )
    assert people(CARL).get(row.id).text == "t\n"
    if option == "read-receipt":
        people(CARL).get(row.id)
        (receipt,) = people.mail(ANN)
        assert f"{CARL} opened your secure message" in receipt
    else:
        assert people.mail(ANN) == []


def test_a_receipt_is_written_once_per_recipient(people: People) -> None:
    sent = people(ANN).send(to=[CARL, DORA], subject="s", body="t", option="read-receipt")
    for address in (CARL, DORA, CARL):
        people(address).get(sent.id)
    people(CARL).mark([sent.id], read=False)
    people(CARL).get(sent.id)
    assert [CARL in mail for mail in people.mail(ANN)] == [True, False]


def test_a_delegate_writes_as_their_owner_and_an_administrator_as_nobody(people: People) -> None:
    people.client(BOB).account.add_delegate(ANN)
    sent = people(ANN).send(to=[CARL], subject="for bob", body="t", mailbox=BOB)
    assert only(people, CARL).from_address == BOB
    assert only(people, BOB).id == sent.id
    assert [message.id for message in people(ANN).list(mailbox=BOB)] == [sent.id]
    people(ANN).recall([sent.id])
    assert [(event.event, event.actor) for event in people(ADMIN).log(sent.id)] == [
        ("send", ANN),
        ("notify", ANN),
        ("recall", ANN),
    ]
    with pytest.raises(ForbiddenError):
        people(ADMIN).send(to=[CARL], subject="s", body="t", mailbox=BOB)


def test_a_signature_stands_under_what_one_sends(people: People) -> None:
    people.client(ANN).account.set_preferences(signature="Ann\nExample Ltd")
    people(ANN).send(to=[CARL], subject="s", body="Hello")
    people(ANN).send(to=[CARL], subject="without", body="Hello", signature=False)
    texts = {message.subject: people(CARL).get(message.id).text for message in people(CARL).list()}
    assert texts == {"s": "Hello\n\n-- \nAnn\nExample Ltd\n", "without": "Hello\n"}
    people.client(CARL).account.set_preferences(signature="Carl")
    message = only(people, CARL, subject="s")
    people(CARL).reply(message.id, body="Yes")
    assert "Yes\n\n-- \nCarl\n\nOn " in people.mail(ANN)[0].replace("\r\n", "\n")


PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)


@pytest.mark.parametrize("attached", [False, True])
def test_images_inside_the_text_are_left_out_or_attached(people: People, attached: bool) -> None:
    html = f'<p>See <img src="{PNG}" alt="the plan"></p>'
    sent = people(ANN).send(to=[CARL], subject="s", body="See the plan", html=html, inline_as_attachments=attached)
    content = people(CARL).get(sent.id)
    assert content.html is not None
    assert "the plan" in content.html
    assert "base64" not in content.html
    assert [file.name for file in content.attachments] == (["image1.png"] if attached else [])
    assert sent.left_out == (() if attached else ("image1.png",))


def test_the_same_request_sends_once(people: People) -> None:
    first = people(ANN).send(to=[CARL], subject="s", body="t", request_id="mine")
    assert people(ANN).send(to=[CARL], subject="s", body="t", request_id="mine") == first
    with pytest.raises(ApiError) as caught:
        people(ANN).send(to=[CARL], subject="s", body="other", request_id="mine")
    assert code(caught) == "err_request_id_reused"
    answer = people(CARL).reply(first.id, body="yes", request_id="mine")
    people(ANN).recall([first.id])
    assert people(CARL).reply(first.id, body="yes", request_id="mine") == answer
    assert len(list(people(ANN).list())) == 1
    assert len(people.mail(CARL)) == 1
    assert len(people.mail(ANN)) == 1


# -- what its sender does afterwards ------------------------------------------------------------------------------


def test_what_is_recalled_is_gone_for_its_recipients(people: People) -> None:
    sent = people(ANN).send(to=[CARL, DORA], subject="s", body="t")
    content = people(CARL).get(sent.id)
    answer = people(CARL).reply(sent.id, body="an answer")
    assert people(ANN).recall([sent.id]).totals == {"done": 1}
    assert people(ANN).recall([sent.id]).totals == {"already": 1}
    for address in (CARL, DORA):
        assert list(people(address).list()) == []
        assert list(people(address).list(search="s")) == []
        for act in (
            lambda ours: ours.get(sent.id),
            lambda ours: ours.print(sent.id),
            lambda ours: ours.reply(sent.id, body="x"),
            lambda ours: ours.reply(sent.id, body="x", all=True),
        ):
            with pytest.raises(ApiError, match="Its sender has recalled it") as caught:
                act(people(address))
            assert code(caught) == "recalled"
        for result in (
            people(address).mark([sent.id], read=True),
            people(address).delete([sent.id]),
            people(address).restore([sent.id]),
        ):
            assert result.codes == {"recalled": 1}
    assert content.attachments == ()
    # Its sender still sees it; answers to it stay, and quote it.
    assert people(ANN).get(sent.id).message.status == "recalled"
    assert people(CARL).get(answer.id).text.startswith("an answer")
    for act in ("extend", "expire", "notify"):
        assert act not in people(ANN).get(sent.id).message.may
    with pytest.raises(ApiError, match="recalled"):
        people(ANN).notify(sent.id)


def test_attachments_of_what_is_recalled_are_refused(people: People) -> None:
    sent = people(ANN).send(to=[CARL], subject="s", body="t", attachments=[("a.txt", b"a")])
    attachment = people(CARL).get(sent.id).attachments[0].id
    people(ANN).recall([sent.id])
    with pytest.raises(ApiError, match="recalled"):
        b"".join(people(CARL).download(attachment))


def test_recall_only_of_what_nobody_has_read(people: People) -> None:
    people.configure("recall_only_if_unread = true")
    read, unread = (people(ANN).send(to=[CARL], subject=name, body="t").id for name in ("read", "unread"))
    people(CARL).get(read)
    result = people(ANN).recall([read, unread])
    assert (dict(result.totals), dict(result.codes)) == ({"done": 1, "failed": 1}, {"already_read": 1})
    assert "recall" not in people(ANN).get(read).message.may


def test_what_has_expired_is_read_and_printed_and_not_answered(people: People) -> None:
    sent = people(ANN).send(to=[CARL], subject="s", body="t", definition=DEFINITION)
    people.advance(days=7)
    row = only(people, CARL)
    assert row.expired
    assert row.may == ("read", "print", "mark", "delete")
    assert people(CARL).get(sent.id).text == "t\n"
    assert people(CARL).print(sent.id).text == "t\n"
    for everybody in (False, True):
        with pytest.raises(ApiError, match="It has expired") as caught:
            people(CARL).reply(sent.id, body="late", all=everybody)
        assert code(caught) == "expired"
    with pytest.raises(ApiError, match="only what has not yet can be extended"):
        people(ANN).extend(sent.id, until=moment(people.lab.server.clock.now()) + timedelta(days=1))
    assert people(CARL).delete([sent.id]).totals == {"done": 1}
    assert people.mail(ANN) == []


def test_expiry_may_block_reading_too(people: People) -> None:
    people.configure("expired_blocks_read = true")
    sent = people(ANN).send(to=[CARL], subject="s", body="t", option="expire-1d")
    assert people(ANN).expire([sent.id]).totals == {"done": 1}
    assert people(ANN).expire([sent.id]).totals == {"already": 1}
    assert only(people, CARL).may == ("mark", "delete")
    for act in (people(CARL).get, people(CARL).print):
        with pytest.raises(ApiError, match="It has expired"):
            act(sent.id)


def test_how_far_a_message_is_extended(people: People) -> None:
    now = moment(people.lab.server.clock.now())
    sent = people(ANN).send(to=[CARL], subject="s", body="t", option="expire-1d")
    assert people(ANN).extend(sent.id, until=now + timedelta(days=20)) == (now + timedelta(days=20)).replace(
        microsecond=0
    )
    assert only(people, ANN).status == "extended"
    people(CARL).get(sent.id)
    assert only(people, ANN).status == "read"
    for days, text in ((1, "not later than the one that stands"), (366, "beyond the account's retention")):
        with pytest.raises(ApiError, match=text):
            people(ANN).extend(sent.id, until=now + timedelta(days=days))
    lasting = people(ANN).send(to=[CARL], subject="for ever", body="t")
    with pytest.raises(ApiError, match="nothing to extend") as caught:
        people(ANN).extend(lasting.id, until=now + timedelta(days=1))
    assert code(caught) == "no_expiry"


def test_notifications_again(people: People) -> None:
    sent = people(ANN).send(to=[CARL, DORA, BOB], subject="s", body="t")
    assert [(one.address, one.notice) for one in people(ANN).notify(sent.id)] == [(CARL, "queued"), (DORA, "queued")]
    assert [one.address for one in people(ANN).notify(sent.id, to=DORA.upper())] == [DORA]
    assert (len(people.mail(CARL)), len(people.mail(DORA))) == (2, 3)
    with pytest.raises(NotFoundError, match=BOB):
        people(ANN).notify(sent.id, to=BOB)


def test_too_many_notifications_are_left_out_and_said(people: People) -> None:
    sent = people(ANN).send(to=[CARL], subject="s", body="t")
    for _ in range(limits.WRITTEN_PER_HOUR - 1):
        people(ANN).notify(sent.id)
    more = people(ANN).send(to=[CARL], subject="one more", body="t")
    assert [one.notice for one in more.recipients] == ["left out: too many notices to this address"]
    assert {message.subject for message in people(CARL).list()} == {"s", "one more"}
    people.advance(hours=1)
    assert [one.notice for one in people(ANN).notify(more.id)] == ["queued"]


# -- folders ------------------------------------------------------------------------------------------------------


def test_mark_delete_and_restore(people: People) -> None:
    ids = [people(ANN).send(to=[CARL], subject=name, body="t").id for name in ("a", "b")]
    assert people(CARL).mark(ids, read=True).totals == {"done": 2}
    assert people(CARL).mark([ids[0]], read=False).totals == {"done": 1}
    assert [message.subject for message in people(CARL).list(unread=True)] == ["a"]
    assert [one.status for one in people(ANN).get(ids[0]).recipients] == ["sent"], "marking is no reading"
    assert people(CARL).delete(people(CARL).list(subject="b")).totals == {"done": 1}
    assert people(CARL).delete([ids[1]]).totals == {"already": 1}
    assert [message.subject for message in people(CARL).list()] == ["a"]
    deleted = only(people, CARL, folder="deleted")
    assert (deleted.subject, deleted.folder) == ("b", "deleted")
    assert "restore" in deleted.may
    assert people(CARL).restore([deleted.id]).totals == {"done": 1}
    assert [message.subject for message in people(CARL).list()] == ["b", "a"]
    assert people(ANN).delete(ids).totals == {"done": 2}
    assert people(ANN).restore(ids).totals == {"done": 2}
    assert len(list(people(ANN).list(folder="sent"))) == 2


def test_the_inbox_shows_60_days_and_search_all(people: People) -> None:
    people(ANN).send(to=[CARL], subject="Old contract", body="about the harbour")
    people.advance(days=61)
    people(ANN).send(to=[CARL], subject="New contract", body="about the station", attachments=[("plan.txt", b"x")])
    assert [message.subject for message in people(CARL).list()] == ["New contract"]
    assert [message.subject for message in people(CARL).list(search="contract")] == ["New contract", "Old contract"]
    for words, found in (("harbour", ["Old contract"]), ("station contract", ["New contract"]), ("nothing", [])):
        assert [message.subject for message in people(CARL).list(search=words)] == found
    since = moment(people.lab.server.clock.now()) - timedelta(days=90)
    assert len(list(people(CARL).list(since=since))) == 2
    assert [message.subject for message in people(CARL).list(has_attachments=True)] == ["New contract"]
    assert [message.subject for message in people(ANN).list(to="elsewhere.example", subject="new*")] == ["New contract"]
    assert list(people(CARL).list(from_="bob@example.com")) == []


def test_pages_of_a_folder(people: People) -> None:
    for number in range(7):
        people(ANN).send(to=[CARL], subject=f"m{number}", body="t")
    pages = list(people(CARL).list(page_size=3).pages())
    assert [[message.subject for message in page.rows] for page in pages] == [
        ["m6", "m5", "m4"],
        ["m3", "m2", "m1"],
        ["m0"],
    ]
    assert pages[0].total_count == 7


def test_after_its_retention_a_message_is_gone(people: People) -> None:
    people.configure("retention_days = 30", archiving=False)
    sent = people(ANN).send(to=[CARL], subject="s", body="t")
    people.advance(days=29)
    keeping.sweep(people.lab.server)
    assert people(CARL).get(sent.id).text == "t\n"
    people.advance(days=1)
    for address in (CARL, ANN):
        with pytest.raises(NotFoundError):
            people(address).get(sent.id)
        assert list(people(address).list(search="t")) == []
    keeping.sweep(people.lab.server)
    people.advance(days=1)
    assert keeping.sweep(people.lab.server)["purged"] >= 1


# -- what the account sets ----------------------------------------------------------------------------------------


def test_definitions_by_folder_the_default_first(people: People) -> None:
    people.configure(
        "mode = 'full'",
        defined="[secure.folders]\nSales = ['ann@example.com']\nAll = ['example.com']\n"
        "[[secure.definition]]\nname = 'Quiet'\nfolder = 'Sales'\nread_receipt = true\nexpire_days = 2\n"
        "[[secure.definition]]\nname = 'Open'\nfolder = 'All'\nprint = true\nreply = true\n",
    )
    assert [row.name for row in people(ANN).definitions()] == [DEFAULT, "Quiet", "Open"]
    assert [row.name for row in people(BOB).definitions()] == [DEFAULT, "Open"]
    assert people(ADMIN).definitions(mailbox=ANN)[1].expire_days == 2
    with pytest.raises(ApiError, match="There is no definition 'Quiet' for this sender"):
        people(BOB).send(to=[CARL], subject="s", body="t", definition="Quiet")
    people(ANN).send(to=[CARL], subject="s", body="t", definition="Quiet")
    row = only(people, CARL)
    assert row.may == ("read", "mark", "delete")
    people(CARL).get(row.id)
    assert len(people.mail(ANN)) == 1


def test_lite(people: People) -> None:
    people.configure("mode = 'lite'")
    assert [row.name for row in people(ANN).definitions()] == ["External", "All"]
    assert people(ANN).settings().compose is False
    with pytest.raises(ForbiddenError, match="does not let this caller compose"):
        people(ANN).send(to=[CARL], subject="s", body="t", option="no-print")
    external = people(ANN).send(to=[CARL], subject="external", body="t")
    everybody = people(ANN).send(to=[CARL, BOB], subject="all", body="t", definition="All")
    assert (external.definition, everybody.definition) == ("External", "All")
    assert {one.address: one.way for one in everybody.recipients} == {CARL: "portal", BOB: "link"}
    with pytest.raises(ForbiddenError, match="compose"):
        people(CARL).send(to=[BOB], subject="s", body="t")
    assert "print" not in only(people, CARL, subject="all").may
    # Under All an answer waits here, and its receiver is notified; under External it is mail (portal-rules F.13).
    assert [one.way for one in people(CARL).reply(everybody.id, body="yes").recipients] == ["link"]
    assert [one.way for one in people(CARL).reply(external.id, body="yes").recipients] == ["mail"]
    assert "/s/" in people.mail(ANN)[0]
    (problem,) = people(ADMIN).recall([external.id]).problems
    assert problem.verdict.error == "In Secure Messaging Lite only its sender recalls a message."
    assert people(ANN).recall([external.id]).totals == {"done": 1}


def test_switched_off(people: People) -> None:
    sent = people(ANN).send(to=[CARL], subject="s", body="t")
    people.configure("mode = 'off'")
    assert people(ANN).settings().mode == "off"
    for act in (
        lambda: people(ANN).send(to=[CARL], subject="s", body="t"),
        lambda: people(CARL).get(sent.id),
        lambda: list(people(CARL).list()),
        lambda: list(people(ADMIN).monitor()),
        lambda: people(ADMIN).log(sent.id),
        lambda: people(ANN).definitions(),
    ):
        with pytest.raises(ForbiddenError, match="switched off"):
            act()


@pytest.mark.parametrize("switch", ["reply", "print", "delete", "compose"])
def test_each_action_can_be_switched_off(people: People, switch: str) -> None:
    sent = people(ANN).send(to=[CARL], subject="s", body="t")
    people.configure(f"{switch} = false")
    offered = people(CARL).settings()
    assert [getattr(offered, name) for name in ("compose", "reply", "print", "delete")] == [
        name != switch for name in ("compose", "reply", "print", "delete")
    ]
    row = only(people, CARL)
    refused = {"reply": {"reply", "reply_all"}, "print": {"print"}, "delete": {"delete"}, "compose": set()}[switch]
    assert set(OPEN) - set(row.may) == refused
    if switch == "reply":
        with pytest.raises(ForbiddenError, match="does not offer that"):
            people(CARL).reply(sent.id, body="x")
    elif switch == "print":
        for address in (CARL, ANN):
            with pytest.raises(ForbiddenError, match="does not offer that"):
                people(address).print(sent.id)
    elif switch == "delete":
        assert people(CARL).delete([sent.id]).codes == {"forbidden": 1}
    else:
        with pytest.raises(ForbiddenError, match="compose"):
            people(CARL).send(to=[BOB], subject="s", body="t", option="no-print")
        assert people(ANN).send(to=[CARL], subject="by definition", body="t").definition == DEFAULT


def test_compose_is_granted_per_person(people: People) -> None:
    people(ANN).send(to=[CARL, DORA], subject="s", body="t")
    people.configure("compose = ['elsewhere.example', 'bob@example.com']")
    assert people(CARL).settings().options == list(OPTIONS)
    assert people(CARL).send(to=[BOB], subject="s", body="t", option="no-print")
    assert people(BOB).send(to=[ANN], subject="s", body="t", option="no-print")
    assert people(DORA).settings().options == []
    for address in (DORA, ANN):
        with pytest.raises(ForbiddenError, match="compose"):
            people(address).send(to=[BOB], subject="s", body="t", option="no-print")


def test_people_outside_see_published_contacts(people: People) -> None:
    people.configure("published_contacts = ['bob@example.com', 'ann@example.com']")
    people(ANN).send(to=[CARL], subject="s", body="t")
    contacts = people.client(CARL).account.contacts
    assert [one.address for one in contacts(everyone=True)] == [ANN, BOB]
    assert list(contacts()) == []
    people(CARL).send(to=[BOB, "mod@example.com"], subject="s", body="t", option="no-print")
    assert [one.address for one in contacts()] == [BOB]
    people(ANN).send(to=[DORA, BOB], subject="s", body="t")
    assert {one.address: one.uses for one in people.client(ANN).account.contacts()} == {CARL: 1, DORA: 1, BOB: 1}


# -- watching over them -------------------------------------------------------------------------------------------


def test_the_monitor(people: People) -> None:
    names = ("sent", "read", "recalled", "extended")
    ids = {name: people(ANN).send(to=[CARL, DORA], subject=name, body="t", definition=DEFINITION).id for name in names}
    people(CARL).get(ids["read"])
    people(ANN).recall([ids["recalled"]])
    people(ANN).extend(ids["extended"], until=moment(people.lab.server.clock.now()) + timedelta(days=20))
    people(CARL).reply(ids["sent"], body="an answer")
    every = {message.subject: message for message in people(ADMIN).monitor()}
    assert {subject: (one.status, one.direction) for subject, one in every.items()} == {
        "sent": ("sent", "outbound"),
        "read": ("read", "outbound"),
        "recalled": ("recalled", "outbound"),
        "extended": ("extended", "outbound"),
        "Re: sent": ("sent", "inbound"),
    }
    assert every["sent"].to == (CARL, DORA)
    assert every["sent"].definition == DEFINITION
    for statuses in (["sent"], ["read", "extended"], ["recalled"]):
        found = {message.subject for message in people(ADMIN).monitor(statuses=statuses, direction="outbound")}
        assert found == set(statuses)
    assert [message.subject for message in people(ADMIN).monitor(search="RE: S")] == ["Re: sent"]
    assert [message.subject for message in people(ADMIN).monitor(direction="inbound")] == ["Re: sent"]
    people.advance(days=8)
    assert list(people(ADMIN).monitor()) == [], "the last 48 hours"
    since = moment(people.lab.server.clock.now()) - timedelta(days=9)
    over = {message.subject for message in people(ADMIN).monitor(since=since, expired=True)}
    assert over == {"sent", "read", "recalled", "Re: sent"}
    with pytest.raises(UsageError, match="There is no status 'expired'"):
        people(ADMIN).monitor(statuses=["expired"])
    with pytest.raises(ForbiddenError):
        list(people(ANN).monitor())


@pytest.mark.parametrize("conditions", [{"direction": "inbound"}, {"statuses": ["read"]}, {"search": "no such"}])
def test_a_portal_that_ignores_filters(
    people: People, conditions: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a portal filtered, the client filters every row again (promises A.2)."""
    people(ANN).send(to=[CARL], subject="s", body="t")
    given = door.Call

    def ignoring(*arguments: Any) -> door.Call:
        call = given(*arguments)
        call.faults = frozenset({"ignore_filters"})
        return call

    assert len(list(people(ADMIN).monitor())) == 1
    monkeypatch.setattr(door, "Call", ignoring)
    assert list(people(ADMIN).monitor(**conditions)) == []
    assert list(people(CARL).list(subject="other")) == []
    assert list(people(CARL).list(from_="bob@example.com")) == []
    assert len(list(people(CARL).list())) == 1


def test_the_log_of_a_message(people: People) -> None:
    sent = people(ANN).send(to=[CARL], subject="s", body="t", option="read-receipt")
    people(CARL).get(sent.id)
    people(CARL).print(sent.id)
    people(CARL).reply(sent.id, body="x")
    people(ADMIN).recall([sent.id])
    events = people(ADMIN).log(sent.id)
    assert [(event.event, event.actor, event.recipient) for event in events] == [
        ("send", ANN, ""),
        ("notify", ANN, CARL),
        ("open", CARL, CARL),
        ("receipt", CARL, CARL),
        ("print", CARL, ""),
        ("reply", CARL, ""),
        ("recall", ADMIN, ""),
    ]
    assert events[0].detail == {"definition": "read-receipt"}
    assert [event.time for event in events] == sorted(event.time for event in events)


def test_an_administrator_reads_with_content_view_alone_and_changes_nothing_by_it(people: People) -> None:
    sent = people(ANN).send(to=[CARL], subject="s", body="t", option="read-receipt")
    assert people(ADMIN).get(sent.id).text == "t\n"
    assert only(people, ANN).status == "sent"
    assert people.mail(ANN) == []
    people.add_blind()
    with pytest.raises(ForbiddenError):
        people(BLIND).get(sent.id)


# -- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"to": []}, "no recipient"),
        ({"to": ["nobody"]}, "Not an e-mail address"),
        ({"to": ["stranger@example.com"]}, "none of the portal's people"),
        ({"to": [f"p{n}@elsewhere.example" for n in range(251)]}, "at most 250 recipients"),
        ({"subject": "a\nBcc: eve@elsewhere.example"}, "line end or NUL"),
        ({"subject": "a\0b"}, "line end or NUL"),
        ({"option": "no-such"}, "There is no option"),
        ({"option": "no-print", "definition": DEFINITION}, "exclude each other"),
        ({"definition": "no such"}, "There is no definition"),
        ({"request_id": "x" * 300}, "requestId"),
        ({"attachments": "a.txt"}, "attachments takes several"),
        ({"attachments": [("a\r\nX: y", b"")]}, "line end or NUL"),
        ({"attachments": [Path("/no/such/file")]}, "cannot be read"),
    ],
)
def test_what_cannot_be_sent(people: People, given: dict[str, object], text: str) -> None:
    arguments = {"to": [CARL], "subject": "s", "body": "t", **given}
    with pytest.raises((UsageError, ApiError), match=text):
        people(ANN).send(**arguments)
    assert list(people(ANN).list()) == []
    assert people.mail(CARL) == []


def test_too_large_in_all_is_refused_before_anything_is_uploaded(people: People) -> None:
    files = [(f"{number}.bin", b"\0" * (limits.SECURE_ATTACHMENTS // 2 + number)) for number in (0, 1)]
    with pytest.raises(UsageError, match=TOO_LARGE):
        people(ANN).send(to=[CARL], subject="s", body="t", attachments=files)
    assert list(people(ANN).list()) == []
    with people.lab.server.database.read() as tx:
        assert tx.execute(uploads.select()).all() == []


def test_too_large_in_all_is_refused_by_the_portal_too(people: People) -> None:
    uploaded = [
        people.client(ANN).messages.upload((f"{number}.bin", bytes([number]) * (limits.SECURE_ATTACHMENTS // 2 + 1)))
        for number in (0, 1)
    ]
    item = contract.SendItem(
        request_id="large",
        to=[{"emailAddress": CARL}],
        text="t",
        attachments=[contract.AttachmentItem(id=file.upload_id, filename=file.name) for file in uploaded],
    )
    with pytest.raises(ApiError, match=TOO_LARGE) as caught:
        people.client(ANN).session.one(contract.SEND, item)
    assert code(caught) == "err_validation_attachments_too_large"
    assert list(people(ANN).list()) == []


@pytest.mark.parametrize("step", ["notify", "with_banner"])
def test_nothing_is_half_sent(people: People, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails at the very end of a sending takes back all of it."""

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(secure_laying, step, fails)
        with pytest.raises(UnavailableError, match="No space left"):
            people(ANN).send(to=[CARL, BOB], subject="s", body="t", request_id="mine")
    for table in (messages, secure_messages, deliveries, requested):
        with people.lab.server.database.read() as tx:
            assert tx.execute(table.select()).all() == [], table.name
    assert people(ANN).send(to=[CARL, BOB], subject="s", body="t", request_id="mine")
    assert [message.subject for message in people(CARL).list()] == ["s"]


def test_another_s_upload_is_nobody_s(people: People) -> None:
    file = people.client(BOB).messages.upload(("a.txt", b"secret"))
    attached = [contract.AttachmentItem(id=file.upload_id)]
    item = contract.SendItem(request_id="r", to=[{"emailAddress": CARL}], text="t", attachments=attached)
    with pytest.raises(ApiError) as caught:
        people.client(ANN).session.one(contract.SEND, item)
    assert code(caught) == "upload_not_found"


def test_hostile_text_is_kept_and_harmless(people: People) -> None:
    html = "<p onclick=alert(1)>x</p><script>alert(1)</script><img src='https://tracker.example/p.gif'>"
    sent = people(ANN).send(to=[CARL], subject="=cmd|' /C calc'!A0 \u202eevil", body="t\u202e\x1b[2J", html=html)
    row = only(people, CARL)
    assert row.subject == "=cmd|' /C calc'!A0 \u202eevil"
    content = people(CARL).get(sent.id)
    assert content.html is not None
    assert "script" in content.html  # as it was written: whoever shows it makes it safe
    for mail in people.mail(CARL):
        assert "evil" not in mail


def test_many_from_outside_are_too_many(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SECURE_PER_HOUR", 3)
    sent = people(ANN).send(to=[CARL], subject="s", body="t")
    for number in range(3):
        people(CARL).reply(sent.id, body=f"{number}")
    with pytest.raises(ApiError, match="at most 3 messages in an hour") as caught:
        people(CARL).reply(sent.id, body="one more")
    assert caught.value.status == 429
    people.advance(hours=1)
    assert people(CARL).reply(sent.id, body="later")


def test_whoever_is_disabled_outside_is_said(people: People) -> None:
    people(ANN).send(to=[CARL], subject="s", body="t")
    people.disable(CARL)
    with pytest.raises(ApiError, match="locked out"):
        people(ANN).send(to=[CARL, DORA], subject="again", body="t")
    assert [message.subject for message in people(ANN).list()] == ["s"]


# -- elsewhere ----------------------------------------------------------------------------------------------------


def test_on_mimecast_only_the_flags_of_lists_tell(people: People) -> None:
    sent = people(ANN).send(to=[CARL], subject="s", body="t")
    people(CARL).get(sent.id)
    client = people.lab.client(ANN, api="api1")
    (row,) = client.secure.list()
    assert (row.subject, row.status, row.expired, row.may, row.definition) == ("s", "read", False, (), None)
    assert list(client.secure.list(folder="inbox")) == []
    for act in (
        lambda: client.secure.send(to=[CARL], subject="s", body="t"),
        lambda: client.secure.get(sent.id),
        lambda: client.secure.recall([sent.id]),
        lambda: client.secure.list(folder="deleted"),
        lambda: client.secure.list(search="x"),
        lambda: client.secure.monitor(),
        lambda: client.secure.definitions(),
        lambda: client.secure.settings(),
    ):
        with pytest.raises(NotOfferedError):
            act()
    client.close()


# -- what goes as mail ---------------------------------------------------------------------------------------------


def test_a_full_mailbox_inside_refuses_the_whole_and_loses_nothing(people: People) -> None:
    def fill(octets: int) -> None:
        with people.lab.server.write() as tx:
            tx.execute(persons.update().where(persons.c.address == BOB).values(octets=octets))

    fill(limits.PERSON_OCTETS)
    with pytest.raises(ApiError, match=f"no room in the mailbox of {BOB}") as caught:
        people(ANN).send(to=[CARL, BOB], subject="s", body="t", request_id="one")
    assert code(caught) == "mailbox_full"
    assert list(people(ANN).list()) == []
    assert people.mail(CARL) == []
    fill(0)
    people(ANN).send(to=[CARL, BOB], subject="s", body="t", request_id="one")
    assert len(people.mail(BOB)) == 1
    fill(limits.PERSON_OCTETS)
    with pytest.raises(ApiError, match="no room"):
        people(CARL).reply(only(people, CARL).id, body="yes", all=True)
    assert people.mail(ANN) == []
    assert list(people(CARL).list(folder="sent")) == []


def test_mail_with_a_banner_leaves_by_a_return_path_of_ours(people: People) -> None:
    people(ANN).send(to=[CARL, BOB], subject="s", body="t")
    people(CARL).reply(only(people, CARL).id, body="yes", all=True)
    with people.lab.server.database.read() as tx:
        rows = tx.execute(select(deliveries.c.recipient, deliveries.c.sender).where(deliveries.c.kind == "screened"))
        senders = [(row.recipient, row.sender) for row in rows]
    assert sorted(recipient for recipient, _ in senders) == [ANN, BOB, BOB]
    assert all(sender.startswith("bounce+") and sender.endswith("@example.com") for _, sender in senders)
    assert people.client(ANN).messages.list("inbox").first(1)[0].from_address == CARL


def test_held_mail_that_was_composed_here_leaves_by_a_return_path_of_ours_too(people: People) -> None:
    program = [("run.exe", b"MZ")]
    people(ANN).send(to=[CARL], subject="s", body="t")
    people(CARL).reply(only(people, CARL).id, body="yes", attachments=program)
    people.client(BOB).messages.send(to=ANN, subject="with a program", body="t", attachments=program)
    people.lab.receive(mail_of(subject="of a stranger"), kind="content", level="user")
    held = {message.subject: message for message in people.client(ANN).holds.list()}
    assert held["Re: s"].from_address == CARL
    assert people.client(ANN).holds.release([message.id for message in held.values()]).totals == {"done": 3}
    with people.lab.server.database.read() as tx:
        released = select(deliveries.c.sender, messages.c.subject, messages.c.id).join(
            messages, messages.c.id == deliveries.c.message_id
        )
        rows = {row.subject: row for row in tx.execute(released.where(deliveries.c.kind == "released"))}
        for subject, writer in (("Re: s", CARL), ("with a program", BOB)):
            token = bounces.token_of(people.lab.server, rows[subject].sender)
            assert token, rows[subject].sender
            granted = bounces.sender_of(people.lab.server, tx, token)
            assert granted
            assert (granted.address, granted.object) == (writer, str(rows[subject].id))
    assert rows["of a stranger"].sender == held["of a stranger"].from_address
    assert CARL in {message.from_address for message in people.client(ANN).messages.list("inbox")}


def test_a_receipt_to_somebody_outside_tells_nothing_of_the_message(people: People) -> None:
    people(ANN).send(to=[CARL], subject="first", body="t")
    sent = people(CARL).send(to=[ANN], subject="My diagnosis", body="t", option="read-receipt")
    people(ANN).get(sent.id)
    receipt = people.mail(CARL)[-1]
    assert "Subject: Your secure message was opened" in receipt
    assert "diagnosis" not in receipt
    assert f"/secure/messages/{sent.id}" in receipt.replace("=\n", "")
