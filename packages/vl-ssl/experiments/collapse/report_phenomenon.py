"""The map of the paper's claim: where the AUC rises with data, and what the schedules change there.

    python packages/vl-ssl/experiments/collapse/report_phenomenon.py

Reads the rows of `train_runs.py phenomenon-1000`, `-10000` and `-50000`, prints three tables and draws
`packages/vl-ssl/docs/phenomenon.png`. Intervals are Student's, of differences between runs of one seed; a cell whose
seeds are not all trained is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from configurations import SCHEDULES, SEEDS, WIDTHS
from vl_core.charts import COLORS, PAGE_WIDTH, SMALL, new_figure, save_figure, style_axes
from vl_core.intervals import Interval, student_interval
from vl_core.results import markdown_table, read_rows

PACKAGE = Path(__file__).resolve().parents[2]
BASE = "multi-epoch"


class Setting(NamedTuple):
    """Settings that are equal in a row of the map."""

    images: str
    updates: int
    width: int
    rate: float


class Cell(NamedTuple):
    """A setting, with a share of the images and a schedule."""

    setting: Setting
    share: float
    schedule: str


Scores = dict[Cell, dict[str, list[float]]]
"""Measures of a cell by name, in the order of seeds."""


def scores(rows: Iterable[Mapping[str, str]]) -> Scores:
    """Measures of the cells whose seeds are all there."""
    found: dict[Cell, dict[int, Mapping[str, str]]] = {}
    for row in rows:
        setting = Setting(row["images"], int(row["updates"]), int(row["width"]), float(row["base_learning_rate"]))
        cell = Cell(setting, float(row["share"]), row["schedule"])
        found.setdefault(cell, {})[int(row["seed"])] = row
    return {
        cell: {name: [float(own[seed][name]) for seed in SEEDS] for name in ("auc", "projection_auc", "knn")}
        for cell, own in found.items()
        if own.keys() == set(SEEDS)
    }


def difference(found: Scores, of: Cell, base: Cell, name: str) -> Interval | None:
    """A measure of one cell minus that of another, seed by seed; None where one of the two is missing."""
    if of not in found or base not in found:
        return None
    return student_interval([a - b for a, b in zip(found[of][name], found[base][name], strict=True)])


def rises(found: Scores) -> list[dict[str, Any]]:
    """A row for each setting: AUC and k-NN of the usual schedule with all images minus those with the fewest."""
    rows = []
    for setting, shares in settings(found):
        least, most = Cell(setting, min(shares), BASE), Cell(setting, max(shares), BASE)
        if least.share < most.share and least in found and most in found:
            rows.append(
                {
                    **named(setting),
                    "share": f"{least.share:.0%}".replace("%", " %"),
                    "AUC": mean(found[least]["auc"]),
                    "of all": mean(found[most]["auc"]),
                    "rise of the AUC": signed(difference(found, most, least, "auc")),
                    "of projections": signed(difference(found, most, least, "projection_auc")),
                    "k-NN, points": signed(difference(found, most, least, "knn"), 100),
                }
            )
    return rows


def changes(found: Scores, choose: Callable[[list[float]], float]) -> list[dict[str, Any]]:
    """A row for each setting: what the other schedules change with the share of images that is chosen."""
    rows = []
    for setting, shares in settings(found):
        base = Cell(setting, choose(shares), BASE)
        row: dict[str, Any] = {**named(setting), "share": f"{base.share:.0%}".replace("%", " %")}
        for schedule in SCHEDULES[1:]:
            other = base._replace(schedule=schedule)
            row[f"{schedule}: AUC"] = signed(difference(found, other, base, "auc"))
            row[f"{schedule}: k-NN, points"] = signed(difference(found, other, base, "knn"), 100)
        if base in found and any(base._replace(schedule=other) in found for other in SCHEDULES[1:]):
            rows.append(row)
    return rows


def settings(found: Scores) -> list[tuple[Setting, list[float]]]:
    """Settings in order, each with the shares that it was trained with."""
    cells = sorted({(cell.setting, cell.share) for cell in found})
    return [(setting, [share for _, share in own]) for setting, own in groupby(cells, key=lambda cell: cell[0])]


def named(setting: Setting) -> dict[str, Any]:
    """Columns of a setting."""
    return {
        "images": setting.images,
        "updates": f"{setting.updates:,}",
        "width": setting.width,
        "rate": f"{setting.rate:g}",
    }


def mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.3f}"


def signed(found: Interval | None, scale: float = 1) -> str:
    """A difference with its interval; bold where the interval leaves out zero."""
    if found is None:
        return "-"
    digits = 1 if scale > 1 else 3
    text = f"{scale * found.estimate:+.{digits}f} ({scale * found.low:+.{digits}f} to {scale * found.high:+.{digits}f})"
    return f"**{text}**" if found.low > 0 or found.high < 0 else text


def draw(path: Path, found: Scores) -> None:
    """Draw a PNG: the AUC over the share of images at the middle rate, a row for each length of training."""
    rate = 0.12
    kinds = sorted({(cell.setting.images, cell.setting.updates) for cell in found if cell.setting.rate == rate})
    figure = new_figure(PAGE_WIDTH, 0.5 + 1.9 * len(kinds))
    panels = figure.subplots(len(kinds), len(WIDTHS), sharey="row", squeeze=False)
    for row, (images, updates) in enumerate(kinds):
        for axes, width in zip(panels[row], WIDTHS, strict=True):
            for place, schedule in enumerate(SCHEDULES):
                _draw_line(axes, found, Setting(images, updates, width, rate), schedule, COLORS[place])
            axes.set_visible(bool(axes.lines))
            axes.set_xscale("log")
            axes.set_title(f"width {width}")
            style_axes(axes, grid="y")
            axes.set_xticks([0.01, 0.1, 1], ["1 %", "10 %", "100 %"])
        panels[row][0].set_ylabel(f"{images}\n{updates:,} updates\nAUC of features")
    for axes in panels[-1]:
        axes.set_xlabel("share of the images")
    panels[0][0].legend(frameon=False, fontsize=SMALL)
    save_figure(figure, path)


def _draw_line(axes: Any, found: Scores, setting: Setting, schedule: str, color: str) -> None:
    cells = sorted(cell for cell in found if cell.setting == setting and cell.schedule == schedule)
    values = [found[cell]["auc"] for cell in cells]
    if not cells:
        return
    shares = [cell.share for cell in cells]
    axes.plot(shares, [sum(own) / len(own) for own in values], color=color, linewidth=1.5, label=schedule)
    for share, own in zip(shares, values, strict=True):
        axes.plot([share] * len(own), own, "o", color=color, markersize=2.5, alpha=0.6)


def main() -> None:
    """Print the tables and draw the figure."""
    files = [PACKAGE / f"results/phenomenon_{updates}.csv" for updates in (1000, 10_000, 50_000)]
    found = scores(row for path in files if path.is_file() for row in read_rows(path))
    for table in (rises(found), changes(found, max), changes(found, min)):
        if table:
            print(markdown_table(table, list(table[0])), end="\n\n")
    draw(PACKAGE / "docs/phenomenon.png", found)


if __name__ == "__main__":
    main()
