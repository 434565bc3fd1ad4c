"""Images with captions from shards, by position."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from vl_core.data import ImageError, read_image
from vl_core.progress import progress_bar

from vl_vlm.captions.contents import Contents
from vl_vlm.captions.shards.index import Sample, index_shard


class ShardImages:
    """Reads images at their places in tar files.

    A file is opened for each image and closed again, which costs little beside decoding it. So nothing is shared
    between the processes of a data loader, however they are started.

    Args:
        paths: The shards.
        sizes: Bytes of each shard, by which a shard that was replaced is known.
        shards: Number of the shard of each sample.
        samples: The samples.
    """

    def __init__(
        self, paths: Sequence[Path], sizes: Sequence[int], shards: Sequence[int], samples: Sequence[Sample]
    ) -> None:
        self._paths = list(paths)
        self._sizes = list(sizes)
        self._keys = [sample.key for sample in samples]
        self._places: NDArray[np.int64] = np.array(
            [(shard, sample.offset, sample.size) for shard, sample in zip(shards, samples, strict=True)], np.int64
        ).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Image.Image:
        shard, offset, size = self._places[index].tolist()
        path = self._paths[shard]
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != self._sizes[shard]:
                raise ImageError(f"{path} has changed since it was opened; open the data set again")
            file.seek(offset)
            content = file.read(size)
        return read_image(content, name=f"sample {self._keys[index]!r} of {path}")


def open_shards(
    paths: Sequence[Path],
    labels: Sequence[str],
    *,
    name: str,
    limit: int | None = None,
    progress: bool = False,
) -> Contents:
    """Samples of tar files, in the order of the shards and within them.

    Args:
        paths: At least one.
        labels: A name for each shard, which stands before the keys of its samples.
        name: Of the data set.
        limit: No further shard is indexed once there are so many samples.
        progress: Show the shards that were indexed.

    Raises:
        ValueError: If a shard is compressed, or no shard has a sample.
    """
    result = Contents(name, ShardImages([], [], [], []), [], [])
    samples: list[Sample] = []
    shards: list[int] = []
    sizes: list[int] = []
    bar = progress_bar(total=len(paths), desc="index", unit="shards", disable=not progress or len(paths) == 1)
    with bar:
        for number, (path, label) in enumerate(zip(paths, labels, strict=True)):
            index = index_shard(path)
            sizes.append(index.size)
            samples += index.samples
            shards += [number] * len(index.samples)
            result.names += [f"{label}/{sample.key}" for sample in index.samples]
            result.skipped += [(f"{label}/{key}" if key else label, reason) for key, reason in index.skipped]
            bar.update(1)
            if limit is not None and len(samples) >= limit:
                break
    if not samples and not result.skipped:
        raise ValueError(
            f"{name} holds no samples; an image and a .txt or .json of one key make one, such as 000.jpg and 000.txt"
        )
    result.images = ShardImages(paths, sizes, shards, samples)
    result.captions = [sample.captions for sample in samples]
    return result
