"""Adapt the segmentation or the depth network of the scenes to corrupted images, and measure the gain.

For every corruption, severity and seed, the network predicts a stream of corrupted images without and with test-time
adaptation::

    python packages/vl-diffusion/experiments/scenes/adapt_scenes.py --task segmentation
    python packages/vl-diffusion/experiments/scenes/adapt_scenes.py --task depth

append rows to `packages/vl-diffusion/results/dense.csv`: one per seed and metric, and one over all seeds, each with the
gain (positive for an improvement, of RMSE too) and its 95 % interval. Each seed has its own network, images,
corruptions and noise. Cells that the file holds are skipped: rerun to resume. `--split choose` is for choosing
settings, on other scenes than those reported. The models come from `train_scene_denoiser.py` and
`train_scene_predictor.py`, whose weights are not committed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from dense_scores import confusion, mean_iou, paired_interval, rmse, ssim
from scene_models import MODELS, RESULTS, TASKS, Task, load_predictor, load_task, scenes_of
from scenes import CLASSES, FARTHEST, NEAREST, Views
from torch import Tensor
from tqdm.auto import tqdm
from vl_core.corruptions import corrupt
from vl_core.results import append_row, provenance, read_rows
from vl_diffusion import Adaptation, DiffusionTTA, Entropy, TestTimeAdapter

ROWS = RESULTS / "dense.csv"
CORRUPTIONS = ("gaussian_noise", "shot_noise", "fog", "frost", "contrast", "pixelate")

_SHARED = {"adapt": "all", "mode": "online", "optimizer": "adam", "steps": 1, "images_at_once": 8}
CHOSEN: dict[Task, dict[str, Any]] = {
    "segmentation": _SHARED | {"learning_rate": 2e-4, "draws": 16, "time_range": (0.01, 0.4)},
    "depth": _SHARED | {"learning_rate": 1e-4, "draws": 8, "time_range": (0.01, 0.2)},
}
"""Settings of the adapter."""


@dataclass(frozen=True)
class Metric:
    """Score of maps, computed from the mean of a statistic over images."""

    statistics: Callable[[Tensor, Views], Tensor]
    """Maps a network's outputs and the ground truth to ``(B, ...)``."""

    score: Callable[[Tensor], Tensor]
    """Maps their means ``(..., *)`` to scores ``(...)``."""

    less_is_better: bool = False


METRICS: dict[Task, dict[str, Metric]] = {
    "segmentation": {
        "miou": Metric(lambda output, views: confusion(output.argmax(1), views.masks, len(CLASSES)).double(), mean_iou)
    },
    "depth": {
        "ssim": Metric(lambda output, views: ssim(output, views.depths, extent=FARTHEST - NEAREST), lambda mean: mean),
        "rmse": Metric(lambda output, views: rmse(output, views.depths), lambda mean: mean, less_is_better=True),
    },
}
"""Mean intersection over union over the pixels of all images; means over images of SSIM and RMSE."""


def shifted(views: Views, corruption: str, severity: int, seed: int) -> Tensor:
    """Corrupt the images with the strengths published for 224 pixels; severity 0 returns them unchanged."""
    if not severity:
        return views.images
    images: Tensor = corrupt(views.images, corruption, severity, seed=seed, tuned_for=224)
    return images


def make_adapter(args: argparse.Namespace, method: str, seed: int) -> TestTimeAdapter:
    """Build the adapter of a seed's network."""
    denoiser, task = load_task(args.task, args.models)
    objective = DiffusionTTA(args.draws, tuple(args.time_range)) if method == "diffusion" else Entropy()
    return TestTimeAdapter(
        load_predictor(args.task, seed, args.models),
        denoiser,
        task=task,
        objective=objective,
        adapt=args.adapt,
        mode=args.mode,
        optimizer=args.optimizer,
        learning_rate=args.learning_rate,
        steps=args.steps,
        images_at_once=args.images_at_once,
        # As in the paper, images share updates.
        gate=None,
        autocast=torch.bfloat16,
        seed=seed,
    )


