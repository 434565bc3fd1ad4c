"""Accuracies of methods, and gains over the source classifier with intervals over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from vl_diffusion.studies.adaptation.cells import Cell
from vl_diffusion.studies.adaptation.names import SOURCE
from vl_diffusion.studies.adaptation.runners import Outcome
from vl_diffusion.studies.adaptation.runs import MethodRun
from vl_diffusion.studies.record import StudyRecord


@dataclass(frozen=True)
class Row:
    """Accuracy and cost of one method in one cell with one seed; a row of adapt.csv."""

    corruption: str
    """Name of the corruption, or "clean"."""

    severity: int
    """1 to 5; 0 for clean images."""

    method: str
    """Name of the method."""

    seed: int
    """Seed of the method's noise, and of the classifier's training."""

    images: int
    """Number of images."""

    accuracy: float
    """Share of images that it classifies correctly."""

    passes_per_image: float
    """Evaluations of the denoising network, forward and backward ones counted as one each."""

    cpu_seconds: float
    """CPU time for all of these images."""


@dataclass(frozen=True)
class Gain:
    """Gain of one method in one cell over all seeds; a row of gains.csv."""

    corruption: str
    """Name of the corruption, "clean", or "all" for the whole table."""

    severity: int | str
    """1 to 5, 0 for clean images, or "all"."""

    method: str
    """Name of the method."""

    images: int
    """Number of different images; each counts once, whatever the number of seeds and cells."""

    seeds: int
    """Number of seeds."""

    source_accuracy: float
    """Share of images that the source classifies correctly."""

    accuracy: float
    """Share of images that the method classifies correctly."""

    gain: float
    """Accuracy minus the source's, in percentage points."""

    gain_low: float
    """Lower end of its 95 % interval: Student's t over the images' own mean gains."""

    gain_high: float
    """Upper end."""

    adapted: float
    """Share of predictions that are an adapted model's."""

    oracle_accuracy: float
    """Share of images that the source or the method classifies correctly: the accuracy of a perfect gate."""

    passes_per_image: float
    """Evaluations of the denoising network, forward and backward ones counted as one each."""


@dataclass(frozen=True)
class Study:
    """Outcomes on record for some images and seeds, and the true classes."""

    record: StudyRecord[Outcome]
    """Outcomes of all runs."""

    image_ids: Sequence[int]
    """Ids of B images, all different and on record in every run that is summarized."""

    labels: np.ndarray
    """int64 ``(B,)``, the true classes."""

    seeds: Sequence[int]
    """Seeds of the runs."""

    def outcomes(self, cell: Cell, method: str, seed: int) -> list[Outcome]:
        """Outcomes of all images, in their order."""
        found = self.record.of(MethodRun(cell, method, seed).name)
        return [found[image_id] for image_id in self.image_ids]

    def correct(self, cell: Cell, method: str) -> np.ndarray:
        """Correctness of each prediction, bool ``(seeds, B)``."""
        predictions = [[one.prediction for one in self.outcomes(cell, method, seed)] for seed in self.seeds]
        correct: np.ndarray = np.array(predictions) == self.labels
        return correct

    def row(self, cell: Cell, method: str, seed: int) -> Row:
        """Accuracy and cost of a method in a cell with a seed."""
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
        """Gain of a method over several cells together, in a row with this corruption and severity."""
        correct = np.stack([self.correct(cell, method) for cell in cells])
        before = np.stack([self.correct(cell, SOURCE) for cell in cells])
        outcomes = [one for cell in cells for seed in self.seeds for one in self.outcomes(cell, method, seed)]
        low, high = t_interval(100 * (correct.astype(float) - before).mean((0, 1)))
        return Gain(
            corruption=corruption,
            severity=severity,
            method=method,
            images=len(self.image_ids),
            seeds=len(self.seeds),
            source_accuracy=float(before.mean()),
            accuracy=float(correct.mean()),
            gain=100 * float(correct.mean() - before.mean()),
            gain_low=low,
            gain_high=high,
            adapted=float(np.mean([one.adapted for one in outcomes])),
            oracle_accuracy=float((correct | before).mean()),
            passes_per_image=float(np.mean([one.forward_passes + one.backward_passes for one in outcomes])),
        )

    def rows(self, cells: Sequence[Cell], methods: Sequence[str]) -> list[Row]:
        """A row for each cell, method and seed."""
        return [self.row(cell, method, seed) for cell in cells for method in methods for seed in self.seeds]

    def gains(self, cells: Sequence[Cell], methods: Sequence[str]) -> list[Gain]:
        """A row for each cell and method, followed by a row for each method over all cells."""
        found = [self.gain([cell], method, cell.corruption, cell.severity) for cell in cells for method in methods]
        return found + [self.gain(cells, method, "all", "all") for method in methods]


def t_interval(differences: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean of ``(B,)`` points, clipped to -100 ... 100, and all of that for one value."""
    count = len(differences)
    if count < 2:
        return -100.0, 100.0
    half = float(student.ppf(0.5 + level / 2, count - 1) * differences.std(ddof=1) / count**0.5)
    mean = float(differences.mean())
    return max(-100.0, mean - half), min(100.0, mean + half)
