"""Raw scores in Parquet files, a row for each item, written before any metric is computed.

Each file holds the items that were scored together and takes its place in one step, so a kill costs at most those that
were being scored. A file that was damaged later is set aside, and only its items are scored again.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet
from vl_core.progress import progress_bar
from vl_core.runs import atomic_write
from vl_core.tables import write_parquet

from vl_vlm.evaluation.scorers.scorer import Scorer, Scores
from vl_vlm.evaluation.tasks.task import Blocks, Task, digest

_log = logging.getLogger(__name__)


class Predictions:
    """Folder of one model's raw scores on one task.

    Args:
        folder: Made where it is missing.
        task: The task whose items are scored.
        name: Name of the model.

    Raises:
        ValueError: If the folder holds the scores of another task or another model.
    """

    def __init__(self, folder: str | os.PathLike[str], task: Task, name: str) -> None:
        self.folder = Path(folder)
        self._task = task
        self._numbers = {item: number for number, item in enumerate(task.item_ids)}
        self.notes: list[str] = []
        """Sentences about what was found damaged."""
        self._check(name)
        self._parts = self._read_all()

    def missing(self) -> list[int]:
        """Numbers of the items without a row, in order."""
        done = np.zeros(len(self._numbers), np.bool_)
        for items in self._parts.values():
            done[items] = True
        return [int(number) for number in np.flatnonzero(~done)]

    def complete(self, scorer: Scorer, *, batch_size: int, text_batch_size: int, progress: bool) -> None:
        """Score what is missing, ``batch_size`` items to a file."""
        todo = self.missing()
        bar = progress_bar(total=len(todo), desc=self.folder.name, unit="items", disable=not progress or not todo)
        with bar:
            for start in range(0, len(todo), batch_size):
                items = todo[start : start + batch_size]
                scores = self._task.score_rows(scorer, items, text_batch_size)
                path = self.folder / f"part-{items[0]:09d}.parquet"
                write_parquet(path, {"item": [self._task.item_ids[item] for item in items], "scores": scores})
                self._parts[path] = np.array(items)
                bar.update(len(items))

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], Scores]]:
        """Numbers of some items and their raw scores, file by file."""
        for path, items in self._parts.items():
            yield items, self._read(path)[1]

    def _check(self, name: str) -> None:
        """Hold the folder to its task and model."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "predictions.json"
        ours = {"model": name, "task": self._task.kind, "digest": digest(self._task, truth=False)}
        if not path.exists():
            with atomic_write(path) as file:
                json.dump(ours, file, indent=2)
            return
        try:
            theirs = json.loads(path.read_text(encoding="utf-8"))
            found = {key: theirs[key] for key in ours}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} cannot be read ({error}); choose another folder, or remove this one") from None
        for key, what in (("task", "the task"), ("digest", "items and texts"), ("model", "the model")):
            if found[key] != ours[key]:
                raise ValueError(
                    f"out must be the folder of {what} {ours[key]!r}, {self.folder} holds scores of {found[key]!r}; "
                    "choose another folder"
                )

    def _read_all(self) -> dict[Path, NDArray[np.int64]]:
        """Item numbers of every file that is whole; the others are set aside."""
        found: dict[Path, NDArray[np.int64]] = {}
        done: set[int] = set()
        for path in sorted(self.folder.glob("part-*.parquet")):
            try:
                items = self._read(path)[0]
                if len(done | {*items.tolist()}) < len(done) + len(items):
                    raise ValueError("an item in it has a row already")
                found[path] = items
                done.update(items.tolist())
            except (OSError, ValueError, KeyError, pa.ArrowException) as error:
                reason = str(error).split("\n")[0][:120]
                path.replace(path.with_suffix(".damaged"))
                note = f"{path.name} cannot be read ({reason}): set aside as {path.stem}.damaged, to be scored again"
                self.notes.append(note)
                _log.warning("%s: %s", self.folder, note)
        return found

    def _read(self, path: Path) -> tuple[NDArray[np.int64], Scores]:
        """Item numbers and raw scores of one file.

        Raises:
            OSError: If it cannot be read.
            KeyError: If it holds an unknown item.
            ValueError: If a row has another number of scores than the task asks for, or one is NaN.
        """
        with pa.OSFile(str(path), "rb") as source:
            table: Any = parquet.ParquetFile(source).read(columns=["item", "scores"])
        items = np.array([self._numbers[name] for name in table["item"].to_pylist()], np.int64)
        values: Any = table["scores"].combine_chunks()
        scores: Scores = values.flatten().to_numpy(zero_copy_only=False).reshape(len(items), -1)
        if scores.shape != (len(items), self._task.width) or np.isnan(scores).any():
            raise ValueError(f"rows of {self._task.width} numbers were expected")
        return items, scores


def rounded(blocks: Blocks, decimals: int | None) -> Blocks:
    """Scores to so many decimals: what is closer counts as a tie."""
    if decimals is None:
        return blocks
    return lambda: ((items, np.round(scores, decimals)) for items, scores in blocks())


def computed(task: Task, scorer: Scorer, *, batch_size: int, text_batch_size: int) -> Blocks:
    """Scores of a baseline that costs nothing, computed in each pass instead of stored."""

    def start() -> Iterator[tuple[NDArray[np.int64], Scores]]:
        for first in range(0, len(task.item_ids), batch_size):
            items = np.arange(first, min(first + batch_size, len(task.item_ids)))
            yield items, task.score_rows(scorer, [int(item) for item in items], text_batch_size)

    return start
