"""Names of columns are plain data in the command, and are those of the SDK: scripts rely on them."""

from __future__ import annotations

from dataclasses import fields

from mimeportal import limits, profiles, report
from mimeportal.account.capabilities import Capability
from mimeportal.account.contract import AccountRow, WhoAmIRow
from mimeportal.holds import contract as holds_contract
from mimeportal.holds import hold as held_mail
from mimeportal.messages import tracked
from mimeportal.messages.contract import finder as messages_contract
from mimeportal.reports import contract as reports_contract
from mimeportal.reports import exporting, files
from mimeportal.senders import client as senders_client
from mimeportal.senders import contract as senders_contract
from mimeportal_cli import acting, choosing, formats
from mimeportal_cli.commands import account, holds, messages, reports, reports_export, senders
from mimeportal_cli.commands import profiles as profiles_command


def test_holds_list() -> None:
    assert (
        " ".join(holds.HOLDS.names)
        == (
            "id queue level reason reason_code policy from_address from_header to_address subject route size "
            "has_attachments date_received expires sender_blocked"
        )
        == " ".join(held_mail.HOLD_FIELDS)
    )


def test_reports() -> None:
    assert acting.OUTCOMES.names == acting.PLANNED.names == report.REPORT_FIELDS


def test_summary_and_log() -> None:
    assert holds.SUMMARY.names == tuple(holds_contract.SummaryRow.model_fields)
    assert holds.LOG.names == tuple(holds_contract.ReleaseLogRow.model_fields)


def test_senders() -> None:
    assert senders.ENTRIES.names == senders_client.SENDER_FIELDS
    assert senders.CHANGES.names == senders_client.CHANGE_FIELDS
    assert senders.LISTS == senders_contract.WRITABLE


def test_messages() -> None:
    assert messages.TRACKED.names == tracked.TRACKED_FIELDS
    assert messages.PROCESSING.names == tracked.PROCESSING_FIELDS
    assert messages.REJECTIONS.names == tracked.REJECTION_FIELDS
    assert messages.QUEUES.names == tracked.QUEUE_FIELDS
    assert set(messages.INFO.names) < {entry.name for entry in fields(tracked.MessageInfo)}
    assert messages.STATUSES == messages_contract.STATUSES
    assert messages.ROUTES == messages_contract.ROUTES


def test_reports_per_day() -> None:
    assert set(reports.REPORTS) == set(reports_contract.REPORTS)
    for name, report in reports_contract.REPORTS.items():
        assert reports.REPORTS[name][1].names == report.columns
        assert (name in reports.COUNTED, name in reports.CHARTED) == (report.counted, bool(report.chart))
    assert reports.COUNTED_ROWS.names == tuple(reports_contract.CountedRow.model_fields)
    assert reports_export.FORMATS == tuple(files.FORMS) == exporting.FORMATS


def test_account() -> None:
    assert set(account.ACCOUNT.names) == {*AccountRow.model_fields, *WhoAmIRow.model_fields}


def test_profiles() -> None:
    assert profiles_command.PROFILES.names == profiles.PROFILE_FIELDS
    assert formats.NAMES == profiles.FORMATS


def test_filters_are_those_of_the_sdk() -> None:
    told = {*(name for name in choosing._FILTERS if name not in ("all", "mailboxes_from"))} - {"mailbox"}
    assert told | {"mailboxes"} == {entry.name for entry in fields(held_mail.HoldFilter)}
    assert choosing.QUEUES == holds_contract.QUEUES


def test_limits_are_those_of_the_table() -> None:
    assert acting._MAXIMUM == limits.MAX_ITEMS == senders._MAXIMUM
    assert acting._CONCURRENCY == limits.CONCURRENCY


def test_columns_of_tables_exist() -> None:
    shapes = (acting.OUTCOMES, acting.PLANNED, holds.HOLDS, holds.LOG, senders.ENTRIES)
    shapes += (reports.LIST, reports.COUNTED_ROWS, *(shape for _, shape in reports.REPORTS.values()))
    for shape in (*shapes, messages.TRACKED, messages.PROCESSING, messages.REJECTIONS):
        assert set(shape.table) <= set(shape.names)
        assert set(shape.cells) <= set(shape.names)


def test_capabilities() -> None:
    assert account.CAPABILITIES.names == tuple(entry.name for entry in fields(Capability))
