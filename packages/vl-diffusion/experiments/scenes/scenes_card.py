"""Make the tables and the figure of the scenes' card, from `dense.csv` and the trained models.

::

    python packages/vl-diffusion/experiments/scenes/scenes_card.py

prints a Markdown table for each task, and writes `packages/vl-diffusion/results/scenes/adapted.png`: for some
corruptions the last image of a short test stream, its ground truth, and the predictions of the network without and with
adaptation, as in the study. Both need the models that the training scripts make.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import adapt_scenes
import torch
from matplotlib.colors import ListedColormap
from scene_models import MODELS, RESULTS, TASKS, Task, scenes_of
from scenes import CLASSES, FARTHEST, NEAREST, Views
from torch import Tensor
from vl_core.charts import new_figure, save_figure
from vl_core.results import markdown_table, read_rows
from vl_diffusion import TestTimeAdapter

COLORS = ListedColormap(["#dddddd", "#777777", "#d62728", "#1f77b4", "#2ca02c"])
"""Of `CLASSES`."""

NAMES = {"diffusion": "diffusion", "entropy": "entropy (TENT)"}
SHOWN = {"miou": "mIoU, %", "ssim": "SSIM", "rmse": "RMSE"}


def card_table(rows: Sequence[Mapping[str, str]], task: Task) -> str:
    """Return a Markdown table of a task's cells over all seeds, in the file's order."""
    lines = []
    for row in rows:
        if (row["task"], row["seed"]) != (task, "all"):
            continue
        scale, digits = (100, 1) if row["metric"] == "miou" else (1, 3)
        source, adapted, gain, low, high = (
            scale * float(row[name]) for name in ("source", "adapted", "gain", "low", "high")
        )
        lines.append(
            {
                "corruption": row["corruption"].replace("_", " "),
                "level": row["severity"],
                "adapted by": NAMES[row["method"]],
                "metric": SHOWN[row["metric"]],
                "source": f"{source:.{digits}f}",
                "adapted": f"{adapted:.{digits}f}",
                "gain": f"{gain:+.{digits}f}",
                "95 % interval": f"{low:+.{digits}f} to {high:+.{digits}f}",
            }
        )
    return markdown_table(lines, list(lines[0]))


def draw(columns: Sequence[tuple[str, Sequence[Tensor]]], path: Path) -> None:
    """Draw a grid of images ``(3, H, W)``, masks ``(H, W)`` and depths ``(1, H, W)`` under column titles."""
    height = len(columns[0][1])
    figure = new_figure(1.35 * len(columns), 1.35 * height + 0.3)
    axes = figure.subplots(height, len(columns), squeeze=False)
    for column, (title, cells) in enumerate(columns):
        axes[0][column].set_title(title, fontsize=8)
        for row, cell in enumerate(cells):
            panel = axes[row][column]
            panel.set_axis_off()
            if cell.ndim == 2:
                panel.imshow(cell.numpy(), cmap=COLORS, vmin=0, vmax=len(CLASSES) - 1, interpolation="nearest")
            elif len(cell) == 1:
                panel.imshow(cell[0].numpy(), cmap="magma_r", vmin=NEAREST, vmax=FARTHEST, interpolation="nearest")
            else:
                panel.imshow(cell.permute(1, 2, 0).numpy(), interpolation="nearest")
    save_figure(figure, path)


def before_and_after(adapter: TestTimeAdapter, images: Tensor, views: Views, task: Task) -> list[Tensor]:
    """Return ground truth, source prediction and adapted prediction of a stream's last image."""
    with torch.no_grad():
        source = adapter.model(images[-1:])[0]
    adapted = adapter(images).outputs[-1]
    if task == "segmentation":
        return [views.masks[-1], source.argmax(0), adapted.argmax(0)]
    return [views.depths[-1], source, adapted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=adapt_scenes.ROWS)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the training runs")
    parser.add_argument("--out", type=Path, default=RESULTS / "scenes/adapted.png")
    parser.add_argument("--images", type=int, default=24, help="images of the stream, of which the last is shown")
    parser.add_argument("--corruptions", nargs="+", default=["gaussian_noise", "fog", "contrast"])
    parser.add_argument("--severity", type=int, default=3)
    args = parser.parse_args()
    rows = read_rows(args.results)
    for task in TASKS:
        print(card_table(rows, task))
    torch.set_num_threads(1)
    views = scenes_of("test", args.images)
    cells = []
    for corruption in args.corruptions:
        images = adapt_scenes.shifted(views, corruption, args.severity, 0)
        cells.append([images[-1]])
        for task in TASKS:
            settings = adapt_scenes.parse(["--task", task, "--models", str(args.models)])
            cells[-1] += before_and_after(adapt_scenes.make_adapter(settings, "diffusion", 0), images, views, task)
    titles = ["image", "classes", "source", "adapted", "depth", "source", "adapted"]
    draw([(title, [line[i] for line in cells]) for i, title in enumerate(titles)], args.out)


if __name__ == "__main__":
    main()
