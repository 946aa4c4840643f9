"""What the SMTP door decides before it has seen a message: whose mail it takes, from whom, and for whom."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mimeportal import limits
from mimeportal.addresses import domain_of, normalise, parse_address
from mimeportal.errors import UnavailableError, UsageError
from mimeportal_server import bounces, people
from mimeportal_server.mail import Summary
from mimeportal_server.people import Caller
from mimeportal_server.portal import Portal, Refused
from mimeportal_server.screening import Arrival, asked_about, by_lists
from mimeportal_server.sender_lists import lists_of


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reply that refuses, and the word that its row in `rejections` gets as its type."""

    reply: str
    type: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody a message is taken for. Without a `person_id` they are outside, and one of our people writes to them.

    `bounce` is the token of the return path that was written to: the person sent what comes back there. Without a
    person an application did, which has no mailbox: what comes is read, and not kept.
    """

    address: str
    person_id: int | None
    bounce: str = ""


DISK_FULL = Refusal("452 4.3.1 Too little disk space is left, try again later", "disk_full")
TOO_BUSY = Refusal("452 4.3.1 Too much mail is on its way in, try again later", "busy")
TOO_LARGE = Refusal("552 5.3.4 The message is larger than this portal takes", "message_too_large")
TOO_MANY = Refusal("452 4.5.3 Too many recipients, send the rest as another message", "too_many_recipients")
MAILBOX_FULL = Refusal("452 4.2.2 The mailbox is full", "mailbox_full")
UNKNOWN = Refusal("550 5.1.1 There is no such recipient here", "unknown_recipient")
NO_RELAY = Refusal("550 5.7.1 Relaying denied: log in to send mail outside", "relaying_denied")
BLOCKED = Refusal("550 5.7.1 Administrative prohibition - envelope blocked", "sender_blocked")
NOT_YOURS = Refusal("553 5.7.1 Whoever logs in sends from their own address", "sender_not_own")
NOT_STORED = Refusal("451 4.3.0 The message was not stored, try again later", "not_stored")
WRONG = Refusal("535 5.7.8 The address or the password is wrong", "log_in")


@dataclass(frozen=True, slots=True)
class Path:
    """The argument of MAIL or RCPT: the address as it was written, and the parameters after it."""

    address: str
    parameters: dict[str, str]


# RFC 5321 4.1.2, with blanks after the colon and without brackets as people type it.
_PATH = re.compile(r'\s*(?:<((?:"(?:\\.|[^"\\])*"|[^<>"])*)>|([^\s<>]+))((?:\s+[^\s]+)*)\s*')
_ROUTE = re.compile(r"\A@[^:]*:")  # source routes are read over (RFC 5321, appendix C)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?")
# A sender of what is no domain would be on nobody's list. One label may be: machines write as root@localhost.
_DOMAIN = re.compile(r"[^@]*|.*@(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-z:.-]+\])")
_NO_ADDRESS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def parse_path(keyword: str, argument: str) -> Path | None:
    """What follows `FROM:` or `TO:`; None when it is no path."""
    if argument[: len(keyword)].upper() != keyword:
        return None
    found = _PATH.fullmatch(argument, len(keyword))
    if found is None:
        return None
    parameters = {}
    for text in found[3].split():
        parameter = _PARAMETER.fullmatch(text)
        if parameter is None:
            return None
        parameters[parameter[1].upper()] = parameter[2] or ""
    return Path(_ROUTE.sub("", found[1] or found[2] or ""), parameters)


def sender(portal: Portal, address: str, size: int, by: Caller | None) -> str | Refusal:
    """Who may send a message of a declared size: the normalised envelope sender, "" for `<>`."""
    normal = normalise(address)
    if _NO_ADDRESS.search(address) or len(normal) > limits.ADDRESS_CHARACTERS or not _DOMAIN.fullmatch(normal):
        return Refusal("553 5.1.7 The sender is no mail address", "bad_address")
    if size > portal.settings.limits["message"]:
        return TOO_LARGE
    if by is not None and normal != by.address:
        return NOT_YOURS
    try:
        portal.home.refuse_if_full()
    except UnavailableError:
        return DISK_FULL
    return normal


def recipient(portal: Portal, address: str, envelope_from: str, size: int, by: Caller | None) -> Recipient | Refusal:
    """Whether a message is taken for somebody (promises B.4, C.4). Raises `StoreError`."""
    try:
        normal = parse_address(address)
    except UsageError:
        return Refusal("553 5.1.3 The recipient is no mail address", "bad_address")
    token = bounces.token_of(portal, address)
    if token is not None:
        with portal.database.read() as tx:
            granted = bounces.sender_of(portal, tx, token)
            owner = people.find(tx, str(granted.address)) if granted else None
        if owner is None:
            return UNKNOWN
        if owner.kind != "person":
            return Recipient(str(owner.address), None, token)
        normal = str(owner.address)
    if domain_of(normal) not in portal.settings.domains:
        return NO_RELAY if by is None else Recipient(normal, None)
    arrival = Arrival(envelope_from, normal, Summary(), size, by is not None)
    with portal.database.read() as tx:
        person = people.find(tx, normal)
        if person is None or person.disabled or person.kind != "person":
            return UNKNOWN
        lists = lists_of(tx, int(person.id), asked_about(arrival), portal.clock.steady())
    if by_lists(arrival, portal.settings, lists).outcome == "blocked":
        return BLOCKED
    if person.octets + size > portal.settings.limits["person_octets"]:
        return MAILBOX_FULL
    return Recipient(normal, int(person.id), token or "")


@dataclass(frozen=True, slots=True)
class LogIn:
    """Who logged in. What was handed out to them ends with their `epoch`, and so does this (promises E.2)."""

    caller: Caller
    epoch: int


def log_in(portal: Portal, address: str, password: str, peer: str) -> LogIn | Refusal:
    """Whoever has this address and password. Lock-out and budgets are those of every log-in (promises E.3)."""
    from mimeportal_server import passwords

    try:
        passed = passwords.check(portal, address, password, peer, door="smtp")
    except Refused as refused:
        if refused.status == 429:
            return Refusal("454 4.7.0 Too many log-ins, try again later", "log_in")
        return WRONG
    with portal.database.read() as tx:
        caller = people.caller_of(tx, normalise(address), "smtp")
    # Disabled at this moment; or one of those outside, who send no mail through this portal.
    return LogIn(caller, passed.epoch) if caller and not caller.outside else WRONG


def is_over(portal: Portal, login: LogIn) -> bool:
    """Whether a log-in has ended since: the person was disabled, or has another password. Raises `StoreError`."""
    with portal.database.read() as tx:
        person = people.find(tx, login.caller.address)
    return person is None or bool(person.disabled) or person.epoch != login.epoch
