"""Words of captions and queries, so that "Cats" finds "a cat"."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text in order, in lower case and without the s of English plurals.

    Compatible forms of letters are made equal (NFKC), and all that is neither letter nor digit separates words.

    Example:
        >>> words("Two Berries, glasses & the boss's CATS")
        ['two', 'berry', 'glasse', 'the', 'boss', 's', 'cat']
    """
    return [_singular(word) for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold())]


def _singular(word: str) -> str:
    """Harman's three rules ("How effective is suffixing?", 1991), which leave short words and -us and -ss alone."""
    if len(word) < 4 or not word.endswith("s"):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith(("us", "ss", "aes", "ees", "oes")):
        return word
    return word[:-1]
