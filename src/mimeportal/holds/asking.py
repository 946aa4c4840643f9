"""How a filter is put to a portal: as the item of our own list, or of Mimecast's, which takes one search field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mimeportal.addresses import address_filter_kind, normalise
from mimeportal.holds.contract import FindHoldsItem, ListHoldsItem, SearchBy
from mimeportal.holds.hold import HoldFilter
from mimeportal.wire import format_date


def find_item(wanted: HoldFilter, queue: str) -> FindHoldsItem:
    """Our own list takes every filter at once."""
    return FindHoldsItem(
        queue=queue,
        mailboxes=list(wanted.mailboxes) or None,
        from_=wanted.from_,
        to=wanted.to,
        subject=wanted.subject,
        search=wanted.search,
        reason=wanted.reason,
        policy=wanted.policy,
        route=wanted.route,
        start=wanted.since.isoformat() if wanted.since else None,
        end=wanted.until.isoformat() if wanted.until else None,
        attachments=wanted.has_attachments,
        larger_than=wanted.larger_than,
    )


def list_item(wanted: HoldFilter, *, admin: bool) -> ListHoldsItem:
    """Mimecast's list takes one search field: the one that narrows most, the rest is filtered by the client."""
    until = wanted.until or datetime.now(UTC) + timedelta(minutes=5)
    until += timedelta(microseconds=-until.microsecond % 1_000_000)  # whole seconds travel: never too early a one
    return ListHoldsItem(
        admin=admin,
        start=format_date(wanted.since) if wanted.since else None,
        end=format_date(until),
        search_by=_search_by(wanted),
    )


def _search_by(wanted: HoldFilter) -> SearchBy | None:
    if len(wanted.mailboxes) == 1:
        return SearchBy(field_name="recipient", value=normalise(wanted.mailboxes[0]))
    for name, text in (("sender", wanted.from_), ("recipient", wanted.to)):
        if text is not None and address_filter_kind(text)[0] in ("address", "domain"):
            return SearchBy(field_name=name, value=address_filter_kind(text)[1])
    if wanted.subject and "*" not in wanted.subject:
        return SearchBy(field_name="subject", value=wanted.subject)
    return None
