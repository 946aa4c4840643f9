"""Who may do what: a role by endpoint matrix typed by hand from portal-rules H and B.30 to B.32, every cell tested.

The objects are held messages of ann's at user (U), moderator (M) and administrator (A) level, her sender lists,
and everybody's own. A cell of `OBJECTS` has one sign per level, in that order:

    +   it is done
    F   refused, though the caller may see the message
    -   answered as if there were no such message
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from hashlib import sha256
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update

from asking import (
    ACCOUNT,
    ADD,
    BULK_DELETE,
    CHECK,
    DETAIL,
    FILE,
    FIND,
    IMPORT,
    LIST,
    LOG,
    PERMIT_OR_BLOCK,
    REJECT,
    RELEASE,
    REMOVE,
    SENDERS,
    STATES,
    SUMMARY,
    WHOAMI,
    Asking,
    Told,
)
from conftest import ADMIN, ANN, BOB, Lab, mail_of
from mimeportal.wire import ARGUMENT, Endpoint, Request, format_date
from mimeportal_server import apps, people
from mimeportal_server.clock import moment
from mimeportal_server.door import NOUNS
from mimeportal_server.store.schema import deliveries
from sending import PATH as LARGE_FILES
from sending import Sending, begin, chunk, described, sent
from sending import sha256 as digest_of

# role -> (address, role in the portal, moderated scopes, content view)
ROLES = {
    "owner": (ANN, "user", (), False),
    "other": (BOB, "user", (), False),
    "moderator": ("mod-address@example.com", "user", (ANN,), False),
    "domain moderator": ("mod-domain@example.com", "user", ("example.com",), False),
    "other moderator": ("mod-other@example.com", "user", (BOB,), False),
    "administrator": (ADMIN, "administrator", (), True),
    "blind administrator": ("blind@example.com", "administrator", (), False),
    "app": ("app:works", "administrator", (), True),
    "moderating app": ("app:moderates", "user", (ANN,), False),
}
NOBODY = {"disabled": "gone@example.com", "unknown": "stranger@example.com"}
LEVELS = {"U": "user", "M": "moderator", "A": "administrator"}

# act                       operation           owner other  mod.  dom.  oth.  admin blind  app   mod. app
OBJECTS = {
    "see by id":           ("holds.find",      "+--", "---", "-+-", "-+-", "---", "+++", "+++", "+++", "-+-"),
    "state":               ("holds.states",    "+--", "---", "-+-", "-+-", "---", "+++", "+++", "+++", "-+-"),
    "content":             ("holds.detail",    "+--", "---", "-+-", "-+-", "---", "+++", "FFF", "+++", "-+-"),
    "octets":              ("holds.file",      "+--", "---", "-+-", "-+-", "---", "+++", "FFF", "+++", "-+-"),
    "octets of a part":    ("holds.file",      "+--", "---", "-+-", "-+-", "---", "+++", "FFF", "+++", "-+-"),
    "release":             ("holds.decide",    "+--", "---", "-+-", "-+-", "---", "+++", "+++", "+++", "-+-"),
    "hold-release":        ("holds.release",   "+--", "---", "-+-", "-+-", "---", "+++", "+++", "+++", "-+-"),
    "release and permit":  ("holds.decide",    "+--", "---", "-F-", "-F-", "---", "+++", "+++", "+++", "-F-"),
    "reject":              ("holds.decide",    "+--", "---", "-+-", "-+-", "---", "+++", "+++", "+++", "-+-"),
    "hold-reject":         ("holds.reject",    "+--", "---", "-+-", "-+-", "---", "+++", "+++", "+++", "-+-"),
    "reject and block":    ("holds.decide",    "+--", "---", "-F-", "-F-", "---", "+++", "+++", "+++", "-F-"),
    "reject and tell":     ("holds.decide",    "F--", "---", "-+-", "-+-", "---", "+++", "+++", "+++", "-+-"),
    "hold-reject, telling": ("holds.reject",   "F--", "---", "-+-", "-+-", "---", "+++", "+++", "+++", "-+-"),
}  # fmt: skip


# Lists: which of ann's three messages are in it; None: refused.
LISTS = {
    "personal":            ("holds.find",      "U",   "",    "",    "",    "",    "",    "",    "",    ""),
    "moderated":           ("holds.find",      "",    "",    "M",   "M",   "",    "",    "",    "",    "M"),
    "admin":               ("holds.find",      None,  None,  None,  None,  None,  "UMA", "UMA", "UMA", None),
    "Mimecast's own":      ("holds.list",      "U",   "",    "",    "",    "",    "",    "",    "",    ""),
    "Mimecast's admin":    ("holds.list",      None,  None,  None,  None,  None,  "UMA", "UMA", "UMA", None),
    "summary":             ("holds.summary",   "U",   "",    "M",   "M",   "",    "UMA", "UMA", "UMA", "M"),
    "log":                 ("holds.log",       "U",   "",    "M",   "M",   "",    "UMA", "UMA", "UMA", "M"),
}  # fmt: skip

# Acts without a message: done (+), refused (F), or answered as if there were nothing (-). Apps have no mailbox,
# and so no address (x).
OTHERS = {
    "own lists":           ("senders.list",            "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "ann's lists":         ("senders.list",            "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "add to own":          ("senders.add",             "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "add to ann's":        ("senders.add",             "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "remove from own":     ("senders.remove",          "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "remove from ann's":   ("senders.remove",          "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "import to own":       ("senders.import",          "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "import to ann's":     ("senders.import",          "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "import to nobody's":  ("senders.import",          "F", "F", "F", "F", "F", "F", "F", "F", "F"),
    "check for oneself":   ("senders.check",           "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "check for ann":       ("senders.check",           "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "check for nobody":    ("senders.check",           "F", "F", "F", "F", "F", "F", "F", "F", "F"),
    "delete everywhere":   ("senders.bulk_delete",     "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "permit for oneself":  ("senders.permit_or_block", "+", "+", "+", "+", "+", "+", "+", "x", "x"),
    "permit for ann":      ("senders.permit_or_block", "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "lists of nobody":     ("senders.list",            "F", "F", "F", "F", "F", "F", "F", "F", "F"),
    "add to nobody's":     ("senders.add",             "F", "F", "F", "F", "F", "F", "F", "F", "F"),
    "permit for nobody":   ("senders.permit_or_block", "F", "F", "F", "F", "F", "F", "F", "F", "F"),
    "account":             ("account.show",            "+", "+", "+", "+", "+", "+", "+", "+", "+"),
    "who am I":            ("account.whoami",          "+", "+", "+", "+", "+", "+", "+", "+", "+"),
    "set a password":      ("account.password",        "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "log out":             ("auth.logout",             "+", "+", "+", "+", "+", "+", "+", "+", "+"),
    "log out another":     ("auth.logout",             "-", "-", "-", "-", "-", "-", "-", "-", "-"),
    "track":               ("messages.search",         "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "see a tracked one":   ("messages.info",           "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "see what is queued":  ("messages.processing",     "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "see the queues":      ("messages.queues",         "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "see what was refused": ("messages.rejections",    "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "ann's refused":       ("messages.rejections",     "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "all of the refused":  ("messages.rejections",     "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "own bounced":         ("messages.bounced",        "+", "+", "+", "+", "+", "+", "+", "+", "F"),
    "ann's bounced":       ("messages.bounced",        "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "see a bounced one":   ("messages.info",           "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "days of reports":     ("reports.days",            "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "report secure-messages": ("reports.secure_messages", "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "report traffic":      ("reports.traffic",         "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "report held":         ("reports.held",            "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "report releases":     ("reports.releases",        "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "report rejections":   ("reports.rejections",      "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "report senders":      ("reports.senders",         "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "report largefiles":   ("reports.largefiles",      "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "report logins":       ("reports.logins",          "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "report audit":        ("reports.audit",           "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "audit events":        ("reports.audit_events",    "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "audit categories":    ("reports.audit_categories", "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "siem files":          ("reports.siem_batch",      "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "siem logs":           ("reports.siem_logs",       "F", "F", "F", "F", "F", "+", "+", "+", "F"),
    "own preferences":     ("account.preferences",     "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "ann's preferences":   ("account.preferences",     "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "preferences of nobody": ("account.preferences",   "F", "F", "F", "F", "F", "F", "F", "F", "F"),
    "prefer for oneself":  ("account.set_preferences", "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "prefer for ann":      ("account.set_preferences", "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "contacts most used":  ("account.most_used_contacts", "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "find own contacts":   ("account.find_contacts",   "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "find ann's contacts": ("account.find_contacts",   "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "own delegates":       ("account.find_delegates",  "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "ann's delegates":     ("account.find_delegates",  "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "delegates of nobody": ("account.find_delegates",  "F", "F", "F", "F", "F", "F", "F", "F", "F"),
    "appoint for oneself": ("account.add_delegate",    "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "appoint for ann":     ("account.add_delegate",    "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "dismiss of ann":      ("account.remove_delegate", "+", "-", "-", "-", "-", "+", "+", "+", "-"),
    "reached by delegation": ("account.delegated_access", "+", "+", "+", "+", "+", "+", "+", "+", "+"),
}  # fmt: skip


# Mailboxes: done (+), found nothing (0), refused for the mailbox (F), refused for the content (C), or answered as if
# there were no such message (-).
MAIL = {
    "list one's own":      ("messages.list",   "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "list ann's":          ("messages.list",   "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "list nobody's":       ("messages.list",   "F", "F", "F", "F", "F", "F", "F", "F", "F"),
    "browse one's own":    ("messages.browse", "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "browse ann's":        ("messages.browse", "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "browse everyone's":   ("messages.browse", "F", "F", "F", "F", "F", "+", "F", "+", "F"),
    "ann's by its id":     ("messages.browse", "+", "0", "0", "0", "0", "+", "+", "+", "0"),
    "words in one's own":  ("messages.browse", "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "words in ann's":      ("messages.browse", "+", "F", "F", "F", "F", "+", "F", "+", "F"),
    "words in everyone's": ("messages.browse", "F", "F", "F", "F", "F", "+", "F", "+", "F"),
    "find in one's own":   ("messages.find",   "+", "+", "+", "+", "+", "+", "+", "0", "0"),
    "find in ann's":       ("messages.find",   "+", "F", "F", "F", "F", "+", "F", "0", "0"),
    "find all, admin":     ("messages.find",   "F", "F", "F", "F", "F", "+", "F", "+", "F"),
    "find ann's, admin":   ("messages.find",   "F", "F", "F", "F", "F", "+", "F", "+", "F"),
    "read ann's":          ("messages.detail", "+", "-", "-", "-", "-", "+", "C", "+", "-"),
    "a part of ann's":     ("messages.part",   "+", "-", "-", "-", "-", "+", "C", "+", "-"),
    "octets of ann's":     ("messages.file",   "+", "-", "-", "-", "-", "+", "C", "+", "-"),
    "a file of ann's":     ("messages.file",   "+", "-", "-", "-", "-", "+", "C", "+", "-"),
}  # fmt: skip


# Mail that is written, and what is done about its senders: done (+), nothing done (0), refused (F), or answered as if
# there were no such thing (-). Nobody but its writer sees a draft; an app writes from the portal's own address.
WRITING = {
    "upload":              ("messages.upload",       "+", "+", "+", "+", "+", "+", "+", "+", "+"),
    "send as oneself":     ("messages.submit",       "+", "+", "+", "+", "+", "+", "+", "+", "+"),
    "send as ann":         ("messages.submit",       "+", "F", "F", "F", "F", "F", "F", "F", "F"),
    "send-email, oneself": ("messages.send_email",   "+", "+", "+", "+", "+", "+", "+", "+", "+"),
    "send-email, ann":     ("messages.send_email",   "+", "F", "F", "F", "F", "F", "F", "+", "+"),
    "keep a draft":        ("messages.save_draft",   "+", "+", "+", "+", "+", "+", "+", "+", "+"),
    "list drafts":         ("messages.drafts",       "+", "0", "0", "0", "0", "0", "0", "0", "0"),
    "see ann's draft":     ("messages.draft",        "+", "-", "-", "-", "-", "-", "-", "-", "-"),
    "change ann's draft":  ("messages.save_draft",   "+", "-", "-", "-", "-", "-", "-", "-", "-"),
    "send ann's draft":    ("messages.submit",       "+", "-", "-", "-", "-", "-", "-", "-", "-"),
    "remove ann's draft":  ("messages.remove_draft", "+", "0", "0", "0", "0", "0", "0", "0", "0"),
    "see who got ann's":   ("messages.recipients",   "+", "-", "-", "-", "-", "+", "+", "+", "-"),
    "block for ann":       ("messages.block",        "+", "-", "-", "-", "-", "+", "+", "+", "-"),
    "report for ann":      ("messages.report",       "+", "-", "-", "-", "-", "+", "+", "+", "-"),
}  # fmt: skip


# Large files of ann's, likewise. Whoever may not see content may manage a send, and neither fetch nor send it on.
LARGE = {
    "how sends are preferred":  ("largefiles.preferences", "+", "+", "+", "+", "+", "+", "+", "+", "+"),
    "one's own sends":          ("largefiles.list",        "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "ann's sends":              ("largefiles.list",        "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "nobody's sends":           ("largefiles.list",        "F", "F", "F", "F", "F", "F", "F", "F", "F"),
    "send for oneself":         ("largefiles.create",      "+", "+", "+", "+", "+", "+", "+", "F", "F"),
    "send for ann":             ("largefiles.create",      "+", "F", "F", "F", "F", "+", "+", "+", "F"),
    "send for nobody":          ("largefiles.create",      "F", "F", "F", "F", "F", "F", "F", "F", "F"),
    "show":                     ("largefiles.show",        "+", "-", "-", "-", "-", "+", "+", "+", "-"),
    "send a chunk":             ("largefiles.chunk",       "+", "-", "-", "-", "-", "+", "+", "+", "-"),
    "what is missing":          ("largefiles.missing",     "+", "-", "-", "-", "-", "+", "+", "+", "-"),
    "check":                    ("largefiles.check",       "+", "-", "-", "-", "-", "+", "+", "+", "-"),
    "finish":                   ("largefiles.finish",      "+", "-", "-", "-", "-", "+", "+", "+", "-"),
    "pause":                    ("largefiles.pause",       "+", "-", "-", "-", "-", "+", "+", "+", "-"),
    "cancel":                   ("largefiles.cancel",      "+", "-", "-", "-", "-", "+", "+", "+", "-"),
    "extend":                   ("largefiles.extend",      "+", "-", "-", "-", "-", "+", "+", "+", "-"),
    "expire":                   ("largefiles.expire",      "+", "-", "-", "-", "-", "+", "+", "+", "-"),
    "resubmit":                 ("largefiles.resubmit",    "+", "-", "-", "-", "-", "+", "C", "+", "-"),
    "fetch":                    ("largefiles.octets",      "+", "-", "-", "-", "-", "+", "C", "+", "-"),
}  # fmt: skip


class World:
    """One portal with everybody in it. Each message has a sender of its own, so that no cell meets another's entry."""

    helper = "helper@example.com"

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        with lab.server.write() as tx:
            for address, role, scopes, content_view in ROLES.values():
                if address.startswith("app:"):
                    name = address.partition(":")[2]
                    apps.add(lab.server, tx, name, role=role, scopes=scopes, content_view=content_view)
                else:
                    people.add(
                        tx,
                        address,
                        role=role,
                        scopes=scopes,
                        content_view=content_view,
                        domains=("example.com",),
                        now=0,
                    )
            people.add(tx, self.helper, domains=("example.com",), now=0)
            gone, _ = people.add(tx, NOBODY["disabled"], scopes=(ANN,), domains=("example.com",), now=0)
            people.disable(tx, gone, True)
        self.ask = Asking(lab)
        self._count = 0
        self.lasting = {sign: self.hold(sign) for sign in LEVELS}
        found = self.ask(TRACK, {"advancedTrackAndTraceOptions": {"to": ANN}}).json
        self.tracked = str(found["data"][0]["trackedEmails"][0]["id"])
        self.mail, self.mail_part = self._lying()
        lab.receive(mail_of(subject="bounced"), reason=None)
        with lab.server.write() as tx:
            newest = select(func.max(deliveries.c.id)).scalar_subquery()
            failed = update(deliveries).where(deliveries.c.id == newest)
            tx.execute(failed.values(state="failed", finished=1))
        self.bounced = str(self.ask(BOUNCED, {}).row["id"])

    def hold(self, sign: str) -> str:
        """A new message of ann's at a level, by id."""
        self._count += 1
        subject = f"message {self._count} {sign}"
        body = "text\n" * 3
        octets = mail_of(
            f"s{self._count}@sender{self._count}.example",
            subject,
            extra='MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n',
            body=f"--b\n\n{body}--b\nContent-Disposition: attachment; filename=a.txt\n\npart\n--b--\n",
        )
        self.lab.receive(octets, level=LEVELS[sign])
        return self.ask.one(subject=f"message {self._count} {sign}")

    def _lying(self) -> tuple[str, str]:
        """A message in ann's inbox, and its attachment."""
        octets = mail_of(
            "pen@pal.example",
            "lying there",
            extra='MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n',
            body="--b\n\ntext\n--b\nContent-Disposition: attachment; filename=a.txt\n\npart\n--b--\n",
        )
        assert self.lab.receive(octets, reason=None)[0].outcome == "delivered"
        (row,) = self.ask(MESSAGES, {}, by=ANN).rows
        (part,) = self.ask(MESSAGE, {"id": row["id"]}, by=ANN).row["attachments"]
        return str(row["id"]), str(part["id"])

    def got(self) -> str:
        """A new message in ann's inbox, by id."""
        self._count += 1
        subject = f"lying there {self._count}"
        self.lab.receive(mail_of(f"s{self._count}@sender{self._count}.example", subject), reason=None)
        return str(self.ask(BROWSE, {"mailbox": ANN, "folder": "inbox", "subject": subject}).row["id"])

    def draft(self) -> str:
        """A new draft of ann's, by id."""
        return str(self.ask(SAVE_DRAFT, new_mail(), by=ANN).row["id"])

    def sent(self) -> str:
        """A new message that ann sent, by id."""
        return str(self.ask(SUBMIT, new_mail(), by=ANN).row["id"])

    def upload(self, by: str) -> Told:
        octets = f"of {by}".encode()
        argument = json.dumps({"data": [{"sha256": sha256(octets).hexdigest(), "fileSize": len(octets)}]})
        response = self.ask.door.handle(Request("POST", UPLOAD, {ARGUMENT: argument}, [octets]), self.ask.caller(by))
        return Told(response.status, response.headers, b"".join(response.body))

    def binding(self, address: str) -> str:
        """The access key of a new binding of somebody's."""
        server = self.lab.server
        app_id, _ = apps.built_in(server)
        with server.write() as tx:
            app, person = apps.find(tx, app_id), people.find(tx, address)
            assert app is not None
            assert person is not None
            return apps.bind(server, tx, app.id, person.id, person.epoch, None)  # type: ignore[arg-type]

    def delegation(self, owner: str) -> str:
        """The id of a delegation of somebody's, which there is."""
        told = self.ask(APPOINT, {"primaryAddress": owner, "delegateAddress": self.helper})
        return str(told.row["id"])

    def part(self, id: str) -> str:
        """The id of the message's attachment."""
        return str(self.ask(DETAIL, {"id": id}).row["attachments"][0]["id"])

    def state(self, id: str) -> str:
        return str(self.ask(STATES, {"ids": [id]}).row["state"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    lab = Lab(tmp_path_factory.mktemp("roles") / "home")
    world = World(lab)
    yield world
    world.ask.close()
    lab.server.close()


Act = Callable[[Asking, str, str], Told]
ACTS: dict[str, Act] = {
    "see by id": lambda ask, one, by: ask(FIND, {"ids": [one]}, by=by),
    "state": lambda ask, one, by: ask(STATES, {"ids": [one]}, by=by),
    "content": lambda ask, one, by: ask(DETAIL, {"id": one}, by=by),
    "octets": lambda ask, one, by: ask(FILE, {"id": one}, by=by),
    "octets of a part": lambda ask, one, by: ask(FILE, {"id": one}, by=by),
    "release": lambda ask, one, by: ask.decide(one, "release", by=by),
    "hold-release": lambda ask, one, by: ask(RELEASE, {"id": one}, by=by),
    "release and permit": lambda ask, one, by: ask.decide(one, "release", permit="address", by=by),
    "reject": lambda ask, one, by: ask.decide(one, "reject", by=by),
    "hold-reject": lambda ask, one, by: ask(REJECT, {"ids": [one]}, by=by),
    "reject and block": lambda ask, one, by: ask.decide(one, "reject", block="address", by=by),
    "reject and tell": lambda ask, one, by: ask.decide(one, "reject", notify=True, by=by),
    "hold-reject, telling": lambda ask, one, by: ask(REJECT, {"ids": [one], "notify": True}, by=by),
}
LOGOUT, PASSWORD = "/api/login/logout", "/api/portal/account/password"
TRACK, INFO = "/api/message-finder/search", "/api/message-finder/get-message-info"
PROCESSING, QUEUES = "/api/gateway/find-processing-messages", "/api/email/get-email-queues"
REJECTIONS, BOUNCED = "/api/gateway/get-rejections", "/api/portal/messages/bounced"
PREFERENCES, PREFER = "/api/portal/account/preferences", "/api/portal/account/set-preferences"
MOST_USED, CONTACTS = "/api/user/get-most-used-contacts", "/api/portal/account/contacts"
DELEGATES, APPOINT = "/api/user/find-delegate-users", "/api/user/add-delegate-user"
DISMISS, REACHED = "/api/user/remove-delegate-user", "/api/user/get-delegated-access"
REPORTS, DAYS = "/api/portal/reports", {"start": "2026-11-02", "end": "2026-11-04"}
AUDIT_EVENTS, AUDIT_CATEGORIES = "/api/audit/get-audit-events", "/api/audit/get-categories"
SIEM_BATCH, SIEM_LOGS = "/siem/v1/batch/events/cg", "/api/audit/get-siem-logs"
READING = ("see by id", "state", "content", "octets", "octets of a part")


def sign_of(told: Told) -> str:
    """What an answer about one message amounts to."""
    if told.code == "forbidden":
        return "F"
    if told.code == "not_found":
        return "-"
    assert told.code == ""
    found = told.headers["content-type"] != "application/json" or told.rows
    return "+" if found else "-"


def cells(table: dict[str, Any]) -> Any:
    pairs = [(act, role, cell) for act, (_, *row) in table.items() for role, cell in zip(ROLES, row, strict=True)]
    return pytest.mark.parametrize(("act", "role", "cell"), pairs, ids=[f"{act}: {role}" for act, role, _ in pairs])


@cells(OBJECTS)
def test_a_message(world: World, act: str, role: str, cell: str) -> None:
    by = ROLES[role][0]
    told = ""
    for sign in LEVELS:
        id = world.lasting[sign] if act in READING else world.hold(sign)
        object_id = world.part(id) if act == "octets of a part" else id
        told += sign_of(ACTS[act](world.ask, object_id, by))
        changed = world.state(id) != "held"
        assert changed == (told[-1] == "+" and act not in READING), f"level {sign}"
    assert told == cell


@cells(LISTS)
def test_a_list(world: World, act: str, role: str, cell: str | None) -> None:
    by = ROLES[role][0]
    item: dict[str, Any] = {}
    if act == "summary":
        # It counts by policy, not by message: what it counts is what the caller can see, or nothing.
        seen = {row["id"] for row in world.ask(FIND, {"ids": list(world.lasting.values())}, by=by).rows}
        assert {sign for sign, id in world.lasting.items() if id in seen} == set(cell or "")
        told = world.ask(SUMMARY, by=by)
        assert bool(told.rows) == bool(cell)
        return
    if act == "log":
        ids = {sign: world.hold(sign) for sign in LEVELS}
        subjects = {row["subject"]: row["subject"][-1] for row in world.ask(FIND, {"ids": list(ids.values())}).rows}
        for id in ids.values():
            world.ask.decide(id)
        rows = world.ask(LOG, {}, by=by, size=500).json["data"][0]["heldReleaseLogs"]
        found = [subjects[row["subject"]] for row in rows if row["subject"] in subjects]
    else:
        path = LIST if act.startswith("Mimecast") else FIND
        item = {"admin": act.endswith("admin")} if path == LIST else {"queue": act}
        told = world.ask(path, item, by=by, size=500)
        if cell is None:
            assert (told.status, told.code) == (403, "err_xdk_operation_forbidden_for_address")
            return
        lasting = {id: sign for sign, id in world.lasting.items()}
        found = [lasting[row["id"]] for row in told.rows if row["id"] in lasting]
    assert sorted(found) == sorted(cell or "")


def hour_before(ask: Asking) -> dict[str, str]:
    now = moment(ask.portal.clock.now())
    return {"start": format_date(now - timedelta(hours=1)), "end": format_date(now)}


def last_hour(ask: Asking) -> dict[str, str]:
    told = hour_before(ask)
    return {"startDateTime": told["start"], "endDateTime": told["end"]}


def week(ask: Asking) -> dict[str, str]:
    now = moment(ask.portal.clock.now())
    return {"dateRangeStartsAt": f"{now - timedelta(days=5):%Y-%m-%d}", "dateRangeEndsAt": f"{now:%Y-%m-%d}"}


def whose_binding(act: str, by: str) -> str:
    return by if "another" not in act else BOB if by == ANN else ANN


def whose(act: str, by: str) -> str:
    return ANN if "ann" in act else "absent@example.com" if "nobody" in act else by


@cells(OTHERS)
def test_what_is_about_no_message(world: World, act: str, role: str, cell: str) -> None:
    ask, by = world.ask, ROLES[role][0]
    mailbox = whose(act, by)
    entry = f"{act.replace(' ', '-').replace(chr(39), '')}@{role.replace(' ', '-')}.example"
    before = ask.lists(mailbox) if "@" in mailbox and "nobody" not in act else {}
    item = {"entry": entry, "list": "permitted", "mailbox": mailbox}
    if act.startswith("remove") and cell == "+":
        ask(ADD, item)
    acts = {
        "lists": lambda: ask(SENDERS, {"mailbox": mailbox}, by=by),
        "add": lambda: ask(ADD, item, by=by),
        "remove": lambda: ask(REMOVE, item, by=by),
        "import": lambda: ask(IMPORT, {"entries": [entry], "list": "permitted", "mailbox": mailbox}, by=by),
        "check": lambda: ask(CHECK, {"sender": entry, "mailbox": mailbox}, by=by),
        "permit": lambda: ask(PERMIT_OR_BLOCK, {"sender": entry, "to": mailbox, "action": "permit"}, by=by),
        "account": lambda: ask(ACCOUNT, by=by),
        "who am": lambda: ask(WHOAMI, by=by),
        "password": lambda: ask(PASSWORD, {"newPassword": "Passw0rd-of-mine"}, by=by),
        "log out": lambda: ask(LOGOUT, {"accessKey": world.binding(whose_binding(act, by))}, by=by),
        "track": lambda: ask(TRACK, {"advancedTrackAndTraceOptions": {"to": ANN}}, by=by),
        "tracked": lambda: ask(INFO, {"id": world.tracked}, by=by),
        "queued": lambda: ask(PROCESSING, {"searchBy": {"fieldName": "all", "value": "text"}}, by=by),
        "queues": lambda: ask(QUEUES, hour_before(ask), by=by),
        "see what was refused": lambda: ask(REJECTIONS, {}, by=by),
        "'s refused": lambda: ask(REJECTIONS, {"mailbox": mailbox}, by=by),
        "all of the refused": lambda: ask(REJECTIONS, {"admin": True}, by=by),
        "own bounced": lambda: ask(BOUNCED, {}, by=by),
        "'s bounced": lambda: ask(BOUNCED, {"mailbox": mailbox}, by=by),
        "a bounced": lambda: ask(INFO, {"id": world.bounced}, by=by),
        "preferences": lambda: ask(PREFERENCES, {"mailbox": mailbox}, by=by),
        "prefer for": lambda: ask(PREFER, {"mailbox": mailbox, "preferences": {"language": "de"}}, by=by),
        "most used": lambda: ask(MOST_USED, by=by),
        "contacts": lambda: ask(CONTACTS, {"mailbox": mailbox}, by=by),
        "delegates": lambda: ask(DELEGATES, {"primaryAddress": mailbox}, by=by),
        "appoint": lambda: ask(APPOINT, {"primaryAddress": mailbox, "delegateAddress": world.helper}, by=by),
        "dismiss": lambda: ask(DISMISS, {"id": world.delegation(ANN)}, by=by),
        "reached": lambda: ask(REACHED, by=by),
        "days of": lambda: ask(f"{REPORTS}/days", by=by),
        "report": lambda: ask(f"{REPORTS}/{act.rpartition(' ')[2]}", DAYS, by=by),
        "audit events": lambda: ask(AUDIT_EVENTS, last_hour(ask), by=by),
        "audit categories": lambda: ask(AUDIT_CATEGORIES, by=by),
        "siem files": lambda: ask.get(SIEM_BATCH, {"type": "receipt", **week(ask)}, by=by),
        "siem logs": lambda: ask(SIEM_LOGS, {"type": "MTA"}, by=by),
    }
    if act == "delete everywhere":
        ask(ADD, {**item, "mailbox": ANN})
        answered = ask.send(BULK_DELETE, {"ids": [entry]}, by=by)
        assert (answered.status == 200) == (cell == "+")
        assert (entry in ask.lists(ANN)) == (cell == "F")
        return
    told = acts[max((word for word in acts if word in act), key=len)]()
    if cell == "+" and "siem" in act:
        assert told.status == 200
        return
    if cell == "F" and "password" in act:
        assert (told.status, told.code) == (403, "forbidden")
    elif cell == "F":
        assert told.errors == [
            ("err_xdk_operation_forbidden_for_address", "0003 Forbidden To Perform Operation For Address")
        ]
        assert "nobody" in act or not before or ask.lists(mailbox) == before
    elif cell == "x":
        assert told.code == "err_validation_invalid_email_address"
    elif cell == "-":
        assert (told.status, told.code) == (404, "not_found")
    else:
        listing = act in ("own lists", "ann's lists", "track", "see what is queued", "see what was refused")
        listing |= "refused" in act or "bounced" in act or "contacts" in act or "delegates" in act
        listing |= "audit events" in act
        assert len(told.rows) >= (0 if listing else 1)
        if act.startswith(("add", "permit", "import")):
            assert ask.lists(mailbox)[entry] == "permitted"
        if act.startswith("remove"):
            assert entry not in ask.lists(mailbox)
    if act == "who am I":
        address, role_name, scopes, _ = ROLES[role]
        assert (told.row["emailAddress"], told.row["role"]) == (address, role_name)
        assert told.row["moderates"] == list(scopes)


MESSAGES, BROWSE = "/api/archive/get-message-list", "/api/portal/messages/browse"
MESSAGE, PART = "/api/archive/get-message-detail", "/api/archive/get-message-part"
MAIL_FILE, SEARCH = "/api/archive/get-file", "/api/archive/search"


def query_for(word: str, *mailboxes: str) -> str:
    named = "".join(f"<mailbox>{mailbox}</mailbox>" for mailbox in mailboxes)
    return f"<xmlquery><metadata><mailboxes>{named}</mailboxes></metadata><muse><text>{word}</text></muse></xmlquery>"


MAIL_ACTS: dict[str, Callable[[World, str], Told]] = {
    "list one's own": lambda world, by: world.ask(MESSAGES, {}, by=by),
    "list ann's": lambda world, by: world.ask(MESSAGES, {"mailbox": ANN}, by=by),
    "list nobody's": lambda world, by: world.ask(MESSAGES, {"mailbox": "absent@example.com"}, by=by),
    "browse one's own": lambda world, by: world.ask(BROWSE, {"folder": "inbox"}, by=by),
    "browse ann's": lambda world, by: world.ask(BROWSE, {"mailbox": ANN}, by=by),
    "browse everyone's": lambda world, by: world.ask(BROWSE, {"everyone": True}, by=by),
    "ann's by its id": lambda world, by: world.ask(BROWSE, {"ids": [world.mail]}, by=by),
    "words in one's own": lambda world, by: world.ask(BROWSE, {"words": "lying"}, by=by),
    "words in ann's": lambda world, by: world.ask(BROWSE, {"words": "lying", "mailbox": ANN}, by=by),
    "words in everyone's": lambda world, by: world.ask(BROWSE, {"words": "lying", "everyone": True}, by=by),
    "find in one's own": lambda world, by: world.ask(SEARCH, {"query": query_for("lying")}, by=by),
    "find in ann's": lambda world, by: world.ask(SEARCH, {"query": query_for("lying", ANN)}, by=by),
    "find all, admin": lambda world, by: world.ask(SEARCH, {"query": query_for("lying"), "admin": True}, by=by),
    "find ann's, admin": lambda world, by: world.ask(SEARCH, {"query": query_for("lying", ANN), "admin": True}, by=by),
    "read ann's": lambda world, by: world.ask(MESSAGE, {"id": world.mail}, by=by),
    "a part of ann's": lambda world, by: world.ask(PART, {"id": world.mail, "type": "PLAIN"}, by=by),
    "octets of ann's": lambda world, by: world.ask(MAIL_FILE, {"id": world.mail}, by=by),
    "a file of ann's": lambda world, by: world.ask(MAIL_FILE, {"id": world.mail_part}, by=by),
}


@cells(MAIL)
def test_a_mailbox(world: World, act: str, role: str, cell: str) -> None:
    by = ROLES[role][0]
    told = MAIL_ACTS[act](world, by)
    if cell == "F":
        assert told.errors == [
            ("err_xdk_operation_forbidden_for_address", "0003 Forbidden To Perform Operation For Address")
        ]
    elif cell in "C-":
        assert (told.status, told.code) == ((403, "forbidden") if cell == "C" else (404, "not_found"))
    elif told.headers["content-type"] != "application/json":
        assert b"text" in told.octets or told.octets == b"part"
    else:
        found = told.row.get("items", told.rows) if act.startswith("find") else told.rows
        wanted = 0 if cell == "0" or ("own" in act and by != ANN) else 1
        assert [row["id"] for row in found if row["id"] == world.mail] == [world.mail] * wanted


@pytest.mark.parametrize("act", ["read ann's", "a part of ann's", "octets of ann's", "a file of ann's"])
def test_mail_that_is_not_yours_and_mail_that_is_not_there_answer_alike(world: World, act: str) -> None:
    path = {"read ann's": MESSAGE, "a part of ann's": PART}.get(act, MAIL_FILE)
    never = world.ask.portal.sealer.id("mailfile" if "file" in act else "mailbox", 987_654_321)
    one = MAIL_ACTS[act](world, BOB)
    other = world.ask(path, {"id": never, "type": "PLAIN"}, by=BOB)
    assert (one.status, one.octets) == (other.status, other.octets)


UPLOAD, SEND_EMAIL, SUBMIT = "/api/file/file-upload", "/api/email/send-email", "/api/portal/messages/submit"
DRAFTS, DRAFT = "/api/portal/messages/drafts", "/api/portal/messages/draft"
SAVE_DRAFT, REMOVE_DRAFT = "/api/portal/messages/save-draft", "/api/portal/messages/remove-draft"
RECIPIENTS, BLOCK = "/api/portal/messages/recipients", "/api/portal/messages/block"
REPORT = "/api/portal/messages/report"


def new_mail(**more: Any) -> dict[str, Any]:
    """A message that can be sent, under a request id of its own."""
    return {"requestId": str(uuid4()), "to": [{"emailAddress": "pal@outside.example"}], "subject": "Hello", **more}


AS_ANN = {"from": {"emailAddress": ANN}}
WRITING_ACTS: dict[str, Callable[[World, str], Told]] = {
    "upload": lambda world, by: world.upload(by),
    "send as oneself": lambda world, by: world.ask(SUBMIT, new_mail(), by=by),
    "send as ann": lambda world, by: world.ask(SUBMIT, new_mail(mailbox=ANN), by=by),
    "send-email, oneself": lambda world, by: world.ask(SEND_EMAIL, new_mail(), by=by),
    "send-email, ann": lambda world, by: world.ask(SEND_EMAIL, new_mail(**AS_ANN), by=by),
    "keep a draft": lambda world, by: world.ask(SAVE_DRAFT, new_mail(), by=by),
    "list drafts": lambda world, by: world.ask(DRAFTS, by=by, size=500),
    "see ann's draft": lambda world, by: world.ask(DRAFT, {"id": world.draft()}, by=by),
    "change ann's draft": lambda world, by: world.ask(SAVE_DRAFT, new_mail(id=world.draft()), by=by),
    "send ann's draft": lambda world, by: world.ask(SUBMIT, {"requestId": str(uuid4()), "draft": world.draft()}, by=by),
    "remove ann's draft": lambda world, by: world.ask(REMOVE_DRAFT, {"id": world.draft()}, by=by),
    "see who got ann's": lambda world, by: world.ask(RECIPIENTS, {"id": world.sent()}, by=by),
    "block for ann": lambda world, by: world.ask(BLOCK, {"id": world.got()}, by=by),
    "report for ann": lambda world, by: world.ask(
        REPORT, {"id": world.got(), "type": "spam", "requestId": str(uuid4())}, by=by
    ),
}


@cells(WRITING)
def test_mail_that_is_written(world: World, act: str, role: str, cell: str) -> None:
    by = ROLES[role][0]
    draft = world.draft() if act == "list drafts" else ""
    told = WRITING_ACTS[act](world, by)
    if cell == "F":
        assert told.errors == [
            ("err_xdk_operation_forbidden_for_address", "0003 Forbidden To Perform Operation For Address")
        ]
    elif cell == "-":
        assert told.code == "not_found"
    elif act == "list drafts":
        assert (draft in [row["id"] for row in told.rows]) == (cell == "+")
    else:
        assert told.row.get("outcome", "done") == ("done" if cell == "+" else "already")


WRITTEN = ("see ann's draft", "change ann's draft", "send ann's draft", "see who got ann's", "block for ann")


@pytest.mark.parametrize("act", [*WRITTEN, "remove ann's draft", "report for ann"])
def test_what_another_wrote_and_what_is_not_there_answer_alike(
    world: World, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = WRITING_ACTS[act](world, BOB).json
    kind = "draft" if "draft" in act else "mailbox"
    never = world.ask.portal.sealer.id(kind, 987_654_321)
    for name in ("got", "draft", "sent"):
        monkeypatch.setattr(world, name, lambda: never)
    other = WRITING_ACTS[act](world, BOB).json
    assert [entry["errors"] for entry in one["fail"]] == [entry["errors"] for entry in other["fail"]]
    assert [row.get("outcome") for row in one["data"]] == [row.get("outcome") for row in other["data"]]


_FILES = {"a.bin": b"octets"}
SEND_ACTS: dict[str, Callable[[World, str], Told]] = {
    "how sends are preferred": lambda world, by: world.ask(f"{LARGE_FILES}/preferences", by=by),
    "one's own sends": lambda world, by: world.ask(f"{LARGE_FILES}/list", {}, by=by),
    "ann's sends": lambda world, by: world.ask(f"{LARGE_FILES}/list", {"mailbox": ANN}, by=by),
    "nobody's sends": lambda world, by: world.ask(f"{LARGE_FILES}/list", {"mailbox": "absent@example.com"}, by=by),
    "send for oneself": lambda world, by: world.ask(f"{LARGE_FILES}/create", described(_FILES), by=by),
    "send for ann": lambda world, by: world.ask(f"{LARGE_FILES}/create", described(_FILES, mailbox=ANN), by=by),
    "send for nobody": lambda world, by: world.ask(
        f"{LARGE_FILES}/create", described(_FILES, mailbox="absent@example.com"), by=by
    ),
    "show": lambda world, by: sent(world.ask, _FILES).do("show", by=by),
    "send a chunk": lambda world, by: (one := _begun(world)).chunk(one.file(), 0, b"octets", by=by),
    "what is missing": lambda world, by: (one := _begun(world)).do("missing", file=one.file(), by=by),
    "check": lambda world, by: _uploaded(world, "check", by),
    "finish": lambda world, by: _uploaded(world, "finish", by),
    "pause": lambda world, by: _begun(world).do("pause", by=by),
    "cancel": lambda world, by: _begun(world).do("cancel", by=by),
    "extend": lambda world, by: sent(world.ask, _FILES).do("extend", until=_in_days(world, 60), by=by),
    "expire": lambda world, by: sent(world.ask, _FILES).do("expire", by=by),
    "resubmit": lambda world, by: sent(world.ask, _FILES).do("resubmit", to=[BOB], requestId="again", by=by),
    "fetch": lambda world, by: _fetched(sent(world.ask, _FILES), by),
}


def _begun(world: World) -> Sending:
    return begin(world.ask, _FILES)


def _fetched(sending: Sending, by: str) -> Told:
    return sending.do("octets", file=sending.file(), by=by)


def _uploaded(world: World, act: str, by: str) -> Told:
    sending = begin(world.ask, _FILES)
    if act == "check":
        assert sending.chunk(sending.file(), 0, b"octets").rows
        return sending.do("check", file=sending.file(), sha256=digest_of(b"octets"), by=by)
    sending.upload()
    return sending.do(act, by=by)


def _in_days(world: World, days: int) -> str:
    return format_date(moment(world.ask.portal.clock.now()) + timedelta(days=days))


@cells(LARGE)
def test_large_files(world: World, act: str, role: str, cell: str) -> None:
    told = SEND_ACTS[act](world, ROLES[role][0])
    if cell == "F":
        assert told.errors == [
            ("err_xdk_operation_forbidden_for_address", "0003 Forbidden To Perform Operation For Address")
        ]
    elif cell in "C-":
        assert (told.status, told.code) == ((403, "forbidden") if cell == "C" else (404, "not_found"))
    elif told.headers["content-type"] != "application/json":
        assert told.octets == b"octets"
    else:
        assert len(told.rows) >= (0 if act == "one's own sends" else 1)


@pytest.mark.parametrize("act", [act for act, (_, *row) in LARGE.items() if "-" in row])
def test_sends_that_are_not_yours_and_sends_that_are_not_there_answer_alike(world: World, act: str) -> None:
    path = f"{LARGE_FILES}/{LARGE[act][0].partition('.')[2]}"
    kind = "largefile-file" if act in ("send a chunk", "what is missing", "check", "fetch") else "largefile"
    never = world.ask.portal.sealer.id(kind, 987_654_321)
    named = {"file" if kind == "largefile-file" else "id": never}
    named |= {"crc32": zlib.crc32(b"octets")} if act == "send a chunk" else {"sha256": digest_of(b"octets")}
    more = {"until": _in_days(world, 60), "to": [BOB], "requestId": "again", "index": 0}
    one = SEND_ACTS[act](world, BOB)
    if act == "send a chunk":
        other = chunk(world.ask, {**named, **more}, b"octets", BOB)
    else:
        other = world.ask(path, {**named, **more}, by=BOB)
    assert (one.status, one.octets) == (other.status, other.octets)


def endpoints() -> list[Endpoint[Any, Any]]:
    return [row for noun in NOUNS for row in import_module(f"mimeportal.{noun}.contract").ENDPOINTS]


AUTHORISED = [endpoint for endpoint in endpoints() if endpoint.authorised]


@pytest.mark.parametrize("address", NOBODY.values(), ids=NOBODY)
@pytest.mark.parametrize("endpoint", AUTHORISED, ids=lambda endpoint: endpoint.name)
def test_nobody_is_nobody(world: World, endpoint: Endpoint[Any, Any], address: str) -> None:
    """Whoever shows no credentials is told so as the gateway of API 2.0 does, before anything is looked at."""
    told = world.ask.send(endpoint.path, {"data": [{"id": world.lasting["U"]}]}, by=address, method=endpoint.method)
    (failure,) = json.loads(told.octets)["fail"]
    assert (told.status, failure["code"]) == (401, "token_verification_failed")


def test_the_matrix_has_every_operation() -> None:
    typed = {operation for table in (OBJECTS, LISTS, OTHERS, MAIL, WRITING, LARGE) for operation, *_ in table.values()}
    # Secure messages have a matrix of their own, in test_secure_roles.py.
    assert typed == {endpoint.name for endpoint in AUTHORISED if endpoint.noun != "secure"}
    assert set(ACTS) == set(OBJECTS)
    assert set(MAIL_ACTS) == set(MAIL)
    assert set(SEND_ACTS) == set(LARGE)
    assert set(WRITING_ACTS) == set(WRITING)


NOT_THEIRS = [
    (act, role, sign)
    for act, (_, *row) in OBJECTS.items()
    for role, cell in zip(ROLES, row, strict=True)
    for sign, mark in zip(LEVELS, cell, strict=True)
    if mark == "-"
]


@pytest.mark.parametrize("act", OBJECTS)
def test_not_yours_and_not_there_answer_alike(world: World, act: str) -> None:
    """To the last octet, but for the id that was asked about and the name of the request (promises E.1)."""
    kind = "part" if act == "octets of a part" else "hold"
    never = world.ask.portal.sealer.id(kind, 987_654_321)
    for _, role, sign in (triple for triple in NOT_THEIRS if triple[0] == act):
        by = ROLES[role][0]
        there = world.part(world.lasting[sign]) if kind == "part" else world.lasting[sign]
        answers = []
        for id in (there, never):
            told = ACTS[act](world.ask, id, by)
            headers = {name: value for name, value in told.headers.items() if name != "x-request-id"}
            answers.append((told.status, json.dumps(headers), told.octets.replace(id.encode(), b"ID")))
        assert answers[0] == answers[1], (role, sign)


def test_what_stands_already_is_told_only_to_those_who_may_see(world: World) -> None:
    id = world.hold("U")
    world.ask.decide(id)
    never = world.ask.portal.sealer.id("hold", 987_654_321)
    for by in (BOB, ROLES["moderator"][0], ROLES["domain moderator"][0]):
        for decision in ("release", "reject"):
            told = [world.ask.decide(one, decision, by=by).octets.replace(one.encode(), b"ID") for one in (id, never)]
            assert told[0] == told[1]
