"""Reports of the local portal, for administrators: which there are, and Mimecast's functions beside them.

Numbers per day are computed in `report_numbers`, logs in `report_logs`; `report_counted` follows a number to its rows.
"""

from __future__ import annotations

from collections.abc import Callable

from mimeportal import days
from mimeportal.reports import contract
from mimeportal_server import report_logs, report_numbers
from mimeportal_server.asked import administrators_only
from mimeportal_server.clock import moment
from mimeportal_server.portal import Answer, Call, Portal
from mimeportal_server.report_counted import counted
from mimeportal_server.report_pages import log, numbers


def list_days(portal: Portal, call: Call) -> Answer:
    """Today, and the first day that is not closed: while the clock is not believed, none closes (promises F.2).

    A clock that was set back was wrong before, or is now: only what is over by either is closed.
    """
    administrators_only(call)
    settings = portal.settings
    now, earliest = moment(portal.clock.steady()), moment(min(portal.clock.steady(), portal.clock.now()))
    row = contract.DaysRow(
        time_zone=settings.time_zone,
        now=now,
        today=days.day_of(now, settings.zone),
        closed_until=days.closed_until(settings.zone, earliest, settings.report_closes_after_hours),
        clock=portal.clock.fault(),
    )
    return Answer([row.to_json()])


def audit_list(portal: Portal, call: Call) -> Answer:
    """Mimecast's get-audit-events."""
    from mimeportal_server import audit_events

    return audit_events.find(portal, call)


def audit_categories(portal: Portal, call: Call) -> Answer:
    """Mimecast's get-categories."""
    from mimeportal_server import audit_events

    return audit_events.categories(portal, call)


def siem_batch(portal: Portal, call: Call) -> Answer:
    """Files of SIEM events, by URL."""
    from mimeportal_server import siem

    return siem.batch(portal, call)


def siem_file(portal: Portal, call: Call) -> Answer:
    """One of these files."""
    from mimeportal_server import siem

    return siem.file(portal, call)


def siem_logs(portal: Portal, call: Call) -> Answer:
    """SIEM events as API 1.0 gives them."""
    from mimeportal_server import siem

    return siem.logs(portal, call)


_REPORTS = contract.REPORTS
OPERATIONS: dict[str, Callable[[Portal, Call], Answer]] = {
    "reports.days": list_days,
    "reports.secure_messages": numbers(
        _REPORTS["secure-messages"], report_numbers.secure_messages, counted("secure-messages")
    ),
    "reports.traffic": numbers(_REPORTS["traffic"], report_numbers.traffic, counted("traffic")),
    "reports.held": numbers(_REPORTS["held"], report_numbers.held, counted("held")),
    "reports.releases": log(_REPORTS["releases"], report_logs.releases),
    "reports.rejections": log(_REPORTS["rejections"], report_logs.rejections),
    "reports.senders": numbers(_REPORTS["senders"], report_numbers.senders, counted("held")),
    "reports.largefiles": numbers(_REPORTS["largefiles"], report_numbers.largefiles, counted("largefiles")),
    "reports.logins": numbers(_REPORTS["logins"], report_numbers.logins, counted("logins")),
    "reports.audit": log(_REPORTS["audit"], report_logs.audit),
    "reports.audit_events": audit_list,
    "reports.audit_categories": audit_categories,
    "reports.siem_batch": siem_batch,
    "reports.siem_file": siem_file,
    "reports.siem_logs": siem_logs,
}
