"""What happens to an arriving message for one recipient: one pure function (promises B.4, portal-rules D.3).

Order, the first that decides wins:

    account block policy        blocked
    account permit policy       permitted: spam holds are skipped
    personal permitted          permitted
    personal blocked            blocked
    (auto-permitted)            permitted
    hold rules                  held by the first that matches; a permitted sender skips kind `spam`
    none                        delivered
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mimeportal.addresses import address_filter, domain_of, entry_matches
from mimeportal.patterns import TextPattern
from mimeportal_server.mail import Summary
from mimeportal_server.settings import HoldRule, Settings
from mimeportal_server.settings_reading import Conditions


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message on its way to one recipient. `authenticated`: submitted by one of the portal's own people."""

    envelope_from: str
    recipient: str
    summary: Summary
    size: int
    authenticated: bool = False


@dataclass(frozen=True, slots=True)
class Fate:
    """`delivered`, `held` (then `rule` says how) or `blocked`; `decided_by` names the entry, policy or rule."""

    outcome: str
    decided_by: str = ""
    rule: HoldRule | None = None


SUSPICIOUS = HoldRule(
    policy="Suspicious Message Structure",
    kind="other",
    reason="Message Hold Applied - Suspicious Message Structure",
    level="administrator",
)


def screen(arrival: Arrival, settings: Settings, lists: Mapping[str, str]) -> Fate:
    """Decide. `lists` maps the recipient's entries to `permitted` or `blocked`."""
    blocked_by, permitted_by = by_lists(arrival, settings, lists)
    if blocked_by:
        return Fate("blocked", blocked_by)
    if arrival.summary.suspicious:
        return Fate("held", SUSPICIOUS.policy, SUSPICIOUS)
    for rule in settings.hold_rules:
        if permitted_by and rule.kind == "spam":
            continue
        if matches(rule, arrival):
            return Fate("held", rule.policy, rule)
    return Fate("delivered", permitted_by)


def by_lists(arrival: Arrival, settings: Settings, lists: Mapping[str, str]) -> tuple[str, str]:
    """What blocks a message, and what permits it: of policies and lists the first that decides; else "".

    Asked at RCPT with a summary of no header, it says what the envelope alone decides (promises B.4).
    """
    addresses = tuple(dict.fromkeys(a for a in (arrival.summary.from_address, arrival.envelope_from) if a))
    may_permit = _may_be_permitted(arrival, settings)
    if entry := _match(settings.blocked_senders, addresses):
        return f"account blocked sender {entry}", ""
    if may_permit and (entry := _match(settings.permitted_senders, addresses)):
        return "", f"account permitted sender {entry}"
    if may_permit and (entry := _listed(lists, "permitted", addresses)):
        return "", f"permitted sender {entry}"
    if entry := _listed(lists, "blocked", addresses):
        return f"blocked sender {entry}", ""
    return "", ""


def matches(rule: Conditions, arrival: Arrival) -> bool:
    """Whether all conditions of a rule hold; several values of one condition are alternatives."""
    summary = arrival.summary
    if rule.sender and not any(
        address_filter(wanted)([a for a in (arrival.envelope_from, summary.from_address) if a])
        for wanted in rule.sender
    ):
        return False
    if rule.recipient and not any(address_filter(wanted)([arrival.recipient]) for wanted in rule.recipient):
        return False
    if rule.subject and not _any_text(rule.subject, [summary.subject]):
        return False
    if rule.header is not None and not _any_text((rule.header[1],), summary.header(rule.header[0])):
        return False
    if rule.attachment_name and not _any_text(rule.attachment_name, [a.filename for a in summary.attachments]):
        return False
    if rule.attachment_type and not _any_text(rule.attachment_type, [a.content_type for a in summary.attachments]):
        return False
    return rule.larger_than is None or arrival.size > rule.larger_than


def _any_text(patterns: tuple[str, ...], texts: list[str]) -> bool:
    return any(TextPattern.parse(pattern).matches(text) for pattern in patterns for text in texts)


def _may_be_permitted(arrival: Arrival, settings: Settings) -> bool:
    """A permit is no pass for a forgery: not of our own domains, nor where DMARC failed (promises B.4)."""
    senders = (arrival.summary.from_address or "", arrival.envelope_from)
    if not arrival.authenticated and any(domain_of(sender) in settings.domains for sender in senders):
        return False
    return not dmarc_failed(arrival.summary, settings.authserv_id)


def dmarc_failed(summary: Summary, authserv_id: str | None) -> bool:
    """Whether the topmost Authentication-Results of the configured server says dmarc=fail."""
    if authserv_id is None:
        return False
    for result in summary.header("Authentication-Results"):
        server, _, rest = result.partition(";")
        if server.lower().split(maxsplit=1)[:1] == [authserv_id.lower()]:
            return "dmarc=fail" in rest.lower().replace(" ", "")
    return False


def _match(entries: frozenset[str], addresses: tuple[str, ...]) -> str | None:
    return next((e for a in addresses for e in (a, domain_of(a)) if e in entries and entry_matches(e, a)), None)


def _listed(lists: Mapping[str, str], name: str, addresses: tuple[str, ...]) -> str | None:
    return next((e for a in addresses for e in (a, domain_of(a)) if lists.get(e) == name), None)
