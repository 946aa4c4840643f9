"""The `[secure]` section of portal.toml: what Secure Messaging offers whom, its definitions and its rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mimeportal import limits
from mimeportal.addresses import domain_of, parse_address, parse_entry
from mimeportal.errors import UsageError
from mimeportal_server.settings_reading import CONDITIONS, Conditions, Reading, Values

MODES = ("off", "lite", "full")
FIRST_VISITS = ("link", "temporary-password")


@dataclass(frozen=True, slots=True)
class Definition:
    """What senders let recipients do with a secure message (portal-rules F.9). `expire_days` 0: for ever."""

    name: str
    folder: str = ""
    print: bool = True
    reply: bool = True
    reply_all: bool = True
    expire_days: int = 0
    read_receipt: bool = False


# It is there in every account, for everybody, and cannot be changed (portal-rules F.10).
DEFAULT = Definition("Default Secure Messaging Definition")
# The fixed ones of Lite (portal-rules F.13).
EXTERNAL = Definition("External", print=False)
ALL = Definition("All", print=False)


@dataclass(frozen=True, slots=True)
class Trigger(Conditions):
    """One `[[secure.trigger]]`: outgoing mail that its conditions fit is sent securely, by a definition."""

    policy: str
    definition: str


@dataclass(frozen=True, slots=True)
class SecureSettings:
    """What `[secure]` says, defaults filled in.

    compose      who may compose in the secure portal: None is everybody, else addresses and domains
    first_visit  what lets people outside in for the first time: a `link`, or a `temporary-password` by mail
    """

    mode: str = "full"
    compose: frozenset[str] | None = None
    reply: bool = True
    print: bool = True
    delete: bool = True
    expired_blocks_read: bool = False
    recall_only_if_unread: bool = False
    inbox_days: int = limits.SECURE_INBOX_DAYS
    retention_days: int = 365
    first_visit: str = "link"
    published_contacts: tuple[str, ...] = ()
    folders: Mapping[str, frozenset[str]] = field(default_factory=dict)
    own: tuple[Definition, ...] = ()
    triggers: tuple[Trigger, ...] = ()

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Every definition, in the order in which it is offered; the first is the default."""
        return (EXTERNAL, ALL) if self.mode == "lite" else (DEFAULT, *self.own)

    def may_compose(self, address: str) -> bool:
        """Whether this address may write a new message in the secure portal."""
        return self.mode == "full" and (self.compose is None or listed(address, self.compose))

    def offered(self, address: str) -> tuple[Definition, ...]:
        """The definitions that this address may choose from: its folders decide (portal-rules F.10)."""
        return tuple(
            definition
            for definition in self.definitions
            if not definition.folder or listed(address, self.folders[definition.folder])
        )

    def switched_off(self) -> frozenset[str]:
        """What recipients may never do in this account, whatever a sender lets them do."""
        off = set()
        off |= {"reply", "reply_all"} if not self.reply else set()
        off |= {"print"} if not self.print else set()
        off |= {"delete", "restore"} if not self.delete else set()
        return frozenset(off)


def listed(address: str, entries: frozenset[str]) -> bool:
    """Whether a normalised address, or its domain, is among some entries."""
    return address in entries or domain_of(address) in entries


_KEYS = (
    "mode", "compose", "reply", "print", "delete", "expired_blocks_read", "recall_only_if_unread", "inbox_days",
    "retention_days", "first_visit", "published_contacts",
)  # fmt: skip
_TABLES = ("folders", "definition", "trigger")
_DEFINITION = ("name", "folder", "print", "reply", "reply_all", "expire_days", "read_receipt")


