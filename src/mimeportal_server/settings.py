"""portal.toml: read, checked, and explained when it is wrong."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mimeportal import limits
from mimeportal.addresses import parse_address, parse_domain, parse_entry
from mimeportal.errors import ConfigurationError, UsageError

KINDS = ("spam", "attachment", "content", "impersonation", "other")
LEVELS = ("user", "moderator", "administrator")

_TEMPLATE = """\
# A mimeportal home. Every setting is explained in docs/portal.md.

domains = [{domain!r}]                  # mail to these is for the portal's people
public_url = {public_url!r}   # links in mail start with it
time_zone = "UTC"                            # days of reports, and times people type

[listen]
http = "127.0.0.1:8025"
smtp = "127.0.0.1:2525"

[keeping]
hold_days = 14                               # 1 to 14: undecided held mail leaves the queue then
archiving = true                             # keep an archive copy of what was delivered or expired

[mail]
from = {sender!r}           # the one address of mail that the portal itself writes
security = {security!r}         # where reported spam and phishing goes

[delivery]
to = "maildir"                               # maildir: outgoing/ in this home; smtp: the relay below
# relay = "127.0.0.1:25"

[policies]
blocked_senders = []                         # for the whole account; addresses or domains
permitted_senders = []
public_providers = ["gmail.com", "googlemail.com", "hotmail.com", "live.com", "msn.com", "outlook.com",
                    "yahoo.com", "aol.com", "icloud.com", "me.com", "gmx.de", "gmx.net", "web.de",
                    "mail.ru", "qq.com", "163.com", "proton.me", "protonmail.com"]
# authserv_id = "mx.example.com"             # whose Authentication-Results are believed

[[hold]]
policy = "Spam Scanning"
kind = "spam"
reason = "Message Hold Applied - Spam Signature policy"
level = "user"
header = {{ name = "X-Spam-Flag", value = "YES" }}

[[hold]]
policy = "Default Attachment Management Definition - Block Dangerous File Types"
kind = "attachment"
reason = "Message Hold Applied - Attachment Type policy"
level = "user"
attachment_name = ["*.exe", "*.scr", "*.js", "*.vbs", "*.bat", "*.cmd", "*.com", "*.pif", "*.lnk", "*.jar", "*.iso"]
"""


@dataclass(frozen=True, slots=True)
class HoldRule:
    """One `[[hold]]` of portal.toml: conditions that must all hold, and the hold they give."""

    policy: str
    kind: str
    reason: str
    level: str
    sender: tuple[str, ...] = ()
    recipient: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()
    header: tuple[str, str] | None = None
    attachment_name: tuple[str, ...] = ()
    attachment_type: tuple[str, ...] = ()
    larger_than: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What portal.toml says, defaults filled in."""

    domains: tuple[str, ...]
    public_url: str
    time_zone: str = "UTC"
    hold_days: int = limits.HOLD_DAYS
    archiving: bool = True
    mail_from: str = ""
    security_address: str = ""
    deliver_to: str = "maildir"
    relay: tuple[str, int] = ("127.0.0.1", 25)
    blocked_senders: frozenset[str] = frozenset()
    permitted_senders: frozenset[str] = frozenset()
    public_providers: frozenset[str] = frozenset()
    authserv_id: str | None = None
    hold_rules: tuple[HoldRule, ...] = ()
    limits: Mapping[str, int] = field(default_factory=lambda: dict(limits.LOWERABLE))


def template(domain: str, public_url: str) -> str:
    """A portal.toml that works as it stands."""
    return _TEMPLATE.format(
        domain=domain, public_url=public_url, sender=f"no-reply@{domain}", security=f"security@{domain}"
    ).replace("'", '"')


