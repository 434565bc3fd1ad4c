"""`vl-vlm scenes`: captioned scenes as files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from vl_core.cli import note_on_interruption
from vl_core.progress import progress_bar
from vl_core.runs import RunFolder, atomic_write
from vl_core.tables import write_parquet

from vl_vlm.captions.captioned import CaptionedImage, CaptionedImages
from vl_vlm.charts.sheets import draw_sheet
from vl_vlm.commands.settings.scenes import Scenes
from vl_vlm.scenes.dataset import make_scenes

_SHOWN = 20  # images of the sheet
_ROWS = 1000  # of a Parquet file


def run(settings: Scenes) -> None:
    """Write what `settings.out` does not contain yet, and the sheet.

    Raises:
        ValueError: If the folder holds scenes of other settings.
        OSError: If it cannot be written to.
    """
    settings.check()
    config = {name: value for name, value in asdict(settings).items() if name not in ("out", "workers")}
    with RunFolder(settings.out, config), note_on_interruption("rerun to resume"):
        dataset = make_scenes(
            settings.count,
            size=settings.size,
            seed=settings.seed,
            split=settings.split,
            kinds=settings.kinds,
            negatives=settings.negatives,
        )
        first = [dataset[index] for index in range(min(_SHOWN, len(dataset)))]
        title = f"scenes, split {settings.split}, seed {settings.seed}"
        draw_sheet(
            settings.out / "scenes.png", [one.image for one in first], [one.captions[0] for one in first], title=title
        )
        write = _write_folder if settings.format == "folder" else _write_parquet
        written = write(dataset, settings.out, settings.workers)
    captions = sum(map(len, dataset.captions))
    print(f"{len(dataset)} scenes with {captions} captions: {written} new")
    place = "images" if settings.format == "folder" else "parquet"
    print(f"wrote {settings.out / place}, a data set of images with captions, and scenes.png to {settings.out}")


def _write_folder(dataset: CaptionedImages, out: Path, workers: int) -> int:
    """Write a PNG for each image and a line for each in ``metadata.jsonl``; count the images that were new."""
    folder = _own_folder(out / "images")
    names = [f"{index:07d}.png" for index in range(len(dataset))]
    there = {path.name for path in folder.glob("*.png")}
    todo = [index for index, name in enumerate(names) if name not in there]
    for index, item in _drawn(dataset, todo, workers):
        with atomic_write(folder / names[index], "wb") as file:
            file.write(_png(item))
    with atomic_write(folder / "metadata.jsonl") as file:
        for index, name in enumerate(names):
            file.write(json.dumps({"file_name": name, **_facts(dataset, index, "text")}) + "\n")
    return len(todo)


def _write_parquet(dataset: CaptionedImages, out: Path, workers: int) -> int:
    """Write Parquet files of a thousand rows each; count the images that were new."""
    folder = _own_folder(out / "parquet")
    parts = {folder / f"part-{start // _ROWS:05d}.parquet": start for start in range(0, len(dataset), _ROWS)}
    missing = {path: range(start, min(start + _ROWS, len(dataset))) for path, start in parts.items()}
    missing = {path: rows for path, rows in missing.items() if not path.exists()}
    drawn = _drawn(dataset, [index for rows in missing.values() for index in rows], workers)
    for path, rows in missing.items():
        table = []
        for _ in rows:
            index, item = next(drawn)
            image = {"bytes": _png(item), "path": f"{item.name}.png"}
            table.append({"image": image, **_facts(dataset, index, "caption")})
        write_parquet(path, {name: [row[name] for row in table] for name in table[0]})
    return sum(map(len, missing.values()))


def _own_folder(folder: Path) -> Path:
    """Make a folder, and remove what a killed process left unfinished in it."""
    folder.mkdir(exist_ok=True)
    for unfinished in folder.glob(".*.tmp"):
        unfinished.unlink()
    return folder


def _facts(dataset: CaptionedImages, index: int, caption: str) -> dict[str, Any]:
    """Plain caption of an image under the given name, all of its captions, and its factors."""
    assert dataset.metadata is not None
    captions = dataset.captions[index]
    return {caption: captions[0], "captions": list(captions), **dataset.metadata[index]}


def _drawn(dataset: CaptionedImages, indices: Sequence[int], workers: int) -> Iterator[tuple[int, CaptionedImage]]:
    """Numbers and items in order, drawn by so many processes, behind a bar."""
    items = DataLoader(
        dataset,
        batch_size=None,
        sampler=indices,
        num_workers=workers,
        collate_fn=_as_it_is,
    )
    bar = progress_bar(zip(indices, items, strict=True), total=len(indices), desc="drawing", unit="images")
    yield from bar


def _as_it_is(item: Any) -> Any:
    return item


def _png(item: CaptionedImage) -> bytes:
    buffer = io.BytesIO()
    item.image.save(buffer, "PNG")
    return buffer.getvalue()