class SecureReader(Reading):
    """Reads the section, and what lies under it."""

    def secure(self) -> SecureSettings:
        section = self._document.get("secure", {})
        given = self._table(section, "secure", _KEYS, _TABLES)
        mode = self._choice(given, "mode", "full", MODES)
        folders = self._folders(section.get("folders", {}))
        own = self._definitions(section.get("definition", []), folders)
        settings = SecureSettings(
            mode=mode,
            compose=self._compose(given),
            reply=self._flag(given, "reply", True),
            print=self._flag(given, "print", True),
            delete=self._flag(given, "delete", True),
            expired_blocks_read=self._flag(given, "expired_blocks_read", False),
            recall_only_if_unread=self._flag(given, "recall_only_if_unread", False),
            inbox_days=self._within(given, "inbox_days", limits.SECURE_INBOX_DAYS, 1, limits.SECURE_INBOX_DAYS),
            retention_days=self._within(given, "retention_days", 365, 1, limits.SECURE_RETENTION_DAYS),
            first_visit=self._choice(given, "first_visit", "link", FIRST_VISITS),
            published_contacts=self._each(given, "published_contacts", parse_address),
            folders=folders,
            own=own,
        )
        names = {definition.name for definition in settings.definitions}
        triggers = self._triggers(section.get("trigger", []), names)
        return replace(settings, triggers=triggers)

    def _choice(self, given: Values, key: str, default: str, known: tuple[str, ...]) -> str:
        value = self._text(given, key, default)
        if value not in known:
            raise UsageError(f"{given.named(key)} is {value!r}.", remedy=f"Use one of: {', '.join(known)}.")
        return value

    def _compose(self, given: Values) -> frozenset[str] | None:
        value = given.get("compose", True)
        if isinstance(value, bool):
            return None if value else frozenset()
        return frozenset(self._each(given, "compose", _entry))

    def _folders(self, given: Any) -> dict[str, frozenset[str]]:
        if not isinstance(given, dict):
            raise UsageError("secure.folders is not a table.", remedy="Write folders under a line [secure.folders].")
        values = self._table(given, "secure.folders", tuple(given))
        return {name: frozenset(self._each(values, name, _entry)) for name in values}

    def _definitions(self, given: Any, folders: Mapping[str, frozenset[str]]) -> tuple[Definition, ...]:
        known: dict[str, Definition] = {}
        fixed = {definition.name for definition in (DEFAULT, EXTERNAL, ALL)}
        for number, table in enumerate(self._tables(given, "secure.definition"), 1):
            name = f"secure definition {number}"
            values = self._table(table, name, _DEFINITION)
            definition = Definition(
                name=self._text(values, "name", ""),
                folder=self._text(values, "folder", ""),
                print=self._flag(values, "print", False),
                reply=self._flag(values, "reply", False),
                reply_all=self._flag(values, "reply_all", False),
                expire_days=self._number(values, "expire_days", 0),
                read_receipt=self._flag(values, "read_receipt", False),
            )
            if not definition.name or definition.name in known or definition.name in fixed:
                raise UsageError(f"{name}: its name is {definition.name!r}.", remedy="Give it a name of its own.")
            if definition.folder not in folders:
                raise UsageError(
                    f"{name}: there is no folder {definition.folder!r}.",
                    why="The folder of a definition decides who sees it.",
                    remedy="Name a folder of [secure.folders].",
                )
            if not 0 <= definition.expire_days <= limits.SECURE_RETENTION_DAYS:
                raise UsageError(
                    f"{name}: expire_days is {definition.expire_days}.",
                    remedy=f"Use 1 to {limits.SECURE_RETENTION_DAYS} days, or leave it out.",
                )
            known[definition.name] = definition
        return tuple(known.values())

    def _triggers(self, given: Any, definitions: set[str]) -> tuple[Trigger, ...]:
        triggers = []
        for number, table in enumerate(self._tables(given, "secure.trigger"), 1):
            name = f"secure trigger {number}"
            values = self._table(table, name, ("policy", "definition", *CONDITIONS))
            definition = self._text(values, "definition", "")
            if definition not in definitions:
                raise UsageError(
                    f"{name}: there is no definition {definition!r}.", remedy=f"Use one of: {', '.join(definitions)}."
                )
            policy = self._text(values, "policy", f"Secure trigger {number}")
            conditions = self._conditions(values, name, "send all mail securely")
            triggers.append(Trigger(policy=policy, definition=definition, **conditions))
        return tuple(triggers)

    def _tables(self, given: Any, name: str) -> list[Any]:
        if not isinstance(given, list):
            raise UsageError(f"{name} is not a list of tables.", remedy=f"Write each under a line [[{name}]].")
        return given


def _entry(text: str) -> str:
    return parse_entry(text)[0]
