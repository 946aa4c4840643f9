"""How a text condition matches: substring, glob or regular expression, none of which can hang.

Filters and hold rules take patterns from people and match them against text of strangers (promises B.2, D.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from mimeportal import limits
from mimeportal.errors import UsageError


def fold(text: str) -> str:
    """The form in which two texts that differ only in case are equal."""
    return text.casefold()


def contains(needle: str, haystack: str) -> bool:
    """Whether `haystack` has `needle` in it, whatever the case."""
    return fold(needle) in fold(haystack)


@dataclass(frozen=True, slots=True)
class TextPattern:
    """One condition on one text. Two patterns are equal when they were written alike.

    kind    `substring`, `glob` or `regex`
    text    as the person wrote it
    """

    kind: Literal["substring", "glob", "regex"]
    text: str
    _test: Callable[[str], bool] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> TextPattern:
        """With `*` in it a glob over the whole text, otherwise a substring; caseless, only `*` is special.

        Raises `UsageError` when it is empty or too long: an empty condition would choose everything.
        """
        _check_size(text)
        if "*" in text:
            return cls("glob", text, _glob(text))
        wanted = fold(text)
        return cls("substring", text, lambda value: wanted in fold(value))

    @classmethod
    def regex(cls, text: str) -> TextPattern:
        """A regular expression in google-re2's syntax, found anywhere in the text, caseless.

        Raises `UsageError` naming the pattern when it is empty, wrong or too large.
        """
        _check_size(text)
        return cls("regex", text, _regex(text))

    def matches(self, value: str) -> bool:
        """Whether the text fulfils the condition, in time linear in its length."""
        return self._test(value)


def _check_size(text: str) -> None:
    if not text:
        raise UsageError("A text condition is empty.", remedy="Give a word, a glob or a regular expression.")
    if len(text) > limits.PATTERN:
        raise UsageError(f"The pattern {text[:40]!r}... is longer than {limits.PATTERN} characters.")


def _glob(text: str) -> Callable[[str], bool]:
    """Each piece between the stars is looked for once, after the one before: taking the first place where it
    occurs is never worse than a later one, so nothing is ever tried again."""
    first, *middle, last = fold(text).split("*")
    pieces = [piece for piece in middle if piece]

    def test(value: str) -> bool:
        folded = fold(value)
        if not folded.startswith(first):
            return False
        position, end = len(first), len(folded) - len(last)
        for piece in pieces:
            found = folded.find(piece, position, max(end, 0))
            if found < 0:
                return False
            position = found + len(piece)
        return position <= end and folded.endswith(last)

    return test


def _regex(text: str) -> Callable[[str], bool]:
    import re2

    from mimeportal.untrusted import clean

    options = re2.Options()
    options.case_sensitive = False
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = limits.PATTERN_MEMORY
    try:
        compiled = re2.compile(clean(text), options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        raise UsageError(
            f"Not a regular expression: {text!r}.",
            why=reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason),
            remedy="Write it in google-re2's syntax: no look-around, no back-references.",
        ) from None
    # Each character of the text may cost a step of each instruction.
    if compiled.programsize > limits.PATTERN_PROGRAM:
        raise UsageError(
            f"The regular expression {text!r} is too large.", remedy="Lower the numbers of its repetitions."
        )
    return lambda value: bool(compiled.search(clean(value)))
