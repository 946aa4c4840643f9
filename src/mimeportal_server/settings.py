"""portal.toml: read, checked, and explained when it is wrong."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mimeportal import limits
from mimeportal.addresses import parse_domain, parse_entry
from mimeportal.errors import ConfigurationError, UsageError
from mimeportal_server.password_rules import PasswordRules
from mimeportal_server.settings_reading import CONDITIONS, Conditions, Reading, Values
from mimeportal_server.settings_secure import SecureReader, SecureSettings

KINDS = ("spam", "attachment", "content", "impersonation", "other")
LEVELS = ("user", "moderator", "administrator")

_TEMPLATE = """\
# A mimeportal home. Every setting is explained in docs/portal.md.

domains = [{domain!r}]                  # mail to these is for people of the portal
public_url = {public_url!r}   # links in mail start with it
time_zone = "UTC"                            # days of reports, and times people type

[listen]
http = "127.0.0.1:8025"
smtp = "127.0.0.1:2525"
# tls_cert = "cert.pem"                      # needed for addresses that other machines reach; beside this file
# tls_key = "key.pem"
# behind_proxy = true                        # a proxy in front has TLS, and sends X-Forwarded-For and -Proto

[keeping]
hold_days = 14                               # 1 to 14: undecided held mail leaves the queue then
archiving = true                             # keep an archive copy of what was delivered or expired

[mail]
from = {sender!r}           # the one address of mail that the portal itself writes
security = {security!r}         # where reported spam and phishing goes

[digests]
hours = []                                   # as [8, 13]: when people are mailed what is newly held for them
kinds = ["spam", "attachment", "content", "impersonation", "other"]   # which holds they tell of

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

[largefiles]
expire_access_after_days = 30                # 1 to 90: unless whoever sends chooses otherwise
access_key = false                           # whether recipients are asked for a key
notify_on_download = false                   # whether the sender is told of each download
enforced = []                                # names of these three that nobody may change

# [scan]
# clamd = "/run/clamav/clamd.ctl"            # or host:port: large files are scanned before they are offered

[secure]
mode = "full"                                # off, lite or full: see docs/secure.md

[secure.folders]                             # a definition is offered to whom its folder names
Everybody = [{domain!r}]

[[secure.definition]]
name = "Allow Print, 7 Day Exp"
folder = "Everybody"
print = true
reply = true
reply_all = true
expire_days = 7

[auto_allow]
create = true                                # whom people write to is permitted: an entry of their auto-permitted list
days = 120                                   # 1 to 120: it lapses so long after the last mail to them
sample = 0.01                                # 0 to 1: the share of their mail that is scanned for spam all the same

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
class HoldRule(Conditions):
    """One `[[hold]]` of portal.toml: conditions that must all hold, and the hold they give."""

    policy: str
    kind: str
    reason: str
    level: str


@dataclass(frozen=True, slots=True)
class LargeFiles:
    """`[largefiles]`: what holds for a send unless its sender chooses otherwise, and what of it is `enforced`."""

    expire_access_after_days: int = 30
    access_key: bool = False
    notify_on_download: bool = False
    enforced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """What portal.toml says, defaults filled in."""

    domains: tuple[str, ...]
    public_url: str
    http: tuple[str, int] = ("127.0.0.1", 8025)
    smtp: tuple[str, int] = ("127.0.0.1", 2525)
    tls_cert: str = ""  # files, as seen from the home
    tls_key: str = ""
    behind_proxy: bool = False
    time_zone: str = "UTC"
    hold_days: int = limits.HOLD_DAYS
    archiving: bool = True
    mail_from: str = ""
    security_address: str = ""
    digest_hours: tuple[int, ...] = ()  # of the day, in the account's zone
    digest_kinds: tuple[str, ...] = KINDS
    deliver_to: str = "maildir"
    relay: tuple[str, int] = ("127.0.0.1", 25)
    blocked_senders: frozenset[str] = frozenset()
    permitted_senders: frozenset[str] = frozenset()
    public_providers: frozenset[str] = frozenset()
    authserv_id: str | None = None
    auto_permit: bool = True
    auto_permit_days: int = limits.AUTO_PERMIT_DAYS
    auto_permit_sample: float = 0.01
    hold_rules: tuple[HoldRule, ...] = ()
    large_files: LargeFiles = field(default_factory=LargeFiles)
    scan: str = ""  # where clamd listens: the path of its socket, or host:port; "": nothing is scanned
    secure: SecureSettings = field(default_factory=SecureSettings)
    session_hours: int = limits.SESSION_HOURS
    passwords: PasswordRules = field(default_factory=PasswordRules)
    limits: Mapping[str, int] = field(default_factory=lambda: dict(limits.LOWERABLE))
    report_closes_after_hours: int = 2

    @property
    def zone(self) -> ZoneInfo:
        """The account's zone: days of reports, and times people type."""
        return ZoneInfo(self.time_zone)


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
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deep.", remedy="Write it as docs/portal.md shows.") from None
    try:
        return _Reader(document).settings()
    except UsageError as fault:
        raise ConfigurationError(f"{path}: {fault.what}", why=fault.why, remedy=fault.remedy) from None


