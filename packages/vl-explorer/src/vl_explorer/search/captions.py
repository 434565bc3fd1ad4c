"""Local captions as a search engine: the default, and the world of everything that is done offline."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image
from vl_core.data import ImageDataset, open_dataset

from vl_explorer.search.engine import Limits, SearchPage, SearchResult, checked_query
from vl_explorer.search.http import fields
from vl_explorer.search.ranking.bm25 import BM25
from vl_explorer.search.ranking.similarity import Embed, Similarity

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_URL = re.compile(r"local:(?P<name>[^/]+)/(?P<number>0|[1-9][0-9]{0,17})")


class Ranking(Protocol):
    """Texts in the order in which they fit a query."""

    def search(self, query: str, count: int, /) -> npt.NDArray[np.int64]:
        """Numbers of the best ``count`` texts, best first."""


class CaptionEngine:
    """Search in captions on this machine: free, without network, and the same answer each time.

    By words (BM25) or, where an embedder is given, by meaning. Equally good captions come in the order of their
    numbers. Results have the address ``local:NAME/NUMBER``; `image` reads the image at one.

    Args:
        captions: A text for each image, by number; an empty one is never found.
        images: The data set whose images they describe, for `image`.
        name: Name of the engine and of its addresses; engines that fill one store want different ones.
        embed: Texts to rows of unit length, for search by meaning; None for search by words.

    Raises:
        ValueError: If the name has other characters than letters, digits, ``.``, ``_`` and ``-``, or there are more or
            fewer captions than images.

    Example:
        >>> import asyncio
        >>> engine = CaptionEngine(["a red ball", "a blue ball"], name="toys")
        >>> [result.url for result in asyncio.run(engine.search("blue", 5)).results]
        ['local:toys/1']
    """

    def __init__(
        self,
        captions: Sequence[str],
        *,
        images: ImageDataset | None = None,
        name: str = "captions",
        embed: Embed | None = None,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"name must consist of letters, digits, '.', '_' and '-', got {name!r}")
        if images is not None and len(images) != len(captions):
            raise ValueError(f"captions must be as many as images ({len(images)}), got {len(captions)}")
        self.name = name
        self._captions = tuple(captions)
        self._images = images
        self._ranking: Ranking = BM25(self._captions) if embed is None else Similarity(self._captions, embed)
        self.limits = local_limits(len(self._captions), "by words" if embed is None else "by meaning")

    @classmethod
    def open(
        cls,
        spec: str | os.PathLike[str] | ImageDataset,
        *,
        split: str | None = None,
        name: str | None = None,
        embed: Embed | None = None,
    ) -> CaptionEngine:
        """The captions of a data set; where it has none, the name of each image's class.

        Args:
            spec: A data set, or what `vl_core.data.open_dataset` opens.
            split: The split to open; None for all.
            name: By default the last part of the data set's name and eight digits that change with names or captions
                of its images, so that no address of a store ever means another image.
            embed: As above.

        Raises:
            FileNotFoundError: If there is no such data set.
            ValueError: If it has neither captions nor classes.
        """
        dataset = spec if isinstance(spec, ImageDataset) else open_dataset(spec, split=split)
        captions = captions_of(dataset)
        if name is None:
            last = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(dataset.name).stem).strip("-.") or "captions"
            name = f"{last}-{sha256(repr((dataset.names, captions)).encode()).hexdigest()[:8]}"
        return cls(captions, images=dataset, name=name, embed=embed)

    def __repr__(self) -> str:
        return f"CaptionEngine(name={self.name!r}, {len(self._captions)} captions)"

    def describe(self) -> str:
        """Limits and cost in one line."""
        return self.limits.describe(self.name)

    @property
    def images(self) -> ImageDataset | None:
        """The data set whose images the captions describe, None where there are captions alone."""
        return self._images

    async def search(self, query: str, count: int) -> SearchPage:
        """The ``count`` captions that fit a query best; see `SearchEngine`.

        Raises:
            ValueError: If the query is empty or the count below 1.
        """
        query = checked_query(query, count)
        numbers = self._ranking.search(query, count + 1)
        results = tuple(self._result(int(number)) for number in numbers[:count])
        return SearchPage(results, len(numbers) <= count, 0, 0.0)

    def image(self, url: str) -> Image.Image:
        """The image at an address of this engine, in mode RGB or L.

        Raises:
            ImageError: If it cannot be read; a ValueError.
            ValueError: If the address is none of this engine's, or there are no images.
        """
        match = _URL.fullmatch(url)
        if match is None or match["name"] != self.name or int(match["number"]) >= len(self._captions):
            raise ValueError(
                f"url must be local:{self.name}/NUMBER with a number below {len(self._captions)}, got {url!r}"
            )
        if self._images is None:
            raise ValueError(f"{self.name} has captions alone; give images to read one")
        image = self._images[int(match["number"])][0]
        if not isinstance(image, Image.Image):
            raise ValueError(f"images of {self.name} must be without transform, got {type(image).__name__}")
        return image

    async def close(self) -> None:
        """Nothing to give back."""

    def _result(self, number: int) -> SearchResult:
        dataset = self._images
        metadata = dataset.metadata[number] if dataset is not None and dataset.metadata is not None else {}
        return SearchResult(
            url=f"local:{self.name}/{number}",
            title=self._captions[number],
            author=fields.text(metadata.get("author")),
            license=fields.text(metadata.get("license")),
            identifier=str(number) if dataset is None else dataset.names[number],
        )


def captions_of(dataset: ImageDataset) -> list[str]:
    """Captions of a data set; where it has none, the class of each image, and nothing for images without a class.

    Raises:
        ValueError: If it has neither.
    """
    if dataset.captions is not None:
        return list(dataset.captions)
    if not dataset.classes:
        raise ValueError(
            f"{dataset.name} must have captions or classes to be searched, got neither; give a list of captions"
        )
    return [dataset.classes[label] if label >= 0 else "" for label in dataset.labels.tolist()]


def local_limits(size: int, notes: str) -> Limits:
    """Limits of an engine on this machine over ``size`` texts."""
    return Limits(max(size, 1), max(size, 1), float("inf"), notes=notes)