def load(path: Path) -> Settings:
    """Read portal.toml. Raises `ConfigurationError` naming the file and the setting that is wrong."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as fault:
        raise ConfigurationError(f"{path} cannot be read: {fault.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ConfigurationError(f"{path} is not TOML: {fault}.", remedy="Correct that line.") from None
    try:
        return _Reader(document).settings()
    except UsageError as fault:
        raise ConfigurationError(f"{path}: {fault.what}", why=fault.why, remedy=fault.remedy) from None


class _Reader:
    """Takes known keys out of the document; what is left is unknown, and said."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._where = ""

    def settings(self) -> Settings:
        top = self._table(self._document, "", ("domains", "public_url", "time_zone"), _TABLES)
        keeping = self._section("keeping", ("hold_days", "archiving"))
        mail = self._section("mail", ("from", "security"))
        delivery = self._section("delivery", ("to", "relay"))
        policies = self._section(
            "policies", ("blocked_senders", "permitted_senders", "public_providers", "authserv_id")
        )
        self._section("listen", ("http", "smtp"))
        lowered = self._section("limits", tuple(limits.LOWERABLE))
        domains = tuple(parse_domain(domain) for domain in self._strings(top, "domains"))
        if not domains:
            raise UsageError("domains is empty.", remedy="Name at least one domain of the portal's people.")
        days = self._number(keeping, "hold_days", limits.HOLD_DAYS)
        if not 1 <= days <= limits.HOLD_DAYS:
            raise UsageError(f"keeping.hold_days is {days}.", remedy=f"Use 1 to {limits.HOLD_DAYS} days.")
        to = self._text(delivery, "to", "maildir")
        if to not in ("maildir", "smtp"):
            raise UsageError(f"delivery.to is {to!r}.", remedy="Use maildir or smtp.")
        return Settings(
            domains=domains,
            public_url=self._text(top, "public_url", "").rstrip("/"),
            time_zone=_zone(self._text(top, "time_zone", "UTC")),
            hold_days=days,
            archiving=self._flag(keeping, "archiving", True),
            mail_from=parse_address(self._text(mail, "from", f"no-reply@{domains[0]}")),
            security_address=parse_address(self._text(mail, "security", f"security@{domains[0]}")),
            deliver_to=to,
            relay=_host_port(self._text(delivery, "relay", "127.0.0.1:25")),
            blocked_senders=self._entries(policies, "blocked_senders"),
            permitted_senders=self._entries(policies, "permitted_senders"),
            public_providers=frozenset(self._strings(policies, "public_providers")),
            authserv_id=policies.get("authserv_id"),
            hold_rules=tuple(self._rules(self._document.get("hold", []))),
            limits=self._limits(lowered),
        )

    def _table(self, table: Any, name: str, keys: tuple[str, ...], tables: tuple[str, ...] = ()) -> dict[str, Any]:
        if not isinstance(table, dict):
            raise UsageError(f"{name} is not a table.", remedy=f"Write it under a line [{name}].")
        for key in table:
            if key not in keys and key not in tables:
                where = f"{name}.{key}" if name else key
                raise UsageError(f"unknown setting {where!r}.", remedy=f"Known here: {', '.join((*keys, *tables))}.")
        self._where = name
        return {key: table[key] for key in keys if key in table}

    def _section(self, name: str, keys: tuple[str, ...]) -> dict[str, Any]:
        return self._table(self._document.get(name, {}), name, keys)

    def _rules(self, rules: Any) -> list[HoldRule]:
        if not isinstance(rules, list):
            raise UsageError("hold is not a list of tables.", remedy="Write each rule under a line [[hold]].")
        return [self._rule(number, rule) for number, rule in enumerate(rules, 1)]

    def _rule(self, number: int, rule: Any) -> HoldRule:
        name = f"hold rule {number}"
        given = self._table(rule, name, ("policy", "kind", "reason", "level", *_CONDITIONS))
        kind, level = given.get("kind"), given.get("level", "user")
        if kind not in KINDS:
            raise UsageError(f"{name}: kind is {kind!r}.", remedy=f"Use one of: {', '.join(KINDS)}.")
        if level not in LEVELS:
            raise UsageError(f"{name}: level is {level!r}.", remedy=f"Use one of: {', '.join(LEVELS)}.")
        if not any(key in given for key in _CONDITIONS):
            raise UsageError(
                f"{name} has no condition, so it would hold all mail.",
                remedy=f"Give one of: {', '.join(_CONDITIONS)}.",
            )
        header = given.get("header")
        if header is not None and not (
            isinstance(header, dict)
            and set(header) == {"name", "value"}
            and all(isinstance(part, str) for part in header.values())
        ):
            raise UsageError(f"{name}: header is wrong.", remedy='Write { name = "X-Spam-Flag", value = "YES" }.')
        larger = given.get("larger_than")
        if larger is not None and (not isinstance(larger, int) or isinstance(larger, bool) or larger < 0):
            raise UsageError(f"{name}: larger_than is {larger!r}.", remedy="Give a number of octets.")
        policy = self._text(given, "policy", f"Hold rule {number}")
        return HoldRule(
            policy=policy,
            kind=kind,
            reason=self._text(given, "reason", f"Message Hold Applied - {policy} policy"),
            level=level,
            sender=self._strings(given, "sender"),
            recipient=self._strings(given, "recipient"),
            subject=self._strings(given, "subject"),
            header=(header["name"], header["value"]) if header else None,
            attachment_name=self._strings(given, "attachment_name"),
            attachment_type=self._strings(given, "attachment_type"),
            larger_than=larger,
        )

    def _limits(self, given: dict[str, Any]) -> dict[str, int]:
        lowered = dict(limits.LOWERABLE)
        for name in given:
            value = self._number(given, name, lowered[name])
            if not 0 < value <= lowered[name]:
                raise UsageError(
                    f"limits.{name} is {value}; a limit can only be lowered.", remedy=f"Use 1 to {lowered[name]}."
                )
            lowered[name] = value
        return lowered

    def _text(self, table: dict[str, Any], key: str, default: str) -> str:
        value = table.get(key, default)
        if not isinstance(value, str):
            raise UsageError(f"{self._named(key)} is {value!r}, not text.", remedy="Put it in quotes.")
        return value

    def _strings(self, table: dict[str, Any], key: str) -> tuple[str, ...]:
        value = table.get(key, [])
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise UsageError(f"{self._named(key)} is not text or a list of texts.", remedy='Write ["a", "b"].')
        return tuple(value)

    def _entries(self, table: dict[str, Any], key: str) -> frozenset[str]:
        return frozenset(parse_entry(entry)[0] for entry in self._strings(table, key))

    def _number(self, table: dict[str, Any], key: str, default: int) -> int:
        value = table.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise UsageError(f"{self._named(key)} is {value!r}, not a whole number.")
        return value

    def _flag(self, table: dict[str, Any], key: str, default: bool) -> bool:
        value = table.get(key, default)
        if not isinstance(value, bool):
            raise UsageError(f"{self._named(key)} is {value!r}.", remedy="Use true or false.")
        return value

    def _named(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key


_TABLES = ("listen", "keeping", "mail", "delivery", "policies", "limits", "hold")
_CONDITIONS = (
    "sender",
    "recipient",
    "subject",
    "header",
    "attachment_name",
    "attachment_type",
    "larger_than",
)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"time_zone {name!r} is not known.", remedy="Use a name such as Europe/London.") from None
    return name


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"delivery.relay is {text!r}.", remedy="Write it as host:port.")
    return host.strip("[]"), int(port)
