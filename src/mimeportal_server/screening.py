"""What happens to an arriving message for one recipient: one pure function (promises B.4, portal-rules D.3).

Order, the first that decides wins:

    account block policy        blocked
    account permit policy       permitted: spam holds are skipped
    personal permitted          permitted
    personal blocked            blocked
    auto-permitted              permitted; a small random sample is scanned for spam all the same (D.19)
    hold rules                  held by the first that matches; a permitted sender skips kind `spam`
    none                        delivered

Trusted senders are not asked about: that list says nothing about spam (portal-rules D.5).
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
    """`delivered`, `held` (then `rule` says how) or `blocked`; `decided_by` names the entry, policy or rule.

    `disables` is the auto-permitted entry whose mail was found to be suspected spam.
    """

    outcome: str
    decided_by: str = ""
    rule: HoldRule | None = None
    disables: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """What policies and lists say of a sender: `blocked`, `permitted`, or "" where none of them names it.

    `by` is which of them (`LISTS`), `entry` what stands there, `part` whether it names the `header` From or the
    `envelope` sender.
    """

    outcome: str = ""
    by: str = ""
    entry: str = ""
    part: str = ""

    def __str__(self) -> str:
        return f"{self.by} sender {self.entry}" if self.by else ""


# What decides, as `Listed.by` names it, in the order of the table above.
LISTS = ("account blocked", "account permitted", "permitted", "blocked", "auto-permitted")


SUSPICIOUS = HoldRule(
    policy="Suspicious Message Structure",
    kind="other",
    reason="Message Hold Applied - Suspicious Message Structure",
    level="administrator",
)


def screen(arrival: Arrival, settings: Settings, lists: Mapping[str, str], chance: float = 1.0) -> Fate:
    """Decide. `lists` maps the recipient's entries to `permitted`, `blocked` or `auto-permitted`.

    `chance` is what was drawn for this message: below the share of the sample, an auto-permit skips nothing.
    """
    listed = by_lists(arrival, settings, lists)
    if listed.outcome == "blocked":
        return Fate("blocked", str(listed))
    if arrival.summary.suspicious:
        return Fate("held", SUSPICIOUS.policy, SUSPICIOUS)
    sampled = listed.by == "auto-permitted" and chance < settings.auto_permit_sample
    for rule in settings.hold_rules:
        if rule.kind == "spam" and listed.outcome == "permitted" and not sampled:
            continue
        if matches(rule, arrival):
            return Fate("held", rule.policy, rule, listed.entry if sampled and rule.kind == "spam" else "")
    return Fate("delivered", str(listed))


def by_lists(arrival: Arrival, settings: Settings, lists: Mapping[str, str]) -> Listed:
    """Of policies and lists the first that decides.

    Asked at RCPT with a summary of no header, it says what the envelope alone decides (promises B.4).
    """
    parts = (("header", arrival.summary.from_address), ("envelope", arrival.envelope_from))
    addresses = tuple((part, address) for part, address in parts if address)
    may_permit = may_be_permitted(arrival, settings)
    for by in LISTS:
        outcome = "blocked" if by.endswith("blocked") else "permitted"
        if outcome == "permitted" and not may_permit:
            continue
        for part, address in addresses:
            for entry in (address, domain_of(address)):
                if entry and entry_matches(entry, address) and _stands(by, entry, settings, lists):
                    return Listed(outcome, by, entry, part)
    return Listed()


def asked_about(arrival: Arrival) -> set[str]:
    """The entries that could decide about a message: its senders, and their domains."""
    addresses = [address for address in (arrival.summary.from_address, arrival.envelope_from) if address]
    return {entry for address in addresses for entry in (address, domain_of(address)) if entry}


def _stands(by: str, entry: str, settings: Settings, lists: Mapping[str, str]) -> bool:
    if by == "account blocked":
        return entry in settings.blocked_senders
    if by == "account permitted":
        return entry in settings.permitted_senders
    return lists.get(entry) == by


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


def may_be_permitted(arrival: Arrival, settings: Settings) -> bool:
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
