"""`is_true`: a caption read by its grammar, and held against the geometry of a scene.

The reader knows the vocabulary and nothing of the templates: it takes any sentence of this grammar.

.. code-block:: text

    caption   = ["there is" | "there are" | "an image of"] (statement | list) ["."]
    statement = phrase ["is" | "are"] relation phrase
    list      = phrase ("and" phrase)*
    phrase    = ("a" | "an" | number) (size | pattern | color)* (shape | "object")

"a" means at least one; a number means exactly so many. The objects of a list are different ones. An object is left of,
right of, above or below another if the center lies in that quadrant, bounded by the diagonals, as seen from the other;
it is larger or smaller if its radius is, by a quarter at least.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

from vl_vlm.scenes.scene import Scene, SceneObject
from vl_vlm.scenes.vocabulary import AXES, COLORS, NUMBERS, PATTERNS, SHAPES, SIZES

_FACTOR = 1.25  # of radii, from which one object is larger than another
_OPENINGS = (["there", "is"], ["there", "are"], ["an", "image", "of"])
_RELATIONS = {tuple(name.split()): name for names in AXES for name in names}
_ADJECTIVES = {
    **dict.fromkeys(SIZES, "size"),
    **dict.fromkeys(PATTERNS, "pattern"),
    **dict.fromkeys(COLORS, "color"),
}


@dataclass(frozen=True)
class _Phrase:
    """Attributes that an object, or so many of them, must have."""

    number: int | None
    """Exact number; None for at least one."""
    wanted: tuple[tuple[str, str], ...]
    """Attributes and their values."""

    def fits(self, item: SceneObject) -> bool:
        return all(getattr(item, name) == value for name, value in self.wanted)

    def holds(self, objects: Sequence[SceneObject]) -> bool:
        found = sum(map(self.fits, objects))
        return found >= 1 if self.number is None else found == self.number


@dataclass(frozen=True)
class _Caption:
    phrases: tuple[_Phrase, ...]
    relation: str | None


def is_true(caption: str, scene: Scene) -> bool:
    """True if a caption holds of a scene.

    Args:
        caption: A sentence of the grammar in the module's text, such as those of `scene_captions`.
        scene: The scene; only its objects are looked at.

    Returns:
        True or False.

    Raises:
        TypeError: If the caption is no text.
        ValueError: If it is no sentence of the grammar; the message names the word that does not fit.

    Example:
        >>> from vl_vlm import Scene, SceneObject
        >>> circle = SceneObject("red", "circle", x=0.25, y=0.5, radius=0.2)
        >>> square = SceneObject("blue", "square", x=0.75, y=0.5, radius=0.1)
        >>> scene = Scene("attributes", (circle, square))
        >>> is_true("a circle left of a small square", scene), is_true("two circles", scene)
        (True, False)
    """
    if not isinstance(caption, str):
        raise TypeError(f"caption must be a text, got {type(caption).__name__}")
    read = _read(caption)
    if not all(phrase.holds(scene.objects) for phrase in read.phrases):
        return False
    if read.relation is not None:
        first, second = read.phrases
        return any(
            first.fits(one) and second.fits(other) and related(one, read.relation, other)
            for one, other in permutations(scene.objects, 2)
        )
    single = [phrase for phrase in read.phrases if phrase.number is None]
    return any(
        all(phrase.fits(item) for phrase, item in zip(single, items, strict=True))
        for items in permutations(scene.objects, len(single))
    )


def related(one: SceneObject, relation: str, other: SceneObject) -> bool:
    """True if the first object has a relation to the second."""
    if relation == "larger than":
        return one.radius >= _FACTOR * other.radius
    if relation == "smaller than":
        return other.radius >= _FACTOR * one.radius
    right, down = one.x - other.x, one.y - other.y
    if relation in ("left of", "right of"):
        return abs(right) > abs(down) and (right > 0) == (relation == "right of")
    return abs(down) > abs(right) and (down > 0) == (relation == "below")


@lru_cache(maxsize=65536)
def _read(caption: str) -> _Caption:
    words = caption.lower().removesuffix(".").split()
    for opening in _OPENINGS:
        if words[: len(opening)] == opening:
            words = words[len(opening) :]
            break
    reader = _Reader(caption, words)
    phrases = [reader.phrase()]
    if reader.done():
        return _Caption(tuple(phrases), None)
    if reader.take("and"):
        phrases.append(reader.phrase())
        while reader.take("and"):
            phrases.append(reader.phrase())
        reader.end()
        return _Caption(tuple(phrases), None)
    relation = reader.relation()
    phrases.append(reader.phrase())
    reader.end()
    return _Caption(tuple(phrases), relation)


class _Reader:
    """Reads words from left to right."""

    def __init__(self, caption: str, words: Sequence[str]) -> None:
        self._caption, self._words, self._place = caption, words, 0

    def done(self) -> bool:
        return self._place == len(self._words)

    def take(self, *expected: str) -> bool:
        """Take these words if they come next."""
        if tuple(self._words[self._place : self._place + len(expected)]) != expected:
            return False
        self._place += len(expected)
        return True

    def end(self) -> None:
        if not self.done():
            raise self._unexpected("the end")

    def relation(self) -> str:
        if not self.take("is"):
            self.take("are")
        for words, name in _RELATIONS.items():
            if self.take(*words):
                return name
        raise self._unexpected(f'"and" or a relation such as "{AXES[0][0]}"')

    def phrase(self) -> _Phrase:
        number: int | None = None
        if not (self.take("a") or self.take("an")):
            number = next((place + 1 for place, name in enumerate(NUMBERS) if self.take(name)), None)
            if number is None:
                raise self._unexpected(f'"a", "an" or a number up to "{NUMBERS[-1]}"')
        wanted = list(self._adjectives())
        nouns = {self._plural(name) if (number or 1) > 1 else name: name for name in (*SHAPES, "object")}
        for word, name in nouns.items():
            if self.take(word):
                return _Phrase(number, tuple(wanted if name == "object" else [*wanted, ("shape", name)]))
        raise self._unexpected(f"an attribute or {'shapes' if (number or 1) > 1 else 'a shape'}")

    def _adjectives(self) -> Iterator[tuple[str, str]]:
        while not self.done() and (word := self._words[self._place]) in _ADJECTIVES:
            self._place += 1
            yield _ADJECTIVES[word], word

    @staticmethod
    def _plural(name: str) -> str:
        return name + ("es" if name[-1] in "sxz" else "s")

    def _unexpected(self, expected: str) -> ValueError:
        came = f"the word {self._words[self._place]!r}" if not self.done() else "the end"
        return ValueError(f"caption must have {expected} at place {self._place + 1}, got {came} in {self._caption!r}")
