"""Finished results on disk, a line an image, so that an interrupted classification goes on where it stopped.

Each process of a run appends to a file of its own, ``results.jsonl`` and ``results-1.jsonl`` and so on, whatever their
number was the last time: all files of a folder are read together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from vl_diffusion.lines import LineFile
from vl_diffusion.result import Classification, concatenate

_ARRAYS = tuple(f.name for f in fields(Classification) if f.name != "classes")


class Journal(LineFile):
    """An append-only JSON-lines file of results, keyed by image id.

    A last line without its end was cut off by an interruption: it does not count, and its image is classified again.

    Args:
        path: The file; results are appended inside a `with` block.
        classes: The class names that results are over.

    Raises:
        ValueError: If a line other than the last cannot be read.
    """

    def __init__(self, path: Path, classes: tuple[str, ...]) -> None:
        super().__init__(path)
        self.classes = classes
        self._results: dict[int, Classification] = {}
        for number, line in enumerate(self.lines(), 1):
            try:
                self._add(json.loads(line))
            except (ValueError, LookupError, TypeError, OverflowError) as error:
                raise ValueError(f"{path}, line {number} is damaged ({error}); delete the line or the file") from error

    @staticmethod
    def name(process: int) -> str:
        """The file that a process writes to."""
        return "results.jsonl" if process == 0 else f"results-{process}.jsonl"

    @classmethod
    def read_all(cls, folder: Path, classes: tuple[str, ...]) -> Journal:
        """The results of all processes that have written to a folder; not to be appended to."""
        whole = cls(folder / cls.name(0), classes)
        for path in sorted(folder.glob("results-*.jsonl")):
            whole._results.update(cls(path, classes)._results)
        return whole

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._results

    def __len__(self) -> int:
        return len(self._results)

    def append(self, results: Classification) -> None:
        """Write the results of some images, and hold them.

        Raises:
            OSError: If they cannot be written; those before are kept.
        """
        rows = [{name: _plain(getattr(results, name)[i]) for name in _ARRAYS} for i in range(len(results))]
        self.write("".join(json.dumps(row) + "\n" for row in rows))
        for row in rows:
            self._add(row)

    def collect(self, image_ids: Iterable[int]) -> Classification:
        """The results of these images, in this order."""
        return concatenate([self._results[int(i)] for i in image_ids])

    def _add(self, row: dict[str, Any]) -> None:
        if "pruned" not in row:
            # Written before a search said which classes it had given up; those seen less often than the predicted one.
            row["pruned"] = [draws < row["draws"][row["predictions"]] for draws in row["draws"]]
        arrays: dict[str, Any] = {name: np.array([row[name]], _dtype(name)) for name in _ARRAYS}
        self._results[int(arrays["image_ids"][0])] = Classification(classes=self.classes, **arrays)


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