class _Reader(Reading):
    """Takes known keys out of the document; what is left is unknown, and said."""

    def settings(self) -> Settings:
        top = self._table(self._document, "", ("domains", "public_url", "time_zone"), _TABLES)
        keeping = self._section("keeping", ("hold_days", "archiving"))
        mail = self._section("mail", ("from", "security"))
        delivery = self._section("delivery", ("to", "relay"))
        digests = self._section("digests", ("hours", "kinds"))
        policies = self._section(
            "policies", ("blocked_senders", "permitted_senders", "public_providers", "authserv_id")
        )
        auto = self._section("auto_allow", ("create", "days", "sample"))
        auto_days = self._number(auto, "days", limits.AUTO_PERMIT_DAYS)
        if not 1 <= auto_days <= limits.AUTO_PERMIT_DAYS:
            raise UsageError(f"auto_allow.days is {auto_days}.", remedy=f"Use 1 to {limits.AUTO_PERMIT_DAYS} days.")
        listen = self._section("listen", ("http", "smtp", "tls_cert", "tls_key", "behind_proxy"))
        scan = self._section("scan", ("clamd",))
        pages = self._section("pages", ("session_hours",))
        lowered = self._limits(self._section("limits", tuple(limits.LOWERABLE)))
        domains = self._each(top, "domains", parse_domain)
        if not domains:
            raise UsageError("domains is empty.", remedy="Name at least one domain of the portal's people.")
        days = self._number(keeping, "hold_days", lowered["hold_days"])
        if not 1 <= days <= lowered["hold_days"]:
            raise UsageError(f"keeping.hold_days is {days}.", remedy=f"Use 1 to {lowered['hold_days']} days.")
        closes = self._number(self._section("reports", ("closes_after_hours",)), "closes_after_hours", 2)
        if not 0 <= closes <= _CLOSES_AFTER_AT_MOST:
            remedy = f"Use 0 to {_CLOSES_AFTER_AT_MOST} hours."
            raise UsageError(f"reports.closes_after_hours is {closes}.", remedy=remedy)
        public_url = self._text(top, "public_url", "").rstrip("/")
        if public_url and not public_url.startswith(("http://", "https://")):
            raise UsageError(f"public_url is {public_url!r}.", remedy="Write it as https://portal.example.com.")
        to = self._text(delivery, "to", "maildir")
        if to not in ("maildir", "smtp"):
            raise UsageError(f"delivery.to is {to!r}.", remedy="Use maildir or smtp.")
        if to == "smtp" and "relay" not in delivery:
            raise UsageError("delivery.relay is missing, and delivery.to is smtp.", remedy="Write it as host:port.")
        return Settings(
            domains=domains,
            public_url=public_url,
            http=self._host_port(listen, "http", "127.0.0.1:8025"),
            smtp=self._host_port(listen, "smtp", "127.0.0.1:2525"),
            tls_cert=self._text(listen, "tls_cert", ""),
            tls_key=self._text(listen, "tls_key", ""),
            behind_proxy=self._flag(listen, "behind_proxy", False),
            time_zone=_zone(self._text(top, "time_zone", "UTC")),
            hold_days=days,
            archiving=self._flag(keeping, "archiving", True),
            mail_from=self._address(mail, "from", f"no-reply@{domains[0]}"),
            security_address=self._address(mail, "security", f"security@{domains[0]}"),
            digest_hours=self._hours(digests, "hours"),
            digest_kinds=self._each(digests, "kinds", _kind) if "kinds" in digests else KINDS,
            deliver_to=to,
            relay=self._host_port(delivery, "relay", "127.0.0.1:25"),
            blocked_senders=frozenset(self._each(policies, "blocked_senders", _entry)),
            permitted_senders=frozenset(self._each(policies, "permitted_senders", _entry)),
            public_providers=frozenset(self._each(policies, "public_providers", parse_domain)),
            authserv_id=self._text(policies, "authserv_id", "") or None,
            auto_permit=self._flag(auto, "create", True),
            auto_permit_days=auto_days,
            auto_permit_sample=self._share(auto, "sample", 0.01),
            hold_rules=tuple(self._rules(self._document.get("hold", []))),
            large_files=self._large_files(self._section("largefiles", _PREFERENCES)),
            scan=self._text(scan, "clamd", ""),
            passwords=self._passwords(),
            secure=SecureReader(self._document).secure(),
            session_hours=self._within(pages, "session_hours", limits.SESSION_HOURS, 1, limits.BROWSER_DAYS * 24),
            limits=lowered,
            report_closes_after_hours=closes,
        )

    def _rules(self, rules: Any) -> list[HoldRule]:
        if not isinstance(rules, list):
            raise UsageError("hold is not a list of tables.", remedy="Write each rule under a line [[hold]].")
        return [self._rule(number, rule) for number, rule in enumerate(rules, 1)]

    def _rule(self, number: int, rule: Any) -> HoldRule:
        name = f"hold rule {number}"
        given = self._table(rule, name, ("policy", "kind", "reason", "level", *CONDITIONS))
        kind, level = given.get("kind"), given.get("level", "user")
        if kind not in KINDS:
            raise UsageError(f"{name}: kind is {kind!r}.", remedy=f"Use one of: {', '.join(KINDS)}.")
        if level not in LEVELS:
            raise UsageError(f"{name}: level is {level!r}.", remedy=f"Use one of: {', '.join(LEVELS)}.")
        policy = self._text(given, "policy", f"Hold rule {number}")
        return HoldRule(
            policy=policy,
            kind=kind,
            reason=self._text(given, "reason", f"Message Hold Applied - {policy} policy"),
            level=level,
            **self._conditions(given, name, "hold all mail"),
        )

    def _large_files(self, given: Values) -> LargeFiles:
        days = self._within(given, "expire_access_after_days", 30, 1, limits.LARGE_FILE_DAYS)
        enforced = self._strings(given, "enforced")
        for name in enforced:
            if name not in _PREFERENCES[:-1]:
                raise UsageError(
                    f"{given.named('enforced')} names {name!r}.", remedy=f"Known: {', '.join(_PREFERENCES[:-1])}."
                )
        return LargeFiles(
            days,
            self._flag(given, "access_key", False),
            self._flag(given, "notify_on_download", False),
            tuple(dict.fromkeys(enforced)),
        )

    def _passwords(self) -> PasswordRules:
        names = ("shortest", "longest", "classes", "expire_days", "lock_failures", "lock_minutes", "reset_by_mail")
        given, rules = self._section("passwords", names), PasswordRules()
        shortest = self._within(given, "shortest", rules.shortest, rules.shortest, limits.PASSWORD_LONGEST // 2)
        return PasswordRules(
            shortest=shortest,
            longest=self._within(
                given, "longest", rules.longest, limits.PASSWORD_LONGEST // 2, limits.PASSWORD_LONGEST
            ),
            classes=self._within(given, "classes", rules.classes, 0, 4),
            expire_days=self._within(given, "expire_days", rules.expire_days, 0, 3650),
            lock_failures=self._within(given, "lock_failures", rules.lock_failures, 1, limits.LOCK_FAILURES_ANYWHERE),
            lock_minutes=self._within(given, "lock_minutes", rules.lock_minutes, 1, 24 * 60),
            reset_by_mail=self._flag(given, "reset_by_mail", rules.reset_by_mail),
        )

    def _limits(self, given: Values) -> dict[str, int]:
        lowered = dict(limits.LOWERABLE)
        for name in given:
            value = self._number(given, name, lowered[name])
            if not 0 < value <= lowered[name]:
                raise UsageError(
                    f"limits.{name} is {value}; a limit can only be lowered.", remedy=f"Use 1 to {lowered[name]}."
                )
            lowered[name] = value
        return lowered

    def _hours(self, table: Values, key: str) -> tuple[int, ...]:
        value = table.get(key, [])
        value = value if isinstance(value, list) else [value]
        if not all(type(hour) is int and 0 <= hour < 24 for hour in value):
            raise UsageError(f"{table.named(key)} is {value!r}.", remedy="Write hours of the day, as [8, 13].")
        return tuple(sorted(set(value)))

    def _share(self, table: Values, key: str, default: float) -> float:
        value = table.get(key, default)
        # What is no number, as nan, compares with nothing.
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
            raise UsageError(f"{table.named(key)} is {value!r}.", remedy="Use a share: 0 to 1.")
        return float(value)


_PREFERENCES = ("expire_access_after_days", "access_key", "notify_on_download", "enforced")
_TABLES = (
    "listen",
    "keeping",
    "mail",
    "digests",
    "delivery",
    "policies",
    "pages",
    "passwords",
    "auto_allow",
    "limits",
    "reports",
    "hold",
    "largefiles",
    "scan",
    "secure",
)
_CLOSES_AFTER_AT_MOST = 72


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"time_zone {name!r} is not known.", remedy="Use a name such as Europe/London.") from None
    return name


def _kind(text: str) -> str:
    if text not in KINDS:
        raise UsageError(f"there is no kind {text!r}.", remedy=f"Use some of: {', '.join(KINDS)}.")
    return text


def _entry(text: str) -> str:
    return parse_entry(text)[0]
