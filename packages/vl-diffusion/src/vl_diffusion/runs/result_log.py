"""Finished results on disk, one line per image, so that an interrupted classification can resume.

Each process appends to its own file, ``results.jsonl``, ``results-1.jsonl`` and so on; all files of a folder are read
together, so the number of processes may change between runs. A line with a thousand classes takes a hundred kilobytes,
so lines are only read when they are needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from vl_core.files import parse_json
from vl_core.runs.append_only import AppendOnlyFile

from vl_diffusion.classification.result import ARRAYS, Classification

_ONE_AN_IMAGE = ("image_ids", "predictions", "inner_evaluations", "num_values")
"""Scalar fields; the others are lists in the order of the classes."""

# A line begins with the id, so that it is found without parsing the rest.
_BEGINNING = re.compile(rb'\{"image_ids": (-?\d+),')


class ResultLog(AppendOnlyFile):
    """An append-only JSON-lines file of results, written inside a `with` block.

    An incomplete last line, from an interruption, is ignored, and its image is classified again.
    """

    @staticmethod
    def name(process: int) -> str:
        """Name of the file that a process writes."""
        return "results.jsonl" if process == 0 else f"results-{process}.jsonl"

    def append(self, results: Classification) -> None:
        """Append the results of some images.

        Raises:
            OSError: If they cannot be written; earlier results are kept.
        """
        rows = [{name: _plain(getattr(results, name)[i]) for name in ARRAYS} for i in range(len(results))]
        self.write("".join(json.dumps(row) + "\n" for row in rows))


class ResultIndex:
    """Index by image id of the results that all processes have written to a folder.

    Args:
        folder: The folder of the result logs.
        classes: The class names of the results.

    Raises:
        ValueError: If a complete line does not begin like a result.
    """

    def __init__(self, folder: Path, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self._places: dict[int, tuple[Path, int]] = {}
        for path in (folder / ResultLog.name(0), *sorted(folder.glob("results-*.jsonl"))):
            for start, line in AppendOnlyFile(path).places():
                beginning = _BEGINNING.match(line)
                if beginning is None:
                    raise _damaged(path, start, "not a result")
                try:
                    self._places[int(beginning[1])] = path, start
                except ValueError as error:
                    raise _damaged(path, start, error) from error

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._places

    def collect(self, image_ids: Sequence[int]) -> Classification:
        """The results of these images, in this order.

        Raises:
            ValueError: If a line cannot be read.
        """
        arrays: dict[str, Any] = {}
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
        row = parse_json(file.readline(), "the line")
        if "pruned" not in row:
            # From an older version: derive the pruned classes, those with fewer draws than the predicted one.
            row["pruned"] = [draws < row["draws"][row["predictions"]] for draws in row["draws"]]
        found: dict[str, np.ndarray] = {name: np.array(row[name], _dtype(name)) for name in ARRAYS}
        for name, values in found.items():
            wanted = () if name in _ONE_AN_IMAGE else (len(self.classes),)
            if values.shape != wanted:
                raise ValueError(f"{name} must have shape {wanted}, got {values.shape}")
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
    """Convert to numbers and lists for JSON: NaN becomes null, and is read back as NaN."""
    content = value.tolist()
    if isinstance(content, list):
        return [None if x != x else x for x in content]
    return content
