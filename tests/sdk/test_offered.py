"""What Mimecast offers works on Mimecast (promises H): a table typed by hand from the catalogue of its endpoints.

Each public endpoint of our nouns (mimecast-api-portal 7, mimecast-api-core 2 and 3) stands beside the call of the SDK
that reaches it. The calls go to a transport that answers as little as it can: none may raise `NotOfferedError`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest

from mimeportal.errors import ApiError, MimeportalError, NotOfferedError
from mimeportal.holds import Hold
from mimeportal.portal import Portal
from mimeportal.wire import Request, Response
from mimeportal_server.door import NOUNS

HELD = Hold(
    id="eNhold",
    queue="admin",
    level=None,
    reason="Message Hold Applied - Spam Signature policy",
    reason_code="message_hold_applied_spam_signature_policy",
    policy="Relaxed Spam Detection",
    from_address="bounce@sender.example",
    from_header="billing@sender.example",
    to_address="ann@example.com",
    subject="Invoice",
    route="inbound",
    size=1,
    has_attachments=False,
    date_received=datetime(2026, 8, 1, tzinfo=UTC),
    expires=None,
    sender_blocked=None,
)
# One call, which asks each API by what that has.
EACH_ITS_OWN = {"/siem/v1/batch/events/cg", "/api/audit/get-siem-logs"}
SIEM = {"since": datetime(2026, 8, 1, tzinfo=UTC), "until": datetime(2026, 8, 2, tzinfo=UTC)}
BOTH, FIRST, SECOND = ("api1", "api2"), ("api1",), ("api2",)
Call = Callable[[Portal], Any]

# endpoint -> the APIs that have it, and the call. get-message-detail with a bearer token is promises H.
OFFERED: dict[str, tuple[tuple[str, ...], Call]] = {
    "/api/account/get-account": (BOTH, lambda portal: portal.account.show()),
    "/api/archive/get-file": (BOTH, lambda portal: b"".join(portal.messages.download("eNfile"))),
    "/api/archive/get-message-detail": (BOTH, lambda portal: portal.messages.get("eNmessage")),
    "/api/archive/get-message-list": (
        BOTH,
        lambda portal: list(portal.messages.list("inbox", mailbox="ann@example.com")),
    ),
    "/api/archive/get-message-part": (BOTH, lambda portal: b"".join(portal.messages.part("eNmessage", "PLAIN"))),
    "/api/archive/search": (BOTH, lambda portal: list(portal.messages.search("invoice", mailbox="ann@example.com"))),
    "/api/audit/get-audit-events": (BOTH, lambda portal: list(portal.reports.audit())),
    "/api/audit/get-categories": (BOTH, lambda portal: portal.reports.audit_categories()),
    "/api/audit/get-siem-logs": (FIRST, lambda portal: list(portal.reports.siem_events("receipt", **SIEM))),
    "/siem/v1/batch/events/cg": (SECOND, lambda portal: list(portal.reports.siem_events("receipt", **SIEM))),
    "/api/email/get-email-queues": (BOTH, lambda portal: portal.messages.queues()),
    "/api/email/send-email": (
        BOTH,
        lambda portal: portal.messages.send(to="ann@example.com", subject="Hello", body="Hello Ann."),
    ),
    "/api/file/file-upload": (BOTH, lambda portal: portal.messages.upload(("a.txt", b"hello"))),
    "/api/gateway/find-processing-messages": (BOTH, lambda portal: list(portal.messages.processing())),
    "/api/gateway/get-held-release-logs": (BOTH, lambda portal: list(portal.holds.log())),
    "/api/gateway/get-hold-message-list": (BOTH, lambda portal: list(portal.holds.list())),
    "/api/gateway/get-hold-summary-list": (BOTH, lambda portal: portal.holds.summary()),
    "/api/gateway/get-rejections": (BOTH, lambda portal: list(portal.messages.rejected())),
    "/api/gateway/hold-reject": (
        BOTH,
        lambda portal: portal.holds.reject(
            [HELD], notify=True, message="no", reason_type="REVIEWER DISAPPROVES OF CONTENT"
        ),
    ),
    "/api/gateway/hold-release": (BOTH, lambda portal: portal.holds.release([HELD])),
    "/api/gateway/message/get-file": (BOTH, lambda portal: b"".join(portal.holds.download("eNfile"))),
    "/api/gateway/message/get-message-detail": (BOTH, lambda portal: portal.holds.get("eNhold")),
    "/api/login/discover-authentication": (
        FIRST,
        lambda portal: portal.auth.discover("ann@example.com", app_id="an app"),
    ),
    "/api/login/login": (FIRST, lambda portal: portal.auth.login("ann@example.com", "secret", app_id="an app")),
    "/api/login/logout": (FIRST, lambda portal: portal.auth.logout("an access key")),
    "/api/managedsender/permit-or-block-sender": (
        BOTH,
        lambda portal: portal.senders.add(["a@sender.example"], "blocked", mailbox="ann@example.com"),
    ),
    "/api/message-finder/get-message-info": (BOTH, lambda portal: portal.messages.info("eNtracked", content=True)),
    "/api/message-finder/search": (BOTH, lambda portal: list(portal.messages.track(from_="sender.example"))),
    "/api/user/add-delegate-user": (
        BOTH,
        lambda portal: portal.account.add_delegate("bob@example.com", mailbox="ann@example.com"),
    ),
    "/api/user/find-delegate-users": (BOTH, lambda portal: list(portal.account.delegates(mailbox="ann@example.com"))),
    "/api/user/get-delegated-access": (FIRST, lambda portal: portal.account.delegated_access()),
    "/api/user/get-most-used-contacts": (BOTH, lambda portal: list(portal.account.contacts())),
    "/api/user/remove-delegate-user": (
        BOTH,
        lambda portal: portal.account.remove_delegate("bob@example.com", mailbox="ann@example.com"),
    ),
    "/email/cloud-gateway/v1/managed-senders/senders/bulk-delete": (
        SECOND,
        lambda portal: portal.senders.remove_everywhere(["a@sender.example"], "blocked"),
    ),
    "/oauth/token": (SECOND, lambda portal: portal.auth.token("a client", "its secret")),
}
# What else the catalogue has under the paths of our nouns, and why no method is named for it: `portal.call(path)` and
# `mimeportal api PATH` reach it as they reach everything.
CALLED = {
    "/api/account/get-dashboard-notifications": "news of the administrators' console",
    "/api/account/get-support-info": "whom an administrator calls",
    "/api/archive/get-archive-search-logs": "a log of the archive's use, for administrators",
    "/api/archive/get-search-logs": "likewise",
    "/api/archive/get-view-logs": "likewise",
    "/api/user/add-to-purge-list": "administrators' work on people",
    "/api/user/create-user": "likewise",
    "/api/user/get-aliases": "likewise",
    "/api/user/get-attributes": "likewise",
    "/api/user/get-import-status": "likewise",
    "/api/user/get-internal-users": "likewise",
    "/api/user/get-profile": "no page of it is known; `account show` tells what a portal says of its caller",
    "/api/user/import-users": "administrators' work on people",
    "/api/user/remove-alias": "likewise",
    "/api/user/remove-from-purge-list": "likewise",
    "/api/user/update-alias": "likewise",
    "/api/user/update-attributes": "likewise",
    "/api/user/update-user": "likewise",
}
# Calls that promises H names beside the plain ones: other options, other ways to the same endpoints.
MORE: dict[str, tuple[str, Call]] = {
    "bounced": (
        "/api/message-finder/search",
        lambda portal: list(portal.messages.bounced(from_="sender.example")),
    ),
    "status": (
        "/api/message-finder/search",
        lambda portal: list(portal.messages.track(to="ann@example.com", status=["held"], has_attachments=True)),
    ),
    "report held": ("/api/gateway/get-held-release-logs", lambda portal: list(portal.reports.held())),
    "report releases": ("/api/gateway/get-held-release-logs", lambda portal: list(portal.reports.releases())),
    "report senders": ("/api/gateway/get-hold-message-list", lambda portal: list(portal.reports.senders())),
    "report rejections": ("/api/gateway/get-rejections", lambda portal: list(portal.reports.rejections())),
    "report queues": ("/api/email/get-email-queues", lambda portal: list(portal.reports.queues())),
    "report logins": ("/api/audit/get-audit-events", lambda portal: list(portal.reports.logins())),
    "hold ids": (
        "/api/message-finder/get-message-info",
        lambda portal: list(portal.messages.hold_ids(["eNtracked"])),
    ),
    "personal": (
        "/api/gateway/get-hold-message-list",
        lambda portal: list(portal.holds.list(queue="personal", mailboxes=("ann@example.com",))),
    ),
    "lookup": ("/api/gateway/get-hold-message-list", lambda portal: list(portal.holds.lookup(["eNhold"]))),
    "release and permit": (
        "/api/managedsender/permit-or-block-sender",
        lambda portal: portal.holds.release([HELD], permit="address"),
    ),
    "reject and block": (
        "/api/managedsender/permit-or-block-sender",
        lambda portal: portal.holds.reject([HELD], block="address", sender_part="envelope"),
    ),
    "permit": (
        "/api/managedsender/permit-or-block-sender",
        lambda portal: portal.senders.add(["a@sender.example"], "permitted", mailbox="ann@example.com"),
    ),
}


ROWS = {
    "get-account": [{"accountCode": "CUSA1A1"}],
    "find-delegate-users": [{"id": "eNdelegate", "delegateAddress": "bob@example.com"}],
}


class Silent:
    """A transport that records where it is asked, and answers with no rows but those that other calls hang on."""

    url = "https://api.services.mimecast.com"
    user: str | None = None
    parallel = 1

    def __init__(self, api: str) -> None:
        self.api: Any = api
        self.paths: list[str] = []

    def send(self, request: Request) -> Response:
        self.paths.append(request.path)
        rows = ROWS.get(request.path.rpartition("/")[2], [])
        body = json.dumps({"meta": {"status": 200}, "data": rows, "fail": []}).encode()
        return Response(200, {"content-type": "application/json"}, iter([body]))

    def close(self) -> None:
        pass


def called(api: str, call: Call) -> list[str]:
    """The paths that a call asks. What an empty answer means to it is another matter."""
    transport = Silent(api)
    with suppress(ApiError):
        call(Portal(transport))
    return transport.paths


@pytest.mark.parametrize(("api", "path"), [(api, path) for path, (apis, _) in OFFERED.items() for api in apis], ids=str)
def test_every_public_endpoint_is_reached(api: str, path: str) -> None:
    assert path in called(api, OFFERED[path][1])


@pytest.mark.parametrize("api", BOTH)
@pytest.mark.parametrize("name", MORE)
def test_nothing_that_is_promised_is_missing(api: str, name: str) -> None:
    path, call = MORE[name]
    assert path in called(api, call)


@pytest.mark.parametrize(
    ("api", "path"),
    [
        (api, path)
        for path, (apis, _) in OFFERED.items()
        for api in BOTH
        if api not in apis and path not in EACH_ITS_OWN
    ],
    ids=str,
)
def test_what_one_api_lacks_is_refused_before_anything_is_sent(api: str, path: str) -> None:
    transport = Silent(api)
    with pytest.raises(NotOfferedError):
        OFFERED[path][1](Portal(transport))
    assert transport.paths == []


def test_rows_and_table_agree() -> None:
    """What a row says Mimecast offers stands in the table, with the same APIs; nothing else does."""
    declared = {
        row.path: {api for api in BOTH if api in row.offered}
        for noun in NOUNS
        for row in import_module(f"mimeportal.{noun}.contract").ENDPOINTS
        if set(row.offered) != {"local"} and (row.method == "POST" or row.answer == "object")
    }
    assert declared == {path: set(apis) for path, (apis, _) in OFFERED.items()}


@pytest.mark.parametrize("api", BOTH)
@pytest.mark.parametrize("path", CALLED)
def test_what_has_no_method_is_called_by_its_path(api: str, path: str) -> None:
    assert path not in OFFERED
    assert called(api, lambda portal: portal.call(path)) == [path]


def test_an_error_of_that_kind_is_no_api_error() -> None:
    """Else `called` would hide what the table is there to show."""
    assert issubclass(NotOfferedError, MimeportalError)
    assert not issubclass(NotOfferedError, ApiError)
