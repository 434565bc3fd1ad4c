"""Word vectors that ship with the package, so that texts are embedded without a download.

GloVe (Pennington, Socher and Manning, 2014) of 24,859 words: the 3,000 most frequent, and nouns of WordNet. Mean and
the first two principal components of all vectors are taken out (Mu and Viswanath, 2018, "All-but-the-top"), because
they are in every word and would make all texts alike; then a row is stored as 8-bit integers with a scale.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from vl_explorer.embeddings.embedder import checked_texts, unit_rows

SHIPPED = Path(__file__).with_name("glove_nouns.safetensors")

_TOKEN = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*")
# Words of grammar, which are in every definition and say nothing of it; single letters are left out too.
_GRAMMAR = """
    an and any are as at be been being by can etc for from had has have having in into is it its may more most not of on
    one or other several some such than that the their these they this those to used was were which while who whom whose
    with
"""
_STOP_WORDS = frozenset(_GRAMMAR.split())
_PLURALS = (("ies", "y"), ("es", ""), ("s", ""))


class GloveNouns:
    """Text embedder by the mean of word vectors, 50 numbers; a `TextEmbedder`.

    Words are found in lower case; words of grammar and single letters are left out, unknown plurals are looked up in
    the singular, and unknown words with a hyphen by their parts. A text without a known word is embedded as zeros. The
    order of words is ignored. `SentenceTransformerEmbedder` embeds better and needs a model.

    Args:
        path: File to read in place of that which ships.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds other tensors.

    Example:
        >>> embedder = GloveNouns()
        >>> cat, dog, treaty = embedder(["a cat", "dogs", "treaty"])
        >>> cat.shape, bool(cat @ dog > 0.5 > cat @ treaty), bool(embedder(["xyzzy"]).any())
        ((50,), True, False)
    """

    name = "glove-nouns-50"

    def __init__(self, path: Path = SHIPPED):
        tensors = load_file(path)
        if set(tensors) != {"vectors", "scales", "words"}:
            raise ValueError(f"{path} must hold vectors, scales and words, got {sorted(tensors)}")
        words = zlib.decompress(tensors["words"].tobytes()).decode().split("\n")
        if not len(words) == len(tensors["vectors"]) == len(tensors["scales"]):
            raise ValueError(f"{path} must hold a vector and a scale for each of {len(words)} words")
        self._places = {word: place for place, word in enumerate(words)}
        self._vectors = tensors["vectors"] * tensors["scales"].astype(np.float32)[:, None]

    @property
    def words(self) -> tuple[str, ...]:
        """The known words, in the order of the alphabet."""
        return tuple(self._places)

    def known(self, text: str) -> list[str]:
        """The known words of a text, as they are looked up.

        Example:
            >>> GloveNouns().known("The owl-like birds of xyzzy")
            ['owl', 'like', 'bird']
        """
        parts: list[str] = []
        for token in _TOKEN.findall(text.lower()):
            parts += [token] if self._singular(token) else token.split("-")
        found = [self._singular(part) for part in parts if len(part) > 1 and part not in _STOP_WORDS]
        return [word for word in found if word]

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings ``(N, 50)`` of N texts, of unit length, or zeros where no word is known.

        Raises:
            TypeError: If the texts are one text, or not all are texts.
        """
        rows = np.zeros((len(texts), self._vectors.shape[1]), np.float32)
        for row, text in zip(rows, checked_texts(texts), strict=True):
            if places := [self._places[word] for word in self.known(text)]:
                row[:] = self._vectors[places].mean(axis=0)
        return unit_rows(rows)

    def _singular(self, word: str) -> str:
        """The word if it is known, else its singular if that is, else nothing."""
        if word in self._places:
            return word
        for ending, singular in _PLURALS:
            if word.endswith(ending) and (found := word[: -len(ending)] + singular) in self._places:
                return found
        return ""
