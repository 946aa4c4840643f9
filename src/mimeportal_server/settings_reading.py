"""How settings are read: tables of a TOML document, their keys checked, and what is wrong said by its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mimeportal.addresses import address_filter, parse_address
from mimeportal.errors import UsageError
from mimeportal.patterns import TextPattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a rule asks of a message; all that are given must hold, several values of one are alternatives."""

    sender: tuple[str, ...] = ()
    recipient: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()
    header: tuple[str, str] | None = None
    attachment_name: tuple[str, ...] = ()
    attachment_type: tuple[str, ...] = ()
    larger_than: int | None = None


class Values(dict[str, Any]):
    """A table of the document that remembers its name."""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        super().__init__(values)
        self._name = name

    def named(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key


class Reading:
    """Takes known keys out of a document; what is left is unknown, and said."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def _table(self, table: Any, name: str, keys: tuple[str, ...], tables: tuple[str, ...] = ()) -> Values:
        if not isinstance(table, dict):
            raise UsageError(f"{name} is not a table.", remedy=f"Write it under a line [{name}].")
        for key in table:
            if key not in keys and key not in tables:
                where = f"{name}.{key}" if name else key
                raise UsageError(f"unknown setting {where!r}.", remedy=f"Known here: {', '.join((*keys, *tables))}.")
        return Values(name, {key: table[key] for key in keys if key in table})

    def _section(self, name: str, keys: tuple[str, ...]) -> Values:
        return self._table(self._document.get(name, {}), name, keys)

    def _conditions(self, given: Values, name: str, without: str) -> dict[str, Any]:
        """The conditions of a rule, of which there must be one: `without` any it would apply to everything."""
        if not any(given.get(key) not in (None, [], "") for key in CONDITIONS):
            raise UsageError(
                f"{name} has no condition, so it would {without}.",
                remedy=f"Give one of: {', '.join(CONDITIONS)}.",
            )
        header = given.get("header")
        if header is not None and not (
            isinstance(header, dict)
            and set(header) == {"name", "value"}
            and all(isinstance(part, str) for part in header.values())
            and _HEADER_NAME.fullmatch(header["name"])
        ):
            raise UsageError(f"{name}: header is wrong.", remedy='Write { name = "X-Spam-Flag", value = "YES" }.')
        larger = given.get("larger_than")
        if larger is not None and (not isinstance(larger, int) or isinstance(larger, bool) or larger < 0):
            raise UsageError(f"{name}: larger_than is {larger!r}.", remedy="Give a number of octets.")
        value = self._read(given, "header", header["value"], _text_condition) if header else ""
        return {
            "sender": self._each(given, "sender", _address_condition),
            "recipient": self._each(given, "recipient", _address_condition),
            "subject": self._each(given, "subject", _text_condition),
            "header": (header["name"], value) if header else None,
            "attachment_name": self._each(given, "attachment_name", _text_condition),
            "attachment_type": self._each(given, "attachment_type", _text_condition),
            "larger_than": larger,
        }

    def _text(self, table: Values, key: str, default: str) -> str:
        value = table.get(key, default)
        if not isinstance(value, str):
            raise UsageError(f"{table.named(key)} is {value!r}, not text.", remedy="Put it in quotes.")
        return value

    def _read(self, table: Values, key: str, text: str, parse: Callable[[str], str]) -> str:
        """A text as its parser makes it; what is wrong with it names the key."""
        try:
            return parse(text)
        except UsageError as fault:
            raise UsageError(f"{table.named(key)}: {fault.what}", why=fault.why, remedy=fault.remedy) from None

    def _each(self, table: Values, key: str, parse: Callable[[str], str]) -> tuple[str, ...]:
        return tuple(self._read(table, key, text, parse) for text in self._strings(table, key))

    def _address(self, table: Values, key: str, default: str) -> str:
        return self._read(table, key, self._text(table, key, default), parse_address)

    def _host_port(self, table: Values, key: str, default: str) -> tuple[str, int]:
        text = self._text(table, key, default)
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UsageError(f"{table.named(key)} is {text!r}.", remedy="Write it as host:port.")
        return host.strip("[]"), int(port)

    def _strings(self, table: Values, key: str) -> tuple[str, ...]:
        value = table.get(key, [])
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise UsageError(f"{table.named(key)} is not text or a list of texts.", remedy='Write ["a", "b"].')
        return tuple(value)

    def _number(self, table: Values, key: str, default: int) -> int:
        value = table.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise UsageError(f"{table.named(key)} is {value!r}, not a whole number.")
        return value

    def _within(self, table: Values, key: str, default: int, least: int, most: int) -> int:
        value = self._number(table, key, default)
        if not least <= value <= most:
            raise UsageError(f"{table.named(key)} is {value}.", remedy=f"Use {least} to {most}.")
        return value

    def _flag(self, table: Values, key: str, default: bool) -> bool:
        value = table.get(key, default)
        if not isinstance(value, bool):
            raise UsageError(f"{table.named(key)} is {value!r}.", remedy="Use true or false.")
        return value


_HEADER_NAME = re.compile(r"[!-9;-~]+")
CONDITIONS = (
    "sender",
    "recipient",
    "subject",
    "header",
    "attachment_name",
    "attachment_type",
    "larger_than",
)


# Conditions are read here once, so that a wrong one is found now and not by the first message.


def _address_condition(text: str) -> str:
    address_filter(text)
    return text


def _text_condition(text: str) -> str:
    TextPattern.parse(text)
    return text
