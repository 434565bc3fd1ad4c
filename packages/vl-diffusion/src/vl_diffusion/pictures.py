"""The pictures that a command was given: files, folders and data sets as one sequence, decoded when asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from vl_core.data import BUILTIN_NAMES, ImageDataset, UndividedError, open_dataset, read_image

_DATA_SET_FILES = (".npz", ".parquet")


@dataclass(frozen=True)
class Picture:
    """Where one picture is, and what it shows if that is known."""

    name: str
    truth: str | None
    source: ImageDataset | Path
    index: int = 0

    def load(self) -> Any:
        """Decode it: a PIL image, or the data set's own item."""
        return read_image(self.source) if isinstance(self.source, Path) else self.source[self.index][0]


class Pictures(Sequence[Any]):
    """A sequence of decoded pictures that holds only their places in memory."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.pictures = tuple(pictures)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the data sets that pictures come from, each once, in order."""
        sources = dict.fromkeys(p.source for p in self.pictures if isinstance(p.source, ImageDataset))
        return tuple(dict.fromkeys(name for source in sources for name in source.classes))

    def judged_by(self, classes: Collection[str]) -> tuple[Pictures, tuple[str, ...]]:
        """The same pictures with no truth where it is none of `classes`, and the names that are none."""
        strangers = tuple(dict.fromkeys(p.truth for p in self.pictures if p.truth and p.truth not in classes))
        return Pictures([replace(p, truth=None) if p.truth in strangers else p for p in self.pictures]), strangers

    def __len__(self) -> int:
        return len(self.pictures)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Pictures: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Pictures(self.pictures[index])
        return self.pictures[index].load()


def gather(
    specs: Sequence[str],
    *,
    split: str | None = None,
    default_split: str | None = None,
    at_most: int | None = None,
    exclude: Path | None = None,
) -> Pictures:
    """Find the pictures behind file names, folders, and data set specifications.

    Args:
        specs: Image files, or anything that :func:`vl_core.data.open_dataset` opens.
        split: Split of the data sets; default: `default_split`.
        default_split: Split of those data sets that are divided into splits; default: all of them.
        at_most: Take only this many, spread over all of them and in proportion over their classes; more of them
            include these.
        exclude: A folder that is passed over where it lies inside one of them, because results are written to it.

    Raises:
        FileNotFoundError: If one does not exist.
        ValueError: If one is nothing that is understood, or there is no picture at all.
    """
    found: list[Picture] = []
    for spec in specs:
        path = Path(spec)
        if path.is_file() and path.suffix.lower() not in _DATA_SET_FILES:
            found.append(Picture(spec, None, path))
        elif path.exists() or spec in BUILTIN_NAMES or spec.startswith("hf:"):
            found.extend(_of_data_set(_open(spec, split, default_split, exclude)))
        else:
            raise FileNotFoundError(
                f"no such file or folder: {spec} (nor a data set; built in are {', '.join(BUILTIN_NAMES)})"
            )
    if not found:
        raise ValueError(f"no pictures in {', '.join(specs)}")
    if at_most is not None and at_most < len(found):
        found = [found[i] for i in sorted(balanced_order(found)[:at_most])]
    return Pictures(found)


def balanced_order(pictures: Sequence[Picture]) -> list[int]:
    """Places of the pictures in an order of which every beginning holds all classes in proportion, otherwise by chance.

    Evenly spaced places would not do: data sets are often sorted so that every tenth picture is of the same class.
    """
    shuffled = np.random.default_rng(0).permutation(len(pictures)).tolist()
    members: dict[str | None, list[int]] = {}
    for place in shuffled:
        members.setdefault(pictures[place].truth, []).append(place)
    share = {place: (rank + 0.5) / len(own) for own in members.values() for rank, place in enumerate(own)}
    return sorted(shuffled, key=lambda place: share[place])


def describe(specs: Sequence[str]) -> str:
    """A short text that is the same for the same files, folders and data sets, from wherever they are named."""
    places = sorted({s if s in BUILTIN_NAMES or s.startswith("hf:") else str(Path(s).resolve()) for s in specs})
    if len(places) <= 3:
        return ", ".join(places)
    digest = hashlib.sha256("\0".join(places).encode(errors="surrogateescape")).hexdigest()
    return f"{', '.join(places[:3])} and {len(places) - 3} more (sha256 {digest[:16]})"


def _open(spec: str, split: str | None, default_split: str | None, exclude: Path | None) -> ImageDataset:
    if split is None and default_split is not None:
        try:
            return open_dataset(spec, split=default_split, exclude=exclude)
        except UndividedError:
            pass
    return open_dataset(spec, split=split, exclude=exclude)


def _of_data_set(data: ImageDataset) -> list[Picture]:
    truths = [data.classes[label] if label >= 0 and data.classes else None for label in data.labels]
    return [Picture(name, truth, data, i) for i, (name, truth) in enumerate(zip(data.names, truths, strict=True))]
