"""The rules file of `holds apply`: TOML in, rules out; the first that matches decides.

[[rule]]
name = "partner newsletters"
from = "partner.example"          # as --from (promises B.2)
subject = "*newsletter*"          # substring, or glob with *
decide = "release"                # release, reject or keep
permit = "address"                # the options of the verb
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimeportal.errors import UsageError
from mimeportal.holds.hold import Hold, HoldFilter
from mimeportal.patterns import TextPattern

# key in the file -> (field of HoldFilter, type)
_CONDITIONS: dict[str, tuple[str, type]] = {
    "from": ("from_", str),
    "to": ("to", str),
    "subject": ("subject", str),
    "search": ("search", str),
    "reason": ("reason", str),
    "policy": ("policy", str),
    "route": ("route", str),
    "has_attachments": ("has_attachments", bool),
    "larger_than": ("larger_than", int),
}
_REGEXES = {"subject_regex": "subject", "from_regex": "from_header"}
_OPTIONS: dict[str, type] = {
    "permit": str,
    "block": str,
    "sender_part": str,
    "notify": bool,
    "message": str,
    "reason_type": str,
}
_DECISIONS = ("release", "reject", "keep")


@dataclass(frozen=True)
class Rule:
    """One rule: conditions that must all hold, and what is decided with which options."""

    name: str
    decide: str
    condition: HoldFilter
    regexes: Mapping[str, TextPattern] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, hold: Hold) -> bool:
        return self.condition.matches(hold) and all(
            pattern.matches(getattr(hold, name)) for name, pattern in self.regexes.items()
        )


def load(path: Path) -> list[Rule]:
    """Read a rules file. Raises `UsageError` naming the file, the rule and the key that is wrong."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as fault:
        raise UsageError(f"The rules {path} cannot be read: {fault.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise UsageError(f"The rules {path} are not TOML: {fault}.") from None
    except RecursionError:
        raise UsageError(f"The rules {path} are nested too deeply.", remedy="Write rules, one under another.") from None
    unknown = set(document) - {"rule"}
    entries = document.get("rule", [])
    if unknown or not isinstance(entries, list) or not entries:
        raise UsageError(
            f"{path} holds no rules." if not unknown else f"{path}: unknown key {sorted(unknown)[0]!r}.",
            remedy="Write each rule under a line [[rule]].",
        )
    return [_rule(path, number, entry) for number, entry in enumerate(entries, 1)]


def _rule(path: Path, number: int, entry: Any) -> Rule:
    if not isinstance(entry, dict):
        raise UsageError(f"{path}, rule {number}: not a table.", remedy="Write it under a line [[rule]].")
    name = entry.get("name", f"rule {number}")
    where = f"{path}, rule {number} ({name})"
    decide = entry.get("decide")
    if decide not in _DECISIONS:
        raise UsageError(f"{where}: decide is {decide!r}.", remedy=f"Use one of: {', '.join(_DECISIONS)}.")
    known = {"name", "decide", *_CONDITIONS, *_REGEXES, *_OPTIONS}
    for key, value in entry.items():
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}.", remedy=f"Known keys: {', '.join(sorted(known))}.")
        wanted = _CONDITIONS[key][1] if key in _CONDITIONS else _OPTIONS.get(key, str)
        if type(value) is not wanted:
            raise UsageError(f"{where}: {key} takes {_SPOKEN[wanted]}, not {value!r}.")
    conditions = {_CONDITIONS[key][0]: value for key, value in entry.items() if key in _CONDITIONS}
    condition = HoldFilter(**conditions)
    try:
        regexes = {field_name: TextPattern.regex(entry[key]) for key, field_name in _REGEXES.items() if key in entry}
        condition.check()  # a condition that cannot be read is found now, not at the first message
    except UsageError as fault:
        raise UsageError(f"{where}: {fault.what}", why=fault.why, remedy=fault.remedy) from None
    if decide != "keep" and not condition.narrows and not regexes:
        raise UsageError(
            f"{where}: without a condition it would {decide} everything.",
            remedy=f"Add a condition: {', '.join((*_CONDITIONS, *_REGEXES))}.",
        )
    options = {key: entry[key] for key in _OPTIONS if key in entry}
    if decide == "keep" and options:
        raise UsageError(f"{where}: keep takes no {next(iter(options))}.")
    return Rule(str(name), decide, condition, regexes, options)


_SPOKEN = {str: "text in quotes", bool: "true or false", int: "a whole number"}
