"""Results of images on disk, appended a group of images at a time, so that an interrupted study resumes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from vl_core.files import parse_json
from vl_core.runs.append_only import AppendOnlyFile

Result = TypeVar("Result")


class StudyRecord(AppendOnlyFile, Generic[Result]):
    """Results by run and image in a JSON-lines file, with a line for each group of images.

    A run is one search or one method under one setting. A line holds a group's results in one or several runs, and
    totals such as CPU time. If an image occurs twice in a run, the last line counts; an incomplete last line does not.

    Args:
        path: The file; groups are appended inside a `with` block.
        result: Dataclass of one image's result.

    Raises:
        ValueError: If a line other than the last cannot be read.
    """

    def __init__(self, path: Path, result: type[Result]) -> None:
        super().__init__(path)
        self._result = result
        hints = get_type_hints(result)
        self._kinds = {name: kind for name, kind in hints.items() if kind in (bool, int, float, str)}
        self._results: dict[str, dict[int, Result]] = {}
        self._totals: dict[str, float] = {}
        for number, line in enumerate(self.lines(), 1):
            try:
                self._add(parse_json(line, "the line"))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}, line {number} is damaged ({error}); delete the line or the file") from error

    def of(self, run: str) -> Mapping[int, Result]:
        """Results of a run by the ids of their images."""
        return self._results.get(run, {})

    def total(self, name: str) -> float:
        """Sum of a total over all groups; 0 if no group has it."""
        return self._totals.get(name, 0.0)

    def append(self, image_ids: Sequence[int], results: Mapping[str, Sequence[Result]], **totals: float) -> None:
        """Write a group of images.

        Args:
            image_ids: Their ids.
            results: Results of all of them, in their order, by run.
            **totals: Numbers to sum over groups.

        Raises:
            OSError: If it cannot be written; the groups before are kept.
        """
        group: dict[str, Any] = {
            "image_ids": list(image_ids),
            "results": {run: [asdict(result) for result in of_run] for run, of_run in results.items()},  # type: ignore[call-overload]
            "totals": totals,
        }
        self.write(json.dumps(group) + "\n")
        self._add(group)

    def _made(self, values: Mapping[str, Any]) -> Result:
        """One image's result, whose numbers and texts are what the dataclass says."""
        result = self._result(**values)
        for name, kind in self._kinds.items():
            if not isinstance(value := getattr(result, name), int | float if kind is float else kind):
                raise TypeError(f"{name} must be of type {kind.__name__}, got {type(value).__name__}")
        return result

    def _add(self, group: Mapping[str, Any]) -> None:
        found = {
            run: {image_id: self._made(result) for image_id, result in zip(group["image_ids"], of_run, strict=True)}
            for run, of_run in group["results"].items()
        }
        for run, of_run in found.items():
            self._results.setdefault(run, {}).update(of_run)
        for name, value in group["totals"].items():
            self._totals[name] = self.total(name) + value
