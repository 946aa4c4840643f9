"""Names of columns are plain data in the command, and are those of the SDK: scripts rely on them."""

from __future__ import annotations

from dataclasses import fields

from mimeportal import limits, profiles, report, wire
from mimeportal.account import contract as account_contract
from mimeportal.account import formats as preferred
from mimeportal.account import persons
from mimeportal.account.capabilities import Capability
from mimeportal.account.contract import AccountRow, PreferencesRow, WhoAmIRow
from mimeportal.account.preferences import CHECKS
from mimeportal.holds import contract as holds_contract
from mimeportal.holds import hold as held_mail
from mimeportal.holds import log as holds_log
from mimeportal.largefiles import contract as largefiles_contract
from mimeportal.largefiles import largefile
from mimeportal.messages import composing, message, reporting, tracked, writing
from mimeportal.messages.contract import finder as messages_contract
from mimeportal.messages.contract import mailbox as mailbox_contract
from mimeportal.reports import contract as reports_contract
from mimeportal.reports import exporting, files
from mimeportal.secure import contract as secure_contract
from mimeportal.secure import message as secure_message
from mimeportal.senders import contract as senders_contract
from mimeportal.senders import entry as senders_entry
from mimeportal.senders import importing as senders_importing
from mimeportal_cli import acting, choosing, formats
from mimeportal_cli.commands import (
    account,
    account_mailbox,
    holds,
    largefiles,
    largefiles_send,
    messages,
    messages_read,
    messages_report,
    messages_write,
    reports,
    reports_export,
    secure,
    secure_act,
    secure_write,
    senders,
    senders_change,
)
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
    assert holds.LOG.names == holds_log.LOG_FIELDS


def test_senders() -> None:
    assert senders.ENTRIES.names == senders_entry.SENDER_FIELDS
    assert senders.CHECK.names == tuple(senders_contract.CheckSenderRow.model_fields)
    assert senders_change.CHANGES.names == senders_change.PLANNED.names == report.REPORT_FIELDS
    assert senders_change.BAD_LINES.names == senders_importing.BAD_LINE_FIELDS
    assert senders_change.LISTS == senders_contract.LISTS
    assert senders_change.WRITABLE == senders_contract.WRITABLE
    assert senders_change.POLICY_TYPES == senders_contract.POLICY_TYPES


def test_large_files() -> None:
    assert largefiles.LARGE_FILES.names == largefile.LARGE_FILE_FIELDS
    assert largefiles.DETAILS.names == largefile.LARGE_FILE_DETAILS
    assert largefiles.PREFERENCES.names == largefile.PREFERENCE_FIELDS
    assert largefiles_send.SENT.names == (*largefile.LARGE_FILE_FIELDS, "access_key")
    assert largefiles.STATUSES == largefiles_contract.STATUSES


def test_messages() -> None:
    assert messages.TRACKED.names == messages.BOUNCED.names == tracked.TRACKED_FIELDS
    assert messages.PROCESSING.names == tracked.PROCESSING_FIELDS
    assert messages.REJECTIONS.names == tracked.REJECTION_FIELDS
    assert messages.QUEUES.names == tracked.QUEUE_FIELDS
    assert set(messages.INFO.names) < {entry.name for entry in fields(tracked.MessageInfo)}
    assert messages.STATUSES == messages_contract.STATUSES
    assert messages.ROUTES == choosing.ROUTES == wire.ROUTES


def test_mailbox() -> None:
    assert messages_read.MAIL.names == message.MAIL_FIELDS
    assert messages_read.ATTACHMENTS.names == tuple(entry.name for entry in fields(held_mail.Attachment))
    assert messages_read.FOLDERS == mailbox_contract.FOLDERS


def test_reports_per_day() -> None:
    assert set(reports.REPORTS) == set(reports_contract.REPORTS)
    for name, known in reports_contract.REPORTS.items():
        assert reports.REPORTS[name][1].names == known.columns
        assert (name in reports.COUNTED, name in reports.CHARTED) == (known.counted, bool(known.chart))
    assert reports.COUNTED_ROWS.names == tuple(reports_contract.CountedRow.model_fields)
    assert reports_export.FORMATS == tuple(files.FORMS) == exporting.FORMATS


