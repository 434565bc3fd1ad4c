"""Finished results on disk, a line an image, so that an interrupted classification goes on where it stopped.

Each process of a run appends to a file of its own, ``results.jsonl`` and ``results-1.jsonl`` and so on, whatever their
number was the last time: all files of a folder are read together. A line of a thousand classes is a hundred kilobytes,
so what is in the lines stays on disk until it is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vl_diffusion.classification.result import Classification
from vl_diffusion.runs.append_only import AppendOnlyFile

_ARRAYS = tuple(f.name for f in fields(Classification) if f.name != "classes")

_ONE_AN_IMAGE = ("image_ids", "predictions", "inner_evaluations", "num_values")
"""The others are lists in the order of the classes."""

# A line begins with the id, so that it can be found without reading the rest.
_BEGINNING = re.compile(rb'\{"image_ids": (-?\d+),')


class ResultLog(AppendOnlyFile):
    """An append-only JSON-lines file of results, to be written inside a `with` block.

    A last line without its end was cut off by an interruption: it does not count, and its image is classified again.
    """

    @staticmethod
    def name(process: int) -> str:
        """The file that a process writes to."""
        return "results.jsonl" if process == 0 else f"results-{process}.jsonl"

    def append(self, results: Classification) -> None:
        """Write the results of some images.

        Raises:
            OSError: If they cannot be written; those before are kept.
        """
        rows = [{name: _plain(getattr(results, name)[i]) for name in _ARRAYS} for i in range(len(results))]
        self.write("".join(json.dumps(row) + "\n" for row in rows))


class ResultIndex:
    """The results that all processes have written to a folder, found by image id.

    Args:
        folder: Where the journals are.
        classes: The class names that results are over.

    Raises:
        ValueError: If a line other than the last of a file does not begin as a result does.
    """

    def __init__(self, folder: Path, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self._places: dict[int, tuple[Path, int]] = {}
        for path in (folder / ResultLog.name(0), *sorted(folder.glob("results-*.jsonl"))):
            for start, line in AppendOnlyFile(path).places():
                beginning = _BEGINNING.match(line)
                if beginning is None:
                    raise _damaged(path, start, "it is no result")
                self._places[int(beginning[1])] = path, start

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._places

    def collect(self, image_ids: Sequence[int]) -> Classification:
        """The results of these images, in this order.

        Raises:
            ValueError: If a line cannot be read.
        """
        arrays: dict[str, np.ndarray] = {}
        with ExitStack() as stack:
            files = {path: stack.enter_context(path.open("rb")) for path in {path for path, _ in self._places.values()}}
            for i, image_id in enumerate(image_ids):
                path, start = self._places[image_id]
                try:
                    row = self._read(files[path], start)
                except (ValueError, LookupError, TypeError, OverflowError) as error:
                    raise _damaged(path, start, error) from error
                for name, values in row.items():
                    if name not in arrays:
                        arrays[name] = np.empty((len(image_ids), *values.shape), values.dtype)
                    arrays[name][i] = values
        return Classification(classes=self.classes, **arrays)

    def _read(self, file: BinaryIO, start: int) -> dict[str, np.ndarray]:
        file.seek(start)
        row = json.loads(file.readline())
        if "pruned" not in row:
            # Written before a search said which classes it had given up; those seen less often than the predicted one.
            row["pruned"] = [draws < row["draws"][row["predictions"]] for draws in row["draws"]]
        found: dict[str, np.ndarray] = {name: np.array(row[name], _dtype(name)) for name in _ARRAYS}
        for name, values in found.items():
            wanted = () if name in _ONE_AN_IMAGE else (len(self.classes),)
            if values.shape != wanted:
                raise ValueError(f"{name} has shape {values.shape} in place of {wanted}")
        return found


def _damaged(path: Path, start: int, reason: object) -> ValueError:
    with path.open("rb") as file:
        number = file.read(start).count(b"\n") + 1
    return ValueError(f"{path}, line {number} is damaged ({reason}); delete the line or the file")


def _dtype(name: str) -> type:
    if name == "pruned":
        return np.bool_
    integers = ("image_ids", "draws", "evaluations", "predictions", "inner_evaluations", "num_values")
    return np.int64 if name in integers else np.float64


def _plain(value: np.ndarray) -> object:
    """Numbers and lists that JSON knows: NaN becomes null, and reads back as NaN."""
    content = value.tolist()
    if isinstance(content, list):
        return [None if x != x else x for x in content]
    return content
