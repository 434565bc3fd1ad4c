"""What methods are worth: accuracies, and gains over the classifier as it was, with intervals over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from vl_diffusion.studies.adaptation.record import Cell, Outcome, Stream, StudyRecord

SOURCE = "source"
"""The method that the others are compared with."""


@dataclass(frozen=True)
class Row:
    """What one method reached in one cell with one seed; a row of adapt.csv."""

    corruption: str
    """Which corruption, or "clean"."""

    severity: int
    """1 to 5; 0 where the images are clean."""

    method: str
    """Which method."""

    seed: int
    """Of the method's noise, and of the classifier's training."""

    images: int
    """Images that it answered for."""

    accuracy: float
    """Share that it named right."""

    passes_per_image: float
    """Evaluations of the denoising network, forward and backward ones counted as one each."""

    cpu_seconds: float
    """CPU time for all of these images."""


@dataclass(frozen=True)
class Gain:
    """What one method gains in one cell over all seeds; a row of gains.csv."""

    corruption: str
    """Which corruption, "clean", or "all" for the whole table."""

    severity: int | str
    """1 to 5, 0 where the images are clean, or "all"."""

    method: str
    """Which method."""

    images: int
    """Images, each of which counts once however many seeds and cells it is looked at in."""

    seeds: int
    """Seeds."""

    source_accuracy: float
    """Share that the source names right."""

    accuracy: float
    """Share that the method names right."""

    gain: float
    """Accuracy over the source's, in points (hundredths)."""

    gain_low: float
    """Lower end of its 95 % interval: Student's t over the images' own mean gains."""

    gain_high: float
    """Upper end."""

    adapted: float
    """Share of answers that are an adapted model's."""

    oracle_accuracy: float
    """Share that the source or the method names right: what a gate could reach that always knows which of them is."""

    passes_per_image: float
    """Evaluations of the denoising network, forward and backward ones counted as one each."""


@dataclass(frozen=True)
class Study:
    """Which outcomes of a record are judged, and the truth."""

    record: StudyRecord
    image_ids: Sequence[int]
    """Ids of B images, all different and on record in all streams that are asked about."""

    labels: np.ndarray
    """int64 ``(B,)``, the true classes."""

    seeds: Sequence[int]
    """Seeds."""

    def outcomes(self, cell: Cell, method: str, seed: int) -> list[Outcome]:
        """Of all images, in their order."""
        found = self.record.of(Stream(cell, method, seed))
        return [found[image_id] for image_id in self.image_ids]

    def right(self, cell: Cell, method: str) -> np.ndarray:
        """Whether each answer is right, bool ``(seeds, B)``."""
        answers = [[one.prediction for one in self.outcomes(cell, method, seed)] for seed in self.seeds]
        right: np.ndarray = np.array(answers) == self.labels
        return right

    def row(self, cell: Cell, method: str, seed: int) -> Row:
        """What a method reached in a cell with a seed."""
        outcomes = self.outcomes(cell, method, seed)
        return Row(
            corruption=cell.corruption,
            severity=cell.severity,
            method=method,
            seed=seed,
            images=len(outcomes),
            accuracy=float(np.mean([one.prediction for one in outcomes] == self.labels)),
            passes_per_image=float(np.mean([one.forward_passes + one.backward_passes for one in outcomes])),
            cpu_seconds=float(np.sum([one.cpu_seconds for one in outcomes])),
        )

    def gain(self, cells: Sequence[Cell], method: str, corruption: str, severity: int | str) -> Gain:
        """What a method gains over some cells together, under the name that its row is to have."""
        right = np.stack([self.right(cell, method) for cell in cells])
        before = np.stack([self.right(cell, SOURCE) for cell in cells])
        outcomes = [one for cell in cells for seed in self.seeds for one in self.outcomes(cell, method, seed)]
        low, high = t_interval(100 * (right.astype(float) - before).mean((0, 1)))
        return Gain(
            corruption=corruption,
            severity=severity,
            method=method,
            images=len(self.image_ids),
            seeds=len(self.seeds),
            source_accuracy=float(before.mean()),
            accuracy=float(right.mean()),
            gain=100 * float(right.mean() - before.mean()),
            gain_low=low,
            gain_high=high,
            adapted=float(np.mean([one.adapted for one in outcomes])),
            oracle_accuracy=float((right | before).mean()),
            passes_per_image=float(np.mean([one.forward_passes + one.backward_passes for one in outcomes])),
        )

    def rows(self, cells: Sequence[Cell], methods: Sequence[str]) -> list[Row]:
        """A row a cell, method and seed."""
        return [self.row(cell, method, seed) for cell in cells for method in methods for seed in self.seeds]

    def gains(self, cells: Sequence[Cell], methods: Sequence[str]) -> list[Gain]:
        """A row a cell and method, and at the end one a method over all cells."""
        found = [self.gain([cell], method, cell.corruption, cell.severity) for cell in cells for method in methods]
        return found + [self.gain(cells, method, "all", "all") for method in methods]


def t_interval(differences: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The interval of a mean of points ``(B,)`` by Student's t, within -100 to 100; all of that for a single one."""
    count = len(differences)
    if count < 2:
        return -100.0, 100.0
    half = float(student.ppf(0.5 + level / 2, count - 1) * differences.std(ddof=1) / count**0.5)
    mean = float(differences.mean())
    return max(-100.0, mean - half), min(100.0, mean + half)
