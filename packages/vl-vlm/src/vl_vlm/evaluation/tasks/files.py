"""Tasks of pairs from local files, in the form in which Winoground and SugarCrepe are published."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from vl_vlm.evaluation.tasks.pairs import SugarCrepeTask, WinogroundTask

_ENDINGS = ("", ".png", ".jpg", ".jpeg", ".webp")


class ImageFiles(Sequence[Any]):
    """Images, or tuples of them, read from their files each time they are asked for.

    Args:
        paths: A path for each item, or a tuple of paths.
    """

    def __init__(self, paths: Sequence[Any]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        """Count the items."""
        return len(self.paths)

    @overload
    def __getitem__(self, item: int) -> Any: ...
    @overload
    def __getitem__(self, item: slice) -> ImageFiles: ...
    def __getitem__(self, item: int | slice) -> Any:
        """Read an item's image or images, as PIL images.

        Raises:
            vl_core.data.ImageError: If a file is damaged.
        """
        from vl_core.data import read_image

        if isinstance(item, slice):
            return ImageFiles(self.paths[item])
        paths = self.paths[item]
        return tuple(map(read_image, paths)) if isinstance(paths, tuple) else read_image(paths)


def read_sugarcrepe(annotations: str | os.PathLike[str], images: str | os.PathLike[str]) -> SugarCrepeTask:
    """Read a task in SugarCrepe's form: ``filename``, ``caption`` and ``negative_caption`` of each item.

    Args:
        annotations: A JSON file of items by id (as published, one file a category) or of a list of items, or a file of
            JSON lines (``.jsonl``). In a list, ``id`` names an item; else its number does.
        images: Folder of the images, which are read when they are scored.

    Returns:
        The task.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the file is not of this form, or the task refuses an item.

    Example:
        ``task = read_sugarcrepe("data/swap_obj.json", "val2017")``
    """
    items = _items(Path(annotations), ("filename", "caption", "negative_caption"))
    return SugarCrepeTask(
        ImageFiles(_paths(Path(images), [item["filename"] for item in items.values()])),
        [item["caption"] for item in items.values()],
        [item["negative_caption"] for item in items.values()],
        ids=list(items),
    )


def read_winoground(annotations: str | os.PathLike[str], images: str | os.PathLike[str]) -> WinogroundTask:
    """Read a task in Winoground's form: ``image_0``, ``image_1``, ``caption_0`` and ``caption_1`` of each item.

    Args:
        annotations: A file of JSON lines (``.jsonl``, as published), or a JSON file as in `read_sugarcrepe`.
        images: Folder of the images, whose names may stand in the annotations without their ending.

    Returns:
        The task.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the file is not of this form, or the task refuses an item.

    Example:
        ``task = read_winoground("data/examples.jsonl", "data/images")``
    """
    items = _items(Path(annotations), ("image_0", "image_1", "caption_0", "caption_1"))
    firsts, seconds = (_paths(Path(images), [item[f"image_{n}"] for item in items.values()]) for n in (0, 1))
    return WinogroundTask(
        ImageFiles(list(zip(firsts, seconds, strict=True))),
        [(item["caption_0"], item["caption_1"]) for item in items.values()],
        ids=list(items),
    )


def _items(path: Path, keys: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Items by id; each has the keys."""
    try:
        text = path.read_text(encoding="utf-8")
        lines = path.suffix == ".jsonl"
        content = [json.loads(line) for line in text.splitlines() if line.strip()] if lines else json.loads(text)
    except ValueError as error:
        raise ValueError(f"annotations must be JSON, or JSON lines in a .jsonl file, {path} is not: {error}") from None
    if isinstance(content, list):
        named = [
            (item.get("id", place) if isinstance(item, dict) else place, item) for place, item in enumerate(content)
        ]
    else:
        named = list(content.items()) if isinstance(content, dict) else []
    if not named:
        raise ValueError(f"annotations must hold a list of items or items by id, {path} holds none")
    found: dict[str, Mapping[str, Any]] = {}
    for name, item in named:
        if not isinstance(item, dict) or (lacks := [key for key in keys if not isinstance(item.get(key), str)]):
            missing = lacks if isinstance(item, dict) else list(keys)
            raise ValueError(
                f"annotations must have the texts {list(keys)} in each item, {path} lacks {missing} in {name!r}"
            )
        if str(name) in found:
            raise ValueError(f"annotations must name each item once, {path} has {name!r} twice")
        found[str(name)] = item
    return found


def _paths(folder: Path, names: Sequence[str]) -> list[Path]:
    """Files of the names, which may lack their ending."""
    found = [
        next((path for ending in _ENDINGS if (path := folder / f"{name}{ending}").is_file()), None) for name in names
    ]
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        raise FileNotFoundError(
            f"images must be a folder with every image, {folder} lacks {len(missing)} of {len(names)}, the first is "
            f"{missing[0]!r}; add them, or remove their items from the annotations"
        )
    return [path for path in found if path is not None]
