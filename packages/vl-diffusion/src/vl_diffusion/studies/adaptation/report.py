"""Report of a study: two CSV tables, two plots, and a text table for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor
from vl_core.tables import write_rows

from vl_diffusion.charts.adaptation import Example, draw_gains, draw_images
from vl_diffusion.runs.image_collection import ImageCollection
from vl_diffusion.studies.adaptation.cells import CLEAN, Cell, CorruptedImages
from vl_diffusion.studies.adaptation.examples import choose_changes
from vl_diffusion.studies.adaptation.gains import Gain, Study
from vl_diffusion.studies.adaptation.names import METHOD_TITLES, SOURCE

_NUM_EXAMPLES = 12  # in images.png


@dataclass(frozen=True, eq=False)
class Report:
    """A finished study that can be written to a folder."""

    study: Study
    cells: Sequence[Cell]
    methods: Sequence[str]
    """Names of the methods, the source first."""

    collection: ImageCollection
    classes: Sequence[str]
    tuned_for: int | None = None

    def write(self, folder: Path) -> str:
        """Write ``adapt.csv``, ``gains.csv``, ``adapt.png`` and ``images.png``; returns a text table."""
        gains = self.study.gains(self.cells, self.methods)
        write_rows(folder / "adapt.csv", self.study.rows(self.cells, self.methods))
        write_rows(folder / "gains.csv", gains)
        self._draw_gains(folder / "adapt.png")
        self._draw_images(folder / "images.png")
        return text_table(gains, self.methods)

    def _draw_gains(self, path: Path) -> None:
        """A line for each corruption over all its severities, and one over all cells."""
        by_corruption: dict[str, list[Cell]] = {}
        for cell in self.cells:
            by_corruption.setdefault(cell.corruption, []).append(cell)
        lines = [*by_corruption.items(), ("all", list(self.cells))]
        rows = [self.study.gain(group, method, name, "all") for name, group in lines for method in self.methods]
        draw_gains(
            path,
            rows,
            study_title(len(self.collection), [cell.severity for cell in self.cells[1:]], len(self.study.seeds)),
            {name: METHOD_TITLES[name] for name in self.methods},
        )

    def _draw_images(self, path: Path) -> None:
        # Without an adapting method, the source is compared with itself.
        method = "default" if "default" in self.methods else self.methods[-1]
        seed = self.study.seeds[0]
        changes = choose_changes(self.study, self.cells, method, seed, _NUM_EXAMPLES)
        examples = [
            Example(
                clean=self._pixels(CLEAN, change.image),
                corrupted=self._pixels(change.cell, change.image),
                corruption=change.cell.title,
                truth=self.classes[self.study.labels[change.image]],
                before=self.classes[change.before],
                after=self.classes[change.after],
            )
            for change in changes.examples
        ]
        draw_images(
            path,
            examples,
            f"{METHOD_TITLES[method]}, seed {seed}: {changes.corrected:,} of {changes.predictions:,} predictions were "
            f"corrected,\n{changes.spoiled:,} were spoiled",
        )

    def _pixels(self, cell: Cell, image: int) -> np.ndarray:
        pixels_chw: Tensor = CorruptedImages(self.collection, self.study.image_ids, cell, self.tuned_for)(image)
        pixels: np.ndarray = pixels_chw.permute(1, 2, 0).numpy()
        return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def study_title(images: int, severities: Iterable[int], seeds: int) -> str:
    """The subject of a figure of a study: the images, the severities and the seeds."""
    levels = [str(severity) for severity in dict.fromkeys(severities)]
    listed = " and ".join([", ".join(levels[:-1]), levels[-1]] if len(levels) > 1 else levels)
    severity = f" at severity {listed}" if levels else ""
    return (
        f"{images:,} image{'s' if images > 1 else ''} per corruption{severity}, {seeds} seed{'s' if seeds > 1 else ''}"
    )


def text_table(gains: Sequence[Gain], methods: Sequence[str]) -> str:
    """Accuracies, a line for each cell, and below them each method's gain over all cells."""
    widths = {method: max(len(method), 6) for method in methods}
    head = f"{'accuracy, %':20}" + "".join(f"  {method:>{widths[method]}}" for method in methods)
    lines = [head, "-" * len(head)]
    for start in range(0, len(gains), len(methods)):
        row = gains[start : start + len(methods)]
        cell = "all" if row[0].corruption == "all" else Cell(row[0].corruption, int(row[0].severity)).title
        lines.append(f"{cell:20}" + "".join(f"  {100 * gain.accuracy:>{widths[gain.method]}.1f}" for gain in row))
    head = f"{'over all':20}  {'gain, points (95 %)':>26}  {'adapted':>7}  {'oracle':>9}  {'passes per image':>16}"
    lines += ["", head, "-" * len(head)]
    for gain in gains[-len(methods) :]:
        if gain.method != SOURCE:
            interval = f"{gain.gain:+.2f} ({gain.gain_low:+.2f} to {gain.gain_high:+.2f})"
            lines.append(
                f"{gain.method:20}  {interval:>26}  {100 * gain.adapted:>5.0f} %  {100 * gain.oracle_accuracy:>7.1f} %"
                f"  {gain.passes_per_image:>16,.1f}"
            )
    return "\n".join(lines)