def compare(task: Task, runs: Sequence[tuple[Tensor, Adaptation, Views]]) -> list[dict[str, object]]:
    """Score one or more streams together, each given as source outputs, adapted outputs and ground truth."""
    rows: list[dict[str, object]] = []
    for name, metric in METRICS[task].items():
        before = torch.cat([metric.statistics(source, views) for source, _, views in runs])
        after = torch.cat([metric.statistics(found.outputs, views) for _, found, views in runs])
        scores = [float(metric.score(one.double().mean(0))) for one in (before, after)]
        worse, better = (1, 0) if metric.less_is_better else (0, 1)
        low, high = paired_interval((before, after)[worse], (before, after)[better], metric.score)
        row = {"metric": name, "images": len(before), "source": scores[0], "adapted": scores[1]}
        row |= {"gain": scores[better] - scores[worse], "low": low, "high": high}
        rows.append({key: f"{value:.4f}" if isinstance(value, float) else value for key, value in row.items()})
    return rows


def run_cell(args: argparse.Namespace, corruption: str, severity: int, method: str) -> list[dict[str, object]]:
    """Compute the rows of one corruption, severity and method."""
    runs, rows = [], []
    for seed in range(args.seeds):
        views = scenes_of(args.split, args.images, first=seed * args.images)
        adapter = make_adapter(args, method, seed)
        images = shifted(views, corruption, severity, seed)
        with torch.no_grad():
            source = adapter.model(images)
        run = (source, adapter(images), views)
        runs.append(run)
        rows += [{"seed": seed} | row for row in compare(args.task, [run])]
    passes = {
        name: f"{torch.cat([getattr(found, name) for _, found, _ in runs]).double().mean():.0f}"
        for name in ("forward_passes", "backward_passes")
    }
    rows += [{"seed": "all"} | row for row in compare(args.task, runs)]
    return [row | passes for row in rows]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the options; settings of the adapter default to those chosen for the task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the training runs")
    parser.add_argument("--out", type=Path, default=ROWS)
    parser.add_argument("--split", choices=("choose", "test"), default="test")
    parser.add_argument("--corruptions", nargs="+", default=CORRUPTIONS)
    parser.add_argument("--severities", type=int, nargs="+", default=[0, 3, 5], help="0 for clean images")
    parser.add_argument("--methods", nargs="+", choices=("diffusion", "entropy"), default=["diffusion"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=100, help="images per seed")
    settings = parser.add_argument_group("settings of the adapter, by default CHOSEN[task]")
    settings.argument_default = argparse.SUPPRESS
    settings.add_argument("--adapt")
    settings.add_argument("--mode", choices=("episodic", "online", "continual"))
    settings.add_argument("--optimizer", choices=("adam", "sgd"))
    settings.add_argument("--learning-rate", type=float)
    settings.add_argument("--steps", type=int)
    settings.add_argument("--draws", type=int)
    settings.add_argument("--time-range", type=float, nargs=2)
    settings.add_argument("--images-at-once", type=int)
    given = parser.parse_args(arguments)
    return argparse.Namespace(**CHOSEN[given.task] | vars(given))


def main() -> None:
    args = parse()
    torch.set_num_threads(1)
    settings = {name: str(getattr(args, name)) for name in CHOSEN[args.task]}
    settings["time_range"] = "{} to {}".format(*args.time_range)
    done = read_rows(args.out) if args.out.exists() else []
    # Clean images are the same whatever the corruption.
    cells = dict.fromkeys(
        (c if s else "none", s, m) for s in args.severities for c in args.corruptions for m in args.methods
    )
    for corruption, severity, method in tqdm(cells, desc=args.task, mininterval=5):
        cell = {"task": args.task, "corruption": corruption, "severity": str(severity)}
        cell |= {"method": method, **settings}
        if any(row.items() >= cell.items() for row in done):
            continue
        for row in run_cell(args, corruption, severity, method):
            append_row(args.out, cell | row | provenance())
            print(" ".join(str(part) for part in (*list(cell.values())[:4], *row.values())), flush=True)


if __name__ == "__main__":
    main()