def test_mail_that_is_written() -> None:
    assert messages_write.SENT.names == composing.SENT_FIELDS
    assert messages_write.RECIPIENTS.names == writing.DELIVERY_FIELDS
    assert messages_report.REPORTED.names == reporting.REPORTED_FIELDS
    assert tuple(entry.name for entry in fields(reporting.ReportedMessage)) == reporting.REPORTED_FIELDS
    assert all(hasattr(composing.NewMessage, name) for name in messages_write.WRITTEN.names)
    draft = {entry.name for entry in fields(writing.Draft)} | set(vars(writing.Draft))
    assert set(messages_write.DRAFTS.names) <= draft
    assert messages_report.OUTCOMES.names == messages_report.PLANNED.names == report.REPORT_FIELDS


def test_secure() -> None:
    assert secure.SECURE.names == secure_message.SECURE_FIELDS
    assert secure.MONITOR.names == secure_message.MONITOR_FIELDS
    assert secure.LOG.names == secure_message.EVENT_FIELDS
    assert secure.DEFINITIONS.names == tuple(secure_contract.DefinitionRow.model_fields)
    assert secure.SETTINGS.names == tuple(secure_contract.SettingsRow.model_fields)
    assert secure_write.RECIPIENTS.names == secure_message.RECIPIENT_FIELDS
    assert secure.STATUSES == secure_contract.STATUSES
    assert secure.DIRECTIONS == secure_contract.DIRECTIONS
    assert secure_write.OPTIONS == secure_contract.OPTIONS
    assert secure_act.FOLDERS == secure_contract.FOLDERS


def test_account() -> None:
    assert set(account.ACCOUNT.names) == {*AccountRow.model_fields, *WhoAmIRow.model_fields} - {"now"}


def test_mailboxes() -> None:
    assert account_mailbox.PREFERENCES.names == tuple(PreferencesRow.model_fields)
    assert tuple(CHECKS) == account_mailbox.NAMES
    assert account_mailbox.CONTACTS.names == persons.CONTACT_FIELDS
    assert account_mailbox.DELEGATES.names == persons.DELEGATE_FIELDS
    assert account_mailbox.DELEGATE_CHANGES.names == persons.DELEGATE_CHANGE_FIELDS
    assert account_mailbox.ACCESS.names == persons.ACCESS_FIELDS
    assert tuple(preferred.DATES) == account_contract.DATE_FORMATS
    assert tuple(preferred.TIMES) == account_contract.TIME_FORMATS
    assert preferred.WEEKDAYS == account_contract.DAYS


def test_profiles() -> None:
    assert profiles_command.PROFILES.names == profiles.PROFILE_FIELDS
    assert formats.NAMES == profiles.FORMATS


def test_filters_are_those_of_the_sdk() -> None:
    told = {*(name for name in choosing._FILTERS if name not in ("all", "mailboxes_from"))} - {"mailbox"}
    assert told | {"mailboxes"} == {entry.name for entry in fields(held_mail.HoldFilter)}
    assert choosing.QUEUES == holds_contract.QUEUES


def test_limits_are_those_of_the_table() -> None:
    assert acting._MAXIMUM == limits.MAX_ITEMS
    assert acting._CONCURRENCY == limits.CONCURRENCY


def test_columns_of_tables_exist() -> None:
    shapes = (acting.OUTCOMES, acting.PLANNED, holds.HOLDS, holds.LOG, senders.ENTRIES, senders_change.CHANGES)
    shapes += (reports.LIST, reports.COUNTED_ROWS, *(shape for _, shape in reports.REPORTS.values()))
    for shape in (*shapes, messages.TRACKED, messages.BOUNCED, messages.PROCESSING, messages.REJECTIONS):
        assert set(shape.table) <= set(shape.names)
        assert set(shape.cells) <= set(shape.names)


def test_capabilities() -> None:
    assert account.CAPABILITIES.names == tuple(entry.name for entry in fields(Capability))
