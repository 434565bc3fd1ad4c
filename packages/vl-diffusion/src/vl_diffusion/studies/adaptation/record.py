"""What each method made of each image, on disk, so that a study goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vl_diffusion.runs.append_only import AppendOnlyFile


@dataclass(frozen=True)
class Cell:
    """One way of corrupting images."""

    corruption: str
    """One of the corruptions' names, or "clean"."""

    severity: int
    """1 to 5; 0 where the images are clean."""


CLEAN = Cell("clean", 0)


@dataclass(frozen=True)
class Stream:
    """Images of one cell on their way through one method."""

    cell: Cell
    method: str
    seed: int
    """Of the method's noise, and of the classifier's training."""

    @property
    def name(self) -> str:
        """A name for a folder."""
        return f"{self.cell.corruption}-{self.cell.severity}-{self.method}-{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What one method made of one image."""

    prediction: int
    """Index of the class."""

    adapted: bool
    """Whether an adapted model answered; a gate may have kept the source's answer."""

    forward_passes: int
    """Evaluations of the denoising network."""

    backward_passes: int
    """Evaluations that a gradient was taken of."""

    cpu_seconds: float
    """CPU time: its share of the time of images that were looked at together."""

    def __post_init__(self) -> None:
        for name in ("prediction", "forward_passes", "backward_passes"):
            if not isinstance(getattr(self, name), int):
                raise TypeError(f"{name} must be an int, got {getattr(self, name)!r}")


class StudyRecord(AppendOnlyFile):
    """Outcomes on disk, a line a group of images of one stream; where an image stands twice, the last line holds.

    Args:
        path: A JSON-lines file; groups are appended inside a `with` block. A last line without its end does not count.

    Raises:
        ValueError: If a line other than the last cannot be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._outcomes: dict[Stream, dict[int, Outcome]] = {}
        for number, line in enumerate(self.lines(), 1):
            try:
                self._add(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}, line {number} is damaged ({error}); delete the line or the file") from error

    def of(self, stream: Stream) -> Mapping[int, Outcome]:
        """Outcomes of a stream by the ids of their images."""
        return self._outcomes.get(stream, {})

    def append(self, stream: Stream, image_ids: Sequence[int], outcomes: Sequence[Outcome]) -> None:
        """Write what a method made of a group of images.

        Raises:
            OSError: If it cannot be written; the groups before are kept.
        """
        group: dict[str, Any] = {
            **asdict(stream.cell),
            "method": stream.method,
            "seed": stream.seed,
            "image_ids": list(image_ids),
            "outcomes": [asdict(outcome) for outcome in outcomes],
        }
        self.write(json.dumps(group) + "\n")
        self._add(group)

    def _add(self, group: Mapping[str, Any]) -> None:
        stream = Stream(Cell(group["corruption"], group["severity"]), group["method"], group["seed"])
        found = {
            image_id: Outcome(**outcome)
            for image_id, outcome in zip(group["image_ids"], group["outcomes"], strict=True)
        }
        self._outcomes.setdefault(stream, {}).update(found)
