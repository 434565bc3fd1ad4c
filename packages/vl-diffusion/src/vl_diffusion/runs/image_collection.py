"""Images from files, folders and data sets as one sequence, decoded on access."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from vl_core.data import BUILTIN_NAMES, ImageDataset, balanced_order, open_dataset, read_image

_DATA_SET_FILES = (".npz", ".parquet")


@dataclass(frozen=True)
class ImageEntry:
    """The source of one image, and its class name if known."""

    name: str
    truth: str | None
    source: ImageDataset | Path
    index: int = 0

    def load(self) -> Any:
        """Decode the image: a PIL image, or the image of the data set's item."""
        return read_image(self.source) if isinstance(self.source, Path) else self.source[self.index][0]


class ImageCollection(Sequence[Any]):
    """A sequence of images, decoded on access."""

    def __init__(self, entries: Sequence[ImageEntry]) -> None:
        self.entries = tuple(entries)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the data sets that the images come from, without duplicates, in order."""
        sources = dict.fromkeys(p.source for p in self.entries if isinstance(p.source, ImageDataset))
        return tuple(dict.fromkeys(name for source in sources for name in source.classes))

    def judged_by(self, classes: Collection[str]) -> tuple[ImageCollection, tuple[str, ...]]:
        """Remove labels that are not in `classes`; returns the images and the names of the removed labels."""
        strangers = tuple(dict.fromkeys(p.truth for p in self.entries if p.truth and p.truth not in classes))
        return ImageCollection([replace(p, truth=None) if p.truth in strangers else p for p in self.entries]), strangers

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> ImageCollection: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return ImageCollection(self.entries[index])
        return self.entries[index].load()


def gather(
    specs: Sequence[str],
    *,
    split: str | None = None,
    default_split: str | None = None,
    at_most: int | None = None,
    exclude: Path | None = None,
    listed: Collection[str] = (),
) -> ImageCollection:
    """Find the images behind file names, folders, and data set specifications.

    Args:
        specs: Image files, or anything that :func:`vl_core.data.open_dataset` opens.
        split: Split of the data sets; default: `default_split`.
        default_split: Split of data sets that have splits; default: all splits.
        at_most: Maximum number of images, sampled in proportion to their classes; a larger number includes the same
            images.
        exclude: A folder to skip inside image folders, because results are written to it.
        listed: Those of `specs` that come from a list of files. If one does not exist, it is an image that cannot be
            read, not an error.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If a file or data set is not supported, or there is no image.
    """
    found: list[ImageEntry] = []
    for spec in specs:
        path = Path(spec)
        is_missing = spec in listed and not path.exists() and spec not in BUILTIN_NAMES and not spec.startswith("hf:")
        if is_missing or (path.is_file() and path.suffix.lower() not in _DATA_SET_FILES):
            found.append(ImageEntry(spec, None, path))
        elif path.exists() or spec in BUILTIN_NAMES or spec.startswith("hf:"):
            found.extend(_of_data_set(open_dataset(spec, split=split, default_split=default_split, exclude=exclude)))
        else:
            raise FileNotFoundError(
                f"no such file or folder: {spec} (nor a data set; built in are {', '.join(BUILTIN_NAMES)})"
            )
    if not found:
        raise ValueError(f"no images in {', '.join(specs)}")
    if at_most is not None and at_most < len(found):
        found = [found[i] for i in sorted(balanced_order([entry.truth for entry in found])[:at_most])]
    return ImageCollection(found)


def describe(specs: Sequence[str]) -> str:
    """A short description of files, folders and data sets that does not depend on the working directory."""
    places = sorted({s if s in BUILTIN_NAMES or s.startswith("hf:") else str(Path(s).resolve()) for s in specs})
    if len(places) <= 3:
        return ", ".join(places)
    digest = hashlib.sha256("\0".join(places).encode(errors="surrogateescape")).hexdigest()
    return f"{', '.join(places[:3])} and {len(places) - 3} more (sha256 {digest[:16]})"


def _of_data_set(data: ImageDataset) -> list[ImageEntry]:
    truths = [data.classes[label] if label >= 0 and data.classes else None for label in data.labels]
    return [ImageEntry(name, truth, data, i) for i, (name, truth) in enumerate(zip(data.names, truths, strict=True))]
