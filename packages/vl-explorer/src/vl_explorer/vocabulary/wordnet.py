"""WordNet's nouns, from its database files or from one table of them.

The format of `data.noun` and `index.noun` is that of the manual page wndb(5WN) of Princeton WordNet 3.0. The table has
a row a synset: wnid, lemmas, hypernyms, instance_of, lexname, gloss; lists are joined with ``|``, and a wnid is ``n``
and the offset in `data.noun`, as in ImageNet. WordNet 3.0 has 82,115 noun synsets with 146,347 lemmas, of which 117,798
differ when case is ignored.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TABLE = "wordnet30_nouns.tsv.gz"


@dataclass(frozen=True, slots=True)
class Synset:
    """Nouns with one meaning."""

    wnid: str
    """``n`` and eight digits."""
    lemmas: tuple[str, ...]
    """Names, the most usual first, with spaces."""
    hypernym: str
    """The wnid of what it is a kind or an instance of, the first if there are several; empty for the root."""
    definition: str
    """Gloss without examples."""
    usages: tuple[tuple[str, ...], ...] = ()
    """Usage domains of each lemma, such as ``ethnic slur``; empty where the file has none."""


def read_synsets(source: str | os.PathLike[str] | None = None) -> list[Synset]:
    """All noun synsets, in the order of the file.

    Args:
        source: A folder with `data.noun`, a folder with the table, or the table (``.tsv`` or ``.tsv.gz``); by default
            what `find_wordnet` finds.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file is not what its name says, with the line.
    """
    path = find_wordnet() if source is None else Path(source)
    if path.is_dir():
        found = [path / name for name in ("data.noun", TABLE) if (path / name).is_file()]
        if not found:
            raise FileNotFoundError(f"{path} must hold data.noun or {TABLE}; give the folder of the database files")
        path = found[0]
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file or folder; give that of WordNet's database files or of the table")
    if path.name == "data.noun":
        return list(_database(path))
    return list(_table(path))


def read_sense_order(source: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """The wnid of the most usual sense of each lemma, by the lemma in lower case with spaces.

    Args:
        source: As for `read_synsets`; a table has no such order, and gives an empty one.

    Raises:
        ValueError: If `index.noun` is malformed, with the line.
    """
    path = find_wordnet() if source is None else Path(source)
    index = (path if path.is_dir() else path.parent) / "index.noun"
    if path.suffix in (".gz", ".tsv") or not index.is_file():
        return {}
    order: dict[str, str] = {}
    with index.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.startswith("  "):
                continue
            fields = line.split()
            try:
                senses = int(fields[2])
                order[fields[0].replace("_", " ")] = f"n{fields[-senses]}"
            except (IndexError, ValueError) as error:
                raise ValueError(f"{index}, line {number} is no entry of an index: {line[:80]!r}") from error
    return order


def find_wordnet() -> Path:
    """Folder of WordNet: below ``$VL_DATA``, Debian's package wordnet-base, or NLTK's corpus.

    Raises:
        FileNotFoundError: If it is in none of the places, with what to do.
    """
    places = [Path("/usr/share/wordnet")]
    if root := os.environ.get("VL_DATA"):
        places = [Path(root) / "wordnet_nouns", Path(root) / "wordnet", *places]
    roots = [*os.environ.get("NLTK_DATA", "").split(os.pathsep), "~/nltk_data", "/usr/share/nltk_data"]
    places += [Path(root).expanduser() / "corpora" / "wordnet" for root in roots if root]
    for place in places:
        if any((place / name).is_file() for name in ("data.noun", TABLE)):
            return place
    raise FileNotFoundError(
        f"WordNet 3.0 is in none of {', '.join(map(str, places))}; `apt install wordnet-base`, or "
        "`nltk.download('wordnet')`, or set VL_DATA to a folder that holds wordnet/data.noun"
    )


def _table(path: Path) -> Iterator[Synset]:
    with _opened(path) as file:
        columns = file.readline().rstrip("\n").split("\t")
        if columns != ["wnid", "lemmas", "hypernyms", "instance_of", "lexname", "gloss"]:
            raise ValueError(f"{path} must begin with the columns wnid, lemmas, hypernyms, …, got {columns[:6]}")
        for number, line in enumerate(file, 2):
            cells = line.rstrip("\n").split("\t")
            if len(cells) != len(columns):
                raise ValueError(f"{path}, line {number} has {len(cells)} cells, expected {len(columns)}")
            wnid, lemmas, hypernyms, instance_of, _, gloss = cells
            above = (hypernyms or instance_of).partition("|")[0]
            yield Synset(wnid, tuple(lemmas.split("|")), above, _definition(gloss))


def _database(path: Path) -> Iterator[Synset]:
    usage_names: dict[str, str] = {}
    found: list[tuple[Synset, list[tuple[str, int]]]] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.startswith("  "):  # the license
                continue
            try:
                synset, usages = _entry(line)
            except (IndexError, ValueError) as error:
                raise ValueError(f"{path}, line {number} is no noun synset: {line[:80]!r}") from error
            usage_names[synset.wnid] = synset.lemmas[0]
            found.append((synset, usages))
    for synset, usages in found:
        if usages:
            # Word number 0 means all lemmas.
            marks = tuple(
                tuple(usage_names.get(wnid, "") for wnid, word in usages if word in (0, place))
                for place in range(1, len(synset.lemmas) + 1)
            )
            synset = Synset(synset.wnid, synset.lemmas, synset.hypernym, synset.definition, marks)
        yield synset


def _entry(line: str) -> tuple[Synset, list[tuple[str, int]]]:
    """A synset, and its usage domains with the number of the lemma that they concern."""
    data, _, gloss = line.partition("|")
    fields = data.split()
    count = int(fields[3], 16)
    lemmas = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2])
    start = 5 + 2 * count
    pointers = [fields[place : place + 4] for place in range(start, start + 4 * int(fields[start - 1]), 4)]
    above = [offset for symbol, offset, kind, _ in pointers if symbol in ("@", "@i") and kind == "n"]
    usages = [(f"n{offset}", int(words[:2], 16)) for symbol, offset, kind, words in pointers if symbol == ";u"]
    if len(lemmas) != count or fields[2] != "n" or not fields[0].isdigit():
        raise ValueError
    hypernym = f"n{above[0]}" if above else ""
    return Synset(f"n{fields[0]}", lemmas, hypernym, _definition(gloss)), usages


def _definition(gloss: str) -> str:
    """Gloss up to its first example."""
    return gloss.strip().split('; "')[0].strip()


def _opened(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
