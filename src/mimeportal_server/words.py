"""How text is cut into the words that search finds: one function, for what is kept and for what is asked.

Engines only match what comes from here: words of letters and digits, their case and accents folded. Writing without
blanks (Chinese, Japanese, Korean) is cut into pairs of characters, each next to the one before.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_PAIRED = re.compile(
    "([\u1100-\u11ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003fffd]+)"
)
_REMEMBERED = 20_000


class _Folding(dict[int, str]):
    """What becomes of each character of decomposed text: itself, a blank, or nothing for an accent."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kind = unicodedata.category(character)
        if unicodedata.combining(character) >= 200:  # above, below or through a letter; not part of a script
            folded = ""
        else:
            folded = character if kind[0] in "LNM" else " "
        if len(self) < _REMEMBERED:
            self[code] = folded
        return folded


_folding = _Folding()


def words(text: str) -> list[str]:
    """The words of a text, in their order; a run of characters that are paired is one word here."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    folded = unicodedata.normalize("NFC", decomposed.translate(_folding))
    return [piece for word in folded.split() for piece in ((word,) if word.isascii() else _PAIRED.split(word)) if piece]


def is_paired(word: str) -> bool:
    """Whether a word is cut into pairs."""
    return not word.isascii() and _PAIRED.match(word) is not None


def kept(text: str) -> str:
    """A text as it is kept for search: its words, and pairs, with a blank between.

    The last character of a run stands by itself too, so that each of them begins something.
    """
    if text.isascii():
        return " ".join(words(text))
    return " ".join(token for word in words(text) for token in (_pairs(word) if is_paired(word) else (word,)))


def _pairs(run: str) -> Iterator[str]:
    yield from (run[at : at + 2] for at in range(len(run)))


def asked(term: str) -> tuple[list[str], bool]:
    """What a term of a query is matched by: tokens that follow each other, and whether the last may go on.

    One character of a run by itself begins a pair, or ends the run.
    """
    tokens: list[str] = []
    open_end = False
    last = ""
    for word in words(term):
        if is_paired(last):
            tokens.append(last[-1])  # a run that another word follows has its end here, as in what is kept
        open_end = is_paired(word) and len(word) == 1
        tokens += list(_pairs(word))[: max(1, len(word) - 1)] if is_paired(word) else [word]
        last = word if len(word) > 1 else ""
    return tokens, open_end
