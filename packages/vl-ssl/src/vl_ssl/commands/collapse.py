"""`vl-ssl collapse`: metrics of features in files, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from vl_core.data import image_batch, image_to_tensor, open_dataset
from vl_core.devices import find_device
from vl_core.progress import progress_bar
from vl_core.tables import text_table, write_rows

from vl_ssl.charts.spectrum import draw_spectra
from vl_ssl.collapse.feature_files import read_features
from vl_ssl.collapse.meter import CollapseMeter
from vl_ssl.collapse.report import CollapseReport
from vl_ssl.commands.settings.collapse import Collapse


def run(settings: Collapse) -> None:
    """Meter all files, and write the table and the figure.

    Raises:
        ValueError: If a file is damaged, or its features have another shape or are not finite; the file is named.
        OSError: If a file cannot be read.
    """
    settings.check()
    device = find_device(settings.device)
    sources: dict[str, Iterable[Tensor]] = {}
    for path in settings.features:
        sources[_name(path, settings.features)] = read_features(path.expanduser(), settings.key)
    reports = {}
    for name, chunks in progress_bar((sources or _built_in()).items(), desc="features", unit="files"):
        meter = CollapseMeter(sketch=settings.sketch, accurate=settings.accurate)
        for chunk in chunks:
            try:
                meter.update(chunk[: _left(settings.limit, meter)].to(device))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}, from row {meter.samples:,}: {error}") from error
        reports[name] = meter.compute()
    settings.out.mkdir(parents=True, exist_ok=True)
    columns = sorted({column for report in reports.values() for column in report.as_dict()})
    rows = [{"features": name, **{c: report.as_dict()[c] for c in columns}} for name, report in reports.items()]
    write_rows(settings.out / "collapse.csv", rows)
    draw_spectra(settings.out / "spectrum.png", {name: report.singular_values for name, report in reports.items()})
    print(_table(reports))
    print(
        "AUC: (d + 1) / (2 d) for a flat spectrum to 1 for a single direction; of the others, lower is more collapsed"
    )
    for name, report in reports.items():
        if report.warning:
            print(f"{name}: {report.warning}")
    print(f"wrote collapse.csv and spectrum.png to {settings.out}")


def _left(limit: int | None, meter: CollapseMeter) -> int | None:
    """Number of rows that may still enter."""
    return None if limit is None else limit - meter.samples


def _name(path: Path, others: tuple[Path, ...]) -> str:
    """The name of a file; its path where another file has the same name."""
    return path.name if [other.name for other in others].count(path.name) == 1 else str(path)


def _built_in() -> dict[str, Iterator[Tensor]]:
    """Features without training: pixels, and what random layers make of them."""
    dataset = open_dataset("fashion", split="test")
    dataset = dataset.subset(range(0, len(dataset), 2))
    pixels = image_batch([image_to_tensor(dataset[index][0]) for index in range(len(dataset))]).flatten(1)
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(pixels.shape[1], 64, generator=generator) / math.sqrt(pixels.shape[1])
    narrow = torch.randn(64, 4, generator=generator) @ torch.randn(4, 64, generator=generator) / 8
    projected = pixels @ wide
    return {
        "pixels": iter([pixels]),
        "64 random projections": iter([projected]),
        "64 projections, ReLU": iter([projected.relu()]),
        "64 of rank 4": iter([projected @ narrow]),
        "Gaussian noise": iter([torch.randn(len(pixels), 64, generator=generator)]),
    }


def _table(reports: dict[str, CollapseReport]) -> str:
    head = ["features", "n", "d", "n/d", "AUC", "RankMe", "eff. rank", "α-ReQ", "NESum", "std √d", "90 %"]
    rows = []
    for name, r in reports.items():
        numbers = [f"{value:.2f}" for value in (r.rankme, r.effective_rank, r.alpha_req, r.nesum, r.std_scaled)]
        rows.append(
            [
                name,
                f"{r.samples:,}",
                str(r.dimensions),
                f"{r.ratio:.3g}",
                f"{r.auc:.4f}",
                *numbers,
                str(r.dimensions_90),
            ]
        )
    return text_table(head, rows)
