"""What travels about reports: the rows of each, how they are asked for, and Mimecast's audit events and SIEM files.

A local portal answers a report in pages of many rows, each row an array in the order of `columns`: there may be
millions. Mimecast's own: mimecast-api-portal 6.3 and 6.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pydantic import Field

from mimeportal.wire import Endpoint, Item, Offer, Row


class ReportItem(Item):
    """Days of a report, in the account's zone: `start` is included, `end` is not.

    `rows`: not the numbers, but each thing that they count. `after` is the `next` of an earlier answer.
    """

    start: str
    end: str
    rows: bool | None = None
    after: str | None = None


class PageRow(Row):
    """One page of a report: its columns, its rows as arrays in their order, and where the next page starts."""

    columns: list[str]
    rows: list[list[Any]]
    next: str | None = None


class TrafficRow(Row):
    """Messages processed in one day, in one direction (`inbound`, `outbound`, `internal`).

    Each recipient of a message counts (portal-rules G.7). `processed` were taken; `held` and `blocked` are those of
    them that screening kept back. `rejected` were refused before that. `delivered` and `bounced` are the deliveries
    that ended on that day, those of released messages too. None: the portal does not tell.
    """

    day: date
    direction: str
    processed: int | None = 0
    held: int | None = 0
    blocked: int | None = 0
    rejected: int | None = 0
    delivered: int | None = 0
    bounced: int | None = 0


class SecureMessagesRow(Row):
    """Secure messages of one day, in one direction (`inbound`, `outbound`, `internal`; portal-rules G.1, G.5).

    `processed` were sent on that day, `delivered` is for how many recipients they have waited since then. `read` were
    opened on that day, each recipient for the first time; `recalled` are messages.
    """

    day: date
    direction: str
    processed: int = 0
    delivered: int = 0
    read: int = 0
    recalled: int = 0


class HeldRow(Row):
    """Held mail of one day, for one reason; a day without any has one row without a reason.

    `held` came on that day; `released`, `rejected` and `expired` left the queue on it. `by_recipient` and `by_others`
    say who released or rejected, `seconds_to_decision` is how long that took on average. None: not told.
    """

    day: date
    reason: str = ""
    held: int | None = 0
    released: int | None = 0
    rejected: int | None = 0
    expired: int | None = 0
    by_recipient: int | None = 0
    by_others: int | None = 0
    seconds_to_decision: int | None = None


class ReleaseRow(Row):
    """One message that left the hold queue: the release log. `status` is `released`, `rejected` or `expired`."""

    released: datetime | None
    status: str
    operator: str = ""
    from_address: str = ""
    from_header: str = ""
    to_address: str = ""
    subject: str = ""
    route: str = ""
    size: int = 0
    has_attachments: bool = False
    held_reason: str = ""
    policy: str = ""
    reject_reason: str = ""
    received: datetime | None = None


class RejectionRow(Row):
    """One message that was refused for one recipient, at the SMTP door or because they block its sender."""

    created: datetime | None
    type: str = ""
    from_address: str = ""
    to_address: str = ""
    info: str = ""
    remote_ip: str = ""
    remote_host: str = ""


class SenderRow(Row):
    """One sender, as people saw it, over all of the days: how much of theirs was held, and how it ended.

    `blocked` and `permitted` are how many people put the sender on such a list in these days, and have it there still.
    """

    sender: str
    held: int | None = 0
    released: int | None = 0
    rejected: int | None = 0
    expired: int | None = 0
    blocked: int | None = 0
    permitted: int | None = 0


class LargeFilesRow(Row):
    """Large files of one day: how many were `sent`, and of how many `bytes`; how often one of them was `downloaded`
    whole; and of how many the access was `expiring` on that day.
    """

    day: date
    sent: int = 0
    bytes: int = 0
    downloaded: int = 0
    expiring: int = 0


class LoginRow(Row):
    """Log-ins of one day through one door (`http`, `smtp`, ...); a day without any has one row without a door."""

    day: date
    door: str = ""
    succeeded: int = 0
    failed: int = 0


class AuditRow(Row):
    """One act, as the audit records it. `object` is what it was done to, `info` the rest as a sentence."""

    time: datetime | None
    user: str = ""
    action: str = ""
    category: str = ""
    outcome: str = ""
    door: str = ""
    object: str = ""
    info: str = ""


class QueueRow(Row):
    """How many messages waited to be delivered within an hour, in one direction."""

    date: datetime
    direction: str
    count: int


class CountedRow(Row):
    """One thing that a report counts: what `part` and `event` of it, when, whom it was about, and who acted."""

    at: datetime
    event: str
    part: str = ""
    from_address: str = ""
    from_header: str = ""
    to_address: str = ""
    subject: str = ""
    actor: str = ""
    seconds: int | None = None


class AuditEventsItem(Item):
    """Item of get-audit-events: both times are required (mimecast-api-portal 6.4)."""

    start_date_time: str
    end_date_time: str
    query: str | None = None
    categories: list[str] | None = None


class AuditEventRow(Row):
    """One event; `event_info` is a line of text. Recordings have `user`, which the documents lack."""

    id: str = ""
    audit_type: str = ""
    category: str = ""
    event_time: str = ""
    event_info: str = ""
    user: str = ""


class CategoriesItem(Item):
    """No argument."""


class CategoryRow(Row):
    """A category of audit events: `code` is what get-audit-events takes."""

    id: str = ""
    code: str = ""
    name: str = ""


class SiemBatchItem(Item):
    """The query of the batch files of SIEM events: one type, whole days (mimecast-api-portal 6.3)."""

    type: str
    date_range_starts_at: str
    date_range_ends_at: str
    page_size: int | None = None
    next_page: str | None = None


class SiemFileRow(Row):
    """One file of events: gzip, one JSON object a line. Its URL is fetched as it is, without a log-in."""

    url: str
    expiry: str = ""
    size: int | None = None


class SiemBatchRow(Row):
    """Some files, and where the list goes on; `is_caught_up` when there are no more."""

    value: list[SiemFileRow] = []
    next_page: str | None = Field(default=None, alias="@nextPage")
    is_caught_up: bool = False


class SiemFetchItem(Item):
    """The query of such a URL. `context` alone decides."""

    method: str = "GET"
    expires: str = ""
    context: str = ""


class SiemLogsItem(Item):
    """Item of get-siem-logs of API 1.0: `token` is the mc-siem-token of the answer before."""

    type: str = "MTA"
    token: str | None = None
    file_format: str | None = None
    compress: bool | None = None


class DaysItem(Item):
    """No argument."""


class DaysRow(Row):
    """The days of a portal's reports in its `time_zone`: `now`, `today`, and the first day that is not closed.

    `clock` says why the portal's clock is not believed; then no day closes (promises F.2).
    """

    time_zone: str = "UTC"
    now: datetime
    today: date
    closed_until: date
    clock: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One report: its name on the command line, what it tells, its typed row, and how a local portal is asked.

    `counted`: its numbers can be followed to rows. `chart` are the columns that are drawn, the first of which stands
    in numbers along the bottom; `total` is the column whose sum stands on top (portal-rules G.1).
    """

    name: str
    title: str
    row: type[Row]
    endpoint: Endpoint[Any, Any] | None
    counted: bool = False
    chart: tuple[str, ...] = ()
    total: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.row.model_fields)

    @property
    def attribute(self) -> str:
        """The name in Python: `portal.reports.ATTRIBUTE()`."""
        return self.name.replace("-", "_")


