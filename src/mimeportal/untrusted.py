"""Hostile text made safe: the one module through which it reaches a terminal, a file or a header.

    clean           any text that is stored or sent as JSON             promises D.4
    visible         terminals, log lines, stderr, tables, tsv           promises D.1
    visible_lines   the same for a body, which keeps its lines
    cell, uncell    csv and spreadsheets, there and back; unescaped where hidden characters count
    safe_name       the name of a file that is written
    header_value    a header of mail that we write

HTML has a module of its own, `untrusted_html`: this one is cheap to import, for every command does so. Client and
server use both alike. Only `header_value` raises on hostile input, and the time everything takes is linear in the
length of its input.
"""

from __future__ import annotations

import re

from mimeportal.errors import UsageError

_UNCLEAN = re.compile("[\x00\ud800-\udfff]")

# What a terminal acts upon or does not show: controls, bidirectional controls, zero-width and other invisible
# characters, line separators, variation selectors, tag characters, noncharacters, lone surrogates.
_UNSEEN = (
    "\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
HIDDEN = re.compile(f"[\x00-\x1f{_UNSEEN}]")
_HIDDEN_IN_LINES = re.compile(f"[\x00-\x09\x0b-\x1f{_UNSEEN}]")
_SHORT_ESCAPES = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}


def clean(text: str) -> str:
    """The text as databases and JSON accept it: NUL and each lone surrogate become U+FFFD (promises D.4)."""
    if text.isascii() and "\x00" not in text:
        return text
    return _UNCLEAN.sub("\ufffd", text)


def visible(text: str) -> str:
    """The text on one line, with every character that acts or hides shown as an escape (promises D.1).

    For people to read, not to be read back: a backslash stays as it is.
    """
    if text.isascii() and text.isprintable():
        return text
    return HIDDEN.sub(_escape, text)


def visible_lines(text: str) -> str:
    """As `visible`, but newlines stay: for bodies. CRLF counts as a newline."""
    return _HIDDEN_IN_LINES.sub(_escape, text.replace("\r\n", "\n"))


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if code < 0x100:
        return _SHORT_ESCAPES.get(character) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# Looked for in what is already visible, so that a tab or CR is its escape. Apostrophes in front count too:
# without that `'=1` and `=1` would become the same cell. The last four are = + - @ in full width, which
# spreadsheets of East Asian languages take for the same.
_FORMULA = re.compile("'*+\\s*+(?:[=+\\-@\uff1d\uff0b\uff0d\uff20]|\\\\[tr])")


def cell(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula (promises D.1); newlines stay."""
    if text.isascii() and text.isprintable() and text[:1].isalnum():
        return text
    shown = _HIDDEN_IN_LINES.sub(_escape, text)
    return "'" + shown if _FORMULA.match(shown) else shown


def uncell(text: str) -> str:
    """Take off the apostrophe that `cell` puts in front, and no other."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text, 1) else text


def unescaped(text: str) -> str:
    """Hidden characters in place of the escapes that show them, for text in which no backslash can stand by itself."""
    return _ESCAPED.sub(_hidden, text)


_ESCAPED = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U000[0-9a-f]{5})")


def _hidden(match: re.Match[str]) -> str:
    character = chr(int(match.group()[2:], 16))
    return character if HIDDEN.match(character) else match.group()


# Compiled when the first name is made safe.
_NOT_IN_NAMES = f'[\x00-\x1f<>:"|?*{_UNSEEN}]'
_RESERVED_NAME = r"(?i:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|$)"
_NAME_OCTETS = 200
_EXTENSION_OCTETS = 40


def safe_name(name: str, *, fallback: str = "attachment") -> str:
    """A file name, without a folder, that every operating system takes and no shell or terminal misreads.

    At most 200 octets of UTF-8, the extension kept. `fallback` is used where nothing of the name is left.
    """
    from unicodedata import normalize

    # Folders that a name claims to be in are dropped, whichever system's separator it uses.
    parts = [part for part in re.split(r"[/\\]", name) if part.strip(" .")]
    text = normalize("NFC", re.sub(_NOT_IN_NAMES, "_", parts[-1] if parts else ""))
    # A run of blanks pushes the real extension out of sight.
    text = _trim(re.sub(r"\s+", " ", text))
    if not text.strip("_ ."):
        text = fallback
    if text.startswith("-") or re.match(_RESERVED_NAME, text):
        text = "_" + text
    return _shorten(text)


def _trim(name: str) -> str:
    return name.lstrip(". ").rstrip(". ")


def _shorten(name: str) -> str:
    if len(name.encode()) <= _NAME_OCTETS:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension.encode()) > _EXTENSION_OCTETS:
        stem, dot, extension = name, "", ""
    room = _NAME_OCTETS - len((dot + extension).encode())
    return _trim(_trim(stem.encode()[:room].decode("utf-8", "ignore")) + dot + extension)


# CR, LF and NUL (promises C.6), and the other characters at which Python's own `splitlines` ends a line.
_NOT_IN_HEADERS = frozenset("\x00\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")


def header_value(text: str, *, name: str = "header") -> str:
    """The text, stripped, as the value of a header that we write.

    Raises `UsageError` naming `name` when it holds a line end or NUL: it could start a header of its own.
    """
    if not _NOT_IN_HEADERS.isdisjoint(text):
        raise UsageError(f"The {name} holds a line end or NUL: {text[:60]!r}.", remedy=f"Write the {name} on one line.")
    return clean(text).strip()
