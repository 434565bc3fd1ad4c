"""Label trees from WordNet's noun files ``index.noun`` and ``data.noun``, in the format of wndb(5).

The files come with every distribution of WordNet 3 and are read from a folder of the user's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

Missing = Literal["error", "root"]

_MAX_DEPTH = 100
"""Longest chain of hypernyms; the longest of WordNet 3.0 has 19."""


@dataclass
class _Synset:
    words: tuple[str, ...]
    hypernym: int | None
    children: dict[int, _Synset] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)


def wordnet_tree(
    classes: Sequence[str], wordnet: str | os.PathLike[str], *, missing: Missing = "error"
) -> dict[str, Any]:
    """Build the tree of WordNet hypernyms over class names, for :class:`LabelTree`.

    A name is looked up verbatim, ignoring case, in its first sense; of several hypernyms the first is used. Nodes with
    a single child are left out.

    Args:
        classes: The class names.
        wordnet: A folder with WordNet's ``index.noun`` and ``data.noun``.
        missing: Handling of names that are not nouns of WordNet: ``"error"``, or ``"root"`` to put them below the root.

    Returns:
        Nested mappings, in which a class is ``{name: (name,)}``.

    Raises:
        FileNotFoundError: If one of the files is not in the folder.
        ValueError: If a file is not in WordNet's format, or, with ``missing="error"``, a name is not found.
    """
    if missing not in ("error", "root"):
        raise ValueError(f"missing must be error or root, got {missing!r}")
    folder = Path(wordnet)
    for name in ("index.noun", "data.noun"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"no {name} in {folder}; wordnet must be a folder with WordNet's noun files")
    senses = _first_senses(folder / "index.noun", {_lemma(name) for name in classes})
    unknown = [name for name in classes if _lemma(name) not in senses]
    if unknown and missing == "error":
        raise ValueError(
            f"WordNet in {folder} has no noun {', '.join(map(repr, unknown))}; rename these classes, or put them under "
            "the root with missing='root'"
        )
    root = _Synset((), None, classes=unknown)
    synsets: dict[int, _Synset] = {}
    with (folder / "data.noun").open("rb") as data:
        for name in classes:
            if name not in unknown:
                _attach(root, synsets, data, senses[_lemma(name)]).classes.append(name)
    return _mapping(root)


def _lemma(name: str) -> str:
    return "_".join(name.lower().split())


def _first_senses(index: Path, lemmas: set[str]) -> dict[str, int]:
    """Byte offset in ``data.noun`` of the first sense of each lemma."""
    senses = {}
    with index.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            # The license at the top is indented.
            lemma = line.split(" ", 1)[0]
            if lemma in lemmas and lemma:
                # lemma pos synset_cnt p_cnt [symbol ...] sense_cnt tagsense_cnt offset [offset ...]
                fields = line.split()
                try:
                    senses[lemma] = _checked(int(fields[6 + _checked(int(fields[3]))]))
                except (IndexError, ValueError):
                    raise ValueError(f"{index} is not in WordNet's format: {line.strip()[:200]!r}") from None
    return senses


def _attach(root: _Synset, synsets: dict[int, _Synset], data: BinaryIO, offset: int) -> _Synset:
    """Add the synset at an offset, and all of its ancestors, to the tree."""
    chain: dict[int, _Synset] = {}
    parent: int | None = offset
    while parent is not None and parent not in synsets:
        if parent in chain or len(chain) >= _MAX_DEPTH:
            raise ValueError(f"{data.name} is not WordNet's: the hypernyms of the synset at byte {offset} do not end")
        chain[parent] = _read_synset(data, parent)
        parent = chain[parent].hypernym
    above = root if parent is None else synsets[parent]
    for place, synset in reversed(chain.items()):
        above.children[place] = synsets[place] = synset
        above = synset
    return synsets[offset]


def _read_synset(data: BinaryIO, offset: int) -> _Synset:
    data.seek(offset)
    line = data.readline().decode("ascii", errors="replace")
    # offset lex_filenum ss_type w_cnt(hex) [word lex_id ...] p_cnt [symbol offset pos source/target ...] | gloss
    fields = line.split("|", 1)[0].split()
    try:
        if int(fields[0]) != offset:
            raise ValueError
        num_words = int(fields[3], 16)
        if num_words < 1:
            raise ValueError
        words = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * num_words : 2])
        first = 5 + 2 * num_words
        end = first + 4 * _checked(int(fields[first - 1]))
        if len(words) != num_words or end > len(fields):
            raise ValueError
        pointers = [fields[i : i + 3] for i in range(first, end, 4)]
        # @ is "is a kind of", @i "is an instance of".
        parents = [_checked(int(where)) for symbol, where, kind in pointers if symbol in ("@", "@i") and kind == "n"]
    except (IndexError, ValueError):
        raise ValueError(f"{data.name} is not in WordNet's format at byte {offset}: {line.strip()[:200]!r}") from None
    return _Synset(words, parents[0] if parents else None)


def _checked(number: int) -> int:
    """Return a count or an offset; a negative one, or one that no file reaches, is an error."""
    if not 0 <= number < 2**40:
        raise ValueError
    return number


def _mapping(synset: _Synset) -> dict[str, Any]:
    below: dict[str, Any] = {name: (name,) for name in synset.classes}
    for offset, child in synset.children.items():
        # Keep only the lowest node of a chain: its name is the most specific.
        while len(child.children) == 1 and not child.classes:
            ((offset, child),) = child.children.items()
        further = _mapping(child)
        if len(further) == 1:
            below.update(further)
        else:
            below[_free(below, child.words, offset)] = further
    return below


def _free(taken: Mapping[str, Any], words: Sequence[str], offset: int) -> str:
    """The first word of a synset that no sibling uses."""
    return next((word for word in words if word not in taken), f"{words[0]} ({offset:08d})")