_LOCAL: dict[Any, Offer] = {"local": Offer()}


def _mimecast(permission: str) -> dict[Any, Offer]:
    return {"api1": Offer(permission), "api2": Offer(permission), "local": Offer()}


def _report(name: str) -> Endpoint[Any, Any]:
    attribute = name.replace("-", "_")
    return Endpoint(f"reports.{attribute}", f"/api/portal/reports/{name}", ReportItem, PageRow, _LOCAL)


DAYS = Endpoint("reports.days", "/api/portal/reports/days", DaysItem, DaysRow, _LOCAL, count=(0, 1))
SECURE_MESSAGES = _report("secure-messages")
TRAFFIC = _report("traffic")
HELD = _report("held")
RELEASES = _report("releases")
REJECTIONS = _report("rejections")
SENDERS = _report("senders")
LARGEFILES = _report("largefiles")
LOGINS = _report("logins")
AUDIT = _report("audit")
AUDIT_EVENTS = Endpoint(
    "reports.audit_events",
    "/api/audit/get-audit-events",
    AuditEventsItem,
    AuditEventRow,
    _mimecast("Account | Logs | Read"),
    paging="token",
)
AUDIT_CATEGORIES = Endpoint(
    "reports.audit_categories",
    "/api/audit/get-categories",
    CategoriesItem,
    CategoryRow,
    _mimecast("none"),
    count=(0, 1),
)
SIEM_BATCH = Endpoint(
    "reports.siem_batch",
    "/siem/v1/batch/events/cg",
    SiemBatchItem,
    SiemBatchRow,
    {"api2": Offer("Threat and Security Events (SIEM) | Read"), "local": Offer()},
    method="GET",
    form="query",
    answer="object",
    paging="next_page",
)
# Where the URLs of a local portal lead; Mimecast's lead to hosts of their own.
SIEM_FILE = Endpoint(
    "reports.siem_file",
    "/siem/v1/batch/events/cg/file",
    SiemFetchItem,
    SiemFileRow,
    {"api2": Offer("none"), "local": Offer()},
    method="GET",
    authorised=False,
    form="query",
    answer="bytes",
)
SIEM_LOGS = Endpoint(
    "reports.siem_logs",
    "/api/audit/get-siem-logs",
    SiemLogsItem,
    SiemFileRow,
    {"api1": Offer("Gateway | Tracking | Read"), "local": Offer()},
    answer="bytes",
)

REPORTS = {
    report.name: report
    for report in (
        Report(
            "secure-messages",
            "Secure messages per day",
            SecureMessagesRow,
            SECURE_MESSAGES,
            True,
            ("delivered", "read"),
            "processed",
        ),
        Report(
            "traffic", "Messages per day", TrafficRow, TRAFFIC, True, ("delivered", "held", "rejected"), "processed"
        ),
        Report(
            "held", "Held messages per day", HeldRow, HELD, True, ("held", "released", "rejected", "expired"), "held"
        ),
        Report("releases", "What left the hold queue", ReleaseRow, RELEASES),
        Report("rejections", "Rejected messages", RejectionRow, REJECTIONS),
        Report(
            "senders", "Senders of held messages", SenderRow, SENDERS, True, ("held", "released", "rejected"), "held"
        ),
        Report("largefiles", "Large files per day", LargeFilesRow, LARGEFILES, True, ("downloaded", "sent"), "sent"),
        Report("logins", "Log-ins per day", LoginRow, LOGINS, True, ("succeeded", "failed"), "succeeded"),
        Report("audit", "Audit events", AuditRow, AUDIT),
        Report("queues", "Messages waiting", QueueRow, None),
    )
}

ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    DAYS,
    SECURE_MESSAGES,
    TRAFFIC,
    HELD,
    RELEASES,
    REJECTIONS,
    SENDERS,
    LARGEFILES,
    LOGINS,
    AUDIT,
    AUDIT_EVENTS,
    AUDIT_CATEGORIES,
    SIEM_BATCH,
    SIEM_FILE,
    SIEM_LOGS,
)
