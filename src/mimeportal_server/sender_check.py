"""What would happen to mail from a sender to one person: screening asked without a message (portal-rules D.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mimeportal.addresses import address_filter
from mimeportal.senders.contract import CheckSenderRow
from mimeportal_server.mail import Summary
from mimeportal_server.screening import Arrival, Listed, by_lists, may_be_permitted
from mimeportal_server.settings import HoldRule, Settings


def check(
    settings: Settings, sender: str, envelope: str, recipient: str, lists: Mapping[str, str], *, trusted: bool
) -> CheckSenderRow:
    """Ask screening what it asks of every message: first of the envelope alone, as at RCPT, then of both senders."""
    at_rcpt = by_lists(Arrival(envelope, recipient, Summary(), 0), settings, lists)
    arrival = Arrival(envelope, recipient, Summary(from_address=sender), 0)
    listed = at_rcpt if at_rcpt.outcome == "blocked" else by_lists(arrival, settings, lists)
    skipped, may_hold, holds = _rules(settings, arrival, permitted=listed.outcome == "permitted")
    decided_by = str(listed)
    if listed.outcome == "blocked":
        outcome = "refused" if listed is at_rcpt else "dropped"
    elif holds is not None:
        outcome, decided_by = "held", holds.policy
    else:
        outcome = listed.outcome or "undecided"
    return CheckSenderRow(
        sender=sender,
        envelope=envelope,
        mailbox=recipient,
        outcome=outcome,
        decided_by=decided_by,
        entry=listed.entry,
        part=listed.part,
        skipped=[rule.policy for rule in skipped],
        may_hold=[rule.policy for rule in may_hold] if listed.outcome != "blocked" else [],
        trusted=trusted,
        why=_why(settings, arrival, outcome, decided_by, listed, lists),
    )


def _rules(
    settings: Settings, arrival: Arrival, *, permitted: bool
) -> tuple[Sequence[HoldRule], Sequence[HoldRule], HoldRule | None]:
    """The rules that a permit skips, those that could hold, and the one that holds whatever the message is."""
    skipped, may_hold = [], []
    holds = None
    for rule in settings.hold_rules:
        if not _could(rule, arrival):
            continue
        if permitted and rule.kind == "spam":
            skipped.append(rule)
            continue
        may_hold.append(rule)
        if holds is None and not (
            rule.subject or rule.header or rule.attachment_name or rule.attachment_type or rule.larger_than is not None
        ):
            holds = rule
    return skipped, may_hold, holds


def _could(rule: HoldRule, arrival: Arrival) -> bool:
    """Whether what a rule says of sender and recipient holds: the rest of it is for the message to tell."""
    senders = [address for address in (arrival.envelope_from, arrival.summary.from_address) if address]
    return (not rule.sender or any(address_filter(wanted)(senders) for wanted in rule.sender)) and (
        not rule.recipient or any(address_filter(wanted)([arrival.recipient]) for wanted in rule.recipient)
    )


def _why(
    settings: Settings, arrival: Arrival, outcome: str, decided_by: str, listed: Listed, lists: Mapping[str, str]
) -> str:
    named = {"header": "the From header", "envelope": "the envelope"}.get(listed.part, "")
    if outcome == "refused":
        return f"Refused at RCPT: {decided_by} names the envelope sender."
    if outcome == "dropped":
        return f"Dropped and recorded once it is here: {decided_by} names {named}."
    forged = not may_be_permitted(arrival, settings) and (
        bool(settings.permitted_senders) or any(list.endswith("permitted") for list in lists.values())
    )
    unproved = " A permit does not count for the account's own domains unless the sender logged in." if forged else ""
    if outcome == "held":
        return f"Held by {decided_by}, whatever it is.{unproved}"
    if outcome == "permitted":
        sample = ""
        if listed.by == "auto-permitted" and settings.auto_permit_sample:
            sample = f" A share of {settings.auto_permit_sample:g} of its mail is scanned for spam all the same."
        return f"Spam holds are skipped: {decided_by} names {named}. Other hold rules still hold.{sample}"
    return f"No list and no policy names the sender: the hold rules decide.{unproved}"
