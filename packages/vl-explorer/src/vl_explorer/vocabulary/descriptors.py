"""Descriptors: words before a query, which make an engine return other images of the same concept.

Internet Explorer (Li, Brown, Efros and Pathak, 2023, appendix C) asks a language model for adjectives that suit the
concept, at temperature 0.9, cuts the answer at the first comma, period, underscore or line end, and asks again if it
repeats the concept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vl_explorer.vocabulary.concepts import Concept

DESCRIPTORS = (
    *("black", "blue", "bright", "broken", "brown", "clean", "close-up", "colorful", "dark", "dirty", "empty"),
    *("fresh", "golden", "gray", "green", "huge", "indoor", "large", "miniature", "modern", "natural", "new"),
    *("old", "orange", "outdoor", "plain", "red", "rough", "round", "rustic", "shiny", "simple", "small", "smooth"),
    *("soft", "striped", "tall", "tiny", "traditional", "vintage", "wet", "white", "wild", "wooden", "yellow"),
)
"""Words that go with most things and show in an image."""

PROMPT = """\
Name one quality that an image of the thing may show.
bridge: rusty
owl: fluffy
soup: steaming
mountain: snowy
{name}:"""


class FixedDescriptors:
    """Descriptor from a list, for each concept a word of its own.

    Args:
        words: To choose from.
        seed: Another seed gives a concept another word, for example that of an iteration.

    Raises:
        ValueError: If there are no words.

    Example:
        >>> from vl_explorer.vocabulary.concepts import Concept
        >>> FixedDescriptors(["old"])(Concept("barn", "barn"))
        'old'
    """

    def __init__(self, words: Sequence[str] = DESCRIPTORS, *, seed: int = 0):
        if not words or isinstance(words, str):
            raise ValueError(f"words must be a list of at least one word, got {words!r}")
        self.words = tuple(words)
        self.seed = seed

    def __call__(self, concept: Concept) -> str:
        """The word for a concept, a function of its key and the seed alone."""
        digest = hashlib.sha256(f"{self.seed}:{concept.key}".encode()).digest()
        return self.words[int.from_bytes(digest[:8], "big") % len(self.words)]


class ModelDescriptors:
    """Descriptor by a language model, asked once for each name.

    Args:
        answer: Continues a prompt, by any means.
        prompt: Has the field name.
        tries: How often it is asked until it gives something else than the concept; then the descriptor is empty.

    Raises:
        ValueError: If the prompt has no name, or `tries` is below 1.

    Example:
        >>> from vl_explorer.vocabulary.concepts import Concept
        >>> ModelDescriptors(lambda prompt: " weathered, old")(Concept("barn", "barn"))
        'weathered'
    """

    def __init__(self, answer: Callable[[str], str], *, prompt: str = PROMPT, tries: int = 5):
        if "{name}" not in prompt:
            raise ValueError(f"prompt must have the field {{name}}, got {prompt!r}")
        if tries < 1:
            raise ValueError(f"tries must be at least 1, got {tries}")
        self.answer = answer
        self.prompt = prompt
        self.tries = tries
        self.answers: dict[str, str] = {}
        """Descriptor by name, of all that were asked; keep it to resume with the same."""

    def __call__(self, concept: Concept) -> str:
        """The word or phrase for a concept."""
        if concept.name not in self.answers:
            self.answers[concept.name] = self._ask(concept.name)
        return self.answers[concept.name]

    def _ask(self, name: str) -> str:
        for _ in range(self.tries):
            word = cleaned_answer(self.answer(self.prompt.replace("{name}", name)))
            if word and name.casefold() not in word.casefold():
                return word
        return ""


def cleaned_answer(answer: str) -> str:
    """Answer up to its first comma, period, underscore or line end, without quotes and surplus spaces."""
    first = re.split(r"[,._\n]", answer.strip(), maxsplit=1)[0]
    return " ".join(first.strip(" \t\"'“”‘’").split())
