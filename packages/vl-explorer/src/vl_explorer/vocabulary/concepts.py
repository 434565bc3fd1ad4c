"""Concepts and vocabularies: what may be searched for, with the sense that is meant."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from vl_explorer.vocabulary.blocklist import is_vulgar
from vl_explorer.vocabulary.templates import SENSE_TEMPLATE, check_template, text_of
from vl_explorer.vocabulary.wordnet import read_sense_order, read_synsets


@dataclass(frozen=True, slots=True)
class Concept:
    """Something that may be searched for."""

    name: str
    """Name of the concept, in a query too."""
    key: str
    """Unique in a vocabulary, such as ``n02121808:house cat`` for a sense of WordNet; otherwise the name."""
    definition: str = ""
    """Definition in a phrase."""
    hypernym: str = ""
    """Name of what it is a kind of."""
    usages: tuple[str, ...] = ()
    """Usage domains, such as ``ethnic slur``, where the source knows them."""


Descriptor = Callable[[Concept], str]


class Vocabulary(Sequence[Concept]):
    """Concepts in a fixed order; their indices are those of embeddings and models.

    Args:
        concepts: With different keys.

    Raises:
        ValueError: If there are none, a name or key is empty, or two have the same key.

    Example:
        >>> words = Vocabulary.of(["tabby cat", "siamese cat"])
        >>> len(words), words[1].name, words.queries()
        (2, 'siamese cat', ['tabby cat', 'siamese cat'])
    """

    def __init__(self, concepts: Iterable[Concept]):
        self._concepts = tuple(concepts)
        if not self._concepts:
            raise ValueError("concepts must be at least one, got none; name what may be searched for")
        self._places = {concept.key: place for place, concept in enumerate(self._concepts)}
        if len(self._places) < len(self._concepts):
            key, count = Counter(concept.key for concept in self._concepts).most_common(1)[0]
            raise ValueError(f"concepts must have different keys, got {key!r} {count} times; remove or tell them apart")
        for place, concept in enumerate(self._concepts):
            if not concept.name.strip() or not concept.key:
                raise ValueError(f"concepts must have a name and a key, got {concept} at {place}")
        self._shared = Counter(concept.name.casefold() for concept in self._concepts)

    @classmethod
    def wordnet(
        cls,
        source: str | os.PathLike[str] | None = None,
        *,
        senses: bool = True,
        blocked: Callable[[Concept], bool] | None = is_vulgar,
    ) -> Vocabulary:
        """The nouns of WordNet; of 3.0, 146,347 lemmas of synsets or 117,798 different lemmas, less what is blocked.

        Args:
            source: Folder of the database files or of the table, or the table; see
                `vl_explorer.vocabulary.wordnet.read_synsets`.
            senses: A concept for each sense of a lemma, in the order of the file. Otherwise one for each lemma, case
                ignored, in its most usual sense if `index.noun` is there and in its first in the file if not.
            blocked: Tells which are left out; None for none.

        Raises:
            FileNotFoundError: If WordNet is not there, with what to do.
            ValueError: If a file is malformed.
        """
        synsets = read_synsets(source)
        names = {synset.wnid: synset.lemmas[0] for synset in synsets}
        found = [
            Concept(
                lemma,
                f"{synset.wnid}:{lemma}",
                synset.definition,
                names.get(synset.hypernym, ""),
                synset.usages[place] if synset.usages else (),
            )
            for synset in synsets
            for place, lemma in enumerate(synset.lemmas)
        ]
        if not senses:
            found = _first_senses(found, read_sense_order(source))
        return cls(found if blocked is None else [concept for concept in found if not blocked(concept)])

    @classmethod
    def of(cls, names: Iterable[str]) -> Vocabulary:
        """A vocabulary of names alone, such as the labels of a data set; underscores become spaces.

        Raises:
            ValueError: If a name is empty or comes twice, or there are none.
        """
        clean = [" ".join(name.replace("_", " ").split()) for name in names]
        return cls(Concept(name, name) for name in clean)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """A vocabulary from a UTF-8 file with a concept a line: name, definition, hypernym, divided by tabs.

        Definition and hypernym may be left out. Empty lines, and lines that begin with ``#``, are skipped.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it is another encoding, a line has more parts or the same name and hypernym as another, or no
                line is left; the message begins with the path.
        """
        concepts = []
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} must be UTF-8 text, byte {error.start} is not; save it as UTF-8") from None
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, *parts = (part.strip() for part in line.split("\t"))
            if len(parts) > 2 or not name:
                raise ValueError(f"{path}, line {number} must be a name, definition and hypernym, got {line[:80]!r}")
            definition, hypernym = [*parts, "", ""][:2]
            concepts.append(Concept(name, f"{name} ({hypernym})" if hypernym else name, definition, hypernym))
        try:
            return cls(concepts)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def without(self, blocked: Callable[[Concept], bool] | Iterable[str]) -> Vocabulary:
        """A vocabulary that lacks some concepts.

        Args:
            blocked: Tells which, such as `vl_explorer.vocabulary.blocklist.is_vulgar`; or their names, case ignored.

        Raises:
            ValueError: If none is left.
        """
        if not callable(blocked):
            names = {name.casefold() for name in blocked}
            return self.without(lambda concept: concept.name.casefold() in names)
        return Vocabulary(concept for concept in self._concepts if not blocked(concept))

    def index_of(self, key: str) -> int:
        """Index of the concept with a key.

        Raises:
            KeyError: If there is none.
        """
        return self._places[key]

    def texts(self, template: str = SENSE_TEMPLATE) -> list[str]:
        """Texts for an embedding; parts that are empty are left out.

        Raises:
            ValueError: If the template has other fields than name, hypernym and definition.
        """
        check_template(template)
        return [text_of(concept, template) for concept in self._concepts]

    def query(self, index: int, descriptor: Descriptor | None = None) -> str:
        """Query for the concept at an index.

        A name that several concepts share gets its hypernym added, so that a search knows the sense: *crane bird*
        and *crane lifting device*.

        Args:
            index: Of the concept.
            descriptor: Gives a word that is put before; nothing is put before if it is empty.
        """
        concept = self._concepts[index]
        query = concept.name
        if self._shared[concept.name.casefold()] > 1 and concept.hypernym.casefold() != concept.name.casefold():
            query = f"{query} {concept.hypernym}".strip()
        return f"{descriptor(concept)} {query}".strip() if descriptor is not None else query

    def queries(self, descriptor: Descriptor | None = None) -> list[str]:
        """Queries for all concepts; see `query`. A descriptor that asks a language model is asked for each."""
        return [self.query(index, descriptor) for index in range(len(self))]

    def __len__(self) -> int:
        return len(self._concepts)

    def __iter__(self) -> Iterator[Concept]:
        return iter(self._concepts)

    @overload
    def __getitem__(self, index: int) -> Concept: ...

    @overload
    def __getitem__(self, index: slice) -> Vocabulary: ...

    def __getitem__(self, index: int | slice) -> Concept | Vocabulary:
        return Vocabulary(self._concepts[index]) if isinstance(index, slice) else self._concepts[index]


def _first_senses(concepts: Sequence[Concept], order: dict[str, str]) -> list[Concept]:
    """One concept for each lemma, in the sense of the order where it has one; the key is the lemma."""
    chosen: dict[str, Concept] = {}
    for concept in concepts:
        lemma = concept.name.lower()
        if lemma not in chosen or order.get(lemma) == concept.key.partition(":")[0]:
            chosen[lemma] = concept
    return [
        Concept(concept.name, lemma, concept.definition, concept.hypernym, concept.usages)
        for lemma, concept in chosen.items()
    ]
