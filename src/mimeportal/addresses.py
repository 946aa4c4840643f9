"""Addresses and domains: parsed, normalised and matched alike by client and server.

Filters follow promises B.2, entries of sender lists portal-rules D.9: no wildcards, exact domain only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Literal, get_args

from mimeportal import limits
from mimeportal.errors import UsageError
from mimeportal.patterns import TextPattern, fold

# What an entry of a sender list is, and which of a message's senders it is made of.
EntryType = Literal["address", "domain"]
ENTRY_TYPES: tuple[EntryType, ...] = get_args(EntryType)
SenderPart = Literal["header", "envelope"]
SENDER_PARTS: tuple[SenderPart, ...] = get_args(SenderPart)

_BARE = r"[^\s@<>,;:\\\"()\[\]\x00-\x20\x7f-\x9f]+"
_LOCAL = re.compile(_BARE + r"|\"[^\"\x00-\x1f\x7f-\x9f]+\"")
_ATOMS = re.compile(rf"(?!.*\.\.)(?!\.){_BARE}(?<!\.)")
_ESCAPED = re.compile(r"\\(.)")
# What may stand around an address: angle brackets and whatever counts as a blank.
_AROUND = "<>" + "".join(filter(str.isspace, map(chr, range(0x3001))))
_REMEMBERED = 1_000  # characters of an address that is worth remembering: others are none
_SHOWN = 80  # characters of what is no address, in an error
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")


def normalise(address: str) -> str:
    """Lower case, no needless quotes, domain in IDNA ASCII form; what cannot be an address is stripped and lowered.

    However long it is, it takes time by its length alone: a stranger may have written it.
    """
    bare = address.strip(_AROUND)
    return _normalised(bare) if len(bare) <= _REMEMBERED else _normalised.__wrapped__(bare)


@lru_cache(maxsize=4096)
def _normalised(address: str) -> str:
    local, at, domain = address.rpartition("@")
    if not at:
        return domain.lower()
    return f"{_plain(local).lower()}@{_ascii_domain(domain) or domain.lower()}"


def domain_of(address: str) -> str:
    """The domain of a normalised address; "" for `<>` and for what has none."""
    return address.rpartition("@")[2] if "@" in address else ""


def parse_address(text: str) -> str:
    """A normalised address. Raises `UsageError` naming the text when it is none."""
    address = text.strip()
    local, at, domain = address.rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or ".." in local or local[0] == "." or local[-1] == ".":
        raise _no_address(text)
    ascii_domain = _ascii_domain(domain)
    if ascii_domain is None:
        raise _no_address(text)
    address = f"{_plain(local).lower()}@{ascii_domain}"
    if len(address) > limits.ADDRESS_CHARACTERS:
        raise UsageError(f"The address {text[:40]!r}... is longer than {limits.ADDRESS_CHARACTERS} characters.")
    return address


def parse_domain(text: str) -> str:
    """A normalised domain of at least two labels. Raises `UsageError` naming the text when it is none."""
    domain = _ascii_domain(text.strip())
    if domain is None or len(domain) > limits.ADDRESS_CHARACTERS:
        raise UsageError(f"Not a domain: {text!r}.", remedy="Write it as example.com.")
    return domain


def parse_entry(text: str) -> tuple[str, str]:
    """An entry of a sender list as `(entry, "address" | "domain")` (portal-rules D.6, D.9).

    Raises `UsageError` for wildcards, `@domain`, and whatever is neither an address nor a domain.
    """
    entry = text.strip()
    if "*" in entry:
        raise UsageError(
            f"Sender lists take no wildcards: {text!r}.", remedy="Name an address, or a whole domain as example.com."
        )
    if entry.startswith("@"):
        raise UsageError(f"Not an entry: {text!r}.", remedy=f"Write the domain as {entry[1:]}.")
    if "@" in entry:
        return parse_address(entry), "address"
    try:
        return parse_domain(entry), "domain"
    except UsageError:
        raise UsageError(
            f"Not an address and not a domain: {text!r}.", remedy="Write user@example.com or example.com."
        ) from None


def entry_matches(entry: str, address: str) -> bool:
    """Whether a list entry covers a normalised address: the same address, or exactly its domain."""
    return address == entry if "@" in entry else bool(address) and domain_of(address) == entry


def address_filter(text: str) -> Callable[[Iterable[str]], bool]:
    """The meaning of `--from` and `--to` (promises B.2), as a test over the addresses of one message.

    `a@b` is that address; `b.com` or `@b.com` exactly that domain; with `*` a glob; a bare word a substring.
    """
    kind, value = address_filter_kind(text)
    if kind == "address":
        return lambda addresses: any(normalise(address) == value for address in addresses)
    if kind == "domain":
        return lambda addresses: any(domain_of(normalise(address)) == value for address in addresses)
    pattern = TextPattern.parse(value)
    return lambda addresses: any(pattern.matches(address) for address in addresses)


def address_filter_kind(text: str) -> tuple[str, str]:
    """`(kind, value)` of an address filter: kind is `address`, `domain`, `glob` or `word`."""
    wanted = text.strip()
    if not wanted:
        raise UsageError("An address filter is empty.", remedy="Give an address, a domain, or a word of it.")
    if "*" in wanted:
        return "glob", wanted
    if wanted == "@":
        raise UsageError("An address filter is only an @.", remedy="Give an address, a domain, or a word of it.")
    if wanted.startswith("@"):
        return "domain", _ascii_domain(wanted[1:]) or fold(wanted[1:])
    if "@" in wanted:
        return "address", normalise(wanted)
    if "." in wanted:
        domain = _ascii_domain(wanted)
        if domain is not None:
            return "domain", domain
    return "word", wanted


def _plain(local: str) -> str:
    """A local part without quotes and backslashes that say nothing: `"ann"@` is `ann@` (RFC 5321, 4.1.2)."""
    if not local.startswith('"') and "\\" not in local:
        return local
    bare = _ESCAPED.sub(r"\1", local[1:-1] if local[:1] == local[-1:] == '"' else local)
    return bare if _ATOMS.fullmatch(bare) else local


def _ascii_domain(domain: str) -> str | None:
    """The domain in IDNA ASCII form, lower case; None when it cannot be one."""
    # The form takes time by the square of a label's length.
    return _in_ascii(domain) if len(domain) <= limits.ADDRESS_CHARACTERS else None


@lru_cache(maxsize=4096)
def _in_ascii(domain: str) -> str | None:
    domain = domain.rstrip(".").lower()
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    labels = domain.split(".")
    if len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    return domain


def _no_address(text: str) -> UsageError:
    shown = repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}..."
    return UsageError(f"Not an e-mail address: {shown}.", remedy="Write it as user@example.com.")
