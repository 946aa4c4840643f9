"""What a password must be, and how long it and a lock last: `[passwords]` of portal.toml (portal-rules I)."""

from __future__ import annotations

from dataclasses import dataclass

from mimeportal import limits


@dataclass(frozen=True, slots=True)
class PasswordRules:
    """The rules of an account; they bite at the next change, not before (portal-rules I.6).

    classes       how many of capitals, small letters, digits and other signs there must be
    expire_days   after how many days another must be set; 0: never
    lock_failures, lock_minutes   so many failures from one network lock an address there, for so long
    reset_by_mail whether the account's own people may reset theirs by mail; people outside always may
    """

    shortest: int = limits.PASSWORD_SHORTEST
    longest: int = limits.PASSWORD_LONGEST
    classes: int = limits.PASSWORD_CLASSES
    expire_days: int = 0
    lock_failures: int = limits.LOCK_FAILURES
    lock_minutes: int = limits.LOCK_MINUTES
    reset_by_mail: bool = True


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that is asked of a password, and whether this one has it; `counts_to` names what it is part of."""

    id: str
    text: str
    satisfied: bool
    counts_to: str = ""


def criteria(rules: PasswordRules, password: str) -> list[Criterion]:
    """Every criterion for a password, ticked or crossed (portal-rules A.23, I.11)."""
    kinds = {
        "capital" if sign.isupper() else "small" if sign.islower() else "digit" if sign.isdigit() else "other"
        for sign in password
    }
    length = f"{rules.shortest} to {rules.longest} characters"
    asked = [Criterion("length", length, rules.shortest <= len(password) <= rules.longest)]
    if rules.classes == 0:
        return asked
    number = "all" if rules.classes == len(_CLASSES) else f"at least {rules.classes}"
    asked.append(Criterion("classes", f"{number} of these kinds:", len(kinds) >= rules.classes))
    return asked + [Criterion(id, text, id in kinds, "classes") for id, text in _CLASSES.items()]


_CLASSES = {"capital": "a capital letter", "small": "a small letter", "digit": "a digit", "other": "another sign"}
